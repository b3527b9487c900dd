"""The rules that every stack on AWS keeps, whatever its settings: asked of all that it would make."""

from __future__ import annotations

import functools
import json
import re
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from planning.policies import WILDCARDS
from settings import AwsServer
from tests.components import cloud, scenario
from tests.components.scenario import HOST_KEY, ON_AWS, PRIVATE_KEY, SEVERAL
from tests.plugins.aws import declarations
from tests.plugins.aws.account import Account

if TYPE_CHECKING:
    from tests.components.recording import Registered

ONE, MANY = ON_AWS["server"], SEVERAL["server"]
DEFAULT = {"kind": "default"}
BASTION = {"address": "198.51.100.4", "host_key": HOST_KEY}
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/7a1b2c3d-0000-4000-8000-1a2b3c4d5e6f"
IMAGE = next(one["id"] for one in Account().images() if "24.04-arm64" in one["name"])


def of_file(path: str) -> dict[str, Any]:
    """Return the configuration of a stack file of the tree, with made-up secrets."""
    given = yaml.safe_load((cloud.ROOT / path).read_text())["config"]
    values = {name.partition(":")[2]: value for name, value in given.items() if name.startswith("flaskhost:")}
    # A policy is asked about one application, whatever it is called in the file.
    app = {**values["app"], "name": "guestbook", "source": {"repository": "../guestbook"}}
    return {**values, "app": app, "secrets": {"SECRET_KEY": scenario.CANARY}, "digest_key": scenario.KEY}


STACKS: dict[str, dict[str, Any]] = {
    "Pulumi.prod.yaml": of_file("Pulumi.prod.yaml"),
    "several-machines.yaml": of_file("examples/stacks/several-machines.yaml"),
    "one machine": ON_AWS,
    "one machine in the default VPC": {**ON_AWS, "server": {**ONE, "network": DEFAULT}},
    "one machine with names elsewhere": {**ON_AWS, "dns": {"kind": "none"}},
    "one machine without HTTPS": {**ON_AWS, "web__https": False},
    "one machine through Systems Manager": {**ON_AWS, "server": {"kind": "aws", "ssh": "ssm"}},
    "one machine behind a bastion": {
        **ON_AWS,
        "server": {**ONE, "bastion": BASTION},
        "credentials": {"bastion_key": PRIVATE_KEY},
    },
    "one machine open to SSH from anywhere": {**ON_AWS, "server": {"kind": "aws", "allow_ssh_from_anywhere": True}},
    "one machine, rebuilt, older, without snapshots": {
        **ON_AWS,
        "server": {**ONE, "ubuntu": "22.04", "rebuild": "2026-12", "instance_type": "t3.small", "snapshots": 0},
        "dns": {"kind": "route53", "zone": "example.com", "health_check": True, "caa": []},
    },
    "one machine with managed services": {
        **ON_AWS,
        "server": {**ONE, "ami": IMAGE},
        "database": {"kind": "rds", "engine": "mysql", "multi_az": True},
        "redis": {"kind": "elasticache", "engine": "redis"},
        "media": {"kind": "s3"},
    },
    "several machines": SEVERAL,
    "several machines in the default VPC, names elsewhere": {
        **SEVERAL,
        "server": {**MANY, "network": DEFAULT},
        "dns": {"kind": "none"},
        "balancer": {"certificate": CERTIFICATE},
    },
    "several machines with seven names": {
        **SEVERAL,
        "web__domains": [f"{name}.example.com" for name in "abcdef"],
        "web__redirects": ["www.example.com"],
    },
    "several machines that may go": {**SEVERAL, "purge": True},
}
ANYWHERE = ("0.0.0.0/0", "::/0")
CLOSES = {
    f"aws:s3/{name}:{name[0].upper()}{name[1:]}"
    for name in (
        "bucketPublicAccessBlock",
        "bucketOwnershipControls",
        "bucketVersioning",
        "bucketServerSideEncryptionConfiguration",
        "bucketPolicy",
        "bucketLifecycleConfiguration",
    )
}
"""What makes a bucket a private one: a bucket that is kept stays so."""

HOLDS = {
    "aws:ebs/volume:Volume",
    "aws:rds/instance:Instance",
    "aws:s3/bucket:Bucket",
    "aws:route53/record:Record",
    "aws:ec2/eip:Eip",
}


@functools.cache
def made(name: str) -> tuple[Registered, ...]:
    """Return what a stack registers."""
    account = Account.open(tempfile.mkdtemp(prefix="flaskhost-account-"))
    account.put("aws:acm/certificate:Certificate", {"id": CERTIFICATE, "inputs": {}, "state": {"status": "ISSUED"}})
    return tuple(cloud.deployed(account, **STACKS[name])[0].every)


