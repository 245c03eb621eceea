"""What object requests must look like, and which shard serves them; pure.

The client asks before it sends, the target again before it works: bytes from a peer are the world.
Source: DAOS src/object/cli_obj.c obj_req_valid and its callees; internals §5.4 of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daos.base.errors import AccessError, InvalidError, KeyTooBigError, NotSupportedError
from daos.base.ids import INTEGER_KEY_SIZE, KeyKind, ObjectId, ObjectType
from daos.base.iod import Cond, Iod, IodType, check_iod, is_plain
from daos.cart.bulk import BulkHandle
from daos.placement.layout import Layout, Shard, dkey_hash, group_of

KEY_SIZE_MAX: Final = 1 << 20  # bytes; the longest key the reference's tests use
IODS_MAX: Final = 1024  # akeys of one request
RECXS_MAX: Final = 16_384  # ranges of one request; Source: DAOS array list limit
# The akey of flat objects, key-values and arrays.
FLAT_AKEY: Final = b"0"
PARITY_BIT: Final = 1 << 63  # record indices from here on are parity of erasure codes

# As plain numbers: an operation on an IntFlag costs 0.7 µs, and every request makes several.
_UPDATE_COND: Final = int(
    Cond.DKEY_INSERT | Cond.DKEY_UPDATE | Cond.AKEY_INSERT | Cond.AKEY_UPDATE | Cond.PER_AKEY
)
_UPDATE_AKEY_COND: Final = int(Cond.AKEY_INSERT | Cond.AKEY_UPDATE)
_FETCH_COND: Final = int(Cond.DKEY_FETCH | Cond.AKEY_FETCH | Cond.PER_AKEY)
_FETCH_AKEY_COND: Final = int(Cond.AKEY_FETCH)
_PLAIN_FETCH: Final = int(Cond.DKEY_FETCH | Cond.AKEY_FETCH)
# Bytes of integer dkeys and akeys, 0 where keys are of any size, by the number of the type.
_KEY_SIZES: Final[dict[int, tuple[int, int]]] = {
    int(otype): tuple(  # type: ignore[misc]  # two of them
        INTEGER_KEY_SIZE if kind is KeyKind.UINT64 else 0
        for kind in (otype.dkey_kind, otype.akey_kind)
    )
    for otype in ObjectType
}
_UNKNOWN: Final = (-1, -1)  # no key has such a size
_PUNCH_COND: Final = int(Cond.PUNCH)
_PER_AKEY: Final = int(Cond.PER_AKEY)
_AKEY_COND: Final = int(Cond.AKEY_INSERT | Cond.AKEY_UPDATE | Cond.AKEY_FETCH)
# Types whose dkeys have one value, and no akeys of their own. The store, which checks requests of
# one akey again, does not know of them.
FLAT_TYPES: Final = frozenset(int(otype) for otype in ObjectType if otype.is_kv or otype.is_array)


def check_key(key: bytes, kind: KeyKind, what: str) -> None:
    """Refuse a key no object of this kind holds.

    Raises: InvalidError    empty, or not 8 bytes where keys are integers
            KeyTooBigError  over KEY_SIZE_MAX
    """
    if kind is KeyKind.UINT64:
        if len(key) != INTEGER_KEY_SIZE:
            raise InvalidError(f"{what}: integer keys are 8 bytes, got {len(key)}")
    elif not key:
        raise InvalidError(f"{what}: a key has at least one byte")
    elif len(key) > KEY_SIZE_MAX:
        raise KeyTooBigError(f"{what}: {len(key)} bytes; a key has at most {KEY_SIZE_MAX}")


def check_update(oid: ObjectId, dkey: bytes, iods: Sequence[Iod], cond: int) -> None:
    """Refuse an update that breaks a rule, before anything is sent or changed.

    Raises: InvalidError, KeyTooBigError; AccessError (an akey stands twice; several below a dkey
            of a flat object)
    """
    otype = oid.hi >> 56
    if (
        not cond
        and is_plain(dkey, iods, *_KEY_SIZES.get(otype, _UNKNOWN))
        and (iods[0].akey == FLAT_AKEY or otype not in FLAT_TYPES)
    ):
        return
    if len(iods) > 1 and is_flat(oid):
        raise AccessError(f"object {oid} has one value a dkey; {len(iods)} akeys cannot be updated")
    _check_request(oid, dkey, iods)
    _check_cond(cond, _UPDATE_COND, "update")
    seen: set[bytes] = set()
    for iod in iods:
        if iod.akey in seen:
            raise AccessError(f"akey {_short(iod.akey)} stands twice in one update")
        seen.add(iod.akey)
        _check_cond(iod.cond, _UPDATE_AKEY_COND, "update of one akey")


def check_fetch(oid: ObjectId, dkey: bytes, iods: Sequence[Iod], cond: int) -> None:
    """Refuse a fetch that breaks a rule. Raises: InvalidError, KeyTooBigError."""
    otype = oid.hi >> 56
    if (
        not cond & ~_PLAIN_FETCH
        and is_plain(dkey, iods, *_KEY_SIZES.get(otype, _UNKNOWN))
        and (iods[0].akey == FLAT_AKEY or otype not in FLAT_TYPES)
    ):
        return
    _check_request(oid, dkey, iods)
    _check_cond(cond, _FETCH_COND, "fetch")
    for iod in iods:
        _check_cond(iod.cond, _FETCH_AKEY_COND, "fetch of one akey")


def check_room(iods: Sequence[Iod], room: Sequence[int], bulk: BulkHandle | None) -> None:
    """Refuse a fetch whose memory is not what it says. Raises: InvalidError."""
    if bulk is None:
        if room:
            raise InvalidError("room for values in no memory")
        return
    wanted = sum([len(iod.recxs) or 1 for iod in iods])
    if len(room) != wanted or min(room) < 0 or sum(room) != bulk.nbytes:
        raise InvalidError(
            f"{len(room)} rooms of {sum(room)} bytes; the request has {wanted} values and ranges, "
            f"its memory {bulk.nbytes} bytes"
        )


def check_punch(oid: ObjectId, dkey: bytes, akeys: Sequence[bytes], cond: int) -> None:
    """Refuse a punch that breaks a rule; an empty dkey means the whole object.

    Raises: InvalidError, KeyTooBigError
    """
    _check_cond(cond, _PUNCH_COND, "punch")
    if akeys and not dkey:
        raise InvalidError("punch of akeys needs their dkey")
    if akeys and is_flat(oid):
        raise InvalidError(f"object {oid} has no akeys to punch; punch its dkeys")
    if len(akeys) > IODS_MAX:
        raise InvalidError(f"punch of {len(akeys)} akeys; one request has at most {IODS_MAX}")
    if dkey:
        check_key(dkey, oid.type.dkey_kind, "dkey")
    for akey in akeys:
        check_key(akey, oid.type.akey_kind, "akey")


def is_flat(oid: ObjectId) -> bool:
    """Whether a dkey of the object has one value, under the akey FLAT_AKEY, and no other akeys.

    Source: DAOS src/vos/vos_tree.c KREC_BF_NO_AKEY; internals §1.1 "Flat dkey"
    """
    return oid.hi >> 56 in FLAT_TYPES


def check_openable(oid: ObjectId) -> None:
    """Refuse objects that nobody may have. Raises: NotSupportedError, InvalidError."""
    check_supported(oid)
    check_type(oid.type)


def check_type(otype: ObjectType) -> None:
    """Refuse types that no object of a user's has. Raises: NotSupportedError."""
    if otype in (ObjectType.OIT, ObjectType.OIT_V2):
        raise NotSupportedError(
            f"object type {otype.name}: tables of object ids are not kept as objects; "
            "`objects()` of a container, or of its view at a snapshot, lists them"
        )


