"""Calls of a shard's tree, counted: what one turn of the loop does, without a clock."""

from __future__ import annotations

import lmdb
import pytest

from daos.bio.tx import Tx
from daos.testing.shard import MemoryShard


class CountingCursor:
    """A cursor whose every move and look counts."""

    def __init__(self, inner: lmdb.Cursor[bytes], counts: Counts) -> None:
        self._inner = inner
        self._counts = counts

    def __getattr__(self, name: str) -> object:
        self._counts.calls += 1
        return getattr(self._inner, name)


class Counts:
    """Calls of one shard's tree since the last look."""

    def __init__(self, shard: MemoryShard, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        cursor, get = shard.meta.cursor, shard.meta.get
        put, delete = Tx.put, Tx.delete

        def counted_get(key: bytes) -> bytes | None:
            self.calls += 1
            return get(key)

        def counted_put(tx: Tx, key: bytes, value: bytes) -> None:
            self.calls += 1
            put(tx, key, value)

        def counted_delete(tx: Tx, key: bytes) -> None:
            self.calls += 1
            delete(tx, key)

        patch.setattr(shard.meta, "cursor", lambda: CountingCursor(cursor(), self))
        patch.setattr(shard.meta, "get", counted_get)
        patch.setattr(Tx, "put", counted_put)
        patch.setattr(Tx, "delete", counted_delete)

    def take(self) -> int:
        calls, self.calls = self.calls, 0
        return calls
