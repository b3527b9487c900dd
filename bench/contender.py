#!/usr/bin/env python3
"""flaskhost as a contender of the peers' benchmark: setup, up V, noop V, deploy V, rollback V.

The benchmark's README says what is asked and which variables are given. What a team has lies in $SCRATCH: the stack
file, whose version and commit are changed as a person does, and the state. The benchmark may lead to the host by
another port at each call, which no real host does: the stack knows one port, and a relay passes it on to the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TREE = Path(__file__).resolve().parents[1]
STACK, PASSPHRASE = "bench", "bench"
GIVEN = os.environ
PROJECT = "name: flaskhost\nruntime: python\n"
# The job of the benchmark: one application on port 80, no TLS, no compiler, two workers.
HEAD = "config:\n"
SECRETS = "  flaskhost:credentials:\n"
FILE = """\
  flaskhost:server:
    kind: existing
    address: {host}
    port: {port}
    host_key: {host_key}
  flaskhost:app:
    name: demo
    source:
      repository: file://{repository}
      via: server
    version: {version}
    commit: {commit}
    wsgi: app:app
    compiler: false
    gunicorn: {{workers: 2}}
  flaskhost:web:
    https: false
  flaskhost:env:
    APP_ENV: production
    SECRET_KEY: bench-only-not-a-secret
"""


def main(verb: str, version: str) -> int:
    """Do one verb; return the exit status, 0 only for a release that has answered its health check."""
    if verb == "setup":
        return set_up()
    scratch = Path(GIVEN["SCRATCH"])
    port = kept(scratch / "port", lambda: str(free_port()))
    with relay(int(port), int(GIVEN["PORT"])):
        environment = {
            **GIVEN,
            **json.loads((Path(GIVEN["TOOLS"]) / "flaskhost.json").read_text()),
            "PULUMI_BACKEND_URL": f"file://{scratch}",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        }
        commits = scratch / "commits.json"
        known = json.loads(commits.read_text()) if commits.exists() else {}
        if version not in known:
            known[version] = look_up(version)
            commits.write_text(json.dumps(known))
        file = scratch / f"Pulumi.{STACK}.yaml"
        if not file.exists():
            make(file, environment)
        salt, secret = file.read_text().split(HEAD)[0], file.read_text().split(SECRETS)[1]
        where = {"host": GIVEN["HOST"], "port": port, "host_key": host_key(), "repository": GIVEN["REPO"]}
        text = FILE.format(**where, version=version, commit=known[version])
        file.write_text(f"{salt}{HEAD}{text}{SECRETS}{secret}")
        words = ["--yes", "--skip-preview", "--non-interactive", "--stack", STACK, "--config-file", str(file)]
        return pulumi(environment, "up", *words)


def set_up() -> int:
    """Have the project's environment, and keep it for the calls that are timed: a team has its CLI on PATH."""
    made = subprocess.run([str(TREE / "ops/setup/start"), "run", "env", "-0"], stdout=subprocess.PIPE, check=True)
    known = dict(one.split("=", 1) for one in made.stdout.decode().split("\0") if one)
    differs = {name: value for name, value in known.items() if GIVEN.get(name) != value}
    (Path(GIVEN["TOOLS"]) / "flaskhost.json").write_text(json.dumps(differs))
    plugin = "the stand-in plugin" if "FLASKHOST_STAND_IN" in known else "the official plugin"
    engine = subprocess.run(["pulumi", "version"], env=known, stdout=subprocess.PIPE, check=True).stdout.decode()
    (Path(GIVEN["SCRATCH"]) / "version").write_text(f"Pulumi {engine.strip()}, {plugin}\n")
    return 0


def make(file: Path, environment: dict[str, str]) -> None:
    """Make the stack, with the key to the host as its secret; the rest of the file is written later."""
    file.with_name("Pulumi.yaml").write_text(PROJECT)
    folder = ["--cwd", str(file.parent)]
    pulumi(environment, "stack", "init", STACK, "--no-select", *folder)
    words = ["--secret", "--path", "flaskhost:credentials.ssh_key", "--stack", STACK, *folder]
    with Path(GIVEN["KEY"]).open() as key:
        pulumi(environment, "config", "set", *words, stdin=key)


def pulumi(environment: dict[str, str], *words: str, stdin: IO[str] | int = subprocess.DEVNULL) -> int:
    """Run Pulumi in the project; return its status."""
    return subprocess.run(["pulumi", *words], cwd=TREE, env=environment, stdin=stdin, check=False).returncode


def look_up(version: str) -> str:
    """Return the commit of a tag, asked where the repository is; a fresh host has no git yet, but has its list."""
    known, key, port = GIVEN["KNOWN_HOSTS"], GIVEN["KEY"], GIVEN["PORT"]
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}", "-i", key, "-p", port]
    words += [f"root@{GIVEN['HOST']}", f"cat {GIVEN['REPO']}/packed-refs"]
    listed = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()
    return next(line.split(" ")[0] for line in listed.splitlines() if line.endswith(f" refs/tags/{version}"))


def host_key() -> str:
    """Return the host's Ed25519 key, as its known_hosts file has it."""
    lines = [line.split(" ") for line in Path(GIVEN["KNOWN_HOSTS"]).read_text().splitlines()]
    return next(f"{words[1]} {words[2]}" for words in lines if words[1] == "ssh-ed25519")


def kept(path: Path, make_one: Callable[[], str]) -> str:
    """Return what a file holds, made at the first call."""
    if not path.exists():
        path.write_text(make_one())
    return path.read_text()


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def relay(port: int, to: int) -> Iterator[None]:
    """Pass connections to one port on to another one."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(asyncio.start_server(connected, "127.0.0.1", port))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
