"""One set of descriptors that the loop watches as one."""

from __future__ import annotations

import asyncio
import os

from daos.cart.transport.poller import READ, WRITE, Poller


def test_handlers_hear_of_what_they_watch() -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        poller = Poller(asyncio.get_running_loop())
        reader, writer = os.pipe()
        heard: list[int] = []
        arrived = asyncio.Event()

        def readable(events: int) -> None:
            heard.append(events)
            os.read(reader, 100)
            arrived.set()

        def writable(events: int) -> None:
            assert events & WRITE
            poller.watch(writer, 0, writable)
            os.write(writer, b"x")

        poller.watch(reader, READ, readable)
        poller.watch(writer, WRITE, writable)
        await arrived.wait()
        assert heard == [READ]
        poller.watch(writer, 0, writable)  # twice is once
        poller.watch(reader, 0, readable)
        poller._ready()  # late, and nothing is there
        for fd in (reader, writer):
            os.close(fd)
        assert len(os.listdir("/proc/self/fd")) == before  # it holds nothing any more

    asyncio.run(main())


def test_one_handler_ends_another_of_the_same_turn() -> None:
    async def main() -> None:
        poller = Poller(asyncio.get_running_loop())
        pipes = [os.pipe() for _ in range(2)]
        heard: list[int] = []
        arrived = asyncio.Event()

        def readable(events: int) -> None:
            heard.append(events)
            arrived.set()
            for reader, _ in pipes:
                poller.watch(reader, 0, readable)

        for reader, writer in pipes:
            os.write(writer, b"x")
            poller.watch(reader, READ, readable)
        await arrived.wait()
        assert heard == [READ]
        for pipe in pipes:
            for fd in pipe:
                os.close(fd)

    asyncio.run(main())
