"""A shard whose surroundings fail: the live tree, its file, helpers, call-backs, the device.

Whatever happens, nobody waits for ever, nothing acknowledged reads as missing, and every error is
one of ours.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import lmdb
import pytest

from daos.base.errors import DaosError, InvalidError, NoSpaceError, NvmeIoError, ShutdownError
from daos.bio import tree
from daos.bio.device import BLOCK, BlockDevice, Done, Write
from daos.bio.layout import checksum_of, emit_record
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space import Extent
from daos.bio.tree import Tree
from daos.bio.wal import Ring, Wal
from daos.testing.devices import FaultPlan, FaultyDevice, MemoryDevice

SHARD = UUID(int=21)
CONFIG = MetaConfig(wal_bytes=32 * BLOCK, batch_sets=5)
SIZE = 512 * BLOCK


async def opened(
    live: Path, *, config: MetaConfig = CONFIG, device: BlockDevice | None = None
) -> MetaContext:
    device = MemoryDevice(SIZE) if device is None else device
    await MetaContext.format(device, uuid=SHARD, config=config)
    return await MetaContext.open(device, config=config, live_path=live)


def put(meta: MetaContext, **pairs: str) -> int:
    tx = meta.begin()
    for key, value in pairs.items():
        tx.put(key.encode(), value.encode())
    return tx.commit()


def wal_on(device: BlockDevice) -> Wal:
    return Wal(
        device,
        Ring(24, tail=0, head=0),
        uuid=SHARD,
        first_block=2,
        generation=6,
        lsn=10,
        epoch=5,
        group_bytes=100,
        data_bytes=1 << 20,
        on_durable=lambda lsn, data_bytes: None,
    )


def record() -> bytes:
    return emit_record([(b"k", bytes(60))], [], [])


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


async def turns(count: int = 6) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class SlowDevice(MemoryDevice):
    """Completes a write when the test says so."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.held: list[Done] = []

    def submit_write(self, writes: object, *, flush: bool, done: Done) -> None:
        self.held.append(done)


# The live tree


class Broken:
    """A batch that takes no put any more, like one on a full file system."""

    def __init__(self, txn: lmdb.Transaction[bytes]) -> None:
        self._txn = txn

    def put(self, key: bytes, value: bytes) -> bool:
        raise lmdb.DiskError("mdb_put: Input/output error")

    def delete(self, key: bytes) -> bool:
        raise lmdb.DiskError("mdb_del: Input/output error")

    def abort(self) -> None:
        self._txn.abort()

    def commit(self) -> None:
        self._txn.abort()
        raise lmdb.DiskError("mdb_txn_commit: Input/output error")


