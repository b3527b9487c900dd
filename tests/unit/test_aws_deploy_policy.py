"""The IAM policy for whoever runs `pulumi up` on AWS: it is narrow, and it has what the components need."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops import tunnel

TREE = Path(__file__).parents[2]
POLICY: dict[str, Any] = json.loads((TREE / "docs/aws-deploy-policy.json").read_text())
STATEMENTS: list[dict[str, Any]] = POLICY["Statement"]
TUNNEL: dict[str, Any] = json.loads((TREE / "docs/aws-tunnel-policy.json").read_text())

LONGEST_INLINE = 10240
"""Characters of a role's own policies, without blanks (IAM and AWS STS quotas, "IAM and STS character limits")."""

KINDS = re.compile(r"\baws\.(\w+)\.([A-Z]\w+)\(")
ARGUMENTS = "Args"
"""How the names of the SDK's types of arguments end, which are no resources."""

MAKES = {
    "acm.Certificate": "acm:RequestCertificate",
    "acm.CertificateValidation": "acm:DescribeCertificate",  # it only waits
    "cloudwatch.LogGroup": "logs:CreateLogGroup",
    "dlm.LifecyclePolicy": "dlm:CreateLifecyclePolicy",
    "ebs.Snapshot": "ec2:CreateSnapshot",
    "ebs.Volume": "ec2:CreateVolume",
    "ec2.DefaultSecurityGroup": "ec2:RevokeSecurityGroupIngress",  # it is there, and is emptied
    "ec2.Eip": "ec2:AllocateAddress",
    "ec2.EipAssociation": "ec2:AssociateAddress",
    "ec2.Instance": "ec2:RunInstances",
    "ec2.InternetGateway": "ec2:CreateInternetGateway",
    "ec2.KeyPair": "ec2:ImportKeyPair",
    "ec2.Route": "ec2:CreateRoute",
    "ec2.RouteTable": "ec2:CreateRouteTable",
    "ec2.RouteTableAssociation": "ec2:AssociateRouteTable",
    "ec2.SecurityGroup": "ec2:CreateSecurityGroup",
    "ec2.Subnet": "ec2:CreateSubnet",
    "ec2transitgateway.InstanceState": "ec2:StartInstances",
    "ec2.VolumeAttachment": "ec2:AttachVolume",
    "ec2.Vpc": "ec2:CreateVpc",
    "elasticache.ReplicationGroup": "elasticache:CreateReplicationGroup",
    "elasticache.SubnetGroup": "elasticache:CreateCacheSubnetGroup",
    "iam.InstanceProfile": "iam:CreateInstanceProfile",
    "iam.Role": "iam:CreateRole",
    "iam.RolePolicy": "iam:PutRolePolicy",
    "lb.Listener": "elasticloadbalancing:CreateListener",
    "lb.ListenerRule": "elasticloadbalancing:CreateRule",
    "lb.LoadBalancer": "elasticloadbalancing:CreateLoadBalancer",
    "lb.TargetGroup": "elasticloadbalancing:CreateTargetGroup",
    "lb.TargetGroupAttachment": "elasticloadbalancing:RegisterTargets",
    "rds.Instance": "rds:CreateDBInstance",
    "rds.SubnetGroup": "rds:CreateDBSubnetGroup",
    "route53.HealthCheck": "route53:CreateHealthCheck",
    "route53.Record": "route53:ChangeResourceRecordSets",
    "s3.Bucket": "s3:CreateBucket",
    "s3.BucketCorsConfiguration": "s3:PutBucketCORS",
    "s3.BucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3.BucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "s3.BucketPolicy": "s3:PutBucketPolicy",
    "s3.BucketPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3.BucketServerSideEncryptionConfiguration": "s3:PutEncryptionConfiguration",
    "s3.BucketVersioning": "s3:PutBucketVersioning",
    "vpc.SecurityGroupEgressRule": "ec2:AuthorizeSecurityGroupEgress",
    "vpc.SecurityGroupIngressRule": "ec2:AuthorizeSecurityGroupIngress",
}
"""By what each type of resource comes to be (Service Authorization Reference)."""

