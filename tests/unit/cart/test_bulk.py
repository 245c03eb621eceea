"""Handles, memory in pieces, and who may touch what."""

from __future__ import annotations

import itertools
import random

import pytest

from daos.base.errors import AccessError, AgainError, CorruptError, InvalidError, NotFoundError
from daos.base.ids import Rank, Tag
from daos.cart.bulk import BulkHandle, Mode, Region, Segments, Table, check_access
from daos.cart.framing import Limits
from daos.cart.wire import Endpoint

LIMITS = Limits(bulk_size_max=1000, bulk_regions_max=3)


def table() -> Table:
    return Table(LIMITS, random.Random(4))


def region(nbytes: int = 100, mode: Mode = Mode.READ_WRITE) -> Region:
    return table().add([memoryview(bytearray(nbytes))], mode)


def test_a_handle_names_region_mode_and_owner() -> None:
    owner = Endpoint(Rank(3), Tag(4))
    plain, bound = region().handle(), region(mode=Mode.READ).handle(owner)
    assert (plain.nbytes, plain.mode, plain.endpoint) == (100, 3, None)
    assert (bound.mode, bound.endpoint) == (1, owner)
    assert len(plain.key) == 16
    for handle in (plain, bound):
        assert BulkHandle.parse(handle.emit()) == handle


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"\x93",
        BulkHandle(b"short", 1, 1, None).emit(),
        BulkHandle(bytes(16), 0, 1, None).emit(),
        BulkHandle(bytes(16), 1 << 63, 1, None).emit(),
        BulkHandle(bytes(16), 1, 0, None).emit(),
        BulkHandle(bytes(16), 1, 4, None).emit(),
        BulkHandle(bytes(16), 1, 1, (1 << 32, 0)).emit(),
        b"\x96" + BulkHandle(bytes(16), 1, 1, None).emit()[1:] + b"\x00",
        b"\x93" + BulkHandle(bytes(16), 1, 1, None).emit()[1:-2],
    ],
)
def test_what_is_no_handle(fields: bytes) -> None:
    with pytest.raises(CorruptError, match="bulk handle"):
        BulkHandle.parse(fields)


def test_segments_are_one_run_of_bytes() -> None:
    data = bytes(range(200))
    cuts = [0, 7, 7, 50, 51, 128, 200]
    pieces = [memoryview(data)[lo:hi] for lo, hi in itertools.pairwise(cuts)]
    segments = Segments(pieces, writable=False)
    assert segments.nbytes == 200
    for lo in range(200):
        for hi in (lo + 1, min(lo + 60, 200), 200):
            views = segments.slice(lo, hi - lo)
            assert b"".join(views) == data[lo:hi]
            assert all(view.nbytes and view.readonly for view in views)
    alone = Segments([memoryview(bytearray(data)).cast("I")], writable=True)
    (view,) = alone.slice(3, 10)
    assert view == data[3:13]
    assert not view.readonly


def test_memory_that_does_not_do() -> None:
    strided = memoryview(bytearray(10))[::2]
    for views, mode in (
        ([memoryview(b"read-only")], Mode.WRITE),
        ([strided], Mode.READ),
        ([strided], Mode.READ_WRITE),
        ([], Mode.READ),
        ([memoryview(b"")], Mode.READ),
        ([memoryview(bytes(1001))], Mode.READ),
    ):
        with pytest.raises(InvalidError):
            table().add(views, mode)


def test_a_table_is_bounded_and_forgets() -> None:
    regions = table()
    made = [regions.add([memoryview(b"x")], Mode.READ) for _ in range(3)]
    assert len({each.key for each in made}) == 3
    with pytest.raises(AgainError):
        regions.add([memoryview(b"x")], Mode.READ)
    assert regions.find(made[1].key) is made[1]
    regions.remove(made[1])
    regions.remove(made[1])
    with pytest.raises(NotFoundError):
        regions.find(made[1].key)
    assert len(regions) == 2
    regions.add([memoryview(b"x")], Mode.READ)


@pytest.mark.parametrize("ranges", [[(0, 100)], [(99, 1)], [(0, 1), (50, 50), (0, 100)]])
def test_inside(ranges: list[tuple[int, int]]) -> None:
    assert check_access(region(), ranges, Mode.READ) == sum(size for _, size in ranges)


@pytest.mark.parametrize(
    "ranges",
    [[(0, 101)], [(100, 1)], [(1, 100)], [(0, 1), (101, 1)], [(-1, 2)], [(5, 0)], [(1 << 62, 1)]],
)
def test_outside(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(InvalidError, match="of 100 bytes"):
        check_access(region(), ranges, Mode.WRITE)


def test_against_the_mode() -> None:
    for allowed, asked in ((Mode.READ, Mode.WRITE), (Mode.WRITE, Mode.READ)):
        with pytest.raises(AccessError, match=f"not for {asked.name}"):
            check_access(region(mode=allowed), [(0, 1)], asked)
        assert check_access(region(mode=allowed), [(0, 1)], allowed) == 1
