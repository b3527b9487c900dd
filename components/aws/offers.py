"""The managed services that a stack asks for, in place of what a server would run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.aws.database import Database
from components.aws.media import Media
from components.aws.redis import Redis

if TYPE_CHECKING:
    from components.aws.offer import Offer
    from components.server.aws import Aws


def of(server: Aws) -> list[Offer]:
    """Make them; return what each hands to the application."""
    settings = server.cloud.settings
    return [
        *([Database(server).offer] if settings.database.kind == "rds" else []),
        *([Redis(server).offer] if settings.redis.kind == "elasticache" else []),
        *([Media(server).offer] if settings.media.kind == "s3" else []),
    ]
