"""Large values leave for the device when they have landed, whatever becomes of their update."""

from __future__ import annotations

from tests.unit.embedded.cluster import Cluster, code_of, on_cluster, single
from tests.unit.object.test_server import BIG, OID, held, raw_update, update_of


@on_cluster
async def test_a_large_value_leaves_for_the_device_before_it_is_checked(cluster: Cluster) -> None:
    container = await (await cluster.pool()).container()
    await container.update(OID, b"d", [single(b"a", 1)], [b"x"])
    meta, before = cluster.shard(container.pool.pool, container.target).meta, held(container)
    large = BIG * (meta.early_bytes // len(BIG)) + b"!"
    sums = container.checksums([memoryview(large)])
    request = update_of(container, single(b"a", len(large)), checksums=sums)
    for damaged in (True, False):
        start = meta.device.statistics()
        sent = raw_update(container, request, b"?" + large[1:] if damaged else large)
        assert await code_of(sent) == ("CSUM" if damaged else "SUCCESS")
        statistics = meta.device.statistics()
        writes = statistics.writes - start.writes, statistics.flushes - start.flushes
        assert writes == ((1, 0) if damaged else (2, 1))
        if damaged:
            assert held(container) == before
    assert await container.get(OID, b"d", b"a") == large
