"""The management store: what a system is for life, and its pools.

The device `mgmt` in the directory of the rank with the services holds

    system     SystemRecord
    members    MembersRecord, of a system with several ranks
    pool/…     pools (server.py)

Crash table:
    while `mgmt` is made     it is alone in the directory: made again at the next start
    any other time           the shard recovers by itself, management finishes half-done work

Source: DAOS src/control/system (membership); ours: members are for life.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from daos.base.clock import uuid_from
from daos.base.errors import CorruptError, InvalidError, NotSupportedError
from daos.bio.meta import MetaContext
from daos.engine.rank import Engine, Member
from daos.pool.records import parse_record
from daos.rdb.interface import Put, absent
from daos.rdb.local import LocalRdb

log = logging.getLogger(__name__)

FORMAT: Final = 1
MGMT_BYTES: Final = 32 << 20

_MGMT: Final = "mgmt"
_SYSTEM_KEY: Final = b"system"
_MEMBERS_KEY: Final = b"members"


class SystemRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a system is for life; key `system` of the management rdb."""

    format: int
    targets: int  # of the rank with the services


class MembersRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The ranks of a system for life; key `members`, which a system of one rank lacks."""

    members: tuple[tuple[str, int, int], ...]  # (host, rank, targets)


@dataclass(frozen=True, slots=True)
class Store:
    """The management store of a system, open."""

    rdb: LocalRdb

    @classmethod
    async def open(cls, engine: Engine) -> Store:
        """Open the store in the directory of `engine`, or make one in an empty directory.

        Raises: CorruptError, NoSpaceError
        """
        return cls(LocalRdb(await _open_mgmt(engine), engine.clock))

    async def target_count(self, asked: int | None, default: int) -> int:
        """Of the rank with the services, as recorded; a new system records what was asked for.

        Raises: InvalidError (asked for another number), NotSupportedError (a newer format)
        """
        record = SystemRecord(FORMAT, asked or default)
        await self.rdb.txn([absent(_SYSTEM_KEY)], [Put(_SYSTEM_KEY, _encode(record))])
        value = (await self.rdb.range(_SYSTEM_KEY)).pairs[0].value
        record = parse_record(SystemRecord, value, "system")
        if record.format != FORMAT:
            raise NotSupportedError(
                f"the system has format {record.format}; this version reads {FORMAT}"
            )
        if asked is not None and asked != record.targets:
            raise InvalidError(
                f"the system has {record.targets} targets for life, {asked} were asked for"
            )
        return record.targets

    async def check_members(self, members: Sequence[Member]) -> None:
        """Record the ranks of a new system, compare those of an old one.

        Raises: InvalidError  the system has other ranks
        """
        given = MembersRecord(tuple((each.host, each.rank, each.targets) for each in members))
        if len(members) > 1:
            await self.rdb.txn([absent(_MEMBERS_KEY)], [Put(_MEMBERS_KEY, _encode(given))])
        found = (await self.rdb.range(_MEMBERS_KEY)).pairs
        if found and parse_record(MembersRecord, found[0].value, "members") != given:
            raise InvalidError(f"the system has other ranks for life than {members}")


async def _open_mgmt(engine: Engine) -> MetaContext:
    storage, names = engine.xstream.storage, engine.directory.names()
    if not storage.exists(_MGMT):
        if names:
            raise CorruptError(
                "the directory holds pools but no management store",
                offset=0,
                want=_MGMT,
                got=", ".join(names[:3]),
            )
        return await _make_mgmt(engine)
    try:
        return await storage.open(_MGMT)
    except CorruptError as error:
        if names != [_MGMT]:
            raise
        # A power cut while it was made. Where there is no pool there is nothing to lose.
        log.warning("management store is made again, there is no pool: %s", error)
        await storage.destroy(_MGMT)
        return await _make_mgmt(engine)


async def _make_mgmt(engine: Engine) -> MetaContext:
    uuid = uuid_from(engine.rng)
    return await engine.xstream.storage.create(_MGMT, uuid=uuid, size_bytes=MGMT_BYTES)


def _encode(record: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(record)
