"""Commands on a host: what runs, with which input and variables, what comes back."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.conftest import plugin_environment
from tests.plugins.hosts import RealHost
from tests.plugins.protocol import REMOTE_COMMAND, Json, PluginError, bare, is_secret, secret, still_runs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.plugins.hosts import Host, ObedientHost
    from tests.plugins.protocol import Plugin


def checked(plugin: Plugin, host: Host, **inputs: Any) -> Json:
    """Return checked inputs for the host."""
    return plugin.check(REMOTE_COMMAND, {"connection": host.connection(), **inputs}).inputs


def run(plugin: Plugin, host: Host, command: str, **inputs: Any) -> Json:
    """Create a command on the host and return its state."""
    return plugin.create(REMOTE_COMMAND, checked(plugin, host, create=command, **inputs)).state


def refusal(plugin: Plugin, host: Host, command: str, **inputs: Any) -> str:
    """Return the text with which a command on the host fails."""
    with pytest.raises(PluginError) as error:
        run(plugin, host, command, **inputs)
    return str(error.value)


def test_a_command_reads_stdin_and_its_streams_are_the_outputs(plugin: Plugin, host: Host) -> None:
    """Each without its last line end; the state has the inputs as well, the connection still secret."""
    state = run(plugin, host, "cat; echo there >&2", stdin=secret("hello\n\n"))
    assert (state["stdout"], state["stderr"], state["stdin"]) == ("hello\n", "there", secret("hello\n\n"))
    assert is_secret(state["connection"])


def test_without_stdin_a_command_finds_the_end_of_its_input(plugin: Plugin, host: Host) -> None:
    """It must not wait for somebody to type."""
    assert run(plugin, host, "cat; echo done")["stdout"] == "done"


def test_a_long_stdin_arrives_whole(plugin: Plugin, host: Host) -> None:
    """Far more than the window of the protocol."""
    assert run(plugin, host, "wc -c", stdin="x" * 5_000_000)["stdout"].strip() == "5000000"


def test_a_long_stdin_that_nobody_reads_is_a_failure(plugin: Plugin, obedient: ObedientHost) -> None:
    """Even of a command that ends well: whoever gives a document must read it to its end."""
    assert refusal(plugin, obedient, "exit 0", stdin="x" * 9_000_000) == 'EOF: running "exit 0":\n'


def test_a_failure_quotes_the_command_and_shows_both_streams(plugin: Plugin, host: Host) -> None:
    """The whole command line and everything that it printed: nothing secret may be in there."""
    command = "echo out; sleep 0.2; echo 'a \"b\"' >&2; exit 7"
    quoted = command.replace('"', '\\"')
    assert refusal(plugin, host, command) == (f'Process exited with status 7: running "{quoted}":\nout\na "b"\n')


def test_a_failure_shows_everything_whatever_is_logged(plugin: Plugin, obedient: ObedientHost) -> None:
    """However much it is, and not the standard input, unless the command repeats it."""
    text = refusal(plugin, obedient, "cat >&2; seq 20000; exit 7", stdin="canary", logging="none")
    assert text.count("\n") > 20000
    assert "canary" in text
    assert "canary" not in refusal(plugin, obedient, "cat > /dev/null; exit 7", stdin="canary")


@pytest.mark.parametrize(
    ("mode", "lines"),
    [
        (None, ["out", "err"]),
        ("stdoutAndStderr", ["out", "err"]),
        ("stdout", ["out"]),
        ("stderr", ["err"]),
        ("none", []),
    ],
)
def test_the_log_gets_lines_of_the_streams_that_the_mode_names(
    plugin: Plugin, host: Host, mode: str | None, lines: list[str]
) -> None:
    """Both, if nothing is said: this is why the project says stderr. The outputs have both in any case."""
    state = run(plugin, host, "echo out; sleep 0.2; echo err >&2", **({"logging": mode} if mode else {}))
    assert [(line.text, line.severity, line.passing) for line in plugin.log] == [(line, "info", True) for line in lines]
    assert (state["stdout"], state["stderr"]) == ("out", "err")


def test_a_variable_that_the_host_accepts_is_set(plugin: Plugin, host: Host) -> None:
    """By the protocol, not in the command line."""
    assert run(plugin, host, "echo $GREETING", environment={"GREETING": "hello"})["stdout"] == "hello"


def test_a_variable_that_the_host_refuses_fails_the_step(plugin: Plugin, obedient: ObedientHost) -> None:
    """An sshd accepts nearly none: this is why the project uses stdin."""
    obedient.accepts_variables = False
    text = refusal(plugin, obedient, "echo $GREETING", environment={"GREETING": "hello"})
    assert text == 'could not set environment variable "GREETING": ssh: setenv failed'
    assert [(line.severity, line.passing, "GREETING" in line.text) for line in plugin.log] == [("error", False, True)]


def test_the_value_of_a_variable_is_in_no_message(plugin: Plugin, obedient: ObedientHost) -> None:
    """Neither where the command fails nor where the host refuses the variable: one may hold a password."""
    told = refusal(plugin, obedient, "exit 7", environment={"LC_WORD": secret("canary")})
    obedient.accepts_variables = False
    told += refusal(plugin, obedient, "true", environment={"LC_WORD": secret("canary")})
    assert "canary" not in told + "".join(line.text for line in plugin.log)


def test_a_usual_sshd_refuses_a_variable(plugin: Plugin, host: Host) -> None:
    """It accepts the names under AcceptEnv and no other."""
    if not isinstance(host, RealHost):
        pytest.skip("the host of paramiko accepts what the test says")
    text = refusal(plugin, host, "true", environment={"FAREWELL": "bye"})
    assert text == 'could not set environment variable "FAREWELL": ssh: setenv failed'


def test_previous_outputs_are_offered_and_refusal_is_a_warning(plugin: Plugin, obedient: ObedientHost) -> None:
    """The update runs all the same."""
    old = checked(plugin, obedient, create="true")
    new = checked(plugin, obedient, create="echo $PULUMI_COMMAND_STDOUT.$PULUMI_COMMAND_STDERR")
    state = {**old, "stdout": "OUT", "stderr": "ERR"}
    assert plugin.update(REMOTE_COMMAND, state, old, new)["stdout"] == "OUT.ERR"
    obedient.accepts_variables = False
    plugin.log.clear()
    assert plugin.update(REMOTE_COMMAND, state, old, new)["stdout"] == "."
    assert [line.severity for line in plugin.log if not line.passing] == ["warning", "warning"]


def test_previous_outputs_are_not_offered_when_unwanted(plugin: Plugin, obedient: ObedientHost) -> None:
    """The project never wants them."""
    obedient.accepts_variables = False
    old = checked(plugin, obedient, create="true", addPreviousOutputInEnv=False)
    plugin.update(REMOTE_COMMAND, {**old, "stdout": "OUT", "stderr": "ERR"}, old, old)
    assert not plugin.log


def test_an_update_falls_back_to_create_and_a_delete_does_not(plugin: Plugin, host: Host, tmp_path: Path) -> None:
    """A changed connection alone runs the command again."""
    file = tmp_path / "count"
    old = checked(plugin, host, create=f"echo x >> {file}")
    new = plugin.check(
        REMOTE_COMMAND, {"connection": host.connection(perDialTimeout=9), "create": f"echo x >> {file}"}
    ).inputs
    state = plugin.create(REMOTE_COMMAND, old).state
    plugin.update(REMOTE_COMMAND, state, old, new)
    plugin.delete(REMOTE_COMMAND, state)
    assert file.read_text() == "x\nx\n"
    plugin.delete(REMOTE_COMMAND, {**state, "delete": f"rm {file}"})
    assert not file.exists()


def test_an_update_of_its_own_runs_instead_of_create(plugin: Plugin, host: Host) -> None:
    """The project sets none, so that a changed step is the same as a new one."""
    old, new = checked(plugin, host, create="echo 1"), checked(plugin, host, create="echo 2", update="echo 3")
    state = plugin.create(REMOTE_COMMAND, old).state
    assert plugin.update(REMOTE_COMMAND, state, old, new)["stdout"] == "3"


def test_commands_without_a_command_make_no_connection(plugin: Plugin, host: Host) -> None:
    """Nor does a preview, a diff or a refresh."""
    before = host.logins()
    inputs = checked(plugin, host, delete="true")
    state = plugin.create(REMOTE_COMMAND, inputs).state
    plugin.update(REMOTE_COMMAND, state, inputs, inputs)
    plugin.create(REMOTE_COMMAND, {**inputs, "create": "true"}, preview=True)
    plugin.diff(REMOTE_COMMAND, inputs, {**inputs, "create": "true"})
    plugin.read(REMOTE_COMMAND, state, inputs)
    assert host.logins() == before


def test_every_run_dials_anew_and_stays_connected(plugin: Plugin, obedient: ObedientHost) -> None:
    """The official plugin never closes a Command's connection; hosts must bear it."""
    for _ in range(3):
        run(plugin, obedient, "true")
    time.sleep(0.5)
    assert obedient.logins() == 3
    assert [transport.is_active() for transport in obedient.open] == [True] * 3


