"""The key-value example for asyncio: the same names, with `async with` and `await`.

    python examples/kv_aio.py [directory]        without a directory: a temporary system

What is a mapping in the synchronous face is methods here: `put`, `get`, `remove`, `scan`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import daos
from daos import aio

WORDS = {"alpha": b"1", "beta": b"22", "gamma": b"333"}


async def kv(container: aio.Container) -> None:
    async with container.kv(text=True) as words:
        async with asyncio.TaskGroup() as group:  # three requests in flight, one flush
            for key, value in WORDS.items():
                group.create_task(words.put(key, value))
        print(f"put {len(WORDS)} keys, concurrently")

        for key, value in WORDS.items():
            assert await words.get(key) == value
        print("got them back: equal")

        print("keys:", *[key async for key in words.scan()])
        await words.remove("beta")
        print("removed beta:", *[key async for key in words.scan()])

        # Every call takes a timeout in seconds; it becomes one deadline for the whole request.
        print("size of gamma:", await words.size("gamma", timeout=5))


async def main(directory: str | None = None) -> None:
    async with aio.local(directory) as system:
        with suppress(daos.ExistsError):
            await system.admin.pool_create("examples", size="256MiB")
        async with (
            await system.connect() as client,
            client.pool("examples") as pool,
            pool.create_container() as container,
        ):
            await kv(container)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