@pytest.mark.expects_warning("checkpoint failed")
def test_a_tree_that_lost_its_batch_serves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged, and not in the tree any more: an error, never "not found"."""

    async def story() -> None:
        meta = await opened(tmp_path)
        await meta.durable(put(meta, a="acknowledged"))
        monkeypatch.setattr(meta._tree, "_begin", lambda: Broken(meta._tree.env.begin(write=True)))
        meta._tree._txn = Broken(meta._tree._txn)  # type: ignore[assignment, arg-type]
        with pytest.raises(NvmeIoError):
            put(meta, b="1")
        with pytest.raises(NvmeIoError, match="live tree"):
            meta.get(b"a")
        with pytest.raises(NvmeIoError, match="live tree"):
            meta.cursor()
        with pytest.raises(NvmeIoError, match="live tree"):
            meta.begin().get(b"a")
        with pytest.raises(NvmeIoError, match="live tree"):
            meta.statistics()
        with pytest.raises(NvmeIoError):
            await meta.checkpoint()
        await meta.close(checkpoint=False)
        monkeypatch.undo()
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert meta.get(b"a") == b"acknowledged"
        await meta.close()

    run(story)


class Uncommittable:
    """A batch that takes puts and cannot be committed: the file system is full by now."""

    def __init__(self, txn: lmdb.Transaction[bytes]) -> None:
        self._txn = txn

    def __getattr__(self, name: str) -> object:
        return getattr(self._txn, name)

    def commit(self) -> None:
        self._txn.abort()
        raise lmdb.DiskError("mdb_txn_commit: Input/output error")


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("checkpoint", marks=pytest.mark.expects_warning("checkpoint failed")),
        "close",
    ],
)
def test_a_copy_without_the_last_batch_is_no_checkpoint(tmp_path: Path, how: str) -> None:
    """Put again, but not committed: a copy would lack it, and the log would forget it."""

    async def story() -> None:
        meta = await opened(tmp_path)
        await meta.durable(put(meta, a="1"))
        await meta.checkpoint()
        await meta.durable(put(meta, b="acknowledged"))
        meta._tree._txn = Uncommittable(meta._tree._txn)  # type: ignore[assignment, arg-type]
        if how == "checkpoint":
            with pytest.raises(NvmeIoError, match="Input/output error"):
                await meta.checkpoint()
            await meta.close(checkpoint=False)
        else:
            with pytest.raises(NvmeIoError, match="Input/output error"):
                await meta.close()
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert meta.get(b"b") == b"acknowledged"
        await meta.close()

    run(story)


@pytest.mark.parametrize("when", ["put", "commit"])
def test_lmdb_refusing_another_batch_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """After a fatal error LMDB begins no transaction at all (MDB_PANIC)."""

    def panic() -> None:
        raise lmdb.PanicError("mdb_txn_begin: MDB_PANIC")

    async def story() -> None:
        meta = await opened(tmp_path)
        await meta.durable(put(meta, a="1"))
        monkeypatch.setattr(meta._tree, "_begin", panic)
        meta._tree._txn = Broken(meta._tree._txn)  # type: ignore[assignment, arg-type]
        if when == "put":
            with pytest.raises(NvmeIoError, match="live tree"):
                put(meta, b="1")
        else:
            meta._tree.commit_batch()
            meta._check_tree()
        with pytest.raises(NvmeIoError, match="live tree"):
            meta.get(b"a")
        with pytest.raises(NvmeIoError, match="live tree"):
            put(meta, c="1")
        await meta.close(checkpoint=False)
        with pytest.raises(ShutdownError):
            put(meta, c="1")
        for read in (lambda: meta.get(b"a"), meta.cursor, meta.statistics):
            with pytest.raises(ShutdownError):
                read()

    run(story)


def test_a_tree_that_begins_nothing_leaves_no_environment_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Tree) -> None:
        raise lmdb.Error("mdb_txn_begin: ENOMEM")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(Tree, "_begin", fail)
            with pytest.raises(NvmeIoError, match="ENOMEM"):
                await opened(tmp_path)
        meta = await opened(tmp_path)  # LMDB refuses a path that is open in this process
        await meta.close()

    run(story)


# The file of the live tree


@pytest.mark.parametrize("short", [True, False])
def test_a_full_file_system_under_the_live_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    """A write of a part is no write: LMDB would end the process on the pages that are missing."""
    real = os.write
    calls = 0

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if short and calls == 1:
            return real(descriptor, data[: len(data) // 2])
        if short:
            return real(descriptor, data)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, **{f"key{i}": "v" * 100 for i in range(100)})
        await meta.close()
        monkeypatch.setattr(os, "write", write)
        if short:
            meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
            assert meta.statistics().tree_entries == 100
            assert calls > 1
            await meta.close()
        else:
            with pytest.raises(NoSpaceError, match="live tree"):
                await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)

    run(story)


def test_a_live_path_that_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(NvmeIoError, match="live tree"):
            await opened(tmp_path / "file")

    run(story)


def test_settings_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(InvalidError, match="memory_bytes"):
        MetaConfig(memory_bytes=3 * BLOCK)


# Helpers of a checkpoint


def no_pipe() -> None:
    raise OSError(errno.EMFILE, "Too many open files")


class NoReader:
    def begin(self) -> None:
        raise lmdb.ReadersFullError("mdb_txn_begin: MDB_READERS_FULL")


def no_thread(name: str) -> Callable[[threading.Thread], None]:
    real = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if self.name.startswith(name):
            raise RuntimeError("can't start new thread")
        real(self)

    return start


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("pipe", marks=pytest.mark.expects_warning("Too many open files")),
        pytest.param("readers", marks=pytest.mark.expects_warning("MDB_READERS_FULL")),
        pytest.param("thread", marks=pytest.mark.expects_warning("new thread")),
        pytest.param("second thread", marks=pytest.mark.expects_warning("new thread")),
        "bug",
    ],
)
def test_a_checkpoint_without_helpers_lets_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: told.append(context.get("exception"))
        )
        descriptors = os.listdir("/proc/self/fd")
        env = meta._tree.env
        with monkeypatch.context() as patched:
            if what == "pipe":
                patched.setattr(os, "pipe", no_pipe)
            elif what == "readers":
                tree = meta._tree
                patched.setattr(tree, "commit_batch", lambda: setattr(tree, "env", NoReader()))
            elif what == "thread":
                patched.setattr(threading.Thread, "start", no_thread("checkpoint"))
            elif what == "second thread":
                patched.setattr(threading.Thread, "start", no_thread("checkpoint-copy"))
            else:
                patched.setattr(meta.space, "snapshot_map", None)
            room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
            count = 0
            while meta.log_has_room:
                await meta.durable(put(meta, **{f"key{count}": "v" * 4000}))
                count += 1
            meta.when_room(room.set_result)
            error = await asyncio.wait_for(room, 5)
            assert isinstance(error, DaosError)
            assert meta.get(b"key0") is not None
            assert not any(t.name.startswith("checkpoint") for t in threading.enumerate())
        meta._tree.env = env
        assert len(os.listdir("/proc/self/fd")) == len(descriptors)
        assert bool(told) is (what == "bug")
        assert meta.space.statistics().blocks_held == 0
        await meta.checkpoint()  # it works again
        assert meta.log_has_room
        await meta.close()

    run(story)


def test_nobody_starts_a_checkpoint_beside_that_of_close(tmp_path: Path) -> None:
    """Two writers of superblocks would give the same blocks back twice."""

    async def story() -> None:
        meta = await opened(tmp_path)
        while meta.log_has_room:
            put(meta, **{f"key{meta.lsn_next}": "v" * 4000})
            meta._wal.seal()
        room: list[DaosError | None] = []
        closing = asyncio.ensure_future(meta.close())
        await asyncio.sleep(0)
        meta.when_room(room.append)
        with pytest.raises(ShutdownError):
            await meta.checkpoint()
        await closing
        assert [type(error) for error in room] == [ShutdownError]
        assert meta._checkpoint_task is None
        meta.space.check()
        entries = meta._checkpoints
        assert entries == 1
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert meta.statistics().tree_entries > 10
        await meta.close()

    run(story)


# Call-backs and the device


@pytest.mark.parametrize("ending", ["durable", "failed", "room", "room refused"])
def test_a_callback_that_raises_keeps_nobody_else_waiting(ending: str) -> None:
    async def story() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: told.append(context["exception"])
        )

        def bug(error: DaosError | None) -> None:
            raise LookupError("bug of a caller")

        plan = FaultPlan(fail_flush=1) if ending == "failed" else FaultPlan()
        wal = wal_on(FaultyDevice(MemoryDevice(1 << 20), random.Random(1), plan))
        heard: list[DaosError | None] = []
        if ending in ("durable", "failed"):
            for _ in range(3):
                lsn = wal.append(record(), [], 0)
                wal.when_durable(lsn, bug)
                wal.when_durable(lsn, heard.append)
            await turns(20)
            assert len(heard) == len(told) == 3
            assert all(isinstance(error, NvmeIoError) == (ending == "failed") for error in heard)
            return
        while wal.has_room:
            wal.append(record(), [], 0)
        wal.when_room(bug)
        wal.when_room(heard.append)
        await turns(100)
        if ending == "room":
            asyncio.get_running_loop().call_soon(wal.trim, wal.head)
        else:
            asyncio.get_running_loop().call_soon(wal.refuse_room, NoSpaceError("full"))
        await turns()
        assert len(heard) == len(told) == 1

    run(story)


def test_buffers_of_the_group_in_flight_are_the_devices_until_it_says_so() -> None:
    """Whoever is told takes his memory back: not while the device reads it."""

    async def story() -> None:
        device = SlowDevice()
        wal = wal_on(device)
        told: list[tuple[int, type]] = []

        def hear(lsn: int, error: DaosError | None) -> None:
            told.append((lsn, type(error)))

        for _ in range(3):
            lsn = wal.append(record(), [], 0)
            wal.when_durable(lsn, partial(hear, lsn))
            await turns()
        wal.fail(NvmeIoError("superblock"))
        wal.when_durable(11, lambda error: told.append((11, type(error))))
        await turns()
        assert told == []
        device.held.pop()(None)
        assert told == [(11, type(None)), (11, type(None)), (12, NvmeIoError), (13, NvmeIoError)]
        assert not device.held

    run(story)


def test_a_submission_that_the_device_refuses_ends_the_log() -> None:
    """A group that was never sent is not waited for."""

    async def story() -> None:
        wal = wal_on(MemoryDevice(1 << 20))
        told: list[DaosError | None] = []
        block = memoryview(bytes(BLOCK))
        outside = Write(1 << 30, [block])
        wal.when_durable(wal.append(record(), [outside], BLOCK), told.append)
        await turns()
        assert [type(error) for error in told] == [NvmeIoError]
        assert isinstance(wal.failure, NvmeIoError)

    run(story)


def test_a_device_that_fills_up_under_the_log_is_a_failure_of_the_device(tmp_path: Path) -> None:
    """NoSpaceError would say that nothing was changed."""

    async def story() -> None:
        wal = wal_on(FaultyDevice(MemoryDevice(1 << 20), random.Random(1), FaultPlan(full_write=1)))
        told: list[DaosError | None] = []
        wal.when_durable(wal.append(record(), [], 0), told.append)
        await turns()
        assert [type(error) for error in told] == [NvmeIoError]
        assert "space" in str(told[0]).lower()

    run(story)


# Space


def test_space_freed_last_comes_back_to_whoever_asks_for_it(tmp_path: Path) -> None:
    """Blocks of the last group that freed some wait for a later group: refusing sees to one."""

    async def story() -> None:
        meta = await opened(tmp_path)
        count = 300
        hold = meta.hold(tree_bytes=100, data_blocks=count)
        extent = meta.space.reserve(count)
        data = memoryview(bytes(count * BLOCK))
        tx = meta.begin()
        tx.put(b"k", b"v")
        tx.write(extent, [data], checksum_of([data]))
        await meta.durable(tx.commit())
        meta.release(hold)
        tx = meta.begin()
        tx.free(Extent(extent.block, 30))
        await meta.durable(tx.commit())
        left = meta.statistics().blocks_left
        assert meta.space.blocks_aging == 30
        with pytest.raises(NoSpaceError):
            meta.hold(tree_bytes=0, data_blocks=left + 20)
        await turns(20)
        meta.release(meta.hold(tree_bytes=0, data_blocks=left + 20))
        await meta.close()

    run(story)


@pytest.mark.parametrize(("uid", "free"), [(0, 5 << 20), (1000, 1 << 20)])
def test_what_is_kept_for_root_is_no_space_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, free: int
) -> None:
    """A write that ended short for want of space is told from a device that fails."""
    found = SimpleNamespace(f_bfree=1280, f_bavail=256, f_frsize=4096)
    monkeypatch.setattr("os.statvfs", lambda _: found)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    assert tree._free_bytes(tmp_path) == free
