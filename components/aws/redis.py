"""A Redis server on Amazon ElastiCache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.aws.offer import Offer
from planning import services

if TYPE_CHECKING:
    from components.server.aws import Aws

PORT = 6379
LONGEST_NAME = 40
"""Of a replication group (Amazon ElastiCache API, CreateReplicationGroup)."""


class Redis(pulumi.ComponentResource):
    """The Redis server of a stack: encrypted at rest and on the way, reached by the machines alone.

    There is no password: it would be in the stack's state, and whoever is on a machine could read it there.

    Attributes:
        offer: its URL.
    """

    offer: Offer

    def __init__(self, server: Aws, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make it."""
        cloud = server.cloud
        wanted, purge = cloud.settings.redis, cloud.settings.purge
        name = f"{cloud.app}-redis"
        super().__init__("flaskhost:data:Redis", cloud.app, None, opts)
        options = pulumi.ResourceOptions(parent=self)
        line = f"{wanted.engine}-{wanted.wanted_version}".replace(".", "-")
        group = server.firewall.only_from_machines("redis", "Redis", PORT)
        subnets = aws.elasticache.SubnetGroup(
            name, subnet_ids=[subnet for subnet, _ in server.network.private], tags=cloud.tags("redis"), opts=options
        )
        cluster = aws.elasticache.ReplicationGroup(
            cloud.named("redis", LONGEST_NAME),
            description=f"{cloud.app} {cloud.stack}",
            engine=wanted.engine,
            engine_version=wanted.wanted_version,
            parameter_group_name=services.parameters(wanted.engine, wanted.wanted_version),
            node_type=wanted.node_type,
            num_cache_clusters=1 + wanted.replicas,
            automatic_failover_enabled=wanted.replicas > 0,
            multi_az_enabled=wanted.replicas > 0,
            at_rest_encryption_enabled=True,
            transit_encryption_enabled=True,
            port=PORT,
            security_group_ids=[group.id],
            subnet_group_name=subnets.name,
            snapshot_retention_limit=1,
            # The subnets have another name each time they are made, and an earlier version takes another cluster: its
            # last snapshot is not in the way of this one's.
            final_snapshot_identifier=None if purge else pulumi.Output.concat(subnets.name, f"-{line}-final"),
            # A version of a cache is exact. One that AWS had raised could only be put back by an empty cache.
            auto_minor_version_upgrade=False,
            apply_immediately=True,
            tags=cloud.tags("redis"),
            opts=options,
        )
        # Celery refuses a URL that does not say how certificates are checked; redis-py reads it as well.
        end = f":{PORT}/0?ssl_cert_reqs=required"
        url = pulumi.Output.concat("rediss://", cluster.primary_endpoint_address, end)
        self.offer = Offer(values={wanted.variable: url}, after=(cluster,))
        self.register_outputs({"address": cluster.primary_endpoint_address})
