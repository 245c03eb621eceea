"""The metadata store of one host: pairs in the tree of a `MetaContext`, durable by its log.

A transaction is one synchronous section: leases that ran out are ended, compares are made, the
operations are worked out against the tree and this transaction's own writes, one Tx is committed.
Then the caller waits until the log has it.

Concurrency. One event loop, no locks: between two awaits nobody else runs, and every section that
looks and then writes has no await in it. In memory: the counters, the leases' deadlines, the LSN
of the latest write. All else is in the tree.

    1. A reader looks at the tree (which holds writes that are not durable yet), remembers `_lsn`,
       the latest write it could have seen, and answers when the log has that one. (Rule 1.)
    2. Events of a transaction wait in `_pending` until its LSN is durable, in order.
    3. Counters in memory change only after `Tx.commit` returned; a refused commit changed nothing.

Leases run by the monotonic clock. Their deadlines are not stored: opening the store starts every
lease anew, so a clock that steps, or a restart, never ends one early. What runs out is deleted
by `expire`, which the owner calls (see `next_expiry_ns`) and every operation calls first.

Crash table: README.md.
Source: ours, on the semantics of etcd v3 (interface.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from daos.base.clock import Clock
from daos.base.errors import DaosError, InvalidError, NotFoundError, ShutdownError
from daos.base.ids import Lsn
from daos.bio.meta import MetaContext
from daos.rdb import layout
from daos.rdb.interface import (
    OPERATIONS_MAX,
    TTL_NS_MAX,
    UNBOUNDED,
    Compare,
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
    TxnResult,
    check_txn,
    covers,
    holds,
    prefix_end,
)
from daos.rdb.watch import EventLog, LocalWatch

_FRESH: Final = layout.Root(revision=1, lease_next=1)  # etcd's store begins at revision 1, too


class LocalRdb:
    """`Rdb` over one metadata context, which the caller owns, and closes after this.

    Raises:     CorruptError   what stands in the tree is not a store of this version
    """

    def __init__(self, meta: MetaContext, clock: Clock) -> None:
        self._meta = meta
        self._clock = clock
        self._closed = False
        self._lsn = Lsn(0)
        root = meta.get(layout.ROOT_KEY)
        self._root = _FRESH if root is None else layout.Root.parse(bytes(root))
        self._leases = self._load_leases()
        self._log = EventLog(0 if self._root == _FRESH else self._root.revision)
        self._pending: deque[tuple[Lsn, list[Event]]] = deque()

    @property
    def revision(self) -> int:
        """Of the latest transaction, durable or not yet."""
        return self._root.revision

    @property
    def next_expiry_ns(self) -> int | None:
        """When (monotonic) the next lease runs out: the owner calls `expire` then."""
        return min((deadline for _, deadline in self._leases.values()), default=None)

    async def range(self, lo: bytes, hi: bytes | None = None, *, limit: int = 0) -> RangeResult:
        """See `Rdb`. Raises: InvalidError, KeyTooBigError"""
        operation = Range(lo, hi, limit)
        check_txn((), (operation,), ())
        await self._ready()
        result = _Section(self._meta, self._root.revision).range(operation)
        await self._settled()
        return result

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        spare: bool = False,
    ) -> TxnResult:
        """See `Rdb`."""
        check_txn(compares, success, failure)
        await self._ready(writes=True)
        section = _Section(self._meta, self._root.revision)
        succeeded = all(holds(compare, section.get(compare.key)) for compare in compares)
        operations = success if succeeded else failure
        for operation in operations:
            if isinstance(operation, Put) and operation.lease:
                await self._check_lease(operation.lease)
        results = [section.execute(operation) for operation in operations]
        if section.changed:
            self._commit(section, spare=spare)
        revision = self._root.revision
        await self._settled()
        return TxnResult(succeeded, revision, results)

    async def grant(self, ttl_ns: int) -> int:
        """See `Rdb`."""
        if not 0 < ttl_ns <= TTL_NS_MAX:
            raise InvalidError(f"lease: time to live must be in (0, {TTL_NS_MAX}] ns, got {ttl_ns}")
        await self._ready(writes=True)
        lease = self._root.lease_next
        root = layout.Root(self._root.revision, lease + 1)
        writes: dict[bytes, bytes | None] = {
            layout.ROOT_KEY: root.emit(),
            layout.lease_key(lease): layout.emit_lease(ttl_ns),
        }
        self._lsn = self._apply(writes, ())
        self._root = root
        self._leases[lease] = (ttl_ns, self._clock.monotonic_ns() + ttl_ns)
        await self._settled()
        return lease

    async def keepalive(self, lease: int) -> None:
        """See `Rdb`. Writes nothing: deadlines are not stored."""
        await self._ready()
        ttl_ns = await self._check_lease(lease)
        self._leases[lease] = (ttl_ns, self._clock.monotonic_ns() + ttl_ns)
        await self._settled()

    async def revoke(self, lease: int) -> None:
        """See `Rdb`."""
        await self._ready(writes=True)
        await self._check_lease(lease)
        self._end_lease(lease)
        await self._settled()

    def watch(
        self, lo: bytes, hi: bytes | None = None, *, after_revision: int, events_max: int
    ) -> LocalWatch:
        """See `Rdb`. Raises: InvalidError, KeyTooBigError, ShutdownError"""
        self._check_open()
        return self._log.open(lo, hi, after_revision=after_revision, events_max=events_max)

    def expire(self, now_ns: int) -> int:
        """End the leases that ran out by `now_ns` (monotonic); returns how many did.

        Does nothing while the log is full: the next operation waits for room and ends them.
        """
        self._check_open()
        if not self._meta.log_has_room:
            return 0
        due = [lease for lease, (_, deadline) in self._leases.items() if deadline <= now_ns]
        for lease in due:
            self._end_lease(lease)
        return len(due)

    def close(self) -> None:
        """Refuse further calls, end the watches. Calls that wait for the log still finish."""
        if not self._closed:
            self._closed = True
            self._log.end(ShutdownError("the metadata store is closed"))

    # Readiness and durability

    async def _ready(self, *, writes: bool = False) -> None:
        """On return the store is open, leases that ran out are gone, and a write would fit the log.

        No await follows the last look, so the caller's section begins in the same state.
        """
        while True:
            self._check_open()
            now_ns = self._clock.monotonic_ns()
            next_ns = self.next_expiry_ns
            due = next_ns is not None and next_ns <= now_ns
            if self._meta.log_has_room or not (writes or due):
                break
            await self._room()
        if due:
            self.expire(now_ns)

    async def _room(self) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: DaosError | None) -> None:
            if not ready.done():
                if error is None:
                    ready.set_result(None)
                else:
                    ready.set_exception(error)

        self._meta.when_room(done)
        await ready

    async def _settled(self) -> None:
        """Wait for the latest write that this call made or could have seen."""
        if self._lsn > self._meta.durable_lsn:
            await self._meta.durable(self._lsn)

    def _check_open(self) -> None:
        if self._closed:
            raise ShutdownError("the metadata store is closed")

    # Leases

    def _load_leases(self) -> dict[int, tuple[int, int]]:
        """Lease id → (time to live, deadline), every one begun anew."""
        now_ns = self._clock.monotonic_ns()
        leases = {}
        prefix = layout.LEASE_PREFIX
        for tree_key, value in _scan(self._meta, prefix, prefix_end(prefix)):
            ttl_ns = layout.parse_lease(value)
            leases[layout.parse_lease_key(tree_key)] = (ttl_ns, now_ns + ttl_ns)
        return leases

    async def _check_lease(self, lease: int) -> int:
        """The lease's time to live. Raises: NotFoundError, and only then awaits anything."""
        if lease not in self._leases:
            await self._settled()
            raise NotFoundError(f"lease {lease} does not exist, or has run out")
        return self._leases[lease][0]

    def _end_lease(self, lease: int) -> None:
        """Delete the keys of `lease`, then the lease: one revision, many Tx if keys are many.

        A cut between two of them leaves a lease with the rest of the keys: it runs out again.
        """
        prefix = layout.attachments_prefix(lease)
        keys = sorted(key for _, key in _scan(self._meta, prefix, prefix_end(prefix)))
        before = self._root.revision
        for first in range(0, len(keys), OPERATIONS_MAX):
            section = _Section(self._meta, before)
            for key in keys[first : first + OPERATIONS_MAX]:
                section.delete(Delete(key))
            self._commit(section)
        self._lsn = self._apply({layout.lease_key(lease): None}, ())
        del self._leases[lease]

    # Writing

    def _commit(self, section: _Section, *, spare: bool = False) -> None:
        root = layout.Root(section.revision, self._root.lease_next)
        writes: dict[bytes, bytes | None] = {layout.ROOT_KEY: root.emit()}
        writes.update(section.writes())
        self._lsn = self._apply(writes, section.events, spare=spare)
        self._root = root

    def _apply(
        self,
        writes: dict[bytes, bytes | None],
        events: Sequence[Event],
        *,
        spare: bool = False,
    ) -> Lsn:
        """One Tx. Raises: NoSpaceError and what the device raised; nothing changed.

        The root takes the place of the one before it. So what only deletes asks for no room, and
        what makes the store no larger may have the last: a full store can be emptied.
        """
        put_bytes = gone_bytes = 0
        for key, value in writes.items():
            if key == layout.ROOT_KEY:
                continue
            old = self._meta.get(key)
            gone_bytes += 0 if old is None else len(key) + len(old)
            put_bytes += 0 if value is None else len(key) + len(value)
        last = spare or put_bytes <= gone_bytes
        hold = self._meta.hold(tree_bytes=put_bytes, data_blocks=0, last=last)
        try:
            tx = self._meta.begin()
            for key, value in writes.items():
                if value is None:
                    tx.delete(key)
                else:
                    tx.put(key, value)
            lsn = tx.commit()
        finally:
            self._meta.release(hold)
        if events:
            self._pending.append((lsn, list(events)))
            self._meta.when_durable(lsn, self._publish)
        return lsn

    def _publish(self, error: DaosError | None) -> None:
        """Hand out the events whose transactions are durable by now."""
        if error is not None:
            self._pending.clear()
            self._log.end(error)
            return
        while self._pending and self._pending[0][0] <= self._meta.durable_lsn:
            self._log.publish(self._pending.popleft()[1])


