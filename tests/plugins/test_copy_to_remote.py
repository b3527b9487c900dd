"""Copies to a host: where a file, a text or a folder goes, and when it is copied again."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.protocol import ARCHIVE, ASSET, COPY_TO_REMOTE, SIGNATURE, Json, PluginError, is_secret

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.hosts import Host, ObedientHost
    from tests.plugins.protocol import Plugin


def text(content: str) -> Json:
    """Return a text as an asset."""
    return {SIGNATURE: ASSET, "text": content, "hash": hashlib.sha256(content.encode()).hexdigest()}


def file(path: Path) -> Json:
    """Return a file as an asset."""
    return {SIGNATURE: ASSET, "path": str(path), "hash": hashlib.sha256(path.read_bytes()).hexdigest()}


def folder(path: Path | str) -> Json:
    """Return a folder or a packed file as an archive; a test may give any hash."""
    return {SIGNATURE: ARCHIVE, "path": str(path), "hash": "of the folder"}


def checked(plugin: Plugin, host: Host, source: Json, path: Any) -> Json:
    """Return checked inputs of a copy."""
    inputs: Json = {"connection": host.connection(), "source": source, "remotePath": str(path)}
    return plugin.check(COPY_TO_REMOTE, inputs).inputs


def copy(plugin: Plugin, host: Host, source: Json, path: Any) -> Json:
    """Copy and return the state."""
    return plugin.create(COPY_TO_REMOTE, checked(plugin, host, source, path)).state


def refusal(plugin: Plugin, host: Host, source: Json, path: Any) -> str:
    """Return the text with which a copy fails."""
    with pytest.raises(PluginError) as error:
        copy(plugin, host, source, path)
    return str(error.value)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make a folder `source` with a file, a link and a folder in it."""
    folder = tmp_path / "source"
    (folder / "below").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "below" / "b.txt").write_text("b")
    (folder / "link").symlink_to("a.txt")
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Return a path on the host (which is this machine) where nothing is yet."""
    return tmp_path / "there"


def test_a_text_becomes_a_file_and_its_parents_are_made(plugin: Plugin, host: Host, there: Path) -> None:
    """With its letters as they are."""
    state = copy(plugin, host, text("grüße\n"), there / "x" / "y.txt")
    assert (there / "x" / "y.txt").read_text() == "grüße\n"
    assert state["source"]["text"] == "grüße\n"
    assert is_secret(state["connection"])


def test_an_empty_text_becomes_an_empty_file(plugin: Plugin, host: Host, there: Path) -> None:
    """Not an error about a path that is empty."""
    copy(plugin, host, text(""), there)
    assert there.read_bytes() == b""


def test_a_text_replaces_a_longer_file(plugin: Plugin, host: Host, there: Path) -> None:
    """Nothing of the old content is left."""
    there.write_text("something longer")
    copy(plugin, host, text("short"), there)
    assert there.read_text() == "short"


def test_a_text_does_not_go_into_a_folder(plugin: Plugin, host: Host, there: Path) -> None:
    """It has no name of its own."""
    there.mkdir()
    assert refusal(plugin, host, text("x"), there) == (
        f"remote path {there} is a directory; when using a text asset, remotePath must be a file path"
    )


def test_a_file_becomes_the_destination(plugin: Plugin, host: Host, source: Path, there: Path) -> None:
    """Parents are made; an existing file is overwritten."""
    for content in ("first, longer", "second"):
        (source / "a.txt").write_text(content)
        copy(plugin, host, file(source / "a.txt"), there / "new" / "name")
        assert (there / "new" / "name").read_text() == content


def test_a_file_goes_into_a_folder_that_exists(plugin: Plugin, host: Host, source: Path, there: Path) -> None:
    """Under its own name."""
    there.mkdir()
    copy(plugin, host, file(source / "a.txt"), there)
    assert (there / "a.txt").read_text() == "a"


def test_a_large_file_arrives_whole(plugin: Plugin, host: Host, source: Path, there: Path) -> None:
    """An application's archive is some megabytes."""
    (source / "a.txt").write_bytes(bytes(range(256)) * 40_000)
    copy(plugin, host, file(source / "a.txt"), there)
    assert there.read_bytes() == (source / "a.txt").read_bytes()


