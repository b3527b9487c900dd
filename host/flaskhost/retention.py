"""Which releases stay on the host, and the removal of the others with all that belongs to them."""

from __future__ import annotations

import time
from typing import Collection, List, Optional, Sequence, Set

from flaskhost import dependencies, releases, statics
from flaskhost.files import remove
from flaskhost.layout import DEVELOPMENT, SLOTS, Layout
from flaskhost.releases import Release

# An environment that no release names yet may belong to an `up` that is at work.
STRAY_SECONDS = 24 * 3600


def staying(
    known: Sequence[Release], served: Sequence[str], active: Optional[str], held: Collection[Optional[str]], keep: int
) -> Set[str]:
    """Return the digests of the releases that stay.

    The newest `keep` good ones that have served visitors; the one that served before the active one; what a slot
    holds; the newest failed one, for a look; and the newest that was prepared only, which may be what another `up` is
    about to stage.

    Args:
        known: all releases on the host, oldest first.
        served: digests of those that visitors have reached, in that order (`releases.served`); empty where nothing
            tells, and then every good one counts as one of them.
        active: digest of the one that visitors reach.
        held: digests of what the slots hold.
        keep: number of good ones.
    """
    newest = list(reversed(known))
    failed = [one.digest for one in newest if one.facts.get("failed")]
    good = [one.digest for one in newest if one.facts.get("prepared") and not one.facts.get("failed")]
    proven = [digest for digest in good if digest in served or not served]
    untried = [digest for digest in good if digest not in proven]
    previous = [digest for digest in reversed(served) if digest in good and digest != active]
    wanted = [active, *held, *proven[:keep], *previous[:1], *untried[:1], *failed[:1]]
    return {digest for digest in wanted if digest is not None}


def prune(paths: Layout, keep: int) -> List[str]:
    """Remove the releases that do not stay, and what only they have needed; return their labels."""
    held = {releases.in_slot(paths, colour) for colour in (*SLOTS, DEVELOPMENT)}
    known = releases.every(paths)
    active = releases.active(paths)
    stays = staying(known, releases.served(releases.events(paths)), active.digest if active else None, held, keep)
    gone = [one for one in reversed(known) if one.digest not in stays]
    for release in gone:
        # First: what a killed removal leaves must not be taken for a release.
        release.update(prepared=False)
        if release.facts.get("folder"):
            remove(release.source)
        remove(release.static)
        # Last, since it is what the others are found by.
        remove(paths.config(release.digest))
    statics.forget(paths)
    kept = releases.every(paths)
    for venv in paths.venvs.iterdir():
        if venv.name not in {one.facts.get("venv") for one in kept}:
            remove(venv / dependencies.COMPLETE)
            remove(venv)
    for environment in paths.environments.iterdir():
        named = environment.name in {one.facts.get("environment") for one in kept}
        if not named and time.time() - environment.stat().st_mtime > STRAY_SECONDS:
            remove(environment)
    return [release.label for release in gone]
