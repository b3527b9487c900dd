"""The post-deployment checklist (reference: deployment-sop.txt, section 6), seen, not ticked."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import urllib.parse
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from flaskhost import envfile, health, layout, locks, processes, releases, systemd
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run

ASK_SECONDS = 15.0
FAILED = "FAILED: "
# Of the levels and messages of Nginx's error log: what keeps a visitor from the application.
GRAVE = re.compile(r"\[(?:crit|alert|emerg)\]|\bupstream\b")
Finding = Tuple[bool, str]
Point = Tuple[str, Callable[[], Finding]]
# See `health.wait`.
Check = Dict[str, Any]


class Checklist:
    """The list for one release: what is the host's is looked at before visitors are sent to it, the rest afterwards.

    Attributes:
        found: what was found so far, by point.
    """

    def __init__(self, paths: layout.Layout, release: releases.Release, progress: Progress) -> None:
        """Take the release; nothing is looked at yet."""
        self._paths, self._release, self._progress = paths, release, progress
        self._check = release.wishes["health"]
        self.found: Dict[str, str] = {}

    def of_host(self) -> None:
        """Look at what no release can be blamed for.

        Raises:
            Failure: a point is not as it should be.
        """
        points: List[Point] = [
            ("starts at boot", lambda: _enabled(self._paths)),
            ("nginx", lambda: _nginx(self._paths, self._progress)),
        ]
        if self._check["scheme"] == "https":
            points.append(("redirect to https", lambda: _redirect(self._check)))
        self.found.update(examine(points, self._progress))

    def of_release(self) -> None:
        """Look at the release that visitors reach.

        Raises:
            Failure: a point is not as it should be.
        """
        paths, check = self._paths, self._check
        error_log = paths.at(f"/var/log/nginx/{paths.app}-error.log")
        noted = error_log.stat().st_size if error_log.exists() else 0
        points: List[Point] = [
            ("active release", lambda: pointer(paths, self._release)),
            ("gunicorn", lambda: service(paths)),
            ("health", lambda: _health(paths, check)),
            ("https", lambda: _https(check)) if check["scheme"] == "https" else ("http", lambda: _http(check)),
            *([("tcp port", lambda: _tcp(paths, check))] if paths.facts.get("tcp_port") else []),
            ("environment", lambda: environment(paths)),
            *_processes(paths),
            ("logs", lambda: _logs(paths)),
            ("error log", lambda: _errors(error_log, noted, check)),
        ]
        self.found.update(examine(points, self._progress))


def examine(points: List[Point], progress: Progress) -> Dict[str, str]:
    """Look at each point, all of them; fail if one does."""
    found = {}
    with progress.phase("checks"):
        for name, look in points:
            try:
                good, text = look()
            except (Failure, OSError, KeyError, http.client.HTTPException) as error:
                good, text = False, f"{type(error).__name__}: {error}"
            found[name] = ("ok: " if good else FAILED) + progress.scrubber.clean(text)
            progress.say(f"{'ok    ' if good else 'FAILED'} {name}: {text}")
    bad = [f"{name}: {text[len(FAILED) :]}" for name, text in found.items() if text.startswith(FAILED)]
    if bad:
        raise Failure("\n".join([f"{len(bad)} of {len(found)} checks failed:", *bad]))
    return found


def pointer(paths: layout.Layout, wanted: releases.Release) -> Finding:
    """See that the pointer leads to that release."""
    release = releases.active(paths)
    at = os.path.realpath(paths.home / "app")
    return release is not None and release.digest == wanted.digest, f"{paths.home}/app is {at}"


def service(paths: layout.Layout) -> Finding:
    """See that the unit of the active release runs."""
    colour = paths.active_slot() or ""
    name = layout.service(paths.app, colour)
    facts = systemd.show(name, "ActiveState", "SubState", "NRestarts")
    return facts.get("SubState") == "running", f"{name} is {facts.get('ActiveState')} ({facts.get('SubState')})"


def boot(paths: layout.Layout) -> Finding:
    """See that `<app>.service` is active, and starts at boot."""
    name = f"{paths.app}.service"
    facts = systemd.show(name, "UnitFileState", "ActiveState")
    good = facts == {"UnitFileState": "enabled", "ActiveState": "active"}
    return good, f"{name} is {facts.get('UnitFileState')} and {facts.get('ActiveState')}"


def _enabled(paths: layout.Layout) -> Finding:
    name = f"{paths.app}.service"
    good = systemd.is_enabled(name)
    return good, f"{name} is {'enabled' if good else 'not enabled'}"


def _nginx(paths: layout.Layout, progress: Progress) -> Finding:
    try:
        run(["nginx", "-t", "-q"])
    except Failure:
        # Another stack's step may be trying a file there, and takes a bad one away again.
        with locks.host(paths, "nginx -t", progress):
            run(["nginx", "-t", "-q"])
    good = systemd.is_active("nginx.service") and systemd.is_enabled("nginx.service")
    return good, "nginx.service is active and enabled, `nginx -t` is content"


def _health(paths: layout.Layout, check: Check) -> Finding:
    status, text = health.ask(paths.run / "gunicorn.sock", check, ASK_SECONDS)
    return status == check["status"], f"{check['path']} answers {status} over {paths.run}/gunicorn.sock: {text}"


def _tcp(paths: layout.Layout, check: Check) -> Finding:
    port = paths.facts["tcp_port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_SECONDS)
    status, _ = _answer(connection, check["path"], {"Host": check["host"], "X-Forwarded-Proto": check["scheme"]})
    return status == check["status"], f"http://127.0.0.1:{port}{check['path']} answers {status}"


def _http(check: Check) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=ASK_SECONDS)
    status, _ = _answer(connection, check["path"], {"Host": check["host"]})
    return status == check["status"], f"http://{check['host']}{check['path']} answers {status} through Nginx"


def _https(check: Check) -> Finding:
    # The certificate may be self-signed; what is looked at here is that Nginx answers for this name with TLS. A default
    # context would read all authorities of the system, which takes longer than the visit.
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPConnection("127.0.0.1", 443, timeout=ASK_SECONDS)
    plain = socket.create_connection(("127.0.0.1", 443), ASK_SECONDS)
    connection.sock = trusting.wrap_socket(plain, server_hostname=urllib.parse.urlsplit(f"//{check['host']}").hostname)
    status, _ = _answer(connection, check["path"], {"Host": check["host"]})
    return status == check["status"], f"https://{check['host']}{check['path']} answers {status} through Nginx"


def _redirect(check: Check) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=ASK_SECONDS)
    status, to = _answer(connection, "/", {"Host": check["host"]})
    return status in (301, 308) and to.startswith("https://"), f"http answers {status} to {to}"


def _answer(connection: http.client.HTTPConnection, path: str, headers: Dict[str, str]) -> Tuple[int, str]:
    """Return the status of the answer to one request, and where it leads to (`Location`, or nothing)."""
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("Location") or ""


def environment(paths: layout.Layout) -> Finding:
    """See that the running process has every variable of its release's file."""
    colour = paths.active_slot() or ""
    wanted = envfile.parse((paths.slot(colour) / "env").read_text())
    pid = systemd.show(layout.service(paths.app, colour), "MainPID")["MainPID"]
    try:
        text = Path(f"/proc/{pid}/environ").read_text(errors="surrogateescape")
    except PermissionError:
        # Root without CAP_SYS_PTRACE (in a container) may not look, and the application's user may.
        text = run(["runuser", "-u", paths.user, "--", "cat", f"/proc/{pid}/environ"]).stdout
    seen = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    if not wanted.keys() & seen.keys():
        # As setproctitle does, which Gunicorn uses where it is there.
        return True, "cannot be seen: the process has written its title over it"
    missing = sorted(name for name, value in wanted.items() if seen.get(name) != value)
    return not missing, f"missing or different: {', '.join(missing)}" if missing else f"{len(wanted)} variables are set"


