"""What the operations of one open container share. They take it as their first argument.

What runs in steps beside the operations (aggregation, discard) excludes others here, and writes:
an aggregation those of the epochs that it is at, a discard all.

Invariants:
    C1  nothing is written at or below `modification_bound`: reads there may have been answered
        before a restart, and snapshots stand there
    C2  a destroyed container refuses everything
    C3  an aggregation and a discard that could meet do not run together; nor two of a kind, but
        for discards of different objects
    C4  nothing is written beside a discard: who writes relies on creations that it may remove
    C5  no aggregation begins that a search in steps could tell apart: it would find some before,
        the rest after
Source: DAOS src/vos/vos_internal.h struct vos_container of the reference.
"""

from __future__ import annotations

from typing import NamedTuple

from daos.base.errors import (
    DER,
    BusyError,
    DaosError,
    InvalidError,
    StaleHandleError,
    TxRestartError,
)
from daos.base.ids import EPOCH_MAX, ContainerUuid, Epoch
from daos.bio.meta import MetaContext
from daos.bio.space import Hint
from daos.vos.dedup import load_setting
from daos.vos.dtx_table import DtxTable
from daos.vos.edit import Root
from daos.vos.ilog import MINOR_MAX
from daos.vos.lsn import LsnTable
from daos.vos.newest_table import NewestTable
from daos.vos.nodes import Nodes
from daos.vos.timestamps import Timestamps


class Exclusion(NamedTuple):
    """Long work on the container. `order`: the object that it is of; b"": of all."""

    lo: int
    hi: int
    order: bytes = b""
    discard: bool = False


class ContainerState:
    """The volatile state of a container and the shard it lives in."""

    def __init__(
        self,
        uuid: ContainerUuid,
        node_id: int,
        *,
        meta: MetaContext,
        root: Root,
        bound: Epoch,
        data_thresh: int,
    ) -> None:
        self.uuid = uuid
        self.node_id = node_id
        self.meta = meta
        self.root = root
        self.data_thresh = data_thresh
        self.modification_bound = bound
        self._bound_lasting = bound  # the same without the discards that run
        self.nodes = Nodes(meta.get, node_id)
        self.lsns = LsnTable()
        self.dtxs = DtxTable(node_id)  # to be loaded
        # None: extents are stored as they come.
        self.dedup = load_setting(meta, node_id)
        self.timestamps = Timestamps(bound)
        self.newest = NewestTable()
        # Where this container's data went last, so that it stays contiguous.
        self.hint = Hint()
        self.aggregation_hint = Hint()
        # For each dkey the akey last seen visible: where the next emptiness check starts.
        self.known_akeys: dict[int, bytes] = {}
        self.destroyed = False
        self.exclusions: list[Exclusion] = []
        self.searches: list[int] = []  # epochs at which something is looked for in steps
        # Nothing at or below this is as it was written: no snapshot may be made there any more.
        self.aggregated = 0
        # The log of some key has become long: it was made and punched over and over.
        self.crowded = False

    def check_alive(self) -> None:
        if self.destroyed:
            raise StaleHandleError(f"container {self.uuid} was destroyed")

    def check_write_epoch(self, epoch: int, minor: int) -> None:
        """Refuse to write into the past. Raises: TxRestartError, InvalidError."""
        if not 0 < epoch < EPOCH_MAX or not 0 < minor <= MINOR_MAX:
            raise InvalidError(f"nothing is written at epoch {epoch} minor {minor}")
        if epoch <= self.modification_bound:
            if epoch > self._bound_lasting:
                raise DaosError("what was written is being discarded", code=DER.UPDATE_AGAIN)
            raise TxRestartError(
                f"epoch {epoch} is not above {self.modification_bound}, where reads were answered"
            )

    def lift_bound(self, epoch: int) -> None:
        """Refuse writes at or below `epoch` from now on."""
        self._bound_lasting = Epoch(max(self._bound_lasting, epoch))
        self.modification_bound = Epoch(max(self.modification_bound, epoch))

    def exclude(self, work: Exclusion) -> None:
        """Begin long work. Raises: BusyError (C3, C5)."""
        for other in self.exclusions:
            if work.discard and other.discard:
                clash = not work.order or not other.order or work.order == other.order
            elif work.discard is other.discard:
                clash = True
            else:
                discard, aggregation = (work, other) if work.discard else (other, work)
                clash = discard.lo <= aggregation.hi
            if clash:
                what = "discarded" if other.discard else "aggregated"
                raise BusyError(f"container {self.uuid} is being {what}: [{other.lo}, {other.hi}]")
        if not work.discard and any(work.lo <= epoch < work.hi for epoch in self.searches):
            raise BusyError(f"container {self.uuid} is being read within [{work.lo}, {work.hi}]")
        self.exclusions.append(work)
        if work.discard:
            self.newest.forget(work.order)
            self.modification_bound = EPOCH_MAX  # C4
        else:
            self.aggregated = max(self.aggregated, work.hi)
            self.lift_bound(work.hi)

    def check_not_aggregated(self) -> None:
        """Raises: BusyError  an aggregation runs: nothing may go that it has looked at."""
        for work in self.exclusions:
            if not work.discard:
                raise BusyError(
                    f"container {self.uuid} is being aggregated: [{work.lo}, {work.hi}]"
                )

    def admit(self, work: Exclusion) -> None:
        """Long work has ended. Idempotent."""
        if work in self.exclusions:
            self.exclusions.remove(work)
            if work.discard:
                self.newest.forget(work.order)  # also what was found meanwhile
            discards = any(other.discard for other in self.exclusions)
            self.modification_bound = EPOCH_MAX if discards else self._bound_lasting
