"""`Harness`: the engines of this server, from their storage to their place in the system.

    AwaitFormat --format--> Stopped --start--> Starting --NotifyReady--> Ready
        --SetRank, GroupUpdate, SetUp--> Joined --stop--> Stopping --> Stopped
        Starting, Ready, Joined --process ends--> Errored --restart--> Starting

    H1  each engine has one keeper, a task, from `start` to `close`: nobody else starts its process
    H2  no engine is admitted before all have their storage, and so their ranks: who is in the
        system is known at the first SetUp, for life. Rank 0, with the services, is set up first
    H3  the version of the map of ranks grows with each admission, and is kept before it is told
    H4  an engine that was not asked to stop is started again, no more often than the limit allows
    H5  when `close` returns no process of an engine is left

Source: DAOS src/control/server/harness.go, instance_exec.go, mgmt_system.go
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as changed
from itertools import count
from typing import Final

from daos.base.clock import Clock, Rng, uuid_from
from daos.base.errors import (
    DER,
    AccessError,
    BusyError,
    DaosError,
    DeadlineError,
    InvalidError,
    ShutdownError,
    error_for,
)
from daos.base.peers import Peer
from daos.base.sets import print_ranks
from daos.base.version import VERSION
from daos.cart.proof import KEY_SIZE
from daos.control import faults, files
from daos.control.config.model import ServerConfig, command, environment
from daos.control.instance import Instance, is_socket
from daos.control.layout import SIZE_MAX, SystemRecord
from daos.control.members import MemberState
from daos.control.restarts import RestartLimit
from daos.drpc.modules import MgmtMethod
from daos.proto.mgmt_pb2 import (
    DaosResp,
    GroupUpdateReq,
    GroupUpdateResp,
    PrepShutdownReq,
    SetRankReq,
    SetUpReq,
)
from daos.proto.srv_pb2 import NotifyReadyReq

log = logging.getLogger(__name__)

SYSTEM_FILE: Final = "system"
# SetUp recovers what is stored; PrepShutdown waits for calls that are being worked on.
_SET_UP_S: Final = 3600.0
_PREPARE_S: Final = 10.0

# What is started again so soon is worth to be waited for.
_SOON_S: Final = 10.0
_RISING: Final = (MemberState.STARTING, MemberState.READY)

Say = Callable[[str], object]


class Harness:
    """Made by the server; `start` it, `close` it."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        engine: Sequence[str],
        environ: Mapping[str, str],
        hostname: str,
        clock: Clock,
        rng: Rng,
        say: Say,
    ) -> None:
        self.config: Final = config
        self.instances: Final = tuple(
            Instance(index, each, system=config.name, clock=clock)
            for index, each in enumerate(config.engines)
        )
        self.record = self._read_record()
        self.fault_domain: Final = config.fault_domain or f"/{hostname}"
        self._hostname = hostname
        self._engine = tuple(engine)
        self._environ = environ
        self._clock = clock
        self._rng = rng
        self._say = say
        # By which the engines of this system know each other; it is written nowhere.
        self._key = rng.getrandbits(8 * KEY_SIZE).to_bytes(KEY_SIZE, "little")
        self._keepers = [_Keeper(self, instance, clock) for instance in self.instances]
        self._admitting = asyncio.Lock()
        self._change = asyncio.Condition()

    def _read_record(self) -> SystemRecord:
        raw = files.read(self.config.control / SYSTEM_FILE)
        if raw is None:
            return SystemRecord(self.config.name)
        record = SystemRecord.parse(raw)
        if record.name != self.config.name:
            text = f"{self.config.control} belongs to the system {record.name!r}"
            raise InvalidError(f"{text}, not {self.config.name!r}")
        return record

    def keep(self, record: SystemRecord) -> None:
        """Make `record` the one that holds.

        Raises: InvalidError (too large to be read again), NoSpaceError, AccessError
        """
        raw = record.emit()
        if len(raw) > SIZE_MAX:
            raise InvalidError(f"the settings of a system have at most {SIZE_MAX} bytes together")
        files.replace(self.config.control / SYSTEM_FILE, raw)
        self.record = record

    # --- life ---

    async def start(self) -> None:
        """End what a server that died left behind; start what is formatted, or may be formatted.

        Raises: BusyError, AccessError, NoSpaceError, InvalidError
        """
        files.make_private(self.config.control)
        for instance in self.instances:
            await instance.end_orphan(grace_s=self.config.stop_grace_s)
        for instance in self.instances:
            if instance.superblock is None and self.config.auto_format:
                self.format(instance)
        for keeper in self._keepers:
            keeper.begin()
        await self.start_instances(self.instances)

    @property
    def unformatted(self) -> list[int]:
        """Which wait for an administrator."""
        return [each.index for each in self.instances if each.superblock is None]

    async def close(self) -> None:
        """Stop all engines and wait for their end. Idempotent."""
        await self.stop_instances(self.instances, force=False)
        for keeper in self._keepers:
            await keeper.close()

    def format(self, instance: Instance) -> None:
        """Make the storage of an engine that has none. Raises: as `Instance.format`"""
        instance.format(uuid_from(self._rng), self.config.name, fault_domain=self.fault_domain)
        log.info("instance %d formatted in %s", instance.index, instance.config.storage)

    def erase(self) -> list[Instance]:
        """Forget the system: its members and its settings; which engines wait for a format now.

        Versions of the map of ranks are not used again (H3).

        Raises: BusyError  an engine runs; AccessError, NoSpaceError
        """
        if wanted := [keeper.instance for keeper in self._keepers if keeper.wanted]:
            ranks = print_ranks(each.rank for each in wanted if each.rank is not None)
            raise BusyError(f"not all ranks are stopped: {ranks} run; `dmg system stop` stops them")
        formatted = [each for each in self.instances if each.superblock is not None]
        for instance in formatted:
            instance.unformat()
        self.keep(SystemRecord(self.config.name, map_version=self.record.map_version))
        return formatted

    async def start_instances(self, instances: Iterable[Instance]) -> None:
        """Have these run; what runs already, and what is not formatted, is left alone."""
        for instance in instances:
            if instance.superblock is not None:
                self._keepers[instance.index].want()
        await self.changed()

    async def stop_instances(
        self, instances: Iterable[Instance], *, force: bool, prepare: bool = True
    ) -> None:
        """Stop these engines, all at once: in order, with a grace, or by force."""
        chosen = [self._keepers[instance.index] for instance in instances]
        if prepare and not force:
            await self.prepare(keeper.instance for keeper in chosen)
        await asyncio.gather(*(keeper.stop(force=force) for keeper in chosen))

    async def prepare(self, instances: Iterable[Instance]) -> dict[int, DaosError]:
        """Tell engines that they will be stopped; what went wrong, by index."""

        async def one(instance: Instance) -> tuple[int, DaosError | None]:
            try:
                request = PrepShutdownReq(rank=instance.rank or 0)
                answer = await instance.ask(
                    MgmtMethod.PREP_SHUTDOWN, request, DaosResp, timeout_s=_PREPARE_S
                )
                _check(answer, "PrepShutdown")
            except DaosError as error:
                log.warning("instance %d does not prepare to stop: %s", instance.index, error)
                return instance.index, error
            instance.state = MemberState.STOPPING
            return instance.index, None

        running = [each for each in instances if each.state is MemberState.JOINED]
        done = await asyncio.gather(*map(one, running))
        return {index: error for index, error in done if error is not None}

    async def joined(
        self, instances: Sequence[Instance], *, within_s: float
    ) -> dict[int, DaosError]:
        """Wait for these to join; which did not, and why, by index."""

        def settled() -> bool:
            return all(each.state not in _RISING for each in instances)

        in_time = await self.until(settled, within_s=within_s)
        return {
            each.index: DaosError(each.info or f"rank failed to start: {each.state.text}")
            if in_time
            else DeadlineError("rank failed to start in time")
            for each in instances
            if each.state is not MemberState.JOINED
        }

    async def changed(self) -> None:
        """Wake who waits for a state."""
        async with self._change:
            self._change.notify_all()

    async def until(self, settled: Callable[[], bool], *, within_s: float | None = None) -> bool:
        """Wait for the states of engines to be so; False if they are not in time."""
        try:
            async with asyncio.timeout(within_s), self._change:
                await self._change.wait_for(settled)
        except TimeoutError:
            return settled()
        return True

    # --- what engines say ---

    async def notify_ready(self, request: NotifyReadyReq, peer: Peer) -> None:
        """An engine listens, and waits for its rank.

        Raises: AccessError  not the process that was started; InvalidError
        """
        if not 0 <= request.instanceIdx < len(self.instances):
            raise InvalidError(f"there is no instance {request.instanceIdx}")
        instance = self.instances[request.instanceIdx]
        keeper = self._keepers[instance.index]
        await self.until(lambda: instance.process is not None or not keeper.running)
        if instance.pid != peer.pid:
            raise AccessError(f"process {peer.pid} is not instance {instance.index}")
        if not is_socket(request.drpcListenerSock):
            raise InvalidError(f"{request.drpcListenerSock!r} is no socket")
        instance.ready = request
        instance.state = MemberState.READY
        await self.changed()

    # --- admission ---

    async def spawn(self, instance: Instance) -> None:
        """Start the process of `instance`. Raises: DaosError"""
        arguments = [*self._engine, *command(self.config, instance.index)]
        variables = environment(self.config, instance.index, self._environ)
        await instance.start(arguments, variables)
        await self.changed()
        log.info("instance %d is process %d", instance.index, instance.pid)

    def sweep(self, instance: Instance, pid: int | None) -> None:
        """Remove the sockets of process `pid`, which has ended: if it was killed, it could not."""
        patterns = [f"daos_engine_{pid}.sock"]
        if instance.rank is not None:
            patterns.append(f"{instance.rank}.*")
        try:
            for pattern in patterns:
                files.remove_sockets(self.config.sockets, pattern)
        except DaosError as error:
            log.warning("sockets of instance %d stay: %s", instance.index, error)

    async def bring_up(self, instance: Instance) -> None:
        """From the start of its process to its place in the system.

        Raises: DaosError  an engine answers with an error, or not in time
        """
        await self.until(lambda: instance.ready is not None)
        await self.until(self._complete)
        async with self._admitting:
            if not self._keepers[instance.index].admitted:
                await self._admit()
        keeper = self._keepers[instance.index]
        if keeper.refusal is not None:
            raise keeper.refusal
        if instance.rank != 0:
            await self.until(lambda: self._has_services)
        answer = await instance.ask(
            MgmtMethod.SET_UP, self.members(), DaosResp, timeout_s=_SET_UP_S
        )
        _check(answer, "SetUp")
        instance.state = MemberState.JOINED
        self._say(self._milestone(instance))
        await self.changed()

    def _complete(self) -> bool:
        """All engines have their storage, and those that start have come as far as they get."""
        return all(each.superblock is not None for each in self.instances) and not any(
            keeper.settling for keeper in self._keepers
        )

    def services(self) -> Instance:
        """The engine that has the services of the system.

        Raises: FaultError  it is not ready yet
                DaosError   UNINIT: not formatted; SHUTDOWN: stopped, or not started again soon
        """
        if self.unformatted:
            text = "system is uninitialized (storage format required?)"
            raise DaosError(text, code=DER.UNINIT)
        for instance, keeper in zip(self.instances, self._keepers, strict=True):
            if instance.rank != 0:
                continue
            if instance.state is MemberState.JOINED:
                return instance
            if instance.state is MemberState.STOPPED and not keeper.running:
                text = "rank 0, which has the pools, is stopped; `dmg system start` starts it"
                raise ShutdownError(text)
            if instance.state is MemberState.ERRORED and not keeper.returns_soon:
                raise ShutdownError(f"rank 0, which has the pools, has ended: {instance.info}")
        raise faults.data_plane_not_started()

    @property
    def _has_services(self) -> bool:
        return any(each.rank == 0 and each.state is MemberState.JOINED for each in self.instances)

    async def _admit(self) -> None:
        """Give those their ranks that have none, and tell everybody where everybody is."""
        self.keep(changed(self.record, map_version=self.record.map_version + 1))
        taken = {instance.rank for instance in self.instances}
        free = (rank for rank in count() if rank not in taken)
        for instance in self.instances:
            if instance.rank is None:
                instance.becomes(next(free))
        for keeper in self._keepers:
            ready = keeper.instance.ready
            if ready is not None and not keeper.admitted:
                keeper.instance.is_at(ready.uri, ready.incarnation)
                keeper.admitted = True
                keeper.refusal = await self._tell_rank(keeper.instance)
        await asyncio.gather(*(self._tell_group(each) for each in self.instances))

    async def _tell_rank(self, instance: Instance) -> DaosError | None:
        assert instance.rank is not None
        version = self.record.map_version
        request = SetRankReq(rank=instance.rank, map_version=version, key=self._key)
        try:
            answer = await instance.ask(MgmtMethod.SET_RANK, request, DaosResp)
            _check(answer, "SetRank")
        except DaosError as error:
            return error
        return None

    async def _tell_group(self, instance: Instance) -> None:
        if instance.ready is None:
            return
        try:
            answer = await instance.ask(MgmtMethod.GROUP_UPDATE, self.group(), GroupUpdateResp)
            _check(answer, "GroupUpdate")
        except DaosError as error:
            log.warning("instance %d does not take the map: %s", instance.index, error)

    def group(self) -> GroupUpdateReq:
        """The map of ranks: all that have ever joined, where they were last."""
        blocks = [each.superblock for each in self.instances if each.superblock is not None]
        return GroupUpdateReq(
            map_version=self.record.map_version,
            engines=[
                GroupUpdateReq.Engine(rank=block.rank, uri=block.uri, incarnation=block.incarnation)
                for block in blocks
                if block.rank is not None and block.uri
            ],
        )

    def members(self) -> SetUpReq:
        """Who is in the system, for life."""
        return SetUpReq(
            members=[
                SetUpReq.Member(
                    rank=each.rank,
                    host=each.superblock.fault_domain.rpartition("/")[2],
                    targets=each.config.targets,
                )
                for each in sorted(self.instances, key=lambda each: each.rank or 0)
                if each.superblock is not None
            ]
        )

    def _milestone(self, instance: Instance) -> str:
        config = instance.config
        return (
            f"DAOS I/O Engine (v{VERSION}) process {instance.pid} started on rank {instance.rank} "
            f"with {config.targets} target, {config.helpers} helper XS, "
            f"firstcore {config.first_core or 0}, host {self._hostname}."
        )


