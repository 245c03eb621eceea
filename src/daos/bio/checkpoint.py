"""Checkpoints: a consistent copy of the tree and of the space map, in extents of the data space.

    boundary (one turn of the loop)     no commit can come between these
        seal the open log group         its number is the checkpoint's LSN
        read transaction                the tree as of that LSN
        copy of the space map           the allocated blocks as of that LSN
    copy      LMDB compacts the tree into a pipe (a helper thread; readers never block the writer),
              a second thread cuts the stream into chunks and hands them to the loop, two at most
    write     each chunk: reserve, checksum, write. Then the map, in the same way. Then the
              manifest and a flush
    swap      once the log is durable up to the checkpoint's LSN: the other superblock slot, flush
    after     the extents of the previous checkpoint are free, the tail of the log moves

A checkpoint is in force when a superblock that names it is durable, not earlier: until then its
blocks are reservations in memory, which a restart forgets. Loading verifies every byte against the
chunk checksums while it writes the file that LMDB is to open; if one fails, LMDB never sees it
(it ends the process on damaged pages).

Crash table:
    cut before the flush behind the manifest   the old superblock, checkpoint and log are untouched
    cut in the superblock's write              its slot is torn: the other one is in force
    cut after it, before its flush             either slot, each with all it names intact, since
                                               nothing is freed or reused before that flush

Source: DAOS src/bio/bio_wal.c bio_wal_checkpoint, src/common/checkpoint; copying all instead of
dirty pages is ours: LMDB moves pages on every write, and the copy costs less than 1 KiB per update
as long as the log is at least a quarter of the tree.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import lmdb

from daos.base.checksum import xxh3
from daos.base.errors import (
    CorruptError,
    DaosError,
    InvalidError,
    NoSpaceError,
    NvmeIoError,
)
from daos.bio.device import BLOCK, BlockDevice, Write, read, round_up, write
from daos.bio.direct_io import error_from_os
from daos.bio.layout import (
    Chunk,
    Manifest,
    Superblock,
    checksum_of,
    manifest_blocks,
)
from daos.bio.space import Hint, Space
from daos.bio.space_map import Extent, SpaceMap

CHUNK_BLOCKS: Final = 256
# Chunks that the copying threads may be ahead of the device.
_CHUNKS_AHEAD: Final = 2


class TreeCopy(Protocol):
    """A copy of the tree under way. The seam where simulations do without threads."""

    async def next_chunk(self) -> memoryview | None:
        """At most CHUNK_BLOCKS blocks, full except for the last chunk; None: the copy is whole.

        The bytes stay untouched until the next call.

        Raises:     NvmeIoError   the live tree could not be read
        """
        ...

    async def close(self) -> None:
        """Give up if it is not through; afterwards nobody uses the transaction any more."""
        ...


StartCopy = Callable[[lmdb.Environment, lmdb.Transaction], TreeCopy]


class ThreadedCopy:
    """LMDB writes into a pipe in one thread, another reads it; chunks arrive by the loop.

    Raises:     NvmeIoError   no pipe, no memory or no thread is left
    """

    def __init__(self, env: lmdb.Environment, txn: lmdb.Transaction) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[memoryview | DaosError | None] = asyncio.Queue()
        self._slots = threading.Semaphore(_CHUNKS_AHEAD)
        self._stop = False
        self._lent = False
        self._ended = False
        self._error: str | None = None
        self._copier = threading.Thread(
            target=self._copy, args=(env, txn), name="checkpoint-copy", daemon=True
        )
        self._reader = threading.Thread(target=self._read, name="checkpoint-read", daemon=True)
        try:
            self._buffers = [
                memoryview(mmap.mmap(-1, CHUNK_BLOCKS * BLOCK)) for _ in range(_CHUNKS_AHEAD)
            ]
            self._read_fd, self._write_fd = os.pipe()
        except OSError as error:
            raise NvmeIoError(f"copy of the live tree: {error}") from error
        with contextlib.suppress(PermissionError):  # over the user's pipe quota: 64 KiB do as well
            fcntl.fcntl(self._write_fd, fcntl.F_SETPIPE_SZ, CHUNK_BLOCKS * BLOCK)
        self._start()

    def _start(self) -> None:
        """Both threads, or none and nothing left open."""
        try:
            self._reader.start()  # waits in the pipe
        except RuntimeError as error:
            os.close(self._read_fd)
            os.close(self._write_fd)
            raise NvmeIoError(f"copy of the live tree: {error}") from error
        try:
            self._copier.start()
        except RuntimeError as error:
            self._stop = True
            os.close(self._write_fd)  # the end of the pipe, so that the reader ends
            self._reader.join()
            raise NvmeIoError(f"copy of the live tree: {error}") from error

    async def next_chunk(self) -> memoryview | None:
        if self._lent:
            self._lent = False
            self._slots.release()
        if self._ended:
            return None
        chunk = await self._arrived.get()
        if isinstance(chunk, DaosError):
            self._ended = True
            raise chunk
        self._lent = chunk is not None
        self._ended = chunk is None
        return chunk

    async def close(self) -> None:
        self._stop = True
        self._slots.release()
        while not self._ended:
            self._ended = not isinstance(await self._arrived.get(), memoryview)
            self._slots.release()
        self._reader.join()

    def _copy(self, env: lmdb.Environment, txn: lmdb.Transaction) -> None:
        try:
            env.copyfd(self._write_fd, compact=True, txn=txn)
        except lmdb.Error as error:
            self._error = str(error)
        finally:
            os.close(self._write_fd)

    def _read(self) -> None:
        """Every path ends with one None or error in the queue, after the copier has ended."""
        turn = 0
        while True:
            self._slots.acquire()
            if self._stop:
                break
            chunk = self._buffers[turn % _CHUNKS_AHEAD]
            filled = 0
            while filled < len(chunk) and (n := os.readv(self._read_fd, [chunk[filled:]])):
                filled += n
            if filled:
                self._tell(chunk[:filled])
            if filled < len(chunk):
                break
            turn += 1
        os.close(self._read_fd)  # a copier that is not through gets EPIPE and ends
        if self._copier.ident is not None:
            self._copier.join()
        failed = self._error is not None and not self._stop
        self._tell(NvmeIoError(f"copy of the live tree: {self._error}") if failed else None)

    def _tell(self, event: memoryview | DaosError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, event)
        except RuntimeError:
            self._stop = True  # the loop was closed under us: nobody waits any more
            self._slots.release()


class InlineCopy:
    """The whole copy at once, in the calling thread: for loops that simulate time."""

    def __init__(self, env: lmdb.Environment, txn: lmdb.Transaction) -> None:
        self._fd = os.memfd_create("checkpoint")
        try:
            env.copyfd(self._fd, compact=True, txn=txn)
        except BaseException:
            os.close(self._fd)
            raise
        self._at = 0

    async def next_chunk(self) -> memoryview | None:
        data = os.pread(self._fd, CHUNK_BLOCKS * BLOCK, self._at)
        self._at += len(data)
        return memoryview(data) if data else None

    async def close(self) -> None:
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint on the device: what the superblock says of it, and every extent it owns."""

    lsn: int
    manifest: Extent
    manifest_sum: int
    extents: tuple[Extent, ...]  # manifest included

    @property
    def blocks(self) -> int:
        return sum(extent.count for extent in self.extents)


