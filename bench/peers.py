"""flaskhost beside other tools that do the same job, in one run of the benchmark in ../shared/bench/peers.

It runs in a copy of that folder, with flaskhost as one more contender (bench/contender.py). What comes out is kept in
bench/peers.md and bench/peers.json, with the goals of the project as ratios of that run.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.local_server import image
from ops.local_server.engine import choose
from tests.e2e import prepared

HERE = Path(__file__).parent
BENCHMARK = HERE.parents[1] / "shared" / "bench" / "peers"
NAME = "flaskhost"
BESIDE = "shell,shell-guarded,pyinfra,ansible"
RTT_MILLISECONDS = 50
EMPTY_RUNS = 5
EMPTY = "import pulumi\n"
RELEASE = "debian:12"


@dataclass(frozen=True)
class Goal:
    """What a ratio has to be.

    Attributes:
        what: in words.
        ours: seconds of flaskhost.
        limit: seconds that it must not exceed.
    """

    what: str
    ours: float
    limit: float

    @property
    def row(self) -> str:
        """A row of the table."""
        reached = "yes" if self.ours <= self.limit else f"no: {self.ours / self.limit:.2f} x the limit"
        return f"| {self.what} | {self.ours:.2f} | {self.limit:.2f} | {reached} |"


def measure(words: list[str]) -> bool:
    """Run the benchmark and keep its table; return whether flaskhost lost nothing.

    Args:
        words: further words for it, such as `--rounds 1`.
    """
    if not BENCHMARK.is_dir():
        print(f"no benchmark of peers in {BENCHMARK}: only the project's own figures")
        return True
    empty = empty_runs()
    with tempfile.TemporaryDirectory(prefix="flaskhost-peers.") as folder:
        place = Path(folder) / "peers"
        shutil.copytree(BENCHMARK, place)
        asked = ["--add", f"{NAME}={HERE / 'contender.py'}", "--only", f"{BESIDE},{NAME}"]
        asked += ["--rtt-ms", str(RTT_MILLISECONDS), "--minutes", "60", "--out", "run", *words]
        environment = {**os.environ, "BENCH_IMAGE": host_image()}
        subprocess.run([sys.executable, "bench.py", *asked], cwd=place, env=environment, check=True)
        results = json.loads((place / "run.json").read_text())
        table = (place / "run.md").read_text()
    results["empty"] = empty
    (HERE / "peers.json").write_text(json.dumps(results, indent=1) + "\n")
    text = page(results, table)
    (HERE / "peers.md").write_text(text)
    print(text)
    return not lost(results)


def host_image() -> str:
    """Return the bare server's image with SSH host keys, which the benchmark expects to be there."""
    engine = choose()
    return prepared.derived(engine, image.ensure(engine, RELEASE), "ssh-keygen -q -A")


def empty_runs() -> list[float]:
    """Return the seconds of an `up` of a program that makes nothing: what the engine itself costs."""
    took = []
    with tempfile.TemporaryDirectory(prefix="flaskhost-empty.") as folder:
        (Path(folder) / "Pulumi.yaml").write_text("name: empty\nruntime: python\n")
        (Path(folder) / "__main__.py").write_text(EMPTY)
        environment = {**os.environ, "PULUMI_BACKEND_URL": f"file://{folder}", "PULUMI_CONFIG_PASSPHRASE": "empty"}
        run = ["pulumi", "--cwd", folder, "--stack", "empty", "--non-interactive"]
        subprocess.run([*run[:3], "stack", "init", "empty"], env=environment, check=True, capture_output=True)
        for _ in range(EMPTY_RUNS):
            begin = time.perf_counter()
            subprocess.run([*run, "up", "--yes", "--skip-preview"], env=environment, check=True, capture_output=True)
            took.append(round(time.perf_counter() - begin, 3))
    return took


def page(results: dict[str, Any], table: str) -> str:
    """Return what is kept: the goals, then the benchmark's own table."""
    machine = ", ".join(f"{name}: {value}" for name, value in results["machine"].items() if name != "image")
    versions = ", ".join(f"{name} {one['version']}" for name, one in results["setup"].items() if one["version"])
    gone = lost(results)
    rows = [goal.row for goal in goals(results)]
    rows += [f"| requests lost in release, rollback and broken release | {gone} | 0 | {'no' if gone else 'yes'} |"]
    return "\n".join(
        [
            "# flaskhost beside its peers",
            "",
            "One run of `make bench`; machines are noisy, so only figures of one run compare.",
            "",
            f"{machine}; {versions}; an empty run of the engine: {statistics.median(results['empty']):.2f} s",
            "",
            "| goal | flaskhost, s | limit, s | reached |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Each contender, as the benchmark prints it",
            "",
            "In brackets: the ratio to `shell`, a script by hand, which checks nothing before visitors reach it.",
            "",
            table,
        ]
    )


def goals(results: dict[str, Any]) -> list[Goal]:
    """Return what is to be reached, with the figures of this run."""

    def seconds(name: str, step: str) -> float:
        return float(statistics.median(one["s"] for one in results["runs"][name][step] if one["status"] == 0))

    empty = statistics.median(results["empty"])
    wanted = [
        ("no-op: pyinfra's / 1.3", "B noop", seconds("pyinfra", "B noop") / 1.3),
        ("no-op: Ansible's / 4", "B noop", seconds("ansible", "B noop") / 4),
        ("no-op over the slow line: pyinfra's / 3", "W noop", seconds("pyinfra", "W noop") / 3),
        ("no-op over the slow line: Ansible's / 8", "W noop", seconds("ansible", "W noop") / 8),
        ("first deploy: the script's and an empty run", "A first", seconds("shell", "A first") + empty),
        ("release: pyinfra's", "C deploy", seconds("pyinfra", "C deploy")),
        (
            "release: the guarded script's and an empty run",
            "C deploy",
            seconds("shell-guarded", "C deploy") + empty,
        ),
        ("rollback: Ansible's", "D rollback", seconds("ansible", "D rollback")),
        ("rollback: pyinfra's x 1.5", "D rollback", seconds("pyinfra", "D rollback") * 1.5),
    ]
    return [Goal(what, seconds(NAME, step), limit) for what, step, limit in wanted]


def lost(results: dict[str, Any]) -> int:
    """Return how many requests of visitors failed with flaskhost."""
    runs = results["runs"].get(NAME, {})
    return sum(one["failed"] for step in ("C deploy", "D rollback", "F broken") for one in runs.get(step, []))
