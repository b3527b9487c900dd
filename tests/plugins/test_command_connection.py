"""How the command plugin gets to a host: trust, proofs of identity, retries, proxies."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugins.hosts import Host, ObedientHost, free_port, make_key
from tests.plugins.protocol import REMOTE_COMMAND, Json, PluginError, still_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.plugins.protocol import Plugin


def reach(plugin: Plugin, connection: Json, timeout: float = 0) -> str:
    """Run a command over the connection and return its output."""
    inputs = plugin.check(REMOTE_COMMAND, {"connection": connection, "create": "echo reached"}).inputs
    return str(plugin.create(REMOTE_COMMAND, inputs, timeout=timeout).state["stdout"])


def refusal(plugin: Plugin, connection: Json, timeout: float = 0) -> str:
    """Return the text with which the connection fails."""
    with pytest.raises(PluginError) as error:
        reach(plugin, connection, timeout)
    return str(error.value)


# -- whom it trusts


def test_the_pinned_host_is_trusted(plugin: Plugin, host: Host) -> None:
    """With a comment behind the key, as ssh-keyscan and the files of sshd have it."""
    assert reach(plugin, host.connection(hostKey=host.host_key.public + " root@host\n")) == "reached"


def test_another_host_key_is_refused(plugin: Plugin, host: Host) -> None:
    """The message that the project's end-to-end test looks for."""
    text = refusal(plugin, host.connection(hostKey=make_key().public))
    assert text == "after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"


def test_without_a_pinned_key_any_host_is_trusted(plugin: Plugin, host: Host) -> None:
    """This is why the project always pins one."""
    assert reach(plugin, host.connection(hostKey=None)) == "reached"


def test_only_the_type_of_the_pinned_key_is_offered(plugin: Plugin, host: Host) -> None:
    """A host without such a key shares no algorithm, whatever other keys it has."""
    text = refusal(plugin, host.connection(hostKey=make_key("ecdsa").public))
    assert text.startswith(
        "after 0 failed attempts: ssh: handshake failed: ssh: no common algorithm for host key; "
        "we offered: [ecdsa-sha2-nistp256"
    )


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_keys_of_the_newer_kinds_can_be_pinned(plugin: Plugin, tmp_path: Path, kind: str) -> None:
    """So these are what the project's settings ask for."""
    host = ObedientHost(tmp_path, host_key=make_key(kind))
    assert reach(plugin, host.connection()) == "reached"
    host.close()


def test_a_pinned_rsa_key_offers_only_the_old_algorithm(plugin: Plugin, tmp_path: Path) -> None:
    """Today's hosts refuse it, even with the right key: this is why the project pins Ed25519 or ECDSA keys."""
    host = ObedientHost(tmp_path, host_key=make_key("rsa"))
    assert refusal(plugin, host.connection()) == (
        "after 0 failed attempts: ssh: handshake failed: ssh: no common algorithm for host key; "
        "we offered: [ssh-rsa], peer offered: [rsa-sha2-512 rsa-sha2-256]"
    )
    host.close()


def test_a_pinned_key_that_is_none_fails_at_once(plugin: Plugin, obedient: ObedientHost) -> None:
    """Nothing is dialled."""
    text = refusal(plugin, obedient.connection(hostKey="not a key", dialErrorLimit=5))
    assert text.startswith("failed to parse host key: ssh: no key found")
    assert obedient.dials == 0


# -- who it is


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("ed25519", "OpenSSH"),
        ("ed25519", "PKCS8"),
        ("ecdsa", "OpenSSH"),
        ("ecdsa", "PKCS8"),
        ("ecdsa", "TraditionalOpenSSL"),
        ("rsa", "OpenSSH"),
        ("rsa", "PKCS8"),
        ("rsa", "TraditionalOpenSSL"),
    ],
)
def test_private_keys_of_the_usual_formats_are_read(
    plugin: Plugin, obedient: ObedientHost, kind: str, form: str
) -> None:
    """As ssh-keygen, openssl and the clouds write them."""
    obedient.login = make_key(kind, form=form)
    assert reach(plugin, obedient.connection()) == "reached"


