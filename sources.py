"""What code goes to the server: resolved on this machine, before anything runs on the other one.

A version becomes a commit, a commit becomes an archive in the cache, and the archive's digest says what is deployed.
A full commit whose archive is in the cache needs neither a look-up nor the repository. Where the server fetches the
code itself (via: server), a tag or branch is looked up here with the server's own key or token, and nothing is fetched.

It does not build anything, and it refuses what it could send only in part: submodules and Git LFS.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from settings import Credentials, FolderSource, Problem, RepositorySource
from settings.problems import NOTHING, shown
from settings.rules import is_commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

LOOK_UP_SECONDS = 10
LOCAL_SECONDS = 120
FETCH_SECONDS = 600
# By which ssh finds the pinned key, whatever address and port the Git server has.
SSH_ALIAS = "flaskhost-git-server"
SSH_SETTINGS = (
    *("BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", f"ConnectTimeout={LOOK_UP_SECONDS - 1}"),
    *("StrictHostKeyChecking=yes", f"HostKeyAlias={SSH_ALIAS}", "UpdateHostKeys=no", "CheckHostIP=no"),
    f"GlobalKnownHostsFile={os.devnull}",
)
LARGE = 100 * 1024 * 1024
"""Bytes above which an archive is worth a word: it travels with each new release."""

FORMAT = "1"
"""Raise it when the same files give another archive, so that no old one is taken from the cache."""

ARCHIVES_KEPT = 20
"""Archives of folders that stay in the cache; each saved file makes a new one."""

# What a folder may hold beside the application: never sent unless git tracks it.
LEFT_OUT = frozenset({".git", ".venv", "venv", "__pycache__", "node_modules", ".env"})

LFS_POINTER = b"version https://git-lfs.github.com/spec/"

EXAMPLES = Path(__file__).resolve().parent / "examples"


@dataclass(frozen=True)
class Resolved:
    """The code that is to be deployed.

    Attributes:
        version: What people call it, safe in a file name: v1.0.0, 4f1c02d9a7be or folder-4f1c02d9.
        commit: The full commit, 40 hexadecimal digits; None for a folder.
        tree: SHA-256 of the archive, which depends on names, contents, links and executable bits only; where the
            server fetches the code, of repository and commit.
        archive: A plain tar below the cache; None where the server fetches the code, or has the release already.
        size: Bytes of the archive.
        remark: What a person should know of how it was found.
    """

    version: str
    commit: str | None
    tree: str
    archive: Path | None
    size: int
    remark: str | None = None

    @property
    def warning(self) -> str | None:
        """Say what a person should know: how it was found, or that the archive is large."""
        if self.remark:
            return self.remark
        if self.size <= LARGE:
            return None
        return f"the source has {self.size // 2**20} MB: large files are better kept outside of it"


@dataclass(frozen=True)
class Kept:
    """The code of a release that is on the server still, as the stack's state tells it; each as in `Resolved`."""

    version: str
    commit: str
    tree: str


class SourceError(Exception):
    """The code cannot be had; the text names the setting, the rule, its value and the next step."""

    def __init__(self, setting: str, rule: str, value: object, fix: str) -> None:
        """Take the setting without its namespace, such as app.version."""
        got = NOTHING if value is None else shown(value)
        self.problem = Problem(tuple(setting.split(".")), rule, got, fix)
        super().__init__(str(self.problem))


class _UnreadableError(SourceError):
    """The repository cannot be read at all, so that nobody knows what it would say."""


class _GitError(Exception):
    """A git command failed; the text is what git said, without passwords."""


