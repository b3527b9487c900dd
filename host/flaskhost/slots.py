"""The two places where a release can run, and the one pointer that says which of them visitors reach."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from flaskhost import health, layout, processes, releases, systemd
from flaskhost.files import link, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

# A queue that does not empty belongs to a release that does not accept any more; stopping it is right then.
QUEUE_SECONDS = 30.0
# In a container with cgroup v1, systemd does not hear that the last process is gone, and waits for TimeoutStopSec.
DISCARD_SECONDS = 0.5
# Threads that ask at once are twice as many.
MOST_WORKERS = 32


def fill(paths: Layout, colour: str, release: releases.Release) -> None:
    """Make a slot that is not running hold a release: its links, then its units, checked before systemd reads them."""
    links(paths, colour, release)
    processes.clear(paths, colour, release)
    install(paths, release, units(paths, colour, release))
    if release.facts.get("altered") == colour:
        release.update(altered=None)


def units(paths: Layout, colour: str, release: releases.Release) -> Dict[str, str]:
    """Return the units that a release has in a slot, each with its file in the release's configuration."""
    return {
        layout.socket(paths.app, colour): "gunicorn.socket",
        layout.service(paths.app, colour): "gunicorn.service",
        **processes.units(paths, colour, release),
    }


def links(paths: Layout, colour: str, release: releases.Release) -> bool:
    """Make a slot's links lead to a release; return whether any led elsewhere before."""
    changed = False
    for path, target in _targets(paths, colour, release).items():
        changed = link(path, target) or changed
    return changed


def _targets(paths: Layout, colour: str, release: releases.Release) -> Dict[Path, str]:
    """Return where a slot's links lead to."""
    targets = {
        "release": f"../../releases/{release.facts['folder']}",
        "venv": f"../../venvs/{release.facts['venv']}",
        "static": f"../../static/{release.digest}",
        "env": f"../../config/{release.digest}/env",
        "config": f"../../config/{release.digest}",
    }
    return {paths.slot(colour) / name: target for name, target in targets.items()}


def managed(paths: Layout, colour: str, release: releases.Release) -> List[Path]:
    """Return the links of a slot."""
    return list(_targets(paths, colour, release))


def holding(paths: Layout, release: releases.Release) -> Optional[str]:
    """Return the slot that holds a release, the active one first, or None.

    A slot that was changed by hand does not count: what runs there may not be what the stack says.
    """
    colour = releases.slot_of(paths, release.digest)
    both = (colour, layout.other(colour)) if colour in layout.SLOTS else ()
    return next((one for one in both if one and _is_intact(paths, one, release)), None)


def _is_intact(paths: Layout, colour: str, release: releases.Release) -> bool:
    """Tell whether a slot is what `fill` has made of it for that release."""
    if release.facts.get("altered") == colour:
        return False
    for path, target in _targets(paths, colour, release).items():
        if not path.is_symlink() or os.readlink(path) != target:
            return False
    config, wanted = paths.config(release.digest), units(paths, colour, release)
    return all(_same(config / file, paths.units / unit) for unit, file in wanted.items())


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def install(paths: Layout, release: releases.Release, wanted: Dict[str, str]) -> None:
    """Install units of a release, by name, each with its file in the release's configuration."""
    changed = False
    for name, file in wanted.items():
        text = (paths.config(release.digest) / file).read_text()
        changed = write(paths.units / name, text) or changed
    # Each time, and not only after a change: what a killed try has written was never looked at.
    said = run(["systemd-analyze", "verify", *(str(paths.units / name) for name in wanted)], check=False)
    if said.returncode or any(name in said.stdout for name in wanted):
        raise Failure(f"systemd refuses the unit of the release:\n{said.stdout}")
    if changed or systemd.is_outdated(*wanted):
        systemd.systemctl("daemon-reload")


def start(paths: Layout, colour: str) -> None:
    """Start a slot's socket and have its service started; `healthy` tells what becomes of it."""
    service, socket = layout.service(paths.app, colour), layout.socket(paths.app, colour)
    states = systemd.show_each([service, socket], "ActiveState")
    running, open_ = (states[unit]["ActiveState"] in systemd.RUNNING for unit in (service, socket))
    if running and not open_:
        # Before systemd 252, a restart of `<app>.service` closes the socket and passes over a service that still starts
        # (systemd issue 13841). No socket opens beside its service: that ends first, and Requires= opens it in between.
        systemd.systemctl("restart", "--no-block", service)
        return
    systemd.systemctl("start", socket)
    systemd.systemctl("start", "--no-block", service)


def stop(paths: Layout, colour: str) -> None:
    """Stop a slot gracefully: Gunicorn ends the requests that it has taken."""
    units = (layout.service(paths.app, colour), layout.socket(paths.app, colour))
    systemd.systemctl("stop", *units, timeout=systemd.STOP_SECONDS, check=False)
    systemd.systemctl("reset-failed", layout.service(paths.app, colour), check=False)


