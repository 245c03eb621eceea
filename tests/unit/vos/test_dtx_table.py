"""The table of executed modifications: with its record, bounded, the same after a restart."""

from __future__ import annotations

import lmdb
import pytest

from daos.base.errors import AgainError, CorruptError, DaosError, InvalidError, NotFoundError
from daos.base.ids import Epoch, dtx_id, dtx_stamp
from daos.base.iod import Cond, Iod, IodType
from daos.testing.shard import CONTAINER, MemoryShard, on_shard, unit
from daos.vos import dtx_record, dtx_table
from daos.vos.container import VosContainer

CLIENT = bytes(range(16))
OID = unit(1)


def number(stamp: int) -> bytes:
    return dtx_id(CLIENT, stamp)


async def update(shard: MemoryShard, c: VosContainer, stamp: int, epoch: int) -> None:
    update = c.update_begin(OID, b"d", [Iod(b"a", IodType.SINGLE, 1)])
    await shard.meta.durable(c.update_end(update, Epoch(epoch), dtx=number(stamp)))


def test_an_id_tells_its_stamp() -> None:
    assert dtx_stamp(number(0x0102_0304_0506_0708)) == 0x0102_0304_0506_0708
    assert len(number(1)) == 24


@on_shard
async def test_what_was_executed_is_known_also_after_a_restart(
    shard: MemoryShard, c: VosContainer
) -> None:
    assert c.dtxs.find(number(1)) is None
    await update(shard, c, 1, 10)
    await shard.meta.durable(c.punch(OID, Epoch(20), dtx=number(2)))
    await shard.meta.durable(c.punch(OID, Epoch(21), dkey=b"d", dtx=number(3)))
    await shard.meta.durable(c.punch(OID, Epoch(22), dkey=b"d", akeys=[b"a"], dtx=number(4)))
    for clean in (False, True):
        assert [c.dtxs.find(number(stamp)) for stamp in range(1, 6)] == [10, 20, 21, 22, None]
        await shard.reopen(clean=clean)
        c = shard.container()
    assert len(c.dtxs) == 4


@on_shard
async def test_what_failed_is_not_known(shard: MemoryShard, c: VosContainer) -> None:
    with pytest.raises(NotFoundError):
        c.punch(OID, Epoch(10), cond=Cond.PUNCH, dtx=number(1))
    cond = Cond.DKEY_UPDATE
    begun = c.update_begin(OID, b"d", [Iod(b"a", IodType.SINGLE, 1)], cond=cond)
    with pytest.raises(NotFoundError):
        c.update_end(begun, Epoch(11), dtx=number(2))
    assert c.dtxs.find(number(1)) is c.dtxs.find(number(2)) is None
    assert len(c.dtxs) == 0
    await shard.reopen()
    assert len(shard.container().dtxs) == 0


@on_shard
async def test_modifications_without_an_id_leave_nothing(
    shard: MemoryShard, c: VosContainer
) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    c.punch(OID, Epoch(20))
    assert len(c.dtxs) == 0
    with pytest.raises(InvalidError, match="24 bytes, not 0"):
        c.dtxs.find(b"")


@on_shard
async def test_the_oldest_leave_first_and_the_floor_stays(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_MAX", 20)
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 8)
    second = dtx_table.AGE_MIN // 3
    for stamp in range(1, 31):
        await update(shard, c, stamp, 100 + stamp)
    table, young, ripe = c.dtxs, Epoch(200), Epoch(200 + 4 * second)
    assert not table.trim(shard.meta, young)  # too many, but none is old enough
    assert table.trim(shard.meta, ripe, credits=4)
    assert not table.trim(shard.meta, ripe)
    assert len(table) == 20
    assert table.floor == 110
    old = Epoch(200 + dtx_table.AGE_MAX)
    assert not table.trim(shard.meta, old)
    assert len(table) == 8
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    table = shard.container().dtxs
    assert (len(table), table.floor) == (8, 122)
    assert table.find(number(30)) == 130
    with pytest.raises(DaosError, match="DER_EP_OLD"):
        table.find(number(22))  # it was removed
    with pytest.raises(DaosError, match="DER_EP_OLD"):
        table.find(dtx_id(bytes(16), 122))  # nobody can tell
    assert table.find(dtx_id(bytes(16), 123)) is None


@on_shard
async def test_when_something_is_due(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 8)
    monkeypatch.setattr(dtx_table, "_EVERY", 4)
    old, due = Epoch(200 + dtx_table.AGE_MAX), []
    for stamp in range(1, 17):
        await update(shard, c, stamp, 100 + stamp)
        due.append(c.dtxs.due(old))
        assert not c.dtxs.due(Epoch(200))
    assert [index + 1 for index, each in enumerate(due) if each] == [12, 16]


def unread(shard: MemoryShard) -> dtx_table.DtxTable:
    """The table of the container as an open finds it."""
    return shard.pool.open_container(CONTAINER).dtxs


