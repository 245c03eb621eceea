from __future__ import annotations

from collections.abc import Sequence

import pytest

from daos.base.checksum import ChecksumType, xxh3
from daos.base.errors import (
    DER,
    AccessError,
    AgainError,
    DaosError,
    ExistsError,
    InvalidError,
    NoSpaceError,
    NotFoundError,
    StaleHandleError,
    TxRestartError,
)
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.bio.device import BLOCK
from daos.bio.space import Extent
from daos.bio.tx import Tx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.update import UpdateState

OID = unit(1)
SINGLE, ARRAY = IodType.SINGLE, IodType.ARRAY


def idle(shard: MemoryShard) -> tuple[object, ...]:
    """What an update that did not happen must leave as it was."""
    space = shard.meta.space.statistics()
    return (
        shard.meta.statistics().tree_entries,
        space.blocks_allocated,
        space.blocks_reserved,
        space.blocks_held,
        shard.meta.memory.statistics().bytes_in_use,
        shard.pool.root.next_id,
        shard.meta.lsn_next,
    )


@on_shard
async def test_cancel_leaves_nothing(shard: MemoryShard, c: VosContainer) -> None:
    before = idle(shard)
    iods = [Iod(b"s", SINGLE, 9000), Iod(b"t", SINGLE, 9), Iod(b"a", ARRAY, 1, (Recx(0, 8192),))]
    update = c.update_begin(OID, b"d", iods)
    assert update.nbytes == sum(len(destination) for destination in update.destinations)
    assert idle(shard) != before
    c.update_cancel(update)
    c.update_cancel(update)
    assert update.state is UpdateState.CANCELED
    assert idle(shard) == before
    assert not c.list_objects(Epoch(99), limit=1).entries


@pytest.mark.parametrize("size", [BLOCK, 5000, 1 << 16, (1 << 16) + 100, 40_960])
@pytest.mark.parametrize("kind", [SINGLE, ARRAY])
@pytest.mark.parametrize("is_known", [True, False])
def test_so_it_does_of_what_left_ahead(size: int, kind: IodType, *, is_known: bool) -> None:
    @on_shard
    async def check(shard: MemoryShard, c: VosContainer) -> None:
        ranges = () if kind is SINGLE else (Recx(3, size),)
        iod = Iod(b"a", kind, 1 if ranges else size, ranges)
        update = c.update_begin(OID, b"d", [iod])
        data = bytes(range(256)) * 300
        update.destinations[0][:] = data[:size]
        c.update_landed(update, xxh3(data[:size]) if is_known else None)
        await shard.meta.durable(c.update_end(update, Epoch(5)))
        await shard.reopen()  # its group is the last one
        c = shard.container()
        fetch = c.fetch_begin(OID, b"d", [iod], Epoch(5))
        c.fetch_read(fetch, lambda error: None)
        assert [bytes(view) for view in fetch.views] == [data[:size]]
        c.fetch_end(fetch)

    check()


