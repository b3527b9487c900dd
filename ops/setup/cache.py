"""Where set-up keeps what it downloads and builds: one folder outside the tree."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TREE = Path(__file__).resolve().parents[2]
VENV = TREE / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = TREE / "requirements.txt"


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the cache folder: $FLASKHOST_CACHE, else `flaskhost` where the user keeps caches."""
    named = environment.get("FLASKHOST_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flaskhost"


def machine() -> str:
    """Return system and processor in Go's words, `linux-amd64`: one cache may serve several machines."""
    processor = platform.machine().lower()
    return f"{platform.system().lower()}-{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(processor, processor) }"


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Hold the cache for this process: two set-ups at once would build everything twice."""
    # Not at the top: the fast path (workplace.py) needs this module and no lock.
    import fcntl  # noqa: PLC0415

    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"set-up: waiting for another set-up that works in {folder()}", file=sys.stderr, flush=True)
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
