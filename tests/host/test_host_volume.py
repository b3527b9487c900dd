"""`flaskhost volume`: the disk that outlives the machine is found, formatted once, mounted, and used whole."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import jinja2
import pytest
from flaskhost import __main__ as command
from flaskhost import volume as disks
from flaskhost.files import remove
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import drift, teardown
from flaskhost.verbs import volume as verb

import document as writer
import rendering
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

LABEL = "flaskhost-data"
GIB = 1024**3
UNITS = ("data.mount", "srv-guestbook-shared.mount", "srv-guestbook-backups.mount")
EBS = "Amazon Elastic Block Store"
CHANGES = ("mkfs", "resize2fs", "systemctl --no-ask-password start", "systemctl --no-ask-password daemon", "udevadm")


def template(name: str, **values: str) -> str:
    """Return a template of a unit with these values."""
    folder = jinja2.FileSystemLoader(rendering.ROOT / "templates/etc/systemd/system")
    environment = jinja2.Environment(
        loader=folder,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - a unit is no HTML
    )
    return environment.get_template(name).render(**values)


def text(app: str = "guestbook", size: int = 20, root: str = "/srv") -> str:
    """Return the document."""
    files = {"/etc/systemd/system/data.mount": template("data.mount.j2", label=LABEL)}
    for name in ("shared", "backups"):
        what, where = f"/data/{app}/{name}", f"{root}/{app}/{name}"
        unit = template("bind.mount.j2", app=app, what=what, where=where)
        files[f"/etc/systemd/system/{disks.unit(where)}"] = unit
    return writer.write("volume", app, {"root": root, "size": size, "label": LABEL}, files)


def disk(server: Server, name: str = "nvme1n1", gib: float = 20, model: str = EBS, **facts: str) -> Path:
    """Attach a disk; `facts` are what is on it."""
    path = server.root / "dev" / name
    path.parent.mkdir(exist_ok=True)
    lines = {"BYTES": str(int(gib * GIB)), **facts}
    if facts.get("TYPE") == "ext4":
        lines.setdefault("FS_BYTES", lines["BYTES"])
    path.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    about = server.root / "sys/block" / name
    (about / "device").mkdir(parents=True, exist_ok=True)
    (about / "device/model").write_text(f"{model:<40}\n")
    (about / "dev").write_text("259:9\n")
    return path


@pytest.fixture
def bare(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server before `base`, with the disk that the system is on; nobody waits long."""
    for module, name in ((disks, "WAIT_SECONDS"), (disks, "LINK_SECONDS"), (verb, "GROW_SECONDS")):
        monkeypatch.setattr(module, name, 0.3)
    for module in (disks, verb):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    disk(server, "nvme0n1", PTTYPE="gpt")
    part = server.root / "sys/block/nvme0n1/nvme0n1p1"
    part.mkdir()
    (part / "dev").write_text("259:2\n")
    (server.root / "proc/self").mkdir(parents=True)
    (server.root / "proc/self/mountinfo").write_text("22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw\n")
    return server


def did(server: Server) -> list[str]:
    """Return the calls since last time that change something."""
    return [call for call in server.calls() if call.startswith(CHANGES)]


def test_a_blank_disk_is_formatted_and_mounted_with_the_application_on_it(bare: Server) -> None:
    """Promise: a new server has its uploads and dumps on the disk before anything else is there; the log says so."""
    device = disk(bare)
    done = bare.do(text())
    assert done == {"device": str(device), "formatted": True, "grown": False, "bytes": 20 * GIB}
    assert "LABEL=flaskhost-data" in device.read_text()
    assert (bare.root / "dev/disk/by-label" / LABEL).resolve() == device
    for unit in UNITS:
        assert (bare.fakes / "active" / unit).exists()
        assert (bare.fakes / "enabled" / unit).exists()
        assert (bare.paths.units / unit).read_text().startswith("# made by flaskhost")
    modes = {name: oct((bare.root / "data/guestbook" / name).stat().st_mode & 0o777) for name in ("shared", "backups")}
    assert modes == {"shared": "0o755", "backups": "0o750"}
    assert (bare.root / "srv/guestbook/shared").is_dir()
    assert "is blank: formatting it as ext4" in bare.said.getvalue()
    assert [call for call in did(bare) if "start" in call] == [
        f"systemctl --no-ask-password start {unit}" for unit in UNITS
    ]


def test_a_second_time_changes_nothing(bare: Server) -> None:
    """Promise: it may be done at every `up`; what is on the disk stays, owners and modes included."""
    disk(bare)
    bare.do(text())
    (bare.root / "data/guestbook/shared").chmod(0o700)
    before = bare.tree()
    bare.calls()
    assert bare.do(text()) == {"device": str(bare.root / "dev/nvme1n1"), "formatted": False, "grown": False,
                               "bytes": 20 * GIB}  # fmt: skip
    assert did(bare) == []
    assert bare.tree() == before


