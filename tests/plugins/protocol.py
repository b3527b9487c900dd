"""Speaks the engine's provider protocol to a plugin, so that a test asks for one call at a time.

The values are the wire's own: a secret is a dictionary with the signature of secrets, an unknown is the
sentinel text. Nothing of the stand-in is used here, so its mistakes cannot hide behind themselves.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2, json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

Json = dict[str, Any]

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

REMOTE_COMMAND = "command:remote:Command"
LOCAL_COMMAND = "command:local:Command"
COPY_TO_REMOTE = "command:remote:CopyToRemote"


def secret(value: Any) -> Json:
    """Return the value as the wire marks secrets."""
    return {SIGNATURE: SECRET, "value": value}


def is_secret(value: Any) -> bool:
    """Tell whether the wire says secret, of a known value or of an unknown one."""
    if not isinstance(value, dict):
        return False
    return value.get(SIGNATURE) == SECRET or (value.get(SIGNATURE) == OUTPUT and value.get("secret") is True)


def is_unknown(value: Any) -> bool:
    """Tell whether the wire says that the value will be known after the update."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == OUTPUT:
            return "value" not in value or is_unknown(value["value"])
        return value.get(SIGNATURE) == SECRET and is_unknown(value["value"])
    return bool(value == UNKNOWN)


def bare(value: Any) -> Any:
    """Return the value without its marks of secrecy, at every depth."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) in (SECRET, OUTPUT):
            return bare(value.get("value"))
        return {key: bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value


def still_runs(action: Callable[[], object], seconds: float) -> bool:
    """Tell whether the action, which is started in a thread, has neither ended nor failed after so many seconds."""
    ended = threading.Event()

    def act() -> None:
        try:
            action()
        except PluginError:
            pass
        finally:
            ended.set()

    threading.Thread(target=act, daemon=True).start()
    return not ended.wait(seconds)


@dataclass(frozen=True)
class LogLine:
    """One message that the plugin sent to the engine."""

    severity: str
    text: str
    urn: str
    passing: bool


@dataclass(frozen=True)
class Checked:
    """What the plugin makes of the program's inputs."""

    inputs: Json
    failures: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """What the plugin says about old and new inputs."""

    changes: bool
    replaces: list[str]
    changed: list[str]
    detail: dict[str, str]
    delete_before_replace: bool


@dataclass(frozen=True)
class Created:
    """A resource as the engine would keep it."""

    id: str
    state: Json


class PluginError(Exception):
    """The plugin refused a call; the text is what the engine would print."""


@dataclass
class _Engine(engine_pb2_grpc.EngineServicer):
    lines: list[LogLine] = field(default_factory=list)

    def Log(self, request: Any, _context: Any) -> Any:  # noqa: N802
        severity = str(engine_pb2.LogSeverity.Name(request.severity)).lower()
        self.lines.append(LogLine(severity, request.message, request.urn, request.ephemeral))
        return empty_pb2.Empty()


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    struct: struct_pb2.Struct = json_format.ParseDict(values, struct_pb2.Struct())
    return struct


def _json(struct: struct_pb2.Struct) -> Json:
    values: Json = json_format.MessageToDict(struct)
    return values


