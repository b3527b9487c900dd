"""The DNS records of a site."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TTL_SECONDS = 60
"""How long a name leads to an address that is gone: that of IPv6 changes with the machine."""

NAMES_IN_A_RULE = 5
"""Values that the conditions of one rule of a load balancer may have (Elastic Load Balancing, "Quotas")."""


@dataclass(frozen=True)
class Record:
    """A record to make.

    Attributes:
        name: without a dot at its end.
        kind: A, AAAA or CNAME.
        value: as a zone file has it.
    """

    name: str
    kind: str
    value: str

    def __str__(self) -> str:
        """Return the line of a zone file."""
        return f"{self.name}. {TTL_SECONDS} {self.kind} {self.value}"


def addresses(names: Sequence[str], ipv4: str, ipv6: str | None) -> list[Record]:
    """Return what leads each name to a machine."""
    kinds = [("A", ipv4), *([("AAAA", ipv6)] if ipv6 else [])]
    return [Record(name, kind, value) for name in names for kind, value in kinds]


def aliases(names: Sequence[str], target: str) -> list[Record]:
    """Return what leads each name to a load balancer, where the provider of DNS is another one.

    A name that is its zone's own cannot be a CNAME (RFC 1034, section 3.6.2): the provider has a word of its own for
    that, such as ALIAS or ANAME.
    """
    return [Record(name, "CNAME", f"{target}.") for name in names]


def authorities(names: Sequence[str], allowed: Sequence[str]) -> dict[str, list[str]]:
    """Return the CAA records (RFC 8659) by name: at the site's own names, so that others of the zone are left alone."""
    if not allowed:
        return {}
    values = [f"0 issue {json.dumps(authority)}" for authority in allowed]
    return dict.fromkeys(dict.fromkeys(name.removeprefix("*.") for name in names), values)


def in_rules(names: Sequence[str]) -> list[list[str]]:
    """Return the names in portions that a rule of a load balancer takes."""
    return [list(names[at : at + NAMES_IN_A_RULE]) for at in range(0, len(names), NAMES_IN_A_RULE)]
