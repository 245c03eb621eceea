"""Extents: the reference's evtree scenarios where they apply, then our own rules."""

from __future__ import annotations

import random

import pytest

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    InvalidError,
    NotFoundError,
    TxRestartError,
)
from daos.base.ids import EPOCH_MAX
from daos.bio.space import Extent
from daos.vos import extents
from daos.vos.extents import (
    DATA_WIDTH_MAX,
    MINOR_REBUILD,
    PARITY_LO,
    RECORDS_MAX,
    ExtentRecord,
    Inserted,
    Piece,
    hole,
)
from tests.unit.vos.extent_array import MINOR, Array, Counting, data, show


class TestWordSets:
    """internals §9.3: `evt_ctl.sh` with n = 10."""

    BASE = "20-24@10:abcde 90-95@12:ABCDEF 50-56@10:1234567 57-61@10:vwxyz 35-40@12:lmnopq"

    def test_adds(self, array: Array) -> None:
        array.words(self.BASE)
        again = array.insert(57, 62, 10, text="vwxyz")
        assert again.replaced == data(5, "vwxyz")
        for lo, hi in ((36, 42), (34, 40)):
            with pytest.raises(DaosError) as caught:
                array.insert(lo, hi, 12, text="x")
            assert caught.value.code == DER.VOS_PARTIAL_UPDATE
        array.words("34-38@13:STUVW 0-3@9:0123 3-28@14:z 31-56@7:-".replace(":-", ":_"))

        assert array.read(28, 53, 11) == ["31-49 " + "_" * 19, "50-52 123"]
        assert array.read(28, 53, 12) == [
            "31-34 ____",
            "35-40 lmnopq",
            "41-49 _________",
            "50-52 123",
        ]
        assert array.read(28, 53, 13) == [
            "31-33 ___",
            "34-38 STUVW",
            "39-40 pq",
            "41-49 _________",
            "50-52 123",
        ]
        assert array.read(0, 30, 13) == ["0-3 0123", "20-24 abcde"]
        assert array.read(0, 30, 14) == ["0-2 012", "3-28 " + "z" * 26]
        assert array.read(0, 100, 6) == []

    def test_delete_wants_the_exact_rectangle(self, array: Array) -> None:
        array.words(self.BASE)
        for lo, hi, epoch, minor in (
            (0, 101, 14, MINOR),
            (20, 24, 10, MINOR),
            (20, 25, 11, MINOR),
            (20, 25, 10, 2),
            (20, 28, 10, MINOR),  # of its class, in its place
            (-1, 5, 10, MINOR),
            (5, 5, 10, MINOR),
        ):
            with pytest.raises(NotFoundError):
                extents.delete(array.tree, array.akey_id, lo, hi, epoch=epoch, minor=minor)
        gone = extents.delete(array.tree, array.akey_id, 20, 25, epoch=10, minor=MINOR)
        assert gone == data(5, "abcde")
        assert array.read(0, 50, 11) == []

    def test_minor_epochs(self, array: Array) -> None:
        array.words("1-8@1.1:12345678 0-1@1.2 8-9@1.3 5-6@1.4:ab")
        assert array.read(0, 20, 1) == ["0-1 hole", "2-4 234", "5-6 ab", "7-7 7", "8-9 hole"]

    def test_partial_overlap_within_a_minor_epoch(self, array: Array) -> None:
        array.words("0-5@1.1:abcdef 1-2@1.2:xy 3-5@1.14:ghi")
        for word in ("3-4@1.14:ab", "2-3@1.14:ab", "5-9@1.14"):
            with pytest.raises(DaosError) as caught:
                array.words(word)
            assert caught.value.code == DER.VOS_PARTIAL_UPDATE
        array.words("3-5@1.14:ghi 6-7@1.14:no")
        assert array.read(0, 9, 1) == ["0-0 a", "1-2 xy", "3-5 ghi", "6-7 no"]

    def test_lower_minor_goes_under(self, array: Array) -> None:
        array.words("0-5@1.9:abcdef 2-3@1.3:xy 4-7@1.2:1234")
        assert array.read(0, 9, 1) == ["0-5 abcdef", "6-7 34"]

    def test_rebuild_takes_the_next_minor(self, array: Array) -> None:
        def rebuild(lo: int, hi: int, text: str) -> int:
            return array.insert(lo, hi + 1, 1, minor=MINOR_REBUILD, text=text).minor

        assert rebuild(2, 4, "abc") == MINOR_REBUILD
        assert rebuild(3, 4, "de") == MINOR_REBUILD + 1
        assert rebuild(3, 3, "f") == MINOR_REBUILD + 2
        assert rebuild(0, 1, "bc") == MINOR_REBUILD
        assert rebuild(0, 1, "cd") == MINOR_REBUILD + 1
        assert rebuild(1, 1, "g") == MINOR_REBUILD + 2
        array.words("0-3@1.16383")
        assert array.read(0, 9, 1) == ["0-0 c", "1-1 g", "2-2 a", "3-3 f", "4-4 e"]
        array.insert(20, 21, 1, minor=extents.MINOR_MAX, text="x")
        with pytest.raises(DaosError) as caught:
            rebuild(20, 20, "y")
        assert caught.value.code == DER.OVERFLOW


