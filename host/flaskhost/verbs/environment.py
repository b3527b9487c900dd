"""`flaskhost environment`: the environment of one release. The only verb whose input is a secret of the stack."""

from __future__ import annotations

from typing import Any, Dict

from flaskhost import envfile, layout
from flaskhost.document import Document
from flaskhost.files import directory, write
from flaskhost.progress import Progress


def environment(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Write `config/<digest>/env`. Input: release, and the environment as a file."""
    paths = layout.known(asked.app)
    text = asked.file("env")
    progress.scrubber.add(envfile.secrets(text))
    folder = paths.config(asked["release"])
    directory(folder, mode=0o750, group=asked.app)
    changed = write(folder / "env", text, mode=0o640, group=asked.app)
    progress.say("environment: written" if changed else "environment: there already")
    return {"release": asked["release"]}
