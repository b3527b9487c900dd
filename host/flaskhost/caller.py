"""Who asked for a step, as far as the host can know: the login user, and the address that SSH says it came from.

The person cannot be known. The login belongs to the stack, and a document must not differ between two people, or the
second one's `up` would find a change where there is none (docs/decisions.md).
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Dict, Optional

# Set for the unit in which a step works, by the front that the session started.
LOGIN = "FLASKHOST_LOGIN"
ADDRESS = "FLASKHOST_ADDRESS"
UNIT = "FLASKHOST_UNIT"


def of_session() -> Dict[str, str]:
    """Return what a unit is told about the session that this process belongs to, as environment variables."""
    # sudo(8) says who called it.
    told = {LOGIN: os.environ.get("SUDO_USER", "root"), ADDRESS: _address()}
    return {name: value for name, value in told.items() if value}


def known() -> Dict[str, str]:
    """Return who asked for the work that is being done: `by`, and `from` where it was a session of SSH."""
    told = dict(os.environ) if LOGIN in os.environ else of_session()
    found = {"by": told[LOGIN], "from": told.get(ADDRESS, "")}
    return {name: value for name, value in found.items() if value}


def unit() -> Optional[str]:
    """Return the unit in which the step of this process works, or None where a person has called it."""
    return os.environ.get(UNIT)


def now() -> str:
    """Return the time now, in UTC, as it stands in records."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _address() -> str:
    """Return the client's address of the SSH session (sshd(8), SSH_CLIENT), or nothing where there is none.

    sudo does not hand it on, so that the processes are asked of which this one is a child.
    """
    process = str(os.getpid())
    while process not in ("", "0", "1"):
        try:
            variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            # The name of a program may hold spaces and brackets; what follows it does not (proc(5), stat).
            process = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        except OSError:
            return ""
        for one in variables:
            address = re.fullmatch(rb"SSH_CLIENT=([0-9A-Za-z.:%_-]{1,64})(?: .*)?", one)
            if address:
                return address.group(1).decode()
    return ""
