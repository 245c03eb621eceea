"""Aggregation and discard as the reference tests them: `vos/tests/vts_aggregate.c`.

The method is the reference's: write one thing an epoch, remember what a reader at the end of the
range sees, aggregate, count what is stored of the range, and look again. Discard: what a reader
below the range sees is what everybody sees afterwards.

A table gives what is written in the notation of the reference, first+count@epoch, `p` for a punch;
and two counts, where they differ: the reference keeps the hole of a punch that hides nothing, this
store does not (src/daos/vos/merge.py).
"""

from __future__ import annotations

import random
import re
from typing import Any, Final, NamedTuple

import pytest

from daos.base.errors import NotFoundError
from daos.base.ids import EPOCH_MAX, Epoch, ObjectType, UnitOid
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.aggregate import AggregateConfig
from daos.vos.container import VosContainer
from daos.vos.merge import ArrayMerge, MergeConfig
from daos.vos.work import StepLimits

OID: Final = unit(1)
DKEY, AKEY = b"dkey", b"akey"
RECORD: Final = 1024  # bytes of an array's record
SMALL, LARGE = 32, 4096 + 500
FORCED: Final = AggregateConfig(merge=MergeConfig(force=True))
# Yields often: each step looks at next to nothing.
YIELDING: Final = AggregateConfig(
    limits=StepLimits(scan=3, delete=2), merge=MergeConfig(force=True, pieces_min=2)
)
MAX: Final = int(EPOCH_MAX)

Keys = tuple[UnitOid, bytes, bytes]
Passed = Any  # what a planted fault hands through
KEYS: Final[Keys] = (OID, DKEY, AKEY)


class Extent(NamedTuple):
    lo: int
    count: int
    epoch: int
    punch: bool


def extents(text: str) -> list[Extent]:
    """`10+5@1p 1+2@2`."""
    found = [re.fullmatch(r"(\d+)\+(\d+)@(\d+)(p?)", word) for word in text.split()]
    return [Extent(int(m[1]), int(m[2]), int(m[3]), m[4] == "p") for m in found if m]


def open_the_past(c: VosContainer, epoch: int) -> None:
    """The reference's tests begin at epoch 1, where this store has been opened already."""
    if epoch == 1:
        c.modification_bound = Epoch(0)


