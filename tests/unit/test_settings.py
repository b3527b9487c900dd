"""What a stack file may say, what holds when it says nothing, and what a person reads when it is wrong."""

from __future__ import annotations

import base64
import copy
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

import settings
from settings import rules
from settings.problems import KNOWN, written
from settings.rules import database_kind
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef"
COMMIT = "3f2a" * 10
SMALLEST: dict[str, Any] = {"server": {"kind": "local"}, "app": {"name": "guestbook", "source": {"folder": "../app"}}}
FROM_REPOSITORY: dict[str, Any] = {
    "server": {"kind": "local"},
    "app": {"name": "guestbook", "source": {"repository": "../app"}, "version": "v1.0.0"},
}


def public_key(kind: str, body: bytes = b"k" * 40) -> str:
    """Return a public key of that kind in OpenSSH's form, which nobody has the private one of."""
    return f"{kind} {base64.b64encode(len(kind).to_bytes(4, 'big') + kind.encode() + body).decode()}"


HOST_KEY = public_key("ssh-ed25519")
PRIVATE_KEY = f"""-----BEGIN OPENSSH PRIVATE KEY-----
{base64.b64encode(b"openssh-key-v1" + bytes([0, 0, 0, 0, 4]) + b"none" + b"k" * 40).decode()}
-----END OPENSSH PRIVATE KEY-----
"""
EXISTING: dict[str, Any] = {
    "server": {"kind": "existing", "address": "203.0.113.7", "host_key": HOST_KEY},
    "app": {"name": "guestbook", "source": {"repository": "../app"}, "version": "v1.0.0"},
    "credentials": {"ssh_key": PRIVATE_KEY},
}
ON_AWS: dict[str, Any] = {
    "server": {"kind": "aws", "allow_ssh_from": ["192.0.2.0/24"]},
    "app": {"name": "guestbook", "source": {"repository": "../app"}, "version": "v1.0.0"},
    "web": {"domains": ["example.com"]},
}
REGION = "eu-central-1"
BASTION = {"address": "bastion.example.com", "host_key": HOST_KEY}
MISSING = object()


