"""A shard under several clients, recorded, so that it can be cut off at any moment and judged.

    record    clients write, read and list; every device event goes into a journal
    cut       the devices as a power cut behind event n may leave them (daos.testing.recording)
    judge     recover, then compare with the model (judge.py)

What was promised, each with the number of events at the moment when it was given:

    Ack       a commit, and all before it, are durable
    Seen      what a reader was told: values, misses, listings, the state behind a failed condition
    Bound     nothing will be written at or below this epoch (a snapshot stands there)
    Lost      from here on nobody asks what stood at epochs [lo, hi): they are being aggregated
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import DaosError, NoSpaceError, NotFoundError, StaleHandleError
from daos.base.hlc import Hlc
from daos.base.ids import ContainerUuid, Epoch, KeyKind, UnitOid
from daos.base.iod import Iod, QueryFlag
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.devices import MemoryDirectory
from daos.testing.recording import Journal, RecordingDirectory
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.iterate import ExtentEntry, Page
from daos.vos.merge import MergeConfig
from daos.vos.pool import VosPool
from daos.vos.statistics import AggregationStatistics
from daos.vos.update import Update
from daos.vos.work import StepLimits, Want
from tests.model.model_workload import KEYS, Choices
from tests.model.twin import FrozenClock, iod_all, iod_of
from tests.model.vos_model import Model, Op

DEVICE: Final = "shard"
DEVICE_BYTES: Final = 16 << 20
# So short that it wraps many times, and checkpoints make room in it.
WAL_BYTES: Final = 32 * BLOCK
CONFIG: Final = MetaConfig(wal_bytes=WAL_BYTES, batch_sets=8, start_copy=InlineCopy)
POOL: Final = uuid.UUID(int=1)
CONTAINERS_MAX: Final = 3


class Commit(NamedTuple):
    """Something committed. No operation: the container was created, or else destroyed."""

    lsn: int
    container: ContainerUuid
    op: Op | None
    created: bool = False


class Ack(NamedTuple):
    position: int
    length: int


class Bound(NamedTuple):
    position: int
    container: ContainerUuid
    epoch: int


class Lost(NamedTuple):
    position: int
    container: ContainerUuid
    lo: int
    hi: int


class Question(NamedTuple):
    """By what is given: values (iods), a key query (flags), extents (akey), akeys (dkey), dkeys
    (obj), or else the objects."""

    container: ContainerUuid
    epoch: int
    obj: UnitOid | None = None
    dkey: bytes = b""
    iods: tuple[Iod, ...] = ()
    akey: bytes = b""
    flags: int = 0


class Seen(NamedTuple):
    position: int
    question: Question
    answer: list[object]


@dataclass
class Recording:
    """What happened, and what was promised."""

    journal: Journal
    commits: list[Commit] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    checkpoints: int = 0
    full: int = 0
    groups: int = 0
    aggregated: AggregationStatistics = field(default_factory=AggregationStatistics)


async def answer(meta: MetaContext, container: VosContainer, asked: Question) -> list[object]:
    """Ask, and wait until no power cut can take the answer back."""
    if asked.iods:
        return await _values(meta, container, asked)
    if asked.flags:
        return await _query(meta, container, asked)
    found: list[object] = []
    anchor, eof = b"", False
    while not eof:
        page = _page(container, asked, anchor)
        found += page.entries
        anchor, eof = page.anchor, page.eof
        await meta.durable(page.lsn)
    return found


async def _values(meta: MetaContext, container: VosContainer, asked: Question) -> list[object]:
    assert asked.obj is not None
    fetch = container.fetch_begin(asked.obj, asked.dkey, asked.iods, Epoch(asked.epoch))
    try:
        # Before the bytes are read: those of a group in flight are not on the device yet.
        await meta.durable(fetch.lsn)
        read = asyncio.get_running_loop().create_future()
        container.fetch_read(fetch, read.set_result)
        if (error := await read) is not None:
            raise error
        pieces = zip(fetch.pieces, [_short(view) for view in fetch.views], strict=True)
        return [tuple(fetch.sizes), *pieces]
    finally:
        container.fetch_end(fetch)


async def _query(meta: MetaContext, container: VosContainer, asked: Question) -> list[object]:
    assert asked.obj is not None
    try:
        found = container.query_key(
            asked.obj, asked.flags, Epoch(asked.epoch), dkey=asked.dkey, akey=asked.akey
        )
    except NotFoundError as error:
        await meta.durable(error.lsn)
        return ["nothing"]
    await meta.durable(found.lsn)
    return [found.dkey, found.akey, found.recx]


def _page(
    container: VosContainer, asked: Question, anchor: bytes, limit: int = 2
) -> Page[UnitOid] | Page[bytes] | Page[ExtentEntry]:
    epoch, obj = Epoch(asked.epoch), asked.obj
    if obj is None:
        return container.list_objects(epoch, anchor=anchor, limit=limit)
    if asked.akey:
        return container.list_extents(
            obj, asked.dkey, asked.akey, epoch, anchor=anchor, limit=limit
        )
    if asked.dkey:
        return container.list_akeys(obj, asked.dkey, epoch, anchor=anchor, limit=limit)
    return container.list_dkeys(obj, epoch, anchor=anchor, limit=limit)


def _short(view: memoryview) -> bytes:
    return bytes(view) if len(view) <= 16 else hashlib.sha256(view).digest()


# Waits for what the caller is told, and notes it.
Answer = Coroutine[None, None, None]


class Recorder:
    """Clients of one shard, side by side in one loop, each with its own seed."""

    def __init__(
        self,
        recording: Recording,
        meta: MetaContext,
        rng: random.Random,
        *,
        objects: int,
        aggregates: bool,
    ) -> None:
        self.recording = recording
        self.aggregates = aggregates
        self.meta = meta
        self.clock = FrozenClock()
        self.hlc = Hlc(self.clock)
        self.pool = VosPool(meta, hlc=self.hlc)
        self.choices = Choices(rng, objects)
        self.ahead = random.Random(objects)  # which payloads leave ahead of their transactions
        self.models: dict[ContainerUuid, Model] = {}

    async def client(self, rng: random.Random, calls: int) -> None:
        mix = (self.write, self.punch, self.read, self.read_all, self.list, self.snapshot)
        for _ in range(calls):
            call = rng.choices(mix, (30, 10, 12, 8, 10, 3))[0]
            for _ in range(rng.choice((0, 0, 1, 3))):
                await asyncio.sleep(0)
            self.clock.now += rng.choice((0, 1000, 50_000))
            if not self.pool.containers():
                await self.create(rng)
            container = self.pool.open_container(rng.choice(sorted(self.pool.containers())))
            try:
                await call(rng, container)
            except StaleHandleError:
                continue  # destroyed by somebody else, in the meantime
            except NoSpaceError:
                self.recording.full += 1

    async def keeper(self, rng: random.Random, calls: int) -> None:
        """Whoever makes checkpoints, containers and room."""
        for _ in range(calls):
            for _ in range(rng.randint(1, 120)):
                await asyncio.sleep(0)
            mix = (
                self.checkpoint, self.create, self.create, self.destroy, self.replace,
                self.aggregate, self.aggregate,
            )[: 7 if self.aggregates else 5]  # fmt: skip
            call = rng.choice(mix)
            await call(rng)

    async def room(self) -> None:
        while not self.meta.log_has_room:
            future = asyncio.get_running_loop().create_future()
            self.meta.when_room(future.set_result)
            if (error := await future) is not None:
                raise error

    async def write(self, rng: random.Random, container: VosContainer) -> None:
        op, cond = self.choices.update(rng, 0)
        update = self._begin(container, op, cond)
        if self.ahead.random() < 0.2:
            container.update_landed(update)
            container.update_cancel(update)  # its bytes are on their way, its blocks are free
            update = self._begin(container, op, cond)
        if self.ahead.random() < 0.7:
            container.update_landed(update)
        await self.room()
        await self._end(container, update, op)

    def _begin(self, container: VosContainer, op: Op, cond: int) -> Update:
        assert isinstance(op.obj, UnitOid)
        assert op.dkey is not None
        iods = [iod_of(write, cond) for write in op.writes]
        update = container.update_begin(op.obj, op.dkey, iods, cond=cond)
        parts = [data for write in op.writes for _, _, data in write.parts if data]
        for destination, data in zip(update.destinations, parts, strict=True):
            destination[:] = data
        return update

    def _end(self, container: VosContainer, update: Update, op: Op) -> Answer:
        op = op._replace(epoch=self.hlc.now())
        try:
            lsn = container.update_end(update, Epoch(op.epoch))
        except DaosError as error:
            container.update_cancel(update)
            return self._refused(container, op, error)
        return self._commit(Commit(lsn, container.uuid, op))

    async def punch(self, rng: random.Random, container: VosContainer) -> None:
        op, cond = self.choices.punch(rng, 0)
        await self.room()
        op = op._replace(epoch=self.hlc.now())
        assert isinstance(op.obj, UnitOid)
        try:
            lsn = container.punch(op.obj, Epoch(op.epoch), dkey=op.dkey, akeys=op.akeys, cond=cond)
        except DaosError as error:
            await self._refused(container, op, error)
        else:
            await self._commit(Commit(lsn, container.uuid, op))

    def _commit(self, commit: Commit) -> Answer:
        """Note it in order, at once; what is returned waits for its answer."""
        if commit.op is None:
            self.models[commit.container] = Model()
        else:
            model = self.models[commit.container]
            model.add(commit.op)
            commit = commit._replace(op=model.history[-1])
        self.recording.commits.append(commit)
        return self._answered(commit.lsn, len(self.recording.commits))

    async def _answered(self, lsn: int, length: int) -> None:
        await self.meta.durable(lsn)
        self.recording.acks.append(Ack(len(self.recording.journal), length))

    async def _refused(self, container: VosContainer, op: Op, error: DaosError) -> None:
        """The caller was told, in effect, which of the keys exist."""
        if container.destroyed:
            raise StaleHandleError("destroyed") from error
        assert isinstance(op.obj, UnitOid)
        asked = Question(container.uuid, op.epoch, op.obj, op.dkey or b"")
        told = [
            *_page(container, asked, b"", 1000).entries
        ]  # now, but shown when the error may be shown
        await self.meta.durable(error.lsn)
        if not container.destroyed:
            self.recording.seen.append(Seen(len(self.recording.journal), asked, told))

    async def read(self, rng: random.Random, container: VosContainer) -> None:
        obj, dkey, iods, _ = self.choices.fetch(rng)
        iods = [Iod(iod.akey, iod.type, 0, iod.recxs) for iod in iods]
        await self._see(
            container, Question(container.uuid, self._epoch(rng), obj, dkey, tuple(iods))
        )

    async def read_all(self, rng: random.Random, container: VosContainer) -> None:
        """The newest of what was written last, hardly ever durable yet."""
        written = [
            commit.op
            for commit in self.recording.commits[-4:]
            if commit.op is not None and commit.op.writes and commit.container == container.uuid
        ]
        if written:
            op = rng.choice(written)
            assert isinstance(op.obj, UnitOid)
            iods = tuple(iod_all(write.akey, write.kind) for write in op.writes)
            asked = Question(container.uuid, self.hlc.now(), op.obj, op.dkey or b"", iods)
            await self._see(container, asked)

    async def list(self, rng: random.Random, container: VosContainer) -> None:
        obj, dkey, places = self.choices.keys(rng)
        akey = KEYS[obj.oid.type.akey_kind][places[0]]
        asked = Question(container.uuid, self._epoch(rng))
        kind = rng.choice(("objects", "dkeys", "akeys", "extents", "query"))
        if kind != "objects":
            asked = asked._replace(obj=obj)
        if kind in ("akeys", "extents"):
            asked = asked._replace(dkey=dkey, akey=akey if kind == "extents" else b"")
        if kind == "query":
            asked = asked._replace(dkey=dkey, akey=akey, flags=_flags(obj, rng))
        await self._see(container, asked)

    async def _see(self, container: VosContainer, asked: Question) -> None:
        told = await answer(self.meta, container, asked)
        if container.destroyed:
            return
        self.recording.seen.append(Seen(len(self.recording.journal), asked, told))

    def _epoch(self, rng: random.Random) -> Epoch:
        """Mostly now, sometimes some way back."""
        if rng.random() < 0.7 or not self.recording.commits:
            return self.hlc.now()
        op = rng.choice(self.recording.commits[-20:]).op
        return self.hlc.now() if op is None else Epoch(op.epoch)

    async def snapshot(self, rng: random.Random, container: VosContainer) -> None:
        await self.room()
        # Sometimes one that the shard is past already, with writes that are not durable yet.
        epoch = rng.choice((self.hlc.now(), self._epoch(rng), container.modification_bound))
        lsn = container.raise_bound(epoch)
        await self.meta.durable(lsn)
        self.recording.bounds.append(Bound(len(self.recording.journal), container.uuid, epoch))

    async def checkpoint(self, rng: random.Random) -> None:
        await self.meta.checkpoint()
        self.recording.checkpoints += 1

    async def aggregate(self, rng: random.Random) -> None:
        """All of a container's past, in steps between what the clients do."""
        if not self.pool.containers():
            return
        container = self.pool.open_container(rng.choice(sorted(self.pool.containers())))
        hi = int(self.hlc.now())
        limits = StepLimits(scan=rng.choice((3, 20, 300)), delete=rng.choice((2, 64)))
        merge = MergeConfig(window_bytes=rng.choice((100, 1 << 20)), pieces_min=2, force=True)
        config = AggregateConfig(limits=limits, merge=merge)
        work = container.aggregate(0, hi, config=config)
        self.recording.lost.append(Lost(len(self.recording.journal), container.uuid, 0, hi))
        try:
            while (want := work.step()) is not Want.NOTHING:
                if want is Want.READ:
                    read = asyncio.get_running_loop().create_future()
                    work.read(read.set_result)
                    await read
                await self.room()
                if rng.random() < 0.5:
                    await asyncio.sleep(0)
        except StaleHandleError:
            return  # destroyed meanwhile
        finally:
            work.close()
        self.recording.aggregated.add(work.statistics)

    async def create(self, rng: random.Random) -> None:
        if len(self.pool.containers()) < CONTAINERS_MAX:
            await self.room()
            name = ContainerUuid(uuid.UUID(int=rng.getrandbits(128)))
            try:
                lsn = self.pool.create_container(name)
            except NoSpaceError:
                self.recording.full += 1
                return
            await self._commit(Commit(lsn, name, None, created=True))

    async def destroy(self, rng: random.Random) -> None:
        names = sorted(self.pool.containers())
        if len(names) > 1:
            await self.room()
            name = rng.choice(names)
            lsn = self.pool.destroy_container(name)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._commit(Commit(lsn, name, None)))
                # At once: what is freed must not be overwritten while the container may come back.
                while self.pool.gc_step(rng.randint(10, 60)):
                    await self.room()
                    if rng.random() < 0.2:
                        await asyncio.sleep(0)

    async def replace(self, rng: random.Random) -> None:
        """In one turn: destroy a container, free all it had, and write as much elsewhere.

        What was freed must not be overwritten: a power cut may bring the container back.
        """
        names = sorted(self.pool.containers())
        if len(names) < 2:
            return
        await self.room()
        gone = rng.choice(names)
        answers = [self._commit(Commit(self.pool.destroy_container(gone), gone, None))]
        while self.meta.log_has_room and self.pool.gc_step(1000):
            pass
        name = ContainerUuid(uuid.UUID(int=rng.getrandbits(128)))
        try:
            lsn = self.pool.create_container(name)
            answers.append(self._commit(Commit(lsn, name, None, created=True)))
            container = self.pool.open_container(name)
            while self.meta.log_has_room and len(answers) < 10:
                op, _ = self.choices.update(rng, 0)
                writes = tuple(write._replace(cond="") for write in op.writes)
                op = op._replace(writes=writes)
                answers.append(self._end(container, self._begin(container, op, 0), op))
        except NoSpaceError:
            self.recording.full += 1
        async with asyncio.TaskGroup() as group:
            for answer_ in answers:
                group.create_task(answer_)


