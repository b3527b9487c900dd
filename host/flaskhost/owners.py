"""Who owns what of an application on the host, and with which mode (docs/layout.md; reference: folder-structure.txt).

Code belongs to root and is read by the application's group; Nginx reads static files and uploads only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from flaskhost import builder, files, layout, releases, statics
from flaskhost.files import directory, link, own, own_tree

WEB = "www-data"
WRITABLE = ("media", "data", "logs")
GONE = contextlib.suppress(FileNotFoundError)


class Rule(NamedTuple):
    """What a path has to be like."""

    path: Path
    mode: int
    owner: str = "root"
    group: str = "root"


def folders(paths: layout.Layout) -> None:
    """Make the folders and the links that stay the same for all releases."""
    paths.home.parent.mkdir(parents=True, exist_ok=True)
    for rule in _folders(paths):
        if not rule.path.is_symlink():
            rule.path.mkdir(exist_ok=True)
    restore(paths)
    # Not readable by applications: it shows what the others on this host are made of.
    directory(paths.at("/var/cache/flaskhost"))
    account = builder.account(paths.app)
    directory(paths.at(builder.home(paths.app)), mode=0o700, owner=account, group=account)


def restore(paths: layout.Layout) -> List[str]:
    """Put owners, modes and links back, as after `chown -R` and `chmod -R` by hand; return what was different.

    What is inside of a release is looked at only where something above it is different: that is quick, and whoever
    changes everything below the application's folder changes that, too.
    """
    different = [str(rule.path) for rule in _folders(paths) if not _holds(rule)]
    tops = [_itself(paths.shared / name) for name in WRITABLE]
    if any(top.exists() and top.lstat().st_uid != files.ids(paths.user, paths.app)[0] for top in tops):
        hand_over(paths)
    for rule in _folders(paths):
        own(_itself(rule.path), mode=rule.mode, owner=rule.owner, group=rule.group)
    different += [str(path) for path, target in _links(paths) if link(path, target)]
    if different:
        _inside(paths)
    return different


def managed(paths: layout.Layout) -> List[Path]:
    """Return the folders and links that `restore` looks after, wherever a folder really is."""
    return [*(_itself(rule.path) for rule in _folders(paths)), *(path for path, _ in _links(paths))]


def hand_over(paths: layout.Layout) -> None:
    """Give what the application has written to the account that it runs as from now on.

    Its group may write as well, so that a release that still runs as another account goes on until the switch; Nginx's
    may not.
    """
    for name in WRITABLE:
        group = _group(paths, name)
        uid, gid = files.ids(paths.user, group)
        more = 0o640 if group == WEB else 0o660
        for _, folders, names, at in os.fwalk(_itself(paths.shared / name)):
            for one in names:
                _give(at, one, uid, gid, more)
            for one in folders:
                # A link to a folder; the folders themselves come next.
                _give(at, one, uid, gid, 0)
            os.chown(at, uid, gid)
            os.chmod(at, _writable(group))


def _give(folder: int, name: str, uid: int, gid: int, mode: int) -> None:
    """Give a file in an open folder to an account; a link is given, never followed, and a hard link is left alone."""
    now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISREG(now.st_mode) and now.st_nlink == 1:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, stat.S_IMODE(now.st_mode) | mode)
        finally:
            os.close(descriptor)
    elif stat.S_ISLNK(now.st_mode):
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)


def _writable(group: str) -> int:
    """Return the mode of a folder that the application writes to.

    The set-group-id bit hands new files to the group, and the umask of the unit keeps others out. The own group may
    write, so that a change of app.user finds the way open for the release before it.
    """
    return 0o2750 if group == WEB else 0o2770


def _group(paths: layout.Layout, name: str) -> str:
    """Return the group of a folder that the application writes to; Nginx reads uploads as the group or as the owner."""
    return WEB if name == "media" and paths.user != WEB else paths.app


def _folders(paths: layout.Layout) -> Iterator[Rule]:
    slots = [paths.slot(colour) for colour in paths.places]
    # In releases/ and venvs/ each folder is closed by itself: the builder must get at the one that it fills.
    for folder in (paths.home, paths.slots, *slots, paths.run, paths.shared, paths.releases, paths.venvs):
        yield Rule(folder, 0o755)
    yield Rule(paths.configs, 0o750, group=paths.app)
    yield Rule(paths.statics, 0o750, group=WEB)
    for folder in (paths.incidents, paths.backups):
        if folder.is_dir():
            yield Rule(folder, 0o750, group=paths.app)
    for name in WRITABLE:
        group = _group(paths, name)
        yield Rule(paths.shared / name, _writable(group), paths.user, group)


def _links(paths: layout.Layout) -> Iterator[Tuple[Path, str]]:
    yield paths.home / "app", "active/release"
    yield paths.home / "venv", "active/venv"
    yield paths.shared / ".env", "../active/env"
    yield paths.shared / "static", "../active/static"
    if paths.places == (layout.DEVELOPMENT,):
        yield paths.shared / ".env.dev", "../active/env"
        return
    yield paths.run / "gunicorn.sock", "../active/gunicorn.sock"
    for colour in layout.SLOTS:
        yield paths.slot(colour) / "gunicorn.sock", f"../../run/gunicorn-{colour}.sock"


def _all_links(paths: layout.Layout) -> List[Path]:
    """Return the links of the application's folder and of its slots."""
    slots = [paths.slot(place) for place in paths.places]
    folders = (paths.home, paths.run, paths.shared, *slots)
    return [path for folder in folders for path in folder.iterdir() if path.is_symlink()]


def _itself(path: Path) -> Path:
    """Return where a folder is: logs may lie in /var/log, where another procedure has put them."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _holds(rule: Rule) -> bool:
    path = _itself(rule.path)
    if not path.exists():
        return True
    now = path.lstat()
    return (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (rule.mode, *files.ids(rule.owner, rule.group))


def _inside(paths: layout.Layout) -> None:
    """Put owners and modes back inside of what releases consist of.

    A `prepare` at the same time writes files anew and removes releases: what has gone needs nothing.
    """
    for folder in [*paths.configs.iterdir(), paths.incidents, paths.backups]:
        with GONE:
            own(folder, mode=0o750, group=paths.app)
            for file in folder.iterdir():
                with GONE:
                    own(file, mode=0o640, group=paths.app)
    for tree, group in _trees(paths):
        with GONE:
            own_tree(tree, owner="root", group=group)
    for path in _all_links(paths):
        with GONE:
            os.chown(path, *files.ids("root", "root"), follow_symlinks=False)
    for colour in layout.SLOTS:
        if paths.socket(colour).is_socket():
            own(paths.socket(colour), mode=0o660, owner=paths.user, group=WEB)
    for path, mode in ((paths.log, 0o640), (paths.home / ".profile", 0o644)):
        if path.exists():
            own(path, mode=mode)


def _trees(paths: layout.Layout) -> Iterator[Tuple[Path, str]]:
    """Yield what releases consist of, each with the group that reads it."""
    yield paths.statics / statics.EARLIER, WEB
    for release in releases.every(paths):
        # One that is being prepared belongs to its builder.
        if release.is_prepared():
            yield release.source, paths.app
            yield release.venv, builder.account(paths.app)
            yield release.static, WEB
