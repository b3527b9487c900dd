"""How an application leaves a host: only by whom claimed it last, with what is worth keeping kept."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import accounts, document, layout
from flaskhost.files import remove
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.takeover import OURS
from flaskhost.verbs import teardown

import document as writer
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

NOW = "the token of now"
EXISTING: dict[str, Any] = {
    "server": {"kind": "existing", "address": "203.0.113.7", "host_key": scenario.HOST_KEY},
    "credentials__ssh_key": scenario.PRIVATE_KEY,
}


def text(token: str = NOW, *, purge: bool = False, stack: str = "flaskhost/prod", label: str = "") -> str:
    """Return the document of a claim; `label` is what the host is called among several."""
    called = {"as": label} if label else {}
    return writer.write("teardown", "guestbook", {"token": token, "purge": purge, "stack": stack, **called})


def claim(asked: str, *, anew: bool = True) -> dict[str, Any]:
    """Claim the application."""
    return teardown.claim(document.parse(asked), anew=anew)


@pytest.fixture
def deployed(ready: Server) -> Server:
    """Return a server on which a release serves, with an upload, a database, and an unused folder of logs."""
    ready.do(scenario.plan().site)
    ready.release()
    for name in ("media/a.png", "data/guestbook.db"):
        (ready.paths.shared / name).write_text("kept")
    for account in ("guestbook", "guestbook_build"):
        assert account in (ready.fakes / "accounts").read_text()
    return ready


def files(server: Server) -> list[str]:
    """Return what there is of the application and of flaskhost, folders aside."""
    places = ("srv", "etc/flaskhost", "etc/systemd", "etc/nginx", "usr/local", "var/cache", "var/log", "root")
    found = [path for place in places for path in (server.root / place).rglob("*")]
    return sorted(str(path.relative_to(server.root)) for path in found if path.is_symlink() or not path.is_dir())


def test_the_plan_has_a_claim_for_hosts_that_stay_only() -> None:
    """Promise: its token is that of a stack, an application and a machine; purge is what the stack says."""
    assert scenario.plan().teardown == ""
    one = document.parse(scenario.plan(**EXISTING).teardown)
    assert (one["purge"], one["stack"]) == (False, "flaskhost/prod")
    assert document.parse(scenario.plan(**EXISTING, purge=True).teardown)["purge"] is True
    moved = {**EXISTING, "server": {**EXISTING["server"], "host_key": scenario.OTHER_HOST_KEY}}
    elsewhere = {**EXISTING, "server": {**EXISTING["server"], "address": "app1.example.com", "port": 2222}}
    assert document.parse(scenario.plan(**moved).teardown)["token"] != one["token"]
    assert document.parse(scenario.plan(**elsewhere).teardown)["token"] == one["token"]
    assert document.parse(scenario.plan(None, "other", **EXISTING).teardown)["token"] != one["token"]


def test_the_group_that_userdel_leaves_goes_as_well(deployed: Server) -> None:
    """Promise: nothing is in the way of a next deploy; userdel(8) keeps a group that another account is in."""
    deployed.set("group-guestbook_build")
    claim(text())
    deployed.do(text())
    assert not (deployed.fakes / "group-guestbook_build").exists()


def test_what_people_have_put_there_stays_and_everything_else_goes(deployed: Server) -> None:
    """Promise: units, site, code, environment, certificates, command; the result says what is kept, and where."""
    claim(text())
    done = deployed.do(text())
    assert files(deployed) == [
        "etc/nginx/sites-available/default",
        "srv/guestbook/shared/data/guestbook.db",
        "srv/guestbook/shared/media/a.png",
        "var/log/nginx/guestbook-access.log",
        "var/log/nginx/guestbook-error.log",
    ]
    kept = {str(deployed.paths.shared / name): "1 file, 4 bytes" for name in ("media", "data")}
    assert done == {"removed": True, "kept": kept}
    assert deployed.active() == ["nginx.service"]
    assert f"kept: {deployed.paths.shared}/data (1 file, 4 bytes)" in deployed.said.getvalue()


def test_a_second_teardown_does_nothing(deployed: Server) -> None:
    """Promise: a removal whose answer was lost can be asked for again."""
    claim(text())
    deployed.do(text())
    before = files(deployed)
    deployed.calls()
    assert deployed.do(text()) == {"removed": False, "kept": {}}
    assert files(deployed) == before
    assert deployed.acted() == []


def test_purge_leaves_nothing(deployed: Server) -> None:
    """Promise: who says so before has no data on the host afterwards; the distribution's own stays."""
    claim(text(purge=True))
    assert deployed.do(text(purge=True)) == {"removed": True, "kept": {}}
    assert files(deployed) == ["etc/nginx/sites-available/default"]
    assert not deployed.paths.home.exists()


