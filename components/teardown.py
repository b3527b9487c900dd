"""How the application leaves a host that stays: the only resource whose end does anything there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from components.release import Release


class Teardown(pulumi.ComponentResource):
    """The claim of a stack to its application on a host; where the claim ends, the application is removed.

    It comes last, after the release serves: on another host everything is there before anything goes from this one.
    A host that Pulumi makes has none, for it takes everything with it.
    """

    def __init__(self, release: Release, opts: pulumi.ResourceOptions | None = None) -> None:
        """Claim the application once visitors reach it."""
        deploy = release.deploy
        super().__init__("flaskhost:teardown:Teardown", deploy.name, None, opts)
        deploy.claim(deploy.plan.teardown, self, [release.released])
        self.register_outputs({})
