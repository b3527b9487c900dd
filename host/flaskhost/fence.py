"""Who may reach a development server: its debugger runs code for whoever does.

The fence is a table of nftables that belongs to one application. That it holds is seen, not believed: the kernel is
asked from 127.0.0.1, which it lets in, and from 127.0.0.2, which it does not.
"""

from __future__ import annotations

import errno
import ipaddress
import shutil
import socket
from pathlib import Path
from typing import List, Optional

from flaskhost.shell import Failure, run

LET_IN, KEPT_OUT = "127.0.0.1", "127.0.0.2"
ASK_SECONDS = 2.0
# Loopback, RFC 1918, link-local (RFC 3927), and the same of IPv6 (RFC 4291, RFC 4193).
PRIVATE = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)


def raise_(rules: Path, port: int) -> None:
    """Load the fence and see that it holds.

    Raises:
        Failure: it could not be loaded, or does not hold; then nothing may listen at that port.
    """
    try:
        run(["nft", "-f", str(rules)])
    except Failure as failure:
        raise Failure(
            "flaskhost:app.development.allowed_networks: cannot be enforced on this host, so the development server "
            f"does not start: nftables must work there (in a container: give it CAP_NET_ADMIN)\n{failure}"
        ) from None
    why = leaks(port)
    if why:
        raise Failure(
            "flaskhost:app.development.allowed_networks: is not enforced on this host, so the development server does "
            f"not start: {why}: see which firewall lets it in (`nft list ruleset`)"
        )


def leaks(port: int) -> Optional[str]:
    """Return why the fence around a port does not hold, or None where it does.

    Where nobody listens at the port yet, this does for a moment, on the loopback interface.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LET_IN, port))
            listener.listen(2)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        if _reaches(KEPT_OUT, port):
            return f"port {port} answers {KEPT_OUT}, which no network of the list holds"
        if not _reaches(LET_IN, port):
            return f"port {port} does not answer {LET_IN}, so nothing can be told from its silence"
    return None


def remove(app: str) -> None:
    """Take the fence of an application away, if there is one."""
    if shutil.which("nft"):
        run(["nft", "delete", "table", "inet", table(app)], check=False)


def table(app: str) -> str:
    """Return the name of an application's table; no application's name has an underscore."""
    return f"flaskhost_{app.replace('-', '_')}"


def public_addresses() -> List[str]:
    """Return the addresses of this host that are neither private nor its own alone."""
    lines = run(["ip", "-o", "address", "show"]).stdout.splitlines()
    words = [line.split() for line in lines]
    found = [ipaddress.ip_interface(one[3]).ip for one in words if len(one) > 3 and one[2] in ("inet", "inet6")]
    return [str(ip) for ip in found if not any(ip in net for net in PRIVATE if net.version == ip.version)]


def _reaches(source: str, port: int) -> bool:
    try:
        with socket.create_connection((LET_IN, port), timeout=ASK_SECONDS, source_address=(source, 0)):
            return True
    except OSError:
        return False
