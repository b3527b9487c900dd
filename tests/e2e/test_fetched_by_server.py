"""The server fetches the code itself, from a real Git server: sshd, a deploy key that may only read, a pinned key.

The Git server is the SSH server of the module's host. It listens on the port under which this machine reaches it as
well, so that one URL leads to it from both.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ops.local_server import server
from tests.components.scenario import OTHER_HOST_KEY
from tests.e2e.host import APP, HOME, WHO
from tests.e2e.stack import GOOD, NEWER, TREE, Run, Stack
from tests.e2e.watch import CommandLines

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

REPOSITORY = "/srv/git/guestbook.git"
AFTER = "v1.1.1"


@dataclass
class GitServer:
    """The Git server on the module's host, and what is seen of it."""

    stack: Stack
    url: str
    host_key: str
    private: str
    first: Run
    command_lines: str

    def run(self, command: str) -> str:
        """Do something on it, as the user whom the repositories belong to."""
        return self.stack.host.run(command, user="git")

    def release(self, version: str, text: str) -> str:
        """Have the team release a version; return its commit."""
        self.run(
            f"cd /tmp && rm -rf work && git clone -q {REPOSITORY} work && cd work && git checkout -q {NEWER} && "
            f"echo {shlex.quote(text)} > note.txt && git add note.txt && {WHO} git commit -q -m {version} && "
            f"git tag {version} && git push -q origin {version}"
        )
        return self.commit(version)

    def commit(self, version: str) -> str:
        """Return the commit of a tag."""
        return self.run(f"git -C {REPOSITORY} rev-parse '{version}^{{commit}}'")

    def logins(self) -> int:
        """Return how many sessions the Git server has had."""
        return int(self.stack.host.run("journalctl -q -u ssh -o cat | grep -c 'Accepted publickey for git' || true"))


def fetched(run: Run) -> list[int]:
    """Return the KiB of each fetch that a run tells of."""
    return [int(size) for size in re.findall(r"repository: fetched (\d+) KiB", run.text)]


