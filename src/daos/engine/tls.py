"""What a module keeps for each xstream: a key, and behind it one value an xstream.

    KEY = TlsKey("counter", XstreamKind.TARGET, lambda xstream: [0])
    xstream.value(KEY)    the value of that xstream, made at its first use

Values end with their xstream, the youngest first: what a value was made from outlives it.

Source: DAOS src/engine/tls.c, src/include/daos/tls.h; ours: made at first use, no limit of ten
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Flag
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from daos.base.errors import InvalidError

if TYPE_CHECKING:
    from daos.engine.xstream import Xstream

T = TypeVar("T")


class XstreamKind(Flag):
    """Which xstreams a key has values on. Source: DAOS enum dss_module_tag"""

    SYSTEM = 1 << 0
    TARGET = 1 << 1
    SERVER = SYSTEM | TARGET


class TlsKey(Generic[T]):
    """The name of a value that each xstream of a kind has. Compared by identity."""

    def __init__(
        self,
        name: str,
        kinds: XstreamKind,
        create: Callable[[Xstream], T],
        destroy: Callable[[T], None] | None = None,
    ) -> None:
        self.name: Final = name
        self.kinds: Final = kinds
        self.create: Final = create
        self.destroy: Final = destroy


class Tls:
    """The values of one xstream, for the keys of the modules that are loaded."""

    def __init__(self, keys: Iterable[TlsKey[Any]] = ()) -> None:
        self._keys = frozenset(keys)
        self._values: dict[TlsKey[Any], Any] = {}

    def get(self, key: TlsKey[T], xstream: Xstream) -> T:
        """The value; made now if this is the first time.

        Raises: InvalidError  no module with this key is loaded, or it has none on such xstreams
        """
        try:
            return cast("T", self._values[key])
        except KeyError:
            pass
        if key not in self._keys or xstream.kind not in key.kinds:
            raise InvalidError(f"no module keeps {key.name!r} on xstream {xstream.tag}")
        value = self._values[key] = key.create(xstream)
        return value

    def close(self) -> None:
        """End all values, the youngest first. Idempotent."""
        while self._values:
            key, value = self._values.popitem()
            if key.destroy is not None:
                key.destroy(value)
