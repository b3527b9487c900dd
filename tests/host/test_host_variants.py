"""What a stack can ask of a host besides the usual: a port, log files, another account; and hosts with a past."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING

import pytest
from flaskhost import logs, owners, tcp
from flaskhost.progress import Progress
from flaskhost.shell import Failure
from flaskhost.verbs import umbrella

from tests.components import scenario
from tests.e2e.ports import free_ports
from tests.host.test_host_verbs import twice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.conftest import Server

SOCKET = "guestbook-gunicorn-tcp.socket"


def mode(path: Path) -> int:
    """Return the mode of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def listening(port: int) -> str:
    """Return what systemd says of a socket that listens there."""
    return f"Listen=127.0.0.1:{port} (Stream)\n"


def test_a_port_is_opened_beside_a_running_application_and_a_second_run_changes_nothing(ready: Server) -> None:
    """Promise: the units are there, and systemd opens what they say."""
    (port,) = free_ports(1)
    ready.release()
    ready.set(f"facts/{SOCKET}", listening(port))
    text = scenario.plan(app__tcp_port=port).base
    ready.do(text)
    assert SOCKET in ready.active()
    assert f"ListenStream=127.0.0.1:{port}\n" in (ready.root / f"etc/systemd/system/{SOCKET}").read_text()
    assert "net-tools" in (ready.fakes / "packages").read_text()
    with socket.create_server(("127.0.0.1", port)):
        twice(ready, lambda: ready.do(text))


def test_another_port_is_opened_also_after_a_kill(ready: Server) -> None:
    """Promise: what counts is where something listens, not what a killed run has written."""
    (port,) = free_ports(1)
    ready.release()
    ready.set(f"active/{SOCKET}")
    ready.set(f"facts/{SOCKET}", listening(port))
    text = scenario.plan(app__tcp_port=port).base
    ready.do(text)
    ready.calls()
    ready.do(text)
    assert [call for call in ready.acted() if "-tcp." in call] == [
        f"systemctl stop {SOCKET} guestbook-gunicorn-tcp.service",
        f"systemctl start {SOCKET}",
    ]


def test_a_port_that_is_not_wanted_any_more_is_closed_and_its_units_go(ready: Server) -> None:
    """Promise: nothing of a setting stays when the setting goes."""
    (port,) = free_ports(1)
    ready.release()
    ready.do(scenario.plan(app__tcp_port=port).base)
    ready.do(scenario.plan().base)
    assert SOCKET not in ready.active()
    assert list((ready.root / "etc/systemd/system").glob("*-tcp.*")) == []


