"""The load balancer of an account that is a folder: asks machines whether they are well, and sends visitors to those.

It keeps to what Elastic Load Balancing says of target groups ("Health checks for your target groups", "Deregistration
delay"): a new target gets visitors when it was well often enough in a row, one that is taken out gets no new ones and
may answer those it has, and where none is well, all are asked. TLS goes through it to the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any, final

from tests.e2e.beside import Beside
from tests.e2e.host import until
from tests.e2e.site import trusting
from tests.plugins.aws.kinds import INSTANCE, TARGET, TARGETS

if TYPE_CHECKING:
    from tests.plugins.aws.account import Account

HTTPS = 443
CHUNK_BYTES = 65536


@final
class Balancer(Beside):
    """A balancer at 127.0.0.1:<port>, for as long as the `with` block lasts."""

    port: int

    def __init__(self, account: Account) -> None:
        """Take the account, whose book says which machines are targets."""
        super().__init__("balancer")
        self._account = account
        self._well: dict[str, bool] = {}
        self._streaks: dict[str, int] = {}
        self._turn = itertools.count()
        self._ready = threading.Event()
        self._trusting = trusting()

    def __enter__(self) -> Balancer:
        """Listen, and wait until all machines that there are were found well."""
        self._thread.start()
        self._ready.wait()
        until(lambda: bool(self.targets()) and all(self._well.get(one) for one in self.targets()), "targets are well")
        return self

    def targets(self) -> dict[str, str]:
        """Return the address of each target, by the ID of its instance."""
        machines = {one["id"]: str(one["state"]["privateIp"]) for one in self._account.all(INSTANCE)}
        wanted = [str(one["inputs"]["targetId"]) for one in self._account.all(TARGET)]
        return {one: machines[one] for one in wanted if one in machines}

    def _go(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        asking: set[asyncio.Task[None]] = set()
        async with server:
            pause = 0.0
            while not self._ended.is_set():
                if pause <= 0:
                    check = self._account.all(TARGETS)[0]["state"]["healthCheck"]
                    asking = {asyncio.create_task(self._ask(*one, check)) for one in self.targets().items()}
                    pause = float(check["interval"])
                await asyncio.sleep(0.2)
                pause -= 0.2
            for task in asking:
                task.cancel()

    async def _ask(self, target: str, address: str, check: dict[str, Any]) -> None:
        """Ask one machine, and count."""
        try:
            status = await asyncio.wait_for(self._status(address, str(check["path"])), float(check["timeout"]))
        except (OSError, ValueError, asyncio.TimeoutError):
            status = ""
        is_well = status == check["matcher"]
        streak = self._streaks.get(target, 0)
        streak = max(streak, 0) + 1 if is_well else min(streak, 0) - 1
        self._streaks[target] = streak
        if streak >= int(check["healthyThreshold"]) or -streak >= int(check["unhealthyThreshold"]):
            self._well[target] = is_well

    async def _status(self, address: str, path: str) -> str:
        reader, writer = await asyncio.open_connection(address, HTTPS, ssl=self._trusting)
        try:
            asked = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
            writer.write(f"{asked}Connection: close\r\n\r\n".encode())
            return (await reader.read())[9:12].decode()
        finally:
            writer.close()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a visitor to the next machine."""
        targets = self.targets()
        places = [address for one, address in targets.items() if self._well.get(one)] or list(targets.values())
        with contextlib.suppress(OSError):
            there, here = await asyncio.open_connection(places[next(self._turn) % len(places)], HTTPS)
            await asyncio.gather(_pass(reader, here), _pass(there, writer))
            here.close()
        writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand over what comes, and its end."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
