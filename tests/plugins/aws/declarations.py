"""What the installed pulumi_aws SDK declares of a resource or a function, without importing it.

Importing `pulumi_aws.ec2` alone takes more than a second. So the source of the one class that is asked for is read as
text, and what it says is kept in a cache: with a warm one nothing of the SDK is opened.

A type is one of `"str"`, `"bool"`, `"int"`, `"float"`, `"any"`, `"asset"`, or `{"list": type}`, `{"map": type}`,
`{"enum": [values]}`, `{"object": name}` (its properties are in the declaration's `objects`), `{"either": [types]}`.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ops.setup import cache
from tests.plugins.aws import VERSION

FORM = 3
"""Another number makes the caches of older forms count no more."""

Json = dict[str, Any]
_PLAIN = {"str": "str", "bool": "bool", "int": "int", "float": "float", "Any": "any", "dict": "any"}


_PARSER = threading.Lock()


class Missing(Exception):  # noqa: N818
    """The SDK declares no such resource or function; the text names it."""


@functools.cache
def of(token: str) -> Json:
    """Return what the SDK declares of a resource's or a function's token.

    Returns:
        `inputs` and `outputs`: property -> {"type", "required"}; `objects`: name -> such properties.
    """
    kept = cache.folder() / f"pulumi-aws-{VERSION}" / f"{re.sub('[:/]', '.', token)}.{FORM}.json"
    try:
        found: Json = json.loads(kept.read_text())
    except (OSError, ValueError):
        # Python 3.11 counts the depth of all parsers at work in one number, and stops where two threads differ.
        with _PARSER:
            found = _Reader().read(token)
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{kept.name}.{os.getpid()}-{threading.get_ident()}")
        unfinished.write_text(json.dumps(found))
        unfinished.replace(kept)
    return found


@functools.cache
def _sdk() -> Path:
    # Without importing it: finding the spec of a package at the top runs nothing.
    spec = find_spec("pulumi_aws")
    if spec is None or spec.origin is None:
        raise Missing("the Python package pulumi_aws is missing: run the plugin with the project's environment")
    return Path(spec.origin).parent


@functools.cache
def _text(file: Path) -> str:
    return file.read_text()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@functools.cache
def _parts(text: str) -> dict[str, tuple[int, int]]:
    """Return where each class and function at the top of a module begins and ends, its decorators left out."""
    heads = list(re.finditer(r"^(?:(class|def) (\w+)|@|if |[A-Za-z_])", text, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        f"{head[1]} {head[2]}": (head.start(), end)
        for head, end in zip(heads, ends, strict=True)
        if head[1] is not None
    }


def _slice(text: str, head: str) -> str | None:
    """Return the source of one class or function at the top of a module."""
    part = _parts(text).get(head)
    return None if part is None else text[part[0] : part[1]]


class _Reader:
    """Reads one declaration; the objects that it leads to are collected."""

    def __init__(self) -> None:
        self.objects: Json = {}

    def read(self, token: str) -> Json:
        package, module, name = (*token.split(":"), "", "")[:3]
        where = module.split("/")[0]
        folder = "" if where == "index" else {"lambda": "lambda_"}.get(where, where)
        if token == "pulumi:providers:aws":
            inputs = self.properties(_read("", "provider.py"), "ProviderArgs", "")
            return {"inputs": inputs, "outputs": {}, "objects": self.objects}
        if package != "aws" or not name or not (_sdk() / folder).is_dir():
            raise Missing(f"{token}: pulumi_aws {VERSION} declares no such resource or function")
        text = _file_of(token, folder, name)
        if text is None:
            raise Missing(f"{token}: pulumi_aws {VERSION} declares no such resource or function")
        if name[0].islower():
            inputs = self.arguments(text, _snake(name), folder)
            outputs = self.results(text, f"{name[0].upper()}{name[1:]}Result", folder)
            return {"inputs": inputs, "outputs": outputs, "objects": self.objects}
        # The SDK says Init where an object of the resource has the name already.
        arguments = next(word for word in (f"{name}InitArgs", f"{name}Args") if _slice(text, f"class {word}"))
        inputs = self.properties(text, arguments, folder)
        return {"inputs": inputs, "outputs": self.results(text, name, folder), "objects": self.objects}

    def properties(self, text: str, name: str, folder: str) -> Json:
        """Return the inputs of a class of arguments."""
        source = _slice(text, f"class {name}")
        if source is None:
            raise Missing(f"{name}: pulumi_aws {VERSION} declares no such arguments")
        body = _first(source, ast.ClassDef).body
        functions = [item for item in body if isinstance(item, ast.FunctionDef)]
        wire = {item.name: named for item in functions if (named := _name_on_the_wire(item))}
        begin = next((item for item in functions if item.name == "__init__"), None)
        if begin is None:
            return {}
        declared = {}
        for argument, default in zip(begin.args.kwonlyargs, begin.args.kw_defaults, strict=True):
            kind = self.kind(argument.annotation, folder)
            declared[wire.get(argument.arg, argument.arg)] = {"type": kind, "required": default is None}
        return declared

    def results(self, text: str, name: str, folder: str) -> Json:
        """Return the outputs of a resource; what is always there (given, computed) is `required`."""
        source = _slice(text, f"class {name}") or ""
        declared = {}
        for item in _first(source, ast.ClassDef).body:
            if isinstance(item, ast.FunctionDef) and (wire := _name_on_the_wire(item)) and item.returns is not None:
                optional = ast.unparse(item.returns).startswith(("pulumi.Output[Optional[", "Optional["))
                declared[wire] = {"type": self.kind(item.returns, folder, deep=False), "required": not optional}
        return declared

    def arguments(self, text: str, name: str, folder: str) -> Json:
        """Return the inputs of a function."""
        function = _first(_slice(text, f"def {name}") or "", ast.FunctionDef)
        wire = {}
        for item in function.body:
            if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Subscript):
                key = item.targets[0].slice
                if isinstance(key, ast.Constant) and isinstance(item.value, ast.Name):
                    wire[item.value.id] = str(key.value)
        declared = {}
        for argument in function.args.args:
            if argument.arg in wire:
                given = ast.unparse(argument.annotation) if argument.annotation else ""
                kind = self.kind(argument.annotation, folder)
                declared[wire[argument.arg]] = {"type": kind, "required": not given.startswith("Optional[")}
        return declared

    def kind(self, node: ast.expr | None, folder: str, *, deep: bool = True) -> Any:
        """Return the type that an annotation means; `deep` says whether objects are read as well."""
        if isinstance(node, ast.Subscript):
            return self._generic(ast.unparse(node.value).rpartition(".")[2], node.slice, folder, deep=deep)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._named(node.value, folder) if deep else "any"
        name = ast.unparse(node).rpartition(".")[2] if node is not None else "Any"
        return "asset" if name in ("Asset", "Archive") else _PLAIN.get(name, "any")

    def _generic(self, name: str, inner: ast.expr, folder: str, *, deep: bool) -> Any:
        parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        if name in ("Input", "Optional", "Output"):
            return self.kind(parts[0], folder, deep=deep)
        if name == "Sequence":
            return {"list": self.kind(parts[0], folder, deep=deep)}
        if name == "Mapping":
            return {"map": self.kind(parts[1], folder, deep=deep)}
        # Of the two forms of an object, the one with the SDK's names on the wire is read.
        unions = [part for part in parts if "Dict'" not in ast.unparse(part) and "outputs." not in ast.unparse(part)]
        kinds = [self.kind(part, folder, deep=deep) for part in unions]
        enumerations = [kind for kind in kinds if isinstance(kind, dict) and "enum" in kind]
        if enumerations or len(kinds) == 1:
            return (enumerations or kinds)[0]
        return "any" if "any" in kinds else {"either": kinds}

    def _named(self, name: str, folder: str) -> Any:
        module, _, name = name.rpartition(".")
        if module.startswith("_"):
            folder = module[1:]
        if not name.endswith("Args"):
            return {"enum": _values(folder, name)}
        key = f"{folder}.{name}"
        if key not in self.objects:
            self.objects[key] = {}  # before it is read: an object may lead to itself
            owner = _owner(folder, "_inputs.py", name)
            self.objects[key] = self.properties(_read(owner, "_inputs.py"), name, owner)
        return {"object": key}


def _read(folder: str, file: str) -> str:
    return _text(_sdk() / folder / file)


def _owner(folder: str, file: str, name: str) -> str:
    """Return the folder whose file has that class; policy documents are IAM's wherever they are declared."""
    for owner in (folder, "", "iam"):
        if (_sdk() / owner / file).exists() and _slice(_read(owner, file), f"class {name}") is not None:
            return owner
    raise Missing(f"{name}: pulumi_aws {VERSION} declares no such class")


def _file_of(token: str, folder: str, name: str) -> str | None:
    guess = _sdk() / folder / f"{_snake(name)}.py"
    others = (file for file in sorted((_sdk() / folder).glob("*.py")) if not file.name.startswith("_"))
    for file in (guess, *others):
        if file.exists() and f"'{token}'" in _text(file):
            return _text(file)
    return None


def _values(folder: str, name: str) -> list[Any]:
    source = _slice(_read(_owner(folder, "_enums.py", name), "_enums.py"), f"class {name}") or ""
    assigned = [item.value for item in _first(source, ast.ClassDef).body if isinstance(item, ast.Assign)]
    return [value.value for value in assigned if isinstance(value, ast.Constant)]


def _first(source: str, kind: type[Any]) -> Any:
    return next(item for item in ast.parse(source).body if isinstance(item, kind))


def _name_on_the_wire(function: ast.FunctionDef) -> str | None:
    """Return the name that a property has for the engine, where the function is one."""
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pulumi.getter":
            return next(str(word.value.value) for word in mark.keywords if isinstance(word.value, ast.Constant))
        if ast.unparse(mark) == "pulumi.getter":
            return function.name
    return None
