"""An object with two levels of keys: dkey (which shard), akey (which value).

    update/fetch     a single value under an akey, replaced as a whole
    write/read       an array of equal records under an akey, any range of them
    update_many      several akeys below one dkey, one atomic update
    punch*           hide from now on; older snapshots still see it

An akey keeps one kind of value, and an array akey one record size, for life. Each call below one
dkey is one request to one target; `punch` and enumeration of dkeys visit all shards. What there is
to enumerate and to ask: `keys.ObjectKeys`.

Objects of the flat types, key-values and arrays, have one value a dkey, single or an array, under
whatever akey a call names: the name does not matter. Several akeys in one update are refused.

An empty value is a value: `update(d, a, b"")` makes the akey exist, `fetch` gives b"" then, and
None where there is no such akey. In `fetch_many` both are None.

Source: DAOS src/include/daos_obj.h, src/object/cli_obj.c; features §5.2
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, overload

from daos.base.errors import InvalidError, NotFoundError, RecordTooBigError
from daos.base.ids import Epoch
from daos.base.iod import Cond, Iod, IodType, Recx
from daos.client.execute import execute
from daos.client.keys import ObjectKeys
from daos.client.landing import (
    ManyLanding,
    RecordsLanding,
    ValueLanding,
)
from daos.client.listio import FetchPlan
from daos.client.memory import BufferLike, check_fits, new_bytes, readable, writable
from daos.client.objectio import RUNNING_MAX, settle_epoch, settle_fetch
from daos.client.task import Batch
from daos.client.values import (
    Extents,
    Key,
    KeyT,
    Range,
    Value,
    array_iod,
    check_count,
    check_named,
)
from daos.object.core import IODS_MAX
from daos.object.wire import FETCH_BYTES_MAX, UPDATE_BYTES_MAX
from daos.placement.layout import Layout

_EXISTS: Final = int(Cond.DKEY_FETCH | Cond.AKEY_FETCH)  # a number: flags are slow


class Object(ObjectKeys):
    """One object through one container handle; holds nothing on any server."""

    async def update(
        self,
        dkey: Key,
        akey: Key,
        value: BufferLike,
        *,
        cond: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Make `value` the single value of `akey`. Durable on return.

        Atomicity:  all or nothing; `value` must not change before the return
        Raises:     ExistsError, NotFoundError (cond), NoSpaceError, InvalidError, KeyTooBigError,
                    RecordTooBigError, AccessError
        """
        view = readable(value)
        iod = Iod(self._akey(akey), IodType.SINGLE, view.nbytes)
        await self._update(dkey, (iod,), [view] if view.nbytes else [], cond, timeout)

    @overload
    async def fetch(
        self,
        dkey: Key,
        akey: Key,
        *,
        into: None = None,
        cond: int = 0,
        timeout: float | None = None,
    ) -> bytes | None: ...

    @overload
    async def fetch(
        self,
        dkey: Key,
        akey: Key,
        *,
        into: BufferLike,
        cond: int = 0,
        timeout: float | None = None,
    ) -> int | None: ...

    async def fetch(
        self,
        dkey: Key,
        akey: Key,
        *,
        into: BufferLike | None = None,
        cond: int = 0,
        timeout: float | None = None,
    ) -> bytes | int | None:
        """The single value of `akey`; None where nothing is. With `into`: bytes written there.

        Raises: RecordTooBigError (the value is larger than `into`), NotFoundError (cond),
                InvalidError, ChecksumError
        """
        landing = ValueLanding(None if into is None else writable(into))
        iod = Iod(self._akey(akey), IodType.SINGLE, 0)
        with self._operation(timeout) as call:
            request = self._io.fetch(
                self._dkey(dkey), (iod,), landing, cond=cond or _EXISTS, call=call
            )
            try:
                await settle_fetch(request)
            except NotFoundError:
                if cond:
                    raise
                return None
        return landing.value if into is None else landing.nbytes

    async def size(self, dkey: Key, akey: Key, *, timeout: float | None = None) -> int:
        """Bytes of the single value, or of each record of an array; 0 where nothing is.

        Cost: one request, two where there is no single value
        """
        key, name = self._dkey(dkey), self._akey(akey)
        iod = Iod(name, IodType.SINGLE, 0)
        with self._operation(timeout) as call:
            reply = await settle_fetch(self._io.fetch(key, (iod,), None, call=call))
            if reply.sizes[0]:
                return reply.sizes[0]
            page = await self._io.client.list_recxs(key, name, anchor=b"", limit=1, call=call)
            return page.record_size

    async def write(
        self,
        dkey: Key,
        akey: Key,
        offset: int,
        data: BufferLike,
        *,
        record_size: int = 1,
        cond: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Make `data` the content of records from `offset` on. Durable on return.

        Units:      offset in records of record_size bytes
        Atomicity:  as update
        Raises:     InvalidError (no whole number of records, another record size), as update
        """
        iod, views = array_iod(self._akey(akey), Extents(record_size, [(offset, data)]))
        if not views:
            with self._operation(timeout, write=True):
                return
        await self._update(dkey, (iod,), views, cond, timeout)

    @overload
    async def read(
        self,
        dkey: Key,
        akey: Key,
        offset: int,
        count: int,
        *,
        record_size: int = 1,
        into: None = None,
        cond: int = 0,
        timeout: float | None = None,
    ) -> bytes: ...

    @overload
    async def read(
        self,
        dkey: Key,
        akey: Key,
        offset: int,
        count: int,
        *,
        record_size: int = 1,
        into: BufferLike,
        cond: int = 0,
        timeout: float | None = None,
    ) -> int: ...

    async def read(
        self,
        dkey: Key,
        akey: Key,
        offset: int,
        count: int,
        *,
        record_size: int = 1,
        into: BufferLike | None = None,
        cond: int = 0,
        timeout: float | None = None,
    ) -> bytes | int:
        """Records [offset, offset + count); holes, and what was never written, are zero.

        With `into` they go there, and the number of bytes written is returned.

        Raises: InvalidError (another record size), RecordTooBigError (`into` is too small, or
                more than one request brings), NotFoundError (cond), ChecksumError
        """
        recx = Recx(check_count(offset, "offset"), check_count(count, "count"))
        nbytes = recx.count * check_count(record_size, "record_size", least=1)
        if nbytes > FETCH_BYTES_MAX:
            raise RecordTooBigError(
                f"{nbytes} bytes asked for; one read brings at most {FETCH_BYTES_MAX}"
            )
        result = b""
        if into is None:
            result, view = new_bytes(nbytes)
        else:
            view = writable(into)
            check_fits(nbytes, view, "the range")
        key, name = self._dkey(dkey), self._akey(akey)
        landing = RecordsLanding(view, record_size)
        with self._operation(timeout) as call:
            if nbytes:
                iod = Iod(name, IodType.ARRAY, record_size, (recx,))
                request = self._io.fetch(key, (iod,), landing, cond=cond, call=call)
                landing.finish(await settle_fetch(request))
                landing.fill(recx.count)
        return result if into is None else nbytes

    async def update_many(
        self,
        dkey: Key,
        values: Mapping[KeyT, Value],
        *,
        cond: int = 0,
        akey_conds: Mapping[KeyT, int] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Single values and `Extents` of several akeys, one atomic update. Durable on return.

        `akey_conds`: conditions of single akeys (`cond` then says nothing of akeys).

        Raises: as update and write
        """
        conds, cond = self._akey_conds(akey_conds, cond)
        iods: list[Iod] = []
        views: list[memoryview] = []
        for akey, value in values.items():
            name = self._akey(akey)
            flags = conds.get(name, 0)
            if isinstance(value, Extents):
                iod, pieces = array_iod(name, value, cond=flags)
                views += pieces
            else:
                view = readable(value)
                iod = Iod(name, IodType.SINGLE, view.nbytes, cond=flags)
                views += [view] if view.nbytes else []
            iods.append(iod)
        if conds:
            check_named(conds, iods, "updated")
        await self._update(dkey, iods, views, cond, timeout)

    async def fetch_many(
        self,
        dkey: Key,
        akeys: Sequence[Key | Range],
        *,
        cond: int = 0,
        akey_conds: Mapping[KeyT, int] | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None]:
        """Single values and `Range`s of records, in one request, as of one moment.

        Each is None where nothing is; in a range, holes are zero. Ranges may be thousands, in any
        order; those of one akey travel together. `akey_conds`: conditions of single akeys (`cond`
        then says nothing of akeys).

        Raises: NotFoundError (cond), RecordTooBigError (more than one request brings),
                InvalidError, ChecksumError
        """
        conds, cond = self._akey_conds(akey_conds, cond)
        plan = FetchPlan()
        for wanted in akeys:
            if isinstance(wanted, Range):
                plan.add_range(self._akey(wanted.akey), wanted)
            else:
                plan.add_value(self._akey(wanted))
        iods, slots = plan.request(conds)
        if conds:
            check_named(conds, iods, "fetched")
        landing = ManyLanding(slots)
        with self._operation(timeout) as call:
            request = self._io.fetch(self._dkey(dkey), iods, landing, cond=cond, call=call)
            await settle_fetch(request)
            return landing.finish()

    async def punch(self, *, cond: int = 0, timeout: float | None = None) -> None:
        """Hide the whole object from now on. One shard after the other becomes empty.

        Raises: NotFoundError (cond PUNCH and nothing is there), AccessError
        """
        with self._operation(timeout, write=True) as call:
            await execute(self._io.punch_all(cond=cond, call=call))

    async def punch_dkeys(
        self, dkeys: Sequence[Key], *, cond: int = 0, timeout: float | None = None
    ) -> None:
        """Hide dkeys with all below them, each atomically. Raises: as punch."""
        keys = [self._dkey(dkey) for dkey in dkeys]
        with self._operation(timeout, write=True) as call:
            batch = Batch(running_max=RUNNING_MAX)
            for key in keys:
                batch.add(self._io.punch(key, cond=cond, call=call))
            await execute(batch)

    async def punch_akeys(
        self, dkey: Key, akeys: Sequence[Key], *, cond: int = 0, timeout: float | None = None
    ) -> None:
        """Hide akeys below one dkey, atomically. Raises: as punch."""
        names = [self._akey(akey) for akey in akeys]
        if len(names) > IODS_MAX:
            raise InvalidError(f"{len(names)} akeys; one punch takes at most {IODS_MAX}")
        key = self._dkey(dkey)
        with self._operation(timeout, write=True) as call:
            if names:
                await settle_epoch(self._io.punch(key, names, cond=cond, call=call))

    async def punch_range(
        self,
        dkey: Key,
        akey: Key,
        offset: int,
        count: int,
        *,
        cond: int = 0,
        timeout: float | None = None,
    ) -> None:
        """Make a hole of records [offset, offset + count).

        Raises: ExistsError, NotFoundError (cond, as of an update), AccessError
        """
        recx = Recx(check_count(offset, "offset"), check_count(count, "count", least=1))
        iod = Iod(self._akey(akey), IodType.ARRAY, 0, (recx,))
        await self._update(dkey, (iod,), [], cond, timeout)

    def layout(self) -> Layout:
        """Redundancy groups and their shards: rank, target, state."""
        return self._io.layout

    async def _update(
        self,
        dkey: Key,
        iods: Sequence[Iod],
        views: Sequence[memoryview],
        cond: int,
        timeout: float | None,
    ) -> Epoch:
        nbytes = sum([view.nbytes for view in views])
        if nbytes > UPDATE_BYTES_MAX:
            raise RecordTooBigError(
                f"{nbytes} bytes given; one update takes at most {UPDATE_BYTES_MAX}"
            )
        with self._operation(timeout, write=True) as call:
            request = self._io.update(self._dkey(dkey), iods, views, cond=cond, call=call)
            return await settle_epoch(request)

    def _akey_conds(
        self, conds: Mapping[KeyT, int] | None, cond: int
    ) -> tuple[dict[bytes, int], int]:
        """Conditions by encoded akey, and the request's own."""
        if not conds:
            return {}, cond
        return {self._akey(akey): own for akey, own in conds.items()}, cond | Cond.PER_AKEY
