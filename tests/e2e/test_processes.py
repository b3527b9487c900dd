"""Workers and jobs of a release on a real server: Celery and RQ on Redis, timers of systemd."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import prepared
from tests.e2e.host import APP, HOME, Host, until
from tests.e2e.load import Visitors
from tests.e2e.repository import tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.local_server.engine import Engine
    from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SHOP = """
import pathlib
import time

import redis
from celery import Celery
from flask import Flask
from rq import Queue

VERSION = "{version}"
DATA = pathlib.Path("/srv/guestbook/shared/data")
app = Flask(__name__)
celery = Celery("shop", broker="redis://127.0.0.1/0")
queue = Queue(connection=redis.Redis())


@app.get("/")
@app.get("/health")
def page():
    return f"served by version <strong>{{VERSION}}</strong>"


def note(*words):
    with open(DATA / "notes", "a") as file:
        print(VERSION, *words, file=file)


@celery.task(name="work")
def work(name):
    note("begins", name)
    while not (DATA / f"end-{{name}}").exists():
        time.sleep(0.05)
    note("ends", name)
"""
RELEASES = {
    version: {
        "shop/__init__.py": SHOP.format(version=version),
        "wsgi.py": "from shop import app\n",
        "requirements.txt": "flask==3.1.2\ncelery==5.4.0\nkombu==5.4.2\nredis==5.0.8\nrq==1.16.2\n",
    }
    for version in ("1", "2", "3")
}
REDIS = """set -eu
cat > /etc/systemd/system/redis-server.service << END
[Service]
User=redis
ExecStart=/usr/bin/redis-server --bind 127.0.0.1 --save ''
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl enable redis-server
"""
"""The distribution's unit is shielded with more than a container can do."""
CELERY = 'celery --app shop:celery worker --concurrency 1 --loglevel info --hostname "$FLASKHOST_PROCESS"'
PROCESSES: dict[str, Any] = {
    "mail": {"command": CELERY, "count": 2, "memory": "300M", "settle": 3},
    "batch": {"command": "rq worker --name batch@$FLASKHOST_PROCESS", "settle": 3},
}
JOBS: dict[str, Any] = {"tick": {"command": "python -c 'import shop; shop.note(\"job\")'", "schedule": "*:*:0/2"}}


