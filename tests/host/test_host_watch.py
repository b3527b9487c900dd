"""The watch after a switch: what it reads, when it calls a release worse, and how it goes back."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import incidents, layout, owners, releases, watch
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.watch import AccessLog, Limits, Rate, Watch, parse, worse

from tests.components import scenario
from tests.host.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.conftest import Server

LIMITS = Limits(seconds=15, requests=20, errors=5)
CHECK = {"scheme": "http", "host": "localhost", "path": "/health", "status": 200}


def line(status: int = 200, request: str = "GET / HTTP/1.1", seconds: float | None = None) -> str:
    """Return a line as Nginx writes it (format combined), now if no time is given."""
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() if seconds is None else seconds))
    return f'192.0.2.7 - - [{stamp}] "{request}" {status} 612 "-" "curl/8"\n'


@pytest.mark.parametrize(
    ("text", "seconds", "request_", "status"),
    [
        ('192.0.2.7 - - [21/Nov/2026:20:22:01 +0000] "GET /a HTTP/1.1" 200 6 "-" "x"', 1795292521, "GET /a", 200),
        ('2001:db8::1 - - [21/Nov/2026:21:52:01 +0130] "GET / HTTP/2.0" 502 6 "-" "x"', 1795292521, "GET /", 502),
        ('::1 - - [21/Nov/2026:15:22:01 -0500] "POST /a?token=x y HTTP/1.1" 500 6 "-" "x"', 1795292521, "POST /a", 500),
        # Names of users and requests are what a visitor sends; Nginx writes a quote in them as \x22.
        ('a - [x] y [21/Nov/2026:20:22:01 +0000] "\\x22 500 " 404 6 "-" "x"', 1795292521, "\\x22 500", 404),
    ],
)
def test_a_line_of_the_access_log_is_read(text: str, seconds: float, request_: str, status: int) -> None:
    """Promise: time in any zone, request without its query, status; nothing that a visitor sends is taken for them."""
    assert parse(text) == (seconds, request_, status)


@pytest.mark.parametrize(
    "text", ["", "a", '"" ""', '- - [x] "GET / HTTP/1.1" 200 6', 'a [21/Foo/2026:1:2:3 +0000] "G" 200']
)
def test_a_line_in_another_format_is_no_answer(text: str) -> None:
    """Promise: a site with a log format of its own is watched by its health alone, and nothing breaks."""
    assert parse(text) is None


@pytest.mark.parametrize(
    ("now", "before", "is_worse"),
    [
        pytest.param(Rate(100, 50), Rate(1000, 0), True, id="half fail, none did"),
        pytest.param(Rate(100, 5), Rate(1000, 0), True, id="at the threshold"),
        pytest.param(Rate(100, 4), Rate(1000, 0), False, id="below the threshold"),
        pytest.param(Rate(19, 19), Rate(1000, 0), False, id="too few requests"),
        pytest.param(Rate(20, 20), Rate(0, 0), True, id="nobody came before"),
        pytest.param(Rate(20, 2), Rate(1000, 0), False, id="two may be one visitor who tries again"),
        pytest.param(Rate(100, 19), Rate(1000, 100), False, id="failed before as well"),
        pytest.param(Rate(100, 20), Rate(1000, 100), True, id="twice what failed before"),
        pytest.param(Rate(100, 100), Rate(1000, 1000), False, id="nothing to lose"),
        pytest.param(Rate(0, 0), Rate(0, 0), False, id="no visitors"),
    ],
)
def test_a_release_is_worse_by_threshold_and_by_comparison(now: Rate, before: Rate, *, is_worse: bool) -> None:
    """Promise: enough requests, a rate from the threshold on, and clearly more than in the minutes before."""
    assert (worse(now, before, LIMITS) is not None) == is_worse


def test_the_reason_has_the_numbers_and_names_the_setting() -> None:
    """Promise: a person reads what was counted, against what, and which setting decides."""
    why = worse(Rate(60, 30), Rate(200, 1), LIMITS)
    assert why == (
        "since the switch 30 of 60 (50.0 %) requests were answered with 5xx, in the 5 minutes before it 1 of 200 "
        "(0.5 %) (flaskhost:app.watch: from 20 requests and 5 % on)"
    )


def test_only_what_comes_after_the_switch_counts_for_the_release(tmp_path: Path) -> None:
    """Promise: the log is read from where it stood, whole lines only."""
    path = tmp_path / "access.log"
    path.write_text(line(500))
    log = AccessLog(path)
    with path.open("a") as file:
        file.write(line(200) + line(404)[:30])
    assert [answer.status for answer in log.added()] == [200]
    with path.open("a") as file:
        file.write(line(404)[30:])
    assert [answer.status for answer in log.added()] == [404]
    assert list(log.added()) == []
    log.close()


def test_a_rotation_loses_no_answer(tmp_path: Path) -> None:
    """Promise: Nginx writes to the old file until the new one is open; both are read, and one emptied in place."""
    path = tmp_path / "access.log"
    path.write_text(line(200) * 9)
    log = AccessLog(path)
    old = path.open("a")
    path.rename(tmp_path / "access.log.1")
    old.write(line(201))
    old.flush()
    assert [answer.status for answer in log.added()] == [201]
    path.write_text(line(202))
    old.write(line(203))
    old.close()
    assert sorted(answer.status for answer in log.added()) == [202, 203]
    path.write_text("")
    assert list(log.added()) == []
    path.write_text(line(204))
    assert [answer.status for answer in log.added()] == [204]
    assert [answer.status for answer in log.before(0)] == [200] * 9
    log.close()


def test_a_log_that_is_not_there_yet_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Promise: a site that nobody has visited has no log, and nothing to compare with."""
    log = AccessLog(tmp_path / "access.log")
    (tmp_path / "access.log").write_text(line(500))
    assert [answer.status for answer in log.added()] == [500]
    assert log.before(0) == []
    log.close()


