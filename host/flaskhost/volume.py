"""The disk for uploads and dumps on AWS: which one it is, what is on it, and how large it is.

It is found by its label. A blank one gets a file system once; one with anything else on it is never touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Collection, Dict, Iterator, List, NamedTuple, Tuple

from flaskhost import layout, systemd
from flaskhost.files import link, remove
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

# AWS attaches a disk while the instance starts.
WAIT_SECONDS, POLL_SECONDS = 60.0, 1.0
# What a volume that is attached as /dev/sdf is called, by the kernel on Xen or by a rule of the distribution.
NAMED = ("/dev/sdf", "/dev/xvdf")
# As Nitro instances name their disks; those of the machine itself are "Amazon EC2 NVMe Instance Storage".
EBS = "Amazon Elastic Block Store"
LINK_SECONDS = 5.0
FORMAT_SECONDS = 900
GIB = 1024**3
# blkid(8): nothing was found; also said of what could not be read, so wipefs(8) is asked as well.
NOTHING = 2
# e2fsck(8): errors are left.
DAMAGED = 4


class Found(NamedTuple):
    """A disk that is there.

    Attributes:
        path: its file, such as /dev/nvme1n1.
        facts: what is on it, as blkid(8) names it: TYPE, LABEL, PTTYPE; nothing of a blank one.
    """

    path: Path
    facts: Dict[str, str]

    @property
    def is_blank(self) -> bool:
        """Tell whether nothing at all is on it."""
        return not self.facts

    def __str__(self) -> str:
        """Say it and what is on it."""
        kinds = {"TYPE": "{}", "PTTYPE": "a partition table ({})", "LABEL": "the label {!r}"}
        told = [text.format(self.facts[name]) for name, text in kinds.items() if name in self.facts]
        return f"{self.path} ({', '.join(told) or ('blank' if self.is_blank else 'something unknown')})"


def ensure(paths: Layout, label: str, progress: Progress) -> Tuple[Path, bool]:
    """Have the disk with a file system of that label; return its file, and whether it was formatted now.

    Raises:
        Failure: there is none, more than one that it could be, or something else on it.
    """
    found = _wait(paths, label, progress)
    ours = [disk for disk in found if _is_ours(disk, label)]
    blank = [disk for disk in found if disk.is_blank]
    if len(ours) > 1:
        raise Failure(
            f"several disks have the label {label!r}: {', '.join(map(str, ours))}: which one holds the data cannot be "
            "told: detach the other one in AWS, and run `pulumi up` again"
        )
    if ours:
        return ours[0].path, False
    if len(blank) > 1:
        raise Failure(
            f"several disks are blank: {', '.join(map(str, blank))}: which one is for the data cannot be told: detach "
            "those that are not in AWS (or put a file system on them), and run `pulumi up` again"
        )
    if not blank:
        _refuse(found, label)
    path = blank[0].path
    progress.say(f"volume: {path} ({size(path) / GIB:.4g} GiB) is blank: formatting it as ext4 with the label {label}")
    # It looks again by itself whether something is there, or uses it.
    run(["mkfs.ext4", "-q", "-L", label, str(path)], timeout=FORMAT_SECONDS)
    return path, True


def _refuse(found: List[Found], label: str) -> None:
    if not found:
        raise Failure(
            f"no disk for the data has appeared within {WAIT_SECONDS:g} s: none has the label {label!r}, there is no "
            f"{' nor '.join(NAMED)}, and no further disk of Amazon EBS: see in AWS whether the volume is attached to "
            "this instance, and run `pulumi up` again"
        )
    raise Failure(
        f"the disk for the data is neither blank nor has it a file system ext4 with the label {label!r}: "
        f"{', '.join(map(str, found))}: nothing was changed. Attach the right volume; if this is it and holds ext4, "
        f"`sudo e2label DEVICE {label}` on the host takes it as it is; if what is on it may go, `sudo wipefs --all "
        "DEVICE`. Then run `pulumi up` again"
    )


def _wait(paths: Layout, label: str, progress: Progress) -> List[Found]:
    """Return the disks that may be it as soon as one is, and after a while whatever there is."""
    begin = time.monotonic()
    told = False
    while True:
        found = [Found(path, _facts(path)) for path in _candidates(paths, label)]
        # What was attached by that name is meant, whatever is on it.
        named = [disk for disk in found if disk.path in _named(paths)]
        useful = any(disk.is_blank or _is_ours(disk, label) for disk in found)
        if useful or named or time.monotonic() - begin > WAIT_SECONDS:
            return found
        if not told:
            progress.say(f"volume: waiting up to {WAIT_SECONDS:g} s for the disk")
            told = True
        time.sleep(POLL_SECONDS)


def _is_ours(disk: Found, label: str) -> bool:
    return disk.facts.get("TYPE") == "ext4" and disk.facts.get("LABEL") == label


def _candidates(paths: Layout, label: str) -> List[Path]:
    """Return the disks that may be it, by the name of their own files."""
    link_to, every = by_label(paths, label), [*_named(paths), *_ebs(paths)]
    labelled = [Path(os.path.realpath(link_to))] if link_to.exists() else []
    with_label = [path for path in dict.fromkeys([*labelled, *every]) if _is_ours(Found(path, _facts(path)), label)]
    return with_label or _named(paths) or list(_ebs(paths))


def _named(paths: Layout) -> List[Path]:
    there = [paths.at(name) for name in NAMED]
    return list(dict.fromkeys(Path(os.path.realpath(path)) for path in there if path.exists()))


def _ebs(paths: Layout) -> Iterator[Path]:
    """Yield the disks of Amazon EBS but the one that the system is on."""
    root = _number_of_root(paths)
    for disk in sorted(paths.at("/sys/block").glob("nvme*")):
        model, device = disk / "device/model", paths.at(f"/dev/{disk.name}")
        if not model.exists() or model.read_text().strip() != EBS or not device.exists():
            continue
        # Its own, and those of its partitions.
        numbers = [file.read_text().strip() for file in (*disk.glob("dev"), *disk.glob(f"{disk.name}*/dev"))]
        if root not in numbers:
            yield device


def _number_of_root(paths: Layout) -> str:
    """Return the number of the device that is mounted at / (proc(5), mountinfo)."""
    lines = [line.split() for line in paths.at("/proc/self/mountinfo").read_text().splitlines()]
    return next((fields[2] for fields in reversed(lines) if fields[4] == "/"), "")


def _facts(path: Path) -> Dict[str, str]:
    """Return what is on a disk; nothing of a blank one.

    Raises:
        Failure: it cannot be read.
    """
    said = run(["blkid", "-p", "-o", "export", str(path)], check=False)
    facts = dict(re.findall(r"^([A-Z_]+)=(.*)$", said.stdout, re.MULTILINE)) if said.returncode == 0 else {}
    facts.pop("DEVNAME", None)
    if said.returncode != NOTHING:
        return facts or {"UNKNOWN": said.stdout.strip()}
    traces = run(["wipefs", "--no-act", "--parsable", str(path)]).stdout
    lines = [line for line in traces.splitlines() if line and not line.startswith("#")]
    return {"TYPE": lines[0].split(",")[-1]} if lines else {}


def by_label(paths: Layout, label: str) -> Path:
    """Return the link by which the unit finds the disk."""
    return paths.at(f"/dev/disk/by-label/{label}")


def ensure_link(paths: Layout, label: str, device: Path, progress: Progress) -> None:
    """Have the link to a disk by its label; it is udev's to make, which is not everywhere."""
    path = by_label(paths, label)
    if os.path.realpath(path) == str(device):
        return
    if paths.at("/run/udev/control").exists():
        run(["udevadm", "trigger", "--action=change", f"--name-match={device}"], check=False)
        run(["udevadm", "settle", f"--timeout={LINK_SECONDS:g}"], check=False)
        until = time.monotonic() + LINK_SECONDS
        while os.path.realpath(path) != str(device) and time.monotonic() < until:
            time.sleep(POLL_SECONDS / 10)
    if os.path.realpath(path) != str(device):
        path.parent.mkdir(parents=True, exist_ok=True)
        link(path, str(device))
        progress.say(f"volume: {path} leads to {device} now; there is no udev that does it")


