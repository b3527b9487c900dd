"""`ops/setup/start [COMMAND]`: see USAGE."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import sys
import time

from ops.setup import cache, locks, protection, stacks, workplace
from ops.setup.errors import SetupError

USAGE = """\
usage: ops/setup/start [COMMAND]

  all               make the environment, Pulumi and its plugins, where they are missing (the default)
  containers        the same, and a container engine
  run PROGRAM …     the same as `all`, then run a program with them (./pulumi is `run pulumi`)
  lint              the same as `all`, then every check of the code
  lock              write requirements.txt anew from pyproject.toml
  status            say which ways were taken; makes nothing

Everything is kept in $FLASKHOST_CACHE, by default ~/.cache/flaskhost.
"""

SIGNED = ("up", "update", "destroy", "down", "refresh")
"""The commands whose history has a place for the program, or the person, that called them (--exec-agent)."""


def main(words: list[str]) -> int:
    """Run one command; return the exit status."""
    command, *rest = words or ["all"]
    if command == "run" and rest:
        return run(rest)
    if command == "all":
        ready(aloud=True)
    elif command == "containers":
        found = with_containers(ready(aloud=True))
        print(f"set-up: containers: {found.containers}", file=sys.stderr)
    elif command == "lint":
        from ops.setup import lint  # noqa: PLC0415 - the fast path does without

        return lint.main(ready().variables())
    elif command == "lock":
        from ops.setup import environment  # noqa: PLC0415 - the fast path does without

        environment.compile_lock()
    elif command == "status":
        kept = workplace.load()
        print("\n".join(kept.ways) if kept else "nothing was set up yet: run ops/setup/start")
    else:
        print(USAGE, end="", file=sys.stdout if command in ("help", "--help", "-h") else sys.stderr)
        return 0 if command in ("help", "--help", "-h") else 2
    return 0


def ready(*, aloud: bool = False) -> workplace.Workplace:
    """Return what programs need to know, after making what is missing; `aloud` says it also when all was there."""
    found = workplace.load()
    if found is None or not found.is_current():
        return make()
    if aloud:
        print("\n".join(f"set-up: {way}" for way in found.ways), file=sys.stderr)
    return found


def make() -> workplace.Workplace:
    """Do the whole set-up; each step by itself does nothing where nothing is missing."""
    from ops.setup import engine, environment, plugins  # noqa: PLC0415 - the fast path does without

    with cache.lock():
        environment.ensure()
        pulumi = engine.ensure()
        plugin = plugins.ensure(pulumi)
        found = workplace.Workplace(
            made_from=workplace.digest(),
            engine=str(pulumi.folder),
            plugin=str(plugin.program),
            home=str(plugin.home or ""),
            checked=time.time(),
            ways=(f"engine: {pulumi.way}", f"plugins: {plugin.way}"),
        )
        found.save()
    return found


def with_containers(found: workplace.Workplace) -> workplace.Workplace:
    """Have a container engine that works; asked anew each time, since a daemon may be gone since."""
    from ops.setup import containers  # noqa: PLC0415 - the fast path does without

    with cache.lock():
        found = found._replace(containers=containers.ensure())
        found.save()
    return found


def run(words: list[str]) -> int:
    """Become another program, in the project's environment."""
    found = ready()
    variables = found.variables()
    if words[0] == "pulumi":
        if found.home and stacks.needs_official_plugins(words[1:], variables):
            # They could not be had when set-up looked last, which may be hours ago.
            found = make()
            variables = found.variables()
        variables = stacks.prepare(words[1:], variables)
        if stacks.makes_container(words[1:], variables) and not shutil.which(found.containers):
            with_containers(found)
        locks.tell(words[1:], variables)
        protection.refuse(words[1:], variables)
        words = signed(words)
    program = shutil.which(words[0], path=variables["PATH"])
    if program is None:
        raise SetupError(f"There is no program {words[0]} on PATH.\n  Next: install it, or check its name")
    # A script's background commands ignore it (POSIX, Shell Command Language, 2.11), and so would all that they start;
    # the engine ends its plugins with it, and waits 5 s for those that do not listen.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(program, words, variables)  # noqa: S606 - nothing of ours is left to do


def signed(words: list[str]) -> list[str]:
    """Return a Pulumi command that tells the stack's history who has called it; ops/history.py reads that."""
    command = next((word for word in words[1:] if not word.startswith("-")), "")
    if command not in SIGNED or "--exec-agent" in words or "--" in words:
        return words
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # a container may have no name for it
    return [*words, "--exec-agent", f"flaskhost:{user}@{socket.gethostname()}"]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