def test_a_signal_is_named(plugin: Plugin, obedient: ObedientHost) -> None:
    """128 and the signal's number, as a shell counts."""
    assert refusal(plugin, obedient, "kill -TERM $$").startswith("Process exited with status 143 from signal TERM: ")


def test_a_connection_that_breaks_is_a_failure(plugin: Plugin, obedient: ObedientHost, tmp_path: Path) -> None:
    """Whether the command has ended is not known then, and the message says so."""
    begun = tmp_path / "begun"

    def break_it() -> None:
        while not begun.exists():
            time.sleep(0.1)
        time.sleep(1)
        obedient.close()

    threading.Thread(target=break_it, daemon=True).start()
    command = f"echo begun; touch {begun}; sleep 3"
    assert refusal(plugin, obedient, command) == (
        f'wait: remote command exited without exit status or exit signal: running "{command}":\nbegun\n'
    )


def test_a_timeout_of_the_resource_does_not_end_a_command(plugin: Plugin, host: Host) -> None:
    """It bounds the waiting for a host only: a command on a host runs to its end."""
    inputs = checked(plugin, host, create="sleep 2; echo done")
    assert plugin.create(REMOTE_COMMAND, inputs, timeout=1).state["stdout"] == "done"


def test_a_timeout_of_the_dial_does_not_end_a_command(plugin: Plugin, host: Host) -> None:
    """Nor does it start anew with each line."""
    connection = host.connection(perDialTimeout=1)
    inputs = plugin.check(REMOTE_COMMAND, {"connection": connection, "create": "sleep 2; echo done"}).inputs
    assert plugin.create(REMOTE_COMMAND, inputs).state["stdout"] == "done"


