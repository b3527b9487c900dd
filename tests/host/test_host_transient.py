"""Verbs outlive the session that asked for them: the front follows, the worker works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import __main__ as command
from flaskhost import document as reader
from flaskhost import transient
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import base

import document
import host_command
from tests.components import scenario

if TYPE_CHECKING:
    from tests.host.conftest import Server

HOST = Path(__file__).parents[2] / "host"
# A flaskhost whose `environment` does what the document says: it writes, waits, fails or prints.
PROGRAM = f"""#!{sys.executable} -IXutf8
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as in a session of sshd, also where the tests were started by nohup(1)
sys.path.insert(0, {str(HOST)!r})
from pathlib import Path
from flaskhost import __main__, transient
from flaskhost.shell import Failure

def verb(asked, progress):
    root = Path(os.environ["FLASKHOST_ROOT"])
    progress.scrubber.add([asked["secret"]])
    for line in asked["say"]:
        progress.say(line)
    (root / "began").open("a").write("x")
    end = time.monotonic() + 30
    while asked["gate"] and not (root / asked["gate"]).exists() and time.monotonic() < end:
        time.sleep(0.01)
    if asked["fails"]:
        raise Failure(asked["fails"])
    if asked["broken"]:
        raise KeyError(asked["broken"])
    (root / "done").open("a").write("x")
    return {{"release": "4f1c", "text": "Grüße"}}

__main__.UP["environment"] = lambda asked: verb
if __name__ == "__main__":
    sys.exit(__main__.main(sys.argv[1:]))
"""
SECRET = "hunter2-secret"
FOLLOWS = "`flaskhost environment guestbook` is running already: following it\n"


def text(**values: Any) -> str:
    """Return a document for the program above."""
    given = {"secret": SECRET, "say": ["one", "two ☃"], "gate": "", "fails": "", "broken": "", **values}
    return document.write("environment", "guestbook", given, {"env": f'TOKEN="{SECRET}"\n'})


class Front:
    """The front, as an SSH session runs it."""

    def __init__(self, server: Server, asked: str) -> None:
        """Start it."""
        program = server.root / "flaskhost"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        self.process = subprocess.Popen(
            [str(program), "environment", "guestbook"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
            bufsize=0,  # a line that a test reads itself takes nothing of the rest along
        )
        assert self.process.stdin is not None
        self.process.stdin.write(asked.encode())
        self.process.stdin.close()
        self.process.stdin = None

    def line(self) -> str:
        """Wait for the next line on standard error."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().decode()

    def end(self) -> tuple[int, str, str]:
        """Wait for it; return status, standard output and standard error."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out.decode(), err.decode()

    def cut(self) -> None:
        """Close the session's ends of the pipes, as sshd does when the connection is gone."""
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def until(what: Path) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + 15
    while not what.exists():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.01)


def test_the_result_and_the_log_are_handed_back(server: Server) -> None:
    """Promise: progress on stderr, one JSON line on stdout, status 0; the locale of the session does not matter."""
    status, out, err = Front(server, text()).end()
    assert (status, json.loads(out)) == (0, {"release": "4f1c", "text": "Grüße"})
    assert out.count("\n") == 1
    assert "one" in err
    assert "two ☃" in err
    assert "environment: done in" in err


def test_a_failure_is_handed_back_without_secrets(server: Server) -> None:
    """Promise: status 1 and the message; what is secret in it is hidden."""
    status, out, err = Front(server, text(fails=f"it broke: {SECRET}\nrun it again")).end()
    assert status == 1
    assert "error: it broke: [secret]\nrun it again" in out
    assert SECRET not in out + err
    assert "Traceback" not in out + err


def test_a_defect_is_told_as_one_and_without_secrets(server: Server) -> None:
    """Promise: an error that nobody thought of still ends with a message."""
    status, out, err = Front(server, text(broken=SECRET)).end()
    assert status == 1
    assert "error: KeyError: '[secret]' (a defect)" in out
    assert SECRET not in out + err


