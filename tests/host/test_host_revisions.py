"""Which revisions a source has, and what a database lacks: read from files, without a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from flaskhost import revisions, tools
from flaskhost.revisions import Graph, Look, Script

if TYPE_CHECKING:
    from pathlib import Path


def script(revision: str, *after: str, labels: tuple[str, ...] = ()) -> Script:
    """Return a script that comes after others."""
    return Script(revision, after, labels, f"title of {revision}")


LINE = Graph([script("c", "b"), script("a"), script("b", "a")])
MERGED = Graph([script("a"), script("b", "a"), script("c", "a"), script("d", "b", "c")])
BRANCHES = Graph([script("a", labels=("shop",)), script("b", "a"), script("x"), script("y", "x", "shop")])


@pytest.mark.parametrize(
    ("graph", "current", "heads", "pending"),
    [
        (LINE, (), ("c",), ["a", "b", "c"]),
        (LINE, ("b",), ("c",), ["c"]),
        (LINE, ("c",), ("c",), []),
        (MERGED, ("a",), ("d",), ["b", "c", "d"]),
        (MERGED, ("b",), ("d",), ["c", "d"]),
        (MERGED, ("b", "c"), ("d",), ["d"]),
        (BRANCHES, ("a",), ("b", "y"), ["b", "x", "y"]),
        (BRANCHES, ("b", "y"), ("b", "y"), []),
        (Graph([]), (), (), []),
        (Graph([script("a", "b"), script("b", "a"), script("c", "a")]), (), ("c",), []),
    ],
    ids=["empty", "behind", "there", "merge", "one side", "both sides", "two heads", "all", "no scripts", "a circle"],
)
def test_what_is_pending_comes_in_an_order_that_can_run(
    graph: Graph, current: tuple[str, ...], heads: tuple[str, ...], pending: list[str]
) -> None:
    """Promise: all that the heads need and the database lacks, each after what it depends on."""
    assert graph.heads == heads
    assert [one.revision for one in graph.pending(current)] == pending


SCRIPT = '"""Add a city.\n\nRevision ID: 2\n"""\n\nrevision: str = "2"\ndown_revision = ("1", "0")\n'
SCRIPT += 'branch_labels = ["shop"]\ndepends_on = "9"\n\ndef upgrade():\n    pass\n'


def test_a_script_says_what_it_is(tmp_path: Path) -> None:
    """Promise: plain, annotated and double assignments, tuples and names; files that Alembic ignores are ignored."""
    (tmp_path / "2_city.py").write_text(SCRIPT)
    (tmp_path / "1_first.py").write_text("revision, down_revision = '1', None\n")
    for name in ("__init__.py", ".#2_city.py", "readme.txt"):
        (tmp_path / name).write_text("revision = 'x'\n")
    graph = revisions.read([tmp_path])
    assert graph is not None
    assert graph.scripts == {
        "1": Script("1", (), (), "1_first"),
        "2": Script("2", ("1", "0", "9"), ("shop",), "Add a city."),
    }


@pytest.mark.parametrize(
    "text",
    [
        "print 'Python 2'\n",
        "import os\nrevision = os.environ['REVISION']\n",
        "revision = '1'\ndef upgrade(engine_name):\n    pass\n",
        "if True:\n    revision = '1'\n",
        None,
    ],
    ids=["not to be parsed", "computed", "several databases", "not plainly said", "no scripts"],
)
def test_what_the_files_do_not_tell_is_not_guessed(tmp_path: Path, text: str | None) -> None:
    """Promise: a wrong graph would skip migrations; without one the tool decides, as it always can."""
    if text:
        (tmp_path / "1.py").write_text(text)
    assert revisions.read([tmp_path]) is None


LOADED = "INFO  [alembic.runtime.migration] Context impl PostgresqlImpl.\n"


@pytest.mark.parametrize(
    ("text", "status", "look"),
    [
        (f"{LOADED}INFO  [alembic.runtime.migration] Will assume transactional DDL.\nc (head)\n", 0, Look(("c",))),
        (f"{LOADED}", 0, Look()),
        ("loading the shop\nb\n", 0, Look(("b",))),
        ("b (branchpoint)\na (effective head) (mergepoint)\n", 0, Look(("a", "b"))),
        ("b is the answer\nab\n", 0, Look()),
        ("Error: Can't locate revision identified by '77aa'\n", 1, Look(unknown="77aa")),
        ("  FAILED: Can't locate revision identified by '77aa'\n", 255, Look(unknown="77aa")),
        ("OperationalError: could not connect\n", 1, None),
        ("c (head)\nc (head)\n", 0, None),
        (f"{LOADED}c (head)\n{LOADED}", 0, None),
    ],
    ids=[
        *("head", "empty", "no marks", "several", "no revision", "unknown", "unknown to Alembic"),
        *("failed", "the same twice", "two databases"),
    ],
)
def test_what_current_prints_is_understood_or_left(text: str, status: int, look: Look | None) -> None:
    """Promise: logs and prints of the application are no revisions; what may be of two databases is not believed."""
    assert revisions.current(text, status, LINE) == look


def source(folder: Path, files: dict[str, str]) -> Path:
    """Return a source with these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


