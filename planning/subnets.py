"""How the network of a new VPC is cut into subnets."""

from __future__ import annotations

import ipaddress

ANY, ANY6 = "0.0.0.0/0", "::/0"
"""Everywhere, by each protocol."""

PARTS = 4
"""Two public subnets and two private ones."""


def ipv4(network: str) -> list[str]:
    """Return four networks of one size that fill an IPv4 network: two public ones, then two private ones."""
    return [str(part) for part in ipaddress.IPv4Network(network).subnets(prefixlen_diff=2)]


def ipv6(block: str, number: int) -> str:
    """Return one of the /64 of a VPC's own /56 (Amazon VPC User Guide, "Subnet CIDR blocks": a subnet is a /64).

    Raises:
        ValueError: the block has no such part.
    """
    whole = ipaddress.IPv6Network(block)
    first = int(whole.network_address) + (number << 64)
    part = ipaddress.IPv6Network((first, 64))
    if not part.subnet_of(whole):
        raise ValueError(f"{block} has no /64 number {number}")
    return str(part)
