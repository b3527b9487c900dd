"""From one machine to two behind a load balancer, with a database of PostgreSQL whose password only AWS knows.

The load balancer is a line in the account's book, with one on this machine that acts as the book says
(tests/e2e/balancer.py; tests/components has its rules).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from planning.records import TTL_SECONDS
from tests.e2e.balancer import Balancer
from tests.e2e.beside import Beside
from tests.e2e.cloud import NAME, CloudStack, marks
from tests.e2e.host import until
from tests.e2e.load import Visitors
from tests.e2e.stack import GOOD, NEWER
from tests.plugins.aws import services, vault
from tests.plugins.aws.image import database_image, instance_image
from tests.plugins.aws.kinds import CACHE, DATABASE, INGRESS, INSTANCE, LISTENER, RECORD, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ops.local_server.engine import Engine

pytestmark = marks


@pytest.fixture(scope="module")
def stack(container_engine: Engine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStack]:
    """Return a stack with one machine and managed services, deployed; the tests are steps of its life."""
    assert pulumi
    machines, database = instance_image(container_engine), database_image(container_engine)
    made = CloudStack(tmp_path_factory.mktemp("several"), machines, services=True, database_image=database)
    try:
        made.small()
        made.configure(
            # The example has no place for pictures but a folder; none is left there.
            env={"DATABASE_URL": None, "MEDIA_ROOT": "/nonexistent"},
            database={"kind": "rds", "driver": "psycopg"},
            redis={"kind": "elasticache"},
            media={"kind": "s3"},
            balancer={"drain": 5},
        )
        made.up()
        yield made
    finally:
        made.close()


def password(stack: CloudStack) -> str:
    """Return what AWS knows."""
    (database,) = stack.account.all(DATABASE)
    return str(vault.read(stack.account, database["state"]["masterUserSecrets"][0]["secretArn"])["password"])


def in_url(stack: CloudStack) -> str:
    """Return it as it stands in a URL; the file's own backslashes are for characters that are escaped there."""
    return quote(password(stack), safe="")


def environment(stack: CloudStack, number: int = 1) -> str:
    """Return the environment of the active release on a machine."""
    return stack.machine(number).run("cat /srv/guestbook/active/env")


def test_the_application_is_handed_what_it_connects_to(stack: CloudStack) -> None:
    """Database, Redis and bucket as variables; it serves with a real database, over TLS."""
    told = environment(stack)
    (cache,) = stack.account.all(CACHE)
    assert f"postgresql+psycopg://flaskhost:{in_url(stack)}@" in told
    assert f'REDIS_URL="rediss://{cache["state"]["primaryEndpointAddress"]}:6379/0?ssl_cert_reqs=required"' in told
    assert 'MEDIA_BUCKET="guestbook-prod-media-' in told
    assert stack.site_of().version() == "1.0.0"


def test_the_password_is_in_no_file_of_pulumi_and_in_no_journal(stack: CloudStack) -> None:
    """Neither in the state, sealed or open, nor in what the steps have printed."""
    places = {
        "state": str(stack.export("--show-secrets")),
        "backend": stack.on_disk(),
        "journal": stack.host.journal(without="aws-services"),
    }
    found = [name for name, text in places.items() if password(stack) in text or in_url(stack) in text]
    assert found == []


def test_the_rest_of_a_preview_stays_readable(stack: CloudStack) -> None:
    """A changed line of the environment is a changed line; the step with the connections is not touched."""
    stack.configure(env={"SITE_TITLE": "Visitors"})
    shown = stack.preview("--diff").text
    assert 'env.SITE_TITLE = "Visitors"' in shown
    assert "guestbook-connections" not in shown
    stack.configure(env={"SITE_TITLE": "Guestbook"})


def test_a_password_that_aws_changes_reaches_the_application_without_a_lost_request(stack: CloudStack) -> None:
    """As RDS does each week: the host asks again, and starts the same release beside itself with the new one."""
    (database,) = stack.account.all(DATABASE)
    before, slot = stack.host.active(), stack.host.slot()
    with Visitors(443, rate=20, domain=NAME, address=stack.address()) as visitors:
        services.rotate(stack.account, database["state"]["masterUserSecrets"][0]["secretArn"])
        stack.host.run("systemctl start guestbook-connections.service")
    assert visitors.failed == []
    assert (stack.host.active(), stack.host.slot() != slot) == (before, True)
    assert in_url(stack) in environment(stack)
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_the_timer_asks_each_minute(stack: CloudStack) -> None:
    """So that nobody has to know of it."""
    facts = stack.host.unit("guestbook-connections.timer", "ActiveState", "UnitFileState")
    assert facts == {"ActiveState": "active", "UnitFileState": "enabled"}


class Moments(Beside):
    """Notes when each of several things is first the case, in seconds of the monotonic clock."""

    def __init__(self, **holds: Callable[[], bool]) -> None:
        """Take what tells whether it is, by its name."""
        super().__init__("moments")
        self._holds = holds
        self._seen: dict[str, float] = {}

    def __enter__(self) -> dict[str, float]:
        """Begin to look; return what is seen."""
        self._thread.start()
        return self._seen

    def _go(self) -> None:
        while not self._ended.wait(0.2):
            awaited = {name: is_so for name, is_so in self._holds.items() if name not in self._seen}
            self._seen |= {name: time.monotonic() for name, is_so in awaited.items() if is_so()}


