"""A rank in processes, `daos_engine`, called from other processes by the public interface.

    echo               a counter on a target: the module of examples/counter
    put, get           4 KiB in key-values over all targets
    write, read        1 MiB in arrays over all targets

From one client process and from four, over sm and tcp, with one target and two: the processes
share the cores of this machine, so that a row tells how it is divided as well. Then what an idle
target costs, and how long it takes from the start of the process to its first answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.report import at_most
from bench.run import Run
from daos.base.errors import DaosError
from daos.testing.engines import EngineSystem, free_ports, install

_CLIENTS: Final = (1, 4)
_TARGETS: Final = (1, 2)
_IDLE_TARGETS: Final = 4
_PSS_MIB: Final = 35
_FIRST_S: Final = 1
_COUNTER: Final = Path(__file__).parents[2] / "examples" / "counter"


class _Work(NamedTuple):
    what: str
    count: int
    depth: int  # of all clients together
    nbytes: int = 0


_WORKS: Final = (
    _Work("echo", 8192, 64),
    _Work("put", 4096, 64),
    _Work("get", 4096, 64),
    _Work("write", 128, 4, 1 << 20),
    _Work("read", 128, 4, 1 << 20),
)


def run(run: Run) -> None:
    """Budgets of the design: 35 MiB an idle target, 1 s to the first answer."""
    with tempfile.TemporaryDirectory() as directory:
        modules = Path(directory)
        install(_COUNTER, modules)
        for by_tcp in (False, True):
            for targets in _TARGETS:
                asyncio.run(_rates(run, modules, by_tcp=by_tcp, targets=targets))
                run.clear()
        asyncio.run(_idle(run, modules))


def _system(run: Run, modules: Path, *, by_tcp: bool, targets: int) -> EngineSystem:
    return EngineSystem(
        run.new_directory(),
        targets=targets,
        arguments=("-m", "mgmt,pool,cont,obj,counter"),
        ports={0: free_ports(1 + targets)} if by_tcp else None,
        variables={"PYTHONPATH": str(modules)},
    )


async def _rates(run: Run, modules: Path, *, by_tcp: bool, targets: int) -> None:
    way = "tcp" if by_tcp else "sm"
    async with _system(run, modules, by_tcp=by_tcp, targets=targets) as system:
        await system.create_pool("bench", 4 << 30)
        uri = system.engines[0].ready.result().uri
        uri = uri.rpartition(",")[2] if by_tcp else uri
        for clients in _CLIENTS:
            workers = [_Worker(f"{way}-{clients}-{number}", uri) for number in range(clients)]
            try:
                for worker in workers:
                    await worker.start()
                for work in _WORKS:
                    seconds = [
                        await _together(workers, work, run.scaled(work.count))
                        for _ in range(run.rounds)
                    ]
                    each = run.scaled(work.count) // clients * clients / min(seconds)
                    rate, unit = (each, "MiB/s") if work.nbytes else (each, "1/s")
                    name = f"{way}, {targets} targets, {clients} clients: {work.what}"
                    run.row(name, rate, unit)
            finally:
                for worker in workers:
                    await worker.end()


class _Worker:
    """A client process."""

    def __init__(self, name: str, uri: str) -> None:
        self._command = [sys.executable, "-m", "bench.engine_client", name, f"0={uri}"]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Wait until it is connected. Raises: DaosError"""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe
        )
        await self._answer()

    async def do(self, work: _Work, count: int, depth: int) -> float:
        """Seconds."""
        assert self._process is not None
        assert self._process.stdin is not None
        told = {"what": work.what, "count": count, "depth": depth}
        self._process.stdin.write(json.dumps(told).encode() + b"\n")
        return float(await self._answer())

    async def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().strip()
        if not line:
            raise DaosError("a client process has ended; what it said stands above")
        return line

    async def end(self) -> None:
        """Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            await process.communicate()


async def _together(workers: Sequence[_Worker], work: _Work, count: int) -> float:
    """Seconds for `count` operations, divided among all."""
    n, depth = count // len(workers), max(1, work.depth // len(workers))
    began = time.perf_counter()
    await asyncio.gather(*(worker.do(work, n, depth) for worker in workers))
    return time.perf_counter() - began


async def _idle(run: Run, modules: Path) -> None:
    seconds, pss = [], []
    for _ in range(run.rounds):
        began = time.perf_counter()
        async with _system(run, modules, by_tcp=False, targets=_IDLE_TARGETS) as system:
            async with system.client() as client:
                await client.pools()
            seconds.append(time.perf_counter() - began)
            pss.append(sum(map(_pss_mib, system.engines[0].children())) / _IDLE_TARGETS)
    run.row("from its start to the first answer", min(seconds), "s", budget=at_most(_FIRST_S))
    run.row("memory of an idle target", min(pss), "MiB", budget=at_most(_PSS_MIB))


def _pss_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return (
        next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024
    )