FIRST = "revision = '1'\ndown_revision = None\n"
FLASK = {"migrations/env.py": "", "migrations/alembic.ini": "[alembic]\n", "migrations/versions/1.py": FIRST}
ALEMBIC = {"alembic.ini": "[alembic]\nscript_location = %(here)s/db\nsqlalchemy.url = x\n", "db/versions/1.py": FIRST}
MANAGE = {"manage.py": "@cli.group()\ndef db(): ...\n@db.command()\ndef upgrade(): ...\n"}


@pytest.mark.parametrize(
    ("files", "wish", "command", "call"),
    [
        (FLASK, "auto", "flask db upgrade", "flask db current"),
        (ALEMBIC, "auto", "alembic upgrade head", "alembic current"),
        ({**ALEMBIC, "db/env.py": ""}, "alembic upgrade heads", "alembic upgrade heads", "alembic current"),
        ({**FLASK, **ALEMBIC}, "auto", "flask db upgrade", "flask db current"),
        ({**FLASK, **MANAGE}, "auto", "python manage.py db upgrade", "python manage.py db current"),
        (
            {"a b/env.py": "", "a b/versions/1.py": FIRST},
            "flask db upgrade -d 'a b' head",
            "flask db upgrade -d 'a b' head",
            "flask db current -d 'a b'",
        ),
        (
            {"etc/db.ini": "[alembic]\nscript_location = db\n", "db/versions/1.py": FIRST},
            "alembic -c etc/db.ini upgrade head",
            "alembic -c etc/db.ini upgrade head",
            "alembic -c etc/db.ini current",
        ),
        (
            {
                "alembic.ini": "[alembic]\nscript_location = db\nversion_locations = one:two\n"
                "path_separator = :\nrecursive_version_locations = true\n",
                "one/1.py": FIRST,
                "two/deep/2.py": "revision = '2'\ndown_revision = '1'\n",
            },
            "auto",
            "alembic upgrade head",
            "alembic current",
        ),
    ],
    ids=["Flask-Migrate", "Alembic", "Alembic named", "both", "manage.py", "folder", "file", "several places"],
)
def test_the_tool_is_found_and_its_scripts_are(
    tmp_path: Path, files: dict[str, str], wish: str, command: str, call: str
) -> None:
    """Promise: Flask-Migrate, manage.py and Alembic, by themselves or named, with the scripts where they are."""
    tool = tools.find(source(tmp_path, files), wish)
    assert tool is not None
    assert tool.graph is not None
    assert (tool.command, tool.call("current")) == (command, call)
    assert "1" in tool.graph.scripts
    assert len(tool.graph.heads) == 1


@pytest.mark.parametrize(
    "command",
    [
        "flask db upgrade && flask seed",
        "flask db upgrade ae1027",
        "flask --app other db upgrade",
        "alembic -n other upgrade head",
        "alembic upgrade +1",
        "flask init-db",
        "flask db upgrade 'unclosed",
    ],
)
def test_another_command_is_the_applications_own_business(tmp_path: Path, command: str) -> None:
    """Promise: it runs as it stands, and nothing is claimed about its revisions."""
    assert tools.find(source(tmp_path, FLASK), command) == tools.Tool(command)


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    """Promise: an application without migrations has none, and `none` means none."""
    assert tools.find(tmp_path, "auto") is None
    assert tools.find(source(tmp_path, FLASK), "none") is None
