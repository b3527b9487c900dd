"""Which object of the source answers requests, found by reading the files: nothing of the application is imported."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Dict, Iterator, List, Sequence

from flaskhost.files import write
from flaskhost.layout import Layout
from flaskhost.shell import Failure

# reference/deployment-sop.txt, section 2 "WSGI Entry Point", in the order in which they are looked at.
FILES = ("wsgi.py", "app.py", "run.py")
OBJECTS = ("app", "application")
FACTORIES = ("create_app", "make_app")
LOOKED_FOR = "app, application, create_app() or make_app()"
# Folders whose __init__.py is no application's.
NOT_PACKAGES = frozenset({"tests", "test", "migrations", "docs", "scripts", "node_modules"})


def find(source: Path, wish: str) -> str:
    """Return the entry as Gunicorn takes it: what the stack names, or what the source holds (`auto`).

    Raises:
        Failure: nothing was found, or several that are equally good.
    """
    if wish != "auto":
        return wish
    notes: List[str] = []
    # A package of the same name is what Python imports, not the file beside it.
    files = [name for name in FILES if (source / name).is_file() and not _is_package(source / name[:-3])]
    for name in files:
        found = _entries(source, source / name, notes)
        if found:
            return _only(found)
    packages = sorted(path for path in source.iterdir() if _is_package(path) and path.name not in NOT_PACKAGES)
    found = [entry for path in packages for entry in _entries(source, path / "__init__.py", notes)]
    if found:
        return _only(found)
    where = ", ".join([*FILES, *(f"{path.name}/__init__.py" for path in packages)])
    more = "".join(f"; {note}" for note in notes)
    raise Failure(
        f"flaskhost:app.wsgi: no entry point is in the source (looked for {LOOKED_FOR} in {where}{more}): "
        "add one, or name it as module:attribute, such as shop.web:app"
    )


def remember(paths: Layout, release: str, entry: str) -> None:
    """Write the entry down for the release's unit and for `flask`: systemd reads it before the environment."""
    quoted = entry.replace("\\", "\\\\").replace('"', '\\"')
    text = f'FLASKHOST_WSGI="{quoted}"\nFLASK_APP="{quoted}"\n'
    write(paths.config(release) / "entry", text, mode=0o640, group=paths.app)


def _only(found: Sequence[str]) -> str:
    if len(found) > 1:
        raise Failure(
            f"flaskhost:app.wsgi: the source has several entry points ({', '.join(found)}): name the one to serve"
        )
    return found[0]


def _entries(source: Path, path: Path, notes: List[str]) -> List[str]:
    """Return the entries of one file: its objects, or where it has none, its factories."""
    module = path.parent.name if path.name == "__init__.py" else path.stem
    name = path.relative_to(source)
    try:
        names = _defined(source, ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError) as error:
        raise Failure(
            f"flaskhost:app.wsgi: {name} cannot be read by the host's Python ({error}): correct it, or name the entry "
            "as module:attribute, such as wsgi:app"
        ) from None
    objects = [one for one in OBJECTS if one in names]
    if len(objects) > 1 and any(names[one] in OBJECTS for one in objects):
        objects = objects[:1]  # the same under two names
    if objects:
        return [f"{module}:{one}" for one in objects]
    factories = [one for one in FACTORIES if one in names]
    needy = [one for one in factories if names[one] == NEEDS_ARGUMENTS]
    notes += [f"{one} of {name} needs arguments" for one in needy]
    return [f"{module}:{one}()" for one in factories if one not in needy]


NEEDS_ARGUMENTS = "("


def _defined(source: Path, tree: ast.Module) -> Dict[str, str]:
    """Return the names that a module defines; with the name that one is another word for, or NEEDS_ARGUMENTS."""
    names: Dict[str, str] = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.Assign):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            same = node.value.id if isinstance(node.value, ast.Name) else targets[0] if len(targets) > 1 else ""
            names.update((target, same if same != target else "") for target in targets)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            names[node.target.id] = ""
        elif isinstance(node, ast.FunctionDef):
            given = node.args
            needed = len(given.args) + len(given.posonlyargs) - len(given.defaults)
            needed += sum(default is None for default in given.kw_defaults)
            names[node.name] = NEEDS_ARGUMENTS if needed else ""
        elif isinstance(node, ast.ImportFrom):
            taken = [alias for alias in node.names if not _is_module(source, node, alias.name)]
            names.update((alias.asname or alias.name, "") for alias in taken)
    return names


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when the module is imported, in its branches as well; not what runs as a program only."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "__name__" not in {one.id for one in _words(node.test)}:
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handled = [inner for handler in node.handlers for inner in handler.body]
            yield from _statements([*node.body, *handled, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _statements(node.body)


def _words(node: ast.AST) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name))


def _is_module(source: Path, node: ast.ImportFrom, name: str) -> bool:
    """Tell whether `from package import name` brings a module of the source, and not what the package defines."""
    package = source / (node.module or "").replace(".", "/")
    if not ((package / f"{name}.py").is_file() or _is_package(package / name)):
        return False
    begin = package / "__init__.py"
    try:
        return not begin.is_file() or name not in _defined(package.parent, ast.parse(begin.read_bytes()))
    except (SyntaxError, ValueError):
        return True


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").is_file()