@pytest.mark.parametrize("form", ["OpenSSH", "TraditionalOpenSSL"])
def test_a_private_key_may_have_a_passphrase(plugin: Plugin, obedient: ObedientHost, form: str) -> None:
    """It is needed, and it must be right."""
    obedient.login = make_key("rsa", passphrase="sesame", form=form)
    assert reach(plugin, obedient.connection(privateKeyPassword="sesame")) == "reached"
    assert refusal(plugin, obedient.connection()) == "ssh: this private key is passphrase protected"
    assert refusal(plugin, obedient.connection(privateKeyPassword="x")) == "x509: decryption password incorrect"


@pytest.mark.parametrize(
    ("form", "text"), [("OpenSSH", "ssh: key is not password protected"), ("PKCS8", "ssh: not an encrypted key")]
)
def test_a_passphrase_for_a_key_without_one_fails(plugin: Plugin, obedient: ObedientHost, form: str, text: str) -> None:
    """A setting that means nothing is a mistake."""
    key = make_key(form=form).private
    assert refusal(plugin, obedient.connection(privateKey=key, privateKeyPassword="x")) == text


def test_a_private_key_that_is_none_fails_at_once(plugin: Plugin, obedient: ObedientHost) -> None:
    """Nothing is dialled."""
    assert refusal(plugin, obedient.connection(privateKey="a key")) == "ssh: no key found"
    assert obedient.dials == 0


def test_a_refused_key_is_told_with_what_was_tried(plugin: Plugin, host: Host) -> None:
    """The methods in their order."""
    text = refusal(plugin, host.connection(privateKey=make_key().private))
    assert text == (
        "after 0 failed attempts: ssh: handshake failed: ssh: unable to authenticate, "
        "attempted methods [none publickey], no supported methods remain"
    )


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_logs_in_where_the_host_asks_for_one(plugin: Plugin, obedient: ObedientHost, method: str) -> None:
    """Typed or as the answer to every question."""
    obedient.methods = method
    assert reach(plugin, obedient.connection(privateKey=None, password=obedient.password)) == "reached"
    text = refusal(plugin, obedient.connection(privateKey=None, password="wrong"))
    assert text.endswith(f"attempted methods [none {method}], no supported methods remain")


def test_a_key_is_tried_before_the_password(plugin: Plugin, obedient: ObedientHost) -> None:
    """And the password after a refused key."""
    obedient.methods = "publickey,password"
    wrong = make_key().private
    assert reach(plugin, obedient.connection(privateKey=wrong, password=obedient.password)) == "reached"
    assert obedient.offers == ["publickey", "password"]


@pytest.fixture
def agent(tmp_path: Path, obedient: ObedientHost) -> Any:
    """Run an SSH agent that knows the obedient host's login key; give its socket."""
    if not shutil.which("ssh-agent"):
        pytest.skip("no ssh-agent on this machine")
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        time.sleep(0.01)
    subprocess.run(
        ["ssh-add", "-q", "-"],
        input=obedient.login.private,
        text=True,
        check=True,
        env={**os.environ, "SSH_AUTH_SOCK": str(path)},
    )
    yield path
    process.terminate()
    process.wait()


def test_an_agents_keys_log_in(
    plugin: Plugin, start_plugin: Callable[..., Plugin], obedient: ObedientHost, agent: Path
) -> None:
    """The agent of the connection, or the one of the environment."""
    assert reach(plugin, obedient.connection(privateKey=None, agentSocketPath=str(agent))) == "reached"
    assert reach(start_plugin(SSH_AUTH_SOCK=str(agent)), obedient.connection(privateKey=None)) == "reached"


