"""Who may call what, over every procedure there is. The table is typed by hand.

engine     between engines: clients are refused
anyone     finds or opens something; what it may do is decided with the handle
pool r/w   needs a pool handle, for w a writable one
cont r/w   needs a container handle, for w a writable one
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, Final, cast

import pytest

from daos.base.clock import SystemClock
from daos.base.iod import QueryFlag
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig
from daos.cart.context import Context
from daos.cart.protocol import Procedure, Registry
from daos.cart.transport.inproc import InprocNetwork
from daos.container import wire as cont
from daos.embedded.modules import own_modules
from daos.engine import iv_wire as iv
from daos.engine.control import Control
from daos.engine.rank import SERVICE_RANK, Engine, Member
from daos.mgmt import wire as mgmt
from daos.object import wire as obj
from daos.pool import wire as pool
from daos.testing.devices import MemoryDirectory
from tests.unit.embedded.cluster import Cluster, code_of, endpoint, new_id, oid_of, single

ACCESS: Final = {
    "mgmt_pool_create": "anyone",
    "mgmt_pool_destroy": "anyone",
    "mgmt_pool_list": "anyone",
    "mgmt_pool_find": "anyone",
    "mgmt_tgt_create": "engine",
    "mgmt_tgt_destroy": "engine",
    "mgmt_tgt_open": "engine",
    "mgmt_rank_join": "engine",
    "pool_connect": "anyone",
    "pool_disconnect": "anyone",
    "pool_query": "pool r",
    "pool_query_targets": "pool r",
    "pool_evict": "engine",
    "pool_attrs": "pool r",
    "pool_set_attrs": "pool w",
    "pool_tgt_query": "engine",
    "pool_tgt_reclaim": "engine",
    "pool_tgt_map": "engine",
    "pool_props": "pool r",
    "pool_set_props": "pool w",
    "pool_svc_create": "engine",
    "pool_svc_destroy": "engine",
    "pool_svc_leave": "engine",
    "cont_create": "pool w",
    "cont_destroy": "pool w",
    "cont_open": "pool r",
    "cont_close": "anyone",
    "cont_query": "cont r",
    "cont_alloc_oids": "cont w",
    "cont_attrs": "cont r",
    "cont_set_attrs": "cont w",
    "cont_snap_list": "cont r",
    "cont_snap_create": "cont w",
    "cont_snap_destroy": "cont w",
    "cont_props": "cont r",
    "cont_set_props": "cont w",
    "cont_list": "pool r",
    "cont_tgt_close": "engine",
    "cont_tgt_destroy": "engine",
    "cont_tgt_snapshot": "engine",
    "cont_tgt_keep": "engine",
    "cont_tgt_aggregate": "engine",
    "cont_tgt_pending": "engine",
    "cont_aggregate": "cont w",
    "obj_update": "cont w",
    "obj_fetch": "cont r",
    "obj_dkey_list": "cont r",
    "obj_akey_list": "cont r",
    "obj_recx_list": "cont r",
    "obj_object_list": "cont r",
    "obj_punch": "cont w",
    "obj_version_list": "cont r",
    "obj_query_key": "cont r",
    "obj_change_list": "cont r",
    "obj_newest_epoch": "cont r",
    "obj_pool_map": "cont r",
    "iv_fetch": "engine",
    "iv_sync": "engine",
    "iv_find": "engine",
}

REGISTRY: Final = Registry([mgmt.PROTOCOL, pool.PROTOCOL, cont.PROTOCOL, obj.PROTOCOL, iv.PROTOCOL])
PROCEDURES: Final = {procedure.name: procedure for procedure in REGISTRY.procedures()}
OID: Final = oid_of()
PUT: Final = (single(b"a", 0),)


KEPT = cont.Kept((), 1, "lazy")


def requests(at: bytes, pool_handle: bytes, handle: bytes) -> dict[str, object]:
    """A request for each procedure that, with good handles, is well formed."""
    uuid = new_id(900)
    shard = obj.ShardAddress(handle, OID.hi, OID.lo, 0, 1, 0, at)
    return {
        "iv_fetch": iv.FetchRequest(at, 0, 1, 0),
        "iv_find": iv.FindRequest(at),
        "iv_sync": iv.SyncRequest(uuid, 0, 1, ((0, 2),), (0,), ()),
        "mgmt_tgt_create": mgmt.TargetCreateRequest(uuid, 1 << 24),
        "mgmt_tgt_destroy": mgmt.TargetDestroyRequest(uuid),
        "mgmt_tgt_open": mgmt.TargetOpenRequest(uuid),
        "mgmt_rank_join": mgmt.RankJoinRequest(0),
        "pool_query": pool.HandleRequest(at, pool_handle),
        "pool_query_targets": pool.QueryTargetsRequest(at, pool_handle, 0),
        "pool_evict": pool.EvictRequest(at, uuid),
        "pool_attrs": pool.AttrsRequest(at, pool_handle),
        "pool_set_attrs": pool.SetAttrsRequest(at, pool_handle, {"x": b""}),
        "pool_tgt_query": pool.TargetQueryRequest(at),
        "pool_tgt_reclaim": pool.TargetReclaimRequest(at, "lazy"),
        "pool_tgt_map": pool.TargetMapRequest(at, 1, b""),
        "pool_props": pool.HandleRequest(at, pool_handle),
        "pool_set_props": pool.SetPropsRequest(at, pool_handle, {"reclaim": "lazy"}),
        "pool_svc_create": pool.SvcCreateRequest(uuid, "x", b"", 1, {}, "", ""),
        "pool_svc_destroy": pool.SvcDestroyRequest(uuid),
        "pool_svc_leave": pool.SvcLeaveRequest(uuid),
        "cont_create": cont.CreateRequest(at, pool_handle, new_id(901), "made", {}),
        "cont_destroy": cont.DestroyRequest(at, pool_handle, "made", False),
        "cont_open": cont.OpenRequest(at, pool_handle, "c1", new_id(902), "r"),
        "cont_query": cont.HandleRequest(at, handle),
        "cont_alloc_oids": cont.AllocOidsRequest(at, handle, 1),
        "cont_attrs": cont.AttrsRequest(at, handle),
        "cont_set_attrs": cont.SetAttrsRequest(at, handle, {"x": b""}),
        "cont_snap_list": cont.HandleRequest(at, handle),
        "cont_snap_create": cont.SnapshotCreateRequest(at, handle, ""),
        "cont_snap_destroy": cont.SnapshotDestroyRequest(at, handle, 0, "kept"),
        "cont_props": cont.HandleRequest(at, handle),
        "cont_set_props": cont.SetPropsRequest(at, handle, {"status": "healthy"}),
        "cont_list": cont.ListRequest(at, pool_handle),
        "cont_tgt_close": cont.TargetCloseRequest((handle,)),
        "cont_tgt_destroy": cont.TargetDestroyRequest(at, uuid),
        "cont_tgt_snapshot": cont.TargetSnapshotRequest(at, uuid, 5),
        "cont_tgt_keep": cont.TargetKeepRequest(at, uuid, KEPT),
        "cont_tgt_aggregate": cont.TargetAggregateRequest(at, uuid, 0),
        "cont_tgt_pending": cont.TargetPendingRequest(at),
        "cont_aggregate": cont.AggregateRequest(at, handle, 0),
        "obj_update": obj.UpdateRequest(shard, b"d", PUT),
        "obj_fetch": obj.FetchRequest(shard, b"d", (single(b"a"),), 0, True),
        "obj_dkey_list": obj.KeyListRequest(shard, b"", 5),
        "obj_akey_list": obj.KeyListRequest(shard, b"", 5, b"d"),
        "obj_recx_list": obj.RecxListRequest(shard, b"d", b"a", b"", 5),
        "obj_object_list": obj.ObjectListRequest(shard, b"", 5),
        "obj_version_list": obj.VersionListRequest(shard, b"d", b"a", b"", 5),
        "obj_punch": obj.PunchRequest(shard, b"d"),
        "obj_change_list": obj.ChangeListRequest(shard, 1, b"", 5),
        "obj_pool_map": obj.PoolMapRequest(shard),
        "obj_newest_epoch": obj.NewestEpochRequest(shard),
        "obj_query_key": obj.QueryKeyRequest(shard, QueryFlag.MAX | QueryFlag.RECX, b"d", b"a"),
    }


def test_the_table_names_every_procedure() -> None:
    assert list(PROCEDURES) == list(ACCESS)


def test_every_procedure_is_served_where_it_belongs(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path) as cluster:
            system = set(cluster.system.engine.xstream.context._station.services)
            targets = [set(each.xstream.context._station.services) for each in cluster.targets]
            assert targets[0] == targets[1]
            assert not system & targets[0]
            assert system | targets[0] == {each.opcode for each in REGISTRY.procedures()}
            for opcode in targets[0]:
                procedure = REGISTRY.find(opcode)
                assert procedure is not None
                assert "tgt" in procedure.name or procedure.name.startswith("obj")

    asyncio.run(run())


class _Anything:
    """A table that takes every method."""

    def add(self, *method: object) -> None:
        """As `DrpcTable.add`."""


def test_who_has_a_server_leaves_administrators_to_it(tmp_path: Path) -> None:
    """Whom the server knows; by RPC anybody could be one."""

    async def run() -> None:
        modules = own_modules()
        modules.answer_drpc(_Anything(), cast("Control", None))
        engine = Engine(
            SERVICE_RANK,
            modules,
            network=InprocNetwork(asyncio.get_running_loop()),
            directory=MemoryDirectory(),
            live_path=tmp_path,
            meta=MetaConfig(start_copy=InlineCopy),
            clock=SystemClock(),
            rng=random.Random(1),
        )
        engine.add_targets(1)
        await engine.set_up([Member("here", SERVICE_RANK, 1)], evict=False)
        served = set(engine.xstream.context._station.services)
        served |= set(engine.targets[0].xstream.context._station.services)
        hidden = {each.opcode for each in REGISTRY.procedures()} - served
        assert hidden == {mgmt.POOL_CREATE.opcode, mgmt.POOL_DESTROY.opcode}
        await engine.stop()

    asyncio.run(run())


class Bench:
    """A pool with a container, and handles of every kind."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def prepare(self) -> None:
        writing = await self.cluster.pool()
        container = await writing.container("c1")
        await container.snapshot("kept")
        await container.put(OID, b"d", {b"a": b"1"})
        reading = await self.cluster.connect(writing.pool, "r")
        self.pool = writing.pool
        self.pool_handles = {"rw": writing.handle, "r": reading.handle, "none": new_id(903)}
        read_only = await reading.open("c1", "r")
        self.handles = {"rw": container.handle, "r": read_only.handle, "none": new_id(904)}

    async def code(self, name: str, rights: str, context: Context | None = None) -> str:
        procedure: Procedure[Any, Any] = PROCEDURES[name]
        request = requests(self.pool, self.pool_handles[rights], self.handles[rights])[name]
        tag = 1 if "tgt" in name or name.startswith("obj") else 0
        to = endpoint(tag)
        return await code_of(self.cluster.call(procedure, request, to=to, context=context))


