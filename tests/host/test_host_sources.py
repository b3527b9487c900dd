"""What the host makes of a source as teams hand it over: Python, packages, entry point, migrations."""

from __future__ import annotations

import io
import platform
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import builder, dependencies, entry, layout, packages, poetry, python, releases, tools
from flaskhost.progress import Progress
from flaskhost.shell import Failure

from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

HERE = platform.python_version()
FACTORY = "def create_app(config=None):\n    return config\n"


ENTRIES: dict[str, tuple[dict[str, str], str]] = {
    "an object": ({"wsgi.py": "from flask import Flask\napp = Flask(__name__)\n"}, "wsgi:app"),
    "an object of another name": ({"wsgi.py": "application: object = make()\n"}, "wsgi:application"),
    "one object under two names": ({"wsgi.py": "app = make()\napplication = app\n"}, "wsgi:app"),
    "an imported object": ({"wsgi.py": "from shop.web import server as app\n"}, "wsgi:app"),
    "an object in a branch": ({"wsgi.py": "try:\n    app = a()\nexcept OSError:\n    app = b()\n"}, "wsgi:app"),
    "an object before a factory": ({"app.py": f"{FACTORY}app = create_app()\n"}, "app:app"),
    "a factory": ({"run.py": FACTORY}, "run:create_app()"),
    "a factory of another name": ({"run.py": "def make_app(*, debug=False):\n    pass\n"}, "run:make_app()"),
    "an imported factory": (
        {"run.py": "from shop import create_app\nif __name__ == '__main__':\n    app = create_app()\n    app.run()\n"},
        "run:create_app()",
    ),
    "wsgi.py before app.py": ({"wsgi.py": "app = 1\n", "app.py": "app = 2\n"}, "wsgi:app"),
    "app.py before run.py": ({"run.py": "app = 1\n", "app.py": "app = 2\n"}, "app:app"),
    "a file without any is passed": ({"wsgi.py": "import shop\n", "run.py": "app = 2\n"}, "run:app"),
    "a module is no entry": (
        {"run.py": "from shop import app\n", "shop/__init__.py": FACTORY, "shop/app.py": ""},
        "shop:create_app()",
    ),
    "a package": ({"shop/__init__.py": FACTORY, "tests/__init__.py": "app = 1\n"}, "shop:create_app()"),
    "a package hides a file": ({"app/__init__.py": FACTORY, "app.py": "app = 1\n"}, "app:create_app()"),
}


@pytest.mark.parametrize(("files", "found"), ENTRIES.values(), ids=ENTRIES)
def test_the_entry_point_is_found(tmp_path: Path, files: dict[str, str], found: str) -> None:
    """Promise: the usual files and names need no setting."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert entry.find(tmp_path, "auto") == found
    assert entry.find(tmp_path, "shop.web:app") == "shop.web:app"


NO_ENTRY: dict[str, tuple[dict[str, str], str]] = {
    "nothing": ({}, r"no entry point .* in wsgi.py, app.py, run.py\): add one, or name it"),
    "another name": ({"wsgi.py": "server = 1\n"}, r"looked for app, application, create_app\(\) or make_app\(\)"),
    "in a program only": ({"run.py": "if __name__ == '__main__':\n    app = 1\n"}, "no entry point"),
    "a factory that wants something": ({"app.py": "def create_app(config): ...\n"}, "create_app of app.py needs argu"),
    "two objects": (
        {"wsgi.py": "app = a()\napplication = wrap(app)\n"},
        r"several .*wsgi:app, wsgi:application\): name",
    ),
    "two packages": ({"a/__init__.py": FACTORY, "b/__init__.py": FACTORY}, r"several .*a:create_app\(\), b:create"),
    "not to be read": ({"wsgi.py": "app = (\n"}, r"wsgi.py cannot be read by the host's Python .*or name the entry"),
}


@pytest.mark.parametrize(("files", "message"), NO_ENTRY.values(), ids=NO_ENTRY)
def test_an_entry_point_that_is_not_clear_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """Promise: nothing is guessed; the message says what was looked for and where to name it."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(Failure, match=f"flaskhost:app.wsgi: .*{message}"):
        entry.find(tmp_path, "auto")


