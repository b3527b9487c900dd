"""A release that cannot come: `up` fails with a reason and a next step, visitors notice nothing, nothing is lost.

One server for all of them. Each case is undone by itself, and at the end the next release works.
"""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from tests.e2e.host import HOME
from tests.e2e.repository import make, release
from tests.e2e.serving import Serving, serve
from tests.e2e.stack import GOOD, NEWER, Stack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NOT_THERE, COMPILED, MIGRATION, CLOCK = "v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4"
"""Releases that cannot come: a version nobody made, one to compile, a migration that fails, an index of tomorrow."""

EXTENSION = {
    "ext/pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
    "ext/setup.py": 'from setuptools import Extension, setup\nsetup(name="ext", version="1", '
    'ext_modules=[Extension("ext", ["ext.c"])])\n',
    "ext/ext.c": "#include <Python.h>\n",
}
BROKEN_MIGRATION = '''"""Breaks."""
revision, down_revision = "0002", "0001"


def upgrade():
    raise RuntimeError("the table is on fire")
'''
INDEX_PORT = 8443
SERVE = f"""
import http.server, ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("/root/index.pem")
server = http.server.HTTPServer(("127.0.0.1", {INDEX_PORT}), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of the bundled application with releases that cannot come."""
    folder = make(tmp_path_factory.mktemp("repository") / "guestbook")
    requirements = (folder / "requirements.txt").read_text()
    release(folder, NOT_THERE, {"requirements.txt": "flask==99.0.0\n"})
    release(folder, COMPILED, {"requirements.txt": f"./ext\n{requirements}", **EXTENSION})
    release(folder, MIGRATION, {"migrations/versions/0002_breaks.py": BROKEN_MIGRATION})
    index = f"--index-url https://localhost:{INDEX_PORT}/simple\nnothing-of-this-name==1\n"
    release(folder, CLOCK, {"requirements.txt": index})
    return folder


@pytest.fixture(scope="module")
def serving(stack: Stack, repository: Path) -> Serving:
    """Return a stack whose release serves, with an upload and a row in the database."""
    stack.configure(app={"source": {"repository": str(repository)}})
    stack.deploy(GOOD)
    return serve(stack)


def test_a_repository_that_is_gone_is_named(serving: Serving) -> None:
    """A path with nothing, and a server with nobody."""
    serving.refused(
        "flaskhost:app.source.repository: must be a folder", app={"source": {"repository": "../gone"}, "version": "v7"}
    )
    away = {"repository": "https://127.0.0.1:1/app.git"}
    serving.refused("must be a repository that this machine can read", app={"source": away, "version": "v7"})


def test_a_version_that_is_not_there_is_named_with_those_that_are(serving: Serving) -> None:
    """Nobody has to look up what was meant."""
    serving.refused("flaskhost:app.version: must be a tag", "(got 'v1.0.9'): did you mean", app={"version": "v1.0.9"})


