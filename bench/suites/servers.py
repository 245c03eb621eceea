"""A real system: `daos_server`, its engine, a process each target, clients in processes of theirs.

Two systems, of one and of two targets, reached by Unix sockets (sm) and by TCP of the same host:

    one CPU      all processes on one: what an operation costs, wake-ups between CPUs left out
    all CPUs     1 and 4 clients, 1 and 2 targets: what is gained by more processes

Beside each rate stand a bare limit (an echo between two processes; a write and a flush; an O_DIRECT
loop; for cached fetches the floor script), the same of an embedded system, which has client and
target in one loop, and with two targets the rate with one. Bare echo, floor and embedded are taken
on as many CPUs. A client has 16 operations of 4 KiB in flight, or one of 1 MiB.

Then memory, and how long it takes to start: the engine, the system, the command lines.
"""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final, NamedTuple

from bench.client import POOL, TRANSPORTS, WORKS, opened_load
from bench.floor import FETCH, UPDATE, open_floor
from bench.limits import DeviceLimits, KiB, MiB, echoes
from bench.machine import collector_as_served, loop_factory, pss_bytes
from bench.public import open_container
from bench.report import Budget, at_most
from bench.run import Run
from bench.serving import ServedSystem, open_served
from bench.suites.rpc import echo_rate
from daos.testing.engines import EngineSystem
from daos.testing.own_system import OwnSystem

_CLIENTS: Final = (1, 4)
_TARGETS: Final = (1, 2)
_SECONDS: Final = 0.15
_BLOCKS: Final = 48
_ECHOES: Final = 4000
_IDLE_TARGETS: Final = 4
_STARTS: Final = 2
_PSS_MIB: Final = 35
_FIRST_RPC_S: Final = 1
_READY_S: Final = 2
_COMMAND: Final = Budget(sign="≤", bound=8)
_TRIES: Final = 7
_BARE: Final = "python -c pass"
_COMMANDS: Final = {
    "daos version": ("daos.cli.daos", "version"),
    "dmg version": ("daos.cli.dmg", "version"),
    "dmg pool --help": ("daos.cli.dmg", "pool", "--help"),
    "daos container --help": ("daos.cli.daos", "container", "--help"),
    "daos_server version": ("daos.cli.server", "version"),
    "daos_agent version": ("daos.cli.agent", "version"),
}


class _Cell(NamedTuple):
    """One measured case."""

    work: str
    cpus: int
    transport: str
    clients: int
    targets: int


def run(run: Run) -> None:
    """Budgets of the design: 1 s to the first RPC, 35 MiB an idle target, commands 8 × `pass`."""
    rates: dict[_Cell, float] = {}
    limits = _Limits(run)
    with ExitStack() as stack:
        served = {n: stack.enter_context(_served(run, n)) for n in _TARGETS}
        for _ in range(run.rounds):
            for cell in _cells(limits.cpus):
                rate = _rate(served[cell.targets], cell, limits)
                rates[cell] = max(rates.get(cell, 0.0), rate)
            limits.take()
    for cell, rate in rates.items():
        _report(run, cell, rate, rates, limits)
    run.clear()
    _report_idle_and_start(run)
    _report_commands(run)


def _served(run: Run, targets: int) -> AbstractContextManager[ServedSystem]:
    place = run.new_directory()
    return open_served(
        place, targets=targets, clients=max(_CLIENTS), blocks=_blocks(run), loop=run.loop
    )


def _blocks(run: Run) -> int:
    """1 MiB writes of a client in one case: the store overwrites nothing."""
    return _BLOCKS // 8 if run.quick else _BLOCKS


def _cells(cpus: int) -> Iterator[_Cell]:
    for work in WORKS:
        for transport in TRANSPORTS:
            yield _Cell(work, 1, transport, 1, 1)
            for clients in _CLIENTS:
                for targets in _TARGETS:
                    yield _Cell(work, cpus, transport, clients, targets)


def _rate(served: ServedSystem, cell: _Cell, limits: _Limits) -> float:
    with limits.on(cell.cpus) as cpus:
        return served.rate(
            cell.work, cell.transport, cell.clients, seconds=limits.seconds, cpus=cpus
        )


