"""`flaskhost switch`: let visitors reach the staged release, and retire the one before."""

from __future__ import annotations

from typing import Any, Dict, Optional

from flaskhost import accounts, envfile, layout, locks, processes, releases, slots, systemd
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.retention import prune
from flaskhost.shell import Failure
from flaskhost.verbs.stage import bring_up


def switch(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Make a release the active one. Input: release, keep (number of releases that stay on the host)."""
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"switch {asked['release'][:8]}", progress):
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
