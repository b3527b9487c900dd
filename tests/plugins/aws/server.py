"""The plugin's side of the engine's provider protocol."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]

from tests.plugins.aws import VERSION, changes, checks, declarations, functions, rules
from tests.plugins.aws.account import Account, Refused
from tests.plugins.command.stand_in.serving import serve, struct, values

# After the stand-in for the command plugin, which imports the protocol without the SDK around it.
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # isort: skip
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc  # isort: skip

if TYPE_CHECKING:
    from tests.plugins.command.stand_in.values import Values

PROVIDER = "pulumi:providers:aws"


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers the engine."""

    def __init__(self, _engine: str | None) -> None:
        """Work in the account that the environment names."""
        self._account = Account.open()
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or self._account.region
        self._tags: dict[str, str] = {}

    # -- the plugin itself

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell the version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Need no engine: nothing is logged."""
        return empty_pb2.Empty()

    def GetSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Name the package; the SDK is its schema here."""
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "aws", "version": VERSION}))

    def CheckConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Check the provider's own configuration; nested values come as JSON."""
        inputs = values(request.news)
        declaration = _declaration(PROVIDER, context)
        failures = checks.check(PROVIDER, declaration, _from_json(changes.bare(inputs), declaration))
        return _checked(inputs, [(name, why) for name, why in failures if name != "version"])

    def DiffConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """See whether the provider's own configuration changed; another region is another provider."""
        olds, news = changes.given(values(request.olds)), changes.given(values(request.news))
        changed = sorted(name for name in olds.keys() | news.keys() if olds.get(name) != news.get(name))
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=[name for name in changed if name == "region"],
        )

    def Configure(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Take region and tags; tell the engine what it may send."""
        given = changes.bare_state(values(request.args))
        given |= {name.rpartition(":")[2]: value for name, value in request.variables.items()}
        self._region = str(given.get("region") or self._region)
        tags = given.get("defaultTags")
        tags = json.loads(tags) if isinstance(tags, str) else tags
        self._tags = dict((tags or {}).get("tags") or {})
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Give up nothing: each call ends by itself."""
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer a function."""
        arguments = values(request.args)
        declaration = _declaration(request.tok, context)
        failures = checks.check(request.tok, declaration, arguments, kind="function")
        if failures:
            return provider_pb2.InvokeResponse(failures=_failures(failures))
        try:
            result = functions.call(self._account, request.tok, changes.bare_state(arguments), self._region)
        except Refused as refusal:
            _fail(context, f"invoking {request.tok}: {refusal}")
            raise
        return provider_pb2.InvokeResponse(**{"return": struct(result)})

    # -- resources

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Say what is wrong with the program's inputs, and make up a name where there is none."""
        token = _token(request.urn)
        declaration = _declaration(token, context)
        inputs = values(request.news)
        failures = checks.check(token, declaration, inputs)
        named = checks.named(token, declaration, inputs, values(request.olds), request.urn, request.randomSeed)
        return _checked(named, failures)

    def Diff(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Compare old and new inputs: in place, or a replacement where the provider cannot."""
        token = _token(request.urn)
        declaration = _declaration(token, context)
        state, news = values(request.olds), values(request.news)
        olds = values(request.old_inputs) if request.HasField("old_inputs") else _inputs_of(declaration, state)
        for name in request.ignoreChanges:
            known = state if (token, name) in rules.FROM_THE_STATE else olds
            if name in known:
                news[name] = known[name]
            else:
                news.pop(name, None)
        tags = changes.all_tags(declaration, news, self._tags)
        compared = news if not tags and not state.get("tagsAll") else {**news, "tagsAll": tags}
        found = changes.difference(token, declaration, olds, compared, state)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found.kinds else provider_pb2.DiffResponse.DIFF_NONE,
            diffs=sorted({path.split("[", 1)[0].split(".", 1)[0] for path in found.kinds}),
            replaces=sorted({path.split("[", 1)[0].split(".", 1)[0] for path in found.replaces}),
            deleteBeforeReplace=found.delete_first,
            detailedDiff={
                path: provider_pb2.PropertyDiff(
                    kind=provider_pb2.PropertyDiff.Kind.Value(f"{kind}_REPLACE" if path in found.replaces else kind)
                )
                for path, kind in found.kinds.items()
            },
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Make a resource in the account; in a preview say what is known already."""
        token = _token(request.urn)
        declaration = _declaration(token, context)
        inputs = values(request.properties)
        if request.preview:
            outputs = changes.previewed(declaration, changes.given(inputs), None, self._known(declaration, inputs))
            return provider_pb2.CreateResponse(id="", properties=struct(changes.marked(outputs, inputs)))
        order = self._order(token, declaration, request.urn, inputs)
        try:
            identity, outputs = _resources().create(order)
        except Refused as refusal:
            _fail(context, str(refusal))
            raise
        return provider_pb2.CreateResponse(id=identity, properties=struct(changes.marked(outputs, inputs)))

    def Update(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Change a resource of the account; in a preview what is computed stays known."""
        token = _token(request.urn)
        declaration = _declaration(token, context)
        state, inputs = values(request.olds), values(request.news)
        for name in request.ignoreChanges:
            if name in state:
                inputs[name] = state[name]
        if request.preview:
            outputs = changes.previewed(declaration, changes.given(inputs), state, self._known(declaration, inputs))
            return provider_pb2.UpdateResponse(properties=struct(changes.marked(outputs, inputs)))
        order = self._order(token, declaration, request.urn, inputs)
        try:
            outputs = _resources().update(order, request.id, changes.bare_state(state))
        except Refused as refusal:
            _fail(context, str(refusal))
            raise
        return provider_pb2.UpdateResponse(properties=struct(changes.marked(outputs, inputs)))

    def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Remove a resource from the account."""
        token = _token(request.urn)
        state = changes.bare_state(values(request.properties))
        order = self._order(token, _declaration(token, context), request.urn, state)
        try:
            _resources().delete(order, request.id, state)
        except Refused as refusal:
            _fail(context, str(refusal))
            raise
        return empty_pb2.Empty()

    def Read(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Return the resource as it is in the account; nothing when it is gone."""
        if self._account.folder is None:
            return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
        token = _token(request.urn)
        declaration = _declaration(token, context)
        entry = self._account.find(token, request.id)
        if entry is None:
            return provider_pb2.ReadResponse()
        inputs = values(request.inputs) or _inputs_of(declaration, entry["inputs"])
        state = changes.marked(entry["state"], values(request.properties))
        return provider_pb2.ReadResponse(id=request.id, properties=struct(state), inputs=struct(inputs))

    def _known(self, declaration: Any, inputs: Values) -> Values:
        """Return what is known before anything is done."""
        known: Values = {"region": self._region} if "region" in declaration["outputs"] else {}
        tags = changes.all_tags(declaration, inputs, self._tags)
        return known if tags is None else {**known, "tagsAll": tags}

    def _order(self, token: str, declaration: Any, urn: str, inputs: Values) -> Any:
        plain = changes.bare_state(inputs)
        return _resources().Order(
            account=self._account,
            kind=token,
            declaration=declaration,
            urn=urn,
            inputs=plain,
            region=str(plain.get("region") or self._region),
            tags=changes.all_tags(declaration, plain, self._tags),
        )


def _resources() -> Any:
    # A preview makes nothing, so it does not wait for what makes things.
    from tests.plugins.aws import resources  # noqa: PLC0415

    return resources


def _token(urn: str) -> str:
    return str(urn.split("::")[2].rpartition("$")[2])


def _declaration(token: str, context: Any) -> Any:
    try:
        return declarations.of(token)
    except declarations.Missing as missing:
        context.abort(grpc.StatusCode.NOT_FOUND, str(missing))
        raise


def _fail(context: Any, text: str) -> None:
    context.abort(grpc.StatusCode.UNKNOWN, text)


def _failures(failures: checks.Failures) -> list[Any]:
    return [provider_pb2.CheckFailure(property=name, reason=f"{name}: {reason}") for name, reason in failures]


def _checked(inputs: Values, failures: checks.Failures) -> Any:
    return provider_pb2.CheckResponse(inputs=struct(inputs), failures=_failures(failures))


def _inputs_of(declaration: Any, state: Values) -> Values:
    return {name: value for name, value in state.items() if name in declaration["inputs"]}


def _from_json(inputs: Values, declaration: Any) -> Values:
    """Return the provider's configuration with what came as JSON read; a string stays one."""
    read = {}
    for name, value in inputs.items():
        kind = declaration["inputs"].get(name, {}).get("type")
        read[name] = (
            json.loads(value) if isinstance(value, str) and kind not in (None, "str") and "enum" not in kind else value
        )
    return read


def main(arguments: list[str]) -> None:
    """Serve the engine whose address is among the arguments, until it ends."""
    serve(arguments, "the stand-in for the aws plugin", Provider)
