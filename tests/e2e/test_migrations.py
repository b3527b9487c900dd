"""Migrations on real databases with data in the tables: told, recorded, behind the page, dumped, and taken back.

One application, one tag for each step of its schema. Its first change is one that running code cannot live with.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import prepared
from tests.e2e.host import APP, HOME, service, until
from tests.e2e.load import Visitors
from tests.e2e.stack import TREE

if TYPE_CHECKING:
    from pathlib import Path

    from ops.local_server.engine import Engine
    from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EXAMPLE = TREE / "examples/guestbook"
PASSWORD = "it's $ecret\\ 100% ünsafe"
POSTGRESQL = "postgresql+psycopg://shop:it%27s%20%24ecret%5C%20100%25%20%C3%BCnsafe@127.0.0.1:5432/shop"
WORD = "another-9f2b7c"
MYSQL = f"mysql+pymysql://shop:{WORD}@127.0.0.1/shop"
FILE = f"{HOME}/shared/data/shop.db"
SHOP = """
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

VERSION, COLUMN = {version!r}, {column!r}
db = SQLAlchemy()


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    Migrate(app, db, transaction_per_migration=True)

    @app.get("/")
    def index():
        guests = db.session.execute(text(f"SELECT {{COLUMN}} FROM guests ORDER BY id")).scalars().all()
        return f"served by version <strong>{{VERSION}}</strong>: {{', '.join(guests)}}"

    @app.get("/health")
    def health():
        return "ok"

    @app.get("/version")
    def version():
        return VERSION

    return app
"""
STEP = '''"""{title}"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = {revision!r}, {before!r}


def upgrade():
{up}


