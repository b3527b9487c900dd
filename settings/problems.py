"""From what pydantic found to lines that a person can act on: `key: rule (got value): how to fix it`."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_origin

from settings import base, models

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

NAMESPACE = "flaskhost"
ALWAYS_SECRET = frozenset({"secrets", "digest_key", "credentials"})
NOTHING = "nothing"
LONGEST_SHOWN = 80
"""Characters of a value that a message repeats."""

# Group by group in the order of Settings; what is unknown comes last.
ORDER = [name for name in models.Settings.model_fields if name != "stack"]
Place = tuple[str | int, ...]

KEY = "[key]"
"""What pydantic writes behind the place of a wrong name in a mapping."""

CHOOSE = "choose one of these"

# Words that people have for a setting elsewhere.
OTHER_WORDS = {"branch": "version", "tag": "version", "ref": "version", "hosts": "domains", "server_name": "domains"}

# How to repair what is missing or of another kind.
EXAMPLES: dict[Place, str] = {
    ("server",): "write kind: local below flaskhost:server, or kind: existing, or kind: aws",
    ("server", "kind"): f"write one of the kinds that there are: {', '.join(models.KINDS_OF_SERVER)}",
    ("server", "address"): "write the server's name or IP address",
    ("server", "hosts"): "write it as - address: … lines, each with the host_key: … of that host",
    ("server", "bastion", "address"): "write the bastion's name or IP address",
    ("app",): "write at least name and source below flaskhost:app",
    ("app", "name"): "write a name such as guestbook",
    ("app", "user"): "write www-data, or leave it out for an account of the application's own",
    ("app", "source"): "write repository: or folder: below it",
    ("app", "source", "repository"): "write a repository, or a folder instead",
}

# What pydantic finds by itself, by its error type: the rule, and how to repair it.
STANDARD: dict[str, tuple[str, str]] = {
    "model_type": ("must be a group of settings", "write it as name: value lines, indented below the key"),
    "mapping_type": ("must be a group of names and values", "write it as NAME: value lines, indented below the key"),
    "dict_type": ("must be a group of names and values", "write it as NAME: value lines, indented below the key"),
    "tuple_type": ("must be a list", "write it in brackets, such as [first, second]"),
    "too_short": ("must not be empty", "write at least one"),
}


@dataclass(frozen=True)
class Problem:
    """One wrong setting."""

    place: Place
    rule: str
    got: str
    fix: str

    def __str__(self) -> str:
        """Return the line that a person reads."""
        return f"{NAMESPACE}:{written(self.place)}: {self.rule} (got {self.got}): {self.fix}"


class ConfigurationError(Exception):
    """The stack configuration is wrong; its text is the whole list, one problem a line."""

    def __init__(self, problems: Collection[Problem]) -> None:
        """Take the problems and bring them into the order of the settings."""
        self.problems = tuple(sorted(set(problems), key=_rank))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def _rank(problem: Problem) -> tuple[int, str, str]:
    first = problem.place[0]
    position = ORDER.index(first) if first in ORDER else len(ORDER)
    return position, written(problem.place), problem.rule


def written(place: Place) -> str:
    """Return a place as Pulumi's own --path writes it: app.health.path, web.domains[0], env["odd name"]."""
    text = ""
    for part in place:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]{1,100}", part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(_cut(part))}]"
    return text


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"


def shown(value: Any) -> str:
    """Return a value for a message: on one line, cut, and without what a URL says before its @."""
    if value is None:
        return "null"
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=True, default=str)
    except (TypeError, ValueError):
        text = f"a {type(value).__name__}"
    # Up to the last @ before a slash: a password may hold an @ itself.
    text = re.sub(r"(//)[^/\s]*@", r"\1[hidden]@", text)
    quote = text[-1] if text[-1:] in ("'", '"') else ""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…{quote} ({len(text)} characters)"


def at(config: Mapping[str, Any], place: Place) -> Any:
    """Return what the configuration holds at a place, or None."""
    value: Any = config
    try:
        for part in place:
            value = value[part]
    except (KeyError, IndexError, TypeError):
        return None
    return value


