"""The account of the stand-in for the aws plugin: what can be made in it, and what AWS would refuse."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.aws.kinds import (
    ASSOCIATION,
    ATTACHMENT,
    BALANCER,
    BUCKET,
    CACHE,
    CACHE_SUBNETS,
    CERTIFICATE,
    DATABASE,
    DATABASE_PARAMETERS,
    DATABASE_SUBNETS,
    DEFAULT_GROUP,
    EGRESS,
    EIP,
    GATEWAY,
    HEALTH_CHECK,
    INGRESS,
    INSTANCE,
    KEY_PAIR,
    LISTENER,
    LISTENER_RULE,
    LOGS,
    POLICY,
    PROFILE,
    RECORD,
    ROLE,
    ROLE_ATTACHMENT,
    ROLE_POLICY,
    ROUTE,
    ROUTE_TABLE,
    RUNNING,
    SECURITY_GROUP,
    SNAPSHOT,
    SUBNET,
    TABLE_ASSOCIATION,
    TARGET,
    TARGETS,
    VALIDATION,
    VOLUME,
    VPC,
)
from tests.plugins.conftest import AWS_STAND_IN, plugin_environment
from tests.plugins.protocol import Json, Plugin, PluginError, is_secret, secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDzlz1B5kQm3mDqVGH0T0uUwH0bqCw0gY0iO0hC0oS1P"
ASSUMED = json.dumps({"Version": "2012-10-17", "Statement": []})


class Cloud:
    """A plugin that works in an account, and what was made there."""

    def __init__(self, folder: Path, **options: Any) -> None:
        """Open the account."""
        folder.mkdir(exist_ok=True)
        (folder / "account.json").write_text(json.dumps(options))
        self.folder = folder
        self.plugin = Plugin(AWS_STAND_IN, plugin_environment(FLASKHOST_AWS_ACCOUNT=str(folder)))
        self.made: list[tuple[str, str, Json]] = []

    def make(self, kind: str, **inputs: Any) -> Any:
        """Make a resource; return its outputs."""
        # As the engine's random seed, so that two made-up names differ.
        checked = self.plugin.check(kind, inputs, name=f"step{len(self.made)}")
        assert checked.failures == {}
        made = self.plugin.create(kind, checked.inputs)
        self.made.append((kind, made.id, made.state))
        return {**made.state, "id": made.id}

    def refuses(self, kind: str, **inputs: Any) -> str:
        """Return the text with which the account refuses a resource."""
        with pytest.raises(PluginError) as error:
            self.make(kind, **inputs)
        return str(error.value)

    def remove(self, kind: str, made: Json) -> None:
        """Remove a resource."""
        self.plugin.delete(kind, made, identity=made["id"])

    def network(self) -> tuple[Any, Any, Any]:
        """Make a network with two subnets in two zones."""
        vpc = self.make(VPC, cidrBlock="10.20.0.0/16", assignGeneratedIpv6CidrBlock=True, enableDnsHostnames=True)
        subnets = [
            self.make(
                SUBNET,
                vpcId=vpc["id"],
                cidrBlock=f"10.20.{number}.0/24",
                availabilityZone=f"eu-central-1{letter}",
                ipv6CidrBlock=f"{vpc['ipv6CidrBlock'].removesuffix('00::/56')}0{number}::/64",
            )
            for number, letter in enumerate("ab")
        ]
        return vpc, subnets[0], subnets[1]

    def image(self, architecture: str = "x86_64") -> str:
        """Return a machine image."""
        found = self.plugin.invoke(
            "aws:ec2/getAmi:getAmi",
            {
                "owners": ["099720109477"],
                "mostRecent": True,
                "filters": [{"name": "architecture", "values": [architecture]}],
            },
        )
        return str(found["id"])


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Open an account."""
    made = Cloud(tmp_path / "account")
    yield made
    made.plugin.close()


# -- all that the product makes


