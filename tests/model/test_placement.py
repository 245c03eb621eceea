"""Placement against a brute-force model: lists, sets, a bitwise CRC; no code shared with it.

The model spells out the rules one by one and looks at every target each time; it knows nothing of
masks, of cached hash states, or of trimmed lists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from daos.base.ids import MapVersion, ObjectId, ObjectType, Rank, TargetIndex
from daos.placement.jump import JumpMap
from daos.placement.oclass import Redundancy
from daos.placement.pool_map import (
    ComponentState,
    HostNode,
    Level,
    PoolMap,
    RankNode,
    Target,
)

V1 = MapVersion(1)
REDUNDANCIES = (
    Redundancy.RP_1,
    Redundancy.RP_2,
    Redundancy.RP_3,
    Redundancy.EC_2P1,
    Redundancy.EC_4P1,
)


def crc(words: tuple[int, ...]) -> int:
    state = 0xBABECAFE ^ (1 << 64) - 1
    for byte in b"".join(word.to_bytes(8, "little") for word in words):
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ 0xC96C5795D7870F42 * (state & 1)
    return state ^ (1 << 64) - 1


def jump(key: int, buckets: int) -> int:
    chosen, candidate = -1, 0
    while candidate < buckets:
        chosen = candidate
        key = (key * 2862933555777941757 + 1) % 2**64
        candidate = int((chosen + 1) * (2**31 / ((key >> 33) + 1)))
    return chosen


@dataclass
class Model:
    """`hosts`: for each host, for each rank, for each target, whether it takes part."""

    hosts: list[list[list[bool]]]
    by_rank: bool
    # All by (host, rank) or (host,) of a fault domain; targets as (host, rank, index).
    used: set[tuple[int, ...]] = field(default_factory=set)
    taken: set[tuple[int, int, int]] = field(default_factory=set)

    def domains(self) -> dict[tuple[int, ...], list[tuple[int, int, int]]]:
        """Fault domains to their targets, those that take no part included."""
        found: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        for h, ranks in enumerate(self.hosts):
            for r, targets in enumerate(ranks):
                path = (h, r) if self.by_rank else (h,)
                found.setdefault(path, []).extend((h, r, t) for t in range(len(targets)))
        return found

    def live(self, path: tuple[int, ...]) -> list[tuple[int, int, int]]:
        return [t for t in self.domains()[path] if self.hosts[t[0]][t[1]][t[2]]]

    def rank_id(self, host: int, rank: int) -> int:
        return sum(len(ranks) for ranks in self.hosts[:host]) + rank

    def choose(self, group: set[tuple[int, ...]]) -> set[tuple[int, ...]]:
        alive = {path for path in self.domains() if self.live(path)}
        full = {path for path in alive if set(self.live(path)) <= self.taken}
        if not alive - self.used - group - full:
            self.used = set()
        return alive - self.used - group - full or alive - group

    def walk(self, k: int, key: int, allowed: set[tuple[int, ...]]) -> tuple[tuple[int, ...], int]:
        path: tuple[int, ...] = ()
        while path not in allowed:
            below = sorted({p[: len(path) + 1] for p in self.domains() if p[: len(path)] == path})
            while not any(q[: len(path) + 1] == below[-1] for q in self.alive_paths()):
                below.pop()
            draw, position = 0, jump(crc((key, k, 0)), len(below))
            while not any(q[: len(path) + 1] == below[position] for q in allowed):
                draw += 1
                if draw < 4 * len(below) + 16:
                    position = jump(crc((key, k, draw)), len(below))
                else:
                    position = (position + 1) % len(below)
            path = below[position]
            child = path[0] if len(path) == 1 else self.rank_id(*path)
            key = crc((key, child, 0))
        return path, key

    def alive_paths(self) -> list[tuple[int, ...]]:
        return [path for path in self.domains() if self.live(path)]

    def place(self, oid: ObjectId, size: int) -> list[tuple[int, int, int]]:
        result = []
        root = crc((oid.lo, oid.hi, 0xBABEFACE))
        for first in range(0, oid.groups * size, size):
            group: set[tuple[int, ...]] = set()
            for k in range(first, first + size):
                path, key = self.walk(k, root, self.choose(group))
                live = self.live(path)
                if set(live) <= self.taken:
                    self.taken -= set(live)
                everyone = self.domains()[path]
                everyone = everyone[: everyone.index(live[-1]) + 1]
                position = jump(crc((key, k, 0)), len(everyone))
                while everyone[position] in self.taken or everyone[position] not in live:
                    position = (position + 1) % len(everyone)
                self.taken.add(everyone[position])
                self.used.add(path)
                group.add(path)
                result.append(everyone[position])
        return result


def build(hosts: list[list[list[bool]]]) -> PoolMap:
    nodes = []
    rank_id = target_id = 0
    for host_id, ranks in enumerate(hosts):
        rank_nodes = []
        for flags in ranks:
            targets = []
            for index, takes_part in enumerate(flags):
                state = ComponentState.UPIN if takes_part else ComponentState.NEW
                targets.append(Target(target_id, Rank(rank_id), TargetIndex(index), state))
                target_id += 1
            rank_nodes.append(
                RankNode(rank_id, Rank(rank_id), ComponentState.UPIN, 0, V1, V1, tuple(targets))
            )
            rank_id += 1
        nodes.append(
            HostNode(host_id, f"h{host_id}", ComponentState.UPIN, 0, V1, V1, tuple(rank_nodes))
        )
    return PoolMap(V1, nodes)


RANKS = st.lists(st.sampled_from([True, True, True, False]), min_size=1, max_size=4)
HOSTS = st.lists(st.lists(RANKS, min_size=1, max_size=3), min_size=1, max_size=6)


def check_layout(
    hosts: list[list[list[bool]]], by_rank: bool, jump_map: JumpMap, oid: ObjectId, size: int
) -> None:
    layout = jump_map.place(oid)
    placed = Model(hosts, by_rank).place(oid, size)
    ranks = [Model(hosts, by_rank).rank_id(host, rank) for host, rank, _ in placed]
    indices = [index for _, _, index in placed]
    assert [(s.rank, s.target) for s in layout.shards()] == list(zip(ranks, indices, strict=True))


def test_a_full_domain_that_starts_over_is_full_no_more() -> None:
    """Small hosts fill up first and are used again: their targets begin another round."""
    hosts = [[[True] * 3], [[True] * 3], [[True] * 3, [True] * 4], [[True] * 4, [True] * 4]]
    oid = ObjectId.encode(user_hi=0, lo=0, type=ObjectType.ARRAY, redundancy=9, groups=7)
    check_layout(hosts, False, JumpMap(build(hosts)), oid, 3)


@settings(max_examples=250, deadline=None)
@given(
    hosts=HOSTS,
    by_rank=st.booleans(),
    redundancy=st.sampled_from(REDUNDANCIES),
    lo=st.integers(0, 2**64 - 1),
    user_hi=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_layouts_are_those_of_the_model(
    hosts: list[list[list[bool]]],
    by_rank: bool,
    redundancy: Redundancy,
    lo: int,
    user_hi: int,
    data: st.DataObject,
) -> None:
    model = Model(hosts, by_rank)
    size = redundancy.data_shards + redundancy.spare_shards
    alive = model.alive_paths()
    count = sum(len(model.live(path)) for path in alive)
    jump_map = JumpMap(build(hosts), level=Level.RANK if by_rank else Level.NODE)
    assert jump_map.topology == (len(alive), count)
    if size > len(alive) or size > count:
        return
    oid = ObjectId.encode(
        user_hi=user_hi,
        lo=lo,
        type=ObjectType.ARRAY,
        redundancy=redundancy,
        groups=data.draw(st.integers(1, count // size)),
    )
    check_layout(hosts, by_rank, jump_map, oid, size)
