"""Asks a slot for its health over its socket, as a visitor would be answered through Nginx."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from flaskhost.progress import Progress
from flaskhost.shell import Failure

ASK_SECONDS = 10.0
PAUSE_SECONDS = 0.05
MOST_BYTES = 2000
LOOK_SECONDS = 0.2
WARM_SECONDS = 5.0
LONG_SECONDS = 2.0

Place = Union[Path, int]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, host: str, timeout: float) -> None:
        """Connect to the socket at `path`; `host` is what the Host header says."""
        super().__init__(host, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(at: Place, check: Dict[str, Any], timeout: float) -> Tuple[Optional[int], str]:
    """Ask once; return the status and the start of the answer, or None and why there was none.

    A socket is asked as Nginx does, a port of 127.0.0.1 as a browser does.
    """
    headers = {"User-Agent": "flaskhost-health-check", "Connection": "close"}
    if isinstance(at, int):
        connection = http.client.HTTPConnection("127.0.0.1", at, timeout=timeout)
        headers["Host"] = check["host"]
    else:
        connection = UnixConnection(at, check["host"], timeout)
        headers.update({"X-Forwarded-Proto": check["scheme"], "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"})
    try:
        connection.request("GET", check["path"], headers=headers)
        answer = connection.getresponse()
        return answer.status, _beginning(answer.read(MOST_BYTES)).strip()
    except (OSError, http.client.HTTPException) as error:
        return None, str(error) or type(error).__name__
    finally:
        connection.close()


def _beginning(body: bytes) -> str:
    """Return a body without the line in which it was cut off: half a secret in it would not be recognised as one."""
    whole = body if len(body) < MOST_BYTES else body.rpartition(b"\n")[0]
    return whole.decode("utf-8", "replace")


def wait(
    at: Union[Path, int], check: Dict[str, Any], gave_up: Callable[[], Optional[str]], progress: Progress
) -> float:
    """Wait until the release has given the healthy answers in a row that the stack asks for.

    Args:
        at: socket of the slot, or a port of 127.0.0.1.
        check: scheme and host (as a visitor would ask), path, status (expected), attempts (answers in a row), seconds
            (deadline).
        gave_up: returns why there is no use in waiting on (the unit died), or None.
        progress: told how it went.

    Returns:
        Seconds until healthy.

    Raises:
        Failure: not healthy in time, or no use in waiting; the message holds the last answer.
    """
    begin = time.monotonic()
    good, last = 0, "no answer"
    while good < check["attempts"]:
        left = check["seconds"] - (time.monotonic() - begin)
        # A service that has just answered is up; asking systemd each time costs more than the question itself.
        why = None if good else gave_up()
        if why:
            raise Failure(f"the release does not stay up: {why}")
        if left <= 0:
            rule = (
                f"{check['attempts']} answers {check['status']} in a row from {check['path']} in {check['seconds']} s"
            )
            raise Failure(f"the release is not healthy: wanted {rule}, last seen: {last}")
        until = min(time.monotonic() + ASK_SECONDS, begin + check["seconds"])
        status, text = ask_until(until, at, check, gave_up)
        last = f"{status} {text}" if status else text
        good = good + 1 if status == check["status"] else 0
        if not good:
            time.sleep(PAUSE_SECONDS)
    seconds = time.monotonic() - begin
    progress.say(f"healthy: {check['attempts']} answers {check['status']} from {check['path']} after {seconds:.2f} s")
    return seconds


def warm_up(at: Path, check: Dict[str, Any], workers: int, progress: Progress) -> None:
    """Have each worker of a healthy release answer before visitors come: the first answer of one takes the longest.

    Args:
        at: socket of the slot.
        check: see `wait`, and warm_up: the paths. What is answered does not count.
        workers: how many may take a question.
        progress: told how it went.
    """
    for path in check.get("warm_up", []):
        begin = time.monotonic()
        asked = {**check, "path": path}
        status, text = ask(at, asked, WARM_SECONDS)
        took = time.monotonic() - begin
        if took > LONG_SECONDS:
            # All workers would be at it when visitors come.
            progress.say(f"warm-up: {path} takes {took:.1f} s to answer, each worker was not asked for it")
            continue
        # Those who are at work take no other question: twice as many as there are find all of them.
        asking = [threading.Thread(target=ask, args=(at, asked, WARM_SECONDS), daemon=True) for _ in range(2 * workers)]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        first = f"the first time {status or text} after {took:.2f} s"
        progress.say(f"warm-up: {path}, {first}; {workers} workers after {time.monotonic() - begin:.2f} s")


def ask_until(
    until: float, at: Place, check: Dict[str, Any], gave_up: Callable[[], Optional[str]]
) -> Tuple[Optional[int], str]:
    """Ask once, and look after the service meanwhile: the socket takes a question even while nobody can answer it.

    Args:
        until: when to wait no longer (time.monotonic).
        at: socket, or port of 127.0.0.1.
        check: see `wait`.
        gave_up: see `wait`.

    Returns:
        What `ask` does; None and why where there was no answer in time.
    """
    answers: List[Tuple[Optional[int], str]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(at, check, ASK_SECONDS)), daemon=True)
    asking.start()
    asking.join(LOOK_SECONDS)
    while not answers and time.monotonic() < until and not gave_up():
        asking.join(LOOK_SECONDS)
    return answers[0] if answers else (None, "no answer")
