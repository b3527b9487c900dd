"""What a stack on AWS is made of, in which order, and what brings a new machine: on a made-up account."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from components.aws import cloud as clouds
from components.aws.database import secret_of
from components.configuration import Stopped
from settings import AwsServer
from tests.components import cloud, scenario
from tests.components.recording import record
from tests.components.scenario import ON_AWS, SEVERAL
from tests.plugins.aws import kinds
from tests.plugins.aws.account import Account

if TYPE_CHECKING:
    from planning import volumes
    from tests.components.recording import Recorder, Registered

INSTANCE, VOLUME, SNAPSHOT = "ec2/instance:Instance", "ebs/volume:Volume", "ebs/snapshot:Snapshot"
ATTACHMENT, RECORD = "ec2/volumeAttachment:VolumeAttachment", "route53/record:Record"


@pytest.fixture(scope="module")
def one() -> tuple[Recorder, Any]:
    """Return one machine, and the records of its site."""
    return cloud.deployed(**ON_AWS)


@pytest.fixture(scope="module")
def several() -> tuple[Recorder, Any]:
    """Return three machines with all managed services, and the records of their site."""
    return cloud.deployed(**SEVERAL)


def fresh() -> Account:
    """Return an account with nothing in it but what every account has."""
    return Account.open(tempfile.mkdtemp(prefix="flaskhost-account-"))


def only(recorder: Recorder, kind: str) -> Registered:
    """Return the one resource of a kind."""
    (found,) = cloud.of_kind(recorder, kind)
    return found


def before(recorder: Recorder, name: str) -> set[str]:
    """Return the names of all that has to be done before the steps of that name, by URN's last part."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        now = waiting.pop()
        for one in (each for each in recorder.every if each.name == now and each.request.custom):
            waiting += one.after - found
            found |= one.after
    return found


def test_the_type_tokens_are_these(several: tuple[Recorder, Any]) -> None:
    """Promise: a token is a part of the state; renaming one would replace what serves."""
    tokens = {one.kind for one in several[0].every if one.kind.startswith("flaskhost:")}
    assert tokens == {
        "flaskhost:server:Aws",
        "flaskhost:server:Identity",
        "flaskhost:server:Machines",
        "flaskhost:network:Network",
        "flaskhost:network:Firewall",
        "flaskhost:data:Volume",
        "flaskhost:data:Database",
        "flaskhost:data:Redis",
        "flaskhost:data:Media",
        "flaskhost:data:Connections",
        "flaskhost:site:Names",
        "flaskhost:site:Balancer",
        "flaskhost:host:Base",
        "flaskhost:site:Site",
        "flaskhost:release:Release",
    }


def test_every_resource_belongs_to_a_component(several: tuple[Recorder, Any]) -> None:
    """Promise: the tree reads as a list of what there is, and names begin with the application's."""
    for one in several[0].every:
        assert one.name.startswith("guestbook"), one.name
        if one.request.custom:
            assert one.request.parent.split("::")[2].split("$")[-1].startswith("flaskhost:"), one.name


def test_nothing_is_done_on_a_machine_before_it_can_be_reached_at_its_address(one: tuple[Recorder, Any]) -> None:
    """Promise: the first connection goes to the address that stays, with the host key that was made before."""
    recorder = one[0]
    steps = [each for each in recorder.every if each.kind.startswith("command:remote:")]
    assert {each.name for each in steps} == {
        f"guestbook-{step}"
        for step in ("command", "volume", "base", "source", "connections", "environment", "site", "release")
    }
    for step in steps:
        connection = step.inputs["connection"]
        assert connection["hostKey"] == "ssh-ed25519 AAAAhost"
        assert connection["user"] == "ubuntu"
        assert "guestbook-machine-1" in before(recorder, step.name)
    assert {step.inputs["connection"]["host"] for step in steps} == {one[1][0].split()[-1]}


def test_nothing_connects_before_the_disk_has_left_the_machine_before(one: tuple[Recorder, Any]) -> None:
    """Promise: that one is shut down then; it has the same address and the same keys, and must not be taken for new."""
    assert "guestbook-data" in before(one[0], "guestbook-command")


def test_nothing_is_written_where_the_disk_will_be_mounted(one: tuple[Recorder, Any]) -> None:
    """Promise: the base is made when the disk is there."""
    assert "guestbook-volume" in before(one[0], "guestbook-base")


