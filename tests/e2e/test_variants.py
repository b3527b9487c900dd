"""Servers as other rules want them: taken over from the usual procedure, /var/www, a TCP port, log files, www-data."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, final

import pytest

import rendering
import settings
from tests.components import scenario
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.stack import BROKEN, GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.host import Host

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

APP = "guestbook"
HOME = f"/var/www/{APP}"
PORT = 8000
OLD_LINE = "a line of the procedure before"

# As deployment-sop.txt, section 5, leaves a server; its Gunicorn is a program that answers and writes to its log.
BEFORE = f"""
set -e
useradd --system --shell /bin/bash {APP}
install -d -o {APP} -g www-data -m 755 {HOME} {HOME}/app {HOME}/venv /var/log/{APP}
cat > {HOME}/venv/gunicorn.py <<'EOF'
import http.server, sys
log = open("/var/log/{APP}/gunicorn-access.log", "a", buffering=1)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"before")
        log.write("{OLD_LINE}\\n")
http.server.HTTPServer(("127.0.0.1", {PORT}), Answer).serve_forever()
EOF
cat > /etc/systemd/system/{APP}.service <<'EOF'
[Service]
User={APP}
Group=www-data
WorkingDirectory={HOME}/app
ExecStart=/usr/bin/python3 {HOME}/venv/gunicorn.py
[Install]
WantedBy=multi-user.target
EOF
echo 'server {{ listen 80; server_name guestbook.example; location / {{ proxy_pass http://127.0.0.1:{PORT}; }} }}' \
    > /etc/nginx/sites-available/{APP}
ln -s /etc/nginx/sites-available/{APP} /etc/nginx/sites-enabled/
systemctl daemon-reload
systemctl enable --quiet --now {APP}.service
systemctl restart nginx
"""

# Requests on the TCP port from inside, an open loop as in load.py, until the file is there.
LOAD = """
import http.client, json, os, threading, time
found, lock = {"sent": 0, "failed": [], "versions": []}, threading.Lock()
def ask():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", %d, timeout=15)
        connection.request("GET", "/version?tcp")
        answer = connection.getresponse()
        status, text = answer.status, answer.read().decode().strip()
    except OSError as error:
        status, text = 0, repr(error)
    with lock:
        if status != 200: found["failed"].append(f"{status} {text}")
        elif text not in found["versions"]: found["versions"].append(text)
threads = []
while not os.path.exists("/tmp/load-ends"):
    threads.append(threading.Thread(target=ask)); threads[-1].start(); found["sent"] += 1
    time.sleep(1 / 15)
for thread in threads: thread.join()
print(json.dumps(found))
"""


@final
class PortLoad:
    """Load on the TCP port, for as long as the `with` block lasts."""

    def __init__(self, host: Host) -> None:
        """Take the host inside of which it runs."""
        self._host = host
        self.found: dict[str, Any] = {}

    def __enter__(self) -> PortLoad:
        """Start it."""
        script = shlex.quote(LOAD % PORT)
        self._host.run(f"rm -f /tmp/load-*; (python3 -c {script} > /tmp/load-found 2>&1 &)")
        return self

    def __exit__(self, *_error: object) -> None:
        """End it and see what it has found."""
        self._host.run(
            "sleep 0.5; touch /tmp/load-ends; timeout 20 sh -c 'until [ -s /tmp/load-found ]; do sleep 0.1; done'"
        )
        self.found = json.loads(self._host.run("cat /tmp/load-found"))


@pytest.fixture(scope="module")
def machine(server_image: str) -> Iterator[Machine]:
    """Return a server that the usual procedure has set up, and that serves."""
    with Machine("variants", server_image) as made:
        made.host.run(BEFORE)
        made.host.run(f"timeout 20 sh -c 'until curl -fs http://127.0.0.1:{PORT}/; do sleep 0.1; done'")
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack for that server, with everything that the procedure's rules ask for."""
    assert pulumi
    made = Stack(tmp_path_factory.mktemp("variants"), "variants", machine=machine)
    made.configure(
        layout={"root": "/var/www"},
        app={"tcp_port": PORT, "gunicorn": {"logs": "files"}},
        env={"DATABASE_URL": f"sqlite:///{HOME}/shared/data/guestbook.db", "MEDIA_ROOT": f"{HOME}/shared/media"},
    )
    return made


@pytest.fixture(scope="module")
def host(machine: Machine) -> Host:
    """Return what a test sees of the server."""
    return machine.host


def test_a_server_of_the_usual_procedure_is_refused_as_a_whole_and_serves_on(stack: Stack, host: Host) -> None:
    """Nothing of it is overwritten; the message names all that is in the way, and how to move it."""
    refused = stack.up(check=False)
    assert not refused.succeeded
    for path in (
        f"/etc/systemd/system/{APP}.service",
        f"/etc/nginx/sites-available/{APP}",
        f"{HOME}/app",
        f"{HOME}/venv",
    ):
        assert f"  {path}\n" in refused.text, str(refused)
    assert f"systemctl disable --now {APP}.service" in refused.text
    assert host.run(f"curl -fs http://127.0.0.1:{PORT}/") == "before"
    assert host.run(f"stat -c %U:%G:%a {HOME}") == f"{APP}:www-data:755"


