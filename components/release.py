"""A release on its way to visitors: environment and code, prepare, stage, switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from pathlib import Path

    from components.host import HostBase
    from components.remote import Deploy


class Release(pulumi.ComponentResource):
    """The release that the stack asks for, on one host.

    Attributes:
        switched: the step after which visitors reach it.
    """

    switched: pulumi.Resource

    def __init__(
        self, name: str, deploy: Deploy, base: HostBase, archive: Path, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Bring the release to the host and let visitors reach it.

        Args:
            name: of the application.
            deploy: where, and the documents.
            base: what has to be on the host; the code is uploaded while that is made.
            archive: the code, on this machine.
            opts: of the component.
        """
        super().__init__("flaskhost:release:Release", name, None, opts)
        plan = deploy.plan
        uploaded = deploy.upload(f"{name}-source", archive, plan.archive, self, [base.reachable])
        # The only step whose whole input is secret: all that may be read in a preview stands in the others.
        secret = pulumi.Output.secret(plan.environment)
        environment = deploy.verb(name, "environment", secret, self, [base.ready])
        prepared = deploy.verb(name, "prepare", plan.prepare, self, [uploaded, environment])
        staged = deploy.verb(name, "stage", plan.stage, self, [prepared])
        self.switched = deploy.verb(name, "switch", plan.switch, self, [staged])
        self.register_outputs({"release": plan.release})
