"""What one reply carries, and what is said of more."""

from __future__ import annotations

import pytest

from tests.unit.embedded.cluster import Cluster, array, code_of, oid_of, on_cluster
from tests.unit.object.test_server import held

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
