"""The committed Pulumi.prod.yaml, from VPC to answered health check, and everything that brings a new machine.

The engine, the steps on the machine, cloud-init, systemd, Nginx and the file systems are real; the account is a folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.cloud import CloudStack, marks
from tests.e2e.host import HOME, until
from tests.e2e.stack import GOOD, NEWER
from tests.plugins.aws.image import instance_image
from tests.plugins.aws.kinds import EIP, SNAPSHOT, VOLUME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.local_server.engine import Engine

pytestmark = marks
CAP_SYS_RESOURCE = 24
CAPABILITIES = re.search(r"CapBnd:\s*([0-9a-f]+)", Path("/proc/self/status").read_text())
MAY_GROW = bool(CAPABILITIES and int(CAPABILITIES[1], 16) >> CAP_SYS_RESOURCE & 1)
KEPT = f"{HOME}/shared/media/kept.txt"


@pytest.fixture(scope="module")
def stack(container_engine: Engine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStack]:
    """Return the stack of the committed file, deployed: the tests are one after the other of its life."""
    assert pulumi
    made = CloudStack(tmp_path_factory.mktemp("aws"), instance_image(container_engine))
    try:
        made.small()
        made.up()
        yield made
    finally:
        made.close()


def test_up_ends_with_a_site_that_answers(stack: CloudStack) -> None:
    """From nothing to the health check in one `up`, every point of the checklist seen."""
    assert stack.site_of().version() == "1.0.0"
    assert [seen for seen in stack.outputs()["verified"].values() if not seen.startswith("ok: ")] == []
    assert stack.outputs()["url"] == "https://example.com/"


def test_the_very_first_connection_was_verified(stack: CloudStack) -> None:
    """The machine shows the key that was made before it, and has no other; nobody asked whether to trust it."""
    keys = stack.host.run("ls /etc/ssh/ssh_host_*_key").split()
    assert keys == ["/etc/ssh/ssh_host_ed25519_key"]
    state = str(stack.export("--show-secrets")["deployment"]["resources"])
    assert stack.host.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub") in state


def test_no_private_key_is_open_in_the_state(stack: CloudStack) -> None:
    """Neither that of the host nor that of the login, in none of the files of the backend."""
    body = "".join(stack.host.run("sed '1d;$d' /etc/ssh/ssh_host_ed25519_key").split())
    assert "OPENSSH PRIVATE KEY" not in stack.on_disk()
    assert body[:60] not in stack.on_disk()


def test_the_names_lead_to_one_site(stack: CloudStack) -> None:
    """The second name is sent on to the first one, at once and with its path, with TLS and without."""
    site = stack.site_of()
    for plain in (True, False):
        answer = site.get("/some?page=1", plain=plain, host="www.example.com")
        assert (answer.status, answer.headers["location"]) == (301, "https://example.com/some?page=1")


def test_another_up_connects_to_nobody(stack: CloudStack) -> None:
    """What is there already is not asked for, and nothing is left to do."""
    before = stack.host.logins()
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)
    assert stack.host.logins() == before


def test_data_lies_on_a_disk_of_its_own(stack: CloudStack) -> None:
    """Uploads, data and dumps do, the code does not; the application's units want that disk."""
    host = stack.host
    host.run(f"echo precious > {KEPT}")
    devices = {
        path: host.run(f"stat -c %d {path}") for path in ("/", "/data", f"{HOME}/shared", f"{HOME}/backups", HOME)
    }
    assert devices["/data"] == devices[f"{HOME}/shared"] == devices[f"{HOME}/backups"]
    assert devices["/"] == devices[HOME] != devices["/data"]
    assert f"{HOME}/shared" in host.unit("guestbook-gunicorn@blue.service", "RequiresMountsFor")["RequiresMountsFor"]


def test_a_reboot_brings_site_and_disk_back(stack: CloudStack) -> None:
    """By itself, in the right order."""
    stack.reboot()
    assert stack.site_of().wait_until_healthy() == "1.0.0"
    assert stack.host.run(f"cat {KEPT}") == "precious"


