"""An array akey in a bare LMDB tree, written and shown in the notation of the reference's tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import lmdb

from daos.base.checksum import ChecksumType, compute
from daos.vos import extents
from daos.vos.extents import (
    ExtentRecord,
    Inserted,
    Piece,
    hole,
)

MINOR = 1


class Tree:
    """The tree of a shard as the store sees it: cursors, and transactions that write at once."""

    def __init__(self, path: Path) -> None:
        self.env = lmdb.open(str(path), map_size=1 << 28, sync=False)
        self.txn = self.env.begin(write=True)
        self.akeys = 0

    def cursor(self) -> lmdb.Cursor[bytes]:
        return self.txn.cursor()

    def get(self, key: bytes) -> bytes | None:
        value = self.txn.get(key)
        return None if value is None else bytes(value)

    def put(self, key: bytes, value: bytes) -> None:
        self.txn.put(key, value)

    def delete(self, key: bytes) -> None:
        self.txn.delete(key)


class Counting:
    """The tree again, but it counts how often a cursor moves."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.steps = 0

    def cursor(self) -> CountingCursor:
        return CountingCursor(self, self.tree.cursor())


class CountingCursor:
    def __init__(self, counting: Counting, cursor: lmdb.Cursor[bytes]) -> None:
        self.counting = counting
        self.cursor = cursor
        self.key, self.value = cursor.key, cursor.value

    def set_range(self, key: bytes) -> bool:
        self.counting.steps += 1
        return self.cursor.set_range(key)

    def next(self) -> bool:
        self.counting.steps += 1
        return self.cursor.next()

    def prev(self) -> bool:
        self.counting.steps += 1
        return self.cursor.prev()

    def last(self) -> bool:
        self.counting.steps += 1
        return self.cursor.last()


@dataclass
class Array:
    """One akey: the tree, and what the akey's record keeps."""

    tree: Tree
    akey_id: int
    classes: int = 0
    record_size: int = 0

    def insert(
        self, lo: int, hi: int, epoch: int, *, minor: int = MINOR, text: str = "", bound: int = 0
    ) -> Inserted:
        """Write `text`, one byte a record, repeated as needed; none = punch."""
        record = data(hi - lo, text) if text else hole(hi - lo)
        inserted = extents.insert(
            self.tree,
            self.tree,
            self.akey_id,
            lo,
            record,
            epoch=epoch,
            minor=minor,
            classes=self.classes,
            record_size=self.record_size,
            bound=bound,
        )
        self.classes |= inserted.class_bit
        self.record_size = self.record_size or record.record_size
        return inserted

    def find(
        self, lo: int, hi: int, epoch: int, *, floor: tuple[int, int] = (0, 0), bound: int = 0
    ) -> list[Piece]:
        return extents.find(
            self.tree,
            self.akey_id,
            lo,
            hi,
            classes=self.classes,
            epoch=epoch,
            floor=floor,
            bound=bound,
        )

    def read(self, lo: int, hi: int, epoch: int, *, floor: tuple[int, int] = (0, 0)) -> list[str]:
        """`4-6 abc` data, `4-6 hole`, gaps left out; ends included, as the reference writes it."""
        return [show(piece) for piece in self.find(lo, hi, epoch, floor=floor) if piece.record]

    def words(self, words: str) -> None:
        """Insert `lo-hi@epoch.minor:text` for each word, as the reference's tests write it."""
        for word in words.split():
            found = re.fullmatch(r"(\d+)-(\d+)@(\d+)(?:\.(\d+))?(?::(\w+))?", word)
            assert found, word
            lo, hi, epoch, minor, text = found.groups()
            self.insert(
                int(lo), int(hi) + 1, int(epoch), minor=int(minor or MINOR), text=text or ""
            )


def data(width: int, text: str) -> ExtentRecord:
    payload = (text * width)[:width].encode()
    csums = compute(ChecksumType.XXH3, payload)
    return ExtentRecord(width, 1, ChecksumType.XXH3, width, csums, None, payload)


def show(piece: Piece) -> str:
    text = "gap"
    if piece.record is not None:
        payload = bytes(piece.record.payload)[piece.offset : piece.offset + piece.nbytes]
        text = payload.decode() if piece.is_data else "hole"
    return f"{piece.lo}-{piece.hi - 1} {text}"
