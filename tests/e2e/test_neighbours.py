"""Two applications of two stacks on one host: neither reads, disturbs or takes along the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import pythons
from tests.e2e.host import APP, HOME
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.stack import BROKEN, GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.host import Host

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OTHER = "guestbook-two"
"""A name that begins as the first one's does: whoever is careless with names finds both."""

OTHER_HOME = f"/var/www/{OTHER}"
OTHER_DOMAIN = "two.example"


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server."""
    with Machine("neighbours", server_image) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for both stacks."""
    return tmp_path_factory.mktemp("neighbours")


@pytest.fixture(scope="module")
def one(machine: Machine, pulumi: str, folder: Path) -> Stack:
    """Return a stack that serves the bundled application."""
    assert pulumi
    (folder / "one").mkdir()
    made = Stack(folder / "one", "one", machine=machine)
    made.deploy(GOOD)
    return made


@pytest.fixture(scope="module")
def two(machine: Machine, pulumi: str, folder: Path) -> Stack:
    """Return another stack for the same host: a name, domain, folder and Python of its own; nothing is deployed."""
    assert pulumi
    (folder / "two").mkdir()
    made = Stack(folder / "two", "two", machine=machine)
    shared = f"{OTHER_HOME}/shared"
    made.configure(
        app={"name": OTHER, "python": pythons.mirror(made.host), "python_mirror": pythons.MIRROR},
        web={"domains": [OTHER_DOMAIN]},
        layout={"root": "/var/www"},
        env={"DATABASE_URL": f"sqlite:///{shared}/data/guestbook.db", "MEDIA_ROOT": f"{shared}/media"},
    )
    return made


def version(stack: Stack, domain: str = OTHER_DOMAIN) -> str:
    """Return the version that serves under a domain."""
    return stack.site.get("/version", host=domain).text.strip()


def test_a_second_application_comes_without_a_word_to_the_first(one: Stack, two: Stack) -> None:
    """Visitors of the first notice nothing while the second is deployed for the first time."""
    before = one.host.unit(f"{APP}-gunicorn@blue.service", "MainPID")
    with Visitors(one.site.https_port) as visitors:
        two.up()
    assert visitors.failed == []
    assert (one.site.version(), version(two)) == ("1.0.0", "1.0.0")
    assert one.host.unit(f"{APP}-gunicorn@blue.service", "MainPID") == before


def test_each_runs_on_the_python_that_its_stack_names(one: Stack, two: Stack) -> None:
    """The host's own for the first, an exact version of uv's for the second."""
    system, exact = one.host.run("python3 -V"), two.configured("app")["python"]
    for app, home, wanted in ((APP, HOME, system), (OTHER, OTHER_HOME, f"Python {exact}")):
        master = one.host.unit(f"{app}-gunicorn@blue.service", "MainPID")["MainPID"]
        running = one.host.run(f"readlink /proc/{master}/exe", user=app)
        assert one.host.run(f"{running} -V") == one.host.run(f"{home}/venv/bin/python -V") == wanted


def test_releases_of_one_do_not_disturb_the_other(one: Stack, two: Stack) -> None:
    """Neither a good one nor a broken one, in both directions; each stack changes its own version only."""
    with Visitors(one.site.https_port) as visitors:
        two.deploy(NEWER)
        two.configure(app={"version": BROKEN})
        assert not two.up(check=False).succeeded
        two.deploy(NEWER)
    assert visitors.failed == []
    assert (one.site.version(), version(two)) == ("1.0.0", "1.1.0")
    with Visitors(two.site.https_port, domain=OTHER_DOMAIN) as visitors:
        one.deploy(NEWER)
        one.deploy(GOOD)
    assert visitors.failed == []
    assert visitors.versions == ["1.1.0"]
    assert (one.site.version(), version(two)) == ("1.0.0", "1.1.0")


def processes(host: Host, app: str) -> list[str]:
    """Return the processes of an application."""
    return host.run(f"pgrep -u {app}").split()


@pytest.mark.parametrize(
    ("user", "app", "home"), [(APP, OTHER, OTHER_HOME), (OTHER, APP, HOME)], ids=["first", "second"]
)
def test_neither_application_reads_anything_of_the_other(
    one: Stack, two: Stack, user: str, app: str, home: str
) -> None:
    """Asked as each application's own user and as its builder: files, environment, sockets, processes, logs."""
    two.site.get("/", host=OTHER_DOMAIN)
    host = one.host
    paths = [
        *(f"{home}/{path}" for path in ("shared/.env", "app/wsgi.py", "active/config/gunicorn.conf.py")),
        *(f"{home}/shared/data/guestbook.db", f"{home}/releases.log", f"/var/log/nginx/{app}-access.log"),
        *(f"/etc/flaskhost/{app}/{path}" for path in ("tls/key.pem", "claim.json")),
    ]
    running = [f"/proc/{number}/{name}" for number in processes(host, app) for name in ("environ", "cwd/wsgi.py")]
    folders = [f"{home}/{path}/" for path in ("config", "static", "shared/media", "shared/logs", "active/release")]
    folders += [f"/var/cache/flaskhost/{app}", f"/run/flaskhost/{app}", f"/etc/flaskhost/{app}/environments"]
    answers = f"curl -s -f --max-time 10 --unix-socket {home}/run/gunicorn.sock http://localhost/version"
    # What is refused below must be there: root reads all of it, but in a container not the environment of processes.
    assert [path for path in paths if not host.succeeds(f"head -c 1 {path}")] == []
    assert [path for path in running if not host.succeeds(f"head -c 1 {path}", user=app)] == []
    assert [path for path in folders if not host.succeeds(f"ls {path}")] == []
    assert host.succeeds(answers)
    for who in (user, f"{user}_build"):
        assert [path for path in (*paths, *running) if host.succeeds(f"head -c 1 {path}", user=who)] == []
        assert [path for path in folders if host.succeeds(f"ls {path}", user=who)] == []
        assert not host.succeeds(answers, user=who)
        assert not host.succeeds(f"kill -0 {processes(host, app)[0]}", user=who)


def test_a_second_stack_cannot_have_a_name_that_is_taken(one: Stack, two: Stack) -> None:
    """Before anything is changed, and with what to do; the application that has the name serves on."""
    own = two.configured("app")["name"]
    two.configure(app={"name": APP}, layout={"root": "/srv"})
    refused = two.up(check=False)
    assert not refused.succeeded
    assert f"the application name '{APP}' belongs to the stack 'flaskhost/{one.name}' on this host" in refused.text
    assert "choose another flaskhost:app.name" in refused.text
    assert (one.site.version(), version(two)) == ("1.0.0", "1.1.0")
    two.configure(app={"name": own}, layout={"root": "/var/www"})
    two.up()
    assert (one.site.version(), version(two)) == ("1.0.0", "1.1.0")


def test_destroying_one_leaves_the_other(one: Stack, two: Stack) -> None:
    """With load on what stays: its files, units, account and the command that both share are untouched."""
    with Visitors(one.site.https_port) as visitors:
        two.destroy()
    assert visitors.failed == []
    assert one.site.version() == "1.0.0"
    host = one.host
    assert host.run(f"systemctl list-units --all --no-legend '{OTHER}*'") == ""
    assert host.run(f"ls {OTHER_HOME}/shared") == "data"
    assert host.status()["active"]
    one.deploy(NEWER)
    assert one.site.version() == "1.1.0"
