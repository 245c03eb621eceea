"""The process of a rank: its system xstream, the targets that it forked, and its server's requests.

    fork targets --> loop --> dRPC socket --> NotifyReady, until the server hears it
    SetRank, GroupUpdate --> SetUp: targets begin, modules are set up --> serving
    SIGTERM, SIGINT --> drained, checkpoints written, targets ended --> exit 0
    a target has gone --> the others are killed, exit at once: a rank fails as a whole

No epoch that an earlier life of this rank may have given out is given out again. If that life
stopped in order it noted its last one, and the clocks begin above it; else nothing is set up before
the clock has passed the bound of the moment at which this process began.

Exit status: 0 stopped in order, 1 could not start or stop, 3 a target has gone.

Source: DAOS src/engine/init.c server_init, src/engine/drpc_client.c (NotifyReady)
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from daos.base.errors import DER, AgainError, DaosError, ExistsError, InvalidError, error_for
from daos.base.hlc import Hlc, unix_ns_from_epoch
from daos.base.ids import Epoch, Rank
from daos.base.peers import Peer
from daos.cart.proof import KEY_SIZE
from daos.cart.transport.ranks import Places, RankNetwork, parse_uri
from daos.drpc.client import call
from daos.drpc.modules import ModuleId, SrvMethod
from daos.drpc.registry import M, Methods, Registry
from daos.drpc.server import Listener
from daos.engine import child, inventory, logmask, note
from daos.engine.config import SERVER_SOCKET, EngineConfig
from daos.engine.control import Device, Place, Stored
from daos.engine.modules import Modules
from daos.engine.rank import Engine, Member
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
    pair,
)
from daos.proto.srv_pb2 import NotifyReadyReq, NotifyReadyResp

if TYPE_CHECKING:
    from google.protobuf.message import Message as ProtoMessage

log = logging.getLogger(__name__)

NAME: Final = "daos_engine"  # as the kernel shows the process
STATUS_TARGET_LOST: Final = 3
# Source: DAOS src/engine/drpc_client.c, back-off of dss_drpc_call
_NOTIFY_PAUSE_S: Final = 0.008
_NOTIFY_PAUSE_MAX_S: Final = 1.024
_NOTIFY_S: Final = 10.0


class _Target:
    """The parent's view of a target's process."""

    def __init__(self, index: int, pid: int, end: socket.socket) -> None:
        self.index: Final = index
        self.pid: Final = pid
        self.end: Final = end
        self.ready = asyncio.Event()
        self.begun: asyncio.Future[None] | None = None
        self.stopped: Stopped | None = None
        self.gone = asyncio.Event()
        self.tether: Tether

    def reap(self) -> int:
        """Take the status of what has ended, or is ending now."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def start(config: EngineConfig, modules: Modules) -> int:
    """Be a rank; returns the exit status. There is no loop, thread or child yet."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # until there is something to tell
    began = Hlc(config.clock)
    bound = began.bound(began.now())
    parent = os.getpid()
    pairs = [pair() for _ in range(config.targets)]
    forked: list[tuple[int, int, socket.socket]] = []
    # What was imported stays, and stays shared: a collector that looks at it writes to its pages.
    gc.collect()
    gc.freeze()
    for index, (mine, _) in enumerate(pairs):
        pid = os.fork()
        if not pid:
            _be_child(config, modules, index, pairs, parent)
        forked.append((index, pid, mine))
    for _, its in pairs:
        its.close()
    child.settle(NAME)
    child.bind(config.cores.system)
    with asyncio.Runner(loop_factory=config.new_loop) as runner:
        return runner.run(EngineProcess(config, modules, bound).run(forked))


def _be_child(
    config: EngineConfig,
    modules: Modules,
    index: int,
    pairs: Sequence[tuple[socket.socket, socket.socket]],
    parent: int,
) -> NoReturn:
    status = 1
    try:
        child.tie_to(parent)
        for number, (mine, its) in enumerate(pairs):
            mine.close()
            if number != index:
                its.close()
        status = child.run(config, modules, index, pairs[index][1])
    finally:
        logging.shutdown()
        os._exit(status)  # nothing of the parent's is ended here


class EngineProcess:
    """Implements `Control`. Made by `start`."""

    def __init__(self, config: EngineConfig, modules: Modules, bound: Epoch) -> None:
        self._config = config
        self._modules = modules
        self._bound = bound
        self._is_new = config.is_new
        self._places = Places()
        self._targets: list[_Target] = []
        self._rank: Rank | None = None
        self._key = b""
        self._engine: Engine | None = None
        self._floor = Epoch(0)
        self._setting_up = False  # or it has been set up
        self._serving = False
        self._stop = asyncio.Event()
        self._failed = False
        self._methods: dict[int, Methods] = {}

    # Life

    async def run(self, forked: Sequence[tuple[int, int, socket.socket]]) -> int:
        """Until it is stopped; returns the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        for index, pid, end in forked:
            self._tie(_Target(index, pid, end), loop)
        child.dump_at_signals(
            self._config,
            lambda: [] if self._engine is None else [self._engine.xstream],
            [target.pid for target in self._targets],
        )
        problems: list[str] = []
        try:
            await self._serve()
        except DaosError as error:
            problems.append(str(error))
        problems += await self._end()
        for problem in problems:
            log.error("%s", problem)
        return 1 if problems or self._failed else 0

    def _tie(self, target: _Target, loop: asyncio.AbstractEventLoop) -> None:
        self._targets.append(target)
        target.tether = Tether(
            target.end,
            loop,
            received=lambda message: self._received(target, message),
            cut=lambda: self._cut(target),
        )

    async def _serve(self) -> None:
        for target in self._targets:
            await target.ready.wait()
        _remove_sockets_of_the_dead(self._config.sockets)
        path = self._config.sockets / f"daos_engine_{os.getpid()}.sock"
        self._modules.answer_drpc(self, self)
        registry = Registry()
        registry.register_all(self._methods.items())
        listener = await Listener.start(path, registry, mode=0o600)
        gc.collect()
        gc.freeze()  # modules and classes stay
        log.info("%s", self._config.cores.why_not or f"bound to cores {self._config.cores.system}")
        try:
            await self._until_stop(self._notify(path))
            await self._stop.wait()
        finally:
            await listener.close()

    async def _until_stop(self, work: Awaitable[None]) -> None:
        """Do it, unless the stop comes first."""
        loop = asyncio.get_running_loop()
        stop = loop.create_task(self._stop.wait())
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait((stop, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (stop, working):
                task.cancel()

    async def _notify(self, path: Path) -> None:
        """Tell the server that this engine waits for its rank."""
        config = self._config
        request = NotifyReadyReq(
            uri=str(config.uri),
            nctxs=1 + config.targets,
            drpcListenerSock=str(path),
            instanceIdx=config.instance,
            ntgts=config.targets,
            incarnation=Hlc(config.clock).now(),
        )
        server, pause_s = config.sockets / SERVER_SOCKET, _NOTIFY_PAUSE_S
        while True:
            try:
                await call(
                    server,
                    ModuleId.SRV,
                    SrvMethod.NOTIFY_READY,
                    request,
                    NotifyReadyResp,
                    timeout_s=_NOTIFY_S,
                )
            except DaosError as error:
                log.info("the server has not heard of us yet: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _NOTIFY_PAUSE_MAX_S)
            else:
                return

    async def _end(self) -> list[str]:
        """Stop everything in order; what could not be done."""
        problems = []
        if self._engine is not None:
            await self._engine.drain(child.DRAIN_S)
        for target in self._targets:
            target.tether.send(Stop())
        if self._engine is not None:
            try:
                await self._engine.stop()
            except DaosError as error:
                problems.append(f"services: {error}")
        for target in self._targets:
            await target.gone.wait()
            target.reap()
            if target.stopped is not None and target.stopped.problem:
                problems.append(target.stopped.problem)
        # Also of a life that took the note and came to nothing: what it said is still true.
        if (self._serving or self._floor) and not problems:
            epochs = [self._floor if self._engine is None else self._engine.hlc.now()]
            epochs += [Epoch(each.stopped.epoch) for each in self._targets if each.stopped]
            try:
                note.leave(self._config.note, max(epochs))
            except DaosError as error:  # the next start waits for the clock
                log.warning("no note of this stop: %s", error)
        self._modules.unload_all()
        return problems

    # Targets

    def _received(self, target: _Target, message: Message) -> None:
        match message:
            case Ready():
                target.ready.set()
            case Listening() | Failed() if target.begun is not None and not target.begun.done():
                if isinstance(message, Failed):
                    target.begun.set_exception(error_for(message.code, message.text))
                else:
                    target.begun.set_result(None)
            case Stopped():
                target.stopped = message
            case _:
                raise AssertionError(f"{message} came from target {target.index}")

    def _cut(self, target: _Target) -> None:
        if target.stopped is None:
            self._die(target)
        target.gone.set()

    def _die(self, lost: _Target) -> NoReturn:
        """A target has gone: the rank has failed. What is acknowledged is on the devices."""
        for target in self._targets:
            os.kill(target.pid, signal.SIGKILL)
        statuses = {target.index: target.reap() for target in self._targets}
        log.error("target %d has gone, status %d: the rank ends", lost.index, statuses[lost.index])
        self._remove_sockets()
        logging.shutdown()
        os._exit(STATUS_TARGET_LOST)

    def _remove_sockets(self) -> None:
        names = [f"daos_engine_{os.getpid()}.sock"]
        if self._rank is not None:
            names += [f"{self._rank}.{tag}" for tag in range(1 + self._config.targets)]
        for name in names:
            with contextlib.suppress(OSError):
                (self._config.sockets / name).unlink()

    def _tell_targets(self, message: Message) -> None:
        for target in self._targets:
            target.tether.send(message)

    # dRPC table, for modules

    def add(
        self,
        module: int,
        method: int,
        request: type[M],
        answer: Callable[[M, Peer], Awaitable[ProtoMessage | None]],
    ) -> None:
        """As `DrpcTable.add`."""
        self._methods.setdefault(module, Methods()).add(method, request, answer)

    # Control

    @property
    def rank(self) -> Rank | None:
        return self._rank

    @property
    def engine(self) -> Engine:
        if self._engine is None or not self._serving:
            raise AgainError("the engine is not set up yet; ask again in a moment")
        return self._engine

    def set_rank(self, rank: Rank, key: bytes) -> None:
        if self._rank not in (None, rank):
            raise ExistsError(f"this engine is rank {self._rank}; it can't become {rank}")
        if len(key) != KEY_SIZE:
            raise InvalidError(f"the system's key has {KEY_SIZE} bytes, not {len(key)}")
        if self._key not in (b"", key):
            raise ExistsError("this engine has the system's key; it can't have another one")
        self._rank, self._key = rank, key

    def update_group(self, version: int, places: Sequence[Place]) -> None:
        uris = {place.rank: parse_uri(place.uri) for place in places}
        if self._places.update(version, uris):
            self._tell_targets(self._group())

    def _group(self) -> Group:
        return Group(self._places.version, {rank: str(uri) for rank, uri in self._places})

    async def set_up(self, members: Sequence[Member]) -> None:
        config = self._config
        if self._rank is None:
            raise InvalidError("SetUp came before SetRank: which rank is this?")
        if self._setting_up:
            raise DaosError("this engine has been set up", code=DER.ALREADY)
        own = [each for each in members if each.rank == self._rank]
        if len(own) != 1 or own[0].targets != config.targets:
            text = f"rank {self._rank} has {config.targets} targets, the system says {own}"
            raise InvalidError(text)
        self._setting_up = True
        try:
            self._floor = note.take(self._config.note) or await self._wait_for_clock()
            engine = self._new_engine(self._rank)
            engine.hlc.raise_to(self._floor)
            await self._begin_targets(self._rank)
            await engine.set_up(members, evict=False)
        except BaseException:
            self._failed = True
            self._stop.set()
            raise
        self._serving = True
        log.info("rank %d of %r serves at %s", self._rank, config.group, config.uri)

    def _new_engine(self, rank: Rank) -> Engine:
        config = self._config
        engine = self._engine = Engine(
            rank,
            self._modules,
            network=RankNetwork(asyncio.get_running_loop(), self._places, config.uri),
            directory=config.directory(None),
            live_path=config.new_live_path(None),
            meta=config.meta,
            aggregation=config.aggregation,
            sched=config.sched,
            clock=config.clock,
            rng=config.rng,
            key=self._key,
            tell_joined=lambda: self._tell_targets(Joined()),
        )
        return engine

    async def _begin_targets(self, rank: Rank) -> None:
        loop = asyncio.get_running_loop()
        begun = []
        for target in self._targets:
            target.begun = loop.create_future()
            begun.append(target.begun)
            target.tether.send(Begin(rank, str(self._config.uri), self._key, self._floor))
        results = await asyncio.gather(*begun, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _wait_for_clock(self) -> Epoch:
        if self._is_new:
            return Epoch(0)
        ahead_ns = unix_ns_from_epoch(self._bound) - self._config.clock.now_ns()
        if ahead_ns >= 0:
            await asyncio.sleep(ahead_ns / 1e9 + 1e-6)
            await self._wait_for_clock()
        return Epoch(0)

    def prepare_shutdown(self) -> None:
        log.info("rank %s is about to be stopped", self._rank)

    def set_log_masks(self, masks: str) -> None:
        levels = logmask.parse(masks)
        logmask.apply(levels)
        self._tell_targets(Levels(levels))

    def device(self) -> Device:
        return inventory.device(self._config)

    def stored(self) -> list[Stored]:
        return inventory.stored(self._config)


def _remove_sockets_of_the_dead(directory: Path) -> None:
    """An engine that was killed could not remove its own.

    A socket refuses connections, too, before its engine listens: that one is left alone.
    """
    for path in directory.glob("daos_engine_*.sock"):
        pid = path.stem.rpartition("_")[2]
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                if not _is_engine(pid):
                    path.unlink(missing_ok=True)
            except OSError:
                continue


def _is_engine(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == NAME
    except OSError:
        return False