class TestWide:
    def test_width_limit(self, array: Array) -> None:
        record = ExtentRecord(
            DATA_WIDTH_MAX + 1, 1, 2, 1 << 31, b"c" * (4 << 17), Extent(0, 1 << 36)
        )
        with pytest.raises(AccessError):
            extents.insert(
                array.tree, array.tree, array.akey_id, 0, record, epoch=1, minor=1, classes=0
            )
        assert array.find(0, 10, 9) == [Piece(0, 10)]

    def test_wide_holes(self, array: Array) -> None:
        array.words("5-9@2:abcde")
        for width in (1 << 48, (1 << 49) + 1, 1 << 62, (1 << 63) + 1, 1 << 64):
            array.insert(0, width, 10 + width.bit_length())
        array.words("7-7@100:x")
        assert array.read(0, 20, 9) == ["5-9 abcde"]
        assert array.read(0, 8, 60) == ["0-7 hole"]
        top = 1 << 64
        assert array.read(top - 2, top, 200) == [f"{top - 2}-{top - 1} hole"]
        assert array.read(0, 20, 100) == ["0-6 hole", "7-7 x", "8-19 hole"]
        everything = array.find(0, top, 200)
        assert [(piece.lo, piece.hi) for piece in everything] == [(0, 7), (7, 8), (8, top)]

    def test_parity_space(self, array: Array) -> None:
        array.words("0-3@2:abcd 4-7@3:efgh")
        array.insert(PARITY_LO, PARITY_LO + 4, 3, text="WXYZ")
        array.insert(RECORDS_MAX - 1, RECORDS_MAX, 3, text="!")
        assert array.read(0, 8, 9) == ["0-3 abcd", "4-7 efgh"]
        assert array.read(PARITY_LO + 1, PARITY_LO + 3, 9) == [
            f"{PARITY_LO + 1}-{PARITY_LO + 2} XY"
        ]
        assert [show(piece).split()[1] for piece in array.find(0, RECORDS_MAX, 9)] == [
            "abcd",
            "efgh",
            "gap",
            "WXYZ",
            "gap",
            "!",
        ]


