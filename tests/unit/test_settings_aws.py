"""What the settings of a stack on AWS may say together, and what a person reads where they contradict each other."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

import settings
from settings import aws_rules
from tests.components import scenario
from tests.unit.test_settings import BASTION, EXISTING, ON_AWS, PRIVATE_KEY, REGION, SMALLEST, at_place, load, problems

unhurried = hypothesis_settings(deadline=None)

SUBNET, OTHER_SUBNET = "subnet-0a1b2c3d4e5f60718", "subnet-0a1b2c3d4e5f60719"
VPC = "vpc-0a1b2c3d4e5f60718"
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/7a1b2c3d-0000-4000-8000-1a2b3c4d5e6f"
ELSEWHERE = CERTIFICATE.replace("eu-central-1", "us-east-1")
LONG_NAME = f"{'a' * 53}.example.com"
LONGER_NAME = f"{'a' * 59}.{'b' * 59}.example.com"
KEY = "0123456789abcdef0123456789abcdef"

Changes = dict[str, Any]


def config(base: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """Return a configuration with values put in at dotted places."""
    for place, value in changes.items():
        base = at_place(base, place, value)
    return base


ONE = config(ON_AWS, {"dns": {"kind": "route53", "zone": "example.com"}})
SEVERAL = config(ONE, {"server.count": 2, "media": {"kind": "s3"}})
SSM = config(ONE, {"server": {"kind": "aws", "ssh": "ssm"}})
GIVEN = config(ONE, {"server.network": {"kind": "given", "vpc": VPC, "public_subnets": [SUBNET]}})
RDS = config(ONE, {"database": {"kind": "rds"}})
ALL = config(SEVERAL, {"database": {"kind": "rds"}, "redis": {"kind": "elasticache"}})
BASES = {"one": ONE, "several": SEVERAL, "ssm": SSM, "given": GIVEN, "rds": RDS, "all": ALL}

NO_WAY_IN = (
    "server.allow_ssh_from: must be given, or nobody reaches the machines to deploy to them (got nothing): list your "
    "networks and your CI's, such as [192.0.2.0/24] (that of your bastion, with one); or write ssh: ssm, which opens "
    "no port; or allow_ssh_from_anywhere: true, which opens SSH to the whole Internet"
)
NO_CERTIFICATE = (
    "balancer.certificate: must be given for a load balancer with dns.kind none, where nobody can prove the names for "
    "you (got nothing): request one for the site's names in AWS Certificate Manager, in the stack's region, make the "
    "records that it shows, and write its ARN; or write dns.kind: route53, which does all of this"
)
ITS_OWN = "must not lead to the machine itself with several machines, each of which would have its own"
ITS_FOLDER = "must not be a folder of the machine itself with several machines"
NAMED_LATER = "for a server of kind aws, whose address is known only when it is there"
OUTSIDE = "write the zone that has them all, take what is outside of it out of the site, or write dns.kind: none"
TO_ONE_ZONE = "must be two or more, in different zones, for"

PROBLEMS: dict[str, tuple[dict[str, Any], Changes, str | list[str]]] = {
    "development": (
        ONE,
        {"app.mode": "development"},
        (
            "app.mode: must be production on AWS, where the world would reach a debugger (got development): write "
            "mode: production, or take a server of kind local"
        ),
    ),
    "the root is the data volume": (
        ONE,
        {"layout": {"root": "/data"}},
        "layout.root: must not be /data or below it, where the data volume is (got '/data'): write /srv or /var/www",
    ),
    "the root is on the data volume": (
        ONE,
        {"layout": {"root": "/data/apps"}},
        (
            "layout.root: must not be /data or below it, where the data volume is (got '/data/apps'): write /srv or "
            "/var/www"
        ),
    ),
    "no way in": (ONE, {"server": {"kind": "aws"}}, NO_WAY_IN),
    "no way in, in words": (ONE, {"server": {"kind": "aws", "allow_ssh_from_anywhere": "false"}}, NO_WAY_IN),
    "an empty list of ways in": (ONE, {"server.allow_ssh_from": []}, NO_WAY_IN),
    "networks and the world": (
        ONE,
        {"server.allow_ssh_from_anywhere": True},
        (
            'server.allow_ssh_from: must not be given where SSH is open to the world (got ["192.0.2.0/24"]): remove '
            "one "
            "of the two"
        ),
    ),
    "a network for ssm": (
        SSM,
        {"server.allow_ssh_from": ["192.0.2.0/24"]},
        (
            'server.allow_ssh_from: must not be given for ssh: ssm, which needs no open port (got ["192.0.2.0/24"]): '
            "remove it, or remove ssh"
        ),
    ),
    "the world for ssm": (
        SSM,
        {"server.allow_ssh_from_anywhere": True},
        (
            "server.allow_ssh_from_anywhere: must not be given for ssh: ssm, which needs no open port (got true): "
            "remove it, or remove ssh"
        ),
    ),
    "a bastion for ssm": (
        SSM,
        {"server.bastion": BASTION},
        (
            'server.bastion: must not be given for ssh: ssm, which needs no open port (got {"address": '
            '"bastion.example.com", "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5… (138 characters)): remove it, or '
            "remove ssh"
        ),
    ),
    "a login key": (
        ONE,
        {"credentials": {"ssh_key": PRIVATE_KEY}},
        (
            "credentials.ssh_key: must not be given for a server of kind aws, whose key Pulumi makes (got [secret]): "
            "remove it"
        ),
    ),
    "a password for sudo": (
        ONE,
        {"credentials": {"sudo_password": "x"}},
        (
            "credentials.sudo_password: must not be given for a server of kind aws, whose user needs none (got "
            "[secret]): remove it"
        ),
    ),
    "a bastion without its key": (
        ONE,
        {"server.bastion": BASTION},
        (
            "credentials.bastion_key: must be given where there is server.bastion (got nothing): hand over the private "
            "key that logs in there: ./pulumi config set --secret --path flaskhost:credentials.bastion_key --stack "
            "prod < KEYFILE"
        ),
    ),
    "a key without its bastion": (
        ONE,
        {"credentials": {"bastion_key": PRIVATE_KEY}},
        (
            "credentials.bastion_key: must not be given where there is no server.bastion (got [secret]): remove it, or "
            "write server.bastion"
        ),
    ),
    "a given network that names nothing": (
        ONE,
        {"server.network": {"kind": "given"}},
        [
            (
                "server.network.public_subnets: must be given for network.kind given (got nothing): write their IDs, "
                "such as [subnet-0a1b2c3d4e5f60718]"
            ),
            (
                "server.network.vpc: must be given for network.kind given (got nothing): write its ID, such as "
                "vpc-0a1b2c3d4e5f60718"
            ),
        ],
    ),
    "what is of a given network for a new one": (
        ONE,
        {"server.network": {"vpc": VPC, "public_subnets": [SUBNET], "private_subnets": [OTHER_SUBNET]}},
        [
            (
                f'server.network.private_subnets: is for network.kind given (got ["{OTHER_SUBNET}"]): remove it, or '
                "write "
                "network.kind: given"
            ),
            (
                f'server.network.public_subnets: is for network.kind given (got ["{SUBNET}"]): remove it, or write '
                "network.kind: given"
            ),
            f"server.network.vpc: is for network.kind given (got '{VPC}'): remove it, or write network.kind: given",
        ],
    ),
    "what is of a new network for the default one": (
        ONE,
        {"server.network": {"kind": "default", "cidr": "10.30.0.0/16", "zones": ["eu-central-1a", "eu-central-1b"]}},
        [
            "server.network.cidr: is for network.kind new (got '10.30.0.0/16'): remove it, or write network.kind: new",
            (
                'server.network.zones: is for network.kind new (got ["eu-central-1a", "eu-central-1b"]): remove it, or '
                "write network.kind: new"
            ),
        ],
    ),
    "what is of a new network for a given one": (
        GIVEN,
        {"server.network.cidr": "10.30.0.0/16"},
        "server.network.cidr: is for network.kind new (got '10.30.0.0/16'): remove it, or write network.kind: new",
    ),
    "one zone": (
        ONE,
        {"server.network": {"zones": ["eu-central-1a"]}},
        (
            'server.network.zones: must name two zones (got ["eu-central-1a"]): write it such as [eu-central-1a, '
            "eu-central-1b]"
        ),
    ),
    "a machine outside of the zones": (
        ONE,
        {"server.network": {"zones": ["eu-central-1a", "eu-central-1b"]}, "server.zone": "eu-central-1c"},
        (
            "server.zone: must be one of server.network.zones (got 'eu-central-1c'): write one of 'eu-central-1a', "
            "'eu-central-1b'"
        ),
    ),
    "one subnet for a load balancer": (
        SEVERAL,
        {"server.network": {"kind": "given", "vpc": VPC, "public_subnets": [SUBNET]}},
        f'server.network.public_subnets: {TO_ONE_ZONE} a load balancer (got ["{SUBNET}"]): add one of another zone',
    ),
    "one subnet for all": (
        ALL,
        {
            "server.network": {
                "kind": "given",
                "vpc": VPC,
                "public_subnets": [SUBNET],
                "private_subnets": [OTHER_SUBNET],
            }
        },
        [
            (
                f"server.network.private_subnets: {TO_ONE_ZONE} a load balancer and database.kind rds and redis.kind "
                f'elasticache (got ["{OTHER_SUBNET}"]): add one of another zone'
            ),
            (
                f"server.network.public_subnets: {TO_ONE_ZONE} a load balancer and database.kind rds and redis.kind "
                f'elasticache (got ["{SUBNET}"]): add one of another zone'
            ),
        ],
    ),
    "one private subnet for a database": (
        GIVEN,
        {"server.network.private_subnets": [OTHER_SUBNET], "database": {"kind": "rds"}},
        (
            f'server.network.private_subnets: {TO_ONE_ZONE} database.kind rds (got ["{OTHER_SUBNET}"]): add one of '
            "another zone"
        ),
    ),
    "one public subnet for a database": (
        GIVEN,
        {"database": {"kind": "rds"}},
        f'server.network.public_subnets: {TO_ONE_ZONE} database.kind rds (got ["{SUBNET}"]): add one of another zone',
    ),
    "no name": (
        ONE,
        {"web": {"domains": []}},
        (
            f"web.domains: must be given {NAMED_LATER} (got nothing): write the names of the site, such as "
            "[www.example.com]"
        ),
    ),
    "an address for a name": (
        ON_AWS,
        {"web.domains": ["example.com", "192.0.2.7"]},
        f"web.domains[1]: must be a name {NAMED_LATER} (got '192.0.2.7'): remove it",
    ),
    "an address for a name that leads on": (
        ON_AWS,
        {"web.redirects": ["192.0.2.7"]},
        f"web.redirects[0]: must be a name {NAMED_LATER} (got '192.0.2.7'): remove it",
    ),
    "a zone that nobody writes to": (
        ON_AWS,
        {"dns": {"zone": "example.com"}},
        "dns.zone: is for dns.kind route53 (got 'example.com'): remove it, or write kind: route53",
    ),
    "a health check that nobody makes": (
        ON_AWS,
        {"dns": {"health_check": True}},
        "dns.health_check: is for dns.kind route53 (got true): remove it, or write kind: route53",
    ),
    "authorities that nobody writes": (
        ON_AWS,
        {"dns": {"caa": ["letsencrypt.org"]}},
        'dns.caa: is for dns.kind route53 (got ["letsencrypt.org"]): remove it, or write kind: route53',
    ),
    "no zone": (
        ONE,
        {"dns": {"kind": "route53"}},
        (
            "dns.zone: must be given for dns.kind route53 (got nothing): name the hosted zone that the account has for "
            "the site's names, such as zone: example.com"
        ),
    ),
    "a name outside of the zone": (
        ONE,
        {"web.domains": ["example.com", "example.org"]},
        (
            "dns.zone: must be the zone of all names of the site, and is not that of 'example.org' (got "
            f"'example.com'): {OUTSIDE}"
        ),
    ),
    "names outside of the zone": (
        ONE,
        {"web.domains": ["shop.example.com", "*.example.org"], "web.redirects": ["myexample.com"]},
        (
            "dns.zone: must be the zone of all names of the site, and is not that of '*.example.org' and "
            f"'myexample.com' (got 'example.com'): {OUTSIDE}"
        ),
    ),
    "a zone below the site's name": (
        ONE,
        {"dns.zone": "shop.example.com"},
        (
            "dns.zone: must be the zone of all names of the site, and is not that of 'example.com' (got "
            f"'shop.example.com'): {OUTSIDE}"
        ),
    ),
    "authorities without Amazon": (
        SEVERAL,
        {"dns.caa": ["letsencrypt.org"]},
        (
            'dns.caa: must name amazon.com, whose certificate the load balancer has (got ["letsencrypt.org"]): add it, '
            "or "
            "leave caa out"
        ),
    ),
    "no certificate": (SEVERAL, {"dns": {"kind": "none"}}, NO_CERTIFICATE),
    "two certificates": (
        SEVERAL,
        {"balancer": {"certificate": CERTIFICATE}},
        (
            "balancer.certificate: must not be given for dns.kind route53, where a certificate is made (got "
            f"'{CERTIFICATE[:79]}…' (88 characters)): remove it"
        ),
    ),
    "a certificate for nothing": (
        ONE,
        {"balancer": {"certificate": CERTIFICATE}},
        (
            "balancer.certificate: must not be given without a load balancer, which there is from server.count 2 on "
            f"(got '{CERTIFICATE[:79]}…' (88 characters)): remove it"
        ),
    ),
    "a status that no load balancer takes for well": (
        SEVERAL,
        {"app.health": {"status": 503}},
        (
            "app.health.status: must be from 200 to 499 for the balancer of AWS (got 503): answer the health path with "
            "200"
        ),
    ),
    "a status that Route 53 takes for a failure": (
        ONE,
        {"app.health": {"status": "401"}, "dns.health_check": True},
        (
            "app.health.status: must be from 200 to 399 for the health check of AWS (got '401'): answer the health "
            "path with 200"
        ),
    ),
    "a first name that is too long for a certificate": (
        SEVERAL,
        {"web.domains": [LONG_NAME]},
        (
            f"web.domains[0]: must have at most 64 characters behind a load balancer (got '{LONG_NAME}'): write a "
            "shorter one first"
        ),
    ),
    "a name that is too long for a rule": (
        SEVERAL,
        {"web.redirects": [LONGER_NAME]},
        (
            f"web.redirects[0]: must have at most 128 characters behind a load balancer (got '{LONGER_NAME[:79]}…' "
            "(133 characters)): write a shorter one"
        ),
    ),
    "more names than a certificate has": (
        SEVERAL,
        {"web": {"domains": ["example.com"], "redirects": [f"{word}.example.com" for word in "abcdefghij"]}},
        (
            "web.domains: must be at most 10 names with web.redirects, which a certificate of AWS has (got 11): remove "
            "some, or write dns.kind: none and a balancer.certificate of an account that may have more"
        ),
    ),
    "a name without a dot": (
        config(SEVERAL, {"dns": {"kind": "none"}, "balancer": {"certificate": CERTIFICATE}}),
        {"web.redirects": ["shop"]},
        (
            "web.redirects[0]: must have a dot behind a load balancer (got 'shop'): write it whole, such as "
            "www.example.com"
        ),
    ),
    "a certificate of elsewhere": (
        SEVERAL,
        {"dns": {"kind": "none"}, "balancer": {"certificate": ELSEWHERE}},
        (
            f"balancer.certificate: must be in the region of the load balancer, which is {REGION} (got "
            f"'{ELSEWHERE[:79]}…' (85 characters)): request one there, in AWS Certificate Manager"
        ),
    ),
    "a Valkey that never was": (
        ALL,
        {"redis.version": "6.2"},
        ("redis.version: must be 7.0 or newer for this engine (got '6.2'): write a newer one, or another redis.engine"),
    ),
    "two images": (
        ONE,
        {"server.ami": "ami-0a1b2c3d4e5f60718", "server.rebuild": "2026-12"},
        (
            "server.rebuild: must not be given beside server.ami, which says exactly which image (got '2026-12'): "
            "remove one of the two"
        ),
    ),
    "no ports for all": (
        config(SEVERAL, {"server": {"kind": "aws", "ssh": "ssm", "count": 3}}),
        {"server.ssm_port": 65534},
        (
            "server.ssm_port: must leave room for the ports of 3 machines, one each (got 65534): write a smaller one, "
            "such as 22022"
        ),
    ),
    "a URL that RDS makes": (
        RDS,
        {"env": {"DATABASE_URL": "postgresql://db.internal/shop"}},
        (
            "env.DATABASE_URL: must not be given, since database.kind rds hands it to the application (got "
            "'postgresql://db.internal/shop'): remove it, or write another database.variable"
        ),
    ),
    "a secret that ElastiCache makes": (
        ALL,
        {"secrets": {"REDIS_URL": "redis://:p@cache.internal"}, "digest_key": KEY},
        (
            "secrets.REDIS_URL: must not be given, since redis.kind elasticache hands it to the application (got "
            "[secret]): remove it, or write another redis.variable"
        ),
    ),
    "a bucket that is made": (
        SEVERAL,
        {"env": {"UPLOADS": "mine"}, "media.variable": "UPLOADS"},
        (
            "env.UPLOADS: must not be given, since media.kind s3 hands it to the application (got 'mine'): remove it, "
            "or write another media.variable"
        ),
    ),
    "one variable for two services": (
        ALL,
        {"redis.variable": "DATABASE_URL"},
        (
            "redis.variable: must differ from database.variable, which is 'DATABASE_URL' (got 'DATABASE_URL'): choose "
            "another name"
        ),
    ),
    "one variable for a later service": (
        ALL,
        {"database.variable": "REDIS_URL"},
        (
            "database.variable: must differ from redis.variable, which is 'REDIS_URL' (got 'REDIS_URL'): choose "
            "another name"
        ),
    ),
    "a limit below the size": (
        RDS,
        {"database.storage": 200, "database.storage_limit": "150"},
        (
            "database.storage_limit: must leave 10 % at the least above database.storage, which is 200 (got '150'): "
            "write 220 or more, or 200 for a disk that does not grow by itself"
        ),
    ),
    "a limit that RDS does not grow to": (
        RDS,
        {"database.storage": 91, "database.storage_limit": 100},
        (
            "database.storage_limit: must leave 10 % at the least above database.storage, which is 91 (got 100): "
            "write 101 or more, or 91 for a disk that does not grow by itself"
        ),
    ),
    "a size above the usual limit": (
        RDS,
        {"database.storage": 200},
        (
            "database.storage: must be 10 % at the least below database.storage_limit, which is 100 by default (got "
            "200): write database.storage_limit: 220 or more as well, or 200 for a disk that does not grow"
        ),
    ),
    "uploads on each machine": (
        SEVERAL,
        {"media": {}},
        (
            "media.kind: must not be local with several machines, each of which would have uploads of its own (got "
            "local): write kind: s3 for one bucket, kind: none where there are no uploads, or server.count: 1"
        ),
    ),
    "no TLS behind a load balancer": (
        SEVERAL,
        {"web.https": False},
        "web.https: must be true behind a load balancer, which asks the machines over TLS (got false): remove it",
    ),
    "SQLite on each machine": (
        SEVERAL,
        {"env": {"DATABASE_URL": "sqlite:////srv/guestbook/shared/data/shop.db"}},
        (
            "env.DATABASE_URL: must not be an SQLite database with several hosts, each of which would have one of its "
            "own (got 'sqlite:////srv/guestbook/shared/data/shop.db'): remove it and write database.kind: rds, or "
            "server.count: 1"
        ),
    ),
    "a secret database of each machine": (
        SEVERAL,
        {"secrets": {"DATABASE_URL": "postgresql://u:p@localhost/x"}, "digest_key": KEY},
        f"secrets.DATABASE_URL: {ITS_OWN} (got [secret]): remove it and write database.kind: rds, or server.count: 1",
    ),
    "a folder of each machine": (
        SEVERAL,
        {"env": {"MEDIA_ROOT": "/srv/guestbook/shared/media"}},
        (
            f"env.MEDIA_ROOT: {ITS_FOLDER} (got '/srv/guestbook/shared/media'): remove it and write media.kind: s3, or "
            "server.count: 1"
        ),
    ),
    "a folder below another root": (
        SEVERAL,
        {"env": {"MEDIA_ROOT": "/var/www/guestbook/shared"}, "layout": {"root": "/var/www"}},
        (
            f"env.MEDIA_ROOT: {ITS_FOLDER} (got '/var/www/guestbook/shared'): remove it and write media.kind: s3, or "
            "server.count: 1"
        ),
    ),
    "the application's folder": (
        SEVERAL,
        {"env": {"BASE": "/srv/guestbook"}},
        f"env.BASE: {ITS_FOLDER} (got '/srv/guestbook'): remove it and write media.kind: s3, or server.count: 1",
    ),
    "a maintenance page of one machine": (
        SEVERAL,
        {"app.maintenance": True},
        (
            "app.maintenance: must not be given with several hosts, of which only the first would show the maintenance "
            "page (got true): write migrations that the release before can live with, or use one host"
        ),
    ),
    "drift of machines that are to be made": (
        ONE,
        {"drift": "preview"},
        (
            "drift: must be off for a server of kind aws, whose keys Pulumi makes (got 'preview'): remove it: `python3 "
            "-m ops drift` looks at any server"
        ),
    ),
}


@pytest.mark.parametrize(("base", "changes", "lines"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_settings_contradict_each_other_is_said_in_one_line(
    base: dict[str, Any], changes: Changes, lines: str | list[str]
) -> None:
    """Promise: the setting, the rule, the value and the way out, before AWS is asked for anything."""
    wanted = [lines] if isinstance(lines, str) else lines
    assert problems(config(base, changes), region=REGION) == [f"flaskhost:{line}" for line in wanted]


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_what_the_tables_begin_with_is_right(base: dict[str, Any]) -> None:
    """Promise: each problem above is that of its change, and of nothing else."""
    assert load(base, region=REGION).server.kind == "aws"


@pytest.mark.parametrize(
    ("region", "likely"),
    [("eu-central-1a", "eu-central-1"), ("eu-central", "eu-central-1"), ("Ireland", "eu-central-1")],
)
def test_what_is_no_region_is_said_before_aws_is_asked(region: str, likely: str) -> None:
    """Promise: a zone is the likeliest mistake, and its region the likeliest meaning."""
    with pytest.raises(settings.ConfigurationError) as found:
        settings.load(scenario.config(**scenario.ON_AWS), stack="shop", region=region)
    assert str(found.value) == (
        f"flaskhost:server.kind: needs a region of AWS in aws:region beside it (got '{region}'): "
        f"./pulumi config set aws:region {likely} --stack shop"
    )


@pytest.mark.parametrize("name", ["my--app", "sg", "sg-shop", "internal-shop"])
def test_a_name_that_aws_does_not_take_is_said(name: str) -> None:
    """Promise: before a database or a load balancer is half made."""
    with pytest.raises(settings.ConfigurationError, match=r"app\.name: must have no -- in it and not begin with sg"):
        settings.load(scenario.config(**scenario.ON_AWS, app__name=name), stack="prod", region="eu-central-1")


@pytest.mark.parametrize(("ubuntu", "version", "newest"), [("24.04", "17", 16), ("22.04", "16", 14)])
def test_a_dump_that_the_machines_client_cannot_take_is_said(ubuntu: str, version: str, newest: int) -> None:
    """Promise: and not at the first migration."""
    server = {**scenario.ON_AWS["server"], "ubuntu": ubuntu}
    changed = {**scenario.ON_AWS, "server": server, "database": {"kind": "rds", "version": version}}
    with pytest.raises(settings.ConfigurationError, match=rf'backup_before_migrate: .*database\.version: "{newest}"'):
        settings.load(scenario.config(**changed, app__backup_before_migrate=True), stack="prod", region="eu-central-1")


def test_the_region_of_the_bucket_is_handed_over_once() -> None:
    """Promise: two values for one variable are a mistake, wherever they come from."""
    changed = {**scenario.ON_AWS, "media": {"kind": "s3"}, "env": {"AWS_DEFAULT_REGION": "us-east-1"}}
    with pytest.raises(settings.ConfigurationError, match=r"env\.AWS_DEFAULT_REGION: must not be given"):
        settings.load(scenario.config(**changed), stack="prod", region="eu-central-1")


def test_the_region_is_asked_for_with_the_command_that_sets_it() -> None:
    """Promise: it is a setting of Pulumi's own plugin, which nobody finds in the reference of ours."""
    assert problems(ONE, "shop") == [
        (
            "flaskhost:server.kind: needs the region beside it, in aws:region (got nothing): ./pulumi config set "
            "aws:region eu-central-1 --stack shop"
        )
    ]


def test_the_stack_of_a_developer_is_not_on_aws() -> None:
    """Promise: it is in development mode without saying so, and that is told where production can be written."""
    (line,) = problems(ONE, "dev", region=REGION)
    assert line.startswith("flaskhost:app.mode: must be production on AWS")
    assert load(config(ONE, {"app.mode": "production"}), "dev", region=REGION).app.mode == "production"


RIGHT: dict[str, tuple[dict[str, Any], Changes]] = {
    "ssm without networks": (SSM, {}),
    "ssm, and the world in words that say no": (SSM, {"server.allow_ssh_from_anywhere": "false"}),
    "the world, in words": (ONE, {"server": {"kind": "aws", "allow_ssh_from_anywhere": "true"}}),
    "a bastion with its key": (ONE, {"server.bastion": BASTION, "credentials": {"bastion_key": PRIVATE_KEY}}),
    "a root beside the data volume": (ONE, {"layout": {"root": "/database"}}),
    "a given network for one machine": (GIVEN, {}),
    "one subnet where nothing needs two": (GIVEN, {"server.network.private_subnets": [OTHER_SUBNET]}),
    "a given network for all": (
        ALL,
        {"server.network": {"kind": "given", "vpc": VPC, "public_subnets": [SUBNET, OTHER_SUBNET]}},
    ),
    "one public subnet, two for the database": (
        GIVEN,
        {"server.network.private_subnets": [SUBNET, OTHER_SUBNET], "database": {"kind": "rds"}},
    ),
    "a zone of the network": (
        ONE,
        {"server.network": {"zones": ["eu-central-1a", "eu-central-1b"]}, "server.zone": "eu-central-1b"},
    ),
    "the usual network, and a zone": (ONE, {"server.zone": "eu-central-1c"}),
    "any subdomain of the zone": (ONE, {"web.domains": ["example.com", "*.example.com"]}),
    "any subdomain alone": (ONE, {"web.domains": ["*.example.com"]}),
    "a name that leads on": (ONE, {"web.redirects": ["www.example.com", "*.example.com"]}),
    "names of several zones that others make": (ON_AWS, {"web.redirects": ["example.org", "example.net"]}),
    "an empty list of authorities": (SEVERAL, {"dns.caa": []}),
    "an empty list where nobody makes records": (ON_AWS, {"dns": {"caa": [], "health_check": "false"}}),
    "Amazon among the authorities": (SEVERAL, {"dns.caa": ["letsencrypt.org", "amazon.com"]}),
    "another authority for one machine": (ONE, {"dns.caa": ["letsencrypt.org"]}),
    "a certificate of one's own": (SEVERAL, {"dns": {"kind": "none"}, "balancer": {"certificate": CERTIFICATE}}),
    "ports to the last one": (
        config(SEVERAL, {"server": {"kind": "aws", "ssh": "ssm", "count": 3}}),
        {"server.ssm_port": 65533},
    ),
    "ports that nobody uses": (SEVERAL, {"server.ssm_port": 65535}),
    "a URL beside that of RDS": (RDS, {"env": {"OTHER_URL": "postgresql://db.internal/x"}}),
    "a URL of another variable": (RDS, {"env": {"DATABASE_URL": "x"}, "database.variable": "MAIN_URL"}),
    "a bucket of one's own": (ONE, {"env": {"MEDIA_BUCKET": "mine"}}),
    "a status that both take for well": (
        SEVERAL,
        {"app.health": {"status": 302}, "dns.health_check": True},
    ),
    "any status where nobody of AWS asks": (ONE, {"app.health": {"status": 503}}),
    "a long name of one machine": (ONE, {"web.domains": [LONG_NAME], "web.redirects": [LONGER_NAME]}),
    "a name without a dot of one machine": (config(ONE, {"dns": {"kind": "none"}}), {"web.redirects": ["shop"]}),
    "as many names as a certificate has": (
        SEVERAL,
        {"web": {"domains": ["example.com"], "redirects": [f"{word}.example.com" for word in "abcdefghi"]}},
    ),
    "a long name that is not the first": (SEVERAL, {"web.domains": ["example.com", LONG_NAME]}),
    "a Redis of that version": (ALL, {"redis": {"kind": "elasticache", "engine": "redis", "version": "6.2"}}),
    "a size with its limit": (RDS, {"database.storage": 200, "database.storage_limit": 200}),
    "sizes that nobody uses": (ONE, {"database": {"storage": 200}}),
    "no uploads": (SEVERAL, {"media": {"kind": "none"}}),
    "no database with several machines": (SEVERAL, {}),
    "SQLite and uploads on one machine": (
        ONE,
        {"env": {"DATABASE_URL": "sqlite:////srv/guestbook/shared/data/shop.db", "M": "/srv/guestbook/shared/media"}},
    ),
    "Redis on one machine": (ONE, {"env": {"REDIS_URL": "redis://localhost:6379/0"}}),
    "a folder beside that of each machine": (SEVERAL, {"env": {"A": "/srv/guestbook/sharedness", "B": "/srv/guest"}}),
    "a dump of a database that the client knows": (
        RDS,
        {"app.backup_before_migrate": True, "database.version": "16"},
    ),
    "a dump of MySQL": (RDS, {"app.backup_before_migrate": True, "database.engine": "mysql"}),
}


