"""Who works on an application, what is remembered of it, and what a release must have before it starts.

One server for all of it, entered by a user with sudo; a second stack of the same name is another clone of the project.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.host import APP, HOME
from tests.e2e.machine import Machine
from tests.e2e.repository import make, release
from tests.e2e.serving import Serving, serve
from tests.e2e.stack import GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

USER = "deployer"
UNIT = f"flaskhost-{APP}-release.service"
PAGES = ("v1.0.1", "v1.0.2", "v1.0.3")
"""Releases each of which has a static file of its own, as a bundler names it."""

NEEDY = "v1.0.4"
"""A release that needs one variable more."""


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server with a user who may use sudo."""
    with Machine("order", server_image) as made:
        made.add_user(USER, made.login_public_key)
        made.allow_sudo(USER, asked=False)
        yield made


def clone(folder: Path, machine: Machine, repository: Path) -> Stack:
    """Return the stack as it is in a clone of the project of its own, with a state of its own."""
    made = Stack(folder, "order", machine=machine)
    made.configure(server={"user": USER}, app={"source": {"repository": str(repository)}})
    return made


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with the releases above."""
    folder = make(tmp_path_factory.mktemp("repository") / "guestbook")
    for tag in PAGES:
        release(folder, tag, {f"guestbook/static/page.{tag}.css": f"/* {tag} */"})
    release(folder, NEEDY, {".env.example": "# OPTIONAL=1\nSECRET_KEY=\nexport API_TOKEN=change-me\n"})
    return folder


@pytest.fixture(scope="module")
def stack(machine: Machine, repository: Path, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack on that server."""
    assert pulumi
    return clone(tmp_path_factory.mktemp("order"), machine, repository)


@pytest.fixture(scope="module")
def serving(stack: Stack) -> Serving:
    """Return the stack with a release that serves, which has had a build and a release command."""
    said = "echo $SITE_TITLE $SECRET_KEY"
    stack.deploy(GOOD, app={"build": "echo building", "on_release": said})
    stack.configure(app={"build": None, "on_release": None})
    stack.up()
    return serve(stack)


def steps(stack: Stack) -> list[dict[str, Any]]:
    """Return what releases.log tells of steps, oldest first."""
    lines = [json.loads(line) for line in stack.host.run(f"cat {HOME}/releases.log").splitlines()]
    return [line for line in lines if line["event"] == "step" and line["step"] == "release"]


def test_the_log_of_releases_tells_who_did_what_and_how_long_it_took(serving: Serving) -> None:
    """One line a step: the login user behind sudo, the address of his session, each phase, the result."""
    first = steps(serving.stack)[0]
    assert first["by"] == USER
    address = serving.host.run(f"journalctl -q --no-pager -u ssh -o cat | grep -o 'publickey for {USER} from [^ ]*'")
    assert first["from"] == address.split()[-1]
    assert (first["version"], first["result"]) == (GOOD, "ok")
    assert list(first["phases"]) == ["prepare", "stage", "checks", "switch"]
    assert all(seconds >= 0 for seconds in first["phases"].values())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["time"])
    assert re.fullmatch(r"[0-9a-f]{64}", first["release"])


def test_the_log_of_a_release_has_the_output_of_its_commands(serving: Serving) -> None:
    """Build, static files, migrations and release command, closed to others, without a secret."""
    log = f"{HOME}/config/{steps(serving.stack)[0]['release']}/output.log"
    assert serving.host.run(f"stat -c '%U:%G %a' {log}") == f"root:{APP} 640"
    text = serving.host.run(f"cat {log}")
    parts = [line.split(" ", 1)[1].split(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert parts == ["build", "static", "migrations", "on_release"]
    assert "    building\n" in text
    assert "Running upgrade" in text
    assert "    Guestbook [secret]" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        pytest.param(
            {"on_release": "echo cold cache; exit 3"},
            ("app.on_release: `echo cold cache; exit 3` ended with status 3", "cold cache", "was not started, v1.0.0"),
            id="release command",
        ),
        pytest.param(
            {"on_release": "echo begun; sleep 30", "on_release_timeout": 3},
            ("did not end within 3 s (flaskhost:app.on_release_timeout)", "begun"),
            id="slow release command",
        ),
        pytest.param(
            {"build": "echo begun; sleep 30", "build_timeout": 3},
            ("did not end within 3 s (flaskhost:app.build_timeout)", "begun"),
            id="slow build",
        ),
    ],
)
def test_a_command_of_a_release_that_fails_switches_nothing(
    serving: Serving, settings: dict[str, Any], said: tuple[str, ...]
) -> None:
    """Its output is in the message, and the release before serves on."""
    serving.refused(*said, app={"version": NEWER, **settings})


