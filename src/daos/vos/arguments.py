"""What requests must look like, whatever the tree holds; pure.

    check_update, check_fetch     raise InvalidError, KeyTooBigError, RecordTooBigError, and
                                  AccessError (DER_NO_PERM) for an akey named twice in one update
    plan_values                   the values that an update carries

A request may come from a peer whose service checked it, and from a test that did not: the store
checks again, since what it stores it must be able to read.

Source: DAOS src/object/cli_obj.c obj_req_valid, obj_iod_sgl_valid; src/vos/vos_io.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from daos.base.errors import AccessError, InvalidError, RecordTooBigError
from daos.base.ids import KeyKind
from daos.base.iod import Cond, Iod, IodType, Recx, check_iod, is_plain
from daos.bio.device import BLOCK
from daos.bio.media import Medium, select
from daos.vos.extents import PARITY_LO
from daos.vos.keys import ObjectFacts, check_user_key
from daos.vos.reserve import Value
from daos.vos.single import VALUE_SIZE_MAX

IODS_MAX: Final = 1024
RECXS_MAX: Final = 16_384

# Members of enums are looked up by name each time; these are not.
SINGLE: Final = IodType.SINGLE
NVME: Final = Medium.NVME
AKEY_COND: Final = int(Cond.AKEY_INSERT | Cond.AKEY_UPDATE)
DKEY_INSERT: Final = int(Cond.DKEY_INSERT)
DKEY_UPDATE: Final = int(Cond.DKEY_UPDATE)
AKEY_FETCH: Final = int(Cond.AKEY_FETCH)
PER_AKEY: Final = int(Cond.PER_AKEY)
_NOT_UPDATE: Final = ~(DKEY_INSERT | DKEY_UPDATE | AKEY_COND | PER_AKEY)
_NOT_FETCH: Final = ~int(Cond.DKEY_FETCH | Cond.AKEY_FETCH | Cond.PER_AKEY)

# Tree and log bytes, beside keys, payloads and checksums: root, object, dkey and a value; an akey
# and a value; a further value. A node takes 1,024 with its share of a split page, a value 512.
_UPDATE_BYTES: Final = 2560
_AKEY_BYTES: Final = 1536
VALUE_BYTES: Final = 512


def check_update(
    dkey: bytes, iods: Sequence[Iod], cond: int, kinds: tuple[KeyKind, KeyKind]
) -> None:
    """Refuse what no state of the tree accepts. Cost: O(iods + ranges)."""
    if cond:
        _check_update_cond(cond)
    check_user_key(dkey, kinds[0], "dkey")
    if not 0 < len(iods) <= IODS_MAX:
        raise InvalidError(f"an update names 1 to {IODS_MAX} akeys, not {len(iods)}")
    if len(iods) > 1 and len({iod.akey for iod in iods}) < len(iods):
        raise AccessError("an akey stands twice in one update")
    for iod in iods:
        check_user_key(iod.akey, kinds[1], "akey")
        check_iod(iod)
        if iod.cond:
            _check_akey_cond(iod.cond)
        if iod.type != SINGLE:
            _check_ranges(iod)
            for recx in iod.recxs:
                if iod.size * recx.count > VALUE_SIZE_MAX:
                    raise _too_big("a range", iod.size * recx.count)
        elif iod.size > VALUE_SIZE_MAX:
            raise _too_big("a single value", iod.size)


def check_fetch(dkey: bytes, iods: Sequence[Iod], cond: int, kinds: Sequence[KeyKind]) -> None:
    """Refuse what no state of the tree answers. Cost: O(iods)."""
    if cond & _NOT_FETCH:
        raise InvalidError(f"condition bits {cond & _NOT_FETCH:#x} have no meaning for a fetch")
    if cond & PER_AKEY and cond & AKEY_FETCH:
        raise InvalidError("conditions per akey exclude one for all akeys")
    check_user_key(dkey, kinds[0], "dkey")
    if not 0 < len(iods) <= IODS_MAX:
        raise InvalidError(f"a fetch names 1 to {IODS_MAX} akeys, not {len(iods)}")
    for iod in iods:
        check_user_key(iod.akey, kinds[1], "akey")
        check_iod(iod)
        if iod.cond & ~AKEY_FETCH:
            raise InvalidError(f"condition bits {iod.cond:#x} have no meaning for an akey's fetch")
        if len(iod.recxs) > RECXS_MAX:
            raise InvalidError(f"{len(iod.recxs)} ranges; one akey takes at most {RECXS_MAX}")


def plan_plain(
    dkey: bytes, iods: Sequence[Iod], facts: ObjectFacts, *, data_thresh: int, csum: tuple[int, int]
) -> tuple[list[Value], int] | None:
    """`check_update` and `plan_values` of one plain value, without conditions, in one step.

    None: it is something else, or wrong, or a punch; those two say. Units: as `plan_values`.
    """
    if not is_plain(dkey, iods, facts.dkey_size, facts.akey_size):
        return None
    iod = iods[0]
    nbytes = iod.size
    if not nbytes:
        return None
    tree_bytes = _UPDATE_BYTES + _AKEY_BYTES + 2 * (len(dkey) + len(iod.akey))
    record_size = 0
    if iod.recxs:
        record_size = nbytes
        nbytes *= iod.recxs[0].count
        tree_bytes += VALUE_BYTES - -nbytes // csum[1] * csum[0]
    if 0 < data_thresh <= nbytes:  # as `select` says
        return [Value(nbytes, record_size, -(-nbytes // BLOCK))], tree_bytes
    return [Value(nbytes, record_size, 0)], tree_bytes + nbytes


def plan_values(
    dkey: bytes, iods: Sequence[Iod], *, data_thresh: int, csum: tuple[int, int]
) -> tuple[list[Value], int]:
    """The values of a checked update, and the most that it may take of tree and log, in bytes.

    Units:      csum: bytes of a checksum, bytes that one covers
    """
    csum_size, chunk = csum
    values: list[Value] = []
    tree_bytes = _UPDATE_BYTES + 2 * len(dkey)
    for iod in iods:
        tree_bytes += _AKEY_BYTES + 2 * len(iod.akey)
        size = iod.size
        if iod.type == SINGLE:
            if not size:
                continue
            blocks = -(-size // BLOCK) if select(size, data_thresh) is NVME else 0
            values.append(Value(size, 0, blocks))
            tree_bytes += 0 if blocks else size
            continue
        tree_bytes += VALUE_BYTES * len(iod.recxs)
        if not size:
            continue
        for recx in iod.recxs:
            nbytes = size * recx.count
            blocks = -(-nbytes // BLOCK) if select(nbytes, data_thresh) is NVME else 0
            values.append(Value(nbytes, size, blocks))
            tree_bytes += -(-nbytes // chunk) * csum_size + (0 if blocks else nbytes)
    return values, tree_bytes


def _check_ranges(iod: Iod) -> None:
    recxs: Sequence[Recx] = iod.recxs
    if len(recxs) > RECXS_MAX:
        raise InvalidError(f"{len(recxs)} ranges; one akey takes at most {RECXS_MAX}")
    for recx in recxs:
        if recx.index + recx.count > PARITY_LO:
            raise InvalidError(f"records [{recx.index}, +{recx.count}) reach past 2**63")
    if len(recxs) > 1:
        end = 0
        for recx in sorted(recxs, key=_index_of):
            if recx.index < end:
                raise InvalidError(f"ranges of one akey overlap at record {recx.index}")
            end = recx.end


def _check_update_cond(cond: int) -> None:
    if cond & _NOT_UPDATE:
        raise InvalidError(f"condition bits {cond & _NOT_UPDATE:#x} have no meaning for an update")
    if cond & PER_AKEY and cond & AKEY_COND:
        raise InvalidError("conditions per akey exclude one for all akeys")
    if cond & DKEY_INSERT and cond & DKEY_UPDATE:
        raise InvalidError("a dkey cannot be asked to exist and not to exist")
    if cond & AKEY_COND == AKEY_COND:
        raise InvalidError("akeys cannot be asked to exist and not to exist")


def _check_akey_cond(cond: int) -> None:
    if cond & ~AKEY_COND:
        raise InvalidError(f"condition bits {cond:#x} have no meaning for an akey's update")
    if cond == AKEY_COND:
        raise InvalidError("an akey cannot be asked to exist and not to exist")


def _too_big(what: str, nbytes: int) -> RecordTooBigError:
    return RecordTooBigError(f"{what} has at most {VALUE_SIZE_MAX} bytes, got {nbytes}")


def _index_of(recx: Recx) -> int:
    return recx.index
