"""Texts as the official plugin words them: it is written in Go."""

from __future__ import annotations

import errno
import os
import posixpath
import signal

_SHORT = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}
_ASCII = 0x80
_BASIC_PLANE = 0x10000

# Go has its own words for signals, the C library has others.
_SIGNALS = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGUSR1: "user defined signal 1",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGUSR2: "user defined signal 2",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}


def quote(text: str) -> str:
    """Quote as the verb %q does."""
    return '"' + "".join(_SHORT.get(letter) or _letter(letter) for letter in text) + '"'


def _letter(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    if code < _ASCII:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _BASIC_PLANE else f"\\U{code:08x}"


def system_error(error: OSError) -> str:
    """Return the operating system's words, in lower case as Go has them."""
    if error.errno is None:
        return str(error)
    if error.errno == errno.ETIMEDOUT:
        return "connection timed out"
    text = os.strerror(error.errno)
    return text[:1].lower() + text[1:]


def end_of_process(status: int) -> str:
    """Name the way in which a local process ended; negative is a signal."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return "signal: " + _SIGNALS[signal.Signals(-status)]
    except (KeyError, ValueError):
        return f"signal: signal {-status}"


def join(*parts: str) -> str:
    """Join and clean paths."""
    path = posixpath.normpath("/".join(part for part in parts if part))
    return "/" + path.lstrip("/") if path.startswith("//") else path


def parent(path: str) -> str:
    """Return the folder of a path, cleaned."""
    return join(posixpath.dirname(path) or ".")


def last(path: str) -> str:
    """Return the last name of a path, whatever slashes follow it."""
    return posixpath.basename(path.rstrip("/")) or "/"
