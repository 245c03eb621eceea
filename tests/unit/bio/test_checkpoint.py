"""Checkpoints: copies of the tree, chunks in fragmented space, and every damaged byte found."""

from __future__ import annotations

import asyncio
import fcntl
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import lmdb
import pytest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, NoSpaceError, NvmeIoError
from daos.bio.checkpoint import (
    CHUNK_BLOCKS,
    NO_CHECKPOINT,
    CheckpointWriter,
    InlineCopy,
    ThreadedCopy,
    TreeCopy,
    checkpoint_blocks,
    load_checkpoint,
)
from daos.bio.device import BLOCK
from daos.bio.layout import Manifest, Superblock, manifest_blocks
from daos.bio.space import Extent, Hint, Space
from daos.bio.space_map import SpaceMap
from daos.testing.devices import FaultPlan, FaultyDevice, Image, MemoryDevice

SHARD = UUID(int=11)
FIRST = 20
SIZE = 1024 * BLOCK


def run(story: Coroutine[object, object, None]) -> None:
    asyncio.run(story)


def tree_of(path: Path, entries: int) -> lmdb.Environment:
    env = lmdb.open(str(path), map_size=1 << 28, sync=False)
    with env.begin(write=True) as txn:
        for i in range(entries):
            txn.put(b"key%08d" % i, b"v" * 100)
    return env


async def drain(copy: TreeCopy) -> bytes:
    parts = []
    while (chunk := await copy.next_chunk()) is not None:
        parts.append(bytes(chunk))
    await copy.close()
    assert all(len(part) == CHUNK_BLOCKS * BLOCK for part in parts[:-1])
    return b"".join(parts)


# Copies


@pytest.mark.parametrize("start", [ThreadedCopy, InlineCopy])
@pytest.mark.parametrize("entries", [0, 10, 30_000])
def test_a_copy_is_the_tree_at_its_transaction(
    start: Callable[[lmdb.Environment, lmdb.Transaction], TreeCopy], entries: int, tmp_path: Path
) -> None:
    async def story() -> None:
        env = tree_of(tmp_path / "live", entries)
        txn = env.begin()
        with env.begin(write=True) as later:
            later.put(b"later", b"not copied")
        stored = await drain(start(env, txn))
        txn.abort()
        env.close()
        (tmp_path / "copy").write_bytes(stored)
        with (
            lmdb.open(str(tmp_path / "copy"), subdir=False, readonly=True) as copy,
            copy.begin() as seen,
        ):
            assert seen.stat(None)["entries"] == entries
            assert seen.get(b"later") is None

    run(story())


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_a_threaded_copy_can_be_given_up(chunks: int, tmp_path: Path) -> None:
    async def story() -> None:
        env = tree_of(tmp_path / "live", 60_000)
        txn = env.begin()
        copy = ThreadedCopy(env, txn)
        for _ in range(chunks):
            assert await copy.next_chunk() is not None
        await copy.close()
        txn.abort()  # nobody uses it any more
        env.close()
        assert not copy._copier.is_alive()

    run(story())


def test_a_loop_that_is_closed_under_a_copy(tmp_path: Path) -> None:
    """Its threads notice and end."""
    env = tree_of(tmp_path / "live", 60_000)
    txn = env.begin()

    async def story() -> ThreadedCopy:
        return ThreadedCopy(env, txn)

    copy = asyncio.run(story())
    copy._reader.join(10)
    assert not copy._reader.is_alive()
    assert not copy._copier.is_alive()
    txn.abort()
    env.close()


class _BrokenTree:
    def copyfd(self, fd: int, *, compact: bool, txn: object) -> None:
        raise lmdb.Error("mdb_env_copyfd3: Input/output error")


def test_a_copy_that_fails(tmp_path: Path) -> None:
    async def story() -> None:
        copy = ThreadedCopy(_BrokenTree(), None)  # type: ignore[arg-type]
        with pytest.raises(NvmeIoError, match=r"copy of the live tree: .*Input/output"):
            await drain(copy)
        assert await copy.next_chunk() is None
        await copy.close()
        with pytest.raises(lmdb.Error):
            InlineCopy(_BrokenTree(), None)  # type: ignore[arg-type]

    run(story())


