"""Machines of an account in containers: cloud-init, elastic addresses that move, disks that outlive a machine."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ops.local_server import server
from tests.plugins.aws import containers
from tests.plugins.aws.account import Account
from tests.plugins.aws.kinds import ASSOCIATION, ATTACHMENT, EIP, INSTANCE, KEY_PAIR, SNAPSHOT, VOLUME
from tests.plugins.conftest import AWS_STAND_IN, plugin_environment
from tests.plugins.protocol import Plugin, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHY_NOT = containers.impossible()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]

ZONE = "eu-central-1a"
DEVICE = "/dev/sdf"


class Cloud:
    """An account whose machines are containers, and the plugin that works in it."""

    def __init__(self, folder: Path, image: str, **options: Any) -> None:
        """Open it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "account.json").write_text(json.dumps({"containers": {"image": image}, **options}))
        self.account = Account.open(folder)
        self.plugin = Plugin(AWS_STAND_IN, plugin_environment(FLASKHOST_AWS_ACCOUNT=str(folder)))
        self.key = server.keys()
        self.make(KEY_PAIR, {"keyName": "login", "publicKey": self.key["login_public"]})
        self._key_file = folder / "key"
        self._key_file.write_text(self.key["login_private"].strip() + "\n")
        self._key_file.chmod(0o600)

    def make(self, kind: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Make a resource; return its id and outputs."""
        checked = self.plugin.check(kind, inputs)
        assert checked.failures == {}
        made = self.plugin.create(kind, checked.inputs)
        return made.id, made.state

    def machine(self, **more: Any) -> tuple[str, dict[str, Any]]:
        """Make a machine."""
        image = next(image for image in self.account.images() if image["architecture"] == "x86_64")
        inputs = {"ami": image["id"], "instanceType": "t3.micro", "availabilityZone": ZONE, "keyName": "login", **more}
        return self.make(INSTANCE, inputs)

    def attach(self, volume: str, instance: str) -> tuple[str, dict[str, Any]]:
        """Attach a volume as the product does."""
        inputs = {
            "deviceName": DEVICE,
            "volumeId": volume,
            "instanceId": instance,
            "stopInstanceBeforeDetaching": True,
        }
        return self.make(ATTACHMENT, inputs)

    def remove(self, kind: str, made: tuple[str, dict[str, Any]]) -> None:
        """Remove a resource."""
        self.plugin.delete(kind, made[1], identity=made[0])

    def ssh(self, address: str, command: str) -> str:
        """Run a command on the machine that answers at an address."""
        words = [
            "ssh",
            "-i",
            str(self._key_file),
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]
        words += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-o", "LogLevel=ERROR", f"ubuntu@{address}", command]
        end = time.monotonic() + 60
        while True:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode != 255 or time.monotonic() > end:
                assert done.returncode == 0, done.stderr
                return done.stdout.strip()
            time.sleep(0.2)

    def close(self) -> None:
        """Remove everything."""
        self.plugin.close()
        containers.close(self.account)


@pytest.fixture
def cloud(request: pytest.FixtureRequest, tmp_path: Path, instance_image: str) -> Iterator[Cloud]:
    """Open an account; a test may give it options."""
    made = Cloud(tmp_path / f"account-{tmp_path.name[:12]}", instance_image, **getattr(request, "param", {}))
    try:
        yield made
    finally:
        made.close()


def test_a_machine_runs_its_user_data_and_lets_its_key_in(cloud: Cloud) -> None:
    """As Ubuntu's images do: the user ubuntu with sudo."""
    data = "#cloud-config\nruncmd:\n  - [sh, -c, 'echo done > /root/user-data']\n"
    _, state = cloud.machine(userData=data)
    assert state["privateIp"].startswith("10.")
    assert cloud.ssh(state["privateIp"], "sudo cloud-init status --wait >/dev/null; sudo cat /root/user-data") == "done"


def test_an_elastic_address_moves_to_another_machine_at_once(cloud: Cloud) -> None:
    """And stays through a reboot; removing what has moved on is no failure."""
    _, eip = cloud.make(EIP, {"domain": "vpc"})
    first, _ = cloud.machine()
    association = cloud.make(ASSOCIATION, {"allocationId": eip["id"], "instanceId": first})
    assert cloud.account.find(INSTANCE, first)["state"]["publicIp"] == eip["publicIp"]  # type: ignore[index]
    assert cloud.ssh(eip["publicIp"], "hostname") == cloud.ssh(_address(cloud, first), "hostname")
    second, _ = cloud.machine()
    cloud.make(ASSOCIATION, {"allocationId": eip["id"], "instanceId": second, "allowReassociation": True})
    host = cloud.ssh(eip["publicIp"], "hostname")
    assert host == cloud.ssh(_address(cloud, second), "hostname")
    cloud.remove(ASSOCIATION, association)
    containers.reboot(cloud.account, second)
    assert cloud.ssh(eip["publicIp"], "hostname") == host


def test_a_disk_outlives_its_machine(cloud: Cloud) -> None:
    """Detached by stopping the machine, attached to the next one, grown, and copied from a snapshot."""
    volume = cloud.make(VOLUME, {"availabilityZone": ZONE, "size": 1, "type": "gp3"})
    first = cloud.machine()
    attachment = cloud.attach(volume[0], first[0])
    at = _address(cloud, first[0])
    cloud.ssh(at, f"sudo mkfs.ext4 -q -L flaskhost-data {DEVICE} && sudo mkdir /data && sudo mount {DEVICE} /data")
    cloud.ssh(at, "echo kept | sudo tee /data/file >/dev/null")
    with pytest.raises(PluginError, match="crash_consistent"):
        cloud.make(SNAPSHOT, {"volumeId": volume[0]})
    cloud.remove(ATTACHMENT, attachment)
    assert cloud.account.find(INSTANCE, first[0])["state"]["instanceState"] == "stopped"  # type: ignore[index]
    snapshot = cloud.make(SNAPSHOT, {"volumeId": volume[0]})
    cloud.remove(INSTANCE, first)
    second = cloud.machine()
    cloud.attach(volume[0], second[0])
    at = _address(cloud, second[0])
    read = "sudo mkdir -p /data && sudo mount /dev/disk/by-label/flaskhost-data /data && sudo cat /data/file"
    assert cloud.ssh(at, read) == "kept"
    old = {"availabilityZone": ZONE, "size": 1, "type": "gp3"}
    cloud.plugin.update(VOLUME, volume[1], old, {**old, "size": 2}, identity=volume[0])
    assert cloud.ssh(at, f"sudo blockdev --getsize64 {DEVICE}") == str(2 * 1024**3)
    containers.reboot(cloud.account, second[0])
    assert cloud.ssh(at, read) == "kept"
    copy = cloud.make(VOLUME, {"availabilityZone": ZONE, "snapshotId": snapshot[0], "size": 3, "type": "gp3"})
    third = cloud.machine()
    cloud.attach(copy[0], third[0])
    assert cloud.ssh(_address(cloud, third[0]), read) == "kept"


def test_a_mounted_disk_is_busy(cloud: Cloud) -> None:
    """Unless the machine is stopped first."""
    volume = cloud.make(VOLUME, {"availabilityZone": ZONE, "size": 1})
    machine = cloud.machine()
    at = _address(cloud, machine[0])
    inputs = {"deviceName": DEVICE, "volumeId": volume[0], "instanceId": machine[0]}
    attachment = cloud.make(ATTACHMENT, inputs)
    cloud.ssh(at, f"sudo mkfs.ext4 -q {DEVICE} && sudo mount {DEVICE} /mnt")
    with pytest.raises(PluginError, match="last state: 'busy'"):
        cloud.remove(ATTACHMENT, attachment)
    cloud.ssh(at, "sudo umount /mnt")
    cloud.remove(ATTACHMENT, attachment)
    assert cloud.ssh(at, f"test -e {DEVICE} || echo gone") == "gone"


@pytest.mark.parametrize("cloud", [{"crash_consistent": True}], indirect=True)
def test_a_copy_of_a_disk_in_use_is_of_one_moment(cloud: Cloud) -> None:
    """Where the account takes such copies; the machine goes on writing afterwards."""
    volume = cloud.make(VOLUME, {"availabilityZone": ZONE, "size": 1})
    machine = cloud.machine()
    cloud.attach(volume[0], machine[0])
    at = _address(cloud, machine[0])
    cloud.ssh(at, f"sudo mkfs.ext4 -q -L flaskhost-data {DEVICE} && sudo mount {DEVICE} /mnt")
    cloud.ssh(at, "echo before | sudo tee /mnt/file >/dev/null")
    snapshot = cloud.make(SNAPSHOT, {"volumeId": volume[0]})
    cloud.ssh(at, "echo after | sudo tee /mnt/file >/dev/null")
    copy = cloud.make(VOLUME, {"availabilityZone": ZONE, "snapshotId": snapshot[0]})
    other = cloud.machine()
    cloud.attach(copy[0], other[0])
    assert cloud.ssh(_address(cloud, other[0]), f"sudo mount {DEVICE} /mnt && sudo cat /mnt/file") == "before"


def test_another_type_is_a_stop_and_a_start(cloud: Cloud) -> None:
    """The disk of the machine stays, and so do its addresses: the one of the network and the elastic one."""
    image = next(image for image in cloud.account.images() if image["architecture"] == "x86_64")
    old = {"ami": image["id"], "instanceType": "t3.micro", "availabilityZone": ZONE, "keyName": "login"}
    identity, state = cloud.machine()
    _, eip = cloud.make(EIP, {"domain": "vpc", "instance": identity})
    cloud.ssh(eip["publicIp"], "touch marker; sudo touch /run/marker")
    new = {**old, "instanceType": "t3.small"}
    now = cloud.plugin.update(INSTANCE, state, old, new, identity=identity)
    assert (now["instanceType"], now["privateIp"]) == ("t3.small", state["privateIp"])
    assert cloud.ssh(eip["publicIp"], "ls marker; ls /run/marker 2>/dev/null || echo booted") == "marker\nbooted"


def test_nothing_is_left_of_a_closed_account(cloud: Cloud) -> None:
    """Neither containers nor loop devices, whatever was attached."""
    volume = cloud.make(VOLUME, {"availabilityZone": ZONE, "size": 1})
    machine = cloud.machine()
    cloud.attach(volume[0], machine[0])
    file = containers.file_of(cloud.account, volume[0])
    name = containers.name_of(cloud.account, machine[0])
    assert str(file) in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    containers.close(cloud.account)
    assert str(file) not in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    listed = subprocess.run(
        ["podman", "ps", "-a", "--format", "{{.Names}}"], capture_output=True, text=True, check=True
    )
    assert name not in listed.stdout.split()


def _address(cloud: Cloud, instance: str) -> str:
    """Return the private address of a machine, which this one reaches."""
    entry = cloud.account.find(INSTANCE, instance)
    assert entry is not None
    return str(entry["state"]["privateIp"])
