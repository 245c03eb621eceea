"""Section 7.3: what the management module answers its server by dRPC (srv_drpc_tests.c).

The module's own table, with a backend that only notes what it was asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.message import Message

from daos.base.errors import DER, AgainError, DaosError
from daos.base.ids import Rank
from daos.base.peers import Peer
from daos.container.wire import ContainerRecord
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.drpc.registry import M, Methods, Registry
from daos.engine.control import Device, Place, Stored
from daos.engine.rank import Engine, Member
from daos.mgmt import drpc, pools, properties, smd, wire
from daos.mgmt.administration import Queried
from daos.placement.pool_map import ComponentState
from daos.pool.core import PROPERTIES
from daos.pool.wire import QueryReply, TargetInfo, TierSpace
from daos.proto import ctl_pb2, mgmt_pb2
from daos.proto.drpc_pb2 import Call, Response, Status

POOL = UUID("11111111-2222-3333-4444-555555555555")
OTHER = UUID("aaaaaaaa-2222-3333-4444-555555555555")
RECORD = wire.PoolRecord(POOL.bytes, "tank", "Ready", 4 << 24, 4, (0,))
TIERS = (TierSpace(800, 400, 50, 150), TierSpace(8000, 6000, 1000, 2000))
NUMBERS = QueryReply("tank", 7, 4, 0, 2, 3, 1, TIERS)
QUERIED = Queried(RECORD, NUMBERS)


class FakeBackend:
    """Notes calls; fails with `error` if there is one."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: DaosError | None = None
        self.ranks: Sequence[Rank] = (Rank(0), Rank(1))
        self.found: list[ContainerRecord] = []

    def note(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def create(self, request: wire.PoolCreateRequest) -> Queried:
        self.note("create", request)
        return QUERIED

    async def destroy(self, name: str, *, force: bool) -> None:
        self.note("destroy", name, force)

    async def evict(self, name: str, handles: Collection[bytes], machine: str) -> int:
        self.note("evict", name, list(handles), machine)
        return 3

    async def check_idle(self, name: str) -> None:
        self.note("check_idle", name)

    async def pools(self) -> list[wire.PoolRecord]:
        self.note("pools")
        return [RECORD]

    async def query(self, name: str) -> Queried:
        self.note("query", name)
        return QUERIED

    async def query_targets(
        self, name: str, rank: Rank, targets: Collection[int]
    ) -> list[TargetInfo]:
        self.note("query_targets", name, rank, list(targets))
        return [TargetInfo(0, ComponentState.UPIN, ((10, 5), (100, 50)))]

    async def props(self, name: str) -> dict[str, str]:
        self.note("props", name)
        return {"label": "tank", "reclaim": "lazy", "scrub_freq": "604800", "svc_list": "[0]"}

    async def set_props(self, name: str, props: dict[str, str]) -> None:
        self.note("set_props", name, props)

    async def containers(self, name: str) -> list[ContainerRecord]:
        self.note("containers", name)
        return self.found


class FakeControl:
    """An engine that has been told nothing yet."""

    def __init__(self) -> None:
        self.rank: Rank | None = Rank(1)
        self.calls: list[tuple[Any, ...]] = []
        self.error: DaosError | None = None

    def note(self, *call: object) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    @property
    def engine(self) -> Engine:
        raise AgainError("not set up")

    def set_rank(self, rank: Rank, key: bytes) -> None:
        self.note("set_rank", rank)

    def update_group(self, version: int, places: Sequence[Place]) -> None:
        self.note("update_group", version, list(places))

    async def set_up(self, members: Sequence[Member]) -> None:
        self.note("set_up", list(members))

    def prepare_shutdown(self) -> None:
        self.note("prepare_shutdown")

    def set_log_masks(self, masks: str) -> None:
        self.note("set_log_masks", masks)

    def device(self) -> Device:
        self.note("device")
        return Device(OTHER, (0, 1), 1000, 600, 4096)

    def stored(self) -> list[Stored]:
        self.note("stored")
        return [Stored(POOL, (0, 1), (11, 12))]


class Table:
    """What an engine gives its modules to fill."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.control = FakeControl()
        self.methods = Methods()
        self.registry = Registry()
        self.registry.register(ModuleId.MGMT, self.methods)
        drpc.add(self, self.control)
        pools.add(self, lambda: self.backend)
        smd.add(self, self.control)

    def add(
        self,
        module: int,
        method: int,
        request: type[M],
        answer: Callable[[M, Peer], Awaitable[Message | None]],
    ) -> None:
        assert module == ModuleId.MGMT
        self.methods.add(method, request, answer)

    def send(self, method: int, body: bytes) -> Response:
        call = Call(module=ModuleId.MGMT, method=method, sequence=5, body=body)
        peer = Peer(1, 2, 3)
        return asyncio.run(self.registry.respond(call.SerializeToString(), peer))

    def ask(self, method: MgmtMethod, request: Message) -> Any:  # noqa: ANN401 as REPLIES
        response = self.send(method, request.SerializeToString())
        assert (response.sequence, response.status) == (5, Status.SUCCESS)
        return REPLIES[method].FromString(response.body)


REPLIES: dict[MgmtMethod, Any] = {
    MgmtMethod.SET_RANK: mgmt_pb2.DaosResp,
    MgmtMethod.SET_UP: mgmt_pb2.DaosResp,
    MgmtMethod.PING_RANK: mgmt_pb2.DaosResp,
    MgmtMethod.PREP_SHUTDOWN: mgmt_pb2.DaosResp,
    MgmtMethod.GROUP_UPDATE: mgmt_pb2.GroupUpdateResp,
    MgmtMethod.POOL_CREATE: mgmt_pb2.PoolCreateResp,
    MgmtMethod.POOL_DESTROY: mgmt_pb2.PoolDestroyResp,
    MgmtMethod.POOL_EVICT: mgmt_pb2.PoolEvictResp,
    MgmtMethod.POOL_QUERY: mgmt_pb2.PoolQueryResp,
    MgmtMethod.POOL_QUERY_TARGETS: mgmt_pb2.PoolQueryTargetResp,
    MgmtMethod.POOL_SET_PROP: mgmt_pb2.PoolSetPropResp,
    MgmtMethod.POOL_GET_PROP: mgmt_pb2.PoolGetPropResp,
    MgmtMethod.LIST_POOLS: mgmt_pb2.ListPoolsResp,
    MgmtMethod.LIST_CONTAINERS: mgmt_pb2.ListContResp,
    MgmtMethod.SMD_LIST_DEVS: ctl_pb2.SmdDevResp,
    MgmtMethod.SMD_LIST_POOLS: ctl_pb2.SmdPoolResp,
    MgmtMethod.SET_LOG_MASKS: ctl_pb2.SetLogMasksResp,
}
# Each with what it needs to reach the backend.
POOL_REQUESTS: dict[MgmtMethod, Any] = {
    MgmtMethod.POOL_CREATE: mgmt_pb2.PoolCreateReq(uuid=str(POOL), total_bytes=1 << 30),
    MgmtMethod.POOL_DESTROY: mgmt_pb2.PoolDestroyReq(id="tank", force=True),
    MgmtMethod.POOL_EVICT: mgmt_pb2.PoolEvictReq(id="tank"),
    MgmtMethod.POOL_QUERY: mgmt_pb2.PoolQueryReq(id="tank", query_mask=9),
    MgmtMethod.POOL_QUERY_TARGETS: mgmt_pb2.PoolQueryTargetReq(id="tank", rank=1, targets=[0]),
    MgmtMethod.POOL_SET_PROP: mgmt_pb2.PoolSetPropReq(
        id="tank", properties=[mgmt_pb2.PoolProperty(number=5, strval="time")]
    ),
    MgmtMethod.POOL_GET_PROP: mgmt_pb2.PoolGetPropReq(id="tank"),
    MgmtMethod.LIST_POOLS: mgmt_pb2.ListPoolsReq(),
    MgmtMethod.LIST_CONTAINERS: mgmt_pb2.ListContReq(id="tank"),
}


@pytest.fixture
def table() -> Table:
    return Table()


def test_every_method_has_its_reply(table: Table) -> None:
    assert set(table.methods.numbers) == set(REPLIES)


@pytest.mark.parametrize("method", sorted(REPLIES))
def test_m1_a_body_that_cannot_be_decoded(table: Table, method: MgmtMethod) -> None:
    response = table.send(method, b"\x01\x02\x03")
    assert response.status == Status.FAILED_UNMARSHAL_PAYLOAD
    assert response.body == b""
    assert table.backend.calls == []
    assert table.control.calls == []


@pytest.mark.expects_warning("is no UUID")
@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (MgmtMethod.POOL_CREATE, mgmt_pb2.PoolCreateReq(uuid="BAD", total_bytes=1 << 30)),
        (MgmtMethod.POOL_EVICT, mgmt_pb2.PoolEvictReq(id="tank", handles=["BAD"])),
    ],
)
def test_m2_a_bad_uuid_does_not_reach_the_backend(
    table: Table, method: MgmtMethod, request_: Message
) -> None:
    assert table.ask(method, request_).status == -DER.INVAL
    assert table.backend.calls == []


@pytest.mark.expects_warning("no luck")
@pytest.mark.parametrize("method", sorted(POOL_REQUESTS))
def test_m2_an_error_of_the_backend_is_the_status(table: Table, method: MgmtMethod) -> None:
    table.backend.error = DaosError("no luck", code=DER.MISC)
    reply = table.ask(method, POOL_REQUESTS[method])
    assert (reply.status, reply.problem) == (-DER.MISC, "no luck")
    assert len(table.backend.calls) == 1


@pytest.mark.parametrize("method", sorted(POOL_REQUESTS))
def test_m2_success(table: Table, method: MgmtMethod) -> None:
    reply = table.ask(method, POOL_REQUESTS[method])
    if method is not MgmtMethod.LIST_POOLS:
        assert reply.status == 0


def test_m2_create_maps_its_fields(table: Table) -> None:
    request = mgmt_pb2.PoolCreateReq(
        uuid=str(POOL),
        user="alice@",
        user_group="staff@",
        properties=[
            mgmt_pb2.PoolProperty(number=1, strval="tank"),
            mgmt_pb2.PoolProperty(number=9, numval=65536),
        ],
        ranks=[1, 0],
        tier_bytes=[1 << 24, 1 << 30],
    )
    reply = table.ask(MgmtMethod.POOL_CREATE, request)
    size = 2 * ((1 << 24) + (1 << 30))  # of two ranks
    made = wire.PoolCreateRequest(
        POOL.bytes, "tank", size, {"ec_cell_sz": "65536"}, "alice@", "staff@"
    )
    assert table.backend.calls == [("create", made)]
    assert (reply.svc_ldr, reply.svc_reps, reply.tgt_ranks) == (0, [0], [0, 1])
    assert reply.tier_bytes == [400, 4000]


@pytest.mark.expects_warning("access control lists")
def test_m3_access_control_entries_are_refused(table: Table) -> None:
    request = mgmt_pb2.PoolCreateReq(uuid=str(POOL), acl=["OWNER"], total_bytes=1 << 30)
    assert table.ask(MgmtMethod.POOL_CREATE, request).status == -DER.NOTSUPPORTED
    assert table.backend.calls == []


def test_m4_list_containers(table: Table) -> None:
    request = POOL_REQUESTS[MgmtMethod.LIST_CONTAINERS]
    assert list(table.ask(MgmtMethod.LIST_CONTAINERS, request).containers) == []
    table.backend.found = [ContainerRecord(POOL.bytes, "a"), ContainerRecord(OTHER.bytes, "b")]
    reply = table.ask(MgmtMethod.LIST_CONTAINERS, request)
    assert [each.uuid for each in reply.containers] == [str(POOL), str(OTHER)]


def test_m4_query(table: Table) -> None:
    reply = table.ask(MgmtMethod.POOL_QUERY, POOL_REQUESTS[MgmtMethod.POOL_QUERY])
    assert (reply.uuid, reply.label, reply.state) == (str(POOL), "tank", mgmt_pb2.Ready)
    assert (reply.total_targets, reply.active_targets, reply.disabled_targets) == (4, 4, 0)
    assert (reply.version, reply.leader, reply.svc_ldr, reply.svc_reps) == (7, 0, 0, [0])
    assert (reply.total_engines, reply.enabled_ranks, reply.disabled_ranks) == (2, "0-1", "")
    assert (reply.query_mask, reply.pool_layout_ver, reply.upgrade_layout_ver) == (9, 4, 4)
    scm, nvme = reply.tier_stats
    assert (scm.total, scm.free, scm.min, scm.max, scm.mean) == (800, 400, 50, 150, 100)
    assert (nvme.total, nvme.free, nvme.min, nvme.max, nvme.mean) == (8000, 6000, 1000, 2000, 1500)
    assert (scm.media_type, nvme.media_type) == (mgmt_pb2.SCM, mgmt_pb2.NVME)


def test_m4_nothing_is_rebuilt(table: Table) -> None:
    rebuild = table.ask(MgmtMethod.POOL_QUERY, POOL_REQUESTS[MgmtMethod.POOL_QUERY]).rebuild
    idle = mgmt_pb2.PoolRebuildStatus.IDLE
    assert (rebuild.status, rebuild.state, rebuild.derived_state) == (0, idle, idle)
    assert (rebuild.objects, rebuild.records, rebuild.degraded) == (0, 0, False)


def test_m5_evict(table: Table) -> None:
    request = mgmt_pb2.PoolEvictReq(id="tank", handles=[str(POOL), str(OTHER)])
    assert table.ask(MgmtMethod.POOL_EVICT, request).count == 3
    assert table.backend.calls.pop() == ("evict", "tank", [POOL.bytes, OTHER.bytes], "")
    request = mgmt_pb2.PoolEvictReq(id="tank", machine="node7")
    assert table.ask(MgmtMethod.POOL_EVICT, request).count == 3
    assert table.backend.calls.pop() == ("evict", "tank", [], "node7")
    request = mgmt_pb2.PoolEvictReq(id="tank", destroy=True)
    assert table.ask(MgmtMethod.POOL_EVICT, request).count == 3
    assert table.backend.calls == [("check_idle", "tank"), ("evict", "tank", [], "")]
    table.backend.calls.clear()
    request = mgmt_pb2.PoolEvictReq(id="tank", destroy=True, force_destroy=True)
    assert table.ask(MgmtMethod.POOL_EVICT, request).count == 3
    assert table.backend.calls == [("evict", "tank", [], "")]


def test_m5_set_prop_takes_text_and_numbers(table: Table) -> None:
    given = [
        mgmt_pb2.PoolProperty(number=5, strval="time"),
        mgmt_pb2.PoolProperty(number=17, numval=3600),
    ]
    request = mgmt_pb2.PoolSetPropReq(id="tank", properties=given)
    assert table.ask(MgmtMethod.POOL_SET_PROP, request).status == 0
    changes = {"reclaim": "time", "scrub_freq": "3600"}
    assert table.backend.calls == [("set_props", "tank", changes)]


@pytest.mark.expects_warning("POOL_SET_PROP")
@pytest.mark.parametrize(
    "given",
    [
        [],
        [mgmt_pb2.PoolProperty(number=5)],
        [mgmt_pb2.PoolProperty(number=99, strval="x")],
        [mgmt_pb2.PoolProperty(number=5, strval="time")] * 2,
    ],
    ids=["none", "no value", "no such property", "twice"],
)
def test_m5_what_is_no_property(table: Table, given: list[Any]) -> None:
    request = mgmt_pb2.PoolSetPropReq(id="tank", properties=given)
    assert table.ask(MgmtMethod.POOL_SET_PROP, request).status == -DER.INVAL
    assert table.backend.calls == []


def test_m5_get_prop(table: Table) -> None:
    def told(request: Message) -> dict[int, object]:
        reply = table.ask(MgmtMethod.POOL_GET_PROP, request)
        kinds = [(each, each.WhichOneof("value")) for each in reply.properties]
        return {each.number: getattr(each, kind) for each, kind in kinds}

    everything = {1: "tank", 5: "lazy", 8: "[0]", 17: 604800}
    assert told(mgmt_pb2.PoolGetPropReq(id="tank")) == everything
    asked = [mgmt_pb2.PoolProperty(number=number) for number in (1, 17)]
    request = mgmt_pb2.PoolGetPropReq(id="tank", properties=asked)
    assert told(request) == {1: "tank", 17: 604800}


@pytest.mark.expects_warning("no pool property")
def test_m5_get_prop_of_an_unknown_number(table: Table) -> None:
    asked = [mgmt_pb2.PoolProperty(number=2)]
    request = mgmt_pb2.PoolGetPropReq(id="tank", properties=asked)
    assert table.ask(MgmtMethod.POOL_GET_PROP, request).status == -DER.INVAL


def test_every_property_has_a_number() -> None:
    """As section 3.1 of the feature list has them."""
    assert {entry.name for entry in PROPERTIES.properties} == set(properties.NUMBERS)
    reference = (
        Path(__file__).with_name("pool_properties.txt").read_text(encoding="utf-8").splitlines()
    )
    numbers = {name: int(number) for number, name in map(str.split, reference)}
    assert numbers == properties.NUMBERS


def test_m6_ranks(table: Table) -> None:
    assert table.ask(MgmtMethod.PING_RANK, mgmt_pb2.PingRankReq(rank=1)).status == 0
    assert table.ask(MgmtMethod.PREP_SHUTDOWN, mgmt_pb2.PrepShutdownReq(rank=1)).status == 0
    assert table.ask(MgmtMethod.SET_RANK, mgmt_pb2.SetRankReq(rank=3)).status == 0
    group = mgmt_pb2.GroupUpdateReq(map_version=4)
    group.engines.add(rank=2, uri="sm:///tmp/x", incarnation=77)
    assert table.ask(MgmtMethod.GROUP_UPDATE, group).status == 0
    members = mgmt_pb2.SetUpReq()
    members.members.add(rank=2, host="h1", targets=8)
    assert table.ask(MgmtMethod.SET_UP, members).status == 0
    assert table.control.calls == [
        ("prepare_shutdown",),
        ("set_rank", 3),
        ("update_group", 4, [Place(Rank(2), "sm:///tmp/x", 77)]),
        ("set_up", [Member("h1", Rank(2), 8)]),
    ]


@pytest.mark.expects_warning("no luck")
def test_m6_an_engine_that_refuses(table: Table) -> None:
    table.control.error = DaosError("no luck", code=DER.MISC)
    for method, request in (
        (MgmtMethod.SET_RANK, mgmt_pb2.SetRankReq()),
        (MgmtMethod.GROUP_UPDATE, mgmt_pb2.GroupUpdateReq()),
        (MgmtMethod.SET_UP, mgmt_pb2.SetUpReq()),
        (MgmtMethod.SET_LOG_MASKS, ctl_pb2.SetLogMasksReq(masks="ERR")),
        (MgmtMethod.SMD_LIST_DEVS, ctl_pb2.SmdDevReq()),
        (MgmtMethod.SMD_LIST_POOLS, ctl_pb2.SmdPoolReq()),
    ):
        assert table.ask(method, request).status == -DER.MISC


def test_storage(table: Table) -> None:
    (device,) = table.ask(MgmtMethod.SMD_LIST_DEVS, ctl_pb2.SmdDevReq()).devices
    assert (device.uuid, list(device.tgt_ids), device.rank) == (str(OTHER), [0, 1], 1)
    assert (device.total_bytes, device.avail_bytes, device.usable_bytes) == (1000, 600, 600)
    assert (device.cluster_size, device.role_bits) == (4096, 7)
    assert (device.ctrlr.dev_state, device.ctrlr.led_state) == (ctl_pb2.NORMAL, ctl_pb2.NA)
    table.control.rank = Rank(0)  # the services are there: 1024 stands for the system xstream
    (device,) = table.ask(MgmtMethod.SMD_LIST_DEVS, ctl_pb2.SmdDevReq()).devices
    assert list(device.tgt_ids) == [0, 1, 1024]
    (pool,) = table.ask(MgmtMethod.SMD_LIST_POOLS, ctl_pb2.SmdPoolReq()).pools
    assert (pool.uuid, list(pool.tgt_ids), list(pool.blobs)) == (str(POOL), [0, 1], [11, 12])


def test_m7_targets(table: Table) -> None:
    request = POOL_REQUESTS[MgmtMethod.POOL_QUERY_TARGETS]
    (info,) = table.ask(MgmtMethod.POOL_QUERY_TARGETS, request).infos
    assert table.backend.calls == [("query_targets", "tank", 1, [0])]
    assert info.state == mgmt_pb2.PoolQueryTargetInfo.UP_IN
    assert [(each.total, each.free) for each in info.space] == [(10, 5), (100, 50)]
