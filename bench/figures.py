"""The figures of bench/endurance.py, what is asked of them, and the page that tells it; nothing is measured here."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.e2e.host import APP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.e2e.load import Visit

LATENCY = 2.0
"""How many times slower visits may be in the second of a switch."""
SEVERAL = 2.0
"""How many times longer a release on several hosts may take than on one."""
IN_A_ROW = 20
"""Releases whose switches are judged; those after them show what grows."""
KEPT = 5
"""Releases that stay on the host (app.keep)."""
ALLOWED = {
    f"disk of /srv/{APP}, KiB": 4.0,
    f"of that, /srv/{APP}/releases.log, KiB": 4.0,
    "disk of /etc/flaskhost, KiB": 5.0,
    "disk of /var/cache/flaskhost, KiB": 1.0,
    "memory of the application, KiB": 64.0,
    "memory of Nginx, KiB": 64.0,
    "memory of systemd, KiB": 4.0,
    "memory of everything else, KiB": 64.0,
    "processes": 0.1,
    "units known to systemd": 0.0,
}
"""What one release may leave for good of all that bench/footprint.py looks at; PAGE says why that much."""

PAGE = """\
# Many releases in a row, and one on many hosts

One run of `make bench`; machines are noisy, so only figures of one run compare.

{machine}

| goal | measured | beside | ratio | limit | reached |
|---|---|---|---|---|---|
{goals}

## {releases} releases in a row

Each release has other code, another static file and another variable, and the same dependencies; the median of their
times is {seconds:.2f} s. Visitors send {rate:g} requests a second, each on a connection of its own, to the last one.
The engine and the program have the lowest priority here (`nice`): where a team deploys, they run on another machine.

The second of a switch lies around the first visit that the new release answers. It is compared with the median of the
{before} seconds of the same load before the first release. In a second with fewer than a hundred visits, the 99th
percentile is the slowest one. In the other seconds of the releases, in which the engine and the program share the
machine with the server and its visitors, the median is {between:.2f} ms.

| | {looks} | each release | allowed | reached |
|---|{columns}---|---|---|
{growths}

*Each release* is what one has left between the first look and the last. {kept} releases stay on the host: where the
first look comes after more of them, only what stays for a reason may grow on the disk. These are the lines in
`releases.log`, about 2 KiB, and in `/etc/flaskhost` the file of the environment, 4 KiB, which waits a day for an `up`
that may be about to name it; a release that was forgotten would be 280 KiB. In memory it is what processes with the
same work differ by; for systemd, less than a unit takes. Memory is what belongs to no file (`Pss_Anon` of
`smaps_rollup`): of files, such as the journal's, as much is in memory as there is room for.

## {hosts} hosts beside one

| hosts | runs | `up`, median s | CPU of the machine, median s |
|---|---|---|---|
{turns}

