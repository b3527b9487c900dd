"""One SSH session to the server of a stack, with the stack's own keys, for as long as somebody watches."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - Pulumi's mark of a secret in a state, not one
CONNECT_SECONDS = 10
# So that a cut connection is noticed soon: two questions without an answer.
ALIVE_SECONDS = 5


class Lost(Exception):  # noqa: N818 - what has happened, and no mistake of the program
    """The session has ended; the text is the last that SSH or the server said."""


class Refused(Lost):
    """The server is there, and nothing runs on it that could be changed."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """How the stack's own steps log in, bastion included: the inputs of their connection, as the state holds them.

    `environment` is what they bring along: the password of sudo, for one.
    """

    host: str
    port: int
    user: str
    private_key: str = field(repr=False)
    host_key: str
    bastion: Login | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, connection: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Login:
        """Take the `connection` of a remote command, and its `environment`."""
        proxy = connection.get("proxy")
        return cls(
            host=str(connection["host"]),
            port=int(connection.get("port") or 22),
            user=str(connection.get("user") or "root"),
            private_key=str(connection["privateKey"]),
            host_key=str(connection["hostKey"]),
            bastion=cls.read(proxy) if proxy else None,
            environment=environment or {},
        )


def login(deployment: Mapping[str, Any], app: str) -> Login | None:
    """Return how to log in to the server that a state knows, or None before there is one.

    Args:
        deployment: the state, with its secrets in plain text.
        app: name of the application.
    """
    for resource in deployment.get("resources") or []:
        if resource["urn"].endswith(f"::{app}-base"):
            inputs = plain(resource["inputs"])
            return Login.read(inputs["connection"], inputs.get("environment"))
    return None


def plain(value: Any) -> Any:
    """Return a value of a state without Pulumi's marks of secrets."""
    if isinstance(value, dict):
        if SECRET in value:
            return plain(json.loads(value["plaintext"]))
        return {key: plain(inner) for key, inner in value.items()}
    return value


@contextlib.contextmanager
def shell(to: Login) -> Iterator[Shell]:
    """Connect; keys are in files of this user alone until it is closed.

    Raises:
        Lost: the server could not be reached.
    """
    with tempfile.TemporaryDirectory(prefix="flaskhost-") as folder:
        opened = Shell(Path(folder), to)
        try:
            opened.connect()
            yield opened
        finally:
            opened.close()


