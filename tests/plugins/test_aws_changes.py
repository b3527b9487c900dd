"""What a change is for the stand-in for the aws plugin: in place, or a replacement; known in a preview, or not."""

from __future__ import annotations

import pytest

from tests.plugins.aws import rules
from tests.plugins.protocol import UNKNOWN, Json, Plugin, bare, is_secret, is_unknown, secret

INSTANCE = "aws:ec2/instance:Instance"
VOLUME = "aws:ebs/volume:Volume"
CACHE = "aws:elasticache/replicationGroup:ReplicationGroup"


IN_PLACE = [
    (INSTANCE, {"instanceType": "t3.micro"}, {"instanceType": "t3.small"}),
    (INSTANCE, {"userData": "a"}, {"userData": "b"}),
    (INSTANCE, {"tags": {"a": "b"}}, {"tags": {"a": "c"}}),
    (INSTANCE, {"vpcSecurityGroupIds": ["a"]}, {"vpcSecurityGroupIds": ["a", "b"]}),
    (INSTANCE, {"rootBlockDevice": {"volumeSize": 8}}, {"rootBlockDevice": {"volumeSize": 9}}),
    (INSTANCE, {"iamInstanceProfile": "a"}, {"iamInstanceProfile": "b"}),
    (INSTANCE, {"metadataOptions": {"httpTokens": "optional"}}, {"metadataOptions": {"httpTokens": "required"}}),
    (VOLUME, {"size": 10}, {"size": 20}),
    (VOLUME, {"type": "gp2"}, {"type": "gp3", "iops": 3000}),
    (
        "aws:ec2/volumeAttachment:VolumeAttachment",
        {"deviceName": "a"},
        {"deviceName": "a", "stopInstanceBeforeDetaching": True},
    ),
    ("aws:ec2/eip:Eip", {"domain": "vpc"}, {"domain": "vpc", "instance": "i-1"}),
    ("aws:ec2/routeTableAssociation:RouteTableAssociation", {"routeTableId": "a"}, {"routeTableId": "b"}),
    ("aws:rds/instance:Instance", {"instanceClass": "db.t3.micro"}, {"instanceClass": "db.t3.small"}),
    ("aws:rds/instance:Instance", {"deletionProtection": True}, {"deletionProtection": False}),
    ("aws:route53/record:Record", {"records": ["1"], "ttl": 60}, {"records": ["2"], "ttl": 60}),
    ("aws:lb/listenerRule:ListenerRule", {"priority": 1}, {"priority": 2}),
    ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {"cidrIpv4": "a"}, {"cidrIpv4": "b"}),
    (INSTANCE, {"ipv6AddressCount": 0}, {"ipv6AddressCount": 1}),
    (CACHE, {"engineVersion": "7.2"}, {"engineVersion": "8.0"}),
    (CACHE, {"engine": "redis", "engineVersion": "7.1"}, {"engine": "valkey", "engineVersion": "8.0"}),
]

REPLACED = [
    (INSTANCE, {"ami": "a"}, {"ami": "b"}, "ami"),
    (INSTANCE, {"ami": "a"}, {"ami": UNKNOWN}, "ami"),
    (INSTANCE, {"keyName": "a"}, {"keyName": "b"}, "keyName"),
    (INSTANCE, {"rootBlockDevice": {"encrypted": False}}, {"rootBlockDevice": {"encrypted": True}}, "rootBlockDevice"),
    (
        INSTANCE,
        {"userData": "a", "userDataReplaceOnChange": True},
        {"userData": "b", "userDataReplaceOnChange": True},
        "userData",
    ),
    (INSTANCE, {"region": "eu-central-1"}, {"region": "eu-west-1"}, "region"),
    (VOLUME, {"availabilityZone": "a"}, {"availabilityZone": "b"}, "availabilityZone"),
    (VOLUME, {"snapshotId": "a"}, {"snapshotId": "b"}, "snapshotId"),
    (VOLUME, {"encrypted": False}, {"encrypted": True}, "encrypted"),
    ("aws:ec2/volumeAttachment:VolumeAttachment", {"volumeId": "a"}, {"volumeId": "b"}, "volumeId"),
    ("aws:ec2/eipAssociation:EipAssociation", {"instanceId": "a"}, {"instanceId": "b"}, "instanceId"),
    ("aws:ec2/keyPair:KeyPair", {"publicKey": "a"}, {"publicKey": "b"}, "publicKey"),
    ("aws:lb/targetGroup:TargetGroup", {"port": 80}, {"port": 8080}, "port"),
    (
        "aws:acm/certificate:Certificate",
        {"subjectAlternativeNames": ["a"]},
        {"subjectAlternativeNames": ["a", "b"]},
        "subjectAlternativeNames",
    ),
    ("aws:rds/instance:Instance", {"username": "a"}, {"username": "b"}, "username"),
    (CACHE, {"engineVersion": "8.0"}, {"engineVersion": "7.2"}, "engineVersion"),
    (CACHE, {"engine": "valkey"}, {"engine": "redis"}, "engine"),
    (
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        {"cidrIpv4": "a"},
        {"referencedSecurityGroupId": "b"},
        "referencedSecurityGroupId",
    ),
]


@pytest.mark.parametrize(("kind", "old", "new"), IN_PLACE)
def test_what_aws_changes_in_place_is_an_update(aws: Plugin, kind: str, old: Json, new: Json) -> None:
    """A replacement here would stop a preview of the product for nothing."""
    found = aws.diff(kind, old, new, state=old)
    assert found.changes
    assert found.replaces == []


