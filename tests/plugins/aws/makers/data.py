"""What is kept: databases, caches, buckets, copies of disks."""

from __future__ import annotations

import json
import re
import secrets
import uuid

from tests.plugins.aws.account import Json, Refused
from tests.plugins.aws.kinds import (
    BUCKET,
    CACHE,
    CACHE_SUBNETS,
    DATABASE,
    DATABASE_PARAMETERS,
    DATABASE_SUBNETS,
    OF_A_BUCKET,
    POLICY,
    ROLE,
)
from tests.plugins.aws.makers.network import group_of, subnet_of
from tests.plugins.aws.orders import Order, document, identifies, makes, removes

STRIPED_GIB, STRIPED_IOPS = 400, 12000
"""Of a gp3 disk on four others (Amazon RDS User Guide, "gp3 storage")."""


@makes(DATABASE_SUBNETS)
def _database_subnets(order: Order) -> Json:
    subnets = [subnet_of(order, identity) for identity in order.inputs["subnetIds"]]
    if len({subnet["availabilityZone"] for subnet in subnets}) < 2:
        raise Refused(
            "api error DBSubnetGroupDoesNotCoverEnoughAZs: The DB subnet group doesn't meet Availability Zone (AZ) "
            "coverage requirement. Current AZ coverage: "
            f"{', '.join(sorted({subnet['availabilityZone'] for subnet in subnets}))}. "
            "Add subnets to cover at least 2 AZs."
        )
    return {
        "arn": order.arn("rds", f"subgrp:{order.id}"),
        "name": order.id,
        "description": order.get("description", "Managed by Pulumi"),
        "vpcId": subnets[0]["vpcId"],
        "supportedNetworkTypes": ["IPV4"],
    }


@removes(DATABASE_SUBNETS)
def _remove_database_subnets(order: Order, _state: Json) -> None:
    if any(entry["state"].get("dbSubnetGroupName") == order.id for entry in order.account.all(DATABASE)):
        raise Refused(
            f"api error InvalidDBSubnetGroupStateFault: Cannot delete the subnet group '{order.id}' because at least "
            "one database instance is still using it."
        )


@makes(DATABASE_PARAMETERS)
def _database_parameters(order: Order) -> Json:
    return {
        "arn": order.arn("rds", f"pg:{order.id}"),
        "name": order.id,
        "description": order.get("description", "Managed by Pulumi"),
    }


@removes(DATABASE_PARAMETERS)
def _remove_database_parameters(order: Order, _state: Json) -> None:
    if any(entry["state"].get("parameterGroupName") == order.id for entry in order.account.all(DATABASE)):
        raise Refused(
            "api error InvalidDBParameterGroupState: One or more database instances are still members of this "
            f"parameter group {order.id}, so the group cannot be deleted"
        )


@identifies(DATABASE)
def _database_id(order: Order) -> str:
    name = str(order.get("identifier") or f"{order.get('identifierPrefix', 'tf-')}{secrets.token_hex(12)}").lower()
    if any(other["state"]["identifier"] == name for other in order.others()):
        raise Refused(f"api error DBInstanceAlreadyExists: DB instance already exists ({name})")
    order.inputs.setdefault("identifier", name)
    return f"db-{secrets.token_hex(13).upper()}"


_PORTS = {"postgres": 5432, "mysql": 3306, "mariadb": 3306}


