"""The account that runs code of strangers for an application: packages without a wheel, build commands.

Each application has one of its own, and a cache of its own: what one builds, another cannot touch. It may read no
environment and no data.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Dict, Sequence

from flaskhost import caller
from flaskhost.layout import Layout
from flaskhost.shell import run
from flaskhost.systemd import GRACE_SECONDS, transient

# useradd(8) takes no longer one.
LONGEST_NAME = 32
SUFFIX = "_build"


def account(app: str) -> str:
    """Return the name of the account and of its group; no application is called so: their names have no underscore."""
    room = LONGEST_NAME - len(SUFFIX)
    short = app if len(app) <= room else f"{app[: room - 9]}-{hashlib.sha256(app.encode()).hexdigest()[:8]}"
    return f"{short}{SUFFIX}"


def home(app: str) -> str:
    """Return the folder that it owns, with its cache."""
    return f"/var/cache/flaskhost/{app}"


def run_as(  # noqa: PLR0913 - what a program is run with
    paths: Layout,
    words: Sequence[str],
    *,
    cwd: Path,
    seconds: int,
    environment: Dict[str, str],
    writable: Sequence[Path] = (),
) -> subprocess.CompletedProcess[str]:
    """Run words as the builder; whatever they leave running is ended with them, and they with the step that asks.

    It is in no group of the application's: the dependencies of releases belong to its own group, in which the
    application is. So owners and modes alone keep environment and data from it. Where the host can mount, the rest of
    the file system is closed to its pen as well: it writes its working directory, its cache and a /tmp of its own.

    Args:
        paths: layout of the application.
        words: program and arguments.
        cwd: working directory.
        seconds: until they are ended.
        environment: variables; nothing secret.
        writable: further folders that it fills.
    """
    places = " ".join(str(path) for path in (cwd, paths.at(home(paths.app)), *writable))
    step = caller.unit()
    unit = transient(
        words,
        user=account(paths.app),
        cwd=cwd,
        seconds=seconds,
        environment={"HOME": home(paths.app), **environment},
        properties=[
            f"InaccessiblePaths={paths.configs} {paths.shared} -{paths.at(f'/var/log/{paths.app}')}",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            f"ReadWritePaths={places}",
            "PrivateTmp=yes",
            "NoNewPrivileges=yes",
            # What a killed step has left at work would write into what the next one makes anew.
            *([f"BindsTo={step}"] if step else []),
        ],
    )
    return run(unit, timeout=seconds + GRACE_SECONDS, check=False)
