"""The raw incarnation log: the reference's scenarios VOS500 and VOS501, then our own rules."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest

from daos.base.errors import (
    DER,
    AccessError,
    CorruptError,
    DaosError,
    InvalidError,
    NotFoundError,
    TxRestartError,
)
from daos.vos.ilog import (
    CORRUPTED,
    EMPTY,
    ENTRIES_MAX,
    ENTRY_SIZE,
    HEAD_SIZE,
    MINOR_MAX,
    Ilog,
    IlogEntry,
    Punch,
    Status,
    created_at,
    emit_created,
)

MINOR = 1


class Transactions:
    """The table of the reference's test: which transaction is prepared, which may be committed."""

    def __init__(self) -> None:
        self.states: dict[int, Status] = {}

    def begin(self, tx: int, status: Status) -> int:
        self.states[tx] = status
        return tx

    def __call__(self, entry: IlogEntry) -> Status:
        return self.states.get(entry.tx, Status.COMMITTED) if entry.tx else Status.COMMITTED


def text(log: Ilog) -> list[str]:
    """`1C` is a create at epoch 1, `4P` a punch at epoch 4."""
    return [f"{entry.epoch}{'P' if entry.is_punch else 'C'}" for entry in log.entries]


def written(words: str) -> Ilog:
    """A committed log, spelled as `text` spells it."""
    log = EMPTY
    for word in words.split():
        log = log.update(int(word[:-1]), MINOR, punch=word[-1] == "P")
    assert text(log) == words.split()
    return log


class Test500Update:
    def test_same_transaction_turns_its_create_into_a_punch(self) -> None:
        transactions = Transactions()
        one = transactions.begin(1, Status.COMMITTED)
        created = EMPTY.update(1, 1, punch=False, tx=one, status=transactions)
        assert text(created) == ["1C"]

        punched = created.update(1, 2, punch=True, tx=one, status=transactions)
        assert text(punched) == ["1P"]
        assert punched.revision > created.revision

        with pytest.raises(NotFoundError):
            punched.persist(1, 77)
        persisted = punched.persist(1, one)
        assert persisted.revision > punched.revision
        assert persisted.entries[0].tx == 0

    def test_other_transaction_at_the_epoch(self) -> None:
        transactions = Transactions()
        log = written("1P")
        two = transactions.begin(2, Status.UNCOMMITTED)
        with pytest.raises(DaosError) as caught:
            log.update(1, 1, punch=True, tx=two, status=transactions)
        assert caught.value.code == DER.ALREADY
        with pytest.raises(TxRestartError):
            log.update(1, 2, punch=False, tx=two, status=transactions)

        later = log.update(2, 1, punch=False, tx=two, status=transactions)
        assert text(later) == ["1P", "2C"]
        both = later.update(2, 2, punch=True, tx=two, status=transactions)
        assert text(both) == ["1P", "2P"]
        three = transactions.begin(3, Status.UNCOMMITTED)
        for punch in (False, True):
            with pytest.raises(TxRestartError):
                both.update(2, 3, punch=punch, tx=three, status=transactions)

    def test_creates_are_logged_only_where_they_matter(self) -> None:
        transactions = Transactions()
        log = written("1P").update(2, 1, punch=True)
        expected = ["1P", "2P"]
        before = Status.COMMITTED
        for index in range(20):
            epoch = 3 + index
            status = Status.COMMITTED if index % 2 else Status.UNCOMMITTED
            punch = index % 10 == 9
            tx = transactions.begin(epoch, status)
            grown = log.update(epoch, MINOR, punch=punch, tx=tx, status=transactions)
            if punch or expected[-1][-1] == "P" or before is Status.UNCOMMITTED:
                expected.append(f"{epoch}{'P' if punch else 'C'}")
                before = status
                assert grown.revision > log.revision
            else:
                assert grown is log
            log = grown
            assert text(log) == expected
        assert 4 < len(expected) < 22


