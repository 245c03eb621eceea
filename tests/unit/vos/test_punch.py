from __future__ import annotations

import pytest

from daos.base.errors import (
    ExistsError,
    InvalidError,
    KeyTooBigError,
    NotFoundError,
    TxRestartError,
)
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import Cond
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos import punch
from daos.vos.container import VosContainer

OID = unit(1)


def dkeys(c: VosContainer, epoch: int) -> list[bytes]:
    return sorted(c.list_dkeys(OID, Epoch(epoch), limit=1000).entries)


def akeys(c: VosContainer, dkey: bytes, epoch: int) -> list[bytes]:
    return sorted(c.list_akeys(OID, dkey, Epoch(epoch), limit=1000).entries)


@on_shard
async def test_propagation(shard: MemoryShard, c: VosContainer) -> None:
    """When no akey is left the dkey goes too; the object stays."""
    names = [b"%02d" % number for number in range(20)]
    await shard.put(c, OID, b"d", dict.fromkeys(names, b"x"), epoch=10)
    for number, name in enumerate(names):
        assert dkeys(c, 10 + number) == [b"d"]
        c.punch(OID, Epoch(11 + number), dkey=b"d", akeys=[name])
        assert akeys(c, b"d", 11 + number) == names[number + 1 :]
    assert dkeys(c, 29) == [b"d"]
    assert dkeys(c, 30) == []
    assert c.list_objects(Epoch(30), limit=9).entries == [OID]
    await shard.put(c, OID, b"d", {names[3]: b"y"}, epoch=40)
    assert akeys(c, b"d", 40) == [names[3]]


@on_shard
async def test_known_akey_is_only_a_hint(shard: MemoryShard, c: VosContainer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(punch, "_KNOWN_MAX", 1)
        for dkey in (b"d", b"e", b"f"):
            await shard.put(c, OID, dkey, {b"a": b"1", b"b": b"2", b"c": b"3"}, epoch=10)
            c.punch(OID, Epoch(11), dkey=dkey, akeys=[b"b"])
        assert len(c.known_akeys) == 1
        for dkey in (b"d", b"e", b"f"):
            c.punch(OID, Epoch(12), dkey=dkey, akeys=[b"c"])
            assert akeys(c, dkey, 12) == [b"a"]
            c.punch(OID, Epoch(13), dkey=dkey, akeys=[b"a"])
        assert dkeys(c, 12) == [b"d", b"e", b"f"]
        assert dkeys(c, 13) == []


@on_shard
async def test_punch_of_what_was_never_written(shard: MemoryShard, c: VosContainer) -> None:
    """A late write below the punch stays hidden."""
    c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"a", b"a"])
    c.punch(OID, Epoch(20), dkey=b"e")
    c.punch(unit(2), Epoch(20))
    assert not c.list_objects(Epoch(30), limit=9).entries
    await shard.put(c, OID, b"d", {b"a": b"x", b"b": b"y"}, epoch=10)
    await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=10)
    await shard.put(c, unit(2), b"d", {b"a": b"x"}, epoch=10)
    for oid, dkey, akey, after in (
        (OID, b"d", b"a", None),
        (OID, b"d", b"b", b"y"),
        (OID, b"e", b"a", None),
        (unit(2), b"d", b"a", None),
    ):
        assert await shard.get(c, oid, dkey, akey, epoch=19) is not None
        assert await shard.get(c, oid, dkey, akey, epoch=20) == after
    assert dkeys(c, 20) == [b"d"]
    assert c.list_objects(Epoch(20), limit=9).entries == [OID]


@on_shard
async def test_late_punches(shard: MemoryShard, c: VosContainer) -> None:
    """A punch below a later write that relies on what it would hide is refused."""
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.put(c, OID, b"d", {b"a": b"y"}, epoch=30)
    entries = shard.meta.statistics().tree_entries
    for dkey, names in ((None, []), (b"d", []), (b"d", [b"a"])):
        with pytest.raises(TxRestartError) as caught:
            c.punch(OID, Epoch(20), dkey=dkey, akeys=names)
        assert caught.value.lsn > 0
        # The condition is looked at first.
        with pytest.raises(NotFoundError):
            c.punch(OID, Epoch(5), dkey=dkey, akeys=names, cond=Cond.PUNCH)
    assert shard.meta.statistics().tree_entries == entries
    assert await shard.get(c, OID, b"d", b"a", epoch=99) == b"y"
    c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"other"])
    c.punch(OID, Epoch(20), dkey=b"other")
    c.punch(OID, Epoch(31))


@on_shard
async def test_propagated_punch_below_a_later_write(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.put(c, OID, b"d", {b"b": b"y"}, epoch=30)
    with pytest.raises(TxRestartError):
        c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"a"])
    assert await shard.get(c, OID, b"d", b"a", epoch=25) == b"x"
    c.punch(OID, Epoch(31), dkey=b"d", akeys=[b"a"])
    assert akeys(c, b"d", 31) == [b"b"]


