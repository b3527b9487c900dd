"""Go back to an earlier configuration of a stack: show the difference, write the stack file, run `up`.

What comes back is all that a release is: code, packages, environment, processes. The release itself is on the host
still, so nothing is built. Which configurations there were, the engine knows (ops/history.py), on every backend.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ops import configuration, engine, history, stack_file
from ops.configuration import COMMIT, Change, Configuration
from ops.history import FOLDER, Update
from ops.setup import cache, locks
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from ops.configuration import Place

HELP = "go back to the last successful configuration, or to another one of the history"
SHORTEST_COMMIT = 7
WHERE = ("flaskhost:server", "flaskhost:credentials")
"""Settings that say which server it is and how it is entered."""
RELEASE = "flaskhost:release:Release$command:remote:Command::"
MESSAGE = re.compile(r"Rollback to update (\d+)\b")
"""How a rollback is told from other updates in the history: by the message that `run` gives it."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")
    parser.add_argument("--to", metavar="N|VERSION", help="number of an update (`history` tells them), or a version")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(asked: argparse.Namespace) -> int:
    """Go back; return the exit status.

    Raises:
        SetupError: there is nothing to go back to, or the stack file could not be written; nothing was changed then.
    """
    stack, file = asked.stack, _file_of(asked.stack)
    now, updates = current(stack), history.of(stack)
    target = chosen(updates, asked.to) if asked.to else earlier(updates, now)
    refuse_unreadable(target)
    refuse_locked(stack)
    then = wanted(target)
    differing = configuration.changes(now, then)
    print(f"back to {target.label} of {target.started:%Y-%m-%d %H:%M} UTC by {configuration.printable(target.author)}")
    print("\n".join(f"  {change}" for change in differing) or f"  {file.name} says so already")
    elsewhere = [change.name for change in differing if change.place[0] in WHERE]
    for remark in _remarks(target, elsewhere):
        print(f"  {remark}")
    if elsewhere and asked.yes and not asked.to:
        raise SetupError(
            f"{', '.join(elsewhere)}: the way to the server was another one then, and --yes alone does not change that."
            f"\n  Next: --to {target.number} if that server and those keys are still right; or without --yes"
        )
    if not asked.yes and not _confirmed(f"Write this into {file.name} and run up?"):
        print("rollback: nothing was changed")
        return 1
    if differing:
        kept = put_back(stack, file, differing, then)
        print(f"{file.name}: written; as it was before: {kept.name}")
    words = ["up", "--stack", stack, "--yes", "--skip-preview", "--message", f"Rollback to {target.label}"]
    good = effective(updates)
    if good and same(target, good[-1]):
        words += again(json.loads(engine.pulumi("stack", "export", "--stack", stack))["deployment"])
    if engine.watched(words) == 0:
        if differing:
            print(f"Next: commit {file.name}; until then an `up` of another clone brings back what was left")
        return 0
    print(failed(stack, file, target, updates[-1]), file=sys.stderr)
    return 1


def current(stack: str) -> Configuration:
    """Return what the stack file says."""
    return configuration.read(engine.answer("config", "--show-secrets", "--stack", stack))


def earlier(updates: Sequence[Update], now: Configuration) -> Update:
    """Return the last successful update before what the stack has now, and that differs from it.

    Args:
        updates: oldest first.
        now: what the stack file says.

    Raises:
        SetupError: there is none, or the stack file does not say what was deployed last.
    """
    tried = [one for one in updates if one.kind in ("update", "destroy")]
    if tried and tried[-1].kind == "destroy":
        raise SetupError("the stack was destroyed.\n  Next: --to N for an update of `history`, or ./pulumi up")
    if not tried:
        raise SetupError("nothing was deployed yet.\n  Next: ./pulumi up")
    present, served = tried[-1], effective(tried)
    before = served[:-1] if present.is_good else served
    found = [one for one in before if not same(one, present)]
    if present.is_good and configuration.changes(now, present.configuration):
        asked = replace(present, configuration=now, version=None, commit=None)
        if not same(asked, present):
            further = f", or --to {found[-1].number} for the one before" if found else ""
            raise SetupError(
                f"the stack file does not say what was deployed last, in {present.label}: it was edited since, or is "
                f"an older copy, or an `up` was killed.\n"
                f"  Next: --to {present.number} for what was deployed last{further}"
            )
    if not found:
        raise SetupError("there is no successful update before this one with another configuration")
    return found[-1]