def test_the_request_is_gone_as_soon_as_it_was_read(server: Server) -> None:
    """Promise: the file with the secrets exists until the worker has it, and no longer; its folder is root's."""
    front = Front(server, text(gate="gate"))
    until(server.root / "began")
    state = server.root / "run/flaskhost"
    assert not list(state.rglob("*.request"))
    assert state.stat().st_mode & 0o777 == 0o700
    assert all(SECRET not in path.read_text() for path in state.rglob("*") if path.is_file())
    assert all(path.stat().st_mode & 0o077 == 0 for path in (state / "guestbook").glob("environment-*"))
    (server.root / "gate").touch()
    assert front.end()[0] == 0


def test_nothing_secret_is_on_a_command_line(server: Server) -> None:
    """Promise: the unit is started with the name of a file; its output goes to the journal, its time is limited."""
    Front(server, text()).end()
    call = next(line for line in server.calls() if line.startswith("systemd-run"))
    assert SECRET not in call
    assert "--unit=flaskhost-guestbook-environment.service" in call
    assert "--property=StandardError=journal" in call
    assert f"--property=RuntimeMaxSec={transient.deadline('guestbook', reader.parse_all(text()))}" in call
    assert "--property=Nice=5" in call, "visitors come before builds"


def test_the_commands_of_a_release_come_behind_visitors_as_well(ready: Server) -> None:
    """Promise: packages, builds and release commands are units of their own, and inherit no weight from their step."""
    ready.release("v1", app__build="make assets || true", app__on_release="true")
    runs = [call for call in ready.calls() if call.startswith("systemd-run")]
    assert len(runs) > 2
    assert all("--property=Nice=5" in call for call in runs), runs


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_cut_session_leaves_the_work_running_and_the_next_one_attaches(server: Server, how: int) -> None:
    """Promise: the verb is done once; the second call gets its log and its result."""
    first = Front(server, text(gate="gate"))
    until(server.root / "began")
    first.process.send_signal(how)
    first.cut()
    assert first.process.wait(timeout=10) != 0
    second = Front(server, text(gate="gate"))
    assert second.line() == FOLLOWS
    (server.root / "gate").touch()
    status, out, err = second.end()
    assert (status, json.loads(out)["release"]) == (0, "4f1c")
    assert "two ☃" in err
    assert (server.root / "done").read_text() == "x"


def test_a_session_that_is_gone_without_a_signal_does_not_stop_the_work(server: Server) -> None:
    """Promise: the front may fail at its next word; the worker does not notice."""
    front = Front(server, text(gate="gate"))
    until(server.root / "began")
    front.cut()
    (server.root / "gate").touch()
    until(server.root / "done")
    front.process.wait(timeout=10)


def test_two_calls_at_the_same_moment_do_the_work_once(server: Server) -> None:
    """Promise: also while systemd is still starting the unit, the second call attaches."""
    server.set("slow-start")
    fronts = [Front(server, text(gate="gate")) for _ in range(2)]
    assert [front.line() for front in fronts].count(FOLLOWS) == 1
    (server.root / "gate").touch()
    ends = [front.end() for front in fronts]
    assert [status for status, _out, _err in ends] == [0, 0]
    assert (server.root / "began").read_text() == "x"


def test_another_document_waits_for_its_turn(server: Server) -> None:
    """Promise: what was asked last is done last; both get their own result."""
    first = Front(server, text(gate="gate"))
    until(server.root / "began")
    second = Front(server, text(fails="the second"))
    line = second.line()
    assert line.startswith("waiting up to 600 s for `flaskhost environment guestbook`, by ")
    assert line.endswith(" (unit flaskhost-guestbook-environment.service)\n")
    assert (server.root / "began").read_text() == "x"
    (server.root / "gate").touch()
    assert first.end()[0] == 0
    status, out, _err = second.end()
    assert status == 1
    assert "error: the second" in out


def test_another_document_waits_no_longer_than_the_stack_says(server: Server) -> None:
    """Promise: then it fails, says whose work that is, and how to end it; that goes on undisturbed."""
    known(server, lock_wait=0)
    first = Front(server, text(gate="gate", version="v1.1.0"))
    until(server.root / "began")
    status, _out, err = Front(server, text(fails="the second")).end()
    assert status == 1
    assert "for `flaskhost environment guestbook` of v1.1.0, by " in err
    assert "end it on the host: `sudo systemctl stop flaskhost-guestbook-environment.service`" in err
    assert "Traceback" not in err
    (server.root / "gate").touch()
    assert first.end()[0] == 0


