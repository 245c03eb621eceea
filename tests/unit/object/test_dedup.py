"""Deduplication by the object service: bytes compared, space saved, blocks that are damaged."""

from __future__ import annotations

import asyncio
import random
import uuid

import pytest

from daos.bio.memory import Buffer
from daos.object import comparison
from daos.vos import dedup
from tests.unit.embedded.cluster import (
    Cluster,
    ContainerHandle,
    FullLog,
    array,
    code_of,
    oid_of,
    on_cluster,
)
from tests.unit.object.test_server import held

OID = oid_of()
CHUNK = 16 << 10


def content(index: int) -> bytes:
    return random.Random(index).randbytes(CHUNK)


async def opened(cluster: Cluster, mode: str, threshold: str = "4096") -> ContainerHandle:
    pool = await cluster.pool()
    return await pool.container(props={"dedup": mode, "dedup_threshold": threshold})


async def write(container: ContainerHandle, lo: int, *values: bytes) -> int:
    ranges = [(lo + index * CHUNK, CHUNK) for index in range(len(values))]
    return await container.update(OID, b"d", [array(b"a", 1, *ranges)], list(values))


async def read(container: ContainerHandle, lo: int, count: int) -> bytes:
    _, data = await container.fetch(OID, b"d", [array(b"a", 1, (lo, count))])
    return data


async def free(container: ContainerHandle) -> int:
    """Bytes for data, as the pool tells."""
    return (await container.pool.query()).tiers[1].free


@pytest.mark.parametrize("mode", ["memcmp", "hash"])
@on_cluster
async def test_space_is_saved(cluster: Cluster, mode: str) -> None:
    container = await opened(cluster, mode)
    assert (await container.props())["dedup"] == mode
    await write(container, 0, content(0))
    before = await free(container)
    for number in range(1, 20):
        await write(container, number * CHUNK, content(0))
    assert before - await free(container) < CHUNK  # growth of the tree, perhaps
    await write(container, 30 * CHUNK, content(1))
    assert CHUNK <= before - await free(container) < 3 * CHUNK
    assert await read(container, 0, 20 * CHUNK) == content(0) * 20
    await cluster.restart(checkpoint=False)
    pool = await cluster.connect(container.pool.pool)
    container = await pool.open("c1")
    before = await free(container)
    await write(container, 40 * CHUNK, content(0), content(1))
    assert before - await free(container) < CHUNK
    assert await read(container, 40 * CHUNK, 2 * CHUNK) == content(0) + content(1)


@on_cluster
async def test_without_the_property_nothing_is_shared(cluster: Cluster) -> None:
    container = await opened(cluster, "off")
    await write(container, 0, content(0))
    before = held(container)
    await write(container, CHUNK, content(0))
    assert before.blocks_free - held(container).blocks_free == CHUNK // 4096


@on_cluster
async def test_extents_below_the_threshold_are_stored_as_they_come(cluster: Cluster) -> None:
    container = await opened(cluster, "hash", str(CHUNK + 1))
    await write(container, 0, content(0))
    before = held(container)
    await write(container, CHUNK, content(0))
    assert before.blocks_free - held(container).blocks_free == CHUNK // 4096


@pytest.mark.parametrize("mode", ["memcmp", "hash"])
@on_cluster
async def test_many_at_once(cluster: Cluster, mode: str) -> None:
    """Equal extents in flight together: whatever was shared, every reader gets its bytes."""
    container = await opened(cluster, mode)
    await write(container, 0, content(0))
    before = held(container)
    await asyncio.gather(
        *(write(container, number * CHUNK, content(number % 3)) for number in range(1, 40))
    )
    for number in range(1, 40):
        assert await read(container, number * CHUNK, CHUNK) == content(number % 3)
    taken = before.blocks_free - held(container).blocks_free
    assert taken <= (2 if mode == "hash" else 26) * CHUNK // 4096
    assert held(container)[1:3] == (0, 0)


@on_cluster
async def test_comparing_when_the_log_is_full(cluster: Cluster) -> None:
    container = await opened(cluster, "memcmp")
    await write(container, 0, content(0))
    before = held(container)
    log = FullLog(cluster.shard(container.pool.pool))
    writing = asyncio.ensure_future(write(container, CHUNK, content(0)))
    await log.waiters(1)
    log.make_room()
    await writing
    assert held(container) == before
    assert await read(container, CHUNK, CHUNK) == content(0)


@on_cluster
async def test_a_stored_block_that_is_damaged_is_not_shared(cluster: Cluster) -> None:
    container = await opened(cluster, "memcmp")
    await write(container, 0, content(0))
    name = f"pool-{uuid.UUID(bytes=container.pool.pool)}-0"
    image = cluster.directory.images[name]
    for at in range(0, image.size_bytes, 4096):
        block = bytes(image.read(at, 4096))
        if block == content(0)[:4096]:
            image.write(at, b"?" + block[1:])
    assert await code_of(read(container, 0, CHUNK)) == "CSUM"
    await write(container, CHUNK, content(0))
    assert await read(container, CHUNK, CHUNK) == content(0)


@on_cluster
async def test_a_handle_closed_while_bytes_are_compared(cluster: Cluster) -> None:
    container = await opened(cluster, "memcmp")
    await write(container, 0, content(0))
    before = held(container)
    log = FullLog(cluster.shard(container.pool.pool))
    writing = asyncio.ensure_future(code_of(write(container, CHUNK, content(0))))
    await log.waiters(1)
    await container.close()
    log.make_room()
    assert await writing == "NO_HDL"
    assert held(container) == before


class AlwaysTheSame:
    """A hash of whatever it is given."""

    def update(self, data: memoryview) -> None:
        pass

    def digest(self) -> bytes:
        return bytes(16)


@pytest.mark.parametrize(("at", "slices"), [(0, 1), (CHUNK - 1, 4), (None, 4)])
@on_cluster
async def test_bytes_are_compared_a_slice_a_turn(
    cluster: Cluster, at: int | None, slices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedup.xxhash, "xxh3_128", AlwaysTheSame)
    monkeypatch.setattr(comparison, "_TURN_BYTES", CHUNK // 4)
    container = await opened(cluster, "memcmp")
    await write(container, 0, content(0))
    before = held(container)
    value = bytearray(content(0))
    if at is not None:
        value[at] ^= 1
    begun, compare = list[int](), comparison.Comparison._compare

    def counting(work: comparison.Comparison, match: dedup.Match, buffer: Buffer, at: int) -> bool:
        begun.append(at)
        return compare(work, match, buffer, at)

    monkeypatch.setattr(comparison.Comparison, "_compare", counting)
    await write(container, CHUNK, bytes(value))
    assert begun == [CHUNK // 4 * number for number in range(slices)]
    taken = before.blocks_free - held(container).blocks_free
    assert taken == (0 if at is None else CHUNK // 4096)
    assert await read(container, CHUNK, CHUNK) == bytes(value)