def test_what_the_message_says_takes_the_server_over_without_a_lost_line_of_log(stack: Stack, host: Host) -> None:
    """The commands of the message are typed as they are; the old logs stay where they are, and new lines come after."""
    refused = stack.up(check=False).text
    commands = [
        line.strip()
        for line in refused.splitlines()
        if line.strip().startswith(("systemctl d", "rm /", "mkdir -p /root"))
    ]
    for command in dict.fromkeys(commands):
        host.run(command)
    # As docs/sop.md says: uploads are put where they will be, whomever they belong to.
    host.run(
        f"mkdir -p {HOME}/shared/media/old && echo old > {HOME}/shared/media/old/picture && chmod -R go= {HOME}/shared"
    )
    lines = int(host.run(f"grep -c '{OLD_LINE}' /var/log/{APP}/gunicorn-access.log"))
    assert lines > 0
    stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert host.run(f"curl -fs http://localhost:{PORT}/version") == "1.0.0"
    assert stack.site.get("/media/old/picture").text == "old\n"
    assert host.run(f"stat -c %U:%G {HOME}/shared/media/old/picture") == f"{APP}:www-data"
    assert host.run(f"readlink -f {HOME}/shared/logs") == f"/var/log/{APP}"
    assert int(host.run(f"grep -c '{OLD_LINE}' /var/log/{APP}/gunicorn-access.log")) == lines
    assert host.succeeds(f"grep 'GET /version' /var/log/{APP}/gunicorn-access.log")
    assert host.run(f"getent passwd {APP} | cut -d: -f6") == HOME


def test_a_switch_moves_the_port_as_well_and_costs_it_no_request(stack: Stack, host: Host) -> None:
    """Who asks on the TCP port goes along with the pointer, there and back."""
    stack.deploy(GOOD)
    with PortLoad(host) as load:
        stack.deploy(NEWER)
        stack.deploy(GOOD)
    assert load.found["failed"] == []
    assert load.found["versions"] == ["1.0.0", "1.1.0"]
    assert load.found["sent"] > 50


def test_rotated_logs_lose_no_line(stack: Stack, host: Host) -> None:
    """`logrotate -f` under load: every request is in the old file or in the new one, which Gunicorn writes to."""
    stack.deploy(GOOD)
    log = f"/var/log/{APP}/gunicorn-access.log"
    counted = f"cat {log} {log}.1 2>/dev/null | grep -c '?tcp' || true"
    host.run(f"logrotate -f /etc/logrotate.d/{APP}")
    before = int(host.run(counted))
    with PortLoad(host) as load:
        host.run(f"sleep 1; logrotate -f /etc/logrotate.d/{APP}; sleep 1")
    after = int(host.run(f"zcat {log}.2.gz | grep -c '?tcp' || true")) + int(host.run(counted))
    assert load.found["failed"] == []
    assert after - before == load.found["sent"]
    assert host.succeeds(f"test -s {log}")
    assert int(host.run(f"grep -c '?tcp' {log}")) > 0
    assert host.run(f"stat -L -c '%U:%G %a' {log} {log}.1").splitlines() == [f"{APP}:{APP} 640"] * 2
    host.run("systemctl start logrotate.service")
    assert host.run("systemctl is-enabled logrotate.timer") == "enabled"


def test_a_broken_release_says_why_although_its_log_is_a_file(stack: Stack, host: Host) -> None:
    """Gunicorn's errors are in the file and in the journal, so `up` shows the traceback and an operator finds it."""
    stack.deploy(GOOD)
    stack.configure(app={"version": BROKEN})
    broken = stack.up(check=False)
    stack.configure(app={"version": GOOD})
    why = "ModuleNotFoundError: No module named 'statsd'"
    assert why in broken.text, str(broken)
    assert why in host.run(f"tail -n 400 /var/log/{APP}/gunicorn-error.log")
    assert why in host.run(f"journalctl -q --no-pager -u {APP} --since=-1min")
    assert host.run(f"curl -fs http://localhost:{PORT}/version") == "1.0.0"


def test_a_port_in_use_is_named_with_its_holder_and_nothing_changes(stack: Stack, host: Host) -> None:
    """The release before serves on, on its old port as well; another port is one line in the stack file."""
    host.run("systemd-run --quiet --unit=holder python3 -m http.server --bind 127.0.0.1 8001")
    host.wait_for("ss -ltn | grep -q 127.0.0.1:8001")
    stack.configure(app={"tcp_port": 8001})
    refused = stack.up(check=False)
    stack.configure(app={"tcp_port": PORT})
    assert "flaskhost:app.tcp_port: 8001 is in use on this host by python3" in refused.text, str(refused)
    assert host.run(f"curl -fs http://localhost:{PORT}/version") == "1.0.0"
    assert stack.site.version() == "1.0.0"


