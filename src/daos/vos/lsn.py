"""Which log position an answer depends on, so that no reader sees what a power cut could take back.

The shard's writes become visible before they are durable. Each bucket here holds the LSN of the
last write that could change the answers of what hashes to it; an answer may leave the target once
the log is durable up to that LSN. Two things in one bucket cost a wait, never a wrong answer.

    question                              bucket
    a value, a miss, akeys, extents       (object, dkey), and object punches of the object
    dkeys of an object                    object, everything below it
    objects of a container                container, everything below it

Nothing is stored: after a restart everything in the tree is durable and all buckets are 0.

Invariants:
    L1  a bucket never goes back
    L2  the container's LSN is not below any bucket's
Source: ours; architecture, "Reads depend on what they saw".
"""

from __future__ import annotations

from typing import Final

from daos.base.ids import Lsn

# Three lists of 32 KiB a container. With 64 writes in flight one read in 64 of other keys waits for
# a flush that it did not need.
_BUCKETS: Final = 1 << 12
_MASK: Final = _BUCKETS - 1


class LsnTable:
    """Last LSNs of one container. The caller hashes: any int that is stable for the same thing."""

    __slots__ = ("_dkeys", "_objects", "_punches", "container")

    def __init__(self) -> None:
        self._dkeys = [Lsn(0)] * _BUCKETS
        self._objects = [Lsn(0)] * _BUCKETS
        self._punches = [Lsn(0)] * _BUCKETS
        self.container = Lsn(0)

    def wrote_dkey(self, object_hash: int, dkey_hash: int, lsn: Lsn) -> None:
        """A write under one dkey was given to the log."""
        assert lsn >= self.container, "L1"
        self._dkeys[(object_hash ^ dkey_hash) & _MASK] = lsn
        self._objects[object_hash & _MASK] = lsn
        self.container = lsn

    def wrote_object(self, object_hash: int, lsn: Lsn) -> None:
        """A punch of a whole object was given to the log."""
        assert lsn >= self.container, "L1"
        self._punches[object_hash & _MASK] = lsn
        self._objects[object_hash & _MASK] = lsn
        self.container = lsn

    def of_dkey(self, object_hash: int, dkey_hash: int) -> Lsn:
        """What an answer about one dkey depends on."""
        dkey = self._dkeys[(object_hash ^ dkey_hash) & _MASK]
        punch = self._punches[object_hash & _MASK]
        return dkey if dkey > punch else punch

    def of_object(self, object_hash: int) -> Lsn:
        """What an answer about which dkeys an object has depends on."""
        return self._objects[object_hash & _MASK]
