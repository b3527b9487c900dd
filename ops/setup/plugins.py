"""The plugins: `command` as the official one wherever it can be had, else as the stand-in of tests/plugins/command.

The official plugin `aws` has 700 MB: the engine gets it by itself when a stack wants it. Where it cannot, and for a
preview of the example in the tree, which has no account on AWS, there is the stand-in of tests/plugins/aws.

Stand-ins live in a PULUMI_HOME of our own in the cache folder, so that no other project ever meets them, beside a file
STAND-IN; `./pulumi` says so to the program in FLASKHOST_STAND_IN, and the program then refuses every kind of server but
`local`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from ops.setup import cache, download, engine
from ops.setup.progress import CommandFailed, Step

VERSION = "1.2.1"
"""The version that set-up installs; requirements.txt pins the same for the SDK."""

AWS_VERSION = "7.51.1"
"""The version that the SDK in requirements.txt asks the engine for."""

NAME = "pulumi-resource-command"
FOLDER = f"resource-command-v{VERSION}"
MARKER = "STAND-IN"
STAND_INS = {"command": VERSION, "aws": AWS_VERSION}


def stand_in(name: str) -> str:
    """Return the program that the engine takes for a plugin: it starts the stand-in of the tree that runs Pulumi."""
    return f"""#!/bin/sh
# The stand-in for the plugin {name}, as the tree has it that runs Pulumi (ops/setup/plugins.py).
tree=${{FLASKHOST_TREE:?is not set: run ./pulumi of the flaskhost tree, not this plugin}}
exec "$tree/.venv/bin/python" "$tree/tests/plugins/{name}/pulumi-resource-{name}" "$@"
"""


class Plugin(NamedTuple):
    """A plugin that the engine finds: the file, the PULUMI_HOME to set (None: the user's own), how it came there."""

    program: Path
    home: Path | None
    way: str

    @property
    def stands_in(self) -> bool:
        """Tell whether this is the stand-in."""
        return self.home is not None


def ensure(pulumi: engine.Engine) -> Plugin:
    """Return a `command` plugin; a stand-in is taken only while the official one cannot be had."""
    with Step("plugins", f"looking for the command plugin {VERSION}") as step:
        plugin = _installed() or _on_path()
        if plugin is None:
            try:
                plugin = _official(step, pulumi)
            except download.Unreachable as reason:
                plugin = _stand_in(str(reason))
        if not plugin.stands_in:
            write_stand_ins("for previews of the example: the official one is there")
        step.done(plugin.way)
        return plugin


def stand_in_home() -> Path:
    """Return the PULUMI_HOME that holds the stand-in."""
    return cache.folder() / "pulumi-home"


def user_home() -> Path:
    """Return the user's own PULUMI_HOME; that of a stand-in, which a run inside a run sees, does not count."""
    named = os.environ.get("PULUMI_HOME")
    if named and not (Path(named) / "plugins" / FOLDER / MARKER).exists():
        return Path(named)
    return Path.home() / ".pulumi"


def _installed() -> Plugin | None:
    folder = user_home() / "plugins" / FOLDER
    # The engine holds a plugin for half installed while one of these lies beside it.
    if folder.with_name(f"{FOLDER}.partial").exists() or (folder / MARKER).exists():
        return None
    program = folder / NAME
    if not os.access(program, os.X_OK):
        return None
    return Plugin(program, None, f"the official command plugin {VERSION} ({folder})")


def _on_path() -> Plugin | None:
    """Return the plugin that somebody has put on PATH; the engine takes that one before all others, and says so."""
    program = shutil.which(NAME)
    if program is None:
        return None
    return Plugin(Path(program), None, f"the command plugin of PATH ({program}), whose version only the engine can ask")


def _official(step: Step, pulumi: engine.Engine) -> Plugin:
    step.doing(f"installing the official command plugin {VERSION}")
    download.answers(engine.SITE)
    words = [str(pulumi.folder / "pulumi"), "plugin", "install", "resource", "command", VERSION]
    environment = {**os.environ, "PULUMI_HOME": str(user_home()), "PULUMI_SKIP_UPDATE_CHECK": "1"}
    try:
        step.run(words, environment=environment, seconds=120)
    except CommandFailed as error:
        raise download.Unreachable(error.last_line()) from error
    plugin = _installed()
    if plugin is None:
        raise download.Unreachable("`pulumi plugin install` left no plugin behind")
    return plugin


def write_stand_ins(because: str) -> None:
    """Have all stand-ins where the engine looks for plugins if it is told to."""
    for name, version in STAND_INS.items():
        folder = stand_in_home() / "plugins" / f"resource-{name}-v{version}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARKER).write_text(f"{because}\n")
        program = folder / f"pulumi-resource-{name}"
        unfinished = folder / f".{program.name}"
        unfinished.write_text(stand_in(name))
        unfinished.chmod(0o755)
        unfinished.rename(program)


def _stand_in(because: str) -> Plugin:
    write_stand_ins(f"the official plugin was not to be had: {because}")
    return Plugin(
        stand_in_home() / "plugins" / FOLDER / NAME,
        stand_in_home(),
        f"stand-ins for the plugins command and aws, for servers of kind local only "
        f"(the official ones were not to be had: {because})",
    )
