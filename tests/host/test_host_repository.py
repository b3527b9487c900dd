"""The server fetches the code itself: one mirror, one key, one host key, and what a Git server may not do to it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import releases, repository
from flaskhost.shell import Failure

from sources import Resolved
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

# Takes any host for this machine; notes how it was called and what the files say.
SSH = """#!/bin/sh
printf 'ssh %s\\n' "$*" >> "$FAKES/calls"
for word; do
    case $word in *UserKnownHostsFile=*) cat "${word#*=}" > "$FAKES/known" ;; esac
    last=$word
done
[ -e "$FAKES/ssh-says" ] && { cat "$FAKES/ssh-says"; exit 255; } >&2
eval "$last"
"""


def git(folder: Path, *words: str) -> str:
    """Run git as somebody whose own configuration does not matter."""
    who = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    words = ("git", "-C", str(folder), *words)
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """Commit these files; return the commit."""
    for name, text in files.items():
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path, ready: Server) -> Path:
    """Return the team's repository, on a Git server that the scratch server reaches."""
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    files = {"wsgi.py": "app = 1\n", "requirements.txt": "flask\n", "run.sh": "#!/bin/sh\n", ".gitattributes": ""}
    (folder / "guestbook/static").mkdir(parents=True)
    (folder / "guestbook/static/a.css").write_text("a")
    commit(folder, **files)
    (ready.fakes / "bin/ssh").write_text(SSH)
    (ready.fakes / "bin/ssh").chmod(0o755)
    return folder


def deploy(server: Server, upstream: Path, at: str, *, kind: str = "ssh", **changes: Any) -> releases.Release:
    """Prepare the release of a commit."""
    url = f"ssh://git@git.example:2222{upstream}" if kind == "ssh" else f"file://{upstream}"
    source = {"repository": url, "via": "server", **({"host_key": scenario.HOST_KEY} if kind == "ssh" else {})}
    settings = {"app__source": source, "app__commit": at, "credentials__deploy_key": scenario.PRIVATE_KEY, **changes}
    plan = scenario.plan(Resolved("v1.0.0", at, at[:32] * 2, None, 0), **settings)
    server.do(plan.environment)
    server.do(plan.prepare)
    return releases.read(server.paths, plan.release)


def test_a_commit_is_fetched_with_the_deploy_key_and_the_pinned_host_key(ready: Server, upstream: Path) -> None:
    """Promise: the release has the files of that commit, and ssh asked nobody and trusted nothing else."""
    release = deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))
    assert release.is_prepared()
    assert (release.source / "wsgi.py").read_text() == "app = 1\n"
    assert not (release.source / ".git").exists()
    (call,) = [line for line in ready.calls() if line.startswith("ssh ")]
    for words in ("-F /dev/null", "StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes", "-p 2222"):
        assert words in call
    assert (ready.fakes / "known").read_text() == f"flaskhost-git-server {scenario.HOST_KEY}\n"
    assert scenario.PRIVATE_KEY.splitlines()[1] not in call + ready.said.getvalue()


def test_credentials_and_mirror_are_roots_alone(ready: Server, upstream: Path) -> None:
    """Promise: neither the application nor the builder, who runs strangers' code, can open them."""
    deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))
    folder = ready.root / "etc/flaskhost/guestbook/git"
    for path in (folder, ready.root / "srv/guestbook/repo.git"):
        assert path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / "deploy_key").read_text() == scenario.PRIVATE_KEY
    ready.do(scenario.plan().environment)
    assert not (folder / "deploy_key").exists()