def resolve(  # noqa: PLR0913  one question in the words of its callers: what, which of it, and where things are
    source: RepositorySource | FolderSource,
    version: str | None,
    commit: str | None,
    *,
    base: Path,
    cache: Path,
    allow_branch: bool = False,
    credentials: Credentials | None = None,
    kept: Callable[[], Sequence[Kept]] = tuple,
) -> Resolved:
    """Return the code of a source at a version, with its archive in the cache.

    Where the repository is gone, a release that is on the server still is found without it: no archive is needed then.

    Args:
        source: Repository or folder.
        version: Tag, branch or commit; None is where the repository's HEAD points.
        commit: The full commit of that version; given, nothing is looked up.
        base: Folder that relative paths start from.
        cache: Folder for mirrors and archives; made if it is not there.
        allow_branch: Whether the version may be a branch.
        credentials: What the server reads the repository with, for a source that it fetches itself.
        kept: Tells the releases on the server; asked only where the repository does not help.

    Raises:
        SourceError: The code cannot be had.
    """
    found = partial(_found, source, version, base=base, cache=cache, allow_branch=allow_branch, credentials=credentials)
    try:
        return found(commit)
    except SourceError as error:
        pinned = commit or (version if is_commit(version) else None)
        # A branch that cannot be looked up may have moved, and a tag that is not there may have been withdrawn.
        if isinstance(source, FolderSource) or not (
            pinned or (isinstance(error, _UnreadableError) and not allow_branch)
        ):
            raise
        one = _on_server(kept(), pinned, version)
        if one is None:
            raise
    if source.via == "server":
        known = found(one.commit)
    else:
        known = _cached(_archives(cache), one.commit, version) or Resolved(
            label(version, one.commit), one.commit, one.tree, None, 0
        )
    return replace(
        known,
        remark=f"{known.version} is deployed as the server has it still: the repository does not have it, or is gone",
    )


def _found(  # noqa: PLR0913 - as resolve
    source: RepositorySource | FolderSource,
    version: str | None,
    commit: str | None,
    *,
    base: Path,
    cache: Path,
    allow_branch: bool,
    credentials: Credentials | None,
) -> Resolved:
    """Return the code from the cache, the repository or the folder, as `resolve` does."""
    archives = _archives(cache)
    try:
        if isinstance(source, FolderSource):
            return _resolve_folder(base / Path(source.folder).expanduser(), source.folder, archives)
        pinned = commit or (version if version and is_commit(version) else None)
        if source.via == "server":
            with _access(source, credentials or Credentials()) as access:
                found = pinned or _look_up(_Remote(source.repository, access), version, allow_branch=allow_branch)
            identity = hashlib.sha256(f"{source.repository}\n{found}\n".encode()).hexdigest()
            return Resolved(label(version, found), found, identity, None, 0)
        if pinned:
            known = _cached(archives, pinned, version)
            if known:
                return known
        repository = _open(source.repository, base, cache)
        found = pinned or _look_up(repository, version, allow_branch=allow_branch)
        known = _cached(archives, found, version)
        if known:
            return known
        repository.ensure(found, "app.commit" if commit else "app.version")
        return _archived(repository, found, label(version, found), archives)
    except _GitError as error:
        raise SourceError("app.source", "must be readable by git", None, f"git says: {error}") from None


def _archives(cache: Path) -> Path:
    folder = cache / "archives" / FORMAT
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _on_server(kept: Sequence[Kept], commit: str | None, version: str | None) -> Kept | None:
    """Return the code of a release that is on the server still: of a commit, or the only one of a version's name."""
    wanted = [one for one in kept if (one.commit == commit if commit else one.version == label(version, one.commit))]
    return wanted[0] if len({one.commit for one in wanted}) == 1 else None


def _archived(repository: _Repository, commit: str, name: str, archives: Path) -> Resolved:
    """Return a commit that is at hand, with its archive made."""
    repository.refuse_submodules(commit)
    with tempfile.NamedTemporaryFile(dir=archives, prefix=".git-") as raw:
        repository.archive(commit, Path(raw.name))
        archive, digest = _write(_entries_of_tar(Path(raw.name)), archives, commit)
    return Resolved(name, commit, digest, archive, archive.stat().st_size)