@pytest.mark.parametrize(
    "change",
    [{"rebuild": "now"}, {"ubuntu": "22.04"}, {"instance_type": "t3.small"}],
    ids=["word", "release", "processor"],
)
def test_another_zone_and_another_image_at_once_are_refused(change: dict[str, str]) -> None:
    """Promise: the old machine would be another resource, and would write on while its data is copied."""
    account = fresh()
    kept(account)
    with pytest.raises(Stopped, match=r"must not ask for another zone or snapshot and for another image at once"):
        _planned(account, zone="eu-central-1b", **change)


def test_an_older_volume_is_not_taken_for_the_one_that_is_lost() -> None:
    """Promise: data of months ago never serves without a word; a snapshot that is named does."""
    account = fresh()
    kept(account)
    (older,) = account.all(f"aws:{VOLUME}")
    for tags in (older["inputs"]["tags"], older["state"]["tags"], older["state"]["tagsAll"]):
        tags["flaskhost:kept"] = "true"
    account.put(f"aws:{VOLUME}", older)
    with pytest.raises(Stopped, match=r"restore_from: must be given, since the data volume that came after vol-"):
        _planned(account)
    assert _planned(account, restore_from=snapshot(account, 20)).used.number == 2


def snapshot(account: Account, size: int, **state: Any) -> str:
    """Have the account hold a snapshot of a disk of that size in GiB; return its ID."""
    made = {"id": f"snap-0{size:016x}", "inputs": {}, "created": "2026-11-20", "state": {"volumeSize": size, **state}}
    account.put(kinds.SNAPSHOT, made)
    return str(made["id"])


@pytest.mark.parametrize(
    ("size", "state", "line"),
    [
        (21, {}, r"data_volume: must not be below 21, which the snapshot has \(got 20\): write 21 or more"),
        (20, {"state": "pending"}, r"restore_from: must be complete, and is pending \(got 'snap-"),
        (None, {}, r"restore_from: must be a snapshot of a disk in this region \(got 'snap-0a1b2c3d4e5f60718'\)"),
    ],
    ids=["larger", "unfinished", "unknown"],
)
def test_a_snapshot_that_makes_no_data_volume_is_refused(size: int | None, state: dict[str, str], line: str) -> None:
    """Promise: while the machine still serves, and not when it has gone to make room for the next."""
    account = fresh()
    named = "snap-0a1b2c3d4e5f60718" if size is None else snapshot(account, size, **state)
    with pytest.raises(Stopped, match=rf"^flaskhost:server\.{line}"):
        _planned(account, restore_from=named)


@pytest.mark.parametrize("live", [False, True], ids=["at first", "later"])
def test_a_type_that_a_zone_does_not_have_is_refused_before_a_machine_goes(*, live: bool) -> None:
    """Promise: nobody finds out from AWS when the machine before is gone."""
    account = fresh()
    if live:
        kept(account)
    account.options["zones_without"] = {"t4g.small": ["eu-central-1b"]}
    with pytest.raises(
        Stopped, match=r"instance_type: must be a type that AWS has in eu-central-1b \(got 't4g.small'\)"
    ):
        _planned(account, zone="eu-central-1b")
    assert _planned(account).used.zone == "eu-central-1a"


OTHER_NETWORKS = {
    "range": {"cidr": "10.30.0.0/16"},
    "zones": {"zones": ["eu-central-1a", "eu-central-1c"]},
    "kind": {"kind": "default"},
}


@pytest.mark.parametrize("network", OTHER_NETWORKS.values(), ids=OTHER_NETWORKS)
def test_a_stack_does_not_move_to_another_network(network: dict[str, Any]) -> None:
    """Promise: its address and its disks would keep the old one from going, half-way and for good."""
    account = fresh()
    kept(account)
    with pytest.raises(Stopped, match=r"server\.network: must stay as it is, since this stack is in vpc-0\w+, and its"):
        _planned(account, network=network)
    assert _planned(account, network={"zones": ["eu-central-1a", "eu-central-1b"]})


