"""User attributes and system properties of pools and containers, as mappings over round trips.

`Attributes` are bytes that users keep under names of their own; `Properties` are the system's,
text under names from a fixed table. Both read and write through the service each time: nothing is
cached, so two clients see each other. Their synchronous faces are a MutableMapping and a Mapping.

Source: DAOS src/include/daos_pool.h daos_pool_list_attr and the like; ours: one call gives all
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar
from uuid import UUID

from daos.base.errors import KeyNotFoundError, NotFoundError
from daos.client.memory import BufferLike, readable
from daos.client.session import Handle, Session
from daos.pool.client import HandleClient

ServiceT = TypeVar("ServiceT", bound=HandleClient)


class Attributes:
    """User attributes: names of 1 to 511 characters, values of up to 64 KiB."""

    def __init__(self, owner: Handle, keeper: HandleClient) -> None:
        self.owner = owner
        self._keeper = keeper

    async def get(self, name: str, *, timeout: float | None = None) -> bytes:
        """The value under `name`. Raises: KeyNotFoundError."""
        with self.owner._operation(timeout) as call:
            try:
                return (await self._keeper.attrs((name,), call))[name]
            except NotFoundError as error:
                raise KeyNotFoundError(error.message) from None

    async def set(self, name: str, value: BufferLike, *, timeout: float | None = None) -> None:
        """Keep `value` under `name`; durable on return. Raises: InvalidError, AccessError."""
        await self.update({name: value}, timeout=timeout)

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Forget `name`. Raises: KeyNotFoundError, AccessError."""
        try:
            await self.update({}, delete=(name,), timeout=timeout)
        except NotFoundError as error:
            raise KeyNotFoundError(error.message) from None

    async def items(self, *, timeout: float | None = None) -> dict[str, bytes]:
        """All of them, in order of their names."""
        with self.owner._operation(timeout) as call:
            return dict(sorted((await self._keeper.attrs((), call)).items()))

    async def update(
        self,
        values: Mapping[str, BufferLike],
        *,
        delete: Sequence[str] = (),
        timeout: float | None = None,
    ) -> None:
        """Set and delete several, all or nothing. Raises: InvalidError, NotFoundError."""
        put = {name: bytes(readable(value)) for name, value in values.items()}
        with self.owner._operation(timeout, write=True) as call:
            await self._keeper.set_attrs(put, tuple(delete), call)


class Properties:
    """System properties, in the text form that users meet."""

    def __init__(self, owner: Handle, keeper: HandleClient) -> None:
        self.owner = owner
        self._keeper = keeper

    async def get(self, name: str, *, timeout: float | None = None) -> str:
        """The value of one property. Raises: KeyNotFoundError."""
        values = await self.items(timeout=timeout)
        if name not in values:
            raise KeyNotFoundError(f"there is no property {name!r}")
        return values[name]

    async def set(self, name: str, value: str, *, timeout: float | None = None) -> None:
        """Change one property. Raises: InvalidError, AccessError."""
        await self.update({name: value}, timeout=timeout)

    async def items(self, *, timeout: float | None = None) -> dict[str, str]:
        """All of them, in the order of the documentation."""
        with self.owner._operation(timeout) as call:
            return await self._keeper.props(call)

    async def update(self, values: Mapping[str, object], *, timeout: float | None = None) -> None:
        """Change several, all or nothing. Raises: InvalidError, AccessError."""
        with self.owner._operation(timeout, write=True) as call:
            await self._keeper.set_props(texts(values), call)


class ServiceHandle(Handle, Generic[ServiceT]):
    """A handle that a service keeps, with what it keeps below it: a pool's, a container's."""

    def __init__(
        self, session: Session, parent: Handle, service: ServiceT, *, writable: bool
    ) -> None:
        super().__init__(session, parent, writable=writable)
        self.uuid = UUID(int=0)
        self.label = ""  # as of the opening; a container's may be empty
        self._service = service

    @property
    def attrs(self) -> Attributes:
        """User attributes."""
        return Attributes(self, self._service)

    @property
    def props(self) -> Properties:
        """System properties."""
        return Properties(self, self._service)


def texts(props: Mapping[str, object] | None) -> dict[str, str]:
    """Properties as people write them in Python (`{"rd_fac": 1}`), in text form."""
    return {name: str(value) for name, value in (props or {}).items()}
