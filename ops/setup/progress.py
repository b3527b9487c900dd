"""What a person sees while set-up works: one line a step, and a sign of life in long ones.

Everything goes to stderr, so that the output of the program that follows stays clean.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from ops.setup import cache
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

QUIET_SECONDS = 15
"""Without a terminal, a step says after so many seconds of work that it is still at it, and again after as many."""

WIDTH = 200
"""Characters at most of a line that says that a step is still at work."""


class CommandFailed(Exception):  # noqa: N818 - it is a fact that the caller judges, not yet an error
    """A program that a step ran did not end with 0."""

    def __init__(self, words: Sequence[str], reason: str, output: str) -> None:
        """Keep what was run, how it ended and its output."""
        super().__init__(f"`{' '.join(words)}` {reason}")
        self.output = output

    def explain(self, lines: int = 12) -> str:
        """Return what happened with the last lines of the program's output."""
        tail = [f"    {line}" for line in self.output.splitlines()[-lines:]]
        return "\n".join([str(self), *tail])

    def last_line(self) -> str:
        """Return the last line that the program wrote, which mostly names the reason."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else str(self)


class Step:
    """One step of set-up: `with Step("engine", "looking for Pulumi") as step: … step.done("found …")`."""

    def __init__(self, name: str, doing: str) -> None:
        """Name the step and what it starts with."""
        self.name = name
        self._doing = doing
        self._detail = ""
        self._result = ""
        self._started = time.monotonic()
        self._spoke = self._started
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._show_life, daemon=True)

    def __enter__(self) -> Step:  # noqa: PYI034 - Self is not in Python 3.10
        """Start the clock and the sign of life."""
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the step's one line; a step that has nothing to say writes none."""
        self._ended.set()
        self._watch.join()
        if kind is not None:
            self._line(f"failed while {self._doing}")
        elif self._result:
            self._line(self._result)
        elif sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def doing(self, what: str) -> None:
        """Say what the step does now."""
        self._doing, self._detail = what, ""

    def done(self, result: str) -> None:
        """Say how the step ended; written when it is left."""
        self._result = result

    def run(
        self,
        words: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float = 3600,
    ) -> str:
        """Run a program to its end and return what it wrote; it gets no input and `seconds` of time.

        Raises CommandFailed when it cannot be started, ends with another status than 0, or takes longer.
        """
        with contextlib.suppress(OSError):
            cache.folder().mkdir(parents=True, exist_ok=True)
        try:
            process = subprocess.Popen(
                list(words),
                cwd=folder,
                env=None if environment is None else dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that it can be ended together with what it started
            )
        except OSError as error:
            raise CommandFailed(words, f"could not be started: {error.strerror}", "") from error
        late = threading.Timer(seconds, _end_group, [process])
        late.start()
        lines: list[str] = []
        try:
            for line in process.stdout or ():
                lines.append(line)
                self._detail = line.strip() or self._detail
            status = process.wait()
        except BaseException:
            _end_group(process)
            raise
        finally:
            expired = late.finished.is_set()
            late.cancel()
            if process.stdout:
                process.stdout.close()
        output = "".join(lines)
        if expired:
            raise CommandFailed(words, f"took longer than {seconds:g} s", output)
        if status != 0:
            raise CommandFailed(words, f"ended with status {status}", output)
        return output

    def _show_life(self) -> None:
        terminal = sys.stderr.isatty()
        while not self._ended.wait(1 if terminal else 0.5):
            seconds = time.monotonic() - self._started
            now = f"[{seconds:5.0f} s] {self.name}: {self._doing}"
            detail = f" … {self._detail}" if self._detail else ""
            if terminal:
                # No wider than the terminal: a line that wraps cannot be written over.
                width = shutil.get_terminal_size().columns - 1
                print(f"\r\033[K{(now + detail)[:width]}", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - self._spoke >= QUIET_SECONDS:
                self._spoke = time.monotonic()
                print((now + detail)[:WIDTH], file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        start = "\r\033[K" if sys.stderr.isatty() else ""
        seconds = time.monotonic() - self._started
        print(f"{start}[{seconds:5.1f} s] {self.name}: {text}", file=sys.stderr, flush=True)


def _end_group(process: subprocess.Popen[str]) -> None:
    """End a program and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def stop(what: str, error: CommandFailed, next_step: str) -> SetupError:
    """Return the error to raise for a program that failed: what could not be done, why, and what to do next."""
    return SetupError(f"{what}: {error.explain()}\n  Next: {next_step}")
