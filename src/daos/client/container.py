"""An open container: object ids, objects, snapshots.

New object ids take their low 64 bits from numbers that the service gives out durably, a range at a
time; ranges double from 16 to 1024 while one handle keeps asking. What is left of a range when the
handle closes is never given to anybody.

`at(snapshot)` is a view: the same handle, read-only, every request naming the snapshot's epoch.

Source: DAOS src/client/api/container.c, src/container/cli.c; features §4.4 for classes and hints
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, overload
from uuid import UUID

import msgspec

from daos.base.checksum import ChecksumType, on_the_way
from daos.base.errors import InvalidError, NotFoundError, StaleHandleError
from daos.base.ids import U64_MAX, Epoch, ObjectId, ObjectType, tag_of
from daos.base.names import check_snapshot_name
from daos.cart.context import Endpoint
from daos.client.array import CHUNK_DEFAULT, Array, open_array
from daos.client.attributes import ServiceHandle
from daos.client.diff import ANCHOR as DIFF_ANCHOR
from daos.client.diff import Change, change_of, changes_of
from daos.client.kv import KeyValue
from daos.client.listing import PAGE_ENTRIES, Fetch, Listing, Page
from daos.client.object import Object
from daos.client.objectio import ObjectIo
from daos.client.session import Call, Handle, Opening, Session
from daos.client.values import ContainerInfo, Snapshot
from daos.container.client import ContainerClient
from daos.object.core import check_type
from daos.object.link import ContainerLink
from daos.object.maps import PoolMaps
from daos.object.wire import OBJECT_LIST, ObjectListRequest
from daos.object.wire import Change as WireChange
from daos.placement.oclass import class_id_of
from daos.placement.oid import Hint, generate
from daos.placement.pool_map import Level, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daos.container import wire
    from daos.dfs.filesystem import FileSystem

_OIDS_FIRST: Final = 16
_OIDS_MOST: Final = 1024

_OID_ANCHOR: Final = msgspec.msgpack.Decoder(tuple[ObjectId | None, list[bytes | None]])


class Container(ServiceHandle[ContainerClient]):
    """A container handle, or a read-only view of one as of a snapshot."""

    def __init__(
        self,
        session: Session,
        parent: Handle,
        service: ContainerClient,
        maps: PoolMaps,
        *,
        writable: bool,
        exclusive: bool = False,
    ) -> None:
        super().__init__(session, parent, service, writable=writable)
        self.epoch = Epoch(0)
        self.exclusive = exclusive  # nobody else has it open
        self._maps = maps
        self._redundancy_factor = 0
        self._oids_next = self._oids_end = 0
        self._oids_count = _OIDS_FIRST
        self._level = Level.NODE
        self._link: ContainerLink

    async def query(self, *, timeout: float | None = None) -> ContainerInfo:
        """Numbers of the container, now."""
        with self._operation(timeout) as call:
            reply = await self._service.query(call)
        return ContainerInfo(
            uuid=UUID(bytes=reply.uuid),
            label=reply.label,
            handles=reply.handles,
            snapshots=reply.snapshots,
            newest_snapshot=Epoch(reply.newest_snapshot),
            opened=Epoch(reply.opened),
            modified=Epoch(reply.modified),
        )

    async def new_oid(
        self,
        otype: str | ObjectType = "MULTI_HASHED",
        oclass: str | int | None = None,
        hints: str | Hint | None = None,
        *,
        timeout: float | None = None,
    ) -> ObjectId:
        """An object id that nobody else has or will get in this container.

        `oclass`: "S1", "SX", ...; None: chosen for the type, the hints and the container's
        redundancy. `hints`: names of `Hint`, such as "SHARDING_TINY", joined by "|".

        Raises: InvalidError (type, class, hint; a class that the pool can't hold), AccessError,
                NotSupportedError (object id tables)
        """
        kind, class_id, wanted = _object_type(otype), class_id_of(oclass), _hints(hints)
        check_type(kind)
        with self._operation(timeout, write=True) as call:
            return generate(
                kind,
                lo=await self._next_lo(call),
                topology=self._maps.jump(self._level).topology,
                rf=self._redundancy_factor,
                class_id=class_id,
                hints=wanted,
            )

    def object(self, oid: ObjectId, mode: str = "rw") -> Opening[Object]:
        """Open an object; nothing is sent. mode: "rw" or "r".

        Raises: InvalidError (the id names no class, or one that the pool can't hold)
        """

        async def open() -> Object:
            return self.open_object(oid, mode)

        return Opening(open)

    @overload
    def kv(
        self,
        oid: ObjectId | None = None,
        oclass: str | int | None = None,
        *,
        text: Literal[False] = False,
        timeout: float | None = None,
    ) -> Opening[KeyValue[bytes]]: ...

    @overload
    def kv(
        self,
        oid: ObjectId | None = None,
        oclass: str | int | None = None,
        *,
        text: Literal[True],
        timeout: float | None = None,
    ) -> Opening[KeyValue[str]]: ...

    def kv(
        self,
        oid: ObjectId | None = None,
        oclass: str | int | None = None,
        *,
        text: bool = False,
        timeout: float | None = None,
    ) -> Opening[Any]:
        """Open a flat key-value object; without an id a new one, see `kv.oid`.

        A new one has lexical keys, so that it can be scanned in order; `text`: keys are given out
        as str. Raises: InvalidError (the id is of another type)
        """

        async def open() -> KeyValue[Any]:  # of bytes, str or int: the overloads say
            new = oid
            if new is None:
                new = await self.new_oid(ObjectType.KV_LEXICAL, oclass, timeout=timeout)
            return KeyValue(self, self._io(new), text=text)

        return Opening(open)

    def array(
        self,
        oid: ObjectId | None = None,
        cell_size: int = 1,
        chunk_size: int = CHUNK_DEFAULT,
        oclass: str | int | None = None,
        *,
        create: bool = False,
        timeout: float | None = None,
    ) -> Opening[Array]:
        """Open an array, or make one: a new id where none is given, the given one with `create`.

        Type ARRAY keeps `cell_size` and `chunk_size` in the object; opened again they are read
        from there. ARRAY_ATTR and ARRAY_BYTE objects hold what each opening says.

        Units:  cell_size in bytes; chunk_size in cells, what one dkey holds
        Raises: NotFoundError (no such array), ExistsError (`create`), InvalidError (sizes, type),
                AccessError (the object holds something else)
        """

        async def open() -> Array:
            new = oid
            if new is None:
                new = await self.new_oid(ObjectType.ARRAY, oclass, timeout=timeout)
            return await open_array(
                self,
                self._io(new),
                cell_size=cell_size,
                chunk_size=chunk_size,
                create=create or oid is None,
                timeout=timeout,
            )

        return Opening(open)

    async def snapshot(self, name: str | None = None, *, timeout: float | None = None) -> Epoch:
        """Freeze now: all acknowledged before is in it, nothing begun later. Gives its epoch.

        Raises: ExistsError (name), InvalidError, AccessError
        """
        if name is not None:
            check_snapshot_name(name)
        with self._operation(timeout, write=True) as call:
            return Epoch((await self._service.snapshot_create(name or "", call)).epoch)

    async def snapshots(self, *, timeout: float | None = None) -> list[Snapshot]:
        """Every snapshot, oldest first."""
        with self._operation(timeout) as call:
            return [
                Snapshot(Epoch(record.epoch), record.name)
                for record in await self._service.snapshot_list(call)
            ]

    async def destroy_snapshot(
        self, epoch_or_name: int | str, *, timeout: float | None = None
    ) -> None:
        """Let go of a snapshot, by epoch or name. Raises: NotFoundError, AccessError."""
        epoch, name = _snapshot(epoch_or_name)
        with self._operation(timeout, write=True) as call:
            await self._service.snapshot_destroy(epoch, name, call)

    async def aggregate(self, epoch: int | None = None, *, timeout: float | None = None) -> None:
        """Give back the space of versions that no snapshot shows, up to `epoch`; None: up to now.

        Returns when it is done. What is newer than some 20 s is otherwise left alone, in case that
        somebody still reads at that time. A deadline that passes does not stop it.

        Raises: InvalidError, AccessError
        """
        if epoch is not None and not (type(epoch) is int and 0 < epoch <= U64_MAX):
            raise InvalidError(f"an epoch is a number from 1 to 2**64 - 1, not {epoch!r}")
        with self._operation(timeout, write=True) as call:
            await self._service.aggregate(epoch or 0, call)

    def at(self, epoch_or_name: int | str, *, timeout: float | None = None) -> Opening[Container]:
        """A read-only view as of a snapshot. Open while this handle is.

        Raises: NotFoundError (there is no such snapshot)
        """
        return Opening(lambda: self._view(epoch_or_name, timeout))

    def filesystem(
        self, mode: Literal["r", "rw"] | None = None, *, timeout: float | None = None
    ) -> Opening[FileSystem]:
        """The files in a container of type POSIX. mode: "r", "rw"; None: as the container is open.

        Of a view it is read-only. Open while this handle is.

        Raises: InvalidError (the container is of another type), AccessError, NotFoundError (what
                was begun to be formatted)
        """

        async def open() -> FileSystem:
            from daos.dfs.filesystem import FileSystem  # above us: see tests/tidy/layers.py
            from daos.dfs.mount import Mount

            return FileSystem(await Mount.open(self, mode, timeout=timeout))

        return Opening(open)

    def objects(
        self, *, reverse: bool = False, anchor: bytes = b"", timeout: float | None = None
    ) -> Listing[ObjectId, ObjectId]:
        """Every object that holds anything, in order of ids: now, or as of a view's snapshot."""
        return Listing(
            self,
            [self._objects_of(target, reverse=reverse) for target in self._maps.pool_map.targets],
            lambda oid: oid,
            decoder=_OID_ANCHOR,
            ordered=True,
            reverse=reverse,
            anchor=anchor,
            timeout=timeout,
        )

    def diff(
        self,
        a: int | str,
        b: int | str | None = None,
        *,
        anchor: bytes = b"",
        timeout: float | None = None,
    ) -> Listing[WireChange, Change]:
        """What changed between two snapshots, by epoch or name; None: between one and now.

        Each akey that was created or punched, or of whose value something visible at `b` was
        written after `a`, or is gone; of arrays with the records. What was written again with the
        same bytes counts. "Now" is when each page is read. On iteration:

        Raises: NotFoundError (no such snapshot), InvalidError (`a` is not the older one)
        """
        known: list[tuple[Epoch, Epoch]] = []

        async def between(call: Call) -> tuple[Epoch, Epoch]:
            if not known:
                snapshots = await self._service.snapshot_list(call)
                first = self._find_snapshot(snapshots, a)
                known.append((first, Epoch(0) if b is None else self._find_snapshot(snapshots, b)))
            return known[0]

        return Listing(
            self,
            [changes_of(self._link, target, between) for target in self._maps.pool_map.targets],
            change_of,
            decoder=DIFF_ANCHOR,
            ordered=False,
            anchor=anchor,
            timeout=timeout,
        )

    def open_object(self, oid: ObjectId, mode: str = "rw") -> Object:
        """What `object` gives, at once. Raises: InvalidError, StaleHandleError."""
        if mode not in ("r", "rw"):
            raise InvalidError(f'mode must be "r" or "rw", not {mode!r}')
        return Object(self, self._io(oid), writable=mode == "rw" and self._writable)

    def _io(self, oid: ObjectId) -> ObjectIo:
        if not isinstance(oid, ObjectId):
            raise InvalidError(f"expected an ObjectId (ObjectId.parse reads text), not {oid!r}")
        if self.closed:
            raise StaleHandleError(f"{self} is closed")
        return ObjectIo(self._session, self._link, oid, self._link.place(oid))

    def _attach(self, reply: wire.OpenReply) -> None:
        """Take what the service said when it opened us."""
        self.uuid, self.label = UUID(bytes=reply.uuid), reply.label
        self._redundancy_factor = reply.redundancy_factor
        self._level = Level(reply.redundancy_level)
        session = self._session
        self._link = ContainerLink(
            context=self._service.context,
            pacing=session.pacing,
            new_dtx=session.new_dtx,
            pool=self._service.pool,
            handle=self._service.handle,
            writable=self._writable,
            checksum_type=on_the_way(ChecksumType(reply.checksum_type)),
            maps=self._maps,
            level=self._level,
            epoch=Epoch(0),
        )

    async def _next_lo(self, call: Call) -> int:
        if self._oids_next == self._oids_end:
            count = self._oids_count
            first = await self._service.alloc_oids(count, call)
            # What another call has brought meanwhile is dropped: never used twice, that is all.
            self._oids_next, self._oids_end = first, first + count
            self._oids_count = min(2 * count, _OIDS_MOST)
        self._oids_next += 1
        return self._oids_next - 1

    async def _view(self, epoch_or_name: int | str, timeout: float | None) -> Container:
        with self._operation(timeout) as call:
            snapshots = await self._service.snapshot_list(call)
        return _View(self, self._find_snapshot(snapshots, epoch_or_name))

    def _find_snapshot(
        self, snapshots: Sequence[wire.SnapshotRecord], epoch_or_name: int | str
    ) -> Epoch:
        """Raises: NotFoundError, InvalidError."""
        epoch, name = _snapshot(epoch_or_name)
        for snapshot in snapshots:
            if snapshot.epoch == epoch or (name and snapshot.name == name):
                return Epoch(snapshot.epoch)
        raise NotFoundError(f"{self} has no snapshot {epoch_or_name!r}")

    def _objects_of(self, target: Target, *, reverse: bool) -> Fetch[ObjectId]:
        endpoint = Endpoint(target.rank, tag_of(target.index))
        link = self._link

        async def fetch(anchor: bytes, call: Call) -> Page[ObjectId]:
            request = ObjectListRequest(link.address(link.epoch), anchor, PAGE_ENTRIES, reverse)
            reply = await link.ask(endpoint, OBJECT_LIST, request, call)
            oids = [ObjectId(hi, lo) for hi, lo, _shard in reply.objects]
            return Page(oids, reply.anchor, reply.eof)

        return fetch

    async def _release(self) -> None:
        await self._service.close(self._session.closing_call())

    def __repr__(self) -> str:
        at = f" at {self.epoch}" if self.epoch else ""
        return f"<Container {self.label or self.uuid}{at}>"


class _View(Container):
    """A container as of a snapshot. The service knows only the handle it was made from."""

    def __init__(self, of: Container, epoch: Epoch) -> None:
        super().__init__(of._session, of, of._service, of._maps, writable=False)
        self.uuid, self.label, self.epoch = of.uuid, of.label, epoch
        self._redundancy_factor = of._redundancy_factor
        self._level = of._level
        self._link = replace(of._link, writable=False, epoch=epoch)

    async def _release(self) -> None:
        pass


def _object_type(otype: str | ObjectType) -> ObjectType:
    if isinstance(otype, ObjectType):
        return otype
    name = otype.upper() if isinstance(otype, str) else ""
    if name not in ObjectType.__members__:
        known = ", ".join(ObjectType.__members__)
        raise InvalidError(f"object type {otype!r} is none of {known}")
    return ObjectType[name]


def _hints(hints: str | Hint | None) -> Hint:
    if hints is None or isinstance(hints, Hint):
        return hints or Hint.NONE
    wanted = Hint.NONE
    for name in hints.upper().split("|"):
        if name.strip() not in Hint.__members__:
            raise InvalidError(f"hint {name!r} is none of {', '.join(Hint.__members__)}")
        wanted |= Hint[name.strip()]
    return wanted


def _snapshot(epoch_or_name: int | str) -> tuple[int, str]:
    """(epoch, "") or (0, name). Raises: InvalidError."""
    if isinstance(epoch_or_name, str):
        return 0, check_snapshot_name(epoch_or_name)
    if not isinstance(epoch_or_name, int) or not 0 < epoch_or_name <= U64_MAX:
        raise InvalidError(f"a snapshot is named by its epoch or its name, not {epoch_or_name!r}")
    return epoch_or_name, ""
