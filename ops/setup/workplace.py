"""What set-up found, written down in `.venv`, and the variables that programs run with because of it.

This is the way that every `./pulumi` goes, so it reads one small file and starts nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ops.setup import cache

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORD = cache.VENV / "flaskhost.json"

RETRY_SECONDS = 86400
"""How long a stand-in is used before set-up asks the vendor again."""


def standing_in(home: str) -> dict[str, str]:
    """Return the variables by which the engine finds stand-ins, and no plugin elsewhere, and the program knows."""
    return {"PULUMI_HOME": home, "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true", "FLASKHOST_STAND_IN": "1"}


class Workplace(NamedTuple):
    """What programs of the project need to know about this machine."""

    made_from: str
    """Digest of all that decides what set-up makes."""
    engine: str
    """The folder of the Pulumi CLI and its language host."""
    plugin: str
    """The file of the command plugin."""
    home: str
    """The PULUMI_HOME of the stand-in; empty where the official plugin is used."""
    checked: float
    """When set-up looked, in seconds since 1970."""
    ways: tuple[str, ...]
    """For a person: which ways were taken."""
    containers: str = ""
    """The container engine that answered; empty while none was needed."""

    def is_current(self) -> bool:
        """Tell whether nothing that matters has changed since set-up wrote this down."""
        return (
            self.made_from == digest()
            and all(os.access(path, os.X_OK) for path in (self.plugin, f"{self.engine}/pulumi", cache.PYTHON))
            and (not self.home or 0 <= time.time() - self.checked < RETRY_SECONDS)
        )

    def variables(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the environment of a program: the project's Python and Pulumi first on PATH."""
        changed = dict(environment)
        first = [str(cache.VENV / "bin"), self.engine]
        rest = [entry for entry in environment.get("PATH", os.defpath).split(os.pathsep) if entry not in first]
        changed.update(
            PATH=os.pathsep.join([*first, *rest]),
            VIRTUAL_ENV=str(cache.VENV),
            # A language host of an old kind reads no `virtualenv` from Pulumi.yaml; every kind reads this.
            PULUMI_PYTHON_CMD=str(cache.PYTHON),
            PULUMI_SKIP_UPDATE_CHECK="1",
            # The engine has pip list the packages at each run: it need not look for a newer pip.
            PIP_DISABLE_PIP_VERSION_CHECK="1",
            FLASKHOST_TREE=str(cache.TREE),
        )
        changed.pop("PYTHONHOME", None)
        # Many images set it, and then each run would compile the program's own modules anew.
        changed.pop("PYTHONDONTWRITEBYTECODE", None)
        # pulumi-command fails on an agent that is gone even where a key is given.
        changed.pop("SSH_AUTH_SOCK", None)
        changed.pop("FLASKHOST_STAND_IN", None)
        return {**changed, **(standing_in(self.home) if self.home else {})}

    def save(self) -> None:
        """Write it down, whole or not at all."""
        unfinished = RECORD.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self._asdict(), indent=1) + "\n")
        unfinished.rename(RECORD)


def load() -> Workplace | None:
    """Return what an earlier set-up wrote down, None when there is nothing or nothing of use."""
    try:
        kept = json.loads(RECORD.read_text())
        return Workplace(**{**kept, "ways": tuple(kept["ways"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def digest() -> str:
    """Return the digest of all that decides what set-up makes: its own files, the lock file, Python, the cache."""
    found = hashlib.sha256(f"{platform.python_version()} {cache.machine()} {cache.folder()}".encode())
    here = Path(__file__).parent
    for path in (cache.REQUIREMENTS, *(here / name for name in ("uv.txt", "go.txt", "engine.py", "plugins.py"))):
        found.update(path.read_bytes())
    for path in sorted(here.glob("go/*/go.*")):
        found.update(path.read_bytes())
    return found.hexdigest()
