"""Addresses: ranges inside of ranges, and free ones."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from tests.plugins.aws.account import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence


def written(block: str) -> str:
    """Return a range as AWS writes it, without leading zeros."""
    return str(ipaddress.ip_network(block))


def refuse_wrong(block: str | None) -> None:
    """Refuse what is no range of addresses, or has bits set beyond it."""
    if block is None:
        return
    try:
        ipaddress.ip_network(block)
    except ValueError as error:
        raise Refused(f'"{block}" is not a valid CIDR block: {error}') from None


def refuse_overlap(block: str | None, around: str | None, taken: Sequence[str]) -> None:
    """Refuse a subnet's range that is not inside of its VPC's, or meets another subnet's."""
    if not block:
        return
    refuse_wrong(block)
    network = ipaddress.ip_network(block)
    whole = ipaddress.ip_network(around) if around else None
    # The versions of both are the same, which the type checker cannot know.
    if whole is None or not network.subnet_of(whole):  # type: ignore[arg-type]
        raise Refused(f"api error InvalidSubnet.Range: The CIDR '{block}' is invalid: it is not in that of the VPC")
    if any(network.overlaps(ipaddress.ip_network(other)) for other in taken):
        raise Refused(f"api error InvalidSubnet.Conflict: The CIDR '{block}' conflicts with another subnet")


def free(block: str, taken: Sequence[str]) -> str:
    """Return the first address of a range that nobody has; AWS keeps the first four for itself."""
    network = ipaddress.ip_network(block)
    for number in range(4, network.num_addresses - 1):
        address = str(network[number])
        if address not in taken:
            return address
    raise Refused(f"api error InsufficientFreeAddressesInSubnet: no address is free in {block}")
