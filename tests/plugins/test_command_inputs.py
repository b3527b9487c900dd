"""What the command plugin makes of a program's inputs: defaults, secrets, mistakes, changes, previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.protocol import (
    ARCHIVE,
    ASSET,
    COPY_TO_REMOTE,
    LOCAL_COMMAND,
    REMOTE_COMMAND,
    SIGNATURE,
    UNKNOWN,
    Json,
    bare,
    is_secret,
    is_unknown,
    secret,
)

if TYPE_CHECKING:
    from tests.plugins.protocol import Plugin

CONNECTION: Json = {"host": "127.0.0.1", "privateKey": "a key"}
TEXT: Json = {SIGNATURE: ASSET, "text": "hello", "hash": "abc"}


def test_the_plugin_calls_itself_1_2_1(plugin: Plugin) -> None:
    """Set-up and the SDK ask for this version."""
    assert plugin.info() == "1.2.1"


def test_a_connection_gets_its_defaults(plugin: Plugin) -> None:
    """The state shows what was used, so a default counts as an input."""
    connection = bare(plugin.check(REMOTE_COMMAND, {"connection": CONNECTION}).inputs)["connection"]
    assert connection == {**CONNECTION, "user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}


def test_a_proxy_gets_the_same_defaults_only_if_it_is_there(plugin: Plugin) -> None:
    """No proxy is made up, one that is given is completed."""
    connection = {**CONNECTION, "proxy": {"host": "127.0.0.2"}}
    checked = bare(plugin.check(REMOTE_COMMAND, {"connection": connection}).inputs)["connection"]
    assert checked["proxy"] == {
        "host": "127.0.0.2",
        "user": "root",
        "port": 22,
        "dialErrorLimit": 10,
        "perDialTimeout": 15,
    }


def test_zero_and_empty_are_values_not_gaps(plugin: Plugin) -> None:
    """A limit of 0 stays 0: it means one attempt."""
    connection = {**CONNECTION, "dialErrorLimit": 0, "user": ""}
    checked = bare(plugin.check(REMOTE_COMMAND, {"connection": connection}).inputs)["connection"]
    assert (checked["dialErrorLimit"], checked["user"]) == (0, "")


@pytest.mark.parametrize("kind", [REMOTE_COMMAND, COPY_TO_REMOTE])
def test_a_connection_is_secret_as_a_whole(plugin: Plugin, kind: str) -> None:
    """Its key must not be read in the state, and nobody has to say so."""
    inputs: Json = {"connection": CONNECTION, "source": TEXT, "remotePath": "/x"}
    if kind == REMOTE_COMMAND:
        inputs = {"connection": CONNECTION}
    assert is_secret(plugin.check(kind, inputs).inputs["connection"])


def test_a_secret_stays_secret_through_the_check(plugin: Plugin) -> None:
    """Secrets of stdin and of single variables come back as they went in."""
    inputs: Json = {"connection": CONNECTION, "stdin": secret("s"), "environment": {"A": secret("b")}}
    checked = plugin.check(REMOTE_COMMAND, inputs).inputs
    assert checked["stdin"] == secret("s")
    assert checked["environment"] == {"A": secret("b")}


@pytest.mark.parametrize(
    ("kind", "inputs", "failures"),
    [
        (
            REMOTE_COMMAND,
            {"create": 3, "foo": "x"},
            {
                "connection": "Missing required field 'connection' on 'remote.CommandInputs'",
                "create": "Field 'create' on 'remote.CommandInputs' must be a 'string'; got 'float64' instead",
                "foo": "Unrecognized field 'foo' on 'remote.CommandInputs'",
            },
        ),
        (
            REMOTE_COMMAND,
            {"connection": {"user": "x"}},
            {
                "connection": "An error occurred decoding 'CommandInputs.connection': 1 failures decoding:\n"
                "\thost: Missing required field 'host' on 'remote.Connection'"
            },
        ),
        (
            LOCAL_COMMAND,
            {"environment": {"A": 1}},
            {
                "environment[A] value": "Field 'environment[A] value' on 'local.CommandInputs' must be a 'string'; "
                "got 'float64' instead"
            },
        ),
        (
            COPY_TO_REMOTE,
            {"connection": CONNECTION, "source": {SIGNATURE: ASSET, "uri": "https://h/"}, "remotePath": "/x"},
            {"asset": "asset must be a path-based file asset or a text asset"},
        ),
        (
            COPY_TO_REMOTE,
            {"connection": CONNECTION, "source": {SIGNATURE: ARCHIVE, "assets": {}}, "remotePath": "/x"},
            {"archive": "archive must be a path to a file or directory"},
        ),
        (
            COPY_TO_REMOTE,
            {"connection": CONNECTION, "source": "text", "remotePath": "/x"},
            {"asset": "either asset or archive must be set"},
        ),
    ],
)
def test_mistakes_are_named(plugin: Plugin, kind: str, inputs: Json, failures: dict[str, str]) -> None:
    """A wrong input is refused before anything runs, in the official plugin's words."""
    assert plugin.check(kind, inputs).failures == failures