def test_a_whole_deployment_is_made_read_and_removed(cloud: Cloud) -> None:
    """Every kind of resource that works fully, in the order of their needs; in the other one nothing is left."""
    network = cloud.network()
    groups = _way_to_the_world(cloud, network)
    machine = _machine(cloud, network, groups)
    _disk_and_address(cloud, machine)
    _site(cloud, network, groups, machine)
    _data(cloud, network, groups)
    _files(cloud)
    for kind, identity, state in cloud.made:
        read = cloud.plugin.read(kind, state, {}, identity=identity)
        assert read.id == identity
    for kind, identity, state in reversed(cloud.made):
        cloud.plugin.delete(kind, state, identity=identity)
        # Twice is no failure.
        cloud.plugin.delete(kind, state, identity=identity)
        assert cloud.plugin.read(kind, state, {}, identity=identity).id == ""
    assert list(cloud.folder.glob("resources/*/*.json")) == []


def _way_to_the_world(cloud: Cloud, network: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """Make routes and rules; return the group of machines and that of what only they reach."""
    vpc, first, _ = network
    gateway = cloud.make(GATEWAY, vpcId=vpc["id"])
    table = cloud.make(ROUTE_TABLE, vpcId=vpc["id"])
    cloud.make(ROUTE, routeTableId=table["id"], destinationCidrBlock="0.0.0.0/0", gatewayId=gateway["id"])
    cloud.make(ROUTE, routeTableId=table["id"], destinationIpv6CidrBlock="::/0", gatewayId=gateway["id"])
    cloud.make(TABLE_ASSOCIATION, routeTableId=table["id"], subnetId=first["id"])
    group = cloud.make(SECURITY_GROUP, vpcId=vpc["id"], description="machines")
    inner = cloud.make(SECURITY_GROUP, vpcId=vpc["id"])
    default = cloud.make(DEFAULT_GROUP, vpcId=vpc["id"])
    assert default["id"] == vpc["defaultSecurityGroupId"]
    ports = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443}
    cloud.make(INGRESS, securityGroupId=group["id"], cidrIpv6="::/0", **ports)
    cloud.make(INGRESS, securityGroupId=inner["id"], referencedSecurityGroupId=group["id"], **ports)
    cloud.make(EGRESS, securityGroupId=group["id"], cidrIpv4="0.0.0.0/0", ipProtocol="-1")
    return group, inner


def _machine(cloud: Cloud, network: tuple[Any, Any, Any], groups: tuple[Any, Any]) -> Any:
    """Make a machine with a role, a key and a log."""
    vpc, first, _ = network
    role = cloud.make(ROLE, name="machine", assumeRolePolicy=ASSUMED)
    assert role["arn"] == "arn:aws:iam::123456789012:role/machine"
    cloud.make(ROLE_POLICY, role="machine", policy=ASSUMED)
    cloud.make(ROLE_ATTACHMENT, role="machine", policyArn="arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy")
    profile = cloud.make(PROFILE, name="machine", role="machine")
    cloud.make(LOGS, name="/flaskhost/app", retentionInDays=30)
    cloud.make(KEY_PAIR, keyName="login", publicKey=PUBLIC_KEY)
    machine = cloud.make(
        INSTANCE,
        ami=cloud.image(),
        instanceType="t3.micro",
        subnetId=first["id"],
        vpcSecurityGroupIds=[groups[0]["id"]],
        keyName="login",
        iamInstanceProfile=profile["id"],
        ipv6AddressCount=1,
        userData=secret("#cloud-config"),
    )
    assert machine["id"].startswith("i-0")
    assert machine["privateIp"] == "10.20.0.4"
    assert machine["ipv6Addresses"][0].startswith(vpc["ipv6CidrBlock"].removesuffix("00::/56"))
    assert machine["availabilityZone"] == "eu-central-1a"
    assert is_secret(machine["userData"])
    return machine


def _disk_and_address(cloud: Cloud, machine: Any) -> None:
    """Give a machine a disk, and a copy of it, and an address."""
    eip = cloud.make(EIP, domain="vpc")
    cloud.make(ASSOCIATION, allocationId=eip["id"], instanceId=machine["id"])
    volume = cloud.make(VOLUME, availabilityZone="eu-central-1a", size=10, type="gp3", tags={"app": "x"})
    assert (volume["iops"], volume["throughput"]) == (3000, 125)
    cloud.make(ATTACHMENT, volumeId=volume["id"], instanceId=machine["id"], deviceName="/dev/sdf")
    snapshot = cloud.make(SNAPSHOT, volumeId=volume["id"])
    assert snapshot["volumeSize"] == 10


