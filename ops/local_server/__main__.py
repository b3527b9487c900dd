"""`python3 -m ops.local_server VERB`: a JSON object on stdin, one JSON line on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ops.local_server import server
from ops.local_server.engine import Problem

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
        # A person at a terminal who only wants keys need not type an empty object.
        text = "" if sys.stdin.isatty() else sys.stdin.read()
        try:
            asked = json.loads(text) if text.strip() else {}
        except ValueError as error:
            # Not the text itself: it may hold a key.
            raise Problem(f"stdin: must be a JSON object ({type(error).__name__})") from None
        if not isinstance(asked, dict):
            raise Problem(f"stdin: must be a JSON object (got {type(asked).__name__})")
        print(json.dumps(VERBS[words[0]](asked)))
    except Problem as problem:
        print(f"flaskhost: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
