"""One step on a host: the only module that imports pulumi_command's remote part.

What pulumi-command imposes (DESIGN, section 6) is dealt with here once: a step is one SSH session, its command line
is short and never secret, everything else is on its standard input; `update` stays unset, so a changed step runs
again; only another host replaces it. Only the claim has an `update` and a `delete`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pulumi
from pulumi_command import remote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import settings
    from host_command import HostCommand
    from rendering import Plan

# While a server boots, nobody answers; every other step comes after one that has waited.
DIAL_SECONDS = 10
# host/flaskhost/sudo.py reads it. The SSH servers of Debian and Ubuntu take LC_* from a session (AcceptEnv).
SUDO_VARIABLE = "LC_FLASKHOST_SUDO"
BOOT_TIMEOUT = "10m"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bastion:
    """The host through which another one is reached.

    Attributes:
        address: name or IP address.
        port: of SSH.
        user: who logs in.
        private_key: OpenSSH format.
        host_key: the only key that it may show.
    """

    address: str
    port: int
    user: str
    private_key: pulumi.Input[str]
    host_key: str

    @classmethod
    def of(cls, named: settings.Bastion, private_key: str) -> Bastion:
        """Return the bastion that the settings name; the key is a secret from here on."""
        return cls(
            address=named.address,
            port=named.port,
            user=named.user,
            private_key=pulumi.Output.secret(private_key),
            host_key=named.host_key,
        )

    def connection(self, dial_error_limit: int) -> remote.ProxyConnectionArgs:
        """Return how a step connects to it first."""
        return remote.ProxyConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=dial_error_limit,
            per_dial_timeout=DIAL_SECONDS,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """One reachable Linux machine, with a pinned SSH host key.

    Attributes:
        address: name or IP address.
        port: of SSH.
        user: who logs in: root, or a user who may use sudo.
        sudo_password: what sudo asks that user for, if anything.
        private_key: OpenSSH format.
        host_key: the only key that the host may show, as `ssh-ed25519 AAAA…`.
        identity: changes with the machine, not with its address: a new machine gets every step again.
        resource: what has to be there before the first connection, if Pulumi makes it.
        disk: what has to be there before its data volume can be mounted, if it has one.
        bastion: what it is reached through.
        boots: whether it may still be starting, so that the first step waits for it.
    """

    address: pulumi.Input[str]
    port: pulumi.Input[float]
    user: str
    private_key: pulumi.Input[str]
    host_key: pulumi.Input[str]
    identity: pulumi.Input[str]
    resource: pulumi.Resource | None = None
    disk: pulumi.Resource | None = None
    bastion: Bastion | None = None
    boots: bool = False
    sudo_password: pulumi.Input[str] | None = None

    @property
    def as_root(self) -> str:
        """What stands between the flaskhost command and a step, so that root does it."""
        return "" if self.user == "root" else " --sudo"

    @property
    def environment(self) -> dict[str, pulumi.Input[str]] | None:
        """What a session brings along: the standard input is text that a preview shows, so no password is in it."""
        return None if self.sudo_password is None else {SUDO_VARIABLE: self.sudo_password}

    def connection(self, dial_error_limit: int = 3) -> remote.ConnectionArgs:
        """Return how a step connects; `dial_error_limit` -1 tries until the step's own timeout."""
        # Behind a bastion only the first try can tell what is wrong: further ones use its broken connection.
        own_limit = 0 if self.bastion else dial_error_limit
        return remote.ConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            private_key=self.private_key,
            host_key=self.host_key,
            dial_error_limit=own_limit,
            per_dial_timeout=DIAL_SECONDS,
            proxy=self.bastion.connection(dial_error_limit) if self.bastion else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deploy:
    """What all steps on one host have in common.

    Attributes:
        app: name of the application.
        host: where.
        command: the flaskhost command that is called there.
        plan: the document of each step.
    """

    app: str
    host: Host
    command: HostCommand
    plan: Plan

    @property
    def name(self) -> str:
        """What names of resources begin with; where there are several hosts, it says which one."""
        return self._called(self.plan.label)

    @property
    def renamed(self) -> pulumi.ResourceOptions | None:
        """What a component is made with, so that its steps are the same ones in a stack that gets several hosts."""
        former = self.plan.former
        return None if former is None else pulumi.ResourceOptions(aliases=[pulumi.Alias(name=self._called(former))])

    def _called(self, label: str) -> str:
        return f"{self.app}-{label}" if label else self.app

    def verb(
        self,
        step: str,
        document: pulumi.Input[str],
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
        *,
        formerly: str = "",
    ) -> remote.Command:
        """Make the step that calls the flaskhost command.

        Args:
            step: as the command calls it: a verb, or several in a row.
            document: its input, one document a verb; a secret if anything in it is.
            parent: component that the step belongs to.
            after: what has to be done before.
            formerly: the step that did this in a stack with one host, or with several.
        """
        return self.step(self.command.program, step, document, parent, after, formerly=formerly)

    def step(  # noqa: PLR0913 - each is a part of a step
        self,
        program: str,
        step: str,
        document: pulumi.Input[str],
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
        *,
        formerly: str = "",
    ) -> remote.Command:
        """Make a step that runs a short line in a shell on the host, as root.

        Args:
            program: what is called; nothing secret.
            step: what it shall do for the application.
            document: for standard input.
            parent: component that the step belongs to.
            after: what has to be done before.
            formerly: see `verb`.
        """
        options = self._options(parent, after)
        if formerly and self.plan.former is not None:
            options.aliases = [pulumi.Alias(name=f"{self._called(self.plan.former)}-{formerly}")]
        return remote.Command(
            f"{self.name}-{step}",
            connection=self.host.connection(),
            create=f"{program}{self.host.as_root} {step} {self.app}",
            stdin=document,
            environment=self.host.environment,
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            triggers=[self.host.identity],
            opts=options,
        )

    def claim(self, document: str, parent: pulumi.Resource, after: Sequence[pulumi.Resource]) -> remote.Command:
        """Make the step that claims the application on its host, and that removes it from there when it goes.

        Its end calls the command by the name that outlives versions, and is content where that is gone: then an
        earlier try has come so far.
        """
        command, sudo = "/usr/local/bin/flaskhost", self.host.as_root
        return remote.Command(
            f"{self.name}-teardown",
            connection=self.host.connection(),
            create=f"{self.command.program}{sudo} claim {self.app}",
            # The only step that knows whether it is new: a forced replacement must not remove what it replaces.
            update=f"{self.command.program}{sudo} renew {self.app}",
            delete=f"test ! -e {command} || {command}{sudo} teardown {self.app}",
            stdin=document,
            environment=self.host.environment,
            logging=remote.Logging.STDERR,
            add_previous_output_in_env=False,
            triggers=[self.host.identity],
            opts=self._options(parent, after),
        )

    def upload(  # noqa: PLR0913 - each is a part of a step
        self,
        what: str,
        path: Path,
        to: str,
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
        *,
        boots: bool = False,
    ) -> remote.CopyToRemote:
        """Make a step that uploads a file of this machine.

        Args:
            what: the last word of the resource's name.
            path: the file here.
            to: where it goes, relative to the login user's home; folders on the way are made.
            parent: component that the step belongs to.
            after: what has to be done before.
            boots: whether it is the step that waits for a host that is starting.
        """
        boots = boots and self.host.boots
        timeouts = pulumi.CustomTimeouts(create=BOOT_TIMEOUT) if boots else None
        return remote.CopyToRemote(
            f"{self.name}-{what}",
            connection=self.host.connection(dial_error_limit=-1 if boots else 3),
            source=pulumi.FileAsset(str(path)),
            remote_path=to,
            # Relative to the home of whoever logs in: of another user's nobody knows what is there.
            triggers=[self.host.identity, self.host.user],
            opts=self._options(parent, after, timeouts),
        )

    def _options(
        self,
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
        timeouts: pulumi.CustomTimeouts | None = None,
    ) -> pulumi.ResourceOptions:
        first = [self.host.resource] if self.host.resource else []
        return pulumi.ResourceOptions(parent=parent, depends_on=[*first, *after], custom_timeouts=timeouts)
