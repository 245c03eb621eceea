"""What the container service reads and writes: records in the pool's rdb, and who is asked.

Source: DAOS src/container/srv_container.c cont_lookup, ds_cont_bcast_create.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from daos.base.errors import (
    NotFoundError,
    StaleHandleError,
)
from daos.base.names import LABEL_SIZE_MAX
from daos.cart.context import Endpoint
from daos.cart.protocol import Procedure
from daos.container import core, records
from daos.container.records import ContainerMeta, HandleRecord
from daos.engine.collective import ask_targets
from daos.engine.copies import Copies
from daos.engine.xstream import Xstream
from daos.pool.core import check_writable
from daos.pool.records import (
    find_uuid,
    parse_record,
    read_properties,
    read_records,
)
from daos.pool.server import PoolService
from daos.rdb.interface import (
    Compare,
    Delete,
    KeyValuePair,
    Put,
    unchanged,
)

# Bounds work that no client's deadline does: removing a marked container, closing handles.
_OWN_WORK_NS: Final = 60 * 1_000_000_000


class Found(NamedTuple):
    """A container's record, as it was read."""

    uuid: bytes
    meta: ContainerMeta
    pair: KeyValuePair


class Owe(NamedTuple):
    """What to call where something could not be done: it is done later (engine/later.py)."""

    remove: Callable[[bytes], None]  # a marked container
    tell_fates: Callable[[], None]  # of snapshots, to targets that wait for them


@dataclass(frozen=True, slots=True)
class Shared:
    """What the services of a rank keep in memory, from one request to the next."""

    # By container, epochs that may become snapshots.
    making: dict[bytes, set[int]] = field(default_factory=dict)
    # Of requests that make a handle or a container.
    copies: Copies = field(default_factory=Copies)


class ContainerStore:
    """The records of one pool's containers. What stands on it answers requests."""

    def __init__(
        self,
        xstream: Xstream,
        pool: PoolService,
        shared: Shared,
        owe: Owe,
    ) -> None:
        self._xstream = xstream
        self._pool = pool
        self._rdb = pool.rdb
        self._making = shared.making
        self._copies = shared.copies
        self._owe = owe

    async def _change(
        self,
        found: Found,
        compares: Sequence[Compare],
        operations: Sequence[Put | Delete],
    ) -> bool:
        """Change the container, now modified; False if a compare failed or it just changed (S1)."""
        meta = msgspec.structs.replace(found.meta, modified=self._xstream.hlc.now())
        done = await self._rdb.txn(
            [unchanged(found.pair), *compares],
            [Put(found.pair.key, msgspec.msgpack.encode(meta)), *operations],
        )
        return done.succeeded

    async def _ask(
        self,
        procedure: Procedure,
        request: msgspec.Struct,
        *,
        deadline_ns: int,
        trace_id: int,
        to: Sequence[Endpoint] = (),
    ) -> None:
        """Ask all targets of the pool, or those named."""
        await ask_targets(
            self._xstream,
            to or self._pool.endpoints,
            procedure,
            request,
            deadline_ns=deadline_ns,
            trace_id=trace_id,
        )

    def _own_deadline_ns(self) -> int:
        return self._xstream.clock.now_ns() + _OWN_WORK_NS

    async def _find(self, name: str) -> Found:
        """The container of this label or UUID, also one that is being destroyed."""
        uuid = await find_uuid(self._rdb, records.LABEL, name)
        record = await self._record(uuid) if uuid else None
        if record is None:
            raise NotFoundError(f"container {name[:LABEL_SIZE_MAX]!r} not found in this pool")
        return record

    async def _by_handle(self, handle: bytes, *, write: bool) -> Found:
        """The container that a handle has open. Raises: StaleHandleError, AccessError."""
        pairs = (await self._rdb.range(records.HANDLE_OF + handle)).pairs
        if pairs:
            uuid = pairs[0].value
            held = (await self._rdb.range(records.handle_prefix(uuid) + handle)).pairs
            record = await self._record(uuid)
            if held and record is not None and not record.meta.destroying:
                flags = parse_record(HandleRecord, held[0].value, "container handle").flags
                check_writable(flags, write=write)
                return record
        raise StaleHandleError("the container handle is closed or was evicted")

    async def _record(self, uuid: bytes) -> Found | None:
        pairs = (await self._rdb.range(records.CONTAINER + uuid)).pairs
        if not pairs:
            return None
        meta = parse_record(ContainerMeta, pairs[0].value, "container")
        return Found(uuid, meta, pairs[0])

    async def _containers(self) -> dict[bytes, ContainerMeta]:
        return await read_records(self._rdb, records.CONTAINER, ContainerMeta, "container")

    async def _handles(self, uuid: bytes) -> dict[bytes, HandleRecord]:
        prefix = records.handle_prefix(uuid)
        return await read_records(self._rdb, prefix, HandleRecord, "container handle")

    async def _props(self, uuid: bytes) -> dict[str, str]:
        return await read_properties(self._rdb, records.prop_prefix(uuid), core.PROPERTIES)
