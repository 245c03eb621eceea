"""The dkeys of an object: one source for each redundancy group, so that they can be merged.

Source: DAOS src/object/cli_obj.c dc_obj_list_dkey, which visits one group after the other
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from daos.base.errors import InvalidError
from daos.base.ids import KeyKind
from daos.client.listing import PAGE_ENTRIES, AnchorDecoder, Fetch, Page
from daos.client.objectio import ObjectIo
from daos.client.session import Call
from daos.client.values import Key, check_count, decode_key, encode_key
from daos.object import core
from daos.object.client import ALL, Choice
from daos.placement.layout import Shard

_BYTES_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[bytes | None, list[bytes | None]])
_INTEGER_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[int | None, list[bytes | None]])


def key_anchor(kind: KeyKind) -> AnchorDecoder[Key]:
    """What reads the anchors of a listing of such keys."""
    decoder = _INTEGER_ANCHOR if kind is KeyKind.UINT64 else _BYTES_ANCHOR
    return cast("AnchorDecoder[Key]", decoder)  # keys of one kind are of one type


def choose(
    kind: KeyKind, prefix: Key | None, start: Key | None, *, reverse: bool = False
) -> Choice:
    """Which keys to list. Raises: InvalidError (a prefix of integers, a start without an order)."""
    if prefix and kind is KeyKind.UINT64:
        raise InvalidError("integer keys have no prefix")
    first = b""
    if start is not None and start != b"":
        if kind is KeyKind.HASHED:
            raise InvalidError("hashed keys have no order to start in; list them all")
        first = encode_key(start, kind, "start")
        core.check_key(first, kind, "start")
    return Choice(encode_key(prefix, kind, "prefix") if prefix else b"", first, reverse)


def dkey_sources(
    io: ObjectIo, choice: Choice = ALL, *, limit: int | None = None
) -> list[Fetch[Key]]:
    """Pages of the chosen dkeys, from each group. Raises: InvalidError (limit)."""
    entries = page_entries(io.oid.type.dkey_kind, limit)
    return [_dkeys_of(io, shard, choice, entries) for shard in core.shards(io.layout)]


def page_entries(kind: KeyKind, limit: int | None) -> int:
    """How many keys to ask a shard for where at most `limit` are wanted.

    Of hashed keys a whole page all the same: an anchor in the middle of a page is good only where
    that page begins and ends as it did.

    Raises: InvalidError
    """
    if limit is None:
        return PAGE_ENTRIES
    checked = check_count(limit, "limit", least=1)
    return PAGE_ENTRIES if kind is KeyKind.HASHED else min(PAGE_ENTRIES, checked)


def _dkeys_of(io: ObjectIo, shard: Shard, choice: Choice, entries: int) -> Fetch[Key]:
    kind = io.oid.type.dkey_kind

    async def fetch(anchor: bytes, call: Call) -> Page[Key]:
        page = await io.client.list_dkeys(
            shard, anchor=anchor, limit=entries, choice=choice, call=call
        )
        return Page([decode_key(key, kind) for key in page.keys], page.anchor, page.eof)

    return fetch
