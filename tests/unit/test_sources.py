"""What goes to the server is what was asked for, byte by byte, or nothing does and a person reads why."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

import settings
import sources
from components import configuration
from settings import Credentials, FolderSource, RepositorySource
from sources import Resolved, SourceError
from tests.components import scenario


def git(folder: Path, *words: str) -> str:
    """Run git as somebody whose own configuration does not matter."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.com",
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str = "change") -> str:
    """Commit everything and return the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with an annotated tag, a light one and a branch that went on."""
    folder = tmp_path / "app"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "wsgi.py").write_text("app = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "pkg").mkdir()
    (folder / "pkg" / "ü.txt").write_text("ü")
    (folder / "link").symlink_to("pkg/ü.txt")
    commit(folder)
    git(folder, "tag", "--annotate", "--message", "first", "v1.0.0")
    (folder / "wsgi.py").write_text("app = 2\n")
    commit(folder)
    git(folder, "tag", "v1.1.0")
    git(folder, "branch", "develop")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache folder that is not there yet."""
    return tmp_path / "cache"


def resolve(place: str | Path, cache: Path, version: str | None = None, **named: Any) -> Resolved:
    """Resolve a repository, with the folder above it as base."""
    commit = named.pop("commit", None)
    return sources.resolve(
        RepositorySource.model_construct(repository=str(place)),
        version,
        commit,
        base=cache.parent,
        cache=cache,
        **named,
    )


def resolve_folder(folder: str | Path, cache: Path) -> Resolved:
    """Resolve a folder as source."""
    return sources.resolve(FolderSource(folder=str(folder)), None, None, base=cache.parent, cache=cache)


def refused(place: str | Path, cache: Path, version: str | None = None, **named: Any) -> str:
    """Return what a person reads when a repository cannot be deployed."""
    with pytest.raises(SourceError) as caught:
        resolve(place, cache, version, **named)
    text = str(caught.value)
    assert text.isprintable()
    return text


def tar_of(found: Resolved) -> Path:
    """Return the archive of code that this machine sends."""
    assert found.archive
    return found.archive


def members(found: Resolved) -> dict[str, tarfile.TarInfo]:
    """Return what the archive holds, by name."""
    with tarfile.open(found.archive) as tar:
        return {member.name: member for member in tar}


def without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every further call of git fail the test."""

    def called(*_: Any, **__: Any) -> str:
        raise AssertionError("git was called")

    monkeypatch.setattr(sources, "_git", called)


@pytest.mark.parametrize("form", ["app", "path", "url"])
def test_a_tag_is_the_commit_that_it_was_put_on(repository: Path, cache: Path, form: str) -> None:
    """Promise: annotated or light, by path or URL, a tag leads to the same commit and the same bytes."""
    place = {"app": "app", "path": str(repository), "url": f"file://{repository}"}[form]
    first, second = resolve(place, cache, "v1.0.0"), resolve(place, cache, "v1.1.0")
    assert first.commit == git(repository, "rev-parse", "v1.0.0^{commit}")
    assert second.commit == git(repository, "rev-parse", "main")
    assert (first.version, second.version) == ("v1.0.0", "v1.1.0")
    assert first.tree != second.tree
    assert first.size == tar_of(first).stat().st_size
    assert first.warning is None


def test_the_archive_holds_files_links_and_modes_and_nothing_of_this_machine(repository: Path, cache: Path) -> None:
    """Promise: no owner, no time and no umask of the workstation travels; links come last."""
    found = members(resolve(repository, cache, "v1.0.0"))
    assert list(found) == ["pkg", "pkg/ü.txt", "run.sh", "wsgi.py", "link"]
    assert {member.uid for member in found.values()} == {0}
    assert {member.uname for member in found.values()} == {""}
    assert found["run.sh"].mode == 0o755
    assert found["wsgi.py"].mode == 0o644
    assert found["link"].linkname == "pkg/ü.txt"
    assert all(member.mtime < 1_300_000_000 for member in found.values())


def test_the_same_files_give_the_same_bytes_from_anywhere(repository: Path, cache: Path, tmp_path: Path) -> None:
    """Promise: the digest says what is deployed, not where it came from or when."""
    by_path = resolve(repository, cache, "v1.1.0")
    by_url = resolve(f"file://{repository}", tmp_path / "other cache", "v1.1.0")
    by_folder = resolve_folder(repository, cache)
    assert tar_of(by_path).read_bytes() == tar_of(by_url).read_bytes() == tar_of(by_folder).read_bytes()
    assert by_path.tree == by_url.tree == by_folder.tree
    assert by_folder.version == f"folder-{by_folder.tree[:8]}"


def test_a_file_of_the_same_size_gets_another_time(repository: Path, cache: Path) -> None:
    """Promise: Nginx makes an ETag of time and size, so a changed style sheet is never taken for the old one."""
    first, second = (members(resolve(repository, cache, version)) for version in ("v1.0.0", "v1.1.0"))
    assert first["wsgi.py"].size == second["wsgi.py"].size
    assert first["wsgi.py"].mtime != second["wsgi.py"].mtime
    assert first["run.sh"].mtime == second["run.sh"].mtime


def test_a_full_commit_in_the_cache_needs_no_repository_and_no_git(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a rollback to a pinned commit works when the repository is gone."""
    first = resolve(repository, cache, "v1.0.0")
    shutil.rmtree(repository)
    without_git(monkeypatch)
    assert resolve(repository, cache, "v1.0.0", commit=first.commit) == first
    again = resolve(repository, cache, first.commit)
    assert (again.commit, again.tree, again.version) == (first.commit, first.tree, str(first.commit)[:12])


def test_a_commit_wins_over_the_version_and_is_not_looked_up(repository: Path, cache: Path) -> None:
    """Promise: what the stack file pins is what is deployed, even if the tag was moved since."""
    pinned = git(repository, "rev-parse", "v1.0.0^{commit}")
    git(repository, "tag", "--force", "v1.0.0", "main")
    found = resolve(f"file://{repository}", cache, "v1.0.0", commit=pinned)
    assert (found.version, found.commit) == ("v1.0.0", pinned)


def test_a_shortened_commit_is_found_where_the_repository_is_at_hand(repository: Path, cache: Path) -> None:
    """Promise: seven digits do for a repository on this machine."""
    full = git(repository, "rev-parse", "v1.0.0^{commit}")
    assert resolve(repository, cache, full[:8]).commit == full


def test_a_damaged_archive_in_the_cache_is_made_again(repository: Path, cache: Path) -> None:
    """Promise: half an archive is never deployed."""
    first = resolve(repository, cache, "v1.0.0")
    tar_of(first).write_bytes(tar_of(first).read_bytes()[:100])
    assert resolve(repository, cache, "v1.0.0") == first
    assert tar_of(first).stat().st_size == first.size


def test_a_new_commit_is_fetched_and_a_known_one_is_not(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the mirror is fetched only when a commit is missing."""
    url = f"file://{repository}"
    resolve(url, cache, "v1.0.0")
    fetched: list[str] = []
    original = sources._Mirror._fetch  # noqa: SLF001

    def counted(mirror: Any, *words: str) -> None:
        fetched.append("x")
        original(mirror, *words)

    monkeypatch.setattr(sources._Mirror, "_fetch", counted)  # noqa: SLF001
    resolve(url, cache, "v1.1.0")
    assert fetched == []
    (repository / "new.py").write_text("")
    new = commit(repository)
    assert resolve(url, cache, "main", allow_branch=True).commit == new
    assert fetched == ["x"]


@pytest.mark.parametrize("form", ["path", "url"])
def test_a_branch_is_refused_unless_it_is_allowed(repository: Path, cache: Path, form: str) -> None:
    """Promise: production does not move on its own; the message holds the commit to pin."""
    place = str(repository) if form == "path" else f"file://{repository}"
    tip = git(repository, "rev-parse", "develop")
    text = refused(place, cache, "develop")
    assert text.startswith("flaskhost:app.version: must be a tag or a commit")
    assert f"commit: {tip}" in text
    assert resolve(place, cache, "develop", allow_branch=True).commit == tip
    assert resolve(place, cache, None, allow_branch=True).commit == tip
    assert "must be a tag or a commit" in refused(place, cache, None)


def test_a_tag_comes_before_a_branch_of_the_same_name(repository: Path, cache: Path) -> None:
    """Promise: as git itself decides."""
    git(repository, "branch", "v1.0.0", "main")
    assert resolve(repository, cache, "v1.0.0").commit == git(repository, "rev-parse", "refs/tags/v1.0.0^{commit}")
    assert resolve(f"file://{repository}", cache, "v1.0.0").commit == resolve(repository, cache, "v1.0.0").commit


@pytest.mark.parametrize("form", ["path", "url"])
def test_a_missing_version_is_answered_with_those_that_are_near(repository: Path, cache: Path, form: str) -> None:
    """Promise: a typing error is repaired without a look at the repository."""
    place = str(repository) if form == "path" else f"file://{repository}"
    near = refused(place, cache, "v1.1")
    assert near.startswith("flaskhost:app.version: must be a tag, branch or commit of ")
    assert "(got 'v1.1'): did you mean v1.1.0" in near
    assert "there is: v1.1.0, v1.0.0, " in refused(place, cache, "nonsense")
    assert "write all 40 digits if it is a commit" in refused(place, cache, "abcdef0")


def test_a_commit_that_names_its_version_is_that_commit(repository: Path, cache: Path) -> None:
    """Promise: what a rollback has written is deployed without a look at the tag, which may be gone."""
    commit = git(repository, "rev-parse", "v1.0.0^{commit}")
    git(repository, "tag", "--delete", "v1.0.0")
    app = {"name": "shop", "source": {"repository": str(repository)}, "version": "v1.0.0", "commit": f"v1.0.0@{commit}"}
    wanted = settings.load({"server": {"kind": "local"}, "app": app}, stack="prod")
    found = configuration.resolve(wanted, base=cache.parent, cache=cache)
    assert (found.version, found.commit) == ("v1.0.0", commit)


@pytest.mark.parametrize("form", ["path", "url"])
def test_a_commit_that_is_not_there_is_named(repository: Path, cache: Path, form: str) -> None:
    """Promise: the message says which repository lacks it."""
    place = str(repository) if form == "path" else f"file://{repository}"
    text = refused(place, cache, "v1.0.0", commit="1" * 40)
    assert text.startswith("flaskhost:app.commit: must be a commit of ")
    assert "1" * 40 in text


def test_the_hash_of_a_tag_is_no_commit_and_its_commit_is_told(repository: Path, cache: Path) -> None:
    """Promise: a usual mistake with annotated tags is explained."""
    tag, wanted = git(repository, "rev-parse", "v1.0.0"), git(repository, "rev-parse", "v1.0.0^{commit}")
    assert f"this is a tag (got '{tag}'): write {wanted}" in refused(repository, cache, commit=tag)


def test_a_place_without_a_repository_is_named(repository: Path, cache: Path, tmp_path: Path) -> None:
    """Promise: no folder, no repository and a part of a repository are three different messages."""
    (tmp_path / "empty").mkdir()
    assert "must be a folder, and " in refused("nowhere", cache, "v1")
    assert "must be a git repository (got 'empty')" in refused("empty", cache, "v1")
    assert "must be a repository and not a folder inside one" in refused(repository / "pkg", cache, "v1.0.0")
    assert "must be a repository that this machine can read" in refused(f"file://{tmp_path}/nowhere", cache, "v1")
    git(tmp_path / "empty", "init", "--quiet")
    assert "commit something" in refused("empty", cache, "v1")


def test_a_repository_that_does_not_answer_is_given_up_in_time(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a preview does not hang; git and its children are ended."""
    monkeypatch.setattr(sources, "LOOK_UP_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        text = refused(f"https://127.0.0.1:{silent.getsockname()[1]}/app.git", cache, "v1")
    assert time.monotonic() - started < 5
    assert "must answer within 0.5 seconds" in text


def test_a_password_in_a_url_is_never_shown(cache: Path) -> None:
    """Promise: not in the value, and not in what git says."""
    text = refused("https://someone:hunter2@127.0.0.1:1/app.git", cache, "v1")
    assert "hunter2" not in text
    assert "[hidden]@127.0.0.1" in text


def test_without_git_the_message_says_so(repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the one program that is needed is named."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "needs git on this machine" in refused(repository, cache, "v1.0.0")


def test_names_that_look_like_options_reach_git_as_names(repository: Path, cache: Path, tmp_path: Path) -> None:
    """Promise: nothing in a stack file becomes an option or a command of git, even without the settings' own check."""
    marker = tmp_path / "marker"
    for version in (f"--output={marker}", f"--upload-pack=touch {marker}", "-h"):
        assert "must be a tag, branch or commit" in refused(repository, cache, version)
        assert "must be a tag, branch or commit" in refused(f"file://{repository}", cache, version)
    for place in (f"--upload-pack=touch {marker}", f"ext::touch {marker}", "-h"):
        refused(place, cache, "v1.0.0")
    refused(f"ext://touch {marker}", cache, "v1.0.0")
    assert not marker.exists()


def test_a_hook_of_another_repository_does_not_lead_git_astray(
    repository: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: GIT_DIR, which git sets while a hook runs, is not followed."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    assert resolve(repository, cache, "v1.0.0").version == "v1.0.0"


def test_submodules_are_refused_rather_than_left_empty(repository: Path, cache: Path) -> None:
    """Promise: an application is never deployed by half."""
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor/lib")
    git(repository, "commit", "--quiet", "--message", "module")
    git(repository, "tag", "v2")
    text = refused(repository, cache, "v2")
    assert "must not hold submodules, which cannot be sent yet" in text
    assert "vendor/lib" in text


def test_files_of_git_lfs_are_refused_rather_than_sent_as_pointers(repository: Path, cache: Path) -> None:
    """Promise: nobody finds a pointer where a picture should be."""
    (repository / "big.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    commit(repository)
    git(repository, "tag", "v2")
    assert "must not hold files of Git LFS" in refused(repository, cache, "v2")
    assert list(cache.rglob(".new-*")) == []


def test_a_label_is_safe_in_a_file_name(repository: Path, cache: Path) -> None:
    """Promise: a branch with slashes does not make folders on the server."""
    git(repository, "tag", "release/2024 x".replace(" ", "-"))
    assert resolve(repository, cache, "release/2024-x").version == "release-2024-x"


def test_the_bundled_example_is_made_when_it_is_asked_for(cache: Path) -> None:
    """Promise: the stack local works on a fresh machine, and the second time takes no time."""
    first = resolve("example:guestbook", cache, "v1.0.0")
    assert "wsgi.py" in members(first)
    made = (cache / "examples" / "guestbook.stamp").stat().st_mtime_ns
    assert resolve("example:guestbook", cache, "v1.1.0").version == "v1.1.0"
    assert (cache / "examples" / "guestbook.stamp").stat().st_mtime_ns == made
    assert "(got 'example:other'): there is: guestbook" in refused("example:other", cache, "v1.0.0")


def test_a_folder_holds_what_git_would_list(repository: Path, cache: Path) -> None:
    """Promise: changes and new files go along; what git ignores, deleted files and secrets stay here."""
    (repository / ".gitignore").write_text("ignored\n")
    (repository / "ignored").write_text("x")
    (repository / "new.py").write_text("x")
    (repository / ".env").write_text("SECRET=1")
    (repository / "node_modules").mkdir()
    (repository / "node_modules" / "big.js").write_text("x")
    (repository / "run.sh").unlink()
    found = members(resolve_folder("app", cache))
    assert set(found) == {".gitignore", "link", "new.py", "pkg", "pkg/ü.txt", "wsgi.py"}


def test_a_folder_without_git_leaves_out_what_is_made_anew(tmp_path: Path, cache: Path) -> None:
    """Promise: environments, caches and secrets of the workstation are not sent."""
    for name in ("wsgi.py", ".env", ".venv/x", "venv/x", "a/__pycache__/x.pyc", "a/b.pyc", "a/c.py", "node_modules/x"):
        (tmp_path / "plain" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plain" / name).write_text("x")
    (tmp_path / "plain" / "shortcut").symlink_to("a")
    os.mkfifo(tmp_path / "plain" / "pipe")
    assert set(members(resolve_folder("plain", cache))) == {"wsgi.py", "a", "a/c.py", "shortcut"}


def test_a_folder_that_a_repository_around_it_ignores_is_taken_as_it_is(repository: Path, cache: Path) -> None:
    """Promise: a folder is not empty only because a repository above it does not want it."""
    (repository / ".gitignore").write_text("work/\n")
    (repository / "work").mkdir()
    (repository / "work" / "wsgi.py").write_text("x")
    assert set(members(resolve_folder(repository / "work", cache))) == {"wsgi.py"}


def test_a_changed_folder_is_another_release_and_an_unchanged_one_is_not(tmp_path: Path, cache: Path) -> None:
    """Promise: time stamps and the umask do not count, contents and executable bits do."""
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "wsgi.py").write_text("1")
    first = resolve_folder(plain, cache)
    os.utime(plain / "wsgi.py", (1, 1))
    (plain / "wsgi.py").chmod(0o600)
    assert resolve_folder(plain, cache) == first
    (plain / "wsgi.py").chmod(0o700)
    assert resolve_folder(plain, cache).tree != first.tree


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "a/../../secret"])
def test_a_link_that_leads_outside_is_refused(tmp_path: Path, cache: Path, target: str) -> None:
    """Promise: a link means the same on the server as here, or is not sent."""
    (tmp_path / "plain" / "a").mkdir(parents=True)
    (tmp_path / "plain" / "link").symlink_to(target)
    with pytest.raises(SourceError, match="must not hold links that lead outside, and 'link' does"):
        resolve_folder("plain", cache)


def test_a_repository_inside_a_folder_is_refused(repository: Path, cache: Path) -> None:
    """Promise: a checked-out submodule or clone is not left out silently."""
    (repository / "inner").mkdir()
    git(repository / "inner", "init", "--quiet")
    (repository / "inner" / "x").write_text("x")
    with pytest.raises(SourceError, match="must not hold repositories inside it"):
        resolve_folder("app", cache)


def test_a_folder_that_is_not_there_or_holds_nothing_is_named(tmp_path: Path, cache: Path) -> None:
    """Promise: an empty release is never made."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"app\.source\.folder: must hold files \(got 'empty'\)"):
        resolve_folder("empty", cache)
    with pytest.raises(SourceError, match=r"app\.source\.folder: must be a folder, and .* is none"):
        resolve_folder("nowhere", cache)


def test_only_the_newest_archives_of_folders_are_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a day of saving files does not fill the disk."""
    monkeypatch.setattr(sources, "ARCHIVES_KEPT", 2)
    (tmp_path / "plain").mkdir()
    for content in "abcd":
        (tmp_path / "plain" / "wsgi.py").write_text(content)
        last = resolve_folder("plain", cache)
    assert tar_of(last).exists()
    assert len(list(tar_of(last).parent.glob("folder-*.tar"))) == 2


def test_a_large_source_is_worth_a_word(tmp_path: Path) -> None:
    """Promise: who sends hundreds of megabytes with each release is told."""
    large = Resolved("v1", None, "0" * 64, tmp_path, 200 * 2**20)
    assert large.warning == "the source has 200 MB: large files are better kept outside of it"


FAKE_SSH = """#!/bin/sh
echo "$*" > "$SEEN/words"
for word; do
    case $word in
    *UserKnownHostsFile=*) cat "${word#*=}" > "$SEEN/known" ;;
    -i) next=yes; continue ;;
    esac
    [ -z "$next" ] || { cat "$word" > "$SEEN/key"; stat -c '%a' "$word" "$(dirname "$word")" > "$SEEN/modes"; next=; }
    last=$word
done
[ -e "$SEEN/says" ] && { cat "$SEEN/says" >&2; exit 255; }
eval "$last"
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where an ssh that takes any host for this machine writes down what it was called with."""
    folder = tmp_path / "seen"
    folder.mkdir()
    (folder / "ssh").write_text(FAKE_SSH)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("SEEN", str(folder))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def by_server(repository: Path | str, cache: Path, version: str | None, **named: Any) -> Resolved:
    """Resolve a source that the server fetches over SSH."""
    url = repository if isinstance(repository, str) else f"ssh://git@git.example{repository}"
    source = RepositorySource(repository=url, via="server", host_key=scenario.HOST_KEY)
    named = {"credentials": Credentials(deploy_key=scenario.PRIVATE_KEY, git_token="t0ken"), **named}
    return sources.resolve(source, version, named.pop("commit", None), base=cache.parent, cache=cache, **named)


def test_a_tag_is_looked_up_as_the_server_would(repository: Path, cache: Path, seen: Path) -> None:
    """Promise: with the server's key and the pinned host key, in files that are this user's and gone afterwards."""
    found = by_server(repository, cache, "v1.0.0")
    assert found.commit == git(repository, "rev-parse", "v1.0.0^{commit}")
    assert (found.version, found.archive, found.size) == ("v1.0.0", None, 0)
    words = (seen / "words").read_text()
    assert (seen / "key").read_text() == scenario.PRIVATE_KEY
    assert (seen / "known").read_text() == f"flaskhost-git-server {scenario.HOST_KEY}\n"
    assert (seen / "modes").read_text().split() == ["600", "700"]
    assert "StrictHostKeyChecking=yes" in words
    assert "PRIVATE" not in words
    key = words.split("-i ")[1].split()[0]
    assert not Path(key).parent.exists()
    assert not (cache / "repositories").exists()


def test_a_full_commit_of_the_server_needs_no_look_up(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a rollback depends on no Git server; another repository or commit is another release."""
    commit = git(repository, "rev-parse", "v1.0.0^{commit}")
    other = git(repository, "rev-parse", "main")
    without_git(monkeypatch)
    first = by_server(repository, cache, "v1.0.0", commit=commit)
    assert (first.version, first.commit, first.archive) == ("v1.0.0", commit, None)
    assert by_server(repository, cache, commit).tree == first.tree
    assert by_server(repository, cache, other).tree != first.tree
    assert by_server("https://git.example/x.git", cache, commit).tree != first.tree


@pytest.mark.parametrize(
    ("says", "step"),
    [
        ("Host key verification failed.\n", "shows another host key than app.source.host_key"),
        ("git@git.example: Permission denied (publickey).\n", "public half of credentials.deploy_key"),
        ("ssh: Could not resolve hostname git.example\n", "see whether it is there"),
    ],
)
def test_a_refusal_of_the_git_server_is_told_with_the_next_step(
    repository: Path, cache: Path, seen: Path, says: str, step: str
) -> None:
    """Promise: the message tells which of the two keys is wrong, and shows neither."""
    (seen / "says").write_text(says)
    with pytest.raises(SourceError) as caught:
        by_server(repository, cache, "v1.0.0")
    text = str(caught.value)
    assert step in text
    assert "PRIVATE" not in text
    assert "flaskhost-git-" not in text


def test_a_branch_of_the_server_has_to_be_allowed_and_a_wrong_name_is_guessed(
    repository: Path, cache: Path, seen: Path
) -> None:
    """Promise: the rules of a version are the same, whoever fetches it."""
    assert seen
    assert by_server(repository, cache, "develop", allow_branch=True).commit == git(repository, "rev-parse", "develop")
    with pytest.raises(SourceError, match="must be a tag or a commit, for a branch moves"):
        by_server(repository, cache, "develop")
    with pytest.raises(SourceError, match=r"did you mean v1.0.0"):
        by_server(repository, cache, "v1.0.1")


def test_a_token_goes_to_its_own_host_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a server that the first one leads to is not told the token, and no other helper is asked."""
    variables: dict[str, str] = {}
    said: list[str] = []

    def called(_: Any, *, access: Any, **__: Any) -> str:
        variables.update(access.variables)
        helper = variables["GIT_CONFIG_VALUE_1"].removeprefix("!")
        said.append(subprocess.run(["sh", "-c", f"{helper} get"], capture_output=True, text=True, check=True).stdout)
        return f"{'3f2a' * 10}\trefs/tags/v1.0.0\n"

    monkeypatch.setattr(sources, "_git", called)
    assert by_server("https://git.example:8443/team/x.git", cache, "v1.0.0").commit == "3f2a" * 10
    assert variables["GIT_CONFIG_KEY_0"] == "credential.helper"
    assert variables["GIT_CONFIG_VALUE_0"] == ""
    assert variables["GIT_CONFIG_KEY_1"] == "credential.https://git.example:8443.helper"
    assert said[0] == "username=x-access-token\npassword=t0ken\n"
    assert "t0ken" not in str(variables)


def kept_as(version: str, commit: str) -> list[sources.Kept]:
    """Return what a server has of one release."""
    return [sources.Kept(version, commit, "7" * 64)]


@pytest.mark.parametrize("form", ["path", "url"])
def test_a_release_on_the_server_needs_no_repository(repository: Path, cache: Path, tmp_path: Path, form: str) -> None:
    """Promise: by commit or by its version's name, with nothing in the cache; its digest is the server's."""
    commit = git(repository, "rev-parse", "v1.0.0^{commit}").strip()
    gone = RepositorySource(repository=str(tmp_path / "gone") if form == "path" else f"file://{tmp_path}/gone")
    for version, pinned in (("v1.0.0", commit), (commit, None), ("v1.0.0", None)):
        found = sources.resolve(
            gone, version, pinned, base=tmp_path, cache=cache, kept=lambda: kept_as("v1.0.0", commit)
        )
        assert (found.commit, found.tree, found.archive) == (commit, "7" * 64, None)
        assert "as the server has it still" in str(found.warning)


def test_a_repository_that_can_be_read_has_the_last_word_on_names(repository: Path, cache: Path) -> None:
    """Promise: the server is not asked for a withdrawn tag, nor for a branch, nor where the repository helps."""

    def never() -> list[sources.Kept]:
        raise AssertionError

    source = RepositorySource(repository=str(repository))
    with pytest.raises(SourceError, match="must be a tag"):
        sources.resolve(source, "v0.9.0", None, base=repository, cache=cache, kept=never)
    assert sources.resolve(source, "v1.0.0", None, base=repository, cache=cache, kept=never).archive
    gone = RepositorySource(repository=str(repository / "gone"))
    with pytest.raises(SourceError, match="must be a folder"):
        sources.resolve(gone, "main", None, base=repository, cache=cache, kept=never, allow_branch=True)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param([], id="none"),
        pytest.param(kept_as("v1.0.1", "3f2a" * 10), id="another one"),
        pytest.param(kept_as("v1.0.0", "3f2a" * 10) + kept_as("v1.0.0", "4b1d" * 10), id="two of the name"),
    ],
)
def test_without_a_release_on_the_server_the_error_is_the_repository_s(
    cache: Path, tmp_path: Path, kept: list[sources.Kept]
) -> None:
    """Promise: nothing is guessed."""
    with pytest.raises(SourceError, match="must be a folder"):
        sources.resolve(
            RepositorySource(repository="gone"), "v1.0.0", None, base=tmp_path, cache=cache, kept=lambda: kept
        )
