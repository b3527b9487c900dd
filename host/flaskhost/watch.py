"""The watch after a switch: are visitors served worse than before?

Three things tell, looked at once a second: the answers 5xx in the site's own access log, against those of the minutes
before; the health, asked where visitors are; and whether the release stays up.
"""

from __future__ import annotations

import calendar
import collections
import functools
import os
import time
from pathlib import Path
from typing import IO, Any, Callable, Counter, Dict, Iterator, List, NamedTuple, Optional

from flaskhost import health
from flaskhost.progress import Progress
from flaskhost.shell import Failure

PAUSE_SECONDS = 1.0
TELL_SECONDS = 30.0
# As long as a visitor is patient; a release under load may be slower than usual.
ASK_SECONDS = 5.0
# Answers in a row: one may be lost while a worker is replaced.
UNHEALTHY = 3
# What the rate is compared with: long enough for a quiet site, short enough to be the same kind of load.
BEFORE_SECONDS = 300
# Some 50,000 requests; a busier site has fewer minutes to compare with, and loses nothing by that.
MOST_BYTES = 8 * 1024 * 1024
# Fewer may be one visitor who tries again.
FEWEST_ERRORS = 3
# A page that failed before the switch, too, is no reason to go back.
FACTOR = 2
# How many kinds of failed requests are named.
MOST_KINDS = 5
MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name}


class Limits(NamedTuple):
    """What counts as worse, as the stack says it.

    Attributes:
        seconds: how long the release is watched; 0: not at all.
        requests: how many have to be answered before their rate counts.
        errors: percentage of answers 5xx from which it counts.
    """

    seconds: float
    requests: int
    errors: float


class Answer(NamedTuple):
    """One line of the access log: when (seconds since the epoch), what was asked (no query), with which status."""

    time: float
    request: str
    status: int

    @property
    def is_error(self) -> bool:
        """Tell whether the application, or Nginx for it, has failed."""
        return self.status >= 500  # RFC 9110, section 15.6


class Rate(NamedTuple):
    """How many requests were answered, and how many of them with 5xx."""

    requests: int = 0
    errors: int = 0

    @property
    def percent(self) -> float:
        """The part of the errors."""
        return 100 * self.errors / self.requests if self.requests else 0.0

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.errors} of {self.requests} ({self.percent:.1f} %)"

    def written(self) -> Dict[str, Any]:
        """Return it for a record."""
        return {"requests": self.requests, "errors": self.errors, "percent": round(self.percent, 1)}


def parse(line: str) -> Optional[Answer]:
    r"""Read a line in Nginx's format `combined`; None where it is in another one.

    A quote in what a visitor sends is written as \x22 (ngx_http_log_module, escape=default), so those that are there
    stand around the fields. The query goes: it may hold what nobody else should read.
    """
    try:
        head, request, tail = line.split('"')[:3]
        stamp = head.rpartition("[")[2].partition("]")[0]
        return Answer(_seconds(stamp), request.rpartition(" ")[0].partition("?")[0], int(tail.split()[0]))
    except (ValueError, IndexError, KeyError):
        return None


@functools.lru_cache(maxsize=1024)
def _seconds(stamp: str) -> float:
    """Return a time such as 21/Nov/2026:20:22:01 +0100 in seconds since the epoch; strptime is slow."""
    date, _, zone = stamp.partition(" ")
    day, month, rest = date.split("/")
    year, hour, minute, second = map(int, rest.split(":"))
    utc = calendar.timegm((year, MONTHS[month], int(day), hour, minute, second))
    offset = int(zone[1:3]) * 3600 + int(zone[3:5]) * 60
    return utc + offset if zone[0] == "-" else utc - offset


def rate(answers: List[Answer]) -> Rate:
    """Count answers."""
    return Rate(len(answers), sum(answer.is_error for answer in answers))


def worse(now: Rate, before: Rate, limits: Limits) -> Optional[str]:
    """Return why visitors are served worse than before, or None.

    Args:
        now: what was answered since the switch.
        before: what was answered in the minutes before it.
        limits: what the stack says.
    """
    enough = now.requests >= limits.requests and now.errors >= FEWEST_ERRORS
    if not enough or now.percent < limits.errors or now.percent < FACTOR * before.percent:
        return None
    return (
        f"since the switch {now} requests were answered with 5xx, in the {BEFORE_SECONDS // 60} minutes before it "
        f"{before} (flaskhost:app.watch: from {limits.requests} requests and {limits.errors:g} % on)"
    )


