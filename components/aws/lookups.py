"""What is there on AWS before anything is made: asked first, so that all that is missing is told at once.

Nothing but this and `refusals` asks AWS during a run. What is made depends on the answers, so a preview needs the right
to read them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import pulumi_aws as aws

from components.aws import refusals
from components.aws.asking import Answer, Missing, asked
from planning import machines, tags, volumes
from planning.policies import Place
from planning.subnets import ANY, ANY6

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from planning.tags import Owner
    from settings import AwsServer, Settings


OUTSIDE = ("igw-", "vpce-")
"""How the IDs begin of what leads to the Internet and back: an internet gateway, or a firewall before one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subnets:
    """A network that is there, or for a new one its zones alone.

    Attributes:
        vpc: its ID; None for a new one.
        public: subnets with a route to the Internet, each with its zone; those of a new network have no ID yet.
        private: those for managed services; the public ones where there are none of their own.
        has_ipv6: whether machines get an address of IPv6.
    """

    vpc: str | None
    public: tuple[tuple[str, str], ...]
    private: tuple[tuple[str, str], ...]
    has_ipv6: bool

    @property
    def zones(self) -> list[str]:
        """The zones in which machines can be."""
        return list(dict.fromkeys(zone for _, zone in self.public))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What AWS has answered.

    Attributes:
        place: partition, region and account.
        subnets: the network.
        image: of new machines.
        data: which volume the first machine shall have.
        hosted_zone: ID of the zone that has the records; None where Pulumi makes none.
    """

    place: Place
    subnets: Subnets
    image: str
    data: volumes.Plan
    hosted_zone: str | None


def look(settings: Settings, server: AwsServer, owner: Owner) -> Found:
    """Ask AWS for everything.

    Args:
        settings: of the stack.
        server: the part of them that says which machines.
        owner: whose the stack's resources are.

    Raises:
        Missing: with a line for each thing that is missing or contradicts the settings.
    """
    problems: list[str] = []

    def attempt(ask: Callable[[], Answer]) -> Answer | None:
        try:
            return ask()
        except Missing as missing:
            problems.append(str(missing))
            return None

    place = Place(
        partition=aws.get_partition().partition,
        region=aws.get_region().region,
        account=aws.get_caller_identity().account_id,
    )
    managed = settings.database.kind == "rds" or settings.redis.kind == "elasticache"
    subnets = attempt(lambda: _subnets(server, is_managed=managed))
    image = attempt(lambda: _image(server))
    zone = attempt(lambda: _hosted_zone(settings.dns.zone or "")) if settings.dns.kind == "route53" else None
    if subnets:
        attempt(lambda: refusals.another_network(server, subnets, owner))
    data = attempt(lambda: _data(server, subnets, owner)) if subnets else None
    if settings.database.kind == "rds":
        attempt(lambda: refusals.database(settings.database, owner))
    if problems or subnets is None or image is None or data is None:
        raise Missing("\n".join(problems))
    return Found(place=place, subnets=subnets, image=image, data=data, hosted_zone=zone)


def _subnets(server: AwsServer, *, is_managed: bool) -> Subnets:
    network = server.network
    if network.kind == "new":
        zones = tuple(("", zone) for zone in network.zones or _first_zones())
        return Subnets(vpc=None, public=zones, private=zones, has_ipv6=True)
    if network.kind == "default":
        found = _default()
    else:
        found = _network(network.vpc or "", network.public_subnets, network.private_subnets)
    if not found.public:
        raise Missing(
            "flaskhost:server.network.kind: default needs a default subnet in the account's own VPC, which has none: "
            "write kind: new, or kind: given with subnets of yours"
        )
    inside = {zone for _, zone in found.private}
    if is_managed and len(inside) < 2:
        raise Missing(
            "flaskhost:server.network: database and Redis need private subnets in two zones, and these are in "
            f"{', '.join(inside)} alone: write kind: new, or subnets of another zone as well"
        )
    if server.has_balancer and len(found.zones) < 2:
        raise Missing(
            f"flaskhost:server.network: a load balancer needs public subnets in two zones, and there is one in "
            f"{', '.join(found.zones)} alone: write kind: new, or subnets of another zone as well"
        )
    return found


def _first_zones() -> list[str]:
    """Return the first two zones of the region that the account has without asking for them."""
    usual = aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])
    return sorted(aws.get_availability_zones(filters=[usual]).names)[:2]


def _default() -> Subnets:
    """Return the account's own VPC and its subnets."""
    vpc = asked(
        lambda: aws.ec2.get_vpc(default=True),
        "flaskhost:server.network.kind: default needs the account's own VPC in this region, which has none: write "
        "kind: new, or kind: given with the VPC to take",
    ).id
    filters = [
        aws.ec2.GetSubnetsFilterArgs(name="vpc-id", values=[vpc]),
        aws.ec2.GetSubnetsFilterArgs(name="default-for-az", values=["true"]),
    ]
    return _network(vpc, aws.ec2.get_subnets(filters=filters).ids, ())


