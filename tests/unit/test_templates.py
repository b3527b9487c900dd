"""Templates: each renders in every scenario, says which file made it, and knows no name that is not given."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from flaskhost import document as reader
from flaskhost.takeover import OURS

import rendering
from tests.components import scenario

PARTS = rendering.ROOT / "templates" / "parts"
TEMPLATES = sorted(
    path for path in (rendering.ROOT / "templates").rglob("*") if path.is_file() and path.parent != PARTS
)
SCENARIOS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "no domains": {"web__domains": []},
    "any subdomain": {"web__domains": ["*.guestbook.example"]},
    "long names": {"web__domains": [f"{'long.' * 20}example"]},
    "no media": {"web__media": None},
    "no static": {"web__static": None, "app__static": None},
    "odd urls": {"web__static": {"url": "/a.b-c/~x/", "expires": "off"}},
    "workers given": {"app__gunicorn__workers": 3},
    "gunicorn settings": {"app__gunicorn__settings": {"max_requests": 1000, "logconfig_dict": {"a": [None, True]}}},
    "a factory": {"app__wsgi": "wsgi:create_app('a', b=1)"},
    "www": {"layout__root": "/var/www"},
    "log files": {"app__gunicorn__logs": "files"},
    "port": {"app__tcp_port": 8000},
    "web user": {"app__user": "www-data"},
    "usual port": {"server__https_port": 443},
    "plain http": {"web__https": False},
    "processes and jobs": {
        "app__processes": {
            "worker": {"command": "celery worker", "count": 2, "memory": "512M"},
            "rq": {"command": "rq"},
        },
        "app__jobs": {"cleanup": {"command": "flask cleanup", "schedule": "daily"}},
    },
    "no environment": {"env": {}, "secrets": {}},
    "one machine on AWS": scenario.ON_AWS,
    "several machines on AWS": scenario.SEVERAL,
}
OFFICE = {
    "server": {"kind": "existing", "address": "203.0.113.10", "host_key": scenario.HOST_KEY},
    "credentials": {"ssh_key": scenario.PRIVATE_KEY},
    "app__mode": "development",
}
DEVELOPMENT: dict[str, dict[str, Any]] = {
    "development": {"app__mode": "development", "app__development": {"port": 5001, "debug": False}},
    "from the office": {**OFFICE, "app__development__allowed_networks": ["192.0.2.0/24", "2001:db8::/32"]},
    "from everywhere": {**OFFICE, "app__development__allowed_networks": ["everyone", "192.0.2.0/24"]},
}
EVERY = SCENARIOS | DEVELOPMENT
Files = dict[str, str]


def rendered(**changes: Any) -> Files:
    """Return every file of every document of a scenario."""
    plan = scenario.plan(**changes)
    texts = [plan.volume, plan.base, plan.site, plan.environment, plan.prepare, plan.stage, plan.switch]
    if plan.volume:
        texts.append(rendering.connections(scenario.of(**changes), scenario.REGION, {}, {"DATABASE_URL": {}}))
    return {name: text for one in texts if one for name, text in reader.parse(one).files.items() if name != "uv.txt"}


@pytest.fixture(params=list(SCENARIOS.values()), ids=list(SCENARIOS))
def files(request: pytest.FixtureRequest) -> Files:
    """Return every file of each scenario."""
    return rendered(**request.param)


@pytest.mark.parametrize("changes", EVERY.values(), ids=EVERY)
def test_the_first_line_of_every_file_says_which_template_made_it(changes: dict[str, Any]) -> None:
    """Promise: who finds a file on the server knows where to change it, and that edits there are lost."""
    for name, text in rendered(**changes).items():
        found = re.fullmatch(r"# made by flaskhost from (templates/\S+\.j2); edits here .*", text.split("\n")[0])
        assert found, name
        assert (rendering.ROOT / found[1]).is_file(), name
        stem = re.sub("^(process|job|bind)[.]", f"{Path(name).stem}.", Path(found[1]).name.removesuffix(".j2"))
        assert stem.replace("app", "guestbook") in (Path(name).name, f"{Path(name).name}.conf")
        assert OURS in text.split("\n")[0]


def test_no_template_is_left_over() -> None:
    """Promise: every template of the repository is used by some document."""
    used = {
        text.split(" from ")[1].split(";")[0] for changes in EVERY.values() for text in rendered(**changes).values()
    }
    # It is in no document: the machine reads it before anybody logs in.
    used.add("templates/var/lib/cloud/instance/user-data.txt.j2")
    assert used == {str(path.relative_to(rendering.ROOT)) for path in TEMPLATES}


def test_no_part_of_templates_is_left_over() -> None:
    """Promise: what several templates share is in at least two of them."""
    texts = [path.read_text() for path in TEMPLATES]
    for part in PARTS.iterdir():
        assert sum(f'{{% include "parts/{part.name}" %}}' in text for text in texts) >= 2, part.name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_first_line_of_a_template_names_the_template_itself(path: Path) -> None:
    """Promise: the name in the first line is right, also after a template was moved."""
    # By its first line cloud-init knows what the text is.
    first = path.read_text().removeprefix("#cloud-config\n").split("\n")[0]
    assert f"from {path.relative_to(rendering.ROOT)};" in first


@pytest.mark.parametrize("path", [path for path in TEMPLATES if "{{" in path.read_text()], ids=lambda path: path.name)
def test_an_unknown_name_in_a_template_fails(path: Path) -> None:
    """Promise: a name that nobody gives is an error, never an empty place in a configuration file."""
    with pytest.raises(jinja2.UndefinedError):
        rendering._render(str(path.relative_to(rendering.ROOT / "templates")))  # noqa: SLF001 - where templates meet values


@pytest.mark.parametrize("changes", EVERY.values(), ids=EVERY)
def test_every_text_ends_with_one_newline_and_leaves_nothing_unrendered(changes: dict[str, Any]) -> None:
    """Promise: what arrives is a clean file: no template syntax, no blanks at the end of a line."""
    for name, text in rendered(**changes).items():
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert not re.search(r"\{\{|\{%|Undefined", text), name


def test_gunicorn_reads_its_file_as_python(files: Files) -> None:
    """Promise: gunicorn.conf.py is Python that says what the stack file says."""
    names: dict[str, Any] = {}
    exec(compile(ast.parse(files["gunicorn.conf.py"]), "gunicorn.conf.py", "exec"), names)  # noqa: S102 - our own file
    assert names["timeout"] == 60
    assert names["workers"] >= 3
    assert names["forwarded_allow_ips"] == "*"


def test_a_worker_that_ends_makes_way_for_those_with_visitors() -> None:
    """Promise: the end of the release before, which is work for Python, slows nobody who visits the next one."""
    code = "\nimport types\nworker_exit(None, types.SimpleNamespace(nr={}, max_requests=10))\nprint(os.nice(0))\n"
    said = [
        subprocess.run(
            [sys.executable, "-c", rendered()["gunicorn.conf.py"] + code.format(answered)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        for answered in (9, 10)
    ]
    assert said == ["19\n", f"{os.nice(0)}\n"], "one that has done its max_requests is waited for"


def test_gunicorn_settings_arrive_as_they_are() -> None:
    """Promise: a further setting has the value of the stack file, whatever characters are in it."""
    wanted = {"access_log_format": "%(h)s \"'\\ {{ x }} ☃", "logconfig_dict": {"a": [1, None, True, {"b": 0.5}]}}
    names: dict[str, Any] = {}
    text = rendered(app__gunicorn__settings=wanted)["gunicorn.conf.py"]
    exec(compile(text, "gunicorn.conf.py", "exec"), names)  # noqa: S102 - our own file
    assert {name: names[name] for name in wanted} == wanted


def test_the_workers_are_counted_on_the_server_unless_they_are_given() -> None:
    """Promise: 2 x cores + 1 by default, as the document asks for; a number in the stack file wins."""
    assert "workers = 2 * len(os.sched_getaffinity(0)) + 1" in rendered()["gunicorn.conf.py"]
    assert "\nworkers = 7\n" in rendered(app__gunicorn__workers=7)["gunicorn.conf.py"]


def test_the_units_restart_always_and_stop_gracefully() -> None:
    """Promise: a crash is followed by a start, and systemd waits longer than Gunicorn does."""
    unit = rendered(app__gunicorn__graceful_timeout=45)["gunicorn.service"]
    for line in ("Restart=always", "KillMode=control-group", "TimeoutStopSec=55", "User=guestbook", "UMask=0027"):
        assert f"\n{line}\n" in unit
    socket = rendered()["gunicorn.socket"]
    assert "\nSocketMode=0660\n" in socket
    assert "\nSocketGroup=www-data\n" in socket


def test_a_process_and_a_job_have_what_their_settings_say() -> None:
    """Promise: limits and times of the stack file are those of systemd; each is shielded and fed as Gunicorn is."""
    process = {"command": "celery worker", "count": 3, "memory": "512M", "stop_timeout": 90, "settle": 7}
    job = {"command": "flask cleanup", "schedule": "Mon..Fri 09:30", "timeout": 600}
    files = rendered(app__processes={"worker": process}, app__jobs={"cleanup": job})
    for name, lines in {
        "worker.service": (
            "MemoryMax=512M",
            "TimeoutStopSec=90",
            "KillMode=mixed",
            "Count=3",
            "Settle=7",
            "Restart=always",
        ),
        "cleanup.service": ("TimeoutStartSec=600", "Type=oneshot"),
        "cleanup.timer": ("OnCalendar=Mon..Fri 09:30",),
    }.items():
        assert [line for line in lines if f"\n{line}\n" not in files[name]] == []
    assert "Persistent=" not in files["cleanup.timer"].replace("Not Persistent=", "")
    assert "MemoryMax" not in rendered(app__processes={"worker": {"command": "x"}})["worker.service"]
    web = files["gunicorn.service"]
    shared = web[web.index("User=") : web.index("ExecStart=")], web[web.index("NoNewPrivileges") :]
    for part in shared:
        assert part in files["worker.service"]
        assert part in files["cleanup.service"]


def test_the_unit_takes_its_entry_point_from_the_release() -> None:
    """Promise: what the host finds in the source changes no text that a reviewer saw; the stack's environment wins."""
    unit = rendered(app__wsgi="wsgi:create_app('a b')")["gunicorn.service"]
    assert unit == rendered()["gunicorn.service"]
    assert "gunicorn.conf.py ${FLASKHOST_WSGI}\n" in unit
    entry, environment = (
        unit.index(f"EnvironmentFile=/srv/guestbook/slots/%i/{name}\n") for name in ("config/entry", "env")
    )
    assert entry < environment


