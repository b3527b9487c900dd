"""What was changed by hand on a server: found by a command, shown by a preview, put back by `up`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e import tiny
from tests.e2e.host import APP, HOME, service
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.stack import TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SITE, UNIT = f"/etc/nginx/sites-available/{APP}", f"/etc/systemd/system/{APP}.service"
RATE = 15.0
PACKAGE = "tree"
"""One that nothing else needs, so that it is removed and installed quickly."""


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server."""
    with Machine("drift", server_image) as made:
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack that is deployed there."""
    assert pulumi
    made = Stack(tmp_path_factory.mktemp("drift"), "drift", machine=machine)
    tiny.write(made.folder / "tiny", "1")
    source = {"repository": None, "folder": str(made.folder / "tiny")}
    made.configure(app={"source": source, "version": None, "static": None, "packages": [PACKAGE]})
    made.up()
    return made


def drift(stack: Stack) -> tuple[int, str]:
    """Run the operator's command; return its status, and what it says."""
    words = ["-m", "ops", "drift", "--stack", stack.name]
    try:
        done = subprocess.run(
            [sys.executable, *words], cwd=TREE, env=stack.environment, capture_output=True, text=True, check=False
        )
    finally:
        # The stack file is elsewhere, and Pulumi notes the salt of the passphrase where it looks for one.
        (TREE / f"Pulumi.{stack.name}.yaml").unlink(missing_ok=True)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_different_after_an_up(stack: Stack) -> None:
    """The command names the host and what it serves."""
    status, said = drift(stack)
    assert (status, "as it was written" in said) == (0, True), said


def test_each_change_by_hand_is_found(stack: Stack, machine: Machine) -> None:
    """Files, modes, units, packages, all at once; the difference of a text can be read, and the status is 2."""
    host = machine.host
    host.run(f"echo '# by hand' >> {SITE} && echo '# by hand' >> {UNIT} && chmod 777 {HOME}")
    host.run(f"echo 'workers = 1' >> $(readlink -f {HOME}/active/config)/gunicorn.conf.py")
    host.run(f"apt-get -qq remove -y {PACKAGE} && systemctl disable -q {APP}.service")
    host.run(f"systemctl stop {APP}.service {service('blue')}")
    status, said = drift(stack)
    assert status == 2, said
    for line in (
        f"  {SITE} has another content",
        f"  {UNIT} has another content",
        "      +# by hand",
        "      +workers = 1",
        f"  {HOME} has the mode 0777 instead of 0755",
        f"  package {PACKAGE} is not installed",
        f"  {APP}.service is disabled instead of enabled",
        f"  {service('blue')} is inactive instead of active",
    ):
        assert f"{line}\n" in said


def test_without_the_setting_a_preview_sees_nothing_and_connects_to_nobody(stack: Stack, machine: Machine) -> None:
    """A no-op stays one."""
    before = machine.host.logins()
    assert "unchanged" in stack.preview().text
    assert machine.host.logins() == before


def test_with_the_setting_a_preview_shows_it_and_up_puts_all_of_it_back(stack: Stack) -> None:
    """The preview says what is different; after the `up` neither the command nor a second preview finds anything."""
    stack.configure_value("drift", value="preview")
    shown = stack.preview("--diff").text
    assert f"{SITE} has another content" in shown
    assert "changed by hand since the last update" in shown
    stack.up()
    assert stack.site.version() == "1"
    status, said = drift(stack)
    assert status == 0, said
    second = stack.preview().text
    assert "unchanged" in second
    assert "to update" not in second
    assert "changed by hand" not in second


def test_a_repair_loses_no_request(stack: Stack, machine: Machine) -> None:
    """What runs with a changed unit is started anew in the other slot; what stands in the addition is not shown."""
    host = machine.host
    slot = host.slot()
    added = f"/etc/systemd/system/{service(slot)}.d/odd.conf"
    host.run(f"mkdir -p $(dirname {added})")
    machine.write(added, "[Service]\nEnvironment=ODD=a-canary\n")
    host.run("systemctl daemon-reload")
    with Visitors(machine.ports["https_port"], rate=RATE) as visitors:
        done = stack.up()
    assert visitors.failed == []
    assert host.slot() != slot
    assert f"{service(slot)} has an added {added}" in done.text
    assert "a-canary" not in done.text
    assert drift(stack)[0] == 0


def test_a_rollback_on_the_host_is_a_difference_that_up_ends(stack: Stack, machine: Machine) -> None:
    """Host and stack disagree until somebody decides; this setting has decided."""
    tiny.write(stack.folder / "tiny", "2")
    stack.up()
    machine.host.run(f"flaskhost rollback {APP}")
    assert stack.site.version() == "1"
    status, said = drift(stack)
    assert status == 2, said
    assert "  active release is " in said
    stack.up()
    assert stack.site.version() == "2"
    assert drift(stack)[0] == 0


def test_a_host_that_does_not_answer_is_no_host_without_a_difference(stack: Stack, machine: Machine) -> None:
    """The status is 1, and a preview with the setting says why it cannot be made."""
    machine.host.run("systemctl stop ssh.service")
    try:
        status, said = drift(stack)
        failed = stack.preview(check=False)
    finally:
        machine.host.run("systemctl start ssh.service")
    assert status == 1, said
    assert "could not be asked" in said
    assert not failed.succeeded
    assert "flaskhost:drift: preview has to look at" in failed.text
