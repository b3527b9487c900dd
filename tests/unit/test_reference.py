"""The reference of the settings: it says what the settings are now, and each example in it is right."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import settings
from ops import reference
from settings.problems import KNOWN

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN = reference.FILE.read_text()
HEAD, _, TABLES = WRITTEN.partition(reference.MARK)
README = (reference.FILE.parents[1] / "README.md").read_text()
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
SMALLEST: dict[str, Any] = {
    "server": {"kind": "local"},
    "app": {"name": "shop", "source": {"repository": "../shop"}, "version": "v1.0.0"},
}


def blocks(text: str) -> list[dict[str, Any]]:
    """Return the YAML blocks of a text, without the namespace."""
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    return [
        {key.removeprefix("flaskhost:"): value for key, value in block.get("config", block).items()} for block in found
    ]


def test_the_reference_is_up_to_date() -> None:
    """Whoever changes a setting writes it anew."""
    assert reference.written(WRITTEN) == WRITTEN, f"docs/configuration.md is not up to date: run `{reference.COMMAND}`"


def test_every_setting_is_in_the_reference() -> None:
    """With a whole sentence, also each setting of a group in a group."""

    def leaves(found: list[reference.Setting]) -> list[reference.Setting]:
        inner = [member for each in found for group in each.groups for member in reference.members(group, each.inside)]
        return found + (leaves(inner) if inner else [])

    for setting in leaves(reference.members(settings.Settings)):
        assert re.fullmatch(r"[A-Z].*\.", setting.field.description or "", re.DOTALL), setting.path
        if setting.path != ("stack",):
            assert re.search(rf"`(flaskhost:)?{'.'.join(setting.path)}`", TABLES)


@pytest.mark.parametrize("text", [HEAD, README], ids=["reference", "readme"])
def test_the_smallest_stack_files_are_right(text: str) -> None:
    """With the credentials that the text says; and no longer than ten lines."""
    kinds = set()
    for config in blocks(text):
        kinds.add(config["server"]["kind"])
        settings.load({**config, "credentials": {"ssh_key": KEY}}, stack="prod", secret_keys={"credentials"})
    assert kinds == {"local", "existing"}
    assert all(block.count("\n") <= 10 for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))


@pytest.mark.parametrize("example", blocks(TABLES), ids=str)
def test_each_example_of_the_reference_is_right(example: dict[str, Any]) -> None:
    """In an otherwise small stack file; what is inside a group of another kind comes with that kind."""
    config = copy.deepcopy(SMALLEST)
    server = example.get("server", {})
    if server.get("kind") == "existing" or "bastion" in server:
        config["server"] = {"kind": "existing", "address": "203.0.113.10", "host_key": HOST_KEY}
        if "hosts" in server:
            config["server"] = {}
        config["credentials"] = {"ssh_key": KEY}
    if server.get("kind") == "aws" or ON_AWS & (set(example) | set(server)):
        # With the way in and the region that each stack on AWS has, and with a load balancer where that is the example.
        config |= {"server": {"kind": "aws", "allow_ssh_from": ["192.0.2.0/24"]}, "web": {"domains": ["example.com"]}}
        if "balancer" in example:
            config["server"]["count"], config["media"] = 2, {"kind": "none"}
    if "folder" in example.get("app", {}).get("source", {}):
        del config["app"]["version"], config["app"]["source"]
    for name, value in example.items():
        config[name] = {**config[name], **value} if isinstance(value, dict) and name in config else value
    settings.load(config, stack="local", secret_keys={"credentials"}, region="eu-central-1")


ON_AWS = {"network", "dns", "balancer", "database", "redis", "media"}
HOST_KEY = settings.ExistingServer.model_fields["host_key"].examples[0]  # type: ignore[index]


def test_what_an_example_shows_and_leaves_out_is_a_setting() -> None:
    """A setting that was renamed is renamed there as well, or its example would be back in silence."""
    chosen = {(*group, name) for group, choices in reference.CHOICES.items() for one in choices for name in one}
    assert {*reference.SHOWN, *reference.LEFT_OUT, *chosen} <= set(KNOWN)


def test_every_choice_of_a_group_is_shown_as_an_example_of_its_own() -> None:
    """What excludes each other is never in one block that somebody copies."""
    kinds = [one["server"]["network"]["kind"] for one in blocks(TABLES) if "network" in one.get("server", {})]
    assert kinds == ["new", "given"]


def test_the_hand_written_part_stays() -> None:
    """Only what is below the mark is written."""
    assert reference.written("# Mine\n" + reference.MARK + "old").startswith("# Mine\n" + reference.MARK)


PAGES = [*reference.FILE.parents[1].glob("*.md"), *reference.FILE.parent.glob("*.md")]


@pytest.mark.parametrize("file", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_documentation_leads_to_a_file(file: Path) -> None:
    """A page that was renamed takes its links along."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []
