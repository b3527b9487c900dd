"""What is wrong between the settings of a stack on AWS, and what is set for AWS where the server is elsewhere."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from settings.aws import AwsServer, Database, Media, Network, Redis
from settings.aws_rules import HOST_NAME, grown, grows
from settings.problems import NAMESPACE, NOTHING, Given, Place, Problem, group_in, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from settings.base import Group

ON = (True, "true")
OF_NETWORK: dict[object, tuple[str, ...]] = {
    "new": ("cidr", "zones"),
    "default": (),
    "given": ("vpc", "public_subnets", "private_subnets"),
}
"""Settings that a network has by its kind; those of another kind would do nothing."""

NEEDED = {
    "vpc": "write its ID, such as vpc-0a1b2c3d4e5f60718",
    "public_subnets": "write their IDs, such as [subnet-0a1b2c3d4e5f60718]",
}
"""What a network of kind given has to say, and how."""

MANAGED: dict[str, tuple[str, type[Group]]] = {
    "database": ("rds", Database),
    "redis": ("elasticache", Redis),
    "media": ("s3", Media),
}
"""The kind of each group that is a service of AWS and hands a variable to the application."""

NO_ZONE = "name the hosted zone that the account has for the site's names, such as zone: example.com"
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
RESERVED_WORDS = ("sg", "internal")
"""What names of security groups and load balancers must not begin with (Amazon EC2 and ELB API references)."""

NEWEST_DUMPED = {"24.04": 16, "22.04": 14}
"""The newest PostgreSQL that the client of an Ubuntu release takes a dump of: its own version."""

FIRST_MAJOR = {"valkey": 7, "redis": 6}
"""The first versions of the engines that ElastiCache has and that speak TLS as it is used here."""

LONGEST_NAME_IN_A_RULE = 128
"""Characters of a name that a rule of a load balancer takes (Elastic Load Balancing API, HostHeaderConditionConfig)."""

LONGEST_FIRST_NAME = 64
"""Characters of the first name of a certificate (AWS Certificate Manager User Guide, "Public certificate
characteristics")."""

NAMES_OF_A_CERTIFICATE = 10
"""That an account may have without asking AWS for more (AWS Certificate Manager User Guide, "Quotas")."""

SEEN_AS_WELL = {"balancer": (200, 499), "health check": (200, 399)}
"""Statuses that may be healthy for a load balancer (Elastic Load Balancing API, Matcher), and that are for Route 53
(Amazon Route 53 Developer Guide, "How Route 53 determines whether a health check is healthy")."""

AMAZON = "amazon.com"
LAST_PORT = 65535
DATA_MOUNT = "/data"
"""Where the data volume is mounted."""

# What has a place of its own on each machine, by how its URL begins; the host stands behind a login, if there is one,
# or for PostgreSQL at the end (?host=…), where a path is a socket of the machine.
LOCAL_STATE = re.compile(
    r"(?P<kind>postgres(?:ql)?|mysql|mariadb|rediss?|valkeys?)(?:\+\w+)?://(?:[^@/]*@|(?![^@/]*@))"
    r"(?:localhost|127(?:\.\d+){3}|\[::1\]|(?=[:/?]|$)(?!.*[?&]host=(?!/|%2[Ff]|localhost(?:&|$))))(?=[:/?]|$)"
    r"|(?:redis\+socket|unix)://"
)


def elsewhere(given: Given, kind: object) -> Iterator[Problem]:
    """Yield what only a server of kind aws can have."""
    if kind not in ("local", "existing"):
        return
    for group, name, usual in (
        ("dns", "kind", "none"),
        ("database", "kind", "none"),
        ("redis", "kind", "none"),
        ("media", "kind", "local"),
        ("balancer", "certificate", None),
    ):
        value = given.group(group).get(name, usual)
        if value != usual:
            rule = f"is for a server of kind aws, and this one is of kind {shown(kind)}"
            yield given.problem((group, name), rule, "remove it, or take a server of kind aws")


def together(given: Given, mode: object, stack: str, region: str | None) -> Iterator[Problem]:
    """Yield what is wrong between the settings of a server of kind aws."""
    server = given.group("server")
    if region is None:
        fix = f"./pulumi config set aws:region eu-central-1 --stack {stack}"
        yield Problem(("server", "kind"), "needs the region beside it, in aws:region", NOTHING, fix)
    elif not REGION.fullmatch(region):
        rule = "needs a region of AWS in aws:region beside it"
        likely = region[:-1] if REGION.fullmatch(region[:-1]) else "eu-central-1"
        fix = f"./pulumi config set aws:region {likely} --stack {stack}"
        yield Problem(("server", "kind"), rule, shown(region), fix)
    yield from _app(given)
    if mode == "development":
        rule = "must be production on AWS, where the world would reach a debugger"
        yield Problem(("app", "mode"), rule, "development", "write mode: production, or take a server of kind local")
    if f"{given.group('layout').get('root')}/".startswith(f"{DATA_MOUNT}/"):
        rule = f"must not be {DATA_MOUNT} or below it, where the data volume is"
        yield given.problem(("layout", "root"), rule, "write /srv or /var/www")
    yield from _ways_in(given, server, stack)
    yield from _network(given, server)
    yield from _names(given, region)
    yield from _machines(given, server)
    yield from _services(given)
    if machines(server) > 1:
        yield from _several(given)


def machines(server: Mapping[str, Any]) -> int:
    """Return how many machines are asked for, as far as that can be read."""
    return _number(server.get("count", 1), 1)


def _number(value: object, otherwise: int) -> int:
    """Return a number, which may be given as text; another one where it is none, which is said elsewhere."""
    return int(str(value)) if re.fullmatch(r"[0-9]{1,9}", str(value)) else otherwise


def _app(given: Given) -> Iterator[Problem]:
    """Yield a name that AWS does not take for what is named after the application."""
    name = given.group("app").get("name")
    if isinstance(name, str) and ("--" in name or name.partition("-")[0] in RESERVED_WORDS):
        rule = f"must have no -- in it and not begin with {' or '.join(RESERVED_WORDS)} on AWS"
        yield given.problem(("app", "name"), rule, "choose another name")


def _ways_in(given: Given, server: Mapping[str, Any], stack: str) -> Iterator[Problem]:
    """Yield that nobody can log in, or that it is said twice who can."""
    credentials = given.group("credentials")
    networks, anywhere = server.get("allow_ssh_from"), server.get("allow_ssh_from_anywhere") in ON
    through_ssm, bastion = server.get("ssh") == "ssm", server.get("bastion") is not None
    if through_ssm:
        ways = {"allow_ssh_from": networks, "allow_ssh_from_anywhere": anywhere, "bastion": bastion}
        for name in (name for name, is_given in ways.items() if is_given):
            rule = "must not be given for ssh: ssm, which needs no open port"
            yield given.problem(("server", name), rule, "remove it, or remove ssh")
    elif not networks and not anywhere:
        rule = "must be given, or nobody reaches the machines to deploy to them"
        fix = (
            "list your networks and your CI's, such as [192.0.2.0/24] (that of your bastion, with one); or write "
            "ssh: ssm, which opens no port; or allow_ssh_from_anywhere: true, which opens SSH to the whole Internet"
        )
        yield Problem(("server", "allow_ssh_from"), rule, NOTHING, fix)
    elif networks and anywhere:
        rule = "must not be given where SSH is open to the world"
        yield given.problem(("server", "allow_ssh_from"), rule, "remove one of the two")
    for name, why in (("ssh_key", "whose key Pulumi makes"), ("sudo_password", "whose user needs none")):
        if credentials.get(name):
            rule = f"must not be given for a server of kind aws, {why}"
            yield given.problem(("credentials", name), rule, "remove it")
    if bastion and not through_ssm and not credentials.get("bastion_key"):
        command = f"./pulumi config set --secret --path {NAMESPACE}:credentials.bastion_key --stack {stack} < KEYFILE"
        fix = f"hand over the private key that logs in there: {command}"
        yield Problem(("credentials", "bastion_key"), "must be given where there is server.bastion", NOTHING, fix)
    if credentials.get("bastion_key") and not bastion:
        rule = "must not be given where there is no server.bastion"
        yield given.problem(("credentials", "bastion_key"), rule, "remove it, or write server.bastion")


def _network(given: Given, server: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what does not belong to the kind of network, or is missing there."""
    network = group_in(server, "network")
    kind = network.get("kind", Network.model_fields["kind"].default)
    place = ("server", "network")
    if kind not in list(OF_NETWORK):
        return
    if kind == "given":
        for name, fix in NEEDED.items():
            if not network.get(name):
                yield Problem((*place, name), "must be given for network.kind given", NOTHING, fix)
        yield from _room(given, server, network)
    alien = [(other, name) for other, names in OF_NETWORK.items() for name in names if other != kind]
    for other, name in alien:
        if network.get(name):
            rule, fix = f"is for network.kind {other}", f"remove it, or write network.kind: {other}"
            yield given.problem((*place, name), rule, fix)
    zones = _list(network.get("zones")) if kind == "new" else []
    if zones and len(zones) != 2:
        yield given.problem((*place, "zones"), "must name two zones", "write it such as [eu-central-1a, eu-central-1b]")
    if zones and server.get("zone") not in (None, *zones):
        rule = "must be one of server.network.zones"
        yield given.problem(("server", "zone"), rule, f"write one of {', '.join(map(shown, zones))}")


def _room(given: Given, server: Mapping[str, Any], network: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield that what needs subnets in two zones has one subnet of a network that is given."""
    several = machines(server) > 1
    managed = [
        f"{name}.kind {MANAGED[name][0]}"
        for name in ("database", "redis")
        if given.group(name).get("kind") == MANAGED[name][0]
    ]
    if not (several or managed):
        return
    rule = f"must be two or more, in different zones, for {' and '.join([*(['a load balancer'] * several), *managed])}"
    public, private = (_list(network.get(name)) for name in ("public_subnets", "private_subnets"))
    for name, subnets, needed in (
        ("public_subnets", public, several or not private),
        ("private_subnets", private, bool(managed)),
    ):
        if needed and len(subnets) == 1:
            yield given.problem(("server", "network", name), rule, "add one of another zone")


def _names(given: Given, region: str | None) -> Iterator[Problem]:
    """Yield what is wrong with the names of the site and who makes their records."""
    web, dns = given.group("web"), given.group("dns")
    if not web.get("domains"):
        rule = "must be given for a server of kind aws, whose address is known only when it is there"
        yield Problem(("web", "domains"), rule, NOTHING, "write the names of the site, such as [www.example.com]")
    for key in ("domains", "redirects"):
        names = web.get(key)
        for at, name in enumerate(names if isinstance(names, list | tuple) else ()):
            if _is_address(name):
                rule = "must be a name for a server of kind aws, whose address is known only when it is there"
                yield given.problem(("web", key, at), rule, "remove it")
    if dns.get("kind") == "route53":
        yield from _zone(given, [name for _, name in _site_names(given)])
    else:
        for name in ("zone", "health_check", "caa"):
            if dns.get(name) not in (None, False, "false", []):
                yield given.problem(("dns", name), "is for dns.kind route53", "remove it, or write kind: route53")
    several = machines(given.group("server")) > 1
    yield from _certificate(given, region, several=several)
    if several:
        yield from _balanced_names(given, made=dns.get("kind") == "route53")
    yield from _seen_as_well(given, several=several)


def _site_names(given: Given) -> Iterator[tuple[Place, str]]:
    """Yield all names of the site, each with where it stands."""
    for key in ("domains", "redirects"):
        for at, name in enumerate(_list(given.group("web").get(key))):
            yield ("web", key, at), name


def _balanced_names(given: Given, *, made: bool) -> Iterator[Problem]:
    """Yield names that a load balancer, or its certificate if one is made, does not take."""
    names = list(_site_names(given))
    if made and len(names) > NAMES_OF_A_CERTIFICATE:
        rule = f"must be at most {NAMES_OF_A_CERTIFICATE} names with web.redirects, which a certificate of AWS has"
        fix = "remove some, or write dns.kind: none and a balancer.certificate of an account that may have more"
        yield Problem(("web", "domains"), rule, f"{len(names)}", fix)
    for place, name in names:
        if "." not in name:
            rule, fix = "must have a dot behind a load balancer", "write it whole, such as www.example.com"
            yield given.problem(place, rule, fix)
        longest = LONGEST_FIRST_NAME if made and place == ("web", "domains", 0) else LONGEST_NAME_IN_A_RULE
        if len(name) > longest:
            rule = f"must have at most {longest} characters behind a load balancer"
            fix = "write a shorter one first" if longest == LONGEST_FIRST_NAME else "write a shorter one"
            yield given.problem(place, rule, fix)


def _seen_as_well(given: Given, *, several: bool) -> Iterator[Problem]:
    """Yield a healthy status that AWS would take for a failure."""
    status = _number(group_in(given.group("app"), "health").get("status"), 200)
    asking = {"balancer": several, "health check": given.group("dns").get("health_check") in ON}
    for who, (least, most) in SEEN_AS_WELL.items():
        if asking[who] and not least <= status <= most:
            rule = f"must be from {least} to {most} for the {who} of AWS"
            yield given.problem(("app", "health", "status"), rule, "answer the health path with 200")


def _zone(given: Given, names: list[str]) -> Iterator[Problem]:
    """Yield what is wrong with the hosted zone that shall have the records of these names."""
    dns = given.group("dns")
    zone = dns.get("zone")
    if not zone:
        yield Problem(("dns", "zone"), "must be given for dns.kind route53", NOTHING, NO_ZONE)
    # What is no zone at all is told by itself.
    is_name = isinstance(zone, str) and re.fullmatch(HOST_NAME, zone, re.ASCII)
    outside = [name for name in names if not f".{name}".removeprefix(".*").endswith(f".{zone}")]
    if is_name and outside:
        rule = f"must be the zone of all names of the site, and is not that of {' and '.join(map(shown, outside))}"
        fix = "write the zone that has them all, take what is outside of it out of the site, or write dns.kind: none"
        yield given.problem(("dns", "zone"), rule, fix)
    authorities = _list(dns.get("caa"))
    if machines(given.group("server")) > 1 and authorities and AMAZON not in authorities:
        rule = f"must name {AMAZON}, whose certificate the load balancer has"
        yield given.problem(("dns", "caa"), rule, "add it, or leave caa out")


def _certificate(given: Given, region: str | None, *, several: bool) -> Iterator[Problem]:
    """Yield that the load balancer has no certificate, two or one of elsewhere, or that there is no load balancer."""
    certificate, made = given.group("balancer").get("certificate"), given.group("dns").get("kind") == "route53"
    place = ("balancer", "certificate")
    if several and not made and not certificate:
        rule = "must be given for a load balancer with dns.kind none, where nobody can prove the names for you"
        fix = (
            "request one for the site's names in AWS Certificate Manager, in the stack's region, make the records "
            "that it shows, and write its ARN; or write dns.kind: route53, which does all of this"
        )
        yield Problem(place, rule, NOTHING, fix)
    if several and not made and isinstance(certificate, str) and region:
        there = certificate.split(":")[3:4]
        if there and there != [region]:
            rule = f"must be in the region of the load balancer, which is {region}"
            yield given.problem(place, rule, "request one there, in AWS Certificate Manager")
    if several and made and certificate:
        rule = "must not be given for dns.kind route53, where a certificate is made"
        yield given.problem(place, rule, "remove it")
    if certificate and not several:
        rule = "must not be given without a load balancer, which there is from server.count 2 on"
        yield given.problem(place, rule, "remove it")


def _machines(given: Given, server: Mapping[str, Any]) -> Iterator[Problem]:
    if server.get("ami") and server.get("rebuild"):
        rule = "must not be given beside server.ami, which says exactly which image"
        yield given.problem(("server", "rebuild"), rule, "remove one of the two")
    first = _number(server.get("ssm_port"), AwsServer.model_fields["ssm_port"].default)
    if server.get("ssh") == "ssm" and first <= LAST_PORT < first + machines(server) - 1:
        rule = f"must leave room for the ports of {machines(server)} machines, one each"
        yield given.problem(("server", "ssm_port"), rule, "write a smaller one, such as 22022")


def _services(given: Given) -> Iterator[Problem]:
    """Yield variables that two hand to the application, and sizes that contradict each other."""
    taken: dict[str, str] = {}
    for group, (kind, model) in MANAGED.items():
        inside = given.group(group)
        if inside.get("kind") != kind:
            continue
        variable = str(inside.get("variable", model.model_fields["variable"].default))
        for written in ("env", "secrets"):
            if variable in given.group(written):
                rule = f"must not be given, since {group}.kind {kind} hands it to the application"
                yield given.problem((written, variable), rule, f"remove it, or write another {group}.variable")
        other = taken.setdefault(variable, group)
        if other != group:
            # The one that was written; the other one may be a default.
            at_fault, rival = (group, other) if "variable" in inside else (other, group)
            rule = f"must differ from {rival}.variable, which is {shown(variable)}"
            yield given.problem((at_fault, "variable"), rule, "choose another name")
    yield from _region_variable(given)
    yield from _dumps(given)
    yield from _cache(given)
    database = given.group("database")
    size, limit = (
        _number(database.get(name), Database.model_fields[name].default) for name in ("storage", "storage_limit")
    )
    least = grown(size)
    if database.get("kind") == MANAGED["database"][0] and not grows(size, limit):
        if "storage_limit" in database:
            rule = f"must leave 10 % at the least above database.storage, which is {size}"
            fix = f"write {least} or more, or {size} for a disk that does not grow by itself"
            yield given.problem(("database", "storage_limit"), rule, fix)
        else:
            rule = f"must be 10 % at the least below database.storage_limit, which is {limit} by default"
            fix = f"write database.storage_limit: {least} or more as well, or {size} for a disk that does not grow"
            yield given.problem(("database", "storage"), rule, fix)


def _cache(given: Given) -> Iterator[Problem]:
    """Yield a version that the engine of the cache never had."""
    redis = given.group("redis")
    first = FIRST_MAJOR.get(str(redis.get("engine", Redis.model_fields["engine"].default)))
    version = redis.get("version")
    if first and isinstance(version, str) and re.match(r"[0-9]\.", version) and int(version[0]) < first:
        rule = f"must be {first}.0 or newer for this engine"
        yield given.problem(("redis", "version"), rule, "write a newer one, or another redis.engine")


def _region_variable(given: Given) -> Iterator[Problem]:
    for group in ("env", "secrets"):
        if given.group("media").get("kind") == "s3" and Media.region_variable in given.group(group):
            rule = "must not be given, since media.kind s3 hands it to the application"
            yield given.problem((group, Media.region_variable), rule, "remove it")


def _dumps(given: Given) -> Iterator[Problem]:
    """Yield that a dump before migrations would fail, for the machine's client is older than the database."""
    server, database = given.group("server"), given.group("database")
    if given.group("app").get("backup_before_migrate") not in ON or database.get("kind") != "rds":
        return
    ubuntu = str(server.get("ubuntu", AwsServer.model_fields["ubuntu"].default))
    newest = NEWEST_DUMPED.get(ubuntu)
    version = str(database.get("version", Database.usual_versions["postgresql"])).partition(".")[0]
    if newest and database.get("engine", "postgresql") == "postgresql" and version.isdigit() and int(version) > newest:
        rule = f"must not be given with PostgreSQL {version}, which the client of Ubuntu {ubuntu} takes no dump of"
        fix = f'remove it, since RDS goes back to any minute by itself, or write database.version: "{newest}"'
        yield given.problem(("app", "backup_before_migrate"), rule, fix)


def _several(given: Given) -> Iterator[Problem]:
    """Yield state that each of several machines would have for itself, though they must have it together."""
    web, media = given.group("web"), given.group("media")
    if media.get("kind", "local") == "local":
        rule = "must not be local with several machines, each of which would have uploads of its own"
        fix = "write kind: s3 for one bucket, kind: none where there are no uploads, or server.count: 1"
        yield Problem(("media", "kind"), rule, "local", fix)
    if web.get("https") in (False, "false"):
        rule = "must be true behind a load balancer, which asks the machines over TLS"
        yield given.problem(("web", "https"), rule, "remove it")
    home = f"{given.group('layout').get('root', '/srv')}/{given.group('app').get('name')}"
    for group in ("env", "secrets"):
        for name, value in given.group(group).items():
            if not isinstance(value, str) or value.startswith("sqlite:"):
                continue
            found = LOCAL_STATE.match(value)
            if found:
                kind = found["kind"] or "redis"
                service = "database.kind: rds" if kind[:2] in ("po", "my", "ma") else "redis.kind: elasticache"
                rule = "must not lead to the machine itself with several machines, each of which would have its own"
                yield given.problem((group, name), rule, f"remove it and write {service}, or server.count: 1")
            elif value == home or f"{value}/".startswith(f"{home}/shared/"):
                rule = "must not be a folder of the machine itself with several machines"
                yield given.problem((group, name), rule, "remove it and write media.kind: s3, or server.count: 1")


def _list(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list | tuple) else []


def _is_address(name: object) -> bool:
    try:
        ipaddress.ip_address(name if isinstance(name, str) else "")
    except ValueError:
        return False
    return True
