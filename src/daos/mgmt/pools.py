"""What the server of this host asks its engine about pools, by dRPC.

    message --read--> Administration --write--> message

Ids are labels or UUIDs. A reply's `status` is a DER number, negated, its `problem` says why. Pools
span all ranks of the system, and have one service, on rank 0.

Source: DAOS src/mgmt/srv_drpc.c
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from daos.base.errors import DaosError, InvalidError, NotSupportedError
from daos.base.ids import Rank
from daos.base.names import maybe_uuid
from daos.base.peers import Peer
from daos.base.sets import print_ranks
from daos.container.wire import ContainerRecord
from daos.drpc.modules import MgmtMethod
from daos.drpc.registry import M
from daos.engine.module import DrpcTable
from daos.engine.rank import SERVICE_RANK
from daos.mgmt import properties, wire
from daos.mgmt.administration import Queried
from daos.mgmt.core import PoolState
from daos.mgmt.drpc import MGMT, failed
from daos.placement.pool_map import ComponentState
from daos.pool.wire import TargetInfo, TierSpace
from daos.proto import mgmt_pb2 as pb

_STATES: Final = {
    PoolState.CREATING: pb.Creating,
    PoolState.READY: pb.Ready,
    PoolState.DESTROYING: pb.Destroying,
}
_TARGET_STATES: Final[dict[int, pb.PoolQueryTargetInfo.TargetState]] = {
    ComponentState.NEW: pb.PoolQueryTargetInfo.NEW,
    ComponentState.UP: pb.PoolQueryTargetInfo.UP,
    ComponentState.UPIN: pb.PoolQueryTargetInfo.UP_IN,
    ComponentState.DOWN: pb.PoolQueryTargetInfo.DOWN,
    ComponentState.DOWNOUT: pb.PoolQueryTargetInfo.DOWN_OUT,
    ComponentState.DRAIN: pb.PoolQueryTargetInfo.DRAIN,
}
_MEDIA: Final = (pb.SCM, pb.NVME)
_LAYOUT: Final = 4  # of a pool, as the property `global_version` says


class Backend(Protocol):
    """`Administration`, or what a test puts in its place."""

    @property
    def ranks(self) -> Sequence[Rank]: ...
    async def create(self, request: wire.PoolCreateRequest) -> Queried: ...
    async def destroy(self, name: str, *, force: bool) -> None: ...
    async def evict(self, name: str, handles: Collection[bytes], machine: str) -> int: ...
    async def check_idle(self, name: str) -> None: ...
    async def pools(self) -> list[wire.PoolRecord]: ...
    async def query(self, name: str) -> Queried: ...
    async def query_targets(
        self, name: str, rank: Rank, targets: Collection[int]
    ) -> list[TargetInfo]: ...
    async def props(self, name: str) -> dict[str, str]: ...
    async def set_props(self, name: str, props: dict[str, str]) -> None: ...
    async def containers(self, name: str) -> list[ContainerRecord]: ...


ReplyT = TypeVar(
    "ReplyT",
    pb.PoolCreateResp,
    pb.PoolDestroyResp,
    pb.PoolEvictResp,
    pb.PoolQueryResp,
    pb.PoolQueryTargetResp,
    pb.PoolSetPropResp,
    pb.PoolGetPropResp,
    pb.ListPoolsResp,
    pb.ListContResp,
)


def add(table: DrpcTable, backend: Callable[[], Backend]) -> None:
    """Answer what is asked about pools. `backend` raises AgainError, or who has the services."""

    def answer(
        method: MgmtMethod,
        request: type[M],
        reply: type[ReplyT],
        work: Callable[[Backend, M], Awaitable[ReplyT]],
    ) -> None:
        async def handle(message: M, peer: Peer) -> ReplyT:
            try:
                return await work(backend(), message)
            except DaosError as error:
                return reply(status=failed(method.name, error), problem=error.message)

        table.add(MGMT, method, request, handle)

    answer(MgmtMethod.POOL_CREATE, pb.PoolCreateReq, pb.PoolCreateResp, _create)
    answer(MgmtMethod.POOL_DESTROY, pb.PoolDestroyReq, pb.PoolDestroyResp, _destroy)
    answer(MgmtMethod.POOL_EVICT, pb.PoolEvictReq, pb.PoolEvictResp, _evict)
    answer(MgmtMethod.POOL_QUERY, pb.PoolQueryReq, pb.PoolQueryResp, _query)
    answer(
        MgmtMethod.POOL_QUERY_TARGETS, pb.PoolQueryTargetReq, pb.PoolQueryTargetResp, _query_targets
    )
    answer(MgmtMethod.POOL_SET_PROP, pb.PoolSetPropReq, pb.PoolSetPropResp, _set_prop)
    answer(MgmtMethod.POOL_GET_PROP, pb.PoolGetPropReq, pb.PoolGetPropResp, _get_prop)
    answer(MgmtMethod.LIST_POOLS, pb.ListPoolsReq, pb.ListPoolsResp, _list_pools)
    answer(MgmtMethod.LIST_CONTAINERS, pb.ListContReq, pb.ListContResp, _list_containers)


async def _create(backend: Backend, request: pb.PoolCreateReq) -> pb.PoolCreateResp:
    uuid = _uuid(request.uuid, "pool")
    props = properties.read(request.properties)
    ranks = backend.ranks
    if request.ranks and sorted(request.ranks) != sorted(ranks):
        raise NotSupportedError(f"a pool spans all ranks, {list(ranks)}, not {request.ranks}")
    if request.acl:
        raise NotSupportedError("pools have no access control lists yet")
    size_bytes = sum(request.tier_bytes) * len(ranks) or request.total_bytes
    made = await backend.create(
        wire.PoolCreateRequest(
            uuid.bytes,
            props.pop("label", ""),
            size_bytes,
            props,
            request.user or "nobody@",
            request.user_group or "nobody@",
        )
    )
    return pb.PoolCreateResp(
        svc_ldr=SERVICE_RANK,
        svc_reps=made.record.service_ranks,
        tgt_ranks=ranks,
        tier_bytes=[tier.total // len(ranks) for tier in made.numbers.tiers],
    )


async def _destroy(backend: Backend, request: pb.PoolDestroyReq) -> pb.PoolDestroyResp:
    await backend.destroy(request.id, force=request.force)
    return pb.PoolDestroyResp()


async def _evict(backend: Backend, request: pb.PoolEvictReq) -> pb.PoolEvictResp:
    """Of a pool that is to be destroyed, only by force if somebody is connected."""
    handles = [_uuid(text, "handle").bytes for text in request.handles]
    if request.destroy and not request.force_destroy:
        await backend.check_idle(request.id)
    return pb.PoolEvictResp(count=await backend.evict(request.id, handles, request.machine))


async def _query(backend: Backend, request: pb.PoolQueryReq) -> pb.PoolQueryResp:
    record, numbers = await backend.query(request.id)
    active = numbers.targets - numbers.targets_disabled
    return pb.PoolQueryResp(
        uuid=str(UUID(bytes=record.uuid)),
        label=record.label,
        total_targets=numbers.targets,
        active_targets=active,
        disabled_targets=numbers.targets_disabled,
        rebuild=pb.PoolRebuildStatus(
            state=pb.PoolRebuildStatus.IDLE, derived_state=pb.PoolRebuildStatus.IDLE
        ),
        tier_stats=_tiers(numbers.tiers, active),
        version=numbers.map_version,
        leader=SERVICE_RANK,
        enabled_ranks=print_ranks(backend.ranks),
        total_engines=numbers.ranks,
        pool_layout_ver=_LAYOUT,
        upgrade_layout_ver=_LAYOUT,
        state=_STATES.get(PoolState(record.state), pb.Unknown),
        svc_ldr=SERVICE_RANK,
        svc_reps=record.service_ranks,
        query_mask=request.query_mask,
    )


def _tiers(tiers: Iterable[TierSpace], targets: int) -> list[pb.StorageUsageStats]:
    return [
        pb.StorageUsageStats(
            total=tier.total,
            free=tier.free,
            min=tier.free_min,
            max=tier.free_max,
            mean=tier.free // targets if targets else 0,
            media_type=media,
        )
        for tier, media in zip(tiers, _MEDIA, strict=True)
    ]


async def _query_targets(
    backend: Backend, request: pb.PoolQueryTargetReq
) -> pb.PoolQueryTargetResp:
    found = await backend.query_targets(request.id, Rank(request.rank), request.targets)
    return pb.PoolQueryTargetResp(
        infos=[
            pb.PoolQueryTargetInfo(
                state=_TARGET_STATES.get(each.state, pb.PoolQueryTargetInfo.STATE_UNKNOWN),
                space=[
                    pb.StorageTargetUsage(total=total, free=free, media_type=media)
                    for (total, free), media in zip(each.tiers, _MEDIA, strict=True)
                ],
            )
            for each in found
        ]
    )


async def _set_prop(backend: Backend, request: pb.PoolSetPropReq) -> pb.PoolSetPropResp:
    props = properties.read(request.properties)
    if not props:
        raise InvalidError("no properties to set")
    await backend.set_props(request.id, props)
    return pb.PoolSetPropResp()


async def _get_prop(backend: Backend, request: pb.PoolGetPropReq) -> pb.PoolGetPropResp:
    """Those that are named by their numbers; all if none is."""
    names = [properties.name_of(each.number) for each in request.properties]
    props = await backend.props(request.id)
    chosen = {name: text for name, text in props.items() if not names or name in names}
    return pb.PoolGetPropResp(properties=properties.write(chosen))


async def _list_pools(backend: Backend, request: pb.ListPoolsReq) -> pb.ListPoolsResp:
    return pb.ListPoolsResp(
        pools=[
            pb.ListPoolsResp.Pool(
                uuid=str(UUID(bytes=record.uuid)),
                label=record.label,
                svc_reps=record.service_ranks,
                state=record.state,
                rebuild_state="idle",
            )
            for record in await backend.pools()
        ]
    )


async def _list_containers(backend: Backend, request: pb.ListContReq) -> pb.ListContResp:
    found = await backend.containers(request.id)
    return pb.ListContResp(
        containers=[pb.ListContResp.Cont(uuid=str(UUID(bytes=each.uuid))) for each in found]
    )


def _uuid(text: str, what: str) -> UUID:
    uuid = maybe_uuid(text)
    if uuid is None:
        raise InvalidError(f"{text!r} is no UUID of a {what}")
    return uuid
