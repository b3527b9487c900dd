"""A server in a scratch folder: its files below FLASKHOST_ROOT, its programs the fakes of this folder."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import socketserver
import stat
import subprocess
import tarfile
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import document, files, layout, transient
from flaskhost.__main__ import UP
from flaskhost.progress import Progress
from flaskhost.verbs import base
from flaskhost.verbs.checks import Checklist

from tests.components import scenario
from tests.host import fakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import rendering
    from sources import Resolved

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
# What a verb may do only when something is different: a second run has none of it in its calls.
ACTING = ("apt-get", "useradd", "openssl", "uv", "systemd-run", *(
    f"systemctl {verb}"
    for verb in ("start", "restart", "stop", "enable", "daemon-reload", "reload", "kill", "reset-failed")
))  # fmt: skip


class Server:
    """The scratch server."""

    def __init__(self, root: Path) -> None:
        """Lay out what a fresh Debian has."""
        self.root = root
        # How long a health check waits: a moment instead of a minute, or a test of a failure would take that long.
        self.patience_seconds = 1.0
        self.fakes = root / "fakes"
        fakes.install(self.fakes)
        for name in (
            "etc/systemd/system",
            "etc/nginx/sites-enabled",
            "usr/local/bin",
            "var/log/nginx",
            "var/cache",
            "etc/logrotate.d",
        ):
            (root / name).mkdir(parents=True)
        (root / "run/flaskhost/guestbook").mkdir(parents=True)
        (root / "etc/os-release").write_text(OS_RELEASE)
        (root / "etc/nginx/sites-available").mkdir()
        (root / "etc/nginx/sites-available/default").write_text("# the distribution's\n")
        (root / "etc/nginx/sites-enabled/default").symlink_to("/etc/nginx/sites-available/default")
        self.said = io.StringIO()

    @property
    def paths(self) -> layout.Layout:
        """The layout of the application."""
        return layout.Layout("guestbook", "/srv")

    def calls(self) -> list[str]:
        """Return how programs were called since this was asked last."""
        path = self.fakes / "calls"
        lines = path.read_text().splitlines()
        path.write_text("")
        return lines

    def acted(self) -> list[str]:
        """Return the calls since last time that change something."""
        plain = [line.replace("systemctl --no-ask-password", "systemctl") for line in self.calls()]
        return [line for line in plain if line.startswith(ACTING)]

    def set(self, name: str, text: str = "") -> None:
        """Make a program behave otherwise (see fakes)."""
        (self.fakes / name).write_text(text)

    def active(self) -> list[str]:
        """Return the active units, but the one that shows logs and is always there."""
        names = sorted(path.name for path in (self.fakes / "active").iterdir())
        return [name for name in names if name != "guestbook-gunicorn-journal.service"]

    def do(self, text: str, **values: Any) -> dict[str, Any]:
        """Have a verb do what a document says, in this process; `values` replace values of the document."""
        asked = document.parse(text)
        asked.values.update(values)
        if "health" in asked.values:
            asked.values["health"]["seconds"] = self.patience_seconds
        if "watch" in asked.values and "watch" not in values:
            # The tests of the watch say how long.
            asked.values["watch"]["seconds"] = 0
        return UP[asked.verb](asked)(asked, Progress(self.said))

    def tree(self) -> dict[str, tuple[object, ...]]:
        """Return everything that is on the server, but what is for a moment: name, kind, mode, time, content."""
        found: dict[str, tuple[object, ...]] = {}
        for top, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if Path(top, name) not in (self.fakes, self.root / "run")]
            for name in (*folders, *names):
                path = Path(top, name)
                now = path.lstat()
                at = str(path.relative_to(self.root))
                if stat.S_ISLNK(now.st_mode):
                    found[at] = ("link", str(path.readlink()), now.st_ino)
                elif stat.S_ISREG(now.st_mode):
                    found[at] = ("file", stat.S_IMODE(now.st_mode), now.st_mtime_ns, now.st_ino, path.read_bytes())
                else:
                    found[at] = ("other", stat.S_IMODE(now.st_mode), now.st_ino)
        return found

    def uv(self) -> None:
        """Have uv there already: pip would get it from the network."""
        program = base.LIBRARY / "uv-0.13.8/bin/uv"
        program.parent.mkdir(parents=True)
        shutil.copy(self.fakes / "bin/uv", program)

    def code(self, content: str = "v1", **more: str) -> Resolved:
        """Return an uploaded source with these further files."""
        texts = {
            "requirements.txt": "flask==3.0.0\n",
            "wsgi.py": f'app = "{content}"\n',
            "guestbook/static/a.css": content,
        }
        archive = self.fakes / f"source-{hashlib.sha256((content + repr(more)).encode()).hexdigest()[:8]}.tar"
        with tarfile.open(archive, "w") as tar:
            for name, text in {**texts, **more}.items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        return scenario.resolved(content=content + repr(more), archive=archive)

    def release(self, content: str = "v1", *, until: str = "switch", **changes: Any) -> rendering.Plan:
        """Take a release of the application as far as a step; return its plan."""
        source = self.code(content)
        plan = scenario.plan(source, **changes)
        for step in ("environment", "prepare", "stage", "switch"):
            more = {"archive": str(source.archive)} if step == "prepare" else {}
            self.do(getattr(plan, step), **more)
            if step == until:
                break
        return plan


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Return a folder for scratch servers; its path is short, since a socket's must be (unix(7): 108 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def server(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a fresh scratch server."""
    # Always the same path, so that one test can begin with a copy of what another one has made.
    root = place / "root"
    root.mkdir()
    monkeypatch.setenv("FLASKHOST_ROOT", str(root))
    monkeypatch.setenv("FAKES", str(root / "fakes"))
    monkeypatch.setenv("PATH", f"{root}/fakes/bin:{os.environ['PATH']}")
    monkeypatch.setattr(transient, "STATE", root / "run/flaskhost")
    monkeypatch.setattr(base, "ROOT", root)
    monkeypatch.setattr(base, "LIBRARY", root / "usr/local/lib/flaskhost")
    # A scratch folder need not survive a power cut.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    # The accounts of a server are not on this machine.
    monkeypatch.setattr(files, "ids", lambda _owner, _group: (os.geteuid(), os.getegid()))
    try:
        yield Server(root)
    finally:
        shutil.rmtree(root)


