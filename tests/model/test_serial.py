"""Transactions of one operation each, at epochs out of order: as if executed in order of epochs.

Every operation draws an epoch of its own from a shuffled range, is executed at once, and either
refused (TX_RESTART) or accepted. Afterwards the accepted ones are played again, in order of their
epochs, by the model of the store (vos_model.py), which knows nothing of timestamps: each must have
been told what the model says, though the store executed it before or after its neighbours.

With an uncertainty bound that reaches as far as epochs come out of order, they are also what they
would be in the order in which they were executed: who comes later sees what came before, whatever
his clock says.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from daos.base.errors import DaosError
from daos.base.ids import EPOCH_MAX, Epoch, UnitOid
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.testing.shard import MemoryShard, memory_shard, unit
from daos.vos.container import VosContainer
from daos.vos.timestamps import Operation
from tests.model.vos_model import ARRAY, SINGLE, Model, Op, Write

OBJECTS = (unit(1), unit(2))
DKEYS = (b"d", b"e")
AKEYS = (b"a", b"b", b"r")  # two single values, and an array of bytes
CALLS = ("update", "update", "punch", "fetch", "akeys", "dkeys", "objects")


class Call(NamedTuple):
    """One operation, and what it was told: an error's name, or what it found."""

    kind: str
    op: Op
    cond: int
    told: object


class Run:
    """Operations on a container."""

    def __init__(
        self, shard: MemoryShard, container: VosContainer, rng: random.Random, doubt: int
    ) -> None:
        self.doubt = doubt
        self.shard = shard
        self.container = container
        self.rng = rng
        self.base = container.modification_bound + 1
        self.calls: list[Call] = []

    async def call(self, epoch: int) -> None:
        rng = self.rng
        kind = rng.choice(CALLS)
        obj, dkey, akey = rng.choice(OBJECTS), rng.choice(DKEYS), rng.choice(AKEYS)
        at = Epoch(self.base + epoch)
        who = Operation(epoch.to_bytes(24, "big"), at + self.doubt)
        op, cond = Op(at, obj, dkey, akeys=(akey,)), 0
        if kind == "update":
            cond = rng.choice((0, 0, Cond.DKEY_INSERT, Cond.DKEY_UPDATE, 0x10, 0x20))
            word = {0x10: "insert", 0x20: "update"}.get(int(cond), "")
            op = Op(at, obj, dkey, (self._write(akey, epoch, word),))
        elif kind == "punch":
            cond = rng.choice((0, Cond.PUNCH))
            level = rng.choice((0, 1, 2, 2, 2))
            op = Op(at, obj, dkey if level else None, akeys=(akey,) if level == 2 else ())
        elif kind == "fetch":
            cond = rng.choice((0, Cond.DKEY_FETCH, Cond.AKEY_FETCH))
            op = op._replace(writes=(self._write(akey, epoch),))  # the records that are asked for
        try:
            told = await self._execute(kind, op, int(cond), who)
        except DaosError as error:
            told = error.code.name
        self.calls.append(Call(kind, op, int(cond), told))

    def _write(self, akey: bytes, epoch: int, word: str = "") -> Write:
        if akey != b"r":
            return Write(akey, SINGLE, 4, ((0, 1, epoch.to_bytes(4, "big")),), word)
        lo, width = self.rng.randrange(6), self.rng.randint(1, 3)
        return Write(akey, ARRAY, 1, ((lo, lo + width, bytes((epoch % 250,)) * width),), word)

    async def _execute(self, kind: str, op: Op, cond: int, who: Operation) -> object:
        c, epoch, obj, dkey = self.container, Epoch(op.epoch), op.obj, op.dkey
        assert isinstance(obj, UnitOid)
        if kind == "punch":
            c.punch(obj, epoch, dkey=dkey, akeys=op.akeys, cond=cond, op=who)
            return None
        assert dkey is not None
        if kind == "update":
            data = op.writes[0].parts[0][2]
            assert data is not None
            iods = [_iod(op.writes[0])]
            await self.shard.update(c, obj, dkey, iods, data, epoch=epoch, cond=cond, op=who)
            return None
        if kind == "fetch":
            iods = [_iod(op.writes[0])]
            fetch, views = await self.shard.fetch(
                c, obj, dkey, iods, epoch=epoch, cond=cond, op=who
            )
            return [
                (piece[2], bytes(view)) for piece, view in zip(fetch.pieces, views, strict=True)
            ]
        if kind == "akeys":
            with c.reading(who, epoch, obj, dkey):
                return sorted(c.list_akeys(obj, dkey, epoch, limit=9).entries)
        if kind == "dkeys":
            with c.reading(who, epoch, obj):
                return sorted(c.list_dkeys(obj, epoch, limit=9).entries)
        with c.reading(who, epoch):
            return sorted(c.list_objects(epoch, limit=9).entries)

    def judge(self, calls: Iterable[Call]) -> Counter[str]:
        """Play the accepted ones again, in this order."""
        model = Model()
        counts: Counter[str] = Counter()
        for turn, done in enumerate(calls, 1):
            call = done._replace(op=done.op._replace(epoch=turn))
            if call.told == "TX_RESTART":
                counts["restarted"] += 1
                continue
            counts["accepted"] += 1
            expected = self._expected(model, call)
            assert call.told == expected, f"{call}, but in order of epochs {expected!r}"
            if call.told is None:
                model.add(call.op)
        for obj in OBJECTS:
            listed = sorted(self.container.list_dkeys(obj, EPOCH_MAX, limit=9).entries)
            assert listed == sorted(model.view(obj, EPOCH_MAX).dkeys)
        return counts

    def _expected(self, model: Model, call: Call) -> object:
        kind, op, cond, _ = call
        view = model.view(op.obj, op.epoch)
        akeys = view.dkeys.get(op.dkey or b"")
        if kind == "update":
            conds = ["dkey insert"] if cond & Cond.DKEY_INSERT else []
            conds += ["object update", "dkey update"] if cond & (Cond.DKEY_UPDATE | 0x20) else []
            return next(iter(model.judge_update(op, *conds).must), None)
        if kind == "punch":
            return next(iter(model.judge_punch(op, cond=bool(cond)).must), None)
        if kind == "fetch":
            if cond and (akeys is None or (cond & Cond.AKEY_FETCH and op.akeys[0] not in akeys)):
                return "NONEXIST"
            (write,) = op.writes
            value = view.value(op.dkey or b"", write.akey, write.kind)
            if write.kind == SINGLE:
                return [(0, value.single)] if value.single else []
            lo, hi, _ = write.parts[0]
            return [(first - lo, data) for first, _, _, data in value.cut(lo, hi)]
        if kind == "akeys":
            return sorted(akeys or ())
        if kind == "dkeys":
            return sorted(view.dkeys)
        return sorted(obj for obj in OBJECTS if model.view(obj, op.epoch).exists)


