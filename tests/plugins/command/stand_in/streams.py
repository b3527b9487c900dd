"""The two streams of a command: kept apart for the outputs, together for the error, line by line for the log."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .calls import Failure

if TYPE_CHECKING:
    from .calls import Call

# The official plugin's line scanner stops at a line of this many bytes, and then the command hangs for ever.
LONGEST_LINE = 64 * 1024

_MODES = {
    None: frozenset({"stdout", "stderr"}),
    "stdoutAndStderr": frozenset({"stdout", "stderr"}),
    "stdout": frozenset({"stdout"}),
    "stderr": frozenset({"stderr"}),
}


class Streams:
    """Takes what a command writes."""

    def __init__(self, call: Call, logging: str | None) -> None:
        """Log the streams that the mode names; a mode that does not exist logs none."""
        self._call = call
        self._logged: frozenset[str] = _MODES.get(logging, frozenset())
        self._kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._both = bytearray()
        self._line = bytearray()
        self._lock = threading.Lock()
        self.too_long = False

    def write(self, stream: str, data: bytes) -> None:
        """Take a piece of a stream."""
        with self._lock:
            self._kept[stream] += data
            self._both += data
            if stream in self._logged:
                self._line += data
                *lines, rest = self._line.split(b"\n")
                self._line = rest
                for line in lines:
                    self._show(line)
                self.too_long = self.too_long or len(rest) >= LONGEST_LINE

    def close(self) -> None:
        """Log a last line that has no end."""
        if self._line:
            self._show(self._line)
        if self.too_long:
            raise Failure(
                f"the command wrote a line of {LONGEST_LINE} bytes or more: the official plugin would hang here; "
                "write shorter lines or set `logging` so that this stream is not logged"
            )

    def _show(self, line: bytearray) -> None:
        self.too_long = self.too_long or len(line) >= LONGEST_LINE
        self._call.status(line.removesuffix(b"\r").decode(errors="replace"))

    @property
    def together(self) -> str:
        """Both streams in the order in which they came."""
        return self._both.decode(errors="replace")

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the resource: each stream without its last line end."""
        try:
            return {name: kept.removesuffix(b"\n").decode() for name, kept in self._kept.items()}
        except UnicodeDecodeError:
            raise Failure("grpc: error while marshaling: string field contains invalid UTF-8") from None
