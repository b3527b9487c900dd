"""Machines, their keys, addresses and disks."""

from __future__ import annotations

import hashlib
import secrets

from tests.plugins.aws import containers, functions, networks
from tests.plugins.aws.account import Json, Refused
from tests.plugins.aws.kinds import (
    ASSOCIATION,
    ATTACHMENT,
    EIP,
    INSTANCE,
    KEY_PAIR,
    PROFILE,
    RUNNING,
    SNAPSHOT,
    VOLUME,
)
from tests.plugins.aws.makers.network import group_of, subnet_of, vpc_of
from tests.plugins.aws.orders import Order, identifies, makes, now, removes


@identifies(KEY_PAIR)
def _key_pair_id(order: Order) -> str:
    name = order.get("keyName") or f"{order.get('keyNamePrefix', 'terraform-')}{secrets.token_hex(8)}"
    if order.account.find(KEY_PAIR, name) is not None:
        raise Refused(f"api error InvalidKeyPair.Duplicate: The keypair '{name}' already exists.")
    return str(name)


@makes(KEY_PAIR)
def _key_pair(order: Order) -> Json:
    form = str(order.inputs["publicKey"]).split(" ")[0]
    if form not in ("ssh-ed25519", "ssh-rsa"):
        raise Refused("api error InvalidKey.Format: Key is not in valid OpenSSH public key format")
    return {
        "arn": order.arn("ec2", f"key-pair/{order.id}"),
        "keyName": order.id,
        "keyPairId": f"key-0{order.made()}",
        "keyType": form.removeprefix("ssh-"),
        "fingerprint": hashlib.sha256(str(order.inputs["publicKey"]).encode()).hexdigest()[:43],
    }


def _subnet_for(order: Order) -> Json:
    """Return the subnet of an instance: the one given, or one of the default VPC."""
    zone = order.get("availabilityZone")
    if order.get("subnetId"):
        subnet = subnet_of(order, order.inputs["subnetId"])
        if zone and zone != subnet["availabilityZone"]:
            raise Refused(
                f"api error InvalidParameterValue: The availability zone {zone} is not that of the subnet "
                f"{subnet['id']} ({subnet['availabilityZone']})"
            )
        return subnet
    for subnet in order.account.subnets(order.region):
        if subnet["defaultForAz"] and zone in (None, subnet["availabilityZone"]):
            return subnet
    raise Refused("api error VPCIdNotSpecified: No default VPC for this user")


@identifies(RUNNING)
def _running_id(order: Order) -> str:
    return str(order.inputs["instanceId"])


@makes(RUNNING)
def _running(order: Order) -> Json:
    instance = str(order.inputs["instanceId"])
    order.need(INSTANCE, instance, f"api error InvalidInstanceID.NotFound: The instance ID '{instance}' does not exist")
    return {"state": order.inputs["state"], "force": order.get("force", False)}


@makes(INSTANCE)
def _instance(order: Order) -> Json:
    kind = str(order.get("instanceType", ""))
    image = functions.image_of(order.account, str(order.get("ami")))
    if image is None:
        raise Refused(f"api error InvalidAMIID.NotFound: The image id '[{order.get('ami')}]' does not exist")
    if image["architecture"] not in functions.architectures(kind):
        raise Refused(
            f"api error InvalidParameterValue: The architecture '{'/'.join(functions.architectures(kind))}' of the "
            f"specified instance type does not match the architecture '{image['architecture']}' of the specified AMI"
        )
    subnet = _subnet_for(order)
    groups = order.get("vpcSecurityGroupIds", [])
    if not groups:
        groups = [vpc_of(order, subnet["vpcId"])["defaultSecurityGroupId"]]
    for group in groups:
        if group_of(order, group)["vpcId"] != subnet["vpcId"]:
            raise Refused(
                f"api error InvalidParameter: Security group {group} and subnet {subnet['id']} "
                "belong to different networks."
            )
    if order.get("keyName"):
        order.need(
            KEY_PAIR,
            order.inputs["keyName"],
            f"api error InvalidKeyPair.NotFound: The key pair '{order.inputs['keyName']}' does not exist",
        )
    if order.get("iamInstanceProfile"):
        order.need(
            PROFILE,
            order.inputs["iamInstanceProfile"],
            f"api error InvalidParameterValue: Value ({order.inputs['iamInstanceProfile']}) for parameter "
            "iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
        )
    if len(str(order.get("userData", "")).encode()) > 16384:
        raise Refused("api error InvalidParameterValue: User data is limited to 16384 bytes")
    return _outputs_of_an_instance(order, subnet, groups)


