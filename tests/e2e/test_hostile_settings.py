"""Settings full of text that means something to systemd, Nginx, Python and shells, on the real ones."""

from __future__ import annotations

import base64
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import document
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rendering
import settings
from tests.components import scenario
from tests.e2e.host import APP, HOME, service
from tests.e2e.stack import GOOD, Stack
from tests.unit.test_hostile_text import NASTY, TEXT, is_kept
from tests.unit.test_settings import SMALLEST, changed

if TYPE_CHECKING:
    from tests.e2e.host import Host

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ODD = '"it\'s" \\ `id` $HOME ${HOME} $$ 100% %i {a} {{ b }} ; # é 文 🎉 \u202e'


def plain(value: str) -> bool:
    """Tell whether a stack file holds a value as it is: Pulumi loses a line end at its beginning, if not encrypted."""
    return len(value) < 10_000 and not value.startswith("\n")


VALUES = {
    **{f"ODD_{number}": value for number, value in enumerate(filter(is_kept, NASTY)) if plain(value)},
    "ODD_ALL": "".join(filter(is_kept, NASTY[:-3])),
    "ODD_LONG": "x\"\\$%;{}'\n" * 1_000,
    "ODD_AROUND": "  a b\t ",
    "ODD_LINES": " \n\n# one\nTWO=2\n\n",
}
LABELS = ".".join(["label" * 12] * 4)
LONG = f"{LABELS}.example"
"""A host's name of 251 characters, of the 253 that DNS allows."""

