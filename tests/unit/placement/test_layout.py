"""From a dkey to its leader shard."""

from __future__ import annotations

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.ids import GroupIndex, KeyKind, MapVersion, Rank, ShardIndex, TargetIndex
from daos.placement.hashing import murmur64a
from daos.placement.layout import Layout, Shard, dkey_hash, group_of
from daos.placement.pool_map import ComponentState

UPIN, DOWN, DRAIN = ComponentState.UPIN, ComponentState.DOWN, ComponentState.DRAIN


def shard(number: int, state: ComponentState = UPIN, fseq: int = 1) -> Shard:
    return Shard(ShardIndex(number), Rank(number), TargetIndex(0), state, number, MapVersion(fseq))


def layout(*groups: tuple[Shard, ...]) -> Layout:
    return Layout(MapVersion(9), groups)


def test_hash_of_a_dkey() -> None:
    assert dkey_hash(b"key") == murmur64a(b"key", 5731) == 10037048919672493907
    assert dkey_hash(b"key", KeyKind.LEXICAL) == dkey_hash(b"key")
    assert dkey_hash((77).to_bytes(8, "little"), KeyKind.UINT64) == 77
    with pytest.raises(InvalidError, match="must be 8 bytes, got 3"):
        dkey_hash(b"key", KeyKind.UINT64)


def test_long_keys_are_cut_before_they_are_hashed() -> None:
    """256 bytes are hashed as they stand; more would keep an event loop from its work."""
    at_limit, beyond = bytes(256), bytes(257)
    assert dkey_hash(at_limit) == murmur64a(at_limit, 5731)
    assert dkey_hash(beyond) == murmur64a(xxhash.xxh3_128(beyond).digest(), 5731)
    assert len({dkey_hash(bytes(size)) for size in range(250, 270)}) == 20


@given(st.integers(0, (1 << 64) - 1), st.integers(1, 0xFFFF))
def test_group_is_in_range(key_hash: int, groups: int) -> None:
    assert 0 <= group_of(key_hash, groups) < groups


@pytest.mark.parametrize("integer", [False, True])
def test_groups_share_the_dkeys_evenly(integer: bool) -> None:
    """Consecutive integers (array chunks) and hashed strings: chi-square with 7 degrees."""
    count, groups = 16_000, 8
    found = [0] * groups
    for number in range(count):
        key_hash = number if integer else dkey_hash(f"dkey_{number}".encode())
        found[group_of(key_hash, groups)] += 1
    expected = count / groups
    assert sum((n - expected) ** 2 / expected for n in found) < 30  # p < 0.0001


def test_shards_in_order() -> None:
    found = layout((shard(0), shard(1)), (shard(2), shard(3)))
    assert [entry.shard for entry in found.shards()] == [0, 1, 2, 3]


def test_leader_rotates_with_the_hash_and_the_group() -> None:
    found = layout((shard(0), shard(1), shard(2)), (shard(3), shard(4), shard(5)))
    assert [found.leader(GroupIndex(0), h).shard for h in range(4)] == [0, 1, 2, 0]
    assert [found.leader(GroupIndex(1), h).shard for h in range(4)] == [4, 5, 3, 4]


def test_leader_is_in_service_and_failed_longest_ago() -> None:
    found = layout((shard(0, DOWN, 7), shard(1, UPIN, 5), shard(2, DRAIN, 3)))
    assert [found.leader(GroupIndex(0), h).shard for h in range(3)] == [2, 2, 2]
    assert [entry.serving for entry in found.groups[0]] == [False, True, True]


def test_no_leader() -> None:
    with pytest.raises(DaosError, match="group 0 is in service: rank 0 target 0 DOWN") as caught:
        layout((shard(0, DOWN),)).leader(GroupIndex(0), 0)
    assert caught.value.code is DER.IO
