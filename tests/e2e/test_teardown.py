"""How a stack leaves a host: what goes, what stays, moving to another host, and hosts that are dead."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ops.abandon import KIND
from ops.local_server import server
from tests.e2e.host import APP, HOME, Host
from tests.e2e.machine import Machine
from tests.e2e.site import PICTURE
from tests.e2e.stack import BROKEN, GOOD, TREE, Run, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WORDS = "Here before the end"


@pytest.fixture(scope="module")
def first(server_image: str) -> Iterator[Machine]:
    """Return a server."""
    with Machine("first", server_image) as made:
        yield made


@pytest.fixture(scope="module")
def second(server_image: str) -> Iterator[Machine]:
    """Return another one."""
    with Machine("second", server_image) as made:
        yield made


@pytest.fixture(scope="module")
def stack(first: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack on the first server."""
    assert pulumi
    return Stack(tmp_path_factory.mktemp("teardown"), "teardown", machine=first)


def left(host: Host) -> list[str]:
    """Return what is left of the application and of flaskhost on a host, folders with nothing in them aside."""
    places = f"/srv /etc/flaskhost /var/cache/flaskhost /usr/local/lib /usr/local/bin /root/.flaskhost /var/log/{APP}"
    names = f"find /etc/systemd/system /etc/nginx /etc/logrotate.d -name '*{APP}*' -o -name '*flaskhost*'"
    found = host.do(f"{{ find {places} ! -type d; {names}; }} 2> /dev/null").stdout.split()
    return sorted(path for path in found if "local-server" not in path)


def abandon(stack: Stack, *words: str) -> str:
    """Run the command that forgets a dead host."""
    line = ["-m", "ops", "abandon", "--stack", stack.name, *words]
    try:
        done = subprocess.run(
            [sys.executable, *line], cwd=TREE, env=stack.environment, capture_output=True, text=True, check=False
        )
    finally:
        # The stack file is elsewhere, and Pulumi notes the salt of the passphrase where it looks for one.
        (TREE / f"Pulumi.{stack.name}.yaml").unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def teardowns(stack: Stack) -> int:
    """Return how many removals the state holds."""
    resources = stack.export()["deployment"].get("resources", [])
    return len([one for one in resources if KIND in one["urn"]])


@pytest.fixture(scope="module")
def destroyed(stack: Stack, first: Machine) -> Run:
    """Deploy, have a visitor leave something, and destroy."""
    stack.deploy(GOOD)
    stack.site.sign("Ada", WORDS)
    assert first.host.succeeds(f"getent passwd {APP}_build")
    return stack.destroy()


def test_destroy_removes_all_but_what_people_have_put_there(destroyed: Run, first: Machine) -> None:
    """Units, site, code, environment, certificates and the command are gone; the database and uploads are not."""
    host = first.host
    data = [path for path in left(host) if not path.startswith(f"{HOME}/shared/media/")]
    assert data == [f"{HOME}/shared/data/guestbook.db"]
    assert host.run(f"ls {HOME} {HOME}/shared").split() == [f"{HOME}:", "shared", f"{HOME}/shared:", "data", "media"]
    assert host.run(f"systemctl list-units --all --no-legend '{APP}*'") == ""
    assert not host.succeeds(f"pgrep -u {APP}")
    assert not host.succeeds(f"getent passwd {APP}_build || getent group {APP}_build")
    assert host.run("systemctl is-active nginx") == "active"
    assert f"kept: {HOME}/shared/data (1 file, " in destroyed.text
    assert f"kept: {HOME}/shared/media (1 file, {len(PICTURE)} bytes)" in destroyed.text


@pytest.mark.usefixtures("destroyed")
def test_what_stays_belongs_to_the_account_that_stays(first: Machine) -> None:
    """No account that is made later gets its number, and so its files."""
    owners = first.host.run(
        f"stat -c %U {HOME}/shared/data {HOME}/shared/data/guestbook.db {HOME}/shared/media"
    ).split()
    assert owners == [APP] * 3


@pytest.mark.usefixtures("destroyed")
def test_a_second_destroy_has_nothing_to_do(stack: Stack, first: Machine) -> None:
    """It connects to nobody."""
    before = first.host.logins()
    stack.destroy()
    assert first.host.logins() == before