class Test500AbortPersist:
    def test_abort(self) -> None:
        transactions = Transactions()
        tx = transactions.begin(1, Status.UNCOMMITTED)
        log = EMPTY.update(1, MINOR, punch=False, tx=tx, status=transactions)
        with pytest.raises(NotFoundError):
            log.abort(1, 9)
        with pytest.raises(NotFoundError):
            log.abort(2, tx)
        with pytest.raises(NotFoundError):
            log.abort(1, tx).fetch(transactions)

        for turn in range(5):
            epochs = range(2, 20 + 20 * turn)
            for epoch in epochs:
                tx = transactions.begin(epoch, Status.UNCOMMITTED)
                log = log.update(epoch, MINOR, punch=epoch % 2 == 1, tx=tx, status=transactions)
            assert [entry.epoch for entry, _ in log.fetch(transactions)] == [1, *epochs]
            assert {status for _, status in log.fetch(transactions)} == {Status.UNCOMMITTED}
            for epoch in epochs:
                revision = log.revision
                log = log.abort(epoch, epoch)
                assert log.revision == revision + 1
            assert text(log) == ["1C"]

    def test_persist(self) -> None:
        log = EMPTY
        for epoch in (1, 2, 3):
            log = log.update(epoch, MINOR, punch=False, tx=epoch)
        log = log.update(4, MINOR, punch=True, tx=4)
        for epoch in (2, 1):
            revision = log.revision
            log = log.persist(epoch, epoch)
            assert text(log) == ["1C", "2C", "3C", "4P"]
            assert log.revision == revision + 1
        assert [entry.tx for entry in log.entries] == [0, 0, 3, 4]
        assert log.persist(1, 0) is log


def raced(words: str) -> Ilog:
    """The same, written by transactions that did not know of each other: nothing is dropped."""
    log = EMPTY
    for word in words.split():
        epoch = int(word[:-1])
        log = log.update(epoch, MINOR, punch=word[-1] == "P", tx=epoch)
    for entry in log.entries:
        log = log.persist(entry.epoch, entry.tx)
    assert text(log) == words.split()
    return log


def four() -> Ilog:
    return raced("1C 2C 3C 4P")


