"""VOS860, 861, 863 and 864: conditions, their precedence, and conditions of single akeys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final

import pytest

from daos.base.errors import AccessError, DaosError
from daos.base.ids import Epoch, ObjectId, ObjectType, ShardIndex, UnitOid
from daos.base.iod import Cond, Iod, IodType
from daos.testing.shard import MemoryShard, memory_shard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.timestamps import Operation

OID = unit(860)
SINGLE: Final = IodType.SINGLE
OK: Final = ""
E: Final = 1000
COUNT_861: Final = 18_201


class Store:
    """Each call in a transaction of its own, unless it says otherwise; what came of it."""

    def __init__(self, shard: MemoryShard, c: VosContainer, *, tx: bool = True) -> None:
        self.shard, self.c, self.tx = shard, c, tx
        self.calls = 0

    def op(self) -> Operation | None:
        self.calls += 1
        return Operation(self.calls.to_bytes(24, "big")) if self.tx else None

    async def told(self, call: Awaitable[object]) -> str:
        try:
            await call
        except DaosError as error:
            return error.code.name
        return OK

    async def update(
        self, dkey: bytes, values: Mapping[bytes, bytes], epoch: int, cond: int = 0
    ) -> str:
        return await self.told(
            self.shard.put(self.c, OID, dkey, values, epoch=epoch, cond=cond, op=self.op())
        )

    async def update_each(
        self, dkey: bytes, conds: Mapping[bytes, int], epoch: int, cond: int = 0
    ) -> str:
        """Single values of one byte, a condition each."""
        iods = [Iod(akey, SINGLE, 1, (), own) for akey, own in conds.items()]
        data = bytes(len(iods)).replace(b"\0", b"v")
        call = self.shard.update(
            self.c, OID, dkey, iods, data, epoch=epoch, cond=cond | Cond.PER_AKEY, op=self.op()
        )
        return await self.told(call)

    async def fetch(self, dkey: bytes, akey: bytes, epoch: int, cond: int = 0) -> bytes | str:
        try:
            value = await self.shard.get(
                self.c, OID, dkey, akey, epoch=epoch, cond=cond, op=self.op()
            )
        except DaosError as error:
            return error.code.name
        return value or b""

    async def fetch_each(self, dkey: bytes, akeys: tuple[bytes, ...], epoch: int) -> object:
        iods = [Iod(akey, SINGLE, 0, (), Cond.AKEY_FETCH) for akey in akeys]
        try:
            _, views = await self.shard.fetch(
                self.c, OID, dkey, iods, epoch=epoch, cond=Cond.PER_AKEY, op=self.op()
            )
        except DaosError as error:
            return error.code.name
        return views

    def punch(
        self,
        epoch: int,
        dkey: bytes | None = None,
        akeys: tuple[bytes, ...] = (),
        cond: int = 0,
    ) -> str:
        try:
            self.c.punch(OID, Epoch(epoch), dkey=dkey, akeys=akeys, cond=cond, op=self.op())
        except DaosError as error:
            return error.code.name
        return OK


@on_shard
async def test_vos860_conditionals(shard: MemoryShard, c: VosContainer) -> None:
    store = Store(shard, c)
    a, b, foo = b"a", b"b", {b"b": b"foo"}
    assert await store.update(a, foo, E, Cond.DKEY_UPDATE) == "NONEXIST"
    assert await store.update(a, foo, E - 2) == "TX_RESTART"
    assert await store.update(a, foo, E + 1, Cond.DKEY_INSERT) == OK
    assert await store.update(a, foo, E + 2, Cond.DKEY_INSERT) == "EXIST"
    assert await store.fetch(a, b, E + 3) == b"foo"
    assert await store.fetch(a, b, E) == b""
    assert store.punch(E + 4) == OK
    assert await store.fetch(a, b, E + 5) == b""
    assert await store.update(a, foo, E + 5, Cond.DKEY_UPDATE) == "NONEXIST"
    # Conditions have precedence over conflicts.
    assert store.punch(E + 6, a, (b,), Cond.PUNCH) == "NONEXIST"
    assert store.punch(E + 6, a, (), Cond.PUNCH) == "NONEXIST"
    assert store.punch(E + 7, a, (), Cond.PUNCH) == "NONEXIST"

    z, five = b"z", dict.fromkeys((b"a", b"b", b"c", b"d", b"e"), b"foo")
    assert await store.update(z, five, E + 8, Cond.DKEY_UPDATE) == "NONEXIST"
    assert await store.update(z, five, E + 7, Cond.DKEY_INSERT) == "TX_RESTART"
    assert await store.update(z, five, E + 9, Cond.DKEY_INSERT) == OK
    assert await store.fetch(z, a, E + 10, Cond.AKEY_FETCH) == b"foo"
    assert await store.fetch(a, b"nonexist", E + 11, Cond.AKEY_FETCH) == "NONEXIST"
    assert await store.update(a, {b"nonexist": b"foo"}, E + 10) == "TX_RESTART"
    assert await store.fetch(b"nonexist", a, E + 12, Cond.DKEY_FETCH) == "NONEXIST"
    assert await store.update(b"nonexist", {a: b"foo"}, E + 11) == "TX_RESTART"
    assert await store.update(b"nonexist", {a: b"foo"}, E + 13) == OK
    assert await store.fetch(b"nonexist", a, E + 14, Cond.DKEY_FETCH) == b"foo"
    store.tx = False
    assert await store.fetch(b"nonexist", a, E + 15, Cond.DKEY_FETCH) == b"foo"
    assert await store.fetch(b"dead", a, E + 15, Cond.DKEY_FETCH) == "NONEXIST"

    twice = [Iod(b"a", SINGLE, 1), Iod(b"a", SINGLE, 1)]
    with pytest.raises(AccessError):
        c.update_begin(OID, b"d", twice)


def oids_861(count: int) -> list[UnitOid]:
    """The reference's sequence: one counter in the low half, a type in the high one."""
    return [
        UnitOid(
            ObjectId.encode(
                user_hi=0, lo=number, type=ObjectType.MULTI_HASHED, redundancy=1, groups=1
            ),
            ShardIndex(0),
        )
        for number in range(count)
    ]


