"""Commands on this machine: outputs, failures, the log, what an update and a delete see."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.protocol import ASSET, LOCAL_COMMAND, SIGNATURE, Json, PluginError, secret, urn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugins.protocol import Plugin


def refusal(plugin: Plugin, inputs: Json, timeout: float = 0) -> str:
    """Return the text with which a create fails."""
    with pytest.raises(PluginError) as error:
        plugin.create(LOCAL_COMMAND, inputs, timeout=timeout)
    return str(error.value)


def test_outputs_lose_one_line_end_each(plugin: Plugin) -> None:
    """One, not all: what else is at the end belongs to the output."""
    state = plugin.create(LOCAL_COMMAND, {"create": "printf 'a\\n\\n'; printf 'b\\n' >&2"}).state
    assert (state["stdout"], state["stderr"]) == ("a\n", "b")


def test_an_identity_is_the_name_and_eight_hex_digits(plugin: Plugin) -> None:
    """Two resources of one name never share an identity."""
    identities = [plugin.create(LOCAL_COMMAND, {}, name="site::x").id for _ in range(2)]
    assert all(re.fullmatch(r"site::x[0-9a-f]{8}", identity) for identity in identities)
    assert identities[0] != identities[1]


def test_without_a_command_nothing_runs(plugin: Plugin) -> None:
    """The outputs are empty then."""
    assert plugin.create(LOCAL_COMMAND, {}).state == {"stdout": "", "stderr": ""}


def test_a_secret_stdin_leaves_the_outputs_public(plugin: Plugin) -> None:
    """Secrecy follows names, not data: whoever prints a secret must mark the outputs."""
    state = plugin.create(LOCAL_COMMAND, {"create": "cat", "stdin": secret("s")}).state
    assert state == {"create": "cat", "stdin": secret("s"), "stdout": "s", "stderr": ""}


def test_a_failure_quotes_the_command_and_shows_both_streams(plugin: Plugin) -> None:
    """The text is all that a user sees."""
    command = "echo 'a\tb\"é\x01'; sleep 0.1; echo x >&2; exit 3"
    assert refusal(plugin, {"create": command, "logging": "none"}) == (
        'exit status 3: running "echo \'a\\tb\\"é\\x01\'; sleep 0.1; echo x >&2; exit 3":\na\tb"é\x01\nx\n'
    )


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"create": "kill -9 $$"}, 'signal: killed: running "kill -9 $$":\n'),
        (
            {"create": "x", "interpreter": ["no-such-program"]},
            'exec: "no-such-program": executable file not found in $PATH: running "x":\n',
        ),
        (
            {"create": "x", "interpreter": ["/no/such"]},
            'fork/exec /no/such: no such file or directory: running "x":\n',
        ),
        ({"create": "x", "dir": "/no/such"}, 'chdir /no/such: no such file or directory: running "x":\n'),
        ({"create": "printf '\\377'"}, "grpc: error while marshaling: string field contains invalid UTF-8"),
    ],
)
def test_what_cannot_run_says_why(plugin: Plugin, inputs: Json, text: str) -> None:
    """In the official plugin's words."""
    assert refusal(plugin, inputs) == text


def test_interpreter_folder_and_variables_are_used(plugin: Plugin, tmp_path: Path) -> None:
    """The command is the interpreter's last argument."""
    inputs: Json = {
        "create": 'echo "$0 $A $(pwd)"',
        "interpreter": ["/bin/bash", "-c"],
        "dir": str(tmp_path),
        "environment": {"A": "b"},
    }
    assert plugin.create(LOCAL_COMMAND, inputs).state["stdout"] == f"/bin/bash b {tmp_path}"


def test_a_long_stdin_that_nobody_reads_is_no_failure(plugin: Plugin) -> None:
    """On this machine the command's status decides."""
    assert plugin.create(LOCAL_COMMAND, {"create": "true", "stdin": "x" * 3_000_000}).state["stdout"] == ""


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        (None, ["out", "err", "", "end"]),
        ("stdoutAndStderr", ["out", "err", "", "end"]),
        ("stdout", ["out", "", "end"]),
        ("stderr", ["err"]),
        ("none", []),
        ("loud", []),
    ],
)
def test_the_log_gets_lines_of_the_streams_that_the_mode_names(
    plugin: Plugin, mode: str | None, lines: list[str]
) -> None:
    """As passing information about the resource; a last line needs no end."""
    inputs: Json = {"create": "echo out; sleep 0.1; echo err >&2; sleep 0.1; echo; printf 'end\\r'"}
    plugin.create(LOCAL_COMMAND, inputs if mode is None else {**inputs, "logging": mode})
    assert [line.text for line in plugin.log] == lines
    assert all((line.severity, line.urn, line.passing) == ("info", urn(LOCAL_COMMAND), True) for line in plugin.log)


