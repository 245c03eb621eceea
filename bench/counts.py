"""What one operation costs in things that can be counted: exact, and the same on every machine.

    messages    frames that the target's context took in and gave out: a request and its reply, and
                by bulk, above the size that goes inline, two more a chunk
    copies      payload bytes moved in user space, over the payload: landed (inproc copies once, as
                a socket read would), staged (arrived with their header), bounced (not aligned),
                copied between the target's memory and shared memory of its client
    writes      device writes after coalescing; flushes
    puts        keys put to the tree
    reads       tree look-ups and cursors, device reads

Copies that are not of payload but of records (a value below 4 KiB becomes part of its record: that
goes into the tree and into the log) are not counted: they are bytes of metadata from there on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import lmdb

from bench.load import run_started
from bench.report import Budget, Report, Row, exactly, no_more_than
from bench.stand import Stand, get, put
from daos.base.iod import Iod, IodType, Recx
from daos.bio.device import BLOCK
from daos.bio.meta import MetaContext
from daos.bio.tree import WriteSet
from daos.cart.context import Limits
from daos.object.wire import INLINE_MAX

SUITE: Final = "counts"
_FEW: Final = 4


@dataclass(slots=True)
class TreeCounts:
    """Of the live tree."""

    puts: int = 0
    gets: int = 0
    cursors: int = 0


@contextmanager
def tree_counts(meta: MetaContext) -> Iterator[TreeCounts]:
    """Count what happens to the live tree of a shard meanwhile."""
    tree = meta._tree  # nothing public tells of single puts, and nothing else should need to
    counts = TreeCounts()
    put_all, read, open_cursor = tree.put_all, tree.get, tree.cursor

    def counted_put_all(pairs: WriteSet, nbytes: int) -> None:
        counts.puts += len(pairs)
        put_all(pairs, nbytes)

    def counted_get(key: bytes) -> bytes | None:
        counts.gets += 1
        return read(key)

    def counted_cursor() -> lmdb.Cursor[bytes]:
        counts.cursors += 1
        return open_cursor()

    tree.put_all = counted_put_all  # type: ignore[method-assign]
    tree.get = counted_get  # type: ignore[method-assign]
    tree.cursor = counted_cursor  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        del tree.put_all, tree.get, tree.cursor


class Counts(NamedTuple):
    """Of a number of operations, all together."""

    messages: int
    copied: int  # bytes of payload, moved in user space
    writes: int
    flushes: int
    reads: int  # of the device
    puts: int
    gets: int
    cursors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What is written and read in one operation, below a dkey of its own."""

    name: str
    nbytes: int
    cells: int = 0  # of one byte, as an array; 0: a single value

    @property
    def iods(self) -> tuple[Iod, ...]:
        """The descriptor of an update; a fetch takes it as well."""
        if self.cells:
            return (Iod(b"a", IodType.ARRAY, 1, (Recx(0, self.cells),)),)
        return (Iod(b"a", IodType.SINGLE, self.nbytes),)

    @property
    def number(self) -> int:
        """Low part of the id of the object that holds such values: an akey keeps one type."""
        return self.nbytes << 1 | bool(self.cells)


def single(nbytes: int) -> Shape:
    """A single value."""
    return Shape(name=f"{nbytes} B value", nbytes=nbytes)


def extent(nbytes: int) -> Shape:
    """A range of an array of bytes."""
    return Shape(name=f"{nbytes} B extent", nbytes=nbytes, cells=nbytes)


async def count(stand: Stand, shape: Shape, keys: range, *, depth: int, update: bool) -> Counts:
    """Update, or fetch, these dkeys of the object that belongs to the shape."""
    target, call = stand.object(shape.number), stand.call()
    value, iods = memoryview(bytearray(b"x" * shape.nbytes)), shape.iods
    operate = put if update else get
    wire, device = _wire(stand), stand.device.statistics()
    with tree_counts(stand.meta) as tree:
        await run_started(
            len(keys),
            depth,
            lambda index, ended: operate(target, iods, b"%08d" % keys[index], value, call, ended),
        )
    device_now = stand.device.statistics()
    messages, copied = (now - before for now, before in zip(_wire(stand), wire, strict=True))
    return Counts(
        messages,
        copied + device_now.bytes_copied - device.bytes_copied,
        device_now.writes - device.writes,
        device_now.flushes - device.flushes,
        device_now.reads - device.reads,
        tree.puts,
        tree.gets,
        tree.cursors,
    )


def _wire(stand: Stand) -> tuple[int, int]:
    """Messages of the target's context; payload bytes copied by both."""
    server, client = stand.server.statistics(), stand.client.statistics()
    copied = sum(
        each.payload_bytes_in + each.payload_bytes_staged + each.bulk_bytes_copied
        for each in (server, client)
    )
    return server.frames_in + server.frames_out, copied


class Cost(NamedTuple):
    """What one operation costs at depth 1."""

    shape: Shape
    operation: Literal["new", "known", "fetch"]  # update of a new dkey, of a known one; fetch
    writes: int
    reads: int
    puts: int
    gets: int
    cursors: int


SMALL: Final = single(100)
BLOCK_VALUE: Final = single(4096)
BLOCK_EXTENT: Final = extent(4096)
LARGE_EXTENT: Final = extent(1 << 20)

