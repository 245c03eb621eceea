"""The metadata store that services keep their records in, shaped like etcd's.

    revision   one counter for the whole store; a transaction that changes anything raises it by one
    pair       (key, value, create_revision, mod_revision, lease); keys are ordered as bytes
    range      the pairs of [lo, hi), as of one revision
    txn        compares; all true: `success`, else `failure`; one atomic step, one revision
    lease      a time to live that keys are attached to; when it ends they vanish
    watch      the events after a revision, in order, without gaps

Rules that every implementation keeps, and `daos.testing.kits.rdb` checks:

 1. An answer is given when what it tells is durable: a result of a transaction, a value, a miss, a
    failed compare, an event. What a power cut may still take back is never shown.
 2. Operations take effect one at a time, in the order of revisions; a read sees every transaction
    that was answered before the read began.
 3. A refused call (over a limit, unknown lease) changed nothing.
 4. A key whose lease ran out is gone from every answer from then on. A lease lives at least its
    time to live after the last `grant` or `keepalive`; a restart of the store starts it anew.
 5. A watcher that falls behind, or asks for what is no longer kept, gets AgainError: it reads the
    range again and watches from that revision. Events are never skipped silently.

A range is [lo, hi); `hi` None means the key `lo` alone, `hi` UNBOUNDED (empty) all from `lo` on.

Source: etcd v3 api/etcdserverpb/rpc.proto and its documented guarantees, reduced to what services
need; DAOS src/include/daos_srv/rdb.h is a tree of key-value stores over raft.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple, Protocol, TypeVar

from daos.base.errors import InvalidError, KeyTooBigError, RecordTooBigError

KEY_SIZE_MAX: Final = 1024
VALUE_SIZE_MAX: Final = 1 << 20
OPERATIONS_MAX: Final = 128  # of compares, of `success` and of `failure` each, as in etcd
TXN_SIZE_MAX: Final = 3 << 19  # 1.5 MiB of keys and values in each list: etcd's request limit
TTL_NS_MAX: Final = 10**9 * 86_400 * 366

UNBOUNDED: Final = b""

_Ordered = TypeVar("_Ordered", int, bytes)


class KeyValuePair(NamedTuple):
    """A key and its value. `lease` is 0 where there is none."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


class CompareTarget(Enum):
    """What of a pair is compared. A key that does not exist has revisions 0 and no value."""

    VALUE = "value"
    CREATE_REVISION = "create_revision"
    MOD_REVISION = "mod_revision"


class Relation(Enum):
    """How what is found relates to the operand."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    GREATER = ">"


class Compare(NamedTuple):
    """One condition. On the value of a key that does not exist it is false, whatever it says."""

    key: bytes
    target: CompareTarget
    relation: Relation
    operand: bytes | int


class Put(NamedTuple):
    """Set `key`, attached to `lease` or (0) to none, whatever it was attached to before."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Delete the keys of a range; none there is not an error."""

    lo: bytes
    hi: bytes | None = None


class Range(NamedTuple):
    """Read a range; `limit` 0 = all. Sees the operations in front of it in the same list."""

    lo: bytes
    hi: bytes | None = None
    limit: int = 0


Operation = Put | Delete | Range


class RangeResult(NamedTuple):
    """`more`: the limit cut it short. `revision` is the store's when it was read."""

    revision: int
    pairs: list[KeyValuePair]
    more: bool = False


class PutResult(NamedTuple):
    """The pair that the put replaced."""

    previous: KeyValuePair | None


class DeleteResult(NamedTuple):
    """How many keys were deleted."""

    deleted: int


OperationResult = PutResult | DeleteResult | RangeResult


class TxnResult(NamedTuple):
    """Which list was executed, the revision after it, and a result for each operation."""

    succeeded: bool
    revision: int
    results: list[OperationResult]


