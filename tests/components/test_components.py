"""Which resources there are, in which order, and what each is given: what the engine is told, on mocks."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

import rendering
from components import configuration, drift
from components.configuration import Stopped
from components.host import HostBase
from components.release import Release, let_visitors_in
from components.remote import Deploy
from components.server import provision
from components.site import Site
from components.teardown import Teardown
from host_command import HostCommand
from ops.development.connection import Login, Lost
from settings import RepositorySource
from tests.components import scenario
from tests.components.recording import KEYS, Recorder, Registered, is_secret, plain, record
from tests.components.scenario import HOST_KEY, OTHER_HOST_KEY, OTHER_PRIVATE_KEY, PRIVATE_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(rendering.__file__).parent
REMOTE, COPY, LOCAL = "command:remote:Command", "command:remote:CopyToRemote", "command:local:Command"
COMMAND = HostCommand(
    archive=ROOT / "pyproject.toml",  # any file that is there: its bytes are not looked at
    digest="0123456789ab",
    upload=".flaskhost/flaskhost-0123456789ab.pyz",
    program="/usr/local/lib/flaskhost/0123456789ab/bin/flaskhost",
)
SOURCE = scenario.resolved(archive=ROOT / "Makefile")


def deploy(**changes: Any) -> Callable[[], Any]:
    """Return the program of a deploy, without what __main__ reads from the machine."""

    def program() -> Any:
        settings = scenario.of(**changes)
        fetched = isinstance(settings.app.source, RepositorySource) and settings.app.source.via == "server"
        source = dataclasses.replace(SOURCE, archive=None) if fetched else SOURCE
        releases = []
        for host, place in zip(provision(settings).hosts, rendering.places(settings), strict=True):
            plan = rendering.plan(settings, source, place)
            made = Deploy(app=settings.app.name, host=host, command=COMMAND, plan=plan)
            base = HostBase(made)
            site = Site(made, base) if plan.site else None
            releases.append(Release(made, base, site, source.archive))
        let_visitors_in(releases)
        for release in releases:
            if release.deploy.plan.teardown:
                Teardown(release)
        return releases[0].verified

    return program


@pytest.fixture(scope="module")
def deployed() -> Recorder:
    """Return what a deploy of the baseline registers."""
    return record(deploy())[0]


def steps(recorder: Recorder) -> dict[str, Registered]:
    """Return the remote steps by name, uploads included."""
    return {name: one for name, one in recorder.found.items() if one.kind in (REMOTE, COPY)}


def before(recorder: Recorder, name: str) -> set[str]:
    """Return the names of all resources that have to be done before one."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for one in recorder.found[waiting.pop()].after - found:
            found.add(one)
            waiting.append(one)
    return found


def test_the_type_tokens_are_these() -> None:
    """Promise: a token is a part of the state; renaming one would replace what stands on the server."""
    recorder, _ = record(deploy())
    tokens = {one.kind: one.name for one in recorder.found.values() if one.kind.startswith("flaskhost:")}
    assert tokens == dict.fromkeys(
        (
            "flaskhost:server:Local",
            "flaskhost:host:Base",
            "flaskhost:site:Site",
            "flaskhost:release:Release",
        ),
        "guestbook",
    )


def test_the_resources_are_these(deployed: Recorder) -> None:
    """Promise: few, fat steps with names that begin with their parent's; a name is a part of the state as well."""
    custom = {one.name: one.kind for one in deployed.found.values() if not one.kind.startswith("flaskhost:")}
    assert custom == {
        "guestbook-keys": LOCAL,
        "guestbook-container": LOCAL,
        "guestbook-command": COPY,
        "guestbook-base": REMOTE,
        "guestbook-site": REMOTE,
        "guestbook-source": COPY,
        "guestbook-environment": REMOTE,
        "guestbook-release": REMOTE,
    }


def test_code_that_the_server_fetches_is_not_uploaded() -> None:
    """Promise: nothing of it passes through this machine; the release waits for the server's key instead."""
    place = {"repository": "https://git.example/shop.git", "via": "server"}
    recorder, _ = record(deploy(app__source=place))
    assert "guestbook-source" not in steps(recorder)
    assert "guestbook-environment" in before(recorder, "guestbook-release")