def damage(shard: MemoryShard, key: bytes) -> None:
    """Flip a bit of the value that the tree has under `key`."""
    value = shard.meta.get(key)
    assert value is not None
    tx = shard.meta.begin()
    tx.put(key, value[:-1] + bytes((value[-1] ^ 1,)))
    tx.commit()


def record(c: VosContainer, stamp: int) -> bytes:
    """Tree key of a record: what was drawn at a stamp was executed at ten times that."""
    return dtx_record.dtx_key(c.node_id, 10 * stamp, dtx_record.DtxId(number(stamp)))


async def damaged(shard: MemoryShard, c: VosContainer, *stamps: int, count: int = 9) -> None:
    """A container that has executed stamps 1 to `count`, some records of which are damaged now."""
    for stamp in range(1, count + 1):
        await update(shard, c, stamp, 10 * stamp)
    for stamp in stamps:
        damage(shard, record(c, stamp))
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()


@on_shard
async def test_it_is_read_in_steps_and_nothing_is_found_before(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await damaged(shard, c, count=21)
    table, parsed = unread(shard), list[bytes]()
    parse = dtx_record.parse_dtx

    def counting(key: bytes, value: bytes) -> tuple[Epoch, dtx_record.DtxId]:
        parsed.append(key)
        return parse(key, value)

    monkeypatch.setattr(dtx_table, "parse_dtx", counting)
    steps = []
    while not table.loaded:
        with pytest.raises(AgainError, match="being read"):
            table.find(number(22))
        parsed.clear()
        assert table.load(shard.meta, credits=5) is not table.loaded
        steps.append(len(parsed))
    assert steps == [5, 5, 5, 5, 1]
    assert [table.find(number(stamp)) for stamp in range(1, 22)] == [*range(10, 211, 10)]
    assert table.find(number(22)) is None
    assert not table.load(shard.meta)
    assert table.damaged == 0


@on_shard
async def test_a_damaged_record_costs_what_it_may_be(shard: MemoryShard, c: VosContainer) -> None:
    await damaged(shard, c, 3, 7)
    table = shard.container().dtxs
    assert (len(table), table.damaged) == (7, 2)
    for stamp in (1, 2, 4, 5, 6, 8, 9):
        assert table.find(number(stamp)) == 10 * stamp
    for stamp in (3, 7):
        with pytest.raises(DaosError, match=r"DER_EP_OLD.*is damaged"):
            table.find(number(stamp))
    # Record 7 is not newer than record 8, which was executed at 80: so was not what came later.
    with pytest.raises(DaosError, match="DER_EP_OLD"):
        table.find(dtx_id(bytes(16), 80))
    assert table.find(dtx_id(bytes(16), 81)) is None


@on_shard
async def test_the_newest_record_is_damaged(shard: MemoryShard, c: VosContainer) -> None:
    """It may be any that was drawn before the shard was opened."""
    await damaged(shard, c, 9)
    highest = shard.meta.epoch_highest
    assert highest >= 90
    table = shard.container().dtxs
    for stamp in (9, highest):
        with pytest.raises(DaosError, match="DER_EP_OLD"):
            table.find(number(stamp))
    assert table.find(number(highest + 1)) is None


@on_shard
async def test_a_damaged_floor_may_have_been_as_high_as_the_oldest_record(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 4)
    for stamp in range(1, 10):
        await update(shard, c, stamp, 10 * stamp)
    c.dtxs.trim(shard.meta, Epoch(200 + dtx_table.AGE_MAX))
    damage(shard, dtx_record.floor_key(c.node_id))
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    table = shard.container().dtxs
    assert (len(table), table.floor) == (4, 0)
    for stamp in (1, 5, 60):
        with pytest.raises(DaosError, match="DER_EP_OLD"):
            table.find(dtx_id(bytes(16), stamp))
    assert table.find(dtx_id(bytes(16), 61)) is None
    # The next time that records leave, there is a floor again.
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 2)
    table.trim(shard.meta, Epoch(200 + dtx_table.AGE_MAX))
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    table = shard.container().dtxs
    assert (len(table), table.floor, table.damaged) == (2, 70, 0)


@on_shard
async def test_a_damaged_record_leaves_with_its_neighbours(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 4)
    await damaged(shard, c, 3, 8)
    c = shard.container()
    old = Epoch(200 + dtx_table.AGE_MAX)
    assert c.dtxs.trim(shard.meta, old, credits=2)
    assert (c.dtxs.floor, c.dtxs.damaged) == (20, 2)  # record 3 may be newer
    assert not c.dtxs.trim(shard.meta, old)
    assert (c.dtxs.floor, c.dtxs.damaged, len(c.dtxs)) == (40, 1, 4)
    assert shard.meta.get(record(c, 3)) is None
    await shard.meta.durable(shard.meta.lsn_last)
    await shard.reopen()
    table = shard.container().dtxs
    assert (len(table), table.floor, table.damaged) == (4, 40, 1)
    for stamp in (3, 8):
        with pytest.raises(DaosError, match="DER_EP_OLD"):
            table.find(number(stamp))


