"""Who read and who wrote what at which epoch, so that no write changes what was read. Pure.

A read is repeatable: when an operation at epoch E was told what an entity holds, nothing may be
written there at or below E any more. And nobody may punch below a write that relies on what the
punch would hide. Neither can be seen in the tree; both are remembered here, for one container.

An entity is named by the hashes on its path, existing or not; its level is the length:

    ()   container      (o,)   object      (o, d)   dkey      (o, d, a, ...)   akeys of a dkey

    at each entity   rl   newest read of the entity as a whole: of what is in it, or whether it is
                     rh   newest read of it or of anything below it; rh >= rl
                     w    the two newest epochs of writes to it or to anything below it

    read  at (E, reader)    rh at every level above, rl and rh at the read's own
    check of a write at E   against rl at every level above, rh at the write's own:
                            conflict if E < ts, or E = ts and it was read by somebody else
    write at E              w at its level and above

    later_write(E, B)       may something in (E, B] have been written? Yes if a write lies there, or
                            if E is below both epochs remembered: the history is too short

Writers without a transaction, nearly all, only append to a list; it is taken into the entries when
somebody asks for writes, and what falls out of it counts as written everywhere.

Memory is bounded: each level keeps the entries used last (32,768 objects and dkeys, 65,536 akeys,
about 0.3 KiB each). What falls out is merged into one of 4,096 slots by its hash, and an entity
without an entry begins with what its slot holds: the answer is never "no conflict" where there was
one, and sometimes the other way round. Nothing is stored: reads of earlier runs and of snapshots
are covered by the container's modification bound, at or below which nothing is written.

Source: DAOS src/vos/vos_ts.h, vos_ts.c; internals §3 of the reference. Ours: entries of what
does not exist are no other than those of what does, so that nothing is upgraded when it is created.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

import msgspec

from daos.base.errors import TxRestartError
from daos.base.ids import EPOCH_MAX

# Entries of objects, dkeys, akeys. The reference keeps 32 K, 128 K and 512 K a target, each a third
# of the size; its own test of false conflicts (VOS861) needs 18,201 objects with two akeys each.
ENTRIES_MAX: Final = (1 << 15, 1 << 15, 1 << 16)
_SLOT_MASK: Final = (1 << 12) - 1
# Writes nobody has asked for yet: 1,024 of them are taken into entries in 4 ms.
_RECENT_MAX: Final = 1 << 10

Path = tuple[int, ...]
# A transaction's id; None for all who have none.
Who = bytes | None


class Operation(NamedTuple):
    """On whose behalf an operation is executed, where that is a transaction.

    bound: the last epoch that may have been given to an event before the operation began (clocks
    differ, `Hlc.bound`); at or below the operation's epoch, there is no doubt.
    """

    id: bytes
    bound: int = 0


class _Entry(msgspec.Struct, eq=False, gc=False):
    """Timestamps of an entity. A reader: None if it had no id, `_SEVERAL` at one epoch."""

    rl: int = 0
    rh: int = 0
    w1: int = 0
    w2: int = 0
    rl_by: bytes | None = None
    rh_by: bytes | None = None

    def read_low(self, epoch: int, who: Who) -> None:
        if epoch > self.rl:
            self.rl, self.rl_by = epoch, who
        elif epoch == self.rl and who != self.rl_by:
            self.rl_by = _SEVERAL

    def read_high(self, epoch: int, who: Who) -> None:
        if epoch > self.rh:
            self.rh, self.rh_by = epoch, who
        elif epoch == self.rh and who != self.rh_by:
            self.rh_by = _SEVERAL

    def wrote(self, epoch: int) -> None:
        if epoch > self.w1:
            self.w1, self.w2 = epoch, self.w1
        elif self.w2 < epoch < self.w1:
            self.w2 = epoch

    def merge(self, other: _Entry) -> None:
        self.read_low(other.rl, other.rl_by)
        self.read_high(other.rh, other.rh_by)
        self.wrote(other.w2)
        self.wrote(other.w1)


_SEVERAL: Final = b""  # no id of a transaction


class _Table:
    """The entries of one level: those used last, and slots that the others were merged into."""

    __slots__ = ("_entries", "_size", "_slots")

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._slots: dict[int, _Entry] = {}

    def find(self, key: int) -> _Entry | None:
        """What is known of an entity, without making a place for it."""
        return self._entries.get(key) or self._slots.get(key & _SLOT_MASK)

    def entry(self, key: int) -> _Entry:
        """The entity's own entry, used now; the one used longest ago may have to go."""
        entries = self._entries
        entry = entries.get(key)
        if entry is not None:
            entries.move_to_end(key)
            return entry
        if len(entries) >= self._size:
            old_key, old = entries.popitem(last=False)
            slot = self._slots.setdefault(old_key & _SLOT_MASK, old)
            if slot is not old:
                slot.merge(old)
        entry = entries[key] = _Entry()
        slot_or_none = self._slots.get(key & _SLOT_MASK)
        if slot_or_none is not None:
            entry.merge(slot_or_none)
        return entry

    def __len__(self) -> int:
        return len(self._entries)


