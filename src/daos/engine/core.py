"""When and what a target aggregates; pure.

Epochs grow to the right; what is aggregated up to `done` goes on up to `top`, across no snapshot:

    snapshots        s1        s2              s3
    ------------------|---------|-------+-------|-----------+------>
                                       done                top
    segments                    [s2+1 .. s3][s3+1  ..  top]

Each segment begins behind a snapshot, not at `done`: a version that was kept as the newest then may
be hidden by now. What was not written to since `done` is passed over (vos/aggregate.py).

Source: DAOS src/container/srv_target.c cont_aggregate_interval, agg_rate_ctl; internals §1.13.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from daos.base.checksum import xxh3
from daos.base.errors import InvalidError
from daos.vos.aggregate import AggregateConfig
from daos.vos.work import EpochRange

# From this level on (sched_core.py: a tenth of it is free) space is short.
PRESSED_LEVEL: Final = 4

_MS: Final = 1_000_000
_S: Final = 1_000 * _MS


class Reclaim(StrEnum):
    """Pool property `reclaim`: when aggregation runs."""

    DISABLED = "disabled"
    LAZY = "lazy"  # while there is little else to do, or space is short
    TIME = "time"  # always


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig:
    """How a target aggregates. Immutable; built by the composition root."""

    # Versions younger than this are left alone: somebody may still be reading at their epochs.
    # Source: DAOS DAOS_VOS_AGG_GAP, 20 s.
    gap_ns: int = 20 * _S
    # The same where space is short, and where a key was made and removed so often that its history
    # is full.
    gap_short_ns: int = 1 * _S
    # How often a target looks whether there is something to do; and while space is short.
    period_ns: int = 2 * _S
    period_pressed_ns: int = 200 * _MS
    # A target that closes so many log groups a period is busy, and lazy ones wait.
    busy_groups: int = 200
    work: AggregateConfig = field(default_factory=AggregateConfig)

    def __post_init__(self) -> None:
        if min(self.gap_ns, self.gap_short_ns) < 0 or self.gap_short_ns > self.gap_ns:
            raise InvalidError("aggregation: 0 <= gap_short_ns <= gap_ns expected")
        if not 0 < self.period_pressed_ns <= self.period_ns:
            raise InvalidError("aggregation: 0 < period_pressed_ns <= period_ns expected")
        if self.busy_groups < 1:
            raise InvalidError("aggregation: busy_groups is at least 1")


def segments(done: int, snapshots: Sequence[int], top: int) -> list[EpochRange]:
    """The ranges to aggregate, oldest first, so that every snapshot up to `top` is kept."""
    if top <= done:
        return []
    first = bisect_left(snapshots, done)
    lo = snapshots[first - 1] + 1 if first else 0
    found = []
    for snapshot in snapshots[first:]:
        if snapshot >= top:
            break
        found.append(EpochRange(lo, snapshot))
        lo = snapshot + 1
    found.append(EpochRange(lo, top))
    return found


def still_done(done: int, before: Sequence[int], after: Sequence[int]) -> int:
    """How far a container is aggregated now that its snapshots have changed.

    What a destroyed snapshot kept is to be done again, from the one before it on.
    """
    gone = [snapshot for snapshot in before if snapshot not in set(after) and snapshot <= done]
    if not gone:
        return done
    return max([snapshot for snapshot in after if snapshot < gone[0]], default=0)


def sum_of(snapshots: Sequence[int], done: int) -> int:
    """What an aggregation record says of the snapshots at or below `done`; 0 if there are none."""
    kept = [snapshot for snapshot in snapshots if snapshot <= done]
    return xxh3(struct.pack(f"<{len(kept)}Q", *kept)) if kept else 0