def _look_up(repository: _Repository, version: str | None, *, allow_branch: bool) -> str:
    """Return the commit that a tag, a branch or HEAD names now; a tag comes before a branch, as in git."""
    found = repository.references(version)
    wanted = [f"refs/tags/{version}^{{}}", f"refs/tags/{version}"] if version else []
    for reference in wanted:
        if reference in found:
            return found[reference]
    branch = f"refs/heads/{version}" if version else "HEAD"
    if branch not in found:
        full = repository.abbreviated(version) if version else None
        if full:
            return full
        raise repository.unknown(version)
    if not allow_branch:
        raise SourceError(
            "app.version",
            "must be a tag or a commit, for a branch moves without a change of the stack file",
            version,
            f"write a tag, or add commit: {found[branch]}, or allow_branch: true below flaskhost:app",
        )
    return found[branch]


class _Repository:
    """A git repository: `folder` is where git runs, `shown` is what the stack file says."""

    def __init__(self, folder: Path, shown_as: str) -> None:
        self.folder = folder
        self.shown_as = shown_as

    def git(self, *words: str, seconds: int = LOCAL_SECONDS) -> str:
        return _git(["-C", str(self.folder), *words], seconds=seconds, place=self.shown_as)

    def references(self, version: str | None) -> dict[str, str]:
        """Return the commits of the references that may be meant; an annotated tag may come as `…^{}` as well."""
        names = ["HEAD"] if version is None else [f"refs/tags/{version}", f"refs/heads/{version}"]
        found = {name: self.commit(name) for name in names}
        return {name: commit for name, commit in found.items() if commit}

    def commit(self, name: str) -> str | None:
        """Return the commit that a name stands for; tags are followed."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
        except _GitError:
            return None

    def abbreviated(self, version: str) -> str | None:
        """Return the commit that a shortened one stands for, where the repository is at hand."""
        return self.commit(version) if re.fullmatch(r"[0-9a-f]{7,39}", version) else None

    def names(self) -> list[str]:
        """Return tags and branches, the newest version first."""
        listed = self.git(
            "for-each-ref", "--sort=-version:refname", "--format=%(refname:strip=2)", "refs/tags", "refs/heads"
        )
        return listed.splitlines()

    def unknown(self, version: str | None) -> SourceError:
        """Return the error for a version that is not there, with what may have been meant."""
        try:
            names = self.names()
        except (_GitError, SourceError):
            names = []
        if version is None or not names:
            fix = "commit something, and push it" if not names else f"name a version, such as {names[0]}"
            return SourceError("app.version", "must be in the repository, which has no such commit", version, fix)
        near = difflib.get_close_matches(version, names, n=3, cutoff=0.6)
        fix = f"did you mean {' or '.join(near)}?" if near else f"there is: {', '.join(names[:5])}"
        if re.fullmatch(r"[0-9a-f]{7,39}", version):
            fix = f"write all 40 digits if it is a commit; {fix}"
        return SourceError("app.version", f"must be a tag, branch or commit of {shown(self.shown_as)}", version, fix)

    def has(self, commit: str) -> bool:
        try:
            kind = self.git("cat-file", "-t", commit).strip()
        except _GitError:
            return False
        if kind != "commit":
            peeled = self.git("rev-parse", "--verify", f"{commit}^{{commit}}").strip() if kind == "tag" else ""
            fix = f"write {peeled}" if peeled else "take the output of: git rev-parse v1.0.0^{commit}"
            raise SourceError("app.commit", f"must be a commit, and this is a {kind}", commit, fix)
        return True

    def ensure(self, commit: str, setting: str) -> None:
        """Have the commit at hand, or say that it is not."""
        if not self.has(commit):
            rule = f"must be a commit of {shown(self.shown_as)}"
            raise SourceError(setting, rule, commit, "fetch it into that repository, or correct it")

    def refuse_submodules(self, commit: str) -> None:
        listed = self.git("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
        modules = [entry.split("\t", 1)[1] for entry in listed if entry.startswith("160000 ")]
        _refuse_parts("submodules", modules, "bring their files into the repository")

    def archive(self, commit: str, target: Path) -> None:
        self.git("-c", "tar.umask=0022", "archive", "--format=tar", f"--output={target}", commit)


@dataclass(frozen=True)
class _Access:
    """How git on this machine asks a Git server with what the server logs in with: variables for git."""

    variables: Mapping[str, str]

    @staticmethod
    def next_step(said: str) -> str | None:
        """Return how to repair what the Git server refused, if that is plain; `said` is git's message."""
        if "Host key verification failed" in said:
            return "it shows another host key than app.source.host_key: ask its operators for the right one"
        if "Permission denied" in said:
            return "add the public half of credentials.deploy_key to it, as a deploy key that may read"
        if re.search(r"Authentication failed|could not read (Username|Password)|error: 40[134]", said):
            return "set credentials.git_token to a token that may read it"
        return None


