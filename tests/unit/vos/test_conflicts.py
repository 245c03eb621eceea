"""What operations of transactions do about others; the whole matrix stands in
tests/conformance/reference/test_mvcc.py."""

from __future__ import annotations

import pytest

from daos.base.errors import DER, DaosError, ExistsError, NotFoundError, TxRestartError
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.timestamps import Operation

OID = unit(1)
A, B = Operation(b"a" * 24), Operation(b"b" * 24)


def until(bound: int) -> Operation:
    return Operation(b"u" * 24, bound)


def array(*recxs: tuple[int, int], size: int = 0) -> Iod:
    return Iod(b"a", IodType.ARRAY, size, tuple(Recx(*recx) for recx in recxs))


async def write(shard: MemoryShard, c: VosContainer, lo: int, epoch: int, op: Operation) -> None:
    await shard.update(c, OID, b"d", [array((lo, 1), size=1)], b"x", epoch=epoch, op=op)


@on_shard
async def test_doubt_about_an_array_ends_at_its_ranges(shard: MemoryShard, c: VosContainer) -> None:
    await write(shard, c, 0, 10, A)
    await write(shard, c, 5, 30, A)
    iods = [array((0, 2))]
    fetch, views = await shard.fetch(c, OID, b"d", iods, epoch=20, op=until(30))
    assert (fetch.sizes, views) == ([1], [b"x"])
    for recx in ((5, 1), (3, 3), (4, 9)):
        with pytest.raises(TxRestartError):
            c.fetch_begin(OID, b"d", [array((0, 1), recx)], Epoch(20), op=until(30))
        c.fetch_end(c.fetch_begin(OID, b"d", [array(recx)], Epoch(20), op=until(29)))
    await write(shard, c, 4, 20, until(30))
    with pytest.raises(TxRestartError):
        await write(shard, c, 5, 20, until(30))


@on_shard
async def test_an_update_need_not_know_what_was_there(shard: MemoryShard, c: VosContainer) -> None:
    """Only a condition, and a reader, hang on the creation of the dkey by somebody else."""
    await shard.put(c, OID, b"d", {b"other": b"x"}, epoch=30, op=A)
    with pytest.raises(TxRestartError):
        await shard.get(c, OID, b"d", b"a", epoch=20, op=until(40))
    for cond in (Cond.DKEY_INSERT, Cond.AKEY_INSERT, Cond.AKEY_UPDATE):
        with pytest.raises(TxRestartError):
            await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=20, cond=cond, op=until(40))
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=20, op=until(40))
    await shard.put(c, OID, b"new", {b"a": b"x"}, epoch=21, cond=Cond.DKEY_INSERT, op=until(29))


@on_shard
async def test_doubt_lets_go_of_what_was_found(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x" * 5000}, epoch=10, op=A)
    await shard.put(c, OID, b"d", {b"a": b"y" * 5000}, epoch=30, op=A)
    with pytest.raises(TxRestartError):
        c.fetch_begin(OID, b"d", [Iod(b"a", IodType.SINGLE, 0)], Epoch(20), op=until(30))
    assert shard.meta.space.statistics().pins == 0


@on_shard
async def test_conditions_of_single_akeys_read_these(shard: MemoryShard, c: VosContainer) -> None:
    async def put(epoch: int, conds: tuple[int, int], op: Operation) -> None:
        iods = [
            Iod(b"a", IodType.SINGLE, 1, cond=conds[0]),
            Iod(b"b", IodType.SINGLE, 1, (), conds[1]),
        ]
        await shard.update(c, OID, b"d", iods, b"12", epoch=epoch, cond=Cond.PER_AKEY, op=op)

    await put(50, (Cond.AKEY_INSERT, 0), A)
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=40, op=B)
    await shard.put(c, OID, b"d", {b"b": b"x"}, epoch=40, op=B)
    with pytest.raises(ExistsError):
        await put(60, (0, Cond.AKEY_INSERT), A)
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, b"d", {b"b": b"x"}, epoch=55, op=B)
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=55, op=B)


