"""Object classes: how many shards an object has and what a loss costs.

A class is (redundancy) x (number of redundancy groups). Its id is a u32:

    31..24  redundancy code   `Redundancy`
    23..0   groups            1 .. 65534, or 65535 = "X", as many as the pool holds

    S4 = 1 << 24 | 4      RP_2GX = 8 << 24 | 65535      EC_4P2G1 = 35 << 24 | 1

Ids below 2**24 are entries of a table; one of them is known here, RP_XSF = 80: one group with as
many replicas as there are fault domains. A dkey belongs to one group; the group has `group_size`
shards, each in a fault domain of its own. Total shards = group_size * groups.

Names: the registered ones are recognised (`name_to_id`), any id is named (`id_to_name`), so that
S5 can be printed but not typed.

Source: DAOS src/include/daos_obj_class.h, src/object/obj_class.c, src/object/obj_class_def.c
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from daos.base.errors import InvalidError
from daos.base.ids import GROUPS_MAX, ObjectId

GROUPS_X: Final = GROUPS_MAX
OC_UNKNOWN: Final = 0
OC_RP_XSF: Final = 80

_REDUNDANCY_SHIFT: Final = 24
_GROUPS_MASK: Final = (1 << _REDUNDANCY_SHIFT) - 1


class Resilience(Enum):
    """What stands against a loss."""

    NONE = "S"
    REPLICATION = "RP"
    ERASURE = "EC"


class Redundancy(IntEnum):
    """Redundancy codes, as they stand in class ids and object ids."""

    RP_1 = 1
    RP_2 = 8
    RP_3 = 9
    RP_4 = 10
    RP_5 = 11
    RP_6 = 12
    RP_8 = 13
    RP_12 = 14
    RP_16 = 15
    RP_24 = 16
    RP_32 = 17
    RP_48 = 18
    RP_64 = 19
    RP_128 = 20
    EC_2P1 = 32
    EC_2P2 = 33
    EC_4P1 = 34
    EC_4P2 = 35
    EC_8P1 = 36
    EC_8P2 = 37
    EC_16P1 = 38
    EC_16P2 = 39
    EC_4P3 = 40
    EC_8P3 = 41
    EC_16P3 = 42

    @property
    def resilience(self) -> Resilience:
        if self is Redundancy.RP_1:
            return Resilience.NONE
        return Resilience.ERASURE if self >= Redundancy.EC_2P1 else Resilience.REPLICATION

    @property
    def data_shards(self) -> int:
        """Shards of a group that hold data of their own: k of k+p, 1 of n replicas."""
        return _SHAPES[self][0]

    @property
    def spare_shards(self) -> int:
        """Shards of a group that may be lost: p of k+p, n - 1 of n replicas."""
        return _SHAPES[self][1]


def _shape(redundancy: Redundancy) -> tuple[int, int]:
    kind, _, numbers = redundancy.name.partition("_")
    if kind == Resilience.ERASURE.value:
        data, _, parity = numbers.partition("P")
        return int(data), int(parity)
    return 1, int(numbers) - 1


_SHAPES: Final = {redundancy: _shape(redundancy) for redundancy in Redundancy}


@dataclass(frozen=True, slots=True)
class ObjectClass:
    """One class. `groups` is GROUPS_X until the object id is generated."""

    redundancy: Redundancy
    groups: int

    def __post_init__(self) -> None:
        if not 1 <= self.groups <= GROUPS_X:
            raise InvalidError(
                f"object class: number of groups must be in [1, {GROUPS_X}], got {self.groups}"
            )

    @classmethod
    def from_id(cls, class_id: int) -> ObjectClass:
        """The class with this id.

        Raises:     InvalidError   no class has this id; OC_RP_XSF, which only a pool resolves
        """
        code, groups = class_id >> _REDUNDANCY_SHIFT, class_id & _GROUPS_MASK
        try:
            return cls(Redundancy(code), groups)
        except ValueError:
            raise InvalidError(f"unknown object class id {class_id:#x}") from None

    @classmethod
    def of(cls, oid: ObjectId) -> ObjectClass:
        """The class that `oid` was generated with, its number of groups concrete.

        Raises:     InvalidError   the id was never generated, or its fields name no class
        """
        groups = oid.groups
        try:
            redundancy = Redundancy(oid.redundancy)
        except ValueError:
            raise InvalidError(
                f"object id {oid}: {oid.redundancy} is not a redundancy code"
            ) from None
        if groups in (0, GROUPS_X):
            raise InvalidError(f"object id {oid}: its number of groups was never decided")
        return cls(redundancy, groups)

    @property
    def id(self) -> int:
        return self.redundancy << _REDUNDANCY_SHIFT | self.groups

    @property
    def name(self) -> str:
        groups = "X" if self.groups == GROUPS_X else str(self.groups)
        if self.redundancy is Redundancy.RP_1:
            return f"S{groups}"
        return f"{self.redundancy.name}G{groups}"

    @property
    def resilience(self) -> Resilience:
        return self.redundancy.resilience

    @property
    def group_size(self) -> int:
        """Shards of one redundancy group."""
        return self.redundancy.data_shards + self.redundancy.spare_shards

    @property
    def allowed_failures(self) -> int:
        """Fault domains that may be lost without losing data; the class's redundancy factor."""
        return self.redundancy.spare_shards


def _registered() -> dict[str, int]:
    striped = (1, 2, 4, 6, 8, 12, 16, 32, GROUPS_X)
    erasure = tuple(groups for groups in striped if groups != 6)
    names = {"RP_XSF": OC_RP_XSF}
    for redundancy in Redundancy:
        if redundancy.resilience is Resilience.ERASURE:
            counts = erasure
        elif redundancy <= Redundancy.RP_6:
            counts = striped
        else:
            continue
        for groups in counts:
            oclass = ObjectClass(redundancy, groups)
            names[oclass.name] = oclass.id
    return names


REGISTERED: Final = _registered()


def name_to_id(name: str) -> int:
    """The id of a registered class name, case-sensitive; OC_UNKNOWN (0) for any other text."""
    return REGISTERED.get(name, OC_UNKNOWN)


def class_id_of(oclass: str | int | None) -> int:
    """The id of a class that is given by name or id; None: OC_UNKNOWN.

    Raises:     InvalidError   no such name, or neither; whether an id is one `decide` says
    """
    if oclass is None:
        return OC_UNKNOWN
    if isinstance(oclass, str):
        class_id = name_to_id(oclass)
        if class_id == OC_UNKNOWN:
            raise InvalidError(f'object class {oclass!r} is not known; try "S1" or "SX"')
        return class_id
    if isinstance(oclass, bool) or not isinstance(oclass, int):
        raise InvalidError(f"an object class is a name or an id, not {oclass!r}")
    return oclass


def id_to_name(class_id: int) -> str:
    """The name of any class id, composed where it is not a registered one.

    Raises:     InvalidError   no class has this id
    """
    if class_id == OC_RP_XSF:
        return "RP_XSF"
    return ObjectClass.from_id(class_id).name
