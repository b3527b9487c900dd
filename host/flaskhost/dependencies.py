"""The virtual environment of a release, shared by all releases with the same dependencies and Python."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence

from flaskhost import builder, poetry
from flaskhost.files import directory, own_tree, remove, settle, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.python import BUNDLE, Python
from flaskhost.python import environment as python_environment
from flaskhost.shell import Failure

UV_LOCK, POETRY_LOCK, REQUIREMENTS = "uv.lock", "poetry.lock", "requirements.txt"
# The first that is there is taken: a lock names more than the list that is often kept beside it.
ORDER = (UV_LOCK, POETRY_LOCK, REQUIREMENTS)
DEVELOPMENT = "requirements-dev.txt"
PROJECT = "pyproject.toml"
# With it Flask's reloader notices a change at once, instead of looking each second.
WATCHDOG = "watchdog>=3,<7"
# It logs each look at a folder as DEBUG, which is the level that many an application has in development. Python runs
# such a line when it starts (site module, "path configuration files").
QUIET = """
import pathlib, sysconfig
line = "import logging; logging.getLogger('watchdog').setLevel('INFO')\\n"
pathlib.Path(sysconfig.get_path("purelib"), "flaskhost-quiet-watchdog.pth").write_text(line)
"""
BUILD_SECONDS = 1800
# Written last: a folder without it is what a killed build left behind.
COMPLETE = ".complete"
INCLUDE = re.compile(r"^(?:--requirement[ =]|--constraint[ =]|-r|-c)\s*(\S+)")
# How setuptools, meson and make say that there is no compiler, or that it misses a header.
COMPILER = re.compile(
    r"(?:No such file or directory: |command |unable to execute )'\S*(?:cc|g\+\+|clang)'|Unknown compiler"
    r"|(?:cc|g\+\+|make): (?:command )?not found|fatal error: \S+\.h: No such file"
)
# What installs a part of the source itself, as each kind of file writes it.
LOCAL = re.compile(
    r"^(?:-e|--editable)\b|^[./]|^file:|@ *(?:\.|file:)|source = \{ (?:editable|directory|path) = "
    r"|^type = \"(?:directory|file)\"$"
)


class Wanted(NamedTuple):
    """What an environment is made of.

    Attributes:
        file: `auto`, or the file of the source that names the packages.
        python: the interpreter.
        gunicorn: version to install where the file does not bring Gunicorn.
        development: whether what developers need is installed as well.
    """

    file: str
    python: Python
    gunicorn: str
    development: bool = False


def ensure(  # noqa: PLR0913 - what the environment is made of
    paths: Layout, source: Path, tree: str, asked: Wanted, uv: str, progress: Progress
) -> str:
    """Have a virtual environment with what a file of the source names; return the name of its folder in `venvs/`.

    Args:
        paths: layout of the application.
        source: the release's code, readable by the builder.
        tree: stands for the code; it counts only where a part of it is installed.
        asked: what it is made of.
        uv: the uv program.
        progress: told what is done.

    Raises:
        Failure: no such file, or uv could not install; the message holds what uv said.
    """
    file = _chosen(source, asked.file, progress)
    lines = _lines(source, file, development=asked.development)
    local = [tree] if any(LOCAL.search(line) for line in lines) else []
    exact = [file, *asked.python, asked.gunicorn, f"development: {asked.development}"]
    identity = "\n".join([*exact, *local, *lines]) + "\n"
    name = hashlib.sha256(identity.encode()).hexdigest()[:16]
    venv = paths.venvs / name
    if (venv / COMPLETE).exists():
        progress.say(f"dependencies: there already ({name})")
        return name
    progress.say(f"dependencies: installing {file} with uv for Python {asked.python.version}")
    remove(venv)
    account = builder.account(paths.app)
    directory(venv, mode=0o700, owner=account, group=account)
    _install(paths, venv, source, file, asked, uv, progress)
    own_tree(venv, owner="root", group=account)
    settle(venv)
    write(venv / COMPLETE, identity, mode=0o640, group=paths.app)
    return name


def environment() -> Dict[str, str]:
    """Return the variables that uv runs with.

    Files are copied out of the cache, never linked: the builder owns the cache and must not be able to change what
    an application runs.
    """
    return {**python_environment(), "UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy"}


def _chosen(source: Path, wish: str, progress: Progress) -> str:
    """Return the file that names the packages."""
    if wish != "auto":
        if not (source / wish).is_file():
            raise Failure(f"flaskhost:app.dependencies: {wish} is missing in the source: add it, or name another file")
        return wish
    there = [name for name in ORDER if (source / name).is_file()]
    if not there:
        raise Failure(
            f"{REQUIREMENTS} is missing in the source: add it with pinned versions (package==1.2.3), "
            f"or {UV_LOCK} or {POETRY_LOCK}"
        )
    if len(there) > 1:
        progress.say(f"dependencies: {there[0]} comes before {' and '.join(there[1:])}")
    return there[0]


def _lines(source: Path, file: str, *, development: bool) -> List[str]:
    """Return all that the packages follow from."""
    if file in (UV_LOCK, POETRY_LOCK):
        if not (source / PROJECT).is_file():
            raise Failure(f"{PROJECT} is missing in the source, beside {file}: add it")
        return [line for name in (file, PROJECT) for line in _text(source, source / name).splitlines()]
    names = _requirements_files(source, file, development=development)
    return [line for name in names for line in _requirements(source, name)]


def _requirements_files(source: Path, file: str, *, development: bool) -> List[str]:
    more = [DEVELOPMENT] if development and file != DEVELOPMENT and (source / DEVELOPMENT).is_file() else []
    return [file, *more]


def _install(  # noqa: PLR0913 - what the environment is made of
    paths: Layout, venv: Path, source: Path, file: str, asked: Wanted, uv: str, progress: Progress
) -> None:
    variables = {**environment(), "UV_CACHE_DIR": f"{builder.home(paths.app)}/uv"}

    def build(*words: str, **more: str) -> None:
        done = builder.run_as(
            paths, words, cwd=source, seconds=BUILD_SECONDS, environment={**variables, **more}, writable=[venv]
        )
        if done.returncode:
            raise Failure(
                f"the dependencies in {file} could not be installed:\n{done.stdout}".rstrip() + _next(done.stdout)
            )

    pip = (uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"))
    # --allow-existing: the folder is there, made for the builder alone.
    build(uv, "venv", "--quiet", "--allow-existing", "--python", asked.python.program, str(venv))
    if file == UV_LOCK:
        groups = [] if asked.development else ["--no-dev"]
        # --no-editable: the environment must not lead to the code of one release.
        words = [uv, "sync", "--quiet", "--frozen", "--no-editable", "--python", asked.python.program, *groups]
        build(*words, UV_PROJECT_ENVIRONMENT=str(venv))
    elif file == POETRY_LOCK:
        _from_poetry(build, pip, venv, poetry.ensure(paths, asked.python, uv, progress), paths, asked)
    else:
        names = _requirements_files(source, file, development=asked.development)
        build(*pip, *(word for name in names for word in ("-r", name)))
    if asked.development:
        build(*pip, WATCHDOG)
        build(str(venv / "bin" / "python"), "-c", QUIET)
    elif not (venv / "bin" / "gunicorn").exists():
        build(*pip, f"gunicorn=={asked.gunicorn}")


def _next(said: str) -> str:
    """Return what to do where a package has to be compiled and nothing on the host can."""
    if not COMPILER.search(said):
        return ""
    return (
        "\na package has to be compiled, and this host has no compiler or lacks a library's headers: name a version "
        "that comes as a wheel, or have them there (flaskhost:app.compiler: true, flaskhost:app.packages)"
    )


def _from_poetry(  # noqa: PLR0913 - what the environment is made of
    build: Callable[..., None], pip: Sequence[str], venv: Path, program: Path, paths: Layout, asked: Wanted
) -> None:
    """Have poetry write its lock as requirements with hashes, and uv install them like any others."""
    listed = venv / REQUIREMENTS
    groups = ["--all-groups"] if asked.development else ["--only=main"]
    words = [str(program), "export", "--no-interaction", "--format=requirements.txt", f"--output={listed}", *groups]
    home = f"{builder.home(paths.app)}/poetry"
    build(
        *words, POETRY_CACHE_DIR=home, POETRY_CONFIG_DIR=home, POETRY_VIRTUALENVS_CREATE="0", REQUESTS_CA_BUNDLE=BUNDLE
    )
    build(*pip, "-r", str(listed))


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
        for line in _text(source, path).splitlines():
            lines.append(line.strip())
            included = INCLUDE.match(line.strip())
            if included:
                waiting.append(Path(os.path.normpath(path.parent / included.group(1))))
    return lines


def _text(source: Path, path: Path) -> str:
    """Return the text of a file of the source, without the mark that some editors put before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(
            f"{os.path.relpath(path, source)} must be UTF-8 ({error}): save it as UTF-8 (in PowerShell, "
            "`pip freeze | Out-File -Encoding utf8 requirements.txt`)"
        ) from None
