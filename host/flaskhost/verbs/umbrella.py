"""`flaskhost start|stop|reload`: what `<app>.service` does with the active release."""

from __future__ import annotations

from flaskhost import layout, slots, systemd


def start(app: str) -> None:
    """Start what `active` names; nothing before the first switch."""
    paths = layout.known(app)
    colour = paths.active_slot()
    if colour:
        slots.start(paths, colour, wait=True)


def stop(app: str) -> None:
    """Stop both slots, a staged one as well."""
    paths = layout.known(app)
    for colour in layout.SLOTS:
        slots.stop(paths, colour)


def reload(app: str) -> None:
    """Have Gunicorn replace its workers gracefully."""
    paths = layout.known(app)
    colour = paths.active_slot()
    if colour:
        systemd.systemctl("reload", layout.service(app, colour))
