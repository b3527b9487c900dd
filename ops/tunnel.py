"""Forward SSH to the machines of a stack through AWS Systems Manager, for server.ssh: ssm; until it is interrupted.

It runs beside `./pulumi up`, from before the machines are there, and follows a machine that is replaced. It calls AWS's
own command line with the plugin for sessions, as the operator who is logged in there. Nothing is opened on AWS: the
machines themselves hold the connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import yaml

from ops import engine
from ops.setup import cache
from ops.setup.errors import SetupError
from planning.tags import Owner

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

HELP = "forward SSH to the machines through AWS Systems Manager, for server.ssh: ssm"
DOCUMENT = "AWS-StartPortForwardingSession"
"""The forwarding of Session Manager (Systems Manager User Guide, "Starting a session (port forwarding)")."""

PROGRAMS = {"aws": "AWS's command line", "session-manager-plugin": "the Session Manager plugin of AWS's command line"}
LOOK_SECONDS = 3.0
ANSWER_SECONDS = 30.0
END_SECONDS = 5.0


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")


def run(asked: argparse.Namespace) -> int:
    """Hold the sessions until an interrupt; return the exit status."""
    for program, called in PROGRAMS.items():
        if shutil.which(program) is None:
            raise SetupError(f"{called} is not on PATH ({program}): install it as AWS's documentation says")
    wanted = Wanted(engine.answer("config", "--stack", asked.stack), asked.stack)
    sessions: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
    print(f"tunnel: {wanted.told()}; end with Ctrl-C", flush=True)
    # `kill` ends it as Ctrl-C does, with its sessions.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            hold(wanted, sessions)
            time.sleep(LOOK_SECONDS)
    finally:
        for _, session in sessions.values():
            end(session)
        signal.signal(signal.SIGTERM, before)


class Wanted:
    """Which machines to reach, by the configuration of their stack."""

    def __init__(self, configuration: Mapping[str, Any], stack: str) -> None:
        """Take what `pulumi config --json` says.

        Raises:
            SetupError: the machines are reached in another way.
        """
        values = {name: one.get("objectValue", one.get("value")) for name, one in configuration.items()}
        server, app = (dict(values.get(f"flaskhost:{name}") or {}) for name in ("server", "app"))
        if server.get("kind") != "aws" or server.get("ssh") != "ssm":
            raise SetupError(f"the stack {stack} reaches its machines without it: flaskhost:server.ssh is not ssm")
        self.stack, self.app = stack.rsplit("/", 1)[-1], str(app.get("name"))
        self.port, self.count = int(server.get("ssm_port", 22022)), int(server.get("count", 1))
        self.region = str(values.get("aws:region") or "")
        self.profile = str(values.get("aws:profile") or "")

    def told(self) -> str:
        """Say what is forwarded."""
        ends = f"{self.port} to {self.port + self.count - 1}" if self.count > 1 else str(self.port)
        return f"127.0.0.1:{ends} leads to SSH on the machines of {self.app} in {self.stack}"

    def aws(self, *words: str) -> list[str]:
        """Return a call of AWS's command line."""
        chosen = {"--region": self.region, "--profile": self.profile}
        return ["aws", *words, *(word for name, value in chosen.items() if value for word in (name, value))]

    def instances(self) -> dict[int, str]:
        """Return the newest running instance of each number; none where AWS does not answer."""
        project = yaml.safe_load((cache.TREE / "Pulumi.yaml").read_text())["name"]
        owner = Owner(project, self.stack, self.app).tags
        filters = {**{f"tag:{name}": value for name, value in owner.items()}, "instance-state-name": "running"}
        chosen = [f"Name={name},Values={value}" for name, value in filters.items()]
        words = self.aws("ec2", "describe-instances", "--output", "json", "--filters", *chosen)
        try:
            asked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"tunnel: AWS does not answer within {ANSWER_SECONDS:.0f} s", flush=True)
            return {}
        if asked.returncode:
            print(f"tunnel: AWS says: {asked.stderr.strip()}", flush=True)
            return {}
        machines = [one for group in json.loads(asked.stdout)["Reservations"] for one in group["Instances"]]
        found: dict[int, str] = {}
        for one in sorted(machines, key=lambda machine: str(machine["LaunchTime"])):
            name = next((tag["Value"] for tag in one.get("Tags", []) if tag["Key"] == "Name"), "")
            number = name.rpartition("-")[2]
            if number.isdigit():
                found[int(number)] = one["InstanceId"]
        return found


def hold(wanted: Wanted, sessions: dict[int, tuple[str, subprocess.Popen[bytes]]]) -> None:
    """Have a session to each machine: start what is missing, has ended, or leads to a machine that was replaced."""
    for number, instance in wanted.instances().items():
        if not 1 <= number <= wanted.count:
            continue
        known = sessions.get(number)
        if known and known[0] == instance and known[1].poll() is None:
            continue
        if known:
            end(known[1])
        port = wanted.port + number - 1
        parameters = json.dumps({"portNumber": ["22"], "localPortNumber": [str(port)]})
        words = wanted.aws(
            "ssm", "start-session", "--target", instance, "--document-name", DOCUMENT, "--parameters", parameters
        )
        print(f"tunnel: 127.0.0.1:{port} leads to {instance}", flush=True)
        # Apart from this terminal, as a group that can be ended as a whole.
        started = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        sessions[number] = (instance, started)


def end(session: subprocess.Popen[bytes]) -> None:
    """End a session with the plugin below it, which holds the port: AWS's command line would leave it behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session.pid, signal.SIGTERM)
    try:
        session.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session.pid, signal.SIGKILL)
        session.wait()
