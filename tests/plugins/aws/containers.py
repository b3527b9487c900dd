"""Machines, addresses and disks of an account as containers of this machine, where the account says so.

An account whose `account.json` has `{"containers": {"image": "<image>"}}` gets a container with systemd and cloud-init
for each instance, addresses of the containers' own network as elastic ones, and sparse files as disks. In any other
account all of it is only written down. `services` and `database_image` beside the image are told in the modules
`services` and `databases`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.local_server.engine import ServerError, choose
from ops.local_server.server import wait_until_up
from tests.plugins.aws import boxes, databases, services
from tests.plugins.aws.account import Account, Json, Refused
from tests.plugins.aws.kinds import (
    ASSOCIATION,
    ATTACHMENT,
    DATABASE,
    EIP,
    INSTANCE,
    KEY_PAIR,
    RUNNING,
    SNAPSHOT,
    VOLUME,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LABEL = "flaskhost-data"
SECONDS_TO_STOP = 60  # as a machine that is stopped has
SECONDS_TO_END = 30  # as one that is terminated has
GIB = 1024**3

CONFIGURATION = "etc/ebs.conf"
SCRIPT = "usr/local/lib/ebs-nodes"
UNIT = "etc/systemd/system/ebs-nodes.service"

# What udev and the kernel of a machine do when a disk comes, and at each boot. A line of the configuration is: the
# device that the instance sees, the minor number of the loop device behind it, the name that the attachment has.
NODES = f"""#!/bin/sh
# Made by the stand-in for the aws plugin: the devices of attached volumes, as an instance has them.
mkdir -p /dev/disk/by-label
while read -r node minor name; do
    [ -b "$node" ] || mknod -m 0660 "$node" b 7 "$minor"
    ln -sfn "${{node#/dev/}}" "$name"
    [ "$(blkid -p -o value -s LABEL "$node" 2>/dev/null)" = {LABEL} ] || continue
    ln -sfn "../../${{node#/dev/}}" /dev/disk/by-label/{LABEL}