def test_an_agents_keys_are_not_tried_after_a_refused_key(plugin: Plugin, obedient: ObedientHost, agent: Path) -> None:
    """Each method has one chance, and a key of the settings has taken that of keys."""
    connection = obedient.connection(privateKey=make_key().private, agentSocketPath=str(agent))
    assert "attempted methods [none publickey]" in refusal(plugin, connection)


def test_a_dead_agent_fails_even_with_a_key(start_plugin: Callable[..., Plugin], obedient: ObedientHost) -> None:
    """This is why the project clears the variable."""
    text = refusal(start_plugin(SSH_AUTH_SOCK="/no/agent"), obedient.connection())
    assert text == "dial unix /no/agent: connect: no such file or directory"
    assert obedient.dials == 0


def test_an_empty_variable_names_no_agent(start_plugin: Callable[..., Plugin], obedient: ObedientHost) -> None:
    """So a program that may not unset it can empty it."""
    assert reach(start_plugin(SSH_AUTH_SOCK=""), obedient.connection()) == "reached"


# -- how often it tries


def test_nobody_at_the_port_is_told_as_such(plugin: Plugin, obedient: ObedientHost) -> None:
    """A limit of 0 errors is one attempt, and the message counts none."""
    port = free_port()
    assert refusal(plugin, obedient.connection(port=port)) == (
        f"after 0 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"
    )


def test_a_name_is_told_by_its_address(plugin: Plugin, obedient: ObedientHost) -> None:
    """The one that was dialled."""
    text = refusal(plugin, obedient.connection(host="localhost", port=(port := free_port())))
    assert text == f"after 0 failed attempts: dial tcp 127.0.0.1:{port}: connect: connection refused"


def test_attempts_grow_apart_and_are_told(plugin: Plugin, obedient: ObedientHost) -> None:
    """0.1 s, half as much again each time; a limit of 3 means four attempts."""
    started = time.monotonic()
    text = refusal(plugin, obedient.connection(port=free_port(), dialErrorLimit=3))
    assert 0.4 < time.monotonic() - started < 1.5
    assert text.startswith("after 3 failed attempts: dial tcp ")
    assert [(line.text, line.severity, line.passing) for line in plugin.log] == [
        (f"Dial {number}/3 failed: retrying", "info", True) for number in (1, 2, 3)
    ]


def test_a_host_that_drops_connections_is_tried_again(plugin: Plugin, obedient: ObedientHost) -> None:
    """So a booting sshd is waited for."""
    obedient.drops_after_dials = 2
    assert reach(plugin, obedient.connection(dialErrorLimit=-1)) == "reached"
    assert [line.text for line in plugin.log][:2] == ["Dial 1/inf failed: retrying", "Dial 2/inf failed: retrying"]
    obedient.drops_after_dials, obedient.dials = 9, 0
    text = refusal(plugin, obedient.connection())
    assert re.fullmatch(r"after 0 failed attempts: ssh: handshake failed: (EOF|read tcp .*reset by peer)", text)


def test_a_timeout_of_the_resource_ends_endless_attempts(plugin: Plugin, obedient: ObedientHost) -> None:
    """The waiting step of the project needs both."""
    started = time.monotonic()
    text = refusal(plugin, obedient.connection(port=free_port(), dialErrorLimit=-1), timeout=1)
    assert text == "context deadline exceeded"
    assert time.monotonic() - started < 3


def test_a_cancellation_ends_endless_attempts(start_plugin: Callable[..., Plugin], obedient: ObedientHost) -> None:
    """Ctrl-C does not wait for a host that never comes."""
    plugin = start_plugin()
    threading.Timer(1, plugin.cancel).start()
    assert refusal(plugin, obedient.connection(port=free_port(), dialErrorLimit=-1)) == "context canceled"


