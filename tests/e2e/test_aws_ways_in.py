"""Machines on AWS that no port of SSH leads to: through AWS Systems Manager, and through a bastion."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e import tiny
from tests.e2e.bastion import bastion
from tests.e2e.cloud import CloudStack, marks
from tests.e2e.host import until
from tests.e2e.ports import free_ports
from tests.e2e.stack import TREE
from tests.plugins.aws.image import instance_image
from tests.plugins.aws.kinds import INGRESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.local_server.engine import Engine

pytestmark = marks

AWS = """#!{python}
# AWS's command line and its plugin for sessions, as far as the tunnel needs them: of the account in a folder.
import json, os, pathlib, socket, sys, threading, urllib.parse

kind = urllib.parse.quote("aws:ec2/instance:Instance", safe="")
folder = pathlib.Path(os.environ["FLASKHOST_AWS_ACCOUNT"]) / "resources" / kind
machines = {{one["id"]: one for one in map(json.loads, (file.read_text() for file in folder.glob("*.json")))}}
words = sys.argv[1:]
if words[:2] == ["ec2", "describe-instances"]:
    known = [
        {{
            "InstanceId": name,
            "LaunchTime": one["created"],
            "Tags": [{{"Key": key, "Value": value}} for key, value in one["inputs"]["tags"].items()],
        }}
        for name, one in machines.items()
    ]
    print(json.dumps({{"Reservations": [{{"Instances": known}}]}}))
    sys.exit()
assert words[:2] == ["ssm", "start-session"], words
given = dict(zip(words[2::2], words[3::2]))
assert given["--document-name"] == "AWS-StartPortForwardingSession"
ports = json.loads(given["--parameters"])
file = folder / f"{{given['--target']}}.json"


def pump(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)


with socket.create_server(("127.0.0.1", int(ports["localPortNumber"][0]))) as server:
    while True:
        near = server.accept()[0]
        try:
            # Looked up for each connection: a machine that is being made has no address yet.
            address = json.loads(file.read_text())["state"]["privateIp"]
            far = socket.create_connection((address, int(ports["portNumber"][0])), timeout=5)
            far.settimeout(None)
        except OSError:
            near.close()
            continue
        for pair in ((near, far), (far, near)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""


@pytest.fixture(scope="module")
def stack(container_engine: Engine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudStack]:
    """Return a stack with the smallest application; nothing is deployed yet."""
    assert pulumi
    folder = tmp_path_factory.mktemp("ways")
    made = CloudStack(folder, instance_image(container_engine), "e2e-aws-ways")
    tiny.write(folder / "tiny", "1")
    try:
        made.small()
        made.configure(
            app={"source": {"repository": None, "folder": str(folder / "tiny")}, "version": None, "static": None},
            env={"DATABASE_URL": None, "MEDIA_ROOT": None},
        )
        yield made
    finally:
        made.close()


def two_free_ports() -> int:
    """Return the first of two ports in a row, one for each machine."""
    while True:
        (port,) = free_ports(1)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port + 1)):
                return port


@pytest.fixture
def tunnel(stack: CloudStack) -> Iterator[subprocess.Popen[str]]:
    """Have the stack go through Systems Manager; run `python -m ops tunnel`, as an operator does beside `up`."""
    port = two_free_ports()
    stack.configure(
        server={"ssh": "ssm", "ssm_port": port, "allow_ssh_from": None, "bastion": None},
        credentials={"bastion_key": None},
    )
    folder = stack.folder / "bin"
    folder.mkdir(exist_ok=True)
    for name in ("aws", "session-manager-plugin"):
        (folder / name).write_text(AWS.format(python=sys.executable))
        (folder / name).chmod(0o755)
    link = TREE / stack.file.name
    link.symlink_to(stack.file)
    environment = {**stack.environment, "PATH": f"{folder}{os.pathsep}{stack.environment['PATH']}"}
    words = [sys.executable, "-m", "ops", "tunnel", "--stack", stack.name]
    started = subprocess.Popen(
        words, cwd=TREE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.wait(30)
        link.unlink()


def open_for_ssh(stack: CloudStack) -> list[str]:
    """Return the networks that SSH is open to."""
    rules = [one["inputs"] for one in stack.account.all(INGRESS)]
    return [str(rule.get("cidrIpv4") or rule.get("cidrIpv6")) for rule in rules if rule["fromPort"] == 22]


def test_a_first_deployment_through_systems_manager_opens_no_port(
    stack: CloudStack, tunnel: subprocess.Popen[str]
) -> None:
    """The tunnel is there before the machine; it finds it, and follows the one that replaces it."""
    stack.up()
    assert stack.site_of().version() == "1"
    assert open_for_ssh(stack) == []
    first = stack.machines()[0]["id"]
    stack.configure(server={"rebuild": "again"})
    stack.up()
    assert stack.site_of().version() == "1"
    assert stack.machines()[0]["id"] != first
    assert tunnel.poll() is None


def test_a_bastion_is_another_way_to_the_same_machine(stack: CloudStack, server_image: str) -> None:
    """Nothing is replaced by it; and a new machine behind it is waited for, though the plugin itself cannot."""
    machine = stack.machines()[0]["id"]
    with bastion(server_image, "bastion-aws") as way:
        inside = way.bastion.host.run("hostname -I").split()[0]
        stack.configure(server={**way.settings, "ssh": None, "ssm_port": None, "allow_ssh_from": [inside]})
        stack.encrypt("credentials.bastion_key", way.key)
        stack.up()
        assert stack.machines()[0]["id"] == machine
        assert open_for_ssh(stack) == [f"{inside}/32"]
        stack.configure(server={"rebuild": "once-more"})
        stack.up()
        assert [one["id"] for one in stack.machines()] != [machine]
        assert stack.site_of().version() == "1"
        assert re.search(r"Resources:\s+\d+ unchanged\n", stack.up().text)


def test_a_tunnel_that_looks_late_leads_no_step_to_the_machine_before(
    stack: CloudStack, tunnel: subprocess.Popen[str]
) -> None:
    """A new machine has the keys of the old one, which serves still behind the same port."""
    stack.configure(server={"count": 2}, media={"kind": "none"}, balancer={"drain": 1})
    stack.up()
    assert stack.site_of(2).version() == "1"
    old = stack.machine(2)
    before = old.logins()
    stack.configure(server={"instance_type": "t4g.medium"})
    tunnel.send_signal(signal.SIGSTOP)
    try:
        running = stack.begin_up()
        # Its sessions live on: what connects now reaches the machine before.
        until(lambda: old.logins() > before, "somebody has come to the machine before", 120)
    finally:
        tunnel.send_signal(signal.SIGCONT)
    assert running.wait().succeeded
    assert stack.machine(2).name != old.name
    assert stack.site_of(2).version() == "1"