class Test500Aggregate:
    def test_aggregate(self) -> None:
        log = four().aggregate(2, 4)
        assert text(log) == ["1C", "4P"]
        log = log.update(5, MINOR, punch=True).update(6, MINOR, punch=False)
        log = log.aggregate(0, 6)
        assert text(log) == ["6C"]
        log = log.update(7, MINOR, punch=True).aggregate(0, 7)
        assert log.entries == ()
        with pytest.raises(NotFoundError):
            log.fetch()

    def test_discard(self) -> None:
        log = four().discard(2, 4)
        assert text(log) == ["1C"]
        log = log.update(5, MINOR, punch=True).update(6, MINOR, punch=False)
        assert log.discard(0, 6).entries == ()
        assert written("7C").discard(0, 7).entries == ()

    def test_discard_only_undecided(self) -> None:
        log = written("1C 2P").update(3, MINOR, punch=False, tx=3).update(9, 1, punch=True, tx=9)
        assert text(log.discard(0, 5, only_undecided=True)) == ["1C", "2P", "9P"]
        assert log.discard(4, 5, only_undecided=True) is log

    def test_undecided_entry_stops_it(self) -> None:
        log = written("1C 2P").update(3, MINOR, punch=False, tx=3)
        for status in (Status.UNCOMMITTED, Status.IN_PROGRESS):
            transactions = Transactions()
            transactions.begin(3, status)
            with pytest.raises(DaosError) as caught:
                log.aggregate(0, 9, status=transactions)
            assert caught.value.code == DER.TX_BUSY
        assert text(log.aggregate(0, 2)) == ["3C"]

    def test_aborted_entries_go_in_range_only(self) -> None:
        transactions = Transactions()
        transactions.begin(2, Status.REMOVED)
        transactions.begin(5, Status.REMOVED)
        log = EMPTY.update(1, 1, punch=False).update(2, 1, punch=True, tx=2)
        log = log.update(5, 1, punch=True, tx=5).update(6, 1, punch=True)
        assert text(log.aggregate(3, 9, status=transactions)) == ["1C", "2P", "6P"]

    @pytest.mark.parametrize(
        ("before", "lo", "hi", "punch", "after"),
        [
            ("1C 3P 5C", 0, 9, Punch(4, 1), "5C"),
            ("1C 3P 5C", 0, 9, Punch(6, 1), ""),
            ("1C 5C", 2, 9, Punch(1, 9), "1C 5C"),  # a parent punched the create below the range
            ("1C 5P", 2, 9, Punch(1, 9), "1C"),
            ("1P 3P", 0, 9, Punch(0, 0), ""),
            ("1C 3P 5C 7P 9C", 4, 8, Punch(0, 0), "1C 3P 9C"),
            ("1C 3P 5C 7P 9C", 3, 8, Punch(0, 0), "1C 3P 9C"),
            ("1C", 5, 9, Punch(0, 0), "1C"),
        ],
    )
    def test_rules(self, before: str, lo: int, hi: int, punch: Punch, after: str) -> None:
        log = raced(before)
        assert text(log.aggregate(lo, hi, parent_punch=punch)) == after.split()

    def test_nobody_outside_can_tell(self) -> None:
        """Brute force: who reads at hi or above, or below lo, sees the entity as before."""
        rng = random.Random(500)
        for _ in range(2000):
            log = EMPTY
            for epoch in sorted(rng.sample(range(1, 30), rng.randint(0, 12))):
                punch = rng.random() < 0.5
                log = log.update(epoch, 5, punch=punch, tx=epoch)
                if rng.random() < 0.3:
                    log = log.update(epoch, 6, punch=not punch, tx=epoch)
                if rng.random() < 0.7 and log.holds(epoch, epoch):
                    log = log.persist(epoch, epoch)
            for entry in log.entries:
                log = log.persist(entry.epoch, entry.tx)
            lo = rng.randint(0, 20)
            hi = lo + rng.randint(0, 15)
            after = log.aggregate(lo, hi)
            assert after.aggregate(lo, hi) is after
            for epoch in (*range(lo), *range(hi, 40)):
                assert exists(after, epoch) == exists(log, epoch), (log, lo, hi, epoch)
            # Values older than the range are still there: what hid them has to stay.
            for epoch in range(hi, 40):
                for value in (at for at in range(1, lo) if exists(log, at)):
                    assert seen(after, value, epoch) == seen(log, value, epoch), (log, lo, hi)


def exists(log: Ilog, epoch: int) -> bool:
    """Whether the newest thing that happened up to `epoch` was a create."""
    return [not entry.is_punch for entry in log.entries if entry.epoch <= epoch][-1:] == [True]


def seen(log: Ilog, value: int, epoch: int) -> bool:
    """Whether a value written at epoch `value` is seen at `epoch`."""
    return exists(log, epoch) and not any(
        entry.has_punch and value <= entry.epoch <= epoch for entry in log.entries
    )


def test_501_holds() -> None:
    assert not EMPTY.holds(1, 0)
    log = EMPTY.update(1, MINOR, punch=False, tx=7)
    assert log.holds(1, 7)
    assert not log.holds(1, 8)
    assert not log.holds(2, 7)
    log = log.update(2, MINOR, punch=True, tx=9)
    assert log.holds(1, 7)
    assert log.holds(2, 9)
    assert not log.holds(2, 7)


