"""What machines on AWS get beside what every server gets: mounts, first boot, connections, a site for a balancer."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from flaskhost import document as reader
from flaskhost.takeover import OURS
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rendering
from settings import rules
from tests.components import scenario
from tests.unit import readers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ON_AWS, SEVERAL = scenario.ON_AWS, scenario.SEVERAL
LOCAL: dict[str, Any] = {"web__domains": ["example.com"], "web__redirects": ["www.example.com"]}
WORK: dict[str, Any] = {
    "app__processes": {"worker": {"command": "celery worker"}},
    "app__jobs": {"cleanup": {"command": "flask cleanup", "schedule": "daily"}},
}
SITE = "/etc/nginx/sites-available/guestbook"
SYSTEM = "/etc/systemd/system"


def plans(**changes: Any) -> list[rendering.Plan]:
    """Return the plan of each host."""
    # A change below a group that another change gives is put into that group itself.
    found = scenario.of(**copy.deepcopy(changes))
    return [rendering.plan(found, scenario.resolved(), place) for place in rendering.places(found)]


def files(text: str) -> Mapping[str, str]:
    """Return the files of a document."""
    return reader.parse(text).files


def units(plan: rendering.Plan) -> dict[str, str]:
    """Return the services of every document of a plan, by their names."""
    texts = {name: text for one in (plan.base, plan.prepare) for name, text in files(one).items()}
    return {name: text for name, text in texts.items() if name.endswith(".service")}


def test_only_the_first_machine_on_aws_has_a_data_volume() -> None:
    """Promise: there is one volume, so nothing else waits for one that never comes."""
    assert [bool(plan.volume) for plan in plans(**SEVERAL)] == [True, False, False]
    assert [bool(plan.volume) for plan in plans(**ON_AWS)] == [True]
    assert plans(**LOCAL)[0].volume == ""


def test_the_machines_are_called_by_their_numbers_and_a_single_one_by_nothing() -> None:
    """Promise: a stack that grows keeps its first machine, under the name that it has among several."""
    (one,) = rendering.places(scenario.of(**ON_AWS))
    assert (one.label, one.former, one.is_first, one.host_key) == ("", "1", True, None)
    first, *others = rendering.places(scenario.of(**SEVERAL))
    assert (first.label, first.former, first.is_first) == ("1", "", True)
    assert [(place.label, place.is_first) for place in others] == [("2", False), ("3", False)]


def test_all_machines_of_a_stack_run_the_same_release() -> None:
    """Promise: a visitor who meets another machine meets the same application."""
    found = plans(**SEVERAL)
    assert len({plan.release for plan in found}) == 1
    assert [reader.parse(plan.stage)["migrate"] for plan in found] == ["auto", "none", "none"]


def test_the_data_volume_is_found_by_its_label_and_holds_what_outlives_a_machine() -> None:
    """Promise: uploads, data and logs (shared) and dumps (backups) are on it; the boot does not depend on it."""
    document = reader.parse(plans(**ON_AWS)[0].volume)
    assert {name: document[name] for name in ("root", "label", "size")} == {
        "root": "/srv",
        "label": "flaskhost-data",
        "size": 20,
    }
    found = {name: readers.unit(text) for name, text in document.files.items()}
    assert {name: unit["Mount"]["Where"] for name, unit in found.items()} == {
        f"{SYSTEM}/data.mount": ["/data"],
        f"{SYSTEM}/srv-guestbook-shared.mount": ["/srv/guestbook/shared"],
        f"{SYSTEM}/srv-guestbook-backups.mount": ["/srv/guestbook/backups"],
    }
    data = found.pop(f"{SYSTEM}/data.mount")
    assert data["Mount"]["What"] == ["/dev/disk/by-label/flaskhost-data"]
    for unit in (data, *found.values()):
        assert "nofail" in unit["Mount"]["Options"][0].split(",")
        assert unit["Install"]["WantedBy"] == ["local-fs.target"]
    for unit in found.values():
        where = unit["Mount"]["Where"][0]
        assert unit["Mount"]["What"] == [where.replace("/srv/", "/data/")]
        assert (unit["Unit"]["Requires"], unit["Unit"]["After"]) == (["data.mount"], ["data.mount"])


def test_nothing_on_the_data_volume_gains_rights() -> None:
    """Promise: what visitors have uploaded is no program with the rights of root, nor a device."""
    unit = readers.unit(files(plans(**ON_AWS)[0].volume)[f"{SYSTEM}/data.mount"])
    assert {"nosuid", "nodev"} <= set(unit["Mount"]["Options"][0].split(","))


def test_the_size_of_the_volume_reaches_the_host() -> None:
    """Promise: a volume that has grown is grown on the host as well, by the same `up`."""
    grown = plans(**ON_AWS, server__data_volume=50)[0]
    assert reader.parse(grown.volume)["size"] == 50
    assert grown.volume != plans(**ON_AWS)[0].volume


ROOTS = st.from_regex(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}){1,4}", fullmatch=True).filter(
    lambda root: rules.accepts(rules.root_folder, root)
)


def test_a_mount_has_the_name_that_systemd_wants_for_its_folder() -> None:
    """Promise: systemd refuses a mount unit whose name is not that of its folder; the usual ones are as here."""
    assert rendering.mount_unit("/data") == "data.mount"
    assert rendering.mount_unit("/srv/shop/shared") == "srv-shop-shared.mount"
    assert rendering.mount_unit("/var/www/my-shop/shared") == r"var-www-my\x2dshop-shared.mount"


@pytest.mark.skipif(not shutil.which("systemd-escape"), reason="systemd-escape is not on this machine")
@hypothesis_settings(deadline=None, max_examples=5)
@given(st.lists(ROOTS, min_size=50, max_size=50))
def test_systemd_itself_calls_every_mount_so(roots: list[str]) -> None:
    """Promise: for every root that the settings accept, and every name of an application."""
    paths = [f"{root}/my-shop2/{folder}" for root in roots for folder in rendering.KEPT_FOLDERS]
    words = ["systemd-escape", "--path", "--suffix=mount", *paths]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert [rendering.mount_unit(path) for path in paths] == said


def test_no_unit_of_the_application_starts_without_its_folder() -> None:
    """Promise: without the disk nobody writes uploads below an empty mount point, where they would be lost."""
    found = units(plans(**ON_AWS, **WORK)[0])
    names = {name for name, text in found.items() if "RequiresMountsFor" in readers.unit(text)["Unit"]}
    assert names == {
        f"{SYSTEM}/guestbook.service",
        "gunicorn.service",
        "worker.service",
        "cleanup.service",
    }
    for name in names:
        assert readers.unit(found[name])["Unit"]["RequiresMountsFor"] == ["/srv/guestbook/shared"]


def test_units_elsewhere_wait_for_no_disk() -> None:
    """Promise: no release of a server that is there already changes by what AWS needs."""
    assert not [name for name, text in units(plans(**LOCAL, **WORK)[0]).items() if "RequiresMountsFor" in text]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("root", ["/srv", "/var/www", "/opt/my-apps"])
def test_systemd_takes_the_mounts_and_the_timer(tmp_path: Path, root: str) -> None:
    """Promise: `systemd-analyze verify` has nothing to say about them."""
    found = {
        **files(plans(**ON_AWS, layout__root=root)[0].volume),
        **files(rendering.connections(scenario.of(**SEVERAL), "eu-central-1", {}, {"DATABASE_URL": {}})),
    }
    for name, text in found.items():
        (tmp_path / name.rpartition("/")[2]).write_text(re.sub(r"(?m)^(Exec\w+)=\S+", r"\1=/bin/true", text))
    words = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    ours = [name.rpartition("/")[2] for name in found]
    assert [line for line in (done.stdout + done.stderr).splitlines() if any(name in line for name in ours)] == []


def test_the_first_boot_gets_the_host_key_exactly() -> None:
    """Promise: the machine has the one key that the stack trusts, byte for byte, and its public half."""
    text = rendering.user_data(scenario.PRIVATE_KEY, scenario.HOST_KEY)
    assert text.startswith("#cloud-config\n"), "cloud-init knows the format by the first line"
    assert yaml.safe_load(text) == {
        "ssh_keys": {"ed25519_private": scenario.PRIVATE_KEY, "ed25519_public": scenario.HOST_KEY}
    }
    assert OURS in text


@hypothesis_settings(deadline=None)
@given(st.binary(min_size=100, max_size=400))
def test_any_key_survives_the_way_through_yaml(body: bytes) -> None:
    """Promise: no letter of a key, and no line of it, is taken for YAML."""
    made = base64.b64encode(body).decode()
    lines = "\n".join(made[at : at + 70] for at in range(0, len(made), 70))
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n"
    for given_as in (key, key.rstrip("\n")):
        assert yaml.safe_load(rendering.user_data(given_as, "ssh-ed25519 AAAA"))["ssh_keys"]["ed25519_private"] == key


def test_the_first_boot_gets_nothing_that_a_later_change_would_have_to_reach() -> None:
    """Promise: it is read once, so everything that can change comes over SSH."""
    assert set(yaml.safe_load(rendering.user_data("a", "b"))) == {"ssh_keys"}


VALUES = {"REDIS_URL": "rediss://cache.internal:6379/0", "MEDIA_BUCKET": "shop-media"}
SECRETS = {"DATABASE_URL": {"secret": "arn:aws:secretsmanager:eu-central-1:1:secret:x", "url": "postgresql://db/shop"}}


def test_the_document_of_connections_says_what_the_services_hand_over() -> None:
    """Promise: values are whole; of a secret there is only where the host asks for it."""
    found = reader.parse(rendering.connections(scenario.of(**SEVERAL), "eu-central-1", VALUES, SECRETS))
    assert (found.verb, found.app) == ("connections", "guestbook")
    assert {name: found[name] for name in ("region", "values", "secrets")} == {
        "region": "eu-central-1",
        "values": VALUES,
        "secrets": SECRETS,
    }


def test_the_order_in_which_services_are_told_changes_nothing() -> None:
    """Promise: an `up` with nothing to change runs no step."""
    texts = {
        rendering.connections(scenario.of(**SEVERAL), "eu-central-1", values, SECRETS)
        for values in (VALUES, dict(reversed(VALUES.items())))
    }
    assert len(texts) == 1


def test_aws_is_asked_for_secrets_only_where_there_are_some() -> None:
    """Promise: no timer wakes up each minute for nothing."""
    settings = scenario.of(**SEVERAL)
    names = {f"{SYSTEM}/guestbook-connections.service", f"{SYSTEM}/guestbook-connections.timer"}
    assert set(files(rendering.connections(settings, "eu-central-1", VALUES, SECRETS))) == names
    assert files(rendering.connections(settings, "eu-central-1", VALUES, {})) == {}


def test_the_refresh_of_secrets_is_a_unit_of_the_application_that_says_who_made_it() -> None:
    """Promise: teardown finds it by its description, and a person by its first line."""
    found = files(rendering.connections(scenario.of(**SEVERAL), "eu-central-1", VALUES, SECRETS))
    for name, text in found.items():
        assert readers.unit(text)["Unit"]["Description"][0].startswith("guestbook: ")
        template = name.replace("guestbook", "app").removeprefix("/")
        assert text.startswith(f"# made by flaskhost from templates/{template}.j2; edits here are overwritten")
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
    service = readers.unit(found[f"{SYSTEM}/guestbook-connections.service"])
    assert service["Service"]["ExecStart"] == ["/usr/local/bin/flaskhost refresh guestbook"]
    assert service["Service"]["ReadWritePaths"] == ["/etc/flaskhost/guestbook /etc/systemd/system"]


@pytest.mark.parametrize(
    ("changes", "packages"),
    [
        (ON_AWS, []),
        ({**ON_AWS, "database": {"kind": "rds"}}, ["python3-boto3"]),
        (SEVERAL, ["python3-boto3"]),
        (
            {**ON_AWS, "database": {"kind": "rds", "version": "16"}, "app__backup_before_migrate": True},
            ["postgresql-client", "python3-boto3"],
        ),
        (
            {**ON_AWS, "database": {"kind": "rds", "engine": "mysql"}, "app__backup_before_migrate": True},
            ["default-mysql-client", "python3-boto3"],
        ),
    ],
    ids=["alone", "with a database", "several", "with dumps", "with dumps of MySQL"],
)
def test_a_machine_gets_the_packages_that_its_services_need(changes: dict[str, Any], packages: list[str]) -> None:
    """Promise: what asks AWS for a password, and what takes dumps of a database that no variable names yet."""
    for plan in plans(**changes):
        assert reader.parse(plan.base)["packages"] == packages


def servers(**changes: Any) -> dict[str, list[readers.Directive]]:
    """Return the servers of the site of each host by the names that they answer for; the hosts have the same site."""
    texts = {files(plan.site)[SITE] for plan in plans(**changes)}
    (text,) = texts
    found: dict[str, list[readers.Directive]] = {}
    for one in readers.nginx(text).blocks("server"):
        found.setdefault(" ".join(one.values("server_name")[0]), []).append(one)
    return found


def test_names_lead_on_to_the_first_one_over_http_and_https() -> None:
    """Promise: one redirect from any of them, with path and query, to where the certificate and the cookies are."""
    found = servers(**{**ON_AWS, "web__redirects": ["www.example.com", "shop.example.com"]})
    (server,) = found["www.example.com shop.example.com"]
    assert server.values("return") == [["301", "https://example.com$request_uri"]]
    assert server.values("listen") == [["80"], ["[::]:80"], ["443", "ssl", "http2"], ["[::]:443", "ssl", "http2"]]
    assert server.values("ssl_certificate")
    assert not server.blocks("location"), "nothing is served under these names"
    assert set(found) == {"www.example.com shop.example.com", "example.com"}


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        (LOCAL, "https://example.com:20443$request_uri"),
        ({**LOCAL, "server__https_port": 443}, "https://example.com$request_uri"),
        ({**LOCAL, "web__https": False}, "http://example.com:20080$request_uri"),
        ({**LOCAL, "web__https": False, "server__http_port": 80}, "http://example.com$request_uri"),
    ],
    ids=["https", "https at its usual port", "http", "http at its usual port"],
)
def test_names_lead_on_to_the_port_that_visitors_reach(changes: dict[str, Any], target: str) -> None:
    """Promise: the way of the visitor's browser, on every kind of server, with and without TLS."""
    (server,) = servers(**changes)["www.example.com"]
    assert server.values("return") == [["301", target]]
    assert bool(server.values("ssl_certificate")) is target.startswith("https")
    assert len(server.values("listen")) == (4 if target.startswith("https") else 2)