def _site(cloud: Cloud, network: tuple[Any, Any, Any], groups: tuple[Any, Any], machine: Any) -> None:
    """Make a proven certificate, a balancer that uses it, and names for both."""
    vpc, first, second = network
    zone = cloud.plugin.invoke("aws:route53/getZone:getZone", {"name": "example.com"})["zoneId"]
    certificate = cloud.make(
        CERTIFICATE, domainName="example.com", subjectAlternativeNames=["www.example.com"], validationMethod="DNS"
    )
    names = [option["domainName"] for option in certificate["domainValidationOptions"]]
    assert names == ["example.com", "www.example.com"]
    for option in certificate["domainValidationOptions"]:
        cloud.make(
            RECORD,
            zoneId=zone,
            name=option["resourceRecordName"],
            type=option["resourceRecordType"],
            records=[option["resourceRecordValue"]],
            ttl=60,
        )
    validation = cloud.make(VALIDATION, certificateArn=certificate["arn"])
    balancer = cloud.make(BALANCER, name="web", subnets=[first["id"], second["id"]], securityGroups=[groups[0]["id"]])
    assert balancer["dnsName"].endswith(".eu-central-1.elb.amazonaws.com")
    targets = cloud.make(TARGETS, name="web", vpcId=vpc["id"], port=80, protocol="HTTP", healthCheck={"path": "/up"})
    cloud.make(TARGET, targetGroupArn=targets["arn"], targetId=machine["id"], port=80)
    forward = [{"type": "forward", "targetGroupArn": targets["arn"]}]
    listener = cloud.make(
        LISTENER,
        loadBalancerArn=balancer["arn"],
        port=443,
        protocol="HTTPS",
        certificateArn=validation["certificateArn"],
        sslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        defaultActions=forward,
    )
    rule = cloud.make(
        LISTENER_RULE,
        listenerArn=listener["arn"],
        actions=forward,
        conditions=[{"pathPattern": {"values": ["/api/*"]}}],
    )
    assert rule["priority"] == 1
    alias = {"name": balancer["dnsName"], "zoneId": balancer["zoneId"], "evaluateTargetHealth": True}
    record = cloud.make(RECORD, zoneId=zone, name="www", type="A", aliases=[alias])
    assert record["fqdn"] == "www.example.com"
    check = cloud.make(HEALTH_CHECK, type="HTTPS", fqdn="www.example.com", resourcePath="/up", requestInterval=30)
    assert check["enableSni"] is True


def _data(cloud: Cloud, network: tuple[Any, Any, Any], groups: tuple[Any, Any]) -> None:
    """Make a database and a cache."""
    _, first, second = network
    inner = groups[1]
    cloud.make(DATABASE_SUBNETS, name="data", subnetIds=[first["id"], second["id"]])
    cloud.make(DATABASE_PARAMETERS, name="data", family="postgres16")
    database = cloud.make(
        DATABASE,
        identifier="data",
        engine="postgres",
        engineVersion="16.4",
        instanceClass="db.t4g.micro",
        allocatedStorage=20,
        username="app",
        manageMasterUserPassword=True,
        dbSubnetGroupName="data",
        parameterGroupName="data",
        vpcSecurityGroupIds=[inner["id"]],
        skipFinalSnapshot=True,
    )
    assert database["endpoint"] == f"{database['address']}:5432"
    assert database["masterUserSecrets"][0]["secretArn"].startswith("arn:aws:secretsmanager:eu-central-1:")
    cloud.make(CACHE_SUBNETS, name="cache", subnetIds=[first["id"]])
    cache = cloud.make(
        CACHE,
        replicationGroupId="cache",
        description="cache",
        engine="valkey",
        nodeType="cache.t4g.micro",
        transitEncryptionEnabled=True,
        subnetGroupName="cache",
        securityGroupIds=[inner["id"]],
    )
    assert cache["primaryEndpointAddress"].startswith("master.cache.")
    assert cache["configurationEndpointAddress"] == ""


