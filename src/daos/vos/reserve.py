"""Where the values of one update go: blocks of the device, and the memory their bytes land in.

All blocks of an update are reserved as one contiguous run where there is one: then a log group's
payload is one device write. On a fragmented device a value takes several runs. A *span* is a part
of a value in one run; it has checksums of its own. The memory of the spans of one value is
contiguous, so that whoever lands the bytes does not notice.

Invariants:
    V1  blocks are held before they are reserved: NoSpaceError comes first, and changes nothing
    V2  every span but the last of a value is whole blocks, and whole records of an array
Source: DAOS src/vos/vos_io.c vos_reserve_blocks, vos_reserve_recx, reserve_space.
"""

from __future__ import annotations

import math

import msgspec

from daos.base.errors import AgainError, DaosError, NoSpaceError
from daos.bio.descriptor import UpdateDescriptor
from daos.bio.device import BLOCK
from daos.bio.memory import AlignedPool
from daos.bio.one_value import OneValue
from daos.bio.space import Extent, Hint, Space
from daos.vos.single import RUNS_MAX


class Value(msgspec.Struct, gc=False):
    """Bytes to come."""

    nbytes: int
    record_size: int  # of an array; 0 for a single value
    blocks: int  # 0: the bytes go into the record


class Span(msgspec.Struct, eq=False, gc=False):
    """A part of a value that lies in one place."""

    nbytes: int
    run: Extent | None
    memory: memoryview
    equal: Extent | None = None  # a stored run with the same bytes: they were compared
    csums: bytes = b""  # computed ahead (hashing.py), as what its content is found by
    digest: bytes = b""


class Taken(msgspec.Struct, eq=False, gc=False):
    """What an update holds until it ends. Destinations and spans are 1:1 with the values."""

    destinations: list[memoryview]
    spans: list[tuple[Span, ...]]
    descriptor: UpdateDescriptor | OneValue | None
    runs: list[Extent]


def take(space: Space, pool: AlignedPool, values: list[Value], hint: Hint) -> Taken:
    """Blocks, under the caller's hold, and memory for all values.

    Raises:     NoSpaceError   no run of free blocks takes even a part of a value
                AgainError     no memory for payloads now
                DaosError      DER_OVERFLOW: more than there will ever be memory for
                Nothing is taken then.
    """
    if len(values) == 1:
        return _take_one(space, pool, values[0], hint)
    runs = _reserve_all(space, [value for value in values if value.blocks], hint)
    try:
        return _prepare(pool, values, runs)
    except DaosError:
        _cancel(space, runs, hint)
        raise


def give_back(space: Space, taken: Taken, hint: Hint) -> None:
    """Undo `take`."""
    if taken.descriptor is not None:
        taken.descriptor.cancel()
    for run in reversed(taken.runs):
        space.cancel(run, hint)


def _take_one(space: Space, pool: AlignedPool, value: Value, hint: Hint) -> Taken:
    """The common case, without the lists."""
    nbytes, blocks = value.nbytes, value.blocks
    if not blocks:
        memory = memoryview(bytearray(nbytes))
        return Taken([memory], [(Span(nbytes, None, memory),)], None, [])
    try:
        run = space.reserve(blocks, hint)
    except NoSpaceError:
        runs = _reserve_each(space, [value], hint)
    else:
        try:
            descriptor = OneValue.prepare(pool, nbytes, run)
        except DaosError:
            space.cancel(run, hint)
            raise
        memory = descriptor.destination
        return Taken([memory], [(Span(nbytes, run, memory),)], descriptor, [run])
    try:
        return _prepare(pool, [value], runs)
    except DaosError:
        _cancel(space, runs, hint)
        raise


# Per value with blocks: its bytes and blocks, run by run.
_Runs = list[list[tuple[int, Extent]]]


def _reserve_all(space: Space, values: list[Value], hint: Hint) -> _Runs:
    """Blocks for all values, in one run if there is one. Raises: NoSpaceError."""
    if not values:
        return []
    try:
        block, _ = space.reserve(sum([value.blocks for value in values]), hint)
    except NoSpaceError:
        return _reserve_each(space, values, hint)
    runs: _Runs = []
    for value in values:
        runs.append([(value.nbytes, Extent(block, value.blocks))])
        block += value.blocks
    return runs


def _reserve_each(space: Space, values: list[Value], hint: Hint) -> _Runs:
    """Blocks for all values, in as many runs as it takes. Raises: NoSpaceError."""
    runs: _Runs = []
    for value in values:
        unit = math.lcm(value.record_size or 1, BLOCK)
        mine: list[tuple[int, Extent]] = []
        runs.append(mine)
        left = want = value.nbytes
        while left:
            if len(mine) == RUNS_MAX:
                _cancel(space, runs, hint)
                raise NoSpaceError(f"free blocks stand so scattered that a value takes {RUNS_MAX}")
            try:
                run = space.reserve(-(-want // BLOCK), hint)
            except NoSpaceError:
                want = want // 2 // unit * unit
                if not want:
                    _cancel(space, runs, hint)
                    raise
            else:
                mine.append((want, run))
                left -= want
                want = left
    return runs


def _cancel(space: Space, runs: _Runs, hint: Hint) -> None:
    for mine in reversed(runs):
        for _, run in reversed(mine):
            space.cancel(run, hint)


def _prepare(pool: AlignedPool, values: list[Value], runs: _Runs) -> Taken:
    """Memory for all values; that of values with blocks is one buffer."""
    if not runs:
        memories = [memoryview(bytearray(value.nbytes)) for value in values]
        spans: list[tuple[Span, ...]] = [(Span(len(m), None, m),) for m in memories]
        return Taken(memories, spans, None, [])
    sizes: list[int] = []
    extents: list[Extent | None] = []
    rest = iter(runs)
    mine: list[list[tuple[int, Extent | None]]] = []
    for value in values:
        parts = list[tuple[int, Extent | None]](next(rest) if value.blocks else ())
        mine.append(parts or [(value.nbytes, None)])
        sizes += [nbytes for nbytes, _ in mine[-1]]
        extents += [run for _, run in mine[-1]]
    buffer = pool.acquire(UpdateDescriptor.buffer_nbytes(extents))
    if buffer is None:
        raise AgainError("no memory for the payload of an update now")
    descriptor = UpdateDescriptor(pool)
    prepared = iter(descriptor.prepare(sizes, extents, buffer=buffer))
    taken = Taken([], [], descriptor, [run for run in extents if run is not None])
    at = 0
    for value, parts in zip(values, mine, strict=True):
        spans_of = tuple([Span(nbytes, run, next(prepared)) for nbytes, run in parts])
        taken.spans.append(spans_of)
        if value.blocks:
            taken.destinations.append(buffer.view[at : at + value.nbytes])
            at += value.blocks * BLOCK
        else:
            taken.destinations.append(spans_of[0].memory)
    return taken
