"""What the SDK's declarations do not say: values that AWS documents, and what the provider cannot change in place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_EC2 = "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/"
_ELB = "https://docs.aws.amazon.com/elasticloadbalancing/latest/"
_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
_RDS = "https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html"

Values = tuple[tuple[str, ...], str]

_VOLUME_TYPES: Values = (("standard", "gp2", "gp3", "io1", "io2", "sc1", "st1"), f"{_EC2}API_CreateVolume.html")
_SWITCH = ("enabled", "disabled")
_METADATA = f"{_EC2}API_InstanceMetadataOptionsRequest.html"
# Names and numbers of protocols; -1 is all of them.
_IP_PROTOCOLS: Values = (
    ("-1", "tcp", "udp", "icmp", "icmpv6", "1", "6", "17", "58"),
    f"{_EC2}API_IpPermission.html",
)
# Those that take TLS 1.2 and 1.3 alone; an older policy is refused on purpose.
_TLS_POLICIES: Values = (
    (
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-Ext1-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-Ext2-2021-06",
        "ELBSecurityPolicy-TLS13-1-3-2021-06",
        "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-Res-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-Ext0-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-Ext1-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04",
        "ELBSecurityPolicy-TLS13-1-2-PQ-2025-09",
        "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09",
        "ELBSecurityPolicy-TLS13-1-2-Ext1-PQ-2025-09",
        "ELBSecurityPolicy-TLS13-1-2-Ext2-PQ-2025-09",
        "ELBSecurityPolicy-TLS13-1-3-PQ-2025-09",
        "ELBSecurityPolicy-TLS-1-2-2017-01",
        "ELBSecurityPolicy-TLS-1-2-Ext-2018-06",
        "ELBSecurityPolicy-FS-1-2-2019-08",
        "ELBSecurityPolicy-FS-1-2-Res-2019-08",
        "ELBSecurityPolicy-FS-1-2-Res-2020-10",
    ),
    f"{_ELB}application/describe-ssl-policies.html",
)
_PROTOCOLS: Values = (
    ("HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP", "GENEVE", "QUIC", "TCP_QUIC"),
    f"{_ELB}APIReference/API_CreateListener.html",
)
_ACTIONS: Values = (
    ("forward", "redirect", "fixed-response", "authenticate-cognito", "authenticate-oidc", "jwt-validation"),
    f"{_ELB}APIReference/API_Action.html",
)
_REDIRECTS: Values = (("HTTP_301", "HTTP_302"), f"{_ELB}APIReference/API_RedirectActionConfig.html")
_STORAGE_CLASSES: Values = (
    ("GLACIER", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "DEEP_ARCHIVE", "GLACIER_IR"),
    f"{_S3}API_Transition.html",
)

# (resource, path of the property without indexes) -> the values and where AWS says so.
VALUES: dict[tuple[str, str], Values] = {
    ("aws:ebs/volume:Volume", "type"): _VOLUME_TYPES,
    ("aws:ec2/instance:Instance", "rootBlockDevice.volumeType"): _VOLUME_TYPES,
    ("aws:ec2/instance:Instance", "ebsBlockDevices.volumeType"): _VOLUME_TYPES,
    ("aws:ec2/instance:Instance", "metadataOptions.httpTokens"): (("optional", "required"), _METADATA),
    ("aws:ec2/instance:Instance", "metadataOptions.httpEndpoint"): (_SWITCH, _METADATA),
    ("aws:ec2/instance:Instance", "metadataOptions.httpProtocolIpv6"): (_SWITCH, _METADATA),
    ("aws:ec2/instance:Instance", "metadataOptions.instanceMetadataTags"): (_SWITCH, _METADATA),
    ("aws:ec2/instance:Instance", "maintenanceOptions.autoRecovery"): (
        ("default", "disabled"),
        f"{_EC2}API_InstanceMaintenanceOptionsRequest.html",
    ),
    ("aws:ec2/instance:Instance", "creditSpecification.cpuCredits"): (
        ("standard", "unlimited"),
        f"{_EC2}API_CreditSpecificationRequest.html",
    ),
    ("aws:ec2/instance:Instance", "instanceInitiatedShutdownBehavior"): (
        ("stop", "terminate"),
        f"{_EC2}API_RunInstances.html",
    ),
    ("aws:ec2/eip:Eip", "domain"): (("vpc",), f"{_EC2}API_AllocateAddress.html"),
    ("aws:ec2/securityGroup:SecurityGroup", "ingress.protocol"): _IP_PROTOCOLS,
    ("aws:ec2/securityGroup:SecurityGroup", "egress.protocol"): _IP_PROTOCOLS,
    ("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "ipProtocol"): _IP_PROTOCOLS,
    ("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", "ipProtocol"): _IP_PROTOCOLS,
    ("aws:lb/loadBalancer:LoadBalancer", "loadBalancerType"): (
        ("application", "network", "gateway"),
        f"{_ELB}APIReference/API_CreateLoadBalancer.html",
    ),
    ("aws:lb/loadBalancer:LoadBalancer", "ipAddressType"): (
        ("ipv4", "dualstack", "dualstack-without-public-ipv4"),
        f"{_ELB}APIReference/API_CreateLoadBalancer.html",
    ),
    ("aws:lb/targetGroup:TargetGroup", "targetType"): (
        ("instance", "ip", "lambda", "alb"),
        f"{_ELB}APIReference/API_CreateTargetGroup.html",
    ),
    ("aws:lb/targetGroup:TargetGroup", "protocol"): _PROTOCOLS,
    ("aws:lb/targetGroup:TargetGroup", "protocolVersion"): (
        ("HTTP1", "HTTP2", "GRPC"),
        f"{_ELB}APIReference/API_CreateTargetGroup.html",
    ),
    ("aws:lb/targetGroup:TargetGroup", "healthCheck.protocol"): (
        ("HTTP", "HTTPS", "TCP"),
        f"{_ELB}APIReference/API_CreateTargetGroup.html",
    ),
    ("aws:lb/targetGroup:TargetGroup", "loadBalancingAlgorithmType"): (
        ("round_robin", "least_outstanding_requests", "weighted_random"),
        f"{_ELB}APIReference/API_TargetGroupAttribute.html",
    ),
    ("aws:lb/targetGroup:TargetGroup", "stickiness.type"): (
        ("lb_cookie", "app_cookie", "source_ip", "source_ip_dest_ip", "source_ip_dest_ip_proto"),
        f"{_ELB}APIReference/API_TargetGroupAttribute.html",
    ),
    ("aws:lb/listener:Listener", "protocol"): _PROTOCOLS,
    ("aws:lb/listener:Listener", "sslPolicy"): _TLS_POLICIES,
    ("aws:lb/listener:Listener", "defaultActions.type"): _ACTIONS,
    ("aws:lb/listener:Listener", "defaultActions.redirect.statusCode"): _REDIRECTS,
    ("aws:lb/listenerRule:ListenerRule", "actions.type"): _ACTIONS,
    ("aws:lb/listenerRule:ListenerRule", "actions.redirect.statusCode"): _REDIRECTS,
    ("aws:acm/certificate:Certificate", "validationMethod"): (
        ("DNS", "EMAIL", "HTTP"),
        "https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html",
    ),
    ("aws:acm/certificate:Certificate", "keyAlgorithm"): (
        ("RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"),
        "https://docs.aws.amazon.com/acm/latest/APIReference/API_RequestCertificate.html",
    ),
    ("aws:route53/healthCheck:HealthCheck", "type"): (
        (
            "HTTP",
            "HTTPS",
            "HTTP_STR_MATCH",
            "HTTPS_STR_MATCH",
            "TCP",
            "CALCULATED",
            "CLOUDWATCH_METRIC",
            "RECOVERY_CONTROL",
        ),
        "https://docs.aws.amazon.com/Route53/latest/APIReference/API_HealthCheckConfig.html",
    ),
    ("aws:rds/instance:Instance", "engine"): (
        (
            "postgres",
            "mysql",
            "mariadb",
            "db2-ae",
            "db2-se",
            "oracle-ee",
            "oracle-ee-cdb",
            "oracle-se2",
            "oracle-se2-cdb",
            "sqlserver-ee",
            "sqlserver-se",
            "sqlserver-ex",
            "sqlserver-web",
        ),
        _RDS,
    ),
    ("aws:rds/instance:Instance", "networkType"): (("IPV4", "DUAL"), _RDS),
    ("aws:rds/instance:Instance", "enabledCloudwatchLogsExports"): (
        (
            "postgresql",
            "upgrade",
            "iam-db-auth-error",
            "agent",
            "alert",
            "audit",
            "diag.log",
            "error",
            "general",
            "listener",
            "notify.log",
            "oemagent",
            "slowquery",
            "trace",
        ),
        _RDS,
    ),
    ("aws:rds/parameterGroup:ParameterGroup", "parameters.applyMethod"): (
        ("immediate", "pending-reboot"),
        "https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_Parameter.html",
    ),
    ("aws:elasticache/replicationGroup:ReplicationGroup", "engine"): (
        ("redis", "valkey"),
        "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html",
    ),
    ("aws:elasticache/replicationGroup:ReplicationGroup", "transitEncryptionMode"): (
        ("preferred", "required"),
        "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html",
    ),
    ("aws:elasticache/replicationGroup:ReplicationGroup", "clusterMode"): (
        ("enabled", "disabled", "compatible"),
        "https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_CreateReplicationGroup.html",
    ),
    ("aws:cloudwatch/logGroup:LogGroup", "logGroupClass"): (
        ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"),
        "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html",
    ),
    ("aws:s3/bucketVersioning:BucketVersioning", "versioningConfiguration.status"): (
        ("Enabled", "Suspended", "Disabled"),
        f"{_S3}API_VersioningConfiguration.html",
    ),
    ("aws:s3/bucketOwnershipControls:BucketOwnershipControls", "rule.objectOwnership"): (
        ("BucketOwnerPreferred", "ObjectWriter", "BucketOwnerEnforced"),
        f"{_S3}API_OwnershipControlsRule.html",
    ),
    ("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "rules.status"): (
        ("Enabled", "Disabled"),
        f"{_S3}API_LifecycleRule.html",
    ),
    (
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "rules.transitions.storageClass",
    ): _STORAGE_CLASSES,
    (
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "rules.noncurrentVersionTransitions.storageClass",
    ): _STORAGE_CLASSES,
    (
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "rules.applyServerSideEncryptionByDefault.sseAlgorithm",
    ): (("AES256", "aws:kms", "aws:kms:dsse"), f"{_S3}API_ServerSideEncryptionByDefault.html"),
    ("aws:s3/bucketCorsConfiguration:BucketCorsConfiguration", "corsRules.allowedMethods"): (
        ("GET", "PUT", "HEAD", "POST", "DELETE"),
        f"{_S3}API_CORSRule.html",
    ),
    ("aws:dlm/lifecyclePolicy:LifecyclePolicy", "state"): (
        ("ENABLED", "DISABLED"),
        "https://docs.aws.amazon.com/dlm/latest/APIReference/API_CreateLifecyclePolicy.html",
    ),
    ("aws:dlm/lifecyclePolicy:LifecyclePolicy", "policyDetails.resourceTypes"): (
        ("VOLUME", "INSTANCE"),
        "https://docs.aws.amazon.com/dlm/latest/APIReference/API_PolicyDetails.html",
    ),
    ("aws:dlm/lifecyclePolicy:LifecyclePolicy", "policyDetails.schedules.createRule.intervalUnit"): (
        ("HOURS",),
        "https://docs.aws.amazon.com/dlm/latest/APIReference/API_CreateRule.html",
    ),
    ("aws:dlm/lifecyclePolicy:LifecyclePolicy", "policyDetails.schedules.retainRule.intervalUnit"): (
        ("DAYS", "WEEKS", "MONTHS", "YEARS"),
        "https://docs.aws.amazon.com/dlm/latest/APIReference/API_RetainRule.html",
    ),
}

PATTERNS: dict[tuple[str, str], tuple[str, str]] = {
    ("aws:dlm/lifecyclePolicy:LifecyclePolicy", "description"): (
        r"[0-9A-Za-z _-]{1,500}",
        "letters, digits, blanks, _ and - (terraform-provider-aws, internal/service/dlm/lifecycle_policy.go)",
    ),
    ("aws:rds/instance:Instance", "finalSnapshotIdentifier"): (
        r"[A-Za-z](?!.*--)[A-Za-z0-9-]*[A-Za-z0-9]",
        "a letter, then letters, digits and single hyphens (terraform-provider-aws, internal/service/rds/instance.go)",
    ),
    ("aws:s3/bucket:Bucket", "bucketPrefix"): (
        r"[a-z0-9][a-z0-9.-]{0,36}",
        "at most 37 small letters, digits, dots and hyphens (Amazon S3 User Guide, Bucket naming rules)",
    ),
    ("aws:ec2/securityGroup:SecurityGroup", "description"): (
        r"[0-9A-Za-z_ .:/()#,@\[\]+=&;\{\}!$*-]{0,255}",
        "what it allows (Amazon EC2 API, CreateSecurityGroup)",
    ),
}
"""What a text must look like, by resource and property: the pattern, and the rule with its source."""

_NAMED = frozenset({"name", "namePrefix"})
_OF_A_BUCKET = frozenset({"bucket", "expectedBucketOwner"})

# What the schemas of terraform-provider-aws mark as ForceNew or RequiresReplace (internal/service/<service>/…), by the
# names that Pulumi gives the properties; `region` is so for every resource since version 6 of it.
REPLACES: dict[str, frozenset[str]] = {
    "aws:ec2/vpc:Vpc": frozenset({"cidrBlock", "ipv4IpamPoolId", "ipv4NetmaskLength"}),
    "aws:ec2/subnet:Subnet": frozenset(
        {
            "availabilityZone",
            "availabilityZoneId",
            "cidrBlock",
            "ipv6Native",
            "outpostArn",
            "vpcId",
            "ipv4IpamPoolId",
            "ipv4NetmaskLength",
            "ipv6IpamPoolId",
            "ipv6NetmaskLength",
        }
    ),
    "aws:ec2/internetGateway:InternetGateway": frozenset(),
    "aws:ec2/routeTable:RouteTable": frozenset({"vpcId"}),
    "aws:ec2/route:Route": frozenset(
        {"routeTableId", "destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId"}
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": frozenset({"subnetId", "gatewayId"}),
    "aws:ec2/securityGroup:SecurityGroup": frozenset({"name", "namePrefix", "description", "vpcId"}),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": frozenset({"vpcId"}),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": frozenset({"securityGroupId"}),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": frozenset({"securityGroupId"}),
    "aws:ec2/keyPair:KeyPair": frozenset({"keyName", "keyNamePrefix", "publicKey"}),
    "aws:ec2/instance:Instance": frozenset(
        {
            "ami",
            "associatePublicIpAddress",
            "availabilityZone",
            "cpuOptions.amdSevSnp",
            "ebsBlockDevices.deleteOnTermination",
            "ebsBlockDevices.deviceName",
            "ebsBlockDevices.encrypted",
            "ebsBlockDevices.iops",
            "ebsBlockDevices.kmsKeyId",
            "ebsBlockDevices.snapshotId",
            "ebsBlockDevices.throughput",
            "ebsBlockDevices.volumeSize",
            "ebsBlockDevices.volumeType",
            "ebsOptimized",
            "enclaveOptions.enabled",
            "ephemeralBlockDevices",
            "hibernation",
            "hostId",
            "instanceMarketOptions",
            "keyName",
            "launchTemplate.id",
            "launchTemplate.name",
            "networkInterfaces",
            "placementGroup",
            "placementGroupId",
            "placementPartitionNumber",
            "privateDnsNameOptions",
            "primaryNetworkInterface",
            "privateIp",
            "rootBlockDevice.encrypted",
            "rootBlockDevice.kmsKeyId",
            "secondaryNetworkInterfaces",
            "securityGroups",
            "subnetId",
            "tenancy",
        }
    ),
    "aws:ec2transitgateway/instanceState:InstanceState": frozenset({"instanceId"}),
    "aws:ec2/eip:Eip": frozenset({"address", "domain", "ipamPoolId", "networkBorderGroup", "publicIpv4Pool"}),
    "aws:ec2/eipAssociation:EipAssociation": frozenset(
        {"allocationId", "allowReassociation", "instanceId", "networkInterfaceId", "privateIpAddress", "publicIp"}
    ),
    # The flags for the way of detaching are kept in the state without a call.
    "aws:ec2/volumeAttachment:VolumeAttachment": frozenset({"deviceName", "instanceId", "volumeId"}),
    "aws:ebs/volume:Volume": frozenset(
        {
            "availabilityZone",
            "encrypted",
            "kmsKeyId",
            "multiAttachEnabled",
            "outpostArn",
            "snapshotId",
        }
    ),
    "aws:ebs/snapshot:Snapshot": frozenset({"description", "outpostArn", "volumeId"}),
    "aws:iam/role:Role": frozenset({"name", "namePrefix", "path"}),
    "aws:iam/rolePolicy:RolePolicy": frozenset({"name", "namePrefix", "role"}),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": frozenset({"policyArn", "role"}),
    "aws:iam/instanceProfile:InstanceProfile": frozenset({"name", "namePrefix", "path"}),
    "aws:cloudwatch/logGroup:LogGroup": frozenset({"logGroupClass", "name", "namePrefix"}),
    "aws:lb/loadBalancer:LoadBalancer": frozenset(
        {"customerOwnedIpv4Pool", "internal", "loadBalancerType", "name", "namePrefix"}
    ),
    "aws:lb/targetGroup:TargetGroup": frozenset(
        {
            "ipAddressType",
            "name",
            "namePrefix",
            "port",
            "protocol",
            "protocolVersion",
            "targetControlPort",
            "targetType",
            "vpcId",
        }
    ),
    "aws:lb/targetGroupAttachment:TargetGroupAttachment": frozenset(
        {"availabilityZone", "port", "quicServerId", "targetGroupArn", "targetId"}
    ),
    "aws:lb/listener:Listener": frozenset({"loadBalancerArn"}),
    "aws:lb/listenerRule:ListenerRule": frozenset({"listenerArn"}),
    "aws:acm/certificate:Certificate": frozenset(
        {
            "certificateAuthorityArn",
            "domainName",
            "keyAlgorithm",
            "subjectAlternativeNames",
            "validationMethod",
            "validationOptions",
        }
    ),
    "aws:acm/certificateValidation:CertificateValidation": frozenset({"certificateArn", "validationRecordFqdns"}),
    # A changed type is a deletion and a creation in one batch of changes there, and no replacement.
    "aws:route53/record:Record": frozenset({"name", "zoneId"}),
    "aws:route53/healthCheck:HealthCheck": frozenset(
        {"measureLatency", "referenceName", "requestInterval", "routingControlArn", "type"}
    ),
    "aws:rds/instance:Instance": frozenset(
        {
            "availabilityZone",
            "backupTarget",
            "characterSetName",
            "customIamInstanceProfile",
            "dbName",
            "engine",
            "kmsKeyId",
            "ncharCharacterSetName",
            "restoreToPointInTime",
            "s3Import",
            "snapshotIdentifier",
            "storageEncrypted",
            "timezone",
            "username",
        }
    ),
    "aws:rds/subnetGroup:SubnetGroup": _NAMED,
    "aws:rds/parameterGroup:ParameterGroup": _NAMED | {"description", "family"},
    "aws:elasticache/replicationGroup:ReplicationGroup": frozenset(
        {
            "atRestEncryptionEnabled",
            "dataTieringEnabled",
            "globalReplicationGroupId",
            "kmsKeyId",
            "networkType",
            "nodeGroupConfigurations",
            "port",
            "replicationGroupId",
            "securityGroupNames",
            "snapshotArns",
            "snapshotName",
            "subnetGroupName",
        }
    ),
    "aws:elasticache/subnetGroup:SubnetGroup": frozenset({"name"}),
    "aws:s3/bucket:Bucket": frozenset({"bucket", "bucketPrefix", "objectLockEnabled"}),
    "aws:s3/bucketVersioning:BucketVersioning": _OF_A_BUCKET,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": frozenset({"bucket"}),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _OF_A_BUCKET,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _OF_A_BUCKET,
    "aws:s3/bucketCorsConfiguration:BucketCorsConfiguration": _OF_A_BUCKET,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": frozenset({"bucket"}),
    "aws:s3/bucketPolicy:BucketPolicy": frozenset({"bucket"}),
    "aws:dlm/lifecyclePolicy:LifecyclePolicy": frozenset({"policyDetails.schedules.copyTags"}),
}


def _is_older(old: Any, new: Any) -> bool:
    """Tell whether a version is below the one before."""
    one, other = ([int(part) for part in re.findall("[0-9]+", str(version))] for version in (old, new))
    return other < one[: len(other)]


# What replaces by its values alone: CustomizeDiff of internal/service/elasticache/replication_group.go.
REPLACES_WHEN: dict[str, dict[str, Callable[[Any, Any], bool]]] = {
    "aws:elasticache/replicationGroup:ReplicationGroup": {
        "engine": lambda old, new: (old, new) != ("redis", "valkey"),
        "engineVersion": _is_older,
    },
}

# One of several ways to say the source of a rule; another way is another rule.
ONE_OF: dict[str, frozenset[str]] = {
    rule: frozenset({"cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"})
    for rule in (
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
    )
}

# What may be another one in the state although nobody changed it, and what counts against the program then: a machine
# that was given an elastic address has a public one, so `associatePublicIpAddress: false` replaces it after a refresh;
# AWS may raise the version of a cache; and a disk that grows is seen later.
FROM_THE_STATE = frozenset(
    {
        ("aws:ec2/instance:Instance", "associatePublicIpAddress"),
        ("aws:elasticache/replicationGroup:ReplicationGroup", "engineVersion"),
        ("aws:ebs/volume:Volume", "size"),
    }
)

# What the provider does not wait for: it reads the old value back (waitVolumeUpdated is content with a volume in use).
SEEN_LATER = frozenset({("aws:ebs/volume:Volume", "size")})

# Lists that are sets there: their order is no change.
SETS = frozenset(
    {
        "dependsOn",
        "enabledCloudwatchLogsExports",
        "records",
        "regions",
        "securityGroupIds",
        "securityGroups",
        "subjectAlternativeNames",
        "subnetIds",
        "subnets",
        "validationRecordFqdns",
        "vpcSecurityGroupIds",
    }
)

# The property that names a resource, where it is another one than `name`, and how long a made-up name may be.
NAMES: dict[str, tuple[str, int]] = {
    "aws:s3/bucket:Bucket": ("bucket", 63),
    "aws:ec2/keyPair:KeyPair": ("keyName", 255),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("replicationGroupId", 40),
    "aws:lb/loadBalancer:LoadBalancer": ("name", 32),
    "aws:lb/targetGroup:TargetGroup": ("name", 32),
    "aws:iam/role:Role": ("name", 64),
}

# Names that are made up in small letters.
IN_SMALL_LETTERS = frozenset(
    {
        "aws:s3/bucket:Bucket",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:rds/parameterGroup:ParameterGroup",
        "aws:elasticache/replicationGroup:ReplicationGroup",
        "aws:elasticache/subnetGroup:SubnetGroup",
    }
)

# Exactly one, and at most one, of several inputs: ExactlyOneOf and ConflictsWith of the provider's schemas.
EXACTLY_ONE: dict[str, tuple[tuple[str, ...], ...]] = {
    "aws:route53/record:Record": (("aliases", "records"),),
    "aws:ec2/eipAssociation:EipAssociation": (("instanceId", "networkInterfaceId"),),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": (("gatewayId", "subnetId"),),
    **{rule: (tuple(sorted(names)),) for rule, names in ONE_OF.items()},
}
AT_MOST_ONE: dict[str, tuple[tuple[str, ...], ...]] = {
    "aws:ec2/instance:Instance": (("userData", "userDataBase64"), ("ipv6AddressCount", "ipv6Addresses")),
    "aws:ec2/subnet:Subnet": (("availabilityZone", "availabilityZoneId"),),
    "aws:ec2/keyPair:KeyPair": (("keyName", "keyNamePrefix"),),
    "aws:ec2/vpc:Vpc": (("assignGeneratedIpv6CidrBlock", "ipv6IpamPoolId"),),
    "aws:rds/instance:Instance": (
        ("manageMasterUserPassword", "password"),
        ("manageMasterUserPassword", "passwordWo"),
        ("identifier", "identifierPrefix"),
    ),
    "aws:s3/bucket:Bucket": (("bucket", "bucketPrefix"),),
    "aws:route53/record:Record": (("aliases", "ttl"),),
    **{kind: (("name", "namePrefix"),) for kind, names in REPLACES.items() if names >= _NAMED},
}
