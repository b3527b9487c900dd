"""An image of the local server on which the packages are installed already: most tests are not about apt.

It is made once and kept by the container engine, named by the digest of what it is made of.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

from flaskhost import packages

from ops.local_server import image
from ops.local_server.engine import limit_words, remove_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ops.local_server.engine import Engine

INSTALL = """set -eu
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install {packages}
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/*
apt-get clean
: > /etc/machine-id
"""
"""What the verb `base` does on a bare host, without starting services: that happens when the image boots."""


def ensure(engine: Engine, wanted: str = "auto", more: Sequence[str] = ()) -> str:
    """See to it that the image is there, of a distribution such as debian:11; the reference to run.

    Args:
        engine: that keeps it.
        wanted: image that it is made of.
        more: packages beside the usual ones.
    """
    base = image.ensure(engine, wanted)
    distribution = "ubuntu" if ":ubuntu-" in base else "debian"
    return derived(engine, base, INSTALL.format(packages=" ".join(packages.wanted(distribution, more, compiler=True))))


def derived(engine: Engine, base: str, script: str) -> str:
    """See to it that there is an image in which a script has run once, as root; the reference to run."""
    digest = hashlib.sha256(f"{base}\n{script}".encode()).hexdigest()[:12]
    reference = f"localhost/flaskhost/tests:{digest}"
    with image.only_one_at_a_time():
        if not engine.has_image(reference):
            _make(engine, base, script, reference)
    return reference


def _make(engine: Engine, base: str, script: str, reference: str) -> None:
    name = f"flaskhost-test-prepare-{os.getpid()}"
    limits = limit_words()
    try:
        engine.run("run", "--name", name, "--pull=never", *limits, base, "/bin/sh", "-c", script, seconds=900)
        engine.run("commit", "--change", 'CMD ["/sbin/init"]', name, reference, seconds=300)
    finally:
        with contextlib.suppress(Exception):
            engine.run(*remove_words(engine.name, name), check=False)
