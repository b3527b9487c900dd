"""Poetry itself, for sources with a poetry.lock: which format that file has is Poetry's own business."""

from __future__ import annotations

from pathlib import Path

from flaskhost import locks
from flaskhost.files import own_tree, remove, settle, write
from flaskhost.layout import Layout
from flaskhost.progress import Progress
from flaskhost.python import Python, environment, numbers, system
from flaskhost.shell import Failure, run

# What it is made of, with the hash of every file (written by `make lock`).
PINS = Path(__file__).with_name("poetry.txt")
OLDEST = (3, 9)
INSTALL_SECONDS = 600


def version() -> str:
    """Return the version that is pinned."""
    return next(line for line in PINS.read_text().splitlines() if line.startswith("poetry==")).split()[0][8:]


def ensure(paths: Layout, python: Python, uv: str, progress: Progress) -> Path:
    """Have Poetry on the host, in an environment of its own that belongs to root; return the program.

    Args:
        paths: layout of the application.
        python: of the application; Poetry runs on it where the system's is too old.
        uv: the uv program.
        progress: told what is done.

    Raises:
        Failure: both Pythons are too old, or it could not be installed.
    """
    on = next((one for one in (system(), python) if numbers(one.version) >= OLDEST), None)
    if on is None:
        raise Failure(
            f"poetry.lock needs Python {'.'.join(map(str, OLDEST))} or newer to be read, and this host has "
            f"{system().version}: name a newer one in flaskhost:app.python, or add a requirements.txt"
        )
    folder = paths.at(f"/usr/local/lib/flaskhost/poetry-{version()}-{on.version}")
    program, complete = folder / "bin" / "poetry", folder / ".complete"
    if complete.exists():
        return program
    with locks.host(paths, f"poetry for {paths.app}", progress):
        if complete.exists():
            return program
        progress.say(f"poetry: installing {version()}")
        # Not in the folder itself, which uv makes only where nothing is.
        cache = folder.with_name(f".{folder.name}.cache")
        variables = {**environment(), "UV_CACHE_DIR": str(cache), "UV_LINK_MODE": "copy"}
        remove(folder)
        run([uv, "venv", "--quiet", "--python", on.program, str(folder)], env=variables)
        # Wheels only: what is built runs code of strangers, and this is root.
        words = [uv, "pip", "install", "--quiet", "--python", f"{folder}/bin/python", "--only-binary=:all:"]
        run([*words, "--require-hashes", "--no-deps", "-r", str(PINS)], timeout=INSTALL_SECONDS, env=variables)
        remove(cache)
        own_tree(folder, owner="root", group="root", readers="all")
        settle(folder)
        write(complete, "")
    return program
