"""The virtual environment of a release, shared by all releases with the same dependencies and Python."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Dict, List, Optional

from flaskhost import builder
from flaskhost.files import directory, own_tree, remove, settle, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

REQUIREMENTS = "requirements.txt"
BUILD_SECONDS = 1800
SYSTEM_PYTHON = "/usr/bin/python3"
PYTHONS = "/usr/local/lib/flaskhost/python"
# Written last: a folder without it is what a killed build left behind.
COMPLETE = ".complete"
INCLUDE = re.compile(r"^(?:--requirement[ =]|--constraint[ =]|-r|-c)\s*(\S+)")
LOCAL = re.compile(r"^(?:-e|--editable)\b|^[./]|^file:|@ *(?:\.|file:)")


def ensure(  # noqa: PLR0913 - what the environment is made of
    paths: Layout, source: Path, tree: str, python: Optional[str], gunicorn: str, uv: str, progress: Progress
) -> str:
    """Have a virtual environment with what `requirements.txt` names; return the name of its folder in `venvs/`.

    Args:
        paths: layout of the application.
        source: the release's code, readable by the builder.
        tree: digest of the code; it counts only where the requirements install a part of it.
        python: version such as `3.11`, or None for the system's.
        gunicorn: version to install where the requirements do not bring Gunicorn.
        uv: the uv program.
        progress: told what is done.

    Raises:
        Failure: no requirements.txt, or uv could not install; the message holds what uv said.
    """
    lines = _requirements(source, REQUIREMENTS)
    local = [tree] if any(LOCAL.search(line) for line in lines) else []
    interpreter = python or SYSTEM_PYTHON
    exact = [interpreter, "" if python else platform.python_version(), gunicorn]
    identity = "\n".join([*exact, *local, *lines]) + "\n"
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    venv = paths.venvs / name
    if (venv / COMPLETE).exists():
        progress.say(f"dependencies: there already ({name})")
        return name
    progress.say(f"dependencies: installing {REQUIREMENTS} with uv")
    remove(venv)
    account = builder.account(paths.app)
    directory(venv, mode=0o700, owner=account, group=account)
    if interpreter != SYSTEM_PYTHON:
        _have_python(interpreter, uv, progress)
    _install(paths, venv, source, interpreter, gunicorn, uv)
    own_tree(venv, owner="root", group=paths.app)
    settle(venv)
    write(venv / COMPLETE, identity, mode=0o640, group=paths.app)
    return name


def environment() -> Dict[str, str]:
    """Return the variables that uv runs with.

    Files are copied out of the cache, never linked: the builder owns the cache and must not be able to change what
    an application runs.
    """
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    return {
        "SSL_CERT_FILE": bundle,
        "UV_COMPILE_BYTECODE": "1",
        "UV_LINK_MODE": "copy",
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON_INSTALL_DIR": PYTHONS,
    }


def _install(  # noqa: PLR0913 - what the environment is made of
    paths: Layout, venv: Path, source: Path, interpreter: str, gunicorn: str, uv: str
) -> None:
    def build(*words: str) -> None:
        done = builder.run_as(paths, words, cwd=source, seconds=BUILD_SECONDS, environment=variables)
        if done.returncode:
            raise Failure(f"the dependencies in {REQUIREMENTS} could not be installed:\n{done.stdout}".rstrip())

    variables = {**environment(), "UV_CACHE_DIR": f"{builder.home(paths.app)}/uv"}
    pip = (uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"))
    # --allow-existing: the folder is there, made for the builder alone.
    build(uv, "venv", "--quiet", "--allow-existing", "--python", interpreter, str(venv))
    build(*pip, "-r", REQUIREMENTS)
    if not (venv / "bin" / "gunicorn").exists():
        build(*pip, f"gunicorn=={gunicorn}")


def _have_python(version: str, uv: str, progress: Progress) -> None:
    """Have that Python on the host: the distribution's where it is that version, else one that uv downloads.

    As root and into a folder of root's: the builder must not be able to change what applications run.
    """
    words = [uv, "python", "find", "--quiet", "--no-project", version]
    if run(words, env=environment(), check=False).returncode == 0:
        return
    progress.say(f"python: this host has no {version}, uv downloads it")
    install = [uv, "python", "install", "--no-bin", version]
    private = {**environment(), "UV_PYTHON_DOWNLOADS": "automatic", "UV_CACHE_DIR": f"{PYTHONS}/cache"}
    done = run(install, env=private, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise Failure(
            f"flaskhost:app.python: {version} is not on this host and could not be downloaded: "
            f"name a version that the distribution has, or let the host reach the download\n{done.stdout}".rstrip()
        )


def _requirements(source: Path, name: str) -> List[str]:
    """Return the lines of a requirements file and of those that it includes."""
    lines: List[str] = []
    waiting, seen = [source / name], set()
    while waiting:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.add(path)
        if not path.is_file():
            where = os.path.relpath(path, source)
            raise Failure(f"{where} is missing in the source: add it with pinned versions (package==1.2.3)")
        for line in path.read_text().splitlines():
            lines.append(line.strip())
            included = INCLUDE.match(line.strip())
            if included:
                waiting.append(Path(os.path.normpath(path.parent / included.group(1))))
    return lines
