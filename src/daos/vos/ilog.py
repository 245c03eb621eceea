"""Incarnation log: when one object, dkey or akey was created and punched. The raw layer, pure.

A log is a value: every change returns a new `Ilog`, and `self` when nothing changed, so that
`new is old` means that there is nothing to write. It stands inside a node record, which carries
the checksum. All integers little-endian, no padding:

     0  u8   version     of this layout, 1
     1  u8   flags       1 = CORRUPTED; unknown bits are refused
     2  u16  count       entries, at most 4095
     4  u32  revision    changes so far, mod 2**32
     8       entries, 16 bytes each, by ascending epoch:
             0  u64  epoch          never 0
             8  u32  tx             id of the transaction, 0 = committed
            12  u16  punch_minor    0 = nothing was punched here
            14  u16  update_minor   0 = nothing was created here

An entry says what happened at one epoch. It *is* a punch when punch_minor > update_minor, a
create otherwise; it *has* a punch when punch_minor > 0: a create that has one makes a new
incarnation and hides whatever came before it.

    empty --update--> create --punch--> punch --update--> create ...
    an update that finds the entity created logs nothing; a punch is always logged

Invariants, checked by `parse` and kept by every change:
    I1  epochs are strictly ascending: a second transaction at the epoch of an entry is refused
    I2  the two minors of an entry differ, so that it is a punch or a create and never both
    I3  the revision grows with every change and with nothing else

Whether an entry of a transaction counts is not known here: callers pass `status`, which answers
for one entry. Without it a transaction that has an id is UNCOMMITTED.

Worked example: docs/format/ilog.md. Interpretation at an epoch: ilog_view.py.
Source: DAOS src/vos/ilog.c. Ours: values instead of changes in place; one array, never embedded.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from daos.base.errors import (
    DER,
    AccessError,
    CorruptError,
    DaosError,
    InvalidError,
    NotFoundError,
    TxRestartError,
)

if TYPE_CHECKING:
    from daos.base.ids import Epoch

VERSION: Final = 1
CORRUPTED: Final = 1
MINOR_MAX: Final = 16383
# What a node record can hold beside a log: 8 + 16 * 4095 < 2**16.
ENTRIES_MAX: Final = 4095

_FLAGS_KNOWN: Final = CORRUPTED
_U32_MASK: Final = (1 << 32) - 1
_U64_MAX: Final = (1 << 64) - 1
_U16_MAX: Final = (1 << 16) - 1

_HEAD: Final = struct.Struct("<BBHI")
_ENTRY: Final = struct.Struct("<QIHH")
_ONE: Final = struct.Struct("<BBHIQIHH")
HEAD_SIZE: Final = 8
ENTRY_SIZE: Final = 16
assert _HEAD.size == HEAD_SIZE
assert _ENTRY.size == ENTRY_SIZE
assert _ONE.size == HEAD_SIZE + ENTRY_SIZE


class Punch(NamedTuple):
    """Where a punch stands: it hides whatever is not above it in (epoch, minor) order."""

    epoch: int
    minor: int


NO_PUNCH: Final = Punch(0, 0)


class Status(Enum):
    """What an entry counts for the caller."""

    COMMITTED = "committed"
    UNCOMMITTED = "uncommitted"  # may yet come or go; the caller does not wait for it
    IN_PROGRESS = "in progress"  # the caller has to wait for it
    REMOVED = "removed"  # aborted, not yet erased


class IlogEntry(NamedTuple):
    """What happened at one epoch."""

    epoch: int
    tx: int
    punch_minor: int
    update_minor: int

    @property
    def is_punch(self) -> bool:
        return self.punch_minor > self.update_minor

    @property
    def has_punch(self) -> bool:
        return self.punch_minor > 0

    def punched_by(self, punch: Punch) -> bool:
        """Whether nothing of this entry is left under `punch`."""
        return (self.epoch, max(self[2:])) <= punch


StatusOf = Callable[[IlogEntry], Status]


def committed_unless_tx(entry: IlogEntry) -> Status:
    """The status where nobody knows the transactions: with an id, it is not committed."""
    return Status.UNCOMMITTED if entry.tx else Status.COMMITTED


class Ilog(NamedTuple):
    """One incarnation log. What `parse` accepts, `emit` gives back bit for bit."""

    entries: tuple[IlogEntry, ...] = ()
    revision: int = 0
    flags: int = 0

    def emit(self) -> bytes:
        entries = self.entries
        if len(entries) == 1:  # nearly always: 0.3 µs instead of 1.6
            return _ONE.pack(VERSION, self.flags, 1, self.revision, *entries[0])
        return b"".join(
            (
                _HEAD.pack(VERSION, self.flags, len(entries), self.revision),
                *(_ENTRY.pack(*entry) for entry in entries),
            )
        )

    @classmethod
    def parse(cls, buffer: bytes) -> Ilog:
        """Read a log that fills `buffer`. Raises: CorruptError if it is not one of this version."""
        size = len(buffer)
        if size < HEAD_SIZE:
            raise CorruptError("ilog size", offset=0, want=HEAD_SIZE, got=size)
        version, flags, count, revision = _HEAD.unpack_from(buffer)
        if version != VERSION:
            raise CorruptError("ilog version", offset=0, want=VERSION, got=version)
        if flags & ~_FLAGS_KNOWN:
            raise CorruptError("ilog flags", offset=1, want=flags & _FLAGS_KNOWN, got=flags)
        if count > ENTRIES_MAX:
            raise CorruptError("ilog count", offset=2, want=ENTRIES_MAX, got=count)
        if size != HEAD_SIZE + count * ENTRY_SIZE:
            raise CorruptError("ilog size", offset=2, want=HEAD_SIZE + count * ENTRY_SIZE, got=size)
        entries = tuple(map(IlogEntry._make, _ENTRY.iter_unpack(buffer[HEAD_SIZE:])))
        newest = 0
        for index, (epoch, _, punch_minor, update_minor) in enumerate(entries):
            offset = HEAD_SIZE + index * ENTRY_SIZE
            if epoch <= newest:
                raise CorruptError("ilog epoch", offset=offset, want=newest + 1, got=epoch)
            if punch_minor == update_minor:
                raise CorruptError(
                    "ilog minors", offset=offset + 12, want="unequal", got=punch_minor
                )
            newest = epoch
        return cls(entries, revision, flags)

    def update(
        self,
        epoch: Epoch | int,
        minor: int,
        *,
        punch: bool,
        tx: int = 0,
        lo_epoch: int = 0,
        lo_minor: int = 0,
        status: StatusOf = committed_unless_tx,
    ) -> Ilog:
        """Log a create, or a punch, at (`epoch`, `minor`); `self` when the log says so already.

        tx 0 is a caller without a transaction: it counts as the same transaction as whoever
        wrote at its epoch, and only minors decide. A create is dropped where the newest entry
        before it is a committed create at or above (lo_epoch, lo_minor): below, that is where
        the parent was punched in between, it no longer counts.

        Raises:     TxRestartError   another transaction wrote at this epoch: undecided, or it did
                                     the opposite
                    DaosError        ALREADY: another, committed transaction did the same here
                    AccessError      create and punch at one (epoch, minor)
                    InvalidError     minor 0, or a number that the format cannot hold
                    DaosError        OVERFLOW: the log is full, aggregate first
        Cost:       O(entries)
        Source:     DAOS src/vos/ilog.c ilog_update, ilog_modify
        """
        if not (0 < epoch <= _U64_MAX and 0 < minor <= _U16_MAX and 0 <= tx <= _U32_MASK):
            raise InvalidError(f"ilog: no entry can hold epoch {epoch} minor {minor} tx {tx}")
        entry = IlogEntry(epoch, tx, minor if punch else 0, 0 if punch else minor)
        index = bisect_right(self.entries, epoch, key=_epoch_of)
        if index:
            before = self.entries[index - 1]
            if before.epoch == epoch:
                return self._merge(index - 1, entry, status)
            if (
                not punch
                and not before.is_punch
                and (before.epoch, before.update_minor) >= (lo_epoch, lo_minor)
                and status(before) is Status.COMMITTED
            ):
                return self
        if len(self.entries) >= ENTRIES_MAX:
            raise DaosError(f"ilog: full, it has {ENTRIES_MAX} entries", code=DER.OVERFLOW)
        return self._with((*self.entries[:index], entry, *self.entries[index:]))

    def persist(self, epoch: Epoch | int, tx: int) -> Ilog:
        """The transaction of the entry committed. Raises: NotFoundError if it has no entry here."""
        index = self._index(epoch, tx)
        if not self.entries[index].tx:
            return self
        return self._replace_entry(index, self.entries[index]._replace(tx=0))

    def abort(self, epoch: Epoch | int, tx: int) -> Ilog:
        """The transaction of the entry aborted. Raises: NotFoundError if it has no entry here."""
        index = self._index(epoch, tx)
        return self._with(self.entries[:index] + self.entries[index + 1 :])

    def set_flags(self, flags: int, epoch: Epoch | int) -> Ilog:
        """Raise `flags`; an empty log gets a create at `epoch`, for something to hang them on.

        Raises:     DaosError   ALREADY: nothing to raise
        Source:     DAOS src/vos/ilog.c ilog_set_flags (bit 0: ILOG_FLAG_CORRUPTED)
        """
        if flags & ~_FLAGS_KNOWN:
            raise InvalidError(f"ilog: unknown flags {flags & ~_FLAGS_KNOWN:#x}")
        if not flags & ~self.flags:
            raise DaosError(f"ilog: flags {flags:#x} are set", code=DER.ALREADY)
        log = self if self.entries else self.update(epoch, _U16_MAX, punch=False)
        return Ilog(log.entries, _next(self.revision), self.flags | flags)

    def fetch(
        self, status: StatusOf = committed_unless_tx, *, retry: bool = True
    ) -> list[tuple[IlogEntry, Status]]:
        """Every entry with what it counts, oldest first. Raises: NotFoundError if the log is empty.

        Without `retry` an entry that the caller would have to wait for is UNCOMMITTED: that is
        what an unconditional update or punch asks for.
        """
        if not self.entries:
            raise NotFoundError("ilog: empty")
        found = [(entry, status(entry)) for entry in self.entries]
        if retry:
            return found
        return [
            (entry, Status.UNCOMMITTED if state is Status.IN_PROGRESS else state)
            for entry, state in found
        ]

    def holds(self, epoch: Epoch | int, tx: int) -> bool:
        """Whether transaction `tx` has its entry here. Source: DAOS ilog.c ilog_is_valid"""
        return any(entry.epoch == epoch and entry.tx == tx for entry in self.entries)

    def aggregate(
        self,
        lo: int,
        hi: int,
        *,
        parent_punch: Punch = NO_PUNCH,
        status: StatusOf = committed_unless_tx,
    ) -> Ilog:
        """Forget what nobody who reads at `hi` or above, or below `lo`, can tell apart.

        The range is [lo, hi], both ends included, as epochs are everywhere. Values that the
        forgotten punches hide must have been removed before. An empty result: drop the entity.

        Raises:     DaosError   TX_BUSY: an entry up to `hi` is not decided; nothing changed
        Source:     DAOS src/vos/ilog.c ilog_aggregate, check_agg_entry. Ours: a create that has
                    a punch replaces an older create in range and outlives one below it; there it
                    would be redundant, and what the punch hides would show again.
        """
        kept: list[IlogEntry] = []
        aside: list[IlogEntry] = []
        for entry in self.entries:
            if entry.epoch > hi:
                aside.append(entry)
                continue
            state = status(entry)
            if state is Status.REMOVED:
                if entry.epoch < lo:
                    aside.append(entry)
            elif state is not Status.COMMITTED:
                raise DaosError(f"ilog: entry at {entry.epoch} is undecided", code=DER.TX_BUSY)
            elif entry.epoch < lo:
                kept.append(entry)
            elif not entry.punched_by(parent_punch):
                _aggregate_entry(kept, entry, lo, parent_punch)
        return self._with(tuple(sorted(kept + aside)))

    def discard(
        self,
        lo: int,
        hi: int,
        *,
        only_undecided: bool = False,
        status: StatusOf = committed_unless_tx,
    ) -> Ilog:
        """Without the entries of [lo, hi], or without those of them that are not committed.

        Source:     DAOS src/vos/ilog.c ilog_aggregate with discard, and with inprogress
        """
        return self._with(
            tuple(
                entry
                for entry in self.entries
                if not lo <= entry.epoch <= hi
                or (only_undecided and status(entry) is Status.COMMITTED)
            )
        )

    def _merge(self, index: int, new: IlogEntry, status: StatusOf) -> Ilog:
        old = self.entries[index]
        if new.tx not in (0, old.tx):
            if status(old) is not Status.COMMITTED:
                raise TxRestartError(f"ilog: epoch {old.epoch} has an undecided entry")
            if old.is_punch is not new.is_punch:
                raise TxRestartError(f"ilog: epoch {old.epoch} has the opposite entry")
            raise DaosError(f"ilog: epoch {old.epoch} has this entry", code=DER.ALREADY)
        if old.is_punch is new.is_punch:
            return self
        merged = old._replace(
            punch_minor=max(old.punch_minor, new.punch_minor),
            update_minor=max(old.update_minor, new.update_minor),
        )
        if merged.punch_minor == merged.update_minor:
            raise AccessError(
                f"ilog: create and punch at epoch {old.epoch} minor {merged.punch_minor}"
            )
        return self if merged == old else self._replace_entry(index, merged)

    def _index(self, epoch: int, tx: int) -> int:
        for index, entry in enumerate(self.entries):
            if entry.epoch == epoch and entry.tx == tx:
                return index
        raise NotFoundError(f"ilog: transaction {tx} has no entry at epoch {epoch}")

    def _replace_entry(self, index: int, entry: IlogEntry) -> Ilog:
        return self._with((*self.entries[:index], entry, *self.entries[index + 1 :]))

    def _with(self, entries: tuple[IlogEntry, ...]) -> Ilog:
        if entries == self.entries:
            return self
        return Ilog(entries, _next(self.revision), self.flags)


EMPTY: Final = Ilog()


def created_at(raw: bytes, epoch: Epoch | int) -> int:
    """The fast path: epoch of the create, if one committed create is all the log says, else 0.

    Not 0 means, for a reader and for an update at `epoch` alike: the entity exists since then,
    nothing is to be logged, the last punch is the parent's, and nothing is newer than `epoch`.
    The caller compares it with the parent's punch; where it is not above it, take the long way.

    Cost:       0.2 to 0.3 µs, against 3 µs for `parse` and `view`; measured on CPython 3.11
    """
    if len(raw) != 24:
        return 0
    version, flags, _, _, created, tx, punch_minor, _ = _ONE.unpack(raw)
    if version != VERSION or flags or tx or punch_minor or created > epoch:
        return 0
    return int(created)


def emit_created(epoch: Epoch | int, minor: int) -> bytes:
    """The bytes of `EMPTY.update(epoch, minor, punch=False)`: an entity that did not exist does.

    Cost:       0.2 µs, against 5 µs for a view of nothing, its update and `emit`
    """
    return _ONE.pack(VERSION, 0, 1, 1, epoch, 0, 0, minor)


def _aggregate_entry(kept: list[IlogEntry], entry: IlogEntry, lo: int, parent: Punch) -> None:
    """Add one committed entry in range to those kept so far, or let the two of them cancel out."""
    before = kept[-1] if kept else None
    before_is_punch = before is not None and (before.is_punch or before.punched_by(parent))
    if before is None or before_is_punch:
        if not entry.is_punch:
            kept.append(entry)
        return
    if entry.is_punch:
        if before.epoch < lo:
            kept.append(entry)  # what it hides is out of range, and still there
            return
        kept.pop()
        # The create may itself have hidden one below the range: that stays hidden.
        _aggregate_entry(kept, entry, lo, parent)
    elif entry.has_punch:
        if before.epoch >= lo:
            kept.pop()
        kept.append(entry)


def _epoch_of(entry: IlogEntry) -> int:
    return entry.epoch


def _next(revision: int) -> int:
    return (revision + 1) & _U32_MASK