def changed(base: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a configuration with one value put in (or, as MISSING, taken out) at a dotted place."""
    config = copy.deepcopy(base)
    inner = config
    *above, last = place.split(".")
    for name in above:
        inner = inner.setdefault(name, {})
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return config


def load(config: dict[str, Any], stack: str = "prod", **named: Any) -> settings.Settings:
    """Load a configuration as a stack for which no exception holds."""
    return settings.load(config, stack=stack, **named)


def problems(config: dict[str, Any], stack: str = "prod", **named: Any) -> list[str]:
    """Return what a person reads, line by line."""
    with pytest.raises(settings.ConfigurationError) as caught:
        load(config, stack, **named)
    return str(caught.value).splitlines()


def test_the_smallest_configuration_names_a_server_and_an_application() -> None:
    """Promise: a newcomer writes three things, and every other setting has a good default."""
    found = load(SMALLEST, "local")
    assert found.stack == "local"
    assert found.server == settings.LocalServer(kind="local")
    assert isinstance(found.server, settings.LocalServer)
    assert (found.server.ssh_port, found.server.http_port, found.server.https_port) == (20022, 20080, 20443)
    assert found.app.source == settings.FolderSource(folder="../app")
    assert found.app.gunicorn == settings.Gunicorn()
    assert (found.app.wsgi, found.app.migrate, found.app.keep) == ("auto", "auto", 5)
    assert found.app.gunicorn.workers is None
    assert found.app.health == settings.Health(path="/health", status=200, attempts=3, seconds=60, warm_up=("/",))
    assert found.app.watch == settings.Watch(seconds=15, requests=20, errors=5)
    assert (found.web.domains, found.web.body_size, found.web.timeout) == ((), "10m", 60)
    assert found.web.static == settings.StaticFiles(url="/static/", expires="30d")
    assert found.web.media == settings.StaticFiles(url="/media/", expires="30d")
    assert (dict(found.env), dict(found.secrets), found.digest_key) == ({}, {}, None)
    assert found.layout.root == "/srv"


def test_groups_that_pulumi_fills_with_its_defaults_are_as_good_as_absent() -> None:
    """Promise: the empty defaults of Pulumi.yaml mean the same as nothing."""
    filled = {**SMALLEST, "web": {}, "env": {}, "secrets": {}, "layout": {}, "digest_key": ""}
    assert load(filled) == load(SMALLEST)
    assert load({**SMALLEST, "env": None, "web": ""}) == load(SMALLEST)


def test_numbers_and_flags_may_come_as_text() -> None:
    """Promise: what `pulumi config set --type string` stores means the same as what YAML holds."""
    config = changed(SMALLEST, "server.ssh_port", "2222")
    config["server"]["trust_machine_authorities"] = "true"
    config["app"]["keep"] = 3
    config["web"] = {"body_size": 1024}
    found = load(config)
    assert isinstance(found.server, settings.LocalServer)
    assert found.server.ssh_port == 2222
    assert found.server.trust_machine_authorities is True
    assert found.app.keep == 3
    assert found.web.body_size == "1024"


def test_a_whole_number_in_the_environment_becomes_its_digits() -> None:
    """Promise: `PORT: 80` is what it looks like."""
    assert load(changed(SMALLEST, "env.PORT", 80)).env == {"PORT": "80"}


def test_no_static_files_and_no_uploads_can_be_said() -> None:
    """Promise: null takes a location out of the site, it is not the default."""
    found = load({**SMALLEST, "web": {"static": None, "media": None}})
    assert found.web.static is None
    assert found.web.media is None


@pytest.mark.parametrize("stack", ["dev", "local"])
def test_a_developers_stack_may_follow_a_branch_and_name_no_version(stack: str) -> None:
    """Promise: only what nobody else depends on moves without a change of its file."""
    without = changed(FROM_REPOSITORY, "app.version", MISSING)
    assert load(without, stack).app.allow_branch is True
    assert load(FROM_REPOSITORY, "prod").app.allow_branch is False
    assert problems(without, "prod") == [
        "flaskhost:app.version: must be given for a repository (got nothing): write a tag such as v1.0.0 or a commit"
    ]


def test_a_commit_is_enough_and_a_branch_may_be_allowed_in_words() -> None:
    """Promise: production asks for a fixed version, unless it is told otherwise."""
    without = changed(FROM_REPOSITORY, "app.version", MISSING)
    assert load(changed(without, "app.commit", COMMIT)).app.commit == COMMIT
    assert load(changed(without, "app.allow_branch", "true")).app.allow_branch is True


GOOD: list[tuple[str, Any]] = [
    ("app.name", "a"),
    ("app.name", "shop-2"),
    ("app.mode", "development"),
    ("app.development.allowed_networks", ["192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"]),
    ("app.development.allowed_networks", ["everyone"]),
    ("app.python", "3.11"),
    ("app.python", "3.12.4"),
    ("app.wsgi", "app.main:application"),
    ("app.wsgi", "wsgi:create_app()"),
    ("app.wsgi", "auto"),
    ("app.python_mirror", "https://mirror.example.com:8443/python-build-standalone/releases/download"),
    ("app.python_mirror", "file:///srv/mirror/pythons.json"),
    ("app.dependencies", "poetry.lock"),
    ("app.dependencies", "requirements/production.txt"),
    ("app.wsgi", "wsgi:create_app('prod', debug=False)"),
    ("app.build", "npm ci && npm run build -- --mode='x y' \"$HOME\" 100% {a} ü"),
    ("app.build_timeout", 60),
    ("app.env_example", "config/.env.sample"),
    ("app.env_example", None),
    ("app.on_release", 'flask seed && echo 100% "$HOME"'),
    ("app.lock_wait", 0),
    ("app.migrate", "none"),
    ("app.migrate", "python manage.py db upgrade"),
    ("app.way_back", "downgrade"),
    ("app.static", "app/static"),
    ("app.packages", ["libvips42", "g++"]),
    ("app.gunicorn.workers", 4),
    ("app.gunicorn.worker_class", "gevent"),
    ("app.gunicorn.version", "23.0.0"),
    ("app.gunicorn.settings", {"max_requests": 1000, "preload_app": True, "logconfig_dict": {"version": 1}}),
    ("app.gunicorn.logs", "files"),
    ("app.user", "www-data"),
    ("app.tcp_port", 8000),
    ("app.health.path", "/health?full=1"),
    ("app.processes.worker.command", 'celery --app a worker --hostname "$FLASKHOST_PROCESS" && echo 100% ü'),
    ("app.processes.worker2", {"command": "x", "count": 3, "memory": "1G", "stop_timeout": 600, "settle": 0}),
    *(
        ("app.jobs.cleanup", {"command": "flask cleanup", "schedule": schedule, "timeout": 60, "hosts": "all"})
        for schedule in (
            "*-*-* 03:00:00",
            "daily",
            "weekly UTC",
            "Mon..Fri 09:30",
            "Sat,Sun *-*-1..7 18:00",
            "monday 2026-*-* 12:00:00 Europe/Berlin",
            "*-02~03",
            "*:0/15",
            "*:*:0/2.5",
            "Fri *-*~7/1",
        )
    ),
    ("web.domains", ["www.example.com", "*.example.com", "xn--mller-kva.example", "localhost", "192.0.2.7"]),
    ("web.body_size", "0"),
    ("web.body_size", "512k"),
    ("web.static", {"url": "/assets/v1/", "expires": "max"}),
    ("web.media", {"url": "/files/", "expires": "12h"}),
    ("env.GREETING", 'a "quote", a $dollar, a %percent, {braces}; \\ and\n\ttwo lines — ünïcode 🎉'),
    ("env.PYTHONPATH", "src"),
    ("env.EMPTY", ""),
    ("env.LONG", "x" * 10_000),
    ("layout.root", "/var/www"),
    ("layout.root", "/data/apps"),
    ("server.name", "flaskhost-try"),
    ("server.image", "docker.io/library/ubuntu:24.04"),
]


@pytest.mark.parametrize(("place", "value"), GOOD)
def test_what_people_write_is_kept_exactly(place: str, value: Any) -> None:
    """Promise: a value that is accepted reaches rendering as it was written."""
    found: Any = load(changed(SMALLEST, place, value)).model_dump(mode="json")
    for name in place.split("."):
        found = found[name]
    assert found == value


@pytest.mark.parametrize(
    "repository",
    [
        "../app",
        "/srv/git/app.git",
        "~/code/app",
        "example:guestbook",
        "https://git.example.com/team/app.git",
        "ssh://git@git.example.com:2222/team/app.git",
        "git@git.example.com:team/app.git",
        "file:///srv/git/app.git",
    ],
)
def test_a_repository_is_named_as_git_names_it(repository: str) -> None:
    """Promise: paths, URLs and the short form of ssh all work."""
    found = load(changed(FROM_REPOSITORY, "app.source.repository", repository)).app.source
    assert found == settings.RepositorySource(repository=repository)


@pytest.mark.parametrize("version", ["v1.0.0", "release/2024.1", "1.10", "feature/ä", COMMIT, "v1.0+build"])
def test_a_version_is_named_as_git_names_it(version: str) -> None:
    """Promise: every name that git takes for a tag or branch is taken."""
    assert load(changed(FROM_REPOSITORY, "app.version", version)).app.version == version


# Every setting wrong at least once: place, value, and words that the line must hold.
WRONG: list[tuple[str, Any, str]] = [
    ("server", MISSING, "must be given (got nothing)"),
    ("server", "local", "must be a group of settings (got 'local'): write kind: local"),
    ("server.kind", MISSING, "flaskhost:server: must be given (got nothing): write kind: local below"),
    ("server", {"ssh_port": 22}, "server.kind: must be given (got nothing): write one of the kinds that there are: "),
    (
        "server.kind",
        "azure",
        "must be 'local' or 'existing' or 'aws' (got 'azure'): write one of the kinds that there are: local, existing",
    ),
    ("server.name", "-x", "must be a container's and host's name"),
    ("server.name", "My_server", "must be a container's and host's name"),
    ("server.name", "x" * 64, "must be a container's and host's name"),
    ("server.image", "Ubuntu 24.04", "must be auto or the name of a container image"),
    ("server.ssh_port", 0, "must be from 1 to 65535 (got 0)"),
    ("server.http_port", "eighty", "must be a whole number (got 'eighty')"),
    ("server.https_port", 65536, "must be from 1 to 65535"),
    ("server.https_port", 44.3, "must be a whole number (got 44.3)"),
    ("server.http_port", 20022, "must differ from server.ssh_port (got 20022)"),
    ("server.ssh_port", 20443, "must differ from server.https_port, which is 20443 by default"),
    ("server.app_port", 0, "must be from 1 to 65535 (got 0)"),
    ("server.trust_machine_authorities", "yes", "must be true or false (got 'yes')"),
    ("server.port", 1, "is not a setting (got 'port'): remove it, or write another kind of server"),
    ("server.sshport", 1, "is not a setting (got 'sshport'): did you mean server.ssh_port?"),
    ("app", MISSING, "must be given (got nothing): write at least name and source"),
    ("app.name", MISSING, "must be given (got nothing): write a name such as guestbook"),
    ("app.name", "Guestbook", "must start with a letter"),
    ("app.name", "guest_book", "must start with a letter"),
    ("app.name", "guestbook-", "not end in -"),
    ("app.name", "g" * 32, "at most 31 characters"),
    ("app.name", "guest\n", "must start with a letter"),
    ("app.name", "root", "is a name that the system or flaskhost uses (got 'root'): choose another one"),
    ("app.name", "www-data", "is a name that the system"),
    ("app.name", "nginx", "is a name that the system"),
    ("app.name", "flaskhost", "is a name that the system"),
    ("app.name", "systemd-app", "is a name that the system"),
    ("app.name", "flaskhost-build", "is a name that the system or flaskhost uses"),
    ("app.name", "flaskhost-default", "is a name that the system or flaskhost uses"),
    ("app.name", "tls", "is a name that the system or flaskhost uses"),
    ("app.name", 5, "must be text, and YAML reads this as a number (got 5): write it in quotes"),
    ("app.name", "systemd-shop", "choose another one, such as my-systemd-shop"),
    ("app.source", MISSING, "must be given (got nothing): write repository: or folder:"),
    ("app.source", "../app", "must be a group of settings (got '../app'): write repository: or folder: below it"),
    ("app.source", {}, "app.source.repository: must be given (got nothing): write a repository, or a folder"),
    ("app.source", {"folder": "a", "repository": "b"}, "must be a repository or a folder, not both"),
    ("app.branch", "main", "is not a setting (got 'branch'): did you mean app.version?"),
    ("app.source.folder", "", "must be a folder on this machine"),
    ("app.source.folder", "a\nb", "must be a folder on this machine"),
    ("app.version", "v1.0.0", "must not be given for a folder"),
    ("app.commit", COMMIT, "must not be given for a folder"),
    ("app.compiler", "gcc", "must be true or false (got 'gcc')"),
    ("web.https", 443, "must be true or false (got 443)"),
    ("app.allow_branch", "perhaps", "must be true or false (got 'perhaps')"),
    ("app.mode", "staging", "must be 'production' or 'development' (got 'staging'): choose one of these"),
    ("app.development", True, "must be a group of settings"),
    ("app.development.port", 80, "must be from 1024 to 65535 (got 80)"),
    ("app.development.debug", "perhaps", "must be true or false (got 'perhaps')"),
    ("app.development.allowed_networks", "192.0.2.0/24", "must be a list (got '192.0.2.0/24')"),
    ("app.development.allowed_networks", ["office"], "app.development.allowed_networks[0]: must be a network in CIDR"),
    ("app.development.allowed_networks", ["192.0.2.7/24"], "(got '192.0.2.7/24'): write 192.0.2.0/24"),
    ("app.development.allowed_networks", ["0.0.0.0/0"], "must be a network of /8 or smaller (got '0.0.0.0/0'): name"),
    ("app.development.allowed_networks", ["::/0"], "must be a network of /16 or smaller (got '::/0'): name"),
    ("app.development.allowed_networks", ["128.0.0.0/1"], "or write everyone if the world shall run code"),
    ("app.development.allowed_networks", ["127.0.0.0/8"], "must not be the server itself, which may always reach it"),
    ("app.python", 3.1, "must be text, and YAML reads this as a number (got 3.1): write it in quotes"),
    ("app.python", "2.7", "must be 3.N or 3.N.P"),
    ("app.python", "3.7", "from 3.8 on"),
    ("app.python", ">=3.11", "must be 3.N or 3.N.P"),
    ("app.python_mirror", "http://mirror.example.com/x", "must be a URL with https:// or file://"),
    ("app.python_mirror", "https://me:secret@mirror.example.com/x", "must be a URL with https:// or file://"),
    ("app.dependencies", "Pipfile.lock", "must be auto, uv.lock, poetry.lock or a .txt file inside the source"),
    ("app.dependencies", "../requirements.txt", "must be auto, uv.lock, poetry.lock or a .txt file inside"),
    ("app.wsgi", "wsgi", "must be module:attribute (got 'wsgi'): write it such as wsgi:app"),
    ("app.wsgi", "wsgi:app; rm -rf /", "must be module:attribute"),
    ("app.wsgi", "wsgi:create_app(open)", "must be module:attribute"),
    ("app.build", "one\ntwo", "must be one line of text"),
    ("app.build", " ", "must be one line of text"),
    ("app.build", "x" * 5000, "must have at most 4096 characters"),
    ("app.build_timeout", 0, "must be from 1 to 3600 seconds"),
    ("app.env_example", "../.env", "must be a file inside the source"),
    ("app.env_example", "/etc/environment", "must be a file inside the source"),
    ("app.on_release", "one\ntwo", "must be one line of text"),
    ("app.on_release_timeout", 3601, "must be from 1 to 3600 seconds"),
    ("app.lock_wait", -1, "must be from 0 to 3600 seconds"),
    ("app.migrate", "", "must be one line of text"),
    ("app.migrate", None, "must be text (got null)"),
    ("app.migrate_timeout", 0, "must be from 1 to 10800 seconds (got 0)"),
    ("app.backup_before_migrate", "later", "must be true or false"),
    ("app.backup_before_migrate", True, "needs DATABASE_URL or SQLALCHEMY_DATABASE_URI in env or secrets"),
    ("app.maintenance", "yes", "must be true or false"),
    ("app.way_back", "forward", "must be 'keep', 'downgrade' or 'refuse' (got 'forward')"),
    ("app.static", "/static", "must be a folder inside the source"),
    ("app.static", "app/../..", "must be a folder inside the source"),
    ("app.keep", 1, "must be from 2 to 100 (got 1)"),
    ("app.keep", True, "must be a whole number (got true)"),
    ("app.packages", "libvips42", "must be a list (got 'libvips42'): write it in brackets"),
    ("app.packages", ["libvips42; reboot"], "app.packages[0]: must be the name of a Debian package"),
    ("app.packages", ["jq", "jq"], "must not name anything twice"),
    ("app.helth", {}, "is not a setting (got 'helth'): did you mean app.health?"),
    ("app.domains", [], "is not a setting (got 'domains'): did you mean web.domains?"),
    ("app.gunicorn", 4, "must be a group of settings"),
    ("app.gunicorn.workers", 0, "must be from 1 to 1000"),
    ("app.gunicorn.threads", -1, "must be from 1 to 1000"),
    ("app.gunicorn.timeout", 0, "must be from 1 to 86400 seconds"),
    ("app.gunicorn.graceful_timeout", "30s", "must be a whole number (got '30s')"),
    ("app.gunicorn.worker_class", "uvicorn", "'sync', 'gthread', 'gevent', 'eventlet' or 'tornado' (got 'uvicorn')"),
    ("app.gunicorn.logs", "syslog", "must be 'journal' or 'files' (got 'syslog')"),
    (
        "app.gunicorn",
        {"logs": "files", "settings": {"accesslog": "/a"}},
        "settings.accesslog: must not be given where app.gunicorn.logs is files (got '/a'): remove one of the two",
    ),
    ("app.user", "root", "must be 'www-data' (got 'root')"),
    ("app.tcp_port", 80, "must be from 1024 to 65535"),
    ("app.tcp_port", "8000/tcp", "must be a whole number"),
    ("app.gunicorn.version", 23.0, "write it in quotes"),
    ("app.gunicorn.version", ">=20", "must be a version number"),
    ("app.gunicorn.settings", [], "must be a group of names and values"),
    ("app.gunicorn.settings", {"bind": "0.0.0.0:80"}, "belongs to the units of flaskhost"),
    ("app.gunicorn.settings", {"workers": 3}, "is set elsewhere (got 'workers'): use app.gunicorn.workers"),
    ("app.gunicorn.settings", {"max_request": 3}, "is no setting of Gunicorn"),
    ("app.gunicorn.settings", {"proc_name": "a\x00b"}, "must be text without control characters"),
    ("app.gunicorn.settings", {"max_requests": float("nan")}, "must be a finite number"),
    ("app.health.path", "health", "must start with / (got 'health'): write a path such as /health"),
    ("app.health.path", "/a b", "must be the path of a URL"),
    ("app.health.path", "//host/", "must be the path of a URL"),
    ("app.health.status", 99, "must be from 100 to 599"),
    ("app.health.attempts", 0, "must be from 1 to 100"),
    ("app.health.seconds", 0, "must be from 1 to 3600 seconds"),
    ("app.health.warm_up", ["shop"], "must start with / (got 'shop')"),
    ("app.health.warm_up", "/", "must be a list"),
    ("app.processes", ["celery"], "must be a group of names and values"),
    ("app.processes", {"a-b": {"command": "x"}}, "must start with a letter, hold only a-z and 0-9"),
    ("app.processes", {"gunicorn": {"command": "x"}}, "is the name of the application server's own unit"),
    ("app.processes.worker", "celery", "must be a group of settings (got 'celery')"),
    ("app.processes.worker", {"count": 2}, "worker.command: must be given (got nothing): add command below app.proc"),
    ("app.processes.worker", {"command": "x", "counts": 2}, "did you mean app.processes.worker.count?"),
    ("app.processes.mail", {"command": "x", "counts": 2}, "did you mean app.processes.mail.count?"),
    ("app.processes.worker.command", "", "must be one line of text"),
    ("app.processes.worker.count", 0, "must be from 1 to 100 (got 0)"),
    ("app.processes.worker.memory", "512 MB", "must be a size as systemd writes it"),
    ("app.processes.worker.memory", 512, "must be text, and YAML reads this as a number (got 512)"),
    ("app.processes.worker.stop_timeout", 0, "must be from 1 to 1800 seconds (got 0)"),
    ("app.processes.worker.settle", -1, "must be from 0 to 600 seconds (got -1)"),
    ("app.jobs", "daily", "must be a group of names and values"),
    (
        "app.jobs.cleanup",
        {"command": "x"},
        "cleanup.schedule: must be given (got nothing): add schedule below app.jobs",
    ),
    ("app.jobs.cleanup.command", "a\nb", "must be one line of text"),
    ("app.jobs.cleanup.hosts", "last", "must be 'first' or 'all' (got 'last')"),
    ("app.jobs.cleanup.timeout", "1h", "must be a whole number (got '1h')"),
    *(
        ("app.jobs.cleanup.schedule", wrong, "must be a calendar event as systemd writes it")
        for wrong in (
            "",
            "UTC",
            " UTC",
            "0 3 * * *",
            "03",
            "3am",
            "*-*-* 03:00:00\n",
            "*-*-* 03:00:00; reboot",
            "Someday 3:00",
        )
    ),
    ("app.watch", 15, "must be a group of settings (got 15)"),
    ("app.watch.seconds", 3601, "must be from 0 to 3600 seconds"),
    ("app.watch.requests", 0, "must be from 1 to 1000000"),
    ("app.watch.errors", 101, "must be from 1 to 100 percent"),
    ("web", [], "must be a group of settings"),
    ("web.domains", "localhost", "must be a list (got 'localhost')"),
    ("web.domains", ["https://example.com"], "web.domains[0]: must be a host name"),
    ("web.domains", ["example.com:8080"], "must be a host name"),
    ("web.domains", ["*"], "must be a host name"),
    ("web.domains", ["*.com"], "must be a host name"),
    ("web.domains", ["a.*.com"], "must be a host name"),
    ("web.domains", ["300.1.1.1"], "must be a host name"),
    ("web.domains", ["::1"], "must be a host name"),
    ("web.domains", ["a_b.example"], "must be a host name"),
    ("web.domains", ["x;} server {"], "must be a host name"),
    ("web.domains", ["Example.com"], "must be in lower case (got 'Example.com'): write example.com"),
    ("web.domains", ["müller.example"], "must be in its IDNA form"),
    ("web.domains", ["a.example", "a.example"], "must not name anything twice"),
    ("web.redirects", "www.example.com", "must be a list (got 'www.example.com')"),
    ("web.redirects", ["www.example.com/shop"], "web.redirects[0]: must be a host name"),
    ("web.redirects", ["a.example", "a.example"], "must not name anything twice"),
    ("web.body_size", "10 MB", "must be a size as Nginx writes it"),
    ("web.body_size", "10m;", "must be a size as Nginx writes it"),
    ("web.timeout", 0, "must be from 1 to 86400 seconds"),
    ("web.static", {}, "web.static.url: must be given (got nothing): add url below web.static"),
    ("web.static", {"url": "static"}, "must start and end with /"),
    ("web.static", {"url": "/"}, "must start and end with / and not be / alone"),
    ("web.static", {"url": "/a/../b/"}, "must start and end with /"),
    ("web.static", {"url": "/s/", "expires": "30 days"}, "must be a time as Nginx writes it"),
    ("web.media", {"url": "/static/"}, "must differ from web.static.url"),
    ("web.media", {"url": "/m;}/"}, "must start and end with /"),
    ("web.media", {"url": "/m/", "expires": 30}, "must be text, and YAML reads this as a number (got 30)"),
    ("env", ["A=1"], "must be a group of names and values"),
    ("env", {"MY-NAME": "a"}, "must be letters, digits and _, not start with a digit"),
    ("env", {"my.name": "a"}, "(got 'my.name'): rename it, for example to my_name"),
    ("env", {"1ST": "a"}, "not start with a digit"),
    ("env", {"A B\n": "a"}, "must be letters"),
    ("env", {"LISTEN_FDS": "3"}, "is a name that belongs to the host (got 'LISTEN_FDS'): remove it"),
    ("env", {"PATH": "/bin"}, "is a name that belongs to the host"),
    ("env", {"NOTIFY_SOCKET": "x"}, "is a name that belongs to the host"),
    ("env", {"WEB_CONCURRENCY": 3}, "use app.gunicorn.workers instead"),
    ("env", {"FLASKHOST_X": "x"}, "is a name that flaskhost sets itself"),
    ("env", {"DEBUG": True}, "must be text, and YAML reads this as true or false (got true)"),
    ("env", {"RATE": 1.5}, "must be text, and YAML reads this as a number"),
    ("env", {"ID": 2**53 + 1}, "must be text, and YAML reads this as a number"),
    ("env", {"A": None}, 'must be text (got null): write a text, or "" for an empty one'),
    ("env", {"A": ["x"]}, "must be text"),
    ("env", {"A": "\n\na"}, "must not begin with a line end, for Pulumi loses one there"),
    ("env", {"A": "a\x00b"}, "must not hold control characters"),
    ("env", {"A": "a\rb"}, "must not hold control characters"),
    ("env", {"A": "a\x1b[0m"}, "must not hold control characters"),
    ("env", {"A": "a\ud800"}, "must be valid Unicode text"),
    ("env", {"A": "ü" * (48 * 1024)}, "must have at most 98304 bytes in all, secrets included"),
    ("env", {f"A{number}": "x" * 10_000 for number in range(10)}, "must have at most 98304 bytes in all"),
    ("secrets", {"A": "x"}, "digest_key: must be given where there are secrets (got nothing): make one with: openssl"),
    ("secrets", {"A-B": "x"}, "must be letters"),
    ("layout", "/srv", "must be a group of settings"),
    ("layout.root", "srv", "must be an absolute path"),
    ("layout.root", "/srv/", "without / at its end"),
    ("layout.root", "/srv/../etc", "must be an absolute path"),
    ("layout.root", "/srv/a b", "must be an absolute path"),
    ("layout.root", "/srv/" + "a" * 40, "at most 40"),
    ("layout.root", "/", "must be an absolute path"),
    ("layout.root", "/root", "must not be a folder of the system or of a person (got '/root'): write /srv or /var/www"),
    ("layout.root", "/home/me", "must not be a folder of the system or of a person"),
    ("layout.root", "/usr/local", "must not be a folder of the system"),
    ("credentials", "a key", "must be a group of settings (got [secret])"),
    ("credentials.ssh_key", "ssh-ed25519 AAAA", "must be the whole text of a private SSH key (got [secret]): hand the"),
    ("credentials.bastion_key", 5, "must be text, and YAML reads this as a number (got [secret])"),
    ("credentials.sudo_password", "two\nlines", "must be one line without control characters (got [secret])"),
    ("credentials.deploy_key", "", "must be the whole text of a private SSH key (got [secret])"),
    ("credentials.git_token", "with space", "must be visible ASCII characters without spaces (got [secret])"),
    ("credentials.password", "x", "is not a setting (got 'password'): did you mean credentials.sudo_password?"),
    ("purge", "yes", "must be true or false (got 'yes')"),
    ("digest_key", "short", "must have at least 32 visible ASCII characters (got [secret])"),
    ("digest_key", "k" * 31 + "\n", "must have at least 32 visible ASCII characters"),
    ("secret", {"A": "hidden"}, "is not a setting (got 'secret'): did you mean secrets?"),
    ("stack", "prod", "is not a setting"),
]


@pytest.mark.parametrize(("place", "value", "words"), WRONG)
def test_a_wrong_setting_is_named_with_its_rule_its_value_and_its_repair(place: str, value: Any, words: str) -> None:
    """Promise: one line says where, what, and what to do."""
    lines = problems(changed(SMALLEST, place, value))
    (line,) = [line for line in lines if words in line]
    assert line.startswith("flaskhost:")
    assert " (got " in line
    assert "): " in line
    assert len(line) < 600


FOR_ANOTHER_VERSION = (
    f"must be the commit of app.version, which is 'v1.0.0' (got 'v0.9.0@{COMMIT}'): "
    "remove it, and the commit of that version is looked up"
)
WRONG_FROM_REPOSITORY: list[tuple[str, Any, str]] = [
    ("app.source.repository", "--upload-pack=evil", "must be the place of a git repository"),
    ("app.source.repository", "ext::sh -c evil", "must be the place of a git repository"),
    ("app.source.repository", "http://git.example.com/app.git", "must be reached by https, ssh or file"),
    ("app.source.repository", "https://git.example.com", "must name a host and a path"),
    ("app.source.repository", "ssh://-oProxyCommand=evil/x", "must name a host and a path"),
    ("app.source.repository", "host:app.git", "must be the place of a git repository"),
    ("app.source.repository", "example:Guest Book", "must name a bundled example"),
    ("app.source.repository", "a\nb", "must be the place of a git repository"),
    ("app.source.repository", None, "must be text (got null)"),
    ("app.source.via", "ftp", "must be 'workstation' or 'server' (got 'ftp')"),
    ("app.source.host_key", "SHA256:abc", "must be a public SSH host key, not its fingerprint"),
    ("app.source.branch", "main", "is not a setting (got 'branch')"),
    ("app.version", 1.1, "must be text, and YAML reads this as a number (got 1.1): write it in quotes"),
    ("app.version", "--help", "must be a tag, a branch or a commit"),
    ("app.version", "a..b", "must be a tag, a branch or a commit"),
    ("app.version", "v1 0", "must be a tag, a branch or a commit"),
    ("app.version", "v1^{}", "must be a tag, a branch or a commit"),
    ("app.version", "a.lock", "must be a tag, a branch or a commit"),
    ("app.commit", "3f2a", "must be the 40 lower-case hexadecimal digits of a commit"),
    ("app.commit", COMMIT.upper(), "must be the 40 lower-case hexadecimal digits"),
    ("app.commit", 10**39, "must be text, and YAML reads this as a number"),
    ("app.commit", "v1.0.0@3f2a", "must be the 40 lower-case hexadecimal digits of a commit"),
    ("app.commit", f"v0.9.0@{COMMIT}", FOR_ANOTHER_VERSION),
]


@pytest.mark.parametrize("version", ["v1.0.0", "shop@1.0.0", "v" * 200])
def test_a_commit_may_name_its_version(version: str) -> None:
    """Promise: whatever git lets a tag be called, what a rollback writes beside it is accepted and told apart."""
    config = changed(changed(FROM_REPOSITORY, "app.version", version), "app.commit", f"{version}@{COMMIT}")
    assert rules.commit_and_version(str(load(config).app.commit)) == (COMMIT, version)


@pytest.mark.parametrize(("place", "value", "words"), WRONG_FROM_REPOSITORY)
def test_a_wrong_repository_or_version_is_named(place: str, value: Any, words: str) -> None:
    """Promise: nothing that git would read as an option or a command gets through."""
    (line,) = problems(changed(FROM_REPOSITORY, place, value))
    assert line.startswith(f"flaskhost:{place}: {words}")


WRONG_EXISTING: list[tuple[str, Any, str]] = [
    ("server.address", MISSING, "must be given (got nothing): write the server's name or IP address"),
    ("server.address", "root@203.0.113.7", "must be a host's name or IP address, without user, scheme and port"),
    ("server.address", "203.0.113.7:22", "must be a host's name or IP address"),
    ("server.address", "ssh://app1.example.com", "must be a host's name or IP address"),
    ("server.address", "300.1.1.1", "must be a host's name or IP address"),
    ("server.address", "-oProxyCommand=evil", "must be a host's name or IP address"),
    ("server.address", "a b", "must be a host's name or IP address"),
    ("server.port", 0, "must be from 1 to 65535 (got 0)"),
    ("server.ssh_port", 22, "is not a setting (got 'ssh_port')"),
    ("server.user", "root; reboot", "must be the name of a user"),
    ("server.user", "-x", "must be the name of a user"),
    ("server.host_key", "SHA256:abcdef", "must be a public SSH host key, not its fingerprint"),
    ("server.host_key", public_key("ssh-rsa"), "must be an Ed25519 or ECDSA key (an RSA key would be offered as"),
    ("server.host_key", public_key("ssh-dss"), "must be an Ed25519 or ECDSA key (other kinds are not known here)"),
    ("server.host_key", "ssh-ed25519", "must be an SSH host key"),
    ("server.host_key", HOST_KEY[:-20], "must be a whole SSH host key"),
    ("server.host_key", f"{HOST_KEY}\n{HOST_KEY}", "must be an SSH host key"),
    ("server.host_key", public_key("ssh-ed25519").replace("ssh-ed25519", "ecdsa-sha2-nistp256"), "must be a whole SSH"),
    ("server.bastion", "bastion.example.com", "must be a group of settings"),
    ("server.bastion.address", 5, "must be text"),
    ("server.bastion.port", 70000, "must be from 1 to 65535"),
    ("server.bastion.user", "a b", "must be the name of a user"),
    ("server.bastion.host_key", public_key("ssh-rsa"), "must be an Ed25519 or ECDSA key"),
]


SEVERAL: dict[str, Any] = {
    **EXISTING,
    "server": {
        "kind": "existing",
        "hosts": [
            {"address": "203.0.113.7", "host_key": HOST_KEY},
            {"address": "203.0.113.8", "host_key": public_key("ecdsa-sha2-nistp256"), "port": 2222},
        ],
    },
}
WRONG_SEVERAL: list[tuple[str, Any, str]] = [
    ("server.hosts", [], "must not be empty (got []): write it as - address"),
    ("server.hosts", "203.0.113.7", "must be a list"),
    ("server.hosts[1].address", "a b", "must be a host's name or IP address"),
    ("server.hosts[1].address", MISSING, "must be given"),
    ("server.hosts[1].port", 0, "must be from 1 to 65535 (got 0)"),
    ("server.hosts[1].host_key", "SHA256:abcdef", "must be a public SSH host key, not its fingerprint"),
    ("server.hosts[1].host_key", HOST_KEY, "must differ from server.hosts[0].host_key"),
    ("server.hosts[1].user", "admin", "is not a setting"),
    ("server.address", "203.0.113.7", "must not be given beside server.hosts"),
    ("server.host_key", HOST_KEY, "must not be given beside server.hosts"),
    ("env.DATABASE_URL", "sqlite:////srv/shop/shared/data/shop.db", "must not be an SQLite database with several"),
    ("app.mode", "development", ""),
    ("drift", "sometimes", "must be 'off' or 'preview'"),
]


@pytest.mark.parametrize(("place", "value", "words"), WRONG_SEVERAL)
def test_a_wrong_list_of_hosts_is_named(place: str, value: Any, words: str) -> None:
    """Promise: each entry is checked like the only host of a server, and the message says which entry it is."""
    lines = problems(at_place(SEVERAL, place, value))
    if place == "app.mode":
        assert "flaskhost:server.hosts: must be one host in development mode" in "".join(lines)
        return
    (line,) = lines
    assert line.startswith(f"flaskhost:{place}: {words}")


WRONG_ON_AWS: list[tuple[str, Any, str]] = [
    ("server.instance_type", "t4g", "must be a type of EC2 instances (got 't4g'): write it such as t4g.small"),
    ("server.instance_type", "db.t4g.micro", "must be a type of EC2 instances"),
    ("server.count", 0, "must be from 1 to 20 (got 0)"),
    ("server.count", "two", "must be a whole number (got 'two')"),
    ("server.ubuntu", "20.04", "must be '24.04' or '22.04' (got '20.04')"),
    ("server.ubuntu", 24.04, "must be '24.04' or '22.04' (got 24.04)"),
    ("server.ami", "ami-latest", "must be the ID of an image: ami- and digits (got 'ami-latest'): write it as ami-0a"),
    ("server.rebuild", "next week", "must be a word of letters, digits, . _ -"),
    (
        "server.zone",
        "eu-central-1",
        "must be an availability zone (got 'eu-central-1'): write it such as eu-central-1a",
    ),
    ("server.network", "default", "must be a group of settings"),
    ("server.network.kind", "shared", "must be 'new', 'default' or 'given' (got 'shared')"),
    ("server.network.cidr", "10.20.0.0", "must be from /16 to /24 (got '10.20.0.0')"),
    ("server.network.cidr", "10.20.0.1/16", "must be an IPv4 network in CIDR notation"),
    ("server.network.cidr", "2001:db8::/56", "must be an IPv4 network in CIDR notation"),
    ("server.network.cidr", "10.0.0.0/8", "must be from /16 to /24"),
    ("server.network.cidr", "192.0.2.0/24", "must be a private network (RFC 1918)"),
    ("server.network.zones", "eu-central-1a", "must be a list"),
    ("server.network.vpc", "0a1b2c3d4e5f60718", "must be the ID of a VPC: vpc- and digits"),
    ("server.network.public_subnets", ["subnet-x"], "must be the ID of a subnet: subnet- and digits"),
    ("server.network.private_subnets", ["subnet-x"], "must be the ID of a subnet: subnet- and digits"),
    ("server.ssh", "bastion", "must be 'direct' or 'ssm' (got 'bastion')"),
    ("server.ssm_port", 0, "must be from 1 to 65535 (got 0)"),
    ("server.allow_ssh_from", "192.0.2.0/24", "must be a list (got '192.0.2.0/24')"),
    (
        "server.allow_ssh_from",
        ["office"],
        "must be a network in CIDR notation, or one address (got 'office'): write it",
    ),
    ("server.allow_ssh_from", ["192.0.2.7/24"], "(got '192.0.2.7/24'): write 192.0.2.0/24"),
    ("server.allow_ssh_from", ["fe80::1%eth0"], "must be a network in CIDR notation, or one address"),
    ("server.allow_ssh_from", ["192.0.2.7", "192.0.2.7/32"], "must not name anything twice"),
    (
        "server.allow_ssh_from",
        ["0.0.0.0/0"],
        "must be a network of /8 or smaller (got '0.0.0.0/0'): name your own networks; server.allow_ssh_from_anywhere",
    ),
    ("server.allow_ssh_from", ["128.0.0.0/1"], "must be a network of /8 or smaller"),
    ("server.allow_ssh_from", ["::/0"], "must be a network of /16 or smaller (got '::/0')"),
    ("server.allow_ssh_from_anywhere", "yes", "must be true or false (got 'yes')"),
    ("server.root_volume", 7, "must be from 8 to 16384 GiB (got 7)"),
    ("server.data_volume", 0, "must be from 1 to 16384 GiB (got 0)"),
    ("server.snapshots", 1001, "must be from 0 to 1000 days (got 1001)"),
    ("server.restore_from", "vol-0a1b2c3d4e5f60718", "must be the ID of a snapshot: snap- and digits"),
    ("server.tags", ["team"], "must be a group of names and values"),
    ("server.tags", {"aws:team": "x"}, "is a tag that AWS or flaskhost sets (got 'aws:team'): choose another name"),
    ("server.tags", {"flaskhost:stack": "x"}, "is a tag that AWS or flaskhost sets"),
    ("server.tags", {"Name": "x"}, "is a tag that AWS or flaskhost sets"),
    ("server.tags", {"te*m": "x"}, "must be letters, digits, blanks and _ . : / = + - @ (got 'te*m')"),
    ("server.tags", {"team": "a\nb"}, "must be letters, digits, blanks and _ . : / = + - @"),
    ("server.tags", {"team": "x" * 257}, "must have at most 256 characters"),
    ("server.address", "203.0.113.7", "is not a setting (got 'address')"),
    ("server.bastion.address", "a b", "must be a host's name or IP address"),
    ("dns", "example.com", "must be a group of settings"),
    ("dns.kind", "cloudflare", "must be 'none' or 'route53' (got 'cloudflare')"),
    ("dns.zone", "example", "must be the name of a hosted zone, in lower case"),
    ("dns.zone", "Example.com", "must be the name of a hosted zone, in lower case"),
    ("dns.caa", ["Let's Encrypt"], "dns.caa[0]: must be the name that an authority gives itself"),
    ("dns.health_check", "yes", "must be true or false (got 'yes')"),
    ("balancer", True, "must be a group of settings"),
    ("balancer.certificate", "shop.pem", "must be the ARN of a certificate of AWS Certificate Manager"),
    ("balancer.drain", 3601, "must be from 0 to 3600 seconds (got 3601)"),
    ("database", "rds", "must be a group of settings"),
    ("database.kind", "aurora", "must be 'none' or 'rds' (got 'aurora')"),
    ("database.engine", "mariadb", "must be 'postgresql' or 'mysql' (got 'mariadb')"),
    ("database.version", 17, "must be text, and YAML reads this as a number (got 17): write it in quotes"),
    ("database.version", "latest", "must be a version number"),
    ("database.instance_class", "t4g.micro", "must be a class of RDS (got 't4g.micro'): write it such as db.t4g.micro"),
    ("database.storage", 10, "must be from 20 to 65536 GiB (got 10)"),
    ("database.storage_limit", 10, "must be from 20 to 65536 GiB (got 10)"),
    ("database.multi_az", "both", "must be true or false (got 'both')"),
    ("database.backup_days", 0, "must be from 1 to 35 days (got 0)"),
    ("database.name", "my-shop", "must begin with a letter and hold a-z, 0-9 and _ only, at most 63"),
    ("database.driver", "psycopg[c]", "must be the name of a driver"),
    ("database.variable", "DATABASE-URL", "must be letters, digits and _, not start with a digit"),
    ("database.variable", "PATH", "is a name that belongs to the host (got 'PATH')"),
    ("database.restore_from", "a snapshot", "must be the name or ARN of a snapshot of RDS"),
    ("redis", "elasticache", "must be a group of settings"),
    ("redis.kind", "redis", "must be 'none' or 'elasticache' (got 'redis')"),
    ("redis.engine", "memcached", "must be 'valkey' or 'redis' (got 'memcached')"),
    ("redis.version", 7.1, "must be text, and YAML reads this as a number (got 7.1): write it in quotes"),
    ("redis.version", "8", "must be a version with one dot, from 6.0 on (got '8'): write it in quotes, such as"),
    ("redis.version", "7.0.7", "must be a version with one dot, from 6.0 on (got '7.0.7')"),
    ("redis.version", "17.1", "must be a version with one dot, from 6.0 on (got '17.1')"),
    ("redis.node_type", "t4g.micro", "must be a type of ElastiCache (got 't4g.micro'): write it such as cache.t4g"),
    ("redis.replicas", 6, "must be from 0 to 5 (got 6)"),
    ("redis.variable", "HOME", "is a name that belongs to the host (got 'HOME')"),
    ("media", "s3", "must be a group of settings"),
    ("media.kind", "gcs", "must be 'local', 's3' or 'none' (got 'gcs')"),
    ("media.variable", "FLASKHOST_BUCKET", "is a name that flaskhost sets itself"),
    ("media.cors_origins", ["https://example.com/"], "must be the origin of a page: scheme and host, without path"),
    ("media.cors_origins", ["*"], "must be the origin of a page: scheme and host, without path"),
    ("media.keep_versions", 0, "must be from 1 to 3650 days (got 0)"),
]


def on_aws(place: str, value: Any) -> dict[str, Any]:
    """Return a configuration with a value put in, whose kinds are those that have this setting."""
    config = copy.deepcopy(ON_AWS)
    if place.startswith("dns."):
        config["dns"] = {"kind": "route53", "zone": "example.com"}
    if place.startswith("balancer."):
        config["server"]["count"], config["media"] = 2, {"kind": "none"}
    if place.endswith(("vpc", "subnets")):
        subnet = "subnet-0a1b2c3d4e5f60718"
        config["server"]["network"] = {"kind": "given", "vpc": "vpc-0a1b2c3d4e5f60718", "public_subnets": [subnet]}
    return at_place(config, place, value)


@pytest.mark.parametrize(("place", "value", "words"), WRONG_ON_AWS)
def test_a_wrong_setting_for_aws_is_named(place: str, value: Any, words: str) -> None:
    """Promise: one line says where, what, and what to do, before AWS is asked for anything."""
    lines = problems(on_aws(place, value), region=REGION)
    (line,) = [line for line in lines if words in line]
    assert line.startswith(f"flaskhost:{place}")
    assert " (got " in line
    assert "): " in line
    assert line.isprintable()


GOOD_ON_AWS: list[tuple[str, Any]] = [
    ("server.instance_type", "u-6tb1.56xlarge"),
    ("server.instance_type", "m7i-flex.large"),
    ("server.count", 1),
    ("server.ubuntu", "22.04"),
    ("server.ami", "ami-0a1b2c3d"),
    ("server.rebuild", "2026-12"),
    ("server.zone", "us-gov-west-1a"),
    ("server.network.kind", "default"),
    ("server.network.cidr", "172.31.0.0/20"),
    ("server.network.zones", ["eu-central-1a", "eu-central-1c"]),
    ("server.allow_ssh_from", ["10.0.0.0/8", "2001::/16"]),
    ("server.snapshots", 0),
    ("server.tags", {"cost center": "shop/eu = 7 + x@example.com", "empty": ""}),
    ("dns.caa", ["letsencrypt.org"]),
    ("database.variable", "SQLALCHEMY_DATABASE_URI"),
    ("database.version", "8.4.3"),
    ("database.restore_from", "rds:shop-2026-11-20-03-10"),
    ("database.restore_from", "arn:aws-cn:rds:cn-north-1:123456789012:snapshot:before-2-0"),
    ("media.cors_origins", ["https://www.example.com", "http://localhost:5000"]),
]


@pytest.mark.parametrize(("place", "value"), GOOD_ON_AWS)
def test_what_people_write_for_aws_is_kept_exactly(place: str, value: Any) -> None:
    """Promise: a value that is accepted reaches AWS as it was written."""
    found: Any = load(on_aws(place, value), region=REGION).model_dump(mode="json")
    for name in place.split("."):
        found = found[name]
    assert found == value


def at_place(config: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a configuration with a value put in, also into an entry of a list."""
    made = copy.deepcopy(config)
    inner: Any = made
    *above, last = [int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", place)]
    for name in above:
        inner = inner.setdefault(name, {}) if isinstance(inner, dict) else inner[name]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    return made


def test_several_hosts_have_a_user_and_a_bastion_together() -> None:
    """Promise: they are one server in several places; each is called by its address, and by an unusual port."""
    found = load(at_place(at_place(SEVERAL, "server.user", "deploy"), "server.bastion", dict(BASTION))).server
    assert isinstance(found, settings.ExistingServers)
    assert [host.label for host in found.hosts] == ["203.0.113.7", "203.0.113.8-2222"]
    assert (found.user, found.public_name) == ("deploy", "203.0.113.7")


def test_one_way_cannot_lead_to_two_hosts() -> None:
    """Promise: the same address twice is a mistake, unless the ports tell the hosts apart."""
    config = at_place(SEVERAL, "server.hosts[1].address", "203.0.113.7")
    assert load(config).server
    (line,) = problems(at_place(config, "server.hosts[1].port", 22))
    assert line.startswith("flaskhost:server.hosts[1].address: must differ from server.hosts[0].address")


def test_the_missing_key_of_one_of_several_hosts_is_answered_with_its_command() -> None:
    """Promise: the command asks that very host, through the bastion if there is one."""
    (line,) = problems(at_place(SEVERAL, "server.hosts[1].host_key", MISSING))
    assert "flaskhost:server.hosts[1].host_key: must be given" in line
    assert "`ssh-keyscan -p 2222 -t ed25519 203.0.113.8`" in line
    behind = at_place(SEVERAL, "server.bastion", dict(BASTION))
    (line,) = problems(at_place(behind, "server.hosts[1].host_key", MISSING))
    assert f"root@{BASTION['address']} ssh-keyscan -p 2222" in line


def test_an_encrypted_sqlite_url_is_refused_and_not_shown() -> None:
    """Promise: it may hold a password."""
    config = {**SEVERAL, "secrets": {"DATABASE_URL": "sqlite:///secret.db"}, "digest_key": KEY}
    (line,) = problems(config)
    assert line.startswith("flaskhost:secrets.DATABASE_URL: must not be an SQLite database")
    assert "secret.db" not in line


def test_drift_in_a_preview_is_for_hosts_that_are_there() -> None:
    """Promise: the keys of a container are made by Pulumi itself, so a preview has none."""
    assert load({**EXISTING, "drift": "preview"}).drift == "preview"
    (line,) = problems({**SMALLEST, "drift": "preview"})
    assert line.startswith("flaskhost:drift: must be off for a server of kind local")


@pytest.mark.parametrize(("place", "value", "words"), WRONG_EXISTING)
def test_a_wrong_way_to_an_existing_server_is_named(place: str, value: Any, words: str) -> None:
    """Promise: a line pasted from somewhere else is refused with what is wrong about it."""
    lines = problems(changed(changed(EXISTING, "server.bastion", dict(BASTION)), place, value))
    (line,) = [line for line in lines if line.startswith(f"flaskhost:{place}: {words}")]
    assert line.isprintable()


def test_an_existing_server_needs_an_address_a_host_key_and_a_login_key() -> None:
    """Promise: three facts are enough; port, user and the rest have the usual values."""
    found = load(EXISTING)
    assert found.server == settings.ExistingServer(kind="existing", address="203.0.113.7", host_key=HOST_KEY)
    assert isinstance(found.server, settings.ExistingServer)
    assert (found.server.port, found.server.user, found.server.bastion) == (22, "root", None)
    assert (found.credentials.ssh_key, found.purge) == (PRIVATE_KEY, False)


def test_a_missing_host_key_is_answered_with_the_command_that_prints_it() -> None:
    """Promise: the command can be copied, and a person is told to compare, or it would prove nothing."""
    config = changed(changed(EXISTING, "server.host_key", MISSING), "server.port", 2222)
    (line,) = problems(config)
    assert line == (
        "flaskhost:server.host_key: must be given, since no host is trusted without its key (got nothing): "
        "obtain it with `ssh-keyscan -p 2222 -t ed25519 203.0.113.7`, compare its fingerprint with the one that the "
        "server's console or owner shows, and write host_key: ssh-ed25519 AAAA…"
    )


def test_the_key_of_a_host_behind_a_bastion_is_asked_for_on_the_bastion() -> None:
    """Promise: the command works where it is typed; the bastion's own key is asked for directly."""
    config = changed(changed(EXISTING, "server.host_key", MISSING), "server.bastion", {"address": "b.example.com"})
    direct, through = problems(config)
    assert "flaskhost:server.bastion.host_key: must be given" in direct
    assert "`ssh-keyscan -p 22 -t ed25519 b.example.com`" in direct
    assert "`ssh -p 22 root@b.example.com ssh-keyscan -p 22 -t ed25519 203.0.113.7`" in through


def test_a_wrong_address_does_not_get_into_the_command() -> None:
    """Promise: what is to be copied into a shell holds nothing that a shell would run."""
    config = changed(changed(EXISTING, "server.host_key", MISSING), "server.address", "$(reboot)")
    assert "`ssh-keyscan -p 22 -t ed25519 ADDRESS`" in "".join(problems(config))


@pytest.mark.parametrize(
    "written",
    [
        HOST_KEY,
        f"{HOST_KEY} root@app1",
        f"203.0.113.7 {HOST_KEY}",
        f"[127.0.0.1]:2222 {HOST_KEY}\n",
    ],
)
def test_a_host_key_is_taken_from_the_line_that_has_it(written: str) -> None:
    """Promise: output of ssh-keyscan and the text of a .pub file can be pasted as they are, and mean the same host."""
    found = load(changed(EXISTING, "server.host_key", written)).server
    assert isinstance(found, settings.ExistingServer)
    assert found.host_key == HOST_KEY


@pytest.mark.parametrize("kind", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"])
def test_an_ecdsa_host_key_is_as_good(kind: str) -> None:
    """Promise: a host without an Ed25519 key can be reached."""
    found = load(changed(EXISTING, "server.host_key", public_key(kind))).server
    assert isinstance(found, settings.ExistingServer)
    assert found.host_key == public_key(kind)


@pytest.mark.parametrize(("kind", "form"), [("ed25519", "OpenSSH"), ("rsa", "PEM"), ("ecdsa", "PKCS8")])
def test_a_login_key_is_what_ssh_keygen_makes(tmp_path: Path, kind: str, form: str) -> None:
    """Promise: each form is taken, with the last newline that Pulumi cuts off; one with a passphrase is refused."""
    for passphrase, ending in (("", "\n"), ("a passphrase", "")):
        file = tmp_path / f"key{len(passphrase)}"
        words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(file)]
        subprocess.run([*words, *([] if form == "OpenSSH" else ["-m", form])], check=True, capture_output=True)
        text = file.read_text()
        config = changed(EXISTING, "credentials.ssh_key", text.removesuffix("\n").replace("\n", "\r\n"))
        if ending:
            assert load(config).credentials.ssh_key == text
        else:
            (line,) = problems(config)
            assert line.startswith("flaskhost:credentials.ssh_key: must be a private key without a passphrase")
            assert "ssh-keygen -t ed25519 -N ''" in line


def test_a_login_key_is_asked_for_with_the_command_that_sets_it() -> None:
    """Promise: the key is handed over on standard input, so that no command line and no history shows it."""
    (line,) = problems(changed(EXISTING, "credentials", {}), "shop")
    assert line.startswith("flaskhost:credentials.ssh_key: must be given for a server of kind existing (got nothing)")
    assert line.endswith("./pulumi config set --secret --path flaskhost:credentials.ssh_key --stack shop < KEYFILE")


def test_credentials_that_nobody_would_use_are_refused() -> None:
    """Promise: a forgotten server.user or server.bastion is found before anything connects."""
    credentials = {"ssh_key": PRIVATE_KEY, "bastion_key": PRIVATE_KEY, "sudo_password": "x"}
    lines = problems(changed(EXISTING, "credentials", credentials))
    assert [line.split(" (got ")[0] for line in lines] == [
        "flaskhost:credentials.bastion_key: must not be given where there is no server.bastion",
        "flaskhost:credentials.sudo_password: must not be given where root logs in",
    ]
    config = changed(changed(EXISTING, "credentials", credentials), "server.user", "admin")
    assert load(changed(config, "server.bastion", dict(BASTION))).credentials.sudo_password == "x"


def test_an_application_is_not_named_like_its_login() -> None:
    """Promise: the account of a person does not become the application's."""
    config = changed(EXISTING, "server.user", "deploy")
    (line,) = problems(changed(config, "app.name", "deploy"))
    assert line == (
        "flaskhost:app.name: must not be server.user, since the application gets an account of its own (got 'deploy'): "
        "choose another name"
    )
    assert load(config).app.name == "guestbook"


def test_credentials_in_plain_text_are_refused_and_never_shown() -> None:
    """Promise: a login key that was forgotten to be encrypted does not get any further."""
    (line,) = problems(EXISTING, secret_keys=set())
    assert line.startswith("flaskhost:credentials: must be encrypted (got [secret]): take it out, and set it with: ")
    assert PRIVATE_KEY not in f"{load(EXISTING)!r}"
    assert not re.search("BEGIN", f"{load(EXISTING)!r}")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("postgresql://shop:secret@db.example.com/shop", "postgresql"),
        ("postgres://db/shop", "postgresql"),
        ("postgresql+psycopg://shop@/shop?host=/run/postgresql", "postgresql"),
        ("mysql+pymysql://shop:secret@db/shop", "mysql"),
        ("mariadb://db/shop", "mysql"),
        ("sqlite:////srv/guestbook/shared/data/shop.db", "sqlite"),
        ("sqlite:///shop.db", None),
        ("mssql+pyodbc://db/shop", None),
        ("", None),
    ],
)
def test_a_dump_needs_the_url_of_a_database_that_can_be_dumped(url: str, kind: str | None) -> None:
    """Promise: what cannot be dumped is an error of the configuration, and not one of the first migration."""
    config = changed(
        changed(SMALLEST, "app.backup_before_migrate", value=True), "env", {"SQLALCHEMY_DATABASE_URI": url}
    )
    assert database_kind(config["env"]) == kind
    if kind:
        assert load(config).app.backup_before_migrate
    else:
        (line,) = problems(config)
        assert line.startswith("flaskhost:app.backup_before_migrate: needs DATABASE_URL or SQLALCHEMY_DATABASE_URI")


