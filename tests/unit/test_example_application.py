"""The bundled application itself: each release in an environment of its own, made of its own requirements.txt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.setup import cache
from ops.setup.environment import uv_environment

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "make_repository.py"
UV = shutil.which("uv") or shutil.which("uv", path=cache.folder() / "uv" / "bin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(UV is None, reason="uv is neither on PATH nor in the cache; `make test` puts it there"),
]

VISIT = """
import json, sys
from guestbook import create_app

app = create_app()
app.config["WTF_CSRF_ENABLED"] = False
client = app.test_client()
if "sign" in sys.argv:
    assert client.post("/", data={"author": "Ada", "text": "Hello"}).status_code == 303
health = client.get("/health")
messages = client.get("/").text.count("<article") if health.status_code == 200 else None
print(json.dumps([health.json["version"], health.json["database"], messages]))
"""


@dataclass(frozen=True)
class Release:
    """One release: its source, and the environment that uv made for it."""

    source: Path
    venv: Path
    settings: dict[str, str]

    def run(self, program: str, *words: str, fails: bool = False) -> str:
        """Run a program of the environment in the source, as a server would; return all that it says."""
        done = subprocess.run(
            [str(self.venv / "bin" / program), *words],
            cwd=self.source,
            env={"PATH": os.environ["PATH"], **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stdout
        return done.stdout

    def upgrade(self) -> str:
        """Run the migrations."""
        return self.run("flask", "--app", "wsgi:app", "db", "upgrade")

    def visit(self, *words: str) -> list[object]:
        """Sign the guestbook if told `sign`; return version, state of the database and number of messages shown."""
        seen: list[object] = json.loads(self.run("python", "-c", VISIT, *words).splitlines()[-1])
        return seen


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Release]:
    """Return the three releases on one database; the broken one has the environment of v1.1.0, as on a server."""
    folder = tmp_path_factory.mktemp("releases")
    settings = {
        "SECRET_KEY": "for tests only",
        "DATABASE_URL": f"sqlite:///{folder / 'guestbook.db'}",
        "MEDIA_ROOT": str(folder / "media"),
    }
    subprocess.run([sys.executable, str(SCRIPT), str(folder / "repository")], check=True)
    made = {}
    for version, environment in (("v1.0.0", "v1.0.0"), ("v1.1.0", "v1.1.0"), ("v1.2.0", "v1.1.0")):
        source, venv = folder / version, folder / f"venv-{environment}"
        git = ["git", "-C", str(folder / "repository"), "worktree", "add", "--quiet", "--detach"]
        subprocess.run([*git, str(source), version], check=True)
        if not venv.exists():
            for words in (
                ["venv", "--quiet", "--python", sys.executable, str(venv)],
                ["pip", "install", "--quiet", "--python", str(venv), "-r", str(source / "requirements-dev.txt")],
            ):
                subprocess.run([str(UV), *words], env=uv_environment(), check=True)
        made[version] = Release(source, venv, settings)
    return made


@pytest.mark.parametrize("version", ["v1.0.0", "v1.1.0"])
def test_its_own_tests_pass(releases: dict[str, Release], version: str) -> None:
    """Form and token, upload, health, migrations both ways: examples/guestbook/tests says what."""
    assert " passed" in releases[version].run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_old_and_new_release_work_on_the_migrated_database(releases: dict[str, Release]) -> None:
    """While v1.1.0 is staged, v1.0.0 serves on; and after the way back it serves again."""
    old, new = releases["v1.0.0"], releases["v1.1.0"]
    old.upgrade()
    assert old.visit("sign") == ["1.0.0", "ok", 1]
    # Before its migration the new release says what it misses, instead of showing visitors an error.
    assert new.visit() == ["1.1.0", "no such column: message.city", None]

    assert "Running upgrade 0001 -> 0002" in new.upgrade()
    assert old.visit("sign") == ["1.0.0", "ok", 2]
    assert new.visit("sign") == ["1.1.0", "ok", 3]
    assert old.visit() == ["1.0.0", "ok", 3]
    assert "Running upgrade" not in new.upgrade()


def test_the_broken_release_migrates_but_does_not_start_under_gunicorn(releases: dict[str, Release]) -> None:
    """Every step before the start goes well, and the traceback names what is missing."""
    broken = releases["v1.2.0"]
    broken.upgrade()
    said = broken.run("gunicorn", "--bind", "unix:gunicorn.sock", "wsgi:app", fails=True)
    assert "ModuleNotFoundError: No module named 'statsd'" in said
    assert "Worker failed to boot" in said
