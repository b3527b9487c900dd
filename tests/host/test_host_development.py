"""Development mode on the host: one place, one unit, files that come one by one, and a fence that is seen to hold."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import fence, layout, releases, sources
from flaskhost.shell import Failure
from flaskhost.verbs import sync

from tests.components import scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    import rendering
    from tests.host.conftest import Server

UNIT = "guestbook.service"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = getattr(self.server, "status", 200)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"ZeroDivisionError" if status == 500 else b"ok")

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@contextmanager
def flask(port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Have an application answer at a port of 127.0.0.1; `status` of it is what it answers."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Development:
    """The scratch server with an application in development mode."""

    def __init__(self, server: Server, answering: ThreadingHTTPServer) -> None:
        """Set up the host."""
        self.server, self.answering = server, answering
        self.port = int(answering.server_address[1])
        server.uv()
        server.do(self.plan().base)

    def plan(self, **changes: Any) -> rendering.Plan:
        """Return the plan of a stack whose server listens where ours does."""
        return scenario.plan(stack="dev", app__development__port=self.port, **changes)

    def release(self, content: str = "v1", **changes: Any) -> rendering.Plan:
        """Bring a release to the server and have it run."""
        source = self.server.code(content, **{"guestbook/views.py": content})
        plan = scenario.plan(source, stack="dev", app__development__port=self.port, **changes)
        for text in (plan.environment, plan.prepare, plan.stage, plan.switch):
            more = {"archive": str(source.archive)} if text == plan.prepare else {}
            self.server.do(text, **more)
        return plan

    def send(self, files: dict[str, str], gone: list[str] | None = None, **frame: Any) -> list[dict[str, Any]]:
        """Have `flaskhost sync` take one change; return its answers."""
        asked, content = self.frame(files, gone or [])
        answers = io.StringIO()
        sync.sync("guestbook", io.BytesIO(json.dumps({**asked, **frame}).encode() + b"\n" + content), answers)
        return [json.loads(line) for line in answers.getvalue().splitlines()]

    def frame(self, files: dict[str, str], gone: list[str]) -> tuple[dict[str, Any], bytes]:
        """Return the line and the archive that say a change."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                if text.startswith("-> "):
                    info.type, info.linkname = tarfile.SYMTYPE, text[3:]
                else:
                    info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        content = packed.getvalue()
        active = releases.active(self.server.paths)
        assert active
        return {"release": active.digest, "gone": gone, "bytes": len(content)}, content


@pytest.fixture
def dev(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Development]:
    """Return a server in development mode whose application answers."""
    monkeypatch.setattr(fence, "public_addresses", list)
    # They look at a process of another user; the tests with a real server do that.
    monkeypatch.setattr("flaskhost.verbs.development._checks", lambda *_asked: {"health": "ok: 200"})
    with flask() as answering:
        yield Development(server, answering)


def source(dev: Development) -> Path:
    """Return the folder of the code that runs."""
    return dev.server.paths.home / "app"


# --- the verbs ---


def test_base_installs_no_nginx_and_makes_no_slots(dev: Development) -> None:
    """Promise: nothing stands before Flask's own server, and there is one place to run in."""
    assert "nginx" not in (dev.server.fakes / "packages").read_text().split()
    assert [path.name for path in dev.server.paths.slots.iterdir()] == ["development"]
    assert str((dev.server.paths.shared / ".env.dev").readlink()) == "../active/env"
    assert not (dev.server.paths.units / UNIT).exists()


def test_a_release_is_run_by_one_unit_and_a_second_run_changes_nothing(dev: Development) -> None:
    """Promise: idempotent, like the slots of production."""
    plan = dev.release()
    assert dev.server.active() == [UNIT]
    assert "flask run" in (dev.server.paths.units / UNIT).read_text()
    assert str(dev.server.paths.active.readlink()) == "slots/development"
    before = dev.server.tree()
    dev.server.calls()
    for text in (plan.environment, plan.prepare, plan.stage, plan.switch, plan.base):
        dev.server.do(text)
    assert dev.server.acted() == []
    assert dev.server.tree() == before