def test_an_upload_that_is_a_link_to_somebody_elses_file_is_not_served() -> None:
    """Promise: an application cannot have Nginx show the uploads or logs of another one on the host."""
    media = rendered()["/etc/nginx/sites-available/guestbook"].partition("location /media/")[2].partition("}")[0]
    assert "disable_symlinks if_not_owner from=/srv/guestbook/shared/media;" in media


def test_everything_moves_with_the_root() -> None:
    """Promise: layout.root moves all of an application, and nothing of it stays below /srv."""
    for name, text in rendered(layout__root="/var/www").items():
        body = text.split("\n", 1)[1]
        assert "/srv" not in body, name
    assert "/var/www/guestbook/run/gunicorn-%i.sock" in rendered(layout__root="/var/www")["gunicorn.socket"]


def test_the_port_is_in_the_redirect_where_a_visitor_needs_it() -> None:
    """Promise: http leads to https on the port that is reachable, and says no port where it is the usual one."""
    name = "/etc/nginx/sites-available/guestbook"
    assert "return 301 https://$host:20443$request_uri;" in rendered()[name]
    assert "return 301 https://$host$request_uri;" in rendered(server__https_port=443)[name]


def test_a_site_without_tls_names_no_certificate_and_sends_nobody_away() -> None:
    """Promise: behind a balancer, or inside, the pages themselves are on port 80."""
    text = rendered(web__https=False)["/etc/nginx/sites-available/guestbook"]
    assert text.count("server {") == 1
    assert "listen 80;" in text
    assert not [word for word in ("ssl", "listen 443", "return 301") if word in text]


