"""Bulk memory: what an owner lets its peers read and write in place, and how they name it.

A *handle* travels inside any message. It names registered memory of its owner by 16 random bytes:
who knows them may access the memory, through any connection to its owner, until it is released. A
*bound* handle also says who the owner is, so that a third party finds it (CaRT: crt_bulk_bind).

    handle   [key 16 bytes, nbytes, mode 1 READ | 2 WRITE, owner nil or [rank, tag], shared]
    access   [key, [[offset, size], ...]]          body of GET and PUT
    borrow   [key, [[offset, size], ...], mode]    body of BORROW; its answer:
    places   [[region id, offset, size], ...]      where that lies in memory that the link shares

Bytes are counted across the segments of the memory, as if they were one. Worked example:
docs/format/bulk.md. Everything here is pure; `bulk_port` moves the bytes.

    B1  no byte outside the region, against its mode, or of a released region is read or written:
        `check_access` is the one place where that is decided
    B2  sizes from a peer are compared with the region before anything else is done with them

Source: DAOS src/cart/crt_bulk.c (create, access, bind, free); keys instead of addresses: ours
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from enum import IntFlag
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import msgspec

from daos.base.errors import (
    AccessError,
    AgainError,
    CorruptError,
    DaosError,
    InvalidError,
    NotFoundError,
)
from daos.base.ids import U32_MAX, Rank, Tag
from daos.cart.framing import OWN_BASE, as_bytes, unfit
from daos.cart.wire import DECODE_ERRORS, Endpoint

if TYPE_CHECKING:
    from daos.base.clock import Rng
    from daos.cart.framing import Limits
    from daos.cart.shared import Place, SharedMemory

VERSION: Final = 1
_FIRST: Final = OWN_BASE << 24 | VERSION << 16
PUT: Final = _FIRST | 0x68  # the reference's numbers: CRT_BULK_PUT, CRT_BULK_GET
GET: Final = _FIRST | 0x69
BORROW: Final = _FIRST | 0x6A
RETURN: Final = _FIRST | 0x6B

KEY_SIZE: Final = 16
RANGES_MAX: Final = 256  # of one access
_SIZE_MAX: Final = 1 << 62

_Key = Annotated[bytes, msgspec.Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
_Size = Annotated[int, msgspec.Meta(ge=1, le=_SIZE_MAX)]
_Offset = Annotated[int, msgspec.Meta(ge=0, le=_SIZE_MAX)]
_U32 = Annotated[int, msgspec.Meta(ge=0, le=U32_MAX)]
_Ranges = Annotated[
    tuple[tuple[_Offset, _Size], ...], msgspec.Meta(min_length=1, max_length=RANGES_MAX)
]
Range = tuple[int, int]
"""(offset, size) in bytes of a region."""


class Mode(IntFlag):
    """What peers may do with the memory: get from it, put to it."""

    READ = 1
    WRITE = 2
    READ_WRITE = READ | WRITE


class BulkHandle(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Names memory of its owner; a field of whatever message its users like."""

    key: _Key
    nbytes: _Size
    mode: Annotated[int, msgspec.Meta(ge=1, le=int(Mode.READ_WRITE))]
    owner: tuple[_U32, _U32] | None  # rank and tag, of a bound one
    shared: bool = False  # all of it is memory that a link on the owner's host may share

    def emit(self) -> bytes:
        """The bytes of a handle on its own."""
        return encode(self)

    @classmethod
    def parse(cls, data: bytes | memoryview) -> BulkHandle:
        """Raises: CorruptError   these bytes are no handle."""
        try:
            return _decode_handle(data)
        except DECODE_ERRORS as error:
            raise CorruptError("bulk handle", offset=0, want="a handle", got=str(error)) from None

    @property
    def endpoint(self) -> Endpoint | None:
        """The owner; None: whoever sent the handle."""
        return None if self.owner is None else Endpoint(Rank(self.owner[0]), Tag(self.owner[1]))


