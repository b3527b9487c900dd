"""What a stack's history tells a person, and which update is the one to go back to."""

from __future__ import annotations

import argparse
import fnmatch
import io
import itertools
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ops import configuration, engine, history, rollback
from ops.configuration import UNREADABLE, Configuration
from ops.setup import cache, locks
from ops.setup.errors import SetupError
from settings.rules import commit_and_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.history import Update

COMMIT, OTHER_COMMIT = "3f2a" * 10, "4b1d" * 10
SECRET, OTHER_SECRET = "canary-one-4f1c02d9", "canary-two-4f1c02d9"
AGENT = {"exec.agent": "flaskhost:ada@laptop", "git.author": "Grace"}


def told(**groups: Any) -> dict[str, dict[str, Any]]:
    """Return a configuration as the CLI prints it (recorded with Pulumi 3.255.0), groups of secrets decrypted."""
    base: dict[str, Any] = {"app": {"name": "shop", "version": "v1.0.0"}, "secrets": {"TOKEN": SECRET}}
    found = {}
    for name, value in {**base, **groups}.items():
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        whole = {"objectValue": value} if isinstance(value, dict) else {}
        found[f"flaskhost:{name}"] = {"value": text, **whole, "secret": name in ("secrets", "digest_key")}
    return found


def entry(
    second: int, kind: str = "update", result: str = "succeeded", number: int = 0, **groups: Any
) -> dict[str, Any]:
    """Return an entry of the history as the CLI prints it; a backend of files gives it the number 0."""
    return {
        "version": number,
        "kind": kind,
        "startTime": f"2026-11-21T20:36:{second:02}.000Z",
        "message": "Sell more\n\nand faster",
        "environment": AGENT,
        "config": told(**groups),
        "result": result,
        "endTime": f"2026-11-21T20:37:{second:02}.000Z",
        "resourceChanges": {"update": 1},
    }


def app(version: str, **more: Any) -> dict[str, Any]:
    """Return the group of the application."""
    return {"name": "shop", "version": version, **more}


def updates(*entries: dict[str, Any], known: tuple[dict[str, str], ...] = ()) -> list[Update]:
    """Return a history from entries, oldest first, as the CLI hands them over: newest first."""
    return history.read(entries[::-1], known)


def numbered(*entries: tuple[str, str, str]) -> list[Update]:
    """Return a history of kind, result and version."""
    return updates(*(entry(at, kind, result, app=app(version)) for at, (kind, result, version) in enumerate(entries)))


def back(found: list[Update], now: Configuration | None = None) -> int:
    """Return the number of the update that a rollback without further words takes."""
    return rollback.earlier(found, now or found[-1].configuration).number


def test_updates_without_numbers_are_numbered_by_time() -> None:
    """Promise: on a backend of files, where each says 0, the oldest is 1."""
    found = updates(entry(1), entry(2, "destroy"), entry(3))
    assert [(one.number, one.kind, one.started.second) for one in found] == [
        (1, "update", 1),
        (2, "destroy", 2),
        (3, "update", 3),
    ]


def test_the_numbers_of_pulumi_cloud_stay() -> None:
    """Promise: one talks of the update that Pulumi Cloud's own page shows; one at work has no end yet."""
    running = {**entry(3, number=9, result="in-progress"), "endTime": None}
    found = updates(entry(1, number=7), entry(2, number=8, result="failed"), running)
    assert [(one.number, one.seconds) for one in found] == [(7, 60), (8, 60), (9, None)]


@pytest.mark.parametrize(
    ("environment", "author"),
    [
        (AGENT, "ada@laptop"),
        ({"git.author": "Grace"}, "Grace"),
        ({**AGENT, "ci.system": "GitHub"}, "Grace (GitHub)"),
        ({}, "?"),
    ],
)
def test_the_author_is_who_ran_it(environment: dict[str, str], author: str) -> None:
    """Promise: who called ./pulumi; in CI, where that is a robot, whose commit it ran for."""
    assert updates({**entry(1), "environment": environment})[0].author == author