@pytest.mark.parametrize(
    ("parent", "children"),
    [
        ("flaskhost:server:Local", {"keys", "container"}),
        ("flaskhost:host:Base", {"command", "base"}),
        ("flaskhost:site:Site", {"site"}),
        ("flaskhost:release:Release", {"source", "environment", "release"}),
    ],
)
def test_each_step_belongs_to_its_component(deployed: Recorder, parent: str, children: set[str]) -> None:
    """Promise: the tree reads as the list of what there is: where, what, how it is reached, how we know."""
    custom = [one for one in deployed.found.values() if not one.kind.startswith("flaskhost:")]
    found = {one.name for one in custom if one.request.parent.split("::")[2].split("$")[-1] == parent}
    assert found == {f"guestbook-{child}" for child in children}


def test_the_application_names_everything() -> None:
    """Promise: two applications in one project have no resource name in common."""
    one, _ = record(deploy())
    two, _ = record(deploy(app__name="other"))
    assert not {name for name in one.found if " " not in name} & {name for name in two.found if " " not in name}


def test_the_order_is_that_of_a_deploy(deployed: Recorder) -> None:
    """Promise: the release comes last, with its checks; nobody connects before the host has answered once."""
    for name in steps(deployed):
        expected = {"guestbook-keys", "guestbook-container", "guestbook-command"} - {name}
        assert expected <= before(deployed, name), name
    assert before(deployed, "guestbook-release") == {name for name in deployed.found if " " not in name} - {
        "guestbook-release"
    }


def test_independent_steps_do_not_wait_for_each_other(deployed: Recorder) -> None:
    """Promise: the code travels while packages are installed; site and environment do not wait for each other."""
    assert before(deployed, "guestbook-source") == {"guestbook-keys", "guestbook-container", "guestbook-command"}
    assert "guestbook-site" not in before(deployed, "guestbook-environment")
    assert not {"guestbook-source", "guestbook-environment"} & before(deployed, "guestbook-site")


def test_every_connection_has_a_pinned_host_key(deployed: Recorder) -> None:
    """Promise: no host is trusted without its key; who logs in belongs to the stack and not to the operator."""
    assert len(steps(deployed)) == 6
    for name, one in steps(deployed).items():
        connection = one.inputs["connection"]
        assert connection["hostKey"] == KEYS["host_public"], name
        assert connection["privateKey"] == KEYS["login_private"], name
        assert (connection["host"], connection["port"], connection["user"]) == ("127.0.0.1", 20022, "root")
        assert connection["perDialTimeout"] == 10


def test_only_the_first_step_waits_for_the_host_to_boot(deployed: Recorder) -> None:
    """Promise: a host that is down is told soon by every other step, and the first one has a time limit."""
    limits = {name: one.inputs["connection"]["dialErrorLimit"] for name, one in steps(deployed).items()}
    assert limits == {name: -1 if name == "guestbook-command" else 3 for name in limits}
    assert deployed.found["guestbook-command"].request.customTimeouts.create == "10m"


def test_steps_are_as_pulumi_command_needs_them(deployed: Recorder) -> None:
    """Promise: no update, no delete, no environment; stderr is streamed; only a new machine replaces a step."""
    for name, one in steps(deployed).items():
        assert not {"update", "delete", "environment"} & set(one.inputs), name
        assert one.inputs["triggers"] == ["0a1b2c", *(["root"] if one.kind == COPY else [])], name
        assert "triggers" not in one.secrets
        if one.kind == REMOTE:
            assert one.inputs["addPreviousOutputInEnv"] is False
            assert one.inputs["logging"] == "stderr"
            assert "\n" not in one.inputs["create"]
            assert len(one.inputs["create"]) < 120


def test_each_step_calls_the_command_with_its_document(deployed: Recorder) -> None:
    """Promise: one line, root's, with the version of the command in it: another version runs every step again."""
    plan = scenario.plan(SOURCE)
    release = f"{plan.prepare}\n{plan.stage}\n{plan.switch}"
    for step, text in {"site": plan.site, "environment": plan.environment, "release": release}.items():
        one = deployed.found[f"guestbook-{step}"]
        assert one.inputs["create"] == f"{COMMAND.program} {step} guestbook"
        assert one.inputs["stdin"] == text
    assert deployed.found["guestbook-base"].inputs["create"] == f"python3 {COMMAND.upload} base guestbook"
    assert deployed.found["guestbook-base"].inputs["stdin"] == plan.base


def test_only_the_environment_is_secret_and_all_else_can_be_read_in_preview() -> None:
    """Promise: in preview, too, every document is known; one unknown part would hide the whole text."""
    recorder, _ = record(deploy(), preview=True)
    for name, one in steps(recorder).items():
        stdin_is_secret = "stdin" in one.secrets
        assert stdin_is_secret == (name == "guestbook-environment"), name
        if one.kind == REMOTE:
            assert one.inputs["stdin"].startswith("flaskhost 1 ")
            assert (scenario.CANARY in one.inputs["stdin"]) == stdin_is_secret
        assert "create" not in one.secrets