class Plugin:
    """A plugin process and a connection to it; use it as a context manager."""

    def __init__(self, path: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start the plugin at the path and configure it as the engine does."""
        self._path = path
        self._environment = dict(os.environ if environment is None else environment)
        self._engine = _Engine()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        engine_pb2_grpc.add_EngineServicer_to_server(self._engine, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.engine_address = f"127.0.0.1:{port}"
        started = time.monotonic()
        self.process = subprocess.Popen(
            [str(path), f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert self.process.stdout
        assert self.process.stderr
        self.greeting = self.process.stdout.readline()
        self.seconds_to_start = time.monotonic() - started
        if not self.greeting.strip().isdigit():
            raise PluginError(f"{path} printed no port: {self.greeting!r} {self.process.stderr.read()}")
        self.errors: list[str] = []
        threading.Thread(target=self._collect, daemon=True).start()
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{self.greeting.strip()}",
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                # The text of an error travels in the metadata; the engine takes 16 MiB of it.
                ("grpc.max_metadata_size", 16 * 1024 * 1024),
                ("grpc.absolute_max_metadata_size", 16 * 1024 * 1024),
            ],
        )
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self.abilities = self._call(
            "Configure",
            provider_pb2.ConfigureRequest(
                acceptSecrets=True, acceptResources=True, sends_old_inputs=True, sends_old_inputs_to_delete=True
            ),
        )

    def _collect(self) -> None:
        assert self.process.stderr
        self.errors.extend(self.process.stderr)

    def __enter__(self) -> Plugin:  # noqa: PYI034 (Python 3.10 has no Self)
        """Return the plugin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process and the servers of this side."""
        self._channel.close()
        self.process.kill()
        self.process.wait()
        self._server.stop(None)

    @property
    def log(self) -> list[LogLine]:
        """Messages that reached the engine so far."""
        return self._engine.lines

    def _call(self, name: str, request: Any) -> Any:
        try:
            return getattr(self._stub, name)(request, timeout=60)
        except grpc.RpcError as error:
            raise PluginError(error.details()) from None

    def info(self) -> str:
        """Return the plugin's version."""
        return str(self._call("GetPluginInfo", empty_pb2.Empty()).version)

    def schema(self) -> Any:
        """Return the text of the package's schema."""
        return self._call("GetSchema", provider_pb2.GetSchemaRequest()).schema

    def check(self, kind: str, inputs: Json, name: str = "step") -> Checked:
        """Ask what the plugin makes of the inputs."""
        answer = self._call("Check", provider_pb2.CheckRequest(urn=urn(kind, name), news=_struct(inputs)))
        return Checked(_json(answer.inputs), {failure.property: failure.reason for failure in answer.failures})

    def check_config(self, inputs: Json) -> Checked:
        """Ask what the plugin makes of its own configuration."""
        answer = self._call(
            "CheckConfig", provider_pb2.CheckRequest(urn=urn("pulumi:providers:x"), news=_struct(inputs))
        )
        return Checked(_json(answer.inputs), {failure.property: failure.reason for failure in answer.failures})

    def diff(
        self, kind: str, old: Json, new: Json, *, state: Json | None = None, ignored: Sequence[str] = ()
    ) -> Difference:
        """Ask what changed between two sets of checked inputs, but for properties that are ignored."""
        answer = self._call(
            "Diff",
            provider_pb2.DiffRequest(
                id="step1",
                urn=urn(kind),
                olds=_struct(state if state is not None else {**old, "stdout": "", "stderr": ""}),
                news=_struct(new),
                old_inputs=_struct(old),
                ignoreChanges=ignored,
            ),
        )
        return Difference(
            answer.changes == provider_pb2.DiffResponse.DIFF_SOME,
            sorted(answer.replaces),
            sorted(answer.diffs),
            {
                path: provider_pb2.PropertyDiff.Kind.Name(difference.kind)
                for path, difference in answer.detailedDiff.items()
            },
            answer.deleteBeforeReplace,
        )

    def create(
        self, kind: str, inputs: Json, *, preview: bool = False, name: str = "step", timeout: float = 0
    ) -> Created:
        """Create a resource from checked inputs."""
        answer = self._call(
            "Create",
            provider_pb2.CreateRequest(
                urn=urn(kind, name), properties=_struct(inputs), preview=preview, timeout=timeout
            ),
        )
        return Created(answer.id, _json(answer.properties))

    def update(
        self, kind: str, state: Json, old: Json, new: Json, *, preview: bool = False, identity: str = "step1"
    ) -> Json:
        """Update a resource to the new checked inputs; return its new state."""
        answer = self._call(
            "Update",
            provider_pb2.UpdateRequest(
                id=identity,
                urn=urn(kind),
                olds=_struct(state),
                news=_struct(new),
                old_inputs=_struct(old),
                preview=preview,
            ),
        )
        return _json(answer.properties)

    def delete(self, kind: str, state: Json, *, identity: str = "step1") -> None:
        """Delete a resource."""
        self._call("Delete", provider_pb2.DeleteRequest(id=identity, urn=urn(kind), properties=_struct(state)))

    def read(self, kind: str, state: Json, inputs: Json, *, identity: str = "step1") -> Created:
        """Ask for the resource as it is now."""
        answer = self._call(
            "Read",
            provider_pb2.ReadRequest(id=identity, urn=urn(kind), properties=_struct(state), inputs=_struct(inputs)),
        )
        return Created(answer.id, _json(answer.properties))

    def invoke(self, function: str, arguments: Json) -> Json:
        """Ask a function; what is wrong with the arguments is an error."""
        answer = self._call("Invoke", provider_pb2.InvokeRequest(tok=function, args=_struct(arguments)))
        if answer.failures:
            raise PluginError("; ".join(f"{failure.property}: {failure.reason}" for failure in answer.failures))
        return _json(getattr(answer, "return"))

    def cancel(self) -> None:
        """Ask the plugin to give up what it is doing."""
        self._call("Cancel", empty_pb2.Empty())

    def attach(self, address: str) -> None:
        """Hand the plugin another engine."""
        self._call("Attach", plugin_pb2.PluginAttach(address=address))


def urn(kind: str, name: str = "step") -> str:
    """Return the address of a resource of that kind in a made-up stack."""
    return f"urn:pulumi:test::contract::{kind}::{name}"