@pytest.mark.parametrize(("name", "value"), [("maintenance", True), ("way_back", "downgrade")])
def test_several_hosts_have_no_maintenance_page(name: str, value: object) -> None:
    """Promise: no host serves old code while another one changes the database behind its page."""
    (line,) = problems(at_place(SEVERAL, f"app.{name}", value))
    assert line.startswith(f"flaskhost:app.{name}: must not be given with several hosts")


def test_a_maintenance_page_is_refused_in_development_mode() -> None:
    """Promise: a setting that could do nothing is not taken in silence."""
    config = changed(changed(SMALLEST, "app.mode", "development"), "app.maintenance", value=True)
    (line,) = problems(config)
    assert line.startswith("flaskhost:app.maintenance: must not be given in development mode")


def test_every_setting_is_wrong_at_least_once_in_these_tables() -> None:
    """Promise: a setting that is added gets its wrong value here."""
    tables = (*WRONG, *WRONG_FROM_REPOSITORY, *WRONG_EXISTING, *WRONG_SEVERAL, *WRONG_ON_AWS)
    tried = {re.sub(r"\[\d+\]", "", place) for place, _, _ in tables}
    inside = {f"web.{name}.{field}" for name in ("static", "media") for field in ("url", "expires")}
    assert {written(place) for place in KNOWN} - tried - inside == {"app.health"}