def test_a_packed_file_is_not_unpacked(plugin: Plugin, host: Host, source: Path, there: Path) -> None:
    """Archives by path are copied as they are."""
    (source / "app.tar").write_bytes(b"packed")
    copy(plugin, host, folder(source / "app.tar"), there)
    assert there.read_bytes() == b"packed"


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_goes_into_the_destination(
    plugin: Plugin, host: Host, source: Path, there: Path, *, exists: bool
) -> None:
    """Under its own name, whether the destination was there or not; links are followed."""
    if exists:
        there.mkdir()
    copy(plugin, host, folder(source), there)
    names = sorted(str(path.relative_to(there)) for path in there.rglob("*"))
    assert names == ["source", "source/a.txt", "source/below", "source/below/b.txt", "source/link"]
    assert (there / "source" / "link").read_text() == "a"
    assert not (there / "source" / "link").is_symlink()


@pytest.mark.parametrize("exists", [True, False])
def test_with_a_slash_the_content_goes_into_the_destination(
    plugin: Plugin, host: Host, source: Path, there: Path, *, exists: bool
) -> None:
    """What was there already stays."""
    if exists:
        there.mkdir()
        (there / "old").write_text("old")
    copy(plugin, host, folder(f"{source}/"), there)
    assert (there / "below" / "b.txt").read_text() == "b"
    assert (there / "old").exists() == exists


def test_a_folder_does_not_replace_a_file(plugin: Plugin, host: Host, source: Path, there: Path) -> None:
    """The copy fails instead."""
    there.write_text("a file")
    assert refusal(plugin, host, folder(f"{source}/"), there) == f"remote path {there} exists but is not a directory"


def test_a_source_that_is_gone_is_named(plugin: Plugin, host: Host, there: Path) -> None:
    """With the path that was asked for."""
    source = {SIGNATURE: ASSET, "path": "/no/such/file", "hash": "x"}
    assert refusal(plugin, host, source, there) == "open /no/such/file: no such file or directory"


def test_a_file_in_the_way_of_the_parents_is_named(plugin: Plugin, host: Host, there: Path) -> None:
    """The message says what could not be made."""
    there.write_text("a file")
    message = refusal(plugin, host, text("x"), there / "below" / "file")
    assert str(there) in message


def test_an_update_copies_only_what_changed(plugin: Plugin, host: Host, there: Path) -> None:
    """Another hash or another path; not another connection alone."""
    old = checked(plugin, host, text("one"), there)
    state = plugin.create(COPY_TO_REMOTE, old).state
    before = host.logins()
    again = plugin.check(
        COPY_TO_REMOTE,
        {"connection": host.connection(perDialTimeout=9), "source": text("one"), "remotePath": str(there)},
    ).inputs
    plugin.update(COPY_TO_REMOTE, state, old, again)
    assert host.logins() == before
    plugin.update(COPY_TO_REMOTE, state, old, checked(plugin, host, text("two"), there))
    assert there.read_text() == "two"
    plugin.update(COPY_TO_REMOTE, state, old, checked(plugin, host, text("one"), there.with_name("elsewhere")))
    assert there.with_name("elsewhere").read_text() == "one"
    assert there.read_text() == "two"


def test_a_delete_leaves_the_copy(plugin: Plugin, host: Host, there: Path) -> None:
    """And asks nothing of the host."""
    state = copy(plugin, host, text("one"), there)
    before = host.logins()
    plugin.delete(COPY_TO_REMOTE, state)
    assert there.exists()
    assert host.logins() == before


def test_a_copy_dials_anew_and_closes_its_connection(plugin: Plugin, obedient: ObedientHost, there: Path) -> None:
    """Otherwise than a command."""
    for content in ("one", "two"):
        copy(plugin, obedient, text(content), there)
    time.sleep(0.5)
    assert [transport.is_active() for transport in obedient.open] == [False, False]


def test_an_identity_is_eight_hex_digits_alone(plugin: Plugin, host: Host, there: Path) -> None:
    """Copies have no name in it."""
    created = plugin.create(COPY_TO_REMOTE, checked(plugin, host, text("one"), there))
    assert len(created.id) == 8
    int(created.id, 16)
