"""A database on Amazon RDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

import rendering
from components.aws.offer import Offer
from components.configuration import stop
from planning import policies, services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.server.aws import Aws

USER = "flaskhost"
TIMEOUTS = pulumi.CustomTimeouts(create="6h", update="6h", delete="6h")
"""Before RDS may be told anything more about a database that was made of a snapshot, it takes a whole backup, for hours
where it is large (hashicorp/terraform-provider-aws, issue 44104); before it deletes a database, a last snapshot."""

READ_SSLMODE = (None, "psycopg", "psycopg2")
"""Drivers of PostgreSQL that read `sslmode` in the URL (libpq's own); others would refuse it."""


class Database(pulumi.ComponentResource):
    """The database of a stack: encrypted, reached by the machines alone, with a password that only AWS knows.

    Attributes:
        offer: its URL, and the right to read its password.
    """

    offer: Offer

    def __init__(self, server: Aws, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it, and let the machines read its password."""
        cloud = server.cloud
        wanted, purge = cloud.settings.database, cloud.settings.purge
        name = f"{cloud.app}-database"
        super().__init__("flaskhost:data:Database", cloud.app, None, opts)
        options = pulumi.ResourceOptions(parent=self)
        group = server.firewall.only_from_machines("database", "the database", wanted.port)
        subnets = aws.rds.SubnetGroup(
            name,
            subnet_ids=[subnet for subnet, _ in server.network.private],
            tags=cloud.tags("database"),
            opts=options,
        )
        database = rendering.database_name(cloud.settings)
        operations, throughput = services.speed(wanted.storage)
        instance = aws.rds.Instance(
            name,
            engine=services.DATABASES[wanted.engine],
            engine_version=wanted.wanted_version,
            instance_class=wanted.instance_class,
            allocated_storage=wanted.storage,
            max_allocated_storage=wanted.storage_limit if wanted.storage_limit > wanted.storage else None,
            storage_type="gp3",
            iops=operations,
            storage_throughput=throughput,
            storage_encrypted=True,
            db_name=database,
            username=USER,
            manage_master_user_password=True,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            publicly_accessible=False,
            multi_az=wanted.multi_az,
            backup_retention_period=wanted.backup_days,
            copy_tags_to_snapshot=True,
            deletion_protection=not purge,
            skip_final_snapshot=purge,
            # The subnets have another name each time they are made, so an earlier last snapshot is never in the way.
            final_snapshot_identifier=None if purge else pulumi.Output.concat(subnets.name, "-final"),
            snapshot_identifier=wanted.restore_from,
            # An exact version is meant: AWS's own step beyond it would be taken back.
            auto_minor_version_upgrade=not services.is_exact(wanted.engine, wanted.wanted_version),
            # A newer one in the stack file is the intent.
            allow_major_version_upgrade=True,
            # What `up` says is done when it ends, and not in some night.
            apply_immediately=True,
            tags=cloud.tags("database"),
            # What it was made of counts once, and a restored one has the names of its snapshot.
            opts=cloud.holds(
                self,
                pulumi.ResourceOptions(
                    ignore_changes=["snapshotIdentifier", "username", "dbName"], custom_timeouts=TIMEOUTS
                ),
            ),
        )
        secrets = instance.master_user_secrets.apply(lambda known: [str(one.secret_arn) for one in known])
        arn = pulumi.Output.all(instance.identifier, secrets).apply(lambda known: secret_of(*known))
        tls = wanted.engine == "postgresql" and wanted.driver in READ_SSLMODE
        place = pulumi.Output.concat(instance.address, f":{wanted.port}/{database}", "?sslmode=require" if tls else "")
        url = pulumi.Output.concat(f"{wanted.scheme}://", "{username}:{password}@", place)
        readable = server.identity.allow("database-password", arn.apply(policies.secret))
        self.offer = Offer(secrets={wanted.variable: {"secret": arn, "url": url}}, after=(instance, readable))
        self.register_outputs({"address": instance.address})


def secret_of(identifier: str, secrets: Sequence[str]) -> str:
    """Return the ARN of the secret in which RDS keeps the password.

    Args:
        identifier: of the database.
        secrets: ARNs of all that it has.

    Raises:
        Stopped: it has none.
    """
    if not secrets:
        stop(
            f"the database {identifier} has no password in Secrets Manager: an `up` that made it of a snapshot was "
            "ended before RDS was told to make one. Run `aws rds modify-db-instance --db-instance-identifier "
            f"{identifier} --manage-master-user-password --apply-immediately`, then `./pulumi refresh`, then `up`; its "
            "data is there"
        )
    return secrets[0]
