"""Extents against a list of writes: whatever is read anywhere at any epoch is what the list says.

The model keeps every write as five integers and shares nothing with the store. A range is compared
at each of the points between which nothing changes, so that widths up to 2**64 cost no more than
small ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import lmdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daos.base.checksum import ChecksumType
from daos.base.errors import DER, DaosError
from daos.base.ids import EPOCH_MAX
from daos.bio.space import Extent
from daos.vos import extents
from daos.vos.extents import ExtentRecord, hole

MIXES = 3000
EPOCHS = 12
MINORS = 4
TOP = 1 << 64
# Wider data has thousands of checksums, which is slow and tells nothing.
DATA_WIDTH_MAX = 1 << 40
CSUM_CHUNK = (1 << 32) - 1


class Write(NamedTuple):
    """Records [lo, hi) at (epoch, minor); number 0 is a hole, others tell writes apart."""

    lo: int
    hi: int
    epoch: int
    minor: int
    number: int


class Model:
    """What an array is: a list of writes, the newest one wins."""

    def __init__(self) -> None:
        self.writes: list[Write] = []

    def accepts(self, new: Write) -> bool:
        return not any(
            (old.epoch, old.minor) == (new.epoch, new.minor)
            and old.lo < new.hi
            and new.lo < old.hi
            and old[:2] != new[:2]
            for old in self.writes
        )

    def write(self, new: Write) -> None:
        self.writes = [old for old in self.writes if old[:4] != new[:4]]
        self.writes.append(new)

    def at(self, index: int, epoch: int, floor: tuple[int, int]) -> Write | None:
        found = [
            write
            for write in self.writes
            if write.lo <= index < write.hi and write.epoch <= epoch and write[2:4] > floor
        ]
        return max(found, key=lambda write: write[2:4], default=None)

    def read(
        self, lo: int, hi: int, epoch: int, floor: tuple[int, int]
    ) -> list[tuple[int, int, Write | None]]:
        edges = {edge for write in self.writes for edge in write[:2] if lo < edge < hi}
        points = sorted({lo, *edges})
        pieces: list[tuple[int, int, Write | None]] = []
        for begin, end in zip(points, [*points[1:], hi], strict=True):
            newest = self.at(begin, epoch, floor)
            if pieces and pieces[-1][2] == newest:
                begin = pieces.pop()[0]
            pieces.append((begin, end, newest))
        return pieces


class Tree:
    """The tree of a shard: cursors, and transactions that write at once."""

    def __init__(self, path: Path) -> None:
        self.env = lmdb.open(str(path), map_size=1 << 30, sync=False)
        self.txn = self.env.begin(write=True)

    def cursor(self) -> lmdb.Cursor[bytes]:
        return self.txn.cursor()

    def get(self, key: bytes) -> bytes | None:
        value = self.txn.get(key)
        return None if value is None else bytes(value)

    def put(self, key: bytes, value: bytes) -> None:
        self.txn.put(key, value)

    def delete(self, key: bytes) -> None:
        self.txn.delete(key)


class Pair:
    """An array in the store and its model, always changed together."""

    last_id = 0

    def __init__(self, tree: Tree) -> None:
        Pair.last_id += 1
        self.tree = tree
        self.akey_id = Pair.last_id
        self.classes = 0
        self.newest = 0
        self.model = Model()

    def write(self, write: Write, *, all_searched: bool) -> None:
        width = write.hi - write.lo
        if width > DATA_WIDTH_MAX:
            write = write._replace(number=0)
        record = stored(width, write.number) if write.number else hole(width)
        try:
            inserted = extents.insert(
                self.tree,
                self.tree,
                self.akey_id,
                write.lo,
                record,
                epoch=write.epoch,
                minor=write.minor,
                classes=self.classes,
                record_size=1,
                epoch_newest=EPOCH_MAX if all_searched else self.newest,
            )
        except DaosError as error:
            if error.code != DER.VOS_PARTIAL_UPDATE or self.model.accepts(write):
                raise
            return
        assert self.model.accepts(write)
        again = any(old[:4] == write[:4] for old in self.model.writes)
        assert (inserted.replaced is not None) == again
        touched = any(old.lo <= write.hi and write.lo <= old.hi for old in self.model.writes)
        assert inserted.aggregatable or not touched
        self.classes |= inserted.class_bit
        self.newest = max(self.newest, write.epoch)
        self.model.write(write)

    def delete(self, write: Write) -> None:
        extents.delete(
            self.tree,
            self.akey_id,
            write.lo,
            write.hi,
            epoch=write.epoch,
            minor=write.minor,
        )
        self.model.writes.remove(write)

    def check(self, lo: int, hi: int, epoch: int, floor: tuple[int, int]) -> None:
        found = extents.find(
            self.tree,
            self.akey_id,
            lo,
            hi,
            classes=self.classes,
            epoch=epoch,
            floor=floor,
        )
        expected = self.model.read(lo, hi, epoch, floor)
        assert [told(piece) for piece in found] == expected

    def check_whole(self, epoch: int, floor: tuple[int, int], limit: int) -> None:
        """Enumerations, both ways, in pages; everything that is stored."""
        expected = [
            piece
            for piece in self.model.read(0, TOP, epoch, floor)
            if piece[2] is not None and piece[2].number
        ]
        for reverse in (False, True):
            lo, hi, pieces = 0, TOP, []
            eof = False
            while not eof:
                page = extents.visible(
                    self.tree,
                    self.akey_id,
                    classes=self.classes,
                    epoch=epoch,
                    floor=floor,
                    limit=limit,
                    lo=lo,
                    hi=hi,
                    reverse=reverse,
                )
                pieces += [told(piece) for piece in page.pieces]
                eof = page.eof
                lo, hi = (lo, page.anchor) if reverse else (page.anchor, hi)
            assert pieces == (expected[::-1] if reverse else expected)
        ends = [
            find(self.tree, self.akey_id, classes=self.classes, epoch=epoch, floor=floor)
            for find in (extents.first_visible, extents.last_visible)
        ]
        assert [told(end) for end in ends if end] == [*expected[:1], *expected[-1:]]

    def check_versions(self, lo: int, hi: int, epoch_lo: int, epoch_hi: int) -> None:
        found = extents.versions(
            self.tree,
            self.akey_id,
            lo,
            hi,
            classes=self.classes,
            epoch_lo=epoch_lo,
            epoch_hi=epoch_hi,
        )
        assert sorted(
            Write(each.lo, each.hi, each.epoch, each.minor, number_of(each.record))
            for each in found
        ) == sorted(
            write
            for write in self.model.writes
            if write.lo < hi and lo < write.hi and epoch_lo <= write.epoch <= epoch_hi
        )


def stored(width: int, number: int) -> ExtentRecord:
    """Data in blocks, nobody reads them: the first block tells which write it is."""
    csums = b"cs" * -(-width // CSUM_CHUNK)
    run = Extent(number, -(-width // 4096))
    return ExtentRecord(width, 1, ChecksumType.CRC16, CSUM_CHUNK, csums, run)


def number_of(record: ExtentRecord) -> int:
    return record.run.block if record.run else 0


def told(piece: extents.Piece) -> tuple[int, int, Write | None]:
    """A piece in the words of the model."""
    if piece.record is None:
        return piece.lo, piece.hi, None
    extent_hi = piece.extent_lo + piece.record.width
    write = Write(piece.extent_lo, extent_hi, piece.epoch, piece.minor, number_of(piece.record))
    return piece.lo, piece.hi, write


BASES = (0, 0, 0, 1 << 20, (1 << 63) - 40, TOP - 80)


def shapes(rng: random.Random) -> Iterator[tuple[int, int]]:
    """Endless [lo, hi) ranges of one adversarial shape."""
    base = rng.choice(BASES)
    shape = rng.randrange(8)
    power = 1 << rng.choice((0, 1, 2, 3, 4, 5, 6, 20, 47, 48, 63))
    step = rng.choice((1, 2, 3, power // 2 + 1))
    for index in range(1 << 30):
        width = max(power + rng.choice((-1, 0, 1)), 1)
        at = rng.randrange(60)
        lo, hi = {
            0: (at, at + 1),
            1: (at, at + width),  # 2**k - 1, 2**k, 2**k + 1: two classes, three widths
            2: (index, 120 - index % 60),  # nested
            3: (index * step, index * step + width),  # a staircase
            4: (17, 17 + width + rng.randrange(min(width, 64))),  # one stack of many widths
            5: (at // 8 * 8, at // 8 * 8 + 8),  # blocks, overwritten
            6: (0, TOP) if index % 5 == 0 else (at, at + 7),
            7: (at, at + rng.randint(1, 40)),
        }[shape]
        lo = min(base + lo, TOP - 1)
        yield lo, min(max(base + hi, lo + 1), TOP)


def mix(tree: Tree, rng: random.Random) -> None:
    """Writes of one or two shapes in any order of epochs, deletions, reads in between."""
    pair = Pair(tree)
    sources = [shapes(rng) for _ in range(rng.randint(1, 2))]
    in_order = rng.random() < 0.3
    holes = rng.choice((0.0, 0.2, 0.8))
    for number in range(1, rng.choice((4, 15, 30)) + 1):
        lo, hi = next(rng.choice(sources))
        epoch = number if in_order else rng.randint(1, EPOCHS)
        kind = 0 if rng.random() < holes else number
        write = Write(lo, hi, epoch, rng.randint(1, MINORS), kind)
        pair.write(write, all_searched=rng.random() < 0.7)
        if pair.model.writes and rng.random() < 0.1:
            pair.delete(rng.choice(pair.model.writes))
        if rng.random() < 0.2:
            read(pair, rng)
    read(pair, rng)
    epoch = rng.choice((EPOCH_MAX, rng.randint(1, EPOCHS)))
    pair.check_whole(epoch, floors(rng), limit=rng.choice((1, 2, 50)))


def floors(rng: random.Random) -> tuple[int, int]:
    return rng.choice(((0, 0), (0, 0), (rng.randint(1, EPOCHS), rng.randint(0, MINORS))))


def read(pair: Pair, rng: random.Random) -> None:
    edges = [edge for write in pair.model.writes for edge in write[:2]] or [5]
    for _ in range(3):
        near = [min(max(rng.choice(edges) + rng.randint(-2, 2), 0), TOP - 1) for _ in range(2)]
        lo, hi = min(near), max(near) + 1
        pair.check(lo, hi, rng.choice((EPOCH_MAX, rng.randint(1, EPOCHS))), floors(rng))
    pair.check(0, TOP, rng.randint(1, EPOCHS), floors(rng))
    epoch_lo = rng.randint(0, EPOCHS)
    pair.check_versions(lo, hi, epoch_lo, epoch_lo + rng.randint(0, EPOCHS))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("tree"))
    yield tree
    tree.txn.abort()
    tree.env.close()


@pytest.mark.parametrize("share", range(10))
def test_mixes(tree: Tree, share: int) -> None:
    for seed in range(share, MIXES, 10):
        try:
            mix(tree, random.Random(seed))
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise


WRITES = st.builds(
    lambda lo, width, epoch, minor, number: Write(lo, lo + width, epoch, minor, number),
    st.integers(0, 40),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 9),
)


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(writes=st.lists(WRITES, max_size=12), epoch=st.integers(1, 6), floor=st.integers(0, 3))
def test_any_writes(tree: Tree, writes: list[Write], epoch: int, floor: int) -> None:
    """The same for cases that hypothesis makes up, because it also makes them small."""
    pair = Pair(tree)
    for number, write in enumerate(writes, start=1):
        pair.write(write._replace(number=write.number and number), all_searched=True)
    pair.check(0, 90, epoch, (floor, 2))
    pair.check(13, 27, epoch, (0, 0))
    pair.check_whole(epoch, (0, 0), limit=2)
