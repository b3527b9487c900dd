"""Inputs against what the SDK declares and AWS documents."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from tests.plugins.aws import rules
from tests.plugins.command.stand_in.values import Marked, Values, is_archive, is_asset, is_unknown

Failures = list[tuple[str, str]]

_SHOWN = 8  # values of an enumeration that a message lists
# Sizes of machines, of which AWS has new ones each month: the SDK lists those of its day, and the plugin takes any.
_SIZE = re.compile(r"(?:db\.|cache\.)?[a-z][a-z0-9-]*\.[a-z0-9-]+")


def check(token: str, declaration: Any, inputs: Values, *, kind: str = "resource") -> Failures:
    """Return what is wrong with the inputs of a resource or a function: the property's path and the rule."""
    failures = _Checker(token, declaration["objects"], kind).object(declaration["inputs"], inputs, "", "")
    for group in rules.EXACTLY_ONE.get(token, ()):
        given = [name for name in group if inputs.get(name) is not None]
        if len(given) != 1:
            failures.append((group[0], f"exactly one of {', '.join(group)} must be given (got {len(given)})"))
    for group in rules.AT_MOST_ONE.get(token, ()):
        given = [name for name in group if inputs.get(name) is not None]
        if len(given) > 1:
            failures.append((given[0], f"conflicts with {', '.join(given[1:])}: give one of them"))
    return failures


def named(token: str, declaration: Any, inputs: Values, olds: Values, urn: str, seed: bytes) -> Values:
    """Return the inputs with a made-up name, where the resource has one and the program gives none.

    The name of the last time is kept; `__defaults` says which inputs were made up, as the bridge does.
    """
    name, longest = rules.NAMES.get(token, ("name", 255))
    declared = declaration["inputs"].get(name)
    prefixed = inputs.get("namePrefix") is not None or inputs.get(f"{name}Prefix") is not None
    if declared is None or declared["required"] or declared["type"] != "str" or inputs.get(name) is not None:
        return {**inputs, "__defaults": []}
    if prefixed:
        return {**inputs, "__defaults": []}
    kept = olds.get(name) if name in (olds.get("__defaults") or []) else None
    ending = hashlib.sha256(seed + urn.encode()).hexdigest()[:7]
    title = urn.rpartition("::")[2]
    made = kept or f"{title[: longest - 8]}-{ending}"
    return {**inputs, name: made.lower() if token in rules.IN_SMALL_LETTERS else made, "__defaults": [name]}


class _Checker:
    """Walks through the inputs beside their declaration."""

    def __init__(self, token: str, objects: Any, kind: str) -> None:
        self._token = token
        self._objects = objects
        self._kind = kind

    def object(self, declared: Any, given: Values, path: str, plain: str) -> Failures:
        """Check the properties of an object; `plain` is its path without indexes."""
        failures: Failures = []
        for name, value in given.items():
            here, under = (f"{path}.{name}", f"{plain}.{name}") if path else (name, name)
            if name.startswith("__"):
                continue
            if name not in declared:
                what = path or self._token
                failures.append((here, f"{what} has no such property"))
            else:
                failures += self.value(declared[name]["type"], value, here, under)
        for name, property_ in declared.items():
            if property_["required"] and given.get(name) is None:
                failures.append((f"{path}.{name}" if path else name, "must be given"))
        return failures

    def value(self, kind: Any, value: Any, path: str, plain: str) -> Failures:
        """Check one value; an unknown one passes."""
        if is_unknown(value) or value is None:
            return []
        if isinstance(value, Marked):
            return self.value(kind, value.value, path, plain)
        if isinstance(kind, dict):
            return self._compound(kind, value, path, plain)
        if not _fits(kind, value):
            return [(path, f"must be {_WORDS[kind]} (got {_told(value)})")]
        return self._documented(value, path, plain) if self._kind == "resource" else []

    def _documented(self, value: Any, path: str, plain: str) -> Failures:
        """Check what the SDK does not declare, and AWS or the provider refuses."""
        allowed = rules.VALUES.get((self._token, plain))
        if allowed is not None and value not in allowed[0]:
            return [(path, f"must be one of {', '.join(allowed[0])} (got {_told(value)}): see {allowed[1]}")]
        pattern, rule = rules.PATTERNS.get((self._token, plain), ("", ""))
        if pattern and not re.fullmatch(pattern, str(value)):
            return [(path, f"must be {rule} (got {_told(value)})")]
        return []

    def _compound(self, kind: Any, value: Any, path: str, plain: str) -> Failures:  # noqa: PLR0911 (one a form)
        ((form, inner),) = kind.items()
        if form == "enum":
            if value in inner or (_is_size(value) and all(map(_is_size, inner))):
                return []
            few = [str(item) for item in inner[:_SHOWN]] + (["…"] if len(inner) > _SHOWN else [])
            return [(path, f"must be one of {', '.join(few)} (got {_told(value)})")]
        if form == "either":
            # What fits an alternative at the top is judged by that one: its complaint is the useful one.
            tried = [self.value(alternative, value, path, plain) for alternative in inner]
            return [] if [] in tried else next((found for found in tried if found[0][0] != path), tried[0])
        if form == "list":
            if not isinstance(value, list):
                return [(path, f"must be a list (got {_told(value)})")]
            return [
                failure
                for index, item in enumerate(value)
                for failure in self.value(inner, item, f"{path}[{index}]", plain)
            ]
        if not isinstance(value, dict) or is_asset(value) or is_archive(value):
            return [(path, f"must be {'a map' if form == 'map' else 'an object'} (got {_told(value)})")]
        if form == "map":
            return [
                failure for key, item in value.items() for failure in self.value(inner, item, f'{path}["{key}"]', plain)
            ]
        return self.object(self._objects[inner], value, path, plain)


def _is_size(value: Any) -> bool:
    return isinstance(value, str) and _SIZE.fullmatch(value) is not None


_WORDS = {
    "str": "a string",
    "bool": "a boolean",
    "int": "an integer",
    "float": "a number",
    "asset": "an asset or an archive",
}


def _fits(kind: str, value: Any) -> bool:
    if kind == "any":
        return True
    if kind == "asset":
        return is_asset(value) or is_archive(value)
    if kind in ("int", "float"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (kind == "float" or float(value).is_integer())
    return isinstance(value, {"str": str, "bool": bool}[kind])


def _told(value: Any) -> str:
    """Say what came without saying much of it: it may be long."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}…"
