"""What the aggregation of a shard keeps of its containers: of open ones, and of those at rest.

A container at rest has not been opened since the target started. Of it there are the snapshots that
its service has told, and nothing of the store: it is opened for one pass, and closed again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from daos.base.errors import DaosError
from daos.engine.core import still_done, sum_of
from daos.vos.container import VosContainer

EVERYTHING: Final = -1  # log position: nothing is passed over
# Ticks that are remembered: more than a gap of them.
TICKS_MAX: Final = 256


class Tick(NamedTuple):
    """Whatever was committed up to a log position has an epoch up to this one."""

    epoch: int
    lsn: int


@dataclass(slots=True, eq=False)
class News:
    """The snapshots of a container, as far as its service has told."""

    snapshots: tuple[int, ...] = ()
    revision: int = -1  # of the snapshots, in the service's store
    pending: set[int] = field(default_factory=set)  # epochs that may become snapshots
    drawn: int = 0  # the fate of all others up to here is known
    epoch: int = 0  # of the first news of a container at rest: all of it is older

    def hear(self, snapshots: Sequence[int], revision: int) -> bool:
        """Whether this is news."""
        if revision <= self.revision:
            return False
        self.snapshots, self.revision = tuple(snapshots), revision
        return True

    def hear_making(self, making: Collection[int], drawn: int) -> None:
        """Of the epochs up to `drawn` only those in `making` may still become snapshots."""
        if drawn > self.drawn:
            self.pending = {*making, *[epoch for epoch in self.pending if epoch > drawn]}
            self.drawn = drawn

    def begin(self, epoch: int) -> bool:
        """`epoch` may become a snapshot; False if its fate has been told."""
        if epoch <= self.drawn and epoch not in self.pending:
            return False
        self.pending.add(epoch)
        return True


@dataclass(slots=True, eq=False)
class Member:
    """One open container, as far as it concerns aggregation."""

    container: VosContainer
    news: News = field(default_factory=News)
    done: int = 0
    # The epoch up to which the last pass of this run came and saw to everything; 0: there was none.
    passed: int = 0
    # The same, if there was something that it could not see to.
    looked: int = 0
    ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=TICKS_MAX))
    waiters: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)

    def hear(self, snapshots: Sequence[int], revision: int) -> None:
        """These are the snapshots there are; what a destroyed one kept is to be done again."""
        before, first = self.news.snapshots, self.news.revision < 0
        if not self.news.hear(snapshots, revision):
            return
        if first:
            record = self.container.aggregation
            same = record.snapshots == sum_of(self.news.snapshots, record.epoch)
            self.done = record.epoch if same else 0
        else:
            self.done = still_done(self.done, before, self.news.snapshots)
        if self.done < self.passed:
            self.passed = 0
        if self.done < self.looked:
            self.looked = 0

    def changed_since(self, epoch: int) -> int:
        """The log position from which on changes matter to whoever saw to all up to `epoch`."""
        if not epoch:
            return EVERYTHING
        older = [tick.lsn for tick in self.ticks if tick.epoch <= epoch]
        return older[-1] if older else EVERYTHING

    def is_written_since(self, epoch: int) -> bool:
        """Whether there may be something that was not there at `epoch`."""
        return self.container.lsns.container > self.changed_since(epoch)

    def end_waiting(self, error: DaosError | None, top: int | None = None) -> None:
        """Tell those who wait for up to `top`, or all."""
        rest = []
        for wanted, future in self.waiters:
            if top is not None and wanted > top:
                rest.append((wanted, future))
            elif not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        self.waiters = rest