def test_the_commit_of_a_tag_is_the_one_of_the_release_on_the_host() -> None:
    """Promise: where the stack file had a tag alone; not where two releases have the tag's name."""
    one, other = ({"version": "v1.0.0", "commit": commit, "tree": "t"} for commit in (COMMIT, OTHER_COMMIT))
    assert updates(entry(1), known=(one,))[0].commit == COMMIT
    assert updates(entry(1), known=(one, other))[0].commit is None
    assert updates(entry(1, app=app("v1.0.0", commit=OTHER_COMMIT)), known=(one,))[0].commit == OTHER_COMMIT
    assert updates(entry(1, app=app("release/1")), known=({**one, "version": "release-1"},))[0].commit == COMMIT


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        pytest.param({}, {"app": app("v1.1.0")}, ["app.version  v1.0.0 -> v1.1.0"], id="a version"),
        pytest.param({}, {"secrets": {"TOKEN": OTHER_SECRET}}, ["secrets.TOKEN  changed (secret)"], id="a secret"),
        pytest.param(
            {},
            {"secrets": {"NEW": SECRET}},
            ["secrets.NEW  added (secret)", "secrets.TOKEN  removed (secret)"],
            id="two",
        ),
        pytest.param(
            {"app": app("v1", gunicorn={"workers": 2})},
            {"app": app("v1", gunicorn={"workers": 3}, static=None)},
            ["app.gunicorn.workers  2 -> 3", "app.static  added: null"],
            id="nested values",
        ),
        pytest.param(
            {"env": {"A": "one two", "URL": "postgresql://shop:hunter2@db/shop"}},
            {"web": {"domains": ["a", "b"]}},
            [
                'env.A  removed: "one two"',
                'env.URL  removed: "postgresql://shop:[hidden]@db/shop"',
                'web.domains  added: ["a", "b"]',
            ],
            id="groups",
        ),
        pytest.param({"env": {"A": "\x1b[31m"}}, {}, ['env.A  removed: "\\u001b[31m"'], id="what a terminal acts on"),
        pytest.param({"purge": "false"}, {"env": {}}, [], id="what Pulumi fills in"),
        pytest.param({}, {"env": {"A": "x" * 99}}, [f"env.A  added: {'x' * 60}…"], id="a long one"),
    ],
)
def test_a_change_is_told_on_a_line_and_a_secret_by_its_name(
    before: dict[str, Any], after: dict[str, Any], lines: list[str]
) -> None:
    """Promise: names as people write them, nested ones as app.version; no secret, nor a URL's password."""
    found = configuration.changes(configuration.read(told(**before)), configuration.read(told(**after)))
    assert list(map(str, found)) == lines


def test_a_group_with_one_secret_hides_all_its_values_but_the_release() -> None:
    """Promise: the engine does not say which value of a group was encrypted, so none is shown."""
    groups = [told(app=app("v1", build="make TOKEN=1")), told(app=app("v2", build="make TOKEN=2"))]
    for group in groups:
        group["flaskhost:app"]["secret"] = True
    found = configuration.changes(*map(configuration.read, groups))
    assert list(map(str, found)) == ["app.version  v1 -> v2", "app.build  changed (secret)"]


def test_the_table_shows_each_update_and_its_changes_below_it() -> None:
    """Promise: a person reads who did what when, the newest at the end."""
    found = updates(
        entry(1, app=app("v1.0.0", commit=COMMIT)),
        entry(2, result="failed", app=app("v1.1.0"), secrets={"TOKEN": OTHER_SECRET}),
        entry(3, "destroy", app=app("v1.1.0"), secrets={"TOKEN": OTHER_SECRET}),
    )
    assert history.table(found).splitlines() == [
        "   when (UTC)           author      version  commit      result             took",
        "1  2026-11-21 20:36:01  ada@laptop  v1.0.0   3f2a3f2a3f  succeeded          60 s",
        "2  2026-11-21 20:36:02  ada@laptop  v1.1.0               failed             60 s",
        "     app.version  v1.0.0 -> v1.1.0",
        f"     app.commit  removed: {COMMIT}",
        "     secrets.TOKEN  changed (secret)",
        "3  2026-11-21 20:36:03  ada@laptop  v1.1.0               destroy succeeded  60 s",
    ]


def test_a_program_gets_the_same_without_a_secret() -> None:
    """Promise: --json holds all that the table does."""
    found = history.documents(updates(entry(1), entry(2, app=app("v2"), secrets={"TOKEN": OTHER_SECRET})))
    assert found[1]["changes"] == [
        {"name": "app.version", "change": "changed", "secret": False, "before": "v1.0.0", "after": "v2"},
        {"name": "secrets.TOKEN", "change": "changed", "secret": True},
    ]
    assert (found[1]["number"], found[1]["author"], found[1]["message"]) == (2, "ada@laptop", "Sell more")
    assert "canary" not in json.dumps(found)


