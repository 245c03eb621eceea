"""What the operations of one open container share. They take it as their first argument.

Invariants:
    C1  nothing is written at or below `modification_bound`: reads there may have been answered
        before a restart, and snapshots stand there
    C2  a destroyed container refuses everything
Source: DAOS src/vos/vos_internal.h struct vos_container of the reference.
"""

from __future__ import annotations

from daos.base.errors import InvalidError, StaleHandleError, TxRestartError
from daos.base.ids import EPOCH_MAX, ContainerUuid, Epoch
from daos.bio.meta import MetaContext
from daos.bio.space import Hint
from daos.vos.edit import Root
from daos.vos.ilog import MINOR_MAX
from daos.vos.lsn import LsnTable
from daos.vos.nodes import Nodes
from daos.vos.timestamps import Timestamps


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
        self.nodes = Nodes(meta.get, node_id)
        self.lsns = LsnTable()
        self.timestamps = Timestamps(bound)
        # Where this container's data went last, so that it stays contiguous.
        self.hint = Hint()
        # For each dkey the akey last seen visible: where the next emptiness check starts.
        self.known_akeys: dict[int, bytes] = {}
        self.destroyed = False

    def check_alive(self) -> None:
        if self.destroyed:
            raise StaleHandleError(f"container {self.uuid} was destroyed")

    def check_write_epoch(self, epoch: int, minor: int) -> None:
        """Refuse to write into the past. Raises: TxRestartError, InvalidError."""
        if not 0 < epoch < EPOCH_MAX or not 0 < minor <= MINOR_MAX:
            raise InvalidError(f"nothing is written at epoch {epoch} minor {minor}")
        if epoch <= self.modification_bound:
            raise TxRestartError(
                f"epoch {epoch} is not above {self.modification_bound}, where reads were answered"
            )
