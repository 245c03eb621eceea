"""What the store must answer: a list of the operations it accepted, and pure functions of it.

Nothing of the store is imported here, and nothing is clever: to look at an object at an epoch,
its operations up to that epoch are played again, in order of (epoch, updates before punches, order
of arrival). Epochs may arrive out of order; a punch hides every update of its own epoch.

    update   writes of one or more akeys of a dkey; creates object, dkey and akeys
    punch    of an object, a dkey, or akeys of a dkey; when no akey is left, the dkey goes too

One thing is left open on purpose: a dkey all of whose akeys were punched one by one. If it existed
when the last of them was punched, it is gone (`empties`); if it was written below that punch later
on, the reference lets it be enumerated or not. Such a dkey stands in a view without akeys.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

SINGLE, ARRAY = 1, 2
Segment = tuple[int, int, int, bytes]  # first record, end, epoch, bytes
Answer = tuple[bytes, bytes, int] | None


class Write(NamedTuple):
    """One akey of an update. A part is (lo, hi, bytes), without bytes a punch; a single has one."""

    akey: bytes
    kind: int
    size: int
    parts: tuple[tuple[int, int, bytes | None], ...]
    cond: str = ""  # "insert": must not exist, "update": must exist


class Op(NamedTuple):
    epoch: int
    obj: Hashable
    dkey: bytes | None = None
    writes: tuple[Write, ...] = ()  # none: a punch
    akeys: tuple[bytes, ...] = ()
    order: int = 0
    empties: bool = False


@dataclass
class Value:
    kind: int
    size: int = 0
    single: bytes = b""
    at: int = 0  # the epoch of the single value
    segments: list[Segment] = field(default_factory=list)

    def apply(self, write: Write, epoch: int) -> None:
        self.size = self.size or write.size
        for lo, hi, data in write.parts:
            if self.kind == SINGLE:
                self.single, self.at = data or b"", epoch
                continue
            kept = list(self.cut(0, lo)) + list(self.cut(hi, 1 << 64))
            self.segments = sorted(kept if data is None else [*kept, (lo, hi, epoch, data)])

    def cut(self, lo: int, hi: int) -> Iterator[Segment]:
        """What is visible of records [lo, hi)."""
        for first, end, epoch, data in self.segments:
            a, b = max(first, lo), min(end, hi)
            if a < b:
                yield a, b, epoch, data[(a - first) * self.size : (b - first) * self.size]


@dataclass
class View:
    """An object at an epoch."""

    exists: bool = False
    dkeys: dict[bytes, dict[bytes, Value]] = field(default_factory=dict)

    def value(self, dkey: bytes, akey: bytes, kind: int) -> Value:
        value = self.dkeys.get(dkey, {}).get(akey, Value(kind))
        return value if value.kind == kind else Value(kind)

    def akeys(self) -> Iterator[tuple[bytes, bytes, Value]]:
        for dkey, akeys in self.dkeys.items():
            for akey, value in akeys.items():
                yield dkey, akey, value

    def outermost(self, dkeys: list[bytes], akeys: list[bytes], end: int) -> Iterator[Answer]:
        """The answer of a key query (dkey, akey, first or last record), and before it those that
        the reference leaves open. Keys in the order of the search, no akeys: only a dkey is asked
        for; end 0: no record is asked for, -1 the last one, 1 the first one."""
        for dkey in (dkey for dkey in dkeys if dkey in self.dkeys):
            if not akeys:
                yield dkey, b"", 0
                if self.dkeys[dkey]:
                    return
            for akey in (akey for akey in akeys if akey in self.dkeys[dkey]):
                segments = self.dkeys[dkey][akey].segments
                if segments or not end:
                    yield dkey, akey, segments[-1][1] - 1 if end < 0 else end and segments[0][0]
                    return
        yield None


class Change(NamedTuple):
    """What became of an akey; ranges as the elementary pieces they consist of."""

    kind: str
    written: frozenset[tuple[int, int]]
    gone: frozenset[tuple[int, int]]


def _marks(lo: int, hi: int, *values: Value) -> Iterator[tuple[int, int]]:
    """[lo, hi) cut wherever a segment of one of the values begins or ends."""
    cuts = {edge for value in values for segment in value.segments for edge in segment[:2]}
    inside = sorted({lo, hi, *(cut for cut in cuts if lo < cut < hi)})
    yield from pairwise(inside)


class Verdict(NamedTuple):
    """Which errors an operation must fail with one of, and which it may fail with."""

    must: set[str]
    may: set[str]

    def accepts(self, outcome: str) -> bool:
        return outcome in self.may or (outcome in self.must if self.must else not outcome)


@dataclass
class Cleared:
    """What was aggregated and discarded of a container.

    lost       ranges of epochs [lo, hi): nobody can tell what was there
    merged     up to here an array may say a newer epoch of a record than the one that wrote it
    undone     up to here writes may have been discarded that others were refused for
    ghosts     akeys that may have kept the kind and size of values that are gone
    """

    lost: list[tuple[int, int]] = field(default_factory=list)
    merged: int = 0
    undone: int = 0
    ghosts: set[tuple[Hashable, bytes | None, bytes]] = field(default_factory=set)


class Model:
    """One container. `bound`: no operation at or below it is accepted."""

    def __init__(
        self, bound: int = 0, history: tuple[Op, ...] = (), cleared: Cleared | None = None
    ) -> None:
        self.bound = bound
        self.history = list(history)
        self.cleared = cleared or Cleared()

    def is_lost(self, epoch: int) -> bool:
        return any(lo <= epoch < hi for lo, hi in self.cleared.lost)

    def kept(self, epoch: int) -> int:
        """The first epoch from here on of which somebody can tell."""
        while self.is_lost(epoch):
            epoch = max(hi for lo, hi in self.cleared.lost if lo <= epoch < hi)
        return epoch

    def aggregate(self, lo: int, hi: int) -> None:
        """It begins: what stands at [lo, hi) is not to be asked for any more."""
        self.bound = max(self.bound, hi)
        self.cleared.lost.append((lo, hi))
        self.cleared.merged = max(self.cleared.merged, hi)
        self._haunt(lo, hi, None)

    def discard(self, lo: int, hi: int, obj: Hashable | None) -> None:
        """It has ended: nothing of [lo, hi] ever happened."""
        self.cleared.undone = max(self.cleared.undone, hi)
        self._haunt(lo, hi, obj)
        self.history = [
            op
            for op in self.history
            if not lo <= op.epoch <= hi or (obj is not None and op.obj != obj)
        ]

    def _haunt(self, lo: int, hi: int, obj: Hashable | None) -> None:
        for op in self.history:
            if lo <= op.epoch <= hi and obj in (None, op.obj):
                for write in op.writes:
                    self.cleared.ghosts.add((op.obj, op.dkey, write.akey))

    def view(self, obj: Hashable, epoch: int) -> View:
        seen = [op for op in self.history if op.obj == obj and op.epoch <= epoch]
        view = View()
        for op in sorted(seen, key=lambda op: (op.epoch, not op.writes, op.order)):
            if op.dkey is None:
                view = View()
            elif op.writes:
                view.exists = True
                akeys = view.dkeys.setdefault(op.dkey, {})
                for write in op.writes:
                    akeys.setdefault(write.akey, Value(write.kind)).apply(write, op.epoch)
            elif not op.akeys:
                view.dkeys.pop(op.dkey, None)
            elif op.dkey in view.dkeys:
                akeys = view.dkeys[op.dkey]
                for akey in op.akeys:
                    akeys.pop(akey, None)
                if op.empties and not akeys:
                    del view.dkeys[op.dkey]
        return view

    def written(
        self, obj: Hashable, dkey: bytes, akey: bytes
    ) -> tuple[dict[tuple[int, int, int], int], int]:
        """Every version of an akey, (first record, end, epoch) -> size, and its kind."""
        found: dict[tuple[int, int, int], int] = {}
        kind = 0
        for op in self.history:
            for write in op.writes:
                if (op.obj, op.dkey, write.akey) != (obj, dkey, akey):
                    continue
                kind = write.kind
                for lo, hi, data in write.parts:
                    size = write.size if kind == ARRAY else len(data or b"")
                    found[lo, hi, op.epoch] = 0 if data is None else size
        return found, kind

    def covered(self, obj: Hashable, dkey: bytes, akey: bytes, epoch: int, at: int) -> bool | None:
        """Whether a punch hides what was written at `epoch` from a reader `at`; None: open."""
        answer: bool | None = False
        for op in self.history:
            if op.writes or op.obj != obj or not epoch <= op.epoch <= at:
                continue
            if op.dkey is None or (op.dkey == dkey and (not op.akeys or akey in op.akeys)):
                return True
            if op.dkey == dkey and op.empties:
                answer = None
        return answer

    def changes(self, obj: Hashable, a: int, b: int) -> dict[tuple[bytes, bytes], Change]:
        """By dkey and akey: what became of it between two epochs."""
        old = {(d, k): value for d, k, value in self.view(obj, a).akeys()}
        new = {(d, k): value for d, k, value in self.view(obj, b).akeys()}
        found: dict[tuple[bytes, bytes], Change] = {}
        for key in old.keys() | new.keys():
            was, now = old.get(key, Value(0)), new.get(key, Value(0))
            written = {
                r for lo, hi, at, _ in now.segments if at > a for r in _marks(lo, hi, was, now)
            }
            before = {r for lo, hi, _, _ in was.segments for r in _marks(lo, hi, was, now)}
            after = {r for lo, hi, _, _ in now.segments for r in _marks(lo, hi, was, now)}
            gone = before - after
            single = bool(now.single and now.at > a) or bool(was.single and not now.single)
            kind = "punched" if key not in new else "created" if key not in old else "changed"
            if kind != "changed" or single or written or gone:
                found[key] = Change(kind, frozenset(written), frozenset(gone))
        return found

    def newest(self, obj: Hashable, epoch: int) -> tuple[int, bool]:
        """When an object was changed last, and whether it may be as one that never was: nothing is
        left of what is gone and was aggregated."""
        changes = [op.epoch for op in self.history if op.obj == obj and op.epoch <= epoch]
        is_over = self.cleared.merged > 0 and not self.view(obj, epoch).exists
        return max(changes, default=0), is_over

    def objects(self, epoch: int) -> set[Hashable]:
        return {obj for obj in {op.obj for op in self.history} if self.view(obj, epoch).exists}

    def add(self, op: Op) -> None:
        """The store accepted it."""
        akeys = self.view(op.obj, op.epoch).dkeys.get(op.dkey or b"", {})
        empties = bool(op.akeys and akeys) and not akeys.keys() - set(op.akeys)
        self.history.append(op._replace(order=len(self.history), empties=empties))

    def judge_update(self, op: Op, *conds: str) -> Verdict:
        """conds: "object update", "dkey update", "dkey insert"; the akeys' are in the writes."""
        if op.epoch <= self.bound:
            return Verdict({"TX_RESTART"}, set())
        must, may = set[str](), set[str]()
        view = self.view(op.obj, op.epoch)
        akeys = view.dkeys.get(op.dkey or b"", {})
        is_open = op.dkey in view.dkeys and not akeys
        if "object update" in conds and not view.exists:
            must.add("NONEXIST")
        if "dkey update" in conds and not akeys:
            (may if is_open else must).add("NONEXIST")
        if "dkey insert" in conds and op.dkey in view.dkeys:
            (may if is_open else must).add("EXIST")
        for new in op.writes:
            if new.cond and (new.cond == "insert") == (new.akey in akeys):
                must.add("EXIST" if new.akey in akeys else "NONEXIST")
        for old in (old for old in self.history if old.obj == op.obj):
            if not old.writes and old.epoch == op.epoch:
                may.add("NO_PERM")
            if old.akeys and old.dkey == op.dkey and old.epoch > op.epoch:
                may.add("TX_RESTART")  # it looked whether the dkey is empty
            for was, new in ((a, b) for a in old.writes for b in op.writes if old.dkey == op.dkey):
                is_ghost = (op.obj, op.dkey, new.akey) in self.cleared.ghosts
                clash = _clash(was, new, same_epoch=old.epoch == op.epoch)
                (may if is_ghost else must).update(clash)
        if any((op.obj, op.dkey, new.akey) in self.cleared.ghosts for new in op.writes):
            may |= {"NO_PERM", "INVAL"}
        if op.epoch <= self.cleared.undone:
            may |= {"TX_RESTART", "VOS_PARTIAL_UPDATE"}
        return Verdict(must, may)

    def judge_punch(self, op: Op, *, cond: bool) -> Verdict:
        if op.epoch <= self.bound:
            return Verdict({"TX_RESTART"}, set())
        must, may = set[str](), set[str]()
        view = self.view(op.obj, op.epoch)
        known = view.dkeys.get(op.dkey or b"")
        if cond and op.dkey and known == {} and not op.akeys:
            may.add("NONEXIST")
        elif cond and (not view.exists or (op.dkey and (not known or set(op.akeys) - set(known)))):
            must.add("NONEXIST")
        for old in (old for old in self.history if old.obj == op.obj):
            if op.dkey is None or old.dkey in (None, op.dkey):
                if old.epoch > op.epoch:
                    may.add("TX_RESTART")  # a later write may rely on what this would hide
                if old.epoch == op.epoch:
                    may.add("NO_PERM")
        if op.epoch <= self.cleared.undone:
            may.add("TX_RESTART")
        return Verdict(must, may)


def _clash(old: Write, new: Write, *, same_epoch: bool) -> set[str]:
    """Why `new` cannot follow `old` in one akey, whatever else there is."""
    if old.akey != new.akey:
        return set()
    if old.kind != new.kind or (same_epoch and new.kind == SINGLE):
        return {"NO_PERM"}
    if new.kind == ARRAY and new.size and old.size and new.size != old.size:
        return {"INVAL"}
    for lo, hi, _ in new.parts if same_epoch and new.kind == ARRAY else ():
        if any(a < hi and lo < b and (a, b) != (lo, hi) for a, b, _ in old.parts):
            return {"VOS_PARTIAL_UPDATE"}
    return set()
