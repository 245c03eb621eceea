"""Places to listen at within a host: taken, left behind, gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daos.base.errors import DER, AccessError, DaosError, ExistsError, InvalidError
from daos.cart.transport.sm import SmTransport
from daos.testing.kits.transport_peers import RawChannel
from tests.unit.cart.sm_world import PLACE, World, run


def test_a_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "0.1"))
    left.close()

    async def scenario(world: World) -> None:
        here, there = await world.pair()
        await world.end(here, there)
        assert not world.path.exists()

    run(tmp_path, scenario)


def test_of_many_who_start_at_once_one_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a socket left behind: each finds it stale, and removes what is there by then."""
    unlink = os.unlink

    def unlink_together(path: str) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            found.wait(0.05)
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_together)
    path = tmp_path / "0.1"

    def listen(start: threading.Barrier, stop: threading.Barrier) -> bool:
        async def main() -> bool:
            transport = SmTransport(asyncio.get_running_loop(), lambda endpoint: str(path))
            start.wait()
            try:
                listener = transport.listen(PLACE, lambda link: RawChannel())
            except ExistsError:
                stop.wait()
                return False
            stop.wait()
            listener.close()
            return True

        return asyncio.run(main())

    count = 4
    for _ in range(3):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(path))
        left.close()
        start, stop = threading.Barrier(count), threading.Barrier(count + 1)
        found = threading.Barrier(2)
        with ThreadPoolExecutor(count) as pool:
            listening = [pool.submit(listen, start, stop) for _ in range(count)]
            stop.wait()
            assert sum(each.result() for each in listening) == 1
        assert not path.exists()


def test_a_socket_of_somebody_else_stays(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.path.unlink()
        other = SmTransport(asyncio.get_running_loop(), lambda endpoint: str(world.path))
        listener = other.listen(PLACE, world.accept)
        world.listener.close()
        await world.end(*await world.pair())
        listener.close()
        assert not world.path.exists()

    run(tmp_path, scenario)


def test_a_directory_that_goes_first(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.path.unlink()
        world.path.parent.rmdir()
        await world.end()

    directory = tmp_path / "d"
    directory.mkdir()
    run(directory, scenario)


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(ExistsError, match="somebody listens"):
            world.transport.listen(PLACE, world.accept)
        world.listener.close()
        world.path.write_text("mine")
        with pytest.raises(ExistsError, match="no socket"):
            world.transport.listen(PLACE, world.accept)
        assert world.path.read_text() == "mine"

    run(tmp_path, scenario)


def test_addresses_that_cannot_be(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        places = {
            "long": str(tmp_path / ("x" * 120)),
            "missing": str(tmp_path / "no" / "such"),
        }
        for name, error in (("long", InvalidError), ("missing", InvalidError)):
            transport = SmTransport(loop, lambda endpoint, name=name: places[name])
            with pytest.raises(error):
                transport.listen(PLACE, lambda link: RawChannel())
            peer = RawChannel()
            peer.link = transport.connect(PLACE, peer)
            await peer.until(lambda peer=peer: bool(peer.lost))
            (lost,) = peer.lost
            assert isinstance(lost, DaosError)
            assert lost.code is DER.UNREACH
            assert places[name] in str(lost)
        nowhere = SmTransport(loop, lambda endpoint: None)
        with pytest.raises(InvalidError, match="no address"):
            nowhere.listen(PLACE, lambda link: RawChannel())
        peer = RawChannel()
        peer.link = nowhere.connect(PLACE, peer)
        await peer.until(lambda: bool(peer.lost))
        assert "nobody knows where rank 0 tag 1 is" in str(peer.lost[0])

    asyncio.run(main())


def test_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)

    async def main() -> None:
        transport = SmTransport(asyncio.get_running_loop(), lambda endpoint: f"{tmp_path}/0.1")
        with pytest.raises(AccessError):
            transport.listen(PLACE, lambda link: RawChannel())

    asyncio.run(main())
