"""The container engine of this machine: podman or Docker, whichever works."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ("podman", "docker")

# cgroup v2 everywhere shows this file at the root; on a v1 or hybrid hierarchy it is missing (cgroups(7)).
UNIFIED_HIERARCHY = Path("/sys/fs/cgroup/cgroup.controllers")

# Open files: the hard limit that systemd gives a service on a usual server. Processes: podman 4.3 lowers itself to this
# many on the way to the container, and who may not raise limits cannot ask for more.
OPEN_FILES = 524288
PROCESSES = 32768

# A registry that has not answered after so many seconds counts as not reachable; a download may take longer.
SECONDS_TO_ANSWER = 5.0
SECONDS_TO_DOWNLOAD = 900.0

# What the engines print once the registry has answered and the download begins.
DOWNLOAD_BEGINS = ("Getting image source signatures", "Copying ", "Pulling from", "Already exists", "Pulling fs layer")


class ServerError(SetupError):
    """Something that a person has to change; its text says what and how."""


def say(text: str) -> None:
    """Tell the person what happens now; stdout belongs to the result."""
    print(f"local server: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Engine:
    """A working engine and the words that every call to it starts with."""

    name: str
    words: tuple[str, ...]

    def run(
        self, *words: str, stdin: bytes | None = None, check: bool = True, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine; with `check`, a failure is a ServerError that carries the engine's own last words."""
        try:
            done = subprocess.run(
                [*self.words, *words],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{self.name} {words[0]}: no answer within {seconds:.0f} s") from error
        result = subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )
        if check and result.returncode != 0:
            said = "\n".join((result.stderr or result.stdout).strip().splitlines()[-15:])
            raise ServerError(f"{self.name} {words[0]} failed (status {result.returncode}): {said}")
        return result

    def show(self, *words: str, seconds: float = SECONDS_TO_DOWNLOAD) -> None:
        """Run the engine and let the person see what it prints."""
        try:
            done = subprocess.run(
                [*self.words, *words], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{self.name} {words[0]}: not finished after {seconds:.0f} s") from error
        if done.returncode != 0:
            raise ServerError(f"{self.name} {words[0]} failed (status {done.returncode}): its own words stand above")

    def container(self, name: str) -> dict[str, Any] | None:
        """What the engine knows about a container; None when there is none of that name."""
        done = self.run("container", "inspect", name, check=False)
        if done.returncode == 0:
            return dict(json.loads(done.stdout)[0])
        if "no such container" in done.stderr.lower():
            return None
        raise ServerError(f"{self.name} container inspect failed (status {done.returncode}): {done.stderr.strip()}")

    def has_image(self, reference: str) -> bool:
        """Whether the image is on this machine."""
        return self.run("image", "inspect", reference, check=False).returncode == 0

    def pull(self, reference: str) -> str | None:
        """Get an image from its registry; the reason when that did not work, within 5 s when nobody answers.

        The engine itself is asked, not the registry, so that mirrors and proxies of the engine's own settings count.
        """
        process = subprocess.Popen(
            [*self.words, "pull", reference],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        alarm = threading.Timer(SECONDS_TO_ANSWER, process.kill)
        alarm.start()
        begun, last = False, f"no answer within {SECONDS_TO_ANSWER:.0f} s"
        try:
            for line in process.stdout or ():
                if not begun and any(sign in line for sign in DOWNLOAD_BEGINS):
                    begun = True
                    alarm.cancel()
                    alarm = threading.Timer(SECONDS_TO_DOWNLOAD, process.kill)
                    alarm.start()
                    say(f"downloading {reference}")
                if line.lower().startswith("error"):
                    last = line.strip()
            return None if process.wait() == 0 else last
        finally:
            alarm.cancel()
            process.kill()
            process.wait()


def call_words(program: str, *, unified: bool, path: str | None = None) -> tuple[str, ...]:
    """The words that start a call: podman's usual crun refuses a hybrid hierarchy of cgroups, runc does not."""
    if Path(program).name == "podman" and not unified and (runc := shutil.which("runc", path=path)):
        return (program, "--runtime", runc)
    return (program,)


def working_engines(path: str | None = None) -> Iterator[Engine]:
    """Each engine whose `info` works; a client without its daemon is none."""
    unified = UNIFIED_HIERARCHY.exists()
    for name in NAMES:
        program = shutil.which(name, path=path)
        if program is None:
            continue
        try:
            answer = subprocess.run(
                [program, "info"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0:
            yield Engine(name, call_words(program, unified=unified, path=path))


def choose(path: str | None = None) -> Engine:
    """The engine that makes new containers: podman, whose containers know systemd, before Docker."""
    for engine in working_engines(path):
        return engine
    raise ServerError(
        "no container engine works (looked for podman and docker, and whether their `info` succeeds): "
        "start Docker's daemon, or install podman (on Debian and Ubuntu: apt-get install podman runc)"
    )


def find(name: str) -> tuple[Engine, dict[str, Any]] | None:
    """The container of that name, whichever working engine has it: an engine may have come after it was made."""
    for engine in working_engines():
        if known := engine.container(name):
            return engine, known
    return None


def limit(wanted: int, hard: int) -> int:
    """A resource limit at or below the caller's own: who may not raise limits could not start the container."""
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def limit_words() -> list[str]:
    """The words of `create` for open files and processes."""
    files = limit(OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    processes = limit(PROCESSES, resource.getrlimit(resource.RLIMIT_NPROC)[1])
    return ["--ulimit", f"nofile={files}:{files}", "--ulimit", f"nproc={processes}:{processes}"]


def systemd_words(engine: str) -> list[str]:
    """The words of `create` that let systemd be process 1.

    podman knows systemd, which has to be able to mount: without CAP_SYS_ADMIN it leaves out what shields a unit's files
    (ProtectSystem= and the like), and from version 255 on does not start such units at all. Docker does not know it:
    privileged, a cgroup namespace of its own and tmpfs where systemd expects them are what images with systemd are
    commonly run with there. (Not proven by a test of ours: no Docker there.)
    """
    if engine == "podman":
        return ["--systemd=always", "--cap-add=SYS_ADMIN"]
    return ["--privileged", "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock", "--env=container=docker"]


def create_words(
    engine: str, *, name: str, image: str, labels: Mapping[str, str], ports: Mapping[int, int]
) -> list[str]:
    """The words of `create`; nothing secret is among them. `ports`: port in the container -> port on 127.0.0.1."""
    words = ["create", "--name", name, "--hostname", name, "--restart=no", "--stop-signal=SIGRTMIN+3", "--pull=never"]
    words += systemd_words(engine) + limit_words()
    for label, value in labels.items():
        words += ["--label", f"{label}={value}"]
    for inside, outside in ports.items():
        words += ["--publish", f"127.0.0.1:{outside}:{inside}/tcp"]
    return [*words, image, "/sbin/init"]


def remove_words(engine: str, name: str) -> list[str]:
    """The words that remove a container and its volumes at once; podman would wait 10 s for it to stop."""
    return ["rm", "--force", "--volumes", *(["-t", "0"] if engine == "podman" else []), name]
