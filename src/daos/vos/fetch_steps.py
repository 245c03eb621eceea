"""A large fetch in steps, so that reading it takes bounded memory.

A step is a `Fetch` of its own with some of the pieces; the whole keeps its pin until `fetch_end`,
so no step sees anything else than the whole did. A long extent is cut between records.

Source: ours; the reference bounds a fetch by its DMA buffer and refuses more
"""

from __future__ import annotations

from msgspec.structs import replace

from daos.bio.pieces import Inline, Stored
from daos.vos.fetch import Fetch, PieceOf

_Part = Inline | Stored


def split(fetch: Fetch, nbytes_max: int) -> list[Fetch]:
    """Steps of at most `nbytes_max`, but for a single value or a record that has more, alone.

    Cost:       O(pieces)
    """
    steps: list[Fetch] = []
    step: Fetch | None = None
    for piece, parts in _cut(fetch, nbytes_max):
        nbytes = sum([part.nbytes for part in parts])
        if step is None or step.nbytes + nbytes > nbytes_max:
            step = Fetch(fetch.lsn)
            step.sizes = fetch.sizes
            steps.append(step)
        step.add_piece(piece, parts)
        step.nbytes += nbytes
    return steps


def _cut(fetch: Fetch, nbytes_max: int) -> list[tuple[PieceOf, list[_Part]]]:
    """The pieces with what they consist of; none larger than a step, where that can be."""
    pieces: list[tuple[PieceOf, list[_Part]]] = []
    rest = iter(fetch.parts)
    for piece, span in zip(fetch.pieces, fetch.spans, strict=True):
        parts = [next(rest) for _ in range(span)]
        iod, recx, index, count = piece
        part = parts[0]
        records = max(1, nbytes_max // fetch.sizes[iod])
        if count <= records or type(part) is not Stored:
            pieces.append((piece, parts))
            continue
        size = fetch.sizes[iod]
        for at in range(0, count, records):
            some = min(records, count - at)
            cut = replace(part, offset=part.offset + at * size, nbytes=some * size)
            pieces.append(((iod, recx, index + at, some), [cut]))
    return pieces
