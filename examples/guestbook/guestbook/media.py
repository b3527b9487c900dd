"""The uploaded pictures: kept in MEDIA_ROOT, outside of every release."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from werkzeug.datastructures import FileStorage


def extension(upload: FileStorage) -> str | None:
    """Return the extension that fits the first bytes of the upload, None for anything but a picture."""
    head = upload.stream.read(12)
    upload.stream.seek(0)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
        return ".webp"
    return None


def keep(upload: FileStorage, folder: Path) -> str:
    """Store a checked upload under a name of our own and return that; nobody ever sees a file half written."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{uuid.uuid4().hex}{extension(upload)}"
    unfinished = folder / f".{name}.part"
    upload.save(unfinished)
    unfinished.replace(folder / name)
    return name