@makes(DATABASE)
def _database(order: Order) -> Json:
    engine = str(order.get("engine") or order.before.get("engine") or "")
    version = str(order.get("engineVersion") or order.before.get("engineVersion") or "16.4")
    group = order.get("dbSubnetGroupName")
    if group:
        order.need(
            DATABASE_SUBNETS, group, f"api error DBSubnetGroupNotFoundFault: DB subnet group '{group}' does not exist."
        )
    parameters = order.get("parameterGroupName")
    if parameters and not str(parameters).startswith("default."):
        entry = order.need(
            DATABASE_PARAMETERS, parameters, f"api error DBParameterGroupNotFound: {parameters} does not exist"
        )
        families = {f"{engine}{version.split('.', maxsplit=1)[0]}", f"{engine}{'.'.join(version.split('.')[:2])}"}
        if entry["state"]["family"] not in families:
            raise Refused(
                f"api error InvalidParameterCombination: The parameter group {parameters} with DBParameterGroupFamily "
                f"{entry['state']['family']} can't be used for this instance. Please use a parameter group with "
                f"DBParameterGroupFamily {engine}{version.split('.', maxsplit=1)[0]}"
            )
    for security_group in order.get("vpcSecurityGroupIds", []):
        group_of(order, security_group)
    managed = bool(order.get("manageMasterUserPassword"))
    source = order.get("snapshotIdentifier") or order.get("replicateSourceDb")
    if not order.late and not source:
        if not (managed or order.get("password") or order.get("passwordWo")):
            raise Refused("api error InvalidParameterValue: The parameter MasterUserPassword must be provided.")
        for name in ("allocatedStorage", "engine", "username"):
            if order.get(name) is None:
                raise Refused(f'"{name}": required field is not set')
    _refuse_storage(order, engine)
    identifier = str(order.get("identifier") or order.before.get("identifier"))
    address = f"{identifier}.c{order.made(11)}.{order.region}.rds.amazonaws.com"
    port = int(order.get("port") or _PORTS.get(engine, 5432))
    secret = {
        "secretArn": order.arn("secretsmanager", f"secret:rds!{order.id.lower()}-{order.made(6, 'secret')}"),
        "secretStatus": "active",
        "kmsKeyId": order.arn("kms", f"key/{uuid.UUID(order.made(32, 'key'))}"),
    }
    return {
        "arn": order.arn("rds", f"db:{identifier}"),
        "identifier": identifier,
        "address": address,
        "endpoint": f"{address}:{port}",
        "port": port,
        "hostedZoneId": "Z1RLNUO7B9Q6NB",
        "resourceId": order.id,
        "status": "available",
        "engineVersion": version,
        "engineVersionActual": version if "." in version else f"{version}.4",
        "availabilityZone": order.get("availabilityZone") or f"{order.region}a",
        "masterUserSecrets": [secret] if managed else [],
        "backupWindow": order.get("backupWindow", "03:00-03:30"),
        "maintenanceWindow": str(order.get("maintenanceWindow", "sun:04:00-sun:04:30")).lower(),
        "parameterGroupName": parameters or f"default.{engine}{version.split('.', maxsplit=1)[0]}",
        "storageType": order.get("storageType", "gp2"),
        "caCertIdentifier": order.get("caCertIdentifier", "rds-ca-rsa2048-g1"),
    }


def _refuse_storage(order: Order, engine: str) -> None:
    """Refuse a size that a disk cannot get (hashicorp/terraform-provider-aws, issues 28382 and 46062)."""
    before, size = int(order.before.get("allocatedStorage") or 0), int(order.get("allocatedStorage", 1 << 30))
    limit = order.get("maxAllocatedStorage")
    if limit and int(limit) * 10 < max(before, size if order.get("allocatedStorage") else 0) * 11:
        raise Refused(
            "api error InvalidParameterCombination: The maximum allocated storage must be increased by at least 10 "
            "percent"
        )
    if order.late and before > size:
        raise Refused("api error InvalidParameterCombination: Invalid storage size: storage cannot be reduced")
    if order.late and before < STRIPED_GIB <= size and int(order.get("iops", 3000)) < STRIPED_IOPS:
        raise Refused(
            f"api error InvalidParameterCombination: Invalid iops value for engine name {engine} and storage type gp3: "
            "3000"
        )


@removes(DATABASE)
def _remove_database(order: Order, state: Json) -> None:
    identifier = state["identifier"]
    if state.get("deletionProtection"):
        raise Refused(
            f"deleting RDS DB Instance ({identifier}): api error InvalidParameterCombination: Cannot delete protected "
            "DB Instance, please disable deletion protection and try again."
        )
    if not state.get("skipFinalSnapshot") and not state.get("finalSnapshotIdentifier"):
        raise Refused(
            f"deleting RDS DB Instance ({identifier}): final_snapshot_identifier is required when skip_final_snapshot "
            "is false"
        )
    if not state.get("skipFinalSnapshot"):
        kept = {
            "dbInstanceIdentifier": identifier,
            "allocatedStorage": state["allocatedStorage"],
            "encrypted": state.get("storageEncrypted", False),
            "engine": state["engine"],
            "engineVersion": state["engineVersionActual"],
        }
        _keep_last(order, "database-snapshots", str(state["finalSnapshotIdentifier"]), kept, "DBSnapshotAlreadyExists")


def _keep_last(order: Order, folder: str, name: str, kept: Json, code: str) -> None:
    """Take a last snapshot; one of that name must not be there."""
    file = order.account.path(folder) / name
    if file.exists():
        raise Refused(
            f"api error {code}: Cannot create the snapshot because a snapshot with the identifier {name} already "
            "exists."
        )
    file.write_text(json.dumps(kept))


@makes(CACHE_SUBNETS)
def _cache_subnets(order: Order) -> Json:
    subnets = [subnet_of(order, identity) for identity in order.inputs["subnetIds"]]
    return {
        "arn": order.arn("elasticache", f"subnetgroup:{order.id}"),
        "name": order.id,
        "description": order.get("description", "Managed by Pulumi"),
        "vpcId": subnets[0]["vpcId"] if subnets else "",
    }


@removes(CACHE_SUBNETS)
def _remove_cache_subnets(order: Order, _state: Json) -> None:
    if any(entry["state"].get("subnetGroupName") == order.id for entry in order.account.all(CACHE)):
        raise Refused(
            f"api error CacheSubnetGroupInUse: Cache subnet group {order.id} is currently in use by a cache cluster."
        )


