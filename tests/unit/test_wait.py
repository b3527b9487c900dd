"""How an `up` waits for a machine behind a bastion or a tunnel."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ops import wait
from ops.development.connection import Login, Lost
from ops.setup import cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LOGIN = Login(host="10.20.0.7", port=22, user="ubuntu", private_key="k", host_key="h")
INSTANCE, OTHER = "i-0a1b2c3d4e5f60718", "i-0a1b2c3d4e5f60719"
CONNECTION = {
    "instance": INSTANCE,
    "host": "127.0.0.1",
    "port": 9,
    "user": "ubuntu",
    "privateKey": "private-4f1c02d9",
    "hostKey": "ssh-ed25519 AAAA",
    "proxy": {"host": "b.example", "port": 2222, "user": "me", "privateKey": "private-too", "hostKey": "ssh-ed25519 B"},
}


class Machine:
    """Stands for a machine that lets nobody in for some tries, and for the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, says: list[str], leads_to: Sequence[str] = (INSTANCE,)) -> None:
        """Take what SSH says at each try before it lets in, and which machine each try leads to then."""
        self.says, self.asked, self.slept, self.closed = says, 0, 0.0, 0
        self.leads_to = list(leads_to)
        monkeypatch.setattr(wait, "shell", self.shell)
        monkeypatch.setattr(wait, "time", argparse.Namespace(sleep=self.sleep, monotonic=lambda: self.slept))

    @contextlib.contextmanager
    def shell(self, to: Login) -> Iterator[Machine]:
        """Let in, or not."""
        assert to is LOGIN
        self.asked += 1
        if self.asked <= len(self.says):
            raise Lost(self.says[self.asked - 1])
        yield self
        self.closed += 1

    def output(self, command: str) -> str:
        """Say which machine it is."""
        assert command == wait.WHO
        return self.leads_to.pop(0) if len(self.leads_to) > 1 else self.leads_to[0]

    def sleep(self, seconds: float) -> None:
        """Pass the time."""
        self.slept += seconds


def test_a_machine_that_answers_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the connection is closed again, and nothing else is done there."""
    machine = Machine(monkeypatch, [])
    wait.until_it_answers(LOGIN, INSTANCE)
    assert (machine.asked, machine.slept, machine.closed) == (1, 0, 1)


def test_a_machine_that_boots_is_asked_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: each try is a connection of its own, with a pause before the next."""
    machine = Machine(monkeypatch, ["Connection refused", "Connection timed out", "Host key verification failed."])
    wait.until_it_answers(LOGIN, INSTANCE)
    assert (machine.asked, machine.slept, machine.closed) == (4, 3 * wait.PAUSE_SECONDS, 1)


def test_a_machine_that_never_answers_is_an_error_with_what_was_said_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an `up` ends by itself, and a person reads why."""
    machine = Machine(monkeypatch, [*["Connection refused"] * 10, *["Permission denied"] * 100])
    with pytest.raises(Lost, match="Permission denied"):
        wait.until_it_answers(LOGIN, INSTANCE, seconds=60)
    assert 60 < machine.slept <= 60 + 2 * wait.PAUSE_SECONDS


def test_a_way_that_leads_to_the_machine_before_is_tried_until_it_leads_to_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise: no step of a new machine is done on the old one, which has the same keys."""
    machine = Machine(monkeypatch, [], leads_to=[OTHER, OTHER, INSTANCE])
    wait.until_it_answers(LOGIN, INSTANCE)
    assert (machine.asked, machine.closed) == (3, 3)


def test_a_way_that_leads_to_another_machine_for_good_is_an_error_with_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Promise: a person can look where the tunnel went wrong."""
    Machine(monkeypatch, [], leads_to=[OTHER])
    with pytest.raises(Lost, match=OTHER):
        wait.until_it_answers(LOGIN, INSTANCE, seconds=60)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (CONNECTION, f"{INSTANCE} does not answer behind its bastion after 600 s: nobody there"),
        (
            {name: value for name, value in CONNECTION.items() if name != "proxy"},
            (
                f"127.0.0.1:9 does not lead to {INSTANCE} after 600 s: nobody there\nHave the tunnel in a second "
                "terminal while `up` runs: `make tunnel STACK=…`"
            ),
        ),
    ],
    ids=["bastion", "tunnel"],
)
def test_what_did_not_come_is_said_with_the_way_to_it(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], words: str
) -> None:
    """Promise: whoever forgot the tunnel reads the command."""

    def never(*_: object) -> None:
        raise Lost("nobody there")

    monkeypatch.setattr(wait, "until_it_answers", never)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(connection)))
    with pytest.raises(SystemExit) as ended:
        wait.main()
    assert ended.value.code == words


def called(path: str) -> subprocess.CompletedProcess[str]:
    """Call the command as the program does, with these programs on PATH."""
    words = [sys.executable, "-m", "ops.wait"]
    given = json.dumps(CONNECTION)
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        words, input=given, cwd=cache.TREE, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_login_comes_on_standard_input_and_goes_through_the_bastion(tmp_path: Path) -> None:
    """Promise: no key is on a command line, where everybody on this machine could read it."""
    ssh = tmp_path / "ssh"
    # As OpenSSH does: the file of the shared connection says that it is open.
    ssh.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >>{tmp_path}/words\n'
        f'case "$*" in *instance-id) echo {INSTANCE}; exit ;; esac\n'
        'while [ $# -gt 1 ]; do [ "$1" = -S ] && : >"$2"; shift; done\nexec sleep 60\n'
    )
    ssh.chmod(0o755)
    done = called(f"{tmp_path}:{os.defpath}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    words = (tmp_path / "words").read_text()
    assert "ProxyCommand=ssh " in words
    assert "-W [127.0.0.1]:9 b.example" in words
    assert "private-" not in words


def test_what_is_missing_on_this_machine_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """Promise: nobody waits ten minutes for a program that is not there, and nobody reads a traceback."""
    done = called(str(tmp_path))
    assert done.returncode == 1
    assert "ssh is missing" in done.stderr
    assert "Traceback" not in done.stderr
