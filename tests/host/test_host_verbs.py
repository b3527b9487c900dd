"""What each verb does on a server, and that a second run of it changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import files, layout, owners, poetry, releases, slots, statics
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import base
from flaskhost.verbs.checks import Checklist

from tests.components import scenario
from tests.host.conftest import Server, serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def twice(server: Server, act: Callable[[], object]) -> None:
    """Assert that doing it again changes nothing: no file is even written anew, no program acts."""
    act()
    before = server.tree()
    server.calls()
    act()
    assert server.acted() == []
    assert server.tree() == before


def test_base_sets_up_the_layout_and_a_second_run_changes_nothing(server: Server) -> None:
    """Promise: packages, accounts, folders, links, umbrella unit; then nothing more."""
    server.uv()
    text = scenario.plan(app__packages=["libvips42"]).base
    found = server.do(text)
    assert found["distribution"] == "debian 12"
    calls = server.calls()
    assert [call.split()[0] for call in calls].count("dpkg-query") == 1
    assert sum(call.startswith("apt-get") and " install " in call for call in calls) == 1, "one transaction"
    home = server.root / "srv/guestbook"
    links = {str(path.relative_to(home)): str(path.readlink()) for path in home.rglob("*") if path.is_symlink()}
    assert links == {
        "app": "active/release",
        "venv": "active/venv",
        "shared/.env": "../active/env",
        "shared/static": "../active/static",
        "run/gunicorn.sock": "../active/gunicorn.sock",
        "slots/blue/gunicorn.sock": "../../run/gunicorn-blue.sock",
        "slots/green/gunicorn.sock": "../../run/gunicorn-green.sock",
    }
    modes = {
        name: (home / name).stat().st_mode & 0o7777 for name in ("config", "static", "shared/media", "shared/data")
    }
    assert modes == {"config": 0o750, "static": 0o750, "shared/media": 0o2750, "shared/data": 0o2770}
    assert (server.root / "etc/systemd/system/guestbook.service").is_file()
    assert (server.fakes / "enabled/guestbook.service").exists()
    assert (server.fakes / "active/guestbook-gunicorn-journal.service").exists()
    twice(server, lambda: server.do(text))


def test_uv_is_fetched_beside_apt_and_its_failure_is_told_after_apts_end(server: Server) -> None:
    """Promise: pip's package comes first, the lists are read once, and no transaction is left half-done."""
    with pytest.raises(Failure, match="has no pip: reinstall python3-venv"):
        server.do(scenario.plan().base)
    told = [call.split()[-1] if " install " in call else "update" for call in server.calls() if "apt-get" in call]
    assert told[:2] == ["update", "python3-venv"]
    assert len(told) == 3
    assert "nginx" in (server.fakes / "packages").read_text()


def test_a_group_without_its_user_is_taken(server: Server) -> None:
    """Promise: what a removed account has left does not keep the application from this host."""
    server.uv()
    server.set("group-guestbook_build")
    server.do(scenario.plan().base)
    made = {call.split()[-1]: call for call in server.calls() if call.startswith("useradd")}
    assert "--gid guestbook_build" in made["guestbook_build"]
    assert "--user-group" in made["guestbook"]


def test_base_refuses_a_name_that_another_stack_has(ready: Server) -> None:
    """Promise: two stacks with one application name do not overwrite each other."""
    with pytest.raises(Failure, match=r"belongs to the stack 'flaskhost/prod'.*choose another"):
        ready.do(scenario.plan(stack="staging").base)


def test_base_refuses_to_leave_uploads_and_data_behind(ready: Server) -> None:
    """Promise: an application does not get an empty place of another name while its site and its units move there."""
    with pytest.raises(Failure, match=r"layout.root: must stay /srv, .*\(got /var/www\): .*put it back"):
        ready.do(scenario.plan(layout__root="/var/www").base)
    assert not (ready.root / "var/www").exists()


def test_base_goes_on_where_a_kill_has_left_it(server: Server) -> None:
    """Promise: a unit that was written and never loaded is loaded by the next run."""
    server.uv()
    text = scenario.plan().base
    server.do(text)
    server.set("facts/guestbook.service", "NeedDaemonReload=yes\n")
    server.calls()
    server.do(text)
    assert "systemctl daemon-reload" in server.acted()


def test_a_failed_transaction_says_what_apt_said(server: Server) -> None:
    """Promise: the message holds apt's own words, and nothing of the application is there."""
    server.uv()
    server.set("apt-fails")
    with pytest.raises(Failure, match="Unable to locate package"):
        server.do(scenario.plan().base)
    assert not (server.root / "srv/guestbook").exists()


@pytest.mark.parametrize("verb", ["environment", "prepare", "stage", "switch", "site"])
def test_no_verb_works_before_base(server: Server, verb: str) -> None:
    """Promise: a verb on a host without the application says so, with the next step."""
    with pytest.raises(Failure, match=r"no application 'guestbook' on this host.*pulumi up"):
        server.do(getattr(scenario.plan(), verb))


def test_the_environment_is_written_once_for_the_application_alone(ready: Server) -> None:
    """Promise: root keeps it, and the application's group reads that of a release; no value of it is said."""
    plan = scenario.plan()
    twice(ready, lambda: ready.do(plan.environment))
    (kept,) = ready.paths.environments.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    path = ready.paths.config(ready.release(until="prepare").release) / "env"
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750
    assert scenario.CANARY in path.read_text()
    assert scenario.CANARY not in ready.said.getvalue()


