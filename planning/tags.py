"""The tags by which AWS and the next run find what is a stack's."""

from __future__ import annotations

import dataclasses

PREFIX = "flaskhost"

VOLUME = f"{PREFIX}:volume"
"""Whose data volume it is."""

NUMBER = f"{PREFIX}:number"
"""Which one of the stack's data volumes that is."""

RESTORED = f"{PREFIX}:restored"
"""The snapshot that a data volume was made of by a setting."""

KEPT = f"{PREFIX}:kept"
"""That another data volume has taken its place."""

IMAGE = f"{PREFIX}:image"
"""Of a machine: what makes it another one."""

SNAPSHOTS = f"{PREFIX}:snapshots"
"""One tag that says all: a lifecycle policy takes whatever has any of its tags."""


@dataclasses.dataclass(frozen=True)
class Owner:
    """Whose a resource is.

    Attributes:
        project: of Pulumi.
        stack: its name.
        app: name of the application.
    """

    project: str
    stack: str
    app: str

    @property
    def tags(self) -> dict[str, str]:
        """What every resource of the stack is tagged with."""
        return {f"{PREFIX}:{name}": value for name, value in dataclasses.asdict(self).items()}

    @property
    def whole(self) -> str:
        """All of it as the value of a single tag."""
        return f"{self.project}/{self.stack}/{self.app}"

    @property
    def any_app(self) -> str:
        """What `whole` looks like for any application of the stack, as a filter of EC2 has it."""
        return f"{self.project}/{self.stack}/*"
