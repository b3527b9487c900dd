"""`flaskhost connections` and `refresh`: what AWS keeps is in the environment, also when AWS has changed it."""

from __future__ import annotations

import fcntl
import json
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2
import pytest
from flaskhost import __main__ as command
from flaskhost import connections as values
from flaskhost import document, envfile, fence, maintenance, releases, slots
from flaskhost.files import remove
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import connections as verb
from flaskhost.verbs import drift, rollback, status, switch, teardown

import document as writer
import rendering
from tests.components import scenario
from tests.host.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.host.conftest import Server

ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf"
URL = "postgresql://{username}:{password}@db.example:5432/guestbook?sslmode=require"
PASSWORD = "p@ss/w:rd%20$1`\"'&"
ENCODED = "p%40ss%2Fw%3Ard%2520%241%60%22%27%26"
UNITS = ("guestbook-connections.timer", "guestbook-connections.service")
VALUES = {"MEDIA_BUCKET": "guestbook-media", "REDIS_URL": "rediss://cache.example:6379/0"}
SECRETS = {"DATABASE_URL": {"secret": ARN, "url": URL}}


class RefusedError(Exception):
    """What botocore raises."""

    def __init__(self, code: str) -> None:
        """Say it as AWS does."""
        super().__init__(f"An error occurred ({code}) when calling the GetSecretValue operation:\nnot now")
        self.response = {"Error": {"Code": code}}