def test_a_user_out_of_pipe_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(fd: int, command: int, size: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    async def story() -> None:
        monkeypatch.setattr(fcntl, "fcntl", refuse)
        env = tree_of(tmp_path / "live", 10)
        txn = env.begin()
        assert len(await drain(ThreadedCopy(env, txn))) == 3 * BLOCK
        txn.abort()
        env.close()

    run(story())


# Writing and loading


class Stage:
    """A device, its space, and what a superblock would say of the last checkpoint."""

    def __init__(self, device: MemoryDevice | FaultyDevice | None = None) -> None:
        self.device = device or MemoryDevice(SIZE)
        self.space = Space(FIRST, SIZE // BLOCK - FIRST)
        self.superblock = Superblock(
            uuid=SHARD,
            generation=1,
            birth=1,
            size_bytes=SIZE,
            wal_first=2,
            wal_count=FIRST - 2,
            checkpoint_lsn=7,
            durable_lsn=7,
        )

    async def write(self, tree: bytes, *, hold: int = 0) -> None:
        writer = CheckpointWriter(self.device, self.space, Hint(), hold_blocks=hold)
        space_map, allocated = self.space.snapshot_map(), self.space.blocks_allocated
        try:
            for lo in range(0, len(tree), CHUNK_BLOCKS * BLOCK):
                await writer.write_stream(memoryview(tree)[lo : lo + CHUNK_BLOCKS * BLOCK])
            for part in space_map.emit():
                await writer.write_stream(memoryview(part))
            checkpoint = await writer.finish(
                uuid=SHARD, lsn=7, tree_size=len(tree), blocks_allocated=allocated
            )
        except BaseException:
            writer.abandon()
            raise
        self.superblock = replace(
            self.superblock, manifest=checkpoint.manifest, manifest_sum=checkpoint.manifest_sum
        )
        self.extents = checkpoint.extents
        assert checkpoint.blocks == self.space.statistics().blocks_kept

    async def load(self, path: Path, image: Image | None = None) -> SpaceMap:
        device = self.device if image is None else MemoryDevice(SIZE, image=image)
        checkpoint, space_map = await load_checkpoint(device, self.superblock, path)
        assert sorted(checkpoint.extents) == sorted(self.extents)
        return space_map


def content(nbytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(nbytes)


def fragment(space: Space, run_blocks: int) -> None:
    """Leave free runs of `run_blocks` only."""
    extents = []
    while space.blocks_longest:
        extents.append(space.reserve(min(run_blocks, space.blocks_longest)))
    for i, extent in enumerate(extents):
        if i % 2:
            space.publish(extent)
        else:
            space.cancel(extent)
    space.check()


@pytest.mark.parametrize("nbytes", [0, BLOCK, 5000, CHUNK_BLOCKS * BLOCK, 2_500_000])
def test_round_trip(nbytes: int, tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage()
        extent = stage.space.reserve(9)
        stage.space.publish(extent)
        await stage.write(content(nbytes), hold=nbytes // BLOCK + 3)
        assert stage.space.statistics().blocks_held == 0
        assert (await stage.load(tmp_path / "tree")).extents() == [extent]

    run(story())
    assert (tmp_path / "tree").read_bytes() == content(nbytes)


@pytest.mark.parametrize("run_blocks", [1, 3, 100])
def test_fragmented_space(run_blocks: int, tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage()
        fragment(stage.space, run_blocks)
        allocated = stage.space.snapshot()
        await stage.write(content(100 * BLOCK))
        stage.space.check()
        assert (await stage.load(tmp_path / "tree")).extents() == allocated

    run(story())
    assert (tmp_path / "tree").read_bytes() == content(100 * BLOCK)


def test_no_checkpoint_yet(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage()
        superblock = replace(stage.superblock, checkpoint_lsn=0)
        found, space_map = await load_checkpoint(stage.device, superblock, tmp_path / "tree")
        assert found == NO_CHECKPOINT
        assert space_map.extents() == []
        assert not (tmp_path / "tree").exists()

    run(story())


def test_no_space_gives_everything_back() -> None:
    async def story() -> None:
        stage = Stage()
        fragment(stage.space, 1)
        free = stage.space.blocks_free
        for nbytes in (free * BLOCK, free * BLOCK + 1):  # no room for the manifest, for the tree
            with pytest.raises(NoSpaceError):
                await stage.write(content(nbytes), hold=free)
            assert stage.space.blocks_free == free
            assert stage.space.statistics().blocks_held == 0
        with pytest.raises(NoSpaceError):
            await stage.write(b"", hold=free + 1)
        # A manifest of two blocks needs them in a row.
        with pytest.raises(NoSpaceError, match="2 blocks in a row for a manifest"):
            await stage.write(content(200 * BLOCK))
        stage.space.check()

    run(story())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_failed_write_gives_everything_back(number: int) -> None:
    async def story() -> None:
        plan = FaultPlan(fail_write=number) if number < 3 else FaultPlan(fail_flush=1)
        stage = Stage(FaultyDevice(MemoryDevice(SIZE), random.Random(1), plan))
        with pytest.raises(NvmeIoError):
            await stage.write(content(300 * BLOCK), hold=400)
        assert stage.space.blocks_free == stage.space.block_count
        assert stage.space.statistics().blocks_held == 0

    run(story())


def test_every_damaged_block_is_found(tmp_path: Path) -> None:
    """The flip of any byte that counts is an error which names the part."""

    async def story() -> None:
        stage = Stage()
        stage.space.publish(stage.space.reserve(5))
        await stage.write(content(2 * CHUNK_BLOCKS * BLOCK - 100))
        device = stage.device
        assert isinstance(device, MemoryDevice)
        image = device.image
        names = set()
        for extent in stage.extents:
            for at in (extent.block * BLOCK, extent.block * BLOCK + 70):
                damaged = image.copy()
                damaged.flip(at)
                with pytest.raises(CorruptError) as caught:
                    await stage.load(tmp_path / "tree", damaged)
                assert caught.value.offset == extent.block * BLOCK
                names.add(caught.value.what)
        assert names == {"checkpoint tree chunk", "checkpoint map chunk", "manifest checksum"}

    run(story())


Patch = Callable[[Manifest], Manifest]


def _chunk(manifest: Manifest, **changes: object) -> Manifest:
    chunk = manifest.chunks[0]._replace(**changes)  # type: ignore[arg-type]
    return replace(manifest, chunks=(chunk, *manifest.chunks[1:]))


@pytest.mark.parametrize(
    ("patch", "what"),
    [
        (lambda m: replace(m, uuid=UUID(int=1)), "manifest of another checkpoint"),
        (lambda m: replace(m, lsn=8), "manifest of another checkpoint"),
        (lambda m: replace(m, blocks_allocated=6), "manifest blocks allocated"),
        (lambda m: _chunk(m, extent=Extent(FIRST - 1, 2)), "checkpoint tree chunk"),
        (lambda m: _chunk(m, extent=Extent(1023, 2)), "checkpoint tree chunk"),
        (lambda m: replace(m, tree_size=0, map_size=m.tree_size + m.map_size), "manifest map size"),
        (
            lambda m: replace(
                m, tree_size=2 * m.tree_size, chunks=(m.chunks[0], m.chunks[0], m.chunks[1])
            ),
            "manifest chunks overlap",
        ),
    ],
)
def test_manifests_that_make_no_sense(patch: Patch, what: str, tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage()
        stage.space.publish(stage.space.reserve(5))
        await stage.write(content(2 * BLOCK))
        device = stage.device
        assert isinstance(device, MemoryDevice)
        at = stage.superblock.manifest.block * BLOCK
        stored = patch(Manifest.parse(device.image.read(at, BLOCK))).emit()
        device.image.write(at, stored)
        stage.superblock = replace(stage.superblock, manifest_sum=xxh3(stored))
        with pytest.raises(CorruptError, match=what):
            await stage.load(tmp_path / "tree")

    run(story())


def test_a_manifest_that_would_take_all_memory(tmp_path: Path) -> None:
    async def story() -> None:
        stage = Stage()
        stage.extents = ()
        stage.superblock = replace(stage.superblock, manifest=Extent(FIRST, 900), checkpoint_lsn=7)
        with pytest.raises(CorruptError, match="superblock manifest_count"):
            await stage.load(tmp_path / "tree")

    run(story())


def test_the_room_a_checkpoint_takes_is_a_bound() -> None:
    for pages in (2, 255, 256, 10_000):
        blocks = pages + manifest_blocks(pages // CHUNK_BLOCKS + 2)
        assert checkpoint_blocks(pages, 100) >= blocks + 1
        assert checkpoint_blocks(pages, 100) <= pages + 3 + pages // CHUNK_BLOCKS