def test_a_release_remembers_its_entry_point_for_its_unit(ready: Server) -> None:
    """Promise: systemd reads it from the release's own folder, quotes of a factory's arguments included."""
    plan = ready.release(until="prepare", app__wsgi="wsgi:create_app(\"a b\", 'c')")
    path = ready.paths.config(plan.release) / "entry"
    assert path.read_text().splitlines()[0] == 'FLASKHOST_WSGI="wsgi:create_app(\\"a b\\", \'c\')"'
    assert path.stat().st_mode & 0o777 == 0o640
    assert "FLASK_APP=" in path.read_text()


def test_a_source_without_entry_point_fails_before_anything_is_installed(ready: Server) -> None:
    """Promise: the release before serves on, and nothing was built for one that cannot start."""
    first = ready.release("v1")
    ready.calls()
    with pytest.raises(Failure, match=r"flaskhost:app.wsgi: no entry point"):
        installed(ready, {"wsgi.py": "import os\n"})
    assert not any(call.startswith("uv ") for call in ready.calls())
    assert releases.active(ready.paths).digest == first.release  # type: ignore[union-attr]


WRITTEN = {"3.11\n": "3.11", "# ours\n\n3.12.4\n3.11.2\n": "3.12.4", "cpython-3.12": "3.12", "python3.10 \n": "3.10"}


@pytest.mark.parametrize(("text", "version"), WRITTEN.items())
def test_the_version_file_of_the_source_is_read(tmp_path: Path, text: str, version: str) -> None:
    """Promise: what pyenv and uv read is read; the stack's own word comes before it."""
    (tmp_path / ".python-version").write_text(text)
    assert python.wanted(None, tmp_path) == version
    assert python.wanted("3.9", tmp_path) == "3.9"


@pytest.mark.parametrize("text", ["", "pypy3.10\n", "3.13t\n", "system\n", "2.7\n", "3\n"])
def test_another_python_than_cpython_3_is_refused(tmp_path: Path, text: str) -> None:
    """Promise: no other Python is taken for the one that was asked for."""
    (tmp_path / ".python-version").write_text(text)
    with pytest.raises(Failure, match=r"\.python-version: must be 3.N or 3.N.P \(got .*flaskhost:app.python"):
        python.wanted(None, tmp_path)


def test_a_source_that_names_no_version_gets_the_systems(tmp_path: Path) -> None:
    """Promise: nothing asked for, nothing downloaded."""
    assert python.wanted(None, tmp_path) is None


@pytest.mark.parametrize(
    ("wish", "fits"),
    [(None, True), ("3.11", True), ("3.11.2", True), ("3.11.20", False), ("3.1", False), ("3.12", False)],
)
def test_a_patch_release_is_meant_exactly(wish: str | None, fits: bool) -> None:  # noqa: FBT001 - a table
    """Promise: 3.11 is any 3.11.P, 3.11.2 is 3.11.2."""
    assert python.matches("3.11.2", wish) is fits


def have(server: Server, version: str | None, mirror: str | None = None) -> python.Python:
    """Have a Python on the scratch server."""
    uv = str(server.fakes / "bin/uv")
    return python.ensure(server.paths, version, uv, mirror, Progress(server.said))


def test_the_systems_python_is_taken_where_it_matches(server: Server) -> None:
    """Promise: nothing is installed then."""
    for version in (None, HERE, ".".join(HERE.split(".")[:2])):
        assert have(server, version) == python.Python("/usr/bin/python3", HERE)
    assert server.acted() == []


def test_uv_downloads_a_python_that_the_host_does_not_have(server: Server) -> None:
    """Promise: the exact version, once; a mirror is a folder of archives or a list of them."""
    found = have(server, "3.7.4", "https://mirror.example/releases")
    assert found == python.Python(str(server.fakes / "python-3.7.4"), "3.7.4")
    assert "mirror: https://mirror.example/releases" in server.calls()
    assert have(server, "3.7.4") == found
    assert not any("python install" in call for call in server.calls())
    assert "UV_PYTHON_INSTALL_MIRROR" in python.download_environment("https://mirror.example/releases")
    assert "UV_PYTHON_DOWNLOADS_JSON_URL" in python.download_environment("file:///srv/pythons.json")
    assert python.download_environment(None).keys() - python.environment().keys() == {"UV_CACHE_DIR"}


