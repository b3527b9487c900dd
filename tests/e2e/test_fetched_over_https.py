"""The server fetches the code over https with a token: git's own http-backend behind TLS and a password.

The Git server runs on the module's host, and listens on the port under which this machine reaches it as well, so that
one URL leads to it from both.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.host import APP, WHO, until
from tests.e2e.machine import Machine
from tests.e2e.stack import GOOD, NEWER, TREE, Stack
from tests.e2e.watch import CommandLines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PORT = 8443
USER, TOKEN = "deploy", "glpat-4f1c0aa2b7e94d0f"
SEEN = "/var/log/git-https.log"
SERVER = f"""
import base64, http.server, os, ssl, subprocess, sys, threading

KNOWN = "Basic " + base64.b64encode(b"{USER}:{TOKEN}").decode()

class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        path, _, query = self.path.partition("?")
        given = self.headers.get("Authorization")
        with open("{SEEN}", "a") as log:
            print(self.server.server_port, path, "with" if given else "without", file=log)
        if path.startswith("/moved/"):
            return self.say(302, {{"Location": "https://127.0.0.1:{PORT}" + self.path.removeprefix("/moved")}})
        if given != KNOWN:
            return self.say(401, {{"WWW-Authenticate": 'Basic realm="git"'}})
        variables = {{
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": "/srv/git", "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "{USER}",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, env=variables, stdout=subprocess.PIPE, check=True)
        head, _, text = done.stdout.partition(b"\\r\\n\\r\\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\\r\\n"))
        self.say(int(fields.pop("Status", "200").split()[0]), fields, text)

    def say(self, status, fields, text=b""):
        self.send_response(status)
        for name, value in {{**fields, "Content-Length": len(text)}}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = answer

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/tls/cert.pem", "/srv/tls/key.pem")
for port in map(int, sys.argv[1:]):
    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()
"""
CERTIFICATE = """
mkdir -p /srv/tls && cd /srv/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=git \
    -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem 2> /dev/null
cp cert.pem /usr/local/share/ca-certificates/git-test.crt && update-ca-certificates > /dev/null 2>&1
"""


@pytest.fixture(scope="module")
def machine(server_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a server with a Git server on it that wants a token."""
    with Machine("https", server_image, further_ports=[PORT]) as made:
        folder: Path = tmp_path_factory.mktemp("repository") / "guestbook"
        words = [sys.executable, str(TREE / "examples" / "make_repository.py"), str(folder)]
        subprocess.run(words, check=True, capture_output=True)
        host = made.host
        host.run(f"mkdir -p /srv/git && {CERTIFICATE}")
        host.engine.run("cp", str(folder / ".git"), f"{made.name}:/srv/git/guestbook.git")
        made.write("/srv/server.py", SERVER)
        host.run("git config --file /srv/git/guestbook.git/config core.bare true; chown -R root:root /srv/git")
        host.run(f"systemd-run --quiet --unit=git-https python3 /srv/server.py {PORT} {made.further_ports[PORT]}")
        until(lambda: host.succeeds(f"curl -s -o /dev/null https://127.0.0.1:{PORT}/"), "the Git server answers")
        yield made


@pytest.fixture(scope="module")
def stack(machine: Machine, pulumi: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """Return a stack on that server whose source is that repository; nothing is deployed yet."""
    assert pulumi
    folder = tmp_path_factory.mktemp("https")
    made = Stack(folder, "https", machine=machine)
    certificate = folder / "git.crt"
    certificate.write_text(machine.host.run("cat /srv/tls/cert.pem"))
    made.environment["GIT_SSL_CAINFO"] = str(certificate)
    made.configure(app={"source": {"repository": url(machine), "via": "server"}})
    made.encrypt("credentials.git_token", f"{USER}:{TOKEN}")
    return made


def url(machine: Machine, folder: str = "") -> str:
    """Return the URL of the repository."""
    return f"https://127.0.0.1:{machine.further_ports[PORT]}{folder}/guestbook.git"


def commit(machine: Machine, version: str) -> str:
    """Return the commit of a tag."""
    return machine.host.run(f"git -C /srv/git/guestbook.git rev-parse '{version}^{{commit}}'")


def release(machine: Machine, version: str) -> str:
    """Have the team release a version that no mirror has yet, with the files of v1.1.0; return its commit."""
    words = f"git commit-tree {NEWER}^{{tree}} -p {NEWER}^{{commit}} -m {version}"
    machine.host.run(f"set -e; cd /srv/git/guestbook.git; made=$({WHO} {words}); git tag {version} $made")
    return commit(machine, version)


def test_a_token_reads_the_repository_here_and_there_and_is_told_to_nobody(stack: Stack, machine: Machine) -> None:
    """The tag is looked up here, the code is fetched there; the token is in root's file and nowhere else."""
    with CommandLines() as lines:
        run = stack.deploy(GOOD)
    assert stack.site.version() == "1.0.0"
    assert stack.outputs()["release"]["commit"] == commit(machine, GOOD)
    assert f"repository: fetching {commit(machine, GOOD)[:12]} from {url(machine)}" in run.text
    host = machine.host
    for place in (str(run), lines.text, stack.on_disk(), host.journal()):
        assert TOKEN not in place
    found = host.run(f"grep -rlF --devices=skip -e {TOKEN} /etc /home /opt /root /run /tmp /var --exclude-dir=journal")
    assert found == f"/etc/flaskhost/{APP}/git/token"
    assert host.run(f"stat -c '%a %U' {found}") == "600 root"


def test_a_server_to_which_it_is_redirected_does_not_get_the_token(stack: Stack, machine: Machine) -> None:
    """A token is for the host of the URL: whoever can make that one redirect learns nothing."""
    machine.host.run(f"rm {SEEN}")
    active = machine.host.active()
    moved = {"repository": url(machine, "/moved")}
    stack.configure(app={"source": moved, "version": "v1.1.1", "commit": release(machine, "v1.1.1")})
    refused = stack.up(check=False)
    assert "set flaskhost:credentials.git_token to a token that may read it" in refused.text, str(refused)
    seen = [line.split() for line in machine.host.run(f"cat {SEEN}").splitlines()]
    assert [words[2] for words in seen if words[0] == str(PORT)] == ["without"]
    assert machine.host.active() == active
    stack.configure(app={"source": {"repository": url(machine)}, "version": GOOD, "commit": None})


def test_a_token_that_may_not_read_is_refused_with_the_setting(stack: Stack, machine: Machine) -> None:
    """By the look-up before anything is made, and with a pinned commit by the server; the old release serves."""
    active = machine.host.active()
    stack.encrypt("credentials.git_token", f"{USER}:expired")
    newest = release(machine, "v1.1.2")
    stack.configure(app={"version": "v1.1.2"})
    here = stack.up(check=False)
    assert "set credentials.git_token to a token that may read it" in here.text
    stack.configure(app={"commit": newest})
    there = stack.up(check=False)
    assert "set flaskhost:credentials.git_token to a token that may read it" in there.text
    assert "expired" not in here.text + there.text
    assert machine.host.active() == active
    stack.encrypt("credentials.git_token", f"{USER}:{TOKEN}")
    stack.up()
    assert stack.site.version() == "1.1.0"
