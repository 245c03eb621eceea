"""Processor time of the target's part, without a client's.

    store    update_begin, the bytes copied in, update_end, its share of the log group;
             fetch_begin, fetch_read from the page cache, the bytes copied out, fetch_end
    target   the same from the first byte of the request's frame to the last of the reply's

Thread time of the loop's thread, 64 operations a turn; the device's own threads are left out, and
so are its flushes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench.counts import BLOCK_EXTENT, BLOCK_VALUE, SMALL, Shape
from bench.report import at_most
from bench.run import Run
from bench.stand import HANDLE, Stand, UnflushedDirectory, object_id, open_stand
from bench.tape import Frames, Tape
from daos.base.checksum import ChecksumType, compute, on_the_way
from daos.base.errors import DaosError
from daos.base.ids import ShardIndex, UnitOid
from daos.bio.file_directory import FileDirectory
from daos.cart.framing import Limits
from daos.cart.session import CallerSession
from daos.cart.wire import ANONYMOUS
from daos.object import wire

_TURN: Final = 64
_UPDATE_US: Final = 25
_FETCH_US: Final = 15
_SIZE: Final = 1 << 30


class _Reading:
    """Told by a fetch when it has read; awaited only where that was not at once."""

    __slots__ = ("_future", "over")

    def __init__(self) -> None:
        self.over = False
        self._future: asyncio.Future[None] | None = None

    def __call__(self, error: DaosError | None) -> None:
        assert error is None, error
        self.over = True
        if self._future is not None:
            self._future.set_result(None)

    async def wait(self) -> None:
        """Until the reading thread is through."""
        self._future = asyncio.get_running_loop().create_future()
        await self._future


async def store_updates_s(stand: Stand, shape: Shape, keys: range) -> float:
    """Processor seconds for updates of these dkeys by VOS and its log."""
    container, iods = stand.container, shape.iods
    unit = UnitOid(object_id(shape.number), ShardIndex(0))
    value = bytes(shape.nbytes)
    began = time.thread_time()
    for first in range(0, len(keys), _TURN):
        lsn = stand.meta.lsn_last
        for key in keys[first : first + _TURN]:
            update = container.update_begin(unit, b"%08d" % key, iods)
            update.destinations[0][:] = value
            lsn = container.update_end(update, stand.hlc.now())
        await stand.meta.durable(lsn)
    return time.thread_time() - began


async def store_fetches_s(stand: Stand, shape: Shape, keys: range) -> float:
    """Processor seconds for fetches of these dkeys by VOS."""
    container, iods = stand.container, shape.iods
    unit = UnitOid(object_id(shape.number), ShardIndex(0))
    into = bytearray(shape.nbytes)
    began = time.thread_time()
    for key in keys:
        fetch = container.fetch_begin(unit, b"%08d" % key, iods, stand.hlc.now())
        reading = _Reading()
        container.fetch_read(fetch, reading)
        if not reading.over:
            await reading.wait()
        into[:] = fetch.views[0]
        container.fetch_end(fetch)
    return time.thread_time() - began


def make_frames(stand: Stand, shape: Shape, keys: range, *, update: bool) -> list[Frames]:
    """The requests as a client's session would send them: the frames of each turn."""
    limits = Limits(inflight_max=len(keys), serving_max=len(keys), outbox_size_max=1 << 40)
    session: CallerSession[None] = CallerSession(
        limits, peer=stand.endpoint, source=ANONYMOUS, rpc_id_first=stand.hlc.now() >> 8
    )
    oid = object_id(shape.number)
    address = wire.ShardAddress(HANDLE.bytes, oid.hi, oid.lo, 0, 1, 0, stand.pool)
    value = memoryview(bytes(shape.nbytes))
    sums = (compute(on_the_way(ChecksumType.OFF), value),)
    deadline_ns = stand.call().deadline_ns
    turns: list[Frames] = []
    for first in range(0, len(keys), _TURN):
        for key in keys[first : first + _TURN]:
            dkey = b"%08d" % key
            payload: tuple[memoryview, ...]
            if update:
                dtx = stand.new_dtx()
                request = wire.UpdateRequest(address, dkey, shape.iods, checksums=sums, dtx=dtx)
                body = wire.UPDATE.encode(request)
                opcode, payload = wire.UPDATE.opcode, (value,)
            else:
                body = wire.FETCH.encode(wire.FetchRequest(address, dkey, shape.iods))
                opcode, payload = wire.FETCH.opcode, ()
            session.request(None, opcode, body, payload, deadline_ns=deadline_ns)
        turns.append(session.data_to_send(1 << 40, stand.hlc.now()))
        session.data_sent()
    return turns


async def target_s(stand: Stand, tape: Tape, turns: list[Frames]) -> float:
    """Processor seconds of the target for these frames."""
    began = time.thread_time()
    for frames in turns:
        tape.play(frames)
        await stand.meta.durable(stand.meta.lsn_last)
        # One turn for the replies to leave, one for what hears of it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # Reads that are not in the page cache; nothing tells of the last reply but the count.
        while stand.server.statistics().serving:  # noqa: ASYNC110
            await asyncio.sleep(0)
    return time.thread_time() - began


def run(run: Run) -> None:
    """Budgets of the design: 25 µs an update, 15 µs a fetch of 4 KiB, of the whole target."""
    count = 1024  # all of their nodes stay in the store's cache
    for shape in (SMALL, BLOCK_VALUE, BLOCK_EXTENT):
        found = run.in_loop(_measure, run, shape, count)
        for name, seconds in found.items():
            budget = None
            if shape is BLOCK_VALUE and name.startswith("target"):
                budget = at_most(_UPDATE_US if "update" in name else _FETCH_US)
            run.row(f"{shape.name}: {name}", seconds / count * 1e6, "µs", budget=budget)


async def _measure(run: Run, shape: Shape, count: int) -> dict[str, float]:
    place = run.new_directory()
    (place / "devices").mkdir()
    directory = UnflushedDirectory(FileDirectory(place / "devices"))
    tape = Tape(asyncio.get_running_loop())
    best: dict[str, float] = {}

    def keep(name: str, seconds: float) -> None:
        best[name] = min(best.get(name, seconds), seconds)

    async with open_stand(directory, place / "live", size_bytes=_SIZE, transport=tape) as stand:
        for number in range(run.rounds):
            keys = range(number * count, (number + 1) * count)
            other = range(-keys.stop, -keys.start)
            keep("store, update of a new dkey", await store_updates_s(stand, shape, keys))
            keep("store, update of a known dkey", await store_updates_s(stand, shape, keys))
            await store_fetches_s(stand, shape, keys)  # brings the blocks into the page cache
            keep("store, fetch", await store_fetches_s(stand, shape, keys))
            for name in ("new", "known"):
                turns = make_frames(stand, shape, other, update=True)
                keep(f"target, update of a {name} dkey", await target_s(stand, tape, turns))
            turns = make_frames(stand, shape, keys, update=False)
            keep("target, fetch", await target_s(stand, tape, turns))
    return best