@contextmanager
def _access(source: RepositorySource, credentials: Credentials) -> Iterator[_Access]:
    """Have the server's credentials in files of this user's for a moment; none of them is on a command line.

    No other key, token or known host of this user's is taken, so that what is found out here holds on the server.
    """
    with tempfile.TemporaryDirectory(prefix="flaskhost-git-") as name:  # of mode 0700
        folder = Path(name)
        variables = {}
        if source.repository.startswith("https://"):
            settings = [("credential.helper", "")]
            if credentials.git_login:
                login = shlex.quote(_kept(folder / "login", credentials.git_login))
                # For this host alone: another one, to which it may redirect, does not get the token.
                scope = f"credential.https://{urlsplit(source.repository).netloc}.helper"
                settings.append((scope, f'!f() {{ test "$1" != get || cat {login}; }}; f'))
            variables = {"GIT_CONFIG_COUNT": str(len(settings))}
            for number, (key, value) in enumerate(settings):
                variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        elif source.host_key and credentials.deploy_key:
            words = ["ssh", "-F", os.devnull, "-i", _kept(folder / "key", credentials.deploy_key)]
            known = _kept(folder / "known_hosts", f"{SSH_ALIAS} {source.host_key}\n")
            for setting in (*SSH_SETTINGS, f"UserKnownHostsFile={known}"):
                words += ["-o", setting]
            variables = {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}
        yield _Access(variables)


def _kept(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)


class _Remote(_Repository):
    """A repository elsewhere that is asked for names only."""

    def __init__(self, url: str, access: _Access | None = None) -> None:
        super().__init__(Path(os.sep), url)
        self.url = url
        self.access = access

    def abbreviated(self, version: str) -> str | None:  # noqa: ARG002 - a Git server is not asked for it
        return None

    def _listed(self, *words: str) -> dict[str, str]:
        listed = _git(["ls-remote", *words], seconds=LOOK_UP_SECONDS, place=self.url, told=True, access=self.access)
        pairs = [line.split("\t", 1) for line in listed.splitlines() if "\t" in line]
        return {name: commit for commit, name in pairs}

    def references(self, version: str | None) -> dict[str, str]:
        if version is None:
            return self._listed("--", self.url, "HEAD")
        return self._listed(
            "--", self.url, f"refs/tags/{version}", f"refs/tags/{version}^{{}}", f"refs/heads/{version}"
        )

    def names(self) -> list[str]:
        listed = self._listed("--sort=-version:refname", "--refs", "--tags", "--heads", "--", self.url)
        return [name.split("/", 2)[2] for name in listed]


