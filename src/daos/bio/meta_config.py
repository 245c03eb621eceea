"""What the composition root may choose for a shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from daos.base.errors import InvalidError
from daos.bio.checkpoint import StartCopy, ThreadedCopy
from daos.bio.device import BLOCK
from daos.bio.layout import SUPERBLOCK_SLOTS
from daos.bio.memory import class_of

_MiB: Final = 1 << 20
WAL_BYTES_MIN: Final = 4 * _MiB
WAL_BYTES_MAX: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaConfig:
    """Immutable; built by the composition root."""

    # Ring of the log; 0: an eighth of the device, between WAL_BYTES_MIN and WAL_BYTES_MAX.
    # Used by `format` only.
    wal_bytes: int = 0
    # Transactions between two LMDB commits. More of them share a page write (a commit of 256
    # small ones takes 1 ms), but all are put again if one fails.
    batch_sets: int = 256
    # A group ends at this much payload, or an eighth of the ring if that is less ...
    group_bytes: int = 8 * _MiB
    # ... or at this much data beside it: the latency that the smallest transaction in it pays.
    group_data_bytes: int = 32 * _MiB
    # A value of this many bytes in one run leaves for the device when it has landed, while its
    # checksums and its log record are made; smaller ones of a group share a write.
    early_bytes: int = 256 << 10
    # A checkpoint starts when this part of the ring is in use.
    checkpoint_percent: int = 50
    # Address space of the live tree: no limit in practice, `hold` keeps the tree smaller.
    map_bytes: int = 0
    # Aligned memory for the payloads of updates and fetches in progress.
    memory_bytes: int = 64 * _MiB
    # Simulated loops, which know no threads, take InlineCopy.
    start_copy: StartCopy = ThreadedCopy

    def log_bytes(self, size_bytes: int) -> int:
        """Bytes of the ring on a device of that size."""
        eighth = size_bytes // 8 // BLOCK * BLOCK
        return self.wal_bytes or min(max(eighth, WAL_BYTES_MIN), WAL_BYTES_MAX)

    def zeroed_bytes(self, size_bytes: int) -> int:
        """Bytes at the start of a new device that are worth writing before they are used.

        Superblocks and ring: a flush over blocks that were only allocated costs twice as much.
        """
        return SUPERBLOCK_SLOTS * BLOCK + self.log_bytes(size_bytes)

    def __post_init__(self) -> None:
        if self.wal_bytes < 0 or self.wal_bytes % BLOCK:
            raise InvalidError(f"wal_bytes {self.wal_bytes}: expected a multiple of {BLOCK}")
        if self.memory_bytes < 1 or class_of(self.memory_bytes) != self.memory_bytes:
            raise InvalidError(f"memory_bytes {self.memory_bytes}: expected whole MiB")
        if self.batch_sets < 1 or self.group_bytes < 1 or self.group_data_bytes < 1:
            raise InvalidError("batch_sets, group_bytes, group_data_bytes: at least 1 each")
        if self.early_bytes < 1:
            raise InvalidError(f"early_bytes {self.early_bytes}: at least 1 expected")
        if not 10 <= self.checkpoint_percent <= 75:
            raise InvalidError(f"checkpoint_percent {self.checkpoint_percent}: expected 10..75")