def test_an_environment_stays_as_long_as_a_release_needs_it(ready: Server) -> None:
    """Promise: secrets of releases that are gone do not stay on the host; what an `up` has just sent does."""
    ready.release("v1")
    sent = scenario.plan(env__SITE_TITLE="Sent")
    ready.do(sent.environment)
    old = ready.paths.environments / "0123456789abcdef"
    old.write_text("A=1\n")
    os.utime(old, (0, 0))
    ready.release("v2")
    left = {path.read_text().count("Sent") for path in ready.paths.environments.iterdir()}
    assert left == {0, 1}
    assert not old.exists()


def test_an_environment_that_is_gone_is_named(ready: Server) -> None:
    """Promise: the message says how to send it again."""
    with pytest.raises(Failure, match=r"environment of this release is missing.*--replace '\*\*::guestbook-environ"):
        ready.do(scenario.plan().prepare)


def test_a_prepared_release_has_all_that_it_needs(ready: Server) -> None:
    """Promise: code, dependencies, static files, configuration; a second run changes nothing."""
    plan = ready.release(until="prepare")
    release = releases.read(ready.paths, plan.release)
    assert release.is_prepared()
    assert (release.source / "wsgi.py").read_text() == 'app = "v1"\n'
    assert release.source.name.endswith(f"-v1.0.0-{plan.release[:8]}")
    assert (release.source / "wsgi.py").stat().st_mode & 0o777 == 0o640
    assert (release.static / "a.css").read_text() == "v1"
    assert (release.venv / "bin/gunicorn").exists()
    twice(ready, lambda: ready.release(until="prepare"))


def test_releases_with_the_same_dependencies_share_them(ready: Server) -> None:
    """Promise: a release that changes code only installs nothing."""
    ready.release("v1", until="prepare")
    ready.calls()
    ready.release("v2", until="prepare")
    assert not any("uv pip" in call or call.startswith("uv ") for call in ready.calls())
    assert len(list(ready.paths.venvs.iterdir())) == 1


def test_a_failed_installation_says_what_uv_said_and_the_next_try_works(ready: Server) -> None:
    """Promise: half a virtual environment is never taken for a whole one."""
    ready.set("uv-fails")
    with pytest.raises(Failure, match=r"(?s)requirements.txt could not be installed.*no such package"):
        ready.release(until="prepare")
    (ready.fakes / "uv-fails").unlink()
    plan = ready.release(until="prepare")
    assert releases.read(ready.paths, plan.release).is_prepared()
    assert len(list(ready.paths.releases.iterdir())) == 1


def test_the_build_command_runs_in_the_source_as_a_shell_reads_it(ready: Server) -> None:
    """Promise: systemd replaces nothing in it: ${NAME} and $$ are the shell's."""
    plan = ready.release(until="prepare", app__build='for f in a b; do echo "${f}-$f" >> built; done')
    assert (releases.read(ready.paths, plan.release).source / "built").read_text() == "a-a\nb-b\n"


def test_a_failed_build_is_told_with_its_output(ready: Server) -> None:
    """Promise: the message names the setting and shows what the command said."""
    with pytest.raises(Failure, match=r"(?s)flaskhost:app.build: `echo oops; exit 3` ended with status 3.*oops"):
        ready.release(until="prepare", app__build="echo oops; exit 3")


def test_a_static_file_that_leads_out_of_the_source_is_refused(ready: Server) -> None:
    """Promise: a build cannot have root copy a file of the host to where visitors read it."""
    with pytest.raises(Failure, match=r"static: 'guestbook/static/x' is a link that leads out"):
        ready.release(until="prepare", app__build="ln -s /etc/hostname guestbook/static/x")
    ready.release("v2", until="prepare", app__build="ln -s ../../wsgi.py guestbook/static/x")


def test_a_static_folder_that_is_not_there_is_named(ready: Server) -> None:
    """Promise: the message names the setting and the value."""
    with pytest.raises(Failure, match=r"flaskhost:app.static: must be a folder of the source \(got 'nowhere'\)"):
        ready.release(until="prepare", app__static="nowhere")


def test_a_missing_archive_or_requirements_file_is_named(ready: Server) -> None:
    """Promise: each message says what is missing and what to do."""
    plan = scenario.plan()
    ready.do(plan.environment)
    with pytest.raises(Failure, match=r"archive of the source on the host is missing.*pulumi up --replace"):
        ready.do(plan.prepare, archive="/nowhere/source.tar")
    empty = ready.root / "empty.tar"
    empty.write_bytes(b"\0" * 10240)
    source = scenario.resolved(archive=empty)
    with pytest.raises(Failure, match=r"requirements.txt is missing in the source: add it"):
        ready.do(scenario.plan(source).prepare, archive=str(empty), wsgi="wsgi:app")


def test_a_release_goes_to_the_idle_slot_and_then_to_visitors(ready: Server) -> None:
    """Promise: stage touches nothing that visitors reach; switch is one rename; the old slot is stopped."""
    first = ready.release("v1")
    assert ready.paths.active_slot() == "blue"
    assert ready.active() == ["guestbook-gunicorn@blue.service", "guestbook-gunicorn@blue.socket", "guestbook.service"]
    second = ready.release("v2", until="stage")
    assert ready.paths.active_slot() == "blue"
    assert releases.in_slot(ready.paths, "green") == second.release
    ready.do(second.switch)
    assert ready.paths.active_slot() == "green"
    assert ready.active() == [
        "guestbook-gunicorn@green.service",
        "guestbook-gunicorn@green.socket",
        "guestbook.service",
    ]
    assert releases.in_slot(ready.paths, "blue") == first.release
    assert (ready.root / "srv/guestbook/app/wsgi.py").read_text() == 'app = "v2"\n'
    events = [json.loads(line)["event"] for line in ready.paths.log.read_text().splitlines()]
    assert events == ["prepare", "stage", "switch"] * 2