class TestVisible:
    """EVT015, EVT017, EVT050, EVT052 to EVT055."""

    def test_epoch_and_minor_of_the_last_writer(self, array: Array) -> None:
        rng = random.Random(15)
        for majors, minors in ((100, 1), (5, 20), (1, 100)):
            array.akey_id += 1_000_000
            array.classes = 0
            writers = [(0, 0)] * 200
            array.insert(0, 200, 1, minor=1, text="b")
            writers[:] = [(1, 1)] * 200
            for major in range(2, 2 + majors):
                for minor in range(1, 1 + minors):
                    lo = rng.randrange(199)
                    hi = rng.randint(lo + 1, 200)
                    array.insert(lo, hi, major, minor=minor, text="d")
                    writers[lo:hi] = [(major, minor)] * (hi - lo)
            found = array.find(0, 200, EPOCH_MAX)
            assert writers == [
                (piece.epoch, piece.minor) for piece in found for _ in range(piece.lo, piece.hi)
            ]

    def test_punch_by_floor(self, array: Array) -> None:
        array.words("0-9@98:a 5-14@99:b 10-19@100:c")
        assert array.read(0, 20, 200, floor=(99, extents.MINOR_MAX)) == ["10-19 cccccccccc"]
        assert array.read(0, 20, 99, floor=(99, extents.MINOR_MAX)) == []
        assert array.read(0, 20, 200, floor=(98, 1)) == ["5-9 bbbbb", "10-19 cccccccccc"]
        assert array.read(0, 3, 200, floor=(98, 0)) == ["0-2 aaa"]

    def test_floor_within_a_stack(self, array: Array) -> None:
        array.words("0-7@5:old 0-4@6:new 0-5@6.2:two")
        assert array.read(0, 8, 9, floor=(5, 1)) == ["0-5 twotwo"]
        assert array.read(0, 8, 9, floor=(4, 9)) == ["0-5 twotwo", "6-7 ol"]
        assert array.read(0, 8, 9, floor=(6, 1)) == ["0-5 twotwo"]
        assert array.read(0, 8, 9, floor=(6, 2)) == []

    def test_050_hundred_epochs_of_thirty(self, array: Array) -> None:
        for epoch in range(1, 101):
            for index in range(epoch, epoch + 30):
                array.insert(index, index + 1, epoch, text="x")
        found = extents.visible(
            array.tree, array.akey_id, classes=array.classes, epoch=EPOCH_MAX, limit=1000
        )
        assert sum(piece.nbytes for piece in found.pieces) == 129
        for piece in found.pieces:
            assert piece.epoch == min(piece.lo, 100)
        stored = list(extents.versions(array.tree, array.akey_id, classes=array.classes))
        assert len(stored) == 3000
        newest = list(
            extents.versions(array.tree, array.akey_id, classes=array.classes, epoch_lo=90)
        )
        assert len(newest) == 11 * 30
        for version in newest:
            extents.delete(
                array.tree,
                array.akey_id,
                version.lo,
                version.hi,
                epoch=version.epoch,
                minor=version.minor,
            )
        page = extents.visible(
            array.tree, array.akey_id, classes=array.classes, epoch=EPOCH_MAX, limit=1000
        )
        assert len(page.pieces) == 89 + 29

    def test_052_shrinking_holes(self, array: Array) -> None:
        count = 300
        for index in range(count):
            array.insert(index, 2 * count - index, index + 1)
        found = array.find(0, 2 * count, EPOCH_MAX)
        assert len(found) == 2 * count - 1
        assert [piece.lo for piece in found[:count]] == list(range(count))

    def test_053_reinsert(self, array: Array) -> None:
        for _ in range(3):
            array.words("3-5@7:abc")
            assert array.read(0, 9, 7) == ["3-5 abc"]
            extents.delete(array.tree, array.akey_id, 3, 6, epoch=7, minor=MINOR)
            assert array.read(0, 9, 7) == []

    def test_055_the_covered_becomes_visible(self, array: Array) -> None:
        for epoch in range(1, 20):
            array.insert(epoch, epoch + 9, epoch, text="deadbeef!")
        assert array.read(15, 40, 19) == [
            "15-15 d",
            "16-16 d",
            "17-17 d",
            "18-18 d",
            "19-27 deadbeef!",
        ]
        extents.delete(array.tree, array.akey_id, 19, 28, epoch=19, minor=MINOR)
        assert array.read(17, 40, 19) == ["17-17 d", "18-26 deadbeef!"]
        array.insert(18, 20, 30)
        assert array.read(17, 40, 30) == ["17-17 d", "18-19 hole", "20-26 adbeef!"]


