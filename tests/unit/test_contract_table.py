"""The table of the contract with the command plugin: it names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

PLUGINS = Path(__file__).parents[1] / "plugins"


def test_each_rule_of_the_plugin_names_its_tests() -> None:
    """A row without a test is a wish, and a test that was renamed leaves the table."""
    rows = [line for line in (PLUGINS / "README.md").read_text().splitlines() if line.startswith("| ")][2:]
    written = re.findall(
        r"^def (test_\w+)", "".join(file.read_text() for file in PLUGINS.glob("test_*.py")), re.MULTILINE
    )
    named = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert all(named)
    assert {test for tests in named for test in tests} <= set(written)
