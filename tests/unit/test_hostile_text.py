"""Text that means something to systemd, Nginx, Python or a shell: each setting keeps it exactly or refuses it.

What was written is read back by readers of its own (readers.py), which know the formats and not our templates.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
from flaskhost import document, entry, envfile, files, layout
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import rendering
import settings
from settings import base, models, rules
from settings.problems import KNOWN, named, written
from tests.components import scenario
from tests.unit import readers
from tests.unit.test_settings import EXISTING, FROM_REPOSITORY, GOOD, SMALLEST, changed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NASTY = (
    *('"', "'", "`", "$", "${HOME}", "$(id)", "$$", "%", "%%", "%i", "{", "}", "{{ x }}", "{% raw %}", ";", "; }", "#"),
    *("\\", "\\n", "\\\n", "\\x41", "\n", "\n\n", "\r\n", "\t", " ", "  ", "\0", "\x1b[31m", "\x7f", "\x85", "\xa0"),
    *("\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\ufffe", "\ud800", "é", "ß", "文", "🎉", "=", ":", "*", "~"),
    *("\nend\n", "\nfile x\n", "\n    y\n", 'A="b"', "\nA=b\n", "'''", '"""', "..", "/", "//", "-", "--", "@", "x"),
    *("x" * 10_000, '"\\' * 5_000, "%$;" * 3_000),
)
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), max_size=5).map("".join)

PLAIN: dict[str, str] = {
    # A value of each setting that is accepted; hostile text is put around and into it.
    **{place: value for place, value in GOOD if isinstance(value, str)},
    "app.source.folder": "../app",
    "app.source.repository": "../app",
    "app.version": "v1.0.0",
    "app.commit": "3f2a" * 10,
    "app.packages": "libvips42",
    "app.gunicorn.settings": "proc_name",
    "web.domains": "www.example.com",
    "web.static.url": "/static/",
    "web.media.url": "/media/",
    "web.static.expires": "30d",
    "web.media.expires": "30d",
    "env": "GREETING",
    "secrets": "TOKEN",
    "digest_key": scenario.KEY,
    "app.processes": "worker",
    "app.jobs": "cleanup",
    "server.address": "192.0.2.7",
    "server.user": "deploy",
    "server.bastion.address": "192.0.2.8",
    "server.bastion.user": "deploy",
    "server.tags": "team",
}


def textual(annotation: Any) -> bool:
    """Tell whether a setting of this type holds text."""
    if isinstance(annotation, type) and issubclass(annotation, base.Group):
        return False
    return annotation in (str, Any) or any(textual(inner) for inner in get_args(annotation))


def places(model: type[base.Group] = models.Settings, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield each setting that holds text, with its type."""
    for name, field in model.model_fields.items():
        here = (*above, name)
        if textual(field.annotation) and here != ("stack",):
            yield written(here), field.annotation
        for group in groups(field.annotation):
            yield from places(group, (*here, *named(field)))


def groups(annotation: Any) -> Iterator[type[base.Group]]:
    """Yield the groups that a type speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, base.Group):
        yield annotation
    for inner in get_args(annotation):
        yield from groups(inner)


TEXTUAL = dict(places())


def shaped(place: str, text: str, *, as_name: bool) -> Any:
    """Return a text as the value of a setting: in a list, as a name or as a value where it is such a setting."""
    origins = {get_origin(inner) for inner in (TEXTUAL[place], *get_args(TEXTUAL[place]))}
    if Mapping in origins:
        return {text: "x"} if as_name else {PLAIN[place]: text}
    return [text] if tuple in origins else text