def test_a_site_without_redirects_has_no_server_for_them() -> None:
    """Promise: what a stack file does not say changes no file of a server that is there."""
    assert set(servers(**{**LOCAL, "web__redirects": []})) == {"example.com"}


def test_the_host_has_a_certificate_for_the_names_that_lead_on_as_well() -> None:
    """Promise: a visitor of such a name sees no warning before the redirect."""
    assert reader.parse(plans(**ON_AWS)[0].site)["domains"] == ["example.com", "www.example.com"]


def test_long_names_that_lead_on_make_room_in_nginx() -> None:
    """Promise: Nginx starts, whichever of its names is long."""
    long = f"{'long.' * 20}example.com"
    assert "/etc/nginx/conf.d/flaskhost-names.conf" in files(plans(**{**ON_AWS, "web__redirects": [long]})[0].site)
    assert "/etc/nginx/conf.d/flaskhost-names.conf" not in files(plans(**ON_AWS)[0].site)


def test_a_balancer_asks_by_address_for_the_health_of_the_application_and_gets_nothing_else() -> None:
    """Promise: a machine is well when its application is; whoever comes by the address sees no page of the site."""
    (server,) = servers(**SEVERAL, app__health={"path": "/h%C3%A9alth?full=1"})["_"]
    assert ["443", "ssl", "http2", "default_server"] in server.values("listen")
    assert ["80", "default_server"] in server.values("listen")
    (location,) = server.blocks("location")
    refused, *_ = location.blocks("if")
    # As the balancer writes it: a location would be compared with the path without its escapes.
    assert refused.words[1:] == ["($request_uri", "!=", "/h%C3%A9alth?full=1)"]
    assert refused.values("return") == [["404"]]
    assert location.values("proxy_pass") == [["http://unix:/srv/guestbook/run/gunicorn.sock"]]


