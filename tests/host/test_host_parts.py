"""What verbs are made of: packages, secrets in messages, locks, programs, health."""

from __future__ import annotations

import fcntl
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import dependencies, health, locks, packages, shell
from flaskhost.progress import HIDDEN, LONGEST_LINE, MOST_LINES, Progress, Scrubber
from flaskhost.shell import Failure
from hypothesis import given
from hypothesis import strategies as st

from tests.host.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.conftest import Server

HOST = Path(__file__).parents[2] / "host"


@pytest.mark.parametrize(
    ("name", "version"), [(name, version) for name, versions in packages.SUPPORTED.items() for version in versions]
)
def test_each_supported_distribution_is_known(tmp_path: Path, name: str, version: str) -> None:
    """Promise: Debian 11 to 13 and Ubuntu 20.04 to 24.04 are told from each other and get their own names."""
    (tmp_path / "os-release").write_text(f'NAME="x"\nID={name}\nVERSION_ID="{version}"\n')
    assert packages.distribution(tmp_path / "os-release") == (name, version)
    wanted = packages.wanted(name, ["nginx", "libvips42"], compiler=True)
    assert len(set(wanted)) == len(wanted)
    assert {"nginx", "python3-venv", "libpq-dev", "build-essential", "libvips42"} <= set(wanted)
    mysql = {"debian": "default-libmysqlclient-dev", "ubuntu": "libmysqlclient-dev"}[name]
    assert [one for one in wanted if "mysql" in one] == [mysql]
    without = packages.wanted(name, ["libpq-dev"], compiler=False)
    assert not {"build-essential", "python3-dev", "python3-pip", mysql} & set(without)
    assert {"nginx", "libpq-dev"} <= set(without)


def test_pip_is_the_one_that_makes_environments(tmp_path: Path) -> None:
    """Promise: uv can be had without the package python3-pip; where the wheel is missing, the next step is told."""
    with pytest.raises(Failure, match="reinstall python3-venv"):
        packages.pip(tmp_path)
    (tmp_path / packages.PIP_WHEELS).mkdir(parents=True)
    for name in ("setuptools-66.1.1-py3-none-any.whl", "pip-23.0.1-py3-none-any.whl"):
        (tmp_path / packages.PIP_WHEELS / name).touch()
    assert packages.pip(tmp_path)[1] == f"{tmp_path}/usr/share/python-wheels/pip-23.0.1-py3-none-any.whl/pip"


def test_the_supported_distributions_are_these() -> None:
    """Promise: dropping one is a decision and not an accident."""
    assert packages.SUPPORTED == {"debian": ("11", "12", "13"), "ubuntu": ("20.04", "22.04", "24.04")}


@pytest.mark.parametrize("text", ["ID=fedora\nVERSION_ID=41\n", "ID=debian\nVERSION_ID=10\n", "ID=debian\n", ""])
def test_another_distribution_is_refused_with_those_that_work(tmp_path: Path, text: str) -> None:
    """Promise: the message says what was found and what is supported."""
    (tmp_path / "os-release").write_text(text)
    with pytest.raises(Failure, match=r"is not supported: use a host with one of debian 11, 12, 13; ubuntu 20.04, 22"):
        packages.distribution(tmp_path / "os-release")


def test_only_what_is_missing_is_installed(server: Server) -> None:
    """Promise: one transaction for what is missing, after a killed one was finished; none where all is there."""
    server.set("packages", "nginx\ngit\n")
    assert packages.install(["nginx", "git", "openssl"], Progress(io.StringIO())) == ["openssl"]
    calls = [call.split(" ")[0] for call in server.calls() if call.startswith(("dpkg", "apt"))]
    assert calls == ["dpkg-query", "dpkg", "apt-get", "apt-get"]
    assert packages.install(["nginx", "git", "openssl"], Progress(io.StringIO())) == []
    assert [call.split(" ")[0] for call in server.calls() if call.startswith(("dpkg", "apt"))] == ["dpkg-query"]


SECRETS = ["hunter2-secret", "hunter2", "first line\nsecond line", 'quote"back\\slash', "postgres://u:p%40ss-word@db/x"]


