"""Order and memory of releases: their commands and logs, their variables, room on the disk, and what stays."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import commands, example, layout, releases, retention, space, statics
from flaskhost.shell import Failure
from hypothesis import given
from hypothesis import strategies as st

from settings import rules
from tests.components import scenario

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    import rendering
    from tests.host.conftest import Server

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "


def deploy(server: Server, content: str, until: str = "switch", **files: str) -> rendering.Plan:
    """Deploy a source with these further files."""
    source = server.code(content, **files)
    plan = scenario.plan(source)
    for step in ("environment", "prepare", "stage", "switch"):
        server.do(getattr(plan, step), **({"archive": str(source.archive)} if step == "prepare" else {}))
        if step == until:
            break
    return plan


def test_what_the_commands_of_a_release_say_is_kept_without_secrets(ready: Server) -> None:
    """Promise: build, static files, migrations and release command, each with time and duration, in one file."""
    secret = f"echo {scenario.CANARY}"
    plan = ready.release(
        "v1", app__build="echo built", app__migrate=f"echo migrated; {secret}", app__on_release="echo ran; echo twice"
    )
    log = releases.read(ready.paths, plan.release).output
    assert log.stat().st_mode & 0o777 == 0o640
    parts = re.split(LINE, log.read_text())
    assert [part.split(": status 0, ")[0] for part in parts[1:]] == [
        "build: echo built",
        "static: guestbook/static is ready for Nginx, 1 file",
        "migrations: echo migrated; echo [secret]",
        "on_release: echo ran; echo twice",
    ]
    assert parts[3].endswith(" s\n    migrated\n    [secret]\n")
    assert parts[4].endswith(" s\n    ran\n    twice\n")


def test_a_long_output_is_kept_to_its_newest_part(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a build that repeats itself does not fill the disk."""
    monkeypatch.setattr(commands, "MOST_CHARACTERS", 100)
    plan = ready.release("v1", until="prepare", app__build="seq 10000")
    text = releases.read(ready.paths, plan.release).output.read_text()
    assert len(text) < 500
    assert "    10000\n" in text


def test_the_message_of_a_long_output_says_where_all_of_it_is(ready: Server) -> None:
    """Promise: what a message leaves out is not lost."""
    with pytest.raises(Failure, match=r"(?s)ended with status 3\n1\n.*all of it is in /\S+/output.log on the host"):
        ready.release("v1", until="prepare", app__build="seq 10000; exit 3")


def test_the_release_command_runs_once_with_the_environment_before_the_start(ready: Server) -> None:
    """Promise: once for each release, after the migrations, as the application."""
    more = {"app__migrate": "echo m >> ../../shared/ran", "app__on_release": "echo r >> ../../shared/ran"}
    ready.release("v1", **more)
    ready.release("v1", **more)
    assert (ready.paths.shared / "ran").read_text() == "m\nr\n"
    (call,) = [line for line in ready.calls() if "--unit=flaskhost-guestbook-on-release.service" in line]
    assert "--property=User=guestbook" in call
    assert "--property=RuntimeMaxSec=600" in call
    assert "/env --property" in call
    ready.release("v2", **more)
    assert (ready.paths.shared / "ran").read_text() == "m\nr\nm\nr\n"


def test_a_failed_release_command_leaves_the_old_release_serving(ready: Server) -> None:
    """Promise: its output is in the message, the release never starts, and the next `up` runs it again."""
    ready.release("v1")
    wanted = r"(?s)app.on_release: `echo no cache; exit 3` ended with status 3\nno cache\n.*v1.0.0 \(.*serves as before"
    with pytest.raises(Failure, match=wanted):
        ready.release("v2", app__on_release="echo no cache; exit 3")
    assert ready.paths.active_slot() == "blue"
    assert "guestbook-gunicorn@green.service" not in ready.active()
    ready.release("v2", app__on_release="echo better")
    assert ready.paths.active_slot() == "green"


@pytest.mark.parametrize("setting", ["build", "on_release"])
def test_a_command_that_takes_too_long_says_which_setting(ready: Server, setting: str) -> None:
    """Promise: the message is not only a status."""
    changes: dict[str, Any] = {f"app__{setting}": "sleep 1; exit 1", f"app__{setting}_timeout": 1}
    with pytest.raises(Failure, match=rf"did not end within 1 s \(flaskhost:app.{setting}_timeout\)"):
        ready.release("v1", **changes)


EXAMPLE = """\
# A comment, and an optional one:
# OPTIONAL=1
SECRET_KEY=change-me
  export SITE_TITLE = "Guestbook"   # with a remark
LONG="begins here
NOT_A_NAME=inside
ends"
LIST='a
ALSO_INSIDE=1
'
EMPTY=
SITE_TITLE=again
not a line
1ST=no
"""


def test_an_example_names_what_a_release_needs() -> None:
    """Promise: assignments count, with export or without; comments and the inside of long values do not."""
    assert example.names(EXAMPLE) == ["SECRET_KEY", "SITE_TITLE", "LONG", "LIST", "EMPTY"]


