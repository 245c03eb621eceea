"""Where the store ends: long histories, deep stacks, scattered space, large requests, anchors."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daos.base.checksum import xxh3
from daos.base.errors import DER, DaosError, InvalidError, NoSpaceError, RecordTooBigError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import Iod, IodType, Recx
from daos.bio.device import BLOCK
from daos.bio.meta import MetaContext
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys, reserve
from daos.vos.container import VosContainer
from daos.vos.edit import changed
from daos.vos.ilog import ENTRIES_MAX, Ilog, IlogEntry, Status
from daos.vos.ilog_view import view
from daos.vos.iterate import Page
from daos.vos.nodes import load
from daos.vos.versions import Epochs

OID = unit(1)
LEXICAL = unit(2, ObjectType.DKEY_LEXICAL)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


# Histories


def history(count: int, *, first: int = 10) -> Ilog:
    """Create, punch, create, ... in `count` entries, an epoch each."""
    entries = [IlogEntry(first + i, 0, *((0, 9) if i % 2 == 0 else (9, 0))) for i in range(count)]
    return Ilog(tuple(entries), count)


def test_a_long_history_costs_a_reader_nothing() -> None:
    """What is newest decides; a reader of the past passes over what is newer."""
    asked = 0

    def status(entry: IlogEntry) -> Status:
        nonlocal asked
        asked += 1
        return Status.COMMITTED

    log = history(ENTRIES_MAX)
    seen = view(log, 1 << 40, status=status)
    assert seen.create == 10 + ENTRIES_MAX - 1
    assert seen.prior_punch.epoch == 10 + ENTRIES_MAX - 2
    assert asked <= 3


@pytest.mark.parametrize("level", ["object", "dkey", "akey"])
@on_shard
async def test_a_history_that_is_full(shard: MemoryShard, c: VosContainer, level: str) -> None:
    """It exists: read, written, not punched. Its parent and its neighbours are as ever."""
    await shard.put(c, OID, b"d", {b"a": b"first"}, epoch=10)
    kind = {"object": keys.OBJECT, "dkey": keys.DKEY, "akey": keys.AKEY}[level]
    for key, value in list(shard.meta.cursor()):
        if len(key) > 9 and key[8] == kind and key[:8] != bytes(8):
            node = load(key, value)
            tx = shard.meta.begin()
            tx.put(key, changed(node.record, ilog=history(ENTRIES_MAX).emit()).emit())
            tx.commit()
    c.nodes.cache.clear()
    later = 20 + ENTRIES_MAX
    punched: dict[str, dict[str, object]] = {
        "object": {},
        "dkey": {"dkey": b"d"},
        "akey": {"dkey": b"d", "akeys": [b"a"]},
    }
    await shard.put(c, OID, b"d", {b"a": b"last"}, epoch=later)
    assert await shard.get(c, OID, b"d", b"a", epoch=later) == b"last"
    before = shard.meta._tree.entries()
    with pytest.raises(
        DaosError, match=f"this {level} was created and punched 2,047 times"
    ) as full:
        c.punch(OID, Epoch(later + 1), **punched[level])  # type: ignore[arg-type]
    assert full.value.code == DER.OVERFLOW
    assert shard.meta._tree.entries() == before
    assert await shard.get(c, OID, b"d", b"a", epoch=later + 1) == b"last"
    await shard.put(c, OID, b"d", {b"a": b"again", b"b": b"new"}, epoch=later + 2)
    await shard.put(c, OID, b"e", {b"a": b"new"}, epoch=later + 3)
    if level != "object":
        c.punch(OID, Epoch(later + 4))  # from above
        assert await shard.get(c, OID, b"d", b"a", epoch=later + 5) is None
        with pytest.raises(DaosError, match=f"this {level} was created and punched"):
            await shard.put(c, OID, b"d", {b"a": b"no"}, epoch=later + 6)
    await shard.reopen()
    assert await shard.get(shard.container(), OID, b"d", b"a", epoch=later + 3) == b"again"


class Counting:
    """Counts the steps of cursors."""

    def __init__(self, meta: MetaContext) -> None:
        self._meta = meta
        self.steps = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = self._meta.cursor
        counting = self

        class Cursor:
            def __init__(self) -> None:
                self._cursor = real()

            def __getattr__(self, name: str) -> object:
                counting.steps += name in ("set_range", "next", "prev", "last")
                return getattr(self._cursor, name)

        monkeypatch.setattr(MetaContext, "cursor", lambda meta: Cursor())


@pytest.mark.parametrize("what", ["single", "array", "narrow"])
@on_shard
async def test_a_deep_stack_costs_as_much_as_a_flat_one(
    shard: MemoryShard, c: VosContainer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One key written 3,000 times: the newest and the oldest are found in as many steps."""
    iod = Iod(b"a", SINGLE, 8) if what == "single" else Iod(b"a", ARRAY, 1, (Recx(0, 8),))
    counting = Counting(shard.meta)
    counting.install(monkeypatch)
    costs: dict[int, tuple[int, int]] = {}
    for count in range(1, 3001):
        if not shard.meta.log_has_room:
            await shard.meta.checkpoint()
        if what == "narrow" and count % 2:
            iod = Iod(b"a", ARRAY, 1, (Recx(0, 5 + count % 4),))  # of one width class
        before = counting.steps
        update = c.update_begin(OID, b"d", [iod])
        update.destinations[0][:] = b"%08d" % count if iod.nbytes == 8 else b"x" * iod.nbytes
        c.update_end(update, Epoch(10 * count))
        wrote = counting.steps - before
        before = counting.steps
        read = Iod(b"a", iod.type, 0, iod.recxs)
        c.fetch_end(c.fetch_begin(OID, b"d", [read], Epoch(10 * count)))
        costs[count] = wrote, counting.steps - before
    assert max(costs[i] for i in range(2900, 3001)) <= max(costs[i] for i in range(3, 100))
    before = counting.steps
    c.fetch_end(c.fetch_begin(OID, b"d", [read], Epoch(15)))
    assert counting.steps - before <= 4


