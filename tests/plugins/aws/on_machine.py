"""What AWS offers to a machine from within: the instance metadata service, and GetSecretValue of Secrets Manager.

This one file is put into a machine and runs there, with the Python that is there and nothing beside. It reads the
account's resources and secrets, which are mounted, at each request, so that what has just changed counts.
"""

from __future__ import annotations

import base64
import contextlib
import ctypes
import datetime as dt
import hashlib
import hmac
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import quote

METADATA = "169.254.169.254"
CLONE_NEWNET = 0x40000000  # sched.h
MOST_SECONDS = 21600  # of a token of the metadata service
HOURS = 6  # that credentials are valid
SECONDS_APART = 900  # that a clock may be wrong
SERVICE = "secretsmanager"
ACTION = f"{SERVICE}:GetSecretValue"
VERSIONS = re.compile(r"/(?:latest|1\.0|\d{4}-\d\d-\d\d)(/.*|$)")


class Refused(Exception):  # noqa: N818
    """An answer that is none: its status, AWS's word for it, and what it says."""

    def __init__(self, status: int, code: str, text: str = "") -> None:
        """Take all of that."""
        super().__init__(text)
        self.status, self.code = status, code


class Account:
    """The account as far as this machine sees it."""

    def __init__(self, known: dict[str, Any]) -> None:
        """Take what the machine was told at its start."""
        self.known, self._folder = known, Path(known["folder"])

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries of a kind."""
        return _read(self._folder / "resources" / quote(self.known["kinds"][kind], safe=""))

    def instance(self) -> dict[str, Any]:
        """Return the entry of this machine."""
        for entry in self.all("instance"):
            if entry["id"] == self.known["instance"]:
                return entry
        raise Refused(404, "NotFound")

    def secret(self, identity: str) -> dict[str, Any] | None:
        """Return a secret by its ARN, by that without its last characters, or by its name; None without one."""
        for secret in _read(self._folder / "secrets"):
            if identity in (secret["arn"], secret["arn"].rpartition("-")[0], secret["name"]):
                return secret
        return None

    def role(self) -> str | None:
        """Return the role of the instance profile that this machine has."""
        profile = self.instance()["inputs"].get("iamInstanceProfile")
        for entry in self.all("profile"):
            if profile in (entry["id"], entry["state"].get("arn")):
                role = entry["inputs"].get("role")
                return role if self.has_role(role) else None
        return None

    def has_role(self, role: str) -> bool:
        """Tell whether there is such a role."""
        return any(entry["id"] == role for entry in self.all("role"))

    def allows(self, role: str, action: str, arn: str) -> bool:
        """Tell whether the inline policies of a role allow an action; what is denied anywhere is not.

        Conditions are not understood: with one, nothing is allowed, and all of it is denied.
        """
        allowed = False
        for entry in self.all("policy"):
            if entry["inputs"].get("role") != role:
                continue
            for statement in _list(json.loads(entry["state"]["policy"]).get("Statement")):
                actions = [str(one).lower() for one in _list(statement.get("Action"))]
                if not (_fits(action.lower(), actions) and _fits(arn, _list(statement.get("Resource")))):
                    continue
                if statement["Effect"] == "Deny":
                    return False
                allowed = allowed or "Condition" not in statement
        return allowed


def _read(folder: Path) -> list[dict[str, Any]]:
    found = []
    for file in sorted(folder.glob("*.json")):
        # One that is removed at this moment is none.
        with contextlib.suppress(FileNotFoundError):
            found.append(json.loads(file.read_text()))
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _fits(value: str, patterns: list[str]) -> bool:
    """Tell whether a value is one of these, of which each may end with a star."""
    return any(value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern for pattern in patterns)


# -- what is handed out: signed by this machine, so that nothing has to be remembered


class Seal:
    """Makes tokens that end, and knows its own again."""

    def __init__(self, key: str) -> None:
        """Take the key of this machine."""
        self._key = bytes.fromhex(key)

    def derived(self, purpose: str, text: str) -> bytes:
        """Return 32 bytes that only this machine makes of a text."""
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), hashlib.sha256).digest()

    def token(self, purpose: str, content: str, end: int) -> str:
        """Return a token with a content, valid until a time."""
        text = f"{end}\n{content}"
        return base64.b64encode(self.derived(purpose, text) + text.encode()).decode()

    def content(self, purpose: str, token: str | None) -> tuple[str, int] | None:
        """Return the content and the end of a token; None where it is not of this machine."""
        try:
            packed = base64.b64decode(token or "", validate=True)
            mark, text = packed[:32], packed[32:].decode()
        except ValueError:
            return None
        if not hmac.compare_digest(mark, self.derived(purpose, text)):
            return None
        end, _, content = text.partition("\n")
        return content, int(end)

    def keys(self, token: str) -> tuple[str, str]:
        """Return the access key and the secret key that belong to a token."""
        access = base64.b32encode(self.derived("access", token))[:16].decode()
        return f"ASIA{access}", base64.b64encode(self.derived("secret", token))[:40].decode()


class Server(ThreadingHTTPServer):
    """One thread for each request."""

    def server_bind(self) -> None:
        """Take the address without asking the DNS for its name, which does not answer here."""
        TCPServer.server_bind(self)


class Handler(BaseHTTPRequestHandler):
    """What both services have in common."""

    account: Account
    seal: Seal
    timeout = 10
    server_version = "EC2ws"
    sys_version = ""

    def answer(self, status: int, text: str, kind: str = "text/plain", **headers: str) -> None:
        """Send an answer."""
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Metadata(Handler):
    """The instance metadata service, version 2; version 1 as well where the instance's options say so."""

    def do_PUT(self) -> None:
        """Hand out a token."""
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self.answer(404, "")
        elif self.headers.get("X-Forwarded-For") is not None or not self._is_on():
            self.answer(403, "")
        elif not seconds.isdecimal() or not 1 <= int(seconds) <= MOST_SECONDS:
            self.answer(400, "")
        else:
            token = self.seal.token("metadata", "", int(time.time()) + int(seconds))
            self.answer(200, token, X_aws_ec2_metadata_token_ttl_seconds=seconds)

    def do_GET(self) -> None:
        """Say what is asked for."""
        try:
            self._may_ask()
            self.answer(200, self._value())
        except Refused as refused:
            self.answer(refused.status, "")

    def _options(self) -> dict[str, Any]:
        return dict(self.account.instance()["inputs"].get("metadataOptions") or {})

    def _is_on(self) -> bool:
        return bool(self._options().get("httpEndpoint") != "disabled")

    def _may_ask(self) -> None:
        if not self._is_on():
            raise Refused(403, "Forbidden")
        token = self.headers.get("X-aws-ec2-metadata-token")
        if token is None and self._options().get("httpTokens") != "required":
            return
        found = self.seal.content("metadata", token)
        if found is None or found[1] < time.time():
            raise Refused(401, "Unauthorized")

    def _value(self) -> str:
        found = VERSIONS.fullmatch(self.path.partition("?")[0])
        values = self._values()
        asked = found[1].strip("/") if found else ""
        if asked in values:
            return values[asked]
        below = f"{asked}/" if asked else ""
        names = {path[len(below) :] for path in values if path.startswith(below)}
        if found is None or not names:
            raise Refused(404, "NotFound")
        return "\n".join(sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in names}))

    def _values(self) -> dict[str, str]:
        """Return all there is, by its path."""
        entry = self.account.instance()
        inputs, state = entry["inputs"], entry["state"]
        elastic = [one["state"]["publicIp"] for one in self.account.all("address") if _is_of(one, entry["id"])]
        public = next(iter(elastic), None) or state.get("publicIp")
        values = {
            "ami-id": state.get("ami"),
            "hostname": state.get("privateDns"),
            "instance-id": entry["id"],
            "instance-type": state.get("instanceType"),
            "local-hostname": state.get("privateDns"),
            "local-ipv4": state.get("privateIp"),
            "placement/availability-zone": state.get("availabilityZone"),
            "placement/region": state.get("region"),
            "public-ipv4": public,
        }
        role = self.account.role()
        if role:
            values[f"iam/security-credentials/{role}"] = json.dumps(self._credentials(role), indent=2)
        found = {f"meta-data/{path}": str(value) for path, value in values.items() if value}
        data = inputs.get("userData") or base64.b64decode(inputs.get("userDataBase64") or "").decode()
        return {**found, "user-data": data} if data else found

    def _credentials(self, role: str) -> dict[str, str]:
        """Return credentials that stay the same for an hour and are valid for some."""
        start = int(time.time()) // 3600 * 3600
        end = start + HOURS * 3600
        token = self.seal.token("session", role, end)
        access, secret = self.seal.keys(token)
        return {
            "Code": "Success",
            "LastUpdated": _written(start),
            "Type": "AWS-HMAC",
            "AccessKeyId": access,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": _written(end),
        }


