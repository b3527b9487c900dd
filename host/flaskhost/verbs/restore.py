"""`flaskhost restore APP FILE`: make the database what it was when a dump was taken (see `backups`)."""

from __future__ import annotations

from typing import Any, Dict

from flaskhost import backups, envfile, layout, locks, maintenance, migrations, releases
from flaskhost import document as documents
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.shell import Failure


def ask(app: str, name: str) -> str:
    """Return the document of what a person has typed.

    Raises:
        Failure: there is no such dump.
    """
    path = backups.chosen(layout.known(app), name)
    return documents.write("restore", app, {"dump": path.name})


def tell(result: Dict[str, Any]) -> str:
    """Return what a person reads at the end."""
    return f"the database is that of {result['dump']}, and {result['serves']}"


def restore(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Put the page up, stop the application, restore, and start it again. Input: dump (name of the file).

    What came into the database since is lost. A restore that fails leaves the page: PostgreSQL and SQLite are as
    before then, MySQL may be half-way.

    Raises:
        Failure: no release says which database it is, or the restore failed.
    """
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    with locks.application(paths, f"restore of {asked['dump']}", progress):
        release = releases.active(paths) or _newest(paths)
        maintenance.enter(paths, release, progress)
        # It is not what it was, until the restore is whole.
        maintenance.begin(paths, None)
        try:
            backups.restore(paths, release, asked["dump"], progress)
        except Failure as failure:
            raise Failure(f"{failure}\n{maintenance.serving(paths)}") from None
        migrations.forget(paths)
        releases.record(paths, "restore", release, dump=asked["dump"])
        maintenance.serve(paths, progress)
    return {"dump": asked["dump"], "serves": maintenance.serving(paths)}


def _newest(paths: layout.Layout) -> releases.Release:
    there = [one for one in releases.every(paths) if one.is_prepared()]
    if not there:
        raise Failure(f"{paths.app} has no release that says which database it has: deploy one with `pulumi up`")
    return there[-1]