# Space


@on_shard
async def test_small_values_are_bounded_before_memory_is_taken(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of some kilobytes may name a gigabyte of values below the threshold."""
    monkeypatch.setattr("daos.vos.update.take", lambda *args: pytest.fail("memory was taken"))
    ranges = tuple(Recx(10_000 * i, 4000) for i in range(16_384))
    iods = [Iod(b"%d" % i, ARRAY, 1, ranges) for i in range(16)]
    with pytest.raises(RecordTooBigError, match="1048576000 bytes of small values"):
        c.update_begin(OID, b"d", iods)


@on_shard
async def test_scattered_values_hold_room_for_their_runs(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = shard.meta.space
    assert shard.meta._room.manifest.grow(5000)
    blocks = [space.reserve(1) for _ in range(space.blocks_free)]
    for block in blocks[:2000:2]:
        space.cancel(block)
    for iod in (
        Iod(b"s", SINGLE, 500 * BLOCK),
        Iod(b"a", ARRAY, 1, (Recx(0, 400 * BLOCK), Recx(1 << 30, 100 * BLOCK))),
    ):
        before = shard.meta._room.pages_held
        update = c.update_begin(OID, b"d", [iod])
        assert len(update.taken.runs) == 500
        assert shard.meta._room.pages_held - before > 498 * 512 // 1024
        data = random.Random(1).randbytes(500 * BLOCK)
        at = 0
        for destination in update.destinations:
            destination[:] = data[at : at + len(destination)]
            at += len(destination)
        await shard.meta.durable(c.update_end(update, Epoch(10)))
        assert shard.meta._room.pages_held == before
        read = Iod(iod.akey, iod.type, 0, iod.recxs)
        _, views = await shard.fetch(c, OID, b"d", [read], epoch=20)
        assert b"".join(views) == data
        if iod.type == ARRAY:
            break
        for block in blocks[2000:4000:2]:
            space.cancel(block)
    real = shard.meta.hold

    def refuse(*, tree_bytes: int, data_blocks: int, last: bool = False) -> object:
        if not data_blocks:
            raise NoSpaceError("no room for runs")
        return real(tree_bytes=tree_bytes, data_blocks=data_blocks, last=last)

    for block in blocks[4000:6000:2]:
        space.cancel(block)
    free = space.blocks_free
    monkeypatch.setattr(shard.meta, "hold", refuse)
    with pytest.raises(NoSpaceError, match="no room for runs"):
        c.update_begin(OID, b"d", [Iod(b"t", SINGLE, 500 * BLOCK)])
    monkeypatch.setattr(reserve, "RUNS_MAX", 100)
    with pytest.raises(NoSpaceError, match="scattered"):
        c.update_begin(OID, b"d", [Iod(b"t", SINGLE, 500 * BLOCK)])
    assert space.blocks_free == free
    assert shard.meta._room.pages_held == 0
    assert shard.meta.memory.statistics().buffers_in_use == 0


# Anchors


@settings(max_examples=60, deadline=None)
@given(
    position=st.one_of(
        st.binary(max_size=600),
        st.integers(380, 511).map(lambda size: b"\xff" * size),
        st.integers(380, 511).map(lambda size: b"k" * size),
    ),
    version=st.integers(1, 3),
)
def test_anchors_that_nobody_gave(position: bytes, version: int) -> None:
    """Forged with the right checksum: a page or InvalidError, whatever the position."""

    @on_shard
    async def body(shard: MemoryShard, c: VosContainer) -> None:
        for oid in (OID, LEXICAL):
            for key in (b"d", b"k" * 401, b"k" * 402):
                await shard.put(c, oid, key, {b"a": b"x"}, epoch=10)
        update = c.update_begin(OID, b"d", [Iod(b"arr", ARRAY, 1, (Recx(0, 5), Recx(7, 5)))])
        c.update_end(update, Epoch(20))
        at: Any = Epoch(99)
        listings: list[Callable[..., Page[Any]]] = [
            partial(c.list_objects, at),
            partial(c.list_dkeys, OID, at),
            partial(c.list_dkeys, LEXICAL, at),
            partial(c.list_akeys, OID, b"d", at),
            partial(c.list_extents, OID, b"d", b"arr", at),
            partial(c.list_versions, OID, b"d", b"arr", Epochs()),
            partial(c.list_versions, OID, b"two", b"a", Epochs()),
        ]
        await shard.put(c, OID, b"two", {b"a": b"x"}, epoch=10)
        await shard.put(c, OID, b"two", {b"a": b"x"}, epoch=11)
        listings += [partial(listing, reverse=True) for listing in listings]
        for listing in listings:
            first = listing(limit=1).anchor
            forged = bytes([version]) + first[1:9] + position
            forged += xxh3(forged).to_bytes(8, "big")
            try:
                page = listing(anchor=forged, limit=1)
            except InvalidError:
                continue
            assert len(page.entries) <= 1

    body()