@st.composite
def configurations(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """Draw a configuration with hostile text in one setting, and that setting."""
    place = draw(st.sampled_from(sorted(TEXTUAL)))
    base = draw(
        st.sampled_from([EXISTING] if place.startswith("credentials") else [FROM_REPOSITORY, SMALLEST, EXISTING])
    )
    plain, at = PLAIN.get(place, ""), draw(st.integers(0, 8))
    text = draw(TEXT) if draw(st.booleans()) else plain[:at] + draw(TEXT) + plain[at:]
    config = changed(base, place, shaped(place, text, as_name=draw(st.booleans())))
    return {**config, "digest_key": scenario.KEY} if "secrets" in config else config, place


def test_every_setting_that_holds_text_is_tried() -> None:
    """Promise: a new setting is found by itself."""
    assert set(TEXTUAL) <= {written(place) for place in KNOWN}
    assert {"app.wsgi", "app.build", "web.domains", "env", "secrets", "layout.root", "server.image"} <= set(TEXTUAL)
    assert not {"app.keep", "web", "server.ssh_port"} & set(TEXTUAL)


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=400)
@given(drawn=configurations())
def test_hostile_text_is_kept_exactly_or_refused(drawn: tuple[dict[str, Any], str]) -> None:
    """Promise: no text breaks out of its place, whatever the setting; what is refused is said in one line each."""
    config, _ = drawn
    try:
        found = settings.load(config, stack="prod")
    except settings.ConfigurationError as error:
        lines = [str(problem) for problem in error.problems]
    else:
        means_what_it_says(found)
        lines = []
    assert [line for line in lines if not line.isprintable() or len(line) > 700] == []


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=300)
@given(values=st.lists(TEXT, min_size=1, max_size=4), hidden=st.booleans())
@example(values=['x\nend\n\nfile env\n    B="x"\n', "a\\", '"', " \t x "], hidden=False)
@example(values=['x\nOTHER="y"', "#", "\\\n", "${HOME} %i"], hidden=True)
def test_values_of_the_environment_are_kept_exactly(values: list[str], *, hidden: bool) -> None:
    """Promise: what systemd refuses is refused here, and all else is what the application finds."""
    wanted = {f"NAME_{number}": value for number, value in enumerate(values)}
    # Pulumi loses a line end at the beginning of plain text.
    good = {name: value for name, value in wanted.items() if is_kept(value) and (hidden or value[:1] != "\n")}
    config = {**SMALLEST, "secrets" if hidden else "env": wanted, "digest_key": scenario.KEY}
    if good != wanted or sum(len(value.encode()) for value in good.values()) > rules.LONGEST_ENVIRONMENT - 100:
        with pytest.raises(settings.ConfigurationError):
            settings.load(config, stack="prod")
        config["secrets" if hidden else "env"] = {name: value for name, value in good.items() if len(value) < 11_000}
    means_what_it_says(settings.load(config, stack="prod"))


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=200)
@given(text=TEXT)
@example(text="'''\"\\")
def test_settings_of_gunicorn_are_kept_exactly_or_refused(text: str) -> None:
    """Promise: a text in gunicorn.conf.py, also inside of a list or a mapping, is that text for Python."""
    inner = {"proc_name": text, "reload_extra_files": [text], "logconfig_dict": {text: {"a": text}}}
    config = changed(SMALLEST, "app.gunicorn.settings", inner)
    if rules.is_one_line(text) and rules.is_unicode(text) and len(text) <= rules.LONGEST_COMMAND:
        means_what_it_says(settings.load(config, stack="prod"))
    else:
        with pytest.raises(settings.ConfigurationError):
            settings.load(config, stack="prod")


@pytest.mark.slow
@hypothesis_settings(deadline=None, max_examples=200)
@given(text=TEXT)
@example(text="""echo "a" 'b' $HOME ${HOME} $$ $(id) `id` 100%% %i %N \\ \\n ; # \t é""")
def test_commands_of_processes_and_jobs_are_kept_exactly_or_refused(text: str) -> None:
    """Promise: bash reads the line of the stack file, and systemd replaces nothing in it."""
    config = changed(SMALLEST, "app.processes.worker.command", text)
    config = changed(config, "app.jobs.cleanup", {"command": text, "schedule": "daily"})
    if rules.is_one_line(text) and rules.is_unicode(text) and text.strip() and len(text) <= rules.LONGEST_COMMAND:
        means_what_it_says(settings.load(config, stack="prod"))
    else:
        with pytest.raises(settings.ConfigurationError):
            settings.load(config, stack="prod")


