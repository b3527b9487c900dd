"""What goes to the server: the identity of a release, what a reviewer sees, and where secrets are not."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import document as reader
from flaskhost import envfile
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rendering
import settings
from sources import Resolved
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

# Everything that settings let through: text without control characters but tab and newline.
VALUES = st.text(st.characters(codec="utf-8")).filter(
    lambda text: settings.rules.is_unicode(text) and not settings.rules.has_control_characters(text)
)
HOSTILE = {
    "QUOTES": 'it\'s "quoted" `backticks` $HOME ${HOME} $(id) \\ \\\\ \\n',
    "LINES": 'one\ntwo="2"\nOTHER="injected"\n# secret: QUOTES\n\n',
    "COMMENT": "# no comment; nor; this",
    "BLANKS": "  leading and trailing\t ",
    "EMPTY": "",
    "PERCENT": "%h %% {{ x }} {% endfor %}",
    "UNICODE": "Grüße ☃ \U0001f600 \u00a0",
    "BACKSLASH": "ends with \\",
}
STEPS = ("base", "site", "environment", "prepare", "stage", "switch")


def texts(plan: rendering.Plan) -> dict[str, str]:
    """Return every document by its step."""
    return {step: getattr(plan, step) for step in STEPS}


def environment(values: dict[str, str], secrets: dict[str, str] | None = None) -> str:
    """Return the environment file of a stack with these variables."""
    plan = scenario.plan(env=values, secrets=secrets or {})
    return reader.parse(plan.environment).file("env")


def sourced(text: str, names: list[str], tmp_path: Path) -> dict[str, str]:
    """Return what a shell has in these variables after `set -a; . file`."""
    path = tmp_path / "env"
    path.write_text(text)
    script = 'set -a; . "$0"; for name; do eval "printf \'%s\\0\' \\"\\$$name\\""; done'
    done = subprocess.run(["sh", "-c", script, str(path), *names], capture_output=True, check=True, env={"HOME": "/x"})
    return dict(zip(names, done.stdout.decode().split("\0")[:-1], strict=True))


def test_hostile_values_come_back_as_they_were_on_the_host_and_in_a_shell(tmp_path: Path) -> None:
    """Promise: quotes, lines, backslashes, dollars and comments in a value stay text, for every reader of the file."""
    text = environment(HOSTILE)
    assert envfile.parse(text) == HOSTILE
    assert sourced(text, list(HOSTILE), tmp_path) == HOSTILE


@hypothesis_settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{2,8}X", fullmatch=True), VALUES, max_size=4))
def test_any_value_that_settings_accept_comes_back(values: dict[str, str]) -> None:
    """Promise: no accepted value is changed on its way, and none makes another variable."""
    text = rendering._render("srv/app/config/env.j2", secrets=[], variables=values)  # noqa: SLF001 - the same text
    assert envfile.parse(text) == values


def test_many_random_values_mean_the_same_to_a_shell(tmp_path: Path) -> None:
    """Promise: an operator who sources the file has what the application has."""
    special = "\"\\$`'# \t\n;&|<>*?~!{}()="
    values = {f"V{n}": "".join(special[(n * 7 + k * (n + 3)) % len(special)] for k in range(40)) for n in range(60)}
    assert sourced(environment({}, values), list(values), tmp_path) == values


def test_the_environment_file_names_its_secrets_and_only_them() -> None:
    """Promise: the host knows from the file itself which values must not be in a message."""
    text = environment({"PLAIN": "plain"}, {"TOKEN": "one\ntwo", "KEY": "three"})
    assert sorted(envfile.secrets(text)) == ["one\ntwo", "three"]
    assert envfile.secrets(environment({"PLAIN": "# secret: PLAIN"}, {})) == []


def test_the_same_input_makes_the_same_documents() -> None:
    """Promise: an `up` with nothing to change changes no step, on any machine."""
    assert texts(scenario.plan()) == texts(scenario.plan())
    swapped = {"B": "2", "A": "1"}
    assert texts(scenario.plan(env=swapped)) == texts(scenario.plan(env=dict(sorted(swapped.items()))))


IDENTITY: dict[str, dict[str, Any]] = {
    "plain variable": {"env__SITE_TITLE": "Other"},
    "new variable": {"env__NEW": "1"},
    "secret": {"secrets__SECRET_KEY": "another-secret"},
    "new secret": {"secrets__NEW": "new-secret"},
    "workers": {"app__gunicorn__workers": 3},
    "gunicorn timeout": {"app__gunicorn__timeout": 61},
    "gunicorn setting": {"app__gunicorn__settings": {"max_requests": 10}},
    "gunicorn version": {"app__gunicorn__version": "22.0.0"},
    "unit text": {"app__gunicorn__graceful_timeout": 31},
    "entry point": {"app__wsgi": "wsgi:application"},
    "python": {"app__python": "3.11"},
    "dependencies": {"app__dependencies": "uv.lock"},
    "build": {"app__build": "make"},
    "static folder": {"app__static": "other"},
    "root": {"layout__root": "/var/www"},
    "digest key": {"digest_key": "f" * 32},
}
SAME: dict[str, dict[str, Any]] = {
    "health": {"app__health": {"path": "/other", "status": 204, "attempts": 1, "seconds": 5}},
    "warm-up": {"app__health": {"warm_up": ["/shop"]}},
    "keep": {"app__keep": 9},
    "watch": {"app__watch": {"seconds": 0, "requests": 1, "errors": 50}},
    "domains": {"web__domains": ["other.example"]},
    "body size": {"web__body_size": "1m"},
    "tls": {"web__https": False},
    "compiler": {"app__compiler": False},
    "packages": {"app__packages": ["libvips42"]},
    "migrations": {"app__migrate": "none"},
    "release command": {"app__on_release": "flask seed", "app__on_release_timeout": 60},
    "time of the build": {"app__build_timeout": 60},
    "example of the environment": {"app__env_example": None},
    "patience": {"app__lock_wait": 1},
    "ports": {"server__https_port": 8443},
    "the name of the version": {"app__version": "v1"},
}


@pytest.mark.parametrize("changes", IDENTITY.values(), ids=IDENTITY.keys())
def test_what_makes_a_release_changes_its_identity(changes: dict[str, Any]) -> None:
    """Promise: a change of code, environment, settings or units is a release, and goes through the slots."""
    plan = scenario.plan(**changes)
    assert plan.release != scenario.plan().release
    assert all(plan.release in getattr(plan, step) for step in ("prepare", "stage", "switch"))


def test_the_environment_is_sent_only_when_it_is_another() -> None:
    """Promise: a release of new code costs no session for an environment that the host has."""
    other = scenario.plan(scenario.resolved(content="other"), app__gunicorn__timeout=31)
    assert other.environment == scenario.plan().environment
    for again in (scenario.plan(env__LOG_LEVEL="INFO"), scenario.plan(secrets__SECRET_KEY="another")):
        assert again.environment.splitlines()[1] != other.environment.splitlines()[1]


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME.keys())
def test_what_is_around_a_release_does_not(changes: dict[str, Any]) -> None:
    """Promise: nothing is restarted for what does not concern the running application."""
    assert scenario.plan(**changes).release == scenario.plan().release


def test_another_commit_or_tree_is_another_release() -> None:
    """Promise: what is deployed is the code at one commit, down to its bytes."""
    releases = {
        scenario.plan(scenario.resolved()).release,
        scenario.plan(scenario.resolved(commit="0" * 40)).release,
        scenario.plan(scenario.resolved(content="other")).release,
    }
    assert len(releases) == 3


def test_a_unit_is_a_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the text counts, not the template's name: a newer flaskhost with another unit makes a release."""
    before = scenario.plan().release
    true = rendering._render  # noqa: SLF001 - the place where a newer template would make itself felt
    monkeypatch.setattr(rendering, "_render", lambda name, **values: true(name, **values) + "# newer\n")
    assert scenario.plan().release != before


