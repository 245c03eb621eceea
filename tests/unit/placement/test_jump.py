"""Properties of the jump map. Exact layouts: tests/model/test_placement.py and the golden file."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from daos.base.errors import InvalidError
from daos.base.ids import MapVersion, ObjectId, ObjectType, Rank, TargetIndex
from daos.placement.jump import JumpMap
from daos.placement.layout import Layout
from daos.placement.oclass import REGISTERED, ObjectClass, Redundancy, name_to_id
from daos.placement.pool_map import (
    ComponentState,
    HostNode,
    Level,
    PoolMap,
    RankNode,
    Target,
)

V1, V2 = MapVersion(1), MapVersion(2)


def cluster(*targets_per_host: int) -> PoolMap:
    """One rank a host."""
    return PoolMap.initial(
        [(f"host{i}", [(Rank(i), count)]) for i, count in enumerate(targets_per_host)]
    )


def object_ids(name: str, count: int, seed: int = 1, groups: int | None = None) -> list[ObjectId]:
    rng = random.Random(seed)
    oclass = ObjectClass.from_id(name_to_id(name))
    return [
        ObjectId.encode(
            user_hi=rng.getrandbits(32),
            lo=rng.getrandbits(64),
            type=ObjectType.MULTI_HASHED,
            redundancy=oclass.redundancy,
            groups=groups or oclass.groups,
        )
        for _ in range(count)
    ]


def targets_of(layout: Layout) -> list[int]:
    return [shard.target_id for shard in layout.shards()]


def grown(base: PoolMap, counts: list[int], state: ComponentState, version: int) -> PoolMap:
    """`base` plus a host for each of `counts`, whose targets are in `state`."""
    nodes = list(base.nodes)
    next_id = len(base.targets)
    for count in counts:
        number = len(nodes)
        targets = tuple(
            Target(
                next_id + index,
                Rank(number),
                TargetIndex(index),
                state,
                version=V2,
                in_ver=MapVersion(0 if state is ComponentState.NEW else version),
            )
            for index in range(count)
        )
        next_id += count
        rank = RankNode(number, Rank(number), state, 0, V1, V2, targets)
        nodes.append(HostNode(number, f"host{number}", state, 0, V1, V2, (rank,)))
    return PoolMap(MapVersion(version), nodes)


def chi_square(found: Counter[int], cells: int) -> float:
    expected = found.total() / cells
    return sum((found[cell] - expected) ** 2 / expected for cell in range(cells))


def test_equal_inputs_give_equal_layouts() -> None:
    (oid,) = object_ids("S4", 1)
    first = JumpMap(cluster(8)).place(oid)
    assert first == JumpMap(PoolMap.parse(cluster(8).emit())).place(oid)
    assert first.version == 1


@pytest.mark.parametrize("counts", [(1,), (8,), (4, 4), (3, 3, 3), (16,) * 10])
def test_every_target_once_while_they_suffice(counts: tuple[int, ...]) -> None:
    total = sum(counts)
    jump_map = JumpMap(cluster(*counts))
    for groups in range(1, total + 1, max(1, total // 10)):
        for oid in object_ids("SX", 20, groups=groups):
            found = targets_of(jump_map.place(oid))
            assert len(found) == len(set(found)) == groups
    (oid,) = object_ids("SX", 1, groups=total)
    assert sorted(targets_of(jump_map.place(oid))) == list(range(total))


@pytest.mark.parametrize(
    ("counts", "name", "groups"),
    [
        ((8, 8, 8, 8, 8, 8, 8, 8), "EC_4P2GX", 10),
        ((4, 4), "RP_2G4", 4),
        ((1,) * 18, "EC_16P2G1", 1),
        ((8,) * 32, "RP_2GX", 128),
        ((50, 2), "RP_2GX", 26),
        ((2, 50), "RP_2GX", 26),
        ((2, 4, 6, 8, 10), "RP_3GX", 10),
        ((1, 5, 5), "RP_2GX", 5),
    ],
)
def test_a_group_never_shares_a_domain(counts: tuple[int, ...], name: str, groups: int) -> None:
    jump_map = JumpMap(cluster(*counts))
    balanced = len(set(counts)) == 1
    for oid in object_ids(name, 40, groups=groups):
        layout = jump_map.place(oid)
        assert len(layout.groups) == groups
        for group in layout.groups:
            assert len({shard.rank for shard in group}) == len(group)
        found = targets_of(layout)
        if balanced:
            assert len(set(found)) == len(found)
        assert [shard.shard for shard in layout.shards()] == list(range(len(found)))


def test_uneven_domains_reuse_targets_evenly_within_a_domain() -> None:
    jump_map = JumpMap(cluster(2, 50))
    for oid in object_ids("RP_2GX", 20, groups=26):
        uses = Counter(targets_of(jump_map.place(oid)))
        assert {uses[0], uses[1]} == {13}
        assert max(uses[target] for target in range(2, 52)) == 1


def test_a_round_visits_every_domain_once() -> None:
    jump_map = JumpMap(cluster(*[8] * 12))
    for oid in object_ids("SX", 30, groups=36):
        ranks = [shard.rank for shard in jump_map.place(oid).shards()]
        for first in (0, 12, 24):
            assert sorted(ranks[first : first + 12]) == list(range(12))


@pytest.mark.parametrize(
    ("counts", "name"), [((8,), "S1"), ((16,) * 4, "S2"), ((4,) * 9, "RP_3G1")]
)
def test_objects_share_the_targets_evenly(counts: tuple[int, ...], name: str) -> None:
    found: Counter[int] = Counter()
    jump_map = JumpMap(cluster(*counts))
    for oid in object_ids(name, 4000):
        found.update(targets_of(jump_map.place(oid)))
    cells = sum(counts)
    # Mean of the distribution plus six standard deviations.
    assert chi_square(found, cells) < cells + 6 * (2 * cells) ** 0.5


def test_consecutive_ids_share_the_targets_evenly() -> None:
    """Allocated object ids count up; that must not show."""
    jump_map = JumpMap(cluster(8))
    for field in ("lo", "user_hi"):
        found: Counter[int] = Counter()
        for number in range(4000):
            oid = ObjectId.encode(
                user_hi=number if field == "user_hi" else 0,
                lo=number if field == "lo" else 0,
                type=ObjectType.ARRAY_BYTE,
                redundancy=Redundancy.RP_1,
                groups=1,
            )
            found.update(targets_of(jump_map.place(oid)))
        assert chi_square(found, 8) < 8 + 6 * 4


def test_growing_moves_s1_only_to_the_new_targets_and_only_its_share() -> None:
    before, after = JumpMap(cluster(*[8] * 9)), JumpMap(cluster(*[8] * 10))
    moved = 0
    oids = object_ids("S1", 4000)
    for oid in oids:
        ((old,),), ((new,),) = before.place(oid).groups, after.place(oid).groups
        if old.target_id != new.target_id:
            assert new.rank == 9
            moved += 1
    assert 0.08 < moved / len(oids) < 0.12  # ideal: 1/10


@pytest.mark.parametrize(
    ("name", "groups", "limit"),
    [("S4", 4, 1.6), ("RP_3G1", 1, 1.4), ("SX", 16, 3.5), ("SX", 72, 7.5)],
)
def test_growing_moves_little_of_narrow_objects(name: str, groups: int, limit: float) -> None:
    """Times the ideal of 1/10: a shard that moves away leaves a place that pulls others after it,
    the more so the more of the pool the object covers."""
    before, after = JumpMap(cluster(*[8] * 9)), JumpMap(cluster(*[8] * 10))
    moved = total = 0
    for oid in object_ids(name, 300 if groups < 72 else 60, groups=groups):
        old, new = targets_of(before.place(oid)), targets_of(after.place(oid))
        moved += sum(a != b for a, b in zip(old, new, strict=True))
        total += len(old)
    assert moved / total < limit / 10


def test_targets_being_added_disturb_nothing_until_they_joined() -> None:
    base = cluster(8, 8, 8)
    oids = object_ids("S4", 200)
    old = [targets_of(JumpMap(base).place(oid)) for oid in oids]

    def layouts(version: int, state: ComponentState, at: int | None = None) -> list[list[int]]:
        jump_map = JumpMap(
            grown(base, [8, 8], state, version),
            version=None if at is None else MapVersion(at),
        )
        return [targets_of(jump_map.place(oid)) for oid in oids]

    assert layouts(2, ComponentState.NEW) == old
    assert layouts(3, ComponentState.UP) == old
    joined = layouts(4, ComponentState.UPIN)
    assert joined != old
    assert layouts(4, ComponentState.UPIN, at=3) == old
    assert joined == [targets_of(JumpMap(cluster(*[8] * 5)).place(oid)) for oid in oids]


def test_a_later_extension_that_finishes_first() -> None:
    """Hosts 3 (still NEW) and 4 (in service): 3 is passed over, without being a hole."""
    new = grown(cluster(8, 8, 8), [8], ComponentState.NEW, 2)
    base = grown(new, [8], ComponentState.UPIN, 3)
    jump_map = JumpMap(base)
    assert jump_map.topology == (4, 32)
    found: Counter[int] = Counter()
    for oid in object_ids("S1", 2000):
        found.update(shard.rank for shard in jump_map.place(oid).shards())
    assert set(found) == {0, 1, 2, 4}
    (oid,) = object_ids("SX", 1, groups=32)
    assert len(set(targets_of(jump_map.place(oid)))) == 32


def test_a_target_added_to_an_early_rank_comes_last_among_its_hosts_targets() -> None:
    """Only by id: by position it would shift those of the host's second rank."""
    base = PoolMap.initial([("a", [(Rank(0), 4), (Rank(1), 4)])])
    first, second = base.nodes[0].ranks
    late = Target(8, Rank(0), TargetIndex(4), version=V2, in_ver=V2)
    first = msgspec.structs.replace(first, targets=(*first.targets, late))
    after = PoolMap(V2, [msgspec.structs.replace(base.nodes[0], ranks=(first, second))])
    old, new = JumpMap(base), JumpMap(after)
    for oid in object_ids("S1", 300):
        ((was,),), ((now,),) = old.place(oid).groups, new.place(oid).groups
        assert now.target_id in (was.target_id, 8)


