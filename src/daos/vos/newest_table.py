"""The newest epoch of objects that were made or asked about since the container was opened.

    search   --end--> known: it saw all there was, and was told of what was written meanwhile
    creation -------> known: nothing was there before
    update, punch     raise what is known, and say nothing of other objects
    discard, unlink   forget: what was the newest is gone

It is the newest of all epochs. Who reads at an epoch below it has to search, and so has who asks
about an object that was forgotten for others: the least recently made or asked about goes first.

Invariants:
    T1  what is known of an object is the newest epoch that the tree tells of it: of a record, or
        of what stands there for records that aggregation has removed (newest_notes.py)
    T2  a write pays one look-up here, and a store where the object is known
Source: DAOS src/vos/vos_layout.h vo_max_write. Ours: in memory, found again after a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Protocol

# About 0.3 KiB each: 5 MiB a container at most.
_SIZE: Final = 16_384


class Search(Protocol):
    """One that is under way."""

    order: bytes  # the object
    fills: bool  # whether it can tell the newest of all epochs

    def saw(self, epoch: int) -> None:
        """Something of the object has this epoch, wherever the search stands."""


class NewestTable:
    """Of one container. Objects are named by their key order."""

    __slots__ = ("_epochs", "_searches", "_size")

    def __init__(self, size: int = _SIZE) -> None:
        self._size = size
        self._epochs: OrderedDict[bytes, int] = OrderedDict()  # the one forgotten next first
        self._searches: list[Search] = []

    def __len__(self) -> int:
        return len(self._epochs)

    def ask(self, order: bytes) -> int | None:
        """The newest epoch of all, 0 for none; None: not known."""
        epoch = self._epochs.get(order)
        if epoch is not None:
            self._epochs.move_to_end(order)
        return epoch

    def peek(self, order: bytes) -> int | None:
        """The same, and it counts as no question."""
        return self._epochs.get(order)

    def wrote(self, order: bytes, epoch: int) -> None:
        """An update or a punch is in the tree."""
        epochs = self._epochs
        if epochs.get(order, epoch) < epoch:
            epochs[order] = epoch
        if self._searches:
            self.moved(order, epoch)

    def created(self, order: bytes, epoch: int) -> None:
        """An update has made the object."""
        self._put(order, max(epoch, self._epochs.get(order, 0)))

    def moved(self, order: bytes, epoch: int) -> None:
        """What was written at this epoch stands where a search may have been already."""
        for search in self._searches:
            if search.order == order:
                search.saw(epoch)

    def forget(self, order: bytes) -> None:
        """Of the object something is gone, at every epoch. b"": of any object."""
        if order:
            self._epochs.pop(order, None)
        else:
            self._epochs.clear()
        for search in self._searches:
            if order in (b"", search.order):
                search.fills = False

    def begin(self, search: Search) -> None:
        self._searches.append(search)

    def end(self, search: Search, epoch: int | None) -> None:
        """It has found the newest of all epochs, or None: it was given up. Idempotent."""
        if search in self._searches:
            self._searches.remove(search)
            if epoch is not None and search.fills:
                self._put(search.order, epoch)

    def _put(self, order: bytes, epoch: int) -> None:
        self._epochs[order] = epoch
        self._epochs.move_to_end(order)
        if len(self._epochs) > self._size:
            self._epochs.popitem(last=False)
