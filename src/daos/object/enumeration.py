"""Requests that ask a target what there is: pages of keys, extents, versions, objects, changes.

Nothing is changed here; a page leaves once the log is durable up to all that it shows.
Source: DAOS src/object/srv_obj.c ds_obj_enum_handler, ds_obj_query_key_handler
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from daos.base.errors import DaosError, DeadlineError, InvalidError
from daos.base.iod import Recx
from daos.object import changes, core, wire
from daos.object.address import read_epoch, unit_of
from daos.object.large import answer
from daos.vos.versions import Epochs

if TYPE_CHECKING:
    from daos.base.ids import Epoch
    from daos.cart.context import Rpc
    from daos.engine.target import ContainerHandle, Target
    from daos.vos.newest import NewestEpoch
    from daos.vos.query import KeySearch

PAGE_ENTRIES_MAX: Final = 256  # of one enumeration reply: a turn of the loop, 14 us a key


class Enumeration:
    """Serves the enumerations and queries of one target."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hlc = target.xstream.hlc

    def serve(self) -> None:
        """Register them."""
        serve = self._target.xstream.context.serve
        serve(wire.DKEY_LIST, self.list_dkeys)
        serve(wire.AKEY_LIST, self.list_akeys)
        serve(wire.RECX_LIST, self.list_recxs)
        serve(wire.OBJECT_LIST, self.list_objects)
        serve(wire.VERSION_LIST, self.list_versions)
        serve(wire.QUERY_KEY, self.query_key)
        serve(wire.CHANGE_LIST, self.list_changes)
        serve(wire.NEWEST_EPOCH, self.newest_epoch)
        serve(wire.POOL_MAP, self.pool_map)

    def _handle(self, address: wire.ShardAddress) -> ContainerHandle:
        """Raises: as `Target.handle`, `Target.check_map`"""
        handle = self._target.handle(address.handle, address.pool, write=False)
        if address.map_version != handle.shard.map_version:
            self._target.check_map(handle.shard, address.map_version)
        return handle

    def pool_map(self, rpc: Rpc) -> None:
        """The newest one that this target knows."""
        request: wire.PoolMapRequest = rpc.request
        address = request.address
        shard = self._target.handle(address.handle, address.pool, write=False).shard
        rpc.reply(wire.PoolMapReply(shard.pool_map))

    def list_dkeys(self, rpc: Rpc) -> None:
        """A page of visible dkeys."""
        request: wire.KeyListRequest = rpc.request
        self._list_keys(rpc, request, dkey=None)

    def list_akeys(self, rpc: Rpc) -> None:
        """A page of the visible akeys of a dkey."""
        request: wire.KeyListRequest = rpc.request
        core.check_key(request.dkey, unit_of(request.address).oid.type.dkey_kind, "dkey")
        self._list_keys(rpc, request, dkey=request.dkey)

    def _list_keys(self, rpc: Rpc, request: wire.KeyListRequest, *, dkey: bytes | None) -> None:
        handle = self._handle(request.address)
        unit, epoch = unit_of(request.address), read_epoch(request.address, self._hlc)
        if dkey is None:
            listing = partial(handle.container.list_dkeys, unit)
        else:
            listing = partial(handle.container.list_akeys, unit, dkey)
        page = listing(
            epoch,
            anchor=request.anchor,
            limit=_page_limit(request.limit),
            prefix=request.prefix,
            start=request.start,
            reverse=request.reverse,
        )
        reply = wire.KeyListReply(tuple(page.entries), page.anchor, page.eof, epoch)
        answer(rpc, handle, page.lsn, lambda: rpc.reply(reply))

    def list_recxs(self, rpc: Rpc) -> None:
        """A page of the visible extents of an array akey."""
        request: wire.RecxListRequest = rpc.request
        handle = self._handle(request.address)
        unit, epoch = unit_of(request.address), read_epoch(request.address, self._hlc)
        core.check_key(request.dkey, unit.oid.type.dkey_kind, "dkey")
        core.check_key(request.akey, unit.oid.type.akey_kind, "akey")
        page = handle.container.list_extents(
            unit,
            request.dkey,
            request.akey,
            epoch,
            anchor=request.anchor,
            limit=_page_limit(request.limit),
            reverse=request.reverse,
        )
        reply = wire.RecxListReply(
            page.entries[0].record_size if page.entries else 0,
            tuple(Recx(entry.lo, entry.hi - entry.lo) for entry in page.entries),
            tuple(entry.epoch for entry in page.entries),
            page.anchor,
            page.eof,
            epoch,
        )
        answer(rpc, handle, page.lsn, lambda: rpc.reply(reply))

    def list_versions(self, rpc: Rpc) -> None:
        """A page of what was ever written under an akey, up to the reader's epoch."""
        request: wire.VersionListRequest = rpc.request
        handle = self._handle(request.address)
        unit, epoch = unit_of(request.address), read_epoch(request.address, self._hlc)
        epochs = Epochs(request.epoch_lo, min(request.epoch_hi or epoch, epoch))
        page = handle.container.list_versions(
            unit,
            request.dkey,
            request.akey,
            epochs,
            anchor=request.anchor,
            limit=_page_limit(request.limit),
            reverse=request.reverse,
        )
        versions = tuple(
            wire.Version(each.lo, each.hi - each.lo, *each[2:]) for each in page.entries
        )
        reply = wire.VersionListReply(versions, page.anchor, page.eof, epoch)
        answer(rpc, handle, page.lsn, lambda: rpc.reply(reply))

    def list_objects(self, rpc: Rpc) -> None:
        """A page of this target's object shards."""
        request: wire.ObjectListRequest = rpc.request
        handle = self._handle(request.address)
        epoch = read_epoch(request.address, self._hlc)
        page = handle.container.list_objects(
            epoch,
            anchor=request.anchor,
            limit=_page_limit(request.limit),
            reverse=request.reverse,
        )
        objects = tuple((unit.oid.hi, unit.oid.lo, unit.shard) for unit in page.entries)
        reply = wire.ObjectListReply(objects, page.anchor, page.eof, epoch)
        answer(rpc, handle, page.lsn, lambda: rpc.reply(reply))

    def list_changes(self, rpc: Rpc) -> None:
        """A page of what differs between two epochs, of this target's part of a container."""
        request: wire.ChangeListRequest = rpc.request
        handle = self._handle(request.address)
        epoch = read_epoch(request.address, self._hlc)
        reply, lsn = changes.listed(handle.container, request, epoch)
        answer(rpc, handle, lsn, lambda: rpc.reply(reply))

    def query_key(self, rpc: Rpc) -> None:
        """The largest or smallest key or record of this shard."""
        request: wire.QueryKeyRequest = rpc.request
        handle = self._handle(request.address)
        unit, epoch = unit_of(request.address), read_epoch(request.address, self._hlc)
        search = handle.container.key_search(
            unit, request.flags, epoch, dkey=request.dkey or None, akey=request.akey or None
        )
        self._look_on(rpc, handle, search, lambda: self._queried(rpc, handle, search, epoch))

    def newest_epoch(self, rpc: Rpc) -> None:
        """When a shard was changed last."""
        request: wire.NewestEpochRequest = rpc.request
        handle = self._handle(request.address)
        unit, epoch = unit_of(request.address), read_epoch(request.address, self._hlc)
        search = handle.container.newest_epoch(unit, epoch)

        def done() -> None:
            reply = wire.NewestEpochReply(search.epoch, epoch)
            answer(rpc, handle, search.lsn, lambda: rpc.reply(reply))

        self._look_on(rpc, handle, search, done)

    def _queried(self, rpc: Rpc, handle: ContainerHandle, search: KeySearch, epoch: Epoch) -> None:
        """What was found, and when the shard was changed last, if that is asked for, too."""
        request: wire.QueryKeyRequest = rpc.request
        found = search.found
        if found is None:
            reply = wire.QueryKeyReply(found=False, epoch=epoch)
        else:
            reply = wire.QueryKeyReply(
                True, found.dkey or b"", found.akey or b"", found.recx, found.record_size, epoch
            )
        if not request.newest:
            answer(rpc, handle, search.lsn, lambda: rpc.reply(reply))
            return
        newest = handle.container.newest_epoch(unit_of(request.address), epoch)

        def done() -> None:  # what it depends on, the query does as well
            whole = replace(reply, newest=newest.epoch)
            answer(rpc, handle, newest.lsn, lambda: rpc.reply(whole))

        self._look_on(rpc, handle, newest, done)

    def _look_on(
        self,
        rpc: Rpc,
        handle: ContainerHandle,
        search: KeySearch | NewestEpoch,
        done: Callable[[], None],
    ) -> None:
        """A step of the search a turn of the loop."""
        xstream = self._target.xstream
        try:
            address = rpc.request.address
            self._target.handle(address.handle, address.pool, write=False)
            if rpc.header.deadline_ns <= xstream.clock.now_ns():
                raise DeadlineError("the object has too many records to look at in that time")
            if search.step(PAGE_ENTRIES_MAX):
                xstream.loop.call_soon(self._look_on, rpc, handle, search, done)
                return
        except DaosError as error:
            search.close()
            rpc.fail(error)
            return
        done()


def _page_limit(limit: int) -> int:
    if limit < 1:
        raise InvalidError(f"a page holds at least one entry, not {limit}")
    return min(limit, PAGE_ENTRIES_MAX)