class Aws:
    """AWS Secrets Manager, as boto3 shows it."""

    def __init__(self) -> None:
        """Have one secret."""
        self.fields: dict[str, Any] = {"username": "guestbook", "password": PASSWORD}
        self.text: str | None = None
        self.refusals: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.clients = 0

    def client(self, region: str) -> SimpleNamespace:
        """Return a client."""
        self.clients += 1

        def get(SecretId: str) -> dict[str, str]:  # noqa: N803 - AWS's name
            self.asked.append((region, SecretId))
            if self.refusals:
                raise RefusedError(self.refusals.pop(0))
            return {"SecretString": json.dumps(self.fields) if self.text is None else self.text}

        return SimpleNamespace(get_secret_value=get)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    """Have the library of AWS, which is not on this machine; nobody waits long."""
    found = Aws()
    session, config = ModuleType("boto3.session"), ModuleType("botocore.config")
    made = lambda region_name: SimpleNamespace(client=lambda _name, config: found.client(region_name))  # noqa: ARG005, E731
    session.Session = made  # type: ignore[attr-defined]
    config.Config = lambda **_limits: None  # type: ignore[attr-defined]
    for name, module in (("boto3.session", session), ("botocore.config", config)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("boto3", "botocore"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(values, "PAUSE_SECONDS", 0.0)
    return found


def unit(kind: str) -> str:
    """Return the text of a unit."""
    folder = jinja2.FileSystemLoader(rendering.ROOT / "templates/etc/systemd/system")
    environment = jinja2.Environment(loader=folder, undefined=jinja2.StrictUndefined, keep_trailing_newline=True,
                                     autoescape=False)  # noqa: S701 - a unit is no HTML  # fmt: skip
    return environment.get_template(f"app-connections.{kind}.j2").render(app="guestbook")


def text(plain: dict[str, str] | None = None, secrets: dict[str, Any] | None = None) -> str:
    """Return the document; with neither, that of a stack that has all of it."""
    if plain is None and secrets is None:
        plain, secrets = VALUES, SECRETS
    wish = {"region": "eu-central-1", "values": plain or {}, "secrets": secrets or {}}
    files = {f"/etc/systemd/system/guestbook-connections.{kind}": unit(kind) for kind in ("timer", "service")}
    return writer.write("connections", "guestbook", wish, files)


def environment(server: Server) -> dict[str, str]:
    """Return the environment of the active release."""
    return envfile.parse((server.paths.active / "env").read_text())


def active(server: Server) -> releases.Release:
    """Return the active release."""
    now = releases.active(server.paths)
    assert now is not None
    return now


def refresh(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Do what the timer does; return the exit status and what was said."""
    capsys.readouterr()
    done = command.main(["refresh", "guestbook"])
    said = capsys.readouterr()
    return done, said.out + said.err


def events(server: Server) -> list[tuple[str, str | None]]:
    """Return what releases.log tells."""
    return [(event["event"], event.get("result")) for event in releases.events(server.paths)]


@pytest.fixture
def connected(ready: Server, aws: Aws) -> Server:
    """Return a server with connections, and a release that has them."""
    assert aws.fields
    ready.do(text())
    ready.release()
    made_for_them(ready)
    ready.calls()
    return ready


def made_for_them(server: Server) -> None:
    """Have the active release one that its stack has made for these variables."""
    active(server).update(connections=sorted([*VALUES, *SECRETS]))


def test_a_release_has_what_the_stack_connects_it_to(ready: Server, aws: Aws) -> None:
    """Promise: plain values and URLs with the password in them, written as a URL needs it, beside its own variables."""
    done = ready.do(text())
    assert done == {"changed": True, "restarted": False, "why": "no release serves yet"}
    assert aws.asked == [("eu-central-1", ARN)]
    ready.release()
    url = f"postgresql://guestbook:{ENCODED}@db.example:5432/guestbook?sslmode=require"
    wanted = {**VALUES, "DATABASE_URL": url, "SITE_TITLE": "Guestbook", "SECRET_KEY": scenario.CANARY}
    assert environment(ready) == wanted
    assert ready.paths.connections.read_text().split("\n")[1] == "# secret: DATABASE_URL"
    assert (ready.paths.active / "env").read_text().split("\n")[1] == "# secret: DATABASE_URL SECRET_KEY"


def test_they_are_kept_for_root_alone(connected: Server) -> None:
    """Promise: what is asked for, what AWS has said, and nothing of it is said again anywhere."""
    for name in ("connections.json", "connections.env"):
        assert (connected.paths.etc / name).stat().st_mode & 0o777 == 0o600
    assert json.loads((connected.paths.etc / "connections.json").read_text())["secrets"] == SECRETS
    seen = [connected.said.getvalue(), *connected.calls(), status.told(status.status("guestbook"))]
    seen += [json.dumps(status.status("guestbook")), connected.paths.log.read_text()]
    seen += [path.read_text() for path in (connected.paths.etc / "written").iterdir()]
    for secret in (PASSWORD, ENCODED, json.dumps(PASSWORD)[1:-1]):
        assert all(secret not in text for text in seen)
    assert {PASSWORD, ENCODED} & set(envfile.secrets_of(connected.paths)) == set()
    assert any(ENCODED in value for value in envfile.secrets_of(connected.paths))


def test_a_second_time_changes_nothing(connected: Server) -> None:
    """Promise: it may be done at every `up`."""
    before = connected.tree()
    assert connected.do(text()) == {"changed": False, "restarted": False}
    assert connected.acted() == []
    assert connected.tree() == before


def test_a_release_without_connections_has_the_file_that_was_sent(ready: Server) -> None:
    """Promise: elsewhere than on AWS nothing is different, to the byte."""
    plan = ready.release()
    sent = document.parse(plan.environment).file("env")
    assert (ready.paths.active / "env").read_text() == sent
    assert status.status("guestbook")["connections"] is None


@pytest.mark.parametrize("first", [True, False])
def test_the_timer_runs_where_there_are_secrets(ready: Server, aws: Aws, *, first: bool) -> None:
    """Promise: where nothing can change there is none, also where there was one before."""
    assert aws.fields
    if first:
        ready.do(text())
        assert set(UNITS[:1]) <= set(ready.active())
        assert (ready.fakes / "enabled" / UNITS[0]).exists()
    ready.do(text(VALUES))
    assert not any((ready.paths.units / name).exists() for name in UNITS)
    assert UNITS[0] not in ready.active()
    assert not (ready.fakes / "enabled" / UNITS[0]).exists()
    assert "MEDIA_BUCKET" in ready.paths.connections.read_text()


def test_values_alone_ask_nobody(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a stack without a managed database needs neither the package nor a role."""
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    assert ready.do(text(VALUES))["changed"] is True


def test_a_missing_package_is_named(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the message has the package and the command."""
    monkeypatch.setitem(sys.modules, "boto3.session", None)
    with pytest.raises(Failure, match="python3-boto3 is not on this host"):
        ready.do(text())


def test_a_stack_without_connections_leaves_nothing(connected: Server) -> None:
    """Promise: units and files go at once, and the variables with the release that comes without them."""
    done = connected.do(text({}, {}))
    assert (done["changed"], done["restarted"]) == (True, False)
    left = [path.name for path in connected.paths.etc.rglob("connections*")]
    assert left == []
    assert not any((connected.paths.units / name).exists() for name in UNITS)
    assert drift.drift("guestbook", Progress(connected.said))["differences"] == []
    connected.release(env__SITE_TITLE="another")
    assert "DATABASE_URL" not in environment(connected)
    connected.calls()
    assert connected.do(text({}, {})) == {"changed": False, "restarted": False}
    assert connected.acted() == []


@pytest.mark.parametrize("now", [{}, {"CACHE_URL": "rediss://elsewhere"}, {**VALUES, "FURTHER": "1"}])
def test_a_release_that_was_made_for_other_variables_is_left_alone(
    connected: Server, now: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: neither the step nor the timer starts old code with what only the code after it knows."""
    before = environment(connected)
    assert connected.do(text(now, SECRETS))["restarted"] is False
    assert refresh(capsys)[0] == 0
    assert environment(connected) == before
    assert connected.acted() == []


def test_a_role_that_is_not_there_yet_is_waited_for(ready: Server, aws: Aws) -> None:
    """Promise: AWS takes some seconds for a role that was just made; each try looks for it anew."""
    aws.refusals = ["AccessDeniedException", "ExpiredTokenException"]
    assert ready.do(text())["changed"] is True
    assert (len(aws.asked), aws.clients) == (3, 3)
    assert f"does not hand out {ARN} yet (AccessDeniedException)" in ready.said.getvalue()


def test_a_refusal_is_said_with_arn_code_and_next_step(ready: Server, aws: Aws) -> None:
    """Promise: in one line; nothing is written."""
    aws.refusals = ["AccessDeniedException"] * values.TRIES
    before = ready.tree()
    with pytest.raises(Failure, match="AccessDeniedException") as refused:
        ready.do(text())
    said = str(refused.value)
    assert ARN in said
    assert "secretsmanager:GetSecretValue" in said
    assert "\n" not in said
    assert ready.tree() == before


def test_what_will_not_change_is_not_asked_again(ready: Server, aws: Aws) -> None:
    """Promise: a secret that does not exist is an error at once."""
    aws.refusals = ["ResourceNotFoundException"] * 2
    with pytest.raises(Failure, match="ResourceNotFoundException"):
        ready.do(text())
    assert len(aws.asked) == 1


@pytest.mark.parametrize(
    ("kept", "words"),
    [("no JSON " + PASSWORD, "is no JSON object"), ('["a"]', "is no JSON"), ('{"username": "a"}', "has no 'password'")],
)
def test_a_secret_of_another_kind_is_refused_without_its_text(ready: Server, aws: Aws, kept: str, words: str) -> None:
    """Promise: the message says what is missing and not what is there."""
    aws.text = kept
    with pytest.raises(Failure, match=words) as refused:
        ready.do(text())
    assert PASSWORD not in str(refused.value)


def test_braces_in_a_password_stay_what_they_are(ready: Server, aws: Aws) -> None:
    """Promise: fields are put in once, whatever they hold."""
    aws.fields = {"username": "{password}", "password": "{username}"}
    ready.do(text())
    found = envfile.parse(ready.paths.connections.read_text())["DATABASE_URL"]
    assert found.startswith("postgresql://%7Bpassword%7D:%7Busername%7D@")


def test_an_unchanged_secret_is_no_event(connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: each minute, without a word and without a lock."""
    before = connected.tree()
    with (connected.paths.state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert refresh(capsys) == (0, "")
    assert aws.asked[-1] == ("eu-central-1", ARN)
    assert connected.tree() == before
    assert connected.acted() == []


def test_a_changed_secret_reaches_the_release_that_serves(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the same release starts beside itself, is proved, and takes over; then the one before ends."""
    served = active(connected).digest
    assert connected.paths.active_slot() == "blue"
    aws.fields["password"] = "rotated"
    assert refresh(capsys)[0] == 0
    assert (active(connected).digest, connected.paths.active_slot()) == (served, "green")
    assert ":rotated@" in environment(connected)["DATABASE_URL"]
    assert "guestbook-gunicorn@green.service" in connected.active()
    assert "guestbook-gunicorn@blue.service" not in connected.active()
    assert ("connections", None) in events(connected)
    assert drift.drift("guestbook", Progress(connected.said))["differences"] == []
    connected.calls()
    assert refresh(capsys) == (0, "")
    assert connected.acted() == []
    aws.fields["password"] = "once more"
    refresh(capsys)
    assert connected.paths.active_slot() == "blue"
    assert ":once%20more@" in environment(connected)["DATABASE_URL"]


def test_a_restart_is_no_release(connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: `rollback` still goes to what served before, with the connections of now."""
    first = active(connected).digest
    connected.release("v2")
    aws.fields["password"] = "rotated"
    refresh(capsys)
    assert status.status("guestbook")["disagreement"] is None
    asked = document.parse(rollback.ask("guestbook", None, Progress(connected.said)))
    rollback.rollback(asked, Progress(connected.said))
    assert active(connected).digest == first
    assert ":rotated@" in environment(connected)["DATABASE_URL"]


def test_an_earlier_release_that_is_staged_again_has_the_connections_of_now(connected: Server, aws: Aws) -> None:
    """Promise: also where its slot still holds it as it was."""
    first = scenario.plan(connected.code("v1"))
    connected.release("v2")
    aws.fields["password"] = "rotated"
    connected.do(text())
    connected.do(first.stage)
    connected.do(first.switch)
    assert active(connected).digest == first.release
    assert ":rotated@" in environment(connected)["DATABASE_URL"]


def test_a_name_that_is_in_both_is_that_of_the_connections(ready: Server, aws: Aws) -> None:
    """Promise: the settings refuse it; a host that has an older environment goes by what is now."""
    assert aws.fields
    ready.do(text({"SITE_TITLE": "of AWS"}, {}))
    ready.release()
    assert environment(ready)["SITE_TITLE"] == "of AWS"


def failing(server: Server, slot: str = "green") -> Any:
    """Have the application not healthy in a slot."""
    remove(server.paths.socket(slot))
    return serving(server.paths.socket(slot), lambda _n: (500, "no database"))


def test_visitors_stay_on_what_works(connected: Server, aws: Aws) -> None:
    """Promise: the step succeeds and says why; the environment that serves is as it was, should it be started again."""
    before, release = environment(connected), active(connected)
    aws.fields["password"] = "wrong"
    with failing(connected):
        done = connected.do(text())
    assert (done["changed"], done["restarted"]) == (True, False)
    assert "500" in done["why"]
    assert "\n" not in done["why"]
    assert connected.paths.active_slot() == "blue"
    assert environment(connected) == before
    assert {key: active(connected).facts.get(key) for key in ("failed", "altered")} == {"failed": None, "altered": None}
    assert active(connected).digest == release.digest
    assert "was not started with the new values" in connected.said.getvalue()
    assert "wrong" not in connected.said.getvalue().replace("what is wrong", "")
    assert drift.drift("guestbook", Progress(connected.said))["differences"] == []
    told = status.status("guestbook")
    assert told["connections"]["waiting"]["why"] == done["why"]
    assert "new values wait" in status.told(told)


def test_a_later_release_has_what_the_one_before_could_not_use(connected: Server, aws: Aws) -> None:
    """Promise: code that needs the new values comes with them, and nothing waits any more."""
    aws.fields["password"] = "for v2"
    with failing(connected):
        connected.do(text())
    with serving(connected.paths.socket("green")):
        connected.release("v2")
    assert ":for%20v2@" in environment(connected)["DATABASE_URL"]
    assert connected.do(text()) == {"changed": False, "restarted": False}
    assert status.status("guestbook")["connections"]["waiting"] is None


def test_what_did_not_come_up_is_tried_again_after_a_while(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: at the next minute, then less and less often, and the timer says nothing meanwhile."""
    clock = SimpleNamespace(now=time.time())
    monkeypatch.setattr(time, "time", lambda: clock.now)
    aws.fields["password"] = "early"
    with failing(connected):
        refresh(capsys)
        for pause in (50, 100, 200, 400, 600, 600):
            clock.now += pause - 1
            assert refresh(capsys) == (0, "")
            clock.now += 1
            assert "was not started" in refresh(capsys)[1]
    clock.now += 600
    with serving(connected.paths.socket("green")):
        assert refresh(capsys)[0] == 0
    assert ":early@" in environment(connected)["DATABASE_URL"]
    assert values.waiting(connected.paths) is None


@pytest.mark.parametrize("point", ["keep", "compose", "point"])
def test_a_killed_try_is_finished_by_the_next(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Promise: what serves ends up with the values of now, wherever the kill came."""
    aws.fields["password"] = "rotated"

    def killed(*_words: object, **_more: object) -> None:
        raise KeyboardInterrupt

    places = {"keep": (verb, "_bring"), "compose": (switch, "activate"), "point": (slots, "retire_idle")}
    with monkeypatch.context() as patched:
        patched.setattr(*places[point], killed)
        assert refresh(capsys)[0] == 130
    assert refresh(capsys)[0] == 0
    assert ":rotated@" in environment(connected)["DATABASE_URL"]
    aws.fields["password"] = "and again"
    assert refresh(capsys)[0] == 0
    assert ":and%20again@" in environment(connected)["DATABASE_URL"]
    started = [call for call in connected.calls() if "start --no-block guestbook-gunicorn@" in call]
    # What a kill has left running with the password in between is not taken for the one with that of now.
    assert len(started) == 2


def test_a_refusal_changes_nothing_and_is_one_line(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: exit status 1, for whoever watches the unit; the application runs on."""
    aws.refusals = ["InternalServiceError"] * 10
    before = connected.tree()
    done, said = refresh(capsys)
    assert done == 1
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert "InternalServiceError" in said
    assert connected.tree() == before


def test_there_is_nothing_to_refresh_without_connections(ready: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: a timer that is left over does no harm."""
    assert ready.paths.etc.exists()
    assert refresh(capsys) == (0, "")


def test_an_application_that_is_stopped_stays_stopped(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: by a person, or for a migration; it has the values of now when it is started."""
    remove(connected.fakes / "active/guestbook-gunicorn@blue.service")
    aws.fields["password"] = "rotated"
    assert refresh(capsys)[0] == 0
    assert ":rotated@" in environment(connected)["DATABASE_URL"]
    assert not [unit for unit in connected.active() if unit.endswith(".service") and "gunicorn" in unit]
    assert refresh(capsys) == (0, "")


def test_a_page_that_stands_is_not_taken_away(connected: Server, aws: Aws) -> None:
    """Promise: who has put it up ends it."""
    maintenance._keep(connected.paths, {"since": "now", "begun": True, "before": None, "release": "x"})  # noqa: SLF001
    aws.fields["password"] = "rotated"
    assert connected.do(text())["why"] == "the maintenance page stands"
    assert maintenance.state(connected.paths) is not None


def after_an_answer(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen whenever AWS has answered, and before anything is made of it."""
    ask = values.ask

    def slowly(*words: Any) -> str:
        found = ask(*words)
        happens()
        return found

    monkeypatch.setattr(values, "ask", slowly)


def test_an_up_meanwhile_counts_more(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what AWS has said of an earlier document is not written over a later one."""
    aws.fields["password"] = "rotated"
    later = {"region": "eu-central-1", "values": {"A": "b"}, "secrets": {}}
    after_an_answer(monkeypatch, lambda: values.want(connected.paths, later))
    before = connected.paths.connections.read_text()
    assert refresh(capsys) == (0, "")
    assert connected.paths.connections.read_text() == before


def test_what_an_up_was_told_meanwhile_is_not_written_over_by_what_is_older(
    connected: Server, aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a change of the secret in the time that a lock is waited for does not come back as the one before."""
    aws.fields["password"] = "rotated"
    after_an_answer(monkeypatch, lambda: aws.fields.update(password="rotated-twice"))
    assert refresh(capsys)[0] == 0
    assert ":rotated-twice@" in environment(connected)["DATABASE_URL"]


@pytest.mark.parametrize("what", ["connections.env", "connections.json"])
def test_a_change_by_hand_is_drift_without_its_text(connected: Server, what: str) -> None:
    """Promise: it is told as that of the environment is: that, and not what."""
    (connected.paths.etc / what).write_text("by hand\n")
    remove(connected.fakes / "active" / UNITS[0])
    found = {one["what"]: one for one in drift.drift("guestbook", Progress(connected.said))["differences"]}
    assert found[str(connected.paths.etc / what)]["how"] == "has another content"
    assert found[str(connected.paths.etc / what)]["detail"] == ""
    assert found[UNITS[0]]["how"] == "is inactive instead of active"


def test_nothing_is_left_of_them_with_the_application(connected: Server) -> None:
    """Promise: no timer asks AWS any more, and no password is on the host."""
    teardown.by_hand("guestbook", Progress(connected.said), purge=True)
    assert not any((connected.paths.units / name).exists() for name in UNITS)
    assert not [name for name in connected.active() if "connections" in name]
    left: list[Path] = [path for path in connected.root.rglob("*") if path.is_file() and "fakes" not in path.parts]
    assert not [path for path in left if ENCODED in path.read_text(errors="replace")]


def test_units_that_are_somebody_elses_stay(ready: Server, aws: Aws) -> None:
    """Promise: they are named, and nothing is written."""
    assert aws.fields
    (ready.paths.units / UNITS[0]).write_text("[Timer]\n")
    with pytest.raises(Failure, match="not made by flaskhost"):
        ready.do(text())
    assert (ready.paths.units / UNITS[0]).read_text() == "[Timer]\n"
    assert not ready.paths.connections.exists()


def test_the_units_say_what_they_belong_to() -> None:
    """Promise: a restart of a release has the time that it needs, and whoever waits for it is told its unit."""
    service, timer = unit("service"), unit("timer")
    for one in (service, timer):
        assert "\nDescription=guestbook: " in one
    for line in ("ExecStart=/usr/local/bin/flaskhost refresh guestbook", "Environment=FLASKHOST_UNIT=%n", "Nice=5",
                 "After=network-online.target", "ProtectHome=yes"):  # fmt: skip
        assert line in service.splitlines()
    for line in ("OnBootSec=60", "OnUnitActiveSec=60", "WantedBy=timers.target"):
        assert line in timer.splitlines()


def test_development_is_started_anew(server: Server, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: there are no slots there: the one unit is started again, with what it then reads."""
    monkeypatch.setattr(fence, "public_addresses", list)
    monkeypatch.setattr("flaskhost.verbs.development._checks", lambda *_words: {})
    monkeypatch.setattr("flaskhost.verbs.development._healthy", lambda *_words: None)
    server.uv()
    source = server.code("v1")
    plan = scenario.plan(source, stack="dev", app__mode="development")
    server.do(plan.base)
    server.do(text())
    for step in (plan.environment, plan.prepare, plan.stage, plan.switch):
        server.do(step, **({"archive": str(source.archive)} if step == plan.prepare else {}))
    made_for_them(server)
    assert f":{ENCODED}@" in environment(server)["DATABASE_URL"]
    aws.fields["password"] = "rotated"
    server.calls()
    assert server.do(text())["restarted"] is True
    assert "systemctl restart guestbook.service" in server.acted()
    assert ":rotated@" in environment(server)["DATABASE_URL"]
    assert server.do(text()) == {"changed": False, "restarted": False}
    assert server.acted() == []


def test_it_is_a_step_as_others_are() -> None:
    """Promise: `flaskhost connections APP` is what `up` calls, and a rollback by hand waits for it."""
    assert command.STEPS["connections"] == ("connections",)
    assert {"volume", "connections"} <= set(rollback.STEPS)
