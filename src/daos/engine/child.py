"""The process of one target: forked from its rank's, ended with it.

    fork --> bound, tied (PR_SET_PDEATHSIG) --> Ready --Begin--> listens --Stop--> checkpoints, exit
                     the parent has gone: exit, at once, whatever it is at
                     a bug stopped the target: its caller hears MISC, exit, and the rank with it

Signals that end a rank in order are the parent's affair: a child takes no notice of them.

Source: DAOS src/engine/srv.c dss_srv_handler; ours: a process
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from daos.base.errors import DaosError
from daos.base.ids import Epoch, Rank, TargetIndex
from daos.cart.transport.ranks import Places, RankNetwork, parse_uri
from daos.engine import cores, dump, logmask
from daos.engine.config import EngineConfig
from daos.engine.modules import Modules
from daos.engine.offload import Offload
from daos.engine.rank import Part
from daos.engine.target import Target
from daos.engine.tether import (
    Begin,
    Failed,
    Group,
    Joined,
    Levels,
    Listening,
    Message,
    Ready,
    Stop,
    Stopped,
    Tether,
)
from daos.engine.xstream import Xstream

log = logging.getLogger(__name__)

# Requests that have been taken may take so long, at an orderly stop.
DRAIN_S: Final = 2.0
# Operations in flight are more than the 700 objects of the interpreter's youngest generation: 10 to
# 18 % of their time. A full collection, some 10 ms, comes after 20 million objects.
_GC_THRESHOLDS: Final = (20_000, 20, 50)
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_ORPHAN: Final = 3
STATUS_BUG: Final = 4


def settle(name: str) -> None:
    """What every process of an engine does first: a name, and a collector that looks less often."""
    gc.set_threshold(*_GC_THRESHOLDS)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def tie_to(parent: int) -> None:
    """Have the kernel end this process when its parent does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before we asked
        os._exit(_ORPHAN)


def bind(cores: frozenset[int] | None) -> None:
    """Run on these cores only."""
    if cores is not None:
        os.sched_setaffinity(0, cores)


def run(config: EngineConfig, modules: Modules, index: int, end: socket.socket) -> int:
    """Be target `index`, until the parent says stop or has gone; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    settle(f"daos_io_{index}")
    bind(config.cores.of_target(index))
    with asyncio.Runner(loop_factory=config.new_loop) as runner:
        return runner.run(_Child(config, modules, index).run(end))


class _Child:
    def __init__(self, config: EngineConfig, modules: Modules, index: int) -> None:
        self._config = config
        self._modules = modules
        self._index = TargetIndex(index)
        self._places = Places()
        self._part: Part | None = None
        self._stop = asyncio.Event()
        self._leaving: asyncio.Task[None] | None = None
        self._tether: Tether

    async def run(self, end: socket.socket) -> int:
        self._tether = Tether(
            end, asyncio.get_running_loop(), received=self._received, cut=_end_at_once
        )
        gc.freeze()  # without a look at it: what is shared with the parent stays shared
        dump_at_signals(self._config, lambda: [each.xstream for each in self._targets])
        self._tether.send(Ready())
        await self._stop.wait()
        problem, epoch = "", 0
        if self._part is not None:
            try:
                await self._part.drain(DRAIN_S)
                await self._part.stop()
                epoch = self._part.hlc.now()
            except DaosError as error:
                problem = f"target {self._index}: {error}"
        self._modules.unload_all()
        self._tether.send(Stopped(problem, epoch))
        return 1 if problem else 0

    @property
    def _targets(self) -> Sequence[Target]:
        return () if self._part is None else self._part.targets

    def _received(self, message: Message) -> None:
        match message:
            case Group(version, uris):
                uris_by_rank = {Rank(rank): parse_uri(uri) for rank, uri in uris.items()}
                self._places.update(version, uris_by_rank)
            case Begin():
                try:
                    self._begin(message)
                except DaosError as error:
                    self._tether.send(Failed(error.code, error.message))
                else:
                    self._tether.send(Listening())
            case Joined():
                if self._part is not None:
                    self._part.joined()
            case Levels(levels):
                logmask.apply(levels)
            case Stop():
                self._stop.set()
            case _:
                raise AssertionError(f"{message} is for the parent")

    def _failed(self) -> None:
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        """What is acknowledged is on the devices; whatever else is in memory may be wrong."""
        assert self._part is not None
        await self._part.leave()
        logging.shutdown()
        os._exit(STATUS_BUG)

    def _begin(self, told: Begin) -> None:
        config = self._config
        loop = asyncio.get_running_loop()
        self._part = Part(
            Rank(told.rank),
            self._modules,
            network=RankNetwork(loop, self._places, parse_uri(told.uri)),
            directory=config.directory(self._index),
            live_path=config.new_live_path(self._index),
            meta=config.meta,
            aggregation=config.aggregation,
            sched=config.sched,
            clock=config.clock,
            rng=config.rng,
            key=told.key,
            failed=self._failed,
        )
        self._part.hlc.raise_to(Epoch(told.floor))
        self._part.add_target(self._index, self._new_offload())

    def _new_offload(self) -> Offload | None:
        config, index = self._config, self._index
        count = cores.helpers_of(index, targets=config.targets, helpers=config.helpers)
        if not count:
            return None
        where = config.cores.of_helpers(index)
        bound = f"bound to cores {sorted(where)}" if where else "not bound, as there are too few"
        log.info("target %d has %d helpers, %s", index, count, bound)
        return Offload(asyncio.get_running_loop(), count, where)


def dump_at_signals(
    config: EngineConfig, xstreams: Callable[[], Iterable[Xstream]], children: Sequence[int] = ()
) -> None:
    """Write down what these are at whenever SIGUSR1 or SIGUSR2 comes; `children` do the same."""

    def write(number: signal.Signals) -> None:
        for pid in children:
            os.kill(pid, number)
        stacks = number == signal.SIGUSR2
        try:
            path = dump.write(config.sockets, config.clock, xstreams(), stacks=stacks)
        except OSError as error:
            log.warning("what this process is at can't be written: %s", error)
        else:
            log.info("what this process is at: %s", path)

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        asyncio.get_running_loop().add_signal_handler(number, write, number)


def _end_at_once() -> None:
    """The parent has gone: what is not durable was not acknowledged."""
    os._exit(_ORPHAN)
