"""Where the time of an `up` goes: when each step began and ended, and how long each verb of it took on the host.

What the engine prints is read line by line with the time of its arrival; nothing is switched on for it.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

STEP = re.compile(r"command:\w+:\w+ +(?:[a-z0-9-]+?)-(\w+) (creating|created|updating|updated) \(")
VERB = re.compile(r"\] (\w+): done in ([\d.]+) s")
WIDTH = 60
"""Characters of the longest bar."""


@dataclass(frozen=True)
class Phase:
    """A part of an `up`.

    Attributes:
        name: what was done.
        begin: seconds since the beginning of the `up`.
        seconds: how long it took.
    """

    name: str
    begin: float
    seconds: float


@dataclass(frozen=True)
class Timed:
    """A command that has ended, with the time of each line."""

    status: int
    seconds: float
    lines: tuple[tuple[float, str], ...]

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(line for _, line in self.lines)

    @property
    def phases(self) -> list[Phase]:
        """What its time went into, in the order of their beginnings."""
        return list(_phases(self.lines, self.seconds))


def run(words: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Timed:
    """Run a command of Pulumi and note when each line of it arrives."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None  # noqa: S101 - it was asked for
    lines = tuple((time.perf_counter() - begin, line.rstrip("\n")) for line in process.stdout)
    return Timed(process.wait(), time.perf_counter() - begin, lines)


def _phases(lines: Sequence[tuple[float, str]], seconds: float) -> Iterable[Phase]:
    begins: dict[str, float] = {}
    ends: dict[str, float] = {}
    verbs: dict[str, dict[str, tuple[float, float]]] = {}
    for at, line in lines:
        step = STEP.search(line)
        if not step:
            continue
        name = step[1]
        begins.setdefault(name, at)
        if step[2].endswith("ed"):
            ends[name] = at
        done = VERB.search(line)
        if done:
            # The engine prints the last line of a step again with its end.
            verbs.setdefault(name, {}).setdefault(done[1], (at, float(done[2])))
    if not begins:
        yield Phase("engine and program", 0.0, seconds)
        return
    yield Phase("engine and program", 0.0, min(begins.values()))
    for name, begin in sorted(begins.items(), key=lambda one: one[1]):
        yield Phase(f"step {name}", begin, ends.get(name, seconds) - begin)
        for verb, (at, took) in verbs.get(name, {}).items():
            yield Phase(f"· {verb} on the host", at - took, took)
    yield Phase("engine's end", max(ends.values(), default=seconds), seconds - max(ends.values(), default=seconds))


def bars(phases: Iterable[Phase], seconds: float) -> str:
    """Return phases as bars of text, each where it lay in time."""
    lines = []
    for phase in phases:
        left = round(phase.begin / seconds * WIDTH)
        length = max(1, round(phase.seconds / seconds * WIDTH))
        bar = f"{' ' * left}{'█' * length}"[:WIDTH]
        lines.append(f"{phase.name:<28}{phase.seconds:6.2f} s  {bar}".rstrip())
    return "\n".join(lines)
