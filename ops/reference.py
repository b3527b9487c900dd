"""`make docs`: writes the reference of the settings, from the classes that check them, into docs/configuration.md.

What a setting may be is the sentence that a wrong value is answered with, so the two cannot differ. What stands above
the mark in the file is written by hand and stays.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import TypeAdapter, ValidationError

from settings.base import Group
from settings.models import Settings
from settings.problems import ALWAYS_SECRET, NAMESPACE, named

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

FILE = Path(__file__).parents[1] / "docs" / "configuration.md"
COMMAND = "make docs"
MARK = f"<!-- From here on `{COMMAND}` writes this file, from settings/models.py. -->\n"

# None of them is a value of any setting, and each rule says best what is wrong with one of them.
WRONG_TEXTS = ("\x7f", "/\x7f")
WRONG_NUMBER = -(10**9)

ENCRYPTED = "Encrypted: in plain text it is refused, and no preview and no error shows it."

NO_VALUES: tuple[Any, ...] = (None, (), {})

# What an example shows where a setting by itself cannot say it: the kind that the settings beside it are for.
SHOWN: dict[tuple[str, ...], Any] = {
    ("dns", "kind"): "route53",
    ("database", "kind"): "rds",
    ("redis", "kind"): "elasticache",
    ("media", "kind"): "s3",
    ("web", "domains"): ["example.com"],
}

# Groups whose settings exclude each other get an example for each of these choices, with the settings that go along.
CHOICES: dict[tuple[str, ...], list[dict[str, Any]]] = {
    ("server", "network"): [
        {"kind": "new", "cidr": None, "zones": None},
        {"kind": "given", "vpc": None, "public_subnets": None, "private_subnets": None},
    ],
}
# Said beside one of the others, it would be an error.
LEFT_OUT = {("server", "rebuild")}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        path: from the top-level key down, such as app, gunicorn, workers.
        field: its type, default and description.
        default: what holds when nothing is said, if it can be said in one value.
    """

    path: tuple[str, ...]
    field: FieldInfo
    default: Any

    @property
    def groups(self) -> list[type[Group]]:
        """The groups that it may be, one for each kind; none where it is a value."""
        return list(_groups(self.field.annotation))

    @property
    def inside(self) -> tuple[str, ...]:
        """The path below which the settings of its groups lie; where each has a name, that of the example."""
        return (*self.path, *named(self.field))

    @property
    def secret(self) -> bool:
        """Whether it has to be encrypted."""
        return self.path[0] in ALWAYS_SECRET

    @property
    def description(self) -> str:
        """What it means: its description but for the end that tells the default."""
        return (self.field.description or "").partition(" Default: ")[0]

    @property
    def default_in_words(self) -> str:
        """What holds when nothing is said: the end of the description where it is no plain value."""
        told = (self.field.description or "").partition(" Default: ")[2].removesuffix(".")
        if not told and self.field.is_required() and self.default is None:
            return "must be given"
        return told or ("nothing" if self.default in NO_VALUES else f"`{_in_one_line(self.default)}`")

    def example(self) -> Any:
        """Return a value: one that the field names, else the default, else one that its rule suggests."""
        if self.path in SHOWN:
            return SHOWN[self.path]
        value = next(iter(self.field.examples or []), self.default)
        value = _suggested(_type(self.field)) if value in NO_VALUES else value
        if value is None:
            raise ValueError(f"settings/models.py: {'.'.join(self.path)} needs examples=[…] for {COMMAND}")
        return list(value) if isinstance(value, tuple) else value


def members(group: type[Group], path: tuple[str, ...] = (), default: Group | None = None) -> list[Setting]:
    """Return the settings of a group that lies below the path, and is the default of it as a whole if that is given."""
    return [
        Setting((*path, name), field, getattr(default, name) if default else _default(field))
        for name, field in group.model_fields.items()
    ]


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _groups(annotation: Any) -> Iterator[type[Group]]:
    if isinstance(annotation, type) and issubclass(annotation, Group):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _groups(inner)
    elif get_origin(annotation) is Mapping:
        yield from _groups(get_args(annotation)[1])


def _type(field: FieldInfo) -> Any:
    """Return the type of a field with all its rules."""
    kept: Any = field.annotation
    for rule in field.metadata:
        kept = Annotated[kept, rule]
    return kept


def _bare(annotation: Any) -> Any:
    """Return a type without its rules and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [option for option in get_args(annotation) if option is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else annotation
    return annotation


def _refusal(kind: Any) -> tuple[str, str]:
    """Return the rule of a type and how to repair what breaks it, as an error says them; the most telling one."""
    wrong = (WRONG_NUMBER,) if _bare(kind) is int else WRONG_TEXTS
    told = [("", ""), *(pair for value in wrong for pair in _refusals(kind, value))]
    return max(told, key=lambda pair: len(pair[0]))


def _refusals(kind: Any, value: Any) -> list[tuple[str, str]]:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        told = [problem.get("ctx", {}) for problem in error.errors()]
        return [(context["rule"], context["fix"]) for context in told if "fix" in context]
    return []


def _suggested(kind: Any) -> Any:
    """Return the value that a type's own rule gives for an example, if it does."""
    bare = _bare(kind)
    if get_origin(bare) is Literal:
        return get_args(bare)[0]
    if get_origin(bare) is tuple:
        inner = _suggested(get_args(bare)[0])
        return None if inner is None else [inner]
    found = re.search(r"such as (\S+)", _refusal(kind)[1])
    return yaml.safe_load(found[1].rstrip(",")) if found else None