def test_missing_variables_stop_a_release_before_anything_runs(ready: Server) -> None:
    """Promise: all of them in one message, with the command that sets each; nothing was installed or started."""
    text = "SITE_TITLE=x\nAPI_TOKEN=\nCACHE_DIR=/tmp\nFLASK_APP=wsgi.py\nPORT=8000\n#OTHER=\n"
    with pytest.raises(Failure) as refused:
        deploy(ready, "v1", **{".env.example": text})
    said = str(refused.value).split("\n")
    assert "(missing: API_TOKEN, CACHE_DIR, PORT): nothing was started. Set the values" in said[0]
    assert said[1:4] == [
        "  ./pulumi config set --secret --path flaskhost:secrets.API_TOKEN --stack prod",
        "  ./pulumi config set --path flaskhost:env.CACHE_DIR VALUE --stack prod",
        "  ./pulumi config set --path flaskhost:env.PORT VALUE --stack prod",
    ]
    assert "flaskhost:app.env_example: null" in said[4]
    assert not any("pip install" in call for call in ready.calls())


def test_an_example_is_another_file_or_none_where_the_stack_says_so(ready: Server) -> None:
    """Promise: what the stack names is compared, and nothing with null or without the file."""
    files = {".env.example": "API_TOKEN=\n", "sample": "SITE_TITLE=\n"}
    source = ready.code("v1", **files)
    for file in (None, "sample", "nowhere"):
        plan = scenario.plan(source, app__env_example=file)
        ready.do(plan.environment)
        ready.do(plan.prepare, archive=str(source.archive))


def test_no_example_asks_for_what_a_stack_cannot_set() -> None:
    """Promise: the host takes as set what the settings refuse as the host's own."""
    assert set(rules.RESERVED_NAMES) <= example.SET_BY_THE_HOST


def disk(free: int, inodes: int = 10**6, files: int = 10**6) -> Callable[[object], os.statvfs_result]:
    """Return a statvfs of a disk with so many bytes free."""
    return lambda _path: os.statvfs_result(
        (4096, 4096, 10**9, free // 4096, free // 4096, files, inodes, inodes, 0, 255)
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (disk(100 * space.MEGABYTE), r"100 MB are free, 20\d MB are needed"),
        (disk(10**12, inodes=10), r"10 inodes are free \(`df -i`\), 50\d\d are needed"),
    ],
)
def test_a_disk_without_room_is_named_before_anything_is_written(
    ready: Server, monkeypatch: pytest.MonkeyPatch, found: Callable[[object], os.statvfs_result], words: str
) -> None:
    """Promise: mount point, free and needed, what takes the space, the next step; the host is as it was."""
    ready.release("v1")
    (ready.paths.shared / "media/film").write_bytes(b"x" * 3 * space.MEGABYTE)
    source = ready.code("v2")
    plan = scenario.plan(source)
    ready.do(plan.environment)
    before = ready.tree()
    monkeypatch.setattr(os, "statvfs", found)
    with pytest.raises(Failure, match=rf"the disk at /\S* has no room for the release v1.0.0: {words}") as refused:
        ready.do(plan.prepare, archive=str(source.archive))
    assert f"What takes much: {ready.paths.shared} 3 MB" in str(refused.value)
    assert "Make room, and run `pulumi up` again" in str(refused.value)
    assert ready.tree() == before


