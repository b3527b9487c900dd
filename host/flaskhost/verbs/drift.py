"""`flaskhost drift`: what was changed by hand on this host since flaskhost has last written it. It changes nothing."""

from __future__ import annotations

from typing import Any, Dict, List

from flaskhost import envfile, layout, locks, manifest, releases
from flaskhost.files import directory
from flaskhost.progress import Progress


def drift(app: str, progress: Progress) -> Dict[str, Any]:
    """Return what is different, and what an `up` with `drift: preview` is told of this host.

    `repairs` counts how often the host was put back, with `found` as the reason of the last time. Where there is
    something to put back now, both are about that: the next number makes a text of the steps that runs them.
    """
    paths = layout.known(app)
    progress.scrubber.add(envfile.secrets_of(paths))
    for folder in (paths.state.parent, paths.state):
        # After a reboot they are not there.
        directory(folder, mode=0o700)
    with locks.application(paths, f"drift of {app}", progress):
        found = manifest.differences(paths)
    told = [{"what": one.what, "how": one.how, "detail": progress.scrubber.clean(one.detail)} for one in found]
    base, now = manifest.recall(paths, "base"), releases.active(paths)
    repairs, reasons = base.get("repairs", 0), base.get("found", [])
    if found:
        repairs, reasons = repairs + 1, [f"{one.what} {one.how}" for one in found]
    active = {"release": now.digest, "version": now.facts.get("version")} if now else None
    return {"active": active, "differences": told, "repairs": repairs, "found": reasons}


def lines(found: Dict[str, Any]) -> List[str]:
    """Return the differences as a person reads them."""
    told: List[str] = []
    for one in found["differences"]:
        told.append(f"{one['what']} {one['how']}")
        told += [f"    {line}" for line in one["detail"].splitlines()]
    return told or ["nothing was changed since flaskhost has last written it"]
