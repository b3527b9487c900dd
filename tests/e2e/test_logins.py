"""Who logs in, and how: users with sudo, with and without a password, and a bastion in between."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bastion import Way, through_bastion
from tests.e2e.host import APP
from tests.e2e.machine import Machine
from tests.e2e.stack import GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FREE, ASKED, REFUSED = "deployer", "keeper", "guest"
"""Users: one with NOPASSWD, one whom sudo asks for a password, one who may do nothing."""

PASSWORD = f'it\'s "{secrets.token_hex(8)}" $HOME %'


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server with three users, where root cannot log in."""
    with Machine("logins", server_image) as made:
        made.add_user(FREE, made.login_public_key)
        made.add_user(ASKED, made.login_public_key, PASSWORD)
        made.add_user(REFUSED, made.login_public_key)
        made.allow_sudo(FREE, asked=False)
        made.allow_sudo(ASKED, asked=True)
        made.refuse_root()
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack on that server, which logs in as the user with NOPASSWD."""
    assert pulumi
    made = Stack(tmp_path_factory.mktemp("logins"), "logins", machine=machine)
    made.configure(server={"user": FREE})
    return made


def test_a_user_with_sudo_deploys(stack: Stack) -> None:
    """The uploads are in that user's home, and everything that is made is root's as ever."""
    stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert stack.host.run(f"stat -c %U /home/{FREE}/.flaskhost /srv/{APP}/releases/*").split() == [FREE, "root"]


def test_a_password_of_sudo_is_used_and_found_nowhere(stack: Stack) -> None:
    """Another user, whom sudo asks: the next release works; the password is in no output, state, file or journal."""
    stack.encrypt("credentials.sudo_password", PASSWORD)
    stack.configure(server={"user": ASKED}, app={"version": NEWER})
    runs = [stack.preview("--diff"), stack.up("--diff")]
    assert stack.site.version() == "1.1.0"
    core = PASSWORD.split('"')[1]
    assert core not in "".join(str(run) for run in runs) + stack.on_disk()
    assert core not in stack.host.journal()
    places = "/boot /etc /home /opt /root /run /srv /tmp /usr /var"
    found = stack.host.do(f"grep -rlaF --devices=skip --exclude-dir=journal {core} {places} 2> /dev/null", seconds=200)
    assert found.stdout == ""


def test_a_wrong_password_changes_nothing_and_is_named(stack: Stack) -> None:
    """The message says which setting it is; the release before serves on."""
    stack.encrypt("credentials.sudo_password", "wrong")
    stack.configure(web={"body_size": "20m"})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "flaskhost:credentials.sudo_password is not this user's password: set it again" in failed.text
    assert stack.site.version() == "1.1.0"


def test_a_user_without_the_right_is_told_so(stack: Stack) -> None:
    """Before anything is changed on the host."""
    stack.configure(server={"user": REFUSED}, credentials={"sudo_password": None})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert f"{REFUSED} cannot become root without a password: set flaskhost:credentials.sudo_password" in failed.text
    assert stack.site.version() == "1.1.0"


def test_a_server_that_takes_no_variable_is_told_so(stack: Stack, machine: Machine) -> None:
    """The password cannot get there: the message names AcceptEnv, the setting of the SSH server."""
    stack.encrypt("credentials.sudo_password", PASSWORD)
    stack.configure(server={"user": ASKED})
    machine.host.run("sed -i 's/^AcceptEnv/#AcceptEnv/' /etc/ssh/sshd_config && systemctl reload ssh")
    failed = stack.up(check=False)
    machine.host.run("sed -i 's/^#AcceptEnv/AcceptEnv/' /etc/ssh/sshd_config && systemctl reload ssh")
    assert not failed.succeeded
    assert "AcceptEnv" in failed.text
    assert "LC_FLASKHOST_SUDO" in failed.text
    stack.up()
    assert "client_max_body_size 20m" in machine.host.run(f"cat /etc/nginx/sites-available/{APP}")


@pytest.fixture(scope="module")
def way(server_image: str, machine: Machine) -> Iterator[Way]:
    """Return a way to the server through a bastion."""
    with through_bastion(machine, server_image) as made:
        yield made


def test_a_server_is_reached_through_a_bastion(stack: Stack, way: Way) -> None:
    """With a user and a key of its own there, and both host keys pinned; it is the same machine, so nothing is new."""
    before = stack.identities("command:remote:Command")
    stack.encrypt("credentials.bastion_key", way.key)
    stack.configure(server=way.settings)
    stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert "Accepted publickey for jump" in way.bastion.host.run("journalctl -q -u ssh -o cat")
    assert stack.identities("command:remote:Command") == before


def test_a_bastion_with_another_key_is_not_used(stack: Stack, way: Way, machine: Machine) -> None:
    """Who stands in between could read everything: neither the server nor anybody behind it is asked."""
    before = machine.host.logins()
    stack.configure(server={"bastion": {"host_key": machine.settings["host_key"]}}, web={"body_size": "30m"})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "proxy: " in failed.text
    assert "host key mismatch" in failed.text
    assert machine.host.logins() == before
    stack.configure(server=way.settings)
    stack.up()


def test_destroy_goes_the_same_way(stack: Stack, machine: Machine) -> None:
    """Through the bastion and with the password: what is left is what people have put there, and nobody's uploads."""
    stack.destroy()
    assert machine.host.run(f"ls /srv/{APP}/shared") == "data"
    assert not machine.host.succeeds(f"ls /home/{ASKED}/.flaskhost")
    assert not machine.host.succeeds("ls /usr/local/bin/flaskhost")
