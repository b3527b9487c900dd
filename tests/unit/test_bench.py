"""The benchmark's arithmetic: phases out of what the engine prints, goals out of a run beside the peers."""

from __future__ import annotations

from typing import Any

from bench import peers, phases

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
        "runs": {name: {step: runs(2.0) for step in steps} for name in ("shell", "pyinfra", "ansible")},
    }
    results["runs"]["flaskhost"] = {step: runs(1.0, 1.0, 9.0) for step in (*steps, "F broken")}
    found = {goal.what: goal for goal in peers.goals(results)}
    assert found["release: pyinfra's"].row.endswith("| 1.00 | 2.00 | yes |")
    assert found["first deploy: the script's and an empty run"].limit == 3.0
    assert found["no-op: Ansible's / 4"].row.endswith("| 1.00 | 0.50 | no: 2.00 x the limit |")
    assert peers.lost(results) == 9
