"""How we know: the post-deployment checklist, looked at on the host whenever anything was changed there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi

from components import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host_command import HostCommand
    from rendering import Plan


class Checks(pulumi.ComponentResource):
    """The checklist.

    Attributes:
        verified: what was looked at and found, by point.
    """

    verified: pulumi.Output[dict[str, str]]

    def __init__(  # noqa: PLR0913 - what a component is made of
        self,
        name: str,
        host: remote.Host,
        command: HostCommand,
        plan: Plan,
        depends_on: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Look once `depends_on` is done; the step's input is a digest of everything before it."""
        super().__init__("flaskhost:checks:Checks", name, None, opts)
        looked = remote.step(
            f"{name}-checks",
            f"{host.sudo}{command.program} checks {name}",
            host,
            parent=self,
            depends_on=depends_on,
            stdin=plan.checks,
        )
        self.verified = looked.stdout.apply(lambda line: dict(json.loads(line)["checks"]))
        self.register_outputs({"verified": self.verified})
