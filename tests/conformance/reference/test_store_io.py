"""Scenarios of the reference that reach below its API, on the real store over a memory device.

Source: DAOS src/vos/tests/vts_io.c (VOS2xx to VOS4xx), src/tests/suite/daos_obj_array.c (I/O maps);
internals §9.6, §9.15
"""

from __future__ import annotations

from daos.base.iod import Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer

OID = unit(1)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


def ranges(*each: tuple[int, int]) -> Iod:
    return Iod(b"a", ARRAY, 0, tuple(Recx(index, count) for index, count in each))


@on_shard
async def test_array15_pieces_of_a_fetch(shard: MemoryShard, c: VosContainer) -> None:
    """What the reference's I/O map says: which of the records asked for exist, and their size."""
    await shard.write(
        c, OID, (b"d", b"a"), {2: b"two.", 4: b"four", 6: b"six."}, epoch=10, record_size=4
    )
    fetch, views = await shard.fetch(c, OID, b"d", [ranges((0, 10))], epoch=10)
    assert fetch.sizes == [4]
    assert fetch.pieces == [(0, 0, 2, 1), (0, 0, 4, 1), (0, 0, 6, 1)]
    assert views == [b"two.", b"four", b"six."]


@on_shard
async def test_array16_pieces_are_what_was_asked_for(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {10: b"0123456789"}, epoch=10)
    for first, count in ((10, 10), (12, 8)):
        fetch, views = await shard.fetch(c, OID, b"d", [ranges((first, count))], epoch=10)
        assert fetch.pieces == [(0, 0, 0, count)]
        assert views == [b"0123456789"[first - 10 :]]


@on_shard
async def test_array17_pieces_of_three_ranges(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"a"), {0: bytes(range(100))}, epoch=10)
    fetch, views = await shard.fetch(c, OID, b"d", [ranges((2, 8), (40, 8), (60, 8))], epoch=10)
    assert fetch.pieces == [(0, 0, 0, 8), (0, 1, 0, 8), (0, 2, 0, 8)]
    assert views == [bytes(range(lo, lo + 8)) for lo in (2, 40, 60)]
