"""Connections: how the official plugin dials, whom it trusts, with what it logs in.

Paramiko is imported when the first connection is made: it takes half a second, and most updates make none.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import ipaddress
import itertools
import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from .calls import Failure
from .go import quote, system_error

if TYPE_CHECKING:
    from collections.abc import Callable

    import paramiko

    from .calls import Call
    from .values import Values

# Delays between two attempts, in seconds: the defaults of the retry helper in the engine's SDK.
FIRST_DELAY = 0.1
DELAY_FACTOR = 1.5
LONGEST_DELAY = 5.0
UNLIMITED = -1
DEFAULT_DIAL_ERRORS = 10
FOR_EVER = 10**8  # seconds; the official plugin bounds the dialling only, not the handshake

ANY_HOST = "FLASKHOST_STAND_IN_ANY_HOST"

# A Command's connection is never closed: it lives as long as the plugin does.
_open: list[paramiko.Transport] = []

_T = TypeVar("_T")


class _DialError(Exception):
    """One attempt failed; there may be another."""


def dial(call: Call, connection: Values) -> paramiko.Transport:
    """Return an authenticated connection, retrying as often as the connection allows."""
    for host in (connection["host"], (connection.get("proxy") or {}).get("host")):
        _refuse_other_machines(host)
    login = _Login(connection)
    limit = _limit(connection)
    proxy = connection.get("proxy")
    if proxy is None:
        return _retry(call, "Dial", limit, lambda: login.shake_hands(_tcp(connection)))
    try:
        proxy_login = _Login(proxy)
        gate = _retry(call, "Dial proxy", _limit(proxy), lambda: proxy_login.shake_hands(_tcp(proxy)))
        address = (connection["host"], int(connection["port"]))
        channel = _retry(call, "Dial from proxy", limit, lambda: _through(gate, address))
        return _retry(call, "Dial", limit, lambda: login.shake_hands(channel))
    except Failure as failure:
        raise Failure(f"proxy: {failure}") from None


def keep(transport: paramiko.Transport) -> None:
    """Leave the connection open until the plugin ends, as the official one does."""
    _open.append(transport)


def _refuse_other_machines(host: str | None) -> None:
    if host is None or host == "localhost" or os.environ.get(ANY_HOST) == "1":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise Failure(
        f"connection.host: must be this machine (got {host}): this is a stand-in for the command plugin, for tests and "
        "for servers of kind local; get the official plugin with `pulumi plugin install resource command 1.2.1` "
        "and remove the stand-in from the plugins folder of PULUMI_HOME"
    )


def _limit(connection: Values) -> int:
    limit = connection.get("dialErrorLimit")
    return DEFAULT_DIAL_ERRORS if limit is None else int(limit)


def _retry(call: Call, what: str, limit: int, attempt: Callable[[], _T]) -> _T:
    delay = FIRST_DELAY
    failed = 0
    while True:
        try:
            return attempt()
        except _DialError as error:
            # The official plugin counts this way: one attempt more than it says.
            if UNLIMITED < limit < failed + 1:
                raise Failure(f"after {failed} failed attempts: {error}") from None
        failed += 1
        call.status(f"{what} {failed}/{'inf' if limit == UNLIMITED else limit} failed: retrying")
        over = call.wait(delay)
        if over:
            raise Failure(over)
        delay = min(delay * DELAY_FACTOR, LONGEST_DELAY)


def _tcp(connection: Values) -> socket.socket:
    host, port = connection["host"], int(connection["port"])
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        raise _DialError(f"dial tcp: lookup {host}: no such host") from None
    failures: list[_DialError] = []
    for _, _, _, _, address in sorted(found, key=lambda entry: entry[0] != socket.AF_INET):
        try:
            return _tcp_to(str(address[0]), port, connection.get("perDialTimeout"))
        except _DialError as failure:  # noqa: PERF203 (a failed dial costs more)
            failures.append(failure)
    raise failures[0]


def _tcp_to(address: str, port: int, timeout: float | None) -> socket.socket:
    named = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        return socket.create_connection((address, port), timeout=float(timeout) if timeout else None)
    except TimeoutError:
        raise _DialError(f"dial tcp {named}: i/o timeout") from None
    except OSError as error:
        raise _DialError(f"dial tcp {named}: connect: {system_error(error)}") from None


def _through(gate: paramiko.Transport, address: tuple[str, int]) -> paramiko.Channel:
    import paramiko  # noqa: PLC0415

    try:
        return gate.open_channel("direct-tcpip", address, ("0.0.0.0", 0))  # noqa: S104 (the plugin names no source)
    except paramiko.ChannelException as error:
        reasons = {1: "administratively prohibited", 2: "connect failed", 3: "unknown channel type"}
        raise _DialError(f"ssh: rejected: {reasons.get(error.code, error.code)} ({error.text})") from None
    except (paramiko.SSHException, EOFError, OSError):
        raise _DialError("EOF") from None


class _Login:
    """Whom to trust and what to offer, read before the first attempt: what is wrong here is never retried."""

    def __init__(self, connection: Values) -> None:
        self.user: str = connection["user"]
        self._host_key = _parse_host_key(connection.get("hostKey"))
        self._methods: list[tuple[str, Callable[[paramiko.Transport], None]]] = []
        if connection.get("privateKey") is not None:
            key = _parse_private_key(connection["privateKey"], connection.get("privateKeyPassword"))
            self._methods.append(("publickey", lambda transport: self._offer([key], transport)))
        password = connection.get("password")
        if password is not None:
            self._methods.append(("password", lambda t: _nothing(t.auth_password(self.user, password, fallback=False))))
            self._methods.append(("keyboard-interactive", lambda t: self._answer(password, t)))
        agent = connection.get("agentSocketPath")
        if agent is None:
            agent = os.environ.get("SSH_AUTH_SOCK") or None
        if agent is not None:
            keys = _agent_keys(agent)
            self._methods.append(("publickey", lambda transport: self._offer(keys(), transport)))

    def shake_hands(self, stream: socket.socket | paramiko.Channel) -> paramiko.Transport:
        """Speak SSH over the stream, check the host, log in."""
        import paramiko  # noqa: PLC0415

        if isinstance(stream, socket.socket):
            stream.settimeout(None)
        try:
            transport: paramiko.Transport = _transport_class()(stream)
        except (OSError, EOFError, paramiko.SSHException):
            raise _DialError("ssh: handshake failed: EOF") from None
        try:
            self._shake_hands(transport)
        except (EOFError, OSError, paramiko.SSHException) as error:
            transport.close()
            raise _DialError(f"ssh: handshake failed: {_words(error, transport)}") from None
        except Failure as error:
            transport.close()
            raise _DialError(f"ssh: handshake failed: {error}") from None
        return transport

    def _shake_hands(self, transport: Any) -> None:
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = FOR_EVER
        if self._host_key is not None:
            kind, _ = self._host_key
            # A pinned key is offered as the only algorithm; of RSA that is the old ssh-rsa alone.
            transport.offered_host_keys = [kind]
            self._offer_only(kind, transport)
        transport.start_client()
        if self._host_key is not None and transport.get_remote_server_key().asbytes() != self._host_key[1]:
            raise Failure("ssh: host key mismatch")
        self._authenticate(transport)

    def _offer_only(self, kind: str, transport: Any) -> None:
        try:
            transport.get_security_options().key_types = [kind]
        except ValueError:
            # Paramiko lacks the algorithm: speak so far that the message can say what the host has.
            transport.start_client()
            raise Failure(_no_common_algorithm(transport)) from None

    def _authenticate(self, transport: paramiko.Transport) -> None:
        """Log in: first with nothing, then with each kind of proof once, in the order of the settings."""
        import paramiko  # noqa: PLC0415

        tried = ["none"]
        try:
            transport.auth_none(self.user)
        except paramiko.BadAuthenticationType as error:
            allowed = list(error.allowed_types)
        else:
            return
        while True:
            chosen = next(((name, use) for name, use in self._methods if name in allowed and name not in tried), None)
            if chosen is None:
                words = " ".join(tried)
                raise Failure(f"ssh: unable to authenticate, attempted methods [{words}], no supported methods remain")
            tried.append(chosen[0])
            try:
                chosen[1](transport)
            except paramiko.BadAuthenticationType as error:
                allowed = list(error.allowed_types)
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise EOFError from None
            if transport.is_authenticated():
                return

    def _offer(self, keys: list[Any], transport: paramiko.Transport) -> None:
        import paramiko  # noqa: PLC0415

        for key in keys:
            try:
                transport.auth_publickey(self.user, key)
            except paramiko.BadAuthenticationType:
                raise
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    raise
            if transport.is_authenticated():
                return

    def _answer(self, password: str, transport: paramiko.Transport) -> None:
        transport.auth_interactive(self.user, lambda _title, _text, questions: [password] * len(questions))


def _nothing(_: object) -> None:
    """Drop the answer of a call, so that it fits where none is wanted."""


def _no_common_algorithm(transport: Any) -> str:
    offered, wanted = " ".join(transport.offered_host_keys), " ".join(transport.host_keys_of_peer)
    return f"ssh: no common algorithm for host key; we offered: [{offered}], peer offered: [{wanted}]"


def _words(error: Exception, transport: Any) -> str:
    if "no acceptable host key" in str(error):
        return _no_common_algorithm(transport)
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return "EOF"


@functools.cache
def _transport_class() -> Any:
    """Make paramiko's transport tell what the official plugin's library tells: refusals, signals, offered keys."""
    import paramiko  # noqa: PLC0415
    from paramiko import common  # noqa: PLC0415

    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False

    def request(channel: Any, message: Any) -> None:
        copy = paramiko.Message(message.asbytes())
        copy.get_int()
        if copy.get_text() == "exit-signal":
            copy.get_boolean()
            channel.exit_signal = copy.get_text()
            copy.get_boolean()
            channel.exit_reason = copy.get_text()
        else:
            paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined] # noqa: SLF001

    def answered(channel: Any, *, accepted: bool) -> None:
        channel.answer = accepted
        channel.event_ready = True
        channel.event.set()

    class Transport(paramiko.Transport):
        offered_host_keys: tuple[str, ...] = ()
        host_keys_of_peer: tuple[str, ...] = ()
        _channel_handler_table = {  # noqa: RUF012
            **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined] # noqa: SLF001
            common.MSG_CHANNEL_REQUEST: request,
            common.MSG_CHANNEL_SUCCESS: lambda channel, _: answered(channel, accepted=True),
            common.MSG_CHANNEL_FAILURE: lambda channel, _: answered(channel, accepted=False),
        }

        def _parse_kex_init(self, message: Any) -> None:
            offer = self._really_parse_kex_init(paramiko.Message(message.asbytes()))  # type: ignore[attr-defined]
            self.host_keys_of_peer = tuple(offer["server_key_algo_list"])
            super()._parse_kex_init(message)  # type: ignore[misc]

    return Transport


def request(channel: Any, kind: str, *texts: str) -> bool:
    """Send a request on a channel and return whether the host granted it."""
    import paramiko  # noqa: PLC0415
    from paramiko.common import cMSG_CHANNEL_REQUEST  # noqa: PLC0415

    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(True)
    for text in texts:
        message.add_string(text)
    channel.answer = False
    channel.event.clear()
    channel.event_ready = False
    channel.transport._send_user_message(message)  # noqa: SLF001
    channel.event.wait()
    return bool(channel.answer)


def _parse_host_key(text: str | None) -> tuple[str, bytes] | None:
    """Read a line in the format of authorized_keys: kind, key, comment."""
    if text is None:
        return None
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or line.lstrip().startswith("#"):
            continue
        for first, second in itertools.pairwise(words):
            try:
                blob = base64.b64decode(second, validate=True)
            except (binascii.Error, ValueError):
                continue
            length = int.from_bytes(blob[:4], "big")
            if blob[4 : 4 + length].decode(errors="replace") == first:
                return first, blob
    raise Failure("failed to parse host key: ssh: no key found")


def _parse_private_key(text: str, password: str | None) -> paramiko.PKey:
    """Read a private key in any usual format; paramiko itself reads fewer, so cryptography reads and rewrites it."""
    import paramiko  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    data = text.encode()
    secret = None if password is None else password.encode()
    read: Callable[..., Any] = serialization.load_pem_private_key
    if "BEGIN OPENSSH PRIVATE KEY" in text:
        read = serialization.load_ssh_private_key
    elif "-----BEGIN" not in text:
        raise Failure("ssh: no key found")
    try:
        key = read(data, password=secret)
    except TypeError:
        if secret is None:
            raise Failure("ssh: this private key is passphrase protected") from None
        own_format = read is serialization.load_ssh_private_key
        raise Failure("ssh: key is not password protected" if own_format else "ssh: not an encrypted key") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        if secret is None and "assword" in str(error):
            raise Failure("ssh: this private key is passphrase protected") from None
        raise Failure("ssh: no key found" if secret is None else "x509: decryption password incorrect") from None
    rewritten = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    kinds: list[tuple[type, Any]] = [
        (rsa.RSAPrivateKey, paramiko.RSAKey),
        (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
        (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
    ]
    for kind, wrapper in kinds:
        if isinstance(key, kind):
            wrapped: paramiko.PKey = wrapper.from_private_key(io.StringIO(rewritten))
            return wrapped
    raise Failure(f"ssh: unsupported key type {quote(type(key).__name__)}")


def _agent_keys(path: str) -> Callable[[], list[Any]]:
    """Connect to the agent at once: one that is dead fails the step even when a key is given."""
    import paramiko.agent  # noqa: PLC0415

    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
    except OSError as error:
        raise Failure(f"dial unix {path}: connect: {system_error(error)}") from None
    lock = threading.Lock()

    def keys() -> list[Any]:
        with lock:
            agent = paramiko.agent.AgentSSH()
            agent._connect(connection)  # type: ignore[attr-defined] # noqa: SLF001
            return list(agent.get_keys())

    return keys
