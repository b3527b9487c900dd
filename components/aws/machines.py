"""The machines of a stack: EC2 instances that can be replaced at any time, the first one at an address that stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
from pulumi_command import local

import rendering
from components.aws import volumes
from components.remote import Bastion, Host
from planning import machines, tags

if TYPE_CHECKING:
    from components.aws.cloud import Cloud
    from components.aws.firewall import Firewall
    from components.aws.identity import Identity
    from components.aws.network import Network, Subnet
    from planning.volumes import Plan

SSH_PORT = 22


class Machines(pulumi.ComponentResource):
    """The machines, reached over SSH with a host key that was made before them.

    Attributes:
        hosts: one a machine, the first one first.
        instances: their IDs; what is made of one ends before that machine stops.
        address: the public address of IPv4 of the first one, which stays when the machine is replaced.
        ipv6: the address of IPv6 of the first one; None where the network has none.
    """

    hosts: list[Host]
    instances: list[pulumi.Output[str]]
    address: pulumi.Output[str]
    ipv6: pulumi.Output[str] | None

    def __init__(
        self,
        cloud: Cloud,
        network: Network,
        firewall: Firewall,
        identity: Identity,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make as many as the settings say."""
        super().__init__("flaskhost:server:Machines", cloud.app, None, opts)
        self._cloud, self._network, self._firewall, self._identity = cloud, network, firewall, identity
        self._keys()
        plan = cloud.found.data
        places = machines.spread(network.public, plan.used.zone, cloud.server.count)
        self.hosts, self.instances, self.ipv6 = [], [], None
        self._first(places[0], plan)
        for number, place in enumerate(places[1:], start=2):
            self._further(number, place)
        self.register_outputs({"instances": self.instances, "address": self.address})

    def _keys(self) -> None:
        """Make the key of the hosts and the one that logs in; they stay in the stack's state, encrypted."""
        # Others would lock everybody out of the machines that there are, so they come with other machines; and those
        # of before are there until these serve.
        called = machines.with_word(self._cloud.app, self._cloud.server.rebuild, "keys")
        made = local.Command(
            called,
            create="python3 -m ops.keys",
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self, additional_secret_outputs=["stdout"], ignore_changes=["create", "logging"]
            ),
        ).stdout.apply(json.loads)
        self._private_key, self._host_key = made["login_private"], pulumi.Output.unsecret(made["host_public"])
        self._user_data = made.apply(lambda keys: rendering.user_data(keys["host_private"], keys["host_public"]))
        self._key_name = aws.ec2.KeyPair(
            machines.with_word(self._cloud.app, self._cloud.server.rebuild, "login"),
            public_key=pulumi.Output.unsecret(made["login_public"]),
            tags=self._cloud.tags("login"),
            opts=pulumi.ResourceOptions(parent=self),
        ).key_name

    def _first(self, place: Subnet, plan: Plan) -> None:
        """Make the machine with the data volume and the address that the name of a site leads to."""
        cloud, name = self._cloud, f"{self._cloud.app}-machine-1"
        options = pulumi.ResourceOptions(parent=self)
        instance = self._instance(1, place, plan)
        volume = volumes.DataVolume(cloud, plan, instance, options)
        address = aws.ec2.Eip(name, domain="vpc", tags=cloud.tags("machine-1"), opts=cloud.holds(self))
        reachable = aws.ec2.EipAssociation(
            name,
            instance_id=instance.id,
            allocation_id=address.id,
            # A machine that gives up its disk serves until then, and needs its address for that.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self._network.ways, volume.attached]),
        )
        # Where the disk goes back to a machine, that one was stopped for the one that should have taken its place.
        running = aws.ec2transitgateway.InstanceState(
            f"{name}-running", instance_id=volume.instance, state="running", opts=options
        )
        self.address = address.public_ip
        if self._network.has_ipv6:
            self.ipv6 = instance.ipv6_addresses[0]
        self.instances.append(volume.instance)
        self.hosts.append(self._host(1, instance, address.public_ip, reachable, running))

    def _further(self, number: int, place: Subnet) -> None:
        """Make a machine with an address of its own, which is another one when it is replaced.

        The one before keeps its own, and with it its way out, as long as it serves.
        """
        instance = self._instance(number, place, None)
        self.instances.append(instance.id)
        self.hosts.append(self._host(number, instance, instance.public_ip, instance, None))

    def _instance(self, number: int, place: Subnet, plan: Plan | None) -> aws.ec2.Instance:
        cloud, server, (subnet, zone) = self._cloud, self._cloud.server, place
        # A newer image is ignored. Where another one is meant, the machine has another name by it.
        called = machines.called(server.ubuntu, server.instance_type, server.rebuild)
        return aws.ec2.Instance(
            f"{cloud.app}-machine-{number}-{called}",
            ami=cloud.found.image,
            instance_type=server.instance_type,
            availability_zone=zone,
            subnet_id=subnet,
            vpc_security_group_ids=[self._firewall.machines.id],
            key_name=self._key_name,
            associate_public_ip_address=None if plan else True,
            iam_instance_profile=self._identity.profile,
            ipv6_address_count=1 if self._network.has_ipv6 else None,
            user_data=self._user_data,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                volume_type="gp3",
                volume_size=server.root_volume,
                encrypted=True,
                delete_on_termination=True,
                tags=cloud.tags(f"machine-{number}-root"),
            ),
            tags=cloud.tags(f"machine-{number}", {tags.IMAGE: called}),
            opts=pulumi.ResourceOptions(
                parent=self,
                # It asks AWS and the Internet for things as soon as it runs.
                depends_on=[*self._network.ways, self._identity.right],
                # A newer image is no reason for another machine, and what a first boot reads is read by then.
                ignore_changes=["userData", *([] if server.ami else ["ami"])],
                # AWS could change the type of a machine that is stopped; a new one starts beside the old one. A further
                # address would be none of the running system's.
                replace_on_changes=["instanceType", "ipv6AddressCount"],
                replacement_trigger=plan.used.number if plan else None,
                # It holds the host's key, whatever reads it back.
                additional_secret_outputs=["userData"],
                # Where data moves, nobody may write to the old volume while it is copied.
                delete_before_replace=bool(plan and plan.moves),
            ),
        )

    def _answers(
        self,
        number: int,
        instance: aws.ec2.Instance,
        way: tuple[pulumi.Input[str], int],
        reachable: pulumi.Resource,
        bastion: Bastion | None,
    ) -> pulumi.Resource:
        """Return what waits until it is this machine that answers, where the plugin cannot tell.

        Behind a bastion its own way to wait does not work; and a tunnel leads to the machine before, which serves
        still, until it has looked again.
        """
        keys = {"privateKey": self._private_key, "hostKey": self._host_key}
        wanted = {"instance": instance.id, "host": way[0], "port": way[1], "user": self._cloud.server.user, **keys}
        if bastion:
            through = {"host": bastion.address, "port": bastion.port, "user": bastion.user}
            wanted["proxy"] = {**through, "privateKey": bastion.private_key, "hostKey": bastion.host_key}
        answers: pulumi.Resource = local.Command(
            f"{self._cloud.app}-machine-{number}-answers",
            create="python3 -m ops.wait",
            stdin=pulumi.Output.json_dumps(wanted),
            logging=local.Logging.NONE,
            add_previous_output_in_env=False,
            triggers=[instance.id],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[reachable], ignore_changes=["create", "logging"]),
        )
        return answers

    def _host(
        self,
        number: int,
        instance: aws.ec2.Instance,
        address: pulumi.Output[str],
        reachable: pulumi.Resource,
        disk: pulumi.Resource | None,
    ) -> Host:
        server, credentials = self._cloud.server, self._cloud.settings.credentials
        way: tuple[pulumi.Input[str], int] = (address, SSH_PORT)
        ready: pulumi.Resource = reachable
        bastion = None
        if server.ssh == "ssm":
            way = ("127.0.0.1", server.ssm_port + number - 1)
        elif server.bastion:
            way = (instance.private_ip, SSH_PORT)
            bastion = Bastion.of(server.bastion, credentials.bastion_key or "")
        if server.ssh == "ssm" or bastion:
            ready = self._answers(number, instance, way, reachable, bastion)
        return Host(
            address=way[0],
            port=way[1],
            user=server.user,
            private_key=self._private_key,
            host_key=self._host_key,
            identity=instance.id,
            resource=ready,
            disk=disk,
            bastion=bastion,
            boots=True,
        )
