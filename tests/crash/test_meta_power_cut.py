"""Power cuts under one shard: at every write and flush, with random subsets of what was in doubt.

The oracle is outside: a list of states, one per transaction in commit order, and notes of how much
had been acknowledged or shown when the journal was how long. After a cut the shard must hold the
state after some transaction k, with k at least everything acknowledged before the cut, the bytes
of every live extent as written, and exactly the live extents allocated.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from daos.base.errors import DaosError, NoSpaceError
from daos.bio import device as device_module
from daos.bio import meta as meta_module
from daos.bio import replay as replay_module
from daos.bio.checkpoint import Checkpoint, InlineCopy
from daos.bio.device import BLOCK, Done, Write, read
from daos.bio.layout import checksum_of
from daos.bio.meta import MetaConfig, MetaContext
from daos.bio.space import Extent, Hint, Space
from daos.bio.wal import Wal
from daos.testing.devices import Image, MemoryDevice
from daos.testing.recording import RecordingDevice, RecordingDirectory

UUID_ = UUID(int=0xDA05)
NAME = "shard"
SEQ = b"\0seq"
# Rings so small that they wrap every few groups, and so little space that extents are reused.
CONFIG = MetaConfig(wal_bytes=16 * BLOCK, batch_sets=3, start_copy=InlineCopy)
SIZE = 110 * BLOCK


@dataclass
class Oracle:
    """`states[k]`: key -> value or (extent, bytes) after transaction k; `notes`: (journal, k)."""

    states: list[dict[bytes, object]] = field(default_factory=lambda: [{}])
    notes: list[tuple[int, int]] = field(default_factory=list)

    def least(self, cut: int) -> int:
        return max((k for position, k in self.notes if position <= cut), default=0)


class Workload:
    """Random transactions against a recorded device, and the oracle's account of them."""

    def __init__(self, meta: MetaContext, journal_size: Callable[[], int], seed: int) -> None:
        self.meta = meta
        self.rng = random.Random(seed)
        self.oracle = Oracle()
        self.hint = Hint()
        self._journal_size = journal_size

    def _note(self, k: int) -> Done:
        def done(error: DaosError | None) -> None:
            assert error is None, error
            self.oracle.notes.append((self._journal_size(), k))

        return done

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            dice = self.rng.random()
            if dice < 0.65:
                await self._transaction()
            elif dice < 0.8:
                # What is shown waits for everything it depends on.
                k = len(self.oracle.states) - 1
                self.meta.when_durable(self.meta.lsn_last, self._note(k))
                assert self.meta.get(SEQ) == (b"%d" % k if k else None)
            elif dice < 0.85:
                await self._pinned_read()
            elif dice < 0.9:
                await self.meta.checkpoint()
            for _ in range(self.rng.choice((0, 0, 1, 3))):
                await asyncio.sleep(0)
        await self._settle()

    async def _settle(self) -> None:
        if len(self.oracle.states) > 1:
            await self.meta.durable(self.meta.lsn_last)

    async def _transaction(self) -> None:
        if not self.meta.log_has_room:
            room = asyncio.get_running_loop().create_future()
            self.meta.when_room(room.set_result)
            error = await room
            assert error is None, error
        rng, meta = self.rng, self.meta
        k = len(self.oracle.states)
        state = dict(self.oracle.states[-1])
        tx = meta.begin()
        count = rng.choice((0, 1, 1, 2, 6))
        try:
            hold = meta.hold(tree_bytes=2000, data_blocks=count)
            extent = meta.space.reserve(count, self.hint) if count else None
        except NoSpaceError:
            count, extent, hold = 0, None, None
        for _ in range(rng.randint(1, 4)):
            key = b"key%d" % rng.randrange(24)
            old = state.pop(key, None)
            if isinstance(old, tuple):
                tx.free(old[0])
            if rng.random() < 0.3:
                tx.delete(key)
            else:
                state[key] = bytes([rng.randrange(256)]) * rng.choice((1, 40, 700))
                tx.put(key, state[key])  # type: ignore[arg-type]
        if extent is not None:
            key = b"data%d" % rng.randrange(6)
            old = state.pop(key, None)
            if isinstance(old, tuple):
                tx.free(old[0])
            data = rng.randbytes(extent.count * BLOCK)
            cut = rng.randrange(len(data) + 1)
            buffers = [memoryview(data)[:cut], memoryview(data)[cut:]]
            tx.write(extent, buffers, checksum_of(buffers))
            tx.put(key, b"%d+%d" % extent)
            state[key] = (extent, data)
        tx.put(SEQ, b"%d" % k)
        lsn = tx.commit()
        if hold is not None:
            meta.release(hold)
        self.oracle.states.append(state)
        meta.when_durable(lsn, self._note(k))

    async def _pinned_read(self) -> None:
        """A read in flight: whatever happens to the extent meanwhile, its bytes stay."""
        stored = [value for value in self.oracle.states[-1].values() if isinstance(value, tuple)]
        if not stored:
            return
        extent, data = self.rng.choice(stored)
        await self._settle()
        if extent not in [e for e, _ in _live(self.oracle.states[-1])]:
            return
        pin = self.meta.space.pin()
        for _ in range(12):
            self.hint.block = extent.block  # tempt the allocator
            await self._transaction()
            await asyncio.sleep(0)
        into = memoryview(bytearray(len(data)))
        await read(self.meta.device, extent.block * BLOCK, into)
        self.meta.space.unpin(pin)
        assert into == data, "a pinned extent was overwritten"


