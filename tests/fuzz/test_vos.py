"""Bytes that nobody wrote: every parse of the store gives a value or CorruptError, and no more.

Whole shards too: a tree with damaged records answers every question with a value or an error of
the tree of errors, never with wrong bytes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daos.base.checksum import xxh3
from daos.base.errors import CorruptError, DaosError, InvalidError
from daos.base.ids import Epoch, ObjectType
from daos.base.iod import QueryFlag
from daos.testing.shard import MemoryShard, memory_shard, unit
from daos.vos import anchor as anchors
from daos.vos import dedup_record, dtx_record
from daos.vos.container import VosContainer
from daos.vos.records import (
    AggregationRecord,
    GarbageRecord,
    NewestRecord,
    NodeRecord,
    RootRecord,
    seal,
)
from daos.vos.single import SingleRecord

PARSE: list[Callable[[bytes], object]] = [
    RootRecord.parse,
    NodeRecord.parse,
    GarbageRecord.parse,
    AggregationRecord.parse,
    NewestRecord.parse,
    SingleRecord.parse,
]
_KEYS = st.one_of(st.binary(max_size=60), st.binary(min_size=41, max_size=41), st.just(bytes(9)))
HEADS = st.sampled_from(
    [b"VOSR\1\0\0\0", b"\xd7\1", b"\xd8\1", b"\xd9\1", b"\xdb\1", b"\xd6\1", b""]
)


@settings(max_examples=400)
@given(HEADS, st.binary(max_size=120), st.booleans())
def test_parse(head: bytes, rest: bytes, sealed: bool) -> None:
    data = seal(head + rest) if sealed else head + rest
    for parse in PARSE:
        try:
            record = parse(data)
        except CorruptError:
            continue
        assert record.emit() == data  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 2**64 - 1))
def test_anchors(anchor: bytes, context: int) -> None:
    try:
        order, included = anchors.parse(anchor, context)
    except InvalidError:
        return
    assert anchors.emit(context, order, included=included) == anchor


OTYPES = [ObjectType.MULTI_HASHED, ObjectType.MULTI_LEXICAL, ObjectType.MULTI_UINT64]
DKEYS = [number.to_bytes(8, "little") for number in range(4)]
AKEYS = [b"single00", b"stored00", b"array000"]


def _exactly(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


@settings(max_examples=400)
@given(
    st.sampled_from([b"\xdc\1\2\0", b"\xdd\1\0\0", b""]),
    st.binary(max_size=24),
    _KEYS,
    st.booleans(),
)
def test_parse_dtx(head: bytes, rest: bytes, key: bytes, sealed: bool) -> None:
    value = head + rest
    if sealed:
        value += xxh3(key + value).to_bytes(8, "little")
    try:
        epoch, dtx = dtx_record.parse_dtx(key, value)
    except CorruptError:
        pass
    else:
        container_id = int.from_bytes(key[:8], "big")
        assert dtx_record.dtx_key(container_id, epoch, dtx) == key
        assert dtx_record.emit_dtx(key) == value
    try:
        epoch = dtx_record.parse_floor(key, value)
    except CorruptError:
        return
    assert dtx_record.emit_floor(key, epoch) == value


@settings(max_examples=400)
@given(
    st.sampled_from([b"\xde\1\0\0\1\0\0\0", b"\xdf\1" + bytes(6), b"\xe0\1\1" + bytes(5), b""]),
    st.one_of(st.binary(max_size=60), st.sampled_from([8, 48]).flatmap(_exactly)),
    st.binary(max_size=60),
    st.booleans(),
)
def test_parse_dedup(head: bytes, rest: bytes, key: bytes, sealed: bool) -> None:
    value = head + rest
    if sealed:
        value += xxh3(key + value).to_bytes(8, "little")
    for parse in (dedup_record.Place.parse, dedup_record.DedupSetting.parse):
        try:
            record = parse(key, value)
        except CorruptError:
            continue
        assert record.emit(key) == value
    try:
        run = dedup_record.parse_content(key, value)
    except CorruptError:
        return
    assert dedup_record.emit_content(key, run) == value


async def fill(shard: MemoryShard, c: VosContainer) -> None:
    for otype in OTYPES:
        for dkey in DKEYS:
            values = {AKEYS[0]: b"small", AKEYS[1]: b"L" * 5000}
            await shard.put(c, unit(1, otype), dkey, values, epoch=10)
            names = (dkey, AKEYS[2])
            await shard.write(c, unit(1, otype), names, {0: b"ab" * 50, 300: b"c" * 5000}, epoch=20)
        c.punch(unit(1, otype), Epoch(30), dkey=DKEYS[3])


async def ask_everything(shard: MemoryShard, c: VosContainer) -> int:
    """Every question; the number of those that were refused."""
    refused = 0
    c.nodes.cache.clear()
    for otype in OTYPES:
        oid = unit(1, otype)
        for dkey in DKEYS:
            for akey, right in ((AKEYS[0], b"small"), (AKEYS[1], b"L" * 5000)):
                try:
                    got = await shard.get(c, oid, dkey, akey, epoch=25)
                    assert got in (right, None)
                except DaosError:
                    refused += 1
            try:
                got = await shard.read(c, oid, (dkey, AKEYS[2]), (90, 310), epoch=25)
                assert set(got) <= set(b"abc.")
            except DaosError:
                refused += 1
            for question in (
                lambda dkey=dkey, oid=oid: c.list_akeys(oid, dkey, Epoch(25), limit=9),
                lambda dkey=dkey, oid=oid: c.list_extents(oid, dkey, AKEYS[2], Epoch(25), limit=9),
                lambda oid=oid: c.list_dkeys(oid, Epoch(25), limit=9),
                lambda: c.list_objects(Epoch(25), limit=9),
                lambda oid=oid: c.query_key(oid, QueryFlag.MAX | QueryFlag.DKEY, Epoch(25)),
            ):
                try:
                    question()
                except DaosError:
                    refused += 1
    return refused


@pytest.mark.parametrize("seed", range(3))
def test_damaged_trees(seed: int) -> None:
    """Any record of the tree, damaged in a bit, cut, or longer than it was."""

    async def run() -> None:
        rng = random.Random(seed)
        async with memory_shard() as shard:
            c = shard.container()
            await fill(shard, c)
            quiet = await ask_everything(shard, c)  # queries of keys that are not integers
            records = [(bytes(key), bytes(value)) for key, value in shard.meta.cursor()]
            noticed = 0
            for _ in range(40):
                key, value = rng.choice(records)
                at = rng.randrange(len(value))
                damaged = rng.choice(
                    (
                        value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :],
                        value[:at],
                        value + b"\0",
                    )
                )
                await put(shard, key, damaged)
                noticed += await ask_everything(shard, c) > quiet
                await put(shard, key, value)
            assert noticed > 15
            assert await ask_everything(shard, c) == quiet

    async def put(shard: MemoryShard, key: bytes, value: bytes) -> None:
        tx = shard.meta.begin()
        tx.put(key, value)
        await shard.meta.durable(tx.commit())

    asyncio.run(run())
