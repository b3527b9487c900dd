"""What the stack wants to serve: the release of the last `up` that went well. A rollback on the host is no wish."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional

from flaskhost import releases
from flaskhost.files import write
from flaskhost.layout import Layout


def remember(paths: Layout, release: releases.Release) -> None:
    """Note that `up` has made a release the active one."""
    facts = {"release": release.digest, "version": release.facts.get("version")}
    write(paths.etc / "wanted.json", json.dumps(facts, indent=2) + "\n")


def read(paths: Layout) -> Optional[Dict[str, Any]]:
    """Return digest (`release`) and `version` of what the stack wants, or None where no `up` has said so yet."""
    try:
        found: Dict[str, Any] = json.loads((paths.etc / "wanted.json").read_text())
    except FileNotFoundError:
        return None
    return found


def disagreement(paths: Layout) -> Optional[str]:
    """Return a sentence where something else serves than the stack wants, with the next step; None where it agrees."""
    wanted, now = read(paths), releases.active(paths)
    if wanted is None or now is None or wanted["release"] == now.digest:
        return None
    return (
        f"host and stack disagree: {now.label} serves, and the last `pulumi up` switched to {wanted['version']} "
        f"({wanted['release'][:8]}). Pulumi does not know: `pulumi up` with an unchanged stack file finds nothing to "
        f"do, and with `flaskhost:drift: preview` it goes forward again by itself. To stay here, have the stack file "
        f"say {now.facts.get('version')} and its settings: `make rollback STACK=... TO=N` on the workstation, with a "
        f"number of `make history`; to go forward again: "
        f"`sudo flaskhost rollback {paths.app} {wanted['release'][:8]}`"
    )
