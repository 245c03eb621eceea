"""Object classes: numbers and names as the reference has them."""

from __future__ import annotations

import pytest

from daos.base.errors import InvalidError
from daos.base.ids import ObjectId, ObjectType
from daos.placement import oclass
from daos.placement.oclass import GROUPS_X, ObjectClass, Redundancy, Resilience


@pytest.mark.parametrize(
    ("name", "class_id"),
    [
        ("S1", 0x01000001),
        ("S32", 0x01000020),
        ("SX", 0x0100FFFF),
        ("RP_2G1", 0x08000001),
        ("RP_3GX", 0x0900FFFF),
        ("RP_6G12", 0x0C00000C),
        ("EC_2P1G1", 0x20000001),
        ("EC_4P2G6", 0),
        ("EC_4P3G4", 0x28000004),
        ("EC_16P3GX", 0x2A00FFFF),
        ("RP_XSF", 80),
        ("S5", 0),
        ("RP_8G1", 0),
        ("sx", 0),
        ("SX ", 0),
        ("", 0),
        ("RP_1G1", 0),
        ("EC_16P3G" + "9" * 40, 0),
    ],
)
def test_name_to_id(name: str, class_id: int) -> None:
    assert oclass.name_to_id(name) == class_id


def test_registered_names_count_and_round_trip() -> None:
    # 9 striped, 5 x 9 replicated, 11 x 8 erasure coded, RP_XSF.
    assert len(oclass.REGISTERED) == 9 + 45 + 88 + 1
    assert len(set(oclass.REGISTERED.values())) == len(oclass.REGISTERED)
    for name, class_id in oclass.REGISTERED.items():
        assert oclass.id_to_name(class_id) == name
        assert len(name) <= 24


@pytest.mark.parametrize(
    ("class_id", "name"),
    [
        (0x01000005, "S5"),
        (0x08000007, "RP_2G7"),
        (0x2200000A, "EC_4P1G10"),
        (0x14000001, "RP_128G1"),
        (0x23000006, "EC_4P2G6"),
    ],
)
def test_any_class_is_named(class_id: int, name: str) -> None:
    assert oclass.id_to_name(class_id) == name
    assert ObjectClass.from_id(class_id).id == class_id


@pytest.mark.parametrize(
    "class_id",
    [
        0,
        50,
        51,
        0x00FFFFFF,
        0x01000000,
        0x01010000,
        0x02000001,
        0x15000001,
        0x2B000001,
        -1,
        1 << 40,
    ],
)
def test_unknown_ids_are_refused(class_id: int) -> None:
    with pytest.raises(InvalidError):
        oclass.id_to_name(class_id)


@pytest.mark.parametrize(
    ("redundancy", "resilience", "size", "failures"),
    [
        (Redundancy.RP_1, Resilience.NONE, 1, 0),
        (Redundancy.RP_2, Resilience.REPLICATION, 2, 1),
        (Redundancy.RP_128, Resilience.REPLICATION, 128, 127),
        (Redundancy.EC_2P1, Resilience.ERASURE, 3, 1),
        (Redundancy.EC_16P3, Resilience.ERASURE, 19, 3),
    ],
)
def test_shapes(redundancy: Redundancy, resilience: Resilience, size: int, failures: int) -> None:
    shape = ObjectClass(redundancy, 2)
    assert (shape.resilience, shape.group_size) == (resilience, size)
    assert shape.allowed_failures == failures


@pytest.mark.parametrize("groups", [0, -1, GROUPS_X + 1])
def test_number_of_groups_is_bounded(groups: int) -> None:
    with pytest.raises(InvalidError, match="number of groups"):
        ObjectClass(Redundancy.RP_1, groups)


def test_class_of_an_object_id() -> None:
    def oid(redundancy: int, groups: int) -> ObjectId:
        return ObjectId.encode(
            user_hi=7, lo=9, type=ObjectType.ARRAY, redundancy=redundancy, groups=groups
        )

    assert ObjectClass.of(oid(35, 3)) == ObjectClass(Redundancy.EC_4P2, 3)
    for redundancy, groups, text in ((2, 1, "not a redundancy code"), (1, 0, "never decided")):
        with pytest.raises(InvalidError, match=text):
            ObjectClass.of(oid(redundancy, groups))
    with pytest.raises(InvalidError, match="never decided"):
        ObjectClass.of(oid(1, GROUPS_X))
