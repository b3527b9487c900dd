"""The Python environment `.venv`: every package pinned with its hash in requirements.txt, installed by uv."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ops.setup import cache, containers
from ops.setup.progress import CommandFailed, Step, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

OLDEST_UV = (0, 8)
"""The first uv that knows every option used here (`uv venv --clear`)."""

PINNED = Path(__file__).with_name("uv.txt")
"""The uv that set-up installs where there is none, with its hashes."""

POETRY = cache.TREE / "host" / "flaskhost" / "poetry.txt"
"""The packages of the Poetry that a server gets (host/flaskhost/poetry.py)."""

AUTHORITIES = (Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/pki/tls/certs/ca-bundle.crt"))
"""Where Debian and Fedora keep the system's certificate authorities."""


def ensure() -> None:
    """Make `.venv` as requirements.txt says; nothing to do when its stamp says that it is so already."""
    stamp = cache.VENV / "requirements.digest"
    wanted = digest()
    if cache.PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    with Step("python", "looking for uv") as step:
        uv = find_uv(step)
        environment = uv_environment()
        interpreter = base_python()
        try:
            if not _is_whole(interpreter):
                step.doing("making .venv")
                step.run([uv, "venv", "--clear", "--python", interpreter, str(cache.VENV)], environment=environment)
            step.doing("installing the packages of requirements.txt")
            words = [uv, "pip", "sync", "--require-hashes", "--python", str(cache.PYTHON), str(cache.REQUIREMENTS)]
            # Each `pulumi up` imports half of them: compiled here, also where PYTHONDONTWRITEBYTECODE is set.
            step.run([*words, "--compile-bytecode"], environment=environment)
        except CommandFailed as error:
            raise stop(
                "The Python environment could not be made",
                error,
                "check that the package index can be reached (behind a proxy: HTTPS_PROXY, SSL_CERT_FILE), "
                "then run the same command again",
            ) from error
        stamp.write_text(wanted)
        count = len(re.findall(r"^[a-z0-9].*==", cache.REQUIREMENTS.read_text(), flags=re.MULTILINE | re.IGNORECASE))
        step.done(f"Python {platform.python_version()} with {count} pinned packages is in .venv")


def digest() -> str:
    """Return what `.venv` is made from: the lock file and the version of Python."""
    text = cache.REQUIREMENTS.read_bytes() + platform.python_version().encode()
    return hashlib.sha256(text).hexdigest()


def base_python() -> str:
    """Return the Python to make environments with: never the one of `.venv` itself, which may be about to go."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _is_whole(interpreter: str) -> bool:
    """Tell whether `.venv` can be kept and only its packages need a look."""
    made = (cache.VENV / "pyvenv.cfg").exists() and cache.PYTHON.exists()
    return made and cache.PYTHON.resolve() == Path(interpreter).resolve()


def find_uv(step: Step) -> str:
    """Return the path of a uv: the one on PATH when it is new enough, else one in the cache."""
    for candidate in (shutil.which("uv"), str(cache.folder() / "uv" / "bin" / "uv")):
        if candidate and _version(step, candidate) >= OLDEST_UV:
            return candidate
    return str(install(PINNED, "uv", step) / "bin" / "uv")


def _version(step: Step, uv: str) -> tuple[int, ...]:
    try:
        found = re.match(r"uv (\d+)\.(\d+)", step.run([uv, "--version"], seconds=10))
    except CommandFailed:
        return ()
    return tuple(int(part) for part in found.groups()) if found else ()


def install(requirements: Path, name: str, step: Step) -> Path:
    """Install what a pinned requirements file names into an environment of its own in the cache; return its folder."""
    folder = cache.folder() / name
    step.doing(f"installing {name} into the cache")
    _make_environment(folder, step)
    words = [str(folder / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "-r", str(requirements)]
    try:
        _with_authorities(words, step)
    except CommandFailed as error:
        raise stop(
            f"pip could not install {name}",
            error,
            f"check that the package index can be reached (proxy: HTTPS_PROXY, PIP_CERT), or put {name} on PATH",
        ) from error
    return folder


def _make_environment(folder: Path, step: Step) -> None:
    words = [base_python(), "-m", "venv", "--clear", str(folder)]
    try:
        step.run(words)
    except CommandFailed as error:
        # Debian and Ubuntu keep venv's bundled pip in a package of its own.
        if not containers.can_use_apt():
            raise stop(
                "Python's module venv does not work", error, "install python3-venv (Debian, Ubuntu), or uv, as root"
            ) from error
        containers.apt_install(step, ["python3-venv"])
        try:
            step.run(words)
        except CommandFailed as again:
            raise stop("Python's module venv does not work", again, "put uv on PATH") from again


def _with_authorities(words: Sequence[str], step: Step) -> None:
    """Run pip; should it fail, once more with the system's certificate authorities.

    An old pip trusts its own list only and knows nothing of a company's authority that the system trusts.
    """
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1")
    bundle = next((path for path in AUTHORITIES if path.exists()), None)
    try:
        step.run(words, environment=environment)
    except CommandFailed:
        if bundle is None or "PIP_CERT" in environment:
            raise
        step.run(words, environment={**environment, "PIP_CERT": str(bundle)})


def uv_environment() -> dict[str, str]:
    """Return the variables uv runs with: packages kept in the cache, certificates of the system trusted."""
    environment = dict(os.environ)
    environment.update(
        UV_CACHE_DIR=str(cache.folder() / "uv-cache"),
        UV_PYTHON_DOWNLOADS="never",
        UV_SYSTEM_CERTS="true",
        UV_NATIVE_TLS="true",  # what uv before 0.11 calls the same
    )
    for name in ("VIRTUAL_ENV", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT"):
        environment.pop(name, None)
    return environment


def compile_lock() -> None:
    """Write requirements.txt, and the packages of the host's Poetry, anew from pyproject.toml (`make lock`)."""
    with Step("lock", "resolving the packages of pyproject.toml") as step:
        words = [find_uv(step), "pip", "compile", "--universal", "--generate-hashes"]
        here = ["--python-version", "3.10", "pyproject.toml", "--group", "dev"]
        # The oldest Python that this Poetry runs on; its hashes are all that a server looks at.
        there = ["--python-version", "3.9", "--group", "poetry", "--no-header", "--no-annotate"]
        environment = {
            **uv_environment(),
            # What the file's first lines say that it was made with.
            "UV_CUSTOM_COMPILE_COMMAND": "make lock",
        }
        try:
            for more, file in ((here, cache.REQUIREMENTS), (there, POETRY)):
                written = ["--output-file", str(file.relative_to(cache.TREE))]
                step.run([*words, *more, *written], folder=cache.TREE, environment=environment)
        except CommandFailed as error:
            raise stop("The packages could not be resolved", error, "look at pyproject.toml") from error
        step.done(f"wrote {cache.REQUIREMENTS.name} and {POETRY.name}")