def test_nothing_of_the_application_starts_without_its_disk(stack: CloudStack) -> None:
    """An empty folder in place of the uploads would be worse than no answer; SSH is there to repair it."""
    host = stack.host
    label = "/dev/disk/by-label/flaskhost-data"
    host.run(f"systemctl stop guestbook data.mount && mv {label} /root/away")
    assert not host.succeeds("systemctl start guestbook")
    assert host.unit("guestbook-gunicorn@blue.service", "ActiveState")["ActiveState"] != "active"
    # What runs commands of a release, migrations among them, says the same of its units.
    assert not host.succeeds(f"systemd-run --wait --property=RequiresMountsFor={HOME}/shared true")
    host.run(f"mv /root/away {label} && systemctl start guestbook")
    assert stack.site_of().wait_until_healthy() == "1.0.0"


def test_a_release_and_the_way_back_are_as_on_any_server(stack: CloudStack) -> None:
    """Only the steps of the release run; nothing on AWS is touched."""
    before = stack.identities("aws:")
    stack.deploy(NEWER)
    assert stack.site_of().version() == "1.1.0"
    stack.deploy(GOOD)
    assert stack.site_of().version() == "1.0.0"
    assert stack.identities("aws:") == before


@pytest.mark.skipif(not MAY_GROW, reason="the kernel grows a mounted file system for CAP_SYS_RESOURCE, missing here")
def test_the_disk_grows_in_place(stack: CloudStack) -> None:
    """While the application serves; the machine stays."""
    before = stack.identities("aws:")
    stack.configure(server={"data_volume": 3})
    preview = stack.preview("--diff").text
    assert "+ size = 3" in preview
    stack.up()
    assert int(stack.host.run("df --output=size -BM /data | tail -n 1").strip("M")) > 2800
    assert stack.identities("aws:") == before
    assert stack.site_of().version() == "1.0.0"


def test_a_wrong_image_costs_nothing(stack: CloudStack) -> None:
    """AWS refuses it, the machine that is there serves on, and the earlier value is no change at all."""
    before = stack.identities("aws:")
    stack.configure(server={"ami": "ami-00000000000000000"})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "InvalidAMIID" in failed.text
    assert stack.site_of().version() == "1.0.0"
    stack.configure(server={"ami": None})
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)
    assert stack.identities("aws:") == before


@pytest.mark.parametrize("change", [{"instance_type": "m7g.medium"}, {"rebuild": "2026-12"}])
def test_another_machine_has_the_same_release_address_and_data(stack: CloudStack, change: dict[str, str]) -> None:
    """In one `up`: another type, and a newer image when it is asked for; the old machine is gone then."""
    host, address, release = stack.host.name, stack.address(), stack.host.active()
    volume = [one["id"] for one in stack.account.all(VOLUME)]
    stack.host.run(f"echo 'written by {host}' >> {KEPT}")
    stack.configure(server=change)
    stack.up()
    assert stack.host.name != host
    assert len(stack.machines()) == 1
    assert (stack.address(), stack.host.active()) == (address, release)
    assert stack.site_of().version() == "1.0.0"
    assert stack.host.run(f"tail -n 1 {KEPT}") == f"written by {host}"
    assert [one["id"] for one in stack.account.all(VOLUME)] == volume
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_a_rebuild_brings_other_keys(stack: CloudStack) -> None:
    """So that whoever has learned those of a machine can neither log in to the next one nor pass for it."""
    shown, let_in = "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub", "cat /home/ubuntu/.ssh/authorized_keys"
    before = {what: stack.host.run(what) for what in (shown, let_in)}
    stack.configure(server={"rebuild": "2027-01"})
    stack.up()
    assert all(stack.host.run(what) != known for what, known in before.items())
    assert stack.site_of().version() == "1.0.0"


