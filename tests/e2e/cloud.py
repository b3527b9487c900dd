"""A stack on AWS as the tree has it, run by the real engine: the account is a folder, its machines are containers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.host import Host
from tests.e2e.site import Site
from tests.e2e.stack import GOOD, PASSPHRASE, TREE, Stack
from tests.plugins.aws import containers
from tests.plugins.aws.account import Account
from tests.plugins.aws.kinds import EIP, INSTANCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.aws.account import Json

NAME = "example.com"
WHY_NOT = containers.impossible()
marks = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(WHY_NOT is not None, reason=f"machines of an account are containers here: {WHY_NOT}"),
]
"""Of each module about AWS."""


class CloudStack(Stack):
    """The stack `prod` with an account of its own; `close` removes all that it has made."""

    def __init__(self, folder: Path, image: str, name: str = "prod", **options: Any) -> None:
        """Take the example of the tree and an empty account; nothing is deployed yet.

        Args:
            folder: an empty one, for configuration, state and account.
            image: of the machines.
            name: of the stack.
            options: of the account's containers (tests/plugins/aws/README.md).
        """
        self.label, self.name, self.folder = folder.name, name, folder
        self.file = folder / f"Pulumi.{name}.yaml"
        self.file.write_text((TREE / "Pulumi.prod.yaml").read_text())
        self.backend = folder / "state"
        self.backend.mkdir()
        place = folder / "account"
        place.mkdir()
        described = {"hosted_zones": [NAME], "containers": {"image": image, **options}}
        (place / "account.json").write_text(json.dumps(described))
        self.account = Account.open(place)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))},
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "FLASKHOST_AWS_ACCOUNT": str(place),
            # Its hosts are on the container engine's own network, and on no other.
            "FLASKHOST_STAND_IN_ANY_HOST": "1",
        }
        self.environment.pop("FLASKHOST_STAND_IN", None)
        (folder / "Pulumi.yaml").write_text("name: flaskhost\nruntime: python\n")
        self.pulumi("stack", "init", self.name, "--no-select", "--cwd", str(folder))

    def small(self) -> None:
        """Take less of this machine: a small disk, few workers, no watch."""
        self.configure(
            server={"data_volume": 2},
            app={
                "version": GOOD,
                "gunicorn": {"workers": 2, "graceful_timeout": 5},
                "health": {"seconds": 30},
                "watch": {"seconds": 0},
            },
        )

    def machines(self) -> list[Json]:
        """Return the instances that there are, in the order of their names."""
        return sorted(self.account.all(INSTANCE), key=lambda one: str(one["inputs"]["tags"]["Name"]))

    def machine(self, number: int = 1) -> Host:
        """Return a machine; where one has just been replaced, the new one."""
        return Host(containers.name_of(self.account, self._newest(number)["id"]))

    def _newest(self, number: int) -> Json:
        named = [one for one in self.machines() if one["inputs"]["tags"]["Name"].endswith(f"-machine-{number}")]
        return max(named, key=lambda one: str(one["created"]))

    @property
    def host(self) -> Host:
        """The first machine."""
        return self.machine()

    def address(self, number: int = 1) -> str:
        """Return the address of a machine: of the first one the one that stays, of others their own."""
        if number > 1:
            return str(self._newest(number)["state"]["publicIp"])
        (stays,) = self.account.all(EIP)
        return str(stays["state"]["publicIp"])

    def site_of(self, number: int = 1) -> Site:
        """Return the site as a machine serves it."""
        return Site(80, 443, self.address(number), NAME)

    def reboot(self) -> None:
        """Restart the first machine as AWS does: address and disk stay."""
        containers.reboot(self.account, self.machines()[0]["id"])

    def close(self) -> None:
        """Remove machines, disks and addresses."""
        containers.close(self.account)
