"""Who may do what: other users on the host, Nginx, the application itself, and a host that is not the one we know."""

from __future__ import annotations

import pytest

from tests.e2e.host import APP, HOME, Host
from tests.e2e.stack import GOOD, NEWER, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CODE = f"{HOME}/app/wsgi.py"
SECRETS = (f"{HOME}/shared/.env", f"/etc/flaskhost/{APP}/tls/key.pem")
PRIVATE = (
    CODE,
    f"{HOME}/venv/bin/gunicorn",
    f"{HOME}/active/config/gunicorn.conf.py",
    f"{HOME}/shared/data/guestbook.db",
)
LOGS = (f"/var/log/nginx/{APP}-access.log", f"{HOME}/releases.log")
ANSWERS = f"curl --silent --fail --max-time 10 --unix-socket {HOME}/run/gunicorn.sock http://localhost/version"


@pytest.fixture(scope="module")
def host(stack: Stack) -> Host:
    """Return a host with a release, an upload, and another application's user."""
    stack.deploy(GOOD)
    stack.site.sign("Ada", "Hello")
    stack.host.run("useradd --system --user-group --shell /bin/sh shop")
    # What is refused below must be there: root reads all of it.
    for path in (*SECRETS, *PRIVATE, *LOGS):
        stack.host.run(f"test -s {path}")
    return stack.host


@pytest.mark.parametrize("user", ["nobody", "shop"])
def test_another_user_reaches_nothing_of_the_application(host: Host, user: str) -> None:
    """Two applications on one host cannot read each other's files, nor go round Nginx to the other's socket."""
    readable = [path for path in (*SECRETS, *PRIVATE, *LOGS) if host.succeeds(f"cat {path}", user=user)]
    assert readable == []
    for folder in (f"{HOME}/shared/media/", f"{HOME}/active/static/", f"{HOME}/config", f"/run/flaskhost/{APP}"):
        assert not host.succeeds(f"ls {folder}", user=user), folder
    assert not host.succeeds(ANSWERS, user=user)


def test_nginx_reaches_socket_static_files_and_uploads_and_nothing_else(host: Host) -> None:
    """What Nginx can read, a mistake in its configuration can publish."""
    assert host.run(ANSWERS, user="www-data") == "1.0.0"
    assert host.succeeds(f"cat {HOME}/active/static/style.css {HOME}/shared/media/*", user="www-data")
    readable = [path for path in (*SECRETS, *PRIVATE) if host.succeeds(f"cat {path}", user="www-data")]
    assert readable == []
    assert not host.succeeds(f"touch {HOME}/shared/media/x", user="www-data")


def test_a_link_among_the_uploads_shows_nothing_of_others(stack: Stack, host: Host) -> None:
    """Nginx can read other applications' uploads and its own logs; no application can have it publish them."""
    theirs = "/srv/shop/shared/media"
    host.run(f"install -d -o shop -g www-data -m 2750 {theirs} && echo theirs > {theirs}/a && chown shop {theirs}/a")
    links = {"theirs": f"{theirs}/a", "log": LOGS[0], "folder": theirs}
    for name, target in links.items():
        host.run(f"ln -s {target} {HOME}/shared/media/{name}", user=APP)
    assert host.succeeds(f"cat {theirs}/a {LOGS[0]}", user="www-data")
    answers = {name: stack.site.get(f"/media/{name}").status for name in ("theirs", "log", "folder/a")}
    host.run(f"rm -r {' '.join(f'{HOME}/shared/media/{name}' for name in links)} /srv/shop")
    assert answers == dict.fromkeys(answers, 403)


def test_the_application_cannot_change_what_it_runs(host: Host) -> None:
    """Whoever takes over a worker finds code, dependencies, settings and static files closed for writing."""
    targets = [HOME, f"{HOME}/app", CODE, f"{HOME}/venv/bin", f"{HOME}/active/", f"{HOME}/shared/.env"]
    targets += [f"{HOME}/active/config", f"{HOME}/active/static/style.css", f"{HOME}/run", f"{HOME}/releases"]
    writable = [path for path in targets if host.succeeds(f"test -w {path}", user=APP)]
    assert writable == []
    assert host.succeeds(f"test -w {HOME}/shared/media && test -w {HOME}/shared/data", user=APP)


def test_the_environment_belongs_to_root_and_is_read_by_the_application_alone(host: Host) -> None:
    """One file a release, root:<app> 0640."""
    files = host.run(f"stat --format '%a %U:%G' {HOME}/config/*/env").splitlines()
    assert set(files) == {f"640 root:{APP}"}


def test_a_host_with_another_key_is_refused_before_anything_is_sent(stack: Stack, host: Host) -> None:
    """Somebody who answers in the host's place gets no login and no document, and `up` says why."""
    stack.deploy(GOOD)
    key = "/etc/ssh/ssh_host_ed25519_key"
    host.run(f"mkdir -p /root/kept && cp -a {key} {key}.pub /root/kept/")
    try:
        host.run(f"rm {key} {key}.pub && ssh-keygen -q -t ed25519 -N '' -f {key} && systemctl restart ssh")
        logins, documents = host.logins(), host.run(f"ls --full-time /run/flaskhost/{APP}")
        stack.configure(app={"version": NEWER})
        refused = stack.up(check=False)
        assert not refused.succeeded
        assert "host key mismatch" in refused.text
        assert host.logins() == logins
        assert host.run(f"ls --full-time /run/flaskhost/{APP}") == documents
        assert stack.site.version() == "1.0.0"
    finally:
        host.run("cp -a /root/kept/* /etc/ssh/ && systemctl restart ssh")
    stack.up()
    assert stack.site.version() == "1.1.0"
