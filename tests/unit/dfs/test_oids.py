"""Ids that a mount gives to what it creates."""

from __future__ import annotations

import pytest

from daos.dfs import oids
from daos.dfs.oids import STEP, OidCursor


def test_ids_step_through_one_number() -> None:
    cursor = OidCursor(5)
    assert cursor.next() is None
    cursor.refill(7)
    assert [cursor.next() for _ in range(3)] == [(7, 5), (7, 5 + STEP), (7, 5 + 2 * STEP)]
    cursor.refill(8)
    assert cursor.next() == (8, 5)


@pytest.mark.parametrize("first", [0, 1, 2, 63])
@pytest.mark.parametrize("lo", [0, 1])
def test_each_id_once_then_another_number(
    monkeypatch: pytest.MonkeyPatch, first: int, lo: int
) -> None:
    monkeypatch.setattr(oids, "U32_MAX", 63)  # a ring of 64 instead of 2**32
    cursor = OidCursor(first)
    cursor.refill(lo)
    drawn = []
    while (found := cursor.next()) is not None:
        drawn.append(found)
    assert len(drawn) == len(set(drawn)) == (62 if lo == 0 else 64)
    assert lo or not {(0, 0), (0, 1)} & set(drawn)  # those of the superblock and the root
