"""One stack on several hosts: staged on every one before any switches, and what each serves after a failure."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import tiny
from tests.e2e.host import APP, HOME, service
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.site import Site
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.host import Host

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RATE = 15.0
"""Requests a second to each host: three of them share two cores."""


class Three:
    """A stack and three machines that are or were its hosts."""

    def __init__(self, stack: Stack, machines: list[Machine]) -> None:
        """Take them."""
        self.stack, self.machines = stack, machines
        self.application = stack.folder / "tiny"

    def use(self, *which: int) -> None:
        """Have the stack file name these hosts, in this order."""
        hosts = [self.settings(one) for one in which]
        self.stack.configure(server=dict.fromkeys(self.stack.configured("server")))
        self.stack.configure(server={"kind": "existing", "hosts": hosts})

    def settings(self, which: int) -> dict[str, Any]:
        """Return what a stack file says about one of the hosts."""
        return {name: value for name, value in self.machines[which].settings.items() if name != "kind"}

    def label(self, which: int) -> str:
        """Return what flaskhost calls one of the hosts."""
        return f"127.0.0.1-{self.machines[which].ports['ssh_port']}"

    def write(self, version: str) -> None:
        """Have another version of the application in its folder."""
        tiny.write(self.application, version)

    def serve(self) -> list[str]:
        """Return the version that a visitor of each host meets."""
        return [Site(machine.ports["http_port"], machine.ports["https_port"]).version() for machine in self.machines]

    def running(self) -> list[str]:
        """Return the process that serves on each host."""
        return [host.unit(service(host.slot()), "MainPID")["MainPID"] for host in self.hosts]

    @property
    def hosts(self) -> list[Host]:
        """What a test sees of the machines."""
        return [machine.host for machine in self.machines]


@pytest.fixture(scope="module")
def three(server_image: str, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """Return a stack on the first of three machines that have one login key."""
    assert pulumi
    with ExitStack() as opened:
        machines = [opened.enter_context(Machine(f"of-three-{at}", server_image)) for at in range(3)]
        for machine in machines[1:]:
            machine.authorize(machines[0].login_public_key)
        made = Three(Stack(tmp_path_factory.mktemp("hosts"), "hosts", machine=machines[0]), machines)
        made.write("1")
        made.stack.configure(
            app={
                "source": {"repository": None, "folder": str(made.application)},
                "version": None,
                "static": None,
                "health": {"seconds": 15},
            },
            env={"DATABASE_URL": None, "MEDIA_ROOT": None},
        )
        yield made


@pytest.fixture(scope="module")
def grown(three: Three) -> Three:
    """Deploy to one host, then to three."""
    three.stack.up()
    before = three.hosts[0].unit(service("blue"), "MainPID")
    three.use(0, 1, 2)
    preview = three.stack.preview()
    assert "replace" not in preview.text
    three.stack.up()
    assert three.hosts[0].unit(service("blue"), "MainPID") == before, "the first host was not touched"
    return three


def test_one_host_becomes_three_without_anything_being_torn_down(grown: Three) -> None:
    """The first one serves on in the same process, and the others have what it has."""
    assert grown.serve() == ["1", "1", "1"]
    assert set(grown.stack.outputs()["verified"]) == {grown.label(at) for at in range(3)}
    assert "unchanged" in grown.stack.up().text
    assert grown.serve() == ["1", "1", "1"]


def test_a_release_reaches_every_host_and_loses_no_request(grown: Three) -> None:
    """Visitors of each host meet the old version, then the new one, and nothing else."""
    grown.write("2")
    with ExitStack() as opened:
        loads = [opened.enter_context(Visitors(machine.ports["https_port"], rate=RATE)) for machine in grown.machines]
        grown.stack.up()
    assert [load.failed for load in loads] == [[], [], []]
    assert [load.versions for load in loads] == [["1", "2"]] * 3


def test_a_host_that_cannot_stage_leaves_all_of_them_on_the_old_release(grown: Three) -> None:
    """The message names the host; with the old version in the stack file again, nothing of the new one runs."""
    grown.write("3")
    running = grown.running()
    grown.hosts[2].run(f"touch {tiny.SICK.format(version='3')}")
    failed = grown.stack.up(check=False)
    assert not failed.succeeded
    assert f"error: {grown.label(2)}: " in failed.text
    assert "No host was switched" in failed.text
    assert (grown.serve(), grown.running()) == (["2", "2", "2"], running)
    grown.write("2")
    grown.stack.up()
    for host in grown.hosts:
        idle = service("green" if host.slot() == "blue" else "blue")
        host.wait_for(f"! systemctl is-active --quiet {idle}")
    assert grown.running() == running


def test_a_host_that_fails_in_its_switch_is_named_with_what_it_serves(grown: Three) -> None:
    """It goes back by itself; the others serve the new release, and the message says how to find out and what to do."""
    grown.write("4")
    grown.hosts[1].run(f"ln -sfn /nowhere {HOME}/run/gunicorn.sock")
    failed = grown.stack.up(check=False)
    assert not failed.succeeded
    assert f"error: {grown.label(1)}: " in failed.text
    assert "serves as before" in failed.text
    assert "python3 -m ops drift" in failed.text
    grown.hosts[1].run(f"flaskhost repair {APP}")
    assert grown.serve() == ["4", "2", "4"]


def test_the_earlier_value_takes_the_other_hosts_back(grown: Three) -> None:
    """What the stack file says is what every host serves, whichever had failed."""
    grown.write("2")
    grown.stack.up()
    assert grown.serve() == ["2", "2", "2"]


def test_another_up_tries_the_host_again(grown: Three) -> None:
    """After a failure in the switch, and with the cause gone, nothing but `up` is needed."""
    grown.write("4")
    grown.hosts[1].run(f"ln -sfn /nowhere {HOME}/run/gunicorn.sock")
    assert not grown.stack.up(check=False).succeeded
    grown.hosts[1].run(f"flaskhost repair {APP}")
    grown.stack.up()
    assert grown.serve() == ["4", "4", "4"]


def test_a_host_that_leaves_the_list_is_the_only_one_that_is_left(grown: Three) -> None:
    """The order of the others changes at the same time; they serve on in the processes that they had."""
    running = grown.running()
    grown.use(2, 0)
    grown.stack.up()
    assert not grown.hosts[1].succeeds(f"test -e {HOME}/active")
    left = [grown.hosts[at].unit(service(grown.hosts[at].slot()), "MainPID")["MainPID"] for at in (0, 2)]
    assert left == [running[0], running[2]]


def test_several_hosts_become_one_without_anything_being_torn_down(grown: Three) -> None:
    """The one that stays was the second of the list; a later destroy removes it from there."""
    host = grown.hosts[0]
    running = host.unit(service(host.slot()), "MainPID")
    grown.stack.configure(server={"hosts": None, **grown.settings(0)})
    grown.stack.up()
    assert host.unit(service(host.slot()), "MainPID") == running
    assert not grown.hosts[2].succeeds(f"test -e {HOME}/active")
    assert "unchanged" in grown.stack.up().text
    grown.stack.destroy()
    assert not host.succeeds(f"test -e {HOME}/active")
