"""A disk that returns other bytes than were written: `check` with VERIFY says of which file."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from daos.base.errors import DER, DaosError
from daos.bio.device import BLOCK
from daos.dfs.checker import Repair, check
from daos.dfs.filesystem import FileSystem
from daos.dfs.mount import Mount
from daos.embedded.system import System
from daos.testing.devices import Image, MemoryDirectory
from tests.crash.system_cut import CONFIG, POOL, POOL_BYTES
from tests.model.twin import FrozenClock

DATA = random.Random(1).randbytes(3 << 20)
BAD = (1 << 20) + 5 * BLOCK


def test_bytes_that_went_bad(tmp_path: Path) -> None:
    directory = MemoryDirectory()

    async def started() -> System:
        return await System.start(
            CONFIG,
            directory=directory,
            live_path=tmp_path / "live",
            clock=FrozenClock(),
            rng=random.Random(1),
        )

    async def written() -> None:
        system = await started()
        await system.admin.pool_create(POOL, POOL_BYTES)
        client = await system.connect()
        async with client.pool(POOL) as pool:
            made = await pool.create_container("c", "POSIX", {"cksum": "crc32"})
            async with made, FileSystem(await Mount.open(made)) as fs:
                await fs.mkdir("/d")
                await fs.write_bytes("/d/bad", DATA)
                await fs.write_bytes("/good", DATA[:BAD])
        await client.close()
        await system.stop()

    async def verified() -> None:
        system = await started()
        client = await system.connect()
        async with client.pool(POOL) as pool, pool.container("c", "ex") as alone:
            assert (await check(alone)).clean
            with pytest.raises(DaosError) as caught:
                await check(alone, Repair.VERIFY | Repair.REMOVE)
            error = caught.value
            assert error.code is DER.IO
            assert error.message.startswith("files can't be read: /d/bad at byte ")
            offset = int(error.message.split()[7].rstrip(":"))
            assert BAD - (32 << 10) < offset <= BAD  # a checksum is of 32 KiB
        await client.close()
        await system.stop()

    asyncio.run(written())
    assert spoil(directory.images) == 1
    asyncio.run(verified())


def spoil(images: dict[str, Image]) -> int:
    """Turn a bit over wherever that block of the file is stored; in how many places."""
    places = [
        (image, number)
        for image in images.values()
        for number, block in image.blocks.items()
        if block == DATA[BAD : BAD + BLOCK]
    ]
    for image, number in places:
        image.flip(number * BLOCK + 100, 3)
    return len(places)
