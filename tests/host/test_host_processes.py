"""Processes and jobs on a server: they move with the switch, and what does not stay up makes it go back."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import layout, processes, releases, shell, slots, systemd
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import status, umbrella

from tests.host.test_host_verbs import twice

if TYPE_CHECKING:
    from tests.host.conftest import Server

WORKER = {"command": "celery --app guestbook worker", "count": 2}
CLEANUP = {"command": "flask cleanup", "schedule": "*-*-* 03:00:00"}
MOVING: dict[str, Any] = {"app__processes": {"worker": WORKER}, "app__jobs": {"cleanup": CLEANUP}}
CRASHES = "ActiveState=activating\nSubState=auto-restart\nNRestarts=1\nExecMainStatus=3\n"


def of(slot: str) -> list[str]:
    """Return what runs of these processes and jobs in a slot."""
    return [
        f"guestbook-{name}"
        for name in (f"cleanup@{slot}.timer", f"worker-1@{slot}.service", f"worker-2@{slot}.service")
    ]


def running(server: Server) -> list[str]:
    """Return the active units but those of the web and the umbrella."""
    return [unit for unit in server.active() if "gunicorn" not in unit and unit != "guestbook.service"]


def test_processes_and_jobs_run_from_the_switch_on(ready: Server) -> None:
    """Promise: not before visitors reach the release; as many as the stack says; a job runs when it is its time."""
    plan = ready.release("v1", until="stage", **MOVING)
    assert running(ready) == []
    ready.do(plan.switch)
    assert running(ready) == of("blue")
    units = sorted(path.name for path in ready.paths.units.glob("guestbook-[cw]*"))
    assert units == sorted([*of("blue"), "guestbook-cleanup@blue.service"])


@pytest.mark.parametrize("step", ["stage", "switch"])
def test_a_second_run_changes_nothing(ready: Server, step: str) -> None:
    """Promise: processes that run go on running, and nobody waits for their settle time again."""
    ready.release("v1", **MOVING)
    plan = ready.release("v2", until=step, **MOVING)
    twice(ready, lambda: ready.do(getattr(plan, step)))


def test_the_new_ones_are_proven_before_the_old_ones_stop_and_nobody_waits_for_those(ready: Server) -> None:
    """Promise: a worker finishes its task after the switch; no job is run by two slots."""
    ready.release("v1", **MOVING)
    plan = ready.release("v2", until="stage", **MOVING)
    ready.calls()
    ready.do(plan.switch)
    assert running(ready) == of("green")
    moved = [call for call in ready.acted() if "cleanup" in call or "worker" in call]
    old, new = of("blue"), of("green")
    assert moved == [
        f"systemctl start --no-block {new[1]} {new[2]}",
        f"systemctl stop {old[0]}",
        f"systemctl start --no-block {new[0]}",
        f"systemctl stop --no-block {old[1]} {old[2]}",
    ]


def test_a_process_that_does_not_stay_up_makes_the_switch_go_back(ready: Server) -> None:
    """Promise: the message names it and has its log; the old ones were never stopped, the new ones are."""
    ready.release("v1", **MOVING)
    plan = ready.release("v2", until="stage", **MOVING)
    ready.set("facts/guestbook-worker-2@green.service", CRASHES)
    ready.set("journal", json.dumps({"MESSAGE": "no such queue", "_PID": "1"}) + "\n")
    ready.calls()
    with pytest.raises(
        Failure,
        match=r"(?s)process guestbook-worker-2@green.service does not stay up for 5 s: it ended with status 3"
        r".*no such queue.* serves as before",
    ):
        ready.do(plan.switch)
    assert ready.paths.active_slot() == "blue"
    assert running(ready) == of("blue")
    assert not [call for call in ready.acted() if "stop" in call and "worker-1@blue" in call]
    assert layout.service("guestbook", "green") not in ready.active()


def test_a_process_is_waited_for_as_long_as_its_settle_time(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what is up for a moment only is not taken for one that stays up."""
    facts, waited = "facts/guestbook-worker-1@blue.service", []
    plan = ready.release("v1", until="stage", app__processes={"worker": {"command": "x", "settle": 30}})
    ready.set(facts, f"ActiveEnterTimestampMonotonic={int(time.monotonic() * 1e6)}\n")

    def pass_time(seconds: float) -> None:
        # Waiting for programs is sleeping as well.
        waited.extend([seconds] if seconds == processes.LOOK_SECONDS else [])
        ready.set(facts, f"ActiveEnterTimestampMonotonic={int((time.monotonic() - 10 * len(waited)) * 1e6)}\n")

    monkeypatch.setattr("flaskhost.processes.time.sleep", pass_time)
    ready.do(plan.switch)
    assert len(waited) == 3