def network_there(*, without: str = "") -> tuple[Account, dict[str, Any]]:
    """Return an account with a VPC that is there, and the settings that name it; `without` a route to somewhere."""
    account, maker = fresh(), fresh()
    kept(maker)
    parts = (kinds.VPC, kinds.SUBNET, kinds.GATEWAY, kinds.ROUTE_TABLE, kinds.ROUTE, kinds.TABLE_ASSOCIATION)
    for kind in parts:
        for entry in maker.all(kind):
            entry["state"].update(tags={}, tagsAll={})
            if without not in (
                entry["state"].get("destinationCidrBlock"),
                entry["state"].get("destinationIpv6CidrBlock"),
            ):
                account.put(kind, entry)
    (vpc,) = account.all(kinds.VPC)
    at = {
        part: [one["id"] for one in account.all(kinds.SUBNET) if f"-{part}-" in one["urn"]]
        for part in ("public", "private")
    }
    return account, {
        "kind": "given",
        "vpc": vpc["id"],
        "public_subnets": at["public"],
        "private_subnets": at["private"],
    }


def test_a_network_that_was_there_is_taken_as_it_is() -> None:
    """Promise: machines are in its public subnets, and nothing of it is made or changed."""
    account, network = network_there()
    recorder = kept(account, network=network)
    assert only(recorder, INSTANCE).inputs["subnetId"] in network["public_subnets"]
    assert only(recorder, INSTANCE).inputs["ipv6AddressCount"] == 1
    assert not [one.kind for one in recorder.every if one.kind.endswith((":Vpc", ":Subnet", ":Route", ":RouteTable"))]


def test_a_subnet_without_a_way_out_is_refused() -> None:
    """Promise: nobody waits for a machine that nobody reaches."""
    account, network = network_there()
    private = network["private_subnets"]
    with pytest.raises(Stopped, match=rf"server\.network: {', '.join(private)} must have a route to the Internet"):
        _planned(account, network={**network, "public_subnets": private})


def test_addresses_that_lead_nowhere_are_not_handed_out() -> None:
    """Promise: no name leads visitors to an address of IPv6 in a network without a route for it."""
    account, network = network_there(without="::/0")
    recorder = kept(account, network=network)
    assert "ipv6AddressCount" not in only(recorder, INSTANCE).inputs
    assert {one.inputs["type"] for one in cloud.of_kind(recorder, RECORD)} == {"A", "CAA"}


def test_an_application_keeps_its_name_in_a_stack() -> None:
    """Promise: nobody unprotects the data of one application to deploy another."""
    account = fresh()
    kept(account)
    with pytest.raises(Stopped, match=r"app\.name: must stay 'guestbook' in this stack, which has its data on vol-0"):
        cloud.deployed(account, **ON_AWS, app__name="shop")


@pytest.mark.parametrize("is_held", [True, False], ids=["another machine", "the same"])
def test_whoever_has_the_disk_says_whether_two_changes_are_one_too_many(*, is_held: bool) -> None:
    """Promise: what a failed `up` has asked for in vain does not count, but who still writes."""
    account = fresh()
    kept(account)
    (instance,) = account.all(kinds.INSTANCE)
    if is_held:
        for tags in (instance["state"]["tags"], instance["state"]["tagsAll"]):
            tags["flaskhost:image"] = "24.04-arm64-before"
        account.put(kinds.INSTANCE, instance)
        with pytest.raises(Stopped, match=rf"the old machine \({instance['id']}\) would write on"):
            _planned(account, zone="eu-central-1b")
    else:
        assert _planned(account, zone="eu-central-1b").moves


def test_a_new_machine_gets_every_step_anew(one: tuple[Recorder, Any]) -> None:
    """Promise: what identifies a host is the instance."""
    instance = only(one[0], INSTANCE)
    identity = next(each for each in one[0].every if each.name == "guestbook-base" and each.request.custom)
    assert identity.inputs["triggers"][0].startswith("i-0")
    assert instance.inputs["availabilityZone"] == "eu-central-1a"


def test_a_machine_boots_with_the_host_key_that_is_pinned(one: tuple[Recorder, Any]) -> None:
    """Promise: cloud-init is told the host key and nothing else."""
    told = only(one[0], INSTANCE).inputs["userData"]
    assert told.startswith("#cloud-config\n")
    assert "host-private-canary" in told
    assert "login-private-canary" not in told
    assert [line for line in told.splitlines() if line and not line.startswith((" ", "#"))] == ["ssh_keys:"]


def test_a_newer_image_replaces_no_machine(one: tuple[Recorder, Any]) -> None:
    """Promise: the image counts when the machine is made, and so does what its first boot reads."""
    assert set(only(one[0], INSTANCE).request.ignoreChanges) == {"ami", "userData"}


