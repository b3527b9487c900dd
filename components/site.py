"""How visitors reach the application: the Nginx site and its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from components.host import HostBase
    from components.remote import Deploy


class Site(pulumi.ComponentResource):
    """The site of one application.

    Attributes:
        ready: the step after which Nginx has the configuration.
    """

    ready: pulumi.Resource

    def __init__(self, deploy: Deploy, base: HostBase, opts: pulumi.ResourceOptions | None = None) -> None:
        """Install the site on a host that is ready."""
        super().__init__("flaskhost:site:Site", deploy.name, None, pulumi.ResourceOptions.merge(deploy.renamed, opts))
        self.ready = deploy.verb("site", deploy.plan.site, self, [base.ready])
        self.register_outputs({})
