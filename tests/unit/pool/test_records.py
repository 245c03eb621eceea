"""Records of the services: what does not parse is damage, never absence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from daos.base.errors import CorruptError, InvalidError, NotFoundError
from daos.base.props import Property, Table
from daos.bio.checkpoint import InlineCopy
from daos.bio.meta import MetaConfig, MetaContext
from daos.pool.records import (
    AttributeChange,
    delete_all,
    parse_record,
    parse_text,
    property_puts,
    read_attributes,
    read_properties,
)
from daos.pool.server import HandleRecord, PoolMeta
from daos.rdb.interface import Put
from daos.rdb.local import LocalRdb
from daos.testing.devices import MemoryDevice
from tests.unit.embedded.cluster import Clock, new_id

TABLE = Table(
    "thing",
    (
        Property(name="old", description="", default="1", parse=str),
        Property(name="new", description="", default="fresh", parse=str),
    ),
)


def on_rdb(body: Callable[[LocalRdb], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def run() -> None:
            config = MetaConfig(start_copy=InlineCopy)
            device = MemoryDevice(64 << 20)
            await MetaContext.format(device, uuid=UUID(int=1), config=config)
            meta = await MetaContext.open(device, config=config, live_path=tmp_path)
            try:
                await body(LocalRdb(meta, Clock()))
            finally:
                await meta.close(checkpoint=False)

        asyncio.run(run())

    return test


@pytest.mark.parametrize("kind", [PoolMeta, HandleRecord])
@pytest.mark.parametrize(
    "value",
    [b"", b"\xc1", b"\x90", b"\x93\xc4\x00\xc4\x00", b"\x94\x00\x00\x00\x00", b"\x91" * 4000],
)
def test_what_is_no_record_is_damage(kind: type[msgspec.Struct], value: bytes) -> None:
    with pytest.raises(CorruptError):
        parse_record(kind, value, "record")


def test_unknown_fields_are_refused() -> None:
    known = msgspec.msgpack.encode(HandleRecord(new_id(1), "rw"))
    assert parse_record(HandleRecord, known, "record") == HandleRecord(new_id(1), "rw")
    with pytest.raises(CorruptError):
        parse_record(HandleRecord, b"\x94" + known[1:] + b"\x00", "record")


def test_text_that_is_none_is_damage() -> None:
    assert parse_text("ä".encode(), "name") == "ä"
    with pytest.raises(CorruptError, match="name text"):
        parse_text(b"ab\xff", "name")
    with pytest.raises(CorruptError):
        parse_record(HandleRecord, b"\x92\xc4\x00\xa2\xff\xff", "record")


@on_rdb
async def test_a_property_newer_than_its_record_has_its_default(rdb: LocalRdb) -> None:
    await rdb.txn([], property_puts({"old": "2", "gone": "x"}, b"p/"))
    assert await read_properties(rdb, b"p/", TABLE) == {"old": "2", "new": "fresh"}


@on_rdb
async def test_everything_below_a_prefix_is_deleted(rdb: LocalRdb) -> None:
    for first in range(0, 250, 100):
        await rdb.txn([], [Put(b"p/%d" % i, b"") for i in range(first, min(first + 100, 250))])
    await rdb.txn([], [Put(b"p0", b""), Put(b"p", b"")])
    await delete_all(rdb, b"p/")
    assert [pair.key for pair in (await rdb.range(b"p", b"q")).pairs] == [b"p", b"p0"]
    await delete_all(rdb, b"p/")


@on_rdb
async def test_a_change_of_attributes(rdb: LocalRdb) -> None:
    change = AttributeChange(b"a/", {"x": b"1"}, [])
    assert (await rdb.txn(change.compares, change.operations)).succeeded
    change = AttributeChange(b"a/", {"y": b"2"}, ["x", "z"])
    assert not (await rdb.txn(change.compares, change.operations)).succeeded
    with pytest.raises(NotFoundError, match="'z'"):
        await change.check(rdb)
    assert await read_attributes(rdb, b"a/", ()) == {"x": b"1"}
    with pytest.raises(InvalidError):
        await read_attributes(rdb, b"a/", ["n" * 512])
