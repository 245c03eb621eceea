"""One rank with all its xstreams in one event loop, put together from what it is given.

    System.start --> mgmt rdb --> system xstream (tag 0): mgmt, pool, container services
                 \\-> target 0..n-1 (tags 1..n): storage, object handlers
    connect()    --> a client with a CaRT context of its own

Devices, clock, randomness and the loop come from outside: `local.py` brings real ones, tests bring
theirs. Nothing below knows the difference. The parts talk by RPC over the `inproc` transport, as
they would over any other.

Devices in the directory: `mgmt`, and for every pool `pool-<uuid>-rdb` and `pool-<uuid>-<target>`.

A bug that shows in a request of a target stops that target, and no other (engine/target.py).

Crash table:
    while `mgmt` is made     it is alone in the directory: made again at the next start
    any other time           each shard recovers by itself, management finishes half-done work

Source: DAOS src/engine/init.c, src/mgmt/srv.c; ours: everything in one loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec

from daos.base.clock import Clock, Rng, uuid_from
from daos.base.errors import CorruptError, InvalidError, NotSupportedError, ShutdownError
from daos.base.hlc import Hlc
from daos.base.ids import SYSTEM_TAG, PoolUuid, Rank, Tag, TargetIndex, tag_of
from daos.bio.device import DeviceDirectory
from daos.bio.meta import MetaConfig, MetaContext
from daos.cart.context import Context, Endpoint
from daos.cart.transport.inproc import InprocNetwork
from daos.client.admin import Admin
from daos.client.client import Client
from daos.container.server import ContainerModule
from daos.engine.module import TargetModule
from daos.engine.storage import Storage
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.mgmt.server import ManagementModule
from daos.object.server import ObjectModule
from daos.pool.records import parse_record
from daos.pool.server import PoolModule
from daos.rdb.interface import Put, absent
from daos.rdb.local import LocalRdb

log = logging.getLogger(__name__)

FORMAT: Final = 1
TARGETS_DEFAULT: Final = 4
TARGETS_MAX: Final = 64
MGMT_BYTES: Final = 32 << 20
RANK: Final = Rank(0)

_MGMT: Final = "mgmt"
_SYSTEM_KEY: Final = b"system"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemConfig:
    """Immutable; built by whoever starts the system."""

    # Number of targets of a new system; None: TARGETS_DEFAULT. An existing one keeps its number.
    targets: int | None = None
    # Name of the fault domain that all targets share.
    host: str = "localhost"
    # Whose pools are created here, as user@ and group@.
    owner: str = "nobody@"
    group: str = "nobody@"
    # Seconds a call may take unless it says otherwise.
    timeout: float = 60.0
    meta: MetaConfig = field(default_factory=MetaConfig)

    def __post_init__(self) -> None:
        if self.targets is not None and not 0 < self.targets <= TARGETS_MAX:
            raise InvalidError(f"targets must be 1 to {TARGETS_MAX}, not {self.targets}")


class SystemRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a system is for life; key `system` of the management rdb."""

    format: int
    targets: int


