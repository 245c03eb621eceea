"""Small reads of a file device: what is cached by the end of a turn, and what threads read."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from daos.base.errors import DaosError
from daos.bio.device import BLOCK, Write, write
from daos.bio.file_device import FileDevice
from daos.testing.kits.block_device import Outcomes
from tests.unit.bio.test_file_device import never_cached, patched, path

__all__ = ["path"]


def test_reads_gathered_in_a_turn_survive_its_close(path: Path) -> None:
    async def main() -> None:
        device = FileDevice.open(path)
        data = random.Random(1).randbytes(40 * BLOCK)
        await write(device, [Write(0, [memoryview(data)])], flush=True)
        outcomes = Outcomes()
        views = [memoryview(bytearray(BLOCK)) for _ in range(40)]
        for n, into in enumerate(views):
            device.submit_read(n * BLOCK, into, outcomes.done(n))
        await device.close()
        assert sorted(outcomes.told) == [(n, None) for n in range(40)]
        assert b"".join(views) == data

    asyncio.run(main())


def written(path: Path, count: int) -> tuple[bytes, list[memoryview]]:
    """Blocks on the disk, and memory for each."""
    data = random.Random(2).randbytes(count * BLOCK)
    path.write_bytes(data)
    return data, [memoryview(bytearray(BLOCK)) for _ in range(count)]


def test_what_is_cached_by_the_end_of_the_turn_wakes_no_thread(path: Path) -> None:
    data, views = written(path, 40)

    async def main() -> None:
        device, outcomes = FileDevice.open(path), Outcomes()
        if not device.read_nowait(0, views[0]):
            pytest.skip("the file system of the temporary directory has no RWF_NOWAIT")
        for n, into in enumerate(views):
            device.submit_read(n * BLOCK, into, outcomes.done(n))
        assert outcomes.told == [], "never from inside the call"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sorted(outcomes.told) == [(n, None) for n in range(40)]
        assert device._readers == []
        assert b"".join(views) == data
        assert device.statistics().reads == 41
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize("found", [0, 15, 24])
def test_of_the_others_threads_wait_for_the_last(path: Path, found: int) -> None:
    """`found` of those that were not there at first are when the loop looks again."""
    data, views = written(path, 40)
    real, looks = os.preadv, []

    def preadv(descriptor: int, views: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags:
            looks.append(offset)
            if not 40 < len(looks) <= 40 + found:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(descriptor, views, offset)

    async def main() -> None:
        device, outcomes = FileDevice.open(path), Outcomes()
        with patched("preadv", preadv):
            for n, into in enumerate(views):
                device.submit_read(n * BLOCK, into, outcomes.done(n))
            await outcomes.wait(40)
        assert sorted(outcomes.told) == [(n, None) for n in range(40)]
        assert b"".join(views) == data
        assert len(looks) == 40 + 37, "once at the end of the turn, once behind the last of 16"
        await device.close()

    asyncio.run(main())


def test_a_callback_that_raises_at_the_end_of_a_turn(path: Path) -> None:
    _, views = written(path, 3)

    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: complaints.append(context.get("exception"))
        )

        def broken(_: DaosError | None) -> None:
            raise RuntimeError("a bug of the caller")

        device, outcomes = FileDevice.open(path), Outcomes()
        for n, into in enumerate(views):
            device.submit_read(n * BLOCK, into, broken if n == 0 else outcomes.done(n))
        await outcomes.wait(2)
        assert len(complaints) == 1
        await device.close()

    asyncio.run(main())


def test_a_close_waits_for_those_that_threads_read_after_all(path: Path) -> None:
    data, views = written(path, 40)

    async def main() -> None:
        device, outcomes = FileDevice.open(path), Outcomes()
        with patched("preadv", never_cached()):
            for n, into in enumerate(views):
                device.submit_read(n * BLOCK, into, outcomes.done(n))
            await asyncio.sleep(0)  # they are with the threads, or wait behind one who is
            await device.close()
        assert sorted(outcomes.told) == [(n, None) for n in range(40)]
        assert b"".join(views) == data

    asyncio.run(main())