@pytest.mark.parametrize(("base", "changes"), RIGHT.values(), ids=RIGHT)
def test_what_only_looks_like_a_contradiction_is_accepted(base: dict[str, Any], changes: Changes) -> None:
    """Promise: nobody has to work around a rule that means something else."""
    assert load(config(base, changes), region=REGION)


OF_EACH_MACHINE = {
    "postgresql://u:p@localhost/x": "database.kind: rds",
    "postgres://127.0.0.1:5432/x": "database.kind: rds",
    "postgresql+psycopg://u:p@[::1]:5432/x": "database.kind: rds",
    "postgresql:///x": "database.kind: rds",
    "postgresql+psycopg://u@/x?host=/run/postgresql": "database.kind: rds",
    "postgresql://u@/x?sslmode=disable&host=%2Frun%2Fpostgresql": "database.kind: rds",
    "postgresql://u@/x?host=localhost": "database.kind: rds",
    "mysql+pymysql://root@127.1.2.3/x": "database.kind: rds",
    "mariadb://localhost?charset=utf8": "database.kind: rds",
    "redis://localhost:6379/0": "redis.kind: elasticache",
    "rediss://:p@127.0.0.1": "redis.kind: elasticache",
    "valkey://localhost": "redis.kind: elasticache",
    "redis://": "redis.kind: elasticache",
    "redis+socket:///run/redis.sock": "redis.kind: elasticache",
    "unix:///run/redis.sock?db=1": "redis.kind: elasticache",
}
OF_ALL_MACHINES = [
    "postgresql://u:p@db.internal/x",
    "postgresql://u:p@localhost.example.com/x",
    "postgresql://localhost:p@db.internal/x",
    "postgresql+psycopg://u:p@/x?host=db.internal",
    "postgresql://u@/x?sslmode=require&host=localhost.example.com",
    "postgresql://127.0.0.1.example.com/x",
    "postgresql://10.127.0.0.1/x",
    "mysql://u:p@[2001:db8::1]/x",
    "redis://cache.example.com:6379/0",
    "redis://localhosts/0",
    "redis://:p@cache.internal",
    "rediss://user:p@cache.internal:6380/0",
    "https://localhost/",
    "amqp://localhost",
    "my postgresql://localhost",
    "localhost",
    "",
]


