"""What an object's client keeps of the dkeys that it is asked about."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

from daos.base.ids import ObjectId, ObjectType, Rank
from daos.object import core
from daos.object.client import ObjectClient
from daos.object.link import ContainerLink
from daos.object.maps import PoolMaps
from daos.placement.jump import JumpMap
from daos.placement.pool_map import PoolMap


def test_shards_are_remembered_within_bounds() -> None:
    pool_map = PoolMap.initial([("localhost", [(Rank(0), 8)])])
    oid = ObjectId.encode(user_hi=0, lo=1, type=ObjectType.KV_LEXICAL, redundancy=1, groups=8)
    layout = JumpMap(pool_map).place(oid)
    link = cast("ContainerLink", SimpleNamespace(maps=PoolMaps(pool_map)))  # nothing is sent
    client, rng = ObjectClient(link, oid, layout), random.Random(1)
    seen = set()
    for number in range(10_000):
        dkey = rng.randbytes(rng.choice((1, 8, 64, 65, 5000)))
        for _ in range(2):
            shard = client._shard(dkey)
            assert shard == core.shard_of(layout, oid, dkey)
        seen.add(shard.shard)
        if number % 1000 == 0:
            assert len(client._shards) <= 4096
    assert len(seen) == 8
    assert 0 < len(client._shards) <= 4096
    assert max(map(len, client._shards)) == 64
