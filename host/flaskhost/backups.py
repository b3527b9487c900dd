"""Dumps of an application's database, taken before its migrations run, and the way back from one.

Each program works in the application's name, and never gets a password on its command line. Who can read the dump can
read the database: root and the application's group.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from flaskhost import envfile, files, releases
from flaskhost.files import directory, remove, settle
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure

NAMES = ("DATABASE_URL", "SQLALCHEMY_DATABASE_URI")
# The end of a dump's name says what it is of.
ENDS = {"postgresql": "dump", "mysql": "sql.gz", "sqlite": "sqlite"}
KINDS = {"postgres": "postgresql", "mariadb": "mysql"}
DUMP = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-.+-[0-9a-f]{8}\.(?:dump|sql\.gz|sqlite)")
# What of a URL's query libpq understands; the rest is for the driver of Python
# (https://www.postgresql.org/docs/current/libpq-connect.html, "Parameter Key Words").
LIBPQ = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "options")
DUMP_SECONDS = 3600
LOGIN = ".login.cnf"
# Both run as the application. An open transaction in the source is left out; the copy needs no journal of its own,
# for which there would be no right to make a file.
SQLITE_DUMP = """
import sqlite3, sys
source, copy = sqlite3.connect(sys.argv[1], timeout=60), sqlite3.connect(sys.argv[2])
copy.execute("PRAGMA journal_mode = OFF")
source.backup(copy)
"""
SQLITE_RESTORE = """
import sqlite3, sys
dump, live = sqlite3.connect(f"file:{sys.argv[2]}?immutable=1", uri=True), sqlite3.connect(sys.argv[1], timeout=60)
dump.backup(live)
"""
# What the role has made since the dump would be in the way of migrations that make it again. In one transaction with
# the restore, so that a failed one changes nothing. What belongs to an extension stays, as the extension does.
POSTGRESQL_CLEAR = """
DO $clear$
DECLARE one record;
BEGIN
  FOR one IN
    SELECT format('%s %I.%I', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
      WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END,
      n.nspname, c.relname) AS what
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND c.relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('%s %I.%I', CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, n.nspname, t.typname)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND t.typowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('ROUTINE %s', p.oid::regprocedure)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND p.proowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
  LOOP
    EXECUTE 'DROP ' || regexp_replace(one.what, '^([A-Z ]+) ', '\\1 IF EXISTS ') || ' CASCADE';
  END LOOP;
