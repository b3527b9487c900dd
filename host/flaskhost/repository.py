"""The application's repository on the host: a bare mirror of root's, fetched when a commit is missing in it.

What comes from the Git server is strangers' data: git checks every object, runs no hook, asks nobody, and speaks the
protocols that the stack may name and no other.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shlex
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlsplit

from flaskhost.files import directory, remove, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

# The files of the document of `environment` that are for git, and what they are called in `folder`.
DEPLOY_KEY, TOKEN = "deploy_key", "token"
# By which ssh finds the pinned key, whatever address and port the server has.
ALIAS = "flaskhost-git-server"
LOCAL_SECONDS = 300
FETCH_SECONDS = 1800
CONNECT_SECONDS = 15
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Nginx makes a file's ETag of time and size: a time that follows from the content, as in the workstation's archives.
YEAR_2000 = 946_684_800

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "credential.helper=",
    "fetch.fsckObjects=true",
    # Old histories have these, and no reader of ours trips over them.
    *(f"fetch.fsck.{name}=warn" for name in ("zeroPaddedFilemode", "badTimezone", "missingSpaceBeforeDate")),
    "gc.autoDetach=false",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "tar.umask=0022",
)

# What git says where the Git server was not reached, or refused: the mirror is not the reason.
ELSEWHERE = re.compile(
    r"Could not read from remote|unable to access|Authentication failed|could not read (?:Username|Password)"
    r"|no end after"
)


class Place(NamedTuple):
    """Where the repository is: its URL, and for SSH the only key that its server may show."""

    url: str
    host_key: Optional[str]


def keep_credentials(paths: Layout, files: Mapping[str, str]) -> None:
    """Keep what git logs in with, for root alone; what the stack does not have any more goes."""
    directory(folder(paths), mode=0o700)
    for name in (DEPLOY_KEY, TOKEN):
        text = files.get(f"git/{name}")
        if text is None:
            remove(folder(paths) / name)
        else:
            write(folder(paths) / name, text, mode=0o600)


def secrets_of(paths: Layout) -> List[str]:
    """Return what git logs in with, to hide it in messages."""
    found = [path.read_text() for path in (folder(paths) / DEPLOY_KEY, folder(paths) / TOKEN) if path.is_file()]
    return [part for text in found for part in (text, *(line.partition("=")[2] for line in text.split("\n")))]


def folder(paths: Layout) -> Path:
    """Return where the credentials are."""
    return paths.etc / "git"


def archive(paths: Layout, place: Place, commit: str, progress: Progress) -> Path:
    """Return a commit as a tar file beside the mirror, fetched if it is not there; the caller removes it.

    Raises:
        Failure: the Git server refused, or has no such commit, or the commit has parts that are elsewhere.
    """
    mirror = paths.home / "repo.git"
    try:
        return _archive(paths, mirror, place, commit, progress)
    except Failure as failure:
        if ELSEWHERE.search(str(failure)) or _is_whole(mirror):
            raise
        progress.say("repository: the mirror is damaged, as after a power cut or with a full disk: fetching it anew")
        remove(mirror)
        return _archive(paths, mirror, place, commit, progress)


def _archive(paths: Layout, mirror: Path, place: Place, commit: str, progress: Progress) -> Path:
    _have_mirror(mirror)
    if _kind(mirror, commit) is None:
        _fetch(paths, mirror, place, commit, progress)
    if _kind(mirror, commit) != "commit":
        raise Failure(
            f"flaskhost:app.commit: {commit} is no commit of {place.url}: push it there, or name another one "
            "(`git rev-parse v1.0.0^{commit}` prints that of a tag)"
        )
    listed = _git(mirror, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
    modules = [entry.split("\t", 1)[1] for entry in listed if entry.startswith("160000 ")]
    if modules:
        raise Failure(f"the source has submodules ({', '.join(modules[:3])}): bring their files into the repository")
    target = mirror / f"{commit}.tar"
    _git(mirror, "archive", "--format=tar", f"--output={target}", commit)
    return target


def finish(source: Path) -> None:
    """Give the files of an unpacked commit times that follow from their content.

    Raises:
        Failure: files are pointers of Git LFS.
    """
    pointers = []
    for top, _, names in os.walk(source):
        for name in names:
            path = os.path.join(top, name)
            if os.path.islink(path):
                continue
            with open(path, "rb") as file:
                content = file.read()
            if content.startswith(LFS_POINTER) and len(content) < 1024:
                pointers.append(os.path.relpath(path, source))
            at = YEAR_2000 + int(hashlib.sha256(content).hexdigest()[:7], 16)
            os.utime(path, (at, at))
    if pointers:
        raise Failure(
            f"the source has files of Git LFS ({', '.join(pointers[:3])}): store them in the repository itself, or "
            "outside of it"
        )


def _have_mirror(mirror: Path) -> None:
    """Have the mirror, and begin anew with one that a killed try or a full disk has left unusable."""
    directory(mirror, mode=0o700)
    words = ["git", "-C", str(mirror), "rev-parse", "--is-bare-repository"]
    if run(words, env=_environment(), check=False).stdout.strip() != "true":
        remove(mirror)
        directory(mirror, mode=0o700)
        _git(mirror, "init", "--quiet", "--bare", "--template=", ".")
    # The application's lock is held, so nobody works behind them any more.
    for lock in (*mirror.glob("*.lock"), *mirror.glob("refs/**/*.lock"), *mirror.glob("*.tar")):
        lock.unlink()


def _is_whole(mirror: Path) -> bool:
    """Tell whether git can read all that the mirror has; so, too, where that takes too long to find out."""
    command = ["git", "-C", str(mirror), "fsck", "--no-dangling", "--no-progress"]
    try:
        return run(command, timeout=LOCAL_SECONDS, env=_environment(), check=False).returncode == 0
    except Failure:
        return True


def _kind(mirror: Path, commit: str) -> Optional[str]:
    words = ["git", "-C", str(mirror), "cat-file", "-t", commit]
    done = run(words, env=_environment(), check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _fetch(paths: Layout, mirror: Path, place: Place, commit: str, progress: Progress) -> None:
    """Fetch branches and tags, and where none holds the commit, the commit by its name."""
    progress.say(f"repository: fetching {commit[:12]} from {place.url}")
    before = _kibibytes(mirror)
    environment, settings = _login(paths, place)
    words = ["fetch", "--quiet", "--no-auto-gc", *_upload_pack(place)]
    everything = ["--prune", "--", place.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    refused = _asked(mirror, [*words, *everything], environment, settings)
    if refused:
        raise Failure(_explained(paths, place, refused))
    if _kind(mirror, commit) is None:
        # One that no branch holds any more; many servers still hand it out.
        _asked(mirror, [*words, "--", place.url, commit], environment, settings)
    progress.say(f"repository: fetched {_kibibytes(mirror) - before} KiB")
    _git(mirror, "gc", "--auto", "--quiet", seconds=FETCH_SECONDS)


def _asked(mirror: Path, words: List[str], environment: Dict[str, str], settings: List[str]) -> Optional[str]:
    """Run git against the Git server; return what it said when it failed, or None."""
    command = ["git", "-C", str(mirror), *_options(SETTINGS), *_options(settings), *words]
    try:
        done = run(command, timeout=FETCH_SECONDS, env=environment, check=False)
    except Failure:
        # Without the command line, which is of no use to its reader.
        return f"no end after {FETCH_SECONDS} s"
    return (done.stdout.strip() or f"status {done.returncode}") if done.returncode else None


def _login(paths: Layout, place: Place) -> Tuple[Dict[str, str], List[str]]:
    """Return the variables and settings with which git reaches the Git server; secrets stay in their files."""
    environment = _environment()
    if place.host_key and not place.url.startswith("https://"):
        known = folder(paths) / "known_hosts"
        write(known, f"{ALIAS} {place.host_key}\n", mode=0o600)
        environment["GIT_SSH_COMMAND"] = shlex.join(_ssh(folder(paths) / DEPLOY_KEY, known))
        environment["GIT_SSH_VARIANT"] = "ssh"
    token = folder(paths) / TOKEN
    settings = []
    if place.url.startswith("https://") and token.is_file():
        parts = urlsplit(place.url)
        # For this host alone: another one, to which it may redirect, does not get the token.
        helper = f'!f() {{ test "$1" != get || cat {shlex.quote(str(token))}; }}; f'
        settings.append(f"credential.https://{parts.netloc}.helper={helper}")
    return environment, settings


def _ssh(key: Path, known: Path) -> List[str]:
    """Return the words of ssh: one key, one host key, nobody to ask."""
    settings = (
        *("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", f"ConnectTimeout={CONNECT_SECONDS}"),
        *("StrictHostKeyChecking=yes", f"HostKeyAlias={ALIAS}", "UpdateHostKeys=no", "CheckHostIP=no"),
        *(f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null"),
        *("ServerAliveInterval=15", "ServerAliveCountMax=4"),
    )
    return ["ssh", "-F", "/dev/null", "-i", str(key), *(word for one in settings for word in ("-o", one))]


def _upload_pack(place: Place) -> List[str]:
    """Return the words that have a repository of this host read in the name of whoever it belongs to.

    Its configuration is that owner's, and git refuses to act on it as root.
    """
    if not place.url.startswith("file://"):
        return []
    path = Path(place.url[len("file://") :])
    top = path / ".git" if (path / ".git").exists() else path
    if not top.exists():
        raise Failure(
            f"flaskhost:app.source.repository: {path} is not on this host: a file:// repository with via: server lies "
            "on the server, so put it there, or name another place"
        )
    owner = top.stat().st_uid
    if owner in (0, os.geteuid()):
        return []
    name = pwd.getpwuid(owner).pw_name
    return [f"--upload-pack=runuser -u {shlex.quote(name)} -- git-upload-pack"]


def _explained(paths: Layout, place: Place, said: str) -> str:
    """Return the message for a repository that could not be read, with the next step."""
    fix = "see whether it is there, and whether this host reaches it"
    if "Host key verification failed" in said:
        fix = (
            "its server shows another host key than flaskhost:app.source.host_key: ask its operators for the right one"
        )
    elif "Permission denied" in said or "Could not read from remote" in said:
        public = run(["ssh-keygen", "-y", "-f", str(folder(paths) / DEPLOY_KEY)], check=False).stdout.strip()
        fix = f"{fix}, and add this key to it as a deploy key that may read: {public}" if place.host_key else fix
    elif re.search(r"Authentication failed|could not read (Username|Password)|error: 40[134]", said):
        fix = "set flaskhost:credentials.git_token to a token that may read it"
    return f"the repository {place.url} could not be read: {fix}. git says:\n{said}"


def _kibibytes(mirror: Path) -> int:
    lines = _git(mirror, "count-objects", "-v").splitlines()
    facts = dict(line.split(": ", 1) for line in lines if ": " in line)
    return int(facts.get("size", 0)) + int(facts.get("size-pack", 0))


def _git(mirror: Path, *words: str, seconds: int = LOCAL_SECONDS) -> str:
    command = ["git", "-C", str(mirror), *_options(SETTINGS), *words]
    return run(command, timeout=seconds, env=_environment()).stdout


def _options(settings: Sequence[str]) -> List[str]:
    return [word for one in settings for word in ("-c", one)]


def _environment() -> Dict[str, str]:
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "SSH_ASKPASS_REQUIRE": "never",
    }