def test_the_minutes_before_are_read_from_the_end_of_a_big_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: no more is read than some megabytes, nor what is older than the minutes that count."""
    path = tmp_path / "access.log"
    path.write_text(line(500, seconds=1000) + line(404, seconds=2000) + line(200, seconds=3000) * 3)
    log = AccessLog(path)
    assert [answer.status for answer in log.before(since=2000)] == [404, 200, 200, 200]
    monkeypatch.setattr(watch, "MOST_BYTES", len(line()) * 2 + 20)
    assert [answer.status for answer in log.before(since=0)] == [200, 200]
    log.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the watch look often."""
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.005)


def held(
    tmp_path: Path, answers: Callable[[int], tuple[int, str] | None], gone: str | None = None, seconds: float = 0.02
) -> dict[str, Any]:
    """Watch an application that answers so, and that is gone for that reason; return the evidence."""
    limits = LIMITS._replace(seconds=seconds)
    with serving(tmp_path / "a.sock", answers), closing(Watch(tmp_path / "access.log", limits)) as watching:
        watching.hold(tmp_path / "a.sock", CHECK, lambda: gone, Progress())
        return watching.evidence()


@pytest.mark.usefixtures("quick")
def test_a_healthy_release_is_watched_to_the_end(tmp_path: Path) -> None:
    """Promise: it stays, and what was seen is there in numbers."""
    evidence = held(tmp_path, lambda _n: (200, "ok"))
    assert evidence["since"] == {"requests": 0, "errors": 0, "percent": 0.0}
    assert evidence["unhealthy_answers"] == []


@pytest.mark.usefixtures("quick")
def test_one_bad_answer_is_no_sick_release(tmp_path: Path) -> None:
    """Promise: health counts when it is wrong several times in a row; one that comes back stays."""
    held(tmp_path, lambda n: (500, "busy") if n in (1, 2, 4) else (200, "ok"))


@pytest.mark.usefixtures("quick")
def test_a_release_that_is_not_healthy_any_more_is_worse(tmp_path: Path) -> None:
    """Promise: also where it begins with the last look: the watch does not end in doubt."""
    with pytest.raises(
        Failure, match="not healthy any more, 3 times in a row: wanted 200 from /health, last seen: 503 no database"
    ):
        held(tmp_path, lambda _n: (503, "no database"), seconds=0.001)


