"""What a managed service hands to the application."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offer:
    """Variables that are known only when the service is there.

    Attributes:
        values: whole variables.
        secrets: variables that lack a user's name and password: `secret`, the ARN in AWS Secrets Manager that has
            them, and `url` with {username} and {password} in it.
        after: what has to be there before a host can use them.
    """

    values: Mapping[str, pulumi.Input[str]] = dataclasses.field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, pulumi.Input[str]]] = dataclasses.field(default_factory=dict)
    after: tuple[pulumi.Resource, ...] = ()