@on_shard
async def test_two_values_of_one_transaction_at_one_epoch(
    shard: MemoryShard, c: VosContainer
) -> None:
    """The later one counts; another transaction gets what its write deserves."""
    await shard.put(c, OID, b"d", {b"a": b"1"}, epoch=10, minor=1, op=A)
    await shard.put(c, OID, b"d", {b"a": b"2"}, epoch=10, minor=2, op=A)
    assert await shard.get(c, OID, b"d", b"a", epoch=10) == b"2"
    for minor in (1, 2):
        with pytest.raises(DaosError) as caught:
            await shard.put(c, OID, b"d", {b"a": b"3"}, epoch=10, minor=minor, op=A)
        assert caught.value.code == DER.NO_PERM
    with pytest.raises(DaosError) as caught:
        await shard.put(c, OID, b"d", {b"a": b"3"}, epoch=10)
    assert caught.value.code == DER.NO_PERM
    assert await shard.get(c, OID, b"d", b"a", epoch=10, op=A) == b"2"
    with pytest.raises(TxRestartError):  # read at 10: that is why
        await shard.put(c, OID, b"d", {b"a": b"3"}, epoch=10, minor=2, op=B)
    with pytest.raises(DaosError) as caught:
        c.punch(OID, Epoch(10), dkey=b"d", akeys=[b"a"], minor=1, op=A)
    assert caught.value.code == DER.NO_PERM
    with pytest.raises(TxRestartError):
        c.punch(OID, Epoch(10), dkey=b"d", akeys=[b"a"], minor=1, op=B)
    with pytest.raises(DaosError) as caught:
        await shard.update(c, OID, b"d", [array((0, 1), size=1)], b"x", epoch=10, op=A)
    assert caught.value.code == DER.NO_PERM


@on_shard
async def test_without_a_transaction_nothing_is_read(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    assert await shard.get(c, OID, b"d", b"a", epoch=50) == b"x"
    with pytest.raises(NotFoundError):
        await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=60, cond=Cond.DKEY_UPDATE)
    await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=40, op=A)
    await shard.put(c, OID, b"e", {b"a": b"y"}, epoch=40, op=A)


@on_shard
async def test_a_refused_update_may_come_again(shard: MemoryShard, c: VosContainer) -> None:
    assert await shard.get(c, OID, b"d", b"a", epoch=50, op=A) is None
    update = c.update_begin(OID, b"d", [Iod(b"a", IodType.SINGLE, 5000)])
    update.destinations[0][:] = b"v" * 5000
    for epoch in (49, 50):
        with pytest.raises(TxRestartError):
            c.update_end(update, Epoch(epoch))
    await shard.meta.durable(c.update_end(update, Epoch(51)))
    assert await shard.get(c, OID, b"d", b"a", epoch=51) == b"v" * 5000
    assert shard.meta.space.statistics().blocks_held == 0


@on_shard
async def test_listings_in_doubt(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=30, op=A)
    with c.reading(until(40), Epoch(20), OID, b"d"):
        assert c.list_akeys(OID, b"d", Epoch(20), limit=9).entries == [b"a"]
    for names in ((), (OID,), (OID, b"e")):
        with pytest.raises(TxRestartError), c.reading(until(40), Epoch(20), *names):
            pass
    with c.reading(until(40), Epoch(20), unit(3), b"d", b"a"):
        assert not c.list_akeys(unit(3), b"d", Epoch(20), limit=9).entries
    with pytest.raises(NotFoundError), c.reading(until(40), Epoch(20), unit(2)):
        raise NotFoundError("as a query says it")
    with pytest.raises(TxRestartError):  # that was a read
        await shard.put(c, unit(2), b"d", {b"a": b"x"}, epoch=19, op=A)