# Puts: a new dkey takes a node, its akey another, the value and the update's id; the first of an
# object makes the object's node as well (that one is left out of the count). Gets: is the dkey
# there. What is known is in the cache of nodes. A cursor finds the value that a fetch wants, and
# tells what an extent that is written lies on.
EXPECTED: Final = (
    Cost(SMALL, "new", writes=1, reads=0, puts=4, gets=1, cursors=0),
    Cost(SMALL, "known", writes=1, reads=0, puts=2, gets=0, cursors=0),
    Cost(SMALL, "fetch", writes=0, reads=0, puts=0, gets=0, cursors=1),
    Cost(BLOCK_VALUE, "new", writes=2, reads=0, puts=4, gets=1, cursors=0),
    Cost(BLOCK_VALUE, "known", writes=2, reads=0, puts=2, gets=0, cursors=0),
    Cost(BLOCK_VALUE, "fetch", writes=0, reads=1, puts=0, gets=0, cursors=1),
    Cost(BLOCK_EXTENT, "new", writes=2, reads=0, puts=4, gets=1, cursors=1),
    Cost(BLOCK_EXTENT, "known", writes=2, reads=0, puts=2, gets=0, cursors=1),
    Cost(BLOCK_EXTENT, "fetch", writes=0, reads=1, puts=0, gets=0, cursors=1),
    Cost(LARGE_EXTENT, "new", writes=2, reads=0, puts=4, gets=1, cursors=1),
    Cost(LARGE_EXTENT, "known", writes=2, reads=0, puts=2, gets=0, cursors=1),
    Cost(LARGE_EXTENT, "fetch", writes=0, reads=1, puts=0, gets=0, cursors=1),
)
_WORDS: Final = {"new": "update, new dkey", "known": "update, known dkey", "fetch": "fetch"}


_CHUNK: Final = Limits().bulk_chunk_size
_STAGED: Final = 1.13  # two scratch buffers of a MiB came with their headers
_COPIES: Final = 1  # into the destination, which is where it stays


def messages_of(nbytes: int) -> int:
    """Frames of an operation on so many bytes."""
    return 2 + (2 * -(-nbytes // _CHUNK) if nbytes > INLINE_MAX else 0)


async def check_counts(stand: Stand, report: Report, *, operations: int = 64) -> None:
    """Add a row for each count of each operation, judged exactly."""
    for cost in EXPECTED:
        shape, update = cost.shape, cost.operation != "fetch"
        if cost.operation == "new":
            await count(stand, shape, range(1), depth=1, update=True)  # makes the object's node
        keys = range(1, 1 + (operations if shape.nbytes <= BLOCK else _FEW))
        _judge(report, cost, await count(stand, shape, keys, depth=1, update=update), len(keys))
    for shape in (SMALL, BLOCK_VALUE, BLOCK_EXTENT):
        for depth in (16, 64):
            keys = range(1, 1 + operations)
            found = await count(stand, shape, keys, depth=depth, update=True)
            what = f"{shape.name}, {operations} updates, {depth} in flight:"
            flushes = math.ceil(operations / depth) + 1
            _add(report, f"{what} flushes", found.flushes, no_more_than(flushes))
            writes = found.writes / found.flushes
            _add(report, f"{what} device writes per flush", writes, no_more_than(2))
            messages = messages_of(shape.nbytes) * operations
            _add(report, f"{what} messages", found.messages, exactly(messages))
            copied = found.copied / (shape.nbytes * operations)
            _add(report, f"{what} copies of a payload", copied, exactly(_COPIES))


async def check_copies(stand: Stand, report: Report, way: str, memory: memoryview) -> None:
    """Over a transport with two ends: how a payload of `memory`'s size gets from one to the other.

    Landed: read from a socket into the place where it stays; a little of it may be staged.
    """
    shape = extent(memory.nbytes)
    target, iods = stand.object(shape.number), shape.iods
    for word, operate in (("update", put), ("fetch", get)):
        wire, mapped = _wire(stand), stand.server.statistics().bulk_bytes_copied
        await run_started(
            _FEW,
            1,
            lambda index, ended, operate=operate: operate(  # type: ignore[misc]
                target, iods, b"%08d" % index, memory, stand.call(), ended
            ),
        )
        mapped = stand.server.statistics().bulk_bytes_copied - mapped
        landed = _wire(stand)[1] - wire[1] - mapped
        what = f"{shape.name}, {way}, {word}:"
        total, shared = _FEW * shape.nbytes, way.endswith("client.buffer")
        budget = exactly(0) if shared else no_more_than(_COPIES * _STAGED)
        _add(report, f"{what} copies out of the socket", landed / total, budget)
        _add(report, f"{what} copies of shared memory", mapped / total, exactly(int(shared)))


def _judge(report: Report, cost: Cost, found: Counts, operations: int) -> None:
    what = f"{cost.shape.name}, {_WORDS[cost.operation]}:"
    flushes = 0 if cost.operation == "fetch" else 1
    for name, value, expected in (
        ("messages", found.messages, messages_of(cost.shape.nbytes)),
        ("copies of the payload", found.copied / cost.shape.nbytes, _COPIES),
        ("device writes", found.writes, cost.writes),
        ("flushes", found.flushes, flushes),
        ("device reads", found.reads, cost.reads),
        ("tree puts", found.puts, cost.puts),
        ("tree gets", found.gets, cost.gets),
        ("tree cursors", found.cursors, cost.cursors),
    ):
        _add(report, f"{what} {name}", value / operations, exactly(expected))


def _add(report: Report, what: str, value: float, budget: Budget) -> None:
    report.add(Row(suite=SUITE, what=what, value=value, unit="", budget=budget))
