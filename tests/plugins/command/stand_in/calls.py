"""What a running call has at hand: the engine's log, a deadline, cancellation; and the one kind of failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class Failure(Exception):  # noqa: N818
    """The call failed; the text is what the user reads."""


class Severity(Enum):
    """How loud a message is; the values are the protocol's."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


Send = Callable[[Severity, str, bool], None]


@dataclass
class Call:
    """One create, update or delete."""

    send: Send
    cancelled: threading.Event
    timeout: float = 0  # seconds; 0 is for ever
    started: float = field(default_factory=time.monotonic)

    def status(self, text: str) -> None:
        """Show a line while the step runs."""
        self.send(Severity.INFO, text, True)

    def log(self, severity: Severity, text: str) -> None:
        """Leave a line in the engine's output."""
        self.send(severity, text, False)

    def over(self) -> str | None:
        """Return why the call must end now, if it must."""
        if self.cancelled.is_set():
            return "context canceled"
        if self.timeout and time.monotonic() - self.started >= self.timeout:
            return "context deadline exceeded"
        return None

    def wait(self, seconds: float) -> str | None:
        """Sleep, but not longer than the call may last; return why it must end."""
        if self.timeout:
            seconds = min(seconds, max(0.0, self.started + self.timeout - time.monotonic()))
        self.cancelled.wait(seconds)
        return self.over()
