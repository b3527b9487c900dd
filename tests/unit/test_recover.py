"""What a killed engine has left: what is told of it, and what is cleared only where that is safe."""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ops import engine, recover
from ops.setup import __main__ as setup
from ops.setup import locks, stacks
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE = socket.gethostname()
URN = "urn:pulumi:prod::flaskhost::"
ASKED = argparse.Namespace(stack="prod")


class Engine:
    """Stands for the CLI: has a state, and notes what it is asked to change."""

    def __init__(self, backend: Path) -> None:
        """Begin with a state of nothing."""
        self.locks = backend / ".pulumi" / "locks" / "organization" / "blog" / "prod"
        self.locks.mkdir(parents=True)
        self.deployment: dict[str, Any] = {"resources": []}
        self.history: list[dict[str, Any]] = []
        self.did: list[str] = []

    def lock(self, pid: int, machine: str = HERE) -> None:
        """Hold the lock as an engine does."""
        content = {"pid": pid, "username": "ada", "hostname": machine, "timestamp": "2026-11-21T20:36:52.41Z"}
        (self.locks / "8f.json").write_text(json.dumps(content))
        (self.locks / "8f.json.attrs").write_text("{}")

    def pulumi(self, *words: str, stdin: str | None = None) -> str:
        """Answer a command."""
        assert "prod" in words
        if words[:2] == ("stack", "export"):
            return json.dumps({"deployment": self.deployment})
        if words[:2] == ("stack", "history"):
            return json.dumps(self.history)
        if words[:2] == ("stack", "output"):
            return "{}"
        assert words[0] == "cancel" or json.loads(stdin or "")
        self.did.append(" ".join(words))
        return ""


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine on a backend of files."""
    project = tmp_path / "Pulumi.yaml"
    project.write_text("name: blog\n")
    monkeypatch.setattr(stacks, "PROJECT_FILE", project)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    stand_in = Engine(tmp_path / "state")
    monkeypatch.setattr(engine, "pulumi", stand_in.pulumi)
    return stand_in


@pytest.fixture
def gone() -> int:
    """Return the number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def at_work() -> Iterator[int]:
    """Return the number of a process that looks like an engine."""
    process = subprocess.Popen([sys.executable, "-c", "input()", "pulumi", "up"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


def operation(name: str, kind: str = "command:remote:Command", what: str = "updating") -> dict[str, Any]:
    """Return a pending operation as the state holds it (recorded with Pulumi 3.255.0)."""
    return {"resource": {"urn": f"{URN}flaskhost:release:Release${kind}::{name}", "type": kind}, "type": what}


def test_lock_and_operations_of_a_killed_engine_are_told_and_cleared(
    killed: Engine, gone: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the lock goes first, since the engine takes it itself to write the state."""
    killed.lock(gone)
    killed.deployment["pending_operations"] = [operation("shop-release")]
    assert recover.run(ASKED) == 0
    assert killed.did == ["cancel --yes --stack prod", "stack import --stack prod"]
    assert capsys.readouterr().out.splitlines() == [
        f"locked by ada@{HERE} (process {gone}, since 2026-11-21 20:36:52)",
        "interrupted: shop-release, while updating",
        "cleared: the lock",
        "cleared: the pending operations",
        "Next: ./pulumi up --stack prod",
    ]


def test_the_lock_of_an_engine_at_work_stays(killed: Engine, at_work: int) -> None:
    """Promise: nobody's update is pulled away from under them."""
    killed.lock(at_work)
    with pytest.raises(SetupError, match=f"process {at_work} is at work.*\n.*kill -INT {at_work}"):
        recover.run(ASKED)
    assert killed.did == []


def test_the_lock_of_another_machine_stays(killed: Engine, gone: int) -> None:
    """Promise: what cannot be seen is not taken for gone; the way to clear it by hand is told."""
    killed.lock(gone, "ci-7")
    with pytest.raises(SetupError, match=r"ci-7 is another machine(.|\n)*\./pulumi cancel --stack prod"):
        recover.run(ASKED)
    assert killed.did == []


def test_a_process_that_got_the_number_of_the_engine_is_not_taken_for_it(killed: Engine) -> None:
    """Promise: numbers of processes are given again; this test's own is no engine."""
    killed.lock(os.getpid())
    assert recover.run(ASKED) == 0
    assert killed.did == ["cancel --yes --stack prod"]


def test_what_pulumi_may_have_made_without_knowing_is_not_forgotten(killed: Engine, gone: int) -> None:
    """Promise: a step of flaskhost can be done again; a machine would be made twice."""
    killed.lock(gone)
    killed.deployment["pending_operations"] = [operation("web", "aws:ec2/instance:Instance", "creating")]
    with pytest.raises(SetupError, match=r"web \(aws:ec2/instance:Instance\)(.|\n)*pulumi refresh --stack prod"):
        recover.run(ASKED)
    assert killed.did == []


def test_where_nothing_was_left_nothing_is_done(killed: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: it can be run at any time."""
    assert recover.run(ASKED) == 0
    assert killed.did == []
    assert "there is nothing to clear" in capsys.readouterr().out


def test_a_state_that_changes_meanwhile_is_not_written_over(
    killed: Engine, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where no lock can be seen, somebody may be at work; under the lock of a dead engine nobody is."""
    killed.deployment["pending_operations"] = [operation("shop-release")]

    def changing(*words: str, stdin: str | None = None) -> str:
        said = killed.pulumi(*words, stdin=stdin)
        killed.deployment["pending_operations"].append(operation("shop-site"))
        return said

    monkeypatch.setattr(engine, "pulumi", changing)
    with pytest.raises(SetupError, match=r"the state has changed meanwhile.*\n  Next: recover again"):
        recover.run(ASKED)
    assert killed.did == []
    killed.lock(gone)
    assert recover.run(ASKED) == 0
    assert killed.did == ["cancel --yes --stack prod", "stack import --stack prod"]


def test_an_update_in_progress_on_pulumi_cloud_is_left_alone(killed: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: no lock can be seen there, but its history tells; this was never run against Pulumi Cloud itself."""
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.pulumi.com")
    running = {"version": 7, "kind": "update", "result": "in-progress", "startTime": "2026-11-21T20:36:52.000Z"}
    killed.history = [{**running, "config": {}, "environment": {"git.author": "Ada"}}]
    with pytest.raises(SetupError, match="update 7 by Ada, since 2026-11-21 20:36:52 UTC, is in progress"):
        recover.run(ASKED)
    killed.history[0]["result"] = "failed"
    killed.deployment["pending_operations"] = [operation("shop-release", what="creating")]
    assert recover.run(ASKED) == 0
    assert killed.did == ["stack import --stack prod"]


def test_the_next_step_is_told_before_the_engine_stops_at_a_lock(
    killed: Engine, gone: int, at_work: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: by commands that need the lock, and never to take it from an engine at work."""
    environment = dict(os.environ)
    killed.lock(gone)
    locks.tell(["preview", "--stack", "prod"], environment)
    assert capsys.readouterr().err == ""
    locks.tell(["up", "--stack", "prod"], environment)
    assert "which runs no more\n  Next: python3 -m ops recover --stack prod" in capsys.readouterr().err
    killed.lock(gone, "ci-7")
    locks.tell(["up", "--stack", "prod"], environment)
    assert "on another machine\n  Next: python3 -m ops recover --stack prod" in capsys.readouterr().err
    killed.lock(at_work)
    locks.tell(["up", "--stack", "prod"], environment)
    assert "which is at work\n  Next: wait for its end" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "signed"),
    [
        (["up", "--stack", "prod"], True),
        (["--stack=prod", "destroy"], True),
        (["preview"], False),
        (["config", "set", "x", "up"], False),
        (["up", "--exec-agent", "mine"], False),
    ],
)
def test_who_calls_an_update_is_in_its_history(words: list[str], signed: bool) -> None:  # noqa: FBT001 - a table
    """Promise: with commands that keep it, and with no other one."""
    found = setup.signed(["pulumi", *words])
    assert found[: len(words) + 1] == ["pulumi", *words]
    assert ("--exec-agent" in found[len(words) + 1 :]) is signed
