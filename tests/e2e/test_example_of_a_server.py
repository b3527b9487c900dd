"""The example of a server that is there already: what a reviewer reads of it, and nobody has to reach it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.e2e.stack import TREE

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = "examples/stacks/existing-server.yaml"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def backend(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has just cloned the project: no passphrase, an empty state."""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_CONFIG_PASSPHRASE")}
    return {**without, "PULUMI_BACKEND_URL": f"file://{tmp_path}"}


def test_the_example_of_a_server_can_be_previewed_at_once(backend: dict[str, str]) -> None:
    """Each step, with nothing to install, to log in to or to type, and its file stays as it is."""
    file = (TREE / EXAMPLE).read_bytes()
    words = [str(TREE / "pulumi"), "preview", "--stack", "prod", "--config-file", EXAMPLE]
    words += ["--diff", "--non-interactive", "--color", "never"]
    shown = subprocess.run(words, cwd=TREE, env=backend, capture_output=True, text=True, check=False, timeout=100)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for line in (
        "flaskhost:server:Existing",
        "flaskhost:site:Site$command:remote:Command::guestbook-site",
        r"flaskhost 1 site guestbook\nhttps = true\ndomains = [\"www.example.com\"]",
        "connection            : [secret]",
        'version: "v1.0.0"',
    ):
        assert line in shown.stdout
    assert "PRIVATE KEY" not in shown.stdout
    assert (TREE / EXAMPLE).read_bytes() == file
