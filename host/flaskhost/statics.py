"""Static files: those of a release for Nginx, and those of earlier ones, which a page in a browser may still ask for.

A page that was loaded before a switch names files by the fingerprints of its release. Each file is therefore linked
into one folder of all releases as well, and stays there as long as a release on the host has it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Optional

from flaskhost.files import directory, own_tree, remove
from flaskhost.shell import Failure

if TYPE_CHECKING:
    from flaskhost.layout import Layout
    from flaskhost.releases import Release

WEB = "www-data"
# Folders of releases have the names of their digests.
EARLIER = "earlier"


def collect(release: Release, folder: Optional[str], stray: Callable[[Path, Path], Optional[str]]) -> int:
    """Copy the static files of a release to where Nginx may read them, and only them; return how many there are.

    Args:
        release: whose.
        folder: of its source, or None where Flask serves them.
        stray: returns a link in a folder that leads out of another one.

    Raises:
        Failure: it is no folder of the source, or holds a link that leads out of it.
    """
    remove(release.static)
    if folder is None:
        directory(release.static, mode=0o750, group=WEB)
        return 0
    source = release.source / folder
    if not source.is_dir() or release.source.resolve() not in source.resolve().parents:
        raise Failure(f"flaskhost:app.static: must be a folder of the source (got {folder!r}): name one that is there")
    # A build command makes links as it likes; copied by root, they would show any file of the host to visitors.
    outside = stray(source, release.source)
    if outside:
        raise Failure(f"flaskhost:app.static: {outside!r} is a link that leads out of the source: have the file there")
    shutil.copytree(source, release.static, symlinks=False)
    own_tree(release.static, owner="root", group=WEB)
    remember(release)
    return sum(1 for _ in _files(release.static))


def remember(release: Release) -> None:
    """Link the files of a release into the folder of all releases; of two with one name the newer one counts."""
    earlier = release.layout.statics / EARLIER
    directory(earlier, mode=0o750, group=WEB)
    for path in _files(release.static):
        at = earlier / path.relative_to(release.static)
        _folders(earlier, at.parent)
        if at.is_dir():
            remove(at)
        new = at.with_name(f".{at.name}.new")
        remove(new)
        os.link(path, new)
        new.rename(at)


def forget(layout: Layout) -> None:
    """Remove what no release on the host has any more: only this folder's link leads to it."""
    earlier = layout.statics / EARLIER
    for top, _, names in os.walk(earlier, topdown=False):
        for path in (Path(top, name) for name in names):
            if path.lstat().st_nlink == 1:
                path.unlink()
        if not os.listdir(top):
            os.rmdir(top)


def _folders(top: Path, folder: Path) -> None:
    """Have a folder and those above it, up to `top`; what was a file in an earlier release makes room."""
    if folder == top:
        return
    _folders(top, folder.parent)
    if not folder.is_dir():
        remove(folder)
    directory(folder, mode=0o750, group=WEB)


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder; copied as they were, none of them is a link."""
    for top, _, names in os.walk(folder):
        yield from (Path(top, name) for name in names)
