"""Hosts that are there already and reached over SSH. Nothing of them is made or removed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.remote import Bastion, Host

if TYPE_CHECKING:
    from settings import Credentials, ExistingServer, ExistingServers


class Existing(pulumi.ComponentResource):
    """The hosts that the stack is told of: one, or several.

    The host key is a host's identity: a changed address, port or login key is another way to the same machine and
    replaces nothing, and another user only has the uploads made again; another host key is another machine, which gets
    everything anew.

    Attributes:
        hosts: the machines, in the order of the settings.
    """

    hosts: list[Host]

    def __init__(
        self,
        name: str,
        server: ExistingServer | ExistingServers,
        credentials: Credentials,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Take the way to the hosts from the settings, and the keys from the credentials."""
        super().__init__("flaskhost:server:Existing", name, None, opts)
        login = credentials.ssh_key or ""
        bastion = Bastion.of(server.bastion, credentials.bastion_key or login) if server.bastion else None
        self.hosts = [
            Host(
                address=host.address,
                port=host.port,
                user=server.user,
                private_key=pulumi.Output.secret(login),
                host_key=host.host_key,
                identity=host.host_key,
                bastion=bastion,
                sudo_password=credentials.sudo_password and pulumi.Output.secret(credentials.sudo_password),
            )
            for host in server.hosts
        ]
        addresses = [host.address for host in server.hosts]
        self.register_outputs({"addresses": addresses} if len(addresses) > 1 else {"address": addresses[0]})
