"""Listener and connection over real sockets: answers, peers that misbehave, peers that vanish."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from daos.base.errors import (
    DER,
    AccessError,
    DaosError,
    DeadlineError,
    ExistsError,
    InvalidError,
    NotFoundError,
    ProtocolError,
)
from daos.base.peers import Peer
from daos.drpc import connection, server
from daos.drpc.client import Connection, call
from daos.drpc.connection import MessageSocket, listen
from daos.drpc.layout import CHUNK_MAX, packets
from daos.drpc.registry import Methods, Registry
from daos.drpc.server import Listener
from daos.proto.drpc_pb2 import Call, Response, Status

ECHO, STUCK, WHO, BUG = 1, 2, 3, 4
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[Callable[[Place], Awaitable[None]]], None]:
    """Runs a scenario with a listener, on each kind of loop."""

    def runner(scenario: Callable[[Place], Awaitable[None]]) -> None:
        async def whole() -> None:
            place = Place(tmp_path / "drpc.sock")
            await place.start()
            try:
                await scenario(place)
            finally:
                place.go_on.set()
                await place.listener.close()
            assert not place.path.exists()
            assert place.listener.sessions == 0

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(whole())

    return runner


class Place:
    """A listener whose module 0 echoes, tells who asks, and has a method that waits."""

    listener: Listener

    def __init__(self, path: Path) -> None:
        self.path = path
        self.go_on = asyncio.Event()
        self.waiting = 0

    async def start(self) -> None:
        methods = Methods()
        methods.add(ECHO, Call, self._echo)
        methods.add(STUCK, Call, self._stuck)
        methods.add(WHO, Call, self._who)
        methods.add(BUG, Call, self._bug)
        registry = Registry()
        registry.register(0, methods)
        self.listener = await Listener.start(self.path, registry, mode=0o600)

    async def _echo(self, request: Call, peer: Peer) -> Call:
        return request

    async def _stuck(self, request: Call, peer: Peer) -> Call:
        self.waiting += 1
        await self.go_on.wait()
        return request

    async def _who(self, request: Call, peer: Peer) -> Response:
        return Response(sequence=peer.pid, body=f"{peer.uid}:{peer.gid}".encode())

    async def _bug(self, request: Call, peer: Peer) -> Call:
        raise RuntimeError("a bug")

    async def echo(self, body: bytes = b"still there") -> None:
        answer = await call(self.path, 0, ECHO, Call(body=body), Call, timeout_s=20)
        assert answer.body == body

    def raw(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(self.path))
        peer.settimeout(20)
        return peer


async def settled(what: Callable[[], bool]) -> None:
    """Turns of the loop until `what` holds."""
    for _ in range(100_000):
        if what():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def in_thread(function: Callable[..., bytes], *arguments: int) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


Run = Callable[[Callable[[Place], Awaitable[None]]], None]


def test_calls_are_answered_one_after_another_and_side_by_side(run: Run) -> None:
    async def scenario(place: Place) -> None:
        async with await Connection.open(place.path) as peer:
            for size in (0, 1, CHUNK_MAX, 5 * CHUNK_MAX + 7):
                body = os.urandom(size)
                answer = await peer.call(0, ECHO, Call(body=body), Call, timeout_s=20)
                assert answer.body == body
        await asyncio.gather(*(place.echo(bytes([number])) for number in range(50)))

    run(scenario)


def test_each_call_has_the_next_sequence(run: Run) -> None:
    async def scenario(place: Place) -> None:
        peer = place.raw()
        for sequence in (1, 2, 77):
            (sent,) = packets(Call(method=ECHO, sequence=sequence).SerializeToString())
            peer.send(sent)
            answer = await in_thread(peer.recv, 1 << 17)
            assert Response.FromString(answer[24:]).sequence == sequence
        peer.close()

    run(scenario)


def test_the_peer_is_known_by_the_kernel(run: Run) -> None:
    async def scenario(place: Place) -> None:
        answer = await call(place.path, 0, WHO, Call(), Response, timeout_s=20)
        assert answer.sequence == os.getpid()
        assert answer.body == f"{os.getuid()}:{os.getgid()}".encode()

    run(scenario)


def test_a_call_that_waits_holds_up_no_other(run: Run) -> None:
    async def scenario(place: Place) -> None:
        waiting = asyncio.ensure_future(call(place.path, 0, STUCK, Call(), Call, timeout_s=20))
        await settled(lambda: place.waiting == 1)
        await place.echo()
        place.go_on.set()
        assert await waiting == Call()

    run(scenario)


def test_what_nobody_answers(run: Run) -> None:
    async def scenario(place: Place) -> None:
        for module, method, text in ((3, 1, "UNKNOWN_MODULE"), (0, 99, "UNKNOWN_METHOD")):
            with pytest.raises(DaosError, match=text) as caught:
                await call(place.path, module, method, Call(), Call, timeout_s=20)
            assert caught.value.code is DER.NOTSUPPORTED
        await place.echo()

    run(scenario)


def test_garbage_is_answered_and_the_session_goes_on(run: Run) -> None:
    async def scenario(place: Place) -> None:
        peer = place.raw()
        (garbage,) = packets(b"\xff\xff\xff")
        peer.send(garbage)
        answer = Response.FromString((await in_thread(peer.recv, 1 << 17))[24:])
        assert (answer.sequence, answer.status) == (-1, Status.FAILED_UNMARSHAL_CALL)
        (good,) = packets(Call(method=ECHO, sequence=5).SerializeToString())
        peer.send(good)
        answer = Response.FromString((await in_thread(peer.recv, 1 << 17))[24:])
        assert (answer.sequence, answer.status) == (5, Status.SUCCESS)
        peer.close()

    run(scenario)


@pytest.mark.parametrize(
    "packet", [b"x", bytes(23), bytes(24), bytes(1 << 17), b"\xff" * 100], ids=len
)
def test_packets_that_make_no_message_end_their_session_only(run: Run, packet: bytes) -> None:
    async def scenario(place: Place) -> None:
        good, bad = place.raw(), place.raw()
        await settled(lambda: place.listener.sessions == 2)
        bad.send(packet)
        assert await in_thread(bad.recv, 1 << 17) == b""
        bad.close()
        (sent,) = packets(Call(method=ECHO, sequence=1).SerializeToString())
        good.send(sent)
        assert Response.FromString((await in_thread(good.recv, 1 << 17))[24:]).sequence == 1
        good.close()

    run(scenario)


def test_peers_that_vanish_leave_nothing(run: Run) -> None:
    async def scenario(place: Place) -> None:
        idle, half, asking = place.raw(), place.raw(), place.raw()
        await settled(lambda: place.listener.sessions == 3)
        half.send(next(packets(bytes(2 * CHUNK_MAX))))
        (sent,) = packets(Call(method=STUCK).SerializeToString())
        asking.send(sent)
        await settled(lambda: place.waiting == 1)
        for peer in (idle, half, asking):
            peer.close()
        place.go_on.set()
        await settled(lambda: place.listener.sessions == 0)
        await place.echo()

    run(scenario)


def test_a_peer_that_stops_in_the_middle_is_let_go(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MOVE_S", 0.05)

    async def scenario(place: Place) -> None:
        half = place.raw()
        half.send(next(packets(bytes(2 * CHUNK_MAX))))
        assert await in_thread(half.recv, 1 << 17) == b""
        half.close()

    run(scenario)


def test_a_peer_that_does_not_read_is_let_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOVE_S", 0.05)
    monkeypatch.setattr(server, "CALLS_MAX", 2)

    async def scenario(place: Place) -> None:
        deaf = place.raw()
        deaf.setblocking(False)
        sent = [*packets(Call(method=ECHO, body=bytes(100_000)).SerializeToString())]
        for _ in range(2000):
            try:
                deaf.send(sent[0])
            except BlockingIOError:
                break
            except OSError:
                break
            await asyncio.sleep(0)
        await place.echo()
        deaf.close()

    run(scenario)


@pytest.mark.expects_warning("drpc refused")
def test_more_sessions_than_there_is_room_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SESSIONS_MAX", 2)

    async def scenario(place: Place) -> None:
        first, second = place.raw(), place.raw()
        await settled(lambda: place.listener.sessions == 2)
        third = place.raw()
        assert await in_thread(third.recv, 10) == b""
        for peer in (first, second, third):
            peer.close()
        await settled(lambda: place.listener.sessions == 0)
        await place.echo()

    run(scenario)


@pytest.mark.expects_warning("drpc accept failed")
def test_a_failed_accept_ends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_FULL_S", 0.0)

    async def scenario(place: Place) -> None:
        peer = place.raw()
        await settled(lambda: place.listener.sessions == 1)
        loop = asyncio.get_running_loop()
        accept, failures = loop.sock_accept, [errno.EMFILE, errno.ECONNABORTED]

        async def failing(listening: socket.socket) -> tuple[socket.socket, object]:
            if failures:
                raise OSError(failures.pop(), "no")
            return await accept(listening)

        monkeypatch.setattr(place.listener, "_take", failing)
        await place.echo()
        await place.echo()
        assert failures == []
        peer.close()

    run(scenario)


def test_the_client_counts_its_calls(tmp_path: Path) -> None:
    seen: list[int] = []

    async def scenario() -> None:
        with listen(tmp_path / "s", 0o600) as listening:
            async with await Connection.open(tmp_path / "s") as client:
                connected, _ = await asyncio.get_running_loop().sock_accept(listening)
                peer = MessageSocket(connected, tmp_path / "s")
                for _ in range(3):
                    asking = asyncio.ensure_future(client.call(2, 1, Call(), Call, timeout_s=20))
                    sent = Call.FromString(await peer.receive() or b"")
                    seen.append(sent.sequence)
                    await peer.send(Response(sequence=sent.sequence).SerializeToString())
                    await asking
                peer.close()

    asyncio.run(scenario())
    assert seen == [1, 2, 3]


@pytest.mark.expects_warning("drpc bug")
def test_a_bug_ends_its_session_and_no_other(run: Run) -> None:
    async def scenario(place: Place) -> None:
        async with await Connection.open(place.path) as other:
            with pytest.raises(DaosError, match="left without an answer") as caught:
                await call(place.path, 0, BUG, Call(), Call, timeout_s=20)
            assert caught.value.code is DER.UNREACH
            assert await other.call(0, ECHO, Call(sequence=7), Call, timeout_s=20)

    run(scenario)


def test_a_call_has_its_time(run: Run) -> None:
    async def scenario(place: Place) -> None:
        with pytest.raises(DeadlineError, match="no answer to dRPC 0/2 within"):
            await call(place.path, 0, STUCK, Call(), Call, timeout_s=0.02)
        place.go_on.set()
        await place.echo()

    run(scenario)


def test_close_answers_what_came(run: Run) -> None:
    async def scenario(place: Place) -> None:
        waiting = asyncio.ensure_future(call(place.path, 0, STUCK, Call(), Call, timeout_s=20))
        await settled(lambda: place.waiting == 1)
        asyncio.get_running_loop().call_later(0.02, place.go_on.set)
        await place.listener.close()
        assert await waiting == Call()
        with pytest.raises(NotFoundError):
            await place.echo()

    run(scenario)


# --- sockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_mode_of_the_socket(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "s"
    with listen(path, mode) as listening:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert listening.getblocking() is False


def test_a_stale_socket_is_replaced_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path, 0o600).close()
    assert path.exists()
    with listen(path, 0o600), pytest.raises(ExistsError, match="another process listens"):
        listen(path, 0o600)


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(InvalidError, match="no socket"):
        listen(path, 0o600)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "error"), [("missing/s", NotFoundError), ("x" * 120, InvalidError)]
)
def test_places_for_no_socket(tmp_path: Path, name: str, error: type[DaosError]) -> None:
    with pytest.raises(error):
        listen(tmp_path / name, 0o600)


def test_a_directory_that_may_not_be_written_to(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(AccessError):
        listen(tmp_path / "s", 0o600)


def test_nobody_is_there(tmp_path: Path) -> None:
    async def connect(path: Path) -> None:
        await MessageSocket.connect(path)

    with pytest.raises(NotFoundError):
        asyncio.run(connect(tmp_path / "none"))
    listen(tmp_path / "stale", 0o600).close()
    with pytest.raises(DaosError) as caught:
        asyncio.run(connect(tmp_path / "stale"))
    assert caught.value.code is DER.UNREACH


# --- a server that misbehaves ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (None, DER.UNREACH, "left without an answer"),
        (b"\xff\xff", DER.PROTO, "no dRPC response"),
        (Response(sequence=9).SerializeToString(), DER.PROTO, "the answer to 9"),
        (Response(sequence=1, body=b"\xff").SerializeToString(), DER.PROTO, "is no Call"),
        (Response(sequence=1, status=Status.FAILURE).SerializeToString(), DER.MISC, "FAILURE"),
    ],
    ids=["none", "garbage", "another's", "body", "failure"],
)
def test_answers_that_are_none(tmp_path: Path, answer: bytes | None, code: DER, text: str) -> None:
    async def scenario() -> None:
        with listen(tmp_path / "s", 0o600) as listening:
            asking = asyncio.ensure_future(call(tmp_path / "s", 0, 1, Call(), Call, timeout_s=20))
            connected, _ = await asyncio.get_running_loop().sock_accept(listening)
            peer = MessageSocket(connected, tmp_path / "s")
            assert await peer.receive() is not None
            if answer is not None:
                await peer.send(answer)
            peer.close()
            await asking

    with pytest.raises(DaosError, match=text) as caught:
        asyncio.run(scenario())
    assert caught.value.code is code
    assert isinstance(caught.value, ProtocolError) == (code is DER.PROTO)
