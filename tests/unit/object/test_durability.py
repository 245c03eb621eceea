"""Answers wait for what they tell of: with the flush held back, no reader sees what a power cut
could still take, and nobody waits for anyone else's flush."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from daos.base.errors import NvmeIoError
from daos.base.ids import ObjectType
from daos.base.iod import Cond, QueryFlag
from daos.bio.device import Done, Write
from daos.object import wire
from daos.testing.devices import Image, MemoryDevice, MemoryDirectory
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    array,
    code_of,
    oid_of,
    single,
)

OID, OTHER = oid_of(1), oid_of(2)
NUMBERS = oid_of(3, ObjectType.MULTI_UINT64)
BIG = bytes(range(256)) * 64


class GatedDevice(MemoryDevice):
    """Writes and flushes wait while `shut`."""

    shut = False
    broken = False

    def __init__(self, size_bytes: int, *, name: str, image: Image) -> None:
        super().__init__(size_bytes, name=name, image=image)
        self.waiting: list[tuple[Sequence[Write], bool, Done]] = []

    def submit_write(self, writes: Sequence[Write], *, flush: bool, done: Done) -> None:
        if self.broken:
            error = NvmeIoError("broken")
            asyncio.get_running_loop().call_soon(done, error)
        elif self.shut:
            self.waiting.append((writes, flush, done))
        else:
            super().submit_write(writes, flush=flush, done=done)

    def release(self) -> None:
        self.shut = False
        waiting, self.waiting = self.waiting, []
        for writes, flush, done in waiting:
            self.submit_write(writes, flush=flush, done=done)


class GatedDirectory(MemoryDirectory):
    def _make(self, name: str, image: Image) -> MemoryDevice:
        return GatedDevice(image.size_bytes, name=name, image=image)

    @property
    def shard(self) -> GatedDevice:
        """Of target 0."""
        for name, device in self._open.items():
            if name.endswith("-0"):
                assert isinstance(device, GatedDevice)
                return device
        raise AssertionError("no shard is open")


def gated(
    body: Callable[[ContainerHandle, GatedDevice], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    """A test over a container with one object in it, and its shard's device."""

    def test(tmp_path: Path) -> None:
        async def run() -> None:
            directory = GatedDirectory()
            async with Cluster(tmp_path, targets=1, directory=directory) as cluster:
                container = await (await cluster.pool()).container()
                await container.put(OTHER, b"d", {b"a": b"old"})
                await container.put(OID, b"old", {b"a": b"old"})
                device = directory.shard
                try:
                    await body(container, device)
                finally:
                    device.release()

        asyncio.run(run())

    test.__name__, test.__doc__ = body.__name__, body.__doc__
    return test


async def settle(container: ContainerHandle) -> None:
    """Let everything happen that does not wait for the device."""
    for _ in range(5):
        assert await container.get(OTHER, b"d", b"a") == b"old"


class Waiting:
    """Requests that must not be answered before the flush, and the answers that come then."""

    def __init__(self, *calls: Coroutine[Any, Any, Any]) -> None:
        self.tasks = [asyncio.ensure_future(call) for call in calls]

    def check(self) -> None:
        answered = [number for number, task in enumerate(self.tasks) if task.done()]
        assert not answered, f"answered before the flush: {answered}"

    async def answers(self) -> list[Any]:
        return [await task for task in self.tasks]


@gated
async def test_an_update_is_answered_when_it_is_durable(
    container: ContainerHandle, device: GatedDevice
) -> None:
    device.shut = True
    waiting = Waiting(
        container.put(OID, b"new", {b"a": b"1"}),
        container.punch(OID, b"old"),
        container.put(OID, b"big", {b"a": BIG}),
    )
    await settle(container)
    waiting.check()
    device.release()
    await waiting.answers()


@gated
async def test_what_depends_on_an_unflushed_write_waits(
    container: ContainerHandle, device: GatedDevice
) -> None:
    """A hit, a miss beside it, failed and met conditions, listings, a size: of the same dkey."""
    device.shut = True
    write = Waiting(container.put(OID, b"new", {b"a": b"1", b"big": BIG}))
    await settle(container)
    objects = wire.ObjectListRequest(container.address(OID), b"", 10)
    dkeys = wire.KeyListRequest(container.address(OID), b"", 10)
    akeys = wire.KeyListRequest(container.address(OID), b"", 10, b"new")
    waiting = Waiting(
        container.get(OID, b"new", b"a"),
        container.get(OID, b"new", b"big"),
        container.get(OID, b"new", b"absent"),
        container.fetch(OID, b"new", [single(b"a")], size_only=True),
        code_of(container.fetch(OID, b"new", [single(b"absent")], cond=Cond.AKEY_FETCH)),
        code_of(container.put(OID, b"new", {b"a": b"2"}, cond=Cond.DKEY_INSERT)),
        code_of(container.put(OID, b"new", {b"absent": b"2"}, cond=Cond.AKEY_UPDATE)),
        code_of(container.punch(OID, b"new", b"absent", cond=Cond.PUNCH)),
        container.object(wire.DKEY_LIST, dkeys),
        container.object(wire.AKEY_LIST, akeys),
        container.object(wire.OBJECT_LIST, objects),
    )
    await settle(container)
    write.check()
    waiting.check()
    device.release()
    answers = await waiting.answers()
    assert answers[:3] == [b"1", BIG, None]
    assert answers[3][0].sizes == (1,)
    assert answers[4:8] == ["NONEXIST", "EXIST", "NONEXIST", "NONEXIST"]
    assert set(answers[8].keys) == {b"old", b"new"}
    assert set(answers[9].keys) == {b"a", b"big"}
    assert len(answers[10].objects) == 2