def test_no_secret_is_on_a_command_line_or_in_a_plain_input(deployed: Recorder) -> None:
    """Promise: the state and the process lists hold nothing secret in clear."""
    for one in deployed.found.values():
        plain = {name: value for name, value in one.inputs.items() if name not in one.secrets and name != "connection"}
        for secret in (scenario.CANARY, scenario.KEY, KEYS["host_private"], KEYS["login_private"]):
            assert secret not in json.dumps(plain), one.name


def test_the_private_key_is_secret_in_every_connection(deployed: Recorder) -> None:
    """Promise: the key that logs in is encrypted in the state, wherever it stands."""
    for name, one in steps(deployed).items():
        assert 'login-private-canary"' in str(one.request.object).replace("\\", "")
        assert "connection" in one.secrets or _marked(one, "privateKey"), name


def _marked(one: Registered, name: str) -> bool:
    """Tell whether a value of the connection carries the mark of a secret."""
    value = one.request.object["connection"][name]
    return "4dabf18193072939515e22adb298388d" in value


def test_only_the_container_can_be_deleted(deployed: Recorder) -> None:
    """Promise: nothing but the machine itself is removed by a destroy, and it is replaced, not doubled."""
    assert [name for name, one in deployed.found.items() if "delete" in one.inputs] == ["guestbook-container"]
    container = deployed.found["guestbook-container"]
    assert container.request.deleteBeforeReplace is True
    assert "stdin" in container.secrets
    assert json.loads(container.inputs["stdin"])["host_private"] == KEYS["host_private"]
    assert "login_private" not in json.loads(container.inputs["stdin"]), "the machine does not need it"


def test_the_keys_are_made_once_and_kept_as_a_secret(deployed: Recorder) -> None:
    """Promise: nothing of the configuration makes new keys, and what is printed is encrypted."""
    keys = deployed.found["guestbook-keys"]
    assert "stdout" in keys.request.additionalSecretOutputs
    assert set(keys.inputs) == {"create", "logging", "addPreviousOutputInEnv"}
    assert keys.inputs["logging"] == "none"


def test_another_port_or_image_makes_another_container() -> None:
    """Promise: what cannot be changed in a running container replaces it, and then every step runs there."""
    plain, _ = record(deploy())
    for changes in ({"server__ssh_port": 20023}, {"server__image": "docker.io/library/debian:12"}):
        other, _ = record(deploy(**changes))
        triggers = [one.found["guestbook-container"].inputs["triggers"] for one in (plain, other)]
        assert triggers[0] != triggers[1]


def test_the_output_says_what_was_verified() -> None:
    """Promise: the stack's output is what the checks have seen."""
    assert record(deploy())[1] == {"health": "ok: 200"}


def test_another_user_than_root_has_the_command_call_itself_by_sudo() -> None:
    """Promise: every step is done as root, whoever logs in; uploads need no root."""
    recorder, _ = record(deploy(**EXISTING, server__user="admin"))
    for verb in ("site", "environment", "release"):
        assert recorder.found[f"guestbook-{verb}"].inputs["create"] == f"{COMMAND.program} --sudo {verb} guestbook"
        assert "environment" not in recorder.found[f"guestbook-{verb}"].inputs
    assert recorder.found["guestbook-base"].inputs["create"] == f"python3 {COMMAND.upload} --sudo base guestbook"


def test_the_password_of_sudo_is_brought_by_the_session_and_a_secret() -> None:
    """Promise: it is in no command line and in no document: those are read in previews."""
    recorder, _ = record(deploy(**EXISTING, server__user="admin", credentials__sudo_password=scenario.CANARY))
    for one in steps(recorder).values():
        if one.kind == REMOTE:
            raw = plain(one.request.object)
            assert one.inputs["environment"] == {"LC_FLASKHOST_SUDO": scenario.CANARY}
            assert is_secret(raw["environment"]) or is_secret(raw["environment"]["LC_FLASKHOST_SUDO"])
            assert scenario.CANARY not in f"{one.inputs['create']} {raw.get('stdin')}" or one.name.endswith(
                "-environment"
            )


