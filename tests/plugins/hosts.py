"""SSH hosts for the tests, on a free port of 127.0.0.1: one of paramiko that does as told, and the real sshd."""

# ruff: noqa: ARG002  (paramiko calls these methods with all that it knows)

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko import common, server, sftp

if TYPE_CHECKING:
    from collections.abc import Mapping

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class KeyPair:
    """A key in the formats that the tests need."""

    private: str
    public: str
    key: Any = field(repr=False)


def make_key(kind: str = "ed25519", passphrase: str | None = None, form: str = "OpenSSH") -> KeyPair:
    """Make a key: ed25519, ecdsa or rsa; in OpenSSH's own format, PKCS8 or TraditionalOpenSSL (PKCS1, SEC1)."""
    makers: Mapping[str, Any] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
    }
    key = makers[kind]()
    encryption: Any = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(
        serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), encryption
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return KeyPair(private, public, key)


def paramiko_key(pair: KeyPair, folder: Path) -> paramiko.PKey:
    """Return the key as paramiko has it; it wants a file."""
    file = folder / f"key-{os.urandom(4).hex()}"
    file.write_bytes(
        pair.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    return paramiko.PKey.from_path(file)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """What a test sees of a host."""

    port: int
    host_key: KeyPair
    login: KeyPair
    user = "root"

    def connection(self, **changes: Any) -> dict[str, Any]:
        """Return the settings of a connection that works, with changes; None leaves a setting out."""
        settings: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "privateKey": self.login.private,
            "hostKey": self.host_key.public,
            "dialErrorLimit": 0,
            **changes,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def logins(self) -> int:
        """Return how many logins the host has accepted."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop the host."""
        raise NotImplementedError


class ObedientHost(Host):
    """A host of paramiko: its behaviour is set by its attributes, at any time."""

    def __init__(self, folder: Path, host_key: KeyPair | None = None, login: KeyPair | None = None) -> None:
        """Listen, with keys of its own unless they are given."""
        self.host_key = host_key or make_key()
        self.login = login or make_key()
        self._key = paramiko_key(self.host_key, folder)
        self.methods = "publickey"
        self.password = "open sesame"
        self.accepts_variables = True
        self.drops_after_dials = 0  # so many connections are closed before a word is said
        self.dials = 0
        self.accepted: list[str] = []
        self._sessions = 0
        self.offers: list[str] = []
        self.open: list[paramiko.Transport] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def logins(self) -> int:
        """Return how many sessions were opened: a client may try a key before it signs with it."""
        return self._sessions

    def count_session(self) -> None:
        """Note that a client that is logged in asks for a session."""
        self._sessions += 1

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._listener.close()
        for transport in self.open:
            transport.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.dials += 1
            if self.dials <= self.drops_after_dials:
                connection.close()
                continue
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, _Files)
            self.open.append(transport)
            with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
                transport.start_server(event=threading.Event(), server=_Session(self))


