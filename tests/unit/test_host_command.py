"""The command that is uploaded: the same bytes from every clone, so that only a change of it is a change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import host_command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def packed(cache: Path) -> bytes:
    """Return the bytes of the command, packed into a cache of its own."""
    return host_command.pack(cache).archive.read_bytes()


def clone(target: Path, seconds: int) -> Path:
    """Return a copy of the package as another clone has it: with other times and modes."""
    shutil.copytree(host_command.PACKAGE, target / "flaskhost", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (target / "flaskhost").rglob("*"):
        path.chmod(0o700)
        os.utime(path, (seconds, seconds))
    return target / "flaskhost"


def test_two_clones_pack_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: an `up` from a colleague's clone uploads nothing and runs nothing anew."""
    here = packed(tmp_path / "one")
    for number, seconds in enumerate((1, 2_000_000_000)):
        monkeypatch.setattr(host_command, "PACKAGE", clone(tmp_path / str(number), seconds))
        assert packed(tmp_path / f"cache-{number}") == here


def test_packing_again_gives_the_same_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    """Promise: the file is named by its content, and a second packing changes nothing."""
    first, second = host_command.pack(tmp_path), host_command.pack(tmp_path)
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [f"flaskhost-{first.digest}.pyz"]
    assert first.program == f"/usr/local/lib/flaskhost/{first.digest}/bin/flaskhost"
    assert first.upload == f".flaskhost/flaskhost-{first.digest}.pyz"


def test_a_changed_line_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a changed command reaches the host, beside the one before."""
    before = host_command.pack(tmp_path)
    package = clone(tmp_path / "clone", 1)
    (package / "shell.py").write_text((package / "shell.py").read_text() + "# changed\n")
    monkeypatch.setattr(host_command, "PACKAGE", package)
    after = host_command.pack(tmp_path)
    assert after.digest != before.digest
    assert before.archive.exists()


def test_the_archive_runs(tmp_path: Path) -> None:
    """Promise: what is uploaded is a program that the host's own python3 starts; without words it says its usage."""
    archive = host_command.pack(tmp_path).archive
    words = [sys.executable, "-I", str(archive)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "usage: flaskhost" in done.stderr
    assert "Traceback" not in done.stderr
