"""How we know: the post-deployment checklist, looked at on the host whenever anything was changed there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from components.release import Release
    from components.remote import Deploy
    from components.site import Site


class Checks(pulumi.ComponentResource):
    """The checklist.

    Attributes:
        verified: what was looked at and found, by point.
    """

    verified: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, deploy: Deploy, site: Site, release: Release, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Look once site and release are there; the step's input has a digest of everything before it."""
        super().__init__("flaskhost:checks:Checks", name, None, opts)
        looked = deploy.verb(name, "checks", deploy.plan.checks, self, [site.ready, release.switched])
        self.verified = looked.stdout.apply(lambda line: dict(json.loads(line)["checks"]))
        self.register_outputs({"verified": self.verified})
