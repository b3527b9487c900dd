"""How the application leaves a host that stays: the only resource whose end does anything there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from components.release import Release
    from components.remote import Deploy


class Teardown(pulumi.ComponentResource):
    """The claim of a stack to its application on a host; where the claim ends, the application is removed.

    It comes last, after the release serves: on another host everything is there before anything goes from this one.
    A host that Pulumi makes has none, for it takes everything with it.
    """

    def __init__(self, name: str, deploy: Deploy, release: Release, opts: pulumi.ResourceOptions | None = None) -> None:
        """Claim the application once visitors reach it."""
        super().__init__("flaskhost:teardown:Teardown", name, None, opts)
        deploy.claim(name, deploy.plan.teardown, self, [release.released])
        self.register_outputs({})