class _Keeper:
    """Keeps one engine running while it is wanted."""

    def __init__(self, harness: Harness, instance: Instance, clock: Clock) -> None:
        self.instance = instance
        self.settling = False  # started by hand or first, neither ready nor ended yet
        self.running = False  # there is a process, or there will be
        self.admitted = False
        self.refusal: DaosError | None = None
        self._harness = harness
        self._clock = clock
        self._limit = RestartLimit(harness.config.restart_min_delay_s)
        self._wanted = asyncio.Event()
        self._at_once = False  # by hand: no delay
        self._delay_s = 0.0
        self.returns_soon = False  # ended, and is started again within `_SOON_S`
        self._task: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> bool:
        """Whether it runs, or will run again by itself."""
        return self.running or self._wanted.is_set()

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def want(self) -> None:
        """Have it run, now; the caller tells of the change."""
        if self.running:
            return
        self._limit.forget()
        self.instance.stopping = False
        self.instance.state = MemberState.STARTING
        self.running = self.settling = self._at_once = True
        self._wanted.set()

    async def stop(self, *, force: bool) -> None:
        """End the process, if there is one, and want no other one."""
        self._wanted.clear()
        self._limit.forget()
        instance, harness = self.instance, self._harness
        instance.stopping = True
        await harness.changed()
        instance.signal(signal.SIGKILL if force else signal.SIGTERM)
        grace_s = harness.config.stop_grace_s
        if not await harness.until(lambda: not self.running, within_s=grace_s):
            log.warning("instance %d does not stop in %g s; it is killed", instance.index, grace_s)
            instance.signal(signal.SIGKILL)
            await harness.until(lambda: not self.running)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _keep(self) -> None:
        while True:
            await self._wanted.wait()
            await self._run()
            if not self._wanted.is_set():
                continue
            if self._delay_s:
                text = "instance %d is started again in %g s"
                log.warning(text, self.instance.index, self._delay_s)
            await self._harness.until(
                lambda: self._at_once or not self._wanted.is_set(), within_s=self._delay_s
            )

    async def _run(self) -> None:
        """One process of the engine, from start to end."""
        instance, harness = self.instance, self._harness
        self.running, self.admitted, self.refusal, self._at_once = True, False, None, False
        try:
            await harness.spawn(instance)
        except DaosError as error:
            await self._ended(str(error))
            return
        if instance.stopping:  # meanwhile
            instance.signal(signal.SIGTERM)
        pid = instance.pid
        loop = asyncio.get_running_loop()
        end = loop.create_task(instance.wait())
        rise = loop.create_task(harness.bring_up(instance))
        try:
            settled = loop.create_task(harness.until(lambda: instance.ready is not None))
            await asyncio.wait({end, settled}, return_when=asyncio.FIRST_COMPLETED)
            settled.cancel()
            self.settling = False
            await harness.changed()
            await asyncio.wait({end, rise}, return_when=asyncio.FIRST_COMPLETED)
            failure = rise.exception() if rise.done() else None
            if failure is not None and not end.done():
                log.error("instance %d can't join: %s", instance.index, failure)
                instance.signal(signal.SIGKILL)
            how = await end
            harness.sweep(instance, pid)
        finally:
            rise.cancel()
            await asyncio.wait({rise})
        await self._ended(str(failure or how))

    async def _ended(self, how: str) -> None:
        instance = self.instance
        if not self._harness.config.restarts:
            self._wanted.clear()
        again = self._wanted.is_set()
        self._delay_s = self._limit.delay_s(self._clock.monotonic_ns()) if again else 0.0
        self.returns_soon = again and self._delay_s <= _SOON_S
        self.running = self.settling = self.admitted = False
        instance.info = "" if instance.stopping else how
        instance.state = MemberState.STOPPED if instance.stopping else MemberState.ERRORED
        if instance.stopping:
            log.info("instance %d stopped", instance.index)
        else:
            log.error("instance %d ended: %s", instance.index, how)
        await self._harness.changed()


def _check(answer: DaosResp | GroupUpdateResp, what: str) -> None:
    if answer.status:
        raise error_for(answer.status, answer.problem or f"{what} was refused")
