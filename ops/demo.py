"""`python3 -m ops.demo up|down`: the bundled application on a server in a container of this machine.

It does what a user of the stack `local` does by hand: put a version into the stack file, `pulumi up`, look at the page.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi import automation
from pulumi.automation.events import OpType

from ops.local_server import server
from ops.setup import cache, containers, stacks
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from pulumi.automation.events import EngineEvent

HERE = Path(__file__).parent.parent
STACK = "local"
STACK_FILE = HERE / f"Pulumi.{STACK}.yaml"
KEPT = STACK_FILE.with_suffix(".yaml.version-before-demo")
"""Holds the version that the stack file had before the demo changed it."""
VERSION = "flaskhost:app.version"
COMMIT = "flaskhost:app.commit"
ANSWER_SECONDS = 30.0
CONTAINER_TYPE = "flaskhost:server:Local$command:local:Command"


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m ops.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--version", help="tag, branch or commit of the bundled application")
    commands.add_parser("down")
    asked = parser.parse_args(words)
    try:
        # What ./pulumi does for this stack: its passphrase, and the stack itself where the backend has none yet.
        variables = stacks.prepare(["up", "--stack", STACK], os.environ)
        workspace = automation.LocalWorkspace(work_dir=str(HERE), env_vars=variables)
        stack = automation.Stack.create_or_select(STACK, workspace)
        return up(stack, asked.version) if asked.command == "up" else down(stack)
    except SetupError as error:
        say(f"demo: {error}")
        return 1


def up(stack: automation.Stack, version: str | None) -> int:
    """Deploy; return the exit status."""
    if version:
        ask_for(stack, version)
    name, urn = container_of(stack)
    gone = [urn] if name and not wake(name) else []
    report = Report()
    try:
        result = stack.up(on_event=report.hear, replace=gone, color="never", suppress_progress=True)
    except automation.CommandError as error:
        report.fail(str(error))
        serving = stack.outputs().get("release")
        if serving:
            version = serving.value["version"]
            say(f"\n{version} serves as before. Next: make demo VERSION={version}, or a version that works.")
        return 1
    url, release = result.outputs["url"].value, result.outputs["release"].value
    changes = dict(result.summary.resource_changes or {})
    if set(changes) <= {OpType.SAME}:
        say("nothing to change: the server has what the stack file says, and no SSH connection was opened")
    address = url.replace("localhost", "127.0.0.1")
    prove(address)
    others = "v1.0.0" if release["version"] != "v1.0.0" else "v1.1.0"
    if name is None:
        name, _ = container_of(stack)
    inside = f"{containers.find()} exec -it {name}"
    say(f"\nready: {address}\n")
    say(f"It serves {release['version']}; the certificate is self-signed, so the browser asks once. What to try next:")
    tries = {
        f"make demo VERSION={others}": "another version, with no failed request; and back the same way",
        "make demo VERSION=v1.2.0": "a broken one: it never reaches a visitor",
        f"./pulumi preview --diff --stack {STACK}": f"what would change, after an edit of {STACK_FILE.name}",
        f"./pulumi stack output --stack {STACK}": "what was verified",
        f"{inside} flaskhost status guestbook": "what serves, asked on the server",
        f"{inside} journalctl -u guestbook -n 20": "the application's log",
        "make demo-down": "remove all of it",
    }
    width = max(map(len, tries))
    for words, meaning in tries.items():
        say(f"  {words:{width}}  {meaning}")
    return 0


def down(stack: automation.Stack) -> int:
    """Remove the container, the state and the change of the stack file; return the exit status."""
    report = Report()
    try:
        stack.destroy(on_event=report.hear, color="never", suppress_progress=True)
    except automation.CommandError as error:
        report.fail(str(error))
        return 1
    if KEPT.exists():
        before = KEPT.read_text().strip()
        # The version alone: whatever else was edited since is the user's.
        stack.set_config(VERSION, automation.ConfigValue(before), path=True)
        forget_commit(stack)
        KEPT.unlink()
        say(f"{STACK_FILE.name}: version {before}, as before the demo changed it")
    stack.workspace.remove_stack(STACK, preserve_config=True)
    say("removed: container, keys and state. What was downloaded or built stays in " + str(cache.folder()))
    return 0


def ask_for(stack: automation.Stack, version: str) -> None:
    """Put a version into the stack file, where another one stands there."""
    before = stack.get_config(VERSION, path=True).value
    if version != before:
        keep(before)
        stack.set_config(VERSION, automation.ConfigValue(version), path=True)
        forget_commit(stack)
        say(f"{STACK_FILE.name}: version {before} -> {version}")


def forget_commit(stack: automation.Stack) -> None:
    """Take the commit out of the stack file that a rollback has written beside its version."""
    if "commit" in json.loads(stack.get_config("flaskhost:app").value):
        stack.remove_config(COMMIT, path=True)


def wake(name: str) -> bool:
    """Start the container that the state knows if it was stopped; return whether there is one at all.

    Neither can be seen in the state: Pulumi does not look at the container again.
    """
    state = server.start({"name": name})["state"]
    if state == "started":
        say(f"the container {name} was stopped: started it again")
    if state == "absent":
        say(f"the container {name} is gone: making it anew")
    return state != "absent"


def container_of(stack: automation.Stack) -> tuple[str | None, str]:
    """Return name and URN of the container that the state knows, or None."""
    for resource in (stack.export_stack().deployment or {}).get("resources", []):
        if CONTAINER_TYPE in resource["urn"] and resource["urn"].endswith("-container"):
            return next(one[5:] for one in resource["inputs"]["triggers"] if one.startswith("name=")), resource["urn"]
    return None, ""


def prove(url: str) -> None:
    """See from outside of the container that the application answers.

    Raises:
        SetupError: it does not.
    """
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    until, last = time.monotonic() + ANSWER_SECONDS, ""
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{url}health", timeout=ANSWER_SECONDS, context=trusting) as answer:  # noqa: S310 - https
                if answer.status == 200:
                    return
        except urllib.error.HTTPError as error:
            last = f"status {error.code}"
        except OSError as error:
            last = str(error)
        time.sleep(0.2)
    raise SetupError(f"{url}health does not answer ({last}).\n  Next: ./pulumi stack output --stack {STACK}")


class Report:
    """Tells what Pulumi does: a line when a step begins, what it says, and how long it took."""

    def __init__(self) -> None:
        """Start the clock."""
        self._begin = time.monotonic()
        self._began: dict[str, float] = {}
        self._errors: list[str] = []

    def hear(self, event: EngineEvent) -> None:
        """Take one event of the engine."""
        now = time.monotonic()
        begins, ends, says = event.resource_pre_event, event.res_outputs_event, event.diagnostic_event
        if begins and begins.metadata.op not in (OpType.SAME, OpType.READ) and is_step(begins.metadata.urn):
            self._began[begins.metadata.urn] = now
            self._line(short(begins.metadata.urn), begins.metadata.op.value)
        if says and says.severity == "error" and says.urn and is_step(says.urn):
            self._errors.append(f"{short(says.urn or '')}: {says.message.strip()}")
        elif says and says.severity != "debug" and says.urn and is_step(says.urn) and says.message.strip():
            for line in says.message.rstrip().split("\n"):
                self._line(short(says.urn), "  " + line)
        if ends and ends.metadata.urn in self._began:
            took = now - self._began.pop(ends.metadata.urn)
            self._line(short(ends.metadata.urn), f"done after {took:.1f} s")

    def fail(self, otherwise: str) -> None:
        """Say what went wrong: the steps' own errors, or what Pulumi printed where there are none."""
        say("\n".join(["", *(self._errors or [otherwise])]))

    def _line(self, name: str, text: str) -> None:
        say(f"[{time.monotonic() - self._begin:5.1f} s] {name:12} {text}")


def is_step(urn: str) -> bool:
    """Tell whether a resource does something, in contrast to those that only hold others."""
    return "command:" in urn.rsplit("::", 2)[1]


def short(urn: str) -> str:
    """Return the last word of a resource's name, such as `stage`."""
    return urn.rsplit("::", 1)[-1].rsplit("-", 1)[-1]


def keep(version: str) -> None:
    """Keep the version that the stack file had, unless an earlier change has done so."""
    if not KEPT.exists():
        KEPT.write_text(version + "\n")


def say(text: str) -> None:
    """Say something, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
