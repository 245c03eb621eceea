"""What the tests of the Rdb kit stand on: a store, ways to use it, and a loop for each test."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from daos.rdb.interface import UNBOUNDED, Event, Put, Rdb, Watch

SECOND_NS = 10**9


class Store(Protocol):
    """What a kit test is given."""

    rdb: Rdb

    async def advance(self, duration_ns: int) -> None:
        """Let time pass for leases."""
        ...

    async def reopen(self) -> None:
        """Stop and start the store; `rdb` is the new one."""
        ...


async def put(rdb: Rdb, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
    """Returns the revision."""
    return (await rdb.txn((), (Put(key, value, lease),))).revision


async def keys(rdb: Rdb, lo: bytes = b"", hi: bytes | None = UNBOUNDED) -> list[bytes]:
    return [pair.key for pair in (await rdb.range(lo, hi)).pairs]


async def take(watch: Watch, count: int) -> list[Event]:
    return [await anext(watch) for _ in range(count)]


class RdbKitBase(ABC):
    """Runs a test against a store that the test module opens."""

    @abstractmethod
    def opened(self) -> AbstractAsyncContextManager[Store]:
        """A fresh, empty store."""

    def run(self, test: Callable[[Store], Awaitable[None]]) -> None:
        async def main() -> None:
            async with self.opened() as store:
                await test(store)

        asyncio.run(main())
