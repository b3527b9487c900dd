"""What AWS would refuse, or do to the data, when half of an `up` is done: looked up and refused before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi_aws as aws

from components.aws.asking import Missing, asked
from planning import machines, services, tags
from settings.aws_rules import grown, grows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.aws.lookups import Subnets
    from planning import volumes
    from planning.tags import Owner
    from settings import AwsServer, Database


def another_network(server: AwsServer, wanted: Subnets, owner: Owner) -> None:
    """Refuse to move a stack: its address, disks and services would be in the way of each other.

    Raises:
        Missing: it is in another network, or in other zones of it.
    """
    there = set(aws.ec2.get_security_groups(tags=owner.tags).vpc_ids)
    if not there:
        return
    if wanted.vpc is None:
        cidr = aws.ec2.GetVpcsFilterArgs(name="cidr", values=[server.network.cidr])
        zones = aws.ec2.GetSubnetsFilterArgs(name="availability-zone", values=wanted.zones)
        as_wanted = set(aws.ec2.get_vpcs(tags=owner.tags, filters=[cidr]).ids)
        subnets, in_zones = (aws.ec2.get_subnets(tags=owner.tags, filters=one).ids for one in ([], [zones]))
        stays = there <= as_wanted and set(subnets) <= set(in_zones)
    else:
        stays = there == {wanted.vpc}
    if not stays:
        raise Missing(
            f"flaskhost:server.network: must stay as it is, since this stack is in {', '.join(sorted(there))}, and its "
            "address, disks and services cannot move to another network or other zones of it: put the earlier values "
            "back, or make a new stack"
        )


def copy(snapshot: str, size: int) -> None:
    """Refuse a snapshot that no data volume can be made of, before the machine goes for which it shall be."""
    found = asked(
        lambda: aws.ebs.get_snapshot(snapshot_ids=[snapshot]),
        f"flaskhost:server.restore_from: must be a snapshot of a disk in this region (got {snapshot!r}), and AWS knows "
        "none of that name: look it up in the console of EC2, Snapshots",
    )
    if found.state != "completed":
        raise Missing(
            f"flaskhost:server.restore_from: must be complete, and is {found.state} (got {snapshot!r}): wait until it "
            "is, or take another one"
        )
    if found.volume_size > size:
        raise Missing(
            f"flaskhost:server.data_volume: must not be below {found.volume_size}, which the snapshot has (got "
            f"{size}): write {found.volume_size} or more"
        )


def instance_type(server: AwsServer, zones: Sequence[str]) -> None:
    """Refuse a type of instances that AWS does not have where machines shall be."""
    wanted = {"instance-type": [server.instance_type], "location": list(dict.fromkeys(zones))}
    filters = [aws.ec2.GetInstanceTypeOfferingsFilterArgs(name=name, values=values) for name, values in wanted.items()]
    offered = aws.ec2.get_instance_type_offerings(filters=filters, location_type="availability-zone").locations
    lacking = [zone for zone in wanted["location"] if zone not in offered]
    if lacking:
        raise Missing(
            f"flaskhost:server.instance_type: must be a type that AWS has in {', '.join(lacking)} (got "
            f"{server.instance_type!r}): write another type, or have the machines in other zones"
        )


def risky(server: AwsServer, plan: volumes.Plan, there: Sequence[volumes.Volume]) -> None:
    """Refuse what would leave data behind, or go back to older data without a word.

    Raises:
        Missing: with what to do instead.
    """
    newest = max(there, key=lambda one: one.number, default=None)
    if newest is None:
        return
    called = machines.called(server.ubuntu, server.instance_type, server.rebuild)
    writer = _writer(newest.id, called) if plan.moves else None
    if writer:
        raise Missing(
            "flaskhost:server: must not ask for another zone or snapshot and for another image at once, since the old "
            f"machine ({writer}) would write on while its data is copied (got {called}): do one in an `up` of its own, "
            "then the other"
        )
    if newest.is_kept and not plan.moves:
        raise Missing(
            f"flaskhost:server.restore_from: must be given, since the data volume that came after {newest.id} is gone, "
            f"and that one holds older data: write a snapshot of the lost one; or remove the tag {tags.KEPT} from "
            f"{newest.id} to go on with what it has"
        )


def _writer(volume: str, called: str) -> str | None:
    """Return the machine that has a volume, if it is another one than the settings ask for by its image."""
    has_it = aws.ec2.GetInstancesFilterArgs(name="block-device-mapping.volume-id", values=[volume])
    is_it = aws.ec2.GetInstancesFilterArgs(name=f"tag:{tags.IMAGE}", values=[called])
    states = ["pending", "running", "stopping", "stopped"]
    holders = aws.ec2.get_instances(filters=[has_it], instance_state_names=states).ids
    same = aws.ec2.get_instances(filters=[has_it, is_it], instance_state_names=states).ids
    return next((one for one in holders if one not in same), None)


def database(wanted: Database, owner: Owner) -> None:
    """Refuse sizes that the database cannot have which is there, or the snapshot that one shall be made of.

    Raises:
        Missing: with the setting to change.
    """
    there = aws.rds.get_instances(tags=owner.tags).instance_identifiers
    if not there and wanted.restore_from:
        _database_snapshot(wanted, wanted.restore_from)
    elif len(there) == 1:
        _grown_database(wanted, there[0])


def _grown_database(wanted: Database, identifier: str) -> None:
    """Refuse less than a disk has by now, which AWS has let grow."""
    found = aws.rds.get_instance(db_instance_identifier=identifier)
    has, setting = found.allocated_storage, "flaskhost:database"
    if wanted.storage_limit == wanted.storage:
        if wanted.storage < has:
            raise Missing(
                f"{setting}.storage: must not be below {has}, which the disk of {identifier} has by now (got "
                f"{wanted.storage}): write {has} here and at storage_limit, since a disk can grow and not shrink"
            )
    elif wanted.storage_limit != found.max_allocated_storage and wanted.storage_limit < grown(has):
        raise Missing(
            f"{setting}.storage_limit: must leave 10 % at the least above {has}, which the disk of {identifier} has by "
            f"now (got {wanted.storage_limit}): write {grown(has)} or more"
        )


def _database_snapshot(wanted: Database, name: str) -> None:
    """Refuse a snapshot that a database of these settings cannot be made of."""
    setting = "flaskhost:database"
    found = asked(
        lambda: aws.rds.get_snapshot(db_snapshot_identifier=name, include_shared=True),
        f"{setting}.restore_from: must be a snapshot of RDS in this region (got {name!r}), and AWS knows none of that "
        "name: look it up in the console of RDS, Snapshots, or take the line out for an empty database",
    )
    if found.status != "available":
        raise Missing(
            f"{setting}.restore_from: must be available, and is {found.status} (got {name!r}): wait until it is, or "
            "take another one"
        )
    version, has = wanted.wanted_version, found.allocated_storage
    problems = []
    if services.DATABASES[wanted.engine] != found.engine:
        problems.append(
            f"{setting}.engine: must be that of the snapshot, which is of {found.engine} (got {wanted.engine!r}): "
            "write the other one, or another snapshot"
        )
    elif version != found.engine_version:
        # AWS would be asked for this version right after, and refuses it where it is below.
        problems.append(
            f"{setting}.version: must be that of the snapshot while a database is made of it (got {version!r}): write "
            f'version: "{found.engine_version}"'
        )
    if not grows(has, wanted.storage):
        problems.append(
            f"{setting}.storage: must be {has}, which the snapshot has, or 10 % more at the least (got "
            f"{wanted.storage}): write {has}, or {grown(has)} or more"
        )
    if not found.encrypted:
        problems.append(
            f"{setting}.restore_from: must be an encrypted snapshot (got {name!r}): copy it with encryption in the "
            "console of RDS, Snapshots, and write the name of the copy"
        )
    if problems:
        raise Missing("\n".join(problems))
