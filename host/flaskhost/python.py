"""Which Python an application gets: the exact one that is asked for, from where the host can have it."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path
from typing import Dict, NamedTuple, Optional, Tuple

from flaskhost import locks, packages
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

SYSTEM = "/usr/bin/python3"
PLACES = "/usr/local/bin:/usr/bin"
# Where uv keeps those that it downloads: root's, so that no builder can change what applications run.
DOWNLOADED = "/usr/local/lib/flaskhost/python"
DOWNLOAD_SECONDS = 1800
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
WRITTEN = re.compile(r"(?:c?python[-@]?)?(3\.[0-9]{1,2}(?:\.[0-9]{1,2})?)")


class Python(NamedTuple):
    """An interpreter on the host and its exact version."""

    program: str
    version: str


def wanted(stack: Optional[str], source: Path) -> Optional[str]:
    """Return the version that the stack names, else the one of `.python-version`, or None for the system's.

    Raises:
        Failure: the file says something else than a version of CPython 3.
    """
    path = source / ".python-version"
    if stack or not path.is_file():
        return stack
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    said = next((line for line in lines if line and not line.startswith("#")), "nothing")
    found = WRITTEN.fullmatch(said)
    if not found:
        raise Failure(
            f".python-version: must be 3.N or 3.N.P (got {said[:80]!r}): correct it, or name the version in "
            "flaskhost:app.python, which comes before it"
        )
    return found.group(1)


def ensure(paths: Layout, version: Optional[str], uv: str, mirror: Optional[str], progress: Progress) -> Python:
    """Have that Python on the host.

    Args:
        paths: layout of the application.
        version: 3.N or 3.N.P, or None for the system's.
        uv: the uv program.
        mirror: where uv downloads from instead of its usual place (see `download_environment`).
        progress: told what is done.

    Raises:
        Failure: it cannot be had; the message holds what uv said.
    """
    found = _there(version, uv)
    if found:
        return found
    assert version is not None  # noqa: S101 - the system's is always there
    with locks.host(paths, f"Python {version} for {paths.app}", progress):
        found = _there(version, uv)
        if not found and version.count(".") == 1:
            packages.install_python(paths.at("/etc"), version, progress)
            found = _there(version, uv)
        if not found:
            progress.say(f"python: this host has no {version}, uv downloads it")
            _download(version, uv, mirror)
            found = _there(version, uv)
    if not found:
        raise Failure(f"Python {version} was installed and is not found: see `{uv} python list` on the host")
    return found


def system() -> Python:
    """Return the system's, which this command runs on."""
    return Python(SYSTEM, platform.python_version())


def numbers(version: str) -> Tuple[int, ...]:
    """Return major and minor of a version, to compare."""
    return tuple(int(part) for part in version.split(".")[:2])


def environment() -> Dict[str, str]:
    """Return the variables with which uv looks for Pythons and downloads none."""
    return {
        "SSL_CERT_FILE": BUNDLE,
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_INSTALL_DIR": DOWNLOADED,
    }


def download_environment(mirror: Optional[str]) -> Dict[str, str]:
    """Return the variables with which uv downloads: a mirror is a folder of archives, or a list of them (`….json`)."""
    variables = {**environment(), "UV_PYTHON_DOWNLOADS": "automatic", "UV_CACHE_DIR": f"{DOWNLOADED}/cache"}
    if mirror:
        kind = "UV_PYTHON_DOWNLOADS_JSON_URL" if mirror.endswith(".json") else "UV_PYTHON_INSTALL_MIRROR"
        variables[kind] = mirror
    return variables


def matches(version: str, wish: Optional[str]) -> bool:
    """Tell whether an exact version is what is asked for: 3.11 means any 3.11.P, and 3.11.2 itself only."""
    return wish is None or version == wish or version.startswith(f"{wish}.")


def _there(wish: Optional[str], uv: str) -> Optional[Python]:
    """Return what the host has already: the system's first, then another of the distribution, then uv's."""
    if wish is None or matches(system().version, wish):
        return system()
    program = shutil.which("python" + ".".join(wish.split(".")[:2]), path=PLACES)
    if program is None or not matches(_version(program), wish):
        # Not --quiet: then it does not say the path either. What it has to remark comes before that.
        words = [uv, "python", "find", "--no-project", "--managed-python", wish]
        found = run(words, env=environment(), check=False)
        program = found.stdout.strip().split("\n")[-1] if found.returncode == 0 else None
    return Python(program, _version(program)) if program else None


def _version(program: str) -> str:
    return run([program, "-ISc", "import platform; print(platform.python_version())"]).stdout.strip()


def _download(version: str, uv: str, mirror: Optional[str]) -> None:
    words = [uv, "python", "install", "--no-bin", version]
    done = run(words, env=download_environment(mirror), timeout=DOWNLOAD_SECONDS, check=False)
    if done.returncode:
        place = mirror or "uv's download site"
        raise Failure(
            f"Python {version} (flaskhost:app.python, or .python-version) is not on this host, and {place} did not "
            "have it: name a version that the distribution has, let the host reach that site, or name a mirror in "
            f"flaskhost:app.python_mirror\n{done.stdout}".rstrip()
        )
