"""One site, in the words of the Nginx that each distribution brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flaskhost import document, nginx

from tests.components import scenario

if TYPE_CHECKING:
    from tests.host.conftest import Server

NAME = "/etc/nginx/sites-available/guestbook"
TEXT = document.parse(scenario.plan().site).files[NAME]


@pytest.mark.parametrize("version", [(), (1, 18, 0), (1, 22, 1), (1, 24, 0), (1, 25, 0)])
def test_an_older_nginx_gets_the_site_as_a_preview_shows_it(version: tuple[int, ...]) -> None:
    """Promise: Debian 11 and 12 and every supported Ubuntu."""
    assert nginx.worded(TEXT, version) == TEXT
    assert TEXT.count(" http2;") == 2


@pytest.mark.parametrize("version", [(1, 25, 1), (1, 26, 3), (1, 30)])
def test_a_newer_nginx_is_not_made_to_warn(version: tuple[int, ...]) -> None:
    """Promise: Debian 13; HTTP/2 is switched on once in the server that speaks TLS, and nothing else changes."""
    text = nginx.worded(TEXT, version)
    assert text.count("    listen [::]:443 ssl;\n    http2 on;\n") == 1
    assert text.count("http2") == 1
    before, after = (
        [line for line in one.splitlines() if "listen" not in line and "http2 on" not in line] for one in (TEXT, text)
    )
    assert before == after


def test_a_site_without_tls_is_the_same_for_all() -> None:
    """Promise: nothing is switched on that nothing uses."""
    text = document.parse(scenario.plan(web__https=False).site).files[NAME]
    assert nginx.worded(text, (1, 26, 3)) == text


def test_the_host_is_asked_for_its_version(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what Nginx says of itself is read, and nothing is assumed where it says nothing."""
    assert nginx.version() == ()
    program = server.root / "nginx"
    program.write_text("#!/bin/sh\necho 'nginx version: nginx/1.26.3 (Debian)' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(server.root))
    assert nginx.version() == (1, 26, 3)
