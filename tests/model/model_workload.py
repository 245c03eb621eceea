"""Random calls for a shard and its model.

Each call is drawn from a seed of its own, so that a run can be repeated, and cut shorter call by
call. Keys, ranges and sizes are few and awkward, so that calls meet: keys of all kinds, ranges that
touch the limits of width classes, sizes around the threshold of the media, epochs that arrive late.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from daos.base.errors import StaleHandleError
from daos.base.ids import (
    EPOCH_MAX,
    ContainerUuid,
    Epoch,
    KeyKind,
    ObjectId,
    ObjectType,
    ShardIndex,
    UnitOid,
)
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.vos.aggregate import AggregateConfig, Aggregation
from daos.vos.merge import MergeConfig
from daos.vos.versions import Epochs
from daos.vos.work import StepLimits, Want, Work
from tests.model.twin import Shard, Twin, iod_all
from tests.model.vos_model import ARRAY, SINGLE, Op, Write

KEYS: Final = {
    KeyKind.HASHED: (b"k", b"\0key", b"h" * 300, b"key"),
    KeyKind.LEXICAL: (b"a", b"ab", b"x" * 400 + b"2", b"x" * 400 + b"1"),
    KeyKind.UINT64: tuple(n.to_bytes(8, "little") for n in (0, 256, 1, (1 << 63) + 5)),
}
OBJECTS: Final = tuple(
    UnitOid(
        ObjectId.encode(user_hi=index, lo=7, type=kind, redundancy=1, groups=1), ShardIndex(index)
    )
    for index, kind in enumerate(ObjectType)
)
# What the akeys with these places in KEYS hold: kind and record size.
AKEY_KINDS: Final = ((SINGLE, 0), (ARRAY, 1), (ARRAY, 24), (SINGLE, 0))
SIZES: Final = (1, 3, 40, 4095, 4096, 5000, 9000)
STARTS: Final = (0, 1, 2, 3, 5, 8, 13, 16, 31, 32, 64, 255, (1 << 32) - 1, (1 << 62) - 2)
WIDTHS: Final = (1, 1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64)
WIDE_BYTES: Final = (4096, 6000)
HOLES: Final = (1, 2, 7, 16, 33, 100, 1 << 20, 1 << 48, 1 << 62)
ROOM_BELOW: Final = 1 << 63
CONDS: Final = (
    Cond.DKEY_INSERT,
    Cond.DKEY_UPDATE,
    Cond.AKEY_INSERT,
    Cond.AKEY_UPDATE,
    Cond.PER_AKEY,
    Cond.PER_AKEY | Cond.DKEY_UPDATE,
    Cond.DKEY_INSERT | Cond.AKEY_INSERT,
    Cond.DKEY_UPDATE | Cond.AKEY_INSERT,
)


class Choices:
    """What to do next: operations and questions, drawn from a few objects and keys."""

    def __init__(self, rng: random.Random, objects: int = 3) -> None:
        self.objects = rng.sample(OBJECTS, objects)
        self._fill = 0

    def keys(self, rng: random.Random, count: int = 1) -> tuple[UnitOid, bytes, list[int]]:
        obj = rng.choice(self.objects)
        dkey = rng.choice(KEYS[obj.oid.type.dkey_kind][:3])
        return obj, dkey, rng.sample(range(len(AKEY_KINDS)), count)

    def _data(self, nbytes: int) -> bytes:
        self._fill += 1
        unit = self._fill.to_bytes(4, "little")
        return (unit * (nbytes // 4 + 1))[:nbytes]

    def write(self, rng: random.Random, akey: bytes, place: int, cond: str) -> Write:
        kind, size = AKEY_KINDS[place]
        if rng.random() < 0.03:
            kind, size = rng.choice((*AKEY_KINDS, (ARRAY, 2)))
        punch = rng.random() < 0.15
        if kind == SINGLE:
            data = None if punch else self._data(rng.choice(SIZES))
            return Write(akey, kind, len(data or b""), ((0, 1, data),), cond)
        parts: list[tuple[int, int, bytes | None]] = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            lo = rng.choice(STARTS) + rng.choice((0, 0, 0, 1, 4))
            if punch:
                width = rng.choice(HOLES)
            elif rng.random() < 0.1:
                width = rng.choice(WIDE_BYTES) // size
            else:
                width = rng.choice(WIDTHS)
            hi = min(lo + width, ROOM_BELOW)
            if all(hi <= a or b <= lo for a, b, _ in parts):
                parts.append((lo, hi, None if punch else self._data((hi - lo) * size)))
        return Write(akey, kind, 0 if punch else size, tuple(parts), cond)

    def update(self, rng: random.Random, epoch: int) -> tuple[Op, int]:
        """An update, and its condition bits."""
        obj, dkey, places = self.keys(rng, rng.choice((1, 1, 1, 2, 3)))
        cond = rng.choice(CONDS) if rng.random() < 0.3 else Cond.NONE
        names = KEYS[obj.oid.type.akey_kind]
        writes = []
        for place in places:
            own = ""
            if cond & Cond.PER_AKEY:
                own = rng.choice(("", "insert", "update"))
            elif cond & Cond.AKEY_INSERT:
                own = "insert"
            elif cond & Cond.AKEY_UPDATE:
                own = "update"
            writes.append(self.write(rng, names[place], place, own))
        return Op(epoch, obj, dkey, tuple(writes)), int(cond)

    def punch(self, rng: random.Random, epoch: int) -> tuple[Op, int]:
        """A punch at any level, and its condition bits."""
        obj, dkey, places = self.keys(rng, rng.choice((1, 1, 2, 4)))
        names = KEYS[obj.oid.type.akey_kind]
        level = rng.choice(("object", "dkey", "akey", "akey", "akey"))
        akeys = tuple(names[place] for place in places) if level == "akey" else ()
        op = Op(epoch, obj, None if level == "object" else dkey, akeys=akeys)
        return op, rng.choice((0, 0, int(Cond.PUNCH)))

    def fetch(self, rng: random.Random) -> tuple[UnitOid, bytes, list[Iod], int]:
        """Object, dkey, akeys, and condition bits."""
        obj, dkey, places = self.keys(rng, rng.randint(1, 4))
        names = KEYS[obj.oid.type.akey_kind]
        cond = 0
        if rng.random() < 0.3:
            cond = int(rng.choice((Cond.DKEY_FETCH, Cond.AKEY_FETCH, Cond.PER_AKEY)))
        iods = []
        for place in places:
            kind = AKEY_KINDS[place][0] if rng.random() < 0.95 else rng.choice((SINGLE, ARRAY))
            own = rng.choice((0, int(Cond.AKEY_FETCH))) if cond == Cond.PER_AKEY else 0
            recxs: tuple[Recx, ...] = ()
            if kind == ARRAY:
                recxs = tuple(
                    Recx(rng.choice(STARTS), rng.choice((*WIDTHS, 100, 1 << 62)))
                    for _ in range(rng.randint(1, 3))
                )
            iods.append(Iod(names[place], IodType(kind), 0, recxs, own))
        return obj, dkey, iods, cond


class Workload:
    """Random calls on a shard with up to two containers."""

    def __init__(self, shard: Shard, seed: int) -> None:
        rng = random.Random(seed)
        self.shard = shard
        self.choices = Choices(rng)
        self.names = [ContainerUuid(uuid.UUID(int=100 + i)) for i in range(2)]
        self.twins = {self.names[0]: Twin.create(shard, self.names[0])}
        self.steps = 0

    @classmethod
    async def start(cls, live_path: Path, seed: int) -> Workload:
        return cls(await Shard.create(live_path), seed)

    async def stop(self) -> None:
        await self.shard.meta.close(checkpoint=False)

    async def run(self, steps: int, seed: int) -> None:
        """The weighted mix of all calls, for drivers that have no mix of their own."""
        rng = random.Random(seed)
        calls: list[tuple[Callable[[random.Random], Any], int]] = [
            (self.update, 40),
            (self.punch, 12),
            (self.fetch, 20),
            (self.enumerate, 12),
            (self.query, 6),
            (self.settle, 6),
            (self.checkpoint, 1),
            (self.reopen, 2),
            (self.containers, 1),
            (self.raise_bound, 1),
            (self.diff, 4),
        ]
        if rng.random() < 0.5:  # with these, few versions are left to be told apart
            calls += [(self.aggregate, 4), (self.discard, 2)]
        for _ in range(steps):
            call = rng.choices([c for c, _ in calls], [w for _, w in calls])[0]
            await call(random.Random(rng.getrandbits(32)))

    def _twin(self, rng: random.Random) -> Twin:
        self.steps += 1
        return rng.choice(list(self.twins.values()))

    def _new_epoch(self, twin: Twin, rng: random.Random) -> int:
        newest = twin.newest()
        if rng.random() < 0.7:
            return newest + rng.randint(1, 4)
        history = twin.model.history[-12:]
        late = rng.choice(history).epoch if history else newest
        return max(late + rng.randint(-1, 1), 1)

    def _read_epoch(self, twin: Twin, rng: random.Random) -> int:
        return twin.model.kept(self._any_epoch(twin, rng))

    def _any_epoch(self, twin: Twin, rng: random.Random) -> int:
        if rng.random() < 0.4 or not twin.model.history:
            return rng.choice((twin.newest(), twin.newest() + 9, EPOCH_MAX))
        return max(1, rng.choice(twin.model.history).epoch + rng.randint(-1, 1))

    async def update(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        op, cond = self.choices.update(rng, self._new_epoch(twin, rng))
        await twin.update(op, cond)
        if rng.random() < 0.2 and isinstance(op.obj, UnitOid) and op.dkey:
            iods = [iod_all(write.akey, write.kind) for write in op.writes]
            await twin.fetch(op.obj, op.dkey, iods, twin.model.kept(op.epoch))

    async def punch(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        op, cond = self.choices.punch(rng, self._new_epoch(twin, rng))
        await twin.punch(op, cond)

    async def fetch(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, iods, cond = self.choices.fetch(rng)
        await twin.fetch(obj, dkey, iods, self._read_epoch(twin, rng), cond)

    async def enumerate(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self.choices.keys(rng)
        epoch = self._read_epoch(twin, rng)
        level = rng.choice(("objects", "dkeys", "akeys", "extents", "versions", "visit"))
        dkey_kind, akey_kind = obj.oid.type.dkey_kind, obj.oid.type.akey_kind
        prefix = rng.choice((b"", b"a", b"x" * 400, b"k"))
        if level == "objects":
            twin.list_objects(epoch, rng)
        elif level == "dkeys":
            twin.list_dkeys(obj, epoch, rng, prefix if dkey_kind is not KeyKind.UINT64 else b"")
        elif level == "akeys":
            prefix = prefix if akey_kind is not KeyKind.UINT64 else b""
            twin.list_akeys(obj, dkey, epoch, rng, prefix)
        elif level == "visit":
            twin.visit(epoch, rng)
        elif level == "extents":
            twin.list_extents(obj, dkey, KEYS[akey_kind][places[0]], epoch, rng)
        else:
            lo = self._read_epoch(twin, rng) if rng.random() < 0.5 else 0
            epochs = Epochs(lo, epoch)
            twin.list_versions(obj, dkey, KEYS[akey_kind][places[0]], epochs, rng)

    async def query(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self.choices.keys(rng)
        what = rng.randint(1, 7) << 2
        flags = what | rng.choice((QueryFlag.MAX, QueryFlag.MIN))
        akey = KEYS[obj.oid.type.akey_kind][places[0]]
        twin.query(obj, int(flags), self._read_epoch(twin, rng), dkey, akey)

    async def settle(self, rng: random.Random) -> None:
        self.steps += 1
        await self.shard.settle()

    async def checkpoint(self, rng: random.Random) -> None:
        self.steps += 1
        await self.shard.meta.checkpoint()

    async def reopen(self, rng: random.Random) -> None:
        self.steps += 1
        await self.shard.reopen(clean=rng.random() < 0.5)
        assert set(self.shard.pool.containers()) == set(self.twins)
        self.twins = {name: twin.opened() for name, twin in self.twins.items()}
        await self.check(rng)

    async def containers(self, rng: random.Random) -> None:
        """Create what is missing, or destroy the one that is over."""
        self.steps += 1
        name = rng.choice(self.names)
        if name not in self.twins:
            self.twins[name] = Twin.create(self.shard, name)
        elif len(self.twins) > 1:
            twin = self.twins.pop(name)
            self.shard.lsn = self.shard.pool.destroy_container(name)
            try:
                twin.container.list_objects(EPOCH_MAX, limit=1)
            except StaleHandleError:
                pass
            else:
                raise AssertionError("a destroyed container answers")
        while self.shard.pool.gc_step(rng.randint(1, 20)):
            await self.shard.make_room()
            if rng.random() < 0.3:
                break

    async def raise_bound(self, rng: random.Random) -> None:
        """What a snapshot does."""
        twin = self._twin(rng)
        epoch = twin.newest() - rng.randint(0, 2)
        self.shard.lsn = max(self.shard.lsn, twin.container.raise_bound(Epoch(epoch)))
        twin.model.bound = max(twin.model.bound, epoch)

    async def aggregate(self, rng: random.Random) -> None:
        """A pass over a container, with other calls between its steps."""
        twin = self._twin(rng)
        hi = max(1, twin.newest() - rng.choice((0, 0, 1, 3)))
        lo = rng.choice((0, 0, self._any_epoch(twin, rng)))
        if lo > hi:
            lo = 0
        limits = StepLimits(scan=rng.choice((1, 4, 40, 1000)), delete=rng.choice((1, 64)))
        merge = MergeConfig(
            window_bytes=rng.choice((16, 100, 5000, 1 << 20)),
            pieces_max=rng.choice((2, 3, 256)),
            pieces_min=2,
            force=rng.random() < 0.5,
        )
        config = AggregateConfig(limits=limits, merge=merge)
        await self.shard.make_room()
        work = twin.container.aggregate(lo, hi, config=config)
        twin.model.aggregate(lo, hi)
        await self._steps(twin, work, rng, [hi, max(lo - 1, 1), EPOCH_MAX])
        assert work.clean, work.statistics

    async def diff(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        a, b = sorted((self._read_epoch(twin, rng), self._read_epoch(twin, rng)))
        if a < b:
            twin.list_changes(a, b, rng)

    async def discard(self, rng: random.Random) -> None:
        """Of epochs that no aggregation has put together."""
        twin = self._twin(rng)
        lo = max(twin.newest() - rng.randint(0, 20), twin.model.cleared.merged + 1)
        hi = rng.choice((lo, lo + rng.randint(1, 9), EPOCH_MAX))
        obj = rng.choice((None, *self.choices.objects))
        await self.shard.make_room()
        work = twin.container.discard(lo, hi, obj, limits=StepLimits(scan=rng.choice((1, 9, 500))))
        await self._steps(twin, work, rng, [lo - 1])
        twin.model.discard(lo, hi, obj)
        await twin.check_all([*self._kept(twin, [lo, hi, EPOCH_MAX])], rng)

    def _kept(self, twin: Twin, epochs: list[int]) -> set[int]:
        return {epoch for epoch in epochs if epoch and not twin.model.is_lost(epoch)}

    async def _steps(self, twin: Twin, work: Work, rng: random.Random, epochs: list[int]) -> None:
        """Through all steps; in between, what is seen at `epochs` does not change."""
        patience = rng.choice((0, 0.05, 0.3))
        looking = self._looking(twin) if isinstance(work, Aggregation) else iter(())
        while (want := work.step()) is not Want.NOTHING:
            if want is Want.READ:
                ended: list[object] = []
                await self.shard.settle(self.shard.meta.lsn_last)
                work.read(ended.append)
                assert ended == [None]
            await self.shard.make_room()
            next(looking, None)
            if rng.random() < patience:
                self.shard.lsn = self.shard.meta.lsn_last
                await twin.check_all(self._kept(twin, epochs), rng)
                if isinstance(work, Aggregation):
                    await rng.choice((self.update, self.punch))(rng)
            if rng.random() < 0.01 and isinstance(work, Aggregation):
                work.close()  # whoever began it has given up
        for _ in looking:
            pass
        self.shard.lsn = self.shard.meta.lsn_last
        await twin.check_all(self._kept(twin, epochs), rng)

    def _looking(self, twin: Twin) -> Iterator[None]:
        """Searches for newest epochs, across the steps of something else; forgetful ones."""
        for obj in self.choices.objects:
            twin.container.newest.forget(b"")
            yield from twin.looking_for_newest(obj, EPOCH_MAX)

    async def check(self, rng: random.Random) -> None:
        for twin in self.twins.values():
            epochs = {self._read_epoch(twin, rng) for _ in range(2)}
            await twin.check_all({*epochs, twin.newest()}, rng)
