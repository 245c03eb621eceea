"""A connected pool: its numbers, its containers, its attributes.

Holds the pool map as of the connect, or a newer one that a target has told of; objects are placed
by it.
Source: DAOS src/client/api/pool.c, container.c
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, Unpack
from uuid import UUID

from daos.base.errors import InvalidError
from daos.base.ids import MapVersion, Rank
from daos.base.names import check_label
from daos.client.attributes import ServiceHandle, texts
from daos.client.session import Handle, Opening, Session
from daos.client.values import (
    ContainerListing,
    FileDefaults,
    PoolInfo,
    SpaceInfo,
    TargetInfo,
    TargetTier,
    TierInfo,
)
from daos.container.client import ContainerClient, PoolContainers
from daos.container.core import parse_layout_type
from daos.object.maps import PoolMaps
from daos.placement.pool_map import ComponentState, PoolMap
from daos.pool import wire
from daos.pool.client import PoolClient
from daos.pool.core import check_flags

if TYPE_CHECKING:
    from daos.client.container import Container

_TIERS = ("SCM", "NVMe")
# Source: features §2.1.1, states of a target
_STATES: dict[int, str] = {
    ComponentState.NEW: "new",
    ComponentState.UP: "up",
    ComponentState.UPIN: "up_in",
    ComponentState.DOWN: "down",
    ComponentState.DOWNOUT: "down_out",
    ComponentState.DRAIN: "drain",
}


class Monitor(Protocol):
    """Whoever gives the handles of this process back when it dies."""

    async def pool_connected(self, pool: UUID, handle: UUID) -> None:
        """There is a handle. Never fails."""

    async def pool_disconnected(self, pool: UUID, handle: UUID) -> None:
        """It has been given back. Never fails."""


class Pool(ServiceHandle[PoolClient]):
    """A pool handle; `client.pool(...)` opens it."""

    def __init__(
        self,
        session: Session,
        parent: Handle,
        service: PoolClient,
        *,
        writable: bool,
        monitor: Monitor | None = None,
    ) -> None:
        super().__init__(session, parent, service, writable=writable)
        self._monitor = monitor
        self.uuid = UUID(bytes=service.pool)
        self._maps = PoolMaps(PoolMap(MapVersion(1), ()))
        self._containers = PoolContainers(
            pacing=session.pacing,
            context=service.context,
            endpoint=service.endpoint,
            pool=service.pool,
            pool_handle=service.handle,
        )

    @property
    def pool_map(self) -> PoolMap:
        """The newest one that was heard of."""
        return self._maps.pool_map

    @property
    def leader(self) -> Rank:
        """The rank whose service answers for the pool."""
        return self._service.endpoint.rank

    async def query(self, *, timeout: float | None = None) -> PoolInfo:
        """Numbers and space, asked of every target now."""
        with self._operation(timeout) as call:
            reply = await self._service.query(call)
        return PoolInfo(
            uuid=self.uuid,
            label=reply.label,
            map_version=reply.map_version,
            ranks=reply.ranks,
            targets=reply.targets,
            targets_disabled=reply.targets_disabled,
            handles=reply.handles,
            containers=reply.containers,
            space=_space(reply.tiers),
        )

    async def query_targets(
        self, rank: int, targets: Iterable[int] = (), *, timeout: float | None = None
    ) -> list[TargetInfo]:
        """State and space of targets of one rank; all of them if none is named.

        Raises: NotFoundError  the pool has no such rank, or the rank no such target
        """
        with self._operation(timeout) as call:
            found = await self._service.query_targets(rank, tuple(targets), call)
        return [
            TargetInfo(
                rank=rank,
                index=each.index,
                state=_STATES.get(each.state, "unknown"),
                tiers=tuple(
                    TargetTier(name=name, total=total, free=free)
                    for name, (total, free) in zip(_TIERS, each.tiers, strict=True)
                ),
            )
            for each in found
        ]

    def create_container(
        self,
        label: str = "",
        type: str | None = None,
        props: Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
        **files: Unpack[FileDefaults],
    ) -> Opening[Container]:
        """Create a container and open it, "rw". Durable on return. No label: known by its UUID.

        One of type "POSIX" is formatted: there is an empty file system in it, with the defaults
        that `files` gives (see FileDefaults).

        Raises: ExistsError (label), InvalidError (label, type, property, a default), AccessError,
                NotSupportedError (a class or a mode that this version has not)
        """
        named = _with_type(type, props)

        async def create() -> Container:
            if parse_layout_type(named.get("layout_type", "unknown")) == "POSIX":
                from daos.dfs import format  # above us: see tests/tidy/layers.py

                return await format.create(self, label, named, files, timeout)
            if files:
                raise InvalidError(f"{min(files)} is of file systems; give type POSIX")
            return await self._create(label, named, timeout)

        return Opening(create)

    def container(
        self, name: str | UUID, flags: str = "rw", *, timeout: float | None = None
    ) -> Opening[Container]:
        """Open a container by label or UUID. flags: "r", "rw", or "ex" (nobody else has it open).

        Raises: NotFoundError, BusyError, AccessError, InvalidError
        """
        return Opening(lambda: self._open(str(name), check_flags(flags), timeout))

    async def containers(self, *, timeout: float | None = None) -> list[ContainerListing]:
        """Every container of the pool."""
        with self._operation(timeout) as call:
            return [
                ContainerListing(UUID(bytes=record.uuid), record.label)
                for record in await self._containers.list(call)
            ]

    async def destroy_container(
        self, name: str | UUID, force: bool = False, *, timeout: float | None = None
    ) -> None:
        """Destroy a container by label or UUID; durable on return.

        Raises: NotFoundError, BusyError (open, and not `force`), AccessError
        """
        with self._operation(timeout, write=True) as call:
            await self._containers.destroy(str(name), call, force=force)

    def _attach(self, reply: wire.ConnectReply) -> None:
        """Take what the service said when it connected us. Raises: CorruptError (pool map)."""
        self.label = reply.label
        self._maps = PoolMaps(PoolMap.parse(reply.pool_map))

    async def _create(
        self, label: str, props: Mapping[str, str], timeout: float | None, *, roots: str = ""
    ) -> Container:
        if label:
            check_label(label, "container")
        with self._operation(timeout, write=True) as call:
            new = self._session.new_id()
            record = await self._containers.create(new, label, props, call, roots=roots)
        return await self._open(str(UUID(bytes=record.uuid)), "rw", timeout)

    async def _open(self, name: str, flags: str, timeout: float | None) -> Container:
        # All kinds of objects: a third of what a tool that only asks about pools would load.
        from daos.client.container import Container

        with self._operation(timeout, write=flags != "r") as call:
            link = ContainerClient(
                pacing=self._session.pacing,
                context=self._service.context,
                endpoint=self._service.endpoint,
                pool=self._service.pool,
                handle=self._session.new_id(),
            )
            container = Container(
                self._session,
                self,
                link,
                self._maps,
                writable=flags != "r",
                exclusive=flags == "ex",
            )
            opened = self._containers.open(name, link.handle, flags, call)
            container._attach(await self._opening(container, opened))
            return container

    async def _release(self) -> None:
        await self._service.disconnect(self._session.closing_call())
        if self._monitor is not None:
            handle = UUID(bytes=self._service.handle)
            await self._monitor.pool_disconnected(self.uuid, handle)

    def __repr__(self) -> str:
        return f"<Pool {self.label or self.uuid}>"


def _with_type(type: str | None, props: Mapping[str, object] | None) -> dict[str, str]:
    named = texts(props)
    if type is not None:
        if "layout_type" in named:
            raise InvalidError("give the layout type once: as `type` or among the properties")
        named["layout_type"] = type
    return named


def _space(tiers: tuple[wire.TierSpace, ...]) -> SpaceInfo:
    infos = tuple(
        TierInfo(
            name=name,
            total=tier.total,
            free=tier.free,
            free_min=tier.free_min,
            free_max=tier.free_max,
        )
        for name, tier in zip(_TIERS, tiers, strict=True)
    )
    return SpaceInfo(
        total=sum(tier.total for tier in infos),
        free=sum(tier.free for tier in infos),
        tiers=infos,
    )
