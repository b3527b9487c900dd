"""What a verb says while it works, and what nobody may ever read in it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from typing import IO, Dict, Iterable, Iterator, List, Optional
from urllib.parse import unquote

# A line of more than 64 KiB may hang pulumi-command, and Pulumi keeps what a step prints: be brief.
LONGEST_LINE = 2000
MOST_LINES = 200
HIDDEN = "[secret]"
# Shorter values occur by chance in any text; hiding them would hide the text.
SHORTEST_SECRET = 4
URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@]*):([^\s@/]+)@")


class Scrubber:
    """Removes values of the environment from text."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Hide each of `values`, each line of a value that has several, and the password in a URL."""
        self._values: List[str] = []
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these as well."""
        known = set(self._values)
        for value in values:
            parts = [value, *value.split("\n"), *(found[1] for found in URL_PASSWORD.findall(value))]
            # As it is, as a URL decodes it, and as Python and JSON write it in a message.
            forms = [form for part in parts for form in (part, unquote(part), repr(part)[1:-1], json.dumps(part)[1:-1])]
            known.update(form for form in forms if len(form) >= SHORTEST_SECRET)
        # The longest first: a value may be part of another one.
        self._values = sorted(known, key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return `text` without any of the values and without passwords in URLs."""
        for value in self._values:
            text = text.replace(value, HIDDEN)
        return URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)

    def clean(self, text: str) -> str:
        """Return `text` without any of the values and without passwords in URLs, cut to a sensible size."""
        found = self.hide(text).split("\n")
        lines = [line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " […]" for line in found]
        if len(lines) > MOST_LINES:
            half = MOST_LINES // 2
            lines = [*lines[:half], f"[… {len(lines) - MOST_LINES} lines left out …]", *lines[-half:]]
        return "\n".join(lines)


class Progress:
    """Lines with the time since the verb began.

    Attributes:
        scrubber: what nobody may read.
        phases: seconds that each phase took; releases.log keeps them.
    """

    def __init__(self, log: Optional[IO[str]] = None) -> None:
        """Write to `log` as well as to standard error."""
        self.scrubber = Scrubber()
        self.phases: Dict[str, float] = {}
        self._begin = time.monotonic()
        self._log = log

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Note how long something takes, whether it succeeds or not.

        A phase may be a part of another one; of one that comes twice the sum is noted.
        """
        begin = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = round(self.phases.get(name, 0.0) + time.monotonic() - begin, 2)

    def say(self, text: str) -> None:
        """Say one thing, in one or more lines, without any secret."""
        clean = self.scrubber.clean(text)
        first, *rest = clean.split("\n")
        line = "\n".join(
            [f"[{time.monotonic() - self._begin:6.2f} s] {first}", *(f"           {part}" for part in rest)]
        )
        for stream in (self._log, sys.stderr):
            if stream is not None:
                print(line, file=stream, flush=True)
