"""Runs inside a verb on a test's host: knows each change of state that it makes, and kills it after one of them.

Python tells a hook of each file that is written, renamed or removed and of each program that is started (PEP 578). What
one place in the code does alike in a row is one point: a hundred files unpacked are no hundred places to die at.

Written for the host (standard library only, Python 3.8 syntax); `tests/e2e/kills.py` puts it there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

FOLDER = "/run/flaskhost-points"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# What happens to a file is one change until it gets its name: nobody sees it before.
CHANGES = {
    **dict.fromkeys(
        ("open", *(f"os.{name}" for name in ("mkdir", "symlink", "link", "chmod", "chown", "utime"))), "made"
    ),
    **dict.fromkeys(("os.remove", "os.rmdir", "os.truncate"), "removed"),
    "os.rename": "renamed",
    "subprocess.Popen": "run",
}
LOOKS: dict[str, tuple[str, ...]] = {
    "systemctl": ("show", "is-active", "is-enabled", "list-units", "list-unit-files"),
    **dict.fromkeys(("ss", "journalctl", "getent", "systemd-analyze", "nft", "dpkg-query", "id"), ("",)),
}
# The frames that are the same for all say nothing.
OUTER = ("main", "_run", "work")


class Points:
    """What was changed so far: by which functions, and how."""

    def __init__(self, after: int) -> None:
        """Kill this process once `after` points have been passed; 0 never does."""
        self.after = after
        self.count = 0
        self.place = ""
        self.kinds: set[str] = set()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        """Take one event; the hook is called before what it tells of happens."""
        if not is_change(event, args):
            return
        place, kind = " > ".join(frames()), CHANGES[event]
        if place != self.place:
            self.place, self.kinds = place, set()
        if kind not in self.kinds:
            if self.after and self.count == self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            self.kinds.add(kind)
            descriptor = os.open(FOLDER + "/passed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{place}: {kind}\n".encode())
            os.close(descriptor)


def is_change(event: str, args: tuple[Any, ...]) -> bool:
    """Tell whether an event changes anything on the host."""
    if event == "open":
        path, _, flags = args
        if not isinstance(path, str) or path.startswith((FOLDER, "/dev/", "/proc/")):
            return False
        return bool(flags & WRITING)
    if event == "subprocess.Popen":
        words = [str(word) for word in args[1] if not str(word).startswith("--")]
        looks = LOOKS.get(os.path.basename(words[0]), ())
        return not (looks == ("",) or (len(words) > 1 and words[1] in looks))
    return event in CHANGES


def frames() -> list[str]:
    """Return the functions of the flaskhost command that are at work, the outermost first."""
    found: list[str] = []
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - how a hook knows who called
    while frame is not None:
        code = frame.f_code
        folder, module = os.path.split(code.co_filename)
        if "/flaskhost" in folder and code.co_name not in OUTER and not code.co_name.startswith("<"):
            found.insert(0, f"{module[:-3]}.{code.co_name}")
        frame = frame.f_back
    # The worker stands before each verb.
    return found[1:] or found


def said(name: str) -> float:
    """Return the number that a test has left in a file; 0 without one."""
    if not os.path.exists(f"{FOLDER}/{name}"):
        return 0
    with open(f"{FOLDER}/{name}") as file:
        return float(file.read())


def set_clock_back(seconds: float) -> None:
    """Have this process take the time for an earlier one."""
    now, gmtime = time.time, time.gmtime
    time.time = lambda: now() - seconds
    time.gmtime = lambda at=None: gmtime(time.time() if at is None else at)


if "--worker" in sys.argv:
    set_clock_back(said("back"))
    sys.addaudithook(Points(int(said("after"))))
