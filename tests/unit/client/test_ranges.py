"""Many ranges of an array in one call: what is refused, where the memory is, what was short."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError, NotSupportedError
from daos.client.chunks import Geometry
from daos.client.ranges import (
    Reading,
    check_many,
    check_ranges,
    parts,
    ranges_limit,
)
from daos.object.wire import FetchReply, Piece


class TestChecks:
    def test_the_limit_of_the_environment(self) -> None:
        assert ranges_limit({}) == ranges_limit({"DAOS_ARRAY_LIST_IO_LIMIT": ""}) == 16384
        assert ranges_limit({"DAOS_ARRAY_LIST_IO_LIMIT": "0"}) == 0
        assert ranges_limit({"DAOS_ARRAY_LIST_IO_LIMIT": "7"}) == 7
        for wrong in ("-1", "many", "1.5", "٣"):
            with pytest.raises(InvalidError, match="DAOS_ARRAY_LIST_IO_LIMIT"):
                ranges_limit({"DAOS_ARRAY_LIST_IO_LIMIT": wrong})

    def test_short_ranges_are_counted(self) -> None:
        check_many([(0, 16)] * 4, 4)
        check_many([(0, 16)] * 4 + [(0, 17)] * 9, 4)
        check_many([(0, 1)] * 5, 0)
        with pytest.raises(NotSupportedError, match="5 of 6 ranges"):
            check_many([(0, 16)] * 5 + [(0, 17)], 4)

    def test_what_ranges_are(self) -> None:
        assert check_ranges(iter([(1, 2), (3, 0)])) == [(1, 2), (3, 0)]
        wrong: object
        for wrong in (5, [5], [(1,)], [(1, 2, 3)], [("a", 1)], [(-1, 1)], [(1 << 64, 0)]):
            with pytest.raises(InvalidError):
                check_ranges(wrong)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidError, match="past"):
            check_ranges([((1 << 64) - 2, 2)])

    @pytest.mark.parametrize(
        ("sizes", "text"),
        [((8, 4), "have 4 cells of 4 bytes, 16 bytes; the buffers have 12"), ((8, 9), "whole")],
    )
    def test_buffers_fit(self, sizes: tuple[int, ...], text: str) -> None:
        buffers = [memoryview(bytes(size)) for size in sizes]
        with pytest.raises(InvalidError, match=text):
            parts(Geometry(4, 10), [(0, 3), (9, 1)], buffers, records_max=99)


def test_buffers_are_used_up_in_order() -> None:
    memory = bytes(range(12))
    view = memoryview(memory)
    buffers = [view[:2], view[2:2], view[2:10], view[10:]]
    found = list(parts(Geometry(2, 4), [(3, 2), (7, 3), (0, 1)], buffers, records_max=99))
    assert [
        (
            part.run.number,
            [(r.index, r.count) for r in part.run.recxs],
            [bytes(v) for v in part.views],
        )
        for part in found
    ] == [
        (0, [(3, 1)], [memory[0:2]]),
        (1, [(0, 1), (3, 1)], [memory[2:4], memory[4:6]]),
        (2, [(0, 2)], [memory[6:10]]),
        (0, [(0, 1)], [memory[10:12]]),
    ]


def reply(*pieces: tuple[int, int, int]) -> FetchReply:
    """pieces: (range, index, count)."""
    return FetchReply(1, (1 if pieces else 0,), tuple(Piece(0, *piece) for piece in pieces))


class TestReading:
    def read(self, *replies: FetchReply) -> tuple[Reading, bytearray]:
        """Ranges [2, 5), [18, 23), [8, 9) of chunks of ten; each record found is an x."""
        memory, geometry = bytearray(b"." * 9), Geometry(1, 10)
        ranges = [(2, 3), (18, 5), (8, 1)]
        reading = Reading(geometry, ranges)
        found = list(parts(geometry, ranges, [memoryview(memory)], records_max=99))
        for part, answer in zip(found, replies, strict=True):
            for view in reading.landing(part).into(answer):
                view[:] = b"x" * view.nbytes
        assert reading.wanted == 23
        return reading, memory

    def test_all_there(self) -> None:
        reading, memory = self.read(reply((0, 0, 3)), reply(), reply((0, 2, 1)), reply())
        assert reading.seen == 23  # nobody need be asked
        assert reading.finish(23) == (9, 0)
        assert memory == b"xxx\0\0\0\0x\0"

    def test_the_end_is_among_them(self) -> None:
        reading, memory = self.read(reply((0, 1, 1)), reply((0, 0, 1)), reply(), reply())
        assert reading.seen == 19
        assert reading.finish(20) == (6, 3)
        assert memory == b"\0x\0x\0...\0"

    def test_nothing_there(self) -> None:
        reading, memory = self.read(reply(), reply(), reply(), reply())
        assert reading.seen == 0
        assert reading.finish(0) == (0, 9)
        assert memory == b"........."
