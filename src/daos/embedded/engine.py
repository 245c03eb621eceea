"""One rank: its system xstream and its targets, in one event loop, over whatever it is given.

    Engine --> system xstream, Endpoint(rank, 0): for the services, where this rank has them
           \\-> target 0 … n-1, Endpoint(rank, 1 … n): a Target each, with every module's handlers

A system has one or several. Which transport joins them, what their devices, clocks and randomness
are, comes from outside; `system.py` puts a system of one rank together, a server or a simulation
others.

    Engine(…) --add_targets--> targets listen --start_joining--> they know their shards and handles

A bug that shows in a request of a target stops that target, and no other (engine/target.py).

Source: DAOS src/engine/init.c; ours: everything of a rank in one loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from daos.base.clock import Clock, Rng
from daos.base.errors import DaosError
from daos.base.hlc import Hlc
from daos.base.ids import SYSTEM_TAG, Rank, Tag, TargetIndex, tag_of
from daos.bio.device import DeviceDirectory
from daos.bio.meta import MetaConfig
from daos.cart.context import Context, Endpoint
from daos.cart.transport import Transport
from daos.container.server import ContainerModule
from daos.engine.core import AggregationConfig
from daos.engine.module import TargetModule
from daos.engine.storage import Storage
from daos.engine.target import Target
from daos.engine.xstream import Xstream
from daos.mgmt.server import ManagementModule
from daos.mgmt.wire import RANK_JOIN, RankJoinRequest
from daos.object.server import ObjectModule
from daos.pool.server import PoolModule

log = logging.getLogger(__name__)

# A rank asks to join until it is heard: each time for so long, with pauses that double.
JOIN_NS: Final = 60 * 1_000_000_000
JOIN_PAUSE_S: Final = 0.05
JOIN_PAUSE_MAX_S: Final = 2.0


def _target_modules() -> list[TargetModule]:
    """What every target can be asked for."""
    return [ManagementModule, PoolModule, ContainerModule, ObjectModule()]


class Engine:
    """See the module. All methods belong to the loop it was made in; `stop` it."""

    def __init__(
        self,
        rank: Rank,
        *,
        network: Transport,
        directory: DeviceDirectory,
        live_path: Path,
        meta: MetaConfig,
        aggregation: AggregationConfig | None = None,
        clock: Clock,
        rng: Rng,
    ) -> None:
        """`directory` is closed by `stop`; nobody else may have its devices open."""
        self.rank: Final = rank
        self.network: Final = network
        self.directory: Final = directory
        self.clock: Final = clock
        self.rng: Final = rng
        self.loop = asyncio.get_running_loop()
        self.hlc = Hlc(clock)
        self._live_path = live_path
        self._meta = meta
        self._aggregation = aggregation
        self._contexts: list[Context] = []
        self._closers: list[Callable[[], None]] = []
        self._joining: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.storage = self._new_storage()  # of the system xstream
        self.xstream = self._new_xstream(SYSTEM_TAG, self._serving_context(SYSTEM_TAG))
        self.targets: list[Target] = []

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, or is about to be."""
        return self._stopping is not None

    def add_targets(self, count: int) -> None:
        """Make targets 0 to count - 1, and let them be reached."""
        modules = _target_modules()
        for index in map(TargetIndex, range(count)):
            self._add_target(index, modules)

    def _add_target(self, index: TargetIndex, modules: list[TargetModule]) -> None:
        tag = tag_of(index)
        context = self._serving_context(tag, on_bug=lambda bug: target.fail(bug))
        xstream = self._new_xstream(tag, context)
        target = Target(index, xstream, self._new_storage(), self._aggregation)
        self.targets.append(target)
        for module in modules:
            module.setup_target(target)
        context.listen()

    def joined(self) -> None:
        """Everything that the services know of has been told to the targets."""
        for target in self.targets:
            target.joined()

    def start_joining(self, service: Endpoint) -> None:
        """Tell the services, on another rank, that this one has started; until they answer."""
        assert self._joining is None, "an engine joins once"
        self._joining = self.loop.create_task(self._join(service))

    async def _join(self, service: Endpoint) -> None:
        pause_s = JOIN_PAUSE_S
        while True:
            deadline_ns = self.clock.now_ns() + JOIN_NS
            request = RankJoinRequest(self.rank)
            try:
                await self.xstream.context.call(
                    service, RANK_JOIN, request, deadline_ns=deadline_ns
                )
            except DaosError as error:
                log.info("rank %d has not joined yet: %s", self.rank, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, JOIN_PAUSE_MAX_S)
            else:
                self.joined()
                return

    def client_context(self) -> Context:
        """For a client in this process, which shares this rank's clocks. Its owner closes it."""
        return self._context(None, None)

    def at_close(self, close: Callable[[], None]) -> None:
        """Have `close` called when nobody can be answered any more, before storage is closed."""
        self._closers.append(close)

    async def stop(self, *, checkpoint: bool = True, clients: Iterable[Context] = ()) -> None:
        """End every call, write the checkpoints, close every device. Idempotent.

        The contexts of `clients` of this process are closed first: their calls hear CanceledError.
        Everything is closed, whatever goes wrong on the way.

        Raises: NvmeIoError, NoSpaceError  a shard took no checkpoint; nothing acknowledged is lost
        """
        if self._stopping is None:
            stop = self._stop(checkpoint=checkpoint, clients=clients)
            self._stopping = self.loop.create_task(stop)
        elif self._stopping.done():
            return
        await asyncio.shield(self._stopping)  # a cancelled caller leaves nothing half closed

    async def _stop(self, *, checkpoint: bool, clients: Iterable[Context]) -> None:
        if self._joining is not None:
            self._joining.cancel()
        async with AsyncExitStack() as stack:  # from the last to the first
            stack.push_async_callback(self.directory.close)
            stack.push_async_callback(self.storage.close_all, checkpoint=checkpoint)
            for close in self._closers:
                stack.callback(close)
            for target in self.targets:
                stack.push_async_callback(target.close, checkpoint=checkpoint)
            # Together, clients first: they hear CanceledError before a connection can break.
            contexts = [*clients, *self._contexts]
            await asyncio.gather(*(context.close() for context in contexts))

    def _new_storage(self) -> Storage:
        return Storage(self.directory, live_path=self._live_path, config=self._meta)

    def _new_xstream(self, tag: Tag, context: Context) -> Xstream:
        return Xstream(
            rank=self.rank,
            tag=tag,
            context=context,
            clock=self.clock,
            hlc=self.hlc,
            rng=self.rng,
            loop=self.loop,
        )

    def _serving_context(
        self, tag: Tag, on_bug: Callable[[Exception], None] | None = None
    ) -> Context:
        context = self._context(Endpoint(self.rank, tag), on_bug)
        self._contexts.append(context)
        return context

    def _context(
        self, endpoint: Endpoint | None, on_bug: Callable[[Exception], None] | None
    ) -> Context:
        return Context(
            self.network,
            endpoint,
            clock=self.clock,
            hlc=self.hlc,
            rng=self.rng,
            loop=self.loop,
            on_bug=on_bug,
        )
