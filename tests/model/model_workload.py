"""A workload that drives a shard and its model side by side, and compares every answer.

    Shard       a MetaContext and a VosPool on a memory device; reopened at will
    Twin        one container and its model: each call goes to both
    Workload    random calls, every one drawn from a seed of its own, so that a run can be repeated,
                and cut shorter call by call

Keys, ranges and sizes are few and awkward, so that calls meet: keys of all kinds, ranges that touch
the limits of width classes, sizes around the threshold of the media, epochs that arrive late.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from daos.base.errors import DaosError, StaleHandleError
from daos.base.hlc import Hlc, epoch_from_unix_ns
from daos.base.ids import (
    EPOCH_MAX,
    ContainerUuid,
    Epoch,
    KeyKind,
    Lsn,
    ObjectId,
    ObjectType,
    ShardIndex,
    UnitOid,
)
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BlockDevice
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.devices import MemoryDevice
from daos.vos.container import VosContainer
from daos.vos.iterate import Page
from daos.vos.pool import VosPool
from tests.model.vos_model import ARRAY, SINGLE, Model, Op, Value, Write

DEVICE_BYTES: Final = 64 << 20
WAL_BYTES: Final = 512 << 10
START_NS: Final = 1_700_000_000 * 10**9

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


class FrozenClock:
    """Epochs are chosen by the workload; the clock only has to be behind them or not."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now = now_ns

    def now_ns(self) -> int:
        return self.now

    def monotonic_ns(self) -> int:
        return self.now


class Shard:
    """A shard on one device."""

    def __init__(self, device: BlockDevice, live_path: Path, clock: FrozenClock) -> None:
        self.device = device
        self.live_path = live_path
        self.clock = clock
        self.config = MetaConfig(wal_bytes=WAL_BYTES, batch_sets=16, start_copy=InlineCopy)
        self.meta: MetaContext
        self.pool: VosPool
        self.lsn = Lsn(0)

    @classmethod
    async def create(cls, live_path: Path) -> Shard:
        shard = cls(MemoryDevice(DEVICE_BYTES), live_path, FrozenClock())
        await MetaContext.format(shard.device, uuid=uuid.UUID(int=1), config=shard.config)
        await shard.open()
        return shard

    async def open(self) -> None:
        self.meta = await MetaContext.open(
            self.device, config=self.config, live_path=self.live_path
        )
        self.pool = VosPool(self.meta, hlc=Hlc(self.clock))

    async def reopen(self, *, clean: bool) -> None:
        """As after a stop; or, not clean, as after a crash with nothing in flight."""
        await self.meta.close(checkpoint=clean)
        self.clock.now += 1_000_000
        await self.open()

    async def settle(self, lsn: int = 0) -> None:
        """Wait until everything is durable, or up to `lsn`."""
        await self.meta.durable(lsn or self.lsn)

    async def make_room(self) -> None:
        if not self.meta.log_has_room:
            await self.settle()
            await self.meta.checkpoint()


def name_of(error: DaosError) -> str:
    return error.code.name