def test_only_what_is_missing_is_fetched(ready: Server, upstream: Path) -> None:
    """Promise: a commit that the mirror has needs no Git server; a new one brings itself alone."""
    (upstream / "large").write_bytes(os.urandom(2_000_000))
    first = commit(upstream, **{"a.txt": "1"})
    deploy(ready, upstream, first)
    assert "KiB" in ready.said.getvalue()
    second = commit(upstream, **{"a.txt": "2"})
    ready.calls()
    before = repository._kibibytes(ready.paths.home / "repo.git")  # noqa: SLF001 - what the fetch has brought
    deploy(ready, upstream, second)
    assert repository._kibibytes(ready.paths.home / "repo.git") - before < 20  # noqa: SLF001 - as above
    assert any(line.startswith("ssh ") for line in ready.calls())
    deploy(ready, upstream, first, app__keep=3, env={"A": "another release of the same commit"})
    assert not any(line.startswith("ssh ") for line in ready.calls())
    assert list((ready.paths.home / "repo.git").glob("*.tar")) == []


def test_a_commit_that_no_branch_holds_any_more_is_still_fetched(ready: Server, upstream: Path) -> None:
    """Promise: a rollback works after a force-push, as long as the Git server hands the commit out."""
    git(upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
    gone = commit(upstream, **{"a.txt": "1"})
    git(upstream, "reset", "--quiet", "--hard", "HEAD~1")
    assert deploy(ready, upstream, gone).is_prepared()


@pytest.mark.parametrize(
    ("says", "step"),
    [
        ("Host key verification failed.\n", r"another host key than flaskhost:app.source.host_key"),
        ("git@git.example: Permission denied (publickey).\n", r"add this key to it as a deploy key that may read"),
        ("ssh: connect to host git.example port 22: Connection timed out\n", r"whether this host reaches it"),
    ],
)
def test_a_refusal_is_told_with_the_next_step_and_the_old_release_serves(
    ready: Server, upstream: Path, says: str, step: str
) -> None:
    """Promise: prepare fails with what git said, which key is wrong, and nothing of the active release is touched."""
    active = ready.release("v1")
    ready.set("ssh-says", says)
    with pytest.raises(
        Failure, match=rf"(?s)the repository ssh://git@git.example.*could not be read.*{step}.*git says"
    ):
        deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))
    now = releases.active(ready.paths)
    assert now is not None
    assert now.digest == active.release
    (ready.fakes / "ssh-says").unlink()
    assert deploy(ready, upstream, git(upstream, "rev-parse", "HEAD")).is_prepared()


def test_a_commit_that_is_not_there_is_named(ready: Server, upstream: Path) -> None:
    """Promise: a typing error is no puzzle; the id of a tag is no commit either."""
    with pytest.raises(Failure, match=r"flaskhost:app.commit: 3f2a.* is no commit of ssh://.*push it there"):
        deploy(ready, upstream, "3f2a" * 10)
    git(upstream, "tag", "--annotate", "--message", "x", "v1.0.0")
    with pytest.raises(Failure, match=r"is no commit of .*git rev-parse v1.0.0\^\{commit\}"):
        deploy(ready, upstream, git(upstream, "rev-parse", "v1.0.0"))


def test_a_repository_of_the_server_itself_needs_no_key(ready: Server, upstream: Path) -> None:
    """Promise: file:// is on the server; a wrong path says so."""
    assert deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"), kind="file").is_prepared()
    assert not any(line.startswith("ssh ") for line in ready.calls())
    with pytest.raises(Failure, match=r"flaskhost:app.source.repository: .*/nowhere is not on this host: a file://"):
        deploy(ready, upstream / "nowhere", "3f2a" * 10, kind="file")


def test_a_mirror_that_a_killed_fetch_has_left_is_used_or_made_anew(ready: Server, upstream: Path) -> None:
    """Promise: neither a lock of git's nor half a mirror stops the next try."""
    mirror = ready.paths.home / "repo.git"
    mirror.mkdir()
    (mirror / "HEAD").write_text("half")
    head = git(upstream, "rev-parse", "HEAD")
    assert deploy(ready, upstream, head).is_prepared()
    (mirror / "packed-refs.lock").touch()
    (mirror / "refs/heads/main.lock").touch()
    (mirror / f"{head}.tar").touch()
    assert deploy(ready, upstream, commit(upstream, **{"a.txt": "2"})).is_prepared()
    assert list(mirror.rglob("*.lock")) == []


