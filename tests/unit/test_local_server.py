"""The local server's words, checks and choices: everything that needs no container."""

from __future__ import annotations

import io
import json
import os
import resource
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ops.local_server import __main__ as command
from ops.local_server import engine as engines
from ops.local_server import image as images
from ops.local_server import server

TREE = Path(__file__).resolve().parents[2]
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nnever-in-a-command-line\n-----END OPENSSH PRIVATE KEY-----"


def asked(**changes: Any) -> dict[str, Any]:
    """Return an input of `create` that is in order, with changes."""
    usual = {
        "name": "flaskhost-local-guestbook",
        "image": "auto",
        "ssh_port": 20022,
        "http_port": 20080,
        "https_port": 20443,
        "host_private": PRIVATE,
        "host_public": "ssh-ed25519 AAAAhost",
        "login_public": "ssh-ed25519 AAAAlogin",
        "trust_machine_authorities": False,
    }
    return {**usual, **changes}


def run(verb: str, text: str) -> subprocess.CompletedProcess[str]:
    """Run a verb as Pulumi does."""
    words = [sys.executable, "-m", "ops.local_server", verb]
    return subprocess.run(words, cwd=TREE, input=text, capture_output=True, text=True, check=False, timeout=60)


def program(folder: Path, name: str, script: str) -> None:
    """Put an executable into a folder."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


# --- what the engine is asked for ---


def test_create_publishes_on_loopback_only() -> None:
    """A server for trying things out is reached from this machine, never from its network."""
    words = engines.create_words("podman", name="it", image="img", labels={}, ports={22: 20022, 443: 20443})
    published = [words[place + 1] for place, word in enumerate(words) if word == "--publish"]
    assert published == ["127.0.0.1:20022:22/tcp", "127.0.0.1:20443:443/tcp"]


def test_create_ends_with_the_image_and_systemd() -> None:
    """What stands behind the image is the command; it has to be systemd."""
    words = engines.create_words("podman", name="it", image="img", labels={"a": "b"}, ports={})
    assert words[-2:] == ["img", "/sbin/init"]
    assert words[words.index("--label") + 1] == "a=b"
    assert words[words.index("--hostname") + 1] == "it"


def test_a_stopped_server_stays_stopped_until_asked() -> None:
    """The engine must not start the server behind our back: `start` does, and says so."""
    for name in engines.NAMES:
        assert "--restart=no" in engines.create_words(name, name="it", image="img", labels={}, ports={})


def test_podman_knows_systemd_and_docker_is_told() -> None:
    """Each engine has its own words for systemd as process 1, and none of the other's."""
    assert engines.systemd_words("podman") == ["--systemd=always", "--cap-add=SYS_ADMIN"]
    assert "--privileged" in engines.systemd_words("docker")
    assert not any(word.startswith("--systemd") for word in engines.systemd_words("docker"))


def test_runc_runs_podman_s_containers_on_a_hybrid_hierarchy(tmp_path: Path) -> None:
    """Crun refuses such a hierarchy; with cgroup v2 the engine's own choice stands."""
    program(tmp_path, "runc", "true")
    runc = str(tmp_path / "runc")
    assert engines.call_words("/x/podman", unified=False, path=str(tmp_path)) == ("/x/podman", "--runtime", runc)
    assert engines.call_words("/x/podman", unified=True, path=str(tmp_path)) == ("/x/podman",)
    assert engines.call_words("/x/docker", unified=False, path=str(tmp_path)) == ("/x/docker",)


@pytest.mark.parametrize(("hard", "given"), [(20000, 20000), (1_000_000, 524288), (resource.RLIM_INFINITY, 524288)])
def test_limits_stay_at_or_below_the_caller_s(hard: int, given: int) -> None:
    """Who may not raise limits gets a container that starts."""
    assert engines.limit(524288, hard) == given


# --- which engine ---


def test_a_client_without_its_daemon_does_not_count(tmp_path: Path) -> None:
    """Docker's client is often there alone; the engine that answers is taken."""
    program(tmp_path, "podman", "exit 125")
    program(tmp_path, "docker", '[ "$1" = info ]')
    assert engines.choose(str(tmp_path)).name == "docker"


