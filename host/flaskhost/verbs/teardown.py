"""`flaskhost claim|renew|teardown|remove`: whose the application on this host is, and how it goes from it.

Pulumi removes what it has replaced after the new one is there. So a deploy claims its application with a token, and a
teardown does nothing unless its token is the one that claimed last.

The step of a stack that becomes one of several hosts has another name from then on: Pulumi makes the claim of the new
name and ends that of the old one, now or after a failure and another `up`. So each name has a claim of its own, and the
application goes with the last of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Tuple

from flaskhost import accounts, builder, fence, layout, locks, owners, systemd, takeover, volume
from flaskhost.caller import LOGIN
from flaskhost.document import Document
from flaskhost.files import directory, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run, succeeds
from flaskhost.verbs import base, site

# `pulumi up --replace` makes a resource anew and then removes the one before, with the same token for both.
REPLACEMENT_SECONDS = 600


def claim(asked: Document, *, anew: bool) -> Dict[str, Any]:
    """Note whose the application is. Input: token, purge, stack, as (what the host is called, if it is one of several).

    Args:
        asked: the document.
        anew: whether Pulumi makes the claim, or has it already.
    """
    paths = layout.known(asked.app)
    _refuse_strangers(paths, asked["stack"])
    claims, name = _claims(paths), _name(asked)
    again = time.time() if anew and claims.get(name, {}).get("token") == asked["token"] else 0
    _write_claims(paths, {**claims, name: {"token": asked["token"], "again": again}})
    return {"claimed": asked.app, "purge": asked["purge"]}


def teardown(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Remove the application if it is still this stack's. Input: that of its claim."""
    try:
        paths = _known(asked.app)
    except Failure:
        progress.say(f"{asked.app} is not on this host any more")
        _leave(layout.Layout(asked.app, "/srv"), progress)
        return {"removed": False, "kept": {}}
    claims, name = _claims(paths), _name(asked)
    claimed, others = claims.get(name, {}), {one: claim for one, claim in claims.items() if one != name}
    stays = {"removed": False, "kept": {str(paths.home): "all of it"}}
    if claimed.get("token") != asked["token"]:
        progress.say(f"{asked.app} was claimed by another deploy since: it stays")
        return stays
    if time.time() - claimed["again"] < REPLACEMENT_SECONDS:
        progress.say(f"{asked.app} was claimed anew a moment ago: it stays; `flaskhost remove {asked.app}` removes it")
        _write_claims(paths, {**claims, name: {**claimed, "again": 0}})
        return stays
    if others:
        progress.say(f"{asked.app} stays: the stack has it under another name of this host as well")
        _write_claims(paths, others)
        return stays
    return remove_from_host(paths, progress, purge=bool(asked["purge"]))


def by_hand(app: str, progress: Progress, *, purge: bool) -> None:
    """Remove an application because a person says so, whichever stack it belongs to."""
    remove_from_host(_known(app), progress, purge=purge)


def remove_from_host(paths: layout.Layout, progress: Progress, *, purge: bool) -> Dict[str, Any]:
    """Remove an application: units, site, releases, environment, accounts; each part may be gone already.

    Args:
        paths: layout of the application.
        progress: says what goes and what stays.
        purge: whether uploads, data and logs go as well, and what else is in the application's folder.
    """
    # Called by a person after a reboot, they are not there.
    for folder in (paths.state.parent, paths.state):
        directory(folder, mode=0o700)
    with contextlib.ExitStack() as held:
        for lock in (locks.application, locks.host):
            held.enter_context(lock(paths, f"teardown of {paths.app}", progress))
        _units(paths)
        fence.remove(paths.app)
        _site(paths)
        _processes(paths)
        kept = {} if purge else dict(_worth_keeping(paths))
        _files(paths, kept)
        _accounts(paths, kept, progress)
        for path, what in kept.items():
            progress.say(f"kept: {path} ({what})")
        _forget(paths)
        progress.say(f"{paths.app} is removed from this host" + ("" if kept or not purge else ", with all of its data"))
        _leave(paths, progress)
    return {"removed": True, "kept": kept}


def _known(app: str) -> layout.Layout:
    """Return the layout; what a removal that was killed at its end has left of it goes first."""
    _finish(layout.Layout(app, "/srv"))
    return layout.known(app)


def _forget(paths: layout.Layout) -> None:
    """Remove that by which a killed try is known: it comes last, and goes by one rename, its secrets included."""
    removed = _removed(paths)
    if paths.etc.is_dir():
        directory(removed, mode=0o700)
        paths.etc.rename(removed / paths.app)
    _finish(paths)


def _finish(paths: layout.Layout) -> None:
    removed = _removed(paths)
    for path in removed.iterdir() if removed.is_dir() else ():
        remove(path if path.name == paths.app else None)
    with contextlib.suppress(OSError):
        removed.rmdir()


def _removed(paths: layout.Layout) -> Path:
    """Return a folder in which nobody looks for applications: `*/app.json` finds none there."""
    return paths.at("/etc/flaskhost/.removed")


def _refuse_strangers(paths: layout.Layout, stack: str) -> None:
    owner = (paths.etc / "owner").read_text().strip()
    if owner != stack:
        raise Failure(f"the application name {paths.app!r} belongs to the stack {owner!r} on this host")


def _name(asked: Document) -> str:
    """Return what a claim calls this host: nothing where it is the stack's only one."""
    return str(asked.values.get("as", ""))


def _claims(paths: layout.Layout) -> Dict[str, Dict[str, Any]]:
    """Return the claims by what they call this host."""
    try:
        found: Dict[str, Any] = json.loads((paths.etc / "claim.json").read_text())
    except FileNotFoundError:
        return {}
    # An older version of this command knew one claim.
    return {"": found} if "token" in found else found