def effective(updates: Sequence[Update]) -> list[Update]:
    """Return the successful updates without those that were left by a rollback, as the host counts them as well.

    So that a second rollback goes one further back, and not to what the first one has left.
    """
    numbered = {one.number: one for one in updates}
    found: list[Update] = []
    for update in filter(lambda one: one.is_good, updates):
        said = MESSAGE.match(update.message)
        target = numbered.get(int(said[1])) if said else None
        places = [at for at, one in enumerate(found) if target and same(one, target)]
        found = [*(found[: places[-1]] if places else found), update]
    return found


def same(one: Update, other: Update) -> bool:
    """Tell whether two updates asked for the same; a commit that is not known differs from none."""
    differing = configuration.changes(one.configuration, other.configuration)
    if all(change.place == COMMIT for change in differing):
        return None in (one.commit, other.commit) or one.commit == other.commit
    return False


def chosen(updates: Sequence[Update], asked: str) -> Update:
    """Return the update that a person names, by its number, or the newest successful one of a version or commit.

    Raises:
        SetupError: there is none, or it was not successful.
    """
    named = [one for one in updates if str(one.number) == asked]
    if named and not named[0].is_good:
        what = f"{named[0].kind} {named[0].result}"
        raise SetupError(f"update {asked} deployed nothing to go back to ({what}).\n  Next: {_choices(updates)}")
    named = named or [one for one in updates if one.is_good and _is_of(one, asked)]
    if not named:
        raise SetupError(f"no successful update has the number or version {asked!r}.\n  Next: {_choices(updates)}")
    others = [one for one in named if not same(one, named[-1])]
    if others:
        numbers = ", ".join(f"{one.number} ({one.started:%Y-%m-%d %H:%M})" for one in [*others, named[-1]])
        raise SetupError(f"{asked} was deployed with several configurations.\n  Next: --to one of {numbers}")
    return named[-1]


def _is_of(update: Update, asked: str) -> bool:
    by_commit = len(asked) >= SHORTEST_COMMIT and (update.commit or "").startswith(asked)
    return update.version == asked or by_commit


def _choices(updates: Iterable[Update]) -> str:
    good = [f"{one.number} ({one.version})" for one in updates if one.is_good]
    return f"choose one of {', '.join(good[-10:])}" if good else "./pulumi up"


def refuse_unreadable(target: Update) -> None:
    """Refuse a configuration whose secrets are lost.

    Raises:
        SetupError: they cannot be decrypted.
    """
    hidden = target.configuration.unreadable
    if hidden:
        raise SetupError(
            f"{', '.join(sorted(hidden))} of {target.label} cannot be decrypted: the stack had another passphrase or "
            "key service then.\n  Next: write its version and commit into the stack file by hand, and ./pulumi up"
        )


def wanted(target: Update) -> Configuration:
    """Return the configuration to go back to: that of an update, with its commit, so that nothing is looked up.

    The commit names its version: nobody who writes another version into the file shall deploy this one under its name.
    """
    was = target.configuration
    if COMMIT in was.values or target.commit is None or target.version == target.commit:
        return was
    return replace(was, values={**was.values, COMMIT: f"{target.version}@{target.commit}"})


def _remarks(target: Update, elsewhere: Sequence[str]) -> list[str]:
    found = ["this changes which server is deployed to, or how it is entered"] if elsewhere else []
    if FOLDER in target.configuration.values:
        found += ["the code is what lies in the folder now: what lay there then is not recorded"]
    elif target.commit is None:
        found += [f"the commit of {target.version} is not known any more: it is looked up in the repository"]
    return found


def refuse_locked(stack: str) -> None:
    """Refuse while somebody has the lock of the stack: the file would be written, and `up` refused.

    Raises:
        SetupError: somebody has it, alive or not.
    """
    for holder in locks.holders(stack, os.environ):
        raise SetupError(
            f"the stack is locked by {holder}.\n  Next: python3 -m ops recover --stack {stack}, which says whether it "
            "still runs, and then rollback again (not up: Pulumi may find nothing to do)"
        )


