"""The parts of an engine's processes that need no process."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from pathlib import Path

import pytest

from daos.base.clock import SystemClock
from daos.base.errors import DER, AgainError, DaosError, ExistsError, InvalidError
from daos.base.hlc import EPSILON_NS, Hlc
from daos.base.ids import Rank
from daos.engine import process
from daos.engine.config import EngineConfig
from daos.engine.control import Place
from daos.engine.modules import Modules
from daos.engine.process import EngineProcess
from daos.engine.rank import Member
from daos.engine.tether import Begin, Group, Message, Ready, Tether, pair
from daos.testing.simloop import SimClock, simulate


def config_of(path: Path, clock: SimClock | SystemClock) -> EngineConfig:
    return EngineConfig(
        targets=2,
        storage=path,
        sockets=path,
        clock=clock,
        rng=random.Random(1),
        new_loop=asyncio.SelectorEventLoop,
    )


def new_process(path: Path, clock: SimClock | SystemClock, hlc: Hlc) -> EngineProcess:
    return EngineProcess(config_of(path, clock), Modules([]), hlc.bound(hlc.now()))


KEY = bytes(range(32))


def test_no_epoch_of_an_earlier_life_is_given_out_again(tmp_path: Path) -> None:
    """That life may have followed clocks as far ahead of ours as is tolerated."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = SimClock(loop)
        earlier = Hlc(clock)
        earlier.observe(Hlc(SimClock(loop, skew_ns=EPSILON_NS)).now())
        last = earlier.now()
        (tmp_path / "devices" / "system").mkdir(parents=True)
        restarted = new_process(tmp_path, clock, Hlc(clock))
        await restarted._wait_for_clock()
        assert Hlc(clock).now() > last
        assert loop.time() < 1.1 * EPSILON_NS / 1e9

    simulate(main(), 1)


def test_what_is_new_has_no_earlier_life(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        clock = SimClock(loop)
        await new_process(tmp_path, clock, Hlc(clock))._wait_for_clock()
        assert loop.time() == began

    simulate(main(), 1)


def test_orders_in_the_wrong_order(tmp_path: Path) -> None:
    async def main() -> None:
        clock = SystemClock()
        engine = new_process(tmp_path, clock, Hlc(clock))
        with pytest.raises(AgainError, match="not set up yet"):
            _ = engine.engine
        members = [Member("here", Rank(0), 2)]
        with pytest.raises(InvalidError, match="SetUp came before SetRank"):
            await engine.set_up(members)
        with pytest.raises(InvalidError, match="key has 32 bytes, not 0"):
            engine.set_rank(Rank(1), b"")
        engine.set_rank(Rank(1), KEY)
        engine.set_rank(Rank(1), KEY)
        with pytest.raises(ExistsError, match="this engine is rank 1"):
            engine.set_rank(Rank(0), KEY)
        with pytest.raises(ExistsError, match="can't have another one"):
            engine.set_rank(Rank(1), KEY[::-1])
        with pytest.raises(InvalidError, match="rank 1 has 2 targets"):
            await engine.set_up(members)
        with pytest.raises(InvalidError, match="rank 1 has 2 targets"):
            await engine.set_up([Member("here", Rank(1), 3)])
        with pytest.raises(InvalidError, match="a URI is"):
            engine.update_group(1, [Place(Rank(0), "nowhere", 1)])
        engine._setting_up = True
        with pytest.raises(DaosError) as caught:
            await engine.set_up([Member("here", Rank(1), 2)])
        assert caught.value.code is DER.ALREADY

    asyncio.run(main())


def test_sockets_of_the_dead_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, living = (tmp_path / f"daos_engine_{number}.sock" for number in (1, 2))
    other = tmp_path / "other.sock"
    sockets = []
    for path in (dead, living, other):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.bind(str(path))
        if path != other:
            sock.listen()
        sockets.append(sock)
    sockets[0].close()
    starting = tmp_path / f"daos_engine_{os.getpid()}.sock"  # bound, and not listening yet
    sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    sockets[-1].bind(str(starting))
    monkeypatch.setattr(process, "NAME", Path("/proc/self/comm").read_text().strip())
    process._remove_sockets_of_the_dead(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {living.name, other.name, starting.name}
    for sock in sockets:
        sock.close()


class End:
    """One end of a tether, and what it heard."""

    def __init__(self, end: socket.socket) -> None:
        self.heard: list[Message] = []
        self.was_cut = asyncio.Event()
        self.got = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.tether = Tether(end, loop, received=self._received, cut=self.was_cut.set)

    def _received(self, message: Message) -> None:
        self.heard.append(message)
        self.got.set()


def test_a_tether_carries_messages_and_tells_of_the_end() -> None:
    async def main() -> None:
        parent, child = map(End, pair())
        group = Group(3, {number: f"sm:///tmp/{number}" for number in range(1000)})
        for message in (group, Begin(0, "sm:///tmp", bytes(32))):
            parent.tether.send(message)
        child.tether.send(Ready())
        await parent.got.wait()
        while len(child.heard) < 2:
            child.got.clear()
            await child.got.wait()
        assert child.heard == [group, Begin(0, "sm:///tmp", bytes(32))]
        assert parent.heard == [Ready()]
        child.tether.close()
        child.tether.close()
        await parent.was_cut.wait()
        parent.tether.close()
        assert not child.was_cut.is_set()

    asyncio.run(main())


def test_nobody_hears_what_is_said_to_the_dead() -> None:
    async def main() -> None:
        mine, its = pair()
        end = End(mine)
        its.close()
        end.tether.send(Ready())
        await end.was_cut.wait()

    asyncio.run(main())


def test_an_unread_message_does_not_hide_the_end() -> None:
    """A process that dies with something unread resets the connection."""

    async def main() -> None:
        mine, its = pair()
        end = End(mine)
        end.tether.send(Ready())
        os.close(its.detach())
        await end.was_cut.wait()

    asyncio.run(main())