def is_kept(value: str) -> bool:
    """Tell whether systemd hands a value on: UTF-8 without noncharacters and control characters (systemd.exec(5))."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    nonsense = any(0xFDD0 <= ord(one) <= 0xFDEF or ord(one) & 0xFFFE == 0xFFFE for one in value)
    return not nonsense and not any((one < " " and one not in "\t\n") or one == "\x7f" for one in value)


def means_what_it_says(found: settings.Settings) -> None:
    """Read every file of every document back, and compare it with the settings."""
    plan = rendering.plan(found, scenario.resolved())
    read = {name: document.parse(getattr(plan, name)) for name in ("base", "site", "environment", "prepare", "stage")}
    assert {one.app for one in read.values()} == {found.app.name}
    environment_means(found, read["environment"].file("env"), read["prepare"])
    gunicorn_means(found, read["prepare"].file("gunicorn.conf.py"))
    unit_means(found, read["prepare"])
    processes_mean(found, read["prepare"])
    nginx_means(found, read["site"].file(f"/etc/nginx/sites-available/{found.app.name}"))
    assert read["base"]["packages"] == list(found.app.packages)
    assert read["base"]["root"] == found.layout.root
    assert read["prepare"]["build"] == found.app.build
    assert read["stage"]["migrate"] == found.app.migrate
    assert read["stage"]["health"]["path"] == found.app.health.path


def environment_means(found: settings.Settings, text: str, prepare: document.Document) -> None:
    """See that systemd, and the host where it hides secrets, read what the stack says."""
    wanted = {**found.env, **found.secrets}
    assert readers.environment_file(text) == wanted
    assert envfile.parse(text) == wanted
    assert sorted(envfile.secrets(text)) == sorted(found.secrets.values())
    shown = {name: value for name, value in prepare.values.items() if name.startswith("env.")}
    assert shown == {f"env.{name}": value for name, value in found.env.items()}


def gunicorn_means(found: settings.Settings, text: str) -> None:
    """See that Python finds assignments and the template's own functions only, and the values of the stack in them."""
    module = ast.parse(text)
    assert {type(one) for one in module.body} <= {ast.Assign, ast.Import, ast.FunctionDef}
    assert {one.name for one in module.body if isinstance(one, ast.FunctionDef)} <= {"on_starting", "worker_exit"}
    values = {one.targets[0].id: one.value for one in module.body if isinstance(one, ast.Assign)}  # type: ignore[attr-defined]
    given = {name: ast.literal_eval(value) for name, value in values.items() if name in found.app.gunicorn.settings}
    assert given == dict(found.app.gunicorn.settings)


def unit_means(found: settings.Settings, prepare: document.Document) -> None:
    """See that the unit starts Gunicorn with the entry of the stack, and has no setting that it should not have."""
    home = f"{found.layout.root}/{found.app.name}"
    unit = readers.unit(prepare.file("gunicorn.service"))
    (start,) = unit["Service"]["ExecStart"]
    words = readers.command_line(start, "blue", {"FLASKHOST_WSGI": prepare["wsgi"]})
    assert words[0] == f"{home}/slots/blue/venv/bin/gunicorn"
    assert words[-1] == found.app.wsgi
    assert "".join(unit["Service"]["WorkingDirectory"]) == f"{home}/slots/%i/release"
    usual = readers.unit(document.parse(rendering.plan(USUAL, scenario.resolved()).prepare).file("gunicorn.service"))
    assert {name: list(values) for name, values in unit.items()} == {n: list(v) for n, v in usual.items()}


