"""A port on 127.0.0.1 that leads to the active slot as well (`flaskhost:app.tcp_port`)."""

from __future__ import annotations

import json
import re
import socket
from typing import Optional

from flaskhost import layout, systemd
from flaskhost.progress import Progress
from flaskhost.shell import Failure, run


def unit(app: str, kind: str) -> str:
    """Return the name of the socket or service unit."""
    return f"{app}-gunicorn-tcp.{kind}"


def claim(paths: layout.Layout, port: Optional[int]) -> None:
    """Refuse a port that another application of this host has claimed, or that anything else listens on.

    Raises:
        Failure: it is taken; who has it, as far as it can be seen, and what to do.
    """
    if port is None or _is_ours(paths.app, port):
        return
    for path in sorted(paths.etc.parent.glob("*/app.json")):
        facts = json.loads(path.read_text())
        if facts["app"] != paths.app and facts.get("tcp_port") == port:
            raise Failure(
                f"flaskhost:app.tcp_port: {port} belongs to the application {facts['app']!r} on this host: "
                "choose another port"
            )
    if not _is_free(port):
        raise Failure(
            f"flaskhost:app.tcp_port: {port} is in use on this host{_holder(port)}: stop what listens there, or choose "
            "another port; nothing was changed"
        )


def ensure(paths: layout.Layout, port: int, progress: Progress) -> None:
    """Have the port open where the application runs."""
    name = unit(paths.app, "socket")
    if systemd.is_active(name) and _is_free(port):
        # It is another one still. A running service holds it: the socket unit alone would not start anew.
        systemd.systemctl("stop", name, unit(paths.app, "service"))
    if systemd.is_active(f"{paths.app}.service") and not systemd.is_active(name):
        systemd.systemctl("start", name)
        progress.say(f"tcp: 127.0.0.1:{port} leads to the active release")


def _is_free(port: int) -> bool:
    """Tell whether nothing listens on a port; connections that have just ended do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_ours(app: str, port: int) -> bool:
    name = unit(app, "socket")
    return systemd.is_active(name) and f"127.0.0.1:{port} " in systemd.show(name, "Listen").get("Listen", "")


def _holder(port: int) -> str:
    """Return ` by <program> (process <id>)`, or nothing where that cannot be seen."""
    said = run(["ss", "-ltnpH", f"sport = :{port}"], check=False).stdout
    found = re.search(r'users:\(\("([^"]+)",pid=(\d+)', said)
    return f" by {found.group(1)} (process {found.group(2)})" if found else ""