class Twin:
    """A container and what it must answer."""

    def __init__(self, shard: Shard, container: VosContainer, model: Model) -> None:
        self.shard = shard
        self.container = container
        self.model = model

    @classmethod
    def create(cls, shard: Shard, name: ContainerUuid) -> Twin:
        shard.lsn = shard.pool.create_container(name)
        container = shard.pool.open_container(name)
        return cls(shard, container, Model(container.modification_bound))

    def opened(self) -> Twin:
        """The same container after the shard was opened again."""
        container = self.shard.pool.open_container(self.container.uuid)
        bound = container.modification_bound
        assert bound >= self.newest(), "what was read before the restart may be overwritten"
        return Twin(self.shard, container, Model(bound, tuple(self.model.history)))

    def newest(self) -> int:
        return max([self.model.bound, *(op.epoch for op in self.model.history)])

    # Changes

    async def update(self, op: Op, cond: int = 0) -> str:
        """Returns the error's name, "" for success."""
        await self.shard.make_room()
        assert isinstance(op.obj, UnitOid)
        assert op.dkey is not None
        verdict = self.model.judge_update(op, *_object_conds(cond))
        try:
            update = self.container.update_begin(
                op.obj, op.dkey, [_iod(write, cond) for write in op.writes], cond=cond
            )
            parts = [data for write in op.writes for _, _, data in write.parts if data]
            for destination, data in zip(update.destinations, parts, strict=True):
                destination[:] = data
            self.shard.lsn = self.container.update_end(update, Epoch(op.epoch))
            outcome = ""
        except DaosError as error:
            outcome = name_of(error)
        return self._judge(op, verdict.accepts(outcome), outcome, verdict)

    async def punch(self, op: Op, cond: int = 0) -> str:
        await self.shard.make_room()
        assert isinstance(op.obj, UnitOid)
        verdict = self.model.judge_punch(op, cond=bool(cond))
        try:
            self.shard.lsn = self.container.punch(
                op.obj, Epoch(op.epoch), dkey=op.dkey, akeys=op.akeys, cond=cond
            )
            outcome = ""
        except DaosError as error:
            outcome = name_of(error)
        return self._judge(op, verdict.accepts(outcome), outcome, verdict)

    def _judge(self, op: Op, accepted: bool, outcome: str, verdict: object) -> str:
        assert accepted, f"{op}\nended with {outcome or 'success'!r}, expected {verdict}"
        if not outcome:
            self.model.add(op)
        return outcome

    # Reads

    async def fetch(
        self, obj: UnitOid, dkey: bytes, iods: list[Iod], epoch: int, cond: int = 0
    ) -> None:
        view = self.model.view(obj, epoch)
        akeys = view.dkeys.get(dkey, {})
        may_miss = bool(cond & Cond.DKEY_FETCH) and not akeys
        must_miss = bool(cond & (Cond.DKEY_FETCH | Cond.AKEY_FETCH)) and dkey not in view.dkeys
        for iod in iods:
            own = iod.cond if cond & Cond.PER_AKEY else cond
            must_miss |= bool(own & Cond.AKEY_FETCH) and iod.akey not in akeys
        where = f"fetch {obj} {dkey!r} {iods} @{epoch} cond {cond:#x}"
        try:
            fetch = self.container.fetch_begin(obj, dkey, iods, Epoch(epoch), cond=cond)
        except DaosError as error:
            assert name_of(error) == "NONEXIST", f"{where}: {error}"
            assert must_miss or may_miss, f"{where}: {error}"
            return
        try:
            assert not must_miss, f"{where}: a condition should have failed"
            await self.shard.settle(fetch.lsn)
            ended: list[DaosError | None] = []
            self.container.fetch_read(fetch, ended.append)
            if not ended:
                await self.shard.settle()
            assert ended == [None], f"{where}: {ended}"
            found: list[list[tuple[int, bytes]]] = [[] for _ in iods]
            for (i, recx, index, count), data in zip(fetch.pieces, fetch.views, strict=True):
                lo = iods[i].recxs[recx].index + index if iods[i].recxs else 0
                size = fetch.sizes[i]
                assert len(data) == (count * size if iods[i].recxs else size), where
                found[i].append((lo, bytes(data)))
            for i, iod in enumerate(iods):
                value = view.value(dkey, iod.akey, iod.type)
                size, pieces = _expected(value, iod)
                assert fetch.sizes[i] == size, f"{where}: {iod.akey!r} {fetch.sizes[i]} != {size}"
                got = _joined(found[i], size)
                assert got == _joined(pieces, size), f"{where}: {iod.akey!r}"
        finally:
            self.container.fetch_end(fetch)

    def list_objects(self, epoch: int, rng: random.Random) -> None:
        found = _pages(self.container.list_objects, rng, Epoch(epoch))
        assert len(set(found)) == len(found), "an object was listed twice"
        assert set(found) == self.model.objects(epoch), f"objects @{epoch}"

    def list_dkeys(self, obj: UnitOid, epoch: int, rng: random.Random, prefix: bytes = b"") -> None:
        found = _pages(self.container.list_dkeys, rng, obj, Epoch(epoch), prefix=prefix)
        dkeys = self.model.view(obj, epoch).dkeys
        wanted = {dkey for dkey, akeys in dkeys.items() if akeys and dkey.startswith(prefix)}
        where = f"dkeys of {obj} @{epoch}: {found}, model {dkeys.keys()}"
        assert wanted <= set(found) <= set(dkeys), where
        _check_order(found, obj.oid.type.dkey_kind)

    def list_akeys(
        self, obj: UnitOid, dkey: bytes, epoch: int, rng: random.Random, prefix: bytes = b""
    ) -> None:
        found = _pages(self.container.list_akeys, rng, obj, dkey, Epoch(epoch), prefix=prefix)
        akeys = self.model.view(obj, epoch).dkeys.get(dkey, {})
        wanted = {akey for akey in akeys if akey.startswith(prefix)}
        assert set(found) == wanted, f"akeys of {obj} {dkey!r} @{epoch}: {found} != {wanted}"
        _check_order(found, obj.oid.type.akey_kind)

    def list_extents(
        self, obj: UnitOid, dkey: bytes, akey: bytes, epoch: int, rng: random.Random
    ) -> None:
        entries = _pages(self.container.list_extents, rng, obj, dkey, akey, Epoch(epoch))
        value = self.model.view(obj, epoch).value(dkey, akey, ARRAY)
        got = _merged((entry.lo, entry.hi, entry.epoch) for entry in entries)
        want = _merged(segment[:3] for segment in value.segments)
        where = f"extents of {obj} {dkey!r} {akey!r} @{epoch}"
        assert got == want, f"{where}: {got} != {want}"
        assert all(entry.record_size == value.size for entry in entries), where

    def query(self, obj: UnitOid, flags: int, epoch: int, dkey: bytes, akey: bytes) -> None:
        kinds = obj.oid.type.dkey_kind, obj.oid.type.akey_kind
        where = f"query {obj} {flags:#x} @{epoch} {dkey!r} {akey!r}"
        asked = bool(flags & QueryFlag.DKEY), bool(flags & QueryFlag.AKEY)
        got: tuple[bytes, bytes, int] | None = None
        with_akey = bool(flags & (QueryFlag.AKEY | QueryFlag.RECX))
        try:
            found = self.container.query_key(obj, flags, Epoch(epoch), dkey=dkey, akey=akey)
            edge = 0
            if found.recx is not None:
                edge = found.recx.index if flags & QueryFlag.MIN else found.recx.end - 1
            got = found.dkey or dkey, (found.akey or akey) if with_akey else b"", edge
        except DaosError as error:
            if any(a and kind is not KeyKind.UINT64 for a, kind in zip(asked, kinds, strict=True)):
                assert name_of(error) == "INVAL", f"{where}: {error}"
                return
            assert name_of(error) == "NONEXIST", f"{where}: {error}"
        view, down = self.model.view(obj, epoch), bool(flags & QueryFlag.MAX)
        dkeys = sorted(view.dkeys, key=_number, reverse=down) if asked[0] else [dkey]
        akeys = [akey] if with_akey else []
        if asked[1]:
            names = {name for below in view.dkeys.values() for name in below}
            akeys = sorted(names, key=_number, reverse=down) or [akey]
        end = 0 if not flags & QueryFlag.RECX else -1 if down else 1
        answers = list(view.outermost(dkeys, akeys, end))
        assert got in answers, f"{where}: {got}, not one of {answers}"

    async def check_all(self, epochs: Iterable[int], rng: random.Random) -> None:
        """Everything there is, as of each of the epochs."""
        known: dict[UnitOid, dict[bytes, dict[bytes, int]]] = {}
        for op in self.model.history:
            assert isinstance(op.obj, UnitOid)
            dkeys = known.setdefault(op.obj, {})
            for write in op.writes:
                dkeys.setdefault(op.dkey or b"", {})[write.akey] = write.kind
        for epoch in epochs:
            self.list_objects(epoch, rng)
            for obj, dkeys in known.items():
                self.list_dkeys(obj, epoch, rng)
                for dkey, akeys in dkeys.items():
                    self.list_akeys(obj, dkey, epoch, rng)
                    iods = [_iod_all(akey, kind) for akey, kind in akeys.items()]
                    await self.fetch(obj, dkey, iods, epoch)


