"""Every wrong setting that the unit tests know, through a real preview: what a person reads, and that nothing is made.

An engine run costs seconds, so as many cases as can be wrong together go into one stack file; that all of them are
shown is a promise of its own.
"""

from __future__ import annotations

import copy
import json
import math
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import settings
from ops.local_server import engine
from settings.problems import KNOWN, written
from tests.e2e.stack import Run, Stack
from tests.unit.test_settings import (
    BY_SERVER,
    EXISTING,
    FROM_REPOSITORY,
    MISSING,
    REGION,
    SEVERAL,
    SMALLEST,
    WRONG,
    WRONG_EXISTING,
    WRONG_FROM_REPOSITORY,
    WRONG_ON_AWS,
    WRONG_SEVERAL,
    at_place,
    changed,
    on_aws,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Case = tuple[str, Any, str]
"""Place, wrong value, and words of the line that a person reads."""

LINE = re.compile(r"flaskhost:\S.*: .+ \(got .+\): .+")
MOST = 4
"""Cases of one setting that are tried."""

LARGEST = 110_000
"""Bytes of a case: Pulumi hands all settings over in one variable, which Linux bounds at 128 KiB."""


def arrives(value: Any) -> bool:
    """Tell whether a stack file and Pulumi bring this value to the program as it is."""
    try:
        text = json.dumps(value, allow_nan=False)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    exact = not (isinstance(value, (int, float)) and math.fabs(value) > 2**53)
    return exact and len(text) < LARGEST and yaml.safe_load(yaml.safe_dump(value)) == value


def together(alone: Callable[[str, Any], dict[str, Any]], cases: list[Case]) -> list[tuple[dict[str, Any], list[Case]]]:
    """Return stack files, each with as many of the cases as do not hide one another; alone makes the first of each."""
    files: list[tuple[dict[str, Any], list[Case]]] = []
    for case in cases:
        place, value, _ = case
        for number, (config, there) in enumerate(files):
            if any(is_within(place, other) or is_within(other, place) for other, _, _ in there):
                continue
            more = put(config, place, value)
            if shows(lines_of(more), [*there, case]):
                files[number] = more, [*there, case]
                break
        else:
            files.append((alone(place, value), [case]))
    return files


def put(config: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """Return a configuration with a value at a place, which may be in a list."""
    return (at_place if place.startswith("server.hosts[") else changed)(config, place, value)


def is_within(place: str, other: str) -> bool:
    """Tell whether a place is another one, or in it."""
    return f"{place}.".replace("[", ".").startswith(f"{other}.".replace("[", "."))


def lines_of(config: dict[str, Any]) -> list[str]:
    """Return what the settings say of a configuration."""
    with pytest.raises(settings.ConfigurationError) as caught:
        settings.load(copy.deepcopy(config), stack="prod", region=REGION)
    return str(caught.value).splitlines()


def shows(lines: list[str], cases: list[Case]) -> bool:
    """Tell whether each case has a line with its words and its place (or what is inside of it)."""
    return all(any(words in line for line in lines) for _, _, words in cases)


def chosen(table: list[Case]) -> list[Case]:
    """Return the cases of a table that a stack file can hold, a few of each setting: each costs a run."""
    found: dict[str, list[Case]] = {}
    for case in table:
        place, value, _ = case
        if arrives(None if value is MISSING else value):
            found.setdefault(place, []).append(case)
    return [case for cases in found.values() for case in cases[:MOST]]


TABLES = (
    (partial(put, SMALLEST), WRONG),
    (partial(put, FROM_REPOSITORY), WRONG_FROM_REPOSITORY),
    (partial(put, EXISTING), WRONG_EXISTING),
    (partial(put, SEVERAL), WRONG_SEVERAL),
    (on_aws, WRONG_ON_AWS),
)
FILES = [found for alone, table in TABLES for found in together(alone, chosen(table))]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, pulumi: str) -> Iterator[Stack]:
    """Return a stack that never gets as far as a server."""
    assert pulumi
    made = Stack(tmp_path_factory.mktemp("wrong-settings"), "wrong-settings", "auto")
    try:
        yield made
    finally:
        made.close()


def refused(stack: Stack, config: dict[str, Any]) -> Run:
    """Preview a configuration, which has to be refused: nothing is made, and the state stays as it is."""
    configure(stack, config)
    before = files_of(stack.backend)
    done = stack.preview(check=False)
    assert not done.succeeded, str(done)
    assert set(re.findall(r"^ *\+ +(\S+:\S+:\S+) ", done.text, flags=re.MULTILINE)) <= {"pulumi:pulumi:Stack"}
    assert files_of(stack.backend) == before
    assert "Traceback" not in done.text, str(done)
    return done


def configure(stack: Stack, config: dict[str, Any]) -> None:
    """Make the stack file say this and nothing else."""
    document = yaml.safe_load(stack.file.read_text())
    document["config"] = {"aws:region": REGION, **{f"flaskhost:{name}": value for name, value in config.items()}}
    stack.file.write_text(yaml.safe_dump(document, allow_unicode=True))


def files_of(folder: Path) -> dict[str, str]:
    """Return every file below a folder."""
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


def said(done: Run) -> list[str]:
    """Return the lines that the program said of the configuration."""
    text = done.text.partition("Diagnostics:")[2].partition("\nResources:")[0]
    lines = [line.strip().removeprefix("error: ") for line in text.splitlines()]
    return [line for line in lines if line.startswith("flaskhost:")]


@pytest.mark.parametrize(("config", "cases"), FILES, ids=[str(number + 1) for number in range(len(FILES))])
def test_a_preview_shows_each_wrong_setting_of_a_stack_file_and_makes_nothing(
    stack: Stack, config: dict[str, Any], cases: list[Case]
) -> None:
    """Promise: key, rule, value and next step, of all that is wrong at once."""
    done = refused(stack, config)
    lines = said(done)
    assert "unhandled" not in done.text, "nothing that a person could take for a fault of the program"
    assert [words for _, _, words in cases if not any(words in line for line in lines)] == [], lines
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert engine.find(stack.server) is None


FETCHED = {name: case for name, case in BY_SERVER.items() if case[1]}


@pytest.mark.parametrize(("config", "line"), FETCHED.values(), ids=FETCHED)
def test_a_preview_names_what_the_server_needs_to_fetch_the_code(
    stack: Stack, config: dict[str, Any], line: str
) -> None:
    """Promise: nobody finds out on the server that a key is missing."""
    lines = said(refused(stack, config))
    # A key in plain text is a line of its own.
    assert [one for one in lines if one.startswith(f"flaskhost:{line.partition(' (got ')[0]}")], lines


def test_every_setting_is_tried_and_at_least_sixty_wrong_values_in_all() -> None:
    """Promise: no setting is left out, and a new one has to bring its wrong value."""
    tried = {re.sub(r"\[[0-9]\]", "", place) for _, cases in FILES for place, _, _ in cases}
    inside = {f"web.{name}.{field}" for name in ("static", "media") for field in ("url", "expires")}
    assert {written(place) for place in KNOWN} - tried - inside <= {"app.health"}
    assert sum(len(cases) for _, cases in FILES) >= 60


def test_nothing_encrypted_is_shown_wherever_it_stands(stack: Stack) -> None:
    """Promise: a secret with a wrong name, a short key, and a group that was encrypted by mistake stay hidden."""
    canary = secrets.token_hex(8)
    configure(stack, SMALLEST)
    for key in ("secrets.MY-TOKEN", "secrets.PATH", "digest_key", "web.body_size", "env.LISTEN_FDS", "secret.TOKEN"):
        stack.encrypt(key, canary)
    done = stack.preview(check=False)
    lines = said(done)
    assert [line.split(": ")[0] for line in lines] == [
        "flaskhost:web.body_size",
        "flaskhost:env.LISTEN_FDS",
        "flaskhost:secrets.MY-TOKEN",
        "flaskhost:secrets.PATH",
        "flaskhost:digest_key",
        "flaskhost:secret",
    ]
    assert canary not in done.text


UNKNOWN_COMMIT = "3f2a" * 10
NOT_TO_BE_HAD: dict[str, tuple[dict[str, Any], str]] = {
    "no such folder": ({"source": {"folder": "../nowhere"}}, "app.source.folder: must be a folder, and "),
    "no such path": (
        {"source": {"repository": "../nowhere"}, "version": "v1"},
        "app.source.repository: must be a folder, and ",
    ),
    "no repository": (
        {"source": {"repository": "/"}, "version": "v1"},
        "app.source.repository: must be a git repository (got '/'): run git init in it, or use folder instead",
    ),
    "a folder inside of one": (
        {"source": {"repository": "./docs"}, "version": "v1"},
        "app.source.repository: must be a repository and not a folder inside one (got './docs'): write the",
    ),
    "no such example": (
        {"source": {"repository": "example:shop"}, "version": "v1"},
        "app.source.repository: must be a bundled example (got 'example:shop'): there is: guestbook",
    ),
    "nobody there": (
        {"source": {"repository": "https://127.0.0.1:1/app.git"}, "version": "v1"},
        "app.source.repository: must be a repository that this machine can read (got 'https://127.0.0.1:1/app.git'): ",
    ),
    "nobody there by ssh": (
        {"source": {"repository": "ssh://git@127.0.0.1:1/app.git"}, "version": "v1"},
        "app.source.repository: must be a repository that this machine can read (got 'ssh://[hidden]@127.0.0.1:1/app.git')",
    ),
    "no such version": (
        {"source": {"repository": "example:guestbook"}, "version": "v1.0.9"},
        "app.version: must be a tag, branch or commit of 'example:guestbook' (got 'v1.0.9'): did you mean v1.0.0",
    ),
    "a branch": (
        {"source": {"repository": "example:guestbook"}, "version": "develop"},
        "app.version: must be a tag or a commit, for a branch moves without a change of the stack file (got 'develop')",
    ),
    "no such commit": (
        {"source": {"repository": "example:guestbook"}, "commit": UNKNOWN_COMMIT},
        f"app.commit: must be a commit of 'example:guestbook' (got '{UNKNOWN_COMMIT}'): ",
    ),
}


@pytest.mark.parametrize(("app", "words"), NOT_TO_BE_HAD.values(), ids=NOT_TO_BE_HAD)
def test_code_that_cannot_be_had_is_refused_before_anything_is_made(
    stack: Stack, app: dict[str, Any], words: str
) -> None:
    """Promise: one line says which setting leads nowhere, and what to do."""
    (line,) = said(refused(stack, {"server": {"kind": "local"}, "app": {"name": "guestbook", **app}}))
    assert line.startswith(f"flaskhost:{words}")
    assert LINE.fullmatch(line)


def test_settings_that_no_program_can_be_started_with_are_refused_by_the_engine(stack: Stack) -> None:
    """Promise: beyond the kernel's limit nothing is made either, though it is the engine that says so."""
    done = refused(stack, changed(SMALLEST, "env", {"LARGE": "x" * 140_000}))
    assert "argument list too long" in done.text
