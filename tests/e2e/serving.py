"""A good release that serves, and what must not be lost while something else is refused."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.e2e.host import HOME, Host
from tests.e2e.load import Visitors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.stack import Run, Stack

RATE = 20.0
"""Visitors a second: enough to notice a gap, and no load to speak of."""


@dataclass
class Serving:
    """A stack whose good release serves, and what must not be lost."""

    stack: Stack
    picture: str
    good: str

    @property
    def host(self) -> Host:
        """The server."""
        return self.stack.host

    def look(self) -> tuple[object, ...]:
        """Return what must be after a failure as it was before."""
        page, picture = self.stack.site.get(), self.stack.site.get(self.picture)
        env = self.host.run(f"sha256sum {HOME}/active/env")
        return self.host.active(), env, "Ada was here" in page.text, picture.status, picture.body

    def refused(self, *expected: str, **groups: Any) -> Run:
        """Change the configuration and have `up` fail with these words, while the good release serves; undo it."""
        before = self.look()
        assert before[2:4] == (True, 200)
        try:
            self.stack.configure(**groups)
            with Visitors(self.stack.site.https_port, rate=RATE) as visitors:
                done = self.stack.up(check=False)
        finally:
            self.stack.file.write_text(self.good)
        assert not done.succeeded, str(done)
        assert [words for words in expected if words not in done.text] == [], str(done)
        assert 'Traceback (most recent call last):\n  File "/usr/local/lib/flaskhost' not in done.text
        assert "a defect" not in done.text, str(done)
        assert visitors.failed == []
        assert visitors.versions == ["1.0.0"]
        assert self.look() == before
        return done


def serve(stack: Stack) -> Serving:
    """Return a stack that is deployed, with an upload and a row in the database."""
    picture = stack.site.sign("Ada", "Ada was here")
    return Serving(stack, picture, stack.file.read_text())


@contextlib.contextmanager
def instead_of(host: Host, file: str, text: str) -> Iterator[None]:
    """Have another file there (or one where none was), and the one before afterwards, link or not."""
    host.run(f"if [ -e {file} ]; then mv {file} /root/before; fi; printf %s {shlex.quote(text)} > {file}")
    try:
        yield
    finally:
        host.run(f"rm {file}; if [ -e /root/before ] || [ -L /root/before ]; then mv /root/before {file}; fi")
