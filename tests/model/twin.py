"""A shard and its containers beside their models: every call goes to both, and is compared.

Shard   a MetaContext and a VosPool on a memory device; reopened at will
Twin    one container and its model
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from daos.base.errors import DaosError
from daos.base.hlc import Hlc
from daos.base.ids import ContainerUuid, Epoch, KeyKind, Lsn, UnitOid
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.bio.checkpoint import InlineCopy
from daos.bio.device import BlockDevice
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.devices import MemoryDevice
from daos.vos.container import VosContainer
from daos.vos.iterate import Page
from daos.vos.keys import AKEY, OBJECT
from daos.vos.pool import VosPool
from daos.vos.versions import Epochs
from daos.vos.visit import VALUE, Action, Callbacks, Entry, Flag, Wanted
from tests.model.vos_model import ARRAY, SINGLE, Model, Op, Value, Write

DEVICE_BYTES: Final = 64 << 20
WAL_BYTES: Final = 512 << 10
CONFIG: Final = MetaConfig(wal_bytes=WAL_BYTES, batch_sets=16, start_copy=InlineCopy)
START_NS: Final = 1_700_000_000 * 10**9
VISITED_MAX: Final = 100_000  # entries; the stories are far smaller


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

    def __init__(
        self, device: BlockDevice, live_path: Path, clock: FrozenClock, config: MetaConfig
    ) -> None:
        self.device = device
        self.live_path = live_path
        self.clock = clock
        self.config = config
        self.meta: MetaContext
        self.pool: VosPool
        self.lsn = Lsn(0)

    @classmethod
    async def create(cls, live_path: Path) -> Shard:
        shard = cls(MemoryDevice(DEVICE_BYTES), live_path, FrozenClock(), CONFIG)
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
        self.tolerated: frozenset[str] = frozenset()  # errors that the model cannot foresee

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
        model = Model(bound, tuple(self.model.history), self.model.cleared)
        return Twin(self.shard, container, model)

    def newest(self) -> int:
        return max([self.model.bound, *(op.epoch for op in self.model.history)])

    # Changes

    async def update(self, op: Op, cond: int = 0) -> str:
        """Returns the error's name, "" for success."""
        await self.shard.make_room()
        assert isinstance(op.obj, UnitOid)
        assert op.dkey is not None
        verdict = self.model.judge_update(op, *_object_conds(cond))
        update = None
        try:
            update = self.container.update_begin(
                op.obj, op.dkey, [iod_of(write, cond) for write in op.writes], cond=cond
            )
            parts = [data for write in op.writes for _, _, data in write.parts if data]
            for destination, data in zip(update.destinations, parts, strict=True):
                destination[:] = data
            self.shard.lsn = self.container.update_end(update, Epoch(op.epoch))
            outcome = ""
        except DaosError as error:
            outcome = name_of(error)
            if update is not None:
                self.container.update_cancel(update)
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
        accepted |= outcome in self.tolerated
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
        outcome = ""
        try:
            fetch = self.container.fetch_begin(obj, dkey, iods, Epoch(epoch), cond=cond)
        except DaosError as error:
            outcome = name_of(error)
        if outcome:
            assert outcome == "NONEXIST", f"{where}: {outcome}"
            assert must_miss or may_miss, f"{where}: {outcome}"
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
        found = _pages(self.container.list_objects, rng, Epoch(epoch), reverse=_way(rng))
        assert len(set(found)) == len(found), "an object was listed twice"
        assert set(found) == self.model.objects(epoch), f"objects @{epoch}"

    def list_dkeys(self, obj: UnitOid, epoch: int, rng: random.Random, prefix: bytes = b"") -> None:
        kind = obj.oid.type.dkey_kind
        dkeys = self.model.view(obj, epoch).dkeys
        start, reverse = _start(rng, kind, list(dkeys)), _way(rng)
        found = _pages(
            self.container.list_dkeys,
            rng,
            obj,
            Epoch(epoch),
            prefix=prefix,
            start=start,
            reverse=reverse,
        )
        dkeys = {
            dkey: akeys
            for dkey, akeys in dkeys.items()
            if dkey.startswith(prefix) and _begun(dkey, start, kind, reverse=reverse)
        }
        wanted = {dkey for dkey, akeys in dkeys.items() if akeys}
        where = f"dkeys of {obj} @{epoch}: {found}, model {dkeys.keys()}"
        assert wanted <= set(found) <= set(dkeys), where
        _check_order(found, kind, reverse=reverse)

    def list_akeys(
        self, obj: UnitOid, dkey: bytes, epoch: int, rng: random.Random, prefix: bytes = b""
    ) -> None:
        kind = obj.oid.type.akey_kind
        akeys = self.model.view(obj, epoch).dkeys.get(dkey, {})
        start, reverse = _start(rng, kind, list(akeys)), _way(rng)
        found = _pages(
            self.container.list_akeys,
            rng,
            obj,
            dkey,
            Epoch(epoch),
            prefix=prefix,
            start=start,
            reverse=reverse,
        )
        wanted = {
            akey
            for akey in akeys
            if akey.startswith(prefix) and _begun(akey, start, kind, reverse=reverse)
        }
        assert set(found) == wanted, f"akeys of {obj} {dkey!r} @{epoch}: {found} != {wanted}"
        _check_order(found, kind, reverse=reverse)

    def list_extents(
        self, obj: UnitOid, dkey: bytes, akey: bytes, epoch: int, rng: random.Random
    ) -> None:
        reverse = _way(rng)
        entries = _pages(
            self.container.list_extents, rng, obj, dkey, akey, Epoch(epoch), reverse=reverse
        )
        entries = entries[::-1] if reverse else entries
        value = self.model.view(obj, epoch).value(dkey, akey, ARRAY)
        where = f"extents of {obj} {dkey!r} {akey!r} @{epoch}"
        merged = self.model.cleared.merged  # up to here epochs do not tell who wrote what
        got = _merged((entry.lo, entry.hi, max(entry.epoch, merged)) for entry in entries)
        want = _merged((lo, hi, max(at, merged)) for lo, hi, at, _ in value.segments)
        assert got == want, f"{where}: {got} != {want}"
        assert all(entry.record_size == value.size for entry in entries), where

    def visit(self, epoch: int, rng: random.Random) -> None:
        """Objects, dkeys and akeys of a visit in steps of any size."""
        found: list[Entry] = []

        def pre(entry: Entry) -> int:
            found.append(entry)
            assert len(found) < VISITED_MAX, "a visit comes back to where it was"
            return Action.YIELD if rng.random() < 0.1 else Action.NONE

        wanted = Wanted(Epochs(0, epoch), flags=Flag.REVERSE if _way(rng) else 0)
        visit = self.container.visit(None, Callbacks(pre), wanted=wanted)
        while visit.step(rng.randint(1, 9)):
            pass
        keys = [entry[:4] for entry in found if entry.level != VALUE]
        assert len(set(keys)) == len(keys), "a key was visited twice"
        for obj in self.model.objects(epoch):
            assert isinstance(obj, UnitOid)
            dkeys = self.model.view(obj, epoch).dkeys
            want = {(d, a) for d, akeys in dkeys.items() for a in akeys}
            got = {(e.dkey, e.akey) for e in found if e.level == AKEY and e.oid == obj}
            assert got == want, f"visit of {obj} @{epoch}: {got} != {want}"
        objects = {entry.oid for entry in found if entry.level == OBJECT}
        assert objects == self.model.objects(epoch), f"visit @{epoch}"

    def list_versions(
        self, obj: UnitOid, dkey: bytes, akey: bytes, epochs: Epochs, rng: random.Random
    ) -> None:
        """All that was accepted under an akey, in order, and what a punch has covered."""
        merged = self.model.cleared.merged  # what stands below, aggregation has chosen
        epochs = epochs._replace(lo=max(epochs.lo, merged + 1))
        if epochs.lo > epochs.hi:
            return
        reverse = _way(rng)
        entries = _pages(
            self.container.list_versions, rng, obj, dkey, akey, epochs, reverse=reverse
        )
        entries = entries[::-1] if reverse else entries
        where = f"versions of {obj} {dkey!r} {akey!r} in {epochs}"
        written, kind = self.model.written(obj, dkey, akey)
        want = {key: size for key, size in written.items() if epochs.lo <= key[2] <= epochs.hi}
        got = [(entry.lo, entry.hi, entry.epoch) for entry in entries]
        by_epoch = kind == SINGLE
        order = sorted(want, key=lambda v: v[2] if by_epoch else (v[0], -v[2], v[1]))
        assert got == order, f"{where}: {got} != {order}"
        for entry in entries:
            assert entry.size == want[entry.lo, entry.hi, entry.epoch], where
            covered = self.model.covered(obj, dkey, akey, entry.epoch, epochs.hi)
            assert covered in (None, entry.covered), f"{where}: {entry}"

    def query(self, obj: UnitOid, flags: int, epoch: int, dkey: bytes, akey: bytes) -> None:
        kinds = obj.oid.type.dkey_kind, obj.oid.type.akey_kind
        where = f"query {obj} {flags:#x} @{epoch} {dkey!r} {akey!r}"
        asked = bool(flags & QueryFlag.DKEY), bool(flags & QueryFlag.AKEY)
        got: tuple[bytes, bytes, int] | None = None
        outcome = ""
        with_akey = bool(flags & (QueryFlag.AKEY | QueryFlag.RECX))
        try:
            search = self.container.key_search(obj, flags, Epoch(epoch), dkey=dkey, akey=akey)
            while search.step(2):
                pass
            found = search.result()
            edge = 0
            if found.recx is not None:
                edge = found.recx.index if flags & QueryFlag.MIN else found.recx.end - 1
            got = found.dkey or dkey, (found.akey or akey) if with_akey else b"", edge
        except DaosError as error:
            outcome = name_of(error)
        if any(a and kind is not KeyKind.UINT64 for a, kind in zip(asked, kinds, strict=True)):
            assert outcome == "INVAL", f"{where}: {outcome}"
            return
        assert outcome in ("", "NONEXIST"), f"{where}: {outcome}"
        view, down = self.model.view(obj, epoch), bool(flags & QueryFlag.MAX)
        dkeys = sorted(view.dkeys, key=_number, reverse=down) if asked[0] else [dkey]
        akeys = [akey] if with_akey else []
        if asked[1]:
            names = {name for below in view.dkeys.values() for name in below}
            akeys = sorted(names, key=_number, reverse=down) or [akey]
        end = 0 if not flags & QueryFlag.RECX else -1 if down else 1
        answers = list(view.outermost(dkeys, akeys, end))
        assert got in answers, f"{where}: {got}, not one of {answers}"

    def newest_epoch(self, obj: UnitOid, epoch: int) -> None:
        for _ in self.looking_for_newest(obj, epoch):
            pass

    def looking_for_newest(self, obj: UnitOid, epoch: int) -> Iterator[None]:
        """Step by step; what is written meanwhile may count."""
        least, was_over = self.model.newest(obj, epoch)
        search = self.container.newest_epoch(obj, Epoch(epoch))
        while search.step(1 + epoch % 7):
            yield
        most, is_over = self.model.newest(obj, epoch)
        where = f"newest epoch of {obj} @{epoch}: {search.epoch}"
        if search.epoch or not (was_over or is_over):
            assert least <= search.epoch <= most, f"{where}, not {least} to {most}"
        assert search.lsn <= self.shard.meta.lsn_last

    def list_changes(self, a: int, b: int, rng: random.Random) -> None:
        """What changed between two epochs of which somebody can tell."""
        found: dict[UnitOid, dict[tuple[bytes, bytes], tuple[str, set[Any], set[Any]]]] = {}
        anchor, eof = b"", False
        while not eof:
            page = self.container.list_changes(
                Epoch(a), Epoch(b), anchor=anchor, limit=rng.choice((1, 2, 9, 300))
            )
            for unit, dkey, akey, kind, _, ranges in page.entries:
                keys = found.setdefault(unit, {})
                _, written, gone = keys.setdefault((dkey, akey), (kind.name.lower(), set(), set()))
                for lo, hi, is_written in ranges:
                    (written if is_written else gone).add((lo, hi))
            anchor, eof = page.anchor, page.eof
        for obj in {op.obj for op in self.model.history}:
            assert isinstance(obj, UnitOid)
            want = {
                key: (kind, _whole(written), _whole(gone))
                for key, (kind, written, gone) in self.model.changes(obj, a, b).items()
            }
            got = {
                key: (kind, _whole(written), _whole(gone))
                for key, (kind, written, gone) in found.pop(obj, {}).items()
            }
            assert got == want, f"changes of {obj} in ({a}, {b}]: {got} != {want}"
        assert not found, "changes of objects that never were"

    async def check_all(self, epochs: Collection[int], rng: random.Random) -> None:
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
                self.newest_epoch(obj, epoch)
                for dkey, akeys in dkeys.items():
                    self.list_akeys(obj, dkey, epoch, rng)
                    iods = [iod_all(akey, kind) for akey, kind in akeys.items()]
                    await self.fetch(obj, dkey, iods, epoch)
        newest = max(epochs, default=0)
        for obj, dkeys in known.items() if newest else ():
            for dkey, akeys in dkeys.items():
                for akey in akeys:
                    self.list_versions(obj, dkey, akey, Epochs(0, newest), rng)


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