def configured(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], secret: list[str]) -> None:
    """Hand a configuration over as the engine does."""
    texts = {
        f"flaskhost:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(texts))
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", json.dumps([f"flaskhost:{key}" for key in secret]))


def main() -> Any:
    """Run __main__.py as Pulumi does."""
    runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a configuration whose application is a folder, with a cache of its own."""
    monkeypatch.setenv("FLASKHOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FLASKHOST_STAND_IN", raising=False)
    (tmp_path / "app").mkdir()
    (tmp_path / "app/wsgi.py").write_text("app = None\n")
    app = {"name": "guestbook", "source": {"folder": str(tmp_path / "app")}}
    return {**scenario.config(), "app": app}


def test_the_program_as_a_whole_makes_the_same_tree(
    folder: dict[str, Any], monkeypatch: pytest.MonkeyPatch, deployed: Recorder
) -> None:
    """Promise: __main__.py is a table of contents and adds nothing; it exports url, release, verified and kept."""
    configured(monkeypatch, folder, ["secrets", "digest_key"])
    exported: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    recorder, _ = record(main)
    assert set(recorder.found) == set(deployed.found)
    assert set(exported) == {"url", "release", "verified", "kept"}
    assert exported["url"] == "https://guestbook.example:20443/"
    assert set(exported["release"]) == {"version", "commit", "digest"}


def test_a_wrong_configuration_makes_no_resource_and_shows_no_secret(
    folder: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: all that is wrong at once, before anything is made."""
    wrong = {**folder, "web": {"timeout": 0}, "secrets": {"BAD NAME": scenario.CANARY}}
    configured(monkeypatch, wrong, ["secrets", "digest_key"])
    recorder = Recorder()
    monkeypatch.setattr("tests.components.recording.Recorder", lambda: recorder)
    with pytest.raises(Stopped) as said:
        record(main)
    assert recorder.found == {}
    assert "flaskhost:web.timeout: must be from 1 to 86400 seconds" in str(said.value)
    assert "BAD NAME" in str(said.value)
    assert scenario.CANARY not in str(said.value)


def test_code_that_cannot_be_had_makes_no_resource(folder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the error names the setting, before anything is made."""
    folder["app"]["source"] = {"folder": "/nowhere/at/all"}
    configured(monkeypatch, folder, ["secrets", "digest_key"])
    recorder = Recorder()
    monkeypatch.setattr("tests.components.recording.Recorder", lambda: recorder)
    with pytest.raises(Stopped, match=r"flaskhost:app\.source\.folder: must be a folder"):
        record(main)
    assert recorder.found == {}


def test_secrets_in_plain_text_are_refused(folder: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a secret that was forgotten to be encrypted never gets into a state."""
    configured(monkeypatch, folder, [])
    with pytest.raises(Stopped, match="flaskhost:secrets: must be encrypted"):
        record(main)


EXISTING: dict[str, Any] = {
    "server__kind": "existing",
    "server__address": "203.0.113.7",
    "server__host_key": HOST_KEY,
    "credentials__ssh_key": PRIVATE_KEY,
}
BASTION = {"address": "bastion.example.com", "port": 2222, "user": "jump", "host_key": HOST_KEY}


def test_an_existing_server_is_not_made_only_reached() -> None:
    """Promise: the same steps as anywhere else, with the way and the keys of the stack; nothing of the machine."""
    recorder, _ = record(deploy(**EXISTING, server__port=2222, server__user="admin"))
    custom = {one.name for one in recorder.found.values() if not one.kind.startswith("flaskhost:")}
    assert custom == set(steps(recorder))
    assert "flaskhost:server:Existing guestbook" in recorder.found
    for name, one in steps(recorder).items():
        connection = one.inputs["connection"]
        assert (connection["host"], connection["port"], connection["user"]) == ("203.0.113.7", 2222, "admin")
        assert (connection["hostKey"], connection["privateKey"]) == (HOST_KEY, PRIVATE_KEY), name
        assert "proxy" not in connection
        # It runs already: who does not answer at once has another address, port or key.
        assert connection["dialErrorLimit"] == 3


def test_another_way_to_the_same_machine_replaces_nothing() -> None:
    """Promise: the host key is what makes the host; a changed address, port, bastion or login key is an update."""
    one, _ = record(deploy(**EXISTING))
    other = {**EXISTING, "server__address": "app1.example.com", "credentials__ssh_key": OTHER_PRIVATE_KEY}
    two, _ = record(deploy(**other, server__port=2222, server__bastion=BASTION))
    three, _ = record(deploy(**{**EXISTING, "server__host_key": OTHER_HOST_KEY}))
    for name in steps(one):
        triggers = [recorder.found[name].inputs["triggers"] for recorder in (one, two, three)]
        assert triggers[0] == triggers[1], name
        assert (triggers[0][0], triggers[2][0]) == (HOST_KEY, OTHER_HOST_KEY)


def test_another_user_has_the_uploads_made_again() -> None:
    """Promise: they are in the home of whoever logs in; nothing else depends on that."""
    one, _ = record(deploy(**EXISTING))
    two, _ = record(deploy(**EXISTING, server__user="admin"))
    changed = {name for name in steps(one) if one.found[name].inputs["triggers"] != two.found[name].inputs["triggers"]}
    assert changed == {name for name, step in steps(one).items() if step.kind == COPY}


def test_a_bastion_has_a_pinned_key_and_a_login_of_its_own() -> None:
    """Promise: the host in between is trusted no more than any other; its key is the host's where none is given."""
    for given, used in (({}, PRIVATE_KEY), ({"credentials__bastion_key": OTHER_PRIVATE_KEY}, OTHER_PRIVATE_KEY)):
        recorder, _ = record(deploy(**EXISTING, server__bastion=BASTION, **given))
        for one in steps(recorder).values():
            proxy = one.inputs["connection"]["proxy"]
            assert (proxy["host"], proxy["port"], proxy["user"]) == ("bastion.example.com", 2222, "jump")
            assert (proxy["hostKey"], proxy["privateKey"]) == (HOST_KEY, used)
            # A second try of the host behind it would hide why the first one failed.
            assert (proxy["dialErrorLimit"], one.inputs["connection"]["dialErrorLimit"]) == (3, 0)


def test_no_credential_is_registered_in_the_clear() -> None:
    """Promise: keys are secrets of the engine from the beginning, whatever the plugin does with them."""
    recorder, _ = record(deploy(**EXISTING, server__bastion=BASTION))
    for one in steps(recorder).values():
        raw = plain(one.request.object)
        assert is_secret(raw["connection"]) or is_secret(raw["connection"]["privateKey"])
        assert PRIVATE_KEY not in json.dumps({name: value for name, value in raw.items() if name != "connection"})


def test_a_host_that_stays_is_left_by_a_claim_that_comes_last() -> None:
    """Promise: the only end that does anything, after the release serves; a container takes all with it instead."""
    recorder, _ = record(deploy(**EXISTING, server__user="admin"))
    teardown = recorder.found["guestbook-teardown"]
    assert teardown.inputs["create"] == f"{COMMAND.program} --sudo claim guestbook"
    assert teardown.inputs["update"] == f"{COMMAND.program} --sudo renew guestbook"
    there = "test ! -e /usr/local/bin/flaskhost"
    assert teardown.inputs["delete"] == f"{there} || /usr/local/bin/flaskhost --sudo teardown guestbook"
    assert before(recorder, "guestbook-teardown") == set(steps(recorder)) - {"guestbook-teardown"}
    assert [name for name, one in steps(recorder).items() if {"update", "delete"} & set(one.inputs)] == [
        "guestbook-teardown"
    ]
    assert "guestbook-teardown" not in record(deploy())[0].found


FIRST, SECOND, THIRD = "203.0.113.7", "203.0.113.8", "app3.example.com"
THIRD_HOST_KEY = f"ssh-ed25519 {HOST_KEY.split()[1][:-8]}AAAAAAA="


def several(*addresses: str) -> dict[str, Any]:
    """Return a stack on these hosts, each with a host key of its own."""
    keys = {FIRST: HOST_KEY, SECOND: OTHER_HOST_KEY, THIRD: THIRD_HOST_KEY}
    hosts = [{"address": address, "host_key": keys[address]} for address in addresses]
    return {"server": {"kind": "existing", "hosts": hosts}, "credentials__ssh_key": PRIVATE_KEY}


def of_host(recorder: Recorder, address: str) -> set[str]:
    """Return which steps a host has."""
    return {name.removeprefix(f"guestbook-{address}-") for name in recorder.found if f"-{address}-" in name}


def test_each_of_several_hosts_has_the_same_steps_with_its_address_in_their_names() -> None:
    """Promise: the failure of a step names the host; one list of hosts is one component."""
    recorder, verified = record(deploy(**several(FIRST, SECOND)))
    kinds = {"command", "base", "site", "source", "environment", "prepare", "stage", "switch", "teardown"}
    assert of_host(recorder, FIRST) == of_host(recorder, SECOND) == kinds
    assert len(steps(recorder)) == 2 * len(kinds)
    for name, one in steps(recorder).items():
        address, key = (FIRST, HOST_KEY) if FIRST in name else (SECOND, OTHER_HOST_KEY)
        connection = one.inputs["connection"]
        assert (connection["host"], connection["hostKey"], one.inputs["triggers"][0]) == (address, key, key)
        if one.kind == REMOTE and name.endswith(("prepare", "stage", "switch", "site")):
            assert one.inputs["create"] == f"{COMMAND.program} {name.split('-')[-1]} guestbook"
    assert verified == {"health": "ok: 200"}


def test_every_document_of_one_of_several_hosts_names_it() -> None:
    """Promise: whatever fails there, its message begins with the host; the document of an only host says nothing."""
    recorder, _ = record(deploy(**several(FIRST, SECOND)))
    for step in ("base", "site", "environment", "prepare", "stage", "switch"):
        assert f'\nhost = "{SECOND}"\n' in recorder.found[f"guestbook-{SECOND}-{step}"].inputs["stdin"], step
    alone, _ = record(deploy(**several(FIRST)))
    assert not [one.name for one in steps(alone).values() if "\nhost = " in one.inputs.get("stdin", "")]


def test_no_host_switches_before_every_host_has_staged() -> None:
    """Promise: what fails before that leaves all on the old release; the first host, which migrates, stages first."""
    recorder, _ = record(deploy(**several(FIRST, SECOND, THIRD)))
    hosts = (FIRST, SECOND, THIRD)
    for host in hosts:
        done = before(recorder, f"guestbook-{host}-switch")
        assert {f"guestbook-{other}-{step}" for other in hosts for step in ("stage", "site")} <= done
        assert {f"guestbook-{other}-prepare" for other in hosts} <= before(recorder, f"guestbook-{host}-stage")
        assert not {name for name in before(recorder, f"guestbook-{host}-prepare") if host not in name}
    assert f"guestbook-{FIRST}-stage" in before(recorder, f"guestbook-{THIRD}-stage")
    assert f"guestbook-{SECOND}-stage" not in before(recorder, f"guestbook-{THIRD}-stage")


def test_only_the_first_host_migrates() -> None:
    """Promise: migrations run once; whoever is first after a change of the list runs them from then on."""
    for order in ((FIRST, SECOND), (SECOND, FIRST)):
        recorder, _ = record(deploy(**several(*order)))
        wishes = [recorder.found[f"guestbook-{host}-stage"].inputs["stdin"] for host in order]
        assert ['migrate = "auto"' in wish for wish in wishes] == [True, False]
        assert 'migrate = "none"' in wishes[1]


def test_a_job_is_of_the_first_host_unless_it_says_otherwise() -> None:
    """Promise: what is done at night is not done once by each host; the release is the same on all of them."""
    daily = {"command": "flask x", "schedule": "daily"}
    recorder, _ = record(deploy(**several(FIRST, SECOND), app__jobs={"mail": daily, "tidy": {**daily, "hosts": "all"}}))
    wishes = [recorder.found[f"guestbook-{host}-stage"].inputs["stdin"] for host in (FIRST, SECOND)]
    assert 'jobs = ["mail", "tidy"]' in wishes[0]
    assert 'jobs = ["tidy"]' in wishes[1]
    releases = {re.search(r'release = "(\w+)"', wish)[1] for wish in wishes}  # type: ignore[index]
    assert len(releases) == 1


def test_the_order_of_hosts_is_in_no_name() -> None:
    """Promise: reordering replaces nothing, and what is left of the list when one goes has the names that it had."""
    three = set(steps(record(deploy(**several(FIRST, SECOND, THIRD)))[0]))
    turned = set(steps(record(deploy(**several(THIRD, SECOND, FIRST)))[0]))
    assert turned == three
    assert set(steps(record(deploy(**several(SECOND, THIRD)))[0])) == {name for name in three if FIRST not in name}


def aliases(one: Registered) -> set[str]:
    """Return the names that a resource may have had."""
    return {alias.spec.name for alias in one.request.aliases} | {
        alias.rpartition("::")[2] for alias in one.request.aliasURNs
    }


def test_the_steps_of_one_host_are_those_of_the_first_of_several_and_the_other_way_round() -> None:
    """Promise: Pulumi takes them over, so that what the stack last did there is known; only the claim is made anew."""
    alone, _ = record(deploy(**several(FIRST)))
    both, _ = record(deploy(**several(FIRST, SECOND)))
    assert set(steps(alone)) == set(steps(record(deploy(**EXISTING))[0]))
    # The engine gives a child the aliases of its parent, in the child's own words.
    for kind in ("flaskhost:host:Base", "flaskhost:site:Site", "flaskhost:release:Release"):
        assert aliases(both.found[f"{kind} guestbook-{FIRST}"]) == {"guestbook"}
        assert aliases(alone.found[f"{kind} guestbook"]) == {f"guestbook-{FIRST}"}
        assert not aliases(both.found[f"{kind} guestbook-{SECOND}"])
    assert aliases(both.found[f"guestbook-{FIRST}-switch"]) == {"guestbook-release"}
    assert aliases(alone.found["guestbook-release"]) == {f"guestbook-{FIRST}-switch"}
    assert not aliases(both.found[f"guestbook-{SECOND}-switch"])
    for claim in (alone.found["guestbook-teardown"], both.found[f"guestbook-{FIRST}-teardown"]):
        assert not aliases(claim)
    assert not aliases(both.found[f"flaskhost:teardown:Teardown guestbook-{FIRST}"])


def test_the_claims_of_several_hosts_have_a_name_and_a_token_each() -> None:
    """Promise: a host that leaves the list takes nothing with it from the others, nor from itself."""
    both, _ = record(deploy(**several(FIRST, SECOND)))
    texts = [both.found[f"guestbook-{host}-teardown"].inputs["stdin"] for host in (FIRST, SECOND)]
    assert [f'as = "{host}"' in text for host, text in zip((FIRST, SECOND), texts, strict=True)] == [True, True]
    assert len({line for text in texts for line in text.splitlines() if line.startswith("token")}) == 2
    assert "as = " not in record(deploy(**EXISTING))[0].found["guestbook-teardown"].inputs["stdin"]
    for host, other in ((FIRST, SECOND), (SECOND, FIRST)):
        after = before(both, f"guestbook-{host}-teardown")
        assert f"guestbook-{host}-switch" in after
        assert f"guestbook-{other}-switch" not in after


def test_the_outputs_of_several_hosts_are_told_apart(monkeypatch: pytest.MonkeyPatch, folder: dict[str, Any]) -> None:
    """Promise: `verified` says what was seen on which host; the URL is the domain that leads to all of them."""
    config = {**folder, "server": several(FIRST, SECOND)["server"], "credentials": {"ssh_key": PRIVATE_KEY}}
    configured(monkeypatch, config, ["secrets", "digest_key", "credentials"])
    exported: dict[str, Any] = {}
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    record(main)
    assert set(exported["verified"]) == {FIRST, SECOND}
    assert exported["url"] == "https://guestbook.example/"


def looking(monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | Lost | None) -> tuple[list[str], list[str]]:
    """Have hosts answer so, in their order; return who is asked, and what is said to the person."""
    asked: list[str] = []
    said: list[str] = []
    told = dict(zip((FIRST, SECOND), answers, strict=False))

    def ask(login: Login, app: str) -> dict[str, Any] | None:
        assert app == "guestbook"
        asked.append(f"{login.user}@{login.host}:{login.port} {login.host_key} {sorted(login.environment)}")
        answer = told[login.host]
        if isinstance(answer, Lost):
            raise answer
        return answer

    monkeypatch.setattr("ops.drift.ask", ask)
    monkeypatch.setattr(pulumi, "warn", said.append)
    return asked, said


CLEAN: dict[str, Any] = {"differences": [], "repairs": 2, "found": ["/etc/x has another content"]}
DRIFTED: dict[str, Any] = {
    "differences": [{"what": "/etc/y", "how": "has another content", "detail": "-a\n+b"}],
    "repairs": 3,
    "found": ["/etc/y has another content"],
}


def test_nobody_is_asked_unless_the_stack_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a preview and a no-op connect to nobody, and no document speaks of it."""
    asked, _ = looking(monkeypatch)
    assert drift.places(scenario.of(**EXISTING)) == rendering.places(scenario.of(**EXISTING))
    assert asked == []
    assert "repairs" not in scenario.plan(**EXISTING).base


def test_with_drift_preview_every_host_is_asked_as_the_steps_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: with its pinned key, through sudo if need be; an answer of no change is what the last texts have."""
    asked, said = looking(monkeypatch, CLEAN, None)
    server = {**several(FIRST, SECOND)["server"], "user": "admin"}
    credentials = {"ssh_key": PRIVATE_KEY, "sudo_password": scenario.CANARY}
    first, second = drift.places(scenario.of(server=server, credentials=credentials, drift="preview"))
    assert sorted(asked) == [
        f"admin@{FIRST}:22 {HOST_KEY} ['LC_FLASKHOST_SUDO']",
        f"admin@{SECOND}:22 {OTHER_HOST_KEY} ['LC_FLASKHOST_SUDO']",
    ]
    assert (first.repairs, first.found) == (2, ("/etc/x has another content",))
    assert (second.repairs, second.found) == (0, ()), "nothing is there yet"
    assert said == []


def test_a_changed_host_is_a_change_of_every_step_that_puts_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: the preview names what is different, and the steps of that host alone run; afterwards nothing does."""
    settings = scenario.of(**several(FIRST, SECOND), drift="preview")
    plans = []
    for answers in ((CLEAN, CLEAN), (DRIFTED, CLEAN), (DRIFTED, CLEAN)):
        _, said = looking(monkeypatch, *answers)
        plans.append([rendering.plan(settings, SOURCE, place) for place in drift.places(settings)])
    (clean, other), (drifted, still), again = plans
    for step in ("base", "site", "environment", "prepare"):
        assert getattr(clean, step) != getattr(drifted, step), step
    assert (still, again) == (other, [drifted, still])
    assert 'found = ["/etc/y has another content"]' in drifted.base
    assert clean.release == drifted.release
    (told,) = said
    assert told.startswith(f"{FIRST}: changed by hand since the last update, and put back by this one:\n  /etc/y has")
    assert told.endswith("\n      -a\n      +b")


def test_a_host_that_cannot_be_asked_stops_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: without its answer the texts would be wrong; the message names the setting and the host."""
    looking(monkeypatch, Lost("Connection refused"))
    with pytest.raises(Stopped, match=rf"flaskhost:drift: preview .*{FIRST}, and could not: Conn"):
        drift.places(scenario.of(**EXISTING, drift="preview"))


def test_visitors_of_an_existing_server_need_no_port() -> None:
    """Promise: the URL is the domain, or the address of a site without one."""
    assert scenario.plan(**EXISTING).url == "https://guestbook.example/"
    assert scenario.plan(**EXISTING, web__domains=[]).url == "https://203.0.113.7/"
    assert scenario.plan(**EXISTING, web__domains=[], web__https=False).url == "http://203.0.113.7/"
    assert (
        scenario.plan(**{**EXISTING, "server__address": "2001:db8::7"}, web__domains=[]).url == "https://[2001:db8::7]/"
    )


def test_the_stand_in_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: what stands for the official plugin in tests never touches another machine; the message says why."""
    monkeypatch.setenv("FLASKHOST_STAND_IN", "1")
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    configuration.refuse_stand_in(scenario.of().server)
    for address in ("127.0.0.1", "127.3.2.1", "localhost", "::1"):
        configuration.refuse_stand_in(scenario.of(**{**EXISTING, "server__address": address}).server)
    for address in ("203.0.113.7", "app1.example.com", "localhost.example.com", "::"):
        server = scenario.of(**{**EXISTING, "server__address": address}).server
        with pytest.raises(Stopped, match=r"server\.kind: existing needs the official plugin.*plugin install"):
            configuration.refuse_stand_in(server)
    monkeypatch.delenv("FLASKHOST_STAND_IN")
    configuration.refuse_stand_in(scenario.of(**EXISTING).server)


def test_the_stand_in_may_preview_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a preview connects to nobody, so a reviewer needs no official plugin; that `up` does is said."""
    said: list[str] = []
    monkeypatch.setenv("FLASKHOST_STAND_IN", "1")
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi, "warn", said.append)
    configuration.refuse_stand_in(scenario.of(**EXISTING).server)
    assert "plugin install resource command" in said[0]


def test_no_server_is_reached_with_the_passphrase_of_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: who fills in the example and keeps its passphrase is stopped before a key gets into the state."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "local")
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    configuration.refuse_public_passphrase(scenario.of())
    with pytest.raises(Stopped, match="which everybody knows"):
        configuration.refuse_public_passphrase(scenario.of(**EXISTING))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    configuration.refuse_public_passphrase(scenario.of(**EXISTING))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: False)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "mine")
    configuration.refuse_public_passphrase(scenario.of(**EXISTING))


def test_an_ssh_agent_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Promise: the plugin would fail at each step with a message that names no variable."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    configuration.refuse_dead_agent()
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with pytest.raises(Stopped, match=r"SSH_AUTH_SOCK: no agent answers there .*unset the variable"):
        configuration.refuse_dead_agent()
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "gone"))
        agent.listen()
        configuration.refuse_dead_agent()


def test_a_stack_in_development_mode_has_no_site_and_one_more_port() -> None:
    """Promise: nothing stands before Flask's own server; everything else is the same tree."""
    found = record(deploy(app__mode="development", server__app_port=5005))[0].found
    assert not [name for name in found if name.endswith("-site")]
    assert "ports={'5000': 5005}" in found["guestbook-container"].inputs["triggers"]
    assert 'mode = "development"' in found["guestbook-release"].inputs["stdin"]
    assert not [one for one in record(deploy())[0].found["guestbook-container"].inputs["triggers"] if "ports" in one]
