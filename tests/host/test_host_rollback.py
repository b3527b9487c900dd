"""`flaskhost rollback`, and what `status` and `releases` say of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import __main__ as command
from flaskhost import document, layout, releases, systemd, wanted
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import rollback, status

from tests.host.conftest import serving

if TYPE_CHECKING:
    from tests.host.conftest import Server


def events(*lines: str) -> list[dict[str, Any]]:
    """Return a log: each line is event, release and result."""
    found = []
    for line in lines:
        event, release, *result = line.split()
        found.append({"event": event, "release": release, **({"result": result[0]} if result else {})})
        if result == ["back"]:
            found[-1].update(result="failed", serves="x")
    return found


@pytest.mark.parametrize(
    ("log", "served"),
    [
        pytest.param((), [], id="nothing yet"),
        pytest.param(("prepare a", "stage a healthy", "switch a", "stage b failed"), ["a"], id="staged is not served"),
        pytest.param(("switch a", "switch b", "switch c"), ["a", "b", "c"], id="in order"),
        pytest.param(("switch a", "switch b", "switch a"), ["b", "a"], id="up with an earlier one"),
        pytest.param(("switch a", "switch b", "switch b back"), ["a"], id="went back by itself"),
        pytest.param(("switch a", "switch b", "switch a", "switch a back"), ["a", "b"], id="an earlier one went back"),
        pytest.param(("switch a", "switch a failed"), ["a"], id="failed and stayed"),
        pytest.param(("switch a", "switch b", "switch c", "rollback b"), ["a", "b"], id="a rollback"),
        pytest.param(("switch a", "switch b", "switch c", "rollback b", "rollback a"), ["a"], id="a second rollback"),
        pytest.param(("switch a", "switch b", "rollback a", "rollback b"), ["a", "b"], id="forward again"),
        pytest.param(
            ("switch a", "switch b", "rollback a", "rollback a back"), ["a", "b"], id="a rollback that failed"
        ),
    ],
)
def test_what_served_is_read_from_the_log(log: tuple[str, ...], served: list[str]) -> None:
    """Promise: what was left by a rollback is not gone back to, so that a second one goes one further."""
    assert releases.served(events(*log)) == served


def back(server: Server, to: str | None = None) -> dict[str, Any]:
    """Do what a person types."""
    return rollback.rollback(
        document.parse(rollback.ask("guestbook", to, Progress(server.said))), Progress(server.said)
    )


def active(server: Server) -> str:
    """Return the digest of the active release."""
    now = releases.active(server.paths)
    assert now is not None
    return now.digest


def test_a_rollback_goes_to_what_served_before_and_a_second_one_further(ready: Server) -> None:
    """Promise: nothing is built, nothing removed, and the third one says that there is nothing more."""
    plans = [ready.release(content) for content in ("v1", "v2", "v3")]
    ready.calls()
    for plan in (plans[1], plans[0]):
        assert "serves now" in back(ready)["serves"]
        assert active(ready) == plan.release
    with pytest.raises(Failure, match=r"no release that served before .*`flaskhost releases guestbook`"):
        back(ready)
    assert active(ready) == plans[0].release
    assert not any(call.startswith(("uv", "systemd-run")) for call in ready.calls())
    assert len(releases.every(ready.paths)) == 3


def test_a_rollback_by_digest_goes_forward_again(ready: Server) -> None:
    """Promise: whoever has gone back too far names the release."""
    first, second = ready.release("v1"), ready.release("v2")
    back(ready)
    assert active(ready) == first.release
    back(ready, second.release[:8])
    assert active(ready) == second.release
    assert back(ready, second.release)["serves"].endswith("serves already, nothing to do")


def test_a_version_means_the_release_of_it_that_served_last(ready: Server) -> None:
    """Promise: one version may have several releases; what never served is not meant."""
    plans = [ready.release(content) for content in ("v1", "v2", "v3")]
    for plan, version in zip(plans, ("v1.0.0", "v1.0.0", "v1.1.0"), strict=True):
        releases.read(ready.paths, plan.release).update(version=version)
    back(ready, "v1.0.0")
    assert active(ready) == plans[1].release


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("v9", "there is no release 'v9' of guestbook on this host: `flaskhost releases guestbook` lists"),
        ("failed", r"cannot serve: it has failed \(2026-01-01-000000 UTC\)"),
        ("prepared", "cannot serve: it was never ready to serve here"),
    ],
)
def test_only_what_has_worked_may_serve(ready: Server, to: str, words: str) -> None:
    """Promise: unknown, failed and half-made releases are refused with the reason, and nothing changes."""
    first, second = ready.release("v1"), ready.release("v2")
    releases.read(ready.paths, first.release).update(version="failed", failed="2026-01-01-000000")
    half = ready.release("v3", until="prepare")
    releases.read(ready.paths, half.release).update(version="prepared")
    with pytest.raises(Failure, match=words):
        back(ready, to)
    with pytest.raises(Failure, match="no release that served before"):
        back(ready)
    assert active(ready) == second.release


def test_another_active_release_than_the_one_that_was_seen_is_not_left(ready: Server) -> None:
    """Promise: beside an `up` that ends meanwhile, `rollback` without a name does not take away more than was meant."""
    ready.release("v1")
    asked = document.parse(rollback.ask("guestbook", None, Progress(ready.said)))
    second = ready.release("v2")
    with pytest.raises(Failure, match="has become the active release meanwhile: nothing was changed"):
        rollback.rollback(asked, Progress(ready.said))
    assert active(ready) == second.release


@pytest.mark.parametrize("step", ["release", "site"])
def test_a_rollback_waits_for_a_running_up(ready: Server, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Promise: it says so, and how to end that `up`; a step that switches nothing is followed by one that does."""
    monkeypatch.setattr(rollback, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(rollback, "BETWEEN_SECONDS", 0.0)
    first = ready.release("v1")
    ready.release("v2")
    unit = f"flaskhost-guestbook-{step}.service"
    ready.set(f"active/{unit}")

    class Ending(Progress):
        """The `up` ends when somebody waits for it."""

        def say(self, text: str) -> None:
            super().say(text)
            if text == f"waiting for a running `pulumi up`; to end it: sudo systemctl stop {unit}":
                (ready.fakes / "active" / unit).unlink()

    asked = document.parse(rollback.ask("guestbook", first.release, Ending(ready.said)))
    assert not (ready.fakes / "active" / unit).exists()
    rollback.rollback(asked, Progress(ready.said))
    assert active(ready) == first.release


def test_a_rollback_waits_for_the_step_that_follows(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: between two steps of an `up` nothing runs for a moment, and it is waited for all the same."""
    now, steps, looked = [0.0], {5.0: "base", 7.0: "release"}, []

    def is_active(unit: str) -> bool:
        looked.append(now[0])
        return unit == f"flaskhost-guestbook-{steps.get(now[0])}.service"

    def sleep(_seconds: float) -> None:
        now[0] += 1

    ready.release("v1")
    monkeypatch.setattr(systemd, "is_active", is_active)
    monkeypatch.setattr(rollback, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    rollback.ask("guestbook", None, Progress(ready.said))
    assert looked[-1] == 0, "nothing is waited for where nothing runs"
    now[0] = 5
    rollback.ask("guestbook", None, Progress(ready.said))
    assert looked[-1] == 7 + rollback.BETWEEN_SECONDS


def test_a_release_that_is_staged_on_several_hosts_is_told(ready: Server) -> None:
    """Promise: their `up` holds no lock between stage and switch, and would go forward again unseen."""
    ready.release("v1")
    ready.release("v2")
    staged = ready.release("v3", until="stage")
    result = back(ready)
    idle = f"v1.0.0 ({staged.release[:8]}) ran in blue, and no step was at work: an `up` on several hosts may be"
    assert idle in rollback.tell(result).splitlines()[1]
    assert back(ready, staged.release)["staged"] is None


def test_a_release_that_is_not_healthy_is_no_way_back(ready: Server) -> None:
    """Promise: the same proof as in an `up`; what serves goes on."""
    ready.release("v1")
    second = ready.release("v2")
    with serving(ready.paths.socket("blue"), lambda _n: (500, "broken")), pytest.raises(Failure, match="not healthy"):
        back(ready)
    assert active(ready) == second.release


def test_host_and_stack_disagree_until_the_next_up(ready: Server) -> None:
    """Promise: `status` and `rollback` say so, with what to do; Pulumi alone could not know."""
    first, second = ready.release("v1"), ready.release("v2")
    assert status.status("guestbook")["disagreement"] is None
    said = back(ready)["disagreement"]
    assert said == status.status("guestbook")["disagreement"] == wanted.disagreement(ready.paths)
    assert f"the last `pulumi up` switched to v1.0.0 ({second.release[:8]})" in said
    assert "`make rollback STACK=... TO=N` on the workstation, with a number of `make history`" in said
    assert status.status("guestbook")["wanted"]["release"] == second.release
    ready.release("v1")
    assert active(ready) == first.release
    assert wanted.disagreement(ready.paths) is None


def test_a_switch_that_went_back_is_no_wish_of_the_stack(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: after a failed update Pulumi holds the earlier input, and so does the host."""
    from flaskhost.verbs import switch  # noqa: PLC0415 - the name would hide the word in this module

    first = ready.release("v1")
    plan = ready.release("v2", until="stage")

    def unhealthy(*_: object) -> None:
        raise Failure("not healthy")

    monkeypatch.setattr(switch, "_prove", unhealthy)
    with pytest.raises(Failure):
        ready.do(plan.switch)
    found = wanted.read(ready.paths)
    assert found is not None
    assert found["release"] == first.release
    assert wanted.disagreement(ready.paths) is None


def test_the_log_tells_who_went_back(ready: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: `releases` and `status` name the person."""
    first = ready.release("v1")
    ready.release("v2")
    monkeypatch.setenv("FLASKHOST_LOGIN", "anna")
    back(ready)
    event = releases.events(ready.paths)[-1]
    assert (event["event"], event["release"], event["by"]) == ("rollback", first.release, "anna")
    assert "by anna" in status.told(status.status("guestbook"))
    row = next(line for line in status.listed(status.every("guestbook")).splitlines() if line.startswith("active"))
    assert first.release[:8] in row
    assert " anna " in row


def test_a_person_reads_words_and_a_program_json(ready: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Promise: --json is for programs; without it, each line is for a person."""

    def said(*words: str) -> str:
        assert command.main([*words, "guestbook"]) == 0
        return capsys.readouterr().out

    assert "guestbook: nothing serves yet" in said("status")
    plan = ready.release("v1")
    label = f"v1.0.0 ({plan.release[:8]})"
    assert json.loads(said("status", "--json"))["active"] == label
    assert json.loads(said("releases", "--json"))[0]["release"] == plan.release
    assert f"guestbook: {label} serves in blue, since 20" in said("status")
    assert "  stack    wants what serves\n" in said("status")
    assert said("releases").splitlines()[1].split()[:3] == ["active", "v1.0.0", plan.release[:8]]


def test_in_development_mode_there_is_nothing_to_go_back_to(ready: Server) -> None:
    """Promise: it says what to do instead."""
    text = layout.remember("guestbook", {"root": "/srv", "mode": layout.DEVELOPMENT})
    (ready.paths.etc / "app.json").write_text(text)
    with pytest.raises(
        Failure, match="in development mode, which has one release: deploy another one with `pulumi up`"
    ):
        back(ready)