@pytest.mark.parametrize(("url", "service"), OF_EACH_MACHINE.items(), ids=OF_EACH_MACHINE)
def test_a_server_on_each_of_several_machines_is_refused(url: str, service: str) -> None:
    """Promise: no visitor finds another database behind each request; the service that all share is named."""
    (line,) = problems(config(SEVERAL, {"env": {"URL": url}}), region=REGION)
    assert line.startswith(f"flaskhost:env.URL: {ITS_OWN} (got '")
    assert line.endswith(f"'): remove it and write {service}, or server.count: 1")
    assert ":p@" not in line
    assert load(config(ONE, {"env": {"URL": url}}), region=REGION), "one machine may have it"


@pytest.mark.parametrize("url", OF_ALL_MACHINES, ids=lambda url: url or "empty")
def test_a_server_that_all_machines_reach_is_accepted(url: str) -> None:
    """Promise: a host whose name only begins so, or stands at the end of the URL, is somewhere else."""
    assert load(config(SEVERAL, {"env": {"URL": url}}), region=REGION)


ONLY_ON_AWS: dict[str, Changes] = {
    "dns.kind": {"dns": {"kind": "route53", "zone": "example.com"}},
    "database.kind": {"database": {"kind": "rds"}},
    "redis.kind": {"redis": {"kind": "elasticache"}},
    "media.kind": {"media": {"kind": "s3"}},
    "balancer.certificate": {"balancer": {"certificate": CERTIFICATE}},
}


