"""The plugin under test: the stand-in, or whatever the variable PLUGIN names (the official one, to compare)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.plugins.hosts import SSHD, Host, ObedientHost, RealHost
from tests.plugins.protocol import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAND_IN = Path(__file__).parent / "command" / "pulumi-resource-command"
AWS_STAND_IN = Path(__file__).parent / "aws" / "pulumi-resource-aws"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder: each runs a plugin, many of them a host."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


def plugin_environment(**changes: str) -> dict[str, str]:
    """Return an environment in which the plugin finds this Python and no agent of whoever runs the tests."""
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return environment | changes


@pytest.fixture(scope="session")
def plugin_path() -> Path:
    """Return the file of the plugin under test."""
    path = Path(os.environ.get("PLUGIN") or STAND_IN).expanduser().absolute()
    if not os.access(path, os.X_OK):
        pytest.exit(f"PLUGIN names no program: {path}", returncode=2)
    return path


@pytest.fixture
def stand_in_only(plugin_path: Path) -> None:
    """Skip what only the stand-in promises."""
    if plugin_path != STAND_IN:
        pytest.skip("a promise of the stand-in alone")


@pytest.fixture(scope="module")
def shared_plugin(plugin_path: Path) -> Iterator[Plugin]:
    """Run one plugin for the tests of a module."""
    with Plugin(plugin_path, plugin_environment()) as plugin:
        yield plugin


@pytest.fixture
def plugin(shared_plugin: Plugin) -> Plugin:
    """Return the plugin with an empty log."""
    shared_plugin.log.clear()
    return shared_plugin


@pytest.fixture
def start_plugin(plugin_path: Path) -> Iterator[Callable[..., Plugin]]:
    """Return a function that starts a plugin of its own, with changes to the environment."""
    started: list[Plugin] = []

    def start(**changes: str) -> Plugin:
        started.append(Plugin(plugin_path, plugin_environment(**changes)))
        return started[-1]

    yield start
    for plugin in started:
        plugin.close()


@pytest.fixture(scope="module")
def aws() -> Iterator[Plugin]:
    """Run the stand-in for the aws plugin without an account, for the tests of a module."""
    environment = plugin_environment()
    environment.pop("FLASKHOST_AWS_ACCOUNT", None)
    with Plugin(AWS_STAND_IN, environment) as plugin:
        yield plugin


@pytest.fixture(scope="module", params=["paramiko", "sshd"])
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Run an SSH host: one of paramiko, and OpenSSH's where it is installed."""
    if request.param == "sshd" and SSHD is None:
        pytest.skip("no sshd on this machine: the host of paramiko stands for it (Debian: openssh-server)")
    folder = tmp_path_factory.mktemp("host")
    host: Host = RealHost(folder) if request.param == "sshd" else ObedientHost(folder)
    yield host
    host.close()


@pytest.fixture
def obedient(tmp_path: Path) -> Iterator[ObedientHost]:
    """Run a host of paramiko that the test may bend."""
    host = ObedientHost(tmp_path)
    yield host
    host.close()


@pytest.fixture(scope="session")
def instance_image() -> str:
    """Return the image of a machine for the stand-in for the aws plugin."""
    # Not at the top: it needs a container engine, and most tests here need none.
    from ops.local_server.engine import choose  # noqa: PLC0415
    from tests.plugins.aws.image import instance_image  # noqa: PLC0415

    return instance_image(choose())
