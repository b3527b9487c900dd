"""Packages of the distribution: which names they have, and one transaction to install them.

All that differs between the supported distributions stands in this module.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from flaskhost import space
from flaskhost.files import remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

SUPPORTED: Dict[str, Tuple[str, ...]] = {"debian": ("11", "12", "13"), "ubuntu": ("20.04", "22.04", "24.04")}

# reference/deployment-sop.txt, section 3 "System Packages Required", and what the verbs themselves call.
REQUIRED = ("python3", "python3-venv", "nginx", "git", "openssl", "ca-certificates", "iproute2")
# For packages of the application that come without a wheel, and for people who look into an environment.
COMPILER = ("build-essential", "python3-dev", "python3-pip", "libpq-dev")
# The document's libmysqlclient-dev is called differently on Debian, where MariaDB provides it.
MYSQL = {"debian": "default-libmysqlclient-dev", "ubuntu": "libmysqlclient-dev"}

# python3-venv brings the pip that it puts into environments; Python runs it as it lies there (PEP 441).
PIP = ("python3-venv",)
PIP_WHEELS = "usr/share/python-wheels"

# For what a stack can ask for; net-tools has the netstat of reference/deployment-sop.txt, section 5, step 15.
LOG_FILES = ("logrotate",)
TCP_PORT = ("net-tools",)

# Ubuntu's usual archive of other Pythons (reference/deployment-sop.txt, section 3), and the one key that it signs with:
# https://launchpad.net/~deadsnakes/+archive/ubuntu/ppa, "Fingerprint".
DEADSNAKES = "https://ppa.launchpadcontent.net/deadsnakes/ppa/ubuntu"
DEADSNAKES_KEY = "F23C5A6CF475977595C89F51BA6932366A755776"
KEY_SERVER = "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x"
KEY_SECONDS = 30

# Another apt may be at work (unattended-upgrades runs after boot): wait for its lock instead of failing.
LOCK_SECONDS = 300
POLL_SECONDS = 0.2
# Of dpkg, of the lists of packages and of what was downloaded (apt.conf(5), Dir::State and Dir::Cache).
LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock")
# At the first boot of a machine of a cloud, cloud-init writes the sources of packages when SSH is open already. Its
# files below /run say that it has begun and that it has ended (cloud-init documentation, "Debugging cloud-init").
FIRST_BOOT_SECONDS = 300
BEGUN, ENDED = "run/cloud-init/status.json", "run/cloud-init/result.json"
INSTALL_SECONDS = 1800
# What one takes with those that it needs, as the usual ones do on average: 11 of them come to some 220 MB.
PACKAGE_BYTES = 20 * space.MEGABYTE
PACKAGE_INODES = 1000


def distribution(release_file: Path) -> Tuple[str, str]:
    """Return id and version of the distribution, such as `("debian", "12")` (os-release(5)).

    Raises:
        Failure: it is not a supported one.
    """
    facts = _facts(release_file)
    name, version = facts.get("ID", "unknown"), facts.get("VERSION_ID", "unknown")
    if version not in SUPPORTED.get(name, ()):
        known = "; ".join(f"{one} {', '.join(versions)}" for one, versions in SUPPORTED.items())
        raise Failure(f"{name} {version} is not supported: use a host with one of {known}")
    return name, version


def _facts(release_file: Path) -> Dict[str, str]:
    """Return what os-release(5) says, by name."""
    pairs = (line.partition("=") for line in release_file.read_text().splitlines())
    return {name: value.strip('"') for name, _, value in pairs}


def pip(root: Path) -> List[str]:
    """Return the words that run pip, which needs no package of its own.

    Raises:
        Failure: it is not where the distribution puts it.
    """
    found = sorted((root / PIP_WHEELS).glob("pip-*.whl"))
    if not found:
        raise Failure(f"{root / PIP_WHEELS} has no pip: reinstall python3-venv with `apt-get install --reinstall`")
    return [sys.executable, f"{found[-1]}/pip"]


def wanted(name: str, extra: Sequence[str], *, compiler: bool) -> List[str]:
    """Return the packages that the distribution `name` shall have, with those that the stack asks for."""
    return list(dict.fromkeys([*REQUIRED, *((*COMPILER, MYSQL[name]) if compiler else ()), *extra]))


def install(packages: Sequence[str], progress: Progress, *, listed: bool = False) -> List[str]:
    """Install those that are missing, in one transaction; return their names.

    Args:
        packages: their names.
        progress: told what is installed, and who is in the way.
        listed: whether apt has just been told what there is to install.

    Raises:
        Failure: apt could not; the message holds what it said.
    """
    missing = lacking(packages)
    if not missing:
        return []
    root = Path(os.environ.get("FLASKHOST_ROOT", "/"))
    need = space.Need(len(missing) * PACKAGE_BYTES, len(missing) * PACKAGE_INODES)
    space.demand(
        [root / "usr", root / "var/cache/apt"], need, "packages of the distribution", [root / "var/log/journal"]
    )
    progress.say(f"apt: installing {len(missing)} package{'s' if len(missing) > 1 else ''}: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    settings = (f"DPkg::Lock::Timeout={LOCK_SECONDS}", "Dpkg::Use-Pty=0", "Dpkg::Options::=--force-confold")
    options = ["-q", "-y", *(f"-o={setting}" for setting in settings)]
    _wait_for_first_boot(root, progress)
    _wait_for_others(progress)
    # What a killed transaction has left; while another one runs it refuses, and apt waits for that below.
    run(["dpkg", "--configure", "-a", "--force-confold"], timeout=INSTALL_SECONDS, env=quiet, check=False)
    if not listed:
        run(["apt-get", *options, "update"], timeout=INSTALL_SECONDS, env=quiet)
    run(["apt-get", *options, "--no-install-recommends", "install", *missing], timeout=INSTALL_SECONDS, env=quiet)
    return missing


def _wait_for_first_boot(root: Path, progress: Progress) -> None:
    """Wait until cloud-init has done what it does after a boot; whatever came of it, apt is asked then."""
    until = time.monotonic() + FIRST_BOOT_SECONDS
    if (root / BEGUN).exists() and not (root / ENDED).exists():
        progress.say(f"apt: cloud-init is setting up this machine: waiting up to {FIRST_BOOT_SECONDS} s")
        while not (root / ENDED).exists() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


def _wait_for_others(progress: Progress) -> None:
    """Wait until no other program installs packages, and say who does: apt itself would wait without a word.

    Raises:
        Failure: it was at it all the while.
    """
    root = Path(os.environ.get("FLASKHOST_ROOT", "/"))
    until: Optional[float] = None
    for lock in (root / name for name in LOCKS):
        while lock.exists():
            holder = _holder(lock)
            if holder is None:
                break
            if until is None:
                seconds = _patience()
                until = time.monotonic() + seconds
                progress.say(f"apt: {holder} is installing packages: waiting up to {seconds} s")
            if time.monotonic() > until:
                raise Failure(
                    f"{holder} holds {lock}, so no package can be installed: wait until it has ended, or end it "
                    "(unattended upgrades: `systemctl stop unattended-upgrades`), and run `pulumi up` again"
                )
            time.sleep(POLL_SECONDS)


def _holder(lock: Path) -> Optional[str]:
    """Return which process holds a lock of apt's (fcntl(2), F_SETLK), or None."""
    with open(lock, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            return None
    inode = f":{lock.stat().st_ino} "
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines() if inode in line]
    pids = [words[4] for words in held if len(words) > 4 and words[1] == "POSIX"]
    name = Path(f"/proc/{pids[0]}/comm") if pids else Path("/nonexistent")
    return f"{name.read_text().strip()} (pid {pids[0]})" if name.exists() else "another program"