@pytest.mark.parametrize(("kind", "old", "new", "name"), REPLACED)
def test_what_aws_cannot_change_is_a_replacement(aws: Plugin, kind: str, old: Json, new: Json, name: str) -> None:
    """As the provider's schemas mark it."""
    found = aws.diff(kind, old, new, state=old)
    assert name in found.replaces
    assert any(kind.endswith("_REPLACE") for kind in found.detail.values())


@pytest.mark.parametrize("kind", sorted(rules.REPLACES))
def test_every_property_that_replaces_is_declared(aws: Plugin, kind: str) -> None:
    """A mistyped name in the table would never be found otherwise."""
    from tests.plugins.aws import declarations  # noqa: PLC0415

    assert aws
    declaration = declarations.of(kind)
    for path in rules.REPLACES[kind]:
        properties = declaration["inputs"]
        for name in path.split("."):
            assert name in properties, path
            properties = _below(properties[name]["type"], declaration)


def _below(kind: object, declaration: Json) -> Json:
    """Return the properties of what a list or an object holds."""
    while isinstance(kind, dict) and "object" not in kind:
        kind = next(iter(kind.values()))
    return dict(declaration["objects"][kind["object"]]) if isinstance(kind, dict) else {}


def test_a_version_that_aws_has_raised_is_no_more_than_a_change_that_is_seen(aws: Plugin) -> None:
    """The provider compares with its state: what the program says is older then, and would be an empty cache."""
    wanted: Json = {"engineVersion": "8.0"}
    assert aws.diff(CACHE, wanted, wanted, state={"engineVersion": "8.1"}).replaces == ["engineVersion"]


def test_what_is_ignored_is_not_compared_with_the_state_either(aws: Plugin) -> None:
    """A disk that has grown since its state was written."""
    wanted: Json = {"size": 20}
    assert aws.diff(VOLUME, wanted, wanted, state={"size": 10}).changes
    assert not aws.diff(VOLUME, wanted, wanted, state={"size": 10}, ignored=["size"]).changes


def test_the_same_inputs_are_no_change(aws: Plugin) -> None:
    """Nor is another order of what is a set, a secret mark, or a computed property that is given no more."""
    old = {"vpcSecurityGroupIds": ["a", "b"], "userData": "x", "privateIp": "10.0.0.4"}
    new = {"vpcSecurityGroupIds": ["b", "a"], "userData": secret("x")}
    assert not aws.diff(INSTANCE, old, new, state={**old, "arn": "x"}).changes


def test_what_is_given_as_it_is_already_is_no_change(aws: Plugin) -> None:
    """A program may begin to say what the provider has computed."""
    state = {"ami": "a", "availabilityZone": "eu-central-1a", "rootBlockDevice": {"volumeSize": 8, "volumeId": "v"}}
    new = {"ami": "a", "availabilityZone": "eu-central-1a", "rootBlockDevice": {"volumeSize": 8}}
    assert not aws.diff(INSTANCE, {"ami": "a"}, new, state=state).changes


def test_a_public_address_that_came_later_counts_against_a_machine_without_one(aws: Plugin) -> None:
    """A refresh reads an elastic address as `associatePublicIpAddress`, and `false` in the program replaces then."""
    inputs = {"associatePublicIpAddress": False}
    assert not aws.diff(INSTANCE, inputs, inputs, state=inputs).changes
    found = aws.diff(INSTANCE, inputs, inputs, state={"associatePublicIpAddress": True})
    assert found.replaces == ["associatePublicIpAddress"]


def test_a_given_name_is_freed_first(aws: Plugin) -> None:
    """Two cannot have it at once; a made-up one is another one each time."""
    kind = "aws:lb/targetGroup:TargetGroup"
    old, new = {"name": "web", "port": 80, "__defaults": []}, {"name": "web", "port": 81, "__defaults": []}
    assert aws.diff(kind, old, new, state=old).delete_before_replace
    made = {"__defaults": ["name"]}
    assert not aws.diff(kind, old | made, new | made, state=old).delete_before_replace


def test_a_preview_of_a_new_resource_knows_its_inputs_only(aws: Plugin) -> None:
    """All that AWS decides is unknown; region and tags are known before."""
    inputs = {"ami": "a", "tags": {"a": "b"}, "userData": secret("x"), "subnetId": UNKNOWN}
    made = aws.create(INSTANCE, inputs, preview=True)
    assert made.id == ""
    for name in ("arn", "privateIp", "publicIp", "availabilityZone", "subnetId", "rootBlockDevice"):
        assert is_unknown(made.state[name]), name
    assert made.state["ami"] == "a"
    assert made.state["tagsAll"] == {"a": "b"}
    assert made.state["region"] == "eu-central-1"
    assert is_secret(made.state["userData"])
    assert "hibernation" not in made.state


def test_a_preview_of_an_update_keeps_what_is_known(aws: Plugin) -> None:
    """Or each step that needs an address would be shown as changed."""
    old = {"ami": "a", "instanceType": "t3.micro"}
    new = {"ami": "a", "instanceType": "t3.small", "tags": {"a": "b"}}
    state = {**old, "arn": "arn:x", "privateIp": "10.0.0.4", "region": "eu-central-1"}
    after = aws.update(INSTANCE, state, old, new, preview=True)
    assert (after["arn"], after["privateIp"], after["instanceType"]) == ("arn:x", "10.0.0.4", "t3.small")
    assert bare(after["tagsAll"]) == {"a": "b"}
    assert not any(is_unknown(value) for value in after.values())
