"""The context of one shard in service: checkpoints under load, opening, closing, failures.

What survives a power cut is tested in tests/crash, what recovery accepts in test_replay.py.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import threading
from collections.abc import Awaitable
from pathlib import Path
from uuid import UUID

import lmdb
import pytest

from daos.base.errors import (
    AgainError,
    CorruptError,
    DaosError,
    InvalidError,
    NoSpaceError,
    NvmeIoError,
    ShutdownError,
)
from daos.bio.device import BLOCK, BlockDevice
from daos.bio.layout import Superblock, checksum_of
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space import Extent
from daos.bio.tree import Tree
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


async def reopened(meta: MetaContext, live: Path, *, checkpoint: bool = True) -> MetaContext:
    await meta.close(checkpoint=checkpoint)
    return await MetaContext.open(meta.device, config=CONFIG, live_path=live)


def put(meta: MetaContext, **pairs: str) -> int:
    tx = meta.begin()
    for key, value in pairs.items():
        tx.put(key.encode(), value.encode())
    return tx.commit()


def store(meta: MetaContext, key: bytes, data: bytes) -> tuple[int, Extent]:
    hold = meta.hold(tree_bytes=100, data_blocks=len(data) // BLOCK)
    extent = meta.space.reserve(len(data) // BLOCK)
    tx = meta.begin()
    tx.put(key, b"%d+%d" % extent)
    tx.write(extent, [memoryview(data)], checksum_of([memoryview(data)]))
    lsn = tx.commit()
    meta.release(hold)
    return lsn, extent


def run(story: Awaitable[None]) -> None:
    async def main() -> None:
        await story

    asyncio.run(main())


# Checkpoints


def test_commits_during_a_checkpoint_stay_in_the_log(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        _, extent = store(meta, b"before", b"b" * BLOCK)
        checkpoint = asyncio.ensure_future(meta.checkpoint())
        i = 0
        while not checkpoint.done():
            if meta.log_has_room:
                put(meta, **{f"during{i}": "x"})
                i += 1
            await asyncio.sleep(0)
            if i == 3 and meta.get(b"before"):
                tx = meta.begin()
                tx.free(extent)
                tx.delete(b"before")
                tx.commit()
        await checkpoint
        assert i > 3
        assert meta.statistics().wal.blocks_used > 0
        meta = await reopened(meta, tmp_path, checkpoint=False)
        assert [key for key, _ in meta.cursor()] == sorted(b"during%d" % j for j in range(i))
        assert meta.space.snapshot() == []
        meta.space.check()
        await meta.close()

    run(story())


def test_checkpoints_asked_for_at_once(tmp_path: Path) -> None:
    """Whoever asks gets one that contains what was committed before he asked."""

    async def story() -> None:
        meta = await opened(tmp_path)
        first = asyncio.ensure_future(meta.checkpoint())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        put(meta, a="1")
        second = asyncio.ensure_future(meta.checkpoint())
        third = asyncio.ensure_future(meta.checkpoint())
        await asyncio.gather(first, second, third)
        assert meta.statistics().checkpoints == 2
        assert meta.statistics().wal.blocks_used == 0
        await meta.checkpoint()
        assert meta.statistics().space.blocks_kept < 10  # the earlier ones were given up
        await meta.close()

    run(story())


def test_a_cancelled_caller_does_not_stop_a_checkpoint(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        lsn = put(meta, a="1")
        caller = asyncio.ensure_future(meta.checkpoint())
        waiter = asyncio.ensure_future(meta.durable(lsn))
        await asyncio.sleep(0)
        caller.cancel()
        waiter.cancel()
        await asyncio.gather(caller, waiter, return_exceptions=True)
        await meta.close(checkpoint=False)
        slots = [Superblock.parse(meta.device.image.read(slot * BLOCK, BLOCK)) for slot in (0, 1)]  # type: ignore[attr-defined]
        assert max(slot.checkpoint_lsn for slot in slots) == lsn

    run(story())


def test_a_large_tree_leaves_the_loop_free(tmp_path: Path) -> None:
    """The copy is made by threads: the loop goes round many times meanwhile."""

    async def story() -> None:
        config = MetaConfig(wal_bytes=8 << 20)
        meta = await opened(tmp_path, config=config, device=MemoryDevice(64 << 20))
        for i in range(4000):
            lsn = put(meta, **{f"key{i:06}": "v" * 1000})
        await meta.durable(lsn)
        checkpoint = asyncio.ensure_future(meta.checkpoint())
        turns = 0
        while not checkpoint.done():
            turns += 1
            await asyncio.sleep(0)
        await checkpoint
        assert turns > 5
        meta = await reopened(meta, tmp_path, checkpoint=False)
        assert meta.statistics().tree_entries == 4000
        await meta.close()

    run(story())


# Opening and closing


def test_the_live_directory_is_thrown_away(tmp_path: Path) -> None:
    async def story() -> None:
        live = tmp_path / "deep" / "live"
        meta = await opened(live)
        put(meta, a="1")
        meta = await reopened(meta, live)
        await meta.close()
        garbage(live)
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=live)
        assert meta.get(b"a") == b"1"
        await meta.close()

    def garbage(live: Path) -> None:
        for path in live.iterdir():
            path.write_bytes(b"garbage" * 1000)

    run(story())


def test_a_damaged_checkpoint_never_reaches_lmdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1")
        await meta.close()
        kept = [slot for slot in range(50, SIZE // BLOCK) if slot in device_blocks(meta)]
        monkeypatch.setattr(lmdb, "open", None)
        for block in kept:
            device = MemoryDevice(SIZE, image=meta.device.image.copy())  # type: ignore[attr-defined]
            device.image.flip(block * BLOCK + 20)
            with pytest.raises(CorruptError, match=r"checkpoint|manifest"):
                await MetaContext.open(device, config=CONFIG, live_path=tmp_path)
        assert kept

    def device_blocks(meta: MetaContext) -> dict[int, bytes]:
        return meta.device.image.blocks  # type: ignore[attr-defined,no-any-return]

    run(story())


def test_after_close_nothing_is_accepted(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        tx = meta.begin()
        tx.put(b"late", b"")
        lsn = put(meta, a="1")
        told: list[DaosError | None] = []
        meta.when_durable(lsn, told.append)
        await meta.close()
        assert told == [None]
        await meta.close()
        with pytest.raises(ShutdownError):
            tx.commit()
        meta.when_room(told.append)
        assert isinstance(told[1], ShutdownError)

    run(story())


def test_a_cancelled_close_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1")
        running = asyncio.ensure_future(meta.checkpoint())
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(meta.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        await meta.close()
        await running
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert meta.get(b"a") == b"1"
        await meta.close()

    run(story())


def test_a_loop_that_ends_in_the_middle_of_a_checkpoint(tmp_path: Path) -> None:
    """Threads read the tree: it is closed behind them, and nothing is left running."""

    async def story() -> None:
        config = MetaConfig(wal_bytes=8 << 20)
        meta = await opened(tmp_path, config=config, device=MemoryDevice(64 << 20))
        for i in range(3000):
            put(meta, **{f"key{i:06}": "v" * 1000})
        background.append(asyncio.ensure_future(meta.checkpoint()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        background.append(asyncio.ensure_future(meta.close()))
        await asyncio.sleep(0)

    background: list[asyncio.Future[None]] = []
    run(story())
    assert all(future.cancelled() for future in background)
    assert not [thread for thread in threading.enumerate() if "checkpoint" in thread.name]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_close_waits_for_what_is_in_flight(tmp_path: Path, checkpoint: bool) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        for i in range(30):
            put(meta, **{f"key{i}": "v" * 2000})
        asyncio.get_running_loop().call_soon(meta.when_room, lambda error: None)
        running = asyncio.ensure_future(meta.checkpoint())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        put(meta, last="1")
        meta = await reopened(meta, tmp_path, checkpoint=checkpoint)
        await running
        assert meta.statistics().tree_entries == 31
        await meta.close()

    run(story())


def test_devices_and_settings_that_do_not_fit(tmp_path: Path) -> None:
    async def story() -> None:
        for size, config in (
            (65, CONFIG),
            (100, MetaConfig(wal_bytes=11 * BLOCK)),
            (1000, MetaConfig()),
        ):
            with pytest.raises(InvalidError, match="at least 12 blocks of log and 32 of data"):
                await MetaContext.format(MemoryDevice(size * BLOCK), uuid=SHARD, config=config)
        await MetaContext.format(MemoryDevice(66 * BLOCK), uuid=SHARD, config=CONFIG)

    run(story())
    for settings in (
        {"wal_bytes": -BLOCK},
        {"wal_bytes": 100},
        {"batch_sets": 0},
        {"checkpoint_percent": 9},
        {"checkpoint_percent": 76},
    ):
        with pytest.raises(InvalidError):
            MetaConfig(**settings)  # type: ignore[arg-type]
    config = MetaConfig()
    assert config.log_bytes(1 << 20) == 4 << 20
    assert config.log_bytes(800 << 20) == 100 << 20
    assert config.log_bytes(1 << 40) == 1 << 30
    assert config.zeroed_bytes(800 << 20) == (100 << 20) + 2 * BLOCK


# Failures


@pytest.mark.expects_warning("checkpoint failed")
@pytest.mark.parametrize("plan", [FaultPlan(fail_flush=5), FaultPlan(fail_write=4)])
def test_a_failed_flush_ends_the_service(tmp_path: Path, plan: FaultPlan) -> None:
    async def story() -> None:
        device = FaultyDevice(MemoryDevice(SIZE), random.Random(1), plan)
        meta = await opened(tmp_path, device=device)
        await meta.durable(put(meta, a="1"))
        lsn = put(meta, a="2")
        told: list[DaosError | None] = []
        for _ in range(2):
            meta.when_durable(lsn, told.append)
        with pytest.raises(NvmeIoError):
            await meta.durable(lsn)
        assert [type(error) for error in told] == [NvmeIoError] * 2
        with pytest.raises(NvmeIoError):
            put(meta, a="3")
        with pytest.raises(NvmeIoError):
            await meta.checkpoint()
        assert meta.get(b"a") == b"2"  # whoever shows it waits for its LSN, in vain
        with pytest.raises(NvmeIoError):
            await meta.close()
        await meta.close()

    run(story())


@pytest.mark.expects_warning("checkpoint failed")
@pytest.mark.parametrize("number", [3, 4])
def test_a_failed_superblock_or_manifest(tmp_path: Path, number: int) -> None:
    async def story() -> None:
        device = FaultyDevice(MemoryDevice(SIZE), random.Random(1))
        meta = await opened(tmp_path, device=device)
        await meta.durable(put(meta, a="1"))
        free = meta.space.blocks_free
        device.plan = FaultPlan(fail_flush=device.flushes_seen + number - 2)
        with pytest.raises(NvmeIoError):
            await meta.checkpoint()
        assert meta.space.blocks_free == free
        meta.space.check()
        tx = meta.begin()
        tx.put(b"a", b"2")
        if number == 4:
            with pytest.raises(NvmeIoError):
                tx.commit()
        await meta.close(checkpoint=False)

    run(story())


def test_a_transaction_too_large_for_the_tree_fails_alone(tmp_path: Path) -> None:
    async def story() -> None:
        config = MetaConfig(wal_bytes=300 * BLOCK, map_bytes=40 * BLOCK, batch_sets=50)
        meta = await opened(tmp_path, config=config)
        for i in range(20):
            put(meta, **{f"key{i}": "v" * 100})
        lsn = meta.lsn_last
        with pytest.raises(NoSpaceError, match="live tree"):
            put(meta, before="x", big="v" * 60 * BLOCK)
        assert meta.get(b"before") is None
        assert meta.lsn_last == lsn
        put(meta, after="x")
        assert meta.statistics().tree_entries == 21
        await meta.close(checkpoint=False)
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert meta.statistics().tree_entries == 21
        await meta.close()

    run(story())


class _Failing:
    """A batch that LMDB will not commit, or not take a put into."""

    def __init__(self, txn: lmdb.Transaction, *, put: bool = False) -> None:
        self._txn = txn
        self._fail_put = put

    def put(self, key: bytes, value: bytes) -> bool:
        if self._fail_put:
            raise lmdb.Error("mdb_put: Input/output error")
        return self._txn.put(key, value)

    def delete(self, key: bytes) -> bool:
        return self._txn.delete(key)

    def commit(self) -> None:
        self._txn.abort()
        raise lmdb.Error("mdb_txn_commit: Input/output error")

    def abort(self) -> None:
        self._txn.abort()


def test_a_live_tree_that_cannot_commit_ends_the_service(tmp_path: Path) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1")
        meta._tree._txn = _Failing(meta._tree._txn)  # type: ignore[assignment]
        for i in range(4):
            lsn = put(meta, **{f"k{i}": "v"})
        assert meta.get(b"a") == b"1"  # put again
        assert meta.get(b"k3") == b"v"
        with pytest.raises(NvmeIoError, match="live tree: mdb_txn_commit"):
            put(meta, b="1")
        with pytest.raises(NvmeIoError, match="live tree"):
            await meta.durable(lsn)
        with pytest.raises(NvmeIoError):
            meta._tree.put_all({b"x": b"y"}, 2)
        await meta.close(checkpoint=False)

    run(story())


class _Full(_Failing):
    """Until its file system has more space."""

    def commit(self) -> None:
        self._txn.abort()
        raise lmdb.Error("mdb_txn_commit: No space left on device")


@pytest.mark.expects_warning("checkpoint failed")
def test_a_live_tree_without_space_waits_for_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it took is read and gets durable, nothing more is taken; then all goes on."""
    free = 0
    monkeypatch.setattr("daos.bio.tree._free_bytes", lambda _: free)

    async def story() -> None:
        nonlocal free
        meta = await opened(tmp_path)
        put(meta, a="1")
        meta._tree._txn = _Full(meta._tree._txn)  # type: ignore[assignment]
        for i in range(4):
            lsn = put(meta, **{f"k{i}": "v"})
        await meta.durable(lsn)
        for _ in range(2):
            with pytest.raises(NoSpaceError, match="no space left on its file system"):
                put(meta, b="1")
        assert meta.get(b"k2") == b"v"
        assert meta.get(b"b") is None
        meta._tree._txn = _Full(meta._tree._txn)  # type: ignore[assignment]
        with pytest.raises(NoSpaceError):
            await meta.checkpoint()
        meta._tree._txn = _Full(meta._tree._txn)  # type: ignore[assignment]
        free = 4096  # not enough
        with pytest.raises(NoSpaceError):
            put(meta, b="1")
        free = 1 << 20
        await meta.durable(put(meta, b="2"))
        assert meta.get(b"b") == b"2"
        await meta.checkpoint()
        await meta.close()
        meta = await MetaContext.open(meta.device, config=CONFIG, live_path=tmp_path)
        assert [meta.get(key) for key in (b"a", b"k2", b"b")] == [b"1", b"v", b"2"]
        await meta.close()

    run(story())