@pytest.mark.usefixtures("destroyed")
def test_a_new_deploy_finds_its_data(stack: Stack) -> None:
    """What a visitor had written is on the page again, with its picture."""
    stack.up()
    assert WORDS in stack.site.get("/").text
    assert "Picture by Ada" in stack.site.get("/").text


def test_a_forced_replacement_removes_nothing(stack: Stack, first: Machine) -> None:
    """Pulumi makes the new resource and then removes the old one, which is the same application."""
    stack.up(
        "--replace",
        f"urn:pulumi:{stack.name}::flaskhost::flaskhost:teardown:Teardown$command:remote:Command::{APP}-teardown",
    )
    assert stack.site.version() == "1.0.0"
    assert first.host.status()["active"]


def test_an_application_that_was_removed_by_hand_is_deployed_anew(stack: Stack, first: Machine) -> None:
    """Pulumi holds it for deployed; what the message says brings it back, with its data."""
    stack.up()
    # With another application there, the flaskhost command stays, and says what is the matter.
    there = "/etc/flaskhost"
    first.host.run(f"mkdir {there}/blog && sed s/{APP}/blog/ {there}/{APP}/app.json > {there}/blog/app.json")
    first.host.run(f"flaskhost remove {APP}")
    stack.configure(env={"SITE_TITLE": "Back again"})
    target = "**:remote:**"
    assert f"`pulumi destroy --target '{target}'`" in stack.up(check=False).text
    words = ("destroy", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name)
    stack.pulumi(*words, "--config-file", str(stack.file), "--target", target)
    stack.up()
    assert stack.site.version() == "1.0.0"
    first.host.run(f"rm -r {there}/blog")


def test_a_move_that_fails_leaves_the_first_host_serving(stack: Stack, first: Machine, second: Machine) -> None:
    """Nothing is removed there before the other one serves."""
    stack.use(second)
    stack.configure(app={"version": BROKEN})
    assert not stack.up(check=False).succeeded
    stack.use(first)
    stack.configure(server=second.settings)
    assert stack.site.version() == "1.0.0"


def test_a_move_deploys_there_before_it_removes_here(stack: Stack, first: Machine, second: Machine) -> None:
    """The second host serves; the first one keeps what people have put there, and nothing else."""
    stack.use(second)
    stack.configure(app={"version": GOOD})
    moved = stack.up()
    assert stack.site.version() == "1.0.0"
    assert moved.text.index("switch: done in") < moved.text.index(f"{APP} is removed from this host")
    assert {path.split("/")[4] for path in left(first.host)} == {"data", "media"}
    assert second.host.status()["active"]


def test_a_host_that_died_is_left_with_one_command(stack: Stack, first: Machine, second: Machine) -> None:
    """The stack serves elsewhere at once; what cannot be removed any more is forgotten when a person says so."""
    server.delete({"name": second.name})
    stack.use(first)
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert stack.site.version() == "1.0.0"
    assert WORDS in stack.site.get("/").text
    assert teardowns(stack) == 2
    assert "forgotten: guestbook-teardown of a host that was left" in abandon(stack)
    assert teardowns(stack) == 1
    assert "unchanged" in stack.up().text
    assert "nothing to forget" in abandon(stack)


def test_with_purge_nothing_is_left(stack: Stack, first: Machine) -> None:
    """Who says purge before the end has no data, no account and no log of it on the host."""
    stack.configure_value("purge", value=True)
    stack.up()
    gone = stack.destroy()
    assert "with all of its data" in gone.text
    assert left(first.host) == []
    assert not first.host.succeeds(f"getent passwd {APP} || getent group {APP} {APP}_build")
    assert not first.host.succeeds(f"ls -d {HOME} /var/log/nginx/{APP}*")


def test_the_stack_of_a_dead_host_can_be_destroyed(stack: Stack, first: Machine) -> None:
    """Without the host its removal fails, and says where; with --current the state is empty afterwards."""
    stack.up()
    first.close()
    failed = stack.pulumi("destroy", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name, check=False)
    assert not failed.succeeded
    assert "forgotten: guestbook-teardown; what is on that host stays there" in abandon(stack, "--current")
    stack.destroy()
    assert stack.export()["deployment"].get("resources", []) == []
