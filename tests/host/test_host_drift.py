"""What was changed by hand since flaskhost has last written it: found, told without secrets, and put back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from flaskhost import __main__ as command
from flaskhost.files import remove
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import drift

import rendering
from tests.components import scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.conftest import Server

SLOT = "etc/systemd/system/guestbook-gunicorn@blue.service"
SITE = "etc/nginx/sites-available/guestbook"


@pytest.fixture
def deployed(ready: Server) -> Server:
    """Return a server as `up` has left it."""
    ready.do(scenario.plan().site)
    ready.release()
    return ready


def found(server: Server) -> dict[str, str]:
    """Return what is different: how, by what."""
    seen = drift.drift("guestbook", Progress(server.said))
    return {one["what"].replace(str(server.root), ""): one["how"] for one in seen["differences"]}


def up(server: Server) -> None:
    """Do what an `up` with `drift: preview` does: ask, and hand what it heard to the steps."""
    seen = drift.drift("guestbook", Progress(server.said))
    source = server.code()
    place = rendering.Place(repairs=seen["repairs"], found=tuple(seen["found"]))
    plan = rendering.plan(scenario.of(), source, place)
    for step in ("base", "site", "environment", "prepare", "stage", "switch"):
        more = {"archive": str(source.archive)} if step == "prepare" else {}
        server.do(getattr(plan, step), **more)


def test_nothing_is_different_after_an_up(deployed: Server) -> None:
    """Promise: what flaskhost itself does is no drift, also not when it is done again or another release comes."""
    assert found(deployed) == {}
    deployed.do(scenario.plan().base)
    deployed.do(scenario.plan().site)
    deployed.release("v2")
    assert found(deployed) == {}


def test_looking_changes_nothing(deployed: Server) -> None:
    """Promise: it can be asked at any time, and as often as one likes."""
    before = deployed.tree()
    deployed.calls()
    assert found(deployed) == {}
    assert deployed.tree() == before
    assert deployed.acted() == []


def edit(name: str) -> Callable[[Server], None]:
    """Return what adds a line to a file."""

    def change(server: Server) -> None:
        path = server.root / name
        path.write_text(path.read_text() + "# by hand\n")

    return change


def mode(name: str, bits: int) -> Callable[[Server], None]:
    """Return what gives a file or folder another mode."""
    return lambda server: (server.root / name).chmod(bits)


def gone(name: str) -> Callable[[Server], None]:
    """Return what removes a file or link."""
    return lambda server: remove(server.root / name)


def relink(name: str, to: str) -> Callable[[Server], None]:
    """Return what has a link lead elsewhere."""

    def change(server: Server) -> None:
        remove(server.root / name)
        (server.root / name).symlink_to(to)

    return change


def without(name: str) -> Callable[[Server], None]:
    """Return what takes a unit out of the active or enabled ones."""
    return lambda server: remove(server.fakes / name)


def uninstall(server: Server) -> None:
    """Remove a package."""
    packages = server.fakes / "packages"
    packages.write_text(packages.read_text().replace("git\n", ""))


UNIT = "etc/systemd/system/guestbook.service"
JOURNAL = "etc/systemd/system/guestbook-gunicorn-journal.service"
ENABLED = "etc/nginx/sites-enabled/guestbook"
# Each in its own place, so that they can be made at once: how, where, and what is said.
CHANGED: list[tuple[Callable[[Server], None], str, str]] = [
    (edit(UNIT), f"/{UNIT}", "has another content"),
    (edit(SLOT), f"/{SLOT}", "has another content"),
    (edit(SITE), f"/{SITE}", "has another content"),
    (mode("srv/guestbook", 0o777), "/srv/guestbook", "has the mode 0777 instead of 0755"),
    (mode(JOURNAL, 0o666), f"/{JOURNAL}", "has the mode 0666 instead of 0644"),
    (relink("srv/guestbook/app", "/nowhere"), "/srv/guestbook/app", "leads to /nowhere instead of active/release"),
    (uninstall, "package git", "is not installed"),
    (without("enabled/guestbook.service"), "guestbook.service", "is not there instead of enabled"),
    (without("active/nginx.service"), "nginx.service", "is inactive instead of active"),
]
GONE: list[tuple[Callable[[Server], None], str, str]] = [
    (gone(UNIT), f"/{UNIT}", "is missing"),
    (gone(SITE), f"/{SITE}", "is missing"),
    (gone(ENABLED), f"/{ENABLED}", "is missing"),
    (gone("srv/guestbook/shared/.env"), "/srv/guestbook/shared/.env", "is missing"),
    (without("active/guestbook-gunicorn@blue.service"), SLOT.rpartition("/")[2], "is inactive instead of active"),
]


@pytest.mark.parametrize("changes", [CHANGED, GONE], ids=["changed", "gone"])
def test_each_kind_of_change_is_found_and_put_back(
    deployed: Server, changes: list[tuple[Callable[[Server], None], str, str]]
) -> None:
    """Promise: these are named and nothing else, and after the `up` that was told of them nothing is different."""
    for change, _, _ in changes:
        change(deployed)
    assert found(deployed) == {what: how for _, what, how in changes}
    up(deployed)
    assert found(deployed) == {}


def test_a_file_in_the_place_of_a_link_is_named(deployed: Server) -> None:
    """Promise: it is somebody's work, so `up` does not write over it but says what to do."""
    path = deployed.root / "srv/guestbook/app"
    path.unlink()
    path.touch()
    assert found(deployed) == {"/srv/guestbook/app": "is a file instead of a link"}
    with pytest.raises(Failure, match="was not made by flaskhost"):
        up(deployed)


