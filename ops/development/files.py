"""What a folder holds and would be sent, as the server's `flaskhost sync` counts it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Changes:
    """What a server has to do to have the same files.

    Attributes:
        coming: names of files and links that are new or different.
        gone: names that are not there any more.
    """

    coming: tuple[str, ...]
    gone: tuple[str, ...]

    def __bool__(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.coming or self.gone)

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(sorted((*self.coming, *self.gone)))


@dataclass
class Tree:
    """A folder; what was not touched since the last look is not read again."""

    folder: Path
    _seen: dict[str, tuple[tuple[int, int, int], str]] = field(default_factory=dict)

    def listed(self) -> dict[str, str]:
        """Return what stands for each file and link: SHA-256 of content and executable bit, or the target.

        Raises:
            sources.SourceError: a link leads outside.
        """
        found = {}
        for name in sources.listed(self.folder):
            digest = self._digest(name)
            if digest:
                found[name] = digest
        return found

    def changes(self, there: Mapping[str, str]) -> Changes:
        """Return how this folder differs from what is there."""
        here = self.listed()
        coming = sorted(name for name, digest in here.items() if there.get(name) != digest)
        return Changes(tuple(coming), tuple(sorted(set(there) - set(here))))

    def packed(self, names: Iterable[str]) -> tuple[bytes, dict[str, str]]:
        """Return a tar file of these files and links, and what stands for each of them.

        They may change while this looks: what stands for one is that of what was packed, and one that has gone is left
        out.
        """
        file = io.BytesIO()
        entries = list(sources.entries_of_folder(self.folder, names))
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            sources.add(tar, entries)
        return file.getvalue(), {entry.name: standing_for(entry) for entry in entries}

    def _digest(self, name: str) -> str | None:
        try:
            now = (self.folder / name).lstat()
            stamp = (now.st_mtime_ns, now.st_size, now.st_mode)
            if name not in self._seen or self._seen[name][0] != stamp:
                entry = next(sources.entries_of_folder(self.folder, [name]), None)
                if entry is None:
                    return None
                self._seen[name] = (stamp, standing_for(entry))
        except FileNotFoundError:
            # An editor that saves by renaming: what comes after it is another change.
            return None
        return self._seen[name][1]


def standing_for(entry: sources.Entry) -> str:
    """Return what stands for a file or link; the server works out the same (host/flaskhost/sources.py)."""
    if entry.link is not None:
        return f"-> {entry.link}"
    return hashlib.sha256(entry.content).hexdigest() + ("x" if entry.executable else "")
