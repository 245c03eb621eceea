"""The services of a system: management, pools, containers. They run on one of its ranks.

    mgmt rdb --Store.open--> Store --Services.start--> procedures on the rank's system xstream

The device `mgmt` in the directory of that rank holds what the system is for life:

    system     SystemRecord
    members    MembersRecord, of a system with several ranks
    pool/…     pools (mgmt/server.py)

Crash table:
    while `mgmt` is made     it is alone in the directory: made again at the next start
    any other time           each shard recovers by itself, management finishes half-done work

Source: DAOS src/mgmt/srv.c, src/control/system (membership); ours: members are for life.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from daos.base.clock import uuid_from
from daos.base.errors import CorruptError, DaosError, InvalidError, NotSupportedError
from daos.base.ids import PoolUuid, Rank
from daos.bio.meta import MetaContext
from daos.cart.context import Endpoint
from daos.container.server import ContainerModule
from daos.embedded.engine import Engine
from daos.mgmt.server import ManagementModule
from daos.pool.records import parse_record
from daos.pool.server import PoolModule
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


class Member(NamedTuple):
    """A rank of a system: where it runs, and how many targets it has."""

    host: str  # name of the fault domain
    rank: Rank
    targets: int


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

    async def check_members(self, members: tuple[Member, ...]) -> None:
        """Record the ranks of a new system, compare those of an old one.

        Raises: InvalidError  the system has other ranks
        """
        given = MembersRecord(tuple((each.host, each.rank, each.targets) for each in members))
        if len(members) > 1:
            await self.rdb.txn([absent(_MEMBERS_KEY)], [Put(_MEMBERS_KEY, _encode(given))])
        found = (await self.rdb.range(_MEMBERS_KEY)).pairs
        if found and parse_record(MembersRecord, found[0].value, "members") != given:
            raise InvalidError(f"the system has other ranks for life than {members}")


class Services:
    """Made by `start`. They end with the engine they run on."""

    def __init__(self, engine: Engine) -> None:
        self.endpoint = Endpoint(engine.rank, engine.xstream.tag)
        self.pools = PoolModule(engine.xstream, engine.storage)
        self._containers = ContainerModule(engine.xstream, self.pools)
        self._evict = True
        engine.at_close(self.pools.close)
        engine.at_close(self._containers.close)

    @classmethod
    async def start(
        cls, engine: Engine, store: Store, members: tuple[Member, ...], *, evict: bool
    ) -> Services:
        """Open every pool and serve. Targets must listen; ranks that can't be reached join later.

        `evict`: no client of the last run is alive, so their handles are forgotten.

        Raises: InvalidError (other members than the system has), CorruptError
        """
        await store.check_members(members)
        services = cls(engine)
        services._evict = evict
        pools, containers = services.pools, services._containers
        pools.attach(containers)
        mgmt = ManagementModule(
            engine.xstream,
            store.rdb,
            members=_by_host(members),
            services=services,
        )
        engine.at_close(mgmt.close)
        pools.setup_system()
        containers.setup_system()
        mgmt.setup_system()
        engine.xstream.context.listen()
        await mgmt.start()
        engine.joined()
        services.pools.started()
        return services

    async def open(self, pool: PoolUuid) -> None:
        """Open the services of a pool; management asks when its shards are open."""
        await self.pools.open(pool, evict=self._evict)
        await self._containers.open(pool, evict=self._evict)

    def refuse(self, pool: PoolUuid, error: DaosError) -> None:
        """Say why to whoever asks for a pool that could not be opened."""
        self.pools.refuse(pool, error)

    async def rejoin(self, pool: PoolUuid, endpoints: Sequence[Endpoint]) -> None:
        """Tell targets that have just started what is open of a pool."""
        await self._containers.rejoin(pool, endpoints)


def _by_host(members: tuple[Member, ...]) -> list[tuple[str, list[tuple[Rank, int]]]]:
    hosts: dict[str, list[tuple[Rank, int]]] = {}
    for member in members:
        hosts.setdefault(member.host, []).append((member.rank, member.targets))
    return list(hosts.items())


async def _open_mgmt(engine: Engine) -> MetaContext:
    storage, names = engine.storage, engine.directory.names()
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
    return await engine.storage.create(_MGMT, uuid=uuid_from(engine.rng), size_bytes=MGMT_BYTES)


def _encode(record: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(record)
