"""`flaskhost claim|renew|teardown|remove`: whose the application on this host is, and how it goes from it.

Pulumi removes what it has replaced after the new one is there. So a deploy claims its application with a token, and a
teardown does nothing unless its token is the one that claimed last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from flaskhost import accounts, builder, fence, layout, locks, systemd, takeover
from flaskhost.document import Document
from flaskhost.files import directory, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run, succeeds
from flaskhost.transient import LOGIN
from flaskhost.verbs import base, site

# What people have put there, and what nobody can make again.
PRECIOUS = ("media", "data", "logs")
# `pulumi up --replace` makes a resource anew and then removes the one before, with the same token for both.
REPLACEMENT_SECONDS = 600


def claim(asked: Document, *, anew: bool) -> Dict[str, Any]:
    """Note whose the application is. Input: token, purge, stack.

    Args:
        asked: the document.
        anew: whether Pulumi makes the claim, or has it already.
    """
    paths = layout.known(asked.app)
    _refuse_strangers(paths, asked["stack"])
    before = _claimed(paths)
    again = time.time() if anew and before.get("token") == asked["token"] else 0
    claimed = {"token": asked["token"], "purge": asked["purge"], "again": again}
    write(paths.etc / "claim.json", json.dumps(claimed, indent=2) + "\n", mode=0o600)
    return {"claimed": asked.app, "purge": asked["purge"]}


def teardown(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Remove the application if it is still this stack's. Input: that of its claim."""
    try:
        paths = layout.known(asked.app)
    except Failure:
        progress.say(f"{asked.app} is not on this host any more")
        _leave(layout.Layout(asked.app, "/srv"), progress)
        return {"removed": False, "kept": {}}
    claimed = _claimed(paths)
    if claimed.get("token") != asked["token"]:
        progress.say(f"{asked.app} was claimed by another deploy since: it stays")
        return {"removed": False, "kept": {str(paths.home): "all of it"}}
    if time.time() - claimed["again"] < REPLACEMENT_SECONDS:
        progress.say(f"{asked.app} was claimed anew a moment ago: it stays; `flaskhost remove {asked.app}` removes it")
        write(paths.etc / "claim.json", json.dumps({**claimed, "again": 0}, indent=2) + "\n", mode=0o600)
        return {"removed": False, "kept": {str(paths.home): "all of it"}}
    return remove_from_host(paths, progress, purge=bool(asked["purge"]))


def remove_from_host(paths: layout.Layout, progress: Progress, *, purge: bool) -> Dict[str, Any]:
    """Remove an application: units, site, releases, environment, accounts; each part may be gone already.

    Args:
        paths: layout of the application.
        progress: says what goes and what stays.
        purge: whether uploads, data and logs go as well.
    """
    # Called by a person after a reboot, they are not there.
    for folder in (paths.state.parent, paths.state):
        directory(folder, mode=0o700)
    with contextlib.ExitStack() as held:
        for lock in (paths.state / "lock", paths.at("/run/flaskhost/host.lock")):
            held.enter_context(locks.held(lock, f"teardown of {paths.app}", progress))
        _units(paths)
        fence.remove(paths.app)
        _site(paths)
        _processes(paths.app)
        kept = {} if purge else dict(_worth_keeping(paths))
        _files(paths, kept)
        _accounts(paths, kept)
        for path, what in kept.items():
            progress.say(f"kept: {path} ({what})")
        # By these a killed try is known; they go last.
        remove(paths.etc)
        progress.say(f"{paths.app} is removed from this host" + ("" if kept or not purge else ", with all of its data"))
        _leave(paths, progress)
    return {"removed": True, "kept": kept}


def _refuse_strangers(paths: layout.Layout, stack: str) -> None:
    owner = (paths.etc / "owner").read_text().strip()
    if owner != stack:
        raise Failure(f"the application name {paths.app!r} belongs to the stack {owner!r} on this host")