def test_the_next_release_restarts_the_unit(dev: Development) -> None:
    """Promise: what runs is what `up` said."""
    dev.release()
    dev.server.calls()
    plan = dev.release("v2")
    assert f"systemctl --no-ask-password restart {UNIT}" in dev.server.calls()
    active = releases.active(dev.server.paths)
    assert active
    assert active.digest == plan.release


def test_a_release_that_does_not_work_stays_with_its_traceback(dev: Development) -> None:
    """Promise: `up` fails with the log, and the browser shows the error until an edit heals it."""
    dev.release()
    dev.answering.status = 500  # type: ignore[attr-defined]
    dev.server.set("journal", json.dumps({"MESSAGE": "ZeroDivisionError: in the journal", "_PID": "1"}) + "\n")
    with pytest.raises(Failure, match=r"(?s)not healthy.*500 ZeroDivisionError.*stays with.*in the journal"):
        dev.release("v2")
    assert (source(dev) / "guestbook/views.py").read_text() == "v2"
    assert dev.server.active() == [UNIT]
    dev.answering.status = 200  # type: ignore[attr-defined]
    dev.release("v2")


def test_development_packages_are_installed_and_gunicorn_is_not(dev: Development) -> None:
    """Promise: requirements-dev.txt counts here, and only here."""
    code = dev.server.code("v1", **{"requirements-dev.txt": "pytest==8.0.0\n"})
    plan = scenario.plan(code, stack="dev", app__development__port=dev.port)
    dev.server.do(plan.environment)
    dev.server.calls()
    dev.server.do(plan.prepare, archive=str(code.archive))
    installed = [line for line in dev.server.calls() if " pip install " in line and line.startswith("uv ")]
    assert any("-r requirements.txt -r requirements-dev.txt" in line for line in installed)
    assert any("watchdog" in line for line in installed)
    assert not any("gunicorn==" in line for line in installed)


def test_a_variable_that_the_example_names_is_asked_for_here_as_well(dev: Development) -> None:
    """Promise: what development mode sets by itself does not count."""
    code = dev.server.code("v1", **{".env.example": "FLASK_DEBUG=1\nFLASK_ENV=development\nAPI_TOKEN=\n"})
    plan = scenario.plan(code, stack="dev", app__development__port=dev.port)
    dev.server.do(plan.environment)
    with pytest.raises(Failure, match=r"missing: API_TOKEN\): nothing was started"):
        dev.server.do(plan.prepare, archive=str(code.archive))


def test_a_release_command_runs_before_the_development_server(dev: Development) -> None:
    """Promise: once, as in production; one that fails leaves the server as it was."""
    dev.release("v1", app__on_release="echo ran >> ../../shared/ran")
    dev.release("v1", app__on_release="echo ran >> ../../shared/ran")
    assert (dev.server.paths.shared / "ran").read_text() == "ran\n"
    with pytest.raises(Failure, match=r"app.on_release: `exit 3` ended with status 3"):
        dev.release("v2", app__on_release="exit 3")
    assert (source(dev) / "guestbook/views.py").read_text() == "v1"