def _pages(
    list_: Callable[..., Page[Any]], rng: random.Random, *args: object, **kwargs: object
) -> list[Any]:
    """All entries, page by page."""
    found: list[Any] = []
    anchor = b""
    for _ in range(1000):
        limit = rng.randint(1, 4)
        page = list_(*args, anchor=anchor, limit=limit, **kwargs)
        assert len(page.entries) <= limit
        found += page.entries
        if page.eof:
            return found
        assert page.anchor
        anchor = page.anchor
    raise AssertionError("an enumeration does not end")


def _iod(write: Write, cond: int) -> Iod:
    own = {"": 0, "insert": int(Cond.AKEY_INSERT), "update": int(Cond.AKEY_UPDATE)}[write.cond]
    recxs = tuple(Recx(lo, hi - lo) for lo, hi, _ in write.parts) if write.kind == ARRAY else ()
    return Iod(
        write.akey, IodType(write.kind), write.size, recxs, own if cond & Cond.PER_AKEY else 0
    )


def _iod_all(akey: bytes, kind: int) -> Iod:
    return Iod(akey, IodType(kind), 0, (Recx(0, 1 << 63),) if kind == ARRAY else ())


def _object_conds(cond: int) -> list[str]:
    conds = []
    if cond & (Cond.DKEY_UPDATE | Cond.AKEY_UPDATE):
        conds.append("object update")
    if cond & Cond.DKEY_INSERT:
        conds.append("dkey insert")
    elif cond & (Cond.DKEY_UPDATE | Cond.AKEY_UPDATE):
        conds.append("dkey update")
    return conds


