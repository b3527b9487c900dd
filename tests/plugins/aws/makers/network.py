"""Networks: ranges, ways, and who may reach whom."""

from __future__ import annotations

import hashlib

from tests.plugins.aws import functions, networks
from tests.plugins.aws.account import Json, Refused
from tests.plugins.aws.kinds import (
    BALANCER,
    CACHE,
    DATABASE,
    DEFAULT_GROUP,
    EGRESS,
    GATEWAY,
    INGRESS,
    INSTANCE,
    ROUTE,
    ROUTE_TABLE,
    SECURITY_GROUP,
    SUBNET,
    TABLE_ASSOCIATION,
    VPC,
)
from tests.plugins.aws.orders import Order, identifies, makes, refuse_dependents, removes


@makes(VPC)
def _vpc(order: Order) -> Json:
    outputs: Json = {
        "arn": order.arn("ec2", f"vpc/{order.id}"),
        "defaultSecurityGroupId": f"sg-0{order.made(more='sg')}",
        "mainRouteTableId": f"rtb-0{order.made(more='rtb')}",
        "defaultRouteTableId": f"rtb-0{order.made(more='rtb')}",
        "defaultNetworkAclId": f"acl-0{order.made(more='acl')}",
        "dhcpOptionsId": f"dopt-0{order.made(more='dopt')}",
        "enableDnsSupport": order.get("enableDnsSupport", True),
        "instanceTenancy": order.get("instanceTenancy", "default"),
    }
    if order.get("assignGeneratedIpv6CidrBlock"):
        outputs["ipv6CidrBlock"] = networks.written(f"2a05:d014:{order.made(4, '6')}:{order.made(2, '6b')}00::/56")
        outputs["ipv6AssociationId"] = f"vpc-cidr-assoc-0{order.made(more='6')}"
    else:
        outputs["ipv6CidrBlock"] = outputs["ipv6AssociationId"] = ""
    return outputs


@removes(VPC)
def _remove_vpc(order: Order, _state: Json) -> None:
    for kind in (SUBNET, SECURITY_GROUP, ROUTE_TABLE, GATEWAY):
        refuse_dependents(
            order, "EC2 VPC", (entry for entry in order.account.all(kind) if entry["state"].get("vpcId") == order.id)
        )


def vpc_of(order: Order, identity: str) -> Json:
    """Return the state of a VPC that must be there."""
    for vpc in order.account.vpcs(order.region):
        if vpc["id"] == identity:
            return vpc
    raise Refused(f"api error InvalidVpcID.NotFound: The vpc ID '{identity}' does not exist")


def subnet_of(order: Order, identity: str) -> Json:
    """Return the state of a subnet that must be there."""
    for subnet in order.account.subnets(order.region):
        if subnet["id"] == identity:
            return subnet
    raise Refused(f"api error InvalidSubnetID.NotFound: The subnet ID '{identity}' does not exist")


@makes(SUBNET)
def _subnet(order: Order) -> Json:
    vpc = vpc_of(order, order.inputs["vpcId"])
    zone = order.get("availabilityZone", order.account.zones(order.region)[0])
    if zone not in order.account.zones(order.region):
        raise Refused(f"api error InvalidParameterValue: Value ({zone}) for parameter availabilityZone is invalid")
    beside = [subnet for subnet in order.account.subnets(order.region) if subnet["vpcId"] == vpc["id"]]
    for name in ("cidrBlock", "ipv6CidrBlock"):
        taken = [subnet[name] for subnet in beside if subnet["id"] != order.id and subnet.get(name)]
        networks.refuse_overlap(order.get(name), vpc.get(name), taken)
    return {
        "arn": order.arn("ec2", f"subnet/{order.id}"),
        "availabilityZone": zone,
        "availabilityZoneId": functions.zone_id(zone),
        "ipv6CidrBlockAssociationId": f"subnet-cidr-assoc-0{order.made()}" if order.get("ipv6CidrBlock") else "",
        "privateDnsHostnameTypeOnLaunch": "ip-name",
    }