def test_a_host_with_a_public_address_is_refused_before_anything_starts(
    dev: Development, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the settings know the address they connect to, the host knows all that it has."""
    monkeypatch.setattr(fence, "public_addresses", lambda: ["203.0.113.10"])
    with pytest.raises(Failure, match=r"allowed_networks: must be given, since this host has the public address 203"):
        dev.release()
    assert dev.server.active() == []


@pytest.mark.parametrize(("first", "then"), [("dev", "prod"), ("prod", "dev")])
def test_the_other_mode_is_refused_where_an_application_runs(dev: Development, first: str, then: str) -> None:
    """Promise: what serves is not gone before anything else is proven; the message says what to do instead."""
    base = scenario.plan(stack=first).base
    if first == "prod":
        dev.server.do(base.replace('"flaskhost/prod"', '"flaskhost/dev"'))
        dev.server.paths.active.symlink_to("slots/blue")
    else:
        dev.release()
    other = scenario.plan(stack=then).base.replace('"flaskhost/prod"', '"flaskhost/dev"')
    before = dev.server.tree()
    with pytest.raises(Failure, match=r"flaskhost:app.mode: must stay .* run `pulumi destroy` first"):
        dev.server.do(other)
    assert dev.server.tree() == before


# --- flaskhost sync ---


def test_the_first_line_says_what_runs_and_what_it_is_made_of(dev: Development) -> None:
    """Promise: whoever connects knows at once what is different."""
    plan = dev.release()
    first, *_ = dev.send({})
    assert first["release"] == plan.release
    assert set(first["files"]) == {"requirements.txt", "wsgi.py", "guestbook/static/a.css", "guestbook/views.py"}


def test_a_changed_file_comes_and_a_removed_one_goes_with_its_folder(dev: Development) -> None:
    """Promise: the next session knows about it, and what nobody sent stays."""
    dev.release()
    (source(dev) / "guestbook/built.js").write_text("made by a build command")
    begin = (source(dev) / "guestbook/views.py").stat().st_mtime
    _, answer = dev.send({"guestbook/views.py": "v2", "new/page.txt": "new"}, gone=["guestbook/static/a.css"])
    assert answer["files"] == ["guestbook/views.py", "new/page.txt"]
    assert (source(dev) / "guestbook/views.py").read_text() == "v2"
    assert (source(dev) / "guestbook/views.py").stat().st_mtime > begin
    assert (source(dev) / "guestbook/views.py").stat().st_mode & 0o777 == 0o640
    assert (source(dev) / "new").stat().st_mode & 0o777 == 0o750
    assert not (source(dev) / "guestbook/static").exists()
    assert (source(dev) / "guestbook/built.js").exists()
    first, *_ = dev.send({})
    assert set(first["files"]) == {"requirements.txt", "wsgi.py", "guestbook/views.py", "new/page.txt"}


def test_a_file_may_become_a_folder_and_a_folder_a_file(dev: Development) -> None:
    """Promise: whatever a checkout does."""
    dev.release()
    dev.send({"wsgi.py/__init__.py": "x", "guestbook/static": "y"}, gone=["wsgi.py", "guestbook/static/a.css"])
    assert (source(dev) / "wsgi.py/__init__.py").read_text() == "x"
    assert (source(dev) / "guestbook/static").read_text() == "y"


@pytest.mark.parametrize(
    ("files", "gone"),
    [
        ({"../outside": "x"}, []),
        ({"out": "-> ../../../../etc"}, []),
        ({"a/b/c": "-> ../../wsgi.py", "up": "-> a/b/../../.."}, []),
        ({}, ["../../releases.log"]),
        ({}, ["inside/../../../releases.log"]),
    ],
)
def test_nothing_outside_of_the_source_is_touched(dev: Development, files: dict[str, str], gone: list[str]) -> None:
    """Promise: the same rules as for an archive; the session goes on."""
    dev.release()
    before = {name: what for name, what in dev.server.tree().items() if "/releases/" not in name}
    _, answer = dev.send(files, gone=gone)
    assert "outside" in answer["error"] or "inside of" in answer["error"] or "out of it" in answer["error"]
    after = {name: what for name, what in dev.server.tree().items() if "/releases/" not in name}
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {
        name for name in after if name.endswith("release.json")
    }


def test_an_edited_release_is_made_anew_when_it_is_asked_for_again(dev: Development) -> None:
    """Promise: going back to a release brings back what it was, not what somebody has edited."""
    dev.release("v1")
    dev.send({"guestbook/views.py": "edited"})
    dev.release("v2")
    assert (source(dev) / "guestbook/views.py").read_text() == "v2"
    dev.release("v1")
    assert (source(dev) / "guestbook/views.py").read_text() == "v1"


def test_a_change_for_a_release_that_runs_no_more_is_not_taken(dev: Development) -> None:
    """Promise: an `up` in between is noticed, and the watcher looks anew."""
    dev.release()
    _, answer = dev.send({"guestbook/views.py": "late"}, release="0" * 64)
    assert answer == {"stale": True}
    assert (source(dev) / "guestbook/views.py").read_text() == "v1"


def test_the_unit_is_restarted_only_where_flasks_reloader_would_not_do(dev: Development) -> None:
    """Promise: a template costs nothing; a removed module, a dead server and one without debug are started anew."""
    dev.release()
    dev.server.calls()
    assert dev.send({"guestbook/views.py": "v2"})[1]["restarted"] is False
    assert dev.server.acted() == []
    assert dev.send({}, gone=["guestbook/views.py"])[1]["restarted"] is True
    (dev.server.fakes / "active" / UNIT).unlink()
    assert dev.send({"wsgi.py": "x"})[1]["restarted"] is True
    dev.release("v2", app__development__debug=False)
    assert dev.send({"wsgi.py": "y"})[1]["restarted"] is True


def test_a_file_that_was_cut_off_changes_nothing(dev: Development) -> None:
    """Promise: a connection may end at any byte."""
    dev.release()
    assert len(dev.send({"wsgi.py": "half"}, bytes=10**6)) == 1
    assert (source(dev) / "wsgi.py").read_text() != "half"


def test_a_change_that_cannot_be_taken_is_answered_and_the_session_goes_on(
    dev: Development, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: neither a defect nor a change above the limit ends it: the watcher would connect again for ever."""
    dev.release()
    monkeypatch.setattr(sources, "put", lambda *_: json.loads("{}")["wsgi.py"])
    assert dev.send({"wsgi.py": "v2"})[1]["error"] == "KeyError: 'wsgi.py' (a defect)"
    monkeypatch.setattr(sync, "LARGEST", 100)
    (_, answer) = dev.send({"wsgi.py": "v2"})
    assert "must have 100 bytes or less (got 10240): press Enter" in answer["error"]


OLDEST = next(iter(sorted((Path.home() / ".pyenv/versions").glob("3.[89].*/bin/python"))), None) or next(
    (Path(found) for found in map(shutil.which, ("python3.8", "python3.9")) if found), None
)
# Its accounts are not on this machine.
OLD_SYNC = """
import os
from flaskhost import files
files.ids = lambda owner, group: (os.geteuid(), os.getegid())
from flaskhost.verbs import sync
sync.serve("guestbook")
"""


@pytest.mark.skipif(not OLDEST, reason="needs a Python 3.8 or 3.9, as Ubuntu 20.04 and Debian 11 have")
def test_the_oldest_python_takes_changes(dev: Development) -> None:
    """Promise: what the newest Python of a developer's machine can do is not what a server's can."""
    dev.release()
    frame, content = dev.frame({"guestbook/views.py": "v2", "new/deep/page.txt": "new"}, ["wsgi.py"])
    done = subprocess.run(
        [str(OLDEST), "-c", OLD_SYNC],
        input=json.dumps(frame).encode() + b"\n" + content,
        env={**os.environ, "PYTHONPATH": "host", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=True,
    )
    _, answer = map(json.loads, done.stdout.splitlines())
    assert answer["files"] == ["guestbook/views.py", "new/deep/page.txt"]
    assert (source(dev) / "new/deep/page.txt").read_text() == "new"
    assert not (source(dev) / "wsgi.py").exists()


def test_sync_is_refused_in_production(ready: Server) -> None:
    """Promise: a release in production is never changed."""
    ready.release()
    with pytest.raises(Failure, match="does not run in development mode"):
        sync.sync("guestbook", io.BytesIO(), io.StringIO())


# --- the fence ---

NAMESPACES = os.geteuid() == 0 and all(shutil.which(name) for name in ("unshare", "nft", "ip"))
PROVE = """
import sys
from pathlib import Path
from flaskhost import fence
from flaskhost.shell import Failure
rules, port = Path(sys.argv[1]), int(sys.argv[2])
print("before:", fence.leaks(port))
try:
    fence.raise_(rules, port)
    print("after:", fence.leaks(port))
except Failure as failure:
    print("failed:", failure)
"""
# Two machines with addresses of documentation networks, and one that is in the list.
WORLD = """set -e
ip link set lo up
ip netns add out-$$; trap 'ip netns del out-$$' EXIT
ip link add near type veth peer name far netns out-$$
ip addr add 203.0.113.10/24 dev near; ip addr add 192.0.2.1/24 dev near; ip link set near up
ip -n out-$$ addr add 203.0.113.66/24 dev far; ip -n out-$$ addr add 192.0.2.7/24 dev far; ip -n out-$$ link set far up
"$0" -m http.server 5000 --bind 0.0.0.0 > /dev/null 2>&1 & server=$!
until "$0" -c 'import socket; socket.create_connection(("127.0.0.1", 5000))' 2> /dev/null; do sleep 0.05; done
ask() { ip netns exec out-$$ "$0" -c "import socket
try: socket.create_connection(('203.0.113.10', 5000), 2, ('$1', 0)); print('$1 in')
except OSError: print('$1 out')"; }
ask 203.0.113.66; ask 192.0.2.7
"$0" "$@"
ask 203.0.113.66; ask 192.0.2.7
kill $server
"""


def rules(tmp_path: Path) -> Path:
    """Return the fence of a stack that lets one network in."""
    existing = {"kind": "existing", "address": "203.0.113.10", "host_key": scenario.HOST_KEY}
    plan = scenario.plan(
        server=existing,
        credentials={"ssh_key": scenario.PRIVATE_KEY},
        app__mode="development",
        app__development__allowed_networks=["192.0.2.0/24"],
    )
    text = plan.prepare.partition("\nfile fence.nft\n")[2].partition("\n\n")[0]
    path = tmp_path / "fence.nft"
    path.write_text("".join(f"{line}\n" for line in re.sub(r"(?m)^    ", "", text).split("\n")))
    return path


def apart(words: list[str]) -> str:
    """Run words in a network of their own; return what they print."""
    command = ["unshare", "--net", "--mount", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "PYTHONPATH": "host"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not NAMESPACES, reason="needs root, unshare, nft and ip")
def test_the_kernel_lets_in_the_list_and_refuses_the_world(tmp_path: Path) -> None:
    """Promise: seen from machines with other addresses, through the real rules in a real kernel."""
    prove = [sys.executable, "-c", PROVE, str(rules(tmp_path)), "5000"]
    try:
        said = apart(["sh", "-c", WORLD, *prove])
    except AssertionError as error:
        if "Operation not permitted" in str(error):
            pytest.skip(f"no network namespaces here: {error}")
        raise
    assert said.splitlines() == [
        "203.0.113.66 in",
        "192.0.2.7 in",
        "before: port 5000 answers 127.0.0.2, which no network of the list holds",
        "after: None",
        "203.0.113.66 out",
        "192.0.2.7 in",
    ]


def test_a_fence_that_is_not_there_is_noticed() -> None:
    """Promise: it is looked at, not believed; this machine has none."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    assert "answers 127.0.0.2" in str(fence.leaks(port))


def test_a_fence_that_cannot_be_loaded_keeps_the_server_from_starting(
    dev: Development, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: it fails closed, and says that nftables must work."""
    (dev.server.fakes / "bin/nft").write_text("#!/bin/sh\necho 'Operation not permitted'; exit 1\n")
    (dev.server.fakes / "bin/nft").chmod(0o755)
    monkeypatch.setattr(fence, "public_addresses", lambda: ["203.0.113.10"])
    existing = {"kind": "existing", "address": "203.0.113.10", "host_key": scenario.HOST_KEY}
    with pytest.raises(Failure, match=r"(?s)cannot be enforced on this host.*CAP_NET_ADMIN.*not permitted"):
        dev.release(
            server=existing,
            credentials={"ssh_key": scenario.PRIVATE_KEY},
            app__development__allowed_networks=["192.0.2.0/24"],
        )
    assert dev.server.active() == []
    assert layout.DEVELOPMENT in str(dev.server.paths.active.readlink())
