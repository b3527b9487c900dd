"""What `python3 -m ops dns` makes of the records of a stack and of what names lead to."""

from __future__ import annotations

import argparse
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ops import dns, engine
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

A = "example.com. 60 A 192.0.2.7"
AAAA = "example.com. 60 AAAA 2001:db8::7"
CNAME = "www.example.com. 60 CNAME shop-1.elb.example."
BALANCER = {"192.0.2.10", "192.0.2.11"}
RIGHT = {
    ("example.com", "A"): {"192.0.2.7"},
    ("example.com", "AAAA"): {"2001:db8::7"},
    ("www.example.com", "CNAME"): {"192.0.2.10"},
    ("shop-1.elb.example", "CNAME"): BALANCER,
}
Names = dict[tuple[str, str], set[str]]


def wrong(line: str, **changes: set[str]) -> str:
    """Return what is wrong with a record where names lead where they should, but for some."""
    known: Mapping[tuple[str, str], set[str]] = {
        **RIGHT,
        **{(name, line.split()[2]): to for name, to in changes.items()},
    }
    return dns.wrong(line, lambda name, kind: known.get((name, kind), set()))


@pytest.mark.parametrize("line", [A, AAAA, CNAME])
def test_a_name_that_leads_where_its_record_says_is_right(line: str) -> None:
    """Promise: nothing is said of it; of a load balancer one of its addresses is enough, which are told in turns."""
    assert wrong(line) == ""


@pytest.mark.parametrize(
    ("line", "name", "leads", "said"),
    [
        (A, "example.com", set(), "it leads to nothing now"),
        (A, "example.com", {"198.51.100.1"}, "it leads to 198.51.100.1 now"),
        (A, "example.com", {"192.0.2.7", "198.51.100.1"}, "it leads to 192.0.2.7, 198.51.100.1 now"),
        (AAAA, "example.com", {"2001:db8::8"}, "it leads to 2001:db8::8 now"),
        (CNAME, "www.example.com", {"192.0.2.7"}, "it leads to 192.0.2.7 now"),
        (CNAME, "shop-1.elb.example", set(), "it leads to 192.0.2.10 now"),
    ],
    ids=["nowhere", "elsewhere", "there and elsewhere", "elsewhere by IPv6", "past the balancer", "no balancer"],
)
def test_a_name_that_leads_elsewhere_is_told_with_where(line: str, name: str, leads: set[str], said: str) -> None:
    """Promise: an old record that was left beside the new one is found, for it loses some of the visitors."""
    assert wrong(line, **{name: leads}) == said


def test_any_name_below_a_wildcard_tells_whether_it_is_there() -> None:
    """Promise: a wildcard cannot be looked up itself."""
    assert wrong("*.example.com. 60 A 192.0.2.7", **{"www.example.com": {"192.0.2.7"}}) == ""


def test_an_address_of_ipv6_is_the_same_in_each_of_its_spellings() -> None:
    """Promise: zeros that one side writes and the other leaves out are no difference."""
    assert wrong("example.com. 60 AAAA 2001:0DB8:0:0:0:0:0:7") == ""


def asked(monkeypatch: pytest.MonkeyPatch, outputs: Mapping[str, Any], names: Names) -> int:
    """Run the command for a stack with these outputs where names lead so; return its status."""

    def answer(*words: str) -> Mapping[str, Any]:
        assert words == ("stack", "output", "--stack", "prod")
        return outputs

    monkeypatch.setattr(engine, "answer", answer)
    monkeypatch.setattr(dns, "addresses", lambda name, kind: names.get((name, kind), set()))
    return dns.run(argparse.Namespace(stack="prod"))


def test_names_that_all_lead_to_the_site_are_status_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: each record is named, in the order of the output."""
    assert asked(monkeypatch, {"records": [A, AAAA, CNAME]}, RIGHT) == 0
    assert capsys.readouterr().out.splitlines() == [f"ok: {A}", f"ok: {AAAA}", f"ok: {CNAME}"]


def test_a_record_that_is_missing_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Promise: the line can be copied to whoever makes the records."""
    assert asked(monkeypatch, {"records": [A, AAAA]}, {("example.com", "A"): {"192.0.2.7"}}) == 2
    assert capsys.readouterr().out.splitlines() == [f"ok: {A}", f"missing: {AAAA}    (it leads to nothing now)"]


@pytest.mark.parametrize("outputs", [{}, {"records": []}, {"url": "https://example.com/"}])
def test_a_stack_without_records_is_an_error(monkeypatch: pytest.MonkeyPatch, outputs: Mapping[str, Any]) -> None:
    """Promise: that all is well is never said where nothing was looked at."""
    with pytest.raises(SetupError, match="the stack prod has no records to look for: it is not deployed yet, or no"):
        asked(monkeypatch, outputs, RIGHT)


def test_an_up_says_which_records_a_person_has_to_make(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: only those that are missing, each as a line of a zone file, with the command that tells when they do."""
    monkeypatch.setattr(dns, "addresses", lambda _name, kind: {"192.0.2.7"} if kind == "A" else set())
    head, *lines = dns.told([A, AAAA, CNAME]).splitlines()
    assert "make the records at your DNS provider" in head
    assert "`python3 -m ops dns --stack …`" in head
    assert lines == [f"  {line}    (it leads to nothing now)" for line in (AAAA, CNAME)]


@pytest.mark.parametrize("lines", [[], [A]])
def test_an_up_says_nothing_where_all_names_lead_to_the_site(monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    """Promise: no warning stands in an update for which nobody has to do anything."""
    monkeypatch.setattr(dns, "addresses", lambda *_: {"192.0.2.7"})
    assert dns.told(lines) == ""


def test_names_are_looked_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a site with many names that nobody answers for is told of after seconds and not after minutes."""
    together = threading.Barrier(3, timeout=10)
    monkeypatch.setattr(dns, "addresses", lambda *_: {str(together.wait())})
    assert len(dns.look([A, AAAA, "example.org. 60 A 192.0.2.7"])) == 3


def test_addresses_are_those_that_the_machine_itself_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: of one family, each once; a name that nobody knows has none."""
    families = []

    def getaddrinfo(name: str, port: None, family: int, kind: int) -> list[Any]:
        assert (port, kind) == (None, socket.SOCK_STREAM)
        families.append(family)
        if name != "example.com":
            raise socket.gaierror(-2, "Name or service not known")
        return [(family, kind, 6, "", ("192.0.2.7", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert dns.addresses("example.com", "A") == {"192.0.2.7"}
    assert dns.addresses("nobody.example", "AAAA") == set()
    assert dns.addresses("nobody.example", "CNAME") == set()
    assert families == [socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC]


def test_a_name_that_cannot_be_one_has_no_address() -> None:
    """Promise: what Python refuses to ask for ends no update."""
    assert dns.addresses(f"{'x' * 64}.example.com", "A") == set()


def test_a_name_that_nobody_answers_for_is_waited_for_no_longer_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: neither the command nor the end of its program hangs on a resolver that is silent."""
    silent = threading.Event()

    def getaddrinfo(*_: object) -> list[Any]:
        silent.wait(60)
        return []

    monkeypatch.setattr(dns, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    started = time.monotonic()
    try:
        assert dns.addresses("example.com", "A") == set()
        assert time.monotonic() - started < 5
        assert not [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    finally:
        silent.set()
