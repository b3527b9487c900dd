"""Reads the environment file of a release: `NAME="value"` lines as systemd reads them (systemd.exec(5))."""

from __future__ import annotations

import re
from typing import Dict, List

from flaskhost.layout import Layout

ASSIGNMENT = re.compile(r'^([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"$', re.MULTILINE | re.DOTALL)
# The second line of the file names the secret ones; what is plain in the stack file may be read in a message as well.
SECRETS = "# secret:"


def parse(text: str) -> Dict[str, str]:
    """Return the variables by name; a backslash takes the meaning from the character after it."""
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in ASSIGNMENT.findall(text)}


def secrets(text: str) -> List[str]:
    """Return the values of the secret variables."""
    heads = [line for line in text.split("\n")[:2] if line.startswith(SECRETS)]
    variables = parse(text)
    return [variables[name] for head in heads for name in head[len(SECRETS) :].split() if name in variables]


def secrets_of(paths: Layout) -> List[str]:
    """Return all secret values that the host keeps for an application, to hide them in messages."""
    files = [*paths.configs.glob("*/env"), *paths.environments.glob("*")]
    return [value for path in files for value in secrets(path.read_text())]