def test_an_image_that_the_stack_names_replaces_the_machine_when_it_changes() -> None:
    """Promise: server.ami is followed to the letter."""
    image = next(each["id"] for each in Account().images() if "24.04-arm64" in each["name"])
    recorder, _ = cloud.deployed(**{**ON_AWS, "server": {**ON_AWS["server"], "ami": image}})
    assert only(recorder, INSTANCE).inputs["ami"] == image
    assert list(only(recorder, INSTANCE).request.ignoreChanges) == ["userData"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rebuild": "2026-12"}, "guestbook-machine-1-24.04-arm64-2026-12"),
        ({"ubuntu": "22.04"}, "guestbook-machine-1-22.04-arm64"),
        ({"instance_type": "t3.small"}, "guestbook-machine-1-24.04-amd64"),
        ({"instance_type": "m7g.large"}, "guestbook-machine-1-24.04-arm64"),
    ],
)
def test_another_image_is_another_machine_by_its_name(change: dict[str, str], name: str) -> None:
    """Promise: whoever asks for another image gets the newest one, though a change of it is ignored otherwise."""
    recorder, _ = cloud.deployed(**{**ON_AWS, "server": {**ON_AWS["server"], **change}})
    assert only(recorder, INSTANCE).name == name
    release = name.split("-")[3]
    assert f"-{release}-" in next(
        each["name"] for each in Account().images() if each["id"] == only(recorder, INSTANCE).inputs["ami"]
    )


@pytest.mark.parametrize(("rebuild", "words"), [(None, ""), ("2026-12", "-2026-12")])
def test_a_rebuild_has_keys_of_its_own(rebuild: str | None, words: str) -> None:
    """Promise: those that are there are never taken from machines that stay, and a way back finds them."""
    made = kept(fresh(), rebuild=rebuild)
    keys, login = made.found[f"guestbook{words}-keys"], made.found[f"guestbook{words}-login"]
    assert {"create", "logging"} <= set(keys.request.ignoreChanges)
    assert keys.name in before(made, login.name)


def test_another_type_is_a_new_machine(one: tuple[Recorder, Any]) -> None:
    """Promise: the old one serves until the new one is there, and AWS is not asked to stop and change it.

    Nor to give it an address of IPv6 that its system would not know of.
    """
    request = only(one[0], INSTANCE).request
    assert list(request.replaceOnChanges) == ["instanceType", "ipv6AddressCount"]
    assert request.deleteBeforeReplace is False


def test_the_disk_is_let_go_before_another_machine_gets_it(one: tuple[Recorder, Any]) -> None:
    """Promise: the old machine is shut down in order first, so that nothing is lost that it had not written yet."""
    attachment = only(one[0], ATTACHMENT)
    assert attachment.request.deleteBeforeReplace is True
    assert attachment.inputs["stopInstanceBeforeDetaching"] is True


def kept(account: Account, **server: Any) -> Recorder:
    """Deploy one machine with further settings to an account."""
    return cloud.deployed(account, **{**ON_AWS, "server": {**ON_AWS["server"], **server}})[0]


def test_a_second_run_uses_the_same_volume() -> None:
    """Promise: what is found by its tags is what is used."""
    account = fresh()
    first = only(kept(account), VOLUME)
    assert first.name == "guestbook-data-1"
    assert _planned(account).used.number == 1


def _planned(account: Account, **server: Any) -> volumes.Plan:
    """Return which volume a further run would use."""
    found: list[volumes.Plan] = []

    def look() -> None:
        settings = scenario.of(**{**ON_AWS, "server": {**ON_AWS["server"], **server}})
        assert isinstance(settings.server, AwsServer)
        found.append(clouds.of(settings, settings.server).found.data)

    record(look, recorder=cloud.Cloud(account))
    return found[0]


def test_the_stack_stays_where_its_data_is() -> None:
    """Promise: without a word about zones, a machine is made where its volume is, and not in the first zone."""
    account = fresh()
    kept(account, zone="eu-central-1b")
    assert _planned(account).used.zone == "eu-central-1b"


def test_another_zone_copies_the_data_once_nobody_writes_any_more() -> None:
    """Promise: the old machine goes first, then a snapshot is taken, and the new volume is made of it."""
    account = fresh()
    kept(account)
    plan = _planned(account, zone="eu-central-1b")
    assert (plan.used.number, plan.used.zone, plan.source, plan.moves) == (2, "eu-central-1b", 1, True)


