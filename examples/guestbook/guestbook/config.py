"""The configuration, read from the environment: names and meaning are in .env.example."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MIGRATIONS = str(Path(__file__).resolve().parent.parent / "migrations")


def read(environment: Mapping[str, str] | None, *, instance: str) -> dict[str, Any]:
    """Return Flask's configuration; `instance` is the folder for what a developer's machine has no setting for."""
    values = os.environ if environment is None else environment
    if not values.get("SECRET_KEY"):
        message = "SECRET_KEY is not set: give the application a long random value (see .env.example)"
        raise RuntimeError(message)
    return {
        "SECRET_KEY": values["SECRET_KEY"],
        "SQLALCHEMY_DATABASE_URI": _database(values.get("DATABASE_URL"), Path(instance)),
        "MEDIA_ROOT": Path(values.get("MEDIA_ROOT") or Path(instance, "media")),
        "SITE_TITLE": values.get("SITE_TITLE") or "Guestbook",
        "LOG_LEVEL": (values.get("LOG_LEVEL") or "INFO").upper(),
        "MAX_CONTENT_LENGTH": int(values.get("MAX_UPLOAD_BYTES") or 5 * 1024 * 1024),
        "SESSION_COOKIE_SECURE": values.get("SESSION_COOKIE_SECURE", "true").lower() != "false",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        # The token in the form is the protection. The additional look at the Referer would turn away everybody who
        # comes through a proxy that leaves the port out of the Host header.
        "WTF_CSRF_SSL_STRICT": False,
    }


def _database(url: str | None, instance: Path) -> str:
    if not url:
        instance.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{instance / 'guestbook.db'}"
    for scheme in ("postgres://", "postgresql://"):  # what hosters write; SQLAlchemy wants the driver's name too
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url[len(scheme) :]
    return url
