"""What the machines, and the service that takes snapshots, may do on AWS: IAM policies as JSON documents.

Each wildcard is one for which AWS knows nothing narrower; WILDCARDS names it with its reason, and a test holds every
policy to that list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

VERSION = "2012-10-17"
"""Of the language of policies (IAM User Guide, "Version")."""

WILDCARDS: dict[str, str] = {
    "ssmmessages:CreateControlChannel": "has no resource type",
    "ssmmessages:CreateDataChannel": "has no resource type",
    "ssmmessages:OpenControlChannel": "has no resource type",
    "ssmmessages:OpenDataChannel": "has no resource type",
    "ssm:UpdateInstanceInformation": "the machine's ID is not known before it has its role",
    "cloudwatch:PutMetricData": "has no resource type; a condition names the namespace",
    "logs:CreateLogStream": "a log group's own ARN ends so",
    "logs:PutLogEvents": "a log group's own ARN ends so",
    "s3:GetObject": "the application names its objects",
    "s3:PutObject": "the application names its objects",
    "s3:DeleteObject": "the application names its objects",
    "s3:AbortMultipartUpload": "the application names its objects",
    "ec2:CreateSnapshot": "a snapshot has no ID before it is made; a condition names the volume's tags",
    "ec2:CreateTags": "a snapshot has no ID before it is made",
    "ec2:DeleteSnapshot": "a snapshot's ID is given by AWS; a condition names its tags",
    "ec2:DescribeVolumes": "has no resource type",
    "ec2:DescribeSnapshots": "has no resource type",
    "ec2:DescribeInstances": "has no resource type",
}
"""Actions that have a wildcard in their resource, by the Service Authorization Reference."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where on AWS a stack is.

    Attributes:
        partition: aws, or that of China or of the government.
        region: such as eu-central-1.
        account: its twelve digits.
    """

    partition: str
    region: str
    account: str

    def arn(self, service: str, resource: str) -> str:
        """Return the name of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def document(*statements: dict[str, Any]) -> str:
    """Return a policy as IAM takes it."""
    return json.dumps({"Version": VERSION, "Statement": list(statements)})


def allow(*actions: str, on: str | list[str], when: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a statement that allows actions on resources, under a condition if one is given."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **({"Condition": when} if when else {})}


def trust(service: str) -> str:
    """Return the policy by which a service of AWS may take a role."""
    who = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return document(who)


def machine(place: Place, log_group: str, namespace: str) -> str:
    """Return what every machine may do: be reached through Systems Manager, write its logs and its metrics.

    Args:
        place: where it is.
        log_group: name of the stack's log group.
        namespace: of the stack's metrics.
    """
    channels = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")
    return document(
        allow(*(f"ssmmessages:{channel}" for channel in channels), on="*"),
        allow("ssm:UpdateInstanceInformation", on=place.arn("ec2", "instance/*")),
        allow("logs:CreateLogStream", "logs:PutLogEvents", on=place.arn("logs", f"log-group:{log_group}:*")),
        allow("cloudwatch:PutMetricData", on="*", when={"StringEquals": {"cloudwatch:namespace": namespace}}),
    )


def bucket(arn: str) -> str:
    """Return what a machine may do with the bucket of uploads: list, read, write and delete what is in it."""
    objects = ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")
    return document(
        allow("s3:ListBucket", on=arn),
        allow(*(f"s3:{action}" for action in objects), on=f"{arn}/*"),
    )


def secret(arn: str) -> str:
    """Return what reads one secret, and nothing else."""
    return document(allow("secretsmanager:GetSecretValue", on=arn))


def snapshots(place: Place, tags: dict[str, str]) -> str:
    """Return what the service that takes snapshots may do, with the volumes that have these tags only."""
    of_volume = {"StringEquals": {f"aws:ResourceTag/{name}": value for name, value in tags.items()}}
    snapshot = f"arn:{place.partition}:ec2:{place.region}::snapshot/*"
    return document(
        allow("ec2:CreateSnapshot", on=place.arn("ec2", "volume/*"), when=of_volume),
        allow("ec2:CreateSnapshot", on=snapshot),
        allow("ec2:CreateTags", on=snapshot),
        allow("ec2:DeleteSnapshot", on=snapshot, when=of_volume),
        allow("ec2:DescribeVolumes", "ec2:DescribeSnapshots", "ec2:DescribeInstances", on="*"),
    )


def only_encrypted(arn: str) -> str:
    """Return the policy of a bucket that refuses whoever comes without TLS."""
    refused = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return document(refused)