def test_a_volume_does_not_shrink() -> None:
    """Promise: said before anything is made, with the size that is there."""
    account = fresh()
    kept(account, data_volume=40)
    with pytest.raises(Stopped, match=r"data_volume: must not be below 40, .* \(got 20\)"):
        _planned(account)


def test_a_size_that_aws_has_already_is_not_asked_for_again() -> None:
    """Promise: the provider reads the old size back after a change, and AWS would refuse the same change for hours."""
    before = fresh()
    kept(before)
    for size, ignored in ((20, True), (30, False)):
        request = only(kept(with_what_stays(before, kinds.VOLUME), data_volume=size), VOLUME).request
        assert ("size" in request.ignoreChanges) is ignored


def with_what_stays(before: Account, kind: str) -> Account:
    """Return a new account with all of a kind that was made in another one."""
    account = fresh()
    for entry in before.all(kind):
        account.put(kind, entry)
    return account


SNAPSHOT_NAME = "before-2-0"
SNAPSHOT_OF_DATABASE = {
    "dbInstanceIdentifier": "shop",
    "allocatedStorage": 50,
    "encrypted": True,
    "engine": "postgres",
    "engineVersion": "17.4",
}


def restored(account: Account, **database: Any) -> Recorder:
    """Deploy with a database that is made of a snapshot."""
    named = {"kind": "rds", "restore_from": SNAPSHOT_NAME, "version": "17.4", "storage": 50, **database}
    return cloud.deployed(account, **{**ON_AWS, "database": named})[0]


def keep_snapshot(account: Account, **changed: Any) -> None:
    """Have the account hold a snapshot of a database."""
    kept = {**SNAPSHOT_OF_DATABASE, **changed}
    (account.path("database-snapshots") / SNAPSHOT_NAME).write_text(json.dumps(kept))


def test_a_database_is_made_of_a_snapshot_of_its_kind() -> None:
    """Promise: with its exact version, which AWS does not move along, and encrypted as it was."""
    account = fresh()
    keep_snapshot(account)
    made = only(restored(account), "rds/instance:Instance").inputs
    assert (made["snapshotIdentifier"], made["engineVersion"]) == (SNAPSHOT_NAME, "17.4")
    assert made["autoMinorVersionUpgrade"] is False


WRONG_SNAPSHOTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "of another engine": ({"engine": "mysql"}, {}, r"database\.engine: .* which is of mysql \(got 'postgresql'\)"),
    "of another version": ({}, {"version": "17"}, r"database\.version: .* \(got '17'\): write version: \"17\.4\""),
    "larger": (
        {"allocatedStorage": 80},
        {},
        r"database\.storage: must be 80, .* \(got 50\): write 80, or 88 or more",
    ),
    "a little smaller": (
        {"allocatedStorage": 46},
        {},
        r"database\.storage: must be 46, .* \(got 50\): write 46, or 51 or more",
    ),
    "not complete": (
        {"status": "creating"},
        {},
        r"database\.restore_from: must be available, and is creating \(got 'before-",
    ),
    "not encrypted": (
        {"encrypted": False},
        {},
        r"database\.restore_from: must be an encrypted snapshot \(got 'before-",
    ),
}


@pytest.mark.parametrize(("there", "asked", "line"), WRONG_SNAPSHOTS.values(), ids=WRONG_SNAPSHOTS)
def test_a_snapshot_that_makes_no_such_database_is_refused(
    there: dict[str, Any], asked: dict[str, Any], line: str
) -> None:
    """Promise: before anything is made, since AWS would find it out with half a database."""
    account = fresh()
    keep_snapshot(account, **there)
    with pytest.raises(Stopped, match=rf"^flaskhost:{line}"):
        restored(account, **asked)


def test_a_snapshot_that_is_not_there_is_refused_until_the_database_is() -> None:
    """Promise: the line may stay in the file when the snapshot is long gone."""
    account = fresh()
    with pytest.raises(Stopped, match=r"^flaskhost:database\.restore_from: must be a snapshot of RDS in this"):
        restored(account)
    keep_snapshot(account)
    restored(account)
    assert restored(with_what_stays(account, kinds.DATABASE), version="17")


