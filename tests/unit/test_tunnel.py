"""How `python3 -m ops tunnel` holds the ways to machines that have no open port."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ops import engine, tunnel
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

AWS = """#!/bin/sh
here={here}
printf '%s\\n' "$*" >>"$here/asked"
case $1 in
ec2)
    cat "$here/instances" || { echo 'Unable to locate credentials' >&2; exit 253; }
    ;;
ssm)
    # As the real one: the plugin below it holds the port, and nobody tells it of an end.
    [ -e "$here/refused" ] && exit 254
    sleep 60 &
    echo $! >>"$here/plugins"
    wait
    ;;
esac
"""


class Account:
    """Stands for AWS: has instances, and notes what it is asked."""

    def __init__(self, folder: Path) -> None:
        """Put its command line into a folder of programs."""
        self.here = folder / "account"
        self.programs = folder / "programs"
        self.here.mkdir()
        self.programs.mkdir()
        for name, text in (("aws", AWS.replace("{here}", str(self.here))), ("session-manager-plugin", "#!/bin/sh\n")):
            (self.programs / name).write_text(text)
            (self.programs / name).chmod(0o755)

    def has(self, *instances: tuple[str, str, str]) -> None:
        """Have these instances: name, ID, and when it was started."""
        groups = [
            {"Instances": [{"InstanceId": instance, "LaunchTime": when, "Tags": [{"Key": "Name", "Value": name}]}]}
            for name, instance, when in instances
        ]
        (self.here / "instances").write_text(json.dumps({"Reservations": groups}))

    def asked(self, word: str) -> list[str]:
        """Return the command lines with a word that it was asked with."""
        asked = self.here / "asked"
        return [line for line in asked.read_text().splitlines() if word in line] if asked.exists() else []

    def plugins(self) -> list[bool]:
        """Tell of each plugin that was started whether it still runs."""
        started = self.here / "plugins"
        return [runs(int(pid)) for pid in started.read_text().split()] if started.exists() else []


def runs(pid: int) -> bool:
    """Tell whether a program runs; one that has ended and was not waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - no path of ours
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def soon(what: Callable[[], object]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end, "it never was"
        time.sleep(0.02)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return an account with one machine."""
    account = Account(tmp_path)
    monkeypatch.setenv("PATH", f"{account.programs}:{os.defpath}")
    account.has(("shop-prod-machine-1", "i-1", "2026-11-20T10:00:00+00:00"))
    return account


Sessions = dict[int, tuple[str, "subprocess.Popen[bytes]"]]


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    """Return no session, and end those that are there at the end."""
    sessions: Sessions = {}
    yield sessions
    for _, session in sessions.values():
        tunnel.end(session)


def configuration(**server: Any) -> dict[str, Any]:
    """Return what the engine says of a stack."""
    values: dict[str, Any] = {
        "flaskhost:server": {"kind": "aws", "ssh": "ssm", **server},
        "flaskhost:app": {"name": "shop"},
    }
    told = {name: {"value": json.dumps(value), "objectValue": value} for name, value in values.items()}
    return {**told, "aws:region": {"value": "eu-central-1"}}


def wanted(**server: Any) -> tunnel.Wanted:
    """Return what a stack wants."""
    return tunnel.Wanted(configuration(**server), "acme/flaskhost/prod")


def test_each_machine_gets_a_session_to_a_port_of_its_own(account: Account, sessions: Sessions) -> None:
    """Promise: the ports are those that the steps of an `up` connect to."""
    account.has(
        ("shop-prod-machine-1", "i-1", "2026-11-20T10:00:00+00:00"),
        ("shop-prod-machine-2", "i-2", "2026-11-20T10:00:00+00:00"),
    )
    tunnel.hold(wanted(count=2, ssm_port=3000), sessions)
    soon(lambda: len(account.asked("ssm start-session")) == 2)
    for number, line in enumerate(sorted(account.asked("ssm start-session")), start=1):
        parameters = json.dumps({"portNumber": ["22"], "localPortNumber": [str(2999 + number)]})
        assert line == (
            f"ssm start-session --target i-{number} --document-name AWS-StartPortForwardingSession --parameters "
            f"{parameters} --region eu-central-1"
        )


def test_only_machines_of_the_stack_are_asked_for(account: Account, sessions: Sessions) -> None:
    """Promise: by project, stack and application, as everything is tagged; only those that run."""
    tunnel.hold(wanted(), sessions)
    (line,) = account.asked("describe-instances")
    assert line == (
        "ec2 describe-instances --output json --filters Name=tag:flaskhost:project,Values=flaskhost "
        "Name=tag:flaskhost:stack,Values=prod Name=tag:flaskhost:app,Values=shop "
        "Name=instance-state-name,Values=running --region eu-central-1"
    )


def test_a_session_that_runs_is_left_alone(account: Account, sessions: Sessions) -> None:
    """Promise: a second look changes nothing; a connection through it is not cut."""
    tunnel.hold(wanted(), sessions)
    first = sessions[1][1]
    tunnel.hold(wanted(), sessions)
    assert sessions[1][1] is first
    soon(lambda: len(account.asked("start-session")) == 1)


def test_a_session_that_has_ended_is_started_again(account: Account, sessions: Sessions) -> None:
    """Promise: AWS ends a session that nobody uses after a while, and a machine that boots refuses the first ones."""
    (account.here / "refused").touch()
    tunnel.hold(wanted(), sessions)
    sessions[1][1].wait(10)
    (account.here / "refused").unlink()
    tunnel.hold(wanted(), sessions)
    soon(lambda: account.plugins() == [True])
    assert len(account.asked("start-session --target i-1")) == 2


def test_a_machine_that_was_replaced_is_followed_and_its_port_is_free(account: Account, sessions: Sessions) -> None:
    """Promise: the port leads to the new machine; the plugin of the old session, which held it, is gone before."""
    tunnel.hold(wanted(), sessions)
    soon(lambda: account.plugins() == [True])
    account.has(
        ("shop-prod-machine-1", "i-new", "2026-11-21T10:00:00+00:00"),
        ("shop-prod-machine-1", "i-1", "2026-11-20T10:00:00+00:00"),
    )
    tunnel.hold(wanted(), sessions)
    assert account.plugins()[0] is False
    assert sessions[1][0] == "i-new"
    soon(lambda: account.plugins() == [False, True])


@pytest.mark.parametrize("name", ["shop-prod-machine-2", "shop-prod-machine-0", "bastion", ""])
def test_an_instance_that_is_none_of_the_machines_is_ignored(account: Account, sessions: Sessions, name: str) -> None:
    """Promise: one that is about to go, or that a person has made beside them, gets no session."""
    account.has(("shop-prod-machine-1", "i-1", "2026-11-20T10:00:00+00:00"), (name, "i-9", "2026-11-21T10:00:00+00:00"))
    tunnel.hold(wanted(), sessions)
    assert {number: instance for number, (instance, _) in sessions.items()} == {1: "i-1"}


def test_an_instance_without_tags_is_ignored(account: Account) -> None:
    """Promise: AWS leaves the list out where there is none."""
    machine = {"InstanceId": "i-9", "LaunchTime": "2026-11-21T10:00:00+00:00"}
    (account.here / "instances").write_text(json.dumps({"Reservations": [{"Instances": [machine]}]}))
    assert wanted().instances() == {}


def test_sessions_are_kept_while_aws_does_not_answer(
    account: Account, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: an hour without credentials cuts no connection; what AWS says is shown."""
    tunnel.hold(wanted(), sessions)
    first = sessions[1][1]
    (account.here / "instances").unlink()
    tunnel.hold(wanted(), sessions)
    assert sessions[1][1] is first
    assert first.poll() is None
    assert "tunnel: AWS says: " in capsys.readouterr().out


def test_an_answer_that_never_comes_is_no_end_of_the_tunnel(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: it is asked again at the next look."""
    (account.programs / "aws").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(tunnel, "ANSWER_SECONDS", 0.2)
    assert wanted().instances() == {}
    assert "tunnel: AWS does not answer within 0 s" in capsys.readouterr().out


def test_before_there_is_a_machine_nothing_is_held(account: Account, sessions: Sessions) -> None:
    """Promise: it may be started before the first `up`."""
    account.has()
    tunnel.hold(wanted(), sessions)
    assert sessions == {}


def test_a_session_that_does_not_listen_is_ended_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the end of the tunnel waits for nobody for long."""
    monkeypatch.setattr(tunnel, "END_SECONDS", 0.2)
    words = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)",
    ]
    deaf = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    assert deaf.stdout
    deaf.stdout.readline()
    tunnel.end(deaf)
    assert deaf.returncode == -signal.SIGKILL
    deaf.stdout.close()
    tunnel.end(deaf)