def _is_of(address: dict[str, Any], instance: str) -> bool:
    return bool(address["inputs"].get("instance") == instance)


def _written(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


class Secrets(Handler):
    """Secrets Manager, as far as reading goes."""

    def do_POST(self) -> None:
        """Hand out a secret to whoever may have it."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65536))
        kind = "application/x-amz-json-1.1"
        try:
            role = self._signer(body)
            self.answer(200, json.dumps(self._value(role, body)), kind)
        except Refused as refused:
            self.log_message("%s: %s", refused.code, refused)
            said = {"__type": refused.code, "message": str(refused), "Message": str(refused)}
            self.answer(refused.status, json.dumps(said), kind)

    def _value(self, role: str, body: bytes) -> dict[str, Any]:
        target = self.headers.get("X-Amz-Target")
        if target != "secretsmanager.GetSecretValue":
            raise Refused(400, "UnknownOperationException", f"not in this stand-in: {target}")
        try:
            asked = str(json.loads(body)["SecretId"])
        except (ValueError, KeyError, TypeError):
            raise Refused(400, "InvalidParameterException", "SecretId is missing") from None
        secret = self.account.secret(asked)
        arn = secret["arn"] if secret else asked
        known = self.account.known
        if not self.account.allows(role, ACTION, arn):
            who = f"arn:aws:sts::{known['account']}:assumed-role/{role}/{known['instance']}"
            raise Refused(
                400,
                "AccessDeniedException",
                f"User: {who} is not authorized to perform: {ACTION} on resource: {arn} because no identity-based "
                f"policy allows the {ACTION} action",
            )
        if secret is None:
            raise Refused(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return {
            "ARN": arn,
            "Name": secret["name"],
            "SecretString": secret["text"],
            "VersionId": secret["version"],
            "VersionStages": ["AWSCURRENT"],
        }

    def _signer(self, body: bytes) -> str:
        """Return the role whose credentials have signed a request (Signature Version 4)."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
            r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})",
            self.headers.get("Authorization", ""),
        )
        if found is None:
            raise Refused(400, "MissingAuthenticationTokenException", "Missing Authentication Token")
        access, day, region, service, names, signature = found.groups()
        token = self.headers.get("X-Amz-Security-Token")
        session = self.seal.content("session", token)
        if session is None or token is None or not self.account.has_role(session[0]):
            raise Refused(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
        if session[1] < time.time():
            raise Refused(400, "ExpiredTokenException", "The security token included in the request is expired")
        own, secret = self.seal.keys(token)
        if access != own:
            raise Refused(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
        if (region, service) != (self.account.known["region"], SERVICE):
            raise Refused(
                400, "InvalidSignatureException", f"Credential should be scoped to {self.account.known['region']}."
            )
        moment = self.headers.get("X-Amz-Date", "")
        if not _is_now(moment) or moment[:8] != day:
            raise Refused(400, "InvalidSignatureException", f"Signature expired or not yet current: {moment}")
        signed = names.split(";")
        if not {"host", "x-amz-date", "x-amz-security-token"} <= set(signed):
            raise Refused(400, "InvalidSignatureException", f"headers are not signed: {names}")
        if not hmac.compare_digest(signature, self._signature(secret, f"{day}/{region}/{service}", signed, body)):
            raise Refused(
                400,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            )
        return session[0]

    def _signature(self, secret: str, scope: str, names: list[str], body: bytes) -> str:
        path, _, query = self.path.partition("?")
        lines = [f"{name}:{' '.join(self.headers.get(name, '').split())}" for name in names]
        request = [self.command, path, query, *lines, "", ";".join(names), hashlib.sha256(body).hexdigest()]
        digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{self.headers['X-Amz-Date']}\n{scope}/aws4_request\n{digest}"
        key = f"AWS4{secret}".encode()
        for part in (*scope.split("/"), "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _is_now(moment: str) -> bool:
    try:
        then = dt.datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return False
    return abs(then.timestamp() - time.time()) <= SECONDS_APART


# -- where they are


def stand_aside(addresses: list[str]) -> None:
    """Move into a network beside that of the machine, which leads these addresses there.

    As on AWS, they are not the machine's own: its web server may listen on the same ports, at all its addresses.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network of its own")
    outside = [
        f"link add aws0 type veth peer name aws1 netns {os.getpid()}",
        "link set aws0 addrgenmode none up",
        *(f"route add {address}/32 dev aws0" for address in addresses),
    ]
    inside = [
        "link set lo up",
        "link set aws1 addrgenmode none up",
        *(f"address add {address}/32 dev aws1" for address in addresses),
        "route add default dev aws1",
    ]
    for before, commands in ((["nsenter", "--net=/proc/1/ns/net"], outside), ([], inside)):
        for command in commands:
            subprocess.run([*before, "ip", *command.split()], check=True)


def main(file: str) -> None:
    """Serve until the end."""
    known = json.loads(Path(file).read_text())
    told = os.environ.get("NOTIFY_SOCKET")
    system = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    Handler.account, Handler.seal = Account(known), Seal(known["key"])
    stand_aside([METADATA, known["address"]])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(known["certificate"])
    secrets = Server((known["address"], 443), Secrets)
    # Who connects and says nothing holds up nobody else.
    secrets.socket = tls.wrap_socket(secrets.socket, server_side=True, do_handshake_on_connect=False)
    metadata = Server((METADATA, 80), Metadata)
    if told:
        system.sendto(b"READY=1", told)
    threading.Thread(target=secrets.serve_forever, daemon=True).start()
    metadata.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
