"""What a reviewer reads before anything happens."""

from __future__ import annotations

import re
import secrets

import pytest

from tests.e2e.stack import GOOD, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def changed(text: str, sign: str, line: str) -> bool:
    """Tell whether a diff takes (-) or adds (+) a line."""
    return re.search(rf"^\s*{re.escape(sign)}\s+{line}\s*$", text, flags=re.MULTILINE) is not None


def test_preview_shows_a_change_of_nginx_line_by_line(stack: Stack) -> None:
    """The one line that differs, as it will stand on the server; `up` does just that, and no release is touched."""
    stack.deploy(GOOD, web={"body_size": "10m"})
    logins, slot = stack.host.logins(), stack.host.slot()
    stack.configure(web={"body_size": "20m"})
    shown = stack.preview("--diff").text
    assert changed(shown, "-", "client_max_body_size 10m;"), shown
    assert changed(shown, "+", "client_max_body_size 20m;"), shown
    assert "[secret]" not in re.sub(r"(private_?key|stdin\s*):.*", "", shown, flags=re.IGNORECASE), shown
    assert stack.host.logins() == logins
    stack.up()
    assert "client_max_body_size 20m;" in stack.host.run("nginx -T 2>&1")
    assert stack.host.slot() == slot


def test_preview_names_the_changed_secret_and_not_its_value(stack: Stack) -> None:
    """A keyed digest stands for each secret, so a reviewer sees which one changes; neither value is shown."""
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    stack.encrypt("secrets.API_TOKEN", old)
    stack.deploy(GOOD)
    stack.encrypt("secrets.API_TOKEN", new)
    shown = stack.preview("--diff").text
    assert changed(shown, "-", r'secrets\.API_TOKEN = "hmac:[0-9a-f]{16}"'), shown
    assert changed(shown, "+", r'secrets\.API_TOKEN = "hmac:[0-9a-f]{16}"'), shown
    assert not changed(shown, "[+-]", r"secrets\.SECRET_KEY.*")
    assert old not in shown
    assert new not in shown