def test_a_name_is_of_a_process_or_of_a_job() -> None:
    """Promise: two units of one name are refused where they are written."""
    one = {"mail": {"command": "x"}}
    config = changed(
        changed(SMALLEST, "app.processes", one), "app.jobs", {"mail": {"command": "x", "schedule": "daily"}}
    )
    (line,) = problems(config)
    assert line.startswith("flaskhost:app.jobs.mail: must not be in app.processes as well, since its unit would have")
    assert line.endswith("): rename one of the two")


def test_development_mode_has_no_processes_and_no_jobs() -> None:
    """Promise: what would never run there is refused."""
    job = {"mail": {"command": "x", "schedule": "daily"}}
    for name, value in (("processes", {"worker": {"command": "x"}}), ("jobs", job)):
        (line,) = problems(changed(SMALLEST, f"app.{name}", value), "dev")
        assert line.startswith(f"flaskhost:app.{name}: must not be given in development mode")
        assert dict(getattr(load(changed(SMALLEST, f"app.{name}", value)).app, name))


def test_all_problems_are_shown_at_once_in_the_order_of_the_settings() -> None:
    """Promise: nobody repairs a file in ten attempts."""
    lines = problems(
        {
            "unknown": 1,
            "digest_key": "short",
            "layout": {"root": "/etc"},
            "secrets": {"BOTH": "x", "PATH": "x"},
            "env": {"BOTH": "y"},
            "web": {"timeout": 0, "domains": ["A"]},
            "app": {"name": "root", "source": {"repository": "../x"}, "health": {"path": "x"}},
            "server": {"kind": "local", "ssh_port": 80, "http_port": 80},
        }
    )
    assert [line.split(": ")[0].removeprefix("flaskhost:") for line in lines] == [
        "server.http_port",
        "app.health.path",
        "app.name",
        "app.version",
        "web.domains[0]",
        "web.timeout",
        "env.BOTH",
        "secrets.PATH",
        "layout.root",
        "digest_key",
        "unknown",
    ]


