"""Whose name work is done in: the application's own user, and one that builds."""

from __future__ import annotations

from flaskhost.progress import Progress
from flaskhost.shell import run, succeeds

# Runs code of strangers (packages without a wheel, build commands). It owns a cache and may read no secret.
BUILDER = "flaskhost-build"
BUILDER_HOME = "/var/cache/flaskhost"


def ensure(app: str, home: str, progress: Progress) -> None:
    """Have the application's user, each with a group of its own, and the builder.

    The application's has a shell, since operators become it (reference: deployment-sop.txt, section 5, step 3), and
    no password.
    """
    for name, place, shell in ((app, home, "/bin/bash"), (BUILDER, BUILDER_HOME, "/usr/sbin/nologin")):
        if not succeeds(["getent", "passwd", name]):
            words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", place, "--shell", shell]
            run([*words, name])
            progress.say(f"account: made {name}")
