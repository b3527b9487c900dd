"""What the machines may do on AWS: a role of their own, and no key anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from planning import policies

if TYPE_CHECKING:
    from components.aws.cloud import Cloud

LOG_DAYS = 30


class Identity(pulumi.ComponentResource):
    """The role of the machines. Rights to data are added by what holds the data.

    Attributes:
        profile: name of the instance profile that machines are started with.
        right: what has to be there before a machine starts: without it, its agent would sleep for a day.
    """

    profile: pulumi.Output[str]
    right: pulumi.Resource

    def __init__(self, cloud: Cloud, opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the role, with what every machine may do: Systems Manager, its own logs, its own metrics."""
        super().__init__("flaskhost:server:Identity", cloud.app, None, opts)
        name, options = f"{cloud.app}-machines", pulumi.ResourceOptions(parent=self)
        self._cloud = cloud
        logs = f"/flaskhost/{cloud.stack}/{cloud.app}"
        aws.cloudwatch.LogGroup(
            f"{cloud.app}-logs", name=logs, retention_in_days=LOG_DAYS, tags=cloud.tags("logs"), opts=options
        )
        trust = policies.trust("ec2.amazonaws.com")
        self._role = aws.iam.Role(name, assume_role_policy=trust, tags=cloud.tags("machines"), opts=options)
        self.right = self.allow("machines", policies.machine(cloud.place, logs, f"flaskhost/{cloud.app}"))
        profile = aws.iam.InstanceProfile(name, role=self._role.name, tags=cloud.tags("machines"), opts=options)
        self.profile = profile.name
        self.register_outputs({"role": self._role.arn})

    def allow(self, what: str, policy: pulumi.Input[str]) -> pulumi.Resource:
        """Add a policy to the role; return what has to be there before a machine makes use of it."""
        options = pulumi.ResourceOptions(parent=self)
        allowed: pulumi.Resource = aws.iam.RolePolicy(
            f"{self._cloud.app}-{what}", role=self._role.id, policy=policy, opts=options
        )
        return allowed
