"""Steps outlive the SSH session that asked for them.

`flaskhost STEP APP < documents` is only the front: it hands the documents to a transient unit of systemd, which does
one verb after the other, follows that unit's log and hands back its result. A cut connection ends the front, never the
work; a second call with the same documents attaches to the running unit, and one with others waits for its turn, as
long as flaskhost:app.lock_wait says.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from flaskhost import caller, document, hints, layout, locks, releases, systemd
from flaskhost.files import directory, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

STATE = Path(os.environ.get("FLASKHOST_ROOT", "/")) / "run/flaskhost"
POLL_SECONDS = 0.02
# Above all that one verb may wait for by limits of our own: two slots that stop, a dump, downloads.
VERB_SECONDS = 8 * 3600
# What one verb may wait for as long as the stack says: locks and commands here, and the checks as `seconds` of each.
LIMITS = ("lock_wait", "build_timeout", "migrate_timeout", "on_release_timeout")
CHECKS = ("health", "watch")
# A verb waits for each of them at most so often: say, for the health of what runs, of what is started anew, and
# through the pointer; for the command of an ended try, and for its own.
TIMES = 3
# Their documents do not say how a release is to start: `stage` has kept that on the host.
STARTING = ("connections", "switch", "rollback", "restore")
# Nothing waits for a graceful end of a killed verb. With cgroup v1 in a container systemd does not hear that its last
# process is gone, and whoever follows it would wait for the default of 90 s.
STOP_SECONDS = 5
LONGEST_REASON = 500

Work = Callable[[document.Document, Progress], Dict[str, Any]]
# Imports what does the verb of a document, and returns it.
Load = Callable[[document.Document], Work]


def _as_json(result: Dict[str, Any]) -> str:
    return json.dumps(result, ensure_ascii=False)


def front(  # noqa: PLR0913 - what a step is
    step: str,
    verbs: Sequence[str],
    app: str,
    text: str,
    program: str,
    tell: Callable[[Dict[str, Any]], str] = _as_json,
) -> int:
    """Have the documents of a step worked on, one for each of its verbs, and follow that; return the exit status.

    Args:
        step: its name.
        verbs: what it does, in order.
        app: name of the application.
        text: the documents.
        program: the installed command.
        tell: writes the result to standard output, for `pulumi up` or for a person.
    """
    documents = document.parse_all(text)
    asked = [f"{one.verb} {one.app}" for one in documents]
    if asked != [f"{verb} {app}" for verb in verbs]:
        raise Failure(f"the documents are for `{', '.join(asked)}`, the command line says `{step} {app}`")
    # For root only: who can open a lock can hold it.
    directory(STATE, mode=0o700)
    folder = STATE / app
    directory(folder, mode=0o700)
    unit = f"flaskhost-{app}-{step}.service"
    stem = f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    log, result = folder / f"{stem}.log", folder / f"{stem}.result"
    wait, told = _patience(app), False
    process: Optional[subprocess.Popen[bytes]] = None
    until = time.monotonic() + wait
    while True:
        with open(folder / f"{step}.turn", "a", encoding="utf-8") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            holder = _current(folder, step)
            if not _runs(unit):
                words = _words(app, unit, program, folder / f"{stem}.request", deadline(app, documents))
                process = _start(folder, step, stem, text, words, unit)
                break
            if holder.get("stem") == stem:
                print(f"`flaskhost {step} {app}` is running already: following it", file=sys.stderr, flush=True)
                break
        if time.monotonic() > until:
            raise locks.refusal(holder, wait)
        if not told:
            print(f"waiting up to {wait:g} s for {locks.words(holder)}", file=sys.stderr, flush=True)
            told = True
        time.sleep(0.2)
    _follow(log, result, unit, process)
    request = folder / f"{stem}.request"
    if process is not None and process.poll() is not None and request.exists():
        # The unit never came to read it, and it may hold secrets.
        request.unlink()
    try:
        outcome = json.loads(result.read_text())
    except FileNotFoundError:
        why = f"`flaskhost {step} {app}` was ended before it had finished"
        _record(step, documents, {}, {"ok": False, "error": why})
        raise Failure(
            f"{why} (see `journalctl -u {unit}`): nothing half-done serves visitors, run `pulumi up` again"
        ) from None
    if outcome["ok"]:
        print(tell(outcome["result"]))
        return 0
    # On stdout: that is in Pulumi's message of the failed step, and is not streamed a second time.
    print(f"error: {outcome['error']}")
    return 1


def _start(  # noqa: PLR0913 - what a unit is started with
    folder: Path, step: str, stem: str, text: str, words: Sequence[str], unit: str
) -> subprocess.Popen[bytes]:
    """Have a unit work on a request; the caller has the turn of its step."""
    for old in folder.glob(f"{step}-*"):
        old.unlink()
    write(folder / f"{stem}.request", text, mode=0o600)
    holder = {"stem": stem, **locks.holder_now(_purpose(step, document.parse_all(text)), unit)}
    write(folder / f"{step}.current", json.dumps(holder), mode=0o600)
    (folder / f"{stem}.log").touch(mode=0o600)
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    # The turn ends when the next one can see the unit, or it would take this request for one that has ended.
    while process.poll() is None and not _runs(unit):
        time.sleep(POLL_SECONDS)
    return process


def _purpose(step: str, asked: Sequence[document.Document]) -> str:
    """Return what a step does, for those who wait for it."""
    versions = [str(one.values["version"]) for one in asked if one.values.get("version")]
    return f"`flaskhost {step} {asked[0].app}`" + (f" of {versions[0]}" if versions else "")


def deadline(app: str, asked: Sequence[document.Document]) -> int:
    """Return after how many seconds systemd ends a step that hangs (systemd.service(5), RuntimeMaxSec).

    Longer than its verbs may take within the settings that their documents name: each wait in them has its own limit,
    and a message for it.
    """
    seconds, patience = 0.0, _patience(app)
    for one in asked:
        kept = max(map(_granted, _wishes(app)), default=0.0) if one.verb in STARTING else 0.0
        seconds += VERB_SECONDS + TIMES * (patience + _granted(one.values) + kept)
    return math.ceil(seconds)


def _granted(values: Dict[str, Any]) -> float:
    """Return the seconds that the stack gives to single waits, in all."""
    checks = [values[name]["seconds"] for name in CHECKS if name in values]
    return float(sum([*(values[name] for name in LIMITS if name in values), *checks]))


def _wishes(app: str) -> Iterator[Dict[str, Any]]:
    """Yield how each release on the host is to start."""
    with contextlib.suppress(Failure):
        for release in releases.every(layout.known(app)):
            # One that was never staged has none.
            with contextlib.suppress(FileNotFoundError):
                yield release.wishes


def _patience(app: str) -> float:
    try:
        return locks.patience(layout.known(app).facts)
    except Failure:
        return locks.WAIT_SECONDS


def at_work(app: str) -> List[str]:
    """Return the steps of an application that run now, whoever follows them."""
    steps = sorted(path.stem for path in (STATE / app).glob("*.turn"))
    return [step for step in steps if _runs(f"flaskhost-{app}-{step}.service")]


def worker(request: str, verbs: Mapping[str, Load]) -> int:
    """Do the work of a request; this is what the transient unit runs. Return the exit status."""
    path = Path(request)
    text = path.read_text()
    # It may hold secrets and has served: from here on they are in this process only.
    path.unlink()
    asked = document.parse_all(text)
    with open(path.with_suffix(".log"), "a", encoding="utf-8") as log:
        progress = Progress(log)
        outcome, status = work(asked, progress, verbs)
    # As the front has named it.
    _record(path.stem.rpartition("-")[0], asked, progress.phases, outcome)
    host = asked[0].values.get("host")
    if host and not outcome["ok"]:
        outcome["error"] = among_others(host, asked[0].verb, outcome["error"])
    write(path.with_suffix(".result"), json.dumps(outcome), mode=0o600)
    return status


def work(asked: List[document.Document], progress: Progress, verbs: Mapping[str, Load]) -> Tuple[Dict[str, Any], int]:
    """Do one verb after the other, up to the first that fails.

    Returns:
        The outcome as the front expects it, and the exit status. The result of several verbs has that of each by name.
    """
    done: Dict[str, Any] = {}
    try:
        # All of them first: another clone's `base` may remove this version's files while the step is at work.
        for one, act in [(one, verbs[one.verb](one)) for one in asked]:
            with progress.phase(one.verb):
                done[one.verb] = act(one, progress)
            progress.say(f"{one.verb}: done in {progress.phases[one.verb]:.2f} s")
    except Failure as failure:
        return {"ok": False, "error": progress.scrubber.clean(hints.of(str(failure)))}, 1
    except Exception as error:  # noqa: BLE001 - the reader must see what it was, and the unit must end with a result
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"ok": False, "error": progress.scrubber.clean(hints.of(str(error)))}, 1
        progress.say(f"{type(error).__name__}: {error}")
        return {"ok": False, "error": progress.scrubber.clean(f"{type(error).__name__}: {error} (a defect)")}, 1
    return {"ok": True, "result": done[asked[0].verb] if len(asked) == 1 else done}, 0


def _record(step: str, asked: Sequence[document.Document], phases: Dict[str, float], outcome: Dict[str, Any]) -> None:
    """Have releases.log tell of a step that has ended: what, by whom, how long each phase took, and how it ended."""
    try:
        paths = layout.known(asked[0].app)
    except Failure:
        # Before the application is there, and after it was removed.
        return
    digests = [str(one.values["release"]) for one in asked if one.values.get("release")]
    facts: Dict[str, Any] = {"phases": phases, "result": "ok" if outcome["ok"] else "failed"}
    if not outcome["ok"]:
        facts["why"] = outcome["error"].split("\n")[0][:LONGEST_REASON]
    # What was done is done, also where a full disk has no room for its record.
    with contextlib.suppress(OSError):
        releases.record(paths, "step", releases.read(paths, digests[0]) if digests else None, step=step, **facts)


def among_others(host: str, verb: str, error: str) -> str:
    """Return what went wrong on one of several hosts, in the message of a whole `up`."""
    if verb != "switch":
        return f"{host}: {error}\nNo host was switched: all of them serve what they served"
    return (
        f"{host}: {error}\nOther hosts may serve the new release: `python3 -m ops drift` says what each serves. "
        "Another `pulumi up` tries this host again; with the earlier value in the stack file it takes the others back"
    )


def _words(app: str, unit: str, program: str, request: Path, seconds: int) -> Tuple[str, ...]:
    # A killed step may leave the maintenance page where nothing of the database has changed yet. The shell looks
    # first: a start of Python at the end of each step would cost more than many a step takes. A unit of its own, since
    # it waits until the release before is healthy.
    state = STATE.parents[1] / f"etc/flaskhost/{app}/maintenance.json"
    run = f"systemd-run --quiet --no-block --collect --unit=flaskhost-{app}-settle.service {program} settle {app}"
    settle = f"ExecStopPost=/bin/sh -c 'test ! -e {state} || exec {run}'"
    # Standard error by name: it would follow standard output, and the journal would hold nothing.
    log = ("StandardOutput=null", "StandardError=journal", "SyslogIdentifier=flaskhost")
    # Visitors first: unpacking, say, takes what they leave.
    limits = (f"RuntimeMaxSec={seconds}", f"TimeoutStopSec={STOP_SECONDS}", f"Nice={systemd.NICE}")
    properties = (*limits, settle, *log)
    return (
        "systemd-run",
        *("--quiet", "--wait", "--collect", f"--unit={unit}", "--service-type=exec"),
        *(f"--property={value}" for value in properties),
        *(f"--setenv={name}={value}" for name, value in {**caller.of_session(), caller.UNIT: unit}.items()),
        *("--", program, "--worker", str(request)),
    )


def _runs(unit: str) -> bool:
    return systemd.show(unit, "ActiveState").get("ActiveState") in ("active", "activating", "deactivating")


def _current(folder: Path, step: str) -> Dict[str, Any]:
    """Return who does the step now, or did it last: `stem` of the request and what `locks.holder_now` has said."""
    try:
        found = json.loads((folder / f"{step}.current").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _follow(log: Path, result: Path, unit: str, process: Optional[subprocess.Popen[bytes]]) -> None:
    """Print the log as it grows, until the work has ended."""
    # The end may be half a character for a moment.
    with open(log, encoding="utf-8", errors="replace") as file:
        checked = time.monotonic()
        while True:
            part = file.read()
            if part:
                sys.stderr.write(part)
                sys.stderr.flush()
                continue
            if result.exists():
                break
            if process is not None:
                if process.poll() is not None:
                    break
            elif time.monotonic() - checked > 1:
                checked = time.monotonic()
                if not _runs(unit):
                    break
            time.sleep(POLL_SECONDS)
        sys.stderr.write(file.read())
        sys.stderr.flush()
