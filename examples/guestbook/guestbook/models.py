"""The tables. Every change of them comes with a migration that the release before can live with."""

from datetime import datetime, timezone

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from guestbook.extensions import db


def now() -> datetime:
    """Return the time in UTC without a zone, which SQLite and PostgreSQL store alike."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class Message(db.Model):
    """What somebody wrote."""

    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[str] = mapped_column(String(60))
    text: Mapped[str] = mapped_column(Text)
    picture: Mapped[str] = mapped_column(String(60), default="", server_default="")  # file name below MEDIA_ROOT
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