def test_a_file_system_without_a_single_block(tmp_path: Path) -> None:
    """LMDB maps its lock file: without blocks it ended the process (SIGBUS)."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine may not mount a tmpfs")
    try:
        ballast = os.open(tmp_path / "ballast", os.O_CREAT | os.O_WRONLY)
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            while True:
                os.write(ballast, bytes(4096))
        os.close(ballast)
        with pytest.raises(NoSpaceError, match="live tree"):
            run(opened(tmp_path / "live"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_live_tree_that_cannot_put_again_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1")
        await meta.durable(1)
        monkeypatch.setattr(
            meta._tree, "_begin", lambda: _Failing(meta._tree.env.begin(write=True), put=True)
        )
        meta._tree._txn = _Failing(meta._tree._txn, put=True)  # type: ignore[assignment]
        with pytest.raises(NvmeIoError, match="mdb_put"):
            put(meta, b="1")
        with pytest.raises(NvmeIoError, match="mdb_put"):
            put(meta, c="1")
        await meta.close(checkpoint=False)

    run(story())


def test_a_live_path_that_lmdb_cannot_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise lmdb.Error("permission denied")

    async def story() -> None:
        monkeypatch.setattr(lmdb, "open", refuse)
        with pytest.raises(NvmeIoError, match=r"live tree in .*permission denied"):
            await opened(tmp_path)

    run(story())


def test_a_log_that_fills_up_during_a_checkpoint(tmp_path: Path) -> None:
    """What that checkpoint frees is not enough: the next one starts by itself."""

    async def story() -> None:
        meta = await opened(tmp_path)
        put(meta, a="1")
        running = asyncio.ensure_future(meta.checkpoint())
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(AgainError):  # noqa: PT012
            for count in range(100):
                put(meta, **{f"key{count}": "v" * 4050})
        room: asyncio.Future[DaosError | None] = asyncio.get_running_loop().create_future()
        meta.when_room(room.set_result)
        assert await room is None
        await running
        assert meta.statistics().checkpoints == 2
        await meta.close()

    run(story())


def test_our_own_bugs_reach_the_handler_of_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        meta = await opened(tmp_path)
        told: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

        async def broken(lsn: int) -> None:
            raise LookupError("bug")

        put(meta, a="1")
        monkeypatch.setattr(meta, "_copy_all", broken)
        with pytest.raises(LookupError):
            await meta.checkpoint()
        await asyncio.sleep(0)
        assert [type(error) for error in told] == [LookupError]
        await meta.close(checkpoint=False)

    run(story())


def test_recovery_into_a_live_tree_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Tree) -> None:
        self.failure = NvmeIoError("live tree: no space left")

    async def story() -> None:
        monkeypatch.setattr(Tree, "commit_batch", fail)
        with pytest.raises(NvmeIoError, match="no space left"):
            await opened(tmp_path)

    run(story())