def known(server: Server, **facts: Any) -> None:
    """Have the application on the server, as `base` leaves it."""
    server.paths.etc.mkdir(parents=True, exist_ok=True)
    server.paths.home.mkdir(parents=True, exist_ok=True)
    (server.paths.etc / "app.json").write_text(json.dumps({"root": "/srv", **facts}))


def logged(server: Server) -> list[dict[str, Any]]:
    """Return the lines of releases.log."""
    return [json.loads(line) for line in server.paths.log.read_text().splitlines()]


def test_each_step_is_told_in_the_log_of_releases(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: when, who, from where, what, how long each phase took, and how it ended; of a failure why, in a line."""
    known(server)
    # As sshd sets it; sudo does not hand it on, so that a parent is asked.
    monkeypatch.setenv("SSH_CLIENT", "192.0.2.7 51234 22")
    monkeypatch.setenv("SUDO_USER", "ada")
    Front(server, text(release="ab12" * 16)).end()
    Front(server, text(release="ab12" * 16, fails=f"no {SECRET}\nmore")).end()
    good, bad = logged(server)
    assert good.pop("time") <= bad.pop("time")
    assert [set(line.pop("phases")) for line in (good, bad)] == [{"environment"}] * 2
    same = {"event": "step", "step": "environment", "by": "ada", "from": "192.0.2.7", "release": "ab12" * 16}
    assert good == {**same, "version": None, "result": "ok"}
    assert bad == {**same, "version": None, "result": "failed", "why": "no [secret]"}


def test_a_step_that_was_killed_is_in_the_log_as_well(server: Server) -> None:
    """Promise: also what somebody has ended by hand can be read there."""
    known(server)
    front = Front(server, text(gate="never"))
    until(server.root / "began")
    unit = server.fakes / "active/flaskhost-guestbook-environment.service"
    shell = int(unit.read_text())
    os.killpg(shell, signal.SIGKILL)
    unit.unlink()
    front.end()
    (line,) = logged(server)
    assert (line["result"], line["why"]) == (
        "failed",
        "`flaskhost environment guestbook` was ended before it had finished",
    )


def test_the_address_is_found_behind_sudo(tmp_path: Path) -> None:
    """Promise: where sudo has taken the variable away, the process that called it still has it."""
    script = tmp_path / "asks.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(HOST)!r})\nfrom flaskhost import caller\nprint(caller.known())"
    )
    inner = f"env -u SSH_CLIENT {sys.executable} {script}; true"
    words = ["sh", "-c", inner]
    done = subprocess.run(
        words, env={**os.environ, "SSH_CLIENT": "2001:db8::7 1 22"}, capture_output=True, text=True, check=True
    )
    assert "'from': '2001:db8::7'" in done.stdout
    done = subprocess.run(words, env={**os.environ, "SSH_CLIENT": "a\tb"}, capture_output=True, text=True, check=True)
    assert "a\\tb" not in done.stdout


def test_the_failure_of_one_of_several_hosts_names_it(server: Server) -> None:
    """Promise: one `up` shows the failures of all hosts; until the switch, every one of them serves what it served."""
    status, out, _err = Front(server, text(host="app2.example.com", fails="no space")).end()
    assert status == 1
    assert out.startswith("error: app2.example.com: no space\nNo host was switched: ")
    said = transient.among_others("app2.example.com", "switch", "not healthy\nv1.0.0 serves as before")
    assert said.startswith(
        "app2.example.com: not healthy\nv1.0.0 serves as before\nOther hosts may serve the new release"
    )
    assert "`python3 -m ops drift` says what each serves" in said


def test_a_killed_worker_is_told_with_the_next_step(server: Server) -> None:
    """Promise: no traceback and no old result: what happened, where to look, what to do."""
    assert Front(server, text()).end()[0] == 0
    (server.root / "began").unlink()
    front = Front(server, text(gate="never"))
    until(server.root / "began")
    shell = int((server.fakes / "active/flaskhost-guestbook-environment.service").read_text())
    os.killpg(shell, signal.SIGKILL)
    (server.fakes / "active/flaskhost-guestbook-environment.service").unlink()
    status, out, err = front.end()
    assert status == 1
    assert "was ended before it had finished (see `journalctl -u flaskhost-guestbook-environment.service`)" in err
    assert "run `pulumi up` again" in err
    assert "Traceback" not in out + err


def test_a_document_for_another_verb_or_application_is_refused(server: Server) -> None:
    """Promise: what the command line says is what the document says, or nothing is done."""
    for asked in (scenario.plan().switch, text().replace(" guestbook\n", " other\n", 1), text()[:-5], ""):
        status, _out, err = Front(server, asked).end()
        assert status == 1
        assert err.startswith("error: ")
        assert "Traceback" not in err
    assert not any(call.startswith("systemd-run") for call in server.calls())


def test_a_worker_reads_removes_and_writes_its_result(server: Server) -> None:
    """Promise: the worker by itself: request away, log and result there, closed to others."""
    folder = server.root / "run/flaskhost/guestbook"
    request = folder / "switch-0123.request"
    request.write_text(scenario.plan().switch)

    def verb(asked: reader.Document, progress: Progress) -> dict[str, Any]:
        progress.say(asked.app)
        return {"a": 1}

    assert transient.worker(str(request), {"switch": lambda _asked: verb}) == 0
    assert not request.exists()
    assert json.loads((folder / "switch-0123.result").read_text()) == {"ok": True, "result": {"a": 1}}
    assert (folder / "switch-0123.result").stat().st_mode & 0o777 == 0o600
    assert "guestbook" in (folder / "switch-0123.log").read_text()


def test_a_step_of_several_verbs_ends_with_the_first_that_fails(server: Server) -> None:
    """Promise: one session does them in order; the result has that of each, and nothing comes after a failure."""
    plan = scenario.plan()
    request = server.root / "run/flaskhost/guestbook/release-0123.request"
    did: list[str] = []

    def verb(asked: reader.Document, _progress: Progress) -> dict[str, Any]:
        did.append(asked.verb)
        if len(did) == 5:
            raise Failure("no")
        return {"number": len(did)}

    for status, outcome in (
        (0, {"ok": True, "result": {"prepare": {"number": 1}, "stage": {"number": 2}, "switch": {"number": 3}}}),
        (1, {"ok": False, "error": "no"}),
    ):
        request.write_text(f"{plan.prepare}\n{plan.stage}\n{plan.switch}")
        verbs = dict.fromkeys(("prepare", "stage", "switch"), lambda _asked: verb)
        assert transient.worker(str(request), verbs) == status
        assert json.loads(request.with_suffix(".result").read_text()) == outcome
    assert did == ["prepare", "stage", "switch", "prepare", "stage"]


def test_all_verbs_of_a_step_are_imported_before_the_first_begins(server: Server) -> None:
    """Promise: another clone's `base`, which removes the files of this version meanwhile, costs no step its end."""
    plan, did = scenario.plan(), list[str]()

    def load(asked: reader.Document) -> transient.Work:
        did.append(f"load {asked.verb}")
        return act

    def act(asked: reader.Document, _progress: Progress) -> dict[str, Any]:
        did.append(asked.verb)
        return {}

    asked = reader.parse_all(f"{plan.prepare}\n{plan.stage}\n{plan.switch}")
    verbs = dict.fromkeys(("prepare", "stage", "switch"), load)
    assert transient.work(asked, Progress(server.said), verbs)[1] == 0
    assert did == ["load prepare", "load stage", "load switch", "prepare", "stage", "switch"]


def test_loading_a_verb_imports_its_module() -> None:
    """Promise: what is loaded is the verb itself: nothing is left to be imported when its turn comes."""
    plan = scenario.plan()
    for asked in reader.parse_all(f"{plan.prepare}\n{plan.stage}\n{plan.switch}"):
        assert command.UP[asked.verb](asked).__module__ == f"flaskhost.verbs.{asked.verb}"


@pytest.mark.parametrize(
    ("name", "most", "verb"),
    [
        ("build_timeout", 3600, "prepare"),
        ("migrate_timeout", 10800, "stage"),
        ("on_release_timeout", 3600, "stage"),
        ("health__seconds", 3600, "stage"),
        ("watch__seconds", 3600, "switch"),
        *(("lock_wait", 3600, verb) for verb in ("base", "prepare", "stage", "switch")),
    ],
)
def test_no_step_is_ended_within_its_settings(server: Server, name: str, most: int, verb: str) -> None:
    """Promise: each second more that the stack gives to a wait, systemd gives to the step that waits."""

    def seconds(value: int) -> int:
        changes: dict[str, Any] = {f"app__{name}": value}
        plan = scenario.plan(**changes)
        known(server, **reader.parse(plan.base).values)
        return transient.deadline("guestbook", reader.parse_all(getattr(plan, verb)))

    assert seconds(most) - seconds(1) >= most - 1


def test_a_step_of_several_verbs_has_the_time_of_all_of_them(server: Server) -> None:
    """Promise: the last verb of a release is not cut off because the first took long."""
    plan = scenario.plan()
    known(server)
    asked = reader.parse_all(f"{plan.prepare}\n{plan.stage}\n{plan.switch}")
    assert transient.deadline("guestbook", asked) == sum(transient.deadline("guestbook", [one]) for one in asked)


def test_a_verb_that_starts_what_was_staged_has_the_time_that_stage_was_told(ready: Server) -> None:
    """Promise: `switch` by itself, a rollback and a restore name no times, and wait for a release all the same."""
    asked = {
        "switch": ready.release("v1").switch,
        "rollback": reader.write("rollback", "guestbook", {"to": None, "seen": None}),
        "restore": reader.write("restore", "guestbook", {"dump": "a.gz"}),
    }
    documents = {verb: [reader.parse(one)] for verb, one in asked.items()}
    before = {verb: transient.deadline("guestbook", one) for verb, one in documents.items()}
    ready.release("v2", until="stage", app__migrate_timeout=10800)
    for verb, one in documents.items():
        assert transient.deadline("guestbook", one) - before[verb] >= 10800 - 1800, verb


def test_the_uploaded_archive_installs_itself_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a folder of its version, readable by all whatever the umask; a second time nothing is written."""
    packed = host_command.pack(server.fakes)
    before = os.umask(0o077)
    try:
        program = base.install(str(packed.archive), packed.digest)
        tree = server.tree()
        assert base.install(str(packed.archive), packed.digest) == program
    finally:
        os.umask(before)
    assert server.tree() == tree
    assert program == base.LIBRARY / packed.digest / "bin/flaskhost"
    assert (server.root / "usr/local/bin/flaskhost").resolve() == program.resolve()
    assert base.LIBRARY.stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o044 for path in (base.LIBRARY / packed.digest).rglob("*"))
    done = subprocess.run([str(program), "status", "guestbook"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: there is no application 'guestbook' on this host" in done.stderr
    assert "`pulumi destroy --target '**:remote:**'`" in done.stderr
    monkeypatch.setattr(sys, "path", [str(packed.archive), *sys.path])
    assert command._program() == str(program)  # noqa: SLF001 - what an upload starts with


def test_a_half_installed_command_is_installed_anew(server: Server) -> None:
    """Promise: a kill while it installs leaves nothing that counts as installed."""
    packed = host_command.pack(server.fakes)
    (base.LIBRARY / f".{packed.digest}.new" / "flaskhost").mkdir(parents=True)
    program = base.install(str(packed.archive), packed.digest)
    assert program.exists()
    assert sorted(path.name for path in base.LIBRARY.iterdir()) == [".lock", packed.digest]


@pytest.mark.parametrize("words", [[], ["nonsense", "guestbook"], ["base"], ["base", "a", "b"], ["--help"]])
def test_the_command_line_says_its_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: a person who mistypes reads what there is."""
    assert command.main(words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: usage: flaskhost {base|site|environment|prepare|stage|switch|")
    assert "status|releases" in said
