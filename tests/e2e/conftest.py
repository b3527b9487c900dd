"""Stacks on the real engine and real servers, and why they may be missing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ops.local_server.engine import choose
from ops.setup.errors import SetupError
from tests.e2e import prepared
from tests.e2e.stack import TREE, Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.local_server.engine import Engine


@pytest.fixture(scope="session")
def container_engine() -> Engine:
    """Return a container engine that works."""
    try:
        return choose()
    except SetupError as error:
        pytest.skip(f"{error} - or let `ops/setup/start containers` do it")


@pytest.fixture(scope="session")
def pulumi() -> str:
    """Return the version of the Pulumi that `./pulumi` runs; set-up gets it where it is missing."""
    done = subprocess.run([str(TREE / "pulumi"), "version"], capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        pytest.skip(f"there is no Pulumi here; `ops/setup/start` says what is missing: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


@pytest.fixture(scope="session")
def server_image(container_engine: Engine) -> str:
    """Return an image with the packages on it; the module that is about a bare host has another one."""
    return prepared.ensure(container_engine)


@pytest.fixture(scope="module")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server_image: str, pulumi: str
) -> Iterator[Stack]:
    """Return the stack of a module, on a host of its own; nothing is deployed yet."""
    assert pulumi
    label = Path(str(request.path)).stem.removeprefix("test_").replace("_", "-")
    made = Stack(tmp_path_factory.mktemp(label), label, server_image)
    try:
        yield made
    finally:
        made.close()