def test_a_stack_whose_container_would_have_no_hosts_name_has_to_name_it() -> None:
    """Promise: a container's name is its host name as well, and that is found before anything is made."""
    (line,) = problems(SMALLEST, "Prod_1")
    assert line.startswith("flaskhost:server.name: must be given, since flaskhost-Prod_1-guestbook is no host's name")
    assert line.endswith("(got nothing): write one, such as flaskhost-guestbook")
    assert load(changed(SMALLEST, "server.name", "flaskhost-shop"), "Prod_1").server == settings.LocalServer(
        kind="local", name="flaskhost-shop"
    )


def test_a_name_in_env_and_in_secrets_is_refused() -> None:
    """Promise: it is never left to chance which value the application gets."""
    config = {**SMALLEST, "env": {"A": "1"}, "secrets": {"A": "2"}, "digest_key": KEY}
    assert problems(config) == [
        "flaskhost:env.A: must not be in secrets as well (got '1'): remove it from one of the two"
    ]


def test_secrets_ask_for_a_key_with_the_command_that_makes_one() -> None:
    """Promise: the command can be copied, with the stack's own name."""
    (line,) = problems({**SMALLEST, "secrets": {"A": "x"}}, "shop")
    command = "openssl rand -hex 32 | ./pulumi config set --secret flaskhost:digest_key --stack shop"
    assert line.endswith(f"make one with: {command}")


