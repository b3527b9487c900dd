"""Visitors: a bounded number of requests a second to a site on this machine, each on a connection of its own.

Open loop: a request is sent when its time has come, whether the ones before were answered or not, as visitors do.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from tests.e2e.beside import Beside
from tests.e2e.site import trusting

if TYPE_CHECKING:
    from types import TracebackType

RATE = 60.0
"""Requests a second: many at every moment of a switch, and little work for two cores."""

LIMIT_SECONDS = 300.0
"""The load ends by itself after so long, whatever the test does."""

ANSWER_SECONDS = 15.0
"""A visitor who has waited so long counts as lost."""

VERSION = re.compile(rb"served by version <strong>([^<]+)</strong>")


@dataclass(frozen=True)
class Visit:
    """One request: when it was sent (seconds since the load began), how long it took, and what came back."""

    sent: float
    seconds: float
    status: int
    version: str
    problem: str = ""

    @property
    def failed(self) -> bool:
        """Whether the visitor did not get the page."""
        return self.status != 200


@final
@dataclass
class Visitors(Beside):
    """Load on https://127.0.0.1:<port>/, or another address of a test's own, for as long as the `with` block lasts."""

    port: int
    rate: float = RATE
    domain: str = "localhost"
    limit: float = LIMIT_SECONDS
    address: str = "127.0.0.1"
    visits: list[Visit] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Prepare; nothing is sent yet."""
        super().__init__("visitors")
        # The certificate is self-signed; what is measured here is answers.
        self._trusting = trusting()

    def __enter__(self) -> Visitors:
        """Send the first requests and wait for an answer, so that the load is there before anything happens."""
        self._thread.start()
        self.wait_for_one()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send a second's more, so that the end of what happened is seen, and wait for the answers."""
        if kind is None:
            time.sleep(1)
        to_the_end = self._thread.is_alive()
        super().__exit__(kind, error, trace)
        assert kind or (to_the_end and self.visits), "the load ended before what it was to see"

    def wait_for_one(self) -> None:
        """Wait until one more visitor has been answered, well or badly."""
        seen, until = len(self.visits), time.monotonic() + ANSWER_SECONDS
        while len(self.visits) == seen and time.monotonic() < until:
            time.sleep(0.01)

    @property
    def failed(self) -> list[Visit]:
        """The visits without the page; empty is what every release promises."""
        return [visit for visit in self.visits if visit.failed]

    @property
    def versions(self) -> list[str]:
        """The versions of the application that answered, in the order in which visitors first met them."""
        ordered = sorted(self.visits, key=lambda visit: visit.sent)
        return list(dict.fromkeys(visit.version for visit in ordered if visit.version))

    def _go(self) -> None:
        asyncio.run(self._come())

    async def _come(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        begin, sent = time.monotonic(), 0
        while not self._ended.is_set() and (now := time.monotonic() - begin) < self.limit:
            while sent < now * self.rate:
                task = asyncio.create_task(self._visit(now))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(1 / self.rate)
        if tasks:
            await asyncio.wait(tasks)

    async def _visit(self, sent: float) -> None:
        begin = time.monotonic()
        status, version, problem = 0, "", ""
        try:
            status, version = await asyncio.wait_for(self._ask(), ANSWER_SECONDS)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            problem = f"{type(error).__name__}: {error}"
        self.visits.append(Visit(round(sent, 3), round(time.monotonic() - begin, 3), status, version, problem))

    async def _ask(self) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(self.address, self.port, ssl=self._trusting)
        try:
            host = self.domain if self.port == 443 else f"{self.domain}:{self.port}"
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
        if not answer.startswith(b"HTTP/1.1 "):
            raise ValueError(f"no answer of HTTP, {len(answer)} bytes")
        found = VERSION.search(answer)
        return int(answer[9:12]), found.group(1).decode() if found else ""