def _claimed(paths: layout.Layout) -> Dict[str, Any]:
    try:
        found: Dict[str, Any] = json.loads((paths.etc / "claim.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _units(paths: layout.Layout) -> None:
    """Stop and remove every unit of the application: those that flaskhost has written and that say so."""
    ours = re.compile(rf"^Description={re.escape(paths.app)}: ", re.MULTILINE)
    # What is there, and what an earlier try has removed the file of.
    found = {path.name for path in paths.units.iterdir() if path.is_file() and _is_unit_of(path, ours)}
    kinds = (layout.service, layout.socket)
    usual = [f"{paths.app}.service", *(kind(paths.app, colour) for kind in kinds for colour in layout.SLOTS)]
    found.update(name for name in usual if systemd.is_active(name))
    names = sorted(found)
    if not names:
        return
    systemd.systemctl("stop", *names, check=False)
    systemd.systemctl("disable", "--quiet", *(name for name in names if "@" not in name), check=False)
    for name in names:
        remove(paths.units / name)
        remove(paths.units / f"{name}.d")
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *names, check=False)


def _is_unit_of(path: Path, ours: re.Pattern[str]) -> bool:
    if path.suffix not in (".service", ".socket", ".timer", ".path"):
        return False
    text = path.read_text(errors="replace")
    return takeover.OURS in text.split("\n")[0] and ours.search(text) is not None


def _site(paths: layout.Layout) -> None:
    """Take the site out of Nginx; what all applications share there goes with the last one."""
    last = _is_last(paths)
    names = [paths.app, *(site.CATCH_ALL if last else ())]
    gone = [paths.at(f"/etc/nginx/sites-{kind}/{name}") for name in names for kind in ("enabled", "available")]
    gone += [paths.at(site.NAMES)] if last else []
    files = [path for path in gone if path.is_symlink() or (path.exists() and takeover.OURS in path.read_text())]
    for path in files:
        remove(path)
    # Where all applications are in development mode, there is no Nginx.
    if not last and paths.at("/etc/nginx").is_dir():
        site.catch_all(paths)
    if files and systemd.is_active("nginx.service"):
        run(["nginx", "-t", "-q"])
        systemd.systemctl("reload", "nginx.service")


def _processes(app: str) -> None:
    """End what still runs in the name of the application's accounts: what a person has started, say."""
    ours = {uid for uid in map(accounts.number, (app, builder.account(app))) if uid}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if process.stat().st_uid in ours:
                os.kill(int(process.name), signal.SIGKILL)


def _worth_keeping(paths: layout.Layout) -> Iterator[Tuple[str, str]]:
    """Yield the folders in which anything is, with how much."""
    for name in PRECIOUS:
        folder = paths.shared / name
        sizes = [path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()] if folder.is_dir() else []
        if sizes:
            yield str(folder), f"{len(sizes)} file{'s' if len(sizes) > 1 else ''}, {sum(sizes)} bytes"


def _files(paths: layout.Layout, kept: Dict[str, str]) -> None:
    log = paths.at(f"/var/log/{paths.app}")
    if not kept:
        # A folder of logs that was there before stayed, and shared/logs leads to it.
        remove(log if not log.is_symlink() and os.path.realpath(paths.shared / "logs") == str(log) else None)
        remove(paths.home)
    elif paths.home.is_dir():
        precious = {Path(path) for path in kept}
        for path in (*paths.home.iterdir(), *paths.shared.iterdir()):
            if path != paths.shared and path not in precious:
                remove(path)
    if log.is_symlink() and not log.exists():
        remove(log)
    rotation = paths.at(f"/etc/logrotate.d/{paths.app}")
    if rotation.exists() and takeover.OURS in rotation.read_text():
        remove(rotation)
    if not kept:
        for log in paths.at("/var/log/nginx").glob("*.log*"):
            # Not those of an application whose name only begins alike.
            if re.fullmatch(rf"{re.escape(paths.app)}-(access|error)\.log.*", log.name):
                remove(log)
    remove(paths.at(builder.home(paths.app)))
    remove(_uploads(paths) / paths.app)


def _uploads(paths: layout.Layout) -> Path:
    """Return the folder of uploads, in the home of whom the session belongs to."""
    return paths.at(os.path.expanduser("~" + os.environ.get(LOGIN, "root"))) / ".flaskhost"


def _accounts(paths: layout.Layout, kept: Dict[str, str]) -> None:
    """Remove the accounts; the application's own stays where files are its own, or another one could get them."""
    names = [builder.account(paths.app), *([] if kept else [paths.app])]
    for name in names:
        if accounts.number(name):
            run(["userdel", name])
        # userdel(8) keeps a group that has members, and the application's user is one of its builder's.
        if succeeds(["getent", "group", name]):
            run(["groupdel", name])


def _is_last(paths: layout.Layout) -> bool:
    """Tell whether no other application is on the host."""
    return not [path for path in paths.at("/etc/flaskhost").glob("*/app.json") if path.parent != paths.etc]


def _leave(paths: layout.Layout, progress: Progress) -> None:
    """Take with the last application what all of them share: this command, uv, certificates. Packages stay."""
    if not _is_last(paths) or _others_work(paths.app):
        return
    for path in (
        paths.at("/etc/flaskhost"),
        paths.at("/var/cache/flaskhost"),
        paths.at("/usr/local/bin/flaskhost"),
        base.LIBRARY,
        _uploads(paths),
    ):
        remove(path)
    progress.say("it was the last application here: the flaskhost command is gone, packages of the distribution stay")


def _others_work(app: str) -> List[str]:
    """Return the steps of other applications that are at work."""
    words = ("list-units", "--no-legend", "--plain", "--state=active,activating", "flaskhost-*.service")
    units = [line.split()[0] for line in systemd.systemctl(*words, check=False).splitlines() if line.strip()]
    return [unit for unit in units if unit != f"flaskhost-{app}-teardown.service"]