def _patience() -> int:
    """Return how many seconds to wait for another apt: what the host's own apt is set to, else LOCK_SECONDS."""
    said = run(["apt-config", "dump", "DPkg::Lock::Timeout"], check=False).stdout
    found = re.search(r'"([0-9]{1,6})"', said)
    return int(found.group(1)) if found else LOCK_SECONDS


def lacking(names: Sequence[str]) -> List[str]:
    """Return those of these packages that are not installed."""
    there = _installed(names) if names else []
    return [name for name in names if name not in there]


def _installed(packages: Sequence[str]) -> List[str]:
    words = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *packages]
    lines = run(words, check=False).stdout.splitlines()
    return [line.split(" ")[0] for line in lines if line.endswith(" installed")]


def install_python(etc: Path, version: str, progress: Progress) -> bool:
    """Have Python 3.N of deadsnakes where that archive serves the distribution; tell whether it is there.

    Args:
        etc: the folder /etc.
        version: 3.N; the archive has the newest 3.N.P only.
        progress: told what is done, and why it could not be done: there is another way to have a Python.
    """
    facts = _facts(etc / "os-release")
    if facts.get("ID") != "ubuntu":
        return False
    names = [f"python{version}", f"python{version}-venv", f"python{version}-dev"]
    sources = etc / "apt/sources.list.d/flaskhost-deadsnakes.sources"
    try:
        install(["gpg"], progress)
        _add_deadsnakes(etc, sources, facts["VERSION_CODENAME"])
        install(names, progress)
    except Failure as failure:
        progress.say(f"apt: no Python {version} from deadsnakes: {failure}")
        # Another apt would stumble over an archive that does not serve this distribution; what a host has of it needs
        # it, for updates.
        remove(None if _has_deadsnakes(facts["VERSION_CODENAME"]) else sources)
        return False
    return True