def test_a_new_target_inside_a_rank_is_passed_over() -> None:
    base = cluster(4)
    targets = list(base.targets)
    targets[1] = msgspec.structs.replace(targets[1], state=ComponentState.NEW)
    rank = msgspec.structs.replace(base.nodes[0].ranks[0], targets=tuple(targets))
    jump_map = JumpMap(PoolMap(V1, [msgspec.structs.replace(base.nodes[0], ranks=(rank,))]))
    (oid,) = object_ids("SX", 1, groups=3)
    assert sorted(targets_of(jump_map.place(oid))) == [0, 2, 3]


def test_the_state_of_a_target_moves_nothing() -> None:
    base = cluster(8, 8)
    victim = 5
    for state in (ComponentState.DOWN, ComponentState.DOWNOUT, ComponentState.DRAIN):
        targets = list(base.nodes[0].ranks[0].targets)
        targets[victim] = msgspec.structs.replace(targets[victim], state=state, fseq=V2)
        rank = msgspec.structs.replace(base.nodes[0].ranks[0], targets=tuple(targets))
        node = msgspec.structs.replace(base.nodes[0], ranks=(rank,))
        changed = JumpMap(PoolMap(V2, [node, base.nodes[1]]))
        for oid in object_ids("S6", 50):
            for old, new in zip(
                JumpMap(base).place(oid).shards(), changed.place(oid).shards(), strict=True
            ):
                if old.target_id == victim:
                    assert new == old._replace(state=state, fseq=V2)
                else:
                    assert new == old


