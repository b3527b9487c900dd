"""One step on a host: the only module that imports pulumi_command's remote part.

What pulumi-command imposes (DESIGN, section 6) is dealt with here once: a step is one SSH session, its command line
is short and never secret, everything else is on its standard input; `update` stays unset, so a changed step runs
again; only another host replaces it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pulumi
from pulumi_command import remote

if TYPE_CHECKING:
    from collections.abc import Sequence

# While a server boots, nobody answers; every other step comes after one that has waited.
DIAL_SECONDS = 10
BOOT_TIMEOUT = "10m"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """One reachable Linux machine, with a pinned SSH host key.

    Attributes:
        address: name or IP address.
        port: of SSH.
        user: who logs in: root, or a user who may use sudo without a password.
        private_key: OpenSSH format.
        host_key: the only key that the host may show, as `ssh-ed25519 AAAA…`.
        identity: changes with the machine, not with its address: a new machine gets every step again.
        resource: what has to be there before the first connection.
    """

    address: pulumi.Input[str]
    port: pulumi.Input[float]
    user: str
    private_key: pulumi.Input[str]
    host_key: pulumi.Input[str]
    identity: pulumi.Input[str]
    resource: pulumi.Resource

    @property
    def sudo(self) -> str:
        """What precedes a command that only root may run."""
        return "" if self.user == "root" else "sudo "

    def connection(self, dial_error_limit: int = 3) -> remote.ConnectionArgs:
        """Return how a step connects; `dial_error_limit` -1 tries until the step's own timeout."""
        return remote.ConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=dial_error_limit,
            per_dial_timeout=DIAL_SECONDS,
        )


def step(  # noqa: PLR0913 - each is a part of a step
    name: str,
    command: str,
    host: Host,
    *,
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource],
    stdin: pulumi.Input[str] | None = None,
    boots: bool = False,
) -> remote.Command:
    """Make one step.

    Args:
        name: of the resource.
        command: one short line, for a shell on the host; nothing secret.
        host: where.
        parent: component that it belongs to.
        depends_on: what has to be done before.
        stdin: the document; a secret if anything in it is.
        boots: whether the host may still be starting.
    """
    timeouts = pulumi.CustomTimeouts(create=BOOT_TIMEOUT) if boots else None
    return remote.Command(
        name,
        connection=host.connection(dial_error_limit=-1 if boots else 3),
        create=command,
        stdin=stdin,
        logging=remote.Logging.STDERR,
        add_previous_output_in_env=False,
        triggers=[host.identity],
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[host.resource, *depends_on], custom_timeouts=timeouts),
    )


def upload(  # noqa: PLR0913 - each is a part of an upload
    name: str,
    path: str,
    remote_path: str,
    host: Host,
    *,
    parent: pulumi.Resource,
    depends_on: Sequence[pulumi.Resource],
) -> remote.CopyToRemote:
    """Upload a file of this machine.

    Args:
        name: of the resource.
        path: the file here.
        remote_path: where it goes, relative to the login user's home.
        host: where.
        parent: component that it belongs to.
        depends_on: what has to be done before.
    """
    return remote.CopyToRemote(
        name,
        connection=host.connection(),
        source=pulumi.FileAsset(path),
        remote_path=remote_path,
        triggers=[host.identity],
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[host.resource, *depends_on]),
    )
