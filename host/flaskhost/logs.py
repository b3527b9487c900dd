"""Logs where operators look for them: /var/log/<app>, and `journalctl -u <app>`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from flaskhost import files, layout, systemd
from flaskhost.files import link
from flaskhost.owners import WEB, hand_over, restore
from flaskhost.progress import Progress
from flaskhost.shell import succeeds


def journal(app: str) -> str:
    """Return the unit that shows what the slots log under the name of `<app>.service`."""
    return f"{app}-gunicorn-journal.service"


def ensure_journal(app: str, *, changed: bool) -> None:
    """Have that unit running, with the text that it has now."""
    name = journal(app)
    if not systemd.is_enabled(name):
        systemd.systemctl("enable", "--quiet", name)
    if changed or not systemd.is_active(name):
        systemd.systemctl("restart", name)


def ensure_folder(paths: layout.Layout, progress: Progress) -> None:
    """Have /var/log/<app> and shared/logs be one folder.

    Where there is a real folder with logs of the procedure before, it stays where it is, with every line, also those
    that are written now; shared/logs leads there. A folder that is somebody else's, or a second one with logs in it, is
    left alone.
    """
    ours, usual = paths.shared / "logs", paths.at(f"/var/log/{paths.app}")
    if os.path.realpath(usual) == os.path.realpath(ours) and usual.exists():
        return
    if usual.is_symlink() or not usual.exists():
        if not usual.is_symlink():
            link(usual, str(ours))
        else:
            progress.say(f"logs: {usual} is a link to {os.readlink(usual)} and stays so; they are in {ours}")
        return
    if not _of_the_application(paths, usual) or not _empty(ours):
        why = (
            "has an owner of its own" if _empty(ours) else f"is not the only folder with logs, {ours} has some as well"
        )
        progress.say(f"logs: {usual} {why} and stays as it is; new ones are in {ours}")
        return
    with contextlib.suppress(FileNotFoundError):
        ours.rmdir()
    link(ours, str(usual))
    hand_over(paths)
    restore(paths)
    progress.say(f"logs: {usual} was there and stays, {ours} leads to it")


def _of_the_application(paths: layout.Layout, folder: Path) -> bool:
    """Tell whether a folder belongs to an account that the application has run as (deployment-sop.txt, 5, step 3)."""
    owners = [paths.app, paths.user, WEB]
    return folder.stat().st_uid in [
        files.ids(owner, owner)[0] for owner in owners if succeeds(["getent", "passwd", owner])
    ]


def _empty(folder: Path) -> bool:
    return not folder.exists() or not any(folder.iterdir())