END $clear$;
"""


class Database(NamedTuple):
    """Where a database is: `kind` is a key of ENDS, `name` the path of the file for SQLite."""

    kind: str
    name: str
    host: str = ""
    port: Optional[int] = None
    user: str = ""
    password: str = ""
    options: Sequence[Tuple[str, str]] = ()


def database(environment: Dict[str, str]) -> Database:
    """Return the database that an environment names, as SQLAlchemy reads the URL.

    Raises:
        Failure: it names none that can be dumped.
    """
    name = next((name for name in NAMES if environment.get(name)), None)
    wanted = f"{' or '.join(NAMES)} of the environment must be postgresql://…, mysql://… or sqlite:////… for a dump"
    if name is None:
        raise Failure(f"{wanted}: it names no database")
    try:
        url = urlsplit(environment[name])
        port = url.port
    except ValueError:
        raise Failure(f"{wanted}: {name} is no URL") from None
    # The driver, as in postgresql+psycopg, is Python's business.
    scheme = url.scheme.partition("+")[0]
    kind = KINDS.get(scheme, scheme)
    # The third slash of sqlite:////srv/shop.db ends the place of a host.
    database = unquote(url.path[1:])
    if kind not in ENDS or not database or (kind == "sqlite" and not database.startswith("/")):
        raise Failure(f"{wanted}: {name} is {scheme}://, or has no (absolute) path")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    return Database(kind, database, url.hostname or "", port, user, password, parse_qsl(url.query))


def make(paths: Layout, release: releases.Release, keep: int, progress: Progress) -> Path:
    """Take a dump before a release's migrations run; return its path. The newest `keep` stay.

    Raises:
        Failure: it could not be taken; the message holds what the program said.
    """
    found = database(_environment(paths, release))
    at = paths.backups
    directory(at, mode=0o750, group=paths.app)
    version = re.sub(r"[^A-Za-z0-9._-]", "-", str(release.facts.get("version")))[:60]
    path = at / f"{releases.stamp()}-{version}-{release.digest[:8]}.{ENDS[found.kind]}"
    new = at / f".{path.name}.new"
    progress.say(f"backup: {found.kind}")
    for old in at.glob(".*"):
        remove(old)
    try:
        _dump(paths, found, new)
        os.chown(new, *files.ids("root", paths.app))
        new.chmod(0o640)
        settle(new)
        new.rename(path)
    finally:
        remove(at / LOGIN)
        remove(new)
    progress.say(f"backup: {path}, {path.stat().st_size} bytes")
    for old in dumps(paths)[keep:]:
        remove(old)
    return path


def dumps(paths: Layout) -> List[Path]:
    """Return the dumps, newest first."""
    at = paths.backups
    return sorted((path for path in at.glob("*") if DUMP.fullmatch(path.name)), reverse=True) if at.is_dir() else []


def restore(paths: Layout, release: releases.Release, name: str, progress: Progress) -> None:
    """Make the database what it was when a dump was taken; nothing may use it meanwhile.

    Args:
        paths: layout of the application.
        release: whose environment names the database.
        name: of the dump, or its path.
        progress: told.

    Raises:
        Failure: it is no dump of that database, or the program failed; the message holds what it said.
    """
    path = chosen(paths, name)
    found = database(_environment(paths, release))
    if not path.name.endswith(f".{ENDS[found.kind]}"):
        raise Failure(f"{path.name} is no dump of {found.kind}://, which is the application's database now")
    progress.say(f"restore: {path} into {found.kind}")
    try:
        if found.kind == "sqlite":
            _as_application(paths, "the restore", [*_python(SQLITE_RESTORE), found.name, str(path)], {})
        elif found.kind == "postgresql":
            _restore_postgresql(paths, found, path)
        else:
            _restore_mysql(paths, found, path)
    finally:
        remove(paths.backups / LOGIN)


def chosen(paths: Layout, name: str) -> Path:
    """Return the dump of that name or path.

    Raises:
        Failure: there is none; the message lists those that there are.
    """
    path = paths.backups / Path(name).name
    if path not in dumps(paths) or ("/" in name and Path(name).resolve() != path.resolve()):
        there = "".join(f"\n{one.name}" for one in dumps(paths))
        raise Failure(f"{name!r} is no dump in {paths.backups}, where there are:{there or ' none'}")
    return path


def _environment(paths: Layout, release: releases.Release) -> Dict[str, str]:
    return envfile.parse((paths.config(release.digest) / "env").read_text())


def _dump(paths: Layout, found: Database, new: Path) -> None:
    owner = paths.user if found.kind == "sqlite" else "root"
    with open(new, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        os.fchown(file.fileno(), *files.ids(owner, paths.app))
        if found.kind == "sqlite":
            _as_application(paths, "the dump", [*_python(SQLITE_DUMP), found.name, str(new)], {})
        elif found.kind == "postgresql":
            words = ["pg_dump", "--format=custom", "--no-password", f"--dbname={_libpq(found)}"]
            _as_application(paths, "pg_dump", words, {"PGPASSWORD": found.password}, file.fileno())
        else:
            words = ["mysqldump", _login(paths, found), "--single-transaction", "--quick", "--routines", "--triggers"]
            words += ["--no-tablespaces", "--add-drop-database", "--databases", found.name]
            # bash, for pipefail: half a dump is none.
            script = 'set -o pipefail; "$@" | gzip'
            _as_application(paths, "mysqldump", ["bash", "-c", script, "bash", *words], {}, file.fileno())
        file.flush()
        os.fsync(file.fileno())


def _restore_postgresql(paths: Layout, found: Database, path: Path) -> None:
    # An extension and a schema are the administrator's; the application could not make them again.
    script = (
        'set -o pipefail; list=$(pg_restore --list "$1" | grep -vE "^[0-9]+; [0-9]+ [0-9]+ (SCHEMA|EXTENSION|COMMENT - '
        'EXTENSION) ") && pg_restore --no-owner --use-list=<(printf "%s\\n" "$list") --file=- "$1" | '
        "psql --no-psqlrc --quiet --no-password --set=ON_ERROR_STOP=1 --single-transaction --output=/dev/null "
        '--dbname="$2" --command="$3" --file=-'
    )
    words = ["bash", "-c", script, "bash", str(path), _libpq(found), POSTGRESQL_CLEAR]
    variables = {"PGPASSWORD": found.password, "PGOPTIONS": "--client-min-messages=warning"}
    _as_application(paths, "pg_restore", words, variables)


def _restore_mysql(paths: Layout, found: Database, path: Path) -> None:
    script = 'set -o pipefail; file=$1; shift; gunzip --stdout "$file" | "$@"'
    words = ["bash", "-c", script, "bash", str(path), "mysql", _login(paths, found)]
    _as_application(paths, "mysql", words, {})


def _libpq(found: Database) -> str:
    """Return the place of a PostgreSQL database as libpq takes it, without the password."""
    said = dict(found.options)
    options = {"host": found.host, "port": str(found.port or ""), "user": found.user, "dbname": found.name}
    options.update({name: said[name] for name in LIBPQ if said.get(name)})
    # A connection string, not a URL: a host may be a folder.
    values = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in options.items() if value}
    return " ".join(f"{name}='{value}'" for name, value in values.items())


def _login(paths: Layout, found: Database) -> str:
    """Write what MySQL's programs log in with where they read it, and return the option; it must come first."""
    said = dict(found.options)
    options = {"user": found.user, "password": found.password, "host": found.host, "port": str(found.port or "")}
    options["socket"] = said.get("unix_socket", "")
    lines = [f"{name}={_quoted(value)}\n" for name, value in options.items() if value]
    path = paths.backups / LOGIN
    remove(path)
    with open(path, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
        os.fchown(file.fileno(), *files.ids("root", paths.app))
        os.fchmod(file.fileno(), 0o640)
        file.write("".join(["[client]\n", *lines]))
    return f"--defaults-extra-file={path}"


def _quoted(value: str) -> str:
    """Return a value as an option file has it (MySQL's manual, "Using Option Files")."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _python(script: str) -> List[str]:
    return [sys.executable, "-I", "-c", script]


def _as_application(
    paths: Layout, what: str, words: Sequence[str], variables: Dict[str, str], to: Optional[int] = None
) -> None:
    """Run words as the application; what they print goes to a descriptor, or into the message of a failure.

    Raises:
        Failure: a status other than 0, or out of time.
    """
    group = () if paths.user == paths.app else ("--supp-group", paths.app)
    called = ["runuser", "-u", paths.user, *group, "--", *words]
    # HOME: where libpq looks for certificates.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(paths.home), **variables}
    try:
        done = subprocess.run(
            called,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if to is None else to,
            stderr=subprocess.PIPE,
            timeout=DUMP_SECONDS,
            check=False,
            cwd="/",
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{what} did not end within {DUMP_SECONDS} s") from None
    if done.returncode:
        said = ((done.stdout or b"") + done.stderr).decode("utf-8", "replace").strip()
        raise Failure(f"{what} ended with status {done.returncode}:\n{said}")
