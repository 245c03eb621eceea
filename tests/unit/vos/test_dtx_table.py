"""The table of executed modifications: with its record, bounded, the same after a restart."""

from __future__ import annotations

import pytest

from daos.base.errors import CorruptError, DaosError, InvalidError, NotFoundError
from daos.base.ids import Epoch, dtx_id, dtx_stamp
from daos.base.iod import Cond, Iod, IodType
from daos.testing.shard import MemoryShard, on_shard, unit
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