def test_levels_choose_what_a_domain_is() -> None:
    """Two hosts of two ranks of two targets."""
    base = PoolMap.initial(
        [("a", [(Rank(0), 2), (Rank(1), 2)]), ("b", [(Rank(2), 2), (Rank(3), 2)])]
    )
    hosts = {0: "a", 1: "a", 2: "b", 3: "b"}
    for oid in object_ids("RP_2G2", 100):
        for group in JumpMap(base).place(oid).groups:
            assert len({hosts[shard.rank] for shard in group}) == 2
    for oid in object_ids("RP_4G2", 100):
        layout = JumpMap(base, level=Level.RANK).place(oid)
        for group in layout.groups:
            assert len({shard.rank for shard in group}) == 4
        assert sorted(targets_of(layout)) == list(range(8))
    with pytest.raises(InvalidError, match="needs 4 fault domains, there are 2"):
        JumpMap(base).place(object_ids("RP_4G2", 1)[0])


def test_every_registered_class_that_fits_a_large_pool() -> None:
    """1024 hosts of 16: as many shards as the class says, all on distinct targets."""
    jump_map = JumpMap(cluster(*[16] * 1024))
    for name in REGISTERED:
        if name == "RP_XSF":
            continue
        groups = 40 if name.endswith("X") else None
        (oid,) = object_ids(name, 1, groups=groups)
        oclass = ObjectClass.of(oid)
        found = targets_of(jump_map.place(oid))
        assert len(set(found)) == len(found) == oclass.group_size * oclass.groups


def test_draws_run_out_and_the_next_candidate_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hash that always says 0, placement still ends, and walks to the right."""
    monkeypatch.setattr("daos.placement.jump.jump_consistent", lambda key, buckets: 0)
    (oid,) = object_ids("S4", 1)
    assert targets_of(JumpMap(cluster(1, 1, 1, 1)).place(oid)) == [0, 1, 2, 3]


def test_refusals() -> None:
    base = cluster(2, 2)
    (wide,) = object_ids("S6", 1)
    with pytest.raises(InvalidError, match="needs 6 targets, there are 4"):
        JumpMap(base).place(wide)
    with pytest.raises(InvalidError, match="never decided"):
        JumpMap(base).place(object_ids("SX", 1)[0])
    for version in (0, 2):
        with pytest.raises(InvalidError, match=f"no layout of version {version}"):
            JumpMap(base, version=MapVersion(version))
    nobody = grown(cluster(), [2], ComponentState.NEW, 2)
    with pytest.raises(InvalidError, match="there are 0"):
        JumpMap(nobody).place(object_ids("S1", 1)[0])
