"""The data volume of the first machine, which outlives the machine, and its daily snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from planning import policies, tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.aws.cloud import Cloud
    from planning import volumes

DEVICE = "/dev/sdf"
"""What EC2 recommends for volumes beside the root (Amazon EC2 User Guide, "Device names")."""

COPY_TIMEOUT = "6h"
SNAPSHOT_TIME = "03:10"
"""UTC."""


class DataVolume(pulumi.ComponentResource):
    """The volume in use, with those before it, attached to the first machine.

    Attributes:
        attached: what has to be there before the machine can mount it.
        instance: ID of the machine that has it. What is made of this ends before the disk leaves that machine.
    """

    attached: pulumi.Resource
    instance: pulumi.Output[str]

    def __init__(
        self,
        cloud: Cloud,
        plan: volumes.Plan,
        instance: aws.ec2.Instance,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make what the plan says.

        Args:
            cloud: where.
            plan: which volumes there are, and which is used.
            instance: the machine that has it. Where data moves, the machine before it is gone by then.
            opts: of the component.
        """
        super().__init__("flaskhost:data:Volume", cloud.app, None, opts)
        self._cloud = cloud
        kept = {volume.number: self._volume(volume, further={tags.KEPT: "true"}) for volume in plan.kept}
        copies = {number: self._copy(number, kept[number], instance) for number in plan.copied}
        source = copies[plan.source].id if isinstance(plan.source, int) else plan.source
        used = self._volume(plan.used, source, {tags.SNAPSHOTS: cloud.owner.whole} if cloud.server.snapshots else {})
        attached = aws.ec2.VolumeAttachment(
            f"{cloud.app}-data",
            device_name=DEVICE,
            volume_id=used.id,
            instance_id=instance.id,
            # A volume is in one machine at a time: the old one shuts down, which ends everything in order, and lets go.
            stop_instance_before_detaching=True,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.attached, self.instance = attached, attached.instance_id
        if cloud.server.snapshots:
            self._snapshots(cloud.server.snapshots)
        self.register_outputs({"volume": used.id})

    def _volume(
        self,
        volume: volumes.Volume,
        source: pulumi.Input[str] | None = None,
        further: Mapping[str, str] | None = None,
    ) -> aws.ebs.Volume:
        named = {tags.VOLUME: self._cloud.owner.whole, tags.NUMBER: str(volume.number), **(further or {})}
        named |= {tags.RESTORED: volume.restored} if volume.restored else {}
        return aws.ebs.Volume(
            f"{self._cloud.app}-data-{volume.number}",
            availability_zone=volume.zone,
            size=volume.size,
            type="gp3",
            encrypted=True,
            snapshot_id=source,
            tags=self._cloud.tags(f"data-{volume.number}", named),
            opts=self._cloud.holds(
                self,
                pulumi.ResourceOptions(
                    # What it was made of counts once. The size of one that has grown is seen late: what AWS has
                    # already is not asked for again, for it refuses that for hours.
                    ignore_changes=[
                        "snapshotId",
                        "finalSnapshot",
                        *(["size"] if volume.size == volume.size_there else []),
                    ],
                    # A stack that has lost its state takes back what is there.
                    import_=volume.id or None,
                ),
            ),
        )

    def _copy(self, number: int, volume: aws.ebs.Volume, instance: aws.ec2.Instance) -> aws.ebs.Snapshot:
        """Return what the next volume is made of."""
        return aws.ebs.Snapshot(
            f"{self._cloud.app}-data-{number}-copy",
            volume_id=volume.id,
            description=f"{self._cloud.app}: data on the way to another volume",
            tags=self._cloud.tags(f"data-{number}-copy"),
            # Nobody writes any more: the machine was replaced before, and not after.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[instance], custom_timeouts=pulumi.CustomTimeouts(create=COPY_TIMEOUT)
            ),
        )

    def _snapshots(self, keep: int) -> None:
        """Have AWS take a snapshot each day, and keep the newest ones."""
        cloud, options = self._cloud, pulumi.ResourceOptions(parent=self)
        name, target = f"{cloud.app}-snapshots", {tags.SNAPSHOTS: cloud.owner.whole}
        role = aws.iam.Role(
            name, assume_role_policy=policies.trust("dlm.amazonaws.com"), tags=cloud.tags("snapshots"), opts=options
        )
        allowed = aws.iam.RolePolicy(name, role=role.id, policy=policies.snapshots(cloud.place, target), opts=options)
        schedule = aws.dlm.LifecyclePolicyPolicyDetailsScheduleArgs(
            name="daily",
            copy_tags=True,
            create_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleCreateRuleArgs(
                interval=24, interval_unit="HOURS", times=SNAPSHOT_TIME
            ),
            retain_rule=aws.dlm.LifecyclePolicyPolicyDetailsScheduleRetainRuleArgs(count=keep),
        )
        aws.dlm.LifecyclePolicy(
            name,
            # The provider takes letters, digits, blanks, _ and - only.
            description="daily snapshots by flaskhost",
            execution_role_arn=role.arn,
            policy_details=aws.dlm.LifecyclePolicyPolicyDetailsArgs(
                resource_types=["VOLUME"], target_tags=target, schedules=[schedule]
            ),
            tags=cloud.tags("snapshots"),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[allowed]),
        )
