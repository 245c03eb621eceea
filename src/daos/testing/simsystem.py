"""A simulated system behind the synchronous face: two servers in the loop of a portal's thread.

    with simulated_system() as system:      # what `daos.local` gives
        system.admin.pool_create("tank", "1GiB")
        with system.connect() as client: ...

The loop has virtual time and shuffles, as always; only its callers are real threads. Whenever
nothing is left to do, it waits for them instead of calling it a deadlock. What they ask at the same
moment comes in an order that no seed decides, so such a run can't be repeated: it shows that the
interface works over the simulated system, which the runs of `sim/` then use.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from pathlib import Path
from typing import Any

from daos.client.admin import Admin as AsyncAdmin
from daos.client.client import Client as AsyncClient
from daos.client.portal import Portal
from daos.client.sync import Admin, Client
from daos.testing.simcluster import SimCluster
from daos.testing.simloop import SimLoop
from daos.testing.simnet import SimNetwork

_STEPS_MAX = 1 << 60


class OpenSimLoop(SimLoop):
    """A simulated loop that other threads may call into."""

    def __init__(self, seed: int) -> None:
        self._outside: deque[asyncio.Handle] = deque()
        self._wake = threading.Event()
        super().__init__(seed, steps_max=_STEPS_MAX)
        self._virtual.when_idle = self._wait

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        if self.is_closed():
            raise RuntimeError("the loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._outside.append(handle)
        self._wake.set()
        return handle

    def _wait(self) -> None:
        self._wake.wait()
        self._wake.clear()

    def _run_once(self) -> None:
        while self._outside:
            self._ready.append(self._outside.popleft())
        super()._run_once()


class SimSystem:
    """What `simulated_system` gives."""

    def __init__(self, portal: Portal, cluster: SimCluster) -> None:
        self._portal = portal
        self._cluster = cluster
        self._clients = 0
        self.admin = Admin(portal.call(self._new_admin), portal)

    def connect(self) -> Client:
        """A new client."""
        return Client(self._portal.call(self._new_client), self._portal)

    async def _new_admin(self) -> AsyncAdmin:
        return self._cluster.admin("admin")

    async def _new_client(self) -> AsyncClient:
        self._clients += 1
        client, _ = self._cluster.client(f"client{self._clients}")
        return client


@contextmanager
def simulated_system(seed: int = 1) -> Iterator[SimSystem]:
    """Two simulated servers with two targets each, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="daos-sim-") as directory:
        portal = Portal(name="daos-sim", loop_factory=lambda: OpenSimLoop(seed))
        try:
            cluster = portal.call(_start, Path(directory), seed)
            try:
                yield SimSystem(portal, cluster)
            finally:
                if not portal.forked:
                    portal.call(cluster.close)
        finally:
            portal.close()


async def _start(live_path: Path, seed: int) -> SimCluster:
    rng = random.Random(seed)
    loop: Any = asyncio.get_running_loop()
    network = SimNetwork(loop, random.Random(rng.getrandbits(64)))
    cluster = SimCluster(live_path, rng, network=network, memory_bytes=64 << 20)
    await cluster.start()
    return cluster
