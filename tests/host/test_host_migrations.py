"""Migrations of a release on a scratch server: what is told, run and recorded, the page, the dump and the way back."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import backups, document, layout, maintenance, migrations, releases
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import restore, stage, status, umbrella

from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

OLD, NEW = ("0001",), ("0001", "0002")


def deploy(server: Server, revisions: tuple[str, ...], *, until: str = "switch", **changes: Any) -> str:
    """Take a release with these revisions, each after the one before, as far as a step; return its digest."""
    files = {"migrations/env.py": "", "migrations/alembic.ini": "[alembic]\n"}
    for before, revision in zip((None, *revisions), revisions, strict=False):
        text = f'"""Step {revision}."""\nrevision = {revision!r}\ndown_revision = {before!r}\n'
        files[f"migrations/versions/{revision}.py"] = text
    source = server.code("".join(revisions), **files)
    plan = scenario.plan(source, **changes)
    for step in ("environment", "prepare", "stage", "switch"):
        server.do(getattr(plan, step), **({"archive": str(source.archive)} if step == "prepare" else {}))
        if step == until:
            break
    return plan.release


@pytest.fixture
def served(ready: Server) -> Server:
    """Return a server that serves a release with one revision, in blue."""
    # All of these releases are healthy: on a busy machine it only takes longer.
    ready.patience_seconds = 20
    ready.set("database")
    deploy(ready, OLD)
    ready.calls()
    ready.said.truncate(0)
    return ready


def flask(server: Server) -> list[str]:
    """Return how `flask` was called since this was asked last."""
    return [call for call in server.calls() if call.startswith("flask ")]


def at(server: Server) -> str:
    """Return the revision of the database."""
    return (server.fakes / "database").read_text().strip()


def page(server: Server) -> Path:
    """Return where the maintenance page stands."""
    return server.paths.home / "maintenance.html"


def events(server: Server, name: str) -> list[dict[str, Any]]:
    """Return the events of a name in the log of releases."""
    lines = [json.loads(line) for line in server.paths.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


def test_prepare_tells_what_will_run_and_writes_its_sql(served: Server) -> None:
    """Promise: a reviewer reads revisions, titles and SQL before anything has changed."""
    digest = deploy(served, NEW, until="prepare")
    said = served.said.getvalue()
    assert "migrations: 1 to run on a database at 0001:" in said
    assert "0002  Step 0002." in said
    assert "ALTER TABLE of 0001:0002;" in said
    assert (served.paths.config(digest) / "migrations.sql").read_text() == "ALTER TABLE of 0001:0002;\n"
    assert at(served) == "0001"


def test_revisions_before_and_after_are_recorded(served: Server) -> None:
    """Promise: of each release one knows what it has done to the database."""
    digest = deploy(served, NEW)
    facts = releases.read(served.paths, digest).facts
    assert (facts["revision_before"], facts["revision"]) == (["0001"], ["0002"])
    event = events(served, "migrate")[-1]
    assert {name: event[name] for name in ("result", "before", "after", "dump")} == {
        "result": "done",
        "before": ["0001"],
        "after": ["0002"],
        "dump": None,
    }


def test_a_release_without_migrations_costs_one_start_of_the_tool(served: Server) -> None:
    """Promise: `stage` takes the look of `prepare`; a release that has migrated asks nothing at all."""
    deploy(served, OLD, env__TITLE="other")
    assert flask(served) == ["flask db current"]
    deploy(served, OLD, env__TITLE="other")
    assert flask(served) == []


def test_an_old_look_is_not_believed(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what somebody else has done to the database since is seen."""
    deploy(served, NEW, until="prepare")
    monkeypatch.setattr("flaskhost.migrations.FRESH_SECONDS", -1)
    served.set("database", "0002")
    served.calls()
    deploy(served, NEW)
    assert flask(served) == ["flask db current"]


def test_a_look_that_fails_does_not_fail_prepare(served: Server) -> None:
    """Promise: a database that is away costs the new release, at `stage`, with the tool's own words."""
    served.set("loading-fails")
    deploy(served, NEW, until="prepare")
    assert "the database could not be asked yet" in served.said.getvalue()
    with pytest.raises(Failure, match=r"(?s)migrations failed: .*`flask db upgrade` ended with status 1.*ImportError"):
        deploy(served, NEW)
    assert served.paths.active_slot() == "blue"


