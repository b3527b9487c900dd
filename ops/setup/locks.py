"""Who holds the lock of a stack, where the backend keeps it in files of this machine.

The engine takes it for each update and removes it at its end. A killed engine removes nothing, and does not look either
whether the holder of a lock still runs: it refuses to work until somebody cancels.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from ops.setup import stacks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAKING = ("up", "update", "refresh", "destroy", "down", "dn", "import")
"""The commands that take the lock."""


class Holder(NamedTuple):
    """What a lock says of the engine that took it."""

    pid: int
    user: str
    machine: str
    since: str

    @property
    def is_here(self) -> bool:
        """Whether it was on this machine, so that one can see whether it runs."""
        return self.machine == socket.gethostname()

    def runs(self) -> bool:
        """Tell whether that engine, or another one with its number, runs on this machine."""
        words = ("ps", "-o", "stat=,args=", "-p", str(self.pid))
        try:
            found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
        except FileNotFoundError:
            return _exists(self.pid)
        # A zombie has ended; a number is given to other programs again.
        return bool(found) and not found.startswith("Z") and "pulumi" in found

    def __str__(self) -> str:
        """Return it for a person."""
        return f"{self.user}@{self.machine} (process {self.pid}, since {self.since[:19].replace('T', ' ')})"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def holders(stack: str, environment: Mapping[str, str]) -> list[Holder]:
    """Return who holds the lock of a stack; nobody where the backend is no folder of this machine."""
    state = stacks.state_file(stack, environment)
    if state is None:
        return []
    folder = state.parents[2] / "locks" / "organization" / state.parent.name / state.stem
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            said = json.loads(path.read_text())
        except (OSError, ValueError):
            continue  # removed in this moment, or about to be written
        found.append(Holder(said["pid"], said["username"], said["hostname"], said["timestamp"]))
    return found


def tell(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Say what a lock means before the engine stops at it and advises `pulumi cancel`, whoever holds it."""
    stack = stacks.meant(words, environment)
    if stack is None or not any(word in TAKING for word in words):
        return
    for holder in holders(stack, environment):
        if holder.is_here and holder.runs():
            now, fix = (
                "which is at work",
                "wait for its end; `pulumi cancel` would only take its lock away",
            )
        else:
            now = "which runs no more" if holder.is_here else "on another machine"
            fix = f"python3 -m ops recover --stack {stack}"
        print(f"set-up: {stack} is locked by {holder}, {now}\n  Next: {fix}", file=sys.stderr, flush=True)