def _files(cloud: Cloud) -> None:
    """Make a bucket with all that is said about it, and copies of volumes."""
    role = cloud.make(ROLE, name="copies", assumeRolePolicy=ASSUMED)
    bucket = cloud.make(BUCKET, bucketPrefix="files-")
    assert bucket["bucket"] == bucket["id"]
    settings: dict[str, Json] = {
        "bucketVersioning:BucketVersioning": {"versioningConfiguration": {"status": "Enabled"}},
        "bucketPublicAccessBlock:BucketPublicAccessBlock": {"blockPublicAcls": True},
        "bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {
            "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]
        },
        "bucketLifecycleConfiguration:BucketLifecycleConfiguration": {
            "rules": [{"id": "old", "status": "Enabled", "expiration": {"days": 30}}]
        },
        "bucketCorsConfiguration:BucketCorsConfiguration": {
            "corsRules": [{"allowedMethods": ["GET"], "allowedOrigins": ["*"]}]
        },
        "bucketOwnershipControls:BucketOwnershipControls": {"rule": {"objectOwnership": "BucketOwnerEnforced"}},
        "bucketPolicy:BucketPolicy": {"policy": ASSUMED},
    }
    for kind, more in settings.items():
        assert cloud.make(f"aws:s3/{kind}", bucket=bucket["id"], **more)["id"] == bucket["id"]
    cloud.make(
        POLICY,
        description="copies",
        executionRoleArn=role["arn"],
        state="ENABLED",
        policyDetails={
            "resourceTypes": ["VOLUME"],
            "targetTags": {"app": "x"},
            "schedules": [
                {"name": "daily", "createRule": {"interval": 24, "times": "03:00"}, "retainRule": {"count": 7}}
            ],
        },
    )


# -- what AWS refuses


def test_a_network_with_something_in_it_stays(cloud: Cloud) -> None:
    """A forgotten dependency of the program is seen at its destroy."""
    vpc, first, second = cloud.network()
    with pytest.raises(PluginError, match="DependencyViolation"):
        cloud.remove(VPC, vpc)
    cloud.remove(SUBNET, first)
    cloud.remove(SUBNET, second)
    group = cloud.make(SECURITY_GROUP, vpcId=vpc["id"])
    with pytest.raises(PluginError, match="DependencyViolation"):
        cloud.remove(VPC, vpc)
    cloud.remove(SECURITY_GROUP, group)
    cloud.remove(VPC, vpc)


def test_ranges_of_addresses_lie_in_each_other_and_beside(cloud: Cloud) -> None:
    """A subnet in its network, and none over another."""
    vpc, _, _ = cloud.network()
    assert "InvalidSubnet.Range" in cloud.refuses(SUBNET, vpcId=vpc["id"], cidrBlock="10.21.0.0/24")
    assert "InvalidSubnet.Conflict" in cloud.refuses(SUBNET, vpcId=vpc["id"], cidrBlock="10.20.0.128/25")
    assert "InvalidVpcID.NotFound" in cloud.refuses(SUBNET, vpcId="vpc-0", cidrBlock="10.20.9.0/24")


