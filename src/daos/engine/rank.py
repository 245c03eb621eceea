"""One rank: its system xstream and its targets, over whatever it is given.

    Engine --> system xstream, Endpoint(rank, 0): what its modules answer there
           \\-> target 0 … n-1, Endpoint(rank, 1 … n): a Target each, with what they answer there

Targets are in the loop of the system xstream, as in an embedded system and in a simulation, or in
processes of their own: `Part` is what one loop has of a rank, `Engine` the part that has its system
xstream. Which transport joins them, which modules there are, what devices, clocks and randomness
are, comes from outside.

    Engine(…) --add_targets--> targets listen --set_up--> modules have been set up --joined--> all
    that the services know of has been told to the targets

A bug that shows in a request of a target stops that target, and no other (target.py).

Source: DAOS src/engine/init.c, srv.c
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.clock import Clock, Rng
from daos.base.hlc import Hlc
from daos.base.ids import SYSTEM_TAG, Rank, Tag, TargetIndex, tag_of
from daos.bio.device import DeviceDirectory
from daos.bio.meta import MetaConfig
from daos.cart.context import Context, Endpoint
from daos.cart.transport import Transport
from daos.engine.core import AggregationConfig
from daos.engine.iv import IV_KEY
from daos.engine.metrics import Metrics
from daos.engine.modules import Modules
from daos.engine.offload import Offload
from daos.engine.sched import Scheduler
from daos.engine.sched_core import SchedConfig
from daos.engine.storage import Storage
from daos.engine.target import Target
from daos.engine.tls import Tls
from daos.engine.xstream import Xstream

log = logging.getLogger(__name__)

# Where the services of a system run.
SERVICE_RANK: Final = Rank(0)


class Member(NamedTuple):
    """A rank of a system: where it runs, and how many targets it has."""

    host: str  # name of the fault domain
    rank: Rank
    targets: int


class Part:
    """Targets of a rank in one loop. All methods belong to that loop; `stop` it."""

    def __init__(
        self,
        rank: Rank,
        modules: Modules,
        *,
        network: Transport,
        directory: DeviceDirectory,
        live_path: Path,
        meta: MetaConfig,
        aggregation: AggregationConfig | None = None,
        sched: SchedConfig | None = None,
        clock: Clock,
        rng: Rng,
        key: bytes | None = None,
        failed: Callable[[], None] | None = None,
    ) -> None:
        """`directory` is closed by `stop`; nobody else may have its devices open. `key`: of the
        system, whose engines are in several processes. `failed`: told that a target has stopped."""
        self.rank: Final = rank
        self.modules: Final = modules
        self.network: Final = network
        self.directory: Final = directory
        self.clock: Final = clock
        self.rng: Final = rng
        self._key = key
        self._failed = failed
        self.loop = asyncio.get_running_loop()
        self.hlc = Hlc(clock)
        self.targets: list[Target] = []
        self._live_path = live_path
        self._meta = meta
        self._aggregation = aggregation
        self._sched = sched
        self._contexts: list[Context] = []
        self._stopping: asyncio.Task[None] | None = None
        self._offloads: list[Offload] = []

    @property
    def stopped(self) -> bool:
        """Whether it has been stopped, or is about to be."""
        return self._stopping is not None

    def add_targets(self, count: int) -> None:
        """Make targets 0 to count - 1, and let them be reached."""
        for index in map(TargetIndex, range(count)):
            self.add_target(index)

    def add_target(self, index: TargetIndex, offload: Offload | None = None) -> Target:
        """Make a target, and let it be reached. `offload`, its helpers, are closed with it.

        Raises: as `Context.listen`
        """

        def on_bug(bug: Exception) -> None:
            target.fail(bug)
            if self._failed is not None:
                self._failed()

        if offload is not None:
            offload.on_bug = on_bug
            self._offloads.append(offload)
        xstream = self._new_xstream(tag_of(index), on_bug, offload)
        target = Target(index, xstream, self._aggregation)
        self.targets.append(target)
        self.modules.serve_target(target)
        xstream.context.listen()
        return target

    def joined(self) -> None:
        """Everything that the services know of has been told to the targets."""
        for target in self.targets:
            target.joined()

    async def drain(self, within_s: float) -> None:
        """Take no more requests; return when those that were taken are answered, or it is late."""
        for target in self.targets:
            target.xstream.sched.drain()
        await asyncio.gather(*(context.drain(within_s) for context in self._contexts))

    async def leave(self) -> None:
        """Let answers that were given leave, and nothing else: the process is about to end."""
        await asyncio.gather(*(context.close() for context in self._contexts))

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
        async with AsyncExitStack() as stack:  # from the last to the first
            stack.push_async_callback(self.directory.close)
            self._push_stops(stack, checkpoint=checkpoint)
            # Together, clients first: they hear CanceledError before a connection can break.
            contexts = [*clients, *self._contexts]
            await asyncio.gather(*(context.close() for context in contexts))

    def _push_stops(self, stack: AsyncExitStack, *, checkpoint: bool) -> None:
        """What is done when nobody can be answered any more, the last thing first."""
        for target in self.targets:
            stack.callback(target.xstream.sched.stop)
            stack.push_async_callback(target.close, checkpoint=checkpoint)
            stack.callback(target.xstream.tls.close)
        for offload in self._offloads:
            stack.push_async_callback(offload.close)

    def _new_xstream(
        self,
        tag: Tag,
        on_bug: Callable[[Exception], None] | None = None,
        offload: Offload | None = None,
    ) -> Xstream:
        context = self._new_context(Endpoint(self.rank, tag), on_bug)
        self._contexts.append(context)
        metrics = Metrics()
        sched = Scheduler(self.loop, self.clock, config=self._sched, metrics=metrics, on_bug=on_bug)
        storage = Storage(self.directory, live_path=self._live_path, config=self._meta, sched=sched)
        return Xstream(
            rank=self.rank,
            tag=tag,
            context=context,
            storage=storage,
            clock=self.clock,
            hlc=self.hlc,
            rng=self.rng,
            loop=self.loop,
            sched=sched,
            offload=offload,
            tls=Tls([IV_KEY, *self.modules.keys]),
            metrics=metrics,
        )

    def _new_context(
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
            key=self._key,
        )


class Engine(Part):
    """A rank, or of one whose targets are elsewhere what is not a target."""

    def __init__(
        self,
        rank: Rank,
        modules: Modules,
        *,
        network: Transport,
        directory: DeviceDirectory,
        live_path: Path,
        meta: MetaConfig,
        aggregation: AggregationConfig | None = None,
        sched: SchedConfig | None = None,
        clock: Clock,
        rng: Rng,
        key: bytes | None = None,
        tell_joined: Callable[[], None] | None = None,
    ) -> None:
        """`tell_joined`: told when `joined` is; for who has targets elsewhere."""
        super().__init__(
            rank,
            modules,
            network=network,
            directory=directory,
            live_path=live_path,
            meta=meta,
            aggregation=aggregation,
            sched=sched,
            clock=clock,
            rng=rng,
            key=key,
        )
        self.xstream = self._new_xstream(SYSTEM_TAG)
        self.members: Sequence[Member] = ()
        self.evict = False
        self._tell_joined = tell_joined

    async def set_up(self, members: Sequence[Member], *, evict: bool) -> None:
        """Have the modules open what there is, and serve. All targets must listen.

        `members` are all ranks of the system; those that can't be reached join later. `evict`: no
        client of the last run is alive, so their handles are forgotten.

        Raises: as `Context.listen`; InvalidError (other members than the system has), CorruptError
        """
        self.members, self.evict = members, evict
        self.xstream.value(IV_KEY).serve(SERVICE_RANK)
        self.modules.serve_system(self.xstream)
        self.xstream.context.listen()
        await self.modules.setup(self)

    def joined(self) -> None:
        super().joined()
        self.xstream.value(IV_KEY).joined()
        if self._tell_joined is not None:
            self._tell_joined()

    def client_context(self) -> Context:
        """For a client in this process, which shares this rank's clocks. Its owner closes it."""
        return self._new_context(None, None)

    def _push_stops(self, stack: AsyncExitStack, *, checkpoint: bool) -> None:
        stack.callback(self.xstream.sched.stop)
        stack.push_async_callback(self.xstream.storage.close_all, checkpoint=checkpoint)
        stack.callback(self.xstream.tls.close)
        stack.push_async_callback(self.modules.cleanup, self)
        super()._push_stops(stack, checkpoint=checkpoint)