def _flags(obj: UnitOid, rng: random.Random) -> int:
    """Of a key query that the object can answer."""
    flags = QueryFlag.RECX | rng.choice((QueryFlag.MAX, QueryFlag.MIN))
    if obj.oid.type.dkey_kind is KeyKind.UINT64:
        flags |= rng.choice((QueryFlag.DKEY, QueryFlag(0)))
    if obj.oid.type.akey_kind is KeyKind.UINT64:
        flags |= rng.choice((QueryFlag.AKEY, QueryFlag(0)))
    return int(flags)


async def record(
    live_path: Path,
    seed: int,
    *,
    clients: int = 4,
    calls: int = 80,
    objects: int = 3,
    device_bytes: int = DEVICE_BYTES,
    aggregates: bool = True,
    prepares: bool = False,
) -> Recording:
    """Run the clients; the shard is not closed, its power is cut.

    Where the device `prepares`, blocks that are told to be free are overwritten at once.
    """
    blank = MemoryDirectory()
    device = await blank.create(DEVICE, device_bytes)
    await MetaContext.format(device, uuid=POOL, config=CONFIG)
    await blank.close()
    directory = RecordingDirectory(blank.images, prepares=prepares)
    meta = await MetaContext.open(await directory.open(DEVICE), config=CONFIG, live_path=live_path)
    recording = Recording(directory.journal)
    rng = random.Random(seed)
    recorder = Recorder(recording, meta, rng, objects=objects, aggregates=aggregates)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(recorder.client(random.Random(rng.getrandbits(32)), calls))
        group.create_task(recorder.keeper(random.Random(rng.getrandbits(32)), 12))
    recording.groups = meta.statistics().wal.groups
    await meta.close(checkpoint=False)
    return recording
