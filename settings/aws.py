"""The settings of a stack on AWS: its machines, and the services that they use there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from settings import aws_rules, rules
from settings.base import Bastion, Group


class Network(Group):
    """The VPC that the machines, the balancer and the managed services are in."""

    kind: Literal["new", "default", "given"] = Field(
        default="new",
        description="Which VPC: new makes one for the stack, with IPv6, a public and a private subnet in each of two "
        "zones; default takes the account's own; given takes the one of vpc.",
    )
    cidr: aws_rules.VpcNetwork = Field(
        default="10.20.0.0/16", description="Private IPv4 network of a new VPC; its subnets are cut out of it."
    )
    zones: Annotated[tuple[aws_rules.Zone, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["eu-central-1a", "eu-central-1b"]],
        description="The two availability zones of a new VPC. Default: the first two of the region.",
    )
    vpc: aws_rules.VpcId | None = Field(
        default=None, examples=["vpc-0a1b2c3d4e5f60718"], description="The VPC, for kind given."
    )
    public_subnets: Annotated[tuple[aws_rules.SubnetId, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["subnet-0a1b2c3d4e5f60718", "subnet-0a1b2c3d4e5f60719"]],
        description="Subnets with a route to the Internet for machines and balancer, for kind given: two or more in "
        "different zones where there is a balancer.",
    )
    private_subnets: Annotated[tuple[aws_rules.SubnetId, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["subnet-0a1b2c3d4e5f6071a", "subnet-0a1b2c3d4e5f6071b"]],
        description="Subnets in two or more zones for database and Redis, for kind given. Default: the public ones, in "
        "which these have no public address either.",
    )


class AwsServer(Group):
    """One or several EC2 instances with Ubuntu, made and replaced by Pulumi, with their network and firewall."""

    kind: Literal["aws"] = Field(
        description="Where the server comes from: aws is one or several EC2 instances, in the region aws:region."
    )
    instance_type: aws_rules.InstanceType = Field(
        default="t4g.small",
        description="Type of the instances; it also says whether they are arm64 or amd64. Another one brings new "
        "machines.",
    )
    count: Annotated[rules.Number, rules.within(1, 20)] = Field(
        default=1,
        description="Number of machines. Two or more are spread over zones behind a load balancer, and need their "
        "state elsewhere: database, redis and media say where.",
    )
    ubuntu: Literal["24.04", "22.04"] = Field(
        default="24.04",
        description="Version of Ubuntu LTS. The newest image of Canonical's is taken when a machine is made, and kept.",
    )
    ami: aws_rules.AmiId | None = Field(
        default=None,
        examples=["ami-0a1b2c3d4e5f60718"],
        description="Exact image of the machines, with that version of Ubuntu; another one brings new machines.",
    )
    rebuild: aws_rules.ShortWord | None = Field(
        default=None,
        examples=["2026-12"],
        description="A word of your choice; another one brings new machines with the newest image of that day, "
        "and new keys to them.",
    )
    zone: aws_rules.Zone | None = Field(
        default=None,
        examples=["eu-central-1b"],
        description="Availability zone of the first machine; another one brings a new machine there, with the data. "
        "Default: where its data volume is, and at first the first zone of the network.",
    )
    network: Network = Field(default_factory=Network, description="The VPC and its subnets.")
    ssh: Literal["direct", "ssm"] = Field(
        default="direct",
        description="How this machine reaches the machines: direct, at their addresses (through server.bastion, if it "
        "is given), or ssm, through the port forwarding of AWS Systems Manager, with no port open: `make tunnel`.",
    )
    ssm_port: rules.Port = Field(
        default=22022,
        description="Port on 127.0.0.1 that `make tunnel` forwards to the first machine's SSH, for ssh: ssm; the next "
        "ones lead to the others.",
    )
    bastion: Bastion | None = Field(
        default=None,
        description="The host through which the machines are reached at their private addresses; null without one.",
    )
    allow_ssh_from: Annotated[tuple[aws_rules.LoginNetwork, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["192.0.2.0/24", "2001:db8:7::/48"]],
        description="Networks from which SSH is let in: yours and your CI's, or the bastion's. Without any, SSH stays "
        "closed.",
    )
    allow_ssh_from_anywhere: rules.Flag = Field(
        default=False, description="Whether SSH is open to the whole Internet, IPv4 and IPv6."
    )
    root_volume: Annotated[rules.Number, rules.within(8, 16384, "GiB")] = Field(
        default=16, description="Size of the encrypted system disk in GiB, for system, releases and packages."
    )
    data_volume: Annotated[rules.Number, rules.within(1, 16384, "GiB")] = Field(
        default=20,
        description="Size in GiB of the first machine's encrypted data volume, which outlives the machine: uploads, "
        "data, logs and dumps of the application. It can grow, not shrink.",
    )
    snapshots: Annotated[rules.Number, rules.within(0, 1000, "days")] = Field(
        default=7, description="Number of daily snapshots of the data volume that are kept; 0 takes none."
    )
    restore_from: aws_rules.SnapshotId | None = Field(
        default=None,
        examples=["snap-0a1b2c3d4e5f60718"],
        description="Snapshot that the data volume is made of: a new volume and a new machine take the place of those "
        "that are there, and the volume that was there is kept.",
    )
    tags: Mapping[aws_rules.TagName, aws_rules.TagValue] = Field(
        default={},
        examples=[{"team": "shop"}],
        description="Further tags of everything that is made on AWS, beside flaskhost:project, :stack and :app.",
    )

    http_port: ClassVar[int] = 80
    https_port: ClassVar[int] = 443
    user: ClassVar[str] = "ubuntu"
    """Who logs in; Canonical's images have this user, who may use sudo (ubuntu.com/aws, "Connect to your instance")."""
    public_name: ClassVar[str] = "localhost"
    """Only where there is no domain, which the rules refuse."""

    @property
    def has_balancer(self) -> bool:
        """Whether visitors reach a load balancer, and not the machine itself."""
        return self.count > 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What each machine is called among several: its number."""
        return tuple(str(number) for number in range(1, self.count + 1))


class Dns(Group):
    """The names of the site, for a server of kind aws."""

    kind: Literal["none", "route53"] = Field(
        default="none",
        description="Who makes the records: route53 has Pulumi make them in a hosted zone of the account; none shows "
        "those to make at any other provider in the output `records`, and warns of those that are missing: `make dns`.",
    )
    zone: aws_rules.Zonename | None = Field(
        default=None,
        examples=["example.com"],
        description="Name of the hosted zone that has the records, for kind route53. It has to be there.",
    )
    caa: Annotated[tuple[aws_rules.CertificateAuthority, ...], AfterValidator(rules.distinct)] = Field(
        default=("amazon.com", "letsencrypt.org"),
        description="Authorities that alone may issue certificates for the site's names (RFC 8659), amazon.com among "
        "them where there is a load balancer; an empty list makes no such records.",
    )
    health_check: rules.Flag = Field(
        default=False, description="Whether Route 53 asks for the health path from all over the world, for an alarm."
    )


class Balancer(Group):
    """The load balancer before several machines."""

    certificate: aws_rules.CertificateArn | None = Field(
        default=None,
        examples=["arn:aws:acm:eu-central-1:123456789012:certificate/7a1b2c3d-0000-4000-8000-1a2b3c4d5e6f"],
        description="ARN of a certificate of AWS Certificate Manager for all names of the site, for dns.kind none. "
        "Default: one is made and proven by records in dns.zone.",
    )
    drain: Annotated[rules.Number, rules.within(0, 3600, "seconds")] = Field(
        default=30, description="Seconds that a machine which leaves may finish its requests (deregistration delay)."
    )


class Database(Group):
    """The database server, for a server of kind aws."""

    kind: Literal["none", "rds"] = Field(
        default="none",
        description="Where the database is: none leaves it to env and secrets, rds has Pulumi make one on Amazon RDS, "
        "whose password no one but AWS and the machines ever sees.",
    )
    engine: Literal["postgresql", "mysql"] = Field(default="postgresql", description="Which database it is.")
    version: aws_rules.EngineVersion | None = Field(
        default=None,
        examples=["17"],
        description="Version of the engine; minor ones come by themselves. Default: 17 of PostgreSQL, 8.4 of MySQL.",
    )
    instance_class: aws_rules.DatabaseClass = Field(default="db.t4g.micro", description="Size of its machine.")
    storage: Annotated[rules.Number, rules.within(20, 65536, "GiB")] = Field(
        default=20, description="Size of its encrypted disk in GiB; it can grow, not shrink."
    )
    storage_limit: Annotated[rules.Number, rules.within(20, 65536, "GiB")] = Field(
        default=100,
        description="Size in GiB up to which AWS lets the disk grow by itself when it fills: 10 % above storage at the "
        "least, or the same, and it does not grow.",
    )
    multi_az: rules.Flag = Field(
        default=False, description="Whether a standby in another zone takes over when the database fails."
    )
    backup_days: Annotated[rules.Number, rules.within(1, 35, "days")] = Field(
        default=7, description="Days for which the database can be put back to any minute."
    )
    name: aws_rules.DatabaseName | None = Field(
        default=None,
        examples=["shop"],
        description="Name of the database in it. Default: the application's name, with _ for -.",
    )
    driver: aws_rules.DatabaseDriver | None = Field(
        default=None,
        examples=["psycopg"],
        description="Driver that SQLAlchemy shall use, as in postgresql+psycopg://. Default: SQLAlchemy's own choice.",
    )
    variable: rules.EnvironmentName = Field(
        default="DATABASE_URL", description="Variable that hands its URL to the application."
    )
    restore_from: aws_rules.DatabaseSnapshot | None = Field(
        default=None,
        examples=["rds:shop-2026-11-20-03-10"],
        description="Encrypted snapshot that the database is made of, with its engine, version and storage. It counts "
        "when the database is made, and never later.",
    )

    usual_versions: ClassVar[Mapping[str, str]] = {"postgresql": "17", "mysql": "8.4"}

    @property
    def wanted_version(self) -> str:
        """The version that is asked for."""
        return self.version or self.usual_versions[self.engine]

    @property
    def scheme(self) -> str:
        """How its URL begins."""
        return f"{self.engine}+{self.driver}" if self.driver else self.engine

    @property
    def port(self) -> int:
        """Where it listens."""
        return {"postgresql": 5432, "mysql": 3306}[self.engine]


class Redis(Group):
    """The Redis server, for a server of kind aws."""

    kind: Literal["none", "elasticache"] = Field(
        default="none",
        description="Where Redis is: none leaves it to env and secrets, elasticache has Pulumi make one on Amazon "
        "ElastiCache, encrypted, and open to the machines alone.",
    )
    engine: Literal["valkey", "redis"] = Field(
        default="valkey", description="Which server it is; Valkey is the free one, and speaks the same protocol."
    )
    version: aws_rules.CacheVersion | None = Field(
        default=None, examples=["8.0"], description="Version of the engine. Default: 8.0 of Valkey, 7.1 of Redis."
    )
    node_type: aws_rules.CacheType = Field(default="cache.t4g.micro", description="Size of its machines.")
    replicas: Annotated[rules.Number, rules.within(0, 5)] = Field(
        default=0, description="Number of copies; one of them takes over when the first machine fails."
    )
    variable: rules.EnvironmentName = Field(
        default="REDIS_URL", description="Variable that hands its URL to the application."
    )

    usual_versions: ClassVar[Mapping[str, str]] = {"valkey": "8.0", "redis": "7.1"}

    @property
    def wanted_version(self) -> str:
        """The version that is asked for."""
        return self.version or self.usual_versions[self.engine]


class Media(Group):
    """Where uploads are kept, for a server of kind aws."""

    kind: Literal["local", "s3", "none"] = Field(
        default="local",
        description="Where uploads are: local is the server's own shared/media, s3 a private bucket that Pulumi makes "
        "and that the machines alone may use, none says that there are none.",
    )
    variable: rules.EnvironmentName = Field(
        default="MEDIA_BUCKET", description="Variable that hands the bucket's name to the application, for kind s3."
    )
    cors_origins: Annotated[tuple[aws_rules.Origin, ...], AfterValidator(rules.distinct)] = Field(
        default=(),
        examples=[["https://www.example.com"]],
        description="Sites whose pages may read from and send to the bucket with addresses that the application signs.",
    )
    keep_versions: Annotated[rules.Number, rules.within(1, 3650, "days")] = Field(
        default=30, description="Days for which what was overwritten or deleted can be had back."
    )

    region_variable: ClassVar[str] = "AWS_DEFAULT_REGION"
    """What boto3 reads, beside the name of the bucket."""