# Of the module, so that the tests of one stack come together, and most of them to the process that has made it.
@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    """Return each stack."""
    return str(request.param)


def of(stack: str, kind: str) -> list[dict[str, Any]]:
    """Return the inputs of all resources of a kind, such as ec2/instance:Instance."""
    return [one.inputs for one in made(stack) if one.kind == f"aws:{kind}"]


def test_nothing_but_the_site_is_open_to_the_world(stack: str) -> None:
    """SSH is where the stack says so in words; all else that everybody reaches is port 80 or 443."""
    wanted = scenario.of(**STACKS[stack])
    rules = of(stack, "vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    open_ = [rule for rule in rules if {rule.get("cidrIpv4"), rule.get("cidrIpv6")} & set(ANYWHERE)]
    ports = {(rule["fromPort"], rule["toPort"]) for rule in open_}
    anyone = {(22, 22)} if stack == "one machine open to SSH from anywhere" else set()
    assert ports == anyone | {(80, 80)} | ({(443, 443)} if wanted.web.https else set())
    assert all(rule["ipProtocol"] == "tcp" for rule in rules)


def test_ssh_is_open_to_the_listed_networks_alone(stack: str) -> None:
    """Without any there is no rule for it at all."""
    server = scenario.of(**STACKS[stack]).server
    assert isinstance(server, AwsServer)
    rules = [
        rule for rule in of(stack, "vpc/securityGroupIngressRule:SecurityGroupIngressRule") if rule["fromPort"] == 22
    ]
    listed = [str(rule.get("cidrIpv4") or rule.get("cidrIpv6")) for rule in rules]
    assert sorted(listed) == sorted(ANYWHERE if server.allow_ssh_from_anywhere else server.allow_ssh_from)


def test_managed_services_let_only_the_machines_in(stack: str) -> None:
    """Neither database nor Redis has a rule for a network, a public address, or a way out."""
    groups = {one.name: one for one in made(stack) if one.kind == "aws:ec2/securityGroup:SecurityGroup"}
    for name in ("guestbook-database", "guestbook-redis"):
        rules = [one for one in made(stack) if one.name.startswith(f"{name}-") and "Rule" in one.kind]
        assert len(rules) == (name in groups)
        assert all("referencedSecurityGroupId" in one.inputs and "cidrIpv4" not in one.inputs for one in rules)
    assert not any(one["publiclyAccessible"] for one in of(stack, "rds/instance:Instance"))


def test_behind_a_balancer_the_machines_let_only_that_in(stack: str) -> None:
    """Visitors reach the balancer, over TLS, and it reaches the machines over TLS as well."""
    if not of(stack, "lb/loadBalancer:LoadBalancer"):
        return
    rules = [one for one in made(stack) if one.name.startswith("guestbook-machines-") and "IngressRule" in one.kind]
    assert {one.inputs["fromPort"] for one in rules if "referencedSecurityGroupId" in one.inputs} == {443}
    assert {one.inputs["fromPort"] for one in rules if "referencedSecurityGroupId" not in one.inputs} == {22}
    listeners = {one["port"]: one for one in of(stack, "lb/listener:Listener")}
    assert listeners[80]["defaultActions"][0]["redirect"]["protocol"] == "HTTPS"
    assert listeners[443]["sslPolicy"] == "ELBSecurityPolicy-TLS13-1-2-2021-06"
    assert [one["protocol"] for one in of(stack, "lb/targetGroup:TargetGroup")] == ["HTTPS"]


def test_everything_is_encrypted(stack: str) -> None:
    """Disks of machines, data volumes, databases, Redis on the disk and on the way, buckets."""
    assert all(one["rootBlockDevice"]["encrypted"] for one in of(stack, "ec2/instance:Instance"))
    assert all(one["encrypted"] for one in of(stack, "ebs/volume:Volume"))
    assert all(one["storageEncrypted"] for one in of(stack, "rds/instance:Instance"))
    for one in of(stack, "elasticache/replicationGroup:ReplicationGroup"):
        assert (one["atRestEncryptionEnabled"], one["transitEncryptionEnabled"]) == (True, True)
    kind = "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    assert len(of(stack, kind)) == len(of(stack, "s3/bucket:Bucket"))


def test_buckets_are_closed_to_the_public(stack: str) -> None:
    """Each has all four locks, versions, and refuses whoever comes without TLS."""
    buckets = len(of(stack, "s3/bucket:Bucket"))
    blocks = of(stack, "s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    locks = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    assert len(blocks) == buckets
    assert all(block[lock] is True for block in blocks for lock in locks)
    assert len(of(stack, "s3/bucketVersioning:BucketVersioning")) == buckets
    policies = [json.loads(one["policy"]) for one in of(stack, "s3/bucketPolicy:BucketPolicy")]
    assert [one["Statement"][0]["Condition"] for one in policies] == [
        {"Bool": {"aws:SecureTransport": "false"}}
    ] * buckets


def test_metadata_of_machines_needs_a_token_and_stays_on_the_machine(stack: str) -> None:
    """IMDSv2 alone, and no container or proxy on the machine can hand it on (hop limit 1)."""
    for one in of(stack, "ec2/instance:Instance"):
        assert one["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }


def test_everything_that_can_have_tags_says_whose_it_is(stack: str) -> None:
    """By project, stack and application, so that a bill and a clean-up can be told apart."""
    whose = {"flaskhost:project": "flaskhost", "flaskhost:stack": "prod", "flaskhost:app": "guestbook"}
    for one in made(stack):
        if one.kind.startswith("aws:") and "tags" in declarations.of(one.kind)["inputs"]:
            assert whose.items() <= one.inputs.get("tags", {}).items(), f"{one.kind} {one.name}"
    roots = [machine["rootBlockDevice"]["tags"] for machine in of(stack, "ec2/instance:Instance")]
    assert all(whose.items() <= root.items() for root in roots)


def test_what_holds_data_or_a_name_is_protected_and_nothing_else(stack: str) -> None:
    """A machine can always be replaced; with `purge`, all may go."""
    purge = scenario.of(**STACKS[stack]).purge
    protected = {(one.kind, one.name) for one in made(stack) if one.request.protect}
    holds = {
        (one.kind, one.name)
        for one in made(stack)
        if (one.kind in HOLDS or one.kind in CLOSES)
        # Which proves a name to AWS, and holds none; which goes with its machine; and to which no name leads.
        and not one.name.endswith("-proof")
        and not (one.name.endswith("-aaaa") and not of(stack, "lb/loadBalancer:LoadBalancer"))
        and not (one.kind.endswith(":Eip") and one.name != "guestbook-machine-1")
    }
    assert protected == (set() if purge else holds)


def test_a_database_is_only_given_up_with_purge(stack: str) -> None:
    """Else AWS itself refuses to delete it, and takes a last snapshot whenever that is lifted."""
    purge = scenario.of(**STACKS[stack]).purge
    for one in of(stack, "rds/instance:Instance"):
        assert (one["deletionProtection"], one["skipFinalSnapshot"]) == (not purge, purge)
        assert ("finalSnapshotIdentifier" in one) is not purge
        assert one["backupRetentionPeriod"] >= 1
        assert one["manageMasterUserPassword"] is True
        assert "password" not in one
    assert [one["forceDestroy"] for one in of(stack, "s3/bucket:Bucket")] == [purge] * len(
        of(stack, "s3/bucket:Bucket")
    )


def test_no_right_is_wider_than_aws_knows_it(stack: str) -> None:
    """No wildcard in an action, and one in a resource only where planning.policies names the reason."""
    documents = [json.loads(one["policy"]) for one in of(stack, "iam/rolePolicy:RolePolicy")]
    assert documents
    for statement in (one for document in documents for one in document["Statement"]):
        named = statement["Resource"]
        for resource in named if isinstance(named, list) else [named]:
            for action in statement["Action"]:
                assert "*" not in action
                assert "*" not in resource or action in WILDCARDS, f"{action} on {resource}"


def test_the_machines_have_no_policy_of_others(stack: str) -> None:
    """AWS's own policies give more than is needed, and change by themselves."""
    assert of(stack, "iam/rolePolicyAttachment:RolePolicyAttachment") == []
    assert all("managedPolicyArns" not in one for one in of(stack, "iam/role:Role"))


def test_resources_are_plain(stack: str) -> None:
    """No program of ours is a resource, and no script calls AWS: the inputs say all, for any tool that reads them."""
    assert not [one for one in made(stack) if "dynamic" in one.kind]
    local = [one.inputs for one in made(stack) if one.kind == "command:local:Command"]
    said = {line for one in local for line in (one["create"], one.get("update"), one.get("delete")) if line}
    assert {re.sub("sleep [0-9]+", "sleep N", line) for line in said} <= {
        "python3 -m ops.keys",
        "python3 -m ops.wait",
        "sleep N",
    }


def test_nothing_secret_is_open(stack: str) -> None:
    """The keys and what holds them are secrets of the state; a public key is none, and stays readable."""
    for one in made(stack):
        text = json.dumps({name: value for name, value in one.inputs.items() if name not in one.secrets})
        inside = text if one.kind != "command:remote:Command" and "CopyToRemote" not in one.kind else ""
        assert "private-canary" not in inside, f"{one.kind} {one.name}"
    assert all("userData" in one.secrets for one in made(stack) if one.kind == "aws:ec2/instance:Instance")
    assert all("publicKey" not in one.secrets for one in made(stack) if one.kind == "aws:ec2/keyPair:KeyPair")