@pytest.mark.parametrize(("place", "changes"), ONLY_ON_AWS.items(), ids=ONLY_ON_AWS)
@pytest.mark.parametrize("base", [SMALLEST, EXISTING], ids=["local", "existing"])
def test_what_only_aws_has_is_refused_elsewhere(base: dict[str, Any], place: str, changes: Changes) -> None:
    """Promise: a service that would not be made is not taken in silence."""
    (line,) = problems(config(base, changes))
    kind = base["server"]["kind"]
    assert line.startswith(f"flaskhost:{place}: is for a server of kind aws, and this one is of kind '{kind}' (got '")
    assert line.endswith("): remove it, or take a server of kind aws")


def test_a_server_of_no_kind_is_one_problem_and_not_one_for_each_service() -> None:
    """Promise: what follows from a typing error is not said beside it."""
    (line,) = problems(config(RDS, {"server": {"kind": "asw"}}), region=REGION)
    assert line.startswith("flaskhost:server")


def test_services_that_are_switched_off_in_words_are_accepted_elsewhere() -> None:
    """Promise: what says what holds anyway is no mistake."""
    off = {"dns": {"kind": "none"}, "database": {"kind": "none"}, "redis": {"kind": "none"}, "media": {"kind": "local"}}
    assert load(config(SMALLEST, off))