async def no_false_conflicts(count: int) -> None:
    cond = Cond.AKEY_UPDATE
    async with memory_shard(256 << 20) as shard:
        c = shard.container()
        epoch = 3 * count + 10
        for number, oid in enumerate(oids_861(count)):
            op = Operation(number.to_bytes(24, "big"))
            lsn = put(c, oid, b"akey", epoch - 2, 0, op)
            with pytest.raises(DaosError, match="NONEXIST"):
                put(c, oid, b"akey2", epoch - 1, cond, op)
            lsn = put(c, oid, b"akey2", epoch, Cond.AKEY_INSERT, op)
            epoch -= 3
            if number % 500 == 0:
                await shard.meta.durable(lsn)
                await shard.meta.checkpoint()


def put(c: VosContainer, oid: UnitOid, akey: bytes, epoch: int, cond: int, op: Operation) -> int:
    update = c.update_begin(oid, b"dkey", [Iod(akey, SINGLE, 1)], cond=cond)
    update.destinations[0][:] = b"x"
    try:
        return c.update_end(update, Epoch(epoch), op=op)
    finally:
        c.update_cancel(update)


def test_vos861_no_false_conflicts_at_falling_epochs() -> None:
    """Each object younger in name and older in epoch; as many as the reference has."""
    asyncio.run(no_false_conflicts(COUNT_861))


@pytest.mark.parametrize("tx", [False, True], ids=["863", "864"])
@on_shard
async def test_vos863_and_864_conditions_of_single_akeys(
    shard: MemoryShard, c: VosContainer, tx: bool
) -> None:
    store = Store(shard, c, tx=tx)
    a1, a2, d = b"a1", b"a2", b"d"
    insert, update = int(Cond.AKEY_INSERT), int(Cond.AKEY_UPDATE)
    both = (a1, a2)
    assert await store.update_each(d, {a1: 0, a2: update}, E) == "NONEXIST"
    assert await store.fetch(d, a1, E + 1) == b""  # nothing was written
    assert await store.update(d, {a1: b"1"}, E + 2) == OK
    assert await store.update_each(d, {a1: 0, a2: update}, E + 3) == "NONEXIST"
    assert await store.fetch(d, a1, E + 4) == b"1"
    assert await store.update_each(d, {a1: 0, a2: insert}, E + 5) == OK
    assert await store.update_each(d, {a1: 0, a2: update}, E + 6) == OK
    assert await store.update_each(d, {a1: 0, a2: insert}, E + 7) == "EXIST"
    assert await store.fetch_each(d, both, E + 8) == [b"v", b"v"]
    assert store.punch(E + 9, d, (a2,)) == OK
    assert await store.fetch_each(d, both, E + 10) == "NONEXIST"
    both_conds = {a1: insert, a2: update}
    new = await store.update_each(b"new", both_conds, E + 11, cond=Cond.DKEY_INSERT)
    assert new == "NONEXIST"
    assert await store.fetch(b"new", a1, E + 12) == b""
