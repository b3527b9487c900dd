"""`flaskhost stage`: start a release in the idle slot and prove that it is healthy, before any visitor reaches it."""

from __future__ import annotations

import json
import time
from typing import Any, Dict

from flaskhost import (
    commands,
    connections,
    envfile,
    layout,
    locks,
    maintenance,
    migrations,
    processes,
    releases,
    slots,
    systemd,
)
from flaskhost.document import Document
from flaskhost.files import write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

# What the stack wants of a start.
WISHES = ("health", "on_release", "on_release_timeout", "jobs", *migrations.USUAL)


def stage(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Stage a release.

    Input: release, health (see `health.wait`), on_release and its timeout, and what there is in `migrations.USUAL`.
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"stage {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        remember(release, asked)
        colour = bring_up(paths, release, progress)
        if colour == paths.active_slot():
            slots.retire_idle(paths, layout.other(colour), progress)
    return {"release": release.digest, "slot": colour}


def remember(release: releases.Release, asked: Document) -> None:
    """Keep with a release what the stack wants of its start."""
    text = json.dumps({name: asked[name] for name in WISHES}, indent=2, sort_keys=True) + "\n"
    write(release.wishes_file, text, mode=0o640, group=asked.app)


def bring_up(paths: layout.Layout, release: releases.Release, progress: Progress, *, again: bool = False) -> str:
    """Have a release running and healthy in a slot; return the slot. The lock is held by the caller.

    Args:
        paths: layout of the application.
        release: which is prepared.
        progress: told what is done.
        again: whether it is the release that serves, in another start that nobody watches: nothing is done to the
            database then, wherever that is.

    Raises:
        Failure: it did not become healthy; the idle slot is stopped then, and the active one was never touched.
    """
    wishes = release.wishes
    # An earlier release comes with the connections of now.
    connections.compose(paths, release)
    active = paths.active_slot()
    at = slots.holding(paths, release)
    if at and systemd.is_active(layout.service(paths.app, at)):
        progress.say(f"release {release.label} runs in {at} already")
        try:
            slots.healthy(paths, at, wishes["health"], progress, before=slots.restarts(paths, at))
        except Failure as failure:
            if at == active:
                raise
            # What a killed try has left there; it gets a whole one.
            progress.say(f"{failure}: starting it anew")
        else:
            if release.facts.get("failed"):
                release.update(failed=None)
            return at
    if at and at == active:
        if maintenance.state(paths):
            # It was stopped for a release that did not come: what that has done to the database may go back.
            migrations.migrate(paths, release, progress)
        progress.say(f"release {release.label} is the active one and was stopped: starting it")
        slots.start(paths, at)
        slots.healthy(paths, at, wishes["health"], progress)
        return at
    colour = layout.other(active)
    begin = time.time()
    slots.stop(paths, colour)
    processes.stop(paths, colour, progress)
    slots.fill(paths, colour, release)
    if not again:
        migrations.migrate(paths, release, progress)
        commands.on_release(paths, release, wishes, progress)
    progress.say(f"release {release.label}: starting in {colour}")
    try:
        slots.start(paths, colour)
        seconds = slots.healthy(paths, colour, wishes["health"], progress)
        slots.warm_up(paths, colour, wishes["health"], progress)
        slots.healthy(paths, colour, wishes["health"], progress)
    except Failure as failure:
        log = systemd.journal([layout.service(paths.app, colour)], since=begin)
        slots.discard(paths, colour)
        release.update(failed=releases.stamp())
        releases.record(paths, "stage", release, result="failed")
        why = f"{failure}\nrelease {release.label} is stopped, {maintenance.serving(paths)}. Its log:\n{log}"
        raise Failure(why) from None
    release.update(failed=None)
    releases.record(paths, "stage", release, result="healthy", seconds=round(seconds, 2), slot=colour)
    return colour