def retire(paths: Layout, colour: str) -> None:
    """Have a slot that no new visitor reaches stop gracefully; nobody has to wait for its last requests."""
    systemd.systemctl("stop", "--no-block", layout.service(paths.app, colour), layout.socket(paths.app, colour))


def retire_idle(paths: Layout, idle: str, progress: Progress) -> None:
    """Stop a slot that nobody points to any more.

    The one before; or what a killed switch has left running, or an `up` that staged there and failed on another host.
    """
    if systemd.is_active(layout.service(paths.app, idle)) or systemd.is_active(layout.socket(paths.app, idle)):
        drain(paths, idle, progress)
        retire(paths, idle)
        progress.say(f"stopping: {idle}")


def discard(paths: Layout, colour: str) -> None:
    """Stop a slot that no visitor has reached: at once, and without waiting long for systemd to see it empty."""
    units = (layout.service(paths.app, colour), layout.socket(paths.app, colour))
    systemd.systemctl("kill", "--signal=KILL", units[0], check=False)
    systemd.systemctl("stop", "--no-block", *units, check=False)
    until = time.monotonic() + DISCARD_SECONDS
    while _ends(units[0]) and time.monotonic() < until:
        time.sleep(0.05)
    if _ends(units[0]):
        # systemd looks at its processes anew then, and finds that there are none.
        systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *units, check=False)


def _ends(unit: str) -> bool:
    return systemd.show(unit, "ActiveState").get("ActiveState") == "deactivating"


def restarts(paths: Layout, colour: str) -> int:
    """Return how often systemd has restarted the service of a slot since it was started."""
    return int(systemd.show(layout.service(paths.app, colour), "NRestarts").get("NRestarts") or 0)


def died(paths: Layout, colour: str, before: int = 0) -> Optional[str]:
    """Return why the service of a slot is not up to anything any more, or None while it may still become healthy.

    Args:
        paths: layout of the application.
        colour: the slot.
        before: restarts that have been and count no more: a release that runs for days may have seen some.
    """
    names = ("ActiveState", "SubState", "NRestarts", "ExecMainStatus", "Job")
    facts = systemd.show(layout.service(paths.app, colour), *names)
    more = int(facts.get("NRestarts") or 0) - before
    # Inactive with a job: its start is still to come.
    ended = facts.get("ActiveState") in ("failed", "inactive", "deactivating") and not facts.get("Job")
    if more > 0 or ended:
        state = f"{facts.get('ActiveState')}/{facts.get('SubState')}"
        status = facts.get("ExecMainStatus")
        # Of one that was started again there is no status any more.
        how = f"ended with status {status}" if ended or status != "0" else "has ended and was started again"
        return f"its service {how} ({state}, restarts: {more})"
    return None


def healthy(  # noqa: PLR0913 - what is asked
    paths: Layout,
    colour: str,
    check: Dict[str, Any],
    progress: Progress,
    before: int = 0,
    at: Optional[Path] = None,
) -> float:
    """Wait until a slot is healthy, asked over its socket or at another path to it.

    See `health.wait`, and `died` for `before`.
    """
    return health.wait(at or paths.socket(colour), check, lambda: died(paths, colour, before), progress)


def warm_up(paths: Layout, colour: str, check: Dict[str, Any], progress: Progress) -> None:
    """Have each worker of a healthy slot answer once, see `health.warm_up`."""
    master = systemd.show(layout.service(paths.app, colour), "MainPID").get("MainPID", "0")
    try:
        workers = len(Path(f"/proc/{master}/task/{master}/children").read_text().split())
    except OSError:
        # Ended since, which the next look at its health tells.
        workers = 0
    health.warm_up(paths.socket(colour), check, max(1, min(workers, MOST_WORKERS)), progress)


def point(paths: Layout, colour: str) -> None:
    """Let visitors reach that slot: one rename."""
    link(paths.active, f"slots/{colour}")


def drain(paths: Layout, colour: str, progress: Progress) -> None:
    """Wait until the queue of a slot's socket is empty: what waits in it when the service stops would be reset.

    ss(8) shows the connections that nobody has accepted yet as Recv-Q of a listening socket.
    """
    begin = time.monotonic()
    while time.monotonic() - begin < QUEUE_SECONDS:
        lines = run(["ss", "-xlH", "src", str(paths.socket(colour))], check=False).stdout.splitlines()
        # In some containers ss also has a complaint to print.
        queues = [words[2] for words in map(str.split, lines) if len(words) > 2 and words[1] == "LISTEN"]
        waiting = sum(map(int, queues))
        if not waiting:
            return
        time.sleep(0.02)
    progress.say(f"drain: requests still wait for {colour} after {QUEUE_SECONDS:g} s; stopping it all the same")
