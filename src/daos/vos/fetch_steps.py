"""A large fetch in steps: so many pieces are found in one turn, so many bytes are in memory.

    find     of a fetch that was begun with patience: akeys, ranges and stacks of versions, so many
             a step. Nothing is written at or below its epoch any more, and it has its pin from its
             first step on: what one step finds is as true, and as much there, in the last. Keys
             are looked up anew in each, as their records may change meanwhile
    split    of one that is through: a `Fetch` of its own a step, with some of the pieces; the whole
             keeps its pin until `fetch_end`, so no step sees anything else than the whole did. A
             long extent is cut between records

Source: ours; the reference bounds a fetch by its DMA buffer and refuses more
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from daos.base.checksum import xxh3
from daos.base.errors import DaosError
from daos.base.iod import Iod
from daos.bio.pieces import Inline, Stored
from daos.vos import extents, keys
from daos.vos.extent_scan import look_at, pieces_of
from daos.vos.fetch import PATIENCE, Asked, Fetch, PieceOf, begin, check_record_size, walk
from daos.vos.nodes import Node
from daos.vos.runs import horizon_within
from daos.vos.state import ContainerState

_Part = Inline | Stored

# Stacks of each class that one step of a long range goes over.
_STACKS: Final = 128
# Pieces of one step of what is read; 3 us each.
_PIECES_MAX: Final = 512


def find(state: ContainerState, fetch: Fetch) -> Iterator[None]:
    """Find the rest of an unfinished fetch, a step a turn; end the fetch if that raises.

    Raises:     as VosContainer.fetch_begin; StaleHandleError  the container was destroyed
    Cost:       a step: PATIENCE of what is looked at, a millisecond or two
    """
    asked = fetch.asked
    assert asked is not None
    order, object_hash = keys.object_order(asked.oid), keys.object_facts(asked.oid).hash
    epoch = int(asked.epoch)
    state.searches.append(epoch)
    try:
        while len(fetch.sizes) < len(asked.iods):
            yield
            state.check_alive()
            rest = asked.iods[len(fetch.sizes) :]
            found = begin(state, *asked[:2], rest, asked.epoch, cond=asked.cond, patience=PATIENCE)
            if found.pin is not None:
                state.meta.space.unpin(found.pin)
            if found.sizes:
                _append(fetch, found)
            else:
                yield from _long_array(state, fetch, asked, order, rest[0])
    except DaosError as error:
        error.lsn = max(error.lsn, fetch.lsn)
        raise
    finally:
        state.searches.remove(epoch)
    fetch.lsn = max(fetch.lsn, state.lsns.of_dkey(object_hash, xxh3(asked.dkey)))
    fetch.asked = None


def _append(fetch: Fetch, found: Fetch) -> None:
    """What was found for the next akeys."""
    first = len(fetch.sizes)
    fetch.sizes += found.sizes
    fetch.segments += found.segments
    fetch.pieces += [(first + iod, recx, at, count) for iod, recx, at, count in found.pieces]
    fetch.parts += found.parts
    fetch.spans += found.spans
    fetch.nbytes += found.nbytes
    fetch.is_stored |= found.is_stored


def _long_array(
    state: ContainerState, fetch: Fetch, asked: Asked, order: bytes, iod: Iod
) -> Iterator[None]:
    """An array akey that is more than one turn's work."""
    ranges: list[list[extents.Piece]] = []
    left = _STACKS  # of this turn; a range may have few, and a turn costs more than that
    for recx in iod.recxs:
        found: list[extents.Piece] = []
        ranges.append(found)
        at, hi = recx.index, recx.index + recx.count
        while at < hi:
            node, pieces, seen = _pieces_from(state, asked, order, iod.akey, (at, hi, left))
            if found and found[-1][2:] == pieces[0][2:]:
                found[-1] = found[-1]._replace(hi=pieces.pop(0).hi)
            found += pieces
            at = found[-1].hi
            left -= 1 + seen
            if left <= 0:
                left = _STACKS
                yield
                state.check_alive()
    if node is None or not any(piece.is_data for found in ranges for piece in found):
        fetch.add_nothing()
        return
    check_record_size(node.record, iod)
    yield from fetch.adding_array(node.record.record_size, ranges)


def _pieces_from(
    state: ContainerState, asked: Asked, order: bytes, akey: bytes, within: tuple[int, int, int]
) -> tuple[Node | None, list[extents.Piece], int]:
    """The akey as it is now, the pieces of the next stacks, and how many were looked at.

    `within`: records [at, hi), and so many stacks at most.
    """
    at, hi, stacks = within
    kinds = keys.key_kinds(asked.oid)
    node, seen = walk(state, order, asked.dkey, kinds[0], asked.epoch)
    if node is not None:
        node = state.nodes.key(node.id, keys.AKEY, akey, kinds[1])
    if node is None:
        return None, [extents.Piece(at, hi)], 0
    floor = node.look(asked.epoch, seen).prior_punch
    look = look_at(node.id, node.record.class_mask, asked.epoch, floor)
    cursor = state.meta.cursor()
    end, looked = horizon_within(cursor, look, (at, hi), stacks)
    return node, pieces_of(cursor, look, at, end), looked


def split(fetch: Fetch, nbytes_max: int) -> Iterator[Fetch]:
    """Steps of at most `nbytes_max`, but for a single value or a record that has more, alone.

    Cost:       a step: O(its pieces)
    """
    step: Fetch | None = None
    for piece, parts in _cut(fetch, nbytes_max):
        nbytes = sum([part.nbytes for part in parts])
        full = step is not None and len(step.pieces) >= _PIECES_MAX
        if step is None or full or step.nbytes + nbytes > nbytes_max:
            if step is not None:
                yield step
            step = Fetch(fetch.lsn)
            step.sizes = fetch.sizes
        step.add_piece(piece, parts)
        step.nbytes += nbytes
    if step is not None:
        yield step


def _cut(fetch: Fetch, nbytes_max: int) -> Iterator[tuple[PieceOf, list[_Part]]]:
    """The pieces with what they consist of; none larger than a step, where that can be."""
    rest = iter(fetch.parts)
    for piece, span in zip(fetch.pieces, fetch.spans, strict=True):
        parts = [next(rest) for _ in range(span)]
        iod, recx, index, count = piece
        part = parts[0]
        records = max(1, nbytes_max // fetch.sizes[iod])
        if count <= records or type(part) is not Stored:
            yield piece, parts
            continue
        size = fetch.sizes[iod]
        for at in range(0, count, records):
            some = min(records, count - at)
            cut = replace(part, offset=part.offset + at * size, nbytes=some * size)
            yield (iod, recx, index + at, some), [cut]
