"""`daos pool autotest`: whether a pool works, step by step, as a user of it sees it.

    Step Operation                  Status Time(sec) Comment
    ---- ---------                  ------ --------- -------
    10   Generating 1M S1 layouts   OK     10.000    187000 of them: the deadline
    …
    All steps passed.

A step ends at its deadline with what it has done by then; values take a quarter of what is free at
most. What was made is removed, also after a failure.

Source: DAOS src/utils/daos_autotest.c; features §2.2.1. Ours: a deadline that is always there
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from daos.base.clock import Clock
from daos.base.errors import DaosError
from daos.cli.frame import Answer
from daos.cli.text import table
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.pool import Pool

DEADLINE_S: Final = 10.0
_BATCH_BYTES: Final = 1 << 22
_BATCH_MAX: Final = 500
_OF_FREE: Final = 4
# Step, class, how many layouts.
_LAYOUTS: Final = ((10, "S1", 1_000_000), (11, "SX", 10_000))
# Step of the writes, size of a value, how many, and whether they are big.
_VALUES: Final = (
    (20, ("128B", 128), 1_000_000, False),
    (22, ("4KB", 4096), 1_000_000, False),
    (24, ("1MB", 1 << 20), 100_000, True),
)
_SHORT: Final = {10_000: "10K", 100_000: "100K", 1_000_000: "1M"}


class FailedError(DaosError):
    """A step failed; it is in the list."""


@dataclass(slots=True)
class Steps:
    """What was done, and how long it took."""

    deadline_s: float
    time: Clock
    rows: list[dict[str, str]] = field(default_factory=list)
    failed: bool = False

    def clock(self) -> float:
        """Seconds since some moment."""
        return self.time.monotonic_ns() / 1e9

    async def run(self, number: int, what: str, work: Callable[[float], Awaitable[str]]) -> None:
        """Do a step until its deadline; the work says what there is to say of it.

        Raises: FailedError
        """
        began = self.clock()
        try:
            status, comment = "OK", await work(began + self.deadline_s)
        except DaosError as error:
            status, comment = "FAILED", str(error)
        self.rows.append(
            {
                "Step": str(number),
                "Operation": what,
                "Status": status,
                "Time(sec)": f"{self.clock() - began:.3f}",
                "Comment": comment,
            }
        )
        if status != "OK":
            self.failed = True
            raise FailedError(comment)

    def answer(self) -> Answer:
        """The table, and the verdict."""
        titles = ("Step", "Operation", "Status", "Time(sec)", "Comment")
        verdict = "Some steps failed." if self.failed else "All steps passed."
        response = {
            "steps": [
                {
                    "step": int(row["Step"]),
                    "operation": row["Operation"],
                    "status": row["Status"],
                    "seconds": float(row["Time(sec)"]),
                    "comment": row["Comment"],
                }
                for row in self.rows
            ],
            "passed": not self.failed,
        }
        return Answer(f"{table(titles, self.rows)}{verdict}\n", response, self.failed)


async def run(client: Client, name: str, *, label: str, skip_big: bool, steps: Steps) -> Answer:
    """All steps over the pool `name`, in a container `label` that is made for them."""
    test = _Test(client, name, label, steps)
    try:
        try:
            await test.open()
            await test.layouts()
            await test.values(skip_big=skip_big)
        finally:
            await test.close()
    except FailedError:
        pass
    return steps.answer()


class _Test:
    def __init__(self, client: Client, name: str, label: str, steps: Steps) -> None:
        self._client = client
        self._name = name
        self._label = label
        self._steps = steps
        self._pool: Pool | None = None
        self._container: Container | None = None
        self._made = False

    async def open(self) -> None:
        async def initialize(until: float) -> str:
            await self._client.pools()
            return ""

        async def connect(until: float) -> str:
            self._pool = await self._client.pool(self._name)
            return ""

        async def create(until: float) -> str:
            assert self._pool is not None
            await (await self._pool.create_container(self._label)).close()
            self._made = True
            return self._label

        async def open_(until: float) -> str:
            assert self._pool is not None
            self._container = await self._pool.container(self._label)
            return ""

        await self._steps.run(0, "Initializing DAOS", initialize)
        await self._steps.run(1, "Connecting to pool", connect)
        await self._steps.run(2, "Creating container", create)
        await self._steps.run(3, "Opening container", open_)

    async def layouts(self) -> None:
        container = self._container
        assert container is not None
        for number, oclass, count in _LAYOUTS:

            async def generate(until: float, oclass: str = oclass, count: int = count) -> str:
                done = 0
                while done < count:
                    if not done % _BATCH_MAX and self._steps.clock() >= until:
                        return f"{done} of them: the deadline"
                    container.open_object(await container.new_oid(oclass=oclass)).layout()
                    done += 1
                return ""

            await self._steps.run(number, f"Generating {_SHORT[count]} {oclass} layouts", generate)

    async def values(self, *, skip_big: bool) -> None:
        assert self._pool is not None
        assert self._container is not None
        for number, (named, size), count, big in _VALUES:
            if big and skip_big:
                continue
            free = (await self._pool.query()).space.free
            most = min(count, max(1, free // _OF_FREE // size))
            kv = await self._container.kv(oclass="SX")
            await self._write_and_read(kv, number, named, size=size, count=count, most=most)

    async def _write_and_read(
        self, kv: KeyValue[bytes], number: int, named: str, *, size: int, count: int, most: int
    ) -> None:
        batch = max(1, min(_BATCH_MAX, _BATCH_BYTES // size))
        written = 0

        async def insert(until: float) -> str:
            nonlocal written
            while written < most:
                if self._steps.clock() >= until:
                    return f"{written} of them: the deadline"
                upto = min(written + batch, most)
                await kv.put_many({_key(i): _value(i, size) for i in range(written, upto)})
                written = upto
            return "" if written == count else f"{written} of them: a quarter of what is free"

        async def read(until: float) -> str:
            for lo in range(0, written, batch):
                if self._steps.clock() >= until:
                    return f"{lo} of them: the deadline"
                keys = [_key(i) for i in range(lo, min(lo + batch, written))]
                found = await kv.get_many(keys)
                for i, key in enumerate(keys, lo):
                    if found.get(key) != _value(i, size):
                        raise DaosError(f"the value of {key!r} is not what was written")
            return ""

        await self._steps.run(number, f"Inserting {_SHORT[count]} {named} values", insert)
        await self._steps.run(number + 1, f"Reading {named} values back", read)

    async def close(self) -> None:
        """Remove what was made; a failure here is a failed step, too."""

        container, pool, client = self._container, self._pool, self._client

        async def close_container(until: float) -> str:
            assert container is not None
            await container.close()
            return ""

        async def destroy(until: float) -> str:
            assert pool is not None
            await pool.destroy_container(self._label, force=True)
            return ""

        async def disconnect(until: float) -> str:
            assert pool is not None
            await pool.close()
            return ""

        async def tear_down(until: float) -> str:
            await client.close()
            return ""

        if container is not None:
            await self._steps.run(96, "Closing container", close_container)
        if self._made:
            await self._steps.run(97, "Destroying container", destroy)
        if pool is not None:
            await self._steps.run(98, "Disconnecting from pool", disconnect)
        await self._steps.run(99, "Tearing down DAOS", tear_down)


def _key(number: int) -> bytes:
    return b"%08d" % number


def _value(number: int, size: int) -> bytes:
    return (_key(number) * (size // 8))[:size]
