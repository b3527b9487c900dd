"""Whose name work is done in: the application's own user, and one that builds for it."""

from __future__ import annotations

from flaskhost import builder
from flaskhost.progress import Progress
from flaskhost.shell import run, succeeds


def number(name: str) -> int:
    """Return the id of a user, 0 where there is no such account."""
    line = run(["getent", "passwd", name], check=False).stdout
    return int(line.split(":")[2]) if line.count(":") >= 6 else 0


def ensure(app: str, home: str, progress: Progress) -> None:
    """Have the application's user and its builder, each with a group of its own.

    The application's has a shell, since operators become it (reference: deployment-sop.txt, section 5, step 3), and
    no password.
    """
    nologin = "/usr/sbin/nologin"
    for name, place, shell in ((app, home, "/bin/bash"), (builder.account(app), builder.home(app), nologin)):
        if not succeeds(["getent", "passwd", name]):
            words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", place, "--shell", shell]
            run([*words, name])
            progress.say(f"account: made {name}")