NO_CHECKPOINT: Final = Checkpoint(0, Extent(0, 0), 0, ())


def checkpoint_blocks(tree_pages: int, map_bytes: int) -> int:
    """Blocks that a checkpoint of such a tree and map takes, unless space is fragmented badly."""
    blocks = tree_pages + round_up(map_bytes) // BLOCK + 1
    return blocks + manifest_blocks(2 * (blocks // CHUNK_BLOCKS + 2))


class ManifestRoom:
    """A run of blocks put by for the next manifest, which lies in one piece.

    Chunks find room wherever blocks are free, a manifest does not: where all that is free is single
    blocks, a tree of some hundred pages could not be copied, and the log never be cut. So the run
    is there before the tree grows to need it: one for a chunk a block, with room to grow.

    Invariant:  once it `suits` so many blocks, a manifest of that many chunks finds room
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._run = Extent(0, 0)
        self._given = False

    def suits(self, blocks: int) -> bool:
        """Whether a checkpoint of `blocks` will find room for its manifest, come what may."""
        # One block is found wherever any is.
        return self._given or manifest_blocks(blocks) <= max(1, self._run.count)

    def grow(self, blocks: int) -> bool:
        """Look for a run that suits; whether there is one."""
        if self.suits(blocks):
            return True
        want = manifest_blocks(blocks)
        for count in (2 * want, want):
            if count <= min(self._space.blocks_longest, self._space.blocks_available):
                run = self._space.reserve(count)
                self._space.keep(run)
                self._drop()
                self._run = run
                return True
        return False

    def give(self) -> None:
        """A manifest is about to be reserved: here is the run, if there is no other."""
        self._drop()
        self._given = True

    def settle(self, blocks: int) -> None:
        """The manifest is in force, or given up: put by what the next one of `blocks` may need."""
        self._given = False
        if self._run.count > 4 * manifest_blocks(blocks):
            self._drop()
        self.grow(blocks)

    def _drop(self) -> None:
        if self._run.count:
            self._space.drop(self._run)
            self._run = Extent(0, 0)


class CheckpointWriter:
    """Writes one checkpoint. Either `finish` succeeds, or `abandon` gives all blocks back."""

    def __init__(
        self,
        device: BlockDevice,
        space: Space,
        hint: Hint,
        *,
        hold_blocks: int,
        room: ManifestRoom | None = None,
    ) -> None:
        """Raises: NoSpaceError if `hold_blocks`, what the checkpoint may take, cannot be held."""
        space.hold(hold_blocks)
        self._room = room
        self._held = hold_blocks
        self._device = device
        self._space = space
        self._hint = hint
        self._chunks: list[Chunk] = []
        self._extents: list[Extent] = []

    async def write_stream(self, data: memoryview) -> None:
        """Append bytes: to the tree or the map, whichever is being written.

        Raises:     NoSpaceError, NvmeIoError
        """
        writes: list[Write] = []
        while data:
            extent = self._reserve(round_up(len(data)) // BLOCK)
            piece, data = data[: extent.count * BLOCK], data[extent.count * BLOCK :]
            self._chunks.append(Chunk(extent, len(piece), xxh3(piece)))
            padding = extent.count * BLOCK - len(piece)
            buffers = [piece, memoryview(bytes(padding))] if padding else [piece]
            writes.append(Write(extent.block * BLOCK, buffers))
        await write(self._device, writes, flush=False)

    async def finish(
        self, *, uuid: UUID, lsn: int, tree_size: int, blocks_allocated: int
    ) -> Checkpoint:
        """Write the manifest and flush. Raises: NoSpaceError, NvmeIoError."""
        manifest = Manifest(
            uuid=uuid,
            lsn=lsn,
            tree_size=tree_size,
            map_size=sum(chunk.size for chunk in self._chunks) - tree_size,
            blocks_allocated=blocks_allocated,
            chunks=tuple(self._chunks),
        )
        data = memoryview(manifest.emit())
        if self._room is not None and len(data) > BLOCK:
            self._room.give()
        extent = self._reserve(len(data) // BLOCK)
        if extent.count * BLOCK != len(data):
            raise NoSpaceError(f"no {len(data) // BLOCK} blocks in a row for a manifest")
        await write(self._device, [Write(extent.block * BLOCK, [data])], flush=True)
        self._unhold(self._held)
        return Checkpoint(lsn, extent, checksum_of([data]), tuple(self._extents))

    def abandon(self) -> None:
        for extent in self._extents:
            self._space.drop(extent)
        self._extents = []
        self._unhold(self._held)

    def _reserve(self, count: int) -> Extent:
        """`count` blocks in a row, or the longest run there is. Raises: NoSpaceError: none."""
        space = self._space
        extent = space.reserve(max(1, min(count, space.blocks_longest)), self._hint)
        space.keep(extent)
        self._extents.append(extent)
        self._unhold(min(extent.count, self._held))
        return extent

    def _unhold(self, count: int) -> None:
        self._space.unhold(count)
        self._held -= count


async def load_checkpoint(
    device: BlockDevice, superblock: Superblock, live_file: Path
) -> tuple[Checkpoint, SpaceMap]:
    """Verify the checkpoint that `superblock` names, and write its tree to `live_file`.

    Raises:     CorruptError   names the damaged part; `live_file` must not be opened then
                NvmeIoError    the device failed a read, or `live_file` cannot be made
                NoSpaceError   the file system of `live_file` is full
    """
    lo, count = superblock.data_first, superblock.data_count
    if not superblock.manifest.count:
        return NO_CHECKPOINT, SpaceMap(lo, count)
    if superblock.manifest.count > manifest_blocks(count):
        raise CorruptError(
            "superblock manifest_count", offset=112, want=count, got=superblock.manifest.count
        )
    data = await _read_extent(device, superblock, superblock.manifest, "manifest extent")
    if (got := xxh3(data)) != superblock.manifest_sum:
        at = superblock.manifest.block * BLOCK
        raise CorruptError("manifest checksum", offset=at, want=superblock.manifest_sum, got=got)
    manifest = Manifest.parse(data)
    if manifest.uuid != superblock.uuid or manifest.lsn != superblock.checkpoint_lsn:
        raise CorruptError(
            "manifest of another checkpoint",
            offset=24,
            want=superblock.checkpoint_lsn,
            got=manifest.lsn,
        )
    descriptor = _create_live(live_file)
    try:
        for chunk in manifest.tree_chunks():
            data = await _read_chunk(device, superblock, chunk, "checkpoint tree chunk")
            _append_live(descriptor, data)
    finally:
        os.close(descriptor)
    if manifest.map_size > SpaceMap(lo, count).size_max():
        raise CorruptError("manifest map size", offset=40, want=count, got=manifest.map_size)
    parts = [
        bytes(await _read_chunk(device, superblock, chunk, "checkpoint map chunk"))
        for chunk in manifest.map_chunks()
    ]
    stored = b"".join(parts)
    space_map = await _in_turns(SpaceMap.parsing(stored, first_block=lo, block_count=count))
    if (blocks := space_map.blocks()) != manifest.blocks_allocated:
        want = manifest.blocks_allocated
        raise CorruptError("manifest blocks allocated", offset=48, want=want, got=blocks)
    extents = (*(chunk.extent for chunk in manifest.chunks), superblock.manifest)
    _check_disjoint(extents, lo, count)
    checkpoint = Checkpoint(manifest.lsn, superblock.manifest, superblock.manifest_sum, extents)
    return checkpoint, space_map


async def _in_turns(steps: Generator[None, None, SpaceMap]) -> SpaceMap:
    """What the steps return; others have their turn between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            space_map: SpaceMap = end.value
            return space_map
        await asyncio.sleep(0)


def _create_live(live_file: Path) -> int:
    try:
        return os.open(live_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NvmeIoError(f"live tree {live_file}: {error}") from error


def _append_live(descriptor: int, data: memoryview) -> None:
    """All of `data`: LMDB would end the process on a page that is missing."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise error_from_os(error, "write the live tree") from error


async def _read_chunk(
    device: BlockDevice, superblock: Superblock, chunk: Chunk, what: str
) -> memoryview:
    data = (await _read_extent(device, superblock, chunk.extent, what))[: chunk.size]
    if (got := xxh3(data)) != chunk.checksum:
        at = chunk.extent.block * BLOCK
        raise CorruptError(what, offset=at, want=chunk.checksum, got=got)
    return data


async def _read_extent(
    device: BlockDevice, superblock: Superblock, extent: Extent, what: str
) -> memoryview:
    lo, hi = superblock.data_first, superblock.data_first + superblock.data_count
    if not lo <= extent.block < extent.block + extent.count <= hi:
        raise CorruptError(what, offset=extent.block * BLOCK, want=hi, got=extent.count)
    data = memoryview(mmap.mmap(-1, extent.count * BLOCK))
    await read(device, extent.block * BLOCK, data)
    await asyncio.sleep(0)  # other shards are served while this one is loaded
    return data


def _check_disjoint(extents: Iterable[Extent], lo: int, count: int) -> None:
    space_map = SpaceMap(lo, count)
    try:
        for extent in extents:
            space_map.add(extent)
    except InvalidError as error:
        raise CorruptError(
            "manifest chunks overlap", offset=0, want="disjoint", got=error.message
        ) from error