async def put(
    shard: MemoryShard, c: VosContainer, keys: Keys, size: int, epoch: int, *, punch: bool = False
) -> None:
    open_the_past(c, epoch)
    value = b"" if punch else (b"%08d" % epoch * (size // 8 + 1))[:size]
    await shard.put(c, keys[0], keys[1], {keys[2]: value}, epoch=epoch)


async def write(shard: MemoryShard, c: VosContainer, keys: Keys, extent: Extent) -> None:
    lo, count, epoch, punch = extent
    open_the_past(c, epoch)
    iod = Iod(keys[2], IodType.ARRAY, 0 if punch else RECORD, (Recx(lo, count),))
    data = b"" if punch else (b"%08d" % epoch) * (RECORD * count // 8)
    await shard.update(c, keys[0], keys[1], [iod], data, epoch=epoch)


async def view(shard: MemoryShard, c: VosContainer, keys: Keys, epoch: int, end: int) -> object:
    """What a reader finds: the value, or records [0, end)."""
    if not end:
        return await shard.get(c, *keys, epoch=epoch)
    return await shard.read(c, keys[0], keys[1:], (0, end), epoch=epoch)


def stored(shard: MemoryShard, lo: int, hi: int) -> list[tuple[int, bytes]]:
    """Epoch and tree key of every value of the shard with an epoch in [lo, hi]."""
    found = []
    for key, value in shard.meta.cursor():
        if value[0] in (0xD9, 0xDA):  # the magics of single values and extents
            epoch = ~int.from_bytes(key[-10:-2], "big") & MAX
            if lo <= epoch <= hi:
                found.append((epoch, bytes(key)))
    return found


async def aggregated(
    shard: MemoryShard,
    c: VosContainer,
    lo: int,
    hi: int,
    *,
    end: int = 0,
    keys: Keys = KEYS,
    config: AggregateConfig = FORCED,
) -> int:
    """Aggregate, compare the views at hi, above, and below lo; how much is stored of the range."""
    epochs = [hi, hi + 1, MAX, *([lo - 1] if lo > 1 else [])]
    before = [await view(shard, c, keys, epoch, end) for epoch in epochs]
    await shard.finish(c.aggregate(lo, hi, config=config))
    assert [await view(shard, c, keys, epoch, end) for epoch in epochs] == before
    shard.meta.space.check()
    return len(stored(shard, lo, hi))


SINGLES: Final = [
    pytest.param(range(1, 11), (), 4, 6, FORCED, id="VOS401"),
    pytest.param(range(1, 11), (3, 6), 2, 6, FORCED, id="VOS402"),
    pytest.param(range(1, 201), (50, 77, 149, 150), 50, 150, YIELDING, id="VOS403"),
]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(("epochs", "punches", "lo", "hi", "config"), SINGLES)
@on_shard
async def test_single_values(
    shard: MemoryShard,
    c: VosContainer,
    epochs: range,
    punches: tuple[int, ...],
    lo: int,
    hi: int,
    config: AggregateConfig,
    size: int,
) -> None:
    for epoch in epochs:
        await put(shard, c, KEYS, size, epoch, punch=epoch in punches)
    assert await aggregated(shard, c, lo, hi, config=config) == 1
    assert len(stored(shard, 0, lo - 1)) == lo - 1
    assert len(stored(shard, hi + 1, MAX)) == epochs[-1] - hi


@pytest.mark.parametrize(
    ("otype", "akeys"),
    [
        pytest.param(ObjectType.MULTI_HASHED, (b"a", b"b", b"c"), id="VOS404"),
        pytest.param(ObjectType.KV_HASHED, (b"0",), id="VOS436"),
    ],
)
@on_shard
async def test_single_values_of_many_keys(
    shard: MemoryShard, c: VosContainer, otype: ObjectType, akeys: tuple[bytes, ...]
) -> None:
    rng = random.Random(404)
    places = [
        (unit(lo, otype), dkey, akey)
        for lo in (1, 2, 3)
        for dkey in (b"x", b"y", b"z")
        for akey in akeys
    ]
    touched = set()
    for epoch in range(1, 1001, 2):
        keys = rng.choice(places)
        await put(shard, c, keys, rng.choice((SMALL, LARGE)), epoch, punch=rng.random() < 0.1)
        if 850 <= epoch <= 999:
            touched.add(keys)
    before = {keys: [await view(shard, c, keys, at, 0) for at in (849, 999)] for keys in places}
    await shard.finish(c.aggregate(850, 999, config=FORCED))
    assert len(stored(shard, 850, 999)) == len(touched)
    for keys, views in before.items():
        assert [await view(shard, c, keys, at, 0) for at in (849, 999)] == views


# (id, extents, lo, hi, stored afterwards in the reference, of which holes over nothing)
ARRAYS: Final = [
    ("VOS405", "30+4@5 7+9@6", 1, 5, 1, 0),
    ("VOS405 punched", "30+4@5p 7+9@6", 1, 5, 1, 1),
    ("VOS406", "10+5@1p 1+2@2 20+11@3", 0, 4, 3, 1),
    ("VOS407", "6+2@1 5+1@2 8+3@3p 11+4@4p 15+5@5", 0, 6, 3, 1),
    ("VOS408", "5+3@1 5+1@2 7+4@3p 10+5@4p 14+5@5", 0, 6, 3, 1),
    ("VOS409", "1+2@1p 1+2@2 0+4@3p", 0, 4, 1, 1),
]


@pytest.mark.parametrize(
    ("text", "lo", "hi", "recs", "over_nothing"),
    [pytest.param(*row[1:], id=row[0]) for row in ARRAYS],
)
@on_shard
async def test_arrays(
    shard: MemoryShard, c: VosContainer, text: str, lo: int, hi: int, recs: int, over_nothing: int
) -> None:
    for extent in extents(text):
        await write(shard, c, KEYS, extent)
    assert await aggregated(shard, c, lo, hi, end=40) == recs - over_nothing


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("100+10@1 0+40@2 0+40@3p 100+5@4 30+6@6p 40+8@7", id="above something older"),
        pytest.param("0+4@1 4+4@2p 8+4@3 0+12@5p", id="all of it"),
    ],
)
@on_shard
async def test_a_hole_over_something_older_stays(
    shard: MemoryShard, c: VosContainer, text: str
) -> None:
    for extent in extents(text):
        await write(shard, c, KEYS, extent)
    await aggregated(shard, c, 3, 8, end=120)
    assert await aggregated(shard, c, 3, 8, end=120) == await aggregated(shard, c, 3, 9, end=120)


@pytest.mark.parametrize("window", [8, 64])
@on_shard
async def test_vos410_vos419_spanning_windows(
    shard: MemoryShard, c: VosContainer, window: int
) -> None:
    """What lies across the ends of windows becomes one extent a window; holes over nothing go."""
    w = window
    text = f"0+{w}@1 {w // 2}+{w}@2p {w}+{w}@3 {2 * w}+3@4p {2 * w + 2}+{w}@5p"
    text += f" {3 * w - 3}+{2 * w}@6 0+2@7 {5 * w - 3}+1@8"
    for extent in extents(text):
        await write(shard, c, KEYS, extent)
    config = AggregateConfig(merge=MergeConfig(window_bytes=w * RECORD, force=True))
    left = await aggregated(shard, c, 0, 9, end=6 * w, config=config)
    # [0, w/2) of two, [w, 2w); what is larger than a window stays as it is, and what is behind it.
    assert left == 1 + 1 + 1 + 1
    assert await aggregated(shard, c, 0, 9, end=6 * w, config=config) == left


@pytest.mark.parametrize(
    ("count", "span", "lo", "pieces"),
    [
        pytest.param(200, 20, 100, 256, id="VOS411"),
        pytest.param(500, 1000, 100, 50, id="VOS412"),
        pytest.param(200, 20, 0, 3, id="VOS420"),
        pytest.param(500, 1000, 0, 2, id="VOS421"),
    ],
)
@on_shard
async def test_random_extents(
    shard: MemoryShard, c: VosContainer, count: int, span: int, lo: int, pieces: int
) -> None:
    rng = random.Random(count + span + lo)
    for epoch in range(1, count + 1):
        first = rng.randrange(span)
        width = rng.randint(1, min(8, span - first))
        await write(shard, c, KEYS, Extent(first, width, epoch, rng.random() < 0.2))
    merge = MergeConfig(force=True, pieces_max=pieces, pieces_min=2)
    config = AggregateConfig(limits=StepLimits(scan=5, delete=3), merge=merge)
    left = await aggregated(shard, c, lo, count, end=span, config=config)
    assert left < count // 2
    assert await aggregated(shard, c, lo, count, end=span, config=config) <= left


@pytest.mark.parametrize(
    "otype",
    [
        pytest.param(ObjectType.MULTI_HASHED, id="VOS413"),
        pytest.param(ObjectType.ARRAY, id="VOS437"),
    ],
)
@on_shard
async def test_arrays_of_many_keys(shard: MemoryShard, c: VosContainer, otype: ObjectType) -> None:
    rng = random.Random(413)
    places = [
        (unit(lo, otype), number.to_bytes(8, "little"), akey)
        for lo in (1, 2, 3)
        for number in range(3)
        for akey in ((b"0",) if otype is ObjectType.ARRAY else (b"a", b"b", b"c"))
    ]
    for epoch in range(1, 1001, 2):
        extent = Extent(rng.randrange(30), rng.randint(1, 5), epoch, rng.random() < 0.2)
        await write(shard, c, rng.choice(places), extent)
    before = {keys: [await view(shard, c, keys, at, 40) for at in (749, 1000)] for keys in places}
    await shard.finish(c.aggregate(750, 1000, config=YIELDING))
    for keys, views in before.items():
        assert [await view(shard, c, keys, at, 40) for at in (749, 1000)] == views


@on_shard
async def test_vos414_space_comes_back(shard: MemoryShard, c: VosContainer) -> None:
    """A third of the space is overwritten five times; it never runs out."""
    rng = random.Random(414)
    third = shard.meta.space.block_count // 3 * 4
    epoch = 0
    for _ in range(5):
        written = 0
        while written < third:
            epoch += 1
            count = rng.randint(4, 400)
            written += count
            extent = Extent(rng.randrange(10_000), count, epoch, rng.random() < 0.1)
            await write(shard, c, KEYS, extent)
        await shard.finish(c.aggregate(0, epoch))
    assert shard.meta.space.blocks_allocated * 4 <= 10_400 * 1.1
    shard.meta.space.check()


LEVELS: Final = ("object", "dkey", "akey")


def punch(c: VosContainer, level: str, epoch: int) -> None:
    dkey = None if level == "object" else DKEY
    c.punch(OID, Epoch(epoch), dkey=dkey, akeys=[AKEY] if level == "akey" else [])


async def history(
    shard: MemoryShard, c: VosContainer, first: str, last: str, level: str, end: int
) -> None:
    """Something at 1 (and 2), a snapshot at 5, 200 updates and punches, something at 300."""

    async def change(what: str, epoch: int) -> None:
        if what == "punch":
            punch(c, level, epoch)
        elif what == "update" and not end:
            await put(shard, c, KEYS, SMALL, epoch)
        elif what == "update":
            await write(shard, c, KEYS, Extent(0, end, epoch, punch=False))

    if first != "none":
        await change("update", 1)
    if first == "punched":
        await change("punch", 2)
    rng = random.Random(415)
    for epoch in range(10, 210):
        await change("punch" if rng.random() < 0.3 or epoch == 209 else "update", epoch)
    await change(last, 300)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("last", ["none", "punch", "update"])
@pytest.mark.parametrize("first", ["none", "punched", "update"])
@pytest.mark.parametrize("end", [pytest.param(0, id="VOS415"), pytest.param(4, id="VOS416")])
@on_shard
async def test_punches_at_every_level(
    shard: MemoryShard, c: VosContainer, end: int, first: str, last: str, level: str
) -> None:
    await history(shard, c, first, last, level, end)
    for again in range(2):
        if again:
            c.punch(OID, Epoch(500))
        seen = [await view(shard, c, KEYS, at, end) for at in (1, 5, 400)]
        await shard.finish(c.aggregate(6, 400))
        nothing = b"." * end if end else None
        assert [await view(shard, c, KEYS, at, end) for at in (1, 5, 400)] == seen
        assert await view(shard, c, KEYS, 250, end) == nothing
        assert len(stored(shard, 6, 400)) == (last == "update")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("last", ["none", "punch", "update"])
@pytest.mark.parametrize("first", ["none", "punched", "update"])
@pytest.mark.parametrize("end", [pytest.param(0, id="VOS464"), pytest.param(4, id="VOS465")])
@on_shard
async def test_discard_with_punches_at_every_level(
    shard: MemoryShard, c: VosContainer, end: int, first: str, last: str, level: str
) -> None:
    await history(shard, c, first, last, level, end)
    seen = await view(shard, c, KEYS, 5, end)
    await shard.finish(c.discard(6, 400))
    assert not stored(shard, 6, 400)
    for at in (5, 100, 250, 400, MAX):
        assert await view(shard, c, KEYS, at, end) == seen
    if first == "none":
        assert not c.list_objects(Epoch(400), limit=9).entries


@on_shard
async def test_vos422_conditions_hold_for_akeys_of_punched_values(
    shard: MemoryShard, c: VosContainer
) -> None:
    akeys = (b"a1", b"a2", b"s1", b"s2")

    async def fetch() -> list[int]:
        found = []
        for akey in akeys:
            kind = IodType.ARRAY if akey.startswith(b"a") else IodType.SINGLE
            recxs = (Recx(0, 10),) if kind is IodType.ARRAY else ()
            iods = [Iod(akey, kind, 0, recxs)]
            got, _ = await shard.fetch(c, OID, DKEY, iods, epoch=50, cond=int(Cond.AKEY_FETCH))
            found += got.sizes
        return found

    for epoch, punched in ((1, False), (2, True), (3, True)):
        for akey in akeys:
            if akey.endswith(b"2") and not punched:
                continue  # nothing but punches
            if akey.startswith(b"a"):
                await write(shard, c, (OID, DKEY, akey), Extent(0, 10, epoch, punched))
            else:
                await put(shard, c, (OID, DKEY, akey), SMALL, epoch, punch=punched)
    before = await fetch()
    await shard.finish(c.aggregate(0, 10, config=FORCED))
    assert await fetch() == before == [0, 0, 0, 0]
    for number, akey in enumerate(akeys):
        kind = IodType.ARRAY if akey.startswith(b"a") else IodType.SINGLE
        recxs = (Recx(0, 1),) if kind is IodType.ARRAY else ()
        iods = [Iod(akey, kind, RECORD, recxs)]
        for cond in (Cond.DKEY_UPDATE, Cond.AKEY_UPDATE):
            epoch = 60 + 2 * number + (cond is Cond.AKEY_UPDATE)
            await shard.update(c, OID, DKEY, iods, bytes(RECORD), epoch=epoch, cond=int(cond))


# A window of the smallest blocks in one step, as the reference takes it.
WINDOWS: Final = AggregateConfig(merge=MergeConfig(pieces_max=256))


@on_shard
async def test_vos434_merging_pays_from_a_window_on(shard: MemoryShard, c: VosContainer) -> None:
    """One extent less than a window of them: left alone, unless it is forced."""
    count = (1 << 20) // 4096 - 1
    for number in range(count):
        await write(shard, c, KEYS, Extent(4 * number, 4, 1 + number, punch=False))
    assert await aggregated(shard, c, 0, 900, end=1100, config=WINDOWS) == count
    forced = AggregateConfig(merge=MergeConfig(pieces_max=256, force=True))
    assert await aggregated(shard, c, 0, 900, end=1100, config=forced) == 1


@on_shard
async def test_a_full_window_is_merged_unforced(shard: MemoryShard, c: VosContainer) -> None:
    for number in range(256):
        await write(shard, c, KEYS, Extent(4 * number, 4, 1 + number, punch=False))
    assert await aggregated(shard, c, 0, 900, end=1100, config=WINDOWS) == 1


# Discard

DISCARDS: Final = [
    ("VOS451", 10, (), 5, 5),
    ("VOS452", 10, (), 4, 6),
    ("VOS453", 10, (), 0, MAX),
    ("VOS454", 10, (4, 9), 5, 6),
    ("VOS455", 200, (60, 61, 120, 200), 50, MAX),
]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("count", "punches", "lo", "hi"), [pytest.param(*row[1:], id=row[0]) for row in DISCARDS]
)
@on_shard
async def test_discard_of_single_values(
    shard: MemoryShard,
    c: VosContainer,
    count: int,
    punches: tuple[int, ...],
    lo: int,
    hi: int,
    size: int,
) -> None:
    for epoch in range(1, count + 1):
        await put(shard, c, KEYS, size, epoch, punch=epoch in punches)
    await discarded(shard, c, lo, hi, count, end=0)


