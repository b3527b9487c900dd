"""Tell what was changed by hand on the hosts of a stack since its last `up`, and whether they serve what it wants.

Nothing is changed. The exit status is 0 where all is as it was written, 2 where something is different, and 1 where
that could not be found out.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ops import engine
from ops.development.connection import Login, Lost, plain, shell
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

HELP = "tell what was changed by hand on the hosts of a stack (status 2), if anything"
FAILED, DRIFTED = 1, 2
STEP = "command:remote:Command"
BASE = re.compile(r" base (\S+)$")
# What the last switch of an update made active, in the documents of its step.
SWITCHED = re.compile(r'^flaskhost 1 switch \S+\nrelease = "([0-9a-f]{64})"$', re.MULTILINE)
# Said by a host without the command or without the application, and by a command that is older than this one.
NOT_THERE = re.compile(r"not found|No such file|there is no application|usage: flaskhost")
ANSWER_SECONDS = 1200


@dataclasses.dataclass(frozen=True)
class Host:
    """A host of a stack, as its state knows it.

    Attributes:
        name: its address, with its port for SSH if that is not the usual one.
        app: name of the application.
        login: how its steps log in.
        release: digest of the release that the last update has made active there; None before the first.
    """

    name: str
    app: str
    login: Login
    release: str | None


@dataclasses.dataclass(frozen=True)
class Look:
    """What a host has answered.

    Attributes:
        differences: what is different there, each in one sentence and with the lines of its detail.
        serves: version of the active release, for people.
        problem: why it could not be asked.
    """

    differences: list[list[str]]
    serves: str = ""
    problem: str = ""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")


def run(asked: argparse.Namespace) -> int:
    """Look at every host of a stack, and say what each of them serves and what is different; return the exit status."""
    exported = json.loads(engine.pulumi("stack", "export", "--stack", asked.stack, "--show-secrets"))
    hosts = list(of_state(exported["deployment"]))
    if not hosts:
        raise SetupError(f"the stack {asked.stack} has no host yet: deploy it with `./pulumi up --stack {asked.stack}`")
    with ThreadPoolExecutor(len(hosts)) as beside:
        looks = list(beside.map(look, hosts))
    for host, seen in zip(hosts, looks, strict=True):
        print("\n".join(told(host, seen)))
    if any(seen.problem for seen in looks):
        return FAILED
    return DRIFTED if any(seen.differences for seen in looks) else 0


def of_state(deployment: Mapping[str, Any]) -> Iterator[Host]:
    """Yield the hosts that a state knows.

    Args:
        deployment: the state, with its secrets in plain text.
    """
    steps = {
        one["urn"].rpartition("::")[2]: plain(one["inputs"])
        for one in deployment.get("resources") or []
        if one["type"] == STEP and not one.get("delete")
    }
    for name, inputs in steps.items():
        found = BASE.search(inputs["create"])
        if found and name.endswith("-base"):
            login = Login.read(inputs["connection"], inputs.get("environment"))
            prefix = name.removesuffix("base")
            last = steps.get(f"{prefix}release") or steps.get(f"{prefix}switch") or {}
            switched = SWITCHED.search(last.get("stdin", ""))
            where = login.host if login.port == 22 else f"{login.host}:{login.port}"
            yield Host(where, found[1], login, switched[1] if switched else None)


def look(host: Host) -> Look:
    """Ask a host, and compare what it serves with what the last update has made active there."""
    try:
        answer = ask(host.login, host.app)
    except Lost as lost:
        return Look([], problem=str(lost))
    if answer is None:
        return Look(
            [[f"the application {host.app} is not on this host, or an `up` has to bring its command up to date"]]
        )
    found = written(answer["differences"])
    active = answer["active"] or {"release": "", "version": "nothing"}
    serves = f"{active['version']} ({active['release'][:8]})"
    # Where the host itself has noticed, that says it all.
    if host.release and active["release"] != host.release and not any(one[0].startswith("active") for one in found):
        found.insert(0, [f"active release is {serves} instead of {host.release[:8]}, the one of the last update"])
    return Look(found, serves)


def written(differences: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Return differences as a host tells them (what, how, detail) in lines, the first of each is a sentence."""
    return [[f"{one['what']} {one['how']}", *one["detail"].splitlines()] for one in differences]


def told(host: Host, seen: Look) -> Iterator[str]:
    """Yield the lines that a person reads of one host."""
    if seen.problem:
        yield f"{host.name}: could not be asked: {seen.problem}"
        return
    count = len(seen.differences)
    what = f"{count} difference{'' if count == 1 else 's'}" if count else "as it was written"
    yield f"{host.name}: {what}; {host.app} {seen.serves or 'nothing'} serves"
    yield from indented(seen.differences)


def indented(differences: list[list[str]]) -> Iterator[str]:
    """Yield the lines of differences below a line that names their host."""
    for first, *detail in differences:
        yield f"  {first}"
        yield from (f"      {line}" for line in detail)


def ask(login: Login, app: str) -> dict[str, Any] | None:
    """Return what `flaskhost drift` says on a host; None where the application is not there yet.

    Raises:
        Lost: the host could not be reached, or could not tell.
    """
    with shell(login) as opened:
        asked = opened.start("drift --json", app, stdout=subprocess.PIPE)
        said = asked.communicate(timeout=ANSWER_SECONDS)[0].decode(errors="replace").strip()
    last = said.splitlines()[-1] if said else ""
    if asked.returncode == 0 and last.startswith("{"):
        return dict(json.loads(last))
    if NOT_THERE.search(said):
        return None
    raise Lost(said or "the connection was closed")
