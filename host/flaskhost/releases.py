"""What the host knows of each release, and how one is found by its digest."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from flaskhost.files import write
from flaskhost.layout import DEVELOPMENT, SLOTS, Layout
from flaskhost.shell import Failure


class Release:
    """One release on this host: `config/<digest>/release.json` is its memory."""

    def __init__(self, layout: Layout, digest: str, facts: Dict[str, Any]) -> None:
        """Take what the file holds."""
        self.layout = layout
        self.digest = digest
        self.facts = facts

    @property
    def label(self) -> str:
        """Version and the start of the digest, for people."""
        return f"{self.facts.get('version', '?')} ({self.digest[:8]})"

    @property
    def source(self) -> Path:
        """The folder of its code."""
        return self.layout.releases / str(self.facts["folder"])

    @property
    def venv(self) -> Path:
        """The folder of its dependencies."""
        return self.layout.venvs / str(self.facts["venv"])

    @property
    def static(self) -> Path:
        """The folder of its static files, as Nginx serves them."""
        return self.layout.statics / self.digest

    @property
    def path(self) -> str:
        """The PATH of its commands: its own programs first."""
        return f"{self.venv}/bin:/usr/local/bin:/usr/bin:/bin"

    @property
    def wishes_file(self) -> Path:
        """Where `stage` keeps what the stack wants of its start: health and migrate."""
        return self.layout.config(self.digest) / "stage.json"

    @property
    def wishes(self) -> Dict[str, Any]:
        """What the stack wants of its start, as the last `stage` was told."""
        found: Dict[str, Any] = json.loads(self.wishes_file.read_text())
        return found

    def is_prepared(self) -> bool:
        """Tell whether all that it needs to start is there."""
        if not self.facts.get("prepared"):
            return False
        needed = (self.source, self.venv / "bin" / "python", self.layout.config(self.digest) / "env")
        return all(path.exists() for path in needed)

    def update(self, **facts: Any) -> None:
        """Remember more of it."""
        self.facts.update(facts)
        text = json.dumps(self.facts, indent=2, sort_keys=True) + "\n"
        write(self.layout.config(self.digest) / "release.json", text, mode=0o640, group=self.layout.app)


def read(layout: Layout, digest: str) -> Release:
    """Return the release of that digest, with no facts if the host has never seen it."""
    path = layout.config(digest) / "release.json"
    facts = json.loads(path.read_text()) if path.exists() else {}
    return Release(layout, digest, facts)


def prepared(layout: Layout, digest: str) -> Release:
    """Return the release of that digest, which can be started.

    Raises:
        Failure: it cannot, on this host.
    """
    release = read(layout, digest)
    if not release.is_prepared():
        raise Failure(f"release {digest[:8]} is not prepared on this host: run `pulumi up` again")
    return release


def every(layout: Layout) -> List[Release]:
    """Return all releases that the host knows, oldest first."""
    found = [read(layout, path.parent.name) for path in layout.configs.glob("*/release.json")]
    return sorted(found, key=lambda release: str(release.facts.get("created", "")))


def in_slot(layout: Layout, colour: str) -> Optional[str]:
    """Return the digest of the release in a slot, or None."""
    link = layout.slot(colour) / "config"
    return os.path.basename(os.readlink(link)) if link.is_symlink() else None


def slot_of(layout: Layout, digest: str) -> Optional[str]:
    """Return the slot that holds a release, the active one first, or None."""
    active = layout.active_slot()
    for colour in sorted((*SLOTS, DEVELOPMENT), key=lambda one: one != active):
        if in_slot(layout, colour) == digest:
            return colour
    return None


def active(layout: Layout) -> Optional[Release]:
    """Return the release that visitors reach, or None before the first switch."""
    colour = layout.active_slot()
    digest = in_slot(layout, colour) if colour else None
    return read(layout, digest) if digest else None


def stamp() -> str:
    """Return the time now as it stands in names of folders, in UTC."""
    return time.strftime("%Y-%m-%d-%H%M%S", time.gmtime())


def record(layout: Layout, event: str, release: Release, **facts: Any) -> None:
    """Append one event to releases.log, as one JSON line."""
    line: Dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": event,
        "release": release.digest,
    }
    line["version"] = release.facts.get("version")
    # Not for the other applications on the host.
    with open(layout.log, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
        file.write(json.dumps({**line, **facts}) + "\n")
