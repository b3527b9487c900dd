"""The variables that a release needs, as its `.env.example` says, compared with those that it has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Collection, List

from flaskhost.shell import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from flaskhost.layout import Layout

ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)$")
# What nobody has to put into the stack file: systemd and Gunicorn set it, or flaskhost for them, and settings/rules.py
# refuses it there; and what `flask` is called with, which follows from the entry point and from the mode.
_SET = """
    LISTEN_FDS LISTEN_PID LISTEN_FDNAMES NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC INVOCATION_ID JOURNAL_STREAM
    MAINPID MANAGERPID SYSTEMD_EXEC_PID CREDENTIALS_DIRECTORY RUNTIME_DIRECTORY STATE_DIRECTORY CACHE_DIRECTORY
    LOGS_DIRECTORY CONFIGURATION_DIRECTORY MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE PIDFILE HOME USER LOGNAME SHELL
    PATH PYTHONHOME VIRTUAL_ENV GUNICORN_PID GUNICORN_FD GUNICORN_CMD_ARGS WEB_CONCURRENCY
    FLASK_APP FLASK_ENV FLASK_DEBUG FLASK_RUN_HOST FLASK_RUN_PORT
"""
SET_BY_THE_HOST = frozenset(_SET.split())
# What is better encrypted, by its name.
SECRET = re.compile(r"SECRET|PASSW|TOKEN|KEY|CREDENTIAL|DSN|DATABASE_URL|_URI$|REDIS_URL|BROKER", re.IGNORECASE)


def names(text: str) -> List[str]:
    """Return the names that an example gives a value, in its order; a line in comments is optional."""
    found: List[str] = []
    quote = ""
    for line in text.splitlines():
        if quote:
            # A value of several lines: what looks like a name there is a part of it.
            quote = "" if line.rstrip().endswith(quote) else quote
            continue
        assignment = ASSIGNMENT.match(line)
        if assignment:
            name, value = assignment.groups()
            found.append(name)
            opened = value[:1] in ('"', "'") and value.count(value[0]) == 1
            quote = value[0] if opened else ""
    return list(dict.fromkeys(found))


def compare(paths: Layout, source: Path, file: str, there: Collection[str]) -> None:
    """Compare the example of a release with its environment.

    Args:
        paths: layout of the application.
        source: the release's code.
        file: the example in it, which need not be there.
        there: names of the variables that the release has.

    Raises:
        Failure: some are missing; the message names all of them, and how each is set.
    """
    example = source / file
    if not example.is_file():
        return
    missing = [name for name in names(example.read_text(errors="replace")) if name not in {*there, *SET_BY_THE_HOST}]
    if not missing:
        return
    stack = str(paths.facts["stack"]).rpartition("/")[2]
    commands = [f"  {_setting(name)} --stack {stack}" for name in missing]
    many = "s" if len(missing) > 1 else ""
    what = f"flaskhost:env, flaskhost:secrets: must have each variable of the release's {file}"
    then = f"nothing was started. Set the value{many}, and run `pulumi up` again:"
    last = f"A line of {file} in comments is optional; flaskhost:app.env_example: null compares nothing"
    raise Failure("\n".join([f"{what} (missing: {', '.join(missing)}): {then}", *commands, last]))


def _setting(name: str) -> str:
    if SECRET.search(name):
        return f"./pulumi config set --secret --path flaskhost:secrets.{name}"
    return f"./pulumi config set --path flaskhost:env.{name} VALUE"
