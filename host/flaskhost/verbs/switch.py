"""`flaskhost switch`: let visitors reach the staged release, watch it, and retire the one before or go back to it."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from flaskhost import (
    accounts,
    envfile,
    incidents,
    layout,
    locks,
    maintenance,
    manifest,
    processes,
    releases,
    slots,
    systemd,
    wanted,
)
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.retention import prune
from flaskhost.shell import Failure
from flaskhost.verbs.checks import Checklist
from flaskhost.verbs.stage import bring_up
from flaskhost.watch import Limits, Watch, parse

RESTART_SECONDS = 10.0
# Who types a rollback looks himself, and does not want to be taken back to what he has just left; and a release that is
# started anew was watched before.
NO_WATCH = Limits(seconds=0, requests=0, errors=100)


class Move(NamedTuple):
    """Visitors go from one release to another.

    Attributes:
        paths: layout of the application.
        release: which they are to reach, and which runs already.
        slot: where it runs.
        restarts: of its service, until now.
        before: the release that they reached until now, or None.
        served: its slot, or None; the same slot where the release is the active one already.
        began: when the release was looked for (seconds since the epoch); its log begins there.
    """

    paths: layout.Layout
    release: releases.Release
    slot: str
    restarts: int
    before: Optional[releases.Release]
    served: Optional[str]
    began: float

    @property
    def is_new(self) -> bool:
        """Tell whether the release was not the active one before."""
        return self.slot != self.served

    def can_go_back(self) -> bool:
        """Tell whether the release before still runs, or will in a moment."""
        if self.served is None or not self.is_new:
            return False
        service, until = layout.service(self.paths.app, self.served), time.monotonic() + RESTART_SECONDS
        # The new one may have taken its memory, say, and systemd starts it anew.
        while systemd.show(service, "ActiveState").get("ActiveState") == "activating" and time.monotonic() < until:
            time.sleep(RESTART_SECONDS / 20)
        return systemd.is_active(service)


def switch(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Make a release the active one.

    Input: release, watch (see `watch.Limits`), keep (number of releases that stay on the host), configuration (a digest
    of all other documents: whatever has changed on the host, the checks look at it).
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"switch {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        checklist = Checklist(paths, release, progress)
        move = activate(paths, release, Limits(**asked["watch"]), progress, checklist=checklist)
        wanted.remember(paths, release)
        # Not before: the release that ran as it could not start again.
        accounts.leave(paths.app, paths.user)
        pruned = prune(paths, asked["keep"])
        if pruned:
            progress.say(f"removed: {', '.join(pruned)}")
        remember(paths, release, move.slot)
    return {"release": release.digest, "slot": move.slot, "kept": releases.codes(paths), "checks": checklist.found}


def note(paths: layout.Layout, release: releases.Release, slot: str) -> None:
    """Note what the active release consists of, where it was started anew, if it is the one that the stack wants."""
    wish = wanted.read(paths)
    if wish is not None and wish["release"] == release.digest and slot != layout.DEVELOPMENT:
        remember(paths, release, slot)


def remember(paths: layout.Layout, release: releases.Release, slot: str) -> None:
    """Note what the active release consists of, so that a change by hand is seen."""
    config, units = paths.config(release.digest), slots.units(paths, slot, release)
    files = {config / name for name in ("entry", "gunicorn.conf.py", *units.values())}
    installed = [paths.units / name for name in units]
    # A job runs when its time has come, and on some hosts of several not at all.
    jobs = {name for name in units if f"{name.rpartition('.')[0]}.timer" in units}
    running = {*(units.keys() - jobs), *processes.due(paths, slot)}
    manifest.remember(
        paths,
        manifest.RELEASE,
        files=[*sorted(files), *installed, *slots.managed(paths, slot, release), paths.active],
        secret=[config / "env"],
        units={name: ["active"] if name in running else [] for name in units},
    )


def activate(  # noqa: PLR0913 - what a switch is
    paths: layout.Layout,
    release: releases.Release,
    limits: Limits,
    progress: Progress,
    event: str = "switch",
    checklist: Optional[Checklist] = None,
    *,
    again: bool = False,
) -> Move:
    """Have visitors reach a release, look at it, watch it, and end the one before. The lock is held by the caller.

    Args:
        paths: layout of the application.
        release: which is prepared and was staged.
        limits: of the watch.
        progress: told what is done.
        event: what this is called in releases.log.
        checklist: what is looked at; a person on the host looks himself.
        again: whether it is the release that serves, in another start: see `bring_up`.

    Raises:
        Failure: the host is not ready for it, it did not prove itself, or was worse under watch; visitors reach the
            release before, which never stopped.
    """
    began, before, served = time.time(), releases.active(paths), paths.active_slot()
    slot = bring_up(paths, release, progress, again=again)
    move = Move(paths, release, slot, slots.restarts(paths, slot), before, served, began)
    log = paths.at(f"/var/log/nginx/{paths.app}-access.log")
    if checklist:
        _see_the_host(move, checklist, progress)
    blamed = True
    with contextlib.closing(Watch(log, limits)) as watch:
        try:
            _point(move, progress, event)
            _prove(move, progress)
            maintenance.leave(paths, progress)
            processes.take_over(paths, slot, progress)
            if checklist:
                blamed = False
                checklist.of_release()
                blamed = True
            if limits.seconds and move.can_go_back():
                with progress.phase("watch"):
                    watch.hold(paths.run / "gunicorn.sock", release.wishes["health"], _dying(move), progress)
        except Exception as error:  # noqa: BLE001 - a full disk, say, or a defect: whatever it was, visitors come first
            why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            raise Failure(_went_back(move, why, watch, progress, event, blamed=blamed)) from None
    slots.retire_idle(paths, layout.other(slot), progress)
    return move


def _see_the_host(move: Move, checklist: Checklist, progress: Progress) -> None:
    """Look at what is the host's before visitors are sent anywhere: no release is to blame for it."""
    try:
        checklist.of_host()
    except Failure as failure:
        if move.is_new and not maintenance.state(move.paths):
            slots.retire_idle(move.paths, move.slot, progress)
        raise Failure(
            f"{failure}\nNo visitor was sent to {move.release.label}, {maintenance.serving(move.paths)}. Repair the "
            f"host and run `pulumi up` again; `sudo flaskhost rollback {move.paths.app} VERSION` does not look at this"
        ) from None