def test_a_secret_in_plain_text_is_refused_where_that_can_be_seen() -> None:
    """Promise: with Pulumi's list of encrypted keys at hand, a forgotten --secret is found."""
    config = {**SMALLEST, "secrets": {"A": "plain-secret"}, "digest_key": KEY}
    lines = problems(config, secret_keys=set())
    assert [line.split(" (got ")[0] for line in lines] == [
        "flaskhost:secrets: must be encrypted",
        "flaskhost:digest_key: must be encrypted",
    ]
    assert "plain-secret" not in "".join(lines)
    assert KEY not in "".join(lines)
    assert load(config, secret_keys={"secrets", "digest_key"}).secrets == {"A": "plain-secret"}


def test_values_below_an_encrypted_key_are_not_shown() -> None:
    """Promise: what Pulumi encrypts stays hidden, whatever the group."""
    (line,) = problems(changed(SMALLEST, "app.health.path", "hidden"), secret_keys={"app"})
    assert line == "flaskhost:app.health.path: must start with / (got [secret]): write a path such as /health"


@pytest.mark.parametrize("place", ["app.source.repository", "env.URL"])
def test_a_password_in_a_url_is_not_shown(place: str) -> None:
    """Promise: a message can be pasted into a chat."""
    url = "https://user:p@ss/word@git.example.com/app\r"
    lines = problems(changed(FROM_REPOSITORY, place, url))
    assert "p@ss" not in "".join(lines)


