from __future__ import annotations

import pytest

from daos.base.errors import DaosError, InvalidError
from daos.base.ids import KeyKind
from daos.bio.space import Extent
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import keys
from daos.vos.container import VosContainer
from daos.vos.edit import Edit, Place, changed, tree_bytes
from daos.vos.ilog import EMPTY
from daos.vos.nodes import NodeCache
from daos.vos.records import NodeRecord, RootRecord


def test_changed_and_tree_bytes() -> None:
    record = NodeRecord(keys.DKEY, 5)
    assert changed(record, ilog=b"x") == NodeRecord(keys.DKEY, 5, b"x")
    assert tree_bytes([b"k" * 10, b"k" * 20]) == 2 * 1024 + 2 * 30


@on_shard
async def test_edit_is_all_or_nothing(shard: MemoryShard, c: VosContainer) -> None:
    root, cache = shard.pool.root, NodeCache()
    place = Place(c.node_id, keys.OBJECT, b"o" * 20, KeyKind.LEXICAL)
    before = root.next_id
    entries = shard.meta.statistics().tree_entries

    dropped = Edit(shard.meta, root)
    key = dropped.create(place, EMPTY.emit(), dropped.new_id())
    del dropped
    assert (root.next_id, len(cache), shard.meta.get(key)) == (before, 0, None)

    failed = Edit(shard.meta, root)
    failed.create(place, EMPTY.emit(), failed.new_id())
    failed.tx.free(Extent(shard.meta.space.first_block, 1))  # nothing to free: commit refuses
    with pytest.raises(InvalidError):
        failed.commit(50, cache)
    assert (root.next_id, len(cache), shard.meta.get(key)) == (before, 0, None)
    assert shard.meta.epoch_highest < 50

    good = Edit(shard.meta, root)
    node_id = good.new_id()
    assert good.create(place, EMPTY.emit(), node_id) == key
    await shard.meta.durable(good.commit(60, cache))
    found = cache.get(place.cache_key)
    assert found is not None
    assert (found.id, found.key, root.next_id) == (node_id, key, before + 1)
    assert shard.meta.statistics().tree_entries == entries + 1
    await shard.reopen()
    assert shard.meta.epoch_highest == 60


@on_shard
async def test_ids_are_never_used_twice(shard: MemoryShard, c: VosContainer) -> None:
    seen: set[int] = set()
    for _ in range(4):
        root = shard.pool.root
        for _ in range(600):
            edit = Edit(shard.meta, root)
            node_id = edit.new_id()
            assert node_id not in seen
            seen.add(node_id)
            place = Place(c.node_id, keys.OBJECT, b"%020d" % node_id, KeyKind.LEXICAL)
            edit.create(place, EMPTY.emit(), node_id)
            lsn = edit.commit(0)
        await shard.meta.durable(lsn)
        value = shard.meta.get(keys.ROOT_KEY)
        assert value is not None
        assert RootRecord.parse(value).node_limit > max(seen)
        await shard.reopen(clean=len(seen) % 1200 == 0)


@on_shard
async def test_a_failed_update_leaves_the_cache_alone(shard: MemoryShard, c: VosContainer) -> None:
    """The cache must not know the node that the tree did not take."""
    await shard.put(c, unit(1), b"d", {b"a": b"1"}, epoch=10)
    known = len(c.nodes.cache)
    with pytest.raises(DaosError):
        await shard.put(c, unit(1), b"d", {b"new": b"x", b"a": b"2"}, epoch=10)
    assert len(c.nodes.cache) == known
    assert await shard.get(c, unit(1), b"d", b"new", epoch=99) is None
    await shard.put(c, unit(1), b"d", {b"new": b"x"}, epoch=11)
    assert await shard.get(c, unit(1), b"d", b"new", epoch=99) == b"x"