def leads_to_a_balancer(stack: CloudStack) -> bool:
    """Tell where the site's name leads."""
    record = next(one for one in stack.account.all(RECORD) if one["inputs"]["type"] == "A")
    return bool(record["inputs"].get("aliases"))


def is_open(stack: CloudStack, owner: str) -> bool:
    """Tell whether the world reaches the machines, or the balancer, on all ports of the site."""
    names = [one["inputs"]["tags"]["Name"] for one in stack.account.all(INGRESS)]
    return sum(f"-{owner}-http" in name for name in names) == 4


def test_a_second_machine_leaves_the_first_one_alone(stack: CloudStack) -> None:
    """One number in the stack file; the machine that serves goes on, and both have the release."""
    first, release = stack.machines()[0]["id"], stack.host.active()
    stack.configure(server={"count": 2})
    with Moments(moved=lambda: leads_to_a_balancer(stack), closed=lambda: not is_open(stack, "machines")) as when:
        stack.up()
    assert when["closed"] - when["moved"] >= TTL_SECONDS, "whoever remembers the address is served"
    assert [one["inputs"]["availabilityZone"] for one in stack.machines()] == ["eu-central-1a", "eu-central-1b"]
    assert stack.machines()[0]["id"] == first
    assert [stack.machine(number).active() for number in (1, 2)] == [stack.host.active()] * 2
    assert stack.host.active() == release
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_both_serve_what_is_in_one_database(stack: CloudStack) -> None:
    """What a visitor leaves at one machine is there at the other."""
    for number in (1, 2):
        stack.machine(number).run(
            "runuser -u guestbook -- sh -c 'set -a; . /srv/guestbook/active/env; cd /srv/guestbook/app && "
            f"/srv/guestbook/venv/bin/flask shell' <<'END'\n"
            "from guestbook.extensions import db\nfrom guestbook.models import Message\n"
            f"db.session.add(Message(author='machine {number}', text='hello'))\ndb.session.commit()\nEND"
        )
    for number in (1, 2):
        page = stack.site_of(number).get().text
        assert "machine 1" in page
        assert "machine 2" in page


def test_a_machine_answers_the_load_balancer_by_its_address(stack: CloudStack) -> None:
    """Which asks for the health path alone; any other page is for those who come by the site's name."""
    for number in (1, 2):
        address = stack.address(number)
        site = stack.site_of(number)
        assert site.get("/health", host=address).status == 200
        assert site.get("/", host=address).status == 404
        assert site.get("/health?all=1", host=address).status == 404


def test_the_application_sees_the_visitor_behind_the_load_balancer(stack: CloudStack) -> None:
    """By the last address that the balancer adds; one that a visitor has made up does not count."""
    stack.site_of().get("/health", headers={"X-Forwarded-For": "192.0.2.66, 198.51.100.7"})
    assert stack.host.run("tail -n 1 /var/log/nginx/guestbook-access.log").startswith("198.51.100.7 ")


def test_a_release_comes_to_both(stack: CloudStack) -> None:
    """Staged on both before either of them switches; the migration runs once."""
    stack.deploy(NEWER)
    assert [stack.site_of(number).version() for number in (1, 2)] == ["1.1.0", "1.1.0"]
    stack.deploy(GOOD)
    assert [stack.site_of(number).version() for number in (1, 2)] == ["1.0.0", "1.0.0"]


def test_state_on_a_machine_is_refused_with_several(stack: CloudStack) -> None:
    """Before anything is changed, each with the setting that helps."""
    stack.configure(env={"DATABASE_URL": "sqlite:////srv/guestbook/shared/data/a.db"}, media={"kind": "local"})
    refused = stack.preview(check=False)
    assert not refused.succeeded
    assert "flaskhost:env.DATABASE_URL" in refused.text
    assert "flaskhost:media.kind: must not be local with several machines" in refused.text
    stack.configure(env={"DATABASE_URL": None}, media={"kind": "s3"})


def test_both_machines_are_replaced_in_one_go_without_a_lost_request(stack: CloudStack) -> None:
    """One of the old ones serves until the new ones are well; they have the release, and the old ones are gone."""
    before = {one["id"] for one in stack.account.all(INSTANCE)}
    stack.configure(server={"instance_type": "m7g.medium"})
    with Balancer(stack.account) as balancer, Visitors(balancer.port, rate=20, domain=NAME, limit=540) as visitors:
        stack.up()
    assert visitors.failed == []
    assert visitors.versions == ["1.0.0"]
    until(lambda: len(stack.machines()) == 2, "the old machines are gone")
    assert not before & {one["id"] for one in stack.account.all(INSTANCE)}
    for number in (1, 2):
        assert stack.site_of(number).version() == "1.0.0"
        assert "machine 2" in stack.site_of(number).get().text


def test_one_machine_again_is_one_number_as_well(stack: CloudStack) -> None:
    """The names lead to the first one's address; when nobody remembers the balancer any more, that one goes."""
    stack.configure(server={"count": 1})
    kinds = {LISTENER: 2, TARGET: 2, INGRESS: 8}
    with Moments(
        moved=lambda: not leads_to_a_balancer(stack),
        closed=lambda: any(len(stack.account.all(kind)) < number for kind, number in kinds.items()),
    ) as when:
        stack.up()
    assert when["closed"] - when["moved"] >= TTL_SECONDS, "whoever remembers the balancer is served"
    assert len(stack.machines()) == 1
    assert stack.site_of().version() == "1.0.0"
    assert f"example.com. 60 A {stack.address()}" in stack.outputs()["records"]