def test_a_python_that_nobody_has_is_told_with_what_uv_said(server: Server) -> None:
    """Promise: the message names the settings, the place and the ways out."""
    server.set("uv-fails")
    with pytest.raises(Failure, match=r"(?s)Python 3.7.4 \(flaskhost:app.python.*python_mirror.*no download found"):
        have(server, "3.7.4")


KEY = f"pub:-:4096:1:BA6932366A755776:1245366589:::-:::escaESCA::::::23::0:\nfpr:::::::::{packages.DEADSNAKES_KEY}:\n"


class Answer(io.BytesIO):
    """What a key server answers."""


@pytest.fixture
def ubuntu(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return a server with Ubuntu 22.04, and a key server that hands out what the test says."""
    text = 'ID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=jammy\n'
    (server.root / "etc/os-release").write_text(text)
    (server.root / "etc/apt/sources.list.d").mkdir(parents=True)
    server.set("gpg", KEY)

    def asked(url: str, **_: Any) -> Answer:
        assert url.endswith(packages.DEADSNAKES_KEY)
        return Answer(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")

    monkeypatch.setattr(urllib.request, "urlopen", asked)
    return server


def test_ubuntu_gets_another_python_from_deadsnakes(ubuntu: Server) -> None:
    """Promise: reference/deployment-sop.txt, section 3; signed by the one key that is known, and nothing twice."""
    said = Progress(ubuntu.said)
    assert packages.install_python(ubuntu.root / "etc", "3.10", said)
    text = (ubuntu.root / "etc/apt/sources.list.d/flaskhost-deadsnakes.sources").read_text()
    assert f"URIs: {packages.DEADSNAKES}\nSuites: jammy\n" in text
    assert f"Signed-By: {ubuntu.root}/etc/apt/keyrings/flaskhost-deadsnakes.asc\n" in text
    calls = ubuntu.acted()
    assert any(call.endswith("install python3.10 python3.10-venv python3.10-dev") for call in calls)
    assert packages.install_python(ubuntu.root / "etc", "3.10", said)
    assert ubuntu.acted() == []


@pytest.mark.parametrize("keys", ["", KEY.replace("F23C", "0000"), KEY + KEY.replace("F23C", "0000")])
def test_a_key_that_is_not_the_known_one_is_refused(ubuntu: Server, keys: str) -> None:
    """Promise: what a key server adds or exchanges signs no package of this host; another way is tried then."""
    ubuntu.set("gpg", keys)
    assert not packages.install_python(ubuntu.root / "etc", "3.10", Progress(ubuntu.said))
    assert "signs with F23C5A6CF475977595C89F51BA6932366A755776 only" in ubuntu.said.getvalue()
    assert list((ubuntu.root / "etc/apt").rglob("flaskhost*")) == []


def test_an_archive_that_does_not_serve_the_release_of_ubuntu_is_taken_out_again(ubuntu: Server) -> None:
    """Promise: no later apt-get update fails over it, also where a killed run has left it."""
    (ubuntu.root / "etc/apt/sources.list.d/flaskhost-deadsnakes.sources").write_text("Types: deb\n")
    ubuntu.set("versions", "3.10.12-1~22.04.3 installed\n3.12.4-1+jammy1 config-files\n")
    (ubuntu.fakes / "packages").write_text("gpg\n")
    ubuntu.set("apt-fails")
    assert not packages.install_python(ubuntu.root / "etc", "3.10", Progress(ubuntu.said))
    assert list((ubuntu.root / "etc/apt/sources.list.d").iterdir()) == []


def test_a_python_of_deadsnakes_keeps_its_archive_where_another_cannot_be_had(ubuntu: Server) -> None:
    """Promise: what runs there gets its updates."""
    (ubuntu.fakes / "packages").write_text("gpg\n")
    ubuntu.set("apt-fails")
    ubuntu.set("versions", "3.10.12-1~22.04.3 installed\n3.12.4-1+jammy1 installed\n")
    assert not packages.install_python(ubuntu.root / "etc", "3.14", Progress(ubuntu.said))
    assert [path.name for path in (ubuntu.root / "etc/apt/sources.list.d").iterdir()] == [
        "flaskhost-deadsnakes.sources"
    ]


def test_debian_has_no_deadsnakes(server: Server) -> None:
    """Promise: its packages are for Ubuntu, and would break a Debian."""
    assert not packages.install_python(server.root / "etc", "3.10", Progress(server.said))
    assert server.acted() == []


PROJECT = '[project]\nname = "shop"\nversion = "1"\n'


def installed(server: Server, files: dict[str, str], **changes: Any) -> list[str]:
    """Prepare a release with these files; return the calls of uv and poetry that fill the environment."""
    source = server.code(**{"requirements.txt": "flask\n", **files})
    plan = scenario.plan(source, **changes)
    server.do(plan.environment)
    server.do(plan.prepare, archive=str(source.archive))
    return [call for call in server.calls() if call.startswith(("uv pip", "uv sync", "poetry"))]


def test_uv_lock_comes_first_and_is_installed_as_it_stands(ready: Server) -> None:
    """Promise: nothing is resolved anew, nothing of developers comes along, and it is said what was chosen."""
    calls = installed(ready, {"uv.lock": "", "poetry.lock": "", "pyproject.toml": PROJECT})
    assert "uv sync --quiet --frozen --no-editable --python /usr/bin/python3 --no-dev" in calls
    assert not any("-r" in call.split() for call in calls)
    assert "uv.lock comes before poetry.lock and requirements.txt" in ready.said.getvalue()


def test_requirements_of_another_encoding_are_refused_in_words(ready: Server) -> None:
    """Promise: what PowerShell's `pip freeze >` writes is named with what to do; a mark of UTF-8 hides no line."""
    source = ready.root / "source"
    source.mkdir()
    (source / "requirements.txt").write_bytes("flask==3.0.0\n".encode("utf-16"))
    with pytest.raises(Failure, match=r"^requirements.txt must be UTF-8 \(.*save it as UTF-8.*Out-File -Encoding utf8"):
        dependencies._requirements(source, "requirements.txt")  # noqa: SLF001 - without all that a release takes
    (source / "requirements.txt").write_text("-r more.txt\n", encoding="utf-8-sig")
    (source / "more.txt").write_text("flask==3.0.0\n")
    found = dependencies._requirements(source, "requirements.txt")  # noqa: SLF001 - as above
    assert found == ["-r more.txt", "flask==3.0.0"]


def test_poetry_reads_its_own_lock(ready: Server) -> None:
    """Promise: Poetry is installed from pinned wheels, writes hashes, and uv installs what it wrote."""
    calls = installed(ready, {"poetry.lock": "", "pyproject.toml": PROJECT})
    tool, export, install, *_ = calls
    assert "--only-binary=:all: --require-hashes --no-deps -r" in tool
    assert export.startswith("poetry export --no-interaction --format=requirements.txt --output=")
    assert export.endswith("--only=main")
    assert install.endswith(f"-r {export.split('--output=')[1].split()[0]}")
    ready.calls()
    assert not any("poetry.txt" in call for call in installed(ready, {"poetry.lock": "2", "pyproject.toml": PROJECT}))


def test_every_package_of_poetry_is_pinned_with_hashes() -> None:
    """Promise: root installs nothing whose content is not known."""
    lines = poetry.PINS.read_text().replace("\\\n", "").splitlines()
    assert len(lines) > 30
    assert [line for line in lines if "==" not in line or "--hash=sha256:" not in line] == []


def test_a_file_that_the_stack_names_is_taken(ready: Server) -> None:
    """Promise: app.dependencies decides where several are there."""
    calls = installed(ready, {"uv.lock": "", "pyproject.toml": PROJECT}, app__dependencies="requirements.txt")
    assert any(call.endswith("-r requirements.txt") for call in calls)
    with pytest.raises(Failure, match=r"flaskhost:app.dependencies: poetry.lock is missing in the source"):
        installed(ready, {}, app__dependencies="poetry.lock")
    with pytest.raises(Failure, match=r"pyproject.toml is missing in the source, beside uv.lock"):
        installed(ready, {"uv.lock": ""})


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({"uv.lock": "1"}, {"uv.lock": "2"}, False),
        ({"uv.lock": "1"}, {"uv.lock": "1", "wsgi.py": "app = 2\n"}, True),
        ({"uv.lock": "1", "requirements.txt": "a"}, {"uv.lock": "1", "requirements.txt": "b"}, True),
        ({"uv.lock": 'source = { editable = "." }'}, {"uv.lock": 'source = { editable = "." }', "a.py": ""}, False),
        ({"poetry.lock": "1"}, {"poetry.lock": "2"}, False),
        ({"poetry.lock": 'type = "directory"'}, {"poetry.lock": 'type = "directory"', "a.py": ""}, False),
        ({"uv.lock": "1"}, {"uv.lock": "1", ".python-version": f"{HERE}\n"}, True),
    ],
)
def test_the_same_lock_and_python_share_an_environment(
    ready: Server,
    before: dict[str, str],
    after: dict[str, str],
    same: bool,  # noqa: FBT001 - a table
) -> None:
    """Promise: an environment's identity is what it is made of: lock, project, Python, and code that it installs."""
    for files in (before, after):
        installed(ready, {"pyproject.toml": PROJECT, **files})
    assert len(list(ready.paths.venvs.iterdir())) == (1 if same else 2)


