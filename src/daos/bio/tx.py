"""One transaction on a shard: what it will do, gathered until it is done in one step.

    Tx -- put, delete, write, free --> Tx -- commit --> applied, in the open log group
     |
     +-- dropped: nothing happened

A transaction sees its own writes by `get`, and everybody's commits; it does not scan its own
writes. Isolation is the caller's: between `begin` and `commit` others may commit, unless no await
lies between.

Source: DAOS src/common/umem.c umem_tx_begin, umem_tx_commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from daos.base.errors import DaosError, InvalidError, KeyTooBigError
from daos.base.ids import Epoch, Lsn
from daos.bio.device import BLOCK, Write
from daos.bio.layout import KEY_SIZE_MAX, DataRun
from daos.bio.space_map import Extent

_new: Final = tuple.__new__


class Tx(msgspec.Struct, eq=False):
    """One transaction: write sets gathered, then committed in one step. Dropping it aborts it."""

    _get: Callable[[bytes], bytes | None]
    _commit: Callable[[Tx], Lsn] | None
    pairs: dict[bytes, bytes | None] = {}
    runs: list[DataRun] = []
    writes: list[Write] = []
    frees: list[Extent] = []
    data_bytes: int = 0
    epoch: int = 0

    def get(self, key: bytes) -> bytes | None:
        """The value as this transaction would leave it."""
        if key in self.pairs:
            return self.pairs[key]
        return self._get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Raises: InvalidError (empty key), KeyTooBigError (over 511 bytes)."""
        if not 0 < len(key) <= KEY_SIZE_MAX:
            raise _bad_key(key)
        self.pairs[key] = value

    def delete(self, key: bytes) -> None:
        """Deleting what is not there is no error."""
        if not 0 < len(key) <= KEY_SIZE_MAX:
            raise _bad_key(key)
        self.pairs[key] = None

    def write(self, extent: Extent, buffers: Sequence[memoryview], checksum: int) -> None:
        """Data for `extent`, a reservation or a part of one, which the commit publishes.

        The bytes go out in the same group, before its flush; leave them alone until it is durable.

        Shapes:     the buffers add up to extent.count blocks
        Units:      checksum is `layout.checksum_of(buffers)`; recovery compares it
        Raises:     InvalidError   the buffers are not as long as the extent
        """
        nbytes = 0
        for buffer in buffers:
            nbytes += buffer.nbytes
        block, count = extent
        if nbytes != count * BLOCK or not nbytes:
            raise InvalidError(f"{nbytes} bytes for an extent of {count} blocks")
        # Tuples made directly: the classes' own way takes 0.2 us more each.
        self.runs.append(_new(DataRun, (extent, checksum)))
        self.writes.append(_new(Write, (block * BLOCK, buffers)))
        self.data_bytes += nbytes

    def wrote(self, extent: Extent, checksum: int) -> None:
        """The same for data that was submitted to the device already, after it was reserved.

        Units:      checksum is that of the whole extent, as in `write`
        """
        self.runs.append(_new(DataRun, (extent, checksum)))
        self.data_bytes += extent.count * BLOCK

    def free(self, extent: Extent) -> None:
        """Data that nothing refers to once this is committed."""
        self.frees.append(extent)

    def raise_epoch(self, epoch: Epoch) -> None:
        """The highest epoch on disk is at least this one, once this is committed."""
        if epoch > self.epoch:
            self.epoch = epoch

    def commit(self) -> Lsn:
        """Apply everything; durable when `when_durable` says so of the LSN returned.

        Atomicity:  all or nothing
        Raises:     NoSpaceError        the live tree is full (excluded by a large enough hold)
                    AgainError          the log is full: wait for `when_room`
                    RecordTooBigError   larger than a log group may be
                    InvalidError        data was not reserved, or freed twice
                    NvmeIoError         an earlier write or flush failed
                    ShutdownError       the context is closed
        """
        commit, self._commit = self._commit, None
        if commit is None:
            raise InvalidError("transaction committed twice")
        return commit(self)


def _bad_key(key: bytes) -> DaosError:
    if not key:
        return InvalidError("empty key")
    return KeyTooBigError(f"key of {len(key)} bytes, the limit is {KEY_SIZE_MAX}")