def test_the_rules_of_machines_hold(cloud: Cloud) -> None:
    """Zone, groups, key, image and profile must be there and fit."""
    vpc, first, _ = cloud.network()
    other = cloud.make(VPC, cidrBlock="10.30.0.0/16")
    stranger = cloud.make(SECURITY_GROUP, vpcId=other["id"])
    usual: Json = {"ami": cloud.image(), "instanceType": "t3.micro", "subnetId": first["id"]}
    for changes, text in (
        ({"availabilityZone": "eu-central-1b"}, "availability zone"),
        ({"vpcSecurityGroupIds": ["sg-1"]}, "InvalidGroup.NotFound"),
        ({"vpcSecurityGroupIds": [stranger["id"]]}, "different networks"),
        ({"keyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"ami": "ami-1"}, "InvalidAMIID.NotFound"),
        ({"ami": cloud.image("arm64")}, "architecture"),
        ({"iamInstanceProfile": "none"}, "Invalid IAM Instance Profile"),
        ({"subnetId": "subnet-1"}, "InvalidSubnetID.NotFound"),
    ):
        assert text in cloud.refuses(INSTANCE, **{**usual, **changes})
    assert cloud.make(INSTANCE, **usual)["vpcSecurityGroupIds"] == [vpc["defaultSecurityGroupId"]]


def test_a_disk_is_where_its_machine_is(cloud: Cloud) -> None:
    """In the same zone, at one machine at a time, and never smaller than it was."""
    _, first, _ = cloud.network()
    machine = cloud.make(INSTANCE, ami=cloud.image(), instanceType="t3.micro", subnetId=first["id"])
    attached: Json = {"instanceId": machine["id"], "deviceName": "/dev/sdf"}
    far = cloud.make(VOLUME, availabilityZone="eu-central-1b", size=10)
    assert "ZoneMismatch" in cloud.refuses(ATTACHMENT, volumeId=far["id"], **attached)
    near = cloud.make(VOLUME, availabilityZone="eu-central-1a", size=10)
    attachment = cloud.make(ATTACHMENT, volumeId=near["id"], **attached)
    other = cloud.make(INSTANCE, ami=cloud.image(), instanceType="t3.micro", subnetId=first["id"])
    again: Json = {**attached, "instanceId": other["id"], "volumeId": near["id"]}
    assert "VolumeInUse" in cloud.refuses(ATTACHMENT, **again)
    with pytest.raises(PluginError, match="VolumeInUse"):
        cloud.remove(VOLUME, near)
    cloud.remove(ATTACHMENT, attachment)
    old = {"availabilityZone": "eu-central-1a", "size": 10}
    with pytest.raises(PluginError, match="smaller"):
        cloud.plugin.update(VOLUME, near, old, {**old, "size": 5}, identity=near["id"])
    grown = cloud.plugin.update(VOLUME, near, old, {**old, "size": 20}, identity=near["id"])
    assert grown["size"] == 10, "the provider does not wait until AWS shows it"
    assert cloud.plugin.read(VOLUME, grown, {}, identity=near["id"]).state["size"] == 20
    cloud.remove(INSTANCE, machine)
    assert "InvalidInstanceID.NotFound" in cloud.refuses(ATTACHMENT, volumeId=near["id"], **attached)


def test_an_address_moves_and_the_old_association_may_go(cloud: Cloud) -> None:
    """As create-before-delete of a machine does it."""
    _, first, _ = cloud.network()
    machines = [cloud.make(INSTANCE, ami=cloud.image(), instanceType="t3.micro", subnetId=first["id"]) for _ in "ab"]
    eip = cloud.make(EIP, domain="vpc")
    old = cloud.make(ASSOCIATION, allocationId=eip["id"], instanceId=machines[0]["id"])
    wanted: Json = {"allocationId": eip["id"], "instanceId": machines[1]["id"]}
    assert "AlreadyAssociated" in cloud.refuses(ASSOCIATION, allowReassociation=False, **wanted)
    new = cloud.make(ASSOCIATION, **wanted)
    cloud.remove(ASSOCIATION, old)
    now = cloud.plugin.read(INSTANCE, machines[1], {}, identity=machines[1]["id"]).state
    assert (now["publicIp"], now["associatePublicIpAddress"]) == (eip["publicIp"], True)
    with pytest.raises(PluginError, match="InUse"):
        cloud.remove(EIP, eip)
    cloud.remove(ASSOCIATION, new)
    cloud.remove(EIP, eip)


def test_a_protected_database_stays(cloud: Cloud) -> None:
    """And one whose last copy is neither wanted nor unwanted."""
    usual: Json = {"engine": "postgres", "instanceClass": "db.t4g.micro", "allocatedStorage": 20, "username": "app"}
    assert "MasterUserPassword" in cloud.refuses(DATABASE, **usual)
    inputs = {**usual, "password": "long-enough", "identifier": "data", "deletionProtection": True}
    made = cloud.make(DATABASE, **inputs)
    with pytest.raises(PluginError, match="deletion protection"):
        cloud.remove(DATABASE, made)
    now = cloud.plugin.update(DATABASE, made, inputs, {**inputs, "deletionProtection": False}, identity=made["id"])
    with pytest.raises(PluginError, match="final_snapshot_identifier"):
        cloud.remove(DATABASE, now)
    last = {**inputs, "deletionProtection": False, "finalSnapshotIdentifier": "last"}
    now = cloud.plugin.update(DATABASE, now, inputs, last, identity=made["id"])
    cloud.remove(DATABASE, now)
    assert (cloud.folder / "database-snapshots" / "last").exists()


def test_a_disk_of_a_database_grows_past_four_hundred_with_what_it_has_then(cloud: Cloud) -> None:
    """AWS refuses the operations a second of a smaller one, which the provider repeats."""
    small: Json = {
        "engine": "postgres",
        "instanceClass": "db.t4g.micro",
        "allocatedStorage": 300,
        "username": "app",
        "password": "long-enough",
        "storageType": "gp3",
    }
    made = cloud.make(DATABASE, **small)
    large = {**small, "allocatedStorage": 400}
    with pytest.raises(PluginError, match="Invalid iops value"):
        cloud.plugin.update(DATABASE, made, small, large, identity=made["id"])
    fast = {**large, "iops": 12000, "storageThroughput": 500}
    assert cloud.plugin.update(DATABASE, made, small, fast, identity=made["id"])["allocatedStorage"] == 400


def test_a_disk_of_a_database_grows_by_itself_to_a_tenth_more_at_the_least(cloud: Cloud) -> None:
    """RDS refuses a limit right above the size."""
    wanted: Json = {"engine": "postgres", "instanceClass": "db.t4g.micro", "username": "app", "password": "long-enough"}
    with pytest.raises(PluginError, match="at least 10 percent"):
        cloud.make(DATABASE, **wanted, allocatedStorage=95, maxAllocatedStorage=100)
    assert cloud.make(DATABASE, **wanted, allocatedStorage=95, maxAllocatedStorage=105)


def test_the_last_snapshot_of_a_cache_has_a_name_of_its_own(cloud: Cloud) -> None:
    """A second one of that name keeps the cache from going."""
    for number in (1, 2):
        made = cloud.make(
            CACHE,
            description="x",
            engine="valkey",
            nodeType="cache.t4g.micro",
            replicationGroupId=f"cache-{number}",
            finalSnapshotIdentifier="last",
        )
        if number == 1:
            cloud.remove(CACHE, made)
    with pytest.raises(PluginError, match="SnapshotAlreadyExistsFault"):
        cloud.remove(CACHE, made)


def test_a_parameter_group_fits_its_database(cloud: Cloud) -> None:
    """A new major version needs another one."""
    cloud.make(DATABASE_PARAMETERS, name="data", family="postgres15")
    text = cloud.refuses(
        DATABASE,
        engine="postgres",
        engineVersion="16",
        instanceClass="db.t4g.micro",
        allocatedStorage=20,
        username="app",
        password="long-enough",
        parameterGroupName="data",
    )
    assert "DBParameterGroupFamily postgres16" in text


def test_a_balancer_needs_two_zones_and_a_proven_certificate(cloud: Cloud) -> None:
    """A certificate that nobody has proven cannot be used."""
    _, first, second = cloud.network()
    assert "two different Availability Zones" in cloud.refuses(BALANCER, name="web", subnets=[first["id"]])
    balancer = cloud.make(BALANCER, name="web", subnets=[first["id"], second["id"]])
    assert "already exists" in cloud.refuses(BALANCER, name="web", subnets=[first["id"], second["id"]])
    certificate = cloud.make(CERTIFICATE, domainName="example.com", validationMethod="DNS")
    listener: Json = {
        "loadBalancerArn": balancer["arn"],
        "port": 443,
        "protocol": "HTTPS",
        "defaultActions": [{"type": "fixed-response", "fixedResponse": {"contentType": "text/plain"}}],
    }
    assert "certificate must be specified" in cloud.refuses(LISTENER, **listener)
    assert "UnsupportedCertificate" in cloud.refuses(LISTENER, certificateArn=certificate["arn"], **listener)
    assert "timeout" in cloud.refuses(VALIDATION, certificateArn=certificate["arn"])


def test_a_record_is_made_once(cloud: Cloud) -> None:
    """Somebody else's is not overwritten unless the program says so."""
    zone = cloud.plugin.invoke("aws:route53/getZone:getZone", {"name": "example.com"})["zoneId"]
    record: Json = {"zoneId": zone, "name": "example.com", "type": "A", "records": ["192.0.2.1"], "ttl": 60}
    cloud.make(RECORD, **record)
    assert "already exists" in cloud.refuses(RECORD, **record)
    cloud.make(RECORD, **record, allowOverwrite=True)


def test_a_bucket_goes_only_when_it_is_empty(cloud: Cloud) -> None:
    """A test puts something in by a file in the account's folder."""
    bucket = cloud.make(BUCKET, bucket="files")
    assert "BucketAlreadyOwnedByYou" in cloud.refuses(BUCKET, bucket="files")
    (cloud.folder / "buckets" / "files").mkdir(parents=True)
    (cloud.folder / "buckets" / "files" / "upload").write_text("x")
    with pytest.raises(PluginError, match="BucketNotEmpty"):
        cloud.remove(BUCKET, bucket)
    (cloud.folder / "buckets" / "files" / "upload").unlink()
    cloud.remove(BUCKET, bucket)


def test_many_calls_at_once_lose_nothing(cloud: Cloud) -> None:
    """The engine makes what is independent at the same time."""
    vpc = cloud.make(VPC, cidrBlock="10.20.0.0/16")
    made: list[str] = []

    def make(number: int) -> None:
        inputs = {"vpcId": vpc["id"], "cidrBlock": f"10.20.{number}.0/24"}
        made.append(cloud.plugin.create(SUBNET, inputs, name=f"subnet{number}").id)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16
    found = cloud.plugin.invoke(
        "aws:ec2/getSubnets:getSubnets", {"filters": [{"name": "vpc-id", "values": [vpc["id"]]}]}
    )
    assert sorted(found["ids"]) == sorted(made)


def test_without_an_account_nothing_is_made_changed_or_removed(aws: Plugin) -> None:
    """And the message says which plugin would."""
    for attempt in (
        lambda: aws.create(VPC, {"cidrBlock": "10.0.0.0/16"}),
        lambda: aws.update(VPC, {}, {}, {"cidrBlock": "10.0.0.0/16"}),
        lambda: aws.delete(VPC, {}),
    ):
        with pytest.raises(PluginError) as error:
            attempt()
        assert str(error.value) == (
            "the stand-in for the aws plugin makes nothing: install the official one, "
            "`pulumi plugin install resource aws 7.51.1`"
        )


# -- what the account answers


def test_the_canned_account_has_what_most_accounts_have(cloud: Cloud) -> None:
    """A default network with a subnet in each of three zones, Ubuntu's images, types of machines."""
    ask = cloud.plugin.invoke
    vpc = ask("aws:ec2/getVpc:getVpc", {"default": True})
    assert vpc["ipv6CidrBlock"] == ""
    filters = [{"name": "vpc-id", "values": [vpc["id"]]}, {"name": "default-for-az", "values": ["true"]}]
    identities = ask("aws:ec2/getSubnets:getSubnets", {"filters": filters})["ids"]
    zones = [ask("aws:ec2/getSubnet:getSubnet", {"id": identity})["availabilityZone"] for identity in identities]
    assert zones == ask("aws:index/getAvailabilityZones:getAvailabilityZones", {"state": "available"})["names"]
    assert zones == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    for kind, architecture in (("t4g.small", "arm64"), ("m7g.large", "arm64"), ("t3.micro", "x86_64")):
        found = ask("aws:ec2/getInstanceType:getInstanceType", {"instanceType": kind})
        assert found["supportedArchitectures"] == [architecture]
        assert found["currentGeneration"] is True
    with pytest.raises(PluginError, match=r"t9\.huge"):
        ask("aws:ec2/getInstanceType:getInstanceType", {"instanceType": "t9.huge"})
    assert ask("aws:index/getCallerIdentity:getCallerIdentity", {})["accountId"] == "123456789012"
    assert ask("aws:index/getRegion:getRegion", {})["region"] == "eu-central-1"
    assert ask("aws:index/getPartition:getPartition", {})["partition"] == "aws"
    names = ask(
        "aws:ec2/getInstanceTypes:getInstanceTypes",
        {"filters": [{"name": "instance-type", "values": ["t4g.*"]}]},
    )["instanceTypes"]
    assert "t4g.nano" in names


def test_volumes_are_found_by_their_tags(cloud: Cloud) -> None:
    """So that a stack finds the disk that an earlier one has kept."""
    made = cloud.make(VOLUME, availabilityZone="eu-central-1a", size=10, tags={"flaskhost": "app"})
    cloud.make(VOLUME, availabilityZone="eu-central-1a", size=11)
    filters = [{"name": "tag:flaskhost", "values": ["app"]}]
    assert cloud.plugin.invoke("aws:ebs/getEbsVolumes:getEbsVolumes", {"filters": filters})["ids"] == [made["id"]]
    filters = [{"name": "volume-id", "values": [made["id"]]}]
    found = cloud.plugin.invoke("aws:ebs/getVolume:getVolume", {"filters": filters})
    assert (found["availabilityZone"], found["size"], found["tags"]) == ("eu-central-1a", 10, {"flaskhost": "app"})
    with pytest.raises(PluginError, match="returned no results"):
        cloud.plugin.invoke("aws:ebs/getVolume:getVolume", {"filters": [{"name": "volume-id", "values": ["vol-1"]}]})


def test_an_account_may_be_another_one(tmp_path: Path) -> None:
    """A test says what is different in account.json."""
    made = Cloud(
        tmp_path / "account",
        region="eu-west-1",
        zones=["eu-west-1a", "eu-west-1b"],
        default_vpc=False,
        hosted_zones=["example.com"],
        images=[{"id": "ami-1", "name": "mine", "architecture": "arm64", "creationDate": "2026-01-01T00:00:00Z"}],
    )
    ask = made.plugin.invoke
    assert ask("aws:index/getRegion:getRegion", {})["region"] == "eu-west-1"
    assert ask("aws:index/getAvailabilityZones:getAvailabilityZones", {})["names"] == ["eu-west-1a", "eu-west-1b"]
    with pytest.raises(PluginError, match="no matching EC2 VPC found"):
        ask("aws:ec2/getVpc:getVpc", {"default": True})
    with pytest.raises(PluginError, match="no matching Route 53 Hosted Zone found"):
        ask("aws:route53/getZone:getZone", {"name": "example.org"})
    assert made.image("arm64") == "ami-1"
    with pytest.raises(PluginError, match="returned no results"):
        made.image("x86_64")
    made.plugin.close()


def test_a_machine_is_found_by_its_disk_and_its_tags(cloud: Cloud) -> None:
    """As the product looks for whoever may write to a disk."""
    _, first, _ = cloud.network()
    usual: Json = {"ami": cloud.image(), "instanceType": "t3.micro", "subnetId": first["id"]}
    machine = cloud.make(INSTANCE, **usual, tags={"flaskhost:image": "a"})
    cloud.make(INSTANCE, **usual)
    disk = cloud.make(VOLUME, availabilityZone="eu-central-1a", size=10)
    cloud.make(ATTACHMENT, instanceId=machine["id"], deviceName="/dev/sdf", volumeId=disk["id"])
    has_it: Json = {"name": "block-device-mapping.volume-id", "values": [disk["id"]]}
    for image, wanted in (("a", [machine["id"]]), ("b", [])):
        filters = [has_it, {"name": "tag:flaskhost:image", "values": [image]}]
        assert cloud.plugin.invoke("aws:ec2/getInstances:getInstances", {"filters": filters})["ids"] == wanted


def test_a_machine_that_shall_run_has_to_be_there(cloud: Cloud) -> None:
    """It has the machine's own ID."""
    _, first, _ = cloud.network()
    machine = cloud.make(INSTANCE, ami=cloud.image(), instanceType="t3.micro", subnetId=first["id"])
    assert cloud.make(RUNNING, instanceId=machine["id"], state="running")["id"] == machine["id"]
    assert "InvalidInstanceID" in cloud.refuses(RUNNING, instanceId="i-0123456789abcdef0", state="running")