def _expected(value: Value, iod: Iod) -> tuple[int, list[tuple[int, bytes]]]:
    if iod.type == IodType.SINGLE:
        return len(value.single), [(0, value.single)] if value.single else []
    pieces = [
        (lo, data)
        for recx in iod.recxs
        for lo, _, _, data in value.cut(recx.index, recx.index + recx.count)
    ]
    return (value.size if pieces else 0), pieces


def _joined(pieces: list[tuple[int, bytes]], size: int) -> list[tuple[int, bytes]]:
    """Neighbouring pieces as one, wherever they were cut."""
    joined: list[tuple[int, bytes]] = []
    for lo, data in pieces:
        if joined and size and joined[-1][0] + len(joined[-1][1]) // size == lo:
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((lo, data))
    return joined


def _merged(ranges: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Neighbours of one epoch as one; overlaps stay, to be seen."""
    merged: list[tuple[int, int, int]] = []
    for lo, hi, epoch in ranges:
        if merged and merged[-1][1:] == (lo, epoch):
            merged[-1] = (merged[-1][0], hi, epoch)
        else:
            merged.append((lo, hi, epoch))
    return merged


def _number(key: bytes) -> int:
    return int.from_bytes(key, "little")


def _check_order(found: list[bytes], kind: KeyKind) -> None:
    assert len(set(found)) == len(found), f"a key was listed twice: {found}"
    if kind is KeyKind.LEXICAL:
        assert found == sorted(found), "not in lexical order"
    if kind is KeyKind.UINT64:
        assert found == sorted(found, key=_number), "not in numeric order"


class Workload:
    """Random calls on a shard with up to two containers."""

    def __init__(self, shard: Shard, seed: int) -> None:
        rng = random.Random(seed)
        self.shard = shard
        self.objects = rng.sample(OBJECTS, 3)
        self.names = [ContainerUuid(uuid.UUID(int=100 + i)) for i in range(2)]
        self.twins = {self.names[0]: Twin.create(shard, self.names[0])}
        self.steps = 0
        self._fill = 0

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
        ]
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
        if rng.random() < 0.4 or not twin.model.history:
            return rng.choice((twin.newest(), twin.newest() + 9, EPOCH_MAX))
        return max(1, rng.choice(twin.model.history).epoch + rng.randint(-1, 1))

    def _keys(self, rng: random.Random, count: int = 1) -> tuple[UnitOid, bytes, list[int]]:
        obj = rng.choice(self.objects)
        dkey = rng.choice(KEYS[obj.oid.type.dkey_kind][:3])
        return obj, dkey, rng.sample(range(len(AKEY_KINDS)), count)

    def _data(self, nbytes: int) -> bytes:
        self._fill += 1
        unit = self._fill.to_bytes(4, "little")
        return (unit * (nbytes // 4 + 1))[:nbytes]

    def _write(self, rng: random.Random, akey: bytes, place: int, cond: str) -> Write:
        kind, size = AKEY_KINDS[place]
        if rng.random() < 0.03:
            kind, size = rng.choice(AKEY_KINDS + ((ARRAY, 2),))
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

    async def update(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self._keys(rng, rng.choice((1, 1, 1, 2, 3)))
        cond = 0
        if rng.random() < 0.3:
            cond = rng.choice(
                (
                    Cond.DKEY_INSERT,
                    Cond.DKEY_UPDATE,
                    Cond.AKEY_INSERT,
                    Cond.AKEY_UPDATE,
                    Cond.PER_AKEY,
                    Cond.PER_AKEY | Cond.DKEY_UPDATE,
                    Cond.DKEY_INSERT | Cond.AKEY_INSERT,
                    Cond.DKEY_UPDATE | Cond.AKEY_INSERT,
                )
            )
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
            writes.append(self._write(rng, names[place], place, own))
        op = Op(self._new_epoch(twin, rng), obj, dkey, tuple(writes))
        await twin.update(op, int(cond))
        if rng.random() < 0.2:
            iods = [_iod_all(write.akey, write.kind) for write in writes]
            await twin.fetch(obj, dkey, iods, op.epoch)

    async def punch(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self._keys(rng, rng.choice((1, 1, 2, 4)))
        names = KEYS[obj.oid.type.akey_kind]
        level = rng.choice(("object", "dkey", "akey", "akey", "akey"))
        op = Op(
            self._new_epoch(twin, rng),
            obj,
            None if level == "object" else dkey,
            akeys=tuple(names[place] for place in places) if level == "akey" else (),
        )
        await twin.punch(op, rng.choice((0, 0, int(Cond.PUNCH))))

    async def fetch(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self._keys(rng, rng.randint(1, 4))
        names = KEYS[obj.oid.type.akey_kind]
        cond = 0
        if rng.random() < 0.3:
            cond = rng.choice((Cond.DKEY_FETCH, Cond.AKEY_FETCH, Cond.PER_AKEY))
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
        await twin.fetch(obj, dkey, iods, self._read_epoch(twin, rng), int(cond))

    async def enumerate(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self._keys(rng)
        epoch = self._read_epoch(twin, rng)
        level = rng.choice(("objects", "dkeys", "akeys", "extents"))
        dkey_kind, akey_kind = obj.oid.type.dkey_kind, obj.oid.type.akey_kind
        prefix = rng.choice((b"", b"a", b"x" * 400, b"k"))
        if level == "objects":
            twin.list_objects(epoch, rng)
        elif level == "dkeys":
            twin.list_dkeys(obj, epoch, rng, prefix if dkey_kind is not KeyKind.UINT64 else b"")
        elif level == "akeys":
            prefix = prefix if akey_kind is not KeyKind.UINT64 else b""
            twin.list_akeys(obj, dkey, epoch, rng, prefix)
        else:
            twin.list_extents(obj, dkey, KEYS[akey_kind][places[0]], epoch, rng)

    async def query(self, rng: random.Random) -> None:
        twin = self._twin(rng)
        obj, dkey, places = self._keys(rng)
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

    async def check(self, rng: random.Random) -> None:
        for twin in self.twins.values():
            epochs = {self._read_epoch(twin, rng) for _ in range(2)}
            await twin.check_all({*epochs, twin.newest()}, rng)


def first_epoch() -> Epoch:
    return epoch_from_unix_ns(START_NS)