@pytest.mark.parametrize(
    "text",
    [
        *SECRETS,
        *map(repr, SECRETS),
        *map(json.dumps, SECRETS),
        "a line with second line in it",
        "password p@ss-word refused",
        "password p%40ss-word refused",
    ],
)
def test_no_form_of_a_secret_gets_through(text: str) -> None:
    """Promise: as it is, line by line, as Python and JSON write it, and the password inside a URL."""
    clean = Scrubber(SECRETS).clean(f"before {text} after")
    assert HIDDEN in clean
    for part in ("hunter2", "first line", "second line", "back", "p%40ss", "p@ss"):
        assert part not in clean


def test_the_password_of_any_url_is_hidden() -> None:
    """Promise: also of one that is no variable: a package index with a token."""
    text = "fetching https://user:t0ken@index.example/simple and ssh://git@host/x and redis://:pw@h"
    assert Scrubber().clean(text) == (
        f"fetching https://user:{HIDDEN}@index.example/simple and ssh://git@host/x and redis://:{HIDDEN}@h"
    )


def test_short_values_do_not_hide_the_text() -> None:
    """Promise: a variable that is `1` leaves messages readable."""
    assert Scrubber(["1", "", "no", "\n"]).clean("1 of 10: no such file") == "1 of 10: no such file"


@given(st.text(min_size=4, alphabet="abXY-[]*\\.\n"), st.text(max_size=30), st.text(max_size=30))
def test_no_secret_survives_whatever_is_around_it(secret: str, before: str, after: str) -> None:
    """Promise: characters that mean something elsewhere mean nothing here."""
    lines = [line for line in secret.split("\n") if len(line) >= 4]
    clean = Scrubber([secret]).clean(before + secret + after).replace(HIDDEN, "\0")
    assert secret not in clean
    assert all(line not in clean for line in lines)


def test_long_lines_and_many_lines_are_cut() -> None:
    """Promise: no line can hang the plugin, and Pulumi keeps no novel: begin and end stay."""
    clean = Scrubber().clean("x" * 100_000)
    assert len(clean) < LONGEST_LINE + 10
    lines = Scrubber().clean("\n".join(f"line {n}" for n in range(5000))).split("\n")
    assert len(lines) == MOST_LINES + 1
    assert (lines[0], lines[-1]) == ("line 0", "line 4999")
    assert "4800 lines left out" in "".join(lines)


