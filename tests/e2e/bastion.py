"""A bastion from which a server is reached."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.local_server import server
from tests.e2e.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Way:
    """A bastion, and how a stack file names it and the server behind it.

    Attributes:
        bastion: its user may do nothing but pass connections on.
        settings: of flaskhost:server.
        key: the private key of the bastion's user.
    """

    bastion: Machine
    settings: dict[str, object]
    key: str


@contextlib.contextmanager
def bastion(image: str, label: str = "bastion") -> Iterator[Way]:
    """Make a bastion; the end of the `with` removes it."""
    keys = server.keys()
    with Machine(label, image) as made:
        made.add_user("jump", keys["login_public"])
        made.host.run("usermod --shell /usr/sbin/nologin jump")
        named = {key: value for key, value in made.settings.items() if key != "kind"}
        yield Way(made, {"bastion": {**named, "user": "jump"}}, keys["login_private"])


@contextlib.contextmanager
def through_bastion(machine: Machine, image: str) -> Iterator[Way]:
    """Make a bastion beside a server; the end of the `with` removes it."""
    with bastion(image) as way:
        inside = machine.host.run("hostname -I").split()[0]
        # The stand-in for the plugin connects to this machine only, so the server is at a port of the bastion itself.
        proxy = f"$(ls /lib/systemd/systemd-socket-proxyd /usr/lib/systemd/systemd-socket-proxyd | head -1) {inside}:22"
        way.bastion.host.run(f"systemd-run -q --unit=way --socket-property=ListenStream=127.0.0.1:2200 {proxy}")
        yield Way(way.bastion, {**way.settings, "address": "127.0.0.1", "port": 2200}, way.key)
