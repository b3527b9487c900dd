"""What only a server on AWS has beside it: managed services, a load balancer, and names that lead to it.

Where the server is elsewhere, these are things of the stack file and of other people, and nothing is made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.connections import Connections
from components.server.existing import Existing
from components.server.local import LocalServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi

    from components.aws.offer import Offer
    from components.host import HostBase
    from components.release import Release
    from components.remote import Deploy
    from components.server import Server
    from settings import Settings


class Services:
    """The managed services of a stack, how its hosts come to know them, and how visitors find the site."""

    def __init__(self, settings: Settings, server: Server) -> None:
        """Make what the settings ask for."""
        self._settings = settings
        self._server = None if isinstance(server, Existing | LocalServer) else server
        self._offers: list[Offer] = []
        if self._server:
            from components.aws import offers  # noqa: PLC0415 - the SDK of AWS takes more than a second to import

            self._offers = offers.of(self._server)

    def connect(self, deploy: Deploy, base: HostBase) -> Connections | None:
        """Tell a host how its application reaches them."""
        if self._server is None:
            return None
        return Connections(deploy, base, self._settings, self._server.cloud.place.region, self._offers)

    def publish(self, releases: Sequence[Release]) -> pulumi.Output[list[str]] | None:
        """Lead the site's names to it once it serves.

        Returns:
            The records that do so, each as a line of a zone file; None where nobody here can say.
        """
        if self._server is None:
            return None
        from components.aws.names import Names  # noqa: PLC0415 - the SDK of AWS takes more than a second to import

        return Names(self._server, [release.released for release in releases]).records
