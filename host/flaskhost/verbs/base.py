"""`flaskhost base`: packages, accounts, folders, the umbrella unit and uv: all that a release finds there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Dict

from flaskhost import accounts, builder, layout, locks, packages, systemd
from flaskhost.document import Document
from flaskhost.files import directory, link, own_tree, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

ROOT = Path(os.environ.get("FLASKHOST_ROOT", "/"))
LIBRARY = ROOT / "usr/local/lib/flaskhost"
# The version that runs now.
HERE = Path(__file__).resolve().parents[2]
# Another stack may have installed a version and wait for its turn: so long it keeps it, whoever names it by then.
UNUSED_SECONDS = 24 * 3600


def base(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Set up the host for one application.

    Input: root, stack, packages, compiler (whether there shall be one), uv, and the umbrella unit as a file.
    """
    paths = layout.Layout(asked.app, asked["root"])
    name, version = packages.distribution(paths.at("/etc/os-release"))
    directory(paths.at("/etc/flaskhost"))
    with locks.held(paths.at("/run/flaskhost/host.lock"), f"base of {asked.app}", progress):
        _claim(paths, asked["stack"], asked["root"])
        wanted = packages.wanted(name, asked["packages"], compiler=asked["compiler"])
        installed = packages.install(wanted, progress)
        progress.say(f"packages: {len(installed)} installed" if installed else "packages: all there")
        accounts.ensure(asked.app, str(paths.home), progress)
        _folders(paths)
        uv = _uv(asked["uv"], asked.file("uv.txt"), progress)
        _umbrella(paths, asked.file(f"/etc/systemd/system/{asked.app}.service"))
        facts = {"root": asked["root"], "stack": asked["stack"], "uv": str(uv), "command": str(HERE)}
        write(paths.etc / "app.json", layout.remember(asked.app, facts))
        _remove_unused(paths.at("/etc/flaskhost"))
    return {"distribution": f"{name} {version}", "installed": installed}


def install(program: str, digest: str) -> Path:
    """Install the archive that runs now as the `flaskhost` command of its version; return the command.

    Args:
        program: the uploaded archive (a zip file with the package in it).
        digest: names the folder of this version.
    """
    folder = LIBRARY / digest
    command = folder / "bin" / "flaskhost"
    LIBRARY.mkdir(parents=True, exist_ok=True)
    # Whatever the umask of the session is: the builder runs uv from here.
    directory(LIBRARY)
    with open(LIBRARY / ".lock", "a", encoding="utf-8") as lock:
        # Another stack may install the same version now.
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not command.exists():
            new = folder.with_name(f".{digest}.new")
            remove(new)
            shutil.unpack_archive(program, new, "zip")
            (new / "bin").mkdir()
            write(new / "bin" / "flaskhost", _LAUNCHER, mode=0o755)
            run([sys.executable, "-m", "compileall", "-q", str(new)], check=False)
            own_tree(new, owner="root", group="root", readers="all")
            remove(folder)
            new.rename(folder)
        # Young again, for `_remove_unused`.
        os.utime(folder)
        link(ROOT / "usr/local/bin/flaskhost", str(command))
    return command


def _remove_unused(known: Path) -> None:
    """Remove versions of this command and of uv that no application on the host works with."""
    used = " ".join(path.read_text() for path in known.glob("*/app.json"))
    for folder in (*LIBRARY.glob("*/bin/flaskhost"), *LIBRARY.glob("uv-*/bin/uv")):
        version = folder.parent.parent
        young = time.time() - version.stat().st_mtime < UNUSED_SECONDS
        if str(version) not in used and version != HERE and not young:
            remove(version)


