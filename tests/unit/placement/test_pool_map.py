"""The pool map as a value: invariants, look-ups, and its bytes."""

from __future__ import annotations

import struct

import msgspec
import pytest

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, InvalidError, NotFoundError
from daos.base.ids import MapVersion, Rank, TargetIndex
from daos.placement import pool_map
from daos.placement.oid import Topology
from daos.placement.pool_map import (
    ComponentState,
    HostNode,
    Level,
    PoolMap,
    RankNode,
    Target,
    has_joined,
)

V1, V2, V3 = MapVersion(1), MapVersion(2), MapVersion(3)
UPIN, UP, NEW, DOWN = (
    ComponentState.UPIN,
    ComponentState.UP,
    ComponentState.NEW,
    ComponentState.DOWN,
)


def two_hosts() -> PoolMap:
    """Host a: ranks 5 (2 targets) and 3 (1); host b: rank 0 (2)."""
    return PoolMap.initial([("a", [(Rank(5), 2), (Rank(3), 1)]), ("b", [(Rank(0), 2)])])


def with_target(base: PoolMap, target: Target, version: int) -> PoolMap:
    nodes = [
        msgspec.structs.replace(
            node,
            ranks=tuple(
                msgspec.structs.replace(
                    rank,
                    targets=tuple(target if t.id == target.id else t for t in rank.targets),
                )
                for rank in node.ranks
            ),
        )
        for node in base.nodes
    ]
    return PoolMap(MapVersion(version), nodes)


def test_initial_map() -> None:
    found = two_hosts()
    assert found.version == 1
    assert [(t.id, t.rank, t.index) for t in found.targets] == [
        (0, 5, 0),
        (1, 5, 1),
        (2, 3, 0),
        (3, 0, 0),
        (4, 0, 1),
    ]
    assert {(t.state, t.fseq, t.in_ver, t.out_ver) for t in found.targets} == {(UPIN, 1, 1, 0)}
    assert [rank.rank for rank in found.ranks()] == [5, 3, 0]
    assert repr(found) == "PoolMap(version=1, targets=5)"


def test_look_up_by_place_and_by_id() -> None:
    found = two_hosts()
    for target in found.targets:
        assert found.find(target.rank, target.index) is target
        assert found.target(target.id) is target
    for rank, index in ((1, 0), (5, 2), (5, -1)):
        with pytest.raises(NotFoundError, match=f"no target {index} on rank {rank}"):
            found.find(Rank(rank), TargetIndex(index))
    for target_id in (-1, 5):
        with pytest.raises(NotFoundError, match=f"id {target_id}"):
            found.target(target_id)


def test_maps_are_values() -> None:
    assert two_hosts() == two_hosts()
    assert hash(two_hosts()) == hash(two_hosts())
    assert two_hosts() != PoolMap(V2, two_hosts().nodes)
    assert two_hosts() != "map"


def test_a_rank_added_later_to_an_early_host() -> None:
    base = two_hosts()
    late = RankNode(3, Rank(9), UPIN, 0, V1, V2, (Target(5, Rank(9), TargetIndex(0)),))
    first = msgspec.structs.replace(base.nodes[0], ranks=(*base.nodes[0].ranks, late))
    grown = PoolMap(V2, (first, base.nodes[1]))
    assert [target.id for target in grown.targets] == [0, 1, 2, 3, 4, 5]
    assert grown.target(5).rank == 9
    assert PoolMap.parse(grown.emit()) == grown


@pytest.mark.parametrize(
    ("target", "version", "joined"),
    [
        (Target(0, Rank(0), TargetIndex(0)), 1, True),
        (Target(0, Rank(0), TargetIndex(0), NEW), 3, False),
        (Target(0, Rank(0), TargetIndex(0), UP, version=V2, in_ver=V3), 3, False),
        (Target(0, Rank(0), TargetIndex(0), UPIN, version=V2, in_ver=V3), 2, False),
        (Target(0, Rank(0), TargetIndex(0), UPIN, version=V2, in_ver=V3), 3, True),
        (Target(0, Rank(0), TargetIndex(0), DOWN, fseq=V2), 3, True),
        (Target(0, Rank(0), TargetIndex(0), UP, 2, fseq=V2, in_ver=V3), 3, True),
        (Target(0, Rank(0), TargetIndex(0), UP, 2, fseq=V2, in_ver=V3), 1, True),
        (Target(0, Rank(0), TargetIndex(0), UPIN, fseq=V3, version=V2, in_ver=V3), 1, False),
    ],
)
def test_who_takes_part(target: Target, version: int, joined: bool) -> None:
    assert has_joined(target, MapVersion(version)) is joined


def test_topology_counts_domains_and_targets_that_take_part() -> None:
    base = two_hosts()
    assert base.topology() == Topology(2, 5)
    assert base.topology(Level.RANK) == Topology(3, 5)
    changed = with_target(base, msgspec.structs.replace(base.targets[2], state=NEW), 2)
    assert changed.topology(Level.RANK) == Topology(2, 4)
    failed = with_target(base, msgspec.structs.replace(base.targets[2], state=DOWN, fseq=V2), 2)
    assert failed.topology(Level.RANK) == Topology(3, 5)


