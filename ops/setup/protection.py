"""What `./pulumi destroy` may not remove: the engine would remove everything else first, and then stop at it.

A volume, an address, a database, a bucket or a record is protected in the state until `purge` says that it may go.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ops.setup import cache, stacks
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DESTROYS = ("destroy", "down", "dn")
PART_OF_IT = ("--target", "-t", "--target-dependents", "--preview-only", "--help", "-h")
"""Words with which nothing is removed, or only what is named."""

SPARES = "--exclude-protected"


def refuse(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuse to destroy a stack that holds something, before anything is removed; or say what will be kept.

    Raises:
        SetupError: something is protected; it is named, with the ways on.
    """
    if not any(word in DESTROYS for word in words) or any(word.partition("=")[0] in PART_OF_IT for word in words):
        return
    stack = stacks.meant(words, environment)
    held = list(of_state(_export(stack, environment))) if stack else []
    if not held:
        return
    listed = "\n".join(f"  {one}" for one in held)
    if any(word.partition("=")[0] == SPARES for word in words):
        print(f"set-up: these hold data or a name, and are kept with what they need:\n{listed}", file=sys.stderr)
        return
    raise SetupError(
        f"the stack {stack} holds data and names that it does not give up, so nothing was removed:\n{listed}\n"
        f"  Next: `./pulumi destroy {SPARES} --stack {stack}` removes everything else and keeps these; or write "
        f"`flaskhost:purge: true` into the stack file, run `./pulumi up --stack {stack}`, and destroy it then with all "
        "its data"
    )


def of_state(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is protected in an exported state: kind, name, and ID on AWS."""
    for one in state.get("deployment", {}).get("resources") or []:
        if one.get("protect") and not one.get("delete"):
            kind = one["type"].rpartition(":")[2]
            yield f"{kind} {one['urn'].rpartition('::')[2]} ({one.get('id', 'no ID')})"


def _export(stack: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the state of a stack; an empty one where it cannot be read, and the command itself will say why."""
    words = ["pulumi", "stack", "export", "--stack", stack]
    asked = subprocess.run(words, env=dict(environment), cwd=cache.TREE, capture_output=True, text=True, check=False)
    return dict(json.loads(asked.stdout)) if asked.returncode == 0 else {}