@pytest.mark.parametrize("kind", ["worker-1@blue.service", "cleanup@blue.timer"])
@pytest.mark.parametrize("facts", ["ActiveState=inactive\nSubState=dead\nJob=77\n", "ActiveState=activating\n"])
def test_who_looks_after_the_switch_sees_no_unit_that_is_still_to_start(
    ready: Server, monkeypatch: pytest.MonkeyPatch, kind: str, facts: str
) -> None:
    """Promise: also with `settle: 0` a release does not go back because systemd takes a moment."""
    plan = ready.release("v1", until="stage", **{**MOVING, "app__processes": {"worker": {**WORKER, "settle": 0}}})
    unit = f"guestbook-{kind}"
    ready.set(f"facts/{unit}", facts)
    seen: list[dict[str, Any]] = []

    def pass_time(seconds: float) -> None:
        if seconds == processes.LOOK_SECONDS:
            ready.set(f"facts/{unit}", "NRestarts=0\n")

    def look(_checklist: object) -> None:
        seen.append(processes.states(ready.paths, "blue"))

    monkeypatch.setattr("flaskhost.processes.time.sleep", pass_time)
    monkeypatch.setattr("flaskhost.verbs.switch.Checklist.of_release", look)
    ready.do(plan.switch)
    assert [states[unit]["state"] for states in seen] == ["running"]
    assert not systemd.show(unit, "Job")