class EventKind(Enum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


class Event(NamedTuple):
    """One change. For a deletion `pair` holds the key, and the deletion's revision as `mod_`."""

    kind: EventKind
    pair: KeyValuePair


class Watch(Protocol):
    """A stream of events; one consumer. Ends (StopAsyncIteration) once it is closed."""

    def __aiter__(self) -> Watch: ...

    async def __anext__(self) -> Event:
        """The next event. Raises: AgainError, see rule 5; ShutdownError when the store closes"""
        ...

    def close(self) -> None:
        """Stop; a waiting consumer ends. Idempotent."""
        ...


class Rdb(Protocol):
    """The store. Every method may raise ShutdownError, and NvmeIoError and its like."""

    async def range(self, lo: bytes, hi: bytes | None = None, *, limit: int = 0) -> RangeResult: ...

    async def txn(
        self,
        compares: Sequence[Compare],
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        spare: bool = False,
    ) -> TxnResult:
        """Compare, then execute one of the lists, atomically.

        `spare`: it may take the room that a full store keeps for what gives some back; whatever
        makes the store no larger may anyway. For small records that do not stay.

        Raises:     InvalidError, KeyTooBigError, RecordTooBigError   a limit (`check_txn`)
                    NotFoundError   a lease that does not exist
                    NoSpaceError    nothing changed
        Cancelled:  the transaction may have happened
        """
        ...

    async def grant(self, ttl_ns: int) -> int:
        """A new lease, by its id. Raises: InvalidError unless 0 < ttl_ns <= TTL_NS_MAX"""
        ...

    async def keepalive(self, lease: int) -> None:
        """Start the lease's time to live anew. Raises: NotFoundError if it has run out"""
        ...

    async def revoke(self, lease: int) -> None:
        """End the lease and delete its keys. Raises: NotFoundError"""
        ...

    def watch(
        self, lo: bytes, hi: bytes | None = None, *, after_revision: int, events_max: int
    ) -> Watch:
        """Events of a range with a revision over `after_revision`; at most `events_max` wait."""
        ...


def exists(key: bytes) -> Compare:
    return Compare(key, CompareTarget.CREATE_REVISION, Relation.GREATER, 0)


def absent(key: bytes) -> Compare:
    return Compare(key, CompareTarget.CREATE_REVISION, Relation.EQUAL, 0)


def unchanged(pair: KeyValuePair) -> Compare:
    """Nobody has touched the key since `pair` was read."""
    return Compare(pair.key, CompareTarget.MOD_REVISION, Relation.EQUAL, pair.mod_revision)


def value_is(key: bytes, value: bytes) -> Compare:
    return Compare(key, CompareTarget.VALUE, Relation.EQUAL, value)


def prefix_end(prefix: bytes) -> bytes:
    """The `hi` of the range of all keys that begin with `prefix`."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1]) if head else UNBOUNDED


def covers(lo: bytes, hi: bytes | None, key: bytes) -> bool:
    """Whether `key` is in the range."""
    if hi is None:
        return key == lo
    return key >= lo and (hi == UNBOUNDED or key < hi)


def holds(compare: Compare, found: KeyValuePair | None) -> bool:
    """Whether `compare` is true of what is stored.

    Raises:     InvalidError   the operand is not of the target's type
    """
    operand = compare.operand
    if compare.target is CompareTarget.VALUE:
        if not isinstance(operand, bytes):
            raise InvalidError(f"compare: a value is compared with bytes, not {operand!r}")
        return found is not None and _relates(compare.relation, found.value, operand)
    if isinstance(operand, bytes):
        raise InvalidError(f"compare: {compare.target.value} is compared with an integer")
    if found is None:
        return _relates(compare.relation, 0, operand)
    if compare.target is CompareTarget.CREATE_REVISION:
        return _relates(compare.relation, found.create_revision, operand)
    return _relates(compare.relation, found.mod_revision, operand)


def _relates(relation: Relation, found: _Ordered, operand: _Ordered) -> bool:
    if relation is Relation.EQUAL:
        return found == operand
    if relation is Relation.NOT_EQUAL:
        return found != operand
    if relation is Relation.LESS:
        return found < operand
    return found > operand


def check_txn(
    compares: Sequence[Compare],
    success: Sequence[Operation],
    failure: Sequence[Operation],
) -> None:
    """The limits of a transaction; whichever list will run, both must keep them.

    Raises:     InvalidError        too many operations, an empty key, one key written twice
                KeyTooBigError      a key over KEY_SIZE_MAX
                RecordTooBigError   a value over VALUE_SIZE_MAX, a list over TXN_SIZE_MAX
    """
    for what, count in (
        ("compares", len(compares)),
        ("operations on success", len(success)),
        ("operations on failure", len(failure)),
    ):
        if count > OPERATIONS_MAX:
            raise InvalidError(f"transaction: {count} {what}, at most {OPERATIONS_MAX}")
    for compare in compares:
        check_key(compare.key)
        holds(compare, None)
    for operations in (success, failure):
        _check_operations(operations)


def _check_operations(operations: Sequence[Operation]) -> None:
    nbytes = 0
    put: set[bytes] = set()
    deleted: list[Delete] = []
    for operation in operations:
        if isinstance(operation, Put):
            check_key(operation.key)
            if len(operation.value) > VALUE_SIZE_MAX:
                raise RecordTooBigError(
                    f"value of {operation.key[:64]!r}: {len(operation.value)} bytes, "
                    f"at most {VALUE_SIZE_MAX}"
                )
            if operation.key in put:
                raise InvalidError(f"transaction: {operation.key[:64]!r} is put twice")
            put.add(operation.key)
            nbytes += len(operation.key) + len(operation.value)
        else:
            check_range(operation.lo, operation.hi)
            if isinstance(operation, Delete):
                deleted.append(operation)
            elif operation.limit < 0:
                raise InvalidError(f"range: limit {operation.limit} is negative")
    if nbytes > TXN_SIZE_MAX:
        raise RecordTooBigError(f"transaction: {nbytes} bytes, at most {TXN_SIZE_MAX}")
    for delete in deleted:
        if any(covers(delete.lo, delete.hi, key) for key in put):
            raise InvalidError(f"transaction: a key from {delete.lo[:64]!r} is put and deleted")


def check_key(key: bytes) -> None:
    """Raises: InvalidError (empty), KeyTooBigError"""
    if not key:
        raise InvalidError("a key must not be empty")
    if len(key) > KEY_SIZE_MAX:
        raise KeyTooBigError(f"key {key[:64]!r}…: {len(key)} bytes, at most {KEY_SIZE_MAX}")


def check_range(lo: bytes, hi: bytes | None) -> None:
    """Raises: InvalidError (an empty single key), KeyTooBigError"""
    if hi is None:
        check_key(lo)
    for bound in (lo, hi or b""):
        if len(bound) > KEY_SIZE_MAX:
            raise KeyTooBigError(f"range bound of {len(bound)} bytes, at most {KEY_SIZE_MAX}")
