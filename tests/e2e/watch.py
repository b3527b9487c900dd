"""Everybody's command lines, as anybody on the machine can read them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import final

from tests.e2e.beside import Beside

PAUSE_SECONDS = 0.01
YOUNG = 20
"""How many looks a process gets: it becomes another program (execve) soon after it began, if ever."""


@final
class CommandLines(Beside):
    """Collects the command line of every process that begins while the `with` block lasts.

    It looks at this machine's /proc, where the processes of a container appear as well.
    """

    def __init__(self) -> None:
        """Prepare; nothing is looked at yet."""
        super().__init__("command lines")
        self.seen: set[str] = set()
        self._looks: dict[int, int] = {}

    def __enter__(self) -> CommandLines:
        """Begin to look."""
        self._thread.start()
        return self

    @property
    def text(self) -> str:
        """All that was seen."""
        return "\n".join(sorted(self.seen))

    def _go(self) -> None:
        while not self._ended.is_set():
            there = {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
            self._looks = {pid: self._looks.get(pid, 0) + 1 for pid in there}
            for pid, looks in self._looks.items():
                if looks <= YOUNG:
                    self._read(pid)
            time.sleep(PAUSE_SECONDS)

    def _read(self, pid: int) -> None:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:  # it has ended
            return
        if words:
            self.seen.add(words.replace(b"\0", b" ").decode("utf-8", "replace"))
