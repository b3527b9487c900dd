"""What the program may ask: images, networks, zones, types of machines, volumes."""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING, Any

from tests.plugins.aws import declarations
from tests.plugins.aws.account import NUMBER, Account, Json, Refused
from tests.plugins.aws.kinds import (
    ATTACHMENT,
    DATABASE,
    INSTANCE,
    ROUTE,
    ROUTE_TABLE,
    SECURITY_GROUP,
    SNAPSHOT,
    TABLE_ASSOCIATION,
    VOLUME,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NOTHING = "Your query returned no results. Please change your search criteria and try again."
_SEVERAL = "Your query returned more than one result. Please try a more specific search criteria."
_OLD = frozenset({"a1", "c1", "c3", "cc2", "cr1", "g2", "hs1", "i2", "m1", "m2", "m3", "r3", "t1"})
_MEMORY = {"c": 2, "r": 8, "x": 16}  # GiB a virtual processor; else 4
_SMALL = {"nano": 0.5, "micro": 1, "small": 2, "medium": 4}


def call(account: Account, token: str, arguments: Json, region: str) -> Json:
    """Return the result of a function; what it leaves out of the declared result is filled in."""
    known = FUNCTIONS.get(token)
    if known is None:
        raise Refused(f"{token}: the stand-in for the aws plugin lacks this function")
    region = str(arguments.get("region") or region)
    result = {**arguments, "region": region, **known(account, arguments, region)}
    outputs = declarations.of(token)["outputs"]
    missing = {name: empty(declared["type"]) for name, declared in outputs.items() if declared["required"]}
    return {name: value for name, value in {**missing, **result}.items() if name in outputs}


def empty(kind: Any) -> Any:
    """Return the value of a type that says nothing."""
    if isinstance(kind, dict):
        return [] if "list" in kind else {} if "map" in kind else ""
    return {"str": "", "bool": False, "int": 0, "float": 0, "any": {}}.get(kind, "")


def matching(things: Iterable[Json], filters: Any, words: Callable[[Json], dict[str, list[str]]]) -> list[Json]:
    """Return the things that pass all filters, each of which is a name and values with wildcards."""
    found = list(things)
    for one in filters or []:
        name, values = str(one["name"]), [str(value) for value in one["values"]]
        if not values:
            raise Refused(f"api error InvalidParameterValue: The filter '{name}' has no values")
        kept = []
        for thing in found:
            known = {**words(thing), **_tags(thing)}
            if name not in known and not name.startswith("tag"):
                raise Refused(f"api error InvalidParameterValue: The filter '{name}' is invalid")
            if any(fnmatch.fnmatchcase(said, value) for said in known.get(name, []) for value in values):
                kept.append(thing)
        found = kept
    return found


def _tags(thing: Json) -> dict[str, list[str]]:
    tags = thing.get("tagsAll") or thing.get("tags") or {}
    return {f"tag:{key}": [str(value)] for key, value in tags.items()} | {"tag-key": list(tags)}


def _with_tags(things: list[Json], tags: Json | None) -> list[Json]:
    return [
        thing
        for thing in things
        if all(
            (thing.get("tagsAll") or thing.get("tags") or {}).get(key) == value for key, value in (tags or {}).items()
        )
    ]


def _states(account: Account, kind: str) -> list[Json]:
    """Return the outputs of all that there is of a kind, with their IDs."""
    return [{**entry["state"], "id": entry["id"]} for entry in account.all(kind)]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _the_one(found: list[Json], arguments: Json, made: str) -> Json:
    """Return the only one that was found, or the newest where that is asked for; `made` names when each was made."""
    if not found:
        raise Refused(_NOTHING)
    if len(found) > 1 and not arguments.get("mostRecent"):
        raise Refused(_SEVERAL)
    return max(found, key=lambda one: str(one[made]))


def _image(account: Account, arguments: Json, _region: str) -> Json:
    owners = [NUMBER if owner == "self" else owner for owner in arguments.get("owners") or []]
    images = [image for image in account.images() if not owners or image["ownerId"] in owners]
    if arguments.get("nameRegex"):
        images = [image for image in images if re.search(arguments["nameRegex"], image["name"])]
    images = matching(
        images,
        arguments.get("filters"),
        lambda image: {
            "name": [image["name"]],
            "architecture": [image["architecture"]],
            "state": [image["state"]],
            "image-id": [image["id"]],
            "owner-id": [image["ownerId"]],
            "virtualization-type": ["hvm"],
            "root-device-type": ["ebs"],
            "is-public": ["true"],
            "image-type": ["machine"],
        },
    )
    newest = _the_one(images, arguments, "creationDate")
    return {
        **newest,
        "imageId": newest["id"],
        "rootDeviceName": "/dev/sda1",
        "rootDeviceType": "ebs",
        "virtualizationType": "hvm",
        "public": True,
    }


def image_of(account: Account, identity: str) -> Json | None:
    """Return the machine image of that id."""
    return next((image for image in account.images() if image["id"] == identity), None)


def _vpc(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(account.vpcs(region), arguments.get("tags"))
    for name in ("id", "default", "cidrBlock"):
        if arguments.get(name) is not None:
            found = [vpc for vpc in found if vpc.get(name) == arguments[name]]
    found = matching(
        found,
        arguments.get("filters"),
        lambda vpc: {"vpc-id": [vpc["id"]], "isDefault": [_word(vpc["default"])], "cidr": [vpc["cidrBlock"]]},
    )
    if not found:
        raise Refused("no matching EC2 VPC found")
    if len(found) > 1:
        raise Refused("multiple EC2 VPCs matched; use additional constraints to reduce matches to a single EC2 VPC")
    return {"ipv6CidrBlock": "", "state": "available", "instanceTenancy": "default", **found[0]}


def _words_of_a_subnet(subnet: Json) -> dict[str, list[str]]:
    return {
        "subnet-id": [subnet["id"]],
        "vpc-id": [subnet["vpcId"]],
        "default-for-az": [_word(subnet["defaultForAz"])],
        "availability-zone": [subnet["availabilityZone"]],
        "availabilityZone": [subnet["availabilityZone"]],
        "map-public-ip-on-launch": [_word(subnet.get("mapPublicIpOnLaunch", False))],
        "cidr-block": [subnet["cidrBlock"]],
        "state": ["available"],
    }


def _vpcs(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(account.vpcs(region), arguments.get("tags"))
    found = matching(found, arguments.get("filters"), lambda vpc: {"vpc-id": [vpc["id"]], "cidr": [vpc["cidrBlock"]]})
    return {"id": region, "ids": [vpc["id"] for vpc in found]}


def _groups(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(_states(account, SECURITY_GROUP), arguments.get("tags"))
    return {"id": region, "ids": [one["id"] for one in found], "vpcIds": [one["vpcId"] for one in found]}


def _instances(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(_states(account, INSTANCE), arguments.get("instanceTags"))
    states = arguments.get("instanceStateNames") or ["running"]
    found = [one for one in found if one.get("instanceState") in states]
    found = matching(
        found, arguments.get("filters"), lambda one: {"block-device-mapping.volume-id": _disks(account, one)}
    )
    return {"id": region, "ids": [one["id"] for one in found]}


def _disks(account: Account, instance: Json) -> list[str]:
    attached = [one["state"] for one in account.all(ATTACHMENT)]
    return [str(one["volumeId"]) for one in attached if one["instanceId"] == instance["id"]]


def _offerings(account: Account, arguments: Json, region: str) -> Json:
    without = account.options.get("zones_without", {})
    wanted = {one["name"]: list(one["values"]) for one in arguments.get("filters") or []}
    found = [
        (kind, zone)
        for kind in wanted["instance-type"]
        for zone in account.zones(region)
        if zone in wanted.get("location", [zone]) and zone not in without.get(kind, [])
    ]
    return {
        "id": region,
        "instanceTypes": [kind for kind, _ in found],
        "locations": [zone for _, zone in found],
        "locationTypes": ["availability-zone" for _ in found],
    }


def _snapshot(account: Account, arguments: Json, _region: str) -> Json:
    there = [
        {"state": "completed", **one["state"], "id": one["id"], "made": one["created"]} for one in account.all(SNAPSHOT)
    ]
    wanted = arguments.get("snapshotIds") or []
    one = _the_one([one for one in there if not wanted or one["id"] in wanted], arguments, "made")
    return {**{name: value for name, value in one.items() if name != "made"}, "snapshotId": one["id"]}


def _subnets(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(account.subnets(region), arguments.get("tags"))
    found = matching(found, arguments.get("filters"), _words_of_a_subnet)
    return {"id": region, "ids": [subnet["id"] for subnet in found]}


def _subnet(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(account.subnets(region), arguments.get("tags"))
    for name in ("id", "availabilityZone", "cidrBlock", "defaultForAz", "vpcId"):
        if arguments.get(name) is not None:
            found = [subnet for subnet in found if subnet.get(name) == arguments[name]]
    found = matching(found, arguments.get("filters"), _words_of_a_subnet)
    if not found:
        raise Refused("no matching EC2 Subnet found")
    if len(found) > 1:
        raise Refused(
            "multiple EC2 Subnets matched; use additional constraints to reduce matches to a single EC2 Subnet"
        )
    return {"ipv6CidrBlock": "", "state": "available", "mapPublicIpOnLaunch": False, **found[0]}


def _tables(account: Account, region: str) -> list[Json]:
    """Return all route tables, the main ones of VPCs among them: that of the default VPC leads to the Internet."""
    routes = [
        {
            "table": one["routeTableId"],
            "cidrBlock": one.get("destinationCidrBlock", ""),
            "ipv6CidrBlock": one.get("destinationIpv6CidrBlock", ""),
            "gatewayId": one.get("gatewayId", ""),
            "natGatewayId": one.get("natGatewayId", ""),
        }
        for one in _states(account, ROUTE)
    ]
    outside = {"cidrBlock": "0.0.0.0/0", "ipv6CidrBlock": "", "gatewayId": "igw-0a1b2c3d4e5f60718", "natGatewayId": ""}
    tables = [
        {
            "id": vpc["mainRouteTableId"],
            "vpcId": vpc["id"],
            "associations": [{"main": True, "subnetId": ""}],
            "routes": [outside] if vpc["default"] else [],
        }
        for vpc in account.vpcs(region)
    ]
    for table in _states(account, ROUTE_TABLE):
        members = [one for one in _states(account, TABLE_ASSOCIATION) if one["routeTableId"] == table["id"]]
        named = [{"main": False, "subnetId": one.get("subnetId", "")} for one in members]
        tables.append({"id": table["id"], "vpcId": table["vpcId"], "associations": named, "routes": []})
    for table in tables:
        table["routes"] = table["routes"] + [one for one in routes if one["table"] == table["id"]]
    return tables


def _route_tables(account: Account, arguments: Json, region: str) -> Json:
    found = [one for one in _tables(account, region) if arguments.get("vpcId") in (None, one["vpcId"])]
    found = matching(
        found,
        arguments.get("filters"),
        lambda table: {
            "vpc-id": [table["vpcId"]],
            "association.main": [_word(one["main"]) for one in table["associations"]],
            "association.subnet-id": [one["subnetId"] for one in table["associations"]],
        },
    )
    return {"id": region, "ids": [table["id"] for table in found]}


def _route_table(account: Account, arguments: Json, region: str) -> Json:
    found = next((one for one in _tables(account, region) if one["id"] == arguments["routeTableId"]), None)
    if found is None:
        raise Refused(_NOTHING)
    names = ("instanceId", "networkInterfaceId", "transitGatewayId", "vpcEndpointId", "vpcPeeringConnectionId")
    others = ("carrierGatewayId", "coreNetworkArn", "destinationPrefixListId", "egressOnlyGatewayId", "localGatewayId")
    unset = dict.fromkeys([*names, *others, "odbNetworkArn"], "")
    routes = [{**unset, **{name: value for name, value in one.items() if name != "table"}} for one in found["routes"]]
    members = [
        {"routeTableAssociationId": "rtbassoc-0", "routeTableId": found["id"], "gatewayId": "", **one}
        for one in found["associations"]
    ]
    return {**found, "routeTableId": found["id"], "routes": routes, "associations": members}


def _zones(account: Account, arguments: Json, region: str) -> Json:
    names = [zone for zone in account.zones(region) if zone not in (arguments.get("excludeNames") or [])]
    names = [
        found["name"]
        for found in matching(
            [{"name": name} for name in names],
            arguments.get("filters"),
            lambda zone: {
                "zone-name": [zone["name"]],
                "region-name": [region],
                "opt-in-status": ["opt-in-not-required"],
                "zone-type": ["availability-zone"],
                "state": ["available"],
            },
        )
    ]
    return {"id": region, "names": names, "zoneIds": [zone_id(name) for name in names], "groupNames": [region]}


def zone_id(zone: str) -> str:
    """Return the id of an availability zone, such as euc1-az1."""
    region, letter = zone[:-1], zone[-1]
    area, side, number = region.split("-")
    return f"{area}{side[0]}{number}-az{ord(letter) - ord('a') + 1}"


def _caller(_account: Account, _arguments: Json, _region: str) -> Json:
    return {
        "id": NUMBER,
        "accountId": NUMBER,
        "arn": f"arn:aws:iam::{NUMBER}:user/tests",
        "userId": "AIDAFLASKHOSTTESTS",
    }


def _region(_account: Account, arguments: Json, region: str) -> Json:
    named = str(arguments.get("name") or region)
    description = {"eu-central-1": "Europe (Frankfurt)"}.get(named, named)
    return {
        "id": named,
        "name": named,
        "region": named,
        "description": description,
        "endpoint": f"ec2.{named}.amazonaws.com",
    }


def _partition(_account: Account, _arguments: Json, _region: str) -> Json:
    return {"id": "aws", "partition": "aws", "dnsSuffix": "amazonaws.com", "reverseDnsPrefix": "com.amazonaws"}


def hosted_zone_id(name: str) -> str:
    """Return the id of a hosted zone; its name can be read back from it."""
    return f"Z{name.rstrip('.').lower().encode().hex().upper()}"


def hosted_zone_name(identity: str) -> str:
    """Return the name of a hosted zone from its id."""
    try:
        return bytes.fromhex(identity.removeprefix("Z")).decode()
    except ValueError:
        raise Refused(f"reading Route 53 Hosted Zone ({identity}): couldn't find resource") from None


def _hosted_zone(account: Account, arguments: Json, _region: str) -> Json:
    identity = arguments.get("zoneId")
    name = str(arguments.get("name") or (hosted_zone_name(identity) if identity else "")).rstrip(".")
    if not name or not account.zone_exists(name) or arguments.get("privateZone"):
        raise Refused("no matching Route 53 Hosted Zone found")
    identity = hosted_zone_id(name)
    return {
        "id": identity,
        "zoneId": identity,
        "name": name,
        "arn": f"arn:aws:route53:::hostedzone/{identity}",
        "privateZone": False,
        "nameServers": [f"ns-{number}.awsdns-{number:02}.{end}" for number, end in enumerate(("com", "net", "org"), 1)],
        "primaryNameServer": "ns-1.awsdns-01.com",
        "resourceRecordSetCount": 2,
    }


def architectures(kind: str) -> list[str]:
    """Return the architectures of a type of instance; one that does not exist is an error."""
    if kind not in declarations.of(INSTANCE)["inputs"]["instanceType"]["type"]["enum"]:
        raise Refused(
            f"reading EC2 Instance Type ({kind}): api error InvalidInstanceType: "
            f"The following supplied instance types do not exist: [{kind}]"
        )
    family = kind.split(".", maxsplit=1)[0]
    if family.startswith("mac"):
        return ["x86_64_mac"] if family == "mac1" else ["arm64_mac"]
    # The generation is followed by what it is made of, and g is Graviton: t4g, m7gd, c7gn, is4gen.
    arm = family == "a1" or re.fullmatch(r"[a-z]+\d+g[a-z]*(-.*)?", family) is not None
    return ["arm64"] if arm else ["i386", "x86_64"] if family in ("t2", "t1", "m1", "c1", "c3", "m3") else ["x86_64"]


def _instance_type(_account: Account, arguments: Json, _region: str) -> Json:
    kind = str(arguments["instanceType"])
    supported = architectures(kind)
    family, size = kind.split(".", 1)
    times = re.match(r"(\d*)xlarge|metal", size)
    processors = 4 * int(times[1] or 1) if times and times[0] != "metal" else 96 if times else 2
    memory = _SMALL.get(size, processors * _MEMORY.get(family[0], 4))
    return {
        "id": kind,
        "supportedArchitectures": supported,
        "currentGeneration": family not in _OLD,
        "defaultVcpus": processors,
        "memorySize": int(memory * 1024),
        "burstablePerformanceSupported": family[0] == "t",
        "hypervisor": "nitro",
    }


def _instance_types(account: Account, arguments: Json, region: str) -> Json:
    names = declarations.of(INSTANCE)["inputs"]["instanceType"]["type"]["enum"]
    found = matching(
        [{"name": name, **_instance_type(account, {"instanceType": name}, region)} for name in names],
        arguments.get("filters"),
        lambda kind: {
            "instance-type": [kind["name"]],
            "current-generation": [_word(kind["currentGeneration"])],
            "processor-info.supported-architecture": kind["supportedArchitectures"],
            "burstable-performance-supported": [_word(kind["burstablePerformanceSupported"])],
        },
    )
    return {"id": region, "instanceTypes": [kind["name"] for kind in found]}


def _words_of_a_volume(volume: Json) -> dict[str, list[str]]:
    return {
        "volume-id": [volume["id"]],
        "availability-zone": [volume["availabilityZone"]],
        "size": [_word(int(volume.get("size") or 0))],
        "snapshot-id": [str(volume.get("snapshotId") or "")],
        "volume-type": [str(volume.get("type") or "gp2")],
        "status": [str(volume.get("status") or "available")],
        "encrypted": [_word(bool(volume.get("encrypted")))],
    }


def _all_volumes(account: Account, region: str) -> list[Json]:
    volumes = [
        {**entry["state"], "id": entry["id"], "created": entry.get("created", "")} for entry in account.all(VOLUME)
    ]
    return [volume for volume in volumes if volume.get("region", region) == region]


def _volumes(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(_all_volumes(account, region), arguments.get("tags"))
    found = matching(found, arguments.get("filters"), _words_of_a_volume)
    return {"id": region, "ids": [volume["id"] for volume in found]}


def _volume(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(_all_volumes(account, region), arguments.get("tags"))
    found = matching(found, arguments.get("filters"), _words_of_a_volume)
    volume = _the_one(found, arguments, "created")
    return {
        **{name: value for name, value in volume.items() if name not in ("created", "status")},
        "volumeId": volume["id"],
        "volumeType": volume.get("type") or "gp2",
        "snapshotId": volume.get("snapshotId") or "",
        "tags": volume.get("tagsAll") or {},
    }


def _database_snapshot(account: Account, arguments: Json, _region: str) -> Json:
    name = str(arguments["dbSnapshotIdentifier"])
    file = account.path("database-snapshots") / name
    if not file.exists():
        raise Refused(_NOTHING)
    return {"id": name, "status": "available", **json.loads(file.read_text())}


def _databases(account: Account, arguments: Json, region: str) -> Json:
    found = _with_tags(_states(account, DATABASE), arguments.get("tags"))
    return {
        "id": region,
        "instanceArns": [one["arn"] for one in found],
        "instanceIdentifiers": [one["identifier"] for one in found],
    }


def _database(account: Account, arguments: Json, _region: str) -> Json:
    name = str(arguments["dbInstanceIdentifier"])
    found = next((one for one in _states(account, DATABASE) if one["identifier"] == name), None)
    if found is None:
        raise Refused(_NOTHING)
    return {
        **found,
        "id": name,
        "dbInstanceIdentifier": name,
        "dbInstanceArn": found["arn"],
        "dbInstanceClass": found["instanceClass"],
    }


FUNCTIONS: dict[str, Callable[[Account, Json, str], Json]] = {
    "aws:ec2/getAmi:getAmi": _image,
    "aws:ec2/getVpc:getVpc": _vpc,
    "aws:ec2/getVpcs:getVpcs": _vpcs,
    "aws:ec2/getSecurityGroups:getSecurityGroups": _groups,
    "aws:ec2/getInstances:getInstances": _instances,
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": _offerings,
    "aws:ec2/getSubnets:getSubnets": _subnets,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:ec2/getRouteTables:getRouteTables": _route_tables,
    "aws:ec2/getRouteTable:getRouteTable": _route_table,
    "aws:ec2/getInstanceType:getInstanceType": _instance_type,
    "aws:ec2/getInstanceTypes:getInstanceTypes": _instance_types,
    "aws:ebs/getEbsVolumes:getEbsVolumes": _volumes,
    "aws:ebs/getVolume:getVolume": _volume,
    "aws:ebs/getSnapshot:getSnapshot": _snapshot,
    "aws:rds/getSnapshot:getSnapshot": _database_snapshot,
    "aws:rds/getInstances:getInstances": _databases,
    "aws:rds/getInstance:getInstance": _database,
    "aws:route53/getZone:getZone": _hosted_zone,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
}
