"""`flaskhost volume`: uploads, data and dumps on a disk of their own, which outlives the machine (AWS).

The disk is mounted at /data, and the application's folders are bound to those below it. A host without its disk boots
all the same; units that need these folders do not start on empty ones, since they require the mounts.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

from flaskhost import layout, locks, manifest, packages, systemd, takeover
from flaskhost import volume as disks
from flaskhost.document import Document
from flaskhost.files import directory, write
from flaskhost.progress import Progress
from flaskhost.shell import Failure

# AWS says that a volume has another size before the machine sees it.
GROW_SECONDS, POLL_SECONDS = 30.0, 1.0
# Of its units.
STATES = ["enabled", "active"]
MODES = {"shared": 0o755, "backups": 0o750}


def volume(asked: Document, progress: Progress) -> Dict[str, Any]:
    """Have the disk formatted, mounted, and used whole.

    Input: root, size (GiB), label, and as files the units that mount it and bind the application's folders to it.

    Returns:
        The `device`, its `bytes`, whether it was `formatted` now, and whether its file system has `grown`.
    """
    paths = layout.Layout(asked.app, asked["root"])
    try:
        paths.facts = layout.known(asked.app).facts
    except Failure:
        # Before the first `base`.
        paths.facts = {}
    there = paths.facts.get("root", asked["root"])
    if there != asked["root"]:
        raise Failure(
            f"flaskhost:layout.root: must stay {there}, where {asked.app!r} lies on this host (got {asked['root']}): "
            "put it back"
        )
    texts = {name: asked.file(f"/etc/systemd/system/{name}") for name in _units(paths)}
    with locks.host(paths, f"volume of {asked.app}", progress):
        takeover.refuse_foreign(paths, [f"/etc/systemd/system/{name}" for name in texts])
        _refuse_hiding(paths)
        if shutil.which("mkfs.ext4") is None:
            packages.install(["e2fsprogs"], progress)
        device, formatted = disks.ensure(paths, asked["label"], progress)
        disks.ensure_link(paths, asked["label"], device, progress)
        enough = _wait_for_size(device, asked["size"] * disks.GIB)
        mounted = systemd.is_active(disks.unit(layout.VOLUME))
        grown = disks.ensure_grown(device, progress, mounted=mounted)
        _write(paths, texts)
        _mount(paths, progress)
        for folder in (paths.at("/etc/flaskhost"), paths.etc):
            directory(folder)
        manifest.remember(
            paths, "volume", files=[paths.units / name for name in texts], units=dict.fromkeys(texts, STATES)
        )
        now = disks.size(device)
        if not enough:
            progress.say(
                f"volume: {device} has {now / disks.GIB:.4g} GiB, and the stack wants {asked['size']}: AWS may still "
                f"be at it. To use the rest later: `pulumi up --replace '**::{asked.app}-volume'`"
            )
    return {"device": str(device), "formatted": formatted, "grown": grown, "bytes": now}


def _units(paths: layout.Layout) -> List[str]:
    """Return the units, the one that the others need first."""
    return [disks.unit(layout.VOLUME), *(disks.unit_of(paths, path) for path in disks.folders(paths))]


def _refuse_hiding(paths: layout.Layout) -> None:
    """Refuse to mount over what is there: it would be neither seen nor lost.

    Raises:
        Failure: something is.
    """
    for path in (paths.at(layout.VOLUME), *disks.folders(paths)):
        if path.is_dir() and any(path.iterdir()) and not systemd.is_active(disks.unit_of(paths, path)):
            aside = path.with_name(f"{path.name}.before")
            raise Failure(
                f"{path} has content and is not on the disk for the data, which would hide it: nothing was changed. "
                f"Move it aside (`sudo systemctl stop {paths.app}; sudo mv {path} {aside}`), run `pulumi up` again, "
                f"and move what it holds back into {path}"
            )


def _write(paths: layout.Layout, texts: Dict[str, str]) -> None:
    """Have the units with these texts, known to systemd and started at boot."""
    changed = [name for name, text in texts.items() if write(paths.units / name, text)]
    if changed or systemd.is_outdated(*texts):
        systemd.systemctl("daemon-reload")
    for name in texts:
        if not systemd.is_enabled(name):
            systemd.systemctl("enable", "--quiet", name)


def _mount(paths: layout.Layout, progress: Progress) -> None:
    """Have the disk mounted, and then the folders bound to those on it, which are made once."""
    top = paths.at(layout.VOLUME)
    top.mkdir(exist_ok=True)
    _start(disks.unit(layout.VOLUME), progress)
    for path, there in disks.folders(paths).items():
        for folder in (there.parent, there):
            # What came with the disk has its owner and mode already.
            if not folder.exists():
                directory(folder, mode=MODES[there.name] if folder == there else 0o755)
        path.mkdir(parents=True, exist_ok=True)
        _start(disks.unit_of(paths, path), progress)


def _start(unit: str, progress: Progress) -> None:
    if not systemd.is_active(unit):
        systemd.systemctl("start", unit)
        progress.say(f"volume: mounted: {unit}")


def _wait_for_size(device: Path, wanted: int) -> bool:
    """Wait a moment until a disk is as large as it is said to be; return whether it is."""
    until = time.monotonic() + GROW_SECONDS
    while disks.size(device) < wanted:
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True
