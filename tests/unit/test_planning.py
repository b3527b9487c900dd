"""What a stack on AWS consists of: images, zones, subnets, volumes, policies and records, worked out from values."""

from __future__ import annotations

import fnmatch
import ipaddress
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from planning import machines, policies, records, services, subnets, volumes
from planning.volumes import Plan, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

unhurried = hypothesis_settings(deadline=None)

ARCHITECTURES = {
    "arm64": (
        "t4g.small m7g.large c7gn.xlarge g5g.xlarge im4gn.large is4gen.medium x2gd.medium a1.large hpc7g.4xlarge "
        "t4g.nano r8gb.large i8ge.xlarge m8gd.metal-24xl c6g.metal p6e-gb200.36xlarge"
    ),
    "amd64": (
        "t3.small m7i.large g4dn.xlarge g5.xlarge p4de.24xlarge u-6tb1.56xlarge c6a.large i4i.large inf2.xlarge "
        "t2.nano m7i-flex.large g4ad.xlarge gr6.4xlarge u7in-16tb.224xlarge p6-b200.48xlarge hpc6id.32xlarge "
        "trn1n.32xlarge mac1.metal z1d.large"
    ),
}


@pytest.mark.parametrize(
    ("kind", "wanted"), [(kind, name) for name, kinds in ARCHITECTURES.items() for kind in kinds.split()]
)
def test_a_type_of_instances_says_which_image_it_boots(kind: str, wanted: str) -> None:
    """Promise: a machine is never made of an image that its processor cannot run."""
    assert machines.architecture(kind) == wanted


@pytest.mark.parametrize(
    "name",
    [
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20261105",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261105.1",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101",
    ],
)
def test_the_pattern_of_an_image_finds_canonicals_images_of_that_release_alone(name: str) -> None:
    """Promise: neither a minimal image, nor a preview, nor another architecture is booted by chance."""
    version, architecture = ("24.04" if "noble" in name else "22.04"), ("arm64" if "arm64" in name else "amd64")
    pattern = machines.image_name(version, architecture)
    assert fnmatch.fnmatchcase(name, pattern)
    for other in ("-minimal/images", "-pro-server/images"):
        assert not fnmatch.fnmatchcase(name.replace("/images", other), pattern)
    swapped = {"arm64": "amd64", "amd64": "arm64"}[architecture]
    assert not fnmatch.fnmatchcase(name.replace(architecture, swapped), pattern)


PLACES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=8).map(
    lambda zones: [(f"subnet-{number}", zone) for number, zone in enumerate(zones)]
)


@unhurried
@given(PLACES, st.integers(1, 20), st.data())
def test_machines_are_spread_over_every_zone_before_one_has_a_second(
    places: list[tuple[str, str]], count: int, data: st.DataObject
) -> None:
    """Promise: as few machines as can be go down with a zone; the first is where its data is, each in a real subnet."""
    zones = list(dict.fromkeys(zone for _, zone in places))
    first = data.draw(st.sampled_from([None, *zones]))
    chosen = machines.spread(places, first, count)
    used = [zone for _, zone in chosen]
    assert len(chosen) == count
    assert set(chosen) <= set(places)
    assert used[0] == (first or places[0][1])
    for number in range(count):
        seen = [used[: number + 1].count(zone) for zone in zones]
        assert max(seen) - min(seen) <= 1


@unhurried
@given(PLACES, st.integers(1, 19))
def test_one_machine_more_moves_none_that_is_there(places: list[tuple[str, str]], count: int) -> None:
    """Promise: a larger server.count only adds."""
    assert machines.spread(places, None, count + 1)[:count] == machines.spread(places, None, count)


def test_a_zone_without_a_subnet_is_an_error_that_names_those_with_one() -> None:
    """Promise: a person reads what to write instead."""
    places = [("subnet-1", "eu-central-1a"), ("subnet-2", "eu-central-1b")]
    with pytest.raises(
        LookupError, match=r"^eu-central-1c has no public subnet; these have one: eu-central-1a, eu-cent"
    ):
        machines.spread(places, "eu-central-1c", 2)