@pytest.mark.parametrize("what", ["", "^{tree}", ":wsgi.py", "*.pack", "*.idx"])
@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("following", [False, True])
def test_a_damaged_mirror_is_made_anew(ready: Server, upstream: Path, what: str, size: int, *, following: bool) -> None:
    """Promise: what a full disk or a power cut has left of an object stops no deploy, of this commit or the next."""
    head = git(upstream, "rev-parse", "HEAD")
    deploy(ready, upstream, head)
    mirror = ready.paths.home / "repo.git"
    if what.startswith("*"):
        (damaged,) = mirror.glob(f"objects/pack/{what}")
    else:
        damaged = loose(mirror, git(upstream, "rev-parse", head + what))
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:size])
    wanted = commit(upstream, **{"a.txt": "2"}) if following else head
    # Other variables, so that it is another release of the same commit.
    release = deploy(ready, upstream, wanted, env={"A": "another"})
    assert (release.source / "wsgi.py").read_text() == "app = 1\n"


def loose(mirror: Path, name: str) -> Path:
    """Have all objects of a mirror in files of their own, as later fetches leave them; return that of one."""
    (pack,) = mirror.glob("objects/pack/*.pack")
    packed = pack.read_bytes()
    for path in pack.parent.iterdir():
        path.unlink()
    subprocess.run(["git", "-C", str(mirror), "unpack-objects", "-q"], input=packed, check=True)
    return mirror / "objects" / name[:2] / name[2:]


def test_hooks_and_settings_of_a_mirror_run_nothing(ready: Server, upstream: Path) -> None:
    """Promise: whatever lies in the mirror, a fetch by root runs no program of it."""
    deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))
    hooks = ready.paths.home / "repo.git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-fetch", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {ready.root}/ran\n")
        (hooks / name).chmod(0o755)
    deploy(ready, upstream, commit(upstream, **{"a.txt": "2"}))
    assert not (ready.root / "ran").exists()


def test_submodules_and_large_file_storage_are_refused(ready: Server, upstream: Path) -> None:
    """Promise: as for an archive of the workstation: nothing is deployed in part."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    with pytest.raises(Failure, match=r"the source has files of Git LFS \(big.bin\)"):
        deploy(ready, upstream, commit(upstream, **{"big.bin": pointer}))
    git(upstream, "rm", "--quiet", "big.bin")
    head = git(upstream, "rev-parse", "HEAD")
    git(upstream, "update-index", "--add", "--cacheinfo", f"160000,{head},vendor/lib")
    git(upstream, "commit", "--quiet", "--message", "a submodule")
    with pytest.raises(Failure, match=r"the source has submodules \(vendor/lib\)"):
        deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))


def test_a_link_of_the_repository_that_leads_outside_is_refused(ready: Server, upstream: Path) -> None:
    """Promise: what is checked in an upload is checked in a fetched commit."""
    (upstream / "link").symlink_to("/etc/passwd")
    with pytest.raises(Failure, match=r"the source holds 'link'"):
        deploy(ready, upstream, commit(upstream))


def test_a_file_has_the_time_of_its_content(ready: Server, upstream: Path) -> None:
    """Promise: as in an upload: a browser keeps what did not change, and never an old file of the same size."""
    first = deploy(ready, upstream, git(upstream, "rev-parse", "HEAD"))
    second = deploy(ready, upstream, commit(upstream, **{"run.sh": "#!/bin/ba\n"}))
    times = [[(one.source / name).stat().st_mtime for one in (first, second)] for name in ("wsgi.py", "run.sh")]
    assert times[0][0] == times[0][1]
    assert times[1][0] != times[1][1]
    assert max(times[0] + times[1]) < 1_300_000_000