def test_a_name_does_not_lead_on_to_itself() -> None:
    """Promise: no visitor goes round in a circle."""
    circle = {"domains": ["a.example"], "redirects": ["b.example", "a.example"]}
    (line,) = problems(config(SMALLEST, {"web": circle}))
    assert line.startswith("flaskhost:web.redirects[1]: must not be in web.domains as well (got 'a.example'): remove")


@pytest.mark.parametrize(
    ("domains", "place"), [([], "web.domains"), (["*.a.example", "a.example"], "web.domains[0]")], ids=["none", "any"]
)
def test_a_name_leads_on_to_one_certain_name(domains: list[str], place: str) -> None:
    """Promise: the first domain is where redirects lead, so it has to be there and to be one name."""
    (line,) = problems(config(SMALLEST, {"web": {"domains": domains, "redirects": ["www.a.example"]}}))
    assert line.startswith(
        f"flaskhost:{place}: must be a name that redirects can lead to, since there are web.redirect"
    )
    assert line.endswith("): write the site's usual name first, such as example.com")


def test_redirects_are_accepted_on_every_kind_of_server() -> None:
    """Promise: they are a matter of Nginx, and not of AWS."""
    web = {"web": {"domains": ["a.example", "*.a.example"], "redirects": ["www.a.example", "old.example"]}}
    for base in (SMALLEST, EXISTING, ON_AWS):
        assert load(config(base, web), region=REGION).web.redirects == ("www.a.example", "old.example")


