"""The plugin under the real engine: what a person sees, what the state keeps, what is tried again."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi import automation
from pulumi_command import local, remote

from tests.plugins.hosts import ObedientHost, free_port, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    shutil.which("pulumi") is None, reason="no pulumi on PATH: run the tests with `make test`, which gets one"
)


@dataclass
class Program:
    """A program of one step on a host and one copy; its settings may change between runs."""

    host: ObedientHost
    folder: Path
    create: str
    delete: str
    triggers: list[str] = field(default_factory=lambda: ["first machine"])
    changes: dict[str, Any] = field(default_factory=dict)
    content: str = "one"
    timeout: str | None = None

    def __call__(self) -> None:
        """Register the resources."""
        settings = self.host.connection(**self.changes)
        connection = remote.ConnectionArgs(
            host=settings["host"],
            port=settings["port"],
            user=settings["user"],
            private_key=settings["privateKey"],
            host_key=settings["hostKey"],
            dial_error_limit=settings["dialErrorLimit"],
        )
        step = remote.Command(
            "step",
            connection=connection,
            create=self.create,
            delete=self.delete,
            stdin=pulumi.Output.secret("canary-stdin"),
            environment={"LC_WORD": pulumi.Output.secret("canary-variable")},
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            triggers=self.triggers,
            opts=pulumi.ResourceOptions(
                additional_secret_outputs=["stderr"], custom_timeouts=pulumi.CustomTimeouts(create=self.timeout)
            ),
        )
        remote.CopyToRemote(
            "copy",
            connection=connection,
            source=pulumi.StringAsset(self.content),
            remote_path=str(self.folder / "copied"),
            opts=pulumi.ResourceOptions(depends_on=[step]),
        )
        local.Command("here", create="echo here")
        pulumi.export("stdout", step.stdout)


@dataclass
class Stack:
    """A stack on a backend of its own."""

    stack: automation.Stack
    program: Program
    printed: list[str] = field(default_factory=list)

    def up(self) -> dict[str, int]:
        """Run the program; return how many resources were made, updated, replaced, left alone."""
        result = self.stack.up(on_output=self.printed.append, color="never")
        return {str(kind): count for kind, count in (result.summary.resource_changes or {}).items()}

    def fails(self) -> str:
        """Run the program, which must fail; return what was printed."""
        with pytest.raises(automation.CommandError) as error:
            self.stack.up(on_output=self.printed.append, color="never")
        return str(error.value)

    def state(self) -> dict[str, Any]:
        """Return the resources of the state by their name."""
        deployment = self.stack.export_stack().deployment or {}
        resources = deployment.get("resources") or []
        return {resource["urn"].rpartition("::")[2]: resource for resource in resources}

    def log(self) -> list[str]:
        """Return the lines that the step left on the host."""
        file = self.program.folder / "log"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def stack(
    tmp_path: Path, plugin_path: Path, obedient: ObedientHost, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    """Make a stack with a PULUMI_HOME that holds the plugin under test and nothing else."""
    plugins = tmp_path / "home" / "plugins" / "resource-command-v1.2.1"
    plugins.mkdir(parents=True)
    (plugins / "pulumi-resource-command").symlink_to(plugin_path.resolve())
    (tmp_path / "backend").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "canary",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    program = Program(
        obedient,
        tmp_path,
        create=f"cat > /dev/null; echo create >> {tmp_path}/log; echo said; echo t''old >&2",
        delete=f"echo delete >> {tmp_path}/log",
    )
    made = automation.create_or_select_stack(
        "test",
        project_name="contract",
        program=program,
        opts=automation.LocalWorkspaceOptions(work_dir=str(tmp_path / "work"), env_vars=variables),
    )
    yield Stack(made, program)
    with contextlib.suppress(automation.CommandError):
        made.destroy()


def test_a_second_run_changes_nothing_and_dials_nobody(stack: Stack) -> None:
    """This holds the whole project's promise of a run without a change."""
    assert stack.up() == {"create": 4}
    assert "told" in "".join(stack.printed)
    dials = stack.program.host.dials
    assert stack.up() == {"same": 4}
    assert stack.program.host.dials == dials
    assert stack.log() == ["create"]


