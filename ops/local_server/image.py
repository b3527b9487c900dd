"""The image of the local server: a bare server with systemd and SSH, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ops.local_server.engine import Engine, ServerError, limit_words, say
from ops.setup import cache, containers

if TYPE_CHECKING:
    from collections.abc import Iterator

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
            raise ServerError(
                f"flaskhost:server.image: must be auto, {', '.join(RELEASES)} or an image that {engine.name} can get "
                f"(got {wanted}: {reason}): choose another image in the stack file"
            )
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
    """Make the image: `online` on top of a registry's image, or `bootstrapped` from the distribution's packages."""
    tarball = tarball_of(bootstrapped)
    # A file system that an earlier run had to make is quicker than asking again, and keeps a machine on one way.
    if not tarball.exists():
        started = time.monotonic()
        say(f"asking for {online} at its registry")
        reason = (None if engine.has_image(online) else engine.pull(online)) or build(engine, online)
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
        engine.show(
            *("build", *limits, "--build-arg", f"BASE={release}", "--tag", reference(release)),
            *("--file", str(HERE / "Containerfile"), str(HERE)),
        )
    except ServerError as error:
        return str(error)
    return None


def tarball_of(release: str) -> Path:
    """Where the bootstrapped file system of a release is kept."""
    return cache.folder() / "images" / f"{release.replace(':', '-')}-{recipe_digest()}.tar"


def bootstrap(release: str, tarball: Path) -> None:
    """Make a release's file system from its packages; a file that is there is complete."""
    containers.ensure_debian_tools()
    started = time.monotonic()
    unfinished = tarball.with_name(f"unfinished-{os.getpid()}-{tarball.name}")
    try:
        done = subprocess.run(
            bootstrap_words(release, unfinished), stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
        if done.returncode != 0:
            raise ServerError(
                f"flaskhost:server.image: neither a registry nor the distribution's packages gave {release} "
                f"(mmdebstrap ended with status {done.returncode}; its words stand above): make one of the two "
                f"reachable, or choose another image (auto, {', '.join(RELEASES)})"
            )
        unfinished.replace(tarball)
    finally:
        unfinished.unlink(missing_ok=True)
    say(f"{release} made from packages in {time.monotonic() - started:.0f} s")


def bootstrap_words(release: str, target: Path) -> list[str]:
    """The command line of mmdebstrap: the minimum with apt, our packages, and the step that both ways share."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=apt",
        f"--include={','.join(packages())}",
        f'--customize-hook=chroot "$1" sh < {shlex.quote(str(HERE / "make_bare.sh"))}',
        RELEASES[release],
        str(target),
    ]


@contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Hold the images' lock: two runs that need the same image make it once."""
    folder = cache.folder() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