def test_lines_reach_the_log_while_the_command_runs(plugin: Plugin) -> None:
    """Progress is visible, not told afterwards."""
    thread = threading.Thread(target=plugin.create, args=(LOCAL_COMMAND, {"create": "echo now; sleep 2"}))
    thread.start()
    time.sleep(1)
    assert [line.text for line in plugin.log] == ["now"]
    thread.join()


OLD: Json = {"create": "echo 1"}
STATE: Json = {**OLD, "stdout": "OUT", "stderr": "ERR"}


def test_an_update_falls_back_to_create(plugin: Plugin) -> None:
    """With an `update` of its own the resource runs that one."""
    assert plugin.update(LOCAL_COMMAND, STATE, OLD, {"create": "echo 2"})["stdout"] == "2"
    assert plugin.update(LOCAL_COMMAND, STATE, OLD, {"create": "echo 2", "update": "echo 3"})["stdout"] == "3"


def test_an_update_without_commands_keeps_the_outputs(plugin: Plugin) -> None:
    """Nothing ran, nothing was said."""
    assert plugin.update(LOCAL_COMMAND, STATE, OLD, {}) == {"stdout": "OUT", "stderr": "ERR"}


def test_the_previous_outputs_are_in_the_environment_unless_unwanted(plugin: Plugin) -> None:
    """Under the official plugin's names, in update and delete."""
    show = "echo $PULUMI_COMMAND_STDOUT.$PULUMI_COMMAND_STDERR"
    assert plugin.update(LOCAL_COMMAND, STATE, OLD, {"create": show})["stdout"] == "OUT.ERR"
    unwanted = {"create": show, "addPreviousOutputInEnv": False}
    assert plugin.update(LOCAL_COMMAND, STATE, OLD, unwanted)["stdout"] == "."
    with pytest.raises(PluginError, match=r"OUT\.ERR"):
        plugin.delete(LOCAL_COMMAND, {**STATE, "delete": f"{show}; false"})


def test_a_failed_update_is_a_failed_call(plugin: Plugin) -> None:
    """So the engine keeps the old state, and the next run tries again."""
    with pytest.raises(PluginError, match="exit status 1"):
        plugin.update(LOCAL_COMMAND, STATE, OLD, {"create": "false"})


def test_a_delete_runs_only_its_own_command(plugin: Plugin, tmp_path: Path) -> None:
    """Without one, the resource just goes."""
    plugin.delete(LOCAL_COMMAND, {**STATE, "create": "exit 1"})
    plugin.delete(LOCAL_COMMAND, {**STATE, "delete": f"touch {tmp_path}/gone"})
    assert (tmp_path / "gone").exists()


def test_files_that_the_command_left_become_assets(plugin: Plugin, tmp_path: Path) -> None:
    """Later patterns decide, a star stays within its folder."""
    state = plugin.create(
        LOCAL_COMMAND,
        {
            "create": "mkdir -p d && echo a > one.txt && echo b > two.txt && echo c > d/three.txt",
            "dir": str(tmp_path),
            "assetPaths": ["*.txt", "!two*"],
            "archivePaths": ["**"],
        },
    ).state
    assert list(state["assets"]) == ["one.txt"]
    asset = state["assets"]["one.txt"]
    assert (asset[SIGNATURE], asset["path"]) == (ASSET, f"{tmp_path}/one.txt")
    assert asset["hash"] == "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7"
    assert sorted(state["archive"]["assets"]) == ["d/three.txt", "one.txt", "two.txt"]


def test_a_timeout_kills_the_command(plugin: Plugin) -> None:
    """The engine's custom timeouts hold for local commands."""
    assert refusal(plugin, {"create": "exec sleep 30"}, timeout=1) == 'signal: killed: running "exec sleep 30":\n'


def test_a_cancellation_kills_the_command(start_plugin: Callable[..., Plugin]) -> None:
    """Ctrl-C twice must not leave a command behind, nor let another start."""
    plugin = start_plugin()
    threading.Timer(1, plugin.cancel).start()
    assert refusal(plugin, {"create": "exec sleep 30"}) == 'signal: killed: running "exec sleep 30":\n'
    assert refusal(plugin, {"create": "echo hi"}) == 'context canceled: running "echo hi":\n'
