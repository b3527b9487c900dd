"""The image of the local server: a bare server with systemd and SSH, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.local_server.engine import Engine, Problem, cache_folder, limit_words, say

HERE = Path(__file__).resolve().parent
RECIPE = ("Containerfile", "packages.txt", "make_bare.sh")

# What `image` may say, and the name that its distribution gives that release.
RELEASES = {
    "ubuntu:24.04": "noble",
    "ubuntu:22.04": "jammy",
    "debian:11": "bullseye",
    "debian:12": "bookworm",
    "debian:13": "trixie",
}
FROM_REGISTRY = "ubuntu:24.04"
FROM_PACKAGES = "debian:12"


def recipe_digest() -> str:
    """Twelve hex digits for the files that an image is made of, so that a changed recipe makes a new image."""
    digest = hashlib.sha256()
    for name in RECIPE:
        digest.update(name.encode() + b"\0" + (HERE / name).read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def reference(release: str) -> str:
    """The name of our image of a release, such as localhost/flaskhost/server:debian-12-0123456789ab."""
    return f"localhost/flaskhost/server:{release.replace(':', '-')}-{recipe_digest()}"


def packages() -> list[str]:
    """What the bare server has beside the distribution's minimum."""
    return (HERE / "packages.txt").read_text().split()


def ensure(engine: Engine, wanted: str) -> str:
    """See to it that the image is there; the reference to run.

    `auto`: one of our own that is there already; else Ubuntu from a registry; else Debian from its packages.
    A release such as `debian:12`: the same, for that release. Any other word is a reference and taken as it is.
    """
    if wanted != "auto" and wanted not in RELEASES:
        if not engine.has_image(wanted) and (reason := engine.pull(wanted)):
            raise Problem(f"flaskhost:server.image: must be auto, {', '.join(RELEASES)} or an image that "
                          f"{engine.name} can get (got {wanted}: {reason}): use auto or another image")  # fmt: skip
        return wanted
    releases = [FROM_REGISTRY, FROM_PACKAGES] if wanted == "auto" else [wanted]
    if there := first_there(engine, releases):
        return there
    with only_one_at_a_time():
        return first_there(engine, releases) or make(engine, releases[0], releases[-1])


def first_there(engine: Engine, releases: list[str]) -> str | None:
    """The first of our images that is on this machine."""
    return next((name for name in map(reference, releases) if engine.has_image(name)), None)


def make(engine: Engine, online: str, bootstrapped: str) -> str:
    """Make the image: `online` on top of a registry's image, or else `bootstrapped` from the distribution's packages."""
    tarball = tarball_of(bootstrapped)
    if not tarball.exists():
        started = time.monotonic()
        say(f"asking for {online} at its registry")
        reason = engine.pull(online) or build(engine, online)
        if reason is None:
            say(f"image of {online} built in {time.monotonic() - started:.0f} s")
            return reference(online)
        say(f"no image of {online} ({reason}); making {bootstrapped} from the distribution's packages")
        bootstrap(bootstrapped, tarball)
    say(f"importing {tarball}")
    engine.run("import", str(tarball), reference(bootstrapped), seconds=600)
    return reference(bootstrapped)


def build(engine: Engine, release: str) -> str | None:
    """Build on top of the image of a release; the reason when that did not work."""
    # podman's own limits may be more than a caller without CAP_SYS_RESOURCE can give; Docker's daemon has its own.
    limits = limit_words() if engine.name == "podman" else []
    try:
        engine.show("build", *limits, "--build-arg", f"BASE={release}", "--tag", reference(release),
                    "--file", str(HERE / "Containerfile"), str(HERE))  # fmt: skip
    except Problem as problem:
        return str(problem)
    return None


def tarball_of(release: str) -> Path:
    """Where the bootstrapped file system of a release is kept."""
    return cache_folder() / "images" / f"{release.replace(':', '-')}-{recipe_digest()}.tar"


def bootstrap(release: str, tarball: Path) -> None:
    """Make a release's file system from its packages; a file that is there is complete."""
    program = mmdebstrap()
    started = time.monotonic()
    unfinished = tarball.with_name(f"unfinished-{os.getpid()}-{tarball.name}")
    try:
        done = subprocess.run(
            [program, *bootstrap_words(release, unfinished)], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
        if done.returncode != 0:
            raise Problem(f"flaskhost:server.image: {release} could not be made from packages (mmdebstrap, status "
                          f"{done.returncode}, its words stand above): is the distribution's mirror reachable?")  # fmt: skip
        unfinished.replace(tarball)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{release} made from packages in {time.monotonic() - started:.0f} s")


def bootstrap_words(release: str, target: Path) -> list[str]:
    """The words of mmdebstrap: the minimum with apt, our packages, and the step that both ways share."""
    return [
        "--quiet",
        "--variant=apt",
        f"--include={','.join(packages())}",
        f'--customize-hook=chroot "$1" sh < {shlex.quote(str(HERE / "make_bare.sh"))}',
        RELEASES[release],
        str(target),
    ]


def mmdebstrap() -> str:
    """The program that bootstraps; set-up installs it where it may."""
    if found := shutil.which("mmdebstrap"):
        return found
    try:
        from ops.setup.containers import ensure_debian_tools  # noqa: PLC0415 - only where the program is missing
    except ImportError:
        pass
    else:
        ensure_debian_tools()
    if found := shutil.which("mmdebstrap"):
        return found
    raise Problem("mmdebstrap is missing: install the package mmdebstrap, or make an image registry reachable")


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold the images' lock: two runs that need the same image make it once."""
    folder = cache_folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