def _has_deadsnakes(codename: str) -> bool:
    """Tell whether any Python of that archive is installed: its versions end with the distribution's name."""
    words = ["dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}\n", "python3.*"]
    lines = run(words, check=False).stdout.splitlines()
    return any(line.endswith(" installed") and f"+{codename}" in line for line in lines)


def _add_deadsnakes(etc: Path, sources: Path, codename: str) -> None:
    """Have the archive among apt's sources, with the key that is known and no other."""
    keyring = etc / "apt/keyrings/flaskhost-deadsnakes.asc"
    keyring.parent.mkdir(exist_ok=True)
    if _fingerprints(keyring) != [DEADSNAKES_KEY]:
        try:
            # S310: the scheme is https, above.
            with urllib.request.urlopen(f"{KEY_SERVER}{DEADSNAKES_KEY}", timeout=KEY_SECONDS) as answer:  # noqa: S310
                write(keyring, answer.read().decode("ascii"))
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise Failure(f"the key of deadsnakes could not be had from {KEY_SERVER}: {error}") from None
    found = _fingerprints(keyring)
    if found != [DEADSNAKES_KEY]:
        remove(keyring)
        raise Failure(f"the key server handed out {found or 'no key'}, and deadsnakes signs with {DEADSNAKES_KEY} only")
    text = f"Types: deb\nURIs: {DEADSNAKES}\nSuites: {codename}\nComponents: main\nSigned-By: {keyring}\n"
    write(sources, text)


def _fingerprints(keyring: Path) -> Optional[List[str]]:
    """Return the fingerprints of the primary keys in a file, or None where there is none."""
    if not keyring.is_file():
        return None
    lines = run(["gpg", "--batch", "--show-keys", "--with-colons", str(keyring)], check=False).stdout.splitlines()
    kinds = [line.split(":") for line in lines if line.startswith(("pub:", "sub:", "fpr:"))]
    # The line after that of a key has its fingerprint (gnupg: doc/DETAILS).
    return [kinds[at + 1][9] for at, kind in enumerate(kinds[:-1]) if kind[0] == "pub" and kinds[at + 1][0] == "fpr"]
