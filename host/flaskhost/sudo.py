"""`flaskhost --sudo STEP APP`: how a login user who is not root has a step done as root.

The password comes in an environment variable of the SSH session. It stands on no command line, and in no file: sudo(8)
asks a script of one line, which prints a variable that sudo does not hand on.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Dict, List, NoReturn, Sequence, Tuple

from flaskhost.shell import Failure, run

# What the SSH server of Debian and Ubuntu lets a session bring along: `AcceptEnv LANG LC_*` in sshd_config.
GIVEN = "LC_FLASKHOST_SUDO"
# sudo keeps LC_* and drops this one (sudoers(5), env_reset).
ASKED = "FLASKHOST_SUDO"
ASKPASS = f'#!/bin/sh\nprintf "%s\\n" "${ASKED}"\n'
# Three wrong passwords, with the pause that PAM makes after each.
SECONDS = 60


def again(program: Sequence[str], words: Sequence[str]) -> NoReturn:
    """Run this command again as root, in place of this process.

    Args:
        program: how this command is called.
        words: its arguments.

    Raises:
        Failure: sudo refuses; the message says what to set.
    """
    if shutil.which("sudo") is None:
        raise Failure(
            "there is no sudo on this host: install the package sudo, or log in as root (flaskhost:server.user)"
        )
    sudo, environment = _sudo(os.environ.pop(GIVEN, ""))
    asked = run([*sudo, "true"], timeout=SECONDS, check=False, env=environment)
    if asked.returncode:
        raise Failure(_refused(asked.stdout, with_password="-A" in sudo))
    os.environ.update(environment)
    line = [*sudo, "--", *program, *words]
    os.execvp(line[0], line)  # noqa: S606 - no shell is to read these words


def _sudo(password: str) -> Tuple[List[str], Dict[str, str]]:
    """Return the words before a command that root shall run, and the environment that they need."""
    if not password:
        return ["sudo", "-n"], {}
    folder = Path.home() / ".flaskhost"
    script = folder / "askpass"
    folder.mkdir(mode=0o700, exist_ok=True)
    new = script.with_name(f".askpass.{os.getpid()}")
    new.write_text(ASKPASS)
    new.chmod(0o700)
    new.rename(script)
    return ["sudo", "-A"], {"SUDO_ASKPASS": str(script), ASKED: password}


def _refused(said: str, *, with_password: bool) -> str:
    """Return what is wrong, with sudo's own words and what to do."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    if "password is required" in said or "terminal is required" in said:
        fix = "set flaskhost:credentials.sudo_password, or give the user NOPASSWD in /etc/sudoers.d"
    elif "incorrect password" in said or "try again" in said.lower():
        fix = "flaskhost:credentials.sudo_password is not this user's password: set it again"
    else:
        fix = "give the user the right to run every command (group sudo), or log in as another one"
    what = "with the password of the stack" if with_password else "without a password"
    return f"{user} cannot become root {what}: {fix}. sudo says:\n{said.strip()}"
