"""Processes and jobs of a release: long-running commands, and commands at certain times, as units of its slot.

`<app>-<process>-<n>@<slot>.service` for each process, `<app>-<job>@<slot>.timer` and `.service` for each job. They run
for the active slot only. Nothing but the files of the units says which there are, so what a kill has left is seen.
"""

from __future__ import annotations

import re
import time
from typing import Any, Dict, List, Mapping, Optional

from flaskhost import layout, releases, systemd
from flaskhost.files import remove
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

LOOK_SECONDS = 0.2
# For what systemd does in a moment; a process that takes longer than that to start is judged as it is then.
START_SECONDS = 10.0
LOG_LINES = 40
# Not of the processes.
OWN = ("gunicorn.service", "flask.service")
GONE = ("inactive", "failed")


def refuse_schedules(files: Mapping[str, str]) -> None:
    """Refuse a calendar event that this host's systemd does not take.

    Args:
        files: the configuration of a release, texts by name.

    Raises:
        Failure: it does not; the message has the setting and what systemd says.
    """
    for name, text in files.items():
        job, _, kind = name.rpartition(".")
        if kind == "timer":
            schedule = _setting(text, "OnCalendar")
            said = run(["systemd-analyze", "calendar", schedule], check=False)
            if said.returncode:
                raise Failure(
                    f"flaskhost:app.jobs.{job}.schedule: must be a calendar event of systemd on this host "
                    f"(got {schedule!r}): see systemd.time(7); it says:\n{said.stdout.rstrip()}"
                )


def units(paths: Layout, colour: str, release: releases.Release) -> Dict[str, str]:
    """Return the units of processes and jobs that a release has in a slot, each with its file in the configuration."""
    found = {}
    names = {path.name: path for path in paths.config(release.digest).iterdir()}
    for name, path in sorted(names.items()):
        stem, _, kind = name.rpartition(".")
        if kind == "timer" or (kind == "service" and f"{stem}.timer" in names):
            found[f"{paths.app}-{stem}@{colour}.{kind}"] = name
        elif kind == "service" and name not in OWN:
            count = int(_setting(path.read_text(), "Count"))
            found.update({f"{paths.app}-{stem}-{number}@{colour}.service": name for number in range(1, count + 1)})
    return found


def clear(paths: Layout, colour: str, release: releases.Release) -> None:
    """Remove the units of a slot that is stopped which the release that comes there does not have."""
    wanted = units(paths, colour, release)
    stale = [unit for unit in _installed(paths, colour) if unit not in wanted]
    for unit in stale:
        remove(paths.units / unit)
    if stale:
        systemd.systemctl("daemon-reload")


def start(paths: Layout, colour: str) -> None:
    """Have the processes and timers of a slot run; nobody waits for what becomes of them."""
    _start(_processes(paths, colour))
    _start(due(paths, colour))


def take_over(paths: Layout, colour: str, progress: Progress) -> None:
    """Have the processes and timers of a slot run instead of those of the other one.

    The other's processes end when they have finished what they work on; nobody waits for that, nor for its jobs. This
    slot's are under way when this returns, also those that need not settle: whoever looks at them finds them running.

    Raises:
        Failure: a process does not stay up for its settle time. The other slot's run on then, all of them.
    """
    mine, begin = _processes(paths, colour), time.time()
    if mine:
        _start(mine)
        _settle(paths, mine, begin)
        progress.say(f"processes: {', '.join(mine)}")
    timers = due(paths, colour)
    if timers:
        progress.say(f"jobs: {', '.join(timers)}")
    _hand_over(paths, colour)
    _arrive(timers)


def back(paths: Layout, colour: str) -> None:
    """Have the processes and timers of a slot run again and tell those of the other one to stop, without waiting."""
    _start(_processes(paths, colour))
    _hand_over(paths, colour)


def stop(paths: Layout, colour: str, progress: Progress) -> None:
    """Stop all of a slot and wait until it is gone: a process gets its `stop_timeout` to finish what it works on."""
    names = _installed(paths, colour)
    running = _running(names)
    if running:
        progress.say(f"waiting until these have finished what they work on: {', '.join(running)}")
        systemd.systemctl("stop", *names, timeout=systemd.STOP_SECONDS, check=False)
    if names:
        systemd.systemctl("reset-failed", *names, check=False)


def restarts(paths: Layout, colour: str) -> Dict[str, int]:
    """Return how often systemd has restarted each process of a slot since it was started."""
    found = systemd.show_each(_processes(paths, colour), "NRestarts")
    return {unit: int(facts.get("NRestarts") or 0) for unit, facts in found.items()}


def states(paths: Layout, colour: str) -> Dict[str, Dict[str, Any]]:
    """Return what each process and timer of a slot does, by its unit: state, and restarts or last and next run."""
    rows: Dict[str, Dict[str, Any]] = {}
    for unit, facts in systemd.show_each(_processes(paths, colour), "ActiveState", "SubState", "NRestarts").items():
        rows[unit] = {"state": facts.get("SubState"), "restarts": int(facts.get("NRestarts") or 0)}
    names = ("ActiveState", "SubState", "LastTriggerUSec", "NextElapseUSecRealtime")
    timers = systemd.show_each(due(paths, colour), *names)
    runs = systemd.show_each([_run_of(timer) for timer in timers], "Result")
    for unit, facts in timers.items():
        # One whose only time is over has nothing more to do, and is as it should be.
        state = "waiting" if facts.get("SubState") == "elapsed" else facts.get("SubState")
        rows[unit] = {
            "state": state,
            "last": facts.get("LastTriggerUSec") or None,
            "result": runs[_run_of(unit)].get("Result") if facts.get("LastTriggerUSec") else None,
            "next": facts.get("NextElapseUSecRealtime") or None,
        }
    return rows


