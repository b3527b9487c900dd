"""What the source of a development release is made of, file by file, so that a changed file can come by itself.

`flaskhost sync` changes the source of the release that runs. What a build command or Python has added to it is not
listed here, and stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Dict, Iterable, List

from flaskhost.files import directory, remove, write
from flaskhost.releases import Release
from flaskhost.shell import Failure


def listed(archive: Path) -> Dict[str, str]:
    """Return what stands for each file and link of an archive: SHA-256 of content and executable bit, or the target."""
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isreg() else None
            if stream:
                found[member.name] = digest(stream.read(), executable=bool(member.mode & 0o100))
            elif member.issym():
                found[member.name] = f"-> {member.linkname}"
    return found


def found(source: Path) -> Dict[str, str]:
    """Return the same for a folder."""
    names = {}
    for top, folders, files in os.walk(source):
        for name in (*files, *folders):
            path = Path(top, name)
            at = os.path.relpath(path, source)
            if path.is_symlink():
                names[at] = f"-> {os.readlink(path)}"
            elif path.is_file():
                names[at] = digest(path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
    return names


def digest(content: bytes, *, executable: bool) -> str:
    """Return what stands for a file; the workstation works out the same (ops/development/files.py)."""
    return hashlib.sha256(content).hexdigest() + ("x" if executable else "")


def remember(release: Release, files: Dict[str, str]) -> None:
    """Write down what a release's source is made of."""
    text = json.dumps(files, indent=0, sort_keys=True) + "\n"
    write(release.layout.config(release.digest) / "source.json", text, mode=0o640, group=release.layout.app)


def known(release: Release) -> Dict[str, str]:
    """Return what a release's source is made of."""
    path = release.layout.config(release.digest) / "source.json"
    found: Dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def take_away(release: Release, names: Iterable[str]) -> None:
    """Remove files and links from a release's source, and the folders that are empty then."""
    for name in names:
        path = _inside(release, name)
        if path.is_symlink() or path.is_file():
            path.unlink()
        for folder in path.parents:
            if folder == release.source or any(True for _ in os.scandir(folder)):
                break
            folder.rmdir()


def put(release: Release, new: Path) -> List[str]:
    """Move files and links of a folder beside the source to where they belong in it, each by one rename.

    Returns:
        Their names.
    """
    names = []
    for top, folders, files in os.walk(new):
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for name in (*files, *links):
            at = Path(top, name)
            relative = at.relative_to(new)
            # As a list: what `parents` gives can be cut from Python 3.10 on.
            for parent in reversed(list(relative.parents)[:-1]):
                _folder(release, _inside(release, str(parent)))
            to = _inside(release, str(relative))
            if to.is_dir() and not to.is_symlink():
                # It was a folder, whose files were taken away; what is left in it nobody has sent.
                remove(to)
            at.rename(to)
            names.append(str(relative))
    return names


def _folder(release: Release, path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    directory(path, mode=0o750, group=release.layout.app)


def _inside(release: Release, name: str) -> Path:
    """Return the path of a name in the source.

    Raises:
        Failure: it would be elsewhere, by its text or through a link.
    """
    top = os.path.realpath(release.source)
    path = os.path.normpath(os.path.join(top, name))
    if not path.startswith(top + os.sep) or os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
        raise Failure(f"the change names {name!r}, which is not inside of the source")
    return Path(path)
