"""The management module: which pools there are, and which ranks are in the system.

On the rank that keeps the services it opens the management store and every pool; on others it
joins: it tells the services, until they answer, that this rank has started.

    setup, rank 0   store opened, members compared --> pools opened --> targets know all there is
    setup, others   RANK_JOIN --answer--> targets know all there is

Source: DAOS src/mgmt/srv.c, srv_target.c; ours: who has joined is told what is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import ClassVar, Final

from daos.base.errors import DER, AgainError, DaosError, InvalidError
from daos.base.ids import SYSTEM_TAG, PoolUuid, Rank
from daos.cart.context import Endpoint, Rpc
from daos.container.module import CONTAINER_KEY
from daos.engine.access import Access, Caller
from daos.engine.control import Control
from daos.engine.module import DrpcTable, Module
from daos.engine.rank import SERVICE_RANK, Engine, Member
from daos.engine.service import answering, engines_only, parse_pool_id
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.mgmt import wire
from daos.mgmt.server import Management
from daos.mgmt.store import Store
from daos.pool.module import POOL_KEY
from daos.pool.wire import Empty

log = logging.getLogger(__name__)

SERVICE: Final = Endpoint(SERVICE_RANK, SYSTEM_TAG)
# A rank asks to join until it is heard: each time for so long, with pauses that double.
JOIN_NS: Final = 60 * 1_000_000_000
JOIN_PAUSE_S: Final = 0.05
JOIN_PAUSE_MAX_S: Final = 2.0


class _OpenPools:
    """What management has opened and told: the pool services and the container services."""

    def __init__(self, engine: Engine) -> None:
        self._pools = engine.xstream.value(POOL_KEY)
        self._containers = engine.xstream.value(CONTAINER_KEY)
        self._evict = engine.evict

    async def open(self, pool: PoolUuid) -> None:
        await self._pools.open(pool, evict=self._evict)
        await self._containers.open(pool, evict=self._evict)

    def refuse(self, pool: PoolUuid, error: DaosError) -> None:
        self._pools.refuse(pool, error)

    async def relabel(self, pool: PoolUuid, label: str) -> None:
        await self._pools.service(pool.bytes).set_label(label)

    async def rejoin(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        await self._containers.rejoin(pool, endpoints)
        await self._pools.rejoin(pool, endpoints[0].rank)

    def started(self) -> None:
        self._pools.started()


class ManagementModule(Module):
    """Pools and ranks of the system."""

    name = "mgmt"
    id = wire.MODULE_ID
    version = wire.VERSION
    access: ClassVar[Access] = {
        wire.POOL_CREATE: Caller.CLIENT,
        wire.POOL_DESTROY: Caller.CLIENT,
        wire.POOL_LIST: Caller.CLIENT,
        wire.POOL_FIND: Caller.CLIENT,
        wire.TGT_CREATE: Caller.ENGINE,
        wire.TGT_DESTROY: Caller.ENGINE,
        wire.TGT_OPEN: Caller.ENGINE,
        wire.RANK_JOIN: Caller.ENGINE,
    }

    def __init__(self) -> None:
        self._store: Store | None = None
        self._service: Management | None = None
        self._joining: asyncio.Task[None] | None = None
        # Of an engine with a server: administrators come to that, which knows who they are.
        self._has_server = False

    @property
    def service(self) -> Management:
        """Raises: AgainError  it is not open yet, or no more"""
        if self._service is None:
            raise AgainError("the management service has just started; ask again in a moment")
        return self._service

    @property
    def joining(self) -> asyncio.Task[None] | None:
        """Ends when this rank has joined; None on the rank that others join."""
        return self._joining

    async def target_count(self, engine: Engine, asked: int | None, default: int) -> int:
        """How many targets the rank with the services has; for who makes them in its own loop.

        Raises: as `Store.open` and `Store.target_count`
        """
        self._store = await Store.open(engine)
        return await self._store.target_count(asked, default)

    def serve_system(self, xstream: Xstream) -> None:
        if xstream.rank != SERVICE_RANK:
            return

        async def create(rpc: Rpc[wire.PoolCreateRequest]) -> wire.PoolRecord:
            return await self.service.create(rpc.request, rpc.deadline_ns)

        async def destroy(rpc: Rpc[wire.PoolDestroyRequest]) -> Empty:
            await self.service.destroy(rpc.request, rpc.deadline_ns)
            return Empty()

        async def page(rpc: Rpc[wire.PoolListRequest]) -> wire.PoolListReply:
            return await self.service.page(rpc.request.after)

        async def find(rpc: Rpc[wire.PoolFindRequest]) -> wire.PoolRecord:
            return await self.service.find(rpc.request.name)

        async def join(rpc: Rpc[wire.RankJoinRequest]) -> Empty:
            rank = rpc.request.rank
            if rpc.source.rank != rank:
                raise InvalidError(f"rank {rpc.source.rank} can't join as {rank}")
            await self.service.join(Rank(rank))
            return Empty()

        serve = xstream.context.serve
        if not self._has_server:
            serve(wire.POOL_CREATE, answering(create))
            serve(wire.POOL_DESTROY, answering(destroy))
        serve(wire.POOL_LIST, answering(page))
        serve(wire.POOL_FIND, answering(find))
        serve(wire.RANK_JOIN, engines_only(join))

    def serve_target(self, target: Target) -> None:
        async def create(rpc: Rpc[wire.TargetCreateRequest]) -> Empty:
            pool = parse_pool_id(rpc.request.pool)
            await target.create_shard(pool, size_bytes=rpc.request.size_bytes)
            return Empty()

        async def destroy(rpc: Rpc[wire.TargetDestroyRequest]) -> Empty:
            await target.destroy_shard(parse_pool_id(rpc.request.pool))
            return Empty()

        async def open_(rpc: Rpc[wire.TargetOpenRequest]) -> Empty:
            await target.open_shard(parse_pool_id(rpc.request.pool))
            return Empty()

        serve = target.xstream.context.serve
        serve(wire.TGT_CREATE, engines_only(create))
        serve(wire.TGT_DESTROY, engines_only(destroy))
        serve(wire.TGT_OPEN, engines_only(open_))

    def answer_drpc(self, table: DrpcTable, control: Control) -> None:
        from daos.mgmt import drpc, pools, smd  # an embedded system does without protobuf
        from daos.mgmt.administration import Administration

        def administration() -> Administration:
            engine = control.engine
            if engine.rank != SERVICE_RANK:
                text = f"rank {SERVICE_RANK} has the services, this is rank {engine.rank}"
                raise DaosError(text, code=DER.NOTLEADER)
            return Administration(engine, self.service)

        self._has_server = True
        drpc.add(table, control)
        pools.add(table, administration)
        smd.add(table, control)

    async def setup(self, engine: Engine) -> None:
        """Raises: InvalidError (the system has other ranks or targets for life), CorruptError"""
        if engine.rank != SERVICE_RANK:
            self._joining = engine.loop.create_task(self._join(engine))
            return
        own = next(each.targets for each in engine.members if each.rank == engine.rank)
        if self._store is None:
            await self.target_count(engine, own, own)
        assert self._store is not None
        await self._store.check_members(engine.members)
        opened = _OpenPools(engine)
        self._service = Management(
            engine.xstream, self._store.rdb, members=_by_host(engine.members), services=opened
        )
        await self._service.start()
        engine.joined()
        opened.started()

    async def cleanup(self, engine: Engine) -> None:
        del engine
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.wait([self._joining])
        service, self._service = self._service, None
        if service is not None:
            service.close()

    async def _join(self, engine: Engine) -> None:
        pause_s = JOIN_PAUSE_S
        context, request = engine.xstream.context, wire.RankJoinRequest(engine.rank)
        while True:
            deadline_ns = engine.clock.now_ns() + JOIN_NS
            try:
                await context.call(SERVICE, wire.RANK_JOIN, request, deadline_ns=deadline_ns)
            except DaosError as error:
                log.info("rank %d has not joined yet: %s", engine.rank, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, JOIN_PAUSE_MAX_S)
            else:
                engine.joined()
                return


def _by_host(members: Sequence[Member]) -> list[tuple[str, list[tuple[Rank, int]]]]:
    hosts: dict[str, list[tuple[Rank, int]]] = {}
    for member in members:
        hosts.setdefault(member.host, []).append((member.rank, member.targets))
    return list(hosts.items())
