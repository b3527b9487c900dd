"""Whose name work is done in: the application's own user, and one that builds for it."""

from __future__ import annotations

from typing import List

from flaskhost import builder
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run, succeeds
from flaskhost.takeover import OURS

# The first number of accounts that are not the system's (login.defs(5), UID_MIN).
FIRST_PERSON = 1000
# Nginx's account, which `app.user` may name.
WEB = "www-data"
# The fields in a line of passwd(5).
FIELDS = 7
_NUMBER, _COMMENT, _HOME = 2, 4, 5


def number(name: str) -> int:
    """Return the id of a user, 0 where there is no such account."""
    found = _fields(name)
    return int(found[_NUMBER]) if found else 0


def is_ours(name: str) -> bool:
    """Tell whether flaskhost has made an account.

    Its comment says so from the moment that it is there, and still does when it has outlived `destroy` with its files.
    """
    found = _fields(name)
    return bool(found) and found[_COMMENT] == OURS


def refuse_person(app: str) -> None:
    """Refuse to run an application as a person.

    Raises:
        Failure: an account of the application's name is no system account, and not of flaskhost's making.
    """
    if number(app) >= FIRST_PERSON and not is_ours(app):
        raise Failure(
            f"flaskhost:app.name: must not be the account of a person, and {app!r} has number {number(app)} on this "
            f"host (system accounts have less than {FIRST_PERSON}): choose another app.name. Nothing was changed"
        )


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
            more = ("--no-create-home", "--home-dir", place, "--shell", shell, "--comment", OURS)
            run(["useradd", "--system", *group, *more, name])
            progress.say(f"account: made {name}")
    _home(app, home, progress)
    if not _is_member(user, builder.account(app)):
        run(["usermod", "--append", "--groups", builder.account(app), user])


def leave(app: str, user: str) -> None:
    """Have Nginx's account read nothing that the builder has built, once the application does not run as it any more.

    Args:
        app: name of the application.
        user: whom it runs as now.
    """
    group = builder.account(app)
    if user != WEB and _is_member(WEB, group):
        run(["gpasswd", "--delete", WEB, group])


def _home(app: str, home: str, progress: Progress) -> None:
    """Have the home of an account that another procedure has made where the application is."""
    found = _fields(app)
    if found and found[_HOME] != home:
        # With processes of it at work, usermod(8) refuses; then its files are found all the same.
        done = run(["usermod", "--home", home, app], check=False)
        progress.say(f"account: home of {app} is {home}" if not done.returncode else f"account: {done.stdout.strip()}")


def _is_member(name: str, group: str) -> bool:
    return group in run(["id", "-nG", name], check=False).stdout.split()


def _fields(name: str) -> List[str]:
    """Return the line of an account in passwd(5), none where there is no such account."""
    found = run(["getent", "passwd", name], check=False).stdout.strip().split(":")
    return found if len(found) == FIELDS else []
