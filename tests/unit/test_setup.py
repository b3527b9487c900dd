"""What programs are run with, what a person sees of set-up, and what lint finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ops.setup import cache, containers, golang, lint, plugins, workplace
from ops.setup.errors import SetupError
from ops.setup.progress import CommandFailed, Step

OPEN_SHELL = "#!/bin/sh\n"


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> workplace.Workplace:
    """Return a work place with a stand-in, as set-up writes it down."""
    monkeypatch.setattr(workplace, "RECORD", tmp_path / "flaskhost.json")
    for name in ("pulumi", "plugin"):
        (tmp_path / name).write_text(OPEN_SHELL)
        (tmp_path / name).chmod(0o755)
    return workplace.Workplace(
        made_from=workplace.digest(),
        engine=str(tmp_path),
        plugin=str(tmp_path / "plugin"),
        home=str(tmp_path / "home"),
        checked=time.time(),
        ways=("engine: a", "plugins: b"),
    )


def test_what_was_written_down_is_read_back(found: workplace.Workplace) -> None:
    """So the second run starts nothing."""
    found.save()
    assert workplace.load() == found
    assert found.is_current()


def test_a_record_of_an_older_set_up_is_still_read(found: workplace.Workplace) -> None:
    """What it does not say is taken as not looked for yet."""
    found.save()
    kept = json.loads(workplace.RECORD.read_text())
    del kept["containers"]
    workplace.RECORD.write_text(json.dumps(kept))
    assert workplace.load() == found


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"ways": []}', '{"ways": [], "of": "a newer set-up"}'])
def test_a_record_that_makes_no_sense_is_none(text: str, found: workplace.Workplace) -> None:
    """It leads to a set-up, never to a traceback."""
    del found
    workplace.RECORD.write_text(text)
    assert workplace.load() is None


def test_set_up_looks_again_when_something_is_gone_or_changed(found: workplace.Workplace) -> None:
    """A plugin that was removed, or another lock file."""
    assert not found._replace(plugin="/nowhere/plugin").is_current()
    assert not found._replace(engine="/nowhere").is_current()
    assert not found._replace(made_from="another").is_current()


def test_the_vendor_is_asked_again_after_a_day_with_a_stand_in(found: workplace.Workplace) -> None:
    """With the official plugin nothing has to be asked again."""
    yesterday = time.time() - workplace.RETRY_SECONDS - 1
    assert not found._replace(checked=yesterday).is_current()
    assert found._replace(checked=yesterday, home="").is_current()


def test_programs_find_the_projects_python_and_pulumi_first(found: workplace.Workplace) -> None:
    """Once each, also in a run inside a run, and the rest of PATH stays in its order."""
    once = found.variables({"PATH": "/a:/b", "PYTHONHOME": "/x", "PYTHONDONTWRITEBYTECODE": "1"})
    assert once["PATH"].split(":") == [str(cache.VENV / "bin"), found.engine, "/a", "/b"]
    assert not {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE"} & set(once)
    assert found.variables(once) == once


def test_a_dead_agent_of_ssh_reaches_no_program(found: workplace.Workplace) -> None:
    """pulumi-command fails on it even where a key is given."""
    assert "SSH_AUTH_SOCK" not in found.variables({"SSH_AUTH_SOCK": "/gone"})


def test_programs_are_told_of_a_stand_in_and_only_of_one(found: workplace.Workplace) -> None:
    """With the official plugin PULUMI_HOME stays as the user has it, and nothing says that it stands in."""
    told = found.variables({})
    assert told["FLASKHOST_STAND_IN"] == "1"
    assert told["PULUMI_HOME"] == found.home
    assert told["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert workplace.standing_in(found.home).items() <= told.items()
    official = found._replace(home="").variables({"FLASKHOST_STAND_IN": "1", "PULUMI_HOME": "/mine"})
    assert "FLASKHOST_STAND_IN" not in official
    assert official["PULUMI_HOME"] == "/mine"


def test_the_cache_folder_can_be_moved(tmp_path: Path) -> None:
    """By a variable of our own, or with all caches of the user."""
    assert cache.folder({"FLASKHOST_CACHE": str(tmp_path)}) == tmp_path
    assert cache.folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "flaskhost"
    assert cache.folder({}) == Path.home() / ".cache" / "flaskhost"


@pytest.mark.parametrize("name", plugins.STAND_INS)
def test_a_stand_in_runs_from_the_tree_that_asks(name: str, tmp_path: Path) -> None:
    """One cache serves several trees, each with its own stand-ins; without a tree it says what to do."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'{OPEN_SHELL}echo "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(plugins.stand_in(name))
    words = ["sh", str(wrapper), "127.0.0.1:1"]
    ran = subprocess.run(words, env={"FLASKHOST_TREE": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == f"{tmp_path}/tests/plugins/{name}/pulumi-resource-{name} 127.0.0.1:1"
    alone = subprocess.run(words, env={}, capture_output=True, text=True, check=False)
    assert alone.returncode != 0
    assert "run ./pulumi of the flaskhost tree" in alone.stderr


@pytest.mark.parametrize("name", plugins.STAND_INS)
def test_the_tree_has_the_program_of_each_stand_in(name: str) -> None:
    """What set-up writes into the cache leads to a program that is there and can be started."""
    assert os.access(cache.TREE / "tests" / "plugins" / name / f"pulumi-resource-{name}", os.X_OK)


def test_a_step_says_in_one_line_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with its time."""
    with Step("engine", "looking") as step:
        step.done("found")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "[  0.0 s] engine: found\n"


def test_a_long_step_shows_that_it_lives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also without a terminal, with the last line that its program wrote."""
    monkeypatch.setattr("ops.setup.progress.QUIET_SECONDS", 0.5)
    monkeypatch.setenv("FLASKHOST_CACHE", str(tmp_path))
    with Step("engine", "building") as step:
        step.run(["sh", "-c", "echo compiling; sleep 1.5"])
    assert "engine: building … compiling" in capsys.readouterr().err


def test_a_failed_program_is_shown_with_its_last_lines() -> None:
    """What failed, why, and what it wrote."""
    with pytest.raises(CommandFailed) as caught, Step("x", "y") as step:
        step.run(["sh", "-c", "echo one; echo two >&2; exit 3"])
    assert caught.value.explain() == "`sh -c echo one; echo two >&2; exit 3` ended with status 3\n    one\n    two"
    assert caught.value.last_line() == "two"


def test_a_program_that_does_not_exist_is_a_failed_program() -> None:
    """Not a traceback."""
    with pytest.raises(CommandFailed, match="could not be started"), Step("x", "y") as step:
        step.run(["/nowhere/program"])


def test_a_program_gets_no_more_than_its_time() -> None:
    """Nor do the programs that it started, and holding its output open does not help them."""
    started = time.monotonic()
    with pytest.raises(CommandFailed, match=r"took longer than 0\.5 s"), Step("x", "y") as step:
        step.run(["sh", "-c", "sleep 60 & sleep 60"], seconds=0.5)
    assert time.monotonic() - started < 10


def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **status: int) -> None:
    """Make PATH hold container engines whose `info` ends with a status."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in status.items():
        (tmp_path / name).write_text(f"{OPEN_SHELL}exit {value}\n")
        (tmp_path / name).chmod(0o755)


def test_a_client_without_its_daemon_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's client alone is passed over for a podman that works."""
    engines(tmp_path, monkeypatch, docker=1, podman=0)
    assert containers.ensure() == "podman"
    engines(tmp_path, monkeypatch, docker=0, podman=1)
    assert containers.ensure() == "docker"


def test_without_an_engine_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where set-up may not install one itself."""
    engines(tmp_path, monkeypatch, docker=1)
    monkeypatch.setattr(containers, "can_use_apt", lambda: False)
    assert containers.find() is None
    with pytest.raises(SetupError, match="install Docker or podman"):
        containers.ensure()
    with pytest.raises(SetupError, match="install mmdebstrap"):
        containers.ensure_debian_tools()


def test_an_old_go_on_path_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the modules need stands in their go.mod; an older one leads to the pinned Go."""
    wanted = golang.oldest("cli")
    assert wanted >= (1, 25)
    own = tmp_path / "cache" / "go" / "bin" / "go"
    for path, version in ((tmp_path / "go", "1.21.3"), (own, "1.99.0")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{OPEN_SHELL}echo go{version}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FLASKHOST_CACHE", str(tmp_path / "cache"))
    with Step("x", "y") as step:
        assert golang.find(step, "cli").program == str(own)
        (tmp_path / "go").write_text(f"{OPEN_SHELL}echo go1.99.1\n")
        assert golang.find(step, "cli").origin == "Go 1.99.1"


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import os, json.decoder\nfrom . import x\nfrom flaskhost import y", []),
        ("import yaml", ["yaml"]),
        ("def f():\n    from requests.adapters import HTTPAdapter", ["requests.adapters"]),
        ("try:\n    import jinja2\nexcept ImportError:\n    pass", ["jinja2"]),
    ],
)
def test_the_host_imports_the_standard_library_only(source: str, modules: list[str]) -> None:
    """Wherever the import stands."""
    assert [name for _line, name in lint.foreign_imports(source, {"flaskhost"})] == modules


