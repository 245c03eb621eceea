"""Key queries of a target, and the newest epoch with them."""

from __future__ import annotations

from daos.base.ids import ObjectType
from daos.base.iod import QueryFlag, Recx
from daos.object import wire
from tests.unit.embedded.cluster import Cluster, array, code_of, oid_of, on_cluster


@on_cluster
async def test_key_queries(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    oid = oid_of(otype=ObjectType.MULTI_UINT64)

    def integer(number: int) -> bytes:
        return number.to_bytes(8, "little")

    def query(flags: int, **fields: bytes) -> wire.QueryKeyRequest:
        return wire.QueryKeyRequest(container.address(oid), flags, **fields)

    asked = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.AKEY | QueryFlag.RECX
    empty = await container.object(wire.QUERY_KEY, query(asked))
    assert not empty.found
    for dkey, akey, lo in ((3, 7, 100), (300, 2, 5), (300, 9, 50)):
        iods = [array(integer(akey), 1, (lo, 4))]
        await container.update(oid, integer(dkey), iods, [b"data"])
    found = await container.object(wire.QUERY_KEY, query(asked))
    assert (found.found, found.dkey, found.akey) == (True, integer(300), integer(9))
    assert found.recx is not None
    assert (found.recx.index, found.recx.count, found.record_size) == (50, 4, 1)
    least = QueryFlag.MIN | QueryFlag.AKEY
    found = await container.object(wire.QUERY_KEY, query(least, dkey=integer(300)))
    assert (found.dkey, found.akey, found.recx) == (b"", integer(2), None)
    for flags in (0, QueryFlag.MAX, QueryFlag.MAX | QueryFlag.MIN | QueryFlag.DKEY, 1 << 20, -1):
        assert await code_of(container.object(wire.QUERY_KEY, query(flags))) == "INVAL", flags


@on_cluster
async def test_a_query_tells_the_newest_epoch_if_it_is_asked_to(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    oid = oid_of(otype=ObjectType.ARRAY_BYTE)
    flags = QueryFlag.MAX | QueryFlag.DKEY | QueryFlag.RECX

    async def query(epoch: int = 0, *, newest: bool = True) -> wire.QueryKeyReply:
        at = container.address(oid, epoch)
        request = wire.QueryKeyRequest(at, flags, akey=b"0", newest=newest)
        reply = await container.object(wire.QUERY_KEY, request)
        assert isinstance(reply, wire.QueryKeyReply)
        return reply

    nothing = await query()
    assert (nothing.found, nothing.newest) == (False, 0)
    one, two = (number.to_bytes(8, "little") for number in (1, 2))
    far = await container.update(oid, two, [array(b"0", 1, (5, 1))], [b"x"])
    near = await container.update(oid, one, [array(b"0", 1, (0, 600))], [b"x" * 600])
    found = await query()
    assert (found.found, found.dkey, found.recx, found.newest) == (True, two, Recx(5, 1), near)
    assert (await query(far)).newest == far
    assert (await query(newest=False)).newest == 0
    for dkey in (one, two):
        gone = await container.punch(oid, dkey)
    hidden = await query()
    assert (hidden.found, hidden.newest) == (False, gone)
    for number in range(300, 600):  # more than one step looks at
        last = await container.put(oid, number.to_bytes(8, "little"), {b"0": b"1"})
    assert (await query()).newest == last
