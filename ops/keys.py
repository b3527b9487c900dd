"""`python3 -m ops.keys`: makes the SSH keys of a stack, that of its hosts and that of its login, and prints them.

The program calls it once and keeps what it printed in the stack's state, encrypted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.setup.errors import SetupError


def pairs() -> dict[str, str]:
    """Return a new pair of Ed25519 keys for the host and one for the login, in OpenSSH's form.

    Raises:
        SetupError: OpenSSH's client is not installed, or makes no keys.
    """
    made = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("host", "login"):
            file = Path(folder) / name
            try:
                subprocess.run(
                    ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(file)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    check=True,
                )
            except FileNotFoundError as error:
                raise SetupError("ssh-keygen is missing: install OpenSSH's client (package openssh-client)") from error
            except subprocess.CalledProcessError as error:
                raise SetupError(f"ssh-keygen makes no key: {error.stderr.decode(errors='replace').strip()}") from error
            made[f"{name}_private"] = file.read_text()
            made[f"{name}_public"] = " ".join(file.with_suffix(".pub").read_text().split()[:2])
    return made


if __name__ == "__main__":
    try:
        print(json.dumps(pairs()))
    except SetupError as error:
        sys.exit(str(error))
