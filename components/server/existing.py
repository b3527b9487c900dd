"""A server that is there already and reached over SSH. Nothing of it is made or removed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.remote import Bastion, Host

if TYPE_CHECKING:
    from settings import Credentials, ExistingServer


class Existing(pulumi.ComponentResource):
    """A host that the stack is told of.

    Its host key is its identity: a changed address, port or login key is another way to the same machine and replaces
    nothing, and another user only has the uploads made again; another host key is another machine, which gets
    everything anew.

    Attributes:
        host: the machine.
    """

    host: Host

    def __init__(
        self, name: str, server: ExistingServer, credentials: Credentials, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Take the way to the host from the settings, and the keys from the credentials."""
        super().__init__("flaskhost:server:Existing", name, None, opts)
        login = credentials.ssh_key or ""
        bastion = None
        if server.bastion:
            bastion = Bastion(
                address=server.bastion.address,
                port=server.bastion.port,
                user=server.bastion.user,
                private_key=pulumi.Output.secret(credentials.bastion_key or login),
                host_key=server.bastion.host_key,
            )
        self.host = Host(
            address=server.address,
            port=server.port,
            user=server.user,
            private_key=pulumi.Output.secret(login),
            host_key=server.host_key,
            identity=server.host_key,
            bastion=bastion,
            sudo_password=credentials.sudo_password and pulumi.Output.secret(credentials.sudo_password),
        )
        self.register_outputs({"address": server.address})
