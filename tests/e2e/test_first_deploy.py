"""The first deploy to a server on which nothing is installed, and its end."""

from __future__ import annotations

import pytest

from ops.local_server import engine
from tests.e2e.host import APP
from tests.e2e.site import PICTURE
from tests.e2e.stack import GOOD, NEWER, Run, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server_image() -> str:
    """Take the image that users get: a bare server."""
    return "auto"


@pytest.fixture(scope="module")
def first(stack: Stack) -> Run:
    """Deploy v1.0.0 for the first time, once for this module."""
    return stack.deploy(GOOD)


@pytest.mark.usefixtures("first")
def test_one_up_makes_a_bare_server_serve_over_https(stack: Stack) -> None:
    """What `up` promises to a newcomer: the page, its version, and a healthy database behind it."""
    assert stack.outputs()["url"] == f"https://localhost:{stack.site.https_port}/"
    assert "This page was served by version <strong>1.0.0</strong>" in stack.site.get("/").text
    health = stack.site.get("/health")
    assert (health.status, '"database":"ok"' in health.text) == (200, True), health.text


@pytest.mark.usefixtures("first")
def test_plain_http_leads_to_https(stack: Stack) -> None:
    """Nobody reads the site in the clear: same host, same path, the port of HTTPS."""
    port = stack.site.http_port
    answer = stack.site.get("/version?a=b", plain=True, host=f"localhost:{port}")
    assert answer.status == 301
    assert answer.headers["location"] == f"https://localhost:{stack.site.https_port}/version?a=b"


@pytest.mark.usefixtures("first")
def test_static_files_come_from_nginx_with_an_expiry(stack: Stack) -> None:
    """A browser may keep them for the 30 days of the default, and the application's workers never see the request."""
    answer = stack.site.get("/static/style.css")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "max-age=2592000"
    assert answer.headers["content-type"] == "text/css"
    assert "/static/style.css" not in stack.host.run(f"journalctl -q -u '{APP}*' -o cat")


@pytest.mark.usefixtures("first")
def test_the_stack_says_what_was_verified(stack: Stack) -> None:
    """The post-deployment checklist is an output, each point with what was seen."""
    verified = stack.outputs()["verified"]
    assert {"active release", "gunicorn", "starts at boot", "nginx", "health", "https"} <= set(verified)
    assert [point for point, seen in verified.items() if not seen.startswith("ok: ")] == []


@pytest.mark.usefixtures("first")
def test_everything_that_serves_starts_at_boot(stack: Stack) -> None:
    """Nginx and the umbrella unit are enabled; a slot is not, since `active` says which one has to start."""
    host = stack.host
    assert host.run(f"systemctl is-enabled nginx {APP}").split() == ["enabled", "enabled"]
    assert host.run(f"systemctl is-active nginx {APP} {APP}-gunicorn@blue").split() == ["active"] * 3
    assert host.status()["slot"] == "blue"
    assert host.run("systemctl list-units --failed --no-legend") == ""


@pytest.mark.usefixtures("first")
def test_the_words_of_the_documents_act_on_the_active_release(stack: Stack) -> None:
    """`systemctl stop|start|restart|reload <app>` mean the application, whichever slot it runs in."""
    host, slot = stack.host, f"{APP}-gunicorn@{stack.host.slot()}.service"
    host.run(f"systemctl stop {APP}")
    assert not host.succeeds(f"systemctl is-active {slot}")
    assert stack.site.get("/health").status == 502
    host.run(f"systemctl start {APP}")
    assert stack.site.wait_until_healthy(30) == "1.0.0"
    first = host.unit(slot, "MainPID")["MainPID"]
    host.run(f"systemctl reload {APP}")
    assert host.unit(slot, "MainPID")["MainPID"] == first
    host.run(f"systemctl restart {APP}")
    assert stack.site.wait_until_healthy(30) == "1.0.0"
    assert host.unit(slot, "MainPID")["MainPID"] != first


@pytest.mark.usefixtures("first")
def test_an_upload_survives_the_next_release(stack: Stack) -> None:
    """Messages and pictures belong to no release: Nginx serves the same bytes after it."""
    picture = stack.site.sign("Ada", "Here before the release")
    stack.deploy(NEWER)
    assert stack.site.version() == "1.1.0"
    answer = stack.site.get(picture)
    assert answer.body == PICTURE
    assert answer.headers["cache-control"] == "max-age=2592000"
    assert "Here before the release" in stack.site.get("/").text


@pytest.mark.usefixtures("first")
def test_destroy_leaves_neither_server_nor_state(stack: Stack) -> None:
    """The container is gone, and so is every resource; a second `destroy` has nothing to do and says so."""
    stack.destroy()
    assert engine.find(stack.server) is None
    assert stack.export()["deployment"].get("resources", []) == []
    assert stack.destroy().succeeded