def test_one_machine_has_no_balancer_and_several_have_one() -> None:
    """Promise: the number of machines alone decides it."""
    for count, labels in ((1, ("1",)), (2, ("1", "2")), ("3", ("1", "2", "3"))):
        found = load(config(SEVERAL, {"server.count": count}), region=REGION).server
        assert isinstance(found, settings.AwsServer)
        assert (found.has_balancer, found.labels) == (len(labels) > 1, labels)


NETWORKS = st.one_of(
    st.ip_addresses(v=4).flatmap(lambda one: st.integers(0, 32).map(lambda size: f"{one}/{size}")),
    st.ip_addresses(v=6).flatmap(lambda one: st.integers(0, 128).map(lambda size: f"{one}/{size}")),
)


def aligned(text: str) -> str:
    """Return the network that an address is in."""
    return str(ipaddress.ip_network(text, strict=False))


@unhurried
@given(st.one_of(NETWORKS.map(aligned), NETWORKS, st.text(max_size=20)))
@example("0.0.0.0/0")
@example("::/0")
@example("0.0.0.0/0.0.0.0")
@example("128.0.0.0/1")
@example("fe80::1%eth0")
def test_no_network_of_logins_is_wider_than_somebodys_own(text: str) -> None:
    """Promise: SSH is opened to the world in the words that say so, and in no other way; what is kept is a network."""
    try:
        kept = aws_rules.login_network(text)
    except PydanticCustomError:
        return
    network = ipaddress.ip_network(kept)
    assert network.prefixlen >= {4: 8, 6: 16}[network.version]
    assert str(network) == kept, "AWS compares it as text"