class Timestamps:
    """Of one container. `newest_read` and `newest_write` tell those who come in order, nearly all,
    that there is nothing to ask for.

    Cost:       a write of one value 0.2 us; a check in order one comparison of the caller's;
                a read, or a check out of order, 1 us a level
    """

    __slots__ = ("_container", "_forgotten", "_recent", "_tables", "newest_read", "newest_write")

    def __init__(self, floor: int, entries_max: tuple[int, int, int] = ENTRIES_MAX) -> None:
        self.newest_read = 0
        self.newest_write = floor
        # Everything counts as written here.
        self._forgotten = floor
        self._recent: list[Path] = []
        self._container = _Entry()
        self._tables = [_Table(size) for size in entries_max]

    def wrote(self, write: Path) -> None:
        """(epoch, *path): a write is in the tree."""
        epoch = write[0]
        if epoch > self.newest_write:
            self.newest_write = epoch
        recent = self._recent
        recent.append(write)
        if len(recent) >= _RECENT_MAX:
            dropped = recent[: _RECENT_MAX // 2]
            del recent[: _RECENT_MAX // 2]
            self._forgotten = max(self._forgotten, max([write[0] for write in dropped]))

    def read(self, path: Path, epoch: int, who: Who) -> None:
        """What stands at `path` was told to somebody, as seen at `epoch`."""
        if epoch > self.newest_read:
            self.newest_read = epoch
        own = self._level_of(path)
        for level, entry in self._entries(path):
            entry.read_high(epoch, who)
            if level == own:
                entry.read_low(epoch, who)

    def check(self, path: Path, epoch: int, who: Who) -> None:
        """Refuse a write that would change what was read. Raises: TxRestartError.

        Need not be called for an epoch above `newest_read`.
        """
        own = self._level_of(path)
        for level, entry in self._known(path):
            if level == own:
                stamp, reader = entry.rh, entry.rh_by
            else:
                stamp, reader = entry.rl, entry.rl_by
            if epoch < stamp or (epoch == stamp and who != reader):
                raise TxRestartError(f"a write at {epoch} would change what was read at {stamp}")

    def later_write(self, path: Path, epoch: int, bound: int = EPOCH_MAX) -> bool:
        """Whether something may have been written in (epoch, bound], at or below `path`.

        Source:     DAOS src/vos/vos_ts.h vos_ts_wcheck
        """
        if bound <= epoch or epoch >= self.newest_write:
            return False
        if epoch < self._forgotten:
            return True
        self._take_recent()
        own = self._level_of(path)
        return any(
            entry.w1 > epoch and (entry.w1 <= bound or entry.w2 > epoch)
            for level, entry in self._known(path)
            if level == own
        )

    def _take_recent(self) -> None:
        recent, self._recent = self._recent, []
        for epoch, *path in recent:
            for _, entry in self._entries(tuple(path)):
                entry.wrote(epoch)

    @staticmethod
    def _level_of(path: Path) -> int:
        return min(len(path), 3)

    def _entries(self, path: Path) -> list[tuple[int, _Entry]]:
        """Level and entry of each entity on the path."""
        found = [(0, self._container)]
        found += [(level, self._tables[level - 1].entry(key)) for level, key in _keys(path)]
        return found

    def _known(self, path: Path) -> list[tuple[int, _Entry]]:
        found = [(0, self._container)]
        for level, key in _keys(path):
            entry = self._tables[level - 1].find(key)
            if entry is not None:
                found.append((level, entry))
        return found

    def statistics(self) -> TimestampStatistics:
        """How many entries there are, by level."""
        return TimestampStatistics(*[len(table) for table in self._tables])


class TimestampStatistics(NamedTuple):
    """Entries; each at most its ENTRIES_MAX."""

    objects: int
    dkeys: int
    akeys: int


def _keys(path: Path) -> list[tuple[int, int]]:
    """Level and key of each entity below the container."""
    if not path:
        return []
    key = path[0]
    keys = [(1, key)]
    if len(path) > 1:
        key += 3 * path[1]
        keys.append((2, key))
        keys += [(3, key + 5 * akey) for akey in path[2:]]
    return keys
