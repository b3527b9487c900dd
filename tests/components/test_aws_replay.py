"""What a stack registers on AWS is plain: a tool that is not Pulumi's makes all of it from the inputs alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from tests.components import cloud, replay
from tests.components.replay import Replay, ask
from tests.components.scenario import ON_AWS, SEVERAL
from tests.plugins.aws import kinds
from tests.unit import test_aws_deploy_policy as deploy_policy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

STACKS: dict[str, dict[str, Any]] = {"one machine": ON_AWS, "several machines": SEVERAL}
NOT_IMPLEMENTED = {
    "dlm.create_lifecycle_policy": "moto has no Data Lifecycle Manager; AWS's description of it has checked the inputs",
}
NO_PARAMETER = {
    "allowMajorVersionUpgrade": "a parameter of a later change",
    "applyImmediately": "a parameter of a later change",
    "associatePublicIpAddress": "a parameter of the interface, and moto gives none with one an address of IPv6",
    "bucketPrefix": "the provider makes the name that begins with it",
    "finalSnapshotIdentifier": "a parameter of the removal",
    "forceDestroy": "the provider empties the bucket before its removal",
    "skipFinalSnapshot": "a parameter of the removal",
    "state": "the provider starts an instance that is not in it",
    "stopInstanceBeforeDetaching": "the provider stops the machine before the removal",
    "validationRecordFqdns": "the provider compares them with the certificate's, as a test here does",
}
"""Inputs that no call here takes: nearly all of them are the provider's, and AWS has no parameter for them then."""
OTHERWISE_NAMED = {
    "s3:PutBucketCors": "s3:PutBucketCORS",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
"""Calls whose right has another name (Service Authorization Reference, "Actions defined by Amazon S3")."""
NAMED_IN_THE_POLICY = [kinds.ROLE, kinds.PROFILE, kinds.LOGS, kinds.BUCKET]
"""Whose rights end at a pattern of names."""


@functools.cache
def made(name: str) -> cloud.Cloud:
    """Return what a stack registers, in its made-up account."""
    return cloud.deployed(**STACKS[name])[0]


single = pytest.mark.parametrize("aws", ["one machine"], indirect=True)
several = pytest.mark.parametrize("aws", ["several machines"], indirect=True)


@pytest.fixture(scope="module", params=STACKS)
def aws(request: pytest.FixtureRequest) -> Iterator[Replay]:
    """Return each stack, made once more by boto3 in moto's account, which answers as long as its tests run."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        # A stack has to name the image that it found; to read the thousand that moto brings takes a second.
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        account = Replay()
        account.stack(made(request.param))
        yield account


def test_every_resource_is_made_from_its_inputs(aws: Replay) -> None:
    """Neither AWS's description of its API nor moto refuses one; a kind without a translation counts as refused."""
    assert aws.refused == []


def test_what_moto_lacks_is_listed_and_nothing_else(aws: Replay) -> None:
    """An entry that became unnecessary fails as well."""
    assert aws.absent == NOT_IMPLEMENTED.keys()


def test_every_input_reaches_aws_or_is_listed() -> None:
    """The translation leaves nothing out that would have been refused."""
    every = [one for stack in STACKS for one in replay.registered(made(stack))]
    left = {name: one.name for one in every for name in replay.named(one.inputs) - replay.taken(one.kind)}
    assert left.keys() == NO_PARAMETER.keys(), left


def right(call: replay.Call) -> str:
    """Return the action of IAM that allows a call."""
    described = replay.described(call.operation)
    action = f"{described.service_model.signing_name}:{described.name}"
    return OTHERWISE_NAMED.get(action, action)


@pytest.mark.parametrize("kind", replay.CALLS)
def test_the_ready_policy_allows_every_call(kind: str) -> None:
    """Also the second and the third that a resource takes."""
    assert {right(call) for call in replay.CALLS[kind]} <= set(deploy_policy.allowed())


@pytest.mark.parametrize("kind", NAMED_IN_THE_POLICY)
def test_the_patterns_of_the_ready_policy_take_in_the_names_of_a_stack(kind: str) -> None:
    """A right that ends at other names than those that the components give is none."""
    stack = made("several machines")
    arns = [replay.entry(stack, one)[1]["arn"] for one in replay.registered(stack) if one.kind == kind]
    assert arns
    for action in map(right, replay.CALLS[kind]):
        assert {arn for arn in arns if deploy_policy.allows(action, arn)} == set(arns), action


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (kinds.LOGS, {"retentionInDays": "a month"}, "type: <class 'str'>, valid types: <class 'int'>"),
        (kinds.ROLE, {"name": "r" * 65}, "is more than 64"),
        (kinds.TARGETS, {"protocol": "HTTP/2"}, "'HTTP/2' is none of"),
        (kinds.POLICY, {"description": "daily: all"}, "'daily: all' does not match"),
        (kinds.ATTACHMENT, {"volumeId": "vol-1"}, "The volume 'vol-1' does not exist"),
    ],
)
def test_what_is_refused_has_a_name(kind: str, changes: dict[str, Any], said: str) -> None:
    """Whoever refuses it: boto3, AWS's description where boto3 does not look at it, or moto."""
    stack = made("several machines")
    inputs, outputs = next(replay.entry(stack, one) for one in replay.registered(stack) if one.kind == kind)
    with mock_aws():
        account = Replay()
        account.make("the name", replay.CALLS[kind], {**inputs, **changes}, outputs)
    assert all(one.startswith("the name: ") for one in account.refused)
    assert said in "\n".join(account.refused)