def grown_database(size: int, limit: int) -> Account:
    """Return an account with a database that has grown, made with a limit."""
    account = fresh()
    cloud.deployed(account, **{**ON_AWS, "database": {"kind": "rds", "storage_limit": limit}})
    (entry,) = account.all(kinds.DATABASE)
    entry["state"].update(allocatedStorage=size, maxAllocatedStorage=limit)
    found = fresh()
    found.put(kinds.DATABASE, entry)
    return found


TOO_SMALL_BY_NOW: dict[str, tuple[int, str]] = {
    "growth ends below": (40, r"database\.storage_limit: .* above 60, .* \(got 40\): write 66 or more"),
    "a limit that RDS refuses": (65, r"database\.storage_limit: .* above 60, .* \(got 65\): write 66 or more"),
    "no growth any more": (
        20,
        r"database\.storage: must not be below 60, .* \(got 20\): write 60 here and at storage_",
    ),
}


@pytest.mark.parametrize(("limit", "line"), TOO_SMALL_BY_NOW.values(), ids=TOO_SMALL_BY_NOW)
def test_a_size_below_what_a_database_has_grown_to_is_refused(limit: int, line: str) -> None:
    """Promise: before AWS refuses it in the middle of an `up`."""
    with pytest.raises(Stopped, match=rf"^flaskhost:{line}"):
        cloud.deployed(grown_database(60, 100), **{**ON_AWS, "database": {"kind": "rds", "storage_limit": limit}})


def test_a_database_that_has_grown_close_to_its_limit_is_no_reason_to_refuse_anything() -> None:
    """Promise: what was allowed when it was written stays so."""
    cloud.deployed(grown_database(60, 62), **{**ON_AWS, "database": {"kind": "rds", "storage_limit": 62}})


def test_a_database_without_a_password_says_how_it_gets_one() -> None:
    """Promise: an `up` that was ended while RDS took its first backup leads to a command, and not to a traceback."""
    with pytest.raises(
        Stopped, match=r"^the database shop-1 has no password .* --db-instance-identifier shop-1 --manage"
    ):
        secret_of("shop-1", [])


def test_a_database_gets_the_hours_that_its_first_backup_takes(several: tuple[Recorder, Any]) -> None:
    """Promise: no `up` ends before a large one that was made of a snapshot has its password."""
    assert only(several[0], "rds/instance:Instance").request.customTimeouts.create == "6h"


def test_each_version_of_redis_has_a_last_snapshot_of_its_own() -> None:
    """Promise: the way back to an earlier version, which takes a new cluster, is not ended by a snapshot's name."""
    names = set()
    for version in ("7.2", "8.0"):
        named = {"kind": "elasticache", "version": version}
        made = only(cloud.deployed(**{**ON_AWS, "redis": named})[0], "elasticache/replicationGroup:ReplicationGroup")
        names.add(made.inputs["finalSnapshotIdentifier"].split("-redis-")[1].split("-", 1)[1])
    assert names == {"valkey-7-2-final", "valkey-8-0-final"}


def test_a_missing_zone_of_dns_is_told_with_what_to_do() -> None:
    """Promise: before anything is made on AWS."""
    account = Account.open(tempfile.mkdtemp(prefix="flaskhost-account-"))
    account.options["hosted_zones"] = ["example.org"]
    with pytest.raises(
        Stopped, match=r"dns\.zone: must be a public hosted zone of this AWS account \(got 'example\.com'"
    ):
        cloud.deployed(account, **ON_AWS)


def test_a_zone_without_a_subnet_is_told_with_those_that_have_one() -> None:
    """Promise: before anything is made on AWS."""
    with pytest.raises(
        Stopped, match=r"server\.zone: .* \(got 'eu-central-1c'\): write one of eu-central-1a, eu-central-1b"
    ):
        kept(fresh(), zone="eu-central-1c")


def test_every_name_leads_to_the_machine_by_both_protocols(one: tuple[Recorder, Any]) -> None:
    """Promise: domains and redirects alike, and only the named authorities may issue certificates for them."""
    records = {(each.inputs["name"], each.inputs["type"]) for each in cloud.of_kind(one[0], RECORD)}
    assert records == {(name, kind) for name in ("example.com", "www.example.com") for kind in ("A", "AAAA", "CAA")}
    assert [line.split()[2] for line in one[1]] == ["A", "AAAA", "A", "AAAA"]


