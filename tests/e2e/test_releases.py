"""Releases on their way to visitors: the next one, a broken one, a changed setting, and back again."""

from __future__ import annotations

import pytest

from tests.e2e.host import HOME, service
from tests.e2e.load import Visitors
from tests.e2e.stack import BROKEN, GOOD, NEWER, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_up_again_changes_nothing_and_opens_no_ssh_connection(stack: Stack) -> None:
    """An `up` with nothing to change is quick because it asks nobody: sshd's log has not one more login."""
    stack.deploy(GOOD)
    before = stack.host.logins()
    again = stack.up()
    assert before > 0
    assert stack.host.logins() == before, str(again)
    assert "unchanged" in again.text
    for change in ("created", "updated", "replaced", "deleted"):
        assert change not in again.text


def test_the_next_release_costs_no_visitor_a_request(stack: Stack) -> None:
    """Under load, v1.1.0 takes over from v1.0.0: with its migration and its dependency, and without one failure."""
    stack.deploy(GOOD)
    with Visitors(stack.site.https_port) as visitors:
        stack.deploy(NEWER)
    assert visitors.failed == []
    assert visitors.versions == ["1.0.0", "1.1.0"]
    packages = stack.host.run(f"ls {HOME}/venv/lib/python*/site-packages")
    assert "humanize-4.13.0.dist-info" in packages
    assert "flask-3.1.3.dist-info" in packages
    asked = "import sqlite3; print(sqlite3.connect('guestbook.db').execute('select * from alembic_version').fetchall())"
    assert stack.host.run(f'cd {HOME}/shared/data && python3 -c "{asked}"') == "[('0002',)]"


def test_a_broken_release_reaches_no_visitor_and_says_why(stack: Stack) -> None:
    """`up` fails with the application's own traceback; the release before serves all the while; the next one works."""
    stack.deploy(GOOD)
    stack.configure(app={"version": BROKEN})
    with Visitors(stack.site.https_port) as visitors:
        broken = stack.up(check=False)
    assert not broken.succeeded
    assert "Traceback (most recent call last)" in broken.text
    assert "ModuleNotFoundError: No module named 'statsd'" in broken.text
    assert visitors.failed == []
    assert visitors.versions == ["1.0.0"]
    stack.deploy(NEWER)
    assert stack.site.version() == "1.1.0"


def test_a_changed_variable_is_a_release_of_its_own(stack: Stack) -> None:
    """Environment goes through the slots as code does: staged, proven, switched; dependencies are not built again."""
    stack.deploy(GOOD, env={"SITE_TITLE": "Before"})
    host = stack.host
    before = (host.slot(), host.active(), host.run(f"readlink -f {HOME}/venv"))
    with Visitors(stack.site.https_port) as visitors:
        stack.deploy(GOOD, env={"SITE_TITLE": "After the change"})
    after = (host.slot(), host.active(), host.run(f"readlink -f {HOME}/venv"))
    assert visitors.failed == []
    assert "After the change" in stack.site.get("/").text
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, False, True]


def test_a_changed_gunicorn_setting_is_a_release_of_its_own(stack: Stack) -> None:
    """Three workers instead of two: without a restart that a visitor would feel."""
    stack.deploy(GOOD, app={"gunicorn": {"workers": 2}})
    host, before = stack.host, stack.host.slot()
    with Visitors(stack.site.https_port) as visitors:
        stack.deploy(GOOD, app={"gunicorn": {"workers": 3}})
    workers = int(host.run(f"pgrep --count --parent {host.unit(service(host.slot()), 'MainPID')['MainPID']}"))
    stack.configure(app={"gunicorn": {"workers": 2}})
    assert visitors.failed == []
    assert host.slot() != before
    assert workers == 3


def test_a_site_can_do_without_tls_and_with_it_again(stack: Stack) -> None:
    """`web.https: false` serves the pages on port 80 themselves; the release is not touched by that."""
    stack.deploy(GOOD)
    active = stack.host.active()
    stack.deploy(GOOD, web={"https": False})
    assert stack.site.get("/health", plain=True).status == 200
    assert stack.outputs()["url"] == f"http://localhost:{stack.ports['http_port']}/"
    stack.deploy(GOOD, web={"https": True})
    assert stack.site.get("/health", plain=True).status == 301
    assert stack.site.get("/health").status == 200
    assert stack.host.active() == active


def test_the_way_back_builds_nothing_and_brings_everything_back(stack: Stack) -> None:
    """A rollback is the earlier values in the stack file: code, dependencies and environment, under load."""
    stack.deploy(GOOD, env={"SITE_TITLE": "Of the first release"})
    host = stack.host
    first = (host.active(), host.run(f"readlink -f {HOME}/app {HOME}/venv"))
    stack.deploy(NEWER, env={"SITE_TITLE": "Of the second release"})
    releases = host.releases()
    assert "Of the second release" in stack.site.get("/").text
    with Visitors(stack.site.https_port) as visitors:
        back = stack.deploy(GOOD, env={"SITE_TITLE": "Of the first release"})
    assert visitors.failed == []
    assert visitors.versions == ["1.1.0", "1.0.0"]
    assert (host.active(), host.run(f"readlink -f {HOME}/app {HOME}/venv")) == first
    assert host.releases() == releases
    assert "is here already" in back.text
    assert "Of the first release" in stack.site.get("/").text
