"""What the stand-in for the aws plugin refuses before anything is made: the SDK's declarations and AWS's own values."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.conftest import AWS_STAND_IN, plugin_environment
from tests.plugins.protocol import UNKNOWN, Json, Plugin, PluginError, secret

if TYPE_CHECKING:
    from pathlib import Path

INSTANCE = "aws:ec2/instance:Instance"
RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
BUCKET = "aws:s3/bucket:Bucket"


@pytest.mark.parametrize(
    ("kind", "inputs", "path", "rule"),
    [
        (RULE, {"ipProtocol": "tcp"}, "securityGroupId", "must be given"),
        (INSTANCE, {"instance_type": "t3.micro"}, "instance_type", "no such property"),
        (INSTANCE, {"metadataOptions": {"http_tokens": "required"}}, "metadataOptions.http_tokens", "no such property"),
        (
            INSTANCE,
            {"ebsBlockDevices": [{"deviceName": "/dev/sdb"}, {"volumeSize": 8}]},
            "ebsBlockDevices[1].deviceName",
            "must be given",
        ),
        (INSTANCE, {"rootBlockDevice": {"volumeSize": 8.5}}, "rootBlockDevice.volumeSize", "an integer"),
        (INSTANCE, {"monitoring": "true"}, "monitoring", "a boolean"),
        (INSTANCE, {"tags": {"Name": 1}}, 'tags["Name"]', "a string"),
        (INSTANCE, {"vpcSecurityGroupIds": "sg-1"}, "vpcSecurityGroupIds", "a list"),
        (INSTANCE, {"rootBlockDevice": [{"volumeSize": 8}]}, "rootBlockDevice", "an object"),
        (INSTANCE, {"ami": secret(3)}, "ami", "a string"),
        (INSTANCE, {"instanceType": "large"}, "instanceType", "one of"),
        ("aws:s3/bucket:Bucket", {"bucketPrefix": "Shop_"}, "bucketPrefix", "small letters"),
        (INSTANCE, {"metadataOptions": {"httpTokens": "always"}}, "metadataOptions.httpTokens", "optional, required"),
        (INSTANCE, {"rootBlockDevice": {"volumeType": "gp4"}}, "rootBlockDevice.volumeType", "gp3"),
        (INSTANCE, {"userData": "a", "userDataBase64": "Yg=="}, "userData", "conflicts"),
        ("aws:ebs/volume:Volume", {"availabilityZone": "a", "type": "ssd"}, "type", "gp3"),
        ("aws:lb/loadBalancer:LoadBalancer", {"loadBalancerType": "classic"}, "loadBalancerType", "network"),
        ("aws:lb/targetGroup:TargetGroup", {"targetType": "machine"}, "targetType", "instance"),
        (
            "aws:lb/listener:Listener",
            {"loadBalancerArn": "x", "defaultActions": [{"type": "forwards"}]},
            "defaultActions[0].type",
            "forward",
        ),
        (
            "aws:lb/listener:Listener",
            {"loadBalancerArn": "x", "defaultActions": [], "sslPolicy": "ELBSecurityPolicy-2016-08"},
            "sslPolicy",
            "TLS13",
        ),
        (
            "aws:route53/record:Record",
            {"zoneId": "Z", "name": "a", "type": "ADDRESS", "records": ["x"], "ttl": 60},
            "type",
            "AAAA",
        ),
        ("aws:route53/record:Record", {"zoneId": "Z", "name": "a", "type": "A"}, "aliases", "exactly one"),
        (RULE, {"securityGroupId": "sg-1", "ipProtocol": "-1"}, "cidrIpv4", "exactly one"),
        (
            "aws:rds/instance:Instance",
            {"instanceClass": "db.t4g.micro", "engine": "postgresql"},
            "engine",
            "postgres",
        ),
        (
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            {
                "bucket": "b",
                "rules": [{"id": "a", "status": "Enabled", "transitions": [{"days": 30, "storageClass": "COLD"}]}],
            },
            "rules[0].transitions[0].storageClass",
            "GLACIER",
        ),
    ],
)
def test_a_wrong_input_is_named_with_its_rule(aws: Plugin, kind: str, inputs: Json, path: str, rule: str) -> None:
    """At every depth; the path is as the program would write it."""
    failures = aws.check(kind, inputs).failures
    assert rule in failures[path]


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (
            INSTANCE,
            {
                "ami": UNKNOWN,
                "instanceType": "t4g.small",
                "rootBlockDevice": {"volumeSize": 20, "volumeType": "gp3", "encrypted": True},
                "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
                "vpcSecurityGroupIds": [UNKNOWN],
                "tags": {"Name": secret("x"), "other": UNKNOWN},
                "userData": secret("#cloud-config"),
            },
        ),
        (INSTANCE, {"rootBlockDevice": UNKNOWN, "tags": UNKNOWN}),
        ("aws:iam/role:Role", {"assumeRolePolicy": "{}"}),
        (
            "aws:iam/role:Role",
            {
                "assumeRolePolicy": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
                    ],
                }
            },
        ),
        ("aws:s3/bucketVersioning:BucketVersioning", {"bucket": "b", "versioningConfiguration": {"status": "Enabled"}}),
        ("aws:sqs/queue:Queue", {"name": "others-are-checked-as-well", "delaySeconds": 3}),
    ],
)
def test_right_inputs_pass(aws: Plugin, kind: str, inputs: Json) -> None:
    """Unknown and secret values as well, and policies as text or as an object."""
    assert aws.check(kind, inputs).failures == {}


def test_a_wrong_policy_as_an_object_is_told_at_its_depth(aws: Plugin) -> None:
    """Not only that it is no text."""
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Permit", "Action": "s3:*"}]}
    failures = aws.check("aws:iam/role:Role", {"assumeRolePolicy": policy}).failures
    assert list(failures) == ["assumeRolePolicy.Statement[0].Effect"]


@pytest.mark.parametrize("kind", ["aws:ec2/machine:Machine", "aws:nothing/at:All", "gcp:ec2/instance:Instance"])
def test_what_the_sdk_does_not_have_is_named(aws: Plugin, kind: str) -> None:
    """A mistyped token would otherwise pass every preview."""
    with pytest.raises(PluginError, match=kind):
        aws.check(kind, {})


def test_a_name_is_made_up_once(aws: Plugin) -> None:
    """From the resource's own, for a bucket in small letters; a given name or prefix is left alone."""
    made = aws.check("aws:iam/role:Role", {"assumeRolePolicy": "{}"}, name="web").inputs["name"]
    assert made.startswith("web-")
    assert len(made) == len("web-") + 7
    assert aws.check(BUCKET, {}, name="Files").inputs["bucket"].startswith("files-")
    assert aws.check(BUCKET, {"bucket": "mine"}).inputs["bucket"] == "mine"
    assert "bucket" not in aws.check(BUCKET, {"bucketPrefix": "mine-"}).inputs


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        ("aws:ec2/getAmi:getAmi", {"owner": ["self"]}, "owner"),
        ("aws:ec2/getAmi:getAmi", {"filters": [{"name": "name"}]}, r"filters\[0\].values"),
        ("aws:ec2/getInstanceType:getInstanceType", {}, "instanceType"),
        ("aws:ec2/getMachine:getMachine", {}, "getMachine"),
        ("aws:ec2/getKeyPair:getKeyPair", {}, "getKeyPair: the stand-in for the aws plugin lacks this function"),
    ],
)
def test_a_wrong_question_is_refused(aws: Plugin, function: str, arguments: Json, text: str) -> None:
    """Its arguments are declared, too; and a function that is lacking is named."""
    with pytest.raises(PluginError, match=text):
        aws.invoke(function, arguments)


