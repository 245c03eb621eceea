"""The local metadata store against a dict that knows nothing of trees, logs or order.

Every answer is compared: results of transactions, ranges, revisions, errors, and the whole stream
of a watch, through leases that run out and restarts.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daos.base.errors import NotFoundError
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.rdb.interface import (
    UNBOUNDED,
    Compare,
    CompareTarget,
    Delete,
    DeleteResult,
    Event,
    EventKind,
    KeyValuePair,
    Operation,
    OperationResult,
    Put,
    PutResult,
    Range,
    RangeResult,
    Relation,
)
from daos.rdb.local import LocalRdb
from daos.testing.devices import Image, MemoryDevice

CONFIG = MetaConfig(wal_bytes=8 << 20, start_copy=InlineCopy)
EVENTS_MAX = 1000

STEM = b"k" * 400
KEYS = st.sampled_from(
    [b"a", b"a\x00", b"b", b"\xff", STEM, STEM + b"\x00", STEM + b"a", STEM + b"b", STEM + b"\xff"]
)
HIS = st.none() | st.just(UNBOUNDED) | KEYS
VALUES = st.sampled_from([b"", b"1", b"2", b"x" * 5000])
LEASES = st.sampled_from([0, 0, 0, 1, 2, 3])
PUTS = st.builds(Put, KEYS, VALUES, LEASES)
OPERATIONS = (
    PUTS | PUTS | st.builds(Delete, KEYS, HIS) | st.builds(Range, KEYS, HIS, st.integers(0, 3))
)
COMPARES = st.builds(
    Compare,
    KEYS,
    st.sampled_from([CompareTarget.CREATE_REVISION, CompareTarget.MOD_REVISION]),
    st.sampled_from(Relation),
    st.integers(0, 12),
) | st.builds(Compare, KEYS, st.just(CompareTarget.VALUE), st.sampled_from(Relation), VALUES)


class Dict:
    """The model: pairs by key, deadlines by lease."""

    def __init__(self) -> None:
        self.pairs: dict[bytes, KeyValuePair] = {}
        self.revision = 1
        self.ttl: dict[int, int] = {}
        self.deadline: dict[int, int] = {}
        self.now = 0
        self.granted = 0
        self.events: list[Event] = []

    def within(self, lo: bytes, hi: bytes | None) -> list[KeyValuePair]:
        chosen = [
            key
            for key in self.pairs
            if key == lo or (hi is not None and lo < key and (hi == b"" or key < hi))
        ]
        if hi not in (None, b"") and lo in chosen and not lo < hi:
            chosen = []
        return [self.pairs[key] for key in sorted(chosen)]

    def true(self, compare: Compare) -> bool:
        pair = self.pairs.get(compare.key)
        if compare.target is CompareTarget.VALUE:
            found: bytes | int | None = pair.value if pair else None
        elif compare.target is CompareTarget.CREATE_REVISION:
            found = pair.create_revision if pair else 0
        else:
            found = pair.mod_revision if pair else 0
        if found is None:
            return False
        return bool(
            {
                Relation.EQUAL: lambda a, b: a == b,
                Relation.NOT_EQUAL: lambda a, b: a != b,
                Relation.LESS: lambda a, b: a < b,
                Relation.GREATER: lambda a, b: a > b,
            }[compare.relation](found, compare.operand)
        )

    def remove(self, pairs: list[KeyValuePair], revision: int) -> None:
        for pair in pairs:
            del self.pairs[pair.key]
            gone = KeyValuePair(pair.key, b"", 0, revision, 0)
            self.events.append(Event(EventKind.DELETE, gone))
        if pairs:
            self.revision = revision

    def execute(self, operations: list[Operation]) -> list[OperationResult]:
        revision = self.revision + 1
        results: list[OperationResult] = []
        for operation in operations:
            if isinstance(operation, Put):
                before = self.pairs.get(operation.key)
                created = before.create_revision if before else revision
                after = KeyValuePair(
                    operation.key, operation.value, created, revision, operation.lease
                )
                self.pairs[operation.key] = after
                self.events.append(Event(EventKind.PUT, after))
                self.revision = revision
                results.append(PutResult(before))
            elif isinstance(operation, Delete):
                doomed = self.within(operation.lo, operation.hi)
                self.remove(doomed, revision)
                results.append(DeleteResult(len(doomed)))
            else:
                found = self.within(operation.lo, operation.hi)
                some = found[: operation.limit] if operation.limit else found
                results.append(RangeResult(self.revision, some, len(some) < len(found)))
        return results

    def end_lease(self, lease: int) -> None:
        attached = [pair for pair in self.pairs.values() if pair.lease == lease]
        self.remove(sorted(attached), self.revision + 1)
        del self.ttl[lease], self.deadline[lease]

    def pass_time(self) -> None:
        for lease in [lease for lease, at in self.deadline.items() if at <= self.now]:
            self.end_lease(lease)


class Clock:
    def __init__(self, model: Dict) -> None:
        self._model = model

    def now_ns(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return self._model.now


def legal(operations: list[Operation]) -> bool:
    """Not refused: no key put twice, none both put and deleted."""
    puts = [operation.key for operation in operations if isinstance(operation, Put)]
    probe = Dict()
    probe.pairs = {key: KeyValuePair(key, b"", 1, 1) for key in puts}
    deletes = [each for each in operations if isinstance(each, Delete)]
    touched = any(probe.within(each.lo, each.hi) for each in deletes)
    return len(puts) == len(set(puts)) and not touched


class RdbMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Dict()
        self.directory = TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.image = Image(64 << 20)
        self.runner.run(self._format())
        self.runner.run(self._start())

    async def _format(self) -> None:
        device = MemoryDevice(self.image.size_bytes, image=self.image)
        await MetaContext.format(device, uuid=uuid.UUID(int=7), config=CONFIG)
        await device.close()

    async def _start(self) -> None:
        self.device = MemoryDevice(self.image.size_bytes, image=self.image)
        self.meta = await MetaContext.open(
            self.device, config=CONFIG, live_path=Path(self.directory.name)
        )
        self.rdb = LocalRdb(self.meta, Clock(self.model))
        self.watch = self.rdb.watch(
            b"", UNBOUNDED, after_revision=self.rdb.revision, events_max=EVENTS_MAX
        )
        self.model.events.clear()

    async def _stop(self, checkpoint: bool) -> None:
        self.rdb.close()
        await self.meta.close(checkpoint=checkpoint)
        await self.device.close()

    def teardown(self) -> None:
        self.runner.run(self._stop(False))
        self.runner.close()
        self.directory.cleanup()

    @rule(
        compares=st.lists(COMPARES, max_size=2),
        success=st.lists(OPERATIONS, max_size=4).filter(legal),
        failure=st.lists(OPERATIONS, max_size=3).filter(legal),
    )
    def txn(
        self, compares: list[Compare], success: list[Operation], failure: list[Operation]
    ) -> None:
        self.model.pass_time()
        succeeded = all(self.model.true(compare) for compare in compares)
        operations = success if succeeded else failure
        unknown = any(
            isinstance(each, Put) and each.lease and each.lease not in self.model.ttl
            for each in operations
        )
        try:
            result = self.runner.run(self.rdb.txn(compares, success, failure))
        except NotFoundError:
            assert unknown
            return
        assert not unknown
        assert result.succeeded is succeeded
        assert result.results == self.model.execute(operations)
        assert result.revision == self.model.revision

    @rule(lo=KEYS, hi=HIS, limit=st.integers(0, 4))
    def range(self, lo: bytes, hi: bytes | None, limit: int) -> None:
        self.model.pass_time()
        (wanted,) = self.model.execute([Range(lo, hi, limit)])
        assert self.runner.run(self.rdb.range(lo, hi, limit=limit)) == wanted

    @rule(ttl=st.integers(1, 20))
    def grant(self, ttl: int) -> None:
        self.model.pass_time()
        self.model.granted += 1
        lease = self.model.granted
        assert self.runner.run(self.rdb.grant(ttl)) == lease
        self.model.ttl[lease] = ttl
        self.model.deadline[lease] = self.model.now + ttl

    @rule(lease=st.integers(1, 4))
    def keepalive(self, lease: int) -> None:
        self.model.pass_time()
        try:
            self.runner.run(self.rdb.keepalive(lease))
        except NotFoundError:
            assert lease not in self.model.ttl
            return
        self.model.deadline[lease] = self.model.now + self.model.ttl[lease]

    @rule(lease=st.integers(1, 4))
    def revoke(self, lease: int) -> None:
        self.model.pass_time()
        try:
            self.runner.run(self.rdb.revoke(lease))
        except NotFoundError:
            assert lease not in self.model.ttl
            return
        self.model.end_lease(lease)

    @rule(duration=st.integers(1, 15), owner=st.booleans())
    def time_passes(self, duration: int, owner: bool) -> None:
        self.model.now += duration
        if owner:
            self.model.pass_time()

            async def expire() -> None:
                self.rdb.expire(self.model.now)

            self.runner.run(expire())

    @precondition(lambda self: self.model.revision > 1)
    @rule(checkpoint=st.booleans())
    def restart(self, checkpoint: bool) -> None:
        self.runner.run(self._stop(checkpoint))
        self.runner.run(self._start())
        for lease, ttl in self.model.ttl.items():
            self.model.deadline[lease] = self.model.now + ttl

    @invariant()
    def everything_is_equal(self) -> None:
        """Looks at the tree without reading through the store, which would end leases."""

        async def told() -> list[Event]:
            await self.meta.durable(self.rdb._lsn)
            return [await anext(self.watch) for _ in self.model.events]

        assert self.runner.run(told()) == self.model.events
        self.model.events.clear()
        assert self.rdb.revision == self.model.revision


TestRdb = RdbMachine.TestCase
TestRdb.settings = settings(max_examples=60, stateful_step_count=40)
