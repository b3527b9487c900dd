"""What a single value of the settings for AWS may look like; see rules.py."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Annotated

from pydantic import AfterValidator

from settings.rules import HOST_LABEL, WIDEST, Text, matching, refusal

SMALLEST_VPC, LARGEST_VPC = 24, 16
"""Prefixes of a VPC that is made here. AWS takes /16 to /28 (Amazon VPC User Guide, "VPC CIDR blocks"); four subnets
are cut out of it, and below /28 there is no subnet."""

HOST_NAME = rf"({HOST_LABEL}\.)+{HOST_LABEL}"
PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


def grown(size: int) -> int:
    """Return the least that RDS lets a disk grow to, in GiB: 10 % more.

    Amazon RDS User Guide, "Managing capacity automatically with storage autoscaling".

    Args:
        size: that it has, in GiB.
    """
    return -(-size * 11 // 10)


def grows(size: int, to: int) -> bool:
    """Tell whether RDS takes a disk to another size, in GiB, or has nothing to do; see `grown`."""
    return to == size or to >= grown(size)


def login_network(value: str) -> str:
    """Check a network from which SSH is let in: one that somebody knows, never half of the Internet."""
    rule, fix = "must be a network in CIDR notation, or one address", "write it such as 192.0.2.0/24 or 192.0.2.7"
    # The name of an interface of some machine (RFC 4007), which Python takes, says nothing on AWS.
    if "%" in value:
        raise refusal(rule, fix)
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        with contextlib.suppress(ValueError):
            fix = f"write {ipaddress.ip_network(value, strict=False)}"
        raise refusal(rule, fix) from None
    if network.prefixlen < WIDEST[network.version]:
        raise refusal(
            f"must be a network of /{WIDEST[network.version]} or smaller",
            "name your own networks; server.allow_ssh_from_anywhere: true opens SSH to the world, in words",
        )
    return str(network)


def vpc_network(value: str) -> str:
    """Check the network of a new VPC: private, and of a size that AWS takes and subnets fit into."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        raise refusal("must be an IPv4 network in CIDR notation", "write it such as 10.20.0.0/16") from None
    if not LARGEST_VPC <= network.prefixlen <= SMALLEST_VPC:
        raise refusal(f"must be from /{LARGEST_VPC} to /{SMALLEST_VPC}", "write it such as 10.20.0.0/16")
    if not any(network.subnet_of(private) for private in PRIVATE):
        raise refusal("must be a private network (RFC 1918)", "write it such as 10.20.0.0/16")
    return str(network)


def tag_name(value: str) -> str:
    """Check the name of a tag (Tagging AWS Resources, "Tag naming limits"): none of AWS's, and none of flaskhost's."""
    checked = matching(
        r"[A-Za-z0-9 _.:/=+@-]+", "must be letters, digits, blanks and _ . : / = + - @", "write it such as team", 128
    )(value)
    if value.lower().startswith(("aws:", "flaskhost:")) or value == "Name":
        raise refusal("is a tag that AWS or flaskhost sets", "choose another name")
    return checked


def _like(pattern: str, rule: str, fix: str, longest: int = 200) -> AfterValidator:
    return AfterValidator(matching(pattern, rule, fix, longest))


def _id_of(kind: str, what: str) -> AfterValidator:
    example = f"{kind}-0a1b2c3d4e5f60718"
    return _like(rf"{kind}-[0-9a-f]{{8,17}}", f"must be the ID of {what}: {kind}- and digits", f"write it as {example}")


VpcNetwork = Annotated[Text, AfterValidator(vpc_network)]
LoginNetwork = Annotated[Text, AfterValidator(login_network)]
VpcId = Annotated[Text, _id_of("vpc", "a VPC")]
SubnetId = Annotated[Text, _id_of("subnet", "a subnet")]
AmiId = Annotated[Text, _id_of("ami", "an image")]
SnapshotId = Annotated[Text, _id_of("snap", "a snapshot")]
Zone = Annotated[
    Text,
    _like(r"[a-z]{2}(-[a-z]+)+-[0-9]+[a-z]", "must be an availability zone", "write it such as eu-central-1a"),
]
InstanceType = Annotated[
    Text, _like(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "must be a type of EC2 instances", "write it such as t4g.small", 50)
]
DatabaseClass = Annotated[
    Text, _like(r"db\.[a-z][a-z0-9-]*\.[a-z0-9-]+", "must be a class of RDS", "write it such as db.t4g.micro", 50)
]
CacheType = Annotated[
    Text,
    _like(
        r"cache\.[a-z][a-z0-9-]*\.[a-z0-9-]+", "must be a type of ElastiCache", "write it such as cache.t4g.micro", 50
    ),
]
ShortWord = Annotated[
    Text,
    _like(r"[A-Za-z0-9][A-Za-z0-9._-]*", "must be a word of letters, digits, . _ -", "write it such as 2026-12", 30),
]
EngineVersion = Annotated[
    Text, _like(r"[0-9]+(\.[0-9]+){0,2}", "must be a version number", 'write it in quotes, such as "17"', 20)
]
CacheVersion = Annotated[
    Text,
    _like(r"[6-9]\.[0-9]{1,2}", "must be a version with one dot, from 6.0 on", 'write it in quotes, such as "8.0"', 20),
]
DatabaseName = Annotated[
    Text,
    _like(
        r"[a-z][a-z0-9_]*",
        "must begin with a letter and hold a-z, 0-9 and _ only, at most 63",
        "write it such as shop",
        63,
    ),
]
DatabaseDriver = Annotated[
    Text, _like(r"[a-z][a-z0-9_]*", "must be the name of a driver", "write it such as psycopg or pymysql", 30)
]
DatabaseSnapshot = Annotated[
    Text,
    _like(
        r"(rds:)?[A-Za-z][A-Za-z0-9-]*|arn:aws[a-z-]*:rds:[a-z0-9:-]+",
        "must be the name or ARN of a snapshot of RDS",
        "take it from the console of RDS, Snapshots",
        255,
    ),
]
Zonename = Annotated[
    Text,
    _like(
        HOST_NAME,
        "must be the name of a hosted zone, in lower case",
        "write it such as example.com",
    ),
]
CertificateAuthority = Annotated[
    Text,
    _like(
        HOST_NAME,
        "must be the name that an authority gives itself",
        "write it such as amazon.com",
    ),
]
CertificateArn = Annotated[
    Text,
    _like(
        r"arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+",
        "must be the ARN of a certificate of AWS Certificate Manager",
        "take it from the console, Certificate Manager",
    ),
]
Origin = Annotated[
    Text,
    _like(
        rf"https?://({HOST_LABEL}\.)*{HOST_LABEL}(:[0-9]{{1,5}})?",
        "must be the origin of a page: scheme and host, without path",
        "write it such as https://www.example.com",
    ),
]
TagName = Annotated[str, AfterValidator(tag_name)]
TagValue = Annotated[
    Text,
    _like(
        r"[A-Za-z0-9 _.:/=+@-]*", "must be letters, digits, blanks and _ . : / = + - @", "write it such as shop", 256
    ),
]
