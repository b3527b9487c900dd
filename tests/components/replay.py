"""Makes what a stack registered once more, by calls of AWS's own API: a table of them by the kind of resource."""

from __future__ import annotations

import functools
import ipaddress
import itertools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]
import jmespath  # type: ignore[import-untyped]
from botocore import exceptions, validate  # type: ignore[import-untyped]

from tests.components import scenario
from tests.components.recording import KEYS
from tests.plugins.aws import functions, kinds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.components.cloud import Cloud
    from tests.components.recording import Registered
    from tests.plugins.aws.account import Json

NOBODY = "Not yet implemented"
"""What moto says for a service that it does not have."""

TAGS = ("tags", "targetTags")
SUBNETS = 16
"""More than a stack makes in its network."""


@dataclass(frozen=True)
class Call:
    """A call of AWS, in two expressions of JMESPath, the language in which AWS itself describes its answers.

    Attributes:
        operation: as boto3 names it, with its service.
        parameters: what is made of the inputs, and of the outputs of calls before; what is null is left out.
        outputs: what is taken of the answer, under the names that Pulumi has for it.
    """

    operation: str
    parameters: str
    outputs: str = ""


# The names of AWS are the provider's: hashicorp/terraform-provider-aws, internal/service/<service>.
CALLS: dict[str, tuple[Call, ...]] = {
    kinds.VPC: (
        Call(
            "ec2.create_vpc",
            "{CidrBlock: cidrBlock, AmazonProvidedIpv6CidrBlock: assignGeneratedIpv6CidrBlock,"
            " TagSpecifications: [{ResourceType: 'vpc', Tags: tags.pairs}]}",
            "Vpc.{id: VpcId, ipv6CidrBlock: Ipv6CidrBlockAssociationSet[0].Ipv6CidrBlock}",
        ),
        Call("ec2.modify_vpc_attribute", "{VpcId: id, EnableDnsHostnames: {Value: enableDnsHostnames}}"),
    ),
    kinds.SUBNET: (
        Call(
            "ec2.create_subnet",
            "{VpcId: vpcId, AvailabilityZone: availabilityZone, CidrBlock: cidrBlock, Ipv6CidrBlock: ipv6CidrBlock,"
            " TagSpecifications: [{ResourceType: 'subnet', Tags: tags.pairs}]}",
            "{id: Subnet.SubnetId}",
        ),
    ),
    kinds.GATEWAY: (
        Call(
            "ec2.create_internet_gateway",
            "{TagSpecifications: [{ResourceType: 'internet-gateway', Tags: tags.pairs}]}",
            "{id: InternetGateway.InternetGatewayId}",
        ),
        Call("ec2.attach_internet_gateway", "{InternetGatewayId: id, VpcId: vpcId}"),
    ),
    kinds.ROUTE_TABLE: (
        Call(
            "ec2.create_route_table",
            "{VpcId: vpcId, TagSpecifications: [{ResourceType: 'route-table', Tags: tags.pairs}]}",
            "{id: RouteTable.RouteTableId}",
        ),
    ),
    kinds.ROUTE: (
        Call(
            "ec2.create_route",
            "{RouteTableId: routeTableId, GatewayId: gatewayId, DestinationCidrBlock: destinationCidrBlock,"
            " DestinationIpv6CidrBlock: destinationIpv6CidrBlock}",
        ),
    ),
    kinds.TABLE_ASSOCIATION: (
        Call("ec2.associate_route_table", "{RouteTableId: routeTableId, SubnetId: subnetId}", "{id: AssociationId}"),
    ),
    kinds.SECURITY_GROUP: (
        Call(
            "ec2.create_security_group",
            "{GroupName: name, Description: description, VpcId: vpcId,"
            " TagSpecifications: [{ResourceType: 'security-group', Tags: tags.pairs}]}",
            "{id: GroupId}",
        ),
        # A new group lets everything out, which the provider takes back.
        Call("ec2.describe_security_groups", "{GroupIds: [id]}", "SecurityGroups[0].{out: IpPermissionsEgress}"),
        Call("ec2.revoke_security_group_egress", "{GroupId: id, IpPermissions: out}"),
    ),
    kinds.DEFAULT_GROUP: (
        Call(
            "ec2.describe_security_groups",
            "{Filters: [{Name: 'vpc-id', Values: [vpcId]}, {Name: 'group-name', Values: ['default']}]}",
            "SecurityGroups[0].{id: GroupId, in: IpPermissions, out: IpPermissionsEgress}",
        ),
        Call("ec2.revoke_security_group_ingress", "{GroupId: id, IpPermissions: in}"),
        Call("ec2.revoke_security_group_egress", "{GroupId: id, IpPermissions: out}"),
        Call("ec2.create_tags", "{Resources: [id], Tags: tags.pairs}"),
    ),
    **{
        kind: (
            Call(
                f"ec2.authorize_security_group_{way}",
                "{GroupId: securityGroupId, IpPermissions: [{IpProtocol: ipProtocol,"
                " FromPort: fromPort, ToPort: toPort,"
                " IpRanges: cidrIpv4 && [{CidrIp: cidrIpv4, Description: description}],"
                " Ipv6Ranges: cidrIpv6 && [{CidrIpv6: cidrIpv6, Description: description}],"
                " UserIdGroupPairs: referencedSecurityGroupId &&"
                " [{GroupId: referencedSecurityGroupId, Description: description}]}],"
                " TagSpecifications: [{ResourceType: 'security-group-rule', Tags: tags.pairs}]}",
                "{id: SecurityGroupRules[0].SecurityGroupRuleId}",
            ),
        )
        for kind, way in ((kinds.INGRESS, "ingress"), (kinds.EGRESS, "egress"))
    },
    kinds.KEY_PAIR: (
        Call(
            "ec2.import_key_pair",
            "{KeyName: keyName, PublicKeyMaterial: publicKey,"
            " TagSpecifications: [{ResourceType: 'key-pair', Tags: tags.pairs}]}",
        ),
    ),
    kinds.RUNNING: (Call("ec2.start_instances", "{InstanceIds: [instanceId]}"),),
    kinds.INSTANCE: (
        Call("ec2.describe_images", "{ImageIds: [ami]}", "{root: Images[0].RootDeviceName}"),
        Call(
            "ec2.run_instances",
            "{MinCount: `1`, MaxCount: `1`, ImageId: ami, InstanceType: instanceType, KeyName: keyName,"
            " Placement: {AvailabilityZone: availabilityZone}, SubnetId: subnetId, Ipv6AddressCount: ipv6AddressCount,"
            " SecurityGroupIds: vpcSecurityGroupIds, IamInstanceProfile: {Name: iamInstanceProfile},"
            " UserData: userData, MetadataOptions: metadataOptions.{HttpEndpoint: httpEndpoint, HttpTokens: httpTokens,"
            " HttpPutResponseHopLimit: httpPutResponseHopLimit},"
            " BlockDeviceMappings: [{DeviceName: root, Ebs: rootBlockDevice.{VolumeType: volumeType,"
            " VolumeSize: volumeSize, Encrypted: encrypted, DeleteOnTermination: deleteOnTermination}}],"
            " TagSpecifications: [{ResourceType: 'instance', Tags: tags.pairs},"
            " {ResourceType: 'volume', Tags: rootBlockDevice.tags.pairs}]}",
            "Instances[0].{id: InstanceId, ipv6Addresses: NetworkInterfaces[0].Ipv6Addresses[].Ipv6Address}",
        ),
    ),
    kinds.EIP: (
        Call(
            "ec2.allocate_address",
            "{Domain: domain, TagSpecifications: [{ResourceType: 'elastic-ip', Tags: tags.pairs}]}",
            "{id: AllocationId, publicIp: PublicIp}",
        ),
    ),
    kinds.ASSOCIATION: (
        Call("ec2.associate_address", "{AllocationId: allocationId, InstanceId: instanceId}", "{id: AssociationId}"),
    ),
    kinds.VOLUME: (
        Call(
            "ec2.create_volume",
            "{AvailabilityZone: availabilityZone, VolumeType: type, Size: size, Encrypted: encrypted,"
            " TagSpecifications: [{ResourceType: 'volume', Tags: tags.pairs}]}",
            "{id: VolumeId}",
        ),
    ),
    kinds.ATTACHMENT: (Call("ec2.attach_volume", "{VolumeId: volumeId, InstanceId: instanceId, Device: deviceName}"),),
    kinds.ROLE: (
        Call(
            "iam.create_role",
            "{RoleName: name, AssumeRolePolicyDocument: assumeRolePolicy, Tags: tags.pairs}",
            "{arn: Role.Arn}",
        ),
    ),
    kinds.ROLE_POLICY: (Call("iam.put_role_policy", "{RoleName: role, PolicyName: name, PolicyDocument: policy}"),),
    kinds.PROFILE: (
        Call("iam.create_instance_profile", "{InstanceProfileName: name, Tags: tags.pairs}"),
        Call("iam.add_role_to_instance_profile", "{InstanceProfileName: name, RoleName: role}"),
    ),
    kinds.LOGS: (
        Call("logs.create_log_group", "{logGroupName: name, tags: tags.map}"),
        Call("logs.put_retention_policy", "{logGroupName: name, retentionInDays: retentionInDays}"),
    ),
    kinds.POLICY: (
        Call(
            "dlm.create_lifecycle_policy",
            "{Description: description, ExecutionRoleArn: executionRoleArn, State: 'ENABLED', Tags: tags.map,"
            " PolicyDetails: policyDetails.{ResourceTypes: resourceTypes, TargetTags: targetTags.pairs,"
            " Schedules: schedules[].{Name: name, CopyTags: copyTags, RetainRule: retainRule.{Count: count},"
            " CreateRule: createRule.{Interval: interval, IntervalUnit: intervalUnit, Times: [times]}}}}",
            "{id: PolicyId}",
        ),
    ),
    kinds.BALANCER: (
        Call(
            "elbv2.create_load_balancer",
            "{Name: name, Type: loadBalancerType, Subnets: subnets, SecurityGroups: securityGroups,"
            " IpAddressType: ipAddressType, Tags: tags.pairs}",
            "LoadBalancers[0].{arn: LoadBalancerArn, dnsName: DNSName, zoneId: CanonicalHostedZoneId}",
        ),
        Call(
            "elbv2.modify_load_balancer_attributes",
            "{LoadBalancerArn: arn, Attributes: [{Key: 'idle_timeout.timeout_seconds', Value: to_string(idleTimeout)},"
            " {Key: 'routing.http.drop_invalid_header_fields.enabled', Value: to_string(dropInvalidHeaderFields)}]}",
        ),
    ),
    kinds.TARGETS: (
        Call(
            "elbv2.create_target_group",
            "{Name: name, Protocol: protocol, Port: port, VpcId: vpcId, TargetType: targetType,"
            " HealthCheckProtocol: healthCheck.protocol, HealthCheckPath: healthCheck.path,"
            " HealthCheckIntervalSeconds: healthCheck.interval, HealthCheckTimeoutSeconds: healthCheck.timeout,"
            " HealthyThresholdCount: healthCheck.healthyThreshold,"
            " UnhealthyThresholdCount: healthCheck.unhealthyThreshold,"
            " Matcher: {HttpCode: healthCheck.matcher}, Tags: tags.pairs}",
            "{arn: TargetGroups[0].TargetGroupArn}",
        ),
        Call(
            "elbv2.modify_target_group_attributes",
            "{TargetGroupArn: arn, Attributes:"
            " [{Key: 'deregistration_delay.timeout_seconds', Value: to_string(deregistrationDelay)}]}",
        ),
    ),
    kinds.TARGET: (Call("elbv2.register_targets", "{TargetGroupArn: targetGroupArn, Targets: [{Id: targetId}]}"),),
    kinds.LISTENER: (
        Call(
            "elbv2.create_listener",
            "{LoadBalancerArn: loadBalancerArn, Port: port, Protocol: protocol, SslPolicy: sslPolicy,"
            " Certificates: certificateArn && [{CertificateArn: certificateArn}],"
            " DefaultActions: defaultActions[].{Type: type,"
            " RedirectConfig: redirect.{Protocol: protocol, Port: port, StatusCode: statusCode},"
            " FixedResponseConfig: fixedResponse.{ContentType: contentType, StatusCode: statusCode,"
            " MessageBody: messageBody}}, Tags: tags.pairs}",
            "{arn: Listeners[0].ListenerArn}",
        ),
    ),
    kinds.LISTENER_RULE: (
        Call(
            "elbv2.create_rule",
            "{ListenerArn: listenerArn, Priority: priority, Conditions:"
            " conditions[].{Field: 'host-header', HostHeaderConfig: hostHeader.{Values: values}},"
            " Actions: actions[].{Type: type, TargetGroupArn: targetGroupArn}, Tags: tags.pairs}",
        ),
    ),
    kinds.CERTIFICATE: (
        Call(
            "acm.request_certificate",
            "{DomainName: domainName, SubjectAlternativeNames: subjectAlternativeNames,"
            " ValidationMethod: validationMethod, Tags: tags.pairs}",
            "{arn: CertificateArn}",
        ),
        Call(
            "acm.describe_certificate",
            "{CertificateArn: arn}",
            "{domainValidationOptions: sort_by(Certificate.DomainValidationOptions, &DomainName)[]"
            ".ResourceRecord.{resourceRecordName: Name, resourceRecordValue: Value}}",
        ),
    ),
    kinds.VALIDATION: (Call("acm.describe_certificate", "{CertificateArn: certificateArn}"),),
    kinds.RECORD: (
        Call(
            "route53.change_resource_record_sets",
            "{HostedZoneId: zoneId, ChangeBatch: {Changes: [{Action: allowOverwrite && 'UPSERT' || 'CREATE',"
            " ResourceRecordSet: {Name: name, Type: type, TTL: ttl, ResourceRecords: records[].{Value: @},"
            " AliasTarget: aliases[0].{HostedZoneId: zoneId, DNSName: name,"
            " EvaluateTargetHealth: evaluateTargetHealth}}}]}}",
        ),
    ),
    kinds.DATABASE_SUBNETS: (
        Call(
            "rds.create_db_subnet_group",
            "{DBSubnetGroupName: name, DBSubnetGroupDescription: description, SubnetIds: subnetIds, Tags: tags.pairs}",
        ),
    ),
    kinds.DATABASE: (
        Call(
            "rds.create_db_instance",
            "{DBInstanceIdentifier: identifier, DBInstanceClass: instanceClass, DBName: dbName, Engine: engine,"
            " EngineVersion: engineVersion, StorageType: storageType, AllocatedStorage: allocatedStorage,"
            " MaxAllocatedStorage: maxAllocatedStorage, StorageEncrypted: storageEncrypted, MasterUsername: username,"
            " ManageMasterUserPassword: manageMasterUserPassword, DBSubnetGroupName: dbSubnetGroupName,"
            " VpcSecurityGroupIds: vpcSecurityGroupIds, PubliclyAccessible: publiclyAccessible, MultiAZ: multiAz,"
            " BackupRetentionPeriod: backupRetentionPeriod, CopyTagsToSnapshot: copyTagsToSnapshot,"
            " DeletionProtection: deletionProtection, AutoMinorVersionUpgrade: autoMinorVersionUpgrade,"
            " Tags: tags.pairs}",
            "DBInstance.{masterUserSecrets: [MasterUserSecret.{secretArn: SecretArn}]}",
        ),
    ),
    kinds.CACHE_SUBNETS: (
        Call(
            "elasticache.create_cache_subnet_group",
            "{CacheSubnetGroupName: name, CacheSubnetGroupDescription: description, SubnetIds: subnetIds,"
            " Tags: tags.pairs}",
        ),
    ),
    kinds.CACHE: (
        Call(
            "elasticache.create_replication_group",
            "{ReplicationGroupId: replicationGroupId, ReplicationGroupDescription: description, Engine: engine,"
            " EngineVersion: engineVersion, CacheNodeType: nodeType, CacheParameterGroupName: parameterGroupName,"
            " NumCacheClusters: numCacheClusters, AutomaticFailoverEnabled: automaticFailoverEnabled,"
            " MultiAZEnabled: multiAzEnabled, AtRestEncryptionEnabled: atRestEncryptionEnabled,"
            " TransitEncryptionEnabled: transitEncryptionEnabled, Port: port, SecurityGroupIds: securityGroupIds,"
            " CacheSubnetGroupName: subnetGroupName, SnapshotRetentionLimit: snapshotRetentionLimit,"
            " AutoMinorVersionUpgrade: autoMinorVersionUpgrade, Tags: tags.pairs}",
        ),
    ),
    kinds.BUCKET: (
        Call("s3.create_bucket", "{Bucket: id, CreateBucketConfiguration: {LocationConstraint: region}}"),
        Call("s3.put_bucket_tagging", "{Bucket: id, Tagging: {TagSet: tags.pairs}}"),
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": (
        Call(
            "s3.put_public_access_block",
            "{Bucket: bucket, PublicAccessBlockConfiguration: {BlockPublicAcls: blockPublicAcls,"
            " BlockPublicPolicy: blockPublicPolicy, IgnorePublicAcls: ignorePublicAcls,"
            " RestrictPublicBuckets: restrictPublicBuckets}}",
        ),
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": (
        Call(
            "s3.put_bucket_ownership_controls",
            "{Bucket: bucket, OwnershipControls: {Rules: [rule.{ObjectOwnership: objectOwnership}]}}",
        ),
    ),
    "aws:s3/bucketVersioning:BucketVersioning": (
        Call(
            "s3.put_bucket_versioning",
            "{Bucket: bucket, VersioningConfiguration: versioningConfiguration.{Status: status}}",
        ),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        Call(
            "s3.put_bucket_encryption",
            "{Bucket: bucket, ServerSideEncryptionConfiguration: {Rules: rules[].{ApplyServerSideEncryptionByDefault:"
            " applyServerSideEncryptionByDefault.{SSEAlgorithm: sseAlgorithm}}}}",
        ),
    ),
    "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration": (
        Call(
            "s3.put_bucket_cors",
            "{Bucket: bucket, CORSConfiguration: {CORSRules: corsRules[].{AllowedHeaders: allowedHeaders,"
            " AllowedMethods: allowedMethods, AllowedOrigins: allowedOrigins, ExposeHeaders: exposeHeaders,"
            " MaxAgeSeconds: maxAgeSeconds}}}",
        ),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": (Call("s3.put_bucket_policy", "{Bucket: bucket, Policy: policy}"),),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": (
        Call(
            "s3.put_bucket_lifecycle_configuration",
            "{Bucket: bucket, LifecycleConfiguration: {Rules: rules[].{ID: id, Status: status,"
            " Filter: filter.{Prefix: prefix},"
            " NoncurrentVersionExpiration: noncurrentVersionExpiration.{NoncurrentDays: noncurrentDays},"
            " AbortIncompleteMultipartUpload:"
            " abortIncompleteMultipartUpload.{DaysAfterInitiation: daysAfterInitiation}}}}",
        ),
    ),
}

ZONE = Call("route53.create_hosted_zone", "{Name: name, CallerReference: name}", "{zoneId: HostedZone.Id}")
IMAGE = Call(
    "ec2.register_image",
    "{Name: name, Architecture: architecture, VirtualizationType: 'hvm', RootDeviceName: '/dev/sda1',"
    " BlockDeviceMappings: [{DeviceName: '/dev/sda1', Ebs: {VolumeSize: `8`}}]}",
    "{id: ImageId}",
)


class Refused(Exception):  # noqa: N818
    """AWS's own description of its API does not allow a value; the text names it."""


class Replay:
    """An account of AWS, as boto3 reaches it, in which what a stack registered is made once more.

    Attributes:
        refused: what was not taken, with the name of its resource.
        absent: operations that nobody answers.
    """

    def __init__(self) -> None:
        """Know of no resource yet."""
        self.refused: list[str] = []
        self.absent: set[str] = set()
        # By what AWS says: each ID, address and name that the stand-in made up.
        self._names = {KEYS["login_public"]: scenario.HOST_KEY}

    def stack(self, cloud: Cloud) -> None:
        """Make what a stack found in its account, and then what it registered, in that order."""
        zone = functions.call(cloud.account, "aws:route53/getZone:getZone", {"name": "example.com"}, scenario.REGION)
        self.make("the zone", (ZONE,), zone, zone)
        used = {one.inputs["ami"] for one in cloud.every if one.kind == kinds.INSTANCE}
        for image in (one for one in cloud.account.images() if one["id"] in used):
            self.make("the image", (IMAGE,), image, image)
        for one in registered(cloud):
            self.make(f"{one.kind} {one.name}", CALLS.get(one.kind, ()), *entry(cloud, one))

    def make(self, name: str, calls: tuple[Call, ...], inputs: Json, outputs: Json) -> None:
        """Make one resource; what is refused is kept under its name.

        Args:
            name: of the resource.
            calls: that make it.
            inputs: what it is made of.
            outputs: what the stand-in made up for it, by which other inputs name it.
        """
        if not calls:
            self.refused.append(f"{name}: no call is known that makes it")
        given = _read(json.loads(self._renamed(json.dumps(inputs))))
        for call in calls:
            try:
                answer = ask(call.operation, **_without_null(jmespath.search(call.parameters, given)))
            except (Refused, exceptions.ClientError, exceptions.ParamValidationError, NotImplementedError) as refusal:
                if isinstance(refusal, NotImplementedError) or NOBODY in str(refusal):
                    self.absent.add(call.operation)
                else:
                    self.refused.append(f"{name}: {call.operation}: {refusal}")
                continue
            said = jmespath.search(call.outputs, answer) if call.outputs else {}
            given.update(said)
            self._names.update(_pairs(outputs, said))

    def _renamed(self, text: str) -> str:
        longest_first = sorted(map(re.escape, self._names), key=len, reverse=True)
        return re.sub("|".join(longest_first), lambda found: self._names[found[0]], text)


def registered(cloud: Cloud) -> list[Registered]:
    """Return the resources of AWS, in the order in which they were registered."""
    return [one for one in cloud.every if one.kind.startswith("aws:")]


def entry(cloud: Cloud, one: Registered) -> tuple[Json, Json]:
    """Return the inputs of a resource, with the name and the region that the provider adds; and its outputs."""
    (found,) = (each for each in cloud.account.all(one.kind) if each["urn"].endswith(f"::{one.name}"))
    return {"id": found["id"], "region": scenario.REGION, **found["inputs"]}, found["state"]


@functools.cache
def _client(service: str) -> Any:
    return boto3.client(service, region_name=scenario.REGION)


def described(operation: str) -> Any:
    """Return AWS's description of an operation such as ec2.describe_volumes, as botocore has it."""
    service, _, name = operation.partition(".")
    meta = _client(service).meta
    return meta.service_model.operation_model(meta.method_to_api_mapping[name])


def ask(operation: str, **parameters: Any) -> Json:
    """Return what AWS answers to an operation such as ec2.describe_volumes.

    Raises:
        Refused: AWS describes the parameters otherwise, in a way that boto3 does not look at.
    """
    shape = described(operation).input_shape
    validate.validate_parameters(parameters, shape)
    faults = list(_faults(shape, parameters))
    if faults:
        raise Refused("; ".join(faults))
    service, _, name = operation.partition(".")
    answer: Json = getattr(_client(service), name)(**parameters)
    return answer


def _faults(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Tell which values are none of the words, or not of the form or the size, that AWS describes."""
    if isinstance(value, dict):
        for name, one in value.items():
            inner = shape.members[name] if shape.type_name == "structure" else shape.value
            yield from _faults(inner, one, f"{path}.{name}")
    if isinstance(value, list):
        for one in value:
            yield from _faults(shape.member, one, f"{path}[]")
    rules = shape.metadata
    size = value if isinstance(value, int | float) else len(value)
    if size > rules.get("max", size):
        yield f"{path}: {value!r} is more than {rules['max']}"
    if value not in rules.get("enum", [value]):
        yield f"{path}: {value!r} is none of {rules['enum']}"
    if "pattern" in rules and not re.fullmatch(_in_python(rules["pattern"]), value):
        yield f"{path}: {value!r} does not match {rules['pattern']}"


def _in_python(pattern: str) -> str:
    """Return a pattern of AWS, which is one of Java; Python has no classes of Unicode."""
    return pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s").replace(r"[\p{all}]", ".").replace(r"\p{all}", ".")


def named(value: Any) -> set[str]:
    """Return the names that are anywhere in inputs, without those of tags."""
    if isinstance(value, list):
        return set().union(*(named(one) for one in value))
    if not isinstance(value, dict):
        return set()
    return value.keys() | set().union(*(named(one) for name, one in value.items() if name not in TAGS))


def taken(kind: str) -> set[str]:
    """Return the names that the calls of a kind take from inputs."""
    waiting = [jmespath.compile(call.parameters).parsed for call in CALLS[kind]]
    found = set()
    while waiting:
        node = waiting.pop()
        waiting += node["children"]
        if node["type"] == "field":
            found.add(node["value"])
    return found


def _read(value: Any) -> Any:
    """Return inputs as the calls read them: whole numbers are such, and tags are there as a map and as pairs."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_read(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: _tags(one) if name in TAGS else _read(one) for name, one in value.items()}


def _tags(given: Json) -> Json:
    return {"map": given, "pairs": [{"Key": name, "Value": value} for name, value in given.items()]}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(one) for name, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def _pairs(old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """Pair what the stand-in said with what AWS says in the same place."""
    if isinstance(new, dict):
        for name in new.keys() & old.keys():
            yield from _pairs(old[name], new[name])
    elif isinstance(new, list):
        for one, other in zip(old, new, strict=True):
            yield from _pairs(one, other)
    elif new:
        yield old, new.removeprefix("/hostedzone/")  # as the provider does
        if new.endswith("::/56"):
            networks = (ipaddress.IPv6Network(one).subnets(new_prefix=64) for one in (old, new))
            yield from ((str(one), str(other)) for one, other in itertools.islice(zip(*networks, strict=True), SUBNETS))
