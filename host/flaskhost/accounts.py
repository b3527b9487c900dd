"""Whose name work is done in: the application's own user, and one that builds for it."""

from __future__ import annotations

from flaskhost import builder
from flaskhost.progress import Progress
from flaskhost.shell import run, succeeds

# The first number of accounts that are not the system's (login.defs(5), UID_MIN).
FIRST_PERSON = 1000
# Of the fields in a line of passwd(5).
_HOME = 5


def number(name: str) -> int:
    """Return the id of a user, 0 where there is no such account."""
    line = run(["getent", "passwd", name], check=False).stdout
    return int(line.split(":")[2]) if line.count(":") >= 6 else 0


def ensure(app: str, user: str, home: str, progress: Progress) -> None:
    """Have the application's user and its builder, each with a group of its own.

    The application's has a shell, since operators become it (reference: deployment-sop.txt, section 5, step 3), and
    no password.

    Args:
        app: name of the application and of its account.
        user: whom it runs as, who reads what the builder has built.
        home: the application's folder.
        progress: told what was made.
    """
    nologin = "/usr/sbin/nologin"
    for name, place, shell in ((app, home, "/bin/bash"), (builder.account(app), builder.home(app), nologin)):
        if not succeeds(["getent", "passwd", name]):
            # A group of that name may be left over, and useradd(8) makes no user beside it unless it is named.
            group = ("--gid", name) if succeeds(["getent", "group", name]) else ("--user-group",)
            run(["useradd", "--system", *group, "--no-create-home", "--home-dir", place, "--shell", shell, name])
            progress.say(f"account: made {name}")
    _home(app, home, progress)
    if builder.account(app) not in run(["id", "-nG", user], check=False).stdout.split():
        run(["usermod", "--append", "--groups", builder.account(app), user])


def _home(app: str, home: str, progress: Progress) -> None:
    """Have the home of an account that another procedure has made where the application is; not that of a person."""
    words = run(["getent", "passwd", app], check=False).stdout.strip().split(":")
    if len(words) > _HOME and words[_HOME] != home and int(words[2]) < FIRST_PERSON:
        # With processes of it at work, usermod(8) refuses; then its files are found all the same.
        done = run(["usermod", "--home", home, app], check=False)
        progress.say(f"account: home of {app} is {home}" if not done.returncode else f"account: {done.stdout.strip()}")
