"""The live tree of one shard: an LMDB environment that nothing depends on after a restart.

Transactions are put into one LMDB write transaction (the batch) that stays open over many turns;
reads go through it, so they see everything. It is committed every `batch_sets` write sets, or 4 MiB
of them, and before a copy.

Invariants:
    I1  a write set is in the tree as a whole or not at all. If LMDB fails a put, the batch is
        aborted, the other write sets are put again, and the caller of the failing one is told
    I2  a failure to put sets again or to commit sets `failure`, and nothing is put any more: the
        log still has what the tree may lack
    I3  a batch that finds no space in the file system waits for some, in memory: it is read,
        nothing more is put (NoSpaceError), and it is committed once there is more space
    I4  a tree that lacks a set it had taken answers nothing: every read raises. What was
        acknowledged never reads as missing

Not synced, not locked against other processes: the file is thrown away when the shard is opened.

Source: ours, in place of DAOS src/umem (a heap in volatile memory) and its B+ trees.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import lmdb

from daos.base.errors import DaosError, NoSpaceError, NvmeIoError, ShutdownError
from daos.bio.direct_io import error_from_os

LIVE_FILE: Final = "data.mdb"
_LOCK_FILE: Final = "lock.mdb"

# What LMDB maps: a page of it that finds no space when it is touched would end the process.
_LOCK_BYTES: Final = 16 << 10
_FULL: Final = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
# A commit writes the changed pages: more bytes than this would hold up the loop for too long.
BATCH_BYTES: Final = 4 << 20

WriteSet = Mapping[bytes, bytes | None]  # None deletes


def clear_live(live_path: Path) -> Path:
    """Throw the live tree away; returns where a copy of one may be put before it is opened.

    Raises:     NoSpaceError               the file system is full
                AccessError, NvmeIoError   it does not let us
    """
    try:
        live_path.mkdir(parents=True, exist_ok=True)
        for name in (LIVE_FILE, _LOCK_FILE):
            (live_path / name).unlink(missing_ok=True)
        lock = os.open(live_path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(lock, 0, _LOCK_BYTES)
        finally:
            os.close(lock)
    except OSError as error:
        raise error_from_os(error, f"live tree in {live_path}") from error
    return live_path / LIVE_FILE


class _Lost:
    """In place of a batch that is gone, or lacks sets it had taken: refuses to answer (I4)."""

    def __init__(self, failure: DaosError) -> None:
        self._failure = failure

    def get(self, key: bytes) -> bytes | None:
        raise self._failure

    def cursor(self) -> lmdb.Cursor[bytes]:
        raise self._failure

    def stat(self, db: None) -> dict[str, int]:
        raise self._failure

    def abort(self) -> None:
        """There is nothing left to abort."""


class Tree:
    """Raises: NoSpaceError, NvmeIoError if LMDB cannot open what lies in `live_path`."""

    def __init__(self, live_path: Path, *, map_bytes: int, batch_sets: int) -> None:
        try:
            self.env = lmdb.open(
                str(live_path),
                map_size=map_bytes,
                sync=False,
                metasync=False,
                writemap=False,
                max_dbs=0,
            )
        except lmdb.Error as error:
            kind = NoSpaceError if _says_full(error) else NvmeIoError
            raise kind(f"live tree in {live_path}: {error}") from error
        self._path = live_path
        self._batch_sets = batch_sets
        self._sets: list[WriteSet] = []
        self._bytes = 0
        self.failure: NvmeIoError | None = None
        self.full = ""  # why the batch can't be committed yet
        self._free_bytes = 0  # in the file system, when that was found out
        self._txn: lmdb.Transaction[bytes] | _Lost
        try:
            self._txn = self._begin()
        except lmdb.Error as error:
            self.env.close()
            raise NvmeIoError(f"live tree in {live_path}: {error}") from error

    def get(self, key: bytes) -> bytes | None:
        return self._txn.get(key)

    def cursor(self) -> lmdb.Cursor[bytes]:
        return self._txn.cursor()

    def pages(self) -> int:
        """Pages of a compacted copy: LMDB's two meta pages and what the tree uses."""
        stat = self._txn.stat(None)
        return 2 + int(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])

    def entries(self) -> int:
        return int(self._txn.stat(None)["entries"])

    def put_all(self, pairs: WriteSet, nbytes: int) -> None:
        """Put one write set of about `nbytes`.

        Atomicity:  all or nothing (I1)
        Raises:     NoSpaceError   the address space of the tree is used up, or the file system
                    NvmeIoError    LMDB failed otherwise, now or earlier
        """
        if self.failure is not None:
            raise self.failure
        if self.full:
            self._make_room()
        txn = self._txn
        assert not isinstance(txn, _Lost)
        try:
            self._put(txn, pairs)
        except lmdb.Error as error:
            txn.abort()
            self._put_again()
            raise _translated(error) from error
        self._sets.append(pairs)
        self._bytes += nbytes
        if len(self._sets) >= self._batch_sets or self._bytes >= BATCH_BYTES:
            self.commit_batch()

    def commit_batch(self) -> None:
        """Let a read transaction see everything. If not, `failure` is set (I2), or `full` (I3)."""
        txn = self._txn
        if isinstance(txn, _Lost):
            return
        try:
            txn.commit()
        except lmdb.Error as error:
            free_bytes = _free_bytes(self._path)
            # LMDB calls a write that ended short an I/O error.
            if _says_full(error) or free_bytes < BATCH_BYTES:
                self.full = f"live tree in {self._path}: no space left on its file system"
                self._free_bytes = free_bytes
            else:
                self.failure = NvmeIoError(f"live tree: {error}")
            self._put_again()
            return
        self._sets, self._bytes, self.full = [], 0, ""
        try:
            self._txn = self._begin()
        except lmdb.Error as error:
            self._lose(error)

    def check(self) -> None:
        """Raises: NoSpaceError, NvmeIoError  not everything is committed, after `commit_batch`"""
        if self.failure is not None:
            raise self.failure
        if self.full:
            raise NoSpaceError(self.full)

    def close(self) -> None:
        """Idempotent. What is read afterwards raises ShutdownError."""
        self._txn.abort()
        self._txn = _Lost(ShutdownError("the shard is closed"))
        self.env.close()

    def _make_room(self) -> None:
        """Commit what waits, if there is more space now. Raises: NoSpaceError, NvmeIoError"""
        if _free_bytes(self._path) > self._free_bytes:
            self.commit_batch()
        self.check()

    def _begin(self) -> lmdb.Transaction[bytes]:
        return self.env.begin(write=True)

    def _put(self, txn: lmdb.Transaction[bytes], pairs: WriteSet) -> None:
        put, delete = txn.put, txn.delete
        for key, value in pairs.items():
            if value is None:
                delete(key)
            else:
                put(key, value)

    def _put_again(self) -> None:
        """Begin the batch, which is aborted, again from the write sets it had taken."""
        try:
            self._txn = txn = self._begin()
            for pairs in self._sets:
                self._put(txn, pairs)
        except lmdb.Error as error:
            self._txn.abort()
            self._lose(error)

    def _lose(self, error: lmdb.Error) -> None:
        self.failure = NvmeIoError(f"live tree: {error}")
        self._txn = _Lost(self.failure)


def _says_full(error: lmdb.Error) -> bool:
    return any(text in str(error) for text in _FULL)


def _free_bytes(path: Path) -> int:
    """What we may still use: a part of many file systems is kept for root."""
    found = os.statvfs(path)
    blocks = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return blocks * found.f_frsize


def _translated(error: lmdb.Error) -> DaosError:
    if isinstance(error, lmdb.MapFullError):
        return NoSpaceError(f"live tree: {error}")
    return NvmeIoError(f"live tree: {error}")
