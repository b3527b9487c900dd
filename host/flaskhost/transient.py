"""Steps outlive the SSH session that asked for them.

`flaskhost STEP APP < documents` is only the front: it hands the documents to a transient unit of systemd, which does
one verb after the other, follows that unit's log and hands back its result. A cut connection ends the front, never the
work; a second call with the same documents attaches to the running unit, and one with others waits for its turn.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from flaskhost import document, hints, systemd
from flaskhost.files import directory, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

STATE = Path(os.environ.get("FLASKHOST_ROOT", "/")) / "run/flaskhost"
POLL_SECONDS = 0.02
# Nothing that one verb does may take longer; systemd ends it then (systemd.service(5), RuntimeMaxSec).
DEADLINE_SECONDS = 3600
# Nothing waits for a graceful end of a killed verb. With cgroup v1 in a container systemd does not hear that its last
# process is gone, and whoever follows it would wait for the default of 90 s.
STOP_SECONDS = 5

LOGIN = "FLASKHOST_LOGIN"

Work = Callable[[document.Document, Progress], Dict[str, Any]]


def front(step: str, verbs: Sequence[str], app: str, text: str, program: str) -> int:
    """Have the documents of a step worked on, one for each of its verbs, and follow that; return the exit status."""
    asked = [f"{one.verb} {one.app}" for one in document.parse_all(text)]
    if asked != [f"{verb} {app}" for verb in verbs]:
        raise Failure(f"the documents are for `{', '.join(asked)}`, the command line says `{step} {app}`")
    # For root only: who can open a lock can hold it.
    directory(STATE, mode=0o700)
    folder = STATE / app
    directory(folder, mode=0o700)
    unit = f"flaskhost-{app}-{step}.service"
    stem = f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    log, result = folder / f"{stem}.log", folder / f"{stem}.result"
    with open(folder / f"{step}.turn", "a", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        ours = _current(folder, step) == stem
        if _runs(unit) and not ours:
            print(f"waiting for another `flaskhost {step} {app}` to end", file=sys.stderr, flush=True)
            while _runs(unit):
                time.sleep(0.2)
        process = None
        if ours and _runs(unit):
            print(f"`flaskhost {step} {app}` is running already: following it", file=sys.stderr, flush=True)
        else:
            for old in folder.glob(f"{step}-*"):
                old.unlink()
            write(folder / f"{stem}.request", text, mode=0o600)
            write(folder / f"{step}.current", stem, mode=0o600)
            log.touch(mode=0o600)
            words = _words(unit, program, folder / f"{stem}.request", DEADLINE_SECONDS * len(verbs))
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
            # The turn ends when the next one can see the unit, or it would take this request for one that has ended.
            while process.poll() is None and not _runs(unit):
                time.sleep(POLL_SECONDS)
    _follow(log, result, unit, process)
    request = folder / f"{stem}.request"
    if process is not None and process.poll() is not None and request.exists():
        # The unit never came to read it, and it may hold secrets.
        request.unlink()
    try:
        outcome = json.loads(result.read_text())
    except FileNotFoundError:
        raise Failure(
            f"`flaskhost {step} {app}` was ended before it had finished (see `journalctl -u {unit}`): "
            "nothing half-done serves visitors, run `pulumi up` again"
        ) from None
    if outcome["ok"]:
        print(json.dumps(outcome["result"], ensure_ascii=False))
        return 0
    # On stdout: that is in Pulumi's message of the failed step, and is not streamed a second time.
    print(f"error: {outcome['error']}")
    return 1


def worker(request: str, verbs: Dict[str, Work]) -> int:
    """Do the work of a request; this is what the transient unit runs. Return the exit status."""
    path = Path(request)
    text = path.read_text()
    # It may hold secrets and has served: from here on they are in this process only.
    path.unlink()
    asked = document.parse_all(text)
    with open(path.with_suffix(".log"), "a", encoding="utf-8") as log:
        outcome, status = work(asked, Progress(log), verbs)
    write(path.with_suffix(".result"), json.dumps(outcome), mode=0o600)
    return status


def work(asked: List[document.Document], progress: Progress, verbs: Dict[str, Work]) -> Tuple[Dict[str, Any], int]:
    """Do one verb after the other, up to the first that fails.

    Returns:
        The outcome as the front expects it, and the exit status. The result of several verbs has that of each by name.
    """
    done: Dict[str, Any] = {}
    try:
        for one in asked:
            begin = time.monotonic()
            done[one.verb] = verbs[one.verb](one, progress)
            progress.say(f"{one.verb}: done in {time.monotonic() - begin:.2f} s")
    except Failure as failure:
        return {"ok": False, "error": progress.scrubber.clean(hints.of(str(failure)))}, 1
    except Exception as error:  # noqa: BLE001 - the reader must see what it was, and the unit must end with a result
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return {"ok": False, "error": progress.scrubber.clean(hints.of(str(error)))}, 1
        progress.say(f"{type(error).__name__}: {error}")
        return {"ok": False, "error": progress.scrubber.clean(f"{type(error).__name__}: {error} (a defect)")}, 1
    return {"ok": True, "result": done[asked[0].verb] if len(asked) == 1 else done}, 0


def _words(unit: str, program: str, request: Path, seconds: int) -> Tuple[str, ...]:
    # Standard error by name: it would follow standard output, and the journal would hold nothing.
    log = ("StandardOutput=null", "StandardError=journal", "SyslogIdentifier=flaskhost")
    properties = (f"RuntimeMaxSec={seconds}", f"TimeoutStopSec={STOP_SECONDS}", *log)
    return (
        "systemd-run",
        *("--quiet", "--wait", "--collect", f"--unit={unit}", "--service-type=exec"),
        *(f"--property={value}" for value in properties),
        # Whose home the uploads are in: sudo(8) says who called it.
        f"--setenv={LOGIN}={os.environ.get('SUDO_USER', 'root')}",
        *("--", program, "--worker", str(request)),
    )


def _runs(unit: str) -> bool:
    return systemd.show(unit, "ActiveState").get("ActiveState") in ("active", "activating", "deactivating")


def _current(folder: Path, step: str) -> str:
    try:
        return (folder / f"{step}.current").read_text()
    except FileNotFoundError:
        return ""


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