class TestInsert:
    def test_016_record_size_is_for_life(self, array: Array) -> None:
        array.words("0-3@1:abcd")
        other = ExtentRecord(
            2, 4, 128, 8, compute(ChecksumType.XXH3, b"8 bytes."), None, b"8 bytes."
        )
        with pytest.raises(InvalidError):
            extents.insert(
                array.tree,
                array.tree,
                array.akey_id,
                9,
                other,
                epoch=2,
                minor=1,
                classes=array.classes,
                record_size=array.record_size,
            )
        array.insert(0, 9, 2)

    def test_020_aggregation_hint(self, array: Array) -> None:
        def hint(lo: int, hi: int, epoch: int) -> bool:
            return array.insert(lo, hi + 1, epoch, text="x").aggregatable

        assert not hint(0, 0, 1)
        assert hint(1, 2, 2)
        assert not hint(10, 14, 3)
        assert hint(9, 16, 4)
        assert hint(7, 8, 5)
        assert not hint(5, 5, 6)
        assert hint(11, 12, 7)
        assert hint(PARITY_LO + 100, PARITY_LO + 101, 8)
        assert hint(50, 51, 9)

    def test_hint_gives_up(self, array: Array) -> None:
        for index in range(40):
            array.insert(100 + 3 * index, 101 + 3 * index, 1, text="x")
        for index in range(20):
            array.insert(1000 + index, 1000 + index + 600, 1 + index)
        assert array.insert(1700, 1701, 50).aggregatable

    def test_021(self, array: Array) -> None:
        assert not array.insert(0, 11, 1, text="Hello World").aggregatable
        assert array.insert(0, 5, 2, text="HELLO").aggregatable
        assert not array.insert(100, 105, 2, text="HELLO").aggregatable
        assert array.read(0, 20, 2) == ["0-4 HELLO", "5-10  World"]

    def test_same_again(self, array: Array) -> None:
        array.words("3-6@5:abcd")
        replaced = array.insert(3, 7, 5)
        assert replaced.replaced == data(4, "abcd")
        assert replaced.aggregatable
        assert array.read(0, 9, 5) == ["3-6 hole"]
        assert array.insert(3, 7, 5).replaced == hole(4)
        assert array.insert(3, 7, 5, text="wxyz").replaced == hole(4)
        assert array.read(0, 9, 5) == ["3-6 wxyz"]

    def test_uncertainty(self, array: Array) -> None:
        array.words("3-6@7:abcd")
        for call in (array.find, array.insert):
            with pytest.raises(TxRestartError):
                call(6, 9, 5, bound=7)
            call(6, 9, 5, bound=6)
            call(9, 11, 5, bound=7)
        array.find(6, 9, 7, bound=99)

    def test_nothing_is_searched_above_the_newest_epoch(self, array: Array) -> None:
        array.words("3-6@7:abcd")
        hidden = extents.insert(
            array.tree,
            array.tree,
            array.akey_id,
            3,
            hole(4),
            epoch=8,
            minor=1,
            classes=array.classes,
            epoch_newest=7,
        )
        assert hidden == Inserted(1 << 2, 1, aggregatable=True, replaced=None)
        assert array.read(0, 9, 8) == ["3-6 hole"]

    @pytest.mark.parametrize(
        ("lo", "width", "epoch", "minor"),
        [
            (-1, 2, 1, 1),
            (0, RECORDS_MAX + 1, 1, 1),
            (RECORDS_MAX - 1, 2, 1, 1),
            (5, 0, 1, 1),
            (0, 1, 0, 1),
            (0, 1, EPOCH_MAX + 1, 1),
            (0, 1, 1, 0),
            (0, 1, 1, extents.MINOR_MAX + 1),
        ],
    )
    def test_refused(self, array: Array, lo: int, width: int, epoch: int, minor: int) -> None:
        with pytest.raises(InvalidError):
            array.insert(lo, lo + width, epoch, minor=minor)

    @pytest.mark.parametrize(("lo", "hi"), [(5, 5), (6, 5), (-1, 5), (0, RECORDS_MAX + 1)])
    def test_find_refuses(self, array: Array, lo: int, hi: int) -> None:
        with pytest.raises(InvalidError):
            array.find(lo, hi, 1)
        with pytest.raises(InvalidError):
            list(extents.versions(array.tree, 1, lo, hi, classes=1))

    def test_check_disjoint(self) -> None:
        extents.check_disjoint([(5, 9), (0, 5), (9, 10)])
        for ranges in ([(0, 5), (4, 6)], [(4, 6), (0, 5)], [(1, 2), (1, 2)]):
            with pytest.raises(DaosError) as caught:
                extents.check_disjoint(ranges)
            assert caught.value.code == DER.VOS_PARTIAL_UPDATE