A new release without changed dependencies, by turns. All hosts are containers of this machine and share its {cores}
cores with the engine: no run can take less than its CPU seconds divided by these cores. Hosts of a team have cores of
their own.
"""


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """99th percentiles of the visits of a second, in seconds.

    Attributes:
        before: of each second before the first release.
        switches: of the second around each switch.
        between: of the other seconds, in which the engine is at work on the same machine.
    """

    before: list[float]
    switches: list[float]
    between: list[float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Releases in a row.

    Attributes:
        seconds: of each `up`.
        requests: of visitors.
        lost: those of them that did not get the page.
        latencies: of those visits.
        sizes: what the host was used for, by number of releases.
    """

    seconds: list[float]
    requests: int
    lost: int
    latencies: Latencies
    sizes: dict[int, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One release on a number of hosts: wall time, and CPU time of the whole machine meanwhile, in seconds."""

    hosts: int
    seconds: float
    cpu: float


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A figure beside another one of the same run.

    Attributes:
        what: in words, with the unit.
        measured: what is judged.
        beside: what it is compared with.
        limit: how many times that it may be.
    """

    what: str
    measured: float
    beside: float
    limit: float

    @property
    def row(self) -> str:
        """A row of the table."""
        ratio = self.measured / self.beside
        reached = "yes" if ratio <= self.limit else f"no: {ratio / self.limit:.2f} x the limit"
        return f"| {self.what} | {self.measured:.2f} | {self.beside:.2f} | {ratio:.2f} | {self.limit:g} | {reached} |"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How something has grown with the releases.

    Attributes:
        what: in words, with the unit.
        sizes: by number of releases, in their order.
        allowed: what one release may leave for good, in the same unit.
    """

    what: str
    sizes: Mapping[int, int]
    allowed: float

    @property
    def of_each(self) -> float:
        """What each release has left between the first look and the last."""
        first, last = min(self.sizes), max(self.sizes)
        return (self.sizes[last] - self.sizes[first]) / (last - first)

    @property
    def row(self) -> str:
        """A row of the table."""
        sizes = " | ".join(str(size) for size in self.sizes.values())
        reached = "yes" if self.of_each <= self.allowed else "no"
        return f"| {self.what} | {sizes} | {self.of_each:+.2f} | {self.allowed:g} | {reached} |"


def latencies(visits: Iterable[Visit], quiet: float) -> Latencies:
    """Return the percentiles of visits before, at and between switches.

    Args:
        visits: to an application of which each release has a version of its own.
        quiet: seconds until the first release is begun.
    """
    ordered = sorted(visits, key=lambda visit: visit.sent)
    moments: dict[str, float] = {}
    for visit in ordered:
        if visit.version:
            moments.setdefault(visit.version, visit.sent)
    # The first version was there before.
    switches = [moment - 0.5 for moment in list(moments.values())[1:]]
    whole = [float(second) for second in range(int(ordered[-1].sent))]
    between = [at for at in whole if at >= quiet and all(abs(at - switch) >= 1 for switch in switches)]

    def percentiles(begins: Iterable[float]) -> list[float]:
        windows = ([visit.seconds for visit in ordered if at <= visit.sent < at + 1] for at in begins)
        return [percentile(window) for window in windows if window]

    return Latencies(
        before=percentiles(at for at in whole if at + 1 <= quiet),
        switches=percentiles(switches),
        between=percentiles(between),
    )


def percentile(values: Sequence[float], part: float = 0.99) -> float:
    """Return the smallest value that at least that part of the values does not exceed (nearest rank)."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


def ratios(series: Series, turns: Sequence[Turn]) -> list[Ratio]:
    """Return the goals that compare two figures of this run."""
    before = statistics.median(series.latencies.before) * 1000
    switches = [seconds * 1000 for seconds in series.latencies.switches[:IN_A_ROW]]
    what = f"p99 in the second of a switch, ms, {len(switches)} releases"
    (_, _, alone, _), *_, (hosts, _, several, _) = by_hosts(turns)
    return [
        Ratio(what=f"{what}: median", measured=statistics.median(switches), beside=before, limit=LATENCY),
        Ratio(what=f"{what}: worst", measured=max(switches), beside=before, limit=LATENCY),
        Ratio(what=f"release on {hosts} hosts, s", measured=several, beside=alone, limit=SEVERAL),
    ]


def growths(sizes: Mapping[int, Mapping[str, int]]) -> list[Growth]:
    """Return how each thing that was looked at has grown with the releases."""
    return [
        Growth(what=what, sizes={number: found[what] for number, found in sizes.items()}, allowed=allowed)
        for what, allowed in ALLOWED.items()
    ]


def by_hosts(turns: Sequence[Turn]) -> list[tuple[int, int, float, float]]:
    """Return, by number of hosts: that number, the runs, and the medians of their seconds and of their CPU seconds."""
    found = []
    for count in sorted({turn.hosts for turn in turns}):
        runs = [turn for turn in turns if turn.hosts == count]
        seconds = statistics.median(turn.seconds for turn in runs)
        found.append((count, len(runs), seconds, statistics.median(turn.cpu for turn in runs)))
    return found


def page(machine: Mapping[str, object], series: Series, turns: Sequence[Turn]) -> str:
    """Return what is kept: the goals first, then the figures behind them."""
    found = series.latencies
    lost = f"| requests lost in {len(series.seconds)} releases | {series.lost} of {series.requests} | | | 0 |"
    rows = [f"{lost} {'no' if series.lost else 'yes'} |", *(ratio.row for ratio in ratios(series, turns))]
    compared = by_hosts(turns)
    return PAGE.format(
        machine=", ".join(f"{name}: {value}" for name, value in machine.items()),
        goals="\n".join(rows),
        seconds=statistics.median(series.seconds),
        rate=machine["rate"],
        before=len(found.before),
        between=statistics.median(found.between) * 1000,
        releases=len(series.seconds),
        looks=" | ".join(f"after {number}" for number in series.sizes),
        columns="---|" * len(series.sizes),
        growths="\n".join(growth.row for growth in growths(series.sizes)),
        kept=KEPT,
        hosts=compared[-1][0],
        turns="\n".join(f"| {count} | {runs} | {seconds:.2f} | {cpu:.2f} |" for count, runs, seconds, cpu in compared),
        cores=machine["cores"],
    )