def test_elsewhere_the_records_are_told(several: tuple[Recorder, Any]) -> None:
    """Promise: as lines of a zone file, also for a load balancer."""
    recorder, told = cloud.deployed(**{**ON_AWS, "dns": {"kind": "none"}})
    assert cloud.of_kind(recorder, RECORD) == []
    assert [line.rpartition(" ")[0] for line in told] == [
        "example.com. 60 A",
        "example.com. 60 AAAA",
        "www.example.com. 60 A",
        "www.example.com. 60 AAAA",
    ]
    assert [line.split()[2] for line in several[1]] == ["CNAME", "CNAME"]


def test_machines_are_spread_over_zones(several: tuple[Recorder, Any]) -> None:
    """Promise: one zone can fail."""
    zones = [each.inputs["availabilityZone"] for each in cloud.of_kind(several[0], INSTANCE)]
    assert sorted(zones) == ["eu-central-1a", "eu-central-1a", "eu-central-1b"]


def test_all_machines_stage_before_any_lets_visitors_in(several: tuple[Recorder, Any]) -> None:
    """Promise: the same rule as on servers of other kinds."""
    staged = {f"guestbook-{number}-stage" for number in (1, 2, 3)}
    for number in (1, 2, 3):
        assert staged <= before(several[0], f"guestbook-{number}-switch")


def test_the_balancer_asks_for_the_health_path_and_lets_machines_drain(several: tuple[Recorder, Any]) -> None:
    """Promise: over TLS, with the status that the settings say."""
    group = only(several[0], "lb/targetGroup:TargetGroup").inputs
    assert (group["healthCheck"]["path"], group["healthCheck"]["matcher"]) == ("/health", "200")
    assert group["deregistrationDelay"] == 30
    assert len(cloud.of_kind(several[0], "lb/targetGroupAttachment:TargetGroupAttachment")) == 3


def test_a_machine_goes_when_its_last_requests_are_answered(several: tuple[Recorder, Any]) -> None:
    """Promise: it is taken from the balancer, then its time to finish passes, and then it may stop."""
    for number in (1, 2, 3):
        name = f"guestbook-machine-{number}"
        drained = several[0].found[f"{name}-drained"]
        assert drained.inputs["delete"] == "sleep 30"
        assert f"{name}-drained" in before(several[0], target_of(several[0], number).name)
        holder = "guestbook-data" if number == 1 else f"{name}-24.04-arm64"
        assert holder in drained.after, "with the disk's first, which the machine stops for"


def test_a_new_machine_is_waited_for_until_the_balancer_knows_it(several: tuple[Recorder, Any]) -> None:
    """Promise: what it takes the place of serves until then, and so does what the names led to before."""
    for number in (1, 2, 3):
        healthy = several[0].found[f"guestbook-machine-{number}-healthy"]
        assert healthy.inputs["create"] == "sleep 30"
        first = {target_of(several[0], number).name, f"guestbook-{number}-switch", "guestbook-names-1"}
        assert first <= before(several[0], healthy.name), "with the rule, without which the balancer asks nobody"
        assert healthy.name in before(several[0], "guestbook-example.com-a")


def test_a_machine_that_a_tunnel_leads_to_shows_which_one_it_is() -> None:
    """Promise: each one's steps wait until its port leads to it, and not to the one before."""
    account = fresh()
    recorder, _ = cloud.deployed(account, **{**SEVERAL, "server": {"kind": "aws", "ssh": "ssm", "count": 2}})
    named = {one["inputs"]["tags"]["Name"]: one["id"] for one in account.all(kinds.INSTANCE)}
    for number in (1, 2):
        answers = recorder.found[f"guestbook-machine-{number}-answers"]
        given = json.loads(answers.inputs["stdin"])
        assert (given["host"], given["port"]) == ("127.0.0.1", 22021 + number)
        assert given["instance"] == named[f"guestbook-prod-machine-{number}"]
        assert answers.name in before(recorder, f"guestbook-{number}-base")


def target_of(recorder: Recorder, number: int) -> Registered:
    """Return what sends visitors to a machine."""
    targets = cloud.of_kind(recorder, "lb/targetGroupAttachment:TargetGroupAttachment")
    return next(one for one in targets if one.name == f"guestbook-machine-{number}")


