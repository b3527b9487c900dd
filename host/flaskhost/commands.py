"""The commands of a release: run as the application, each in a unit of its own, and what they said kept in its log."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, NamedTuple

from flaskhost import caller, maintenance, releases, systemd
from flaskhost.files import own
from flaskhost.progress import MOST_LINES
from flaskhost.shell import Failure, run

if TYPE_CHECKING:
    import subprocess

    from flaskhost.layout import Layout
    from flaskhost.progress import Progress
    from flaskhost.releases import Release

POLL_SECONDS = 0.5
# Of what one command says, the newest part stays: a disk is not to be filled by a build that repeats itself.
MOST_CHARACTERS = 1_000_000


class Ran(NamedTuple):
    """A command that has ended.

    Attributes:
        status: its exit status.
        output: what it printed, standard error included; nothing in it is hidden yet.
        seconds: how long it took.
        limit: seconds that it had.
    """

    status: int
    output: str
    seconds: float
    limit: int

    def failure(self, setting: str, command: str, release: Release) -> str:
        """Return how a command failed, with what it said.

        Args:
            setting: that names it, such as `build`; the one of its time has `_timeout` behind.
            command: as it was run.
            release: whose log has the whole output.
        """
        how = f"ended with status {self.status}"
        if self.seconds >= self.limit:
            how = f"did not end within {self.limit} s (flaskhost:app.{setting}_timeout)"
        lines = self.output.rstrip().split("\n")
        more = [f"all of it is in {release.output} on the host"] if len(lines) >= MOST_LINES else []
        return "\n".join([f"flaskhost:app.{setting}: `{command}` {how}", *lines, *more]).rstrip()


def timed(act: Callable[[], subprocess.CompletedProcess[str]], limit: int) -> Ran:
    """Run something that has `limit` seconds; return what became of it."""
    begin = time.monotonic()
    done = act()
    return Ran(done.returncode, done.stdout, time.monotonic() - begin, limit)


def as_application(  # noqa: PLR0913 - what a command is run with
    paths: Layout, release: Release, command: str, *, name: str, seconds: int, progress: Progress
) -> Ran:
    """Run a command line in a release's code, as the application and with the release's environment.

    It goes on where this process is killed: what it does to a database is not to be cut off. So the next try waits for
    its end first.

    Args:
        paths: layout of the application.
        release: whose code, packages and environment.
        command: as a shell reads it.
        name: what it is for, in the name of its unit: there is never more than one at a time.
        seconds: until it is ended.
        progress: told of a wait.
    """
    wait(paths, name, progress)
    words = systemd.transient(
        ["/bin/sh", "-c", command],
        user=paths.user,
        cwd=release.source,
        seconds=seconds,
        unit=_unit(paths, name),
        environment={"PATH": release.path, "HOME": str(paths.home)},
        properties=[
            *(f"EnvironmentFile={file}" for file in _environment_files(paths, release)),
            "UMask=0027",
            f"SupplementaryGroups={paths.app}",
            # Where data has a disk of its own: nothing migrates a database in the empty folder below it.
            f"RequiresMountsFor={paths.shared}",
        ],
    )
    return timed(lambda: run(words, timeout=seconds + systemd.GRACE_SECONDS, check=False), seconds)


def wait(paths: Layout, name: str, progress: Progress) -> bool:
    """Wait for the command of a name that a killed try has left running; return whether there was one."""
    unit = _unit(paths, name)
    if not systemd.is_active(unit):
        return False
    progress.say(f"{name}: that of an ended try is still running: waiting for it")
    while systemd.is_active(unit):
        time.sleep(POLL_SECONDS)
    return True


def _unit(paths: Layout, name: str) -> str:
    return f"flaskhost-{paths.app}-{name}.service"


def on_release(paths: Layout, release: Release, wishes: Dict[str, Any], progress: Progress) -> None:
    """Run the release command, once per release.

    Args:
        paths: layout of the application.
        release: the release.
        wishes: what the stack wants: on_release (or None), on_release_timeout.
        progress: told what is done.

    Raises:
        Failure: it failed; the message holds what it said, and the release is marked.
    """
    command = wishes.get("on_release")
    if command is None or release.facts.get("released"):
        return
    progress.say(f"on_release: {command}")
    limit = int(wishes["on_release_timeout"])
    ran = as_application(paths, release, command, name="on-release", seconds=limit, progress=progress)
    keep(release, f"on_release: {command}", ran, progress)
    if ran.status:
        release.update(failed=releases.stamp())
        releases.record(paths, "on_release", release, result="failed")
        why = ran.failure("on_release", command, release)
        raise Failure(f"{why}\nrelease {release.label} was not started, {maintenance.serving(paths)}")
    progress.say(ran.output.rstrip() or "on_release: nothing to say")
    release.update(released=releases.stamp())


def keep(release: Release, what: str, ran: Ran, progress: Progress) -> None:
    """Append what a command said to the log of its release, with when it ended, how, and how long it took."""
    text = progress.scrubber.hide(ran.output[-MOST_CHARACTERS:]).rstrip()
    lines = [f"{caller.now()} {progress.scrubber.hide(what)}: status {ran.status}, {ran.seconds:.2f} s"]
    lines += [f"    {line}".rstrip() for line in text.split("\n") if text]
    with open(release.output, "a", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o640)) as file:
        file.write("\n".join(lines) + "\n")
    own(release.output, mode=0o640, group=release.layout.app)


def _environment_files(paths: Layout, release: Release) -> Iterator[str]:
    """Yield what systemd reads; the last one wins, so a FLASK_APP of the stack comes before the one that was found."""
    # - : a release that an older version of this command has prepared has no entry.
    yield f"-{paths.config(release.digest)}/entry"
    yield f"{paths.config(release.digest)}/env"
