"""The synchronous face: the classes of `daos`, over the asynchronous ones of `daos.aio`.

Each call hops into the loop's thread and waits there (`client.portal`); every method is that of the
asynchronous class of the same name, made by `client.face`. Handles may be used from any thread.
What differs in form: attributes, properties and key-values are mappings, enumerations are plain
iterators, `array.open()` gives a file object.

Source: ours
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from daos.base.ids import Epoch, ObjectId, Rank
from daos.client import admin, client, container, pool
from daos.client.face import Face, ServiceFace, blocking, listing, opening
from daos.client.memory import Buffer
from daos.client.sync_object import Array, KeyValue, Object

if TYPE_CHECKING:
    from daos.dfs.sync import FileSystem

__all__ = [
    "Admin",
    "Array",
    "Client",
    "Container",
    "KeyValue",
    "Object",
    "Pool",
]


class Container(ServiceFace[container.Container]):
    """A container handle, or a read-only view of one as of a snapshot."""

    @property
    def epoch(self) -> Epoch:
        """Of a view: the snapshot's epoch; else 0."""
        return self._core.epoch

    query = blocking(container.Container.query)
    new_oid = blocking(container.Container.new_oid)
    if TYPE_CHECKING:  # overloads do not pass through a wrapper

        @overload
        def kv(
            self,
            oid: ObjectId | None = None,
            oclass: str | int | None = None,
            *,
            text: Literal[False] = False,
            timeout: float | None = None,
        ) -> KeyValue[bytes]: ...

        @overload
        def kv(
            self,
            oid: ObjectId | None = None,
            oclass: str | int | None = None,
            *,
            text: Literal[True],
            timeout: float | None = None,
        ) -> KeyValue[str]: ...

        def kv(self, *args: Any, **kwargs: Any) -> Any: ...  # the overloads say

    else:
        kv = opening(container.Container.kv, KeyValue)

    array = opening(container.Container.array, Array)
    snapshot = blocking(container.Container.snapshot)
    snapshots = blocking(container.Container.snapshots)
    destroy_snapshot = blocking(container.Container.destroy_snapshot)
    aggregate = blocking(container.Container.aggregate)
    diff = listing(container.Container.diff)
    objects = listing(container.Container.objects)

    def object(self, oid: ObjectId, mode: str = "rw") -> Object:
        """Open an object; nothing is sent. mode: "rw" or "r".

        Raises: InvalidError (the id names no class, or one that the pool can't hold)
        """
        return Object(self._core.open_object(oid, mode), self._portal)

    def filesystem(
        self, mode: Literal["r", "rw"] | None = None, *, timeout: float | None = None
    ) -> FileSystem:
        """The files in a container of type POSIX. mode: "r", "rw"; None: as the container is open.

        Of a view it is read-only. Open while this handle is.

        Raises: InvalidError (the container is of another type), AccessError, NotFoundError (what
                was begun to be formatted)
        """
        from daos.dfs.sync import FileSystem  # above us: see tests/tidy/layers.py

        core = self._portal.call(self._core.filesystem, mode, timeout=timeout)
        return FileSystem(core, self._portal)

    def at(self, epoch_or_name: int | str, *, timeout: float | None = None) -> Container:
        """A read-only view as of a snapshot. Open while this handle is.

        Raises: NotFoundError (there is no such snapshot)
        """
        view = self._portal.call(self._core.at, epoch_or_name, timeout=timeout)
        return Container(view, self._portal)


class Pool(ServiceFace[pool.Pool]):
    """A pool handle; `client.pool(...)` opens it."""

    @property
    def leader(self) -> Rank:
        """The rank whose service answers for the pool."""
        return self._core.leader

    query = blocking(pool.Pool.query)
    query_targets = blocking(pool.Pool.query_targets)
    create_container = opening(pool.Pool.create_container, Container)
    container = opening(pool.Pool.container, Container)
    containers = blocking(pool.Pool.containers)
    destroy_container = blocking(pool.Pool.destroy_container)


class Client(Face[client.Client]):
    """A connection to one system."""

    pool = opening(client.Client.pool, Pool)
    pools = blocking(client.Client.pools)

    def buffer(self, nbytes: int) -> Buffer:
        """Page-aligned memory that a target on this host reads and writes in place.

        Raises: InvalidError (less than one byte), MemoryError
        """
        return self._core.buffer(nbytes)

    def close(self) -> None:
        """Close every pool, end every call. Idempotent.

        Calls in flight finish, or raise CanceledError; either within a second.
        """
        super().close()


class Admin(Face[admin.Admin]):
    """Administrator's calls."""

    pool_create = blocking(admin.Admin.pool_create)
    pool_destroy = blocking(admin.Admin.pool_destroy)
    pool_list = blocking(admin.Admin.pool_list)

    def close(self) -> None:
        """End the calls that run, close the context. Idempotent."""
        super().close()
