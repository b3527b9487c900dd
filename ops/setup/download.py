"""Downloads from the vendor's site, where it can be reached; every wait is short."""

from __future__ import annotations

import hashlib
import queue
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from pathlib import Path

CONNECT_SECONDS = 5
"""How long the vendor's site may take to answer at all: where it is blocked, nothing should wait for it."""

STALL_SECONDS = 30
"""How long a download may stand still."""

CHUNK = 1 << 18


class Unreachable(Exception):  # noqa: N818 - an outcome that the caller goes on from
    """What was asked for cannot be had from there; the message says why in a few words."""


def answers(url: str) -> None:
    """Raise Unreachable unless the site answers within CONNECT_SECONDS, the look-up of its name included."""
    results: queue.Queue[Unreachable | None] = queue.Queue()

    def ask() -> None:
        try:
            with _open(urllib.request.Request(url, method="HEAD"), CONNECT_SECONDS):  # noqa: S310 - https
                results.put(None)
        except Unreachable as error:
            results.put(error)

    # A thread, because no time limit of a socket bounds the look-up of a name.
    threading.Thread(target=ask, daemon=True).start()
    try:
        error = results.get(timeout=CONNECT_SECONDS + 1)
    except queue.Empty:
        raise Unreachable(f"no answer in {CONNECT_SECONDS} s") from None
    if error:
        raise error


def text(url: str) -> str:
    """Return the small text that a URL serves."""
    with _open(url, CONNECT_SECONDS) as response:
        return response.read(1 << 20).decode("utf-8", "replace")


def file(url: str, target: Path, sha256: str) -> None:
    """Download a file, and raise Unreachable unless it has the digest that it should have."""
    found = hashlib.sha256()
    with _open(url, STALL_SECONDS) as response, target.open("wb") as written:
        try:
            while chunk := response.read(CHUNK):
                found.update(chunk)
                written.write(chunk)
        except OSError as error:
            raise Unreachable(f"the download broke off: {error}") from error
    if found.hexdigest() != sha256:
        raise Unreachable(f"{url.rsplit('/', 1)[-1]} has not the digest that the vendor publishes")


def _open(request: str | urllib.request.Request, seconds: float) -> HTTPResponse:
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=seconds)  # noqa: S310 - https
    except urllib.error.HTTPError as error:
        raise Unreachable(f"HTTP status {error.code}") from error
    except urllib.error.URLError as error:
        raise Unreachable(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except OSError as error:
        raise Unreachable(str(error)) from error
    return response
