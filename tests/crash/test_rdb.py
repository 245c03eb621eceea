"""Power cuts under the local metadata store: at every write and flush, any subset kept, torn too.

The workload changes pairs, leases and revisions, with several calls in flight. After each cut the
store is opened from what is left and must be one of the states that were current at some time
between the last acknowledged call and the cut: nothing acknowledged lost, nothing half there.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.rdb.interface import UNBOUNDED, Delete, KeyValuePair, Operation, Put, TxnResult
from daos.rdb.local import LocalRdb, _Section
from daos.testing.devices import MemoryDevice
from daos.testing.recording import Keep, RecordingDirectory

MIB = 1 << 20
CONFIG = MetaConfig(wal_bytes=4 * MIB, start_copy=InlineCopy)
SECOND = 10**9
KEEPS: tuple[Keep, ...] = ("some", "some", "none", "all")

State = tuple[int, tuple[KeyValuePair, ...]]


class Clock:
    monotonic = SECOND

    def now_ns(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return self.monotonic


class History:
    """The states in order, and which of them each device event may be followed by."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.leases: list[int] = []
        # (journal position, index of the newest state that was acknowledged by then)
        self.acknowledged: list[tuple[int, int]] = []


def stored(rdb: LocalRdb) -> State:
    """As the tree is, durable or not: read below the store, which would wait."""
    section = _Section(rdb._meta, rdb.revision)
    return rdb.revision, tuple(section._merged(b"", UNBOUNDED))


async def workload(directory: RecordingDirectory, path: Path, seed: int) -> History:
    rng = random.Random(seed)
    history = History()
    journal = directory.journal
    device = await directory.create("rdb", 32 * MIB)
    await MetaContext.format(device, uuid=uuid.UUID(int=9), config=CONFIG)
    meta = await MetaContext.open(device, config=CONFIG, live_path=path)
    clock = Clock()
    rdb = LocalRdb(meta, clock)

    def note() -> int:
        history.states.append(stored(rdb))
        return len(history.states) - 1

    history.acknowledged.append((len(journal), note()))

    def operations() -> list[Operation]:
        keys = [b"%d" % rng.randrange(9) + b"k" * rng.choice((1, 450)) for _ in range(3)]
        if rng.random() < 0.4:
            return [Delete(keys[0], b"9")]
        return [Put(key, bytes(rng.randrange(6000))) for key in sorted(set(keys))[1:]]

    async def acknowledge(call: asyncio.Task[TxnResult], index: int) -> None:
        await call
        history.acknowledged.append((len(journal), index))

    for number in range(12):
        async with asyncio.TaskGroup() as group:
            for _ in range(rng.randrange(1, 4)):
                call = group.create_task(rdb.txn((), operations()))
                await asyncio.sleep(0)  # it has run up to its wait for the log
                group.create_task(acknowledge(call, note()))
        if number == 4:
            lease = await rdb.grant(SECOND)
            history.acknowledged.append((len(journal), note()))
            # More keys than one Tx of the end of a lease takes.
            for batch in range(2):
                puts = [Put(b"L%d-%03d" % (batch, n), b"", lease) for n in range(100)]
                await rdb.txn((), puts)
                history.acknowledged.append((len(journal), note()))
        if number == 7:
            before = len(history.states) - 1
            clock.monotonic += 2 * SECOND
            await rdb.range(b"x")
            history.acknowledged.append((len(journal), note()))
            history.leases = [before, len(history.states) - 1]
        if number == 9:
            await meta.checkpoint()
    rdb.close()
    await meta.close(checkpoint=bool(seed % 2))
    return history


async def check(directory: RecordingDirectory, history: History, path: Path, seed: int) -> None:
    rng = random.Random(seed + 1000)
    first = history.acknowledged[0][0]
    for cut in range(first, len(directory.journal) + 1):
        keep = rng.choice(KEEPS)
        image = directory.journal.image(cut, rng, keep=keep)["rdb"]
        oldest = max(index for position, index in history.acknowledged if position <= cut)
        device = MemoryDevice(image.size_bytes, image=image)
        meta = await MetaContext.open(device, config=CONFIG, live_path=path)
        found = stored(LocalRdb(meta, Clock()))
        if found not in history.states[oldest:]:
            # The end of a large lease is several Tx of one revision: some of its keys may be left.
            before, after = (history.states[index] for index in history.leases)
            assert oldest <= history.leases[0], f"cut {cut}: {found[0]} is no state of that time"
            assert found[0] == after[0], f"cut {cut}"
            assert set(after[1]) < set(found[1]) < set(before[1]), f"cut {cut}"
            await finished(LocalRdb(meta, clock := Clock()), clock, after)
        await meta.close(checkpoint=False)
        await device.close()


async def finished(rdb: LocalRdb, clock: Clock, after: State) -> None:
    """What is left of the lease runs out once more, and then nothing of it is left."""
    clock.monotonic += 2 * SECOND
    found = await rdb.range(b"", UNBOUNDED)
    assert found.revision == after[0] + 1
    assert tuple(found.pairs) == after[1]
    assert rdb.next_expiry_ns is None


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_leaves_a_state_of_its_time(seed: int) -> None:
    async def main() -> None:
        directory = RecordingDirectory()
        with TemporaryDirectory() as path:
            history = await workload(directory, Path(path), seed)
            assert len(directory.journal) - history.acknowledged[0][0] > 30
            await check(directory, history, Path(path), seed)

    asyncio.run(main())
