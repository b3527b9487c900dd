"""`flaskhost environment`: the application's environment. The only verb whose input is a secret of the stack."""

from __future__ import annotations

from typing import Any, Dict

from flaskhost import envfile, layout, manifest, repository
from flaskhost.document import Document
from flaskhost.files import directory, write
from flaskhost.progress import Progress


def environment(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Keep an environment for the releases that will name it, and what git logs in with.

    Input: environment (its digest), and as files the environment (`env`), `git/deploy_key` and `git/token`.
    """
    paths = layout.known(asked.app)
    text = asked.file("env")
    progress.scrubber.add(envfile.secrets(text))
    repository.keep_credentials(paths, asked.files)
    directory(paths.environments, mode=0o700)
    path = paths.environments / asked["environment"]
    changed = write(path, text, mode=0o600)
    manifest.remember(paths, "environment", secret=[path])
    progress.say("environment: written" if changed else "environment: there already")
    return {"environment": asked["environment"]}
