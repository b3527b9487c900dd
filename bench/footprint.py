"""What an application takes of its host: `python3 footprint.py APP` prints it as one JSON object.

It runs on the host itself, with the standard library only, while nothing is deployed.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

PROCESSES = Path("/proc")
OWN = re.compile(r"^Pss_Anon: +(\d+) kB$", re.MULTILINE)
"""A process' memory that is of no file, with its part of what it shares (Linux, Documentation/filesystems/proc.rst)."""


def main(app: str) -> int:
    """Print, in KiB, the disk under each folder and the memory of each group of processes; and how many there are."""
    folders = (f"/srv/{app}", "/etc/flaskhost", "/var/cache/flaskhost")
    found = {f"disk of {folder}, KiB": disk(folder) for folder in folders}
    log = f"/srv/{app}/releases.log"
    found[f"of that, {log}, KiB"] = disk(log)
    for group, size in memory(pwd.getpwnam(app).pw_uid).items():
        found[f"memory of {group}, KiB"] = size
    found["processes"] = len(processes())
    found["units known to systemd"] = units(app)
    print(json.dumps(found))
    return 0


def disk(path: str) -> int:
    """Return the KiB of disk below a path."""
    told = subprocess.run(["du", "-sk", path], stdout=subprocess.PIPE, check=True).stdout
    return int(told.split()[0])


def memory(user: int) -> dict[str, int]:
    """Return the KiB of memory of the application's processes, of Nginx, of systemd, and of all others but this one.

    Args:
        user: id of the user that the application runs as.
    """
    sizes = {"the application": 0, "Nginx": 0, "systemd": 0, "everything else": 0}
    for folder in processes():
        try:
            size = OWN.search((folder / "smaps_rollup").read_text())
            program = (folder / "comm").read_text().strip()
            owner = folder.stat().st_uid
        except OSError:  # it has ended
            continue
        group = "everything else"
        if folder.name == "1":
            group = "systemd"
        elif program == "nginx":
            group = "Nginx"
        elif owner == user:
            group = "the application"
        sizes[group] += int(size[1]) if size else 0
    return sizes


def processes() -> list[Path]:
    """Return what Linux tells of each process but this one and the shell that runs it."""
    ours = (os.getpid(), os.getppid())
    return [one for one in PROCESSES.iterdir() if one.name.isdigit() and int(one.name) not in ours]


def units(app: str) -> int:
    """Return how many units of the application and of flaskhost systemd has in memory, failed ones included."""
    words = ["systemctl", "list-units", "--all", "--no-legend", "--plain", f"{app}*", "flaskhost*"]
    told = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout
    return len(told.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
