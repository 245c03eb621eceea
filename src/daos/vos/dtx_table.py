"""Which modifications a container has executed, so that none is executed twice.

A modification comes with an id that its client gives once, however often it is sent. The record of
the id is put by the transaction that makes the change: they are durable together, or neither is.
Whoever comes with an id that is known gets the epoch of the first time.

    find(id)    the epoch at which it was executed; None: not yet, so execute it now
    put         one record into the transaction of the change
    executed    the transaction is committed: known from here on

A change that failed put nothing, and changed nothing: it is executed again, against the state of
then. As its first answer reached nobody, the second one is as good.

That holds as long as no copy is left that may come yet. A connection that was given up may still
deliver: so of a request that was sent again, and then failed, `superseded` remembers how many
copies had left before, and none of them is executed any more. In memory: connections do not outlive
the target.

What is remembered is bounded: `trim` removes the oldest records, in steps. The floor is the epoch
of the newest one that was removed. An id that is unknown, and was drawn at or below the floor, may
have been executed: it is refused, and the client has to say that it does not know. Ids drawn above
it were never removed, since a target's clock is past the stamp of every id that reaches it.

Invariants:
    X1  an id is in the table exactly if its record is in the tree
    X2  records leave oldest first, none before it is AGE_MIN old
    X3  the floor in the tree is not below the epoch of any record that was removed
Source: DAOS src/vos/vos_dtx.c vos_dtx_check, vos_dtx_aggregate; bounds: ours, memory of Python.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from daos.base.errors import DER, DaosError, InvalidError
from daos.base.hlc import UNITS_PER_NS
from daos.base.ids import DTX_ID_SIZE, DtxId, Epoch, dtx_stamp
from daos.bio.meta import MetaContext, Tx
from daos.vos.dtx_record import dtx_key, emit_floor, emit_pair, floor_key, parse_dtx, parse_floor

# About 150 bytes each in memory, 60 in the tree.
COUNT_MAX: Final = 1 << 17
# Records that may stay however old they are.
COUNT_LOW: Final = 1 << 12
_NS_PER_S: Final = 1_000_000_000
AGE_MIN: Final = 3 * _NS_PER_S * UNITS_PER_NS  # Source: DAOS, never younger than 3 s
AGE_MAX: Final = 630 * _NS_PER_S * UNITS_PER_NS  # Source: DAOS DTX_AGG_AGE_PRESERVE
# Failed requests whose earlier copies may come yet; each is from a connection that broke.
SUPERSEDED_MAX: Final = 1 << 12
# How often it is asked whether something has to go, in records.
_EVERY: Final = 256

# What one record may take of the tree and the log.
DTX_BYTES: Final = 128


class DtxTable:
    """The executed modifications of one container on one target."""

    __slots__ = ("_epochs", "_node_id", "_order", "_superseded", "floor")

    def __init__(self, meta: MetaContext, node_id: int) -> None:
        """Read what the tree has, in one turn of the loop.

        Raises:     CorruptError
        Cost:       2.5 µs a record: 0.3 s for as many as there may be
        """
        self._node_id = node_id
        # Plain types: a NewType is a call, and this is done for every modification.
        self._epochs: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()  # by epoch
        self._superseded: dict[bytes, int] = {}  # copies that left before the one that failed
        self.floor = Epoch(0)
        prefix = floor_key(node_id)
        cursor = meta.cursor()
        more = cursor.set_range(prefix)
        while more:
            key, value = cursor.item()
            if not key.startswith(prefix):
                break
            if key == prefix:
                self.floor = parse_floor(key, value)
            else:
                epoch, dtx = parse_dtx(key, value)
                self._epochs[dtx] = epoch
                self._order.append(dtx)
            more = cursor.next()

    def __len__(self) -> int:
        return len(self._order)

    def find(self, dtx: bytes, resend: int = 0) -> Epoch | None:
        """When it was executed, None if it was not. `resend`: copies that left before this one.

        Raises: InvalidError           no id
                DaosError DER_OP_CANCELED   a later copy has failed: nobody waits for this one
                DaosError DER_EP_OLD   not known, and too old to be sure that it was not executed
        """
        epoch = self._epochs.get(dtx)
        if epoch is None:
            if len(dtx) != DTX_ID_SIZE:
                raise InvalidError(f"a dtx id has {DTX_ID_SIZE} bytes, not {len(dtx)}")
            if self.floor and dtx_stamp(dtx) <= self.floor:
                raise DaosError(
                    f"the outcomes of requests from before epoch {self.floor} are forgotten",
                    code=DER.EP_OLD,
                )
            if self._superseded and resend <= self._superseded.get(dtx, -1):
                raise DaosError("a later copy of this request has failed", code=DER.OP_CANCELED)
        return None if epoch is None else Epoch(epoch)

    def put(self, tx: Tx, dtx: bytes, epoch: Epoch | int) -> None:
        """The record, into the transaction of the change."""
        tx.put(*emit_pair(self._node_id, epoch, dtx))

    def executed(self, dtx: bytes, epoch: Epoch | int) -> None:
        """The transaction with the record is committed."""
        self._epochs[dtx] = epoch
        self._order.append(dtx)

    def failed(self, dtx: bytes, resend: int) -> None:
        """A copy, `resend` others left before it, failed: the others must not be executed."""
        if resend > 0 and len(dtx) == DTX_ID_SIZE:  # what is no id is refused each time
            if len(self._superseded) >= SUPERSEDED_MAX:
                del self._superseded[next(iter(self._superseded))]
            self._superseded[dtx] = max(resend, self._superseded.get(dtx, 0))

    def due(self, now: Epoch) -> bool:
        """Whether `trim` has something to do; says no between multiples of 256 records."""
        count = len(self._order)
        return not count % _EVERY and count > COUNT_LOW and self._oldest_may_go(now)

    def trim(self, meta: MetaContext, now: Epoch, *, credits: int = _EVERY) -> bool:
        """Remove up to `credits` records that are too many or too old; whether there are more.

        Raises: AgainError (the log is full), NvmeIoError; nothing was removed then
        """
        tx = meta.begin()
        key = floor_key(self._node_id)
        order, gone = self._order, 0
        for dtx in order:
            if gone == credits or not self._may_go(len(order) - gone, self._epochs[dtx], now):
                break
            epoch = self._epochs[dtx]
            tx.delete(dtx_key(self._node_id, epoch, DtxId(dtx)))
            gone += 1
        if not gone:
            return False
        tx.put(key, emit_floor(key, epoch))
        tx.commit()
        for _ in range(gone):
            del self._epochs[order.popleft()]
        self.floor = Epoch(epoch)
        return self._oldest_may_go(now)

    def _oldest_may_go(self, now: Epoch) -> bool:
        count = len(self._order)
        return count > COUNT_LOW and self._may_go(count, self._epochs[self._order[0]], now)

    @staticmethod
    def _may_go(count: int, epoch: int, now: Epoch) -> bool:
        age = now - epoch
        return (count > COUNT_MAX and age > AGE_MIN) or (count > COUNT_LOW and age > AGE_MAX)
