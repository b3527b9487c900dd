"""`flaskhost status|releases`: what a person on the host wants to know; with --json, what a program does."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from flaskhost import connections, incidents, layout, maintenance, processes, releases, systemd, transient, wanted

# Of a process, and of a job.
DETAILS = ("restarts", "last", "result", "next")


def status(app: str) -> Dict[str, Any]:
    """Return what serves, since when and by whom, what else runs, what the stack wants, and the last incident."""
    paths = layout.known(app)
    now = releases.active(paths)
    slots = {}
    for colour in paths.places:
        digest = releases.in_slot(paths, colour)
        held = releases.read(paths, digest) if digest else None
        state = systemd.show(layout.service(app, colour), "ActiveState").get("ActiveState")
        slots[colour] = {"release": held.label if held else None, "state": state}
    last = incidents.last(paths)
    return {
        "app": app,
        "active": now.label if now else None,
        "slot": paths.active_slot(),
        **_brought(paths, now),
        "slots": slots,
        "processes": {unit: row for colour in paths.places for unit, row in processes.states(paths, colour).items()},
        "maintenance": maintenance.state(paths),
        "connections": _connections(paths),
        "enabled": systemd.is_enabled(f"{app}.service"),
        "wanted": wanted.read(paths),
        "disagreement": wanted.disagreement(paths),
        "incident": {name: last[name] for name in ("time", "release", "why", "page")} if last else None,
        "at_work": transient.at_work(app),
    }


def told(found: Dict[str, Any]) -> str:
    """Return what `status` has found, for people."""
    app, incident = found["app"], found["incident"]
    since = f", since {_time(found['since'])} UTC{_by(found)}" if found["since"] else ""
    lines = [
        f"{app}: {found['active']} serves in {found['slot']}{since}"
        if found["active"]
        else f"{app}: nothing serves yet"
    ]
    rows = [(slot, f"{held['state']}, {held['release'] or 'empty'}") for slot, held in found["slots"].items()]
    rows += [(unit, _does(row)) for unit, row in sorted(found["processes"].items())]
    rows.append(("at boot", "starts" if found["enabled"] else f"does not start: sudo systemctl enable {app}"))
    if found["wanted"] and not found["disagreement"]:
        rows.append(("stack", "wants what serves"))
    rows += [("at work", step) for step in found["at_work"]]
    if found["connections"]:
        rows.append(("connections", _connected(found["connections"])))
    if found["maintenance"]:
        begun = "the database may have changed" if found["maintenance"]["begun"] else "the database is as it was"
        rows.append(("maintenance", f"the page stands since {_time(found['maintenance']['since'])} UTC: {begun}"))
    width = max(len(name) for name, _ in rows)
    lines += [f"  {name.ljust(width)}  {text}" for name, text in rows]
    if found["disagreement"]:
        lines += ["", found["disagreement"]]
    if incident:
        release = f"{incident['release']['version']} ({incident['release']['release'][:8]})"
        lines += ["", f"last incident: {_time(incident['time'])} UTC, {release} went back: {incident['why']}"]
        lines.append(f"  {incident['page']}")
    return "\n".join(lines)


def _connections(paths: layout.Layout) -> Optional[Dict[str, Any]]:
    """Return the names of what the application is connected to, and whether new values wait; no value of any."""
    wish, waits = connections.wanted(paths), connections.waiting(paths)
    if wish is None:
        return None
    return {
        "variables": sorted(wish["values"]),
        "secrets": sorted(wish["secrets"]),
        "waiting": {name: waits[name] for name in ("since", "why")} if waits else None,
    }


def _connected(found: Dict[str, Any]) -> str:
    names = ", ".join(sorted([*found["variables"], *found["secrets"]]))
    waits = f"; new values wait: {found['waiting']['why']}" if found["waiting"] else ""
    return names + waits


def _by(row: Dict[str, Any]) -> str:
    """Return by whose hand, and from where."""
    return "".join(f" {word} {row[word]}" for word in ("by", "from") if row[word])


def _does(row: Dict[str, Any]) -> str:
    """Return what a process or a job does."""
    return ", ".join([str(row["state"]), *(f"{name}: {row[name]}" for name in DETAILS if row.get(name))])


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
        row.update({name: facts.get(name) for name in ("created", "commit", "folder")})
        rows.append({**row, **_brought(paths, release)})
    return rows


def listed(rows: Sequence[Dict[str, Any]]) -> str:
    """Return what `every` has found, for people."""
    table = [("STATE", "VERSION", "RELEASE", "SWITCHED TO (UTC)", "BY", "FOLDER")]
    for row in rows:
        since = _time(row["since"]) if row["since"] else "-"
        table.append(
            (row["state"], str(row["version"]), row["release"][:8], since, row["by"] or "-", str(row["folder"]))
        )
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(widths[at]) for at, cell in enumerate(line)).rstrip() for line in table)


def _brought(paths: layout.Layout, release: Optional[releases.Release]) -> Dict[str, Any]:
    """Return when visitors reached a release last, and by whose hand."""
    events = [
        event
        for event in releases.events(paths)
        if release and event.get("release") == release.digest and event.get("event") in ("switch", "rollback")
    ]
    last: Dict[str, Any] = next((event for event in reversed(events) if event.get("result") != "failed"), {})
    return {"since": last.get("time"), "by": last.get("by"), "from": last.get("from")}


def _time(stamp: str) -> str:
    """Return a time of a log as a person reads it."""
    return stamp.replace("T", " ").rstrip("Z")
