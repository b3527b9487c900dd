"""Property values as the engine sends them, and the comparisons that the official plugin's framework makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# The engine has a sentinel for each type; the plugin only ever sends the one of texts.
UNKNOWNS = frozenset(
    {
        UNKNOWN,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

Value = Any  # None, bool, float, str, list, dict or Marked
Values = dict[str, Value]

_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_TEXTS_OF_ASSETS = ("hash", "text", "path", "uri")
_TEXTS_OF_ARCHIVES = ("hash", "path", "uri")


@dataclass(frozen=True)
class Marked:
    """A value with the marks that a plain one has no room for."""

    value: Value
    known: bool = True
    secret: bool = False


Unknown = Marked(None, known=False)


def is_asset(value: Value) -> bool:
    """Tell whether the value is an asset."""
    return isinstance(value, dict) and value.get(SIGNATURE) == ASSET


def is_archive(value: Value) -> bool:
    """Tell whether the value is an archive."""
    return isinstance(value, dict) and value.get(SIGNATURE) == ARCHIVE


def is_secret(value: Value) -> bool:
    """Tell whether the value itself is secret."""
    return isinstance(value, Marked) and value.secret


def is_unknown(value: Value) -> bool:
    """Tell whether the value itself is unknown."""
    return isinstance(value, Marked) and not value.known


def contains_secrets(value: Value) -> bool:
    """Tell whether anything in the value is secret."""
    if isinstance(value, Marked):
        return value.secret or contains_secrets(value.value)
    if isinstance(value, dict):
        return any(map(contains_secrets, value.values()))
    return isinstance(value, list) and any(map(contains_secrets, value))


def as_secret(value: Value) -> Marked:
    """Return the value marked as secret."""
    if isinstance(value, Marked):
        return Marked(value.value, value.known, secret=True)
    return Marked(value, secret=True)


def as_unknown(value: Value) -> Marked:
    """Return the mark of an unknown value, as secret as the value is."""
    return Marked(None, known=False, secret=is_secret(value))


def plain(value: Value) -> Value:
    """Return the value without marks at any depth."""
    if isinstance(value, Marked):
        return plain(value.value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def from_wire(value: Value) -> Value:
    """Read a value in the form that the protocol's structures have; absent properties are left out."""
    if isinstance(value, str) and value in UNKNOWNS:
        return Unknown
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if isinstance(value, dict):
        read = _READERS.get(value.get(SIGNATURE, ""), _map_from_wire)
        return read(value)
    return value


def _map_from_wire(value: Values) -> Value:
    return {name: from_wire(item) for name, item in value.items() if item is not None}


def _output_from_wire(value: Values) -> Value:
    inner = from_wire(value["value"]) if "value" in value else Unknown
    return as_secret(inner) if value.get("secret") is True else inner


def _asset_from_wire(value: Values) -> Value:
    return {SIGNATURE: ASSET, **{name: value.get(name, "") for name in _TEXTS_OF_ASSETS}}


def _archive_from_wire(value: Values) -> Value:
    members = {name: from_wire(member) for name, member in (value.get("assets") or {}).items()}
    return {SIGNATURE: ARCHIVE, "assets": members, **{name: value.get(name, "") for name in _TEXTS_OF_ARCHIVES}}


_READERS: dict[str, Callable[[Values], Value]] = {
    SECRET: lambda value: as_secret(from_wire(value.get("value"))),
    OUTPUT: _output_from_wire,
    ASSET: _asset_from_wire,
    ARCHIVE: _archive_from_wire,
}


def to_wire(value: Value) -> Value:
    """Write a value in the form that the protocol's structures have."""
    if isinstance(value, Marked):
        if not value.known:
            return {SIGNATURE: OUTPUT, "secret": True} if value.secret else UNKNOWN
        return {SIGNATURE: SECRET, "value": to_wire(value.value)}
    if isinstance(value, dict):
        return {name: to_wire(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [to_wire(item) for item in value]
    return value


def same(one: Value, other: Value) -> bool:
    """Compare at every depth: marks count, an asset is its hash, an absent property is a null one."""
    if isinstance(one, Marked) or isinstance(other, Marked):
        if not isinstance(one, Marked) or not isinstance(other, Marked):
            return False
        marks = (one.known, one.secret) == (other.known, other.secret)
        return marks and same(one.value, other.value)
    if is_asset(one) or is_archive(one):
        return isinstance(other, dict) and (one[SIGNATURE], one["hash"]) == (other.get(SIGNATURE), other.get("hash"))
    if isinstance(one, dict):
        return isinstance(other, dict) and all(
            same(one.get(name), other.get(name)) for name in one.keys() | other.keys()
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def differences(old: Values, new: Values, path: str = "") -> dict[str, str]:
    """Return which property paths were added, deleted or updated, as the engine words them: ADD, DELETE, UPDATE."""
    found: dict[str, str] = {}
    for name in sorted(old.keys() | new.keys()):
        here = _step(path, name)
        before, after = old.get(name), new.get(name)
        # An unknown secret travels as an output, and the framework takes any output for no change.
        if is_unknown(after) and is_secret(after) and name in old:
            continue
        if before is None and after is not None:
            found[here] = "ADD"
        elif before is not None and after is None:
            found[here] = "DELETE"
        else:
            found.update(_differences_of_values(before, after, here))
    return found


def _differences_of_values(old: Value, new: Value, path: str) -> dict[str, str]:
    if isinstance(old, list) and isinstance(new, list):
        found: dict[str, str] = {}
        for index in range(max(len(old), len(new))):
            here = f"{path}[{index}]"
            if index >= len(old):
                found[here] = "ADD"
            elif index >= len(new):
                found[here] = "DELETE"
            else:
                found.update(_differences_of_values(old[index], new[index], here))
        return found
    if _is_map(old) and _is_map(new):
        return differences(old, new, path)
    if same(old, new):
        return {}
    if old is None:
        return {path: "ADD"}
    return {path: "DELETE" if new is None else "UPDATE"}


def _is_map(value: Value) -> bool:
    return isinstance(value, dict) and SIGNATURE not in value


def _step(path: str, name: str) -> str:
    if not _PLAIN_NAME.fullmatch(name):
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{name}" if path else name