def test_a_second_up_waits_says_who_holds_it_and_the_lock_can_be_broken(
    serving: Serving, machine: Machine, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From another clone: as long as lock_wait says. What it says to type ends the work, and the next `up` does it."""
    stack, host = serving.stack, serving.host
    second = clone(tmp_path_factory.mktemp("second"), machine, repository)
    second.configure(app={"version": PAGES[0], "lock_wait": 2})
    stack.configure(app={"version": NEWER, "build": "sleep 300"})
    running = stack.begin_up()
    host.wait_for("pgrep --full 'sleep 300$'")
    refused = second.up(check=False)
    assert not refused.succeeded
    assert "waiting up to 2 s for `flaskhost release guestbook` of v1.1.0, by deployer from " in refused.text
    assert "waited 2 s (flaskhost:app.lock_wait) for `flaskhost release guestbook` of v1.1.0" in refused.text
    assert f"(unit {UNIT})" in refused.text
    typed = re.search(r"end it on the host: `([^`]+)`", refused.text)
    assert typed is not None
    assert typed.group(1) == f"sudo systemctl stop {UNIT}"
    host.run(typed.group(1), user=USER)
    ended = running.wait(60)
    assert not ended.succeeded
    assert "was ended before it had finished" in ended.text
    assert stack.site.version() == "1.0.0"
    assert not host.succeeds("pgrep --full 'sleep 300$'"), "what the step had started ends with it"
    assert steps(stack)[-1]["why"] == f"`flaskhost release {APP}` was ended before it had finished"
    stack.deploy(NEWER, app={"build": None, "lock_wait": 600})
    assert stack.site.version() == "1.1.0"


def test_a_page_of_two_releases_ago_finds_its_files(stack: Stack, serving: Serving) -> None:
    """With a failed release in the other slot, too: all releases on the host have their files found."""
    for tag in PAGES:
        stack.deploy(tag)
    stack.configure(app={"wsgi": "nowhere:app", "migrate": "none"})
    assert not stack.up(check=False).succeeded
    for tag in PAGES:
        found = stack.site.get(f"/static/page.{tag}.css")
        assert (found.status, found.text, found.headers.get("cache-control")) == (
            200,
            f"/* {tag} */",
            "max-age=2592000",
        )
    assert stack.site.get("/static/page.v1.0.9.css").status == 404
    stack.configure(app={"wsgi": None, "migrate": "auto"})
    serving.good = stack.file.read_text()


def test_a_variable_that_the_release_needs_is_asked_for_before_anything_starts(stack: Stack, serving: Serving) -> None:
    """The message names it and the command that sets it; that typed, the release comes."""
    asked = f"./pulumi config set --secret --path flaskhost:secrets.API_TOKEN --stack {stack.name}"
    started = serving.host.run(f"systemctl show -P InvocationID '{APP}-gunicorn@*.service'")
    stack.configure(app={"version": NEEDY})
    refused = stack.up(check=False)
    assert not refused.succeeded
    assert "(missing: API_TOKEN): nothing was started. Set the value, and run `pulumi up` again" in refused.text
    assert asked in refused.text
    assert serving.host.run(f"systemctl show -P InvocationID '{APP}-gunicorn@*.service'") == started
    stack.encrypt("secrets.API_TOKEN", "a-token")
    stack.up()
    assert serving.host.run(f"grep -c API_TOKEN= {HOME}/active/env") == "1"
