"""Changes to the file system: whole or not at all, and none where there is nothing to change."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flaskhost import files, layout, releases, slots
from flaskhost.shell import Failure
from flaskhost.verbs import prepare

if TYPE_CHECKING:
    from tests.host.conftest import Server

pytestmark = pytest.mark.usefixtures("server")


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return path.lstat().st_mode & 0o7777


@pytest.mark.parametrize("name", ["plain", "with blank", "quo'te\"s", "$HOME", "-n", "umlaut-ü", "new\nline"])
def test_a_file_is_written_once_and_then_left_alone(tmp_path: Path, name: str) -> None:
    """Promise: text, mode, one rename; a second time says that nothing was different, whatever the name is."""
    path = tmp_path / name
    assert files.write(path, "Grüße\n", mode=0o640) is True
    before = path.stat()
    assert files.write(path, "Grüße\n", mode=0o640) is False
    assert path.stat().st_ino == before.st_ino
    assert mode(path) == 0o640
    assert files.write(path, "other\n", mode=0o640) is True
    assert path.stat().st_ino != before.st_ino, "who has the old file open still reads the old text"
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_another_mode_alone_is_a_change(tmp_path: Path) -> None:
    """Promise: a file that somebody opened to the world is closed again."""
    path = tmp_path / "env"
    files.write(path, "x\n", mode=0o640)
    path.chmod(0o666)
    assert files.write(path, "x\n", mode=0o640) is True
    assert mode(path) == 0o640


def test_a_link_in_the_place_of_a_file_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    """Promise: no link leads a write to another file; neither does one that was put beside it."""
    (tmp_path / "precious").write_text("precious\n")
    for name in ("file", ".file.new"):
        (tmp_path / name).symlink_to("precious")
    assert files.write(tmp_path / "file", "new\n") is True
    assert (tmp_path / "precious").read_text() == "precious\n"
    assert not (tmp_path / "file").is_symlink()


def test_what_a_killed_write_has_left_does_not_disturb(tmp_path: Path) -> None:
    """Promise: a kill before the rename leaves the old text, and the next write goes on."""
    files.write(tmp_path / "file", "old\n")
    (tmp_path / ".file.new").write_text("hal")
    assert (tmp_path / "file").read_text() == "old\n"
    files.write(tmp_path / "file", "new\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_secret_is_never_open_to_others_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the file has no permission for others before it has its owner."""
    seen = []
    true = os.fchown

    def looked(descriptor: int, uid: int, gid: int) -> None:
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        true(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchown", looked)
    files.write(tmp_path / "env", "SECRET\n", mode=0o640)
    assert seen == [0o600]


def test_a_link_is_replaced_by_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: at no moment is there no link: visitors ask while it changes."""
    path = tmp_path / "active"
    assert files.link(path, "slots/blue") is True
    assert files.link(path, "slots/blue") is False
    (tmp_path / ".active.new").symlink_to("left by a killed one")
    removed: list[str] = []
    true = Path.unlink

    def noted(self: Path, *, missing_ok: bool = False) -> None:
        removed.append(self.name)
        true(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    assert files.link(path, "slots/green") is True
    assert str(path.readlink()) == "slots/green"
    assert removed == [".active.new"]


def test_a_tree_gets_owner_and_modes_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    """Promise: code is readable by its group, writable by its owner only; what a link leads to is not touched."""
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    for name, bits in (("folder/plain", 0o666), ("folder/run", 0o777), ("folder/setuid", 0o4777)):
        (tree / name).write_text("")
        (tree / name).chmod(bits)
    (tree / "link").symlink_to("../outside")
    (tree / "up").symlink_to("..")
    for _ in range(2):
        files.own_tree(tree, owner="root", group="guestbook")
        modes = {name: mode(tree / name) for name in ("folder", "folder/plain", "folder/run", "folder/setuid")}
        assert modes == {"folder": 0o750, "folder/plain": 0o640, "folder/run": 0o750, "folder/setuid": 0o750}
        assert mode(outside) == 0o600
    files.own_tree(tree, owner="root", group="root", readers="all")
    assert (mode(tree), mode(tree / "folder/plain"), mode(tree / "folder/run")) == (0o755, 0o644, 0o755)


def test_removing_takes_links_away_and_not_what_they_lead_to(tmp_path: Path) -> None:
    """Promise: a release that links to shared files can be removed without them."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "release").mkdir()
    (tmp_path / "release/media").symlink_to("../shared")
    (tmp_path / "current").symlink_to("release")
    for name in ("release", "current", "nothing"):
        files.remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_the_layout_knows_the_active_slot_or_none(server: Server) -> None:
    """Promise: before the first switch nothing is active, and a pointer to elsewhere is no slot."""
    paths = server.paths
    paths.home.mkdir(parents=True)
    assert paths.active_slot() is None
    assert layout.other(None) == "blue"
    for colour in layout.SLOTS:
        slots.point(paths, colour)
        assert paths.active_slot() == colour
        assert layout.other(colour) != colour
    files.link(paths.active, "../elsewhere")
    assert paths.active_slot() is None


def test_a_slot_is_found_by_its_release_only_when_it_is_filled(ready: Server) -> None:
    """Promise: a fill that was killed on its way does not count as that release: its last link counts."""
    plan = ready.release("v1", until="prepare")
    release = releases.read(ready.paths, plan.release)
    slot = ready.paths.slot("blue")
    (slot / "release").symlink_to(f"../../releases/{release.facts['folder']}")
    assert releases.slot_of(ready.paths, plan.release) is None
    slots.fill(ready.paths, "blue", release)
    assert releases.slot_of(ready.paths, plan.release) == "blue"
    ready.calls()
    before = ready.tree()
    slots.fill(ready.paths, "blue", release)
    assert ready.tree() == before
    assert ready.acted() == []
    for name in ("release", "venv", "static", "env", "config"):
        assert (slot / name).exists(), name


def member(
    name: str, *, link: str | None = None, hard: str | None = None, kind: bytes = tarfile.REGTYPE
) -> tarfile.TarInfo:
    """Return a member of an archive."""
    info = tarfile.TarInfo(name)
    info.type = tarfile.SYMTYPE if link is not None else tarfile.LNKTYPE if hard is not None else kind
    info.linkname = link or hard or ""
    info.mode = 0o6777
    info.uid = info.gid = 12345
    return info


def unpacked(folder: Path, *members: tarfile.TarInfo) -> Path:
    """Unpack an archive of these members; return where."""
    with tarfile.open(folder / "source.tar", "w") as tar:
        for one in members:
            one.size = 5 if one.type == tarfile.REGTYPE else 0
            tar.addfile(one, io.BytesIO(b"text\n") if one.size else None)
    prepare.unpack(folder / "source.tar", folder / "release")
    return folder / "release"


LEAVING = {
    "upwards": [member("../outside")],
    "upwards later": [member("a/../../outside")],
    "absolute": [member("/tmp/flaskhost-outside")],  # noqa: S108 - never made
    "absolute link": [member("a", link="/etc")],
    "link upwards": [member("a", link="..")],
    "link upwards from below": [member("a/b", link="../../outside")],
    "link to a neighbour": [member("a", link="../release-of-another")],
    "hard link": [member("a"), member("b", hard="a")],
    "hard link outside": [member("a", hard="../../outside")],
    "device": [member("a", kind=tarfile.CHRTYPE)],
    "block device": [member("a", kind=tarfile.BLKTYPE)],
    "pipe": [member("a", kind=tarfile.FIFOTYPE)],
    "through a link": [
        member("a/b", kind=tarfile.DIRTYPE),
        member("a/b/up", link="../.."),
        member("a/b/up/x", link="../x"),
    ],
    "by two links": [member("sub/c", link=".."), member("sub/x", link="c/../../y")],
}


@pytest.mark.parametrize("members", LEAVING.values(), ids=LEAVING.keys())
def test_what_would_leave_the_folder_is_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    """Promise: an archive writes nothing outside of its folder and leads nowhere else; the message names the member."""
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(Failure, match="the source holds '"):
        unpacked(tmp_path, *members)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "release", "source.tar"])


def test_what_stays_inside_isunpacked_without_owner_and_special_modes(tmp_path: Path) -> None:
    """Promise: files, folders and links inside arrive; no set-user-id bit and no foreign owner does."""
    top = unpacked(
        tmp_path,
        member("package", kind=tarfile.DIRTYPE),
        member("package/run"),
        member("odd 'name\"\n-ü"),
        member("link", link="package/run"),
        member("package/up", link="../link"),
    )
    assert (top / "package/up").read_text() == "text\n"
    assert mode(top / "package/run") == 0o750
    assert (top / "package/run").stat().st_uid == os.geteuid()
    assert (top / "odd 'name\"\n-ü").exists()