ARRAY_DISCARDS: Final = [
    ("VOS457", 10, (), 5, 5),
    ("VOS458", 10, (), 3, 7),
    ("VOS459", 10, (), 0, MAX),
    ("VOS460", 10, (3, 4, 7), 3, 7),
    ("VOS461", 200, (120, 130), 100, MAX),
]


@pytest.mark.parametrize(
    ("count", "punches", "lo", "hi"), [pytest.param(*row[1:], id=row[0]) for row in ARRAY_DISCARDS]
)
@on_shard
async def test_discard_of_arrays(
    shard: MemoryShard, c: VosContainer, count: int, punches: tuple[int, ...], lo: int, hi: int
) -> None:
    rng = random.Random(count + lo)
    for epoch in range(1, count + 1):
        extent = Extent(rng.randrange(20), rng.randint(1, 6), epoch, epoch in punches)
        await write(shard, c, KEYS, extent)
    await discarded(shard, c, lo, hi, count, end=30)


async def discarded(
    shard: MemoryShard, c: VosContainer, lo: int, hi: int, count: int, *, end: int
) -> None:
    before = await view(shard, c, KEYS, max(lo - 1, 1), end) if lo else None
    await shard.finish(c.discard(lo, hi, limits=StepLimits(scan=7, delete=3)))
    assert not stored(shard, lo, hi)
    assert len(stored(shard, 0, MAX)) == max(lo - 1, 0) + max(count - hi, 0)
    shard.meta.space.check()
    if not lo:
        assert not c.list_objects(EPOCH_MAX, limit=9).entries
        with pytest.raises(NotFoundError):
            await shard.get(c, *KEYS, epoch=MAX, cond=int(Cond.AKEY_FETCH))
        assert shard.meta.space.blocks_allocated == 0
        return
    assert await view(shard, c, KEYS, min(hi, count), end) == before