MANAGE: dict[str, tuple[str, bool]] = {
    "Flask-Script": ("from flask_migrate import MigrateCommand\nmanager.add_command('db', MigrateCommand)\n", True),
    "a command of its own": ("@cli.group()\ndef db(): ...\n@db.command()\ndef upgrade(): ...\n", True),
    "argparse": ("commands.add_parser('db').add_subparsers().add_parser('upgrade')\n", True),
    "only calls flask": ("from shop import create_app, db\nFlaskGroup(create_app=create_app)()\n", False),
    "not to be read": ("print 'db upgrade'\n", False),
}


@pytest.mark.parametrize(("text", "manages"), MANAGE.values(), ids=MANAGE)
def test_the_migrations_of_manage_py_are_found(ready: Server, text: str, manages: bool) -> None:  # noqa: FBT001 - a table
    """Promise: reference/deployment-sop.txt, step 8: flask db upgrade or python manage.py db upgrade."""
    files = {"manage.py": text, "migrations/env.py": ""}
    plan = scenario.plan(ready.code(**files))
    ready.do(plan.environment)
    ready.do(plan.prepare, archive=str(ready.code(**files).archive))
    release = releases.read(layout.known("guestbook"), plan.release)
    found = tools.find(release.source, "auto")
    assert found is not None
    assert found.command == ("python manage.py db upgrade" if manages else "flask db upgrade")


