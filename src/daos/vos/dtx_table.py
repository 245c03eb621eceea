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

The table is read from the tree in steps, `load`, before anybody looks for an id: until then `find`
refuses all of them, and nothing is put.

A record that is damaged may be that of any id drawn before the next record that is whole: of these
the ones that are known are found as ever, and the others are refused, as nobody can tell. It never
means that something was not executed.

What is remembered is bounded: `trim` removes the oldest records, in steps. The floor is the epoch
of the newest one that was removed. An id that is unknown, and was drawn at or below the floor, may
have been executed: it is refused, and the client has to say that it does not know. Ids drawn above
it were never removed, since a target's clock is past the stamp of every id that reaches it.

Invariants:
    X1  once loaded, an id is in the table exactly if its record is in the tree, and whole
    X2  records leave oldest first, none before it is AGE_MIN old
    X3  the floor in the tree is not below the epoch of any record that was removed
    X4  an id that is not in the table, and may be that of a damaged record, is refused
Source: DAOS src/vos/vos_dtx.c vos_dtx_check, vos_dtx_aggregate; bounds: ours, memory of Python.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

from daos.base.errors import DER, AgainError, CorruptError, DaosError, InvalidError
from daos.base.hlc import UNITS_PER_NS
from daos.base.ids import DTX_ID_SIZE, EPOCH_MAX, DtxId, Epoch, dtx_stamp
from daos.bio.meta import MetaContext, Tx
from daos.vos import keys
from daos.vos.dtx_record import (
    dtx_key,
    emit_floor,
    emit_pair,
    floor_key,
    is_sealed,
    parse_dtx,
    parse_floor,
)

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
# Records that one step of `load` reads, 2.5 µs each.
_LOAD_CREDITS: Final = 512

# What one record may take of the tree and the log.
DTX_BYTES: Final = 128


class DtxTable:
    """The executed modifications of one container on one target."""

    __slots__ = (
        "_damaged",
        "_doubt",
        "_epochs",
        "_hurt",
        "_node_id",
        "_order",
        "_seek",
        "_superseded",
        "floor",
    )

    def __init__(self, node_id: int) -> None:
        self._node_id = node_id
        # Plain types: a NewType is a call, and this is done for every modification.
        self._epochs: dict[bytes, int] = {}
        self._order: deque[bytes] = deque()  # by epoch
        self._superseded: dict[bytes, int] = {}  # copies that left before the one that failed
        self.floor = Epoch(0)
        # Ids drawn up to here are refused if they are not known: not below the floor.
        self._doubt: int = EPOCH_MAX
        self._seek = floor_key(node_id)  # where `load` goes on; empty once it is done
        self._hurt: list[bytes] = []  # damaged records behind the last whole one
        # Damaged records, with an epoch that theirs was not above.
        self._damaged: deque[tuple[int, bytes]] = deque()

    def load(self, meta: MetaContext, *, credits: int = _LOAD_CREDITS) -> bool:
        """Read up to `credits` records of the tree; whether to come again.

        Raises:     CorruptError   a record that is whole, but not of this version; or keys that
                                   are out of order, so that nobody can tell which records there are
        Cost:       2.5 µs a record
        """
        if not self._seek:
            return False
        prefix = floor_key(self._node_id)
        cursor = meta.cursor()
        more = cursor.set_range(self._seek)
        while more:
            key, value = cursor.item()
            if not key.startswith(prefix):
                break
            if credits <= 0:
                self._seek = key
                return True
            credits -= 1
            if not is_sealed(key, value):
                self._hurt.append(key)
            elif key == prefix:
                self.floor = parse_floor(key, value)
            else:
                epoch, dtx = parse_dtx(key, value)
                self._epochs[dtx] = epoch
                self._order.append(dtx)
                if self._hurt:
                    self._settle(epoch)
            more = cursor.next()
        end = cursor.key() if more else b""
        found = cursor.set_range(keys.node_prefix(self._node_id, keys.DTX + 1))
        behind = cursor.key() if found else b""
        if end != behind:
            raise CorruptError("dtx records out of order", offset=0, want=behind, got=end)
        self._settle(meta.epoch_highest)
        self._seek = b""
        damaged = self._damaged[-1][0] if self._damaged else 0
        self._doubt = max(self.floor, damaged)
        return False

    def _settle(self, epoch: int) -> None:
        """The records that were damaged since the last whole one are not newer than `epoch`."""
        self._damaged.extend((epoch, key) for key in self._hurt)
        self._hurt.clear()

    @property
    def loaded(self) -> bool:
        """Whether ids can be looked for."""
        return not self._seek

    @property
    def damaged(self) -> int:
        """Records that nobody can read."""
        return len(self._damaged)

    def __len__(self) -> int:
        return len(self._order)

    def find(self, dtx: bytes, resend: int = 0) -> Epoch | None:
        """When it was executed, None if it was not. `resend`: copies that left before this one.

        Raises: InvalidError           no id
                DaosError DER_OP_CANCELED   a later copy has failed: nobody waits for this one
                DaosError DER_EP_OLD   not known, and too old to be sure that it was not executed
                AgainError      not loaded yet
        """
        epoch = self._epochs.get(dtx)
        if epoch is None:
            if len(dtx) != DTX_ID_SIZE:
                raise InvalidError(f"a dtx id has {DTX_ID_SIZE} bytes, not {len(dtx)}")
            if self._doubt and dtx_stamp(dtx) <= self._doubt:
                raise self._unknown(dtx)
            if self._superseded and resend <= self._superseded.get(dtx, -1):
                raise DaosError("a later copy of this request has failed", code=DER.OP_CANCELED)
        return None if epoch is None else Epoch(epoch)

    def _unknown(self, dtx: bytes) -> DaosError:
        """Why nobody can tell whether an unknown id was executed."""
        if self._seek:
            return AgainError("the outcomes of earlier requests are being read")
        if dtx_stamp(dtx) <= self.floor:
            what = f"the outcomes of requests from before epoch {self.floor} are forgotten"
        else:
            what = f"the record of the outcome of a request from before {self._doubt} is damaged"
        return DaosError(what, code=DER.EP_OLD)

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
        hurt = [key for bound, key in islice(self._damaged, credits) if bound <= epoch]
        for each in hurt:
            if each != key:
                tx.delete(each)
        tx.commit()
        for _ in range(gone):
            del self._epochs[order.popleft()]
        for _ in hurt:
            self._damaged.popleft()
        self.floor = Epoch(epoch)
        self._doubt = max(self._doubt, epoch)
        return self._oldest_may_go(now)

    def _oldest_may_go(self, now: Epoch) -> bool:
        count = len(self._order)
        return count > COUNT_LOW and self._may_go(count, self._epochs[self._order[0]], now)

    @staticmethod
    def _may_go(count: int, epoch: int, now: Epoch) -> bool:
        age = now - epoch
        return (count > COUNT_MAX and age > AGE_MIN) or (count > COUNT_LOW and age > AGE_MAX)
