"""A host on which another procedure has set up an application of the same name: nothing of it is overwritten."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Iterable, List

from flaskhost import layout
from flaskhost.shell import Failure

# In the first line of every file that flaskhost writes (templates/): what does not have it is somebody else's.
OURS = "made by flaskhost"


def is_ours(path: Path) -> bool:
    """Tell whether flaskhost has written a file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return OURS in file.readline()


def refuse_foreign(paths: layout.Layout, names: Iterable[str]) -> None:
    """Refuse to write over what is somebody else's: files, and folders where links of ours have to be.

    Args:
        paths: layout of the application.
        names: files that are to be written.

    Raises:
        Failure: there is some; the message has all of it, and the commands that move it away.
    """
    sites = [f"/etc/nginx/sites-{kind}/{paths.app}" for kind in ("enabled", "available")]
    files = [paths.at(name) for name in (*names, *sites) if name.startswith("/")]
    foreign = [path for path in files if _is_there(path) and not _leads(path, sites[1])]
    links = [paths.home / "app", paths.home / "venv", paths.shared / ".env", paths.shared / "static"]
    foreign += [path for path in (*links, paths.run / "gunicorn.sock") if path.exists() and not path.is_symlink()]
    if foreign:
        raise Failure(_message(paths, foreign))


def _is_there(path: Path) -> bool:
    """Tell whether a file is there that flaskhost has not written."""
    return (path.is_symlink() or path.exists()) and not (path.is_file() and is_ours(path))


def _leads(path: Path, to: str) -> bool:
    """Tell whether a link leads to that file: whose the link is, the file says, and it may be gone."""
    return path.is_symlink() and os.readlink(path) == to


def _message(paths: layout.Layout, foreign: List[Path]) -> str:
    aside = f"/root/{paths.app}-before-flaskhost"
    links = [path for path in foreign if path.parent.name == "sites-enabled"]
    commands = (
        [f"systemctl disable --now {paths.app}.service"] if paths.units / f"{paths.app}.service" in foreign else []
    )
    commands += [f"rm {shlex.quote(str(path))}" for path in links]
    moved = " ".join(shlex.quote(str(path)) for path in foreign if path not in links)
    # With their folders: a unit, a site and a rule of logrotate may have one name.
    commands += [f"mkdir -p {aside} && cp -a --parents {moved} {aside}/ && rm -r {moved}"] if moved else []
    then = (
        "Nothing was changed, and what runs there goes on. Choose another flaskhost:app.name; or take it over: see to "
        "its uploads and data first (docs/sop.md), then do this and run `pulumi up` again:"
    )
    lines = [
        f"this host has, where the application {paths.app!r} has to be, what was not made by flaskhost:",
        *(f"  {path}" for path in foreign),
        then,
        *(f"  {command}" for command in commands),
    ]
    return "\n".join(lines)