class _Mirror(_Remote):
    """A repository elsewhere, and its bare mirror in the cache, which is fetched only when a commit is missing."""

    def __init__(self, url: str, cache: Path) -> None:
        super().__init__(url)
        self.folder = cache / "repositories" / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.git"
        self.lock = self.folder.with_suffix(".lock")

    def abbreviated(self, version: str) -> str | None:
        return _Repository.abbreviated(self, version) if self.folder.exists() else None

    def ensure(self, commit: str, setting: str) -> None:
        with _locked(self.lock):
            if not self.folder.exists():
                _git(["init", "--quiet", "--bare", "--", str(self.folder)], seconds=LOCAL_SECONDS, place=self.url)
            if self.has(commit):
                return
            everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
            self._fetch("--prune", "--", self.url, *everything)
            if self.has(commit):
                return
            # A commit that no branch holds any more; many servers still hand it out by its name.
            with suppress(SourceError):
                self._fetch("--", self.url, commit)
        if not self.has(commit):
            rule = f"must be a commit of {shown(self.url)}"
            raise SourceError(setting, rule, commit, "push it there, or correct it")

    def _fetch(self, *words: str) -> None:
        command = ["-C", str(self.folder), "fetch", "--quiet", "--no-write-fetch-head", "--no-auto-maintenance", *words]
        _git(command, seconds=FETCH_SECONDS, place=self.url, told=True)


def _open(place: str, base: Path, cache: Path) -> _Repository:
    """Return the repository at a place as the stack file writes it."""
    if place.startswith("example:"):
        return _Repository(_example(place, cache), place)
    if "://" in place or re.match(r"[A-Za-z0-9._-]+@[^/]*:", place):
        return _Mirror(place, cache)
    folder = base / Path(place).expanduser()
    setting = "app.source.repository"
    if not folder.is_dir():
        raise _UnreadableError(setting, f"must be a folder, and {folder} is none", place, "correct the path")
    repository = _Repository(folder, place)
    try:
        prefix = repository.git("rev-parse", "--show-prefix").strip()
    except _GitError as error:
        raise _UnreadableError(
            setting, "must be a git repository", place, f"run git init in it, or use folder instead; git says: {error}"
        ) from None
    if prefix:
        fix = "write the repository's top folder, or use folder instead"
        raise SourceError(setting, "must be a repository and not a folder inside one", place, fix)
    return repository


def _example(place: str, cache: Path) -> Path:
    """Return the repository of a bundled example, made when it is missing or the example has changed."""
    name = place.partition(":")[2]
    if not (EXAMPLES / name / "wsgi.py").is_file():
        there = ", ".join(sorted(path.name for path in EXAMPLES.iterdir() if (path / "wsgi.py").is_file()))
        raise SourceError("app.source.repository", "must be a bundled example", place, f"there is: {there}")
    target = cache / "examples" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp = target.with_suffix(".stamp")
    digest = _digest_of_files(EXAMPLES)
    with _locked(target.with_suffix(".lock")):
        if (target / ".git").exists() and stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
            return target
        script = [sys.executable, str(EXAMPLES / "make_repository.py"), str(target)]
        done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=LOCAL_SECONDS)
        if done.returncode:
            said = _tidy(done.stderr)
            raise SourceError("app.source.repository", f"could not be made: {said}", place, "see above")
        stamp.write_text(digest, encoding="utf-8")
    return target


def _digest_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def _resolve_folder(folder: Path, written: str, archives: Path) -> Resolved:
    setting = "app.source.folder"
    if not folder.is_dir():
        raise SourceError(setting, f"must be a folder, and {folder} is none", written, "correct the path")
    names = listed(folder)
    if not names:
        raise SourceError(setting, "must hold files", written, "correct the path, or look at its .gitignore")
    archive, digest = _write(entries_of_folder(folder, names), archives, "folder")
    for old in sorted(archives.glob("folder-*.tar"), key=lambda path: path.stat().st_mtime)[:-ARCHIVES_KEPT]:
        old.unlink(missing_ok=True)
    return Resolved(f"folder-{digest[:8]}", None, digest, archive, archive.stat().st_size)


def listed(folder: Path) -> list[str]:
    """Return the names of what a folder sends: what git ignores there stays here."""
    names = _listed_by_git(folder)
    return _listed_by_walking(folder) if names is None else names