def _network(vpc: str, public: Sequence[str], private: Sequence[str]) -> Subnets:
    known: dict[str, Any] = {}
    for subnet in (*public, *private):
        known[subnet] = asked(
            functools.partial(aws.ec2.get_subnet, id=subnet),
            f"flaskhost:server.network: {subnet} must be a subnet of this account and region, and AWS knows none of "
            "that name: look its ID up in the console of VPC",
        )
    stray = [subnet for subnet, one in known.items() if one.vpc_id != vpc]
    if stray:
        raise Missing(f"flaskhost:server.network: {', '.join(stray)} must be in {vpc}: write the subnets of that VPC")
    # AWS takes no filter without a value.
    ways = _ways(vpc, public) if public else {}
    closed = [subnet for subnet in public if ANY not in ways[subnet]]
    if closed:
        raise Missing(
            f"flaskhost:server.network: {', '.join(closed)} must have a route to the Internet ({ANY} to an internet "
            "gateway), by which machines are reached and get their packages: name public subnets, or give them that "
            "route"
        )
    with_zones = {subnet: (subnet, str(one.availability_zone)) for subnet, one in known.items()}
    ordered = tuple(sorted((with_zones[subnet] for subnet in public), key=lambda one: one[1]))
    return Subnets(
        vpc=vpc,
        public=ordered,
        private=tuple(with_zones[subnet] for subnet in private) or ordered,
        has_ipv6=all(known[subnet].ipv6_cidr_block and ANY6 in ways[subnet] for subnet in public),
    )


def _ways(vpc: str, subnets: Sequence[str]) -> dict[str, set[str]]:
    """Return for each subnet the networks to which its route table leads by a gateway of the Internet."""

    def tables(name: str, values: Sequence[str]) -> list[str]:
        wanted = [aws.ec2.GetRouteTablesFilterArgs(name=name, values=values)]
        return list(aws.ec2.get_route_tables(vpc_id=vpc, filters=wanted).ids)

    main, found = tables("association.main", ["true"]), dict[str, set[str]]()
    # A subnet that no table names has the main one, which comes first here.
    for identity in dict.fromkeys([*main, *tables("association.subnet-id", subnets)]):
        table = aws.ec2.get_route_table(route_table_id=identity)
        leads = {
            one.cidr_block or one.ipv6_cidr_block
            for one in table.routes
            if (one.gateway_id or one.vpc_endpoint_id).startswith(OUTSIDE)
        }
        found |= dict.fromkeys(subnets if identity in main else [one.subnet_id for one in table.associations], leads)
    return found


def _image(server: AwsServer) -> str:
    """Return the image of new machines: the one that is named, or the newest one of Canonical's."""
    if server.ami:
        return server.ami
    name = machines.image_name(server.ubuntu, machines.architecture(server.instance_type))
    wanted = {"name": name, "state": "available", "virtualization-type": "hvm"}
    found = asked(
        lambda: aws.ec2.get_ami(
            owners=[machines.CANONICAL],
            most_recent=True,
            filters=[aws.ec2.GetAmiFilterArgs(name=key, values=[value]) for key, value in wanted.items()],
        ),
        f"flaskhost:server.ubuntu: Canonical has no image {name} in this region: write server.ami, or another region",
    )
    return str(found.id)