def check_supported(oid: ObjectId) -> None:
    """Refuse what this version can't keep. Raises: NotSupportedError, InvalidError."""
    if oid.redundancy != 1:
        raise NotSupportedError(
            f"object {oid} is of a replicated or erasure-coded class; this version stores S1…SX"
        )


def shard_of(layout: Layout, oid: ObjectId, dkey: bytes) -> Shard:
    """The shard that owns `dkey`. Cost: a hash of the key, and a jump hash over the groups."""
    if len(layout.groups) == 1:
        return layout.groups[0][0]
    key_hash = dkey_hash(dkey, oid.type.dkey_kind)
    return layout.groups[group_of(key_hash, len(layout.groups))][0]


def shards(layout: Layout) -> list[Shard]:
    """Every shard that holds a part of an unreplicated object, in group order."""
    return [group[0] for group in layout.groups]


def value_sizes(iods: Sequence[Iod]) -> list[int]:
    """Bytes of each value of an update in payload order; punches carry none.

    Shapes: one entry a single value, one a range of an array
    """
    sizes: list[int] = []
    for iod in iods:
        if not iod.size:
            continue
        if iod.type == IodType.SINGLE:
            sizes.append(iod.size)
        else:
            sizes.extend(iod.size * recx.count for recx in iod.recxs)
    return sizes


def _check_request(oid: ObjectId, dkey: bytes, iods: Sequence[Iod]) -> None:
    otype = oid.type
    check_key(dkey, otype.dkey_kind, "dkey")
    if not 0 < len(iods) <= IODS_MAX:
        raise InvalidError(f"a request names 1 to {IODS_MAX} akeys, not {len(iods)}")
    for iod in iods:
        if iod.akey != FLAT_AKEY and is_flat(oid):
            raise InvalidError(f"object {oid}: its only akey is {FLAT_AKEY!r}")
        check_key(iod.akey, otype.akey_kind, "akey")
        check_iod(iod)
        _check_ranges(iod)


def _check_ranges(iod: Iod) -> None:
    recxs = iod.recxs
    if len(recxs) > RECXS_MAX:
        raise InvalidError(f"{len(recxs)} ranges; one akey takes at most {RECXS_MAX}")
    end = 0
    for recx in recxs if len(recxs) < 2 else sorted(recxs, key=lambda recx: recx.index):
        if recx.end > PARITY_BIT:
            raise InvalidError(f"records [{recx.index}, +{recx.count}) reach past 2**63")
        if recx.index < end:
            raise InvalidError(f"ranges of akey {_short(iod.akey)} overlap at record {recx.index}")
        end = recx.end


def _check_cond(cond: int, allowed: int, what: str) -> None:
    if not cond:
        return
    if not isinstance(cond, int):
        raise InvalidError(f"conditions are members of Cond, joined by |, not {cond!r}")
    bits = int(cond)
    if bits & ~allowed:
        raise InvalidError(f"condition bits {bits & ~allowed:#x} have no meaning for {what}")
    if bits & _PER_AKEY and bits & _AKEY_COND:
        raise InvalidError("conditions per akey exclude one for all akeys")


def _short(key: bytes) -> str:
    return repr(key if len(key) <= 32 else key[:32] + b"...")