@on_shard
async def test_late_punch_below_an_emptiness_check(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x", b"b": b"y"}, epoch=10)
    c.punch(OID, Epoch(30), dkey=b"d", akeys=[b"a"])
    with pytest.raises(TxRestartError):
        c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"b"])
    with pytest.raises(TxRestartError):
        await shard.put(c, OID, b"d", {b"c": b"z"}, epoch=20)
    await shard.put(c, OID, b"d", {b"c": b"z"}, epoch=30)
    c.punch(OID, Epoch(31), dkey=b"d", akeys=[b"b"])
    assert akeys(c, b"d", 31) == [b"c"]


@on_shard
async def test_repeated_punches(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    for _ in range(2):
        c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"a"])
        c.punch(OID, Epoch(20), dkey=b"d")
        lsn = c.punch(OID, Epoch(20))
    await shard.meta.durable(lsn)
    await shard.reopen()
    c = shard.container()
    assert not c.list_objects(Epoch(20), limit=9).entries
    assert await shard.get(c, OID, b"d", b"a", epoch=19) == b"x"


@on_shard
async def test_conditional_punch_of_several_akeys(shard: MemoryShard, c: VosContainer) -> None:
    lsn = await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    with pytest.raises(NotFoundError) as caught:
        c.punch(OID, Epoch(20), dkey=b"d", akeys=[b"a", b"b"], cond=Cond.PUNCH)
    assert caught.value.lsn == lsn
    with pytest.raises(NotFoundError) as caught:
        c.punch(unit(2), Epoch(20), cond=Cond.PUNCH)
    assert caught.value.lsn == 0
    assert akeys(c, b"d", 20) == [b"a"]
    assert shard.meta.space.statistics().blocks_held == 0


@on_shard
async def test_arguments(shard: MemoryShard, c: VosContainer) -> None:
    integer = unit(1, ObjectType.MULTI_UINT64)
    for oid, dkey, names, cond, error in (
        (OID, None, [b"a"], 0, InvalidError),
        (OID, b"", [], 0, InvalidError),
        (OID, b"d", [b""], 0, InvalidError),
        (OID, b"d", [bytes((1 << 20) + 1)], 0, KeyTooBigError),
        (OID, b"d", [b"%d" % n for n in range(punch.AKEYS_MAX + 1)], 0, InvalidError),
        (OID, None, [], Cond.DKEY_UPDATE, InvalidError),
        (integer, b"abc", [], 0, InvalidError),
    ):
        with pytest.raises(error):
            c.punch(oid, Epoch(10), dkey=dkey, akeys=names, cond=cond)
    with pytest.raises(InvalidError):
        c.punch(OID, Epoch(0))


@on_shard
async def test_lsn_reaches_those_who_depend_on_it(shard: MemoryShard, c: VosContainer) -> None:
    await shard.put(c, OID, b"d", {b"a": b"x"}, epoch=10)
    await shard.put(c, OID, b"e", {b"a": b"x"}, epoch=10)
    lsn = c.punch(OID, Epoch(20), dkey=b"d")
    assert c.list_akeys(OID, b"d", Epoch(20), limit=9).lsn == lsn
    assert c.list_dkeys(OID, Epoch(20), limit=9).lsn == lsn
    assert c.list_objects(Epoch(20), limit=9).lsn == lsn
    assert c.list_akeys(OID, b"e", Epoch(20), limit=9).lsn < lsn
    later = c.punch(OID, Epoch(30))
    assert c.list_akeys(OID, b"e", Epoch(30), limit=9).lsn == later


@on_shard
async def test_compare_and_punch(shard: MemoryShard, c: VosContainer) -> None:
    """What was written below the dkey since then is in the way, and what is not remembered."""
    await shard.put(c, OID, b"d", {b"a": b"1", b"b": b"1"}, epoch=10)
    await shard.put(c, OID, b"e", {b"a": b"1"}, epoch=20)
    await shard.put(c, OID, b"d", {b"b": b"2"}, epoch=30)
    for names in ([], [b"a"]):
        with pytest.raises(ExistsError):
            c.punch(OID, Epoch(40), dkey=b"d", akeys=names, unchanged_since=29)
    assert akeys(c, b"d", 50) == [b"a", b"b"]
    c.punch(OID, Epoch(50), dkey=b"d", akeys=[b"b"], unchanged_since=30)
    with pytest.raises(ExistsError):  # a punch is a change, too
        c.punch(OID, Epoch(60), dkey=b"d", unchanged_since=49)
    c.punch(OID, Epoch(60), dkey=b"d", cond=Cond.PUNCH, unchanged_since=50)
    assert dkeys(c, 60) == [b"e"]
    with pytest.raises(NotFoundError):  # conditions come first
        c.punch(OID, Epoch(70), dkey=b"d", cond=Cond.PUNCH, unchanged_since=10)
    for number in range(1 << 10):
        await shard.put(c, OID, b"f", {b"a": b"x"}, epoch=100 + number)
    with pytest.raises(ExistsError):
        c.punch(OID, Epoch(2000), dkey=b"e", unchanged_since=20)
    c.punch(OID, Epoch(2000), dkey=b"e", unchanged_since=1999)
    assert dkeys(c, 2000) == [b"f"]
    with pytest.raises(InvalidError):
        c.punch(OID, Epoch(2001), unchanged_since=1)
