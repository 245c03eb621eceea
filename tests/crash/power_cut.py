"""A shard under several clients, recorded, so that it can be cut off at any moment and judged.

    record    clients write, read and list; every device event goes into a journal
    cut       the devices as a power cut behind event n may leave them (daos.testing.recording)
    judge     recover, then compare with the model

What was promised, each with the number of events at the moment when it was given:

    Ack       a commit, and all before it, are durable
    Seen      what a reader was told: values, misses, listings, the state behind a failed condition
    Bound     nothing will be written at or below this epoch (a snapshot stands there)

A cut keeps a promise when the recovered shard is the model of some beginning of the commits, whole
groups of them, no shorter than the last Ack, and every earlier Seen is answered the same way again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import DaosError, NoSpaceError, NotFoundError, StaleHandleError
from daos.base.hlc import Hlc
from daos.base.ids import EPOCH_MAX, ContainerUuid, Epoch, UnitOid
from daos.base.iod import Iod
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.devices import Image, MemoryDirectory
from daos.testing.recording import Journal, RecordingDirectory
from daos.vos.container import VosContainer
from daos.vos.pool import VosPool
from tests.model.model_workload import Choices
from tests.model.twin import FrozenClock, Shard, Twin, iod_all, iod_of
from tests.model.vos_model import Model, Op, View

DEVICE: Final = "shard"
DEVICE_BYTES: Final = 16 << 20
# So short that it wraps many times, and checkpoints make room in it.
WAL_BYTES: Final = 32 * BLOCK
CONFIG: Final = MetaConfig(wal_bytes=WAL_BYTES, batch_sets=8, start_copy=InlineCopy)
POOL: Final = uuid.UUID(int=1)
CONTAINERS_MAX: Final = 3
SEEN_CHECKED: Final = 12
DIFFERENCE_MAX: Final = 1000


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


class Question(NamedTuple):
    """No object: its listing; no dkey: the object's dkeys; no iods: the dkey's akeys."""

    container: ContainerUuid
    epoch: int
    obj: UnitOid | None = None
    dkey: bytes = b""
    iods: tuple[Iod, ...] = ()


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
    checkpoints: int = 0
    full: int = 0
    groups: int = 0


async def answer(meta: MetaContext, container: VosContainer, asked: Question) -> list[object]:
    """Ask, and wait until no power cut can take the answer back."""
    epoch, obj = Epoch(asked.epoch), asked.obj
    if obj is not None and asked.iods:
        fetch = container.fetch_begin(obj, asked.dkey, asked.iods, epoch)
        try:
            await meta.durable(fetch.lsn)
            read = asyncio.get_running_loop().create_future()
            container.fetch_read(fetch, read.set_result)
            if (error := await read) is not None:
                raise error
            pieces = zip(fetch.pieces, [_short(view) for view in fetch.views], strict=True)
            return [tuple(fetch.sizes), *pieces]
        finally:
            container.fetch_end(fetch)
    found: list[object] = []
    anchor, eof, lsn = b"", False, 0
    while not eof:
        if obj is None:
            objects = container.list_objects(epoch, anchor=anchor, limit=2)
            found += objects.entries
            anchor, eof, lsn = objects.anchor, objects.eof, objects.lsn
        else:
            keys = (
                container.list_akeys(obj, asked.dkey, epoch, anchor=anchor, limit=2)
                if asked.dkey
                else container.list_dkeys(obj, epoch, anchor=anchor, limit=2)
            )
            found += keys.entries
            anchor, eof, lsn = keys.anchor, keys.eof, keys.lsn
        await meta.durable(lsn)
    return found


def _short(view: memoryview) -> bytes:
    return bytes(view) if len(view) <= 16 else hashlib.sha256(view).digest()


class Recorder:
    """Clients of one shard, side by side in one loop, each with its own seed."""

    def __init__(
        self, recording: Recording, meta: MetaContext, rng: random.Random, objects: int
    ) -> None:
        self.recording = recording
        self.meta = meta
        self.clock = FrozenClock()
        self.hlc = Hlc(self.clock)
        self.pool = VosPool(meta, hlc=self.hlc)
        self.choices = Choices(rng, objects)
        self.models: dict[ContainerUuid, Model] = {}

    async def client(self, rng: random.Random, calls: int) -> None:
        mix = (self.write, self.punch, self.read, self.read_all, self.list, self.snapshot)
        for _ in range(calls):
            call = rng.choices(mix, (30, 10, 12, 8, 10, 1))[0]
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
            call = rng.choice((self.checkpoint, self.create, self.create, self.destroy))
            await call(rng)

    async def room(self) -> None:
        while not self.meta.log_has_room:
            future = asyncio.get_running_loop().create_future()
            self.meta.when_room(future.set_result)
            if (error := await future) is not None:
                raise error

    async def write(self, rng: random.Random, container: VosContainer) -> None:
        op, cond = self.choices.update(rng, 0)
        assert isinstance(op.obj, UnitOid)
        assert op.dkey is not None
        iods = [iod_of(write, cond) for write in op.writes]
        update = container.update_begin(op.obj, op.dkey, iods, cond=cond)
        parts = [data for write in op.writes for _, _, data in write.parts if data]
        for destination, data in zip(update.destinations, parts, strict=True):
            destination[:] = data
        await self.room()
        op = op._replace(epoch=self.hlc.now())
        try:
            lsn = container.update_end(update, Epoch(op.epoch))
        except DaosError as error:
            container.update_cancel(update)
            await self._refused(container, op, error)
        else:
            await self._commit(Commit(lsn, container.uuid, op))

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

    async def _commit(self, commit: Commit) -> None:
        if commit.op is None:
            self.models[commit.container] = Model()
        else:
            model = self.models[commit.container]
            model.add(commit.op)
            commit = commit._replace(op=model.history[-1])
        self.recording.commits.append(commit)
        length = len(self.recording.commits)
        await self.meta.durable(commit.lsn)
        self.recording.acks.append(Ack(len(self.recording.journal), length))

    async def _refused(self, container: VosContainer, op: Op, error: DaosError) -> None:
        """The caller was told, in effect, which of the keys exist."""
        if container.destroyed:
            raise StaleHandleError("destroyed") from error
        assert isinstance(op.obj, UnitOid)
        asked = Question(container.uuid, op.epoch, op.obj, op.dkey or b"")
        told = _glance(container, asked)  # now, but shown when the error may be shown
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
        obj, dkey, _ = self.choices.keys(rng)
        asked = Question(container.uuid, self._epoch(rng))
        level = rng.choice((0, 1, 2))
        if level:
            asked = asked._replace(obj=obj, dkey=dkey if level == 2 else b"")
        await self._see(container, asked)

    async def _see(self, container: VosContainer, asked: Question) -> None:
        told = await answer(self.meta, container, asked)
        if container.destroyed:
            return
        self.recording.seen.append(Seen(len(self.recording.journal), asked, told))

    def _epoch(self, rng: random.Random) -> int:
        """Mostly now, sometimes some way back."""
        if rng.random() < 0.7 or not self.recording.commits:
            return self.hlc.now()
        op = rng.choice(self.recording.commits[-20:]).op
        return self.hlc.now() if op is None else op.epoch

    async def snapshot(self, rng: random.Random, container: VosContainer) -> None:
        await self.room()
        epoch = self.hlc.now()
        lsn = container.raise_bound(epoch)
        await self.meta.durable(lsn)
        self.recording.bounds.append(Bound(len(self.recording.journal), container.uuid, epoch))

    async def checkpoint(self, rng: random.Random) -> None:
        await self.meta.checkpoint()
        self.recording.checkpoints += 1

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


def _glance(container: VosContainer, asked: Question) -> list[object]:
    """The keys below the object or the dkey, at once and whole."""
    epoch = Epoch(asked.epoch)
    assert asked.obj is not None
    if not asked.dkey:
        return [*container.list_dkeys(asked.obj, epoch, limit=1000).entries]
    return [*container.list_akeys(asked.obj, asked.dkey, epoch, limit=1000).entries]


async def record(
    live_path: Path,
    seed: int,
    *,
    clients: int = 4,
    calls: int = 80,
    objects: int = 3,
    device_bytes: int = DEVICE_BYTES,
) -> Recording:
    """Run the clients; the shard is not closed, its power is cut."""
    blank = MemoryDirectory()
    device = await blank.create(DEVICE, device_bytes)
    await MetaContext.format(device, uuid=POOL, config=CONFIG)
    await blank.close()
    directory = RecordingDirectory(blank.images)
    meta = await MetaContext.open(await directory.open(DEVICE), config=CONFIG, live_path=live_path)
    recording = Recording(directory.journal)
    rng = random.Random(seed)
    recorder = Recorder(recording, meta, rng, objects)
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(recorder.client(random.Random(rng.getrandbits(32)), calls))
        group.create_task(recorder.keeper(random.Random(rng.getrandbits(32)), 12))
    recording.groups = meta.statistics().wal.groups
    await meta.close(checkpoint=False)
    return recording


class _Past(Model):
    """A model that does not change any more: what was computed once is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._views: dict[tuple[Hashable, int], View] = {}

    def view(self, obj: Hashable, epoch: int) -> View:
        view = self._views.get((obj, epoch))
        if view is None:
            view = self._views[obj, epoch] = super().view(obj, epoch)
        return view


