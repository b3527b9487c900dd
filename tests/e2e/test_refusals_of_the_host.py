"""A host that stands in the way: `up` says of what and what to do, visitors notice nothing, nothing is lost.

One server for all of it. Each case is undone by itself, and at the end the next release works.
"""

from __future__ import annotations

import shlex

import pytest

from tests.e2e.serving import Serving, instead_of, serve
from tests.e2e.stack import GOOD, NEWER, Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def serving(stack: Stack) -> Serving:
    """Return a stack whose release serves."""
    stack.deploy(GOOD)
    return serve(stack)


def test_a_port_that_another_program_has_is_named_before_anything_changes(stack: Stack) -> None:
    """TLS is switched on while something else has port 443: the site without TLS serves on; then both come to terms."""
    domains = stack.configured("web")["domains"]
    stack.deploy(GOOD, web={"https": False, "domains": []})
    stack.host.run("systemd-run --quiet --unit=other python3 -m http.server 443")
    stack.host.wait_for("ss -Hltn | grep -q :443")
    stack.configure(web={"https": True, "domains": domains})
    done = stack.up(check=False)
    assert not done.succeeded
    assert "port 443 of this host is in use by python3 (pid " in done.text
    assert "end that program (a service: `systemctl disable --now python3`), and run `pulumi up` again" in done.text
    assert stack.site.get("/version", plain=True).text.strip() == "1.0.0"
    stack.host.run("systemctl stop other")
    stack.up()
    assert stack.site.version() == "1.0.0"


def test_a_site_of_somebody_else_with_this_name_is_left_alone(serving: Serving) -> None:
    """Its file keeps its text, and Nginx what it has loaded."""
    file = "/etc/nginx/sites-available/guestbook"
    with instead_of(serving.host, file, "# mine\n"):
        serving.refused(f"{file} was not made by flaskhost: move it away", web={"body_size": "11m"})
        assert serving.host.run(f"cat {file}") == "# mine"


def test_a_broken_file_of_another_site_is_named_and_ours_not_changed(serving: Serving) -> None:
    """The message leads to the file and its line; ours stays as it was."""
    file = "/etc/nginx/sites-enabled/theirs"
    ours = serving.host.run("cat /etc/nginx/sites-available/guestbook")
    with instead_of(serving.host, file, "server {\n    listen 80\n}\n"):
        said = (f"because of {file}:3, which is not of this site", "The site was not changed")
        serving.refused(*said, web={"body_size": "11m"})
    assert serving.host.run("cat /etc/nginx/sites-available/guestbook") == ours


def test_another_apt_is_waited_for_and_named(serving: Serving) -> None:
    """The host's own apt setting says how long; here it is two seconds."""
    hold = "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, 2); time.sleep(600)"
    with instead_of(serving.host, "/etc/apt/apt.conf.d/99patience", 'DPkg::Lock::Timeout "2";\n'):
        serving.host.run(f"systemd-run --quiet --unit=other python3 -c {shlex.quote(hold)}")
        try:
            said = ("is installing packages: waiting up to 2 s", "holds /var/lib/dpkg/lock-frontend, so no package")
            serving.refused(*said, app={"packages": ["tree"]})
        finally:
            serving.host.run("systemctl stop other")


def test_a_distribution_that_is_not_known_is_named_with_those_that_are(serving: Serving) -> None:
    """Before any package is touched."""
    with instead_of(serving.host, "/etc/os-release", "ID=fedora\nVERSION_ID=43\n"):
        said = "fedora 43 is not supported: use a host with one of debian 11, 12, 13; ubuntu"
        serving.refused(said, app={"packages": ["tree"]})


def test_after_all_of_that_the_next_release_works(serving: Serving) -> None:
    """Nothing half-done is in its way."""
    serving.stack.deploy(NEWER)
    assert serving.stack.site.version() == "1.1.0"
    assert serving.stack.site.get(serving.picture).status == 200
    assert serving.host.run("systemctl list-units --failed --no-legend --plain 'guestbook*' 'nginx*'") == ""
