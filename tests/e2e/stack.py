"""A stack of the real program, run by the real engine through `./pulumi`: its own backend, configuration and server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ops.local_server import server
from tests.e2e.host import Host, until
from tests.e2e.ports import free_ports
from tests.e2e.site import Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.machine import Machine

TREE = Path(__file__).resolve().parents[2]
PASSPHRASE = "local"
"""Of Pulumi.local.yaml, whose encrypted values the tests' stacks have as well."""

GOOD, NEWER, BROKEN = "v1.0.0", "v1.1.0", "v1.2.0"
"""Releases of the bundled application; the last one does not start."""

UP_SECONDS = 420.0


@dataclass(frozen=True)
class Run:
    """One command of Pulumi that has ended."""

    words: tuple[str, ...]
    status: int
    text: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the status was 0."""
        return self.status == 0

    def __str__(self) -> str:
        """Return all of it, for a test that fails."""
        return f"pulumi {' '.join(self.words)}: status {self.status} after {self.seconds:.1f} s\n{self.text}"


MOST_OUTPUT = 1024 * 1024
"""Bytes of a command's output that are looked at while it runs."""


class Running:
    """A command of Pulumi at work, in a process group of its own, with its output in a file."""

    def __init__(self, stack: Stack, words: tuple[str, ...]) -> None:
        """Start it."""
        self.words = words
        self._began = time.monotonic()
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by wait
        self._process = subprocess.Popen(
            [str(TREE / "pulumi"), *words],
            cwd=TREE,
            env=stack.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def runs(self) -> bool:
        """Tell whether it is still at work."""
        return self._process.poll() is None

    def says(self, words: str) -> None:
        """Wait until it has said something."""
        # Not by the file's own position, where the command goes on to write.
        until(lambda: words in os.pread(self._output.fileno(), MOST_OUTPUT, 0).decode(errors="replace"), words)

    def wait(self, seconds: float = UP_SECONDS) -> Run:
        """Wait for its end."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not ended within {seconds:g} s: {self._read()}") from None
        return self._read()

    def kill(self) -> Run:
        """Kill it with all that it has started: engine, program and plugins."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        return self._read()

    def kill_engine(self) -> Run:
        """Kill the engine alone; what it has started finds out by itself."""
        self._process.kill()
        self._process.wait(30)
        return self._read()

    def _read(self) -> Run:
        self._output.seek(0)
        text = self._output.read()
        return Run(self.words, self._process.returncode, text, time.monotonic() - self._began)


class Stack:
    """A stack with a server of its own; `close` removes everything that it made, whatever has happened."""

    def __init__(self, folder: Path, label: str, image: str = "", machine: Machine | None = None) -> None:
        """Write the configuration and make the stack; nothing is deployed yet.

        Args:
            folder: an empty one, for configuration and state.
            label: tells this stack's server from others.
            image: of the server, if the stack makes one.
            machine: the server that is there already, otherwise.
        """
        self.label = label
        self.name = f"e2e-{label}"
        self.server = machine.name if machine else f"flaskhost-test-{os.getpid()}-{label}"
        self._is_ours = machine is None
        self.folder = folder
        self.file = folder / f"Pulumi.{self.name}.yaml"
        self.backend = folder / "state"
        self.backend.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
            "PULUMI_BACKEND_URL": f"file://{self.backend}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        }
        # `./pulumi` finds its home by itself; a run inside of a run must find the same.
        self.environment.pop("FLASKHOST_STAND_IN", None)
        ssh, http, https = machine.ports.values() if machine else free_ports(3)
        self.ports = {"ssh_port": ssh, "http_port": http, "https_port": https}
        self.site = Site(http, https)
        text = (TREE / "Pulumi.local.yaml").read_text()
        self.file.write_text(text)
        if machine is None:
            self.configure(server={"name": self.server, "image": image, **self.ports})
        self.configure(
            app={
                "version": GOOD,
                # Short, so that a slot that goes is gone soon; few workers, so that two cores are enough.
                "gunicorn": {"workers": 2, "graceful_timeout": 5},
                "health": {"seconds": 30},
                # Only the tests of the watch wait for it.
                "watch": {"seconds": 0},
            }
        )
        # A project of the same name in the folder: `stack init` writes beside its Pulumi.yaml.
        (folder / "Pulumi.yaml").write_text("name: flaskhost\nruntime: python\n")
        self.pulumi("stack", "init", self.name, "--no-select", "--cwd", str(folder))
        if machine:
            self.use(machine)

    def use(self, machine: Machine) -> None:
        """Have the configuration name that server, and with which key it is entered; visitors go there as well."""
        self.configure(server=dict.fromkeys(self.configured("server")))
        self.configure(server=machine.settings)
        self.encrypt("credentials.ssh_key", machine.login_key)
        self.server = machine.name
        self.site = Site(machine.ports["http_port"], machine.ports["https_port"])

    def configure(self, **groups: Mapping[str, Any] | None) -> None:
        """Change groups of the configuration; what is a mapping is merged, None takes a value away."""
        document = yaml.safe_load(self.file.read_text())
        for name, values in groups.items():
            merge(document["config"], {f"flaskhost:{name}": values})
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def configure_value(self, name: str, *, value: Any) -> None:
        """Change a setting that is no group."""
        document = yaml.safe_load(self.file.read_text())
        document["config"][f"flaskhost:{name}"] = value
        self.file.write_text(yaml.safe_dump(document, sort_keys=False))

    def configured(self, group: str) -> dict[str, Any]:
        """Return one group of the configuration."""
        return dict(yaml.safe_load(self.file.read_text())["config"][f"flaskhost:{group}"])

    def encrypt(self, key: str, value: str) -> None:
        """Set an encrypted value such as `secrets.TOKEN`, handed over on standard input."""
        words = ["config", "set", "--secret", "--path", f"flaskhost:{key}", *self._which()]
        done = subprocess.run(
            [str(TREE / "pulumi"), *words],
            cwd=TREE,
            env=self.environment,
            input=value,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def pulumi(self, *words: str, check: bool = True, seconds: float = UP_SECONDS) -> Run:
        """Run a command; with `check`, it must succeed."""
        done = Running(self, words).wait(seconds)
        assert done.succeeded or not check, str(done)
        return done

    def up(self, *words: str, check: bool = True) -> Run:
        """Deploy what the configuration says."""
        return self.pulumi(*self.up_words, *words, check=check)

    def begin_up(self) -> Running:
        """Begin to deploy, and come back at once."""
        return Running(self, self.up_words)

    def deploy(self, version: str, **groups: Mapping[str, Any] | None) -> Run:
        """Put a version and other settings into the configuration, and deploy."""
        self.configure(app={"version": version})
        self.configure(**groups)
        return self.up()

    def preview(self, *words: str, check: bool = True) -> Run:
        """Ask what `up` would do."""
        return self.pulumi("preview", "--non-interactive", "--color", "never", *self._which(), *words, check=check)

    def destroy(self) -> Run:
        """Remove what the stack has made."""
        return self.pulumi("destroy", "--yes", "--skip-preview", "--non-interactive", *self._which())

    def cancel(self) -> None:
        """Take away the lock that a killed `up` has left."""
        self.pulumi("cancel", "--yes", "--stack", self.name, check=False)

    def outputs(self) -> dict[str, Any]:
        """Return the outputs of the stack."""
        return dict(json.loads(self.pulumi("stack", "output", "--json", "--stack", self.name).text))

    def export(self, *words: str) -> dict[str, Any]:
        """Return the state."""
        return dict(json.loads(self.pulumi("stack", "export", "--stack", self.name, *words).text))

    def identities(self, kind: str) -> dict[str, str]:
        """Return the ID of each resource whose type begins so, by its URN: another one means that it was made anew."""
        found = self.export()["deployment"]["resources"]
        return {one["urn"]: one["id"] for one in found if one["type"].startswith(kind)}

    def on_disk(self) -> str:
        """Return all that the backend keeps in files: state, its copies, and the history."""
        files = [path for path in self.backend.rglob("*") if path.is_file()]
        assert files
        return "\n".join(path.read_text(errors="replace") for path in files)

    @property
    def host(self) -> Host:
        """The server."""
        return Host(self.server)

    def close(self) -> None:
        """Remove the server if the stack made it; the state goes with the folder."""
        if self._is_ours:
            server.delete({"name": self.server})

    @property
    def up_words(self) -> tuple[str, ...]:
        """The words of a deploy."""
        return ("up", "--yes", "--skip-preview", "--non-interactive", "--color", "never", *self._which())

    def _which(self) -> tuple[str, ...]:
        return ("--stack", self.name, "--config-file", str(self.file))


def merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Merge mappings; None takes a value away."""
    for name, value in values.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


__all__ = ["BROKEN", "GOOD", "NEWER", "Run", "Running", "Stack", "free_ports", "until"]
