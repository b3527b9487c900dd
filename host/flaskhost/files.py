"""Changes to the file system, each of them whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Optional, Tuple

from flaskhost.shell import run


def ids(owner: str, group: str) -> Tuple[int, int]:
    """Return the user and group ids of these names; of this process where it is not root (tests in a scratch root)."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    import grp  # noqa: PLC0415 - only root needs them
    import pwd  # noqa: PLC0415

    return pwd.getpwnam(owner).pw_uid, grp.getgrnam(group).gr_gid


def write(path: Path, text: str, *, mode: int = 0o644, owner: str = "root", group: str = "root") -> bool:
    """Make a file have this text, mode and owner, by one rename.

    Returns:
        Whether anything was different before.
    """
    uid, gid = ids(owner, group)
    data = text.encode()
    try:
        now = path.lstat()
        same = stat.S_ISREG(now.st_mode) and path.read_bytes() == data
        if same and (stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid) == (mode, uid, gid):
            return False
    except FileNotFoundError:
        pass
    new = path.with_name(f".{path.name}.new")
    new.unlink() if new.is_symlink() or new.exists() else None
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchown(file.fileno(), uid, gid)
        os.fchmod(file.fileno(), mode)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return True


def link(path: Path, target: str) -> bool:
    """Make `path` a symbolic link to `target`, by one rename.

    Returns:
        Whether anything was different before.
    """
    if path.is_symlink() and os.readlink(path) == target:
        return False
    new = path.with_name(f".{path.name}.new")
    new.unlink() if new.is_symlink() else None
    new.symlink_to(target)
    new.rename(path)
    return True


def directory(path: Path, *, mode: int = 0o755, owner: str = "root", group: str = "root") -> None:
    """Make a folder (not its parents) have this mode and owner."""
    path.mkdir(exist_ok=True)
    own(path, mode=mode, owner=owner, group=group)


def own(path: Path, *, mode: int, owner: str = "root", group: str = "root") -> None:
    """Make a file or folder that is there have this mode and owner."""
    uid, gid = ids(owner, group)
    now = path.lstat()
    if (now.st_uid, now.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    if stat.S_IMODE(now.st_mode) != mode:
        path.chmod(mode)


def own_tree(path: Path, *, owner: str, group: str, readers: str = "group") -> None:
    """Give a tree to `owner`; the group may read it, nobody else gets at it, and only the owner may write.

    Args:
        path: the tree; links in it are not followed.
        owner: who may write.
        group: who may read.
        readers: `group` (folders 0750, files 0640) or `all` (0755, 0644). Executable files keep that.
    """
    uid, gid = ids(owner, group)
    others = 0o5 if readers == "all" else 0
    # By open folders, each taken before what is in it: whom it belonged to cannot put a link in between.
    for _, folders, names, at in os.fwalk(path):
        os.fchown(at, uid, gid)
        os.fchmod(at, 0o750 | others)
        for name in (*names, *folders):
            now = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(now.st_mode):
                continue
            os.chown(name, uid, gid, dir_fd=at, follow_symlinks=False)
            if not stat.S_ISLNK(now.st_mode):
                os.chmod(name, (0o750 | others) if now.st_mode & 0o100 else (0o640 | (others & 0o4)), dir_fd=at)


def remove(path: Optional[Path]) -> None:
    """Remove a file, a link or a whole tree; nothing there is fine."""
    if path is None:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def settle(path: Path) -> None:
    """Have what was written to the file system of `path` on its disk: a mark that says so must not get there first."""
    run(["sync", "--file-system", str(path)])
