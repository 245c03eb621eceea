"""Ten times the load that keeps a served system busy: flat memory, and answers in time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from daos.base.errors import DaosError
from daos.client.container import Container
from daos.client.kv import KeyValue
from daos.embedded.remote import async_connect
from daos.testing.served import Served

MiB = 1 << 20
CLIENTS = 3
DEPTH = 64  # of each client
VALUE = bytes(64 << 10)  # all at once: 120 MiB, against 16 MiB of payload memory
TIMEOUT_S = 20.0
# What a client costs by itself: five connections, and 64 KiB to read into for each.
CLIENT_BYTES = 5 * (80 << 10)


class Load:
    """Puts of many clients at once, and what became of them."""

    def __init__(self, served: Served) -> None:
        assert served.process is not None
        self._statm = Path(f"/proc/{served.process.pid}/statm")
        self.ends: Counter[str] = Counter()
        self.slowest_s = 0.0
        self.peak = 0

    def resident(self) -> int:
        """Bytes of the server now."""
        return int(self._statm.read_text().split()[1]) * 4096

    async def run(self, values: list[KeyValue[bytes]]) -> None:
        """DEPTH puts by each client, all at the same time."""
        puts = [
            self._put(kv, f"{client}-{number}")
            for number in range(DEPTH)
            for client, kv in enumerate(values)
        ]
        await asyncio.gather(*puts)

    async def _put(self, kv: KeyValue[bytes], key: str) -> None:
        began = time.monotonic()
        try:
            await kv.put(key, VALUE, timeout=TIMEOUT_S)
            self.ends["stored"] += 1
        except DaosError as error:
            self.ends[error.code.name] += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.peak = max(self.peak, self.resident())


def test_ten_times_the_load(tmp_path: Path) -> None:
    with Served(tmp_path, "--targets", "4", "--memory", "4MiB") as served:
        peaks: dict[int, int] = {}

        async def main() -> None:
            async with async_connect(served.address, timeout=TIMEOUT_S) as system:
                await system.admin.pool_create("tank", "1GiB")
                values: list[KeyValue[bytes]] = []
                for factor in (1, 10):
                    while len(values) < factor * CLIENTS:
                        pool = await (await system.connect()).pool("tank")
                        container: Container = await (
                            pool.container("c") if values else pool.create_container("c")
                        )
                        values.append(await container.kv())
                    load = Load(served)
                    await load.run(values)
                    assert load.ends == {"stored": factor * CLIENTS * DEPTH}
                    assert load.slowest_s < TIMEOUT_S
                    peaks[factor] = load.peak

        asyncio.run(main())
        growth = peaks[10] - peaks[1]
        assert growth < 16 * MiB + 9 * CLIENTS * CLIENT_BYTES + 24 * MiB, f"{growth >> 20} MiB"
