"""Another Python for a test's host: the host's own, made to say another patch release, in a mirror on that host."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.host import Host

MIRROR = "file:///srv/mirror/pythons.json"
"""What a stack says as app.python_mirror."""

# No site that has real ones can be relied on here.
MAKE = """
set -eu
mkdir -p /srv/mirror && cd /srv/mirror && mkdir -p python/bin python/lib
cp -rL /usr/lib/{name} python/lib/ 2> /dev/null || true
rm -rf python/lib/{name}/test python/lib/{name}/config-* python/lib/{name}/sitecustomize.py
python3 - <<'END'
import hashlib, json, pathlib, platform, tarfile
binary = pathlib.Path("/usr/bin/{name}").read_bytes()
old, new = b"{system}" + bytes(1), b"{exact}" + bytes(1)
assert old in binary
pathlib.Path("python/bin/{name}").write_bytes(binary.replace(old, new))
pathlib.Path("python/bin/{name}").chmod(0o755)
pathlib.Path("python/bin/python3").symlink_to("{name}")
with tarfile.open("cpython.tar.gz", "w:gz", compresslevel=1) as tar:
    tar.add("python")
digest = hashlib.sha256(pathlib.Path("cpython.tar.gz").read_bytes()).hexdigest()
machine, (major, minor, patch) = platform.machine(), map(int, "{exact}".split("."))
one = dict(name="cpython", arch=dict(family=machine, variant=None), os="linux", libc="gnu", major=major, minor=minor,
           patch=patch, prerelease="", url="file:///srv/mirror/cpython.tar.gz", sha256=digest, variant=None, build="1")
pathlib.Path("pythons.json").write_text(json.dumps({{f"cpython-{exact}-linux-{{machine}}-gnu": one}}))
END
"""


def mirror(host: Host) -> str:
    """Make the mirror; return the exact version that it has, and that the host has not."""
    system = host.run("python3 -c 'import platform; print(platform.python_version())'")
    exact = system[:-1] + ("8" if system.endswith("9") else "9")
    host.run(MAKE.format(name="python" + ".".join(system.split(".")[:2]), system=system, exact=exact))
    return exact