def _listed_by_git(folder: Path) -> list[str] | None:
    """Return what git would list in a folder, tracked or new, or None where git has no say."""
    try:
        _git(["-C", str(folder), "rev-parse", "--show-toplevel"], seconds=LOCAL_SECONDS, place=str(folder))
    except (_GitError, SourceError):
        return None
    try:
        _git(["-C", str(folder), "check-ignore", "--quiet", "."], seconds=LOCAL_SECONDS, place=str(folder))
    except _GitError:
        pass
    else:
        return None  # a folder that the repository around it ignores
    words = ["-C", str(folder), "ls-files", "-z", "--exclude-standard"]
    tracked = _git([*words, "--cached"], seconds=LOCAL_SECONDS, place=str(folder)).split("\0")
    new = _git([*words, "--others"], seconds=LOCAL_SECONDS, place=str(folder)).split("\0")
    inside = [name for name in tracked if (folder / name).is_dir() and not (folder / name).is_symlink() and name]
    inside += [name for name in new if name.endswith("/")]
    _refuse_parts("repositories inside it", inside, "bring their files into the repository, or let git ignore them")
    return sorted({*filter(None, tracked), *(name for name in new if name and _is_sent(name))})


def _listed_by_walking(folder: Path) -> list[str]:
    names = []
    for top, folders, files in os.walk(folder):
        here = Path(top).relative_to(folder)
        links = [name for name in folders if Path(top, name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and name not in links)
        names += [str(here / name) for name in (*files, *links) if _is_sent(name)]
    return sorted(names)


def _is_sent(name: str) -> bool:
    return not name.endswith(".pyc") and LEFT_OUT.isdisjoint(PurePosixPath(name).parts)


@dataclass(frozen=True)
class Entry:
    """A file or a link of the source."""

    name: str
    content: bytes = b""
    executable: bool = False
    link: str | None = None


def entries_of_folder(folder: Path, names: Iterable[str]) -> Iterator[Entry]:
    """Yield the files and links of these names that are there.

    Raises:
        SourceError: a link leads outside.
    """
    for name in names:
        path = folder / name
        if path.is_symlink():
            target = str(path.readlink())
            if not _stays_inside(name, target):
                rule = f"must not hold links that lead outside, and {name!r} does"
                raise SourceError("app.source.folder", rule, target, "put the file itself there, or let git ignore it")
            yield Entry(name, link=target)
        elif path.is_file():
            yield Entry(name, path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))


def _entries_of_tar(archive: Path) -> Iterator[Entry]:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.issym():
                yield Entry(member.name, link=member.linkname)
            elif member.isfile():
                stream = tar.extractfile(member)
                content = stream.read() if stream else b""
                yield Entry(member.name, content, executable=bool(member.mode & 0o100))


def _stays_inside(name: str, target: str) -> bool:
    if target.startswith("/"):
        return False
    depth = len(PurePosixPath(name).parent.parts)
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return False
    return True


def _write(entries: Iterable[Entry], archives: Path, name: str) -> tuple[Path, str]:
    """Write a tar that depends on the entries only, as `<name>-<digest>.tar`, and return it with its digest."""
    with tempfile.NamedTemporaryFile(dir=archives, prefix=".new-", delete=False) as file:
        new = Path(file.name)
        try:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
                add(tar, entries)
            file.flush()
            digest = _digest(new)
            archive = archives / f"{name}-{digest[:16]}.tar"
            new.chmod(0o600)
            new.replace(archive)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
    return archive, digest


