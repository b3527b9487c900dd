"""One verb at a time: a lock per application, and one for what belongs to the whole host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ContextManager, Dict, Iterator, Optional

from flaskhost import caller, layout
from flaskhost.shell import Failure

if TYPE_CHECKING:
    from flaskhost.progress import Progress

# Where the application's own setting is not known: before its first `base`, or one that an older version has made.
WAIT_SECONDS = 600
POLL_SECONDS = 0.05


def application(paths: layout.Layout, purpose: str, progress: Progress) -> ContextManager[None]:
    """Hold the lock of an application, waiting for it as long as its setting says; see `held`."""
    return held(paths.state / "lock", purpose, progress, patience(paths.facts))


def host(paths: layout.Layout, purpose: str, progress: Progress) -> ContextManager[None]:
    """Hold the lock of what belongs to the whole host, waiting for it as long as the application's setting says."""
    return held(paths.at("/run/flaskhost/host.lock"), purpose, progress, patience(paths.facts))


@contextlib.contextmanager
def held(path: Path, purpose: str, progress: Progress, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock at `path`; the kernel gives it back when the process ends, however it ends.

    Args:
        path: the lock file, in a folder that exists.
        purpose: what it is held for, told to those who wait.
        progress: says who holds it meanwhile.
        wait: seconds until giving up.

    Raises:
        Failure: somebody else held it all the while; the message names the holder, and how to end it.
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
                holder = _read(file.read())
                if time.monotonic() > until:
                    raise refusal(holder, wait) from None
                if not told:
                    progress.say(f"waiting up to {wait:g} s for {words(holder)}")
                    told = True
                time.sleep(POLL_SECONDS)
        file.seek(0)
        file.truncate()
        file.write(json.dumps(holder_now(purpose)))
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()


def patience(facts: Dict[str, Any]) -> float:
    """Return how long to wait for another one's work on an application, in seconds, by what `base` wrote down."""
    return float(facts.get("lock_wait", WAIT_SECONDS))


def holder_now(purpose: str, unit: Optional[str] = None) -> Dict[str, Any]:
    """Return this process as the holder: what for, who asked, since when, and the unit or process that would be ended.

    Args:
        purpose: what is being done.
        unit: of systemd, in which that is done. Default: the one that this process works in, if any.
    """
    return {
        "purpose": purpose,
        **caller.known(),
        "unit": unit or caller.unit(),
        "pid": os.getpid(),
        "since": caller.now(),
    }


def words(holder: Dict[str, Any]) -> str:
    """Return a holder as a person reads it."""
    if not holder:
        return "another process"
    origin = f" from {holder['from']}" if holder.get("from") else ""
    what = f"unit {holder['unit']}" if holder.get("unit") else f"process {holder.get('pid')}"
    return f"{holder['purpose']}, by {holder.get('by', 'root')}{origin} since {holder.get('since')} ({what})"


def refusal(holder: Dict[str, Any], wait: float) -> Failure:
    """Return the failure of whoever has waited long enough.

    What it says to type is safe at any moment: whatever serves goes on, as after every kill.
    """
    end = f"sudo systemctl stop {holder['unit']}" if holder.get("unit") else f"sudo kill {holder.get('pid', 'PID')}"
    return Failure(
        f"waited {wait:g} s (flaskhost:app.lock_wait) for {words(holder)}: run `pulumi up` again when that has ended. "
        f"If it hangs, end it on the host: `{end}`. What serves goes on serving, and the next `pulumi up` finishes the "
        "work"
    )


def _read(text: str) -> Dict[str, Any]:
    """Return what a holder has written; nothing where it is just writing, or was an older version of this command."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and "purpose" in found else {}
