"""Extended attributes: akeys `x:NAME` of an entry, single values, empty ones too.

Each change also sets the entry's ctime. All are asked of the entry of a name, which must still name
the node's object.

Source: DAOS src/client/dfs/xattr.c. Ours: an attribute and ctime are one update
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from daos.base.errors import ExistsError, InvalidError, NotFoundError, RecordTooBigError
from daos.base.iod import Cond, Iod, IodType
from daos.client.landing import ManyLanding, Slot
from daos.client.listing import PAGE_ENTRIES
from daos.client.memory import BufferLike, readable
from daos.client.objectio import settle_epoch, settle_fetch
from daos.dfs import attributes, entries
from daos.dfs.attributes import fetch_known, gone
from daos.dfs.errors import NoAttributeError
from daos.dfs.layout import XATTR, XATTR_NAME_MAX, XATTR_VALUE_MAX, decode_name, encode_name
from daos.object.client import Choice
from daos.object.core import IODS_MAX

if TYPE_CHECKING:
    from daos.base.ids import ObjectId
    from daos.client.session import Call
    from daos.dfs.entries import Place
    from daos.dfs.mount import Mount

_PUNCH: Final = int(Cond.PUNCH)


class Setting(Enum):
    """Which attributes a value may be given."""

    ANY = 0
    CREATE = int(Cond.AKEY_INSERT)  # XATTR_CREATE: only a new one
    REPLACE = int(Cond.AKEY_UPDATE)  # XATTR_REPLACE: only one that there is


async def get(place: Place, oid: ObjectId, name: str, call: Call) -> bytes:
    """Raises: NoAttributeError, StaleFileError. Cost: one request; two where there is none."""
    akey = akey_of(name)
    found = await entries.fetch(place, call, required=(akey,))
    if found is None:
        await fetch_known(place, oid, call)
        raise NoAttributeError(f"{place} has no attribute {name!r}")
    if found.entry.oid != oid:
        raise gone(place)
    return found.values[akey]


async def set_(
    mount: Mount, place: Place, oid: ObjectId, change: tuple[str, BufferLike, Setting], call: Call
) -> None:
    """Raises: ExistsError, NoAttributeError (`Setting`), RecordTooBigError, InvalidError,
            StaleFileError
    Cost:   two requests
    """
    name, data, setting = change
    akey, value = akey_of(name), bytes(readable(data))
    if len(value) > XATTR_VALUE_MAX:
        raise RecordTooBigError(f"an attribute of {len(value)} bytes; at most {XATTR_VALUE_MAX}")
    entry = await fetch_known(place, oid, call)
    entry = attributes.touched(mount, entry)
    values = {akey: (value, setting.value)}
    try:
        await entries.change(place, entry, {"ctime_ns"}, call, values=values)
    except ExistsError:
        raise ExistsError(f"{place} has an attribute {name!r}") from None
    except NotFoundError:
        await fetch_known(place, oid, call)
        raise NoAttributeError(f"{place} has no attribute {name!r}") from None


async def remove(mount: Mount, place: Place, oid: ObjectId, name: str, call: Call) -> None:
    """Raises: NoAttributeError, StaleFileError. Cost: three requests."""
    akey = akey_of(name)
    entry = await fetch_known(place, oid, call)
    try:
        await settle_epoch(place.io.punch(place.name, (akey,), cond=_PUNCH, call=call))
    except NotFoundError:
        raise NoAttributeError(f"{place} has no attribute {name!r}") from None
    await attributes.write_fields(mount, place, entry, {}, call)


async def names(place: Place, oid: ObjectId, call: Call) -> list[str]:
    """Every attribute's name. Raises: StaleFileError. Cost: two requests."""
    await fetch_known(place, oid, call)
    return [decode_name(akey[len(XATTR) :]) for akey in sorted(await akeys(place, call))]


async def akeys(place: Place, call: Call) -> list[bytes]:
    """The akeys of the attributes. Cost: one request, for each 1024."""
    found: list[bytes] = []
    anchor, eof = b"", False
    while not eof:
        page = await place.io.client.list_akeys(
            place.name, anchor=anchor, limit=PAGE_ENTRIES, choice=Choice(XATTR), call=call
        )
        found += page.keys
        anchor, eof = page.anchor, page.eof
    return found


async def values(place: Place, call: Call) -> dict[bytes, bytes]:
    """The extended attributes of an entry. Cost: two requests, one where there are none."""
    found: dict[bytes, bytes] = {}
    names = await akeys(place, call)
    for lo in range(0, len(names), IODS_MAX):
        some = names[lo : lo + IODS_MAX]
        landing = ManyLanding([Slot(index, 0, 0) for index in range(len(some))])
        iods = [Iod(akey, IodType.SINGLE, 0) for akey in some]
        await settle_fetch(place.io.fetch(place.name, iods, landing, call=call))
        found |= {akey: value or b"" for akey, value in zip(some, landing.finish(), strict=True)}
    return found


def akey_of(name: str) -> bytes:
    if not isinstance(name, str):
        raise InvalidError(f"the name of an attribute is str, not {type(name).__name__}")
    raw = encode_name(name)
    if not 0 < len(raw) <= XATTR_NAME_MAX or b"\0" in raw:
        raise InvalidError(f"{name!r}: an attribute's name has 1 to {XATTR_NAME_MAX} bytes, no NUL")
    return XATTR + raw