def _run_of(timer: str) -> str:
    return timer[: -len("timer")] + "service"


def _installed(paths: Layout, colour: str) -> List[str]:
    """Return the units of processes and jobs that a slot has.

    No unit of another application has such a name: what stands behind `<app>-` has no hyphen but before a number, and
    the name of a unit without `-gunicorn` has always something there.
    """
    ours = re.compile(rf"{re.escape(paths.app)}-(?!gunicorn@)[a-z][a-z0-9]*(-[0-9]+)?@{colour}\.(service|timer)")
    return sorted(path.name for path in paths.units.iterdir() if ours.fullmatch(path.name))


def _processes(paths: Layout, colour: str) -> List[str]:
    return [unit for unit in _installed(paths, colour) if re.search(r"-[0-9]+@\w+\.service$", unit)]


def _timers(paths: Layout, colour: str) -> List[str]:
    return [unit for unit in _installed(paths, colour) if unit.endswith(".timer")]


def due(paths: Layout, colour: str) -> List[str]:
    """Return the timers of a slot that run on this host: with several hosts, most jobs are of the first alone."""
    digest, timers = releases.in_slot(paths, colour), _timers(paths, colour)
    # A slot is filled after the stack's wishes for its release were written.
    jobs = releases.read(paths, digest).wishes.get("jobs", []) if digest and timers else []
    units = [f"{paths.app}-{job}@{colour}.timer" for job in jobs]
    return [timer for timer in timers if timer in units]


def _running(names: List[str]) -> List[str]:
    states = systemd.show_each(names, "ActiveState")
    return [unit for unit, facts in states.items() if facts.get("ActiveState") not in GONE]


def _start(names: List[str]) -> None:
    """Start what is not up, also what was just told to stop, and what systemd would try again in a moment."""
    states = systemd.show_each(names, "ActiveState")
    idle = [unit for unit, facts in states.items() if facts.get("ActiveState") != "active"]
    if idle:
        systemd.systemctl("start", "--no-block", *idle)


def _arrive(names: List[str]) -> None:
    """Wait until systemd has done what it was told to start; what became of it is for others to judge."""
    until = time.monotonic() + START_SECONDS
    while any(_is_coming(facts) for facts in systemd.show_each(names, "ActiveState", "SubState", "Job").values()):
        if time.monotonic() > until:
            return
        time.sleep(LOOK_SECONDS)


def _is_coming(facts: Dict[str, str]) -> bool:
    """Tell whether a unit is about to start; one that systemd tries again has started already, and ended."""
    starting = facts.get("ActiveState") == "activating" and facts.get("SubState") != "auto-restart"
    return starting or bool(facts.get("Job"))


def _stop(names: List[str], *options: str) -> None:
    running = _running(names)
    if running:
        systemd.systemctl("stop", *options, *running)


def _hand_over(paths: Layout, colour: str) -> None:
    """Stop the other slot's timers, start this one's, and tell the other's processes to stop."""
    other = layout.other(colour)
    ours = due(paths, colour)
    # In this order: a job that is run by no slot for a moment is better than one that is run by both.
    _stop([*_timers(paths, other), *(timer for timer in _timers(paths, colour) if timer not in ours)])
    _start(ours)
    _stop(_processes(paths, other), "--no-block")


def _settle(paths: Layout, names: List[str], begin: float) -> None:
    """Wait until each process has started and stayed up for its settle time.

    Raises:
        Failure: one has not; the message names it, and has the end of its log.
    """
    seconds = {unit: int(_setting((paths.units / unit).read_text(), "Settle")) for unit in names}
    wanted = ("ActiveState", "SubState", "NRestarts", "ExecMainStatus", "ActiveEnterTimestampMonotonic", "Job")
    before: Dict[str, int] = {}
    until = time.monotonic() + START_SECONDS
    while True:
        left = 0.0
        for unit, facts in systemd.show_each(names, *wanted).items():
            count = int(facts.get("NRestarts") or 0)
            why = _down(facts, count - before.setdefault(unit, count))
            if why:
                log = systemd.journal([unit], since=begin, lines=LOG_LINES)
                raise Failure(f"the process {unit} does not stay up for {seconds[unit]} s: {why}. Its log:\n{log}")
            since = int(facts.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
            up = time.monotonic() - since if facts.get("ActiveState") == "active" else 0.0
            coming = _is_coming(facts) and time.monotonic() < until
            left = max(left, seconds[unit] - up, LOOK_SECONDS if coming else 0.0)
        if left <= 0:
            return
        time.sleep(min(left, LOOK_SECONDS))


def _down(facts: Dict[str, str], restarted: int) -> Optional[str]:
    """Return why a process is not up to anything, or None."""
    state, sub = facts.get("ActiveState"), facts.get("SubState")
    # With a job, its start is still to come.
    ended = (state in (*GONE, "deactivating") or sub == "auto-restart") and not facts.get("Job")
    if ended or restarted > 0:
        return f"it ended with status {facts.get('ExecMainStatus')} ({state}/{sub})"
    return None


def _setting(text: str, name: str) -> str:
    """Return the value of a setting in a unit of ours.

    Raises:
        Failure: it is not there.
    """
    found = re.search(rf"^{name}=(.+)$", text, re.MULTILINE)
    if not found:
        raise Failure(f"a unit of the release has no {name}=: run `pulumi up` again")
    return found[1]
