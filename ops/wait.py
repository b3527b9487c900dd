"""`python3 -m ops.wait`: waits until a new machine answers over SSH behind a bastion, or through a tunnel.

Standard input says how to log in, and which instance of EC2 has to answer. The plugin's own way to wait does not work
behind a bastion: it repeats a login on the connection that the first try has broken. And a tunnel that has not looked
again leads to the machine before, which has the same keys.
"""

from __future__ import annotations

import json
import sys
import time

from ops.development.connection import Login, Lost, shell
from ops.setup.errors import SetupError

BOOT_SECONDS = 600.0
PAUSE_SECONDS = 2.0
WHO = "cat /var/lib/cloud/data/instance-id"
"""What cloud-init has written before it lets sshd start (its documentation, "Data storage locations")."""


def until_it_answers(login: Login, instance: str, seconds: float = BOOT_SECONDS) -> None:
    """Wait for a machine.

    Raises:
        Lost: it has not let this login in after so many seconds; with what SSH said last, or which machine answers.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with shell(login) as opened:
                there = opened.output(WHO)
            if there == instance:
                return
            lost = Lost(f"it leads to {there or 'a machine that was not made by AWS'}")
        except Lost as said:
            lost = said
        if time.monotonic() > end:
            raise lost
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Wait for what standard input names; end with status 1 and the reason where it does not come."""
    given = json.load(sys.stdin)
    login, instance = Login.read(given), str(given["instance"])
    try:
        until_it_answers(login, instance)
    except Lost as lost:
        if login.bastion:
            sys.exit(f"{instance} does not answer behind its bastion after {BOOT_SECONDS:.0f} s: {lost}")
        sys.exit(
            f"{login.host}:{login.port} does not lead to {instance} after {BOOT_SECONDS:.0f} s: {lost}\n"
            "Have the tunnel in a second terminal while `up` runs: `make tunnel STACK=…`"
        )
    except SetupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
