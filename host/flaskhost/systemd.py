"""The few words of systemd that the verbs use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from flaskhost.shell import run, succeeds

# Above the start of anything that is waited for.
PATIENCE = 300.0
# Above the longest stop that the settings allow: an hour (gunicorn.graceful_timeout) with its margin, which systemd
# gives to ExecStop= and then once more (systemd.service(5), TimeoutStopSec=). It has ended every unit itself by then.
STOP_SECONDS = 7300.0
# What systemd gets to end a unit that is out of time, before its caller stops waiting.
GRACE_SECONDS = 100
# States in which a unit runs or is about to (systemd(1), "Units").
RUNNING = ("active", "activating", "reloading")
# A third of the weight of a process that was not niced (sched(7)): deploys go on, if slowly, on a host that is busy.
# A unit does not inherit it from who has it started.
NICE = 5


def systemctl(*words: str, timeout: float = PATIENCE, check: bool = True) -> str:
    """Run systemctl and return what it prints."""
    return run(["systemctl", "--no-ask-password", *words], timeout=timeout, check=check).stdout


def is_active(unit: str) -> bool:
    """Tell whether a unit is active."""
    return succeeds(["systemctl", "is-active", "--quiet", unit])


def is_enabled(unit: str) -> bool:
    """Tell whether a unit starts at boot."""
    return succeeds(["systemctl", "is-enabled", "--quiet", unit])


def show(unit: str, *names: str) -> Dict[str, str]:
    """Return properties of a unit by name."""
    lines = systemctl("show", unit, *(f"--property={name}" for name in names), check=False).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def show_each(units: Sequence[str], *names: str) -> Dict[str, Dict[str, str]]:
    """Return properties by name of each of these units, asked for at once; for no unit, nobody is asked."""
    if not units:
        return {}
    text = systemctl("show", *units, *(f"--property={name}" for name in ("Id", *names)), check=False)
    blocks = [dict(line.split("=", 1) for line in part.splitlines() if "=" in line) for part in text.split("\n\n")]
    return {facts["Id"]: facts for facts in blocks if "Id" in facts}


def is_outdated(*units: str) -> bool:
    """Tell whether systemd still has an older text of a unit: what wrote the new one was killed before saying so."""
    found = show_each(units, "NeedDaemonReload")
    return any(facts.get("NeedDaemonReload") == "yes" for facts in found.values())


def journal(units: Sequence[str], *, since: float, lines: int = 400) -> str:
    """Return what the units have logged since a time; what several processes say alike stands there once.

    Each worker of a release that cannot start prints the same traceback.

    Args:
        units: names of units.
        since: seconds since the epoch.
        lines: how many of the newest lines are looked at.
    """
    which: List[str] = []
    for unit in units:
        which += ["-u", unit]
    words = ["journalctl", "--no-pager", "-q", "-o", "json", "--output-fields=MESSAGE,_PID", "-n", str(lines)]
    said: Dict[str, str] = {}
    kept = []
    for line in run([*words, f"--since=@{since:.6f}", *which], check=False).stdout.splitlines():
        entry = json.loads(line)
        text, pid = entry.get("MESSAGE") or "", entry.get("_PID", "")
        if isinstance(text, list):  # bytes that are no UTF-8 (journalctl(1), JSON output)
            text = bytes(text).decode("utf-8", "replace")
        if said.setdefault(text, pid) == pid:
            kept.append(text)
    return "\n".join(kept).rstrip()


def transient(  # noqa: PLR0913 - what a unit is made of
    words: Sequence[str],
    *,
    user: str,
    cwd: Path,
    seconds: int,
    unit: Optional[str] = None,
    environment: Optional[Dict[str, str]] = None,
    properties: Sequence[str] = (),
) -> List[str]:
    """Return the words that run `words` as a unit of its own: its output and status are handed back.

    Visitors come first: it takes what they leave. Whatever it leaves running is ended with it.

    Args:
        words: program and arguments.
        user: whose name it runs in.
        cwd: working directory.
        seconds: until systemd ends it, also when nobody waits for it any more.
        unit: its name, where there must not be two at a time.
        environment: variables; nothing secret, since they stand on a command line.
        properties: further `Name=value` settings of systemd.exec(5).
    """
    limits = (f"User={user}", f"WorkingDirectory={cwd}", f"RuntimeMaxSec={seconds}", f"Nice={NICE}", *properties)
    settings = [f"--property={one}" for one in limits] + ([f"--unit={unit}"] if unit else [])
    variables = [f"--setenv={name}={value}" for name, value in (environment or {}).items()]
    # systemd replaces ${NAME} in arguments before a shell sees it (systemd.service(5), "Command lines").
    program, *arguments = words
    plain = [program, *(word.replace("$", "$$") for word in arguments)]
    return ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *settings, *variables, "--", *plain]