few = hypothesis_settings(
    max_examples=10, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Stack:
    """Deploy the bundled application with odd text wherever a setting takes it."""
    hidden = f"\n\n{secrets.token_hex(4)}{ODD}"
    stack.encrypt("secrets.ODD_SECRET", hidden)
    VALUES["ODD_SECRET"] = hidden
    script = f"printf %s {quoted(ODD)}"
    stack.deploy(
        GOOD,
        env={name: value for name, value in VALUES.items() if name != "ODD_SECRET"},
        app={
            "build": f"{script} > guestbook/static/odd.txt",
            "migrate": f"{script} > {HOME}/shared/data/odd.txt && flask db upgrade",
            "gunicorn": {"settings": {"proc_name": ODD, "access_log_format": f"%(s)s {ODD.replace('%', '%%')}"}},
        },
    )
    return stack


def quoted(text: str) -> str:
    """Return a text as a shell reads it."""
    return "'" + text.replace("'", "'\\''") + "'"


def test_every_value_arrives_in_the_running_process_byte_for_byte(deployed: Stack) -> None:
    """Through stack file, engine, document, environment file and systemd."""
    pid = deployed.host.unit(service(deployed.host.slot()), "MainPID")["MainPID"]
    # As base64, since a container engine's terminal may change bytes.
    raw = base64.b64decode(deployed.host.run(f"base64 -w0 /proc/{pid}/environ", user=APP))
    seen = dict(entry.split("=", 1) for entry in raw.decode().split("\0") if "=" in entry)
    assert {name: seen.get(name) for name in VALUES} == VALUES


def test_commands_arrive_as_they_were_written(deployed: Stack) -> None:
    """What a shell gets between quotes is what it prints: neither systemd nor we have touched it."""
    assert deployed.site.get("/static/odd.txt").text == ODD
    assert base64.b64decode(deployed.host.run(f"base64 -w0 {HOME}/shared/data/odd.txt")).decode() == ODD


def test_settings_of_gunicorn_arrive_as_they_were_written(deployed: Stack) -> None:
    """The access log has the format that the stack says."""
    deployed.site.get("/health")
    lines = deployed.host.journal(only=f"{APP}-gunicorn@").splitlines()
    assert f"200 {ODD}" in [json.loads(line).get("MESSAGE") for line in lines]


SITES: list[dict[str, Any]] = [
    {
        "domains": [LONG, f"*.{LONG[10:]}", *(f"name-{number}.example" for number in range(60)), "localhost"],
        "static": {"url": "/a.b-c_d~e/F/", "expires": "max"},
        "media": {"url": f"/{'m' * 190}/", "expires": "epoch"},
        "body_size": "999g",
        "timeout": 86400,
    },
    {"domains": ["127.0.0.1", "localhost"], "static": None, "media": None, "body_size": 0, "timeout": 1},
    {"domains": [], "static": {"url": "/static/", "expires": "off"}, "media": {"url": "/media/", "expires": "99999s"}},
]


@pytest.mark.parametrize("web", SITES, ids=["much", "little", "no domains"])
def test_nginx_takes_every_site_that_the_settings_take(deployed: Stack, web: dict[str, Any]) -> None:
    """The outermost values of each setting; the site answers by its first name."""
    deployed.configure(web=dict.fromkeys(("domains", "static", "media", "body_size", "timeout")))
    deployed.configure(web=web)
    deployed.up()
    assert deployed.site.get("/health", host=(web["domains"] or ["anything.example"])[0]).status == 200
    if web["static"]:
        assert deployed.site.get(f"{web['static']['url']}odd.txt", host="localhost").text == ODD


def test_generated_environments_are_read_by_systemd_as_they_were_meant(deployed: Stack) -> None:
    """Some drawn values more, through a file and a unit of their own."""

    @few
    @given(values=st.lists(TEXT.filter(is_kept), min_size=1, max_size=8))
    def check(values: list[str]) -> None:
        wanted = {f"DRAWN_{number}": value for number, value in enumerate(values) if plain(value)}
        plan = rendering.plan(settings.load(changed(SMALLEST, "env", wanted), stack="prod"), scenario.resolved())
        put(deployed.host, "/run/drawn.env", document.parse(plan.environment).file("env"))
        unit = "systemd-run --quiet --wait --pipe --collect --property=EnvironmentFile=/run/drawn.env"
        raw = base64.b64decode(deployed.host.run(f"{unit} /bin/sh -c 'env -0 | base64 -w0'"))
        seen = dict(entry.split("=", 1) for entry in raw.decode().split("\0") if "=" in entry)
        assert {name: seen.get(name) for name in wanted} == wanted

    check()


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=2, max_size=4).map(lambda labels: ".".join([*labels, "example"])[-253:])
URL = st.from_regex(r"(/[A-Za-z0-9._~-]{1,20}){1,3}/", fullmatch=True)
WEB = st.fixed_dictionaries(
    {
        "domains": st.lists(DOMAIN, max_size=5, unique=True),
        "static": st.none() | st.fixed_dictionaries({"url": URL, "expires": st.sampled_from(["30d", "1y", "off"])}),
        "media": st.none() | st.fixed_dictionaries({"url": URL}),
        "https": st.booleans(),
        "body_size": st.from_regex(r"[1-9][0-9]{0,8}[kKmM]?", fullmatch=True),
    }
)


def test_nginx_takes_generated_sites(deployed: Stack) -> None:
    """What the settings accept, Nginx does; it is asked beside the site that serves."""

    @few
    @given(web=WEB)
    def check(web: dict[str, Any]) -> None:
        try:
            found = settings.load({**SMALLEST, "web": web}, stack="prod")
        except settings.ConfigurationError:
            return
        files = document.parse(rendering.plan(found, scenario.resolved()).site).files
        names = files.get("/etc/nginx/conf.d/flaskhost-names.conf", "")
        put(
            deployed.host,
            "/run/drawn.conf",
            f"events {{}}\nhttp {{\n{names}{files[f'/etc/nginx/sites-available/{APP}']}}}\n",
        )
        done = deployed.host.do("nginx -t -q -c /run/drawn.conf -g 'pid /run/drawn.pid;'")
        assert done.returncode == 0, f"{web}: {done.stdout}{done.stderr}"

    check()


def put(host: Host, path: str, text: str) -> None:
    """Write a file on the host, whatever is in it."""
    host.run(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d > {path}")
