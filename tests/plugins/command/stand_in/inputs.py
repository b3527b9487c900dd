"""What the three resources accept: types, defaults, what is secret, what replaces; and the check of inputs.

The rules are those that the official plugin declares for its inputs. The messages name its types, because that is
what a user reads there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .values import Marked, Unknown, Value, Values, as_secret, is_archive, is_asset, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

STRING = "string"
BOOL = "bool"
NUMBER = "float64"
WHOLE = "int"
STRINGS = "[]string"
ANYTHINGS = "[]interface {}"
MAP_OF_STRINGS = "map[string]string"
SOURCE = "types.AssetOrArchive"

_ZEROES: dict[str, Value] = {
    STRING: "",
    BOOL: False,
    NUMBER: 0.0,
    WHOLE: 0.0,
    STRINGS: [],
    ANYTHINGS: [],
    MAP_OF_STRINGS: {},
    SOURCE: {},
}


@dataclass(frozen=True)
class Field:
    """One input: its type, or the structure that it is."""

    type: str | Structure
    required: bool = False
    default: Value = None
    secret: bool = False


@dataclass(frozen=True)
class Structure:
    """A named group of fields."""

    package: str
    name: str
    fields: Mapping[str, Field] = field(hash=False)

    @property
    def title(self) -> str:
        """Name the structure as messages do."""
        return f"{self.package}.{self.name}"


_BASE = {
    "user": Field(STRING, default="root"),
    "password": Field(STRING, secret=True),
    "host": Field(STRING, required=True),
    "port": Field(NUMBER, default=22.0),
    "privateKey": Field(STRING, secret=True),
    "privateKeyPassword": Field(STRING, secret=True),
    "agentSocketPath": Field(STRING),
    "dialErrorLimit": Field(WHOLE, default=10.0),
    "perDialTimeout": Field(WHOLE, default=15.0),  # seconds
    "hostKey": Field(STRING),
}
_PROXY = Structure("remote", "ProxyConnection", _BASE)
_CONNECTION = Field(
    Structure("remote", "Connection", {**_BASE, "proxy": Field(_PROXY)}),
    required=True,
    secret=True,
)
_LIFE = {
    "triggers": Field(ANYTHINGS),
    "create": Field(STRING),
    "update": Field(STRING),
    "delete": Field(STRING),
    "stdin": Field(STRING),
    "logging": Field(STRING),
    "environment": Field(MAP_OF_STRINGS),
    "addPreviousOutputInEnv": Field(BOOL),
}
REMOTE_COMMAND = Structure("remote", "CommandInputs", {**_LIFE, "connection": _CONNECTION})
LOCAL_COMMAND = Structure(
    "local",
    "CommandInputs",
    {
        **_LIFE,
        "interpreter": Field(STRINGS),
        "dir": Field(STRING),
        "assetPaths": Field(STRINGS),
        "archivePaths": Field(STRINGS),
    },
)
COPY_TO_REMOTE = Structure(
    "remote",
    "CopyToRemoteInputs",
    {
        "connection": _CONNECTION,
        "triggers": Field(ANYTHINGS),
        "source": Field(SOURCE, required=True),
        "remotePath": Field(STRING, required=True),
    },
)

Failures = list[tuple[str, str]]  # property and reason


def check(structure: Structure, news: Values) -> tuple[Values, Failures]:
    """Return the inputs with defaults and secrets, or as they came (but secret) and what is wrong with them."""
    failures: Failures = []
    decoded = decode(structure, news, failures)
    if failures and structure is not COPY_TO_REMOTE:
        return secretly(structure, news), failures
    if not failures:
        decoded = _with_defaults(structure, decoded)
    if structure is COPY_TO_REMOTE:
        failures += _failures_of_source(plain(decoded.get("source")))
        decoded = {"source": {}, "remotePath": "", **decoded} if failures else decoded
    return secretly(structure, decoded), failures


def decode(structure: Structure, values: Values, failures: Failures) -> Values:
    """Bring the values into the types of the structure; what does not fit goes to the failures."""
    decoded: Values = {}
    for name, declared in structure.fields.items():
        value = values.get(name)
        if value is None:
            if declared.required:
                failures.append((name, f"Missing required field '{name}' on '{structure.title}'"))
            continue
        known = _decode_marked(structure, name, declared, value, failures)
        if known is not None:
            decoded[name] = known
    for name in values:
        if name not in structure.fields:
            failures.append((name, f"Unrecognized field '{name}' on '{structure.title}'"))
    return decoded


def _decode_marked(structure: Structure, name: str, declared: Field, value: Value, failures: Failures) -> Value:
    if not isinstance(value, Marked):
        return _decode_known(structure, name, declared, value, failures)
    if value.known:
        return as_secret(_decode_known(structure, name, declared, value.value, failures))
    if value.secret:
        # The official plugin's framework forgets that a secret is unknown, and keeps the type's zero.
        if isinstance(declared.type, Structure):
            return as_secret({field: "" for field, inner in declared.type.fields.items() if inner.required})
        return as_secret(_ZEROES[declared.type])
    # An unknown list of texts vanishes there.
    return None if declared.type == STRINGS else Unknown


def _decode_known(structure: Structure, name: str, declared: Field, value: Value, failures: Failures) -> Value:
    wanted = declared.type
    if isinstance(wanted, Structure):
        return _decode_structure(structure, name, wanted, value, failures)
    if wanted == SOURCE:
        return value if is_asset(value) or is_archive(value) else {}
    got = _go_type(value)
    if wanted == WHOLE and got == NUMBER:
        return float(int(value))
    if wanted == MAP_OF_STRINGS and isinstance(value, dict):
        _require_strings(structure, {f"{name}[{key}] value": item for key, item in value.items()}, failures)
    elif wanted == STRINGS and isinstance(value, list):
        _require_strings(structure, {f"{name}[{index}]": item for index, item in enumerate(value)}, failures)
    elif isinstance(value, dict):
        reason = f"Cannot decode Object{{}} to type {wanted}; it isn't a struct, and no custom decoder exists"
        failures.append((name, f"An error occurred decoding '{structure.name}.{name}': {reason}"))
    elif got != wanted:
        failures.append(_wrong(structure, name, wanted, got))
    return value


def _require_strings(structure: Structure, items: Values, failures: Failures) -> None:
    for name, item in items.items():
        if not isinstance(item, str | Marked):
            failures.append(_wrong(structure, name, STRING, _go_type(item)))


def _decode_structure(outer: Structure, name: str, wanted: Structure, value: Value, failures: Failures) -> Value:
    if not isinstance(value, dict):
        failures.append(_wrong(outer, name, wanted.title, _go_type(value)))
        return value
    inner: Failures = []
    decoded = decode(wanted, value, inner)
    if inner:
        reasons = "".join(f"\n\t{field}: {reason}" for field, reason in inner)
        text = f"An error occurred decoding '{outer.name}.{name}': {len(inner)} failures decoding:{reasons}"
        failures.append((name, text))
        return value
    return decoded


def _wrong(structure: Structure, name: str, wanted: str, got: str) -> tuple[str, str]:
    return name, f"Field '{name}' on '{structure.title}' must be a '{wanted}'; got '{got}' instead"


def _go_type(value: Value) -> str:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, str):
        return STRING
    return ANYTHINGS if isinstance(value, list) else "map[string]interface {}"


def _with_defaults(structure: Structure, values: Values) -> Values:
    complete: Values = {}
    for name, declared in structure.fields.items():
        value = values.get(name, declared.default)
        if value is None:
            continue
        if isinstance(declared.type, Structure):
            if isinstance(value, Marked):
                if isinstance(value.value, dict):
                    value = Marked(_with_defaults(declared.type, value.value), value.known, value.secret)
            else:
                value = _with_defaults(declared.type, value)
        complete[name] = value
    return complete


def secretly(structure: Structure, values: Values) -> Values:
    """Mark what the structure declares as secret."""
    marked: Values = {}
    for name, value in values.items():
        declared = structure.fields.get(name)
        marked[name] = value if declared is None else _secretly(declared, value)
    return marked


def _secretly(declared: Field, value: Value) -> Value:
    if isinstance(declared.type, Structure):
        if isinstance(value, Marked) and isinstance(value.value, dict):
            value = Marked(secretly(declared.type, value.value), value.known, value.secret)
        elif isinstance(value, dict):
            value = secretly(declared.type, value)
    return as_secret(value) if declared.secret else value


def _failures_of_source(source: Value) -> Failures:
    if is_asset(source):
        if source["uri"] and not source["path"] and not source["text"]:
            return [("asset", "asset must be a path-based file asset or a text asset")]
    elif is_archive(source):
        if not source["path"]:
            return [("archive", "archive must be a path to a file or directory")]
    else:
        return [("asset", "either asset or archive must be set")]
    return []
