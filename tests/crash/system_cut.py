"""A whole embedded system under several clients, recorded, cut off, started again and judged.

Everything is seen as an application sees it: no epochs, no logs. That works because every object
has one owner who changes it, one call after the other:

    owner     issues change 1, 2, 3 ... of its places, each after the answer to the one before
    place     what changes as a whole: a key, a dkey with all its akeys, a chunk of an array, the
              name of a pool or container
    others    read any place: what they see is the place after some change between the last one
              answered when they asked, and the last one issued when they were told

    place     0 . . 3 . 4 . . . 7 . . 9          content after each change that touched it
                    |         |       |
               answered   was seen  issued       at the cut: one of the contents from the second
                                                 bar to the third, in one piece

A snapshot is a reader whose answer is kept: it shows one of those contents for ever.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Awaitable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from daos.base.errors import ExistsError, NotFoundError
from daos.base.ids import Epoch, ObjectId, ObjectType
from daos.base.iod import Cond
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BLOCK
from daos.bio.meta import MetaConfig
from daos.client.array import Array
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.object import Object
from daos.client.pool import Pool
from daos.client.values import Extents, Range
from daos.embedded.system import System, SystemConfig
from daos.testing.devices import Image, MemoryDirectory
from daos.testing.recording import Journal, RecordingDirectory
from tests.model.twin import START_NS, FrozenClock

POOL: Final = "tank"
CONTAINER: Final = "main"
TARGETS: Final = 2
POOL_BYTES: Final = 32 << 20
CHUNK: Final = 4096
CONFIG: Final = SystemConfig(
    targets=TARGETS,
    meta=MetaConfig(wal_bytes=48 * BLOCK, batch_sets=8, start_copy=InlineCopy),
)

Place = Hashable
Content = object


class Owner:
    """The history of some places that one client changes."""

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.journal = journal
        self.changes: dict[Place, list[tuple[int, Content]]] = {}
        self.issued: list[int] = []  # position in the journal, by change
        self.answered: list[int] = []
        self.seen: list[tuple[int, Place, int]] = []

    async def change(self, what: dict[Place, Content], call: Awaitable[object]) -> None:
        """Issue a change and wait for its answer."""
        self.issued.append(len(self.journal))
        for place, content in what.items():
            self.changes.setdefault(place, []).append((len(self.issued), content))
        await call
        self.answered.append(len(self.journal))

    def content(self, place: Place, index: int) -> Content:
        changes = self.changes.get(place, [])
        found = bisect_right(changes, index, key=lambda change: change[0])
        return changes[found - 1][1] if found else None

    def saw(self, place: Place, content: Content, answered: int) -> None:
        """Somebody was told; `answered` is how many changes were answered when they asked."""
        index = self.first(place, content, answered, len(self.issued))
        self.seen.append((len(self.journal), place, index))

    def first(self, place: Place, content: Content, lo: int, hi: int) -> int:
        """The first of the changes [lo, hi] after which the place has this content."""
        for index in range(lo, hi + 1):
            if self.content(place, index) == content:
                return index
        expected = [_short(self.content(place, index)) for index in range(lo, hi + 1)]
        raise AssertionError(f"{self.name} {place!r} is {_short(content)}, not one of {expected}")

    def judge(self, place: Place, content: Content, cut: int) -> None:
        """What is there after the power failed behind event `cut`."""
        answered = bisect_right(self.answered, cut)
        required = [index for at, seen, index in self.seen if at <= cut and seen == place]
        self.first(place, content, max([answered, *required]), bisect_right(self.issued, cut))


class Frozen(NamedTuple):
    """A snapshot: for each owner, the changes between which it was taken."""

    position: int
    name: str
    epoch: Epoch
    between: dict[str, tuple[int, int]]
    shown: dict[tuple[str, Place], Content]


@dataclass
class SystemRecording:
    journal: Journal
    owners: dict[str, Owner] = field(default_factory=dict)
    oids: dict[str, ObjectId] = field(default_factory=dict)
    snapshots: list[Frozen] = field(default_factory=list)

    def owner(self, name: str) -> Owner:
        return self.owners.setdefault(name, Owner(name, self.journal))


def _short(content: Content) -> str:
    text = repr(content)
    return text if len(text) < 80 else f"{text[:40]}...{hash(content) & 0xFFFF:x}"


# What the places of each kind of object are, and how they are read.

KEYS: Final = (b"a", b"b", b"key/3", b"key/4")
DKEYS: Final = (b"d0", b"d1", b"d2")
SINGLES: Final = (b"value", b"big")
RECORDS: Final = b"records"
RECORDS_COUNT: Final = 64
CHUNKS: Final = range(4)
ARRAY_OPTIONS: Final = {"cell_size": 1, "chunk_size": CHUNK}


async def read_key(kv: KeyValue, key: Place) -> Content:
    assert isinstance(key, bytes)
    return await kv.get(key)


async def read_dkey(obj: Object, dkey: Place) -> Content:
    """Single values and records, in one request."""
    assert isinstance(dkey, bytes)
    wanted: list[bytes | int | Range] = [*SINGLES, Range(RECORDS, 0, RECORDS_COUNT)]
    found = tuple(await obj.fetch_many(dkey, wanted))
    return found if any(value is not None for value in found) else None


async def read_chunk(array: Array, chunk: Place) -> Content:
    assert isinstance(chunk, int)
    data = await array.read(chunk * CHUNK, CHUNK)
    assert isinstance(data, bytes)
    return data.ljust(CHUNK, b"\0") if data.strip(b"\0") else None


class Clients:
    """Those who use the recorded system. Each owns one object, and reads those of the others."""

    def __init__(self, recording: SystemRecording, clock: FrozenClock, rng: random.Random) -> None:
        self.recording = recording
        self.clock = clock
        self.rng = rng
        self.fill = 0
        self.dkeys: dict[bytes, dict[bytes, list[int | None] | bytes]] = {}
        self.chunks: dict[int, bytearray] = {}

    def data(self, nbytes: int) -> bytes:
        self.fill += 1
        return (self.fill.to_bytes(4, "big") * (nbytes // 4 + 1))[:nbytes]

    def size(self) -> int:
        return self.rng.choice((1, 30, 700, 4095, 4096, 9000))

    async def pause(self) -> None:
        self.clock.now += self.rng.choice((0, 500, 40_000))
        for _ in range(self.rng.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)

    async def use_kv(self, kv: KeyValue, calls: int) -> None:
        owner, rng = self.recording.owner("kv"), self.rng
        for _ in range(calls):
            await self.pause()
            key = rng.choice(KEYS)
            there = owner.content(key, len(owner.issued)) is not None
            kind = rng.choice(("put", "put", "insert", "remove", "many", "clear", "update"))
            value = self.data(self.size())
            if kind == "put":
                await owner.change({key: value}, kv.put(key, value))
            elif kind in ("insert", "update"):
                cond = Cond.KEY_INSERT if kind == "insert" else Cond.KEY_UPDATE
                if there == (kind == "update"):
                    await owner.change({key: value}, kv.put(key, value, cond=cond))
                else:
                    await refused(kv.put(key, value, cond=cond), exists=there)
            elif kind == "remove" and there:
                await owner.change({key: None}, kv.remove(key, cond=Cond.KEY_REMOVE))
            elif kind == "remove":
                await refused(kv.remove(key, cond=Cond.KEY_REMOVE), exists=False)
            elif kind == "many":
                some = [(key, self.data(self.size())) for key in rng.sample(KEYS, 3)]
                await owner.change(dict(some), kv.put_many(some))
            elif rng.random() < 0.3:
                await owner.change(dict.fromkeys(KEYS), kv.clear())

    async def use_object(self, obj: Object, calls: int) -> None:
        owner, rng = self.recording.owner("object"), self.rng
        for _ in range(calls):
            await self.pause()
            dkey = rng.choice(DKEYS)
            before = self.dkeys.setdefault(dkey, {})
            after = dict(before)
            kind = rng.choice(("value", "value", "several", "several", "akeys", "dkey", "object"))
            if kind == "value":
                after[SINGLES[0]] = value = self.data(self.size())
                call: Awaitable[None] = obj.update(dkey, SINGLES[0], value)
            elif kind == "several":
                lo = rng.randrange(RECORDS_COUNT - 9)
                piece = self.data(rng.randint(1, 9))
                after[SINGLES[1]] = value = self.data(self.size())
                records = [*after.get(RECORDS, [None] * RECORDS_COUNT)]
                records[lo : lo + len(piece)] = piece
                after[RECORDS] = records
                extents = Extents(1, [(lo, piece)])
                call = obj.update_many(dkey, {SINGLES[1]: value, RECORDS: extents})
            elif kind == "akeys":
                gone = rng.sample((*SINGLES, RECORDS), 2)
                for akey in gone:
                    after.pop(akey, None)
                call = obj.punch_akeys(dkey, gone)
            elif kind == "dkey":
                after = {}
                call = obj.punch_dkeys([dkey])
            else:
                self.dkeys.clear()
                await owner.change(dict.fromkeys(DKEYS), obj.punch())
                continue
            self.dkeys[dkey] = after
            await owner.change({dkey: _as_read(after)}, call)

    async def use_array(self, array: Array, calls: int) -> None:
        owner, rng = self.recording.owner("array"), self.rng
        for _ in range(calls):
            await self.pause()
            lo = rng.randrange(CHUNK * len(CHUNKS) - 9000)
            count = rng.choice((1, 100, 4096, 9000))
            punch = rng.random() < 0.2
            data = bytes(count) if punch else self.data(count)
            touched: dict[Place, Content] = {}
            for chunk in range(lo // CHUNK, (lo + count - 1) // CHUNK + 1):
                content = self.chunks.setdefault(chunk, bytearray(CHUNK))
                first, last = max(lo, chunk * CHUNK), min(lo + count, (chunk + 1) * CHUNK)
                content[first - chunk * CHUNK : last - chunk * CHUNK] = data[first - lo : last - lo]
                touched[chunk] = bytes(content) if any(content) else None
            call = array.punch(lo, count) if punch else array.write(lo, data)
            await owner.change(touched, call)

    async def read_others(self, readers: Readers, calls: int) -> None:
        for _ in range(calls):
            await self.pause()
            name = self.rng.choice(sorted(readers.places))
            owner = self.recording.owner(name)
            place = self.rng.choice(readers.places[name])
            answered = len(owner.answered)
            owner.saw(place, await readers.read(name, place), answered)
            if name == "kv" and self.rng.random() < 0.5:
                await self.list_keys(owner, readers.kv)

    async def list_keys(self, owner: Owner, kv: KeyValue) -> None:
        """A key that is listed was there, one that is not was missing, at some time meanwhile."""
        answered = len(owner.answered)
        found = {key async for key in kv.scan()}
        for key in KEYS:
            for index in range(answered, len(owner.issued) + 1):
                if (owner.content(key, index) is not None) == (key in found):
                    owner.seen.append((len(owner.journal), key, index))
                    break
            else:
                raise AssertionError(f"{key!r} was listed wrongly")

    async def take_snapshots(self, container: Container, calls: int) -> None:
        owners = self.recording.owners
        for _ in range(calls):
            for _ in range(30):
                await self.pause()
            name = f"snapshot-{len(self.recording.snapshots)}-{self.rng.getrandbits(20)}"
            answered = {name: len(owner.answered) for name, owner in owners.items()}
            epoch = await container.snapshot(name)
            position = len(self.recording.journal)
            between = {n: (answered[n], len(owners[n].issued)) for n in answered}
            async with container.at(name) as view:
                readers = await Readers.open(view, self.recording.oids)
                shown = {}
                for owner in sorted(readers.places):
                    place = self.rng.choice(readers.places[owner])
                    shown[owner, place] = content = await readers.read(owner, place)
                    owners[owner].first(place, content, *between[owner])
            self.recording.snapshots.append(Frozen(position, name, epoch, between, shown))

    async def administer(self, system: System, pool: Pool, calls: int) -> None:
        """Containers and pools come and go."""
        owner = self.recording.owner("names")
        for number in range(calls):
            for _ in range(20):
                await self.pause()
            label = f"c{number % 2}"
            if owner.content(("container", label), len(owner.issued)):
                call: Awaitable[object] = pool.destroy_container(label)
                await owner.change({("container", label): None}, call)
            else:
                call = _create_container(pool, label)
                await owner.change({("container", label): True}, call)
            if number in (1, 4):
                call = system.admin.pool_create("spare", POOL_BYTES)
                await owner.change({("pool", "spare"): True}, call)
            elif number in (2, 5):
                await owner.change({("pool", "spare"): None}, system.admin.pool_destroy("spare"))


async def _create_container(pool: Pool, label: str) -> None:
    async with pool.create_container(label):
        pass


async def refused(call: Awaitable[object], *, exists: bool) -> None:
    try:
        await call
    except ExistsError:
        assert exists
    except NotFoundError:
        assert not exists
    else:
        raise AssertionError("a condition should have failed")


def _as_read(dkey: dict[bytes, list[int | None] | bytes]) -> Content:
    records = dkey.get(RECORDS)
    values: list[object] = [dkey.get(akey) for akey in SINGLES]
    values.append(None if records is None else bytes([byte or 0 for byte in records]))
    return tuple(values) if any(value is not None for value in values) else None


class Readers:
    """The objects of a container, or of a view of it, open for reading."""

    places: Final[dict[str, tuple[Place, ...]]] = {
        "kv": KEYS,
        "object": DKEYS,
        "array": tuple(CHUNKS),
    }

    def __init__(self, kv: KeyValue, obj: Object, array: Array) -> None:
        self.kv = kv
        self.obj = obj
        self.array = array

    @classmethod
    async def open(cls, container: Container, oids: dict[str, ObjectId]) -> Readers:
        return cls(
            await container.kv(oids["kv"]),
            await container.object(oids["object"]),
            await container.array(oids["array"], cell_size=1, chunk_size=CHUNK),
        )

    async def read(self, name: str, place: Place) -> Content:
        if name == "kv":
            return await read_key(self.kv, place)
        if name == "object":
            return await read_dkey(self.obj, place)
        return await read_chunk(self.array, place)


async def record(live_path: Path, seed: int, *, calls: int) -> SystemRecording:
    """Make a system, use it, restart it in the middle; the power fails while it runs."""
    directory = RecordingDirectory()
    recording = SystemRecording(directory.journal)
    clock, rng = FrozenClock(), random.Random(seed)
    clients = Clients(recording, clock, rng)
    for first in (True, False):
        system = await System.start(
            CONFIG, directory=directory, live_path=live_path, clock=clock, rng=rng
        )
        await _use(system, clients, calls, first=first)
        await system.stop(checkpoint=first)
        clock.now += 1_000_000
    return recording


async def _use(system: System, clients: Clients, calls: int, *, first: bool) -> None:
    recording, names = clients.recording, clients.recording.owner("names")
    client = await system.connect()
    if first:
        await names.change({("pool", POOL): True}, system.admin.pool_create(POOL, POOL_BYTES))
    async with client.pool(POOL) as pool:
        if first:
            call = _create_container(pool, CONTAINER)
            await names.change({("container", CONTAINER): True}, call)
        async with pool.container(CONTAINER) as container:
            if first:
                recording.oids = {
                    "kv": await container.new_oid(ObjectType.KV_LEXICAL, "SX"),
                    "object": await container.new_oid(ObjectType.MULTI_HASHED, "SX"),
                    "array": await container.new_oid(ObjectType.ARRAY_BYTE, "SX"),
                }
            readers = await Readers.open(container, recording.oids)
            async with asyncio.TaskGroup() as group:
                for task in (
                    clients.use_kv(readers.kv, calls),
                    clients.use_object(readers.obj, calls),
                    clients.use_array(readers.array, calls),
                    clients.read_others(readers, calls),
                    clients.read_others(readers, calls),
                    clients.take_snapshots(container, 2),
                    clients.administer(system, pool, 3),
                ):
                    group.create_task(task)
    await client.close()


class SystemJudge:
    """Starts the system on images of a recording, and asks it what it knows."""

    def __init__(self, recording: SystemRecording, live_path: Path) -> None:
        self.recording = recording
        self.live_path = live_path

    async def judge(self, cut: int, images: dict[str, Image], rng: random.Random) -> None:
        clock = FrozenClock(START_NS + 3600 * 10**9)
        system = await System.start(
            CONFIG,
            directory=MemoryDirectory(images),
            live_path=self.live_path,
            clock=clock,
            rng=random.Random(cut),
        )
        try:
            names = self.recording.owner("names")
            pools = {pool.label for pool in await system.admin.pool_list()}
            for label in (POOL, "spare"):
                names.judge(("pool", label), label in pools or None, cut)
            if POOL in pools:
                client = await system.connect()
                async with client.pool(POOL) as pool:
                    await self._judge_pool(pool, cut, rng)
                await client.close()
        finally:
            await system.stop(checkpoint=False)

    async def _judge_pool(self, pool: Pool, cut: int, rng: random.Random) -> None:
        containers = {container.label for container in await pool.containers()}
        names = self.recording.owner("names")
        for label in (CONTAINER, "c0", "c1"):
            names.judge(("container", label), label in containers or None, cut)
        if CONTAINER not in containers or not self.recording.oids:
            return
        async with pool.container(CONTAINER) as container:
            readers = await Readers.open(container, self.recording.oids)
            for name, places in readers.places.items():
                for place in places:
                    content = await readers.read(name, place)
                    self.recording.owner(name).judge(place, content, cut)
            await self._judge_snapshots(container, cut, rng)
            if rng.random() < 0.1:
                await readers.kv.put(b"afterwards", b"works")
                assert await readers.kv.get(b"afterwards") == b"works"

    async def _judge_snapshots(self, container: Container, cut: int, rng: random.Random) -> None:
        there = {snapshot.name: snapshot.epoch for snapshot in await container.snapshots()}
        taken = [frozen for frozen in self.recording.snapshots if frozen.position <= cut]
        for frozen in taken:
            assert there.get(frozen.name) == frozen.epoch, f"snapshot {frozen.name} is gone"
        for frozen in taken[-1:]:
            async with container.at(frozen.name) as view:
                readers = await Readers.open(view, self.recording.oids)
                for (name, place), content in frozen.shown.items():
                    assert await readers.read(name, place) == content, f"{frozen.name}: {place!r}"
                name = rng.choice(sorted(readers.places))
                for place in readers.places[name]:
                    content = await readers.read(name, place)
                    self.recording.owner(name).first(place, content, *frozen.between[name])