@pytest.mark.parametrize(
    ("reached", "told"),
    [
        ("0001", "0001, as before"),
        ("0000", "0000, which those scripts do not have, it was at 0001"),
        ("", "no revision, it was at 0001"),
    ],
)
def test_a_failed_migration_says_where_the_database_is(served: Server, reached: str, told: str) -> None:
    """Promise: asked afresh, not guessed from what was planned."""
    served.set("upgrade-fails", reached)
    with pytest.raises(Failure, match=rf"(?s)table is on fire.*{told}.*was not started, v1.0.0 .* serves as before"):
        deploy(served, NEW)
    assert events(served, "migrate")[-1]["result"] == "failed"
    assert "guestbook-gunicorn@green.service" not in served.active()


def test_a_tool_that_forgets_to_commit_is_found_out(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: success is what the database says, not what the tool ends with."""
    monkeypatch.setattr("flaskhost.tools.UPGRADE", "upgrade")
    deploy(served, NEW, until="prepare")
    program = served.paths.home / "venvs" / releases.every(served.paths)[-1].facts["venv"] / "bin/flask"
    program.write_text('#!/bin/sh\n[ "$2" = current ] && echo 0001\nexit 0\n')
    with pytest.raises(Failure, match=r"(?s)the database does not have all of them.*now at 0001, as before"):
        deploy(served, NEW)


def test_nobody_sees_the_page_unless_the_stack_wants_it(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: without `maintenance` the release before serves while migrations run."""
    monkeypatch.setattr(maintenance, "enter", lambda *_words: pytest.fail("the page went up"))
    deploy(served, NEW)


def test_the_page_stands_from_the_stop_of_the_old_release_to_the_switch(served: Server) -> None:
    """Promise: old code never meets the new schema."""
    deploy(served, NEW, until="stage", app__maintenance=True)
    assert page(served).stat().st_mode & 0o777 == 0o644
    assert "guestbook-gunicorn@blue.service" not in served.active()
    found = status.status("guestbook")["maintenance"]
    assert (found["begun"], found["before"]) == (True, ["0001"])
    deploy(served, NEW, app__maintenance=True)
    assert not page(served).exists()
    assert status.status("guestbook")["maintenance"] is None
    assert [event["result"] for event in events(served, "maintenance")] == ["begun", "ended"]


def test_no_page_for_a_release_without_migrations(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: `maintenance` costs visitors nothing where nothing migrates."""
    monkeypatch.setattr(maintenance, "enter", lambda *_words: pytest.fail("the page went up"))
    deploy(served, OLD, env__TITLE="other", app__maintenance=True)
    assert served.paths.active_slot() == "green"


def test_no_page_where_nothing_serves_yet(ready: Server) -> None:
    """Promise: a first deploy stops nobody."""
    ready.set("database")
    deploy(ready, NEW, until="stage", app__maintenance=True)
    assert not page(ready).exists()


def test_a_failure_that_changed_nothing_lets_the_old_release_serve_again(served: Server) -> None:
    """Promise: the database is where it was, so the old code fits, and the page goes."""
    served.set("upgrade-fails", "0001")
    with pytest.raises(Failure, match="serves as before"):
        deploy(served, NEW, app__maintenance=True)
    assert not page(served).exists()
    assert "guestbook-gunicorn@blue.service" in served.active()


def test_a_failure_half_way_stays_in_maintenance_and_says_how_to_end_it(served: Server) -> None:
    """Promise: nobody meets a schema that no code was written for, unless a person says so."""
    served.set("upgrade-fails", "")
    with pytest.raises(
        Failure, match=r"(?s)maintenance page stands.*flaskhost restore guestbook FILE.*maintenance --end guestbook"
    ):
        deploy(served, NEW, app__maintenance=True)
    assert page(served).exists()
    assert "guestbook-gunicorn@blue.service" not in served.active()
    maintenance.by_hand("guestbook")
    assert not page(served).exists()
    assert "guestbook-gunicorn@blue.service" in served.active()


def test_the_next_release_ends_the_maintenance_of_a_failed_one(served: Server) -> None:
    """Promise: `up` with what works is all that is needed."""
    served.set("upgrade-fails", "0001x")
    with pytest.raises(Failure, match="maintenance page stands"):
        deploy(served, NEW, app__maintenance=True)
    (served.fakes / "upgrade-fails").unlink()
    served.set("database", "0001")
    deploy(served, (*NEW, "0003"), app__maintenance=True)
    assert not page(served).exists()
    assert (at(served), served.paths.active_slot()) == ("0003", "green")


def test_a_broken_release_does_not_take_the_site_down(served: Server) -> None:
    """Promise: a tool that cannot even load the application stops nobody."""
    served.set("loading-fails")
    with pytest.raises(Failure, match=r"(?s)`flask db current` has to tell.*ImportError.*serves as before"):
        deploy(served, NEW, app__maintenance=True)
    assert "guestbook-gunicorn@blue.service" in served.active()
    assert not page(served).exists()


@pytest.mark.parametrize("begun", [False, True], ids=["before the migration", "within it"])
@pytest.mark.parametrize("by", ["the end of its unit", "a reboot"])
def test_a_killed_verb_is_made_up_for_where_nothing_has_changed(
    served: Server,
    begun: bool,  # noqa: FBT001 - a table
    by: str,
) -> None:
    """Promise: SIGKILL and power failure leave a release that serves, or the page; never old code on a new schema."""
    paths = layout.known("guestbook")
    new = releases.read(paths, deploy(served, NEW, until="prepare"))
    maintenance.enter(paths, new, Progress(served.said))
    if begun:
        maintenance.begin(paths, ["0001"])
    maintenance.ended("guestbook") if by == "the end of its unit" else umbrella.start("guestbook")
    assert page(served).exists() == begun
    assert ("guestbook-gunicorn@blue.service" in served.active()) != begun


def test_a_kill_between_switch_and_the_pages_end_is_made_up_for(served: Server) -> None:
    """Promise: the release that the database was changed for may serve."""
    paths = layout.known("guestbook")
    new = releases.read(paths, deploy(served, NEW))
    maintenance.enter(paths, new, Progress(served.said))
    maintenance.begin(paths, ["0001"])
    umbrella.start("guestbook")
    assert not page(served).exists()
    assert "guestbook-gunicorn@green.service" in served.active()


def sick(*_words: Any, **_named: Any) -> float:
    """Stand for a proof that fails."""
    raise Failure("the release did not answer")


def test_the_page_stays_until_the_release_that_the_database_was_changed_for_is_healthy(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: where the proof behind the pointer fails, visitors see the page and no errors, and no worker starts."""
    worker: dict[str, Any] = {"app__maintenance": True, "app__processes": {"worker": {"command": "x"}}}

    deploy(served, NEW, until="stage", **worker)
    with monkeypatch.context() as broken:
        broken.setattr("flaskhost.verbs.switch._prove", sick)
        with pytest.raises(Failure, match="Deploy one that works and takes the maintenance page away"):
            deploy(served, NEW, **worker)
        broken.setattr("flaskhost.slots.healthy", sick)
        maintenance.ended("guestbook")
        assert page(served).exists()
        assert maintenance.serving(served.paths).startswith("the maintenance page stands")
        assert not [unit for unit in served.active() if "worker" in unit]
    maintenance.ended("guestbook")
    assert not page(served).exists()
    assert "guestbook-worker-1@green.service" in served.active()


def test_a_person_and_a_kill_before_the_migration_end_the_page_come_what_may(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what served before serves again as it did, healthy or not; and so does what a person lets serve."""
    paths = layout.known("guestbook")
    new = releases.read(paths, deploy(served, NEW, until="prepare"))

    monkeypatch.setattr("flaskhost.slots.healthy", sick)
    for begun, end in ((False, maintenance.ended), (True, maintenance.by_hand)):
        maintenance.enter(paths, new, Progress(served.said))
        if begun:
            maintenance.begin(paths, ["0001"])
        end("guestbook")
        assert not page(served).exists()
        assert "guestbook-gunicorn@blue.service" in served.active()


def test_a_restart_by_hand_in_the_middle_starts_nothing(served: Server) -> None:
    """Promise: while a verb is at work on the database, nobody else decides what serves."""
    paths = layout.known("guestbook")
    maintenance.enter(paths, releases.read(paths, deploy(served, NEW, until="prepare")), Progress(served.said))
    with maintenance._locked(paths, 0):  # noqa: SLF001 - as the verb holds it
        umbrella.start("guestbook")
    assert page(served).exists()
    assert "guestbook-gunicorn@blue.service" not in served.active()


def back(server: Server, way: str) -> None:
    """Go forward to two revisions, and then back to the release with one."""
    deploy(server, NEW)
    flask(server)
    deploy(server, OLD, app__way_back=way)


def test_keep_lives_with_the_newer_schema_and_asks_nothing(served: Server) -> None:
    """Promise: the way back of a release that has migrated costs no start of the tool."""
    back(served, "keep")
    assert flask(served) == []
    assert (at(served), served.paths.active_slot()) == ("0002", "blue")


def test_keep_of_a_release_that_is_new_to_the_host_fails_nothing_first(served: Server) -> None:
    """Promise: older code with another environment is told from a lost revision before anything is run."""
    deploy(served, NEW)
    flask(served)
    deploy(served, OLD, env__TITLE="other")
    assert flask(served) == ["flask db current"]
    assert "the database is at 0002, which v1.0.0" in served.said.getvalue()


def test_refuse_changes_nothing(served: Server) -> None:
    """Promise: a clear error that names setting, revision and ways out."""
    with pytest.raises(Failure, match=r"flaskhost:app.way_back: is refuse, and the database is at 0002.*serves as"):
        back(served, "refuse")
    assert (at(served), served.paths.active_slot()) == ("0002", "green")


def test_downgrade_brings_the_database_back_with_the_newer_scripts(served: Server) -> None:
    """Promise: behind the page, in the newer release's source; the newer one migrates again when it comes back."""
    back(served, "downgrade")
    assert flask(served) == ["flask db current", "flask db current", "flask db downgrade 0001", "flask db current"]
    assert (at(served), served.paths.active_slot()) == ("0001", "blue")
    assert [event["result"] for event in events(served, "maintenance")] == ["begun", "ended"]
    deploy(served, NEW)
    assert at(served) == "0002"


def test_a_downgrade_that_fails_lets_the_newer_release_serve_again(served: Server) -> None:
    """Promise: the database is where it was, so the newer code fits."""
    served.set("downgrade-fails")
    with pytest.raises(
        Failure, match=r"(?s)`flask db downgrade 0001` ended with status 1.*no way down.*at 0002, as before"
    ):
        back(served, "downgrade")
    assert not page(served).exists()
    assert "guestbook-gunicorn@green.service" in served.active()


def test_a_downgrade_without_a_way_changes_nothing(served: Server) -> None:
    """Promise: branches that do not meet are a person's business."""
    deploy(served, ("0005",))
    served.set("database", "0005")
    with pytest.raises(Failure, match=r"have no way from 0005 to the one head of .*\(0001\).*Nothing was changed"):
        deploy(served, OLD, app__way_back="downgrade")
    assert at(served) == "0005"


def test_another_start_of_the_release_that_serves_does_nothing_to_the_database(served: Server) -> None:
    """Promise: a password that AWS changes at night takes no schema back, whatever the way back is."""
    deploy(served, NEW)
    with pytest.raises(Failure):
        deploy(served, OLD, app__way_back="refuse", until="switch")
    now = releases.active(served.paths)
    release = next(one for one in releases.every(served.paths) if now and one.digest != now.digest)
    release.update(wishes=None, migrated=None)
    flask(served)
    stage.bring_up(served.paths, release, Progress(served.said), again=True)
    assert flask(served) == []
    assert at(served) == "0002"


def test_a_revision_that_nobody_knows_is_an_error(served: Server) -> None:
    """Promise: a foreign database is not taken for the way back."""
    served.set("database", "77aa")
    with pytest.raises(Failure, match="the database is at 77aa, and no release on this host has that revision"):
        deploy(served, NEW)


def test_a_new_machine_that_has_the_data_alone_knows_who_brought_a_revision(
    served: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the release that migrated is gone with the old machine, and the older one that serves comes up again."""
    monkeypatch.setattr(os.path, "ismount", lambda path: path == served.paths.shared)
    newer = deploy(served, NEW)
    # As on a machine that was replaced: what is shared lies on the disk that outlives it, releases do not.
    lost = releases.read(served.paths, newer)
    shutil.rmtree(lost.source)
    lost.update(prepared=False)
    deploy(served, OLD, env__TITLE="other")
    assert f"the database is at 0002, which {lost.label} brought; it stays there" in served.said.getvalue()


def test_a_downgrade_without_the_scripts_says_which_version_has_them(served: Server) -> None:
    """Promise: nothing is changed, and the next step is named."""
    (served.paths.shared / ".revisions").write_text('{"77aa": "v9 (12345678)"}')
    served.set("database", "77aa")
    with pytest.raises(Failure, match=r"the scripts of v9 \(12345678\), which brought 77aa, are not on this machine"):
        deploy(served, NEW, app__way_back="downgrade")


def test_nothing_is_noted_where_nothing_outlives_the_machine(served: Server) -> None:
    """Promise: what its releases say is enough there."""
    deploy(served, NEW)
    assert not (served.paths.shared / ".revisions").exists()


def live(server: Server) -> Path:
    """Make a database of SQLite with one row; return its path."""
    path = server.paths.shared / "data/shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE guests (name TEXT)")
        connection.execute("INSERT INTO guests VALUES ('Ada')")
    connection.close()
    return path


def rows(path: Path) -> list[str]:
    """Return the tables of a database with the guests."""
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
        found = [row[0] for row in connection.execute("SELECT name FROM guests ORDER BY name")]
    connection.close()
    return [*names, *found]


def test_a_dump_is_taken_before_and_puts_everything_back(served: Server) -> None:
    """Promise: the message of a failed migration has the command, and after it the database is as it was."""
    path = live(served)
    settings: dict[str, Any] = {"app__backup_before_migrate": True, "env__DATABASE_URL": f"sqlite:///{path}"}
    served.set("upgrade-fails", "")
    with pytest.raises(Failure, match=r"to put it back: sudo flaskhost restore guestbook \S+\.sqlite\n") as failed:
        deploy(served, NEW, **settings)
    name = str(failed.value).partition("restore guestbook ")[2].split()[0]
    dump = served.paths.backups / name
    assert (dump.stat().st_mode & 0o777, dump.parent.stat().st_mode & 0o777) == (0o640, 0o750)
    assert [entry.name for entry in dump.parent.iterdir()] == [name], "nothing half-done stays"
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM guests")
        connection.execute("CREATE TABLE halfway (name TEXT)")
    connection.close()
    # The environment that names the database is that of what serves.
    served.set("database", "0001")
    (served.fakes / "upgrade-fails").unlink()
    deploy(served, OLD, **settings)
    done = restore.restore(document.parse(restore.ask("guestbook", name)), Progress(served.said))
    assert done["serves"].startswith("v1.0.0")
    assert rows(path) == ["guests", "Ada"]
    assert not page(served).exists()
    assert not any(one.facts.get("migrated") for one in releases.every(served.paths)), "they migrate anew"


def test_a_dump_that_fails_runs_no_migration(served: Server) -> None:
    """Promise: no dump, no change; the old release serves again."""
    with pytest.raises(Failure, match="the dump ended with status 1"):
        deploy(
            served,
            NEW,
            app__backup_before_migrate=True,
            app__maintenance=True,
            env__DATABASE_URL="sqlite:////nowhere/shop.db",
        )
    assert at(served) == "0001"
    assert not page(served).exists()


def test_the_newest_dumps_stay(served: Server) -> None:
    """Promise: `keep` of them; others' files in that folder are left alone."""
    path = live(served)
    (served.paths.backups).mkdir()
    for day in range(1, 5):
        (served.paths.backups / f"2020-01-0{day}-120000-v1-0a1b2c3d.sqlite").touch()
    (served.paths.backups / "mine.sqlite").touch()
    deploy(
        served, NEW, app__backup_before_migrate=True, app__keep=2, env__DATABASE_URL=f"sqlite:///{path}", until="stage"
    )
    names = sorted(entry.name for entry in served.paths.backups.iterdir())
    assert [names[0], names[-1]] == ["2020-01-04-120000-v1-0a1b2c3d.sqlite", "mine.sqlite"]
    assert len(names) == 3


def test_only_a_dump_of_this_application_is_restored(served: Server) -> None:
    """Promise: a wrong name stops nothing, and lists what there is."""
    (served.paths.backups).mkdir()
    (served.paths.backups / "2020-01-01-120000-v1-0a1b2c3d.dump").touch()
    for name in ("other.dump", "/tmp/2020-01-01-120000-v1-0a1b2c3d.dump"):  # noqa: S108 - it is not there
        with pytest.raises(Failure, match=r"(?s)is no dump in .*\n2020-01-01-120000-v1-0a1b2c3d.dump"):
            restore.ask("guestbook", name)
    assert "guestbook-gunicorn@blue.service" in served.active()


PASSWORD = "p'a s\\s%25"
PROGRAM = '#!/bin/sh\nprintf "%s\\n" "${0##*/} $*" >> "$FAKES/calls"\n'


LOGIN = "shop:p'a%20s%5Cs%2525@db.example.com"
PG_DUMP = "pg_dump --format=custom --no-password --dbname="
PG_DUMP += "host='db.example.com' port='6432' user='shop' dbname='shop' sslmode='require'"
MYSQLDUMP = "mysqldump --defaults-extra-file={folder}/.login.cnf --single-transaction --quick --routines --triggers "
MYSQLDUMP += "--no-tablespaces --add-drop-database --databases shop"


@pytest.mark.parametrize(
    ("url", "program", "said"),
    [
        (f"postgresql+psycopg://{LOGIN}:6432/shop?sslmode=require&gssencmode=x", "pg_dump", PG_DUMP),
        (f"mysql+pymysql://{LOGIN}/shop", "mysqldump", MYSQLDUMP),
    ],
    ids=["PostgreSQL", "MySQL"],
)
def test_no_password_is_on_a_command_line(served: Server, url: str, program: str, said: str) -> None:
    """Promise: who lists processes sees no password; the program gets it all the same."""
    read = 'cat "${1#*=}"' if program == "mysqldump" else 'printf "%s" "$PGPASSWORD"'
    (served.fakes / "bin" / program).write_text(f"{PROGRAM}{read}\n")
    (served.fakes / "bin" / program).chmod(0o755)
    deploy(served, NEW, app__backup_before_migrate=True, secrets__DATABASE_URL=url)
    calls = served.calls()
    assert said.format(folder=served.paths.backups) in calls
    assert not [call for call in calls if PASSWORD in call or "p'a" in call]
    (dump,) = served.paths.backups.iterdir()
    content = gzip.decompress(dump.read_bytes()) if dump.suffix == ".gz" else dump.read_bytes()
    expected = '[client]\nuser="shop"\npassword="p\'a s\\\\s%25"\nhost="db.example.com"\n'
    assert content.decode() == (PASSWORD if program == "pg_dump" else expected)
    assert PASSWORD not in served.said.getvalue()


@pytest.mark.parametrize(
    "environment",
    [{}, {"DATABASE_URL": "sqlite:///shop.db"}, {"DATABASE_URL": "mssql://db/x"}, {"DATABASE_URL": "http://[::1"}],
    ids=["none", "relative", "unknown", "no URL"],
)
def test_what_cannot_be_dumped_says_what_is_needed(environment: dict[str, str]) -> None:
    """Promise: the message names the variables and shows no value of them."""
    with pytest.raises(Failure, match="DATABASE_URL or SQLALCHEMY_DATABASE_URI of the environment must be") as failed:
        backups.database(environment)
    assert "shop.db" not in str(failed.value)


def test_what_an_older_flaskhost_has_written_down_is_enough(served: Server) -> None:
    """Promise: a release that was staged before these settings were there can be taken up again."""
    release = releases.read(served.paths, deploy(served, NEW, until="prepare"))
    release.wishes_file.write_text(json.dumps({"health": {}, "migrate": "auto"}))
    migrations.migrate(served.paths, release, Progress(served.said))
    assert at(served) == "0002"