def test_what_is_said_is_clean_in_log_and_on_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: each line has its time, continued lines are indented, and no secret is in either place."""
    log = io.StringIO()
    progress = Progress(log)
    progress.scrubber.add(["hunter2-secret"])
    progress.say("one hunter2-secret\ntwo")
    assert log.getvalue() == capsys.readouterr().err
    assert "hunter2" not in log.getvalue()
    assert log.getvalue().split("\n")[1].strip() == "two"


HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from flaskhost import locks
from flaskhost.progress import Progress
with locks.held(Path(sys.argv[2]), "prepare v1.0.0", Progress()):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Return another process that holds the lock."""
    words = [sys.executable, "-c", HOLDER, str(HOST), str(path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def test_a_lock_is_waited_for_and_the_holder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: two verbs never work at a time; who waits reads for whom, and at last how to end it."""
    path = tmp_path / "lock"
    monkeypatch.setenv("FLASKHOST_LOGIN", "ada")
    monkeypatch.setenv("FLASKHOST_ADDRESS", "192.0.2.7")
    for unit, which, end in (
        (
            "flaskhost-shop-release.service",
            "unit flaskhost-shop-release.service",
            "systemctl stop flaskhost-shop-release",
        ),
        ("", "process {pid}", "kill {pid}"),
    ):
        monkeypatch.setenv("FLASKHOST_UNIT", unit)
        process = holder(path)
        said = io.StringIO()
        whose = rf"prepare v1.0.0, by ada from 192.0.2.7 since {TIME} \({which.format(pid=process.pid)}\)"
        refused = rf"waited 0.1 s \(flaskhost:app.lock_wait\) for {whose}: .*`sudo {end.format(pid=process.pid)}"
        try:
            with pytest.raises(Failure, match=refused), locks.held(path, "switch", Progress(said), wait=0.1):
                pytest.fail("two hold it")
            assert re.search(f"waiting up to 0.1 s for {whose}", said.getvalue())
        finally:
            process.kill()
            process.communicate()


def test_a_lock_of_an_older_version_or_one_that_is_just_being_taken_is_waited_for_too(tmp_path: Path) -> None:
    """Promise: what stands in the file is for people; the kernel's lock counts."""
    for text in ("", "prepare by somebody", '{"pid": 7}', "[]"):
        path = tmp_path / "lock"
        path.write_text(text)
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with (
                pytest.raises(Failure, match="for another process: run `pulumi up` again"),
                locks.held(path, "switch", Progress(io.StringIO()), wait=0),
            ):
                pytest.fail("two hold it")


def test_a_killed_holder_gives_the_lock_back(tmp_path: Path) -> None:
    """Promise: no lock outlives its process, however that ended."""
    path = tmp_path / "lock"
    process = holder(path)
    threading.Timer(0.1, process.send_signal, [signal.SIGKILL]).start()
    begin = time.monotonic()
    with locks.held(path, "switch", Progress(io.StringIO()), wait=20):
        assert time.monotonic() - begin < 10
        assert '"switch"' in path.read_text()
    process.communicate()
    assert path.read_text() == ""


def test_a_failure_inside_gives_the_lock_back(tmp_path: Path) -> None:
    """Promise: a verb that fails does not lock out the next one."""
    for _ in range(2):
        with pytest.raises(KeyError), locks.held(tmp_path / "lock", "x", Progress(io.StringIO()), wait=0):
            raise KeyError


def test_a_program_that_fails_is_told_with_its_words_and_output() -> None:
    """Promise: not found, too slow and failed each have a message that says which program."""
    with pytest.raises(Failure, match="flaskhost-nothing: no such program"):
        shell.run(["flaskhost-nothing"])
    with pytest.raises(Failure, match=r"(?s)`sh -c echo out; .*` ended with status 3\nout\nerr$"):
        shell.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    with pytest.raises(Failure, match=r"(?s)did not end within 0.2 s\nso far$"):
        shell.run(["sh", "-c", "echo so far; exec sleep 10"], timeout=0.2)
    assert shell.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    assert not shell.succeeds(["false"])


def asked(attempts: int = 3, seconds: float = 5) -> dict[str, Any]:
    """Return what a stack asks of the health of a release."""
    return {
        "scheme": "https",
        "host": "guestbook.example",
        "path": "/health?a=1",
        "status": 200,
        "attempts": attempts,
        "seconds": seconds,
    }


def alive() -> str | None:
    """Say that the service is well."""
    return None


def wait(path: Path, check: dict[str, Any], gave_up: Callable[[], str | None] = alive) -> tuple[float, str]:
    """Wait for health; return seconds, and what was said."""
    said = io.StringIO()
    return health.wait(path, check, gave_up, Progress(said)), said.getvalue()


def test_the_question_is_a_visitors(server: Server) -> None:
    """Promise: the site's own name and https, as Nginx would say it."""
    with serving(server.root / "s") as application:
        _seconds, said = wait(server.root / "s", asked())
        first = application.asked[0]
    assert first["path"] == "/health?a=1"
    assert (first["Host"], first["X-Forwarded-Proto"]) == ("guestbook.example", "https")
    assert "healthy: 3 answers 200" in said


def test_a_release_may_take_its_time(server: Server) -> None:
    """Promise: answers count only in a row, and the first failures do not matter."""
    answers = {1: (503, "starting"), 2: (200, "ok"), 3: (503, "not yet")}
    with serving(server.root / "s", lambda n: answers.get(n, (200, "ok"))) as application:
        wait(server.root / "s", asked())
        assert len(application.asked) == 6


def test_no_socket_and_a_wrong_status_fail_at_the_deadline_with_the_last_answer(server: Server) -> None:
    """Promise: the message says what was wanted and what was seen."""
    with pytest.raises(
        Failure, match=r"wanted 3 answers 200 in a row from /health\?a=1 in 0.2 s, last seen: .*No such"
    ):
        wait(server.root / "nothing", asked(seconds=0.2))
    with (
        serving(server.root / "s", lambda _n: (500, "no such table: messages")),
        pytest.raises(Failure, match="last seen: 500 no such table: messages"),
    ):
        wait(server.root / "s", asked(seconds=0.2))


def test_an_application_that_hangs_fails_at_the_deadline(server: Server) -> None:
    """Promise: one question that is never answered does not take longer than the stack allows."""
    begin = time.monotonic()
    with serving(server.root / "s", lambda _n: None), pytest.raises(Failure, match="last seen: no answer"):
        wait(server.root / "s", asked(seconds=0.4))
    assert time.monotonic() - begin < 3


def test_nobody_waits_for_a_service_that_has_ended(server: Server) -> None:
    """Promise: the reason is in the message, long before the deadline, also while a question hangs."""
    begin = time.monotonic()
    ended = iter([None, None, "its service ended with status 3", "its service ended with status 3"])
    with (
        serving(server.root / "s", lambda _n: None),
        pytest.raises(Failure, match="does not stay up: its service ended with status 3"),
    ):
        wait(server.root / "s", asked(seconds=60), lambda: next(ended))
    assert time.monotonic() - begin < 5


def test_each_worker_answers_before_visitors_come(server: Server) -> None:
    """Promise: each path is asked for once, then twice for each worker at once; what comes back does not count."""
    said = io.StringIO()
    with serving(server.root / "s", lambda _n: (500, "no page")) as application:
        health.warm_up(server.root / "s", {**asked(), "warm_up": ["/", "/shop?a=1"]}, 3, Progress(said))
    assert sorted(one["path"] for one in application.asked) == ["/"] * 7 + ["/shop?a=1"] * 7
    assert application.asked[0]["Host"] == asked()["host"]
    assert "warm-up: /shop?a=1, the first time 500 after " in said.getvalue()


def test_a_path_that_takes_long_keeps_no_worker_from_the_visitors(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: it is asked for once, and the others are asked all the same."""
    monkeypatch.setattr(health, "WARM_SECONDS", 0.1)
    monkeypatch.setattr(health, "LONG_SECONDS", 0.05)
    said = io.StringIO()
    with serving(server.root / "s", lambda n: None if n == 1 else (200, "ok")) as application:
        health.warm_up(server.root / "s", {**asked(), "warm_up": ["/report", "/"]}, 1, Progress(said))
    assert [one["path"] for one in application.asked] == ["/report", "/", "/", "/"]
    assert "/report takes 0.1 s to answer" in said.getvalue()


def test_another_status_can_be_the_healthy_one(server: Server) -> None:
    """Promise: the stack says which status counts."""
    with serving(server.root / "s", lambda _n: (204, "")):
        wait(server.root / "s", {**asked(), "status": 204})


def test_requirements_count_with_all_that_they_include(tmp_path: Path) -> None:
    """Promise: a changed line in an included file makes other dependencies."""
    (tmp_path / "requirements.txt").write_text("-r more/base.txt\n--constraint=c.txt\nflask==3\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("-r deep.txt\n")
    (tmp_path / "more/deep.txt").write_text("six==1\n")
    (tmp_path / "c.txt").write_text("jinja2<4\n")
    lines = dependencies._requirements(tmp_path, "requirements.txt")  # noqa: SLF001 - what the digest is made of
    assert {"six==1", "jinja2<4", "flask==3"} <= set(lines)
    (tmp_path / "c.txt").unlink()
    with pytest.raises(Failure, match=r"c\.txt is missing in the source"):
        dependencies._requirements(tmp_path, "requirements.txt")  # noqa: SLF001 - as above


@pytest.mark.parametrize("line", ["-e .", "--editable ./x", ".", "./x[extra]", "/abs/x", "x @ file:///x", "x @ ./y"])
def test_requirements_that_install_the_code_itself_are_told_from_others(line: str) -> None:
    """Promise: only then does another commit need other dependencies."""
    assert dependencies.LOCAL.search(line)
    assert not dependencies.LOCAL.search("flask==3.0.0 # ./not")
    assert not dependencies.LOCAL.search("x @ https://example.org/x.whl")