@unhurried
@given(st.integers(0, 255), st.integers(16, 24))
def test_the_subnets_of_a_new_network_fill_it_and_never_overlap(second: int, size: int) -> None:
    """Promise: no address belongs to two subnets, and none is lost."""
    whole = ipaddress.IPv4Network((int(ipaddress.IPv4Address(f"10.{second}.0.0")), size))
    parts = [ipaddress.IPv4Network(part) for part in subnets.ipv4(str(whole))]
    assert len(parts) == subnets.PARTS
    assert len({part.prefixlen for part in parts}) == 1
    assert not any(one.overlaps(other) for one in parts for other in parts if one is not other)
    assert list(ipaddress.collapse_addresses(parts)) == [whole]


BLOCKS = st.integers(0, 2**56 - 1).map(lambda number: str(ipaddress.IPv6Network((number << 72, 56))))


@unhurried
@given(BLOCKS)
def test_every_subnet_of_ipv6_is_another_one_inside_of_the_block(block: str) -> None:
    """Promise: a /56 has 256 networks of the size that AWS takes, one for each number."""
    parts = [ipaddress.IPv6Network(subnets.ipv6(block, number)) for number in range(256)]
    assert len(set(parts)) == 256
    assert all(part.prefixlen == 64 and part.subnet_of(ipaddress.IPv6Network(block)) for part in parts)


@unhurried
@given(BLOCKS, st.integers(256, 2**40))
def test_a_subnet_of_ipv6_beyond_the_block_is_refused(block: str, number: int) -> None:
    """Promise: no subnet is asked for that belongs to somebody else's network."""
    with pytest.raises(ValueError, match=r"has no /64 number|is not permitted"):
        subnets.ipv6(block, number)


ZONES = st.sampled_from(["a", "b", "c"])
SNAPSHOTS = st.sampled_from([None, "snap-1", "snap-2"])
WISHES = st.tuples(st.none() | ZONES, st.integers(1, 100), SNAPSHOTS)
Wish = tuple[str | None, int, str | None]


def planned(there: list[Volume], wish: Wish) -> Plan:
    """Return the plan for a zone, a size and a snapshot."""
    zone, size, snapshot = wish
    return volumes.plan(there, zone=zone, usual="a", size=size, restore_from=snapshot)


def after(plan: Plan) -> list[Volume]:
    """Return the volumes that are on AWS once a plan was carried out."""
    return [*plan.kept, plan.used]


def of(*wishes: Wish) -> Plan:
    """Return the last of several plans, each carried out before the next."""
    plan = planned([], wishes[0])
    for wish in wishes[1:]:
        plan = planned(after(plan), wish)
    return plan


HISTORIES = st.lists(WISHES, min_size=1, max_size=6).map(lambda wishes: of(*wishes))


@unhurried
@given(HISTORIES, WISHES, st.randoms())
def test_the_volume_in_use_is_never_older_than_one_that_was_there(before: Plan, wish: Wish, order: Any) -> None:
    """Promise: no data of last month takes the place of today's, in whatever order AWS lists the volumes."""
    there = after(before)
    order.shuffle(there)
    plan = planned(there, wish)
    newest = max(volume.number for volume in there)
    assert plan.used.number in (newest, newest + 1)
    assert plan.moves == (plan.used.number > newest)
    assert (plan.source is not None) == plan.moves, "a new volume is made of something, and a known one is left alone"


@unhurried
@given(HISTORIES, WISHES)
def test_no_volume_is_ever_lost(before: Plan, wish: Wish) -> None:
    """Promise: what was there stays, as it was, until a person removes it."""
    plan = planned(after(before), wish)
    known = {volume.number: volume for volume in after(plan)}
    assert len(known) == len(after(plan))
    for volume in after(before):
        assert known[volume.number].zone == volume.zone
        if volume.number != plan.used.number:
            assert known[volume.number] == volume


@unhurried
@given(HISTORIES, WISHES)
def test_a_second_run_changes_nothing(before: Plan, wish: Wish) -> None:
    """Promise: an `up` with nothing to do moves no data, also where a snapshot is still in the stack file."""
    plan = planned(after(before), wish)
    again = planned(after(plan), wish)
    assert (again.kept, again.used) == (plan.kept, plan.used)
    assert (again.source, again.moves) == (None, False)