class Access(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What one frame reads or writes: ranges of a region, one after the other."""

    key: _Key
    ranges: _Ranges


class Borrow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What an accessor would like to read or write by itself, in shared memory."""

    key: _Key
    ranges: _Ranges
    mode: Annotated[int, msgspec.Meta(ge=1, le=2)]


class Return(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An accessor is through with what it borrowed by the request of this id."""

    rpc_id: Annotated[int, msgspec.Meta(ge=0)]


Where = tuple[int, int, int]
"""(region id, offset, size) in shared memory; (0, 0, size): not shared, so it goes by frames."""

encode: Final = msgspec.msgpack.Encoder().encode
decode_access: Final = msgspec.msgpack.Decoder(Access).decode
decode_borrow: Final = msgspec.msgpack.Decoder(Borrow).decode
decode_return: Final = msgspec.msgpack.Decoder(Return).decode
decode_places: Final = msgspec.msgpack.Decoder(tuple[tuple[_U32, _Offset, _Size], ...]).decode
_decode_handle: Final = msgspec.msgpack.Decoder(BulkHandle).decode


class Segments:
    """Memory in one or several pieces, addressed as if it were one."""

    __slots__ = ("_ends", "nbytes", "views")

    def __init__(self, views: Sequence[memoryview], *, writable: bool) -> None:
        """Raises: InvalidError (not contiguous, read-only where it is written to)."""
        if any(not view.c_contiguous for view in views) or (writable and unfit(views)):
            raise InvalidError("bulk memory is contiguous, and writable where it is written to")
        self.views = (
            [view.cast("B") for view in views if view.nbytes] if writable else as_bytes(views)
        )
        self._ends = list(accumulate(view.nbytes for view in self.views))
        self.nbytes = self._ends[-1] if self._ends else 0

    def slice(self, offset: int, size: int) -> list[memoryview]:
        """The pieces that make up bytes [offset, offset + size), which exist."""
        if len(self.views) == 1:  # nearly always
            return [self.views[0][offset : offset + size]]
        return [
            self.views[index][start : start + nbytes]
            for index, start, nbytes in self.locate(offset, size)
        ]

    def locate(self, offset: int, size: int) -> list[tuple[int, int, int]]:
        """The same as (index of the piece, first byte in it, bytes)."""
        assert 0 <= offset <= offset + size <= self.nbytes
        parts = []
        index = bisect_right(self._ends, offset)
        while size:
            nbytes = self.views[index].nbytes
            start = offset - (self._ends[index] - nbytes)
            step = min(size, nbytes - start)
            parts.append((index, start, step))
            offset += step
            size -= step
            index += 1
        return parts


class Holder(Protocol):
    """A connection that is reading or writing memory of a region."""

    def released(self, region: Region) -> None:
        """Let go of it now."""
        ...

    def cut(self) -> None:
        """End the connection, now."""
        ...


class Region:
    """Registered memory at its owner."""

    __slots__ = (
        "_when_free",
        "holders",
        "key",
        "lent",
        "mode",
        "nbytes_put",
        "places",
        "released",
        "segments",
    )

    def __init__(
        self, key: bytes, segments: Segments, mode: Mode, places: Sequence[Place] | None = None
    ) -> None:
        """Shapes: places has one entry for each segment, where all of them are shared."""
        self.key = key
        self.segments = segments
        self.mode = mode
        self.holders: dict[Holder, None] = {}
        self.nbytes_put = 0  # by peers, whole frames
        self.places = places
        self.released = False
        self.lent = 0  # to peers that may be writing to it by themselves
        self._when_free: list[Callable[[], None]] = []

    def handle(self, owner: Endpoint | None = None) -> BulkHandle:
        """What a peer is told; with `owner`, so that any peer may use it."""
        shared = self.places is not None
        return BulkHandle(self.key, self.segments.nbytes, int(self.mode), owner, shared)

    def where(
        self, ranges: Sequence[Range], *, writes: bool
    ) -> tuple[list[Where], list[memoryview]]:
        """Where ranges of shared memory lie, for a peer that has it mapped.

        One that writes gets whole pages which hold nothing but the region's memory: those can be
        taken back from it. They are given as views, too.
        """
        assert self.places is not None
        found: list[Where] = []
        views: list[memoryview] = []
        for offset, size in ranges:
            for index, start, nbytes in self.segments.locate(offset, size):
                place, end = self.places[index], start + nbytes
                if not writes:
                    found.append((place.region_id, place.offset + start, nbytes))
                    continue
                lo = min(max(start, place.lo), end)
                hi = min(max(lo, place.hi), end)
                parts = [(start, lo, 0), (lo, hi, place.region_id), (hi, end, 0)]
                for first, last, region_id in parts:
                    if first < last:
                        at = place.offset + first if region_id else 0
                        found.append((region_id, at, last - first))
                if lo < hi:
                    views.append(self.segments.views[index][lo:hi])
        return found, views

    def when_free(self, done: Callable[[], None]) -> None:
        """Call `done` once no peer can write to it any more, which is at once, or later."""
        if self.released and not self.lent:
            done()
        else:
            self._when_free.append(done)

    def take_back(self) -> None:
        """A peer has returned what it borrowed for writing, or can't reach it any more."""
        self.lent -= 1
        if self.released and not self.lent:
            waiting, self._when_free = self._when_free, []
            for done in waiting:
                done()


class Table:
    """The regions of one context."""

    def __init__(self, limits: Limits, rng: Rng, shared: SharedMemory | None = None) -> None:
        self._limits = limits
        self._shared = shared
        self._rng = rng
        self._regions: dict[bytes, Region] = {}

    def __len__(self) -> int:
        return len(self._regions)

    def add(self, views: Sequence[memoryview], mode: Mode) -> Region:
        """Register memory, which must stay until `remove`.

        Raises:     InvalidError   no bytes, too many, unfit memory
                    AgainError     too many regions
        """
        segments = Segments(views, writable=bool(mode & Mode.WRITE))
        limit = self._limits.bulk_size_max
        if not 0 < segments.nbytes <= limit:
            raise InvalidError(f"bulk memory has 1 to {limit} bytes, not {segments.nbytes}")
        if len(self._regions) >= self._limits.bulk_regions_max:
            raise AgainError(f"{len(self._regions)} bulk handles are in use already")
        key = self._rng.getrandbits(8 * KEY_SIZE).to_bytes(KEY_SIZE, "little")
        places = None if self._shared is None else self._shared.locate(segments.views)
        region = Region(key, segments, mode, places)
        self._regions[key] = region
        return region

    def remove(self, region: Region) -> None:
        """Release it: nobody reads or writes its memory any more. Idempotent."""
        if self._regions.pop(region.key, None) is None:
            return
        region.released = True
        for holder in list(region.holders):
            holder.released(region)
        if not region.lent:
            region.holders.clear()

    def find(self, key: bytes) -> Region:
        """Raises: NotFoundError"""
        try:
            return self._regions[key]
        except KeyError:
            raise released() from None


def check_access(region: Region, ranges: Sequence[Range], mode: Mode) -> int:
    """Whether a peer may do this to the region; how many bytes it is about (B1).

    Raises:     AccessError    the handle does not allow reading, or writing
                InvalidError   outside the region
    """
    if mode & ~region.mode:
        raise AccessError(f"the bulk handle is for {region.mode.name}, not for {mode.name}")
    size = region.segments.nbytes
    total = 0
    for offset, nbytes in ranges:
        if offset < 0 or nbytes < 1 or offset + nbytes > size:
            raise InvalidError(f"bytes [{offset}, +{nbytes}) of a bulk region of {size} bytes")
        total += nbytes
    return total


def released() -> DaosError:
    """What becomes of an access to memory that is not, or no longer, registered."""
    return NotFoundError("no such bulk handle: it was released, or belongs to another")