def add(tar: tarfile.TarFile, entries: Iterable[Entry]) -> None:
    """Put entries into a tar file, with what depends on their names and contents only.

    Raises:
        SourceError: a file is a pointer of Git LFS.
    """
    pointers: list[str] = []
    links: list[tarfile.TarInfo] = []
    folders: set[str] = set()
    for entry in entries:
        for folder in reversed(PurePosixPath(entry.name).parents[:-1]):
            if str(folder) not in folders:
                folders.add(str(folder))
                tar.addfile(_info(str(folder), tarfile.DIRTYPE, 0o755))
        if entry.link is not None:
            link = _info(entry.name, tarfile.SYMTYPE, 0o777)
            link.linkname = entry.link
            links.append(link)
            continue
        if entry.content.startswith(LFS_POINTER) and len(entry.content) < 1024:
            pointers.append(entry.name)
        info = _info(entry.name, tarfile.REGTYPE, 0o755 if entry.executable else 0o644)
        info.size = len(entry.content)
        # Nginx makes a file's ETag of its time and size, so one time for all would let a browser keep an old file of
        # the same size. A time that follows from the content differs when the file does, and only then.
        info.mtime += int(hashlib.sha256(entry.content).hexdigest()[:7], 16)
        tar.addfile(info, io.BytesIO(entry.content))
    # At the end, so that no file is ever written through a link while the archive is unpacked.
    for link in links:
        tar.addfile(link)
    _refuse_parts("files of Git LFS", pointers, "store them in the repository itself, or outside of it")


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.mtime = 946_684_800  # the year 2000: long past on any clock
    return info


def _refuse_parts(what: str, names: list[str], fix: str) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise SourceError("app.source", f"must not hold {what}, which cannot be sent yet{more}", names[:3], fix)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _cached(archives: Path, commit: str, version: str | None) -> Resolved | None:
    """Return what the cache holds of a commit; an archive that is not what its name says is made again."""
    for archive in archives.glob(f"{commit}-*.tar"):
        digest = _digest(archive)
        if archive.stem == f"{commit}-{digest[:16]}":
            return Resolved(label(version, commit), commit, digest, archive, archive.stat().st_size)
    return None


def label(version: str | None, commit: str) -> str:
    """Return what people call a version, safe in a file name."""
    if version is None or commit.startswith(version):
        return commit[:12]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", version)[:40].strip(".-") or commit[:12]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let only one process of this machine in at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# Set while a git hook runs, and would lead git to another repository than the one that is meant.
LEADING_ELSEWHERE = frozenset(
    {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_COMMON_DIR",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
    }
)


def _git(words: list[str], *, seconds: int, place: str, told: bool = False, access: _Access | None = None) -> str:
    """Run git without asking anybody anything, and return what it prints.

    `told` turns a failure into an error for the person who wrote the repository's place; `access` leads there.
    """
    environment = {name: value for name, value in os.environ.items() if name not in LEADING_ELSEWHERE}
    environment |= {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "GIT_OPTIONAL_LOCKS": "0",
        "SSH_ASKPASS_REQUIRE": "never",
        "LC_ALL": "C",
        **(access.variables if access else {}),
    }
    setting = "app.source.repository"
    try:
        # A session of its own: ssh finds no terminal to ask on, and a timeout ends git together with its children.
        process = subprocess.Popen(
            ["git", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise _UnreadableError(setting, "needs git on this machine", place, "install git") from None
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        fix = "see whether this machine reaches it; a stack with a full commit needs no look-up"
        raise _UnreadableError(setting, f"must answer within {seconds} seconds", place, fix) from None
    if process.returncode == 0:
        return os.fsdecode(out)
    whole = err.decode(errors="replace")
    said = _tidy(whole)
    if told:
        known = access.next_step(whole) if access else None
        fix = f"{known or 'see whether it is there and you may read it'}; git says: {said}"
        raise _UnreadableError(setting, "must be a repository that this machine can read", place, fix)
    raise _GitError(said)


def _tidy(text: str) -> str:
    """Return what a program said on one line of sensible length, without passwords."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines
    line = re.sub(r"(//)[^/\s]*@", r"\1[hidden]@", "; ".join(told) or "nothing")
    line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= 300 else f"{line[:300]}…"