class TestUpdate:
    def test_without_transaction_minors_decide(self) -> None:
        log = EMPTY.update(5, 3, punch=False)
        assert log.update(5, 9, punch=False) is log
        with pytest.raises(AccessError):
            log.update(5, 3, punch=True)
        assert log.update(5, 2, punch=True).entries == (IlogEntry(5, 0, 2, 3),)
        punched = log.update(5, 4, punch=True)
        assert punched.entries == (IlogEntry(5, 0, 4, 3),)
        assert punched.update(5, 9, punch=True) is punched
        assert punched.update(5, 2, punch=False) is punched
        again = punched.update(5, 6, punch=False)
        assert again.entries == (IlogEntry(5, 0, 4, 6),)
        assert not again.entries[0].is_punch
        assert again.entries[0].has_punch

    def test_without_transaction_an_undecided_entry_counts_as_its_own(self) -> None:
        log = EMPTY.update(5, 3, punch=False, tx=8)
        assert log.update(5, 4, punch=False) is log
        assert log.update(5, 4, punch=True).entries == (IlogEntry(5, 8, 4, 3),)

    def test_out_of_order(self) -> None:
        log = written("10C")
        assert text(log.update(5, 1, punch=False)) == ["5C", "10C"]
        assert text(log.update(5, 1, punch=True)) == ["5P", "10C"]
        assert log.update(11, 1, punch=False) is log
        assert text(written("5C 10P").update(7, 1, punch=True)) == ["5C", "7P", "10P"]

    def test_punched_parent_needs_a_new_create(self) -> None:
        log = written("10C")
        assert log.update(20, 1, punch=False, lo_epoch=10) is log
        assert log.update(20, 1, punch=False, lo_epoch=10, lo_minor=1) is log
        assert text(log.update(20, 1, punch=False, lo_epoch=10, lo_minor=2)) == ["10C", "20C"]
        assert text(log.update(20, 1, punch=False, lo_epoch=11)) == ["10C", "20C"]

    @pytest.mark.parametrize(
        ("epoch", "minor", "tx"),
        [(0, 1, 0), (1 << 64, 1, 0), (1, 0, 0), (1, 1 << 16, 0), (1, 1, -1), (1, 1, 1 << 32)],
    )
    def test_numbers_that_do_not_fit(self, epoch: int, minor: int, tx: int) -> None:
        with pytest.raises(InvalidError):
            EMPTY.update(epoch, minor, punch=False, tx=tx)

    def test_full(self) -> None:
        log = Ilog(tuple(IlogEntry(2 * at + 2, 0, 1, 0) for at in range(ENTRIES_MAX)))
        assert Ilog.parse(log.emit()) == log
        assert len(log.emit()) < 1 << 16
        with pytest.raises(DaosError) as caught:
            log.update(5, 1, punch=False)
        assert caught.value.code == DER.OVERFLOW
        assert log.update(4, 2, punch=False).entries[1] == IlogEntry(4, 0, 1, 2)

    def test_revision_wraps(self) -> None:
        log = Ilog(revision=(1 << 32) - 1).update(1, 1, punch=False)
        assert log.revision == 0


def test_fetch() -> None:
    transactions = Transactions()
    log = EMPTY.update(1, 1, punch=False).update(
        2, 1, punch=True, tx=transactions.begin(2, Status.IN_PROGRESS)
    )
    statuses = [status for _, status in log.fetch(transactions)]
    assert statuses == [Status.COMMITTED, Status.IN_PROGRESS]
    statuses = [status for _, status in log.fetch(transactions, retry=False)]
    assert statuses == [Status.COMMITTED, Status.UNCOMMITTED]
    assert [status for _, status in log.fetch()] == [Status.COMMITTED, Status.UNCOMMITTED]


def test_flags() -> None:
    marked = EMPTY.set_flags(CORRUPTED, 8)
    assert marked.flags == CORRUPTED
    assert text(marked) == ["8C"]
    with pytest.raises(DaosError) as caught:
        marked.set_flags(CORRUPTED, 9)
    assert caught.value.code == DER.ALREADY
    with pytest.raises(InvalidError):
        marked.set_flags(2, 9)
    log = written("1C")
    assert log.set_flags(CORRUPTED, 8) == log._replace(flags=CORRUPTED, revision=log.revision + 1)
    assert Ilog.parse(marked.emit()) == marked
    assert marked.update(9, 1, punch=True).flags == CORRUPTED