def test_a_release_that_is_on_the_host_needs_no_room(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the way back works on a full disk; a file system that counts no inodes has enough."""
    ready.release("v1")
    ready.release("v2")
    monkeypatch.setattr(os, "statvfs", disk(0))
    ready.release("v1")
    monkeypatch.setattr(os, "statvfs", disk(10**12, inodes=0, files=0))
    ready.release("v3")


def test_packages_need_room_as_well(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a first deploy on a small disk ends before apt begins."""
    server.uv()
    monkeypatch.setattr(os, "statvfs", disk(10 * space.MEGABYTE))
    with pytest.raises(Failure, match="no room for packages of the distribution: 10 MB are free"):
        server.do(scenario.plan().base)
    assert not any(" install " in call for call in server.calls())


def statics_of(server: Server, content: str, **files: str) -> rendering.Plan:
    """Deploy a release with these static files."""
    return deploy(server, content, **{f"guestbook/static/{name}": text for name, text in files.items()})


def earlier(server: Server) -> dict[str, str]:
    """Return the files that all releases on the host have, by name."""
    top = server.paths.statics / statics.EARLIER
    return {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}


def test_files_of_earlier_releases_are_found_until_the_release_goes(ready: Server) -> None:
    """Promise: a page that was loaded two releases ago finds its files; what no release has any more is removed."""
    for number in range(4):
        names = {f"css/{number}.css": str(number), "kept.js": "same"}
        plan = statics_of(ready, f"v{number}", **names)
        releases.read(ready.paths, plan.release).update(created=f"2026-01-01-{number:06d}")
    found = earlier(ready)
    assert found == {**{f"css/{number}.css": str(number) for number in range(4)}, "a.css": "v3", "kept.js": "same"}
    ready.do(plan.switch, keep=2)
    assert set(earlier(ready)) == {"css/2.css", "css/3.css", "a.css", "kept.js"}
    css = ready.paths.statics / statics.EARLIER / "css"
    assert css.stat().st_mode & 0o777 == 0o750
    assert (css / "3.css").samefile(ready.paths.statics / plan.release / "css/3.css"), "no second copy on the disk"


def test_a_file_may_become_a_folder_and_a_folder_a_file(ready: Server) -> None:
    """Promise: what an earlier release called so makes room."""
    statics_of(ready, "v1", **{"a": "file", "b/c": "inside"})
    statics_of(ready, "v2", **{"a/d": "inside", "b": "file"})
    assert earlier(ready) == {"a/d": "inside", "b": "file", "a.css": "v2"}


class History:
    """Releases of a host without the host: which there are, which serves, and what is told of it."""

    def __init__(self, keep: int) -> None:
        """Begin with nothing."""
        self.keep = keep
        self.releases: list[releases.Release] = []
        self.events: list[dict[str, Any]] = []
        self.active = self.idle = ""
        self.served: list[str] = []

    def prepare(self) -> releases.Release:
        """Return a new release that could be started."""
        made = releases.Release(layout.Layout("shop", "/srv"), f"r{len(self.events)}", {"prepared": True})
        self.events.append({"event": "prepare", "release": made.digest})
        self.releases.append(made)
        return made

    def fails(self) -> None:
        """Have a new release fail in the idle slot."""
        made = self.prepare()
        made.facts["failed"] = "now"
        self.idle = made.digest

    def serve(self, release: releases.Release, event: str = "switch") -> None:
        """Have visitors reach a release, and prune as a switch does; a rollback on the host does not."""
        if release.digest != self.active:
            self.active, self.idle = release.digest, self.active
            self.events.append({"event": event, "release": release.digest, "before": self.idle or None})
            self.served = [*(one for one in self.served if one != release.digest), release.digest]
        if event == "switch":
            known = releases.served(self.events)
            stays = retention.staying(self.releases, known, self.active, {self.active, self.idle or None}, self.keep)
            self.releases = [one for one in self.releases if one.digest in stays]

    def good(self) -> list[releases.Release]:
        """Return what may serve, as far as it has done so before."""
        return [one for one in self.releases if one.digest in self.served and not one.facts.get("failed")]


STEPS = st.lists(st.sampled_from(["new", "again", "fails", "prepared", "back", "back on the host"]), max_size=40)


@given(steps=STEPS, keep=st.integers(2, 4), choice=st.randoms(use_true_random=False))
def test_whatever_has_happened_there_is_a_way_back(steps: list[str], keep: int, choice: random.Random) -> None:
    """Promise: the active release, the one before and a failed one for a look stay, and no more than is to be kept."""
    history = History(keep)
    history.serve(history.prepare())
    previous = ""
    for step in steps:
        before = history.active
        if step == "fails":
            history.fails()
            continue
        if step == "prepared":
            history.prepare()
            continue
        if step in ("new", "again"):
            history.serve(
                history.prepare() if step == "new" else next(one for one in history.releases if one.digest == before)
            )
        else:
            history.serve(choice.choice(history.good()), "rollback" if step == "back on the host" else "switch")
        previous = before if history.active != before else previous
        there = {one.digest for one in history.releases}
        assert history.active in there
        if step != "back on the host" and previous and releases.served(history.events)[-2:-1] == [previous]:
            assert previous in there
        failed = [one for one in history.releases if one.facts.get("failed")]
        if step != "back on the host":
            assert len(failed) <= 2, "the newest, and what the idle slot holds"
            assert len(history.good()) <= keep + 2, "what a slot holds and the one before may be older ones"


def test_the_release_before_stays_after_a_week_of_failures() -> None:
    """Promise: the idle slot, which held it, holds a failed one by then; it stays all the same."""
    history = History(keep=2)
    for _ in range(3):
        history.serve(history.prepare())
    # Back, and then a new one: the one before that is not among the newest two.
    back = history.good()[0]
    history.serve(back)
    newest = history.prepare()
    history.serve(newest)
    for _ in range(5):
        history.fails()
    history.serve(newest)
    assert back.digest in {one.digest for one in history.releases}


def test_a_switch_that_was_killed_before_it_was_told_counts() -> None:
    """Promise: the release that served is known from the next line, which tells what was left."""
    first, last = {"event": "switch", "release": "a"}, {"event": "switch", "release": "c", "before": "b"}
    assert releases.served([first, last]) == ["a", "b", "c"]


def test_releases_that_were_never_started_push_no_proven_one_out() -> None:
    """Promise: what was prepared only is no way back; the newest of them stays, for another `up` may be at it."""
    history = History(keep=2)
    for _ in range(2):
        history.serve(history.prepare())
    proven = {one.digest for one in history.releases}
    for _ in range(4):
        last = history.prepare()
    history.serve(history.good()[-1])
    assert {one.digest for one in history.releases} == {*proven, last.digest}
