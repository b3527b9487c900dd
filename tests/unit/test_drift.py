"""What `python3 -m ops drift` makes of a state and of what hosts answer."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from ops import drift, engine
from ops.development.connection import SECRET, Login, Lost
from ops.setup.errors import SetupError

RELEASE, OTHER = "ab" * 32, "cd" * 32
SAME: dict[str, Any] = {
    "active": {"release": RELEASE, "version": "v1.0.0"},
    "differences": [],
    "repairs": 0,
    "found": [],
}
EDITED = {"what": "/etc/nginx/sites-available/shop", "how": "has another content", "detail": "-a\n+b"}


def step(name: str, create: str, address: str, stdin: str = "", **more: Any) -> dict[str, Any]:
    """Return a remote step as a state has it."""
    key = {SECRET: "1b47061264138c4ac30d75fd1eb44270", "plaintext": json.dumps("the key")}
    connection = {"host": address, "port": 22, "user": "root", "privateKey": key, "hostKey": f"ssh-ed25519 {address}"}
    inputs = {"connection": connection, "create": create, "stdin": stdin}
    return {"urn": f"urn:pulumi:prod::flaskhost::x${drift.STEP}::{name}", "type": drift.STEP, "inputs": inputs, **more}


def of_host(prefix: str, address: str, last: str, release: str = RELEASE, **more: Any) -> list[dict[str, Any]]:
    """Return the steps of one host."""
    documents = f'flaskhost 1 switch shop\nrelease = "{release}"\nkeep = 5\n\nend\n'
    return [
        step(f"{prefix}-base", "python3 .flaskhost/x.pyz base shop", address, **more),
        step(f"{prefix}-{last}", f"/usr/local/lib/flaskhost/x/bin/flaskhost {last} shop", address, documents, **more),
    ]


ONE = {"resources": of_host("shop", "203.0.113.7", "release")}
TWO = {
    "resources": [
        *of_host("shop-203.0.113.7", "203.0.113.7", "switch"),
        *of_host("shop-203.0.113.8", "203.0.113.8", "switch"),
        *of_host("shop-203.0.113.9", "203.0.113.9", "switch", delete=True),
    ]
}


def asked_of(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], answers: dict[str, dict[str, Any] | Lost | None]
) -> int:
    """Run the command with this state, and hosts that answer so; return its status."""

    def ask(login: Login, app: str) -> dict[str, Any] | None:
        assert (app, login.private_key) == ("shop", "the key")
        answer = answers[login.host]
        if isinstance(answer, Lost):
            raise answer
        return answer

    monkeypatch.setattr(engine, "pulumi", lambda *_words: json.dumps({"deployment": state}))
    monkeypatch.setattr(drift, "ask", ask)
    return drift.run(argparse.Namespace(stack="prod"))


def test_the_state_alone_says_which_hosts_there_are() -> None:
    """Promise: no stack file is read; a host that the stack has left and could not clean is none of its hosts."""
    assert [(host.name, host.app, host.release) for host in drift.of_state(ONE)] == [("203.0.113.7", "shop", RELEASE)]
    assert [host.login.host_key for host in drift.of_state(TWO)] == [
        "ssh-ed25519 203.0.113.7",
        "ssh-ed25519 203.0.113.8",
    ]


def test_hosts_that_are_as_they_were_written_are_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: each is named with what it serves."""
    assert asked_of(monkeypatch, TWO, {"203.0.113.7": SAME, "203.0.113.8": SAME}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "203.0.113.7: as it was written; shop v1.0.0 (abababab) serves",
        "203.0.113.8: as it was written; shop v1.0.0 (abababab) serves",
    ]


def test_a_difference_is_status_2_and_readable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the host, the file, and the lines that differ."""
    assert asked_of(monkeypatch, TWO, {"203.0.113.7": SAME, "203.0.113.8": {**SAME, "differences": [EDITED]}}) == 2
    assert capsys.readouterr().out.splitlines()[1:] == [
        "203.0.113.8: 1 difference; shop v1.0.0 (abababab) serves",
        "  /etc/nginx/sites-available/shop has another content",
        "      -a",
        "      +b",
    ]


def test_a_host_that_serves_another_release_than_the_state_has_is_different(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the host may be content with itself, as after an `up` with another state; the stack is not."""
    elsewhere = {**SAME, "active": {"release": OTHER, "version": "v2.0.0"}}
    assert asked_of(monkeypatch, ONE, {"203.0.113.7": elsewhere}) == 2
    assert "active release is v2.0.0 (cdcdcdcd) instead of abababab" in capsys.readouterr().out
    told = [{"what": "active release", "how": "is v2.0.0 (cdcdcdcd) instead of v1.0.0 (abababab)", "detail": ""}]
    assert asked_of(monkeypatch, ONE, {"203.0.113.7": {**elsewhere, "differences": told}}) == 2
    assert capsys.readouterr().out.count("active release") == 1


def test_an_application_that_is_gone_is_different(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the stack holds it for deployed."""
    assert asked_of(monkeypatch, ONE, {"203.0.113.7": None}) == 2
    assert "the application shop is not on this host" in capsys.readouterr().out


def test_a_host_that_cannot_be_asked_is_status_1_whatever_the_others_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: that nothing was found is never said of a host that nobody has looked at."""
    answers: dict[str, dict[str, Any] | Lost | None] = {
        "203.0.113.7": Lost("Connection refused"),
        "203.0.113.8": {**SAME, "differences": [EDITED]},
    }
    assert asked_of(monkeypatch, TWO, answers) == 1
    said = capsys.readouterr().out
    assert "203.0.113.7: could not be asked: Connection refused" in said
    assert "203.0.113.8: 1 difference" in said


def test_a_stack_without_a_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: with the next step."""
    with pytest.raises(SetupError, match=r"has no host yet: deploy it with `\./pulumi up --stack prod`"):
        asked_of(monkeypatch, {}, {})
