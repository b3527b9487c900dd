"""What the guestbook promises to visitors and to those who run it."""

# ruff: noqa: S101 - assert is how pytest asks, and the keys are made up

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import request
from flask_migrate import downgrade, upgrade
from guestbook import __version__, create_app
from guestbook.extensions import db
from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)


def sign(client: FlaskClient, **fields: object) -> TestResponse:
    """Send the form as a browser does: fetch the page, hand its token back."""
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get("/").text)
    assert token
    data = {"csrf_token": token[1], "author": "Ada", "text": "Hello", **fields}
    return client.post("/", data=data, content_type="multipart/form-data")


def test_a_message_is_listed(client: FlaskClient) -> None:
    """What was written is on the page, as text and never as HTML."""
    assert sign(client, text="<b>Hello</b>").status_code == 303
    assert "&lt;b&gt;Hello&lt;/b&gt;" in client.get("/").text


def test_a_message_without_token_is_refused(client: FlaskClient) -> None:
    """Another site cannot write in a visitor's name."""
    assert client.post("/", data={"author": "Eve", "text": "spam"}).status_code == 400
    assert "spam" not in client.get("/").text


@pytest.mark.parametrize("missing", ["author", "text"])
def test_an_incomplete_message_says_what_is_missing(client: FlaskClient, missing: str) -> None:
    """The form comes back with the reason beside the field."""
    answer = sign(client, **{missing: "  "})
    assert answer.status_code == 422
    assert 'class="problem"' in answer.text


def test_a_picture_is_kept_under_a_name_of_ours_and_shown(client: FlaskClient, environment: dict[str, str]) -> None:
    """The visitor's file name has no influence on where the file goes."""
    assert sign(client, picture=(io.BytesIO(PICTURE), "../../etc/passwd.png")).status_code == 303
    (kept,) = Path(environment["MEDIA_ROOT"]).iterdir()
    assert re.fullmatch(r"[0-9a-f]{32}\.png", kept.name)
    assert f"/media/{kept.name}" in client.get("/").text
    shown = client.get(f"/media/{kept.name}")
    assert (shown.data, shown.mimetype) == (PICTURE, "image/png")


def test_what_is_no_picture_is_refused_whatever_it_is_called(client: FlaskClient, environment: dict[str, str]) -> None:
    """A page with a script in it does not become a picture by its name."""
    answer = sign(client, picture=(io.BytesIO(b"<script>alert(1)</script>"), "harmless.png"))
    assert answer.status_code == 422
    assert "Please choose a PNG" in answer.text
    assert not Path(environment["MEDIA_ROOT"]).exists()


def test_a_picture_that_is_too_large_is_refused(client: FlaskClient) -> None:
    """MAX_UPLOAD_BYTES is the limit, and the answer is a page of ours."""
    answer = sign(client, picture=(io.BytesIO(PICTURE + bytes(10_000)), "large.png"))
    assert answer.status_code == 413
    assert "Back to the messages" in answer.text


@pytest.mark.parametrize("name", ["missing.png", "../guestbook.db", "%2e%2e/guestbook.db"])
def test_only_uploads_are_shown(client: FlaskClient, name: str) -> None:
    """Nothing outside of MEDIA_ROOT can be asked for."""
    assert client.get(f"/media/{name}").status_code == 404


def test_health_says_version_and_database(client: FlaskClient) -> None:
    """All is well: 200 and three words."""
    answer = client.get("/health")
    assert (answer.status_code, answer.json) == (200, {"status": "ok", "version": __version__, "database": "ok"})


def test_health_fails_with_the_reason_when_the_migrations_have_not_run(environment: dict[str, str]) -> None:
    """A release whose tables are missing must not get visitors."""
    answer = create_app(environment).test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["database"] == "no such table: message"


def test_health_fails_with_the_reason_when_the_database_is_out_of_reach(environment: dict[str, str]) -> None:
    """The same for a database that is not there at all."""
    answer = create_app({**environment, "DATABASE_URL": "sqlite:////nowhere/guestbook.db"}).test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["database"] == "unable to open database file"


def test_every_page_says_its_version(client: FlaskClient) -> None:
    """Whoever looks at the page knows what serves it."""
    assert f"version <strong>{__version__}</strong>" in client.get("/").text
    assert client.get("/version").text == f"{__version__}\n"


def test_static_files_have_urls_of_their_content(client: FlaskClient) -> None:
    """Browsers may keep them for long: a new content is a new URL."""
    url = re.search(r'href="(/static/style\.css\?v=[0-9a-f]{10})"', client.get("/").text)
    assert url
    assert client.get(url[1]).status_code == 200


def test_the_cookie_is_for_https_and_for_no_script(client: FlaskClient) -> None:
    """The three attributes that a session's cookie should have."""
    cookie = client.get("/").headers["Set-Cookie"]
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Lax"))


def test_the_proxy_is_believed_about_the_visitor(app: Flask, client: FlaskClient) -> None:
    """Address, scheme and host are the visitor's, not the proxy's."""
    seen: list[tuple[str | None, str]] = []
    app.before_request(lambda: seen.append((request.remote_addr, request.url)))
    client.get("/version", headers={"X-Forwarded-For": "203.0.113.9"})
    assert seen == [("203.0.113.9", "https://guests.example/version")]


def test_an_unknown_page_is_answered_by_a_page_of_ours(client: FlaskClient) -> None:
    """404, with a way back."""
    answer = client.get("/nowhere")
    assert answer.status_code == 404
    assert "Back to the messages" in answer.text


def test_a_failure_shows_nothing_of_the_inside_and_is_logged(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The visitor gets an apology, the log gets the traceback."""

    def fail() -> None:
        message = "the inside"
        raise ValueError(message)

    app.add_url_rule("/fail", view_func=fail)
    with caplog.at_level(logging.ERROR):
        answer = client.get("/fail")
    assert answer.status_code == 500
    assert "the inside" not in answer.text
    assert "ValueError: the inside" in caplog.text


def test_without_secret_key_it_does_not_start_and_says_why() -> None:
    """The message names the variable."""
    with pytest.raises(RuntimeError, match="SECRET_KEY is not set"):
        create_app({})


def test_a_postgresql_url_gets_its_driver(environment: dict[str, str]) -> None:
    """Both schemes that hosters hand out are understood."""
    for scheme in ("postgres", "postgresql"):
        app = create_app({**environment, "DATABASE_URL": f"{scheme}://someone@db.example/guests"})
        assert app.config["SQLALCHEMY_DATABASE_URI"] == "postgresql+psycopg://someone@db.example/guests"


def test_models_and_migrations_agree(app: Flask) -> None:
    """Every column of the models is in the migrated database, and no other."""
    with app.app_context():
        migrated = {column["name"] for column in inspect(db.engine).get_columns("message")}
        assert migrated == set(db.metadata.tables["message"].columns.keys())


def test_migrations_go_back_to_nothing_and_forth_again(app: Flask) -> None:
    """Every migration has its way back."""
    with app.app_context():
        downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]
        upgrade()


def test_a_message_without_the_optional_columns_can_be_read(app: Flask, client: FlaskClient) -> None:
    """The release before writes rows without what is new; they must be listed all the same."""
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO message (author, text, created_at) VALUES ('Old', 'Release', '2024-05-01 12:00:00')")
        )
    assert "Release" in client.get("/").text