def _point(move: Move, progress: Progress, event: str) -> None:
    """Let visitors reach the release; at a first deploy `<app>.service` is not active yet, either."""
    paths, before = move.paths, move.before
    if move.is_new:
        slots.point(paths, move.slot)
        progress.say(f"active: {move.release.label} in {move.slot}" + (f", before {before.label}" if before else ""))
        left = before.digest if before else None
        with contextlib.suppress(OSError):
            releases.record(paths, event, move.release, slot=move.slot, before=left)
    else:
        progress.say(f"active: {move.release.label} in {move.slot}, as before")
    if not systemd.is_active(f"{paths.app}.service"):
        systemd.systemctl("start", f"{paths.app}.service")


def _prove(move: Move, progress: Progress) -> None:
    """See that the release is healthy where visitors reach it: through the pointer, while the one before still runs."""
    check, at = move.release.wishes["health"], move.paths.run / "gunicorn.sock"
    slots.healthy(move.paths, move.slot, check, progress, before=move.restarts, at=at)


def _dying(move: Move) -> Callable[[], Optional[str]]:
    """Return what tells why the release does not stay up from now on, or None while it does."""
    before = processes.restarts(move.paths, move.slot)

    def died() -> Optional[str]:
        now = processes.restarts(move.paths, move.slot)
        restarted = [unit for unit, count in now.items() if count > before.get(unit, 0)]
        of_process = f"the process {restarted[0]} has ended and was started again" if restarted else None
        return slots.died(move.paths, move.slot, move.restarts) or of_process

    return died


def _went_back(  # noqa: PLR0913 - what an incident is made of
    move: Move, why: str, watch: Watch, progress: Progress, event: str, *, blamed: bool
) -> str:
    """Let visitors reach the release before again, if that still runs; return why, what serves, and the incident."""
    paths, release, before = move.paths, move.release, move.before
    if before is None or move.served is None or not move.can_go_back():
        releases.record(paths, event, release, result="failed", slot=move.slot)
        if not move.is_new:
            return f"{why}\n{release.label} stays the active release, which it was before"
        page = " and takes the maintenance page away" if maintenance.state(paths) else ""
        return f"{why}\n{release.label} stays the active release: nothing else runs. Deploy one that works{page}"
    slots.point(paths, move.served)
    processes.back(paths, move.served)
    progress.say(f"active: {before.label} in {move.served} again")
    try:
        if blamed:
            release.update(failed=releases.stamp())
        releases.record(paths, event, release, result="failed", slot=move.slot, serves=before.digest)
        page = incidents.keep(paths, _incident(move, why, watch), progress.scrubber)
    except OSError as error:
        # A full disk, say: no reason to leave the slot running, nor to say less.
        page = f"no record of this could be kept: {error}"
    # Visitors have reached it: what it has taken, it may end.
    slots.retire_idle(paths, move.slot, progress)
    return f"{why}\n{before.label} serves as before\n\n{page}"


def _incident(move: Move, why: str, watch: Watch) -> incidents.Incident:
    release, before = move.release, move.before
    unit = layout.service(move.paths.app, move.slot)
    others = [name for name in processes.units(move.paths, move.slot, release) if name.endswith(".service")]
    version = before.facts.get("version") if before else None
    stays = "its migrations stay as they are: going back never downgrades"
    return incidents.Incident(
        app=move.paths.app,
        release={**_identity(release), "slot": move.slot, "journal": unit},
        serves={**(_identity(before) if before else {}), "slot": move.served},
        why=why,
        evidence=watch.evidence(),
        database=stays if release.facts.get("migrated") else "not touched: the release has no migrations",
        # Without Gunicorn's access log: it is counted already, and its queries are nobody's business.
        log=[line for line in systemd.journal([unit, *others], since=move.began).splitlines() if parse(line) is None],
        next=[
            "find the fault in the evidence and in the log, and deploy a release without it",
            f"or put {version} back into the stack file, which is what serves; `pulumi up` finds nothing to do then",
        ],
    )


def _identity(release: releases.Release) -> Dict[str, Any]:
    return {
        "release": release.digest,
        "version": release.facts.get("version"),
        "commit": release.facts.get("commit"),
    }
