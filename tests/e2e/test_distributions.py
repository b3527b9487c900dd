"""The life of an application on each Debian that is supported; the supported Ubuntus are between them in age.

Debian 11 has systemd 247, Python 3.9, Nginx 1.18 and OpenSSL 1.1; Debian 13 has systemd 257, Python 3.13, Nginx 1.26.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e import prepared
from tests.e2e.host import APP, HOME, service
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.stack import BROKEN, GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.local_server.engine import Engine

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


PYTHON = {"debian:11": "3.9", "debian:12": "3.11", "debian:13": "3.13"}
"""What each brings: the repository of the bundled application names one, which would be downloaded elsewhere."""


@pytest.fixture(scope="module", params=list(PYTHON))
def stack(
    request: pytest.FixtureRequest,
    container_engine: Engine,
    pulumi: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    """Return a stack on a server with that distribution, which is there already."""
    assert pulumi
    label = str(request.param).replace(":", "")
    machine = Machine(label, prepared.ensure(container_engine, request.param))
    try:
        made = Stack(tmp_path_factory.mktemp(label), label, machine=machine)
        made.configure(app={"python": PYTHON[request.param]})
        yield made
    finally:
        machine.close()


def test_a_first_deploy_serves_and_passes_every_check(stack: Stack) -> None:
    """HTTPS, static files from Nginx, a migrated database, and the whole checklist."""
    stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert stack.site.get("/static/style.css").status == 200
    assert [seen for seen in stack.outputs()["verified"].values() if not seen.startswith("ok: ")] == []
    assert stack.host.run("systemctl list-units --failed --no-legend") == ""


def test_a_second_up_connects_to_nobody(stack: Stack) -> None:
    """What is there already is not asked for."""
    before = stack.host.logins()
    stack.up()
    assert stack.host.logins() == before


SYNC = """
import io, json, os, pathlib, subprocess, tarfile
program = pathlib.Path("/usr/local/bin/flaskhost").resolve()
root = pathlib.Path("/root/scratch")
home, config = root / "srv/{app}", root / "srv/{app}/config/digest"
for folder in ("etc/flaskhost/{app}", "run", "srv/{app}/releases/one", "srv/{app}/config/digest",
               "srv/{app}/slots/development"):
    (root / folder).mkdir(parents=True)
facts = dict(app="{app}", root="/srv", mode="development", user="{app}")
(root / "etc/flaskhost/{app}/app.json").write_text(json.dumps(facts))
(config / "release.json").write_text(json.dumps(dict(folder="one", prepared=True)))
(config / "env").write_text('FLASK_DEBUG="1"\\n')
(home / "active").symlink_to("slots/development")
(home / "slots/development/config").symlink_to("../../config/digest")
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w") as tar:
    tar.add("/etc/hostname", "pages/deep/new.txt")
frame = dict(release="digest", gone=[], bytes=len(packed.getvalue()))
done = subprocess.run([str(program), "sync", "{app}"], input=json.dumps(frame).encode() + b"\\n" + packed.getvalue(),
                      env=dict(os.environ, FLASKHOST_ROOT=str(root)), stdout=subprocess.PIPE, check=True)
print(done.stdout.decode().splitlines()[-1])
assert (home / "releases/one/pages/deep/new.txt").read_text() == pathlib.Path("/etc/hostname").read_text()
"""


def test_the_development_modes_sync_takes_a_change(stack: Stack) -> None:
    """The host's own code on the host's own Python; the source is a scratch one."""
    answer = json.loads(stack.host.run(f"python3 - <<'END'\n{SYNC.format(app=APP)}\nEND"))
    assert answer["files"] == ["pages/deep/new.txt"]
    assert answer["restarted"] is False, "that is for Flask's reloader, and the unit of this name is the real one"
    stack.host.run("rm -r /root/scratch")


def test_a_restart_is_carried_out_whatever_the_one_before_has_come_to(stack: Stack) -> None:
    """Also in the moment in which Gunicorn still starts, and as often as somebody asks for it."""
    served = service(stack.host.slot())
    slow = f"/run/systemd/system/{served}.d"
    # In one shell, and with half a second more to start: the moment is not to be missed.
    twice = (
        f"systemctl restart --no-block {APP}; "
        f"until systemctl show -p ActiveState --value {served} | grep -qx activating; do sleep 0.02; done; "
        f"systemctl show -p InvocationID --value {served}; systemctl restart {APP}"
    )
    stack.host.run(f"mkdir -p {slow} && printf '[Service]\nExecStartPre=/bin/sleep 0.5\n' > {slow}/slow.conf")
    stack.host.run("systemctl daemon-reload")
    try:
        for _ in range(6):
            begun = stack.host.run(twice)
            stack.site.wait_until_healthy(30)
            assert stack.host.unit(served, "InvocationID")["InvocationID"] != begun
    finally:
        stack.host.run(f"rm -r {slow} && systemctl daemon-reload")
    assert stack.host.run("systemctl list-units --failed --no-legend") == ""


def test_a_release_loses_no_request(stack: Stack) -> None:
    """The old slot ends what it has begun, on every version of systemd."""
    with Visitors(stack.site.https_port) as visitors:
        stack.deploy(NEWER)
    assert visitors.failed == []
    assert stack.site.version() == "1.1.0"


def test_a_broken_release_reaches_nobody(stack: Stack) -> None:
    """It is shown its own traceback, and the one before serves on."""
    stack.configure(app={"version": BROKEN})
    failed = stack.up(check=False)
    assert not failed.succeeded
    assert "Traceback" in failed.text
    assert stack.site.version() == "1.1.0"


def test_a_changed_site_is_loaded_and_a_changed_environment_is_a_release(stack: Stack) -> None:
    """The settings reach Nginx and the application, in the syntax that this Nginx takes."""
    stack.deploy(NEWER, web={"body_size": "20m"}, env={"SITE_TITLE": "Visitors"})
    assert "Visitors" in stack.site.get("/").text
    assert "client_max_body_size 20m" in stack.host.run("nginx -T 2> /dev/null")
    assert "warn" not in stack.host.run("nginx -t 2>&1")


def test_the_way_back_takes_everything_back(stack: Stack) -> None:
    """Code and packages of the release before, on the database of the newer one."""
    stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert "Visitors" in stack.site.get("/").text


def test_it_starts_again_after_a_reboot(stack: Stack) -> None:
    """What served before serves again."""
    stack.host.shut_down()
    stack.host.boot()
    assert stack.site.wait_until_healthy() == "1.0.0"


def test_destroy_leaves_the_data_and_nothing_else(stack: Stack) -> None:
    """Units and site are gone, Nginx runs on."""
    stack.destroy()
    assert stack.host.run(f"ls {HOME}/shared") == "data"
    assert stack.host.run(f"systemctl list-units --all --no-legend '{APP}*'") == ""
    assert stack.host.run("systemctl is-active nginx") == "active"
