"""Packages of the distribution: which names they have, and one transaction to install them.

All that differs between the supported distributions stands in this module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

SUPPORTED: Dict[str, Tuple[str, ...]] = {"debian": ("11", "12", "13"), "ubuntu": ("20.04", "22.04", "24.04")}

# reference/deployment-sop.txt, section 3 "System Packages Required", and what the verbs themselves call.
REQUIRED = ("python3", "python3-pip", "python3-venv", "nginx", "git", "openssl", "ca-certificates", "iproute2")
# For packages of the application that come without a wheel.
COMPILER = ("build-essential", "python3-dev", "libpq-dev")
# The document's libmysqlclient-dev is called differently on Debian, where MariaDB provides it.
MYSQL = {"debian": "default-libmysqlclient-dev", "ubuntu": "libmysqlclient-dev"}

# Another apt may be at work (unattended-upgrades runs after boot): wait for its lock instead of failing.
LOCK_SECONDS = 300
INSTALL_SECONDS = 1800


def distribution(release_file: Path) -> Tuple[str, str]:
    """Return id and version of the distribution, such as `("debian", "12")` (os-release(5)).

    Raises:
        Failure: it is not a supported one.
    """
    facts = {}
    for line in release_file.read_text().splitlines():
        name, _, value = line.partition("=")
        facts[name] = value.strip('"')
    name, version = facts.get("ID", "unknown"), facts.get("VERSION_ID", "unknown")
    if version not in SUPPORTED.get(name, ()):
        known = "; ".join(f"{one} {', '.join(versions)}" for one, versions in SUPPORTED.items())
        raise Failure(f"{name} {version} is not supported: use a host with one of {known}")
    return name, version


def wanted(name: str, extra: Sequence[str], *, compiler: bool) -> List[str]:
    """Return the packages that the distribution `name` shall have, with those that the stack asks for."""
    return list(dict.fromkeys([*REQUIRED, *((*COMPILER, MYSQL[name]) if compiler else ()), *extra]))


def install(packages: Sequence[str], progress: Progress) -> List[str]:
    """Install those that are missing, in one transaction; return their names.

    Raises:
        Failure: apt could not; the message holds what it said.
    """
    there = _installed(packages)
    missing = [package for package in packages if package not in there]
    if not missing:
        return []
    progress.say(f"apt: installing {len(missing)} packages: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    settings = (f"DPkg::Lock::Timeout={LOCK_SECONDS}", "Dpkg::Use-Pty=0", "Dpkg::Options::=--force-confold")
    options = ["-q", "-y", *(f"-o={setting}" for setting in settings)]
    # What a killed transaction has left; while another one runs it refuses, and apt waits for that below.
    run(["dpkg", "--configure", "-a", "--force-confold"], timeout=INSTALL_SECONDS, env=quiet, check=False)
    run(["apt-get", *options, "update"], timeout=INSTALL_SECONDS, env=quiet)
    run(["apt-get", *options, "--no-install-recommends", "install", *missing], timeout=INSTALL_SECONDS, env=quiet)
    return missing


def _installed(packages: Sequence[str]) -> List[str]:
    words = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    lines = run(words, check=False).stdout.splitlines()
    return [line.split(" ")[0] for line in lines if line.endswith(" installed")]