def downgrade():
{down}
'''
CREATE = """    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(40))]
    guests = op.create_table("guests", *columns)
    op.bulk_insert(guests, [{"name": "Ada"}, {"name": "Grace"}])"""
NOTES = """    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("UPDATE guests SET full_name = 'nobody'")"""
SLOWLY = "    __import__('time').sleep(2)\n"
STEPS = {
    "0001": ("Make the table of guests.", CREATE, "    op.drop_table('guests')"),
    "0002": (
        "Call the column what it holds.",
        f"{SLOWLY}    op.alter_column('guests', 'name', new_column_name='full_name')",
        "    op.alter_column('guests', 'full_name', new_column_name='name')",
    ),
    "0003": ("Add a table of notes.", NOTES, "    op.drop_table('notes')"),
    "0004": ("Break.", "    op.execute('INSERT INTO nowhere VALUES (1)')", "    pass"),
}
VERSIONS = {"v1": ("name", 1), "v2": ("full_name", 2), "v3": ("full_name", 4)}
"""The column that the code of a version reads, and how many steps it has; the last of v3 fails."""
PLAIN_ENV = """
import os

import sqlalchemy
from alembic import context

with sqlalchemy.create_engine(os.environ["DATABASE_URL"]).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
MANAGE = """
import sys
from flask.cli import FlaskGroup
from shop import create_app

sys.exit(FlaskGroup(create_app=create_app)())
"""


def steps(count: int, folder: str) -> dict[str, str]:
    """Return the first scripts, as files of a folder."""
    found, before = {}, None
    for revision, (title, up, down) in itertools.islice(STEPS.items(), count):
        # SQLite renames columns since 3.25, and Alembic's own way there is to copy the table.
        text = STEP.format(title=title, revision=revision, before=before, up=up, down=down)
        found[f"{folder}/versions/{revision}_step.py"] = re.sub(
            r"op.alter_column\('guests', '(\w+)', new_column_name='(\w+)'\)",
            r"op.execute('ALTER TABLE guests RENAME COLUMN \1 TO \2')",
            text,
        )
        before = revision
    return found


def source(version: str) -> dict[str, str]:
    """Return the files of a version."""
    kind, _, number = version.partition("-")
    if kind not in VERSIONS:
        kind, number = number, kind
    column, count = VERSIONS[kind]
    files = {
        "shop.py": SHOP.format(version=version, column=column),
        "wsgi.py": "from shop import create_app\n\napp = create_app()\n",
        "requirements.txt": (EXAMPLE / "requirements.txt").read_text() + "pymysql==1.1.2\n",
    }
    if number == "alembic":
        files |= {"alembic.ini": "[alembic]\nscript_location = %(here)s/db\n", "db/env.py": PLAIN_ENV}
        return {**files, **steps(count, "db")}
    files |= {f"migrations/{name}": (EXAMPLE / "migrations" / name).read_text() for name in ("env.py", "alembic.ini")}
    if number == "manage":
        files["manage.py"] = MANAGE
    return {**files, **steps(count, "migrations")}


@pytest.fixture(scope="module")
def server_image(container_engine: Engine) -> str:
    """Take an image with servers of PostgreSQL and MariaDB on it, which boot with the host."""
    return prepared.ensure(container_engine, more=("postgresql", "mariadb-server", "default-mysql-client"))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a tag for each version."""
    folder = tmp_path_factory.mktemp("repository") / "shop"
    folder.mkdir()
    git(folder, "init", "-q")
    for tag in (*VERSIONS, "alembic-v2", "manage-v2"):
        git(folder, "rm", "-r", "-q", "-f", "--ignore-unmatch", ".")
        for name, text in source(tag).items():
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(text)
        git(folder, "add", "--all")
        git(folder, "commit", "-q", "--no-gpg-sign", "-m", tag)
        git(folder, "tag", "--no-sign", tag)
    return folder


def git(folder: Path, *words: str) -> None:
    """Run git as somebody."""
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def shop(stack: Stack, repository: Path) -> Stack:
    """Return the stack with the first version, deployed on a PostgreSQL server of its own host."""
    stack.configure(
        app={"version": "v1", "source": {"repository": str(repository)}, "static": None},
        env={"DATABASE_URL": None},
    )
    stack.encrypt("secrets.DATABASE_URL", POSTGRESQL)
    # The server comes up without the application: its database is there before, as one that somebody else runs.
    stack.configure(app={"migrate": "none"})
    stack.up()
    role = PASSWORD.replace("'", "''")
    sql(stack, f"CREATE ROLE shop LOGIN PASSWORD '{role}'", database="postgres", user="postgres")
    sql(stack, "CREATE DATABASE shop OWNER shop", database="postgres", user="postgres")
    stack.configure(app={"migrate": "auto"})
    return stack


def sql(shop: Stack, text: str, *, database: str = "shop", user: str = "postgres") -> str:
    """Have PostgreSQL do something, as its administrator on the host; return what it prints."""
    words = f"psql --no-psqlrc --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname={database}"
    return shop.host.run(f"{words} --command={shlex.quote(text)}", user=user)


def revision(shop: Stack) -> str:
    """Return what the database itself says."""
    return sql(shop, "SELECT version_num FROM alembic_version")


def event(shop: Stack, name: str) -> dict[str, Any]:
    """Return the newest event of a name in the log of releases."""
    lines = [json.loads(line) for line in shop.host.run(f"cat {HOME}/releases.log").splitlines()]
    return next(line for line in reversed(lines) if line["event"] == name)


def test_the_first_deploy_tells_the_migrations_with_their_sql(shop: Stack) -> None:
    """What runs is known before it runs, in the log and in the release's folder; what ran is recorded."""
    shop.configure(env={"STAGE": "first"})
    run = shop.up()
    assert "migrations: 1 to run on a database at no revision:" in run.text
    assert "0001  Make the table of guests." in run.text
    assert "CREATE TABLE guests" in run.text
    assert "INSERT INTO guests (name) VALUES ('Ada')" in shop.host.run(f"cat {HOME}/active/config/migrations.sql")
    assert revision(shop) == "0001"
    assert [event(shop, "migrate")[name] for name in ("result", "before", "after")] == ["done", [], ["0001"]]
    assert "Ada, Grace" in shop.site.get("/").text
    for text in (run.text, shop.host.run(f"cat {HOME}/releases.log")):
        assert PASSWORD not in text
        assert POSTGRESQL not in text


def test_behind_the_page_a_column_is_renamed_and_nobody_meets_an_error(shop: Stack) -> None:
    """Under load: the old version, then 503 with the page, then the new version; a dump was taken before."""
    shop.configure(app={"maintenance": True, "backup_before_migrate": True, "migrate_timeout": 120})
    with Visitors(shop.site.https_port) as visitors:
        shop.configure(app={"version": "v2"})
        running = shop.begin_up()
        shop.host.wait_for(f"test -e {HOME}/maintenance.html")
        page = shop.site.get("/")
        standing = shop.host.status()["maintenance"]
        done = running.wait()
    assert done.succeeded, done
    assert page.status == 503
    assert page.headers["retry-after"] == "30"
    assert "Back in a moment" in page.text
    assert standing["since"]
    ordered = sorted(visitors.visits, key=lambda visit: visit.sent)
    assert {visit.status for visit in ordered} == {200, 503}
    assert (ordered[0].status, ordered[-1].status) == (200, 200)
    assert visitors.versions == ["v1", "v2"]
    assert "v2</strong>: Ada, Grace" in shop.site.get("/").text
    assert (revision(shop), shop.host.status()["maintenance"]) == ("0002", None)
    record = event(shop, "migrate")
    assert [record[name] for name in ("before", "after")] == [["0001"], ["0002"]]
    assert shop.host.run(f"stat -c '%U:%G %a' {HOME}/backups {record['dump']}").split("\n") == [
        f"root:{APP} 750",
        f"root:{APP} 640",
    ]


def test_the_way_back_can_be_refused(shop: Stack) -> None:
    """The older version does not have the database's revision: nothing changes, and the message says what to do."""
    shop.configure(app={"version": "v1", "way_back": "refuse"})
    with Visitors(shop.site.https_port) as visitors:
        refused = shop.up(check=False)
    assert not refused.succeeded
    assert "flaskhost:app.way_back: is refuse, and the database is at 0002, which v2" in refused.text
    assert visitors.failed == []
    assert (shop.site.version(), revision(shop)) == ("v2", "0002")


def test_the_way_back_can_take_the_database_along(shop: Stack) -> None:
    """The newer version's scripts bring the schema back, behind the page, with the data; then forward again."""
    shop.configure(app={"version": "v1", "way_back": "downgrade"})
    with Visitors(shop.site.https_port) as visitors:
        done = shop.up()
    assert "migrations: flask db downgrade 0001" in done.text
    assert {visit.status for visit in visitors.visits} <= {200, 503}
    assert visitors.versions == ["v2", "v1"]
    assert (revision(shop), shop.host.status()["maintenance"]) == ("0001", None)
    assert "v1</strong>: Ada, Grace" in shop.site.get("/").text
    shop.deploy("v2")
    assert (revision(shop), shop.site.version()) == ("0002", "v2")


def test_a_migration_that_fails_half_way_is_undone_by_the_command_in_its_message(shop: Stack) -> None:
    """Tool's error, revision and restore command are in the message; typed, it brings data and site back."""
    shop.configure(app={"version": "v3"})
    failed = shop.up(check=False)
    assert not failed.succeeded
    assert 'relation "nowhere" does not exist' in failed.text
    assert "the database is now at 0003, it was at 0002 before" in failed.text
    assert f"sudo flaskhost maintenance --end {APP}" in failed.text
    assert shop.site.get("/").status == 503
    assert sql(shop, "SELECT full_name FROM guests LIMIT 1") == "nobody"
    command = re.search(rf"to put it back: sudo (flaskhost restore {APP} \S+)", failed.text)
    assert command, failed
    shop.host.run(command[1])
    assert "v2</strong>: Ada, Grace" in shop.site.get("/").text
    assert (revision(shop), sql(shop, "SELECT to_regclass('notes')")) == ("0002", "")
    assert shop.host.status()["maintenance"] is None
    shop.deploy("v2")


HOLD = "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(300)"


def hold(shop: Stack, table: str) -> None:
    """Have somebody else hold a table, so that whoever needs it waits."""
    command = f"setsid psql --dbname=shop --command={shlex.quote(HOLD.format(table=table))} > /dev/null 2>&1 &"
    shop.host.run(command, user="postgres")
    holding = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    until(lambda: sql(shop, holding) != "0", "the table is held")


def let_go(shop: Stack) -> None:
    """End who holds a table."""
    sql(shop, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'")


def test_a_kill_before_the_migration_brings_the_old_release_back_by_itself(shop: Stack) -> None:
    """The verb dies while the dump waits for a table: nothing has changed, so the page goes without anybody's help."""
    host = shop.host
    hold(shop, "guests")
    shop.configure(app={"version": "v1"}, env={"STAGE": "killed"})
    running = shop.begin_up()
    host.wait_for(f"test -e {HOME}/maintenance.html && pgrep -x pg_dump")
    host.run(f"systemctl kill --signal KILL flaskhost-{APP}-release.service")
    assert not running.wait().succeeded
    let_go(shop)
    until(lambda: shop.site.get("/health").status == 200, "the old release serves")
    assert (shop.site.version(), revision(shop), host.status()["maintenance"]) == ("v2", "0002", None)


def test_a_power_failure_before_the_migration_does_as_well(shop: Stack) -> None:
    """The umbrella unit starts the old release at boot and takes the page away."""
    host = shop.host
    hold(shop, "guests")
    running = shop.begin_up()
    host.wait_for(f"test -e {HOME}/maintenance.html && pgrep -x pg_dump")
    host.lose_power()
    running.kill()
    shop.cancel()
    host.boot()
    until(lambda: shop.site.get("/health").status == 200, "the old release serves")
    assert (shop.site.version(), host.status()["maintenance"]) == ("v2", None)


def test_a_kill_within_the_migration_leaves_the_page_and_the_next_up_goes_on(shop: Stack) -> None:
    """Nobody can say what has changed by then: the page stands until the next `up`, which waits for what still runs."""
    host = shop.host
    shop.configure(app={"backup_before_migrate": False})
    hold(shop, "guests")
    running = shop.begin_up()
    host.wait_for(f"systemctl is-active -q flaskhost-{APP}-migrate.service")
    host.run(f"systemctl kill --signal KILL flaskhost-{APP}-release.service")
    assert not running.wait().succeeded
    assert shop.site.get("/").status == 503
    let_go(shop)
    shop.up()
    assert (shop.site.version(), revision(shop), host.status()["maintenance"]) == ("v1", "0001", None)


def test_a_database_that_goes_away_within_the_migration_is_told_and_the_next_up_goes_on(shop: Stack) -> None:
    """Where it is cannot be told then, so the page stands; the way on is the same as after any failed migration."""
    host = shop.host
    hold(shop, "guests")
    shop.configure(app={"version": "v2", "maintenance": True, "backup_before_migrate": False})
    running = shop.begin_up()
    host.wait_for(f"systemctl is-active -q flaskhost-{APP}-migrate.service && test -e {HOME}/maintenance.html")
    until(lambda: sql(shop, "SELECT count(*) FROM pg_locks WHERE NOT granted") != "0", "the migration waits")
    host.run("systemctl kill --signal KILL 'postgresql@*.service' && systemctl stop 'postgresql@*.service'")
    gone = running.wait()
    host.run("systemctl start postgresql")
    assert not gone.succeeded
    assert "psycopg.OperationalError" in gone.text
    assert "in which revision the database is now could not be told" in gone.text
    shop.up()
    assert (shop.site.version(), revision(shop), host.status()["maintenance"]) == ("v2", "0002", None)


def test_keep_serves_older_code_on_the_newer_schema(shop: Stack) -> None:
    """What was so before these settings, and still is when nothing is said: no page, no question, the schema stays."""
    shop.configure(app={"maintenance": None, "way_back": None})
    with Visitors(shop.site.https_port) as visitors:
        shop.configure(app={"version": "v1"})
        back = shop.up()
    assert "migrations:" not in back.text
    assert 503 not in {visit.status for visit in visitors.visits}
    assert (shop.site.version(), revision(shop)) == ("v1", "0002")


@pytest.mark.parametrize(
    ("version", "migrate", "command"),
    [
        ("alembic-v2", "auto", "alembic upgrade head"),
        ("manage-v2", "python manage.py db upgrade", "python manage.py db upgrade"),
    ],
)
def test_other_tools_are_asked_and_run_as_well(shop: Stack, version: str, migrate: str, command: str) -> None:
    """Plain Alembic is found by itself, manage.py is named; both tell what they will do."""
    sql(shop, "DROP TABLE guests, alembic_version")
    # Where nothing is pending a release costs one look; so each begins with an empty database.
    run = shop.deploy(version, app={"migrate": migrate})
    assert "migrations: 2 to run on a database at no revision:" in run.text
    assert f"migrations: {command}" in run.text
    assert (shop.site.version(), revision(shop)) == (version, "0002")
    assert event(shop, "migrate")["after"] == ["0002"]


@pytest.mark.parametrize(
    ("url", "error", "end"),
    [
        (MYSQL, "Table 'shop.nowhere' doesn't exist", "sql.gz"),
        (f"sqlite:///{FILE}", "no such table: nowhere", "sqlite"),
    ],
    ids=["MariaDB", "SQLite"],
)
def test_databases_without_transactions_for_tables_are_restored_as_well(
    shop: Stack, url: str, error: str, end: str
) -> None:
    """A failed migration leaves half of it behind there; the dump brings all back, by the command in the message."""
    mysql = "mysql --execute"
    for text in ("CREATE DATABASE IF NOT EXISTS shop", f"GRANT ALL ON shop.* TO shop@127.0.0.1 IDENTIFIED BY '{WORD}'"):
        shop.host.run(f"{mysql} {shlex.quote(text)}")
    shop.encrypt("secrets.DATABASE_URL", url)
    shop.configure(app={"migrate": "auto", "maintenance": True, "backup_before_migrate": True, "way_back": "keep"})
    shop.deploy("v2")
    shop.configure(app={"version": "v3"})
    failed = shop.up(check=False)
    assert error in failed.text
    assert "the database is now at 0003, it was at 0002 before" in failed.text
    assert WORD not in failed.text
    assert shop.site.get("/").status == 503
    command = re.search(rf"to put it back: sudo (flaskhost restore {APP} \S+\.{end})", failed.text)
    assert command, failed
    told = shop.host.run(command[1])
    assert "the database is that of" in told
    assert "v2</strong>: Ada, Grace" in shop.site.get("/").text
    assert shop.host.unit(service(shop.host.slot()), "ActiveState")["ActiveState"] == "active"
    assert ".login.cnf" not in shop.host.run(f"ls -A {HOME}/backups")
