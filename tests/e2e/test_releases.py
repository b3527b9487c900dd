"""Releases on their way to visitors: the next one, a broken one, a changed setting, and back again."""

from __future__ import annotations

import pytest

from tests.e2e.host import HOME
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
