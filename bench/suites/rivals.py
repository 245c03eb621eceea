"""64 independent clients, each making one durable write at a time: this system and others.

    daos        `KeyValue.put` by 64 tasks, one target: embedded in this process; served by another
                process over sm and over tcp
    LMDB        64 threads, a synchronous commit for each put
    RocksDB     64 threads, `WriteOptions.sync` for each put (rocksdict, extra `bench`)
    Redis       64 connections, `appendfsync always`
    fio         64 jobs, a block and a flush each: what the disk gives who shares nothing

Nobody may gather what it writes: a client waits for its own write to be durable before the next.
Who serves them all at once may flush once for several. All of it runs on one CPU, the server's
process included. Rounds alternate, the best of each counts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

from bench.limits import KiB
from bench.load import run_awaited
from bench.machine import one_cpu
from bench.public import open_container, open_served
from bench.report import at_least
from bench.rivals import fio_rate, lmdb_rate, redis_rate, rocksdb_rate
from bench.run import Run
from daos.client.container import Container

CLIENTS: Final = 64
_SIZES: Final = (100, 4 * KiB)
_RIVALS: Final[dict[str, Callable[[Path, int, int, bytes], float | None]]] = {
    "LMDB, synchronous commits": lmdb_rate,
    "RocksDB, synchronous writes": rocksdb_rate,
    "Redis, appendfsync always": redis_rate,
}
_JUDGED: Final = ("LMDB, synchronous commits", "RocksDB, synchronous writes")
_PORT: Final = 31_417


def run(run: Run) -> None:
    """Wanted: faster than LMDB and RocksDB."""
    for size in _SIZES:
        rates = _rates(run, size)
        best = max((rates[name] for name in _JUDGED if name in rates), default=None)
        for name, rate in rates.items():
            judged = name.startswith("daos") and best is not None
            run.row(
                f"{size} B, {name}",
                rate,
                "1/s",
                limit=(best, "the better of LMDB and RocksDB") if judged and best else None,
                budget=at_least(1.0) if judged else None,
            )


def _rates(run: Run, size: int) -> dict[str, float]:
    value, count = bytes(size), run.scaled(8192)
    rates: dict[str, float] = {}
    places: dict[str, Callable[..., AbstractAsyncContextManager[Container]]] = {
        "daos, embedded": open_container,
        "daos, sm": partial(open_served, tcp=None),
        "daos, tcp": partial(open_served, tcp=f"127.0.0.1:{_PORT}"),
    }

    def keep(name: str, rate: float | None) -> None:
        if rate is None:
            run.report.machine[f"left out: {name}"] = "not installed"
        else:
            rates[name] = max(rates.get(name, 0.0), rate)

    for _ in range(run.rounds):
        for name, opened in places.items():
            keep(
                name, run.in_loop(_our_rate, opened(run.new_directory(), size="1GiB"), count, value)
            )
        for name, rate_of in _RIVALS.items():
            with one_cpu():
                keep(name, rate_of(run.new_directory(), CLIENTS, count // 4, value))
        run.clear()
    with one_cpu():
        keep(f"fio, {CLIENTS} jobs", fio_rate(run.new_directory(), CLIENTS, 4 * KiB))
    run.clear()
    return rates


async def _our_rate(
    opened: AbstractAsyncContextManager[Container], count: int, value: bytes
) -> float:
    async with opened as container, container.kv(oclass="S1") as kv:

        async def put(index: int) -> None:
            await kv.put(b"%08d" % index, value)

        await run_awaited(CLIENTS, CLIENTS, put)
        return count / await run_awaited(count, CLIENTS, put)
