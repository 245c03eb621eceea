"""A shard that is opened again after a failed flush, in the same boot, and then loses its power."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from uuid import UUID

import pytest

from daos.base.errors import NvmeIoError
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.testing.simdisk import SimDisk
from daos.testing.simloop import simulate

CONFIG = MetaConfig(start_copy=InlineCopy, memory_bytes=1 << 20)
SIZE = 16 << 20


async def scenario(live_path: Path, seed: int) -> None:
    disk = SimDisk(random.Random(seed))
    directory = disk.directory()
    device = await directory.create("shard", SIZE)
    await MetaContext.format(device, uuid=UUID(int=1), config=CONFIG)
    disk.wear.fail_flush_rate = 1.0
    with pytest.raises(NvmeIoError):
        await MetaContext.open(device, config=CONFIG, live_path=live_path)
    await device.close()
    disk.wear.fail_flush_rate = 0.0
    disk.wear.delay_s = 0.1
    before = set(directory.doubtful["shard"])
    device = await directory.open("shard")
    opening = asyncio.ensure_future(MetaContext.open(device, config=CONFIG, live_path=live_path))
    for _ in range(10_000):
        if (
            directory.doubtful["shard"].keys() & {0, 1}
        ) - before:  # the second opening's superblock, not flushed yet
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("it has not written its superblock")
    disk.power_off()
    opened = await asyncio.gather(opening, return_exceptions=True)
    if isinstance(opened[0], MetaContext):
        await opened[0].close(checkpoint=False)
    device = await disk.directory().open("shard")
    meta = await MetaContext.open(device, config=CONFIG, live_path=live_path)
    await meta.close()


@pytest.mark.parametrize("seed", range(30, 80))
def test_one_superblock_stays_whole(tmp_path: Path, seed: int) -> None:
    simulate(scenario(tmp_path, seed), seed)
