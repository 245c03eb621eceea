"""Those who make and destroy containers and pools beside the work of the users.

Several share a few labels, so one destroys what another has open and writes to. Judged are

    labels     the calls on one label have an order that explains every answer: who creates finds
               it free, who destroys finds it taken
    content    a container that answers a read shows what its maker has written; one that is gone
               answers with an error, never with "nothing there"
    errors     of a container that nobody else may have destroyed, handles do not go stale
    space      after healing all comes back, whoever has given up in the middle (`run.py`)
"""

from __future__ import annotations

import asyncio
import random
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.ids import ObjectType
from daos.client.admin import Admin
from daos.client.client import Client
from daos.client.container import Container
from daos.client.pool import Pool
from daos.testing.checkers.models import EXISTS, MISSING, NO_SPACE, OK, UNKNOWN
from daos.testing.history import History, Record
from daos.testing.sim.users import POOL, Violation

LABELS: Final = ("x0", "x1")
POOL_LABEL: Final = "spare"
SPARE_BYTES: Final = 4 * 16 << 20
_KEY: Final = b"k"
_SIZE: Final = 5000
_GONE: Final = frozenset({DER.NO_HDL, DER.NONEXIST, DER.CONT_DESTROYING, DER.BUSY})
_ANSWERS: Final = frozenset(
    {
        DER.TIMEDOUT,
        DER.UNREACH,
        DER.AGAIN,
        DER.INPROGRESS,
        DER.CANCELED,
        DER.TX_UNCERTAIN,
        DER.HLC_SYNC,
        DER.NOSPACE,
        DER.EXIST,
    }
)


class Churner:
    """One client that makes and destroys containers."""

    def __init__(
        self,
        name: str,
        client: Client,
        history: History,
        rng: random.Random,
        *,
        calls: int,
        timeout_s: float,
        damage: bool,
    ) -> None:
        self._name = name
        self._client = client
        self._history = history
        self._rng = rng
        self._calls = calls
        self._timeout_s = timeout_s
        self._damage = damage
        self._pool: Pool
        self._made = 0

    async def open(self) -> None:
        """Connect; before anything goes wrong."""
        self._pool = await self._client.pool(POOL)

    async def work(self) -> None:
        """All calls, one after the other."""
        for _ in range(self._calls):
            await asyncio.sleep(self._rng.random() * 0.02)
            label = self._rng.choice(LABELS)
            if self._rng.random() < 0.6:
                await self._make(label)
            else:
                await self._destroy(label)

    async def _make(self, label: str) -> None:
        """Create, write, read back, close."""
        self._made += 1
        token = f"{self._name} {self._made}".encode()
        record = self._history.begin(self._name, ("label", label), "insert", token)
        try:
            container = await self._pool.create_container(label, timeout=self._timeout_s)
        except DaosError as error:
            self._judge(error, f"creates {label}")
            _settle(self._history, record, error.code)
            return
        _settle(self._history, record, None)
        try:
            async with container:
                await self._use(container, token)
        except DaosError as error:
            self._judge(error, f"uses {label}")
            self._history.note(self._name, f"uses {label}: {error.code.name}")

    async def _use(self, container: Container, token: bytes) -> None:
        seconds = self._timeout_s
        oid = await container.new_oid(ObjectType.KV_LEXICAL, "SX", timeout=seconds)
        kv = await container.kv(oid)
        value = token.ljust(_SIZE)  # a block of its own, which has to come back
        await kv.put(_KEY, value, timeout=seconds)
        await asyncio.sleep(self._rng.random() * 0.02)
        found = await kv.get(_KEY, timeout=seconds)
        if found != value:
            raise Violation(f"a container has {found!r:.40} where {token!r} was written")

    async def _destroy(self, label: str) -> None:
        record = self._history.begin(self._name, ("label", label), "take", None)
        force = self._rng.random() < 0.7
        try:
            await self._pool.destroy_container(label, force=force, timeout=self._timeout_s)
        except DaosError as error:
            self._judge(error, f"destroys {label}")
            _settle(self._history, record, error.code)
        else:
            _settle(self._history, record, None)

    def _judge(self, error: DaosError, what: str) -> None:
        if error.code not in _ANSWERS and error.code not in _GONE and not self._damage:
            what = f"{self._name} {what} and hears {error.code.name}: {error}"
            raise Violation(what) from error


class PoolChurner:
    """One administrator that makes and destroys a pool."""

    def __init__(
        self, name: str, admin: Admin, history: History, rng: random.Random, *, timeout_s: float
    ) -> None:
        self._name = name
        self._admin = admin
        self._history = history
        self._rng = rng
        self._timeout_s = timeout_s
        self._made = 0

    async def work(self) -> None:
        """A few calls."""
        for _ in range(self._rng.randint(2, 5)):
            await asyncio.sleep(self._rng.random() * 0.05)
            if self._rng.random() < 0.5:
                await self._make()
            else:
                await self._destroy()

    async def leave(self) -> bool:
        """Whether no pool but the users' is left; after healing."""
        try:
            await self._admin.pool_destroy(POOL_LABEL, force=True)
        except DaosError as error:
            if error.code is not DER.NONEXIST:
                self._history.note(self._name, f"destroys {POOL_LABEL}: {error.code.name}")
                return False
        return [pool.label for pool in await self._admin.pool_list()] == [POOL]

    async def _make(self) -> None:
        self._made += 1
        token = f"{self._name} {self._made}".encode()
        record = self._history.begin(self._name, ("label", POOL_LABEL), "insert", token)
        try:
            await self._admin.pool_create(POOL_LABEL, SPARE_BYTES, timeout=self._timeout_s)
        except DaosError as error:
            self._judge(error)
            _settle(self._history, record, error.code)
        else:
            _settle(self._history, record, None)

    async def _destroy(self) -> None:
        record = self._history.begin(self._name, ("label", POOL_LABEL), "take", None)
        try:
            await self._admin.pool_destroy(POOL_LABEL, force=True, timeout=self._timeout_s)
        except DaosError as error:
            self._judge(error)
            _settle(self._history, record, error.code)
        else:
            _settle(self._history, record, None)

    def _judge(self, error: DaosError) -> None:
        if error.code is DER.MISC:
            raise Violation(f"{self._name} hears {error.code.name}: {error}") from error


def _settle(history: History, record: Record, code: DER | None) -> None:
    """Write down what became of a label. BUSY: it was open, and stays."""
    if code is None:
        history.end(record, OK)
    elif code is DER.EXIST and record.kind == "insert":
        history.end(record, EXISTS)
    elif code is DER.NONEXIST and record.kind == "take":
        history.end(record, MISSING)
    elif code is DER.BUSY and record.kind == "take":
        history.end(record, NO_SPACE)
    else:
        history.end(record, f"{UNKNOWN}", unknown=True)