# The name of a version changes which source is resolved, and here that is given.
VISIBLE = {name: changes for name, changes in {**IDENTITY, **SAME}.items() if name != "the name of the version"}


@pytest.mark.parametrize("changes", VISIBLE.values(), ids=VISIBLE.keys())
def test_every_change_reaches_the_switch(changes: dict[str, Any]) -> None:
    """Promise: whatever changed on the host is looked at afterwards; the checks are no step that never runs again."""
    assert scenario.plan(**changes).switch != scenario.plan().switch


def test_no_document_but_the_environment_holds_a_secret_or_its_plain_digest() -> None:
    """Promise: what preview shows, and what the state keeps unencrypted, says nothing about a secret."""
    plan = scenario.plan(secrets={"SECRET_KEY": scenario.CANARY, "PIN": "4711"})
    for step, text in texts(plan).items():
        if step == "environment":
            assert scenario.CANARY in text
            continue
        assert scenario.CANARY not in text
        assert scenario.KEY not in text
        for shape in ("4711", "PIN=4711", "PIN4711", '"4711"', "PIN=4711\n"):
            for algorithm in ("md5", "sha1", "sha256", "sha512"):
                assert hashlib.new(algorithm, shape.encode()).hexdigest()[:16] not in text
            assert hmac.new(b"", shape.encode(), hashlib.sha256).hexdigest()[:16] not in text
    assert scenario.CANARY not in repr(plan)


def test_the_digest_of_a_secret_needs_the_key_and_the_name() -> None:
    """Promise: without the key nobody can try values; two variables with the same value do not look alike."""

    def seen(**changes: Any) -> dict[str, Any]:
        values = reader.parse(scenario.plan(**changes).prepare).values
        return {name: value for name, value in values.items() if name.startswith("secrets.")}

    one = seen(secrets={"A": "same-value", "B": "same-value"})
    assert one["secrets.A"] != one["secrets.B"]
    assert seen(secrets={"A": "same-value", "B": "same-value"}, digest_key="f" * 32)["secrets.A"] != one["secrets.A"]
    assert all(value.startswith("hmac:") for value in one.values())


