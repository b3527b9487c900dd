"""Development mode: who may reach it, what goes to the server, and what `make dev` sends."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from flaskhost import document as reader
from flaskhost import sources as host_sources

import settings
from ops.development.__main__ import MIGRATIONS, PACKAGES
from ops.development.connection import Login, login
from ops.development.files import Tree, standing_for
from sources import Entry, SourceError
from tests.components import scenario

if TYPE_CHECKING:
    from pathlib import Path

EXISTING: dict[str, Any] = {
    "server": {"kind": "existing", "address": "203.0.113.10", "host_key": scenario.HOST_KEY},
    "credentials": {"ssh_key": scenario.PRIVATE_KEY},
    "app__mode": "development",
}
LIST = "app__development__allowed_networks"


def allowing(*networks: str) -> dict[str, Any]:
    """Return the changes of a stack at a public address that lets these in."""
    return {**EXISTING, LIST: list(networks)}


# --- who may reach it ---


def test_the_stack_called_dev_is_in_development_mode_without_saying_so() -> None:
    """Promise: every other stack is in production, unless it says otherwise."""
    assert scenario.of("dev").app.mode == "development"
    assert scenario.of("dev", app__mode="production").app.mode == "production"
    assert scenario.of("prod").app.mode == "production"


@pytest.mark.parametrize(
    "address",
    ["203.0.113.10", "2001:db8::1", "dev.example.com", "app.internal", "100.64.0.1", "172.32.0.1", "169.253.0.1"],
)
def test_an_address_that_the_world_may_reach_needs_a_list(address: str) -> None:
    """Promise: the debugger runs code for whoever reaches it; a name is not looked up, it counts as public."""
    changes = {**EXISTING, "server": {**EXISTING["server"], "address": address}}
    with pytest.raises(settings.ConfigurationError) as found:
        scenario.of(**changes)
    (problem,) = found.value.problems
    assert str(problem).startswith("flaskhost:app.development.allowed_networks: must be given in development mode, ")
    assert address in str(problem)
    assert scenario.of(**changes | {LIST: ["192.0.2.0/24"]}).app.development.allowed_networks == ("192.0.2.0/24",)
    assert scenario.of(**{**changes, "app__mode": "production"}).app.mode == "production"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "localhost", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"],
)
def test_a_private_address_needs_none(address: str) -> None:
    """Promise: RFC 1918, RFC 4193, link-local and loopback are fine as they are."""
    changes = {**EXISTING, "server": {**EXISTING["server"], "address": address}}
    assert scenario.of(**changes).app.development.allowed_networks == ()


def test_a_local_server_takes_no_list() -> None:
    """Promise: nothing is promised that is not enforced; it is reached from this machine alone."""
    with pytest.raises(settings.ConfigurationError, match="must not be given for a server of kind local"):
        scenario.of("dev", app__development__allowed_networks=["192.0.2.0/24"])


def test_the_port_of_the_development_server_counts_in_development_only() -> None:
    """Promise: a stack in production may have any port."""
    assert scenario.of("prod", server__ssh_port=5000)
    with pytest.raises(settings.ConfigurationError, match=r"must differ from server\.app_port, which is 5000 by def"):
        scenario.of("dev", server__ssh_port=5000)


# --- what goes to the server ---


def test_production_says_nothing_of_modes() -> None:
    """Promise: a stack that is in production is not touched by the other mode being there."""
    plan = scenario.plan()
    for text in (plan.base, plan.prepare, plan.stage, plan.switch):
        assert "development" not in text
        assert "mode" not in reader.parse(text).values


def test_every_document_of_a_development_stack_says_the_mode() -> None:
    """Promise: the host chooses by it, for each verb; there is neither a site nor an umbrella."""
    plan = scenario.plan(stack="dev")
    for text in (plan.base, plan.prepare, plan.stage, plan.switch):
        assert reader.parse(text)["mode"] == "development"
    assert plan.site == ""
    assert list(reader.parse(plan.base).files) == ["/srv/guestbook/.profile", "uv.txt"]
    assert list(reader.parse(plan.prepare).files) == ["flask.service"]


def test_the_unit_runs_flask_as_the_procedure_does() -> None:
    """Promise: reference/deployment-sop.txt, section 4, steps 6 and 8."""
    plan = scenario.plan(stack="dev", app__development__port=5001)
    unit = reader.parse(plan.prepare).file("flask.service")
    assert "\nExecStart=/srv/guestbook/venv/bin/flask run --host=0.0.0.0 --port=5001\n" in unit
    assert "\nWorkingDirectory=/srv/guestbook/app\n" in unit
    assert "\nEnvironmentFile=/srv/guestbook/shared/.env.dev\n" in unit
    assert "\nUser=guestbook\n" in unit
    assert "fence" not in unit


def test_the_environment_makes_it_a_development_server_unless_the_stack_says_otherwise() -> None:
    """Promise: FLASK_ENV and FLASK_DEBUG stand in .env.dev and in the preview."""
    plan = scenario.plan(stack="dev")
    assert 'env.FLASK_DEBUG = "1"\nenv.FLASK_ENV = "development"\n' in plan.prepare
    assert 'FLASK_DEBUG="1"\n' in reader.parse(plan.environment).file("env")
    assert 'env.FLASK_DEBUG = "0"' in scenario.plan(stack="dev", app__development__debug=False).prepare
    assert 'env.FLASK_ENV = "testing"' in scenario.plan(stack="dev", env={"FLASK_ENV": "testing"}).prepare


def test_the_url_is_that_of_the_development_server() -> None:
    """Promise: what `up` prints can be opened."""
    assert scenario.plan(stack="dev", server__app_port=5005).url == "http://127.0.0.1:5005/"
    assert scenario.plan(**allowing("192.0.2.0/24")).url == "http://203.0.113.10:5000/"


def test_a_list_becomes_a_fence_that_the_unit_depends_on() -> None:
    """Promise: nftables is there, each network is let in, all others are refused, and no start goes without a look."""
    plan = scenario.plan(**allowing("192.0.2.0/24", "2001:db8::/32"), app__name="shop-dev")
    assert "nftables" in reader.parse(plan.base)["packages"]
    files = reader.parse(plan.prepare).files
    assert "table inet flaskhost_shop_dev {" in files["fence.nft"]
    assert "tcp dport 5000 ip saddr 192.0.2.0/24 accept\n" in files["fence.nft"]
    assert "tcp dport 5000 ip6 saddr 2001:db8::/32 accept\n" in files["fence.nft"]
    assert files["fence.nft"].index("accept\n") < files["fence.nft"].index("tcp dport 5000 reject with tcp reset")
    fence = "/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/local/bin/flaskhost fence shop-dev"
    assert f"\nExecStartPre=+{fence}\n" in files["flask.service"], "root runs nothing of the application's PATH"
    assert reader.parse(plan.switch)["networks"] == ["192.0.2.0/24", "2001:db8::/32"]


def test_a_stack_for_everyone_has_no_fence_and_says_so() -> None:
    """Promise: only a word opens it, and the host is told that it was said."""
    plan = scenario.plan(**allowing("everyone"))
    assert list(reader.parse(plan.prepare).files) == ["flask.service"]
    assert reader.parse(plan.switch)["networks"] == ["everyone"]


def test_another_network_is_another_release() -> None:
    """Promise: who may reach it is never changed behind a running server's back."""
    one, other = (scenario.plan(**allowing(network)) for network in ("192.0.2.0/24", "192.0.2.0/25"))
    assert one.release != other.release