@unhurried
@given(HISTORIES, WISHES)
def test_what_the_settings_say_is_what_is_used(before: Plan, wish: Wish) -> None:
    """Promise: zone, size and snapshot are those of the stack file; what it does not say stays."""
    zone, size, snapshot = wish
    used, last = planned(after(before), wish).used, before.used
    assert (used.zone, used.size) == (zone or last.zone, size)
    assert used.restored == (last.restored if snapshot is None else snapshot)


def test_the_first_volume_is_empty_and_where_the_settings_or_the_network_say() -> None:
    """Promise: nobody has to name a zone, and who does gets it."""
    assert planned([], (None, 20, None)) == Plan(kept=(), used=Volume(number=1, zone="a", size=20))
    assert planned([], ("b", 20, None)).used == Volume(number=1, zone="b", size=20)


def test_the_first_volume_can_be_made_of_a_snapshot() -> None:
    """Promise: a stack that is set up anew begins with the data of the old one; nobody's machine has to go for that."""
    plan = planned([], (None, 20, "snap-1"))
    assert (plan.used.restored, plan.source, plan.moves) == ("snap-1", "snap-1", False)


def test_moving_there_and_back_brings_the_newest_data() -> None:
    """Promise: the volume that was left in the first zone is stale, and is not taken again."""
    plan = of(("a", 20, None), ("b", 20, None), ("a", 20, None))
    assert plan.used == Volume(number=3, zone="a", size=20)
    assert [volume.number for volume in plan.kept] == [1, 2]
    assert plan.source == 2, "the copy of the one that was in use, and not of the stale one"


def test_a_snapshot_counts_once_and_survives_a_later_move() -> None:
    """Promise: what was written since a restore goes along when the machine moves, though it is still named."""
    restored = of((None, 20, None), (None, 20, "snap-1"))
    assert (restored.used.number, restored.source, restored.moves) == (2, "snap-1", True)
    moved = planned(after(restored), ("b", 20, "snap-1"))
    assert (moved.used.number, moved.source, moved.used.restored) == (3, 2, "snap-1")
    back = planned(after(moved), (None, 20, "snap-1"))
    assert (back.used, back.moves) == (moved.used, False)


def test_a_snapshot_that_is_taken_out_of_the_settings_undoes_nothing() -> None:
    """Promise: the data stays as it was restored, and a restore of another snapshot is one again."""
    without = of((None, 20, None), (None, 20, "snap-1"), (None, 20, None))
    assert (without.used.number, without.moves) == (2, False)
    assert planned(after(without), (None, 20, "snap-1")).moves is False
    other = planned(after(without), (None, 20, "snap-2"))
    assert (other.used.number, other.source) == (3, "snap-2")


def test_a_restore_in_another_zone_is_one_step() -> None:
    """Promise: the snapshot wins over the data that is there, which is kept."""
    plan = of(("a", 20, None), ("b", 20, "snap-1"))
    assert (plan.used, plan.source) == (Volume(number=2, zone="b", size=20, restored="snap-1"), "snap-1")
    assert plan.kept == (Volume(number=1, zone="a", size=20),)


PLACE = policies.Place(partition="aws", region="eu-central-1", account="123456789012")
BUCKET = "arn:aws:s3:::shop-media-1a2b3c4d"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1a2b3c-4d5e6f"
TAGS = {"flaskhost:snapshots": "flaskhost/prod/shop"}
POLICIES = {
    "machine": policies.machine(PLACE, "/flaskhost/shop-prod", "flaskhost/shop-prod"),
    "bucket": policies.bucket(BUCKET),
    "secret": policies.secret(SECRET),
    "snapshots": policies.snapshots(PLACE, TAGS),
    "only encrypted": policies.only_encrypted(BUCKET),
    "trust": policies.trust("ec2.amazonaws.com"),
}


def statements(*names: str) -> Iterator[dict[str, Any]]:
    """Yield the statements of policies, of all if none is named."""
    for name in names or POLICIES:
        document = json.loads(POLICIES[name])
        assert document["Version"] == "2012-10-17"
        yield from document["Statement"]


