"""Running a command: on this machine, or on a host over SSH."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calls import Failure, Severity
from .go import end_of_process, join, quote, system_error
from .ssh import dial, keep, request
from .streams import Streams
from .values import ARCHIVE, ASSET, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from .calls import Call
    from .values import Values

_PREVIOUS = {"stdout": "PULUMI_COMMAND_STDOUT", "stderr": "PULUMI_COMMAND_STDERR"}
_PIECE = 32 * 1024


def run(call: Call, command: str, inputs: Values, previous: Values) -> Values:
    """Run a command of a resource with these plain inputs, remote if they have a connection; return its outputs."""
    runner = _remote if "connection" in inputs else _local
    return runner(call, command, inputs, previous)


def _previous_outputs(inputs: Values, previous: Values) -> Iterator[tuple[str, str]]:
    if inputs.get("addPreviousOutputInEnv") is not False:
        for output, name in _PREVIOUS.items():
            if previous.get(output):
                yield name, previous[output]


def _remote(call: Call, command: str, inputs: Values, previous: Values) -> Values:
    import paramiko  # noqa: PLC0415

    transport = dial(call, inputs["connection"])
    keep(transport)
    try:
        channel = transport.open_session(timeout=10**8)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Failure(f"ssh: {error}") from None
    with contextlib.closing(channel):
        for name, value in (inputs.get("environment") or {}).items():
            if not request(channel, "env", name, value):
                call.log(Severity.ERROR, _REFUSED_VARIABLE.format(name=name))
                raise Failure(f"could not set environment variable {quote(name)}: ssh: setenv failed")
        for name, value in _previous_outputs(inputs, previous):
            if not request(channel, "env", name, value):
                call.log(Severity.WARNING, _REFUSED_VARIABLE.format(name=name))
        streams = Streams(call, inputs.get("logging"))
        problem = _execute(channel, command, inputs.get("stdin") or "", streams)
    streams.close()
    if problem:
        raise Failure(f"{problem}: running {quote(command)}:\n{streams.together}")
    return {**previous, **streams.outputs()}


_REFUSED_VARIABLE = (
    "The host refused the variable '{name}': its SSH server accepts only the names under AcceptEnv. Set it in the "
    "command itself (NAME=value command), or name it there"
)


def _execute(channel: Any, command: str, stdin: str, streams: Streams) -> str | None:
    """Run the command on an open channel until it ends; return what went wrong."""
    if not request(channel, "exec", command):
        return f"ssh: command {command} failed"
    broken = threading.Event()

    def feed() -> None:
        try:
            channel.sendall(stdin.encode())
        except OSError:
            broken.set()
        with contextlib.suppress(OSError, EOFError):
            channel.shutdown_write()

    def copy(stream: str, receive: Any) -> None:
        while data := receive(_PIECE):
            streams.write(stream, data)

    threads = [
        threading.Thread(target=feed, daemon=True),
        threading.Thread(target=copy, args=("stdout", channel.recv), daemon=True),
        threading.Thread(target=copy, args=("stderr", channel.recv_stderr), daemon=True),
    ]
    for thread in threads:
        thread.start()
    channel.status_event.wait()
    for thread in threads[1:]:
        thread.join()
    threads[0].join()
    return _end_of_session(channel, broken=broken.is_set())


def _end_of_session(channel: Any, *, broken: bool) -> str | None:
    name = getattr(channel, "exit_signal", None)
    if name:
        number = getattr(signal, f"SIG{name}", 0)
        reason = f". Reason was: {channel.exit_reason}" if channel.exit_reason else ""
        return f"Process exited with status {128 + number} from signal {name}{reason}"
    if channel.exit_status == -1:
        return "wait: remote command exited without exit status or exit signal"
    if channel.exit_status != 0:
        return f"Process exited with status {channel.exit_status}"
    # A command that ends well without reading all of a long input fails there, too.
    return "EOF" if broken else None


def _local(call: Call, command: str, inputs: Values, previous: Values) -> Values:
    words = [*(inputs.get("interpreter") or ["/bin/sh", "-c"]), command]
    folder = inputs.get("dir") or str(Path.cwd())
    environment = {**os.environ, **(inputs.get("environment") or {}), **dict(_previous_outputs(inputs, previous))}
    streams = Streams(call, inputs.get("logging"))
    problem = call.over()
    if not problem:
        problem = _spawn(call, words, folder, environment, inputs.get("stdin") or "", streams)
    streams.close()
    if problem:
        raise Failure(f"{problem}: running {quote(command)}:\n{streams.together}")
    outputs: Values = {**previous, **streams.outputs()}
    if inputs.get("assetPaths") is not None:
        outputs["assets"] = dict(_assets(folder, inputs["assetPaths"]))
    if inputs.get("archivePaths") is not None:
        outputs["archive"] = _archive(dict(_assets(folder, inputs["archivePaths"])))
    return outputs


def _spawn(
    call: Call, words: list[str], folder: str, environment: dict[str, str], stdin: str, streams: Streams
) -> str | None:
    """Run the words to their end; return what went wrong."""
    if "/" not in words[0] and shutil.which(words[0]) is None:
        return f"exec: {quote(words[0])}: executable file not found in $PATH"
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        what = f"chdir {folder}" if error.filename == folder else f"fork/exec {words[0]}"
        return f"{what}: {system_error(error)}"

    threads = [
        threading.Thread(target=_copy, args=(process.stdout, "stdout", streams), daemon=True),
        threading.Thread(target=_copy, args=(process.stderr, "stderr", streams), daemon=True),
    ]
    if stdin:
        threads.append(threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True))
    for thread in threads:
        thread.start()
    while process.poll() is None:
        if call.over():
            process.kill()
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # seconds until the engine's cancellation is looked at again
    # Whoever inherited the pipes keeps the step waiting, as it does there.
    for thread in threads:
        thread.join()
    status = process.wait()
    return end_of_process(status) if status else None


def _copy(pipe: IO[bytes], stream: str, streams: Streams) -> None:
    with pipe:
        while data := os.read(pipe.fileno(), _PIECE):
            streams.write(stream, data)


def _feed(pipe: IO[bytes], text: str) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(text.encode())


def _assets(folder: str, patterns: list[str]) -> Iterator[tuple[str, Values]]:
    """Yield the files below the folder that the patterns choose; the last pattern that matches decides."""
    rules = [(not pattern.startswith("!"), re.compile(_expression(pattern.lstrip("!")))) for pattern in patterns]
    for place, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            name = os.path.relpath(Path(place) / file, folder)
            verdicts = [include for include, rule in rules if rule.fullmatch(name)]
            if verdicts and verdicts[-1]:
                path = join(folder, name)
                digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
                yield name, {SIGNATURE: ASSET, "hash": digest, "path": path, "text": "", "uri": ""}


def _expression(pattern: str) -> str:
    """Translate a glob with `/` as separator: `*`, `**`, `?`, `[…]` and `{a,b}`."""
    pieces = re.split(r"(\*\*|\*|\?|\[[^\]]*\]|\{[^}]*\})", pattern)
    wild = {"**": ".*", "*": "[^/]*", "?": "[^/]"}

    def piece(text: str) -> str:
        if text in wild:
            return wild[text]
        if text.startswith("[") and text.endswith("]"):
            return text.replace("[!", "[^", 1)
        if text.startswith("{") and text.endswith("}"):
            return "(?:" + "|".join(map(_expression, text[1:-1].split(","))) + ")"
        return re.escape(text)

    return "".join(map(piece, pieces))


def _archive(members: dict[str, Values]) -> Values:
    digest = hashlib.sha256("".join(f"{name}:{asset['hash']}\n" for name, asset in members.items()).encode())
    return {SIGNATURE: ARCHIVE, "hash": digest.hexdigest(), "assets": members, "path": "", "uri": ""}
