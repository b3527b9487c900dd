"""`python3 -m ops.development up|down` (`make dev`, `make dev-down`): a folder in development mode, change by change.

A saved file is on the running server a moment later, and Flask's reloader takes it. What needs more than a file goes
through a deploy: requirements by themselves, migrations when they are finished, which a person says with Enter.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import watchfiles
import yaml
from pulumi import automation

from ops import demo
from ops.demo import say
from ops.development.connection import Login, Lost, Refused, Session, login, shell
from ops.development.files import Tree
from ops.setup import stacks
from ops.setup.errors import SetupError
from sources import EXAMPLES, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[2]
STACK = "dev"
FOLDER = "FLASKHOST_FOLDER"
"""Names the folder to the program (components/configuration.py): it takes the place of the stack's source."""

# Changes within so many milliseconds are brought together: an editor that saves, or `git checkout`.
TOGETHER_MS, QUIET_MS, LOOK_MS = 300, 20, 500
PAUSE_SECONDS = 1.0
# What decides about packages: deployed at once, since a half-written line fails and harms nothing.
PACKAGES = re.compile(
    r"(^|/)[^/]*requirements[^/]*\.txt$|^requirements/|^(pyproject\.toml|(uv|poetry)\.lock|\.python-version)$"
)
# Not these: a migration that ran before it was finished would count as done.
MIGRATIONS = re.compile(r"^migrations/versions/.*\.py$")


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m ops.development", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down"):
        commands.add_parser(name).add_argument("--stack", default=STACK, help="a stack in development mode")
    commands.choices["up"].add_argument("--folder", help="the application's source; default: the stack's own")
    asked = parser.parse_args(words)
    # Also where whoever started this ignores it, as a shell does for what it has put into the background.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        development = Development(asked.stack)
        if asked.command == "down":
            return development.down()
        return development.watch(development.folder(asked.folder))
    except SetupError as error:
        say(f"dev: {error}")
        return 1
    except KeyboardInterrupt:
        return 0


