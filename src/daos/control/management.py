"""MgmtSvc: the management service of the system, as administrators and agents see it.

    about ranks, members, settings     answered here
    about pools                        passed on to rank 0's engine, which keeps them

Every request names its system, and is refused where it is another one. An engine's verdict about a
pool stands in the field `status` of the reply, a refusal of ours is raised.

Source: DAOS src/control/server/mgmt_*.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import Any, Final

from daos.base.errors import DaosError, InvalidError
from daos.base.sets import parse_ranks, print_ranks
from daos.base.version import VERSION
from daos.control import core, faults
from daos.control.access import Answer, system_name
from daos.control.harness import Harness
from daos.control.instance import Instance
from daos.control.members import ALL, AVAILABLE
from daos.drpc.modules import MgmtMethod
from daos.proto import mgmt_pb2 as pb
from daos.proto.shared_pb2 import RankResult

log = logging.getLogger(__name__)

# What an engine may take for a pool: a create or a destroy touches every target.
_POOL_S: Final = 300.0
_START_S: Final = 300.0
_NS: Final = 1_000_000_000

# A method of gRPC, the dRPC method behind it, and what it answers.
_PASSED_ON: Final[tuple[tuple[str, MgmtMethod, Any], ...]] = (
    ("PoolEvict", MgmtMethod.POOL_EVICT, pb.PoolEvictResp),
    ("PoolQueryTarget", MgmtMethod.POOL_QUERY_TARGETS, pb.PoolQueryTargetResp),
    ("PoolGetProp", MgmtMethod.POOL_GET_PROP, pb.PoolGetPropResp),
    ("ListPools", MgmtMethod.LIST_POOLS, pb.ListPoolsResp),
    ("ListContainers", MgmtMethod.LIST_CONTAINERS, pb.ListContResp),
)


class Management:
    """Answers for the harness's system. `address`: what others call this server."""

    def __init__(self, harness: Harness, *, address: str, hostname: str) -> None:
        self._harness = harness
        self._address = address
        self._names = {address, address.rpartition(":")[0], hostname, "localhost"}
        self._one_create = asyncio.Lock()

    @property
    def answers(self) -> dict[str, Answer]:
        """By name of the method."""
        own: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "LeaderQuery": self._leader_query,
            "GetAttachInfo": self._get_attach_info,
            "SystemQuery": self._system_query,
            "SystemStop": self._system_stop,
            "SystemStart": self._system_start,
            "SystemErase": self._system_erase,
            "SystemSetAttr": self._set_attributes,
            "SystemGetAttr": self._get_attributes,
            "SystemSetProp": self._set_properties,
            "SystemGetProp": self._get_properties,
            "SystemCleanup": self._cleanup,
            "PoolCreate": self._pool_create,
            "PoolDestroy": self._pool_destroy,
            "PoolQuery": self._pool_query,
            "PoolSetProp": self._pool_set_prop,
            **{name: self._passing(method, reply) for name, method, reply in _PASSED_ON},
        }
        return {name: self._of_system(answer) for name, answer in own.items()}

    def _of_system(self, answer: Answer) -> Answer:
        async def checked(request: Any) -> Any:  # noqa: ANN401 any message with a `sys`
            running = self._harness.config.name
            if running not in (request.sys, system_name(request.sys)):
                raise faults.wrong_system(request.sys, running)
            return await answer(request)

        return checked

    # --- the system ---

    async def _leader_query(self, request: pb.LeaderQueryReq) -> pb.LeaderQueryResp:
        return pb.LeaderQueryResp(current_leader=self._address, replicas=[self._address])

    async def _get_attach_info(self, request: pb.GetAttachInfoReq) -> pb.GetAttachInfoResp:
        """Where the ranks are. Without `all_ranks`: where the services are."""
        config = self._harness.config
        uris = [
            pb.GetAttachInfoResp.RankUri(
                rank=each.rank, uri=each.superblock.uri, num_ctxs=each.config.targets + 1
            )
            for each in self._members()
            if each.superblock is not None and each.superblock.uri
        ]
        if not any(each.rank == 0 for each in uris):
            self._harness.services()  # says why
        major, minor, patch = map(int, VERSION.split("."))
        return pb.GetAttachInfoResp(
            rank_uris=[each for each in uris if request.all_ranks or each.rank == 0],
            ms_ranks=[0],
            client_net_hint=pb.ClientNetHint(
                provider=config.provider or "sm",
                crt_timeout=config.crt_timeout_s,
                env_vars=config.client_env_vars,
            ),
            data_version=self._harness.record.map_version,
            sys=config.name,
            build_info=pb.BuildInfo(major=major, minor=minor, patch=patch),
        )

    async def _system_query(self, request: pb.SystemQueryReq) -> pb.SystemQueryResp:
        found, absent_ranks, absent_hosts = self._select(request.ranks, request.hosts)
        mask = request.state_mask or ALL
        config = self._harness.config
        return pb.SystemQueryResp(
            members=[self._member(each) for each in found if each.state & mask],
            absentranks=absent_ranks,
            absenthosts=absent_hosts,
            data_version=self._harness.record.map_version,
            providers=[config.provider or "sm"],
            sys_self_heal_policy=self._properties()["self_heal"],
        )

    def _member(self, instance: Instance) -> pb.SystemMember:
        block = instance.superblock
        assert block is not None
        seconds, ns = divmod(instance.since_ns, _NS)
        since = datetime.fromtimestamp(seconds, UTC).replace(microsecond=ns // 1000)
        return pb.SystemMember(
            addr=self._address,
            uuid=str(block.uuid),
            rank=block.rank,
            incarnation=block.incarnation,
            state=instance.state.text,
            fabric_uri=block.uri,
            fabric_contexts=instance.config.targets + 1,
            info=instance.info,
            fault_domain=block.fault_domain,
            last_update=since.isoformat(timespec="milliseconds"),
        )

    async def _system_stop(self, request: pb.SystemStopReq) -> pb.SystemStopResp:
        """Stop engines; where one can't prepare, none is stopped, unless forced."""
        found, absent_ranks, absent_hosts = self._select(request.ranks, request.hosts)
        answer = pb.SystemStopResp(absentranks=absent_ranks, absenthosts=absent_hosts)
        if not request.force:
            failed = await self._harness.prepare(found)
            if failed:
                answer.results.extend(
                    self._result(each, "prep shutdown", failed.get(each.index)) for each in found
                )
                return answer
        await self._harness.stop_instances(found, force=request.force, prepare=False)
        answer.results.extend(self._result(each, "stop", None) for each in found)
        return answer

    async def _system_start(self, request: pb.SystemStartReq) -> pb.SystemStartResp:
        found, absent_ranks, absent_hosts = self._select(request.ranks, request.hosts)
        await self._harness.start_instances(found)
        failed = await self._harness.joined(found, within_s=_START_S)
        answer = pb.SystemStartResp(absentranks=absent_ranks, absenthosts=absent_hosts)
        answer.results.extend(self._result(each, "start", failed.get(each.index)) for each in found)
        return answer

    async def _system_erase(self, request: pb.SystemEraseReq) -> pb.SystemEraseResp:
        ranks = {each.index: each.rank for each in self._harness.instances}
        return pb.SystemEraseResp(
            results=[
                RankResult(
                    rank=ranks[each.index],
                    action="erase",
                    state=each.state.text,
                    addr=self._address,
                )
                for each in self._harness.erase()
            ]
        )

    def _result(self, instance: Instance, action: str, error: DaosError | None) -> RankResult:
        return RankResult(
            rank=instance.rank,
            action=action,
            errored=error is not None,
            msg="" if error is None else error.message,
            state=instance.state.text,
            addr=self._address,
        )

    async def _cleanup(self, request: pb.SystemCleanupReq) -> pb.SystemCleanupResp:
        """Evict what a machine has open, of every pool."""
        if not request.machine:
            raise InvalidError("name the machine whose handles are to be evicted")
        pools = await self._ask(MgmtMethod.LIST_POOLS, pb.ListPoolsReq(), pb.ListPoolsResp)
        answer = pb.SystemCleanupResp()
        for pool in pools.pools:
            evict = pb.PoolEvictReq(id=pool.uuid, machine=request.machine)
            done = await self._ask(MgmtMethod.POOL_EVICT, evict, pb.PoolEvictResp)
            answer.results.add(status=done.status, pool_id=pool.uuid, count=done.count)
        return answer

    # --- settings ---

    async def _set_attributes(self, request: pb.SystemSetAttrReq) -> pb.DaosResp:
        record = self._harness.record
        attributes = core.changed_attributes(record.attributes, request.attributes)
        self._harness.keep(changed(record, attributes=attributes))
        return pb.DaosResp()

    async def _get_attributes(self, request: pb.SystemGetAttrReq) -> pb.SystemGetAttrResp:
        found = core.chosen(self._harness.record.attributes, request.keys, "attribute")
        return pb.SystemGetAttrResp(attributes=found)

    async def _set_properties(self, request: pb.SystemSetPropReq) -> pb.DaosResp:
        record = self._harness.record
        changes = core.PROPERTIES.changes(request.properties)
        self._harness.keep(changed(record, properties={**record.properties, **changes}))
        return pb.DaosResp()

    async def _get_properties(self, request: pb.SystemGetPropReq) -> pb.SystemGetPropResp:
        found = core.chosen(self._properties(), request.keys, "property")
        return pb.SystemGetPropResp(properties=found)

    def _properties(self) -> dict[str, str]:
        defaults = {entry.name: entry.default for entry in core.PROPERTIES.properties}
        told = {"daos_version": VERSION, "daos_system": self._harness.config.name}
        return {**defaults, **self._harness.record.properties, **told}

    # --- pools ---

    def _passing(self, method: MgmtMethod, reply: Any) -> Answer:  # noqa: ANN401 a message's type
        async def answer(request: Any) -> Any:  # noqa: ANN401 what the method takes
            return await self._ask(method, request, reply)

        return answer

    async def _ask(self, method: MgmtMethod, request: Any, reply: type[Any]) -> Any:  # noqa: ANN401
        instance = self._harness.services()
        return await instance.ask(method, request, reply, timeout_s=_POOL_S)

    async def _pool_create(self, request: pb.PoolCreateReq) -> pb.PoolCreateResp:
        """Checked here, made there; one at a time."""
        labels = [each.strval for each in request.properties if each.number == core.LABEL_PROPERTY]
        if not any(labels):
            raise faults.pool_no_label()
        self._harness.services()
        available = {
            each.rank: each
            for each in self._members()
            if each.rank is not None and each.state & AVAILABLE
        }
        ranks = core.choose_ranks(request.ranks, request.num_ranks, available)
        if not ranks:
            raise faults.data_plane_not_started()
        core.check_service_replicas(request.num_svc_reps, len(ranks))
        tiers = core.tier_bytes(
            request.total_bytes,
            request.tier_bytes,
            ranks=len(ranks),
            targets=available[ranks[0]].config.targets,
        )
        told = pb.PoolCreateReq()
        told.CopyFrom(request)
        del told.ranks[:], told.tier_bytes[:]
        told.ranks.extend(ranks)
        told.tier_bytes.extend(tiers)
        async with self._one_create:
            answer: pb.PoolCreateResp = await self._ask(
                MgmtMethod.POOL_CREATE, told, pb.PoolCreateResp
            )
        return answer

    async def _pool_destroy(self, request: pb.PoolDestroyReq) -> pb.PoolDestroyResp:
        """Containers keep their pool, unless the request is to remove them with it."""
        if not request.recursive:
            inside: pb.ListContResp = await self._ask(
                MgmtMethod.LIST_CONTAINERS, pb.ListContReq(id=request.id), pb.ListContResp
            )
            if inside.status:
                return pb.PoolDestroyResp(status=inside.status, problem=inside.problem)
            if inside.containers:
                raise faults.pool_has_containers()
        answer: pb.PoolDestroyResp = await self._ask(
            MgmtMethod.POOL_DESTROY, request, pb.PoolDestroyResp
        )
        return answer

    async def _pool_query(self, request: pb.PoolQueryReq) -> pb.PoolQueryResp:
        """What the pool says, and what the system says about all pools."""
        answer: pb.PoolQueryResp = await self._ask(MgmtMethod.POOL_QUERY, request, pb.PoolQueryResp)
        answer.sys_self_heal_policy = self._properties()["self_heal"]
        return answer

    async def _pool_set_prop(self, request: pb.PoolSetPropReq) -> pb.PoolSetPropResp:
        if not request.properties:
            raise InvalidError("pool set-prop without properties")
        answer: pb.PoolSetPropResp = await self._ask(
            MgmtMethod.POOL_SET_PROP, request, pb.PoolSetPropResp
        )
        return answer

    # --- members ---

    def _members(self) -> list[Instance]:
        """Those that have a rank, in their order."""
        ranked = [each for each in self._harness.instances if each.rank is not None]
        return sorted(ranked, key=lambda each: each.rank or 0)

    def _select(self, ranks: str, hosts: str) -> tuple[list[Instance], str, str]:
        """Members that a request names, and the ranks and hosts that there are not.

        Raises: InvalidError  both are given
        """
        if ranks and hosts:
            raise InvalidError("give ranks or hosts, not both")
        members = self._members()
        if hosts:
            absent = [host for host in _names(hosts) if host not in self._names]
            here = len(absent) < len(_names(hosts))
            return (members if here else []), "", ",".join(absent)
        wanted: Collection[int] = parse_ranks(ranks)
        if not wanted:
            return members, "", ""
        known = {each.rank for each in members}
        absent_ranks = print_ranks(rank for rank in wanted if rank not in known)
        return [each for each in members if each.rank in wanted], absent_ranks, ""


def _names(hosts: str) -> list[str]:
    return [part for part in hosts.replace(",", " ").split() if part]
