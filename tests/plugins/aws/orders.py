"""One create, update or delete, and who knows what the account makes of each kind of resource.

Each maker is asked at creation and at every update, and derives what it makes up from the resource's id, so that it
says the same each time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.plugins.aws.account import NUMBER, Account, Json, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass
class Order:
    """One create, update or delete."""

    account: Account
    kind: str
    declaration: Any
    urn: str
    inputs: Json
    region: str
    tags: Json | None
    id: str = ""
    before: Json = field(default_factory=dict)  # the state, at an update
    late: bool = False  # whether it updates

    def arn(self, service: str, what: str, *, regional: bool = True) -> str:
        """Return the name that AWS has for what is made."""
        return f"arn:aws:{service}:{self.region if regional else ''}:{NUMBER}:{what}"

    def made(self, digits: int = 16, more: str = "") -> str:
        """Return hexadecimal digits that belong to the id."""
        return hashlib.sha256(f"{self.kind}{self.id}{more}".encode()).hexdigest()[:digits]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an input, a default where it is not given."""
        value = self.inputs.get(name)
        return default if value is None else value

    def need(self, kind: str, identity: Any, error: str) -> Json:
        """Return an entry that must be there."""
        entry = self.account.find(kind, str(identity))
        if entry is None:
            raise Refused(error)
        return entry

    def others(self, kind: str | None = None) -> list[Json]:
        """Return what else there is of a kind."""
        kind = kind or self.kind
        return [entry for entry in self.account.all(kind) if kind != self.kind or entry["id"] != self.id]


MAKERS: dict[str, Callable[[Order], Json]] = {}
NAMERS: dict[str, Callable[[Order], str]] = {}
REMOVERS: dict[str, Callable[[Order, Json], None]] = {}


def makes(*kinds: str) -> Callable[[Callable[[Order], Json]], Callable[[Order], Json]]:
    """Register what returns the outputs of these kinds."""

    def keep(maker: Callable[[Order], Json]) -> Callable[[Order], Json]:
        MAKERS.update(dict.fromkeys(kinds, maker))
        return maker

    return keep


def identifies(*kinds: str) -> Callable[[Callable[[Order], str]], Callable[[Order], str]]:
    """Register what returns the id of a new resource of these kinds."""

    def keep(namer: Callable[[Order], str]) -> Callable[[Order], str]:
        NAMERS.update(dict.fromkeys(kinds, namer))
        return namer

    return keep


def removes(*kinds: str) -> Callable[[Callable[[Order, Json], None]], Callable[[Order, Json], None]]:
    """Register what refuses to remove a resource of these kinds, given its state."""

    def keep(remover: Callable[[Order, Json], None]) -> Callable[[Order, Json], None]:
        REMOVERS.update(dict.fromkeys(kinds, remover))
        return remover

    return keep


def now() -> str:
    """Return the time as AWS writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def refuse_dependents(order: Order, what: str, dependents: Iterable[Json]) -> None:
    """Refuse to remove what something else still needs."""
    if next(iter(dependents), None) is not None:
        raise Refused(
            f"deleting {what} ({order.id}): api error DependencyViolation: "
            f"The {order.id.split('-')[0]} '{order.id}' has dependencies and cannot be deleted."
        )


def made_up_name(order: Order) -> str:
    """Return the name that is given, or one as the provider makes it up."""
    return str(order.get("name") or f"{order.get('namePrefix', 'terraform-')}{secrets.token_hex(8)}")


def document(value: Any) -> str:
    """Return a policy as text; one that is no JSON is refused."""
    if isinstance(value, dict):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        raise Refused("api error MalformedPolicyDocument: Syntax errors in policy.") from None
    return str(value)