def test_the_application_is_asked_for_its_health_under_its_own_name() -> None:
    """Promise: an application that knows its hosts answers the balancer; a wildcard is asked for as visitors would."""

    def host(**changes: Any) -> list[str]:
        health = servers(**{**SEVERAL, **changes})["_"][0].blocks("location")[0]
        headers = dict(health.values("proxy_set_header"))
        assert headers["Host"] == headers["X-Forwarded-Host"]
        return [headers["Host"]]

    assert host() == ["example.com"]
    assert host(web__domains=["*.example.com"], web__redirects=[]) == ["www.example.com"]


def test_a_machine_in_maintenance_is_not_well() -> None:
    """Promise: the balancer sends no visitor to it meanwhile."""
    health = servers(**SEVERAL)["_"][0].blocks("location")[0]
    _, flag = health.blocks("if")
    assert flag.words[1:] == ["(-f", "/srv/guestbook/maintenance.html)"]
    assert flag.values("return") == [["503"]]


def test_the_visitors_address_is_what_the_balancer_says_and_nobody_else_may_say() -> None:
    """Promise: logs and limits of the application see visitors; only private networks are believed."""
    *_, pages = servers(**SEVERAL)["example.com"]
    networks = [one[0] for one in pages.values("set_real_ip_from")]
    assert networks == list(rendering.PRIVATE_NETWORKS)
    assert pages.values("real_ip_header") == [["X-Forwarded-For"]]
    assert pages.values("real_ip_recursive") == [], "the last one alone is the balancer's own"


