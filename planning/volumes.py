"""The data volumes of a stack: one is in use, and those before it are kept.

A volume cannot leave its zone, and cannot go back in time. So a move and a restore make another one of a snapshot, with
the next number; the one before stays as it was, until somebody removes it. What there is is looked up on AWS by tags,
since a program does not see the state of its stack.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A data volume.

    Attributes:
        number: 1 for the first one that the stack had.
        zone: its availability zone.
        size: in GiB.
        restored: the snapshot that its data goes back to by a setting, if it does.
        id: on AWS; empty for one that is to be made.
        is_kept: whether another one has taken its place.
        size_there: in GiB, as AWS has it; 0 for one that is to be made.
    """

    number: int
    zone: str
    size: int
    restored: str = ""
    id: str = ""
    is_kept: bool = False
    size_there: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What shall be.

    Attributes:
        kept: volumes that are there and not in use any more.
        used: the one that the first machine has.
        copied: numbers of those that another one was made of, or will be; a snapshot of each is kept as well.
        source: what a new volume is made of: the number of a kept one, which has to be copied first, the ID of a
            snapshot, or None for an empty one, and for one that is there already.
        moves: whether the data is on another volume until now: whoever writes to that one has to be gone first.
    """

    kept: tuple[Volume, ...]
    used: Volume
    copied: tuple[int, ...] = ()
    source: int | str | None = None
    moves: bool = False


def plan(there: Sequence[Volume], *, zone: str | None, usual: str, size: int, restore_from: str | None) -> Plan:
    """Work out which volume is used.

    Args:
        there: volumes of the stack that are on AWS, in any order.
        zone: where the first machine shall be, None where nothing is said.
        usual: zone of a first volume, where nothing is said.
        size: that the settings say, in GiB.
        restore_from: snapshot that the settings name, if they do.
    """
    known = sorted(there, key=lambda volume: volume.number)
    if not known:
        first = Volume(number=1, zone=zone or usual, size=size, restored=restore_from or "")
        return Plan(kept=(), used=first, source=restore_from)
    newest = known[-1]
    wanted, restores = zone or newest.zone, restore_from not in (None, newest.restored)
    restored = restore_from if restores and restore_from else newest.restored
    if wanted == newest.zone and not restores:
        used = replace(newest, size=size)
        return Plan(kept=tuple(known[:-1]), used=used, copied=_copied(known))
    used = Volume(number=newest.number + 1, zone=wanted, size=size, restored=restored)
    source = restore_from if restores else newest.number
    return Plan(kept=tuple(known), used=used, copied=_copied([*known, used]), source=source, moves=True)


def _copied(known: Sequence[Volume]) -> tuple[int, ...]:
    """Return which volumes the next one is a copy of: all but those whose successor went back to a snapshot."""
    return tuple(one.number for one, after in itertools.pairwise(known) if one.restored == after.restored)