READS = {
    "ec2transitgateway.InstanceState": "ec2:DescribeInstanceStatus",
    "ec2.EipAssociation": "ec2:DescribeAddresses",
    "ec2.KeyPair": "ec2:DescribeKeyPairs",
    "ec2.VolumeAttachment": "ec2:DescribeVolumes",
    "lb.TargetGroupAttachment": "elasticloadbalancing:DescribeTargetHealth",
    "rds.Instance": "rds:DescribeDBInstances",
    "elasticache.ReplicationGroup": "elasticache:DescribeReplicationGroups",
    "route53.Record": "route53:ListResourceRecordSets",
    "dlm.LifecyclePolicy": "dlm:GetLifecyclePolicy",
}
"""By what the provider looks at a resource which it has just made, where the word is another one (its source)."""

IN_PAIRS = {
    "ec2:AttachVolume": "ec2:DetachVolume",
    "ec2:AllocateAddress": "ec2:ReleaseAddress",
    "ec2:ImportKeyPair": "ec2:DeleteKeyPair",
    "ec2:RunInstances": "ec2:TerminateInstances",
    "acm:RequestCertificate": "acm:DeleteCertificate",
    "iam:PutRolePolicy": "iam:DeleteRolePolicy",
}
"""What makes something, and what removes it, where the words differ."""


def listed(value: Any) -> list[str]:
    """Return what a statement says, which may be one word or a list."""
    return [value] if isinstance(value, str) else list(value)


def allowed() -> list[str]:
    """Return every action of the policy, as often as it is there."""
    return [action for statement in STATEMENTS for action in listed(statement["Action"])]


def having(action: str) -> list[dict[str, Any]]:
    """Return the statements that have an action."""
    return [statement for statement in STATEMENTS if action in listed(statement["Action"])]


def allows(action: str, arn: str) -> bool:
    """Return whether a statement has the action for that resource, whatever its condition says."""
    return any(fnmatch.fnmatchcase(arn, pattern) for one in having(action) for pattern in listed(one["Resource"]))


def made() -> set[str]:
    """Return the types of resources that the components make."""
    text = "".join(file.read_text() for file in sorted((TREE / "components/aws").glob("*.py")))
    return {f"{module}.{kind}" for module, kind in KINDS.findall(text) if not kind.endswith(ARGUMENTS)}


@pytest.mark.parametrize("policy", [POLICY, TUNNEL], ids=["deploy", "tunnel"])
def test_it_is_a_policy_that_a_role_takes(policy: dict[str, Any]) -> None:
    """In the language of IAM, each statement with a name, and both short enough for policies of the role's own."""
    statements = policy["Statement"]
    assert policy["Version"] == "2012-10-17"
    names = [statement["Sid"] for statement in statements]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", name) for name in names)
    assert all(set(one) <= {"Sid", "Effect", "Action", "Resource", "Condition"} for one in statements)
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    assert sum(len(re.sub(r"\s", "", json.dumps(one))) for one in (POLICY, TUNNEL)) <= LONGEST_INLINE


@pytest.mark.parametrize("policy", [POLICY, TUNNEL], ids=["deploy", "tunnel"])
def test_every_right_is_named(policy: dict[str, Any]) -> None:
    """No wildcard takes in what AWS may add one day, and nothing is there twice in one statement."""
    actions = [listed(one["Action"]) for one in policy["Statement"]]
    assert all(re.fullmatch(r"[a-z0-9]+:[A-Za-z0-9]+", action) for each in actions for action in each)
    assert all(len(set(each)) == len(each) for each in actions)


