"""The page in a real browser: what a visitor of the demo does first."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.e2e.site import PICTURE
from tests.e2e.stack import GOOD, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
expect.set_options(timeout=60_000)

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> str:
    """Return the program of Chromium; as root on Debian it is installed where it is missing."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        words = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
        for step in (["update"], ["install", "--no-install-recommends", "chromium"]):
            subprocess.run([*words, *step], check=False, capture_output=True, timeout=500)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no Chromium here: install it (Debian: apt-get install chromium)")
    return found


@pytest.fixture
def page(chromium: str, tmp_path: Path) -> Iterator[Page]:
    """Return an empty page of a browser that nobody has used before."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile", executable_path=chromium, args=FLAGS, ignore_https_errors=True
        )
        try:
            yield browser.new_page()
        finally:
            browser.close()


def test_a_visitor_leaves_a_message_with_a_picture(stack: Stack, page: Page, tmp_path: Path) -> None:
    """Styles and pictures load under the page's own security policy; message, picture and version are to be seen."""
    stack.deploy(GOOD)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: problems.append(f"{request.url}: {request.failure}"))
    picture = tmp_path / "green.png"
    picture.write_bytes(PICTURE)

    page.goto(f"https://127.0.0.1:{stack.site.https_port}/")
    page.get_by_label("Your name").fill("Grace")
    page.get_by_label("Your message").fill("Sent by a browser")
    page.get_by_label("A picture, if you like").set_input_files(picture)
    page.get_by_role("button", name="Sign the guestbook").click()

    message = page.get_by_role("article").filter(has_text="Grace")
    expect(message).to_contain_text("Sent by a browser")
    shown = message.get_by_alt_text("Picture by Grace")
    shown.scroll_into_view_if_needed()
    expect(shown).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth === 24", arg=shown.element_handle())
    expect(page.get_by_role("contentinfo")).to_contain_text("version 1.0.0")
    assert problems == []