@removes(SUBNET)
def _remove_subnet(order: Order, _state: Json) -> None:
    users = [entry for entry in order.account.all(INSTANCE) if entry["state"].get("subnetId") == order.id]
    users += [entry for entry in order.account.all(BALANCER) if order.id in (entry["state"].get("subnets") or [])]
    refuse_dependents(order, "EC2 Subnet", users)


@makes(GATEWAY)
def _gateway(order: Order) -> Json:
    if order.get("vpcId"):
        vpc_of(order, order.inputs["vpcId"])
        if any(other["state"].get("vpcId") == order.inputs["vpcId"] for other in order.others()):
            raise Refused(
                f"api error Resource.AlreadyAssociated: network vpc {order.inputs['vpcId']} "
                "already has an internet gateway attached"
            )
    return {"arn": order.arn("ec2", f"internet-gateway/{order.id}")}


@makes(ROUTE_TABLE)
def _route_table(order: Order) -> Json:
    vpc_of(order, order.inputs["vpcId"])
    return {"arn": order.arn("ec2", f"route-table/{order.id}")}


@removes(ROUTE_TABLE)
def _remove_route_table(order: Order, _state: Json) -> None:
    associations = order.account.all(TABLE_ASSOCIATION)
    refuse_dependents(
        order, "EC2 Route Table", (entry for entry in associations if entry["state"]["routeTableId"] == order.id)
    )


def _table_of(order: Order) -> str:
    """Return the VPC of a route table, which may be the main one of a VPC."""
    identity = order.inputs["routeTableId"]
    entry = order.account.find(ROUTE_TABLE, identity)
    if entry is not None:
        return str(entry["state"]["vpcId"])
    for vpc in order.account.vpcs(order.region):
        if vpc.get("mainRouteTableId") == identity:
            return str(vpc["id"])
    raise Refused(f"api error InvalidRouteTableID.NotFound: The routeTable ID '{identity}' does not exist")


def _destination(order: Order) -> str:
    names = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
    given = [str(order.inputs[name]) for name in names if order.get(name)]
    if len(given) != 1:
        raise Refused(f"a route needs exactly one of {', '.join(names)}")
    return given[0]


@identifies(ROUTE)
def _route_id(order: Order) -> str:
    number = int(hashlib.sha256(_destination(order).encode()).hexdigest()[:8], 16)
    identity = f"r-{order.inputs['routeTableId']}{number}"
    if order.account.find(ROUTE, identity) is not None:
        raise Refused(
            f"api error RouteAlreadyExists: Route in Route Table ({order.inputs['routeTableId']}) "
            f"with destination ({_destination(order)}) already exists"
        )
    return identity


@makes(ROUTE)
def _route(order: Order) -> Json:
    vpc = _table_of(order)
    gateway = order.get("gatewayId")
    if gateway and gateway != "local":
        entry = order.need(
            GATEWAY, gateway, f"api error InvalidGatewayID.NotFound: The gateway ID '{gateway}' does not exist"
        )
        if entry["state"].get("vpcId") != vpc:
            raise Refused(
                f"api error InvalidParameterValue: route table {order.inputs['routeTableId']} and network gateway "
                f"{gateway} belong to different networks"
            )
    return {"origin": "CreateRoute", "state": "active"}


@makes(TABLE_ASSOCIATION)
def _table_association(order: Order) -> Json:
    vpc = _table_of(order)
    if order.get("subnetId"):
        if subnet_of(order, order.inputs["subnetId"])["vpcId"] != vpc:
            raise Refused(
                f"api error InvalidParameterValue: Route table {order.inputs['routeTableId']} and "
                f"subnet {order.inputs['subnetId']} belong to different networks"
            )
        if any(other["state"].get("subnetId") == order.inputs["subnetId"] for other in order.others()):
            raise Refused(
                "api error Resource.AlreadyAssociated: the specified association for subnet "
                f"{order.inputs['subnetId']} conflicts with an existing association"
            )
    return {}