@pytest.fixture(scope="module")
def git(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> GitServer:
    """Make the Git server on a host that serves v1.0.0 from an upload, and have the host fetch v1.1.0 itself."""
    stack.deploy(GOOD)
    folder: Path = tmp_path_factory.mktemp("repository") / "guestbook"
    subprocess.run([sys.executable, TREE / "examples" / "make_repository.py", folder], check=True, capture_output=True)
    keys, host, port = server.keys(), stack.host, stack.ports["ssh_port"]
    host.run("useradd --create-home --shell /bin/sh git && mkdir -p /srv/git /home/git/.ssh")
    host.engine.run("cp", str(folder / ".git"), f"{stack.server}:{REPOSITORY}")
    only = f'restrict,command="git-upload-pack {REPOSITORY}" {keys["login_public"]}'
    host.run(
        f"git config --file {REPOSITORY}/config core.bare true; chown -R git:git /srv/git /home/git; "
        f"chmod 700 /srv/git; echo {shlex.quote(only)} > /home/git/.ssh/authorized_keys; "
        f"printf 'Port 22\\nPort {port}\\n' > /etc/ssh/sshd_config.d/git.conf; systemctl restart ssh"
    )
    host_key = " ".join(host.run("cat /etc/ssh/ssh_host_ed25519_key.pub").split()[:2])
    url = f"ssh://git@127.0.0.1:{port}{REPOSITORY}"
    stack.encrypt("credentials.deploy_key", keys["login_private"])
    stack.configure(app={"source": {"repository": url, "via": "server", "host_key": host_key}})
    with CommandLines() as lines:
        run = stack.deploy(NEWER)
    return GitServer(stack, url, host_key, keys["login_private"], run, lines.text)


def test_a_tag_is_looked_up_here_and_fetched_by_the_server(git: GitServer) -> None:
    """Nothing is uploaded; the release is that commit, and its files are in no work tree of git's."""
    host = git.stack.host
    assert git.stack.site.version() == "1.1.0"
    assert git.stack.outputs()["release"]["commit"] == git.commit(NEWER)
    kinds = {one["urn"].rsplit("::", 1)[1] for one in git.stack.export()["deployment"]["resources"]}
    assert f"{APP}-source" not in kinds
    assert "releases.log" in host.run(f"ls {HOME}").split()
    assert not host.succeeds(f"test -e {HOME}/app/.git")
    (size,) = fetched(git.first)
    assert size > 0


def test_up_again_asks_the_git_server_for_the_tag_and_nobody_else(git: GitServer) -> None:
    """One look-up from this machine; no session on the host. With the commit in the stack file not even that."""
    before, logins = git.stack.host.logins(), git.logins()
    assert "unchanged" in git.stack.up().text
    assert git.logins() == logins + 1
    assert git.stack.host.logins() == before + 1
    git.stack.configure(app={"commit": git.commit(NEWER)})
    git.stack.up()
    git.stack.configure(app={"commit": None})
    assert git.logins() == logins + 1


def test_the_deploy_key_is_nowhere_but_in_roots_file(git: GitServer) -> None:
    """Not in what Pulumi prints, on a command line, in the state or in the journal."""
    body = git.private.splitlines()[2]
    host = git.stack.host
    assert body not in str(git.first)
    assert body not in git.command_lines
    assert body not in git.stack.on_disk()
    assert body not in host.journal()
    places = host.run(
        f"grep -rlF --devices=skip -e {body} /etc /home /opt /root /run /srv /tmp /var --exclude-dir=journal"
    )
    assert places == f"/etc/flaskhost/{APP}/git/deploy_key"
    assert host.run(f"stat -c '%a %U' {places}") == "600 root"


@pytest.mark.parametrize("user", [APP, f"{APP}_build", "www-data"])
def test_neither_application_nor_builder_can_read_key_or_history(git: GitServer, user: str) -> None:
    """Who runs strangers' code and who talks to visitors see the files of releases at most."""
    for path in (f"{HOME}/repo.git/HEAD", f"{HOME}/repo.git", f"/etc/flaskhost/{APP}/git/deploy_key"):
        assert not git.stack.host.succeeds(f"ls {path}/ || cat {path}", user=user)


def test_the_next_release_brings_only_what_is_new(git: GitServer) -> None:
    """The mirror stays on the host, so that a fetch costs what a commit costs."""
    git.release(AFTER, "a small change")
    run = git.stack.deploy(AFTER)
    (size,) = fetched(run)
    assert size < 20 < fetched(git.first)[0]
    assert git.stack.host.run(f"cat {HOME}/app/note.txt") == "a small change"


def test_a_git_server_with_another_host_key_is_refused_here_and_there(git: GitServer) -> None:
    """A man in the middle gets no key offered: the look-up fails before anything is made, and so does the fetch."""
    active = git.stack.host.active()
    commit = git.release("v1.1.2", "from whom?")
    git.stack.configure(app={"source": {"host_key": OTHER_HOST_KEY}, "version": "v1.1.2"})
    here = git.stack.up(check=False)
    assert "flaskhost:app.source.repository" in here.text
    assert "it shows another host key than app.source.host_key" in here.text
    git.stack.configure(app={"commit": commit})
    there = git.stack.up(check=False)
    assert "another host key than flaskhost:app.source.host_key" in there.text
    assert git.stack.host.active() == active
    git.stack.configure(app={"source": {"host_key": git.host_key}, "commit": None, "version": AFTER})


def test_a_refused_deploy_key_is_told_with_its_public_half(git: GitServer) -> None:
    """The message says what to add where; the release before serves, and the way back needs no Git server."""
    host, active = git.stack.host, git.stack.host.active()
    commit = git.commit("v1.1.2")
    host.run("mv /home/git/.ssh/authorized_keys /home/git/.ssh/away")
    try:
        git.stack.configure(app={"version": "v1.1.2"})
        here = git.stack.up(check=False)
        assert "add the public half of credentials.deploy_key to it" in here.text
        git.stack.configure(app={"commit": commit})
        there = git.stack.up(check=False)
        assert re.search(r"as a deploy key that may read: ssh-ed25519 AAAA", there.text)
        assert host.active() == active
        git.stack.configure(app={"version": NEWER, "commit": git.commit(NEWER)})
        git.stack.up()
        assert git.stack.site.version() == "1.1.0"
    finally:
        host.run("mv /home/git/.ssh/away /home/git/.ssh/authorized_keys")


def test_a_repository_on_the_server_itself_is_read_as_its_owner(git: GitServer) -> None:
    """A folder of another user's that nobody else may enter: root asks that user, and runs nothing of his settings."""
    commit = git.commit("v1.1.2")
    git.run(f"git -C {REPOSITORY} config uploadpack.packObjectsHook 'touch /tmp/hooked; false'")
    git.stack.configure(
        app={"source": {"repository": f"file://{REPOSITORY}", "host_key": None}, "version": "v1.1.2", "commit": None}
    )
    refused = git.stack.up(check=False)
    assert "flaskhost:app.commit: must be given for a repository on the server" in refused.text
    git.stack.configure(app={"commit": commit})
    git.stack.host.run(f"rm -rf {HOME}/repo.git")
    git.stack.up()
    assert git.stack.host.run(f"cat {HOME}/app/note.txt") == "from whom?"
    assert not git.stack.host.succeeds("test -e /tmp/hooked")
