"""A container engine for servers of kind `local`, and Debian's packages where root may install them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup.errors import SetupError
from ops.setup.progress import CommandFailed, Step, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

ENGINES = ("podman", "docker")
"""In the order in which ops/local_server asks them: podman's containers know systemd."""

ANSWER_SECONDS = 15
"""A daemon that has not answered by then does not count as there."""

PACKAGES = ("podman", "runc", "mmdebstrap")
"""Debian's names. runc because crun refuses a hybrid cgroup hierarchy; mmdebstrap makes an image without a registry."""


def find() -> str | None:
    """Return the container engine that answers on this machine, `docker` or `podman`, or None."""
    with Step("containers", "asking podman and docker") as step:
        return _answering(step)


def ensure() -> str:
    """Return a container engine that works; as root on Debian or Ubuntu, podman is installed when there is none."""
    with Step("containers", "asking podman and docker") as step:
        engine = _answering(step)
        if engine:
            return engine
        if not can_use_apt():
            raise SetupError(
                "No container engine works here: neither `podman info` nor `docker info` succeeds (a client without "
                "its daemon does not count).\n"
                "  Next: install Docker or podman and start it, or run this as root on Debian or Ubuntu, where set-up "
                "installs podman by itself"
            )
        apt_install(step, PACKAGES)
        engine = _answering(step)
        if engine is None:
            raise SetupError(
                "podman was installed, but `podman info` fails.\n  Next: run `podman info` and mend what it says"
            )
        step.done(f"installed {', '.join(PACKAGES)} by apt")
        return engine


def ensure_debian_tools() -> None:
    """Have mmdebstrap, which makes a Debian image where no image registry can be reached."""
    if shutil.which("mmdebstrap"):
        return
    if not can_use_apt():
        raise SetupError(
            "mmdebstrap is missing, and set-up may not install it here (it does as root on Debian or Ubuntu).\n"
            "  Next: install mmdebstrap, or make an image registry reachable"
        )
    with Step("containers", "installing mmdebstrap by apt") as step:
        apt_install(step, ["mmdebstrap"])
        step.done("installed mmdebstrap by apt")


def _answering(step: Step) -> str | None:
    for engine in ENGINES:
        if shutil.which(engine) is None:
            continue
        try:
            step.run([engine, "info"], seconds=ANSWER_SECONDS)
        except CommandFailed:
            continue
        return engine
    return None


def can_use_apt() -> bool:
    """Tell whether this is root on Debian or Ubuntu."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def apt_install(step: Step, packages: Sequence[str]) -> None:
    """Install Debian packages, after a fresh look at what the archive has."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Another apt may be at work (unattended upgrades on a new machine): wait for it.
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    try:
        step.doing("reading Debian's package lists")
        step.run([*apt, "update"], environment=environment, seconds=300)
        step.doing(f"installing {', '.join(packages)} by apt")
        step.run([*apt, "install", *packages], environment=environment, seconds=900)
    except CommandFailed as error:
        raise stop(
            f"apt could not install {', '.join(packages)}",
            error,
            f"run `apt-get update && apt-get install {' '.join(packages)}` and mend what it says",
        ) from error
