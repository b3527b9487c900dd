"""`python3 -m ops.wait`: waits until a host answers over SSH behind a bastion; standard input says how to log in.

The plugin's own way to wait does not work there: it repeats a login on the connection that the first try has broken.
"""

from __future__ import annotations

import json
import sys
import time

from ops.development.connection import Login, Lost, shell
from ops.setup.errors import SetupError

BOOT_SECONDS = 600.0
PAUSE_SECONDS = 2.0


def until_it_answers(login: Login, seconds: float = BOOT_SECONDS) -> None:
    """Wait for a host.

    Raises:
        Lost: it has not let this login in after so many seconds; with what SSH said last.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with shell(login):
                return
        except Lost:
            if time.monotonic() > end:
                raise
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    try:
        until_it_answers(Login.read(json.load(sys.stdin)))
    except Lost as lost:
        sys.exit(f"the host does not answer behind its bastion after {BOOT_SECONDS:.0f} s: {lost}")
    except SetupError as error:
        sys.exit(str(error))
