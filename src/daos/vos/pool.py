"""A pool's shard on one target: its containers, their space, and the garbage they leave.

    MetaContext --root record--> VosPool --container uuid--> VosContainer

The root record is written at the first open of a fresh shard. Everything else of the shard is
found through it and the container records; see records.py and keys.py.

Invariants:
    P1  the clock is never below the highest epoch in the tree
    P2  a container is open at most once: everybody shares one `VosContainer`
Source: DAOS src/vos/vos_pool.c, vos_container.c.
"""

from __future__ import annotations

from collections.abc import KeysView
from typing import NamedTuple
from uuid import UUID

from daos.base.errors import CorruptError, ExistsError, InvalidError, NotFoundError
from daos.base.hlc import Hlc
from daos.base.ids import ContainerUuid, Epoch, Lsn
from daos.bio.device import BLOCK
from daos.bio.media import THRESHOLD_DEFAULT
from daos.bio.meta import MetaContext
from daos.vos import gc, keys
from daos.vos.container import VosContainer
from daos.vos.edit import Edit, Root, tree_bytes
from daos.vos.records import GarbageRecord, NodeRecord, RootRecord
from daos.vos.statistics import GcStatistics


class TierSpace(NamedTuple):
    """Bytes of one storage tier."""

    total: int
    free: int


class PoolSpace(NamedTuple):
    """Tier 0: metadata and small values (SCM). Tier 1: data blocks (NVMe)."""

    scm: TierSpace
    nvme: TierSpace


class VosPool:
    """The shard. One owner; all calls from its loop."""

    def __init__(
        self,
        meta: MetaContext,
        *,
        hlc: Hlc,
        data_thresh: int = THRESHOLD_DEFAULT,
    ) -> None:
        """Open the shard, fresh or recovered.

        Units:      data_thresh in bytes: smaller values stay in the tree
        Raises:     CorruptError, InvalidError
        """
        if data_thresh < 0:
            raise InvalidError(f"data_thresh must not be negative, got {data_thresh}")
        self.meta = meta
        self._hlc = hlc
        self._data_thresh = data_thresh
        self._root = _open_root(meta)
        # What earlier runs wrote is at or below this; this run's clock starts above it.
        self._epoch_floor = meta.epoch_highest
        hlc.raise_to(self._epoch_floor)
        self._containers = _load_containers(meta)
        self._open: dict[ContainerUuid, VosContainer] = {}
        self._for_work: set[ContainerUuid] = set()  # of those, the ones no request may reach
        self.collected = GcStatistics()

    @property
    def root(self) -> Root:
        return self._root

    def containers(self) -> KeysView[ContainerUuid]:
        """UUIDs of the containers that exist, a live view."""
        return self._containers.keys()

    def create_container(self, uuid: ContainerUuid) -> Lsn:
        """Raises: ExistsError, NoSpaceError."""
        if uuid in self._containers:
            raise ExistsError(f"container {uuid} exists")
        hold = self.meta.hold(tree_bytes=tree_bytes([uuid.bytes]), data_blocks=0)
        try:
            edit = Edit(self.meta, self._root)
            record = NodeRecord(keys.CONTAINER, edit.new_id())
            edit.tx.put(keys.container_key(uuid), record.emit())
            lsn = edit.commit(0)
        finally:
            self.meta.release(hold)
        self._containers[uuid] = record.node_id
        return lsn

    def open_container(self, uuid: ContainerUuid) -> VosContainer:
        """The container; every call returns the same one. Raises: NotFoundError.

        From the first open on nothing is written at or below max(clock, highest epoch): the read
        timestamps that earlier runs gave out are gone.
        """
        opened = self._open.get(uuid)
        if opened is None or uuid in self._for_work:
            opened = self.open_for_work(uuid)
            self._for_work.discard(uuid)
        return opened

    def open_for_work(self, uuid: ContainerUuid) -> VosContainer:
        """The same for work beside requests: `close_after_work` takes it back, if nobody else has
        opened it meanwhile. Raises: NotFoundError.
        """
        opened = self._open.get(uuid)
        if opened is None:
            node_id = self._containers.get(uuid)
            if node_id is None:
                raise NotFoundError(f"container {uuid} not found")
            opened = VosContainer(
                uuid,
                node_id,
                meta=self.meta,
                root=self._root,
                bound=Epoch(max(self._hlc.now(), self._epoch_floor)),
                data_thresh=self._data_thresh,
            )
            opened.aggregated = opened.aggregation.epoch
            self._open[uuid] = opened
            self._for_work.add(uuid)
        return opened

    def opened(self, uuid: ContainerUuid) -> VosContainer | None:
        """The container if it is open, for whatever."""
        return self._open.get(uuid)

    def close_after_work(self, uuid: ContainerUuid) -> bool:
        """Forget a container that is open for work only; whether it was."""
        if uuid not in self._for_work:
            return False
        self._for_work.discard(uuid)
        del self._open[uuid]
        return True

    def destroy_container(self, uuid: ContainerUuid) -> Lsn:
        """Unlink the container at once; `gc_step` frees what it held. Raises: NotFoundError."""
        node_id = self._containers.get(uuid)
        if node_id is None:
            raise NotFoundError(f"container {uuid} not found")
        edit = Edit(self.meta, self._root)
        edit.tx.delete(keys.container_key(uuid))
        edit.tx.put(keys.garbage_key(node_id), GarbageRecord(keys.CONTAINER).emit())
        lsn = edit.commit(0)
        del self._containers[uuid]
        opened = self._open.pop(uuid, None)
        self._for_work.discard(uuid)
        if opened is not None:
            opened.destroyed = True
            opened.nodes.cache.clear()
        return lsn

    def gc_step(self, credits: int) -> bool:
        """Delete up to `credits` records that nothing reaches; whether to come again."""
        return gc.step(self.meta, credits, self.collected)

    def query(self) -> PoolSpace:
        """Space by tier: the log is metadata; data blocks also take the checkpoints of the tree.

        Free is also what was freed and comes back with the next groups of the log: an update that
        needs it waits for that.
        """
        statistics = self.meta.statistics()
        wal = statistics.wal
        left = statistics.blocks_left + statistics.space.blocks_aging
        return PoolSpace(
            TierSpace(wal.blocks_total * BLOCK, (wal.blocks_total - wal.blocks_used) * BLOCK),
            TierSpace(statistics.space.blocks_total * BLOCK, left * BLOCK),
        )


def _open_root(meta: MetaContext) -> Root:
    value = meta.get(keys.ROOT_KEY)
    if value is not None:
        record = RootRecord.parse(value)
        if record.pool != meta.uuid.bytes:
            want = meta.uuid.bytes
            raise CorruptError("root record pool", offset=8, want=want, got=record.pool)
        return Root(record)
    record = RootRecord(meta.uuid.bytes, node_limit=1)
    tx = meta.begin()
    tx.put(keys.ROOT_KEY, record.emit())
    tx.commit()
    return Root(record)


def _load_containers(meta: MetaContext) -> dict[ContainerUuid, int]:
    prefix = keys.node_prefix(0, keys.CONTAINER)
    containers: dict[ContainerUuid, int] = {}
    cursor = meta.cursor()
    more = cursor.set_range(prefix)
    while more:
        key, value = cursor.item()
        if not key.startswith(prefix):
            break
        uuid = ContainerUuid(UUID(bytes=key[len(prefix) :]))
        containers[uuid] = NodeRecord.parse(value).node_id
        more = cursor.next()
    return containers
