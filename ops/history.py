"""Tell what was deployed: each update of a stack, and what it changed in the configuration.

It asks the engine, so it works on every backend. A secret is named when it was changed, and never shown.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ops import configuration, engine
from ops.configuration import COMMIT, VERSION, Configuration
from settings.problems import NAMESPACE
from settings.rules import commit_and_version, is_commit
from sources import label

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

HELP = "tell each update: time, author, version, commit, result, and what changed in the configuration"
FOLDER = (f"{NAMESPACE}:app", "source", "folder")
AGENT = "flaskhost:"
"""What ./pulumi writes before the name of its user (ops/setup/__main__.py): the engine keeps it with the update."""


@dataclass(frozen=True)
class Update:
    """One entry of a stack's history.

    Attributes:
        number: what people call it; the backend's, or its place in time where the backend has none.
        kind: update, destroy, refresh, …
        result: succeeded, failed, in-progress, …
        started: when, in UTC.
        seconds: how long it took; None while it runs.
        author: who ran it, as far as the engine knows.
        message: what it was about.
        configuration: what the stack file said.
        version: of the application.
        commit: of that version, if it is known.
    """

    number: int
    kind: str
    result: str
    started: dt.datetime
    seconds: float | None
    author: str
    message: str
    configuration: Configuration
    version: str | None
    commit: str | None

    @property
    def is_good(self) -> bool:
        """Whether it deployed what its configuration says."""
        return self.kind == "update" and self.result == "succeeded"

    @property
    def label(self) -> str:
        """Name it, as in `update 3 (v1.0.0)`."""
        return f"update {self.number} ({self.version or 'no version'})"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")
    parser.add_argument("--json", action="store_true", help="for a program")


def run(asked: argparse.Namespace) -> int:
    """Print the history of a stack; return the exit status."""
    updates = of(asked.stack)
    if asked.json:
        print(json.dumps(documents(updates), indent=2))
    else:
        print(table(updates) if updates else f"{asked.stack} was never deployed")
    return 0


def of(stack: str) -> list[Update]:
    """Return the updates of a stack, oldest first.

    Raises:
        SetupError: Pulumi could not read them.
    """
    # Decrypted, since the same secret is encrypted to something else each time. All of them: page 0 has no end.
    told = engine.answer("stack", "history", "--stack", stack, "--show-secrets", "--page-size", "0")
    return read(told or [], kept(stack))


def kept(stack: str) -> list[dict[str, str]]:
    """Return version, commit and tree of the releases that are still on the host, as the last update left it."""
    outputs: dict[str, Any] = engine.answer("stack", "output", "--stack", stack)
    return list(outputs.get("kept") or [])


def read(told: Sequence[Mapping[str, Any]], known: Sequence[Mapping[str, str]] = ()) -> list[Update]:
    """Return updates, oldest first, from what `pulumi stack history` prints.

    Args:
        told: its entries.
        known: version and commit of releases, which tell the commit where the stack file had a tag alone.
    """
    # Newest first; a backend of files gives no numbers, and times in seconds.
    oldest_first = told[::-1]
    ordered = sorted(oldest_first, key=lambda one: (one["version"], one["startTime"]))
    found = [_update(one, known) for one in ordered]
    if all(one.number for one in found):
        return found
    return [replace(one, number=number) for number, one in enumerate(found, start=1)]


def _update(told: Mapping[str, Any], known: Sequence[Mapping[str, str]]) -> Update:
    config = configuration.read(told["config"])
    started, ended = _time(told["startTime"]), told.get("endTime")
    version = config.values.get(VERSION)
    return Update(
        number=told["version"],
        kind=told["kind"],
        result=told.get("result") or "in-progress",
        started=started,
        seconds=(_time(ended) - started).total_seconds() if ended else None,
        author=_author(told.get("environment") or {}),
        message=(told.get("message") or "").partition("\n")[0],
        configuration=config,
        version=version or ("folder" if FOLDER in config.values else None),
        commit=_written(config.values.get(COMMIT)) or commit_of(version, known),
    )


def _written(commit: Any) -> str | None:
    return commit_and_version(commit)[0] if isinstance(commit, str) else None


def commit_of(version: str | None, known: Sequence[Mapping[str, str]]) -> str | None:
    """Return the commit of a version: itself, or the only one that a known release of that name has."""
    if version is None or is_commit(version):
        return version
    commits = {one["commit"] for one in known if one["version"] == label(version, one["commit"])}
    return commits.pop() if len(commits) == 1 else None


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


def _author(environment: Mapping[str, str]) -> str:
    """Return who ran an update: in CI the author of the commit that CI ran for, otherwise who called ./pulumi."""
    agent = environment.get("exec.agent", "")
    of_commit = environment.get("git.author") or environment.get("git.committer")
    if environment.get("ci.system"):
        return f"{of_commit or '?'} ({environment['ci.system']})"
    return agent.removeprefix(AGENT) if agent.startswith(AGENT) else of_commit or "?"


def table(updates: Sequence[Update]) -> str:
    """Return the updates as a table, the newest at the end, with the changes of each one below it."""
    rows = [("", "when (UTC)", "author", "version", "commit", "result", "took"), *(_row(one) for one in updates)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    told = [lines[0]]
    for before, update, line in zip([None, *updates], updates, lines[1:], strict=False):
        told += [line, *(f"{'':{widths[0]}}    {text}" for text in _told(before, update))]
    return "\n".join(told)


def _row(update: Update) -> tuple[str, ...]:
    result = update.result if update.kind == "update" else f"{update.kind} {update.result}"
    took = "" if update.seconds is None else f"{update.seconds:.0f} s"
    when = f"{update.started:%Y-%m-%d %H:%M:%S}"
    author = configuration.printable(update.author)
    version = configuration.printable(update.version or "")
    return str(update.number), when, author, version, (update.commit or "")[:10], result, took


def _told(before: Update | None, update: Update) -> list[str]:
    """Return what an update changed, a line each."""
    if before is None:
        return []
    hidden = sorted(update.configuration.unreadable)
    return [
        *map(str, configuration.changes(before.configuration, update.configuration)),
        *(f"{key.removeprefix(f'{NAMESPACE}:')}  cannot be decrypted: its key is another one now" for key in hidden),
    ]


def documents(updates: Sequence[Update]) -> list[dict[str, Any]]:
    """Return the updates for a program, oldest first."""
    return [
        {
            "number": update.number,
            "kind": update.kind,
            "result": update.result,
            "started": update.started.isoformat(),
            "seconds": update.seconds,
            "author": update.author,
            "message": update.message,
            "version": update.version,
            "commit": update.commit,
            "changes": [
                one.document()
                for one in (configuration.changes(before.configuration, update.configuration) if before else [])
            ],
        }
        for before, update in zip([None, *updates], updates, strict=False)
    ]
