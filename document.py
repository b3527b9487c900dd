"""The document that a remote step sends on its standard input: plain text that a reviewer reads line by line.

    flaskhost 1 prepare guestbook
    release = "4f1c…"

    file gunicorn.conf.py
        bind = …

    end

A value is JSON on one line. A file is its name and its text, indented by four spaces, so that `pulumi preview --diff`
shows a changed line of it as a changed line. The last line says that nothing was cut off. `host/flaskhost/document.py`
reads what is written here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
INDENT = " " * 4


def write(verb: str, app: str, values: Mapping[str, Any], files: Mapping[str, str] | None = None) -> str:
    """Write the document of one verb.

    Args:
        verb: what the host shall do, as `flaskhost` names it.
        app: name of the application.
        values: JSON values by name. They are written in the order given.
        files: text by file name. Each text ends with a newline and holds no carriage return.

    Raises:
        ValueError: a file's text could not be read back as it was.
    """
    parts = [f"flaskhost {FORMAT} {verb} {app}"]
    parts += [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    for name, text in (files or {}).items():
        if not text.endswith("\n") or "\r" in text or "\0" in text:
            raise ValueError(f"{name}: a file of a document ends with a newline and has no CR or NUL in it")
        body = [INDENT + line if line else "" for line in text[:-1].split("\n")]
        parts += ["", f"file {name}", *body]
    parts += ["", "end", ""]
    return "\n".join(parts)
