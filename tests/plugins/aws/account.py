"""The account: what there is, in a folder; without one, what a canned account has and nothing can be made."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.plugins.aws.kinds import SUBNET, VPC

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBER = "123456789012"
VARIABLE = "FLASKHOST_AWS_ACCOUNT"
REGION = "eu-central-1"
CANONICAL = "099720109477"

Json = dict[str, Any]

_RELEASES = (
    ("ubuntu-noble-24.04", "hvm-ssd-gp3", "20261101"),
    ("ubuntu-noble-24.04", "hvm-ssd-gp3", "20261015"),
    ("ubuntu-jammy-22.04", "hvm-ssd", "20261103"),
    ("ubuntu-jammy-22.04", "hvm-ssd", "20261012"),
)


class Refused(Exception):  # noqa: N818
    """AWS would not do that; the text is what the user reads."""


@dataclass
class Account:
    """An account in a folder; `folder` is None for the canned one, in which nothing can be made."""

    folder: Path | None = None
    options: Json = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path | str | None = None) -> Account:
        """Return the account of that folder, else the one that the environment names, else the canned one."""
        named = folder or os.environ.get(VARIABLE)
        if not named:
            return cls()
        where = Path(named)
        where.mkdir(parents=True, exist_ok=True)
        file = where / "account.json"
        return cls(where, json.loads(file.read_text()) if file.exists() else {})

    @property
    def region(self) -> str:
        """The region where nothing else says one."""
        return str(self.options.get("region", REGION))

    def zones(self, region: str | None = None) -> list[str]:
        """Return the availability zones of a region."""
        region = region or self.region
        given = self.options.get("zones")
        if given and region == self.region:
            return [str(zone) for zone in given]
        return [f"{region}{letter}" for letter in "abc"]

    def zone_exists(self, name: str) -> bool:
        """Tell whether a hosted zone of that name is in the account."""
        named = self.options.get("hosted_zones")
        return named is None or name.rstrip(".").lower() in {str(zone).rstrip(".").lower() for zone in named}

    def images(self) -> list[Json]:
        """Return the machine images that anybody may use."""
        if "images" in self.options:
            return [{"ownerId": CANONICAL, "state": "available", **image} for image in self.options["images"]]
        return [
            {
                "id": f"ami-0{_digest(name)}",
                "name": name,
                "architecture": "arm64" if architecture == "arm64" else "x86_64",
                "creationDate": f"{day[:4]}-{day[4:6]}-{day[6:]}T07:12:09.000Z",
                "ownerId": CANONICAL,
                "state": "available",
            }
            for release, disk, day in _RELEASES
            for architecture in ("amd64", "arm64")
            for name in [f"ubuntu/images/{disk}/{release}-{architecture}-server-{day}"]
        ]

    # -- what is there without having been made

    def default_vpc(self, region: str) -> Json | None:
        """Return the default VPC, as its state would be."""
        if self.options.get("default_vpc", True) is False:
            return None
        identity = f"vpc-0{_digest(region)}"
        return {
            "id": identity,
            "cidrBlock": "172.31.0.0/16",
            "default": True,
            "ipv6CidrBlock": "",
            "region": region,
            "tags": {},
            "defaultSecurityGroupId": f"sg-0{_digest(identity)}",
            "mainRouteTableId": f"rtb-0{_digest(identity)}",
        }

    def vpcs(self, region: str) -> list[Json]:
        """Return the states of all VPCs, the default one among them."""
        default = self.default_vpc(region)
        made = [{**entry["state"], "id": entry["id"], "default": False} for entry in self.all(VPC)]
        return ([default] if default else []) + [vpc for vpc in made if vpc.get("region") == region]

    def subnets(self, region: str) -> list[Json]:
        """Return the states of all subnets, those of the default VPC among them."""
        default = self.default_vpc(region)
        canned = [
            {
                "id": f"subnet-0{_digest(zone)}",
                "vpcId": default["id"],
                "availabilityZone": zone,
                "cidrBlock": f"172.31.{index * 16}.0/20",
                "ipv6CidrBlock": "",
                "mapPublicIpOnLaunch": True,
                "defaultForAz": True,
                "region": region,
                "tags": {},
            }
            for index, zone in enumerate(self.zones(region))
            if default
        ]
        made = [{**entry["state"], "id": entry["id"], "defaultForAz": False} for entry in self.all(SUBNET)]
        return canned + [subnet for subnet in made if subnet.get("region") == region]

    # -- what was made

    @contextlib.contextmanager
    def lock(self, name: str = "lock") -> Iterator[None]:
        """Hold the account, or one thing of it, against all other calls and plugins."""
        with self.path(".locks").joinpath(name).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def path(self, name: str) -> Path:
        """Return a folder of the account; it is made when it is missing."""
        if self.folder is None:
            raise Refused(
                "the stand-in for the aws plugin makes nothing: install the official one, "
                "`pulumi plugin install resource aws 7.51.1`"
            )
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def all(self, kind: str) -> list[Json]:
        """Return the entries of a kind: {"id", "urn", "inputs", "state"}."""
        if self.folder is None:
            return []
        folder = self.folder / "resources" / _file(kind)
        files = sorted(folder.glob("*.json")) if folder.exists() else []
        return [entry for file in files if (entry := _entry(file)) is not None]

    def find(self, kind: str, identity: str) -> Json | None:
        """Return one entry."""
        if self.folder is None:
            return None
        return _entry(self.folder / "resources" / _file(kind) / f"{_file(identity)}.json")

    def put(self, kind: str, entry: Json) -> None:
        """Keep an entry."""
        file = self.path(f"resources/{_file(kind)}") / f"{_file(entry['id'])}.json"
        # The engine calls from many threads at once.
        unfinished = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        unfinished.write_text(json.dumps(entry, indent=1))
        unfinished.chmod(0o600)
        unfinished.replace(file)

    def remove(self, kind: str, identity: str) -> None:
        """Forget an entry; one that is gone already is no failure."""
        file = self.path(f"resources/{_file(kind)}") / f"{_file(identity)}.json"
        file.unlink(missing_ok=True)

    def change(self, kind: str, identity: str, **outputs: Any) -> None:
        """Change outputs of what is there."""
        entry = self.find(kind, identity)
        if entry is not None:
            entry["state"].update(outputs)
            self.put(kind, entry)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file(text: str) -> str:
    """Return a text as the name of a file; what would be too long for one is cut and told apart by its digest."""
    name = quote(text, safe="")
    return name if len(name) < 200 else f"{name[:180]}-{_digest(text)}"


def _entry(file: Path) -> Json | None:
    try:
        found: Json = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return found
