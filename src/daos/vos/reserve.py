"""Where the values of one update go: medium, blocks, and the memory their bytes land in.

    value (single value, or one range of an array) --select--> in the record | blocks of the device

All blocks of an update are reserved as one contiguous run where there is one: then a log group's
payload is one device write. On a fragmented device a value takes several runs; each is a *span*,
which has checksums of its own. The memory of the spans of one value is contiguous, so that whoever
lands the bytes does not notice.

Invariants:
    V1  blocks are held before they are reserved: NoSpaceError comes first, and changes nothing
    V2  every span but the last of a value is whole blocks, and whole records of an array
Source: DAOS src/vos/vos_io.c vos_reserve_blocks, vos_reserve_recx, reserve_space.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from daos.base.errors import AgainError, NoSpaceError
from daos.bio.descriptor import UpdateDescriptor
from daos.bio.device import BLOCK
from daos.bio.memory import AlignedPool
from daos.bio.space import Extent, Hint, Space


class Value(NamedTuple):
    """Bytes to come: of iod `iod`, from record `lo` on (0 for a single value)."""

    iod: int
    lo: int
    nbytes: int
    record_size: int  # of an array; 0 for a single value


class Span(NamedTuple):
    """A part of a value that lies in one place."""

    nbytes: int
    run: Extent | None
    memory: memoryview


def reserve_runs(space: Space, value: Value, hint: Hint | None) -> list[tuple[int, Extent]]:
    """Blocks for one value: (bytes, run) each, in value order.

    Raises:     NoSpaceError   nothing is reserved
    """
    unit = math.lcm(value.record_size or 1, BLOCK)
    runs: list[tuple[int, Extent]] = []
    left = take = value.nbytes
    while left:
        try:
            run = space.reserve(-(-take // BLOCK), hint)
        except NoSpaceError:
            take = take // 2 // unit * unit
            if not take:
                for _, run in runs:
                    space.cancel(run, hint)
                raise
        else:
            runs.append((take, run))
            left -= take
            take = left
    return runs


def reserve_all(space: Space, values: list[Value], hint: Hint) -> list[list[tuple[int, Extent]]]:
    """Blocks for all values, in one run if there is one. Raises: NoSpaceError."""
    counts = [-(-value.nbytes // BLOCK) for value in values]
    try:
        block, _ = space.reserve(sum(counts), hint)
    except NoSpaceError:
        return _reserve_each(space, values, hint)
    reserved = []
    for value, count in zip(values, counts, strict=True):
        reserved.append([(value.nbytes, Extent(block, count))])
        block += count
    return reserved


def _reserve_each(space: Space, values: list[Value], hint: Hint) -> list[list[tuple[int, Extent]]]:
    reserved: list[list[tuple[int, Extent]]] = []
    try:
        for value in values:
            reserved.append(reserve_runs(space, value, hint))  # noqa: PERF401 - undone below
    except NoSpaceError:
        for runs in reserved:
            for _, run in runs:
                space.cancel(run, hint)
        raise
    return reserved


class Memory:
    """Destinations for the values, 1:1, and the spans behind each."""

    __slots__ = ("descriptor", "destinations", "spans")

    def __init__(self) -> None:
        self.descriptor: UpdateDescriptor | None = None
        self.destinations: list[memoryview] = []
        self.spans: list[tuple[Span, ...]] = []

    def prepare(
        self,
        pool: AlignedPool,
        values: list[Value],
        reserved: list[list[tuple[int, Extent]] | None],
    ) -> None:
        """Take the memory. Raises: AgainError, DaosError OVERFLOW; nothing is taken then."""
        if not any(reserved):
            for value in values:
                memory = memoryview(bytearray(value.nbytes))
                self.destinations.append(memory)
                self.spans.append((Span(value.nbytes, None, memory),))
            return
        sizes: list[int] = []
        extents: list[Extent | None] = []
        for value, runs in zip(values, reserved, strict=True):
            if runs is None:
                sizes.append(value.nbytes)
                extents.append(None)
            else:
                sizes += [nbytes for nbytes, _ in runs]
                extents += [run for _, run in runs]
        needed = UpdateDescriptor.buffer_nbytes(extents)
        buffer = pool.acquire(needed)
        if buffer is None:
            raise AgainError(f"{needed} bytes of payload memory are not free now")
        self.descriptor = UpdateDescriptor(pool)
        memories = iter(self.descriptor.prepare(sizes, extents, buffer=buffer))
        at = 0
        for value, runs in zip(values, reserved, strict=True):
            if runs is None:
                memory = next(memories)
                self.destinations.append(memory)
                self.spans.append((Span(value.nbytes, None, memory),))
                continue
            self.destinations.append(buffer.view[at : at + value.nbytes])
            self.spans.append(tuple([Span(n, run, next(memories)) for n, run in runs]))
            at += sum([run.count for _, run in runs]) * BLOCK