def test_a_cancellation_does_not_end_a_command(start_plugin: Callable[..., Plugin], host: Host) -> None:
    """The official plugin has no way to stop it, either."""
    plugin = start_plugin()
    threading.Timer(0.7, plugin.cancel).start()
    assert run(plugin, host, "sleep 2; echo done")["stdout"] == "done"


def test_commands_run_side_by_side(plugin: Plugin, host: Host) -> None:
    """The engine decides how many."""
    started = time.monotonic()
    with ThreadPoolExecutor(6) as six:
        done = list(six.map(lambda number: run(plugin, host, f"sleep 2; echo {number}")["stdout"], range(6)))
    assert done == [str(number) for number in range(6)]
    assert time.monotonic() - started < 5 * 2


def a_line_of(size: int) -> str:
    """Return a command that writes a line of so many bytes."""
    return f"head -c {size} /dev/zero | tr '\\0' x; echo"


def test_a_line_below_64_kib_is_logged(plugin: Plugin, obedient: ObedientHost) -> None:
    """One byte more is too much."""
    assert len(run(plugin, obedient, a_line_of(65535))["stdout"]) == 65535
    assert [len(line.text) for line in plugin.log] == [65535]


@pytest.mark.parametrize("size", [65536, 70000])
def test_a_line_of_64_kib_never_ends_well_where_it_is_logged(
    start_plugin: Callable[..., Plugin], obedient: ObedientHost, size: int
) -> None:
    """The official plugin hangs for ever, the stand-in fails. Not logged, it is an output like any other."""
    plugin, answers = start_plugin(), list[Json]()
    still_runs(lambda: answers.append(run(plugin, obedient, a_line_of(size))), seconds=3)
    assert not answers
    assert len(run(plugin, obedient, a_line_of(size), logging="stderr")["stdout"]) == size


@pytest.mark.usefixtures("stand_in_only")
def test_a_line_of_64_kib_that_is_logged_is_refused(plugin: Plugin, obedient: ObedientHost) -> None:
    """In words, since nobody learns anything from a test that hangs."""
    assert "a line of 65536 bytes or more" in refusal(plugin, obedient, a_line_of(65536))


def test_the_connections_secrets_are_in_no_message(plugin: Plugin, obedient: ObedientHost) -> None:
    """Neither key nor password."""
    obedient.methods = "password"
    inputs = plugin.check(
        REMOTE_COMMAND, {"connection": obedient.connection(password="canary-word"), "create": "true"}
    ).inputs
    with pytest.raises(PluginError) as error:
        plugin.create(REMOTE_COMMAND, inputs)
    told = str(error.value) + "".join(line.text for line in plugin.log)
    assert "canary-word" not in told
    assert obedient.login.private[40:80] not in told


@pytest.mark.usefixtures("stand_in_only")
def test_the_plugin_ends_with_its_parent(plugin_path: Path) -> None:
    """An engine that is killed leaves no plugin behind (the official one looks every five minutes)."""
    program = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.argv[1], '127.0.0.1:1'], stdout=subprocess.PIPE, text=True)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(plugin_path)], stdout=subprocess.PIPE, text=True, env=plugin_environment()
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    pytest.fail("the plugin is still there after 10 s")


def _runs(pid: int) -> bool:
    answer = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(re.match(r"[^Z]", answer.stdout.strip()))


def test_state_keeps_the_bare_connection(plugin: Plugin, host: Host) -> None:
    """A delete years later dials with what the state has."""
    state = run(plugin, host, "true")
    assert bare(state["connection"])["hostKey"] == host.host_key.public


def test_another_engine_can_be_attached(start_plugin: Callable[..., Plugin]) -> None:
    """A debugger's way to start a plugin before the engine."""
    plugin, other = start_plugin(), start_plugin()
    plugin.attach(other.engine_address)
    plugin.create("command:local:Command", {"create": "echo hi"})
    assert [line.text for line in other.log] == ["hi"]
