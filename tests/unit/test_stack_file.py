"""A stack file after a change of some values: those, and not a character beside them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ops import stack_file
from ops.configuration import MISSING, Place
from ops.setup import cache
from ops.setup.errors import SetupError
from ops.stack_file import Secret

FILE = """\
# The shop.
encryptionsalt: v1:AAAA=:v1:BBBB:CCCC==
config:
  flaskhost:server: {kind: local} # here
  flaskhost:app:
    name: shop
    # The release.
    version: v1.1.0 # with the new till
    commit: 3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a
    # Of Flask.
    static: shop/static
  flaskhost:web:
    domains:
      - shop.example
      # the old name
      - www.shop.example
  flaskhost:env: # in plain text
    TITLE: "Shop: all of it"
    KEY: |
      first
      second
    LAST: z
  flaskhost:secrets:
    TOKEN:
      secure: v1:aaaa:bbbb==
    OTHER:
      secure: v1:cccc:dddd==
  # The end.
  flaskhost:digest_key:
    secure: v1:eeee:ffff==
"""


def place(dotted: str) -> Place:
    """Return a place from how people write it."""
    first, *rest = dotted.split(".")
    return (f"flaskhost:{first}", *rest)


def put(text: str, **edits: Any) -> str:
    """Return a text with values put in, by dotted place with `__` for the dot."""
    return stack_file.put(text, [(place(name.replace("__", ".")), value) for name, value in edits.items()])


def lines_of(before: str, after: str) -> tuple[list[str], list[str]]:
    """Return the lines that only one of two texts has."""
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


@pytest.mark.parametrize(
    ("edits", "gone", "new"),
    [
        pytest.param(
            {"app__version": "v1.0.0"},
            ["    version: v1.1.0 # with the new till"],
            ["    version: v1.0.0 # with the new till"],
            id="a text, and its comment stays",
        ),
        pytest.param(
            {"app__commit": MISSING},
            ["    commit: 3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a3f2a"],
            [],
            id="a line that goes, and the comment of the next one stays",
        ),
        pytest.param({"app__migrate": "none"}, [], ["    migrate: none"], id="a new line"),
        pytest.param(
            {"app__gunicorn__workers": 3}, [], ["    gunicorn:", "      workers: 3"], id="a new group in a group"
        ),
        pytest.param({"layout__root": "/var/www"}, [], ["  flaskhost:layout:", "    root: /var/www"], id="a new group"),
        pytest.param(
            {"server__ssh_port": 2222},
            ["  flaskhost:server: {kind: local} # here"],
            ["  flaskhost:server: {kind: local, ssh_port: 2222} # here"],
            id="a group on one line",
        ),
        pytest.param(
            {"web__domains": ["shop.example"]},
            ["    domains:", "      - shop.example", "      # the old name", "      - www.shop.example"],
            ["    domains: [shop.example]"],
            id="a list",
        ),
        pytest.param(
            {"env__TITLE": "12:30", "env__LAST": "yes"},
            ['    TITLE: "Shop: all of it"', "    LAST: z"],
            ['    TITLE: "12:30"', '    LAST: "yes"'],
            id="a text that looks like something else",
        ),
        pytest.param(
            {"env__KEY": "a\nb\x7f😀"},
            ["    KEY: |", "      first", "      second"],
            ['    KEY: "a\\nb\\U0000007f😀"'],
            id="a text of several lines",
        ),
        pytest.param(
            {"secrets__TOKEN": Secret("v1:gggg:hhhh==")},
            ["      secure: v1:aaaa:bbbb=="],
            ["      secure: v1:gggg:hhhh=="],
            id="a secret, and the other one stays",
        ),
        pytest.param(
            {"secrets__NEW": Secret("v1:gggg:hhhh==")},
            [],
            ["    NEW:", "      secure: v1:gggg:hhhh=="],
            id="a new secret",
        ),
        pytest.param(
            {"secrets__TOKEN": MISSING, "secrets__OTHER": MISSING},
            FILE.splitlines()[22:27],
            [],
            id="a group goes with its last value",
        ),
        pytest.param(
            {"env__LAST": Secret("v1:gggg:hhhh==")},
            ["    LAST: z"],
            ["    LAST:", "      secure: v1:gggg:hhhh=="],
            id="a text that becomes a secret",
        ),
        pytest.param(
            {"secrets__TOKEN": "open"},
            ["    TOKEN:", "      secure: v1:aaaa:bbbb=="],
            ["    TOKEN: open"],
            id="a secret that becomes a text",
        ),
    ],
)
def test_only_the_lines_of_what_changes_change(edits: dict[str, Any], gone: list[str], new: list[str]) -> None:
    """Promise: a reviewer's difference of the file is the difference of its values."""
    assert lines_of(FILE, put(FILE, **edits)) == (gone, new)


@pytest.mark.parametrize("name", ["local", "dev", "prod"])
def test_the_way_there_and_back_leaves_the_file_as_it_was(name: str) -> None:
    """Promise: the stack files of the tree survive changes of each kind, to the byte."""
    text = (cache.TREE / f"Pulumi.{name}.yaml").read_text()
    was = yaml.safe_load(text)["config"]
    there = put(
        text,
        app__version="v9",
        app__commit="3f2a" * 10,
        env__SITE_TITLE="Other",
        secrets__SECRET_KEY=Secret("v1:a:b"),
        layout__root="/x",
    )
    back = put(
        there,
        app__version=was["flaskhost:app"]["version"],
        app__commit=MISSING,
        env__SITE_TITLE=was["flaskhost:env"]["SITE_TITLE"],
        secrets__SECRET_KEY=Secret(was["flaskhost:secrets"]["SECRET_KEY"]["secure"]),
        layout__root=MISSING,
    )
    assert there != text
    assert yaml.safe_load(back) == yaml.safe_load(text)
    assert [line.split("#")[-1] for line in back.splitlines() if "#" in line] == [
        line.split("#")[-1] for line in text.splitlines() if "#" in line
    ]


def test_a_file_that_cannot_be_changed_so_is_refused() -> None:
    """Promise: where one text stands for two values, neither is changed by mistake."""
    text = "config:\n  flaskhost:env: &shared\n    A: one\n  flaskhost:other: *shared\n"
    with pytest.raises(SetupError, match="edit it by hand"):
        stack_file.put(text, [(("flaskhost:other", "A"), "two")])
