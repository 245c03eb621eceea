"""The checksum that a fetch comes with: the stored one, where it is over the same bytes."""

from __future__ import annotations

import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.iod import Iod
from daos.bio import one_value
from daos.bio.pieces import Stored, check_stored
from daos.object import server
from tests.unit.embedded.cluster import Cluster, array, on_cluster, single
from tests.unit.object.test_server import BIG, OID

XXH3 = ChecksumType.XXH3


@on_cluster
async def test_it_is_that_of_the_bytes(cluster: Cluster) -> None:
    """Of whole values and extents in blocks, nothing is computed again."""
    container = await (await cluster.pool()).container()
    iods = [single(b"large", len(BIG)), single(b"small", 100), array(b"array", 1, (0, len(BIG)))]
    await container.update(OID, b"d", iods, [BIG, BIG[:100], BIG])
    computed: list[int] = []

    def counting(kind: ChecksumType, view: memoryview) -> bytes:
        computed.append(view.nbytes)
        return compute(kind, view)

    cases: list[tuple[Iod, bytes, list[int]]] = [
        (single(b"large"), BIG, []),
        (single(b"small"), BIG[:100], [100]),
        (array(b"array", 1, (0, len(BIG))), BIG, []),
        (array(b"array", 1, (5, 9000)), BIG[5:9005], [9000]),
    ]
    for iod, value, again in cases:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server, "compute", counting)
            reply, data = await container.fetch(OID, b"d", [iod])
        assert data == value
        assert reply.checksums == (compute(XXH3, memoryview(value)),)
        assert computed == again
        computed.clear()


@on_cluster
async def test_it_tells_of_damage_after_the_target_has_looked(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.update(OID, b"d", [single(b"large", len(BIG))], [BIG])
    check = check_stored

    def check_and_damage(name: str, piece: Stored, lo: int, data: memoryview) -> None:
        check(name, piece, lo, data)
        data[7] ^= 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_value, "check_stored", check_and_damage)
        reply, data = await container.fetch(OID, b"d", [single(b"large")])
    assert data != BIG
    assert reply.checksums == (compute(XXH3, memoryview(BIG)),)