def _hosted_zone(wanted: str) -> str:
    found = asked(
        lambda: aws.route53.get_zone(name=wanted, private_zone=False),
        f"flaskhost:dns.zone: must be a public hosted zone of this AWS account (got {wanted!r}): create it in Route 53 "
        "and enter its name servers at the domain's registrar, or write dns.kind: none and make the records elsewhere",
    )
    return str(found.zone_id)


def _data(server: AwsServer, subnets: Subnets, owner: Owner) -> volumes.Plan:
    """Return which volume the first machine shall have, by what is there."""
    zones = subnets.zones
    if server.zone is not None and server.zone not in zones:
        raise Missing(
            f"flaskhost:server.zone: must be a zone with a public subnet of the network (got {server.zone!r}): write "
            f"one of {', '.join(zones)}, or have a subnet there"
        )
    there = _volumes(owner)
    numbers = [one.number for one in there]
    double = [one.id for one in there if numbers.count(one.number) > 1]
    if double:
        raise Missing(
            f"the data volumes {', '.join(double)} have one number in the tag {tags.NUMBER}: remove the tag "
            f"{tags.VOLUME} from the one that this stack does not use"
        )
    plan = volumes.plan(
        there, zone=server.zone, usual=zones[0], size=server.data_volume, restore_from=server.restore_from
    )
    refusals.risky(server, plan, there)
    if plan.used.zone not in zones:
        raise Missing(
            f"flaskhost:server.network: has no public subnet in {plan.used.zone}, where the data volume is: write "
            f"server.zone: {zones[0]}, and the data moves there"
        )
    sizes = {one.number: one.size for one in there}
    least = sizes.get(plan.used.number) or (sizes.get(plan.source) if isinstance(plan.source, int) else None) or 0
    if server.data_volume < least:
        raise Missing(
            f"flaskhost:server.data_volume: must not be below {least}, which the data volume has (got "
            f"{server.data_volume}): write {least} or more, since a volume can grow and not shrink"
        )
    if isinstance(plan.source, str):
        refusals.copy(plan.source, server.data_volume)
    if plan.moves or not there:
        # In other cases the machine that is there serves on until another one runs.
        refusals.instance_type(
            server, [zone for _, zone in machines.spread(subnets.public, plan.used.zone, server.count)]
        )
    return plan


def _volumes(owner: Owner) -> list[volumes.Volume]:
    filters = [
        aws.ebs.GetEbsVolumesFilterArgs(name="status", values=["creating", "available", "in-use"]),
        aws.ebs.GetEbsVolumesFilterArgs(name=f"tag:{tags.VOLUME}", values=[owner.any_app]),
    ]
    found = []
    for volume in aws.ebs.get_ebs_volumes(filters=filters).ids:
        one = aws.ebs.get_volume(filters=[aws.ebs.GetVolumeFilterArgs(name="volume-id", values=[volume])])
        app = one.tags[tags.VOLUME].rpartition("/")[2]
        if app != owner.app:
            raise Missing(
                f"flaskhost:app.name: must stay {app!r} in this stack, which has its data on {volume} (got "
                f"{owner.app!r}): put it back; another application is another stack"
            )
        number = one.tags.get(tags.NUMBER, "")
        if not number.isdigit():
            raise Missing(f"the volume {volume} has the tag {tags.VOLUME} and none of ours beside it: remove that tag")
        found.append(
            volumes.Volume(
                id=volume,
                number=int(number),
                zone=one.availability_zone,
                size=int(one.size),
                size_there=int(one.size),
                restored=one.tags.get(tags.RESTORED, ""),
                is_kept=tags.KEPT in one.tags,
            )
        )
    return found
