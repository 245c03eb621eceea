"""Many ranges of an array in one call: which buffers, which requests, what was there to read.

    ranges   [offset, +count) [offset, +count) ...   in the order given, empty ones left out
    buffers  |----------|-----|--------------|       used up one after the other
    runs     <--- dkey 1 ---><---- dkey 2 ---->      one request for each, with all its ranges

A range that goes from one buffer into the next is cut there, so nothing is copied; for that a
buffer has whole cells (the reference cuts cells, too).

Source: DAOS src/client/array/dc_array.c dc_array_io, process_iom, set_short_read_cb
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

from daos.base.errors import InvalidError, NotSupportedError
from daos.base.ids import U64_MAX
from daos.client.chunks import Geometry, Run, runs
from daos.client.landing import RangesLanding
from daos.client.memory import BufferLike
from daos.client.session import RANGES_MAX
from daos.client.values import check_count

# Of one buffer, or of several that are used up one after the other.
Buffers: TypeAlias = BufferLike | list[BufferLike] | tuple[BufferLike, ...]

LIMIT_NAME: Final = "DAOS_ARRAY_LIST_IO_LIMIT"
_SMALL_MAX: Final = 16  # records; so short a range costs more than it moves


class RangesRead(NamedTuple):
    """What `read_many` found, in records."""

    read: int  # before the end of the array, holes included
    short: int  # asked for beyond the end


class Part(NamedTuple):
    """One request: its records, and where they are in the caller's memory."""

    run: Run
    views: list[memoryview]


def ranges_limit(environment: Mapping[str, str]) -> int:
    """How many ranges a call may have, most of them short; 0: any number.

    Raises: InvalidError (the environment says something else)
    """
    text = environment.get(LIMIT_NAME, "")
    if not text:
        return RANGES_MAX
    if not (text.isascii() and text.isdigit()):
        raise InvalidError(f"{LIMIT_NAME} must be a number, 0 for no limit, not {text!r}")
    return int(text)


def check_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """As plain numbers, empty ones too. Raises: InvalidError."""
    try:
        pairs = [(offset, count) for offset, count in ranges]
    except (TypeError, ValueError) as error:
        raise InvalidError(f"ranges are pairs of offset and count: {error}") from None
    checked = [(check_count(pair[0], "offset"), check_count(pair[1], "count")) for pair in pairs]
    for offset, count in checked:
        if offset + count > U64_MAX:
            raise InvalidError(f"records [{offset}, +{count}) reach past 2**64")
    return checked


def check_many(ranges: Sequence[tuple[int, int]], limit: int) -> None:
    """Refuse too many short ranges. Raises: NotSupportedError."""
    if 0 < limit < len(ranges):
        short = sum([count <= _SMALL_MAX for _, count in ranges])
        if short > limit:
            raise NotSupportedError(
                f"{short} of {len(ranges)} ranges have {_SMALL_MAX} records or less; a call takes "
                f"{limit} such ({LIMIT_NAME})"
            )


def parts(
    geometry: Geometry,
    ranges: Sequence[tuple[int, int]],
    buffers: Sequence[memoryview],
    *,
    records_max: int,
) -> Iterator[Part]:
    """The requests. Raises: InvalidError (buffers and ranges differ in size)."""
    cell = geometry.cell_size
    if odd := [view.nbytes for view in buffers if view.nbytes % cell]:
        raise InvalidError(f"{odd[0]} bytes are no whole number of {cell}-byte cells")
    records, nbytes = sum(count for _, count in ranges), sum(view.nbytes for view in buffers)
    if records * cell != nbytes:
        raise InvalidError(
            f"the ranges have {records} cells of {cell} bytes, {records * cell} bytes; "
            f"the buffers have {nbytes}"
        )
    return _parts(geometry, ranges, [view for view in buffers if view.nbytes], records_max)


def _parts(
    geometry: Geometry,
    ranges: Sequence[tuple[int, int]],
    buffers: Sequence[memoryview],
    records_max: int,
) -> Iterator[Part]:
    cell = geometry.cell_size
    cuts = list(accumulate(view.nbytes // cell for view in buffers))
    rest, at = iter(buffers), 0
    view = memoryview(b"")
    for run in runs(geometry, ranges, cuts=cuts, records_max=records_max):
        views = []
        for recx in run.recxs:
            if at == view.nbytes:
                view, at = next(rest), 0
            views.append(view[at : at + recx.count * cell])
            at += recx.count * cell
        yield Part(run, views)


class Reading:
    """What the requests of one `read_many` have brought."""

    def __init__(self, geometry: Geometry, ranges: Sequence[tuple[int, int]]) -> None:
        self._geometry = geometry
        self._ranges = ranges
        self._landings: list[tuple[Run, RangesLanding]] = []

    def landing(self, part: Part) -> RangesLanding:
        """Where a request's records land."""
        landing = RangesLanding(part.views, self._geometry.cell_size)
        self._landings.append((part.run, landing))
        return landing

    @property
    def seen(self) -> int:
        """The array ends here or later, by the records that came."""
        seen = 0
        for run, landing in self._landings:
            base = run.number * self._geometry.chunk_size
            for recx, end in zip(run.recxs, landing.ends(), strict=True):
                if end:
                    seen = max(seen, base + recx.index + end)
        return seen

    @property
    def wanted(self) -> int:
        """One past the last record that was asked for."""
        return max((offset + count for offset, count in self._ranges if count), default=0)

    def finish(self, size: int) -> RangesRead:
        """Zero the holes below the end of the array; memory for what is beyond stays as it is."""
        for run, landing in self._landings:
            base = run.number * self._geometry.chunk_size
            landing.fill([max(0, min(recx.count, size - base - recx.index)) for recx in run.recxs])
        total = sum(count for _, count in self._ranges)
        read = sum(max(0, min(count, size - offset)) for offset, count in self._ranges)
        return RangesRead(read, total - read)
