"""What one reply carries, and what is said of more."""

from __future__ import annotations

import pytest

from daos.base.ids import ObjectType
from daos.object import wire
from tests.unit.embedded.cluster import Cluster, array, code_of, oid_of, on_cluster, single
from tests.unit.object.test_server import held, raw_update, update_of

OID = oid_of()


@on_cluster
async def test_more_pieces_than_a_reply_names(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    ranges = [(10 * at, 1) for at in range(20)]
    await container.update(OID, b"d", [array(b"a", 1, *ranges)], [b"x"] * 20)
    before = held(container)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daos.object.large.PIECES_BYTES_MAX", 400)
        everything = container.fetch(OID, b"d", [array(b"a", 0, (0, 1 << 40))])
        assert await code_of(everything) == "REC2BIG"
        assert held(container) == before
        reply, _ = await container.fetch(OID, b"d", [array(b"a", 0, (0, 100))])
        assert len(reply.pieces) == 10


@pytest.mark.parametrize("otype", [ObjectType.KV_HASHED, ObjectType.ARRAY])
@on_cluster
async def test_a_flat_object_has_no_other_akeys(cluster: Cluster, otype: ObjectType) -> None:
    container = await (await cluster.pool()).container()
    oid, dkey, iod = oid_of(1, otype), b"01234567", single(b"other", 1)
    sums = container.checksums([memoryview(b"x")])
    update = update_of(container, iod, oid=oid, dkey=dkey, checksums=sums)
    assert await code_of(raw_update(container, update, b"x")) == "INVAL"
    fetch = wire.FetchRequest(container.address(oid), dkey, (iod,))
    assert await code_of(container.object(wire.FETCH, fetch)) == "INVAL"
    value = update_of(container, single(b"0", 1), oid=oid, dkey=dkey, checksums=sums)
    assert await code_of(raw_update(container, value, b"x")) == "SUCCESS"


@on_cluster
async def test_a_page_is_a_short_turn_whatever_is_asked_for(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    names = [b"%04d" % number for number in range(600)]
    for name in names:
        await container.put(OID, name, {b"a": b"x"})
    found, anchor, eof = list[bytes](), b"", False
    while not eof:
        request = wire.KeyListRequest(container.address(OID), anchor, 1 << 16)
        reply = await container.object(wire.DKEY_LIST, request)
        assert len(reply.keys) <= 256
        found += reply.keys
        anchor, eof = reply.anchor, reply.eof
    assert sorted(found) == names
    for name in names:
        punch = wire.PunchRequest(container.address(OID), name)
        await container.object(wire.PUNCH, punch)
    pages, anchor, eof = 0, b"", False
    while not eof:
        request = wire.KeyListRequest(container.address(OID), anchor, 1)
        reply = await container.object(wire.DKEY_LIST, request)
        anchor, eof, pages = reply.anchor, reply.eof, pages + 1
        assert not reply.keys
    assert pages >= 3