class _Session(paramiko.ServerInterface):
    def __init__(self, host: ObedientHost) -> None:
        self._host = host
        self._environment: dict[str, str] = {}
        self._targets: dict[int, socket.socket] = {}

    def get_allowed_auths(self, username: str) -> str:
        return self._host.methods

    def _verdict(self, method: str, *, right: bool) -> int:
        if method not in self._host.offers:
            self._host.offers.append(method)
        if not right:
            return common.AUTH_FAILED
        self._host.accepted.append(method)
        return common.AUTH_SUCCESSFUL

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = self._host.login.public.split()[1]
        return self._verdict("publickey", right="publickey" in self._host.methods and key.get_base64() == known)

    def check_auth_password(self, username: str, password: str) -> int:
        right = "password" in self._host.methods.split(",") and password == self._host.password
        return self._verdict("password", right=right)

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        if "keyboard-interactive" not in self._host.methods:
            return common.AUTH_FAILED
        return server.InteractiveQuery("", "", ("Password: ", False), ("Again: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return self._verdict("keyboard-interactive", right=list(responses) == [self._host.password] * 2)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return common.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE
        self._host.count_session()
        return common.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(self, chanid: int, origin: Any, destination: Any) -> int:
        try:
            target = socket.create_connection(destination, timeout=5)
        except OSError:
            return common.OPEN_FAILED_CONNECT_FAILED
        target.settimeout(None)
        transport = self._host.open[-1]

        def relay() -> None:
            channel = transport.accept(10)
            if channel is not None:
                threading.Thread(target=_pump, args=(target.recv, channel.sendall), daemon=True).start()
                _pump(channel.recv, target.sendall)

        threading.Thread(target=relay, daemon=True).start()
        return common.OPEN_SUCCEEDED

    def check_channel_env_request(self, channel: paramiko.Channel, name: bytes, value: bytes) -> bool:
        if self._host.accepts_variables:
            self._environment[name.decode()] = value.decode()
        return self._host.accepts_variables

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_execute, args=(channel, command.decode(), self._environment), daemon=True).start()
        return True


def _pump(receive: Any, send: Any) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := receive(32768):
            send(data)


def _execute(channel: paramiko.Channel, command: str, environment: dict[str, str]) -> None:
    time.sleep(0.02)  # the reply to the request goes first
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr

    def feed() -> None:
        _pump(channel.recv, lambda data: (stdin.write(data), stdin.flush()))
        with contextlib.suppress(OSError):
            stdin.close()

    writers = [
        threading.Thread(target=_pump, args=(lambda size: os.read(stdout.fileno(), size), channel.sendall)),
        threading.Thread(target=_pump, args=(lambda size: os.read(stderr.fileno(), size), channel.sendall_stderr)),
    ]
    threading.Thread(target=feed, daemon=True).start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    status = process.wait()
    with contextlib.suppress(OSError, EOFError):
        if status >= 0:
            channel.send_exit_status(status)
        else:
            _send_exit_signal(channel)
        channel.close()


def _send_exit_signal(channel: Any) -> None:
    message = paramiko.Message()
    message.add_byte(bytes([98]))  # SSH_MSG_CHANNEL_REQUEST
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string("TERM")
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    channel.transport._send_user_message(message)  # noqa: SLF001


class _Files(paramiko.SFTPServerInterface):
    """The file system of this machine over SFTP."""

    def stat(self, path: str) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(Path(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)

    lstat = stat

    def mkdir(self, path: str, attr: Any) -> int:
        try:
            Path(path).mkdir()
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        return sftp.SFTP_OK

    def open(self, path: str, flags: int, attr: Any) -> Any:
        try:
            file = os.fdopen(os.open(path, flags, 0o644), "r+b" if flags & os.O_RDWR else "wb")
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno or 0)
        handle = paramiko.SFTPHandle(flags)
        handle.writefile = file  # type: ignore[attr-defined]
        handle.readfile = file  # type: ignore[attr-defined]
        return handle


class RealHost(Host):
    """OpenSSH's server, run by whoever runs the tests and letting in only that user."""

    def __init__(self, folder: Path) -> None:
        """Start sshd with a configuration in the folder."""
        assert SSHD
        self.user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
        self.host_key, self.login = make_key(), make_key()
        self.port = free_port()
        self._log = folder / "sshd.log"
        key = folder / "host_key"
        key.write_text(self.host_key.private)
        key.chmod(0o600)
        (folder / "authorized_keys").write_text(self.login.public + "\n")
        configuration = folder / "sshd_config"
        configuration.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {key}\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
            "AcceptEnv GREETING PULUMI_COMMAND_STDOUT PULUMI_COMMAND_STDERR\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._process = subprocess.Popen([SSHD, "-D", "-f", str(configuration), "-E", str(self._log)])
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise AssertionError(f"sshd did not start: {self._log.read_text()}")

    def logins(self) -> int:
        """Return how many logins the server's log tells of."""
        return self._log.read_text().count("Accepted publickey")

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait()
