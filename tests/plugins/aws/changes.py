"""What the bridged provider makes of old and new inputs: the difference, and the outputs of a preview."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.plugins.aws import rules
from tests.plugins.command.stand_in.values import (
    SIGNATURE,
    Marked,
    Unknown,
    Values,
    as_secret,
    contains_secrets,
    differences,
    is_unknown,
    plain,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


_INDEX = re.compile(r"\[[^]]*]")


@dataclass
class Difference:
    """Property paths with their kind of change (ADD, DELETE, UPDATE), and which of them replace."""

    kinds: dict[str, str]
    replaces: list[str] = field(default_factory=list)
    delete_first: bool = False


def bare(value: Any) -> Any:
    """Return the value without marks of secrecy: to Terraform they are nothing. Unknown values stay."""
    if is_unknown(value):
        return Unknown
    if isinstance(value, Marked):
        return bare(value.value)
    if isinstance(value, dict):
        return {name: bare(item) for name, item in value.items()}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value


def given(inputs: Values) -> Values:
    """Return the inputs without what the bridge notes beside them."""
    return {name: value for name, value in inputs.items() if not name.startswith("__") and value is not None}


def difference(token: str, declaration: Any, olds: Values, news: Values, state: Values) -> Difference:
    """Compare old and new inputs as the provider compares its state with the configuration."""
    before, after, kept = _ordered(bare(given(olds))), _ordered(bare(given(news))), _ordered(bare(state))
    outputs = declaration["outputs"]
    # What was not given is compared with what is there; what is given no more stays if the provider computes it.
    for name in after:
        if name in kept and (name not in before or (token, name) in rules.FROM_THE_STATE):
            before[name] = _like(kept[name], after[name])
    before = {
        name: value for name, value in before.items() if name in after or not outputs.get(name, {}).get("required")
    }
    kinds = differences(before, after)
    if "tagsAll" in kept and isinstance(after.get("tagsAll"), dict):
        kinds |= differences({"tagsAll": kept["tagsAll"]}, {"tagsAll": after["tagsAll"]})
    touched = set(_touched(before, after, ""))
    replaces = _replacing(kinds, touched, rules.REPLACES.get(token, frozenset()) | {"region"})
    if after.get("userDataReplaceOnChange") is True:
        replaces += [path for path in kinds if path in ("userData", "userDataBase64")]
    conditional = rules.REPLACES_WHEN.get(token, {})
    replaces += [path for path in kinds if path in conditional and conditional[path](before.get(path), after.get(path))]
    sources = rules.ONE_OF.get(token, frozenset())
    if {name for name in sources if name in before} != {name for name in sources if name in after}:
        replaces += [path for path in kinds if path in sources]
    return Difference(kinds, replaces, delete_first=bool(replaces) and _holds_its_name(token, news, olds))


def _touched(old: Any, new: Any, path: str) -> Iterator[str]:
    """Return the paths of all that differs, without indexes and as deep as there is something on either side."""
    if isinstance(old, dict) or isinstance(new, dict):
        one, other = (side if isinstance(side, dict) else {} for side in (old, new))
        for name in one.keys() | other.keys():
            yield from _touched(one.get(name), other.get(name), f"{path}.{name}" if path else name)
        if not (one or other):
            yield path
    elif isinstance(old, list) or isinstance(new, list):
        sides = [side if isinstance(side, list) else [] for side in (old, new)]
        for one, other in itertools.zip_longest(*sides):
            yield from _touched(one, other, path)
    elif not same(old, new):
        yield path


def _replacing(kinds: dict[str, str], touched: set[str], properties: frozenset[str]) -> list[str]:
    """Return which of the changed paths hold a change of a property that replaces."""
    decisive = {leaf for leaf in touched if any(f"{leaf}.".startswith(f"{name}.") for name in properties)}
    return sorted(
        path for path in kinds if any(f"{leaf}.".startswith(f"{re.sub(_INDEX, '', path)}.") for leaf in decisive)
    )


def _holds_its_name(token: str, news: Values, olds: Values) -> bool:
    """Tell whether two of them cannot be at once, because the program gives the name and keeps it."""
    name = rules.NAMES.get(token, ("name", 0))[0]
    if not isinstance(news.get("__defaults"), list) or name in news["__defaults"] or name not in news:
        return False
    # Only what could be made up counts; a record's or a zone's name cannot.
    return token != "aws:route53/record:Record" and bool(bare(news[name]) == bare(olds.get(name)))


def _ordered(values: Values) -> Values:
    """Return the values with each set in one order."""
    return {
        name: sorted(value, key=lambda item: json.dumps(item, default=str))
        if name in rules.SETS and isinstance(value, list)
        else value
        for name, value in values.items()
    }


def _like(present: Any, wanted: Any) -> Any:
    """Return of what is there the part that is asked for: computed members are no difference."""
    if isinstance(present, dict) and isinstance(wanted, dict) and SIGNATURE not in wanted:
        return {name: _like(present[name], value) for name, value in wanted.items() if name in present}
    return present


def all_tags(declaration: Any, inputs: Values, defaults: dict[str, str]) -> Any:
    """Return the value of `tagsAll`, None where the resource has none: the provider's tags and its own."""
    if "tagsAll" not in declaration["outputs"]:
        return None
    own = bare(inputs.get("tags"))
    if is_unknown(own):
        return Unknown
    return {**defaults, **(own or {})}


def previewed(declaration: Any, inputs: Values, state: Values | None, known: Values) -> Values:
    """Return the outputs of a preview.

    Args:
        declaration: of the resource.
        inputs: checked ones.
        state: of before, for an update; its computed values stay.
        known: outputs that are known before anything is done (the region, all tags).
    """
    outputs: Values = {}
    for name, declared in declaration["outputs"].items():
        value = inputs.get(name)
        if value is not None:
            outputs[name] = value
        elif name in known:
            outputs[name] = known[name]
        elif declared["required"]:
            outputs[name] = Unknown if state is None else state.get(name)
    if state is not None and "id" in state:
        outputs["id"] = state["id"]
    return {name: value for name, value in outputs.items() if value is not None}


def marked(outputs: Values, inputs: Values) -> Values:
    """Mark outputs as secret whose input holds a secret."""
    return {
        name: as_secret(value) if contains_secrets(inputs.get(name)) and not contains_secrets(value) else value
        for name, value in outputs.items()
    }


def bare_state(state: Values) -> Values:
    """Return a state as plain JSON, without what the bridge notes."""
    return dict(plain(given(state)))