class TestFormat:
    def test_bytes(self) -> None:
        log = Ilog(
            (IlogEntry(0x1122334455667788, 0, 0, 16383), IlogEntry((1 << 64) - 1, 9, 3, 2)), 7
        )
        assert log.emit().hex(" ") == (
            "01 00 02 00 07 00 00 00 "
            "88 77 66 55 44 33 22 11 00 00 00 00 00 00 ff 3f "
            "ff ff ff ff ff ff ff ff 09 00 00 00 03 00 02 00"
        )
        assert Ilog.parse(log.emit()) == log

    def test_empty(self) -> None:
        assert Ilog.parse(EMPTY.emit()) == EMPTY
        assert len(EMPTY.emit()) == HEAD_SIZE

    @pytest.mark.parametrize(
        ("at", "value", "offset"),
        [
            (0, b"\x02", 0),
            (1, b"\x02", 1),
            (2, b"\x01\x00", 2),
            (2, b"\x03\x00", 2),
            (2, b"\xff\xff", 2),
            (8, struct.pack("<Q", 0), 8),
            (24, struct.pack("<Q", 5), 24),
            (20, struct.pack("<HH", 4, 4), 20),
            (20, struct.pack("<HH", 0, 0), 20),
        ],
    )
    def test_junk(self, at: int, value: bytes, offset: int) -> None:
        raw = bytearray(written("5C 6P").emit())
        raw[at : at + len(value)] = value
        with pytest.raises(CorruptError) as caught:
            Ilog.parse(bytes(raw))
        assert caught.value.offset == offset

    def test_any_prefix_or_tail(self) -> None:
        raw = written("5C 6P").emit()
        for size in range(len(raw)):
            with pytest.raises(CorruptError):
                Ilog.parse(raw[:size])
        with pytest.raises(CorruptError):
            Ilog.parse(raw + b"\0" * ENTRY_SIZE)

    def test_any_bytes(self) -> None:
        rng = random.Random(1)
        for _ in range(5000):
            raw = bytearray(written("5C 6P 7C").emit())
            for _ in range(rng.randint(1, 4)):
                raw[rng.randrange(len(raw))] = rng.randrange(256)
            try:
                log = Ilog.parse(bytes(raw))
            except CorruptError:
                continue
            assert log.emit() == raw


def examples(page: str) -> list[bytes]:
    """The bytes of a page's worked examples."""
    text = (Path(__file__).parents[3] / "docs" / "format" / page).read_text()
    return [bytes.fromhex(block) for block in re.findall(r"```hex\n(.*?)```", text, re.S)]


def test_worked_example() -> None:
    (raw,) = examples("ilog.md")
    log = EMPTY.update(0x100, MINOR_MAX, punch=False).update(0x200, MINOR_MAX, punch=True)
    assert Ilog.parse(raw) == log
    assert log.emit() == raw


class TestCreatedAt:
    def test_one_create(self) -> None:
        raw = EMPTY.update(10, MINOR_MAX, punch=False).emit()
        assert created_at(raw, 9) == 0
        assert created_at(raw, 10) == 10
        assert created_at(raw, 11) == 10

    def test_everything_else_goes_the_long_way(self) -> None:
        logs = [
            EMPTY,
            written("5P"),
            written("5C 6P"),
            EMPTY.update(5, 1, punch=False, tx=1),
            EMPTY.update(5, 2, punch=False).update(5, 1, punch=True),
            written("5C").set_flags(CORRUPTED, 5),
        ]
        for log in logs:
            assert created_at(log.emit(), 100) == 0
        assert created_at(b"\x02" + written("5C").emit()[1:], 100) == 0

    def test_agrees_with_update(self) -> None:
        log = written("10C")
        for epoch in range(1, 20):
            quiet = log.update(epoch, 1, punch=False) is log
            assert quiet == bool(created_at(log.emit(), epoch))


@pytest.mark.parametrize(("epoch", "minor"), [(1, 1), (10, MINOR_MAX), ((1 << 64) - 2, 0xFFFF)])
def test_the_short_way_to_a_create_gives_the_same_bytes(epoch: int, minor: int) -> None:
    raw = emit_created(epoch, minor)
    assert raw == EMPTY.update(epoch, minor, punch=False).emit()
    assert created_at(raw, epoch) == epoch
