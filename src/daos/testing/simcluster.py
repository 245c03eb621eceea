"""Servers and clients of one system in one simulated loop.

    SimCluster --Host "rank0"--> Engine with the services    over SimDisk, SimClock, SimNetwork
               --Host "rank1"--> Engine that joins
               --client("a")---> Client on a host of its own

A host crashes at any step: its devices are dead, its connections gone, its memory unreachable; what
runs on of it ends in the background without effect. Starting it again opens what the disk kept.

Everything random comes from one generator for each host and one for the network, all seeded.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path

from daos.base.errors import AgainError, DaosError
from daos.base.hlc import Hlc
from daos.base.ids import MapVersion, Rank
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig
from daos.cart.context import Context
from daos.client.admin import Admin
from daos.client.client import Client
from daos.embedded.modules import own_modules
from daos.engine.rank import SERVICE_RANK, Engine, Member
from daos.mgmt.module import SERVICE, ManagementModule
from daos.placement.pool_map import PoolMap
from daos.pool.module import POOL_KEY
from daos.testing.simdisk import SimDisk
from daos.testing.simloop import SimClock
from daos.testing.simnet import SimNetwork

Note = Callable[[str, str], None]


class Host:
    """A server: one rank of the system, on a disk that outlives it."""

    def __init__(self, cluster: SimCluster, rank: Rank) -> None:
        self.name = f"rank{rank}"
        self.rank = rank
        self.clock = SimClock(cluster.loop)
        self.disk = SimDisk(random.Random(cluster.rng.getrandbits(64)))
        self.boots = 0
        self.engine: Engine | None = None
        self._cluster = cluster
        self._rng = random.Random(cluster.rng.getrandbits(64))
        self._starting: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether it runs, or is on its way to."""
        return self.engine is not None

    @property
    def stopping(self) -> bool:
        """Whether it is shutting down."""
        return self.engine is not None and self.engine.stopped

    async def start(self) -> None:
        """Boot, and serve. Raises: DaosError (the host is down again), CancelledError (crashed)."""
        assert self.engine is None, "a host runs once"
        cluster = self._cluster
        self.boots += 1
        engine = self.engine = Engine(
            self.rank,
            own_modules(),
            network=cluster.network.host(self.name),
            directory=self.disk.directory(),
            live_path=cluster.live_path / self.name / str(self.boots),
            meta=cluster.meta,
            clock=self.clock,
            rng=self._rng,
        )
        cluster.note(self.name, f"starts, boot {self.boots}")
        self._starting = starting = cluster.loop.create_task(self._serve(engine))
        try:
            await starting
        except DaosError as error:
            cluster.note(self.name, f"could not start: {error}")
            if self.engine is engine:
                self.crash()
            raise
        cluster.note(self.name, "serves")

    async def joined(self) -> bool:
        """Wait until all that it stores is open; False: it went down before."""
        engine = self.engine
        if engine is None:
            return False
        joining = engine.modules.find(ManagementModule).joining
        if joining is not None:
            await asyncio.wait([joining])
        return self.engine is engine

    async def _serve(self, engine: Engine) -> None:
        cluster = self._cluster
        engine.add_targets(cluster.targets)
        await engine.set_up(cluster.members, evict=False)

    def crash(self) -> None:
        """Cut its power, now."""
        engine, self.engine = self.engine, None
        if engine is None:
            return
        cluster = self._cluster
        cluster.note(self.name, "crashes")
        cluster.network.crash(self.name)
        self.disk.power_off()
        if self._starting is not None:
            self._starting.cancel()
        cluster.bury(engine)

    async def stop(self) -> None:
        """Shut down in order."""
        engine = self.engine
        assert engine is not None
        self._cluster.note(self.name, "shuts down")
        await engine.stop()
        if self.engine is engine:
            self.engine = None
            self.disk.power_off()
            self._cluster.network.crash(self.name)


class SimCluster:
    """See the module. `close` it at the end."""

    def __init__(
        self,
        live_path: Path,
        rng: random.Random,
        *,
        network: SimNetwork,
        servers: int = 2,
        targets: int = 2,
        checkpoint_percent: int = 50,
        memory_bytes: int = 8 << 20,
        note: Note | None = None,
    ) -> None:
        """Nothing runs before `start`; `note(who, what)` hears of boots and crashes."""
        self.loop = asyncio.get_running_loop()
        self.live_path = live_path
        self.rng = rng
        self.network = network
        self.targets = targets
        self.meta = MetaConfig(
            start_copy=InlineCopy, checkpoint_percent=checkpoint_percent, memory_bytes=memory_bytes
        )
        self.note: Note = note or (lambda who, what: None)
        self.hosts = [Host(self, Rank(number)) for number in range(servers)]
        self.members = tuple(Member(host.name, host.rank, targets) for host in self.hosts)
        self._ending: dict[asyncio.Task[None], None] = {}
        self._clients: list[Client | Admin] = []
        self.bugs: list[BaseException] = []

    async def start(self) -> None:
        """All servers, the services first."""
        for host in self.hosts:
            await host.start()

    def client(self, name: str, *, timeout: float = 60.0) -> tuple[Client, SimClock]:
        """A client on a host of its own, and that host's clock."""
        context, clock, rng = self._outside(name)
        client = Client(context, clock=clock, rng=rng, service=SERVICE, timeout=timeout)
        self._clients.append(client)
        return client, clock

    def admin(self, name: str, *, timeout: float = 60.0) -> Admin:
        """An administrator on a host of his own."""
        context, clock, rng = self._outside(name)
        admin = Admin(
            context,
            clock=clock,
            rng=rng,
            service=SERVICE,
            timeout=timeout,
            owner="me@",
            group="us@",
        )
        self._clients.append(admin)
        return admin

    def _outside(self, name: str) -> tuple[Context, SimClock, random.Random]:
        clock = SimClock(self.loop)
        rng = random.Random(self.rng.getrandbits(64))
        context = Context(
            self.network.host(name), None, clock=clock, hlc=Hlc(clock), rng=rng, loop=self.loop
        )
        return context, clock, rng

    async def bump_map(self, pool: bytes, *, seconds: float = 30) -> int:
        """Give a pool a map of the next version, with the same targets; that version.

        Raises: AgainError (the services are down); what the rank says that could not be told
                within `seconds`: the map is in place all the same
        """
        engine = self.hosts[SERVICE_RANK].engine
        if engine is None:
            raise AgainError("the services are down")
        service = engine.xstream.value(POOL_KEY).service(pool)
        newer = PoolMap(MapVersion(service.pool_map.version + 1), service.pool_map.nodes)
        await service.set_map(newer, deadline_ns=engine.clock.now_ns() + int(seconds * 1e9))
        return newer.version

    def bury(self, engine: Engine) -> None:
        """Let what is left of a crashed engine come to its end."""
        task = self.loop.create_task(self._end(engine))
        self._ending[task] = None

    async def _end(self, engine: Engine) -> None:
        with contextlib.suppress(DaosError):  # its devices are dead
            await engine.stop(checkpoint=False)

    async def close(self) -> None:
        """Power everything off, and wait for the remains."""
        for host in self.hosts:
            host.crash()
        for client in self._clients:
            await client.context.close()
        for task in list(self._ending):
            await task
