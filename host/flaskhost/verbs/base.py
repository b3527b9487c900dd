"""`flaskhost base`: packages, accounts, folders, the umbrella unit and uv: all that a release finds there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, Set

from flaskhost import (
    accounts,
    layout,
    locks,
    logs,
    manifest,
    owners,
    packages,
    poetry,
    releases,
    systemd,
    takeover,
    tcp,
)
from flaskhost.document import Document
from flaskhost.files import directory, link, own_tree, remove, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

ROOT = Path(os.environ.get("FLASKHOST_ROOT", "/"))
LIBRARY = ROOT / "usr/local/lib/flaskhost"
# The version that runs now.
HERE = Path(__file__).resolve().parents[2]
# What later verbs have to know.
FACTS = ("root", "stack", "user", "tcp_port", "lock_wait")
# Another stack may have installed a version and wait for its turn: so long it keeps it, whoever names it by then.
UNUSED_SECONDS = 24 * 3600


def base(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Set up the host for one application.

    Input: root, stack, packages, compiler (whether there shall be one), user (account that the application runs as),
    tcp_port (or null), uv, lock_wait (seconds), and as files units, the user's profile and, where logs go to files,
    their rotation. With `drift: preview` also repairs and found (see `drift.drift`).
    """
    paths = layout.Layout(asked.app, asked["root"])
    mode = asked.values.get("mode", "production")
    paths.facts = {"user": asked["user"], "mode": mode, "lock_wait": asked["lock_wait"]}
    name, version = packages.distribution(paths.at("/etc/os-release"))
    directory(paths.at("/etc/flaskhost"))
    with locks.host(paths, f"base of {asked.app}", progress):
        accounts.refuse_person(asked.app)
        # The unit of development mode comes with each release; what is somebody else's is in the way all the same.
        takeover.refuse_foreign(paths, dict.fromkeys([*asked.files, f"/etc/systemd/system/{asked.app}.service"]))
        _claim(paths, asked["stack"], asked["root"], mode)
        tcp.claim(paths, asked["tcp_port"])
        extra = [*asked["packages"], *(packages.TCP_PORT if asked["tcp_port"] else ())]
        extra += packages.LOG_FILES if f"/etc/logrotate.d/{asked.app}" in asked.files else ()
        wanted = packages.wanted(name, extra, compiler=asked["compiler"])
        if mode == layout.DEVELOPMENT:
            # Nothing stands before Flask's own server (reference: deployment-sop.txt, section 4).
            wanted.remove("nginx")
        uv = LIBRARY / f"uv-{asked['uv']}" / "bin/uv"
        # pip first, which gets uv while apt is at work with the others.
        first = [] if uv.exists() else packages.install(packages.PIP, progress)
        with ThreadPoolExecutor(1) as beside:
            download = beside.submit(_uv, uv, asked.file("uv.txt"), progress)
            installed = [*first, *packages.install(wanted, progress, listed=bool(first))]
        download.result()
        progress.say(f"packages: {len(installed)} installed" if installed else "packages: all there")
        accounts.ensure(asked.app, paths.user, str(paths.home), progress)
        owners.folders(paths)
        logs.ensure_folder(paths, progress)
        facts = {"mode": mode, "uv": str(uv), "command": str(HERE), **{name: asked[name] for name in FACTS}}
        write(paths.etc / "app.json", layout.remember(asked.app, facts))
        changed = _files(paths, asked)
        if mode != layout.DEVELOPMENT:
            if not systemd.is_enabled(f"{asked.app}.service"):
                systemd.systemctl("enable", "--quiet", f"{asked.app}.service")
            logs.ensure_journal(asked.app, changed=logs.journal(asked.app) in changed)
        if asked["tcp_port"]:
            tcp.ensure(paths, asked["tcp_port"], progress)
        _remove_unused(paths.at("/etc/flaskhost"))
        _remember(paths, asked, wanted, progress)
    return {"distribution": f"{name} {version}", "installed": installed}


def _remember(paths: layout.Layout, asked: Document, wanted: List[str], progress: Progress) -> None:
    """Note what is here now, so that a change by hand is seen; what was put back, with its reasons, counts as told."""
    before = manifest.recall(paths, "base")
    told = {"repairs": before.get("repairs", 0), "found": before.get("found", [])}
    if asked.values.get("repairs", 0) > told["repairs"]:
        told = {"repairs": asked["repairs"], "found": asked["found"]}
        _remove_drop_ins(paths, progress)
    production = asked.values.get("mode") != layout.DEVELOPMENT
    units = {f"{asked.app}.service": ["enabled"], logs.journal(asked.app): ["enabled", "active"]} if production else {}
    if production and asked["tcp_port"]:
        units[tcp.unit(asked.app, "socket")] = ["active"]
    files = [paths.at(name) for name in asked.files if name.startswith("/")]
    managed = [*files, *owners.managed(paths), paths.etc / "app.json"]
    manifest.remember(paths, "base", files=managed, units=units, packages=wanted, **told)


