"""The maintenance page: it stands while the database changes in a way that running code could not live with.

`<home>/maintenance.html` is page and flag in one: Nginx shows it, with 503, as long as it is there. Why it is there is
kept in /etc/flaskhost/<app>/maintenance.json, so that a killed verb and a reboot are made up for: as long as nothing of
the database has changed, the release before serves again.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Dict, Iterator, Optional, Sequence

from flaskhost import caller, layout, locks, processes, releases, slots, systemd
from flaskhost.files import directory, remove, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="30">
<title>Back in a moment</title>
<style>
body { font: 1.1rem/1.6 system-ui, sans-serif; margin: 20vh auto 0; max-width: 32rem; padding: 0 1rem; color: #222; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } }
</style>
</head>
<body>
<h1>Back in a moment</h1>
<p>This site is being updated. The page loads again by itself as soon as that is done.</p>
</body>
</html>
"""


def state(paths: Layout) -> Optional[Dict[str, Any]]:
    """Return why the page stands, or None.

    Its values: since, release (that is on its way), begun (whether the database may have changed), before (revisions
    of the database then, or null where they are not known).
    """
    try:
        found: Dict[str, Any] = json.loads((paths.etc / "maintenance.json").read_text())
    except FileNotFoundError:
        return None
    return found


def _keep(paths: Layout, found: Dict[str, Any]) -> None:
    write(paths.etc / "maintenance.json", json.dumps(found, indent=2, sort_keys=True) + "\n", mode=0o600)


@contextlib.contextmanager
def standing(paths: Layout, release: releases.Release, progress: Progress) -> Iterator[None]:
    """Have the page up and the application stopped; it stays when the block ends, for `leave` to take away.

    An error in the block takes it away as well, and the application starts again, unless the database has changed.
    Where nothing serves yet, and in development mode, there is nobody to show it to.
    """
    served = paths.active_slot()
    if served is None or served == layout.DEVELOPMENT:
        yield
        return
    enter(paths, release, progress)
    try:
        yield
    except BaseException:
        settle(paths, progress)
        raise


def enter(paths: Layout, release: releases.Release, progress: Progress) -> None:
    """Put the page up, then stop the application gracefully, its processes and jobs as well."""
    served = paths.active_slot()
    before = state(paths)
    known = before or {"since": caller.now(), "begun": False, "before": None}
    _keep(paths, {**known, "release": release.digest})
    write(paths.home / "maintenance.html", PAGE)
    if before is None:
        releases.record(paths, "maintenance", release, result="begun")
        progress.say("maintenance: the page stands")
    if served and systemd.is_active(layout.service(paths.app, served)):
        slots.drain(paths, served, progress)
        slots.stop(paths, served)
        processes.stop(paths, served, progress)
        progress.say(f"maintenance: {served} is stopped")


def begin(paths: Layout, before: Optional[Sequence[str]]) -> None:
    """Note that the database changes from now on; `before` are its revisions, or None."""
    found = state(paths)
    # What an earlier try has begun counts from there.
    if found and not found["begun"]:
        _keep(paths, {**found, "begun": True, "before": None if before is None else list(before)})


def untouched(paths: Layout, now: Sequence[str]) -> None:
    """Note that the database is where it was, if that is so."""
    found = state(paths)
    if found and found["before"] == list(now):
        _keep(paths, {**found, "begun": False})


def leave(paths: Layout, progress: Progress) -> None:
    """Take the page away: what serves visitors runs."""
    found = state(paths)
    if found is None and not (paths.home / "maintenance.html").exists():
        return
    remove(paths.home / "maintenance.html")
    remove(paths.etc / "maintenance.json")
    active = releases.active(paths)
    if active:
        releases.record(paths, "maintenance", active, result="ended")
    progress.say("maintenance: the page is gone")


def may_serve(paths: Layout) -> bool:
    """Tell whether what is active may serve: the database is as it was, or the release that it was changed for serves.

    That is also so where no page stands.
    """
    found, active = state(paths), releases.active(paths)
    return found is None or not found["begun"] or (active is not None and active.digest == found["release"])


def settle(paths: Layout, progress: Progress) -> None:
    """Let the active release serve again and take the page away, if the release may. The lock is held by the caller.

    A release that the database was changed for has to be healthy for that: none before it could serve instead.
    """
    found = state(paths)
    if found is None or not may_serve(paths):
        return
    if _is_up(paths, progress) or not found["begun"]:
        _end(paths, progress)


def serve(paths: Layout, progress: Progress) -> None:
    """Start the active release, wait until it is healthy, and take the page away, come what may."""
    _is_up(paths, progress)
    _end(paths, progress)


def _is_up(paths: Layout, progress: Progress) -> bool:
    """Start the active release, without its processes; return whether it is healthy, or there is none."""
    active, served = releases.active(paths), paths.active_slot()
    if active and served:
        slots.start(paths, served)
        try:
            slots.healthy(paths, served, active.wishes["health"], progress)
        except Failure as failure:
            progress.say(f"maintenance: {active.label} was started again, and is not healthy: {failure}")
            return False
    return True


def _end(paths: Layout, progress: Progress) -> None:
    served = paths.active_slot()
    if served:
        processes.start(paths, served)
    leave(paths, progress)


def ended(app: str) -> None:
    """Make up for a verb that was killed: its unit has this called when it ends, however it does."""
    paths = layout.known(app)
    with contextlib.suppress(Failure), _locked(paths, locks.patience(paths.facts)):
        settle(paths, Progress())


def by_hand(app: str) -> None:
    """Let the active release serve as it is, because a person says so."""
    paths = layout.known(app)
    progress = Progress()
    with _locked(paths, locks.patience(paths.facts)):
        if state(paths) is None:
            progress.say("maintenance: no page stands")
            return
        serve(paths, progress)


def at_start(paths: Layout) -> bool:
    """Tell whether the application may start, at boot or by hand; the page goes if it may.

    Nobody can ask the database then: it may start later than the application.
    """
    if state(paths) is None:
        return True
    try:
        with _locked(paths, 0):
            if not may_serve(paths):
                return False
            leave(paths, Progress())
            return True
    except Failure:
        return False


@contextlib.contextmanager
def _locked(paths: Layout, wait: float) -> Iterator[None]:
    # After a reboot they are not there.
    for folder in (paths.state.parent, paths.state):
        directory(folder, mode=0o700)
    with locks.held(paths.state / "lock", "the end of maintenance", Progress(), wait=wait):
        yield


def serving(paths: Layout) -> str:
    """Return what visitors get now, for the message of a failed verb."""
    found = state(paths)
    if found and found["begun"]:
        return (
            f"the maintenance page stands since {found['since']}, since the database may have changed. To end it, "
            "deploy a release that works with the database as it is (`pulumi up`), put a dump back (`sudo flaskhost "
            f"restore {paths.app} FILE`), or let the active release serve all the same (`sudo flaskhost maintenance "
            f"--end {paths.app}`)"
        )
    now = releases.active(paths)
    return f"{now.label} serves as before" if now else "nothing was serving before"
