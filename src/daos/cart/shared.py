"""Memory of ours that links offer to peers on the same host: who it is, where it lies.

An *area* is a memfd, sealed so that it can't shrink, mapped here. Memory inside an area is found by
its address, whatever wraps it: a view, a numpy array, a tensor. Links offer an area to their peer
the first time that it is asked for.

Areas are added and removed from any thread, and, by finalizers, in the middle of either: there is
no lock, each step is one operation of a dict. All else is the loop's.

What was lent to a peer for writing, and is not returned, is taken from it by `reclaim`: no word of
the peer is needed for that, it may be stopped for good.

Source: ours
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Final, NamedTuple

from daos.base.isal import address_of

log = logging.getLogger(__name__)

_ID_MAX: Final = (1 << 32) - 1
_ADDRESS_MAX: Final = 1 << 64
_PAGE: Final = mmap.PAGESIZE
_MAP_FIXED: Final = 0x10  # of Linux; Python has no name for it

_mmap = ctypes.CDLL(None, use_errno=True).mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


class Area(NamedTuple):
    """One memfd of ours. `fd` is our own descriptor."""

    address: int
    nbytes: int
    region_id: int
    fd: int


class Place(NamedTuple):
    """Where a piece of memory lies in shared memory.

    Bytes [lo, hi) of it are in pages that hold nothing else.
    """

    region_id: int
    offset: int
    lo: int
    hi: int


class SharedMemory:
    """The areas of one context; `on_removed(area)` may be called in any thread."""

    def __init__(self, on_removed: Callable[[Area], None]) -> None:
        self._on_removed = on_removed
        self._numbers = count()
        self._areas: dict[int, Area] = {}  # by region id
        # A number of its own after each change; what was sorted, and after which change.
        self._version = -1
        self._sorted: tuple[int, list[Area]] = (-1, [])

    def add(self, address: int, nbytes: int, fd: int) -> int:
        """Let peers be offered what is mapped at `address`; its region id. `fd` stays yours."""
        region_id = next(self._numbers) % _ID_MAX + 1
        self.put_back(Area(address, nbytes, region_id, os.dup(fd)))
        return region_id

    def remove(self, region_id: int) -> None:
        """The memory is going away: nothing refers to it any more. Idempotent."""
        area = self.take_out(region_id)
        if area is not None:
            self.forget(area)

    def take_out(self, region_id: int) -> Area | None:
        """Locate nothing in the area from now on; then `put_back` or `forget` it."""
        area = self._areas.pop(region_id, None)
        self._version = next(self._numbers)
        return area

    def put_back(self, area: Area) -> None:
        """Its memory is still there."""
        self._areas[area.region_id] = area
        self._version = next(self._numbers)

    def forget(self, area: Area) -> None:
        """Its memory is gone."""
        self._on_removed(area)

    def area(self, region_id: int) -> Area | None:
        """The area of this id."""
        return self._areas.get(region_id)

    def locate(self, views: Sequence[memoryview]) -> list[Place] | None:
        """Where each of the views lies; None unless all of them are shared."""
        version, areas = self._sorted
        if version != self._version:
            version = self._version  # before the look: what changes later is looked at again
            areas = sorted(self._areas.values())
            self._sorted = version, areas
        if not areas:
            return None
        places = []
        for view in views:
            address = address_of(view)
            index = bisect_right(areas, (address, _ADDRESS_MAX)) - 1
            if index < 0:
                return None
            area = areas[index]
            if address + view.nbytes > area.address + area.nbytes:
                return None
            places.append(_place(area, address - area.address, view.nbytes))
        return places

    def reclaim(self, views: Sequence[memoryview], region_ids: Collection[int]) -> bool:
        """Put fresh pages, all zero, in the place of those that `views` lie in.

        Whoever has mapped the areas goes on with the old pages, which are nobody's. The areas are
        shared no more; memory of theirs that is used now stays where it is.

        False: the kernel has no room for that, and some of it is still in reach.
        """
        for region_id in region_ids:
            self.remove(region_id)
        try:
            for view in views:
                first = address_of(view) & -_PAGE
                _renew(first, (address_of(view) + view.nbytes + _PAGE - 1 & -_PAGE) - first)
        except OSError as error:
            log.error("a peer keeps memory that it was lent, for writing: %s", error)
            return False
        return True


def _place(area: Area, offset: int, nbytes: int) -> Place:
    end = offset + nbytes
    # What is behind the area in its last page is nobody's.
    hi = nbytes if end == area.nbytes else (end & -_PAGE) - offset
    return Place(area.region_id, offset, (offset + _PAGE - 1 & -_PAGE) - offset, hi)


def _renew(address: int, nbytes: int) -> None:
    """Map fresh memory there. Raises: OSError"""
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _MAP_FIXED  # shared, as before, with a fork
    if _mmap(address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0) != address:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
