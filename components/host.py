"""What is on the machine before any release: packages, accounts, folders, the umbrella unit, the flaskhost command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from components.remote import Deploy


class HostBase(pulumi.ComponentResource):
    """A host that is ready for releases of one application.

    Attributes:
        reachable: the step after which the host answers: the flaskhost command is there.
        ready: the last step; what needs the base comes after it.
    """

    reachable: pulumi.Resource
    ready: pulumi.Resource

    def __init__(self, deploy: Deploy, opts: pulumi.ResourceOptions | None = None) -> None:
        """Wait for the host, upload the flaskhost command, have it install itself and set up the host."""
        super().__init__("flaskhost:host:Base", deploy.name, None, pulumi.ResourceOptions.merge(deploy.renamed, opts))
        command = deploy.command
        # By then a machine before this one, which had the same address and the same keys, is shut down.
        disk = [deploy.host.disk] if deploy.host.disk else []
        self.reachable = deploy.upload("command", command.archive, command.upload, self, disk, boots=True)
        uploaded = f"python3 {command.upload}"
        before: list[pulumi.Resource] = [self.reachable]
        if deploy.plan.volume:
            before = [deploy.step(uploaded, "volume", deploy.plan.volume, self, before)]
        self.ready = deploy.step(uploaded, "base", deploy.plan.base, self, before)
        self.register_outputs({})
