"""Zeros ahead of where values go: where, how many, and when none."""

from __future__ import annotations

import asyncio

import pytest

from daos.base.errors import DaosError, NvmeIoError
from daos.bio import ahead
from daos.bio.ahead import LOW_BLOCKS, SMALL_BYTES, STEP_BLOCKS, Ahead
from daos.bio.device import BLOCK, Done
from daos.bio.space import Extent, Hint, Space
from daos.testing.devices import MemoryDevice

FIRST, COUNT = 10, 64 * STEP_BLOCKS  # a window of four steps


class Preparer(MemoryDevice):
    """Notes what is to be prepared, in blocks; the test ends it."""

    prepares = True

    def __init__(self) -> None:
        super().__init__(BLOCK)
        self.asked: list[tuple[int, int]] = []
        self.pending: list[Done] = []

    def submit_prepare(self, offset: int, nbytes: int, done: Done) -> None:
        self.asked.append((offset // BLOCK, nbytes // BLOCK))
        self.pending.append(done)

    def end(self, error: DaosError | None = None) -> None:
        self.pending.pop()(error)


class Stand:
    def __init__(self, device: MemoryDevice | None = None) -> None:
        self.device = Preparer()
        self.space = Space(FIRST, COUNT)
        self.hint = Hint(FIRST)
        self.ahead = Ahead(device or self.device, self.space)

    def group(self, count: int, *, nbytes: int = 0, idle: bool = False) -> Extent:
        self.space.hold(count)
        extent = self.space.reserve(count, self.hint)
        self.space.publish(extent)
        self.space.unhold(count)
        self.ahead.after_group(nbytes or count * BLOCK, idle=idle)
        return extent


def test_small_groups_find_blocks_prepared() -> None:
    stand = Stand()
    stand.group(1)
    assert stand.device.asked == [(FIRST + 1, STEP_BLOCKS)]
    stand.group(1)  # one at a time
    assert len(stand.device.asked) == 1
    stand.device.end()
    ready = FIRST + 1 + STEP_BLOCKS
    while stand.hint.block <= ready - LOW_BLOCKS:
        assert len(stand.device.asked) == 1
        stand.group(1)
    assert stand.device.asked[1:] == [(ready, STEP_BLOCKS)]
    assert not stand.space.statistics().blocks_reserved


def test_large_groups_do_not_wait_for_zeros_and_leave_the_window() -> None:
    stand = Stand()
    stand.group(1)
    stand.device.end()
    stand.group(2 * STEP_BLOCKS)
    assert len(stand.device.asked) == 1
    stand.group(SMALL_BYTES // BLOCK)
    assert stand.device.asked[1:] == [(stand.hint.block, STEP_BLOCKS)]


def test_a_stream_elsewhere_begins_a_window_of_its_own() -> None:
    stand = Stand()
    stand.group(1)
    stand.device.end()
    middle = Extent(FIRST + COUNT // 2, STEP_BLOCKS)
    stand.space.load([Extent(FIRST, 1), middle])
    stand.hint = Hint(middle.block + middle.count)
    stand.group(1)
    assert stand.device.asked[1:] == [(middle.block + middle.count + 1, STEP_BLOCKS)]


def test_no_more_than_is_free() -> None:
    stand = Stand()
    stand.group(COUNT - 5, nbytes=1)
    assert stand.device.asked == [(FIRST + COUNT - 5, 5)]
    stand.device.end()
    stand.group(5)
    assert len(stand.device.asked) == 1


def test_groups_without_data_ask_for_nothing() -> None:
    stand = Stand()
    stand.space.hold(1)
    stand.space.reserve(1, stand.hint)
    stand.ahead.after_group(0, idle=True)
    assert stand.device.asked == []


def test_who_fails_is_not_asked_again() -> None:
    stand = Stand()
    stand.group(1)
    stand.device.end(NvmeIoError("no"))
    stand.group(1)
    assert len(stand.device.asked) == 1


def test_devices_that_make_no_difference() -> None:
    stand = Stand(MemoryDevice(BLOCK))
    stand.group(1)
    stand = Stand()
    stand.device.prepares = False
    stand.ahead = Ahead(stand.device, stand.space)
    stand.group(1)
    assert stand.device.asked == []


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_idle_it_goes_on_to_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "IDLE_S", 0)
    monkeypatch.setattr(ahead, "IDLE_STEP_BLOCKS", STEP_BLOCKS)

    async def run() -> None:
        stand = Stand()
        large = 2 * SMALL_BYTES
        stand.group(1, nbytes=large, idle=True)
        assert stand.device.asked == []
        await _turns()
        for step in range(4):
            assert stand.device.asked[step:] == [(FIRST + 1 + step * STEP_BLOCKS, STEP_BLOCKS)]
            stand.device.end()
        assert len(stand.device.asked) == 4
        stand.group(STEP_BLOCKS, nbytes=large, idle=True)
        await _turns()
        assert len(stand.device.asked) == 5
        stand.group(STEP_BLOCKS, nbytes=large, idle=False)
        stand.device.end()  # no longer idle: no further step
        assert len(stand.device.asked) == 5
        stand.group(1, nbytes=large, idle=True)
        stand.ahead.close()
        await _turns()
        assert len(stand.device.asked) == 5

    asyncio.run(run())


def test_groups_meanwhile_put_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "IDLE_S", 0)

    async def run() -> None:
        stand = Stand()
        stand.group(1, nbytes=2 * SMALL_BYTES, idle=True)
        stand.group(1, nbytes=2 * SMALL_BYTES, idle=False)
        await asyncio.sleep(0)
        assert stand.device.asked == []
        await _turns()
        assert len(stand.device.asked) == 1
        stand.ahead.close()
        stand.device.end()
        assert len(stand.device.asked) == 1

    asyncio.run(run())