def test_a_port_belongs_to_one_application(stack: Stack, host: Host, machine: Machine) -> None:
    """A second application that claims it is refused, and the first one never notices."""
    stack.deploy(GOOD)
    other = scenario.config(app__name="shop", app__tcp_port=PORT)
    machine.write("/root/shop", rendering.plan(settings.load(other, stack="prod"), scenario.resolved()).base)
    said = host.do("flaskhost base shop < /root/shop")
    assert said.returncode
    assert (
        f"{PORT} belongs to the application 'guestbook' on this host: choose another port" in said.stdout + said.stderr
    )
    assert host.run(f"curl -fs http://localhost:{PORT}/version") == "1.0.0"
    host.run("rm -r /etc/flaskhost/shop")


def test_the_account_changes_without_a_lost_request_or_upload(stack: Stack, host: Host) -> None:
    """app.user: www-data and back, under load: data and uploads go along, code stays closed to Nginx."""
    stack.deploy(GOOD)
    first = stack.site.sign("Ada", "Before the account changed")
    with Visitors(stack.site.https_port, rate=15) as visitors, PortLoad(host) as load:
        stack.deploy(GOOD, app={"user": "www-data"})
        second = stack.site.sign("Grace", "As www-data")
        slot = host.run(f"basename $(readlink {HOME}/active)")
        unit = host.unit(f"{APP}-gunicorn@{slot}.service", "User", "Group", "MainPID")
        workers = set(host.run(f"ps -o user= --ppid {unit['MainPID']}").split())
        sockets = host.run(f"stat -L -c '%U:%G %a' {HOME}/run/gunicorn.sock")
        written = set(host.run(f"find {HOME}/shared/data {HOME}/shared/media -printf '%u\\n'").split())
        code = host.succeeds(f"cat {HOME}/app/wsgi.py {HOME}/shared/.env", user="www-data")
        stack.deploy(GOOD, app={"user": None})
    assert visitors.failed == []
    assert load.found["failed"] == []
    assert (unit["User"], unit["Group"], workers, sockets) == (
        "www-data",
        "www-data",
        {"www-data"},
        "www-data:www-data 660",
    )
    assert written == {"www-data"}
    assert not code
    assert [stack.site.get(path).status for path in (first, second)] == [200, 200]
    assert set(host.run(f"find {HOME}/shared/data {HOME}/shared/media -printf '%u\\n'").split()) == {APP}
    third = stack.site.sign("Edsger", "As the application again")
    assert stack.site.get(third).status == 200


def test_the_permissions_of_the_procedure_do_harm_and_its_restart_repairs_them(stack: Stack, host: Host) -> None:
    """`chown -R` and `chmod -R 755` (section 5, step 13) close the socket and open the code.

    Both end with the restart that the procedure itself asks for next, or with `flaskhost repair`.
    """
    stack.deploy(GOOD)
    modes = f"find {HOME} -maxdepth 2 -printf '%M %u:%g %P\\n' | grep -v releases.log | sort -k3"
    before = host.run(modes)
    harm = f"chown -R {APP}:www-data {HOME} && chmod -R 755 {HOME} && chmod 644 {HOME}/app/.env.prod"
    for cure in (f"systemctl restart {APP}.service", f"flaskhost repair {APP}"):
        host.run(harm)
        assert host.succeeds(f"cat {HOME}/app/wsgi.py", user="nobody")
        assert stack.site.get("/health").status == 502
        host.run(cure)
        assert stack.site.wait_until_healthy(20) == "1.0.0"
        assert not host.succeeds(f"cat {HOME}/app/wsgi.py", user="nobody")
        assert not host.succeeds(f"cat {HOME}/shared/.env {HOME}/shared/data/guestbook.db", user="nobody")
        assert host.run(modes) == before


def test_port_and_log_files_go_when_the_stack_does_not_want_them(stack: Stack, host: Host) -> None:
    """What was a setting goes with it: units, rotation; the logs themselves stay."""
    stack.deploy(GOOD, app={"tcp_port": None, "gunicorn": {"logs": "journal"}})
    assert not host.succeeds(f"curl -fs http://localhost:{PORT}/version")
    assert host.run(f"ls /etc/systemd/system /etc/logrotate.d | grep -c -e gunicorn-tcp -e '^{APP}$' || true") == "0"
    assert host.succeeds(f"test -s /var/log/{APP}/gunicorn-access.log")


def test_destroy_leaves_what_the_procedure_had_before(stack: Stack, host: Host) -> None:
    """Its account with what runs in its name, its files and its logs: the way back of docs/sop.md."""
    stack.deploy(GOOD)
    host.run(f"echo theirs > {HOME}/notes; (runuser -u {APP} -- sleep 3600 > /dev/null 2>&1 &)")
    destroyed = stack.destroy()
    assert f"kept: {HOME}/notes (1 file, not made by flaskhost)" in destroyed.text
    assert f"kept: the account {APP}, not made by flaskhost" in destroyed.text
    assert host.succeeds(f"pgrep -u {APP} sleep && ! getent passwd {APP}_build")
    assert host.run(f"ls -A {HOME}").split() == ["notes", "shared"]
    assert host.run(f"ls -A {HOME}/shared").split() == ["data", "logs", "media"]
    assert host.succeeds(f"zgrep '{OLD_LINE}' /var/log/{APP}/gunicorn-access.log*")