def _write_claims(paths: layout.Layout, claims: Dict[str, Dict[str, Any]]) -> None:
    write(paths.etc / "claim.json", json.dumps(claims, indent=2) + "\n", mode=0o600)


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
    systemd.systemctl("stop", *names, timeout=systemd.STOP_SECONDS, check=False)
    systemd.systemctl("disable", "--quiet", *(name for name in names if "@" not in name), check=False)
    for name in names:
        remove(paths.units / name)
        remove(paths.units / f"{name}.d")
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *names, check=False)


def _is_unit_of(path: Path, ours: re.Pattern[str]) -> bool:
    if path.suffix not in (".service", ".socket", ".timer", ".path"):
        return False
    return takeover.is_ours(path) and ours.search(path.read_text(errors="replace")) is not None


def _site(paths: layout.Layout) -> None:
    """Take the site out of Nginx; what all applications share there goes with the last one."""
    last = _is_last(paths)
    names = [paths.app, *(site.CATCH_ALL if last else ())]
    gone = [paths.at(f"/etc/nginx/sites-{kind}/{name}") for name in names for kind in ("enabled", "available")]
    gone += [paths.at(site.NAMES)] if last else []
    files = [path for path in gone if path.is_symlink() or (path.exists() and takeover.is_ours(path))]
    for path in files:
        remove(path)
    # Where all applications are in development mode, there is no Nginx.
    if not last and paths.at("/etc/nginx").is_dir():
        site.catch_all(paths)
    # A killed try may have removed the files and not loaded what is left. In development mode there are none.
    if (files or paths.facts.get("mode") != layout.DEVELOPMENT) and systemd.is_active("nginx.service"):
        again = f"`pulumi destroy` (or `pulumi up`, or `flaskhost remove {paths.app}`) again"
        wrong = site.refused(f"do {again}. The site of {paths.app} is gone from the files")
        if wrong:
            raise Failure(wrong)
        systemd.systemctl("reload", "nginx.service")


def _processes(paths: layout.Layout) -> None:
    """End what still runs in the name of the accounts that go: what a person has started, say."""
    ours = {uid for uid in map(accounts.number, _accounts_of(paths.app)) if uid}
    for process in paths.at("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if process.stat().st_uid in ours:
                os.kill(int(process.name), signal.SIGKILL)


def _worth_keeping(paths: layout.Layout) -> Iterator[Tuple[str, str]]:
    """Yield what people have put there, and what flaskhost has not made, with how much it is."""
    for name in owners.WRITABLE:
        # Logs may be elsewhere.
        sizes = _sizes(Path(os.path.realpath(paths.shared / name)))
        if sizes:
            yield str(paths.shared / name), f"{_counted(sizes)}, {sum(sizes)} bytes"
    sizes = _sizes(paths.backups)
    if sizes:
        yield str(paths.backups), f"{_counted(sizes)}, {sum(sizes)} bytes of the database"
    for path in paths.strangers():
        yield str(path), f"{_counted(_sizes(path))}, not made by flaskhost"


def _sizes(path: Path) -> List[int]:
    if path.is_dir() and not path.is_symlink():
        return [one.lstat().st_size for one in path.rglob("*") if not one.is_dir()]
    return [path.lstat().st_size] if path.is_symlink() or path.exists() else []


def _counted(sizes: List[int]) -> str:
    return f"{len(sizes)} file{'' if len(sizes) == 1 else 's'}"


def _files(paths: layout.Layout, kept: Dict[str, str]) -> None:
    log = paths.at(f"/var/log/{paths.app}")
    if not kept:
        # A folder of logs that was there before stayed, and shared/logs leads to it.
        remove(log if not log.is_symlink() and os.path.realpath(paths.shared / "logs") == str(log) else None)
    stays = {Path(path) for path in kept}
    volume.leave(paths, stays)
    _clear(paths.home, stays)
    if log.is_symlink() and not log.exists():
        remove(log)
    rotation = paths.at(f"/etc/logrotate.d/{paths.app}")
    if rotation.exists() and takeover.is_ours(rotation):
        remove(rotation)
    if not kept:
        for log in paths.at("/var/log/nginx").glob("*.log*"):
            # Not those of an application whose name only begins alike.
            if re.fullmatch(rf"{re.escape(paths.app)}-(access|error)\.log.*", log.name):
                remove(log)
    remove(paths.at(builder.home(paths.app)))
    remove(_uploads(paths) / paths.app)


def _clear(folder: Path, kept: Collection[Path]) -> None:
    """Remove a folder, but what is to be kept in it; a link to a folder stays, its owner has put it there."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if any(path in one.parents for one in kept):
            _clear(path, kept)
        elif path not in kept:
            remove(path)
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def _uploads(paths: layout.Layout) -> Path:
    """Return the folder of uploads, in the home of whom the session belongs to."""
    login = os.environ.get(LOGIN) or os.environ.get("SUDO_USER") or "root"
    return paths.at(os.path.expanduser(f"~{login}")) / ".flaskhost"


def _accounts_of(app: str) -> List[str]:
    """Return the accounts that flaskhost has made: one that was there before stays, with what runs in its name."""
    return [builder.account(app), *([app] if accounts.is_ours(app) else [])]


def _accounts(paths: layout.Layout, kept: Dict[str, str], progress: Progress) -> None:
    """Remove the accounts; the application's own stays where files are its own, or another one could get them."""
    ours = _accounts_of(paths.app)
    if paths.app not in ours and accounts.number(paths.app):
        progress.say(f"kept: the account {paths.app}, not made by flaskhost")
    for name in (one for one in ours if one != paths.app or not kept):
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