# --- what make dev sends ---


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a folder with a file that runs, one that does not, and a link."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/views.py").write_text("one")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("app/views.py")
    return Tree(tmp_path)


def test_both_ends_count_files_alike(tree: Tree, tmp_path: Path) -> None:
    """Promise: what was sent is known to be there, so nothing is sent twice."""
    archive = tmp_path.parent / "changes.tar"
    packed, standing = tree.packed(tree.listed())
    archive.write_bytes(packed)
    assert host_sources.listed(archive) == tree.listed() == standing
    assert tree.listed()["link"] == "-> app/views.py"
    assert tree.listed()["run.sh"].endswith("x")
    assert standing_for(Entry("a", b"one")) == tree.listed()["app/views.py"]


def test_only_what_is_different_is_sent(tree: Tree) -> None:
    """Promise: a saved file is one file on its way; what is gone is named."""
    there = tree.listed()
    assert not tree.changes(there)
    (tree.folder / "app/views.py").write_text("two!")
    (tree.folder / "run.sh").chmod(0o644)
    (tree.folder / "link").unlink()
    changes = tree.changes(there)
    assert (changes.coming, changes.gone) == (("app/views.py", "run.sh"), ("link",))
    with tarfile.open(fileobj=io.BytesIO(tree.packed(changes.coming)[0])) as tar:
        assert [name for name in tar.getnames() if tar.getmember(name).isreg()] == ["app/views.py", "run.sh"]


