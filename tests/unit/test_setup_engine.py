"""Which Pulumi and which plugins set-up takes."""

from __future__ import annotations

import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from ops.setup import cache, download, engine, golang, plugins
from ops.setup.progress import Step

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it: an own cache, an empty PATH, an own home."""
    monkeypatch.setenv("FLASKHOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    return tmp_path


def blocked(*_: object) -> None:
    """Stand for the vendor's site where it is blocked."""
    raise download.Unreachable("no answer in 5 s")


def refuse(*_: object) -> None:
    """Stand for a way that must not be taken."""
    pytest.fail("this way must not be taken")


def program(path: Path, says: str = "", status: int = 0) -> None:
    """Write a program that says something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)


def pulumi(folder: Path, version: str, *others: str) -> None:
    """Write a CLI of some version with some programs beside it."""
    program(folder / "pulumi", version)
    for name in others:
        program(folder / name)


def build(module: str, package: str, target: Path, *_: object, **__: object) -> None:
    """Stand for Go's build: a program that says the right version."""
    del module, package
    program(target, f"v{engine.VERSION}")


def test_versions_are_those_of_the_lock_file() -> None:
    """The CLI, the plugin and the packages that speak with them are one set."""
    text = cache.REQUIREMENTS.read_text()
    assert re.search(rf"^pulumi=={re.escape(engine.VERSION)} ", text, flags=re.MULTILINE)
    assert re.search(rf"^pulumi-command=={re.escape(plugins.VERSION)} ", text, flags=re.MULTILINE)
    assert re.search(rf"^pulumi-aws=={re.escape(plugins.AWS_VERSION)} ", text, flags=re.MULTILINE)


def test_the_go_module_builds_the_version_that_set_up_says() -> None:
    """Both modules of the CLI are pinned to it."""
    text = (golang.MODULES / "cli" / "go.mod").read_text()
    assert text.count(f" v{engine.VERSION}\n") == 2


