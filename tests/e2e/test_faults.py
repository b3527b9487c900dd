"""Whatever happens to a release on its way: no visitor notices, and the next `up` finishes the work."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.host import APP, service
from tests.e2e.kills import UNIT, Mortal, digest_of
from tests.e2e.load import Visitors
from tests.e2e.stack import GOOD, TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

OF_A_TEST = 1800
"""Seconds after which a test of this file is ended."""
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(OF_A_TEST)]

POINTS = Path(__file__).with_name("points.txt")
ENDED = "was ended before it had finished"
KILLS, KILLS_OF_UP = 40, 10
RATE = 20.0
"""Requests a second: this load is there for many minutes, beside other tests."""

FAULTS = """
import os, time
fault = os.environ.get("FAULT")
if fault == "slow":
    time.sleep(25)
if fault == "memory":
    hoard = [bytes(range(256)) * 4096 * 1024]

from guestbook import create_app

app = create_app()

@app.before_request
def hang():
    from flask import request
    if fault == "hang" and request.path == "/health":
        time.sleep(3600)
"""
"""An entry point that does what the environment says."""

BATCH = 10
"""Kills that one load lasts for."""


@pytest.fixture(scope="module")
def mortal(stack: Stack) -> Mortal:
    """Return a host where v1.0.0 serves, with a process and a job, and whose verbs can be killed at a point."""
    processes = {"worker": {"command": "sleep infinity", "settle": 0}}
    stack.deploy(GOOD, app={"processes": processes, "jobs": {"tidy": {"command": "true", "schedule": "daily"}}})
    return Mortal(stack)


def test_a_kill_after_any_change_of_state_costs_nobody_a_request_and_the_next_try_finishes(mortal: Mortal) -> None:
    """The points that a release passes are listed; each is visited by a release of its own."""
    assert mortal.release("whole").returncode == 0
    points = mortal.passed()
    assert points == POINTS.read_text().splitlines(), f"write {POINTS.name} anew:\n" + "\n".join(points)
    for first in range(0, len(points), BATCH):
        with Visitors(mortal.https_port, RATE) as visitors:
            for after in range(first + 1, min(first + BATCH, len(points)) + 1):
                point, before = f"{after} of {len(points)}, {points[after - 1]}", mortal.host.active()
                killed = mortal.release(f"point {after}", after=after)
                # After the last one there is nothing left to kill.
                assert ENDED in killed.stderr or after == len(points), f"{point}: {killed.stdout}{killed.stderr}"
                assert mortal.host.active() in (before, digest_of(f"point {after}")), point
                again = mortal.release(f"point {after}")
                assert again.returncode == 0, f"{point}: {again.stdout}{again.stderr}"
                assert mortal.host.active() == digest_of(f"point {after}"), point
        assert not visitors.failed, f"before {first + BATCH} of {len(points)}: {visitors.failed[:3]}"


def test_kills_at_any_time_cost_nobody_a_request_and_the_next_try_finishes(mortal: Mortal) -> None:
    """The moments are spread over a whole release, other ones in each run."""
    seed = random.randrange(10**6)
    chance, hits, took = random.Random(seed), 0, []
    with Visitors(mortal.https_port, RATE):
        for number in range(3):
            begun = time.monotonic()
            assert mortal.release(f"timed {number}").returncode == 0
            took.append(time.monotonic() - begun)
    for first in range(0, KILLS, BATCH):
        with Visitors(mortal.https_port, RATE) as visitors:
            for number in range(first, first + BATCH):
                what = f"kill {number} with seed {seed}"
                killed = mortal.release(what, within=chance.uniform(0, min(took)))
                hits += killed.returncode != 0
                again = mortal.release(what)
                assert again.returncode == 0, f"{what}: {again.stdout}{again.stderr}"
                assert mortal.host.active() == digest_of(what), what
        assert not visitors.failed, f"before kill {first + BATCH} with seed {seed}: {visitors.failed[:3]}"
    assert hits > KILLS / 2, f"{hits} kills have hit a release at work"


def test_kills_at_any_time_of_an_up_are_made_good_by_the_next(stack: Stack, mortal: Mortal) -> None:
    """The same by the real engine, each release a changed variable."""
    del mortal
    host, hits = stack.host, 0
    with Visitors(stack.ports["https_port"], RATE, limit=OF_A_TEST) as visitors:
        for number in range(KILLS_OF_UP):
            stack.configure(env={"KILLED": str(number)})
            running = stack.begin_up()
            host.wait_for(f"systemctl is-active -q {UNIT}")
            time.sleep(random.uniform(0, 2))
            host.do(f"systemctl kill --signal KILL {UNIT}")
            killed = running.wait()
            hits += ENDED in killed.text
            again = stack.up()
            assert f'KILLED="{number}"' in host.run(f"cat /srv/{APP}/shared/.env"), f"{killed}\n{again}"
    assert not visitors.failed
    assert hits > KILLS_OF_UP / 3, f"{hits} kills have hit a release at work"


def test_a_clock_that_is_set_back_confuses_no_release(mortal: Mortal) -> None:
    """What was made last stays last: it serves, the one before stays on the host, and the next release goes on."""
    assert mortal.release("before").returncode == 0
    before = mortal.host.active()
    with Visitors(mortal.https_port, RATE) as visitors:
        for number in range(6):
            done = mortal.release(f"yesterday {number}", back=86400 * (number + 1))
            assert done.returncode == 0, done.stdout + done.stderr
            assert mortal.host.active() == digest_of(f"yesterday {number}")
            kept = mortal.host.run(f"ls /srv/{APP}/config").split()
            assert before in kept, "the release before this one was removed"
            before = mortal.host.active()
        assert mortal.release("today").returncode == 0
    assert mortal.host.active() == digest_of("today")
    assert not visitors.failed


@pytest.fixture
def faulty(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """Return the stack with an application that does what FAULT says, and that serves without one."""
    source = tmp_path / "source"
    shutil.copytree(TREE / "examples" / "guestbook", source, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "wsgi.py").write_text(FAULTS)
    was = stack.configured("app")
    stack.configure(app={"source": None, "version": None})
    stack.configure(app={"source": {"folder": str(source)}, "health": {"seconds": 30}}, env={"FAULT": "none"})
    stack.up()
    yield stack
    stack.configure(app={"source": None})
    stack.configure(app={"source": was["source"], "version": was["version"]}, env={"FAULT": None})


def test_an_application_that_needs_25_seconds_to_start_is_waited_for(faulty: Stack) -> None:
    """The deadline is the stack's own; visitors are with the old release meanwhile."""
    faulty.configure(app={"health": {"seconds": 60}}, env={"FAULT": "slow"})
    with Visitors(faulty.ports["https_port"], RATE) as visitors:
        done = faulty.up()
    assert done.seconds > 25
    assert not visitors.failed


