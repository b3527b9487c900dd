"""Copying a file, a text or a folder to a host by SFTP, with the official plugin's rules for the destination."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .calls import Failure, Severity
from .go import join, last, parent, system_error
from .ssh import dial
from .values import is_asset

if TYPE_CHECKING:
    from .calls import Call
    from .values import Values


def copy(call: Call, inputs: Values) -> None:
    """Copy the source of these plain inputs to the remote path; this connection is closed at the end."""
    source, destination = inputs["source"], inputs["remotePath"]
    text = is_asset(source) and not source["path"] and not source["uri"]
    origin = "text asset" if text else f"local file {source['path']}"
    call.log(Severity.DEBUG, f"Creating file: {inputs['connection']['host']}:{destination} from {origin}")
    import paramiko  # noqa: PLC0415

    with contextlib.closing(dial(call, inputs["connection"])) as transport:
        client = paramiko.SFTPClient.from_transport(transport)
        if client is None:
            raise Failure("ssh: subsystem request failed")
        with contextlib.closing(client):
            if text:
                _copy_text(client, source["text"], destination)
            else:
                _copy_path(client, source["path"], destination)


def _copy_text(client: Any, text: str, destination: str) -> None:
    if _is_folder(_status(client, destination)):
        raise Failure(
            f"remote path {destination} is a directory; when using a text asset, remotePath must be a file path"
        )
    _make_parents(client, destination)
    _write(client, destination, text.encode(), f"failed to write text content to remote path {destination}")


def _copy_path(client: Any, source: str, destination: str) -> None:
    """Copy by path.

    A folder goes into the destination under its own name, or (with a slash at its end) its content does. A file
    becomes the destination, or goes into it if that is a folder.
    """
    try:
        local = os.stat(source)  # noqa: PTH116 (a path of pathlib would lose the slash at its end)
    except OSError as error:
        raise Failure(f"open {source}: {system_error(error)}") from None
    remote = _status(client, destination)
    if not stat.S_ISDIR(local.st_mode):
        if _is_folder(remote):
            destination = join(destination, last(source))
        elif remote is None:
            _make_parents(client, destination)
        _copy_file(client, source, destination)
        return
    if remote is None:
        _make_folders(client, destination, f"failed to create remote directory {destination}")
    if not source.endswith("/"):
        destination = join(destination, last(source))
        _make_folder(client, destination)
    _copy_folder(client, source, destination)


def _copy_folder(client: Any, source: str, destination: str) -> None:
    _make_folder(client, join(destination, "."))
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        here, there = os.path.join(source, entry.name), join(destination, entry.name)  # noqa: PTH118
        if entry.is_dir(follow_symlinks=False):
            _copy_folder(client, here, there)
        else:
            _copy_file(client, here, there)


def _copy_file(client: Any, source: str, destination: str) -> None:
    try:
        content = Path(source).read_bytes()
    except IsADirectoryError:
        raise Failure(
            f"failed to copy file {source} to remote path {destination}: read {source}: is a directory"
        ) from None
    except OSError as error:
        raise Failure(f"open {source}: {system_error(error)}") from None
    _write(client, destination, content, f"failed to copy file {source} to remote path {destination}")


def _write(client: Any, destination: str, content: bytes, failure: str) -> None:
    try:
        file = client.open(destination, "wb")
    except OSError as error:
        raise Failure(f"failed to create remote file {destination}: {_words(error)}") from None
    with contextlib.closing(file):
        try:
            file.set_pipelined()
            file.write(content)
        except OSError as error:
            raise Failure(f"{failure}: {_words(error)}") from None


def _status(client: Any, path: str) -> int | None:
    """Return the mode of a remote path, following links; nothing if it does not exist."""
    try:
        mode: int = client.stat(path).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"failed to stat remote path {path}: {_words(error)}") from None
    return mode


def _is_folder(mode: int | None) -> bool:
    return mode is not None and stat.S_ISDIR(mode)


def _make_folder(client: Any, path: str) -> None:
    mode = _status(client, path)
    if mode is None:
        try:
            client.mkdir(path)
        except OSError as error:
            raise Failure(f"failed to create remote directory {path}: {_words(error)}") from None
    elif not _is_folder(mode):
        raise Failure(f"remote path {path} exists but is not a directory")


def _make_parents(client: Any, path: str) -> None:
    _make_folders(client, parent(path), f"failed to create parent directories for {path}")


def _make_folders(client: Any, path: str, failure: str) -> None:
    try:
        mode = client.stat(path).st_mode
    except OSError:
        above = parent(path)
        if above != path:
            _make_folders(client, above, failure)
        try:
            client.mkdir(path)
        except OSError as error:
            # Another copy may have made it meanwhile.
            if not _is_there(client, path):
                raise Failure(f"{failure}: {_words(error)}") from None
    else:
        if not _is_folder(mode):
            raise Failure(f"{failure}: mkdir {path}: not a directory")


def _is_there(client: Any, path: str) -> bool:
    try:
        return _is_folder(client.lstat(path).st_mode)
    except OSError:
        return False


def _words(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "file does not exist"
    if isinstance(error, PermissionError):
        return "permission denied"
    return f'sftp: "{error}" (SSH_FX_FAILURE)'