def several(value: str | list[str]) -> list[str]:
    """Return what may be one or several as a list."""
    return [value] if isinstance(value, str) else value


def widened() -> Iterator[str]:
    """Yield each action that is allowed on a resource with a wildcard."""
    for one in statements():
        if one["Effect"] == "Allow" and any("*" in resource for resource in several(one.get("Resource", []))):
            yield from several(one["Action"])


def test_every_wildcard_of_a_policy_has_its_reason() -> None:
    """Promise: nothing is allowed on everything by convenience, and no reason is left over for what is gone."""
    assert set(widened()) == set(policies.WILDCARDS)
    assert all(reason.strip() for reason in policies.WILDCARDS.values())


def test_no_policy_can_be_widened_by_a_function_that_nobody_tests() -> None:
    """Promise: each function that returns a policy is in the table of these tests."""
    made = {name.replace(" ", "_") for name in POLICIES}
    public = {
        name
        for name, one in vars(policies).items()
        if callable(one) and getattr(one, "__module__", "") == policies.__name__
    }
    assert public - made == {"Place", "document", "allow"}


def test_only_a_refusal_is_for_every_action() -> None:
    """Promise: a right names its actions one by one; what refuses those without TLS refuses all of S3."""
    found = [(one["Effect"], action) for one in statements() for action in several(one["Action"]) if "*" in action]
    assert found == [("Deny", "s3:*")]


def test_only_a_refusal_is_for_everybody() -> None:
    """Promise: no bucket is open to whoever asks."""
    assert [one["Effect"] for one in statements() if one.get("Principal") == "*"] == ["Deny"]


def test_a_machine_reads_one_secret_and_one_bucket() -> None:
    """Promise: another stack in the same account is out of reach."""
    assert [one["Resource"] for one in statements("secret")] == [SECRET]
    assert [one["Resource"] for one in statements("bucket")] == [BUCKET, f"{BUCKET}/*"]
    assert "s3:DeleteBucket" not in POLICIES["bucket"]


def test_a_machine_writes_the_logs_and_metrics_of_its_stack_alone() -> None:
    """Promise: the log group and the namespace are named, the one in the resource, the other in a condition."""
    by_action = {action: one for one in statements("machine") for action in several(one["Action"])}
    assert by_action["logs:PutLogEvents"]["Resource"] == (
        "arn:aws:logs:eu-central-1:123456789012:log-group:/flaskhost/shop-prod:*"
    )
    assert by_action["cloudwatch:PutMetricData"]["Condition"] == {
        "StringEquals": {"cloudwatch:namespace": "flaskhost/shop-prod"}
    }


def test_snapshots_are_taken_and_removed_of_the_stacks_own_volumes_alone() -> None:
    """Promise: what removes old snapshots cannot touch those of anybody else."""
    own = {"StringEquals": {"aws:ResourceTag/flaskhost:snapshots": "flaskhost/prod/shop"}}
    of_action: dict[str, list[Any]] = {}
    for one in statements("snapshots"):
        for action in several(one["Action"]):
            of_action.setdefault(action, []).append((one["Resource"], one.get("Condition")))
    assert of_action["ec2:DeleteSnapshot"] == [("arn:aws:ec2:eu-central-1::snapshot/*", own)]
    assert ("arn:aws:ec2:eu-central-1:123456789012:volume/*", own) in of_action["ec2:CreateSnapshot"]
    # Without a condition: whether the service tags a snapshot while it makes it, or after, is its own business.
    assert of_action["ec2:CreateTags"] == [("arn:aws:ec2:eu-central-1::snapshot/*", None)]


