"""Packs `host/flaskhost` into the one file that is uploaded: the same bytes wherever and whenever it is packed."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent / "host" / "flaskhost"
PACKED = ("*.py", "*.txt")
LIBRARY = "/usr/local/lib/flaskhost"
# The earliest time that a zip file can hold; the real ones differ between clones.
EPOCH = (1980, 1, 1, 0, 0, 0)
START = "import sys\nfrom flaskhost.__main__ import main\nsys.exit(main(sys.argv[1:]))\n"


@dataclass(frozen=True, kw_only=True)
class HostCommand:
    """The packed command.

    Attributes:
        archive: the file on this machine.
        digest: twelve hex digits that name its version.
        upload: where it is uploaded to, relative to the login user's home.
        program: the command on the host, once it has installed itself.
    """

    archive: Path
    digest: str
    upload: str
    program: str


def pack(cache: Path) -> HostCommand:
    """Pack the command.

    Args:
        cache: folder for the file; it is kept there, named by its digest.
    """
    paths = [path for pattern in PACKED for path in PACKAGE.rglob(pattern)]
    files = {str(path.relative_to(PACKAGE.parent)): path.read_bytes() for path in paths}
    files["__main__.py"] = START.encode()
    listing = "\n".join(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in sorted(files.items()))
    digest = hashlib.sha256(listing.encode()).hexdigest()[:12]
    archive = cache / f"flaskhost-{digest}.pyz"
    cache.mkdir(parents=True, exist_ok=True)
    # Of this process alone: another stack may be packing as well.
    new = archive.with_suffix(f".{os.getpid()}")
    with zipfile.ZipFile(new, "w") as packed:
        for name, data in sorted(files.items()):
            # Stored, not deflated: the bytes of a deflated file depend on the zlib of this machine.
            packed.writestr(zipfile.ZipInfo(name, EPOCH), data)
    new.rename(archive)
    upload = f".flaskhost/flaskhost-{digest}.pyz"
    return HostCommand(archive=archive, digest=digest, upload=upload, program=f"{LIBRARY}/{digest}/bin/flaskhost")
