"""Which stack a Pulumi command means, and what `./pulumi` does for the two stacks without secrets."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from ops.setup import cache, plugins, stacks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a project of our own in place of the tree's."""
    file = tmp_path / "Pulumi.yaml"
    file.write_text("name: blog\nruntime: python\nbackend:\n  url: file://~\n")
    monkeypatch.setattr(stacks, "PROJECT_FILE", file)
    return file


@pytest.fixture
def initialised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the stacks that would have been initialised."""
    names: list[str] = []
    monkeypatch.setattr(stacks, "_initialise", lambda stack, _variables: names.append(stack))
    return names


@pytest.mark.parametrize(
    ("line", "stack"),
    [
        ("up --stack local", "local"),
        ("--stack=prod up", "prod"),
        ("-s dev preview", "dev"),
        ("preview -sdev", "dev"),
        ("up --stack acme/blog/dev", "acme/blog/dev"),
        ("stack select dev", "dev"),
        ("stack select --create dev", "dev"),
        ("up", None),
        ("up --stack", None),
        ("up -- --stack local", None),
        ("up --skip-preview", None),
    ],
)
def test_a_stack_is_read_from_the_command_line(line: str, stack: str | None, tmp_path: Path) -> None:
    """Every spelling that the CLI takes is understood, and other options are not taken for it."""
    assert stacks.meant(line.split(), {"PULUMI_HOME": str(tmp_path)}) == stack


def test_the_variable_names_the_stack_where_the_line_does_not(tmp_path: Path) -> None:
    """PULUMI_STACK counts, and the command line counts more."""
    environment = {"PULUMI_STACK": "dev", "PULUMI_HOME": str(tmp_path)}
    assert stacks.meant(["up"], environment) == "dev"
    assert stacks.meant(["up", "--stack", "prod"], environment) == "prod"


def test_the_selected_stack_is_meant_where_nothing_names_one(project: Path, tmp_path: Path) -> None:
    """The file is the one that the CLI keeps for a project at this place."""
    place = hashlib.sha1(str(project).encode(), usedforsecurity=False).hexdigest()
    kept = tmp_path / "workspaces" / f"blog-{place}-workspace.json"
    kept.parent.mkdir()
    kept.write_text(json.dumps({"stack": "local"}))
    assert stacks.meant(["up"], {"PULUMI_HOME": str(tmp_path)}) == "local"


@pytest.mark.parametrize("stack", ["local", "dev", "organization/blog/dev"])
def test_the_two_open_stacks_get_their_passphrase(stack: str, initialised: list[str]) -> None:
    """They work at once on a fresh machine: passphrase given, stack made."""
    variables = stacks.prepare(["up", "--stack", stack], {"PATH": "x"})
    assert variables == {"PATH": "x", "PULUMI_CONFIG_PASSPHRASE": "local"}
    assert initialised == [stack]


@pytest.mark.parametrize("stack", ["prod", "local2", "my-dev"])
def test_no_other_stack_gets_anything(stack: str, initialised: list[str]) -> None:
    """A stack of the user's own keeps the user's own passphrase or provider, and is never made by itself."""
    assert stacks.prepare(["up", "--stack", stack], {"PATH": "x"}) == {"PATH": "x"}
    assert initialised == []


def test_the_example_of_a_server_is_open_until_it_is_somebodys(project: Path, initialised: list[str]) -> None:
    """Its salt tells: with one of the user's own, the user's passphrase counts, and it is asked for."""
    file = project.with_name("Pulumi.prod.yaml")
    file.write_text((cache.TREE / "Pulumi.prod.yaml").read_text())
    assert stacks.prepare(["config", "--stack", "prod"], {}) == {"PULUMI_CONFIG_PASSPHRASE": "local"}
    file.write_text(file.read_text().replace(stacks.EXAMPLE_SALT, "v1:mine"))
    assert stacks.prepare(["config", "--stack", "prod"], {}) == {}
    assert initialised == ["prod"]


@pytest.fixture
def example(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put the example of the tree in place as the stack prod, and return what a preview of it is run with."""
    project.with_name("Pulumi.prod.yaml").write_text((cache.TREE / "Pulumi.prod.yaml").read_text())
    monkeypatch.setenv("FLASKHOST_CACHE", str(tmp_path / "cache"))
    return {
        "PULUMI_CONFIG_PASSPHRASE": "local",
        "PULUMI_HOME": str(tmp_path / "cache" / "pulumi-home"),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "FLASKHOST_STAND_IN": "1",
    }


@pytest.mark.usefixtures("initialised")
@pytest.mark.parametrize("line", ["preview --stack prod", "pre -s prod --diff", "--stack=acme/blog/prod preview"])
def test_a_preview_of_the_example_asks_nobody(line: str, example: dict[str, str]) -> None:
    """It has no account on AWS: stand-ins answer, whichever plugins and login the user has."""
    assert stacks.prepare(line.split(), {"PULUMI_HOME": "/mine"}) == example


@pytest.mark.usefixtures("initialised")
def test_a_preview_of_the_example_is_made_with_the_stand_ins_in_place(example: dict[str, str], tmp_path: Path) -> None:
    """Its home is where set-up has written them."""
    assert example["PULUMI_HOME"] == str(plugins.stand_in_home())
    assert str(plugins.stand_in_home()).startswith(str(tmp_path))


