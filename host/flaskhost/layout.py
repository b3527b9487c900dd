"""Where everything of an application is on the host (docs/layout.md; reference: folder-structure.txt)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

from flaskhost.shell import Failure

SLOTS = ("blue", "green")
# In development mode there is nothing to choose between: one place, one unit.
DEVELOPMENT = "development"
# Where a server on AWS has the disk of uploads and dumps: it outlives the machine.
VOLUME = "/data"
# What flaskhost makes below the application's folder. Where a folder is not named, all in it is flaskhost's.
MADE = {
    "": r"active|app|venv|config|releases|venvs|static|slots|run|shared|repo\.git|backups|releases\.log|incidents"
    r"|maintenance\.html|\.profile",
    "config": r"[0-9a-f]{64}",
    "static": r"[0-9a-f]{64}|earlier",
    "releases": r"\d{4}-\d\d-\d\d-\d{6}-.+-[0-9a-f]{8}|\.sync-.+",
    "backups": r"\d{4}-\d\d-\d\d-\d{6}-.+|\..+",
    "shared": r"\.env|\.env\.dev|\.revisions|static|media|data|logs",
}


class Layout:
    """The paths of one application. `FLASKHOST_ROOT` moves all of them below a scratch folder (tests)."""

    def __init__(self, app: str, base: str) -> None:
        """Take the name of the application and the folder above it, such as `/srv`."""
        self.facts: Dict[str, Any] = {}
        self.root = Path(os.environ.get("FLASKHOST_ROOT", "/"))
        self.app = app
        self.home = self.at(f"{base}/{app}")
        self.active = self.home / "active"
        self.releases = self.home / "releases"
        self.configs = self.home / "config"
        self.venvs = self.home / "venvs"
        self.statics = self.home / "static"
        self.slots = self.home / "slots"
        self.run = self.home / "run"
        self.shared = self.home / "shared"
        self.backups = self.home / "backups"
        self.log = self.home / "releases.log"
        self.incidents = self.home / "incidents"
        self.units = self.at("/etc/systemd/system")
        self.etc = self.at(f"/etc/flaskhost/{app}")
        self.environments = self.etc / "environments"
        self.connections = self.etc / "connections.env"
        self.state = self.at(f"/run/flaskhost/{app}")

    @property
    def places(self) -> Tuple[str, ...]:
        """Where releases can run: two slots, or in development mode the one place."""
        return (DEVELOPMENT,) if self.facts.get("mode") == DEVELOPMENT else SLOTS

    @property
    def user(self) -> str:
        """The account that the application runs as; it has the application's group in any case."""
        return str(self.facts.get("user") or self.app)

    def at(self, path: str) -> Path:
        """Return an absolute path of the host below the root that is in use."""
        return self.root / path.lstrip("/")

    def slot(self, colour: str) -> Path:
        """Return the folder of links of that slot."""
        return self.slots / colour

    def socket(self, colour: str) -> Path:
        """Return the socket of that slot."""
        return self.run / f"gunicorn-{colour}.sock"

    def config(self, release: str) -> Path:
        """Return the folder of a release's environment, Gunicorn configuration and units."""
        return self.configs / release

    def active_slot(self) -> Optional[str]:
        """Return the colour that visitors reach, or None before the first switch."""
        try:
            colour = os.path.basename(os.readlink(self.active))
        except FileNotFoundError:
            return None
        return colour if colour in (*SLOTS, DEVELOPMENT) else None

    def strangers(self) -> Iterator[Path]:
        """Yield what lies in the application's folder and was not made by flaskhost."""
        for folder, names in MADE.items():
            at = self.home / folder
            # `files.write` and `files.link` begin under a name of their own.
            ours = re.compile(rf"{names}|\.({names})\.new")
            there = sorted(at.iterdir()) if at.is_dir() else []
            yield from (path for path in there if not ours.fullmatch(path.name))


def service(app: str, colour: str) -> str:
    """Return the name of a slot's service unit."""
    return f"{app}.service" if colour == DEVELOPMENT else f"{app}-gunicorn@{colour}.service"


def socket(app: str, colour: str) -> str:
    """Return the name of a slot's socket unit."""
    return f"{app}-gunicorn@{colour}.socket"


def other(colour: Optional[str]) -> str:
    """Return the other slot; `blue` before the first switch."""
    return "green" if colour == "blue" else "blue"


def remember(app: str, facts: Dict[str, Any]) -> str:
    """Return the text of the file by which later verbs know this application."""
    return json.dumps({"app": app, **facts}, indent=2, sort_keys=True) + "\n"


def known(app: str) -> Layout:
    """Return the layout of an application that `base` has set up; its `facts` are what `base` wrote down.

    Raises:
        Failure: there is no such application on this host.
    """
    path = Layout(app, "/srv").etc / "app.json"
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError:
        # Pulumi knows what it has done, and not that a person has removed it.
        raise Failure(
            f"there is no application {app!r} on this host ({path} is missing): deploy it with `pulumi up`. If it was "
            "removed by hand, or the host was set up anew, have Pulumi forget its steps first: "
            "`pulumi destroy --target '**:remote:**'`"
        ) from None
    paths = Layout(app, facts["root"])
    paths.facts = facts
    return paths
