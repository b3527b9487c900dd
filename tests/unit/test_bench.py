"""The benchmark's arithmetic: phases out of what the engine prints, goals out of figures of one run, what has grown."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bench import figures, footprint, peers, phases
from tests.e2e.host import APP
from tests.e2e.load import Visit

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LINES = (
    (0.4, "Updating (bench):"),
    (1.5, " ~  command:remote:CopyToRemote guestbook-source updating (0s) [diff: ~remotePath,source]"),
    (1.8, " ~  command:remote:CopyToRemote guestbook-source updated (0.30s) [diff: ~remotePath,source]"),
    (1.9, " ~  command:remote:Command guestbook-release updating (0s) [diff: ~stdin]"),
    (
        2.5,
        " ~  command:remote:Command guestbook-release updating (0s) [diff: ~stdin]; [  0.20 s] prepare: done in 0.20 s",
    ),
    (
        3.0,
        " ~  command:remote:Command guestbook-release updating (1s) [diff: ~stdin]; [  0.70 s] stage: done in 0.50 s",
    ),
    (3.1, " ~  command:remote:Command guestbook-release updated (1s) [diff: ~stdin]; [  0.70 s] stage: done in 0.50 s"),
)


def test_phases_are_read_from_what_the_engine_prints() -> None:
    """Promise: each step has its begin and its end, each verb its time on the host, and nothing is counted twice."""
    found = phases.Timed(0, 3.3, LINES).phases
    assert [(one.name, round(one.begin, 2), round(one.seconds, 2)) for one in found] == [
        ("engine and program", 0.0, 1.5),
        ("step source", 1.5, 0.3),
        ("step release", 1.9, 1.2),
        ("· prepare on the host", 2.3, 0.2),
        ("· stage on the host", 2.5, 0.5),
        ("engine's end", 3.1, 0.2),
    ]


def test_a_no_op_is_one_phase() -> None:
    """Promise: where no step ran, all is the engine's and the program's."""
    assert phases.Timed(0, 1.5, LINES[:1]).phases == [phases.Phase("engine and program", 0.0, 1.5)]


def test_bars_lie_where_their_phase_lay() -> None:
    """Promise: a bar begins where the one before it ended, and none is longer than the line."""
    lines = phases.bars([phases.Phase("a", 0, 1), phases.Phase("b", 1, 1)], 2).splitlines()
    assert lines[0].endswith("█" * 30)
    assert lines[1].endswith(" " * 30 + "█" * 30)


def test_goals_are_ratios_of_one_run_and_failed_runs_do_not_count() -> None:
    """Promise: a goal that is missed says by how much."""
    steps = ("A first", "B noop", "C deploy", "D rollback", "W noop")

    def runs(*seconds: float) -> list[dict[str, Any]]:
        return [{"s": one, "status": 0, "failed": 1} for one in seconds] + [{"s": 0.1, "status": 1, "failed": 0}]

    results: dict[str, Any] = {
        "empty": [1.0],
        "runs": {
            name: {step: runs(2.0) for step in steps} for name in ("shell", "shell-guarded", "pyinfra", "ansible")
        },
    }
    results["runs"]["flaskhost"] = {step: runs(1.0, 1.0, 9.0) for step in (*steps, "F broken")}
    found = {goal.what: goal for goal in peers.goals(results)}
    assert found["release: pyinfra's"].row.endswith("| 1.00 | 2.00 | yes |")
    assert found["first deploy: the script's and an empty run"].limit == 3.0
    assert found["release: the guarded script's and an empty run"].limit == 3.0
    assert found["rollback: pyinfra's x 1.5"].limit == 3.0
    assert found["no-op: Ansible's / 4"].row.endswith("| 1.00 | 0.50 | no: 2.00 x the limit |")
    assert peers.lost(results) == 9


def visits(version: str, begin: float, end: float, seconds: float) -> list[Visit]:
    """Return a hundred visits a second that are all answered after the same time."""
    return [Visit(at / 100, seconds, 200, version) for at in range(int(begin * 100), int(end * 100))]


def test_the_slowest_visit_of_a_hundred_is_not_the_99th_percentile() -> None:
    """Promise: 99 of 100 values do not exceed it; where there are fewer, it is the largest."""
    assert figures.percentile([9.0, *[1.0] * 98, 2.0]) == 2.0
    assert figures.percentile([1.0, 3.0, 2.0]) == 3.0


def test_the_second_of_a_switch_lies_around_the_first_visit_to_the_new_release() -> None:
    """Promise: half a second before and half a second after; in no other second do these visits count."""
    met = [
        *visits("1", 0, 4.5, 0.01),
        *visits("1", 4.5, 5, 0.03),
        *visits("2", 5, 5.5, 0.04),
        *visits("2", 5.5, 9, 0.02),
    ]
    found = figures.latencies(reversed(met), quiet=3)
    assert found.before == [0.01] * 3
    assert found.switches == [0.04]
    assert found.between == [0.01, 0.02, 0.02]


def test_a_visit_without_an_answer_is_no_new_release() -> None:
    """Promise: it tells of no version, so that no switch is seen where none was; its time counts."""
    met = [*visits("1", 0, 2, 0.01), *visits("", 2, 3, 15.0), *visits("1", 3, 5, 0.01)]
    found = figures.latencies(met, quiet=1)
    assert found.switches == []
    assert found.between == [0.01, 15.0, 0.01]


def test_growth_is_what_each_release_has_left() -> None:
    """Promise: it is counted from the first look to the last, and less than before is no growth."""
    sizes = {10: 1000, 20: 5000, 50: 1080}
    assert figures.Growth(what="disk, KiB", sizes=sizes, allowed=2).row == (
        "| disk, KiB | 1000 | 5000 | 1080 | +2.00 | 2 | yes |"
    )
    assert figures.Growth(what="disk, KiB", sizes=sizes, allowed=1.5).row.endswith("| +2.00 | 1.5 | no |")
    assert figures.Growth(what="units", sizes={10: 9, 50: 8}, allowed=0).row.endswith("| yes |")


def test_goals_of_endurance_are_ratios_of_one_run() -> None:
    """Promise: a switch is compared with the seconds before, the median and the worst; many hosts with one."""
    latencies = figures.Latencies(before=[0.01, 0.02, 0.9], switches=[0.03, 0.03, 0.05], between=[0.1])
    series = figures.Series(seconds=[5.0, 7.0, 6.0], requests=900, lost=1, latencies=latencies, sizes=looks(1, 3))
    turns = [
        figures.Turn(hosts=count, seconds=seconds, cpu=2 * seconds)
        for count, seconds in ((1, 4.0), (8, 9.0), (1, 5.0), (8, 9.0))
    ]
    text = figures.page({"cores": 2, "rate": 60.0}, series, turns)
    for row in (
        "| requests lost in 3 releases | 1 of 900 | | | 0 | no |",
        "| p99 in the second of a switch, ms, 3 releases: median | 30.00 | 20.00 | 1.50 | 2 | yes |",
        "| p99 in the second of a switch, ms, 3 releases: worst | 50.00 | 20.00 | 2.50 | 2 | no: 1.25 x the limit |",
        "| release on 8 hosts, s | 9.00 | 4.50 | 2.00 | 2 | yes |",
        "| units known to systemd | 1 | 3 | +1.00 | 0 | no |",
        "| 8 | 2 | 9.00 | 18.00 |",
    ):
        assert row in text.splitlines()


def test_switches_after_the_twentieth_only_show_what_grows() -> None:
    """Promise: what is judged does not get stricter with the number of releases."""
    latencies = figures.Latencies(before=[0.01], switches=[*[0.01] * 20, 9.0], between=[0.01])
    series = figures.Series(seconds=[1.0] * 21, requests=1, lost=0, latencies=latencies, sizes=looks(1, 2))
    _, worst, _ = figures.ratios(series, [figures.Turn(hosts=count, seconds=1, cpu=1) for count in (1, 8)])
    assert worst.measured == 10


def looks(*at: int) -> dict[int, dict[str, int]]:
    """Return a host of which as much is used as there were releases."""
    return {number: dict.fromkeys(figures.ALLOWED, number) for number in at}


def test_memory_is_told_apart_by_whose_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Promise: systemd by its number, Nginx by its name, the application by its user; what has none does not count."""
    monkeypatch.setattr(footprint, "PROCESSES", tmp_path)
    for number, size, program in (("1", 100, "systemd"), ("7", 20, "gunicorn"), ("8", 3, "flask"), ("9", 40, "nginx")):
        write_process(tmp_path, number, program, f"Rss: 999 kB\nPss:  55 kB\nPss_Anon:  {size} kB\n")
    write_process(tmp_path, "10", "kthreadd", "")
    write_process(tmp_path, str(os.getpid()), "python3", "Pss_Anon: 5000 kB\n")
    (tmp_path / "11").mkdir()  # it has ended
    (tmp_path / "sys").mkdir()
    found = footprint.memory(os.getuid())
    assert len(footprint.processes()) == 6
    assert found == {"the application": 23, "Nginx": 40, "systemd": 100, "everything else": 0}
    assert footprint.memory(os.getuid() + 1)["everything else"] == 23


def write_process(folder: Path, number: str, program: str, memory: str) -> None:
    """Have what Linux tells of a process."""
    (folder / number).mkdir()
    (folder / number / "comm").write_text(f"{program}\n")
    (folder / number / "smaps_rollup").write_text(memory)


def test_all_that_is_looked_at_has_a_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Promise: bench/footprint.py and the limits name the same things, so that a run of minutes ends with its page."""
    monkeypatch.setattr("pwd.getpwnam", lambda _name: SimpleNamespace(pw_uid=0))
    monkeypatch.setattr(footprint, "PROCESSES", tmp_path)
    monkeypatch.setattr(footprint, "disk", lambda _path: 1)
    monkeypatch.setattr(footprint, "units", lambda _app: 1)
    footprint.main(APP)
    assert set(json.loads(capsys.readouterr().out)) == set(figures.ALLOWED)