def processes_mean(found: settings.Settings, prepare: document.Document) -> None:
    """See that bash gets each command as one word, and that the units have no setting that they should not have."""
    worker, job = {"command": "x", "memory": "1G"}, {"command": "x", "schedule": "daily"}
    plan = scenario.plan(app__processes={"worker": worker}, app__jobs={"job": job})
    usual = document.parse(plan.prepare)
    for kind, group in (("worker", found.app.processes), ("job", found.app.jobs)):
        for name, one in group.items():
            unit = readers.unit(prepare.file(f"{name}.service"))
            (start,) = unit["Service"]["ExecStart"]
            assert readers.command_line(start, "blue", {}) == ["/bin/bash", "-c", one.command]
            expected = readers.unit(usual.file(f"{kind}.service"))
            assert {part: set(values) - {"MemoryMax"} for part, values in unit.items()} == {
                part: set(values) - {"MemoryMax"} for part, values in expected.items()
            }
    for name, one_job in found.app.jobs.items():
        assert readers.unit(prepare.file(f"{name}.timer"))["Timer"]["OnCalendar"] == [one_job.schedule]


def nginx_means(found: settings.Settings, text: str) -> None:
    """See that Nginx finds the stack's names, sizes and places, and the directives of any other site of ours."""
    top = readers.nginx(text)
    assert {block.name for block in top.inside} == {"server"}
    for server in top.inside:
        assert server.values("server_name") == [list(found.web.domains) or ["_"]]
    server = top.inside[-1]
    home = f"{found.layout.root}/{found.app.name}"
    assert server.values("client_max_body_size") == [[found.web.body_size]]
    served = {one.words[-1]: one for one in server.blocks("location")}
    static, media = found.web.static, found.web.media
    page = "/flaskhost-maintenance.html"
    assert served[page].values("alias") == [[f"{home}/maintenance.html"]]
    usual = {"/", page, *(["@flask-static"] if static else [])}
    assert set(served) == {*usual, *(one.url for one in (static, media) if one)}
    if static:
        (pattern, replacement, _), *_ = served[static.url].values("rewrite")
        assert replacement == "/$1"
        matched = re.fullmatch(pattern, f"{static.url}css/a.css")
        assert matched
        assert matched[1] == "css/a.css"
        back, whole, _ = served["@flask-static"].values("rewrite")[0]
        assert re.sub(back, whole.replace("$1", r"\1"), "/css/a.css") == f"{static.url}css/a.css"
        assert served[static.url].values("root") == [[home]]
        assert served[static.url].values("expires") == [[static.expires]]
    if media:
        assert served[media.url].values("alias") == [[f"{home}/shared/media/"]]
        assert served[media.url].values("expires") == [[media.expires]]
    web = {"https": found.web.https, "static": static and {"url": "/static/"}, "media": media and {"url": "/media/"}}
    site = document.parse(rendering.plan(scenario.of(web=web), scenario.resolved()).site)
    assert top.names() == readers.nginx(site.file("/etc/nginx/sites-available/guestbook")).names()


USUAL = scenario.of()


@pytest.mark.parametrize("chosen", ["wsgi:app", "wsgi:create_app('a b', name=\"x\")", "a.b:make(mode='-/=')"])
def test_the_entry_that_the_host_writes_down_is_what_systemd_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    """Promise: quotes in the arguments of a factory reach Gunicorn."""
    monkeypatch.setenv("FLASKHOST_ROOT", str(tmp_path))
    monkeypatch.setattr(files, "ids", lambda *_: (os.geteuid(), os.getegid()))
    paths = layout.Layout("guestbook", "/srv")
    paths.config("abc").mkdir(parents=True)
    entry.remember(paths, "abc", chosen)
    assert readers.environment_file((paths.config("abc") / "entry").read_text())["FLASKHOST_WSGI"] == chosen
