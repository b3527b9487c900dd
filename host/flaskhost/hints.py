"""What to do about a reason that lies in the host itself, which programs only name in passing: a full disk, a clock."""

from __future__ import annotations

import re
import time
from typing import Callable, Tuple

FULL = re.compile(r"No space left on device|Disk quota exceeded|os error (?:28|122)\b|Errno (?:28|122)\b")
# How OpenSSL (pip, git), rustls (uv) and apt say that something is valid at another time only.
TIME = re.compile(
    r"certificate (?:is not yet valid|has expired|not valid yet|expired)|not ?valid ?yet|CertExpired"
    r"|Release file .*is not valid yet|certificate verification failed: .*(?:activation time|expired)",
    re.IGNORECASE,
)

PORT = re.compile(r"bind\(\) to \S+ failed|Address already in use")


def of(text: str) -> str:
    """Return a message with what to do about the reasons that are named in it."""
    return "\n".join([text, *(hint() for sign, hint in HINTS if sign.search(text))])


def _full() -> str:
    return (
        "a disk of this host is full, or a quota is used up (`df -h` and `df -i` say which): make room, and run "
        "`pulumi up` again. Nothing half-done serves visitors"
    )


def _time() -> str:
    now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    return (
        f"the clock of this host says {now} UTC. If that is wrong, set it (`timedatectl set-ntp true`, or ask who runs "
        "the machine) and run `pulumi up` again; if it is right, the other side's certificate is to be renewed"
    )


def _port() -> str:
    return (
        "another program listens on a port that is needed (`ss -ltnp` says which): end it (a service: `systemctl "
        "disable --now NAME`), and run `pulumi up` again"
    )


HINTS: Tuple[Tuple[re.Pattern[str], Callable[[], str]], ...] = ((FULL, _full), (TIME, _time), (PORT, _port))
