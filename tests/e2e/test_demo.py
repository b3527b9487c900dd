"""`make demo`, as a newcomer types it, in a clone of the tree: what it prints is what is there."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from ops.local_server import engine, server
from tests.e2e.host import Host
from tests.e2e.site import Site
from tests.e2e.stack import TREE, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


class Demo:
    """A clone whose stack `local` has ports, a server's name and a state of its own, so that no other demo is met."""

    def __init__(self, folder: Path, image: str) -> None:
        """Clone what is committed, with what is not committed yet put on top."""
        self.tree = folder / "flaskhost"
        self.name = f"flaskhost-test-{os.getpid()}-demo"
        ssh, http, self.https = free_ports(3)
        self.site = Site(http, self.https)
        self._git("clone", "-q", str(TREE), str(self.tree), at=folder)
        changed = self._git("diff", "HEAD", "--binary", at=TREE)
        if changed:
            subprocess.run(["git", "apply"], cwd=self.tree, input=changed, text=True, check=True)
        self.file = self.tree / "Pulumi.local.yaml"
        text = self.file.read_text()
        for key, value in (("ssh_port", ssh), ("http_port", http), ("https_port", self.https)):
            text = re.sub(rf"(?m)^(    {key}: )\d+", rf"\g<1>{value}", text)
        text = text.replace("    kind: local\n", f"    kind: local\n    name: {self.name}\n    image: {image}\n")
        self.file.write_text(text)
        self.as_committed = text
        (folder / "state").mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
        self.environment["PULUMI_BACKEND_URL"] = f"file://{folder / 'state'}"
        self.environment.pop("FLASKHOST_STAND_IN", None)

    def make(self, *words: str, check: bool = True) -> str:
        """Type `make …`; return what it prints."""
        done = subprocess.run(
            ["make", *words],
            cwd=self.tree,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=500,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    @staticmethod
    def _git(*words: str, at: Path) -> str:
        return subprocess.run(["git", *words], cwd=at, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, server_image: str, pulumi: str) -> Iterator[Demo]:
    """Return a demo that was made once."""
    assert pulumi
    made = Demo(tmp_path_factory.mktemp("demo"), server_image)
    try:
        assert f"\nready: https://127.0.0.1:{made.https}/\n" in made.make("demo")
        yield made
    finally:
        server.delete({"name": made.name})


def test_a_second_demo_says_that_nothing_changed_and_opens_no_connection(demo: Demo) -> None:
    """A no-op costs no SSH session."""
    before = Host(demo.name).logins()
    text = demo.make("demo")
    assert "nothing to change" in text
    assert f"ready: https://127.0.0.1:{demo.https}/" in text
    assert Host(demo.name).logins() == before


def test_a_stopped_server_is_started_again_without_a_connection(demo: Demo) -> None:
    """Pulumi's state cannot notice a stopped container; the demo looks."""
    server.stop({"name": demo.name})
    text = demo.make("demo")
    assert "was stopped: started it again" in text
    assert "nothing to change" in text
    assert Host(demo.name).logins() == 0, "sshd's log begins anew with the container"


def test_a_version_is_deployed_and_taken_back_by_name(demo: Demo) -> None:
    """VERSION changes the stack file, and the page says so."""
    assert "version v1.0.0 -> v1.1.0" in demo.make("demo", "VERSION=v1.1.0")
    assert demo.site.version() == "1.1.0"
    assert "    version: v1.1.0\n" in demo.file.read_text()
    demo.make("demo", "VERSION=v1.0.0")
    assert demo.site.version() == "1.0.0"


def test_a_broken_version_is_refused_and_the_next_step_is_named(demo: Demo) -> None:
    """Who tries the broken release sees the application's own error, and what still serves."""
    text = demo.make("demo", "VERSION=v1.2.0", check=False)
    assert "ModuleNotFoundError: No module named 'statsd'" in text
    assert "v1.0.0 serves as before. Next: make demo VERSION=v1.0.0" in text
    assert demo.site.version() == "1.0.0"
    demo.make("demo", "VERSION=v1.0.0")


def test_a_server_that_is_gone_is_made_anew(demo: Demo) -> None:
    """Somebody removed the container behind Pulumi's back."""
    server.delete({"name": demo.name})
    text = demo.make("demo")
    assert "is gone: making it anew" in text
    assert demo.site.version() == "1.0.0"


def test_demo_down_leaves_nothing(demo: Demo) -> None:
    """Container, state and the change of the stack file are gone, the user's own edits are not; twice is no error."""
    demo.file.write_text(demo.file.read_text().replace("version: v1.0.0", "version: v1.1.0") + "# edited\n")
    demo.make("demo-down")
    assert engine.find(demo.name) is None
    assert demo.file.read_text() == demo.as_committed + "# edited\n"
    state = demo.environment["PULUMI_BACKEND_URL"].removeprefix("file://")
    assert not list((demo.tree / state / ".pulumi" / "stacks").rglob("local.json"))
    demo.make("demo-down")
