"""The way back: by itself while a new release is watched, and by hand on the host where no workstation is at hand."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.host import APP, HOME, Host, service
from tests.e2e.load import Visitors
from tests.e2e.stack import GOOD, NEWER, Stack

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RATE = 20.0
"""Requests a second: what is counted here are answers, which a busy machine must not fail to give by itself."""

WATCH = {"seconds": 15, "requests": 20, "errors": 5}
FAILING = """
inner = app.wsgi_app
def failing(environ, start):
    if environ["PATH_INFO"] == "/health":
        return inner(environ, start)
    print("no row for this visitor, said the release", flush=True)
    start("500 INTERNAL SERVER ERROR", [("Content-Type", "text/plain")])
    return [b"broken"]
app.wsgi_app = failing
"""
"""Healthy for the health check, broken for visitors."""

DYING = """
import os, signal, threading
inner, dying = app.wsgi_app, []
def mortal(environ, start):
    if environ["PATH_INFO"] != "/health" and not dying:
        dying.append(threading.Timer(5, os.kill, (os.getppid(), signal.SIGKILL)))
        dying[0].start()
    return inner(environ, start)
app.wsgi_app = mortal
"""
"""Its master is killed 5 s after the first visitor has come."""


def with_code(code: str) -> str:
    """Return a build command that adds code to the application's entry point."""
    return f'python -c \'open("wsgi.py", "a").write({json.dumps(code)})\''


@pytest.fixture(autouse=True)
def as_usual(stack: Stack) -> None:
    """Begin with v1.0.0, as its authors have written it, which serves for some time."""
    stack.configure(app={"build": None, "watch": {"seconds": 0}})
    stack.deploy(GOOD)


def goes_back(stack: Stack, code: str) -> tuple[str, Visitors]:
    """Deploy a release with that code under watch and under load; it goes back, and `up` says so."""
    host, before = stack.host, stack.host.active()
    stack.configure(app={"version": NEWER, "build": with_code(code), "watch": WATCH})
    with Visitors(stack.site.https_port, rate=RATE) as visitors:
        broken = stack.up(check=False)
    assert not broken.succeeded, str(broken)
    assert "v1.0.0" in broken.text
    assert "serves as before" in broken.text
    assert host.active() == before
    assert stack.site.version() == "1.0.0"
    state = {row["state"] for row in rows(host) if row["version"] == NEWER}
    assert "failed" in state
    return broken.text, visitors


def rows(host: Host) -> list[dict[str, Any]]:
    """Return what `flaskhost releases` tells a program."""
    return list(json.loads(host.run(f"flaskhost releases --json {APP}")))


def test_a_release_that_fails_its_visitors_goes_back_by_itself(stack: Stack) -> None:
    """Healthy, but 500 for visitors: after some seconds the release before serves, with nobody awake for it."""
    text, visitors = goes_back(stack, FAILING)
    failed = visitors.failed
    assert {(visit.status, visit.problem) for visit in failed} == {(500, "")}
    # Going back itself costs nobody an answer: whoever came after the last 500 got the page.
    last = max(visit.sent for visit in failed)
    assert len(failed) >= 20
    assert last - min(visit.sent for visit in failed) < WATCH["seconds"]
    assert any(visit.sent > last for visit in visitors.visits)
    assert "requests were answered with 5xx, in the 5 minutes before it 0 of" in text
    assert "x GET / 500" in text
    assert "no row for this visitor, said the release" in text


def test_what_happened_is_kept_on_the_host_for_people_and_programs(stack: Stack) -> None:
    """The record has the numbers, the page can be read, `status` names it; the stack file put back is no change."""
    goes_back(stack, FAILING)
    host = stack.host
    incident = host.status()["incident"]
    page, record = host.run(f"cat {incident['page']}"), json.loads(host.run(f"cat {incident['page'][:-3]}.json"))
    assert record["evidence"]["since"]["errors"] >= 20
    assert record["release"]["version"] == NEWER
    assert record["serves"]["version"] == GOOD
    assert "Serves now: v1.0.0" in page
    assert "its migrations stay as they are" in page
    assert host.run(f"stat -c '%A %U:%G' {HOME}/incidents {incident['page']}").split("\n") == [
        f"drwxr-x--- root:{APP}",
        f"-rw-r----- root:{APP}",
    ]
    assert f"{NEWER} " in host.run(f"flaskhost status {APP}").partition("last incident")[2]
    assert host.status()["disagreement"] is None
    stack.configure(app={"version": GOOD, "build": None, "watch": {"seconds": 0}})
    assert "unchanged" in stack.up().text
    assert stack.site.version() == "1.0.0"


def test_a_release_that_dies_some_seconds_after_the_switch_goes_back(stack: Stack) -> None:
    """The master is killed 5 s after visitors came: what it had in hand is lost with it, and nothing else."""
    text, visitors = goes_back(stack, DYING)
    assert re.search("does not stay up: its service (ended with status 9|has ended and was started again)", text)
    # Nginx answers for a connection that died: at this rate a handful are in hand.
    assert {(visit.status, visit.problem) for visit in visitors.failed} <= {(502, "")}
    assert len(visitors.failed) < 10
    other = "green" if stack.host.slot() == "blue" else "blue"
    # With cgroup v1 in a container, systemd learns late that a killed service has no processes left, and it has failed.
    stack.host.wait_for(f"systemctl show -p ActiveState --value {service(other)} | grep -qE '^(inactive|failed)$'")


