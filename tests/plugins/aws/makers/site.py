"""How it is reached: balancers, certificates, names."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import uuid

from tests.plugins.aws import functions
from tests.plugins.aws.account import NUMBER, Json, Refused
from tests.plugins.aws.kinds import (
    BALANCER,
    CERTIFICATE,
    HEALTH_CHECK,
    INSTANCE,
    LISTENER,
    LISTENER_RULE,
    RECORD,
    TARGET,
    TARGETS,
    VALIDATION,
)
from tests.plugins.aws.makers.network import group_of, subnet_of, vpc_of
from tests.plugins.aws.orders import Order, identifies, made_up_name, makes, now, removes


def _unique_name(order: Order, longest: int) -> str:
    name = str(order.before.get("name") or made_up_name(order))
    if len(name) > longest or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", name):
        raise Refused(
            f"api error ValidationError: The name '{name}' must have at most {longest} letters, digits and hyphens"
        )
    if any(other["state"]["name"] == name for other in order.others()):
        raise Refused(f"api error DuplicateName: {order.kind.rpartition(':')[2]} ({name}) already exists")
    return name


@identifies(BALANCER)
def _balancer_id(order: Order) -> str:
    form = {"network": "net", "gateway": "gwy"}.get(order.get("loadBalancerType", "application"), "app")
    order.inputs["name"] = _unique_name(order, 32)
    return order.arn("elasticloadbalancing", f"loadbalancer/{form}/{order.inputs['name']}/{secrets.token_hex(8)}")


@makes(BALANCER)
def _balancer(order: Order) -> Json:
    subnets = [subnet_of(order, identity) for identity in order.get("subnets", [])]
    form = order.get("loadBalancerType", "application")
    if form == "application" and len({subnet["availabilityZone"] for subnet in subnets}) < 2:
        raise Refused(
            "api error ValidationError: At least two subnets in two different Availability Zones must be specified"
        )
    if len({subnet["availabilityZone"] for subnet in subnets}) < len(subnets):
        raise Refused(
            "api error InvalidConfigurationRequest: A load balancer cannot be attached to multiple subnets in the "
            "same Availability Zone"
        )
    vpcs = {subnet["vpcId"] for subnet in subnets}
    for group in order.get("securityGroups", []):
        vpcs.add(group_of(order, group)["vpcId"])
    if len(vpcs) > 1:
        raise Refused("api error InvalidConfigurationRequest: subnets and security groups belong to different VPCs")
    name = order.before.get("name") or order.inputs["name"]
    number = int(order.made(8), 16)
    return {
        "arn": order.id,
        "arnSuffix": order.id.partition("loadbalancer/")[2],
        "name": name,
        "dnsName": f"{name}-{number}.{order.region}.elb.amazonaws.com",
        "zoneId": "Z215JYRZR1TBD5",
        "vpcId": next(iter(vpcs), ""),
        "ipAddressType": order.get("ipAddressType", "ipv4"),
    }


@removes(BALANCER)
def _remove_balancer(order: Order, state: Json) -> None:
    if state.get("enableDeletionProtection"):
        raise Refused(
            f"api error OperationNotPermitted: Load balancer '{order.id}' cannot be deleted because deletion "
            "protection is enabled"
        )


@identifies(TARGETS)
def _targets_id(order: Order) -> str:
    order.inputs["name"] = _unique_name(order, 32)
    return order.arn("elasticloadbalancing", f"targetgroup/{order.inputs['name']}/{secrets.token_hex(8)}")


@makes(TARGETS)
def _targets(order: Order) -> Json:
    if order.get("targetType", "instance") != "lambda":
        for name in ("vpcId", "port", "protocol"):
            if order.get(name) is None:
                raise Refused(
                    f"Missing required argument: The argument {name} is required when targetType is not lambda."
                )
        vpc_of(order, order.inputs["vpcId"])
    check = {
        "enabled": True,
        "healthyThreshold": 3,
        "unhealthyThreshold": 3,
        "interval": 30,
        "timeout": 5,
        "port": "traffic-port",
        "protocol": "HTTP",
        "path": "/",
        "matcher": "200",
        **order.get("healthCheck", {}),
    }
    if int(check["timeout"]) >= int(check["interval"]):
        raise Refused("api error ValidationError: Health check timeout must be smaller than the interval")
    return {
        "arn": order.id,
        "arnSuffix": order.id.rpartition(":")[2],
        "name": order.before.get("name") or order.inputs["name"],
        "healthCheck": check,
        "ipAddressType": "ipv4",
        "loadBalancerArns": [],
        "protocolVersion": order.get("protocolVersion", "HTTP1"),
    }


@removes(TARGETS)
def _remove_targets(order: Order, _state: Json) -> None:
    users = [*order.account.all(LISTENER), *order.account.all(LISTENER_RULE)]
    if any(order.id in json.dumps(entry["inputs"]) for entry in users):
        raise Refused(f"api error ResourceInUse: Target group '{order.id}' is currently in use by a listener or a rule")


def _targets_of(order: Order, identity: str) -> Json:
    entry = order.need(TARGETS, identity, f"api error TargetGroupNotFound: Target group '{identity}' not found")
    return dict(entry["state"])


@identifies(TARGET)
def _target_id(order: Order) -> str:
    return f"{order.inputs['targetGroupArn']}-{secrets.token_hex(13)}"


@makes(TARGET)
def _target(order: Order) -> Json:
    group = _targets_of(order, order.inputs["targetGroupArn"])
    target = str(order.inputs["targetId"])
    if group.get("targetType", "instance") == "instance":
        machine = order.need(
            INSTANCE, target, f"api error InvalidTarget: The following targets are not valid instances: '{target}'"
        )
        if subnet_of(order, machine["state"]["subnetId"])["vpcId"] != group["vpcId"]:
            raise Refused(f"api error InvalidTarget: '{target}' is not in the VPC of the target group")
    return {}


def _refuse_actions(order: Order, actions: list[Json]) -> None:
    for action in actions:
        targets = [action.get("targetGroupArn")]
        targets += [group.get("arn") for group in (action.get("forward") or {}).get("targetGroups") or []]
        for target in targets:
            if target:
                _targets_of(order, target)


@identifies(LISTENER)
def _listener_id(order: Order) -> str:
    balancer = str(order.inputs["loadBalancerArn"])
    return f"{balancer.replace(':loadbalancer/', ':listener/')}/{secrets.token_hex(8)}"


@makes(LISTENER)
def _listener(order: Order) -> Json:
    balancer = str(order.inputs["loadBalancerArn"])
    entry = order.need(BALANCER, balancer, f"api error LoadBalancerNotFound: Load balancer '{balancer}' not found")
    for other in order.others():
        if (other["state"]["loadBalancerArn"], other["state"].get("port")) == (balancer, order.get("port")):
            raise Refused(f"api error DuplicateListener: A listener already exists on this port for '{balancer}'")
    protocol = order.get("protocol", "HTTP")
    outputs: Json = {"arn": order.id, "protocol": protocol}
    if protocol in ("HTTPS", "TLS"):
        certificate = order.get("certificateArn")
        if not certificate:
            raise Refused("api error ValidationError: A certificate must be specified for HTTPS listeners")
        found = order.need(
            CERTIFICATE, certificate, f"api error CertificateNotFound: Certificate '{certificate}' not found"
        )
        if found["state"].get("status") != "ISSUED":
            raise Refused(
                f"api error UnsupportedCertificate: The certificate '{certificate}' must have a fully-qualified domain "
                "name, a supported signature, and a supported key size. (It is not issued yet.)"
            )
        outputs["sslPolicy"] = order.get("sslPolicy", "ELBSecurityPolicy-2016-08")
    elif entry["state"].get("loadBalancerType", "application") == "application" and protocol != "HTTP":
        raise Refused(f"api error ValidationError: Protocol '{protocol}' must be one of 'HTTP, HTTPS'")
    _refuse_actions(order, order.inputs["defaultActions"])
    return outputs


@identifies(LISTENER_RULE)
def _listener_rule_id(order: Order) -> str:
    return f"{str(order.inputs['listenerArn']).replace(':listener/', ':listener-rule/')}/{secrets.token_hex(8)}"


@makes(LISTENER_RULE)
def _listener_rule(order: Order) -> Json:
    listener = str(order.inputs["listenerArn"])
    order.need(LISTENER, listener, f"api error ListenerNotFound: One or more listeners not found: '{listener}'")
    taken = [int(other["state"]["priority"]) for other in order.others() if other["state"]["listenerArn"] == listener]
    priority = int(order.get("priority") or order.before.get("priority") or max([0, *taken]) + 1)
    if priority in taken:
        raise Refused(f"api error PriorityInUse: Priority '{priority}' is currently in use")
    _refuse_actions(order, order.inputs["actions"])
    return {"arn": order.id, "priority": priority}


@identifies(CERTIFICATE)
def _certificate_id(order: Order) -> str:
    return order.arn("acm", f"certificate/{uuid.uuid4()}")


@makes(CERTIFICATE)
def _certificate(order: Order) -> Json:
    domain = str(order.get("domainName", ""))
    names = [domain, *(name for name in order.get("subjectAlternativeNames", []) if name != domain)]
    options = []
    for name in names:
        # A wildcard is proven by the record of the name below it.
        proven = name.removeprefix("*.")
        token = hashlib.sha256(f"{NUMBER}{proven}".encode()).hexdigest()[:32]
        options.append(
            {
                "domainName": name,
                "resourceRecordName": f"_{token}.{proven}.",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": f"_{token[::-1]}.acm-validations.aws.",
            }
        )
    return {
        "arn": order.id,
        "domainName": domain,
        "domainValidationOptions": options if order.get("validationMethod") == "DNS" else [],
        "subjectAlternativeNames": names,
        "status": order.before.get("status") or "PENDING_VALIDATION",
        "type": "AMAZON_ISSUED",
        "keyAlgorithm": order.get("keyAlgorithm", "RSA_2048"),
        "renewalEligibility": "INELIGIBLE",
    }


@removes(CERTIFICATE)
def _remove_certificate(order: Order, _state: Json) -> None:
    if any(entry["state"].get("certificateArn") == order.id for entry in order.account.all(LISTENER)):
        raise Refused(f"api error ResourceInUseException: Certificate {order.id} in account {NUMBER} is in use.")


@identifies(VALIDATION)
def _validation_id(_order: Order) -> str:
    return f"{now().replace('T', ' ').removesuffix('Z')}.{secrets.randbelow(1000):03} +0000 UTC"


@makes(VALIDATION)
def _validation(order: Order) -> Json:
    identity = str(order.inputs["certificateArn"])
    entry = order.need(
        CERTIFICATE, identity, f"api error ResourceNotFoundException: Could not find certificate {identity}."
    )
    for option in entry["state"]["domainValidationOptions"]:
        records = [
            record["state"]
            for record in order.account.all(RECORD)
            if record["state"]["fqdn"] == option["resourceRecordName"].rstrip(".")
        ]
        values = [str(value).rstrip(".") for record in records for value in record.get("records") or []]
        if option["resourceRecordValue"].rstrip(".") not in values:
            raise Refused(
                f"waiting for ACM Certificate ({identity}) to be issued: timeout while waiting for state to become "
                f"'ISSUED' (no record proves {option['domainName']})"
            )
    order.account.change(CERTIFICATE, identity, status="ISSUED")
    return {}


def _full_name(order: Order) -> tuple[str, str]:
    """Return the full name of a record and the name of its zone."""
    zone = functions.hosted_zone_name(str(order.inputs["zoneId"]))
    if not order.account.zone_exists(zone):
        raise Refused(f"reading Route 53 Hosted Zone ({order.inputs['zoneId']}): couldn't find resource")
    name = str(order.inputs["name"]).rstrip(".").lower()
    inside = name == zone or name.endswith(f".{zone}")
    return (name if inside else f"{name}.{zone}" if name else zone), zone


@identifies(RECORD)
def _record_id(order: Order) -> str:
    name, _ = _full_name(order)
    kind, which = order.inputs["type"], order.get("setIdentifier")
    identity = f"{order.inputs['zoneId']}_{name}_{kind}" + (f"_{which}" if which else "")
    if order.account.find(RECORD, identity) is not None:
        if not order.get("allowOverwrite"):
            raise Refused(
                "creating Route53 Record: InvalidChangeBatch: Tried to create resource record set "
                f"[name='{name}.', type='{kind}'] but it already exists"
            )
        order.account.remove(RECORD, identity)
    return identity


@makes(RECORD)
def _record(order: Order) -> Json:
    name, _ = _full_name(order)
    if order.get("records") is not None and order.get("ttl") is None:
        raise Refused('"records": all of `records,ttl` must be specified')
    outputs: Json = {"fqdn": name, "name": name}
    if order.get("aliases"):
        # In lower case and without the period at its end, as the provider keeps it.
        outputs["aliases"] = [
            {**alias, "name": str(alias["name"]).lower().rstrip(".")} for alias in order.inputs["aliases"]
        ]
    if order.get("healthCheckId"):
        order.need(
            HEALTH_CHECK,
            order.inputs["healthCheckId"],
            f"creating Route53 Record: InvalidInput: no health check {order.inputs['healthCheckId']}",
        )
    return outputs


@identifies(HEALTH_CHECK)
def _health_check_id(_order: Order) -> str:
    return str(uuid.uuid4())


@makes(HEALTH_CHECK)
def _health_check(order: Order) -> Json:
    return {
        "arn": f"arn:aws:route53:::healthcheck/{order.id}",
        "enableSni": order.get("enableSni", str(order.inputs["type"]).startswith("HTTPS")),
        "failureThreshold": order.get("failureThreshold", 3),
    }