@identifies(CACHE)
def _cache_id(order: Order) -> str:
    return str(order.inputs["replicationGroupId"]).lower()


@makes(CACHE)
def _cache(order: Order) -> Json:
    clusters = int(order.get("numCacheClusters", 1))
    groups = order.get("numNodeGroups")
    if order.get("multiAzEnabled") and not order.get("automaticFailoverEnabled"):
        raise Refused("automatic_failover_enabled must be true if multi_az_enabled is true")
    if order.get("automaticFailoverEnabled") and groups is None and clusters < 2:
        raise Refused('"num_cache_clusters": must be at least 2 if automatic_failover_enabled is true')
    if order.get("authToken") and not order.get("transitEncryptionEnabled"):
        raise Refused(
            "api error InvalidParameterCombination: The AUTH token is only supported when encryption-in-transit is "
            "enabled"
        )
    group = order.get("subnetGroupName")
    if group:
        order.need(
            CACHE_SUBNETS, group, f"api error CacheSubnetGroupNotFoundFault: Cache Subnet Group {group} does not exist."
        )
    for security_group in order.get("securityGroupIds", []):
        group_of(order, security_group)
    tail = f"{order.made(6)}.{order.region[:2]}c1.cache.amazonaws.com"
    clustered = groups is not None and int(groups) > 1
    first = "clustercfg" if clustered else "master"
    prefix = f"{first}." if order.get("transitEncryptionEnabled") else ""
    outputs: Json = {
        "arn": order.arn("elasticache", f"replicationgroup:{order.id}"),
        "engine": order.get("engine", "redis"),
        "engineVersionActual": str(order.get("engineVersion", "7.1")),
        "clusterEnabled": clustered,
        "memberClusters": [f"{order.id}-{number:03}" for number in range(1, clusters + 1)],
        "numCacheClusters": clusters,
        "primaryEndpointAddress": "" if clustered else f"{prefix}{order.id}.{tail}",
        "readerEndpointAddress": "" if clustered else f"replica.{order.id}.{tail}",
        "configurationEndpointAddress": f"{prefix}{order.id}.{tail}" if clustered else "",
        "port": int(order.get("port", 6379)),
    }
    return outputs


@removes(CACHE)
def _remove_cache(order: Order, state: Json) -> None:
    if state.get("finalSnapshotIdentifier"):
        name = str(state["finalSnapshotIdentifier"])
        _keep_last(order, "cache-snapshots", name, {"replicationGroupId": order.id}, "SnapshotAlreadyExistsFault")


@identifies(BUCKET)
def _bucket_id(order: Order) -> str:
    name = str(order.get("bucket") or f"{order.get('bucketPrefix', 'terraform-')}{secrets.token_hex(13)}"[:63])
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        raise Refused(f"validating S3 Bucket ({name}) name: only lowercase alphanumeric characters and hyphens allowed")
    if order.account.find(BUCKET, name) is not None:
        raise Refused(f"creating S3 Bucket ({name}): api error BucketAlreadyOwnedByYou: you already own it")
    return name


@makes(BUCKET)
def _bucket(order: Order) -> Json:
    return {
        "arn": f"arn:aws:s3:::{order.id}",
        "bucket": order.id,
        "bucketDomainName": f"{order.id}.s3.amazonaws.com",
        "bucketRegion": order.region,
        "bucketRegionalDomainName": f"{order.id}.s3.{order.region}.amazonaws.com",
        "hostedZoneId": "Z21DNDUVLTQW6Q",
        "requestPayer": "BucketOwner",
    }


@removes(BUCKET)
def _remove_bucket(order: Order, state: Json) -> None:
    folder = order.account.path(f"buckets/{order.id}")
    if not state.get("forceDestroy") and any(folder.iterdir()):
        raise Refused(
            f"deleting S3 Bucket ({order.id}): api error BucketNotEmpty: The bucket you tried to delete is not empty"
        )


@identifies(*OF_A_BUCKET)
def _id_of_a_bucket(order: Order) -> str:
    return str(order.inputs["bucket"])


@makes(*OF_A_BUCKET)
def _of_a_bucket(order: Order) -> Json:
    name = str(order.inputs["bucket"])
    order.need(BUCKET, name, f"api error NoSuchBucket: The specified bucket does not exist ({name})")
    return {"policy": document(order.inputs["policy"])} if "policy" in order.inputs else {}


@makes(POLICY)
def _lifecycle_policy(order: Order) -> Json:
    role = str(order.inputs["executionRoleArn"])
    if not any(entry["state"]["arn"] == role for entry in order.account.all(ROLE)):
        raise Refused(f"api error InvalidRequestException: The role {role} does not exist")
    return {"arn": order.arn("dlm", f"policy/{order.id}")}
