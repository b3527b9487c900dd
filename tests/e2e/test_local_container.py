"""A real container with systemd, from `create` to `delete`, as Pulumi asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.stack import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TREE = Path(__file__).resolve().parents[2]
AUTHORITIES = sorted(Path("/usr/local/share/ca-certificates").glob("*.crt"))


class Server:
    """A server, its input and the files that SSH needs."""

    id = ""
    seconds = 0.0

    def __init__(self, folder: Path, name: str) -> None:
        """Make keys and choose ports; nothing runs yet."""
        self.folder = folder
        keys = run("keys")
        (folder / "login").write_text(keys.pop("login_private"))
        (folder / "login").chmod(0o600)
        ssh, http, https, extra = free_ports(4)
        self.asked = {
            "name": name,
            "image": "auto",
            "ssh_port": ssh,
            "http_port": http,
            "https_port": https,
            "ports": {"5000": extra},
            "trust_machine_authorities": True,
            **keys,
        }
        self.pin(keys["host_public"])

    def pin(self, host_key: str) -> None:
        """Expect this host key and no other."""
        (self.folder / "known").write_text(f"[127.0.0.1]:{self.asked['ssh_port']} {host_key}\n")

    def ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH with the pinned key."""
        known = f"UserKnownHostsFile={self.folder / 'known'}"
        options = [known, "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"]
        words = ["ssh", "-F", "none", "-i", str(self.folder / "login"), "-p", str(self.asked["ssh_port"])]
        words += [word for option in [*options, "BatchMode=yes"] for word in ("-o", option)]
        return subprocess.run(
            [*words, "root@127.0.0.1", command], capture_output=True, text=True, check=False, timeout=60
        )


