"""The Pulumi CLI with its Python language host: on PATH, in the cache, from the vendor, or built with Go."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from ops.setup import cache, download, golang
from ops.setup.progress import CommandFailed, Step

VERSION = "3.255.0"
"""The version that set-up installs; requirements.txt pins the same for the SDK."""

OLDEST = (3, 255)
"""The oldest version on PATH that is taken: what an older one does with this program is not tested."""

LANGUAGE_HOST = "pulumi-language-python"
EXEC_SHIM = "pulumi-language-python-exec"

SITE = "https://get.pulumi.com"
RELEASES = f"{SITE}/releases/sdk"

SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"


class Engine(NamedTuple):
    """A usable CLI: the folder that holds it and its language host, and the words that say where it is from."""

    folder: Path
    way: str


def ensure() -> Engine:
    """Return a usable Pulumi; the first that works of: PATH, an earlier run's, the vendor's, a build with Go."""
    with Step("engine", "looking for Pulumi") as step:
        engine = _on_path(step) or _in_cache(step)
        if engine is None:
            try:
                engine = _from_vendor(step)
            except download.Unreachable as reason:
                engine = _built(step, f"the vendor's download was not to be had: {reason}")
        step.done(engine.way)
        return engine


def is_usable(folder: Path, step: Step) -> bool:
    """Tell whether a folder holds a CLI of the right version with its language host."""
    if not all(os.access(folder / name, os.X_OK) for name in ("pulumi", LANGUAGE_HOST, EXEC_SHIM)):
        return False
    return OLDEST <= version(folder / "pulumi", step) < (OLDEST[0] + 1,)


def version(program: Path, step: Step) -> tuple[int, ...]:
    """Return what `pulumi version` says, `()` when it says nothing of use."""
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    try:
        output = step.run([str(program), "version"], environment=environment, seconds=20)
    except CommandFailed:
        return ()
    found = re.search(r"^v?(\d+)\.(\d+)\.(\d+)", output, flags=re.MULTILINE)
    return tuple(int(part) for part in found.groups()) if found else ()


def _on_path(step: Step) -> Engine | None:
    own = cache.folder()
    for entry in os.get_exec_path():
        folder = Path(entry)
        # Neither the script of this tree, which would call itself, nor what the cache put there.
        if not entry or folder.resolve() == cache.TREE or own in folder.parents:
            continue
        for place in (folder, (folder / "pulumi").resolve().parent):
            if (place / "pulumi").exists() and place != cache.TREE and is_usable(place, step):
                found = ".".join(map(str, version(place / "pulumi", step)))
                return Engine(place, f"Pulumi {found} of PATH ({place})")
    return None


def _folders() -> dict[str, Path]:
    """Return where the cache keeps the vendor's build and ours: apart, so that each can be told from its place."""
    return {way: cache.folder() / "engine" / f"{VERSION}-{cache.machine()}-{way}" for way in ("vendor", "go")}


def _in_cache(step: Step) -> Engine | None:
    for folder in _folders().values():
        if is_usable(folder, step):
            return Engine(folder, (folder / "WAY").read_text().strip())
    return None


def _from_vendor(step: Step) -> Engine:
    step.doing(f"downloading Pulumi {VERSION} from the vendor")
    download.answers(SITE)
    archive = archive_name()
    sums = download.text(f"{RELEASES}/pulumi-{VERSION}-checksums.txt")
    digest = listed_digest(sums, archive)
    target = _folders()["vendor"]
    with _unfinished(target) as scratch:
        file = Path(scratch) / archive
        download.file(f"{RELEASES}/{archive}", file, digest)
        programs = Path(scratch) / "programs"
        unpack(file, programs)
        return _install(programs, target, f"Pulumi {VERSION} from the vendor's download", step)


def archive_name() -> str:
    """Return the name of the vendor's archive for this machine."""
    system, processor = cache.machine().split("-", 1)
    return f"pulumi-v{VERSION}-{system}-{ {'amd64': 'x64'}.get(processor, processor) }.tar.gz"


def listed_digest(sums: str, archive: str) -> str:
    """Return the SHA-256 digest of an archive from the vendor's list of `digest  name` lines."""
    for line in sums.splitlines():
        digest, _, name = line.partition(" ")
        if name.strip(" *") == archive and re.fullmatch(r"[0-9a-f]{64}", digest):
            return digest
    raise download.Unreachable(f"the vendor's list of digests does not name {archive}")


def unpack(archive: Path, target: Path) -> None:
    """Put the programs of the vendor's archive (`pulumi/<name>`, in some `pulumi/bin/<name>`) into a folder."""
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                content = opened.extractfile(member) if member.isfile() else None
                if content:
                    # Only the last part of the name: no member decides where it goes.
                    path = target / Path(member.name).name
                    with path.open("wb") as written:
                        shutil.copyfileobj(content, written)
                    path.chmod(0o755)
    except tarfile.TarError as error:
        raise download.Unreachable(f"{archive.name} cannot be unpacked: {error}") from error


def _built(step: Step, because: str) -> Engine:
    go = golang.find(step, "cli")
    target = _folders()["go"]
    with _unfinished(target) as scratch:
        programs = Path(scratch) / "programs"
        programs.mkdir()
        step.doing(f"building Pulumi's language host with {go.origin}")
        package = f"{SDK_MODULE}/python/cmd/{LANGUAGE_HOST}"
        go.build("language", package, programs / LANGUAGE_HOST, step, flags="-s -w")
        step.doing(f"building Pulumi {VERSION} with {go.origin}, which takes minutes once")
        # Without its version the CLI says none, and the Automation API refuses it.
        flags = f"-s -w -X {SDK_MODULE}/go/common/version.Version={VERSION}"
        go.build("cli", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", programs / "pulumi", step, flags)
        shim = go.source("cli", SDK_MODULE, step) / "python" / "cmd" / EXEC_SHIM
        shutil.copyfile(shim, programs / EXEC_SHIM)
        (programs / EXEC_SHIM).chmod(0o755)
        return _install(programs, target, f"Pulumi {VERSION} built with {go.origin} ({because})", step)


def _unfinished(target: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a folder beside the target to work in: the target appears whole, by a rename, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=".unfinished-", dir=target.parent)


def _install(programs: Path, target: Path, way: str, step: Step) -> Engine:
    (programs / "WAY").write_text(way + "\n")
    if not is_usable(programs, step):
        raise download.Unreachable(f"what was made does not run as Pulumi {VERSION} ({way})")
    shutil.rmtree(target, ignore_errors=True)
    programs.rename(target)
    return Engine(target, way)
