"""The keys that a stack makes for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import settings
from ops import keys
from ops.setup import cache
from ops.setup.errors import SetupError
from settings import rules

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"host_private", "host_public", "login_private", "login_public"}


def test_the_keys_are_two_pairs_that_openssh_takes(tmp_path: Path) -> None:
    """Promise: each private key is whole and has no passphrase, and the public one beside it is its own."""
    made = keys.pairs()
    assert set(made) == NAMES
    for name in ("host", "login"):
        file = tmp_path / name
        file.touch(mode=0o600)
        file.write_text(made[f"{name}_private"])
        words = ["ssh-keygen", "-y", "-P", "", "-f", str(file)]
        said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        assert said.split() == made[f"{name}_public"].split()
        assert made[f"{name}_public"].startswith("ssh-ed25519 ")


def test_the_keys_are_what_the_settings_would_take() -> None:
    """Promise: every part of the project that looks at a key sees a good one."""
    made = keys.pairs()
    assert rules.host_key(made["host_public"]) == made["host_public"]
    assert rules.private_key(made["login_private"]) == made["login_private"]


def test_no_key_is_made_twice() -> None:
    """Promise: neither for host and login, nor for two stacks."""
    made = [*keys.pairs().values(), *keys.pairs().values()]
    assert len(set(made)) == len(made)


def test_a_key_says_nothing_about_who_has_made_it() -> None:
    """Promise: no name of a person or of a machine gets onto servers and into state."""
    assert all(len(keys.pairs()[f"{name}_public"].split()) == 2 for name in ("host", "login"))


def test_the_command_prints_the_keys_and_nothing_else() -> None:
    """Promise: the program reads its output as JSON."""
    words = [sys.executable, "-m", "ops.keys"]
    done = subprocess.run(words, cwd=cache.TREE, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == NAMES
    assert done.stderr == ""


def test_without_openssh_the_command_says_what_to_install(tmp_path: Path) -> None:
    """Promise: it fails with a sentence, and prints no half of a pair."""
    words = [sys.executable, "-m", "ops.keys"]
    done = subprocess.run(
        words, cwd=cache.TREE, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ssh-keygen is missing: install OpenSSH's client (package openssh-client)\n"


def test_a_key_that_cannot_be_made_is_an_error_with_what_openssh_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: as in a container whose user has no name, where ssh-keygen refuses to work."""
    program = tmp_path / "ssh-keygen"
    program.write_text("#!/bin/sh\necho 'No user exists for uid 1000' >&2\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    with pytest.raises(SetupError, match=r"^ssh-keygen makes no key: No user exists for uid 1000$"):
        keys.pairs()


def test_the_users_name_of_the_machines_is_the_one_of_their_image() -> None:
    """Promise: the login key goes to the account that Canonical's images let in with it."""
    assert settings.AwsServer.user == "ubuntu"