def _remove_drop_ins(paths: layout.Layout, progress: Progress) -> None:
    """Remove what a person has added to units of the application; a release that runs with it is started anew."""
    found = manifest.added(paths)
    for unit, files in found.items():
        progress.say(f"removed from {unit}: {' '.join(files)}")
        for file in files:
            remove(paths.at(file))
    if found:
        systemd.systemctl("daemon-reload")
    now, slot = releases.active(paths), paths.active_slot()
    if now and any(f"@{slot}." in unit for unit in found):
        now.update(altered=slot)


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
    """Remove versions of this command, of uv and of Poetry that no application on the host works with."""
    used = " ".join(path.read_text() for path in known.glob("*/app.json"))
    ours = f"poetry-{poetry.version()}-"
    for program in (
        *LIBRARY.glob("*/bin/flaskhost"),
        *LIBRARY.glob("uv-*/bin/uv"),
        *LIBRARY.glob("poetry-*/bin/poetry"),
    ):
        version = program.parent.parent
        young = time.time() - version.stat().st_mtime < UNUSED_SECONDS
        if str(version) not in used and version != HERE and not version.name.startswith(ours) and not young:
            remove(version)


# Files are UTF-8 here, whatever the locale of the host is.
_LAUNCHER = """#!/usr/bin/python3 -IXutf8
import pathlib, sys
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from flaskhost.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def _claim(paths: layout.Layout, stack: str, root: str, mode: str) -> None:
    """Refuse a second stack that claims the same name on this host, and another place or mode for the application."""
    directory(paths.etc)
    owner = paths.etc / "owner"
    if owner.exists() and owner.read_text().strip() != stack:
        raise Failure(
            f"the application name {paths.app!r} belongs to the stack {owner.read_text().strip()!r} on this host "
            f"(this one is {stack!r}): choose another flaskhost:app.name, or remove {owner} if that stack is gone"
        )
    write(owner, stack + "\n")
    with contextlib.suppress(FileNotFoundError):
        facts = json.loads((paths.etc / "app.json").read_text())
        there, runs = facts["root"], facts.get("mode", "production")
        if runs != mode and paths.active_slot():
            raise Failure(
                f"flaskhost:app.mode: must stay {runs}, in which {paths.app!r} runs on this host (got {mode}): what "
                f"serves now would be gone before anything else is proven: put it back, run `pulumi destroy` first, or "
                "give the other mode a stack with an app.name of its own"
            )
        if there != root:
            raise Failure(
                f"flaskhost:layout.root: must stay {there}, where {paths.app!r} lies on this host (got {root}): its "
                "uploads and data would stay behind, and its site would fail: put it back, or choose another "
                "flaskhost:app.name and move the data yourself"
            )


def _uv(program: Path, requirements: str, progress: Progress) -> None:
    """Have uv on the host, from the package index, checked by its hashes."""
    if program.exists():
        return
    folder = program.parents[1]
    # One name, since the host's lock is held: what a killed try has left is removed by the next one.
    new = folder.with_name(f".{folder.name}.new")
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
    progress.say(f"installed {folder.name}")


def _files(paths: layout.Layout, asked: Document) -> Set[str]:
    """Write the units, the rotation of logs and the profile, and remove those that the stack does not want any more.

    Returns:
        The names of the units whose text was another one before.
    """
    wanted = {name: text for name, text in asked.files.items() if name.startswith("/")}
    changed = {os.path.basename(name) for name, text in wanted.items() if write(paths.at(name), text)}
    names = [f"/etc/systemd/system/{tcp.unit(paths.app, kind)}" for kind in ("socket", "service")]
    for path in map(paths.at, {*names, f"/etc/logrotate.d/{paths.app}"} - set(wanted)):
        if path.exists() and takeover.is_ours(path):
            if path.parent == paths.units:
                systemd.systemctl("stop", path.name, check=False)
                changed.add(path.name)
            remove(path)
    units = {os.path.basename(name) for name in wanted if name.startswith("/etc/systemd/system/")}
    if changed & {*units, *map(os.path.basename, names)} or systemd.is_outdated(*sorted(units)):
        systemd.systemctl("daemon-reload")
    return changed