def test_what_cannot_be_decrypted_is_said_and_is_no_way_back() -> None:
    """Promise: after a change of the passphrase, no word of the engine's error gets into a stack file."""
    lost = entry(1)
    lost["config"]["flaskhost:secrets"] = {"value": UNREADABLE, "secret": True}
    found = updates(lost, entry(2, app=app("v2")))
    assert "secrets  cannot be decrypted" in history.table(list(reversed(found)))
    with pytest.raises(SetupError, match=r"flaskhost:secrets of update 1 \(v1.0.0\) cannot be decrypted"):
        rollback.refuse_unreadable(found[0])


@pytest.mark.parametrize(
    ("entries", "number"),
    [
        pytest.param([("update", "succeeded", "v1"), ("update", "succeeded", "v2")], 1, id="the one before"),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "succeeded", "v2"), ("update", "failed", "v3")],
            2,
            id="after a failure, what serves",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "failed", "v2"), ("update", "succeeded", "v3")],
            1,
            id="a failed one is no target",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "cancelled", "v2"), ("update", "succeeded", "v3")],
            1,
            id="nor a cancelled one",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("preview", "succeeded", "v2"), ("update", "succeeded", "v3")],
            1,
            id="nor a preview",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "succeeded", "v2"), ("update", "succeeded", "v2")],
            1,
            id="one without a difference is passed over",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("destroy", "succeeded", "v1"), ("update", "succeeded", "v2")],
            1,
            id="a destroy in between",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "succeeded", "v2"), ("update", "in-progress", "v3")],
            2,
            id="one that was killed, on Pulumi Cloud",
        ),
        pytest.param(
            [("update", "succeeded", "v1"), ("update", "succeeded", "v2"), ("refresh", "succeeded", "v2")],
            1,
            id="a refresh is passed over",
        ),
    ],
)
def test_the_way_back_is_the_last_successful_configuration_before(entries: list[Any], number: int) -> None:
    """Promise: of the updates that deployed something, the newest whose configuration is another one."""
    assert back(numbered(*entries)) == number


def test_a_changed_secret_alone_is_another_configuration() -> None:
    """Promise: a rollback takes a secret back as well."""
    found = updates(entry(1), entry(2, secrets={"TOKEN": OTHER_SECRET}))
    assert back(found) == 1
    assert rollback.wanted(found[0]).values["flaskhost:secrets", "TOKEN"] == SECRET


def test_a_second_rollback_goes_one_further_back() -> None:
    """Promise: not to what the first one has left, as on the host; a version that was put back by hand is a deploy."""
    found = numbered(*(("update", "succeeded", version) for version in ("v1", "v2", "v3", "v2")))
    assert back(found) == 3
    found[-1] = replace(found[-1], message="Rollback to update 2 (v2)")
    assert back(found) == 1


def test_the_steps_of_the_release_alone_are_done_again() -> None:
    """Promise: on each host; not the uploads, nor what is about to be removed."""
    urn = "urn:pulumi:prod::flaskhost::flaskhost:release:Release"
    steps = [f"{urn}$command:remote:Command::shop-{name}" for name in ("environment", "release")]
    gone = {"urn": f"{urn}$command:remote:Command::shop-old", "delete": True}
    others = [f"{urn}$command:remote:CopyToRemote::shop-source", f"{urn}::shop"]
    deployment = {"resources": [*({"urn": one} for one in (*others, *steps)), gone]}
    assert rollback.again(deployment) == ["--replace", steps[0], "--replace", steps[1]]
    assert rollback.again({}) == []


def test_what_a_failed_rollback_left_is_gone_back_from() -> None:
    """Promise: what served before it serves on, so the stack file gets that again."""
    found = numbered(("update", "succeeded", "v1"), ("update", "succeeded", "v2"), ("update", "failed", "v1"))
    found[-1] = replace(found[-1], message="Rollback to update 1 (v1)")
    assert back(found) == 2


def test_the_commit_that_a_rollback_wrote_makes_no_other_configuration() -> None:
    """Promise: v1 by its tag, v2, and v1 with its commit: the way back is v2."""
    known = ({"version": "v1", "commit": COMMIT, "tree": "t"},)
    found = updates(
        entry(1, app=app("v1")), entry(2, app=app("v2")), entry(3, app=app("v1", commit=COMMIT)), known=known
    )
    assert back(found) == 2