def test_the_site_has_the_headers_that_the_application_needs() -> None:
    """Promise: the application sees the visitor's address, host and scheme; the sizes are those of the stack file."""
    text = rendered(web__body_size="25m", web__timeout=90)["/etc/nginx/sites-available/guestbook"]
    for line in (
        "proxy_set_header Host $http_host;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "client_max_body_size 25m;",
        "proxy_read_timeout 90s;",
        "server_name guestbook.example www.guestbook.example;",
    ):
        assert line in text
    assert "keepalive" not in text, "old connections would linger on the old slot"


def test_static_and_media_are_left_out_where_the_stack_says_so() -> None:
    """Promise: null means that Nginx serves none of them itself."""
    name = "/etc/nginx/sites-available/guestbook"
    both = rendered()[name]
    assert "location /static/" in both
    assert "location /media/" in both
    assert "location /static/" not in rendered(web__static=None)[name]
    assert "location /media/" not in rendered(web__media=None)[name]


def test_a_site_has_balanced_braces_and_ended_lines(files: Files) -> None:
    """Promise: an Nginx file is whole (what Nginx itself says of it, the tests with a real server ask)."""
    for name, text in files.items():
        if "/nginx/" not in name:
            continue
        depth = 0
        for line in text.splitlines():
            plain = line.split("#")[0].strip()
            assert not plain or plain.endswith((";", "{", "}")), line
            depth += plain.endswith("{") - plain.endswith("}")
        assert depth == 0, name


def test_systemd_takes_the_units(files: Files, tmp_path: Path) -> None:
    """Promise: `systemd-analyze verify` has nothing to say about any unit of any scenario."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine; the tests with a real server ask it")
    units = {
        "guestbook.service": files["/etc/systemd/system/guestbook.service"],
        "guestbook-gunicorn@blue.service": files["gunicorn.service"],
        "guestbook-gunicorn@blue.socket": files["gunicorn.socket"],
    }
    for name in {"worker.service", "rq.service"} & set(files):
        units[f"guestbook-{name.replace('.', '-1@blue.')}"] = files[name]
    for name in {"cleanup.service", "cleanup.timer"} & set(files):
        units[f"guestbook-{name.replace('.', '@blue.')}"] = files[name]
    # The programs are on the server only; here, one that exists stands for each.
    for name, text in units.items():
        known = re.sub(r"(?m)^(Exec\w+)=\S+", r"\1=/bin/true", text)
        (tmp_path / name).write_text(known)
    words = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "guestbook" in line]
    assert said == []
