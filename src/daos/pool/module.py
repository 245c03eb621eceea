"""The pool module: pool services at tag 0 of the rank that keeps them, numbers of each target.

Source: DAOS src/pool/srv.c
"""

from __future__ import annotations

from typing import ClassVar, Final

from daos.cart.context import Rpc
from daos.engine.access import Access, Caller
from daos.engine.module import Module
from daos.engine.rank import SERVICE_RANK
from daos.engine.service import engines_only, parse_pool_id
from daos.engine.target import Target
from daos.engine.tls import TlsKey, XstreamKind
from daos.engine.xstream import Xstream
from daos.pool import spreading, wire
from daos.pool.server import PoolServices

POOL_KEY: Final = TlsKey("pool", XstreamKind.SYSTEM, PoolServices, PoolServices.close)


class PoolModule(Module):
    """Pools: connections, properties, attributes, space."""

    name = "pool"
    id = wire.MODULE_ID
    version = wire.VERSION
    access: ClassVar[Access] = {
        wire.CONNECT: Caller.CLIENT,
        wire.DISCONNECT: Caller.CLIENT,
        wire.EVICT: Caller.ENGINE,
        wire.QUERY: Caller.READER,
        wire.QUERY_TARGETS: Caller.READER,
        wire.PROPS: Caller.READER,
        wire.ATTRS: Caller.READER,
        wire.SET_PROPS: Caller.WRITER,
        wire.SET_ATTRS: Caller.WRITER,
        wire.SVC_CREATE: Caller.ENGINE,
        wire.SVC_DESTROY: Caller.ENGINE,
        wire.SVC_LEAVE: Caller.ENGINE,
        wire.TGT_QUERY: Caller.ENGINE,
        wire.TGT_RECLAIM: Caller.ENGINE,
        wire.TGT_MAP: Caller.ENGINE,
    }
    key = POOL_KEY

    def serve_system(self, xstream: Xstream) -> None:
        spreading.register(xstream)
        if xstream.rank == SERVICE_RANK:
            xstream.value(POOL_KEY).serve()

    def serve_target(self, target: Target) -> None:
        async def query(rpc: Rpc[wire.TargetQueryRequest]) -> wire.TargetQueryReply:
            space = target.shard(parse_pool_id(rpc.request.pool)).vos.query()
            return wire.TargetQueryReply(
                ((space.scm.total, space.scm.free), (space.nvme.total, space.nvme.free))
            )

        async def reclaim(rpc: Rpc[wire.TargetReclaimRequest]) -> wire.Empty:
            shard = target.find_shard(parse_pool_id(rpc.request.pool))
            if shard is not None:
                shard.aggregation.set_reclaim(rpc.request.reclaim)
            return wire.Empty()

        async def take_map(rpc: Rpc[wire.TargetMapRequest]) -> wire.Empty:
            request = rpc.request
            shard = target.find_shard(parse_pool_id(request.pool))
            if shard is not None:
                shard.take_map(request.version, request.pool_map)
            return wire.Empty()

        target.xstream.context.serve(wire.TGT_MAP, engines_only(take_map))
        target.xstream.context.serve(wire.TGT_QUERY, engines_only(query))
        target.xstream.context.serve(wire.TGT_RECLAIM, engines_only(reclaim))