def values(kind: Any) -> str:
    """Return in words what a setting of a type may be."""
    bare = _bare(kind)
    origin = get_origin(bare)
    if origin is Literal:
        *options, last = [f"`{option}`" for option in get_args(bare)]
        return f"{', '.join(options)} or {last}" if options else last
    if origin is tuple:
        return f"list; each is {values(get_args(bare)[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        rules = zip(("each name", "each value"), (_refusal(inner)[0] for inner in get_args(bare)), strict=True)
        return "; ".join(
            ["`NAME: value` lines", *(f"{what} {rule}" for what, rule in rules if rule.startswith("must"))]
        )
    if isinstance(bare, type) and issubclass(bare, Group):
        return f"a group of {', '.join(f'`{name}`' for name in bare.model_fields)}"
    rule = _refusal(kind)[0].removeprefix("must be ")
    what = {int: "whole number ", str: "text "}.get(bare, "")
    if rule.startswith("must"):
        return f"{what}that {rule}"
    return f"{what}{rule}" if bare is int or not rule else rule


def _in_one_line(value: Any) -> str:
    """Return a value as a stack file has it, in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).removesuffix("...\n").strip()


def _block(settings: list[Setting]) -> str:
    """Return what gives each of these settings of one group a value: lines of a stack file, or commands."""
    if settings[0].secret:
        lines = []
        for setting in settings:
            name = ".".join(setting.path) + (".NAME" if get_origin(_bare(setting.field.annotation)) else "")
            how = f"--path {NAMESPACE}:{name}" if "." in name else f"{NAMESPACE}:{name}"
            lines.append(f"./pulumi config set --secret {how} --stack STACK\n")
        return f"```sh\n{''.join(lines)}```\n"
    above = settings[0].path[:-1]
    examples = {setting.path[-1]: setting.example() for setting in settings if setting.path not in LEFT_OUT}
    choices = CHOICES.get(above, [{}])
    return "\n".join(
        _yaml(above, {name: choice.get(name) or examples[name] for name in choice or examples}) for choice in choices
    )


def _yaml(above: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return lines of a stack file that say this below a path."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        first, *others = *above, name
        inner, *keys = (tree, f"{NAMESPACE}:{first}", *others)
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    return f"```yaml\n{yaml.safe_dump(tree, sort_keys=False, width=1000, allow_unicode=True)}```\n"


def _table(settings: list[Setting]) -> str:
    rows = ["| setting | value | default | meaning |", "| --- | --- | --- | --- |"]
    for setting in settings:
        name = f"`{'.'.join(setting.path)}`"
        cells = (name, values(_type(setting.field)), setting.default_in_words, setting.description)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "\\<") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _kind(group: type[Group], groups: list[type[Group]]) -> str:
    """Return what tells one kind of a group from the others: its `kind`, and the first setting that only it has."""
    same = [other for other in groups if other is not group and _named_kind(other) == _named_kind(group)]
    others = {name for other in same for name in other.model_fields}
    own = next(name for name in group.model_fields if name not in others)
    return ", ".join([*_named_kind(group), *([own] if same else [])])


def _named_kind(group: type[Group]) -> list[str]:
    kind = group.model_fields.get("kind")
    return [f"kind: {get_args(kind.annotation)[0]}"] if kind else []


def _content(settings: list[Setting], depth: int) -> Iterator[str]:
    """Yield the text about the settings of one group: the plain ones, then the groups in it."""
    plain = [setting for setting in settings if not setting.groups]
    if plain:
        yield _block(plain)
        yield _table(plain)
    for setting in settings:
        if setting.groups:
            yield from _section(setting, depth)


def _section(setting: Setting, depth: int) -> Iterator[str]:
    """Yield the text about a group in each of its kinds, or about a value that stands alone."""
    name, groups = f"`{NAMESPACE}:{'.'.join(setting.path)}`", setting.groups
    yield f"{'#' * depth} {name}\n"
    yield f"{setting.description}{' ' + ENCRYPTED if setting.secret else ''}\n"
    if not groups:
        yield from _content([setting], depth + 1)
    for group in groups:
        if len(groups) > 1:
            yield f"{'#' * (depth + 1)} {name} ({_kind(group, groups)})\n"
            yield f"{(group.__doc__ or '').strip()}\n"
        default = setting.default if isinstance(setting.default, group) else None
        yield from _content(members(group, setting.inside, default), depth + 1 + (len(groups) > 1))


def reference() -> str:
    """Return the generated part of the file."""
    texts = [MARK]
    for setting in members(Settings):
        if setting.path != ("stack",):
            texts += _section(setting, 2)
    return "\n".join(texts)


def written(old: str) -> str:
    """Return the whole file, given what it holds."""
    return old.partition(MARK)[0] + reference()


def main() -> int:
    """Write the file; return the exit status."""
    FILE.write_text(written(FILE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
