"""How an asynchronous class gets a synchronous face: wrappers of one line, typed by the original.

    query = blocking(core.Pool.query)              await, in the loop
    put = asking(core.KeyValue.put)                the same, where only requests are awaited
    container = opening(core.Pool.container, Container)     await, give the handle a face of its own
    dkeys = listing(core.Object.dkeys)             an iterator; hops once a page, not once an item

Parameters, defaults and docstrings are those of the asynchronous method: there is one text and one
implementation. `async_of` finds the way back, for events.

Source: ours
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar
from uuid import UUID

from daos.base.errors import InvalidError, ShutdownError
from daos.base.ids import ObjectId
from daos.client import attributes
from daos.client.listing import Listing
from daos.client.memory import BufferLike
from daos.client.objectio import ObjectHandle
from daos.client.portal import Portal
from daos.client.session import Handle, Opening

P = ParamSpec("P")
CoreT = TypeVar("CoreT", bound=Handle)
CoreT_co = TypeVar("CoreT_co", bound=Handle, covariant=True)  # a base's methods serve its heirs
ObjectT = TypeVar("ObjectT", bound=ObjectHandle)
ServiceT = TypeVar("ServiceT", bound=attributes.ServiceHandle[Any])  # of either service
HandleT = TypeVar("HandleT", bound=Handle)
FaceT = TypeVar("FaceT")
ResultT = TypeVar("ResultT")
EntryT = TypeVar("EntryT")
ItemT = TypeVar("ItemT")


class Face(Generic[CoreT_co]):
    """A handle as seen from other threads than the loop's; any of them may use it."""

    def __init__(self, core: CoreT_co, portal: Portal) -> None:
        self._core = core
        self._portal = portal

    @property
    def closed(self) -> bool:
        """Whether this handle, or one it was opened through, has been closed."""
        return self._core.closed

    @property
    def writable(self) -> bool:
        """Whether changes may be made through this handle."""
        return self._core.writable

    def close(self) -> None:
        """Close the handle; later calls raise StaleHandleError. Idempotent."""
        if self._portal.closed or self._portal.forked:
            return  # the system's end closed it; in a forked child it is the parent's
        try:
            self._portal.call(self._core.close)
        except ShutdownError:
            if not self._portal.closed:
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._core)


class ObjectFace(Face[ObjectT]):
    """The face of a handle on one object: closing it asks nobody."""

    @property
    def oid(self) -> ObjectId:
        """The object's id."""
        return self._core.oid

    def close(self) -> None:
        """Close the handle; later calls raise StaleHandleError. Idempotent."""
        self._core.mark_closed()


def blocking(
    method: Callable[Concatenate[CoreT, P], Awaitable[ResultT]],
) -> Callable[Concatenate[Face[CoreT], P], ResultT]:
    """The synchronous form of an asynchronous method."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        return self._portal.call(method, self._core, *args, **kwargs)

    _remember(call, method, None)
    return call


def asking(
    method: Callable[Concatenate[CoreT, P], Awaitable[ResultT]],
) -> Callable[Concatenate[Face[CoreT], P], ResultT]:
    """`blocking`, of a method that awaits nothing but requests (`asking.py`): faster."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        return self._portal.ask(method, self._core, *args, **kwargs)

    _remember(call, method, None, asks=True)
    return call