def test_the_commit_comes_back_with_the_version() -> None:
    """Promise: so that nothing is looked up, and no repository is needed."""
    known = ({"version": "v1", "commit": COMMIT, "tree": "t"},)
    (update,) = updates(entry(1, app=app("v1")), known=known)
    written = rollback.wanted(update).values[configuration.COMMIT]
    assert written == f"v1@{COMMIT}"
    assert commit_and_version(written) == (COMMIT, "v1")


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        pytest.param([], "nothing was deployed yet", id="nothing"),
        pytest.param([("update", "succeeded", "v1")], "no successful update before this one", id="a first one"),
        pytest.param([("update", "failed", "v1"), ("update", "failed", "v2")], "no successful update", id="failures"),
        pytest.param([("update", "succeeded", "v1"), ("destroy", "succeeded", "v1")], "was destroyed", id="destroyed"),
    ],
)
def test_without_a_way_back_a_rollback_says_so(entries: list[Any], says: str) -> None:
    """Promise: it never takes what is merely there."""
    with pytest.raises(SetupError, match=says):
        rollback.earlier(numbered(*entries), configuration.read(told(app=app("v1"))))


def test_a_stack_file_that_is_not_what_was_deployed_last_is_asked_about() -> None:
    """Promise: after a killed `up`, or from an older copy, nobody goes back by one too many: both are offered."""
    found = numbered(("update", "succeeded", "v1"), ("update", "succeeded", "v2"))
    edited = configuration.read(told(app=app("v3")))
    with pytest.raises(SetupError, match="--to 2 for what was deployed last, or --to 1 for the one before"):
        rollback.earlier(found, edited)
    with pytest.raises(SetupError, match=r"--to 1 for what was deployed last$"):
        rollback.earlier(found[:1], edited)


def test_an_update_is_chosen_by_number_version_or_commit() -> None:
    """Promise: a version means its newest successful update, if all of that version asked for the same."""
    found = updates(
        entry(1, app=app("v1", commit=COMMIT)),
        entry(2, app=app("v2")),
        entry(3, app=app("v1")),
        entry(4, result="failed", app=app("v1")),
        entry(5, result="failed", app=app("v3")),
    )
    assert [rollback.chosen(found, asked).number for asked in ("1", "2", "v1", "v2", COMMIT[:8])] == [1, 2, 3, 2, 1]
    for asked, says in (
        ("5", r"update 5 deployed nothing to go back to \(update failed\)"),
        ("v3", "number or version"),
    ):
        with pytest.raises(SetupError, match=f"{says}.*\n.*choose one of 1 \\(v1\\), 2 \\(v2\\), 3 \\(v1\\)"):
            rollback.chosen(found, asked)
    (again,) = updates(entry(1, app=app("v1"), env={"A": "1"}))
    found.append(replace(again, number=6))
    with pytest.raises(SetupError, match=r"v1 was deployed with several configurations.\n  Next: --to one of 1 .*, 6 "):
        rollback.chosen(found, "v1")


def test_only_what_may_be_secret_is_encrypted_again() -> None:
    """Promise: texts of a group that held something encrypted; numbers and switches never were."""
    now = configuration.read(told(env={"A": "1"}))
    then = told(app=app("v2"), env={"A": "2", "ON": True}, secrets={"TOKEN": OTHER_SECRET})
    then["flaskhost:env"]["secret"] = True
    found = configuration.changes(now, configuration.read(then))
    assert [one.name for one in found if rollback.is_encrypted(one)] == ["env.A", "secrets.TOKEN"]
    assert len(found) == 4


def test_no_secret_is_shown_by_what_holds_one() -> None:
    """Promise: nor in a traceback or a failing test of this file."""
    found = updates(entry(1), entry(2, secrets={"TOKEN": OTHER_SECRET}))
    shown = "".join(map(repr, itertools.chain(found, configuration.changes(*(one.configuration for one in found)))))
    assert "canary" not in shown


