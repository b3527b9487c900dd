"""`flaskhost prepare`: code, dependencies, build, static files and configuration of one release, ready to start."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from flaskhost import (
    builder,
    commands,
    connections,
    dependencies,
    entry,
    envfile,
    example,
    layout,
    locks,
    migrations,
    processes,
    python,
    releases,
    repository,
    sources,
    space,
    statics,
)
from flaskhost.caller import LOGIN
from flaskhost.document import Document
from flaskhost.files import directory, own_tree, remove, settle, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

COMPILE_SECONDS = 300


def prepare(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Make a release ready to start; nothing runs of it yet but its build command.

    Input: release (digest), version, commit, tree (digest of the code), archive (path of a tar file, relative to the
    home of the login user, or null: then repository and host_key say where the commit is fetched from), wsgi, python,
    python_mirror, dependencies, gunicorn, build, build_timeout (seconds), env_example (file of the source, or null),
    static, migrate (see `tools.find`), environment (its digest), connections (what each variable is, by the names of
    those that managed services hand over; none if it is not there), and the files of its configuration.
    In development mode (mode), the packages for development come along.
    """
    paths = layout.known(asked.app)
    progress.scrubber.add([*envfile.secrets_of(paths), *repository.secrets_of(paths)])
    with locks.application(paths, f"prepare {asked['version']}", progress):
        release = releases.read(paths, asked["release"])
        there = release.is_prepared() and not release.facts.get("edited")
        if not there:
            _demand_space(paths, asked)
        _configuration(paths, release, asked)
        if there:
            progress.say(f"release {release.label} is here already")
            return _result(release, built=False)
        processes.refuse_schedules(asked.files)
        _remove_leftovers(paths, release)
        folder = f"{releases.stamp()}-{_safe(asked['version'])}-{release.digest[:8]}"
        facts = {"version": asked["version"], "commit": asked["commit"], "tree": asked["tree"]}
        release.update(**facts, created=releases.stamp(), folder=folder, prepared=False, edited=None)
        progress.say(f"release {release.label}: unpacking")
        _code(paths, release, asked, progress)
        _compare_environment(paths, release, asked["env_example"])
        if asked.values.get("mode") == layout.DEVELOPMENT:
            sources.remember(release, sources.found(release.source))
        chosen = entry.find(release.source, asked["wsgi"])
        progress.say(f"entry point: {chosen}")
        entry.remember(paths, release.digest, chosen)
        release.update(venv=_dependencies(paths, release, asked, progress), entry=chosen)
        if asked["build"]:
            _build(release, asked["build"], asked["build_timeout"], progress)
        _compile(release)
        own_tree(release.source, owner="root", group=asked.app)
        _usual_environment(release)
        _static(release, asked["static"], progress)
        settle(release.source)
        release.update(prepared=True)
        releases.record(paths, "prepare", release)
        if asked["archive"] is not None:
            _remove_served(asked)
        migrations.tell(paths, release, asked["migrate"], progress)
    return _result(release, built=True)


def _code(paths: layout.Layout, release: releases.Release, asked: Document, progress: Progress) -> None:
    """Have the code where the release looks for it: from the archive that was uploaded, or from the repository."""
    account = builder.account(asked.app)
    if asked["archive"] is not None:
        unpack(_archive(asked), release.source, account)
        return
    if "repository" not in asked.values:
        raise Failure(
            f"release {release.label} is not on this host as it is asked for, and its code could not be had where `up` "
            "runs: give it the repository again, or ask for all that the earlier release had (python3 -m ops rollback)"
        )
    place = repository.Place(asked["repository"], asked["host_key"])
    archive = repository.archive(paths, place, asked["commit"], progress)
    try:
        unpack(archive, release.source, account)
    finally:
        remove(archive)
    repository.finish(release.source)


