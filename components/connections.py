"""How the application reaches its managed services: the one step whose text is known only when those are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

import rendering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.aws.offer import Offer
    from components.host import HostBase
    from components.remote import Deploy
    from settings import Settings


class Connections(pulumi.ComponentResource):
    """The variables that the services hand to the application, on one host.

    Attributes:
        ready: the step after which the host has them.
    """

    ready: pulumi.Resource

    def __init__(  # noqa: PLR0913 - what a component is made with
        self,
        deploy: Deploy,
        base: HostBase,
        settings: Settings,
        region: str,
        offers: Sequence[Offer],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Tell the host; where nothing is offered, it forgets what it was told.

        Args:
            deploy: where.
            base: what has to be on the host.
            settings: of the stack.
            region: of AWS.
            offers: what the services hand over.
            opts: of the component.
        """
        super().__init__(
            "flaskhost:data:Connections", deploy.name, None, pulumi.ResourceOptions.merge(deploy.renamed, opts)
        )
        values = {name: value for offer in offers for name, value in offer.values.items()}
        secrets = {name: value for offer in offers for name, value in offer.secrets.items()}
        document = pulumi.Output.all(values, secrets).apply(
            lambda known: rendering.connections(settings, region, known[0], known[1])
        )
        after = [resource for offer in offers for resource in offer.after]
        self.ready = deploy.verb("connections", document, self, [base.ready, *after])
        self.register_outputs({})
