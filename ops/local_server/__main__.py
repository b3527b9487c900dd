"""`python3 -m ops.local_server VERB`: a JSON object on stdin, one JSON line on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ops.local_server import server
from ops.local_server.engine import ServerError
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERBS: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "keys": lambda _: server.keys(),
    "create": server.create,
    "start": server.start,
    "stop": server.stop,
    "delete": server.delete,
    "image": server.image,
}


def main(words: list[str]) -> int:
    """Run one verb; the exit status is 0, 1 (something to put right) or 2 (wrong words)."""
    if len(words) != 1 or words[0] not in VERBS:
        print(f"usage: python3 -m ops.local_server {'|'.join(VERBS)} < input.json", file=sys.stderr)
        return 2
    try:
        print(json.dumps(VERBS[words[0]](asked())))
    except SetupError as error:
        print(f"flaskhost: {error}", file=sys.stderr)
        return 1
    return 0


def asked() -> dict[str, Any]:
    """Read the JSON object on stdin; a person at a terminal who only wants keys need not type an empty one."""
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    try:
        document = json.loads(text or "{}")
    except ValueError as error:
        # Where, but not the text itself: it may hold a key.
        raise ServerError(f"stdin: must be a JSON object (got text that is none: {error})") from None
    if not isinstance(document, dict):
        raise ServerError(f"stdin: must be a JSON object (got {type(document).__name__})")
    return document


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
