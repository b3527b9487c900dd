"""What goes on beside a test, in a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class Beside:
    """Goes on for as long as the `with` block lasts; who inherits says in `_go` with what, until `_ended` is set."""

    def __init__(self, name: str) -> None:
        """Prepare a thread of that name; nothing is done yet."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, name=name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and wait for the end."""
        self._ended.set()
        self._thread.join()

    def _go(self) -> None:
        raise NotImplementedError
