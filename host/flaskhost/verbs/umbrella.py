"""`flaskhost start|reload`: what `<app>.service` does with the active release; systemd itself stops it (PartOf=)."""

from __future__ import annotations

from flaskhost import layout, slots, systemd


def start(app: str) -> None:
    """Have what `active` names started; nothing before the first switch.

    The service of a slot comes after `<app>.service`, which is at work while this runs: waiting for it would be for
    ever. Its socket is there when this returns, so a request waits instead of failing.
    """
    paths = layout.known(app)
    colour = paths.active_slot()
    if colour:
        slots.start(paths, colour)


def reload(app: str) -> None:
    """Have Gunicorn replace its workers gracefully."""
    paths = layout.known(app)
    colour = paths.active_slot()
    if colour:
        systemd.systemctl("reload", "--no-block", layout.service(app, colour))