def test_a_disk_that_comes_from_another_machine_is_found_by_its_label(bare: Server) -> None:
    """Promise: its files are there again, whatever the disk is called here, and beside a blank one."""
    device = disk(bare, "nvme2n1", TYPE="ext4", LABEL=LABEL)
    disk(bare, "nvme1n1")
    done = bare.do(text())
    assert (done["device"], done["formatted"]) == (str(device), False)


@pytest.mark.parametrize("name", ["sdf", "xvdf"])
def test_a_disk_by_the_name_of_its_attachment_is_taken(bare: Server, name: str) -> None:
    """Promise: on Xen, and where the distribution makes the name, no other blank disk is in the way."""
    device, _ = disk(bare, name), disk(bare, "nvme1n1")
    assert bare.do(text())["device"] == str(device)


def test_the_name_of_an_attachment_may_be_a_link(bare: Server) -> None:
    """Promise: /dev/sdf that leads to the kernel's name is one disk and not two."""
    device = disk(bare)
    for name in ("sdf", "xvdf"):
        (bare.root / "dev" / name).symlink_to(device)
    assert bare.do(text())["device"] == str(device)


ODD: list[dict[str, str]] = [
    {"TYPE": "xfs"},
    {"TYPE": "ext4", "LABEL": "photos"},
    {"TYPE": "xfs", "LABEL": LABEL},
    {"PTTYPE": "gpt"},
    {"TRACE": "zfs_member"},
]


@pytest.mark.parametrize("facts", ODD, ids=lambda facts: " ".join(facts.values()))
@pytest.mark.parametrize("name", ["sdf", "nvme1n1"])
def test_a_disk_with_anything_on_it_is_never_formatted(bare: Server, facts: dict[str, str], name: str) -> None:
    """Promise: the message says what is on it and what can be done, and nothing has changed."""
    device = disk(bare, name, 20, EBS, **facts)
    before = bare.tree()
    words = next(value for key, value in facts.items() if key != "LABEL")
    with pytest.raises(Failure, match=rf"neither blank nor .*{device} \(.*{words}.*nothing was changed"):
        bare.do(text())
    assert did(bare) == []
    assert bare.tree() == before


def test_a_disk_that_cannot_be_read_is_not_blank(bare: Server) -> None:
    """Promise: blkid says of it the same as of a blank one; it is asked again in another way."""
    disk(bare)
    (bare.fakes / "bin/wipefs").write_text("#!/bin/sh\necho 'wipefs: error: probing initialization failed'; exit 1\n")
    with pytest.raises(Failure, match="probing initialization failed"):
        bare.do(text())
    assert did(bare) == []


def test_one_of_several_blank_disks_is_not_guessed(bare: Server) -> None:
    """Promise: the message lists them."""
    disk(bare, "nvme1n1")
    disk(bare, "nvme2n1")
    with pytest.raises(Failure, match=r"several disks are blank: \S+/nvme1n1 \(blank\), \S+/nvme2n1 \(blank\)"):
        bare.do(text())
    assert did(bare) == []


def test_two_disks_with_the_label_are_refused(bare: Server) -> None:
    """Promise: a snapshot beside its original is not written to by chance."""
    for name in ("nvme1n1", "nvme2n1"):
        disk(bare, name, TYPE="ext4", LABEL=LABEL)
    with pytest.raises(Failure, match="several disks have the label 'flaskhost-data'"):
        bare.do(text())


def test_a_disk_of_the_machine_itself_is_never_taken(bare: Server) -> None:
    """Promise: what ends with the instance holds no uploads, and neither does the disk of the system."""
    disk(bare, "nvme1n1", model="Amazon EC2 NVMe Instance Storage")
    with pytest.raises(Failure, match=r"no disk for the data has appeared within .* /dev/sdf nor /dev/xvdf"):
        bare.do(text())
    assert did(bare) == []
    assert "waiting up to" in bare.said.getvalue()