@pytest.fixture
def deaf() -> Iterator[int]:
    """Give a port of 127.0.0.1 that takes no connection: its queue has one place, and that is taken."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        yield int(listener.getsockname()[1])


def test_a_dial_is_given_up_after_its_timeout(plugin: Plugin, obedient: ObedientHost, deaf: int) -> None:
    """A host that drops packets costs one timeout an attempt."""
    started = time.monotonic()
    text = refusal(plugin, obedient.connection(port=deaf, perDialTimeout=1))
    assert text == f"after 0 failed attempts: dial tcp 127.0.0.1:{deaf}: i/o timeout"
    assert 0.9 < time.monotonic() - started < 3


def test_no_timeout_bounds_the_greeting(start_plugin: Callable[..., Plugin], obedient: ObedientHost) -> None:
    """A host that takes the connection and then says nothing is waited for without end."""
    plugin = start_plugin()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = obedient.connection(port=silent.getsockname()[1], perDialTimeout=1)
        assert still_runs(lambda: reach(plugin, connection, timeout=1), seconds=3)


# -- through a proxy


@pytest.fixture
def bastion(tmp_path: Path) -> Any:
    """Run a second host that passes connections on."""
    host = ObedientHost(tmp_path)
    yield host
    host.close()


def through(bastion: ObedientHost, **changes: Any) -> Json:
    """Return the settings of the proxy."""
    return bastion.connection(**changes)


def test_a_host_is_reached_through_a_proxy(plugin: Plugin, host: Host, bastion: ObedientHost) -> None:
    """Each with a key and a host key of its own."""
    before = host.logins()
    assert reach(plugin, host.connection(proxy=through(bastion))) == "reached"
    assert host.logins() == before + 1


def test_a_proxy_with_another_host_key_is_refused(
    plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost
) -> None:
    """And nothing is asked of the host behind it."""
    text = refusal(plugin, obedient.connection(proxy=through(bastion, hostKey=make_key().public)))
    assert text == "proxy: after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"
    assert obedient.dials == 0


def test_without_a_pinned_key_any_proxy_is_trusted(
    plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost
) -> None:
    """This is why the project pins the bastion's key as well."""
    assert reach(plugin, obedient.connection(proxy=through(bastion, hostKey=None))) == "reached"


def test_a_dead_agent_of_the_proxy_fails_even_with_a_key(
    plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost
) -> None:
    """Before anybody is dialled."""
    text = refusal(plugin, obedient.connection(proxy=through(bastion, agentSocketPath="/no/agent")))
    assert text == "proxy: dial unix /no/agent: connect: no such file or directory"
    assert (obedient.dials, bastion.dials) == (0, 0)


def test_a_proxy_has_a_limit_of_its_own(plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost) -> None:
    """The one of the host behind it does not count for it."""
    bastion.drops_after_dials = 1
    connection = obedient.connection(proxy=through(bastion, dialErrorLimit=2))
    assert reach(plugin, connection) == "reached"
    assert [line.text for line in plugin.log if "retrying" in line.text] == ["Dial proxy 1/2 failed: retrying"]


def test_a_host_behind_the_proxy_with_another_key_is_refused(
    plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost
) -> None:
    """The proxy cannot pretend to be the host."""
    text = refusal(plugin, obedient.connection(proxy=through(bastion), hostKey=make_key().public))
    assert text == "proxy: after 0 failed attempts: ssh: handshake failed: ssh: host key mismatch"


def test_the_way_through_a_proxy_is_made_once(plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost) -> None:
    """Further attempts use the broken one, so only the first can tell what was wrong."""
    connection = obedient.connection(proxy=through(bastion), hostKey=make_key().public, dialErrorLimit=1)
    assert refusal(plugin, connection) == "proxy: after 1 failed attempts: ssh: handshake failed: EOF"


def test_a_port_that_the_proxy_cannot_reach_is_told(
    plugin: Plugin, obedient: ObedientHost, bastion: ObedientHost
) -> None:
    """In the words of the protocol."""
    text = refusal(plugin, obedient.connection(proxy=through(bastion), port=free_port()))
    assert text.startswith("proxy: after 0 failed attempts: ssh: rejected: connect failed (")
