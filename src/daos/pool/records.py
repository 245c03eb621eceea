"""Reading and writing the records that services keep in an rdb.

Structs are MessagePack arrays, properties and names UTF-8 text, attributes raw bytes; the keys are
listed where each service lives and in docs/format/pool_records.md. Whatever does not parse raises
CorruptError: damage is never taken for absence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from daos.base.errors import CorruptError, InvalidError, NotFoundError
from daos.base.names import LABEL_SIZE_MAX, check_attribute, maybe_uuid
from daos.base.props import Table
from daos.rdb.interface import Compare, Delete, Put, Rdb, exists, prefix_end

# Of one call; the store takes 128 operations and compares in a transaction.
ATTRIBUTES_MAX: Final = 100
# Deleted at once where a range may be long: bounds the log record.
_DELETES_MAX: Final = 100

_RecordT = TypeVar("_RecordT", bound=msgspec.Struct)


def parse_record(kind: type[_RecordT], value: bytes, what: str) -> _RecordT:
    """A metadata record. Raises: CorruptError if the bytes are none of this kind."""
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(f"{what} record ({error})", offset=0, want=1, got=0) from error


def parse_text(value: bytes, what: str) -> str:
    """UTF-8 text. Raises: CorruptError."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        at = error.start
        raise CorruptError(f"{what} text", offset=at, want="UTF-8", got=value[at]) from error


async def read_records(
    rdb: Rdb, prefix: bytes, kind: type[_RecordT], what: str
) -> dict[bytes, _RecordT]:
    """Every record below `prefix`, by the rest of its key, ascending. Raises: CorruptError."""
    found = await rdb.range(prefix, prefix_end(prefix))
    return {pair.key[len(prefix) :]: parse_record(kind, pair.value, what) for pair in found.pairs}


async def find_uuid(rdb: Rdb, labels: bytes, name: str) -> bytes | None:
    """What a name stands for: a UUID in text form for itself, else the label kept below `labels`.

    Nothing says that there is such a pool or container.
    """
    if (uuid := maybe_uuid(name)) is not None:
        return uuid.bytes
    if not 0 < len(name) <= LABEL_SIZE_MAX:
        return None
    pairs = (await rdb.range(labels + name.encode())).pairs
    return pairs[0].value if pairs else None


def property_puts(props: Mapping[str, str], prefix: bytes) -> list[Put]:
    """Operations that store properties."""
    return [Put(prefix + name.encode(), text.encode()) for name, text in props.items()]


async def read_properties(rdb: Rdb, prefix: bytes, table: Table) -> dict[str, str]:
    """Every property of the table, in its order; one that was never stored has its default."""
    found = await rdb.range(prefix, prefix_end(prefix))
    stored = {
        parse_text(pair.key[len(prefix) :], "property name"): parse_text(pair.value, "property")
        for pair in found.pairs
    }
    return {entry.name: stored.get(entry.name, entry.default) for entry in table.properties}


async def read_attributes(rdb: Rdb, prefix: bytes, names: Sequence[str]) -> dict[str, bytes]:
    """User attributes below `prefix`; all where no names are given.

    Raises: NotFoundError, InvalidError (more than ATTRIBUTES_MAX names)
    """
    if not names:
        found = await rdb.range(prefix, prefix_end(prefix))
        return {
            parse_text(pair.key[len(prefix) :], "attribute name"): pair.value
            for pair in found.pairs
        }
    _check_count(len(names))
    values: dict[str, bytes] = {}
    for name in names:
        check_attribute(name, b"")
        pairs = (await rdb.range(prefix + name.encode())).pairs
        if not pairs:
            raise NotFoundError(f"attribute {name!r} is not set")
        values[name] = pairs[0].value
    return values


class AttributeChange:
    """Attributes to set and to delete: the compares and operations of one transaction.

    Raises: InvalidError  a name, a size, too many, one both set and deleted
    """

    def __init__(self, prefix: bytes, put: Mapping[str, bytes], delete: Sequence[str]) -> None:
        _check_count(len(put) + len(delete))
        for name in delete:
            check_attribute(name, b"")
            if name in put:
                raise InvalidError(f"attribute {name!r} is both set and deleted")
        for name, value in put.items():
            check_attribute(name, value)
        self._deleted = {name: prefix + name.encode() for name in delete}
        self.compares: list[Compare] = [exists(key) for key in self._deleted.values()]
        self.operations: list[Put | Delete] = [
            *(Put(prefix + name.encode(), value) for name, value in put.items()),
            *(Delete(key) for key in self._deleted.values()),
        ]

    async def check(self, rdb: Rdb) -> None:
        """After a failed transaction. Raises: NotFoundError if it was for a name that is not set"""
        for name, key in self._deleted.items():
            if not (await rdb.range(key)).pairs:
                raise NotFoundError(f"attribute {name!r} is not set")


async def delete_all(rdb: Rdb, prefix: bytes) -> None:
    """Delete every key below `prefix`, in as many transactions as it takes. Can be repeated."""
    while True:
        found = await rdb.range(prefix, prefix_end(prefix), limit=_DELETES_MAX)
        if found.pairs:
            await rdb.txn([], [Delete(pair.key) for pair in found.pairs])
        if not found.more:
            return


def _check_count(count: int) -> None:
    if count > ATTRIBUTES_MAX:
        raise InvalidError(f"one call takes at most {ATTRIBUTES_MAX} attributes, not {count}")