def test_a_file_that_has_gone_meanwhile_is_no_error(tree: Tree) -> None:
    """Promise: editors that save by renaming do not end the watch."""
    tree.packed(["app/views.py", "app/.views.py.swp"])


def test_what_is_ignored_stays_here(tree: Tree) -> None:
    """Promise: secrets of the developer's machine are not sent."""
    (tree.folder / ".env").write_text("SECRET=x")
    (tree.folder / ".venv").mkdir()
    (tree.folder / ".venv/x.py").write_text("")
    assert set(tree.listed()) == {"app/views.py", "run.sh", "link"}


def test_a_link_that_leads_outside_is_not_sent(tree: Tree) -> None:
    """Promise: the same rule as for a deploy."""
    (tree.folder / "out").symlink_to("../../etc/passwd")
    with pytest.raises(SourceError, match="must not hold links that lead outside"):
        tree.listed()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements/base.txt", "uv.lock"])
def test_a_change_of_packages_is_deployed(name: str) -> None:
    """Promise: nobody has to know that a package needs more than a file."""
    assert PACKAGES.search(name)
    assert not PACKAGES.search(f"app/{name.replace('requirements', 'notes').replace('.lock', '.txt')}")


def test_a_migration_is_told_from_its_tools() -> None:
    """Promise: only what `flask db upgrade` would run is spoken of."""
    assert MIGRATIONS.search("migrations/versions/0002_moods.py")
    assert not MIGRATIONS.search("migrations/env.py")


def test_the_login_is_that_of_the_stacks_own_steps() -> None:
    """Promise: keys and pinned host keys come from the state, bastion included."""
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"private"'}
    proxy = {"host": "bastion", "port": 22, "user": "jump", "privateKey": secret, "hostKey": "ssh-ed25519 B"}
    connection = {"host": "app1", "port": 2222, "user": "ops", "privateKey": secret, "hostKey": "ssh-ed25519 A"}
    deployment = {
        "resources": [
            {"urn": "urn:pulumi:dev::flaskhost::pulumi:pulumi:Stack::flaskhost-dev"},
            {
                "urn": "urn:pulumi:dev::flaskhost::x$command:remote:Command::shop-base",
                "inputs": {"connection": {**connection, "proxy": proxy}, "environment": {"LC_X": secret}},
            },
        ]
    }
    found = login(deployment, "shop")
    assert found is not None
    assert (found.host, found.port, found.user, found.private_key) == ("app1", 2222, "ops", "private")
    assert isinstance(found.bastion, Login)
    assert found.bastion.user == "jump"
    assert found.environment == {"LC_X": "private"}
    assert "private'" not in repr(found)
    assert login({}, "shop") is None