class Application(socketserver.ThreadingUnixStreamServer):
    """An HTTP server on a Unix socket; `answers` gives status and text of the n-th answer, or None to hang."""

    daemon_threads = True

    def __init__(self, path: Path, answers: Callable[[int], tuple[int, str] | None]) -> None:
        """Listen at `path`."""
        path.unlink(missing_ok=True)
        self.answers = answers
        self.asked: list[dict[str, str]] = []
        self.ended = threading.Event()
        super().__init__(str(path), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        self.server.asked.append({"path": self.path, **dict(self.headers.items())})
        answer = self.server.answers(len(self.server.asked))
        if answer is None:
            self.server.ended.wait(10)
            return
        status, text = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        """Return a name: a Unix socket has none."""
        return "unix"


@contextmanager
def serving(path: Path, answers: Callable[[int], tuple[int, str] | None] | None = None) -> Iterator[Application]:
    """Have an application at a socket, healthy if nothing else is said."""
    application = Application(path, answers or (lambda _n: (200, "ok")))
    thread = threading.Thread(target=application.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield application
    finally:
        application.ended.set()
        application.shutdown()
        application.server_close()
        thread.join()


class Unlooked(Checklist):
    """A checklist that looks at nothing."""

    def of_host(self) -> None:
        """See nothing wrong."""

    def of_release(self) -> None:
        """See nothing wrong."""
        self.found = {"health": "ok: 200"}


@pytest.fixture
def ready(server: Server, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a server after `base`, with an application that answers in both slots."""
    # There is no Nginx here: the tests of the checks call them.
    monkeypatch.setattr("flaskhost.verbs.switch.Checklist", Unlooked)
    snapshot = place / "ready"
    if not snapshot.exists():
        server.uv()
        server.do(scenario.plan().base)
        server.calls()
        subprocess.run(["cp", "--archive", f"{server.root}/.", str(snapshot)], check=True)
    else:
        subprocess.run(["cp", "--archive", f"{snapshot}/.", str(server.root)], check=True)
    with serving(server.paths.socket("blue")), serving(server.paths.socket("green")):
        yield server
