"""Databases of an account, and the passwords that only AWS knows.

An account whose `account.json` has `{"containers": {"database_image": "<image>"}}` gets a container with PostgreSQL for
each instance of Amazon RDS with the engine postgres. In any other account a database is only written down; the secret
with its password is there in each.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ops.local_server.engine import ServerError
from ops.local_server.server import wait_until_up
from tests.plugins.aws import boxes, vault
from tests.plugins.aws.account import Refused
from tests.plugins.aws.kinds import DATABASE

if TYPE_CHECKING:
    from tests.plugins.aws.account import Account, Json

PORT = 5432
SECONDS_TO_ANSWER = 30.0


def make(account: Account, entry: Json) -> Json:
    """Make a database, and the secret with its password where AWS is to manage that; return where it is."""
    password = str(entry["inputs"].get("password") or vault.password())
    try:
        _keep(account, entry, password)
        return _start(account, entry, password) if _is_real(account, entry) else {}
    except BaseException:
        remove(account, entry)
        raise


def change(account: Account, entry: Json, old_inputs: Json) -> Json:
    """Give a database another password where one is asked for; return where it is."""
    kept, password = entry.get("secret"), entry["inputs"].get("password")
    if secret_of(entry) and not kept:
        password = vault.password()
        set_password(account, entry, password)
        _keep(account, entry, password)
    elif not secret_of(entry) and password and (kept or password != old_inputs.get("password")):
        set_password(account, entry, str(password))
    if kept and not secret_of(entry):
        vault.forget(account, kept)
        entry["secret"] = None
        account.put(DATABASE, entry)
    return _place(account, entry) if entry.get("at") else {}


def remove(account: Account, entry: Json) -> None:
    """Remove a database and its secret; what is gone already is no failure."""
    if entry.get("at"):
        name = boxes.name_of(account, entry["id"])
        boxes.remove(name)
        account.path("containers").joinpath(name).unlink(missing_ok=True)
    if entry.get("secret"):
        vault.forget(account, entry["secret"])


def set_password(account: Account, entry: Json, password: str) -> None:
    """Change the password of the master user in a real database; in one that is written down there is nothing to do."""
    if entry.get("at"):
        _run(boxes.name_of(account, entry["id"]), f"ALTER ROLE {_name(user_of(entry))} PASSWORD {_text(password)};\n")


def secret_of(entry: Json) -> str | None:
    """Return the ARN of the secret with a database's password."""
    for secret in entry["state"].get("masterUserSecrets") or []:
        return str(secret["secretArn"])
    return None


def user_of(entry: Json) -> str:
    """Return the name of the master user."""
    return str(entry["inputs"].get("username") or entry["state"].get("username") or "postgres")


def _is_real(account: Account, entry: Json) -> bool:
    settings = boxes.on(account) or {}
    return bool(settings.get("database_image")) and entry["state"].get("engine") == "postgres"


def _keep(account: Account, entry: Json, password: str) -> None:
    """Keep the secret, where there is to be one."""
    entry["secret"] = secret_of(entry)
    if entry["secret"]:
        vault.keep(account, entry["secret"], {"username": user_of(entry), "password": password})
        account.put(DATABASE, entry)


def _start(account: Account, entry: Json, password: str) -> Json:
    if int(entry["state"]["port"]) != PORT:
        raise Refused(f"the stand-in for the aws plugin: a database in a container listens on {PORT} only")
    entry["at"] = boxes.free(boxes.OF_DATABASES)
    image, user = str((boxes.on(account) or {})["database_image"]), user_of(entry)
    name = boxes.create(account, entry["id"], image, "database", entry["at"])
    boxes.engine().run("start", name)
    wait_until_up(boxes.engine(), name)
    _wait(name)
    # PostgreSQL's own superuser is there; any other role may do less, as on Amazon RDS.
    verb = "ALTER" if user == "postgres" else "CREATE"
    statements = f"{verb} ROLE {_name(user)} LOGIN CREATEDB CREATEROLE PASSWORD {_text(password)};\n"
    database = entry["inputs"].get("dbName")
    if database:
        statements += f"CREATE DATABASE {_name(str(database))} OWNER {_name(user)};\n"
    _run(name, statements)
    return _place(account, entry)


def _place(account: Account, entry: Json) -> Json:
    """Write down where a real database is, and return that: its address and no name, for there is no DNS."""
    outputs = {"address": entry["at"], "endpoint": f"{entry['at']}:{PORT}"}
    entry["state"].update(outputs)
    account.put(DATABASE, entry)
    return outputs


def _wait(name: str) -> None:
    """Wait until a database answers."""
    end = time.monotonic() + SECONDS_TO_ANSWER
    while boxes.engine().run("exec", name, "pg_isready", "-q", check=False).returncode != 0:
        if time.monotonic() > end:
            raise ServerError(f"the database in {name} does not answer after {SECONDS_TO_ANSWER:.0f} s")
        time.sleep(0.1)


def _run(name: str, statements: str) -> None:
    """Run statements of SQL as PostgreSQL's superuser; they may have secrets in them, so they come as its input."""
    words = ("exec", "-i", "--user", "postgres", name, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-")
    boxes.engine().run(*words, stdin=statements.encode())


def _name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
