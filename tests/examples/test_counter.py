"""The module of `examples/counter`: another distribution's, loaded by name."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value

from daos.base.clock import SystemClock
from daos.base.ids import Rank, Tag
from daos.bio.meta import MetaConfig
from daos.cart.context import Context, Endpoint
from daos.cart.transport.inproc import InprocNetwork
from daos.drpc.client import call
from daos.drpc.modules import ModuleId
from daos.engine.modules import Modules
from daos.engine.rank import Part
from daos.testing.devices import MemoryDirectory
from daos.testing.engines import EngineSystem, install
from examples.counter import daos_counter
from examples.counter.daos_counter import ADD, COUNTERS, TOTAL, Add, CounterModule

SOURCE = Path(daos_counter.__file__).parent
LINES_MAX = 80


async def add(context: Context, tag: int, name: str, by: int = 0) -> int:
    deadline_ns = SystemClock().now_ns() + 10**10
    endpoint = Endpoint(Rank(0), Tag(tag))
    return (await context.call(endpoint, ADD, Add(name, by), deadline_ns=deadline_ns)).value


def test_it_counts_in_the_processes_of_an_engine(tmp_path: Path) -> None:
    async def body() -> None:
        install(SOURCE, tmp_path)
        modules = ("-m", "mgmt,pool,cont,obj,counter")
        variables = {"PYTHONPATH": str(tmp_path)}
        async with EngineSystem(tmp_path, arguments=modules, variables=variables) as system:
            context, _ = system.context()
            assert await add(context, 1, "red", 5) == 5
            assert await add(context, 2, "red", 2) == 2
            assert await add(context, 1, "red", -1) == 4
            assert await add(context, 1, "blue", 10) == 10
            assert await add(context, 1, "") == 14
            socket = Path(system.engines[0].ready.result().drpcListenerSock)
            total = await call(socket, ModuleId.TEST, TOTAL, Empty(), Int64Value, timeout_s=10)
            assert total.value == 16
            await context.close()
            assert await system.engines[0].stop() == 0

    asyncio.run(body())


def test_its_metric(tmp_path: Path) -> None:
    """Each xstream has its own."""

    async def body() -> None:
        rank = Part(
            Rank(0),
            Modules([CounterModule()]),
            network=InprocNetwork(asyncio.get_running_loop()),
            directory=MemoryDirectory(),
            live_path=tmp_path,
            meta=MetaConfig(),
            clock=SystemClock(),
            rng=random.Random(1),
        )
        rank.add_targets(2)
        one, two = (target.xstream for target in rank.targets)
        assert await add(one.context, 2, "red", 5) == 5
        assert await add(one.context, 2, "red", 5) == 10
        for xstream, added in ((one, 0), (two, 2)):
            own = [each for each in xstream.metrics.read() if each.path.startswith("counter/")]
            assert own == [("counter/added", added)]
        assert (two.value(COUNTERS), one.value(COUNTERS)) == ({"red": 10}, {})
        await rank.stop()

    asyncio.run(body())


def test_it_is_short() -> None:
    assert len((SOURCE / "daos_counter.py").read_text().splitlines()) <= LINES_MAX
