"""Tell whether the names of a site lead to it, where somebody else than Pulumi makes the records.

The exit status is 0 where all do, 2 where a record is still to be made or not known everywhere yet, and 1 where that
could not be found out.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ops import engine
from ops.setup.errors import SetupError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

HELP = "tell whether the names of the site lead to the stack's servers (status 2 where not)"
FAILED, MISSING = 1, 2
OUTPUT = "records"
"""The output of the stack that has the records, each as a line of a zone file."""

ANSWER_SECONDS = 5.0
FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, "CNAME": socket.AF_UNSPEC}


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--stack", required=True, help="name of the stack")


def run(asked: argparse.Namespace) -> int:
    """Look each name up, and say where it leads; return the exit status."""
    lines = engine.answer("stack", "output", "--stack", asked.stack).get(OUTPUT)
    if not lines:
        raise SetupError(
            f"the stack {asked.stack} has no records to look for: it is not deployed yet, or no server of kind aws"
        )
    found = look(lines)
    for line, problem in found.items():
        print(f"missing: {line}    ({problem})" if problem else f"ok: {line}")
    return MISSING if any(found.values()) else 0


def look(lines: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with each name, or nothing; all are looked up at once."""
    with ThreadPoolExecutor(max(1, len(lines))) as beside:
        return dict(zip(lines, beside.map(wrong, lines), strict=True))


def wrong(line: str, resolve: Callable[[str, str], set[str]] | None = None) -> str:
    """Return what is wrong with a name, or nothing where it leads where its record says.

    Args:
        line: the record, as a zone file has it: name, TTL, type, value.
        resolve: what returns the addresses of a name for a type of records; the machine's own way if nothing is said.
    """
    name, _, kind, value = line.split(maxsplit=3)
    resolve = resolve or addresses
    # Any name below it will do.
    leads = resolve(name.rstrip(".").replace("*.", "www.", 1), kind)
    if kind == "CNAME":
        # Both have several addresses, which are told in turns.
        leads_there = bool(leads & resolve(value.rstrip("."), kind))
    else:
        # One more would have some of the visitors somewhere else.
        leads_there = leads == {str(ipaddress.ip_address(value))}
    return "" if leads_there else f"it leads to {', '.join(sorted(leads)) or 'nothing'} now"


def addresses(name: str, kind: str) -> set[str]:
    """Return the addresses that a name has for this machine; none where nobody answers in time."""
    answered: queue.SimpleQueue[set[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name, None, FAMILIES[kind], socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answered.put({str(one[4][0]) for one in found})

    # A daemon: the end of the program does not wait for an answer that nobody wants any more.
    threading.Thread(target=ask, daemon=True).start()
    try:
        return answered.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        return set()


def told(lines: Sequence[str]) -> str:
    """Return what a person does about records that are missing, or nothing where none is."""
    missing = [f"  {line}    ({problem})" for line, problem in look(lines).items() if problem]
    if not missing:
        return ""
    head = "these names do not lead to the site yet: make the records at your DNS provider (an ALIAS or ANAME where a"
    return "\n".join([f"{head} CNAME is refused), then `python3 -m ops dns --stack …` tells when they do:", *missing])
