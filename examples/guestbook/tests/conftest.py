"""An application of its own for every test: database and uploads in a temporary folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flask_migrate import upgrade
from guestbook import create_app

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask
    from flask.testing import FlaskClient


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a server would set."""
    return {
        "SECRET_KEY": "for tests only",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'guestbook.db'}",
        "MEDIA_ROOT": str(tmp_path / "media"),
        "MAX_UPLOAD_BYTES": "10000",
    }


@pytest.fixture
def app(environment: dict[str, str]) -> Flask:
    """Return an application whose database is at the newest migration."""
    app = create_app(environment)
    with app.app_context():
        upgrade()
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a visitor who comes by HTTPS through one proxy, as on a server."""
    client = app.test_client()
    client.environ_base.update({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "guests.example"})
    return client
