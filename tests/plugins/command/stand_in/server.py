"""The plugin's side of the engine's provider protocol."""

from __future__ import annotations

import json
import secrets
import threading
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2, json_format  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from .calls import Call, Failure, Severity
from .commands import run
from .copying import copy
from .inputs import COPY_TO_REMOTE, LOCAL_COMMAND, REMOTE_COMMAND, Structure, check, decode
from .serving import serve, struct, values
from .values import (
    Values,
    as_secret,
    as_unknown,
    contains_secrets,
    differences,
    is_unknown,
    plain,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "1.2.1"
FRAMEWORK_VERSION = "1.2.0"  # as the framework of that version calls itself in the state
RESOURCES: dict[str, Structure] = {
    "command:remote:Command": REMOTE_COMMAND,
    "command:remote:CopyToRemote": COPY_TO_REMOTE,
    "command:local:Command": LOCAL_COMMAND,
}
_NO_OUTPUTS = {"stdout": "", "stderr": ""}
_OUTPUTS = ("stdout", "stderr", "assets", "archive")


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine."""

    def __init__(self, engine: str | None) -> None:
        """Talk to the engine at this address, if there is one."""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine)) if engine else None
        self._cancelled = threading.Event()

    # -- the plugin itself

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell the version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Talk to the engine at another address."""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(request.address))
        return empty_pb2.Empty()

    def GetSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Name the resources and their inputs."""
        resources: dict[str, Values] = {
            kind: {"inputProperties": {name: {} for name in structure.fields}} for kind, structure in RESOURCES.items()
        }
        schema = {"name": "command", "version": VERSION, "resources": resources}
        return provider_pb2.GetSchemaResponse(schema=json.dumps(schema))

    def CheckConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Accept the provider's own configuration, which is empty."""
        inputs = json_format.MessageToDict(request.news)
        inputs["__pulumi-go-provider-version"] = FRAMEWORK_VERSION
        return provider_pb2.CheckResponse(inputs=struct(inputs))

    def DiffConfig(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """See no change in the provider's own configuration."""
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell the engine what it may send."""
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True, acceptOutputs=True
        )

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Give up what can be given up: waiting for a host, and local commands."""
        self._cancelled.set()
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Refuse: the project uses no functions."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{request.tok}: the stand-in for the command plugin lacks it")

    # -- resources

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Complete the program's inputs, or say what is wrong with them."""
        inputs, failures = check(_structure(request.urn, context), values(request.news))
        return provider_pb2.CheckResponse(
            inputs=struct(inputs),
            failures=[provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in failures],
        )

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compare old and new inputs: every change updates, one of `triggers` as a whole replaces.

        A change inside of `triggers` is an update here: it is the SDK that asks the engine to replace then.
        """
        structure = _structure(request.urn, context)
        state, news = values(request.olds), values(request.news)
        if request.HasField("old_inputs"):
            olds = values(request.old_inputs)
        else:
            olds = {name: value for name, value in state.items() if name in structure.fields}
        for name in request.ignoreChanges:
            if name in state:
                news[name] = state[name]
        news = {name: value for name, value in news.items() if name != "version" and not name.startswith("__")}
        kinds = differences(olds, news)
        changed = sorted({_first(path) for path in kinds})
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if kinds else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=["triggers"] if "triggers" in kinds else [],
            detailedDiff={
                path: provider_pb2.PropertyDiff(
                    kind=provider_pb2.PropertyDiff.Kind.Value(f"{kind}_REPLACE" if path == "triggers" else kind)
                )
                for path, kind in kinds.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run `create`, or copy; in a preview say what is known already."""
        structure = _structure(request.urn, context)
        inputs = values(request.properties)
        decoded = _decoded(structure, inputs, context)
        copies = structure is COPY_TO_REMOTE
        identity = "" if copies and request.preview else _name(request.urn, copies=copies) + secrets.token_hex(4)
        outputs: Values = {} if copies else dict(_NO_OUTPUTS)
        if not request.preview:
            outputs = self._attempt(request, context, lambda call: _create(call, copies, plain(decoded), outputs))
        state = _marked({**decoded, **outputs}, inputs, {}, creating=True, preview=request.preview)
        return provider_pb2.CreateResponse(id=identity, properties=struct(state))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run `update`, or `create` if there is none, or copy what changed."""
        structure = _structure(request.urn, context)
        state, inputs = values(request.olds), values(request.news)
        for name in request.ignoreChanges:
            if name in state:
                inputs[name] = state[name]
        decoded = _decoded(structure, inputs, context)
        copies = structure is COPY_TO_REMOTE
        old = plain(state)
        outputs = {} if copies else {**_NO_OUTPUTS, **{name: old[name] for name in _OUTPUTS if name in old}}
        if not request.preview:
            outputs = self._attempt(request, context, lambda call: _update(call, copies, plain(decoded), old, outputs))
        state = _marked({**decoded, **outputs}, inputs, state, creating=False, preview=request.preview)
        return provider_pb2.UpdateResponse(properties=struct(state))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run `delete`, if there is one; what was copied stays."""
        structure = _structure(request.urn, context)
        state = plain(values(request.properties))
        if structure is not COPY_TO_REMOTE and state.get("delete") is not None:
            previous = {name: state[name] for name in _OUTPUTS if name in state}
            self._attempt(request, context, lambda call: run(call, state["delete"], state, previous))
        return empty_pb2.Empty()

    def Read(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Return the state as it is: nothing is asked of the host."""
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    def _attempt(self, request: Any, context: Any, action: Callable[[Call], Values | None]) -> Values:
        def send(severity: Severity, text: str, passing: bool) -> None:  # noqa: FBT001
            if self._engine is not None:
                self._engine.Log(
                    engine_pb2.LogRequest(
                        severity=_severity(severity), message=text, urn=request.urn, ephemeral=passing
                    )
                )

        try:
            return action(Call(send, self._cancelled, timeout=request.timeout)) or {}
        except Failure as failure:
            context.abort(grpc.StatusCode.UNKNOWN, str(failure))
            raise


def _create(call: Call, copies: bool, inputs: Values, outputs: Values) -> Values:  # noqa: FBT001
    if copies:
        copy(call, inputs)
        return {}
    return outputs if inputs.get("create") is None else run(call, inputs["create"], inputs, outputs)


def _update(call: Call, copies: bool, inputs: Values, old: Values, outputs: Values) -> Values:  # noqa: FBT001
    if copies:
        hashes = [(values.get("source") or {}).get("hash") for values in (inputs, old)]
        if hashes[0] != hashes[1] or inputs["remotePath"] != old.get("remotePath"):
            copy(call, inputs)
        return {}
    command = inputs.get("update")
    if command is None:
        command = inputs.get("create")
    return outputs if command is None else run(call, command, inputs, outputs)


def _marked(state: Values, inputs: Values, old: Values, *, creating: bool, preview: bool) -> Values:
    """Mark outputs as the framework does.

    In a preview, what is no mirror of an input is unknown when the resource is new, or when an input that the state
    has is unknown or changed. What has the name of an input is secret when anything in that input is.
    """
    touched = creating or any(
        is_unknown(inputs.get(name)) or (name in old and not same(inputs.get(name), old[name]))
        for name in (*inputs, *(name for name in old if name not in _OUTPUTS))
    )
    marked: Values = {}
    for name, value in state.items():
        if name in inputs and same(inputs[name], value) and not _opaque(value):
            marked[name] = value
            continue
        result = as_unknown(value) if preview and touched and not is_unknown(value) else value
        marked[name] = as_secret(result) if contains_secrets(inputs.get(name)) else result
    return marked


def _opaque(value: Any) -> bool:
    """Tell whether the framework fails to see that the value mirrors an input: it does with assets."""
    bare = plain(value)
    return isinstance(bare, dict) and "hash" in bare and "path" in bare


def _structure(urn: str, context: Any) -> Structure:
    kind = urn.split("::")[2].rpartition("$")[2]
    if kind not in RESOURCES:
        context.abort(grpc.StatusCode.NOT_FOUND, f"{kind}: the stand-in for the command plugin lacks it")
    return RESOURCES[kind]


def _decoded(structure: Structure, inputs: Values, context: Any) -> Values:
    failures: list[tuple[str, str]] = []
    decoded = decode(structure, inputs, failures)
    if failures:
        reasons = "".join(f"\n\t{name}: {reason}" for name, reason in failures)
        context.abort(grpc.StatusCode.UNKNOWN, f"invalid inputs: {len(failures)} failures decoding:{reasons}")
    return decoded


def _name(urn: str, *, copies: bool) -> str:
    return "" if copies else urn.split("::", 3)[3]


def _first(path: str) -> str:
    return path.split("[", 1)[0].split(".", 1)[0]


def _severity(severity: Severity) -> Any:
    return severity.value


def main(arguments: list[str]) -> None:
    """Serve the engine whose address is among the arguments, until it ends."""
    serve(arguments, "the stand-in for the command plugin", Provider)
