from __future__ import annotations

import pytest

from daos.base.errors import DER, CorruptError, DaosError
from daos.base.ids import KeyKind
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import ilog_view, keys
from daos.vos.container import VosContainer
from daos.vos.ilog import EMPTY, Punch
from daos.vos.nodes import Node, NodeCache, Nodes, free_place, load, view
from daos.vos.records import NodeRecord

HASHED = KeyKind.HASHED


def node(node_id: int, *entries: tuple[int, bool], key: bytes = b"") -> Node:
    log = EMPTY
    for epoch, punch in entries:
        log = log.update(epoch, 16383, punch=punch)
    return Node.of(b"tree key", NodeRecord(keys.AKEY, node_id, log.emit(), key))


def test_cache_keeps_the_nodes_used_last() -> None:
    cache = NodeCache(4)
    nodes = {(0, b"%d" % number): node(number + 1) for number in range(12)}
    for key, one in nodes.items():
        cache.put(key, one)
        assert cache.get((0, b"0")) is nodes[0, b"0"]  # used all the time, so it stays
        assert len(cache) <= 8
    assert cache.get((0, b"11")) is nodes[0, b"11"]
    assert cache.get((0, b"1")) is None
    newer = node(1)
    cache.put((0, b"0"), newer)
    for number in range(20, 24):
        cache.put((0, b"%d" % number), node(number))
    assert cache.get((0, b"0")) is newer
    cache.clear()
    assert len(cache) == 0


def test_cache_refuses_long_keys() -> None:
    cache = NodeCache(4)
    cache.put((0, b"k" * 1000), node(1))
    assert len(cache) == 0


def test_look_is_the_view() -> None:
    plain, punched = node(1, (10, False)), node(2, (10, False), (20, True))
    for epoch in (5, 9, 10, 15, 20, 25):
        for one in (plain, punched):
            full = view(one, epoch)
            fast = one.look(epoch)
            assert (fast.visible, fast.exists, fast.floor) == (
                full.visible,
                full.exists,
                full.floor,
            )
    parent = view(node(3, (1, False), (12, True), (13, False)), 30)
    assert parent.prior_punch == Punch(12, 16383)
    assert not plain.look(30, parent).visible
    assert view(None, 30, parent).prior_punch == parent.prior_punch
    assert not view(None, 30).visible


def test_load_checks_the_kind() -> None:
    record = NodeRecord(keys.AKEY, 5, EMPTY.emit())
    assert load(keys.node_prefix(1, keys.AKEY) + b"k", record.emit()).id == 5
    with pytest.raises(CorruptError, match="kind"):
        load(keys.node_prefix(1, keys.DKEY) + b"k", record.emit())


def test_damaged_log() -> None:
    record = NodeRecord(keys.AKEY, 5, b"no log")
    with pytest.raises(CorruptError):
        Node.of(b"k", record).look(5)


@pytest.mark.parametrize("kind", [HASHED, KeyKind.LEXICAL])
def test_equal_hashes_are_not_equal_keys(kind: KeyKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "hash128", lambda key: bytes(16))
    tree: dict[bytes, bytes] = {}
    head = b"p" * keys.LEXICAL_INLINE_MAX
    names = [head + b"%d" % number for number in range(5)]
    for number, name in enumerate(names, 1):
        place = free_place(tree.get, 9, keys.DKEY, name, kind)
        tree[place] = NodeRecord(keys.DKEY, number, EMPTY.emit(), name).emit()
    nodes = Nodes(tree.get, 1)
    for _ in range(2):
        for number, name in enumerate(names, 1):
            found = nodes.key(9, keys.DKEY, name, kind)
            assert found is not None
            assert found.id == number
        assert nodes.key(9, keys.DKEY, head + b"other", kind) is None


def test_a_bucket_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "hash128", lambda key: bytes(16))
    monkeypatch.setattr(keys, "TIES_MAX", 3)
    record = NodeRecord(keys.DKEY, 1, EMPTY.emit(), b"taken").emit()
    with pytest.raises(DaosError) as caught:
        free_place(lambda key: record, 9, keys.DKEY, b"k", HASHED)
    assert caught.value.code is DER.DOS
    assert Nodes(lambda key: record, 1).key(9, keys.DKEY, b"k", HASHED) is None


@on_shard
async def test_a_full_bucket_refuses_the_update(shard: MemoryShard, c: VosContainer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "hash128", lambda key: bytes(16))
        patch.setattr(keys, "TIES_MAX", 2)
        await shard.put(c, unit(1), b"one", {b"a": b"1"}, epoch=10)
        await shard.put(c, unit(1), b"two", {b"a": b"2"}, epoch=10)
        with pytest.raises(DaosError):
            await shard.put(c, unit(1), b"three", {b"a": b"3"}, epoch=10)
        assert await shard.get(c, unit(1), b"two", b"a", epoch=10) == b"2"


@on_shard
async def test_all_hashes_equal(shard: MemoryShard, c: VosContainer) -> None:
    """Everything works with the worst of hash functions, several new keys in one update too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "hash128", lambda key: b"\x01" * 16)
        values = {b"akey %d" % number: b"value %d" % number for number in range(20)}
        await shard.put(c, unit(1), b"dkey", values, epoch=10)
        await shard.put(c, unit(1), b"dkey", {b"akey 7": b"new"}, epoch=20)
        await shard.reopen()
        c = shard.container()
        for akey, value in values.items():
            assert await shard.get(c, unit(1), b"dkey", akey, epoch=15) == value
        assert await shard.get(c, unit(1), b"dkey", b"akey 7", epoch=20) == b"new"
        assert await shard.get(c, unit(1), b"dkey", b"akey 20", epoch=20) is None
        page = c.list_akeys(unit(1), b"dkey", c.modification_bound, limit=100)
        assert sorted(page.entries) == sorted(values)


def test_root_has_no_punch() -> None:
    assert ilog_view.ROOT.prior_any_punch == Punch(0, 0)


def test_nodes_are_dropped_one_by_one() -> None:
    cache = NodeCache(8)
    held = []
    for number in range(100):
        cache.put((number, b"k"), node(number + 1))
        held.append(len(cache._dropped))
        assert len(cache) + held[-1] <= 16
    assert set(held) == set(range(8))
    cache.clear()
    assert len(cache) == len(cache._dropped) == 0
