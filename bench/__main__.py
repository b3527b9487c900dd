"""`python -m bench [own|endurance|peers] [--rounds N] …`: times what a team does most, alone and beside other tools.

`own` counts what visitors lose meanwhile and shows where the time goes: bench/results.md, every figure in
bench/results.json. `endurance` makes many releases in a row, and one on many hosts: bench/endurance.md and
bench/endurance.json. `peers` does the job of the benchmark in ../shared/bench/peers beside the tools there:
bench/peers.md and bench/peers.json. Without a word all three. Machines are noisy: compare figures of one run only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import endurance, peers, phases, stacks
from tests.e2e.load import Visitors
from tests.e2e.stack import GOOD, NEWER, Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE = Path(__file__).parent
RATE = 60.0
"""Requests a second while a release is made."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One step that was timed.

    Attributes:
        step: what was done.
        seconds: wall time of `pulumi up`.
        logins: SSH sessions that the host saw.
        requests: of visitors meanwhile; 0 where there were none yet.
        lost: those of them that did not get the page.
        slowest: seconds that the slowest visitor waited.
        phases: what the time went into.
    """

    step: str
    seconds: float
    logins: int
    requests: int = 0
    lost: int = 0
    slowest: float = 0.0
    phases: list[phases.Phase] = field(default_factory=list)


def main(words: list[str]) -> int:
    """Measure; return the exit status: 1 if a visitor lost anything or a no-op opened a connection."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("own", "endurance", "peers"), help="only these figures")
    parser.add_argument("--rounds", type=int, default=3, help="how often each step but the first deploy is done")
    parser.add_argument("--releases", type=int, default=50, help="endurance: how many are made in a row")
    parser.add_argument("--rate", type=float, default=RATE, help="endurance: requests a second meanwhile")
    parser.add_argument("--hosts", type=int, default=8, help="endurance: how many hosts are compared with one")
    parser.add_argument("--bare", action="store_true", help="first deploy on a host without packages: times apt, too")
    asked = parser.parse_args(words)
    if asked.releases < endurance.LOOKS or asked.hosts < 2:
        parser.error(f"--releases must be {endurance.LOOKS} or more, --hosts 2 or more")
    parts: dict[str, Callable[[], bool]] = {
        "own": lambda: own(asked),
        "endurance": lambda: endurance.measure(asked.releases, asked.rate, asked.hosts, asked.rounds),
        "peers": lambda: peers.measure(["--rounds", str(asked.rounds)]),
    }
    good = [part() for name, part in parts.items() if asked.what in (None, name)]
    return 0 if all(good) else 1


def own(asked: argparse.Namespace) -> bool:
    """Measure the project alone; return whether no visitor lost anything and no no-op opened a connection."""
    image = "auto" if asked.bare else stacks.image()
    with stacks.local(image) as stack:
        machine = {**stacks.machine(stack), "image": image, "rate": RATE}
        figures = list(measure(stack, asked.rounds))
    text = table(machine, figures)
    (HERE / "results.md").write_text(text)
    (HERE / "results.json").write_text(
        json.dumps({"machine": machine, "figures": [asdict(figure) for figure in figures]}, indent=2) + "\n"
    )
    print(text)
    lost = sum(figure.lost for figure in figures)
    talked = [figure for figure in figures if figure.step == "no-op" and figure.logins]
    return not (lost or talked)


def measure(stack: Stack, rounds: int) -> Iterator[Figure]:
    """Do each step and yield its figures."""
    yield said(timed("first deploy", stack))
    for number in range(rounds):
        yield said(timed("no-op", stack))
        stack.configure(env={"SITE_TITLE": f"Round {number}"})
        yield said(timed("configuration change", stack, visited=True))
        stack.configure(app={"version": NEWER})
        first = "release with new dependencies and a migration" if number == 0 else "release, dependencies there"
        yield said(timed(first, stack, visited=True))
        stack.configure(app={"version": GOOD})
        yield said(timed("rollback", stack, visited=True))


def timed(step: str, stack: Stack, *, visited: bool = False) -> Figure:
    """Deploy what the configuration says and time it, under load if `visited`."""
    before = stack.host.logins() if step != "first deploy" else 0
    visitors = Visitors(stack.ports["https_port"], RATE)
    with visitors if visited else contextlib.nullcontext():
        run = stacks.up(stack)
    waits = [visit.seconds for visit in visitors.visits]
    return Figure(
        step=step,
        seconds=round(run.seconds, 2),
        logins=stack.host.logins() - before,
        requests=len(waits),
        lost=len(visitors.failed),
        slowest=max(waits, default=0.0),
        phases=run.phases,
    )


def said(figure: Figure) -> Figure:
    """Say a figure at once: a whole run takes minutes."""
    print(f"{figure.step}: {figure.seconds:.2f} s, {figure.lost} of {figure.requests} requests lost", file=sys.stderr)
    return figure


def table(machine: Mapping[str, object], figures: list[Figure]) -> str:
    """Return the figures as Markdown: medians of times, sums of requests, the worst wait."""
    lines = [
        "# Figures of `make bench`",
        "",
        ", ".join(f"{name}: {value}" for name, value in machine.items()),
        "",
        "| step | runs | `up`, median s | SSH sessions | requests | lost | slowest answer s |",
        "|---|---|---|---|---|---|---|",
    ]
    for step in dict.fromkeys(figure.step for figure in figures):
        runs = [figure for figure in figures if figure.step == step]
        seconds = statistics.median(figure.seconds for figure in runs)
        logins = max(figure.logins for figure in runs)
        requests, lost = sum(figure.requests for figure in runs), sum(figure.lost for figure in runs)
        slowest = max(figure.slowest for figure in runs)
        waits = f"{requests} | {lost} | {slowest:.2f}" if requests else "- | - | -"
        lines.append(f"| {step} | {len(runs)} | {seconds:.2f} | {logins} | {waits} |")
    lines += [
        "",
        "## Where the time goes",
        "",
        "The fastest run of each step; the end of a bar is the end of the `up`.",
    ]
    for step in dict.fromkeys(figure.step for figure in figures):
        fastest = min((figure for figure in figures if figure.step == step), key=lambda figure: figure.seconds)
        title = f"{step}, {fastest.seconds:.2f} s"
        lines += ["", "```", title, "", phases.bars(fastest.phases, fastest.seconds), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