@pytest.mark.parametrize(
    "sizes",
    [(BLOCK,), (5000,), (3 * BLOCK,), (BLOCK, 8), (8, BLOCK), (BLOCK, 5000), (BLOCK, BLOCK)],
)
def test_the_log_names_the_checksum_of_every_block_written(
    sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery refuses the last group where one differs, so what is reused must be right."""
    seen: list[tuple[bytes, int]] = []
    before = Tx.write

    def write(tx: Tx, extent: Extent, buffers: Sequence[memoryview], checksum: int) -> None:
        seen.append((b"".join(buffers), checksum))
        before(tx, extent, buffers, checksum)

    @on_shard
    async def check(_: MemoryShard, c: VosContainer) -> None:
        for kind in (ChecksumType.OFF, ChecksumType.ADLER32):
            seen.clear()
            iods = [Iod(b"%d" % n, SINGLE, size) for n, size in enumerate(sizes)]
            update = c.update_begin(OID, b"%d" % kind, iods, csum_type=kind)
            for n, destination in enumerate(update.destinations):
                destination[:] = bytes([n + 1]) * len(destination)
            c.update_end(update, Epoch(10))
            assert len(seen) == sum(size >= BLOCK for size in sizes)
            for data, checksum in seen:
                assert len(data) % BLOCK == 0
                assert checksum == xxh3(data)

    monkeypatch.setattr(Tx, "write", write)
    check()


@on_shard
async def test_memory_comes_back_when_durable(shard: MemoryShard, c: VosContainer) -> None:
    update = c.update_begin(OID, b"d", [Iod(b"s", SINGLE, 9000)])
    update.destinations[0][:] = bytes(9000)
    lsn = c.update_end(update, Epoch(10))
    assert shard.meta.memory.statistics().buffers_in_use == 1
    assert shard.meta.space.statistics().blocks_held == 0
    c.update_cancel(update)  # too late, and no error
    await shard.meta.durable(lsn)
    assert shard.meta.memory.statistics().buffers_in_use == 0


@pytest.mark.parametrize("size", [100, 5000])
@on_shard
async def test_failed_end_cancels(shard: MemoryShard, c: VosContainer, size: int) -> None:
    before = idle(shard)
    for cond in (Cond.DKEY_UPDATE, Cond.AKEY_UPDATE, Cond.DKEY_UPDATE | Cond.AKEY_UPDATE):
        update = c.update_begin(OID, b"d", [Iod(b"s", SINGLE, size)], cond=cond)
        with pytest.raises(NotFoundError):
            c.update_end(update, Epoch(10))
        assert idle(shard) == before
        c.update_cancel(update)
    with pytest.raises(AssertionError):
        c.update_end(update, Epoch(11))


@on_shard
async def test_no_space_changes_nothing(shard: MemoryShard, c: VosContainer) -> None:
    before = idle(shard)
    with pytest.raises(NoSpaceError):
        c.update_begin(OID, b"d", [Iod(b"s", SINGLE, 63 << 20)])
    assert idle(shard) == before


@on_shard
async def test_no_memory_changes_nothing(shard: MemoryShard, c: VosContainer) -> None:
    memory = shard.meta.memory
    taken = memory.acquire(memory.bytes_max)
    assert taken is not None
    before = idle(shard)
    with pytest.raises(AgainError):
        c.update_begin(OID, b"d", [Iod(b"s", SINGLE, 4096)])
    assert idle(shard) == before
    taken.release()


@on_shard
async def test_modification_bound(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.reopen()
    c = shard.container()
    assert c.modification_bound >= 10
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=c.modification_bound)
    with pytest.raises(TxRestartError):
        c.punch(OID, Epoch(10))
    await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=c.modification_bound + 1)
    assert await shard.get(c, OID, b"d", b"a", epoch=c.modification_bound) == b"x"
    assert shard.hlc.now() > 10


@pytest.mark.parametrize(("epoch", "minor"), [(0, 1), (2**64 - 1, 1), (10, 0), (10, 16384)])
@on_shard
async def test_epochs_that_are_none(
    shard: MemoryShard, c: VosContainer, epoch: int, minor: int
) -> None:
    update = c.update_begin(OID, b"d", [Iod(b"a", SINGLE, 1)])
    with pytest.raises(InvalidError):
        c.update_end(update, Epoch(epoch), minor=minor)


@on_shard
async def test_errors_say_what_they_depend_on(shard: MemoryShard, c: VosContainer) -> None:
    lsn = await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.put(c, OID, b"other", {b"a": b"x"}, epoch=10)
    for cond, error in ((Cond.DKEY_INSERT, ExistsError), (Cond.AKEY_INSERT, ExistsError)):
        with pytest.raises(error) as caught:
            await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=20, cond=cond)
        assert caught.value.lsn == lsn
    with pytest.raises(NotFoundError) as missing:
        await shard.put(c, unit(5), b"d", {b"a": b"y"}, epoch=20, cond=Cond.DKEY_UPDATE)
    assert missing.value.lsn == 0


@on_shard
async def test_destroyed_container(shard: MemoryShard, c: VosContainer) -> None:
    update = c.update_begin(OID, b"d", [Iod(b"s", SINGLE, 5000)])
    shard.pool.destroy_container(c.uuid)
    with pytest.raises(StaleHandleError):
        c.update_end(update, Epoch(10))
    assert shard.meta.space.statistics().blocks_reserved == 0
    with pytest.raises(StaleHandleError):
        c.update_begin(OID, b"d", [Iod(b"s", SINGLE, 1)])


@pytest.mark.parametrize("kind", list(ChecksumType))
@on_shard
async def test_every_checksum(shard: MemoryShard, c: VosContainer, kind: ChecksumType) -> None:
    iods = [
        Iod(b"inline", SINGLE, 100),
        Iod(b"stored", SINGLE, 9000),
        Iod(b"array", ARRAY, 1, (Recx(0, 100), Recx(200, 9000))),
    ]
    update = c.update_begin(OID, b"d", iods, csum_type=kind, csum_chunk=1024)
    for number, destination in enumerate(update.destinations):
        destination[:] = bytes([number]) * len(destination)
    await shard.meta.durable(c.update_end(update, Epoch(10)))
    assert await shard.get(c, OID, b"d", b"inline", epoch=10) == bytes(100)
    assert await shard.get(c, OID, b"d", b"stored", epoch=10) == b"\1" * 9000
    assert await shard.read(c, OID, (b"d", b"array"), (50, 1300), epoch=10) == (
        b"\2" * 50 + b"." * 100 + b"\3" * 1100
    )


@on_shard
async def test_checksum_arguments(shard: MemoryShard, c: VosContainer) -> None:
    for chunk in (-1, 1 << 31):
        with pytest.raises(InvalidError):
            c.update_begin(OID, b"d", [Iod(b"a", SINGLE, 1)], csum_chunk=chunk)


@on_shard
async def test_incarnations(shard: MemoryShard, c: VosContainer) -> None:
    """What is older than a punch, at any level, never comes back with what is written later."""
    epoch = 10
    for dkey, akeys in ((None, []), (b"d", []), (b"d", [b"s", b"a", b"t"])):
        await shard.put(c, OID, b"d", {b"s": b"old", b"t": b"old"}, epoch=epoch)
        await shard.write(c, OID, (b"d", b"a"), {0: b"old"}, epoch=epoch)
        c.punch(OID, Epoch(epoch + 1), dkey=dkey, akeys=akeys)
        await shard.put(c, OID, b"d", {b"t": b"new"}, epoch=epoch + 2)
        assert await shard.get(c, OID, b"d", b"s", epoch=epoch + 2) is None
        assert await shard.get(c, OID, b"d", b"t", epoch=epoch + 2) == b"new"
        await shard.write(c, OID, (b"d", b"a"), {10: b"new"}, epoch=epoch + 3)
        got = await shard.read(c, OID, (b"d", b"a"), (0, 13), epoch=epoch + 3)
        assert got == b"." * 10 + b"new"
        assert await shard.get(c, OID, b"d", b"s", epoch=epoch) == b"old"
        epoch += 10


@on_shard
async def test_epochs_out_of_order(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"30"}, epoch=30)
    await shard.put(c, OID, b"d", {b"a": b"10"}, epoch=10)
    await shard.put(c, OID, b"d", {b"a": b"20"}, epoch=20)
    for epoch in (10, 15, 20, 29, 30, 31):
        want = b"%d" % min(30, epoch // 10 * 10)
        assert await shard.get(c, OID, b"d", b"a", epoch=epoch) == want
    c.punch(OID, Epoch(40))
    await shard.put(c, OID, b"e", {b"a": b"35"}, epoch=35)
    assert await shard.get(c, OID, b"e", b"a", epoch=39) == b"35"
    assert await shard.get(c, OID, b"e", b"a", epoch=40) is None


@on_shard
async def test_late_writes_below_an_emptiness_check(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    c.punch(OID, Epoch(30), dkey=b"d", akeys=[b"a"])  # the dkey goes too
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, b"d", {b"b": b"y"}, epoch=20)
    await shard.put(c, OID, b"d", {b"b": b"y"}, epoch=31)
    assert await shard.get(c, OID, b"d", b"b", epoch=31) == b"y"
    assert await shard.get(c, OID, b"d", b"b", epoch=30) is None


@on_shard
async def test_conditions_by_level(shard: MemoryShard, c: VosContainer) -> None:
    async def put(cond: int, epoch: int, dkey: bytes = b"d", akey: bytes = b"a") -> None:
        await shard.put(c, OID, dkey, {akey: b"%d" % epoch}, epoch=epoch, cond=cond)

    await put(Cond.DKEY_INSERT | Cond.AKEY_INSERT, 10)
    with pytest.raises(ExistsError):
        await put(Cond.DKEY_INSERT, 11)
    with pytest.raises(NotFoundError):
        await put(Cond.DKEY_UPDATE, 12, b"none")
    with pytest.raises(NotFoundError):
        await put(Cond.AKEY_UPDATE, 13, b"d", b"none")
    await put(Cond.AKEY_UPDATE, 14)
    await put(Cond.DKEY_UPDATE, 15, b"d", b"b")
    # Below the creation it does not exist.
    with pytest.raises(NotFoundError):
        await put(Cond.DKEY_UPDATE, 9)
    await put(Cond.DKEY_INSERT, 8)
    c.punch(OID, Epoch(20), dkey=b"d")
    with pytest.raises(NotFoundError):
        await put(Cond.DKEY_UPDATE, 21)
    await put(Cond.DKEY_INSERT, 22)
    with pytest.raises(ExistsError):
        await put(Cond.AKEY_INSERT, 23)
    await put(Cond.AKEY_INSERT, 24, b"d", b"b")


@on_shard
async def test_same_epoch(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.write(c, OID, (b"d", b"r"), {0: b"x" * 10}, epoch=10)
    with pytest.raises(DaosError) as caught:
        await shard.put(c, OID, b"d", {b"a": b""}, epoch=10)
    assert caught.value.code is DER.NO_PERM
    with pytest.raises(DaosError) as caught:
        await shard.write(c, OID, (b"d", b"r"), {5: b"x" * 10}, epoch=10)
    assert caught.value.code is DER.VOS_PARTIAL_UPDATE
    with pytest.raises(AccessError):
        c.punch(OID, Epoch(10))
    c.punch(OID, Epoch(20))
    with pytest.raises(AccessError):
        await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=20)


@on_shard
async def test_one_type_for_life(shard: MemoryShard, c: VosContainer) -> None:
    lsn = await shard.put(c, OID, b"d", {b"s": b"x"}, epoch=10)
    with pytest.raises(AccessError, match="SINGLE") as caught:
        await shard.write(c, OID, (b"d", b"s"), {0: b"x"}, epoch=11)
    assert caught.value.lsn == lsn
    # A punch decides as well.
    hole = Iod(b"a", ARRAY, 0, (Recx(0, 1 << 40),))
    await shard.update(c, OID, b"d", [hole], b"", epoch=12)
    with pytest.raises(AccessError, match="ARRAY"):
        await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=13)
    # The size of records is open until there are some.
    await shard.write(c, OID, (b"d", b"a"), {0: b"1234"}, epoch=14, record_size=4)
    with pytest.raises(InvalidError):
        await shard.write(c, OID, (b"d", b"a"), {0: b"1234"}, epoch=15, record_size=2)


@on_shard
async def test_several_akeys_are_atomic(shard: MemoryShard, c: VosContainer) -> None:
    await shard.write(c, OID, (b"d", b"z"), {0: b"12"}, epoch=5, record_size=2)
    iods = [Iod(b"a", SINGLE, 5000), Iod(b"z", ARRAY, 1, (Recx(0, 5000),))]
    with pytest.raises(InvalidError):
        await shard.update(c, OID, b"d", iods, bytes(10000), epoch=10)
    assert await shard.get(c, OID, b"d", b"a", epoch=99) is None
    assert shard.meta.space.blocks_allocated == 0
    good = [Iod(b"a", SINGLE, 3), Iod(b"b", SINGLE, 5000), Iod(b"p", SINGLE, 0)]
    await shard.update(c, OID, b"d", good, b"abc" + b"y" * 5000, epoch=11)
    assert await shard.get(c, OID, b"d", b"a", epoch=11) == b"abc"
    assert await shard.get(c, OID, b"d", b"b", epoch=11) == b"y" * 5000
    assert await shard.get(c, OID, b"d", b"p", epoch=11) is None
    assert c.list_akeys(OID, b"d", Epoch(11), limit=9).entries.__len__() == 4