@pytest.mark.parametrize("step", ["stage", "switch"])
def test_a_second_stage_or_switch_changes_nothing(ready: Server, step: str) -> None:
    """Promise: the release that runs goes on running; nothing is started, stopped or written."""
    ready.release("v1")
    plan = ready.release("v2", until=step)
    twice(ready, lambda: ready.do(getattr(plan, step)))


def test_going_back_starts_what_is_there(ready: Server) -> None:
    """Promise: a rollback unpacks nothing and installs nothing."""
    first = ready.release("v1")
    ready.release("v2")
    ready.calls()
    ready.release("v1")
    assert releases.active(ready.paths) is not None
    assert str(releases.in_slot(ready.paths, str(ready.paths.active_slot()))) == first.release
    assert not any(call.startswith(("uv", "systemd-run")) for call in ready.calls())


def test_a_release_that_is_not_healthy_is_stopped_and_the_old_one_serves(ready: Server) -> None:
    """Promise: the message holds the release's own log, without any secret; visitors noticed nothing."""
    ready.release("v1")
    ready.set("journal", json.dumps({"MESSAGE": f"KeyError: {scenario.CANARY}", "_PID": "1"}) + "\n")
    with serving(ready.paths.socket("green"), lambda _n: (500, "broken")):
        with pytest.raises(
            Failure, match=r"(?s)not healthy: wanted 3 answers 200.*500 broken.*v1.0.0 .* serves as"
        ) as said:
            ready.release("v2", until="stage")
        assert "KeyError" in str(said.value)
    assert ready.paths.active_slot() == "blue"
    assert "guestbook-gunicorn@blue.service" in ready.active()
    assert "guestbook-gunicorn@green.service" not in ready.active()
    failed = [release for release in releases.every(ready.paths) if release.facts.get("failed")]
    assert len(failed) == 1


def test_a_failed_release_may_be_tried_again(ready: Server) -> None:
    """Promise: the next `up` with the same release stages it anew, and it counts as good then."""
    ready.release("v1")
    with serving(ready.paths.socket("green"), lambda _n: (500, "broken")), pytest.raises(Failure):
        ready.release("v2")
    with serving(ready.paths.socket("green")):
        plan = ready.release("v2")
    assert not releases.read(ready.paths, plan.release).facts.get("failed")
    assert ready.paths.active_slot() == "green"


def test_a_release_that_restarted_once_in_its_life_is_no_failed_one(ready: Server) -> None:
    """Promise: a crash of last week does not make every later `up` fail."""
    plan = ready.release("v1")
    ready.set("facts/guestbook-gunicorn@blue.service", "NRestarts=2\n")
    assert ready.do(plan.stage)["slot"] == "blue"
    assert ready.do(plan.switch)["slot"] == "blue"


def test_a_release_that_crashes_while_it_starts_has_failed_at_once(ready: Server) -> None:
    """Promise: nobody waits for a minute for a release whose service has ended."""
    ready.release("v1")
    ready.set("facts/guestbook-gunicorn@green.service", "NRestarts=1\nExecMainStatus=3\n")
    with pytest.raises(Failure, match=r"does not stay up: its service ended with status 3 .*restarts: 1"):
        ready.release("v2", until="stage")


def test_what_a_killed_stage_has_left_running_is_staged_as_a_whole(ready: Server) -> None:
    """Promise: an unhealthy release in the idle slot is started anew and told with its log if it fails again."""
    ready.release("v1")
    plan = ready.release("v2", until="stage")
    ready.calls()
    anew = "start --no-block guestbook-gunicorn@green.service"

    def answer(_n: int) -> tuple[int, str]:
        return (200, "ok") if anew in (ready.fakes / "calls").read_text() else (500, "not yet")

    with serving(ready.paths.socket("green"), answer):
        ready.do(plan.stage)
    assert f"systemctl {anew}" in ready.acted()


def test_an_active_release_that_was_stopped_is_started_where_it_is(ready: Server) -> None:
    """Promise: `stage` of the active release does not move it to the other slot."""
    plan = ready.release("v1")
    (ready.fakes / "active/guestbook-gunicorn@blue.service").unlink()
    assert ready.do(plan.stage)["slot"] == "blue"
    assert releases.in_slot(ready.paths, "green") is None


def test_a_damaged_or_missing_upload_is_not_unpacked(ready: Server) -> None:
    """Promise: what runs is what the digest says, and the message names the command that uploads it again."""
    source = ready.code("v1")
    plan = scenario.plan(source)
    ready.do(plan.environment)
    assert source.archive
    source.archive.write_bytes(source.archive.read_bytes() + b"more")
    with pytest.raises(Failure, match="is not the one that was uploaded") as damaged:
        ready.do(plan.prepare, archive=str(source.archive))
    assert "pulumi up --replace '**::guestbook-source'" in str(damaged.value)
    source.archive.unlink()
    with pytest.raises(Failure, match="is missing"):
        ready.do(plan.prepare, archive=str(source.archive))
    assert not list(ready.paths.releases.glob("*/wsgi.py"))