def test_another_active_release_is_one_difference_and_put_back(deployed: Server) -> None:
    """Promise: what its slot looks like is no news beside it; `up` makes the wanted one active again."""
    wish = deployed.paths.etc / "wanted.json"
    before = wish.read_text()
    deployed.release("v2")
    wish.write_text(before)
    assert list(found(deployed)) == ["active release"]
    up(deployed)
    assert found(deployed) == {}


def test_what_runs_with_a_changed_configuration_is_started_anew_in_the_other_slot(deployed: Server) -> None:
    """Promise: a file that is right again is not enough; visitors lose nothing by it."""
    (config,) = deployed.paths.configs.glob("*/gunicorn.conf.py")
    config.write_text(config.read_text() + "workers = 1\n")
    up(deployed)
    assert deployed.paths.active_slot() == "green"
    up(deployed)
    assert deployed.paths.active_slot() == "green"


def test_a_drop_in_is_found_and_removed(deployed: Server) -> None:
    """Promise: what a person has added to a unit of ours is told by its path; one for all units is not judged."""
    added = deployed.paths.units / "guestbook-gunicorn@blue.service.d/limit.conf"
    added.parent.mkdir()
    added.write_text("[Service]\nLimitNOFILE=10\n")
    general = "/usr/lib/systemd/system/service.d/10-all.conf"
    at = f"/{added.relative_to(deployed.root)}"
    deployed.set("facts/guestbook-gunicorn@blue.service", f"DropInPaths={at} {general}\n")
    assert found(deployed) == {"guestbook-gunicorn@blue.service": f"has an added {at}"}
    up(deployed)
    assert not added.exists()
    assert deployed.paths.active_slot() == "green"


def test_no_content_of_a_secret_file_is_told(deployed: Server) -> None:
    """Promise: that it differs, and nothing of it, neither of before nor of now."""
    (environment,) = deployed.paths.environments.iterdir()
    (configured,) = deployed.paths.configs.glob("*/env")
    for path in (environment, configured):
        path.write_text("SECRET_KEY=other-canary\n")
    seen = drift.drift("guestbook", Progress(deployed.said))
    assert len(seen["differences"]) == 2
    notes = "".join(path.read_text() for path in (deployed.paths.etc / "written").iterdir())
    for text in (json.dumps(seen), notes):
        assert "canary" not in text
    up(deployed)
    assert found(deployed) == {}


def test_the_difference_of_a_text_is_told_without_known_secrets(deployed: Server) -> None:
    """Promise: a reader sees the line that was added; a secret that somebody has copied there is hidden."""
    path = deployed.root / UNIT
    path.write_text(path.read_text() + f"Environment=KEY={scenario.CANARY}\n")
    seen = drift.drift("guestbook", Progress(deployed.said))
    told = "\n".join(drift.lines(seen))
    assert "+Environment=KEY=[secret]" in told
    assert scenario.CANARY not in json.dumps(seen)


def test_what_is_told_stays_the_same_until_something_else_is_different(deployed: Server) -> None:
    """Promise: a preview after the repair has no change; the same change by hand a second time is one again."""
    asked = []
    for _ in range(2):
        edit(SITE)(deployed)
        seen = drift.drift("guestbook", Progress(deployed.said))
        assert seen == drift.drift("guestbook", Progress(deployed.said))
        up(deployed)
        after = drift.drift("guestbook", Progress(deployed.said))
        assert (after["repairs"], after["found"]) == (seen["repairs"], seen["found"])
        asked.append((seen["repairs"], seen["found"]))
    (first, reasons), (second, same) = asked
    assert (first, second) == (1, 2)
    assert reasons == same == [f"{deployed.root}/{SITE} has another content"]


def test_the_command_says_it_for_people_and_for_programs(deployed: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: status 2 where something is different, as `ops drift` has it."""
    assert command.main(["drift", "guestbook"]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    edit(SITE)(deployed)
    assert command.main(["drift", "guestbook"]) == 2
    assert "+# by hand" in capsys.readouterr().out
    assert command.main(["drift", "--json", "guestbook"]) == 0
    assert json.loads(capsys.readouterr().out)["repairs"] == 1


@pytest.mark.parametrize("is_first", [True, False])
def test_a_timer_that_is_stopped_is_found_where_it_has_to_run(ready: Server, is_first: bool) -> None:  # noqa: FBT001
    """Promise: of several hosts the first one alone runs a job, and the others are as they were written without it."""
    source = ready.code()
    settings = scenario.of(app__jobs={"cleanup": {"command": "flask cleanup", "schedule": "hourly"}})
    plan = rendering.plan(settings, source, rendering.Place(label="app1.example.com", is_first=is_first))
    for step in ("environment", "prepare", "stage", "switch"):
        ready.do(getattr(plan, step), **({"archive": str(source.archive)} if step == "prepare" else {}))
    assert found(ready) == {}
    without("active/guestbook-cleanup@blue.timer")(ready)
    stopped = {"guestbook-cleanup@blue.timer": "is inactive instead of active"}
    assert found(ready) == (stopped if is_first else {})


def test_a_port_that_is_closed_is_found(deployed: Server) -> None:
    """Promise: what asks the application at `app.tcp_port` depends on it."""
    deployed.do(scenario.plan(app__tcp_port=8001).base)
    assert found(deployed) == {}
    without("active/guestbook-gunicorn-tcp.socket")(deployed)
    assert found(deployed) == {"guestbook-gunicorn-tcp.socket": "is inactive instead of active"}