@on_shard
async def test_what_is_whole_and_of_another_version_is_refused(
    shard: MemoryShard, c: VosContainer
) -> None:
    """It is no damage: nobody knows what it says of all the others."""
    await update(shard, c, 1, 10)
    key = record(c, 1)
    head = bytes((dtx_record.DTX_MAGIC, 2, 1, 0, 0, 0, 0, 0))
    tx = shard.meta.begin()
    tx.put(key, head + dtx_record.xxh3(key + head).to_bytes(8, "little"))
    await shard.meta.durable(tx.commit())
    await shard.reopen()
    with pytest.raises(CorruptError, match="dtx record version"):
        shard.container()
    with pytest.raises(AgainError):
        unread(shard).find(number(2))


@on_shard
async def test_keys_out_of_order_hide_no_record(shard: MemoryShard, c: VosContainer) -> None:
    """A damaged key among the records would end them early: the others are not "not executed"."""
    await damaged(shard, c)
    meta = shard.meta

    table, cursor_of = unread(shard), meta.cursor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta, "cursor", lambda: OneKeyAstray(cursor_of(), record(c, 5)))
        with pytest.raises(CorruptError, match="out of order"):
            table.load(meta)
    with pytest.raises(AgainError):
        table.find(number(6))


class OneKeyAstray:
    """A cursor over a tree, one key of which has a damaged first byte where it stands."""

    def __init__(self, inner: lmdb.Cursor[bytes], astray: bytes) -> None:
        self._inner = inner
        self._astray = astray
        self.set_range = inner.set_range
        self.next = inner.next

    def key(self) -> bytes:
        key = self._inner.key()
        return b"\xff" + key[1:] if key == self._astray else key

    def item(self) -> tuple[bytes, bytes]:
        return self.key(), self._inner.value()


@on_shard
async def test_a_destroyed_container_leaves_no_records(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dtx_table, "COUNT_LOW", 3)
    for stamp in range(1, 9):
        await update(shard, c, stamp, 100 + stamp)
    assert not c.dtxs.trim(shard.meta, Epoch(200 + dtx_table.AGE_MAX))
    before = {bytes(key) for key, _ in shard.meta.cursor()}
    assert sum(key[8:9] == b"\x06" for key in before) == 3 + 1
    shard.pool.destroy_container(c.uuid)
    while shard.pool.gc_step(2):
        pass
    assert [bytes(key)[8:9] for key, _ in shard.meta.cursor()] == [b"\0"]


@on_shard
async def test_what_is_no_id_is_not_remembered(shard: MemoryShard, c: VosContainer) -> None:
    """Thousands of failed copies are, of any size a request can have."""
    for number in range(10):
        no_id = bytes([number]) * 1000
        with pytest.raises(InvalidError):
            c.dtxs.find(no_id, 1)
        c.dtxs.failed(no_id, 1)
        c.dtxs.failed(dtx_id(CLIENT, number + 1), -1)
    assert not c.dtxs._superseded


@on_shard
async def test_copies_of_a_request_that_failed_later_are_refused(
    shard: MemoryShard, c: VosContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = c.dtxs
    table.failed(number(1), 0)  # the first copy: none left before it
    assert table.find(number(1)) is None
    table.failed(number(1), 2)
    table.failed(number(1), 1)
    for resend in range(3):
        with pytest.raises(DaosError, match="DER_OP_CANCELED"):
            table.find(number(1), resend)
    assert table.find(number(1), 3) is None
    assert table.find(number(2)) is None
    monkeypatch.setattr(dtx_table, "SUPERSEDED_MAX", 2)
    for stamp in (3, 4):
        table.failed(number(stamp), 1)
    assert table.find(number(1)) is None  # bounded: forgotten
    with pytest.raises(DaosError, match="DER_OP_CANCELED"):
        table.find(number(3))


@pytest.mark.parametrize(
    ("at", "what"),
    [(0, "magic"), (1, "version"), (2, "state"), (3, "reserved"), (8, "checksum")],
)
def test_damage_is_named(at: int, what: str) -> None:
    key = dtx_record.dtx_key(7, 10, dtx_record.DtxId(number(1)))
    value = bytearray(dtx_record.emit_dtx(key))
    value[at] ^= 0x40
    if at < 8:
        value[8:] = dtx_record.xxh3(key + value[:8]).to_bytes(8, "little")
    with pytest.raises(CorruptError, match=what):
        dtx_record.parse_dtx(key, bytes(value))


def test_sizes_and_kinds_are_checked() -> None:
    key = dtx_record.dtx_key(7, 10, dtx_record.DtxId(number(1)))
    with pytest.raises(CorruptError, match="record size"):
        dtx_record.parse_dtx(key, b"")
    with pytest.raises(CorruptError, match="key size"):
        dtx_record.parse_dtx(key[:-1], dtx_record.emit_dtx(key))
    other = key[:8] + b"\x05" + key[9:]
    with pytest.raises(CorruptError, match="kind"):
        dtx_record.parse_dtx(other, dtx_record.emit_dtx(other))
    floor = dtx_record.floor_key(7)
    with pytest.raises(CorruptError, match="floor size"):
        dtx_record.parse_floor(floor, b"")
