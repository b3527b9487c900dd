"""What a test sees of a server of kind `local`, through the container engine: its own looks are no SSH sessions."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from typing import TYPE_CHECKING, Any

from ops.local_server import engine, server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

APP = "guestbook"
HOME = f"/srv/{APP}"
WHO = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com"
"""Before a git command on a host that commits: somebody."""


def service(slot: str) -> str:
    """Return the unit of a slot."""
    return f"{APP}-gunicorn@{slot}.service"


class Host:
    """A running container with systemd."""

    def __init__(self, name: str) -> None:
        """Find the container of that name."""
        self.name = name
        found = engine.find(name)
        assert found, f"there is no container {name}"
        self.engine = found[0]

    def do(self, command: str, *, user: str = "", seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root, or as another user with that user's own groups."""
        words = ["/bin/sh", "-c", command]
        if user:
            words = ["runuser", "-u", user, "--", *words]
        return self.engine.run("exec", self.name, *words, check=False, seconds=seconds)

    def run(self, command: str, *, user: str = "", seconds: float = 120) -> str:
        """Run a shell command that must succeed; return what it prints."""
        done = self.do(command, user=user, seconds=seconds)
        assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def succeeds(self, command: str, *, user: str = "") -> bool:
        """Tell whether a shell command ends with status 0."""
        return self.do(command, user=user).returncode == 0

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of root's."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = mode, len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        self.engine.run("cp", "-", f"{self.name}:/", stdin=packed.getvalue())

    def logins(self) -> int:
        """Return how many SSH logins sshd's log tells of."""
        return int(self.run("journalctl -q --no-pager -u ssh -o cat | grep -c 'Accepted publickey' || true"))

    def status(self) -> dict[str, Any]:
        """Return what `flaskhost status` says."""
        return dict(json.loads(self.run(f"flaskhost status --json {APP}")))

    def active(self) -> str:
        """Return the digest of the release that visitors reach."""
        return self.run(f"basename $(readlink -f {HOME}/active/config)")

    def slot(self) -> str:
        """Return the slot that visitors reach."""
        return self.run(f"basename $(readlink {HOME}/active)")

    def releases(self) -> list[str]:
        """Return the folders of the releases, oldest first."""
        return self.run(f"ls {HOME}/releases").split()

    def unit(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.run(f"systemctl show {shlex.quote(unit)} {' '.join(f'-p {name}' for name in names)}").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def step_runs(self, step: str) -> bool:
        """Tell whether a step of a deploy is at work."""
        return self.unit(f"flaskhost-{APP}-{step}.service", "SubState")["SubState"] in ("start", "running")

    def wait_for(self, condition: str, seconds: float = 60) -> None:
        """Wait until a shell condition holds; it is looked at inside, many times a second."""
        loop = f"until {condition}; do sleep 0.02; done"
        done = self.do(f"timeout {seconds:g} sh -c {shlex.quote(loop)}", seconds=seconds + 30)
        assert done.returncode == 0, f"not within {seconds:g} s: {condition}"

    def journal(self, *, only: str = "", without: str = "") -> str:
        """Return the journal, every field of it: `only` or `without` the units whose names begin so."""

        def wanted(line: str) -> bool:
            unit = str(json.loads(line).get("_SYSTEMD_UNIT", ""))
            return unit.startswith(only) and not (without and unit.startswith(without))

        return "\n".join(filter(wanted, self.run("journalctl -q --no-pager --all -o json").splitlines()))

    def lose_power(self) -> None:
        """End every process on the host at once, as a power failure does."""
        self.engine.run("kill", "--signal", "KILL", self.name)
        until(lambda: self._state() != "running", "the container has ended")

    def shut_down(self) -> None:
        """Shut the host down as `systemctl poweroff` does."""
        server.stop({"name": self.name})

    def boot(self) -> None:
        """Start the host again and wait until systemd has started everything."""
        server.start({"name": self.name})

    def _state(self) -> str:
        known = self.engine.container(self.name)
        return str(known["State"]["Status"]) if known else "absent"


def until(holds: Callable[[], bool], what: str, seconds: float = 60, pause: float = 0.1) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(pause)
