"""Making, changing and removing resources in an account."""

from __future__ import annotations

import secrets

from tests.plugins.aws import containers, functions, rules
from tests.plugins.aws.account import NUMBER, Json, Refused
from tests.plugins.aws.kinds import (
    ASSOCIATION,
    ATTACHMENT,
    EGRESS,
    EIP,
    GATEWAY,
    INGRESS,
    INSTANCE,
    POLICY,
    ROUTE_TABLE,
    SECURITY_GROUP,
    SNAPSHOT,
    SUBNET,
    TABLE_ASSOCIATION,
    VOLUME,
    VPC,
)
from tests.plugins.aws.makers import access, data, machines, network, site
from tests.plugins.aws.orders import MAKERS, NAMERS, REMOVERS, Order, now

# Each registers the kinds that it knows, and is used by that only.
KNOWN = (access, data, machines, network, site)

_PREFIXES = {
    VPC: "vpc",
    SUBNET: "subnet",
    GATEWAY: "igw",
    ROUTE_TABLE: "rtb",
    TABLE_ASSOCIATION: "rtbassoc",
    SECURITY_GROUP: "sg",
    INGRESS: "sgr",
    EGRESS: "sgr",
    INSTANCE: "i",
    EIP: "eipalloc",
    ASSOCIATION: "eipassoc",
    VOLUME: "vol",
    SNAPSHOT: "snap",
    POLICY: "policy",
}


def create(order: Order) -> tuple[str, Json]:
    """Make the resource; return its id and all its outputs."""
    with order.account.lock():
        order.id = _identity(order)
        outputs = _outputs(order)
        if order.account.find(order.kind, order.id) is not None:
            raise Refused(f"api error AlreadyExists: {order.kind} {order.id} already exists")
        entry = {"id": order.id, "urn": order.urn, "inputs": order.inputs, "state": outputs, "created": now()}
        order.account.put(order.kind, entry)
    try:
        # What takes seconds is done without the lock.
        outputs.update(containers.after_create(order.account, order.kind, order.id))
    except BaseException:
        order.account.remove(order.kind, order.id)
        raise
    return order.id, outputs


def update(order: Order, identity: str, state: Json) -> Json:
    """Change the resource in place; return all its outputs."""
    order.id, order.before, order.late = identity, state, True
    with order.account.lock():
        entry = order.account.find(order.kind, identity)
        if entry is None:
            raise Refused(f"{order.kind} {identity}: is not there any more")
        order.before = entry["state"]
        old_inputs = entry["inputs"]
        for name, value in order.before.items():
            # The provider changes what differs from its state, which may be behind.
            if (order.kind, name) in rules.FROM_THE_STATE and order.inputs.get(name) == state.get(name):
                order.inputs[name] = value
        outputs = _outputs(order)
        order.account.put(order.kind, {**entry, "inputs": order.inputs, "state": outputs})
    outputs.update(containers.after_update(order.account, order.kind, identity, old_inputs))
    return {**outputs, **{name: state[name] for kind, name in rules.SEEN_LATER if kind == order.kind}}


def delete(order: Order, identity: str, state: Json) -> None:
    """Remove the resource; one that is gone already is no failure."""
    order.id = identity
    entry = None
    with order.account.lock():
        order.account.path("resources")
        entry = order.account.find(order.kind, identity)
        if entry is None:
            return
        remover = REMOVERS.get(order.kind)
        if remover is not None:
            remover(order, entry["state"])
    if order.kind == ATTACHMENT and state.get("skipDestroy"):
        return  # it stays attached until the instance ends
    containers.before_delete(order.account, order.kind, identity)
    with order.account.lock():
        order.account.remove(order.kind, identity)


def _outputs(order: Order) -> Json:
    maker = MAKERS.get(order.kind)
    computed = maker(order) if maker is not None else {}
    known = {"region": order.region, "tagsAll": order.tags, "ownerId": NUMBER}
    outputs: Json = {"id": order.id}
    for name, declared in order.declaration["outputs"].items():
        candidates = [computed.get(name), order.inputs.get(name), known.get(name)]
        if order.late:
            candidates.append(order.before.get(name) if declared["required"] else None)
        if declared["required"]:
            candidates.append(functions.empty(declared["type"]))
        value = next((candidate for candidate in candidates if candidate is not None), None)
        if value is not None:
            outputs[name] = value
    return outputs


def _identity(order: Order) -> str:
    namer = NAMERS.get(order.kind)
    if namer is not None:
        return namer(order)
    prefix = _PREFIXES.get(order.kind)
    return f"{prefix}-0{secrets.token_hex(8)}" if prefix else secrets.token_hex(10)