@pytest.fixture(scope="module")
def server_image(container_engine: Engine) -> str:
    """Take an image with Redis on it."""
    return prepared.derived(container_engine, prepared.ensure(container_engine, more=("redis-server",)), REDIS)


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return the stack with version 1 deployed: two workers of Celery, one of RQ, and a job every two seconds."""
    repository = tagged(tmp_path_factory.mktemp("repository") / "shop", RELEASES)
    source = {"source": {"repository": str(repository)}, "static": None, "packages": ["redis-server"]}
    stack.configure(app={**source, "processes": PROCESSES, "jobs": JOBS})
    first = stack.deploy("1")
    assert "ok     processes and jobs" in first.text
    return stack


@pytest.fixture
def host(shop: Stack) -> Iterator[Host]:
    """Return the host, with no task waiting for its end afterwards."""
    yield shop.host
    shop.host.run("redis-cli flushall")


def notes(host: Host) -> list[str]:
    """Return what tasks and jobs have noted: version and words."""
    return host.run(f"cat {HOME}/shared/data/notes 2>/dev/null || true").splitlines()


def noted(host: Host, words: str) -> bool:
    """Tell whether a version has noted these words."""
    return any(line.partition(" ")[2] == words for line in notes(host))


def begin(host: Host, by: str, name: str) -> None:
    """Have a worker begin with a task, which waits for `end`."""
    call = f'work.delay("{name}")' if by == "celery" else f'queue.enqueue(shop.work, "{name}")'
    host.run(f"cd {HOME}/app && {HOME}/venv/bin/python -c 'import shop; shop.{call}'", user=APP)
    until(lambda: noted(host, f"begins {name}"), f"a worker has taken {name}")


def end(host: Host, name: str) -> None:
    """Let a task end, and wait until it has."""
    host.run(f"touch {HOME}/shared/data/end-{name}")
    until(lambda: noted(host, f"ends {name}"), f"{name} has ended")


def state(host: Host, unit: str) -> str:
    """Return the state of a unit of the application."""
    return host.unit(f"{APP}-{unit}", "ActiveState")["ActiveState"]


def test_processes_have_the_number_and_the_limits_of_the_stack_file(host: Host) -> None:
    """As systemd shows them; the log of each is in the journal, and status has all of them."""
    slot = host.slot()
    units = host.run(f"systemctl list-units --plain --no-legend '{APP}-mail-*' | cut -d' ' -f1").split()
    assert units == [f"{APP}-mail-1@{slot}.service", f"{APP}-mail-2@{slot}.service"]
    assert host.unit(units[0], "MemoryMax", "NoNewPrivileges") == {"MemoryMax": "314572800", "NoNewPrivileges": "yes"}
    host.wait_for(f"journalctl -q -o cat -u '{APP}-*' | grep -q '{APP}-mail-2@{slot} ready'")
    shown = host.status()["processes"]
    assert sorted(shown) == sorted([*units, f"{APP}-batch-1@{slot}.service", f"{APP}-tick@{slot}.timer"])
    assert shown[units[0]] == {"state": "running", "restarts": 0}
    tick = f"{APP}-tick@{slot}.timer"
    assert shown[tick]["result"] == "success"
    assert shown[tick]["last"]
    # While the job runs there is no next time.
    until(lambda: bool(host.status()["processes"][tick]["next"]), "the timer waits for the next run")


@pytest.mark.parametrize(
    ("by", "unit", "versions"), [("celery", "mail", ("1", "2", "3")), ("rq", "batch", ("3", "1", "2"))]
)
def test_a_worker_finishes_its_task_after_the_switch_and_the_next_one_is_run_by_the_new_code(
    shop: Stack, host: Host, by: str, unit: str, versions: tuple[str, str, str]
) -> None:
    """No `up` waits for it; its slot is filled again only when it has gone."""
    old, new, next_one = versions
    shop.deploy(old)
    slot = host.slot()
    begin(host, by, f"{by}-first")
    with Visitors(shop.site.https_port) as visitors:
        shop.deploy(new)
    assert visitors.failed == []
    assert host.run(f"systemctl list-units --plain --no-legend --state=deactivating '{APP}-{unit}-*@{slot}.*'")
    begin(host, by, f"{by}-second")
    shop.configure(app={"version": next_one})
    running = shop.begin_up()
    host.wait_for(f"grep -q 'finished what they work on' /run/flaskhost/{APP}/release-*.log")
    assert f"{old} ends {by}-first" not in notes(host)
    end(host, f"{by}-first")
    done = running.wait()
    assert done.succeeded, str(done)
    end(host, f"{by}-second")
    assert [line for line in notes(host) if f"{by}-" in line] == [
        f"{old} begins {by}-first",
        f"{new} begins {by}-second",
        f"{old} ends {by}-first",
        f"{new} ends {by}-second",
    ]


def test_a_job_is_run_by_the_new_code_after_the_switch_only(shop: Stack, host: Host) -> None:
    """All runs of the old code come before the first one of the new code, and none is left out for long."""
    old = host.slot()
    shop.deploy("1")
    # What the code of before has begun may end a moment after the switch.
    until(lambda: state(host, f"tick@{old}.service") in ("inactive", "failed"), "the last run of before has ended")
    host.run(f"rm {HOME}/shared/data/notes")
    until(lambda: "1 job" in notes(host), "the job has been run")
    shop.deploy("2")
    until(lambda: "2 job" in notes(host), "the job has been run by the new code")
    time.sleep(3)
    runs = notes(host)
    assert runs == sorted(runs)


def test_a_worker_that_crashes_makes_the_switch_go_back(shop: Stack, host: Host) -> None:
    """Under load no request is lost; the message has the worker and its log; the old workers never stopped."""
    shop.deploy("2")
    slot = host.slot()
    units = [f"{APP}-{name}@{slot}.service" for name in ("mail-1", "mail-2", "batch-1")]
    before = [host.unit(unit, "MainPID") for unit in units]
    shop.configure(app={"version": "3", "processes": {"batch": {"command": "echo no such queue; sleep 1; exit 3"}}})
    with Visitors(shop.site.https_port) as visitors:
        failed = shop.up(check=False)
    assert not failed.succeeded
    other = {"blue": "green", "green": "blue"}[slot]
    assert f"the process {APP}-batch-1@{other}.service does not stay up for 3 s: it ended with status 3" in failed.text
    assert "no such queue" in failed.text
    assert visitors.failed == []
    assert visitors.versions == ["2", "3"]
    assert "version <strong>2<" in shop.site.get("/").text
    assert host.slot() == slot
    assert [host.unit(unit, "MainPID") for unit in units] == before
    until(lambda: state(host, f"mail-1@{other}.service") == "inactive", "the new workers are gone")
    assert host.unit(f"{APP}-tick@{slot}.timer", "ActiveState") == {"ActiveState": "active"}
    shop.configure(app={"version": "2", "processes": PROCESSES})
    shop.up()


def test_workers_and_jobs_stop_and_start_with_the_application_and_with_the_host(shop: Stack, host: Host) -> None:
    """A restart does not wait for a worker's task: visitors would wait with it."""
    slot = host.slot()
    units = [f"{name}@{slot}.service" for name in ("mail-1", "mail-2", "batch-1")] + [f"tick@{slot}.timer"]

    def states() -> set[str]:
        return {state(host, unit) for unit in units}

    host.run(f"systemctl stop {APP}")
    until(lambda: states() == {"inactive"}, "all of it has stopped")
    host.run(f"systemctl start {APP}")
    until(lambda: states() == {"active"}, "all of it runs again")
    begin(host, "rq", "held")
    host.run(f"systemctl restart {APP}", seconds=20)
    until(lambda: shop.site.get("/health").status == 200, "the site answers", seconds=10)
    assert state(host, f"batch-1@{slot}.service") == "deactivating"
    end(host, "held")
    until(lambda: states() == {"active"}, "the worker runs again")
    host.lose_power()
    host.boot()
    until(lambda: states() == {"active"}, "all of it runs after a boot")


def test_a_release_without_processes_has_none_running(shop: Stack, host: Host) -> None:
    """What left the stack file leaves the host: it stops with the switch, and its units go with their slot."""
    shop.configure(app={"processes": None, "jobs": None})
    shop.up()
    until(lambda: not host.run(f"pgrep -u {APP} -f 'celery|rq worker' || true"), "no worker is left")
    shop.deploy("1")
    shop.deploy("3")
    assert host.run(f"ls /etc/systemd/system/{APP}-* | grep -v gunicorn || true") == ""
    assert host.status()["processes"] == {}
