"""What there is in an object: its keys, extents and versions, the largest and the smallest.

    dkeys, akeys         every key, merged over the shards
    extents, versions    what an akey holds, and what was ever written under it
    max_*, min_*         the ends, where keys are integers or records have an index
    newest_epoch         when it was changed last

`object.Object` adds the values.

Source: DAOS src/include/daos_obj.h daos_obj_list_*, daos_obj_query_key
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from daos.base.errors import InvalidError
from daos.base.ids import EPOCH_MAX, Epoch, KeyKind
from daos.base.iod import QueryFlag, Recx
from daos.client.listing import PAGE_ENTRIES, EntryT, Fetch, Listing, Page
from daos.client.objectio import ObjectHandle, ObjectIo
from daos.client.session import Call, Handle
from daos.client.shardlist import choose, dkey_sources, key_anchor, page_entries
from daos.client.values import (
    Extent,
    GivenKey,
    Key,
    Version,
    check_count,
    decode_key,
    encode_key,
)
from daos.object.client import Choice
from daos.object.core import FLAT_AKEY, check_key, is_flat

_EXTENT_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[Extent | None, list[bytes | None]])
_VERSION_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[Version | None, list[bytes | None]])


class ObjectKeys(ObjectHandle):
    """A handle of an object that can be asked what there is."""

    def __init__(self, parent: Handle, io: ObjectIo, *, writable: bool) -> None:
        super().__init__(parent, io, writable=writable)
        self._dkey_kind = io.oid.type.dkey_kind
        self._akey_kind = io.oid.type.akey_kind
        self._flat = is_flat(io.oid)

    def dkeys(
        self,
        prefix: bytes | None = None,
        *,
        start: Key | None = None,
        reverse: bool = False,
        anchor: bytes = b"",
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Listing[Key, GivenKey]:
        """Every dkey; ascending where the type has an order. Resumes at `listing.anchor`.

        Those that begin with `prefix`, from `start` on; `reverse`: from the last, or from `start`,
        backwards. The targets pick them out. `limit`: at most so many.

        Raises: InvalidError (a prefix of integers, a start without an order, an anchor of another
                enumeration, a limit below 1)
        """
        kind = self._dkey_kind
        choice = choose(kind, prefix, start, reverse=reverse)
        sources = dkey_sources(self._io, choice, limit=limit)
        return self._keys(sources, kind, choice, anchor, limit=limit, timeout=timeout)

    def akeys(
        self,
        dkey: Key,
        prefix: bytes | None = None,
        *,
        start: Key | None = None,
        reverse: bool = False,
        anchor: bytes = b"",
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Listing[Key, GivenKey]:
        """Every akey of one dkey; as dkeys."""
        key, kind = self._dkey(dkey), self._akey_kind
        choice = choose(kind, prefix, start, reverse=reverse)
        entries = page_entries(kind, limit)

        async def fetch(at: bytes, call: Call) -> Page[Key]:
            page = await self._io.client.list_akeys(
                key, anchor=at, limit=entries, choice=choice, call=call
            )
            return Page([decode_key(name, kind) for name in page.keys], page.anchor, page.eof)

        return self._keys([fetch], kind, choice, anchor, limit=limit, timeout=timeout)

    def extents(
        self,
        dkey: Key,
        akey: Key,
        *,
        reverse: bool = False,
        anchor: bytes = b"",
        timeout: float | None = None,
    ) -> Listing[Extent, Extent]:
        """The records of an array that exist, ascending or backwards, never overlapping."""
        fetch = self._extents_of(self._dkey(dkey), self._akey(akey), reverse=reverse)
        return Listing(
            self,
            [fetch],
            _itself,
            decoder=_EXTENT_ANCHOR,
            ordered=False,
            anchor=anchor,
            timeout=timeout,
        )

    def versions(
        self,
        dkey: Key,
        akey: Key,
        *,
        lo: int = 0,
        hi: int | None = None,
        reverse: bool = False,
        anchor: bytes = b"",
        timeout: float | None = None,
    ) -> Listing[Version, Version]:
        """All that was written under an akey in the epochs [lo, hi], seen today or not.

        Versions of a single value from the oldest on; of an array by first record, then newest
        first. `reverse`: the opposite. What snapshots do not keep, aggregation may remove.

        Units:  lo, hi are epochs, both included; hi None: until now, or the view's snapshot
        Raises: InvalidError
        """
        epochs = check_count(lo, "lo"), check_count(EPOCH_MAX if hi is None else hi, "hi")
        fetch = self._versions_of(self._dkey(dkey), self._akey(akey), epochs, reverse=reverse)
        return Listing(
            self,
            [fetch],
            _itself,
            decoder=_VERSION_ANCHOR,
            ordered=False,
            anchor=anchor,
            timeout=timeout,
        )

    async def max_dkey(self, *, timeout: float | None = None) -> int | None:
        """The largest integer dkey, None where there is none. Raises: InvalidError."""
        return await self._query_dkey(QueryFlag.MAX, timeout)

    async def min_dkey(self, *, timeout: float | None = None) -> int | None:
        """The smallest integer dkey, None where there is none. Raises: InvalidError."""
        return await self._query_dkey(QueryFlag.MIN, timeout)

    async def max_akey(self, dkey: Key, *, timeout: float | None = None) -> int | None:
        """The largest integer akey of a dkey, None where there is none. Raises: InvalidError."""
        return await self._query_akey(QueryFlag.MAX, dkey, timeout)

    async def min_akey(self, dkey: Key, *, timeout: float | None = None) -> int | None:
        """The smallest integer akey of a dkey, None where there is none. Raises: InvalidError."""
        return await self._query_akey(QueryFlag.MIN, dkey, timeout)

    async def max_record(self, dkey: Key, akey: Key, *, timeout: float | None = None) -> int | None:
        """The index of the last record that exists, None where there is none."""
        recx = await self._query_recx(QueryFlag.MAX, dkey, akey, timeout)
        return None if recx is None else recx.end - 1

    async def min_record(self, dkey: Key, akey: Key, *, timeout: float | None = None) -> int | None:
        """The index of the first record that exists, None where there is none."""
        recx = await self._query_recx(QueryFlag.MIN, dkey, akey, timeout)
        return None if recx is None else recx.index

    async def newest_epoch(self, *, timeout: float | None = None) -> Epoch:
        """When the object was changed last, or as of the view; 0 where nothing is.

        Writes and punches count. Aggregation forgets a punch with all that it hid.

        Cost: a walk over the object's keys and extents on its targets, 5 µs each
        """
        with self._operation(timeout) as call:
            return await self._io.newest_epoch(call=call)

    async def _query_dkey(self, flag: QueryFlag, timeout: float | None) -> int | None:
        if self._dkey_kind is not KeyKind.UINT64:
            raise InvalidError("only integer dkeys have a largest and a smallest one")
        with self._operation(timeout) as call:
            found = await self._io.query(flag | QueryFlag.DKEY, call=call)
        return None if found is None else int.from_bytes(found.dkey, "little")

    async def _query_akey(self, flag: QueryFlag, dkey: Key, timeout: float | None) -> int | None:
        if self._akey_kind is not KeyKind.UINT64:
            raise InvalidError("only integer akeys have a largest and a smallest one")
        key = self._dkey(dkey)
        with self._operation(timeout) as call:
            found = await self._io.query(flag | QueryFlag.AKEY, dkey=key, call=call)
        return None if found is None else int.from_bytes(found.akey, "little")

    async def _query_recx(
        self, flag: QueryFlag, dkey: Key, akey: Key, timeout: float | None
    ) -> Recx | None:
        key, name = self._dkey(dkey), self._akey(akey)
        with self._operation(timeout) as call:
            found = await self._io.query(flag | QueryFlag.RECX, dkey=key, akey=name, call=call)
        return None if found is None else found.recx

    def _keys(
        self,
        sources: Sequence[Fetch[Key]],
        kind: KeyKind,
        choice: Choice,
        anchor: bytes,
        *,
        limit: int | None,
        timeout: float | None,
    ) -> Listing[Key, GivenKey]:
        return Listing(
            self,
            sources,
            _itself,
            decoder=key_anchor(kind),
            ordered=kind is not KeyKind.HASHED,
            reverse=choice.reverse,
            anchor=anchor,
            limit=limit,
            timeout=timeout,
        )

    def _versions_of(
        self, dkey: bytes, akey: bytes, epochs: tuple[int, int], *, reverse: bool
    ) -> Fetch[Version]:
        async def fetch(at: bytes, call: Call) -> Page[Version]:
            page = await self._io.client.list_versions(
                dkey, akey, epochs, anchor=at, limit=PAGE_ENTRIES, reverse=reverse, call=call
            )
            versions = [
                Version(Epoch(v.epoch), v.index, v.count, v.size, v.covered) for v in page.versions
            ]
            return Page(versions, page.anchor, page.eof)

        return fetch

    def _extents_of(self, dkey: bytes, akey: bytes, *, reverse: bool) -> Fetch[Extent]:
        async def fetch(at: bytes, call: Call) -> Page[Extent]:
            page = await self._io.client.list_recxs(
                dkey, akey, anchor=at, limit=PAGE_ENTRIES, reverse=reverse, call=call
            )
            extents = [
                Extent(recx.index, recx.count, page.record_size, epoch)
                for recx, epoch in zip(page.recxs, page.epochs, strict=True)
            ]
            return Page(extents, page.anchor, page.eof)

        return fetch

    def _dkey(self, key: Key) -> bytes:
        return encode_key(key, self._dkey_kind, "dkey")

    def _akey(self, key: Key) -> bytes:
        name = encode_key(key, self._akey_kind, "akey")
        if self._flat:
            check_key(name, self._akey_kind, "akey")
            return FLAT_AKEY
        return name


def _itself(entry: EntryT) -> EntryT:
    return entry