def test_the_state_has_no_secret_in_the_clear(stack: Stack) -> None:
    """The connection by itself, the input and the output that the program marks."""
    stack.up()
    state = stack.state()
    step = state["step"]
    sealed = "4dabf18193072939515e22adb298388d"
    for place in ("inputs", "outputs"):
        assert sealed in step[place]["connection"]
        assert sealed in step[place]["stdin"]
        assert sealed in step[place]["environment"]["LC_WORD"]
        assert sealed in state["copy"][place]["connection"]
    assert sealed in step["outputs"]["stderr"]
    assert step["outputs"]["stdout"] == "said"
    files = [file.read_text() for file in (stack.program.folder / "backend").rglob("*.json")]
    assert any("said" in file for file in files)
    for secret in ("canary-stdin", "canary-variable", "told", stack.program.host.login.private.splitlines()[2]):
        assert not any(secret in file for file in files)


def test_a_preview_runs_nothing(stack: Stack) -> None:
    """Not even for a host that is not there."""
    stack.program.changes = {"port": 1}
    summary = stack.stack.preview().change_summary
    assert {str(getattr(name, "value", name)): count for name, count in summary.items()} == {"create": 4}
    assert stack.program.host.dials == 0


def test_a_changed_connection_updates(stack: Stack) -> None:
    """And runs the command again: create stands for update. The copy's content is the same, so it is not copied."""
    stack.up()
    (stack.program.folder / "copied").unlink()
    stack.program.changes = {"dialErrorLimit": 1}
    assert stack.up() == {"update": 2, "same": 2}
    assert stack.log() == ["create", "create"]
    assert not (stack.program.folder / "copied").exists()


def test_a_changed_trigger_replaces_and_creates_first(stack: Stack) -> None:
    """A new machine gets the step before the old one hears of its end."""
    stack.up()
    stack.program.triggers = ["second machine"]
    assert stack.up()["replace"] == 1
    assert stack.log() == ["create", "create", "delete"]


def test_a_failed_create_is_tried_again(stack: Stack) -> None:
    """It left nothing in the state."""
    good = stack.program.create
    stack.program.create = "echo why >&2; exit 3"
    told = stack.fails()
    assert 'Process exited with status 3: running "echo why >&2; exit 3":' in told
    assert "canary" not in told
    assert "step" not in stack.state()
    stack.program.create = good
    stack.up()
    assert "step" in stack.state()


def test_a_failed_update_is_tried_again(stack: Stack) -> None:
    """The state keeps the old inputs, so the same program is still a change."""
    stack.up()
    old = stack.state()["step"]["inputs"]["create"]
    stack.program.create = "exit 3"
    for _ in range(2):
        assert "Process exited with status 3" in stack.fails()
        assert stack.state()["step"]["inputs"]["create"] == old


def test_a_changed_text_is_copied(stack: Stack) -> None:
    """As an update."""
    stack.up()
    stack.program.content = "two"
    assert stack.up() == {"update": 1, "same": 3}
    assert (stack.program.folder / "copied").read_text() == "two"


def test_a_wrong_host_key_stops_the_run(stack: Stack) -> None:
    """Nothing runs on a host that is another."""
    stack.program.changes = {"hostKey": make_key().public}
    assert "ssh: handshake failed: ssh: host key mismatch" in stack.fails()
    assert stack.log() == []


def test_a_step_without_a_limit_waits_for_a_host_that_boots(stack: Stack) -> None:
    """Its timeout is the resource's, and hears of a host that came in time."""
    stack.program.host.drops_after_dials = 5
    stack.program.changes, stack.program.timeout = {"dialErrorLimit": -1}, "30s"
    assert stack.up() == {"create": 4}
    assert "Dial 5/inf failed: retrying" in "".join(stack.printed)


def test_a_step_without_a_limit_ends_at_its_timeout(stack: Stack) -> None:
    """A host that never comes fails the step, and what needs it does not run."""
    stack.program.changes, stack.program.timeout = {"dialErrorLimit": -1, "port": free_port()}, "2s"
    assert "context deadline exceeded" in stack.fails()
    assert "copy" not in stack.state()


def test_a_refresh_sees_nothing_of_the_host(stack: Stack) -> None:
    """Neither that a copy is gone nor that the host is: nobody is dialled. Drift is for the project to find."""
    stack.up()
    (stack.program.folder / "copied").unlink()
    stack.program.host.close()
    dials = stack.program.host.dials
    assert set(dict(stack.stack.refresh().summary.resource_changes or {})) == {"same"}
    assert stack.program.host.dials == dials
    assert stack.up() == {"same": 4}


def test_refresh_and_destroy(stack: Stack) -> None:
    """A refresh sees no change; a destroy runs what is to run, and copies stay."""
    stack.up()
    assert set(dict(stack.stack.refresh().summary.resource_changes or {})) == {"same"}
    stack.stack.destroy()
    assert stack.log() == ["create", "delete"]
    assert (stack.program.folder / "copied").exists()
    assert "step" not in stack.state()