@pytest.mark.parametrize(
    ("look", "error", "is_blamed"),
    [
        ("_prove", Failure("not healthy behind the pointer"), True),
        ("Checklist.of_release", Failure("not healthy behind the pointer"), False),
        ("_point", OSError("not healthy behind the pointer"), True),
    ],
)
def test_a_release_that_is_not_as_it_should_be_where_visitors_reach_it_is_taken_back(
    ready: Server, monkeypatch: pytest.MonkeyPatch, look: str, error: Exception, *, is_blamed: bool
) -> None:
    """Promise: the slot before runs until the new one has proven itself behind the pointer, and gets it back if not.

    What fails in a check may be the host's fault: the release may still be gone back to.
    """

    def unhealthy(*_: object) -> None:
        raise error

    ready.release("v1")
    before = releases.active(ready.paths)
    plan = ready.release("v2", until="stage")
    monkeypatch.setattr(f"flaskhost.verbs.switch.{look}", unhealthy)
    with pytest.raises(Failure, match=r"not healthy behind the pointer\n.* serves as before"):
        ready.do(plan.switch)
    now = releases.active(ready.paths)
    assert before is not None
    assert now is not None
    assert now.digest == before.digest
    assert layout.service("guestbook", "blue") in ready.active()
    assert layout.service("guestbook", "green") not in ready.active()
    assert bool(releases.read(ready.paths, plan.release).facts.get("failed")) == is_blamed


