"""A server that is there already: the smallest stack file, and ways to the same machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e import tiny
from tests.e2e.machine import Machine
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

OTHER_SSH_PORT = 2222
MOST_LINES = 10


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server that offers SSH on two ports."""
    with Machine("existing", server_image, [OTHER_SSH_PORT]) as made:
        made.host.run(f"printf 'Port 22\\nPort {OTHER_SSH_PORT}\\n' > /etc/ssh/sshd_config.d/ports.conf")
        made.host.run("systemctl reload ssh")
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack with the smallest file that there is: a folder of two files on that server."""
    assert pulumi
    folder = tmp_path_factory.mktemp("existing")
    made = Stack(folder, "existing", machine=machine)
    tiny.write(folder / "tiny", "1")
    write_smallest(made, folder / "tiny")
    return made


def write_smallest(stack: Stack, app: Path) -> None:
    """Write the stack's file anew, with nothing in it that has a default."""
    document = yaml.safe_load(stack.file.read_text())
    server = document["config"]["flaskhost:server"]
    key = document["config"]["flaskhost:credentials"]["ssh_key"]["secure"]
    stack.file.write_text(
        f"""encryptionsalt: {document["encryptionsalt"]}
config:
  flaskhost:server:
    kind: existing
    address: {server["address"]}
    port: {server["port"]}
    host_key: {server["host_key"]}
  flaskhost:app: {{name: tiny, source: {{folder: {app}}}}}
  flaskhost:credentials:
    ssh_key: {{secure: "{key}"}}
"""
    )


def test_ten_lines_are_enough_for_a_server_that_is_there(stack: Stack) -> None:
    """A newcomer writes where, what and with which key, and `up` makes the server serve it over HTTPS."""
    assert len(stack.file.read_text().splitlines()) <= MOST_LINES
    stack.up()
    assert stack.site.version() == "1"
    assert stack.outputs()["url"] == "https://127.0.0.1/"
    assert [seen for seen in stack.outputs()["verified"].values() if not seen.startswith("ok: ")] == []


def test_another_up_connects_to_nobody(stack: Stack) -> None:
    """What is there already is not asked for."""
    before = stack.host.logins()
    assert "unchanged" in stack.up().text
    assert stack.host.logins() == before


def test_another_address_and_ssh_port_of_the_same_machine_replace_nothing(stack: Stack, machine: Machine) -> None:
    """The host key says which machine it is: every resource stays, and so does the process that serves."""
    before, running = stack.identities("command:"), machine.host.unit("tiny-gunicorn@blue.service", "MainPID")
    stack.configure(server={"address": "localhost", "port": machine.further_ports[OTHER_SSH_PORT]})
    machine.host.run("printf 'Port 2222\\n' > /etc/ssh/sshd_config.d/ports.conf && systemctl reload ssh")
    stack.up()
    assert stack.identities("command:") == before
    assert machine.host.unit("tiny-gunicorn@blue.service", "MainPID") == running
    assert stack.outputs()["url"] == "https://localhost/"


def test_another_host_at_that_address_is_not_entered(stack: Stack, machine: Machine) -> None:
    """Neither key nor document reaches a machine that cannot show the host key."""
    right = stack.configured("server")["host_key"]
    before = machine.host.logins()
    stack.configure(server={"host_key": machine.login_public_key}, app={"wsgi": "wsgi:create_app()"})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "host key mismatch" in failed.text
    assert machine.host.logins() == before
    stack.configure(server={"host_key": right}, app={"wsgi": None})
    assert stack.up().succeeded
    assert stack.site.version() == "1"
