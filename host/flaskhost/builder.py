"""The account that runs code of strangers for an application: packages without a wheel, build commands.

Each application has one of its own, and a cache of its own: what one builds, another cannot touch. It may read no
environment and no data.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Dict, Sequence

from flaskhost.layout import Layout
from flaskhost.shell import Failure, run
from flaskhost.systemd import GRACE_SECONDS, transient

# Longer names than useradd(8) takes (32 characters) are cut; two that begin alike share the account, not the cache.
LONGEST_NAME = 32


# What systemd ends a unit with whose shields it could not set up (systemd.exec(5), "Process Exit Codes").
NO_NAMESPACE = 226


def account(app: str) -> str:
    """Return the name of the account; no application is called so, since their names have no underscore."""
    return f"{app[: LONGEST_NAME - 6]}_build"


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
    """Run words as the builder; whatever they leave running is ended with them.

    It reads the dependencies of releases through the application's group; what else that group may read is hidden. It
    writes its working directory, its cache, a /tmp and a /dev/shm of its own, and nothing else.

    Args:
        paths: layout of the application.
        words: program and arguments.
        cwd: working directory.
        seconds: until they are ended.
        environment: variables; nothing secret.
        writable: further folders that it fills.
    """
    places = " ".join(str(path) for path in (cwd, paths.at(home(paths.app)), *writable))
    unit = transient(
        words,
        user=account(paths.app),
        cwd=cwd,
        seconds=seconds,
        environment={"HOME": home(paths.app), **environment},
        properties=[
            f"SupplementaryGroups={paths.app}",
            f"InaccessiblePaths={paths.configs} {paths.shared} -{paths.at(f'/var/log/{paths.app}')}",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            f"ReadWritePaths={places}",
            # Where a host cannot mount, systemd leaves the shields above out in silence; for this one it refuses.
            "TemporaryFileSystem=/dev/shm:mode=1777",
            "PrivateTmp=yes",
            "NoNewPrivileges=yes",
        ],
    )
    done = run(unit, timeout=seconds + GRACE_SECONDS, check=False)
    if done.returncode == NO_NAMESPACE:
        raise Failure(
            "this host cannot shield secrets from what a build runs (systemd: NAMESPACE): a container needs leave to "
            "mount (LXC: nesting=1), and what it said is in `journalctl -t systemd`"
        )
    return done
