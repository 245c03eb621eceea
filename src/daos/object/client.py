"""Objects seen from a client: each call finds its shard and becomes one request to its target.

Call-backs carry the data path (`update`, `fetch`, `punch`: `done` is called once, in the loop);
enumeration, a page of one shard, and queries, which may ask all shards, are coroutines. Buffers
given to `update` must stay unchanged until `done`; those that `into` names hold the answer when
`done` is called without an error, and anything otherwise.

Source: DAOS src/object/cli_obj.c, cli_shard.c.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from daos.base.checksum import ChecksumType, compute
from daos.base.errors import (
    AccessError,
    DaosError,
    InvalidError,
)
from daos.base.ids import Epoch, GroupIndex, ObjectId
from daos.base.iod import Iod, QueryFlag, Recx
from daos.cart.protocol import Procedure
from daos.object import core, wire
from daos.object.attempts import Attempts, Before, Cancel, Done
from daos.object.fetching import FetchDone, Fetching, Into
from daos.object.link import Call, ContainerLink
from daos.object.memory import Room, lend_values
from daos.placement.layout import Layout, Shard

UpdateDone = Callable[[Epoch, DaosError | None], None]

_QuestionT = TypeVar("_QuestionT", bound=wire.Question)
_ModificationT = TypeVar("_ModificationT", wire.UpdateRequest, wire.PunchRequest)
_ReplyT = TypeVar("_ReplyT")


class KeyPage(NamedTuple):
    """Keys, where to go on, and whether that was all."""

    keys: tuple[bytes, ...]
    anchor: bytes
    eof: bool


class RecxPage(NamedTuple):
    """Extents with the epochs that wrote them; `record_size` 0 where there are none."""

    recxs: tuple[Recx, ...]
    epochs: tuple[Epoch, ...]
    record_size: int
    anchor: bytes
    eof: bool


class VersionPage(NamedTuple):
    """Versions, where to go on, and whether that was all."""

    versions: tuple[wire.Version, ...]
    anchor: bytes
    eof: bool


class Choice(NamedTuple):
    """Which keys are listed: those with the prefix, from the start on, forwards or backwards."""

    prefix: bytes = b""
    start: bytes = b""
    reverse: bool = False


ALL: Final = Choice()


class Found(NamedTuple):
    """Answer of a key query: what was asked for, the rest empty."""

    dkey: bytes
    akey: bytes
    recx: Recx | None


# Dkeys whose shards are remembered, of how many bytes at most: half a MiB an object.
_REMEMBERED_MAX: Final = 4096
_REMEMBERED_KEY_MAX: Final = 64


class ObjectClient:
    """One object through one container handle; cheap, holds nothing on the server.

    Raises: InvalidError, NotSupportedError  the id names no class that this version stores
    """

    def __init__(self, link: ContainerLink, oid: ObjectId, layout: Layout) -> None:
        core.check_openable(oid)
        self.oid = oid
        self.layout = layout
        self._link = link
        self._maps = link.maps
        self._version = layout.version  # of the map that it is placed by
        # What requests to a shard have in common, by its number: made at its first request.
        self._addresses: dict[int, wire.ShardAddress] = {}
        # Where dkeys used lately are: to hash one takes 4 µs.
        self._shards: dict[bytes, Shard] = {}

    def update(
        self,
        dkey: bytes,
        iods: Sequence[Iod],
        values: Sequence[memoryview],
        *,
        cond: int = 0,
        call: Call,
        done: UpdateDone,
    ) -> Cancel:
        """Write values below one dkey, atomically. Returns what cancels the request.

        Shapes:  values has one C-contiguous buffer a single value or range, none for punches
        Raises:  InvalidError, KeyTooBigError, AccessError: nothing was sent
        """
        self._check_writable()
        core.check_update(self.oid, dkey, iods, cond)
        one = len(values) == 1 and len(iods) == 1 and len(iods[0].recxs) < 2 and iods[0].size
        if not one or values[0].nbytes != iods[0].nbytes:
            sizes = core.value_sizes(iods)
            if [value.nbytes for value in values] != sizes:
                raise InvalidError(
                    f"values have {[value.nbytes for value in values]} bytes, descriptors {sizes}"
                )
        checksums: tuple[bytes, ...] = ()
        if self._link.checksum_type is not ChecksumType.OFF:
            kind = self._link.checksum_type
            checksums = tuple([compute(kind, value) for value in values])
        shard = self._shard(dkey)
        dtx = self._link.new_dtx()
        request = wire.UpdateRequest(self._address(shard), dkey, tuple(iods), cond, checksums, dtx)
        lent = lend_values(self._link.context.bulk, values)
        if lent is None:
            return self._modify(shard, wire.UPDATE, request, values, call=call, done=done)

        def over(epoch: Epoch, error: DaosError | None) -> None:
            lent.release()
            done(epoch, error)

        request = msgspec.structs.replace(request, bulk=lent.handle)
        return self._modify(shard, wire.UPDATE, request, (), call=call, done=over)

    def punch(
        self,
        dkey: bytes,
        akeys: Sequence[bytes] = (),
        *,
        cond: int = 0,
        unchanged_since: int = 0,
        call: Call,
        done: UpdateDone,
    ) -> Cancel:
        """Hide a dkey, or akeys below it, from now on.

        `unchanged_since`: ExistsError if something of the dkey was written after this epoch.
        """
        self._check_writable()
        if not dkey:
            raise InvalidError("dkey: a key has at least one byte")
        core.check_punch(self.oid, dkey, akeys, cond)
        shard = self._shard(dkey)
        dtx = self._link.new_dtx()
        request = wire.PunchRequest(
            self._address(shard), dkey, tuple(akeys), cond, dtx, unchanged_since=unchanged_since
        )
        return self._modify(shard, wire.PUNCH, request, (), call=call, done=done)

    def punch_shard(
        self, group: GroupIndex, *, cond: int = 0, call: Call, done: UpdateDone
    ) -> Cancel:
        """Hide what one redundancy group holds; a whole object is all of its groups."""
        self._check_writable()
        core.check_punch(self.oid, b"", (), cond)
        if self._version != self._maps.version:
            self._follow()
        shard = self.layout.groups[group][0]
        dtx = self._link.new_dtx()
        request = wire.PunchRequest(self._address(shard), cond=cond, dtx=dtx)
        return self._modify(shard, wire.PUNCH, request, (), call=call, done=done)

    def fetch(
        self,
        dkey: bytes,
        iods: Sequence[Iod],
        into: Into | None,
        *,
        room: Room | None = None,
        cond: int = 0,
        call: Call,
        done: FetchDone,
    ) -> Cancel:
        """Read values below one dkey; `into` None asks for sizes only.

        `room` names the memory that `into` will name pieces of, where it is known before the reply;
        without it the result is at most what a frame carries.
        """
        core.check_fetch(self.oid, dkey, iods, cond)
        shard = self._shard(dkey)
        inline_max = 0 if room is None else wire.INLINE_MAX
        request = wire.FetchRequest(
            self._address(shard), dkey, tuple(iods), cond, into is None, inline_max
        )
        fetch = Fetching(
            self._link, shard, request, (into, room), now=self._now, call=call, done=done
        )
        return fetch.cancel

    async def list_dkeys(
        self, shard: Shard, *, anchor: bytes, limit: int, choice: Choice = ALL, call: Call
    ) -> KeyPage:
        """A page of the dkeys of one shard; b"" starts."""
        shard = self._now(shard)
        request = wire.KeyListRequest(self._address(shard), anchor, limit, b"", *choice)
        reply = await self._call(shard, wire.DKEY_LIST, request, call)
        return KeyPage(reply.keys, reply.anchor, reply.eof)

    async def list_akeys(
        self, dkey: bytes, *, anchor: bytes, limit: int, choice: Choice = ALL, call: Call
    ) -> KeyPage:
        """A page of the akeys of one dkey."""
        core.check_key(dkey, self.oid.type.dkey_kind, "dkey")
        shard = self._shard(dkey)
        request = wire.KeyListRequest(self._address(shard), anchor, limit, dkey, *choice)
        reply = await self._call(shard, wire.AKEY_LIST, request, call)
        return KeyPage(reply.keys, reply.anchor, reply.eof)

    async def list_recxs(
        self,
        dkey: bytes,
        akey: bytes,
        *,
        anchor: bytes,
        limit: int,
        reverse: bool = False,
        call: Call,
    ) -> RecxPage:
        """A page of the visible extents of one array akey; empty only at the end."""
        core.check_key(dkey, self.oid.type.dkey_kind, "dkey")
        core.check_key(akey, self.oid.type.akey_kind, "akey")
        shard = self._shard(dkey)
        at = self._address(shard)
        eof = False
        while not eof:  # a page of holes alone is empty
            request = wire.RecxListRequest(at, dkey, akey, anchor, limit, reverse)
            reply = await self._call(shard, wire.RECX_LIST, request, call)
            anchor, eof = reply.anchor, reply.eof or bool(reply.recxs)
        epochs = tuple(Epoch(epoch) for epoch in reply.epochs)
        return RecxPage(reply.recxs, epochs, reply.record_size, reply.anchor, reply.eof)

    async def list_versions(
        self,
        dkey: bytes,
        akey: bytes,
        epochs: tuple[int, int],
        *,
        anchor: bytes,
        limit: int,
        reverse: bool = False,
        call: Call,
    ) -> VersionPage:
        """A page of what was ever written under one akey in epochs [lo, hi]; hi 0: until now."""
        core.check_key(dkey, self.oid.type.dkey_kind, "dkey")
        core.check_key(akey, self.oid.type.akey_kind, "akey")
        shard = self._shard(dkey)
        at = self._address(shard)
        request = wire.VersionListRequest(at, dkey, akey, anchor, limit, *epochs, reverse)
        reply = await self._call(shard, wire.VERSION_LIST, request, call)
        return VersionPage(reply.versions, reply.anchor, reply.eof)

    async def query_key(
        self, flags: int, *, dkey: bytes = b"", akey: bytes = b"", call: Call
    ) -> Found | None:
        """The largest or smallest integer dkey, akey or record; None where nothing is.

        With DKEY asked for, all shards are asked and the winning dkey's answer is returned.
        """
        if flags & QueryFlag.DKEY:
            asked = self._shards_now()
        else:
            core.check_key(dkey, self.oid.type.dkey_kind, "dkey")
            asked = [self._shard(dkey)]
        return _outermost(flags, await self._query(asked, (flags, dkey, akey), call))

    async def query_changed(
        self, flags: int, *, akey: bytes = b"", call: Call
    ) -> tuple[Found | None, Epoch]:
        """`query_key` for dkeys, and `newest_epoch`: both with one request a shard."""
        assert flags & QueryFlag.DKEY, "other queries ask one shard"
        replies = await self._query(self._shards_now(), (flags, b"", akey, True), call)
        return _outermost(flags, replies), Epoch(max(reply.newest for reply in replies))

    async def newest_epoch(self, *, call: Call) -> Epoch:
        """When anything of the object was changed last; 0: nothing is there."""
        replies = await _together(
            self._call(
                shard, wire.NEWEST_EPOCH, wire.NewestEpochRequest(self._address(shard)), call
            )
            for shard in self._shards_now()
        )
        return Epoch(max(reply.newest for reply in replies))

    async def _query(
        self, shards: Sequence[Shard], question: tuple[Any, ...], call: Call
    ) -> list[wire.QueryKeyReply]:
        """`question`: fields of the request."""
        return await _together(
            self._call(
                shard,
                wire.QUERY_KEY,
                wire.QueryKeyRequest(self._address(shard), *question),
                call,
            )
            for shard in shards
        )

    def _modify(
        self,
        shard: Shard,
        procedure: Procedure[_ModificationT, wire.UpdateReply],
        request: _ModificationT,
        values: Sequence[memoryview],
        *,
        call: Call,
        done: UpdateDone,
    ) -> Cancel:
        link = self._link

        def finish(
            reply: wire.UpdateReply | None, payload_nbytes: int, error: DaosError | None
        ) -> None:
            done(Epoch(reply.epoch if reply is not None else 0), error)

        copy = None

        def stale() -> None:
            link.refresh(link.endpoint(shard))

        def send(before: Before, done: Done[wire.UpdateReply]) -> Cancel:
            nonlocal copy, shard
            if copy is None:
                copy = request
            else:  # while nothing can have been executed, the id may be another one: a newer one
                unanswered, place = before
                dtx = copy.dtx if unanswered else link.new_dtx()
                copy = msgspec.structs.replace(copy, dtx=dtx, resend=unanswered, enqueue_id=place)
                if copy.address.map_version != self._maps.version:
                    new = self._now(shard)
                    # Where it stood a copy may have been executed: nobody else knows the id.
                    if not unanswered or link.endpoint(new) == link.endpoint(shard):
                        shard = new
                        copy = msgspec.structs.replace(copy, address=self._address(shard))
            return link.context.send(
                link.endpoint(shard),
                procedure,
                copy,
                deadline_ns=call.deadline_ns,
                trace_id=call.trace_id,
                payload=values,
                done=done,
            ).cancel

        return Attempts(
            link.pacing, send, finish, deadline_ns=call.deadline_ns, modifies=True, stale=stale
        ).cancel

    async def _call(
        self,
        shard: Shard,
        procedure: Procedure[_QuestionT, _ReplyT],
        request: _QuestionT,
        call: Call,
    ) -> _ReplyT:
        link = self._link
        return await link.ask(
            link.endpoint(shard),
            procedure,
            request,
            call,
            now=lambda: link.endpoint(self._now(shard)),
        )

    def _now(self, shard: Shard) -> Shard:
        """A shard where it is by the pool map of now."""
        if self._version != self._maps.version:
            self._follow()
        groups = self.layout.groups
        group, place = divmod(shard.shard, len(groups[0]))
        return groups[group][place]

    def _shards_now(self) -> Sequence[Shard]:
        if self._version != self._maps.version:
            self._follow()
        return core.shards(self.layout)

    def _follow(self) -> None:
        """Place the object by the pool map of now."""
        self.layout = self._link.place(self.oid)
        self._version = self.layout.version
        self._shards.clear()
        self._addresses.clear()

    def _shard(self, dkey: bytes) -> Shard:
        """The one that owns a dkey, which was checked."""
        if self._version != self._maps.version:
            self._follow()
        shard = self._shards.get(dkey)
        if shard is None:
            shard = core.shard_of(self.layout, self.oid, dkey)
            if len(dkey) <= _REMEMBERED_KEY_MAX:
                if len(self._shards) >= _REMEMBERED_MAX:
                    self._shards.clear()
                self._shards[dkey] = shard
        return shard

    def _address(self, shard: Shard) -> wire.ShardAddress:
        address = self._addresses.get(shard.shard)
        if address is None:
            link, oid = self._link, self.oid
            address = self._addresses[shard.shard] = wire.ShardAddress(
                link.handle, oid.hi, oid.lo, shard.shard, self._version, link.epoch, link.pool
            )
        return address

    def _check_writable(self) -> None:
        if not self._link.writable:
            raise AccessError("the container is open read-only")


def _outermost(flags: int, replies: Sequence[wire.QueryKeyReply]) -> Found | None:
    found = [reply for reply in replies if reply.found]
    if not found:
        return None
    choose = max if flags & QueryFlag.MAX else min
    best = choose(found, key=lambda reply: int.from_bytes(reply.dkey, "little"))
    return Found(best.dkey, best.akey, best.recx)


async def _together(calls: Iterable[Coroutine[Any, Any, _ReplyT]]) -> list[_ReplyT]:
    """The replies of all; the first error where there is one, once all have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* DaosError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
