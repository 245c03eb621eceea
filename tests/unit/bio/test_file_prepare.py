"""Zeros into blocks of a file that were allocated, and never written."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from daos.base.errors import NvmeIoError
from daos.bio.device import BLOCK, Write, write
from daos.bio.file_device import FileDevice
from daos.testing.kits.block_device import Outcomes, blocks, pattern
from tests.unit.bio.test_file_device import MIB, failing, on_disk, open_direct, patched


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(4 * MIB))
    return path


def open_unwritten(path: Path) -> FileDevice:
    """All its blocks are allocated, the second of five MiB is written."""
    path.unlink()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(descriptor, 0, 5 * MIB)
    os.pwrite(descriptor, pattern(1, MIB), MIB)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    device = open_direct(path)
    if not device.prepares:
        os.close(device._descriptors.main)
        os.close(device._descriptors.cached)
        pytest.skip("the file system of the temporary directory does not tell what was written")
    return device


def test_zeros_go_where_nothing_was_written(path: Path) -> None:
    async def main() -> None:
        device, outcomes = open_unwritten(path), Outcomes()
        device.submit_prepare(BLOCK, 3 * MIB - BLOCK, outcomes.done("some"))
        await outcomes.wait(1)
        assert device.statistics().bytes_prepared == 2 * MIB - BLOCK
        assert device.statistics().writes == 0
        main_ = device._descriptors.main
        assert [os.lseek(main_, at, os.SEEK_HOLE) for at in (0, BLOCK)] == [0, 3 * MIB]
        device.submit_prepare(BLOCK, 3 * MIB - BLOCK, outcomes.done("again"))
        device.submit_prepare(0, 5 * MIB, outcomes.done("all"))
        await outcomes.wait(3)
        assert device.statistics().bytes_prepared == 4 * MIB
        assert not outcomes.errors
        await device.close()
        assert on_disk(path) == bytes(MIB) + pattern(1, MIB) + bytes(3 * MIB)
        again = FileDevice.open(path)
        assert not again.prepares
        await again.close()

    asyncio.run(main())


def test_zeros_that_cannot_be_written_poison_nothing(path: Path) -> None:
    async def main() -> None:
        device, outcomes = open_unwritten(path), Outcomes()
        with patched("pwritev", failing(errno.EIO)):
            device.submit_prepare(0, MIB, outcomes.done("prepared"))
            await outcomes.wait(1)
        assert [type(error) for error in outcomes.errors] == [NvmeIoError]
        await write(device, [Write(0, blocks(pattern(2)))], flush=True)
        assert not device.statistics().poisoned
        await device.close()

    asyncio.run(main())


@pytest.mark.parametrize("call", ["pwritev", "lseek"])
def test_zeros_that_go_nowhere_hold_up_nobody(path: Path, call: str) -> None:
    """The system writes none of them, or says that data begins where it has just told of a hole."""

    async def main() -> None:
        device, outcomes = open_unwritten(path), Outcomes()
        nowhere = {"pwritev": lambda *_: 0, "lseek": lambda _descriptor, at, _whence: at}[call]
        with patched(call, nowhere):
            device.submit_prepare(0, MIB, outcomes.done("prepared"))
            await asyncio.wait_for(outcomes.wait(1), 5)
        assert not outcomes.errors
        await write(device, [Write(0, blocks(pattern(2)))], flush=True)
        await device.close()

    asyncio.run(main())


def test_a_device_whose_blocks_are_written_prepares_nothing(path: Path) -> None:
    device = FileDevice.open(path)
    assert not device.prepares
    asyncio.run(device.close())