def call(verb: str, document: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a verb as Pulumi does."""
    return subprocess.run(
        [sys.executable, "-m", "ops.local_server", verb],
        cwd=TREE,
        input=json.dumps(document or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def run(verb: str, document: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a verb that must succeed; its one line of result."""
    done = call(verb, document)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Hand out a server that runs, and remove it at the end."""
    made = Server(tmp_path_factory.mktemp("server"), f"flaskhost-test-server-{os.getpid()}")
    try:
        run("image", {"image": "auto"})
        started = time.monotonic()
        result = run("create", made.asked)
        made.seconds = time.monotonic() - started
        made.id = result["id"]
        yield made
    finally:
        call("delete", {"name": made.asked["name"]})


def spec(server: Server, **changes: Any) -> dict[str, Any]:
    """Return the input of `create`, with changes."""
    return {**server.asked, **changes}


def test_ssh_reaches_a_server_whose_systemd_is_content(server: Server) -> None:
    """The pinned host key and the login key fit, and no unit has failed."""
    done = server.ssh("systemctl is-system-running && hostname && id -un")
    assert done.stdout.split() == ["running", server.asked["name"], "root"], done.stderr


def test_create_is_a_matter_of_seconds(server: Server) -> None:
    """With the image at hand; about 3 s on two cores, and a bound that a busy machine keeps."""
    assert server.seconds < 20


def test_only_the_pinned_host_key_is_offered(server: Server) -> None:
    """A second key would be one that nobody has pinned."""
    scan = ["ssh-keyscan", "-p", str(server.asked["ssh_port"]), "127.0.0.1"]
    keys = subprocess.run(scan, capture_output=True, text=True, check=False, timeout=60).stdout.splitlines()
    offered = [" ".join(line.split()[1:]) for line in keys if not line.startswith("#")]
    assert offered == [server.asked["host_public"]]


def test_another_host_key_is_refused(server: Server) -> None:
    """What is pinned counts, not what is offered."""
    try:
        server.pin(run("keys")["host_public"])
        assert "Host key verification failed" in server.ssh("true").stderr
    finally:
        server.pin(server.asked["host_public"])


def test_create_again_keeps_the_server(server: Server) -> None:
    """The same words, the same container, and not one new line in sshd's log."""
    lines = "journalctl --quiet --unit ssh --output cat | wc --lines"
    before = int(server.ssh(lines).stdout)
    own = int(server.ssh(lines).stdout) - before
    assert run("create", spec(server))["id"] == server.id
    assert run("start", {"name": server.asked["name"]}) == {"state": "running", "id": server.id}
    assert int(server.ssh(lines).stdout) == before + 2 * own


def test_create_with_other_settings_is_refused(server: Server) -> None:
    """It says how to go on, and the server is still there."""
    done = call("create", spec(server, http_port=1))
    assert done.returncode == 1
    assert "was made from other settings" in done.stderr
    assert server.ssh("true").returncode == 0


def test_a_port_in_use_names_its_setting(server: Server) -> None:
    """The first server's ports are taken for a second one."""
    ssh, http = free_ports(2)
    done = call("create", spec(server, name=f"{server.asked['name']}-2", ssh_port=ssh, http_port=http, ports={}))
    assert done.returncode == 1
    port = server.asked["https_port"]
    assert f"flaskhost:server.https_port: must be free on 127.0.0.1 (got {port}, in use)" in done.stderr


def test_the_private_key_stands_nowhere_outside(server: Server) -> None:
    """Neither labels nor command of the container show it; the file inside is closed."""
    inspected = json.dumps(engine_knows(server))
    secret = server.asked["host_private"].splitlines()[1]
    assert secret not in inspected
    assert server.ssh("stat -c %a%U /etc/ssh/ssh_host_ed25519_key").stdout.strip() == "600root"


def engine_knows(server: Server) -> dict[str, Any]:
    """What the engine tells about the container."""
    from ops.local_server import engine  # noqa: PLC0415 - only here; all else goes through the command

    found = engine.find(server.asked["name"])
    assert found is not None
    return found[1]


def test_every_port_is_published_on_loopback_only(server: Server) -> None:
    """The network around this machine never sees the server."""
    bindings = engine_knows(server)["HostConfig"]["PortBindings"]
    assert sorted(bindings) == ["22/tcp", "443/tcp", "5000/tcp", "80/tcp"]
    assert {to["HostIp"] for all_to in bindings.values() for to in all_to} == {"127.0.0.1"}


def test_the_server_is_bare(server: Server) -> None:
    """What flaskhost is to install is not there yet."""
    assert server.ssh("command -v nginx git gunicorn; python3 -c 'import flask'").returncode != 0


@pytest.mark.skipif(not AUTHORITIES, reason="this machine trusts no authority of its own")
def test_the_machine_s_authorities_are_trusted_inside(server: Server) -> None:
    """Every certificate of the machine's own is in the server's bundle."""
    bundle = server.ssh("cat /etc/ssl/certs/ca-certificates.crt").stdout
    for file in AUTHORITIES:
        text = file.read_text()
        certificate = text[text.index("-----BEGIN") : text.index("-----END")].strip()
        assert certificate in bundle, file.name


def test_the_server_reaches_its_package_archive(server: Server) -> None:
    """Without it nothing could be installed."""
    done = server.ssh("apt-get update 2>&1")
    assert done.returncode == 0, done.stdout
    assert "Failed to fetch" not in done.stdout


def test_a_stopped_server_is_started_again_with_its_data(server: Server) -> None:
    """As a machine that was switched off: same container, same key, same files, services up."""
    server.ssh("echo kept > /srv/note")
    assert run("stop", {"name": server.asked["name"]})["state"] == "stopped"
    assert server.ssh("true").returncode == 255
    assert run("start", {"name": server.asked["name"]}) == {"state": "started", "id": server.id}
    assert server.ssh("cat /srv/note && systemctl is-system-running").stdout.split() == ["kept", "running"]


def test_a_stopped_server_is_started_by_create_as_well(server: Server) -> None:
    """`pulumi up` after a restart of the machine brings back the same server."""
    run("stop", {"name": server.asked["name"]})
    assert run("create", spec(server))["id"] == server.id
    assert server.ssh("true").returncode == 0


def test_delete_takes_the_input_of_create_and_may_come_twice(server: Server) -> None:
    """Pulumi hands delete the same input; the second time there is nothing left to do."""
    assert run("delete", spec(server)) == {"state": "removed", "id": server.id}
    assert run("delete", spec(server)) == {"state": "absent"}
    assert run("start", {"name": server.asked["name"]}) == {"state": "absent"}
