"""A server that is a container with systemd on this machine (`ops/local_server` makes, starts and removes it)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi
from pulumi_command import local

from components.remote import Host

if TYPE_CHECKING:
    from collections.abc import Mapping

    import settings

PROGRAM = "python3 -m ops.local_server"


class LocalServer(pulumi.ComponentResource):
    """Keys and a container. Its data goes with it: another image or port, and `destroy`, start from nothing.

    Attributes:
        hosts: the running container, reached over SSH on 127.0.0.1.
    """

    hosts: list[Host]

    def __init__(
        self,
        name: str,
        server: settings.LocalServer,
        usual: str,
        ports: Mapping[int, int],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make the container of a stack.

        Args:
            name: of the application.
            server: the settings.
            usual: its name, unless the settings say another.
            ports: further ones: port on the server to port on 127.0.0.1.
            opts: of the component.
        """
        super().__init__("flaskhost:server:Local", name, None, opts)
        # Made once, then kept in the stack's state, encrypted.
        keys = local.Command(
            f"{name}-keys",
            create=f"{PROGRAM} keys",
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=self, additional_secret_outputs=["stdout"]),
        )
        made = keys.stdout.apply(json.loads)
        wanted: dict[str, object] = {
            "name": server.name or usual,
            "image": server.image,
            "ssh_port": server.ssh_port,
            "http_port": server.http_port,
            "https_port": server.https_port,
            "trust_machine_authorities": server.trust_machine_authorities,
        }
        if ports:
            wanted["ports"] = {str(inside): outside for inside, outside in ports.items()}
        handed = {key: made[key] for key in ("host_private", "host_public", "login_public")}
        container = local.Command(
            f"{name}-container",
            create=f"{PROGRAM} create",
            delete=f"{PROGRAM} delete",
            stdin=pulumi.Output.json_dumps({**wanted, **handed}),
            logging=local.Logging.STDERR,
            add_previous_output_in_env=False,
            triggers=[f"{key}={value}" for key, value in wanted.items()],
            # Name and ports are taken by the old one.
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        host = Host(
            address="127.0.0.1",
            port=server.ssh_port,
            user="root",
            private_key=made["login_private"],
            host_key=made["host_public"],
            # Not a secret, though it is printed by a command that was given some.
            identity=pulumi.Output.unsecret(container.stdout).apply(lambda line: str(json.loads(line)["id"])),
            resource=container,
            boots=True,
        )
        self.hosts = [host]
        self.register_outputs({"container": host.identity})
