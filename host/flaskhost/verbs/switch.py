"""`flaskhost switch`: let visitors reach the staged release, and retire the one before."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from flaskhost import accounts, dependencies, envfile, layout, locks, processes, releases, slots, systemd
from flaskhost.document import Document
from flaskhost.files import remove
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs.stage import bring_up

# An environment that no release names yet may belong to an `up` that is at work.
STRAY_SECONDS = 24 * 3600


def switch(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Make a release the active one. Input: release, keep (number of releases that stay on the host)."""
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.held(paths.state / "lock", f"switch {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        before, served = releases.active(paths), paths.active_slot()
        colour = bring_up(paths, release, progress)
        if colour != served:
            slots.point(paths, colour)
            progress.say(f"active: {release.label} in {colour}" + (f", before {before.label}" if before else ""))
            releases.record(paths, "switch", release, slot=colour, before=before.digest if before else None)
        else:
            progress.say(f"active: {release.label} in {colour}, as before")
        _umbrella(paths)
        try:
            _prove(paths, release, colour, progress)
            processes.take_over(paths, colour, progress)
        except Failure as failure:
            raise Failure(f"{failure}\n{_back(paths, release, served, colour, progress)}") from None
        # The slot that nobody points to: the one before, or what a killed switch has left running.
        idle = layout.other(colour)
        if systemd.is_active(layout.service(paths.app, idle)) or systemd.is_active(layout.socket(paths.app, idle)):
            slots.drain(paths, idle, progress)
            slots.retire(paths, idle)
            progress.say(f"stopping: {idle}")
        # Not before: the release that ran as it could not start again.
        accounts.leave(paths.app, paths.user)
        pruned = prune(paths, asked["keep"])
        if pruned:
            progress.say(f"removed: {', '.join(pruned)}")
    return {"release": release.digest, "slot": colour}


def _prove(paths: layout.Layout, release: releases.Release, colour: str, progress: Progress) -> None:
    """See that the release is healthy where visitors reach it: through the pointer, while the one before still runs."""
    before = slots.restarts(paths, colour)
    slots.healthy(paths, colour, release.wishes["health"], progress, before=before, at=paths.run / "gunicorn.sock")


def _back(
    paths: layout.Layout, release: releases.Release, served: Optional[str], colour: str, progress: Progress
) -> str:
    """Let visitors reach the slot that served before, if that still runs; return what serves now."""
    releases.record(paths, "switch", release, result="failed", slot=colour)
    if served is None or served == colour or not systemd.is_active(layout.service(paths.app, served)):
        return f"{release.label} stays the active release: nothing else runs. Deploy one that works"
    slots.point(paths, served)
    slots.discard(paths, colour)
    processes.back(paths, served)
    before = releases.active(paths)
    progress.say(f"active: {served} again")
    return f"{before.label if before else served} serves as before"


def _umbrella(paths: layout.Layout) -> None:
    """Have `<app>.service` active: at a first deploy it is not yet."""
    if not systemd.is_active(f"{paths.app}.service"):
        systemd.systemctl("start", f"{paths.app}.service")


def prune(paths: layout.Layout, keep: int) -> List[str]:
    """Remove all but the newest `keep` good releases; never one that a slot holds, nor count a failed one.

    The newest failed one stays for a look.
    """
    held = {releases.in_slot(paths, colour) for colour in (*layout.SLOTS, layout.DEVELOPMENT)}
    newest_first = list(reversed(releases.every(paths)))
    good = [one for one in newest_first if one.facts.get("prepared") and not one.facts.get("failed")]
    failed = [one for one in newest_first if one.facts.get("failed")]
    staying = {one.digest for one in good[:keep] + failed[:1]} | held
    gone = [one for one in newest_first if one.digest not in staying]
    for release in gone:
        # First: what a killed removal leaves must not be taken for a release.
        release.update(prepared=False)
        if release.facts.get("folder"):
            remove(release.source)
        remove(release.static)
        # Last, since it is what the others are found by.
        remove(paths.config(release.digest))
    kept = releases.every(paths)
    for venv in paths.venvs.iterdir():
        if venv.name not in {one.facts.get("venv") for one in kept}:
            remove(venv / dependencies.COMPLETE)
            remove(venv)
    for environment in paths.environments.iterdir():
        named = environment.name in {one.facts.get("environment") for one in kept}
        if not named and time.time() - environment.stat().st_mtime > STRAY_SECONDS:
            remove(environment)
    return [release.label for release in gone]
