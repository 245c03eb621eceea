"""Those who use the simulated system, and what they write down of it.

Each user draws calls from a seed, on a few keys that all share: key-value pairs with conditions,
several akeys of one dkey at once, overlapping ranges of an array, snapshots and reads of them.
Every value says who wrote it, so that an answer tells which call it saw.

A call that changes something ends in one of four ways: done, refused by its condition, refused as
there was no space, or unknown, which is every other error. A read without an answer is no evidence,
and forgotten.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.ids import ObjectId, ObjectType
from daos.base.iod import Cond
from daos.client.array import Array
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.object import Object
from daos.client.pool import Pool
from daos.testing.checkers.models import EXISTS, MISSING, NO_SPACE, OK, UNKNOWN
from daos.testing.history import History, Record
from daos.testing.sim.epochs import EpochTap

POOL: Final = "tank"
CONTAINER: Final = "c1"
KEYS: Final = (b"k0", b"k1", b"k2")
DKEYS: Final = (b"d0", b"d1")
AKEYS: Final = (b"a0", b"a1", b"a2")
# Half of them tell by their answer whether they were executed twice.
KV_KINDS: Final = ("put", "insert", "insert", "update", "take", "take", "remove", *["get"] * 4)
CHUNK: Final = 16  # cells
CHUNKS: Final = 2

# What nobody may be answered while disks neither fail nor give wrong bits.
DAMAGE_CODES: Final = frozenset({DER.CSUM, DER.NO_HDL, DER.PROTO, DER.DATA_LOSS})

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much the users of one seed do."""

    users: int
    calls: int  # of each
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]  # of values, bytes
    pause_s: float
    timeout_s: float

    @classmethod
    def draw(cls, rng: random.Random) -> Plan:
        kinds = [kind for kind in ("kv", "object", "array") if rng.random() < 0.6]
        sizes = rng.choice(((8, 64), (8, 3000, 5000), (8, 4096, 20_000)))
        return cls(
            users=rng.randint(2, 4),
            calls=rng.choice((15, 25, 40)),
            kinds=tuple(kinds or ["kv"]),
            sizes=sizes,
            pause_s=rng.choice((0.0, 0.001, 0.02)),
            timeout_s=rng.choice((0.5, 2.0, 10.0)),
        )


@dataclass(slots=True)
class SnapshotSeen:
    """A snapshot that somebody has, and what it has shown."""

    name: str
    epoch: int
    begin: int
    end: int
    shown: dict[Key, object] = field(default_factory=dict)


@dataclass(slots=True)
class Violation(Exception):  # noqa: N818 - what it is called everywhere
    """Something was promised and is not so."""

    what: str
    key: Key = ()

    def __str__(self) -> str:
        return self.what