def group_in(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a group, or an empty one where something else was given."""
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True)
class Given:
    """What was given, and which top-level keys of it must not be shown."""

    config: Mapping[str, Any]
    secret_keys: frozenset[str]

    def group(self, name: str) -> Mapping[str, Any]:
        """Return a top-level group, or an empty one where something else was given."""
        return group_in(self.config, name)

    def problem(self, place: Place, rule: str, fix: str) -> Problem:
        """Return a problem with the value that stands at its place, unless it is secret."""
        secret = place[0] in ALWAYS_SECRET or place[0] in self.secret_keys
        return Problem(place, rule, "[secret]" if secret else shown(at(self.config, place)), fix)


def translated(error: ErrorDetails, given: Given) -> Problem:
    """Return pydantic's finding as a problem of ours."""
    place = _place(error["loc"])
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        # Not its value: who mistypes "secrets" has written a secret below the wrong key.
        return Problem(place, "is not a setting", repr(_cut(str(place[-1]))), _suggestion(place))
    if kind in ("missing", "union_tag_not_found"):
        return _absent(place if kind == "missing" else (*place, "kind"), given)
    if kind == "literal_error":
        return given.problem(place, f"must be {context['expected']}", _example(place) if place in EXAMPLES else CHOOSE)
    if kind == "flaskhost" and error["loc"][-1] == KEY:
        return Problem(place, str(context["rule"]), shown(place[-1]), str(context["fix"]))
    if kind == "flaskhost":
        rule, fix = str(context["rule"]), str(context["fix"])
    else:
        rule, fix = STANDARD.get(kind, ("is not valid", "see its description in the reference of settings"))
        fix = EXAMPLES.get(place, fix)
    return given.problem(place, rule, fix)


def _absent(place: Place, given: Given) -> Problem:
    """Return the problem of what must be there and is not, or is of no kind that there is."""
    if place[-1] == "host_key":
        return Problem(place, "must be given, since no host is trusted without its key", NOTHING, _scan(place, given))
    if at(given.config, place) is None:
        return Problem(place, "must be given", NOTHING, _example(place))
    kinds = " or ".join(f"'{name}'" for name in models.KINDS_OF_SERVER)
    return given.problem(place, f"must be {kinds}", _example(place))


def _place(location: Place) -> Place:
    """Return the place in the configuration: pydantic adds kinds of servers and sources, and [key] to a wrong name."""
    parts = list(location[:-1] if location[-1] == KEY else location)
    if parts[:2] == ["app", "source"] and len(parts) > 2:
        del parts[2]
    if parts[0] == "server" and len(parts) > 1:
        del parts[1]
    return tuple(parts)


def _scan(place: Place, given: Given) -> str:
    """Return how to obtain a missing host key, as a command to copy."""
    above = at(given.config, place[:-1])
    bastion = at(given.config, ("server", "bastion")) if place[1] in ("host_key", "hosts") else None
    words = f"ssh-keyscan -p {_plain(above, 'port', 22)} -t ed25519 {_plain(above, 'address', 'ADDRESS')}"
    if isinstance(bastion, Mapping):
        # Only the bastion can reach it.
        login = f"{_plain(bastion, 'user', 'root')}@{_plain(bastion, 'address', 'BASTION')}"
        words = f"ssh -p {_plain(bastion, 'port', 22)} {login} {words}"
    compare = "compare its fingerprint with the one that the server's console or owner shows"
    return f"obtain it with `{words}`, {compare}, and write {place[-1]}: ssh-ed25519 AAAA…"


def _plain(group: Any, name: str, default: str | int) -> str:
    """Return a value that can stand in a command as it is, or the default."""
    value = str(group.get(name, default)) if isinstance(group, Mapping) else str(default)
    return value if re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", value) and not value.startswith("-") else str(default)


def _example(place: Place) -> str:
    return EXAMPLES.get(place, f"add {place[-1]} below {written(place[:-1])}")


def _known(model: Any = models.Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the place of every setting that has a name of its own."""
    for name, field in model.model_fields.items():
        here = (*above, name)
        if here == ("stack",):
            continue
        yield here
        for inner in _models_in(field.annotation):
            yield from _known(inner, (*here, *named(field)))


def named(field: FieldInfo) -> tuple[str, ...]:
    """Return the name that stands for all of them, where a setting is groups that have names: that of its example."""
    groups = get_origin(field.annotation) is Mapping and any(_models_in(field.annotation))
    return (next(iter((field.examples or [])[0])),) if groups else ()


def _models_in(annotation: Any) -> Iterator[type[base.Group]]:
    if isinstance(annotation, type) and issubclass(annotation, base.Group):
        yield annotation
        return
    for inner in getattr(annotation, "__args__", ()):
        yield from _models_in(inner)


KNOWN = tuple(dict.fromkeys(_known()))
NAMED: dict[Place, tuple[str, ...]] = {
    ("app", name): named(field) for name, field in models.App.model_fields.items() if named(field)
}


def _suggestion(place: Place) -> str:
    """Name the setting that was probably meant: beside the wrong one, else anywhere."""
    name, above = str(place[-1]), place[:-1]
    group = (*above[:2], *NAMED[above[:2]]) if above[:2] in NAMED and len(above) == 3 else above
    beside = [known[-1] for known in KNOWN if known[:-1] == group]
    if name in beside:
        return f"remove it, or write another kind of {above[-1]}"
    close = difflib.get_close_matches(name.lower(), beside, n=1, cutoff=0.6)
    if close and name not in OTHER_WORDS:
        return f"did you mean {written((*above, close[0]))}?"
    elsewhere = {known[-1]: known for known in reversed(KNOWN)}
    close = difflib.get_close_matches(OTHER_WORDS.get(name, name).lower(), elsewhere, n=1, cutoff=0.85)
    if close:
        return f"did you mean {written(elsewhere[close[0]])}?"
    return f"remove it; what there is: {', '.join(beside)}"