def test_a_logging_mode_that_does_not_exist_is_accepted(plugin: Plugin) -> None:
    """The official plugin does not check it either, and then logs nothing."""
    assert not plugin.check(LOCAL_COMMAND, {"logging": "loud"}).failures


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ({"create": "a"}, {"create": "a"}, {}),
        ({"create": "a"}, {"create": "b"}, {"create": "UPDATE"}),
        ({"create": "a"}, {"create": "a", "delete": "d"}, {"delete": "ADD"}),
        ({"create": "a", "stdin": "s"}, {"create": "a"}, {"stdin": "DELETE"}),
        ({"connection": secret({"host": "a"})}, {"connection": secret({"host": "b"})}, {"connection": "UPDATE"}),
        ({"environment": {"A": "1"}}, {"environment": {"A": "2", "x.y": "3"}}, {"environment.A": "UPDATE"}),
        ({"stdin": secret("s")}, {"stdin": "s"}, {"stdin": "UPDATE"}),
        ({"stdin": "s"}, {"stdin": UNKNOWN}, {"stdin": "UPDATE"}),
    ],
)
def test_a_changed_input_updates(plugin: Plugin, old: Json, new: Json, detail: dict[str, str]) -> None:
    """Every input counts, the connection and the commands for update and delete included; none of these replaces."""
    difference = plugin.diff(REMOTE_COMMAND, old, new)
    if "environment" in new:
        detail = {**detail, 'environment["x.y"]': "ADD"}
    assert difference.detail == detail
    assert difference.changes == bool(detail)
    assert not difference.replaces
    assert not difference.delete_before_replace


@pytest.mark.parametrize("kind", [REMOTE_COMMAND, LOCAL_COMMAND, COPY_TO_REMOTE])
def test_triggers_that_come_or_go_replace(plugin: Plugin, kind: str) -> None:
    """The plugin replaces when the list as a whole changes."""
    assert plugin.diff(kind, {}, {"triggers": ["a"]}).detail == {"triggers": "ADD_REPLACE"}
    assert plugin.diff(kind, {"triggers": ["a"]}, {}).replaces == ["triggers"]
    assert plugin.diff(kind, {"triggers": ["a"]}, {"triggers": UNKNOWN}).replaces == ["triggers"]
    assert plugin.diff(kind, {"triggers": secret(["a"])}, {"triggers": secret(["b"])}).replaces == ["triggers"]


def test_a_changed_trigger_is_left_to_the_sdk(plugin: Plugin) -> None:
    """Within the list the plugin says update; the SDK's option `replace_on_changes` makes a replacement of it."""
    difference = plugin.diff(REMOTE_COMMAND, {"triggers": ["a", {"b": 1}]}, {"triggers": ["c", {"b": 2}, "d"]})
    assert difference.detail == {"triggers[0]": "UPDATE", "triggers[1].b": "UPDATE", "triggers[2]": "ADD"}
    assert not difference.replaces


def test_an_asset_is_its_hash(plugin: Plugin) -> None:
    """The same content from another path is no change."""
    file = {SIGNATURE: ASSET, "path": "/etc/hostname", "hash": "abc"}
    assert not plugin.diff(COPY_TO_REMOTE, {"source": file}, {"source": {**file, "path": "/x"}}).changes
    assert plugin.diff(COPY_TO_REMOTE, {"source": file}, {"source": {**file, "hash": "def"}}).changes


