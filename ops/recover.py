"""Make a stack usable after its engine was killed: say what it has left behind, and clear that where it is safe.

A killed engine leaves its lock, and notes of the steps that it was waiting for. The steps themselves are not in danger:
each goes on by itself on its host, and the next `up` follows it or finds it done.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ops import drift, engine, history
from ops.development.connection import Lost, shell
from ops.setup import locks, stacks
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from ops.setup.locks import Holder

HELP = "clear what a killed `up` has left: its lock and its pending operations, where that is safe"
STEP = "command:"
"""How the types of flaskhost's own steps begin: each may be done again at any time."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")


def run(asked: argparse.Namespace) -> int:
    """Clear what was left behind; return the exit status.

    Raises:
        SetupError: something is there that is not safe to clear.
    """
    stack, held = asked.stack, locks.holders(asked.stack, os.environ)
    for holder in held:
        print(f"locked by {holder}")
        refuse_at_work(stack, holder)
    if not held:
        refuse_in_progress(stack)
    # Before the lock goes: as long as it is there, nobody else changes the state.
    exported = engine.pulumi("stack", "export", "--stack", stack)
    pending = operations(json.loads(exported)["deployment"])
    for operation in pending:
        print(f"interrupted: {called(operation)}, while {operation['type']}")
    refuse_foreign(stack, pending)
    for line in at_work(stack):
        print(line)
    if not held and engine.pulumi("stack", "export", "--stack", stack) != exported:
        raise SetupError("the state has changed meanwhile: somebody is at work.\n  Next: recover again, later")
    if held:
        engine.pulumi("cancel", "--yes", "--stack", stack)
        print("cleared: the lock")
    if pending:
        # The engine leaves them out of a state that it is handed; it refuses where somebody has locked it since.
        engine.pulumi("stack", "import", "--stack", stack, stdin=exported)
        print("cleared: the pending operations")
    if not held and not pending:
        print("there is nothing to clear")
    print(f"Next: ./pulumi up --stack {stack}")
    return 0


def refuse_at_work(stack: str, holder: Holder) -> None:
    """Refuse to take away the lock of an engine that may be at work.

    Raises:
        SetupError: it is, or cannot be seen from here.
    """
    if not holder.is_here:
        raise SetupError(
            f"{holder.machine} is another machine: from here nobody sees whether process {holder.pid} still runs there."
            f"\n  Next: look there, and when it runs no more: ./pulumi cancel --stack {stack}, then recover again"
        )
    if holder.runs():
        raise SetupError(
            f"process {holder.pid} is at work, or waits for an answer in its terminal.\n"
            f"  Next: wait for its end, or end it with kill -INT {holder.pid}; it takes its lock away then"
        )


def refuse_in_progress(stack: str) -> None:
    """Refuse to go on while another backend than files of this machine knows of an update at work.

    Raises:
        SetupError: it does. Whether the engine that makes it still runs, no backend tells.
    """
    if stacks.state_file(stack, os.environ) is not None:
        return
    for update in history.of(stack)[-1:]:
        if update.result == "in-progress":
            raise SetupError(
                f"update {update.number} by {update.author}, since {update.started:%Y-%m-%d %H:%M:%S} UTC, is in "
                "progress, and from here nobody sees whether its engine still runs.\n"
                "  Next: look where it was started, and when "
                f"it runs no more: ./pulumi cancel --stack {stack}, then recover again"
            )


def operations(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what an engine was waiting for when it was killed."""
    return list(deployment.get("pending_operations") or [])


def called(operation: Mapping[str, Any]) -> str:
    """Return the name of the step that a pending operation is about."""
    return str(operation["resource"]["urn"]).rpartition("::")[2]


def refuse_foreign(stack: str, pending: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to forget what may have been made somewhere without Pulumi knowing: only our own steps can be done again.

    Raises:
        SetupError: there is such a thing.
    """
    foreign = [one for one in pending if not str(one["resource"]["type"]).startswith(STEP)]
    if foreign:
        names = ", ".join(f"{called(one)} ({one['resource']['type']})" for one in foreign)
        raise SetupError(
            f"{names}: it may be there, and Pulumi would make it once more.\n  Next: look whether it is, then "
            f"./pulumi refresh --stack {stack}, which asks about each"
        )


def at_work(stack: str) -> Iterator[str]:
    """Yield what still runs on the hosts that the state knows, a line each."""
    state = json.loads(engine.pulumi("stack", "export", "--show-secrets", "--stack", stack))
    for host in drift.of_state(state["deployment"]):
        try:
            with shell(host.login) as opened:
                steps = opened.ask("status --json", host.app)["at_work"]
        except Lost as lost:
            yield f"{host.name} could not be asked what is at work there ({lost}); the next up finds out"
            continue
        for step in steps:
            yield f"at work on {host.name}: {step}. It goes on by itself, and the next up follows it"
