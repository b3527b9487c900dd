"""What all containers of an account have in common: their engine, names, addresses, and files of root's in them."""

from __future__ import annotations

import functools
import io
import ipaddress
import json
import re
import secrets
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ops.local_server.engine import Engine, choose, limit_words, remove_words, systemd_words

if TYPE_CHECKING:
    from tests.plugins.aws.account import Account, Json

NETWORK = "podman"

# The third number of the addresses on the network; the engine gives its own from the beginning of it.
OF_MACHINES = range(100, 200)
OF_DATABASES = range(200, 240)
ELASTIC = range(240, 255)


def on(account: Account) -> Json | None:
    """Return what the account says about containers; None where its machines are only written down."""
    found = account.options.get("containers")
    return dict(found) if found else None


@functools.cache
def engine() -> Engine:
    """Return the engine that runs them."""
    return choose()


def name_of(account: Account, identity: str) -> str:
    """Return the name of the container of an instance or a database."""
    where = re.sub(r"[^a-z0-9]+", "-", account.path(".").resolve().name.lower()).strip("-")
    return f"flaskhost-test-aws-{where[:20]}-{identity}"


def create(account: Account, identity: str, image: str, host: str, address: str, *more: str) -> str:
    """Make a container with systemd, which does not run yet; return its name.

    Args:
        account: to which it belongs, and whose end is its end.
        identity: of the resource that it is.
        image: that it is made of.
        host: its name in itself.
        address: its own on the network.
        more: words for the engine.
    """
    name = name_of(account, identity)
    # Before it is made, so that it is removed whatever happens.
    account.path("containers").joinpath(name).write_text(identity)
    words = ["create", "--name", name, "--hostname", host, "--restart=no", "--stop-signal=SIGRTMIN+3", "--pull=never"]
    words += [*systemd_words(engine().name), *limit_words(), *more]
    engine().run(*words, "--network", NETWORK, "--ip", address, image, "/sbin/init")
    return name


def remove(name: str) -> None:
    """Remove a container; one that is gone already is no failure."""
    engine().run(*remove_words(engine().name, name), check=False)


def running(account: Account, identity: str) -> int | None:
    """Return the first process of a container while it runs."""
    known = engine().container(name_of(account, identity))
    if known is None or known["State"]["Status"] != "running":
        return None
    return int(known["State"]["Pid"])


def copy_in(name: str, files: dict[str, tuple[str, int]]) -> None:
    """Put files of root's into a container, whether it runs or not."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (content, mode) in files.items():
            for parent in reversed(Path(path).parents[:-1]):
                folder = tarfile.TarInfo(str(parent))
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(folder)
            member = tarfile.TarInfo(path)
            member.mode, member.mtime, member.size = mode, int(time.time()), len(content.encode())
            archive.addfile(member, io.BytesIO(content.encode()))
    engine().run("cp", "-", f"{name}:/", stdin=packed.getvalue())


@functools.cache
def network() -> Json:
    """Return what the engine knows about its network."""
    found: Json = json.loads(engine().run("network", "inspect", NETWORK).stdout)[0]
    return found


def subnet() -> ipaddress.IPv4Network:
    """Return the addresses of that network."""
    return ipaddress.IPv4Network(network()["subnets"][0]["subnet"])


def free(thirds: range) -> str:
    """Return an address that nobody is likely to have."""
    return str(subnet()[(secrets.choice(thirds) << 8) + 1 + secrets.randbelow(254)])