def _outputs_of_an_instance(order: Order, subnet: Json, groups: list[str]) -> Json:
    """Return what an instance is known by once it runs; its addresses stay as long as it does."""
    others = [other["state"] for other in order.others() if other["state"].get("subnetId") == subnet["id"]]
    private = order.before.get("privateIp") or order.get("privateIp")
    private = private or networks.free(subnet["cidrBlock"], [other["privateIp"] for other in others])
    six = order.before.get("ipv6Addresses") or order.get("ipv6Addresses", [])
    count = int(order.get("ipv6AddressCount", 0))
    if count and not subnet.get("ipv6CidrBlock"):
        raise Refused(f"api error InvalidSubnet.Range: The subnet '{subnet['id']}' has no IPv6 range")
    taken = [address for other in others for address in other.get("ipv6Addresses") or []]
    while len(six) < count:
        six = [*six, networks.free(subnet["ipv6CidrBlock"], [*taken, *six])]
    public = str(order.before.get("publicIp") or "")
    if not public and order.get("associatePublicIpAddress", subnet.get("mapPublicIpOnLaunch", False)):
        public = f"203.0.113.{int(order.made(2), 16) % 250 + 1}"
    least = order.before.get("rootBlockDevice", {}).get("volumeSize", 0)
    if order.late and int(order.get("rootBlockDevice", {}).get("volumeSize", least)) < int(least):
        raise Refused("api error InvalidParameterValue: New size cannot be smaller than existing size")
    root = {
        "deviceName": "/dev/sda1",
        "volumeId": f"vol-0{order.made(more='root')}",
        "volumeSize": 8,
        "volumeType": "gp3",
        "deleteOnTermination": True,
        "encrypted": False,
        **order.get("rootBlockDevice", {}),
    }
    return {
        "arn": order.arn("ec2", f"instance/{order.id}"),
        "availabilityZone": subnet["availabilityZone"],
        "subnetId": subnet["id"],
        "vpcSecurityGroupIds": groups,
        "privateIp": private,
        "publicIp": public,
        "associatePublicIpAddress": bool(public),
        "privateDns": f"ip-{private.replace('.', '-')}.{order.region}.compute.internal",
        "publicDns": f"ec2-{public.replace('.', '-')}.{order.region}.compute.amazonaws.com" if public else "",
        "ipv6Addresses": six,
        "ipv6AddressCount": len(six),
        "instanceState": order.before.get("instanceState") or "running",
        "primaryNetworkInterfaceId": f"eni-0{order.made(more='eni')}",
        "rootBlockDevice": root,
        "tenancy": order.get("tenancy", "default"),
        "instanceInitiatedShutdownBehavior": order.get("instanceInitiatedShutdownBehavior", "stop"),
    }


@removes(INSTANCE)
def _remove_instance(order: Order, state: Json) -> None:
    if state.get("disableApiTermination") and not state.get("forceDestroy"):
        raise Refused(
            f"api error OperationNotPermitted: The instance '{order.id}' may not be terminated. Modify its "
            "'disableApiTermination' instance attribute and try again."
        )


@makes(EIP)
def _eip(order: Order) -> Json:
    address = order.before.get("publicIp") or containers.free_address(order.account)
    instance = order.get("instance")
    if instance:
        order.need(
            INSTANCE, instance, f"api error InvalidInstanceID.NotFound: The instance ID '{instance}' does not exist"
        )
    return {
        "arn": order.arn("ec2", f"elastic-ip/{order.id}"),
        "allocationId": order.id,
        "publicIp": address,
        "publicDns": f"ec2-{address.replace('.', '-')}.{order.region}.compute.amazonaws.com",
        "domain": "vpc",
        "publicIpv4Pool": "amazon",
        "networkBorderGroup": order.region,
    }


@removes(EIP)
def _remove_eip(order: Order, _state: Json) -> None:
    held = (entry for entry in order.account.all(ASSOCIATION) if not entry.get("gone"))
    if any(entry["state"].get("allocationId") == order.id for entry in held):
        raise Refused(f"api error InvalidIPAddress.InUse: Address {order.id} is in use.")


@makes(ASSOCIATION)
def _association(order: Order) -> Json:
    allocation, instance = order.get("allocationId"), order.get("instanceId")
    eip = order.need(
        EIP, allocation, f"api error InvalidAllocationID.NotFound: The allocation ID '{allocation}' does not exist"
    )
    machine = order.need(
        INSTANCE, instance, f"api error InvalidInstanceID.NotFound: The instance ID '{instance}' does not exist"
    )
    for other in order.others():
        if other["state"].get("allocationId") == allocation and not other.get("gone"):
            same = other["state"].get("instanceId") == instance
            if same or order.get("allowReassociation") is False:
                raise Refused(
                    f"api error Resource.AlreadyAssociated: resource {allocation} is already associated with "
                    f"associate-id {other['id']}"
                )
    return {
        "publicIp": eip["state"]["publicIp"],
        "privateIpAddress": machine["state"]["privateIp"],
        "networkInterfaceId": machine["state"]["primaryNetworkInterfaceId"],
    }


