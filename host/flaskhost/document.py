"""Reads the documents that a remote step sends on its standard input (written by `document.py` of the workstation)."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List

from flaskhost.shell import Failure

FORMAT = "1"
INDENT = " " * 4
LAST = "end"


class Document:
    """One verb's input: JSON values and the texts of files."""

    def __init__(self, verb: str, app: str, values: Dict[str, Any], files: Dict[str, str]) -> None:
        """Hold what was read."""
        self.verb = verb
        self.app = app
        self.values = values
        self.files = files

    def __getitem__(self, name: str) -> Any:
        """Return the value of that name.

        Raises:
            Failure: the document does not have it.
        """
        try:
            return self.values[name]
        except KeyError:
            raise Failure(f"the document of {self.verb} has no value {name!r}: run `pulumi up` again") from None

    def file(self, name: str) -> str:
        """Return the text of that file.

        Raises:
            Failure: the document does not have it.
        """
        try:
            return self.files[name]
        except KeyError:
            raise Failure(f"the document of {self.verb} has no file {name!r}: run `pulumi up` again") from None


def write(verb: str, app: str, values: Dict[str, Any]) -> str:
    """Return a document without files: what a person has asked for on the host itself."""
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
    return f"flaskhost {FORMAT} {verb} {app}\n{''.join(lines)}\n{LAST}\n"


def parse_all(text: str) -> List[Document]:
    """Read one document after the other, with or without empty lines between them.

    Raises:
        Failure: one of them is of another format, or the last was cut off.
    """
    # Only the last line of a document is this word: those of a file are indented, those of values have an `=`.
    parts = re.split(rf"(?<=\n{LAST}\n)", text)
    return [parse(part.lstrip("\n")) for part in parts if part or len(parts) == 1]


def parse(text: str) -> Document:
    """Read a document.

    Raises:
        Failure: it is of another format or was cut off.
    """
    lines = text.split("\n")
    words = lines[0].split(" ")
    if len(words) != 4 or words[0] != "flaskhost" or words[1] != FORMAT:
        raise Failure("standard input is no flaskhost document of format 1: it is written by `pulumi up`")
    if lines[-2:] != [LAST, ""]:
        raise Failure("the document was cut off before its last line: run `pulumi up` again")
    values: Dict[str, Any] = {}
    files: Dict[str, str] = {}
    body = lines[1:-2]
    at = 0
    while at < len(body):
        line = body[at]
        at += 1
        if line.startswith("file "):
            first = at
            while at < len(body) and (not body[at] or body[at].startswith(INDENT)):
                at += 1
            # the empty line before the next block belongs to the document, not to the file
            content = body[first : at - 1]
            files[line[5:]] = "".join(part[len(INDENT) :] + "\n" for part in content)
        elif line:
            name, _, value = line.partition(" = ")
            values[name] = json.loads(value)
    return Document(words[2], words[3], values, files)