def _remove_served(asked: Document) -> None:
    """Remove archives of other releases; the one of this release stays, since Pulumi does not upload it again."""
    ours = _uploaded(asked)
    for old in ours.parent.glob("source-*.tar"):
        remove(old if old != ours else None)


def _uploaded(asked: Document) -> Path:
    """Return where the archive is: in the home folder of whom the session belongs to (root or a user with sudo)."""
    return Path(os.path.expanduser("~" + os.environ.get(LOGIN, "root"))) / str(asked["archive"])


def _dependencies(paths: layout.Layout, release: releases.Release, asked: Document, progress: Progress) -> str:
    """Have the Python and the packages that the source asks for; return the name of their environment."""
    uv = paths.facts["uv"]
    version = python.wanted(asked["python"], release.source)
    found = python.ensure(paths, version, uv, asked["python_mirror"], progress)
    development = asked.values.get("mode") == layout.DEVELOPMENT
    wanted = dependencies.Wanted(asked["dependencies"], found, asked["gunicorn"], development)
    return dependencies.ensure(paths, release.source, asked["tree"], wanted, uv, progress)


def _result(release: releases.Release, *, built: bool) -> Dict[str, Any]:
    return {"release": release.digest, "folder": release.facts["folder"], "venv": release.facts["venv"], "built": built}


def _safe(version: str) -> str:
    """Return a version as a part of a folder's name: a branch may hold a slash."""
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in version)[:60]


def _configuration(paths: layout.Layout, release: releases.Release, asked: Document) -> None:
    folder = paths.config(release.digest)
    directory(folder, mode=0o750, group=asked.app)
    _demand_environment(paths, asked)
    changed = [name for name, text in asked.files.items() if write(folder / name, text, mode=0o640, group=asked.app)]
    release.update(environment=asked["environment"], connections=sorted(asked.values.get("connections", [])))
    connections.compose(paths, release)
    slot = releases.slot_of(paths, release.digest)
    if changed and slot:
        # By hand, since the release's name is a digest of them all: what runs may have read it, and is started anew.
        release.update(altered=slot)


def _demand_space(paths: layout.Layout, asked: Document) -> None:
    """See that there is room for what the release will take: about as much as the active one, and its archive."""
    now = releases.active(paths)
    parts = [now.source, now.venv, now.static] if now else []
    need = space.taken([*parts, *([_uploaded(asked)] if asked["archive"] is not None else [])])
    places = (paths.releases, paths.venvs, paths.statics)
    space.demand(places, need, f"the release {asked['version']}", space.usual(paths))


def _compare_environment(paths: layout.Layout, release: releases.Release, file: Optional[str]) -> None:
    """See that the release has every variable that its own example names."""
    if file is not None:
        there = envfile.parse((paths.config(release.digest) / "env").read_text())
        example.compare(paths, release.source, file, there)


def _demand_environment(paths: layout.Layout, asked: Document) -> None:
    if not (paths.environments / str(asked["environment"])).exists():
        # Pulumi knows that it was sent, and does it again only when asked.
        again = f"pulumi up --replace '**::{asked.app}-environment'"
        raise Failure(f"the environment of this release is missing on the host: send it again with `{again}`")


def _remove_leftovers(paths: layout.Layout, release: releases.Release) -> None:
    """Remove what an earlier, ended try of the same release has left."""
    for path in paths.releases.glob(f"*-{release.digest[:8]}"):
        remove(path)
    remove(release.static)


def _archive(asked: Document) -> Path:
    """Return the uploaded archive.

    Raises:
        Failure: it is not there, or is not the one whose digest the document has.
    """
    path = _uploaded(asked)
    digest = hashlib.sha256()
    if path.is_file():
        with open(path, "rb") as file:
            for part in iter(lambda: file.read(1024 * 1024), b""):
                digest.update(part)
    if digest.hexdigest() != asked["tree"]:
        what = "not the one that was uploaded" if path.is_file() else "missing"
        # Pulumi knows that it was uploaded, and does it again only when asked.
        again = f"pulumi up --replace '**::{asked.app}-source'"
        raise Failure(f"the archive of the source on the host is {what} ({path}): upload it again with `{again}`")
    return path