@pytest.mark.parametrize(
    ("otype", "is_array", "lo"),
    [
        pytest.param(ObjectType.MULTI_HASHED, False, 850, id="VOS456"),
        pytest.param(ObjectType.MULTI_HASHED, True, 750, id="VOS462"),
        pytest.param(ObjectType.KV_HASHED, False, 850, id="VOS468"),
        pytest.param(ObjectType.ARRAY, True, 750, id="VOS469"),
    ],
)
@on_shard
async def test_discard_of_many_keys(
    shard: MemoryShard, c: VosContainer, otype: ObjectType, is_array: bool, lo: int
) -> None:
    rng = random.Random(456)
    akeys = (b"a", b"b", b"c") if otype is ObjectType.MULTI_HASHED else (b"0",)
    places = [
        (unit(number, otype), dkey.to_bytes(8, "little"), akey)
        for number in (1, 2, 3)
        for dkey in range(3)
        for akey in akeys
    ]
    end = 30 if is_array else 0
    for epoch in range(1, 1001, 2):
        keys, punched = rng.choice(places), rng.random() < 0.1
        if is_array:
            extent = Extent(rng.randrange(20), rng.randint(1, 6), epoch, punched)
            await write(shard, c, keys, extent)
        else:
            await put(shard, c, keys, SMALL, epoch, punch=punched)
    before = [await view(shard, c, keys, lo - 1, end) for keys in places]
    await shard.finish(c.discard(lo, MAX))
    assert not stored(shard, lo, MAX)
    assert [await view(shard, c, keys, MAX, end) for keys in places] == before