def test_it_starts_within_half_a_second(tmp_path: Path) -> None:
    """Every preview pays for it; the declarations are kept, so a second one reads a small file only."""
    environment = plugin_environment(FLASKHOST_CACHE=str(tmp_path))
    seconds = []
    for _ in range(3):
        with Plugin(AWS_STAND_IN, environment) as plugin:
            seconds.append(plugin.seconds_to_start)
            plugin.check(INSTANCE, {})
    assert min(seconds) < 0.5
    (kept,) = tmp_path.glob("pulumi-aws-7.51.1/*.json")
    kept.write_text('{"inputs": {}, "outputs": {}, "objects": {}}')
    with Plugin(AWS_STAND_IN, environment) as plugin:
        assert plugin.check(INSTANCE, {"ami": "x"}).failures == {"ami": f"ami: {INSTANCE} has no such property"}


def test_neither_sdk_is_imported(tmp_path: Path) -> None:
    """Each takes longer than all the rest; not even a cold cache needs them."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tests.plugins.aws import declarations, server; "
        f"declarations.of('{INSTANCE}'); "
        "print(sorted(name for name in ('pulumi_aws', 'pulumi.resource', 'paramiko') if name in sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(AWS_STAND_IN.parents[3])],
        capture_output=True,
        text=True,
        check=True,
        env=plugin_environment(FLASKHOST_CACHE=str(tmp_path)),
    )
    assert answer.stdout.strip() == "[]"


def test_it_never_passes_for_the_official_plugin(tmp_path: Path) -> None:
    """Whoever asks a plugin for its version looks for that one; and a link to it starts it from any folder."""
    link = tmp_path / "pulumi-resource-aws"
    link.symlink_to(AWS_STAND_IN)
    answer = subprocess.run([link, "--version"], capture_output=True, text=True, check=True, env=plugin_environment())
    assert "stand-in" in answer.stdout
    assert "7.51.1" not in answer.stdout


def test_the_configuration_of_the_provider_is_checked(aws: Plugin) -> None:
    """As the engine sends it: what is no text comes as JSON."""
    assert _configuration(aws, {"region": "eu-central-1", "defaultTags": '{"tags": {"a": "b"}}'}) == {}
    assert "no such property" in _configuration(aws, {"regoin": "eu-central-1"})["regoin"]


def _configuration(aws: Plugin, inputs: dict[str, Any]) -> dict[str, str]:
    return aws.check_config(inputs).failures
