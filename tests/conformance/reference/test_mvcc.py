"""VOS900 and VOS901: the generated matrix of conflicts and of doubt, through a container.

    VOS900   31 readers and read-writers, 11 writers; empty or written; four epochs       2,722
    VOS901   4 writers, 32 operations; empty or written; within the bound or behind it      512

The numbers are those of integer keys with arrays; hashed keys with single values and lexical keys
with arrays leave out the queries, and single values the listing of records. `prepared` is left out
everywhere: a transaction is decided where it is executed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from daos.base.errors import DaosError
from daos.base.ids import Epoch, ObjectType, UnitOid
from daos.base.iod import Cond, Iod, IodType, QueryFlag, Recx
from daos.testing.shard import MemoryShard, on_shard, unit
from daos.vos.container import VosContainer
from daos.vos.ilog import MINOR_MAX
from daos.vos.timestamps import Operation
from tests.conformance.reference import mvcc_rules as rules
from tests.conformance.reference.mvcc_rules import Op

READER: Final = b"the transaction that comes first"
WRITER: Final = b"the transaction that comes second"
STEP: Final = 100

_CONDS: Final = {
    "update": (0, 0),
    "update_de": (Cond.DKEY_INSERT, 0),
    "update_dne": (Cond.DKEY_UPDATE, 0),
    "update_ae": (Cond.AKEY_INSERT, 0),
    "update_ane": (Cond.AKEY_UPDATE, 0),
    "fetch": (0, 0),
    "fetch_dne": (Cond.DKEY_FETCH, 0),
    "fetch_ane": (Cond.AKEY_FETCH, 0),
    "punch_o": (0, rules.OBJECT),
    "punch_d": (0, rules.DKEY),
    "punch_a": (0, rules.AKEY),
    "punch_one": (Cond.PUNCH, rules.OBJECT),
    "punch_dne": (Cond.PUNCH, rules.DKEY),
    "punch_ane": (Cond.PUNCH, rules.AKEY),
}
_QUERIES: Final = {
    "d": QueryFlag.DKEY,
    "a": QueryFlag.AKEY,
    "recx": QueryFlag.RECX,
}


class At(NamedTuple):
    """When, and on whose behalf."""

    epoch: int
    op: Operation | None = None
    minor: int = MINOR_MAX


class Path(NamedTuple):
    """One akey of a fresh object."""

    container: VosContainer
    oid: UnitOid
    dkey: bytes
    akey: bytes
    is_array: bool

    def result(self, op: Op, end: str, at: At) -> str:
        """Execute it; OK or the name of its error."""
        try:
            self._execute(op.name, end, at)
        except DaosError as error:
            return error.code.name
        return rules.OK

    def _execute(self, name: str, end: str, at: At) -> None:
        if name.startswith("update"):
            self._update(_CONDS[name][0], at)
        elif name.startswith("punch"):
            cond, level = _CONDS[name]
            self.container.punch(
                self.oid,
                Epoch(at.epoch),
                dkey=self.dkey if level > rules.OBJECT else None,
                akeys=[self.akey] if level == rules.AKEY else [],
                cond=cond,
                minor=at.minor,
                op=at.op,
            )
        elif name.startswith("fetch"):
            epoch, cond = Epoch(at.epoch), _CONDS[name][0]
            iods = [self._iod(0)]
            fetch = self.container.fetch_begin(
                self.oid, self.dkey, iods, epoch, cond=cond, op=at.op
            )
            self.container.fetch_end(fetch)
        else:
            self._read_keys(name, end, at)

    def _iod(self, size: int) -> Iod:
        if self.is_array:
            return Iod(self.akey, IodType.ARRAY, size, (Recx(7, 1),))
        return Iod(self.akey, IodType.SINGLE, size)

    def _update(self, cond: int, at: At) -> None:
        update = self.container.update_begin(self.oid, self.dkey, [self._iod(1)], cond=cond)
        update.destinations[0][:] = b"x"
        try:
            self.container.update_end(update, Epoch(at.epoch), minor=at.minor, op=at.op)
        finally:
            self.container.update_cancel(update)

    def _read_keys(self, name: str, end: str, at: At) -> None:
        c, oid, epoch = self.container, self.oid, Epoch(at.epoch)
        assert at.op is not None
        dkey, akey = self.dkey, self.akey
        kind, _, what = name.partition("_")
        words = what.split("_")
        if kind == "query":
            flags = {"max": QueryFlag.MAX, "min": QueryFlag.MIN}[end]
            for word in words:
                flags |= _QUERIES[word]
            given = {
                "d": (None, None),
                "a": (dkey, None),
                "recx": (dkey, akey),
            }[words[0]]
            with c.reading(at.op, epoch, oid, *given):
                found = c.query_key(oid, int(flags), epoch, dkey=dkey, akey=akey)
            assert found.dkey == (dkey if "d" in words else None)
            return
        level = {"objects": 0, "o": 1, "dkeys": 1, "d": 2, "akeys": 2, "a": 3, "recxs": 3}[what]
        with c.reading(at.op, epoch, *(oid, dkey, akey)[:level]):
            if what == "objects":
                c.list_objects(epoch, limit=9)
            elif what == "dkeys":
                c.list_dkeys(oid, epoch, limit=9)
            elif what == "akeys":
                c.list_akeys(oid, dkey, epoch, limit=9)
            elif what == "recxs":
                c.list_extents(oid, dkey, akey, epoch, limit=9)


class Matrix:
    """Fresh paths in one container, later and later."""

    def __init__(self, shard: MemoryShard, c: VosContainer, config: Config) -> None:
        self._shard = shard
        self._container = c
        self._config = config
        self._epoch = c.modification_bound + STEP
        self._objects = itertools.count(1)

    async def path(self, *, empty: bool) -> tuple[Path, int]:
        """A path, and the epoch of its combination."""
        number = next(self._objects)
        self._epoch += STEP
        if number % 200 == 0:  # the log is not to fill
            await self._shard.meta.durable(self._shard.meta.lsn_last)
            await self._shard.meta.checkpoint()
        config = self._config
        key = (5).to_bytes(8, "little")
        path = Path(self._container, unit(number, config.otype), key, key, is_array=config.is_array)
        if not empty:
            written = path.result(rules.WRITES[0], "", At(self._epoch - 1))
            assert written == rules.OK, written
        return path, self._epoch


class Config(NamedTuple):
    """Kinds of keys and of the value."""

    otype: ObjectType
    is_array: bool

    def has(self, op: Op) -> bool:
        """Queries want integer keys; records want an array."""
        if op.name.startswith("query"):
            return self.otype is ObjectType.MULTI_UINT64 and self.is_array
        return self.is_array or op.name != "list_recxs"

    def of(self, *groups: tuple[Op, ...]) -> Iterator[tuple[Op, str]]:
        for op in itertools.chain(*groups):
            if self.has(op):
                yield from ((op, end) for end in op.ends)


INTEGERS: Final = Config(ObjectType.MULTI_UINT64, is_array=True)
# How many combinations of conflicts and of doubt.
CONFIGS: Final = (
    (INTEGERS, 2722, 512),
    (Config(ObjectType.MULTI_HASHED, is_array=False), 1402, 272),
    (Config(ObjectType.MULTI_LEXICAL, is_array=True), 1490, 288),
)
IDS: Final = ("integers-array", "hashed-single", "lexical-array")
# Epoch of the writer against the reader's, and whether it is the same transaction.
EPOCHS: Final = ((-2, False), (0, False), (0, True), (1, False))


class Tally(NamedTuple):
    """How many combinations there are, and what went wrong."""

    count: int
    wrong: list[str]

    def judge(self, count: int) -> None:
        assert not self.wrong, "\n".join([f"{len(self.wrong)} of {self.count}", *self.wrong[:40]])
        assert self.count == count


async def conflicts(shard: MemoryShard, c: VosContainer, config: Config) -> Tally:
    count, wrong = 0, list[str]()
    matrix = Matrix(shard, c, config)
    readers = config.of(rules.READS, rules.TIMESTAMPS, rules.READ_WRITES)
    for (r, end), (w, _) in itertools.product(readers, config.of(rules.WRITES, rules.READ_WRITES)):
        for empty, (shift, same_tx) in itertools.product((True, False), EPOCHS):
            path, epoch = await matrix.path(empty=empty)
            w_epoch = epoch + shift
            if rules.hangs_on_propagation(r, w, empty=empty, r_epoch=epoch, w_epoch=w_epoch):
                continue
            expected = rules.after_read(
                r, w, empty=empty, r_epoch=epoch, w_epoch=w_epoch, same_tx=same_tx
            )
            first = path.result(r, end, At(epoch, Operation(READER), 1))
            writer = At(w_epoch, Operation(READER if same_tx else WRITER), 2 if same_tx else 1)
            got = first, path.result(w, "", writer)
            count += 1
            if got != expected:
                wrong.append(
                    f"{'empty' if empty else 'written'}: {r.name} {end} @{epoch}, "
                    f"{w.name} @{w_epoch}, {'same' if same_tx else 'other'} transaction: "
                    f"{got}, expected {expected}"
                )
    return Tally(count, wrong)


async def doubts(shard: MemoryShard, c: VosContainer, config: Config) -> Tally:
    count, wrong = 0, list[str]()
    matrix = Matrix(shard, c, config)
    others = config.of(rules.READS, rules.READ_WRITES, rules.WRITES)
    for (w, _), (a, end) in itertools.product(config.of(rules.WRITES), others):
        for empty, before in itertools.product((True, False), (10, 11)):
            path, a_epoch = await matrix.path(empty=empty)
            w_epoch, bound = a_epoch + before, a_epoch + 10
            assert path.result(w, "", At(w_epoch, Operation(READER))) == rules.OK
            expected = rules.in_doubt(w, a, empty=empty, w_epoch=w_epoch, bound=bound)
            got = path.result(a, end, At(a_epoch, Operation(WRITER, bound)))
            count += 1
            if got != expected:
                wrong.append(
                    f"{'empty' if empty else 'written'}: {w.name} @{w_epoch}, "
                    f"{a.name} {end} @{a_epoch} up to {bound}: {got}, expected {expected}"
                )
    return Tally(count, wrong)


@pytest.mark.parametrize(("config", "count"), [(config, n) for config, n, _ in CONFIGS], ids=IDS)
@on_shard
async def test_vos900_conflicting_reads_and_writes(
    shard: MemoryShard, c: VosContainer, config: Config, count: int
) -> None:
    (await conflicts(shard, c, config)).judge(count)


@pytest.mark.parametrize(("config", "count"), [(config, n) for config, _, n in CONFIGS], ids=IDS)
@on_shard
async def test_vos901_uncertain_epochs(
    shard: MemoryShard, c: VosContainer, config: Config, count: int
) -> None:
    (await doubts(shard, c, config)).judge(count)