@on_shard
async def test_vos463_many_akeys_end(shard: MemoryShard, c: VosContainer) -> None:
    """More akeys than one step looks at."""
    limits = StepLimits(scan=64)
    for number in range(74):
        await put(shard, c, (OID, DKEY, b"a%d" % number), SMALL, 10 + number)
    steps = await shard.finish(c.discard(1, MAX, limits=limits))
    assert 2 < steps < 20
    assert not stored(shard, 0, MAX)


@pytest.mark.parametrize("others", [pytest.param(0, id="VOS466"), pytest.param(3, id="VOS467")])
@on_shard
async def test_discard_of_one_object(shard: MemoryShard, c: VosContainer, others: int) -> None:
    oids = [unit(10 + number) for number in range(others + 1)]
    for epoch in range(1, 11):
        for number, oid in enumerate(oids):
            at = 20 * epoch + number
            await put(shard, c, (oid, DKEY, b"single"), SMALL, at)
            await write(shard, c, (oid, DKEY, b"array"), Extent(epoch, 3, at, punch=False))
    gone = oids.pop()
    before = [await view(shard, c, (oid, DKEY, b"array"), MAX, 20) for oid in oids]
    await shard.finish(c.discard(1, MAX, gone))
    assert await view(shard, c, (gone, DKEY, b"single"), MAX, 0) is None
    assert await view(shard, c, (gone, DKEY, b"array"), MAX, 20) == b"." * 20
    assert [await view(shard, c, (oid, DKEY, b"array"), MAX, 20) for oid in oids] == before
    assert c.list_objects(EPOCH_MAX, limit=9).entries == oids


def test_a_merge_across_a_hole_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault planted: a hole is taken for nothing, whatever is below it."""
    is_hidden = ArrayMerge._is_hidden

    def careless(merge: Passed, found: Passed, floor: Passed) -> bool | None:
        return found.record.is_hole or is_hidden(merge, found, floor)

    monkeypatch.setattr(ArrayMerge, "_is_hidden", careless)
    with pytest.raises(AssertionError):
        test_a_hole_over_something_older_stays("0+40@2 0+40@3p 50+2@4 50+2@5")
