"""What `./pulumi destroy` refuses to remove, and what it says of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ops.setup import protection
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

STACK = ("--stack", "prod")


def resource(name: str, kind: str = "aws:ebs/volume:Volume", **more: Any) -> dict[str, Any]:
    """Return a resource as a state has it."""
    return {"urn": f"urn:pulumi:prod::flaskhost::{kind}::{name}", "type": kind, "id": f"{name}-id", **more}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `pulumi stack export` prints a state with one protected volume."""
    state = {"deployment": {"resources": [resource("shop-data-1", protect=True), resource("shop-machine-1")]}}
    (tmp_path / "state.json").write_text(json.dumps(state))
    program = tmp_path / "pulumi"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncat {tmp_path}/state.json\n')
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def calls(environment: dict[str, str]) -> str:
    """Return how the engine was asked."""
    file = environment["PATH"].split(":")[0] + "/calls"
    try:
        with open(file, encoding="utf-8") as said:  # noqa: PTH123 - a path of the test
            return said.read()
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize("command", ["destroy", "down", "dn"])
def test_a_destroy_that_would_lose_data_is_refused_before_anything_is_removed(
    environment: dict[str, str], command: str
) -> None:
    """Promise: with what is held, by kind, name and ID, and with both ways on."""
    with pytest.raises(SetupError) as refused:
        protection.refuse([command, "--yes", "--skip-preview", *STACK], environment)
    text = str(refused.value)
    assert "  Volume shop-data-1 (shop-data-1-id)\n" in text
    assert "shop-machine-1" not in text
    assert "./pulumi destroy --exclude-protected --stack prod" in text
    assert "flaskhost:purge: true" in text


def test_a_destroy_of_the_rest_says_what_it_keeps(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: nobody has to look for it afterwards."""
    protection.refuse(["destroy", "--exclude-protected", *STACK], environment)
    said = capsys.readouterr().err
    assert "are kept with what they need" in said
    assert "  Volume shop-data-1 (shop-data-1-id)" in said


@pytest.mark.parametrize(
    "words", [["up"], ["preview"], ["destroy", "--target", "urn:x"], ["destroy", "-t=urn:x"], ["destroy", "--help"]]
)
def test_what_removes_nothing_or_only_what_is_named_is_not_looked_at(
    environment: dict[str, str], words: list[str]
) -> None:
    """Promise: no other command waits for this."""
    protection.refuse([*words, *STACK], environment)
    assert calls(environment) == ""


def test_a_stack_that_holds_nothing_is_destroyed_without_a_word(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: neither one that never held anything, nor one whose protected resource is being removed already."""
    gone = resource("shop-data-1", protect=True, delete=True)
    (tmp_path / "state.json").write_text(json.dumps({"deployment": {"resources": [gone]}}))
    protection.refuse(["destroy", *STACK], environment)
    assert capsys.readouterr().err == ""


def test_a_state_that_cannot_be_read_is_left_to_the_command_itself(environment: dict[str, str], tmp_path: Path) -> None:
    """Promise: which says in its own words what is wrong."""
    (tmp_path / "pulumi").write_text("#!/bin/sh\nexit 255\n")
    protection.refuse(["destroy", *STACK], environment)