def test_podman_comes_before_docker(tmp_path: Path) -> None:
    """Where both work, the one that knows systemd is taken."""
    program(tmp_path, "podman", "true")
    program(tmp_path, "docker", "true")
    assert [engine.name for engine in engines.working_engines(str(tmp_path))] == ["podman", "docker"]


def test_without_an_engine_the_next_step_is_named(tmp_path: Path) -> None:
    """The message says what was looked for and what to install."""
    with pytest.raises(engines.ServerError, match=r"podman and docker.*install podman"):
        engines.choose(str(tmp_path))


# --- what is known about containers and images ---


def fake(folder: Path, script: str) -> engines.Engine:
    """Return an engine that is a shell script."""
    program(folder, "podman", script)
    return engines.Engine("podman", (str(folder / "podman"),))


def test_a_container_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """Both engines say it in their own words, with the same three in the middle."""
    assert fake(tmp_path, "echo 'Error: No such container: it' >&2; exit 1").container("it") is None


def test_an_engine_that_fails_is_not_taken_for_absence(tmp_path: Path) -> None:
    """Otherwise `delete` would report a server as gone that still runs."""
    with pytest.raises(engines.ServerError, match="database is locked"):
        fake(tmp_path, "echo 'Error: database is locked' >&2; exit 125").container("it")


def test_a_registry_that_refuses_is_a_reason(tmp_path: Path) -> None:
    """The engine's own message is kept, for the line that says which way is taken."""
    assert fake(tmp_path, "echo 'Error: no such host' >&2; exit 125").pull("img") == "Error: no such host"


def test_a_silent_registry_is_given_up_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows packets must not hold up the first run."""
    monkeypatch.setattr(engines, "SECONDS_TO_ANSWER", 0.2)
    assert fake(tmp_path, "echo Trying to pull; exec sleep 20").pull("img") == "no answer within 0 s"


def test_a_slow_download_is_not_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the registry has answered, the short limit no longer counts."""
    monkeypatch.setattr(engines, "SECONDS_TO_ANSWER", 0.3)
    assert fake(tmp_path, "echo 'Getting image source signatures'; sleep 0.6").pull("img") is None


def test_auto_takes_an_image_of_ours_without_asking_a_registry(tmp_path: Path) -> None:
    """The second time is fast and works offline."""
    ours = images.reference(images.FROM_PACKAGES)
    engine = fake(tmp_path, f'[ "$1" = image ] && [ "$3" = {ours} ]')
    assert images.ensure(engine, "auto") == ours


def test_an_unknown_image_names_the_setting(tmp_path: Path) -> None:
    """A word that nobody knows is a mistake in the stack file."""
    engine = fake(tmp_path, "echo 'Error: denied' >&2; exit 1")
    with pytest.raises(
        engines.ServerError, match=r"flaskhost:server.image: must be auto.*\(got nonsense: Error: denied"
    ):
        images.ensure(engine, "nonsense")


def test_bootstrap_has_our_packages_and_the_shared_last_step(tmp_path: Path) -> None:
    """Both ways to an image install the same list and end with the same script."""
    words = images.bootstrap_words("debian:12", tmp_path / "it.tar")
    assert words[-2:] == ["bookworm", str(tmp_path / "it.tar")]
    assert f"--include={','.join(images.packages())}" in words
    assert any("make_bare.sh" in word for word in words)
    assert all(name in (images.HERE / "Containerfile").read_text() for name in ("packages.txt", "make_bare.sh"))


def test_the_server_is_bare() -> None:
    """What flaskhost installs must not be in the image, or a missing package would go unseen."""
    assert not {"nginx", "python3-venv", "git", "gunicorn", "ufw"} & set(images.packages())


def test_a_changed_recipe_is_another_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag follows the files, so that nobody runs on an image of last year's list."""
    for name in images.RECIPE:
        (tmp_path / name).write_bytes((images.HERE / name).read_bytes())
    before = images.reference("debian:12")
    monkeypatch.setattr(images, "HERE", tmp_path)
    assert images.reference("debian:12") == before
    (tmp_path / "packages.txt").write_text("systemd\n")
    assert images.reference("debian:12") != before