@makes(SECURITY_GROUP)
def _security_group(order: Order) -> Json:
    default = order.account.default_vpc(order.region)
    vpc = order.get("vpcId") or (default or {}).get("id")
    if vpc is None:
        raise Refused("api error VPCIdNotSpecified: No default VPC for this user")
    vpc_of(order, vpc)
    name = order.get("name") or f"{order.get('namePrefix', 'terraform-')}{order.made()}"
    if any(other["state"]["name"] == name and other["state"]["vpcId"] == vpc for other in order.others()):
        raise Refused(f"api error InvalidGroup.Duplicate: The security group '{name}' already exists for VPC '{vpc}'")
    return {
        "arn": order.arn("ec2", f"security-group/{order.id}"),
        "vpcId": vpc,
        "name": name,
        "description": order.get("description", "Managed by Pulumi"),
    }


@removes(SECURITY_GROUP)
def _remove_security_group(order: Order, _state: Json) -> None:
    lists = {
        INSTANCE: "vpcSecurityGroupIds",
        BALANCER: "securityGroups",
        DATABASE: "vpcSecurityGroupIds",
        CACHE: "securityGroupIds",
    }
    users = [
        entry
        for kind, name in lists.items()
        for entry in order.account.all(kind)
        if order.id in (entry["state"].get(name) or [])
    ]
    for kind in (INGRESS, EGRESS):
        users += [
            entry
            for entry in order.account.all(kind)
            if entry["state"].get("referencedSecurityGroupId") == order.id
            and entry["state"].get("securityGroupId") != order.id
        ]
    refuse_dependents(order, "Security Group", users)


def group_of(order: Order, identity: str) -> Json:
    """Return the state of a security group that must be there; a VPC's default one counts."""
    entry = order.account.find(SECURITY_GROUP, identity)
    if entry is not None:
        return dict(entry["state"])
    for vpc in order.account.vpcs(order.region):
        if vpc.get("defaultSecurityGroupId") == identity:
            return {"vpcId": vpc["id"]}
    raise Refused(f"api error InvalidGroup.NotFound: The security group '{identity}' does not exist")


@identifies(DEFAULT_GROUP)
def _default_group_id(order: Order) -> str:
    default = order.account.default_vpc(order.region) or {}
    return str(vpc_of(order, str(order.get("vpcId") or default.get("id")))["defaultSecurityGroupId"])


@makes(DEFAULT_GROUP)
def _default_group(order: Order) -> Json:
    """One that came with its VPC is taken over, and its removal leaves it there."""
    vpcs = [vpc["id"] for vpc in order.account.vpcs(order.region) if vpc.get("defaultSecurityGroupId") == order.id]
    return {
        "arn": order.arn("ec2", f"security-group/{order.id}"),
        "vpcId": vpcs[0],
        "name": "default",
        "description": "default VPC security group",
    }


@makes(INGRESS, EGRESS)
def _rule(order: Order) -> Json:
    group = group_of(order, order.inputs["securityGroupId"])
    sources = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    if len([name for name in sources if order.get(name)]) != 1:
        raise Refused(f"Invalid Attribute Combination: exactly one of {', '.join(sources)} must be given")
    if order.get("referencedSecurityGroupId"):
        other = group_of(order, order.inputs["referencedSecurityGroupId"])
        if other["vpcId"] != group["vpcId"]:
            raise Refused(
                "api error InvalidGroup.NotFound: You have specified two resources that belong to different networks."
            )
    for name in ("cidrIpv4", "cidrIpv6"):
        networks.refuse_wrong(order.get(name))
    protocol = order.inputs["ipProtocol"]
    if protocol in ("tcp", "udp", "6", "17") and (order.get("fromPort") is None or order.get("toPort") is None):
        raise Refused("api error InvalidParameterValue: fromPort and toPort must be specified for this protocol")
    told = ("securityGroupId", "ipProtocol", "fromPort", "toPort", *sources)
    mine = [order.get(name) for name in told]
    if any([other["state"].get(name) for name in told] == mine for other in order.others()):
        raise Refused("api error InvalidPermission.Duplicate: the specified rule already exists")
    return {"arn": order.arn("ec2", f"security-group-rule/{order.id}"), "securityGroupRuleId": order.id}