class AccessLog:
    """What is added to a log from now on, and what was there just before; a rotation meanwhile loses nothing."""

    def __init__(self, path: Path) -> None:
        """Note where the log ends."""
        self._path = path
        # The one that was rotated is read on: Nginx writes to it until it has opened the new one.
        self._files: List[_Growing] = []
        self._look(at_end=True)
        self._first = self._files[0] if self._files else None
        self._end = self._first.at if self._first else 0

    def added(self) -> Iterator[Answer]:
        """Yield what was answered since this was asked last."""
        self._look(at_end=False)
        for file in self._files:
            yield from _parsed(file.lines())

    def before(self, since: float) -> List[Answer]:
        """Return what was answered before the log was opened, since a time; of a big log only the end is read."""
        if self._first is None:
            return []
        begin = max(0, self._end - MOST_BYTES)
        lines = self._first.read(begin, self._end).split(b"\n")
        # The first may have been cut.
        return [answer for answer in _parsed(lines[1:] if begin else lines) if answer.time >= since]

    def close(self) -> None:
        """Close what is open."""
        for file in self._files:
            file.close()

    def _look(self, *, at_end: bool) -> None:
        """Open the log if there is another one at its path now."""
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - read on until `close`
        except FileNotFoundError:
            return
        growing = _Growing(file, at_end=at_end)
        if any(known.inode == growing.inode for known in self._files):
            growing.close()
        else:
            self._files.append(growing)


class _Growing:
    """An open file that others write to."""

    def __init__(self, file: IO[bytes], *, at_end: bool) -> None:
        self._file = file
        now = os.fstat(file.fileno())
        self.inode = (now.st_dev, now.st_ino)
        self.at = now.st_size if at_end else 0
        self._rest = b""

    def lines(self) -> List[bytes]:
        """Return the whole lines that were added."""
        if os.fstat(self._file.fileno()).st_size < self.at:
            # Emptied in place (logrotate(8), copytruncate).
            self.at, self._rest = 0, b""
        part = self.read(self.at, None)
        self.at += len(part)
        *whole, self._rest = (self._rest + part).split(b"\n")
        return whole

    def read(self, begin: int, end: Optional[int]) -> bytes:
        self._file.seek(begin)
        return self._file.read(-1 if end is None else end - begin)

    def close(self) -> None:
        self._file.close()


def _parsed(lines: List[bytes]) -> Iterator[Answer]:
    for line in lines:
        answer = parse(line.decode("utf-8", "replace"))
        if answer is not None:
            yield answer


class Watch:
    """One release under watch; made just before visitors reach it."""

    def __init__(self, log: Path, limits: Limits) -> None:
        """Note how things stand.

        Args:
            log: the site's access log.
            limits: what counts as worse.
        """
        self.limits = limits
        self._log = AccessLog(log)
        self._began = time.time()
        self._now = Rate()
        self._failed: Counter[str] = collections.Counter()
        self._unhealthy: List[str] = []

    def hold(self, at: Path, check: Dict[str, Any], gave_up: Callable[[], Optional[str]], progress: Progress) -> None:
        """Watch for as long as the stack says, and on while the health is in doubt.

        Args:
            at: the socket that visitors reach.
            check: what is asked, and which status is right (see `health.wait`).
            gave_up: returns why the release does not stay up, or None.
            progress: told what was seen.

        Raises:
            Failure: visitors are served worse than before.
        """
        progress.say(f"watch: {self.limits.seconds:g} s")
        begin = told = time.monotonic()
        while time.monotonic() - begin < self.limits.seconds or self._unhealthy:
            time.sleep(PAUSE_SECONDS)
            self._ask(at, check, gave_up)
            died = gave_up()
            why = f"the release does not stay up: {died}" if died else self._worse() or self._sick(check)
            if why:
                raise Failure(why)
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                progress.say(f"watch: {self._told()}")
        progress.say(f"watch: {self._told()}: the release stays")

    def evidence(self) -> Dict[str, Any]:
        """Return in numbers what was seen until now."""
        self._count()
        return {
            "seconds": round(time.time() - self._began, 1),
            "limits": self.limits._asdict(),
            "since": self._now.written(),
            "before": {"minutes": BEFORE_SECONDS // 60, **self._before.written()},
            "failed_requests": dict(self._failed.most_common(MOST_KINDS)),
            "unhealthy_answers": self._unhealthy,
        }

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    @functools.cached_property
    def _before(self) -> Rate:
        # Looked at only where there are errors to compare.
        return rate(self._log.before(self._began - BEFORE_SECONDS))

    def _count(self) -> None:
        for answer in self._log.added():
            self._now = Rate(self._now.requests + 1, self._now.errors + answer.is_error)
            if answer.is_error:
                self._failed[f"{answer.request} {answer.status}"] += 1

    def _worse(self) -> Optional[str]:
        self._count()
        if self._now.errors < FEWEST_ERRORS:
            return None
        return worse(self._now, self._before, self.limits)

    def _ask(self, at: Path, check: Dict[str, Any], gave_up: Callable[[], Optional[str]]) -> None:
        status, text = health.ask_until(time.monotonic() + ASK_SECONDS, at, check, gave_up)
        if status == check["status"]:
            self._unhealthy.clear()
        else:
            self._unhealthy.append(f"{status} {text}" if status else text)

    def _sick(self, check: Dict[str, Any]) -> Optional[str]:
        if len(self._unhealthy) < UNHEALTHY:
            return None
        seen = f"wanted {check['status']} from {check['path']}, last seen: {self._unhealthy[-1]}"
        return f"the release is not healthy any more, {UNHEALTHY} times in a row: {seen}"

    def _told(self) -> str:
        return f"{self._now} requests answered with 5xx"