def _iod(write: Write) -> Iod:
    if write.kind == SINGLE:
        return Iod(write.akey, IodType.SINGLE, write.size)
    lo, hi, _ = write.parts[0]
    return Iod(write.akey, IodType.ARRAY, write.size, (Recx(lo, hi - lo),))


async def run(seed: int, calls: int, spread: int, *, doubt: int = 0) -> Counter[str]:
    """`spread`: how far an operation may come after its turn; `doubt`: what it knows of that."""
    rng = random.Random(seed)
    async with memory_shard() as shard:
        it = Run(shard, shard.container(), rng, doubt)
        turns = sorted(range(1, calls + 1), key=lambda epoch: epoch + rng.uniform(0, spread))
        for epoch in turns:
            await it.call(epoch)
        if doubt >= spread:
            it.judge(it.calls)
        return it.judge(sorted(it.calls, key=lambda call: call.op.epoch))


@pytest.mark.parametrize("spread", [3, 12, 60])
def test_accepted_operations_are_serial_in_their_epochs(spread: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(8):
        counts += asyncio.run(run(seed, 300, spread))
    assert counts["accepted"] > 500
    assert counts["restarted"] > 20


def test_with_a_bound_they_are_serial_in_the_order_of_execution() -> None:
    counts: Counter[str] = Counter()
    for seed in range(12):
        counts += asyncio.run(run(seed, 300, 12, doubt=12))
    assert counts["accepted"] > 1000
    assert counts["restarted"] > 200


def test_in_order_nothing_is_restarted() -> None:
    assert asyncio.run(run(1, 200, 0))["restarted"] == 0
