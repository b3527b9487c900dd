"""What all resources of a stack on AWS have in common: where they are, how they are tagged, what is protected."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pulumi

from components.aws import lookups
from components.aws.asking import Missing
from components.configuration import stop
from planning.tags import Owner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from planning.policies import Place
    from settings import AwsServer, Settings

RANDOM_ENDING = 8
"""Characters that Pulumi puts behind a name, so that what replaces something can be there beside it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cloud:
    """The account and region of a stack, and its settings.

    Attributes:
        settings: of the stack.
        server: the part of them that says which machines.
        owner: by which AWS finds what is this stack's.
        found: what is there on AWS already.
    """

    settings: Settings
    server: AwsServer
    owner: Owner
    found: lookups.Found

    @property
    def app(self) -> str:
        """Name of the application: what names of resources begin with."""
        return self.settings.app.name

    @property
    def stack(self) -> str:
        """Name of the stack."""
        return self.settings.stack

    @property
    def place(self) -> Place:
        """Partition, region and account."""
        return self.found.place

    @property
    def slug(self) -> str:
        """Application and stack, as names on AWS may be: small letters, digits, and a hyphen between them."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.app}-{self.stack}".lower()).strip("-")

    def named(self, what: str, longest: int) -> str:
        """Return the name of a resource of which AWS allows so many characters, those that Pulumi adds included."""
        room = longest - RANDOM_ENDING - len(what) - 1
        return f"{self.app[:room].rstrip('-')}-{what}"

    def tags(self, name: str, further: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the tags of a resource; its name is what the console shows."""
        named = {"Name": f"{self.app}-{self.stack}-{name}", **self.owner.tags}
        return {**named, **self.server.tags, **(further or {})}

    def holds(self, parent: pulumi.Resource, options: pulumi.ResourceOptions | None = None) -> pulumi.ResourceOptions:
        """Return the options of what holds data or a name: protected, until `purge` says that it may go."""
        options = options or pulumi.ResourceOptions()
        options.parent, options.protect = parent, not self.settings.purge
        return options


def of(settings: Settings, server: AwsServer) -> Cloud:
    """Return where a stack is on AWS; end the program with all that is missing there, before anything is made."""
    owner = Owner(pulumi.get_project(), settings.stack, settings.app.name)
    try:
        found = lookups.look(settings, server, owner)
    except Missing as missing:
        stop(str(missing))
    except Exception as error:  # noqa: BLE001 - the SDK has no class of its own for what AWS says
        said = str(error).strip().splitlines() or [type(error).__name__]
        stop(
            f"AWS could not be asked what there is: {said[-1].strip()}\nLook whether you are logged in (`aws sts "
            "get-caller-identity` says as whom), whether aws:region is a region of your account, and at the rights in "
            "docs/aws-deploy-policy.json; nothing was made"
        )
    return Cloud(settings=settings, server=server, owner=owner, found=found)
