"""One who opens and closes the users' container, and looks into it, while others work.

Nobody destroys that container and nobody evicts a handle. So an open ends with a handle that every
target serves, or without an answer; and what was opened stays open until it is closed, however
often the request was sent, and whatever became of its copies. When a close is answered no rank and
no target knows the handle any more, and none learns of it later.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.ids import ObjectType
from daos.client.client import Client
from daos.client.container import Container
from daos.client.pool import Pool
from daos.testing.history import History
from daos.testing.sim.users import CONTAINER, DAMAGE_CODES, POOL, Violation

_ROUNDS: Final = 12
_LOOKS: Final = 3
_NO_ANSWER: Final = frozenset({DER.TIMEDOUT, DER.UNREACH, DER.AGAIN, DER.CANCELED, DER.HLC_SYNC})


class Opener:
    """See the module. `open` comes before anything goes wrong."""

    def __init__(
        self,
        client: Client,
        history: History,
        rng: random.Random,
        *,
        timeout_s: float,
        damage: bool,
        who_knows: Callable[[bytes], list[str]],
    ) -> None:
        """`who_knows`: who has this container handle, by the truth."""
        self._client = client
        self._history = history
        self._rng = rng
        self._timeout_s = timeout_s
        self._answers = _NO_ANSWER | (DAMAGE_CODES | {DER.NVME_IO} if damage else frozenset())
        self._who_knows = who_knows
        self.closed: list[bytes] = []  # handles
        self._pool: Pool

    async def open(self) -> None:
        """Connect to the pool."""
        self._pool = await self._client.pool(POOL)

    async def work(self) -> None:
        """Open, look, close."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(self._rng.random() * 0.02)
            doing, asking = "opens the container", list[asyncio.Task[bytes | None]]()
            try:
                container = await self._pool.container(CONTAINER, timeout=self._timeout_s)
                doing = "looks into it"
                if self._rng.random() < 0.3:
                    asking = await self._begin_to_look(container)
                else:
                    await self._look(container)
                doing = "closes it"
                handle = container._service.handle
                await container.close()
                self.closed.append(handle)
                self.check()
            except DaosError as error:
                if error.code not in self._answers:
                    what = f"one who {doing} hears {error.code.name}: {error}"
                    raise Violation(what) from error
                self._history.note("opener", f"{doing}: {error.code.name}")
            else:
                self._history.note("opener", "has opened and closed the container")
            await asyncio.gather(*asking, return_exceptions=True)

    def check(self) -> None:
        """Raises: Violation  somebody knows a handle that is closed"""
        for handle in self.closed:
            if knowing := self._who_knows(handle):
                raise Violation(f"a closed handle is known to {', '.join(knowing)}")

    async def _begin_to_look(self, container: Container) -> list[asyncio.Task[bytes | None]]:
        """Ask every target, which has to ask for the handle; and wait for none."""
        oid = await container.new_oid(ObjectType.KV_LEXICAL, "SX", timeout=self._timeout_s)
        kv = await container.kv(oid)
        keys = (b"k0", b"k1", b"k2", b"k3")
        loop = asyncio.get_running_loop()
        asking = [loop.create_task(kv.get(key, timeout=self._timeout_s)) for key in keys]
        await asyncio.sleep(self._rng.random() * 0.004)
        return asking

    async def _look(self, container: Container) -> None:
        """At keys on every target, now and a little later."""
        for _ in range(_LOOKS):
            oid = await container.new_oid(ObjectType.KV_LEXICAL, "SX", timeout=self._timeout_s)
            kv = await container.kv(oid)
            for key in (b"k0", b"k1", b"k2", b"k3"):
                found = await kv.get(key, timeout=self._timeout_s)
                if found is not None:
                    raise Violation(f"a new object has {found!r:.40}")
            await asyncio.sleep(self._rng.choice((0.0, 0.01, 0.1)))