def test_the_earlier_file_brings_the_earlier_machine_back(stack: CloudStack) -> None:
    """After a machine that never came to serve: it had taken disk and address, and the old one was stopped for it."""
    before, keys = stack.machines()[0]["id"], stack.identities("aws:ec2/keyPair")
    stack.configure(server={"rebuild": "in-vain"}, app={"packages": ["no-such-package"]})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "no-such-package" in failed.text
    assert len(stack.machines()) == 2
    stack.configure(server={"rebuild": "2027-01"}, app={"packages": None})
    stack.up()
    assert [one["id"] for one in stack.machines()] == [before]
    assert stack.site_of().version() == "1.0.0"
    assert stack.identities("aws:ec2/keyPair") == keys
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_another_zone_takes_the_newest_data_along_and_so_does_the_way_back(stack: CloudStack) -> None:
    """Copied when nobody writes any more; each volume before is kept, and never taken for the newest one."""
    for number, zone in ((2, "eu-central-1b"), (3, "eu-central-1a")):
        host = stack.host.name
        stack.host.run(f"echo 'last words to {number}' >> {KEPT}")
        stack.configure(server={"zone": zone})
        stack.up()
        assert stack.host.name != host
        assert stack.machines()[0]["inputs"]["availabilityZone"] == zone
        assert stack.host.run(f"tail -n 1 {KEPT}") == f"last words to {number}"
        assert stack.site_of().version() == "1.0.0"
        assert len(stack.account.all(VOLUME)) == number
        assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_a_snapshot_is_gone_back_to_on_a_volume_of_its_own(stack: CloudStack) -> None:
    """The data of that moment serves, and the volume that was in use is kept as it was."""
    snapshot = max(stack.account.all(SNAPSHOT), key=lambda one: str(one["created"]))["id"]
    stack.host.run(f"echo 'a mistake' > {KEPT}")
    stack.configure(server={"restore_from": snapshot})
    stack.up()
    assert stack.host.run(f"tail -n 1 {KEPT}") == "last words to 3"
    assert len(stack.account.all(VOLUME)) == 4
    assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_destroy_refuses_to_lose_data_before_it_removes_anything(stack: CloudStack) -> None:
    """It names what it would have lost, and the ways on; also where nobody is asked and no preview is made."""
    refused = stack.pulumi(
        "destroy", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name, check=False
    )
    assert not refused.succeeded
    assert "nothing was removed" in refused.text
    for kept in (
        "Volume guestbook-data-4 (vol-",
        "Eip guestbook-machine-1 (eipalloc-",
        "Record guestbook-example.com-a (",
    ):
        assert kept in refused.text
    assert "flaskhost:purge: true" in refused.text
    assert stack.site_of().version() == "1.0.0"


def test_destroy_of_the_rest_keeps_what_holds_data_or_a_name_and_up_goes_on_with_it(stack: CloudStack) -> None:
    """The machine goes, its data and its address stay, and the next `up` serves with both again."""
    address, volumes = stack.address(), {one["id"] for one in stack.account.all(VOLUME)}
    words = ("--exclude-protected", "--yes", "--skip-preview", "--non-interactive", "--stack", stack.name)
    told = stack.pulumi("destroy", *words).text
    assert "are kept with what they need" in told
    assert "Volume guestbook-data-4 (vol-" in told
    assert stack.machines() == []
    assert {one["id"] for one in stack.account.all(VOLUME)} == volumes
    assert len(stack.account.all(EIP)) == 1
    stack.up()
    assert stack.address() == address
    assert stack.site_of().version() == "1.0.0"
    assert stack.host.run(f"tail -n 1 {KEPT}") == "last words to 3"


def test_with_purge_everything_goes(stack: CloudStack) -> None:
    """Said in the stack file and brought up first; then the account is as it was before."""
    stack.configure_value("purge", value=True)
    stack.up()
    stack.destroy()
    until(lambda: not stack.machines(), "the machine is gone")
    left = [kind for kind in (VOLUME, EIP, SNAPSHOT) if stack.account.all(kind)]
    assert left == []
