"""Which image the machines have, and in which zone each of them is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Subnet = TypeVar("Subnet")
"""However a subnet is named: by its ID, or by what will be that."""

CANONICAL = "099720109477"
"""The account that Ubuntu's images belong to (documentation.ubuntu.com/aws, "Find Ubuntu images on AWS")."""

CODENAMES = {"22.04": "jammy", "24.04": "noble"}


def architecture(instance_type: str) -> str:
    """Return arm64 or amd64, as Canonical names them, from a type of instances.

    AWS's own processors are a `g` behind the generation (Amazon EC2 Instance Types, "Instance type naming
    conventions"); the family a1 is older than that rule.
    """
    found = re.match(r"[a-z]+(?:-[a-z0-9]+)?\d+(?P<options>[a-z-]*)", instance_type.partition(".")[0])
    arm = instance_type.startswith("a1.") or (found is not None and "g" in found["options"])
    return "arm64" if arm else "amd64"


def image_name(ubuntu: str, architecture: str) -> str:
    """Return the pattern of the names of Canonical's images of a release; 24.04 lies on gp3 volumes, 22.04 on gp2."""
    return f"ubuntu/images/hvm-ssd*/ubuntu-{CODENAMES[ubuntu]}-{ubuntu}-{architecture}-server-*"


def called(ubuntu: str, instance_type: str, rebuild: str | None) -> str:
    """Return what makes the image of a machine another one when it changes: release, architecture, and a word."""
    return "-".join([ubuntu, architecture(instance_type), *([rebuild] if rebuild else [])])


def with_word(app: str, rebuild: str | None, what: str) -> str:
    """Return the name of what is made anew with the machines of an application when the word of a rebuild changes."""
    return "-".join([app, *([rebuild] if rebuild else []), what])


def one_a_zone(subnets: Sequence[tuple[Subnet, str]]) -> dict[str, Subnet]:
    """Return the first subnet of each zone, by the zone, in the order of the subnets."""
    found: dict[str, Subnet] = {}
    for subnet, zone in subnets:
        found.setdefault(zone, subnet)
    return found


def spread(subnets: Sequence[tuple[Subnet, str]], first_zone: str | None, count: int) -> list[tuple[Subnet, str]]:
    """Return a subnet for each machine, as (subnet, zone): one zone after the other.

    Args:
        subnets: those that there are, as (subnet, zone).
        first_zone: where the first machine has to be; the zone of the first subnet if nothing is said.
        count: number of machines.

    Raises:
        LookupError: no subnet is in that zone.
    """
    by_zone = one_a_zone(subnets)
    zones = list(by_zone)
    if first_zone is not None and first_zone not in by_zone:
        raise LookupError(f"{first_zone} has no public subnet; these have one: {', '.join(zones)}")
    start = zones.index(first_zone) if first_zone else 0
    ordered = [*zones[start:], *zones[:start]]
    return [(by_zone[zone], zone) for zone in (ordered[number % len(ordered)] for number in range(count))]
