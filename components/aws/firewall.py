"""The security groups of a stack, made of single rules: what is not let in by one of them is not let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from planning.subnets import ANY, ANY6

if TYPE_CHECKING:
    from components.aws.cloud import Cloud
    from components.aws.network import Network

HTTP, HTTPS, SSH = 80, 443, 22


class Firewall(pulumi.ComponentResource):
    """Who reaches what: the world the site, listed networks SSH, and the machines what they need.

    Attributes:
        machines: the group of the machines.
        balancer: the group of the load balancer, if there is one.
        site: the rules by which visitors arrive.
    """

    machines: aws.ec2.SecurityGroup
    balancer: aws.ec2.SecurityGroup | None
    site: list[pulumi.Resource]

    def __init__(self, cloud: Cloud, network: Network, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the groups of machines and balancer."""
        super().__init__("flaskhost:network:Firewall", cloud.app, None, opts)
        self._cloud, self._network = cloud, network
        server, web = cloud.server, cloud.settings.web
        self.machines = self._group("machines", "machines")
        self.balancer = self._group("balancer", "the load balancer") if server.has_balancer else None
        public = self.balancer or self.machines
        owner = "balancer" if self.balancer else "machines"
        self.site = []
        for word, port in (("http", HTTP), *([("https", HTTPS)] if web.https else [])):
            networks = {f"{word}-ipv4": ANY, f"{word}-ipv6": ANY6}
            self.site += self._let_in(owner, public, port, networks, f"{word} from everywhere")
        if self.balancer:
            self.site += self._between("balancer", self.balancer, self.machines, HTTPS)
        ssh = [ANY, ANY6] if server.allow_ssh_from_anywhere else list(server.allow_ssh_from)
        self._let_in(
            "machines", self.machines, SSH, {f"ssh-{network}": network for network in ssh}, "SSH from this network"
        )
        self._let_out("machines", self.machines)
        self.register_outputs({"machines": self.machines.id})

    def only_from_machines(self, name: str, what: str, port: int) -> aws.ec2.SecurityGroup:
        """Return a new group that lets nobody in but the machines, on one port."""
        group = self._group(name, what)
        aws.vpc.SecurityGroupIngressRule(
            f"{self._cloud.app}-{name}-from-machines",
            security_group_id=group.id,
            referenced_security_group_id=self.machines.id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description="from the machines",
            tags=self._cloud.tags(f"{name}-from-machines"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return group

    def _group(self, name: str, what: str) -> aws.ec2.SecurityGroup:
        return aws.ec2.SecurityGroup(
            f"{self._cloud.app}-{name}",
            vpc_id=self._network.vpc,
            description=f"{self._cloud.app}: {what}",
            tags=self._cloud.tags(name),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _let_in(
        self, owner: str, group: aws.ec2.SecurityGroup, port: int, networks: dict[str, str], why: str
    ) -> list[pulumi.Resource]:
        """Let networks reach a port of a group, each by a rule with its name."""
        return [
            aws.vpc.SecurityGroupIngressRule(
                f"{self._cloud.app}-{owner}-{name}",
                security_group_id=group.id,
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                description=why,
                tags=self._cloud.tags(f"{owner}-{name}"),
                opts=pulumi.ResourceOptions(parent=self),
                **{"cidr_ipv6" if ":" in network else "cidr_ipv4": _as_network(network)},
            )
            for name, network in networks.items()
        ]

    def _between(
        self, name: str, here: aws.ec2.SecurityGroup, there: aws.ec2.SecurityGroup, port: int
    ) -> list[pulumi.Resource]:
        """Let one group reach another one: a rule for the way out and one for the way in."""
        app, options = self._cloud.app, pulumi.ResourceOptions(parent=self)
        way = {"ip_protocol": "tcp", "from_port": port, "to_port": port}
        out = aws.vpc.SecurityGroupEgressRule(
            f"{app}-{name}-to-machines",
            security_group_id=here.id,
            referenced_security_group_id=there.id,
            description="to the machines",
            tags=self._cloud.tags(f"{name}-to-machines"),
            opts=options,
            **way,
        )
        into = aws.vpc.SecurityGroupIngressRule(
            f"{app}-machines-from-{name}",
            security_group_id=there.id,
            referenced_security_group_id=here.id,
            description=f"from the {name}",
            tags=self._cloud.tags(f"machines-from-{name}"),
            opts=options,
            **way,
        )
        return [out, into]

    def _let_out(self, name: str, group: aws.ec2.SecurityGroup) -> None:
        """Let everything out: packages, repositories, and whatever the application talks to."""
        for word, network in (("ipv4", {"cidr_ipv4": ANY}), ("ipv6", {"cidr_ipv6": ANY6})):
            aws.vpc.SecurityGroupEgressRule(
                f"{self._cloud.app}-{name}-out-{word}",
                security_group_id=group.id,
                ip_protocol="-1",
                description="to everywhere",
                tags=self._cloud.tags(f"{name}-out-{word}"),
                opts=pulumi.ResourceOptions(parent=self),
                **network,
            )


def _as_network(value: str) -> str:
    """Return a network with its prefix, which the settings leave out for a single address."""
    return value if "/" in value else f"{value}/{128 if ':' in value else 32}"