def test_a_disk_that_comes_later_is_waited_for(bare: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: AWS attaches it while the machine starts; a disk of somebody else that is there already is no reason."""
    disk(bare, "nvme2n1", TYPE="xfs")
    monkeypatch.setattr(disks, "WAIT_SECONDS", 5.0)
    monkeypatch.setattr(disks, "time", SimpleNamespace(sleep=lambda _seconds: disk(bare), monotonic=time.monotonic))
    assert bare.do(text())["formatted"] is True


@pytest.mark.parametrize("where", ["srv/guestbook/shared", "srv/guestbook/backups", "data"])
def test_nothing_is_hidden_under_a_mount(bare: Server, where: str) -> None:
    """Promise: what an application has there already is named, with how to bring it along."""
    disk(bare)
    (bare.root / where / "media").mkdir(parents=True)
    with pytest.raises(Failure, match=rf"{where} has content .* would hide it: nothing was changed. Move it aside"):
        bare.do(text())
    assert did(bare) == []


def test_the_file_system_grows_with_its_disk(bare: Server) -> None:
    """Promise: a larger size in the stack file is there after the `up`, while the application runs."""
    disk(bare)
    bare.do(text())
    device = bare.root / "dev/nvme1n1"
    device.write_text(device.read_text().replace(str(20 * GIB), str(30 * GIB), 1))
    bare.calls()
    done = bare.do(text(size=30))
    assert (done["grown"], done["bytes"]) == (True, 30 * GIB)
    assert did(bare) == [f"resize2fs {device}"]
    assert "has grown from 20 to 30 GiB" in bare.said.getvalue()
    assert bare.do(text(size=30))["grown"] is False


def test_a_larger_copy_of_a_disk_is_used_whole(bare: Server) -> None:
    """Promise: what a snapshot was made of is checked before it grows; one that is damaged is left as it is."""
    device = disk(bare, "nvme1n1", 30, EBS, TYPE="ext4", LABEL=LABEL, FS_BYTES=str(20 * GIB))
    bare.set("e2fsck", "4")
    with pytest.raises(Failure, match=r"is damaged, and nothing was changed: take a snapshot"):
        bare.do(text(size=30))
    assert [call for call in did(bare) if call.startswith(("resize2fs", "systemctl"))] == []
    bare.set("e2fsck", "1")
    assert bare.do(text(size=30))["grown"] is True
    assert did(bare)[0] == f"resize2fs {device}"


def test_a_disk_that_is_still_smaller_is_said(bare: Server) -> None:
    """Promise: AWS changes a size in its own time; the log says how the rest comes to use."""
    disk(bare)
    assert bare.do(text(size=30))["bytes"] == 20 * GIB
    assert "has 20 GiB, and the stack wants 30: AWS may still be at it" in bare.said.getvalue()


def test_udev_is_left_to_make_the_link(bare: Server) -> None:
    """Promise: where it runs it is asked and waited for; only where it does not come, the link is made."""
    device = disk(bare)
    (bare.root / "run/udev").mkdir(parents=True)
    (bare.root / "run/udev/control").touch()
    links = bare.root / "dev/disk/by-label"
    bare.set("udevadm", f"mkdir -p {links}; ln -sf ../../nvme1n1 {links}/{LABEL}")
    bare.do(text())
    assert str((links / LABEL).readlink()) == "../../nvme1n1"
    remove(links / LABEL)
    bare.set("udevadm")
    bare.do(text())
    assert (links / LABEL).readlink() == device


def test_a_link_that_leads_nowhere_is_put_right(bare: Server) -> None:
    """Promise: after a start of a container its disk may have another name."""
    disk(bare)
    bare.do(text())
    (bare.root / "dev/nvme1n1").rename(bare.root / "dev/nvme3n1")
    (bare.root / "sys/block/nvme1n1").rename(bare.root / "sys/block/nvme3n1")
    assert bare.do(text())["device"] == str(bare.root / "dev/nvme3n1")
    assert (bare.root / "dev/disk/by-label" / LABEL).resolve() == bare.root / "dev/nvme3n1"


@pytest.mark.parametrize(
    "gone", [*(f"etc/systemd/system/{one}" for one in UNITS), *(f"fakes/active/{one}" for one in UNITS[1:])]
)
def test_what_a_killed_try_has_left_is_finished(bare: Server, gone: str) -> None:
    """Promise: it goes on from wherever it was: a file system that is whole is not made again."""
    disk(bare)
    bare.do(text())
    after = {unit: (bare.paths.units / unit).read_text() for unit in UNITS}
    remove(bare.root / gone)
    assert bare.do(text())["formatted"] is False
    assert {unit: (bare.paths.units / unit).read_text() for unit in UNITS} == after
    assert all((bare.fakes / "active" / unit).exists() for unit in UNITS)


def test_units_that_are_somebody_elses_are_not_overwritten(bare: Server) -> None:
    """Promise: a host that mounts something at /data keeps doing so."""
    disk(bare)
    (bare.paths.units / "data.mount").write_text("[Mount]\nWhat=/dev/sdz\nWhere=/data\n")
    with pytest.raises(Failure, match="not made by flaskhost"):
        bare.do(text())
    assert did(bare) == []


def test_the_names_of_units_are_those_that_systemd_wants() -> None:
    """Promise: as systemd-escape(1) --path writes them, whatever characters a name has."""
    assert disks.unit("/srv/my-app/shared") == r"srv-my\x2dapp-shared.mount"
    assert disks.unit("/var/www/a.b/shared/") == "var-www-a.b-shared.mount"
    assert disks.unit("/.hidden/ü") == r"\x2ehidden-\xc3\xbc.mount"
    assert disks.unit("/data") == "data.mount"


def test_an_application_with_a_hyphen_has_its_units(bare: Server) -> None:
    """Promise: the name of the application may be any that the settings take."""
    (bare.root / "run/flaskhost/my-app").mkdir()
    disk(bare)
    bare.do(text("my-app"))
    assert (bare.paths.units / r"srv-my\x2dapp-shared.mount").exists()
    assert (bare.fakes / "active" / r"srv-my\x2dapp-backups.mount").exists()


def test_the_boot_goes_on_without_the_disk_and_what_needs_it_does_not_start() -> None:
    """Promise: SSH is reachable then: no mount is waited for by local-fs.target, each requires the disk's."""
    data = template("data.mount.j2", label=LABEL)
    bound = template("bind.mount.j2", app="guestbook", what="/data/guestbook/shared", where="/srv/guestbook/shared")
    for unit in (data, bound):
        assert ",nofail" in unit
        assert "WantedBy=local-fs.target" in unit
    assert {"Requires=data.mount", "After=data.mount"} <= set(bound.splitlines())
    assert "nosuid,nodev" in data


def test_the_disk_is_a_step_of_its_own(bare: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: `flaskhost volume APP` is what `up` calls."""
    assert command.STEPS["volume"] == ("volume",)
    assert command.main(["nonsense", "guestbook"]) == 1
    assert "volume" in capsys.readouterr().err
    assert bare.calls() == []


def test_a_base_after_it_leaves_the_folders_where_they_are(bare: Server) -> None:
    """Promise: `volume` comes first; the folder of dumps, which is there at once, is the application's to read."""
    disk(bare)
    bare.do(text())
    bare.uv()
    bare.do(scenario.plan().base)
    assert bare.paths.backups.stat().st_mode & 0o777 == 0o750
    with pytest.raises(Failure, match=r"flaskhost:layout\.root: must stay /srv"):
        bare.do(text(root="/var/www").replace("srv-", "var-www-"))


@pytest.fixture
def based(bare: Server) -> Server:
    """Return a server after `volume` and `base`."""
    disk(bare)
    bare.do(text())
    bare.uv()
    bare.do(scenario.plan().base)
    return bare


def test_what_was_unmounted_by_hand_is_drift(based: Server) -> None:
    """Promise: `flaskhost drift` names it, and the next `volume` puts it back."""
    assert drift.drift("guestbook", Progress(based.said))["differences"] == []
    remove(based.fakes / "active/srv-guestbook-shared.mount")
    for name in ("media", "data", "logs", ".env", "static"):
        remove(based.paths.shared / name)
    found = drift.drift("guestbook", Progress(based.said))["differences"]
    assert ("srv-guestbook-shared.mount", "is inactive instead of active") in [
        (one["what"], one["how"]) for one in found
    ]
    based.do(text())
    assert (based.fakes / "active/srv-guestbook-shared.mount").exists()


def test_what_is_kept_of_an_application_stays_where_it_is(based: Server) -> None:
    """Promise: the folder with uploads stays mounted; what holds nothing is unmounted and removed."""
    (based.paths.shared / "media/a.png").write_text("kept")
    teardown.by_hand("guestbook", Progress(based.said), purge=False)
    assert (based.paths.shared / "media/a.png").exists()
    there = [unit for unit in UNITS if (based.paths.units / unit).exists()]
    assert there == list(UNITS[:2])
    assert not (based.fakes / "active" / UNITS[2]).exists()
    assert not (based.root / "data/guestbook/backups").exists()


def test_purge_takes_the_disk_from_the_host(based: Server) -> None:
    """Promise: nothing of the application is on the disk, and nothing mounts it any more; the disk stays as it is."""
    (based.paths.shared / "media/a.png").write_text("gone")
    teardown.by_hand("guestbook", Progress(based.said), purge=True)
    assert not any((based.paths.units / unit).exists() for unit in UNITS)
    assert not any((based.fakes / "active" / unit).exists() for unit in UNITS)
    assert not (based.root / "srv/guestbook").exists()
    assert not (based.root / "data").exists()
    assert "LABEL=flaskhost-data" in (based.root / "dev/nvme1n1").read_text()


def test_another_applications_folders_stay_on_the_disk(based: Server) -> None:
    """Promise: the disk is unmounted with the last one only."""
    (based.root / "data/other").mkdir()
    teardown.by_hand("guestbook", Progress(based.said), purge=True)
    assert [unit for unit in UNITS if (based.paths.units / unit).exists()] == ["data.mount"]