# Files are UTF-8 here, whatever the locale of the host is.
_LAUNCHER = """#!/usr/bin/python3 -IXutf8
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from flaskhost.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def _claim(paths: layout.Layout, stack: str, root: str) -> None:
    """Refuse a second stack that claims the same name on this host, and another place for the same application."""
    directory(paths.etc)
    owner = paths.etc / "owner"
    if owner.exists() and owner.read_text().strip() != stack:
        raise Failure(
            f"the application name {paths.app!r} belongs to the stack {owner.read_text().strip()!r} on this host "
            f"(this one is {stack!r}): choose another flaskhost:app.name, or remove {owner} if that stack is gone"
        )
    write(owner, stack + "\n")
    with contextlib.suppress(FileNotFoundError):
        there = json.loads((paths.etc / "app.json").read_text())["root"]
        if there != root:
            raise Failure(
                f"flaskhost:layout.root: must stay {there}, where {paths.app!r} lies on this host (got {root}): its "
                "uploads and data would stay behind, and its site would fail: put it back, or choose another "
                "flaskhost:app.name and move the data yourself"
            )


def _folders(paths: layout.Layout) -> None:
    """Make the folders with owners and modes (reference: folder-structure.txt; docs/layout.md).

    Code belongs to root and is read by the application's group; Nginx's group reads static and media only.
    """
    app = paths.app
    paths.home.parent.mkdir(parents=True, exist_ok=True)
    slots = [paths.slot(colour) for colour in layout.SLOTS]
    # In releases/ and venvs/ each folder is closed by itself: the builder must get at the one that it fills.
    for folder in (paths.home, paths.slots, *slots, paths.run, paths.shared, paths.releases, paths.venvs):
        directory(folder)
    directory(paths.configs, mode=0o750, group=app)
    directory(paths.statics, mode=0o750, group="www-data")
    # The set-group-id bit hands new uploads to Nginx's group; the unit's umask keeps others out.
    directory(paths.shared / "media", mode=0o2750, owner=app, group="www-data")
    directory(paths.shared / "logs", mode=0o750, owner=app, group=app)
    directory(paths.shared / "data", mode=0o750, owner=app, group=app)
    for path, target in (
        (paths.home / "app", "active/release"),
        (paths.home / "venv", "active/venv"),
        (paths.shared / ".env", "../active/env"),
        (paths.shared / "static", "../active/static"),
        (paths.run / "gunicorn.sock", "../active/gunicorn.sock"),
    ):
        link(path, target)
    for colour in layout.SLOTS:
        link(paths.slot(colour) / "gunicorn.sock", f"../../run/gunicorn-{colour}.sock")
    # Not readable by applications: it shows what the others on this host are made of.
    directory(paths.at("/var/cache/flaskhost"))
    account = builder.account(app)
    directory(paths.at(builder.home(app)), mode=0o700, owner=account, group=account)


def _uv(version: str, requirements: str, progress: Progress) -> Path:
    """Have the uv of that version on the host, from the package index, checked by its hashes; return the program."""
    folder = LIBRARY / f"uv-{version}"
    program = folder / "bin" / "uv"
    if program.exists():
        return program
    # One name, since the host's lock is held: what a killed try has left is removed by the next one.
    new = folder.with_name(f".uv-{version}.new")
    remove(new)
    new.mkdir(parents=True)
    pins = new / "requirements.txt"
    pins.write_text(requirements)
    words = [*packages.pip(ROOT), "install", "--quiet", "--no-deps", "--require-hashes", "--no-compile"]
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    trust = {"PIP_CERT": bundle, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run([*words, "--target", str(new), "-r", str(pins)], timeout=300, env=trust)
    remove(folder)
    new.rename(folder)
    progress.say(f"uv: installed {version}")
    return program


def _umbrella(paths: layout.Layout, text: str) -> None:
    """Install `<app>.service` and have it started at boot."""
    name = f"{paths.app}.service"
    changed = write(paths.units / name, text)
    if changed or systemd.is_outdated(name):
        systemd.systemctl("daemon-reload")
    if not systemd.is_enabled(name):
        systemd.systemctl("enable", "--quiet", name)