@pytest.mark.parametrize("changes", [ON_AWS, LOCAL], ids=["one machine on AWS", "local"])
def test_nobody_is_believed_and_asked_where_there_is_no_balancer(changes: dict[str, Any]) -> None:
    """Promise: a visitor cannot choose the address that the application sees."""
    found = servers(**changes)
    assert "_" not in found
    assert "set_real_ip_from" not in [name for some in found.values() for one in some for name in one.names()]


def test_uploads_in_a_bucket_are_not_looked_for_on_the_machine() -> None:
    """Promise: Nginx serves no folder that is empty by design; a folder of the server is served as ever."""

    def places(kind: str) -> list[str]:
        *_, pages = servers(**{**ON_AWS, "media": {"kind": kind}})["example.com"]
        return [one.words[-1] for one in pages.blocks("location")]

    assert "/media/" in places("local")
    assert "/media/" not in places("s3")
    assert "/media/" not in places("none")


def test_the_url_of_a_site_on_aws_has_no_port() -> None:
    """Promise: the output `url` can be opened, with one machine and with several."""
    assert {plan.url for changes in (ON_AWS, SEVERAL) for plan in plans(**changes)} == {"https://example.com/"}


def test_documents_for_aws_hold_no_secret_but_in_the_environment() -> None:
    """Promise: a preview shows all of them."""
    for plan in plans(**SEVERAL):
        for name in ("volume", "base", "site", "prepare", "stage", "switch"):
            assert scenario.CANARY not in getattr(plan, name)
        assert scenario.CANARY in plan.environment
        assert scenario.CANARY not in json.dumps(rendering.connections(scenario.of(**SEVERAL), "r", VALUES, SECRETS))
