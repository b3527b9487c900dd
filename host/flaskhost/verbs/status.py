"""`flaskhost status|releases`: what a person on the host wants to know."""

from __future__ import annotations

from typing import Any, Dict, List

from flaskhost import layout, processes, releases, systemd


def status(app: str) -> Dict[str, Any]:
    """Return what serves, in which slot, and what else runs."""
    paths = layout.known(app)
    now = releases.active(paths)
    slots = {}
    for colour in paths.places:
        digest = releases.in_slot(paths, colour)
        held = releases.read(paths, digest) if digest else None
        state = systemd.show(layout.service(app, colour), "ActiveState").get("ActiveState")
        slots[colour] = {"release": held.label if held else None, "state": state}
    return {
        "app": app,
        "active": now.label if now else None,
        "slot": paths.active_slot(),
        "slots": slots,
        "processes": {unit: row for colour in paths.places for unit, row in processes.states(paths, colour).items()},
        "enabled": systemd.is_enabled(f"{app}.service"),
    }


def every(app: str) -> List[Dict[str, Any]]:
    """Return the releases on this host, newest first."""
    paths = layout.known(app)
    now = releases.active(paths)
    rows = []
    for release in reversed(releases.every(paths)):
        state = (
            "active" if now and now.digest == release.digest else "failed" if release.facts.get("failed") else "kept"
        )
        facts = release.facts
        row = {"version": facts.get("version"), "release": release.digest, "state": state}
        rows.append(
            {**row, "created": facts.get("created"), "commit": facts.get("commit"), "folder": facts.get("folder")}
        )
    return rows