@pytest.mark.parametrize("interrupt", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_tunnel_with_all_its_sessions(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interrupt: signal.Signals
) -> None:
    """Promise: Ctrl-C, and the `kill` of a script or of CI, leave no plugin behind that holds a port."""

    def sleep(_seconds: float) -> None:
        soon(lambda: account.plugins() == [True])
        os.kill(os.getpid(), interrupt)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(engine, "answer", lambda *_words: configuration())
    monkeypatch.setattr(tunnel, "time", argparse.Namespace(sleep=sleep))
    with pytest.raises(KeyboardInterrupt):
        tunnel.run(argparse.Namespace(stack="prod"))
    # It was told to end, and takes its moment on a busy machine.
    soon(lambda: account.plugins() == [False])
    assert signal.getsignal(signal.SIGTERM) is before
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "tunnel: 127.0.0.1:22022 leads to SSH on the machines of shop in prod; end with Ctrl-C"
    assert said[1] == "tunnel: 127.0.0.1:22022 leads to i-1"


@pytest.mark.parametrize("program", ["aws", "session-manager-plugin"])
def test_what_is_not_on_this_machine_is_named(account: Account, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Promise: a person reads which of the two programs to install, before anything is asked."""
    (account.programs / program).unlink()
    monkeypatch.setenv("PATH", str(account.programs))
    with pytest.raises(SetupError, match=rf"is not on PATH \({program}\): install it as AWS's documentation says"):
        tunnel.run(argparse.Namespace(stack="prod"))


@pytest.mark.parametrize("server", [{"kind": "local"}, {"kind": "existing", "ssh": "ssm"}, {"ssh": "direct"}])
def test_a_stack_that_needs_no_tunnel_is_told_so(server: Mapping[str, Any]) -> None:
    """Promise: nobody waits for a connection that the steps do not use."""
    with pytest.raises(
        SetupError, match=r"^the stack prod reaches its machines without it: flaskhost:server.ssh is not"
    ):
        tunnel.Wanted(configuration(**server), "prod")


def test_a_stack_without_settings_is_told_the_same() -> None:
    """Promise: no traceback for a stack that was only initialised."""
    with pytest.raises(SetupError, match="reaches its machines without it"):
        tunnel.Wanted({}, "prod")


def test_the_ports_of_several_machines_are_said() -> None:
    """Promise: a person knows which ports are taken on this machine."""
    assert wanted(count="3", ssm_port="3000").told() == (
        "127.0.0.1:3000 to 3002 leads to SSH on the machines of shop in prod"
    )


def test_the_region_is_that_of_the_stack_or_of_the_operators_login(account: Account) -> None:
    """Promise: where the stack says none, AWS's command line finds it as it does elsewhere."""
    found = tunnel.Wanted({**configuration(), "aws:region": {}}, "prod")
    found.instances()
    (line,) = account.asked("describe-instances")
    assert "--region" not in line
