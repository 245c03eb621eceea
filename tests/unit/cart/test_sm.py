"""Connections within a host: what is theirs alone. The rest is in the kit for transports."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daos.base.errors import DER, InvalidError
from daos.cart.transport import regions
from daos.cart.transport.poller import Poller
from daos.cart.transport.regions import SharingConfig
from daos.cart.transport.sm import SmLink
from daos.cart.transport.sockets import SocketConfig
from daos.cart.transport.wire import SHARE, UNSHARE, Offer, emit_greeting
from daos.testing.kits.transport_peers import RawChannel
from tests.unit.cart.sm_world import World, run

PAGE = 4096


@contextmanager
def memfd(nbytes: int, seals: int = fcntl.F_SEAL_SHRINK) -> Iterator[int]:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(fd, nbytes)
        if seals:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
        yield fd
    finally:
        os.close(fd)


async def told(here: RawChannel, there: RawChannel, text: bytes = b"look") -> None:
    """Say something and wait until it is heard: what was offered before is there then."""
    there.heard.clear()
    here.say(text)
    await there.until(lambda: there.heard == text)


def test_memory_is_there_with_the_frame_that_follows_its_offer(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        with memfd(2 * PAGE) as fd:
            os.pwrite(fd, b"from here", 100)
            here.link.share(7, fd, 2 * PAGE)
            await told(here, there)
            view = there.link.memory(7)
            assert view is not None
            assert len(view) == 2 * PAGE
            assert bytes(view[100:109]) == b"from here"
            view[200:210] = b"from there"
            assert os.pread(fd, 10, 200) == b"from there"
        assert there.link.memory(8) is None
        assert here.link.memory(7) is None
        here.link.unshare(7)
        await told(here, there)
        for _ in range(3):
            await asyncio.sleep(0)
        assert there.link.memory(7) is None
        assert bytes(view[100:109]) == b"from here"  # who still uses it may
        await world.end(here, there)

    run(tmp_path, scenario)


def test_either_end_shares_and_what_was_shared_before_there_was_a_connection_counts(
    tmp_path: Path,
) -> None:
    async def scenario(world: World) -> None:
        early = world.connect()
        with memfd(PAGE) as fd, memfd(PAGE) as gone:
            early.link.share(1, fd, PAGE)
            early.link.share(2, gone, PAGE)
            early.link.unshare(2)
            early.say(b"x")
            there = await world.taken()
            await there.until(lambda: there.heard == b"x")
            assert there.link.memory(1) is not None
            assert there.link.memory(2) is None
            there.link.share(1, fd, PAGE)
            await told(there, early)
            assert early.link.memory(1) is not None
        await world.end(early, there)

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("seals", "size", "nbytes"),
    [
        (0, PAGE, PAGE),
        (fcntl.F_SEAL_GROW, PAGE, PAGE),
        (fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE, PAGE, PAGE),
        (fcntl.F_SEAL_SHRINK, PAGE, PAGE + 1),
        (fcntl.F_SEAL_SHRINK, PAGE, 1 << 63),
    ],
    ids=["unsealed", "only growing", "read-only", "too short", "absurd"],
)
def test_memory_that_could_harm_is_refused(
    tmp_path: Path, seals: int, size: int, nbytes: int
) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        with memfd(size, seals) as fd:
            here.link.share(1, fd, nbytes)
            await told(here, there)
            assert there.link.memory(1) is None
        with memfd(PAGE) as good:
            here.link.share(2, good, PAGE)
            await told(here, there)
            assert there.link.memory(2) is not None
        await world.end(here, there)

    run(tmp_path, scenario)


def test_no_memory_but_memfds(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        for region_id, path in enumerate((tmp_path / "file", "/dev/zero")):
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            here.link.share(region_id, fd, PAGE)
            os.close(fd)
            await told(here, there)
            assert there.link.memory(region_id) is None
        await world.end(here, there)

    run(tmp_path, scenario)


def test_no_memory_of_huge_pages(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever touches one that its pool has not is killed."""
    caplog.set_level("INFO")
    try:
        fd = os.memfd_create("huge", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
    except OSError:
        pytest.skip("this kernel has no huge pages")

    async def scenario(world: World) -> None:
        here, there = await world.pair()
        here.link.share(1, fd, 2 << 20)
        await told(here, there)
        assert there.link.memory(1) is None
        await world.end(here, there)

    os.truncate(fd, 2 << 20)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    run(tmp_path, scenario)
    os.close(fd)
    assert "its pages have 2097152 bytes" in caplog.text


def test_out_of_descriptors_memory_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_descriptors(fd: int) -> int:
        raise OSError(errno.EMFILE, "too many")

    async def scenario(world: World) -> None:
        early = world.connect()
        with greeted(world.path) as (peer, pair), memfd(PAGE) as fd:
            peer.send(b"a")
            monkeypatch.setattr(os, "dup", out_of_descriptors)
            early.link.share(1, fd, PAGE)
            first = await world.taken()
            second = await world.taken()
            there = first if first.link is not early.link and first.heard else second
            await there.until(lambda: there.heard == b"a")
            for region_id in range(600):  # more than the queue takes
                there.link.share(region_id, fd, PAGE)
            monkeypatch.undo()
            there.link.share(600, fd, PAGE)
            pair.setblocking(False)
            seen = []
            while not seen or seen[-1] != 600:
                try:
                    raw, fds, _, _ = socket.recv_fds(pair, 100, 1)
                except BlockingIOError:
                    await asyncio.sleep(0)
                    continue
                os.close(fds[0])
                seen.append(Offer.parse(raw).region_id)
            assert seen == [*range(len(seen) - 1), 600]
            assert len(seen) < 600
            other = second if there is first else first
            await world.end(early, there, other)

    run(tmp_path, scenario)


def test_a_peer_shares_so_much_and_no_more(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        with memfd(3 * PAGE) as fd:
            for region_id, pages in ((1, 3), (2, 2), (3, 1), (4, 1)):
                here.link.share(region_id, fd, pages * PAGE)
            await told(here, there)
            assert [there.link.memory(n) is not None for n in (1, 2, 3, 4)] == [
                True,
                False,
                True,
                False,
            ]
            here.link.unshare(1)
            here.link.share(5, fd, 3 * PAGE)
            await told(here, there)
            assert there.link.memory(5) is not None
        await world.end(here, there)

    run(tmp_path, scenario, SharingConfig(regions_max=2, bytes_max=4 * PAGE))


def test_what_is_no_offer_ends_the_sharing_and_not_the_connection(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with greeted(world.path) as (peer, pair), memfd(PAGE) as fd:
            there = await world.taken()
            socket.send_fds(pair, [Offer(SHARE, 1, PAGE).emit()], [fd])
            peer.send(b"a")
            await there.until(lambda: there.heard == b"a")
            assert there.link.memory(1) is not None
            socket.send_fds(pair, [b"no offer at all"], [fd])
            peer.send(b"b")
            await there.until(lambda: there.heard == b"ab")
            assert there.link.memory(2) is None
            assert there.link.memory(1) is None
            there.link.share(3, fd, PAGE)
            there.link.unshare(3)
        await world.end(there)

    run(tmp_path, scenario)


def test_a_peer_that_never_stops_offering_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        offers = 0

        def one_more(*_: object) -> tuple[bytes, int]:
            nonlocal offers
            offers += 1
            assert offers < 10_000
            return Offer(UNSHARE, 1, 0).emit(), -1

        with monkeypatch.context() as patch:
            patch.setattr(regions, "receive", one_more)
            assert there.link.memory(1) is None
        await world.end(here, there)

    run(tmp_path, scenario)


def test_offers_wait_for_a_peer_that_does_not_look(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        with greeted(world.path) as (peer, pair), memfd(PAGE) as fd:
            peer.send(b"a")
            there = await world.taken()
            await there.until(lambda: there.heard == b"a")
            count = 600
            for region_id in range(count):
                there.link.share(region_id, fd, PAGE)
            pair.setblocking(False)
            seen = []
            while len(seen) < count:
                try:
                    raw, fds, _, _ = socket.recv_fds(pair, 100, 1)
                except BlockingIOError:
                    await asyncio.sleep(0)
                    continue
                os.close(fds[0])
                seen.append(Offer.parse(raw).region_id)
            assert seen == list(range(count))
        await world.end(there)

    run(tmp_path, scenario)


@contextmanager
def greeted(path: Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection by hand, and its end of the pair."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        socket.send_fds(peer, [emit_greeting()], [there.fileno()])
        there.close()
        yield peer, here


@pytest.mark.parametrize("kind", ["nothing", "pipe", "stream", "bytes", "short", "silence"])
def test_what_is_no_greeting_costs_the_connection(tmp_path: Path, kind: str) -> None:
    async def scenario(world: World) -> None:
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(world.path))
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pipe = os.pipe()
        greeting = emit_greeting()
        if kind == "nothing":
            peer.send(greeting)
        elif kind in ("pipe", "stream"):
            fd = pipe[0] if kind == "pipe" else ends[0].fileno()
            socket.send_fds(peer, [greeting], [fd])
        elif kind in ("bytes", "short"):
            raw = greeting[:3] if kind == "short" else b"CaRT and more than that"
            socket.send_fds(peer, [raw], [ends[0].fileno()])
        else:
            peer.close()
        there = await world.taken()
        await there.until(lambda: bool(there.lost))
        assert there.heard == b""
        for each in (peer, *ends):
            each.close()
        for fd in pipe:
            os.close(fd)
        here, there = await world.pair()
        await world.end(here, there)

    run(tmp_path, scenario)


def test_who_is_there(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        here, there = await world.pair()
        for link in (here.link, there.link):
            assert isinstance(link, SmLink)
            assert link.peer == (os.getpid(), os.getuid(), os.getgid())
        await world.end(here, there)

    run(tmp_path, scenario)


@pytest.mark.parametrize("kind", ["connecting", "taken", "sharing", "sharing, taken"])
def test_a_connection_for_which_nothing_is_left_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Out of descriptors, or memory, half way up: the channel hears of it, nothing stays behind."""

    def out_of_descriptors(*_: object) -> object:
        raise OSError(errno.EMFILE, "too many")

    async def scenario(world: World) -> None:
        channels = [world.connect()]
        if kind.startswith("sharing"):
            channels[0].say(b"hello")
            make, made = regions.Regions.__init__, list[socket.socket]()

            def refuse(
                ours: regions.Regions, poller: Poller, sock: socket.socket, config: SharingConfig
            ) -> None:
                made.append(sock)
                if len(made) == (1 if kind == "sharing" else 2):  # who connects makes the first
                    out_of_descriptors()
                make(ours, poller, sock, config)

            monkeypatch.setattr(regions.Regions, "__init__", refuse)
            channels.insert(0 if kind == "sharing" else 1, await world.taken())
            await channels[-1].until(lambda: bool(channels[-1].lost))
            assert made[-1].fileno() == -1
        elif kind == "connecting":
            monkeypatch.setattr(socket, "socketpair", out_of_descriptors)
            channels.insert(0, await world.taken())
        else:
            channels[0].say(b"hello")
            watch = SmLink._watch

            def refuse_taken(link: SmLink) -> None:
                (out_of_descriptors if link._taken else watch)(link)

            monkeypatch.setattr(SmLink, "_watch", refuse_taken)
            channels.append(await world.taken())
        for channel in channels:
            await channel.until(lambda channel=channel: bool(channel.lost))  # type: ignore[misc]
        (error,) = channels[-1].lost
        assert error is not None
        assert error.code is DER.UNREACH
        monkeypatch.undo()
        assert world.transport.statistics().taken == 0
        await world.end(*await world.pair())

    run(tmp_path, scenario)


def test_bounds_are_positive() -> None:
    with pytest.raises(InvalidError, match="positive"):
        SocketConfig(connections_max=0)
    with pytest.raises(InvalidError, match="negative"):
        SharingConfig(bytes_max=-1)
