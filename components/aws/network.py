"""The VPC of a stack: a new one, the account's own, or one that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from planning import subnets
from planning.subnets import ANY, ANY6

if TYPE_CHECKING:
    from components.aws.cloud import Cloud

Subnet = tuple[pulumi.Input[str], str]
"""A subnet's ID, and its zone."""


class Network(pulumi.ComponentResource):
    """Where machines, balancer and managed services are. It does not make a way out for private subnets.

    Attributes:
        vpc: its ID.
        public: subnets with a route to the Internet.
        private: subnets for what only the machines reach; the public ones where there are none of their own.
        has_ipv6: whether machines get an address of IPv6 as well.
        ways: what has to be there before anything can reach the Internet.
    """

    vpc: pulumi.Input[str]
    public: list[Subnet]
    private: list[Subnet]
    has_ipv6: bool
    ways: list[pulumi.Resource]

    def __init__(self, cloud: Cloud, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the network of the settings, or take the one that is there."""
        super().__init__("flaskhost:network:Network", cloud.app, None, opts)
        self._cloud = cloud
        self.ways = []
        there = cloud.found.subnets
        self.has_ipv6 = there.has_ipv6
        if there.vpc is None:
            self._make(there.zones)
        else:
            self.vpc, self.public, self.private = there.vpc, list(there.public), list(there.private)
        self.register_outputs({"vpc": self.vpc})

    def _make(self, zones: list[str]) -> None:
        name, options = f"{self._cloud.app}-network", pulumi.ResourceOptions(parent=self)
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=self._cloud.server.network.cidr,
            assign_generated_ipv6_cidr_block=True,
            enable_dns_hostnames=True,
            tags=self._cloud.tags("network"),
            opts=options,
        )
        # Whatever is put into a VPC without a group of its own gets this one: here it lets nothing in or out.
        aws.ec2.DefaultSecurityGroup(f"{name}-default", vpc_id=vpc.id, tags=self._cloud.tags("default"), opts=options)
        gateway = aws.ec2.InternetGateway(
            f"{name}-gateway", vpc_id=vpc.id, tags=self._cloud.tags("gateway"), opts=options
        )
        self.vpc = vpc.id
        cidrs = subnets.ipv4(self._cloud.server.network.cidr)
        self.public = self._subnets(vpc, "public", zones, dict(enumerate(cidrs[:2])))
        self.private = self._subnets(vpc, "private", zones, {number: cidrs[number] for number in (2, 3)})
        table = self._table(vpc, "public", self.public)
        self._table(vpc, "private", self.private)
        out = {"route_table_id": table.id, "gateway_id": gateway.id}
        self.ways = [
            gateway,
            aws.ec2.Route(f"{name}-ipv4", destination_cidr_block=ANY, opts=options, **out),
            aws.ec2.Route(f"{name}-ipv6", destination_ipv6_cidr_block=ANY6, opts=options, **out),
        ]

    def _subnets(self, vpc: aws.ec2.Vpc, kind: str, zones: list[str], cidrs: dict[int, str]) -> list[Subnet]:
        made: list[Subnet] = []
        for at, (zone, (number, cidr)) in enumerate(zip(zones, cidrs.items(), strict=True), start=1):
            subnet = aws.ec2.Subnet(
                f"{self._cloud.app}-{kind}-{at}",
                vpc_id=vpc.id,
                availability_zone=zone,
                cidr_block=cidr,
                ipv6_cidr_block=vpc.ipv6_cidr_block.apply(lambda block, number=number: subnets.ipv6(block, number)),
                tags=self._cloud.tags(f"{kind}-{at}"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            made.append((subnet.id, zone))
        return made

    def _table(self, vpc: aws.ec2.Vpc, kind: str, members: list[Subnet]) -> aws.ec2.RouteTable:
        options = pulumi.ResourceOptions(parent=self)
        name = f"{self._cloud.app}-{kind}"
        table = aws.ec2.RouteTable(name, vpc_id=vpc.id, tags=self._cloud.tags(kind), opts=options)
        for at, (subnet, _) in enumerate(members, start=1):
            aws.ec2.RouteTableAssociation(f"{name}-{at}", subnet_id=subnet, route_table_id=table.id, opts=options)
        return table
