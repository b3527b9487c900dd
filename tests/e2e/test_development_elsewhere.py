"""`make dev` on a server that is there already: through a bastion, as a user whom sudo asks for a password."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from tests.e2e.bastion import Way, through_bastion
from tests.e2e.development import HOME_PAGE, Folder, Watching
from tests.e2e.machine import Machine
from tests.e2e.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PORT = 5000
USER, PASSWORD = "keeper", secrets.token_hex(12)


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server whose only login has to give sudo a password."""
    with Machine("elsewhere", server_image, [PORT]) as made:
        made.add_user(USER, made.login_public_key, PASSWORD)
        made.allow_sudo(USER, asked=True)
        made.refuse_root()
        yield made


@pytest.fixture(scope="module")
def way(machine: Machine, server_image: str) -> Iterator[Way]:
    """Return a way to the server through a bastion."""
    with through_bastion(machine, server_image) as made:
        yield made


@pytest.fixture(scope="module")
def folder(machine: Machine, way: Way, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Return a folder that was deployed there."""
    assert pulumi
    stack = Stack(tmp_path_factory.mktemp("elsewhere"), "elsewhere", machine=machine)
    stack.encrypt("credentials.bastion_key", way.key)
    stack.encrypt("credentials.sudo_password", PASSWORD)
    stack.configure(server={"user": USER, **way.settings})
    made = Folder(stack, tmp_path_factory.mktemp("source") / "guestbook", machine.further_ports[PORT])
    stack.up()
    return made


def test_a_saved_file_goes_the_way_that_a_deploy_goes(folder: Folder, way: Way, machine: Machine) -> None:
    """One session for all edits, with the stack's own keys and password, and the password is nowhere to be read."""
    watching = Watching(folder)
    try:
        watching.says("Watching")
        watching.says("PIN of its debugger")
        before = way.bastion.host.logins(), machine.host.logins()
        for number in range(2):
            folder.replace(HOME_PAGE, "Messages" if number == 0 else "Edit 0", f"Edit {number}")
            folder.answers(f"Edit {number}")
        assert (way.bastion.host.logins(), machine.host.logins()) == before
        assert PASSWORD not in watching.text + machine.host.journal() + machine.host.run("ps -eo args")
        assert watching.end() == 0
    finally:
        watching.close()