@makes(VOLUME)
def _volume(order: Order) -> Json:
    if order.inputs["availabilityZone"] not in order.account.zones(order.region):
        raise Refused(f"api error InvalidZone.NotFound: The zone '{order.inputs['availabilityZone']}' does not exist.")
    snapshot = order.get("snapshotId")
    size = order.get("size")
    if snapshot:
        entry = order.need(
            SNAPSHOT, snapshot, f"api error InvalidSnapshot.NotFound: The snapshot '{snapshot}' does not exist."
        )
        least = int(entry["state"]["volumeSize"])
        size = size or least
        if size < least:
            raise Refused(
                "api error InvalidParameterValue: The size of a volume must be at least the size of its snapshot "
                f"({least})"
            )
    if not size:
        raise Refused("api error MissingParameter: The request must contain the parameter size/snapshot")
    if order.late and int(order.before["size"]) > int(size):
        raise Refused("api error InvalidParameterValue: New size cannot be smaller than existing size")
    form = order.get("type", "gp2")
    if form not in ("gp3", "io1", "io2") and order.get("iops"):
        raise Refused(f"'iops' must not be set when 'type' is '{form}'")
    if form != "gp3" and order.get("throughput"):
        raise Refused(f"'throughput' must not be set when 'type' is '{form}'")
    return {
        "arn": order.arn("ec2", f"volume/{order.id}"),
        "size": int(size),
        "type": form,
        "iops": order.get("iops", 3000 if form == "gp3" else 100),
        "throughput": order.get("throughput", 125 if form == "gp3" else 0),
        "createTime": order.before.get("createTime") or now(),
    }


@removes(VOLUME)
def _remove_volume(order: Order, state: Json) -> None:
    if any(entry["state"]["volumeId"] == order.id for entry in order.account.all(ATTACHMENT)):
        raise Refused(f"api error VolumeInUse: Volume {order.id} is currently attached")
    if state.get("finalSnapshot"):
        # Named by the volume, so that a test finds it.
        identity = f"snap-0{order.made(more='final')}"
        kept = {"volumeId": order.id, "volumeSize": state["size"], "tags": state.get("tags") or {}}
        order.account.put(SNAPSHOT, {"id": identity, "urn": "", "inputs": {}, "state": kept, "created": now()})
        containers.copy_to_snapshot(order.account, order.id, identity)


@makes(SNAPSHOT)
def _snapshot(order: Order) -> Json:
    volume = order.inputs["volumeId"]
    entry = order.need(VOLUME, volume, f"api error InvalidVolume.NotFound: The volume '{volume}' does not exist.")
    return {
        "arn": f"arn:aws:ec2:{order.region}::snapshot/{order.id}",
        "volumeSize": int(order.before.get("volumeSize") or entry["state"]["size"]),
        "encrypted": bool(entry["state"].get("encrypted")),
        "storageTier": order.get("storageTier", "standard"),
    }


@identifies(ATTACHMENT)
def _attachment_id(order: Order) -> str:
    told = "-".join(str(order.inputs[name]) for name in ("deviceName", "instanceId", "volumeId"))
    return f"vai-{int(hashlib.sha256(told.encode()).hexdigest()[:8], 16)}"


@makes(ATTACHMENT)
def _attachment(order: Order) -> Json:
    volume, instance = order.inputs["volumeId"], order.inputs["instanceId"]
    machine = order.need(
        INSTANCE, instance, f"api error InvalidInstanceID.NotFound: The instance ID '{instance}' does not exist"
    )
    disk = order.need(VOLUME, volume, f"api error InvalidVolume.NotFound: The volume '{volume}' does not exist.")
    if disk["state"]["availabilityZone"] != machine["state"]["availabilityZone"]:
        raise Refused(
            f"api error InvalidVolume.ZoneMismatch: The volume '{volume}' is not in the same availability zone as "
            f"instance '{instance}'"
        )
    for other in order.others():
        if other["state"]["volumeId"] == volume:
            raise Refused(
                f"api error VolumeInUse: {volume} is already attached to an instance ({other['state']['instanceId']})"
            )
        if (other["state"]["instanceId"], other["state"]["deviceName"]) == (instance, order.inputs["deviceName"]):
            raise Refused(
                f"api error InvalidParameterValue: Invalid value '{order.inputs['deviceName']}' for unixDevice. "
                "Attachment point is already in use"
            )
    return {}
