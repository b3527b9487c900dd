"""The stacks that are measured, each on a server of its own that is removed at the end, and what the machine is."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import phases
from ops.local_server.engine import choose
from tests.e2e import prepared
from tests.e2e.stack import TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator


def image() -> str:
    """Return the image of a server with the packages on it."""
    return prepared.ensure(choose())


@contextlib.contextmanager
def local(image: str) -> Iterator[Stack]:
    """Have a stack with a server of its own; all of it is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="flaskhost-bench.") as folder:
        stack = Stack(Path(folder), "bench", image)
        try:
            yield stack
        finally:
            stack.close()


def up(stack: Stack, *, as_elsewhere: bool = False) -> phases.Timed:
    """Deploy what the configuration says, which must succeed: figures of a failed deploy mean nothing.

    Args:
        stack: whose configuration.
        as_elsewhere: whether server and visitors come first, as where a team's engine has a machine of its own.
    """
    last = ["nice", "-n", "19"] if as_elsewhere else []
    run = phases.run([*last, str(TREE / "pulumi"), *stack.up_words], folder=TREE, environment=stack.environment)
    assert run.status == 0, run.text  # noqa: S101 - see above
    return run


def machine(stack: Stack) -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "pulumi": stack.pulumi("version").text.strip(),
        "containers": choose().name,
        "plugin": "stand-in" if os.environ.get("FLASKHOST_STAND_IN") else "official",
        "watch": "0 s",
    }
