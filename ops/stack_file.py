"""Changes single values of a stack file, and not one character beside them: its comments, order and secrets stay.

Pulumi's own way (`pulumi config set`) takes the file apart and writes it anew. A stack file is read and reviewed by
people, so here the text of one value is replaced by another one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ops.configuration import MISSING
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ops.configuration import Place

STEP = 2
"""Spaces by which Pulumi indents, and so what is new in a file."""

PLAIN = re.compile(r"[A-Za-z/][\w./@+-]*|[A-Za-z]\w*(:[\w./+=-]+)+")
"""A string that needs no quotes; numbers and dates look different, and names with two colons are ciphertexts."""

WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""What looks like a string and is something else, to some reader of YAML."""


@dataclass(frozen=True)
class Secret:
    """An encrypted value, as the stack file holds it."""

    ciphertext: str


def put(text: str, edits: Iterable[tuple[Place, Any]]) -> str:
    """Return the text of a stack file with values put in; MISSING takes one away.

    Raises:
        SetupError: the file is written in a way that can't be changed so.
    """
    text = text if text.endswith("\n") else f"{text}\n"
    wanted = yaml.safe_load(text)
    # What goes comes first: a name may have been a group before.
    for place, value in sorted(edits, key=lambda edit: edit[1] is not MISSING):
        text = _put(text, ("config", *place), _data(value))
        wanted = _with(wanted, ("config", *place), _data(value))
    if yaml.safe_load(text) != wanted:
        raise SetupError("the stack file is written in a way that cannot be changed value by value: edit it by hand")
    return text


def write(path: Path, text: str) -> None:
    """Replace a stack file, whole or not at all; a link to it stays a link."""
    path = path.resolve()
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(path.stat().st_mode)
    new.replace(path)


def _data(value: Any) -> Any:
    return {"secure": value.ciphertext} if isinstance(value, Secret) else value


def _with(group: Any, place: Sequence[str], value: Any) -> Any:
    """Return plain data with a value put in, as `_put` does to its text; a group goes with its last value."""
    name, *rest = place
    known = group if isinstance(group, dict) else {}
    if rest:
        value = _with(known.get(name), rest, value)
    others = {key: one for key, one in known.items() if key != name or value is not MISSING}
    return {**others, name: value} if value is not MISSING else others or MISSING


def _put(text: str, place: Sequence[str], value: Any) -> str:
    """Return a text of YAML with one value put in: in the innermost block of lines that its place leads to."""
    block: Any = yaml.compose(text)
    rest = list(place)
    above: list[tuple[yaml.MappingNode, str]] = []
    while True:
        entry = _entry(block, rest[0])
        inner = entry[1] if entry else None
        if len(rest) == 1 or not isinstance(inner, yaml.MappingNode) or inner.flow_style:
            break
        above.append((block, rest.pop(0)))
        block = inner
    if len(rest) > 1 and (value is not MISSING or entry):
        # A group on one line, or one that is not there yet: it is written as a whole.
        value = _with(_loaded(inner), rest[1:], value)
    if value is MISSING:
        while entry and len(block.value) == 1 and above:
            block, rest[0] = above.pop()
            entry = _entry(block, rest[0])
        return _without(text, entry) if entry else text
    if entry is None:
        at = _end(text, block.value[-1])
        return text[:at] + "".join(_lines(rest[0], value, block.start_mark.column)) + text[at:]
    return _replaced(text, entry, value)


def _entry(block: Any, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((entry for entry in block.value if entry[0].value == name), None)


def _loaded(node: yaml.Node | None) -> Any:
    if node is None:
        return None
    return yaml.safe_load(yaml.serialize(node))


def _replaced(text: str, entry: tuple[yaml.Node, yaml.Node], value: Any) -> str:
    name, old = entry
    if _is_inline(old) and not isinstance(value, dict):
        space = "" if text[old.start_mark.index - 1].isspace() else " "
        return text[: old.start_mark.index] + space + _inline(value) + text[old.end_mark.index :]
    if _is_inline(old) and not isinstance(old, yaml.ScalarNode):
        return text[: old.start_mark.index] + _inline(value) + text[old.end_mark.index :]
    if _is_secure(old) and _is_secure_data(value):
        return _replaced(text, old.value[0], value["secure"])
    start, end = _start(text, name), _end(text, entry)
    return text[:start] + "".join(_lines(str(name.value), value, name.start_mark.column)) + text[end:]


def _is_secure(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and [name.value for name, _ in node.value] == ["secure"]


def _is_secure_data(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["secure"]


def _without(text: str, entry: tuple[yaml.Node, yaml.Node]) -> str:
    return text[: _start(text, entry[0])] + text[_end(text, entry) :]


def _is_inline(node: yaml.Node) -> bool:
    """Tell whether a value ends where its text does: one in a block of lines ends where the next one begins."""
    return (isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">")) or bool(
        isinstance(node, yaml.CollectionNode) and node.flow_style
    )


def _start(text: str, name: yaml.Node) -> int:
    """Return where the line of a name begins."""
    return text.rfind("\n", 0, name.start_mark.index) + 1


def _end(text: str, entry: tuple[yaml.Node, yaml.Node]) -> int:
    """Return where the line after a value begins, a comment behind the value included."""
    last = entry[1]
    while not _is_inline(last) and isinstance(last, yaml.CollectionNode):
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    # A text in lines of its own (`|`) ends at the beginning of the next line already.
    at = last.end_mark.index
    if at and text[at - 1] == "\n" and not _is_inline(last):
        return at
    return text.find("\n", at) + 1


def _lines(name: str, value: Any, indent: int) -> list[str]:
    """Return the lines of a new entry."""
    begin = f"{' ' * indent}{_inline(name)}:"
    if not isinstance(value, dict) or not value:
        return [f"{begin} {_inline(value)}\n"]
    return [f"{begin}\n", *(line for key, one in value.items() for line in _lines(str(key), one, indent + STEP))]


def _inline(value: Any) -> str:
    """Return a value on one line: as JSON, which is YAML, without the quotes that nobody needs."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(str(name))}: {_inline(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in quoted)
