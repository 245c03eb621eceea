"""The dkeys of an object: one source for each redundancy group, so that they can be merged.

Source: DAOS src/object/cli_obj.c dc_obj_list_dkey, which visits one group after the other
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from daos.base.ids import KeyKind
from daos.client.listing import PAGE_ENTRIES, AnchorDecoder, Fetch, Page
from daos.client.objectio import ObjectIo
from daos.client.session import Call
from daos.client.values import Key, decode_key, encode_key
from daos.object import core
from daos.placement.layout import Shard

_BYTES_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[bytes | None, list[bytes | None]])
_INTEGER_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[int | None, list[bytes | None]])


def key_anchor(kind: KeyKind) -> AnchorDecoder[Key]:
    """What reads the anchors of a listing of such keys."""
    decoder = _INTEGER_ANCHOR if kind is KeyKind.UINT64 else _BYTES_ANCHOR
    return cast("AnchorDecoder[Key]", decoder)  # keys of one kind are of one type


def dkey_sources(io: ObjectIo, prefix: bytes, start: Key = b"") -> list[Fetch[Key]]:
    """Pages of the dkeys that begin with `prefix`, from each group.

    Ordered kinds only: from `start` on. What comes before it is listed and dropped here.
    """
    return [_dkeys_of(io, shard, prefix, start) for shard in core.shards(io.layout)]


def _dkeys_of(io: ObjectIo, shard: Shard, prefix: bytes, start: Key) -> Fetch[Key]:
    kind = io.oid.type.dkey_kind
    first = encode_key(start, kind, "start") if start else b""
    order = int.from_bytes(first, "little")

    def wanted(key: bytes) -> bool:
        if kind is KeyKind.UINT64:
            return int.from_bytes(key, "little") >= order
        return key >= first

    async def fetch(anchor: bytes, call: Call) -> Page[Key]:
        page = await io.client.list_dkeys(
            shard, anchor=anchor, limit=PAGE_ENTRIES, prefix=prefix, call=call
        )
        keys = [decode_key(key, kind) for key in page.keys if not first or wanted(key)]
        return Page(keys, page.anchor, page.eof)

    return fetch
