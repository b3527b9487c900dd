"""What was changed by hand on the hosts, where the stack says `drift: preview`: asked before any document is made.

This setting alone has a preview, and an `up` with nothing to do, open connections.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pulumi

import rendering
from components import configuration
from components.remote import SUDO_VARIABLE
from ops import drift
from ops.development.connection import Login, Lost
from settings import ExistingServer, ExistingServers

if TYPE_CHECKING:
    from settings import Credentials, Settings


def places(settings: Settings) -> list[rendering.Place]:
    """Return the hosts of a stack, each with what has to be put back; end the program where one can't say."""
    found = rendering.places(settings)
    if settings.drift == "off" or not isinstance(settings.server, ExistingServer | ExistingServers):
        return found
    logins = _logins(settings.server, settings.credentials)
    with ThreadPoolExecutor(len(found)) as beside:
        answers = list(beside.map(lambda login: _ask(login, settings.app.name), logins))
    return [
        dataclasses.replace(place, repairs=repairs, found=tuple(reasons))
        for place, (repairs, reasons) in zip(found, answers, strict=True)
    ]


def _ask(login: Login, app: str) -> tuple[int, list[str]]:
    """Return how often a host was put back, this time included, and why; say what is different there now."""
    try:
        answer = drift.ask(login, app)
    except Lost as lost:
        configuration.stop(f"flaskhost:drift: preview has to look at {login.host}, and could not: {lost}")
    if answer is None:
        return 0, []
    if answer["differences"]:
        head = f"{login.host}: changed by hand since the last update, and put back by this one:"
        pulumi.warn("\n".join([head, *drift.indented(drift.written(answer["differences"]))]))
    return answer["repairs"], answer["found"]


def _logins(server: ExistingServer | ExistingServers, credentials: Credentials) -> list[Login]:
    """Return how the steps of each host log in."""
    key, password = credentials.ssh_key or "", credentials.sudo_password
    through = server.bastion
    bastion = None
    if through:
        bastion = Login(
            host=through.address,
            port=through.port,
            user=through.user,
            private_key=credentials.bastion_key or key,
            host_key=through.host_key,
        )
    return [
        Login(
            host=host.address,
            port=host.port,
            user=server.user,
            private_key=key,
            host_key=host.host_key,
            bastion=bastion,
            environment={SUDO_VARIABLE: password} if password else {},
        )
        for host in server.hosts
    ]