def test_what_nothing_translates_is_refused() -> None:
    """A new kind of resource needs its calls in the table."""
    account = Replay()
    account.make("the name", (), {}, {})
    assert account.refused == ["the name: no call is known that makes it"]


def instances() -> list[dict[str, Any]]:
    """Return the machines."""
    return [one for each in ask("ec2.describe_instances")["Reservations"] for one in each["Instances"]]


def records() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the records of the zone, by name and type."""
    (zone,) = ask("route53.list_hosted_zones")["HostedZones"]
    found = ask("route53.list_resource_record_sets", HostedZoneId=zone["Id"].removeprefix("/hostedzone/"))
    return {(one["Name"], one["Type"]): one for one in found["ResourceRecordSets"]}


@pytest.mark.usefixtures("aws")
def test_nothing_but_the_site_is_open_to_the_world() -> None:
    """Of all security groups; SSH is open to the listed networks."""
    rules = [one for one in ask("ec2.describe_security_group_rules")["SecurityGroupRules"] if not one["IsEgress"]]
    networks = {(one.get("CidrIpv4") or one.get("CidrIpv6"), one["FromPort"]) for one in rules}
    assert {port for network, port in networks if network in ("0.0.0.0/0", "::/0")} == {80, 443}
    assert {network for network, port in networks if port == 22} <= {"192.0.2.0/24", "2001:db8::/32"}


@several
@pytest.mark.usefixtures("aws")
def test_behind_a_balancer_the_machines_are_not_open_to_the_world() -> None:
    """Visitors come through it alone."""
    groups = [group["GroupId"] for machine in instances() for group in machine["SecurityGroups"]]
    rules = ask("ec2.describe_security_group_rules", Filters=[{"Name": "group-id", "Values": groups}])
    inwards = [one for one in rules["SecurityGroupRules"] if not one["IsEgress"]]
    assert {(one["FromPort"], one.get("CidrIpv4") or one.get("CidrIpv6")) for one in inwards} == {
        (22, "192.0.2.0/24"),
        (22, "2001:db8::/32"),
        (443, None),
    }


@pytest.mark.usefixtures("aws")
def test_every_disk_is_encrypted() -> None:
    """That of each machine, and the one with the data, which is attached to the first one."""
    volumes = ask("ec2.describe_volumes")["Volumes"]
    assert [one["Encrypted"] for one in volumes] == [True] * (len(instances()) + 1)
    assert [one["Attachments"][0]["Device"] for one in volumes].count("/dev/sdf") == 1


@pytest.mark.usefixtures("aws")
def test_metadata_of_machines_needs_a_token() -> None:
    """IMDSv2 alone, and no further than the machine."""
    for one in instances():
        options = one["MetadataOptions"]
        assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


@several
@pytest.mark.usefixtures("aws")
def test_the_bucket_is_closed_to_the_public() -> None:
    """By all four locks; what is in it is encrypted and has versions."""
    (bucket,) = [one["Name"] for one in ask("s3.list_buckets")["Buckets"]]
    locks = ask("s3.get_public_access_block", Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert list(locks.values()) == [True] * 4
    assert ask("s3.get_bucket_versioning", Bucket=bucket)["Status"] == "Enabled"
    (rule,) = ask("s3.get_bucket_encryption", Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}


@several
@pytest.mark.usefixtures("aws")
def test_the_database_is_encrypted_and_not_public() -> None:
    """It is kept when somebody removes it by mistake, and only AWS knows its password."""
    (database,) = ask("rds.describe_db_instances")["DBInstances"]
    assert (database["StorageEncrypted"], database["PubliclyAccessible"]) == (True, False)
    assert database["DeletionProtection"]
    assert database["MasterUserSecret"]["SecretStatus"] == "active"


@several
@pytest.mark.usefixtures("aws")
def test_redis_is_encrypted() -> None:
    """On the disk and on the way."""
    (group,) = ask("elasticache.describe_replication_groups")["ReplicationGroups"]
    assert (group["AtRestEncryptionEnabled"], group["TransitEncryptionEnabled"]) == (True, True)


@several
@pytest.mark.usefixtures("aws")
def test_the_balancer_sends_visitors_over_tls_to_every_machine() -> None:
    """Port 80 only says where to go; port 443 has the certificate."""
    (balancer,) = ask("elbv2.describe_load_balancers")["LoadBalancers"]
    found = ask("elbv2.describe_listeners", LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    listeners = {one["Port"]: one for one in found}
    assert listeners.keys() == {80, 443}
    (action,) = listeners[80]["DefaultActions"]
    assert action["RedirectConfig"] == {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
    (certificate,) = ask("acm.list_certificates")["CertificateSummaryList"]
    assert listeners[443]["Certificates"] == [{"CertificateArn": certificate["CertificateArn"]}]
    (group,) = ask("elbv2.describe_target_groups")["TargetGroups"]
    health = ask("elbv2.describe_target_health", TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    assert {one["Target"]["Id"] for one in health} == {one["InstanceId"] for one in instances()}
    assert {one["Target"]["Port"] for one in health} == {443}


@several
@pytest.mark.usefixtures("aws")
def test_the_records_prove_the_certificate() -> None:
    """Each name of it, by the record that AWS asked for."""
    (certificate,) = ask("acm.list_certificates")["CertificateSummaryList"]
    asked = ask("acm.describe_certificate", CertificateArn=certificate["CertificateArn"])["Certificate"]
    zone = records()
    for option in asked["DomainValidationOptions"]:
        record = option["ResourceRecord"]
        assert zone[record["Name"], "CNAME"]["ResourceRecords"] == [{"Value": record["Value"]}]
    assert {one["DomainName"] for one in asked["DomainValidationOptions"]} == {"example.com", "www.example.com"}


@single
@pytest.mark.usefixtures("aws")
def test_the_names_lead_to_the_one_machine() -> None:
    """To both of its addresses."""
    (machine,) = instances()
    (version6,) = machine["NetworkInterfaces"][0]["Ipv6Addresses"]
    for name in ("example.com.", "www.example.com."):
        assert records()[name, "A"]["ResourceRecords"] == [{"Value": machine["PublicIpAddress"]}]
        assert records()[name, "AAAA"]["ResourceRecords"] == [{"Value": version6["Ipv6Address"]}]


@several
@pytest.mark.usefixtures("aws")
def test_the_names_lead_to_the_balancer() -> None:
    """Over both versions of IP."""
    (balancer,) = ask("elbv2.describe_load_balancers")["LoadBalancers"]
    for name in ("example.com.", "www.example.com."):
        for kind in ("A", "AAAA"):
            assert records()[name, kind]["AliasTarget"]["DNSName"] == balancer["DNSName"]
