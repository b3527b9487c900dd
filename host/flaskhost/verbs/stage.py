"""`flaskhost stage`: start a release in the idle slot and prove that it is healthy, before any visitor reaches it."""

from __future__ import annotations

import ast
import json
import re
import time
from pathlib import Path
from typing import Any, Dict, Optional

from flaskhost import commands, envfile, layout, locks, processes, releases, slots, systemd
from flaskhost.document import Document
from flaskhost.files import write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

MIGRATE_SECONDS = 1800
# What the stack wants of a start.
WISHES = ("health", "migrate", "on_release", "on_release_timeout", "jobs")
# What Alembic says of a database whose revision the release does not have.
AHEAD = re.compile(r"Can't locate revision identified by '([^']+)'")


def stage(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Stage a release.

    Input: release, migrate (`auto`, `none` or a command), on_release and its timeout, and health (see `health.wait`).
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"stage {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        wishes = {name: asked[name] for name in WISHES}
        text = json.dumps(wishes, indent=2, sort_keys=True) + "\n"
        write(release.wishes_file, text, mode=0o640, group=asked.app)
        colour = bring_up(paths, release, progress)
        if colour == paths.active_slot():
            slots.retire_idle(paths, layout.other(colour), progress)
    return {"release": release.digest, "slot": colour}


def bring_up(paths: layout.Layout, release: releases.Release, progress: Progress) -> str:
    """Have a release running and healthy in a slot; return the slot. The lock is held by the caller.

    Raises:
        Failure: it did not become healthy; the idle slot is stopped then, and the active one was never touched.
    """
    wishes = release.wishes
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
        progress.say(f"release {release.label} is the active one and was stopped: starting it")
        slots.start(paths, at)
        slots.healthy(paths, at, wishes["health"], progress)
        return at
    colour = layout.other(active)
    begin = time.time()
    slots.stop(paths, colour)
    processes.stop(paths, colour, progress)
    slots.fill(paths, colour, release)
    migrate(paths, release, wishes["migrate"], progress)
    commands.on_release(paths, release, wishes, progress)
    progress.say(f"release {release.label}: starting in {colour}")
    try:
        slots.start(paths, colour)
        seconds = slots.healthy(paths, colour, wishes["health"], progress)
    except Failure as failure:
        log = systemd.journal([layout.service(paths.app, colour)], since=begin)
        slots.discard(paths, colour)
        release.update(failed=releases.stamp())
        releases.record(paths, "stage", release, result="failed")
        why = f"{failure}\nrelease {release.label} is stopped, {releases.serving(paths)}. Its log:\n{log}"
        raise Failure(why) from None
    release.update(failed=None)
    releases.record(paths, "stage", release, result="healthy", seconds=round(seconds, 2), slot=colour)
    return colour


def migrate(paths: layout.Layout, release: releases.Release, wish: str, progress: Progress) -> None:
    """Bring the database to the release's schema, once per release.

    Raises:
        Failure: the tool failed; the message holds what it said.
    """
    command = _migration(release, wish)
    if command is None or release.facts.get("migrated"):
        return
    progress.say(f"migrations: {command}")
    ran = commands.as_application(paths, release, command, name="migrate", seconds=MIGRATE_SECONDS, progress=progress)
    commands.keep(release, f"migrations: {command}", ran, progress)
    ahead = AHEAD.search(ran.output)
    newer = _brought_by(paths, ahead.group(1)) if ahead else None
    if ran.status and ahead and newer:
        # The way back: the older code lives with the newer schema, which stays.
        progress.say(f"migrations: the database is at {ahead.group(1)}, which {newer.label} brought; it stays there")
    elif ran.status:
        release.update(failed=releases.stamp())
        releases.record(paths, "migrate", release, result="failed")
        why = f"the migrations failed (`{command}`, status {ran.status}):\n{ran.output}".rstrip()
        raise Failure(f"{why}\nrelease {release.label} was not started, {releases.serving(paths)}")
    else:
        progress.say(ran.output.rstrip() or "migrations: nothing to say")
    release.update(migrated=releases.stamp())


def _brought_by(paths: layout.Layout, revision: str) -> Optional[releases.Release]:
    """Return the release on this host whose migrations hold that revision, or None."""
    for release in releases.every(paths):
        scripts = release.source.glob("migrations/versions/*.py") if release.facts.get("folder") else ()
        if any(revision in script.read_text(errors="replace") for script in scripts):
            return release
    return None


def _migration(release: releases.Release, wish: str) -> Optional[str]:
    """Return the command that migrates, or None."""
    if wish == "none":
        return None
    if wish != "auto":
        return wish
    if _manages_database(release.source / "manage.py"):
        return "python manage.py db upgrade"
    # What `flask db init` makes (Flask-Migrate): migrations/alembic.ini beside env.py.
    return "flask db upgrade" if (release.source / "migrations" / "env.py").is_file() else None


def _manages_database(path: Path) -> bool:
    """Tell whether a manage.py has the command `db upgrade`: of Flask-Script and old Flask-Migrate, or one of its own.

    It is read, not run; one that only calls `flask` names neither.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (FileNotFoundError, SyntaxError, ValueError):
        return False
    words = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
        elif isinstance(node, (ast.FunctionDef, ast.Name)):
            words.add(node.name if isinstance(node, ast.FunctionDef) else node.id)
    return "MigrateCommand" in words or {"db", "upgrade"} <= words
