"""`flaskhost connections|refresh`: how the application reaches its database and the like on AWS, now and from now on.

AWS changes the password of a database by itself (Amazon RDS: every seven days). A timer asks for it each minute, and
the release that serves is started with the new one in the other slot, as a release is: no request is lost.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from flaskhost import connections as values
from flaskhost import envfile, layout, locks, maintenance, manifest, releases, slots, systemd, takeover
from flaskhost.document import Document
from flaskhost.files import directory, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import switch

FACTS = ("region", "values", "secrets")
KINDS = ("timer", "service")
# The next time is in a minute.
TRIES_OF_TIMER = 1
EVENT = "connections"


def connections(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Have what the stack connects the application to in its environment, and ask for changes of the secrets.

    Input: region, values (plain variables), secrets (see `connections.ask`), and as files the units that ask for
    changes, which are installed where there are secrets.

    Returns:
        `changed`: whether the values were others before; `restarted`: whether a release was started with them. Where
        one was not though they are others, `why` says so.
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    wish = {name: asked[name] for name in FACTS}
    with locks.application(paths, f"connections of {asked.app}", progress):
        if not wish["values"] and not wish["secrets"]:
            _units(paths, {})
            changed = values.forget(paths)
            manifest.forget(paths, EVENT)
        else:
            text = values.ask(wish, progress)
            units = _asking(asked) if wish["secrets"] else {}
            takeover.refuse_foreign(paths, [f"/etc/systemd/system/{name}" for name in units])
            values.want(paths, wish)
            changed = values.keep(paths, text)
            # Before a release is started with it, which may take a while: a killed try leaves one that goes on.
            _units(paths, units)
            _remember(paths, list(units))
        names = ", ".join(sorted([*wish["values"], *wish["secrets"]])) or "none"
        progress.say(f"connections: {'written' if changed else 'there already'}: {names}")
        done = _bring(paths, progress)
    return {"changed": changed, **done}


def refresh(app: str) -> None:
    """Ask for the secrets again; where one is another one now, have the release that serves started with it.

    Where nothing has changed, nothing is said and no lock is taken.

    Raises:
        Failure: AWS was not to be asked; nothing has changed then.
    """
    paths, progress = layout.known(app), Progress()
    wish = values.wanted(paths)
    if wish is None:
        return
    progress.scrubber.add(envfile.secrets_of(paths))
    text, now = values.ask(wish, progress, TRIES_OF_TIMER), releases.active(paths)
    if text == values.kept(paths) and not _is_due(paths, now):
        return
    for folder in (paths.state.parent, paths.state):
        # After a reboot they are not there.
        directory(folder, mode=0o700)
    with locks.application(paths, f"refresh of {app}", progress):
        if values.wanted(paths) != wish:
            # An `up` has asked for something else meanwhile, and has done it.
            return
        # What was told before the wait for the lock may be older than what an `up` was told meanwhile.
        if values.keep(paths, values.ask(wish, progress, TRIES_OF_TIMER)):
            _remember(paths, _installed(paths))
            progress.say("connections: AWS has changed a secret")
        _bring(paths, progress)


def _is_due(paths: layout.Layout, now: Optional[releases.Release]) -> bool:
    """Tell whether what serves has other values: an earlier try was killed, or did not work some time ago."""
    return now is not None and values.are_new_to(paths, now) and not values.is_early(paths, now)


def _bring(paths: layout.Layout, progress: Progress) -> Dict[str, Any]:
    """Have the release that serves started with the values of now, if it has others. The lock is held by the caller."""
    release, served = releases.active(paths), paths.active_slot()
    if release is None or served is None:
        values.wait_no_more(paths)
        return {"restarted": False, "why": "no release serves yet"}
    if not values.are_new_to(paths, release):
        values.wait_no_more(paths)
        return {"restarted": False}
    facts = systemd.show(layout.service(paths.app, served), "ActiveState")
    if facts.get("ActiveState") in ("inactive", "deactivating"):
        # By a person, or for a database that is being changed: not to be started by this.
        values.compose(paths, release)
        release.update(altered=None)
        switch.note(paths, release, served)
        values.wait_no_more(paths)
        return {"restarted": False, "why": f"{release.label} is stopped: it has them when it is started"}
    if maintenance.state(paths) is not None:
        # The timer looks again in a minute.
        return {"restarted": False, "why": "the maintenance page stands"}
    why = _restart(paths, release, served, progress)
    if why is None:
        values.wait_no_more(paths)
        switch.note(paths, release, paths.active_slot() or served)
        return {"restarted": True}
    progress.say(f"connections: {release.label} was not started with the new values:\n{why}")
    # The rest is a log, maybe a long one.
    why = why.split("\n")[0]
    values.wait(paths, release, why)
    return {"restarted": False, "why": why}


def _restart(paths: layout.Layout, release: releases.Release, served: str, progress: Progress) -> Optional[str]:
    """Start a release anew beside itself and let visitors reach that; return why that did not work, or None."""
    file = values.environment(paths, release)
    before, altered, failed = file.read_text(), release.facts.get("altered"), release.facts.get("failed")
    values.compose(paths, release)
    if served == layout.DEVELOPMENT:
        # One place, and a traceback is what a developer wants to see.
        systemd.systemctl("restart", layout.service(paths.app, served), check=False)
        release.update(altered=None)
        progress.say(f"connections: {release.label} is started anew")
        return None
    idle = layout.other(served)
    if releases.in_slot(paths, idle) == release.digest and systemd.is_active(layout.service(paths.app, idle)):
        # A killed try has left it, maybe with values that are no more.
        slots.stop(paths, idle)
    try:
        switch.activate(paths, release, switch.NO_WATCH, progress, event=EVENT, again=True)
    except Failure as failure:
        if paths.active_slot() == served:
            # It starts with what it has proved to work with, should it have to, and is not to blame.
            write(file, before, mode=0o640, group=paths.app)
            release.update(altered=altered, failed=failed)
        return progress.scrubber.clean(str(failure))
    return None


def _asking(asked: Document) -> Dict[str, str]:
    """Return the units that ask for changes, by name."""
    return {name: asked.file(f"/etc/systemd/system/{name}") for name in _names(asked.app)}


def _names(app: str) -> List[str]:
    return [f"{app}-connections.{kind}" for kind in KINDS]


def _installed(paths: layout.Layout) -> List[str]:
    return [name for name in _names(paths.app) if (paths.units / name).exists()]


def _units(paths: layout.Layout, texts: Dict[str, str]) -> None:
    """Have these units, the timer running, and no others."""
    timer = _names(paths.app)[0]
    if not texts:
        stale = [name for name in _installed(paths) if takeover.is_ours(paths.units / name)]
        if stale:
            systemd.systemctl("disable", "--quiet", timer, check=False)
            systemd.systemctl("stop", *stale, check=False)
            for name in stale:
                remove(paths.units / name)
            systemd.systemctl("daemon-reload")
        return
    changed = [name for name, text in texts.items() if write(paths.units / name, text)]
    if changed or systemd.is_outdated(*texts):
        systemd.systemctl("daemon-reload")
    if not systemd.is_enabled(timer):
        systemd.systemctl("enable", "--quiet", timer)
    if changed or not systemd.is_active(timer):
        systemd.systemctl("restart", timer)


def _remember(paths: layout.Layout, units: List[str]) -> None:
    """Note what is here now, so that a change by hand is seen."""
    states = {name: ["enabled", "active"] if name.endswith(".timer") else [] for name in units}
    files = [paths.units / name for name in units]
    secret = [paths.connections, values.wanted_file(paths)]
    manifest.remember(paths, EVENT, files=files, secret=secret, units=states)
