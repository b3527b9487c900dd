#!/usr/bin/env python3
"""Make the Git repository of the bundled application: `python3 examples/make_repository.py TARGET`.

`guestbook/` is the source of its first release. `versions/` holds what came after, one e-mail patch for each, named
like the tag that it gets (`v1.1.0.patch`) or, when it is no version, like the branch (`develop.patch`). Its header
`Parent:` names the version that it was made on. To add one: commit in the repository that this script made, then
`git format-patch -1 --keep-subject --no-signature --zero-commit --add-header='Parent: v1.1.0' --stdout`.

Names, dates and settings are fixed, so the commits have the same hashes on every machine. A repository that is right
already is left as it is, with whatever branches and tags were added to it.
"""

from __future__ import annotations

import argparse
import email
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "guestbook"
VERSIONS = HERE / "versions"
FIRST = "v1.0.0"
FIRST_DATE = "2024-03-04T09:00:00+00:00"
AUTHOR = ("Guestbook Developers", "developers@guestbook.example")
MADE = "flaskhost-made"  # in .git: the references as this script made them


class RepositoryError(Exception):
    """The repository cannot be made; the message says what to do."""


class Repository:
    """A work tree on which Git runs with our settings only, so that it does the same on every machine."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it need not be a repository yet."""
        self.folder = folder

    def git(self, *words: str, date: str = FIRST_DATE) -> str:
        """Run one Git command and return what it prints; `date` is when a commit or tag was made."""
        name, address = AUTHOR
        settings = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CEILING_DIRECTORIES": str(self.folder.parent),
            "GIT_DEFAULT_HASH": "sha1",
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": address,
            "GIT_AUTHOR_DATE": date,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": address,
            "GIT_COMMITTER_DATE": date,
            "HOME": os.devnull,
            "LC_ALL": "C",
            "TZ": "UTC",
        }
        # Everything else that is called GIT_… goes, above all GIT_DIR, which is set while a hook runs.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        try:
            done = subprocess.run(
                ["git", *words],
                cwd=self.folder,
                env={**environment, **settings},
                capture_output=True,
                text=True,
                check=True,
            )
        except FileNotFoundError as error:
            raise RepositoryError("git is not installed: install it and run this again") from error
        except subprocess.CalledProcessError as error:
            raise RepositoryError(f"git {' '.join(words)} failed in {self.folder}: {error.stderr.strip()}") from error
        return done.stdout

    def references(self) -> str:
        """Return every branch and tag with its hash, one a line."""
        return self.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")

    def tag(self, version: str, date: str) -> None:
        """Tag the commit that is checked out."""
        self.git("tag", "--annotate", "--no-sign", "--message", f"Release {version}", version, date=date)


def is_version(name: str) -> bool:
    """Tell a version's tag from a branch."""
    return re.fullmatch(r"v\d+(\.\d+)*", name) is not None


def in_order(patch: Path) -> tuple[bool, list[int], str]:
    """Sort versions by number, v1.10.0 after v1.9.0, and branches after all of them."""
    return not is_version(patch.stem), [int(number) for number in re.findall(r"\d+", patch.stem)], patch.stem


def build(folder: Path) -> Repository:
    """Make the whole history in a new folder; `main` ends at the newest version."""
    shutil.copytree(SOURCE, folder)
    repository = Repository(folder.resolve())
    repository.git("init", "--quiet", "--template=")
    repository.git("symbolic-ref", "HEAD", "refs/heads/main")
    for setting in ("core.autocrlf=false", "core.fileMode=true", "gc.auto=0"):
        repository.git("config", *setting.split("="))
    repository.git("add", "--all")  # without what the source's own .gitignore names
    repository.git("commit", "--quiet", "--no-gpg-sign", "--message", "A guestbook")
    repository.tag(FIRST, FIRST_DATE)
    for patch in sorted(VERSIONS.glob("*.patch"), key=in_order):
        header = email.message_from_string(patch.read_text(encoding="utf-8"))
        repository.git("checkout", "--quiet", "--detach", header["Parent"] or FIRST)
        repository.git("am", "--quiet", "--no-gpg-sign", "--committer-date-is-author-date", str(patch))
        if is_version(patch.stem):
            repository.tag(patch.stem, header["Date"])
            repository.git("branch", "--force", "main")
        else:
            repository.git("branch", patch.stem)
    repository.git("checkout", "--quiet", "main")
    repository.git("clean", "--quiet", "--force", "-d", "-x")
    (folder / ".git" / MADE).write_text(repository.references(), encoding="utf-8")
    return repository


def make(target: Path) -> str:
    """Make the repository, or leave it when it is right already; return what happened."""
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        new = build(Path(temporary, "new"))
        if not target.exists() or (target.is_dir() and not any(target.iterdir())):
            new.folder.replace(target)
            return "made"
        if not (target / ".git" / MADE).is_file():
            raise RepositoryError(f"{target} is something else: name a folder that is empty or not there yet")
        old = Repository(target)
        if set(new.references().splitlines()) <= set(old.references().splitlines()):
            return "is there already, nothing to do"
        if old.references() != (target / ".git" / MADE).read_text(encoding="utf-8") or old.git("status", "--porcelain"):
            raise RepositoryError(
                f"{target} was made from another state of this example, and holds work of yours: "
                "move it away and run this again"
            )
        target.replace(Path(temporary, "old"))
        new.folder.replace(target)
        return "made anew, as the example has changed"


def main() -> None:
    """Read the command line, make the repository and say what it holds."""
    parser = argparse.ArgumentParser(description="Make the Git repository of the bundled application.")
    parser.add_argument("target", type=Path, help="the folder of the repository")
    target = parser.parse_args().target
    try:
        outcome = make(target)
    except RepositoryError as error:
        sys.exit(f"{Path(__file__).name}: {error}")
    names = Repository(target).git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split()
    sys.stdout.write(f"{target}: {outcome} ({', '.join(names)})\n")


if __name__ == "__main__":
    main()
