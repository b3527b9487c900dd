"""A server that is there already: a container that a test makes, and that Pulumi only reaches (kind `existing`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ops.local_server import server
from tests.e2e.host import Host
from tests.e2e.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self


class Machine:
    """A running container with systemd and SSH, and the keys to it; the end of a `with` removes it."""

    def __init__(self, label: str, image: str, further_ports: Iterable[int] = ()) -> None:
        """Make and start it.

        Args:
            label: tells it from others of this test run.
            image: of the container.
            further_ports: ports in the container that shall be reached as well.
        """
        self.name = f"flaskhost-test-{os.getpid()}-{label}"
        further = tuple(further_ports)
        ssh, http, https, *others = free_ports(3 + len(further))
        self.ports = {"ssh_port": ssh, "http_port": http, "https_port": https}
        self.further_ports = dict(zip(further, others, strict=True))
        self._keys = server.keys()
        server.create(
            {
                "name": self.name,
                "image": image,
                **self.ports,
                **{key: self._keys[key] for key in ("host_private", "host_public", "login_public")},
                "trust_machine_authorities": True,
                "ports": {str(inside): outside for inside, outside in self.further_ports.items()},
            }
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What a stack file says about it, below flaskhost:server."""
        key = self._keys["host_public"]
        return {"kind": "existing", "address": "127.0.0.1", "port": self.ports["ssh_port"], "host_key": key}

    @property
    def login_key(self) -> str:
        """The private key with which root logs in."""
        return self._keys["login_private"]

    @property
    def login_public_key(self) -> str:
        """Its public part."""
        return self._keys["login_public"]

    @property
    def host(self) -> Host:
        """What a test sees of it."""
        return Host(self.name)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file on it."""
        self.host.write(path, text, mode)

    def allow_sudo(self, user: str, *, asked: bool) -> None:
        """Let a user do everything as root; whether sudo asks for the password first."""
        self.write(f"/etc/sudoers.d/{user}", f"{user} ALL=(ALL) {'' if asked else 'NOPASSWD: '}ALL\n", 0o440)

    def refuse_root(self) -> None:
        """Have nobody log in as root any more."""
        self.host.run("echo 'PermitRootLogin no' > /etc/ssh/sshd_config.d/root.conf && systemctl reload ssh")

    def authorize(self, public_key: str) -> None:
        """Let root log in with another key as well: that of a stack with several hosts."""
        self.host.run(f"echo '{public_key}' >> /root/.ssh/authorized_keys")

    def add_user(self, user: str, public_key: str, password: str = "") -> None:
        """Make a user who logs in with that key; without a password of their own, if none is given."""
        self.host.run(f"useradd --create-home --shell /bin/bash {user}")
        if password:
            self.write("/root/password", f"{user}:{password}\n", 0o600)
            self.host.run("chpasswd < /root/password && rm /root/password")
        self.host.run(f"install -d -m 700 -o {user} -g {user} /home/{user}/.ssh")
        self.write(f"/home/{user}/.ssh/authorized_keys", f"{public_key}\n", 0o600)
        self.host.run(f"chown {user}: /home/{user}/.ssh/authorized_keys")

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Remove it."""
        self.close()

    def close(self) -> None:
        """Remove it; one that is gone already is no failure."""
        server.delete({"name": self.name})
