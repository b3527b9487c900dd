"""A guestbook: people leave a message, with a picture if they like."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from guestbook import config, views
from guestbook.assets import fingerprint
from guestbook.extensions import csrf, db, migrate

if TYPE_CHECKING:
    from collections.abc import Mapping

__version__ = "1.0.0"


def create_app(environment: Mapping[str, str] | None = None) -> Flask:
    """Make the application from the environment (default: that of the process)."""
    app = Flask(__name__)
    app.config.update(config.read(environment, instance=app.instance_path), VERSION=__version__)
    logging.basicConfig(
        stream=sys.stdout, level=app.config["LOG_LEVEL"], format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )

    db.init_app(app)
    migrate.init_app(app, db, directory=config.MIGRATIONS, render_as_batch=True)
    csrf.init_app(app)
    app.url_defaults(fingerprint(app))
    app.register_blueprint(views.pages)
    app.register_error_handler(Exception, views.show_error)
    app.after_request(views.harden)

    # Exactly one proxy stands before the application: its word is taken for the visitor's address, scheme and host.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)
    return app