class Development:
    """A stack in development mode."""

    def __init__(self, name: str) -> None:
        """Find it; nothing runs yet."""
        self.name = name
        self.file = HERE / f"Pulumi.{name}.yaml"
        try:
            config = yaml.safe_load(self.file.read_text())["config"]
            self.app: dict[str, Any] = config["flaskhost:app"]
        except (OSError, KeyError, TypeError) as error:
            raise SetupError(
                f"{self.file.name} has no flaskhost:app ({error}).\n  Next: write it, see README.md"
            ) from None
        self.variables = stacks.prepare(["up", "--stack", name], os.environ)

    def folder(self, asked: str | None) -> Path:
        """Return the folder to watch: the one that was asked for, else the stack's own source on this machine."""
        source = dict(self.app.get("source") or {})
        written = asked or str(source.get("folder") or source.get("repository") or "")
        if written.startswith("example:"):
            return EXAMPLES / written.partition(":")[2]
        found = (HERE / Path(written).expanduser()) if not asked else Path(written).expanduser()
        if not written or not found.is_dir():
            fix = "make dev APP=../myapp takes a folder of yours"
            raise SetupError(f"{written or 'the source'} is no folder on this machine.\n  Next: {fix}")
        return found.resolve()

    def down(self) -> int:
        """Remove server and state; return the exit status."""
        report = demo.Report()
        stack = self._stack(None)
        try:
            stack.destroy(on_event=report.hear, color="never", suppress_progress=True)
        except automation.CommandError as error:
            report.fail(str(error))
            return 1
        stack.workspace.remove_stack(self.name, preserve_config=True)
        say("removed: the server, its keys and its state")
        return 0

    def watch(self, folder: Path) -> int:
        """Deploy a folder, then bring every change of it, until Ctrl+C."""
        if not self.deploy(folder) and self._login() is None:
            return 1
        Watcher(self, folder).run()
        return 0

    def deploy(self, folder: Path) -> bool:
        """Deploy what the folder holds; return whether it works."""
        stack = self._stack(folder)
        name, urn = demo.container_of(stack)
        gone = [urn] if name and not demo.wake(name) else []
        report = demo.Report()
        try:
            result = stack.up(on_event=report.hear, replace=gone, color="never", suppress_progress=True)
        except automation.CommandError as error:
            report.fail(str(error))
            return False
        say(f"\nready: {result.outputs['url'].value}\n")
        return True

    def login(self) -> Login:
        """Return how to log in to the server."""
        found = self._login()
        if found is None:
            raise SetupError(f"the stack {self.name} has no server.\n  Next: ./pulumi up --stack {self.name}")
        return found

    def _login(self) -> Login | None:
        words = ["pulumi", "stack", "export", "--show-secrets", "--stack", self.name]
        done = subprocess.run(words, cwd=HERE, env=self.variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SetupError(f"the state of the stack {self.name} cannot be read: {done.stderr.strip()}")
        deployment = json.loads(done.stdout).get("deployment")
        return login(deployment or {}, self.app["name"])

    def _stack(self, folder: Path | None) -> automation.Stack:
        variables = self.variables | ({FOLDER: str(folder)} if folder else {})
        return automation.Stack.create_or_select(
            self.name, automation.LocalWorkspace(work_dir=str(HERE), env_vars=variables)
        )


class Watcher:
    """Brings what changes in a folder to the server."""

    def __init__(self, development: Development, folder: Path) -> None:
        """Take the stack and the folder."""
        self._development = development
        self._folder = folder
        self._app = str(development.app["name"])
        self._tree = Tree(folder)
        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._deployed = development.file.read_text()

    def run(self) -> None:
        """Watch until Ctrl+C; a connection that is lost is made again."""
        threading.Thread(target=self._listen, daemon=True).start()
        where = os.path.relpath(self._folder)
        say(f"Watching {where}: save a file, and reload the page. Enter deploys anew; Ctrl+C ends.")
        try:
            while True:
                self._stay_connected()
        except KeyboardInterrupt:
            words = "make dev-down" + (f" STACK={self._development.name}" if self._development.name != STACK else "")
            say(f"\nThe server runs on with what it has. Remove it: {words}")

    def _stay_connected(self) -> None:
        try:
            with shell(self._development.login()) as opened:
                session = Session(opened, self._app)
                if session.pin:
                    say(f"Errors show in the browser; the PIN of its debugger is {session.pin}.")
                # What the server prints goes on to our standard output.
                opened.start("log", self._app)
                for number, changed in enumerate(self._changes()):
                    if not session.runs():
                        raise Lost("the connection was closed")  # noqa: TRY301 - one way out for all that is lost
                    # The first time in any case: only now every change is noticed, and some may have been before.
                    if ((changed or number == 0) and self._bring(session)) or self._wants_deploy():
                        self._deploy()
                        return
        except Refused as refused:
            say(f"dev: {refused}\nThe next change, or Enter, deploys anew.")
            next(changed for changed in self._changes() if changed or self._wants_deploy())
            self._deploy()
        except Lost as lost:
            say(f"dev: {lost}: connecting again")
            time.sleep(PAUSE_SECONDS)

    def _changes(self) -> Iterator[set[watchfiles.main.FileChange]]:
        """Yield soon after each change, and twice a second without one."""
        return watchfiles.watch(
            self._folder,
            self._development.file,
            debounce=TOGETHER_MS,
            step=QUIET_MS,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=True,
        )

    def _bring(self, session: Session) -> bool:
        """Bring what is different to the server; return whether it needs a deploy as well."""
        began = time.monotonic()
        try:
            changes = self._tree.changes(session.files)
            if not changes:
                return False
            packed, coming = self._tree.packed(changes.coming)
        except (SourceError, OSError) as error:
            say(f"dev: {error}")
            return False
        answer = session.send(changes.gone, packed, coming)
        now = time.strftime("%H:%M:%S")
        if "error" in answer:
            say(f"{now}  not taken: {answer['error']}")
            return False
        names = [*changes.coming, *(f"{name} (removed)" for name in changes.gone)]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        say(f"{now}  {', '.join(names[:3])}{more}: on the server after {time.monotonic() - began:.2f} s")
        if any(MIGRATIONS.search(name) for name in changes.names):
            say("          a migration: when it is finished, Enter deploys it (flask db upgrade)")
        if any(PACKAGES.search(name) for name in changes.names):
            say("          this decides about packages: deploying")
            return True
        return False

    def _deploy(self) -> None:
        self._deployed = self._development.file.read_text()
        self._development.deploy(self._folder)
        while not self._keys.empty():
            self._keys.get()

    def _wants_deploy(self) -> bool:
        """Tell whether somebody has pressed Enter, or edited the stack file."""
        return not self._keys.empty() or self._development.file.read_text() != self._deployed

    def _listen(self) -> None:
        for line in sys.stdin:
            self._keys.put(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
