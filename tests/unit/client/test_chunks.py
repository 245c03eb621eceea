"""How an array lies over dkeys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import AccessError, InvalidError
from daos.client.chunks import MAGIC, Geometry, Run, dkey_of, overlap, pieces, runs
from daos.object.core import RECXS_MAX

sizes = st.integers(1, 40)


@given(sizes, st.integers(0, 1000), st.integers(0, 300), sizes)
def test_pieces_cover_the_range_once(chunk: int, offset: int, count: int, piece_max: int) -> None:
    geometry = Geometry(1, chunk)
    covered: list[int] = []
    for piece in pieces(geometry, offset, count, piece_max=piece_max):
        number = int.from_bytes(piece.dkey, "little") - 1
        assert 0 < piece.count <= piece_max
        assert piece.index + piece.count <= chunk
        assert offset + piece.position == number * chunk + piece.index
        covered += range(piece.position, piece.position + piece.count)
    assert covered == list(range(count))


def test_pieces_up_to_the_last_record() -> None:
    (piece,) = pieces(Geometry(1, 1), 2**64 - 2, 1, piece_max=10)
    assert piece.dkey == b"\xff" * 8


@given(sizes, st.integers(0, 20), st.integers(0, 500), st.integers(0, 500))
def test_overlap(chunk: int, number: int, a: int, b: int) -> None:
    lo, hi = min(a, b), max(a, b)
    index, count = overlap(Geometry(1, chunk), number, lo, hi)
    expected = [i for i in range(number * chunk, (number + 1) * chunk) if lo <= i < hi]
    assert [number * chunk + index + i for i in range(count)] == expected


def test_dkeys() -> None:
    assert dkey_of(0) == b"\1" + bytes(7)
    assert dkey_of(255) == b"\0\1" + bytes(6)


def test_metadata() -> None:
    value = Geometry(4, 1000).emit()
    assert value[:8] == MAGIC.to_bytes(8, "little")
    assert value[8:] == (4).to_bytes(8, "little") + (1000).to_bytes(8, "little")
    assert Geometry.parse(value) == Geometry(4, 1000)


@given(st.binary(max_size=32))
def test_metadata_of_something_else(value: bytes) -> None:
    try:
        assert Geometry.parse(value).emit() == value
    except AccessError:
        return


@pytest.mark.parametrize(
    "value",
    [
        b"",
        bytes(24),
        MAGIC.to_bytes(8, "little") + bytes(16),
        MAGIC.to_bytes(8, "little") + b"\1" + bytes(15),
        MAGIC.to_bytes(8, "little") + bytes(8) + b"\1" + bytes(7),
        Geometry(1, 1).emit() + b"\0",
    ],
)
def test_damaged_metadata(value: bytes) -> None:
    with pytest.raises(AccessError, match="array metadata"):
        Geometry.parse(value)


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (-1, 1), (1, 2**63 + 1), (True, 1), (1.0, 1)])
def test_sizes_that_no_array_has(sizes: tuple[int, int]) -> None:
    with pytest.raises(InvalidError):
        Geometry(*sizes).check()
    assert Geometry(2**63, 1).check() == Geometry(2**63, 1)


ranges = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=12)


@given(sizes, ranges, st.lists(st.integers(0, 300), max_size=5), sizes)
def test_runs_cover_the_ranges_in_their_order(
    chunk: int, wanted: list[tuple[int, int]], cuts: list[int], records_max: int
) -> None:
    cuts = sorted(cuts)
    covered: list[int] = []
    last: Run | None = None
    for run in runs(Geometry(1, chunk), wanted, cuts=cuts, records_max=records_max):
        here: list[int] = []
        for recx in run.recxs:
            assert recx.end <= chunk
            assert not any(
                len(covered) + len(here) < cut < len(covered) + len(here) + recx.count
                for cut in cuts
            )
            here += range(run.number * chunk + recx.index, run.number * chunk + recx.end)
        assert here
        assert len(here) == len(set(here)) == run.records <= records_max
        if last is not None and last.number == run.number:  # there was a reason to begin anew
            first = run.recxs[0]
            taken = {i for recx in last.recxs for i in range(recx.index, recx.end)}
            assert last.records + first.count > records_max or taken & set(
                range(first.index, first.end)
            )
        covered += here
        last = run
    assert covered == [i for offset, count in wanted for i in range(offset, offset + count)]


def test_runs_of_consecutive_ranges() -> None:
    """Typed from the page on the reference: §1.4, "non-adjacent revisits … separate"."""
    found = runs(Geometry(4, 10), [(0, 2), (4, 1), (0, 0), (8, 4), (13, 1), (5, 1), (25, 10)])
    assert [(run.number, [(recx.index, recx.count) for recx in run.recxs]) for run in found] == [
        (0, [(0, 2), (4, 1), (8, 2)]),
        (1, [(0, 2), (3, 1)]),
        (0, [(5, 1)]),
        (2, [(5, 5)]),
        (3, [(0, 5)]),
    ]


def test_a_run_has_no_more_ranges_than_a_request_takes() -> None:
    wanted = [(2 * i, 1) for i in range(RECXS_MAX + 5)]
    found = [len(run.recxs) for run in runs(Geometry(1, 1 << 20), wanted)]
    assert found == [RECXS_MAX, 5]
