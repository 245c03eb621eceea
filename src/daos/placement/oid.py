"""Generating object ids: choose a class, fit it to the pool, write both into the id.

The number of groups is decided here, once: "X" becomes a count, and an object never grows with its
pool. Inputs are counts only (`Topology`, container redundancy factor), so that a client can ask
without a pool map in hand.

Choosing (class id 0), rf = container redundancy factor, D = fault domains:

    rf  hint RP         hint EC, or none and an array type          else
    0   D>=2: 2 rep.    hint only, D>=3: ladder with 1 parity       none
    1   2 replicas      D>=3:  ladder with 1 parity                 2 replicas
    2   3 replicas      D>=4:  ladder with 2 parities               3 replicas
    3   4 replicas      D>=10: ladder with 3 parities               4 replicas
    4   5 replicas      5 replicas                                  5 replicas

    ladder: the widest of 16, 8, 4 data shards that leaves as many domains free as it has parities,
    else 2 data shards (which there are not with 3 parities)

Groups: X for arrays and flat key-values, 1 otherwise, or by hint; clipped so that `reserved`
groups' worth of targets stay free as spares.

Source: DAOS src/object/obj_class.c dc_set_oclass, daos_oclass_fit_max. Ours: a hint that the pool
cannot follow under rf 0 (EC on fewer than three domains) is dropped instead of refused.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final, NamedTuple

from daos.base.errors import InvalidError
from daos.base.ids import U32_MAX, ObjectId, ObjectType
from daos.placement.oclass import (
    GROUPS_X,
    OC_RP_XSF,
    OC_UNKNOWN,
    ObjectClass,
    Redundancy,
    Resilience,
)

RF_MAX: Final = 4


class Hint(IntFlag):
    """What the application expects of an object, when it leaves the class to us."""

    NONE = 0
    REDUNDANCY_DEFAULT = 1
    REDUNDANCY_NO = 2
    REDUNDANCY_RP = 4
    REDUNDANCY_EC = 8
    SHARDING_DEFAULT = 16
    SHARDING_TINY = 32
    SHARDING_REGULAR = 64
    SHARDING_HIGH = 128
    SHARDING_EXTENDED = 256
    SHARDING_MAX = 512


_REDUNDANCY_HINTS: Final = Hint.REDUNDANCY_NO | Hint.REDUNDANCY_RP | Hint.REDUNDANCY_EC
_SHARDING_HINTS: Final = (
    Hint.SHARDING_TINY
    | Hint.SHARDING_REGULAR
    | Hint.SHARDING_HIGH
    | Hint.SHARDING_EXTENDED
    | Hint.SHARDING_MAX
)
_HINTS_ALL: Final = (
    _REDUNDANCY_HINTS | _SHARDING_HINTS | Hint.REDUNDANCY_DEFAULT | Hint.SHARDING_DEFAULT
)

_REPLICAS: Final = (
    Redundancy.RP_1,
    Redundancy.RP_2,
    Redundancy.RP_3,
    Redundancy.RP_4,
    Redundancy.RP_5,
)

# By redundancy factor: (domains at least, code), widest first. The last is also the condition for
# erasure coding to be chosen at all.
_LADDERS: Final[dict[int, tuple[tuple[int, Redundancy], ...]]] = {
    1: (
        (18, Redundancy.EC_16P1),
        (10, Redundancy.EC_8P1),
        (6, Redundancy.EC_4P1),
        (3, Redundancy.EC_2P1),
    ),
    2: (
        (20, Redundancy.EC_16P2),
        (12, Redundancy.EC_8P2),
        (8, Redundancy.EC_4P2),
        (4, Redundancy.EC_2P2),
    ),
    3: ((22, Redundancy.EC_16P3), (14, Redundancy.EC_8P3), (10, Redundancy.EC_4P3)),
}

# (domains below, percent of the domains, domains beyond rf) kept free as spares.
_RESERVED_DOMAINS: Final = ((16, 0, 0), (32, 0, 1), (64, 0, 2), (128, 4, 2), (256, 6, 2))
_RESERVED_DOMAINS_LARGEST: Final = (8, 2)

# Groups wanted by a sharding hint: at least so many, or so many percent of the targets.
_SHARDING: Final = (
    (Hint.SHARDING_TINY, 1, 0),
    (Hint.SHARDING_REGULAR, 128, 25),
    (Hint.SHARDING_HIGH, 256, 50),
    (Hint.SHARDING_EXTENDED, 1024, 70),
)


class Topology(NamedTuple):
    """How many fault domains (at the container's level) and targets take part in placement."""

    domains: int
    targets: int


def generate(
    otype: ObjectType,
    *,
    lo: int,
    topology: Topology,
    user_hi: int = 0,
    rf: int = 0,
    class_id: int = OC_UNKNOWN,
    hints: Hint = Hint.NONE,
) -> ObjectId:
    """The object id for the application's 96 bits (`user_hi` u32, `lo` u64).

    Raises:     InvalidError   user bits or rf out of range, unknown class or hint, a class that
                               does not fit the pool or tolerates fewer failures than rf
    """
    if not 0 <= user_hi <= U32_MAX:
        raise InvalidError(f"object id: the upper half has 32 user bits, got {user_hi:#x}")
    oclass = decide(otype, topology=topology, rf=rf, class_id=class_id, hints=hints)
    return ObjectId.encode(
        user_hi=user_hi,
        lo=lo,
        type=otype,
        redundancy=oclass.redundancy,
        groups=oclass.groups,
    )


def decide(
    otype: ObjectType,
    *,
    topology: Topology,
    rf: int = 0,
    class_id: int = OC_UNKNOWN,
    hints: Hint = Hint.NONE,
) -> ObjectClass:
    """The class an object gets, its number of groups concrete. Raises: InvalidError"""
    if not 0 <= rf <= RF_MAX:
        raise InvalidError(f"redundancy factor must be in [0, {RF_MAX}], got {rf}")
    unknown = int(hints) & ~int(_HINTS_ALL)
    if unknown:
        raise InvalidError(f"unknown object hint bits {unknown:#x}")
    if topology.domains < 1 or topology.targets < 1:
        raise InvalidError("no target of the pool takes part in placement")
    if class_id == OC_UNKNOWN:
        return _choose(otype, hints, topology, rf)
    if class_id == OC_RP_XSF:
        oclass = ObjectClass(_widest_replicas(topology.domains), 1)
    else:
        oclass = ObjectClass.from_id(class_id)
    if oclass.allowed_failures < rf:
        raise InvalidError(
            f"object class {oclass.name} survives {oclass.allowed_failures} failures, "
            f"the container asks for {rf}"
        )
    check_fits(oclass, topology)
    if oclass.groups == GROUPS_X:
        return ObjectClass(oclass.redundancy, groups_max(oclass.group_size, topology, rf))
    return oclass


def check_fits(oclass: ObjectClass, topology: Topology) -> None:
    """Every shard of a group needs a domain, every shard of the object a target.

    Raises:     InvalidError   says which is missing
    """
    size = oclass.group_size
    if size > topology.domains:
        raise InvalidError(
            f"object class {oclass.name} needs {size} fault domains, there are {topology.domains}"
        )
    if oclass.groups != GROUPS_X and oclass.groups * size > topology.targets:
        raise InvalidError(
            f"object class {oclass.name} needs {oclass.groups * size} targets, "
            f"there are {topology.targets}"
        )


def groups_max(group_size: int, topology: Topology, rf: int) -> int:
    """What "X" stands for: all targets in groups, less those reserved as spares; at least 1."""
    domains, targets = topology
    percent, extra = next(
        (share for below, *share in _RESERVED_DOMAINS if domains < below),
        _RESERVED_DOMAINS_LARGEST,
    )
    reserved_domains = max(domains * percent // 100, rf + extra)
    reserved_targets = reserved_domains * targets // domains
    reserved = -(-reserved_targets // group_size)
    groups = targets // group_size
    if groups > reserved:
        groups -= reserved
    return max(1, min(groups, GROUPS_X - 1))


def _choose(otype: ObjectType, hints: Hint, topology: Topology, rf: int) -> ObjectClass:
    redundancy = _choose_redundancy(otype, hints, topology.domains, rf)
    wanted = _groups_wanted(otype, hints, topology.targets)
    size = ObjectClass(redundancy, 1).group_size
    check_fits(ObjectClass(redundancy, 1), topology)
    if wanted == GROUPS_X or wanted * size > topology.targets:
        wanted = groups_max(size, topology, rf)
    return ObjectClass(redundancy, wanted)


def _choose_redundancy(otype: ObjectType, hints: Hint, domains: int, rf: int) -> Redundancy:
    if rf == 0:
        if hints & Hint.REDUNDANCY_RP:
            return _REPLICAS[1] if domains >= 2 else _REPLICAS[0]
        wants_erasure = bool(hints & Hint.REDUNDANCY_EC)
    else:
        unsaid = not hints & _REDUNDANCY_HINTS
        wants_erasure = bool(hints & Hint.REDUNDANCY_EC) or (unsaid and otype.is_array)
    if wants_erasure:
        for domains_min, redundancy in _LADDERS.get(max(rf, 1), ()):
            if domains >= domains_min:
                return redundancy
    return _REPLICAS[rf]


def _groups_wanted(otype: ObjectType, hints: Hint, targets: int) -> int:
    for hint, least, percent in _SHARDING:
        if hints & hint:
            return min(max(least, targets * percent // 100), GROUPS_X - 1)
    if hints & Hint.SHARDING_MAX or otype.is_array or otype.is_kv:
        return GROUPS_X
    return 1


def _widest_replicas(domains: int) -> Redundancy:
    fitting = [
        redundancy
        for redundancy in Redundancy
        if redundancy.resilience is not Resilience.ERASURE and redundancy.spare_shards < domains
    ]
    return max(fitting, key=lambda redundancy: redundancy.spare_shards)
