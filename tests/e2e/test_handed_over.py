"""Applications as teams hand them over: locks of uv and Poetry, a factory in run.py, manage.py, npm, an exact Python.

One repository, one tag for each way; what a release is made of, the application says itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ops.setup.environment import find_uv, uv_environment
from ops.setup.progress import Step
from tests.e2e import prepared, pythons
from tests.e2e.host import APP, HOME
from tests.e2e.repository import git

if TYPE_CHECKING:
    from ops.local_server.engine import Engine
    from tests.e2e.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FILES = Path(__file__).with_name("handed_over")
CANARY = "canary-6b1f0c77d2"
SHOP = """
import importlib.metadata
import platform

from flask import Flask


def create_app(note="made by a factory"):
    app = Flask(__name__)
    packages = sorted(one.metadata["Name"].lower() for one in importlib.metadata.distributions())

    @app.get("/health")
    def health():
        return {"python": platform.python_version(), "packages": packages, "note": note}

    return app
"""
MANAGE = """
import argparse, os, pathlib

parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True, dest="command")
db = commands.add_parser("db").add_subparsers(required=True, dest="action")
db.add_parser("upgrade")
parser.parse_args()
with open("/srv/guestbook/shared/data/migrations.log", "a") as log:
    print("upgraded", os.environ["FLASK_APP"], os.environ["STAGE"], file=log)
"""
BUILD = """
const fs = require("fs"), path = require("path"), ms = require("ms");
const home = "/srv/guestbook", list = (folder) => { try { return fs.readdirSync(folder); } catch { return []; } };
const read = [
    ...list(home + "/config").map((one) => `${home}/config/${one}/env`),
    ...list("/proc").filter((one) => /^[0-9]+$/.test(one) && one != process.pid).map((one) => `/proc/${one}/environ`),
    home + "/active/env", home + "/shared/.env", home + "/shared/data/migrations.log", home + "/releases.log",
    "/etc/flaskhost/guestbook/environments", "/etc/flaskhost/guestbook/git", "/etc/shadow", "/root/.ssh",
];
const written = [
    home + "/x", home + "/releases/x", home + "/venvs/x", home + "/app/x", home + "/venv/x", home + "/venv/bin/python",
    home + "/shared/media/x", home + "/run/x", "/usr/local/bin/x", "/etc/x", "/opt/x", "/var/lib/x", "/home/x",
];
const did = (act) => (place) => { try { act(place); return true; } catch { return false; } };
const look = (place) => fs.statSync(place).isDirectory() ? fs.readdirSync(place) : fs.readFileSync(place);
const proof = {
    read: read.filter(did(look)),
    written: written.filter(did((place) => fs.appendFileSync(place, "x"))),
    environment: Object.values(process.env).join(" "),
    day: ms("1d"),
};
fs.mkdirSync("shop/static", { recursive: true });
fs.writeFileSync("shop/static/proof.json", JSON.stringify(proof));
"""
RELEASES: dict[str, dict[str, str]] = {
    "uv": {"run.py": "from shop import create_app\n\nif __name__ == '__main__':\n    create_app().run()\n"},
    "poetry": {"app.py": "from shop import create_app\n\napp = create_app('made by app.py')\n"},
    "manage": {
        "wsgi.py": "from shop import create_app\n\napplication = create_app('made by wsgi.py')\n",
        "manage.py": MANAGE,
        "shop/static/a.txt": "served by Flask",
        "requirements.txt": "flask==3.1.2\n",
    },
    "npm": {
        "wsgi.py": "from shop import create_app\n\napp = create_app('built by npm')\n",
        "requirements.txt": "flask==3.1.2\n",
        "package.json": json.dumps(
            {"name": "shop", "scripts": {"build": "node build.js"}, "devDependencies": {"ms": "2.1.3"}}
        ),
        "build.js": BUILD,
    },
    "nothing": {"server.py": "from shop import create_app\n", "requirements.txt": "flask==3.1.2\n"},
}
BORROWED = {
    "uv": {"uv.toml": "pyproject.toml"},
    "poetry": {"poetry.toml": "pyproject.toml", "poetry.lock": "poetry.lock"},
    "npm": {"package-lock.json": "package-lock.json"},
}


@pytest.fixture(scope="module")
def server_image(container_engine: Engine) -> str:
    """Take an image with npm on it: that are some hundred packages of Debian's, and apt is not what this is about."""
    return prepared.ensure(container_engine, more=("nodejs", "npm"))