def _processes(paths: layout.Layout) -> List[Point]:
    """Return that the processes of the active release run, and that its timers wait, where it has any."""
    states = processes.states(paths, paths.active_slot() or "")
    return [("processes and jobs", lambda: _running(states))] if states else []


def _running(states: Dict[str, Dict[str, Any]]) -> Finding:
    # A timer is `running` while its job is.
    bad = [f"{unit} is {row['state']}" for unit, row in states.items() if row["state"] not in ("running", "waiting")]
    return not bad, "; ".join(bad) or f"{', '.join(states)}: all of them are up"


def _logs(paths: layout.Layout) -> Finding:
    access = paths.at(f"/var/log/nginx/{paths.app}-access.log")
    return access.exists() and access.stat().st_size > 0, f"{access} and the journal are written to"


def _errors(log: Path, noted: int, check: Check) -> Finding:
    """See that Nginx noted no error for our own visits; those of others may be why this release comes."""
    if not log.exists():
        return True, f"{log} is not there yet"
    with open(log, "rb") as file:
        # It may have been rotated since.
        file.seek(noted if noted <= log.stat().st_size else 0)
        lines = file.read().decode("utf-8", "replace").splitlines()
    ours = f' client: 127.0.0.1, .* request: "GET {re.escape(check["path"])} '
    bad = [line for line in lines if GRAVE.search(line) and re.search(ours, line)]
    return not bad, bad[0] if bad else "no error between Nginx and the application during these checks"
