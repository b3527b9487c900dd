"""`make lint`: every check of the code, one line each; a failed one does not hide the next."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from ops.setup import cache, golang
from ops.setup.progress import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SHELL = re.compile(rb"#!.*\b(?:sh|bash|dash)\b")
PYTHON = re.compile(rb"#!.*\bpython")

HOST = "host"
"""The folder of what runs on the server: Python 3.8 syntax and the standard library only."""

HOST_PYTHON = "3.8"


class Check(NamedTuple):
    """A program that judges the tree: its name for a person and its command lines."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    nothing: str = ""
    """Why there is nothing to check, where there are no command lines."""


def main(variables: Mapping[str, str]) -> int:
    """Run all checks; return 1 when one found something."""
    files = tracked()
    failed = [check.name for check in checks(files, variables) if not passes(check, variables)]
    started = time.monotonic()
    if foreign := list(host_findings(files)):
        failed.append("host imports")
    report("host imports", time.monotonic() - started, "\n".join(foreign), passed=not foreign)
    print(f"lint: {'failed: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return 1 if failed else 0


def tracked() -> list[Path]:
    """Return the files of the tree that Git tracks or would track."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=cache.TREE, check=True, capture_output=True, text=True).stdout
    return sorted(path for name in listed.split("\0") if name and (path := cache.TREE / name).is_file())


def checks(files: list[Path], variables: Mapping[str, str]) -> Iterator[Check]:
    """Return the checks that are programs of others."""
    scripts = [path for path in with_shebang(files, PYTHON) if path.suffix != ".py"]
    programs = [name_of(path) for path in scripts]
    yield Check("ruff check", (("ruff", "check", "--quiet", ".", *programs),))
    yield Check("ruff format", (("ruff", "format", "--check", ".", *programs),))
    # Programs without .py one by one: each is a module called __main__, and imports from the folder that it lies in.
    alone = (("env", f"MYPYPATH={path.parent}", "mypy", "--strict", name_of(path)) for path in scripts)
    yield Check("mypy", (("mypy", "--strict", "."), *alone))

    shells = [name_of(path) for path in with_shebang(files, SHELL)]
    yield Check("shellcheck", (("shellcheck", *shells),) if shells else (), "no shell script yet")

    workflows = [name_of(path) for path in files if name_of(path).startswith(".github/workflows/")]
    nothing = "no workflow yet"
    yield Check("actionlint", ((actionlint(variables), *workflows),) if workflows else (), nothing)
    yield Check("zizmor", (("zizmor", "--offline", "--quiet", *workflows),) if workflows else (), nothing)

    hosted = [name_of(path) for path in host_files(files)]
    vermin = ("vermin", f"-t={HOST_PYTHON}-", "--no-tips", "--violations", *hosted)
    yield Check(f"host is Python {HOST_PYTHON}", (vermin,) if hosted else (), "nothing in host/ yet")


def passes(check: Check, variables: Mapping[str, str]) -> bool:
    """Run a check, say how it went, and show what it found."""
    started = time.monotonic()
    if not check.commands:
        print(f"[  0.0 s] lint: {check.name}: not run, {check.nothing}", flush=True)
        return True
    findings = []
    for command in check.commands:
        done = subprocess.run(
            command,
            cwd=cache.TREE,
            env=dict(variables),
            executable=shutil.which(command[0], path=variables["PATH"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            findings.append(done.stdout.rstrip())
    report(check.name, time.monotonic() - started, "\n".join(findings), passed=not findings)
    return not findings


def report(name: str, seconds: float, findings: str, *, passed: bool) -> None:
    """Write the line of a check, and below it what it found."""
    print(f"[{seconds:5.1f} s] lint: {name}: {'passed' if passed else 'FAILED'}", flush=True)
    if not passed:
        print(findings, flush=True)


def with_shebang(files: Iterable[Path], pattern: re.Pattern[bytes]) -> Iterator[Path]:
    """Return the files whose first line starts them with a matching program."""
    for path in files:
        with path.open("rb") as opened:
            if pattern.match(opened.readline(200)):
                yield path


def name_of(path: Path) -> str:
    """Return a file's name in the tree."""
    return path.relative_to(cache.TREE).as_posix()


def actionlint(variables: Mapping[str, str]) -> str:
    """Return actionlint: the one on PATH, else one built by Go into the cache."""
    on_path = shutil.which("actionlint", path=variables["PATH"])
    if on_path:
        return on_path
    module = (golang.MODULES / "actionlint" / "go.mod").read_text()
    found = re.search(r"rhysd/actionlint (v\S+)", module)
    program = cache.folder() / "actionlint" / f"{found.group(1) if found else ''}-{cache.machine()}" / "actionlint"
    if not program.exists():
        with Step("actionlint", "building actionlint") as step:
            go = golang.find(step, "actionlint")
            program.parent.mkdir(parents=True, exist_ok=True)
            go.build("actionlint", "github.com/rhysd/actionlint/cmd/actionlint", program, step)
            step.done(f"built with {go.origin}")
    return str(program)


def host_files(files: Iterable[Path]) -> list[Path]:
    """Return the Python files of host/, those without .py by their first line."""
    hosted = [path for path in files if name_of(path).startswith(f"{HOST}/")]
    return sorted({path for path in hosted if path.suffix == ".py"} | set(with_shebang(hosted, PYTHON)))


def host_findings(files: Iterable[Path]) -> Iterator[str]:
    """Return a line for each import of host/ that is neither of the standard library nor of host/ itself."""
    hosted = host_files(files)
    own = {path.relative_to(cache.TREE / HOST).parts[0].removesuffix(".py") for path in hosted}
    for path in hosted:
        for line, module in foreign_imports(path.read_text(), own):
            yield f"{name_of(path)}:{line}: imports {module}: the host has Python's standard library and nothing else"


def foreign_imports(source: str, own: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Return line and name of each module that a source imports from elsewhere than the standard library or `own`."""
    known = sys.stdlib_module_names | set(own)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.split(".")[0] not in known:
                yield node.lineno, name
