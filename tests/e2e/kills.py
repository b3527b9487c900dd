"""The verbs of a host that can be killed after each of their changes of state (`points.py` knows them)."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.host import APP

if TYPE_CHECKING:
    import subprocess

    from tests.e2e.stack import Stack

FOLDER = "/run/flaskhost-points"
UNIT = f"flaskhost-{APP}-release.service"
DOCUMENTS = "/root/documents-of-a-release"
HOOK = "/usr/local/lib/flaskhost-points.py"
POINTS = Path(__file__).with_name("points.py").read_text()


def digest_of(name: str) -> str:
    """Return the digest of the release that `Mortal.release` makes under a name."""
    return hashlib.sha256(name.encode()).hexdigest()


class Mortal:
    """A deploy's release step, done on the host without the engine: its documents, with another release's digest."""

    def __init__(self, stack: Stack) -> None:
        """Take the documents of the last deploy, and have the command on the host load the hook."""
        self.host, self.https_port = stack.host, stack.ports["https_port"]
        resources = stack.export()["deployment"]["resources"]
        text = next(one["inputs"]["stdin"] for one in resources if one["urn"].endswith(f"::{APP}-release"))
        self._digest = re.findall(r'^release = "([0-9a-f]{64})"$', text, re.MULTILINE)[0]
        self.host.write(DOCUMENTS, text)
        launcher = self.host.run("readlink -f /usr/local/bin/flaskhost")
        program = self.host.run(f"cat {launcher}")
        if HOOK not in program:
            first, rest = program.split("from flaskhost", 1)
            loading = f"exec(compile(open('{HOOK}').read(), '{HOOK}', 'exec'))"
            self.host.write(HOOK, POINTS)
            self.host.write(launcher, f"{first}{loading}\nfrom flaskhost{rest}\n", 0o755)

    def release(
        self, name: str, *, after: int = 0, within: float | None = None, back: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Release the same code under another digest.

        Args:
            name: makes the digest.
            after: points after which the verb is killed; 0 lets it live.
            within: seconds after which it is killed, if it still runs.
            back: seconds by which the host's clock is set back meanwhile.
        """
        said = f"mkdir -p {FOLDER}; rm -f {FOLDER}/passed; echo {after} > {FOLDER}/after; echo {back} > {FOLDER}/back"
        if within is not None:
            said += f"; (sleep {within:.3f}; systemctl kill --signal KILL {UNIT}) > /dev/null 2>&1 & killer=$!"
        step = f"sed s/{self._digest}/{digest_of(name)}/ {DOCUMENTS} | flaskhost release {APP}"
        # Nobody is to kill the next one.
        end = f"status=$?; kill $killer; rm {FOLDER}/after {FOLDER}/back; exit $status"
        return self.host.do(f"{said}\n{step}; {end}")

    def passed(self) -> list[str]:
        """Return the points that the last release has passed."""
        return self.host.run(f"cat {FOLDER}/passed").splitlines()