def test_programs_are_known_by_their_first_line(tmp_path: Path) -> None:
    """Scripts without an ending are checked as well."""
    lines = {"a": "#!/bin/sh", "b": "#!/usr/bin/env bash", "c": "#!/usr/bin/env python3", "d": "sh", "e": "#!/bin/dash"}
    for name, line in lines.items():
        (tmp_path / name).write_text(line + "\n")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in lint.with_shebang(files, lint.SHELL)] == ["a", "b", "e"]
    assert [path.name for path in lint.with_shebang(files, lint.PYTHON)] == ["c"]


def test_a_check_without_anything_to_check_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left out silently, and nothing fails by accident."""
    assert lint.passes(lint.Check("zizmor", (), "no workflow yet"), {})
    assert "zizmor: not run, no workflow yet" in capsys.readouterr().out


def test_a_failed_check_is_shown_with_all_that_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of a check runs."""
    check = lint.Check("c", (("sh", "-c", "echo first; exit 1"), ("sh", "-c", "echo second; exit 1")))
    assert not lint.passes(check, {"PATH": os.defpath})
    assert capsys.readouterr().out.endswith("lint: c: FAILED\nfirst\nsecond\n")


def test_start_says_so_where_python_is_too_old(tmp_path: Path) -> None:
    """In a tree without an environment and with no fitting Python on PATH."""
    (tmp_path / "ops" / "setup").mkdir(parents=True)
    script = tmp_path / "ops" / "setup" / "start"
    script.write_text((cache.TREE / "ops" / "setup" / "start").read_text())
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "dirname").symlink_to("/usr/bin/dirname")
    (programs / "python3").write_text(f"{OPEN_SHELL}exit 1\n")
    (programs / "python3").chmod(0o755)
    ran = subprocess.run(
        ["/bin/sh", str(script)], env={"PATH": str(programs)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "no Python 3.10 or newer on PATH" in ran.stderr


def test_an_unknown_command_is_answered_with_the_usage() -> None:
    """With a status that says so."""
    ran = subprocess.run(
        [sys.executable, "-m", "ops.setup", "nonsense"], cwd=cache.TREE, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: ops/setup/start")


def test_no_file_of_the_pinned_modules_names_a_registry() -> None:
    """go.sum holds module paths, no addresses: where they come from is the user's GOPROXY."""
    for path in golang.MODULES.rglob("*"):
        if path.is_file():
            assert "://" not in path.read_text(), path


def test_the_record_is_plain_json(found: workplace.Workplace) -> None:
    """Other programs may read it."""
    found.save()
    assert json.loads(workplace.RECORD.read_text())["engine"] == found.engine


def test_a_program_can_be_interrupted_even_where_a_script_has_put_set_up_into_the_background() -> None:
    """The engine interrupts its plugins to end them, and would wait 5 s for each that has inherited to ignore it."""
    asks = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    start = cache.TREE / "ops" / "setup" / "start"
    script = '"$1" run python -c "$2" & wait'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", start, asks], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
