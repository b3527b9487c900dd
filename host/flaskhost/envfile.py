"""Reads the environment file of a release: `NAME="value"` lines as systemd reads them (systemd.exec(5))."""

from __future__ import annotations

import re
from typing import Collection, Dict, List, Mapping

from flaskhost.layout import Layout

ASSIGNMENT = re.compile(r'^([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"$', re.MULTILINE | re.DOTALL)
# The second line of the file names the secret ones; what is plain in the stack file may be read in a message as well.
SECRETS = "# secret:"
# What a value between double quotes needs a backslash for, for systemd and for sh.
ESCAPED = {ord(character): f"\\{character}" for character in '\\"$`'}


def parse(text: str) -> Dict[str, str]:
    """Return the variables by name; a backslash takes the meaning from the character after it."""
    return {name: re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL) for name, value in ASSIGNMENT.findall(text)}


def rendered(head: str, variables: Mapping[str, str], hidden: Collection[str]) -> str:
    """Return the text of a file.

    Args:
        head: its first line, which says who has made it.
        variables: values by name.
        hidden: names of the secret ones.
    """
    lines = [f'{name}="{value.translate(ESCAPED)}"' for name, value in variables.items()]
    return "\n".join([head, f"{SECRETS} {' '.join(sorted(hidden))}".rstrip(), *lines, ""])


def merged(own: str, more: str) -> str:
    """Return the text of two files in one; of a name that is in both, the second one's value counts."""
    variables = {**parse(own), **parse(more)}
    return rendered(own.split("\n", 1)[0], variables, {*_hidden(own), *_hidden(more)})


def secrets(text: str) -> List[str]:
    """Return the values of the secret variables."""
    variables = parse(text)
    return [variables[name] for name in _hidden(text) if name in variables]


def _hidden(text: str) -> List[str]:
    """Return the names of the secret variables."""
    heads = [line for line in text.split("\n")[:2] if line.startswith(SECRETS)]
    return [name for head in heads for name in head[len(SECRETS) :].split()]


def secrets_of(paths: Layout) -> List[str]:
    """Return all secret values that the host keeps for an application, to hide them in messages."""
    kept = [paths.connections] if paths.connections.exists() else []
    files = [*paths.configs.glob("*/env"), *paths.environments.glob("*"), *kept]
    return [value for path in files for value in secrets(path.read_text())]