class _Section:
    """One synchronous section's view: the tree, and over it what the section writes."""

    def __init__(self, meta: MetaContext, revision: int) -> None:
        self._meta = meta
        self.revision = revision
        self._before = revision
        self._changes: dict[bytes, tuple[KeyValuePair | None, KeyValuePair | None]] = {}
        self.events: list[Event] = []

    @property
    def changed(self) -> bool:
        return bool(self.events)

    def get(self, key: bytes) -> KeyValuePair | None:
        if key in self._changes:
            return self._changes[key][1]
        return self._stored(key)

    def execute(self, operation: Operation) -> OperationResult:
        if isinstance(operation, Put):
            return self.put(operation)
        if isinstance(operation, Delete):
            return self.delete(operation)
        return self.range(operation)

    def put(self, put: Put) -> PutResult:
        self.revision = self._before + 1
        previous = self.get(put.key)
        created = self.revision if previous is None else previous.create_revision
        pair = KeyValuePair(put.key, bytes(put.value), created, self.revision, put.lease)
        self._change(pair.key, pair)
        self.events.append(Event(EventKind.PUT, pair))
        return PutResult(previous)

    def delete(self, delete: Delete) -> DeleteResult:
        found = self.range(Range(delete.lo, delete.hi)).pairs
        if found:
            self.revision = self._before + 1
        for pair in found:
            self._change(pair.key, None)
            gone = KeyValuePair(pair.key, b"", 0, self.revision)
            self.events.append(Event(EventKind.DELETE, gone))
        return DeleteResult(len(found))

    def range(self, wanted: Range) -> RangeResult:
        lo, hi, limit = wanted
        pairs: list[KeyValuePair] = []
        if hi is None:
            found = self.get(lo)
            return RangeResult(self.revision, [] if found is None else [found])
        for pair in self._merged(lo, hi):
            if limit and len(pairs) == limit:
                return RangeResult(self.revision, pairs, more=True)
            pairs.append(pair)
        return RangeResult(self.revision, pairs)

    def writes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """What brings the tree to this view, attachments to leases included."""
        for key, (before, after) in self._changes.items():
            old, new = before.lease if before else 0, after.lease if after else 0
            if old and old != new:
                yield layout.attachment_key(old, key), None
            if new and old != new:
                yield layout.attachment_key(new, key), key
            if after is not None:
                yield layout.pair_key(key), layout.emit_pair(after)
            elif before is not None:
                yield layout.pair_key(key), None

    def _change(self, key: bytes, pair: KeyValuePair | None) -> None:
        known = self._changes.get(key)
        self._changes[key] = (self._stored(key) if known is None else known[0], pair)

    def _stored(self, key: bytes) -> KeyValuePair | None:
        tree_key = layout.pair_key(key)
        value = self._meta.get(tree_key)
        return None if value is None else layout.parse_pair(tree_key, bytes(value))

    def _merged(self, lo: bytes, hi: bytes) -> Iterator[KeyValuePair]:
        """Stored pairs of [lo, hi) with this section's changes over them, in order."""
        ours = sorted(key for key in self._changes if covers(lo, hi, key))
        position = 0
        for pair in self._stored_range(lo, hi):
            while position < len(ours) and ours[position] <= pair.key:
                changed = self._changes[ours[position]][1]
                position += 1
                if changed is not None:
                    yield changed
            if pair.key not in self._changes:
                yield pair
        for key in ours[position:]:
            changed = self._changes[key][1]
            if changed is not None:
                yield changed

    def _stored_range(self, lo: bytes, hi: bytes) -> Iterator[KeyValuePair]:
        """Stored pairs in order of key: runs of long keys with one prefix are sorted here."""
        size = layout.ORDER_PREFIX_SIZE
        first = layout.PAIR_PREFIX + lo[:size]
        last = layout.PAIR_PREFIX + hi
        if hi == UNBOUNDED or len(hi) > size:
            # Of the long keys that share the prefix of `hi` some are below it.
            last = prefix_end(last[: len(layout.PAIR_PREFIX) + size])
        run: list[KeyValuePair] = []
        for tree_key, value in _scan(self._meta, first, last):
            pair = layout.parse_pair(tree_key, value)
            if run and not (len(pair.key) > size and pair.key[:size] == run[0].key[:size]):
                yield from sorted(run)
                run = []
            if not covers(lo, hi, pair.key):
                continue
            if len(pair.key) > size:
                run.append(pair)
            else:
                yield pair
        yield from sorted(run)


def _scan(meta: MetaContext, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the tree with lo <= key < hi. The tree must not change while this runs."""
    cursor = meta.cursor()
    if not cursor.set_range(lo):
        return
    for tree_key, value in cursor.iternext(keys=True, values=True):
        if bytes(tree_key) >= hi:
            return
        yield bytes(tree_key), bytes(value)
