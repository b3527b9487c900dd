"""The baseline that rendering and components are asked with, and how a test changes one thing of it."""

from __future__ import annotations

import base64
import copy
import hashlib
from pathlib import Path
from typing import Any

import rendering
import settings
from sources import Resolved

KEY = "0123456789abcdef0123456789abcdef"
REGION = "eu-central-1"
CANARY = "canary-4f1c02d9-of-the-tests"


def _key(name: bytes) -> tuple[str, str]:
    """Return a host key and a private key that look like ones."""
    public = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + name * 32).decode()
    private = base64.b64encode(b"openssh-key-v1\0\0\0\0\x04none" + name * 40).decode()
    return (
        f"ssh-ed25519 {public}",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{private}\n-----END OPENSSH PRIVATE KEY-----\n",
    )


HOST_KEY, PRIVATE_KEY = _key(b"a")
OTHER_HOST_KEY, OTHER_PRIVATE_KEY = _key(b"b")
BASELINE: dict[str, Any] = {
    "server": {"kind": "local"},
    "app": {
        "name": "guestbook",
        "source": {"repository": "../guestbook"},
        "version": "v1.0.0",
        "static": "guestbook/static",
    },
    "web": {"domains": ["guestbook.example", "www.guestbook.example"]},
    "env": {"SITE_TITLE": "Guestbook"},
    "secrets": {"SECRET_KEY": CANARY},
    "digest_key": KEY,
}


ON_AWS: dict[str, Any] = {
    "server": {"kind": "aws", "allow_ssh_from": ["192.0.2.0/24"]},
    "web__domains": ["example.com"],
    "web__redirects": ["www.example.com"],
    "dns": {"kind": "route53", "zone": "example.com"},
}
"""Changes that put the baseline on one machine on AWS."""

SEVERAL: dict[str, Any] = {
    **ON_AWS,
    "server": {"kind": "aws", "allow_ssh_from": ["192.0.2.0/24", "2001:db8::/32"], "count": 3},
    "database": {"kind": "rds"},
    "redis": {"kind": "elasticache", "replicas": 1},
    "media": {"kind": "s3", "cors_origins": ["https://example.com"]},
}
"""The same with three machines and all managed services."""


def config(**changes: Any) -> dict[str, Any]:
    """Return the baseline's configuration with values put in, by dotted place with `__` for the dot."""
    changed = copy.deepcopy(BASELINE)
    for place, value in changes.items():
        inner = changed
        *above, last = place.split("__")
        for name in above:
            inner = inner.setdefault(name, {})
        inner[last] = copy.deepcopy(value)
    return changed


def of(stack: str = "prod", **changes: Any) -> settings.Settings:
    """Return the settings of the baseline with changes."""
    return settings.load(config(**changes), stack=stack, region=REGION)


def resolved(commit: str = "3f2a" * 10, content: str = "code", archive: Path = Path("source.tar")) -> Resolved:
    """Return code as sources.resolve would; `content` stands for it where there is no archive."""
    tree = hashlib.sha256(archive.read_bytes() if archive.is_absolute() else content.encode()).hexdigest()
    return Resolved("v1.0.0", commit, tree, archive, 10)


def plan(source: Resolved | None = None, stack: str = "prod", **changes: Any) -> rendering.Plan:
    """Return the plan of the baseline with changes."""
    return rendering.plan(of(stack, **changes), source or resolved())
