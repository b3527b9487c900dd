"""Previews of the files in the tree, as a newcomer sees them: with no account, no state and no key."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.stack import TREE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

LARGE = "examples/stacks/several-machines.yaml"
TIMES, SECONDS = 3, 3.0
"""A preview of the large form takes so many times as long as one of an empty program at the most, and so much more."""


@pytest.fixture
def environment(tmp_path: Path, pulumi: str) -> dict[str, str]:
    """Return an environment with a backend of its own, and nothing of AWS in it."""
    assert pulumi
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_", "FLASKHOST_AWS"))
    }
    kept.pop("FLASKHOST_STAND_IN", None)
    (tmp_path / "state").mkdir()
    return {**kept, "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}"}


def preview(environment: dict[str, str], *words: str) -> str:
    """Return what a preview of the stack `prod` prints; it must succeed."""
    command = [str(TREE / "pulumi"), "preview", "--stack", "prod", "--non-interactive", "--color", "never", *words]
    done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_committed_example_can_be_previewed_at_once(environment: dict[str, str]) -> None:
    """It shows the server from network to release, says that it asked nobody, and what `up` will need."""
    shown = preview(environment)
    for line in (
        "aws:ec2:Vpc guestbook-network create",
        "aws:ec2:Instance guestbook-machine-1-24.04-arm64 create",
        "aws:ebs:Volume guestbook-data-1 create",
        "aws:route53:Record guestbook-example.com-a create",
        "command:remote:Command guestbook-release create",
    ):
        assert line in shown
    assert "which asks nobody" in shown
    assert "pulumi plugin install resource aws" in shown


@pytest.mark.parametrize("file", [LARGE, "examples/stacks/existing-server.yaml"])
def test_the_other_examples_can_be_previewed_as_well(environment: dict[str, str], file: str) -> None:
    """By the words that stand in their first lines."""
    assert f"./pulumi preview --stack prod --config-file {file}" in (TREE / file).read_text()
    assert re.search(r"Resources:\n    \+ \d+ to create\n", preview(environment, "--config-file", file))


def test_every_line_for_the_machine_can_be_read_before_there_is_one(environment: dict[str, str]) -> None:
    """Only the connections wait for AWS, and the environment is a secret; the rest is shown as it will be."""
    shown = preview(environment, "--diff", "--config-file", LARGE)
    told = r'create +: "(?:\S+ )?\S+ --sudo (\w+) shop"\s+logging +: "stderr"\s+stdin +: (\S+)'
    steps = dict(re.findall(told, shown))
    assert steps.pop("connections") == "[unknown]"
    assert steps.pop("environment") == "[secret]"
    assert steps == dict.fromkeys(("volume", "base", "site", "prepare", "stage", "switch"), '"flaskhost')
    assert "PRIVATE KEY" not in shown


def test_a_preview_of_the_large_form_is_quick(environment: dict[str, str], tmp_path: Path) -> None:
    """Against an empty program in the same run, each the better one of two."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
    (empty / "__main__.py").write_text("import pulumi\n")
    named = {**environment, "PULUMI_CONFIG_PASSPHRASE": "local"}
    start = [str(TREE / "ops/setup/start"), "run", "pulumi", "--cwd", str(empty), "--non-interactive"]

    def seconds(words: list[str]) -> float:
        begin = time.monotonic()
        subprocess.run(words, cwd=TREE, env=named, capture_output=True, check=True, timeout=200)
        return time.monotonic() - begin

    seconds([*start, "stack", "init", "nothing"])
    preview(environment, "--config-file", LARGE)
    large = [str(TREE / "pulumi"), "preview", "--stack", "prod", "--non-interactive", "--config-file", LARGE]
    least = min(seconds([*start, "preview", "--stack", "nothing"]) for _ in range(2))
    most = min(seconds(large) for _ in range(2))
    assert most <= TIMES * least + SECONDS, f"{most:.2f} s, where an empty program takes {least:.2f} s"