HANDLED = [name for name, access in ACCESS.items() if access.startswith(("pool", "cont"))]
BETWEEN = [name for name, access in ACCESS.items() if access == "engine"]


@pytest.mark.parametrize("rights", ["none", "r", "rw"])
def test_what_needs_a_handle_is_refused_without_its_rights(tmp_path: Path, rights: str) -> None:
    async def run() -> None:
        async with Cluster(tmp_path) as cluster:
            bench = Bench(cluster)
            await bench.prepare()
            for name in HANDLED:
                if rights == "none":
                    expected = "NO_HDL"
                else:
                    denied = ACCESS[name].endswith("w") and rights == "r"
                    expected = "NO_PERM" if denied else "SUCCESS"
                assert await bench.code(name, rights) == expected, name

    asyncio.run(run())


def test_what_is_between_engines_refuses_clients(tmp_path: Path) -> None:
    async def run() -> None:
        async with Cluster(tmp_path) as cluster:
            bench = Bench(cluster)
            await bench.prepare()
            for name in BETWEEN:
                assert await bench.code(name, "rw") == "NO_PERM", name
            engine = cluster.client_context(endpoint(99))
            for name in BETWEEN:
                assert await bench.code(name, "rw", engine) != "NO_PERM", name
            await engine.close()

    asyncio.run(run())