def test_a_health_check_that_hangs_ends_at_its_deadline(faulty: Stack) -> None:
    """Nobody waits for ever; the old release serves."""
    was = faulty.host.active()
    faulty.configure(app={"health": {"seconds": 5}}, env={"FAULT": "hang"})
    with Visitors(faulty.ports["https_port"], RATE) as visitors:
        done = faulty.up(check=False)
    assert not done.succeeded
    assert "is not healthy: wanted 3 answers 200 in a row from /health in 5 s" in done.text
    assert done.seconds < 60
    assert not visitors.failed
    assert faulty.host.active() == was


def test_a_release_that_runs_out_of_memory_reaches_no_visitor(faulty: Stack) -> None:
    """The kernel ends it while it starts, as it does where the server has no more memory."""
    host, was = faulty.host, faulty.host.active()
    idle = "green" if host.slot() == "blue" else "blue"
    drop_in = f"/etc/systemd/system/{service(idle)}.d"
    host.run(f"mkdir -p {drop_in}")
    host.write(f"{drop_in}/memory.conf", "[Service]\nLimitAS=600M\n")
    host.run("systemctl daemon-reload")
    faulty.configure(app={"health": {"seconds": 20}}, env={"FAULT": "memory"})
    with Visitors(faulty.ports["https_port"], RATE) as visitors:
        done = faulty.up(check=False)
    host.run(f"rm -r {drop_in} && systemctl daemon-reload")
    assert not done.succeeded
    assert "MemoryError" in done.text
    assert not visitors.failed
    assert host.active() == was
