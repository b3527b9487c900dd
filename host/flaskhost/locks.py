"""One verb at a time: a lock per application, and one for what belongs to the whole host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from flaskhost.shell import Failure

if TYPE_CHECKING:
    from flaskhost.progress import Progress

WAIT_SECONDS = 600.0


@contextlib.contextmanager
def held(path: Path, purpose: str, progress: Progress, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock at `path`; the kernel gives it back when the process ends, however it ends.

    Args:
        path: the lock file, in a folder that exists.
        purpose: what it is held for, told to those who wait.
        progress: says who holds it meanwhile.
        wait: seconds until giving up.

    Raises:
        Failure: somebody else held it all the while; the message names the holder.
    """
    with open(path, "a+", encoding="utf-8") as file:
        until = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                file.seek(0)
                holder = file.read() or "another process"
                if time.monotonic() > until:
                    raise Failure(f"{path} is held by {holder}: wait for it, or end that process") from None
                if not told:
                    progress.say(f"waiting for {holder}")
                    told = True
                time.sleep(0.05)
        file.seek(0)
        file.truncate()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        file.write(json.dumps({"purpose": purpose, "pid": os.getpid(), "since": now}))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()
