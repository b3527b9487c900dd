"""The container that plays the server: keys, create, start, stop, delete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import re
import socket
import tarfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.keys import pairs
from ops.local_server import image as images
from ops.local_server.engine import Engine, ServerError, choose, create_words, find, remove_words, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SPEC_LABEL = "flaskhost.spec"
MACHINE_AUTHORITIES = Path("/usr/local/share/ca-certificates")
SECONDS_TO_BOOT = 90.0
SECONDS_TO_STOP = 60  # services end their work; an engine's own 10 s would cut them off
PORT_SETTINGS = {"ssh_port": 22, "http_port": 80, "https_port": 443}

# On Docker the container is privileged: what would take the machine's own consoles, devices and kernel settings is off.
MASKED_ON_DOCKER = ("getty.target", "console-getty.service", "systemd-udevd.service", "systemd-sysctl.service")

SSHD_SETTINGS = """\
# Made by flaskhost for the server kind `local`: the one host key that the stack knows is the only one offered.
HostKey /etc/ssh/ssh_host_ed25519_key
"""

# On cgroup v1 systemd in a container does not hear that root's manager has ended: a shutdown would wait 120 s for it.
USER_MANAGER_SETTINGS = """\
# Made by flaskhost for the server kind `local`: its shutdown does not wait for a manager that is gone already.
[Service]
TimeoutStopSec=3s
"""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What `create` is asked for."""

    name: str
    image: str
    ssh_port: int
    http_port: int
    https_port: int
    host_private: str = field(repr=False)
    host_public: str
    login_public: str
    trust_machine_authorities: bool = False
    ports: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, asked: Mapping[str, Any]) -> Spec:
        """Check what came on stdin; all that is wrong is said at once."""
        kinds: dict[str, type] = dict.fromkeys(("name", "image", "host_private", "host_public", "login_public"), str)
        kinds |= dict.fromkeys(PORT_SETTINGS, int) | {"trust_machine_authorities": bool, "ports": dict}
        optional = {"trust_machine_authorities", "ports"}
        wrong = [f"{key}: is missing" for key in kinds if key not in asked and key not in optional]
        wrong += [f"{key}: is not known" for key in asked if key not in kinds]
        wrong += [
            f"{key}: must be {kind.__name__} (got {type(asked[key]).__name__})"
            for key, kind in kinds.items()
            if key in asked and type(asked[key]) is not kind
        ]
        if wrong:
            raise ServerError("the input of create: " + "; ".join(wrong))
        spec = cls(**asked)
        # It is the container's host name as well (RFC 1123).
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", spec.name):
            raise ServerError(f"name: must be a host name of small letters, digits and hyphens (got {spec.name})")
        return spec

    def published(self) -> dict[int, int]:
        """Port in the container -> port on 127.0.0.1."""
        usual = {inside: int(getattr(self, setting)) for setting, inside in PORT_SETTINGS.items()}
        return usual | {int(inside): int(outside) for inside, outside in self.ports.items()}

    def digest(self) -> str:
        """What the label holds: SHA-256 of all that was asked for; the public key stands for the private one."""
        told = {key: value for key, value in asdict(self).items() if key != "host_private"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def keys() -> dict[str, str]:
    """A new pair of Ed25519 keys for the host and one for the login, in OpenSSH's form."""
    return pairs()


def create(asked: Mapping[str, Any]) -> dict[str, str]:
    """Make and start the server; one that is there already and was asked for in the same words is kept."""
    spec = Spec.read(asked)
    found = ours(spec.name)
    if found is not None:
        engine, known = found
        if label_of(known) != spec.digest():
            raise ServerError(
                f"the container {spec.name} is there and was made from other settings (server, ports or keys): remove "
                f"it first: echo '{json.dumps({'name': spec.name})}' | python3 -m ops.local_server delete"
            )
        if known["State"]["Status"] not in ("created", "configured"):
            start_found(engine, spec.name, known)
            return {"id": known["Id"], "engine": engine.name, "image": str(known["Config"]["Image"])}
        # It never ran, so an earlier run was cut before it was complete.
        engine.run(*remove_words(engine.name, spec.name))
    engine = choose()
    refuse_taken_ports(spec)
    reference = images.ensure(engine, spec.image)
    say(f"starting the container {spec.name} ({engine.name}, {reference})")
    began = time.monotonic()
    words = create_words(
        engine.name, name=spec.name, image=reference, labels={SPEC_LABEL: spec.digest()}, ports=spec.published()
    )
    identity = engine.run(*words).stdout.split()[-1]
    try:
        # Before the first start, so that sshd never offers another key; on stdin, so that no command line shows it.
        engine.run("cp", "-", f"{spec.name}:/", stdin=files_of(spec, engine.name))
        engine.run("start", spec.name)
        wait_until_up(engine, spec.name)
        wait_for_ssh(spec.name, spec.ssh_port)
        if spec.trust_machine_authorities:
            engine.run("exec", spec.name, "update-ca-certificates")
    except BaseException:
        engine.run(*remove_words(engine.name, spec.name), check=False)
        raise
    say(f"{spec.name} is up after {time.monotonic() - began:.1f} s")
    return {"id": identity, "engine": engine.name, "image": reference}


def start(asked: Mapping[str, Any]) -> dict[str, str]:
    """Start the server when it is stopped; nothing to do is no failure."""
    name = name_in(asked)
    found = ours(name)
    if found is None:
        return {"state": "absent"}
    engine, known = found
    return {"state": start_found(engine, name, known), "id": known["Id"]}


def stop(asked: Mapping[str, Any]) -> dict[str, str]:
    """Shut the server down as a machine is shut down, and leave it there."""
    name = name_in(asked)
    found = ours(name)
    if found is None:
        return {"state": "absent"}
    engine, known = found
    engine.run("stop", "-t", str(SECONDS_TO_STOP), name, seconds=SECONDS_TO_STOP + 30)
    return {"state": "stopped", "id": known["Id"]}


def delete(asked: Mapping[str, Any]) -> dict[str, str]:
    """Remove the server if it is ours; that it is gone already is no failure."""
    name = name_in(asked)
    found = ours(name)
    if found is None:
        choose()  # without any working engine nobody knows whether it is gone
        return {"state": "absent"}
    engine, known = found
    engine.run(*remove_words(engine.name, name))
    say(f"{name} is removed")
    return {"state": "removed", "id": known["Id"]}


def image(asked: Mapping[str, Any]) -> dict[str, str]:
    """Only see to it that the image is there."""
    engine = choose()
    return {"image": images.ensure(engine, str(asked.get("image", "auto"))), "engine": engine.name}


def name_in(asked: Mapping[str, Any]) -> str:
    """The container's name; other keys are left alone, since Pulumi hands the input of create to delete as well."""
    name = asked.get("name")
    if not isinstance(name, str) or not name:
        raise ServerError('the input: name is missing, such as {"name": "flaskhost-local"}')
    return name


def label_of(known: Mapping[str, Any]) -> str | None:
    """The digest that `create` left on a container of ours; None on any other."""
    label = (known["Config"].get("Labels") or {}).get(SPEC_LABEL)
    return None if label is None else str(label)


def ours(name: str) -> tuple[Engine, dict[str, Any]] | None:
    """The server of that name and the engine that has it; somebody else's container of that name is a ServerError."""
    found = find(name)
    if found and label_of(found[1]) is None:
        raise ServerError(
            f"a container {name} is there that flaskhost did not make: remove or rename it, or rename the stack"
        )
    return found


def start_found(engine: Engine, name: str, known: Mapping[str, Any]) -> str:
    """Start a container of ours if it does not run. One that runs is not spoken to over SSH, which would log a line."""
    if known["State"]["Status"] == "running":
        wait_until_up(engine, name)
        return "running"
    bindings = {str(inside): int(to[0]["HostPort"]) for inside, to in known["HostConfig"]["PortBindings"].items()}
    refuse_taken({f"port of {name} ({inside})": port for inside, port in bindings.items()})
    say(f"starting {name} again")
    engine.run("start", name)
    wait_until_up(engine, name)
    wait_for_ssh(name, bindings["22/tcp"])
    return "started"


def refuse_taken_ports(spec: Spec) -> None:
    """Fail with the setting's name when a port that the server needs is in use on this machine."""
    settings = {f"flaskhost:server.{setting}": int(getattr(spec, setting)) for setting in PORT_SETTINGS}
    settings |= {f"flaskhost:server.app_port ({inside})": int(outside) for inside, outside in spec.ports.items()}
    refuse_taken(settings)


def refuse_taken(settings: Mapping[str, int]) -> None:
    """Try each port for a moment, all of them together, so that one that is asked for twice is seen as well."""
    wrong = []
    with contextlib.ExitStack() as held:
        for setting, port in settings.items():
            probe = held.enter_context(socket.socket())
            # As a server does: connections of the last one that still time out do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except (OSError, OverflowError) as error:
                reason = "in use" if getattr(error, "errno", None) == errno.EADDRINUSE else str(error)
                wrong.append(
                    f"{setting}: must be free on 127.0.0.1 (got {port}, {reason}): "
                    "choose another port in the stack file"
                )
    if wrong:
        raise ServerError("\n".join(wrong))


def authorities() -> Iterator[tuple[str, bytes]]:
    """The certificate authorities that this machine trusts beside its distribution's: file name and content."""
    for file in sorted(MACHINE_AUTHORITIES.glob("*.crt")):
        yield file.name, file.read_bytes()


def files_of(spec: Spec, engine: str) -> bytes:
    """What the server has before its first start, as a tar archive with root as the owner of everything."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:

        def add(path: str, content: bytes | None, mode: int, *, link: str = "") -> None:
            entry = tarfile.TarInfo(path)
            entry.mode, entry.mtime, entry.linkname = mode, int(time.time()), link
            entry.size = len(content or b"")
            entry.type = tarfile.SYMTYPE if link else tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            archive.addfile(entry, None if content is None else io.BytesIO(content))

        add("etc/ssh/ssh_host_ed25519_key", lines(spec.host_private), 0o600)
        add("etc/ssh/ssh_host_ed25519_key.pub", lines(spec.host_public), 0o644)
        add("etc/ssh/sshd_config.d/00-flaskhost-local-server.conf", SSHD_SETTINGS.encode(), 0o644)
        add("root/.ssh", None, 0o700)
        add("root/.ssh/authorized_keys", lines(spec.login_public), 0o600)
        # root's manager stays between logins: in a container its stop hangs, and a login meanwhile waits for it.
        add("var/lib/systemd/linger", None, 0o755)
        add("var/lib/systemd/linger/root", b"", 0o644)
        add("etc/systemd/system/user@.service.d", None, 0o755)
        add("etc/systemd/system/user@.service.d/flaskhost-local-server.conf", USER_MANAGER_SETTINGS.encode(), 0o644)
        if spec.trust_machine_authorities:
            for name, content in authorities():
                add(f"usr/local/share/ca-certificates/{name}", content, 0o644)
        if engine == "docker":
            for unit in MASKED_ON_DOCKER:
                add(f"etc/systemd/system/{unit}", None, 0o777, link="/dev/null")
    return packed.getvalue()


def lines(text: str) -> bytes:
    """Text that ends with exactly one newline; OpenSSH refuses a private key without."""
    return text.strip().encode() + b"\n"


def wait_until_up(engine: Engine, name: str) -> None:
    """Wait until systemd has started everything."""
    end = time.monotonic() + SECONDS_TO_BOOT
    state = "not answering"
    while state not in ("running", "degraded"):
        if time.monotonic() > end:
            raise ServerError(f"the container {name} is not up after {SECONDS_TO_BOOT:.0f} s: systemd says: {state}")
        # Not with --wait: asked in the middle of the start it was seen to wait for ever.
        asked = engine.run("exec", name, "systemctl", "is-system-running", check=False, seconds=20)
        state = asked.stdout.strip() or asked.stderr.strip() or state
        known = engine.container(name) if asked.returncode else None
        if asked.returncode and (known is None or known["State"]["Status"] != "running"):
            said = engine.run("logs", "--tail", "20", name, check=False)
            raise ServerError(
                f"the container {name} ended while it started (flaskhost:server.image: must have systemd as "
                f"/sbin/init and an SSH server; auto is one). Its last words: {(said.stdout + said.stderr).strip()}"
            )
    if state == "degraded":
        say(engine.run("exec", name, "systemctl", "list-units", "--failed", "--no-legend", check=False).stdout.strip())


def wait_for_ssh(name: str, port: int) -> None:
    """Wait until sshd has said its first line on the published port."""
    end = time.monotonic() + SECONDS_TO_BOOT
    while not ssh_answers(port):
        if time.monotonic() > end:
            raise ServerError(f"the container {name} runs, but no SSH server answers on 127.0.0.1:{port}")
        time.sleep(0.05)


def ssh_answers(port: int) -> bool:
    """Whether a server says its SSH banner; engines take connections before anybody listens inside."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
