"""Bytes and layouts of version 1, read and computed by today's code.

A difference here is a change of format, or moves every object of every pool that exists.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from daos.base.ids import MapVersion, ObjectId, Rank
from daos.placement.jump import JumpMap
from daos.placement.pool_map import ComponentState, Level, PoolMap

HERE = Path(__file__).parent


def example() -> PoolMap:
    """Three hosts, two ranks on the first; rank 1 target 1 was excluded at version 2."""
    base = PoolMap.initial(
        [
            ("alpha", [(Rank(0), 4), (Rank(1), 4)]),
            ("beta", [(Rank(2), 4)]),
            ("gamma", [(Rank(7), 4)]),
        ]
    )
    alpha = base.nodes[0]
    targets = list(alpha.ranks[1].targets)
    targets[1] = msgspec.structs.replace(targets[1], state=ComponentState.DOWN, fseq=MapVersion(2))
    rank = msgspec.structs.replace(alpha.ranks[1], targets=tuple(targets))
    node = msgspec.structs.replace(alpha, ranks=(alpha.ranks[0], rank))
    return PoolMap(MapVersion(2), (node, *base.nodes[1:]))


def test_pool_map_bytes() -> None:
    golden = bytes.fromhex((HERE / "pool_map_v1.hex").read_text())
    assert PoolMap.parse(golden) == example()
    assert example().emit() == golden


def test_layouts() -> None:
    """Lines of: level, object id, then rank.target of every shard; groups by commas."""
    maps = {level: JumpMap(example(), level=level) for level in Level}
    lines = (HERE / "layouts_v1.txt").read_text().splitlines()
    assert len(lines) > 20
    for line in lines:
        level, oid, groups = line.split(" ", 2)
        layout = maps[Level[level]].place(ObjectId.parse(oid))
        found = ", ".join(
            " ".join(f"{shard.rank}.{shard.target}" for shard in group) for group in layout.groups
        )
        assert found == groups, line
