"""One value on its way out whose block is not in the page cache."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import ChecksumError, DaosError, NvmeIoError
from daos.bio.device import BLOCK, DeviceStatistics, Done, Write
from daos.bio.memory import AlignedPool
from daos.bio.one_value import OneRead, read_now
from daos.bio.pieces import Stored
from daos.bio.space import Extent

VALUE = bytes(range(200)) * 25  # two blocks, the second not whole


class Slow:
    """A device that has nothing at hand, and answers when it is told to."""

    name = "slow"
    size_bytes = 8 * BLOCK

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.waiting: list[Callable[[DaosError | None], None]] = []

    def read_nowait(self, offset: int, into: memoryview) -> bool:
        return False

    def submit_read(self, offset: int, into: memoryview, done: Done) -> None:
        assert offset == 3 * BLOCK

        def answer(error: DaosError | None) -> None:
            into[: len(self.content)] = self.content
            done(error)

        self.waiting.append(answer)

    def submit_write(self, writes: object, *, flush: bool, done: Done) -> None:
        raise AssertionError(Write)

    def statistics(self) -> DeviceStatistics:
        raise AssertionError

    async def close(self) -> None:
        """Nothing."""


def begun(content: bytes = VALUE) -> tuple[Slow, AlignedPool, OneRead]:
    device, pool = Slow(content), AlignedPool(1 << 20)
    size, csum = len(VALUE), compute(ChecksumType.XXH3, VALUE)
    piece = Stored(Extent(3, 2), size, 0, size, ChecksumType.XXH3, size, csum)
    found = read_now(device, pool, piece)
    assert isinstance(found, OneRead)
    assert pool.statistics().bytes_in_use == 2 * BLOCK
    return device, pool, found


def test_the_buffer_is_the_callers_once_it_has_landed() -> None:
    device, pool, one = begun()
    told: list[DaosError | None] = []
    one.read(told.append)
    assert told == []
    device.waiting[0](None)
    assert told == [None]
    buffer, one.buffer = one.buffer, None
    assert buffer is not None
    assert bytes(buffer.view[: len(VALUE)]) == VALUE
    one.cancel()
    buffer.release()
    assert pool.statistics().bytes_in_use == 0


@pytest.mark.parametrize(
    ("content", "error", "kind"),
    [(b"x" + VALUE[1:], None, ChecksumError), (VALUE, NvmeIoError("broken"), NvmeIoError)],
)
def test_what_did_not_come_well_is_not_shown(
    content: bytes, error: DaosError | None, kind: type[DaosError]
) -> None:
    device, pool, one = begun(content)
    told: list[DaosError | None] = []
    one.read(told.append)
    device.waiting[0](error)
    assert isinstance(told[0], kind)
    assert one.buffer is None
    one.cancel()
    assert pool.statistics().bytes_in_use == 0


def test_given_up_the_memory_stays_the_devices_until_it_is_through() -> None:
    device, pool, one = begun()
    told: list[DaosError | None] = []
    one.read(told.append)
    one.cancel()
    one.cancel()
    assert pool.statistics().bytes_in_use == 2 * BLOCK
    device.waiting[0](None)
    assert pool.statistics().bytes_in_use == 0
    assert told == []


def test_given_up_before_it_was_asked_for() -> None:
    _, pool, one = begun()
    one.cancel()
    assert pool.statistics().bytes_in_use == 0
