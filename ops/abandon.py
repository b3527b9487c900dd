"""Forget a host that is gone: what Pulumi would do there can't be done, so it is taken out of the stack's state.

When a stack leaves a host, its application is removed there. With a dead host that fails, each time. This takes the
removal out of the state and touches nothing else: by default the removal from hosts that the stack has left already,
with --current also the one from the host where the stack is, so that `./pulumi destroy` works. With --host it is that
of one of several hosts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ops import engine

if TYPE_CHECKING:
    import argparse

HELP = "forget a host that is gone, so that `./pulumi up` or `./pulumi destroy` works again"
KIND = "flaskhost:teardown:Teardown$command:remote:Command::"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")
    parser.add_argument(
        "--current", action="store_true", help="also forget the host where the stack is now; it is gone"
    )
    parser.add_argument("--host", metavar="ADDRESS", help="forget one of several hosts, as names of its steps have it")


def run(asked: argparse.Namespace) -> int:
    """Forget what the words say; return the exit status."""
    abandon(asked.stack, current=asked.current, host=asked.host)
    return 0


def abandon(stack: str, *, current: bool, host: str | None = None) -> None:
    """Take removals out of the state of a stack, and say which.

    Args:
        stack: its name.
        current: whether the host where the stack is now is forgotten as well.
        host: one of several hosts that is forgotten as well.

    Raises:
        SetupError: Pulumi could not read or write the state.
    """
    state = json.loads(engine.pulumi("stack", "export", "--stack", stack))
    gone = without(state, current=current, host=host)
    if not gone:
        also = "" if current else "; with --current the host where the stack is now is forgotten as well"
        print(f"abandon: nothing to forget: {stack} has left no host that it could not reach{also}")
        return
    # Through standard input: the state holds keys, if encrypted ones.
    engine.pulumi("stack", "import", "--stack", stack, stdin=json.dumps(state))
    for one in gone:
        print(f"abandon: forgotten: {one}; what is on that host stays there")


def without(state: dict[str, Any], *, current: bool, host: str | None = None) -> list[str]:
    """Take removals out of an exported state; return what was taken out, as a person calls it.

    A resource that is marked `delete` is one whose removal Pulumi has begun and tries again at each `up`.
    """
    resources = state["deployment"].get("resources") or []
    of_host = f"-{host}-teardown" if host else "none"
    gone = [
        one
        for one in resources
        if KIND in one["urn"] and (current or one.get("delete") or one["urn"].endswith(of_host))
    ]
    state["deployment"]["resources"] = [one for one in resources if one not in gone]
    # A killed run has left these, and Pulumi would ask about each.
    operations = state["deployment"].get("pending_operations") or []
    urns = {one["urn"] for one in gone}
    state["deployment"]["pending_operations"] = [one for one in operations if one["resource"]["urn"] not in urns]
    return [_called(one) for one in gone]


def _called(resource: dict[str, Any]) -> str:
    name = str(resource["urn"]).rpartition("::")[2]
    return f"{name} of a host that was left" if resource.get("delete") else name
