"""Who reaches a development server on a host that others reach: a fence on a real one, which its kernel has to keep."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from ops.local_server import engine
from tests.e2e.host import APP, HOME
from tests.e2e.machine import Machine
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PORT = 5000
STRANGERS = ["192.0.2.0/24"]
"""A list without this machine in it."""


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server that may have a firewall of its own, as a host has."""
    words = engine.systemd_words
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "systemd_words", lambda name: [*words(name), "--cap-add=NET_ADMIN"])
        made = Machine("networks", server_image, [PORT])
    with made:
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack in development mode on that server, which lets strangers in and not us."""
    assert pulumi
    made = Stack(tmp_path_factory.mktemp("networks"), "networks", machine=machine)
    made.configure(
        app={"mode": "development", "gunicorn": None, "static": None, "development": {"allowed_networks": STRANGERS}}
    )
    return made


def reached(machine: Machine) -> bool:
    """Tell whether the development server takes a connection from here."""
    try:
        with socket.create_connection(("127.0.0.1", machine.further_ports[PORT]), timeout=5) as connection:
            # The engine may take the connection itself: what counts is an answer.
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return connection.recv(20).startswith(b"HTTP/")
    except OSError:
        return False


def test_who_is_not_in_the_list_is_refused_while_the_server_answers_itself(stack: Stack, machine: Machine) -> None:
    """`up` has seen it, and so does this test, from outside of the host."""
    stack.up()
    assert stack.outputs()["verified"]["reachable by"].startswith(f"ok: {STRANGERS[0]}; seen that port {PORT} refuses")
    assert machine.host.succeeds(
        f"{HOME}/venv/bin/python -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:{PORT}/health\")'"
    )
    assert not reached(machine)


def test_the_fence_is_there_after_a_reboot(stack: Stack, machine: Machine) -> None:
    """Before the server listens again, not after it."""
    assert stack
    machine.host.shut_down()
    machine.host.boot()
    machine.host.wait_for(f"systemctl is-active --quiet {APP} && ss -tlH sport = {PORT} | grep -q .")
    assert f"table inet flaskhost_{APP}" in machine.host.run("nft list tables")
    assert not reached(machine)


def test_who_is_in_the_list_gets_in(stack: Stack, machine: Machine) -> None:
    """Another list is a release: the fence is another one before the server starts."""
    gateway = machine.host.run("ip route show default").split()[2]
    stack.configure(app={"development": {"allowed_networks": [*STRANGERS, f"{gateway}/32"]}})
    stack.up()
    assert reached(machine)


def test_without_a_fence_nothing_starts(stack: Stack, machine: Machine) -> None:
    """It fails closed: by `up`, and by whoever starts the unit."""
    host = machine.host
    host.run("mv /usr/sbin/nft /usr/sbin/nft.away && ln -s /bin/false /usr/sbin/nft && systemctl stop " + APP)
    assert not host.succeeds(f"systemctl start {APP}")
    assert "cannot be enforced on this host" in host.run(f"journalctl -q -u {APP} -o cat -n 20")
    stack.configure(app={"development": {"allowed_networks": STRANGERS}})
    refused = stack.up(check=False)
    assert not refused.succeeded
    assert "allowed_networks: cannot be enforced on this host, so the development server does not start" in refused.text
    assert not reached(machine)
    host.run(f"systemctl stop {APP}; mv /usr/sbin/nft.away /usr/sbin/nft")
    stack.up()
    assert not reached(machine)


def test_destroy_takes_the_fence_along(stack: Stack, machine: Machine) -> None:
    """Nothing of the application stays on a host that stays."""
    stack.destroy()
    assert machine.host.run("nft list tables") == ""
    assert not machine.host.succeeds(f"systemctl cat {APP}")