class TestReach:
    """A stack knows how far it goes below each version, whatever the order of writes."""

    def reaches(self, array: Array) -> list[tuple[int, int, int]]:
        found = extents.versions(array.tree, array.akey_id, classes=array.classes)
        return [(each.epoch, each.record.width, each.record.reach) for each in found]

    def test_in_order(self, array: Array) -> None:
        array.words("0-6@1:a 0-4@2:b 0-7@3:c 0-5@4:d 0-5@5:e")
        assert self.reaches(array) == [(5, 6, 8), (4, 6, 8), (3, 8, 0), (2, 5, 7), (1, 7, 0)]
        assert array.read(0, 9, 2) == ["0-4 bbbbb", "5-6 aa"]
        assert array.read(6, 9, 9) == ["6-7 cc"]

    def test_out_of_order(self, array: Array) -> None:
        array.words("0-5@9:a 0-4@8:b 0-6@7:c 0-4@5:d 0-7@3:e 0-5@4:f")
        assert self.reaches(array) == [
            (9, 6, 8),
            (8, 5, 8),
            (7, 7, 8),
            (5, 5, 8),
            (4, 6, 8),
            (3, 8, 0),
        ]
        assert array.read(4, 9, 9) == ["4-5 aa", "6-6 c", "7-7 e"]

    def test_replaced_keeps_it(self, array: Array) -> None:
        array.words("0-6@1:a 0-4@2:b")
        array.insert(0, 5, 2)
        assert self.reaches(array) == [(2, 5, 7), (1, 7, 0)]

    def test_last_key_of_the_tree(self, array: Array) -> None:
        array.akey_id = (1 << 64) - 1
        array.insert(0, 7, 5, text="a")
        array.insert(0, 8, 1, text="b")
        array.insert(0, RECORDS_MAX, 3)
        array.insert(0, 5, 2, text="c")
        last = extents.last_visible(
            array.tree, array.akey_id, classes=array.classes | 1 << 63, epoch=2
        )
        assert last is not None
        assert show(last) == "5-7 bbb"
        assert array.read(0, 9, 9) == ["0-6 aaaaaaa", "7-8 hole"]
        for version in list(extents.versions(array.tree, array.akey_id, classes=array.classes)):
            array.tree.delete(
                extents.extent_key(
                    array.akey_id,
                    version.lo,
                    version.hi - version.lo,
                    epoch=version.epoch,
                    minor=version.minor,
                )
            )

    def test_a_hole_over_a_stack_ends_the_search(self, array: Array) -> None:
        """A file rewritten and cut off each time: what is under the hole is never looked at."""
        for epoch in range(1, 2000, 2):
            array.insert(0, RECORDS_MAX, epoch)
            array.insert(0, 600 + epoch % 100, epoch + 1, text="x")
        counting = Counting(array.tree)
        found = extents.find(
            counting, array.akey_id, 0, 1024, classes=array.classes, epoch=EPOCH_MAX
        )
        assert [piece.is_data for piece in found] == [True, False]
        assert counting.steps <= 10