def _live(state: dict[bytes, object]) -> list[tuple[Extent, bytes]]:
    return [value for value in state.values() if isinstance(value, tuple)]


async def recovered(meta: MetaContext, oracle: Oracle) -> int:
    """The transaction whose state this is; fails if it is none's, or bytes are not as written."""
    k = int(meta.get(SEQ) or b"0")
    assert k < len(oracle.states), f"state {k} was never committed"
    state = oracle.states[k]
    want = {
        key: b"%d+%d" % value[0] if isinstance(value, tuple) else value
        for key, value in state.items()
    }
    if k:
        want[SEQ] = b"%d" % k
    assert dict(meta.cursor()) == want, f"not the state after transaction {k}"
    for extent, data in _live(state):
        into = memoryview(bytearray(len(data)))
        await read(meta.device, extent.block * BLOCK, into)
        assert into == data, f"extent {extent} of transaction {k} is not as written"
    blocks = [extent.block + i for extent in meta.space.snapshot() for i in range(extent.count)]
    live = [extent.block + i for extent, _ in _live(state) for i in range(extent.count)]
    assert blocks == sorted(live), "allocated blocks are not the live ones"
    meta.space.check()
    return k


async def record(seed: int, steps: int, live: Path) -> tuple[RecordingDirectory, Oracle, int]:
    """A workload; returns also how long the journal was when the shard was ready."""
    directory = RecordingDirectory()
    device = await directory.create(NAME, SIZE)
    await MetaContext.format(device, uuid=UUID_, config=CONFIG)
    meta = await MetaContext.open(device, config=CONFIG, live_path=live)
    ready = len(directory.journal)
    workload = Workload(meta, lambda: len(directory.journal), seed)
    await workload.run(steps)
    await meta.close(checkpoint=seed % 2 == 0)
    return directory, workload.oracle, ready


async def open_image(image: Image, live: Path) -> tuple[MetaContext, RecordingDirectory]:
    directory = RecordingDirectory({NAME: image})
    device = await directory.open(NAME)
    return await MetaContext.open(device, config=CONFIG, live_path=live), directory


async def cut_everywhere(seed: int, steps: int, tmp_path: Path, *, again: float = 0.0) -> int:
    """Cut, reopen, check; `again`: share of cuts after which the story goes on and is cut again."""
    rng = random.Random(seed)
    directory, oracle, ready = await record(seed, steps, tmp_path / "live")
    journal = directory.journal
    images = 0
    for cut in range(ready, len(journal) + 1):
        for keep in ("none", "some", "some", "all"):
            image = journal.image(cut, rng, keep=keep)[NAME]
            images += 1
            meta, second = await open_image(image, tmp_path / "live")
            k = await recovered(meta, oracle)
            assert k >= oracle.least(cut), f"cut {cut}: {oracle.least(cut)} was acknowledged"
            if rng.random() < again:
                await _cut_again(meta, second, oracle, k, rng, tmp_path / "live")
            else:
                await meta.close(checkpoint=False)
    return images


