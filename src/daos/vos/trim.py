"""Hidden parts of extents give their blocks back where there is no room to merge; no copy is made.

    extent    |----------------------------------|     chunks of its checksums, whole blocks each
    visible       ----                    -----
    after     |---------|            |-----------|     the same bytes, checksums and epoch;
                                                       the blocks between are free

A merge needs space to give more back; a shard that is full of extents of which a part is hidden
would stay full. A part that is left begins and ends with a chunk: its checksums are those it had.

Invariants:
    T1  what is visible of an extent is in exactly one of its parts, at the place where it was
    T2  an extent whose blocks others name (dedup.py) is left alone
Source: ours; DAOS keeps space by for merges (vos_space.c, aggregation reserve).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from daos.base.checksum import ChecksumType
from daos.base.errors import NoSpaceError
from daos.bio.device import BLOCK
from daos.bio.space import Extent
from daos.vos import extents
from daos.vos.dedup import is_counted
from daos.vos.edit import Edit
from daos.vos.extent_scan import CLASS, CLASS_END, RECORDS_MAX, classes_of, pieces_of
from daos.vos.runs import Found, horizon
from daos.vos.work import DAMAGE, Steps

if TYPE_CHECKING:
    from collections.abc import Generator

    from daos.vos.merge import ArrayMerge
    from daos.vos.work import Want

# Parts of one extent; where there are more, those nearest to each other stay together.
_PARTS_MAX: Final = 32
_STACKS: Final = 128
_TREE_BYTES: Final = 1024  # of one part, and of what stands in its stack


class _Chunks(NamedTuple):
    """Chunks [first, end) of an extent."""

    first: int
    end: int


def trim(array: ArrayMerge, floor: tuple[int, int]) -> Steps:
    """Trim the extents of the range, as a reader at its end sees them."""
    for cls in classes_of(array.record.class_mask):
        prefix = seek = CLASS.pack(array.record.node_id, cls)
        while seek:
            yield from array.work.turn()
            array.work.left -= 1
            cursor = array.meta.cursor()
            if not cursor.set_range(seek) or cursor.key()[:CLASS_END] != prefix:
                break
            key, value = cursor.item()
            seek, in_range = array.after(key)
            if not in_range:
                continue
            try:
                found = Found.parse(key, value)
                unit = _unit(found)
                if not unit or is_counted(array.meta, found.record.run):
                    continue
                parts = yield from _visible(array, floor, found, unit)
                yield from array.work.turn()
                if parts and parts != [_Chunks(0, -(-found.record.nbytes // unit))]:
                    _cut(array, found, unit, parts)
            except DAMAGE:  # whoever merged has counted it
                continue
            except NoSpaceError:
                return True
    return True


def _unit(found: Found) -> int:
    """Bytes of a chunk that can be told from its neighbours; 0: the extent has but one."""
    record = found.record
    if record.run is None:
        return 0
    unit = math.lcm(record.csum_chunk, BLOCK, record.record_size)
    return unit if unit < record.nbytes and unit == record.csum_chunk else 0


def _visible(
    array: ArrayMerge, floor: tuple[int, int], found: Found, unit: int
) -> Generator[Want, None, list[_Chunks]]:
    """The chunks of an extent of which anything is visible, in few parts."""
    parts: list[_Chunks] = []
    size, at = found.record.record_size, found.lo
    while at < found.hi:
        yield from array.work.turn()
        cursor, look = array.meta.cursor(), array.look(floor)
        end = min(found.hi, horizon(cursor, look, at, _STACKS), RECORDS_MAX)
        pieces = pieces_of(cursor, look, at, end)
        array.work.left -= len(pieces)
        for piece in pieces:
            if not found.is_of(piece):
                continue
            first = (piece.lo - found.lo) * size // unit
            last = -(-(piece.hi - found.lo) * size // unit)
            if parts and parts[-1].end >= first:
                parts[-1] = _Chunks(parts[-1].first, last)
            else:
                parts.append(_Chunks(first, last))
        at = end
    return _few(parts)


def _few(parts: list[_Chunks]) -> list[_Chunks]:
    if len(parts) <= _PARTS_MAX:
        return parts
    gaps = sorted(((after.first - before.end, after.first) for before, after in pairwise(parts)))
    starts = sorted(first for _, first in gaps[1 - _PARTS_MAX :])
    few = [parts[0]]
    for part in parts[1:]:
        if part.first in starts:
            few.append(part)
        else:
            few[-1] = _Chunks(few[-1].first, part.end)
    return few


def _cut(array: ArrayMerge, found: Found, unit: int, parts: list[_Chunks]) -> None:
    """One transaction: the parts take the place of the extent. Raises: NoSpaceError."""
    meta, record = array.meta, found.record
    run, size = record.run, record.record_size
    assert run is not None
    blocks, csum_size = unit // BLOCK, ChecksumType(record.csum_type).size
    array.reload()
    hold = meta.hold(
        tree_bytes=_TREE_BYTES * len(parts) + len(record.csums), data_blocks=0, last=True
    )
    try:
        edit = Edit(meta, array.state.root)
        classes, keys, free_from = array.record.class_mask, [], 0
        for first, end in parts:
            lo = found.lo + first * unit // size
            width = min(found.hi, found.lo + end * unit // size) - lo
            block, count = run.block + first * blocks, -(-width * size // BLOCK)
            part = msgspec.structs.replace(
                record,
                width=width,
                csums=record.csums[first * csum_size : end * csum_size],
                run=Extent(block, count),
                reach=0,
            )
            classes |= extents.place(
                meta,
                edit.tx,
                array.record.node_id,
                lo,
                part,
                epoch=found.epoch,
                minor=found.minor,
                classes=classes,
            )
            keys.append(
                extents.extent_key(
                    array.record.node_id, lo, width, epoch=found.epoch, minor=found.minor
                )
            )
            if first * blocks > free_from:
                edit.tx.free(Extent(run.block + free_from, first * blocks - free_from))
            free_from = first * blocks + count
        if run.count > free_from:
            edit.tx.free(Extent(run.block + free_from, run.count - free_from))
        if found.key not in keys:
            edit.tx.delete(found.key)
        array.remember(edit, classes)
        edit.commit(0, array.state.nodes.cache)
        array.work.notes.moved(found.epoch)
    finally:
        meta.release(hold)
    array.statistics.trimmed_recs += 1