@pytest.mark.parametrize("several_machines", [False, True], ids=["one", "several"])
def test_where_the_names_have_led_lets_visitors_in_until_that_is_forgotten(
    one: tuple[Recorder, Any], several: tuple[Recorder, Any], *, several_machines: bool
) -> None:
    """Promise: from one machine to several and back nobody finds a closed door behind an address of a minute ago."""
    recorder, where = (several[0], "balancer") if several_machines else (one[0], "machine")
    forgotten = recorder.found[f"guestbook-names-of-{where}-forgotten"]
    assert forgotten.inputs["delete"] == "sleep 60"
    doors = {each.name for each in cloud.of_kind(recorder, "IngressRule") if "http" in each.name}
    assert len(doors) == 4
    ways = {"guestbook-https", "guestbook-http", "guestbook-machine-3"} if several_machines else set()
    assert doors | ways <= before(recorder, forgotten.name)


def test_the_certificate_is_proven_before_the_balancer_has_it(several: tuple[Recorder, Any]) -> None:
    """Promise: AWS has seen the records that prove all names."""
    certificate = only(several[0], "acm/certificate:Certificate").inputs
    assert [certificate["domainName"], *certificate["subjectAlternativeNames"]] == ["example.com", "www.example.com"]
    assert "guestbook-certificate" in before(several[0], "guestbook-https")


def test_names_beyond_what_a_rule_takes_get_rules_of_their_own() -> None:
    """Promise: seven names work as two do."""
    names = [f"{letter}.example.com" for letter in "abcdefg"]
    recorder, _ = cloud.deployed(**{**SEVERAL, "web__domains": names, "web__redirects": []})
    rules = cloud.of_kind(recorder, "lb/listenerRule:ListenerRule")
    portions = [each.inputs["conditions"][0]["hostHeader"]["values"] for each in rules]
    assert sorted(len(portion) for portion in portions) == [2, 5]
    assert sorted(name for portion in portions for name in portion) == names


def test_a_long_name_of_an_application_leaves_room_for_what_pulumi_adds() -> None:
    """Promise: AWS takes 32 characters for a load balancer, and the longest name of an application has 31."""
    recorder, _ = cloud.deployed(**{**SEVERAL, "app__name": "a" * 31})
    for kind in ("lb/loadBalancer:LoadBalancer", "lb/targetGroup:TargetGroup"):
        assert len(only(recorder, kind).name) + 8 <= 32


def test_connections_are_told_in_a_step_of_their_own(several: tuple[Recorder, Any]) -> None:
    """Promise: what is known only when AWS has made it hides nothing else in a preview, and no password is in it."""
    steps = [each for each in several[0].every if each.name == "guestbook-2-connections" and each.request.custom]
    (document,) = [each.inputs["stdin"] for each in steps]
    said = dict(line.split(" = ", 1) for line in document.splitlines() if " = " in line and not line.startswith(" "))
    assert set(json.loads(said["values"])) == {"REDIS_URL", "MEDIA_BUCKET", "AWS_DEFAULT_REGION"}
    url = json.loads(said["secrets"])["DATABASE_URL"]
    assert url["url"].startswith("postgresql://{username}:{password}@")
    assert url["url"].endswith("/guestbook?sslmode=require")
    assert url["secret"].startswith("arn:aws:secretsmanager:")
    assert not steps[0].secrets & {"stdin"}


def test_a_preview_shows_all_but_what_aws_has_not_made_yet() -> None:
    """Promise: of the steps on the machine, only the connections are unknown before the first deployment."""
    recorder, _ = record(cloud.program(**SEVERAL), recorder=cloud.Cloud(fresh()), preview=True)
    texts = {each.name: each.inputs.get("stdin") for each in recorder.every if each.kind == "command:remote:Command"}
    assert [name for name, text in texts.items() if not isinstance(text, str) or "flaskhost 1" not in text] == [
        name for name in texts if name.endswith("-connections")
    ] or all(isinstance(text, str) for text in texts.values())


def test_steps_of_the_first_machine_stay_when_another_one_comes() -> None:
    """Promise: aliases tell Pulumi that the first of several machines is the one that was alone."""
    recorder, _ = cloud.deployed(**SEVERAL)
    base = next(each for each in recorder.every if each.kind == "flaskhost:host:Base" and each.name == "guestbook-1")
    assert [alias.spec.name for alias in base.request.aliases] == ["guestbook"]