class System:
    """Made by `start`; `stop` it. All methods belong to the loop it was started in."""

    def __init__(
        self,
        config: SystemConfig,
        *,
        directory: DeviceDirectory,
        live_path: Path,
        clock: Clock,
        rng: Rng,
    ) -> None:
        self._config = config
        self._directory = directory
        self._live_path = live_path
        self._clock = clock
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._hlc = Hlc(clock)
        self.network = InprocNetwork(self._loop)
        self._storage = self._new_storage()
        self._contexts: list[Context] = []  # of the xstreams
        self._context = self._new_context(Endpoint(RANK, SYSTEM_TAG))
        self._targets: list[Target] = []
        self._pools: PoolModule | None = None
        self._admin: Admin | None = None
        # Everybody who may still have calls on the way: a stopped system answers nobody.
        self._clients: list[Admin | Client] = []
        self._stopping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        config: SystemConfig,
        *,
        directory: DeviceDirectory,
        live_path: Path,
        clock: Clock,
        rng: Rng,
    ) -> Self:
        """Open the system in `directory`, or make one where there is none.

        Raises: CorruptError, NotSupportedError (made by a newer version), NoSpaceError,
                InvalidError (another number of targets than the system has)
        """
        system = cls(config, directory=directory, live_path=live_path, clock=clock, rng=rng)
        try:
            await system._start()
        except BaseException:
            await system.stop(checkpoint=False)
            raise
        return system

    @property
    def admin(self) -> Admin:
        """The administrator's calls: making and removing pools."""
        self._check_running()
        if self._admin is None or self._admin.closed:
            self._admin = Admin(
                self._make_context(),
                clock=self._clock,
                rng=self._rng,
                timeout=self._config.timeout,
                owner=self._config.owner,
                group=self._config.group,
                service=Endpoint(RANK, SYSTEM_TAG),
            )
            self._clients.append(self._admin)
        return self._admin

    async def connect(self) -> Client:
        """A new client of this system."""
        self._check_running()
        client = Client(
            self._make_context(),
            clock=self._clock,
            rng=self._rng,
            timeout=self._config.timeout,
            service=Endpoint(RANK, SYSTEM_TAG),
        )
        self._clients = [each for each in self._clients if not each.closed]
        self._clients.append(client)
        return client

    async def stop(self, *, checkpoint: bool = True) -> None:
        """End every call, write the checkpoints, close every device. Idempotent.

        Calls in flight hear CanceledError. Without `checkpoint` the next start replays the logs.
        Everything is closed, whatever goes wrong on the way.

        Raises: NvmeIoError, NoSpaceError  a shard took no checkpoint; nothing acknowledged is lost
        """
        if self._stopping is None:
            self._stopping = self._loop.create_task(self._stop(checkpoint=checkpoint))
        elif self._stopping.done():
            return
        await asyncio.shield(self._stopping)  # a cancelled caller leaves nothing half closed

    async def _stop(self, *, checkpoint: bool) -> None:
        async with AsyncExitStack() as stack:  # from the last to the first
            stack.push_async_callback(self._directory.close)
            stack.push_async_callback(self._storage.close_all, checkpoint=checkpoint)
            if self._pools is not None:
                stack.callback(self._pools.close)
            for target in self._targets:
                stack.push_async_callback(target.close, checkpoint=checkpoint)
            # Together, clients first: they hear CanceledError before a connection can break.
            contexts = [*(client.context for client in self._clients), *self._contexts]
            await asyncio.gather(*(context.close() for context in contexts))

    async def _start(self) -> None:
        rdb = LocalRdb(await self._open_mgmt(), self._clock)
        count = await self._target_count(rdb)
        xstream = self._new_xstream(SYSTEM_TAG, self._context)
        pools = self._pools = PoolModule(xstream, self._storage)
        containers = ContainerModule(xstream, pools)
        pools.attach(containers)

        async def open_services(pool: PoolUuid) -> None:
            # The clients of an embedded system died with its process.
            await pools.open(pool, evict=True)
            await containers.open(pool, evict=True)

        members = [(self._config.host, [(RANK, count)])]
        mgmt = ManagementModule(xstream, rdb, members=members, open_services=open_services)
        pools.setup_system()
        containers.setup_system()
        mgmt.setup_system()
        modules: list[TargetModule] = [mgmt, pools, containers, ObjectModule()]
        for index in map(TargetIndex, range(count)):
            self._add_target(index, modules)
        self._context.listen()
        await mgmt.start()

    def _add_target(self, index: TargetIndex, modules: list[TargetModule]) -> None:
        tag = tag_of(index)
        context = self._new_context(Endpoint(RANK, tag), on_bug=lambda bug: target.fail(bug))
        target = Target(index, self._new_xstream(tag, context), self._new_storage())
        self._targets.append(target)
        for module in modules:
            module.setup_target(target)
        context.listen()

    async def _open_mgmt(self) -> MetaContext:
        if not self._storage.exists(_MGMT):
            if self._directory.names():
                raise CorruptError(
                    "the directory holds pools but no management store",
                    offset=0,
                    want=_MGMT,
                    got=", ".join(self._directory.names()[:3]),
                )
            return await self._make_mgmt()
        try:
            return await self._storage.open(_MGMT)
        except CorruptError as error:
            if self._directory.names() != [_MGMT]:
                raise
            # A power cut while it was made. Where there is no pool there is nothing to lose.
            log.warning("management store is made again, there is no pool: %s", error)
            await self._storage.destroy(_MGMT)
            return await self._make_mgmt()

    async def _make_mgmt(self) -> MetaContext:
        uuid = uuid_from(self._rng)
        return await self._storage.create(_MGMT, uuid=uuid, size_bytes=MGMT_BYTES)

    async def _target_count(self, rdb: LocalRdb) -> int:
        """As recorded; a new system records what it was asked for."""
        asked = self._config.targets
        record = SystemRecord(FORMAT, asked or TARGETS_DEFAULT)
        await rdb.txn([absent(_SYSTEM_KEY)], [Put(_SYSTEM_KEY, msgspec.msgpack.encode(record))])
        value = (await rdb.range(_SYSTEM_KEY)).pairs[0].value
        record = parse_record(SystemRecord, value, "system")
        if record.format != FORMAT:
            raise NotSupportedError(
                f"the system has format {record.format}; this version reads {FORMAT}"
            )
        if asked is not None and asked != record.targets:
            raise InvalidError(
                f"the system has {record.targets} targets for life, {asked} were asked for"
            )
        return record.targets

    def _new_storage(self) -> Storage:
        return Storage(self._directory, live_path=self._live_path, config=self._config.meta)

    def _new_context(
        self, endpoint: Endpoint, on_bug: Callable[[Exception], None] | None = None
    ) -> Context:
        context = self._make_context(endpoint, on_bug)
        self._contexts.append(context)
        return context

    def _make_context(
        self,
        endpoint: Endpoint | None = None,
        on_bug: Callable[[Exception], None] | None = None,
    ) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=self._clock,
            hlc=self._hlc,
            rng=self._rng,
            loop=self._loop,
            on_bug=on_bug,
        )

    def _check_running(self) -> None:
        if self._stopping is not None:
            raise ShutdownError("the system has been stopped")

    def _new_xstream(self, tag: Tag, context: Context) -> Xstream:
        return Xstream(
            rank=RANK,
            tag=tag,
            context=context,
            clock=self._clock,
            hlc=self._hlc,
            rng=self._rng,
            loop=self._loop,
        )