def _replace(base: PoolMap, **fields: object) -> list[HostNode]:
    return [msgspec.structs.replace(base.nodes[0], **fields), *base.nodes[1:]]


def _bad_maps() -> list[tuple[int, list[HostNode], str]]:
    base = two_hosts()
    a, b = base.nodes
    five, three = a.ranks

    def rank(**fields: object) -> list[HostNode]:
        return _replace(base, ranks=(msgspec.structs.replace(five, **fields), three))

    def target(**fields: object) -> list[HostNode]:
        return rank(targets=(msgspec.structs.replace(five.targets[0], **fields), five.targets[1]))

    return [
        (0, [a, b], "version 0"),
        (1 << 32, [a, b], "version"),
        (1, _replace(base, id=7), "node ids"),
        (1, [b, a], "nodes are out of order"),
        (1, _replace(base, ranks=()), "ids are not"),
        (1, _replace(base, ranks=(three, five)), "no ranks, or out of order"),
        (1, _replace(base, name="x" * 256), "name over 255"),
        (1, _replace(base, flags=8), "node 0 has impossible"),
        (1, rank(rank=Rank(0)), "appears twice"),
        (1, rank(rank=Rank(-1)), "rank -1 is not in"),
        (1, rank(version=V2), "rank 5 has impossible"),
        (1, rank(targets=five.targets[::-1]), "no targets, or out of order"),
        (1, rank(targets=five.targets[:1]), "target ids"),
        (1, target(index=TargetIndex(1)), "is elsewhere"),
        (1, target(rank=Rank(4)), "is elsewhere"),
        (1, target(fseq=V2), "target 0 has impossible"),
        (1, target(in_ver=V2), "target 0 has impossible"),
        (1, target(out_ver=MapVersion(-1)), "target 0 has impossible"),
        (1, target(version=MapVersion(0)), "target 0 has impossible"),
        (1, [*base.nodes, HostNode(2, "c", UPIN, 0, V1, V1, ())], "node 2 has no ranks"),
        (
            1,
            [
                *base.nodes,
                HostNode(2, "c", UPIN, 0, V1, V1, (RankNode(3, Rank(8), UPIN, 0, V1, V1, ()),)),
            ],
            "rank 8 has no targets",
        ),
    ]


@pytest.mark.parametrize(("version", "nodes", "text"), _bad_maps())
def test_broken_invariants_are_refused_in_both_directions(
    version: int, nodes: list[HostNode], text: str
) -> None:
    with pytest.raises(InvalidError, match=text):
        PoolMap(MapVersion(version), nodes)
    body = msgspec.msgpack.encode([version, nodes])
    with pytest.raises(CorruptError, match="pool map body"):
        PoolMap.parse(sealed(body))


def sealed(body: bytes, magic: int = pool_map.MAGIC, version: int = 1) -> bytes:
    return struct.pack("<IHHIIQ", magic, version, 0, len(body), 0, xxh3(body)) + body


def test_bytes_round_trip() -> None:
    found = two_hosts()
    assert PoolMap.parse(found.emit()) == found
    assert PoolMap.parse(found.emit()).emit() == found.emit()


def test_damage_is_named() -> None:
    good = two_hosts().emit()
    body = good[pool_map.HEADER_SIZE :]

    def patched(offset: int, value: int) -> bytes:
        return good[:offset] + bytes([value]) + good[offset + 1 :]

    for buf, text in (
        (good[:10], "size at byte 0"),
        (b"", "size at byte 0"),
        (patched(0, 0), "magic"),
        (sealed(body, version=2), "format version at byte 4: want 0x1, got 0x2"),
        (patched(6, 1), "reserved field at byte 6"),
        (patched(12, 1), "reserved field at byte 12"),
        (good[:-1], "body size"),
        (good + b"\0", "body size"),
        (patched(16, good[16] ^ 1), "checksum"),
        (patched(40, good[40] ^ 1), "checksum"),
        (sealed(b""), "body"),
        (sealed(b"\x91" * 5000), "body"),
        (sealed(body + b"\0"), "body"),
        (sealed(msgspec.msgpack.encode([1, [], "more"])), "body"),
    ):
        with pytest.raises(CorruptError, match=text):
            PoolMap.parse(buf)


def test_body_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_map, "BODY_SIZE_MAX", 10)
    with pytest.raises(CorruptError, match="body size"):
        PoolMap.parse(two_hosts().emit())


def test_names_are_text() -> None:
    base = two_hosts()
    with pytest.raises(InvalidError, match="no text"):
        PoolMap(V1, _replace(base, name="host\ud800"))
    body = base.emit()[pool_map.HEADER_SIZE :].replace(b"\xa1a", b"\xa1\xe2")
    with pytest.raises(CorruptError, match=r"(?i)utf-8"):  # msgspec words it in two ways
        PoolMap.parse(sealed(body))


def test_unknown_states_are_refused() -> None:
    base = two_hosts()
    raw = msgspec.msgpack.decode(base.emit()[pool_map.HEADER_SIZE :])
    raw[1][0][2] = 3
    with pytest.raises(CorruptError, match="Invalid enum value 3"):
        PoolMap.parse(sealed(msgspec.msgpack.encode(raw)))
