"""Whether there is room on a disk, asked before anything is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Sequence

from flaskhost.layout import Layout
from flaskhost.shell import Failure, run

MEGABYTE = 1024 * 1024
# Beside what is known: the cache of uv, logs, what the application itself writes meanwhile.
MARGIN = 200 * MEGABYTE
# An environment with Flask has some 3,000 files and folders.
MARGIN_INODES = 5_000
SECONDS = 120


class Need(NamedTuple):
    """What something takes on a disk.

    Attributes:
        size: bytes.
        inodes: files and folders.
    """

    size: int
    inodes: int


def taken(paths: Sequence[Path]) -> Need:
    """Return what these files and folders take; those that are not there take nothing."""
    there = [str(path) for path in paths if path.exists()]
    if not there:
        return Need(0, 0)
    kilobytes, inodes = (_du(unit, there) for unit in ("-k", "--inodes"))
    return Need(kilobytes * 1024, inodes)


def demand(folders: Sequence[Path], need: Need, what: str, large: Sequence[Path] = ()) -> None:
    """See that the file systems of some folders have room.

    Args:
        folders: where it will be written: there, or still to be made.
        need: what will be written; a margin comes on top of it.
        what: that is to be written, for a person.
        large: what usually takes much there, to be named in the message.

    Raises:
        Failure: one has not; the message says what is free, what is needed, and what takes the space.
    """
    for mount in dict.fromkeys(map(_mount, folders)):
        now = os.statvfs(mount)
        free, needed = now.f_bavail * now.f_frsize, need.size + MARGIN
        left, wanted = now.f_favail, need.inodes + MARGIN_INODES
        # Some file systems make inodes as they go, and say that they have 0 (statvfs(3)).
        if free >= needed and (left >= wanted or not now.f_files):
            continue
        lack = f"{_mb(free)} are free, {_mb(needed)} are needed"
        if free >= needed:
            lack = f"{left} inodes are free (`df -i`), {wanted} are needed"
        raise Failure(
            f"the disk at {mount} has no room for {what}: {lack}. {_usage(large)}Nothing was written, and what serves "
            "goes on serving. Make room, and run `pulumi up` again (a smaller flaskhost:app.keep leaves fewer "
            "releases, and `sudo journalctl --vacuum-size=200M` shortens the journal)"
        )


def usual(paths: Layout) -> List[Path]:
    """Return what takes much on a host with this application."""
    ours = (paths.releases, paths.venvs, paths.statics, paths.shared)
    return [*ours, paths.at(f"/var/cache/flaskhost/{paths.app}"), paths.at("/var/log/journal")]


def _du(unit: str, there: Sequence[str]) -> int:
    """Return what du(1) counts in all; what goes away meanwhile does not count."""
    lines = run(["du", "-s", unit, *there], timeout=SECONDS, check=False).stdout.splitlines()
    counts = [line.partition("\t")[0] for line in lines]
    return sum(int(count) for count in counts if count.isdigit())


def _usage(large: Sequence[Path]) -> str:
    sizes = sorted(((taken([path]).size, path) for path in large), reverse=True)
    named = ", ".join(f"{path} {_mb(size)}" for size, path in sizes if size >= MEGABYTE)
    return f"What takes much: {named}. " if named else ""


def _mb(size: int) -> str:
    return f"{size // MEGABYTE} MB"


def _mount(path: Path) -> Path:
    """Return the mount point of the file system on which a path is, or will be."""
    path = path.resolve()
    while not (path.exists() and path.is_mount()):
        path = path.parent
    return path
