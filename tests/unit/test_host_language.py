"""What host/ is written in: Python 3.8 syntax and the standard library, so that any supported host runs it."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

import host_command

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(host_command.PACKAGE.rglob("*.py"))
# distutils and others went in 3.12; what is used has to be there on all versions from 3.8 to the newest.
GONE = {"asyncore", "asynchat", "distutils", "imp", "smtpd", "cgi", "cgitb", "crypt", "pipes", "telnetlib", "spwd"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(host_command.PACKAGE)))
def test_python_3_8_parses_it(path: Path) -> None:
    """Promise: Ubuntu 20.04, the oldest supported host, reads every file."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(host_command.PACKAGE)))
def test_it_imports_the_standard_library_and_itself_only(path: Path) -> None:
    """Promise: nothing has to be installed on a host before the command runs there."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only: the archive runs without a parent package"
            names.add(str(node.module).split(".")[0])
    foreign = names - set(sys.stdlib_module_names) - {"flaskhost"}
    assert not foreign
    assert not names & GONE