class Judge:
    """Recovers images of a recording, and holds them against its promises."""

    def __init__(self, recording: Recording, live_path: Path) -> None:
        self.recording = recording
        self.live_path = live_path
        self._models: dict[int, dict[ContainerUuid, Model]] = {}

    async def judge(self, cut: int, images: dict[str, Image], rng: random.Random) -> None:
        """Raises AssertionError, or the store's own error, if a promise is broken."""
        directory = MemoryDirectory(images)
        device = await directory.open(DEVICE)
        shard = Shard(device, self.live_path, FrozenClock(), CONFIG)
        await shard.open()
        try:
            length = await self._length(cut, shard, rng)
            await self._check_seen(cut, shard, rng)
            for position, name, epoch in self.recording.bounds:
                if position <= cut and name in shard.pool.containers():
                    bound = shard.pool.open_container(name).modification_bound
                    assert bound >= epoch, "a snapshot's epoch is open for writes again"
            if rng.random() < 0.02:
                await self._go_on(shard, length, rng)
        finally:
            await shard.meta.close(checkpoint=False)
            await device.close()

    async def _length(self, cut: int, shard: Shard, rng: random.Random) -> int:
        """How many commits the shard shows; it must be exactly these."""
        commits = self.recording.commits
        acks = self.recording.acks
        at_least = max((length for position, length in acks if position <= cut), default=0)
        lengths = [at_least]
        for index in range(at_least, len(commits)):
            if index + 1 == len(commits) or commits[index + 1].lsn != commits[index].lsn:
                lengths.append(index + 1)
            if len(lengths) > 4:
                break  # at most one group is in flight; the others are not on the device
        differences = []
        for length in lengths:
            try:
                await self._check_is(shard, self.models(length), rng)
            except AssertionError as error:
                differences.append(
                    f"not the first {length} commits: {str(error)[-DIFFERENCE_MAX:]}"
                )
                continue
            return length
        raise AssertionError("\n".join(differences))

    def models(self, length: int) -> dict[ContainerUuid, Model]:
        """Every container after the first commits."""
        known = self._models.get(length)
        if known is not None:
            return known
        models: dict[ContainerUuid, Model] = {}
        for commit in self.recording.commits[:length]:
            if commit.op is not None:
                if commit.container in models:
                    models[commit.container].history.append(commit.op)
            elif commit.created:
                models[commit.container] = _Past()
            else:
                del models[commit.container]
        self._models[length] = models
        return models

    async def _check_is(
        self, shard: Shard, models: dict[ContainerUuid, Model], rng: random.Random
    ) -> None:
        names = set(shard.pool.containers())
        assert names == set(models), f"containers {names}, expected {set(models)}"
        for name, model in models.items():
            twin = Twin(shard, shard.pool.open_container(name), model)
            assert twin.container.modification_bound >= twin.newest()
            epochs: set[int] = {EPOCH_MAX}  # so that nothing more than the model is there
            if model.history:
                epochs.add(rng.choice(model.history[-4:]).epoch)
            await twin.check_all(epochs, rng)

    async def _check_seen(self, cut: int, shard: Shard, rng: random.Random) -> None:
        """The answers given last before the cut are the ones in danger; some older ones as well."""
        seen = [told for told in self.recording.seen if told.position <= cut]
        chosen = seen[-SEEN_CHECKED:] + rng.sample(seen, min(4, len(seen)))
        for position, asked, told in chosen:
            try:
                container = shard.pool.open_container(asked.container)
            except NotFoundError:
                continue  # destroyed since, as the model says too
            again = await answer(shard.meta, container, asked)
            assert again == told, f"told at event {position}: {asked}\n{told}\nnow {again}"

    async def judge_twice(self, cut: int, images: dict[str, Image], rng: random.Random) -> int:
        """Cut the recovery off as well, at each of its events; returns the number of images."""
        directory = RecordingDirectory(images)
        device = await directory.open(DEVICE)
        shard = Shard(device, self.live_path, FrozenClock(), CONFIG)
        await shard.open()
        await shard.meta.close(checkpoint=rng.random() < 0.5)
        journal = directory.journal
        for again in range(len(journal) + 1):
            await self.judge(cut, journal.image(again, rng), rng)
        return len(journal) + 1

    async def _go_on(self, shard: Shard, length: int, rng: random.Random) -> None:
        """The recovered shard takes writes, and nothing that was there suffers."""
        models = self.models(length)
        choices = Choices(rng)
        for name, model in models.items():
            container = shard.pool.open_container(name)
            twin = Twin(shard, container, Model(container.modification_bound, ()))
            twin.model.history = [*model.history]
            twin.may_be_full = shard.device.size_bytes < DEVICE_BYTES
            for _ in range(20):
                op, cond = choices.update(rng, twin.newest() + 1)
                await twin.update(op, cond)
        await shard.reopen(clean=rng.random() < 0.5)
        for name, model in models.items():
            twin = Twin(shard, shard.pool.open_container(name), model)
            if model.history:
                await twin.check_all({model.history[-1].epoch}, rng)
        await self._empty(shard)

    async def _empty(self, shard: Shard) -> None:
        """Every block that anything had comes back, so none was lost or had twice."""
        for name in list(shard.pool.containers()):
            shard.lsn = shard.pool.destroy_container(name)
        while shard.pool.gc_step(100):
            await shard.make_room()
        await shard.settle(shard.meta.lsn_last)
        assert shard.meta.space.blocks_allocated == 0
        assert shard.meta.statistics().tree_entries == 1, "something is left beside the root record"
