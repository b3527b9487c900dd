"""URLs of static files that change with the files' content, so that browsers may keep them for long."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask


@cache
def digest(file: Path) -> str:
    """Return a short digest of a file; a release's files never change, so it is taken once."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:10]


def fingerprint(app: Flask) -> Callable[[str, dict[str, Any]], None]:
    """Return the hook that adds the digest to what `url_for("static", …)` gives: /static/style.css?v=0123456789."""

    def add(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and "filename" in values:
            file = Path(str(app.static_folder), values["filename"])
            if file.is_file():
                values["v"] = digest(file)

    return add