class Shell:
    """Calls the flaskhost command on the server, each time over the same connection."""

    def __init__(self, folder: Path, to: Login) -> None:
        """Write keys into a folder that nobody else reads; nothing is opened yet."""
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        self._words = self._options(to, "server")
        if to.bastion:
            through = [*self._options(to.bastion, "bastion"), "-W", f"[{to.host}]:{to.port}", to.bastion.host]
            self._words += ["-o", f"ProxyCommand={' '.join(through)}"]
        self._words += ["-S", f"{folder}/control"]
        self._host = to.host
        self._command = ["flaskhost", *([] if to.user == "root" else ["--sudo"])]
        self._environment = {**os.environ, **to.environment}
        self._words += [word for name in to.environment for word in ("-o", f"SendEnv={name}")]

    def _options(self, to: Login, name: str) -> list[str]:
        key, known = self._folder / f"{name}.key", self._folder / f"{name}.hosts"
        for path, text in ((key, to.private_key), (known, f"{name} {to.host_key}")):
            path.touch(mode=0o600)
            path.write_text(text.strip() + "\n")
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(known),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": name,
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": str(ALIVE_SECONDS),
            "ServerAliveCountMax": "2",
            "LogLevel": "ERROR",
        }
        chosen = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
        # -F none: what a person's own configuration says about a host of this address is about another one.
        return ["ssh", "-F", "none", "-T", "-i", str(key), "-p", str(to.port), "-l", to.user, *chosen]

    def connect(self) -> None:
        """Open the connection that all others go through.

        Raises:
            Lost: the server could not be reached.
        """
        said = self._folder / "said"
        with said.open("wb") as file:
            try:
                master = subprocess.Popen([*self._words, "-M", "-N", self._host], stderr=file, **self._apart())
            except FileNotFoundError:
                fix = "install OpenSSH's client (package openssh-client)"
                raise SetupError(f"ssh is missing.\n  Next: {fix}") from None
        self._started.append(master)
        while not (self._folder / "control").exists():
            if master.poll() is not None:
                raise Lost(said.read_text(errors="replace").strip() or "SSH ended without a word")
            time.sleep(0.02)

    def start(self, verb: str, app: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start a verb of the flaskhost command; Ctrl+C does not reach it."""
        words = (*self._command, verb, app)
        return self._begin(*words, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.STDOUT)

    def ask(self, verb: str, app: str) -> dict[str, Any]:
        """Return what a verb answers in JSON.

        Raises:
            Lost: it failed, with what it said.
        """
        said = _said(self.start(verb, app, stdout=subprocess.PIPE))
        try:
            return dict(json.loads(said))
        except ValueError:
            raise Lost(said or "no answer") from None

    def output(self, command: str) -> str:
        """Return what a shell command on the server prints, whatever its status."""
        return _said(self._begin(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))

    def close(self) -> None:
        """End all that was started, the connection last."""
        for one in reversed(self._started):
            one.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(5)

    def _begin(
        self, *words: str, stdout: int | None, stderr: int, stdin: int = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        started = subprocess.Popen(
            [*self._words, self._host, *words], stdout=stdout, stderr=stderr, **self._apart(stdin)
        )
        self._started.append(started)
        return started

    def _apart(self, stdin: int = subprocess.DEVNULL) -> dict[str, Any]:
        return {"stdin": stdin, "start_new_session": True, "env": self._environment}


def _said(started: subprocess.Popen[bytes]) -> str:
    """Return all that it prints, when it has ended."""
    return started.communicate()[0].decode(errors="replace").strip()


class Session:
    """`flaskhost sync` at work on the server.

    Attributes:
        release: digest of the release that runs there.
        pin: what unlocks the debugger, if it is on.
        files: what stands for each file of its source.
    """

    def __init__(self, opened: Shell, app: str) -> None:
        """Start it and hear what runs there.

        Raises:
            Lost: it could not be reached, or nothing runs there in development mode.
        """
        self._process = opened.start("sync", app, stdout=subprocess.PIPE)
        first = self._answer()
        self.release, self.pin = str(first["release"]), first["pin"]
        self.files: dict[str, str] = dict(first["files"])

    def send(self, gone: Sequence[str], packed: bytes, coming: Mapping[str, str]) -> dict[str, Any]:
        """Have a change made on the server; return its answer.

        Args:
            gone: names of what is not there any more.
            packed: a tar file of what is new or different.
            coming: what stands for each of these.

        Raises:
            Lost: the session has ended, or is about a release that runs no more.
        """
        frame = {"release": self.release, "gone": list(gone), "bytes": len(packed)}
        stream = self._process.stdin
        assert stream is not None  # noqa: S101 - for mypy: it is a pipe
        try:
            stream.write(json.dumps(frame).encode() + b"\n" + packed)
            stream.flush()
        except OSError:
            raise Lost("the connection was closed") from None
        answer = self._answer()
        if answer.get("stale"):
            raise Lost("another release runs there now")
        if "error" not in answer:
            self.files = {name: one for name, one in self.files.items() if name not in gone} | dict(coming)
        return answer

    def runs(self) -> bool:
        """Tell whether the session is still there."""
        return self._process.poll() is None

    def _answer(self) -> dict[str, Any]:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101 - for mypy: it is a pipe
        line = stream.readline()
        if not line.startswith(b"{"):
            # What ended it, in words: of ssh, sudo or flaskhost.
            said = line.decode(errors="replace").strip() or "the connection was closed"
            raise Refused(said) if said.startswith("error:") else Lost(said)
        return dict(json.loads(line))