done < /{CONFIGURATION}
"""
BOOT = f"""[Unit]
Description=Devices of attached volumes
DefaultDependencies=no
Before=local-fs-pre.target systemd-fsck-root.service
ConditionPathExists=/{CONFIGURATION}
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/{SCRIPT}
[Install]
WantedBy=local-fs-pre.target sysinit.target
"""

# A moved address answers at once: whoever has the old owner's hardware address in mind hears of the new one.
ANNOUNCE = """
import fcntl, socket, struct, sys
name, address = sys.argv[1].encode(), socket.inet_aton(sys.argv[2])
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind((name.decode(), 0))
own = link.getsockname()[4]
everybody = b"\\xff" * 6
packet = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, own, address, b"\\0" * 6, address)
link.send(everybody + own + b"\\x08\\x06" + packet)
"""


on, name_of = boxes.on, boxes.name_of


def impossible() -> str | None:
    """Say why this machine cannot run the containers of an account; None when it can."""
    if os.geteuid() != 0:
        return "only root attaches loop devices and enters networks"
    missing = [program for program in ("podman", "losetup", "nsenter", "ip", "blkid") if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    try:
        engine = choose()
    except ServerError as error:
        return str(error)
    return None if engine.name == "podman" else f"{engine.name} is the engine that works, and only podman is known here"


# -- what the resources ask for


def after_create(account: Account, kind: str, identity: str) -> Json:
    """Make what the resource is; return the outputs that only this tells."""
    return _asked(account, _CREATE, kind, identity)


def after_update(account: Account, kind: str, identity: str, old_inputs: Json) -> Json:
    """Change what the resource is; return the outputs that only this tells."""
    return _asked(account, _UPDATE, kind, identity, old_inputs)


def before_delete(account: Account, kind: str, identity: str) -> None:
    """Remove what the resource is; what is gone already is no failure."""
    _asked(account, _DELETE, kind, identity)


def _asked(
    account: Account, actions: dict[str, Callable[..., Json | None]], kind: str, identity: str, *more: Any
) -> Json:
    action = actions.get(kind)
    entry = account.find(kind, identity)
    if action is None or entry is None:
        return {}
    try:
        return action(account, entry, *more) or {}
    except (ServerError, subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or ""
        raise Refused(f"the stand-in for the aws plugin: {kind} {identity}: {error} {said}".strip()) from error


# -- machines


def _start_instance(account: Account, entry: Json) -> Json:
    settings = on(account)
    if settings is None:
        return {}
    address = boxes.free(boxes.OF_MACHINES)
    host = f"ip-{address.replace('.', '-')}"
    try:
        more = ("--cap-add=MKNOD", "--device-cgroup-rule=b 7:* rmw", *services.words(account, entry))
        name = boxes.create(account, entry["id"], str(settings["image"]), host, address, *more)
        boxes.copy_in(name, _seed(account, entry, host) | services.files(account, entry))
        boxes.engine().run("start", name)
        wait_until_up(boxes.engine(), name)
    except BaseException:
        boxes.remove(name_of(account, entry["id"]))
        raise
    outputs = {"privateIp": address, "privateDns": f"{host}.{entry['state']['region']}.compute.internal"}
    if entry["inputs"].get("associatePublicIpAddress"):
        outputs["publicIp"] = address
    account.change(INSTANCE, entry["id"], **outputs)
    return outputs


def _have_running(account: Account, entry: Json) -> None:
    """Start an instance that is stopped, as one that shall run."""
    instance = str(entry["inputs"]["instanceId"])
    found = account.find(INSTANCE, instance) or {}
    if on(account) is not None and found.get("state", {}).get("instanceState") == "stopped":
        start(account, instance)


def _seed(account: Account, entry: Json, host: str) -> dict[str, tuple[str, int]]:
    """Return the files that cloud-init reads, as its data source NoCloud has them."""
    inputs = entry["inputs"]
    data = inputs.get("userData") or base64.b64decode(inputs.get("userDataBase64") or "").decode()
    key = account.find(KEY_PAIR, str(inputs.get("keyName")))
    known: Json = {"instance-id": entry["id"], "local-hostname": host}
    if key is not None:
        known["public-keys"] = [str(key["inputs"]["publicKey"]).strip()]
    # JSON is YAML.
    folder = "var/lib/cloud/seed/nocloud"
    return {
        f"{folder}/user-data": (data or "#cloud-config\n", 0o600),
        f"{folder}/meta-data": (json.dumps(known), 0o600),
    }


def _change_instance(account: Account, entry: Json, old_inputs: Json) -> None:
    """Stop and start for what a running machine cannot have changed: its type and its user data."""
    changed = {
        name
        for name in ("instanceType", "userData", "userDataBase64")
        if entry["inputs"].get(name) != old_inputs.get(name)
    }
    if on(account) is None or not changed:
        return
    stop(account, entry["id"])
    boxes.copy_in(
        name_of(account, entry["id"]), _seed(account, entry, f"ip-{entry['state']['privateIp'].replace('.', '-')}")
    )
    start(account, entry["id"])


def stop(account: Account, instance: str, seconds: int = SECONDS_TO_STOP) -> None:
    """Shut an instance down as a machine is shut down, and leave it there."""
    if boxes.running(account, instance) is not None:
        boxes.engine().run("stop", "-t", str(seconds), name_of(account, instance), seconds=seconds + 30)
    account.change(INSTANCE, instance, instanceState="stopped")


def start(account: Account, instance: str) -> None:
    """Start an instance that is stopped, with the disks and the addresses that it has."""
    name = name_of(account, instance)
    _write_nodes(account, instance)
    boxes.engine().run("start", name)
    wait_until_up(boxes.engine(), name)
    account.change(INSTANCE, instance, instanceState="running")
    restore(account, instance)


def reboot(account: Account, instance: str) -> None:
    """Shut an instance down and start it again."""
    stop(account, instance)
    start(account, instance)


def restore(account: Account, instance: str) -> None:
    """Give a container that was started by somebody else what a machine keeps: its addresses and its disks."""
    entry = account.find(INSTANCE, instance)
    if entry is not None:
        # The container has another hardware address now, which this machine would learn only after half a minute.
        _forget_neighbour(str(entry["state"]["privateIp"]))
    for address in addresses(account, instance):
        _take(account, address, instance)
    _show_nodes(account, instance)


def _end_instance(account: Account, entry: Json) -> None:
    if on(account) is None:
        _forget_attachments(account, entry["id"])
        return
    stop(account, entry["id"], SECONDS_TO_END)
    name = name_of(account, entry["id"])
    for attachment in _attachments(account, entry["id"]):
        _let_go(account, attachment["state"]["volumeId"])
    boxes.remove(name)
    account.path("containers").joinpath(name).unlink(missing_ok=True)
    _forget_attachments(account, entry["id"])


def _forget_attachments(account: Account, instance: str) -> None:
    """An instance that ends lets go of its disks."""
    for attachment in _attachments(account, instance):
        account.remove(ATTACHMENT, attachment["id"])


# -- addresses


def free_address(account: Account) -> str:
    """Return an address that an elastic one may have."""
    taken = {entry["state"]["publicIp"] for entry in account.all(EIP)}
    while True:
        address = boxes.free(boxes.ELASTIC) if on(account) else f"198.51.100.{1 + secrets.randbelow(254)}"
        if address not in taken:
            return address


def addresses(account: Account, instance: str) -> list[str]:
    """Return the elastic addresses of an instance."""
    held = {entry["state"]["publicIp"] for entry in account.all(EIP) if entry["inputs"].get("instance") == instance}
    held |= {
        entry["state"]["publicIp"]
        for entry in account.all(ASSOCIATION)
        if entry["state"].get("instanceId") == instance and not entry.get("gone")
    }
    return sorted(held)


def _associate(account: Account, entry: Json) -> None:
    instance, address = entry["state"]["instanceId"], entry["state"]["publicIp"]
    for other in account.all(ASSOCIATION):
        if other["id"] != entry["id"] and other["state"].get("publicIp") == address:
            # The address has moved on: the other association is one in name only.
            account.put(ASSOCIATION, {**other, "gone": True})
            account.change(INSTANCE, other["state"]["instanceId"], publicIp="", associatePublicIpAddress=False)
    # As the provider reads it: any public address of the machine counts.
    account.change(INSTANCE, instance, publicIp=address, associatePublicIpAddress=True)
    _take(account, address, instance)


def _disassociate(account: Account, entry: Json) -> None:
    if entry.get("gone"):
        return
    account.change(INSTANCE, entry["state"]["instanceId"], publicIp="", associatePublicIpAddress=False)
    _drop(account, entry["state"]["publicIp"], entry["state"]["instanceId"])


def _allocate(account: Account, entry: Json, old_inputs: Json | None = None) -> None:
    instance = entry["inputs"].get("instance")
    before = (old_inputs or {}).get("instance")
    if before and before != instance:
        _drop(account, entry["state"]["publicIp"], before)
    if instance:
        _take(account, entry["state"]["publicIp"], instance)


def _release(account: Account, entry: Json) -> None:
    if entry["inputs"].get("instance"):
        _drop(account, entry["state"]["publicIp"], entry["inputs"]["instance"])


def _take(account: Account, address: str, instance: str) -> None:
    """Give an address to an instance, and take it from whoever has it."""
    if on(account) is None:
        return
    for other in account.all(INSTANCE):
        if other["id"] != instance:
            _drop(account, address, other["id"])
    process = boxes.running(account, instance)
    if process is None:
        return
    inside = ["nsenter", "-t", str(process), "-n"]
    length = boxes.subnet().prefixlen
    added = subprocess.run(
        [*inside, "ip", "addr", "add", f"{address}/{length}", "dev", "eth0"],
        capture_output=True,
        text=True,
        check=False,
    )
    if added.returncode != 0 and "File exists" not in added.stderr and "already assigned" not in added.stderr:
        raise ServerError(f"{address} was not given to {instance}: {added.stderr.strip()}")
    _forget_neighbour(address)
    subprocess.run([*inside, sys.executable, "-I", "-c", ANNOUNCE, "eth0", address], check=True, capture_output=True)


def _drop(account: Account, address: str, instance: str) -> None:
    """Take an address from an instance; one that it does not have, or is not there, is no failure."""
    process = boxes.running(account, instance) if on(account) else None
    if process is not None:
        words = ["nsenter", "-t", str(process), "-n", "ip", "addr", "del", f"{address}/{boxes.subnet().prefixlen}"]
        subprocess.run([*words, "dev", "eth0"], capture_output=True, check=False)
        _forget_neighbour(address)


def _forget_neighbour(address: str) -> None:
    bridge = boxes.network().get("network_interface", "podman0")
    subprocess.run(["ip", "neigh", "del", address, "dev", bridge], capture_output=True, check=False)


# -- disks


def file_of(account: Account, volume: str) -> Path:
    """Return the file that holds what is on a volume."""
    return account.path("volumes") / f"{volume}.img"


def _snapshot_file(account: Account, snapshot: str) -> Path:
    return account.path("snapshots") / f"{snapshot}.img"


def _make_volume(account: Account, entry: Json) -> None:
    if on(account) is None:
        return
    file = file_of(account, entry["id"])
    snapshot = entry["inputs"].get("snapshotId")
    if snapshot:
        _copy(_snapshot_file(account, snapshot), file)
    else:
        file.touch()
    os.truncate(file, int(entry["state"]["size"]) * GIB)


def _grow_volume(account: Account, entry: Json, old_inputs: Json) -> None:
    if on(account) is None or entry["inputs"].get("size") == old_inputs.get("size"):
        return
    file = file_of(account, entry["id"])
    os.truncate(file, max(file.stat().st_size, int(entry["state"]["size"]) * GIB))
    for loop in _loops(file):
        subprocess.run(["losetup", "--set-capacity", loop], check=True, capture_output=True, text=True)


def _remove_volume(account: Account, entry: Json) -> None:
    if on(account) is not None:
        _let_go(account, entry["id"])
        file_of(account, entry["id"]).unlink(missing_ok=True)


def _make_snapshot(account: Account, entry: Json) -> None:
    if on(account) is not None:
        copy_to_snapshot(account, entry["inputs"]["volumeId"], entry["id"])


def copy_to_snapshot(account: Account, volume: str, snapshot: str) -> None:
    """Copy a volume as it is now.

    One of a machine that runs is refused unless the account takes such copies: what a snapshot is for says whether it
    may be one.
    """
    if on(account) is None:
        return
    users = [entry["state"]["instanceId"] for entry in account.all(ATTACHMENT) if entry["state"]["volumeId"] == volume]
    used = [(user, process) for user in users if (process := boxes.running(account, user)) is not None]
    if used and not account.options.get("crash_consistent"):
        raise Refused(
            f"the stand-in for the aws plugin: a snapshot of {volume} while {used[0][0]} runs with it would hold what "
            "no process has finished writing: stop the instance first, or say crash_consistent in account.json"
        )
    with contextlib.ExitStack() as frozen:
        for _, process in used:
            frozen.enter_context(_frozen(file_of(account, volume), process))
        _copy(file_of(account, volume), _snapshot_file(account, snapshot))


@contextlib.contextmanager
def _frozen(file: Path, process: int) -> Iterator[None]:
    """Hold the writes to a mounted disk while it is copied: a real snapshot is of one moment."""
    mounts = [target for loop in _loops(file) for target in _mounts(loop, process)][:1]
    for target in mounts:
        subprocess.run(["nsenter", "-t", str(process), "-m", "fsfreeze", "-f", target], check=True, capture_output=True)
    try:
        yield
    finally:
        for target in mounts:
            subprocess.run(["nsenter", "-t", str(process), "-m", "fsfreeze", "-u", target], check=True)


def _remove_snapshot(account: Account, entry: Json) -> None:
    if on(account) is not None:
        _snapshot_file(account, entry["id"]).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    words = ["cp", "--sparse=always", "--reflink=auto", str(source), str(target)]
    subprocess.run(words, check=True, capture_output=True, text=True)


def _attachments(account: Account, instance: str) -> list[Json]:
    return [entry for entry in account.all(ATTACHMENT) if entry["state"]["instanceId"] == instance]


def _attach(account: Account, entry: Json) -> None:
    if on(account) is None:
        return
    instance, file = entry["state"]["instanceId"], file_of(account, entry["state"]["volumeId"])
    if not _loops(file):
        subprocess.run(["losetup", "--find", str(file)], check=True, capture_output=True, text=True)
    try:
        with account.lock(instance):
            used = {other.get("node") for other in _attachments(account, instance)}
            node = next(node for number in range(1, 27) if (node := f"/dev/nvme{number}n1") not in used)
            account.put(ATTACHMENT, {**entry, "node": node})
            _write_nodes(account, instance)
            _show_nodes(account, instance)
    except BaseException:
        _let_go(account, entry["state"]["volumeId"])
        raise


def _detach(account: Account, entry: Json) -> None:
    state = entry["state"]
    instance, volume = state["instanceId"], state["volumeId"]
    if on(account) is None:
        return
    with account.lock(instance):
        process = boxes.running(account, instance)
        if process is not None and state.get("stopInstanceBeforeDetaching"):
            stop(account, instance)
            process = None
        if process is not None:
            if any(_mounts(loop, process) for loop in _loops(file_of(account, volume))):
                raise Refused(
                    f"waiting for EBS Volume ({volume}) Attachment ({instance}) delete: timeout while waiting for "
                    "state to become 'detached' (last state: 'busy', timeout: 5m0s)"
                )
            node, name = entry.get("node", ""), state["deviceName"]
            link = f"/dev/disk/by-label/{LABEL}"
            script = f'[ "$(readlink -f {link})" != {node} ] || rm -f {link}; rm -f {node} {name}'
            boxes.engine().run("exec", name_of(account, instance), "sh", "-c", script)
        _let_go(account, volume)
        account.remove(ATTACHMENT, entry["id"])
        _write_nodes(account, instance)


def _write_nodes(account: Account, instance: str) -> None:
    """Write down in the container which devices it has, for its next boot."""
    name = name_of(account, instance)
    if boxes.engine().container(name) is None:
        return
    lines = ""
    for entry in _attachments(account, instance):
        for loop in _loops(file_of(account, entry["state"]["volumeId"])):
            lines += f"{entry.get('node')} {loop.removeprefix('/dev/loop')} {entry['state']['deviceName']}\n"
    boxes.copy_in(name, {CONFIGURATION: (lines, 0o644), SCRIPT: (NODES, 0o755), UNIT: (BOOT, 0o644)})


def _show_nodes(account: Account, instance: str) -> None:
    """Show its devices to a container that runs."""
    if boxes.running(account, instance) is not None and _attachments(account, instance):
        name = name_of(account, instance)
        boxes.engine().run("exec", name, f"/{SCRIPT}")
        boxes.engine().run("exec", name, "systemctl", "enable", "--quiet", Path(UNIT).name)


def _loops(file: Path) -> list[str]:
    """Return the loop devices behind which a file is."""
    if not file.exists():
        return []
    words = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.split()


def _mounts(loop: str, process: int) -> list[str]:
    """Return where a loop device is mounted, as a process sees it."""
    number = f"7:{loop.removeprefix('/dev/loop')}"
    try:
        lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    except OSError:
        return []
    return [words[4] for line in lines if (words := line.split())[2] == number]


def _let_go(account: Account, volume: str) -> None:
    for loop in _loops(file_of(account, volume)):
        subprocess.run(["losetup", "--detach", loop], capture_output=True, check=False)


# -- the end


def close(account: Account) -> None:
    """Remove all containers and loop devices of an account, and the addresses with them, whatever happened before."""
    if on(account) is None:
        return
    for record in sorted(account.path("containers").iterdir()):
        boxes.remove(record.name)
        record.unlink(missing_ok=True)
    for entry in account.all(EIP):
        _forget_neighbour(entry["state"]["publicIp"])
    for file in account.path("volumes").glob("*.img"):
        _let_go(account, file.stem)


_CREATE: dict[str, Callable[..., Json | None]] = {
    INSTANCE: _start_instance,
    RUNNING: _have_running,
    EIP: _allocate,
    ASSOCIATION: _associate,
    VOLUME: _make_volume,
    SNAPSHOT: _make_snapshot,
    ATTACHMENT: _attach,
    DATABASE: databases.make,
}
_UPDATE: dict[str, Callable[..., Json | None]] = {
    INSTANCE: _change_instance,
    EIP: _allocate,
    VOLUME: _grow_volume,
    DATABASE: databases.change,
}
_DELETE: dict[str, Callable[..., Json | None]] = {
    INSTANCE: _end_instance,
    EIP: _release,
    ASSOCIATION: _disassociate,
    VOLUME: _remove_volume,
    SNAPSHOT: _remove_snapshot,
    ATTACHMENT: _detach,
    DATABASE: databases.remove,
}
