"""The site as a visitor's browser sees it, over HTTP and HTTPS on 127.0.0.1 or on a test's own host."""

from __future__ import annotations

import http.client
import re
import ssl
import struct
import time
import uuid
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 20.0
TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


def _png(colour: bytes, side: int = 24) -> bytes:
    """Return a PNG of one colour (red, green, blue)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = (b"\0" + colour * side) * side
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


PICTURE = _png(b"\x0f\x76\x6e")


def trusting() -> ssl.SSLContext:
    """Return what accepts any certificate: those of the tests are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(frozen=True)
class Answer:
    """What came back; the names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Site:
    """The two ports of a site on this machine, and by which name it is asked for, if not by its address."""

    http_port: int
    https_port: int
    address: str = "127.0.0.1"
    name: str = ""

    def get(
        self, path: str = "/", *, plain: bool = False, host: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask for a page; `plain` without TLS."""
        return self._ask("GET", path, plain=plain, headers={**({"Host": host} if host else {}), **(headers or {})})

    def version(self) -> str:
        """Return the version that serves, as the application says it."""
        return self.get("/version").text.strip()

    def wait_until_healthy(self, seconds: float = 60) -> str:
        """Wait for a healthy answer; return the version that gave it."""
        until, last = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            try:
                answer = self.get("/health")
                if answer.status == 200:
                    return self.version()
                last = f"{answer.status} {answer.text[:200]}"
            except (OSError, http.client.HTTPException) as error:
                last = f"{type(error).__name__}: {error}"
            time.sleep(0.1)
        raise AssertionError(f"no healthy answer within {seconds:.0f} s, last: {last}")

    def sign(self, author: str, text: str, picture: bytes = PICTURE) -> str:
        """Leave a message with a picture, as the form does; return the path of the picture on the page."""
        page = self.get()
        token = TOKEN.search(page.text)
        assert token, page.text
        boundary = uuid.uuid4().hex
        parts = [
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
            for name, value in (("csrf_token", token.group(1)), ("author", author), ("text", text))
        ]
        parts.append(
            b'Content-Disposition: form-data; name="picture"; filename="p.png"\r\nContent-Type: image/png\r\n\r\n'
            + picture
        )
        body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Cookie": page.headers["set-cookie"].split(";")[0],
        }
        answer = self._ask("POST", "/", headers=headers, body=body + b"--" + boundary.encode() + b"--\r\n")
        assert answer.status == 303, answer.text
        found = re.search(rf'src="(/media/[^"]+)" alt="Picture by {re.escape(author)}"', self.get().text)
        assert found, f"the picture of {author} is not on the page"
        return found.group(1)

    def _ask(
        self, method: str, path: str, *, plain: bool = False, headers: Mapping[str, str], body: bytes = b""
    ) -> Answer:
        connection: http.client.HTTPConnection
        headers = {**({"Host": self.name} if self.name else {}), **headers}
        if plain:
            connection = http.client.HTTPConnection(self.address, self.http_port, timeout=SECONDS)
        else:
            connection = http.client.HTTPSConnection(self.address, self.https_port, timeout=SECONDS, context=trusting())
        try:
            connection.request(method, path, body=body or None, headers={**headers, "Connection": "close"})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()
