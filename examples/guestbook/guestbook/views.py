"""The pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app, redirect, render_template, send_from_directory, url_for
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, InternalServerError

from guestbook import media
from guestbook.extensions import db
from guestbook.forms import MessageForm
from guestbook.models import Message

if TYPE_CHECKING:
    from flask import Response

log = logging.getLogger(__name__)
pages = Blueprint("pages", __name__)


@pages.route("/", methods=["GET", "POST"])
def index() -> Any:
    """List the newest messages; take a new one."""
    form = MessageForm()
    if form.validate_on_submit():
        message = Message(author=form.author.data, text=form.text.data)
        if form.picture.data:
            message.picture = media.keep(form.picture.data, current_app.config["MEDIA_ROOT"])
        db.session.add(message)
        db.session.commit()
        log.info("message %s written", message.id)
        return redirect(url_for("pages.index"), 303)
    newest = select(Message).order_by(Message.created_at.desc(), Message.id.desc()).limit(50)
    status = 422 if form.errors else 200
    return render_template("index.html", form=form, messages=db.session.scalars(newest).all()), status


@pages.get("/media/<name>")
def uploaded(name: str) -> Response:
    """Show a picture; on a server Nginx does it, with the same URL."""
    return send_from_directory(current_app.config["MEDIA_ROOT"], name, max_age=30 * 24 * 3600)


@pages.get("/health")
def health() -> Any:
    """Say whether this release can work: its database answers, and has every column that the code asks for."""
    answer = {"status": "ok", "version": current_app.config["VERSION"], "database": "ok"}
    try:
        db.session.execute(select(Message).limit(1))
    except SQLAlchemyError as error:
        log.exception("the database does not answer as it should")
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        answer.update(status="error", database=reason)
    return answer, 200 if answer["status"] == "ok" else 503, {"Cache-Control": "no-store"}


@pages.get("/version")
def version() -> Any:
    """Say which version serves, as plain text."""
    return f"{current_app.config['VERSION']}\n", {"Content-Type": "text/plain", "Cache-Control": "no-store"}


def show_error(error: Exception) -> Any:
    """Show an error as a page of ours; a failure of our own goes to the log in full and to the visitor in one line."""
    if not isinstance(error, HTTPException):
        if current_app.testing or current_app.debug:
            raise error
        log.error("a request failed", exc_info=error)
        error = InternalServerError("Something went wrong on our side. It is in the log.")
    return render_template("error.html", error=error), error.code or 500


def harden(response: Response) -> Response:
    """Allow the page nothing that it does not use."""
    response.headers.setdefault("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