def test_a_reviewer_reads_which_variable_changed() -> None:
    """Promise: preview shows the plain value that changes, and of a secret its name."""
    before = scenario.plan().prepare.splitlines()
    after = scenario.plan(env__SITE_TITLE="Visitors", secrets__SECRET_KEY="new-secret").prepare.splitlines()
    changed = [line.split(" = ")[0] for line in after if line not in before]
    assert [name for name in changed if name.startswith(("env.", "secrets."))] == [
        "env.SITE_TITLE",
        "secrets.SECRET_KEY",
    ]
    assert 'env.SITE_TITLE = "Visitors"' in after


def test_a_host_is_named_as_a_visitor_would() -> None:
    """Promise: the health check asks for the site's own name, also where that is a wildcard or missing."""

    def asked(**changes: Any) -> str:
        return str(reader.parse(scenario.plan(**changes).stage)["health"]["host"])

    assert asked() == "guestbook.example"
    assert asked(web__domains=["*.guestbook.example"]) == "www.guestbook.example"
    assert asked(web__domains=[]) == "localhost"


def test_the_url_is_where_the_application_is() -> None:
    """Promise: the output `url` can be opened: with the port where one is needed."""
    assert scenario.plan().url == "https://guestbook.example:20443/"
    assert scenario.plan(server__https_port=443).url == "https://guestbook.example/"
    assert scenario.plan(web__https=False).url == "http://guestbook.example:20080/"
    assert scenario.plan(web__https=False, server__http_port=80).url == "http://guestbook.example/"


def test_every_document_is_for_its_verb_and_application() -> None:
    """Promise: the host refuses a document that is for another verb, so each says which it is for."""
    for step, text in texts(scenario.plan()).items():
        found = reader.parse(text)
        assert (found.verb, found.app) == (step, "guestbook")


def test_the_archive_of_the_code_has_a_place_of_its_own() -> None:
    """Promise: another tree goes to another file, and the document of prepare names it."""
    plan, other = scenario.plan(), scenario.plan(scenario.resolved(content="other"))
    assert plan.archive != other.archive
    assert reader.parse(plan.prepare)["archive"] == plan.archive
    assert not str(plan.archive).startswith("/")


SSH = {
    "app__source": {"repository": "git@git.example:team/shop.git", "via": "server", "host_key": scenario.HOST_KEY},
    "credentials__deploy_key": scenario.PRIVATE_KEY,
}
HTTPS = {
    "app__source": {"repository": "https://git.example/team/shop.git", "via": "server"},
    "credentials__git_token": "token-4f1c02d9",
}


def fetched(**changes: Any) -> rendering.Plan:
    """Return the plan of a source that the server fetches."""
    return scenario.plan(Resolved("v1.0.0", "3f2a" * 10, "ab" * 32, None, 0), **changes)


def test_a_source_that_the_server_fetches_needs_no_upload() -> None:
    """Promise: the document says where the commit is, for a reviewer and for the server."""
    plan = fetched(**SSH)
    asked = reader.parse(plan.prepare)
    assert plan.archive is None
    assert asked["archive"] is None
    assert (asked["repository"], asked["host_key"]) == ("git@git.example:team/shop.git", scenario.HOST_KEY)
    assert asked["commit"] == "3f2a" * 10
    assert "repository" not in reader.parse(scenario.plan().prepare).values


@pytest.mark.parametrize(
    ("access", "files"),
    [
        (SSH, {"git/deploy_key": scenario.PRIVATE_KEY}),
        (HTTPS, {"git/token": "username=x-access-token\npassword=token-4f1c02d9\n"}),
        (
            {**HTTPS, "credentials__git_token": "reader:token"},
            {"git/token": "username=reader\npassword=token\n"},
        ),
        ({"credentials__deploy_key": scenario.PRIVATE_KEY}, {}),
    ],
    ids=["key", "token", "token of a user", "not fetched"],
)
def test_what_git_logs_in_with_is_in_the_secret_document_alone(access: dict[str, Any], files: dict[str, str]) -> None:
    """Promise: it travels with the environment and nowhere else, and another key makes no other release."""
    plan = fetched(**access)
    there = reader.parse(plan.environment).files
    assert {name: text for name, text in there.items() if name != "env"} == files
    for name, text in texts(plan).items():
        assert name == "environment" or not any(part in text for part in ("token-4f1c", "PRIVATE KEY"))


def test_the_plan_is_plain_and_whole() -> None:
    """Promise: a plan is text only; nothing in it waits for a server."""
    for field in dataclasses.fields(rendering.Plan):
        assert isinstance(getattr(scenario.plan(), field.name), str | None)
    json.dumps(dataclasses.asdict(scenario.plan()))
