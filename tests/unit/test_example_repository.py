"""The bundled application's repository: the same on every machine, and its releases differ as its users rely on."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "make_repository.py"


def make(target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script as a person does."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(target)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def git(repository: Path, *words: str) -> str:
    """Return what one Git command prints about a repository, without its last line end."""
    command = ["git", "-C", str(repository), "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run([*command, *words], capture_output=True, text=True, check=True).stdout.strip()


def added_and_removed(repository: Path, older: str, newer: str, path: str) -> tuple[set[str], set[str]]:
    """Return the lines of one file that only the newer and only the older release has."""
    old, new = (set(git(repository, "show", f"{release}:{path}").splitlines()) for release in (older, newer))
    return new - old, old - new


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository that is only looked at."""
    target = tmp_path_factory.mktemp("example") / "guestbook"
    made = make(target)
    assert made.returncode == 0, made.stderr
    return target


def test_it_has_the_releases_and_the_branches(repository: Path) -> None:
    """What a stack file can name: three tags, main at the newest of them, develop one commit after v1.1.0."""
    assert git(repository, "tag").split() == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert git(repository, "branch", "--format=%(refname:short)").split() == ["develop", "main"]
    assert git(repository, "rev-parse", "main") == git(repository, "rev-parse", "v1.2.0^{commit}")
    assert git(repository, "rev-list", "--count", "v1.1.0..develop") == "1"


def test_its_work_tree_is_clean_and_on_main(repository: Path) -> None:
    """A newcomer can change something, commit, tag and deploy it at once."""
    assert git(repository, "status", "--porcelain", "--branch") == "## main"


def test_it_is_the_same_for_everybody(repository: Path, tmp_path: Path) -> None:
    """Neither a person's Git settings nor the place, the umask or a hook's environment has a say in the hashes."""
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[user]\n  name = Somebody Else\n  email = else@example.org\n"
        "[core]\n  autocrlf = true\n[init]\n  defaultBranch = trunk\n"
        "[commit]\n  gpgSign = true\n[tag]\n  gpgSign = true\n[am]\n  threeWay = true\n"
    )
    surroundings = {
        "GIT_CONFIG_GLOBAL": str(settings),
        "GIT_AUTHOR_NAME": "Nobody",
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "TZ": "Asia/Kolkata",
        "LC_ALL": "de_DE.UTF-8",
    }
    umask = os.umask(0o077)
    try:
        made = make(tmp_path / "another place", **surroundings)
    finally:
        os.umask(umask)
    assert made.returncode == 0, made.stderr
    assert git(tmp_path / "another place", "for-each-ref") == git(repository, "for-each-ref")


def test_made_twice_it_is_left_as_it_is(repository: Path) -> None:
    """The second run says so and touches nothing."""
    before = (repository / ".git").stat().st_mtime_ns
    made = make(repository)
    assert (made.returncode, made.stderr) == (0, "")
    assert "nothing to do" in made.stdout
    assert (repository / ".git").stat().st_mtime_ns == before
    assert [path.name for path in repository.parent.iterdir()] == [repository.name]


def test_what_a_person_added_stays(tmp_path: Path) -> None:
    """A branch and a tag of one's own are no reason to make it anew."""
    target = tmp_path / "guestbook"
    make(target)
    git(target, "checkout", "-q", "-b", "mine", "v1.1.0")
    git(target, "commit", "-q", "--allow-empty", "-m", "Mine")
    git(target, "tag", "v1.1.1")
    assert "nothing to do" in make(target).stdout
    assert git(target, "log", "-1", "--format=%s", "v1.1.1") == "Mine"


def test_an_untouched_one_of_another_state_is_made_anew(repository: Path, tmp_path: Path) -> None:
    """After an update of the project, the demo's repository follows."""
    target = tmp_path / "guestbook"
    make(target)
    git(target, "tag", "--delete", "v1.2.0")
    (target / ".git" / "flaskhost-made").write_text(
        git(target, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags") + "\n"
    )
    assert "made anew" in make(target).stdout
    assert git(target, "for-each-ref") == git(repository, "for-each-ref")


@pytest.mark.parametrize("touched", ["commit", "file"])
def test_a_person_s_work_is_never_thrown_away(tmp_path: Path, touched: str) -> None:
    """Of another state and with work in it: the script stops and says what to do."""
    target = tmp_path / "guestbook"
    make(target)
    git(target, "tag", "--delete", "v1.2.0")
    if touched == "commit":
        git(target, "commit", "-q", "--allow-empty", "-m", "Mine")
    else:
        (target / "mine.txt").write_text("mine")
    made = make(target)
    assert made.returncode == 1
    assert "holds work of yours: move it away" in made.stderr


def test_another_folder_is_never_touched(tmp_path: Path) -> None:
    """A slip in the target costs nobody's files."""
    (tmp_path / "letter.txt").write_text("dear")
    made = make(tmp_path)
    assert made.returncode == 1
    assert "is something else" in made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_every_release_says_its_own_version(repository: Path) -> None:
    """The version on the page is the tag's."""
    for tag in git(repository, "tag").split():
        assert f'__version__ = "{tag[1:]}"' in git(repository, "show", f"{tag}:guestbook/__init__.py")


@pytest.mark.parametrize("release", ["v1.0.0", "v1.1.0", "v1.2.0", "develop"])
def test_every_dependency_is_pinned(repository: Path, release: str) -> None:
    """Two installations of one release are the same."""
    lines = git(repository, "show", f"{release}:requirements.txt").splitlines()
    assert [line for line in lines if not re.match(r"#|$|[a-z0-9-]+(\[[a-z]+\])?==[0-9.]+( ;|$)", line)] == []


def test_the_second_release_changes_and_adds_a_dependency(repository: Path) -> None:
    """Its virtual environment is another one."""
    changes = added_and_removed(repository, "v1.0.0", "v1.1.0", "requirements.txt")
    assert changes == ({"flask==3.1.3", "humanize==4.13.0"}, {"flask==3.1.2"})


def test_the_second_release_brings_one_migration_that_the_first_can_live_with(repository: Path) -> None:
    """It adds a column that fills itself, and changes no migration that has run already."""
    changed = git(repository, "diff", "--name-status", "v1.0.0", "v1.1.0", "--", "migrations").split("\n")
    assert changed == ["A\tmigrations/versions/0002_city.py"]
    upgrade = git(repository, "show", "v1.1.0:migrations/versions/0002_city.py").partition("def downgrade")[0]
    assert "add_column" in upgrade
    assert 'server_default=""' in upgrade


def test_the_broken_release_forgets_a_dependency_and_changes_no_table(repository: Path) -> None:
    """It imports what it does not install; going back from it touches no data."""
    assert git(repository, "diff", "--name-only", "v1.1.0", "v1.2.0", "--", "requirements.txt", "migrations") == ""
    assert "import statsd" in git(repository, "show", "v1.2.0:guestbook/metrics.py")
    assert "statsd" not in git(repository, "show", "v1.2.0:requirements.txt")


def test_the_script_can_be_run_by_its_name() -> None:
    """It is executable, as its first line says."""
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