@pytest.mark.usefixtures("initialised", "example")
@pytest.mark.parametrize("command", ["up", "update", "destroy", "refresh", "config", "stack output"])
def test_no_other_command_for_the_example_gets_a_stand_in(command: str) -> None:
    """What would change something is for the real AWS, or is refused by it."""
    found = stacks.prepare([*command.split(), "--stack", "prod"], {"PULUMI_HOME": "/mine"})
    assert found == {"PULUMI_HOME": "/mine", "PULUMI_CONFIG_PASSPHRASE": "local"}


@pytest.mark.usefixtures("initialised", "example")
@pytest.mark.parametrize("stack", ["local", "dev", "mine"])
def test_a_preview_of_another_stack_keeps_the_users_plugins(stack: str, project: Path) -> None:
    """Also where the stack is on AWS, and where everybody knows its passphrase."""
    project.with_name("Pulumi.mine.yaml").write_text("config:\n  flaskhost:server:\n    kind: aws\n")
    found = stacks.prepare(["preview", "--stack", stack], {"PULUMI_HOME": "/mine"})
    assert {**found, "PULUMI_CONFIG_PASSPHRASE": ""} == {"PULUMI_HOME": "/mine", "PULUMI_CONFIG_PASSPHRASE": ""}


@pytest.mark.usefixtures("initialised", "example")
def test_a_preview_of_a_stack_that_has_become_somebodys_keeps_the_users_plugins(project: Path) -> None:
    """With a salt of its own the stack prod is the user's, and is looked at with the user's account."""
    file = project.with_name("Pulumi.prod.yaml")
    file.write_text(file.read_text().replace(stacks.EXAMPLE_SALT, "v1:mine"))
    assert stacks.prepare(["preview", "--stack", "prod"], {"PULUMI_HOME": "/mine"}) == {"PULUMI_HOME": "/mine"}


@pytest.mark.usefixtures("initialised", "example")
@pytest.mark.parametrize("name", stacks.PASSPHRASE_VARIABLES)
def test_the_example_is_opened_whatever_passphrase_of_ones_own_is_exported(name: str) -> None:
    """Its passphrase is known; whoever works on a stack beside it has another one in the environment."""
    found = stacks.prepare(["preview", "--stack", "prod"], {name: "mine"})
    assert {key: found.get(key) for key in stacks.PASSPHRASE_VARIABLES} == {
        "PULUMI_CONFIG_PASSPHRASE": "local",
        "PULUMI_CONFIG_PASSPHRASE_FILE": None,
    }


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("up --stack prod", True), ("destroy --stack prod", True), ("preview --stack prod", False), ("version", False)],
)
@pytest.mark.usefixtures("initialised", "example")
def test_the_official_plugins_are_looked_for_again_where_something_is_done_elsewhere(
    line: str, *, wanted: bool
) -> None:
    """They could not be had when set-up looked last, and nobody has to know that it looks once a day."""
    assert stacks.needs_official_plugins(line.split(), {}) is wanted
    assert stacks.needs_official_plugins(line.split(), {"FLASKHOST_AWS_ACCOUNT": "/somewhere"}) is False


@pytest.mark.parametrize("name", stacks.PASSPHRASE_VARIABLES)
@pytest.mark.parametrize("value", ["mine", ""])
def test_a_passphrase_that_is_given_is_kept(name: str, value: str, initialised: list[str]) -> None:
    """Also an empty one, which is a passphrase like any other."""
    assert stacks.prepare(["preview", "--stack", "dev"], {name: value}) == {name: value}
    assert initialised == ["dev"]


@pytest.mark.parametrize(
    "line", ["stack init local", "up --help --stack local", "version", "stack output --stack local"]
)
def test_only_commands_that_need_a_stack_make_it(line: str, initialised: list[str]) -> None:
    """`stack init` would fail on a stack that is there already, and help makes nothing."""
    stacks.prepare(line.split(), {})
    assert initialised == []


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("up --stack mine", "config:\n  flaskhost:server:\n    kind: local\n", True),
        ("up --stack mine", "config:\n  flaskhost:server: {kind: local, ssh_port: 1}\n", True),
        ("up --stack mine", "config:\n  flaskhost:server:\n    kind: existing\n", False),
        ("preview --stack mine", "config:\n  flaskhost:server:\n    kind: local\n", False),
        ("up --stack other", "", False),
        ("up", "", False),
    ],
)
def test_a_container_engine_is_needed_only_to_make_a_local_server(
    line: str, text: str, *, expected: bool, project: Path, tmp_path: Path
) -> None:
    """Nobody has to install podman to deploy to a server elsewhere."""
    project.with_name("Pulumi.mine.yaml").write_text(text)
    assert stacks.makes_container(line.split(), {"PULUMI_HOME": str(tmp_path)}) is expected


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("", "~/.pulumi/stacks/blog/local.json"),
        ("file:///srv/state", "/srv/state/.pulumi/stacks/blog/local.json"),
        ("s3://bucket", None),
    ],
)
def test_the_state_is_looked_for_where_the_backend_keeps_it(url: str, place: str | None, tmp_path: Path) -> None:
    """Only a backend of files can be asked without starting anything."""
    environment = {"PULUMI_BACKEND_URL": url} if url else {}
    found = stacks.state_file("local", environment)
    assert found == (None if place is None else type(tmp_path)(place).expanduser())