def size(device: Path) -> int:
    """Return the bytes of a disk."""
    return int(run(["blockdev", "--getsize64", str(device)]).stdout)


def ensure_grown(device: Path, progress: Progress, *, mounted: bool) -> bool:
    """Have the file system of a disk as large as the disk, while applications use it; return whether it grew."""
    before, block = _extent(device)
    if size(device) - before < block:
        return False
    # resize2fs(8) wants that of a file system that is not mounted.
    checked = None if mounted else run(["e2fsck", "-f", "-p", str(device)], timeout=FORMAT_SECONDS, check=False)
    if checked and checked.returncode >= DAMAGED:
        raise Failure(
            f"the file system of {device} is damaged, and nothing was changed: take a snapshot of the volume, repair "
            f"it with `sudo e2fsck -f {device}`, and run `pulumi up` again. e2fsck says:\n{checked.stdout.rstrip()}"
        )
    run(["resize2fs", str(device)], timeout=FORMAT_SECONDS)
    now, _ = _extent(device)
    if now > before:
        progress.say(f"volume: the file system has grown from {before / GIB:.4g} to {now / GIB:.4g} GiB")
    return now > before


def _extent(device: Path) -> Tuple[int, int]:
    """Return the bytes of an ext4 file system, and of a block of it."""
    said = run(["dumpe2fs", "-h", str(device)]).stdout
    found = dict(re.findall(r"^(Block count|Block size):\s+(\d+)$", said, re.MULTILINE))
    try:
        block = int(found["Block size"])
        return int(found["Block count"]) * block, block
    except KeyError:
        raise Failure(f"dumpe2fs does not say how large the file system of {device} is:\n{said}") from None


