"""Everything that was ever written under one akey: all versions, also those that nobody sees now.

    single value    by epoch, then minor; backwards newest first
    extents         by first record, then newest first; backwards the exact opposite

Both walks go on from a *place*, which names a version that was given or passed over, and need not
exist any more. What lies outside of the epochs asked for is passed over by seeks; a walk says so by
`None` in place of a version, so that whoever counts steps can stop there.

    place of a single value   ~epoch u64 | ~minor u16                    the end of its tree key
    place of an extent        class u8 | lo u64 | ~epoch u64 | ~minor u16

Source: DAOS src/vos/vos_tree.c (single values), src/vos/evt_iter.c (extents, unsorted). Ours: an
order, since width classes have one; places, since cursors end at the next commit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from heapq import merge
from typing import Final, NamedTuple

from daos.base.ids import EPOCH_MAX, U64_MAX
from daos.vos.extent_record import ExtentRecord
from daos.vos.extent_scan import (
    CLASS,
    CLASS_END,
    KEY,
    RECORDS_MAX,
    U16_MAX,
    Cursor,
    Reader,
    classes_of,
)
from daos.vos.keys import SINGLE_KEY_SIZE, parse_single_key, single_key
from daos.vos.single import SingleRecord

_AKEY_SIZE: Final = 8
_SINGLE_PLACE: Final = struct.Struct(">QH")
_EXTENT_PLACE: Final = struct.Struct(">BQQH")


class Epochs(NamedTuple):
    """Epochs [lo, hi], both included, as epochs are everywhere."""

    lo: int = 0
    hi: int = int(EPOCH_MAX)


class SingleVersion(NamedTuple):
    """A single value as one update wrote it."""

    epoch: int
    minor: int
    record: SingleRecord


class ExtentVersion(NamedTuple):
    """An extent as one update wrote it: records [lo, hi)."""

    lo: int
    hi: int
    epoch: int
    minor: int
    record: ExtentRecord


def singles(
    reader: Reader, akey_id: int, epochs: Epochs, *, after: bytes = b"", newest_first: bool = False
) -> Iterator[tuple[bytes, SingleVersion]]:
    """Versions of a single value with their places, behind the place `after`.

    Raises:     CorruptError
    Cost:       a seek, and a step a version
    """
    cursor = reader.cursor()
    prefix = akey_id.to_bytes(_AKEY_SIZE, "big")
    if newest_first:
        step = cursor.next
        more = cursor.set_range(
            prefix + after + b"\0" if after else single_key(akey_id, epochs.hi, U16_MAX)
        )
    else:
        step = cursor.prev
        end = prefix + after if after else single_key(akey_id, epochs.lo, 0) + b"\0"
        more = cursor.prev() if cursor.set_range(end) else cursor.last()
    while more:
        key = cursor.key()
        if len(key) != SINGLE_KEY_SIZE or not key.startswith(prefix):
            return
        _, epoch, minor = parse_single_key(key)
        if not epochs.lo <= epoch <= epochs.hi:
            return
        record = SingleRecord.parse(cursor.value())
        yield key[_AKEY_SIZE:], SingleVersion(epoch, minor, record)
        more = step()


def extents(
    reader: Reader,
    akey_id: int,
    epochs: Epochs,
    *,
    classes: int,
    after: bytes = b"",
    reverse: bool = False,
) -> Iterator[tuple[bytes, ExtentVersion | None]]:
    """Extents of all classes in order, behind the place `after`; None: passed over.

    Raises:     CorruptError
    Cost:       a seek a class, a step an extent, two seeks a stack without any of these epochs
    """
    walks = [
        _class(reader.cursor(), akey_id, cls, epochs, after, reverse=reverse)
        for cls in classes_of(classes)
    ]
    for place, record in merge(*walks, key=_order_of, reverse=reverse):
        _, lo, inv, inv_minor = _EXTENT_PLACE.unpack(place)
        if record is None:
            yield place, None
            continue
        version = ExtentVersion(lo, lo + record.width, inv ^ U64_MAX, inv_minor ^ U16_MAX, record)
        yield place, version


def is_place(place: bytes, *, single: bool) -> bool:
    """Whether bytes from outside can be a place."""
    return len(place) == (_SINGLE_PLACE.size if single else _EXTENT_PLACE.size)


_Walk = Iterator[tuple[bytes, ExtentRecord | None]]


def _class(
    cursor: Cursor, akey_id: int, cls: int, epochs: Epochs, after: bytes, *, reverse: bool
) -> _Walk:
    """One class: its stacks by `lo`, each stack newest first, or all of it backwards."""
    newest, oldest = epochs.hi ^ U64_MAX, epochs.lo ^ U64_MAX
    prefix = CLASS.pack(akey_id, cls)
    seek = _backwards if reverse else _forwards
    more = seek(cursor, _first(akey_id, cls, after, reverse=reverse))
    while more:
        key = cursor.key()
        if key[:CLASS_END] != prefix:
            return
        _, _, lo, inv, _ = KEY.unpack(key)
        if newest <= inv <= oldest:
            yield key[_AKEY_SIZE:], ExtentRecord.parse(cursor.value())
            more = cursor.prev() if reverse else cursor.next()
            continue
        yield key[_AKEY_SIZE:], None
        # Beyond the epochs asked for comes another stack; in front of them, the rest of this one.
        if (inv < newest) is reverse:
            at = KEY.pack(akey_id, cls, lo, 0, 0) if reverse else _stack_end(akey_id, cls, lo)
        elif reverse:
            at = KEY.pack(akey_id, cls, lo, oldest, U16_MAX) + b"\0"
        else:
            at = KEY.pack(akey_id, cls, lo, newest, 0)
        more = seek(cursor, at)


def _first(akey_id: int, cls: int, after: bytes, *, reverse: bool) -> bytes:
    """Where a class goes on behind a place, which may be of another class."""
    if not after:
        return CLASS.pack(akey_id, cls + 1) if reverse else CLASS.pack(akey_id, cls)
    cls_after, *rest = _EXTENT_PLACE.unpack(after)
    key = KEY.pack(akey_id, cls, *rest)
    if reverse:
        return key + b"\0" if cls < cls_after else key
    return key if cls > cls_after else key + b"\0"


def _stack_end(akey_id: int, cls: int, lo: int) -> bytes:
    """The first key behind a stack."""
    if lo + 1 == RECORDS_MAX:
        return CLASS.pack(akey_id, cls + 1)
    return KEY.pack(akey_id, cls, lo + 1, 0, 0)


def _forwards(cursor: Cursor, key: bytes) -> bool:
    return cursor.set_range(key)


def _backwards(cursor: Cursor, key: bytes) -> bool:
    return cursor.prev() if cursor.set_range(key) else cursor.last()


def _order_of(entry: tuple[bytes, ExtentRecord | None]) -> bytes:
    """By record, epoch and minor first, by class last."""
    place = entry[0]
    return place[1:] + place[:1]
