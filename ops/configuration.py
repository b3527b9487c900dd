"""A stack's configuration as the engine tells it, and what differs between two. A secret is named and never shown."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from ops.setup import cache
from settings.problems import ALWAYS_SECRET, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Place = tuple[str, ...]
"""Where a value stands: its key, such as flaskhost:app, and the names below it."""

VERSION: Place = (f"{NAMESPACE}:app", "version")
COMMIT: Place = (f"{NAMESPACE}:app", "commit")
OPEN = frozenset({VERSION, COMMIT})
"""Which release it is, is never secret, whatever else stands in the group."""

UNREADABLE = "ERROR_UNABLE_TO_DECRYPT"
"""What the engine's history holds in place of a value whose key the stack has no more."""

PASSWORD = re.compile(r"(//[^:/@\s]*:)[^@/\s]*@")
PLAIN = re.compile(r"[\w./:@+-]+")
LONGEST = 60
"""Characters of a value that are shown."""

MISSING: Any = object()
"""What a value is that is not there; None is a value that a stack file may give."""


@dataclass(frozen=True)
class Configuration:
    """What a stack file says, or said.

    Attributes:
        values: each single value or list, decrypted, by its place.
        secret: the keys that hold anything encrypted; the engine does not tell which of their values.
        unreadable: the keys that could not be decrypted.
    """

    values: Mapping[Place, Any] = field(repr=False)
    secret: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def hides(self, place: Place) -> bool:
        """Tell whether a value may be a secret."""
        return place not in OPEN and (place[0] in self.secret or place[0].partition(":")[2] in ALWAYS_SECRET)


@dataclass(frozen=True)
class Change:
    """One value that differs.

    Attributes:
        place: where it stands.
        before: what it was, or MISSING.
        after: what it is, or MISSING.
        secret: whether either may be a secret.
    """

    place: Place
    before: Any = field(repr=False)
    after: Any = field(repr=False)
    secret: bool

    @property
    def kind(self) -> str:
        """Say what has happened to it, in a word."""
        return "added" if self.before is MISSING else "removed" if self.after is MISSING else "changed"

    @property
    def name(self) -> str:
        """The place as people write it, such as app.version."""
        return ".".join(self.place).removeprefix(f"{NAMESPACE}:")

    def __str__(self) -> str:
        """Return it for a person, on one line."""
        if self.secret:
            return f"{self.name}  {self.kind} (secret)"
        if MISSING in (self.before, self.after):
            return f"{self.name}  {self.kind}: {shown(self.after if self.before is MISSING else self.before)}"
        return f"{self.name}  {shown(self.before)} -> {shown(self.after)}"

    def document(self) -> dict[str, Any]:
        """Return it for a program."""
        both = {} if self.secret else {"before": self.before, "after": self.after}
        told = {name: _open(value) for name, value in both.items() if value is not MISSING}
        return {"name": self.name, "change": self.kind, "secret": self.secret, **told}


def read(told: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """Take a configuration as `pulumi config` and `pulumi stack history` print it (--json --show-secrets)."""
    usual = _usual()
    values: dict[Place, Any] = {}
    for key, one in told.items():
        whole = one.get("objectValue", one.get("value"))
        if whole is not None and whole != usual.get(key):
            values.update(_leaves((key,), whole))
    return Configuration(
        values,
        frozenset(key for key, one in told.items() if one.get("secret")),
        frozenset(key for key, one in told.items() if one.get("value") == UNREADABLE),
    )


def _leaves(place: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    """Yield the single values below a place; a list is one, since its members have no names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves((*place, name), inner)
    else:
        yield place, value


def _usual() -> dict[str, str]:
    """Return the values that the engine fills in by itself, from Pulumi.yaml, as it prints them."""
    described = yaml.safe_load((cache.TREE / "Pulumi.yaml").read_text())["config"]
    defaults = {key: one.get("default") for key, one in described.items()}
    return {key: str(value).lower() if isinstance(value, bool) else value for key, value in defaults.items()}


def changes(before: Configuration, after: Configuration) -> list[Change]:
    """Return what differs, in the order of the settings; groups that could not be decrypted are left out."""
    closed = before.unreadable | after.unreadable
    places = [place for place in {**before.values, **after.values} if place[0] not in closed]
    return [
        Change(
            place,
            before.values.get(place, MISSING),
            after.values.get(place, MISSING),
            before.hides(place) or after.hides(place),
        )
        for place in sorted(places, key=_order)
        if before.values.get(place, MISSING) != after.values.get(place, MISSING)
    ]


def _order(place: Place) -> tuple[bool, bool, Place]:
    """Put the release first: it is what one looks for."""
    return place != VERSION, place != COMMIT, place


def printable(text: str) -> str:
    """Return a text without what a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(value: Any) -> str:
    """Return a value for a person: short, on one line, without a password in a URL or what a terminal would act on."""
    value = _open(value)
    text = value if isinstance(value, str) and PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=True)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _open(value: Any) -> Any:
    """Return a value without the passwords of URLs in it."""
    if isinstance(value, str):
        return PASSWORD.sub(r"\1[hidden]@", value)
    return [_open(one) for one in value] if isinstance(value, list) else value
