"""What AWS calls the engines of managed services, and what their versions and sizes bring along."""

from __future__ import annotations

DATABASES = {"postgresql": "postgres", "mysql": "mysql"}
"""What RDS calls the engines."""

_PARTS_OF_A_RELEASE = {"postgresql": 2, "mysql": 3}
"""Numbers of a version beyond which RDS has none (Amazon RDS User Guide, "Upgrading the engine version")."""

STRIPED_GIB, STRIPED_IOPS, STRIPED_MIB_A_SECOND = 400, 12000, 500
"""From this size on RDS puts a gp3 disk on four, and this is the least that it has then (Amazon RDS User Guide, "gp3
storage")."""


def is_exact(engine: str, version: str) -> bool:
    """Tell whether a version of a database is one release, and not a line of them that AWS moves along."""
    return version.count(".") + 1 >= _PARTS_OF_A_RELEASE[engine]


def speed(storage: int) -> tuple[int | None, int | None]:
    """Return what the disk of a database must be told to have, which grows past the limit only with these.

    Args:
        storage: its size in GiB.

    Returns:
        Operations a second, and MiB a second; None where AWS's own choice is the only one.
    """
    return (STRIPED_IOPS, STRIPED_MIB_A_SECOND) if storage >= STRIPED_GIB else (None, None)


def parameters(engine: str, version: str) -> str:
    """Return the name of AWS's own parameters of a cache, which an upgrade to another line has to name."""
    major = version.partition(".")[0]
    return "default.redis6.x" if (engine, major) == ("redis", "6") else f"default.{engine}{major}"
