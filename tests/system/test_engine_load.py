"""Two ranks with two targets each, under load from four client processes, lose one process after
another: what was acknowledged is there, and who is left goes on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from daos.base.ids import ObjectId
from daos.engine.process import STATUS_TARGET_LOST
from daos.testing.engines import EngineSystem
from tests.system.engine_writer import value_of

MIB = 1 << 20
WRITERS = 4
STEP = 30  # puts of each writer between two events
STEP_S = 60.0
# What a put may hear that was not acknowledged in time: all of them clear.
CLEAR = ("DER_TIMEDOUT", "DER_UNREACH", "DER_TX_UNCERTAIN")


class Writer:
    """A client process, and what it told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.oid: ObjectId
        self.puts = 0  # acknowledged: numbers below it
        self.failures: list[str] = []
        self.process: asyncio.subprocess.Process
        self._changed = asyncio.Condition()
        self._reading: asyncio.Task[None]

    async def start(self, system: EngineSystem) -> None:
        uris = [f"{each.rank}={each.uri}" for each in system.group().engines]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.system.engine_writer",
            self.name,
            *uris,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            word, _, rest = raw.decode().strip().partition(" ")
            if word == "ready":
                self.oid = ObjectId.parse(rest)
            elif word == "put":
                assert int(rest) == self.puts
                self.puts += 1
            else:
                self.failures.append(rest)
            async with self._changed:
                self._changed.notify_all()

    async def progress(self, more: int = STEP) -> None:
        """Wait until it has put so many more."""
        enough = self.puts + more
        async with asyncio.timeout(STEP_S), self._changed:
            await self._changed.wait_for(lambda: self.puts >= enough)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading


async def everybody(writers: list[Writer]) -> None:
    await asyncio.gather(*(writer.progress() for writer in writers))


async def check(system: EngineSystem, writers: list[Writer]) -> None:
    """Everything that was acknowledged is there, to the last byte."""
    async with system.client() as client, client.pool("tank", "r") as pool:
        for writer in writers:
            cont = await pool.container(writer.name, "r")
            kv = await cont.kv(writer.oid)
            for number in range(writer.puts):
                found = await kv.get(f"key{number}")
                assert found == value_of(writer.name, number), f"{writer.name} {number}"


def test_processes_die_under_load(tmp_path: Path) -> None:
    async def body(system: EngineSystem, writers: list[Writer]) -> None:
        first, second = system.engines
        await system.create_pool("tank", 4 * 96 * MIB)
        for writer in writers:
            await writer.start(system)
        await everybody(writers)

        second.kill_target(0)
        assert await second.ended() == STATUS_TARGET_LOST
        await system.restart(second)
        await everybody(writers)

        first.kill()  # the rank with the services
        assert await first.ended() == -signal.SIGKILL
        await system.restart(first)
        await everybody(writers)

        await writers[0].kill()
        await everybody(writers[1:])

        assert await second.stop() == 0
        await system.restart(second)
        await everybody(writers[1:])

        for engine in system.engines:
            os.kill(engine.pid, signal.SIGKILL)
        for engine in system.engines:
            await engine.ended()
        for engine in system.engines:
            await engine.start()
        await system.set_up()
        await everybody(writers[1:])

        for writer in writers:
            await writer.kill()
            assert all(text.startswith(CLEAR) for text in writer.failures), writer.failures
        await check(system, writers)
        for engine in system.engines:
            assert await engine.stop() == 0
        assert [path.name for path in system.sockets.iterdir()] == ["daos_server.sock"]

    async def run() -> None:
        writers = [Writer(f"writer{number}") for number in range(WRITERS)]
        async with EngineSystem(tmp_path, ranks=2) as system:
            try:
                await body(system, writers)
            finally:
                for writer in writers:
                    if hasattr(writer, "process"):
                        await writer.kill()

    asyncio.run(run())