def again(deployment: Mapping[str, Any]) -> list[str]:
    """Return the words that have `up` do the steps of a release once more, although their input is as it was.

    The state of a step is its last successful input. Where a later update failed at its very end or was killed, the
    host may serve that one, and Pulumi would find nothing to do for the one before.
    """
    urns = [one["urn"] for one in deployment.get("resources") or [] if RELEASE in one["urn"] and not one.get("delete")]
    return [word for urn in urns for word in ("--replace", urn)]


def put_back(stack: str, file: Path, differing: Sequence[Change], then: Configuration) -> Path:
    """Write values into a stack file, the secret ones encrypted, and see that the engine reads what was wanted.

    Returns:
        A copy of the file as it was: what was never deployed is in no history.

    Raises:
        SetupError: it does not; the file is as it was then.
    """
    before = file.read_text(encoding="utf-8")
    kept = file.with_name(f"{file.name}.before-rollback")
    shutil.copy(file, kept)
    edits = [(change.place, change.after) for change in differing]
    secret = {change.place for change in differing if is_encrypted(change)}
    encrypted = encrypt(stack, before, [(place, value) for place, value in edits if place in secret])
    stack_file.write(file, stack_file.put(before, [(place, encrypted.get(place, value)) for place, value in edits]))
    try:
        found = configuration.changes(current(stack), then)
    except (SetupError, KeyboardInterrupt):
        stack_file.write(file, before)
        raise
    if found:
        stack_file.write(file, before)
        names = ", ".join(change.name for change in found)
        raise SetupError(f"{file.name} could not be written so that Pulumi reads {names} as it was: edit it by hand")
    return kept


def is_encrypted(change: Change) -> bool:
    """Tell whether a value has to be encrypted: the engine tells that something in a group was, and not what.

    Only texts can be.
    """
    return change.secret and isinstance(change.after, str)


def encrypt(stack: str, text: str, values: Sequence[tuple[Place, str]]) -> dict[Place, stack_file.Secret]:
    """Return values as the stack file would hold them; they go to the engine on standard input.

    Args:
        stack: whose key is taken.
        text: of its file, which says how it encrypts.
        values: in plain text.
    """
    encrypted = {}
    how = {key: value for key, value in yaml.safe_load(text).items() if key != "config"}
    with tempfile.TemporaryDirectory(prefix="flaskhost-") as folder:
        # Not the file itself: what is written there is written once, and whole.
        scratch = Path(folder) / "scratch.yaml"
        words = ("config", "set", "--secret", "flaskhost:value", "--stack", stack, "--config-file", str(scratch))
        for place, value in values:
            scratch.write_text(yaml.safe_dump(how) if how else "")
            # The engine takes one line end away.
            engine.pulumi(*words, stdin=f"{value}\n")
            written = yaml.safe_load(scratch.read_text())["config"]["flaskhost:value"]
            encrypted[place] = stack_file.Secret(written["secure"])
    return encrypted


def failed(stack: str, file: Path, target: Update, last: Update) -> str:
    """Return what is so after an `up` that failed, and what can be done."""
    return f"""
rollback: {file.name} says {target.version} now, and `up` failed with what is said above. No visitor reaches a release
that was not proven healthy: what served before serves on, unless the lines above say otherwise.
  Next: repair what they name, and try again: python3 -m ops rollback --stack {stack} --to {target.number}
        (not up: where a later update has come to the host, Pulumi may find nothing to do)
        or choose another update: python3 -m ops history --stack {stack} (the last one before this was {last.number})
        or, on the host and without this machine: sudo flaskhost rollback APP"""


def _file_of(stack: str) -> Path:
    """Return the file of a stack.

    Raises:
        SetupError: it is not there.
    """
    file = cache.TREE / f"Pulumi.{stack.rsplit('/', 1)[-1]}.yaml"
    if not file.is_file():
        raise SetupError(f"{file.name} is not there.\n  Next: write it, or take it from your repository")
    return file


def _confirmed(question: str) -> bool:
    """Ask a person.

    Raises:
        SetupError: nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise SetupError("nobody can be asked here.\n  Next: --yes says that it shall be done")
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