@unhurried
@given(NETWORKS.map(aligned))
def test_every_network_of_logins_of_a_usual_size_is_taken(text: str) -> None:
    """Promise: the limit is the only reason to refuse one."""
    network = ipaddress.ip_network(text)
    if network.prefixlen >= {4: 8, 6: 16}[network.version]:
        assert aws_rules.login_network(text) == text


@unhurried
@given(st.one_of(NETWORKS.map(aligned), NETWORKS, st.text(max_size=20)))
@example("10.20.0.0/16")
@example("10.20.0.0")
@example("0.0.0.0/0")
def test_a_new_vpc_is_private_and_large_enough_to_be_cut(text: str) -> None:
    """Promise: four subnets fit into whatever is accepted, and it is nobody's on the Internet (RFC 1918)."""
    try:
        network = ipaddress.IPv4Network(aws_rules.vpc_network(text))
    except PydanticCustomError:
        return
    assert 16 <= network.prefixlen <= 24
    assert any(
        network.subnet_of(ipaddress.IPv4Network(one)) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    )
    assert len(list(network.subnets(prefixlen_diff=2))) == 4


@unhurried
@given(st.integers(0, 255), st.integers(16, 24))
def test_every_private_network_of_the_right_size_is_taken(second: int, size: int) -> None:
    """Promise: a network that fits beside those that a company has is not refused."""
    text = aligned(f"10.{second}.0.0/{size}")
    assert aws_rules.vpc_network(text) == text
