"""List I/O: how many values and ranges become the descriptors of one request.

An akey stands in a request once, with all its ranges, which must not overlap; where those that a
fetch asks for do, it stands there once more. So the ranges of a fetch may come in any order.

Source: ours; DAOS src/include/daos_obj.h daos_iod_t leaves it to callers
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from itertools import chain

from daos.base.iod import Iod, IodType, Recx
from daos.client.landing import Slot
from daos.client.values import Range, check_count
from daos.object.core import RECXS_MAX


class FetchPlan:
    """What a fetch asks for, and where each of it stands in the request."""

    def __init__(self) -> None:
        self._singles: list[tuple[int, bytes]] = []
        self._ranges: dict[bytes, list[tuple[int, int, int]]] = {}
        self._count = 0

    def add_value(self, akey: bytes) -> None:
        """One single value."""
        self._singles.append((self._count, akey))
        self._count += 1

    def add_range(self, akey: bytes, wanted: Range) -> None:
        """Records of an array. Raises: InvalidError."""
        count = check_count(wanted.count, "count", least=1)
        offset = check_count(wanted.offset, "offset")
        self._ranges.setdefault(akey, []).append((offset, count, self._count))
        self._count += 1

    def request(self, conds: Mapping[bytes, int]) -> tuple[list[Iod], list[Slot]]:
        """The descriptors, single values first, and the place of each thing asked for, in order.

        `conds`: conditions of single akeys.
        """
        iods = [Iod(akey, IodType.SINGLE, 0, (), conds.get(akey, 0)) for _, akey in self._singles]
        slots = [Slot(0, 0, 0)] * self._count
        for index, (place, _) in enumerate(self._singles):
            slots[place] = Slot(index, 0, 0)
        for akey, ranges in self._ranges.items():
            for layer in chain.from_iterable(map(_slices, _layers(ranges))):
                for recx, (_, count, place) in enumerate(layer):
                    slots[place] = Slot(len(iods), recx, count)
                recxs = tuple(Recx(offset, count) for offset, count, _ in layer)
                iods.append(Iod(akey, IodType.ARRAY, 0, recxs, conds.get(akey, 0)))
        return iods, slots


def _slices(layer: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """As much of a layer as one descriptor takes, again and again."""
    for lo in range(0, len(layer), RECXS_MAX):
        yield layer[lo : lo + RECXS_MAX]


def _layers(ranges: list[tuple[int, int, int]]) -> list[list[tuple[int, int, int]]]:
    """Ascending ranges that do not overlap, in as few lists as it takes.

    Cost:       O(n log n): a list that ended first is the one to go on
    """
    ends: list[tuple[int, int]] = []
    layers: list[list[tuple[int, int, int]]] = []
    for each in sorted(ranges):
        if ends and ends[0][0] <= each[0]:
            _, number = heappop(ends)
        else:
            number = len(layers)
            layers.append([])
        layers[number].append(each)
        heappush(ends, (each[0] + each[1], number))
    return layers
