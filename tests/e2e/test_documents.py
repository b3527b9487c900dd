"""Every command that the two usual documents tell an operator to type, in their order, on a server of flaskhost.

The documents are a deployment procedure for /var/www/<app> with a TCP port and log files ("SOP"), and a reference of
the folder structure below /srv/<app>. docs/sop.md says of each of their steps where it went; this module is its proof.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.e2e.stack import GOOD, TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.host import Host

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

APP = "guestbook"
DOMAIN = "guestbook.example"


@dataclass(frozen=True)
class Typed:
    """A command as it is typed, and what the document promises of it.

    Attributes:
        where: section and step of the document.
        command: for bash; several lines are typed into the shell that the first one opens.
        answer: regular expression that the output has, or empty.
        fails: whether the document's promise is a refusal (nothing is listed, nothing is found).
    """

    where: str
    command: str
    answer: str = ""
    fails: bool = False


@dataclass(frozen=True)
class Replaced:
    """Commands that nobody has to type any more, and what does their work.

    Attributes:
        harmless: what comes of typing one of them all the same, as a command and what it answers; None where typing it
            would need another machine, an editor or the network.
    """

    where: str
    commands: str
    instead: str
    harmless: Typed | None = None


def as_user(*lines: str) -> str:
    """Return `sudo -u <app> -i` and what is typed into that shell."""
    return f"sudo -u {APP} -i <<'EOF'\n" + "\n".join(lines) + "\nEOF"


WWW, SRV = f"/var/www/{APP}", f"/srv/{APP}"
IN_VENV = (f"cd {WWW}/app", f"source {WWW}/venv/bin/activate", "export FLASK_APP=wsgi.py")
ALL_WELL = r"Active: active \("

SOP: tuple[Typed | Replaced, ...] = (
    Replaced("4", "the whole section", "development mode: app.mode, with tests of its own"),
    Replaced("5.1", "ssh devops@prod-server", "server: address, user, host_key; `pulumi up` logs in"),
    Replaced("5.2", "apt update; apt install …", "base installs what is missing; app.python, app.packages"),
    Replaced(
        "5.3",
        "mkdir -p; useradd; chown; chmod 755",
        "base makes folders, account, owners and modes",
        Typed(
            "5.3",
            f"mkdir -p {WWW} /var/log/{APP}; useradd -r -s /bin/bash {APP}; ls -d {WWW} /var/log/{APP}/",
            rf"(?s)already exists.*{WWW}",
        ),
    ),
    Typed("5.4", as_user(f"cd {WWW}", "pwd", "id -un"), rf"{WWW}\n{APP}"),
    Replaced(
        "5.4",
        "git clone; git checkout main; git pull origin main",
        "app.source and app.version; `pulumi up` brings the commit",
        Typed("5.4", as_user(f"cd {WWW}/app", "git pull origin main"), "not a git repository", fails=True),
    ),
    Typed(
        "5.5",
        as_user(f"source {WWW}/venv/bin/activate", "command -v python gunicorn flask"),
        rf"(?s){WWW}/venvs/\w+/bin/python\n.*/bin/gunicorn\n.*/bin/flask",
    ),
    Replaced(
        "5.5, 5.6",
        "python3.10 -m venv; pip install -r requirements.txt; pip install gunicorn",
        "prepare makes a virtual environment for each set of dependencies and each Python",
        Typed("5.6", as_user(*IN_VENV, "pip install -r requirements.txt"), fails=True),
    ),
    Replaced("5.7", "cp .env.example .env.prod; nano .env.prod", "env and secrets in the stack file"),
    Typed("5.8", as_user(*IN_VENV, "flask db upgrade", "flask db current"), r"(?m)^0001.* \(head\)|^0001"),
    Replaced("5.8", "python manage.py db upgrade", "app.migrate; the example has no manage.py"),
    Replaced("5.9", f"nano {WWW}/gunicorn_config.py", "app.gunicorn"),
    Replaced("5.10", f"nano /etc/systemd/system/{APP}.service", "made by base, and by each release for its slot"),
    Replaced("5.11", f"nano /etc/nginx/sites-available/{APP}", "web, made by the step site"),
    Replaced(
        "5.12",
        "ln -s /etc/nginx/sites-available/<app> /etc/nginx/sites-enabled/",
        "the step site enables it",
        Typed("5.12", f"ln -s /etc/nginx/sites-available/{APP} /etc/nginx/sites-enabled/", "File exists", fails=True),
    ),
    Typed("5.12", "sudo nginx -t", r"syntax is ok[\s\S]*test is successful"),
    Typed("5.12", "sudo systemctl reload nginx"),
    Replaced(
        "5.13",
        "chown -R; chmod -R 755; chmod 644 .env.prod",
        "owners and modes are right from the start; typed, they do harm until the restart after them: test_variants",
    ),
    Typed("5.14", "sudo systemctl daemon-reload"),
    Typed("5.14", f"sudo systemctl enable {APP}.service; systemctl is-enabled {APP}", "enabled"),
    Typed("5.14", f"sudo systemctl start {APP}.service; systemctl is-active {APP}", "^active"),
    Typed("5.15", f"sudo systemctl status {APP}.service", ALL_WELL),
    Typed("5.15", "sudo netstat -tulpn | grep :8000", r"127\.0\.0\.1:8000 .* LISTEN"),
    Typed("5.15", "sudo systemctl status nginx", r"Active: active \(running\)"),
    Typed("5.15", "curl http://localhost:8000", "served by version <strong>1.0.0"),
    Typed("5.15", f"curl http://{DOMAIN}", "served by version <strong>1.0.0"),
    Typed("5.15", f"sudo timeout 1 tail -f /var/log/{APP}/gunicorn-error.log; true", "Booting worker"),
    Typed("5.15", f"sudo timeout 1 tail -f /var/log/nginx/{APP}-error.log; true"),
    Typed("5, service", f"sudo systemctl stop {APP}.service; curl -s http://localhost:8000", fails=True),
    Typed("5, service", f"sudo systemctl start {APP}.service; curl -s http://localhost:8000/version", "1.0.0"),
    Typed("5, service", f"sudo systemctl restart {APP}.service; curl -s http://localhost:8000/version", "1.0.0"),
    Typed("5, service", f"sudo systemctl reload {APP}.service; curl -s http://localhost:8000/version", "1.0.0"),
    Typed("5, service", f"sudo systemctl status {APP}.service", rf"{ALL_WELL}[\s\S]*Booting worker"),
    Typed("5, service", f"sudo timeout 2 journalctl -u {APP}.service -f; true", "Listening at|Booting worker"),
    Typed("5, logs", f"ls /var/log/{APP}/", r"gunicorn-access.log\ngunicorn-error.log"),
    Typed("5, logs", f"tail -n 3 /var/log/{APP}/gunicorn-access.log", "GET /version"),
    Typed("5, logs", f"ls /var/log/nginx/{APP}-access.log /var/log/nginx/{APP}-error.log"),
    Typed(
        "5, logs",
        as_user(f"echo 'a line of its own' >> /var/log/{APP}/app.log", f"cat /var/log/{APP}/app.log"),
        "a line",
    ),
    Replaced("6", "the checklist", "the output `verified`: test_first_deploy and test_the_checklist below"),
    Replaced(
        "7, Module not found",
        "pip install -r requirements.txt",
        "a release is staged with its own dependencies; it could not start without them",
    ),
    Typed("7, Module not found", as_user(f"source {WWW}/venv/bin/activate", "python -c 'import flask, gunicorn'")),
    Typed("7, 502", f"sudo systemctl status {APP}.service", ALL_WELL),
    Typed("7, 502", f"sudo journalctl -u {APP}.service -n 50", "Booting worker with pid"),
    Typed("7, 502", "sudo netstat -tulpn | grep :8000", "127.0.0.1:8000"),
    Typed("7, 502", f"sudo systemctl restart {APP}.service; curl -s http://localhost:8000/health", '"database":"ok"'),
    Replaced("7, Permission denied", "chown -R; chmod -R 755; chmod 644", "as 5.13; `flaskhost repair <app>`"),
    Typed("7, Permission denied", f"flaskhost repair {APP}", "as they have to be"),
    Typed(
        "7, Database",
        f"sudo -u {APP} cat {WWW}/app/.env.prod | grep DATABASE_URL",
        f"sqlite:///{WWW}/shared/data/guestbook.db",
    ),
    Typed("7, Database", "psql postgresql://shop@127.0.0.1:5432/shop", "onnection refused", fails=True),
    Replaced("7, Database", "mysql -h <host> -u <user> -p", "app.packages: [default-mysql-client], as psql above"),
    Typed("7, Database", "sudo ufw status || sudo ufw version", "Status|ufw 0"),
    Typed("7, Static files", f"ls -la {WWW}/app/{APP}/static/", "style.css"),
    Typed("7, Static files", "sudo nginx -t", "test is successful"),
    Replaced("7, Static files", "nano /etc/nginx/sites-available/<app>", "app.static and web.static"),
    Typed("7, Static files", f"curl -s -o /dev/null -w '%{{http_code}}' http://{DOMAIN}/static/style.css", "^200"),
    Replaced(
        "7, Environment variables", "nano /etc/systemd/system/<app>.service", "env and secrets; the unit is shown by"
    ),
    Typed("7, Environment variables", f"systemctl cat {APP} | grep EnvironmentFile", f"={WWW}/shared/.env"),
    Replaced("8.1, 8.2", "ssh; sudo -u <app> -i", "`pulumi up` on the workstation or in the pipeline"),
    Replaced(
        "8.3",
        "git rev-parse HEAD > last_working_commit.txt; cp .env.prod .env.prod.backup",
        "each release keeps its commit and its environment",
        Typed("8.3", f"flaskhost releases {APP}", r"active +v1\.0\.0"),
    ),
    Replaced("8.4 to 8.6", "git pull; pip install; flask db upgrade", "app.version and `pulumi up`"),
    Typed("8.7", as_user(f"cd {WWW}/app", "cat .env.prod"), "SITE_TITLE="),
    Typed("8.8", f"sudo systemctl reload {APP}.service"),
    Typed("8.9", f"sudo systemctl status {APP}.service", ALL_WELL),
    Typed("8.9", "curl http://localhost:8000", "served by version"),
    Typed("8.10", f"sudo journalctl -u {APP}.service --since=-1min", "Handling signal: hup"),
    Replaced(
        "9.1 to 9.6",
        "git checkout $LAST_COMMIT; cp .env.prod.backup; pip install",
        "the earlier version in the stack file",
    ),
    Replaced("9.7", "flask db downgrade", "the schema stays: code before it has to live with it (docs/releases.md)"),
    Typed("9.8", f"sudo systemctl restart {APP}.service"),
    Typed("9.9", f"sudo journalctl -u {APP}.service -n 50", "Booting worker"),
    Replaced("9.11", "document the incident", f"{WWW}/releases.log has who, when, what and the result of each"),
)

FOLDERS: tuple[Typed | Replaced, ...] = (
    Replaced(
        "quick setup",
        "mkdir -p /srv/myapp/{app,run,shared/{static,media,logs},releases}",
        "base makes them",
        Typed("quick setup", f"mkdir -p {SRV}/{{app,run,shared/{{static,media,logs}},releases}}"),
    ),
    Replaced(
        "quick setup",
        "python3 -m venv /srv/myapp/venv",
        "prepare makes it; typed, it would write into the dependencies of the release that serves",
    ),
    Replaced(
        "quick setup",
        "chown -R www-data:www-data; find -type d -exec chmod 755",
        "as section 5.13 of the SOP: the next restart, or `flaskhost repair`",
        Typed(
            "quick setup",
            f"chown -R www-data:www-data {SRV}; find {SRV} -type d -exec chmod 755 {{}} \\; ; systemctl restart {APP}; "
            f"sleep 1; curl -sk https://localhost/version; stat -c '%U:%G %a' {SRV}/config",
            rf"1\.0\.0\s+root:{APP} 750",
        ),
    ),
    Replaced(
        "release-safe layout",
        "ln -sfn /srv/myapp/releases/… /srv/myapp/app",
        "the switch renames `active`, through which `app` leads; a link of one's own changes nothing that serves",
        Typed(
            "release-safe layout",
            f"ln -sfn {SRV}/releases {SRV}/app; curl -sk https://localhost/version; flaskhost repair {APP}",
            rf"1\.0\.0\s+put back: {SRV}/app",
        ),
    ),
    Typed("code", f"ls {SRV}/app/", r"(?s)migrations.*requirements.txt.*wsgi.py"),
    Typed("code", as_user(f"cd {SRV}/app", f"{SRV}/venv/bin/gunicorn --check-config wsgi:app")),
    Replaced(
        "environment",
        "touch, chown and chmod 640 of shared/.env",
        "env and secrets; the file is root:<app> 0640",
        Typed("environment", f"stat -L -c '%U:%G %a' {SRV}/shared/.env", f"root:{APP} 640"),
    ),
    Replaced("logs", "touch shared/logs/gunicorn.log; chown -R", "app.gunicorn.logs: files"),
    Replaced(
        "modes",
        "chmod 775 run shared/media shared/logs",
        "base; nothing but systemd has to write in run",
        Typed(
            "modes",
            f"chmod 775 {SRV}/run {SRV}/shared/media {SRV}/shared/logs; flaskhost repair {APP}",
            rf"put back: {SRV}/run",
        ),
    ),
    Typed("systemd", f"sudo systemctl daemon-reload; sudo systemctl enable --now {APP}"),
    Typed("nginx", "sudo nginx -t", "test is successful"),
    Typed("nginx", "sudo systemctl reload nginx"),
    Typed("symlink", f"readlink -f {SRV}/app", rf"^{SRV}/releases/\d{{4}}-\d\d-\d\d-\d{{6}}-v1\.0\.0-\w{{8}}$"),
    Typed("debugging", f"namei -l {SRV}", r"(?m)^drwxr-xr-x root root +guestbook$"),
    Typed("debugging", f"namei -l {SRV}/run", r"(?m)^drwxr-xr-x root +root +run$"),
    Typed("debugging", f"namei -l {SRV}/shared/media", rf"(?m)^drwxr-s--- {APP} www-data media$"),
    Typed(
        "debugging",
        f"namei -l {SRV}/run/gunicorn.sock",
        rf"(?m)^ *srw-rw---- {APP} +www-data +gunicorn-(blue|green).sock$",
    ),
    Typed("debugging", f"ls -lah {SRV}", r"app -> active/release"),
    Typed(
        "debugging",
        f"find {SRV} -maxdepth 3 -printf '%M %u %g %p\\n'",
        rf"(?s)drwxr-s--- {APP} www-data {SRV}/shared/media\n.*drwxrws--- {APP} {APP} {SRV}/shared/logs",
    ),
    Typed(
        "debugging",
        f"sudo systemctl cat {APP}",
        rf"(?s)WorkingDirectory={SRV}/app\nEnvironmentFile={SRV}/shared/.env\n"
        rf"ExecStart={SRV}/venv/bin/gunicorn .*\nListenStream={SRV}/run/gunicorn.sock",
    ),
    Typed("debugging", f"sudo journalctl -u {APP} -n 100 --no-pager", "Booting worker with pid"),
    Typed("debugging", f"sudo ls -lah {SRV}/run", r"gunicorn\.sock"),
    Typed("debugging", "sudo ss -xl | grep gunicorn", rf"LISTEN .*{SRV}/run/gunicorn-(blue|green)\.sock"),
    Typed("debugging", "sudo nginx -t", "test is successful"),
    Typed("debugging", "sudo tail -n 100 /var/log/nginx/error.log"),
    Typed("debugging", f"grep -c -e '{SRV}/shared/media/;' /etc/nginx/sites-available/{APP}", "1"),
    Typed("debugging", f"readlink -f {SRV}/app", f"{SRV}/releases/"),
)


def _rows(table: tuple[Typed | Replaced, ...]) -> list[object]:
    """Return what is typed of a table, in its order."""
    typed = [row if isinstance(row, Typed) else row.harmless for row in table]
    kept = [row for row in typed if row]
    return [pytest.param(row, id=f"{row.where}: {re.sub(r'[^ -~]+', ' ', row.command)[:60]}") for row in kept]


def _deployed(stack: Stack) -> Iterator[Host]:
    try:
        stack.deploy(GOOD)
        stack.host.run(f"echo 127.0.0.1 {DOMAIN} >> /etc/hosts")
        yield stack.host
    finally:
        stack.close()


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory, server_image: str, pulumi: str) -> Iterator[Host]:
    """Return a server as the procedure wants it: /var/www, port 8000, log files, plain HTTP; psql and ufw on it."""
    assert pulumi
    stack = Stack(tmp_path_factory.mktemp("www"), "documents-www", server_image)
    stack.configure(
        layout={"root": "/var/www"},
        app={"tcp_port": 8000, "gunicorn": {"logs": "files"}, "packages": ["postgresql-client", "ufw"]},
        web={"https": False, "domains": ["localhost", "127.0.0.1", DOMAIN]},
        env={"DATABASE_URL": f"sqlite:///{WWW}/shared/data/guestbook.db", "MEDIA_ROOT": f"{WWW}/shared/media"},
    )
    yield from _deployed(stack)


@pytest.fixture(scope="module")
def srv(tmp_path_factory: pytest.TempPathFactory, server_image: str, pulumi: str) -> Iterator[Host]:
    """Return a server as flaskhost makes it when nothing else is said, which is what the folder reference wants."""
    assert pulumi
    yield from _deployed(Stack(tmp_path_factory.mktemp("srv"), "documents-srv", server_image))


def check(host: Host, row: Typed) -> None:
    """Type a command and see that the answer is what the document promises."""
    # At a prompt there is somebody who can answer; here nobody is.
    done = host.do(f"bash -c {shlex.quote(row.command)} < /dev/null 2>&1", seconds=60)
    assert (done.returncode != 0) == row.fails, f"{row.command}: status {done.returncode}\n{done.stdout}{done.stderr}"
    assert re.search(row.answer, done.stdout.strip()), f"{row.command}\n{done.stdout}\nhas no {row.answer}"


@pytest.mark.parametrize("row", _rows(SOP))
def test_a_command_of_the_procedure_answers_as_it_promises(www: Host, row: Typed) -> None:
    """Who knows the SOP by heart finds a server that behaves as it says."""
    check(www, row)


@pytest.mark.parametrize("row", _rows(FOLDERS))
def test_a_command_of_the_folder_reference_answers_as_it_promises(srv: Host, row: Typed) -> None:
    """What to look for, says the reference, and it is there."""
    check(srv, row)


@pytest.mark.parametrize(
    "row", [row for row in (*SOP, *FOLDERS) if isinstance(row, Replaced)], ids=lambda row: row.where
)
def test_a_command_that_nobody_types_any_more_is_in_the_table_of_docs(row: Replaced) -> None:
    """docs/sop.md names what does its work: a team that moves finds every step."""
    text = (TREE / "docs/sop.md").read_text()
    assert re.search(rf"\| {re.escape(row.where.split(',')[0])}\b", text), row.where