@dataclass(slots=True)
class World:
    """What all users share: the ids of the objects, and what has been seen."""

    history: History
    plan: Plan
    damage: bool  # whether disks fail or give wrong bits
    full: bool = False  # whether somebody fills the pool
    oids: dict[str, ObjectId] = field(default_factory=dict)
    snapshots: list[SnapshotSeen] = field(default_factory=list)
    written: int = 0

    def value(self, nbytes: int) -> bytes:
        """Bytes that nobody else writes."""
        self.written += 1
        return (b"%07d" % self.written * (nbytes // 7 + 1))[: max(nbytes, 7)]


class User:
    """One client with handles of its own."""

    def __init__(self, world: World, name: str, client: Client, rng: random.Random) -> None:
        self.name = name
        self.client = client
        self._tap = EpochTap(client.context)
        self._world = world
        self._rng = rng
        self.pool: Pool
        self.container: Container
        self.kv: KeyValue[bytes]
        self.object: Object
        self.array: Array

    async def open(self) -> None:
        """Open everything; before anything goes wrong."""
        self.pool = await self.client.pool(POOL)
        self.container = await self.pool.container(CONTAINER)
        oids = self._world.oids
        if not oids:
            oids["kv"] = await self.container.new_oid(ObjectType.KV_LEXICAL, "SX")
            oids["object"] = await self.container.new_oid(ObjectType.MULTI_HASHED, "SX")
            oids["array"] = await self.container.new_oid(ObjectType.ARRAY_BYTE, "SX")
        self.kv, self.object, self.array = await self._open_in(self.container)

    async def _open_in(self, container: Container) -> tuple[KeyValue[bytes], Object, Array]:
        oids = self._world.oids
        return (
            await container.kv(oids["kv"]),
            await container.object(oids["object"]),
            await container.array(oids["array"], cell_size=1, chunk_size=CHUNK),
        )

    async def work(self) -> None:
        """All calls of the plan, one after the other."""
        plan, rng = self._world.plan, self._rng
        for _ in range(plan.calls):
            if plan.pause_s:
                await asyncio.sleep(rng.random() * plan.pause_s)
            kind = rng.choice(plan.kinds)
            if rng.random() < 0.05:
                await self._snapshot()
            elif rng.random() < 0.05:
                await self._look_back()
            elif rng.random() < 0.04:
                await self._aggregate()
            elif kind == "kv":
                await self._use_kv()
            elif kind == "object":
                await self._use_object()
            else:
                await self._use_array()

    # --- keys and values

    async def _use_kv(self) -> None:
        rng, kv, timeout = self._rng, self.kv, self._world.plan.timeout_s
        key = rng.choice(KEYS)
        kind = rng.choice(KV_KINDS)
        if kind == "get":
            await self.get_key(kv, key)
            return
        value = self._value() if kind in ("put", "insert", "update") else None
        conds = {"insert": Cond.KEY_INSERT, "update": Cond.KEY_UPDATE, "take": Cond.KEY_REMOVE}
        cond = int(conds.get(kind, 0))
        if value is not None:
            call: Awaitable[object] = kv.put(key, value, cond=cond, timeout=timeout)
        else:
            call = kv.remove(key, cond=cond, timeout=timeout)
        await self._change(("kv", key), kind, value, call)

    async def put_own(self) -> bool:
        """Write a key of one's own. Whether it went through."""
        call = self.kv.put(b"own", self._value(), timeout=self._world.plan.timeout_s)
        try:
            await call
        except DaosError as error:
            self._judge(error, ())
            return False
        return True

    async def get_key(self, kv: KeyValue[bytes], key: bytes) -> bool:
        """Whether there was an answer."""
        call = kv.get(key, timeout=self._world.plan.timeout_s)
        return await self._read(("kv", key), "get", None, call)

    # --- several akeys at once

    async def _use_object(self) -> None:
        rng, timeout = self._rng, self._world.plan.timeout_s
        dkey = rng.choice(DKEYS)
        kind = rng.choice(("change", "change", "punch", "punch all", "get", "get"))
        if kind == "get":
            await self.get_dkey(self.object, dkey)
            return
        values: dict[bytes, bytes | None]
        if kind == "change":
            some = rng.sample(AKEYS, rng.randint(1, len(AKEYS)))
            fresh = {akey: self._value() for akey in some}
            values = dict(fresh)
            call: Awaitable[object] = self.object.update_many(dkey, fresh, timeout=timeout)
        elif kind == "punch":
            gone = rng.sample(AKEYS, 2)
            values = dict.fromkeys(gone)
            call = self.object.punch_akeys(dkey, gone, timeout=timeout)
        else:
            values = dict.fromkeys(AKEYS)
            call = self.object.punch_dkeys([dkey], timeout=timeout)
        await self._change(("object", dkey), "change", tuple(sorted(values.items())), call)

    async def get_dkey(self, obj: Object, dkey: bytes) -> bool:
        """Whether there was an answer."""

        async def fetch() -> object:
            found = await obj.fetch_many(dkey, list(AKEYS), timeout=self._world.plan.timeout_s)
            return tuple(zip(AKEYS, found, strict=True))

        return await self._read(("object", dkey), "get", None, fetch())

    # --- an array

    async def _use_array(self) -> None:
        rng, timeout = self._rng, self._world.plan.timeout_s
        lo = rng.randrange(CHUNK * CHUNKS - 1)
        count = rng.randint(1, CHUNK * CHUNKS - lo)
        if rng.random() < 0.4:
            await self.get_cells(self.array, lo, count)
            return
        self._world.written += 1
        data = bytes([self._world.written % 255 + 1]) * count
        records = [
            self._world.history.begin(self.name, ("array", chunk), "write", (at, data[skip:][:n]))
            for chunk, at, n, skip in _pieces(lo, count)
        ]
        call = self.array.write(lo, data, timeout=timeout)
        await self._settle(records, call)

    async def get_cells(self, array: Array, lo: int, count: int, *, settled: bool = False) -> bool:
        """`settled`: nobody writes, so what is short really is the end."""
        history = self._world.history
        pieces = _pieces(lo, count)
        records = [
            history.begin(self.name, ("array", chunk), "get", at) for chunk, at, _, _ in pieces
        ]
        try:
            data = await array.read(lo, count, timeout=self._world.plan.timeout_s)
        except DaosError as error:
            self._judge(error, records[0].key)
            for record in records:
                self._forget(record, error)
            return False
        if settled:
            data = data.ljust(count, b"\0")
        for record, (_, at, n, skip) in zip(records, pieces, strict=True):
            # Where the array ended for this read, is asked for by itself: no evidence of a moment.
            history.end(record, (at, data[skip : skip + n]))
        return True

    # --- snapshots

    async def _snapshot(self) -> None:
        history = self._world.history
        name = f"s{len(history.lines)}"
        begin = history.note(self.name, f"takes snapshot {name}")
        try:
            epoch = await self.container.snapshot(name, timeout=self._world.plan.timeout_s)
        except DaosError as error:
            self._judge(error, ())
            history.note(self.name, f"snapshot {name}: {error.code.name}")
            return
        end = history.note(self.name, f"has snapshot {name} at {epoch:#x}")
        self._world.snapshots.append(SnapshotSeen(name, epoch, begin, end))

    async def _look_back(self) -> None:
        if self._world.snapshots:
            await self.look_at(self._rng.choice(self._world.snapshots))

    async def look_at(self, snapshot: SnapshotSeen) -> bool:
        """Read one thing in a snapshot; it always shows the same. Whether there was an answer."""
        seconds = self._world.plan.timeout_s
        what = self._rng.choice(self._world.plan.kinds)
        shown: object
        try:
            async with asyncio.timeout(4 * seconds):
                async with self.container.at(snapshot.epoch, timeout=seconds) as view:
                    kv, obj, array = await self._open_in(view)
                    if what == "kv":
                        key: Key = ("kv", place := self._rng.choice(KEYS))
                        shown = await kv.get(place, timeout=seconds)
                    elif what == "object":
                        key = ("object", place := self._rng.choice(DKEYS))
                        found = await obj.fetch_many(place, list(AKEYS), timeout=seconds)
                        shown = tuple(zip(AKEYS, found, strict=True))
                    else:
                        chunk = self._rng.randrange(CHUNKS)
                        key = ("array", chunk)
                        data = await array.read(chunk * CHUNK, CHUNK, timeout=seconds)
                        shown = data.ljust(CHUNK, b"\0")
        except DaosError as error:
            self._judge(error, ())
            return False
        except TimeoutError:
            return False
        self._world.history.note(self.name, f"sees {key} in {snapshot.name}: {shown!r:.60}", key)
        before = snapshot.shown.setdefault(key, shown)
        if before != shown:
            raise Violation(f"{snapshot.name} showed {before!r}, and now {shown!r}", key)
        return True

    async def _aggregate(self) -> None:
        """What no snapshot shows may go; nobody notices."""
        try:
            await self.container.aggregate(timeout=self._world.plan.timeout_s)
        except DaosError as error:
            self._judge(error, ())
            self._world.history.note(self.name, f"aggregates: {error.code.name}")
        else:
            self._world.history.note(self.name, "has aggregated")

    # --- writing down

    async def _change(self, key: Key, kind: str, argument: object, call: Awaitable[object]) -> None:
        await self._settle([self._world.history.begin(self.name, key, kind, argument)], call)

    async def _settle(self, records: Sequence[Record], call: Awaitable[object]) -> None:
        history = self._world.history
        kind = records[0].kind
        answer, unknown = OK, False
        self._tap.clear()
        try:
            await call
        except DaosError as error:
            self._judge(error, records[0].key)
            if error.code is DER.EXIST and kind == "insert":
                answer = EXISTS
            elif error.code is DER.NONEXIST and kind in ("update", "take"):
                answer = MISSING
            elif error.code is DER.NOSPACE and len(records) == 1:
                answer = NO_SPACE
            else:
                answer, unknown = UNKNOWN, True
        for record in records:
            epoch = self._tap.epoch_of(_dkey(record.key)) if answer is OK else 0
            history.end(record, answer, unknown=unknown, epoch=epoch)
            if answer is OK and not epoch:
                raise Violation(f"{record} was acknowledged without an epoch", record.key)

    async def _read(self, key: Key, kind: str, argument: object, call: Awaitable[object]) -> bool:
        record = self._world.history.begin(self.name, key, kind, argument)
        try:
            answer = await call
        except DaosError as error:
            self._judge(error, key)
            self._forget(record, error)
            return False
        self._world.history.end(record, answer)
        return True

    def _forget(self, record: Record, error: DaosError) -> None:
        if error.code is DER.NOSPACE:
            raise Violation("a read is refused as there is no space", record.key) from error
        self._world.history.end(record, error.code.name, unknown=True)

    def _judge(self, error: DaosError, key: Key) -> None:
        """Some answers are wrong whatever happened."""
        if error.code is DER.NOSPACE and not self._world.full:
            raise Violation(f"the pool is not full, and {self.name} hears so: {error}", key)
        if error.code is DER.MISC or (not self._world.damage and error.code in DAMAGE_CODES):
            raise Violation(f"{self.name} was answered {error.code.name}: {error}", key) from error

    def _value(self) -> bytes:
        return self._world.value(self._rng.choice(self._world.plan.sizes))


def _dkey(key: Key) -> bytes:
    """Where a key of the history is kept; see docs/format for arrays."""
    place = key[1]
    if isinstance(place, int):
        return (place + 1).to_bytes(8, "little")
    assert isinstance(place, bytes)
    return place


def _pieces(lo: int, count: int) -> list[tuple[int, int, int, int]]:
    """(chunk, first cell in it, cells, cells of the range before it) of a range of an array."""
    pieces = []
    skip = 0
    while skip < count:
        chunk, at = divmod(lo + skip, CHUNK)
        cells = min(CHUNK - at, count - skip)
        pieces.append((chunk, at, cells, skip))
        skip += cells
    return pieces
