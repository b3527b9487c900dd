"""A secret is found where the application reads it, and nowhere else.

Canaries are deployed: random secrets, with characters that files, shells and tracebacks write differently. Then
everything that anybody else may read is searched for them, also when a release tells the world its environment.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.e2e.host import APP, HOME
from tests.e2e.stack import GOOD, TREE, Stack
from tests.e2e.watch import CommandLines

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TALKATIVE = "v1.0.1"
"""A release that fails and shows all of its environment, as debuggers and careless libraries do."""

LEAK = """
import json, os
from urllib.parse import urlsplit

app = None
print(json.dumps(dict(os.environ)))
print("password authentication failed for", urlsplit(os.environ["BROKER_URL"]).password)
raise RuntimeError(f"cannot start with {dict(os.environ)}")
"""


@dataclass
class Canaries:
    """Secrets of a stack, and the parts of them by which they are recognised."""

    parts: list[str] = field(default_factory=lambda: [f"canary{secrets.token_hex(8)}" for _ in range(4)])

    @property
    def values(self) -> dict[str, str]:
        """The secrets by name."""
        plain, first, second, password = self.parts
        return {
            "PLAIN_TOKEN": plain,
            "ODD_TOKEN": f'{first} "it\'s" \\ $HOME `id` é {second}',
            "BROKER_URL": f"amqp://worker:{password}@broker.example:5672/",
        }

    def in_text(self, text: str) -> list[str]:
        """Return the lines that show any of them."""
        return [line[:500] for line in text.splitlines() if any(part in line for part in self.parts)]


@dataclass
class Deployed:
    """What was printed, and which command lines were seen, while the canaries were deployed."""

    canaries: Canaries
    printed: str
    command_lines: str


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository of the bundled application with one more release."""
    folder = tmp_path_factory.mktemp("repository") / "guestbook"
    subprocess.run([sys.executable, TREE / "examples" / "make_repository.py", folder], check=True, capture_output=True)
    who = {f"GIT_{role}_{what}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, env={**os.environ, **who})

    git("checkout", "-q", GOOD)
    (folder / "wsgi.py").write_text(LEAK)
    git("commit", "-q", "--no-gpg-sign", "-am", "Talk")
    git("tag", "--no-sign", TALKATIVE)
    return folder


@pytest.fixture(scope="module")
def deployed(stack: Stack, talkative: Path) -> Deployed:
    """Deploy the canaries; preview and deploy a change; fail with a release that talks, in two ways."""
    canaries, runs = Canaries(), []
    for name, value in canaries.values.items():
        stack.encrypt(f"secrets.{name}", value)
    with CommandLines() as lines:
        stack.configure(app={"source": {"repository": str(talkative)}})
        runs.append(stack.deploy(GOOD))
        stack.configure(env={"SITE_TITLE": "Changed"})
        runs += [stack.preview("--diff"), stack.preview("--json"), stack.up("--diff", "--logtostderr", "-v=3")]
        for migrate in ("auto", "none"):
            stack.configure(app={"version": TALKATIVE, "migrate": migrate})
            failed = stack.up(check=False)
            assert not failed.succeeded
            # It did talk, and its words arrived, or nothing would be proven here.
            assert "RuntimeError: cannot start with" in failed.text
            assert all(f"'{name}': " in failed.text for name in canaries.values)
            assert "password authentication failed for [secret]" in failed.text
            runs.append(failed)
    assert f"flaskhost release {APP}" in lines.text
    assert "--worker" in lines.text
    return Deployed(canaries, "\n".join(str(run) for run in runs), lines.text)


def test_nothing_that_pulumi_prints_shows_a_secret(deployed: Deployed) -> None:
    """Neither previews, nor progress, nor the message of a release that fails and shows its environment."""
    assert deployed.canaries.in_text(deployed.printed) == []


def test_the_state_holds_secrets_encrypted_only(deployed: Deployed, stack: Stack) -> None:
    """Every file of the backend: state, its copies, and the history with the configuration of each update."""
    assert deployed.canaries.in_text(stack.on_disk()) == []
    assert deployed.canaries.in_text(stack.pulumi("stack", "export", "--stack", stack.name).text) == []
    assert deployed.canaries.in_text(stack.file.read_text()) == []


def test_no_command_line_shows_a_secret(deployed: Deployed) -> None:
    """Anybody on the host, and on the workstation, may list processes."""
    assert deployed.canaries.in_text(deployed.command_lines) == []


def test_the_journal_shows_no_secret_but_what_the_application_says_itself(deployed: Deployed, stack: Stack) -> None:
    """Every entry with all of its fields; what the talkative release wrote into its own log is not ours to change."""
    own = stack.host.journal(only=f"{APP}-gunicorn@")
    assert deployed.canaries.in_text(own), "the release has not talked, so this would prove nothing"
    # Without the @: one more unit passes on what the release has said, to whom the same journal is open.
    assert deployed.canaries.in_text(stack.host.journal(without=f"{APP}-gunicorn")) == []


def test_no_property_of_a_unit_shows_a_secret(deployed: Deployed, stack: Stack) -> None:
    """`systemctl show` answers everybody."""
    assert deployed.canaries.in_text(stack.host.run("systemctl show --all '*' --no-pager")) == []


def test_on_the_host_only_environments_hold_secrets(deployed: Deployed, stack: Stack) -> None:
    """Every file of the host is searched but the journal's: found is what was sent, root 0600, and each release's copy.

    That is config/<digest>/env, root:<app> 0640.
    """
    words = " ".join(f"-e {part}" for part in deployed.canaries.parts)
    places = "/boot /etc /home /opt /root /run /srv /tmp /usr /var"
    search = f"grep --recursive --files-with-matches --text --fixed-strings --devices=skip {words} {places}"
    found = stack.host.do(f"{search} --exclude-dir=journal 2> /dev/null", seconds=200).stdout.split()
    assert found
    sent = [path for path in found if path.startswith(f"/etc/flaskhost/{APP}/environments/")]
    copies = [path for path in found if path.startswith(f"{HOME}/config/") and path.endswith("/env")]
    assert sorted(sent + copies) == sorted(found)
    owners = {path: stack.host.run(f"stat --format '%a %U:%G' {path}") for path in found}
    assert owners == {**dict.fromkeys(sent, "600 root:root"), **dict.fromkeys(copies, f"640 root:{APP}")}


def test_the_application_has_the_secrets_as_they_were_given(deployed: Deployed, stack: Stack) -> None:
    """With every odd character: through encryption, document, file and systemd."""
    pid = stack.host.unit(f"{APP}-gunicorn@{stack.host.slot()}.service", "MainPID")["MainPID"]
    pairs = stack.host.run(f"cat /proc/{pid}/environ", user=APP).split("\0")
    assert [f"{name}={value}" in pairs for name, value in deployed.canaries.values.items()] == [True] * 3
