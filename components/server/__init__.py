"""Where the host comes from: one module for each `server.kind`, all of them return hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import settings
from components.server.existing import Existing
from components.server.local import LocalServer

if TYPE_CHECKING:
    from typing import TypeAlias

    from components.server.aws import Aws

    Server: TypeAlias = Aws | Existing | LocalServer


def provision(wanted: settings.Settings) -> Server:
    """Make the server that the stack asks for; its `hosts` are in the order of the settings."""
    name, server = wanted.app.name, wanted.server
    if isinstance(server, settings.AwsServer):
        from components.server.aws import Aws  # noqa: PLC0415 - the SDK of AWS takes more than a second to import

        return Aws(wanted, server)
    if not isinstance(server, settings.LocalServer):
        return Existing(name, server, wanted.credentials)
    usual = settings.container_name(wanted.stack, name)
    # Without Nginx before it, the development server is reached by a port of its own.
    ports = {wanted.app.development.port: server.app_port} if wanted.app.mode == "development" else {}
    return LocalServer(name, server, usual, ports)
