"""Who may do what, and where it is logged."""

from __future__ import annotations

from tests.plugins.aws.account import Json, Refused
from tests.plugins.aws.kinds import (
    CACHE_SUBNETS,
    DATABASE_PARAMETERS,
    DATABASE_SUBNETS,
    LOGS,
    PROFILE,
    ROLE,
    ROLE_ATTACHMENT,
    ROLE_POLICY,
)
from tests.plugins.aws.orders import Order, document, identifies, made_up_name, makes, now, removes


@identifies(ROLE, PROFILE, LOGS, DATABASE_SUBNETS, DATABASE_PARAMETERS, CACHE_SUBNETS)
def _by_name(order: Order) -> str:
    name = made_up_name(order)
    if order.account.find(order.kind, name) is not None:
        raise Refused(f"api error EntityAlreadyExists: {order.kind.rpartition(':')[2]} {name} already exists.")
    return name


@makes(ROLE)
def _role(order: Order) -> Json:
    return {
        "arn": order.arn("iam", f"role{order.get('path', '/')}{order.id}", regional=False),
        "name": order.id,
        "uniqueId": f"AROA{order.made(16).upper()}",
        "createDate": order.before.get("createDate") or now(),
        "assumeRolePolicy": document(order.inputs["assumeRolePolicy"]),
    }


@removes(ROLE)
def _remove_role(order: Order, _state: Json) -> None:
    if any(entry["state"].get("role") == order.id for entry in order.account.all(PROFILE)):
        raise Refused("api error DeleteConflict: Cannot delete entity, must remove roles from instance profile first.")
    if any(entry["state"].get("role") == order.id for entry in order.account.all(ROLE_ATTACHMENT)):
        raise Refused("api error DeleteConflict: Cannot delete entity, must detach all policies first.")


def _role_of(order: Order) -> str:
    role = str(order.inputs["role"])
    order.need(ROLE, role, f"api error NoSuchEntity: The role with name {role} cannot be found.")
    return role


@identifies(ROLE_POLICY)
def _role_policy_id(order: Order) -> str:
    return f"{order.inputs['role']}:{made_up_name(order)}"


@makes(ROLE_POLICY)
def _role_policy(order: Order) -> Json:
    _role_of(order)
    return {"name": order.id.partition(":")[2], "policy": document(order.inputs["policy"])}


@identifies(ROLE_ATTACHMENT)
def _role_attachment_id(order: Order) -> str:
    return f"{order.inputs['role']}/{order.inputs['policyArn']}"


@makes(ROLE_ATTACHMENT)
def _role_attachment(order: Order) -> Json:
    _role_of(order)
    policy = str(order.inputs["policyArn"])
    if not policy.startswith("arn:aws:iam::"):
        raise Refused(f"api error NoSuchEntity: Policy {policy} does not exist or is not attachable.")
    return {}


@makes(PROFILE)
def _profile(order: Order) -> Json:
    if order.get("role"):
        _role_of(order)
    return {
        "arn": order.arn("iam", f"instance-profile{order.get('path', '/')}{order.id}", regional=False),
        "name": order.id,
        "uniqueId": f"AIPA{order.made(16).upper()}",
        "createDate": order.before.get("createDate") or now(),
    }


@removes(PROFILE)
def _remove_profile(_order: Order, _state: Json) -> None:
    """A profile in use may go: the instance keeps what it has."""


@makes(LOGS)
def _log_group(order: Order) -> Json:
    days = int(order.get("retentionInDays", 0))
    allowed = (
        0,
        1,
        3,
        5,
        7,
        14,
        30,
        60,
        90,
        120,
        150,
        180,
        365,
        400,
        545,
        731,
        1096,
        1827,
        2192,
        2557,
        2922,
        3288,
        3653,
    )
    if days not in allowed:
        raise Refused(f"expected retention_in_days to be one of {list(allowed)}, got {days}")
    return {"arn": order.arn("logs", f"log-group:{order.id}"), "name": order.id, "logGroupClass": "STANDARD"}
