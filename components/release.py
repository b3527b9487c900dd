"""A release on its way to visitors: environment and code, then prepare, stage, switch and checks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from pathlib import Path

    from components.host import HostBase
    from components.remote import Deploy
    from components.site import Site


class Release(pulumi.ComponentResource):
    """The release that the stack asks for, on one host.

    Attributes:
        released: the step after which visitors reach it.
        verified: how we know: what the checks have looked at and found, by point.
    """

    released: pulumi.Resource
    verified: pulumi.Output[dict[str, str]]

    def __init__(  # noqa: PLR0913 - what a release needs
        self,
        name: str,
        deploy: Deploy,
        base: HostBase,
        site: Site | None,
        archive: Path | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Bring the release to the host and let visitors reach it.

        Args:
            name: of the application.
            deploy: where, and the documents.
            base: what has to be on the host; the code is uploaded while that is made.
            site: how visitors reach it, which the checks look at; None in development mode.
            archive: the code, on this machine; None where the server fetches it.
            opts: of the component.
        """
        super().__init__("flaskhost:release:Release", name, None, opts)
        plan = deploy.plan
        uploaded = (
            [deploy.upload(f"{name}-source", archive, plan.archive, self, [base.reachable])]
            if archive and plan.archive
            else []
        )
        # The only step whose whole input is secret: all that may be read in a preview stands in the others.
        secret = pulumi.Output.secret(plan.environment)
        environment = deploy.verb(name, "environment", secret, self, [base.ready])
        # Four verbs in one session: a login costs more than some of them.
        documents = f"{plan.prepare}\n{plan.stage}\n{plan.switch}\n{plan.checks}"
        before = [*uploaded, environment, *([site.ready] if site else [])]
        released = deploy.verb(name, "release", documents, self, before)
        self.released = released
        self.verified = released.stdout.apply(lambda line: dict(json.loads(line)["checks"]["checks"]))
        self.register_outputs({"release": plan.release, "verified": self.verified})
