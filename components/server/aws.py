"""Machines on AWS, with the network, the firewall and the role that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.aws import cloud
from components.aws.firewall import Firewall
from components.aws.identity import Identity
from components.aws.machines import Machines
from components.aws.network import Network

if TYPE_CHECKING:
    from components.remote import Host
    from settings import AwsServer, Settings


class Aws(pulumi.ComponentResource):
    """One machine or several, and all that is around them.

    Attributes:
        cloud: where it is.
        network: the VPC.
        firewall: the security groups.
        identity: the role of the machines.
        machines: the instances.
    """

    cloud: cloud.Cloud
    network: Network
    firewall: Firewall
    identity: Identity
    machines: Machines

    def __init__(self, settings: Settings, server: AwsServer, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the machines of a stack."""
        super().__init__("flaskhost:server:Aws", settings.app.name, None, opts)
        options = pulumi.ResourceOptions(parent=self)
        self.cloud = cloud.of(settings, server)
        self.network = Network(self.cloud, options)
        self.firewall = Firewall(self.cloud, self.network, options)
        self.identity = Identity(self.cloud, options)
        self.machines = Machines(self.cloud, self.network, self.firewall, self.identity, options)
        self.register_outputs({})

    @property
    def hosts(self) -> list[Host]:
        """The machines as hosts, in the order of their numbers."""
        return self.machines.hosts