def unpack(archive: Path, target: Path, owner: str = "root", group: Optional[str] = None) -> None:
    """Unpack a tar file of regular files, folders and links that stay inside; give it to `owner` and a group.

    Raises:
        Failure: a member would end up outside of `target`.
    """
    directory(target, mode=0o700)
    top = os.path.realpath(target)
    with tarfile.open(archive) as tar:
        for member in tar:
            at = os.path.normpath(os.path.join(top, member.name))
            points = at
            if member.issym():
                points = os.path.normpath(os.path.join(os.path.dirname(at), member.linkname))
            inside = all(path == top or path.startswith(top + os.sep) for path in (at, points))
            # Not through a link of an earlier member either: where that leads, the names do not tell.
            inside = inside and (at == top or os.path.realpath(os.path.dirname(at)) == os.path.dirname(at))
            if not inside or not (member.isreg() or member.isdir() or member.issym()):
                raise Failure(f"the source holds {member.name!r}, which is no file, folder or link inside of it")
            # Owner and extended modes are set afterwards, for the whole tree.
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            tar.extract(member, top, set_attrs=not member.issym())
    stray = leading_outside(target, target)
    if stray:
        raise Failure(f"the source holds {stray!r}, a link that leads out of it")
    own_tree(target, owner=owner, group=group or owner)


def leading_outside(folder: Path, top: Path) -> Optional[str]:
    """Return a link below `folder` that leads out of `top`, by whatever way, or None."""
    inside = os.path.realpath(top) + os.sep
    for where, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = os.path.join(where, name)
            if os.path.islink(path) and not (os.path.realpath(path) + os.sep).startswith(inside):
                return os.path.relpath(path, top)
    return None


def _build(release: releases.Release, command: str, seconds: int, progress: Progress) -> None:
    """Run the build command in the source."""
    progress.say(f"build: {command}")
    ran = commands.timed(lambda: _in_source(release, ["/bin/sh", "-c", command], seconds), seconds)
    commands.keep(release, f"build: {command}", ran, progress)
    if ran.status:
        raise Failure(ran.failure("build", command, release))


def _compile(release: releases.Release) -> None:
    """Compile the code: the application may not write beside it, and would compile at every start.

    As the builder, since the interpreter stands in a folder that the installation of dependencies has filled. A file
    for another version of Python may not compile, and is no reason to stop.
    """
    words = [str(release.venv / "bin" / "python"), "-I", "-S", "-m", "compileall", "-q", str(release.source)]
    _in_source(release, words, COMPILE_SECONDS)


def _in_source(release: releases.Release, words: List[str], seconds: int) -> subprocess.CompletedProcess[str]:
    """Run words in the source, as the builder."""
    # Of those that fetch something, node alone brings authorities of its own.
    variables = {"PATH": release.path, "NODE_EXTRA_CA_CERTS": python.BUNDLE}
    return builder.run_as(release.layout, words, cwd=release.source, seconds=seconds, environment=variables)


def _usual_environment(release: releases.Release) -> None:
    """Have the environment also where operators look for it (reference: deployment-sop.txt, sections 5 and 7)."""
    path = release.source / ".env.prod"
    if not (path.is_symlink() or path.exists()):
        path.symlink_to(f"../../config/{release.digest}/env")


def _static(release: releases.Release, folder: Optional[str], progress: Progress) -> None:
    """Have the static files where Nginx may read them, and those of earlier releases with them."""
    begin = time.monotonic()
    number = statics.collect(release, folder, leading_outside)
    if folder is not None:
        told = f"static: {folder} is ready for Nginx, {number} file{'' if number == 1 else 's'}"
        progress.say(told)
        commands.keep(release, told, commands.Ran(0, "", time.monotonic() - begin, 0), progress)
