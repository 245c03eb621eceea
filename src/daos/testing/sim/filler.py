"""One who fills the pool, or one device of it, while others work; and makes room again.

    fill, in calm: until nothing fits --> users come, and hear NoSpaceError --> empty, fill, empty …

It has a container of its own, without snapshots. Whatever it is refused must not be there, and what
it has written stays readable while nothing else fits. It makes room in two ways: it removes its
values and aggregates, or destroys the container. Then there must be room for everybody.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.ids import ObjectType
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.pool import Pool
from daos.testing.history import History
from daos.testing.sim.users import POOL, Violation

BALLAST: Final = "ballast"
_SIZES: Final = (1 << 20, 1 << 16, 1 << 12, 64)
_ROUNDS: Final = 2
_TIMEOUT_S: Final = 30.0
_TRIES_MAX: Final = 400
# Codes that say: not now, or nobody knows.
_ANSWERS: Final = frozenset(
    {
        DER.NOSPACE,
        DER.TIMEDOUT,
        DER.UNREACH,
        DER.AGAIN,
        DER.INPROGRESS,
        DER.CANCELED,
        DER.TX_UNCERTAIN,
        DER.HLC_SYNC,
        DER.EXIST,  # of the container: a create that nobody knew the outcome of
    }
)


class Filler:
    """See the module. `open` and `fill` come before anything goes wrong."""

    def __init__(
        self, client: Client, history: History, rng: random.Random, *, damage: bool
    ) -> None:
        self._client = client
        self._history = history
        self._rng = rng
        self._damage = damage
        self._oclass = rng.choice(("S1", "S1", "SX"))
        self._pool: Pool
        self._container: Container
        self._kv: KeyValue[bytes]
        self._there: dict[bytes, int] = {}  # by key: size of a value that surely is there
        self._doubtful: set[bytes] = set()
        self._keys = 0
        self._opened = False
        self._haunted = False  # a destroy whose outcome nobody knows may come late
        self.refused = 0

    async def open(self) -> None:
        """Connect, and make the container."""
        self._pool = await self._client.pool(POOL)
        await self._begin()

    async def _begin(self) -> None:
        self._container = await self._pool.create_container(BALLAST)
        oid = await self._container.new_oid(ObjectType.KV_LEXICAL, self._oclass)
        self._kv = await self._container.kv(oid)
        self._there.clear()
        self._doubtful.clear()
        self._opened = True

    async def fill(self) -> None:
        """Until smaller and smaller values are refused."""
        misses = 2 if self._oclass == "S1" else 8
        for size in _SIZES:
            missed = tries = 0
            while missed < misses and tries < _TRIES_MAX:
                tries += 1
                missed += not await self._put(size)
        self._history.note("filler", f"has filled {self._oclass} with {len(self._there)} values")

    async def work(self) -> None:
        """Make room, and fill it again."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(self._rng.choice((0.01, 0.1, 0.5)))
            await self._look()
            if await self._empty():
                await asyncio.sleep(self._rng.choice((0.0, 0.1)))
                await self.fill()

    async def leave(self) -> bool:
        """Everything of it goes; after healing. Whether it went through."""
        return await self._empty()

    async def _put(self, size: int) -> bool:
        """Whether there was room, as far as one knows."""
        self._keys += 1
        key = b"f%05d" % self._keys
        self._doubtful.add(key)
        try:
            await self._kv.put(key, _value(key, size), timeout=_TIMEOUT_S)
        except DaosError as error:
            self._judge(error, "writes")
            if error.code is not DER.NOSPACE:
                return False
            self.refused += 1
            await self._expect(key, 0)
            return False
        self._there[key] = size
        self._doubtful.discard(key)
        return True

    async def _look(self) -> None:
        """Reads go on."""
        if not self._opened:
            return  # somebody, ourselves, has destroyed it
        for key in self._rng.sample(sorted(self._there), min(3, len(self._there))):
            await self._expect(key, self._there[key])

    async def _expect(self, key: bytes, size: int) -> None:
        try:
            found = await self._kv.get(key, timeout=_TIMEOUT_S)
        except DaosError as error:
            self._judge(error, "reads")
            if error.code is DER.NOSPACE:
                raise Violation("a read is refused because the pool is full") from error
            return
        if found != (_value(key, size) if size else None):
            told = "refused" if not size else f"of {size} bytes"
            size_found = None if found is None else len(found)
            raise Violation(f"a value {told} is read as one of {size_found} bytes")

    async def _empty(self) -> bool:
        """Whether all of it is gone."""
        try:
            if self._opened and self._rng.random() < 0.5:
                self._history.note("filler", "removes its values")
                await self._remove_all()
            else:
                self._history.note("filler", "destroys its container")
                await self._destroy()
        except DaosError as error:
            self._judge(error, "makes room")
            self._history.note("filler", f"makes no room: {error.code.name}")
            return False
        self._history.note("filler", "has made room")
        return True

    async def _remove_all(self) -> None:
        for key in sorted(self._there.keys() | self._doubtful):
            self._there.pop(key, None)
            self._doubtful.add(key)
            await self._kv.remove(key, timeout=_TIMEOUT_S)
            self._doubtful.discard(key)
        await self._container.aggregate(timeout=_TIMEOUT_S)

    async def _destroy(self) -> None:
        """The label may be gone already: then an earlier destroy went through, or goes on."""
        self._opened = False
        haunted, self._haunted = self._haunted, True
        try:
            await self._pool.destroy_container(BALLAST, force=True, timeout=_TIMEOUT_S)
        except DaosError as error:
            if error.code is not DER.NONEXIST:
                raise
        self._haunted = haunted
        await self._begin()

    def _judge(self, error: DaosError, what: str) -> None:
        if error.code in (DER.NO_HDL, DER.CONT_DESTROYING) and self._haunted:
            self._opened = False
        elif error.code not in _ANSWERS and not self._damage:
            raise Violation(f"the filler {what} and hears {error.code.name}: {error}") from error


def _value(key: bytes, size: int) -> bytes:
    return (key * (size // len(key) + 1))[:size]
