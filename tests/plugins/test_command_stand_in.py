"""What only the stand-in promises: that it stays on this machine, says what it is, and starts fast."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.plugins.conftest import STAND_IN, plugin_environment
from tests.plugins.protocol import COPY_TO_REMOTE, REMOTE_COMMAND, SIGNATURE, Json, Plugin, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("stand_in_only")

ELSEWHERE: Json = {"host": "192.0.2.1", "password": "x", "dialErrorLimit": 0, "perDialTimeout": 1}
TEXT: Json = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x", "hash": "x"}


@pytest.mark.parametrize("host", ["192.0.2.1", "server.example.com", "10.0.0.1", "0.0.0.0"])  # noqa: S104
def test_another_machine_is_refused(plugin: Plugin, host: str) -> None:
    """With what it is, what it is for, and how to get the official plugin."""
    inputs = plugin.check(REMOTE_COMMAND, {"connection": {**ELSEWHERE, "host": host}, "create": "true"}).inputs
    with pytest.raises(PluginError) as error:
        plugin.create(REMOTE_COMMAND, inputs)
    for word in (host, "stand-in", "kind local", "pulumi plugin install resource command 1.2.1"):
        assert word in str(error.value)


def test_every_way_to_another_machine_is_refused(plugin: Plugin) -> None:
    """Copies, updates, deletes, and a proxy elsewhere."""
    connection = plugin.check(REMOTE_COMMAND, {"connection": ELSEWHERE}).inputs["connection"]
    proxied = plugin.check(REMOTE_COMMAND, {"connection": {"host": "127.0.0.1", "proxy": ELSEWHERE}}).inputs
    command = {"connection": connection, "create": "true", "delete": "true"}
    state = {**command, "stdout": "", "stderr": ""}
    for attempt in (
        lambda: plugin.create(COPY_TO_REMOTE, {"connection": connection, "source": TEXT, "remotePath": "/x"}),
        lambda: plugin.update(REMOTE_COMMAND, state, command, command),
        lambda: plugin.delete(REMOTE_COMMAND, state),
        lambda: plugin.create(REMOTE_COMMAND, {**proxied, "create": "true"}),
    ):
        with pytest.raises(PluginError, match="stand-in"):
            attempt()


def test_previews_and_diffs_for_another_machine_are_not_refused(plugin: Plugin) -> None:
    """They connect to nobody."""
    inputs = plugin.check(REMOTE_COMMAND, {"connection": ELSEWHERE, "create": "true"}).inputs
    plugin.create(REMOTE_COMMAND, inputs, preview=True)
    plugin.diff(REMOTE_COMMAND, inputs, inputs)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_is_never_refused(plugin: Plugin, host: str) -> None:
    """Nobody listens there, and that is the only complaint."""
    connection = {**ELSEWHERE, "host": host, "port": 1}
    inputs = plugin.check(REMOTE_COMMAND, {"connection": connection, "create": "true"}).inputs
    with pytest.raises(PluginError, match=r"dial tcp .*: connect: "):
        plugin.create(REMOTE_COMMAND, inputs)


def test_tests_of_other_machines_can_allow_them(start_plugin: Callable[..., Plugin]) -> None:
    """Containers with addresses of their own, for bastions. The address of this test belongs to nobody."""
    plugin = start_plugin(FLASKHOST_STAND_IN_ANY_HOST="1")
    inputs = plugin.check(REMOTE_COMMAND, {"connection": ELSEWHERE, "create": "true"}).inputs
    with pytest.raises(PluginError, match=r"^after 0 failed attempts: dial tcp 192\.0\.2\.1:22: "):
        plugin.create(REMOTE_COMMAND, inputs)


def test_it_starts_within_half_a_second() -> None:
    """Every update pays for it. The best of three, because the machine may be busy."""
    seconds = []
    for _ in range(3):
        with Plugin(STAND_IN, plugin_environment()) as plugin:
            seconds.append(plugin.seconds_to_start)
    assert min(seconds) < 0.5


def test_it_starts_by_a_link_from_any_folder(tmp_path: Path) -> None:
    """An engine's folder of plugins may hold a link."""
    link = tmp_path / "pulumi-resource-command"
    link.symlink_to(STAND_IN)
    with Plugin(link, plugin_environment()) as plugin:
        assert plugin.info() == "1.2.1"


def test_it_never_passes_for_the_official_plugin() -> None:
    """Set-up asks a plugin on PATH for its version."""
    answer = subprocess.run(
        [STAND_IN, "--version"], capture_output=True, text=True, check=True, env=plugin_environment()
    )
    assert "stand-in" in answer.stdout
    assert "1.2.1" not in answer.stdout


def test_without_its_packages_it_says_what_to_do() -> None:
    """One line, no traceback."""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(STAND_IN)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert answer.returncode != 0
    assert "make demo" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_resource_that_it_lacks_is_named(plugin: Plugin) -> None:
    """The official plugin has one more resource and a function; the project uses neither."""
    with pytest.raises(PluginError, match="command:remote:CopyFile: the stand-in"):
        plugin.check("command:remote:CopyFile", {})


def test_paramiko_is_imported_only_for_a_connection() -> None:
    """It takes longer than all the rest."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import stand_in.server; "
        "print(sorted(name for name in ('paramiko', 'pulumi.resource') if name in sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(STAND_IN.parent)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
