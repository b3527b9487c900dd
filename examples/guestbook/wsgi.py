"""The entry point: `gunicorn wsgi:app`, `flask --app wsgi run`."""

from guestbook import create_app

app = create_app()