def test_migrations_know_the_entry_point(ready: Server) -> None:
    """Promise: FLASK_APP is the entry unless the stack's environment says otherwise, which systemd reads last."""
    plan = ready.release(app__migrate="echo upgraded")
    (call,) = [call for call in ready.calls() if call.startswith("systemd-run") and "echo upgraded" in call]
    folder = ready.paths.config(plan.release)
    assert call.index(f"EnvironmentFile=-{folder}/entry") < call.index(f"EnvironmentFile={folder}/env")


def test_the_builder_is_in_no_group_of_the_application(ready: Server) -> None:
    """Promise: owners and modes alone keep environments from strangers' code, also where a host can mount nothing."""
    ready.calls()
    ready.release(app__build="true")
    builds = [call for call in ready.calls() if call.startswith("systemd-run") and "User=guestbook_build" in call]
    assert builds
    assert not any("SupplementaryGroups" in call for call in builds)
    assert (ready.fakes / "groups-of-guestbook").read_text() == "guestbook_build\n"


def test_two_applications_with_long_names_have_two_builders() -> None:
    """Promise: neither reads what the other has built; a name that useradd takes."""
    one, two = (builder.account("a" * 30 + end) for end in ("x", "y"))
    assert one != two
    assert len(one) == len(two) == builder.LONGEST_NAME
    assert builder.account("guestbook") == "guestbook_build"