async def _cut_again(
    meta: MetaContext,
    directory: RecordingDirectory,
    oracle: Oracle,
    k: int,
    rng: random.Random,
    live: Path,
) -> None:
    """Go on after a recovery, and cut the recovery and what follows."""
    journal = directory.journal
    ready = len(journal)
    workload = Workload(meta, lambda: len(journal), rng.randrange(1 << 30))
    workload.oracle.states = oracle.states[: k + 1]
    workload.oracle.notes = [(ready, k)]
    await workload.run(4)
    await meta.close(checkpoint=False)
    for cut in range(len(journal) + 1):
        image = journal.image(cut, rng, keep="some")[NAME]
        meta, _ = await open_image(image, live)
        found = await recovered(meta, workload.oracle)
        assert found >= workload.oracle.least(cut)
        assert cut >= ready or found == k, "recovery showed something else the second time"
        await meta.close(checkpoint=False)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there(seed: int, tmp_path: Path) -> None:
    images = asyncio.run(cut_everywhere(seed, 100, tmp_path))
    assert images > 400


@pytest.mark.parametrize("seed", range(10, 12))
def test_a_second_cut_after_recovery(seed: int, tmp_path: Path) -> None:
    asyncio.run(cut_everywhere(seed, 30, tmp_path, again=0.1))


def _skip_flush(patch: pytest.MonkeyPatch) -> None:
    submit = MemoryDevice.submit_write

    def unflushed(self: MemoryDevice, writes: list[Write], *, flush: bool, done: Done) -> None:
        submit(self, writes, flush=flush and len(writes) != 2, done=done)

    patch.setattr(RecordingDevice, "submit_write", unflushed)


def _acknowledge_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Wal, "when_durable", lambda self, lsn, done: done(None))


def _reuse_at_once(patch: pytest.MonkeyPatch) -> None:
    free = Space.free

    def freed(self: Space, extent: Extent, *, lsn: int) -> None:
        free(self, extent, lsn=lsn)
        self.reclaim(durable_lsn=1 << 60, extents_max=1 << 30)

    patch.setattr(Space, "free", freed)


def _ignore_pins(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Space, "pin", lambda self: 0)
    patch.setattr(Space, "unpin", lambda self, pin: None)


def _ignore_data_checksum(patch: pytest.MonkeyPatch) -> None:
    async def intact(self: object, records: object) -> bool:
        return True

    patch.setattr(replay_module._Log, "data_intact", intact)


def _trim_before_swap(patch: pytest.MonkeyPatch) -> None:
    swap = MetaContext._swap_superblock

    async def trimmed(self: MetaContext, fresh: object, block: int, clean: bool) -> None:
        head, count = self._wal.head, CONFIG.wal_bytes // BLOCK
        self._wal.trim(head - (head - block) % count)
        for _ in range(5):
            await asyncio.sleep(0)
        await swap(self, fresh, block, clean)  # type: ignore[arg-type]

    patch.setattr(MetaContext, "_swap_superblock", trimmed)


def _swap_without_flush(patch: pytest.MonkeyPatch) -> None:
    async def unflushed(device: MemoryDevice, writes: list[Write], *, flush: bool) -> None:
        await device_module.write(device, writes, flush=flush and len(writes) != 1)

    patch.setattr(meta_module, "write", unflushed)


def _free_checkpoint_early(patch: pytest.MonkeyPatch) -> None:
    copy_all = MetaContext._copy_all

    async def freed(self: MetaContext, lsn: int) -> object:
        for extent in self._checkpoint.extents:
            self.space.drop(extent)
        self._checkpoint = Checkpoint(-1, Extent(0, 0), 0, ())
        return await copy_all(self, lsn)

    patch.setattr(MetaContext, "_copy_all", freed)


@pytest.mark.parametrize(
    "plant",
    [
        _skip_flush,
        _acknowledge_early,
        _reuse_at_once,
        _ignore_pins,
        _ignore_data_checksum,
        _trim_before_swap,
        _swap_without_flush,
        _free_checkpoint_early,
    ],
)
def test_planted_bugs_are_caught(
    plant: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If these tests cannot see a bug, they say nothing about its absence."""
    plant(monkeypatch)
    for seed in range(60):
        try:
            asyncio.run(cut_everywhere(seed, 50, tmp_path / str(seed), again=0.1))
        except (AssertionError, DaosError) as error:
            print(f"seed {seed}: {error!r:.200}")
            return
    pytest.fail("not caught")
