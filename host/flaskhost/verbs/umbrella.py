"""`flaskhost start|reload|repair`: what `<app>.service` does with the active release; PartOf= is what stops it."""

from __future__ import annotations

from flaskhost import layout, maintenance, owners, processes, slots, systemd, tcp
from flaskhost.shell import Failure


def start(app: str) -> None:
    """Have what `active` names started; nothing before the first switch.

    The service of a slot comes after `<app>.service`, which is at work while this runs: waiting for it would be for
    ever. Its socket is there when this returns, so a request waits instead of failing.
    """
    paths = layout.known(app)
    try:
        different = owners.restore(paths)
    except (Failure, OSError, LookupError) as error:
        # A full disk, or one that can only be read: the application may run all the same.
        print(f"owners, modes and links could not be put back: {type(error).__name__}: {error}")
    else:
        if different:
            print(f"owners, modes and links were different and are put back: {' '.join(different)}")
    colour = paths.active_slot()
    if not maintenance.at_start(paths):
        print(f"nothing is started: the maintenance page stands (`flaskhost status {app}` says since when)")
    elif colour:
        slots.start(paths, colour)
        processes.start(paths, colour)
    if paths.facts.get("tcp_port"):
        # A port that somebody else has taken meanwhile is no reason to let visitors of the site wait.
        said = systemd.systemctl("start", tcp.unit(app, "socket"), check=False)
        print(said.rstrip()) if said.strip() else None


def reload(app: str) -> None:
    """Have Gunicorn replace its workers gracefully."""
    paths = layout.known(app)
    colour = paths.active_slot()
    if colour:
        systemd.systemctl("reload", "--no-block", layout.service(app, colour))


def repair(app: str) -> None:
    """Put owners, modes and links back, as after `chown -R` and `chmod -R` by hand."""
    different = owners.restore(layout.known(app))
    print("\n".join(f"put back: {path}" for path in different) or "owners, modes and links are as they have to be")
