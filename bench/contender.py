#!/usr/bin/env python3
"""flaskhost as a contender of the peers' benchmark: setup, up V, noop V, deploy V, rollback V.

The benchmark's README says what is asked and which variables are given. What a team has lies in $SCRATCH: the stack
file, whose version and commit are changed as a person does, and the state. The benchmark may lead to the host by
another port at each call, which no real host does: the stack knows one port, and a relay passes it on to the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

TREE = Path(__file__).resolve().parents[1]
STACK, PASSPHRASE = "bench", "bench"
FILE_NAME = f"Pulumi.{STACK}.yaml"
GIVEN = os.environ
TEMPLATE = Path(GIVEN["TOOLS"]) / "flaskhost"
ENVIRONMENT = TEMPLATE / "environment.json"
PROJECT = "name: flaskhost\nruntime: python\n"
# The job of the benchmark: one application on port 80, no TLS, no compiler, two workers. The watch, which no other
# contender has, is time that a team chooses to wait, and no work.
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
    watch: {{seconds: 0}}
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
    file = scratch / FILE_NAME
    if not file.exists():
        # What a team has before its first deploy: a stack, and the stack's key on the server.
        shutil.copytree(TEMPLATE, scratch, dirs_exist_ok=True)
        (scratch / "port").write_text(str(free_port()))
        (scratch / "commits.json").write_text(json.dumps(introduce()))
    port = int((scratch / "port").read_text())
    commit = json.loads((scratch / "commits.json").read_text())[version]
    salt, secret = file.read_text().split(HEAD)[0], file.read_text().split(SECRETS)[1]
    where = {"host": GIVEN["HOST"], "port": port, "host_key": host_key(), "repository": GIVEN["REPO"]}
    text = FILE.format(**where, version=version, commit=commit)
    file.write_text(f"{salt}{HEAD}{text}{SECRETS}{secret}")
    words = ["--yes", "--skip-preview", "--non-interactive", "--stack", STACK, "--config-file", str(file)]
    relay(port, int(GIVEN["PORT"]))
    return pulumi(scratch, "up", *words)


def set_up() -> int:
    """Have the project's environment and an empty stack with a key of its own, and keep them for the timed calls."""
    made = subprocess.run([str(TREE / "ops/setup/start"), "run", "env", "-0"], stdout=subprocess.PIPE, check=True)
    known = dict(one.split("=", 1) for one in made.stdout.decode().split("\0") if one)
    differs = {name: value for name, value in known.items() if GIVEN.get(name) != value}
    shutil.rmtree(TEMPLATE, ignore_errors=True)
    TEMPLATE.mkdir(parents=True)
    ENVIRONMENT.write_text(json.dumps(differs))
    key = TEMPLATE / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(key)], check=True)
    (TEMPLATE / "Pulumi.yaml").write_text(PROJECT)
    folder = ["--stack", STACK, "--cwd", str(TEMPLATE)]
    pulumi(TEMPLATE, "stack", "init", "--no-select", *folder)
    with key.open() as text:
        pulumi(TEMPLATE, "config", "set", "--secret", "--path", "flaskhost:credentials.ssh_key", *folder, stdin=text)
    plugin = "the stand-in plugin" if "FLASKHOST_STAND_IN" in known else "the official plugin"
    engine = subprocess.run(["pulumi", "version"], env=known, stdout=subprocess.PIPE, check=True).stdout.decode()
    (Path(GIVEN["SCRATCH"]) / "version").write_text(f"Pulumi {engine.strip()}, {plugin}\n")
    return 0


def pulumi(state: Path, *words: str, stdin: IO[str] | int = subprocess.DEVNULL) -> int:
    """Run Pulumi in the project, with its state in a folder; return its status."""
    more = {"PULUMI_BACKEND_URL": f"file://{state}", "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE}
    environment = {**GIVEN, **json.loads(ENVIRONMENT.read_text()), **more}
    return subprocess.run(["pulumi", *words], cwd=TREE, env=environment, stdin=stdin, check=False).returncode


def introduce() -> dict[str, str]:
    """Put the stack's key on a fresh host; return the commits of the tags in the repository that lies there."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={GIVEN['KNOWN_HOSTS']}", "-i", GIVEN["KEY"]]
    words += ["-p", GIVEN["PORT"], f"root@{GIVEN['HOST']}"]
    words += [f"cat >> .ssh/authorized_keys && cat {GIVEN['REPO']}/packed-refs"]
    with (TEMPLATE / "key.pub").open() as public:
        listed = subprocess.run(words, stdin=public, stdout=subprocess.PIPE, check=True).stdout.decode()
    pairs = [line.split(" ") for line in listed.splitlines() if " refs/tags/" in line]
    return {name.removeprefix("refs/tags/"): commit for commit, name in pairs}


def host_key() -> str:
    """Return the host's Ed25519 key, as its known_hosts file has it."""
    lines = [line.split(" ") for line in Path(GIVEN["KNOWN_HOSTS"]).read_text().splitlines()]
    return next(f"{words[1]} {words[2]}" for words in lines if words[1] == "ssh-ed25519")


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def relay(port: int, to: int) -> None:
    """Pass connections to one port on to another one, as long as this process lives."""

    class Connected(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(("127.0.0.1", to)) as far:
                back = threading.Thread(target=pump, args=(far, self.request), daemon=True)
                back.start()
                pump(self.request, far)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    server = Server(("127.0.0.1", port), Connected)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def pump(near: socket.socket, far: socket.socket) -> None:
    """Send on what one side says, up to its end."""
    with contextlib.suppress(OSError):
        while chunk := near.recv(65536):
            far.sendall(chunk)
        far.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