def test_a_usable_pulumi_on_path_is_taken(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a CLI keeps it, and nothing is asked of the network."""
    pulumi(machine / "bin", "v3.301.2", engine.LANGUAGE_HOST, engine.EXEC_SHIM)
    monkeypatch.setattr(download, "answers", refuse)
    found = engine.ensure()
    assert found.folder == machine / "bin"
    assert "3.301.2 of PATH" in found.way


@pytest.mark.parametrize(
    ("version", "others"),
    [
        ("v3.254.9", (engine.LANGUAGE_HOST, engine.EXEC_SHIM)),
        ("v4.0.0", (engine.LANGUAGE_HOST, engine.EXEC_SHIM)),
        ("", (engine.LANGUAGE_HOST, engine.EXEC_SHIM)),
        ("v3.301.2", ()),
    ],
)
def test_an_unusable_pulumi_on_path_is_passed_over(machine: Path, version: str, others: tuple[str, ...]) -> None:
    """Too old, of another major version, broken, or without its language host."""
    pulumi(machine / "bin", version, *others)
    with Step("engine", "test") as step:
        assert not engine.is_usable(machine / "bin", step)


def test_the_script_of_the_tree_is_no_pulumi(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tree on PATH, set-up must not find `./pulumi`, which would run set-up, and so on."""
    monkeypatch.setenv("PATH", str(cache.TREE))
    monkeypatch.setattr(engine, "is_usable", refuse)
    monkeypatch.setattr(engine, "_in_cache", lambda _step: engine.Engine(Path("kept"), "kept"))
    assert engine.ensure().folder == Path("kept")


def test_go_builds_it_where_the_vendor_is_blocked_and_only_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run finds what the first one made, and still says how it came there."""
    shim = machine / "sdk" / "python" / "cmd" / engine.EXEC_SHIM
    program(shim)
    go = golang.Go("go", {}, "Go 1.99")
    monkeypatch.setattr(golang.Go, "build", lambda _self, *words, **named: build(*words, **named))
    monkeypatch.setattr(golang.Go, "source", lambda *_: machine / "sdk")
    monkeypatch.setattr(golang, "find", lambda *_: go)
    monkeypatch.setattr(download, "answers", blocked)
    made = engine.ensure()
    assert (
        made.way
        == f"Pulumi {engine.VERSION} built with Go 1.99 (the vendor's download was not to be had: no answer in 5 s)"
    )

    monkeypatch.setattr(download, "answers", refuse)
    monkeypatch.setattr(golang, "find", refuse)
    assert engine.ensure() == made
    assert [path.name for path in made.folder.parent.iterdir()] == [made.folder.name]


def archive(path: Path, names: dict[str, str]) -> None:
    """Write an archive as the vendor's is."""
    with tarfile.open(path, "w:gz") as opened:
        for name, text in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            opened.addfile(member, io.BytesIO(text.encode()))


def vendor(monkeypatch: pytest.MonkeyPatch, source: Path, sums: str) -> None:
    """Stand for the vendor's site."""
    monkeypatch.setattr(download, "answers", lambda _url: None)
    monkeypatch.setattr(download, "text", lambda _url: sums)
    monkeypatch.setattr(download, "file", lambda _url, target, _digest: target.write_bytes(source.read_bytes()))


def test_the_vendors_download_is_taken_where_it_can_be_had(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpacked into the cache, whole, and Go is not asked."""
    script = f"#!/bin/sh\necho v{engine.VERSION}\n"
    names = ("pulumi", engine.LANGUAGE_HOST, engine.EXEC_SHIM)
    archive(machine / "archive", {f"pulumi/{name}": script for name in names})
    vendor(monkeypatch, machine / "archive", f"{DIGEST}  {engine.archive_name()}\n")
    monkeypatch.setattr(golang, "find", refuse)
    found = engine.ensure()
    assert found.way == f"Pulumi {engine.VERSION} from the vendor's download"
    assert all(os.access(found.folder / name, os.X_OK) for name in names)


def test_no_member_of_an_archive_decides_where_it_goes(machine: Path) -> None:
    """A name that climbs out of the folder ends inside it."""
    archive(machine / "archive", {"pulumi/../../../evil": "x"})
    engine.unpack(machine / "archive", machine / "out" / "programs")
    assert [path.relative_to(machine / "out") for path in (machine / "out").rglob("*") if path.is_file()] == [
        Path("programs/evil")
    ]


def test_an_archive_that_the_vendor_does_not_list_is_not_taken() -> None:
    """Nor one with a digest of another kind."""
    assert engine.listed_digest(f"{DIGEST}  a.tar.gz\n", "a.tar.gz") == DIGEST
    for sums in ("", f"{DIGEST}  b.tar.gz\n", "1234  a.tar.gz\n"):
        with pytest.raises(download.Unreachable, match=r"does not name a\.tar\.gz"):
            engine.listed_digest(sums, "a.tar.gz")


def test_a_download_with_another_digest_is_not_taken(machine: Path) -> None:
    """The message names the file, and the caller goes the next way."""
    (machine / "served").write_text("not what was published")
    with pytest.raises(download.Unreachable, match="served has not the digest"):
        download.file((machine / "served").as_uri(), machine / "got", DIGEST)


def engine_that_installs(machine: Path, *, works: bool) -> engine.Engine:
    """Return a CLI whose `plugin install` works or fails."""
    made = f"$PULUMI_HOME/plugins/{plugins.FOLDER}"
    folder = machine / "engine"
    folder.mkdir()
    body = f'mkdir -p "{made}" && cp "$0" "{made}/{plugins.NAME}"' if works else "echo 'error: 404'; exit 1"
    (folder / "pulumi").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "pulumi").chmod(0o755)
    return engine.Engine(folder, "test")


def test_a_stand_in_is_taken_only_while_the_official_plugin_cannot_be_had(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the official one can be had, no program but a preview of the example meets the stand-in."""
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(download, "answers", blocked)
    pulumi_engine = engine_that_installs(machine, works=True)
    first = plugins.ensure(pulumi_engine)
    assert first.stands_in
    assert first.home == machine / "cache" / "pulumi-home"
    assert (first.program.parent / plugins.MARKER).exists()
    assert "for servers of kind local only" in first.way
    assert (
        "the official plugin was not to be had: no answer in 5 s" in (first.program.parent / plugins.MARKER).read_text()
    )

    monkeypatch.setattr(download, "answers", lambda _url: None)
    second = plugins.ensure(pulumi_engine)
    assert not second.stands_in
    assert second.program == machine / "home" / ".pulumi" / "plugins" / plugins.FOLDER / plugins.NAME
    assert second.home is None
    assert "for previews of the example" in (first.program.parent / plugins.MARKER).read_text()


def stand_ins(machine: Path) -> set[str]:
    """Return the plugins in the PULUMI_HOME of the stand-ins that the engine can start, each with its version."""
    folder = machine / "cache" / "pulumi-home" / "plugins"
    programs = [path for path in folder.glob("*/pulumi-resource-*") if os.access(path, os.X_OK)]
    assert all((path.parent / plugins.MARKER).exists() for path in programs)
    assert not list(folder.glob("*/.*")), "each is whole or not there"
    return {path.parent.name for path in programs}


@pytest.mark.parametrize("official", [True, False])
def test_all_stand_ins_are_there_whatever_the_command_plugin_is(
    machine: Path, monkeypatch: pytest.MonkeyPatch, *, official: bool
) -> None:
    """A preview of the example needs both, and asks nobody; a second run changes nothing."""
    if official:
        program(machine / "home" / ".pulumi" / "plugins" / plugins.FOLDER / plugins.NAME)
    monkeypatch.setattr(download, "answers", blocked)
    for _ in range(2):
        assert plugins.ensure(engine.Engine(machine, "test")).stands_in is not official
        assert stand_ins(machine) == {f"resource-command-v{plugins.VERSION}", f"resource-aws-v{plugins.AWS_VERSION}"}


def test_a_login_in_the_home_of_the_stand_ins_stays(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but the plugins is written there: a selected stack may be in it."""
    kept = machine / "cache" / "pulumi-home" / "credentials.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    monkeypatch.setattr(download, "answers", blocked)
    plugins.ensure(engine.Engine(machine, "test"))
    assert kept.read_text() == "{}"


def test_a_failed_official_installation_leads_to_the_stand_in(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way says why, in the CLI's own last line."""
    monkeypatch.setattr(download, "answers", lambda _url: None)
    found = plugins.ensure(engine_that_installs(machine, works=False))
    assert found.stands_in
    assert "error: 404" in found.way


def test_an_official_plugin_that_is_there_is_taken_without_the_network(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And PULUMI_HOME stays the user's own."""
    program(machine / "home" / ".pulumi" / "plugins" / plugins.FOLDER / plugins.NAME)
    monkeypatch.setattr(download, "answers", refuse)
    assert plugins.ensure(engine.Engine(machine, "test")).home is None


def test_a_half_installed_plugin_does_not_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine would not take it either."""
    folder = machine / "home" / ".pulumi" / "plugins"
    program(folder / plugins.FOLDER / plugins.NAME)
    (folder / f"{plugins.FOLDER}.partial").touch()
    monkeypatch.setattr(download, "answers", blocked)
    assert plugins.ensure(engine.Engine(machine, "test")).stands_in


def test_a_run_inside_a_run_does_not_take_the_stand_in_for_the_official_plugin(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There PULUMI_HOME is the stand-in's: it is not the user's, and nothing official goes into it."""
    monkeypatch.setattr(download, "answers", blocked)
    first = plugins.ensure(engine.Engine(machine, "test"))
    monkeypatch.setenv("PULUMI_HOME", str(first.home))
    assert plugins.user_home() == machine / "home" / ".pulumi"
    assert plugins.ensure(engine.Engine(machine, "test")).stands_in


def test_a_plugin_on_path_is_taken(machine: Path) -> None:
    """Who has put one there means it; the engine takes it as well."""
    program = machine / "bin" / plugins.NAME
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    found = plugins.ensure(engine_that_installs(machine, works=False))
    assert found.program == program
    assert not found.stands_in
