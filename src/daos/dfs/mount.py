"""A mounted file system: every public call by handle, each one operation with one deadline.

    mount = await Mount.open(container)
    file = await mount.open_file(mount.root, "notes.txt", os.O_CREAT | os.O_RDWR)
    await file.write(0, b"...")

What calls do is in the modules below; a mount holds what they share: the container, the defaults of
its superblock, ids for what is created, who creates. Names and paths are str or bytes.

Source: DAOS src/client/dfs/mnt.c, dfs_internal.h struct dfs
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from daos.base.errors import AccessError, InvalidError, NotSupportedError
from daos.base.hlc import unix_ns_from_epoch
from daos.base.ids import U32_MAX, ObjectId
from daos.client.objectio import ObjectIo
from daos.client.pool import Pool
from daos.client.session import Call, Handle
from daos.dfs import attributes, format, listing, lookup, moving, namespace
from daos.dfs.attributes import Stat
from daos.dfs.classes import by_hints, class_of, hint_for, otype_of
from daos.dfs.errors import CrossDeviceError
from daos.dfs.layout import STATFS_MAGIC, Entry, Kind, Superblock, check_name, encode_name
from daos.dfs.namespace import Force, Spot, Wanted
from daos.dfs.node import Directory, File, Node, Symlink
from daos.dfs.oids import OidCursor
from daos.object.core import check_supported
from daos.placement.oclass import OC_UNKNOWN, ObjectClass, id_to_name
from daos.placement.oid import Topology, generate

if TYPE_CHECKING:
    from daos.base.clock import Clock
    from daos.client.container import Container
    from daos.client.listing import Listing
    from daos.client.values import Key
    from daos.dfs.format import Roots

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StatFs:
    """Space of the pool, in bytes, and what kind of file system it is."""

    total: int
    free: int
    block_size: int  # the container's chunk
    type: int = STATFS_MAGIC


class Mount(Handle):
    """A file system that is open; `Mount.open` makes it. No service knows of it."""

    def __init__(
        self,
        container: Container,
        roots: Roots,
        defaults: Superblock,
        root: Entry,
        *,
        writable: bool,
    ) -> None:
        super().__init__(container._session, container, writable=writable)
        self.container = container
        self.defaults = defaults
        self.epoch = container.epoch  # of a view, else 0
        self.uid, self.gid = os.geteuid(), os.getegid()  # of what is created
        self.device = container.uuid.int & U32_MAX  # st_dev
        self._oids = OidCursor(self._session.rng.getrandbits(32))
        self.root = Directory(self, None, format.root_place(container, roots), root)

    @classmethod
    async def open(
        cls,
        container: Container,
        mode: Literal["r", "rw"] | None = None,
        *,
        timeout: float | None = None,
    ) -> Mount:
        """Mount a container: "r" or "rw", None: as it is open. A view is always read-only.

        Raises: InvalidError (mode; no POSIX container), AccessError ("rw" of one open to read),
                NotFoundError (no superblock yet)
        Cost:   three requests
        """
        if mode not in (None, "r", "rw"):
            raise InvalidError(f'mode must be "r" or "rw", not {mode!r}')
        writable = container.writable and mode != "r"
        with container._operation(timeout) as call:
            if mode == "rw" and not writable and not container.epoch:
                raise AccessError(f"{container} is open read-only")
            roots, defaults, root = await format.find(container, call)
        return cls(container, roots, defaults, root, writable=writable)

    async def lookup(
        self, path: str | bytes, follow: bool = True, *, timeout: float | None = None
    ) -> Node:
        """What an absolute path names; `follow`: a symlink at its end, too.

        Raises: InvalidError (a relative path), NotFoundError, NotDirectoryError, LoopError,
                NameTooLongError
        Cost:   one request a component; of the root one, for its entry
        """
        with self._operation(timeout) as call:
            if encode_name(path)[:1] != b"/":
                raise InvalidError(f"{path!r} is no absolute path")
            found = await lookup.walk(self, self.root, path, call, follow=follow)
            await lookup.refresh(found, call)
            return found

    async def lookup_rel(
        self,
        parent: Node,
        name: str | bytes,
        follow: bool = True,
        *,
        timeout: float | None = None,
    ) -> Node:
        """What a name of a directory names. Raises: as lookup. Cost: one request, and its links."""
        with self._operation(timeout) as call:
            directory = namespace.check_parent(self, parent)
            found = await lookup.walk(self, directory, check_name(name), call, follow=follow)
            await lookup.refresh(found, call)
            return found

    async def stat(self, parent: Node, name: str | bytes, *, timeout: float | None = None) -> Stat:
        """What there is to know of an entry, of a symlink itself.

        Raises: NotFoundError, NotDirectoryError, InvalidError
        Cost:   one request, and of files and directories one for each shard
        """
        with self._operation(timeout) as call:
            return await attributes.stat_place(self, self._spot(parent, name).place, None, call)

    async def open_file(
        self,
        parent: Node,
        name: str | bytes,
        flags: int = os.O_RDONLY,
        mode: int = 0o644,
        *,
        oclass: str | int | None = None,
        chunk_size: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        timeout: float | None = None,
    ) -> File:
        """Open or, with O_CREAT, make a regular file; flags are those of `os.open`.

        Raises: NotSupportedError (O_APPEND), AccessError (flags that a read-only mount can't
                serve), NotDirectoryError, InvalidError, ExistsError (O_EXCL), NotFoundError,
                IsDirectoryError, LoopError (a symlink)
        Cost:   one request; two where O_CREAT finds a file
        """
        with self._operation(timeout) as call:
            self._check_flags(flags)
            at, wanted = self._spot(parent, name), Wanted(mode, oclass, chunk_size, uid, gid)
            return await namespace.open_file(self, at, flags, wanted, call)

    async def mkdir(
        self,
        parent: Node,
        name: str | bytes,
        mode: int = 0o755,
        *,
        oclass: str | int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        timeout: float | None = None,
    ) -> Directory:
        """Make a directory. `oclass`: of its own object.

        Raises: AccessError, NotDirectoryError, InvalidError, ExistsError
        Cost:   one request
        """
        with self._operation(timeout, write=True) as call:
            wanted = Wanted(mode, oclass, None, uid, gid)
            return await namespace.mkdir(self, self._spot(parent, name), wanted, call)

    async def symlink(
        self,
        parent: Node,
        name: str | bytes,
        target: str | bytes,
        *,
        uid: int | None = None,
        gid: int | None = None,
        timeout: float | None = None,
    ) -> Symlink:
        """Make a symlink. Raises: AccessError, NotDirectoryError, InvalidError, ExistsError.

        Cost: one request
        """
        with self._operation(timeout, write=True) as call:
            wanted = Wanted(0o777, None, None, uid, gid)
            return await namespace.symlink(self, self._spot(parent, name), target, wanted, call)

    async def remove(
        self,
        parent: Node,
        name: str | bytes,
        kind: Kind | None = None,
        force: bool = False,
        *,
        timeout: float | None = None,
    ) -> ObjectId:
        """Remove a name and what it names; the object's id.

        `kind`: DIRECTORY as rmdir, FILE as unlink, None whatever it is. `force`: with all below,
        each of which has, without `timeout`, the client's.

        Raises: AccessError, NotDirectoryError, InvalidError, NotFoundError, IsDirectoryError,
                NotEmptyError
        Cost:   two requests and one for each shard of the object; of a directory two for each
        """
        if kind is not None and not isinstance(kind, Kind):
            raise InvalidError(f"a kind is one of {', '.join(map(str, Kind))}, not {kind!r}")
        with self._operation(timeout, write=True) as call:
            how = (Force.EACH if timeout is None else Force.ALL) if force else None
            return await namespace.remove(self, self._spot(parent, name), kind, call, force=how)

    async def move(
        self,
        parent: Node,
        name: str | bytes,
        new_parent: Node,
        new_name: str | bytes,
        *,
        replace: bool = True,
        timeout: float | None = None,
    ) -> ObjectId | None:
        """Rename; the object of the entry that was replaced, None: there was none.

        Onto itself: nothing happens. Nodes that are open keep the name by which they were reached,
        until they are told (`Node.moved`).

        Raises: AccessError, NotDirectoryError (a parent; a directory onto what is none),
                IsDirectoryError (the other way round), NotFoundError, ExistsError (not `replace`),
                NotEmptyError, InvalidError (a name; a directory into itself), CrossDeviceError,
                DeadlineError (somebody moves one of them), BusyError
        Cost:   nine requests, eight in the root; to replace three more and those of the object; of
                a directory into another one, one for each above that
        """
        with self._operation(timeout, write=True) as call:
            spots = self._two_spots(parent, name, new_parent, new_name)
            return await moving.move(self, *spots, call, may_replace=replace)

    async def exchange(
        self,
        parent: Node,
        name: str | bytes,
        other_parent: Node,
        other_name: str | bytes,
        *,
        timeout: float | None = None,
    ) -> None:
        """Give two entries each other's name; not at once: see moving.exchange.

        Raises: as move. Cost: three moves.
        """
        with self._operation(timeout, write=True) as call:
            spots = self._two_spots(parent, name, other_parent, other_name)
            await moving.exchange(self, *spots, call)

    def readdir(
        self, directory: Node, anchor: bytes = b"", *, timeout: float | None = None
    ) -> Listing[Key, str]:
        """The names of a directory, to iterate over. Raises: NotDirectoryError, InvalidError."""
        return listing.names(self, namespace.check_parent(self, directory), anchor, timeout)

    def readdirplus(
        self, directory: Node, anchor: bytes = b"", *, timeout: float | None = None
    ) -> Listing[Key, tuple[str, Stat]]:
        """(name, Stat) of each entry. Raises: as readdir."""
        return listing.Entries(self, namespace.check_parent(self, directory), anchor, timeout)

    async def anchor_at(
        self, directory: Node, name: str | bytes, *, timeout: float | None = None
    ) -> bytes:
        """An anchor whose listing begins with `name`, or what comes behind it when it is gone.

        Raises: NotFoundError, NotDirectoryError, InvalidError. Cost: as listing up to there
        """
        parent = namespace.check_parent(self, directory)
        return await listing.anchor_at(self, parent, check_name(name), timeout)

    def anchor_split(self, directory: Node) -> list[bytes]:
        """Anchors, one for each shard of a directory: listings from all of them are the whole."""
        return listing.split(namespace.check_parent(self, directory))

    async def statfs(self, *, timeout: float | None = None) -> StatFs:
        """Space of the pool. Cost: one request to the pool's service, which asks all targets."""
        with self._operation(timeout):
            space = (await self._pool().query(timeout=timeout)).space
        return StatFs(total=space.total, free=space.free, block_size=self.defaults.chunk_size)

    def io(self, oid: ObjectId) -> ObjectIo:
        """Requests to an object. Raises: InvalidError, NotSupportedError, StaleHandleError."""
        return self.container._io(oid)

    @property
    def clock(self) -> Clock:
        """What moves are timed by."""
        return self._session.clock

    def new_token(self) -> bytes:
        """16 bytes that nobody else has."""
        return self._session.new_id()

    def left(self, call: Call) -> float:
        """Seconds of a call that are left."""
        return max(call.deadline_ns - self._session.clock.now_ns(), 1) / _NS

    def renewed(self, call: Call) -> Call:
        """A step of a long call: the client's timeout begins anew. Raises: CanceledError."""
        return self._session.renewed(call)

    def jitter(self) -> float:
        """A number from 0 to 1, another one for each client."""
        return self._session.rng.random()

    def now_ns(self) -> int:
        """A new time, later than every epoch that this client has heard of."""
        return unix_ns_from_epoch(self._session.context.hlc.now())

    async def new_oid(self, kind: Kind, class_id: int, call: Call) -> ObjectId:
        """An id for something new; class 0: by hints. Raises: InvalidError, NotSupportedError.

        Cost: nothing; the first one of a mount a durable request
        """
        found = self._oids.next()
        while found is None:
            self._oids.refill(await self.container._next_lo(call))
            found = self._oids.next()
        return self._generate(kind, class_id, *found)

    def class_in(self, directory: Entry, kind: Kind) -> ObjectClass:
        """The class of what is made in a directory, if nobody says otherwise."""
        class_id = class_of(kind, OC_UNKNOWN, directory, self.defaults)
        return ObjectClass.of(self._generate(kind, class_id, 0, 0))

    def default_class(self, kind: Kind) -> str:
        """The class of what is made where no directory says otherwise; X is as wide as the pool."""
        bare = replace(self.root.entry, oclass=OC_UNKNOWN)
        class_id = class_of(kind, OC_UNKNOWN, bare, self.defaults) or by_hints(
            kind,
            self.defaults.hints,
            topology=self._topology,
            rf=self.container._redundancy_factor,
        )
        return id_to_name(class_id)

    @property
    def _topology(self) -> Topology:
        return self.container._maps.jump(self.container._level).topology

    def check_class(self, class_id: int) -> None:
        """Whether files of this class can be made; 0: always. Raises: as new_oid."""
        self._generate(Kind.FILE, class_id, 0, 0)

    def _generate(self, kind: Kind, class_id: int, lo: int, user_hi: int) -> ObjectId:
        rf = self.container._redundancy_factor
        oid = generate(
            otype_of(kind),
            lo=lo,
            user_hi=user_hi,
            topology=self._topology,
            rf=rf,
            class_id=class_id,
            hints=hint_for(kind, self.defaults.hints, rf),
        )
        check_supported(oid)
        return oid

    def _spot(self, parent: Node, name: str | bytes) -> Spot:
        return namespace.spot(self, parent, name)

    def _two_spots(
        self, parent: Node, name: str | bytes, other: Node, other_name: str | bytes
    ) -> tuple[Spot, Spot]:
        if isinstance(other, Node) and parent.mount is self is not other.mount:
            raise CrossDeviceError(f"{parent!r} and {other!r} are in different file systems")
        return self._spot(parent, name), self._spot(other, other_name)

    def _check_flags(self, flags: int) -> None:
        """Raises: NotSupportedError, InvalidError, AccessError."""
        if isinstance(flags, bool) or not isinstance(flags, int):
            raise InvalidError(f"flags are those of os.open, such as O_RDWR, not {flags!r}")
        if flags & os.O_APPEND:
            raise NotSupportedError("O_APPEND: a handle has no position; FileSystem.open appends")
        access = flags & os.O_ACCMODE
        if access not in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            raise InvalidError(f"open flags {flags:#o} are neither read, write, nor both")
        if not self._writable and (access != os.O_RDONLY or flags & (os.O_CREAT | os.O_TRUNC)):
            raise AccessError(f"{self} is open read-only")

    def _pool(self) -> Pool:
        handle: Handle | None = self.container
        while not isinstance(handle, Pool):
            assert handle is not None  # containers are opened through pools
            handle = handle._parent
        return handle

    def __repr__(self) -> str:
        return f"<Mount of {self.container!r}>"
