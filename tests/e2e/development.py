"""A developer's folder, and `make dev` that watches it: what the tests of development mode do and see."""

from __future__ import annotations

import http.client
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from ops.development.__main__ import FOLDER
from ops.setup import workplace
from tests.e2e.host import until
from tests.e2e.site import Site
from tests.e2e.stack import TREE, Stack

if TYPE_CHECKING:
    from pathlib import Path

HOME_PAGE = "guestbook/templates/index.html"


class Folder:
    """The application's source as a developer has it, and the server that runs it."""

    def __init__(self, stack: Stack, folder: Path, port: int) -> None:
        """Copy the bundled example and have the stack take it, in development mode.

        Args:
            stack: has no source from now on but the folder.
            folder: is made.
            port: of this machine that leads to the server's port 5000.
        """
        shutil.copytree(TREE / "examples" / "guestbook", folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.stack, self.path, self.port = stack, folder, port
        stack.configure(
            app={"source": None, "version": None, "gunicorn": None, "static": None, "mode": "development"},
            env={"SESSION_COOKIE_SECURE": "false", "LOG_LEVEL": "DEBUG"},
        )
        stack.configure(app={"source": {"folder": str(folder)}})

    def get(self, path: str = "/") -> tuple[int, str]:
        """Ask the development server as a browser does; status 0 where nobody answers, or not to the end.

        A server that takes a saved file starts anew, and may do so in the middle of an answer.
        """
        try:
            answer = Site(http_port=self.port, https_port=0).get(path, plain=True)
        except (OSError, http.client.HTTPException) as error:
            return 0, f"{type(error).__name__}: {error}"
        return answer.status, answer.text

    def replace(self, name: str, old: str, new: str) -> float:
        """Edit a file; return when it was saved."""
        file = self.path / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return time.monotonic()

    def answers(self, words: str, path: str = "/", *, status: int = 200) -> float:
        """Wait until a page has these words; return when."""
        last = (0, "")

        def holds() -> bool:
            nonlocal last
            last = self.get(path)
            return last[0] == status and words in last[1]

        try:
            until(holds, words, pause=0.02)
        except AssertionError as late:
            pytest.fail(f"{late}; last seen: {last[0]} {last[1][:500]}")
        return time.monotonic()


class Watching:
    """`make dev` at work; what it prints can be waited for."""

    def __init__(self, folder: Folder) -> None:
        """Start it as make does, for a stack of the tests."""
        found = workplace.load()
        assert found
        stack = folder.stack
        # Beside the project's own stack files for as long as it runs: that is where a stack has its file.
        self._file = TREE / stack.file.name
        self._file.symlink_to(stack.file)
        variables = {**found.variables(stack.environment), "PYTHONUNBUFFERED": "1"}
        variables.pop(FOLDER, None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ops.development", "up", "--stack", stack.name],
            cwd=TREE,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()

    def says(self, words: str, seconds: float = 60) -> None:
        """Wait until it has said something since this was asked last."""
        seen = ""
        end = time.monotonic() + seconds
        while words not in seen:
            assert time.monotonic() < end, f"not within {seconds:g} s: {words}\n{self.text}"
            try:
                seen += self._lines.get(timeout=0.1)
            except queue.Empty:
                assert self._process.poll() is None, self.text

    def enter(self) -> None:
        """Press Enter."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Press Ctrl+C; return the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(20)

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait(10)
        self._file.unlink()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.text += line
            self._lines.put(line)
