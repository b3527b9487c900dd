"""What is kept of a switch that went back: a record for programs and a page for people, beside each other."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any, Dict, List, NamedTuple, Optional

from flaskhost.files import directory, remove, write
from flaskhost.layout import Layout
from flaskhost.progress import Scrubber

# Enough for a bad week, and small.
KEPT = 20
# What a person reads in the message of a failed `up`; the journal has the rest.
LOG_LINES = 60
# Of an answer, which may be a whole page.
MOST_CHARACTERS = 300


class Incident(NamedTuple):
    """A release that visitors reached and do not reach any more, or that stays for want of another one.

    Attributes:
        app: the application.
        release: which went back: digest, version, commit, slot, and journal (its units).
        serves: what serves now: release, version, slot.
        why: the reason, in a sentence.
        evidence: what was seen, in numbers (see `watch.Watch.evidence`).
        database: what became of it.
        log: what the release has logged since it was started.
        next: what to do.
    """

    app: str
    release: Dict[str, Any]
    serves: Dict[str, Any]
    why: str
    evidence: Dict[str, Any]
    database: str
    log: List[str]
    next: List[str]


def keep(paths: Layout, incident: Incident, scrubber: Scrubber) -> str:
    """Write the record and the page; return the page. The newest ones stay.

    Args:
        paths: layout of the application.
        incident: what happened.
        scrubber: clears all of it of secrets.
    """
    now = time.gmtime()
    clean = _cleaned(incident, scrubber)
    directory(paths.incidents, mode=0o750, group=paths.app)
    name = re.sub(r"[^\w.-]", "-", f"{time.strftime('%Y-%m-%d-%H%M%S', now)}-{incident.release['version']}")[:80]
    record = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", now), "host": socket.gethostname(), **clean._asdict()}
    text = page(clean, record["time"], record["host"])
    # The page first: `last` finds an incident by its record.
    write(paths.incidents / f"{name}.md", text, mode=0o640, group=paths.app)
    write(paths.incidents / f"{name}.json", json.dumps(record, indent=2) + "\n", mode=0o640, group=paths.app)
    for old in sorted(paths.incidents.glob("*.json"))[:-KEPT]:
        remove(old)
        remove(old.with_suffix(".md"))
    return f"{text}\nThis page is kept on the host: {paths.incidents / name}.md"


def last(paths: Layout) -> Optional[Dict[str, Any]]:
    """Return the newest record, with the path of its page, or None."""
    records = sorted(paths.incidents.glob("*.json"))
    if not records:
        return None
    found: Dict[str, Any] = json.loads(records[-1].read_text())
    return {**found, "page": str(records[-1].with_suffix(".md"))}


def page(incident: Incident, when: str, host: str) -> str:
    """Return the page for people."""
    release, evidence = incident.release, incident.evidence
    since, before = evidence["since"], evidence["before"]
    errors = [f"{rate['errors']} ({rate['percent']:g} %)" for rate in (since, before)]
    lines = [
        f"# {incident.app}: {_named(release)} was taken back",
        "",
        f"{when}, on {host}, {evidence['seconds']:g} s after the switch",
        "",
        f"Why: {incident.why}",
        "",
        "| | from the switch to the way back | in the minutes before |",
        "| --- | --- | --- |",
        f"| seconds | {evidence['seconds']:g} | {60 * before['minutes']} |",
        f"| requests | {since['requests']} | {before['requests']} |",
        f"| answered with 5xx | {errors[0]} | {errors[1]} |",
        *_list("Failed requests", [f"{count} x {what}" for what, count in evidence["failed_requests"].items()]),
        *_list("Unhealthy answers", evidence["unhealthy_answers"]),
        "",
        f"Serves now: {_named(incident.serves)} in {incident.serves['slot']}",
        f"Database: {incident.database}",
        *_list("Next", incident.next),
        "",
        f"The last lines of its log (`journalctl -u '{release['journal']}'` has all):",
        "",
        *(f"    {line}" for line in incident.log[-LOG_LINES:]),
    ]
    return "\n".join(lines) + "\n"


def _named(release: Dict[str, Any]) -> str:
    return f"{release['version']} ({release['release'][:8]})"


def _list(title: str, points: List[str]) -> List[str]:
    return ["", f"{title}:", "", *(f"- {point}" for point in points)] if points else []


def _cleaned(incident: Incident, scrubber: Scrubber) -> Incident:
    """Return the incident without any secret: each text that came from the release, or from visitors."""
    evidence = {
        **incident.evidence,
        "failed_requests": {scrubber.clean(what): n for what, n in incident.evidence["failed_requests"].items()},
        # Cut last: half a secret would not be recognised as one.
        "unhealthy_answers": [
            " ".join(scrubber.clean(answer).split())[:MOST_CHARACTERS]
            for answer in incident.evidence["unhealthy_answers"]
        ],
    }
    log = scrubber.clean("\n".join(incident.log)).splitlines()
    return incident._replace(why=scrubber.clean(incident.why), evidence=evidence, log=log)
