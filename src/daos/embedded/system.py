"""A system of one rank in one event loop, and its clients.

    System.start --> Engine of rank 0 --> system xstream (tag 0): mgmt, pool, container services
                                     \\-> target 0..n-1 (tags 1..n): storage, object handlers
    connect()    --> a client with a CaRT context of its own

Devices, clock, randomness, the transport and the loop come from outside: `local.py` brings real
ones, tests bring theirs. Nothing below knows the difference. The parts talk by RPC, over the
`inproc` transport unless another is given.

Devices in the directory: `mgmt`, and for every pool `pool-<uuid>-rdb` and `pool-<uuid>-<target>`.

Source: DAOS src/engine/init.c, src/mgmt/srv.c; ours: everything in one loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from daos.base.clock import Clock, Rng
from daos.base.errors import InvalidError, ShutdownError
from daos.bio.device import DeviceDirectory
from daos.bio.meta import MetaConfig
from daos.cart.transport import Transport
from daos.cart.transport.inproc import InprocNetwork
from daos.client.admin import Admin
from daos.client.client import Client
from daos.client.session import RANGES_MAX
from daos.embedded.modules import own_modules
from daos.engine.core import AggregationConfig
from daos.engine.rank import SERVICE_RANK, Engine, Member
from daos.mgmt.module import SERVICE, ManagementModule

TARGETS_DEFAULT: Final = 4
TARGETS_MAX: Final = 64


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
    # Short ranges that one call of an array may have; 0: any number.
    ranges_max: int = RANGES_MAX
    meta: MetaConfig = field(default_factory=MetaConfig)
    aggregation: AggregationConfig = field(default_factory=AggregationConfig)

    def __post_init__(self) -> None:
        if self.targets is not None and self.targets not in range(1, TARGETS_MAX + 1):
            raise InvalidError(f"targets must be 1 to {TARGETS_MAX}, not {self.targets!r}")
        if not self.timeout > 0:
            raise InvalidError(f"timeout must be a positive number of seconds, not {self.timeout}")


class System:
    """Made by `start`; `stop` it. All methods belong to the loop it was started in."""

    def __init__(self, config: SystemConfig, engine: Engine) -> None:
        self.engine = engine
        self._config = config
        self._admin: Admin | None = None
        # Everybody who may still have calls on the way: a stopped system answers nobody.
        self._clients: list[Admin | Client] = []

    @classmethod
    async def start(
        cls,
        config: SystemConfig,
        *,
        directory: DeviceDirectory,
        live_path: Path,
        clock: Clock,
        rng: Rng,
        network: Transport | None = None,
        evict: bool = True,
    ) -> Self:
        """Open the system in `directory`, or make one where there is none.

        Without a `network` nobody outside of this loop reaches it. `evict`: the clients of the last
        run are gone, as those of an embedded system are, so their handles are forgotten.

        Raises: CorruptError, NotSupportedError (made by a newer version), NoSpaceError,
                InvalidError (another number of targets than the system has)
        """
        engine = Engine(
            SERVICE_RANK,
            own_modules(),
            network=network or InprocNetwork(asyncio.get_running_loop()),
            directory=directory,
            live_path=live_path,
            meta=config.meta,
            aggregation=config.aggregation,
            clock=clock,
            rng=rng,
        )
        system = cls(config, engine)
        try:
            await system._start(evict=evict)
        except BaseException:
            await system.stop(checkpoint=False)
            raise
        return system

    async def _start(self, *, evict: bool) -> None:
        engine, config = self.engine, self._config
        mgmt = engine.modules.find(ManagementModule)
        count = await mgmt.target_count(engine, config.targets, TARGETS_DEFAULT)
        engine.add_targets(count)
        await engine.set_up((Member(config.host, SERVICE_RANK, count),), evict=evict)

    @property
    def network(self) -> Transport:
        """What its endpoints listen on."""
        return self.engine.network

    @property
    def admin(self) -> Admin:
        """The administrator's calls: making and removing pools."""
        self._check_running()
        if self._admin is None or self._admin.closed:
            self._admin = Admin(
                self.engine.client_context(),
                clock=self.engine.clock,
                rng=self.engine.rng,
                timeout=self._config.timeout,
                owner=self._config.owner,
                group=self._config.group,
                service=SERVICE,
            )
            self._clients.append(self._admin)
        return self._admin

    async def connect(self) -> Client:
        """A new client of this system."""
        self._check_running()
        client = Client(
            self.engine.client_context(),
            clock=self.engine.clock,
            rng=self.engine.rng,
            timeout=self._config.timeout,
            ranges_max=self._config.ranges_max,
            service=SERVICE,
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
        contexts = [client.context for client in self._clients]
        await self.engine.stop(checkpoint=checkpoint, clients=contexts)

    def _check_running(self) -> None:
        if self.engine.stopped:
            raise ShutdownError("the system has been stopped")
