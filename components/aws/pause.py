"""Time that visitors need while something comes or goes, which AWS does not wait for by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi import CustomTimeouts, ResourceOptions
from pulumi_command import local

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi

SPARE_SECONDS = 60
"""Beyond its own time, before Pulumi gives a pause up."""


def pause(  # noqa: PLR0913 - each says what is waited for
    name: str,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    *,
    identity: pulumi.Input[str],
    coming: int = 0,
    going: int = 0,
) -> pulumi.Resource:
    """Make a step that only waits.

    Args:
        name: of the resource.
        parent: component that it belongs to.
        after: what comes before it, and what goes only when it has waited.
        identity: of what it waits for; another one waits anew.
        coming: seconds to wait when all of `after` is there.
        going: seconds to wait before any of `after` goes. What depends on this step has gone by then.
    """
    longest = f"{max(coming, going) + SPARE_SECONDS}s"
    step: pulumi.Resource = local.Command(
        name,
        create=f"sleep {coming}",
        delete=f"sleep {going}",
        logging=local.Logging.NONE,
        add_previous_output_in_env=False,
        triggers=[identity],
        opts=ResourceOptions(
            parent=parent,
            depends_on=list(after),
            custom_timeouts=CustomTimeouts(create=longest, update=longest, delete=longest),
        ),
    )
    return step
