"""Who talks over a transport under test: honest contexts (`Bench`), and `RawChannel`, who lies.

`RawChannel` sends whatever bytes it is told to, in pieces of its choice, and keeps what it hears.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator, Sequence

import msgspec

from daos.base.clock import Clock
from daos.base.errors import (
    DaosError,
    NotFoundError,
)
from daos.base.hlc import Hlc
from daos.base.ids import Rank, Tag
from daos.cart.context import Context, Endpoint, Limits, Rpc
from daos.cart.proof import KEY_SIZE
from daos.cart.protocol import Procedure, opcode
from daos.cart.transport import Link, Transport
from daos.cart.wire import NO_RANK, REPLY, Header, checksum

KiB = 1 << 10
MiB = 1 << 20
SECOND_NS = 1_000_000_000

SERVER = Endpoint(Rank(0), Tag(1))
OTHER = Endpoint(Rank(0), Tag(2))
KEY = bytes(range(KEY_SIZE))  # all endpoints here are of one system


class Ask(msgspec.Struct, array_like=True):
    """A number, and how many bytes of payload the reply should carry."""

    number: int
    nbytes: int = 0


class Answer(msgspec.Struct, array_like=True):
    number: int


ECHO: Procedure[Ask, Answer] = Procedure("kit_echo", opcode(0xFD, 1, 0), Ask, Answer)
PUT: Procedure[Ask, Answer] = Procedure("kit_put", opcode(0xFD, 1, 1), Ask, Answer)
GET: Procedure[Ask, Answer] = Procedure("kit_get", opcode(0xFD, 1, 2), Ask, Answer)
HOLD: Procedure[Ask, Answer] = Procedure("kit_hold", opcode(0xFD, 1, 3), Ask, Answer)
SLOW: Procedure[Ask, Answer] = Procedure("kit_slow", opcode(0xFD, 1, 4), Ask, Answer)


_host_numbers = itertools.count(os.getpid())


def loopback_hosts() -> Iterator[str]:
    """Addresses of this host that nobody else listens at: any port of each is free."""
    pid = os.getpid()
    for number in _host_numbers:
        yield f"127.{1 + pid % 251}.{1 + number // 251 % 251}.{1 + number % 251}"


def pattern(nbytes: int, seed: int = 0) -> bytearray:
    """Bytes that tell when they are in the wrong place."""
    return bytearray(random.Random(seed).randbytes(nbytes))


def frame(
    procedure: Procedure,
    message: object,
    payload: bytes = b"",
    *,
    rpc_id: int = 1,
    flags: int = 0,
    payload_size: int | None = None,
) -> bytes:
    """The bytes of a well-formed frame from a client to SERVER."""
    body = procedure.encode(message)
    header = Header(
        flags=flags,
        opcode=procedure.opcode,
        status=0,
        rpc_id=rpc_id,
        rank=SERVER.rank,
        tag=SERVER.tag,
        source_rank=NO_RANK,
        source_tag=0,
        deadline_ns=0 if flags & REPLY else (1 << 64) - 1,
        trace_id=3,
        payload_size=len(payload) if payload_size is None else payload_size,
        body_size=len(body),
        body_sum=checksum(body),
        epoch=0,
    )
    return header.emit() + body + payload


class RawChannel:
    """A peer that sends what it is told, in pieces of its choice, and keeps what it hears."""

    def __init__(self, *, piece: int = 1 << 30) -> None:
        self.link: Link
        self.heard = bytearray()
        self.lost: list[DaosError | None] = []
        self.sent = 0
        self._piece = piece
        self._queue = bytearray()
        self._buffer = bytearray(4096)
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def say(self, data: bytes) -> None:
        self._queue += data
        self.link.kick()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that this channel hears makes `condition` true."""
        if not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((condition, future))
            await future

    def get_buffer(self, size_hint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += self._buffer[:nbytes]
        self._wake()

    def data_to_send(self, nbytes_max: int) -> Sequence[bytes]:
        piece = bytes(self._queue[: min(self._piece, nbytes_max)])
        del self._queue[: len(piece)]
        if self._queue:
            self.link.kick()
        return [piece] if piece else []

    def data_sent(self) -> None:
        self.sent += 1

    def connection_lost(self, error: DaosError | None) -> None:
        self.lost.append(error)
        self._wake()

    def _wake(self) -> None:
        for condition, future in self._waiters:
            if condition() and not future.done():
                future.set_result(None)


class Bench:
    """Contexts over one transport, a server among them; all closed at the end."""

    def __init__(self, transport: Transport, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.transport = transport
        self.loop = loop
        self.clock = clock
        self.contexts: list[Context] = []
        self.bugs: list[Exception] = []
        self.held: list[Rpc[Ask, Answer]] = []
        self.order: list[int] = []
        self.aborted: list[int] = []
        self.landed: list[bytearray] = []
        self.sent = 0
        self.arrival = asyncio.Event()

    def context(self, endpoint: Endpoint | None, limits: Limits | None = None) -> Context:
        context = Context(
            self.transport,
            endpoint,
            clock=self.clock,
            hlc=Hlc(self.clock),
            rng=random.Random(len(self.contexts)),
            loop=self.loop,
            limits=limits,
            on_bug=self.bugs.append,
            key=KEY,
        )
        self.contexts.append(context)
        return context

    def server(self, endpoint: Endpoint = SERVER, limits: Limits | None = None) -> Context:
        context = self.context(endpoint, limits)
        context.serve(ECHO, self.echo)
        context.serve(PUT, self.put, land=self.land)
        context.serve(GET, self.get)
        context.serve(HOLD, self.hold, land=self.land)
        context.serve(SLOW, self.slow)
        context.listen()
        return context

    def soon(self, seconds: float = 20.0) -> int:
        """A deadline."""
        return self.clock.now_ns() + int(seconds * SECOND_NS)

    def raw(self, *, piece: int = 1 << 30, endpoint: Endpoint = SERVER) -> RawChannel:
        channel = RawChannel(piece=piece)
        channel.link = self.transport.connect(endpoint, channel)
        return channel

    # --- what the server does

    def echo(self, rpc: Rpc[Ask, Answer]) -> None:
        self.order.append(rpc.request.number)
        rpc.reply(Answer(rpc.request.number))

    def land(self, rpc: Rpc[Ask, Answer]) -> Sequence[memoryview]:
        """Two pieces, cut in the middle."""
        if rpc.request.number < 0:
            raise NotFoundError(f"no place {rpc.request.number}")
        first = rpc.payload_size // 2
        pieces = [bytearray(first), bytearray(rpc.payload_size - first)]
        rpc.land_state = pieces
        rpc.abort = lambda: self.on_abort(rpc.request.number)
        return [memoryview(piece) for piece in pieces]

    def put(self, rpc: Rpc[Ask, Answer]) -> None:
        assert rpc.payload_size == sum(len(view) for view in rpc.payload)
        self.landed.append(bytearray().join(rpc.land_state))
        rpc.reply(Answer(rpc.payload_size))

    def get(self, rpc: Rpc[Ask, Answer]) -> None:
        data = memoryview(pattern(rpc.request.nbytes, rpc.request.number))
        cut = len(data) // 3
        rpc.reply(Answer(rpc.request.number), [data[:cut], data[cut:]], sent=self.on_sent)

    def hold(self, rpc: Rpc[Ask, Answer]) -> None:
        self.held.append(rpc)
        self.arrival.set()

    async def slow(self, rpc: Rpc[Ask, Answer]) -> None:
        """A coroutine handler."""
        await asyncio.sleep(0)
        if rpc.request.number < 0:
            raise NotFoundError("nothing below zero")
        rpc.reply(Answer(rpc.request.number + 1))

    def on_sent(self) -> None:
        self.sent += 1
        self.arrival.set()

    def on_abort(self, number: int) -> None:
        self.aborted.append(number)
        self.arrival.set()

    async def held_count(self, count: int) -> None:
        await self.until(lambda: len(self.held) >= count)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens at a server."""
        while not condition():
            self.arrival.clear()
            await self.arrival.wait()