# --- what create is asked for ---


def test_the_digest_changes_with_every_setting_but_not_with_their_order() -> None:
    """The label tells whether a container is the one that was asked for."""
    first = server.Spec.read(asked())
    changes: list[dict[str, Any]] = [{"image": "debian:12"}, {"ssh_port": 1}, {"http_port": 1}, {"https_port": 1}]
    changes += [{"host_public": "k"}, {"login_public": "k"}, {"trust_machine_authorities": True}, {"ports": {"1": 2}}]
    others = [server.Spec.read(asked(**change)).digest() for change in changes]
    assert len({first.digest(), *others}) == len(changes) + 1
    assert server.Spec.read(dict(reversed(asked().items()))).digest() == first.digest()


def test_the_private_key_is_not_shown() -> None:
    """Neither in the label's digest nor in a traceback."""
    spec = server.Spec.read(asked())
    assert spec.digest() == server.Spec.read(asked(host_private="another")).digest()
    assert "never-in-a-command-line" not in repr(spec)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """A person corrects the input once, not four times."""
    wrong = asked(ssh_port="22", colour="blue")
    del wrong["image"]
    with pytest.raises(engines.ServerError, match=r"image: is missing; colour: is not known; ssh_port: must be int"):
        server.Spec.read(wrong)


@pytest.mark.parametrize("name", ["", "Upper", "under_score", "-x", "x" * 64, "a b"])
def test_the_name_is_a_host_name(name: str) -> None:
    """The server knows itself by it."""
    with pytest.raises(engines.ServerError, match="name: must be a host name"):
        server.Spec.read(asked(name=name))


def test_more_ports_are_published_beside_the_usual_ones() -> None:
    """`ports` is port in the container to port on this machine."""
    assert server.Spec.read(asked(ports={"5000": 25000})).published() == {
        22: 20022,
        80: 20080,
        443: 20443,
        5000: 25000,
    }


# --- ports ---


def test_a_taken_port_names_its_setting_and_the_way_on() -> None:
    """A listening program of the user's own is the usual reason."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(engines.ServerError) as caught:
            server.refuse_taken({"flaskhost:server.https_port": port})
    assert str(caught.value) == (
        f"flaskhost:server.https_port: must be free on 127.0.0.1 (got {port}, in use): "
        "choose another port in the stack file"
    )


def test_a_port_that_is_asked_for_twice_is_taken() -> None:
    """Two settings with one port cannot both have it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    with pytest.raises(engines.ServerError, match=rf"^b: must be free on 127.0.0.1 \(got {port}, in use\)"):
        server.refuse_taken({"a": port, "b": port})


@pytest.mark.parametrize("port", [-1, 70000])
def test_a_port_that_is_none_is_refused_in_the_same_words(port: int) -> None:
    """No traceback for a slip of the keyboard."""
    with pytest.raises(engines.ServerError, match=rf"a: must be free on 127.0.0.1 \(got {port}, "):
        server.refuse_taken({"a": port})


def test_free_ports_are_free_again_after_the_look() -> None:
    """The check must not be what takes the port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    server.refuse_taken({"a": port})
    server.refuse_taken({"a": port})


# --- what goes in before the first start ---


def unpacked(archive: bytes) -> dict[str, tarfile.TarInfo]:
    """Return the entries of an archive by name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: entry for entry in opened}


def test_keys_belong_to_root_and_are_closed() -> None:
    """OpenSSH refuses keys that others may read."""
    entries = unpacked(server.files_of(server.Spec.read(asked()), "podman"))
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(0, 0)}
    modes = {name: entry.mode for name, entry in entries.items()}
    assert modes["etc/ssh/ssh_host_ed25519_key"] == modes["root/.ssh/authorized_keys"] == 0o600
    assert modes["root/.ssh"] == 0o700


