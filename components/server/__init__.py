"""Where the host comes from: one module for each `server.kind`, all of them return a `Host`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.server.local import LocalServer

if TYPE_CHECKING:
    from components.remote import Host
    from settings import Settings


def provision(settings: Settings) -> Host:
    """Make the server that the stack asks for and return the host that it gives."""
    return LocalServer(settings.app.name, settings).host
