"""Links inside a process: what is theirs alone. The rest is in the kit for transports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from daos.base.errors import DER, DaosError, ExistsError, ProtocolError
from daos.base.ids import Rank, Tag
from daos.cart.context import Endpoint
from daos.cart.transport import Link
from daos.cart.transport.inproc import TURN_BYTES, InprocNetwork
from daos.testing.kits.transport_peers import RawChannel

PLACE = Endpoint(Rank(0), Tag(1))


class World:
    """A network with one listener whose channels are kept."""

    def __init__(self) -> None:
        self.network = InprocNetwork(asyncio.get_running_loop())
        self.accepted: list[RawChannel] = []
        self.listener = self.network.listen(PLACE, self.accept)

    def accept(self, link: Link) -> RawChannel:
        channel = RawChannel()
        channel.link = link
        self.accepted.append(channel)
        return channel

    def connect(self, *, piece: int = 1 << 30) -> RawChannel:
        channel = RawChannel(piece=piece)
        channel.link = self.network.connect(PLACE, channel)
        return channel


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario(World())

    asyncio.run(main())


def codes(channel: RawChannel) -> list[DER | None]:
    return [error.code if error else None for error in channel.lost]


def test_bytes_arrive_in_order_and_the_end_after_them() -> None:
    async def scenario(world: World) -> None:
        here = world.connect(piece=3)
        here.say(b"hello ")
        here.say(b"world")
        here.link.close()
        here.link.close()
        await here.until(lambda: bool(here.lost))
        (there,) = world.accepted
        await there.until(lambda: bool(there.lost))
        assert there.heard == b"hello world"
        assert codes(here) == codes(there) == [None]
        there.say(b"to nobody")
        assert here.sent == 4

    run(scenario)


def test_breaking_off_drops_what_is_queued() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.say(b"first")
        await asyncio.sleep(0)
        (there,) = world.accepted
        await there.until(lambda: there.heard == b"first")
        here.say(b"second")
        here.link.close(ProtocolError("enough"))
        await there.until(lambda: bool(there.lost))
        assert there.heard == b"first"
        assert codes(there) == [DER.UNREACH]
        assert codes(here) == [None]

    run(scenario)


def test_breaking_off_before_the_connection_is_up() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.say(b"never")
        here.link.close(ProtocolError("changed my mind"))
        assert here.lost == []
        await here.until(lambda: bool(here.lost))
        assert world.accepted == []
        assert world.network.statistics().connections == 0

    run(scenario)


def test_what_comes_while_closing_is_not_heard() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.say(b"x")
        await asyncio.sleep(0)
        (there,) = world.accepted
        await there.until(lambda: bool(there.heard))
        there.say(b"y")
        here.link.close()
        await there.until(lambda: bool(there.lost))
        assert here.heard == b""
        assert here.lost == [None]

    run(scenario)


def test_a_turn_moves_a_bounded_share() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.say(bytes(3 * TURN_BYTES + 1))
        await asyncio.sleep(0)
        (there,) = world.accepted
        seen = []
        while len(there.heard) < 3 * TURN_BYTES + 1:
            await asyncio.sleep(0)
            seen.append(len(there.heard))
        assert {b - a for a, b in zip([0, *seen], seen, strict=False)} <= {0, 1, TURN_BYTES}
        here.link.close()
        await here.until(lambda: bool(here.lost))

    run(scenario)


def test_pausing_holds_the_peer_back() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        await asyncio.sleep(0)
        (there,) = world.accepted
        there.link.pause_reading()
        here.say(b"wait")
        for _ in range(10):
            await asyncio.sleep(0)
        assert there.heard == b""
        there.say(b"the other way is open")
        await here.until(lambda: bool(here.heard))
        there.link.resume_reading()
        await there.until(lambda: there.heard == b"wait")
        here.link.close()
        await there.until(lambda: bool(there.lost))

    run(scenario)


def test_a_place_is_taken_until_its_listener_closes() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ExistsError, match="rank 0 tag 1"):
            world.network.listen(PLACE, world.accept)
        world.listener.close()
        world.listener.close()
        other = world.network.listen(PLACE, world.accept)
        world.listener.close()  # not ours any more
        with pytest.raises(ExistsError):
            world.network.listen(PLACE, world.accept)
        other.close()
        here = world.connect()
        await here.until(lambda: bool(here.lost))
        (error,) = here.lost
        assert isinstance(error, DaosError)
        assert str(error) == "DER_UNREACH(-1006): nobody listens at rank 0 tag 1"

    run(scenario)


def test_no_memory_is_shared() -> None:
    async def scenario(world: World) -> None:
        here = world.connect()
        here.link.share(7, -1, 4096)
        await asyncio.sleep(0)
        (there,) = world.accepted
        assert there.link.memory(7) is None
        here.link.unshare(7)
        here.link.close()
        await there.until(lambda: bool(there.lost))

    run(scenario)
