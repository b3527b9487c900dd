"""Repositories with releases of a test's own: of the bundled application, or of another one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.stack import GOOD, TREE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WHO = {f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def make(folder: Path) -> Path:
    """Make the repository in a folder; return it."""
    subprocess.run([sys.executable, TREE / "examples" / "make_repository.py", folder], check=True, capture_output=True)
    return folder


def tagged(folder: Path, releases: Mapping[str, Mapping[str, str]]) -> Path:
    """Make a repository of a test's own application, with these files by tag, one after the other; return it."""
    folder.mkdir()
    git(folder, "init", "-q")
    for tag, files in releases.items():
        _commit(folder, tag, files)
    return folder


def release(folder: Path, tag: str, files: Mapping[str, str], base: str = GOOD) -> str:
    """Put a release beside another one: its files, and these; return its commit."""
    git(folder, "checkout", "-q", base)
    return _commit(folder, tag, files)


def _commit(folder: Path, tag: str, files: Mapping[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "-q", "--no-gpg-sign", "-m", tag)
    git(folder, "tag", "--no-sign", tag)
    return git(folder, "rev-parse", "HEAD").strip()


def git(folder: Path, *words: str) -> str:
    """Run git in a repository; return what it prints."""
    environment = {**os.environ, **WHO}
    return subprocess.run(
        ["git", *words], cwd=folder, check=True, capture_output=True, text=True, env=environment
    ).stdout
