"""What an operator does beside `./pulumi`."""

from __future__ import annotations

import argparse
import sys

from ops import abandon, dns, drift, history, recover, rollback, tunnel
from ops.setup.errors import SetupError

COMMANDS = {
    "history": history,
    "rollback": rollback,
    "recover": recover,
    "drift": drift,
    "dns": dns,
    "tunnel": tunnel,
    "abandon": abandon,
}


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.describe(commands.add_parser(name, help=command.HELP, description=command.__doc__))
    asked = parser.parse_args(words)
    try:
        return int(COMMANDS[asked.command].run(asked))
    except SetupError as error:
        print(f"{asked.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
