"""Development mode: one release, one unit, Flask's own server (reference: deployment-sop.txt, section 4).

There are no slots. `stage` brings the database to the release's schema, `switch` lets `<app>.service` run the release.
One that does not work stays and shows its traceback, since here an error is what somebody wants to see.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

from flaskhost import commands, connections, envfile, fence, health, layout, locks, migrations, releases, slots, systemd
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.retention import prune
from flaskhost.shell import Failure
from flaskhost.verbs import checks as checklist
from flaskhost.verbs.stage import remember

PLACE = layout.DEVELOPMENT
# A developer waits for the traceback, and nobody else for the answer.
HEALTH_SECONDS = 20
RULES = "fence.nft"


def stage(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Run the migrations and the release command. Input: that of `stage` in production."""
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"stage {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        remember(release, asked)
        connections.compose(paths, release)
        migrations.migrate(paths, release, progress)
        commands.on_release(paths, release, release.wishes, progress)
    return {"release": release.digest}


def switch(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Have the development server run a release, and look at it.

    Input: that of `switch` in production without a watch, and networks (that may reach it; none: private).
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"switch {asked['release'][:8]}", progress):
        release = releases.prepared(paths, asked["release"])
        _refuse_the_world(asked["networks"])
        before, begin = releases.active(paths), time.time()
        _run(paths, release, progress)
        try:
            _healthy(paths, release, progress)
        except Failure as failure:
            release.update(failed=releases.stamp())
            releases.record(paths, "switch", release, result="failed")
            log = systemd.journal([layout.service(paths.app, PLACE)], since=begin)
            raise Failure(f"{failure}\nThe development server stays with {release.label}. Its log:\n{log}") from None
        release.update(failed=None)
        if before is None or before.digest != release.digest:
            releases.record(paths, "switch", release, before=before.digest if before else None)
        pruned = prune(paths, asked["keep"])
        if pruned:
            progress.say(f"removed: {', '.join(pruned)}")
        found = _checks(paths, release, asked["networks"], progress)
    return {"release": release.digest, "kept": releases.codes(paths), "checks": found}


def _checks(paths: layout.Layout, release: releases.Release, networks: List[str], progress: Progress) -> Dict[str, str]:
    """Go through the checklist of a development server; see `checklist.checks`."""
    check = release.wishes["health"]
    points: List[checklist.Point] = [
        ("active release", lambda: checklist.pointer(paths, release)),
        ("development server", lambda: checklist.service(paths)),
        ("starts at boot", lambda: checklist.boot(paths)),
        ("health", lambda: _answers(check)),
        ("environment", lambda: checklist.environment(paths)),
        ("reachable by", lambda: _reachable(networks, check["port"])),
    ]
    return checklist.examine(points, progress)


def raise_fence(app: str) -> None:
    """Load the fence of an application and see that it holds: its unit does this before each start.

    Raises:
        Failure: it does not hold; the unit does not start then.
    """
    paths = layout.known(app)
    release = releases.active(paths)
    if release is None:
        raise Failure(f"no release of {app!r} is active")
    fence.raise_(_rules(paths, release), int(release.wishes["health"]["port"]))


def _rules(paths: layout.Layout, release: releases.Release) -> Path:
    return paths.config(release.digest) / RULES


def _refuse_the_world(networks: Sequence[str]) -> None:
    """Refuse to listen on a host that the world reaches, unless the stack says who may.

    The stack's settings know the address that they connect to; the host knows all that it has.
    """
    public = [] if networks else fence.public_addresses()
    if public:
        raise Failure(
            f"flaskhost:app.development.allowed_networks: must be given, since this host has the public address "
            f"{', '.join(public)}: list the networks of your developers, or set flaskhost:app.mode: production"
        )


def _run(paths: layout.Layout, release: releases.Release, progress: Progress) -> None:
    """Have the unit run that release; it is started anew if anything is different, and where it does not run."""
    unit = layout.service(paths.app, PLACE)
    fenced = _rules(paths, release).exists()
    if not fenced:
        fence.remove(paths.app)
    was = (releases.in_slot(paths, PLACE), (paths.units / unit).exists())
    altered = release.facts.get("altered") == PLACE
    changed = slots.links(paths, PLACE, release) or was != (release.digest, True) or altered
    slots.point(paths, PLACE)
    slots.install(paths, release, {unit: "flask.service"})
    if not systemd.is_enabled(unit):
        systemd.systemctl("enable", "--quiet", unit)
    if not changed and systemd.is_active(unit):
        progress.say(f"active: {release.label}, as before")
        return
    if fenced:
        # The unit does the same before each start; here its failure has a reader.
        raise_fence(paths.app)
        progress.say("fence: holds")
    progress.say(f"active: {release.label}, starting Flask's development server")
    systemd.systemctl("reset-failed", unit, check=False)
    # What becomes of it is told by its health, and why by its log.
    systemd.systemctl("restart", unit, check=False)
    if altered:
        release.update(altered=None)


def _healthy(paths: layout.Layout, release: releases.Release, progress: Progress) -> None:
    check = dict(release.wishes["health"])
    check["seconds"] = min(check["seconds"], HEALTH_SECONDS)
    before = slots.restarts(paths, PLACE)
    health.wait(check["port"], check, lambda: slots.died(paths, PLACE, before), progress)


def _answers(check: Dict[str, Any]) -> checklist.Finding:
    status, text = health.ask(check["port"], check, checklist.ASK_SECONDS)
    return status == check["status"], f"http://{check['host']}{check['path']} answers {status}: {text}"


def _reachable(networks: List[str], port: int) -> checklist.Finding:
    if not networks:
        return True, "this host has private addresses only"
    if "everyone" in networks:
        return True, "everyone, as the stack says: whoever reaches it may run code on this host"
    why = fence.leaks(port)
    return why is None, why or f"{', '.join(networks)}; seen that port {port} refuses others"