class Workstation:
    """Stands for a folder with a stack file, and for the CLI there."""

    def __init__(self, folder: Path) -> None:
        """Begin with a stack that was deployed twice, as its file says."""
        self.file = folder / "Pulumi.prod.yaml"
        (folder / "Pulumi.yaml").write_text("config: {}\n")
        self.history: list[dict[str, Any]] = []
        self.ran: list[list[str]] = []
        self.interrupted = False
        self.deploy(app=app("v1"))
        self.deploy(app=app("v2"))

    def deploy(self, **groups: Any) -> None:
        """Have the file say it, and the history as well."""
        self.history.insert(0, entry(len(self.history) + 1, **groups))
        groups = {"app": app("v1"), "secrets": {"TOKEN": SECRET}, **groups}
        text = yaml.safe_dump({"config": {f"flaskhost:{name}": group for name, group in groups.items()}})
        self.file.write_text(f"# ours\n{text}")
        self.before = self.file.read_text()

    def pulumi(self, *words: str, stdin: str | None = None) -> str:
        """Answer a command."""
        assert stdin is None
        if words[0] == "config":
            if self.interrupted and self.file.read_text() != self.before:
                raise KeyboardInterrupt
            config = yaml.safe_load(self.file.read_text())["config"]
            return json.dumps(told(**{name.partition(":")[2]: group for name, group in config.items()}))
        answers = {"history": self.history, "output": {}, "export": {"deployment": {}}}
        return json.dumps(answers[words[1]])

    def watched(self, words: Sequence[str]) -> int:
        """Note what a person would see at work."""
        self.ran.append(list(words))
        return 0

    def back(self, *words: str) -> int:
        """Type `rollback`."""
        parser = argparse.ArgumentParser()
        rollback.describe(parser)
        return rollback.run(parser.parse_args(["--stack", "prod", *words]))

    def is_untouched(self) -> bool:
        """Tell whether nothing was written and nothing was run."""
        there = {path.name for path in self.file.parent.iterdir()} - {"Pulumi.yaml"}
        return self.file.read_text() == self.before and there == {self.file.name} and not self.ran


@pytest.fixture
def workstation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workstation:
    """Return one whose stack nobody has locked."""
    found = Workstation(tmp_path)
    monkeypatch.setattr(cache, "TREE", tmp_path)
    monkeypatch.setattr(engine, "pulumi", found.pulumi)
    monkeypatch.setattr(engine, "watched", found.watched)
    monkeypatch.setattr(locks, "holders", lambda *_: [])
    return found


def test_a_rollback_leaves_a_copy_of_the_stack_file(workstation: Workstation) -> None:
    """Promise: what was edited and never deployed is in no history; git does not take the copy for a stack file."""
    ignored = (Path(__file__).parents[2] / ".gitignore").read_text().split()
    assert workstation.back("--yes") == 0
    assert "version: v1\n" in workstation.file.read_text()
    kept = workstation.file.with_name("Pulumi.prod.yaml.before-rollback")
    assert kept.read_text() == workstation.before
    assert any(fnmatch.fnmatch(kept.name, line) for line in ignored)


def test_an_interrupted_rollback_puts_the_stack_file_back(workstation: Workstation) -> None:
    """Promise: Ctrl-C before `up` has changed nothing."""
    workstation.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        workstation.back("--yes")
    assert workstation.file.read_text() == workstation.before


def test_a_locked_stack_is_refused_before_anything_is_written(
    workstation: Workstation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the engine would refuse `up` when the file says otherwise already."""
    holder = locks.Holder(4711, "ada", "laptop", "2026-11-21T20:36:52.41Z")
    monkeypatch.setattr(locks, "holders", lambda *_: [holder])
    with pytest.raises(SetupError, match=r"locked by ada@laptop \(process 4711.*\n  Next: .* ops recover --stack prod"):
        workstation.back("--yes")
    assert workstation.is_untouched()


@pytest.mark.parametrize(
    ("group", "name"),
    [("server", "server.address"), ("credentials", "credentials.sudo_password")],
)
def test_another_server_is_not_gone_back_to_unasked(workstation: Workstation, group: str, name: str) -> None:
    """Promise: nor other keys: a script says which update, or a person answers."""
    workstation.deploy(app=app("v3"), **{group: {name.partition(".")[2]: "other"}})
    with pytest.raises(SetupError, match=f"^{name}: the way to the server was another one.*\n  Next: --to 2 if"):
        workstation.back("--yes")
    assert workstation.is_untouched()
    assert workstation.back("--yes", "--to", "2") == 0


def test_the_end_of_input_means_no(workstation: Workstation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: Ctrl-D at the question changes nothing."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert workstation.back() == 1
    assert workstation.is_untouched()


def test_an_interrupt_is_left_to_the_engine_which_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: it ends its update and gives its lock back; a Ctrl-C in a terminal reaches both."""
    program = tmp_path / "pulumi"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(7))\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(cache, "TREE", tmp_path)
    noted: list[int] = []

    def note(number: int, _frame: object) -> None:
        noted.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        assert engine.watched(["up"]) == 7
        assert noted == []
        assert signal.getsignal(signal.SIGINT) is note
    finally:
        signal.signal(signal.SIGINT, before)
