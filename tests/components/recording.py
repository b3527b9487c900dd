"""Runs a part of the program against Pulumi's mocks and keeps every registration, as the engine would see it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime import mocks, resource, settings, stack
from pulumi.runtime.proto import source_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

# Where in a program a resource was made is nobody's question here, and to find it takes a fifth of a test's time.
resource._get_stack_trace = source_pb2.StackTrace  # noqa: SLF001 - there is no other switch
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
KEYS = {
    "host_private": "host-private-canary",
    "host_public": "ssh-ed25519 AAAAhost",
    "login_private": "login-private-canary",
    "login_public": "ssh-ed25519 AAAAlogin",
}
SWITCHED = {"kept": [], "checks": {"health": "ok: 200"}}
PRINTED = {
    "keys": json.dumps(KEYS),
    "container": json.dumps({"id": "0a1b2c"}),
    # One verb of three, where there is one host; the only one of its step, where there are several.
    "release": json.dumps({"switch": SWITCHED}),
    "switch": json.dumps(SWITCHED),
}


@dataclass(frozen=True)
class Registered:
    """One resource as it was registered.

    Attributes:
        inputs: values, with secrets taken out of their marks.
        secrets: names of the inputs that are secret as a whole.
        request: what else the engine was told.
    """

    kind: str
    name: str
    inputs: dict[str, Any]
    secrets: set[str]
    request: Any
    after: set[str]


@dataclass
class Recorder(mocks.Mocks):
    """Answers like a server on which everything works, and keeps what was asked."""

    found: dict[str, Registered] = field(default_factory=dict)
    every: list[Registered] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Return what a step prints."""
        return f"{args.name}-id", {**args.inputs, "stdout": PRINTED.get(args.name.split("-")[-1], "{}"), "stderr": ""}

    def call(self, args: mocks.MockCallArgs) -> Any:
        """Refuse: the program asks nobody."""
        raise AssertionError(args.token)

    def add(self, request: Any) -> None:
        """Keep a registration."""
        raw = plain(request.object)
        secrets = {name for name, value in raw.items() if is_secret(value)}
        after = {urn.rpartition("::")[2] for urn in request.dependencies}
        one = Registered(request.type, request.name, opened(raw), secrets, request, after)
        self.every.append(one)
        if request.custom and any(other.kind == one.kind and other.name == one.name for other in self.every[:-1]):
            self.twice.append(f"{one.kind} {one.name}")
        self.found[f"{request.type} {request.name}" if not request.custom else request.name] = one


class _Monitor(mocks.MockMonitor):
    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - gRPC's name
        if request.type != "pulumi:pulumi:Stack":
            self.mocks.add(request)  # type: ignore[attr-defined]
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        # As the engine does, which the mocks leave out.
        for name in (one for one in request.additionalSecretOutputs if plain(response.object).get(one) is not None):
            response.object.update({name: {SIGNATURE: SECRET, "value": plain(response.object[name])}})
        return response


def plain(value: Any) -> Any:
    """Return a value of the protocol as Python's own types."""
    kind = type(value).__name__
    if kind == "Struct":
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if kind == "ListValue" else value


def is_secret(value: Any) -> bool:
    """Tell whether a value of the protocol is marked as secret."""
    return isinstance(value, dict) and value.get(SIGNATURE) == SECRET


def opened(value: Any) -> Any:
    """Return a value of the protocol without marks of secrets."""
    if is_secret(value):
        return opened(value["value"])
    if isinstance(value, dict):
        return {name: opened(one) for name, one in value.items()}
    return [opened(one) for one in value] if isinstance(value, list) else value


def record(
    program: Callable[[], Any],
    *,
    preview: bool = False,
    stack_name: str = "prod",
    recorder: Recorder | None = None,
) -> tuple[Recorder, Any]:
    """Run a program to its end against fresh mocks; return what it registered, and what it returned, awaited."""
    recorder = recorder or Recorder()
    returned: list[Any] = []
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    monitor = _Monitor(recorder)
    pulumi.runtime.set_mocks(recorder, project="flaskhost", stack=stack_name, preview=preview, monitor=monitor)
    settings.SETTINGS.rpc_manager.clear()
    settings.SETTINGS.outputs.clear()

    async def run() -> None:
        returned.append(await pulumi.Output.from_input(program()).future())

    try:
        loop.run_until_complete(stack.run_pulumi_func(run))
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    assert recorder.twice == [], "two resources with one name"
    return recorder, returned[0] if returned else None
