"""A release on its way to visitors: environment and code, then prepare, stage and switch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pulumi_command import remote

    from components.connections import Connections
    from components.host import HostBase
    from components.remote import Deploy
    from components.site import Site


class Release(pulumi.ComponentResource):
    """The release that the stack asks for, on one host.

    Attributes:
        deploy: the host, and the documents.
        released: the step after which visitors of this host reach it.
        verified: how we know: what the checks have looked at and found, by point.
        kept: version, commit and tree of what stays on the host, and needs no repository on the way back.
    """

    released: pulumi.Resource
    verified: pulumi.Output[dict[str, str]]
    kept: pulumi.Output[list[dict[str, str]]]

    def __init__(  # noqa: PLR0913 - what a release needs
        self,
        deploy: Deploy,
        base: HostBase,
        site: Site | None,
        archive: Path | None,
        connections: Connections | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Bring environment and code to the host; `let_visitors_in` does the rest.

        Args:
            deploy: where, and the documents.
            base: what has to be on the host; the code is uploaded while that is made.
            site: how visitors reach it, which the checks look at; None in development mode.
            archive: the code, on this machine; None where the server fetches it.
            connections: what the application is handed of managed services.
            opts: of the component.
        """
        super().__init__(
            "flaskhost:release:Release", deploy.name, None, pulumi.ResourceOptions.merge(deploy.renamed, opts)
        )
        self.deploy, plan = deploy, deploy.plan
        uploaded = (
            [deploy.upload("source", archive, plan.archive, self, [base.reachable])] if archive and plan.archive else []
        )
        # The only step whose whole input is secret: all that may be read in a preview stands in the others.
        secret = pulumi.Output.secret(plan.environment)
        told = [connections.ready] if connections else []
        self._there = [*uploaded, *told, deploy.verb("environment", secret, self, [base.ready])]
        self._site = [site.ready] if site else []

    def at_once(self) -> None:
        """Do all of it in one session: a login costs more than some of the three verbs."""
        plan = self.deploy.plan
        documents = f"{plan.prepare}\n{plan.stage}\n{plan.switch}"
        before = [*self._there, *self._site]
        self._end(self.deploy.verb("release", documents, self, before, formerly="switch"))

    def prepare(self) -> remote.Command:
        """Have it ready to start."""
        return self.deploy.verb("prepare", self.deploy.plan.prepare, self, self._there)

    def stage(self, after: Sequence[pulumi.Resource]) -> remote.Command:
        """Start it in the idle slot, and prove that it is healthy."""
        return self.deploy.verb("stage", self.deploy.plan.stage, self, [*after, *self._site])

    def switch(self, after: Sequence[pulumi.Resource]) -> None:
        """Let visitors reach it, and look at all points of the checks."""
        self._end(self.deploy.verb("switch", self.deploy.plan.switch, self, after, formerly="release"))

    def _end(self, last: remote.Command) -> None:
        self.released = last
        self.verified = last.stdout.apply(lambda line: dict(_of_switch(line)["checks"]))
        self.kept = last.stdout.apply(lambda line: list(_of_switch(line)["kept"]))
        self.register_outputs({"release": self.deploy.plan.release, "verified": self.verified})


def _of_switch(line: str) -> dict[str, Any]:
    """Return what the verb `switch` has said: of one of several verbs the step's line has it by name."""
    said = json.loads(line)
    return dict(said.get("switch", said))


def let_visitors_in(releases: Sequence[Release]) -> None:
    """Take the release to visitors: on each of several hosts when it is proven on every one of them.

    The first host stages before the others, since it runs the migrations, and no host switches before all have staged:
    whatever fails until then leaves all of them on the release before.
    """
    if len(releases) == 1:
        releases[0].at_once()
        return
    prepared = [release.prepare() for release in releases]
    first = releases[0].stage(prepared)
    staged = [first, *(release.stage([first]) for release in releases[1:])]
    for release in releases:
        release.switch(staged)