def test_a_bucket_refuses_whoever_comes_without_tls() -> None:
    """Promise: for the bucket itself and for what is in it."""
    (one,) = statements("only encrypted")
    assert one["Resource"] == [BUCKET, f"{BUCKET}/*"]
    assert one["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_a_policy_is_of_the_partition_that_the_stack_is_in(partition: str) -> None:
    """Promise: a stack in China or of the government names resources that are there."""
    place = policies.Place(partition=partition, region="r", account="1")
    for text in (policies.machine(place, "logs", "names"), policies.snapshots(place, TAGS)):
        assert f"arn:{partition}:" in text
        assert text.count("arn:") == text.count(f"arn:{partition}:")


def test_a_role_is_for_one_service() -> None:
    """Promise: nobody but that service takes the role."""
    assert list(statements("trust")) == [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]


def test_each_name_leads_to_a_machine_by_all_addresses_that_it_has() -> None:
    """Promise: visitors of IPv4 and of IPv6 reach the site, and no name without an IPv6 address says one."""
    names = ["example.com", "*.example.com"]
    assert [str(record) for record in records.addresses(names, "192.0.2.7", "2001:db8::7")] == [
        "example.com. 60 A 192.0.2.7",
        "example.com. 60 AAAA 2001:db8::7",
        "*.example.com. 60 A 192.0.2.7",
        "*.example.com. 60 AAAA 2001:db8::7",
    ]
    assert [record.kind for record in records.addresses(names, "192.0.2.7", None)] == ["A", "A"]


def test_each_name_leads_to_a_load_balancer_by_its_name() -> None:
    """Promise: its addresses change, and its name does not; a dot ends both, so that no zone is put behind them."""
    (record,) = records.aliases(["www.example.com"], "shop-1.eu-central-1.elb.amazonaws.com")
    assert str(record) == "www.example.com. 60 CNAME shop-1.eu-central-1.elb.amazonaws.com."


def test_authorities_are_named_once_for_each_name_and_at_the_names_themselves() -> None:
    """Promise: a wildcard is asked for at the name above it (RFC 8659, section 3), and no record is made twice."""
    found = records.authorities(["example.com", "*.example.com", "www.example.com"], ["amazon.com", "letsencrypt.org"])
    values = ['0 issue "amazon.com"', '0 issue "letsencrypt.org"']
    assert found == {"example.com": values, "www.example.com": values}
    assert records.authorities(["example.com"], []) == {}


@unhurried
@given(st.lists(st.integers(), max_size=40).map(lambda numbers: [str(number) for number in numbers]))
def test_the_names_of_a_load_balancer_are_told_in_portions_that_it_takes(names: list[str]) -> None:
    """Promise: every name in its order, none twice, and never more than five in one rule."""
    portions = records.in_rules(names)
    assert [name for portion in portions for name in portion] == names
    assert all(1 <= len(portion) <= 5 for portion in portions)
    assert len(portions) == -(-len(names) // 5)


EXACT = {("postgresql", "17.4"): True, ("postgresql", "17"): False, ("mysql", "8.4"): False, ("mysql", "8.4.3"): True}


@pytest.mark.parametrize(("engine", "version", "is_exact"), [(*key, value) for key, value in EXACT.items()])
def test_aws_moves_a_line_of_versions_along_and_no_exact_one(engine: str, version: str, *, is_exact: bool) -> None:
    """Promise: what AWS would raise by itself is never put back by an `up`, which AWS would refuse."""
    assert services.is_exact(engine, version) is is_exact


@pytest.mark.parametrize("size", [20, 399])
def test_a_small_disk_of_a_database_has_the_speed_that_aws_gives_it(size: int) -> None:
    """Promise: which is the only one that it can have."""
    assert services.speed(size) == (None, None)


@pytest.mark.parametrize("size", [400, 65536])
def test_a_large_disk_of_a_database_names_the_least_that_it_has(size: int) -> None:
    """Promise: a disk grows past the limit, for which AWS refuses the speed of before."""
    assert services.speed(size) == (12000, 500)


FAMILIES = {
    ("valkey", "7.2"): "default.valkey7",
    ("valkey", "8.0"): "default.valkey8",
    ("redis", "7.1"): "default.redis7",
}


@pytest.mark.parametrize(("engine", "version", "name"), [(*key, value) for key, value in FAMILIES.items()])
def test_a_cache_has_the_parameters_of_its_line(engine: str, version: str, name: str) -> None:
    """Promise: an upgrade to another line brings its parameters along, without which AWS refuses it."""
    assert services.parameters(engine, version) == name


def test_redis_six_has_parameters_with_a_name_of_their_own() -> None:
    """Promise: the one that AWS has for all of its minor versions."""
    assert services.parameters("redis", "6.2") == "default.redis6.x"