def iod_of(write: Write, cond: int) -> Iod:
    own = {"": 0, "insert": int(Cond.AKEY_INSERT), "update": int(Cond.AKEY_UPDATE)}[write.cond]
    recxs = tuple(Recx(lo, hi - lo) for lo, hi, _ in write.parts) if write.kind == ARRAY else ()
    return Iod(
        write.akey, IodType(write.kind), write.size, recxs, own if cond & Cond.PER_AKEY else 0
    )


def iod_all(akey: bytes, kind: int) -> Iod:
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


def _whole(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that touch, as one."""
    whole: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if whole and whole[-1][1] == lo:
            whole[-1] = (whole[-1][0], hi)
        else:
            whole.append((lo, hi))
    return whole


def _number(key: bytes) -> int:
    return int.from_bytes(key, "little")


def _check_order(found: list[bytes], kind: KeyKind, *, reverse: bool) -> None:
    assert len(set(found)) == len(found), f"a key was listed twice: {found}"
    if kind is KeyKind.LEXICAL:
        assert found == sorted(found, reverse=reverse), "not in lexical order"
    if kind is KeyKind.UINT64:
        assert found == sorted(found, key=_number, reverse=reverse), "not in numeric order"


def _way(rng: random.Random) -> bool:
    """Whether to list backwards."""
    return rng.random() < 0.5


def _start(rng: random.Random, kind: KeyKind, known: list[bytes]) -> bytes:
    """Where to begin: anywhere, or at a key that is there, or beside one."""
    if kind is KeyKind.HASHED or rng.random() < 0.5 or not known:
        return b""
    key = rng.choice(sorted(known))
    if kind is KeyKind.UINT64:
        return (_number(key) + rng.randint(-1, 1) & (1 << 64) - 1).to_bytes(8, "little")
    return rng.choice((key, key + b"\0", key[:-1] or b"\0", key[:-1] + b"\xff"))


def _begun(key: bytes, start: bytes, kind: KeyKind, *, reverse: bool) -> bool:
    """Whether a key lies at `start` or behind it."""
    if not start or key == start:
        return True
    after = _number(key) > _number(start) if kind is KeyKind.UINT64 else key > start
    return after is not reverse
