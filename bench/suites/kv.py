"""KeyValue puts and gets of 100 B through both public faces.

    daos.aio   1, 16 and 64 tasks; put_many and get_many of 64 keys
    daos       the synchronous face, one thread and eight; an operation hops to the loop's thread
               and back, so it is not pinned to one CPU

Limit: the object client by call-back over one target, the same values, measured beside it. The
store here has four targets, and keys go to all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import daos
from bench.load import run_awaited
from bench.public import open_container
from bench.run import Run

_VALUE: Final = bytes(100)
_DEPTHS: Final = (1, 16, 64)
_MANY: Final = 64
_THREADS: Final = 8


def run(run: Run) -> None:
    """Nothing here has a budget; `objects` judges the path below."""
    count = run.scaled(4096)
    best: dict[str, float] = {}
    for _ in range(run.rounds):
        found = run.in_loop(_async_rates, run.new_directory(), count)
        found.update(_sync_rates(run.new_directory(), count // 4))
        for what, rate in found.items():
            best[what] = max(best.get(what, 0), rate)
        run.clear()
    for what, rate in best.items():
        run.row(what, rate, "1/s")


async def _async_rates(path: Path, count: int) -> dict[str, float]:
    rates: dict[str, float] = {}
    async with open_container(path, size="1GiB") as container, container.kv() as kv:
        for depth in _DEPTHS:
            n = max(64, count // 8) if depth == 1 else count

            async def put(index: int, depth: int = depth) -> None:
                await kv.put(b"%02d-%08d" % (depth, index), _VALUE)

            async def get(index: int, depth: int = depth) -> None:
                assert await kv.get(b"%02d-%08d" % (depth, index)) is not None

            rates[f"daos.aio put, {depth} in flight"] = n / await run_awaited(n, depth, put)
            rates[f"daos.aio get, {depth} in flight"] = n / await run_awaited(n, depth, get)

        batches = count // _MANY

        async def put_many(batch: int) -> None:
            await kv.put_many([(b"m%08d" % (batch * _MANY + i), _VALUE) for i in range(_MANY)])

        async def get_many(batch: int) -> None:
            await kv.get_many([b"m%08d" % (batch * _MANY + i) for i in range(_MANY)])

        keys = batches * _MANY
        rates[f"daos.aio put_many of {_MANY}"] = keys / await run_awaited(batches, 1, put_many)
        rates[f"daos.aio get_many of {_MANY}"] = keys / await run_awaited(batches, 1, get_many)
    return rates


def _sync_rates(path: Path, count: int) -> dict[str, float]:
    rates: dict[str, float] = {}
    with daos.local(path) as system:
        system.admin.pool_create("bench", size="1GiB")
        with (
            system.connect() as client,
            client.pool("bench") as pool,
            pool.create_container("bench") as container,
            container.kv() as kv,
        ):
            for threads in (1, _THREADS):
                each = count // threads

                def put(thread: int, each: int = each) -> None:
                    for index in range(each):
                        kv[b"%d-%08d" % (thread, index)] = _VALUE

                def get(thread: int, each: int = each) -> None:
                    for index in range(each):
                        assert kv[b"%d-%08d" % (thread, index)]

                for name, work in (("put", put), ("get", get)):
                    seconds = _in_threads(threads, work)
                    rates[f"daos {name}, {threads} threads"] = each * threads / seconds
    return rates


def _in_threads(count: int, work: Callable[[int], None]) -> float:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began