@pytest.mark.parametrize("kind", [REMOTE_COMMAND, LOCAL_COMMAND])
def test_a_preview_of_a_new_command_runs_nothing(plugin: Plugin, kind: str) -> None:
    """Inputs are known, outputs will be known later, and no host is asked."""
    inputs: Json = {"create": "exit 1", "stdin": secret("s")}
    if kind == REMOTE_COMMAND:
        inputs["connection"] = {**CONNECTION, "host": "192.0.2.1"}
    checked = plugin.check(kind, inputs).inputs
    created = plugin.create(kind, checked, preview=True)
    assert created.state.pop("stdout") == UNKNOWN
    assert created.state.pop("stderr") == UNKNOWN
    assert created.state == checked


def test_a_preview_of_a_change_forgets_the_outputs(plugin: Plugin) -> None:
    """What a changed command will say is not known."""
    old: Json = {"create": "echo 1"}
    state = plugin.update(LOCAL_COMMAND, {**old, "stdout": "1", "stderr": ""}, old, {"create": "echo 2"}, preview=True)
    assert state == {"create": "echo 2", "stdout": UNKNOWN, "stderr": UNKNOWN}


def test_a_preview_of_an_added_input_keeps_the_outputs(plugin: Plugin) -> None:
    """The official plugin looks at the inputs that the state has: a new one does not make the outputs unknown."""
    old: Json = {"create": "echo 1"}
    new: Json = {"create": "echo 1", "update": "echo 2"}
    state = plugin.update(LOCAL_COMMAND, {**old, "stdout": "1", "stderr": ""}, old, new, preview=True)
    assert (state["stdout"], state["stderr"]) == ("1", "")


def test_unknown_inputs_stay_unknown_in_a_preview(plugin: Plugin) -> None:
    """A connection that is not known yet is secret all the same."""
    checked = plugin.check(REMOTE_COMMAND, {"connection": UNKNOWN, "create": UNKNOWN}).inputs
    state = plugin.create(REMOTE_COMMAND, checked, preview=True).state
    for values in (checked, state):
        assert is_unknown(values["connection"])
        assert is_secret(values["connection"])
        assert values["create"] == UNKNOWN


def test_a_preview_of_a_copy_has_no_identity_and_no_source(plugin: Plugin) -> None:
    """The official plugin's framework does not see that the asset mirrors an input."""
    inputs = plugin.check(COPY_TO_REMOTE, {"connection": CONNECTION, "source": TEXT, "remotePath": "/x"}).inputs
    created = plugin.create(COPY_TO_REMOTE, inputs, preview=True)
    assert created.id == ""
    assert created.state["source"] == UNKNOWN
    assert created.state["remotePath"] == "/x"


@pytest.mark.parametrize(
    "inputs",
    [
        {"triggers": [], "environment": {}},
        {"triggers": [None, 1.5, True, ["x"], {"a": {"b": None}}]},
        {"triggers": UNKNOWN, "environment": UNKNOWN},
        {"interpreter": ["/bin/bash", "-c"], "dir": "/", "assetPaths": [], "addPreviousOutputInEnv": False},
    ],
)
def test_the_check_leaves_other_values_alone(plugin: Plugin, inputs: dict[str, Any]) -> None:
    """Empty, nested and unknown values come back as they went in, but for absent ones."""
    checked = plugin.check(LOCAL_COMMAND, inputs).inputs
    if inputs["triggers"][-1:] == [{"a": {"b": None}}] if "triggers" in inputs else False:
        inputs = {"triggers": [None, 1.5, True, ["x"], {"a": {}}]}
    assert checked == inputs


def test_a_refresh_asks_nobody(plugin: Plugin) -> None:
    """There is no read: the state comes back as it is."""
    state: Json = {"create": "exit 1", "stdout": "1", "stderr": ""}
    assert plugin.read(LOCAL_COMMAND, state, {"create": "exit 1"}).state == state
