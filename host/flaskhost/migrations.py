"""Brings the database to a release's schema and back, once per release: what `prepare` tells of it, what `stage` does.

The files say which revisions there are (`revisions`), the tool alone knows where the database is.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from flaskhost import backups, commands, maintenance, releases, revisions, tools
from flaskhost.commands import Ran
from flaskhost.files import remove, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.revisions import Look
from flaskhost.shell import Failure
from flaskhost.tools import Tool

# What the command is for, in the name of its unit.
MIGRATE = "migrate"
KEEP, DOWNGRADE, REFUSE = "keep", "downgrade", "refuse"
# What the stack says where an older version of this command has written it down.
USUAL: Dict[str, Any] = {
    "migrate": "auto",
    "migrate_timeout": 1800,
    "backup_before_migrate": False,
    "maintenance": False,
    "way_back": KEEP,
    "keep": 5,
}
# A look or the SQL is a start of the application and one question.
LOOK_SECONDS = 60
# A look of `prepare` counts for the `stage` that follows it in the same step.
FRESH_SECONDS = 60
MOST_REVISIONS = 20
MOST_LINES = 60
SQL = "migrations.sql"
# On a disk that outlives the machine: the releases that brought a revision do not.
BROUGHT = ".revisions"


class Change(NamedTuple):
    """One change of the schema: whose tool makes it, by which command, on a database that is where."""

    owner: releases.Release
    tool: Tool
    command: str
    look: Optional[Look]


def tell(paths: Layout, release: releases.Release, wish: str, progress: Progress) -> None:
    """Tell which migrations a release will bring, and their SQL; nothing is changed, and nothing can fail by it.

    Args:
        paths: layout of the application.
        release: it is prepared.
        wish: `auto`, `none` or a command, as the stack has it.
        progress: told.
    """
    remove(paths.config(release.digest) / SQL)
    tool = tools.find(release.source, wish)
    try:
        if tool and tool.graph:
            _tell(paths, release, tool, tool.graph, progress)
    except Failure as failure:
        progress.say(f"migrations: they could not be told: {failure}")


def _tell(paths: Layout, release: releases.Release, tool: Tool, graph: revisions.Graph, progress: Progress) -> None:
    look = _look(paths, release, tool, progress)
    release.update(seen={"at": time.time(), "look": look and look._asdict()})
    if look is None:
        progress.say("migrations: the database could not be asked yet; `stage` runs what it lacks")
        return
    if look.unknown:
        progress.say(f"migrations: the database is at {look.unknown}, which this release does not have")
        return
    pending = graph.pending(look.current)
    if not pending:
        return
    listed = [f"{one.revision}  {one.title}" for one in pending[:MOST_REVISIONS]]
    more = [f"[… {len(pending) - MOST_REVISIONS} more]"] if len(pending) > MOST_REVISIONS else []
    head = f"migrations: {len(pending)} to run on a database at {_named(look)}:"
    progress.say("\n".join([head, *listed, *more]))
    text = _sql(paths, release, tool, look, progress)
    if text is None:
        progress.say("migrations: the tool cannot write these as SQL")
        return
    file = paths.config(release.digest) / SQL
    write(file, text, mode=0o640, group=paths.app)
    lines = text.rstrip().split("\n")
    cut = [f"[… {len(lines) - MOST_LINES} more lines in {file}]"] if len(lines) > MOST_LINES else []
    progress.say("\n".join([f"migrations: their SQL, as in {file}:", *lines[:MOST_LINES], *cut]))


def migrate(paths: Layout, release: releases.Release, progress: Progress) -> None:
    """Bring the database to the release's schema, once per release. The lock is held by the caller.

    Raises:
        Failure: the tool failed, or the way back is closed; the message says where the database is now.
    """
    wishes = _wishes(release)
    tool = tools.find(release.source, wishes["migrate"])
    done = release.facts.get("migrated")
    if tool is None or (done and (wishes["way_back"] == KEEP or tool.graph is None)):
        return
    waited = commands.wait(paths, MIGRATE, progress)
    asked, look = (False, None) if waited else _fresh(release)
    if not asked:
        look = _look(paths, release, tool, progress)
    if look and look.unknown:
        _go_back(paths, release, look.unknown, progress)
    elif look and tool.graph and not tool.graph.pending(look.current):
        progress.say(f"migrations: the database is at {_named(look)}, nothing to run")
        _note(release, look)
        release.update(migrated=releases.stamp(), revision=list(look.current), seen=None)
    else:
        _upgrade(paths, release, tool, look, progress)


def _wishes(release: releases.Release) -> Dict[str, Any]:
    """Return what the stack wants; the usual where the release was never staged."""
    with contextlib.suppress(FileNotFoundError):
        return {**USUAL, **release.wishes}
    return USUAL


def _named(look: Look) -> str:
    if look.unknown:
        return f"{look.unknown}, which those scripts do not have"
    return ", ".join(look.current) or "no revision"


def _fresh(release: releases.Release) -> Tuple[bool, Optional[Look]]:
    """Return whether `prepare` has looked just now, and what it saw."""
    seen = release.facts.get("seen")
    # A clock that was set back makes it neither fresh nor old.
    if not seen or not 0 <= time.time() - seen["at"] <= FRESH_SECONDS:
        return False, None
    look = seen["look"]
    return True, Look(tuple(look["current"]), look["unknown"]) if look else None


def _look(paths: Layout, release: releases.Release, tool: Tool, progress: Progress) -> Optional[Look]:
    """Ask the database where it is; None where that cannot be known."""
    if tool.graph is None:
        return None
    ran = _ask(paths, release, tool.call("current"), progress)
    return revisions.current(ran.output, ran.status, tool.graph)


def _ask(paths: Layout, release: releases.Release, command: str, progress: Progress) -> Ran:
    return commands.as_application(paths, release, command, name="migrations", seconds=LOOK_SECONDS, progress=progress)


def _sql(paths: Layout, release: releases.Release, tool: Tool, look: Look, progress: Progress) -> Optional[str]:
    """Return what would be run as SQL; None where the tool cannot say it: one line of revisions is what it can."""
    heads = tool.graph.heads if tool.graph else ()
    if len(heads) != 1 or len(look.current) > 1:
        return None
    span = ":".join([*look.current, *heads])
    # What an application logs when it is loaded is no SQL.
    ran = _ask(paths, release, f"{tool.call('upgrade', span, '--sql')} 2>/dev/null", progress)
    return ran.output if ran.status == 0 and ran.output.strip() else None


def _upgrade(paths: Layout, release: releases.Release, tool: Tool, look: Optional[Look], progress: Progress) -> None:
    wanted = _wishes(release)["maintenance"]
    if wanted and look is None:
        _refuse_blindly(paths, release, tool, progress)
    change = Change(release, tool, tool.command, look)
    with maintenance.standing(paths, release, progress) if wanted else contextlib.nullcontext():
        ran, after, dump = _apply(paths, release, change, progress)
        unknown = revisions.UNKNOWN.search(ran.output) if ran.status and tool.graph is None else None
        if unknown and _brought_by(paths, unknown.group(1)):
            _go_back(paths, release, unknown.group(1), progress)
            return
        complete = after is None or not (tool.graph and tool.graph.pending(after.current))
        if ran.status or not complete:
            raise _failed(paths, release, change, ran, after, dump)
        progress.say(ran.output.rstrip() or "migrations: nothing to say")
    _settled(release, look, after)


def _refuse_blindly(paths: Layout, release: releases.Release, tool: Tool, progress: Progress) -> None:
    """Refuse to stop what serves for a release whose tool cannot even ask: it would not get further than that."""
    ran = _ask(paths, release, tool.call("current"), progress) if tool.graph else None
    if ran and ran.status:
        release.update(failed=releases.stamp(), seen=None)
        raise Failure(
            f"the migrations failed: `{tool.call('current')}` has to tell where the database is before the maintenance "
            f"page goes up (status {ran.status}):\n{ran.output.rstrip()}\n"
            f"release {release.label} was not started, {maintenance.serving(paths)}"
        )


def _apply(
    paths: Layout, release: releases.Release, change: Change, progress: Progress
) -> Tuple[Ran, Optional[Look], Optional[Path]]:
    """Make a change, after a dump if one is wanted; return how it ended, where the database is then, and the dump."""
    wishes = _wishes(release)
    dump = None
    if wishes["backup_before_migrate"]:
        dump = backups.make(paths, release, wishes["keep"], progress)
    maintenance.begin(paths, change.look.current if change.look else None)
    progress.say(f"migrations: {change.command}")
    limit = int(wishes["migrate_timeout"])
    ran = commands.as_application(paths, change.owner, change.command, name=MIGRATE, seconds=limit, progress=progress)
    commands.keep(release, f"migrations: {change.command}", ran, progress)
    after = _look(paths, change.owner, change.tool, progress)
    if after and ran.status and not after.unknown:
        maintenance.untouched(paths, after.current)
    releases.record(
        paths,
        "migrate",
        release,
        result="failed" if ran.status else "done",
        command=change.command,
        before=list(change.look.current) if change.look else None,
        after=list(after.current) if after else None,
        seconds=round(ran.seconds, 2),
        dump=str(dump) if dump else None,
    )
    return ran, after, dump


def _settled(release: releases.Release, before: Optional[Look], after: Optional[Look]) -> None:
    """Remember that the database is as the release wants it, and how it came there."""
    _note(release, after)
    release.update(
        migrated=releases.stamp(),
        revision_before=list(before.current) if before else None,
        revision=list(after.current) if after else None,
        seen=None,
    )


def _failed(  # noqa: PLR0913 - what the message tells
    paths: Layout,
    release: releases.Release,
    change: Change,
    ran: Ran,
    after: Optional[Look],
    dump: Optional[Path],
) -> Failure:
    """Return the message for migrations that did not come to their end, and remember that."""
    release.update(failed=releases.stamp(), seen=None)
    said = [f"the migrations failed: {ran.failure('migrate', change.command, release)}"]
    if not ran.status:
        said.append("the tool ended with success, and the database does not have all of them: env.py may not commit")
    if change.tool.graph:
        said.append(_where(change, after))
    if dump:
        said.append(f"a dump from before is {dump}; to put it back: sudo flaskhost restore {paths.app} {dump.name}")
    return Failure("\n".join([*said, f"release {release.label} was not started, {maintenance.serving(paths)}"]))


def _where(change: Change, after: Optional[Look]) -> str:
    if after is None:
        return f"in which revision the database is now could not be told (`{change.tool.call('current')}`)"
    if change.look is None:
        return f"the database is now at {_named(after)}"
    same = change.look == after
    before = "as before" if same else f"it was at {_named(change.look)} before"
    return f"the database is now at {_named(after)}, {before}"


def _go_back(paths: Layout, release: releases.Release, revision: str, progress: Progress) -> None:
    """Deal with a database that is at a revision which the release does not have, as the stack says.

    Raises:
        Failure: no release on this host has it, the stack refuses, or the way down failed.
    """
    newer, way = _brought_by(paths, revision), _wishes(release)["way_back"]
    label = newer.label if newer else _noted(paths).get(revision)
    if label and newer is None and way == DOWNGRADE:
        raise Failure(
            f"flaskhost:app.way_back: is downgrade, and the scripts of {label}, which brought {revision}, are not on "
            f"this machine: deploy that version once, or set way_back: keep. Nothing was changed, "
            f"{maintenance.serving(paths)}"
        )
    if label is None:
        release.update(failed=releases.stamp(), seen=None)
        raise Failure(
            f"the migrations failed: the database is at {revision}, and no release on this host has that revision: "
            "deploy the code that brought it, or bring the database back with its tool\n"
            f"release {release.label} was not started, {maintenance.serving(paths)}"
        )
    if way == KEEP:
        # The older code lives with the newer schema, which stays.
        progress.say(f"migrations: the database is at {revision}, which {label} brought; it stays there")
        release.update(migrated=releases.stamp(), seen=None)
    elif way == REFUSE:
        raise Failure(
            f"flaskhost:app.way_back: is refuse, and the database is at {revision}, which {label} brought and "
            f"{release.label} does not have: write a release that takes the change back, or set way_back to keep or "
            f"downgrade. Nothing was changed, {maintenance.serving(paths)}"
        )
    elif newer:
        _downgrade(paths, release, newer, revision, progress)


def _note(release: releases.Release, look: Optional[Look]) -> None:
    """Write down which release brought the database to where it is, for a machine that will have the data alone."""
    paths = release.layout
    if look is None or not os.path.ismount(paths.shared):
        return
    known = {**_noted(paths), **dict.fromkeys(look.current, release.label)}
    write(paths.shared / BROUGHT, json.dumps(known, indent=1, sort_keys=True) + "\n", mode=0o640, group=paths.app)


def _noted(paths: Layout) -> Dict[str, str]:
    """Return which release brought a revision, by revision, as it was written down."""
    try:
        return dict(json.loads((paths.shared / BROUGHT).read_text()))
    except (OSError, ValueError):
        return {}


def _downgrade(
    paths: Layout, release: releases.Release, newer: releases.Release, revision: str, progress: Progress
) -> None:
    """Bring the database down to the release's head, with the scripts of the newer one that has the way."""
    own, tool = tools.find(release.source, _wishes(release)["migrate"]), _reader(newer, revision)
    heads = own.graph.heads if own and own.graph else ()
    if tool is None or tool.graph is None or len(heads) != 1 or heads[0] not in tool.graph.upto([revision]):
        raise Failure(
            f"flaskhost:app.way_back: is downgrade, and the migrations of {newer.label} have no way from {revision} "
            f"to the one head of {release.label} ({', '.join(heads) or 'none'}): bring the database there with its "
            f"tool, or set way_back: keep. Nothing was changed, {maintenance.serving(paths)}"
        )
    change = Change(newer, tool, tool.call("downgrade", heads[0]), _look(paths, newer, tool, progress))
    with maintenance.standing(paths, release, progress):
        ran, after, dump = _apply(paths, release, change, progress)
        if ran.status or after is None or after.current != heads:
            raise _failed(paths, release, change, ran, after, dump)
        progress.say(ran.output.rstrip() or "migrations: nothing to say")
    forget(paths)
    _settled(release, change.look, after)


def forget(paths: Layout) -> None:
    """Have each release migrate anew: the database went back, by a downgrade or by a dump."""
    for one in releases.every(paths):
        if one.facts.get("migrated"):
            one.update(migrated=None)


def _reader(release: releases.Release, revision: str) -> Optional[Tool]:
    """Return the tool of a release if its scripts have that revision."""
    wishes: Sequence[str] = (_wishes(release)["migrate"], "auto")
    found: List[Optional[Tool]] = [tools.find(release.source, wish) for wish in wishes]
    return next((tool for tool in found if tool and tool.graph and revision in tool.graph.scripts), None)


def _brought_by(paths: Layout, revision: str) -> Optional[releases.Release]:
    """Return the newest release on this host whose migrations have that revision, or None."""
    there = [one for one in reversed(releases.every(paths)) if one.is_prepared()]
    return next((one for one in there if _reader(one, revision)), None)
