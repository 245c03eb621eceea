"""Generating object ids: choice of class, number of groups, refusals."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import ObjectType
from daos.placement.oclass import GROUPS_X, OC_RP_XSF, Redundancy, name_to_id
from daos.placement.oid import Hint, Topology, decide, generate, groups_max

EC, RP, NO = Hint.REDUNDANCY_EC, Hint.REDUNDANCY_RP, Hint.REDUNDANCY_NO
NONE = Hint.NONE
ARRAY, MULTI, KV = ObjectType.ARRAY_BYTE, ObjectType.MULTI_HASHED, ObjectType.KV_HASHED


def chosen(rf: int, domains: int, hints: Hint, otype: ObjectType) -> str:
    topology = Topology(domains, domains * 8)
    return decide(otype, topology=topology, rf=rf, hints=hints).redundancy.name


@pytest.mark.parametrize(
    ("rf", "hints", "otype", "by_domains"),
    [
        (0, NONE, ARRAY, {1: "RP_1", 30: "RP_1"}),
        (0, RP, MULTI, {1: "RP_1", 2: "RP_2", 30: "RP_2"}),
        (
            0,
            EC,
            MULTI,
            {
                2: "RP_1",
                3: "EC_2P1",
                5: "EC_2P1",
                6: "EC_4P1",
                9: "EC_4P1",
                10: "EC_8P1",
                17: "EC_8P1",
                18: "EC_16P1",
            },
        ),
        (1, NONE, ARRAY, {2: "RP_2", 3: "EC_2P1", 6: "EC_4P1", 10: "EC_8P1", 18: "EC_16P1"}),
        (1, NONE, MULTI, {2: "RP_2", 18: "RP_2"}),
        (1, NONE, KV, {18: "RP_2"}),
        (1, EC, MULTI, {2: "RP_2", 3: "EC_2P1"}),
        (1, RP, ARRAY, {18: "RP_2"}),
        (1, NO, ARRAY, {18: "RP_2"}),
        (1, Hint.REDUNDANCY_DEFAULT, ARRAY, {3: "EC_2P1"}),
        (
            2,
            NONE,
            ARRAY,
            {3: "RP_3", 4: "EC_2P2", 7: "EC_2P2", 8: "EC_4P2", 12: "EC_8P2", 20: "EC_16P2"},
        ),
        (2, NONE, MULTI, {20: "RP_3"}),
        (3, NONE, ARRAY, {9: "RP_4", 10: "EC_4P3", 14: "EC_8P3", 21: "EC_8P3", 22: "EC_16P3"}),
        (3, RP, ARRAY, {22: "RP_4"}),
        (4, NONE, ARRAY, {5: "RP_5", 30: "RP_5"}),
        (4, EC, ARRAY, {30: "RP_5"}),
    ],
)
def test_automatic_redundancy(
    rf: int, hints: Hint, otype: ObjectType, by_domains: dict[int, str]
) -> None:
    for domains, name in by_domains.items():
        assert chosen(rf, domains, hints, otype) == name, domains


@pytest.mark.parametrize(
    ("hint", "otype", "targets", "groups"),
    [
        (NONE, ARRAY, 8, 8),
        (NONE, KV, 8, 8),
        (NONE, MULTI, 8, 1),
        (Hint.SHARDING_DEFAULT, MULTI, 8, 1),
        (Hint.SHARDING_TINY, ARRAY, 8, 1),
        (Hint.SHARDING_MAX, MULTI, 8, 8),
        (Hint.SHARDING_REGULAR, MULTI, 8, 8),
        (Hint.SHARDING_REGULAR, MULTI, 200, 128),
        (Hint.SHARDING_REGULAR, MULTI, 1000, 250),
        (Hint.SHARDING_HIGH, MULTI, 1000, 500),
        (Hint.SHARDING_HIGH, MULTI, 300, 256),
        (Hint.SHARDING_EXTENDED, MULTI, 1000, 1000),
        (Hint.SHARDING_EXTENDED, MULTI, 2000, 1400),
        (Hint.SHARDING_EXTENDED, MULTI, 200_000, GROUPS_X - 1),
        (Hint.SHARDING_MAX, MULTI, 200_000, GROUPS_X - 1),
    ],
)
def test_automatic_number_of_groups(
    hint: Hint, otype: ObjectType, targets: int, groups: int
) -> None:
    assert decide(otype, topology=Topology(8, targets), hints=hint).groups == groups


@pytest.mark.parametrize(
    ("domains", "targets", "size", "rf", "groups"),
    [
        (1, 8, 1, 0, 8),
        (15, 120, 1, 0, 120),
        (16, 128, 1, 0, 120),  # rf + 1 domains of 8 targets in reserve
        (32, 256, 1, 0, 240),  # rf + 2
        (64, 512, 1, 0, 496),  # max(4 % of 64 = 2, 2)
        (100, 800, 1, 0, 768),  # 4 % of 100
        (128, 1024, 1, 0, 968),  # 6 % of 128 = 7
        (256, 2048, 1, 0, 1888),  # 8 % of 256 = 20
        (256, 2048, 1, 30, 1792),  # rf + 2 is more than 8 %
        (4, 8, 2, 1, 3),  # one domain = 2 targets = 1 group
        (2, 2, 2, 1, 1),  # reserve would leave nothing: skipped
        (3, 6, 3, 2, 2),  # likewise
        (8, 24, 3, 1, 7),
    ],
)
def test_what_x_stands_for(domains: int, targets: int, size: int, rf: int, groups: int) -> None:
    assert groups_max(size, Topology(domains, targets), rf) == groups


@pytest.mark.parametrize(
    ("domains", "targets", "fits", "refused"),
    [
        (1, 1, "S1 SX", "RP_2G1 RP_3G1 RP_4G1 RP_6G1 S2 S4 S32"),
        (1, 2, "S1 S2 SX", "RP_2G1 RP_2G2 S4"),
        (2, 2, "RP_2G1 RP_2GX", "RP_2G2 RP_2G4 RP_2G32 RP_3G1"),
        (2, 4, "RP_2G2", "RP_2G4"),
        (2, 8, "RP_2G4", "RP_4G2"),
    ],
)
def test_explicit_classes_fit_or_not(domains: int, targets: int, fits: str, refused: str) -> None:
    topology = Topology(domains, targets)
    for name in fits.split():
        decide(MULTI, topology=topology, class_id=name_to_id(name))
    for name in refused.split():
        with pytest.raises(InvalidError, match=f"class {name} needs"):
            decide(MULTI, topology=topology, class_id=name_to_id(name))


@pytest.mark.parametrize(
    ("domains", "name"), [(1, "RP_1"), (7, "RP_6"), (8, "RP_8"), (200, "RP_128")]
)
def test_rp_xsf_takes_the_most_replicas_that_fit(domains: int, name: str) -> None:
    oclass = decide(MULTI, topology=Topology(domains, domains), class_id=OC_RP_XSF)
    assert (oclass.redundancy.name, oclass.groups) == (name, 1)


def test_an_explicit_class_must_satisfy_the_redundancy_factor() -> None:
    topology = Topology(8, 64)
    with pytest.raises(InvalidError, match="survives 0 failures, the container asks for 1"):
        decide(MULTI, topology=topology, rf=1, class_id=name_to_id("SX"))
    assert decide(MULTI, topology=topology, rf=2, class_id=name_to_id("EC_4P2G1")).groups == 1
    with pytest.raises(InvalidError, match="needs 2 fault domains"):
        decide(MULTI, topology=Topology(1, 8), rf=1)


def test_the_id_carries_everything_and_the_users_bits() -> None:
    oid = generate(
        ARRAY,
        user_hi=0xDEADBEEF,
        lo=(1 << 64) - 1,
        topology=Topology(1, 8),
        class_id=name_to_id("SX"),
    )
    assert oid.hi == 13 << 56 | 1 << 48 | 8 << 32 | 0xDEADBEEF
    assert oid.lo == (1 << 64) - 1
    assert (oid.type, oid.redundancy, oid.groups) == (ARRAY, Redundancy.RP_1, 8)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"user_hi": 1 << 32}, "32 user bits"),
        ({"user_hi": -1}, "32 user bits"),
        ({"lo": 1 << 64}, "each half"),
        ({"lo": -1}, "each half"),
        ({"rf": 5}, "redundancy factor"),
        ({"rf": -1}, "redundancy factor"),
        ({"class_id": 51}, "unknown object class"),
        ({"hints": Hint(1024)}, "hint bits 0x400"),
        ({"topology": Topology(0, 0)}, "no target"),
    ],
)
def test_refusals(keywords: dict[str, int], text: str) -> None:
    arguments: dict[str, object] = {"lo": 1, "topology": Topology(1, 8)} | keywords
    with pytest.raises(InvalidError, match=text):
        generate(MULTI, **arguments)  # type: ignore[arg-type]  # wrong on purpose