@pytest.mark.parametrize(
    ("breaks", "says", "repairs"),
    [
        (
            f"systemctl disable {APP}.service",
            f"1 of 3 checks failed:.*starts at boot: {APP}.service is not enabled.*No visitor was sent to v1.1.0",
            f"systemctl enable {APP}.service",
        ),
        (
            f"mv /var/log/nginx/{APP}-access.log /root/",
            "1 of 7 checks failed:.*logs: ",
            f"mv /root/{APP}-access.log /var/log/nginx/",
        ),
    ],
    ids=["before the switch", "after it"],
)
def test_a_check_that_fails_leaves_what_the_state_says(stack: Stack, breaks: str, says: str, repairs: str) -> None:
    """The earlier value in the stack file is what serves, so there is nothing to do; what was wrong has a name."""
    host, before = stack.host, stack.host.active()
    host.run(breaks)
    stack.configure(app={"version": NEWER})
    with Visitors(stack.site.https_port, rate=RATE) as visitors:
        failed = stack.up(check=False)
    assert not failed.succeeded
    assert re.search(f"(?s){says}", failed.text), str(failed)
    assert "serves as before" in failed.text
    assert visitors.failed == []
    assert host.active() == before
    assert stack.site.version() == "1.0.0"
    stack.configure(app={"version": GOOD})
    assert "unchanged" in stack.up().text
    host.run(repairs)
    stack.deploy(NEWER)
    assert stack.site.version() == "1.1.0"


def test_a_kill_during_the_watch_leaves_the_new_release_to_the_next_up(stack: Stack) -> None:
    """The new one was proven and serves; the slot before, which ran for the way back, is stopped by the next `up`."""
    host, old = stack.host, stack.host.slot()
    stack.configure(app={"version": NEWER, "watch": {"seconds": 60}})
    with Visitors(stack.site.https_port, rate=RATE) as visitors:
        running = stack.begin_up()
        host.wait_for(f"grep -q 'watch: 60 s' /run/flaskhost/{APP}/release-*.log")
        host.run(f"systemctl kill --signal KILL flaskhost-{APP}-release.service")
        assert not running.wait().succeeded
        assert stack.site.version() == "1.1.0"
        assert host.unit(service(old), "ActiveState")["ActiveState"] == "active"
        stack.up()
    assert visitors.failed == []
    host.wait_for(f"test $(systemctl show -p ActiveState --value {service(old)}) = inactive")
    assert stack.site.version() == "1.1.0"


def test_a_rollback_on_the_host_costs_no_visitor_a_request(stack: Stack) -> None:
    """Two steps back by hand, the same way as in an `up`; host and stack disagree until the stack file follows."""
    host, first = stack.host, stack.host.active()
    stack.deploy(NEWER)
    second = host.active()
    stack.deploy(NEWER, env={"SITE_TITLE": "Third"})
    with Visitors(stack.site.https_port, rate=RATE) as visitors:
        said = host.run(f"flaskhost rollback {APP}")
        assert host.active() == second
        host.run(f"flaskhost rollback {APP}")
    assert visitors.failed == []
    assert visitors.versions == ["1.1.0", "1.0.0"]
    assert host.active() == first
    assert "host and stack disagree" in said
    assert "finds nothing to do" in said
    assert "host and stack disagree" in host.run(f"flaskhost status {APP}")
    assert "rollback" in host.run(f"tail -n 3 {HOME}/releases.log")
    unchanged = stack.up()
    assert "unchanged" in unchanged.text
    assert host.active() == first
    stack.deploy(GOOD, env={"SITE_TITLE": "Guestbook"})
    assert host.status()["disagreement"] is None


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("v9.9.9", f"there is no release 'v9.9.9' of {APP} on this host"),
        ("failed", "cannot serve: it has failed"),
    ],
)
def test_a_rollback_to_what_never_worked_is_refused(stack: Stack, named: str, words: str) -> None:
    """Nothing changes, and the message says what is wrong and where to look."""
    host, before = stack.host, stack.host.active()
    if named == "failed":
        failed = [row["release"] for row in rows(host) if row["state"] == "failed"]
        assert failed, "the tests above leave one"
        named = failed[0][:8]
    refused = host.do(f"flaskhost rollback {APP} {named}")
    assert refused.returncode == 1
    assert words in refused.stdout
    assert f"`flaskhost releases {APP}` lists what is here" in refused.stdout
    assert host.active() == before


def test_a_rollback_beside_a_running_up_comes_after_it(stack: Stack) -> None:
    """It waits, says for what and how to end that; what it was asked for serves at the end, no page missed."""
    host, first = stack.host, stack.host.active()
    stack.configure(app={"version": NEWER, "build": "sleep 6.25"})
    with Visitors(stack.site.https_port, rate=RATE) as visitors:
        running = stack.begin_up()
        host.wait_for("pgrep --full 'sleep 6.25$'")
        said = beside(lambda: host.do(f"flaskhost rollback {APP} {first[:12]}"), running.wait)
    assert f"to end it: sudo systemctl stop flaskhost-{APP}-release.service" in said.stderr
    assert f"({first[:8]}) serves now" in said.stdout
    assert visitors.failed == []
    assert visitors.versions == ["1.0.0", "1.1.0"]
    assert stack.site.version() == "1.0.0"
    assert host.active() == first


def beside(
    one: Callable[[], subprocess.CompletedProcess[str]], other: Callable[[], object]
) -> subprocess.CompletedProcess[str]:
    """Do two things at the same time; return what the first has said."""
    said: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(target=lambda: said.append(one()))
    thread.start()
    other()
    thread.join()
    return said[0]
