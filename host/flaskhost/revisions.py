"""Which revisions an application's migrations have, read from their files, and which of them a database lacks.

Nothing is imported and nobody is asked: Alembic's version scripts say in plain assignments what they are and what they
come after (https://alembic.sqlalchemy.org/en/latest/tutorial.html, "Create a Migration Script").
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

# What `current` may print behind a revision (alembic.script.base, Script.cmd_format).
MARKS = r"(?: \((?:head|effective head|current|branchpoint|mergepoint)\))*"
LINE = re.compile(rf"(\S+){MARKS}\s*")
# One for each database that the tool has opened, where Alembic's log is shown.
OPENED = "Context impl "
# What Alembic says of a database whose revision the scripts do not have.
UNKNOWN = re.compile(r"Can't locate revision identified by '([^']+)'")
NAMES = ("revision", "down_revision", "depends_on", "branch_labels")


class Script(NamedTuple):
    """One version script; `after` are the revisions that it comes after, by name or by the label of their branch."""

    revision: str
    after: Tuple[str, ...]
    labels: Tuple[str, ...]
    title: str


class Look(NamedTuple):
    """What the database says: its revisions (none: it is empty), or the one that the scripts do not have."""

    current: Tuple[str, ...] = ()
    unknown: Optional[str] = None


class Graph:
    """The scripts of an application by revision."""

    def __init__(self, scripts: Iterable[Script]) -> None:
        """Take the scripts; their order does not matter."""
        self.scripts: Dict[str, Script] = {script.revision: script for script in scripts}
        labels = {label: script.revision for script in self.scripts.values() for label in script.labels}
        self._before = {
            script.revision: [labels.get(name, name) for name in script.after] for script in self.scripts.values()
        }

    @property
    def heads(self) -> Tuple[str, ...]:
        """The revisions that nothing comes after, in the order of their names."""
        followed = {name for before in self._before.values() for name in before}
        return tuple(sorted(set(self.scripts) - followed))

    def upto(self, revisions: Iterable[str]) -> Set[str]:
        """Return these revisions and all that they come after."""
        found: Set[str] = set()
        waiting = list(revisions)
        while waiting:
            revision = waiting.pop()
            if revision in self.scripts and revision not in found:
                found.add(revision)
                waiting += self._before[revision]
        return found

    def pending(self, current: Iterable[str]) -> List[Script]:
        """Return what a database at these revisions lacks, each after those that it comes after."""
        missing = self.upto(self.heads) - self.upto(current)
        ordered: List[Script] = []
        placed: Set[str] = set()
        while len(placed) < len(missing):
            ready = [one for one in sorted(missing - placed) if not (set(self._before[one]) & missing) - placed]
            if not ready:
                break  # a circle, of which the tool itself complains
            ordered += [self.scripts[one] for one in ready]
            placed.update(ready)
        return ordered


def read(folders: Sequence[Path], *, deep: bool = False) -> Optional[Graph]:
    """Return the graph of the version scripts in these folders; None where the files do not tell it.

    That is so where there are none, where one cannot be parsed by the host's Python, does not say in a plain value what
    it is, or is for several databases at once (`upgrade` takes the name of an engine then), which may be at different
    revisions.

    Args:
        folders: where the scripts lie.
        deep: whether folders in them count as well (Alembic: recursive_version_locations).
    """
    try:
        found = [_script(path) for folder in folders for path in _files(folder, deep=deep)]
    except (OSError, SyntaxError, ValueError):
        return None
    return Graph(found) if found else None


def _files(folder: Path, *, deep: bool) -> Iterator[Path]:
    """Yield what Alembic takes for a script (alembic.script.base, _only_source_rx)."""
    for path in sorted(folder.rglob("*.py") if deep else folder.glob("*.py")):
        if not path.name.startswith((".#", "__init__")):
            yield path


def _script(path: Path) -> Script:
    """Return what a file says of itself.

    Raises:
        ValueError: it says nothing or something computed, or the script is for several databases.
    """
    tree = ast.parse(path.read_bytes())
    said: Dict[str, Tuple[str, ...]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "upgrade" and node.args.args:
            raise ValueError(f"{path} is for several databases")
        for name, value in _assigned(node):
            if name in NAMES:
                said[name] = _names(ast.literal_eval(value))
    if not said.get("revision"):
        # A wrong guess would skip a migration; Alembic, too, refuses a module without it.
        raise ValueError(f"{path} does not say its revision plainly")
    title = (ast.get_docstring(tree) or "").strip().split("\n")[0] or path.stem
    after = (*said.get("down_revision", ()), *said.get("depends_on", ()))
    return Script(said["revision"][0], after, said.get("branch_labels", ()), title)


def _assigned(node: ast.stmt) -> Iterator[Tuple[str, ast.expr]]:
    """Yield the names that a statement gives a value: `name = value`, `name: type = value`, `one, two = 1, 2`."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            names, values = [target], [node.value]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                names, values = target.elts, node.value.elts
            counted = enumerate(names[: len(values)])
            yield from ((name.id, values[at]) for at, name in counted if isinstance(name, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
        yield node.target.id, node.value


def _names(value: Union[str, Sequence[str], None]) -> Tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(one) for one in value)


def current(text: str, status: int, graph: Graph) -> Optional[Look]:
    """Return what the tool's `current` has told; None where it has failed or spoke of several databases.

    Args:
        text: what it printed, with whatever the application prints and logs when it is loaded.
        status: what it ended with.
        graph: the scripts that it was asked with; after a success, every revision of the database is in there.
    """
    unknown = UNKNOWN.search(text)
    if status:
        return Look(unknown=unknown.group(1)) if unknown else None
    lines = [LINE.fullmatch(line) for line in text.splitlines()]
    found = [line.group(1) for line in lines if line and line.group(1) in graph.scripts]
    if len(set(found)) < len(found) or text.count(OPENED) > 1:
        return None
    return Look(tuple(sorted(found)))
