"""The Pulumi CLI as an operator's command asks it: through ./pulumi, in words that work on every backend."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

from ops.setup import cache
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence


def pulumi(*words: str, stdin: str | None = None) -> str:
    """Run a command and return what it prints; nothing secret belongs into its words.

    Raises:
        SetupError: it failed; with what it said.
    """
    done = subprocess.run(
        [str(cache.TREE / "pulumi"), *words],
        cwd=cache.TREE,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SetupError(f"pulumi {' '.join(words)} ended with status {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def answer(*words: str) -> Any:
    """Run a command that answers in JSON."""
    return json.loads(pulumi(*words, "--json"))


def watched(words: Sequence[str]) -> int:
    """Run a command that a person sees at work; return its exit status.

    An interrupt goes to the engine as well, which ends the update and its lock in order: it is waited for.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # ./pulumi has its program listen again.
        return subprocess.run([str(cache.TREE / "pulumi"), *words], cwd=cache.TREE, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
