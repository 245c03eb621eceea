"""The synchronous faces of what a container holds: objects, key-values, arrays.

Source: ours; the mapping's manners are dict's
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import TYPE_CHECKING, Any, cast, overload

from daos.base.errors import AccessError, InvalidError
from daos.base.iod import Cond
from daos.client import array, kv
from daos.client import object as multi
from daos.client.face import ObjectFace, asking, blocking, listing
from daos.client.file import BUFFER_BYTES, ArrayFile, BinaryFile, FileMode, open_binary
from daos.client.kv import DefaultT, GivenT, KvKey
from daos.client.memory import BufferLike
from daos.client.values import Key
from daos.placement.layout import Layout


class Object(ObjectFace[multi.Object]):
    """One object through one container handle; holds nothing on any server."""

    update = asking(multi.Object.update)
    size = blocking(multi.Object.size)
    write = asking(multi.Object.write)
    update_many = asking(multi.Object.update_many)
    fetch_many = asking(multi.Object.fetch_many)
    punch = asking(multi.Object.punch)
    punch_dkeys = asking(multi.Object.punch_dkeys)
    punch_akeys = asking(multi.Object.punch_akeys)
    punch_range = asking(multi.Object.punch_range)
    dkeys = listing(multi.Object.dkeys)
    akeys = listing(multi.Object.akeys)
    extents = listing(multi.Object.extents)
    versions = listing(multi.Object.versions)
    max_dkey = blocking(multi.Object.max_dkey)
    min_dkey = blocking(multi.Object.min_dkey)
    max_akey = blocking(multi.Object.max_akey)
    min_akey = blocking(multi.Object.min_akey)
    max_record = blocking(multi.Object.max_record)
    min_record = blocking(multi.Object.min_record)
    newest_epoch = blocking(multi.Object.newest_epoch)

    if TYPE_CHECKING:  # overloads do not pass through a wrapper

        @overload
        def fetch(
            self,
            dkey: Key,
            akey: Key,
            *,
            into: None = None,
            cond: int = 0,
            timeout: float | None = None,
        ) -> bytes | None: ...

        @overload
        def fetch(
            self,
            dkey: Key,
            akey: Key,
            *,
            into: BufferLike,
            cond: int = 0,
            timeout: float | None = None,
        ) -> int | None: ...

        def fetch(self, *args: Any, **kwargs: Any) -> Any: ...  # the overloads say

        @overload
        def read(
            self,
            dkey: Key,
            akey: Key,
            offset: int,
            count: int,
            *,
            record_size: int = 1,
            into: None = None,
            cond: int = 0,
            timeout: float | None = None,
        ) -> bytes: ...

        @overload
        def read(
            self,
            dkey: Key,
            akey: Key,
            offset: int,
            count: int,
            *,
            record_size: int = 1,
            into: BufferLike,
            cond: int = 0,
            timeout: float | None = None,
        ) -> int: ...

        def read(self, *args: Any, **kwargs: Any) -> Any: ...  # as above

    else:
        fetch = asking(multi.Object.fetch)
        read = asking(multi.Object.read)

    def layout(self) -> Layout:
        """Redundancy groups and their shards: rank, target, state."""
        return self._core.layout()


class KeyValue(ObjectFace[kv.KeyValue[GivenT]], MutableMapping[GivenT, bytes]):
    """A flat key-value object as a mapping from bytes, or str, to bytes.

    Keys are bytes, or str (UTF-8); iteration gives bytes, or str with `text`. `len()`, `==` and
    `values()` read everything there is.
    """

    @property
    def text(self) -> bool:
        """Whether keys are given out as str."""
        return self._core.text

    put = asking(kv.KeyValue.put)
    get_into = asking(kv.KeyValue.get_into)
    size = asking(kv.KeyValue.size)
    contains = asking(kv.KeyValue.contains)
    remove = asking(kv.KeyValue.remove)
    put_many = asking(kv.KeyValue.put_many)
    get_many = asking(kv.KeyValue.get_many)
    scan = listing(kv.KeyValue.scan)
    count = blocking(kv.KeyValue.count)
    newest_epoch = blocking(kv.KeyValue.newest_epoch)
    if TYPE_CHECKING:  # a checker would take the types of MutableMapping for these

        @overload
        def get(
            self, key: KvKey, default: None = None, *, cond: int = 0, timeout: float | None = None
        ) -> bytes | None: ...

        @overload
        def get(
            self, key: KvKey, default: DefaultT, *, cond: int = 0, timeout: float | None = None
        ) -> bytes | DefaultT: ...

        def get(self, *args: Any, **kwargs: Any) -> Any: ...  # the overloads say

        def clear(self, *, timeout: float | None = None) -> None: ...

    else:
        get = asking(kv.KeyValue.get)
        clear = asking(kv.KeyValue.clear)

    def __getitem__(self, key: KvKey) -> bytes:
        value = self._portal.ask(self._core.get, key, cond=Cond.KEY_GET)
        assert value is not None  # missing is an error, by the condition
        return value

    def __setitem__(self, key: KvKey, value: BufferLike) -> None:
        self._portal.ask(self._core.put, key, value)

    def __delitem__(self, key: KvKey) -> None:
        self._portal.ask(self._core.remove, key, cond=Cond.KEY_REMOVE)

    def __contains__(self, key: object) -> bool:
        wanted = cast("KvKey", key)  # anything else is refused there
        return self._portal.ask(self._core.contains, wanted)

    def __iter__(self) -> Iterator[GivenT]:
        return iter(self.scan())

    def __reversed__(self) -> Iterator[GivenT]:
        return iter(self.scan(reverse=True))

    def __len__(self) -> int:
        return self._portal.call(self._core.count)

    def __bool__(self) -> bool:
        return any(True for _ in self)

    def items(
        self, prefix: KvKey = b"", start: KvKey = b"", *, timeout: float | None = None
    ) -> ItemsView[GivenT, bytes]:
        """Keys with their values, as `scan`; a page of values is fetched in parallel."""
        return _Items(self, prefix, start, timeout=timeout)

    def values(self) -> ValuesView[bytes]:
        """Values in the order of `scan`; a page of them is fetched in parallel."""
        return _Values(self)


class _Items(ItemsView[GivenT, bytes]):
    """Pairs, a page at a time."""

    def __init__(
        self, mapping: KeyValue[GivenT], prefix: KvKey, start: KvKey, *, timeout: float | None
    ) -> None:
        super().__init__(mapping)
        self._face = mapping
        self._prefix = prefix
        self._start = start
        self._timeout = timeout

    def __iter__(self) -> Iterator[tuple[GivenT, bytes]]:
        pages = self._face.scan(self._prefix, self._start, timeout=self._timeout)
        while keys := pages.page():
            for key, value in self._face.get_many(keys, timeout=self._timeout).items():
                if value is not None:  # else it was removed since it was listed
                    yield key, value

    def __len__(self) -> int:
        return sum(1 for _ in self._face.scan(self._prefix, self._start))


class _Values(ValuesView[bytes]):
    """Values, a page at a time."""

    def __init__(self, mapping: KeyValue[Any]) -> None:  # of whatever keys
        super().__init__(mapping)
        self._face = mapping

    def __iter__(self) -> Iterator[bytes]:
        return (value for _, value in self._face.items())

    def __contains__(self, wanted: object) -> bool:
        return any(value == wanted for value in self)


class Array(ObjectFace[array.Array]):
    """An array through one container handle; made by `container.array`."""

    @property
    def cell_size(self) -> int:
        """Bytes of a record."""
        return self._core.cell_size

    @property
    def chunk_size(self) -> int:
        """Records below one dkey."""
        return self._core.chunk_size

    @property
    def size(self) -> int:
        """One past the last record that exists, in records."""
        return self._portal.call(self._core.get_size)

    get_size = blocking(array.Array.get_size)
    stat = blocking(array.Array.stat)
    newest_epoch = blocking(array.Array.newest_epoch)
    write = asking(array.Array.write)
    write_many = asking(array.Array.write_many)
    read_many = blocking(array.Array.read_many)
    punch_many = blocking(array.Array.punch_many)
    append = blocking(array.Array.append)
    if TYPE_CHECKING:

        @overload
        def read(
            self, offset: int, count: int, into: None = None, *, timeout: float | None = None
        ) -> bytes: ...

        @overload
        def read(
            self, offset: int, count: int, into: BufferLike, *, timeout: float | None = None
        ) -> int: ...

        def read(self, *args: Any, **kwargs: Any) -> Any: ...  # the overloads say

    else:
        read = blocking(array.Array.read)

    def update_chunk_size(self, chunk_size: int) -> None:
        """Look for records in chunks of another size, through this handle; nothing is stored.

        Raises: InvalidError
        """
        self._core.update_chunk_size(chunk_size)

    resize = blocking(array.Array.resize)
    punch = blocking(array.Array.punch)
    destroy = asking(array.Array.destroy)

    def open(self, mode: str = "rb", buffering: int = BUFFER_BYTES) -> BinaryFile:
        """The array as a file object of `io`; cells of one byte only.

        Modes: "rb", "r+b", "wb" (cuts it to nothing), "w+b", "ab", "a+b". buffering: bytes, or 0.
        Closing the file leaves the array open.

        Raises: InvalidError (mode, cell size), AccessError
        """
        if self.cell_size != 1:
            raise InvalidError(f"a file has bytes; this array has cells of {self.cell_size}")
        parsed = FileMode.parse(mode)
        if not parsed.binary or parsed.kind == "x":
            raise InvalidError(f"mode {mode!r} is for no array: bytes, and one that is there")
        if parsed.writable and not self._core.writable:
            raise AccessError(f"{self!r} is open read-only")
        if parsed.kind == "w":
            self.resize(0)
        return open_binary(ArrayFile(self, parsed, str(self.oid)), parsed, buffering)
