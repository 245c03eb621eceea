"""Claims of writers that append: every order in which the requests of two of them can come.

The array is a set of records in memory; each request is one step. A writer is the coroutine itself,
driven by hand, so that the schedule is chosen here and all schedules are tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daos.base.errors import CorruptError, DaosError, ExistsError, NotFoundError
from daos.base.ids import ObjectId, ObjectType
from daos.base.iod import Cond, Iod
from daos.client import append
from daos.client.asking import handed
from daos.client.chunks import claim_key, emit_claim, parse_claim
from daos.client.landing import Landing
from daos.client.objectio import ObjectIo
from daos.client.session import Call
from daos.client.task import Report, Start

CALL = Call(0, 0)


class Store:
    """One array: who wrote which record, and the claims."""

    def __init__(self) -> None:
        self.records: dict[int, str] = {}
        self.claims: dict[bytes, bytes] = {}
        self.overwritten = False

    def update(
        self,
        dkey: bytes,
        _iods: Sequence[Iod],
        values: Sequence[memoryview],
        *,
        cond: int,
        call: Call,
    ) -> Start:
        assert cond == Cond.KEY_INSERT

        def step() -> object:
            if dkey in self.claims:
                raise ExistsError
            self.claims[dkey] = bytes(values[0])
            return 1

        return _start(step)

    def fetch(
        self, dkey: bytes, _iods: Sequence[Iod], landing: Landing, *, cond: int, call: Call
    ) -> Start:
        def step() -> object:
            if dkey not in self.claims:
                raise NotFoundError
            value = self.claims[dkey]
            reply: Any = SimpleNamespace(sizes=[len(value)])
            landing.into(reply)[0][:] = value
            return reply

        return _start(step)

    def punch(self, dkey: bytes, *, call: Call) -> Start:
        return _start(lambda: self.claims.pop(dkey))

    async def size(self, _call: Call) -> int:
        found = await handed(_start(lambda: max(self.records, default=-1) + 1))
        assert isinstance(found, int)
        return found

    def write(self, offset: int, count: int, who: str) -> Start:
        def step() -> object:
            for record in range(offset, offset + count):
                self.overwritten |= record in self.records
                self.records[record] = who
            return 1

        return _start(step)


def _start(step: Callable[[], object]) -> Start:
    def start(report: Report) -> None:
        try:
            result = step()
        except DaosError as error:
            report(None, error)
        else:
            report(result, None)

    return start


async def writer(store: Store, who: str, sizes: Sequence[int]) -> None:
    io = cast("ObjectIo", store)  # it stands for one
    for count in sizes:
        offset = await append.claim(io, store.size, count, CALL)
        await handed(store.write(offset, count, who))
        await append.drop(io, offset, CALL)


class Running:
    """A writer, up to its next request."""

    def __init__(self, coroutine: Coroutine[Start, object, None]) -> None:
        self.coroutine = coroutine
        self.request: Start | None = coroutine.send(None)

    def step(self) -> None:
        assert self.request is not None
        told: list[tuple[object, DaosError | None]] = []
        self.request(lambda result, error: told.append((result, error)))
        ((result, error),) = told
        try:
            if error is None:
                self.request = self.coroutine.send(result)
            else:
                self.request = self.coroutine.throw(error)
        except StopIteration:
            self.request = None


def schedules(
    sizes: Mapping[str, Sequence[int]], *, most: int
) -> Iterator[tuple[Store, list[int]]]:
    """Each end of each schedule: what is there, and who stepped when."""
    open_ends: list[list[int]] = [[]]
    while open_ends and most:
        prefix, most = open_ends.pop(), most - 1
        store = Store()
        runs = [Running(writer(store, who, counts)) for who, counts in sizes.items()]
        for index in prefix:
            runs[index].step()
        path = list(prefix)
        while ready := [index for index, run in enumerate(runs) if run.request is not None]:
            open_ends += [[*path, other] for other in ready[1:]]
            path.append(ready[0])
            runs[ready[0]].step()
            assert len(path) < 200, "the writers don't come to an end"
        yield store, path
        for run in runs:
            run.coroutine.close()


def without_a_task(test: Callable[[], None]) -> None:
    """Run where coroutines hand their requests out: in a loop, in no task."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            try:
                test()
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        loop.call_soon(run)
        await ended

    asyncio.run(main())


CASES = [{"a": [2], "b": [3]}, {"a": [1, 1], "b": [2]}, {"a": [1], "b": [1], "c": [1]}]


def violations(sizes: Mapping[str, Sequence[int]]) -> tuple[int, list[list[int]]]:
    """How many schedules there were, and those in which a record was lost."""
    seen, bad = 0, []
    for store, path in schedules(sizes, most=6000):
        seen += 1
        counts = {who: list(store.records.values()).count(who) for who in sizes}
        wanted = {who: sum(each) for who, each in sizes.items()}
        if store.overwritten or counts != wanted or store.claims:
            bad.append(path)
    return seen, bad


@pytest.mark.parametrize("sizes", CASES)
def test_no_order_loses_a_record(sizes: Mapping[str, Sequence[int]]) -> None:
    def check() -> None:
        seen, bad = violations(sizes)
        assert seen > 100
        assert not bad

    without_a_task(check)


def test_without_asking_again_records_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above finds what W2 is there for."""

    async def claim_once(
        io: ObjectIo, size: Callable[[Call], Awaitable[int]], count: int, call: Call
    ) -> int:
        offset = await size(call)
        while not await append._insert(io, offset, count, call):
            offset += await append._taken(io, offset, call)
        return offset

    monkeypatch.setattr(append, "claim", claim_once)

    def check() -> None:
        assert violations(CASES[0])[1]

    without_a_task(check)


def test_a_dead_writer_leaves_its_range_empty() -> None:
    def check() -> None:
        store = Store()
        store.records = dict.fromkeys(range(5), "old")
        store.claims[claim_key(5)] = emit_claim(3)
        run = Running(writer(store, "new", [2]))
        while run.request is not None:
            run.step()
        assert [at for at, who in store.records.items() if who == "new"] == [8, 9]

    without_a_task(check)


@pytest.mark.parametrize("value", [b"", bytes(8), bytes(9), b"1234567"])
def test_a_claim_of_other_bytes(value: bytes) -> None:
    with pytest.raises(CorruptError, match="claim"):
        parse_claim(value)


def test_claims_as_bytes() -> None:
    assert claim_key(258) == b"\x02\x01\x00\x00\x00\x00\x00\x00"
    assert emit_claim(513) == b"\x01\x02\x00\x00\x00\x00\x00\x00"
    assert append.claims_of(ObjectId.parse("937030214649643008.1")).type is ObjectType.KV_UINT64
    assert parse_claim(emit_claim(513)) == 513