@pytest.mark.usefixtures("quick")
def test_a_release_that_does_not_stay_up_is_worse(tmp_path: Path) -> None:
    """Promise: a restart is enough; the reason is systemd's."""
    with pytest.raises(Failure, match=r"does not stay up: its service ended with status 1"):
        held(tmp_path, lambda _n: (200, "ok"), gone="its service ended with status 1")


@pytest.fixture
def going(ready: Server, quick: None) -> Server:
    """Return a server on which v1 serves, and an access log with some good answers."""
    assert quick is None
    ready.release("v1")
    log = ready.root / "var/log/nginx/guestbook-access.log"
    log.write_text(line(200) * 40)
    return ready


def fails_for_visitors(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have visitors get 500 from now on, as the log tells, from the moment that a release is proven."""
    from flaskhost.verbs import switch  # noqa: PLC0415 - the name would hide the word in this module

    real = switch._prove  # noqa: SLF001 - the moment between proof and watch

    def prove(move: Any, progress: Progress) -> None:
        real(move, progress)
        with (server.root / "var/log/nginx/guestbook-access.log").open("a") as file:
            file.write(line(500, f"GET /pay/{scenario.CANARY}?card=1 HTTP/1.1") * 30)

    monkeypatch.setattr(switch, "_prove", prove)


WATCHING = {"seconds": 5, "requests": 20, "errors": 5}


def test_a_release_that_fails_visitors_goes_back_by_itself(going: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the release before serves again, it never stopped, and the failed one is marked and stopped."""
    before = releases.active(going.paths)
    plan = going.release("v2", until="stage")
    fails_for_visitors(going, monkeypatch)
    going.calls()
    with pytest.raises(Failure, match=r"(?s)^since the switch 30 of 30 .*\nv1.0.0 \(.{8}\) serves as before\n") as said:
        going.do(plan.switch, watch=WATCHING)
    now = releases.active(going.paths)
    assert before is not None
    assert now is not None
    assert now.digest == before.digest
    assert layout.service("guestbook", "blue") in going.active()
    assert layout.service("guestbook", "green") not in going.active()
    assert not any("stop" in call and "@blue" in call for call in going.acted())
    assert releases.read(going.paths, plan.release).facts["failed"]
    assert "0 of 40 (0.0 %)" in str(said.value)
    event = releases.events(going.paths)[-1]
    assert (event["event"], event["result"], event["serves"]) == ("switch", "failed", before.digest)


def test_a_process_that_is_restarted_takes_its_release_back(
    ready: Server, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a worker that dies after its settle time is named, and the workers before run again."""
    assert quick is None
    moving: dict[str, Any] = {"app__processes": {"worker": {"command": "work", "settle": 0}}}
    ready.release("v1", **moving)
    plan = ready.release("v2", until="stage", **moving)
    unit = "guestbook-worker-1@green.service"
    monkeypatch.setattr(Watch, "_ask", lambda *_: ready.set(f"facts/{unit}", "NRestarts=1\n"))
    with pytest.raises(Failure, match=f"does not stay up: the process {unit} has ended and was started again"):
        ready.do(plan.switch, watch=WATCHING)
    assert "guestbook-worker-1@blue.service" in ready.active()
    assert unit not in ready.active()


def test_an_incident_is_kept_and_printed_without_any_secret(going: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: record and page have reason, numbers, log and what serves; queries and secrets are nowhere."""
    plan = going.release("v2", until="stage")
    fails_for_visitors(going, monkeypatch)
    said = (
        ' - - [21/Nov/2026:20:22:01 +0000] "GET /pay?card=1 HTTP/1.1" 500 6 "-" "-"',
        f"KeyError: {scenario.CANARY}",
    )
    going.set("journal", "".join(json.dumps({"MESSAGE": text, "_PID": "1"}) + "\n" for text in said))
    with pytest.raises(Failure) as failed:
        going.do(plan.switch, watch=WATCHING)
    record = incidents.last(going.paths)
    assert record is not None
    page = Path(record["page"])
    assert page.read_text() in str(failed.value)
    assert str(page) in str(failed.value)
    assert record["release"]["release"] == plan.release
    assert record["evidence"]["since"] == {"requests": 30, "errors": 30, "percent": 100.0}
    assert record["evidence"]["before"] == {"minutes": 5, "requests": 40, "errors": 0, "percent": 0.0}
    assert record["evidence"]["failed_requests"] == {"GET /pay/[secret] 500": 30}
    assert record["log"] == ["KeyError: [secret]"]
    assert record["serves"]["slot"] == "blue"
    for path in going.paths.incidents.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640
        assert scenario.CANARY not in path.read_text()
        assert "card=1" not in path.read_text()
    assert going.paths.incidents.stat().st_mode & 0o777 == 0o750
    assert list(going.paths.strangers()) == []
    going.paths.incidents.chmod(0o777)
    assert str(going.paths.incidents) in owners.restore(going.paths)
    assert going.paths.incidents.stat().st_mode & 0o777 == 0o750


def test_the_newest_incidents_stay(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a host does not fill up with them."""
    monkeypatch.setattr(incidents, "KEPT", 2)
    plan = ready.release("v1", until="stage")
    ready.paths.incidents.mkdir()
    for name in ("2026-01-01-000000-v1", "2026-01-02-000000-v1"):
        for suffix in (".json", ".md"):
            (ready.paths.incidents / f"{name}{suffix}").touch()
    evidence = {"seconds": 1, "since": Rate().written(), "before": {"minutes": 5, **Rate().written()}}
    evidence.update(failed_requests={}, unhealthy_answers=[])
    release = {"release": plan.release, "version": "a/b c", "slot": "blue", "journal": "x"}
    incident = incidents.Incident("guestbook", release, release, "why", evidence, "stays", [], [])
    incidents.keep(ready.paths, incident, Progress().scrubber)
    kept = sorted(path.name for path in ready.paths.incidents.iterdir())
    assert [name for name in kept if name.startswith("2026-01")] == [
        f"2026-01-02-000000-v1{end}" for end in (".json", ".md")
    ]
    assert len(kept) == 4
    assert kept[-1].endswith("-a-b-c.md")


def test_the_way_back_goes_on_where_no_record_can_be_kept(going: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: also on a full disk the release before serves, the other one is stopped, and the reason is told."""
    plan = going.release("v2", until="stage")
    fails_for_visitors(going, monkeypatch)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(incidents, "keep", full)
    with pytest.raises(Failure, match=r"(?s)since the switch 30 of 30.*serves as before.*No space left on device"):
        going.do(plan.switch, watch=WATCHING)
    assert going.paths.active_slot() == "blue"
    assert layout.service("guestbook", "green") not in going.active()


@pytest.mark.parametrize("case", ["first deploy", "active already", "nothing to watch", "the one before is stopped"])
def test_what_cannot_go_back_is_not_watched(ready: Server, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Promise: no time is lost where no release before could serve, nor with `seconds: 0`."""

    def hold(*_: object) -> None:
        raise AssertionError("was watched")

    monkeypatch.setattr(Watch, "hold", hold)
    plan = ready.release("v1", until="stage" if case == "first deploy" else "switch")
    if case in ("nothing to watch", "the one before is stopped"):
        plan = ready.release("v2", until="stage")
    if case == "the one before is stopped":
        (ready.fakes / "active/guestbook-gunicorn@blue.service").unlink()
    ready.do(plan.switch, watch={**WATCHING, "seconds": 0} if case == "nothing to watch" else WATCHING)


def test_a_kill_during_the_watch_is_finished_by_the_next_up(going: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the new release stays active, and the slot before is stopped without another watch."""

    class Killed(BaseException):
        """What a SIGKILL is in a test."""

    def hold(*_: object) -> None:
        raise Killed

    plan = going.release("v2", until="stage")
    with monkeypatch.context() as patched:
        patched.setattr(Watch, "hold", hold)
        with pytest.raises(Killed):
            going.do(plan.switch, watch=WATCHING)
    assert going.paths.active_slot() == "green"
    assert layout.service("guestbook", "blue") in going.active()
    going.do(plan.switch, watch={**WATCHING, "seconds": 3600})
    assert going.paths.active_slot() == "green"
    assert layout.service("guestbook", "blue") not in going.active()
