"""One directory entry: insert, fetch, change, take away. One request each, each atomic.

Source: DAOS src/client/dfs/common.c fetch_entry, insert_entry, remove_entry
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from daos.base.errors import CorruptError, ExistsError, NotFoundError
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType
from daos.client.landing import ManyLanding, Slot
from daos.client.objectio import ObjectIo, settle_epoch, settle_fetch
from daos.client.session import Call
from daos.dfs.layout import INODE, INODE_SIZE, SLINK, WHOLE, Entry, Kind, decode_name, pieces_of

_EXISTS: Final = int(Cond.DKEY_FETCH)
_PER_AKEY: Final = int(Cond.DKEY_FETCH | Cond.PER_AKEY)
_AKEY: Final = int(Cond.AKEY_FETCH)
_OVER: Final = int(Cond.DKEY_UPDATE | Cond.PER_AKEY)
_HAS: Final = int(Cond.AKEY_UPDATE)
_INSERT: Final = int(Cond.DKEY_INSERT)
_UPDATE: Final = int(Cond.DKEY_UPDATE)
_PUNCH: Final = int(Cond.PUNCH)


class Place(NamedTuple):
    """Where an entry stands: a directory's object, a name."""

    io: ObjectIo
    name: bytes

    def __str__(self) -> str:
        return repr(decode_name(self.name))


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as it was at `epoch`."""

    entry: Entry
    epoch: Epoch
    target: bytes = b""  # of a symlink
    values: Mapping[bytes, bytes] = field(default_factory=dict)  # those asked for that there are


async def fetch(
    place: Place, call: Call, akeys: Collection[bytes] = (), *, required: Collection[bytes] = ()
) -> Found | None:
    """The entry, with further single values; None: there is none, or none of the required.

    An empty value is none, unless it is required.

    Raises: CorruptError
    """
    names = (SLINK, *akeys, *required)
    iods = [Iod(INODE, IodType.ARRAY, 1, WHOLE)]
    iods += [Iod(name, IodType.SINGLE, 0, cond=_AKEY if name in required else 0) for name in names]
    slots = [Slot(0, 0, INODE_SIZE), *(Slot(index, 0, 0) for index in range(1, len(iods)))]
    landing = ManyLanding(slots)
    cond = _PER_AKEY if required else _EXISTS
    request = place.io.fetch(place.name, iods, landing, cond=cond, call=call)
    try:
        reply = await settle_fetch(request)
    except NotFoundError:
        return None
    raw, *values = landing.finish()
    if raw is None:
        raise CorruptError(f"directory entry {place}", offset=0, want=INODE_SIZE, got="nothing")
    entry = Entry.parse(raw)
    found = {
        name: value or b""
        for name, value in zip(names, values, strict=True)
        if value is not None or name in required
    }
    target = found.pop(SLINK, b"")
    if entry.kind is Kind.SYMLINK and len(target) != entry.value_len:
        want, got = entry.value_len, len(target)
        raise CorruptError(f"target of symlink {place}", offset=0, want=want, got=got)
    return Found(entry, Epoch(reply.epoch), target, found)


async def fetch_raw(place: Place, call: Call) -> bytes | None:
    """The 88 bytes of the inode, whatever they say; None: there are none."""
    iod = Iod(INODE, IodType.ARRAY, 1, WHOLE)
    landing = ManyLanding([Slot(0, 0, INODE_SIZE)])
    await settle_fetch(place.io.fetch(place.name, [iod], landing, call=call))
    (raw,) = landing.finish()
    return raw


async def insert(place: Place, found: Found, call: Call, *, over: bytes = b"") -> None:
    """Write an entry with its values: a new one, or over one that has the akey `over`.

    Raises: ExistsError (there is an entry), NotFoundError (none with that akey)
    """
    iods = [Iod(INODE, IodType.ARRAY, 1, WHOLE)]
    views = [memoryview(found.entry.emit())]
    values = dict(found.values)
    if found.entry.kind is Kind.SYMLINK:
        values[SLINK] = found.target
    for name, value in values.items():
        cond = _HAS if name == over else 0
        iods.append(Iod(name, IodType.SINGLE, len(value), cond=cond))
        views += [memoryview(value)] if value else []
    cond = _OVER if over else _INSERT
    await settle_epoch(place.io.update(place.name, iods, views, cond=cond, call=call))


async def change(
    place: Place,
    entry: Entry,
    names: set[str],
    call: Call,
    *,
    values: Mapping[bytes, tuple[bytes, int]] | None = None,
) -> None:
    """Write fields of an entry that exists, if any, and single values, each with conditions.

    Raises: NotFoundError (the entry is gone, or a condition), ExistsError (a condition)
    """
    pieces = pieces_of(entry, names)
    iods = [Iod(INODE, IodType.ARRAY, 1, tuple(recx for recx, _ in pieces))] if pieces else []
    views = [memoryview(data) for _, data in pieces]
    cond = _UPDATE
    for name, (value, flags) in (values or {}).items():
        iods.append(Iod(name, IodType.SINGLE, len(value), cond=flags))
        views += [memoryview(value)] if value else []
        cond |= Cond.PER_AKEY
    await settle_epoch(place.io.update(place.name, iods, views, cond=int(cond), call=call))


async def punch(place: Place, call: Call, *, unchanged_since: Epoch) -> bool:
    """Take the entry away, if it is still what was fetched at that epoch; whether it was.

    Raises: NotFoundError (it is gone)
    """
    request = place.io.punch(place.name, cond=_PUNCH, unchanged_since=unchanged_since, call=call)
    try:
        await settle_epoch(request)
    except NotFoundError:
        raise NotFoundError(f"there is no {place}") from None
    except ExistsError:
        return False
    return True


async def drop(
    place: Place, akeys: Collection[bytes], call: Call, *, unchanged_since: int = 0
) -> bool:
    """Take single values away; whether the entry was unchanged since that epoch, 0: whatever."""
    request = place.io.punch(place.name, tuple(akeys), unchanged_since=unchanged_since, call=call)
    try:
        await settle_epoch(request)
    except ExistsError:
        return False
    return True
