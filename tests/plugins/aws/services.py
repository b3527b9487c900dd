"""What AWS offers to a machine from within: its metadata, and Secrets Manager by the role that it has.

An account whose `account.json` has `{"containers": {"services": true}}` puts `on_machine.py` into each instance, with a
unit that starts before cloud-init and all that the machine is for.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.plugins.aws import boxes, databases, vault
from tests.plugins.aws.account import NUMBER, Refused
from tests.plugins.aws.kinds import DATABASE, EIP, INSTANCE, PROFILE, ROLE, ROLE_POLICY

if TYPE_CHECKING:
    from tests.plugins.aws.account import Account, Json

UNIT_NAME = "aws-services.service"
# Of Secrets Manager; no address of AWS itself, and like that of the metadata none of the machine's own network.
ADDRESS = "169.254.170.1"

PROGRAM = "usr/local/lib/aws-services"
FOLDER = "etc/aws-services"
DATA = "var/lib/aws-services"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
AUTHORITY_NAME = "flaskhost test aws"
AUTHORITY = "usr/local/share/ca-certificates/aws-services.crt"

UNIT = f"""[Unit]
Description=What AWS offers to a machine from within
DefaultDependencies=no
Conflicts=shutdown.target
Before=cloud-init-local.service sysinit.target shutdown.target
[Service]
Type=notify
# What is in /tmp is swept away at this time.
Environment=TMPDIR=/run
ExecStartPre=/bin/sh -c '[ {BUNDLE} -nt /{AUTHORITY} ] || update-ca-certificates'
ExecStart=/usr/bin/python3 -I /{PROGRAM} /{FOLDER}/machine.json
Restart=on-failure
"""
WANTED = f"""[Unit]
Wants={UNIT_NAME}
"""


def on(account: Account) -> bool:
    """Tell whether the machines of the account have them."""
    return bool((boxes.on(account) or {}).get("services"))


def words(account: Account, entry: Json) -> list[str]:
    """Return the words of `create` for a machine that has them."""
    if not on(account):
        return []
    # Beside the machine, not on it, where its own web server listens on these ports at all addresses.
    own_network = "--cap-add=NET_ADMIN"
    # Seen at once by the machine, whatever happens to them here.
    folders = (f"{account.path(name).resolve()}:/{DATA}/{name}:ro" for name in ("resources", vault.FOLDER))
    volumes = [word for folder in folders for word in ("--volume", folder)]
    return [own_network, "--add-host", f"{_host(entry)}:{ADDRESS}", *volumes]


def files(account: Account, entry: Json) -> dict[str, tuple[str, int]]:
    """Return what a machine that has them gets before its first start."""
    if not on(account):
        return {}
    authority, certificate = _certificates(_host(entry))
    known = {
        "instance": entry["id"],
        "region": entry["state"]["region"],
        "account": NUMBER,
        "address": ADDRESS,
        # What is handed out is signed with it: nothing has to be remembered.
        "key": secrets.token_hex(32),
        "certificate": f"/{FOLDER}/certificate.pem",
        "folder": f"/{DATA}",
        "kinds": {
            "instance": INSTANCE,
            "address": EIP,
            "profile": PROFILE,
            "role": ROLE,
            "policy": ROLE_POLICY,
        },
    }
    return {
        PROGRAM: (Path(__file__).with_name("on_machine.py").read_text(), 0o755),
        f"{FOLDER}/machine.json": (json.dumps(known, indent=1), 0o600),
        f"{FOLDER}/certificate.pem": (certificate, 0o600),
        AUTHORITY: (authority, 0o644),
        f"etc/systemd/system/{UNIT_NAME}": (UNIT, 0o644),
        # A link, as `systemctl enable` makes it, needs a system that runs.
        "etc/systemd/system/sysinit.target.d/aws-services.conf": (WANTED, 0o644),
    }


def rotate(account: Account, arn: str) -> None:
    """Give a database's secret another password as Amazon RDS does: the database has it first."""
    for entry in account.all(DATABASE):
        if databases.secret_of(entry) == arn:
            password = vault.password()
            databases.set_password(account, entry, password)
            vault.keep(account, arn, {**vault.read(account, arn), "password": password})
            return
    raise Refused(f"the stand-in for the aws plugin: no database has the secret {arn}")


def _host(entry: Json) -> str:
    return f"secretsmanager.{entry['state']['region']}.amazonaws.com"


def _certificates(host: str) -> tuple[str, str]:
    """Return an authority that nobody else knows, and a key with a certificate of it for a host."""
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def signed(name: str, of: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> str:
        begin = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)]))
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + dt.timedelta(days=30))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of.public_key()), critical=False)
            .add_extension(x509.BasicConstraints(ca=of is authority, path_length=None), critical=True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        made = builder.sign(authority, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # From Python 3.13 on, an authority has to say what its key is for.
    use = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    root = signed(AUTHORITY_NAME, authority, x509.KeyUsage(**use, key_cert_sign=True, crl_sign=True))
    return root, private.decode() + signed(host, key, x509.SubjectAlternativeName([x509.DNSName(host)]))