def unit(path: str) -> str:
    """Return the name of the unit that mounts at a path (systemd.unit(5), "String escaping for inclusion")."""

    def escaped(match: re.Match[str]) -> str:
        return "".join(f"\\x{byte:02x}" for byte in match[0].encode())

    inner = path.strip("/")
    name = re.sub(r"^\.|[^A-Za-z0-9:_./]", escaped, inner).replace("/", "-")
    return f"{name}.mount"


def folders(paths: Layout) -> Dict[Path, Path]:
    """Return the folders of an application that are on the disk, each with where it is there."""
    there = paths.at(f"{layout.VOLUME}/{paths.app}")
    return {path: there / path.name for path in (paths.shared, paths.backups)}


def unit_of(paths: Layout, path: Path) -> str:
    """Return the name of the unit that mounts at a path of this host."""
    return unit(str(path.relative_to(paths.root)))


def leave(paths: Layout, kept: Collection[Path]) -> None:
    """Empty and unmount the folders of an application that goes; the disk goes from the host when nothing is on it.

    Args:
        paths: layout of the application, which is stopped.
        kept: what stays; a folder that holds some of it stays mounted, or it would be seen in another place.
    """
    for path, there in folders(paths).items():
        name = unit_of(paths, path)
        if not (paths.units / name).exists() or any(path in (one, *one.parents) for one in kept):
            continue
        for inner in path.iterdir() if systemd.is_active(name) else ():
            remove(inner)
        _remove_unit(paths, name, there)
    disk, top = unit(layout.VOLUME), paths.at(layout.VOLUME)
    with contextlib.suppress(OSError):
        (top / paths.app).rmdir()
    if (paths.units / disk).exists() and top.is_dir() and {path.name for path in top.iterdir()} <= {"lost+found"}:
        _remove_unit(paths, disk, top)


def _remove_unit(paths: Layout, name: str, empty: Path) -> None:
    """Unmount, and remove the folder that has nothing in it any more, and at last the unit by which this is known."""
    systemd.systemctl("stop", name)
    with contextlib.suppress(OSError):
        empty.rmdir()
    systemd.systemctl("disable", "--quiet", name, check=False)
    remove(paths.units / name)
    systemd.systemctl("daemon-reload")
