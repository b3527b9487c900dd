"""Everybody's command lines, as anybody on the machine can read them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from types import TracebackType

PAUSE_SECONDS = 0.01
YOUNG = 20
"""How many looks a process gets: it becomes another program (execve) soon after it began, if ever."""


@final
class CommandLines:
    """Collects the command line of every process that begins while the `with` block lasts.

    It looks at this machine's /proc, where the processes of a container appear as well.
    """

    def __init__(self) -> None:
        """Prepare; nothing is looked at yet."""
        self.seen: set[str] = set()
        self._looks: dict[int, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, name="command lines")

    def __enter__(self) -> CommandLines:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

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
