"""`flaskhost checks`: the post-deployment checklist (reference: deployment-sop.txt, section 6), seen, not ticked."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from typing import Any, Callable, Dict, List, Tuple

from flaskhost import envfile, health, layout, processes, releases, systemd
from flaskhost.document import Document
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run
from flaskhost.verbs.site import errors_since

ASK_SECONDS = 15.0
Finding = Tuple[bool, str]


def checks(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Go through the list; fail if a point of it does. Input: release, health (see `health.wait`)."""
    paths = layout.known(asked.app)
    progress.scrubber.add(envfile.secrets_of(paths))
    begin = time.time()
    points: List[Tuple[str, Callable[[], Finding]]] = [
        ("active release", lambda: pointer(paths, asked["release"])),
        ("gunicorn", lambda: service(paths)),
        ("starts at boot", lambda: boot(paths)),
        ("nginx", _nginx),
        ("health", lambda: _health(paths, asked)),
        *_visits(asked),
        *([("tcp port", lambda: _tcp(paths, asked))] if paths.facts.get("tcp_port") else []),
        ("environment", lambda: environment(paths)),
        *_processes(paths),
        ("logs", lambda: _logs(paths)),
        ("error log", lambda: _errors(paths, begin)),
    ]
    return examine(points, progress)


def examine(points: List[Tuple[str, Callable[[], Finding]]], progress: Progress) -> Dict[str, Any]:
    """Look at each point, all of them; fail if one does."""
    found = {}
    for name, look in points:
        try:
            good, text = look()
        except (Failure, OSError, http.client.HTTPException) as error:
            good, text = False, f"{type(error).__name__}: {error}"
        found[name] = ("ok: " if good else "FAILED: ") + progress.scrubber.clean(text)
        progress.say(f"{'ok    ' if good else 'FAILED'} {name}: {text}")
    bad = [name for name, text in found.items() if text.startswith("FAILED")]
    if bad:
        raise Failure(f"{len(bad)} of {len(found)} checks failed: {', '.join(bad)}")
    return {"checks": found}


def pointer(paths: layout.Layout, digest: str) -> Finding:
    """See that the pointer leads to that release."""
    release = releases.active(paths)
    at = os.path.realpath(paths.home / "app")
    return release is not None and release.digest == digest, f"{paths.home}/app is {at}"


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


def _nginx() -> Finding:
    run(["nginx", "-t", "-q"])
    good = systemd.is_active("nginx.service") and systemd.is_enabled("nginx.service")
    return good, "nginx.service is active and enabled, `nginx -t` is content"


def _health(paths: layout.Layout, asked: Document) -> Finding:
    check = asked["health"]
    status, text = health.ask(paths.run / "gunicorn.sock", check, ASK_SECONDS)
    return status == check["status"], f"{check['path']} answers {status} over {paths.run}/gunicorn.sock: {text}"


def _tcp(paths: layout.Layout, asked: Document) -> Finding:
    check, port = asked["health"], paths.facts["tcp_port"]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_SECONDS)
    connection.request("GET", check["path"], headers={"Host": check["host"], "X-Forwarded-Proto": check["scheme"]})
    status = connection.getresponse().status
    connection.close()
    return status == check["status"], f"http://127.0.0.1:{port}{check['path']} answers {status}"


def _visits(asked: Document) -> List[Tuple[str, Callable[[], Finding]]]:
    """Return how visitors come in."""
    if asked["health"]["scheme"] == "http":
        return [("http", lambda: _http(asked))]
    return [("https", lambda: _https(asked)), ("redirect to https", lambda: _redirect(asked))]


def _http(asked: Document) -> Finding:
    check = asked["health"]
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=ASK_SECONDS)
    connection.request("GET", check["path"], headers={"Host": check["host"]})
    status = connection.getresponse().status
    connection.close()
    return status == check["status"], f"http://{check['host']}{check['path']} answers {status} through Nginx"


def _https(asked: Document) -> Finding:
    check = asked["health"]
    # The certificate may be self-signed; what is looked at here is that Nginx answers for this name with TLS.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", 443, timeout=ASK_SECONDS, context=trusting)
    connection.request("GET", check["path"], headers={"Host": check["host"]})
    status = connection.getresponse().status
    connection.close()
    return status == check["status"], f"https://{check['host']}{check['path']} answers {status} through Nginx"


def _redirect(asked: Document) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=ASK_SECONDS)
    connection.request("GET", "/", headers={"Host": asked["health"]["host"]})
    answer = connection.getresponse()
    to = answer.getheader("Location") or ""
    connection.close()
    return answer.status in (301, 308) and to.startswith("https://"), f"http answers {answer.status} to {to}"


def environment(paths: layout.Layout) -> Finding:
    """See that the running process has every variable of its release's file."""
    colour = paths.active_slot() or ""
    wanted = envfile.parse((paths.slot(colour) / "env").read_text())
    pid = systemd.show(layout.service(paths.app, colour), "MainPID")["MainPID"]
    # As the application's user: root without CAP_SYS_PTRACE (in a container) may not look.
    text = run(["runuser", "-u", paths.user, "--", "cat", f"/proc/{pid}/environ"]).stdout
    seen = dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)
    missing = sorted(name for name, value in wanted.items() if seen.get(name) != value)
    return not missing, f"missing or different: {', '.join(missing)}" if missing else f"{len(wanted)} variables are set"


def _processes(paths: layout.Layout) -> List[Tuple[str, Callable[[], Finding]]]:
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


def _errors(paths: layout.Layout, since: float) -> Finding:
    lines = errors_since(paths, since)
    return not lines, f"{len(lines)} errors between Nginx and the application during these checks"
