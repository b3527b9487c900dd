"""Runs other programs, and the one exception that ends a verb with a message for its reader."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, Optional, Sequence


class Failure(Exception):  # noqa: N818 - it is what a verb ends with, not an error of the program
    """A verb could not do its work. The message says what, why and the next step."""


def run(
    words: Sequence[str],
    *,
    timeout: float = 60,
    check: bool = True,
    cwd: Optional[str] = None,
    env: Optional[Dict[str, str]] = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program and capture what it prints (standard error is part of `stdout`).

    Args:
        words: program and arguments; no shell reads them.
        timeout: seconds until it is killed.
        check: a status other than 0 raises.
        cwd: folder to run in.
        env: variables added to the environment.

    Raises:
        Failure: not found, out of time or (with `check`) a status other than 0; the message holds its output.
    """
    command = " ".join(words)
    try:
        done = subprocess.run(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise Failure(f"{words[0]}: no such program on this host") from None
    except subprocess.TimeoutExpired as late:
        output = late.stdout or b""
        shown = output if isinstance(output, str) else output.decode("utf-8", "replace")
        raise Failure(f"`{command}` did not end within {timeout:g} s\n{shown}".rstrip()) from None
    if check and done.returncode:
        raise Failure(f"`{command}` ended with status {done.returncode}\n{done.stdout}".rstrip())
    return done


def succeeds(words: Sequence[str], *, timeout: float = 60) -> bool:
    """Tell whether a program ends with status 0."""
    return run(words, timeout=timeout, check=False).returncode == 0