def opening(
    method: Callable[Concatenate[CoreT, P], Opening[HandleT]],
    face: Callable[[HandleT, Portal], FaceT],
) -> Callable[Concatenate[Face[CoreT], P], FaceT]:
    """The synchronous form of a method that opens a handle."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> FaceT:
        return face(self._portal.call(method, self._core, *args, **kwargs), self._portal)

    _remember(call, method, face)
    return call


def listing(
    method: Callable[Concatenate[CoreT, P], Listing[EntryT, ItemT]],
) -> Callable[Concatenate[Face[CoreT], P], Pages[EntryT, ItemT]]:
    """The synchronous form of a method that enumerates."""

    @functools.wraps(method)
    def call(self: Face[CoreT], /, *args: P.args, **kwargs: P.kwargs) -> Pages[EntryT, ItemT]:
        return Pages(method(self._core, *args, **kwargs), self._portal)

    return call


def _remember(call: object, method: object, face: object, *, asks: bool = False) -> None:
    call.__dict__["_daos"] = (method, face, asks)


def async_of(
    method: Callable[P, object],
) -> tuple[Face[Handle], Callable[..., Awaitable[object]], Callable[..., object] | None, bool]:
    """Of a bound method of a face: the face, the asynchronous method, the face of its result.

    And whether it awaits nothing but requests.

    Raises: InvalidError  it is no call that runs in the loop
    """
    face = getattr(method, "__self__", None)
    found = getattr(method, "_daos", None)
    if not isinstance(face, Face) or found is None:
        raise InvalidError(f"{method!r} is no call of a handle, such as obj.update")
    return (face, *found)


class Pages(Generic[EntryT, ItemT]):
    """An iterator over an enumeration, with an `anchor` to go on from later."""

    def __init__(self, core: Listing[EntryT, ItemT], portal: Portal) -> None:
        self._core = core
        self._portal = portal

    def __iter__(self) -> Iterator[ItemT]:
        return self

    def __next__(self) -> ItemT:
        if not self._core.ready and not self._portal.call(self._core.turn):
            raise StopIteration
        return self._core.pop()

    def page(self) -> list[ItemT]:
        """What is left of the page at hand, or else the next; nothing at the end."""
        if not self._core.ready:
            self._portal.call(self._core.turn)
        return self._core.take()

    @property
    def anchor(self) -> bytes:
        """Where to go on after the item given last: pass it to the same call, now or later."""
        return self._core.anchor


class Attributes(MutableMapping[str, bytes]):
    """User attributes as a mapping; every access is a call to the service."""

    def __init__(self, core: attributes.Attributes, portal: Portal) -> None:
        self._core = core
        self._portal = portal

    def __getitem__(self, name: str) -> bytes:
        return self._portal.call(self._core.get, name)

    def __setitem__(self, name: str, value: BufferLike) -> None:
        self._portal.call(self._core.set, name, value)

    def __delitem__(self, name: str) -> None:
        self._portal.call(self._core.delete, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._portal.call(self._core.items))

    def __len__(self) -> int:
        return len(self._portal.call(self._core.items))

    def copy(self) -> dict[str, bytes]:
        """All of them, in one call."""
        return self._portal.call(self._core.items)

    def __repr__(self) -> str:
        return f"<attributes of {self._core.owner!r}>"


class Properties(Mapping[str, str]):
    """System properties as a mapping; every access is a call to the service.

    Some can be set (`props["label"] = "x"`), none can be deleted.
    """

    def __init__(self, core: attributes.Properties, portal: Portal) -> None:
        self._core = core
        self._portal = portal

    def __getitem__(self, name: str) -> str:
        return self._portal.call(self._core.get, name)

    def __setitem__(self, name: str, value: object) -> None:
        self._portal.call(self._core.update, {name: value})

    def update(self, values: Mapping[str, object]) -> None:
        """Change several, all or nothing. Raises: InvalidError, AccessError."""
        self._portal.call(self._core.update, values)

    def __iter__(self) -> Iterator[str]:
        return iter(self._portal.call(self._core.items))

    def __len__(self) -> int:
        return len(self._portal.call(self._core.items))

    def copy(self) -> dict[str, str]:
        """All of them, in one call."""
        return self._portal.call(self._core.items)

    def __repr__(self) -> str:
        return f"<properties of {self._core.owner!r}>"


class ServiceFace(Face[ServiceT]):
    """The face of a handle that a service keeps: a pool's, a container's."""

    @property
    def uuid(self) -> UUID:
        """The UUID of the pool or container."""
        return self._core.uuid

    @property
    def label(self) -> str:
        """The label, as of the opening; a container's may be empty."""
        return self._core.label

    @property
    def attrs(self) -> Attributes:
        """User attributes."""
        return Attributes(self._core.attrs, self._portal)

    @property
    def props(self) -> Properties:
        """System properties."""
        return Properties(self._core.props, self._portal)
