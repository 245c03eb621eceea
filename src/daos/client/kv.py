"""A flat key-value object: a dkey for each key, its value single, under the akey "0".

New ones are of type KV_LEXICAL, so that `scan` goes in order of the keys; KV_HASHED ones are
enumerated in no order. Keys are spread over the shards by hash, so a scan merges all of them.
An empty value is a value: the key exists.

Source: DAOS src/client/kv/dc_kv.c; internals §5.13. Ours: order across shards, put_many, get_many
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Final, Generic, TypeAlias, TypeVar, cast, overload

from daos.base.errors import InvalidError, KeyNotFoundError, NotFoundError, RecordTooBigError
from daos.base.ids import Epoch, KeyKind
from daos.base.iod import Cond, Iod, IodType
from daos.client.execute import execute
from daos.client.landing import ValueLanding
from daos.client.listing import Listing
from daos.client.memory import BufferLike, readable, writable
from daos.client.objectio import (
    RUNNING_MAX,
    ObjectHandle,
    ObjectIo,
    or_missing,
    settle_epoch,
    settle_fetch,
)
from daos.client.session import Handle
from daos.client.shardlist import choose, dkey_sources, key_anchor
from daos.client.task import Batch
from daos.client.values import Key, encode_key
from daos.object.core import KEY_SIZE_MAX, check_key
from daos.object.wire import UPDATE_BYTES_MAX

KvKey: TypeAlias = str | bytes | int  # int: for integer-key types

# A Mapping's key type is invariant: a dict[str, bytes] is no Mapping[str | bytes | int, bytes].
KvKeyT = TypeVar("KvKeyT", bound=KvKey)
# What listings give: bytes; str with `text`; int where keys are integers.
GivenT = TypeVar("GivenT", bound=KvKey)
DefaultT = TypeVar("DefaultT")

AKEY: Final = b"0"

# Keys of one batch. All objects of a batch live until its end, and the garbage collector walks
# over them again and again: with 3000 at once it took half of the time.
BATCH_KEYS: Final = 256


class KeyValue(ObjectHandle, Generic[GivenT]):
    """A flat key-value object. Its synchronous face is a MutableMapping as well.

    Keys are bytes, or str (UTF-8); listings give bytes, or str with `text`.
    """

    def __init__(self, parent: Handle, io: ObjectIo, *, text: bool) -> None:
        """Raises: InvalidError (the id is of another type)."""
        if not io.oid.type.is_kv:
            raise InvalidError(f"object {io.oid} is of type {io.oid.type.name}, no key-value type")
        super().__init__(parent, io, writable=parent.writable)
        self.text = text
        self._kind = io.oid.type.dkey_kind

    async def put(
        self, key: KvKey, value: BufferLike, *, cond: int = 0, timeout: float | None = None
    ) -> None:
        """Make `value` the value of `key`. Durable on return. cond: KEY_INSERT, KEY_UPDATE.

        Atomicity:  all or nothing
        Raises:     ExistsError, NotFoundError (cond), NoSpaceError, InvalidError (empty key),
                    RecordTooBigError, AccessError
        """
        view = _value(value)
        with self._operation(timeout, write=True) as call:
            iods, views = _put(view)
            request = self._io.update(self._key(key), iods, views, cond=cond, call=call)
            await settle_epoch(request)

    @overload
    async def get(
        self, key: KvKey, default: None = None, *, cond: int = 0, timeout: float | None = None
    ) -> bytes | None: ...

    @overload
    async def get(
        self, key: KvKey, default: DefaultT, *, cond: int = 0, timeout: float | None = None
    ) -> bytes | DefaultT: ...

    async def get(
        self,
        key: KvKey,
        default: DefaultT | None = None,
        *,
        cond: int = 0,
        timeout: float | None = None,
    ) -> bytes | DefaultT | None:
        """The value of `key`, or `default`. With cond KEY_GET a missing key is an error.

        Raises: KeyNotFoundError (cond), InvalidError (empty key), ChecksumError
        """
        landing = ValueLanding()
        with self._operation(timeout) as call:
            request = self._io.fetch(
                self._key(key), _GET, landing, cond=cond or _KEY_GET, call=call
            )
            try:
                await settle_fetch(request)
            except NotFoundError:
                if cond:
                    raise _missing(key) from None
                return default
            return landing.value

    async def get_into(self, key: KvKey, into: BufferLike, *, timeout: float | None = None) -> int:
        """Read the value of `key` into memory of the caller's; its size in bytes.

        Raises: KeyNotFoundError, RecordTooBigError (the value is larger than `into`), InvalidError
        """
        landing = ValueLanding(writable(into))
        with self._operation(timeout) as call:
            request = self._io.fetch(self._key(key), _GET, landing, cond=_KEY_GET, call=call)
            try:
                return (await settle_fetch(request)).sizes[0]
            except NotFoundError:
                raise _missing(key) from None

    async def size(self, key: KvKey, *, timeout: float | None = None) -> int:
        """Bytes of the value of `key`; 0 if absent."""
        with self._operation(timeout) as call:
            request = self._io.fetch(self._key(key), _GET, None, call=call)
            return (await settle_fetch(request)).sizes[0]

    async def contains(self, key: KvKey, *, timeout: float | None = None) -> bool:
        """Whether there is a value under `key`, be it empty."""
        with self._operation(timeout) as call:
            request = self._io.fetch(self._key(key), _GET, None, cond=_KEY_GET, call=call)
            try:
                await settle_fetch(request)
            except NotFoundError:
                return False
            return True

    async def remove(self, key: KvKey, *, cond: int = 0, timeout: float | None = None) -> None:
        """Forget `key`. With cond KEY_REMOVE a missing key is an error, else it is none.

        Raises: KeyNotFoundError (cond), AccessError, InvalidError
        """
        with self._operation(timeout, write=True) as call:
            try:
                await settle_epoch(self._io.punch(self._key(key), cond=cond, call=call))
            except NotFoundError:
                raise _missing(key) from None

    async def put_many(
        self,
        items: Mapping[KvKeyT, BufferLike] | Iterable[tuple[KvKeyT, BufferLike]],
        *,
        cond: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Put several, in parallel, each atomically. The first error stops the rest.

        Raises: as put
        """
        pairs = items.items() if isinstance(items, Mapping) else items
        puts = [(self._key(key), _value(value)) for key, value in pairs]
        with self._operation(timeout, write=True) as call:
            for lo in range(0, len(puts), BATCH_KEYS):
                batch = Batch(running_max=RUNNING_MAX)
                for key, view in puts[lo : lo + BATCH_KEYS]:
                    iods, views = _put(view)
                    batch.add(self._io.update(key, iods, views, cond=cond, call=call))
                await execute(batch)

    async def get_many(
        self, keys: Iterable[KvKeyT], *, timeout: float | None = None
    ) -> dict[KvKeyT, bytes | None]:
        """The values of several keys, in parallel; None for those that are missing.

        Raises: as get
        """
        wanted = [(key, self._key(key)) for key in keys]
        found: dict[KvKeyT, bytes | None] = {}
        with self._operation(timeout) as call:
            for lo in range(0, len(wanted), BATCH_KEYS):
                batch = Batch(running_max=RUNNING_MAX)
                landings = []
                for key, encoded in wanted[lo : lo + BATCH_KEYS]:
                    landing = ValueLanding()
                    landings.append((key, landing))
                    request = self._io.fetch(encoded, _GET, landing, cond=_KEY_GET, call=call)
                    batch.add(or_missing(request))
                await execute(batch)
                for task, (key, landing) in zip(batch.tasks, landings, strict=True):
                    found[key] = None if task.result is None else landing.value
        return found

    def scan(
        self,
        prefix: KvKey = b"",
        start: KvKey = b"",
        *,
        reverse: bool = False,
        anchor: bytes = b"",
        limit: int | None = None,
        timeout: float | None = None,
    ) -> Listing[Key, GivenT]:
        """The keys that begin with `prefix`, from `start` on; in order unless they are hashed.

        `reverse`: from the last one backwards, or from `start` down. The targets pick them out.
        `limit`: at most so many; `anchor` of the listing, given to the next call, goes on.

        Raises: InvalidError (no order to start in, a prefix of integers, a limit below 1)
        """
        choice = choose(self._kind, _bytes_of(prefix), _bytes_of(start), reverse=reverse)
        return Listing(
            self,
            dkey_sources(self._io, choice, limit=limit),
            self._given,
            decoder=key_anchor(self._kind),
            ordered=self._kind is not KeyKind.HASHED,
            reverse=reverse,
            anchor=anchor,
            limit=limit,
            timeout=timeout,
        )

    def __aiter__(self) -> Listing[Key, GivenT]:
        """All keys, as `scan`."""
        return self.scan()

    async def items(
        self, prefix: KvKey = b"", start: KvKey = b"", *, timeout: float | None = None
    ) -> AsyncGenerator[tuple[GivenT, bytes]]:
        """Keys with their values, as `scan`; a page of values is fetched in parallel."""
        listing = self.scan(prefix, start, timeout=timeout)
        while await listing.turn():
            for pair in (await self._present(listing.take(), timeout)).items():
                yield pair

    async def newest_epoch(self, *, timeout: float | None = None) -> Epoch:
        """When a pair was put or removed last: `Object.newest_epoch`."""
        with self._operation(timeout) as call:
            return await self._io.newest_epoch(call=call)

    async def count(self, *, timeout: float | None = None) -> int:
        """How many keys there are. Cost: lists them all; `timeout` is for each page."""
        listing, count = self.scan(timeout=timeout), 0
        while await listing.turn():
            count += len(listing.take())
        return count

    async def clear(self, *, timeout: float | None = None) -> None:
        """Forget every key. One shard after the other becomes empty. Raises: AccessError."""
        with self._operation(timeout, write=True) as call:
            await execute(self._io.punch_all(call=call))

    async def _present(self, keys: Sequence[GivenT], timeout: float | None) -> dict[GivenT, bytes]:
        """What is there of some keys; those removed since they were listed are left out."""
        values = await self.get_many(keys, timeout=timeout)
        return {key: value for key, value in values.items() if value is not None}

    def _key(self, key: KvKey) -> bytes:
        if type(key) is bytes and self._kind is not _UINT64 and 0 < len(key) <= KEY_SIZE_MAX:
            return key
        encoded = encode_key(_bytes_of(key), self._kind, "key")
        check_key(encoded, self._kind, "key")
        return encoded

    def _given(self, key: Key) -> GivenT:
        given: KvKey = key
        if self.text and isinstance(key, bytes):
            given = key.decode("utf-8", "surrogateescape")
        return cast("GivenT", given)  # as `text` and the object's type have it


_UINT64: Final = KeyKind.UINT64
_KEY_GET: Final = int(Cond.KEY_GET)  # an operation on an IntFlag costs 0.7 µs
_GET: Final = (Iod(AKEY, IodType.SINGLE, 0),)


def _value(value: BufferLike) -> memoryview:
    view = readable(value)
    if view.nbytes > UPDATE_BYTES_MAX:
        raise RecordTooBigError(
            f"{view.nbytes} bytes given; a value has at most {UPDATE_BYTES_MAX}"
        )
    return view


def _put(view: memoryview) -> tuple[tuple[Iod, ...], list[memoryview]]:
    """Descriptor and payload; an empty value is a descriptor without payload."""
    return (Iod(AKEY, IodType.SINGLE, view.nbytes),), [view] if view.nbytes else []


def _bytes_of(key: KvKey) -> Key:
    return key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key


def _missing(key: KvKey) -> KeyNotFoundError:
    return KeyNotFoundError(f"there is no key {key!r}")
