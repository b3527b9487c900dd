"""Ports of this machine for a test."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to connections (ip_local_port_range): until a container takes it, one of these would
# be anybody's.
OURS = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody uses now; other tests that run meanwhile hardly choose the same."""
    free: set[int] = set()
    while len(free) < count:
        port = random.choice(OURS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                free.add(port)
    return list(free)