def test_the_private_key_ends_with_a_newline() -> None:
    """OpenSSH refuses one without, and JSON loses it easily."""
    archive = server.files_of(server.Spec.read(asked()), "podman")
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile("etc/ssh/ssh_host_ed25519_key")
        assert file is not None
        assert file.read().decode() == PRIVATE + "\n"


def test_authorities_are_handed_in_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server does not trust this machine's interception by itself."""
    (tmp_path / "corporate.crt").write_text("certificate\n")
    monkeypatch.setattr(server, "MACHINE_AUTHORITIES", tmp_path)
    inside = "usr/local/share/ca-certificates/corporate.crt"
    assert inside not in unpacked(server.files_of(server.Spec.read(asked()), "podman"))
    trusting = server.Spec.read(asked(trust_machine_authorities=True))
    assert inside in unpacked(server.files_of(trusting, "podman"))


def test_on_docker_nothing_reaches_for_the_machine() -> None:
    """A privileged container could set the machine's own kernel and take its consoles."""
    entries = unpacked(server.files_of(server.Spec.read(asked()), "docker"))
    assert entries["etc/systemd/system/systemd-sysctl.service"].linkname == "/dev/null"
    assert not any(entry.linkname for entry in unpacked(server.files_of(server.Spec.read(asked()), "podman")).values())


# --- the command ---


def test_keys_are_a_pair_each_and_new_each_time() -> None:
    """Public keys have no comment: user and machine are nobody's business."""
    done = run("keys", "")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    made = json.loads(done.stdout)
    assert sorted(made) == ["host_private", "host_public", "login_private", "login_public"]
    for name in ("host", "login"):
        assert made[f"{name}_private"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        assert [len(made[f"{name}_public"].split()), made[f"{name}_public"].split()[0]] == [2, "ssh-ed25519"]
    assert server.keys()["host_private"] != made["host_private"]


def test_text_that_is_no_json_is_not_repeated() -> None:
    """It may hold a private key, and Pulumi prints what a failed command wrote."""
    done = run("create", PRIVATE)
    assert done.returncode == 1
    assert "stdin: must be a JSON object" in done.stderr
    assert "never-in-a-command-line" not in done.stderr + done.stdout


def test_a_list_is_no_object() -> None:
    """The message says what came instead."""
    assert run("start", "[]").stderr == "flaskhost: stdin: must be a JSON object (got list)\n"


def test_an_unknown_verb_shows_the_verbs() -> None:
    """Status 2, as commands do."""
    done = run("explode", "{}")
    assert done.returncode == 2
    assert all(verb in done.stderr for verb in command.VERBS)


def test_delete_needs_a_name() -> None:
    """An empty one could be taken for all of them."""
    with pytest.raises(engines.ServerError, match="name is missing"):
        server.delete({"name": ""})


def put_first_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, container: dict[str, Any]) -> Path:
    """Put a podman first on PATH that knows one container; return where it writes down what it is asked."""
    log = folder / "asked"
    (folder / "container.json").write_text(json.dumps([container]))
    program(
        folder,
        "podman",
        f'echo "$*" >> {log}\ncase "$*" in *"container inspect"*) cat {folder}/container.json;; esac',
    )
    program(folder, "docker", "exit 1")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def test_a_container_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our label it is not ours, whatever its name."""
    log = put_first_on_path(tmp_path, monkeypatch, {"Id": "1", "Config": {"Labels": None}, "State": {}})
    for verb in (server.delete, server.start, server.stop):
        with pytest.raises(engines.ServerError, match="that flaskhost did not make"):
            verb({"name": "theirs"})
    with pytest.raises(engines.ServerError, match="that flaskhost did not make"):
        server.create(asked())
    assert not any(word in log.read_text() for word in ("rm ", "stop ", "start "))


def test_other_settings_are_refused_with_the_way_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's data is thrown away by a second `create`."""
    known = {"Id": "1", "Config": {"Labels": {server.SPEC_LABEL: "other"}}, "State": {"Status": "running"}}
    log = put_first_on_path(tmp_path, monkeypatch, known)
    with pytest.raises(engines.ServerError, match=r"made from other settings.*ops.local_server delete"):
        server.create(asked())
    assert "rm " not in log.read_text()
