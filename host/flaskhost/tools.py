"""Which tool brings an application's database up to date, found in its files or named by the stack.

Known are Flask-Migrate (`flask db`), its older form in manage.py, and plain Alembic: all three keep Alembic's version
scripts. Any other command is the application's own business: it runs once per release.
"""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from flaskhost import revisions

UPGRADE = "upgrade"
TARGETS = ("head", "heads")
FLASK = ("flask", "db")
MANAGE = (("python", "manage.py", "db"), ("python3", "manage.py", "db"))
# What a shell would do something with: such a command is more than a call of the tool.
SHELL = re.compile(r"[;&|<>$`()*?#~\\\n]")
SEPARATORS = {"os": os.pathsep, "space": None, "newline": "\n", ":": ":", ";": ";"}


class Tool(NamedTuple):
    """How migrations of a release run.

    Attributes:
        command: what brings the database up to date, for a shell.
        words: the tool without the verb, such as `flask db`; empty for a command of which nothing is known.
        options: what follows after a verb, such as `-d database/migrations`.
        graph: its scripts; None where the files do not tell.
    """

    command: str
    words: Tuple[str, ...] = ()
    options: Tuple[str, ...] = ()
    graph: Optional[revisions.Graph] = None

    def call(self, verb: str, *more: str) -> str:
        """Return the command for another verb, such as `current`."""
        return " ".join(shlex.quote(word) for word in (*self.words, verb, *self.options, *more))


def find(source: Path, wish: str) -> Optional[Tool]:
    """Return the tool that the stack names, or that the source has (`auto`); None where nothing migrates."""
    if wish == "none":
        return None
    if wish != "auto":
        return _named(source, wish)
    if _manages_database(source / "manage.py"):
        return _named(source, "python manage.py db upgrade")
    # What `flask db init` makes (Flask-Migrate): migrations/alembic.ini beside env.py.
    flask = (source / "migrations/env.py").is_file()
    if flask and (source / "migrations/alembic.ini").is_file():
        return _named(source, "flask db upgrade")
    if (source / "alembic.ini").is_file():
        return _named(source, "alembic upgrade head")
    return _named(source, "flask db upgrade") if flask else None


def _named(source: Path, command: str) -> Tool:
    """Return the tool that a command calls."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if SHELL.search(command) or UPGRADE not in words:
        return Tool(command)
    at = words.index(UPGRADE)
    before, after = tuple(words[:at]), words[at + 1 :]
    if before == FLASK or before in MANAGE:
        return _flask_migrate(source, command, before, after)
    if before[:1] == ("alembic",) and after and after[0] in TARGETS and len(after) == 1:
        return _alembic(source, command, before)
    return Tool(command)


def _flask_migrate(source: Path, command: str, before: Tuple[str, ...], after: List[str]) -> Tool:
    target = after[-1:] if after and after[-1] in TARGETS else []
    options = after[: len(after) - len(target)]
    folder = "migrations"
    if options:
        if len(options) != 2 or options[0] not in ("-d", "--directory"):
            return Tool(command)
        folder = options[1]
    found = source / folder
    if not (found / "env.py").is_file():
        return Tool(command)
    return Tool(command, before, tuple(options), _graph(source, found, found / "alembic.ini"))


def _alembic(source: Path, command: str, before: Tuple[str, ...]) -> Tool:
    options = before[1:]
    file = "alembic.ini"
    if options:
        if len(options) != 2 or options[0] not in ("-c", "--config"):
            return Tool(command)
        file = options[1]
    return Tool(command, before, (), _graph(source, None, source / file))


def _graph(source: Path, folder: Optional[Path], file: Path) -> Optional[revisions.Graph]:
    """Return the graph of a folder of migrations, or of the one that an alembic.ini names.

    https://alembic.sqlalchemy.org/en/latest/tutorial.html, "Editing the .ini File".
    """
    settings = _settings(file)
    location = settings.get("script_location")
    if folder is None and not location:
        return None
    home = folder or source / str(location)
    named = settings.get("version_locations")
    if not named:
        places = [home / "versions"]
    else:
        wish = settings.get("path_separator") or settings.get("version_path_separator") or ""
        parts = re.split(r"[,\s]+", named) if wish not in SEPARATORS else named.split(SEPARATORS[wish])
        places = [source / part.strip() for part in parts if part.strip()]
    if not all(place.is_dir() for place in places):
        # `package:folder`, or made when the application starts.
        return None
    return revisions.read(places, deep=settings.get("recursive_version_locations", "").lower() == "true")


def _settings(file: Path) -> Dict[str, str]:
    """Return the section of Alembic, `%(here)s` being the folder of the file."""
    parser = configparser.ConfigParser({"here": str(file.parent)})
    try:
        parser.read(file, encoding="utf-8")
        return dict(parser.items("alembic"))
    except (configparser.Error, UnicodeDecodeError):
        return {}


def _manages_database(path: Path) -> bool:
    """Tell whether a manage.py has the command `db upgrade`: of Flask-Script and old Flask-Migrate, or one of its own.

    It is read, not run; one that only calls `flask` names neither.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (FileNotFoundError, SyntaxError, ValueError):
        return False
    words = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
        elif isinstance(node, (ast.FunctionDef, ast.Name)):
            words.add(node.name if isinstance(node, ast.FunctionDef) else node.id)
    return "MigrateCommand" in words or {"db", "upgrade"} <= words
