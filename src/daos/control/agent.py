"""`Agent`: tells the clients of a host where the ranks are, and closes what they leave open.

    client --dRPC, daos_agent.sock--> GetAttachInfo --gRPC, once--> management service
                                      NotifyPoolConnect, -Disconnect, NotifyExit --> Monitor

Clients trust the agent for addresses only. It knows them by their pid, from the kernel.

Source: DAOS src/control/cmd/daos_agent/mgmt_rpc.go, infocache.go, start.go
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

from daos.base.clock import Clock
from daos.base.errors import DER, CorruptError, DaosError, InvalidError
from daos.base.names import maybe_uuid
from daos.base.peers import Peer
from daos.control import faults, files
from daos.control.access import system_name
from daos.control.client import ControlClient, checked
from daos.control.config.model import AgentConfig
from daos.control.layout import HandleRecord, OpenHandle
from daos.control.monitor import GONE, Born, Monitor
from daos.control.places import AGENT_SOCKET
from daos.drpc.modules import MgmtMethod, ModuleId
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto.mgmt_pb2 import (
    DaosResp,
    GetAttachInfoReq,
    GetAttachInfoResp,
    PoolEvictReq,
    PoolEvictResp,
    PoolMonitorReq,
    SystemCleanupReq,
    SystemCleanupResp,
)

log = logging.getLogger(__name__)

HANDLES: Final = "daos_agent.handles"
LOOK_S: Final = 3.0
_ASK_S: Final = 20.0
_FLUSH_S: Final = 10.0
_NS: Final = 1_000_000_000
_WRONG_SYSTEM: Final = faults.wrong_system("", "").number

Sleep = Callable[[float], Awaitable[None]]


class Agent:
    """One; `start` it, `close` it."""

    def __init__(
        self,
        config: AgentConfig,
        control: ControlClient,
        *,
        hostname: str,
        boot: str,
        clock: Clock,
        born: Born,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.config: Final = config
        self.asked = 0  # how often the management service was
        self._control = control
        self._hostname = hostname
        self._clock = clock
        self._sleep = sleep
        self._boot = boot
        self._born = born
        self.monitor = self._monitor({})
        self._known: GetAttachInfoResp | None = None
        self._known_ns = 0
        self._asking = asyncio.Lock()
        self._listener: Listener | None = None
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and go on where the agent before ended.

        Raises: as `Listener.start`; DaosError  handles of before can't be evicted
        """
        directory, mode = self.config.directory, self.config.mode
        files.make_private(directory, 0o755 if mode & 0o077 else 0o700)
        if self.config.evict_on_start:
            request = SystemCleanupReq(machine=self._hostname)
            await self._control.ask("SystemCleanup", request, SystemCleanupResp)
        self.monitor = self._monitor(self._known_handles())
        registry = Registry()
        registry.register(ModuleId.MGMT, self.methods())
        self._listener = await Listener.start(directory / AGENT_SOCKET, registry, mode=mode)
        self._looking = asyncio.get_running_loop().create_task(self._look())

    def methods(self) -> Methods:
        """What clients may call."""
        methods = Methods()
        methods.add(MgmtMethod.GET_ATTACH_INFO, GetAttachInfoReq, self._attach_info)
        methods.add(MgmtMethod.NOTIFY_POOL_CONNECT, PoolMonitorReq, self._connected)
        methods.add(MgmtMethod.NOTIFY_POOL_DISCONNECT, PoolMonitorReq, self._disconnected)
        methods.add(MgmtMethod.NOTIFY_EXIT, PoolMonitorReq, self._left)
        return methods

    def refresh(self) -> None:
        """Ask the management service anew when the next client asks."""
        self._known = None

    async def flush(self) -> None:
        """Evict all handles of this host's processes."""
        await self.monitor.flush()

    async def close(self) -> None:
        """Answer nobody any more, evict what is open. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        await listener.close()
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        if self.config.auto_evict:
            try:
                async with asyncio.timeout(_FLUSH_S):
                    await self.flush()
            except TimeoutError:
                log.warning("handles of %d processes stay open", self.monitor.processes)

    # --- handles ---

    def _monitor(self, handles: Mapping[str, OpenHandle]) -> Monitor:
        return Monitor(born=self._born, evict=self._evict, keep=self._keep, handles=handles)

    def _known_handles(self) -> dict[str, OpenHandle]:
        """What the agent before knew; after a boot all of its processes have gone."""
        raw = files.read(self.config.directory / HANDLES)
        if raw is None:
            return {}
        try:
            record = HandleRecord.parse(raw)
        except CorruptError as error:
            log.warning("handles of the agent before are not known: %s", error)
            return {}
        if record.boot == self._boot:
            return dict(record.handles)
        return {handle: each._replace(born=GONE) for handle, each in record.handles.items()}

    def _keep(self, handles: Mapping[str, OpenHandle]) -> None:
        record = HandleRecord(self._boot, handles)
        files.replace(self.config.directory / HANDLES, record.emit(), durable=False)

    # --- what clients ask ---

    async def _attach_info(self, request: GetAttachInfoReq, peer: Peer) -> GetAttachInfoResp:
        asked = system_name(request.sys)
        if asked and self.config.name not in (request.sys, asked):
            log.info("pid %d asks for the system %r", peer.pid, request.sys)
            return GetAttachInfoResp(status=-DER.INVAL)
        try:
            known = await self._ranks()
        except faults.FaultError as fault:
            log.warning("attach info failed: %s", fault)
            wrong = fault.number == _WRONG_SYSTEM
            return GetAttachInfoResp(status=-(DER.CONTROL_INCOMPAT if wrong else fault.code))
        except DaosError as error:
            log.warning("attach info failed: %s", error)
            return GetAttachInfoResp(status=-error.code)
        if request.all_ranks:
            return known
        told = GetAttachInfoResp()
        told.CopyFrom(known)
        del told.rank_uris[:]
        told.rank_uris.extend(each for each in known.rank_uris if each.rank in known.ms_ranks)
        return told

    async def _ranks(self) -> GetAttachInfoResp:
        """What the management service knows, or what it told not too long ago."""
        async with self._asking:
            known, config = self._known, self.config
            age_ns = self._clock.monotonic_ns() - self._known_ns
            too_old = config.cache_expiration_s and age_ns > config.cache_expiration_s * _NS
            if known is not None and config.caching and not too_old:
                return known
            request = GetAttachInfoReq(all_ranks=True)
            self.asked += 1
            told = await self._control.ask(
                "GetAttachInfo", request, GetAttachInfoResp, timeout_s=_ASK_S
            )
            self._known, self._known_ns = told, self._clock.monotonic_ns()
            return told

    async def _connected(self, request: PoolMonitorReq, peer: Peer) -> DaosResp:
        try:
            pool, handle = _uuid(request.poolUUID), _uuid(request.poolHandleUUID)
            self.monitor.connected(peer.pid, pool, handle)
        except DaosError as error:
            log.warning("handle of process %d is not watched: %s", peer.pid, error)
            return DaosResp(status=-error.code)
        return DaosResp()

    async def _disconnected(self, request: PoolMonitorReq, peer: Peer) -> DaosResp:
        try:
            self.monitor.disconnected(peer.pid, _uuid(request.poolHandleUUID))
        except InvalidError as error:
            return DaosResp(status=-error.code)
        return DaosResp()

    async def _left(self, request: PoolMonitorReq, peer: Peer) -> DaosResp:
        await self.monitor.left(peer.pid)
        return DaosResp()

    async def _look(self) -> None:
        while True:
            await self._sleep(LOOK_S)
            await self.monitor.look()

    async def _evict(self, pool: str, handles: list[str]) -> None:
        request = PoolEvictReq(id=pool, handles=handles)
        reply = await self._control.ask("PoolEvict", request, PoolEvictResp, timeout_s=_ASK_S)
        if reply.status != -DER.NONEXIST:  # the pool has gone, and its handles with it
            checked(reply, f"evicting handles of pool {pool}")


def _uuid(text: str) -> UUID:
    """Raises: InvalidError"""
    uuid = maybe_uuid(text)
    if uuid is None:
        raise InvalidError(f"{text[:40]!r} is no UUID")
    return uuid
