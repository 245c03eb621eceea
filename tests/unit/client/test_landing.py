"""Where the payload of a fetch goes, and what becomes of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import InvalidError, ProtocolError, RecordTooBigError
from daos.client.landing import (
    ManyLanding,
    RangesLanding,
    RecordsLanding,
    Slot,
    ValueLanding,
    zero_gaps,
)
from daos.object.wire import FETCH_BYTES_MAX, FetchReply, Piece


def reply(sizes: tuple[int, ...], *pieces: tuple[int, int, int]) -> FetchReply:
    """pieces: (iod, index, count)."""
    return FetchReply(1, sizes, tuple(Piece(iod, 0, index, count) for iod, index, count in pieces))


class TestValue:
    def test_new_memory(self) -> None:
        landing = ValueLanding()
        (view,) = landing.into(reply((5,), (0, 0, 1)))
        view[:] = b"hello"
        assert (landing.value, landing.nbytes) == (b"hello", 5)

    def test_memory_of_the_caller(self) -> None:
        memory = bytearray(b".......")
        landing = ValueLanding(memoryview(memory))
        (view,) = landing.into(reply((5,), (0, 0, 1)))
        view[:] = b"hello"
        assert (memory, landing.nbytes, landing.value) == (b"hello..", 5, b"")
        with pytest.raises(RecordTooBigError):
            landing.into(reply((8,), (0, 0, 1)))

    def test_without_payload_it_is_empty(self) -> None:
        assert (ValueLanding().value, ValueLanding().nbytes) == (b"", 0)


class TestRecords:
    def test_runs_land_apart_and_holes_are_filled(self) -> None:
        memory = bytearray(b"x" * 20)
        landing = RecordsLanding(memoryview(memory), 2)
        answer = reply((2,), (0, 1, 2), (0, 5, 1))
        for view, data in zip(landing.into(answer), (b"aabb", b"cc"), strict=True):
            view[:] = data
        landing.finish(answer)
        assert landing.end == 6
        landing.fill(8)
        assert memory == b"\0\0aabb\0\0\0\0cc\0\0\0\0xxxx"

    def test_nothing_there(self) -> None:
        landing = RecordsLanding(memoryview(bytearray(b"xxxx")), 1)
        landing.finish(reply((0,)))
        assert landing.end == 0
        landing.fill(0)

    def test_records_of_another_size(self) -> None:
        landing = RecordsLanding(memoryview(bytearray(8)), 2)
        for answer in (reply((4,), (0, 0, 1)), reply((4,))):
            with pytest.raises(InvalidError, match="4 bytes, not 2"):
                landing.finish(answer)
        with pytest.raises(InvalidError):
            landing.into(reply((1,), (0, 0, 1)))


class TestMany:
    def test_values_and_ranges(self) -> None:
        slots = [Slot(0, 0, 0), Slot(1, 1, 4), Slot(2, 0, 0), Slot(1, 0, 3)]
        landing = ManyLanding(slots)
        answer = FetchReply(9, (5, 2, 0), (Piece(0, 0, 0, 1), Piece(1, 1, 1, 1)))
        for view, data in zip(landing.into(answer), (b"hello", b"ab"), strict=True):
            view[:] = data
        assert landing.finish() == [b"hello", b"\0\0ab\0\0\0\0", None, None]

    def test_nothing_came(self) -> None:
        assert ManyLanding([Slot(0, 0, 4), Slot(1, 0, 0)]).finish() == [None, None]

    def test_more_than_one_request_brings(self) -> None:
        landing = ManyLanding([Slot(0, 0, FETCH_BYTES_MAX), Slot(1, 0, 0)])
        with pytest.raises(RecordTooBigError):
            landing.into(reply((2, 1), (0, 0, 1)))

    def test_an_answer_to_something_else(self) -> None:
        with pytest.raises(ProtocolError):
            ManyLanding([Slot(0, 0, 0)]).into(reply((1, 1), (1, 0, 1)))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9))), st.integers(0, 30))
def test_gaps_are_zero_and_nothing_else(runs: list[tuple[int, int]], count: int) -> None:
    """Runs in any order, overlapping too: they come from a peer."""
    spans = [(lo, lo + length) for lo, length in runs]
    memory = bytearray(b"x" * 80)
    zero_gaps(memoryview(memory), spans, count=count, record_size=2)
    covered = {index for lo, hi in spans for index in range(lo, hi)}
    for index in range(40):
        filled = index < count and index not in covered
        assert memory[2 * index : 2 * index + 2] == (b"\0\0" if filled else b"xx")


class TestRanges:
    def test_each_range_has_its_own_memory(self) -> None:
        memory = [bytearray(b"xxxxxx"), bytearray(b"xx"), bytearray(b"xxxx")]
        landing = RangesLanding([memoryview(each) for each in memory], 2)
        answer = FetchReply(1, (2,), (Piece(0, 0, 1, 1), Piece(0, 2, 0, 1), Piece(0, 2, 1, 1)))
        for turn in (b"..", b"ab"):  # the first reply was broken off
            for view in landing.into(answer):
                view[:] = turn
        assert landing.ends() == [2, 0, 2]
        landing.fill([3, 0, 2])
        assert memory == [b"\0\0ab\0\0", b"xx", b"abab"]

    def test_records_of_another_size(self) -> None:
        landing = RangesLanding([memoryview(bytearray(8))], 2)
        with pytest.raises(InvalidError, match="4 bytes, not 2"):
            landing.into(FetchReply(1, (4,), (Piece(0, 0, 0, 1),)))
        with pytest.raises(InvalidError):
            landing.room((4,))
        assert [view.nbytes for view in landing.room(None)] == [8]
