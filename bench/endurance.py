"""Many releases in a row, and one release on many hosts.

The bundled application is released again and again, each time with other code, another static file and another
variable, and with the same dependencies. Visitors come all the while, and each visit is timed. After every fifth part
of the releases, what is used of the host is noted. Then a small application is released on one host and on several,
by turns. What comes out is kept in bench/endurance.md and bench/endurance.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures, footprint, stacks
from bench.figures import KEPT, Series, Turn
from tests.e2e import tiny
from tests.e2e.host import APP, service
from tests.e2e.load import Visitors
from tests.e2e.machine import Machine
from tests.e2e.stack import TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.e2e.host import Host

HERE = Path(__file__).parent
QUIET_SECONDS = 30
"""Load before the first release, with which the seconds of the switches are compared."""
LONGEST_SECONDS = 60
"""What a release may take on average before the load ends by itself."""
LOOKS = 5
"""How often the host is looked at."""


def measure(releases: int, rate: float, hosts: int, rounds: int) -> bool:
    """Measure, and keep the page; return whether no visitor lost anything.

    Args:
        releases: how many are made in a row.
        rate: requests a second meanwhile.
        hosts: how many are compared with one.
        rounds: how often they are.
    """
    image = stacks.image()
    with stacks.local(image) as stack:
        words = f"--releases {releases} --rate {rate:g} --hosts {hosts} --rounds {rounds}"
        machine = {
            **stacks.machine(stack),
            "image": image,
            "rate": rate,
            "command": f"make bench BENCH='endurance {words}'",
        }
        series = in_a_row(stack, releases, rate)
    turns = list(in_turns(image, hosts, rounds))
    kept = {"machine": machine, "series": asdict(series), "turns": [asdict(turn) for turn in turns]}
    (HERE / "endurance.json").write_text(json.dumps(kept, indent=1) + "\n")
    text = figures.page(machine, series, turns)
    (HERE / "endurance.md").write_text(text)
    print(text)
    return not series.lost


def in_a_row(stack: Stack, releases: int, rate: float) -> Series:
    """Release again and again while visitors come."""
    source = stack.folder / "application"
    shutil.copytree(TREE / "examples" / APP, source)
    stack.configure(app={"source": {"repository": None, "folder": str(source)}, "version": None, "keep": KEPT})
    stacks.up(stack)
    retired(stack.host)
    looks = {releases * part // LOOKS for part in range(1, LOOKS + 1)}
    seconds, sizes = [], {}
    with Visitors(stack.ports["https_port"], rate, limit=QUIET_SECONDS + LONGEST_SECONDS * releases) as visitors:
        time.sleep(QUIET_SECONDS)
        for number in range(1, releases + 1):
            change(source, number)
            stack.configure(env={"SITE_TITLE": f"Release {number}"})
            seconds.append(round(stacks.up(stack, as_elsewhere=True).seconds, 2))
            say(f"release {number}: {seconds[-1]:.2f} s, {len(visitors.failed)} requests lost until now")
            if number in looks:
                sizes[number] = look(stack.host)
    found = figures.latencies(visitors.visits, QUIET_SECONDS)
    assert len(found.switches) == releases, visitors.versions  # noqa: S101 - visitors have to meet every release
    requests, lost = len(visitors.visits), len(visitors.failed)
    return Series(seconds=seconds, requests=requests, lost=lost, latencies=found, sizes=sizes)


def change(source: Path, number: int) -> None:
    """Have the next version of the application in its folder: other code, another page, another static file."""
    original = TREE / "examples" / APP
    code, style = Path(APP, "__init__.py"), Path(APP, "static/style.css")
    (source / code).write_text((original / code).read_text().replace('"1.0.0"', f'"release {number}"'))
    (source / style).write_text(f"{(original / style).read_text()}/* release {number} */\n")


def retired(host: Host) -> None:
    """Wait until the release before has ended and only one runs."""
    idle = service("green" if host.slot() == "blue" else "blue")
    host.wait_for(f"! systemctl is-active --quiet {idle}")


def look(host: Host) -> dict[str, int]:
    """Return what is used of the host."""
    retired(host)
    host.write("/root/footprint.py", Path(footprint.__file__).read_text())
    found: dict[str, int] = json.loads(host.run(f"python3 /root/footprint.py {APP}"))
    return found


def in_turns(image: str, hosts: int, rounds: int) -> Iterator[Turn]:
    """Release on one host and on several, by turns, and yield what each took."""
    with ExitStack() as opened, tempfile.TemporaryDirectory(prefix="flaskhost-bench.") as folder:
        application = Path(folder) / "application"
        tiny.write(application, "first")
        alone, *several = [opened.enter_context(Machine(f"of-hosts-{at}", image)) for at in range(hosts + 1)]
        compared = [(fleet(Path(folder), application, machines), machines) for machines in ([alone], several)]
        for number in range(rounds + 1):
            tiny.write(application, f"release {number}")
            for stack, machines in compared:
                busy = busy_seconds()
                seconds = stacks.up(stack).seconds
                turn = Turn(hosts=len(machines), seconds=round(seconds, 2), cpu=round(busy_seconds() - busy, 2))
                say(f"release {number} on {turn.hosts} hosts: {turn.seconds:.2f} s, {turn.cpu:.2f} s of CPU")
                for machine in machines:
                    retired(machine.host)
                # The first deploy installs the dependencies.
                if number:
                    yield turn


def fleet(folder: Path, application: Path, machines: Sequence[Machine]) -> Stack:
    """Return a stack with the small application on these machines; nothing is deployed yet."""
    first = machines[0]
    place = folder / f"{len(machines)}"
    place.mkdir()
    stack = Stack(place, f"hosts-{len(machines)}", machine=first)
    for machine in machines[1:]:
        machine.authorize(first.login_public_key)
    hosts = [{name: value for name, value in one.settings.items() if name != "kind"} for one in machines]
    stack.configure(server=dict.fromkeys(stack.configured("server")))
    stack.configure(
        server={"kind": "existing", "hosts": hosts},
        app={"source": {"repository": None, "folder": str(application)}, "version": None, "static": None},
        env={"DATABASE_URL": None, "MEDIA_ROOT": None},
    )
    return stack


def busy_seconds() -> float:
    """Return the seconds that the CPUs of this machine have worked since it began (proc(5), /proc/stat)."""
    user, nice, system, _idle, _waiting, *interrupts = (
        int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    )
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    """Say a figure at once: a whole run takes minutes."""
    print(text, file=sys.stderr, flush=True)