class _Limits:
    """What stands beside the rates; the best of the rounds."""

    def __init__(self, run: Run) -> None:
        self.seconds = _SECONDS / 8 if run.quick else _SECONDS
        self._run = run
        self._all = os.sched_getaffinity(0)
        self.cpus = len(self._all)
        self._best: dict[tuple[str, int], float] = {}
        self._device = DeviceLimits(run.new_directory() / "limits", 1)

    @contextmanager
    def on(self, cpus: int) -> Iterator[Collection[int]]:
        """This process, and what it starts meanwhile, on so many CPUs."""
        chosen = self._all if cpus == self.cpus else {max(self._all)}
        os.sched_setaffinity(0, chosen)
        try:
            yield chosen
        finally:
            os.sched_setaffinity(0, self._all)

    def take(self) -> None:
        """One round."""
        self._take_device()
        for cpus in {1, self.cpus}:
            with (
                self.on(cpus),
                collector_as_served(),
                asyncio.Runner(loop_factory=loop_factory(self._run.loop)) as runner,
            ):
                runner.run(self._take(cpus))

    def beside(self, cell: _Cell) -> list[tuple[float, str]]:
        """The bare limit, and the embedded system."""
        embedded = self._best[f"embedded {cell.work}", cell.cpus]
        return [self._bare(cell), (embedded, "embedded")]

    def _bare(self, cell: _Cell) -> tuple[float, str]:
        work = WORKS[cell.work]
        if not work.nbytes:
            return self._best[f"{cell.transport} {cell.work}", cell.cpus], "bare echo"
        if cell.work == "fetch":
            return self._best["floor", cell.cpus], "floor"
        in_flight = work.depth * cell.clients
        name = "O_DIRECT loop"
        if cell.work == "update":
            name = f"{in_flight} in (write {in_flight * work.nbytes // KiB} KiB + flush)"
        return self._best[f"device {cell.work}", in_flight], name

    def _take_device(self) -> None:
        for clients in _CLIENTS:
            for name in ("update", "write", "read"):
                work, device = WORKS[name], self._device
                in_flight = work.depth * clients
                if name == "update":
                    rate = in_flight / device.write_flush_s(in_flight * work.nbytes)
                else:
                    rate = device.stream(write=name == "write", depth=in_flight)
                self._keep(f"device {name}", in_flight, rate)

    def _keep(self, what: str, number: int, rate: float) -> None:
        """`number`: of CPUs, or of requests to the disk at once."""
        self._best[what, number] = max(self._best.get((what, number), 0.0), rate)

    async def _take(self, cpus: int) -> None:
        count = self._run.scaled(_ECHOES)
        for name in ("ping", "echo"):
            depth = WORKS[name].depth
            for transport in TRANSPORTS:
                tcp = transport == "tcp"
                rate = await echoes(depth, count, tcp=tcp, apart=self._run.loop)
                self._keep(f"{transport} {name}", cpus, rate)
            self._keep(f"embedded {name}", cpus, await echo_rate("inproc", depth, count))
        value, depth = bytes(WORKS["fetch"].nbytes), WORKS["fetch"].depth
        async with open_floor(self._run.new_directory(), self._run.loop) as floor:
            await floor.run(UPDATE, count, depth, value)
            self._keep("floor", cpus, await floor.run(FETCH, count, depth, value))
        place = self._run.new_directory()
        async with (
            open_container(place, targets=1) as container,
            opened_load(container, _blocks(self._run)) as load,
        ):
            for name, work in WORKS.items():
                if work.nbytes:
                    self._keep(f"embedded {name}", cpus, await load.rate(name, self.seconds))


def _report(run: Run, cell: _Cell, rate: float, rates: dict[_Cell, float], limits: _Limits) -> None:
    work = WORKS[cell.work]
    where = "one CPU" if cell.cpus == 1 else f"{cell.cpus} CPUs"
    who = f"{cell.clients} {'client' if cell.clients == 1 else 'clients'}"
    to = f"{cell.targets} {'target' if cell.targets == 1 else 'targets'}"
    bare, *beside = limits.beside(cell)
    if cell.targets > 1:
        beside.append((rates[cell._replace(targets=1)], "1 target"))
    run.row(
        f"{work.what}, {work.depth} in flight, {cell.transport}, {where}, {who}, {to}",
        rate,
        "MiB/s" if work.nbytes == MiB else "1/s",
        limit=bare,
        beside=beside,
    )


class _Start(NamedTuple):
    new_s: float
    again_s: float
    pss: dict[str, list[int]]  # by program, the engine's own process first


def _report_idle_and_start(run: Run) -> None:
    first = min(_first_rpc_s(run) for _ in range(run.rounds))
    name = f"daos_engine -t {_IDLE_TARGETS}: from its start to the first RPC answered"
    run.row(name, first, "s", budget=at_most(_FIRST_RPC_S))
    starts = [_start(run) for _ in range(min(run.rounds, _STARTS))]
    seconds = min(each.new_s for each in starts)
    run.row("daos_server start, new system, until ready", seconds, "s", budget=at_most(_READY_S))
    seconds = min(each.again_s for each in starts)
    run.row("daos_server start, with a pool, until ready", seconds, "s", budget=at_most(_READY_S))
    pss = min((each.pss for each in starts), key=lambda each: sum(each["engine"]))
    _, *targets = pss["engine"]
    mean = sum(targets) / len(targets) / MiB
    run.row("memory (PSS), idle target with a pool", mean, "MiB", budget=at_most(_PSS_MIB))
    whole = sum(pss["engine"]) / MiB
    run.row(f"memory (PSS), engine of {_IDLE_TARGETS} idle targets", whole, "MiB")
    for program in ("server", "agent"):
        run.row(f"memory (PSS), daos_{program}, idle", sum(pss[program]) / MiB, "MiB")


def _first_rpc_s(run: Run) -> float:
    async def main() -> float:
        began = time.perf_counter()
        async with (
            EngineSystem(run.new_directory(), targets=_IDLE_TARGETS) as system,
            system.client() as client,
        ):
            await client.pools()
            return time.perf_counter() - began

    return asyncio.run(main())


def _start(run: Run) -> _Start:
    storage = ("-s", str(run.new_directory() / "storage"))
    with OwnSystem(os.environ) as system:
        began = time.perf_counter()
        system.start(*storage)
        new_s = time.perf_counter() - began
        system.run("dmg", "pool", "create", POOL, "-z", "1GiB")
        system.stop()
        began = time.perf_counter()
        system.start(*storage)
        again_s = time.perf_counter() - began
        pss = {
            program: [pss_bytes(pid) for pid in sorted(system.pids(f"daos.cli.{program}"))]
            for program in ("engine", "server", "agent")
        }
        system.stop()
    run.clear()
    return _Start(new_s, again_s, pss)


def _report_commands(run: Run) -> None:
    commands = {_BARE: ("-c", "pass"), **{name: ("-m", *each) for name, each in _COMMANDS.items()}}
    best: dict[str, float] = {}
    for _ in range(_TRIES):
        for name, arguments in commands.items():
            best[name] = min(best.get(name, math.inf), 1e3 * _command_s(arguments))
    for name in _COMMANDS:
        run.row(name, best[name], "ms", limit=(best[_BARE], _BARE), budget=_COMMAND)


def _command_s(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began
