"""What an administrator may ask of pools, without a handle to any; on the rank with the services.

Who asks is the server of this host, which has looked at who asks it. Everything has a deadline of
its own: an administrator waits, or asks again.

Source: DAOS src/mgmt/srv_pool.c, srv_query.c, srv_container.c
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from daos.base.errors import BusyError
from daos.base.ids import Rank
from daos.base.names import check_label, maybe_uuid
from daos.container.module import CONTAINER_KEY
from daos.container.wire import ContainerRecord
from daos.engine.rank import Engine
from daos.mgmt import wire
from daos.mgmt.server import Management
from daos.pool import wire as pool_wire
from daos.pool.core import PROPERTIES
from daos.pool.module import POOL_KEY

_OWN_NS: Final = 300 * 1_000_000_000


class Queried(NamedTuple):
    """What `query` tells of a pool."""

    record: wire.PoolRecord
    numbers: pool_wire.QueryReply


class Administration:
    """Of one engine, from the moment that its services are open."""

    def __init__(self, engine: Engine, management: Management) -> None:
        self._engine = engine
        self._management = management
        self._pools = engine.xstream.value(POOL_KEY)
        self._containers = engine.xstream.value(CONTAINER_KEY)

    async def create(self, request: wire.PoolCreateRequest) -> Queried:
        """Make a pool over all targets of the system. Raises: as `Management.create`"""
        record = await self._management.create(request, self._deadline_ns())
        return await self._state(record)

    async def destroy(self, name: str, *, force: bool) -> None:
        """Remove a pool, connected or not. Raises: NotFoundError, BusyError (and not forced)"""
        request = wire.PoolDestroyRequest(_name(name), force)
        await self._management.destroy(request, self._deadline_ns())

    async def evict(self, name: str, handles: Collection[bytes], machine: str) -> int:
        """Revoke handles of a pool: all, those that are named, or those of a machine; how many.

        Raises: NotFoundError
        """
        record = await self._management.find(_name(name))
        return await self._pools.evict(
            record.uuid, only=handles, machine=machine, deadline_ns=self._deadline_ns()
        )

    async def check_idle(self, name: str) -> None:
        """Raises: NotFoundError; BusyError  somebody is connected"""
        state = await self.query(name)
        if state.numbers.handles:
            text = f"pool {state.record.label!r} has {state.numbers.handles} connected handles"
            raise BusyError(text)

    async def pools(self) -> list[wire.PoolRecord]:
        """All, by label."""
        found: list[wire.PoolRecord] = []
        after = b""
        while True:
            page = await self._management.page(after)
            found += page.pools
            after = page.after
            if not after:
                return sorted(found, key=lambda record: record.label)

    async def query(self, name: str) -> Queried:
        """Numbers and space of a pool. Raises: NotFoundError, BusyError"""
        return await self._state(await self._management.find(_name(name)))

    async def _state(self, record: wire.PoolRecord) -> Queried:
        service = self._pools.service(record.uuid)
        return Queried(record, await service.query(deadline_ns=self._deadline_ns()))

    async def query_targets(
        self, name: str, rank: Rank, targets: Collection[int]
    ) -> list[pool_wire.TargetInfo]:
        """State and space of some targets of a rank, of all if none is named.

        Raises: NotFoundError
        """
        record = await self._management.find(_name(name))
        service = self._pools.service(record.uuid)
        return await service.query_targets(rank, targets, deadline_ns=self._deadline_ns())

    async def props(self, name: str) -> dict[str, str]:
        """All properties of a pool. Raises: NotFoundError"""
        record = await self._management.find(_name(name))
        return await self._pools.service(record.uuid).props()

    async def set_props(self, name: str, props: dict[str, str]) -> None:
        """Change properties, all or nothing; a label before the others.

        Raises: NotFoundError, InvalidError, AccessError, ExistsError (another pool has the label)
        """
        record = await self._management.find(_name(name))
        others = PROPERTIES.changes({key: text for key, text in props.items() if key != "label"})
        if "label" in props:
            await self._management.rename(str(UUID(bytes=record.uuid)), props["label"])
        if others:
            service = self._pools.service(record.uuid)
            await service.set_props(others, deadline_ns=self._deadline_ns())

    async def containers(self, name: str) -> list[ContainerRecord]:
        """All containers of a pool, by label. Raises: NotFoundError"""
        record = await self._management.find(_name(name))
        found: list[ContainerRecord] = []
        after = b""
        while True:
            page = await self._containers.page(record.uuid, after)
            found += page.containers
            after = page.after
            if not after:
                return sorted(found, key=lambda each: each.label)

    @property
    def ranks(self) -> Sequence[Rank]:
        """Of the system, which every pool spans."""
        return [member.rank for member in self._engine.members]

    def _deadline_ns(self) -> int:
        return self._engine.clock.now_ns() + _OWN_NS


def _name(name: str) -> str:
    """A label or a UUID. Raises: InvalidError"""
    return name if maybe_uuid(name) is not None else check_label(name, "pool")