def test_a_long_value_is_cut() -> None:
    """Promise: one wrong value does not fill the screen."""
    (line,) = problems(changed(SMALLEST, "app.wsgi", "x" * 10_000))
    assert "(10002 characters)" in line
    assert len(line) < 300


def test_an_odd_key_is_written_as_pulumi_writes_it() -> None:
    """Promise: a message is one line, whatever a key holds."""
    (line,) = problems(changed(SMALLEST, "env", {"a\nb": "x"}))
    assert line.startswith('flaskhost:env["a\\nb"]: must be letters')


def test_nothing_can_be_changed_after_loading() -> None:
    """Promise: what was validated is what is deployed."""
    found = load(SMALLEST)
    with pytest.raises(ValidationError):
        found.app.name = "other"


def test_secrets_are_not_in_the_text_of_the_settings() -> None:
    """Promise: printing the settings shows no secret."""
    found = load({**SMALLEST, "secrets": {"A": "canary-value"}, "digest_key": KEY})
    assert "canary-value" not in f"{found!r} {found}"
    assert KEY not in f"{found!r} {found}"


GROUPS = [getattr(settings, name) for name in settings.__all__ if isinstance(getattr(settings, name), type)]


@pytest.mark.parametrize("group", [group for group in GROUPS if issubclass(group, settings.Group)])
def test_every_setting_is_described_in_a_sentence(group: type[settings.Group]) -> None:
    """Promise: the reference that is made from the settings has no gaps."""
    assert (group.__doc__ or "").strip().endswith(".")
    for name, field in group.model_fields.items():
        description = field.description or ""
        assert description[:1].isupper() or description.startswith("auto"), name
        assert description.endswith("."), name


