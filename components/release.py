"""A release on its way to visitors: environment and code, prepare, stage, switch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.host import HostBase
    from host_command import HostCommand
    from rendering import Plan
    from sources import Resolved


class Release(pulumi.ComponentResource):
    """The release that the stack asks for, on one host.

    Attributes:
        switched: the step after which visitors reach it.
    """

    switched: pulumi.Resource

    def __init__(  # noqa: PLR0913 - what a component is made of
        self,
        name: str,
        host: remote.Host,
        command: HostCommand,
        plan: Plan,
        source: Resolved,
        base: HostBase,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Bring the release to the host and let visitors reach it; the code is uploaded while the base is made."""
        super().__init__("flaskhost:release:Release", name, None, opts)

        def step(verb: str, stdin: pulumi.Input[str], after: Sequence[pulumi.Resource]) -> pulumi.Resource:
            words = f"{host.sudo}{command.program} {verb} {name}"
            return remote.step(f"{name}-{verb}", words, host, parent=self, depends_on=after, stdin=stdin)

        uploaded = remote.upload(
            f"{name}-source",
            str(source.archive),
            plan.archive,
            host,
            parent=self,
            depends_on=[base.reachable],
        )
        # The only step whose whole input is secret: all that may be read in a preview stands in the others.
        environment = step("environment", pulumi.Output.secret(plan.environment), [base.ready])
        prepared = step("prepare", plan.prepare, [uploaded, environment])
        staged = step("stage", plan.stage, [prepared])
        self.switched = step("switch", plan.switch, [staged])
        self.register_outputs({"release": plan.release})