def test_a_deploy_key_that_the_git_server_refuses_is_named(serving: Serving) -> None:
    """The server itself fetches, with a key that nobody has authorised."""
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = " ".join(serving.host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    serving.stack.encrypt("credentials.deploy_key", key.decode())
    source = {"repository": "ssh://root@127.0.0.1/root/app.git", "via": "server", "host_key": public}
    serving.refused(
        "Permission denied (publickey",
        "add this key to it as a deploy key that may read: ssh-ed25519 ",
        app={"source": source, "version": None, "commit": "3f2a" * 10},
    )


def test_a_wsgi_entry_that_is_not_there_is_named(serving: Serving) -> None:
    """By the migrations, which load it first; without them by Gunicorn, in the log of the release."""
    serving.refused("Could not import 'nowhere'", "was not started, v1.0.0", app={"wsgi": "nowhere:app"})
    entry = {"wsgi": "nowhere:app", "migrate": "none"}
    serving.refused("No module named 'nowhere'", "serves as before. Its log:", app=entry)


def test_a_dependency_that_nobody_made_is_named(serving: Serving) -> None:
    """The package and the version, as uv says it."""
    said = ("the dependencies in requirements.txt could not be installed", "flask==99.0.0")
    serving.refused(*said, app={"version": NOT_THERE})


def test_a_dependency_without_a_wheel_and_without_a_compiler_names_the_settings(serving: Serving) -> None:
    """The compiler's programs are put aside, as on a server with `app.compiler: false`."""
    names = " -o ".join(f"-name '{name}'" for name in ("*gcc*", "*g++*", "cc", "c++", "c[89]*-*", "*cpp*"))
    serving.host.run(f"mkdir /root/aside && find /usr/bin \\( {names} \\) -exec mv -t /root/aside {{}} +")
    try:
        serving.refused("has no compiler", "flaskhost:app.compiler: true", app={"version": COMPILED})
    finally:
        serving.host.run("mv /root/aside/* /usr/bin/ && rmdir /root/aside")


def test_a_migration_that_fails_starts_nothing(serving: Serving) -> None:
    """Its traceback, and that the release before serves."""
    serving.refused("the migrations failed", "the table is on fire", "serves as before", app={"version": MIGRATION})


def test_a_full_disk_is_named(serving: Serving) -> None:
    """The folder of the releases lies on a small disk that is full: nothing is written there, not even a part."""
    host = serving.host
    before = host.releases()
    host.run(f"mv {HOME}/releases /dev/shm/ && ln -s /dev/shm/releases {HOME}/releases")
    host.run('fallocate -l "$(($(df --output=avail -B1 /dev/shm | tail -1) - 8192))" /dev/shm/filler')
    try:
        said = f"the disk at /dev/shm has no room for the release {NEWER}: 0 MB are free"
        serving.refused(said, f"What takes much: {HOME}/venvs", "Make room, and run", app={"version": NEWER})
        assert host.releases() == before
    finally:
        host.run(f"rm /dev/shm/filler {HOME}/releases && mv /dev/shm/releases {HOME}/releases")


def test_a_clock_that_is_wrong_is_named(serving: Serving) -> None:
    """The index's certificate begins to be valid tomorrow, as every other would on a host whose clock is behind."""
    host = serving.host
    authority, chain = certificates()
    host.run("cp /etc/ssl/certs/ca-certificates.crt /root/before.crt")
    host.run(f"printf %s {shlex.quote(authority)} >> /etc/ssl/certs/ca-certificates.crt")
    host.run(f"printf %s {shlex.quote(chain)} > /root/index.pem")
    host.run(f"systemd-run --quiet --unit=other python3 -c {shlex.quote(SERVE)}")
    try:
        now = dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d")
        serving.refused(f"the clock of this host says {now}", "timedatectl set-ntp true", app={"version": CLOCK})
    finally:
        host.run("systemctl stop other; cp /root/before.crt /etc/ssl/certs/ca-certificates.crt")


def test_after_all_of_that_the_next_release_works(serving: Serving) -> None:
    """Nothing half-done is in its way."""
    serving.stack.deploy(NEWER)
    assert serving.stack.site.version() == "1.1.0"
    assert serving.stack.site.get(serving.picture).status == 200
    assert serving.host.run("systemctl list-units --failed --no-legend --plain 'guestbook*' 'nginx*'") == ""


def certificates() -> tuple[str, str]:
    """Return an authority that is valid now, and a key with a certificate of it for localhost from tomorrow on."""
    now, day = dt.datetime.now(dt.timezone.utc), dt.timedelta(days=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flaskhost test")])
    of = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def signed(name: x509.Name, key: ec.EllipticCurvePrivateKey, begin: dt.datetime, *, ca: bool) -> str:
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + 9 * day)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(keys[0], hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()

    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed(root, keys[0], now - day, ca=True), private.decode() + signed(of, keys[1], now + day, ca=False)