def test_what_never_gets_to_its_start_is_waited_for_in_vain_only_a_while(
    ready: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a job of systemd that hangs does not hang the switch; the checks tell what they see."""
    plan = ready.release("v1", until="stage", **MOVING)
    ready.set("facts/guestbook-cleanup@blue.timer", "ActiveState=inactive\nSubState=dead\nJob=77\n")
    monkeypatch.setattr(processes, "START_SECONDS", 0.01)
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0.01)
    ready.do(plan.switch)
    assert processes.states(ready.paths, "blue")["guestbook-cleanup@blue.timer"]["state"] == "dead"


def test_a_timer_whose_only_time_is_over_is_as_it_should_be(ready: Server) -> None:
    """Promise: a job that is run once, on a day that is gone, makes no release go back."""
    ready.release("v1", **MOVING)
    ready.set("facts/guestbook-cleanup@blue.timer", "ActiveState=active\nSubState=elapsed\n")
    assert processes.states(ready.paths, "blue")["guestbook-cleanup@blue.timer"]["state"] == "waiting"


def test_a_release_without_processes_stops_those_of_the_one_before(ready: Server) -> None:
    """Promise: nothing of a release runs on that is not in the stack file any more."""
    ready.release("v1", **MOVING)
    ready.release("v2")
    assert running(ready) == []


def test_the_units_of_a_release_go_with_its_slot(ready: Server) -> None:
    """Promise: the next release in that slot has its own units and no other."""
    ready.release("v1", **MOVING)
    ready.release("v2", **MOVING)
    ready.release("v3", app__processes={"worker": {**WORKER, "count": 1}, "mail": WORKER})
    units = sorted(path.name for path in ready.paths.units.glob("guestbook-*@blue.*") if "gunicorn" not in path.name)
    assert units == [f"guestbook-{name}@blue.service" for name in ("mail-1", "mail-2", "worker-1")]
    assert running(ready) == units


def test_a_slot_is_not_filled_before_its_old_processes_are_gone(ready: Server) -> None:
    """Promise: a worker that still finishes its task keeps its own code until then."""
    ready.release("v1", **MOVING)
    ready.release("v2", **MOVING)
    ready.set("active/guestbook-worker-1@blue.service")
    ready.calls()
    ready.release("v3", until="stage", **MOVING)
    acted = ready.acted()
    stops = [number for number, call in enumerate(acted) if call.startswith("systemctl stop") and "worker-1" in call]
    assert stops
    assert "--no-block" not in acted[stops[0]]
    assert stops[0] < acted.index("systemctl start guestbook-gunicorn@blue.socket")
    assert "finished what they work on: guestbook-worker-1@blue.service" in ready.said.getvalue()


def test_a_switch_that_was_killed_between_new_and_old_processes_is_finished(ready: Server) -> None:
    """Promise: the next run stops what nobody needs any more."""
    ready.release("v1", **MOVING)
    plan = ready.release("v2", **MOVING)
    for unit in of("blue"):
        ready.set(f"active/{unit}")
    ready.do(plan.switch)
    assert running(ready) == of("green")


def test_a_host_that_is_not_the_first_runs_the_jobs_of_all_hosts_only(ready: Server) -> None:
    """Promise: a nightly job is not run once by each host; and a host that becomes the first one begins with it."""
    jobs = {"cleanup": CLEANUP, "rotate": {**CLEANUP, "hosts": "all"}}
    plan = ready.release("v1", until="prepare", app__jobs=jobs)
    for here in (["rotate"], ["cleanup", "rotate"], ["rotate"]):
        ready.do(plan.stage, jobs=here)
        ready.do(plan.switch)
        assert running(ready) == [f"guestbook-{name}@blue.timer" for name in here]


class Killed(BaseException):
    """The verb is gone, as after SIGKILL."""


@pytest.mark.parametrize("after", range(10))
def test_wherever_the_move_of_processes_is_killed_the_next_run_finishes_it(
    ready: Server, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Promise: some process runs at each moment, and afterwards those of the new release and no other."""
    ready.release("v1", **MOVING)
    plan = ready.release("v2", until="stage", **MOVING)
    real, left = systemd.systemctl, [after]

    def killing(*words: str, **named: Any) -> str:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return real(*words, **named)

    move = processes.take_over

    def moving(*words: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(systemd, "systemctl", killing)
            move(*words)

    monkeypatch.setattr(processes, "take_over", moving)
    with pytest.raises(Killed):
        ready.do(plan.switch)
    assert [unit for unit in running(ready) if "worker" in unit]
    monkeypatch.setattr(processes, "take_over", move)
    ready.do(plan.switch)
    assert running(ready) == of("green")


def test_on_the_way_back_the_old_ones_run_again(ready: Server) -> None:
    """Promise: one call moves processes and timers to the slot that serves again, without waiting."""
    ready.release("v1", **MOVING)
    ready.release("v2", **MOVING)
    processes.back(ready.paths, "blue")
    assert running(ready) == of("blue")


def test_the_umbrella_starts_processes_and_timers_of_the_active_slot(ready: Server) -> None:
    """Promise: `systemctl start guestbook` and a reboot bring all of it."""
    ready.release("v1", **MOVING)
    ready.release("v2", **MOVING)
    for unit in of("green"):
        (ready.fakes / "active" / unit).unlink()
    umbrella.start("guestbook")
    assert running(ready) == of("green")


def test_the_umbrella_starts_anew_a_slot_that_has_lost_its_socket(ready: Server) -> None:
    """Promise: what a restart of the umbrella has passed over, since it was still starting, is restarted after all."""
    ready.release("v1")
    (ready.fakes / "active/guestbook-gunicorn@blue.socket").unlink()
    ready.set("facts/guestbook-gunicorn@blue.service", "ActiveState=activating\n")
    ready.acted()
    umbrella.start("guestbook")
    assert ready.acted() == ["systemctl restart --no-block guestbook-gunicorn@blue.service"]


def test_a_schedule_that_systemd_does_not_take_ends_prepare_before_anything_is_built(ready: Server) -> None:
    """Promise: the message has the setting, its value and systemd's own words."""
    ready.set("calendar-fails")
    with pytest.raises(Failure, match=r"(?s)app.jobs.cleanup.schedule: .*\(got '\*-\*-\* 03:00:00'\).*Failed to parse"):
        ready.release("v1", **MOVING)
    assert not list(ready.paths.releases.iterdir())


def test_a_stop_is_waited_for_longer_than_systemd_gives_it(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a release that ends its last requests for an hour makes no deploy fail."""
    worker = {"worker": {**WORKER, "stop_timeout": 1800}}
    ready.release("v1", app__gunicorn__graceful_timeout=3600, app__processes=worker)
    texts = [path.read_text() for path in ready.paths.units.glob("guestbook-*@blue.service")]
    given = [int(found) for text in texts for found in re.findall("^TimeoutStopSec=(.+)$", text, re.MULTILINE)]
    limits: list[float] = []

    def run(words: list[str], *, timeout: float, **named: Any) -> Any:
        limits.extend([timeout] if "stop" in words else [])
        return real(words, timeout=timeout, **named)

    real = shell.run
    monkeypatch.setattr("flaskhost.systemd.run", run)
    slots.stop(ready.paths, "blue")
    processes.stop(ready.paths, "blue", Progress(ready.said))
    assert len(limits) == 2
    # Once for ExecStop=, once for what is left then.
    assert min(limits) > 2 * max(given)


def test_units_of_other_applications_are_left_alone(ready: Server) -> None:
    """Promise: the application guestbook knows its own units from those of guestbook-a and guestbook-worker."""
    ready.release("v1")
    others = [
        f"{name}@green.service" for name in ("guestbook-a-worker-1", "guestbook-worker-gunicorn", "guestbook-a-job")
    ]
    for unit in others:
        (ready.paths.units / unit).write_text("[Service]\n")
        ready.set(f"active/{unit}")
    ready.release("v2", **MOVING)
    ready.release("v3")
    assert running(ready) == sorted(unit for unit in others if "gunicorn" not in unit)
    assert all((ready.paths.units / unit).exists() for unit in others)


def test_status_tells_what_each_process_and_job_does(ready: Server) -> None:
    """Promise: a person on the host sees state and restarts, and when a job was and will be run."""
    ready.release("v1", **MOVING)
    ready.set("facts/guestbook-worker-1@blue.service", "NRestarts=2\n")
    ready.set("facts/guestbook-cleanup@blue.timer", "NextElapseUSecRealtime=Sun 2026-11-22 03:00:00 UTC\n")
    found = status.status("guestbook")["processes"]
    assert found["guestbook-worker-1@blue.service"] == {"state": "running", "restarts": 2}
    assert found["guestbook-cleanup@blue.timer"]["next"] == "Sun 2026-11-22 03:00:00 UTC"
    assert processes.restarts(ready.paths, "blue")["guestbook-worker-1@blue.service"] == 2
    told = status.told(status.status("guestbook"))
    assert "guestbook-worker-1@blue.service  running, restarts: 2\n" in told
    assert "next: Sun 2026-11-22 03:00:00 UTC" in told


def test_a_release_from_before_processes_were_known_has_none(ready: Server) -> None:
    """Promise: Gunicorn's own units are none of them."""
    plan = ready.release("v1")
    assert processes.units(ready.paths, "blue", releases.read(ready.paths, plan.release)) == {}
    processes.stop(ready.paths, "blue", Progress(ready.said))
    assert layout.service("guestbook", "blue") in ready.active()
