"""`flaskhost environment`: the application's environment. The only verb whose input is a secret of the stack."""

from __future__ import annotations

from typing import Any, Dict

from flaskhost import envfile, layout
from flaskhost.document import Document
from flaskhost.files import directory, write
from flaskhost.progress import Progress


def environment(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Keep an environment for the releases that will name it. Input: environment (its digest), and it as a file."""
    paths = layout.known(asked.app)
    text = asked.file("env")
    progress.scrubber.add(envfile.secrets(text))
    directory(paths.environments, mode=0o700)
    changed = write(paths.environments / asked["environment"], text, mode=0o600)
    progress.say("environment: written" if changed else "environment: there already")
    return {"environment": asked["environment"]}
