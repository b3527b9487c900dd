"""A kill at any instruction, of either end: somebody serves, and the next `up` finishes the work."""

from __future__ import annotations

import time

import pytest

from tests.e2e.host import APP, HOME, Host, service
from tests.e2e.stack import GOOD, NEWER, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SLOW = 8.25
"""Seconds that a build or a migration takes in these tests: time enough to come in between."""

BUILDING = f"echo begun >> began; sleep {SLOW}; echo built >> built"
MIGRATING = f"sleep {SLOW} && flask db upgrade"
AT_WORK = f"pgrep --full 'sleep {SLOW}$'"
ANSWERING = "^sshd(-session)?: root@notty"
"""How sshd calls the process of a session, before and since OpenSSH 9.8."""


@pytest.fixture(autouse=True)
def no_slow_words(stack: Stack) -> None:
    """Begin with v1.0.0, built and migrated as usual."""
    stack.configure(app={"build": None, "migrate": "auto"})
    stack.deploy(GOOD)


def version_of(stack: Stack) -> str:
    """Return the version that serves, which there must be."""
    return stack.site.wait_until_healthy(5)


def test_after_a_reboot_the_right_release_serves_by_itself(stack: Stack) -> None:
    """Nobody logs in: the umbrella unit starts what `active` names, and the state still describes the host."""
    stack.deploy(NEWER)
    host, slot = stack.host, stack.host.slot()
    began = time.monotonic()
    host.shut_down()
    # Units that wait for each other hold up a shutdown until a timeout of minutes.
    assert time.monotonic() - began < 30
    host.boot()
    assert stack.site.wait_until_healthy(60) == "1.1.0"
    assert host.slot() == slot
    other = service("green" if slot == "blue" else "blue")
    assert host.unit(other, "ActiveState")["ActiveState"] == "inactive"
    assert "unchanged" in stack.up().text


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(f"grep -q 'prepare: done' /run/flaskhost/{APP}/release-*.log", id="as stage begins"),
        pytest.param(f"grep -q 'stage: done' /run/flaskhost/{APP}/release-*.log", id="as switch begins"),
        pytest.param(f"test $(readlink {HOME}/active) != slots/$was", id="once active has changed"),
    ],
)
def test_a_power_failure_leaves_a_release_that_serves(stack: Stack, moment: str) -> None:
    """Right after the boot either the old or the new release serves, never none; the next `up` finishes the work."""
    host = stack.host
    was = host.slot()
    hold_requests_back(host, was)
    stack.configure(app={"version": NEWER})
    # The log of a release stays until the next one begins.
    host.run(f"rm -f /run/flaskhost/{APP}/release-*.log")
    running = stack.begin_up()
    host.wait_for(f"was={was}; {moment}")
    host.lose_power()
    running.kill()
    stack.cancel()
    host.boot()
    assert stack.site.wait_until_healthy(60) in ("1.0.0", "1.1.0")
    stack.up()
    assert version_of(stack) == "1.1.0"


def hold_requests_back(host: Host, slot: str) -> None:
    """Let requests wait at a slot that does not take them, so that a switch has something to wait for."""
    host.run(f"systemctl kill --signal STOP {service(slot)}")
    waiting = "import socket,time; s=[socket.socket(socket.AF_UNIX) for _ in range(3)]; "
    waiting += f"[one.connect('{HOME}/run/gunicorn-{slot}.sock') for one in s]; time.sleep(60)"
    host.run(f'setsid python3 -c "{waiting}" > /dev/null 2>&1 &')


def test_a_verb_goes_on_when_its_ssh_session_is_cut(stack: Stack) -> None:
    """The build goes on, and the next `up` follows the verb that runs instead of beginning anew."""
    host = stack.host
    stack.configure(app={"version": NEWER, "build": BUILDING})
    running = stack.begin_up()
    host.wait_for(AT_WORK)
    host.run(f"pkill -KILL --full '{ANSWERING}'")
    cut = running.wait()
    assert not cut.succeeded
    assert host.step_runs("release"), cut
    assert version_of(stack) == "1.0.0"
    again = stack.up()
    assert "is running already: following it" in again.text
    assert version_of(stack) == "1.1.0"
    assert host.run(f"cat {HOME}/app/began {HOME}/app/built").split() == ["begun", "built"]


def test_a_verb_goes_on_when_the_workstation_dies(stack: Stack) -> None:
    """Engine, program and plugin are killed while the release migrates; the host finishes, the next `up` goes on."""
    host = stack.host
    stack.configure(app={"version": NEWER, "migrate": MIGRATING, "gunicorn": {"timeout": 61}})
    running = stack.begin_up()
    host.wait_for(AT_WORK)
    running.kill()
    stack.cancel()
    assert host.step_runs("release")
    assert version_of(stack) == "1.0.0"
    again = stack.up()
    assert "is running already: following it" in again.text
    assert version_of(stack) == "1.1.0"


@pytest.mark.parametrize(
    ("timeout", "slow"),
    [
        pytest.param(62, {"build": BUILDING}, id="prepare"),
        pytest.param(63, {"migrate": MIGRATING}, id="stage"),
    ],
)
def test_a_verb_that_is_killed_leaves_the_old_release_serving(stack: Stack, timeout: int, slow: dict[str, str]) -> None:
    """Half-done work reaches no visitor: `up` fails and says so, and the next one does it all."""
    host = stack.host
    stack.configure(app={"version": NEWER, "gunicorn": {"timeout": timeout}, **slow})
    running = stack.begin_up()
    host.wait_for(AT_WORK)
    host.run(f"systemctl kill --signal KILL flaskhost-{APP}-release.service")
    killed = running.wait()
    assert not killed.succeeded
    assert "was ended before it had finished" in killed.text
    assert version_of(stack) == "1.0.0"
    again = stack.up()
    assert version_of(stack) == "1.1.0"
    # Of a lock that nobody holds it would be ten minutes.
    assert killed.seconds + again.seconds < 300
