"""Bit rot: bytes that were durable for long are wrong, when all else is well again.

    write what is known --> every host down and up: all of it in checkpoints, logs empty
      values      flip bytes inside values, while hosts run or are down
      metadata    flip a byte anywhere else, while its host is down
    --> read all --> down and up --> aggregate --> read all

Which bytes are whose is known without the product's help: every value repeats its own number, so a
block full of a number is of that value. What is hit there must be refused as damaged, again and
again; all else must be read as it was written.

Of metadata nobody outside knows what it was of. So either everything is read as it was written, as
the byte was of no use or of something that there is twice; or what is refused names damage, to who
reads it or to who opens what it is in. Nothing is read as something else, or as not there.

Source: ours; TigerBeetle's src/testing/storage.zig places faults where a copy is left.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from daos.base.errors import DER, DaosError
from daos.base.ids import ObjectType
from daos.bio.device import BLOCK
from daos.client.client import Client
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.client.pool import Pool
from daos.testing.history import History
from daos.testing.sim.users import POOL, Violation
from daos.testing.simcluster import Host, SimCluster

LABEL: Final = "rotten"
_SIZES: Final = (64, 3000, 5000, 9000, 20_000)
_VALUES: Final = 12
_ARRAY_CELLS: Final = 20_000
_TOKEN: Final = 7  # bytes of a number
_TIMEOUT_S: Final = 5.0
# What says that bytes are damaged, or that it was not known what to ask for.
_NAMES_DAMAGE: Final = frozenset({DER.CSUM, DER.DATA_LOSS})
# What a handle's user hears where a shard is not open: whoever opens it again hears why.
_NOT_OPEN: Final = frozenset({DER.NO_HDL})


@dataclass(slots=True, kw_only=True)
class _Known:
    """Something that was written, and how to read it."""

    name: str
    value: bytes
    numbers: list[bytes]  # of the writes it consists of
    read: Callable[[], Awaitable[object]]

    def surely_in(self, blocks: int) -> bool:
        """Whether what is read is in these blocks, so many of its number there are.

        More than it fills: some are of an attempt that was given up. Several writes: they cover
        each other in part.
        """
        return len(self.numbers) == 1 and blocks <= len(self.value) // BLOCK


class Rot:
    """One run of it, after healing."""

    def __init__(
        self,
        cluster: SimCluster,
        client: Client,
        history: History,
        rng: random.Random,
        value: Callable[[int], bytes],
    ) -> None:
        """`value(nbytes)`: bytes that nobody else writes."""
        self._cluster = cluster
        self._client = client
        self._history = history
        self._rng = rng
        self._value = value
        self._known: list[_Known] = []
        self._hit: dict[str, bool] = {}  # by name: whether its reader surely meets damage
        self._pool: Pool
        self._container: Container
        self.refused = False  # metadata is damaged, and not everything can be opened

    async def run(self) -> None:
        """See the module. Raises: Violation."""
        await self._write()
        await self._down_and_up()
        await self._read_all()
        if self._rng.random() < 0.7:
            await self._rot_values()
        else:
            await self._rot_metadata()

    # --- what is known

    async def _write(self) -> None:
        rng = self._rng
        self._pool = pool = await self._client.pool(POOL)
        self._container = container = await pool.create_container(LABEL)
        kv = await container.kv(await container.new_oid(ObjectType.KV_LEXICAL, "SX"))
        first = {b"r%d" % number: self._value(rng.choice(_SIZES)) for number in range(_VALUES)}
        for key, value in first.items():
            await kv.put(key, value)
        array = await container.array(
            await container.new_oid(ObjectType.ARRAY_BYTE, "SX"), cell_size=1, chunk_size=1 << 20
        )
        cells, numbers = bytearray(_ARRAY_CELLS), list[bytes]()
        for lo, size in ((0, _ARRAY_CELLS), (3 * BLOCK, BLOCK), (BLOCK // 2, 5000)):
            cells[lo : lo + size] = data = self._value(size)
            numbers.append(data[:_TOKEN])
            await array.write(lo, data)
        epoch = await container.snapshot("before")
        view = await container.at(epoch)
        old = await view.kv(kv.oid)
        again = {key: self._value(rng.choice(_SIZES)) for key in rng.sample(sorted(first), 4)}
        for key, value in again.items():
            await kv.put(key, value)
            self._know(f"{key!r} before", first[key], old, key)
        for key, value in {**first, **again}.items():
            self._know(f"{key!r}", value, kv, key)
        self._known.append(
            _Known(
                name="the array",
                value=bytes(cells),
                numbers=numbers,
                read=lambda: array.read(0, _ARRAY_CELLS, timeout=_TIMEOUT_S),
            )
        )

    def _know(self, name: str, value: bytes, kv: KeyValue[bytes], key: bytes) -> None:
        self._known.append(
            _Known(
                name=name,
                value=value,
                numbers=[value[:_TOKEN]],
                read=lambda: kv.get(key, timeout=_TIMEOUT_S),
            )
        )

    # --- rot

    async def _rot_values(self) -> None:
        rng = self._rng
        blocks = self._blocks_of_values()
        running = rng.random() < 0.5
        if not running:
            await self._down()
        for host, device, block, number in rng.sample(blocks, min(len(blocks), rng.randint(1, 3))):
            host.disk.rot(device, block * BLOCK + rng.randrange(BLOCK), rng.randrange(8))
            count = sum(each[3] == number for each in blocks)
            hit = {k.name: k.surely_in(count) for k in self._known if number in k.numbers}
            self._hit |= {name: sure or self._hit.get(name, False) for name, sure in hit.items()}
            self._history.note("rot", f"in block {block} of {device} of {host.name}, of {[*hit]}")
        if not running:
            await self._up()
        await self._read_all()
        await self._down_and_up()
        await self._read_all()
        try:
            await self._container.aggregate(timeout=_TIMEOUT_S)
        except DaosError as error:
            self._history.note("rot", f"aggregates: {error.code.name}")
        await self._read_all()

    def _blocks_of_values(self) -> list[tuple[Host, str, int, bytes]]:
        """Blocks that hold nothing but a part of one value, and its number."""
        numbers = sorted({number for known in self._known for number in known.numbers})
        found = []
        for host in self._cluster.hosts:
            for device, image in sorted(host.disk.images.items()):
                found += [
                    (host, device, block, number)
                    for block, data in sorted(image.blocks.items())
                    for number in numbers
                    if (data.count(number) + 2) * _TOKEN > BLOCK
                ]
        return found

    async def _rot_metadata(self) -> None:
        rng = self._rng
        of_values = {
            (host.name, device, block) for host, device, block, _ in self._blocks_of_values()
        }
        host = rng.choice(self._cluster.hosts)
        device = rng.choice(sorted(host.disk.images))
        blocks = [
            block
            for block, data in sorted(host.disk.images[device].blocks.items())
            if any(data) and (host.name, device, block) not in of_values
        ]
        block = rng.choice(blocks[:4] if rng.random() < 0.3 else blocks)
        await self._down()
        host.disk.rot(device, block * BLOCK + rng.randrange(BLOCK), rng.randrange(8))
        self._history.note("rot", f"in block {block} of {device} of {host.name}")
        try:
            await self._up()
        except DaosError as error:
            self._refuse("a host that starts", error)
            return
        for known in self._known:
            await self._read(known, metadata=True)

    # --- hosts

    async def _down_and_up(self) -> None:
        await self._down()
        await self._up()

    async def _down(self) -> None:
        for host in self._cluster.hosts:
            await host.stop()

    async def _up(self) -> None:
        for host in self._cluster.hosts:
            await host.start()

    # --- judging

    async def _read_all(self) -> None:
        for known in self._known:
            await self._read(known, metadata=False)

    async def _read(self, known: _Known, *, metadata: bool) -> None:
        try:
            found = await known.read()
        except DaosError as error:
            await self._judge_error(known, error, metadata=metadata)
            return
        if self._hit.get(known.name):
            raise Violation(f"{known.name} is damaged on the disk, and is read")
        if found != known.value:
            raise Violation(f"{known.name} is not read as it was written: {found!r:.40}")

    async def _judge_error(self, known: _Known, error: DaosError, *, metadata: bool) -> None:
        if metadata:
            if error.code in _NOT_OPEN:
                error = await self._reopen() or error
            self._refuse(known.name, error)
        elif known.name not in self._hit or error.code not in _NAMES_DAMAGE:
            raise Violation(f"{known.name} is refused: {error}") from error

    async def _reopen(self) -> DaosError | None:
        """Why it can't be opened."""
        try:
            async with (
                self._client.pool(POOL, timeout=_TIMEOUT_S) as pool,
                pool.container(LABEL, timeout=_TIMEOUT_S),
            ):
                return None
        except DaosError as error:
            return error

    def _refuse(self, what: str, error: DaosError) -> None:
        self.refused = True
        self._history.note("rot", f"{what}: {error.code.name}")
        if error.code not in _NAMES_DAMAGE:
            raise Violation(f"metadata is damaged, and {what} hears nothing of it: {error}")