def test_the_tunnel_opens_no_shell() -> None:
    """Whoever may only deploy gets the document that forwards a port, on machines of ours, and no other session."""
    starting = [one for one in TUNNEL["Statement"] if one["Action"] == "ssm:StartSession"]
    machines, document = sorted(starting, key=lambda one: "document" in one["Resource"])
    assert document["Resource"] == f"arn:aws:ssm:*::document/{tunnel.DOCUMENT}"
    assert machines["Condition"] == {
        "StringEquals": {"ssm:resourceTag/flaskhost:project": "flaskhost"},
        # Without it a session that names no document is one of the account's own, which is a shell.
        "BoolIfExists": {"ssm:SessionDocumentAccessCheck": "true"},
    }


def test_the_table_knows_every_type_of_resource() -> None:
    """Whoever adds a type to a component adds its right here, and in the policy."""
    assert made() == set(MAKES)


@pytest.mark.parametrize("kind", MAKES)
def test_each_type_of_resource_can_be_made(kind: str) -> None:
    """By the action that AWS asks for it."""
    assert MAKES[kind] in allowed()


@pytest.mark.parametrize("kind", READS)
def test_what_is_made_can_be_looked_at(kind: str) -> None:
    """Or `up` ends right after it was made."""
    assert kind in MAKES
    assert READS[kind] in allowed()


def test_what_aws_asks_for_on_everything_is_not_limited_to_something() -> None:
    """A health check has no name before it is made, so AWS takes no pattern for its making."""
    assert [one["Resource"] for one in having("route53:CreateHealthCheck")] == ["*"]


def test_what_is_made_can_be_removed() -> None:
    """Or `destroy` would leave it behind."""
    makes = {action for action in MAKES.values() if re.search(r":(Create|Attach|Allocate|Import|Run|Request)", action)}
    for action in sorted(makes):
        assert IN_PAIRS.get(action, action.replace(":Create", ":Delete")) in allowed()


def test_roles_are_those_of_the_components_alone() -> None:
    """Which rights they get is for whoever deploys to say; which roles those are is not."""
    for statement in STATEMENTS:
        actions = [action for action in listed(statement["Action"]) if action.startswith("iam:")]
        for resource in listed(statement["Resource"]) if actions else []:
            assert re.fullmatch(
                r"arn:aws:iam::\*:(role/\*-(machines|snapshots)-\*|instance-profile/\*-machines-\*"
                r"|role/aws-service-role/\*)",
                resource,
            )


def test_a_role_is_handed_only_to_machines_and_to_the_service_of_snapshots() -> None:
    """And the services that need a role of their own are named."""
    passing = having("iam:PassRole")
    assert [one["Condition"]["StringEquals"]["iam:PassedToService"] for one in passing] == [
        ["ec2.amazonaws.com", "dlm.amazonaws.com"]
    ]
    linked = having("iam:CreateServiceLinkedRole")
    assert [one["Condition"]["StringEquals"]["iam:AWSServiceName"] for one in linked] == [
        ["elasticache.amazonaws.com", "elasticloadbalancing.amazonaws.com", "rds.amazonaws.com"]
    ]


def test_no_secret_can_be_read() -> None:
    """The password of the database is for the machines; whoever deploys lets AWS make it, and no more."""
    secrets = {action for action in allowed() if action.startswith(("secretsmanager:", "kms:"))}
    assert secrets == {"secretsmanager:CreateSecret", "secretsmanager:TagResource", "kms:DescribeKey"}


def test_machines_and_disks_of_others_cannot_be_removed() -> None:
    """What can have tags is removed by its tag of ours only."""
    ends = ("ec2:TerminateInstances", "ec2:StopInstances", "ec2:DeleteVolume", "ec2:DeleteSnapshot", "ec2:DeleteVpc")
    for end in ends:
        assert [one["Condition"]["StringEquals"] for one in having(end)] == [
            {"aws:ResourceTag/flaskhost:project": "flaskhost"}
        ]