def test_nobody_is_sent_to_a_release_while_the_host_is_not_as_it_should_be(
    ready: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: nothing is switched, the new slot is stopped, and the release, which is not to blame, may come later."""
    ready.release("v1")
    plan = ready.release("v2", until="stage")
    ready.calls()
    broken = Failure("1 of 3 checks failed:\nnginx: broken")
    with monkeypatch.context() as patched:

        def of_host(_self: object) -> None:
            raise broken

        patched.setattr("flaskhost.verbs.switch.Checklist.of_host", of_host)
        with pytest.raises(Failure, match=r"(?s)nginx: broken.No visitor was sent to .*serves as before.*Repair"):
            ready.do(plan.switch)
    assert layout.service("guestbook", "blue") in ready.active()
    assert layout.service("guestbook", "green") not in ready.active()
    assert not releases.read(ready.paths, plan.release).facts.get("failed")
    ready.do(plan.switch)
    assert layout.service("guestbook", "green") in ready.active()


def test_a_switch_that_was_killed_after_the_rename_is_finished(ready: Server) -> None:
    """Promise: the slot that nobody points to any more is drained and stopped by the next run."""
    ready.release("v1")
    plan = ready.release("v2", until="stage")
    ready.paths.active.unlink()
    ready.paths.active.symlink_to("slots/green")
    ready.do(plan.switch)
    assert "guestbook-gunicorn@blue.service" not in ready.active()


def test_the_queue_of_the_old_socket_is_waited_for(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: requests that wait in the old socket are answered before it is stopped; complaints of ss are none."""
    monkeypatch.setattr("flaskhost.slots.QUEUE_SECONDS", 0.2)
    ready.release("v1")
    ready.set("ss", "Failed to find cgroup2 mount\nu_str LISTEN 3 2048 /srv/x.sock 123 * 0\n")
    ready.release("v2")
    assert "requests still wait for blue after 0.2 s" in ready.said.getvalue()
    ready.set("ss", "Failed to find cgroup2 mount\nu_str LISTEN 0 2048 /srv/x.sock 123 * 0\n")
    ready.release("v3")
    assert "requests still wait for green" not in ready.said.getvalue()


def test_a_unit_that_systemd_refuses_is_never_started(ready: Server) -> None:
    """Promise: units are checked before systemd reads them, also when it is tried again; the message is systemd's."""
    ready.set("analyze", "guestbook-gunicorn@blue.service:3: Unknown key\n")
    for _ in range(2):
        with pytest.raises(Failure, match=r"(?s)systemd refuses the unit.*Unknown key"):
            ready.release("v1")
    assert not any("gunicorn" in unit for unit in ready.active())


def test_migrations_run_once_for_a_release_with_its_environment(ready: Server) -> None:
    """Promise: a failed start does not migrate again; the command is the shell's own."""
    command = "for i in 1; do echo ${i}$i >> ../../shared/ran; done"
    ready.release("v1", app__migrate=command)
    ready.release("v1", app__migrate=command)
    assert (ready.paths.shared / "ran").read_text() == "11\n"
    assert any("EnvironmentFile=" in call and "-p" in call for call in ready.calls() if call.startswith("systemd-run"))


def test_failed_migrations_leave_the_old_release_serving(ready: Server) -> None:
    """Promise: the message holds what the tool said, and the release never starts."""
    ready.release("v1")
    with pytest.raises(
        Failure, match=r"(?s)migrations failed: .*`echo no such table; exit 1` ended with status 1\nno such table"
    ):
        ready.release("v2", app__migrate="echo no such table; exit 1")
    assert ready.paths.active_slot() == "blue"
    assert "guestbook-gunicorn@green.service" not in ready.active()


def test_flask_migrates_where_there_is_a_folder_for_it(ready: Server) -> None:
    """Promise: `auto` means flask db upgrade with a migrations folder, and nothing without."""
    ready.release("v1", until="stage")
    assert not any("db upgrade" in call for call in ready.calls())
    source = ready.code("v2", **{"migrations/env.py": "# alembic\n"})
    plan = scenario.plan(source)
    ready.do(plan.environment)
    ready.do(plan.prepare, archive=str(source.archive))
    with pytest.raises(Failure, match="`flask db upgrade`"):
        ready.do(plan.stage)


def kept(server: Server) -> set[str]:
    """Return the digests of the releases that are on the server, with everything of them."""
    found = {release.digest for release in releases.every(server.paths)}
    assert {release.source.name for release in releases.every(server.paths)} == {
        path.name for path in server.paths.releases.iterdir()
    }
    assert {path.name for path in server.paths.statics.iterdir()} <= {*found, statics.EARLIER}
    return found


def aged(server: Server, plan_release: str, number: int) -> None:
    """Let a release be from another second than the others: stamps count seconds."""
    releases.read(server.paths, plan_release).update(created=f"2026-01-01-{number:06d}")


def test_the_newest_releases_stay(ready: Server) -> None:
    """Promise: keep-N removes the oldest with all that belongs to them, never what a slot holds."""
    digests = []
    for number in range(5):
        plan = ready.release(f"v{number}", app__keep=3)
        aged(ready, plan.release, number)
        digests.append(plan.release)
    ready.do(plan.switch)
    assert kept(ready) == set(digests[-3:])
    back = ready.release("v2", app__keep=3)
    for number in (6, 7):
        newer = ready.release(f"v{number}", until="prepare", app__keep=3)
        aged(ready, newer.release, number)
    ready.do(back.switch)
    assert back.release in kept(ready), "the active one, however old it is"
    assert digests[-1] in kept(ready), "the previous one, in the other slot"


def test_failed_releases_do_not_count_and_one_stays_for_a_look(ready: Server) -> None:
    """Promise: a week of failures removes no good release to go back to (Deployer #814)."""
    good = []
    for number in range(3):
        plan = ready.release(f"v{number}", app__keep=2)
        aged(ready, plan.release, number)
        good.append(plan.release)
    failed = []
    with serving(ready.paths.socket("green"), lambda _n: (500, "broken")):
        for number in range(3, 6):
            bad = scenario.plan(ready.code(f"v{number}"), app__keep=2)
            ready.do(bad.environment)
            ready.do(bad.prepare, archive=str(ready.code(f"v{number}").archive))
            aged(ready, bad.release, number)
            releases.read(ready.paths, bad.release).update(failed="2026-01-01")
            failed.append(bad.release)
    ready.do(plan.switch)
    assert kept(ready) == {*good[-2:], failed[-1]}


def test_dependencies_stay_as_long_as_a_release_needs_them(ready: Server) -> None:
    """Promise: a virtual environment goes with the last release that uses it."""
    first = ready.release("v1")
    source = ready.code("v2", **{"requirements.txt": "flask==3.1.0\n"})
    plan = scenario.plan(source, app__keep=2)
    for step, more in (
        ("environment", {}),
        ("prepare", {"archive": str(source.archive)}),
        ("stage", {}),
        ("switch", {}),
    ):
        ready.do(getattr(plan, step), **more)
    both = {releases.read(ready.paths, one).venv.name for one in (first.release, plan.release)}
    assert {path.name for path in ready.paths.venvs.iterdir()} == both
    assert len(both) == 2
    (ready.paths.venvs / "half").mkdir()
    ready.do(plan.switch)
    assert {path.name for path in ready.paths.venvs.iterdir()} == both


def test_a_half_removed_release_is_prepared_anew(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a removal that was killed leaves nothing that counts as a release."""
    old = ready.release("v0")
    aged(ready, old.release, 0)
    for number in (1, 2):
        plan = ready.release(f"v{number}")
        aged(ready, plan.release, number)

    class KilledError(BaseException):
        pass

    def killed(path: object) -> None:
        raise KilledError(path)

    monkeypatch.setattr("flaskhost.retention.remove", killed)
    with pytest.raises(KilledError):
        ready.do(plan.switch, keep=2)
    assert not releases.read(ready.paths, old.release).is_prepared()
    assert not (ready.paths.active.resolve() / "gone").exists()


def test_the_site_is_checked_loaded_and_then_left_alone(ready: Server) -> None:
    """Promise: nginx -t comes before the reload; a second run does neither reload nor write."""
    ready.set("active/nginx.service")
    twice(ready, lambda: ready.do(scenario.plan().site))
    assert not (ready.root / "etc/nginx/sites-enabled/default").is_symlink()
    link = ready.root / "etc/nginx/sites-enabled/guestbook"
    assert str(link.readlink()) == "/etc/nginx/sites-available/guestbook"
    key = ready.root / "etc/flaskhost/guestbook/tls/key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    ready.do(scenario.plan(web__timeout=90).site)
    calls = ready.calls()
    assert calls.index("nginx -t -q") < calls.index("systemctl --no-ask-password reload nginx.service")


def test_a_refused_site_is_taken_back_and_what_was_before_stays(ready: Server) -> None:
    """Promise: Nginx never has a file that it refuses; the message is Nginx's own."""
    ready.set("active/nginx.service")
    ready.do(scenario.plan().site)
    before = ready.tree()
    ready.set("nginx-fails", "proxy_read_timeout 90s")
    ready.calls()
    with pytest.raises(Failure, match=r"(?s)the one before is back.*unknown directive"):
        ready.do(scenario.plan(web__timeout=90).site)
    assert {name: entry[-1] for name, entry in ready.tree().items() if name.startswith("etc/nginx/sites-a")} == {
        name: entry[-1] for name, entry in before.items() if name.startswith("etc/nginx/sites-a")
    }
    assert ready.acted() == []


def test_a_refused_first_site_leaves_the_host_as_it_was(ready: Server) -> None:
    """Promise: also the page of the distribution is back."""
    ready.set("nginx-fails")
    with pytest.raises(Failure):
        ready.do(scenario.plan().site)
    enabled = ready.root / "etc/nginx/sites-enabled"
    assert [path.name for path in enabled.iterdir()] == ["default"]
    assert not (ready.root / "etc/nginx/sites-available/guestbook").exists()


def test_a_site_that_a_killed_try_has_written_is_loaded(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: files that are right already are no reason to skip the reload that never came."""
    ready.set("active/nginx.service")
    plain = scenario.plan()
    ready.do(plain.site)
    changed = scenario.plan(web__timeout=90)

    class KilledError(BaseException):
        pass

    def killed(*_words: object, **_named: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("flaskhost.verbs.site.run", killed)
        with pytest.raises(KilledError):
            ready.do(changed.site)
    ready.set("nginx-fails", "proxy_read_timeout 90s")
    with pytest.raises(Failure, match="the one before is back"):
        ready.do(changed.site)
    assert "proxy_read_timeout 60s" in (ready.root / "etc/nginx/sites-available/guestbook").read_text()
    (ready.fakes / "nginx-fails").unlink()
    with monkeypatch.context() as patched:
        patched.setattr("flaskhost.verbs.site.run", killed)
        with pytest.raises(KilledError):
            ready.do(changed.site)
    ready.calls()
    ready.do(changed.site)
    assert "systemctl reload nginx.service" in ready.acted()


@pytest.mark.parametrize("leads", ["/etc/nginx/sites-available/other", "../sites-available/other", None])
def test_a_name_that_another_site_claims_is_refused(ready: Server, leads: str | None) -> None:
    """Promise: Nginx would only warn, and answer for one of the two; the message names the setting and the site."""
    folder = ready.root / "etc/nginx"
    text = "server {\n    server_name a.example www.guestbook.example;\n}\n"
    (folder / ("sites-available" if leads else "sites-enabled") / "other").write_text(text)
    if leads:
        (folder / "sites-enabled/other").symlink_to(leads)
    before = ready.tree()
    with pytest.raises(
        Failure, match=r"web\.domains: www\.guestbook\.example is the name of another site.*enabled/other"
    ):
        ready.do(scenario.plan().site)
    assert ready.tree() == before
    ready.do(scenario.plan(web__domains=["guestbook.example"]).site)
    ready.do(scenario.plan(web__domains=["guestbook.example"]).site)


def test_two_applications_cannot_both_answer_for_every_name(ready: Server) -> None:
    """Promise: who comes second is told to name the domains, before Nginx complains of a duplicate."""
    text = "# made by flaskhost from templates/x\nserver {\n    listen 80 default_server;\n    server_name _;\n}\n"
    (ready.root / "etc/nginx/sites-enabled/shop").write_text(text)
    with pytest.raises(
        Failure, match=r"web\.domains: must be given, since the application 'shop' of this host answers"
    ):
        ready.do(scenario.plan(web__domains=[]).site)
    ready.do(scenario.plan().site)


def test_a_broken_file_of_somebody_else_is_named_and_the_site_stays_as_it_was(ready: Server) -> None:
    """Promise: who reads the message knows which file to repair, and that it is not flaskhost's."""
    ready.do(scenario.plan().site)
    ready.set("nginx-fails")
    with pytest.raises(Failure, match=r"because of /etc/nginx/conf\.d/odd\.conf:7, which is not of this site"):
        ready.do(scenario.plan(web__timeout=90).site)
    assert "proxy_read_timeout 60s" in (ready.root / "etc/nginx/sites-available/guestbook").read_text()


def test_a_port_that_another_program_has_is_named_with_that_program(ready: Server) -> None:
    """Promise: nothing is changed then; Nginx itself on the port is as it should be."""
    line = 'LISTEN 0 511 0.0.0.0:443 0.0.0.0:* users:(("{}",pid=12,fd=6))\n'
    ready.set("ss", line.format("haproxy"))
    before = ready.tree()
    with pytest.raises(Failure, match=r"port 443 of this host is in use by haproxy \(pid 12\).*disable --now haproxy"):
        ready.do(scenario.plan().site)
    assert ready.tree() == before
    ready.do(scenario.plan(web__https=False).site)
    assert not (ready.root / "etc/nginx/sites-enabled/flaskhost-default-tls").is_symlink()
    ready.set("ss", line.format("nginx"))
    ready.do(scenario.plan().site)
    assert (ready.root / "etc/nginx/sites-enabled/flaskhost-default-tls").is_symlink()


def test_long_names_get_room_unless_the_host_gives_it(ready: Server) -> None:
    """Promise: Nginx takes every name that the settings take; its directive for that may stand there once only."""
    long = scenario.plan(web__domains=[f"{'long.' * 20}example"])
    ours = ready.root / "etc/nginx/conf.d/flaskhost-names.conf"
    twice(ready, lambda: ready.do(long.site))
    assert "server_names_hash_bucket_size 512;" in ours.read_text()
    ours.unlink()
    (ready.root / "etc/nginx/conf.d/theirs.conf").write_text("  server_names_hash_bucket_size 256;\n")
    ready.do(long.site)
    assert not ours.exists()


def test_a_file_of_somebody_else_is_never_overwritten(ready: Server) -> None:
    """Promise: a site that flaskhost did not make is not touched, and the message says what to do."""
    path = ready.root / "etc/nginx/sites-available/guestbook"
    path.write_text("# mine\n")
    with pytest.raises(Failure, match="was not made by flaskhost: move it away"):
        ready.do(scenario.plan().site)
    assert path.read_text() == "# mine\n"


def test_the_logs_of_a_site_are_closed_to_other_applications(ready: Server) -> None:
    """Promise: Nginx finds its logs there, readable by root, Nginx and administrators only, also when it made them."""
    logs = [ready.root / f"var/log/nginx/guestbook-{kind}.log" for kind in ("access", "error")]
    logs[0].write_text("of an earlier version of flaskhost\n")
    logs[0].chmod(0o644)
    ready.do(scenario.plan().site)
    assert [log.stat().st_mode & 0o777 for log in logs] == [0o640, 0o640]
    assert logs[0].read_text() == "of an earlier version of flaskhost\n"
    ready.release("v1")
    assert ready.paths.log.stat().st_mode & 0o777 == 0o640


def test_other_domains_get_another_certificate(ready: Server) -> None:
    """Promise: the certificate is for the names of the site, and stays as long as these do."""
    certificate = ready.root / "etc/flaskhost/guestbook/tls/certificate.pem"
    ready.do(scenario.plan().site)
    first = certificate.read_bytes()
    ready.do(scenario.plan(web__timeout=90).site)
    assert certificate.read_bytes() == first
    ready.do(scenario.plan(web__domains=["other.example", "192.0.2.1"]).site)
    assert certificate.read_bytes() != first


def test_the_site_for_nobodys_names_gives_way_to_one_that_wants_every_name(ready: Server) -> None:
    """Promise: domains may go and come again; Nginx never has two sites for the names that nobody claims."""
    enabled = ready.root / "etc/nginx/sites-enabled/flaskhost-default"
    ready.do(scenario.plan().site)
    assert enabled.is_symlink()
    ready.do(scenario.plan(web__domains=[]).site)
    assert not enabled.is_symlink()
    ready.do(scenario.plan().site)
    assert enabled.is_symlink()


def test_a_refused_site_leaves_the_site_for_nobodys_names_as_it_was(ready: Server) -> None:
    """Promise: with the files before, also what is enabled is as before: Nginx could not start with both."""
    enabled = ready.root / "etc/nginx/sites-enabled/flaskhost-default"
    for good, refused in (([], ["a.example"]), (["a.example"], [])):
        ready.do(scenario.plan(web__domains=good).site)
        was = enabled.is_symlink()
        ready.set("nginx-fails")
        with pytest.raises(Failure, match="Nginx refuses"):
            ready.do(scenario.plan(web__domains=refused).site)
        assert enabled.is_symlink() == was
        (ready.fakes / "nginx-fails").unlink()


def test_a_version_of_the_command_that_another_application_works_with_stays(ready: Server) -> None:
    """Promise: an application's upgrade of the flaskhost command does not take away the one that another calls."""
    for name in ("used", "unused", "young"):
        (base.LIBRARY / name / "bin").mkdir(parents=True)
        (base.LIBRARY / name / "bin" / "flaskhost").touch()
        os.utime(base.LIBRARY / name, None if name == "young" else (0, 0))
    poetries = [f"poetry-{version}-3.11.2" for version in (poetry.version(), "1.0.0")]
    for name in poetries:
        (base.LIBRARY / name / "bin").mkdir(parents=True)
        (base.LIBRARY / name / "bin" / "poetry").touch()
        os.utime(base.LIBRARY / name, (0, 0))
    other = ready.root / "etc/flaskhost/other"
    other.mkdir()
    (other / "app.json").write_text(layout.remember("other", {"root": "/srv", "command": str(base.LIBRARY / "used")}))
    ready.do(scenario.plan().base)
    assert (base.LIBRARY / "used").exists()
    assert not (base.LIBRARY / "unused").exists()
    assert (base.LIBRARY / "young").exists(), "another stack may be about to work with it"
    assert [path.name for path in sorted(base.LIBRARY.glob("poetry-*"))] == [poetries[0]]


def test_the_umbrella_starts_what_is_active(ready: Server) -> None:
    """Promise: at boot the active slot starts and the idle one does not; before the first switch nothing does."""
    from flaskhost.verbs import umbrella  # noqa: PLC0415 - the name would hide the word in this module

    umbrella.start("guestbook")
    assert ready.acted() == []
    ready.release("v1")
    slots.stop(ready.paths, "blue")
    assert not any("gunicorn" in unit for unit in ready.active())
    umbrella.start("guestbook")
    assert layout.service("guestbook", "blue") in ready.active()
    assert layout.service("guestbook", "green") not in ready.active()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("getpwnam(): name not found")])
def test_the_umbrella_starts_the_slot_where_owners_cannot_be_put_back(
    ready: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """Promise: a full disk at boot keeps nothing down; the journal says what could not be done."""
    from flaskhost.verbs import umbrella  # noqa: PLC0415 - as above

    def fails(_paths: layout.Layout) -> None:
        raise error

    ready.release("v1")
    slots.stop(ready.paths, "blue")
    monkeypatch.setattr("flaskhost.owners.restore", fails)
    umbrella.start("guestbook")
    assert layout.service("guestbook", "blue") in ready.active()
    assert str(error) in capsys.readouterr().out


def test_owners_are_put_back_while_a_release_goes(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: `prepare` and its pruning may take files away meanwhile; all others are put back."""
    plan = ready.release("v1")
    folder = ready.paths.config(plan.release)
    real, names = files.own, []

    def own(path: Path, **how: Any) -> None:
        names.append(path.name)
        if path.name == "stage.json":
            path.unlink()
        real(path, **how)

    monkeypatch.setattr(owners, "own", own)
    ready.paths.configs.chmod(0o755)
    (folder / "env").chmod(0o644)
    assert owners.restore(ready.paths) == [str(ready.paths.configs)]
    assert "stage.json" in names
    assert (folder / "env").stat().st_mode & 0o777 == 0o640


def test_a_person_sees_what_serves_and_what_is_kept(ready: Server) -> None:
    """Promise: `status` and `releases` tell the active release, the slots and the failed ones."""
    from flaskhost.verbs import status  # noqa: PLC0415 - as above

    assert status.status("guestbook")["active"] is None
    first, second = ready.release("v1"), ready.release("v2")
    aged(ready, first.release, 1)
    found = status.status("guestbook")
    assert found["slot"] == "green"
    assert found["slots"]["green"]["state"] == "active"
    assert [(row["release"], row["state"]) for row in status.every("guestbook")] == [
        (second.release, "active"),
        (first.release, "kept"),
    ]


@pytest.fixture
def checks(ready: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    """Return what looks at a release that serves; what Nginx answers is asked by the tests with a real server."""
    for name in ("_http", "_https", "_redirect"):
        monkeypatch.setattr(f"flaskhost.verbs.checks.{name}", lambda _check: (True, "answers"))
    ready.release("v1", env={}, secrets={})
    for name in ("active/nginx.service", "enabled/nginx.service"):
        ready.set(name)
    ready.set("facts/guestbook-gunicorn@blue.service", f"NRestarts=0\nMainPID={os.getpid()}\n")
    (ready.root / "var/log/nginx/guestbook-access.log").write_text("a request\n")

    def look() -> dict[str, str]:
        active = releases.active(ready.paths)
        assert active is not None
        checklist = Checklist(ready.paths, active, Progress(ready.said))
        checklist.of_host()
        checklist.of_release()
        return checklist.found

    return look


def test_a_site_without_tls_is_looked_at_as_its_visitors_do(
    ready: Server, checks: Callable[[], dict[str, str]]
) -> None:
    """Promise: no certificate is made and none is asked for."""
    plain = scenario.plan(web__https=False, env={}, secrets={})
    ready.do(plain.site)
    ready.do(plain.stage, release=scenario.plan(ready.code("v1"), env={}, secrets={}).release)
    assert not (ready.root / "etc/flaskhost/guestbook/tls").exists()
    found = checks()
    assert "http" in found
    assert not {"https", "redirect to https"} & set(found)


def test_the_checks_look_at_every_point(ready: Server, checks: Callable[[], dict[str, str]]) -> None:
    """Promise: each point is seen and told; looking twice changes nothing."""
    found = checks()
    assert set(found) == {
        "active release",
        "gunicorn",
        "starts at boot",
        "nginx",
        "health",
        "https",
        "redirect to https",
        "environment",
        "logs",
        "error log",
    }
    assert all(text.startswith("ok: ") for text in found.values())
    twice(ready, checks)


def test_a_failed_check_is_named_and_the_others_are_looked_at_all_the_same(
    ready: Server, checks: Callable[[], dict[str, str]]
) -> None:
    """Promise: one look shows everything that is wrong."""
    ready.set("nginx-fails")
    (ready.fakes / "enabled/guestbook.service").unlink()
    with pytest.raises(Failure, match=r"2 of 3 checks failed:\nstarts at boot: .* is not enabled\nnginx: "):
        checks()
    assert "ok     redirect to https" in ready.said.getvalue()


def test_a_process_that_has_written_over_its_environment_is_no_worse_for_it(
    ready: Server, checks: Callable[[], dict[str, str]]
) -> None:
    """Promise: an application with setproctitle, which does that, can be deployed."""
    with subprocess.Popen(["sleep", "60"], env={}) as titled:
        ready.set("facts/guestbook-gunicorn@blue.service", f"NRestarts=0\nMainPID={titled.pid}\n")
        assert checks()["environment"].startswith("ok: cannot be seen")
        titled.kill()


REFUSED = '2026/11/21 10:00:00 [{}] 1#1: *7 {}, client: {}, server: _, request: "GET {} HTTP/1.1", host: "x"\n'
UPSTREAM = "connect() failed (111: Connection refused) while connecting to upstream"


@pytest.mark.parametrize(
    ("line", "is_good"),
    [
        (REFUSED.format("error", UPSTREAM, "127.0.0.1", "/health"), False),
        (REFUSED.format("crit", "stat() failed (13: Permission denied)", "127.0.0.1", "/health"), False),
        (REFUSED.format("error", UPSTREAM, "203.0.113.7", "/health"), True),
        (REFUSED.format("error", UPSTREAM, "127.0.0.1", "/other"), True),
        (REFUSED.format("error", 'open() "/a.png" failed (2: No such file)', "127.0.0.1", "/health"), True),
    ],
)
def test_only_errors_of_our_own_visits_count(
    ready: Server, checks: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch, line: str, *, is_good: bool
) -> None:
    """Promise: a release that comes since visitors are failed by the one before is not sent back for that."""
    log = ready.root / "var/log/nginx/guestbook-error.log"
    log.write_text(REFUSED.format("error", UPSTREAM, "127.0.0.1", "/health"))

    def visit(_check: object) -> tuple[bool, str]:
        with log.open("a") as file:
            file.write(line)
        return True, "answers"

    monkeypatch.setattr("flaskhost.verbs.checks._https", visit)
    if is_good:
        assert checks()["error log"].startswith("ok: ")
    else:
        with pytest.raises(Failure, match=r"1 of 7 checks failed:\nerror log: .*GET /health"):
            checks()


def test_a_release_that_is_here_needs_neither_archive_nor_repository(ready: Server) -> None:
    """Promise: with all that it had it comes back; with another environment it cannot, and the message says why."""
    first, source = ready.release("v1"), ready.code("v1")
    ready.release("v2")
    gone = dataclasses.replace(source, archive=None)
    back = scenario.plan(gone)
    assert back.release == first.release
    found = [ready.do(text) for text in (back.prepare, back.stage, back.switch)][-1]
    assert [(one["version"], one["commit"]) for one in found["kept"]] == [("v1.0.0", source.commit)] * 2
    assert {one["tree"] for one in found["kept"]} == {source.tree, ready.code("v2").tree}
    other = scenario.plan(gone, env__SITE_TITLE="Another")
    ready.do(other.environment)
    with pytest.raises(Failure, match="its code could not be had where `up` runs"):
        ready.do(other.prepare)
    ready.do(back.switch)
    assert releases.active(ready.paths).digest == first.release  # type: ignore[union-attr]


def test_a_release_that_failed_is_not_offered_to_the_stack(ready: Server) -> None:
    """Promise: what is told as kept could serve again."""
    plan = ready.release("v1", until="prepare")
    assert len(releases.codes(ready.paths)) == 1
    releases.read(ready.paths, plan.release).update(failed=True)
    assert releases.codes(ready.paths) == []
