"""Memory of ours that links offer to peers on the same host: who it is, where it lies.

An *area* is a memfd, sealed so that it can't shrink, mapped here. Memory inside an area is found by
its address, whatever wraps it: a view, a numpy array, a tensor. Links offer an area to their peer
the first time that it is asked for.

Areas are added and removed from any thread; all else is the loop's.

Source: ours
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from daos.base.isal import address_of

_ID_MAX: Final = (1 << 32) - 1


class Area(NamedTuple):
    """One memfd of ours. `fd` is our own descriptor."""

    address: int
    nbytes: int
    region_id: int
    fd: int


class Place(NamedTuple):
    """Where a piece of memory lies in shared memory."""

    region_id: int
    offset: int


class SharedMemory:
    """The areas of one context; `on_removed(area)` may be called in any thread."""

    def __init__(self, on_removed: Callable[[Area], None]) -> None:
        self._on_removed = on_removed
        self._lock = threading.Lock()
        self._last_id = 0
        # Replaced as a whole, so that readers need no lock.
        self._areas: tuple[Area, ...] = ()  # by address

    def add(self, address: int, nbytes: int, fd: int) -> int:
        """Let peers be offered what is mapped at `address`; its region id. `fd` stays yours."""
        with self._lock:
            self._last_id = self._last_id % _ID_MAX + 1
            area = Area(address, nbytes, self._last_id, os.dup(fd))
            self._areas = tuple(sorted((*self._areas, area)))
        return area.region_id

    def remove(self, region_id: int) -> None:
        """The memory is going away: nothing refers to it any more. Idempotent."""
        with self._lock:
            area = self.area(region_id)
            self._areas = tuple(each for each in self._areas if each is not area)
        if area is not None:
            self._on_removed(area)

    def area(self, region_id: int) -> Area | None:
        """The area of this id."""
        return next((each for each in self._areas if each.region_id == region_id), None)

    def locate(self, views: Sequence[memoryview]) -> list[Place] | None:
        """Where each of the views lies; None unless all of them are shared."""
        areas = self._areas
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
            places.append(Place(area.region_id, address - area.address))
        return places


_ADDRESS_MAX: Final = 1 << 64