class TestEnumerate:
    def pages(self, array: Array, epoch: int, limit: int, *, reverse: bool) -> list[str]:
        shown: list[str] = []
        lo, hi = 0, RECORDS_MAX
        for _ in range(1000):
            page = extents.visible(
                array.tree,
                array.akey_id,
                classes=array.classes,
                epoch=epoch,
                limit=limit,
                lo=lo,
                hi=hi,
                reverse=reverse,
            )
            assert len(page.pieces) <= limit
            shown += [show(piece) for piece in page.pieces]
            if page.eof:
                return shown
            lo, hi = (lo, page.anchor) if reverse else (page.anchor, hi)
        raise AssertionError("no end")

    def test_pages_in_both_directions(self, array: Array) -> None:
        rng = random.Random(9)
        for epoch in range(1, 150):
            lo = rng.randrange(400)
            hi = lo + rng.choice((1, 2, 3, 8, 9, 64, 200))
            array.insert(lo, hi, epoch, text="" if rng.random() < 0.3 else chr(65 + epoch % 26))
        for epoch in (0, 1, 60, 149):
            whole = [show(p) for p in array.find(0, 1000, epoch) if p.is_data]
            assert epoch < 60 or len(whole) > 10
            for limit in (1, 3, 1000):
                assert self.pages(array, epoch, limit, reverse=False) == whole
                assert self.pages(array, epoch, limit, reverse=True) == whole[::-1]
            first = extents.first_visible(
                array.tree, array.akey_id, classes=array.classes, epoch=epoch
            )
            last = extents.last_visible(
                array.tree, array.akey_id, classes=array.classes, epoch=epoch
            )
            assert [show(piece) for piece in (first, last) if piece] == [*whole[:1], *whole[-1:]]

    def test_limits(self, array: Array) -> None:
        array.words("3-6@5:abcd")

        def visible(lo: int, hi: int, limit: int, *, reverse: bool) -> extents.VisiblePage:
            return extents.visible(
                array.tree,
                array.akey_id,
                classes=array.classes,
                epoch=9,
                limit=limit,
                lo=lo,
                hi=hi,
                reverse=reverse,
            )

        for reverse, anchor in ((False, 6), (True, 4)):
            page = visible(4, 6, 9, reverse=reverse)
            assert [show(piece) for piece in page.pieces] == ["4-5 bc"]
            assert page.eof
            assert page.anchor == anchor
            assert visible(4, 6, 0, reverse=reverse) == ([], 10 - anchor, False)
            assert visible(6, 6, 9, reverse=reverse) == ([], 6, True)
        assert visible(0, RECORDS_MAX, 1, reverse=False).pieces[0].epoch == 5

    def test_backwards_through_one_wide_extent(self, array: Array) -> None:
        array.insert(0, 1000, 1, text="w")
        for index in range(20):
            array.insert(2000 + 2 * index, 2001 + 2 * index, 2)
        array.insert(500, 501, 3)
        last = extents.last_visible(array.tree, array.akey_id, classes=array.classes, epoch=9)
        assert last is not None
        assert (last.lo, last.hi) == (501, 1000)

    def test_nothing(self, array: Array) -> None:
        for classes in (0, 1, (1 << 64) - 1):
            array.classes = classes
            assert array.find(0, RECORDS_MAX, EPOCH_MAX) == [Piece(0, RECORDS_MAX)]
            for find in (extents.first_visible, extents.last_visible):
                assert find(array.tree, array.akey_id, classes=classes, epoch=EPOCH_MAX) is None


def test_a_stack_costs_a_seek_not_a_scan(array: Array) -> None:
    """Ten thousand versions of one block: a look at any epoch touches a handful of records."""
    array.insert(64, 128, 1)
    for epoch in range(2, 10_001):
        key = extents.extent_key(array.akey_id, 64, 64, epoch=epoch, minor=1)
        array.tree.put(key, hole(64).emit())
    counting = Counting(array.tree)
    for lo, hi, epoch in ((64, 128, 10_000), (100, 110, 5_000), (0, 500, 1), (0, 500, 7_777)):
        counting.steps = 0
        found = extents.find(counting, array.akey_id, lo, hi, classes=array.classes, epoch=epoch)
        assert [piece.epoch for piece in found if piece.record] == [epoch]
        assert counting.steps <= 5
