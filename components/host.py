"""What is on the machine before any release: packages, accounts, folders, the umbrella unit, the flaskhost command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components import remote

if TYPE_CHECKING:
    from host_command import HostCommand
    from rendering import Plan


class HostBase(pulumi.ComponentResource):
    """A host that is ready for releases of one application.

    Attributes:
        reachable: the step after which the host answers.
        ready: the last step; what needs the base comes after it.
    """

    reachable: pulumi.Resource
    ready: pulumi.Resource

    def __init__(
        self,
        name: str,
        host: remote.Host,
        command: HostCommand,
        plan: Plan,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Wait for the host, upload the flaskhost command, have it install itself and set up the host."""
        super().__init__("flaskhost:host:Base", name, None, opts)
        # The folder of the uploads, before several of them would make it at once.
        self.reachable = remote.step(
            f"{name}-boot", f"mkdir -p .flaskhost/{name}", host, parent=self, depends_on=[], boots=True
        )
        uploaded = remote.upload(
            f"{name}-command", str(command.archive), command.upload, host, parent=self, depends_on=[self.reachable]
        )
        self.ready = remote.step(
            f"{name}-base",
            f"{host.sudo}python3 {command.upload} base {name}",
            host,
            parent=self,
            depends_on=[uploaded],
            stdin=plan.base,
        )
        self.register_outputs({})