ALL_OF_AWS: dict[str, Any] = {
    **ON_AWS,
    "server": {
        "kind": "aws",
        "count": 2,
        "ssh": "ssm",
        "network": {
            "kind": "given",
            "vpc": "vpc-0a1b2c3d4e5f60718",
            "public_subnets": ["subnet-0a1b2c3d4e5f60718"],
            "private_subnets": ["subnet-0a1b2c3d4e5f60719"],
            "zones": ["eu-central-1a"],
        },
        "zone": "eu-central-1c",
    },
    "dns": {"kind": "route53", "zone": "example.org", "caa": ["letsencrypt.org"]},
    "database": {"kind": "rds", "variable": "URL"},
    "redis": {"kind": "elasticache", "variable": "URL"},
    "media": {"kind": "s3", "variable": "URL"},
    "env": {"URL": "redis://localhost"},
}
"""Every part of AWS, with something wrong in each: a rule between settings has much to look at."""

# A busy machine is slower than the deadline of 0.2 s that Hypothesis has.
unhurried = hypothesis_settings(deadline=None)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PLACES = st.sampled_from([written(place) for place in KNOWN if place[0] not in ("secrets", "digest_key")])


@unhurried
@given(base=st.sampled_from([FROM_REPOSITORY, EXISTING, ON_AWS, ALL_OF_AWS]), place=PLACES, value=JSON)
@example(FROM_REPOSITORY, "web.domains", ["\x1f\xa0"])
@example(ALL_OF_AWS, "web.domains", ["\x1f\xa0"])
@example(ALL_OF_AWS, "server.count", "\xb2")
@example(ALL_OF_AWS, "server.network.zones", 5)
@example(ALL_OF_AWS, "server.network.public_subnets", 5)
@example(ALL_OF_AWS, "database.kind", "\x1f")
@example(ALL_OF_AWS, "redis.kind", ["\x1f"])
@example(ALL_OF_AWS, "dns.caa", 5)
def test_any_value_anywhere_is_accepted_or_explained(base: dict[str, Any], place: str, value: Any) -> None:
    """Promise: no configuration ends in a traceback, and each problem is one printable line."""
    try:
        load(changed(base, place, value), region=REGION)
    except settings.ConfigurationError as error:
        lines = [str(problem) for problem in error.problems]
        assert lines
        assert all(line.startswith("flaskhost:") and line.isprintable() for line in lines)


CANARY = "canary-7f3a"


@unhurried
@given(
    names=st.lists(st.sampled_from(["A", "PATH", "a-b", "LISTEN_FDS", "OK_1"]), min_size=1, unique=True),
    around=st.tuples(st.text(max_size=5), st.text(max_size=5)),
    value=st.sampled_from(["text", "list", "mapping"]),
    key=st.text(max_size=40),
    broken=PLACES,
)
def test_a_secret_is_never_in_a_message(
    names: list[str], around: tuple[str, str], value: str, key: str, broken: str
) -> None:
    """Promise: whatever is wrong, and wherever, the message holds no secret and no key."""
    text = f"{around[0]}{CANARY}{around[1]}"
    shape: Any = {"text": text, "list": [text], "mapping": {"inner": text}}[value]
    config = changed(FROM_REPOSITORY, broken, ["wrong"])
    config["secrets"] = dict.fromkeys(names, shape)
    config["digest_key"] = f"{CANARY}{key}"[:20]
    with pytest.raises(settings.ConfigurationError) as caught:
        load(config, secret_keys={"secrets"})
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


@unhurried
@given(st.text())
def test_an_environment_value_is_kept_exactly_or_refused(value: str) -> None:
    """Promise: hostile text keeps its meaning, or the setting is refused; it is never changed."""
    bad = rules.has_control_characters(value) or not rules.is_unicode(value) or value.startswith("\n")
    config = changed(SMALLEST, "env", {"A": value})
    if bad:
        assert problems(config)[0].startswith("flaskhost:env.A: must")
    else:
        assert load(config).env["A"] == value
        assert json.loads(json.dumps(load(config).env["A"])) == value


NARROW = st.sampled_from(
    [
        "app.name",
        "app.python",
        "app.wsgi",
        "app.python_mirror",
        "app.dependencies",
        "app.static",
        "app.health.path",
        "app.gunicorn.version",
        "layout.root",
        "web.body_size",
        "server.name",
        "server.image",
    ]
)


@unhurried
@given(
    place=NARROW, before=st.text(max_size=5), after=st.text(max_size=5), bad=st.sampled_from("\n\r\0;{}$`\\<>|\u2028")
)
def test_a_value_that_lands_in_a_unit_or_in_nginx_holds_no_special_character(
    place: str, before: str, after: str, bad: str
) -> None:
    """Promise: nothing can break out of the line that it is written on."""
    assert problems(changed(SMALLEST, place, f"{before}{bad}{after}"))


def by_server(repository: str, **more: Any) -> dict[str, Any]:
    """Return a configuration whose source the server fetches."""
    config = scenario.config(app__source={"repository": repository, "via": "server"}, app__version="v1.0.0")
    for place, value in more.items():
        config = changed(config, place.replace("__", "."), value)
    return config


KEYED = {"app__source__host_key": scenario.HOST_KEY, "credentials": {"deploy_key": scenario.PRIVATE_KEY}}
BY_SERVER: dict[str, tuple[dict[str, Any], str]] = {
    "https needs nothing": (by_server("https://git.example/shop.git"), ""),
    "ssh with both keys": (by_server("git@git.example:shop.git", **KEYED), ""),
    "a commit of the server's own repository": (by_server("file:///srv/git/shop.git", app__version="3f2a" * 10), ""),
    "ssh without a host key": (
        by_server("ssh://git@git.example:2222/shop.git", credentials=KEYED["credentials"]),
        (
            "app.source.host_key: must be given where the server fetches over SSH (got nothing): write what this "
            "prints, once you have compared it with what its operators publish: ssh-keyscan -t ed25519 -p 2222 "
            "git.example"
        ),
    ),
    "ssh without a key": (
        by_server("git@git.example:shop.git", app__source__host_key=scenario.HOST_KEY),
        (
            "credentials.deploy_key: must be given where the server fetches over SSH (got nothing): make a pair for "
            "this stack, let the public half read the repository, hand over the private one: ./pulumi config set "
            "--secret --path flaskhost:credentials.deploy_key --stack prod < KEYFILE"
        ),
    ),
    "a tag of the server's own repository": (
        by_server("file:///srv/git/shop.git"),
        (
            "app.commit: must be given for a repository on the server, which this machine cannot ask for a version "
            "(got nothing): on the server, take the output of: git -C /srv/git/shop.git rev-parse v1.0.0^{commit}"
        ),
    ),
    "ssh without a user": (
        by_server("ssh://git.example/shop.git", **KEYED),
        (
            "app.source.repository: must name the user of the Git server for via: server (got "
            "'ssh://git.example/shop.git'): write it such as ssh://git@git.example/…"
        ),
    ),
    "a path of this machine": (
        by_server("../shop"),
        (
            "app.source.repository: must be https://…, ssh://…, user@host:path or file://… (on the server) for via: "
            "server (got '../shop'): write one of these, or remove via"
        ),
    ),
    "a host key that nobody looks at": (
        scenario.config(app__source={"repository": "../shop", "host_key": "ssh-ed25519 " + "A" * 68}),
        "app.source.host_key: must be a whole SSH host key",
    ),
}


@pytest.mark.parametrize(("config", "line"), BY_SERVER.values(), ids=BY_SERVER)
def test_what_the_server_needs_to_fetch_the_code_is_named(config: dict[str, Any], line: str) -> None:
    """Promise: nobody finds out on the server that a key is missing; the message has the command that makes it."""
    if not line:
        assert settings.load(config, stack="prod")
        return
    with pytest.raises(settings.ConfigurationError) as caught:
        settings.load(config, stack="prod")
    assert str(caught.value).startswith(f"flaskhost:{line}")
    assert "\n" not in str(caught.value)
