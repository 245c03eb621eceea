"""Sizes and states of pools."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.mgmt.core import (
    PRINCIPAL_SIZE_MAX,
    SHARD_BYTES_MAX,
    SHARD_BYTES_MIN,
    PoolState,
    check_principals,
    shard_bytes,
)

MIB = 1 << 20


def test_states_read_as_the_reference_prints_them() -> None:
    # features §2.1.1, `state` of a pool: TargetsExcluded has no cause in this version.
    assert {state.value for state in PoolState} == {"Creating", "Ready", "Destroying", "Unknown"}


@pytest.mark.parametrize(
    ("size_bytes", "targets", "each"),
    [
        (16 * MIB, 1, 16 * MIB),
        (1 << 30, 4, 256 * MIB),
        (100 * MIB, 3, 33 * MIB),  # whole MiB, rounded down
        (64 * MIB + 3, 4, 16 * MIB),
        (SHARD_BYTES_MAX * 2, 2, SHARD_BYTES_MAX),
    ],
)
def test_a_pool_is_divided_evenly(size_bytes: int, targets: int, each: int) -> None:
    assert shard_bytes(size_bytes, targets=targets) == each


@pytest.mark.parametrize("size_bytes", [-1, 0, 1, 16 * MIB, 4 * SHARD_BYTES_MIN - 1])
def test_too_small_names_the_minimum(size_bytes: int) -> None:
    with pytest.raises(InvalidError, match=r"4 targets need at least 64 MiB"):
        shard_bytes(size_bytes, targets=4)


def test_too_large_names_the_maximum() -> None:
    with pytest.raises(InvalidError, match="at most"):
        shard_bytes(SHARD_BYTES_MAX * 2 + 2 * MIB, targets=2)


def test_principals_have_at_most_255_characters() -> None:
    check_principals("a" * PRINCIPAL_SIZE_MAX, "")
    for owner, group in (("a" * 256, ""), ("", "g" * 256)):
        with pytest.raises(InvalidError, match="at most 255"):
            check_principals(owner, group)
