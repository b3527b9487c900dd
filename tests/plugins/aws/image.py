"""The images of an instance (a server with systemd, SSH and cloud-init, as those of a cloud have it) and a database."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from ops.local_server import image
from ops.local_server.server import USER_MANAGER_SETTINGS, authorities
from tests.e2e import prepared

if TYPE_CHECKING:
    from ops.local_server.engine import Engine

CLOUD = """\
# Made for the tests: the data comes with the container, and its network is the engine's.
datasource_list: [NoCloud]
network: {config: disabled}
system_info:
  default_user:
    name: ubuntu
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
    lock_passwd: true
"""

PACKAGES = (
    "ca-certificates",
    "cloud-guest-utils",
    "cloud-init",
    "e2fsprogs",
    "locales",
    "python3-boto3",
    "util-linux",
)

SCRIPT = """set -eu
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install {packages}
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/*
apt-get clean
write() {{ mkdir -p "$(dirname "$1")"; base64 -d > "$1"; }}
{files}
update-ca-certificates
# The managers of root and of the login stay between logins: in a container their stop hangs.
mkdir -p /var/lib/systemd/linger
touch /var/lib/systemd/linger/root /var/lib/systemd/linger/ubuntu
: > /etc/machine-id
"""


def instance_image(engine: Engine, wanted: str = "auto", *, bare: bool = False) -> str:
    """See to it that the image of an instance is there; the reference for `containers` of an account.

    Args:
        engine: that keeps it.
        wanted: distribution, as the local server has it.
        bare: whether the packages that a host of ours needs are missing, as on a new machine.
    """
    base = image.ensure(engine, wanted) if bare else prepared.ensure(engine, wanted)
    contents = {
        "/etc/cloud/cloud.cfg.d/99-instance.cfg": CLOUD.encode(),
        "/etc/systemd/system/user@.service.d/flaskhost-local-server.conf": USER_MANAGER_SETTINGS.encode(),
        **{f"/usr/local/share/ca-certificates/{name}": content for name, content in authorities()},
    }
    files = "\n".join(
        f"write '{path}' <<'END'\n{base64.encodebytes(content).decode()}END" for path, content in contents.items()
    )
    return prepared.derived(engine, base, SCRIPT.format(packages=" ".join(PACKAGES), files=files))


DATABASE_SCRIPT = """set -eu
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get -q update
apt-get -q -y --no-install-recommends install postgresql ssl-cert
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/*
apt-get clean
cd /etc/postgresql/*/main
cat > conf.d/rds.conf <<'END'
listen_addresses = '*'
ssl = on
ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'
ssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key'
password_encryption = 'scram-sha-256'
END
# As with rds.force_ssl, which is 1 from PostgreSQL 15 on: nobody comes without TLS.
cat > pg_hba.conf <<'END'
local all postgres peer
hostssl all all samenet scram-sha-256
END
: > /etc/machine-id
"""


def database_image(engine: Engine, wanted: str = "auto") -> str:
    """See to it that the image of a database is there; the reference for `containers` of an account.

    Args:
        engine: that keeps it.
        wanted: distribution, as the local server has it; its PostgreSQL is the database's.
    """
    return prepared.derived(engine, image.ensure(engine, wanted), DATABASE_SCRIPT)
