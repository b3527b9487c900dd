"""Reasons that lie in the host itself: what a person reads says which, and what to do about it."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
from flaskhost import document, hints, packages, transient
from flaskhost.progress import Progress
from flaskhost.shell import Failure

from tests.components import scenario

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.host.conftest import Server

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(server: Server) -> Iterator[Path]:
    """Return a lock of apt's that another program holds."""
    lock = server.root / "var/lib/dpkg/lock-frontend"
    lock.parent.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdin=PIPE, stdout=PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    yield lock
    assert process.stdin
    process.stdin.close()
    process.wait()


def test_another_apt_is_waited_for_and_named(server: Server, held: Path) -> None:
    """Promise: the host's own apt setting says how long; then the message says who holds the lock, and what to do."""
    server.set("bin/apt-config", "#!/bin/sh\necho 'DPkg::Lock::Timeout \"1\";'\n")
    (server.fakes / "bin/apt-config").chmod(0o755)
    with pytest.raises(
        Failure, match=rf"python\S* \(pid \d+\) holds {held}, so no package can be installed: wait until"
    ):
        packages.install(["jq"], Progress(server.said))
    assert "is installing packages: waiting up to 1 s" in server.said.getvalue()
    assert server.acted() == []


def test_a_lock_that_nobody_holds_is_no_reason_to_wait(server: Server) -> None:
    """Promise: the file itself is always there."""
    (server.root / "var/lib/dpkg").mkdir(parents=True)
    (server.root / "var/lib/dpkg/lock-frontend").touch()
    assert packages.install(["jq"], Progress(server.said)) == ["jq"]
    assert "waiting" not in server.said.getvalue()


def booting(server: Server) -> Path:
    """Have cloud-init at work; return the file that says that it has ended."""
    folder = server.root / "run/cloud-init"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text("{}")
    return folder / "result.json"


def test_a_first_boot_is_waited_for(server: Server) -> None:
    """Promise: cloud-init does not change the sources of packages between two words to apt."""
    ended = booting(server)
    threading.Timer(0.5, ended.write_text, ("{}",)).start()
    begun = time.monotonic()
    assert packages.install(["jq"], Progress(server.said)) == ["jq"]
    assert time.monotonic() - begun >= 0.5
    assert "apt: cloud-init is setting up this machine: waiting up to 300 s" in server.said.getvalue()


def test_a_first_boot_that_does_not_end_is_not_waited_for_for_good(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: apt is asked then, and says itself what is wrong."""
    booting(server)
    monkeypatch.setattr(packages, "FIRST_BOOT_SECONDS", 0)
    assert packages.install(["jq"], Progress(server.said)) == ["jq"]


def test_a_boot_that_has_ended_is_no_reason_to_wait(server: Server) -> None:
    """Promise: its files are there until the next one."""
    booting(server).write_text("{}")
    assert packages.install(["jq"], Progress(server.said)) == ["jq"]
    assert "cloud-init" not in server.said.getvalue()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("error: failed to write to file: No space left on device (os error 28)", "a disk of this host is full"),
        ("invalid peer certificate: certificate not valid yet: verification time 1", "the clock of this host says 20"),
        ("invalid peer certificate: certificate expired: verification time 99", "`timedatectl set-ntp true`"),
        ("SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid", "the clock"),
        ("server certificate verification failed: certificate has expired or is not yet valid", "the clock"),
        ("E: Release file for http://x is not valid yet (invalid for another 2h)", "the clock"),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", "`ss -ltnp` says which"),
    ],
)
def test_a_reason_that_programs_only_name_is_explained(said: str, words: str) -> None:
    """Promise: the program's own words stay, and the next step stands below them."""
    first, second = hints.of(said).split("\n")
    assert first == said
    assert words in second


@pytest.mark.parametrize("said", ["no such package", "the certificate is fine", "release v1 is not valid"])
def test_nothing_is_explained_that_is_not_named(said: str) -> None:
    """Promise: no message sends anybody the wrong way."""
    assert hints.of(said) == said


def test_a_full_disk_is_no_defect(server: Server) -> None:
    """Promise: wherever a verb writes, the message says what is full and that nothing half-done serves."""

    def full(_asked: document.Document, _progress: Progress) -> dict[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device", "/srv/guestbook/config")

    asked = document.parse(scenario.plan().site)
    outcome, status = transient.work([asked], Progress(server.said), {"site": lambda _asked: full})
    assert status == 1
    assert "/srv/guestbook/config" in outcome["error"]
    assert "make room, and run `pulumi up` again" in outcome["error"]
    assert "defect" not in outcome["error"]


def test_a_package_that_cannot_be_compiled_names_the_settings_that_help(ready: Server) -> None:
    """Promise: the compiler's words, and what to write into the stack file."""
    uv = ready.root / "usr/local/lib/flaskhost/uv-0.13.8/bin/uv"
    uv.write_text("#!/bin/sh\necho \"error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'\"; exit 1\n")
    with pytest.raises(Failure, match=r"(?s)linux-gnu-gcc.*has no compiler.*flaskhost:app\.compiler: true"):
        ready.release("v1", until="prepare")