def lock(folder: Path) -> None:
    """Write uv.lock, as a team does before it commits; one that was kept here would name somebody's package index."""
    with Step("tests", "locking packages") as step:
        words = [find_uv(step), "lock", "--quiet", "--python", sys.executable]
    subprocess.run(words, cwd=folder, check=True, env=uv_environment())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with a tag for each way of handing an application over."""
    folder = tmp_path_factory.mktemp("repository") / "shop"
    folder.mkdir()
    git(folder, "init", "-q")
    for tag, files in RELEASES.items():
        git(folder, "checkout", "-q", "--orphan", f"branch-{tag}")
        git(folder, "rm", "-r", "-q", "-f", "--ignore-unmatch", ".")
        borrowed = {name: (FILES / kept).read_text() for kept, name in BORROWED.get(tag, {}).items()}
        for name, text in {"shop/__init__.py": SHOP, **files, **borrowed}.items():
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(text)
        if tag == "nothing":
            (folder / "shop/__init__.py").write_text(SHOP.replace("create_app", "make_shop"))
        if tag == "uv":
            lock(folder)
        git(folder, "add", "--all")
        git(folder, "commit", "-q", "--no-gpg-sign", "-m", tag)
        git(folder, "tag", "--no-sign", tag)
    return folder


@pytest.fixture(scope="module")
def shop(stack: Stack, repository: Path) -> Stack:
    """Return the stack with the repository as its source, and a secret that no build may see."""
    stack.encrypt("secrets.CANARY", CANARY)
    stack.configure(app={"source": {"repository": str(repository)}, "static": None}, env={"STAGE": "tests"})
    return stack


def health(shop: Stack) -> dict[str, Any]:
    """Return what the application says of itself."""
    return dict(json.loads(shop.site.get("/health").text))


def test_uv_lock_and_a_factory_in_run_py(shop: Stack) -> None:
    """What the lock names is there, developers' packages are not; the entry point needs no setting."""
    run = shop.deploy("uv")
    assert "entry point: run:create_app()" in run.text
    assert "dependencies: installing uv.lock with uv for Python 3." in run.text
    said = health(shop)
    assert said["note"] == "made by a factory"
    assert {"flask", "werkzeug", "gunicorn"} <= set(said["packages"])
    assert not {"iniconfig", "shop"} & set(said["packages"])


def test_poetry_lock_and_an_object_in_app_py(shop: Stack) -> None:
    """Poetry itself reads its lock, on the host, from wheels that are pinned; what runs has no Poetry."""
    run = shop.deploy("poetry")
    assert "entry point: app:app" in run.text
    assert "poetry: installing" in run.text
    said = health(shop)
    assert said["note"] == "made by app.py"
    assert {"flask", "gunicorn"} <= set(said["packages"])
    assert not {"iniconfig", "poetry"} & set(said["packages"])
    owners = shop.host.run("find /usr/local/lib/flaskhost/poetry-* ! -user root -o -perm /022 ! -type l | wc -l")
    assert owners == "0"


def test_manage_py_brings_the_database_up_to_date(shop: Stack) -> None:
    """`python manage.py db upgrade` is found, runs once as the application, and knows environment and entry point."""
    assert "migrations: python manage.py db upgrade" in shop.deploy("manage").text
    log = f"{HOME}/shared/data/migrations.log"
    assert shop.host.run(f"cat {log}") == "upgraded wsgi:application tests"
    assert shop.host.run(f"stat -c %U {log}") == APP
    assert health(shop)["note"] == "made by wsgi.py"


def test_without_a_folder_of_static_files_flask_serves_them(shop: Stack) -> None:
    """Nothing has to be said for them to work; what Flask has not is 404 as ever."""
    assert shop.site.get("/static/a.txt").text == "served by Flask"
    assert shop.site.get("/static/b.txt?a=1").status == 404


def test_npm_builds_without_a_way_to_secrets_or_to_anything_else(shop: Stack) -> None:
    """The build runs what it fetched from the registry; it reads no environment, and writes nothing but its source."""
    shop.configure(
        app={"build": "npm ci && npm run build", "static": "shop/static", "packages": ["nodejs", "npm"]},
    )
    shop.deploy("npm")
    proof = json.loads(shop.site.get("/static/proof.json").text)
    assert proof["day"] == 86_400_000
    own = [place for place in proof["read"] if place.startswith("/proc/")]
    assert [place for place in proof["read"] if place not in own] == []
    assert len(own) < 5, "its own processes at most: npm and its shell"
    assert proof["written"] == []
    assert CANARY not in json.dumps(proof)
    assert health(shop)["note"] == "built by npm"
    assert shop.host.run(f"find {HOME}/app/ ! -user root | wc -l") == "0"
    shop.configure(app={"build": None, "static": None, "packages": None})


def test_the_exact_python_of_the_version_file_comes_from_the_mirror(shop: Stack, repository: Path) -> None:
    """.python-version is honoured; uv downloads into a folder of root's, and the application runs on it."""
    exact = pythons.mirror(shop.host)
    git(repository, "checkout", "-q", "manage")
    (repository / ".python-version").write_text(f"{exact}\n")
    git(repository, "add", "--all")
    git(repository, "commit", "-q", "--no-gpg-sign", "-m", "python")
    git(repository, "tag", "--no-sign", "python")
    shop.configure(app={"python_mirror": pythons.MIRROR})
    assert f"python: this host has no {exact}, uv downloads it" in shop.deploy("python").text
    assert health(shop)["python"] == exact
    program = shop.host.run(f"readlink -f {HOME}/venv/bin/python")
    assert program.startswith(f"/usr/local/lib/flaskhost/python/cpython-{exact}-")
    assert shop.host.run(f"stat -c '%U %A' {program}") == "root -rwxr-xr-x"


def test_a_source_without_entry_point_reaches_nobody(shop: Stack) -> None:
    """The message says what was looked for, and where to name it; the release before serves on."""
    active, before = shop.host.active(), health(shop)
    shop.configure(app={"version": "nothing"})
    failed = shop.up(check=False)
    assert not failed.succeeded
    assert "flaskhost:app.wsgi: no entry point is in the source (looked for app, application" in failed.text
    assert "shop/__init__.py" in failed.text
    assert shop.host.active() == active
    assert health(shop) == before