@gated
async def test_what_depends_on_an_unflushed_punch_waits(
    container: ContainerHandle, device: GatedDevice
) -> None:
    """A miss is an answer as well: the punch that made it may still be lost."""
    device.shut = True
    punch = Waiting(container.punch(OID))
    await settle(container)
    waiting = Waiting(
        container.get(OID, b"old", b"a"),
        code_of(container.put(OID, b"old", {b"a": b"2"}, cond=Cond.DKEY_UPDATE)),
        container.object(wire.DKEY_LIST, wire.KeyListRequest(container.address(OID), b"", 10)),
    )
    await settle(container)
    punch.check()
    waiting.check()
    device.release()
    miss, condition, listing = await waiting.answers()
    assert (miss, condition, listing.keys) == (None, "NONEXIST", ())


@gated
async def test_extents_and_queries_wait_too(
    container: ContainerHandle, device: GatedDevice
) -> None:
    key = bytes(8)
    device.shut = True
    write = Waiting(container.update(NUMBERS, key, [array(key, 1, (5, 5))], [b"12345"]))
    await settle(container)
    at = container.address(NUMBERS)
    flags = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX
    waiting = Waiting(
        container.object(wire.RECX_LIST, wire.RecxListRequest(at, key, key, b"", 10)),
        container.object(wire.QUERY_KEY, wire.QueryKeyRequest(at, flags)),
    )
    await settle(container)
    write.check()
    waiting.check()
    device.release()
    extents, query = await waiting.answers()
    assert [(recx.index, recx.count) for recx in extents.recxs] == [(5, 5)]
    assert query.found


@gated
async def test_what_does_not_depend_on_it_is_answered(
    container: ContainerHandle, device: GatedDevice
) -> None:
    """Another dkey, another object, and their listings: nobody waits for a stranger's flush."""
    device.shut = True
    write = Waiting(container.put(OID, b"new", {b"a": b"1"}))
    assert await container.get(OID, b"old", b"a") == b"old"
    assert await container.get(OID, b"old", b"absent") is None
    assert await container.get(OTHER, b"absent", b"a") is None
    missing = container.fetch(OTHER, b"absent", [single(b"a")], cond=Cond.DKEY_FETCH)
    assert await code_of(missing) == "NONEXIST"
    listing = wire.KeyListRequest(container.address(OTHER), b"", 10)
    assert (await container.object(wire.DKEY_LIST, listing)).keys == (b"d",)
    assert await container.get(OID, b"old", b"a", epoch=1) is None
    write.check()
    device.release()
    await write.answers()


@gated
async def test_a_snapshot_waits_for_the_log(
    container: ContainerHandle, device: GatedDevice
) -> None:
    """Even where somebody else's write has raised the clock on the medium already (G3)."""
    device.shut = True
    write = Waiting(container.put(OID, b"new", {b"a": b"1"}))
    await settle(container)
    snapshot = Waiting(container.snapshot())
    await settle(container)
    for waiting in (write, snapshot):
        waiting.check()
    device.release()
    (epoch,) = await snapshot.answers()
    await write.answers()
    assert await container.get(OID, b"new", b"a", epoch=epoch) == b"1"


@gated
async def test_a_failed_flush_is_told_to_all_who_wait_and_all_who_come(
    container: ContainerHandle, device: GatedDevice
) -> None:
    """A poisoned device: writes, and what depended on the lost group, fail; the rest is read."""
    device.shut = True
    waiting = Waiting(
        code_of(container.put(OID, b"new", {b"a": b"1"})),
        code_of(container.get(OID, b"new", b"a")),
        code_of(container.punch(OID, b"new")),
    )
    await settle(container)
    waiting.check()
    device.broken = True
    device.release()
    # Whether the next start finds the changes in the log, nobody knows.
    assert await waiting.answers() == ["TX_UNCERTAIN", "NVME_IO", "TX_UNCERTAIN"]
    for call in (
        container.put(OID, b"more", {b"a": b"1"}),
        container.put(OID, b"more", {b"a": BIG}),
        container.update(OID, b"d", [single(b"a", 0)], []),
        container.punch(OTHER),
        container.get(OID, b"new", b"a"),
        container.snapshot(),
    ):
        assert await code_of(call) == "NVME_IO"
    assert await container.get(OTHER, b"d", b"a") == b"old"
    assert await code_of(container.cluster.system.stop()) == "NVME_IO"
    assert container.cluster.directory._open == {}  # stopped: all is closed all the same
    device.broken = False
