"""`flaskhost rollback`: the way back by hand, on the host, for the night when no workstation is within reach."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from flaskhost import document as documents
from flaskhost import envfile, layout, locks, releases, systemd, wanted
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs.switch import NO_WATCH, activate

# Steps of an `up` that end with another active release, or that such a step follows.
STEPS = ("volume", "base", "connections", "site", "environment", "release", "prepare", "stage", "switch")
POLL_SECONDS = 0.5
# Between two steps of an `up` there is a login.
BETWEEN_SECONDS = 3.0
SHORTEST_DIGEST = 4


def ask(app: str, to: Optional[str], progress: Progress) -> str:
    """Return the document of what a person has typed: which release, and which one served at that moment.

    It waits for a running `up` first, which would end with its own release whatever was done in between. Nothing has
    begun until then, so who interrupts it has changed nothing.
    """
    paths = layout.known(app)
    now = releases.active(paths)
    _let_up_end(paths, progress)
    return documents.write("rollback", app, {"to": to, "seen": now.digest if now else None})


def tell(result: Dict[str, Any]) -> str:
    """Return what a person reads at the end."""
    return "\n".join(filter(None, (result["serves"], result["staged"], result["disagreement"])))


def rollback(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Make an earlier release the active one.

    Input: to (version, or start of a digest; null: the one that served before), seen (digest of the release that was
    active when this was typed). Nothing is removed, and the wish of the stack stays as it is.
    """
    paths = layout.known(asked.app)
    if paths.places == (layout.DEVELOPMENT,):
        raise Failure(f"{asked.app} is in development mode, which has one release: deploy another one with `pulumi up`")
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, "rollback", progress):
        now = releases.active(paths)
        if asked["to"] is None and now and now.digest != asked["seen"]:
            raise Failure(
                f"{now.label} has become the active release meanwhile: nothing was changed. Look at "
                f"`flaskhost status {asked.app}`, and say which release you want"
            )
        target = choose(paths, asked["to"])
        # Before its slot is taken.
        staged = _staged(paths, target)
        if (
            now
            and now.digest == target.digest
            and systemd.is_active(layout.service(asked.app, paths.active_slot() or ""))
        ):
            serves = f"{target.label} serves already, nothing to do"
        else:
            move = activate(paths, target, NO_WATCH, progress, event="rollback")
            serves = f"{target.label} serves now, in {move.slot}" + (f"; before it {now.label}" if now else "")
    return {
        "release": target.digest,
        "serves": serves,
        "staged": staged,
        "disagreement": wanted.disagreement(paths),
    }


def choose(paths: layout.Layout, to: Optional[str]) -> releases.Release:
    """Return the release to go back to.

    Args:
        paths: layout of the application.
        to: a version, or the start of a digest; None for the one that served before the active one.

    Raises:
        Failure: there is none, or none that may serve.
    """
    look = f"`flaskhost releases {paths.app}` lists what is here"
    if to is None:
        now = releases.active(paths)
        before = [
            releases.read(paths, digest) for digest in reversed(_candidates(paths)) if not now or digest != now.digest
        ]
        good = [release for release in before if _obstacle(release) is None]
        if not good:
            raise Failure(f"no release that served before is on this host any more: {look}")
        return good[0]
    named = [release for release in reversed(releases.every(paths)) if _is(release, to)]
    if not named:
        raise Failure(f"there is no release {to!r} of {paths.app} on this host: {look}")
    good = [release for release in named if _obstacle(release) is None]
    if not good:
        raise Failure(f"{named[0].label} cannot serve: {_obstacle(named[0])}. {look}")
    # One version may have several releases, of different settings: the one that served last.
    order = _candidates(paths)
    return max(good, key=lambda one: order.index(one.digest) if one.digest in order else -1)


def _candidates(paths: layout.Layout) -> List[str]:
    """Return the digests of what served, oldest first; where the log is lost, of what is there."""
    return releases.served(releases.events(paths)) or [release.digest for release in releases.every(paths)]


def _is(release: releases.Release, to: str) -> bool:
    by_digest = len(to) >= SHORTEST_DIGEST and release.digest.startswith(to)
    return by_digest or release.facts.get("version") == to


def _obstacle(release: releases.Release) -> Optional[str]:
    """Return why a release may not serve, or None."""
    if release.facts.get("failed"):
        return f"it has failed ({release.facts['failed']} UTC)"
    if not release.is_prepared() or not release.wishes_file.exists():
        return "it was never ready to serve here"
    return None


def _staged(paths: layout.Layout, target: releases.Release) -> Optional[str]:
    """Return a sentence where the idle slot runs what nobody has asked for here, or None.

    An `up` on several hosts holds no lock between `stage` and `switch`; one that was killed in its watch looks alike.
    """
    idle = layout.other(paths.active_slot())
    digest = releases.in_slot(paths, idle)
    if digest is None or digest == target.digest or not systemd.is_active(layout.service(paths.app, idle)):
        return None
    label = releases.read(paths, digest).label
    return (
        f"{label} ran in {idle}, and no step was at work: an `up` on several hosts may be between stage and switch, "
        f"and makes {label} the active release after this one. Look whether one runs, end it, and type this again"
    )


def _let_up_end(paths: layout.Layout, progress: Progress) -> None:
    """Wait until no step of an `up` is at work on the application, and none follows the last one."""
    units = [f"flaskhost-{paths.app}-{step}.service" for step in STEPS]
    told: List[str] = []
    until = time.monotonic()
    while True:
        running = [unit for unit in units if systemd.is_active(unit)]
        if running:
            until = time.monotonic() + BETWEEN_SECONDS
        elif time.monotonic() >= until:
            return
        if running and running != told:
            progress.say(f"waiting for a running `pulumi up`; to end it: sudo systemctl stop {' '.join(running)}")
            told = running
        time.sleep(POLL_SECONDS)