def test_a_port_in_use_is_refused_before_anything_changes(ready: Server) -> None:
    """Promise: the message names the setting, the port and who has it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ready.set("ss", 'LISTEN 0 5 127.0.0.1:1 0.0.0.0:* users:(("gunicorn",pid=42,fd=5))\n')
        before = ready.tree()
        with pytest.raises(Failure, match=rf"app.tcp_port: {port} is in use on this host by gunicorn \(process 42\)"):
            ready.do(scenario.plan(app__tcp_port=port).base)
    assert ready.tree() == before


def test_a_port_of_another_application_is_refused(ready: Server) -> None:
    """Promise: the first one keeps it, also while it is stopped."""
    (port,) = free_ports(1)
    ready.do(scenario.plan(app__tcp_port=port).base)
    with pytest.raises(Failure, match=rf"{port} belongs to the application 'guestbook' on this host: choose another"):
        ready.do(scenario.plan(app__name="shop", app__tcp_port=port).base)
    tcp.claim(ready.paths, port)


def test_the_umbrella_opens_the_port(ready: Server) -> None:
    """Promise: at boot the port is there with the application, and the slot is started whatever becomes of the port."""
    (port,) = free_ports(1)
    ready.do(scenario.plan(app__tcp_port=port).base)
    ready.release()
    (ready.fakes / "active" / SOCKET).unlink(missing_ok=True)
    umbrella.start("guestbook")
    assert SOCKET in ready.active()


def test_rotation_comes_with_log_files_and_goes_with_them(ready: Server) -> None:
    """Promise: package and rule are there when Gunicorn writes files, and not otherwise."""
    text = scenario.plan(app__gunicorn__logs="files").base
    rule = ready.root / "etc/logrotate.d/guestbook"
    ready.do(text)
    assert "su guestbook guestbook" in rule.read_text()
    assert "logrotate" in (ready.fakes / "packages").read_text()
    twice(ready, lambda: ready.do(text))
    ready.do(scenario.plan().base)
    assert not rule.exists()


def test_the_logs_are_where_operators_look_for_them(ready: Server) -> None:
    """Promise: /var/log/<app> is the folder of the logs."""
    usual = ready.root / "var/log/guestbook"
    assert usual.readlink() == ready.paths.shared / "logs"


def test_a_folder_of_logs_that_is_there_stays_with_every_line(server: Server) -> None:
    """Promise: nothing is moved or copied, so what is being written goes on; new logs come into the same folder."""
    server.uv()
    server.set("accounts", "guestbook\n")
    usual = server.root / "var/log/guestbook"
    usual.mkdir()
    (usual / "gunicorn-error.log").write_text("old\n")
    text = scenario.plan().base
    server.do(text)
    assert (usual / "gunicorn-error.log").read_text() == "old\n"
    assert not usual.is_symlink()
    assert (server.paths.shared / "logs").resolve() == usual
    assert mode(usual) == 0o2770
    twice(server, lambda: server.do(text))


def test_a_second_folder_of_logs_is_left_alone_and_named(ready: Server) -> None:
    """Promise: of two folders with lines none is lost; the operator reads which one is written to."""
    usual = ready.root / "var/log/guestbook"
    usual.unlink()
    usual.mkdir()
    (ready.paths.shared / "logs/app.log").write_text("ours\n")
    ready.set("accounts", "guestbook\n")
    logs.ensure_folder(ready.paths, Progress(ready.said))
    assert not usual.is_symlink()
    assert "is not the only folder with logs" in ready.said.getvalue()


def test_a_folder_of_logs_of_nobody_we_know_is_left_alone(ready: Server) -> None:
    """Promise: what belongs to another service is neither adopted nor opened."""
    usual = ready.root / "var/log/guestbook"
    usual.unlink()
    usual.mkdir(mode=0o700)
    ready.set("accounts", "")
    logs.ensure_folder(ready.paths, Progress(ready.said))
    assert (usual.is_symlink(), mode(usual)) == (False, 0o700)
    assert "has an owner of its own" in ready.said.getvalue()


def test_what_another_procedure_has_made_is_named_as_a_whole_and_left_alone(server: Server) -> None:
    """Promise: one message has every path and the commands that move them away."""
    unit = server.root / "etc/systemd/system/guestbook.service"
    unit.write_text("[Service]\n")
    code = server.root / "srv/guestbook/app"
    code.mkdir(parents=True)
    before = server.tree()
    with pytest.raises(
        Failure, match=r"(?s)not made by flaskhost.*systemctl disable --now guestbook.service"
    ) as caught:
        server.do(scenario.plan().base)
    aside = "/root/guestbook-before-flaskhost"
    assert f"mkdir -p {aside} && cp -a --parents {unit} {code} {aside}/ && rm -r {unit} {code}" in str(caught.value)
    assert set(server.tree()) - set(before) == {"etc/flaskhost"}


def test_the_account_owns_what_it_writes_and_nothing_else(ready: Server) -> None:
    """Promise: as www-data the application has its own group beside it, and Nginx reads uploads as their owner."""
    ready.do(scenario.plan(app__user="www-data").base)
    unit = scenario.plan(app__user="www-data").prepare
    assert "User=www-data\n" in unit
    assert "SupplementaryGroups=guestbook\n" in unit
    assert mode(ready.paths.shared / "media") == 0o2770


def test_nginx_reads_no_packages_once_the_application_does_not_run_as_it(ready: Server) -> None:
    """Promise: its account leaves the builder's group with the switch, not while the release before needs it."""
    ready.do(scenario.plan(app__user="www-data").base)
    ready.release("v1", app__user="www-data")
    members = ready.fakes / "groups-of-www-data"
    assert members.read_text() == "guestbook_build\n"
    ready.do(scenario.plan().base)
    ready.release("v2", until="stage")
    assert members.read_text() == "guestbook_build\n"
    ready.release("v2")
    assert members.read_text() == ""


def test_modes_that_somebody_has_changed_are_put_back(ready: Server) -> None:
    """Promise: after `chmod -R 755` the environment is closed again, the code is, and links lead right."""
    plan = ready.release()
    config, home = ready.paths.config(plan.release), ready.paths.home
    before = {
        path: mode(path) for path in (home, config, config / "env", ready.paths.releases, ready.paths.shared / "data")
    }
    for path in before:
        path.chmod(0o755)
    (home / "app").unlink()
    (home / "app").symlink_to("releases")
    umbrella.repair("guestbook")
    assert {path: mode(path) for path in before} == before
    assert str((home / "app").readlink()) == "active/release"
    assert owners.restore(ready.paths) == []
