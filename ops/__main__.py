"""`python -m ops COMMAND`: what an operator does beside `./pulumi`."""

from __future__ import annotations

import argparse
import sys

from ops import abandon, drift
from ops.setup.errors import SetupError


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ops", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    abandon.describe(commands.add_parser("abandon", help=abandon.HELP, description=abandon.__doc__))
    drift.describe(commands.add_parser("drift", help=drift.HELP, description=drift.__doc__))
    asked = parser.parse_args(words)
    try:
        if asked.command == "drift":
            return drift.run(asked)
        abandon.abandon(asked.stack, current=asked.current)
    except SetupError as error:
        print(f"{asked.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
