"""The stand-in for the aws plugin under the real engine: a program of five resources."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi import automation

from tests.plugins.conftest import AWS_STAND_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    shutil.which("pulumi") is None, reason="no pulumi on PATH: run the tests with `make test`, which gets one"
)


@dataclass
class Program:
    """A network, a machine's rules and a disk; its settings may change between runs."""

    size: int = 10
    zone: str = "eu-central-1a"
    tags: dict[str, str] = field(default_factory=lambda: {"Name": "contract"})
    wrong: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> None:
        """Register the resources."""
        # Importing the SDK takes a second, which only these tests pay.
        from pulumi_aws import ebs, ec2, vpc  # noqa: PLC0415

        network = ec2.Vpc("network", cidr_block="10.20.0.0/16", tags=self.tags)
        subnet = ec2.Subnet("subnet", vpc_id=network.id, cidr_block="10.20.1.0/24", availability_zone=self.zone)
        group = ec2.SecurityGroup("group", vpc_id=network.id)
        vpc.SecurityGroupIngressRule(
            "web", security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443, cidr_ipv4="0.0.0.0/0"
        )
        ebs.Volume("data", availability_zone=self.zone, size=self.size, type="gp3", **self.wrong)
        image = ec2.get_ami(
            owners=["099720109477"],
            most_recent=True,
            filters=[{"name": "name", "values": ["ubuntu/images/*/ubuntu-noble-24.04-arm64-server-*"]}],
        )
        pulumi.export("image", image.name)
        pulumi.export("subnet", subnet.id)


@dataclass
class Stack:
    """A stack on a backend of its own."""

    stack: automation.Stack
    program: Program
    variables: dict[str, str]
    printed: list[str] = field(default_factory=list)

    def up(self) -> dict[str, int]:
        """Run the program; return how many resources were made, updated, replaced, left alone."""
        result = self.stack.up(on_output=self.printed.append, color="never")
        return {str(kind): count for kind, count in (result.summary.resource_changes or {}).items()}

    def preview(self) -> dict[str, int]:
        """Preview the program."""
        summary = self.stack.preview(on_output=self.printed.append, color="never").change_summary
        return {str(getattr(kind, "value", kind)): count for kind, count in summary.items()}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Make a stack with a PULUMI_HOME that holds the stand-in and nothing else."""
    plugins = tmp_path / "home" / "plugins" / "resource-aws-v7.51.1"
    plugins.mkdir(parents=True)
    (plugins / "pulumi-resource-aws").symlink_to(AWS_STAND_IN)
    (tmp_path / "backend").mkdir()
    (tmp_path / "work").mkdir()
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "canary",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "FLASKHOST_AWS_ACCOUNT": str(tmp_path / "account"),
    }
    program = Program()
    made = automation.create_or_select_stack(
        "test",
        project_name="contract",
        program=program,
        opts=automation.LocalWorkspaceOptions(work_dir=str(tmp_path / "work"), env_vars=variables),
    )
    made.set_config("aws:region", automation.ConfigValue("eu-central-1"))
    yield Stack(made, program, variables)
    with contextlib.suppress(automation.CommandError):
        made.destroy()


def test_a_program_is_previewed_made_and_removed(stack: Stack, tmp_path: Path) -> None:
    """Twice, the second time without a change; nothing is left in the account."""
    assert stack.preview() == {"create": 6}
    assert not list((tmp_path / "account").rglob("*.json"))
    assert stack.up() == {"create": 6}
    assert stack.up() == {"same": 6}
    outputs = stack.stack.outputs()
    assert outputs["subnet"].value.startswith("subnet-0")
    assert outputs["image"].value.endswith("-20261101")
    assert set(dict(stack.stack.refresh().summary.resource_changes or {})) == {"same"}
    stack.stack.destroy()
    assert not list((tmp_path / "account").rglob("*.json"))


def test_a_change_is_made_in_place_or_replaces(stack: Stack) -> None:
    """A disk grows, tags change; another zone is another subnet and another disk."""
    stack.up()
    stack.program.size, stack.program.tags = 20, {"Name": "contract", "stage": "test"}
    assert stack.up() == {"update": 2, "same": 4}
    stack.program.zone = "eu-central-1b"
    assert stack.preview() == {"replace": 2, "same": 4}
    assert "availabilityZone" in "".join(stack.printed)


def test_a_wrong_setting_fails_the_preview(stack: Stack) -> None:
    """With the property and the rule."""
    stack.program.wrong = {"throughput": 1.5}
    with pytest.raises(automation.CommandError, match=r"throughput: must be an integer \(got 1.5\)"):
        stack.preview()


def test_without_an_account_a_preview_works_and_an_update_refuses(stack: Stack) -> None:
    """And the message says what to do."""
    del stack.variables["FLASKHOST_AWS_ACCOUNT"]
    assert stack.preview() == {"create": 6}
    with pytest.raises(automation.CommandError, match=r"pulumi plugin install resource aws 7\.51\.1"):
        stack.up()
