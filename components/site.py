"""How visitors reach the application: the Nginx site and its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_command import HostCommand
    from rendering import Plan


class Site(pulumi.ComponentResource):
    """The site of one application.

    Attributes:
        ready: the step after which Nginx has the configuration.
    """

    ready: pulumi.Resource

    def __init__(  # noqa: PLR0913 - what a component is made of
        self,
        name: str,
        host: remote.Host,
        command: HostCommand,
        plan: Plan,
        depends_on: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Install the site once `depends_on` is done."""
        super().__init__("flaskhost:site:Site", name, None, opts)
        self.ready = remote.step(
            f"{name}-site",
            f"{host.sudo}{command.program} site {name}",
            host,
            parent=self,
            depends_on=depends_on,
            stdin=plan.site,
        )
        self.register_outputs({})
