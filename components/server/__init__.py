"""Where the host comes from: one module for each `server.kind`, all of them return a `Host`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import settings
from components.server.existing import Existing
from components.server.local import LocalServer

if TYPE_CHECKING:
    from components.remote import Host


def provision(wanted: settings.Settings) -> list[Host]:
    """Make the server that the stack asks for and return the hosts that it gives, in the order of the settings."""
    name, server = wanted.app.name, wanted.server
    if not isinstance(server, settings.LocalServer):
        return Existing(name, server, wanted.credentials).hosts
    usual = settings.container_name(wanted.stack, name)
    # Without Nginx before it, the development server is reached by a port of its own.
    ports = {wanted.app.development.port: server.app_port} if wanted.app.mode == "development" else {}
    return [LocalServer(name, server, usual, ports).host]
