"""The checksums of a large update, computed ahead of its end, and a slice at a time.

`update_end` reads every byte two or three times: for the checksums that are stored, for that of
what goes to the device, and where a container deduplicates for what content is found by. Of a few
MiB that is a millisecond; of 64 MiB, or by SHA-256, it would hold up the loop. So between the
landing of a large update and its end somebody takes these steps, one a turn of the loop, and the
end finds what it needs. Without them it computes the same itself. They may be taken in another
thread: nothing else touches the update until they are done.

The memory is the update's until its end: nobody else writes to it.

Source: ours; the reference has its checksums computed by ISA-L in the request's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from daos.base.checksum import (
    ChecksumType,
    Turn,
    compute_chunks_slowly,
    compute_slowly,
    slice_bytes,
)
from daos.base.iod import IodType
from daos.vos.dedup import array_spans, digesting, eligible
from daos.vos.dedup_record import DedupMode, DedupSetting
from daos.vos.update import Update

# Smaller updates are hashed when they end, whatever the algorithms.
HASHED_MIN: Final = slice_bytes(ChecksumType.SHA256)


def hashing(
    update: Update,
    way: ChecksumType,
    setting: DedupSetting | None,
    worth_bytes: Callable[[ChecksumType], int] = slice_bytes,
) -> Iterator[None] | None:
    """The steps of an update that has landed; None: not worth it.

    `way`: the algorithm of the checksums that came with it; `update.way` tells them afterwards.
    `worth_bytes`: up to so much of an algorithm is computed at the end as well.

    Raises, in a step:  NotSupportedError, as `compute`
    """
    kinds = [way, update.csum_type]
    if setting is not None and setting.mode is DedupMode.HASH:
        kinds.append(ChecksumType.SHA256)
    if update.nbytes <= min([worth_bytes(kind) for kind in kinds]):
        return None
    return _steps(update, way, setting)


def _steps(update: Update, way: ChecksumType, setting: DedupSetting | None) -> Iterator[None]:
    came: list[bytes] = []
    turn = Turn(way)
    for memory in update.destinations:
        came.append((yield from compute_slowly(way, memory)))
        yield from turn.did(memory.nbytes)
    yield from _stored(update)
    if setting is not None:
        content = ChecksumType.SHA256 if setting.mode is DedupMode.HASH else ChecksumType.XXH3
        turn = Turn(content)
        for span in array_spans(update.iods, update.taken.spans):
            if eligible(setting, span):
                yield from digesting(setting, span)
                yield from turn.did(span.nbytes)
    if update.taken.descriptor is not None:
        yield from update.taken.descriptor.summing()
    update.way = came


def _stored(update: Update) -> Iterator[None]:
    """What goes into the records: one checksum a span of a single value, one a chunk otherwise."""
    kind, chunk = update.csum_type, update.csum_chunk
    turn, of_values = Turn(kind), iter(update.taken.spans)
    for iod in update.iods:
        is_single = iod.type == IodType.SINGLE
        for _ in range(0 if not iod.size else 1 if is_single else len(iod.recxs)):
            for span in next(of_values):
                memory = span.memory
                if is_single:
                    span.csums = yield from compute_slowly(kind, memory)
                else:
                    span.csums = yield from compute_chunks_slowly(kind, memory, chunk_nbytes=chunk)
                yield from turn.did(span.nbytes)
