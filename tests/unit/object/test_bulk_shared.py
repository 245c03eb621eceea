"""Large values through memory that client and target share; each end changes its mind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bench.stand import HANDLE, Stand, open_stand
from daos.base.checksum import ChecksumType
from daos.base.errors import DER, ChecksumError, DaosError
from daos.base.ids import ContainerUuid, HandleUuid, PoolUuid
from daos.base.iod import Iod, IodType, Recx
from daos.cart.bulk_service import BulkEnd
from daos.cart.transport.sm import SmTransport
from daos.client.landing import RecordsLanding
from daos.client.memory import Buffer
from daos.engine.target import Kept
from daos.object import fetching
from daos.object.client import ObjectClient
from daos.object.link import Call
from daos.testing.devices import MemoryDirectory

MiB = 1 << 20
CHECKED = HandleUuid(uuid.UUID(int=9))


class Bench:
    """A stand over a Unix socket, and an object in a container with checksums."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        link = stand.object()._link
        replace = {"handle": CHECKED.bytes, "checksum_type": ChecksumType.CRC32}
        for name, value in replace.items():
            object.__setattr__(link, name, value)
        plain = stand.object()
        self.object = ObjectClient(link, plain.oid, plain.layout)
        self.cancels: list[Callable[[], None]] = []

    def buffer(self, nbytes: int) -> Buffer:
        return Buffer(nbytes, self.stand.client.shared)

    def call(self, seconds: float = 60) -> Call:
        return Call(self.stand.clock.now_ns() + int(seconds * 1e9))

    def update(self, memory: memoryview) -> asyncio.Future[object]:
        future: asyncio.Future[object] = self.stand.loop.create_future()
        self.cancels.append(
            self.object.update(
                b"d", [iod(memory.nbytes)], [memory], call=self.call(), done=_settles(future)
            )
        )
        return future

    def fetch(self, landing: RecordsLanding, nbytes: int) -> asyncio.Future[object]:
        future: asyncio.Future[object] = self.stand.loop.create_future()
        self.cancels.append(
            self.object.fetch(
                b"d",
                [iod(nbytes)],
                landing.into,
                room=landing.room,
                call=self.call(),
                done=_settles(future),
            )
        )
        return future

    async def copying(self) -> None:
        """Wait until the target has copied something."""
        before = self.copied
        for _ in range(10_000):
            if self.copied != before:
                return
            await asyncio.sleep(0)
        raise AssertionError("nothing was copied")

    @property
    def copied(self) -> int:
        return self.stand.server.statistics().bulk_bytes_copied


def iod(nbytes: int) -> Iod:
    return Iod(b"a", IodType.ARRAY, 1, (Recx(0, nbytes),))


def _settles(future: asyncio.Future[object]) -> Callable[[object, DaosError | None], None]:
    def done(result: object, error: DaosError | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return done


def on_sm(body: Callable[[Bench], Awaitable[None]]) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            loop = asyncio.get_running_loop()
            transport = SmTransport(loop, lambda to: f"{tmp_path}/{to.rank}.{to.tag}")
            async with open_stand(MemoryDirectory(), tmp_path, transport=transport) as stand:
                handle = stand.target.handle(HANDLE.bytes, stand.pool, write=True)
                await stand.target.open_handle(
                    PoolUuid(handle.shard.pool),
                    ContainerUuid(handle.container.uuid),
                    handle=CHECKED,
                    kept=Kept((), 0, "disabled"),
                    writable=True,
                    checksum_type=ChecksumType.CRC32,
                    checksum_chunk=0,
                )
                bench = Bench(stand)
                async with asyncio.timeout(20):
                    await body(bench)
                    for _ in range(10):
                        await asyncio.sleep(0)
                assert stand.meta.memory.statistics().bytes_in_use == 0
                assert stand.client.statistics().bulk_regions == 0

        asyncio.run(run())

    return test


@on_sm
async def test_a_byte_that_changes_under_way_is_found_and_nothing_is_written(bench: Bench) -> None:
    memory = bench.buffer(16 * MiB)
    memory[:] = b"x" * len(memory)
    await bench.update(memory.view[:MiB])
    memory[:] = b"y" * len(memory)
    update = bench.update(memory.view)
    memory[MiB + 5] ^= 1
    with pytest.raises(ChecksumError, match="value 0"):
        await update
    landing = RecordsLanding(memory.view, 1)
    await bench.fetch(landing, len(memory))
    landing.fill(len(memory))
    assert memory[:] == b"x" * MiB + bytes(15 * MiB)


@on_sm
async def test_what_is_stored_is_what_was_checked(bench: Bench) -> None:
    """The client changes its memory after the target has copied it: that is too late."""
    memory = bench.buffer(MiB)
    memory[:] = b"x" * MiB
    update = bench.update(memory.view)
    await bench.copying()
    memory[:] = b"?" * MiB
    await update
    landing = RecordsLanding(memory.view, 1)
    await bench.fetch(landing, MiB)
    assert memory[:] == b"x" * MiB


@on_sm
async def test_a_fetch_ends_when_its_memory_has_been_returned(bench: Bench) -> None:
    memory = bench.buffer(16 * MiB)
    memory[:] = b"x" * len(memory)
    await bench.update(memory.view)
    memory[:] = bytes(len(memory))
    fetch = bench.fetch(RecordsLanding(memory.view, 1), len(memory))
    await bench.copying()
    bench.cancels[-1]()
    with pytest.raises(DaosError) as caught:
        await fetch
    assert caught.value.code is DER.CANCELED
    seen = memory[:]
    for _ in range(50):
        await asyncio.sleep(0)
    assert memory[:] == seen
    assert not any(seen[-MiB:])


def mappings_of(end: BulkEnd) -> list[memoryview]:
    """What a stuck end still has of its peer's memory."""
    pairs = [pair for _, transfer in end.port._copying for pair in transfer.pairs]
    return [into for into, _ in pairs]


def test_a_target_that_keeps_memory_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "RETURN_S", 0.01)

    @on_sm
    async def test(bench: Bench) -> None:
        memory = bench.buffer(16 * MiB)
        memory[:] = b"x" * len(memory)
        await bench.update(memory.view)
        fetch = bench.fetch(RecordsLanding(memory.view, 1), len(memory))
        await bench.copying()
        ends = list(bench.stand.server._station.bulk_ends)
        for end in ends:  # it gets stuck
            monkeypatch.setattr(end, "_wake", lambda: None)
            monkeypatch.setattr(end.port, "_wake", lambda: None)
        kept = [mapped for end in ends for mapped in mappings_of(end)]
        assert kept
        bench.cancels[-1]()
        with pytest.raises(DaosError) as caught:
            await fetch
        assert caught.value.code is DER.CANCELED
        monkeypatch.undo()
        memory[:] = b"y" * len(memory)
        for end in ends:  # it goes on
            end._tell()
        for mapped in kept:
            mapped[:] = b"?" * len(mapped)
        assert memory[:] == b"y" * len(memory)
        await bench.update(memory.view)
        memory[:] = bytes(len(memory))
        landing = RecordsLanding(memory.view, 1)
        await bench.fetch(landing, len(memory))
        assert memory[:] == b"y" * len(memory)

    test(tmp_path)
