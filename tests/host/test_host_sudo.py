"""A login user becomes root: with the session's password or without, and with a clear word where sudo refuses."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).parents[2] / "host"
PASSWORD = "hunter2 'quoted\" $HOME `id` \\"
# Does what the real one does with its words and the environment; the file `refusal` makes it refuse in these words.
SUDO = """#!/bin/sh
folder=$(dirname "$0")
if [ -e "$folder/refusal" ]; then cat "$folder/refusal" >&2; exit 1; fi
case $1 in
-A) "$SUDO_ASKPASS" > "$folder/password" ;;
-n) [ -z "$SUDO_ASKPASS" ] || exit 9 ;;
*) exit 8 ;;
esac
shift
[ "$1" != -- ] || shift
unset FLASKHOST_SUDO
env > "$folder/environment"
echo "$@" >> "$folder/calls"
[ "$1" = true ] || cat
"""


def become_root(folder: Path, password: str = "", stdin: str = "document") -> subprocess.CompletedProcess[str]:
    """Call the command as an SSH session of a user does."""
    sudo = folder / "sudo"
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder / "home"), "PYTHONPATH": str(HOST)}
    (folder / "home").mkdir(exist_ok=True)
    if password:
        variables["LC_FLASKHOST_SUDO"] = password
    return subprocess.run(
        [sys.executable, "-m", "flaskhost", "--sudo", "site", "guestbook"],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        timeout=30,
    )


def test_without_a_password_sudo_is_not_to_ask(tmp_path: Path) -> None:
    """Promise: NOPASSWD is enough, and nothing waits for a terminal; the document goes on to the step."""
    done = become_root(tmp_path)
    assert (done.returncode, done.stdout) == (0, "document"), done.stderr
    assert (tmp_path / "calls").read_text().splitlines()[1].endswith("flaskhost/__main__.py site guestbook")
    assert not (tmp_path / "home/.flaskhost").exists()


def test_a_password_is_handed_to_sudo_and_to_nobody_else(tmp_path: Path) -> None:
    """Promise: whatever its characters, sudo gets it; the step's environment, command lines and files do not."""
    done = become_root(tmp_path, PASSWORD)
    assert (done.returncode, done.stdout) == (0, "document"), done.stderr
    assert (tmp_path / "password").read_text() == f"{PASSWORD}\n"
    for name in ("environment", "calls", "home/.flaskhost/askpass"):
        assert "hunter2" not in (tmp_path / name).read_text()
    askpass = tmp_path / "home/.flaskhost/askpass"
    assert stat.S_IMODE(askpass.stat().st_mode) == 0o700
    assert [path.name for path in askpass.parent.iterdir()] == ["askpass"]


@pytest.mark.parametrize(
    ("said", "password", "fix"),
    [
        ("sudo: a password is required", "", "set flaskhost:credentials.sudo_password, or give the user NOPASSWD"),
        (
            "Sorry, try again.\nsudo: 3 incorrect password attempts",
            "x y z",
            "is not this user's password: set it again",
        ),
        ("admin is not in the sudoers file.", "x y z", "give the user the right to run every command (group sudo)"),
    ],
)
def test_a_refusal_says_what_to_set(tmp_path: Path, said: str, password: str, fix: str) -> None:
    """Promise: sudo's own words and the next step; nothing was done, and no password is in the message."""
    (tmp_path / "refusal").write_text(said)
    done = become_root(tmp_path, password)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert fix in done.stderr
    assert said in done.stderr
    assert not (tmp_path / "calls").exists()
    assert "x y z" not in done.stderr


def test_a_host_without_sudo_is_told_so(tmp_path: Path) -> None:
    """Promise: a bare Debian has no sudo, and the message says what installs it."""
    variables = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(HOST)}
    words = [sys.executable, "-m", "flaskhost", "--sudo", "site", "guestbook"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=variables, timeout=30)
    assert done.returncode == 1
    assert "install the package sudo, or log in as root" in done.stderr