def test_an_older_claim_removes_nothing(deployed: Server) -> None:
    """Promise: what Pulumi removes after it has replaced it is never the new one."""
    claim(text("before"))
    claim(text())
    before = deployed.tree()
    assert deployed.do(text("before"))["removed"] is False
    assert deployed.tree() == before


def test_a_claim_that_is_replaced_by_its_like_removes_nothing(
    deployed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a forced replacement claims and removes with one token, at once; a later removal is meant."""
    claim(text())
    claim(text())
    assert deployed.do(text())["removed"] is False
    assert "stays; `flaskhost remove guestbook` removes it" in deployed.said.getvalue()
    claim(text())
    later = time.time() + teardown.REPLACEMENT_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert deployed.do(text())["removed"] is True


@pytest.mark.parametrize(("old", "new"), [("", "203.0.113.7"), ("203.0.113.7", ""), ("10.0.0.7", "203.0.113.7")])
def test_a_host_that_gets_another_name_in_the_stack_keeps_the_application(
    deployed: Server, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    """Promise: whether the old name ends at once or long after, as when `up` fails in between; the last one removes."""
    claim(text(label=old))
    claim(text(label=new))
    later = time.time() + 2 * teardown.REPLACEMENT_SECONDS
    monkeypatch.setattr(time, "time", lambda: later)
    assert deployed.do(text(label=old))["removed"] is False
    assert deployed.do(text(label=old))["removed"] is False
    assert "guestbook-gunicorn@blue.service" in deployed.active()
    assert deployed.do(text(label=new))["removed"] is True


def test_a_name_that_is_put_back_before_the_old_one_ended_keeps_the_application(deployed: Server) -> None:
    """Promise: one host becomes several, `up` fails, and the stack file is put back: the new name ends, alone."""
    claim(text())
    claim(text(label="203.0.113.7"))
    assert deployed.do(text(label="203.0.113.7"))["removed"] is False
    assert deployed.do(text())["removed"] is True


def test_the_claim_of_an_older_version_counts(deployed: Server) -> None:
    """Promise: it knew one claim a host, and wrote that by itself."""
    (deployed.paths.etc / "claim.json").write_text(json.dumps({"token": NOW, "purge": False, "again": 0}))
    claim(text(label="203.0.113.7"))
    assert deployed.do(text())["removed"] is False
    assert deployed.do(text(label="203.0.113.7"))["removed"] is True


def test_a_changed_claim_is_no_replacement(deployed: Server) -> None:
    """Promise: purge can be said and the stack be destroyed in the next moment."""
    claim(text())
    claim(text(purge=True), anew=False)
    assert deployed.do(text(purge=True)) == {"removed": True, "kept": {}}


def test_an_application_of_another_stack_cannot_be_claimed(deployed: Server) -> None:
    """Promise: the name belongs to the stack whose `base` came first."""
    with pytest.raises(Failure, match="belongs to the stack 'flaskhost/prod'"):
        claim(text(stack="flaskhost/other"))
    assert not (deployed.paths.etc / "claim.json").exists()


def test_another_application_stays_untouched(deployed: Server) -> None:
    """Promise: neither its files nor what both share; a name that only begins alike is another one."""
    other = layout.Layout("guestbook-two", "/srv")
    for path, words in (
        (other.etc / "app.json", json.dumps({"root": "/srv"})),
        (other.home / "release", "code"),
        (other.units / "guestbook-two.service", "# made by flaskhost\n[Unit]\nDescription=guestbook-two: starts\n"),
        (other.at("/etc/nginx/sites-available/guestbook-two"), "# made by flaskhost\n"),
        (other.at("/var/log/nginx/guestbook-two-access.log"), ""),
        (other.at("/usr/local/lib/flaskhost/0123/bin/flaskhost"), ""),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(words)
    claim(text(purge=True))
    deployed.do(text(purge=True))
    kept = files(deployed)
    assert [path for path in kept if "guestbook" in path and "guestbook-two" not in path] == []
    assert len([path for path in kept if "guestbook-two" in path]) == 5
    assert "usr/local/lib/flaskhost/0123/bin/flaskhost" in kept
    assert "etc/flaskhost/tls/key.pem" in kept
    assert "etc/nginx/sites-available/flaskhost-default" in kept


def test_a_person_removes_what_no_stack_does(deployed: Server) -> None:
    """Promise: `flaskhost remove` needs no claim: a stack whose state is lost, or whose first deploy failed."""
    teardown.remove_from_host(deployed.paths, Progress(deployed.said), purge=False)
    assert not deployed.paths.etc.exists()
    assert (deployed.paths.shared / "data/guestbook.db").exists()


@pytest.mark.parametrize("step", ["_units", "_site", "_processes", "_files", "_accounts", "_leave"])
def test_a_killed_teardown_is_finished_by_the_next(
    deployed: Server, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Promise: wherever it ended, the next one goes on."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    claim(text())
    with monkeypatch.context() as patched:
        patched.setattr(teardown, step, killed)
        with pytest.raises(KeyboardInterrupt):
            deployed.do(text())
    deployed.do(text())
    assert [path for path in files(deployed) if "log/nginx" not in path] == [
        "etc/nginx/sites-available/default",
        "srv/guestbook/shared/data/guestbook.db",
        "srv/guestbook/shared/media/a.png",
    ]


# Of no account of this machine; without root, a file can only be given to whoever makes it.
NUMBER = os.geteuid() or 4_200_000_001


def have_account(server: Server, name: str, comment: str, number: int = NUMBER) -> None:
    """Have a line in passwd(5)."""
    server.set(f"passwd-{name}", f"{name}:x:{number}:{number}:{comment}:/srv/guestbook:/bin/bash\n")


def processes(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Have a process of that number; return what signals it gets."""
    (server.root / "proc/41").mkdir(parents=True)
    os.chown(server.root / "proc/41", NUMBER, -1)
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    return signals


def deleted(server: Server) -> list[str]:
    """Return the accounts that were deleted since this was asked last."""
    return [call.split()[1] for call in server.calls() if call.startswith("userdel ")]


def test_an_account_of_another_procedure_stays_with_what_runs_in_its_name(
    deployed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what flaskhost has not made it neither kills nor deletes, purge or not; the builder is its own."""
    have_account(deployed, "guestbook", "")
    have_account(deployed, "guestbook_build", OURS, 4_200_000_002)
    signals = processes(deployed, monkeypatch)
    claim(text(purge=True))
    deployed.do(text(purge=True))
    assert (signals, deleted(deployed)) == ([], ["guestbook_build"])
    assert "kept: the account guestbook, not made by flaskhost" in deployed.said.getvalue()


def test_an_account_of_ours_goes_with_what_runs_in_its_name(deployed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a shell that somebody has left open in its name is in the way of nothing."""
    have_account(deployed, "guestbook", OURS)
    have_account(deployed, "guestbook_build", OURS, 4_200_000_002)
    signals = processes(deployed, monkeypatch)
    claim(text(purge=True))
    deployed.do(text(purge=True))
    assert signals == [(41, signal.SIGKILL)]
    assert deleted(deployed) == ["guestbook_build", "guestbook"]


def test_an_account_says_who_has_made_it(server: Server) -> None:
    """Promise: from the moment that it is there, so that it is known after a kill and after `destroy` as well."""
    server.uv()
    server.do(scenario.plan().base)
    made = [call for call in server.calls() if call.startswith("useradd")]
    assert len(made) == 2
    assert all(f"--comment {OURS}" in call for call in made)


def test_an_account_of_a_person_is_refused_before_anything_is_done(server: Server) -> None:
    """Promise: nobody's own account becomes the application's; one of the system's is taken over (docs/sop.md)."""
    have_account(server, "guestbook", "Ada,,,", 1000)
    before = server.tree()
    with pytest.raises(Failure, match=r"flaskhost:app.name: .* 'guestbook' has number 1000 .*choose another"):
        server.do(scenario.plan().base)
    assert set(server.tree()) - set(before) == {"etc/flaskhost"}
    have_account(server, "guestbook", "", 999)
    accounts.refuse_person("guestbook")
    have_account(server, "guestbook", OURS, 1000)
    accounts.refuse_person("guestbook")


def test_what_flaskhost_has_not_made_stays_and_is_named(deployed: Server) -> None:
    """Promise: beside the application, in shared/, and among releases of a procedure before; half-made files go."""
    home = deployed.paths.home
    for name in ("backup/a.sql", "backup/b.sql", "notes", "shared/keys/token", "releases/2020-01-01/app.py", "run/old"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("theirs")
    for name in (".active.new", "shared/..env.new", "..profile.new"):
        (home / name).symlink_to("gone")
    (home / "shared/link").symlink_to("/nowhere")
    claim(text())
    kept = deployed.do(text())["kept"]
    there = [path.removeprefix("srv/guestbook/") for path in files(deployed) if path.startswith("srv/")]
    assert there == [
        "backup/a.sql",
        "backup/b.sql",
        "notes",
        "releases/2020-01-01/app.py",
        "shared/data/guestbook.db",
        "shared/keys/token",
        "shared/link",
        "shared/media/a.png",
    ]
    assert kept[str(home / "backup")] == "2 files, not made by flaskhost"
    assert set(kept) == {
        str(home / name)
        for name in (
            "backup",
            "notes",
            "releases/2020-01-01",
            "shared/data",
            "shared/keys",
            "shared/link",
            "shared/media",
        )
    }


def test_an_application_that_nobody_has_used_leaves_no_folder(ready: Server) -> None:
    """Promise: all that a release makes is known as flaskhost's, whatever is there of it."""
    ready.do(scenario.plan().site)
    ready.release()
    claim(text())
    assert ready.do(text())["kept"] == {}
    assert not ready.paths.home.exists()


def test_a_broken_file_of_somebody_else_is_named_and_the_next_try_reloads(deployed: Server) -> None:
    """Promise: Nginx does not go on with a site whose files are gone, once its configuration is right again."""
    claim(text())
    deployed.set("nginx-fails")
    with pytest.raises(Failure, match=r"because of /etc/nginx/conf.d/odd.conf:7, .* correct it .*pulumi destroy"):
        deployed.do(text())
    (deployed.fakes / "nginx-fails").unlink()
    deployed.calls()
    assert deployed.do(text())["removed"] is True
    assert "systemctl reload nginx.service" in deployed.acted()


@pytest.mark.parametrize("again", ["by a person", "by the stack"])
@pytest.mark.parametrize("last", ["app.json", "claim.json", "environments"])
def test_secrets_and_the_name_go_wherever_their_removal_is_killed(
    deployed: Server, monkeypatch: pytest.MonkeyPatch, last: str, again: str
) -> None:
    """Promise: no part of what the application was known by outlives the others."""
    other = deployed.root / "etc/flaskhost/other/app.json"
    other.parent.mkdir()
    other.write_text(json.dumps({"root": "/srv"}))
    (deployed.paths.etc / "environments").mkdir(exist_ok=True)
    (deployed.paths.etc / "environments/0123").write_text("SECRET=1")
    claim(text())

    def killed(path: Path | None) -> None:
        if path is not None and path.name == deployed.paths.app and ".removed" in path.parts:
            remove(path / last)
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patched:
        patched.setattr(teardown, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            deployed.do(text())
    assert [path for path in files(deployed) if path.startswith("etc/flaskhost/.removed/guestbook/")]
    if again == "by a person":
        with pytest.raises(Failure, match="there is no application 'guestbook'"):
            teardown.by_hand("guestbook", Progress(deployed.said), purge=False)
    else:
        assert deployed.do(text())["removed"] is False
    assert sorted(path.name for path in (deployed.root / "etc/flaskhost").iterdir()) == ["other", "tls"]


def test_a_name_that_is_no_name_removes_nothing(deployed: Server) -> None:
    """Promise: a slip of the finger in `flaskhost remove` costs nobody's files."""
    (deployed.root / "etc/flaskhost/.removed").mkdir()
    before = set(deployed.tree()) - {"etc/flaskhost/.removed"}
    for name in ("", ".", "..", "../tls"):
        with pytest.raises(Failure, match="there is no application"):
            teardown.by_hand(name, Progress(deployed.said), purge=True)
    assert set(deployed.tree()) == before


@pytest.mark.parametrize("name", ["FLASKHOST_LOGIN", "SUDO_USER"])
def test_uploads_go_from_the_home_of_whom_they_are(
    deployed: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Promise: also where that person types `sudo flaskhost remove`."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path.replace("~", "/home/"))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv(name, "deploy")
    uploads = deployed.root / "home/deploy/.flaskhost"
    (uploads / "guestbook").mkdir(parents=True)
    teardown.by_hand("guestbook", Progress(deployed.said), purge=False)
    assert not uploads.exists()
