"""Scenarios of the reference's extent tree: what iterators show, delete and survive.

The oracle is a list with an entry for each record: which extents cover it. Nothing of the store is
asked to make it.

Source: DAOS src/vos/tests/evt_ctl.c, evt_ctl.sh; internals §9.3
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pytest

from daos.base.errors import AccessError, DaosError, NoSpaceError, NotFoundError
from daos.base.ids import EPOCH_MAX, Epoch
from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.iterate import Where
from daos.vos.versions import Epochs
from daos.vos.visit import Action, Callbacks, Entry, Flag, Wanted

OID, KEYS = unit(1), (b"d", b"a")
WHERE = Where(OID, *KEYS)
Shown = tuple[int, int, int, bool]  # first record, end, epoch, covered


class Wrote(NamedTuple):
    """Records [lo, hi) at an epoch; a hole if not `data`."""

    lo: int
    hi: int
    epoch: int
    data: bool = True


async def write(shard: MemoryShard, c: VosContainer, each: Wrote) -> None:
    if each.data:
        text = b"%c" % (each.epoch % 26 + 97)
        await shard.write(c, OID, KEYS, {each.lo: text * (each.hi - each.lo)}, epoch=each.epoch)
        return
    hole = Iod(KEYS[1], IodType.ARRAY, 0, (Recx(each.lo, each.hi - each.lo),))
    await shard.update(c, OID, KEYS[0], [hole], b"", epoch=each.epoch)


def shown(
    c: VosContainer,
    flags: int = 0,
    epochs: tuple[int, int] = (0, int(EPOCH_MAX)),
    pre: Callable[[Entry], int] | None = None,
) -> list[Shown]:
    found: list[Shown] = []

    def note(entry: Entry) -> int:
        found.append((entry.lo, entry.hi, entry.epoch, entry.covered))
        return pre(entry) if pre else 0

    visit = c.visit(WHERE, Callbacks(note), wanted=Wanted(Epochs(*epochs), flags=flags))
    while visit.step(7):
        pass
    return found


def expected(
    written: Iterable[Wrote],
    flags: int,
    epochs: tuple[int, int] = (0, int(EPOCH_MAX)),
    floor: int = 0,
) -> list[Shown]:
    """By looking at every record: runs of it that are the newest there, and runs that are not."""
    inside = [each for each in written if epochs[0] <= each.epoch <= epochs[1]]
    newest: dict[int, int] = {}
    for each in inside:
        for at in range(each.lo, each.hi):
            if each.epoch > floor:
                newest[at] = max(newest.get(at, 0), each.epoch)
    found: list[Shown] = []
    for each in inside:
        if not each.data and flags & Flag.SKIP_HOLES:
            continue
        for lo, hi, seen in _runs(each, newest):
            if seen or flags & Flag.COVERED == Flag.COVERED:
                found.append((lo, hi, each.epoch, not seen))
    found.sort(key=lambda shown: (shown[0], -shown[2]))
    return found[::-1] if flags & Flag.REVERSE else found


def _runs(each: Wrote, newest: dict[int, int]) -> Iterator[tuple[int, int, bool]]:
    lo = each.lo
    for at in range(each.lo + 1, each.hi + 1):
        seen = newest.get(lo) == each.epoch
        if at == each.hi or (newest.get(at) == each.epoch) is not seen:
            yield lo, at, seen
            lo = at


@pytest.mark.parametrize("seed", range(6))
@on_shard
async def test_iteration_options(shard: MemoryShard, c: VosContainer, seed: int) -> None:
    """Visible, covered, both without holes, each also backwards; windows of epochs, empty ones."""
    rng = random.Random(seed)
    written: list[Wrote] = []
    for epoch in range(10, 60):
        lo = rng.randrange(60)
        each = Wrote(lo, lo + rng.randint(1, 25), epoch, data=rng.random() < 0.75)
        written.append(each)
        await write(shard, c, each)
    assert sorted(shown(c)) == sorted((w.lo, w.hi, w.epoch, False) for w in written)
    for epochs in ((0, int(EPOCH_MAX)), (30, 50), (10, 10), (59, 99), (60, 99), (1, 9)):
        for kind in (Flag.VISIBLE, Flag.COVERED):
            for holes in (0, Flag.SKIP_HOLES):
                for way in (0, Flag.REVERSE):
                    flags = kind | holes | way
                    assert shown(c, flags, epochs) == expected(written, flags, epochs), (
                        epochs,
                        flags,
                    )


@on_shard
async def test_evt017_punched_by_a_key(shard: MemoryShard, c: VosContainer) -> None:
    """What a punch hides is covered, sorted or not; what came after it is visible."""
    old = [Wrote(0, 10, 98), Wrote(5, 15, 99)]
    for each in old:
        await write(shard, c, each)
    c.punch(OID, Epoch(100), dkey=KEYS[0], akeys=[KEYS[1]])
    new = Wrote(10, 20, 101)
    await write(shard, c, new)
    assert sorted(shown(c)) == [(0, 10, 98, True), (5, 15, 99, True), (10, 20, 101, False)]
    both = expected([*old, new], Flag.COVERED, floor=100)
    assert shown(c, Flag.COVERED) == both
    assert [each[:2] for each in both] == [(0, 10), (5, 15), (10, 20)]
    assert shown(c, Flag.VISIBLE) == [(10, 20, 101, False)]


async def hundred_by_thirty(shard: MemoryShard, c: VosContainer) -> list[Wrote]:
    written = []
    for epoch in range(101, 201):
        recxs = tuple(Recx(index, 1) for index in range(epoch, epoch + 30))
        iod = Iod(KEYS[1], IodType.ARRAY, 1, recxs)
        await shard.update(c, OID, KEYS[0], [iod], b"x" * 30, epoch=epoch)
        written += [Wrote(index, index + 1, epoch) for index in range(epoch, epoch + 30)]
    return written


@on_shard
async def test_evt050_iterate_and_delete(shard: MemoryShard, c: VosContainer) -> None:
    """100 epochs of 30 records each; those of the last eleven epochs are deleted, then the rest."""
    assert shown(c) == []
    await hundred_by_thirty(shard, c)
    assert len(shown(c, Flag.VISIBLE)) == 100 + 30 - 1
    assert len(shown(c, epochs=(190, int(EPOCH_MAX)))) == 11 * 30
    deleted = shown(c, 0, (190, int(EPOCH_MAX)), pre=lambda _: Action.DELETE)
    assert len(deleted) == 11 * 30
    assert len(shown(c)) == 89 * 30
    assert len(shown(c, Flag.VISIBLE)) == 89 + 30 - 1
    assert len(shown(c, pre=lambda _: Action.DELETE | Action.YIELD)) == 89 * 30
    assert shown(c) == []
    assert await shard.read(c, OID, KEYS, (0, 300), epoch=999) == b"." * 300


@on_shard
async def test_evt051_deleting_needs_a_plain_iterator(shard: MemoryShard, c: VosContainer) -> None:
    await write(shard, c, Wrote(0, 10, 20))
    for flags in (Flag.VISIBLE, Flag.COVERED, Flag.VISIBLE | Flag.REVERSE):
        with pytest.raises(AccessError, match="pieces"):
            shown(c, flags, pre=lambda _: Action.DELETE)
    assert len(shown(c, Flag.REVERSE, pre=lambda _: Action.DELETE)) == 1
    assert shown(c) == []


@on_shard
async def test_evt052_shrinking_holes(shard: MemoryShard, c: VosContainer) -> None:
    """300 where the reference has 1,000: what is shown lies between once and three times that."""
    count = 300
    written = [Wrote(n, 2 * count - n, 10 + n, data=False) for n in range(count)]
    for each in written:
        hole = Iod(KEYS[1], IodType.ARRAY, 0, (Recx(each.lo, each.hi - each.lo),))
        update = c.update_begin(OID, KEYS[0], [hole])
        c.update_end(update, Epoch(each.epoch))
    both = shown(c, Flag.COVERED)
    assert count <= len(both) <= 3 * count
    assert both == expected(written, Flag.COVERED)
    assert shown(c, Flag.COVERED | Flag.SKIP_HOLES) == []


@on_shard
async def test_evt053_insert_delete_insert(shard: MemoryShard, c: VosContainer) -> None:
    for epoch in (20, 21, 22):
        await write(shard, c, Wrote(3, 6, epoch))
        assert len(shown(c)) == 1
        assert len(shown(c, pre=lambda _: Action.DELETE)) == 1
        assert shown(c) == []


@on_shard
async def test_evt054_kinds_of_iterators(shard: MemoryShard, c: VosContainer) -> None:
    written = await hundred_by_thirty(shard, c)
    hole = Wrote(150, 160, 300, data=False)
    await write(shard, c, hole)
    written.append(hole)
    for flags in (
        Flag.VISIBLE,
        Flag.COVERED,
        Flag.VISIBLE | Flag.SKIP_HOLES,
        Flag.VISIBLE | Flag.REVERSE,
        Flag.COVERED | Flag.REVERSE | Flag.SKIP_HOLES,
    ):
        assert shown(c, flags) == expected(written, flags)
    assert len(shown(c)) == 3001
    by_record = [each for each in shown(c) if each[0] == 140]
    assert [each[2] for each in by_record] == sorted((each[2] for each in by_record), reverse=True)


@on_shard
async def test_evt055_the_covered_becomes_visible(shard: MemoryShard, c: VosContainer) -> None:
    for epoch in range(11, 31):
        await shard.write(c, OID, KEYS, {epoch: b"deadbeef!"}, epoch=epoch)
    assert await shard.read(c, OID, KEYS, (28, 39), epoch=99) == b"dddeadbeef!"[:11]
    shown(c, 0, (30, 30), pre=lambda _: Action.DELETE)
    assert await shard.read(c, OID, KEYS, (28, 39), epoch=99) == b"ddeadbeef!."
    await write(shard, c, Wrote(29, 32, 40, data=False))
    assert await shard.read(c, OID, KEYS, (28, 39), epoch=99) == b"d...dbeef!."
    holes = [each for each in shown(c, Flag.VISIBLE) if each[2] == 40]
    assert holes == [(29, 32, 40, False)]


@on_shard
async def test_evt019_until_nothing_fits(shard: MemoryShard, c: VosContainer) -> None:
    """Growing record sizes until the shard is full: done or NoSpaceError; then all is deleted."""
    free = shard.meta.space.blocks_free
    epoch = 10
    for shift in range(10, 26):
        size = 1 << shift
        dkey = b"%d" % size
        for index in range(4):
            try:
                iod = Iod(KEYS[1], IodType.ARRAY, size, (Recx(index, 1),))
                await shard.update(c, OID, dkey, [iod], bytes(size), epoch=epoch)
            except NoSpaceError:
                break
            epoch += 1
    deleted = 0

    def delete(entry: Entry) -> int:
        nonlocal deleted
        if not entry.akey or not entry.size:
            return 0
        deleted += 1
        return Action.DELETE

    visit = c.visit(None, Callbacks(delete))
    while visit.step():
        pass
    assert deleted == epoch - 10 > 40
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.meta.checkpoint()
    assert shard.meta.space.blocks_allocated == 0
    assert shard.meta.space.blocks_free <= free


@on_shard
async def test_evt021_iterators_while_the_tree_grows(shard: MemoryShard, c: VosContainer) -> None:
    """What is inserted during a pause behind the position is shown, the rest is shown once."""
    for index in range(0, 200, 4):
        await write(shard, c, Wrote(index, index + 1, 10 + index))
    found: list[int] = []

    def pre(entry: Entry) -> int:
        found.append(entry.lo)
        return Action.YIELD

    for way in (0, Flag.REVERSE):
        found.clear()
        visit = c.visit(WHERE, Callbacks(pre), wanted=Wanted(flags=way))
        epoch = 1000 if way else 500
        extra: set[int] = set()
        while visit.step():
            epoch += 1
            at = found[-1] + (-2 if way else 2)
            if at >= 0 and at not in extra and at % 4 == 2 and len(extra) < 20:
                extra.add(at)
                await write(shard, c, Wrote(at, at + 1, epoch))
        assert found == sorted(found, reverse=bool(way))
        assert extra <= set(found)
        assert set(range(0, 200, 4)) <= set(found)
        deleted = shown(c, 0, (501, 2000), pre=lambda entry: Action.DELETE)
        assert {each[0] for each in deleted} == extra


@on_shard
async def test_word_sets_delete_wants_the_exact_rectangle(
    shard: MemoryShard, c: VosContainer
) -> None:
    """A value that went meanwhile is told, not passed over."""
    await write(shard, c, Wrote(0, 10, 20))

    def pre(entry: Entry) -> int:
        shown(c, pre=lambda _: Action.DELETE)
        return Action.DELETE

    with pytest.raises(NotFoundError):
        shown(c, pre=pre)


@on_shard
async def test_drain(shard: MemoryShard, c: VosContainer) -> None:
    """2,379 extents go with their container, 128 at a step; blocks and tree are as before."""
    recxs = [Recx(7 * number, 5) for number in range(2379)]
    for at in range(0, 2379, 200):
        iod = Iod(KEYS[1], IodType.ARRAY, 1, tuple(recxs[at : at + 200]))
        update = c.update_begin(OID, KEYS[0], [iod])
        c.update_end(update, Epoch(10 + at))
    await shard.write(c, OID, KEYS, {1 << 20: bytes(50_000)}, epoch=5000)
    assert len(shown(c)) == 2380
    shard.pool.destroy_container(c.uuid)
    steps = 1
    while shard.pool.gc_step(128):
        steps += 1
    assert steps >= 2380 // 128
    await shard.meta.durable(shard.meta.lsn_last)
    assert shard.meta.space.blocks_allocated == 0
    with pytest.raises(DaosError):
        c.list_objects(Epoch(9999), limit=1)
