"""What the host knows of each release, and how one is found by its digest."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from flaskhost import caller
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

    @property
    def output(self) -> Path:
        """Its log: what its commands have said (see `commands.keep`)."""
        return self.layout.config(self.digest) / "output.log"

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


def codes(layout: Layout) -> List[Dict[str, str]]:
    """Return the code of the releases that could serve again, oldest first: what the stack needs to ask for one.

    Without a repository nobody else knows the commit of a version, nor the digest that makes the release's identity.
    """
    good = [one.facts for one in every(layout) if one.is_prepared() and not one.facts.get("failed")]
    codes = [
        {name: str(facts[name]) for name in ("version", "commit", "tree")} for facts in good if facts.get("commit")
    ]
    return [code for at, code in enumerate(codes) if code not in codes[:at]]


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


def record(layout: Layout, event: str, release: Optional[Release], **facts: Any) -> None:
    """Append one event to releases.log, as one JSON line, with who asked for it.

    Args:
        layout: of the application.
        event: what has happened.
        release: to which release, if it was one.
        facts: what else there is to say; nothing secret.
    """
    line: Dict[str, Any] = {"time": caller.now(), "event": event, **caller.known()}
    if release is not None:
        line.update(release=release.digest, version=release.facts.get("version"))
    # Not for the other applications on the host.
    with open(layout.log, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
        file.write(json.dumps({**line, **facts}) + "\n")


def events(layout: Layout) -> List[Dict[str, Any]]:
    """Return what releases.log tells, oldest first; a line that a kill has cut off is left out."""
    found = []
    for line in layout.log.read_text(errors="replace").splitlines() if layout.log.exists() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def served(events: Iterable[Dict[str, Any]]) -> List[str]:
    """Return the digests of the releases that served, oldest first, without those that were left by a rollback.

    So that a second rollback goes one further back, and not to what the first one has left. The order of the lines
    counts, not the clock, which somebody may have set back.

    Args:
        events: lines of releases.log.
    """
    stack: List[str] = []
    earlier: List[str] = []
    for event in events:
        digest = str(event.get("release"))
        if event.get("event") not in ("switch", "rollback"):
            continue
        if event.get("result") == "failed":
            # Where it did not go back, it serves on.
            stack = earlier if event.get("serves") else stack
            continue
        before = event.get("before")
        if before and before not in stack:
            # A switch that was killed before it could tell of itself.
            stack = [*stack, before]
        earlier = stack
        is_back = event["event"] == "rollback" and digest in stack
        kept = stack[: stack.index(digest)] if is_back else [one for one in stack if one != digest]
        stack = [*kept, digest]
    return stack
