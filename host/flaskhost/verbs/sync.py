"""`flaskhost sync APP`: takes changed files into the development release that runs, for as long as its caller stays.

Standard input has frames: one line of JSON, {"release": …, "gone": [names], "bytes": n}, then a tar file of n bytes
with the files that are new or different. Each is answered by one line of JSON. The first line, before any frame, says
which release runs, what its source is made of, and what unlocks the debugger. `flaskhost log APP` is its log.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any, Dict, Iterable, List, Optional, Tuple

from flaskhost import envfile, layout, locks, releases, sources, systemd
from flaskhost.files import directory, remove
from flaskhost.progress import Progress, Scrubber
from flaskhost.shell import Failure
from flaskhost.verbs.prepare import leading_outside, unpack

LARGEST = 512 * 1024 * 1024
PART = 1024 * 1024
PIN = re.compile(r"Debugger PIN: ([0-9-]+)")


def serve(app: str) -> None:
    """Serve whoever has called this command, over its standard input and output."""
    sync(app, sys.stdin.buffer, sys.stdout)


def sync(app: str, frames: IO[bytes], answers: IO[str]) -> None:
    """Serve one caller until it closes standard input.

    Raises:
        Failure: the application is not in development mode, or nothing of it runs.
    """
    paths = layout.known(app)
    release = releases.active(paths)
    if paths.active_slot() != layout.DEVELOPMENT or release is None:
        raise Failure(f"{app!r} does not run in development mode on this host: only there files are changed by sync")
    for folder in (paths.state.parent, paths.state):
        # A reboot empties /run, and no step has come since.
        directory(folder, mode=0o700)
    _answer(answers, release=release.digest, pin=_pin(paths), files=sources.known(release))
    scrubber = Scrubber(envfile.secrets_of(paths))
    for line in frames:
        asked = json.loads(line)
        # Also of one that is too large: the next frame begins after it.
        packed, size = _read(frames, asked["bytes"])
        if size < asked["bytes"]:
            return
        try:
            if size > LARGEST:
                raise Failure(  # noqa: TRY301 - one way out for all that is refused
                    f"a change must have {LARGEST} bytes or less (got {size}): press Enter, which deploys anew, or "
                    "keep large files out of the source"
                )
            _answer(answers, **_take(paths, asked, packed))
        except (Failure, OSError) as failure:
            _answer(answers, error=scrubber.clean(str(failure)))
        except Exception as error:  # noqa: BLE001 - whoever watches would take an end for a lost connection, and try for ever
            _answer(answers, error=scrubber.clean(f"{type(error).__name__}: {error} (a defect)"))


def log(app: str) -> None:
    """Become what prints the development server's log from now on.

    Raises:
        Failure: there is no such application.
    """
    unit = layout.service(layout.known(app).app, layout.DEVELOPMENT)
    words = ["journalctl", "-q", "--follow", "--lines=0", "--output=cat", f"--unit={unit}"]
    os.execvp(words[0], words)  # noqa: S606 - no shell is to read these words


def _pin(paths: layout.Layout) -> Optional[str]:
    """Return what unlocks the debugger, as the server printed it last."""
    unit = layout.service(paths.app, layout.DEVELOPMENT)
    pins = PIN.findall(systemd.journal([unit], since=0, lines=1000))
    return pins[-1] if pins else None


def _answer(answers: IO[str], **values: Any) -> None:
    answers.write(json.dumps(values) + "\n")
    answers.flush()


def _read(frames: IO[bytes], size: int) -> Tuple[bytes, int]:
    """Return the content of a frame, not more of it than one may have, and how many bytes there were."""
    packed = frames.read(min(size, LARGEST))
    there = len(packed)
    while there < size:
        more = len(frames.read(min(size - there, PART)))
        if not more:
            break
        there += more
    return packed, there


def _take(paths: layout.Layout, asked: Dict[str, Any], packed: bytes) -> Dict[str, Any]:
    """Bring one change into the source; return what was done."""
    begin = time.monotonic()
    with locks.held(paths.state / "lock", "sync", Progress(io.StringIO())):
        release = releases.active(paths)
        if release is None or release.digest != asked["release"]:
            return {"stale": True}
        if not release.facts.get("edited"):
            # First: the next `prepare` of the same release has to take its archive again.
            release.update(edited=releases.stamp())
        files = sources.known(release)
        with tempfile.TemporaryDirectory(dir=paths.releases, prefix=".sync-") as folder:
            archive, new = Path(folder, "changes.tar"), Path(folder, "new")
            archive.write_bytes(packed)
            unpack(archive, new, group=paths.app)
            coming = sources.listed(archive)
            sources.take_away(release, asked["gone"])
            for at in new.rglob("*"):
                # Flask's reloader looks at times, and those of an archive do not say when it was changed.
                os.utime(at, follow_symlinks=False)
            sources.put(release, new)
        stray = leading_outside(release.source, release.source) if _has_link(coming.values()) else None
        if stray:
            remove(release.source / stray)
            raise Failure(f"{stray!r} is a link that leads out of the source: have the file there")
        sources.remember(release, {**{name: one for name, one in files.items() if name not in asked["gone"]}, **coming})
        restarted = _restart(paths, release, asked["gone"])
    return {"files": sorted(coming), "gone": asked["gone"], "restarted": restarted, "seconds": time.monotonic() - begin}


def _has_link(listed: Iterable[str]) -> bool:
    return any(one.startswith("-> ") for one in listed)


def _restart(paths: layout.Layout, release: releases.Release, gone: List[str]) -> bool:
    """Restart the server where Flask's reloader would not: it is off, has ended, or misses that a module is gone."""
    unit = layout.service(paths.app, layout.DEVELOPMENT)
    variables = envfile.parse((paths.config(release.digest) / "env").read_text())
    reloads = variables.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no", "off")
    if reloads and systemd.is_active(unit) and not any(name.endswith(".py") for name in gone):
        return False
    systemd.systemctl("restart", "--no-block", unit)
    return True
