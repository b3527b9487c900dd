"""What was deployed and the way back to it, from the workstation; and what a killed engine leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from ops.setup import cache
from tests.e2e.host import HOME, until
from tests.e2e.load import Visitors
from tests.e2e.repository import make, release
from tests.e2e.stack import NEWER, TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

COMMENT = "  # Ask Ada before you change these.\n"
BEHIND = "# the release of the summer"
SECRETS = {"first": "canary-of-the-first-4f1c", "second": 'canary "of" the\nsecond $4f1c\n'}
SLOW, HELD = 8.75, 240.75
"""Seconds that a build takes in these tests, and one that is ended when everything was seen; numbers of their own, so
that they are told from others' on this machine."""


@dataclass
class Deployed:
    """A stack with a history: `first`, then `broken`, which failed, then `second`, which serves.

    Attributes:
        stack: the stack.
        repository: its repository.
        commits: of its releases.
    """

    stack: Stack
    repository: Path
    commits: dict[str, str]

    def ops(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run an operator's command."""
        command, *rest = words
        line = [sys.executable, "-m", "ops", command, "--stack", self.stack.name, *rest]
        done = subprocess.run(
            line,
            cwd=TREE,
            env=self.stack.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done

    def history(self) -> list[dict[str, Any]]:
        """Return the history, oldest first."""
        return list(json.loads(self.ops("history", "--json").stdout))

    def edit(self, old: str, new: str) -> None:
        """Change the stack file as a person does."""
        text = self.stack.file.read_text()
        assert old in text
        self.stack.file.write_text(text.replace(old, new))

    def served(self) -> dict[str, str]:
        """Return what of a release can be seen from outside, and its secret on the host."""
        shown = "import os; print(repr(os.environ['TOKEN']))"
        words = f"set -a; . {HOME}/active/env; python3 -c {json.dumps(shown)}"
        title = next(
            one for one in ("Title of the first", "Title of the second") if one in self.stack.site.get("/").text
        )
        release = self.stack.host.run(f"cat {HOME}/app/RELEASE")
        return {"release": release, "title": title, "secret": self.stack.host.run(words)}


def like(name: str) -> dict[str, str]:
    """Return what is served of a release."""
    return {"release": name, "title": f"Title of the {name}", "secret": repr(SECRETS[name])}


@pytest.fixture(scope="module")
def deployed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy three releases with their titles and secrets, one of which cannot start."""
    folder = make(tmp_path_factory.mktemp("repository") / "guestbook")
    commits = {
        "first": release(folder, "first", {"RELEASE": "first"}),
        "broken": release(folder, "broken", {"RELEASE": "broken", "wsgi.py": "import nothing_of_this_name\n"}),
        "second": release(folder, "second", {"RELEASE": "second"}, base=NEWER),
    }
    stack.configure(app={"source": {"repository": str(folder)}, "version": "first"})
    stack.configure(env={"SITE_TITLE": "Title of the first"})
    stack.encrypt("secrets.TOKEN", SECRETS["first"] + "\n")
    made = Deployed(stack, folder, commits)
    made.edit("  flaskhost:secrets:\n", f"{COMMENT}  flaskhost:secrets:\n")
    made.edit("version: first", f"version: first {BEHIND}")
    # Beside the project's own stack files: that is where the operator's commands look for it.
    link = TREE / stack.file.name
    link.symlink_to(stack.file)
    try:
        stack.up()
        made.edit("version: first", "version: broken")
        assert not stack.up(check=False).succeeded
        made.edit("version: broken", "version: second")
        made.edit("Title of the first", "Title of the second")
        stack.encrypt("secrets.TOKEN", SECRETS["second"] + "\n")
        stack.up()
        assert made.served() == like("second")
        yield made
    finally:
        link.unlink(missing_ok=True)
        link.with_name(f"{link.name}.before-rollback").unlink(missing_ok=True)


def test_the_history_tells_what_happened_and_no_secret(deployed: Deployed) -> None:
    """Number, author, version, commit, result and changes of each update, for people and for programs."""
    found = deployed.history()
    assert [(one["number"], one["version"], one["result"]) for one in found] == [
        (1, "first", "succeeded"),
        (2, "broken", "failed"),
        (3, "second", "succeeded"),
    ]
    assert [one["commit"] for one in found] == [deployed.commits["first"], None, deployed.commits["second"]]
    assert [[change["name"] for change in one["changes"]] for one in found] == [
        [],
        ["app.version"],
        ["app.version", "env.SITE_TITLE", "secrets.TOKEN"],
    ]
    table = deployed.ops("history").stdout
    assert "app.version  broken -> second" in table
    assert "secrets.TOKEN  changed (secret)" in table
    assert "canary" not in table + json.dumps(found)
    assert "@" in found[0]["author"]


def test_a_rollback_brings_back_all_of_the_last_good_update(deployed: Deployed) -> None:
    """Code, environment and the encrypted value, under load and without a build; the file keeps its comments."""
    stack, before = deployed.stack, deployed.stack.host.releases()
    with Visitors(stack.site.https_port) as visitors:
        done = deployed.ops("rollback", "--yes")
    assert "app.version  second -> first" in done.stdout
    assert "canary" not in done.stdout + done.stderr
    assert "is here already" in done.stdout + done.stderr
    assert visitors.failed == []
    assert deployed.served() == like("first")
    assert stack.host.releases() == before
    text = stack.file.read_text()
    assert f"version: first {BEHIND}\n" in text
    assert stack.configured("app")["commit"] == f"first@{deployed.commits['first']}"
    assert f"{COMMENT}  flaskhost:secrets:\n" in text
    assert "canary" not in text
    assert deployed.history()[-1]["message"] == "Rollback to update 1 (first)"


def test_a_failed_update_is_never_gone_back_to(deployed: Deployed) -> None:
    """By its number nor by its version; and without a terminal nothing is done that nobody has confirmed."""
    text = deployed.stack.file.read_text()
    for words, says in (
        (("--to", "2", "--yes"), "update 2 deployed nothing to go back to (update failed)"),
        (("--to", "broken", "--yes"), "no successful update has the number or version 'broken'"),
        (("--to", "3"), "nobody can be asked here"),
    ):
        refused = deployed.ops("rollback", *words, check=False)
        assert refused.returncode == 1
        assert says in refused.stderr
    assert deployed.stack.file.read_text() == text


def test_a_release_comes_back_without_repository_and_cache(deployed: Deployed) -> None:
    """By number and by version through the operator's command, and by hand with nothing but the tag in the file."""
    stack = deployed.stack
    away = deployed.repository.with_name("away")
    deployed.repository.rename(away)
    forget(deployed)
    try:
        before = stack.host.releases()
        deployed.ops("rollback", "--to", "3", "--yes")
        assert deployed.served() == like("second")
        deployed.ops("rollback", "--to", "first", "--yes")
        assert deployed.served() == like("first")
        stack.configure(app={"version": "second", "commit": None}, env={"SITE_TITLE": "Title of the second"})
        stack.encrypt("secrets.TOKEN", SECRETS["second"] + "\n")
        by_hand = stack.up()
        assert "second is deployed as the server has it still" in by_hand.text
        assert deployed.served() == like("second")
        assert stack.host.releases() == before
        stack.configure(env={"SITE_TITLE": "Title of a third"})
        other = stack.up(check=False)
        assert not other.succeeded
        assert "its code could not be had where `up` runs" in other.text
    finally:
        away.rename(deployed.repository)
    stack.configure(env={"SITE_TITLE": "Title of the second"})
    stack.up()
    assert deployed.served() == like("second")


def forget(deployed: Deployed) -> None:
    """Remove the archives of these releases from the cache, as on a machine that has never deployed."""
    for commit in deployed.commits.values():
        for archive in (cache.folder() / "sources" / "archives").glob(f"*/{commit}-*.tar"):
            archive.unlink()


def test_what_a_killed_up_has_switched_to_is_gone_back_from(deployed: Deployed) -> None:
    """The step goes on without its engine, and Pulumi knows the release before alone: `rollback` goes there again."""
    stack, host = deployed.stack, deployed.stack.host
    good = deployed.history()[-1]["number"]
    stack.configure(env={"SITE_TITLE": "Title of a third"}, app={"build": f"sleep {SLOW}"})
    running = stack.begin_up()
    host.wait_for(f"pgrep --full 'sleep {SLOW}$'")
    running.kill_engine()
    until(lambda: "Title of a third" in stack.site.get("/").text, "the step has gone on to its end")
    deployed.ops("recover")
    guess = deployed.ops("rollback", "--yes", check=False)
    assert f"--to {good} for what was deployed last" in guess.stderr
    deployed.ops("rollback", "--to", str(good), "--yes")
    assert deployed.served() == like("second")


def test_an_engine_at_work_keeps_its_lock_and_a_killed_one_is_cleared_away(deployed: Deployed) -> None:
    """A second `up` and `recover` are refused; after kill -9 it says what was left, clears it, and `up` converges."""
    stack, host = deployed.stack, deployed.stack.host
    stack.configure(app={"build": f"sleep {HELD} || true"})
    running = stack.begin_up()
    host.wait_for(f"pgrep --full 'sleep {HELD}$'")
    second = stack.up(check=False)
    assert "the stack is currently locked by 1 lock(s)" in second.text
    assert "which is at work\n  Next: wait for its end" in second.text
    busy = deployed.ops("recover", check=False)
    assert busy.returncode == 1
    assert "is at work" in busy.stderr
    assert running.runs()
    running.kill_engine()
    refused = stack.up(check=False)
    assert f"which runs no more\n  Next: python3 -m ops recover --stack {stack.name}" in refused.text
    cleared = deployed.ops("recover").stdout
    assert "interrupted: guestbook-release, while updating" in cleared
    assert ": release. It goes on by itself, and the next up follows it" in cleared
    assert "cleared: the lock\ncleared: the pending operations\n" in cleared
    assert "pending_operations" not in stack.export()["deployment"]
    again = stack.begin_up()
    again.says("is running already: following it")
    host.run(f"pkill --full 'sleep {HELD}$'")
    assert again.wait().succeeded
    assert deployed.served() == like("second")
    assert "there is nothing to clear" in deployed.ops("recover").stdout
